/* tests/model/events_crash_test.c - subscribers of a database that is crashed again and again.
 *
 * Aim     Nothing that a crash took back is kept by anybody: at each whole a subscriber has what
 *         was true then in the opening that it says it is in; what it heard and was taken back it
 *         is told of, and gets a snapshot; what was not taken back it does not hear again. In the
 *         end all copies are the store.
 * Method  Seeds. Store, publisher and service on a simulated disk and a simulated network, stopped
 *         at any call of the disk; then the power is cut, or only the process ends, and the
 *         directory is opened again, in all durability modes; or it was wiped, or an old copy of it
 *         takes its place. Calls of the disk fail, and it fills up. Eight subscribers (crowd.c)
 *         live through all of that, or go and come back with the place that they had kept. What is
 *         true is looked up in the store after each commit.
 * Blind   One thread: it never stops while a commit and the publisher are at work together. Whether
 *         the store itself is right is what tests/crash is about.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/model/crowd.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "database/database.h"
#include "database/publish.h"
#include "seed.h"
#include "tests/sim/disk.h"

enum { SEEDS = 200, LIVES = 14, STEPS = 120, SETTLE_STEPS = 6000, DIRECTORY_TERMS = 64 };

typedef unsigned long long llu;

typedef enum fault { FAULT_NONE = 0, FAULT_CALL, FAULT_SPACE } fault;

typedef struct server {
    crowd c;
    disk *d;
    disk *saved; /* the directory as it was once; NULL: none */
    merle_db *db;
    merle_publisher *publisher;
    merle_builder *builder;
    merle_durability durability;
    int follows_published;
    int keeps_log;
    fault fault;
    int is_read_only;
    int loses; /* what was told before may be gone without a lie: wiped, restored, power cut */
    uint64_t durable_seq;
    jmp_buf stopped;
} server;

static uint64_t below(server *v, uint64_t limit) {
    return crowd_below(&v->c, limit);
}

static void stop(void *context) {
    longjmp(((server *)context)->stopped, 1);
}

/* ---- what is true ---- */

static uint64_t published(const server *v) {
    return mrl_log_published_at(v->db->store.published);
}

static merle_collection *find(const server *v, int name) {
    merle_collection *found = NULL;
    merle_err err = merle_collection_find(v->db, crowd_names[name], &found);
    return err == MERLE_OK ? found : NULL;
}

static void look(server *v, truth *into) {
    merle_section section;
    const mrl_clock *clock = network_clock(v->c.net);
    memset(into, 0, sizeof *into);
    assert_int_equal(merle_section_begin(v->db, &section), MERLE_OK);
    for (int name = 0; name < NAMES; name++) {
        merle_collection *collection = find(v, name);
        merle_doc doc;
        for (int key = 0; collection != NULL && key < KEYS; key++) {
            if (merle_get(&section, collection, merle_str(crowd_keys[key]), &doc) != MERLE_OK)
                continue;
            into->documents[name][key] = crowd_number(doc);
            into->expires_ns[name][key] = merle_doc_expires(doc);
        }
    }
    (void)merle_section_end(&section);
    into->wall_ns = clock->wall_ns(clock->context);
    into->is_known = 1;
}

static void note(server *v) {
    const term *t = &v->c.terms[v->c.term_count - 1];
    uint64_t seq = published(v);
    if (seq > t->last_seq) look(v, crowd_note(&v->c, seq));
    v->durable_seq = merle_durable_seq(v->db);
}

/* What a call may answer where something was made to fail. */
static void excuse(server *v, merle_err err, const char *what) {
    int is_excused = err == MERLE_READ_ONLY || err == MERLE_NOT_DURABLE || err == MERLE_SYSTEM ||
                     err == MERLE_NO_SPACE;
    if (err == MERLE_READ_ONLY || err == MERLE_NOT_DURABLE) v->is_read_only = 1;
    if (err == MERLE_OK || (is_excused && v->fault != FAULT_NONE)) return;
    printf("# %s: %s\n", what, merle_err_name(err));
    crowd_fail(&v->c, NULL, "a call fails");
}

/* ---- writing ---- */

