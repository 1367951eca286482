/* tests/unit/persist/access_test.c - directories that are opened for reading, or must be there.
 *
 * Aim     An opening for reading gives what is in the files and changes none of them, whatever is
 *         then tried: commits, definitions, bulk loads, checkpoints, expiry. Cursors give the log
 *         from the first file that is kept. What is not there is not made, and a directory of
 *         something else is left as it is.
 * Method  A real temporary directory; all its files are compared byte by byte, and their times.
 * Blind   Reading beside a process that is writing: there is none, the lock sees to it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "database/database.h"

enum { DOCUMENTS = 2000 };

typedef struct world {
    char root[64], path[96];
    merle_db *db;
    merle_collection *things;
    merle_options options;
    merle_report report;
} world;

static const uint8_t small_doc[] = {0x81, 0xa1, 'n', 7};
static const merle_bytes doc = {small_doc, sizeof small_doc};

static int world_make(void **state) {
    world *w = calloc(1, sizeof *w);
    (void)snprintf(w->root, sizeof w->root, "/tmp/merle-access-XXXXXX");
    if (mkdtemp(w->root) == NULL) return -1;
    (void)snprintf(w->path, sizeof w->path, "%s/world.merle", w->root);
    w->options.report = &w->report;
    w->options.checkpoint_log_bytes = UINT64_MAX;
    w->options.log_file_size = 64 << 10;
    w->options.patience = MERLE_WAIT;
    *state = w;
    return 0;
}

static int world_clear(void **state) {
    world *w = *state;
    char command[200];
    if (w->db != NULL && merle_close(w->db) != MERLE_OK) return -1;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", w->root);
    int err = system(command);
    free(w);
    return err;
}

static void open_ok(world *w, merle_access access) {
    w->options.access = access;
    merle_err err = merle_open(w->path, &w->options, &w->db);
    if (err != MERLE_OK) fail_msg("%s: %s", merle_err_name(err), w->report.message);
    merle_report_to(w->db, &w->report);
}

static void close_ok(world *w) {
    assert_int_equal(merle_close(w->db), MERLE_OK);
    w->db = NULL;
}

/* Several log files, a checkpoint in the middle. */
static void fill(world *w, uint64_t log_keep_bytes) {
    merle_key key;
    w->options.log_keep_bytes = log_keep_bytes;
    open_ok(w, MERLE_ACCESS_DEFAULT);
    assert_int_equal(merle_collection_open(w->db, "things", NULL, &w->things), MERLE_OK);
    for (uint32_t i = 0; i < DOCUMENTS; i++) {
        assert_int_equal(merle_one_put(w->things, merle_key_u64(&key, i), doc, NULL), MERLE_OK);
        if (i == DOCUMENTS / 2) assert_int_equal(merle_checkpoint(w->db), MERLE_OK);
    }
    assert_int_equal(merle_one_put_for(w->things, MERLE_STR("ends"), doc, 1000000, NULL), MERLE_OK);
}

/* ---- what a directory looks like ---- */

static uint64_t hash_file(const char *path) {
    struct stat st;
    uint8_t bytes[4096];
    size_t got;
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    uint64_t hash = mrl_hash_bytes(path, strlen(path), (uint64_t)st.st_size);
    hash += (uint64_t)st.st_mtim.tv_sec * 1000000007u + (uint64_t)st.st_mtim.tv_nsec;
    while ((got = fread(bytes, 1, sizeof bytes, f)) > 0) hash = mrl_hash_bytes(bytes, got, hash);
    (void)fclose(f);
    return hash;
}

/* All files but the lock, in no order. */
static uint64_t hash_directory(const char *path) {
    char name[400];
    uint64_t hash = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.' || strcmp(e->d_name, "lock") == 0) continue;
        (void)snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        hash += hash_file(name);
    }
    (void)closedir(dir);
    return hash;
}

static uint64_t count_of(world *w) {
    merle_section s;
    uint64_t count;
    assert_int_equal(merle_section_begin(w->db, &s), MERLE_OK);
    assert_int_equal(merle_count(&s, w->things, &count), MERLE_OK);
    assert_int_equal(merle_section_end(&s), MERLE_OK);
    return count;
}

/* ---- for reading ---- */

