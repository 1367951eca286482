/* tests/compat/directory_test.c - directories written by earlier versions stay readable.
 *
 * Aim     Each directory under fixtures/ opens, and gives what is written down here: documents from
 *         pages, packed and not, changed by records of the log behind them.
 * Method  A fixture is copied to a temporary directory, opened, compared, worked on, opened again.
 *         With --make=PATH it makes a directory as the fixture of this version was made. All hold
 *         the same in the end. v1: log files of version 1. v2: their headers know the openings
 *         before, and records tell inserts, what has ended, and what came in its place.
 *         read_directory.py reads the same with nothing but docs/format.md.
 * Blind   What later versions add.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <merle/merle.h>

enum { PLAYERS = 400 };
#define FAR_AWAY_NS ((int64_t)4102444800 * 1000000000) /* the year 2100 */

static const merle_index indexes[] = {{.name = "number", .kind = MERLE_UNIQUE, .on = "n"},
                                      {.name = "level", .kind = MERLE_ORDERED, .on = "level"},
                                      {0}};
static const merle_schema schema = {.version = 3, .indexes = indexes};
static const char *fixtures;

static merle_options options_of(merle_compression compression) {
    return (merle_options){.threads = MERLE_THREADS_NONE,
                           .log_file_size = 64 << 10,
                           .ring_size = 64 << 10,
                           .patience = MERLE_WAIT,
                           .compression = compression,
                           .checkpoint_log_bytes = UINT64_MAX};
}

/* ---- making ---- */

static void put(merle_collection *players, uint64_t number) {
    merle_builder *b;
    merle_bytes doc;
    merle_key key;
    char name[32];
    (void)snprintf(name, sizeof name, "player %u", (unsigned)number);
    assert_int_equal(merle_builder_create(&b), MERLE_OK);
    merle_build_begin(b);
    merle_build_uint(b, "n", number);
    merle_build_str(b, "name", name);
    merle_build_uint(b, "level", number % 7);
    assert_int_equal(merle_build_end(b, &doc), MERLE_OK);
    assert_int_equal(merle_one_put(players, merle_key_u64(&key, number), doc, NULL), MERLE_OK);
    merle_builder_destroy(b);
}

static merle_db *open_at(const char *path, merle_compression compression,
                         merle_collection **out_players) {
    merle_db *db = NULL;
    merle_report report = {0};
    merle_options options = options_of(compression);
    options.report = &report;
    merle_err err = merle_open(path, &options, &db);
    if (err != MERLE_OK) fail_msg("%s: %s", merle_err_name(err), report.message);
    assert_int_equal(merle_collection_open(db, "players", &schema, out_players), MERLE_OK);
    return db;
}

static void expire(merle_db *db, merle_collection *players, uint64_t number) {
    merle_commit *commit;
    merle_key key;
    assert_int_equal(merle_begin(db, &commit), MERLE_OK);
    assert_int_equal(merle_expire(commit, players, merle_key_u64(&key, number), FAR_AWAY_NS),
                     MERLE_OK);
    assert_int_equal(merle_end(commit, NULL), MERLE_OK);
}

static void patch(merle_collection *players, uint64_t number) {
    merle_key key;
    assert_int_equal(merle_one_patch(players, merle_key_u64(&key, number), NULL, NULL,
                                     MERLE_INC("level", 100), MERLE_SET_STR("was.here", "ada")),
                     MERLE_OK);
}

static void put_that_ends(merle_collection *players, uint64_t number) {
    uint8_t doc[] = {0x81, 0xa1, 'n', 0xcd, (uint8_t)(number >> 8), (uint8_t)number};
    merle_key key;
    assert_int_equal(merle_one_put_for(players, merle_key_u64(&key, number),
                                       merle_bytes_of(doc, sizeof doc), 1000000, NULL),
                     MERLE_OK);
}

/* Two that end at once: one is removed by a step, in the other one's place something is put. */
static void let_end(merle_db *db, merle_collection *players) {
    static const uint8_t doc[] = {0x81, 0xa1, 'n', 0xcd, 0x23, 0x28}; /* {"n": 9000} */
    merle_stats_db stats = {0};
    merle_key key;
    merle_err err = MERLE_EXISTS;
    put_that_ends(players, 9000);
    while (err == MERLE_EXISTS)
        err = merle_one_insert(players, merle_key_u64(&key, 9000), merle_bytes_of(doc, sizeof doc),
                               NULL);
    assert_int_equal(err, MERLE_OK);
    assert_int_equal(merle_one_remove(players, merle_key_u64(&key, 9000), NULL), MERLE_OK);
    put_that_ends(players, 9001);
    while (stats.expired < 2) {
        (void)merle_step(db, 0, 0);
        assert_int_equal(merle_stats(db, &stats), MERLE_OK);
    }
}

