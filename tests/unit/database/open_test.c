/* tests/unit/database/open_test.c - opening and closing, threads, fork, steps, notices.
 *
 * Aim     Options mean what merle.h says, a wrong one is refused with a report; a close is refused
 *         while anything is open, and changes nothing then; databases of one process do not know
 *         each other; a child of fork is told so by every call; threads that end inside sections
 *         and commits leave nothing behind, and the operator is told; a database starts the one
 *         thread it says, or none.
 * Method  Single calls; threads and children that do one thing and end; /proc for what the kernel
 *         knows of our threads; a clock that moves when it is read.
 * Blind   A child's use of memory that was being changed at the moment of the fork.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "database/database.h"

static merle_report report;

static merle_db *open_db(merle_options options) {
    merle_db *db;
    options.report = &report;
    merle_err err = merle_open(NULL, &options, &db);
    if (err != MERLE_OK) print_message("# %s\n", report.message);
    assert_int_equal(err, MERLE_OK);
    merle_report_to(db, &report);
    return db;
}

static merle_collection *open_players(merle_db *db) {
    static const merle_index indexes[] = {{"email", MERLE_UNIQUE, "email"}, {NULL, 0, NULL}};
    const merle_schema schema = {.version = 1, .indexes = indexes};
    merle_collection *players;
    assert_int_equal(merle_collection_open(db, "players", &schema, &players), MERLE_OK);
    return players;
}

static merle_err put_empty(merle_collection *collection, const char *key) {
    return merle_one_put(collection, merle_str(key), merle_bytes_of("\x80", 1), NULL);
}

static merle_stats_db stats_of(merle_db *db) {
    merle_stats_db stats = {.size = sizeof stats};
    assert_int_equal(merle_stats(db, &stats), MERLE_OK);
    return stats;
}

static void close_db(merle_db *db) {
    assert_int_equal(merle_close(db), MERLE_OK);
}

/* ---- options ---- */

static void options_null_and_zero_are_the_defaults(void **state) {
    (void)state;
    merle_db *db;
    for (int zero = 0; zero < 2; zero++) {
        const merle_options options = {0};
        assert_int_equal(merle_open(NULL, zero ? &options : NULL, &db), MERLE_OK);
        merle_stats_db stats = stats_of(db);
        assert_int_equal(stats.ring_size, 8 << 20);
        assert_int_equal(stats.bytes_max, 0);
        assert_int_equal(stats.term, 1);
        assert_true((stats.database_id[0] | stats.database_id[1]) != 0);
        assert_int_equal(db->store.retired_max, (uint64_t)1 << 30);
        assert_int_equal(db->store.commit_size_max, 17 << 20);
        assert_non_null(db->background);
        close_db(db);
    }
}

static void options_given_are_in_force(void **state) {
    (void)state;
    merle_db *db = open_db((merle_options){.memory_max = 100 << 20, .ring_size = 64 << 20});
    assert_int_equal(stats_of(db).bytes_max, 100 << 20);
    assert_int_equal(stats_of(db).ring_size, 64 << 20);
    assert_int_equal(db->store.retired_max, 25 << 20);
    assert_int_equal(db->store.commit_size_max, 32 << 20);
    close_db(db);
    db = open_db((merle_options){.retired_max = 5, .commit_size_max = 6, .ring_size = 64 << 10});
    assert_int_equal(db->store.retired_max, 5);
    assert_int_equal(db->store.commit_size_max, 6);
    close_db(db);
}

static void refuse_options(const char *path, merle_options options, merle_err err,
                           const char *told) {
    merle_db *db = (merle_db *)&report;
    memset(&report, 0, sizeof report);
    options.report = &report;
    assert_int_equal(merle_open(path, &options, &db), err);
    assert_null(db);
    assert_int_equal(report.err, err);
    if (strstr(report.message, told) == NULL) print_message("# %s\n", report.message);
    assert_non_null(strstr(report.message, told));
    options.report = NULL;
    assert_int_equal(merle_open(path, &options, &db), err);
}

