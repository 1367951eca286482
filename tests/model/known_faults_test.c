/* tests/model/known_faults_test.c
 *
 * Aim     The faults that relatives of this database are known for do not happen here: an
 *         overwrite leaves no old entry, two racing inserts of one value never both win, a
 *         refused insert is in no record and no cursor, a lookup never deadlocks with a remove,
 *         fields do not share a key space.
 * Method  The smallest story for each; the races run under the simulator with many seeds, so
 *         that every order of their steps comes up.
 * Blind   Everything that needs real threads (tests/stress).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "database/database.h"
#include "tests/model/seed.h"
#include "tests/sim/sim.h"

static const merle_index indexes[] = {
    {"email", MERLE_UNIQUE, "email"}, {"nick", MERLE_UNIQUE, "nick"}, {NULL, 0, NULL}};
static const merle_schema schema = {sizeof(merle_schema), 1, 0, indexes, NULL};

typedef struct world {
    sim *simulator;
    merle_db *db;
    merle_collection *players;
    int failures; /* noted by workers, which must not jump out of their stacks */
} world;

static void world_open(world *w, uint64_t seed) {
    merle_options options = {.threads = MERLE_THREADS_NONE, .ring_size = 256 << 10};
    w->failures = 0;
    w->simulator = sim_create(seed, 2);
    assert_non_null(w->simulator);
    assert_int_equal(mrl_db_open(NULL, &options, sim_environment(w->simulator), &w->db), MERLE_OK);
    assert_int_equal(merle_collection_open(w->db, "players", &schema, &w->players), MERLE_OK);
}

static void world_close(world *w) {
    merle_report report;
    assert_int_equal(w->failures, 0);
    assert_int_equal(merle_check(w->db, &report), MERLE_OK);
    assert_int_equal(merle_close(w->db), MERLE_OK);
    sim_destroy(w->simulator);
}

/* {"email": email, "nick": nick}; NULL: without. */
static merle_err put(merle_collection *collection, const char *key, const char *email,
                     const char *nick, int is_insert, uint64_t *out_seq) {
    merle_builder *builder;
    merle_bytes doc;
    if (merle_builder_create(&builder) != MERLE_OK) return MERLE_NO_MEMORY;
    merle_build_begin(builder);
    if (email != NULL) merle_build_str(builder, "email", email);
    if (nick != NULL) merle_build_str(builder, "nick", nick);
    merle_err err = merle_build_end(builder, &doc);
    if (err == MERLE_OK)
        err = is_insert ? merle_one_insert(collection, MERLE_STR(key), doc, out_seq)
                        : merle_one_put(collection, MERLE_STR(key), doc, out_seq);
    merle_builder_destroy(builder);
    return err;
}

/* The key of the document that has the value; "" if there is none. */
static void owner_of(const world *w, const char *index, const char *value, char out_key[32]) {
    merle_section section;
    merle_doc doc;
    memset(out_key, 0, 32);
    assert_int_equal(merle_section_begin(w->db, &section), MERLE_OK);
    if (merle_get_by(&section, w->players, index, &doc, merle_value_str(value)) == MERLE_OK) {
        merle_bytes key = merle_doc_key(doc);
        memcpy(out_key, key.data, key.size);
    }
    assert_int_equal(merle_section_end(&section), MERLE_OK);
}

static void assert_owner(const world *w, const char *index, const char *value, const char *key) {
    char owner[32];
    owner_of(w, index, value, owner);
    assert_string_equal(owner, key);
}

/* ---- an overwrite ---- */

static void overwrite_of_a_unique_value_leaves_no_old_entry(void **state) {
    world w;
    merle_stats_index stats = {.size = sizeof stats};
    (void)state;
    world_open(&w, test_seed());
    for (int i = 0; i < 100; i++) {
        assert_int_equal(put(w.players, "a", i % 2 ? "one" : "two", NULL, 0, NULL), MERLE_OK);
        assert_owner(&w, "email", i % 2 ? "one" : "two", "a");
        assert_owner(&w, "email", i % 2 ? "two" : "one", "");
    }
    /* What the overwrite gave up is free for another. */
    assert_int_equal(put(w.players, "b", "two", NULL, 1, NULL), MERLE_OK);
    assert_int_equal(merle_one_remove(w.players, MERLE_STR("b"), NULL), MERLE_OK);
    assert_owner(&w, "email", "two", "");
    for (int i = 0; i < 100; i++) (void)merle_step(w.db, 0, 0);
    assert_int_equal(merle_index_stats(w.players, "email", &stats), MERLE_OK);
    assert_int_equal(stats.entries, 1);
    world_close(&w);
}

/* ---- two racing inserts ---- */

typedef struct racer {
    world *w;
    const char *key, *email;
    merle_err err;
    uint64_t seq;
} racer;

static void race(void *context) {
    racer *r = context;
    r->err = put(r->w->players, r->key, r->email, NULL, 1, &r->seq);
}

static void racing_inserts_of_one_value_never_both_win(void **state) {
    (void)state;
    for (uint64_t i = 0; i < test_amount(2000); i++) {
        world w;
        world_open(&w, test_seed() + i);
        /* Half of the races are about one key, too. */
        racer racers[3] = {{.w = &w, .key = "a", .email = "x"},
                           {.w = &w, .key = i % 2 ? "a" : "b", .email = "x"},
                           {.w = &w, .key = "c", .email = "x"}};
        sim_spawn(w.simulator, "1", race, &racers[0]);
        sim_spawn(w.simulator, "2", race, &racers[1]);
        sim_spawn(w.simulator, "3", race, &racers[2]);
        assert_int_equal(sim_run(w.simulator), 0);
        int winners = 0, winner = 0;
        for (int j = 0; j < 3; j++) {
            if (racers[j].err == MERLE_OK) {
                winners++;
                winner = j;
            } else {
                assert_int_equal(racers[j].err, MERLE_EXISTS);
            }
        }
        assert_int_equal(winners, 1);
        assert_owner(&w, "email", "x", racers[winner].key);
        world_close(&w);
    }
}