static void try_everything(world *w) {
    merle_collection *other;
    merle_key key;
    uint64_t id;
    static const merle_index index = {.name = "n", .kind = MERLE_ORDERED, .on = "n"};
    assert_int_equal(merle_one_put(w->things, merle_key_u64(&key, 1), doc, NULL), MERLE_READ_ONLY);
    assert_non_null(strstr(w->report.message, "opened for reading"));
    assert_int_equal(merle_one_remove(w->things, merle_key_u64(&key, 1), NULL), MERLE_READ_ONLY);
    assert_int_equal(merle_collection_open(w->db, "new", NULL, &other), MERLE_READ_ONLY);
    assert_int_equal(merle_collection_truncate(w->things, NULL), MERLE_READ_ONLY);
    assert_int_equal(merle_collection_drop(w->things, NULL), MERLE_READ_ONLY);
    assert_int_equal(merle_index_add(w->things, &index, NULL), MERLE_READ_ONLY);
    assert_int_equal(merle_collection_next_id(w->things, &id), MERLE_READ_ONLY);
    assert_int_equal(merle_checkpoint(w->db), MERLE_READ_ONLY);
    assert_non_null(strstr(w->report.message, "opened for reading"));
    assert_int_equal(merle_step(w->db, 0, 100000000), MERLE_OK);
}