static void options_wrong_are_refused(void **state) {
    (void)state;
    refuse_options(NULL, (merle_options){.threads = (merle_threads)3}, MERLE_INVALID, "threads");
    refuse_options(NULL, (merle_options){.threads = (merle_threads)-1}, MERLE_INVALID, "threads");
    refuse_options(NULL, (merle_options){.ring_size = (64 << 10) - 1}, MERLE_INVALID, "ring_size");
    refuse_options(NULL, (merle_options){.size = sizeof(merle_options) + 8}, MERLE_INVALID,
                   "older");
    refuse_options(NULL, (merle_options){.size = sizeof(merle_options) + 1}, MERLE_INVALID,
                   "older");
    refuse_options(NULL, (merle_options){.huge_pages = 2}, MERLE_INVALID, "huge_pages");
    refuse_options(NULL, (merle_options){.patience = (merle_patience)3}, MERLE_INVALID, "patience");
    refuse_options("/nowhere/at/all", (merle_options){0}, MERLE_SYSTEM, "/nowhere/at/all");
    refuse_options("", (merle_options){0}, MERLE_SYSTEM, "directory");
    merle_db *db;
    assert_int_equal(merle_open("/nowhere/at/all", NULL, &db), MERLE_SYSTEM);
    assert_null(db);
}

/* A host that was built when the struct ended before ring_size: what lies behind is not looked at.
   */
static void options_of_an_older_header_work(void **state) {
    (void)state;
    merle_options options;
    merle_db *db;
    memset(&options, 0x5a, sizeof options);
    options.size = offsetof(merle_options, ring_size);
    options.threads = MERLE_THREADS_NONE;
    options.memory_max = 100 << 20;
    options.retired_max = 0;
    assert_int_equal(merle_open(NULL, &options, &db), MERLE_OK);
    assert_int_equal(stats_of(db).ring_size, 8 << 20);
    assert_int_equal(stats_of(db).bytes_max, 100 << 20);
    assert_null(db->background);
    close_db(db);
}

static void limit_too_small_for_a_database_is_refused(void **state) {
    (void)state;
    merle_db *db;
    merle_options options = {.memory_max = 1, .report = &report};
    assert_int_equal(merle_open(NULL, &options, &db), MERLE_NO_MEMORY);
    assert_null(db);
    assert_int_equal(report.err, MERLE_NO_MEMORY);
}

/* ---- closing ---- */

static void close_is_refused_while_something_is_open(void **state) {
    (void)state;
    static const merle_threads threads[] = {MERLE_THREADS_NONE, MERLE_THREADS_BACKGROUND};
    for (int t = 0; t < 2; t++)
        for (int what = 0; what < 3; what++) {
            merle_db *db = open_db((merle_options){.threads = threads[t]});
            merle_collection *players = open_players(db);
            merle_section section;
            merle_commit *commit = NULL;
            merle_changes *changes = NULL;
            merle_doc doc;
            assert_int_equal(put_empty(players, "a"), MERLE_OK);
            if (what == 0) assert_int_equal(merle_section_begin(db, &section), MERLE_OK);
            if (what == 1) assert_int_equal(merle_begin(db, &commit), MERLE_OK);
            if (what == 2) assert_int_equal(merle_changes_open(db, NULL, &changes), MERLE_OK);
            for (int again = 0; again < 2; again++) {
                assert_int_equal(merle_close(db), MERLE_BUSY);
                assert_int_equal(report.err, MERLE_BUSY);
                assert_non_null(strstr(report.message, "open"));
            }
            /* It stays open, and works, thread and all. */
            assert_int_equal(db->background != NULL, t);
            assert_int_equal(put_empty(players, "b"), MERLE_OK);
            if (what == 0) {
                assert_int_equal(merle_get(&section, players, merle_str("a"), &doc), MERLE_OK);
                assert_int_equal(merle_section_end(&section), MERLE_OK);
            }
            if (what == 1) merle_cancel(commit);
            if (what == 2) merle_changes_close(changes);
            close_db(db);
        }
}

static void *hold_section(void *context) {
    merle_section section;
    pthread_barrier_t *meet = ((void **)context)[1];
    (void)merle_section_begin(((void **)context)[0], &section);
    pthread_barrier_wait(meet);
    pthread_barrier_wait(meet);
    (void)merle_section_end(&section);
    return NULL;
}

