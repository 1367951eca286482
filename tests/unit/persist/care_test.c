/* tests/unit/persist/care_test.c - backup, restore and verify on a real directory.
 *
 * Aim     A backup is what the database was at the commit that it names, whatever writers and
 *         checkpoints do meanwhile; one that was cut off cannot be opened. A restore gives back
 *         every single commit that the files still have, and says which these are. Verify finds
 *         nothing where nothing is wrong, finds damage of each kind, and writes nothing.
 * Method  A small database with a fingerprint of all that a reader sees after each commit.
 * Blind   Power cuts in the middle of a backup: the crash tests have a simulated disk.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "tests/unit/persist/care_stand.h"

static uint64_t seed;

static int make(void **state) {
    stand *st = malloc(sizeof *st);
    *state = st;
    return stand_make(st, seed);
}

static int clear(void **state) {
    int failed = stand_clear(*state);
    free(*state);
    return failed;
}

static merle_err verify(stand *st, const char *path, merle_care_info *out_info) {
    merle_care_options options = {.finding = stand_find, .finding_context = st};
    memset(st->findings, 0, sizeof st->findings);
    *out_info = (merle_care_info){0};
    return merle_verify(path, &options, out_info, &st->report);
}

static void verify_ok(stand *st, const char *path) {
    merle_care_info info;
    merle_err err = verify(st, path, &info);
    if (err != MERLE_OK || info.damaged != 0)
        fail_msg("%s: %s: %s (%s)", path, merle_err_name(err), st->report.message,
                 st->last.message);
}

/* ---- backup ---- */

static void backup_is_the_database_at_its_commit(void **state) {
    stand *st = *state;
    stand_open(st);
    for (int round = 0; round < 12; round++) {
        merle_care_info info = {0};
        uint64_t seq;
        stand_work(st, (int)mrl_random_below(&st->random, 80));
        if (round % 3 == 1) stand_checkpoint(st);
        if (round % 4 == 2) {
            stand_close(st);
            stand_open(st);
        }
        stand_note(st, stand_change(st));
        merle_err err = merle_backup(st->db, st->copy, NULL, &info, &st->report);
        if (err != MERLE_OK) fail_msg("%s: %s", merle_err_name(err), st->report.message);
        assert_int_equal(info.seq, st->seq);
        verify_ok(st, st->copy);
        assert_int_equal(stand_print_of(st, st->copy, &seq), st->prints[st->seq]);
        assert_int_equal(seq, st->seq);
        stand_remove(st->copy);
    }
}

enum { RING = 3000 };

typedef struct writing {
    stand *st;
    _Atomic int stop;
    _Atomic uint64_t commits;
} writing;

static void *write_on(void *context) {
    writing *w = context;
    while (!atomic_load(&w->stop)) {
        merle_key key;
        uint64_t n = atomic_fetch_add(&w->commits, 1);
        uint8_t doc[] = {
            0x81,      0xa1, 'n', 0xce, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
            (uint8_t)n};
        if (merle_one_put(w->st->things[1], merle_key_u64(&key, n % RING),
                          merle_bytes_of(doc, sizeof doc), NULL) != MERLE_OK)
            break;
    }
    return NULL;
}

/* Every document says the how manieth of the writer's it is: where n is there, so are the RING - 1
 * before, each under its key, and none behind it. */
static void check_ring(const char *path) {
    merle_db *db;
    merle_collection *others;
    merle_section s;
    merle_scan scan = {0};
    merle_doc docs[64];
    size_t count;
    uint64_t found = 0, last = 0, first = UINT64_MAX;
    assert_int_equal(merle_open(path, NULL, &db), MERLE_OK);
    assert_int_equal(merle_collection_find(db, "others", &others), MERLE_OK);
    assert_int_equal(merle_section_begin(db, &s), MERLE_OK);
    while (merle_scan_next(&s, others, &scan, docs, 64, &count) == MERLE_OK)
        for (size_t i = 0; i < count; i++) {
            uint64_t n = merle_doc_uint(docs[i], "n", 0);
            if (n > last) last = n;
            if (n < first) first = n;
            found++;
        }
    assert_int_equal(last - first + 1, found);
    assert_int_equal(found, last + 1 < RING ? last + 1 : RING);
    assert_int_equal(merle_section_end(&s), MERLE_OK);
    assert_int_equal(merle_close(db), MERLE_OK);
}

