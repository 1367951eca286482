/* tests/model/build_test.c - indexes that come and go, under the simulator.
 *
 * Aim     In any order of steps of writers, builders and readers: an index that is ready says in
 *         every section that may use it what a walk over all documents says; a unique one has no
 *         value twice; nobody waits for ever.
 * Method  Two writers put, remove and swap documents of which some have one another's value for a
 *         while; two workers add, build, use and drop indexes, one of them truncates now and then;
 *         one reads by whatever there is. Each seed is one order of steps; the store is checked as
 *         a whole in the end.
 * Blind   To orders of memory, and to collections larger than a step of a build.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <merle/query.h>

#include "database/database.h"
#include "tests/model/seed.h"
#include "tests/sim/sim.h"

/* The level, made by a function. */
static merle_err made_level(void *context, merle_bytes key, merle_doc doc, merle_value *out_values,
                            size_t value_max, size_t *out_count) {
    (void)context;
    (void)key;
    (void)value_max;
    if (!merle_doc_has(doc, "l")) return MERLE_OK;
    out_values[0] = merle_value_uint(merle_doc_uint(doc, "l", 0));
    *out_count = 1;
    return MERLE_OK;
}

static merle_err made_value(void *context, merle_bytes key, merle_doc doc, merle_value *out_values,
                            size_t value_max, size_t *out_count) {
    (void)context;
    (void)key;
    (void)value_max;
    out_values[0] = merle_value_uint(merle_doc_uint(doc, "u", 0));
    *out_count = 1;
    return MERLE_OK;
}

enum { KEYS = 10, LEVELS = 3, TAGS = 3, RUN_COUNT = 2000, WRITE_COUNT = 14, ROUND_COUNT = 3 };

static const merle_index indexes[2][6] = {
    {{.name = "level", .kind = MERLE_ORDERED, .on = "l"},
     {.name = "own", .kind = MERLE_UNIQUE, .on = "u"},
     {.name = "tags", .kind = MERLE_TAGS, .on = "t"},
     {.name = "each", .kind = MERLE_ORDERED, .on = "t[*]", .missing = MERLE_MISSING_LAST},
     {.name = "made", .kind = MERLE_ORDERED, .on = "l", .extract = made_level},
     {.name = "made own", .kind = MERLE_UNIQUE, .on = "u", .extract = made_value}},
    {{.name = "level2", .kind = MERLE_ORDERED, .on = "-l, key()"},
     {.name = "own2", .kind = MERLE_UNIQUE_ORDERED, .on = "u"},
     {.name = "tags2", .kind = MERLE_TAGS, .on = "t"},
     {.name = "each2", .kind = MERLE_ORDERED, .on = "-t[*], l"},
     {.name = "made2", .kind = MERLE_ORDERED, .on = "-l", .extract = made_level},
     {.name = "made own2", .kind = MERLE_UNIQUE_ORDERED, .on = "u", .extract = made_value}}};
enum { KIND_COUNT = 6 };

typedef struct world {
    sim *s;
    merle_db *db;
    merle_collection *things;
    uint64_t seed;
    uint64_t ready_count, failed_count, used_count;
} world;

typedef struct worker {
    world *w;
    uint32_t number;
    mrl_random random;
} worker;

static uint32_t below(worker *k, uint32_t bound) {
    return (uint32_t)mrl_random_below(&k->random, bound);
}

static void check(const world *w) {
    merle_report report;
    if (merle_check(w->db, &report) == MERLE_OK) return;
    test_say("seed %llu: %s", (unsigned long long)w->seed, report.message);
    fail();
}

/* ---- writers ---- */

static merle_bytes key_of(uint32_t number, char out[8]) {
    return merle_bytes_of(out, (size_t)snprintf(out, 8, "k%u", number));
}

/* {"u": value, "l": level, "t": [tags]}, now and then without level or tags. */
static merle_bytes make_doc(worker *k, uint32_t value, uint8_t out[16]) {
    uint8_t *at = out;
    uint32_t tags = below(k, 1u << TAGS), has_level = below(k, 5) != 0;
    *at++ = (uint8_t)(0x82u + has_level);
    at = memcpy(at, (uint8_t[]){0xa1, 'u', (uint8_t)value}, 3);
    at += 3;
    if (has_level) {
        at = memcpy(at, (uint8_t[]){0xa1, 'l', (uint8_t)below(k, LEVELS)}, 3);
        at += 3;
    }
    at = memcpy(at, (uint8_t[]){0xa1, 't', (uint8_t)(0x90 + __builtin_popcount(tags))}, 3);
    at += 3;
    for (uint8_t i = 0; i < TAGS; i++)
        if ((tags >> i & 1) != 0) *at++ = i;
    return merle_bytes_of(out, (size_t)(at - out));
}