static void close_is_refused_for_a_section_of_another_thread(void **state) {
    (void)state;
    pthread_t thread;
    pthread_barrier_t meet;
    merle_db *db = open_db((merle_options){0});
    void *context[] = {db, &meet};
    pthread_barrier_init(&meet, NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, hold_section, context), 0);
    pthread_barrier_wait(&meet);
    assert_int_equal(merle_close(db), MERLE_BUSY);
    pthread_barrier_wait(&meet);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&meet);
    close_db(db);
}

static void close_of_null_is_nothing(void **state) {
    (void)state;
    assert_int_equal(merle_close(NULL), MERLE_OK);
}

static void databases_do_not_know_each_other(void **state) {
    (void)state;
    enum { MANY = 6 };
    merle_db *dbs[MANY];
    merle_collection *players[MANY];
    merle_section sections[MANY], after;
    merle_doc doc;
    char key[] = "0";
    for (int i = 0; i < MANY; i++) {
        dbs[i] = open_db((merle_options){.threads = MERLE_THREADS_NONE});
        players[i] = open_players(dbs[i]);
    }
    for (int i = 0; i < MANY; i++) {
        key[0] = (char)('0' + i);
        assert_int_equal(put_empty(players[i], key), MERLE_OK);
        assert_int_equal(merle_section_begin(dbs[i], &sections[i]), MERLE_OK);
        assert_true(i == 0 || stats_of(dbs[i]).database_id[0] != stats_of(dbs[0]).database_id[0]);
    }
    for (int i = 0; i < MANY; i++) assert_int_equal(put_empty(players[i], "x"), MERLE_OK);
    for (int i = 0; i < MANY; i++)
        for (int k = 0; k < MANY; k++) {
            key[0] = (char)('0' + k);
            assert_int_equal(merle_get(&sections[i], players[i], merle_str(key), &doc),
                             i == k ? MERLE_OK : MERLE_NOT_FOUND);
        }
    /* Closed in another order than opened, the others go on. */
    for (int i = 0; i < MANY; i++) {
        int at = (i * 5 + 2) % MANY;
        assert_int_equal(merle_section_end(&sections[at]), MERLE_OK);
        close_db(dbs[at]);
        if (i == MANY - 1) break;
        int other = ((i + 1) * 5 + 2) % MANY;
        assert_int_equal(merle_section_begin(dbs[other], &after), MERLE_OK);
        assert_int_equal(merle_get(&after, players[other], merle_str("x"), &doc), MERLE_OK);
        assert_int_equal(merle_section_end(&after), MERLE_OK);
    }
}

static void database_opened_again_and_again_leaves_nothing(void **state) {
    (void)state;
    for (int i = 0; i < 200; i++) {
        merle_db *db = open_db((merle_options){.threads = i % 2 ? MERLE_THREADS_NONE : 0});
        assert_int_equal(put_empty(open_players(db), "a"), MERLE_OK);
        close_db(db);
    }
}

/* ---- fork ---- */

typedef struct inherited {
    merle_db *db;
    merle_collection *players;
    merle_section section;
    merle_commit *commit;
    merle_changes *changes;
} inherited;

static int keep_none(void *context, merle_collection *collection) {
    (void)context;
    (void)collection;
    return 0;
}

static merle_err run_nothing(void *context, merle_commit *commit) {
    (void)context;
    (void)commit;
    return MERLE_OK;
}

/* Calls that take a database; each gives what it says. */
static merle_err call_database(inherited *in, int number) {
    merle_section section;
    merle_commit *commit;
    merle_changes *changes;
    merle_collection *c;
    merle_stats_db stats = {0};
    merle_section_info info[2];
    size_t count;
    switch (number) {
    case 0:
        return merle_section_begin(in->db, &section);
    case 1:
        return merle_begin(in->db, &commit);
    case 2:
        return merle_collection_open(in->db, "players", NULL, &c);
    case 3:
        return merle_collection_open(in->db, "new", NULL, &c);
    case 4:
        return merle_collection_find(in->db, "players", &c);
    case 5:
        return merle_collection_each(in->db, keep_none, NULL);
    case 6:
        return merle_run(in->db, run_nothing, NULL, 3, NULL);
    case 7:
        return merle_changes_open(in->db, NULL, &changes);
    case 8:
        return merle_step(in->db, 0, 0);
    case 9:
        return merle_stats(in->db, &stats);
    case 10:
        return merle_sections(in->db, info, 2, &count);
    case 11:
        return merle_check(in->db, &report);
    default:
        return merle_close(in->db);
    }
}