/* ---- a refused insert ---- */

static void refused_insert_is_in_no_record_and_no_cursor(void **state) {
    world w;
    merle_change changes[8];
    merle_changes *cursor;
    merle_stats_db before = {.size = sizeof before}, after = {.size = sizeof after};
    size_t count;
    uint64_t seq;
    (void)state;
    world_open(&w, test_seed());
    assert_int_equal(put(w.players, "a", "x", "n", 0, &seq), MERLE_OK);
    merle_changes_options options = {sizeof options, seq, NULL, 1, 1};
    assert_int_equal(merle_changes_open(w.db, &options, &cursor), MERLE_OK);
    assert_int_equal(merle_stats(w.db, &before), MERLE_OK);
    assert_int_equal(put(w.players, "b", "x", NULL, 1, &seq), MERLE_EXISTS);
    assert_int_equal(seq, 0);
    assert_int_equal(put(w.players, "b", "free", "n", 1, NULL), MERLE_EXISTS);
    assert_int_equal(put(w.players, "a", "free", "free", 1, NULL), MERLE_EXISTS);
    assert_int_equal(merle_stats(w.db, &after), MERLE_OK);
    assert_int_equal(before.seq, after.seq);
    assert_int_equal(before.documents, after.documents);
    assert_int_equal(merle_changes_next(cursor, changes, 8, &count), MERLE_OK);
    assert_int_equal(count, 0);
    assert_owner(&w, "email", "free", "");
    assert_owner(&w, "nick", "free", "");
    /* And what it had wanted is free. */
    assert_int_equal(put(w.players, "b", "free", "free", 1, NULL), MERLE_OK);
    assert_int_equal(merle_changes_next(cursor, changes, 8, &count), MERLE_OK);
    assert_int_equal(count, 1);
    assert_int_equal(changes[0].kind, MERLE_CHANGE_PUT);
    merle_changes_close(cursor);
    world_close(&w);
}

/* ---- a lookup and a remove ---- */

static void looks(void *context) {
    world *w = context;
    merle_doc doc;
    for (int i = 0; i < 20; i++) {
        merle_section section;
        if (merle_section_begin(w->db, &section) != MERLE_OK) continue;
        sim_point(w->simulator, "test.in_section");
        /* By value and by key it is there, or by neither. */
        merle_err by_value =
            merle_get_by(&section, w->players, "email", &doc, merle_value_str("x"));
        sim_point(w->simulator, "test.between");
        merle_err by_key = merle_get(&section, w->players, MERLE_STR("a"), &doc);
        w->failures += by_value != by_key;
        (void)merle_section_end(&section);
    }
}

static void removes(void *context) {
    world *w = context;
    for (int i = 0; i < 10; i++) {
        (void)put(w->players, "a", "x", "n", 0, NULL);
        merle_err err = merle_one_remove(w->players, MERLE_STR("a"), NULL);
        w->failures += err != MERLE_OK && err != MERLE_NOT_FOUND;
        (void)merle_step(w->db, 0, 0);
    }
}

static void lookup_and_remove_never_deadlock(void **state) {
    (void)state;
    for (uint64_t i = 0; i < test_amount(500); i++) {
        world w;
        world_open(&w, test_seed() + i);
        sim_spawn(w.simulator, "looks", looks, &w);
        sim_spawn(w.simulator, "removes", removes, &w);
        sim_spawn(w.simulator, "removes too", removes, &w);
        sim_spawn(w.simulator, "looks too", looks, &w);
        assert_int_equal(sim_run(w.simulator), 0);
        world_close(&w);
    }
}

/* ---- key spaces ---- */

static void fields_do_not_share_a_key_space(void **state) {
    world w;
    (void)state;
    world_open(&w, test_seed());
    assert_int_equal(put(w.players, "a", "same", NULL, 1, NULL), MERLE_OK);
    assert_int_equal(put(w.players, "b", NULL, "same", 1, NULL), MERLE_OK);
    assert_int_equal(put(w.players, "same", "a", "a", 1, NULL), MERLE_OK);
    assert_owner(&w, "email", "same", "a");
    assert_owner(&w, "nick", "same", "b");
    assert_int_equal(merle_one_remove(w.players, MERLE_STR("a"), NULL), MERLE_OK);
    assert_owner(&w, "email", "same", "");
    assert_owner(&w, "nick", "same", "b");
    /* The same value in two collections is no matter either. */
    merle_collection *guilds;
    assert_int_equal(merle_collection_open(w.db, "guilds", &schema, &guilds), MERLE_OK);
    assert_int_equal(put(guilds, "b", NULL, "same", 1, NULL), MERLE_OK);
    assert_owner(&w, "nick", "same", "b");
    world_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overwrite_of_a_unique_value_leaves_no_old_entry),
        cmocka_unit_test(racing_inserts_of_one_value_never_both_win),
        cmocka_unit_test(refused_insert_is_in_no_record_and_no_cursor),
        cmocka_unit_test(lookup_and_remove_never_deadlock),
        cmocka_unit_test(fields_do_not_share_a_key_space),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
