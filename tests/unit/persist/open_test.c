/* tests/unit/persist/open_test.c - a directory from its first opening to its last.
 *
 * Aim     What was committed is there after an opening, with or without a checkpoint, after a close
 *         and after a kill: documents, their seqs, slots and indexes, definitions, ids. A small
 *         change writes little. Whatever is missing, swapped, cut or damaged is refused with a
 *         report that says where.
 * Method  Random work on a real temporary directory beside a plain array of what there must be; a
 *         child that works and ends without closing; files damaged one way after another.
 * Blind   Power cuts, failing disks: the crash tests have a simulated one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "base/crc32c.h"
#include "database/database.h"
#include "persist/log_file.h"
#include "tests/unit/seed.h"

enum { DOCUMENTS = 3000, CODES = 1000000 };

static uint64_t seed;

/* What there must be under each number. */
typedef struct plain {
    uint8_t there;
    uint32_t level, code, size;
    uint64_t seq;
} plain;

typedef struct world {
    char root[64], path[96];
    mrl_random random;
    merle_db *db;
    merle_collection *things, *memory;
    merle_options options;
    merle_report report;
    plain plain[DOCUMENTS];
} world;

static const merle_index indexes[] = {{.name = "code", .kind = MERLE_UNIQUE, .on = "code"},
                                      {.name = "level", .kind = MERLE_ORDERED, .on = "level"},
                                      {.name = "tags", .kind = MERLE_TAGS, .on = "tags"},
                                      {0}};
static const merle_schema schema = {.version = 1, .indexes = indexes};
static const merle_schema memory_schema = {.version = 1, .memory_only = 1};

/* ---- a world ---- */

static int world_make(void **state) {
    /* Shared with children. */
    world *w = mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (w == MAP_FAILED) return -1;
    (void)snprintf(w->root, sizeof w->root, "/tmp/merle-open-XXXXXX");
    if (mkdtemp(w->root) == NULL) return -1;
    (void)snprintf(w->path, sizeof w->path, "%s/world.merle", w->root);
    mrl_random_init(&w->random, seed);
    w->options.report = &w->report;
    w->options.checkpoint_log_bytes = UINT64_MAX;
    w->options.log_file_size = 1 << 20;
    w->options.patience = MERLE_WAIT;
    *state = w;
    return 0;
}

static int world_clear(void **state) {
    world *w = *state;
    char command[200];
    if (w->db != NULL && merle_close(w->db) != MERLE_OK) {
        /* A test that has failed inside a section. */
        (void)printf("# not closed\n");
        return -1;
    }
    (void)snprintf(command, sizeof command, "rm -rf '%s'", w->root);
    int err = system(command);
    (void)munmap(w, sizeof *w);
    return err;
}

static void open_ok(world *w) {
    merle_err err = merle_open(w->path, &w->options, &w->db);
    if (err != MERLE_OK) fail_msg("%s: %s", merle_err_name(err), w->report.message);
    merle_report_to(w->db, &w->report);
    assert_int_equal(merle_collection_open(w->db, "things", &schema, &w->things), MERLE_OK);
    assert_int_equal(merle_collection_open(w->db, "memory", &memory_schema, &w->memory), MERLE_OK);
}

static void close_ok(world *w) {
    assert_int_equal(merle_close(w->db), MERLE_OK);
    w->db = NULL;
}

static void checkpoint_ok(world *w) {
    merle_err err = merle_checkpoint(w->db);
    if (err != MERLE_OK) fail_msg("%s: %s", merle_err_name(err), w->report.message);
}

/* ---- work ---- */

static merle_bytes document_of(const plain *p, uint32_t number, merle_builder *b) {
    char text[2048];
    merle_bytes bytes;
    memset(text, 'a' + (int)(number % 26), p->size);
    text[p->size] = 0;
    merle_build_begin(b);
    merle_build_int(b, "level", p->level);
    merle_build_int(b, "code", p->code);
    merle_build_str(b, "text", text);
    merle_build_array(b, "tags");
    merle_build_str(b, NULL, number % 2 == 0 ? "even" : "odd");
    merle_build_close(b);
    assert_int_equal(merle_build_end(b, &bytes), MERLE_OK);
    return bytes;
}