/* Calls that take a collection. */
static merle_err call_collection(inherited *in, int number) {
    merle_buffer buffer = {NULL, 0, 0};
    merle_stats_collection stats = {0};
    merle_stats_index index_stats = {0};
    uint64_t id;
    int64_t integer;
    merle_bytes key = merle_str("a"), doc = merle_bytes_of("\x80", 1);
    const merle_op op = MERLE_INC("n", 1);
    switch (number) {
    case 0:
        return merle_collection_truncate(in->players, &id);
    case 1:
        return merle_collection_drop(in->players, &id);
    case 2:
        return merle_collection_next_id(in->players, &id);
    case 3:
        return merle_one_put(in->players, key, doc, NULL);
    case 4:
        return merle_one_insert(in->players, key, doc, NULL);
    case 5:
        return merle_one_replace(in->players, key, doc, NULL);
    case 6:
        return merle_one_remove(in->players, key, NULL);
    case 7:
        return merle_one_get(in->players, key, &buffer, NULL);
    case 8:
        return merle_one_patch_ops(in->players, key, &op, 1, &buffer, NULL);
    case 9:
        return merle_one_swap(in->players, key, doc, &buffer, NULL);
    case 10:
        return merle_one_count(in->players, key, "n", 1, &integer);
    case 11:
        return merle_collection_stats(in->players, &stats);
    case 12:
        return merle_index_stats(in->players, "email", &index_stats);
    default:
        return merle_collection_describe(in->players, &buffer);
    }
}

/* The calls on what the parent had open. */
static merle_err call_inherited(inherited *in, int number) {
    merle_bytes key = merle_str("a"), doc = merle_bytes_of("\x80", 1);
    merle_doc found;
    merle_change change;
    merle_scan scan = {0};
    size_t count;
    uint64_t n;
    switch (number) {
    case 0:
        return merle_get(&in->section, in->players, key, &found);
    case 1:
        return merle_get_many(&in->section, in->players, &key, 1, &found, &count);
    case 2:
        return merle_get_by(&in->section, in->players, "email", &found, merle_value_int(1));
    case 3:
        return merle_scan_next(&in->section, in->players, &scan, &found, 1, &count);
    case 4:
        return merle_count(&in->section, in->players, &n);
    case 5:
        return merle_section_end(&in->section);
    case 6:
        return merle_put(in->commit, in->players, key, doc);
    case 7:
        return merle_remove(in->commit, in->players, key);
    case 8:
        return merle_commit_get(in->commit, in->players, key, &found);
    case 9:
        return merle_end(in->commit, &n);
    default:
        return merle_changes_next(in->changes, &change, 1, &count);
    }
}

typedef merle_err child_fn(inherited *in, int number);

/* What the call gives in a child; a child that hangs is ended by its alarm. -1: it did not return.
   */
static int give_in_child(inherited *in, child_fn *call, int number) {
    int status = 0;
    (void)fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGALRM, SIG_DFL);
        (void)signal(SIGSEGV, SIG_DFL);
        (void)alarm(10);
        _exit((int)call(in, number));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void inherited_open(inherited *in) {
    in->db = open_db((merle_options){0});
    in->players = open_players(in->db);
    assert_int_equal(put_empty(in->players, "a"), MERLE_OK);
    assert_int_equal(merle_section_begin(in->db, &in->section), MERLE_OK);
    assert_int_equal(merle_begin(in->db, &in->commit), MERLE_OK);
    assert_int_equal(merle_put(in->commit, in->players, merle_str("b"), merle_bytes_of("\x80", 1)),
                     MERLE_OK);
    assert_int_equal(merle_changes_open(in->db, NULL, &in->changes), MERLE_OK);
}

static void inherited_close(inherited *in) {
    merle_doc doc;
    merle_change change;
    size_t count;
    /* The parent goes on as if nothing had been. */
    assert_int_equal(merle_get(&in->section, in->players, merle_str("a"), &doc), MERLE_OK);
    assert_int_equal(merle_section_end(&in->section), MERLE_OK);
    assert_int_equal(merle_end(in->commit, NULL), MERLE_OK);
    assert_int_equal(merle_changes_next(in->changes, &change, 1, &count), MERLE_OK);
    assert_int_equal(count, 1);
    merle_changes_close(in->changes);
    assert_int_equal(merle_check(in->db, &report), MERLE_OK);
    close_db(in->db);
}