static merle_bytes build(server *v, uint32_t level, size_t pad_size) {
    char pad[1500];
    merle_bytes bytes;
    memset(pad, 'p', pad_size);
    pad[pad_size] = 0;
    merle_build_begin(v->builder);
    merle_build_int(v->builder, "level", level);
    if (pad_size > 0) merle_build_str(v->builder, "pad", pad);
    assert_int_equal(merle_build_end(v->builder, &bytes), MERLE_OK);
    return bytes;
}

static size_t pad_of(server *v) {
    return below(v, 3) == 0 ? 1 + below(v, 1200) : below(v, 20);
}

static merle_err add(server *v, merle_commit *commit, merle_collection *in, merle_bytes key,
                     int is_there) {
    uint32_t level = 1 + (uint32_t)below(v, 99);
    uint64_t dice = below(v, 12);
    if (is_there && dice < 2) return merle_remove(commit, in, key);
    if (is_there && dice < 7) {
        merle_op op = MERLE_SET_INT("level", level);
        return merle_patch_ops(commit, in, key, &op, 1);
    }
    if (dice == 11)
        return merle_put_for(commit, in, key, build(v, level, 0),
                             (int64_t)((1 + below(v, 300)) * MILLISECOND));
    return merle_put(commit, in, key, build(v, level, pad_of(v)));
}

/* One commit of some operations, each on another key. */
static void commit_some(server *v) {
    merle_commit *commit;
    truth there;
    int done[NAMES][KEYS] = {{0}};
    look(v, &there);
    merle_err err = merle_begin(v->db, &commit);
    excuse(v, err, "the begin of a commit");
    if (err != MERLE_OK) return;
    uint64_t count = below(v, 5) == 0 ? 1 + below(v, 20) : 1 + below(v, 2);
    for (uint64_t i = 0; i < count && err == MERLE_OK; i++) {
        int name = (int)below(v, NAMES), key = (int)below(v, KEYS);
        merle_collection *in = find(v, name);
        if (in == NULL || done[name][key]++) continue;
        err = add(v, commit, in, merle_str(crowd_keys[key]), there.documents[name][key] != 0);
    }
    if (err != MERLE_OK)
        merle_cancel(commit);
    else
        err = merle_end(commit, NULL);
    excuse(v, err, "a commit");
}

static void make_collections(server *v) {
    static const merle_schema fleeting = {.version = 1, .memory_only = 1};
    for (int name = 0; name < NAMES; name++) {
        merle_collection *made;
        merle_err err = merle_collection_open(v->db, crowd_names[name],
                                              name == FLEETING ? &fleeting : NULL, &made);
        excuse(v, err, "a collection");
        note(v);
    }
}

static void load(server *v) {
    merle_bulk *bulk;
    merle_collection *scores = find(v, SCORES);
    if (scores == NULL) return;
    excuse(v, merle_collection_truncate(scores, NULL), "a truncate");
    note(v);
    merle_err err = merle_bulk_begin(scores, &bulk);
    if (err == MERLE_EXISTS) return; /* the truncate has failed */
    excuse(v, err, "the begin of a load");
    if (err != MERLE_OK) return;
    for (int key = 0; key < KEYS && err == MERLE_OK; key++)
        if (below(v, 3) != 0)
            err = merle_bulk_put(bulk, merle_str(crowd_keys[key]),
                                 build(v, 1 + (uint32_t)below(v, 99), pad_of(v)));
    if (err == MERLE_OK && below(v, 4) != 0)
        err = merle_bulk_end(bulk, NULL);
    else
        merle_bulk_cancel(bulk);
    excuse(v, err, "a load");
}

static void define(server *v) {
    merle_collection *scores = find(v, SCORES);
    uint64_t dice = below(v, 3);
    if (dice == 0)
        load(v);
    else if (scores == NULL)
        make_collections(v);
    else if (dice == 1)
        excuse(v, merle_collection_truncate(scores, NULL), "a truncate");
    else
        excuse(v, merle_collection_drop(scores, NULL), "a drop");
    note(v);
    if (below(v, 2)) make_collections(v);
}

static void act(server *v) {
    uint64_t dice = v->is_read_only ? 100 : below(v, 60);
    if (dice == 0)
        define(v);
    else if (dice == 1)
        excuse(v, merle_checkpoint(v->db), "a checkpoint");
    else if (dice < 40)
        commit_some(v);
    note(v);
}

/* ---- time ---- */