static void put(worker *k, uint32_t key, uint32_t value) {
    uint8_t doc[16];
    char text[8];
    merle_err err = merle_one_put(k->w->things, key_of(key, text), make_doc(k, value, doc), NULL);
    assert_true(err == MERLE_OK || err == MERLE_EXISTS);
}

static void swap(worker *k, uint32_t a, uint32_t b) {
    uint8_t doc[16];
    char text[8];
    merle_commit *commit;
    assert_int_equal(merle_begin(k->w->db, &commit), MERLE_OK);
    assert_int_equal(merle_put(commit, k->w->things, key_of(a, text), make_doc(k, b, doc)),
                     MERLE_OK);
    assert_int_equal(merle_put(commit, k->w->things, key_of(b, text), make_doc(k, a, doc)),
                     MERLE_OK);
    merle_err err = merle_end(commit, NULL);
    assert_true(err == MERLE_OK || err == MERLE_EXISTS);
}

static void writes(void *context) {
    worker *k = context;
    for (int i = 0; i < WRITE_COUNT; i++) {
        uint32_t a = below(k, KEYS), b = below(k, KEYS);
        char text[8];
        switch (below(k, 6)) {
        case 0:
            (void)merle_one_remove(k->w->things, key_of(a, text), NULL);
            break;
        case 1:
            if (a != b) swap(k, a, b);
            break;
        case 2:
            put(k, a, b);
            put(k, a, a);
            break;
        default:
            put(k, a, a);
        }
    }
}

/* ---- comparing ---- */

typedef struct seen {
    uint64_t levels[LEVELS], tags[TAGS], values[KEYS], level_count, count;
} seen;

static void see(seen *out, merle_doc doc) {
    out->count++;
    out->values[merle_doc_uint(doc, "u", 0)]++;
    if (merle_doc_has(doc, "l")) {
        out->levels[merle_doc_uint(doc, "l", 0)]++;
        out->level_count++;
    }
    for (int i = 0; i < TAGS; i++) {
        char path[8];
        snprintf(path, sizeof path, "t[%d]", i);
        if (merle_doc_has(doc, path)) out->tags[merle_doc_uint(doc, path, 0)]++;
    }
}

static seen walk(worker *k, merle_section *section) {
    seen out = {{0}, {0}, {0}, 0, 0};
    merle_scan scan = {0};
    merle_doc docs[4];
    size_t count;
    while (merle_scan_next(section, k->w->things, &scan, docs, 4, &count) == MERLE_OK)
        for (size_t i = 0; i < count; i++) see(&out, docs[i]);
    return out;
}

static merle_err compare_levels(worker *k, merle_section *section, const merle_index *index,
                                const seen *wanted) {
    uint64_t count;
    for (int i = 0; i < LEVELS; i++) {
        merle_value level = merle_value_int(i);
        merle_range range = {.index = index->name,
                             .from = {MERLE_CLOSED, &level, 1},
                             .to = {MERLE_CLOSED, &level, 1}};
        merle_err err = merle_range_count(section, k->w->things, &range, &count);
        if (err != MERLE_OK) return err;
        assert_int_equal(count, wanted->levels[i]);
    }
    merle_range all = {.index = index->name};
    merle_err err = merle_range_count(section, k->w->things, &all, &count);
    if (err == MERLE_OK) assert_int_equal(count, wanted->level_count);
    return err;
}

static merle_err count_all(worker *k, merle_section *section, const merle_index *index,
                           const seen *wanted) {
    merle_range all = {.index = index->name};
    uint64_t count;
    merle_err err = merle_range_count(section, k->w->things, &all, &count);
    if (err == MERLE_OK && index->missing == MERLE_MISSING_LAST)
        assert_int_equal(count, wanted->count);
    if (err == MERLE_OK) k->w->used_count++;
    return err;
}

static merle_err compare_values(worker *k, merle_section *section, const merle_index *index,
                                const seen *wanted) {
    for (int i = 0; i < KEYS; i++) {
        merle_value value = merle_value_int(i);
        merle_doc doc;
        merle_err err = merle_get_unique(section, k->w->things, index->name, &value, 1, &doc);
        if (err != MERLE_OK && err != MERLE_NOT_FOUND) return err;
        assert_in_range(wanted->values[i], 0, 1);
        assert_int_equal(err == MERLE_OK, wanted->values[i]);
    }
    return MERLE_OK;
}