static void backup_beside_a_writer_is_of_one_commit(void **state) {
    stand *st = *state;
    writing w = {.st = st};
    pthread_t thread;
    st->options.threads = MERLE_THREADS_BACKGROUND;
    st->options.checkpoint_log_bytes = 128 << 10;
    st->options.log_file_size = 256 << 10;
    stand_open(st);
    uint64_t before = 0;
    assert_int_equal(pthread_create(&thread, NULL, write_on, &w), 0);
    for (int round = 0; round < 6; round++) {
        merle_care_info info = {0};
        uint64_t seq;
        while (atomic_load(&w.commits) < (uint64_t)(round + 1) * 2000) (void)sched_yield();
        merle_err err = merle_backup(st->db, st->copy, NULL, &info, &st->report);
        if (err != MERLE_OK) fail_msg("%s: %s", merle_err_name(err), st->report.message);
        assert_true(info.seq >= before && info.seq > 0);
        before = info.seq;
        (void)stand_print_of(st, st->copy, &seq);
        assert_int_equal(seq, info.seq);
        verify_ok(st, st->copy);
        check_ring(st->copy);
        stand_remove(st->copy);
    }
    atomic_store(&w.stop, 1);
    (void)pthread_join(thread, NULL);
    stand_close(st);
    verify_ok(st, st->path);
}

static void backup_without_its_manifest_cannot_be_opened(void **state) {
    stand *st = *state;
    merle_db *db;
    char path[256];
    stand_open(st);
    stand_work(st, 50);
    stand_checkpoint(st);
    assert_int_equal(merle_backup(st->db, st->copy, NULL, NULL, &st->report), MERLE_OK);
    assert_int_equal(merle_backup(st->db, st->copy, NULL, NULL, &st->report), MERLE_EXISTS);
    assert_true(stand_file(st->copy, "manifest-", path, sizeof path));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(merle_open(st->copy, &st->options, &db), MERLE_CORRUPT);
}

/* A backup shares page files with the original: neither changes the other. */
static void backup_and_original_go_separate_ways(void **state) {
    stand *st = *state;
    uint64_t seq;
    stand_open(st);
    stand_work(st, 200);
    stand_checkpoint(st);
    stand_work(st, 20);
    assert_int_equal(merle_backup(st->db, st->copy, NULL, NULL, &st->report), MERLE_OK);
    uint64_t then = st->prints[st->seq];
    for (int i = 0; i < 5; i++) {
        stand_work(st, 150);
        stand_checkpoint(st);
    }
    stand_close(st);
    verify_ok(st, st->copy);
    assert_int_equal(stand_print_of(st, st->copy, &seq), then);
    stand_remove(st->copy);
    verify_ok(st, st->path);
    assert_int_equal(stand_print_of(st, st->path, &seq), st->prints[st->seq]);
}

static void backup_of_one_opened_for_reading_is_the_same(void **state) {
    stand *st = *state;
    merle_care_info info = {0};
    uint64_t seq;
    stand_open(st);
    stand_work(st, 80);
    stand_checkpoint(st);
    stand_work(st, 20);
    stand_close(st);
    st->options.access = MERLE_ACCESS_READ;
    assert_int_equal(merle_open(st->path, &st->options, &st->db), MERLE_OK);
    merle_err err = merle_backup(st->db, st->copy, NULL, &info, &st->report);
    if (err != MERLE_OK) fail_msg("%s: %s", merle_err_name(err), st->report.message);
    assert_int_equal(info.seq, st->seq);
    stand_close(st);
    st->options.access = MERLE_ACCESS_DEFAULT;
    verify_ok(st, st->copy);
    assert_int_equal(stand_print_of(st, st->copy, &seq), st->prints[st->seq]);
}

static void backup_of_a_database_in_memory_is_refused(void **state) {
    stand *st = *state;
    merle_db *db;
    assert_int_equal(merle_open(NULL, NULL, &db), MERLE_OK);
    assert_int_equal(merle_backup(db, st->copy, NULL, NULL, &st->report), MERLE_NOT_FOUND);
    assert_int_equal(merle_close(db), MERLE_OK);
}

/* ---- restore ---- */

