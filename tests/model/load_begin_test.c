/* tests/model/load_begin_test.c - the begin of a bulk load beside others, under the simulator.
 *
 * Aim     One load has a collection, or none: of two that begin at once one is told so; a drop, a
 *         truncate or an index comes before the load, or is refused; what the load fills has the
 *         indexes of its collection.
 * Method  Two workers load one collection while a third defines, on a simulated disk that keeps
 *         them waiting; many orders of events. In the end
 *         there are the documents of one load, or none where it was dropped or truncated since, and
 *         merle_check holds.
 * Blind   What is there after a crash: tests/crash.
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
#include "tests/sim/disk.h"
#include "tests/sim/sim.h"

/* Of what may be unsynced each definition takes all: the next one waits for the disk. */
enum { RUN_COUNT = 500, DOCUMENTS = 5, LOADERS = 2, UNSYNCED_MAX = 64 };

typedef struct world {
    sim *s;
    merle_db *db;
    merle_collection *things;
    uint64_t definition; /* which */
    merle_err defined;
    uint64_t defined_seq;
    merle_err begun[LOADERS], ended[LOADERS];
    uint64_t ended_seq[LOADERS];
    uint32_t under_way, under_way_max;
} world;

typedef struct loader {
    world *w;
    uint32_t number;
} loader;

static const merle_index index_n = {.name = "n", .kind = MERLE_ORDERED, .on = "n"};

static void load(void *context) {
    const loader *me = context;
    world *w = me->w;
    merle_bulk *bulk;
    merle_key key;
    w->begun[me->number] = merle_bulk_begin(w->things, &bulk);
    w->ended[me->number] = w->begun[me->number];
    if (w->begun[me->number] != MERLE_OK) return;
    if (++w->under_way > w->under_way_max) w->under_way_max = w->under_way;
    for (uint32_t i = 0; i < DOCUMENTS; i++) {
        const uint8_t doc[] = {0x81, 0xa1, 'n', (uint8_t)i};
        merle_err err =
            merle_bulk_put(bulk, merle_key_u64(&key, i), merle_bytes_of(doc, sizeof doc));
        if (err != MERLE_OK) w->ended[me->number] = err;
        sim_point(w->s, "between");
    }
    w->under_way--;
    w->ended[me->number] = merle_bulk_end(bulk, &w->ended_seq[me->number]);
}

static void define(void *context) {
    world *w = context;
    switch (w->definition) {
    case 0:
        w->defined = merle_collection_drop(w->things, &w->defined_seq);
        return;
    case 1:
        w->defined = merle_collection_truncate(w->things, &w->defined_seq);
        return;
    case 2:
        w->defined = merle_index_add(w->things, &index_n, &w->defined_seq);
        return;
    default:
        w->defined = MERLE_BUSY;
    }
}

static uint64_t count_of(const world *w, merle_err *out_err) {
    merle_section section;
    uint64_t count = 0;
    assert_int_equal(merle_section_begin(w->db, &section), MERLE_OK);
    *out_err = merle_count(&section, w->things, &count);
    assert_int_equal(merle_section_end(&section), MERLE_OK);
    return count;
}

static void judge(world *w) {
    merle_report report = {0};
    merle_err err;
    uint64_t last_load = 0, count = count_of(w, &err);
    for (int i = 0; i < LOADERS; i++) {
        assert_true(w->begun[i] == MERLE_OK || w->begun[i] == MERLE_BUSY ||
                    w->begun[i] == MERLE_EXISTS || w->begun[i] == MERLE_GONE);
        assert_int_equal(w->ended[i], w->begun[i]);
        if (w->ended_seq[i] > last_load) last_load = w->ended_seq[i];
    }
    assert_true(w->defined == MERLE_OK || w->defined == MERLE_BUSY);
    assert_int_equal(w->under_way_max > 1, 0);
    int is_dropped = w->defined == MERLE_OK && w->definition == 0;
    int is_cleared = w->defined == MERLE_OK && w->definition == 1 && w->defined_seq > last_load;
    if (is_dropped)
        assert_int_equal(err, MERLE_GONE);
    else
        assert_int_equal(count, is_cleared || last_load == 0 ? 0 : DOCUMENTS);
    if (merle_check(w->db, &report) != MERLE_OK) fail_msg("%s", report.message);
    if (w->defined != MERLE_OK || w->definition != 2) return;
    merle_section section;
    const merle_range all = {.index = "n"};
    assert_int_equal(merle_index_build(w->things, "n"), MERLE_OK);
    assert_int_equal(merle_section_begin(w->db, &section), MERLE_OK);
    assert_int_equal(merle_range_count(&section, w->things, &all, &count), MERLE_OK);
    assert_int_equal(count, last_load == 0 ? 0 : DOCUMENTS);
    assert_int_equal(merle_section_end(&section), MERLE_OK);
}

static void run(uint64_t seed, uint32_t *refused, uint32_t *defined) {
    const merle_options options = {.threads = MERLE_THREADS_NONE,
                                   .ring_size = 64 << 10,
                                   .log_file_size = 64 << 10,
                                   .unsynced_max = UNSYNCED_MAX};
    world w = {.s = sim_create(seed, 2), .definition = seed % 4};
    loader loaders[LOADERS];
    assert_non_null(w.s);
    disk *d = disk_create(seed);
    mrl_environment environment = *sim_environment(w.s);
    environment.files = disk_files(d);
    assert_int_equal(mrl_db_open("db", &options, &environment, &w.db), MERLE_OK);
    assert_int_equal(merle_collection_open(w.db, "things", NULL, &w.things), MERLE_OK);
    for (uint32_t i = 0; i < LOADERS; i++) {
        loaders[i] = (loader){&w, i};
        sim_spawn(w.s, i == 0 ? "a" : "b", load, &loaders[i]);
    }
    sim_spawn(w.s, "defines", define, &w);
    assert_int_equal(sim_run(w.s), 0);
    judge(&w);
    for (int i = 0; i < LOADERS; i++) *refused += w.begun[i] == MERLE_BUSY;
    *defined += w.defined == MERLE_OK;
    assert_int_equal(merle_close(w.db), MERLE_OK);
    disk_destroy(d);
    sim_destroy(w.s);
}

static void one_load_at_a_time_has_a_collection(void **state) {
    (void)state;
    uint32_t refused = 0, defined = 0;
    for (uint64_t i = 0; i < test_amount(RUN_COUNT); i++) run(test_seed() + i, &refused, &defined);
    test_say("%u loads were refused beside another, %u definitions came between", refused, defined);
    assert_true(refused > 0 && defined > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_load_at_a_time_has_a_collection)};
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
