/* tests/stress/checkpoint_test.c - checkpoints beside writers on real threads.
 *
 * Aim     While threads write as fast as they can, and one truncates now and then, checkpoints are
 *         made one after another by the library's own thread; an opening then gives back exactly
 *         what was committed, whichever page it comes from.
 * Method  Each thread has keys of its own and notes what it left under them; the truncating thread
 *         has a collection of its own. A real directory, closed and opened several times.
 * Blind   Crashes: the crash tests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "database/database.h"
#include "tests/unit/seed.h"

enum { WRITERS = 3, KEYS = 2000, ROUNDS = 3, COMMITS = 20000 };

static uint64_t seed;

typedef struct writer {
    pthread_t thread;
    merle_collection *collection;
    mrl_random random;
    uint32_t first;
    int truncates;
    int failed;
    uint32_t left[KEYS]; /* 0: nothing */
} writer;

static merle_err put(writer *w, uint32_t key, uint32_t number) {
    merle_key k;
    uint8_t doc[8] = {0x81, 0xa1, 'n', 0xce};
    for (int i = 0; i < 4; i++) doc[4 + i] = (uint8_t)(number >> (24 - 8 * i));
    w->left[key] = number;
    return merle_one_put(w->collection, merle_key_u64(&k, w->first + key),
                         merle_bytes_of(doc, sizeof doc), NULL);
}

static void *run(void *context) {
    writer *w = context;
    for (uint32_t i = 1; i <= COMMITS && !w->failed; i++) {
        merle_key k;
        uint32_t key = (uint32_t)mrl_random_below(&w->random, KEYS);
        merle_err err;
        if (w->left[key] != 0 && mrl_random_below(&w->random, 5) == 0) {
            w->left[key] = 0;
            err = merle_one_remove(w->collection, merle_key_u64(&k, w->first + key), NULL);
        } else {
            err = put(w, key, i);
        }
        if (err == MERLE_OK && w->truncates && i % 700 == 0) {
            memset(w->left, 0, sizeof w->left);
            err = merle_collection_truncate(w->collection, NULL);
        }
        if (err != MERLE_OK) w->failed = (int)err;
    }
    return NULL;
}

static void check(merle_db *db, const writer *w) {
    merle_section s;
    merle_doc doc;
    merle_key k;
    assert_int_equal(w->failed, 0);
    assert_int_equal(merle_section_begin(db, &s), MERLE_OK);
    for (uint32_t i = 0; i < KEYS; i++) {
        merle_err err = merle_get(&s, w->collection, merle_key_u64(&k, w->first + i), &doc);
        assert_int_equal(err, w->left[i] == 0 ? MERLE_NOT_FOUND : MERLE_OK);
        if (err == MERLE_OK) assert_int_equal(merle_doc_uint(doc, "n", 0), w->left[i]);
    }
    assert_int_equal(merle_section_end(&s), MERLE_OK);
}

static merle_db *open_db(const char *path, writer *writers) {
    merle_db *db;
    merle_report report = {0};
    merle_collection *shared, *own;
    merle_options options = {.report = &report,
                             .patience = MERLE_WAIT,
                             .checkpoint_log_bytes = 30000,
                             .log_file_size = 1 << 20,
                             .ring_size = 1 << 18};
    if (merle_open(path, &options, &db) != MERLE_OK) fail_msg("%s", report.message);
    assert_int_equal(merle_collection_open(db, "shared", NULL, &shared), MERLE_OK);
    assert_int_equal(merle_collection_open(db, "own", NULL, &own), MERLE_OK);
    for (int i = 0; i < WRITERS; i++) writers[i].collection = writers[i].truncates ? own : shared;
    return db;
}

static void nothing_is_lost_beside_writers(void **state) {
    char root[64] = "/tmp/merle-stress-XXXXXX", path[96], command[128];
    static writer writers[WRITERS];
    merle_stats_db stats = {0};
    uint64_t checkpoints = 0;
    (void)state;
    assert_non_null(mkdtemp(root));
    (void)snprintf(path, sizeof path, "%s/world", root);
    for (uint32_t i = 0; i < WRITERS; i++) {
        mrl_random_init(&writers[i].random, seed + i);
        writers[i].first = i * KEYS;
        writers[i].truncates = i == 0;
    }
    for (int round = 0; round <= ROUNDS; round++) {
        merle_db *db = open_db(path, writers);
        merle_report report = {0};
        for (int i = 0; i < WRITERS; i++) check(db, &writers[i]);
        if (merle_check(db, &report) != MERLE_OK) fail_msg("%s", report.message);
        for (int i = 0; i < WRITERS; i++)
            assert_int_equal(pthread_create(&writers[i].thread, NULL, run, &writers[i]), 0);
        if (round % 2 == 1) assert_int_equal(merle_checkpoint(db), MERLE_OK);
        for (int i = 0; i < WRITERS; i++) pthread_join(writers[i].thread, NULL);
        for (int i = 0; i < WRITERS; i++) check(db, &writers[i]);
        assert_int_equal(merle_stats(db, &stats), MERLE_OK);
        assert_int_equal(stats.checkpoints_failed, 0);
        checkpoints += stats.checkpoints;
        assert_int_equal(merle_close(db), MERLE_OK);
    }
    printf("# %llu checkpoints\n", (unsigned long long)checkpoints);
    assert_true(checkpoints >= 2);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

int main(int argc, char **argv) {
    seed = seed_of(argc, argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_lost_beside_writers)};
    return cmocka_run_group_tests_name("stress/checkpoint", tests, NULL, NULL);
}