static void restore_gives_every_commit_back(void **state) {
    stand *st = *state;
    merle_care_info info = {0};
    uint64_t first, last, seq;
    stand_open(st);
    stand_work(st, 60);
    stand_checkpoint(st);
    stand_work(st, 15);
    stand_checkpoint(st);
    stand_work(st, 12);
    stand_close(st);
    merle_care_options options = {.seq = UINT64_MAX};
    assert_int_equal(merle_restore(st->path, st->copy, &options, &info, &st->report),
                     MERLE_NOT_FOUND);
    first = info.seq_min;
    last = info.seq_max;
    assert_int_equal(last, st->seq);
    assert_true(first >= 60 && first <= 70);
    for (options.seq = first; options.seq <= last; options.seq++) {
        info = (merle_care_info){0};
        merle_err err = merle_restore(st->path, st->copy, &options, &info, &st->report);
        if (err != MERLE_OK) fail_msg("%s: %s", merle_err_name(err), st->report.message);
        assert_int_equal(info.seq, options.seq);
        if (options.seq % 16 == 0) verify_ok(st, st->copy);
        assert_int_equal(stand_print_of(st, st->copy, &seq), st->prints[options.seq]);
        assert_int_equal(seq, options.seq);
        stand_remove(st->copy);
    }
    options.seq = first - 1;
    assert_int_equal(merle_restore(st->path, st->copy, &options, NULL, &st->report),
                     MERLE_NOT_FOUND);
}

static int64_t wall_now_ns;
static int64_t wall_of(void *context) {
    (void)context;
    return wall_now_ns;
}
static uint64_t monotonic_of(void *context) {
    (void)context;
    return (uint64_t)wall_now_ns;
}

/* Three commits a second; asked for the second, the last of them. */
static void restore_to_a_time_takes_the_last_commit_until_then(void **state) {
    stand *st = *state;
    const mrl_clock clock = {NULL, monotonic_of, wall_of};
    const mrl_environment environment = {.clock = &clock};
    uint64_t last_of[40] = {0}, seq;
    merle_care_info info = {0};
    wall_now_ns = 1000000000;
    assert_int_equal(mrl_db_open(st->path, &st->options, &environment, &st->db), MERLE_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            merle_collection_open(st->db, i == 0 ? "things" : "others", NULL, &st->things[i]),
            MERLE_OK);
    for (int second = 2; second < 40; second++) {
        wall_now_ns = (int64_t)second * 1000000000;
        stand_work(st, 3);
        last_of[second] = st->seq;
        if (second == 20) stand_checkpoint(st);
    }
    stand_close(st);
    merle_care_options options = {0};
    for (int second = 2; second < 40; second += 5) {
        options.time_ns = (int64_t)second * 1000000000 + 500;
        merle_err err = merle_restore(st->path, st->copy, &options, &info, &st->report);
        if (err != MERLE_OK) fail_msg("%s: %s", merle_err_name(err), st->report.message);
        assert_int_equal(info.seq, last_of[second]);
        assert_int_equal(info.time_ns, (int64_t)second * 1000000000);
        assert_int_equal(stand_print_of(st, st->copy, &seq), st->prints[last_of[second]]);
        stand_remove(st->copy);
    }
    options.time_ns = 1;
    assert_int_equal(merle_restore(st->path, st->copy, &options, NULL, &st->report),
                     MERLE_NOT_FOUND);
}

static void restored_database_goes_on_in_a_later_term(void **state) {
    stand *st = *state;
    merle_care_info info = {0};
    stand_open(st);
    stand_work(st, 100);
    stand_close(st);
    merle_care_options options = {.seq = 50};
    assert_int_equal(merle_restore(st->path, st->copy, &options, &info, &st->report), MERLE_OK);
    assert_int_equal(info.term, 2);
    char path[96];
    memcpy(path, st->path, sizeof path);
    memcpy(st->path, st->copy, sizeof st->path);
    stand_open(st);
    merle_recovery_info recovery = {0};
    assert_int_equal(merle_recovery(st->db, &recovery), MERLE_OK);
    assert_int_equal(recovery.term, 3);
    assert_int_equal(recovery.last_seq, 50);
    stand_work(st, 100);
    stand_checkpoint(st);
    stand_work(st, 10);
    stand_close(st);
    verify_ok(st, st->copy);
    memcpy(st->path, path, sizeof st->path);
}