static void put(world *w, uint32_t number) {
    merle_builder *b;
    merle_key key;
    plain *p = &w->plain[number];
    assert_int_equal(merle_builder_create(&b), MERLE_OK);
    p->there = 1;
    p->level = (uint32_t)mrl_random_below(&w->random, 100);
    p->code = (uint32_t)(number + DOCUMENTS * mrl_random_below(&w->random, CODES));
    p->size = (uint32_t)mrl_random_below(&w->random, 400);
    assert_int_equal(
        merle_one_put(w->things, merle_key_u64(&key, number), document_of(p, number, b), &p->seq),
        MERLE_OK);
    merle_builder_destroy(b);
}

static void change(world *w, uint32_t number) {
    merle_key key;
    plain *p = &w->plain[number];
    uint64_t what = mrl_random_below(&w->random, 10);
    if (!p->there || what < 3) {
        put(w, number);
    } else if (what < 8) {
        p->level++;
        assert_int_equal(merle_one_patch(w->things, merle_key_u64(&key, number), NULL, &p->seq,
                                         MERLE_INC("level", 1)),
                         MERLE_OK);
    } else {
        p->there = 0;
        assert_int_equal(merle_one_remove(w->things, merle_key_u64(&key, number), NULL), MERLE_OK);
    }
}

static void work(world *w, int changes) {
    for (int i = 0; i < changes; i++) change(w, (uint32_t)mrl_random_below(&w->random, DOCUMENTS));
}

/* ---- comparing ---- */

static void check_one(world *w, merle_section *s, uint32_t number) {
    merle_key key;
    merle_doc doc, by_code;
    merle_value code = merle_value_int(w->plain[number].code);
    merle_err err = merle_get(s, w->things, merle_key_u64(&key, number), &doc);
    assert_int_equal(err, w->plain[number].there ? MERLE_OK : MERLE_NOT_FOUND);
    if (err != MERLE_OK) return;
    assert_int_equal(merle_doc_int(doc, "level", -1), w->plain[number].level);
    assert_int_equal(doc.seq, w->plain[number].seq);
    assert_int_equal(merle_get_unique(s, w->things, "code", &code, 1, &by_code), MERLE_OK);
    assert_ptr_equal(by_code.data, doc.data);
}

static void check(world *w) {
    merle_section s;
    uint64_t count = 0, found;
    merle_err err = merle_check(w->db, &w->report);
    if (err != MERLE_OK) fail_msg("merle_check: %s", w->report.message);
    assert_int_equal(merle_section_begin(w->db, &s), MERLE_OK);
    for (uint32_t i = 0; i < DOCUMENTS; i++) {
        check_one(w, &s, i);
        count += w->plain[i].there;
    }
    assert_int_equal(merle_count(&s, w->things, &found), MERLE_OK);
    assert_int_equal(found, count);
    assert_int_equal(merle_section_end(&s), MERLE_OK);
}

/* The keys of a scan one behind the other, hashed: slots and iteration order. */
static uint64_t order_of(world *w) {
    merle_section s;
    merle_scan scan = {0};
    merle_doc docs[64];
    size_t count;
    uint64_t hash = 1;
    assert_int_equal(merle_section_begin(w->db, &s), MERLE_OK);
    while (merle_scan_next(&s, w->things, &scan, docs, 64, &count) == MERLE_OK) {
        for (size_t i = 0; i < count; i++) {
            merle_bytes key = merle_doc_key(docs[i]);
            hash = mrl_hash_bytes(key.data, key.size, hash);
        }
    }
    assert_int_equal(merle_section_end(&s), MERLE_OK);
    return hash;
}

static merle_recovery_info recovery_of(world *w) {
    merle_recovery_info info = {0};
    assert_int_equal(merle_recovery(w->db, &info), MERLE_OK);
    return info;
}

/* ---- the tests ---- */