static merle_err compare_tags(worker *k, merle_section *section, const merle_index *index,
                              const seen *wanted) {
    for (int i = 0; i < TAGS; i++) {
        uint64_t count;
        merle_err err =
            merle_tag_count(section, k->w->things, index->name, merle_value_int(i), &count);
        if (err != MERLE_OK) return err;
        assert_int_equal(count, wanted->tags[i]);
    }
    return MERLE_OK;
}

static merle_err compare(worker *k, merle_section *section, const merle_index *index) {
    seen wanted = walk(k, section);
    sim_point(k->w->s, "test.walked");
    /* Of the others merle_check sees that the entries are what they should be. */
    if (strncmp(index->name, "each", 4) == 0) return count_all(k, section, index, &wanted);
    merle_err err = index->kind == MERLE_ORDERED ? compare_levels(k, section, index, &wanted)
                    : index->kind == MERLE_TAGS  ? compare_tags(k, section, index, &wanted)
                                                 : compare_values(k, section, index, &wanted);
    if (err == MERLE_OK) k->w->used_count++;
    return err;
}

/* ---- who defines, and who reads ---- */

static merle_err use(worker *k, const merle_index *index) {
    merle_section section;
    assert_int_equal(merle_section_begin(k->w->db, &section), MERLE_OK);
    merle_err err = compare(k, &section, index);
    assert_int_equal(merle_section_end(&section), MERLE_OK);
    return err;
}

static void defines(void *context) {
    worker *k = context;
    for (int i = 0; i < ROUND_COUNT; i++) {
        const merle_index *index = &indexes[k->number][below(k, KIND_COUNT)];
        merle_section before;
        assert_int_equal(merle_index_add(k->w->things, index, NULL), MERLE_OK);
        merle_err err = merle_index_build(k->w->things, index->name);
        if (err == MERLE_OK) {
            k->w->ready_count++;
            assert_int_equal(use(k, index), MERLE_OK);
        } else {
            k->w->failed_count++;
            assert_int_equal(err, MERLE_EXISTS);
            assert_true(index->kind == MERLE_UNIQUE || index->kind == MERLE_UNIQUE_ORDERED);
        }
        if (k->number == 1 && below(k, 12) == 0)
            assert_int_equal(merle_collection_truncate(k->w->things, NULL), MERLE_OK);
        assert_int_equal(merle_section_begin(k->w->db, &before), MERLE_OK);
        assert_int_equal(merle_index_drop(k->w->things, index->name, NULL), MERLE_OK);
        (void)merle_step(k->w->db, 0, 0);
        if (err == MERLE_OK) assert_int_equal(compare(k, &before, index), MERLE_OK);
        assert_int_equal(merle_section_end(&before), MERLE_OK);
    }
}

/* A query takes what is ready, and needs none. */
static void ask(worker *k) {
    merle_section section;
    merle_condition *where;
    uint64_t count;
    merle_value level = merle_value_int(below(k, LEVELS));
    assert_int_equal(merle_condition_parse(merle_str("l = $1"), &where, NULL), MERLE_OK);
    merle_query query = {.where = where, .values = &level, .value_count = 1};
    assert_int_equal(merle_section_begin(k->w->db, &section), MERLE_OK);
    seen wanted = walk(k, &section);
    sim_point(k->w->s, "test.walked");
    assert_int_equal(merle_query_count(&section, k->w->things, &query, &count), MERLE_OK);
    assert_int_equal(count, wanted.levels[level.number.i]);
    assert_int_equal(merle_section_end(&section), MERLE_OK);
    merle_condition_destroy(where);
}

static void reads(void *context) {
    worker *k = context;
    for (int i = 0; i < 10; i++) {
        ask(k);
        const merle_index *index = &indexes[below(k, 2)][below(k, KIND_COUNT)];
        merle_err err = use(k, index);
        assert_true(err == MERLE_OK || err == MERLE_NOT_READY || err == MERLE_INVALID);
        (void)merle_step(k->w->db, 0, 0);
        if (below(k, 10) == 0) check(k->w);
    }
}

/* ---- the case ---- */