/* ---- verify ---- */

static void verify_says_what_there_is(void **state) {
    stand *st = *state;
    merle_care_info info;
    stand_open(st);
    stand_work(st, 100);
    stand_checkpoint(st);
    stand_work(st, 50);
    /* Documents that are in the log alone count, too. */
    assert_int_equal(
        merle_one_put(st->things[0], merle_str("in the log"), merle_bytes_of("\x80", 1), &st->seq),
        MERLE_OK);
    uint64_t documents = 0;
    for (int i = 0; i < 2; i++) documents += merle_count_estimate(st->things[i]);
    assert_int_equal(merle_verify(st->path, NULL, NULL, &st->report), MERLE_BUSY);
    stand_close(st);
    assert_int_equal(verify(st, st->path, &info), MERLE_OK);
    assert_int_equal(info.findings, 0);
    assert_int_equal(info.seq, st->seq);
    assert_true(info.manifests == 2 && info.pages > 0 && info.documents == documents);
    assert_int_equal(merle_verify(st->copy, NULL, NULL, &st->report), MERLE_NOT_FOUND);
    assert_int_not_equal(access(st->copy, F_OK), 0);
}

static void verify_of_damage(stand *st, const char *prefix, off_t offset, merle_finding_kind kind) {
    merle_care_info info;
    char path[256];
    assert_true(stand_file(st->path, prefix, path, sizeof path));
    stand_flip(path, offset);
    assert_int_equal(verify(st, st->path, &info), MERLE_CORRUPT);
    assert_true(st->findings[kind] > 0);
    assert_string_equal(st->last.file, strrchr(path, '/') + 1);
    stand_flip(path, offset);
    verify_ok(st, st->path);
}

static void verify_finds_each_kind_of_damage(void **state) {
    stand *st = *state;
    merle_care_info info;
    char path[256], away[256];
    stand_open(st);
    stand_work(st, 100);
    stand_checkpoint(st);
    stand_work(st, 50);
    stand_close(st);
    verify_of_damage(st, "pages-", 80, MERLE_FOUND_DAMAGE);
    verify_of_damage(st, "pages-", 3, MERLE_FOUND_DAMAGE);
    verify_of_damage(st, "manifest-", 100, MERLE_FOUND_DAMAGE);
    verify_of_damage(st, "log-0000000000000001", 8192 + 40, MERLE_FOUND_HOLE);
    (void)snprintf(away, sizeof away, "%s/away", st->root);
    assert_true(stand_file(st->path, "pages-", path, sizeof path));
    assert_int_equal(rename(path, away), 0);
    assert_int_equal(verify(st, st->path, &info), MERLE_CORRUPT);
    assert_int_equal(st->findings[MERLE_FOUND_MISSING], 1);
    assert_int_equal(rename(away, path), 0);
    (void)snprintf(away, sizeof away, "%s/pages-00000000000000ff", st->path);
    assert_int_equal(link(path, away), 0);
    assert_int_equal(verify(st, st->path, &info), MERLE_OK);
    assert_int_equal(st->findings[MERLE_FOUND_ORPHAN], 1);
    assert_int_equal(unlink(away), 0);
}

int main(int argc, char **argv) {
    seed = seed_of(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(backup_is_the_database_at_its_commit, make, clear),
        cmocka_unit_test_setup_teardown(backup_beside_a_writer_is_of_one_commit, make, clear),
        cmocka_unit_test_setup_teardown(backup_without_its_manifest_cannot_be_opened, make, clear),
        cmocka_unit_test_setup_teardown(backup_and_original_go_separate_ways, make, clear),
        cmocka_unit_test_setup_teardown(backup_of_one_opened_for_reading_is_the_same, make, clear),
        cmocka_unit_test_setup_teardown(backup_of_a_database_in_memory_is_refused, make, clear),
        cmocka_unit_test_setup_teardown(restore_gives_every_commit_back, make, clear),
        cmocka_unit_test_setup_teardown(restore_to_a_time_takes_the_last_commit_until_then, make,
                                        clear),
        cmocka_unit_test_setup_teardown(restored_database_goes_on_in_a_later_term, make, clear),
        cmocka_unit_test_setup_teardown(verify_says_what_there_is, make, clear),
        cmocka_unit_test_setup_teardown(verify_finds_each_kind_of_damage, make, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