/* Each call in a child of its own. */
static void assert_told_in_children(child_fn *call, int count, const char *what) {
    inherited in;
    int wrong = 0;
    inherited_open(&in);
    for (int number = 0; number < count; number++) {
        int err = give_in_child(&in, call, number);
        if (err != MERLE_FORKED)
            print_message("# %s, call %d gives %s in a child\n", what, number,
                          err < 0 ? "nothing" : merle_err_name((merle_err)err));
        wrong += err != MERLE_FORKED;
    }
    inherited_close(&in);
    assert_int_equal(wrong, 0);
}

static void child_is_told_by_calls_on_the_database(void **state) {
    (void)state;
    assert_told_in_children(call_database, 13, "database");
}

static void child_is_told_by_calls_on_a_collection(void **state) {
    (void)state;
    assert_told_in_children(call_collection, 14, "collection");
}

static void child_is_told_by_what_its_parent_had_open(void **state) {
    (void)state;
    assert_told_in_children(call_inherited, 11, "section, commit, cursor");
}

static merle_err open_own(inherited *in, int number) {
    merle_db *db;
    merle_collection *c;
    (void)in;
    (void)number;
    merle_options options = {0};
#ifdef __SANITIZE_THREAD__
    options.threads = MERLE_THREADS_NONE; /* the sanitizer allows no threads in such a child */
#endif
    merle_err err = merle_open(NULL, &options, &db);
    if (err == MERLE_OK) err = merle_collection_open(db, "players", NULL, &c);
    if (err == MERLE_OK) err = put_empty(c, "a");
    return err == MERLE_OK ? merle_close(db) : err;
}

static void child_may_open_a_database_of_its_own(void **state) {
    (void)state;
    inherited in;
    inherited_open(&in);
    assert_int_equal(give_in_child(&in, open_own, 0), MERLE_OK);
    inherited_close(&in);
}

/* ---- threads that end inside ---- */

typedef struct told {
    int warnings, others;
    char text[512];
} told;

static void hear(void *context, merle_log_level level, const char *text) {
    told *t = context;
    t->warnings += level == MERLE_LOG_WARNING;
    t->others += level != MERLE_LOG_WARNING;
    (void)snprintf(t->text, sizeof t->text, "%s", text);
}

static void *end_inside(void *context) {
    merle_collection *players = context;
    merle_section first, second;
    merle_commit *commit, *empty;
    merle_doc doc;
    merle_db *db = players->store->db;
    if (merle_section_begin(db, &first) || merle_section_begin(db, &second)) return context;
    if (merle_begin(db, &commit) || merle_begin(db, &empty)) return context;
    if (merle_put(commit, players, merle_str("never"), merle_bytes_of("\x80", 1))) return context;
    if (merle_patch(commit, players, merle_str("a"), MERLE_INC("n", 1))) return context;
    if (merle_commit_get(commit, players, merle_str("a"), &doc)) return context;
    return NULL;
}

static void thread_that_ends_inside_leaves_nothing(void **state) {
    (void)state;
    pthread_t thread;
    void *failed;
    told heard = {0, 0, ""};
    merle_db *db =
        open_db((merle_options){.threads = MERLE_THREADS_NONE, .log = hear, .log_context = &heard});
    merle_collection *players = open_players(db);
    assert_int_equal(put_empty(players, "a"), MERLE_OK);
    (void)merle_step(db, 0, 1000000);
    merle_stats_db before = stats_of(db);
    assert_int_equal(heard.warnings, 0);
    for (int round = 1; round <= 3; round++) {
        assert_int_equal(pthread_create(&thread, NULL, end_inside, players), 0);
        pthread_join(thread, &failed);
        assert_null(failed);
        (void)merle_step(db, 0, 1000000);
        assert_int_equal(heard.warnings, round);
        assert_non_null(strstr(heard.text, "sections"));
        (void)merle_step(db, 0, 1000000);
        assert_int_equal(heard.warnings, round); /* once */
        merle_stats_db stats = stats_of(db);
        assert_true(stats.sections_abandoned >= 2 * (uint64_t)round);
        assert_int_equal(stats.sections_open, 0);
        assert_int_equal(stats.commits_open, 0);
        assert_int_equal(stats.bytes_documents, before.bytes_documents);
        assert_int_equal(stats.threads, before.threads);
        assert_int_equal(stats.seq, before.seq);
    }
    assert_int_equal(heard.others, 0);
    /* What it held can be reclaimed. */
    for (int i = 0; i < 100; i++) assert_int_equal(put_empty(players, "a"), MERLE_OK);
    for (int i = 0; i < 100 && merle_step(db, 0, 1000000) == MERLE_BUSY; i++) continue;
    assert_int_equal(stats_of(db).versions_waiting, 0);
    assert_int_equal(merle_check(db, &report), MERLE_OK);
    close_db(db);
}