static void a_new_directory_is_made_and_is_empty(void **state) {
    world *w = *state;
    struct stat st;
    open_ok(w);
    assert_int_equal(stat(w->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(recovery_of(w).is_new, 1);
    assert_int_equal(recovery_of(w).term, 1);
    close_ok(w);
    open_ok(w);
    assert_int_equal(recovery_of(w).is_new, 0);
    assert_int_equal(recovery_of(w).term, 2);
    check(w);
}

static void log_alone_gives_everything_back(void **state) {
    world *w = *state;
    open_ok(w);
    work(w, 6000);
    uint64_t order = order_of(w);
    close_ok(w);
    open_ok(w);
    check(w);
    assert_int_equal(order_of(w), order);
    assert_true(recovery_of(w).records >= 6000);
    assert_int_equal(recovery_of(w).pages, 0);
    work(w, 1000);
    check(w);
}

static void checkpoint_gives_everything_back_without_the_log(void **state) {
    world *w = *state;
    open_ok(w);
    work(w, 6000);
    checkpoint_ok(w);
    uint64_t order = order_of(w);
    close_ok(w);
    open_ok(w);
    check(w);
    assert_int_equal(order_of(w), order);
    assert_int_equal(recovery_of(w).records, 0);
    assert_true(recovery_of(w).pages > 10);
    work(w, 1000);
    check(w);
}

static void work_checkpoints_and_openings_take_turns(void **state) {
    world *w = *state;
    open_ok(w);
    for (int round = 0; round < 30; round++) {
        w->options.compression = (merle_compression)(round % 2);
        work(w, (int)mrl_random_below(&w->random, 800));
        if (mrl_random_below(&w->random, 2) == 0) checkpoint_ok(w);
        work(w, (int)mrl_random_below(&w->random, 300));
        if (mrl_random_below(&w->random, 8) == 0) {
            assert_int_equal(merle_collection_truncate(w->things, NULL), MERLE_OK);
            memset(w->plain, 0, sizeof w->plain);
            work(w, 100);
        }
        if (mrl_random_below(&w->random, 2) != 0) continue;
        uint64_t order = order_of(w);
        close_ok(w);
        open_ok(w);
        check(w);
        assert_int_equal(order_of(w), order);
    }
}

/* ---- writers beside a checkpoint ---- */

/* Between any two pieces of a checkpoint something is changed, so that every page has an S of its
 * own, and much of what is replayed is in the pages already. */
static void changes_between_its_pieces_come_back(void **state) {
    world *w = *state;
    w->options.threads = MERLE_THREADS_NONE;
    open_ok(w);
    work(w, 6000);
    uint64_t passed_over = 0;
    for (int round = 0; round < 12; round++) {
        const mrl_checkpoint_stats *stats = mrl_persist_checkpoint_stats(w->db->persist);
        mrl_member *member = mrl_member_join(w->db->domain);
        uint64_t pieces = 0, done = atomic_load(&stats->done), truncate_at = UINT64_MAX;
        if (round % 4 == 3) truncate_at = 1 + mrl_random_below(&w->random, 40);
        work(w, 30);
        assert_int_equal(mrl_persist_begin(w->db->persist, member, NULL), MERLE_OK);
        while (atomic_load(&stats->done) == done) {
            assert_int_equal(mrl_persist_step(w->db->persist, member, 0, &w->report), 1);
            work(w, (int)mrl_random_below(&w->random, 4));
            if (++pieces != truncate_at) continue;
            assert_int_equal(merle_collection_truncate(w->things, NULL), MERLE_OK);
            memset(w->plain, 0, sizeof w->plain);
        }
        work(w, 50);
        uint64_t order = order_of(w);
        close_ok(w);
        open_ok(w);
        check(w);
        assert_int_equal(order_of(w), order);
        passed_over += recovery_of(w).operations_passed_over;
        work(w, 1000);
    }
    assert_true(passed_over > 100);
}

static void dropped_collection_stays_gone(void **state) {
    world *w = *state;
    merle_collection *other;
    merle_key key;
    uint8_t doc[] = {0x80};
    w->options.threads = MERLE_THREADS_NONE;
    for (int drop_at = 0; drop_at < 6; drop_at++) {
        open_ok(w);
        mrl_member *member = mrl_member_join(w->db->domain);
        assert_int_equal(merle_collection_open(w->db, "other", NULL, &other), MERLE_OK);
        for (uint32_t i = 0; i < 5000; i++)
            assert_int_equal(
                merle_one_put(other, merle_key_u64(&key, i), merle_bytes_of(doc, 1), NULL),
                MERLE_OK);
        assert_int_equal(mrl_persist_begin(w->db->persist, member, NULL), MERLE_OK);
        for (int piece = 0; mrl_persist_is_busy(w->db->persist); piece++) {
            assert_int_equal(mrl_persist_step(w->db->persist, member, 0, &w->report), 1);
            merle_err err = piece >= drop_at ? MERLE_GONE : MERLE_OK;
            assert_int_equal(
                merle_one_patch(other, merle_key_u64(&key, 4999), NULL, NULL, MERLE_INC("n", 1)),
                piece > drop_at ? err : MERLE_OK);
            if (piece == drop_at) assert_int_equal(merle_collection_drop(other, NULL), MERLE_OK);
        }
        close_ok(w);
        open_ok(w);
        assert_int_equal(merle_collection_find(w->db, "other", &other), MERLE_NOT_FOUND);
        check(w);
        close_ok(w);
    }
}

/* ---- a process that just ends ---- */

/* The child works and ends without closing; the world is shared, so what it did is known here. */
static void work_in_a_child_and_die(world *w, int changes, int with_checkpoint) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        open_ok(w);
        check(w);
        work(w, changes / 2);
        if (with_checkpoint) checkpoint_ok(w);
        work(w, changes - changes / 2);
        uint64_t last = mrl_log_published_at(w->db->store.published);
        _exit(mrl_log_set_sync(mrl_persist_log_set(w->db->persist), mrl_member_join(w->db->domain),
                               last) == MERLE_OK
                  ? 0
                  : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    w->db = NULL;
}

static void killed_process_leaves_what_was_durable(void **state) {
    world *w = *state;
    for (int round = 0; round < 6; round++) work_in_a_child_and_die(w, 700, round % 3 != 1);
    open_ok(w);
    check(w);
    assert_int_equal(recovery_of(w).term, 7);
}

/* ---- definitions, ids, memory-only ---- */

static void definitions_and_ids_come_back(void **state) {
    world *w = *state;
    merle_collection *other;
    uint64_t id, later;
    static const merle_index extra = {.name = "by text", .kind = MERLE_ORDERED, .on = "text"};
    open_ok(w);
    work(w, 500);
    assert_int_equal(merle_collection_next_id(w->things, &id), MERLE_OK);
    assert_int_equal(merle_collection_open(w->db, "other", NULL, &other), MERLE_OK);
    uint32_t dropped = merle_collection_id(other);
    checkpoint_ok(w);
    assert_int_equal(merle_collection_drop(other, NULL), MERLE_OK);
    assert_int_equal(merle_index_add(w->things, &extra, NULL), MERLE_OK);
    work(w, 200);
    checkpoint_ok(w);
    close_ok(w);
    assert_int_equal(merle_open(w->path, &w->options, &w->db), MERLE_OK);
    assert_int_equal(merle_collection_find(w->db, "things", &w->things), MERLE_OK);
    assert_int_equal(merle_collection_find(w->db, "other", &other), MERLE_NOT_FOUND);
    assert_int_equal(merle_collection_next_id(w->things, &later), MERLE_OK);
    assert_true(later > id);
    assert_int_equal(merle_collection_open(w->db, "other", NULL, &other), MERLE_OK);
    assert_true(merle_collection_id(other) > dropped);
    check(w);
    merle_stats_index stats = {0};
    assert_int_equal(merle_index_stats(w->things, "by text", &stats), MERLE_OK);
}

static void memory_only_documents_do_not_come_back(void **state) {
    world *w = *state;
    merle_section s;
    uint64_t count;
    uint8_t doc[] = {0x80};
    open_ok(w);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(merle_one_put(w->memory, MERLE_STR("a"), merle_bytes_of(doc, 1), NULL),
                         MERLE_OK);
        if (round == 1) checkpoint_ok(w);
        close_ok(w);
        open_ok(w);
        assert_int_equal(merle_section_begin(w->db, &s), MERLE_OK);
        assert_int_equal(merle_count(&s, w->memory, &count), MERLE_OK);
        assert_int_equal(count, 0);
        assert_int_equal(merle_section_end(&s), MERLE_OK);
    }
}

/* ---- how much is written ---- */

static uint64_t bytes_of_last(const world *w) {
    const mrl_checkpoint_stats *stats = mrl_persist_checkpoint_stats(w->db->persist);
    return atomic_load_explicit(&stats->last_bytes, memory_order_relaxed);
}

static void small_changes_write_little(void **state) {
    world *w = *state;
    merle_key key;
    enum { MANY = 60000 };
    open_ok(w);
    for (uint32_t i = 0; i < MANY; i++) {
        merle_builder *b;
        plain p = {1, i % 100, i, 150, 0};
        assert_int_equal(merle_builder_create(&b), MERLE_OK);
        assert_int_equal(
            merle_one_put(w->things, merle_key_u64(&key, i), document_of(&p, i, b), NULL),
            MERLE_OK);
        merle_builder_destroy(b);
    }
    checkpoint_ok(w);
    uint64_t all = bytes_of_last(w);
    for (uint32_t i = 0; i < MANY / 100; i++)
        assert_int_equal(merle_one_patch(w->things, merle_key_u64(&key, 20000 + i), NULL, NULL,
                                         MERLE_INC("level", 1)),
                         MERLE_OK);
    checkpoint_ok(w);
    uint64_t neighbours = bytes_of_last(w);
    for (uint32_t i = 0; i < MANY / 100; i++)
        assert_int_equal(
            merle_one_patch(w->things, merle_key_u64(&key, mrl_random_below(&w->random, MANY)),
                            NULL, NULL, MERLE_INC("level", 1)),
            MERLE_OK);
    checkpoint_ok(w);
    printf("# first %llu bytes; 1%% of neighbours %.2f%%, at random %.1f%%\n",
           (unsigned long long)all, 100.0 * (double)neighbours / (double)all,
           100.0 * (double)bytes_of_last(w) / (double)all);
    assert_true(neighbours * 100 <= all * 3);
}

/* ---- who else ---- */

static void second_owner_is_told_who_has_it(void **state) {
    world *w = *state;
    merle_db *second = NULL;
    merle_report report = {0};
    merle_options options = {.report = &report};
    char pid[32];
    open_ok(w);
    assert_int_equal(merle_open(w->path, &options, &second), MERLE_BUSY);
    (void)snprintf(pid, sizeof pid, "process %d", (int)getpid());
    assert_string_equal(report.found, pid);
    assert_null(second);
    close_ok(w);
    open_ok(w);
}

static void files_are_explained(void **state) {
    world *w = *state;
    merle_buffer json = {0};
    open_ok(w);
    work(w, 300);
    checkpoint_ok(w);
    assert_int_equal(merle_files(w->db, &json), MERLE_OK);
    char *text = calloc(1, json.size + 1);
    memcpy(text, json.data, json.size);
    assert_non_null(strstr(text, "the manifest in force"));
    assert_non_null(strstr(text, "pages-0000000000000001"));
    assert_non_null(strstr(text, "commits from 1 on"));
    assert_null(strstr(text, "no part of the log"));
    free(text);
    merle_buffer_free(&json);
}

static void steps_alone_make_checkpoints(void **state) {
    world *w = *state;
    w->options.threads = MERLE_THREADS_NONE;
    w->options.checkpoint_log_bytes = 100000;
    open_ok(w);
    for (int i = 0; i < 400; i++) {
        work(w, 20);
        (void)merle_step(w->db, 0, 0);
    }
    const mrl_checkpoint_stats *stats = mrl_persist_checkpoint_stats(w->db->persist);
    assert_true(atomic_load(&stats->done) >= 2);
    close_ok(w);
    open_ok(w);
    assert_true(recovery_of(w).records < 8000);
    check(w);
}

static merle_stats_db stats_of(const world *w) {
    merle_stats_db stats = {.size = sizeof stats};
    assert_int_equal(merle_stats(w->db, &stats), MERLE_OK);
    return stats;
}

static void what_the_disk_lacks_is_told(void **state) {
    world *w = *state;
    uint64_t seq;
    w->options.threads = MERLE_THREADS_NONE;
    open_ok(w);
    assert_int_equal(merle_one_put(w->things, merle_str("a"), merle_bytes_of("\x80", 1), &seq),
                     MERLE_OK);
    merle_stats_db before = stats_of(w);
    assert_true(before.log_unsynced_bytes > 0);
    assert_true(before.durable_seq < seq);
    assert_int_equal(merle_wait_durable(w->db, seq), MERLE_OK);
    merle_stats_db after = stats_of(w);
    assert_int_equal(after.log_unsynced_bytes, 0);
    assert_int_equal(after.durable_seq, seq);
    assert_true(after.log_syncs > before.log_syncs && after.log_groups > before.log_groups &&
                after.log_records > before.log_records &&
                after.log_bytes_written > before.log_bytes_written && after.log_sync_ns > 0);
}

/* ---- damage ---- */

/* The newest file of a kind. */
static void newest(const world *w, const char *prefix, char out[300]) {
    char best[256] = "";
    DIR *dir = opendir(w->path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (strncmp(e->d_name, prefix, strlen(prefix)) == 0 && strcmp(e->d_name, best) > 0)
            (void)snprintf(best, sizeof best, "%s", e->d_name);
    (void)closedir(dir);
    assert_true(best[0] != 0);
    (void)snprintf(out, 300, "%s/%s", w->path, best);
}

static void flip(const char *path, long at) {
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    if (at < 0) assert_int_equal(fseek(f, at, SEEK_END), 0);
    if (at >= 0) assert_int_equal(fseek(f, at, SEEK_SET), 0);
    int byte = fgetc(f);
    assert_int_equal(fseek(f, -1, SEEK_CUR), 0);
    (void)fputc(byte ^ 0x10, f);
    assert_int_equal(fclose(f), 0);
}

/* Opening fails with err; the report speaks of `file` and has `words` in its sentence. */
static void refused(world *w, merle_err err, const char *file, const char *words) {
    merle_err got = merle_open(w->path, &w->options, &w->db);
    assert_null(w->db);
    if (got != err || strstr(w->report.path, file) == NULL ||
        strstr(w->report.message, words) == NULL)
        fail_msg("%s, path %s: %s", merle_err_name(got), w->report.path, w->report.message);
    assert_int_equal(w->report.err, err);
}

static void written_and_closed(world *w) {
    open_ok(w);
    work(w, 3000);
    checkpoint_ok(w);
    work(w, 2000);
    checkpoint_ok(w);
    close_ok(w);
}

/* In the newest log file: the record with this seq, of one operation, gets another slot; all
 * checksums are right. Returns where it stands. */
static uint64_t forge_slot(const world *w, uint64_t seq, uint32_t slot) {
    static uint8_t bytes[2 << 20];
    char path[300];
    mrl_log_header header;
    mrl_frame frame;
    uint32_t version;
    newest(w, "log-", path);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file), at = MRL_LOG_FRAMES_AT;
    assert_int_equal(mrl_log_header_read(bytes, &header, &version), MERLE_OK);
    for (;; at += mrl_log_frame_size(frame.length)) {
        assert_true(at < size);
        assert_int_equal(mrl_frame_read(bytes + at, header.seed, &frame), MERLE_OK);
        if (frame.seq == seq && frame.length > 0) break;
    }
    uint8_t *body = bytes + at + MRL_FRAME_HEADER_SIZE, *place = memchr(body, 0xce, frame.length);
    assert_non_null(place); /* the slot is the first number of four bytes */
    for (int i = 0; i < 4; i++) place[1 + i] = (uint8_t)(slot >> (24 - 8 * i));
    frame.body_crc = mrl_crc32c(0, body, frame.length);
    mrl_frame_write(bytes + at, &frame, header.seed);
    assert_int_equal(fseek(file, 0, SEEK_SET), 0);
    assert_true(fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
    return at;
}

static void slots_that_nobody_gave_are_refused(void **state) {
    world *w = *state;
    static const uint32_t slots[] = {UINT32_MAX - 2, UINT32_MAX / 2, 1u << 23};
    uint64_t seq;
    open_ok(w);
    work(w, 200);
    checkpoint_ok(w);
    assert_int_equal(merle_one_put(w->things, merle_str("forged"), merle_bytes_of("\x80", 1), &seq),
                     MERLE_OK);
    close_ok(w);
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++) {
        uint64_t at = forge_slot(w, seq, slots[i]);
        refused(w, MERLE_CORRUPT, "log-", "far behind");
        assert_true(w->report.offset == at);
    }
    (void)forge_slot(w, seq, 5000); /* a few that failed commits had taken: no more than that */
    open_ok(w);
}

static void damaged_manifest_is_refused(void **state) {
    world *w = *state;
    char path[300], moved[320];
    written_and_closed(w);
    newest(w, "manifest-", path);
    for (int i = 0; i < 3; i++) {
        static const long places[] = {2, 30, 100};
        flip(path, places[i]);
        refused(w, MERLE_CORRUPT, "manifest-", "merle restore");
        flip(path, places[i]);
    }
    /* The version, alone and with a checksum over it, is what a newer library would write. */
    flip(path, 6);
    refused(w, MERLE_UNSUPPORTED, "manifest-", "newer format");
    flip(path, 6);
    (void)snprintf(moved, sizeof moved, "%s/manifest-00000000000000ff", w->path);
    assert_int_equal(rename(path, moved), 0);
    refused(w, MERLE_CORRUPT, "manifest-00000000000000ff", "renamed");
    assert_int_equal(rename(moved, path), 0);
    assert_int_equal(truncate(path, 50), 0);
    refused(w, MERLE_CORRUPT, "manifest-", "shorter");
}

static void missing_manifests_are_noticed(void **state) {
    world *w = *state;
    char path[300];
    written_and_closed(w);
    /* Without the newest the one before, with the log, gives the same. */
    newest(w, "manifest-", path);
    assert_int_equal(unlink(path), 0);
    open_ok(w);
    check(w);
    close_ok(w);
    newest(w, "manifest-", path);
    assert_int_equal(unlink(path), 0);
    refused(w, MERLE_CORRUPT, "-", "no manifest");
}

static void damaged_page_files_are_refused(void **state) {
    world *w = *state;
    char path[300], moved[320];
    written_and_closed(w);
    newest(w, "pages-", path);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    flip(path, 94);
    refused(w, MERLE_CORRUPT, "pages-", "checksum");
    assert_true(w->report.offset > 0 && w->report.expected[0] != 0 && w->report.found[0] != 0);
    flip(path, 94);
    flip(path, 10);
    refused(w, MERLE_CORRUPT, "pages-", "header has a wrong checksum");
    flip(path, 10);
    (void)snprintf(moved, sizeof moved, "%s.away", path);
    assert_int_equal(rename(path, moved), 0);
    refused(w, MERLE_CORRUPT, "pages-", "missing");
    assert_int_equal(rename(moved, path), 0);
    assert_int_equal(truncate(path, st.st_size - 100), 0);
    refused(w, MERLE_CORRUPT, "pages-", "cut short");
}

static void swapped_page_files_are_refused(void **state) {
    world *w = *state;
    char one[300], two[300], aside[320];
    written_and_closed(w);
    newest(w, "pages-", two);
    (void)snprintf(one, sizeof one, "%s/pages-0000000000000001", w->path);
    (void)snprintf(aside, sizeof aside, "%s/aside", w->path);
    assert_int_equal(rename(one, aside), 0);
    assert_int_equal(rename(two, one), 0);
    assert_int_equal(rename(aside, two), 0);
    refused(w, MERLE_CORRUPT, "pages-", "");
}

static void foreign_files_are_refused(void **state) {
    world *w = *state;
    char path[300], other[128], command[800];
    written_and_closed(w);
    (void)snprintf(other, sizeof other, "%s/other", w->root);
    (void)snprintf(command, sizeof command, "cp -r %s %s && rm -rf %s", w->path, other, w->path);
    assert_int_equal(system(command), 0);
    memset(w->plain, 0, sizeof w->plain);
    written_and_closed(w);
    newest(w, "pages-", path);
    (void)snprintf(command, sizeof command, "cp %s/%s %s", other, strrchr(path, '/') + 1, path);
    assert_int_equal(system(command), 0);
    refused(w, MERLE_CORRUPT, "pages-", "");
}

static void what_is_no_directory_is_refused(void **state) {
    world *w = *state;
    FILE *f = fopen(w->path, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    refused(w, MERLE_SYSTEM, "world.merle", "opening the directory");
    assert_true(w->report.system_errno != 0);
}

static void files_left_by_a_crash_go(void **state) {
    world *w = *state;
    char path[300];
    open_ok(w);
    work(w, 500);
    checkpoint_ok(w);
    close_ok(w);
    static const char *const names[] = {"pages-00000000000000aa", "manifest-00000000000000ff.tmp"};
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", w->path, names[i]);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_int_equal(fclose(f), 0);
    }
    open_ok(w);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", w->path, names[i]);
        assert_int_not_equal(access(path, F_OK), 0);
    }
    check(w);
    /* A number that was there once is not given again. */
    work(w, 500);
    checkpoint_ok(w);
    newest(w, "pages-", path);
    assert_non_null(strstr(path, "pages-00000000000000ab"));
}