static void pass_time(server *v, uint64_t ns) {
    uint64_t passed = 0;
    do {
        network_advance(v->c.net, MILLISECOND / 2);
        if (v->db != NULL) {
            (void)merle_step(v->db, 0, 0);
            note(v);
        }
        if (v->publisher != NULL)
            excuse(v, merle_publisher_step(v->publisher, 0, NULL), "a step of the publisher");
        passed += MILLISECOND / 2;
    } while (passed < ns);
    for (uint32_t i = 0; i < LISTENERS; i++)
        if (below(v, 4) != 0) crowd_turn(&v->c, i);
}

static void set_faults(server *v) {
    static const uint32_t rates[] = {0, 20, 60};
    network_faults f = {.delay_max_ns = below(v, 3) * 5 * MILLISECOND,
                        .lose_one_in = rates[below(v, 3)],
                        .double_one_in = rates[below(v, 3)],
                        .reorder_one_in = rates[below(v, 3)],
                        .cut_one_in = rates[below(v, 3)] * 3};
    network_fault(v->c.net, &f);
}

/* Everybody comes to where the server is, and has what the store has. */
static void settle(server *v) {
    network_faults none = {0};
    network_fault(v->c.net, &none);
    for (uint32_t i = 0; i < LISTENERS; i++) {
        int step = 0;
        /* What expires goes on. */
        while (!crowd_is_there(&v->c, i, published(v)) && !v->is_read_only && step++ < SETTLE_STEPS)
            pass_time(v, 2 * MILLISECOND);
        /* What will never be durable is not to be seen. */
        if (v->is_read_only || (v->fault != FAULT_NONE && v->durable_seq < published(v))) return;
        if (step > SETTLE_STEPS) crowd_fail(&v->c, &v->c.listeners[i], "it does not catch up");
        crowd_compare(&v->c, i);
    }
    v->c.sums->settled++;
}

/* ---- opening ---- */

/* The term that this opening goes on from, as far as it is one that came back. */
static void find_before(server *v, term *t) {
    mrl_log_term told[DIRECTORY_TERMS];
    size_t count;
    mrl_db_terms(v->db, told, DIRECTORY_TERMS, &count);
    t->before = -1;
    for (size_t i = 0; i < count && t->before < 0; i++) {
        t->before = crowd_term(&v->c, told[i].id);
        t->before_end = told[i].end_seq;
    }
}

/* Nothing that was durable, or that was heard, is gone; and it is what it was. */
static void judge(server *v, const term *t) {
    if (v->c.term_count == 0) return;
    const term *last = &v->c.terms[v->c.term_count - 1];
    uint64_t end = t->before == v->c.term_count - 1 ? t->before_end : 0;
    /* The commit in whose middle it stopped may be there; nobody has seen it. */
    if (end > last->last_seq) (void)crowd_note(&v->c, end);
    int may_lose = v->loses || v->durability == MERLE_MEMORY;
    if (end < last->last_seq) v->c.sums->lost++;
    if (!may_lose && end < v->durable_seq) crowd_fail(&v->c, NULL, "what was durable is gone");
    if (!may_lose && !v->follows_published && end < last->heard_seq)
        crowd_fail(&v->c, NULL, "what was heard is gone");
    if (end == 0 || end != t->first_seq) return;
    truth now;
    const truth *was = crowd_truth(&v->c, t->before, end);
    look(v, &now);
    if (was == NULL) crowd_fail(&v->c, NULL, "the end of a term is beyond its commits");
    for (int name = 0; was->is_known && name < FLEETING; name++)
        for (int key = 0; key < KEYS; key++)
            if (now.documents[name][key] != was->documents[name][key] &&
                now.documents[name][key] != 0)
                crowd_fail(&v->c, NULL, "the store is not what it was");
}