static void make(const char *path) {
    merle_collection *players;
    merle_key key;
    uint64_t id;
    merle_db *db = open_at(path, MERLE_COMPRESSION_ZSTD, &players);
    for (uint64_t i = 0; i < PLAYERS; i++) put(players, i);
    for (uint64_t i = 0; i < PLAYERS; i += 50) expire(db, players, i);
    assert_int_equal(merle_checkpoint(db), MERLE_OK);
    assert_int_equal(merle_close(db), MERLE_OK);
    db = open_at(path, MERLE_COMPRESSION_NONE, &players);
    for (uint64_t i = 100; i < 120; i++) patch(players, i);
    assert_int_equal(merle_checkpoint(db), MERLE_OK);
    for (uint64_t i = 110; i < 130; i++) patch(players, i);
    for (uint64_t i = 300; i < 310; i++)
        assert_int_equal(merle_one_remove(players, merle_key_u64(&key, i), NULL), MERLE_OK);
    put(players, PLAYERS);
    let_end(db, players);
    assert_int_equal(merle_collection_next_id(players, &id), MERLE_OK);
    assert_int_equal(merle_close(db), MERLE_OK);
}

/* ---- reading ---- */

static void check_player(merle_section *s, merle_collection *players, uint64_t number) {
    merle_key key;
    merle_doc doc;
    merle_err err = merle_get(s, players, merle_key_u64(&key, number), &doc);
    if (number >= 300 && number < 310) {
        assert_int_equal(err, MERLE_NOT_FOUND);
        return;
    }
    assert_int_equal(err, MERLE_OK);
    uint64_t patched = (number >= 100 && number < 120) + (number >= 110 && number < 130);
    assert_int_equal(merle_doc_uint(doc, "n", 0), number);
    assert_int_equal(merle_doc_uint(doc, "level", 0), number % 7 + 100 * patched);
    int expires = number % 50 == 0 && number < PLAYERS;
    assert_int_equal(merle_doc_expires(doc), expires ? FAR_AWAY_NS : 0);
}

static void check(merle_db *db, merle_collection *players) {
    merle_section s;
    uint64_t count, id;
    merle_report report = {0};
    if (merle_check(db, &report) != MERLE_OK) fail_msg("%s", report.message);
    assert_int_equal(merle_section_begin(db, &s), MERLE_OK);
    for (uint64_t i = 0; i <= PLAYERS; i++) check_player(&s, players, i);
    assert_int_equal(merle_count(&s, players, &count), MERLE_OK);
    assert_int_equal(count, PLAYERS - 9);
    assert_int_equal(merle_section_end(&s), MERLE_OK);
    assert_int_equal(merle_collection_next_id(players, &id), MERLE_OK);
    assert_true(id > 1);
}

static void open_and_check(const char *version) {
    char root[64] = "/tmp/merle-compat-XXXXXX", path[128], command[700];
    merle_collection *players;
    assert_non_null(mkdtemp(root));
    (void)snprintf(path, sizeof path, "%s/world.merle", root);
    (void)snprintf(command, sizeof command, "cp -r '%s/%s/world.merle' '%s'", fixtures, version,
                   path);
    assert_int_equal(system(command), 0);
    for (int round = 0; round < 3; round++) {
        merle_db *db = open_at(path, MERLE_COMPRESSION_NONE, &players);
        check(db, players);
        if (round == 1) assert_int_equal(merle_checkpoint(db), MERLE_OK);
        assert_int_equal(merle_close(db), MERLE_OK);
    }
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

static void directory_of_version_1_opens(void **state) {
    (void)state;
    open_and_check("v1");
}

static void directory_of_version_2_opens(void **state) {
    (void)state;
    open_and_check("v2");
}

int main(int argc, char **argv) {
    if (argc > 1 && strncmp(argv[1], "--make=", 7) == 0) {
        make(argv[1] + 7);
        return 0;
    }
    if (argc < 2) return 2;
    fixtures = argv[1];
    const struct CMUnitTest tests[] = {cmocka_unit_test(directory_of_version_1_opens),
                                       cmocka_unit_test(directory_of_version_2_opens)};
    return cmocka_run_group_tests_name("compat/directory", tests, NULL, NULL);
}