static uint32_t count_files(const world *w, const char *prefix) {
    uint32_t count = 0;
    DIR *dir = opendir(w->path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        count += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    (void)closedir(dir);
    return count;
}

static void older_manifest_that_cannot_be_read_stays_until_a_checkpoint(void **state) {
    world *w = *state;
    char path[300], older[300];
    written_and_closed(w);
    open_ok(w);
    newest(w, "manifest-", older);
    work(w, 100);
    checkpoint_ok(w);
    close_ok(w);
    newest(w, "manifest-", path);
    assert_true(strcmp(older, path) < 0);
    flip(older, 30);
    open_ok(w);
    assert_int_equal(access(older, F_OK), 0);
    work(w, 100);
    checkpoint_ok(w);
    assert_int_not_equal(access(older, F_OK), 0);
    check(w);
}

static void short_lives_do_not_pile_up_log_files(void **state) {
    world *w = *state;
    w->options.checkpoint_log_bytes = 0;
    w->options.threads = MERLE_THREADS_NONE;
    for (int i = 0; i < 100; i++) {
        open_ok(w);
        work(w, 3);
        close_ok(w);
        /* Two manifests' worth of them, and those that are prepared or spare. */
        assert_true(count_files(w, "log-") <= 2 * 16 + 4);
    }
    open_ok(w);
    check(w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_make, world_clear)

int main(int argc, char **argv) {
    seed = seed_of(argc, argv);
    const struct CMUnitTest tests[] = {
        TEST(a_new_directory_is_made_and_is_empty),
        TEST(log_alone_gives_everything_back),
        TEST(checkpoint_gives_everything_back_without_the_log),
        TEST(work_checkpoints_and_openings_take_turns),
        TEST(changes_between_its_pieces_come_back),
        TEST(dropped_collection_stays_gone),
        TEST(killed_process_leaves_what_was_durable),
        TEST(definitions_and_ids_come_back),
        TEST(memory_only_documents_do_not_come_back),
        TEST(small_changes_write_little),
        TEST(second_owner_is_told_who_has_it),
        TEST(files_are_explained),
        TEST(steps_alone_make_checkpoints),
        TEST(what_the_disk_lacks_is_told),
        TEST(slots_that_nobody_gave_are_refused),
        TEST(damaged_manifest_is_refused),
        TEST(missing_manifests_are_noticed),
        TEST(damaged_page_files_are_refused),
        TEST(swapped_page_files_are_refused),
        TEST(foreign_files_are_refused),
        TEST(what_is_no_directory_is_refused),
        TEST(files_left_by_a_crash_go),
        TEST(older_manifest_that_cannot_be_read_stays_until_a_checkpoint),
        TEST(short_lives_do_not_pile_up_log_files),
    };
    return cmocka_run_group_tests_name("persist/open", tests, NULL, NULL);
}
