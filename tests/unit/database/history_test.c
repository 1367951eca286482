/* tests/unit/database/history_test.c - which past the seqs of an opening belong to.
 *
 * Aim     Openings of one directory know each other; openings of its copies, of a restored and a
 *         repaired one do as far as they have the same commits, and no further. In memory nothing
 *         is known.
 * Method  Real directories, copied, backed up, restored, repaired; each opened and asked.
 * Blind   Crashes (tests/crash), single headers (persist/log_terms_test.c).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/persist/care_stand.h"

typedef struct history {
    uint8_t bytes[MRL_HISTORY_SIZE];
    uint64_t id; /* of the term */
    mrl_log_term terms[MRL_LOG_TERMS_MAX];
    size_t count;
} history;

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

static history ask(merle_db *db) {
    history h = {0};
    merle_stats_db stats = {0};
    mrl_db_history(db, h.bytes);
    mrl_db_terms(db, h.terms, MRL_LOG_TERMS_MAX, &h.count);
    for (int i = 16; i < 24; i++) h.id = h.id << 8 | h.bytes[i];
    assert_int_equal(merle_stats(db, &stats), MERLE_OK);
    assert_true(stats.term_id == h.id && h.id != 0);
    for (int i = 0; i < 16; i++)
        assert_true(h.bytes[i] == (uint8_t)(stats.database_id[i / 8] >> (56 - i % 8 * 8)));
    for (size_t i = 0; i < h.count; i++) assert_true(h.terms[i].id != h.id);
    return h;
}

/* What an opening at the path says. */
static history ask_at(stand *st, const char *path, merle_access access) {
    merle_options options = st->options;
    options.access = access;
    merle_db *db;
    merle_err err = merle_open(path, &options, &db);
    if (err != MERLE_OK) fail_msg("%s: %s", merle_err_name(err), st->report.message);
    history h = ask(db);
    assert_int_equal(merle_close(db), MERLE_OK);
    return h;
}

/* Up to which seq the term's commits are part of this past; 0: it is not known. */
static uint64_t end_of(const history *h, uint64_t id) {
    for (size_t i = 0; i < h->count; i++)
        if (h->terms[i].id == id) return h->terms[i].end_seq;
    return 0;
}

/* Three openings, with what they did; the last one is closed, too. */
static void live(stand *st, uint64_t ids[3], uint64_t ends[3]) {
    for (int i = 0; i < 3; i++) {
        stand_open(st);
        stand_work(st, 60);
        ids[i] = ask(st->db).id;
        if (i == 1) stand_checkpoint(st);
        stand_work(st, 10);
        ends[i] = st->seq;
        stand_close(st);
    }
}

static void directory_opened_again_knows_its_openings(void **state) {
    stand *st = *state;
    uint64_t ids[3], ends[3];
    live(st, ids, ends);
    history first = ask_at(st, st->path, MERLE_ACCESS_DEFAULT);
    assert_int_equal(first.count, 3);
    for (int i = 0; i < 3; i++)
        assert_true(first.terms[2 - i].id == ids[i] && first.terms[2 - i].end_seq == ends[i]);
    /* For reading no term is begun. */
    history reading = ask_at(st, st->path, MERLE_ACCESS_READ);
    assert_memory_equal(reading.bytes, first.bytes, MRL_HISTORY_SIZE);
    assert_int_equal(reading.count, 3);
    history second = ask_at(st, st->path, MERLE_ACCESS_DEFAULT);
    assert_memory_equal(second.bytes, first.bytes, 16);
    assert_true(second.count == 4 && end_of(&second, first.id) == ends[2]);
}

static void copies_opened_apart_differ(void **state) {
    stand *st = *state;
    uint64_t ids[3], ends[3];
    char command[256];
    live(st, ids, ends);
    (void)snprintf(command, sizeof command, "cp -r '%s' '%s'", st->path, st->copy);
    assert_int_equal(system(command), 0);
    history a = ask_at(st, st->path, MERLE_ACCESS_DEFAULT);
    history b = ask_at(st, st->copy, MERLE_ACCESS_DEFAULT);
    assert_memory_equal(a.bytes, b.bytes, 16);
    assert_true(a.id != b.id && a.count == 3 && b.count == 3);
    for (int i = 0; i < 3; i++)
        assert_true(end_of(&a, ids[i]) == ends[i] && end_of(&b, ids[i]) == ends[i]);
    b = ask_at(st, st->copy, MERLE_ACCESS_DEFAULT);
    assert_true(end_of(&b, a.id) == 0);
}

/* The backup has commits of the term that runs on. */
static void backup_knows_the_term_up_to_its_commit(void **state) {
    stand *st = *state;
    uint64_t ids[3], ends[3];
    live(st, ids, ends);
    stand_open(st);
    stand_work(st, 20);
    uint64_t cut = st->seq, id = ask(st->db).id;
    assert_int_equal(merle_backup(st->db, st->copy, NULL, NULL, &st->report), MERLE_OK);
    stand_work(st, 20);
    stand_close(st);
    history h = ask_at(st, st->copy, MERLE_ACCESS_DEFAULT);
    assert_true(h.id != id && end_of(&h, id) == cut && end_of(&h, ids[2]) == ends[2]);
    h = ask_at(st, st->path, MERLE_ACCESS_DEFAULT);
    assert_true(end_of(&h, id) == cut + 20);
}

static void restored_one_knows_no_more_than_it_has(void **state) {
    stand *st = *state;
    uint64_t ids[3], ends[3];
    live(st, ids, ends);
    uint64_t cut = ends[2] - 5;
    for (int i = 0; i < 2; i++) {
        merle_care_options options = {.seq = i == 0 ? cut : 0};
        if (merle_restore(st->path, st->copy, &options, NULL, &st->report) != MERLE_OK)
            fail_msg("%s", st->report.message);
        history h = ask_at(st, st->copy, MERLE_ACCESS_DEFAULT);
        /* The one that made the directory is one, too. */
        assert_int_equal(h.count, 4);
        assert_true(end_of(&h, ids[0]) == ends[0] && end_of(&h, ids[1]) == ends[1]);
        assert_true(end_of(&h, ids[2]) == (i == 0 ? cut : ends[2]));
        stand_remove(st->copy);
    }
}

static void repaired_one_knows_nobody(void **state) {
    stand *st = *state;
    uint64_t ids[3], ends[3];
    live(st, ids, ends);
    assert_int_equal(merle_repair(st->path, st->copy, NULL, NULL, &st->report), MERLE_OK);
    history h = ask_at(st, st->copy, MERLE_ACCESS_DEFAULT);
    for (int i = 0; i < 3; i++) assert_true(end_of(&h, ids[i]) == 0);
    assert_int_equal(h.count, 1);
}

static void database_in_memory_knows_nobody(void **state) {
    stand *st = *state;
    history a = ask_at(st, NULL, MERLE_ACCESS_DEFAULT), b = ask_at(st, NULL, MERLE_ACCESS_DEFAULT);
    assert_true(a.count == 0 && b.count == 0 && a.id != b.id);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(directory_opened_again_knows_its_openings, make, clear),
        cmocka_unit_test_setup_teardown(copies_opened_apart_differ, make, clear),
        cmocka_unit_test_setup_teardown(backup_knows_the_term_up_to_its_commit, make, clear),
        cmocka_unit_test_setup_teardown(restored_one_knows_no_more_than_it_has, make, clear),
        cmocka_unit_test_setup_teardown(repaired_one_knows_nobody, make, clear),
        cmocka_unit_test_setup_teardown(database_in_memory_knows_nobody, make, clear),
    };
    seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