static void limits_reached_are_told_once(void **state) {
    (void)state;
    told heard = {0, 0, ""};
    merle_section section;
    merle_db *db = open_db((merle_options){.threads = MERLE_THREADS_NONE,
                                           .retired_max = 4096,
                                           .ring_size = 64 << 10,
                                           .log = hear,
                                           .log_context = &heard});
    merle_collection *players = open_players(db);
    for (int round = 1; round <= 2; round++) {
        assert_int_equal(merle_section_begin(db, &section), MERLE_OK);
        merle_err err = MERLE_OK;
        for (int i = 0; i < 10000 && err == MERLE_OK; i++) err = put_empty(players, "a");
        assert_int_equal(err, MERLE_NO_MEMORY);
        for (int i = 0; i < 5; i++) (void)merle_step(db, 0, 0);
        assert_int_equal(heard.warnings, round);
        assert_non_null(strstr(heard.text, "retired_max"));
        assert_int_equal(merle_section_end(&section), MERLE_OK);
        for (int i = 0; i < 100 && merle_step(db, 0, 1000000) == MERLE_BUSY; i++) continue;
    }
    close_db(db);
}

/* ---- threads of the database ---- */

/* Calls fn for each thread of this process; returns how many there are. */
static int each_task(void (*fn)(const char *task, void *context), void *context) {
    DIR *tasks = opendir("/proc/self/task");
    int count = 0;
    assert_non_null(tasks);
    for (struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        if (fn != NULL) fn(entry->d_name, context);
        count++;
    }
    closedir(tasks);
    return count;
}

typedef struct found_task {
    int count;
    unsigned long long blocked;
} found_task;

static void find_step_thread(const char *task, void *context) {
    found_task *found = context;
    char path[64], line[256];
    (void)snprintf(path, sizeof path, "/proc/self/task/%.20s/status", task);
    FILE *file = fopen(path, "r");
    int is_step = 0;
    if (file == NULL) return;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strcmp(line, "Name:\tmerle-step\n") == 0) is_step = 1;
        if (is_step && strncmp(line, "SigBlk:", 7) == 0)
            found->blocked = strtoull(line + 7, NULL, 16);
    }
    (void)fclose(file);
    found->count += is_step;
}

static void background_thread_has_its_name_and_no_signals(void **state) {
    (void)state;
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    int threads_before = each_task(NULL, NULL);
    merle_db *db = open_db((merle_options){0});
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    found_task found = {0, 0};
    assert_int_equal(each_task(find_step_thread, &found), threads_before + 1);
    assert_int_equal(found.count, 1);
    for (int number = 1; number <= SIGRTMAX; number++) {
        /* Two cannot be blocked; those between are the C library's own. */
        int is_free =
            number == SIGKILL || number == SIGSTOP || (number > SIGSYS && number < SIGRTMIN);
        if (!is_free) assert_true(found.blocked >> (number - 1) & 1);
        assert_int_equal(sigismember(&before, number), sigismember(&after, number));
    }
    close_db(db);
    found = (found_task){0, 0};
    (void)each_task(find_step_thread, &found);
    assert_int_equal(found.count, 0);
}

static void threads_none_starts_none(void **state) {
    (void)state;
    int threads_before = each_task(NULL, NULL);
    merle_db *db = open_db((merle_options){.threads = MERLE_THREADS_NONE});
    assert_int_equal(put_empty(open_players(db), "a"), MERLE_OK);
    assert_int_equal(each_task(NULL, NULL), threads_before);
    close_db(db);
}