static int open_db(server *v) {
    merle_report report = {0};
    merle_options options = {.threads = MERLE_THREADS_NONE,
                             .ring_size = 64 << 10,
                             .durability = v->durability,
                             .log_file_size = 64 << 10,
                             .log_keep_bytes = v->keeps_log ? UINT64_MAX / 2 : 0,
                             .commit_size_max = 24 << 10,
                             .unsynced_max = 16 << 10,
                             .checkpoint_log_bytes = 48 << 10,
                             .report = &report};
    mrl_environment environment = {.clock = network_clock(v->c.net), .files = disk_files(v->d)};
    merle_err err = mrl_db_open("db", &options, &environment, &v->db);
    if (err != MERLE_OK && v->fault == FAULT_NONE) printf("# %s\n", report.message);
    excuse(v, err, "an opening");
    if (err != MERLE_OK) return 0;
    term t = {.id = v->db->term_id, .first_seq = published(v), .last_seq = published(v)};
    find_before(v, &t);
    judge(v, &t);
    t.first_node = v->c.node_count;
    v->loses = 0;
    v->durable_seq = merle_durable_seq(v->db);
    assert_true(v->c.term_count < TERM_MAX);
    v->c.terms[v->c.term_count++] = t;
    look(v, crowd_note(&v->c, t.first_seq));
    return 1;
}

static void publish(server *v) {
    static const char *const news[] = {NEWS_URL, NULL};
    static const char *const service[] = {SERVICE_URL, NULL};
    merle_publish_options options = {.news = news,
                                     .service = service,
                                     .secret = v->c.secret,
                                     .threads = MERLE_THREADS_NONE,
                                     .batch_size_max = below(v, 2) ? 4096 : 0};
    if (v->follows_published) options.follow = MERLE_FOLLOW_PUBLISHED;
    const mrl_net *net = network_host(v->c.net, "server");
    assert_int_equal(mrl_db_publish(v->db, net, NULL, NULL, &options, &v->publisher), MERLE_OK);
}

/* ---- a life ---- */

static void choose_fault(server *v) {
    static const disk_call calls[] = {DISK_FILE_SYNC,   DISK_FILE_WRITE, DISK_DIR_SYNC,
                                      DISK_FILE_CREATE, DISK_FILE_READ,  DISK_RENAME};
    v->fault = FAULT_NONE;
    if (below(v, 3) != 0) return;
    v->c.sums->faults++;
    v->fault = below(v, 3) == 0 ? FAULT_SPACE : FAULT_CALL;
    if (v->fault == FAULT_CALL)
        disk_fail_nth(v->d, calls[below(v, 6)], 1 + below(v, 60));
    else
        disk_capacity(v->d, disk_used(v->d) + below(v, 100 << 10));
}

static void work(server *v) {
    for (int i = 0; i < STEPS; i++) {
        if (i % 40 == 0) set_faults(v);
        for (uint64_t n = below(v, 4); n > 0; n--) act(v);
        if (below(v, 100) == 0) crowd_replace(&v->c, (uint32_t)below(v, LISTENERS));
        pass_time(v, below(v, 4) * MILLISECOND);
        if (below(v, 200) == 0) pass_time(v, below(v, 1200) * MILLISECOND);
    }
}

static void close_server(server *v) {
    v->c.sums->closes++;
    assert_int_equal(merle_publisher_close(v->publisher), MERLE_OK);
    v->publisher = NULL;
    merle_err err = merle_close(v->db);
    v->db = NULL;
    excuse(v, err, "a close");
}

static void live(server *v, int is_last) {
    v->is_read_only = 0;
    if (!is_last) choose_fault(v);
    if (!is_last && below(v, 4) != 0) disk_stop_at(v->d, 1 + below(v, 1 + below(v, 1500)));
    if (setjmp(v->stopped) != 0) {
        v->c.sums->stops++;
        return;
    }
    if (!open_db(v)) return;
    publish(v);
    make_collections(v);
    if (below(v, 3) == 0) settle(v);
    work(v);
    if (is_last || below(v, 3) == 0) settle(v);
    if (is_last || below(v, 3) == 0) close_server(v);
}

/* What is on the disk afterwards, and whose disk it is. */
static void end_life(server *v) {
    v->db = NULL; /* what it had in memory goes with the process */
    v->publisher = NULL;
    network_kill(v->c.net, "server");
    disk_stop_at(v->d, 0);
    disk_fail_none(v->d);
    disk_capacity(v->d, UINT64_MAX);
    int is_cut = below(v, 3) != 0;
    *(is_cut ? &v->c.sums->cuts : &v->c.sums->kills) += 1;
    if (is_cut)
        disk_cut_power(v->d);
    else
        disk_kill(v->d);
    uint64_t dice = below(v, 24);
    if (dice == 0) {
        disk_lose_all(v->d, "db");
        v->c.sums->wipes++;
        v->loses = 1;
    } else if (dice <= 3 && v->saved == NULL) {
        v->saved = disk_copy(v->d, mrl_random_next(&v->c.random));
    } else if (dice <= 6 && v->saved != NULL) {
        disk_destroy(v->d);
        v->d = v->saved;
        v->saved = NULL;
        disk_on_stop(v->d, stop, v);
        v->c.sums->restores++;
        v->loses = 1;
    }
    for (uint64_t n = below(v, 30); n > 0; n--) pass_time(v, below(v, 100) * MILLISECOND);
}

