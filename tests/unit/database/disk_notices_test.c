/* tests/unit/database/disk_notices_test.c - what an operator is told of the disk.
 *
 * Aim     A log that has failed, and a next log file that cannot be made ready, are told through
 *         the log callback: once each, and that the latter is over. Nothing is told of a database
 *         that is open for reading.
 * Method  A real directory behind a table of functions that refuses syncs or room when it is asked
 *         to; a clock that the test moves; no threads, so that all is done in steps.
 * Blind   What writers are told: tests/unit/persist/durable_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "database/database.h"

enum { LOG_FILE_SIZE = 64 << 10, DOC_SIZE = 8 << 10 };

typedef struct heard {
    int counts[MERLE_LOG_ERROR + 1];
    char text[256]; /* the last one */
} heard;

static int is_broken, is_full;
static uint64_t now_ns;
static char root[64], path[96];

/* ---- a disk and a clock ---- */

static int sync_or_not(mrl_file *file) {
    return is_broken ? EIO : mrl_files_system.file_sync(file);
}

static int reserve_or_not(mrl_file *file, uint64_t size) {
    return is_full ? ENOSPC : mrl_files_system.file_reserve(file, size);
}

static uint64_t monotonic_ns(void *context) {
    (void)context;
    return now_ns;
}

static void hear(void *context, merle_log_level level, const char *text) {
    heard *h = context;
    h->counts[level]++;
    (void)snprintf(h->text, sizeof h->text, "%s", text);
}

static merle_db *open_db(heard *h, merle_access access) {
    static mrl_files files;
    static mrl_clock clock;
    merle_db *db;
    files = mrl_files_system;
    files.file_sync = sync_or_not;
    files.file_reserve = reserve_or_not;
    clock = mrl_clock_system;
    clock.monotonic_ns = monotonic_ns;
    mrl_environment environment = {.files = &files, .clock = &clock};
    merle_options options = {.threads = MERLE_THREADS_NONE,
                             .log_file_size = LOG_FILE_SIZE,
                             .access = access,
                             .log = hear,
                             .log_context = h};
    memset(h, 0, sizeof *h);
    assert_int_equal(mrl_db_open(path, &options, &environment, &db), MERLE_OK);
    return db;
}

static void step(merle_db *db) {
    now_ns += 200000000;
    for (int i = 0; i < 100 && merle_step(db, 0, 1000000) == MERLE_BUSY; i++) continue;
}

/* From there on the next one is made ready. */
static void use_half_of_the_file(merle_db *db) {
    static const uint8_t doc[DOC_SIZE] = {
        0x81, 0xa1, 'x', 0xc5, (DOC_SIZE - 6) >> 8, (DOC_SIZE - 6) & 255};
    merle_collection *things;
    assert_int_equal(merle_collection_open(db, "things", NULL, &things), MERLE_OK);
    for (int i = 0; i < LOG_FILE_SIZE / 2 / DOC_SIZE; i++)
        assert_int_equal(
            merle_one_put(things, MERLE_STR("a"), merle_bytes_of(doc, sizeof doc), NULL), MERLE_OK);
}

static int make(void **state) {
    (void)state;
    is_broken = is_full = 0;
    now_ns = 1000000000;
    (void)snprintf(root, sizeof root, "/tmp/merle-notices-XXXXXX");
    if (mkdtemp(root) == NULL) return -1;
    (void)snprintf(path, sizeof path, "%s/world.merle", root);
    return 0;
}

static int clear(void **state) {
    char command[160];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

/* ---- cases ---- */

static void disk_that_is_full_is_told_once_and_when_it_is_over(void **state) {
    (void)state;
    heard h;
    merle_db *db = open_db(&h, MERLE_ACCESS_DEFAULT);
    is_full = 1;
    use_half_of_the_file(db);
    for (int i = 0; i < 3; i++) step(db);
    assert_int_equal(h.counts[MERLE_LOG_WARNING], 1);
    assert_non_null(strstr(h.text, "No space left"));
    is_full = 0;
    for (int i = 0; i < 3; i++) step(db);
    assert_int_equal(h.counts[MERLE_LOG_WARNING], 1);
    assert_int_equal(h.counts[MERLE_LOG_INFO], 1);
    assert_int_equal(merle_close(db), MERLE_OK);
    assert_int_equal(h.counts[MERLE_LOG_ERROR], 0);
}

static void log_that_has_failed_is_told_once_with_the_reason(void **state) {
    (void)state;
    heard h;
    int64_t number;
    merle_collection *things;
    merle_db *db = open_db(&h, MERLE_ACCESS_DEFAULT);
    assert_int_equal(merle_collection_open(db, "things", NULL, &things), MERLE_OK);
    step(db);
    assert_int_equal(h.counts[MERLE_LOG_ERROR], 0);
    is_broken = 1;
    assert_int_equal(merle_one_count(things, MERLE_STR("a"), "n", 1, &number), MERLE_OK);
    for (int i = 0; i < 3; i++) step(db);
    assert_int_equal(merle_wait_durable(db, UINT64_MAX), MERLE_NOT_DURABLE);
    step(db);
    assert_int_equal(h.counts[MERLE_LOG_ERROR], 1);
    assert_non_null(strstr(h.text, "log-0000000000000001"));
    assert_int_equal(merle_close(db), MERLE_NOT_DURABLE);
}

static void database_that_is_only_read_has_nothing_to_tell(void **state) {
    (void)state;
    heard h;
    merle_db *db = open_db(&h, MERLE_ACCESS_DEFAULT);
    assert_int_equal(merle_close(db), MERLE_OK);
    db = open_db(&h, MERLE_ACCESS_READ);
    step(db);
    assert_int_equal(merle_close(db), MERLE_OK);
    for (int i = 0; i <= MERLE_LOG_ERROR; i++) assert_int_equal(h.counts[i], 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(disk_that_is_full_is_told_once_and_when_it_is_over, make,
                                        clear),
        cmocka_unit_test_setup_teardown(log_that_has_failed_is_told_once_with_the_reason, make,
                                        clear),
        cmocka_unit_test_setup_teardown(database_that_is_only_read_has_nothing_to_tell, make,
                                        clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