static void run(world *w, uint64_t seed) {
    static const char *const names[] = {"writes 1", "writes 2", "defines 1", "defines 2", "reads"};
    sim_fn *const fns[] = {writes, writes, defines, defines, reads};
    static const merle_schema schema = {.version = 1};
    const merle_options options = {.threads = MERLE_THREADS_NONE, .ring_size = 256 << 10};
    worker workers[5], filler = {.w = w};
    w->seed = seed;
    w->s = sim_create(seed, 2);
    assert_non_null(w->s);
    assert_int_equal(mrl_db_open(NULL, &options, sim_environment(w->s), &w->db), MERLE_OK);
    assert_int_equal(merle_collection_open(w->db, "things", &schema, &w->things), MERLE_OK);
    mrl_random_init(&filler.random, seed);
    for (uint32_t i = 0; i < KEYS; i++)
        if (below(&filler, 4) != 0) put(&filler, i, i);
    for (uint32_t i = 0; i < 5; i++) {
        workers[i] = (worker){.w = w, .number = i % 2};
        mrl_random_init(&workers[i].random, seed * 5 + i);
        sim_spawn(w->s, names[i], fns[i], &workers[i]);
    }
    assert_int_equal(sim_run(w->s), 0);
    check(w);
    for (int i = 0; i < 100 && merle_step(w->db, 0, 0) != MERLE_OK; i++) continue;
    check(w);
    assert_int_equal(merle_close(w->db), MERLE_OK);
    sim_destroy(w->s);
}

static void ready_index_says_what_a_walk_says(void **state) {
    world w = {0};
    uint64_t count = test_amount(RUN_COUNT);
    (void)state;
    for (uint64_t i = 0; i < count; i++) run(&w, test_seed() + i);
    test_say("%llu ready, %llu failed, %llu used", (unsigned long long)w.ready_count,
             (unsigned long long)w.failed_count, (unsigned long long)w.used_count);
    assert_true(w.ready_count > count && w.failed_count > 0 && w.used_count > count);
}

/* ---- definitions that are not published yet ---- */

typedef struct early {
    sim *s;
    merle_db *db;
    merle_collection *things;
    uint64_t refused, taken, unknown; /* unknown: refused for an index that nobody can see */
} early;

static const merle_index early_index = {.name = "level", .kind = MERLE_ORDERED, .on = "l"};

static void defines_one(void *context) {
    early *e = context;
    assert_int_equal(merle_index_add(e->things, &early_index, NULL), MERLE_OK);
    assert_int_equal(merle_index_drop(e->things, early_index.name, NULL), MERLE_OK);
}

/* A map, which the index cannot hold. Whoever is refused for it must find the index, or find that
 * it has gone again, in a section that begins then: it was there at some seq that is published. */
static void meets_it(void *context) {
    early *e = context;
    static const uint8_t doc[] = {0x81, 0xa1, 'l', 0x80};
    for (int i = 0; i < 4; i++) {
        merle_commit *commit;
        merle_section section;
        uint64_t count;
        assert_int_equal(merle_section_begin(e->db, &section), MERLE_OK);
        uint64_t before = merle_section_seq(&section);
        assert_int_equal(merle_section_end(&section), MERLE_OK);
        assert_int_equal(merle_begin(e->db, &commit), MERLE_OK);
        merle_err err =
            merle_put(commit, e->things, merle_str("k"), merle_bytes_of(doc, sizeof doc));
        assert_int_equal(merle_section_begin(e->db, &section), MERLE_OK);
        merle_range all = {.index = early_index.name};
        merle_err found = merle_range_count(&section, e->things, &all, &count);
        e->taken += err == MERLE_OK;
        e->refused += err == MERLE_TYPE;
        e->unknown +=
            err == MERLE_TYPE && found == MERLE_INVALID && merle_section_seq(&section) == before;
        assert_int_equal(merle_section_end(&section), MERLE_OK);
        merle_cancel(commit);
    }
}

static void definition_that_is_not_published_refuses_nobody(void **state) {
    static const merle_schema schema = {.version = 1};
    const merle_options options = {.threads = MERLE_THREADS_NONE, .ring_size = 256 << 10};
    early e = {0};
    (void)state;
    for (uint64_t i = 0, count = test_amount(2000); i < count; i++) {
        e.s = sim_create(test_seed() + i, 2);
        assert_non_null(e.s);
        assert_int_equal(mrl_db_open(NULL, &options, sim_environment(e.s), &e.db), MERLE_OK);
        assert_int_equal(merle_collection_open(e.db, "things", &schema, &e.things), MERLE_OK);
        sim_spawn(e.s, "defines", defines_one, &e);
        sim_spawn(e.s, "meets it", meets_it, &e);
        assert_int_equal(sim_run(e.s), 0);
        assert_int_equal(merle_close(e.db), MERLE_OK);
        sim_destroy(e.s);
    }
    test_say("%llu refused, %llu taken", (unsigned long long)e.refused,
             (unsigned long long)e.taken);
    assert_int_equal(e.unknown, 0);
    assert_true(e.refused > 0 && e.taken > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ready_index_says_what_a_walk_says),
        cmocka_unit_test(definition_that_is_not_published_refuses_nobody),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