static void run(uint64_t seed, crowd_sums *sums) {
    server *v = calloc(1, sizeof *v);
    assert_non_null(v);
    v->c.seed = seed;
    v->c.sums = sums;
    v->c.nodes = calloc(NODE_MAX, sizeof *v->c.nodes);
    assert_non_null(v->c.nodes);
    mrl_random_init(&v->c.random, seed);
    v->c.net = network_create(mrl_random_next(&v->c.random), NULL);
    v->d = disk_create(mrl_random_next(&v->c.random));
    disk_on_stop(v->d, stop, v);
    v->durability = (merle_durability)(MERLE_MEMORY + seed % 3);
    v->follows_published = seed / 3 % 3 == 0;
    v->keeps_log = seed / 9 % 2 == 0;
    if (seed % 7 == 0) v->c.secret = MERLE_STR("sesame");
    assert_int_equal(merle_builder_create(&v->builder), MERLE_OK);
    for (uint32_t i = 0; i < LISTENERS; i++) crowd_open(&v->c, i, 0);
    for (int i = 0; i < LIVES; i++) {
        sums->lives++;
        live(v, i == LIVES - 1);
        if (i < LIVES - 1) end_life(v);
    }
    crowd_close(&v->c);
    merle_builder_destroy(v->builder);
    disk_destroy(v->d);
    if (v->saved != NULL) disk_destroy(v->saved);
    network_destroy(v->c.net);
    free(v->c.nodes);
    free(v);
}

/* In a process of its own: what a stopped life had allocated is never given back. */
static void run_in_child(uint64_t seed, crowd_sums *sums) {
    int status = 0;
    (void)fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)alarm(300);
        run(seed, sums);
        (void)fflush(stdout);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0) fail_msg("seed %llu ended with %d", (llu)seed, status);
}

static void tell(const crowd_sums *s) {
    test_say(
        "%llu lives: %llu stopped, %llu closed; %llu cuts, %llu kills, %llu wipes, %llu "
        "restores, %llu faults; %llu times commits were lost",
        (llu)s->lives, (llu)s->stops, (llu)s->closes, (llu)s->cuts, (llu)s->kills, (llu)s->wipes,
        (llu)s->restores, (llu)s->faults, (llu)s->lost);
    test_say("%llu changes, %llu snapshots; %llu wholes compared, %llu not known; %llu settled",
             (llu)s->changes, (llu)s->snapshots, (llu)s->compared, (llu)s->unknown,
             (llu)s->settled);
    test_say(
        "gaps: %llu log, %llu history, %llu lost, %llu reset; %llu troubles; %llu resumed, "
        "%llu begun anew",
        (llu)s->gaps[MERLE_REASON_GAP], (llu)s->gaps[MERLE_REASON_HISTORY],
        (llu)s->gaps[MERLE_REASON_LOST], (llu)s->gaps[MERLE_REASON_RESET], (llu)s->troubles,
        (llu)s->resumed, (llu)s->fresh);
}

static void nobody_keeps_what_a_crash_took_back(void **state) {
    (void)state;
    test_seed_print();
    crowd_sums *sums =
        mmap(NULL, sizeof *sums, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(sums != MAP_FAILED);
    for (uint64_t i = 0; i < test_amount(SEEDS); i++) run_in_child(test_seed() + i, sums);
    tell(sums);
    assert_true(sums->stops > 0 && sums->lost > 0 && sums->compared > 1000);
    assert_true(sums->gaps[MERLE_REASON_LOST] > 0 && sums->resumed > 0);
    (void)munmap(sums, sizeof *sums);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(nobody_keeps_what_a_crash_took_back)};
    return cmocka_run_group_tests_name("events_crash", tests, NULL, NULL);
}