static void background_thread_reclaims_by_itself(void **state) {
    (void)state;
    merle_section section;
    merle_db *db = open_db((merle_options){0});
    merle_collection *players = open_players(db);
    assert_int_equal(merle_section_begin(db, &section), MERLE_OK);
    for (int i = 0; i < 20; i++) assert_int_equal(put_empty(players, "a"), MERLE_OK);
    assert_int_equal(stats_of(db).versions_waiting, 19);
    assert_int_equal(merle_section_end(&section), MERLE_OK);
    /* Nobody calls anything but the statistics. A step is counted when it is over. */
    while (stats_of(db).versions_waiting != 0 || stats_of(db).steps == 0) (void)sched_yield();
    close_db(db);
}

/* ---- steps ---- */

static uint64_t ticking_ns(void *context) {
    return *(uint64_t *)context += 1000;
}
static int64_t standing_ns(void *context) {
    (void)context;
    return 1;
}

static void step_stays_within_its_budget(void **state) {
    (void)state;
    enum { MANY = 2000 };
    uint64_t now_ns = 1000000;
    const mrl_clock clock = {&now_ns, ticking_ns, standing_ns};
    const mrl_environment environment = {.clock = &clock};
    const merle_options options = {.threads = MERLE_THREADS_NONE, .ring_size = 64 << 10};
    uint64_t waiting[3];
    for (int round = 0; round < 3; round++) {
        merle_db *db;
        merle_key key;
        assert_int_equal(mrl_db_open(NULL, &options, &environment, &db), MERLE_OK);
        merle_collection *players = open_players(db);
        for (uint64_t i = 0; i < MANY; i++)
            assert_int_equal(
                merle_one_put(players, merle_key_u64(&key, i), merle_bytes_of("\x80", 1), NULL),
                MERLE_OK);
        assert_int_equal(merle_collection_truncate(players, NULL), MERLE_OK);
        /* Grace periods over, nothing done yet. */
        mrl_member *member = mrl_member_join(db->domain);
        for (int i = 0; i < 4; i++) mrl_epoch_advance(member);
        /* One reading of the clock a piece: each costs 1000 ns. */
        merle_err err = merle_step(db, 0, round == 0 ? 0 : round == 1 ? 5000 : 1000000000);
        assert_int_equal(err, round == 2 ? MERLE_OK : MERLE_BUSY);
        waiting[round] = stats_of(db).bytes_documents + mrl_domain_bytes_waiting(db->domain);
        assert_int_equal(stats_of(db).steps, 1);
        assert_true(stats_of(db).step_longest_ns >= 1000);
        if (round < 2) assert_true(stats_of(db).step_longest_ns <= (round == 0 ? 1000 : 6000));
        close_db(db);
    }
    assert_true(waiting[0] > waiting[1]);
    assert_true(waiting[1] > waiting[2]);
    assert_int_equal(waiting[2], 0);
    assert_int_equal(merle_step(NULL, 0, 0), MERLE_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_null_and_zero_are_the_defaults),
        cmocka_unit_test(options_given_are_in_force),
        cmocka_unit_test(options_wrong_are_refused),
        cmocka_unit_test(options_of_an_older_header_work),
        cmocka_unit_test(limit_too_small_for_a_database_is_refused),
        cmocka_unit_test(close_is_refused_while_something_is_open),
        cmocka_unit_test(close_is_refused_for_a_section_of_another_thread),
        cmocka_unit_test(close_of_null_is_nothing),
        cmocka_unit_test(databases_do_not_know_each_other),
        cmocka_unit_test(database_opened_again_and_again_leaves_nothing),
        cmocka_unit_test(child_is_told_by_calls_on_the_database),
        cmocka_unit_test(child_is_told_by_calls_on_a_collection),
        cmocka_unit_test(child_is_told_by_what_its_parent_had_open),
        cmocka_unit_test(child_may_open_a_database_of_its_own),
        cmocka_unit_test(thread_that_ends_inside_leaves_nothing),
        cmocka_unit_test(limits_reached_are_told_once),
        cmocka_unit_test(background_thread_has_its_name_and_no_signals),
        cmocka_unit_test(threads_none_starts_none),
        cmocka_unit_test(background_thread_reclaims_by_itself),
        cmocka_unit_test(step_stays_within_its_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