/* What a crash leaves, and any other opening would remove. */
static void leave(const world *w, const char *name) {
    char path[200];
    (void)snprintf(path, sizeof path, "%s/%s", w->path, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
}

static void reading_changes_no_file(void **state) {
    world *w = *state;
    merle_stats_db stats = {0};
    fill(w, 0);
    close_ok(w);
    leave(w, "pages-0000000000000fff");
    leave(w, "manifest-0000000000000fff.tmp");
    uint64_t before = hash_directory(w->path);
    for (int round = 0; round < 2; round++) {
        w->options.threads = round == 0 ? MERLE_THREADS_NONE : MERLE_THREADS_DEFAULT;
        open_ok(w, MERLE_ACCESS_READ);
        assert_int_equal(merle_collection_find(w->db, "things", &w->things), MERLE_OK);
        uint64_t count = count_of(w);
        assert_true(count >= DOCUMENTS);
        try_everything(w);
        assert_int_equal(count_of(w), count);
        assert_int_equal(merle_check(w->db, &w->report), MERLE_OK);
        assert_int_equal(merle_stats(w->db, &stats), MERLE_OK);
        assert_int_equal(stats.term, 1);
        assert_int_equal(stats.durable_seq, stats.seq);
        assert_int_equal(merle_wait_durable(w->db, stats.seq), MERLE_OK);
        close_ok(w);
        assert_int_equal(hash_directory(w->path), before);
    }
    open_ok(w, MERLE_ACCESS_EXISTING);
    assert_int_equal(merle_stats(w->db, &stats), MERLE_OK);
    assert_int_equal(stats.term, 2);
    assert_int_not_equal(hash_directory(w->path), before);
}

static void reading_leaves_a_torn_end_as_it_is(void **state) {
    world *w = *state;
    pid_t child = fork();
    if (child == 0) {
        fill(w, 0);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    uint64_t before = hash_directory(w->path);
    open_ok(w, MERLE_ACCESS_READ);
    assert_int_equal(merle_collection_find(w->db, "things", &w->things), MERLE_OK);
    uint64_t count = count_of(w);
    close_ok(w);
    assert_int_equal(hash_directory(w->path), before);
    open_ok(w, MERLE_ACCESS_EXISTING);
    assert_int_equal(merle_collection_find(w->db, "things", &w->things), MERLE_OK);
    assert_true(count >= count_of(w)); /* the one that ends may be gone by now */
}

/* ---- cursors ---- */

/* All changes from the first that there is; *out_first_seq is the one that was given first. */
static uint64_t read_all(world *w, uint64_t *out_first_seq, uint64_t *out_last_seq) {
    merle_changes *cursor;
    merle_changes_options options = {0};
    merle_change changes[64];
    size_t count;
    uint64_t total = 0;
    *out_first_seq = *out_last_seq = 0;
    assert_int_equal(merle_changes_open(w->db, &options, &cursor), MERLE_OK);
    merle_err err = merle_changes_next(cursor, changes, 64, &count);
    if (err == MERLE_GAP) {
        uint64_t first, last;
        merle_changes_gap(cursor, &first, &last);
        assert_int_equal(first, 1);
        err = merle_changes_next(cursor, changes, 64, &count);
        assert_int_equal(changes[0].seq, last + 1);
    }
    for (; err == MERLE_OK && count > 0; err = merle_changes_next(cursor, changes, 64, &count)) {
        if (total == 0) *out_first_seq = changes[0].seq;
        if (total != 0) assert_int_equal(changes[0].seq, *out_last_seq + 1);
        *out_last_seq = changes[count - 1].seq;
        total += count;
    }
    assert_int_equal(err, MERLE_OK);
    merle_changes_close(cursor);
    return total;
}

static void cursor_gives_all_that_is_kept(void **state) {
    world *w = *state;
    uint64_t first, last;
    fill(w, UINT64_MAX);
    close_ok(w);
    open_ok(w, MERLE_ACCESS_READ);
    uint64_t total = read_all(w, &first, &last);
    assert_int_equal(first, 1);
    assert_int_equal(total, last);
    assert_true(total >= DOCUMENTS + 2);
}

/* The manifest's log begins in the middle: so far the gap goes, and no further. */
static void gap_ends_where_files_begin(void **state) {
    world *w = *state;
    uint64_t first, last;
    fill(w, 0);
    for (int i = 0; i < 4; i++) assert_int_equal(merle_checkpoint(w->db), MERLE_OK);
    merle_key key;
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(merle_one_put(w->things, merle_key_u64(&key, i), doc, NULL), MERLE_OK);
    assert_int_equal(merle_checkpoint(w->db), MERLE_OK);
    assert_int_equal(merle_one_put(w->things, merle_key_u64(&key, 1), doc, NULL), MERLE_OK);
    assert_int_equal(merle_checkpoint(w->db), MERLE_OK);
    close_ok(w);
    open_ok(w, MERLE_ACCESS_READ);
    (void)read_all(w, &first, &last);
    assert_true(first > 1);
    assert_true(last >= DOCUMENTS + 13);
}

/* From files to the ring in one call, and then the ring is past it once more. */
static void cursor_that_falls_behind_twice_gives_each_commit_once(void **state) {
    world *w = *state;
    merle_changes *cursor;
    merle_change changes[64];
    merle_stats_db stats = {0};
    size_t count;
    w->options.ring_size = 64 << 10;
    fill(w, UINT64_MAX);
    assert_int_equal(merle_stats(w->db, &stats), MERLE_OK);
    assert_true(stats.ring_first_seq > 30);
    const merle_changes_options options = {.after_seq = stats.ring_first_seq - 30};
    assert_int_equal(merle_changes_open(w->db, &options, &cursor), MERLE_OK);
    uint64_t last = options.after_seq;
    do {
        merle_key key;
        assert_int_equal(merle_changes_next(cursor, changes, 64, &count), MERLE_OK);
        for (size_t i = 0; i < count; i++) assert_int_equal(changes[i].seq, ++last);
        for (uint32_t i = 0; i < DOCUMENTS && last < 2 * DOCUMENTS; i++)
            assert_int_equal(merle_one_put(w->things, merle_key_u64(&key, i), doc, NULL), MERLE_OK);
    } while (count > 0);
    assert_true(last > 2 * DOCUMENTS);
    merle_changes_close(cursor);
}

/* ---- what is not there ---- */

static void not_found(world *w, const char *path, merle_access access, const char *words) {
    w->options.access = access;
    assert_int_equal(merle_open(path, &w->options, &w->db), MERLE_NOT_FOUND);
    assert_null(w->db);
    assert_non_null(strstr(w->report.message, words));
    assert_string_equal(w->report.path, path);
}

static void what_is_not_there_is_not_made(void **state) {
    world *w = *state;
    char inside[160];
    struct stat st;
    for (int access = MERLE_ACCESS_EXISTING; access <= MERLE_ACCESS_READ; access++) {
        not_found(w, w->path, (merle_access)access, "no such directory");
        assert_int_equal(stat(w->path, &st), -1);
        not_found(w, w->root, (merle_access)access, "no database in this directory");
        (void)snprintf(inside, sizeof inside, "%s/lock", w->root);
        assert_int_equal(stat(inside, &st), -1);
    }
    w->options.access = (merle_access)7;
    assert_int_equal(merle_open(w->path, &w->options, &w->db), MERLE_INVALID);
}

static void owner_is_told_to_who_wants_to_read(void **state) {
    world *w = *state;
    merle_db *second;
    merle_report report = {0};
    merle_options options = {.report = &report, .access = MERLE_ACCESS_READ};
    char pid[32];
    fill(w, 0);
    assert_int_equal(merle_open(w->path, &options, &second), MERLE_BUSY);
    (void)snprintf(pid, sizeof pid, "process %d", (int)getpid());
    assert_string_equal(report.found, pid);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_make, world_clear)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(reading_changes_no_file),
        TEST(reading_leaves_a_torn_end_as_it_is),
        TEST(cursor_gives_all_that_is_kept),
        TEST(gap_ends_where_files_begin),
        TEST(cursor_that_falls_behind_twice_gives_each_commit_once),
        TEST(what_is_not_there_is_not_made),
        TEST(owner_is_told_to_who_wants_to_read),
    };
    return cmocka_run_group_tests_name("persist/access", tests, NULL, NULL);
}
