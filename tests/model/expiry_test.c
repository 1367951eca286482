/* tests/model/expiry_test.c - documents that end, under the simulator.
 *
 * Aim     In any order of steps of writers, a reader, the removal of what is due and the clock: an
 *         insert succeeds only where there was no document, or one whose time had come (so it is a
 *         lock); only what has come to its time is removed by expiry, and each once; no two
 *         documents have one unique value at any seq; a section sees exactly what the log says is
 *         alive at its seq by its clock, and counts as many; nothing waits for ever.
 * Method  Writers insert, put, patch, extend, release and take each other's unique values for short
 *         times, while two workers step and one moves the clock. Afterwards the log is replayed,
 *         and each commit and each sight of the reader is compared with it. Each seed is one order
 *         of steps.
 * Blind   To orders of memory. The clock only goes forwards.
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

#include "database/database.h"
#include "tests/model/seed.h"
#include "tests/sim/sim.h"

enum {
    KEYS = 4,
    VALUES = 3,
    RUN_COUNT = 3000,
    WRITE_COUNT = 12,
    STEP_COUNT = 20,
    SIGHT_MAX = 16,
    TIME_MAX = 60000 /* ns; each look at the simulator's clock takes 1000 */
};

/* What a reader saw: by its seq and its clock. */
typedef struct sight {
    uint64_t seq;
    int64_t now_ns;
    uint32_t keys; /* a bit each */
    uint64_t count, level_count;
    uint32_t values; /* unique values that somebody had */
} sight;

typedef struct world {
    sim *s;
    merle_db *db;
    merle_collection *things;
    merle_changes *changes;
    uint64_t seed;
    sight sights[SIGHT_MAX];
    uint32_t sight_count;
    uint64_t removed, replaced, refused;
} world;

typedef struct worker {
    world *w;
    mrl_random random;
} worker;

static uint32_t below(worker *k, uint32_t bound) {
    return (uint32_t)mrl_random_below(&k->random, bound);
}

static void expect(const world *w, int holds, const char *what) {
    if (holds) return;
    test_say("seed %llu: %s", (unsigned long long)w->seed, what);
    fail();
}

static merle_bytes key_of(uint32_t number, char out[8]) {
    return merle_bytes_of(out, (size_t)snprintf(out, 8, "k%u", number));
}

/* {"u": value, "l": level}, or without a value. */
static merle_bytes make_doc(worker *k, uint8_t out[16]) {
    uint32_t value = below(k, VALUES + 2);
    uint8_t level = (uint8_t)below(k, 3);
    memcpy(out, (uint8_t[]){0x81, 0xa1, 'l', level, 0xa1, 'u', (uint8_t)value}, 7);
    if (value >= VALUES) return merle_bytes_of(out, 4);
    out[0] = 0x82;
    return merle_bytes_of(out, 7);
}

/* ---- workers ---- */

/* With an origin, so that the log tells it from a put. */
static merle_err insert(worker *k, merle_bytes key, merle_bytes doc, int64_t ttl_ns) {
    merle_commit *commit;
    merle_err err = merle_begin(k->w->db, &commit);
    if (err != MERLE_OK) return err;
    err = merle_commit_origin(commit, merle_str("insert"));
    if (err == MERLE_OK) err = merle_insert_for(commit, k->w->things, key, doc, ttl_ns);
    if (err == MERLE_OK) return merle_end(commit, NULL);
    merle_cancel(commit);
    return err;
}

static merle_err write_one(worker *k) {
    char text[8];
    uint8_t bytes[16];
    merle_collection *things = k->w->things;
    merle_bytes key = key_of(below(k, KEYS), text), doc = make_doc(k, bytes);
    int64_t ttl_ns = 1 + (int64_t)below(k, TIME_MAX);
    int64_t now_ns =
        sim_environment(k->w->s)->clock->wall_ns(sim_environment(k->w->s)->clock->context);
    const merle_op op = merle_op_of(MERLE_OP_SET, "l", merle_value_int((int64_t)below(k, 3)));
    switch (below(k, 7)) {
    case 0:
    case 1:
    case 2:
        return insert(k, key, doc, ttl_ns);
    case 3:
        return merle_one_put_for(things, key, doc, ttl_ns, NULL);
    case 4:
        return merle_one_expire(things, key, now_ns + ttl_ns, NULL);
    case 5:
        return merle_one_patch_ops(things, key, &op, 1, NULL, NULL);
    default:
        return merle_one_remove(things, key, NULL);
    }
}

static void writes(void *context) {
    worker *k = context;
    for (int i = 0; i < WRITE_COUNT; i++) {
        merle_err err = write_one(k);
        expect(k->w,
               err == MERLE_OK || err == MERLE_EXISTS || err == MERLE_NOT_FOUND ||
                   err == MERLE_CONFLICT,
               merle_err_name(err));
        k->w->refused += err != MERLE_OK;
    }
}

static void steps(void *context) {
    worker *k = context;
    for (int i = 0; i < STEP_COUNT; i++) {
        sim_clock_advance(k->w->s, below(k, TIME_MAX / 3));
        sim_point(k->w->s, "test.step");
        (void)merle_step(k->w->db, 0, 0);
    }
}

static void reads(void *context) {
    worker *k = context;
    world *w = k->w;
    char text[8];
    merle_section section;
    merle_doc doc;
    const merle_range all = {.index = "level"};
    for (uint32_t i = 0; i < SIGHT_MAX; i++) {
        sight *seen = &w->sights[i];
        assert_int_equal(merle_section_begin(w->db, &section), MERLE_OK);
        sim_point(w->s, "test.reading");
        seen->seq = merle_section_seq(&section);
        mrl_section inside;
        memcpy(&inside, &section, sizeof inside);
        seen->now_ns = inside.now_ns;
        for (uint32_t key = 0; key < KEYS; key++)
            if (merle_get(&section, w->things, key_of(key, text), &doc) == MERLE_OK)
                seen->keys |= 1u << key;
        assert_int_equal(merle_count(&section, w->things, &seen->count), MERLE_OK);
        assert_int_equal(merle_range_count(&section, w->things, &all, &seen->level_count),
                         MERLE_OK);
        for (int64_t value = 0; value < VALUES; value++)
            if (merle_get_by(&section, w->things, "own", &doc, merle_value_int(value)) == MERLE_OK)
                seen->values |= 1u << value;
        assert_int_equal(merle_section_end(&section), MERLE_OK);
        w->sight_count++;
    }
}

/* ---- the log, replayed ---- */

typedef struct item {
    int is_there, value; /* -1: none */
    int64_t expires_ns;
} item;

static int is_alive(const item *i, int64_t now_ns) {
    return i->is_there && (i->expires_ns == 0 || i->expires_ns > now_ns);
}

static void compare_sight(const world *w, const item *items, const sight *seen) {
    uint32_t keys = 0, values = 0;
    for (int i = 0; i < KEYS; i++) {
        if (!is_alive(&items[i], seen->now_ns)) continue;
        keys |= 1u << i;
        if (items[i].value >= 0) values |= 1u << items[i].value;
    }
    expect(w, seen->keys == keys, "a section saw other documents than the log has");
    expect(w, seen->count == (uint64_t)__builtin_popcount(keys), "a section counted otherwise");
    expect(w, seen->level_count == seen->count, "a range counted otherwise");
    expect(w, seen->values == values, "a section saw other unique values");
}

static void compare_sights(const world *w, const item *items, uint64_t seq) {
    for (uint32_t i = 0; i < w->sight_count; i++)
        if (w->sights[i].seq == seq) compare_sight(w, items, &w->sights[i]);
}

static void replay_change(world *w, item *items, const merle_change *c) {
    item *at = &items[((const char *)c->key.data)[1] - '0'];
    int was_due = at->is_there && at->expires_ns != 0 && at->expires_ns <= c->time_ns;
    merle_doc after = c->after;
    if (c->kind == MERLE_CHANGE_REMOVE) {
        expect(w, at->is_there, "a document was removed that was not there");
        expect(w, c->origin != MERLE_ORIGIN_EXPIRY || was_due, "removed before its time");
        expect(w, c->was_due || c->origin != MERLE_ORIGIN_EXPIRY, "an expiry is not called one");
        expect(w, !c->was_due || was_due, "a removal is called an expiry");
        w->removed += c->origin == MERLE_ORIGIN_EXPIRY;
        *at = (item){0};
        return;
    }
    expect(w, c->kind != MERLE_CHANGE_PATCH || at->is_there, "a patch of nothing");
    expect(w, c->origin_bytes.size == 0 || !at->is_there || was_due, "an insert over a document");
    expect(w, c->is_new || c->kind != MERLE_CHANGE_PUT || at->is_there,
           "an insert is called a put");
    expect(w, !c->is_new || !at->is_there || was_due, "a put is called an insert");
    expect(w, c->was_due == (c->is_new && at->is_there), "what had expired is not told");
    w->replaced += c->kind == MERLE_CHANGE_PUT && was_due;
    *at = (item){1, (int)merle_doc_int(after, "u", -1), c->expires_ns};
}

static void check_values(const world *w, const item *items) {
    for (int i = 0; i < KEYS; i++)
        for (int j = 0; j < i; j++)
            expect(w,
                   !items[i].is_there || !items[j].is_there || items[i].value < 0 ||
                       items[i].value != items[j].value,
                   "one unique value in two documents");
}

static void replay(world *w) {
    item items[KEYS] = {0};
    merle_change list[16];
    uint64_t seq = 0;
    size_t count;
    do {
        assert_int_equal(merle_changes_next(w->changes, list, 16, &count), MERLE_OK);
        for (size_t i = 0; i < count; i++) {
            if (list[i].seq != seq) {
                check_values(w, items);
                compare_sights(w, items, seq);
                seq = list[i].seq;
            }
            if (list[i].kind <= MERLE_CHANGE_REMOVE) replay_change(w, items, &list[i]);
        }
    } while (count > 0);
    check_values(w, items);
    compare_sights(w, items, seq);
}

/* ---- runs ---- */

static void open_world(world *w, uint64_t seed) {
    static const merle_index indexes[] = {
        {"own", MERLE_UNIQUE, "u"}, {"level", MERLE_ORDERED, "l"}, {NULL, 0, NULL}};
    const merle_schema schema = {.version = 1, .indexes = indexes};
    const merle_options options = {.threads = MERLE_THREADS_NONE};
    const merle_changes_options wanted = {.want_after = 1};
    memset(w, 0, sizeof *w);
    w->seed = seed;
    w->s = sim_create(seed, 3);
    assert_non_null(w->s);
    assert_int_equal(mrl_db_open(NULL, &options, sim_environment(w->s), &w->db), MERLE_OK);
    assert_int_equal(merle_changes_open(w->db, &wanted, &w->changes), MERLE_OK);
    assert_int_equal(merle_collection_open(w->db, "things", &schema, &w->things), MERLE_OK);
}

static void run_once(uint64_t seed, uint64_t *removed, uint64_t *replaced, uint64_t *refused) {
    world w;
    worker workers[5];
    merle_report report;
    open_world(&w, seed);
    for (uint32_t i = 0; i < 5; i++) {
        workers[i].w = &w;
        mrl_random_init(&workers[i].random, seed + i);
    }
    sim_spawn(w.s, "writer one", writes, &workers[0]);
    sim_spawn(w.s, "writer two", writes, &workers[1]);
    sim_spawn(w.s, "stepper one", steps, &workers[2]);
    sim_spawn(w.s, "stepper two", steps, &workers[3]);
    sim_spawn(w.s, "reader", reads, &workers[4]);
    assert_int_equal(sim_run(w.s), 0);
    replay(&w);
    merle_changes_close(w.changes);
    merle_err err = merle_check(w.db, &report);
    expect(&w, err == MERLE_OK, report.message);
    sim_clock_advance(w.s, 100000);
    for (int i = 0; i < 100 && merle_step(w.db, 0, 0) != MERLE_OK; i++) continue;
    merle_stats_db stats = {.size = sizeof stats};
    assert_int_equal(merle_stats(w.db, &stats), MERLE_OK);
    expect(&w, stats.expiring == 0, "what has come to its time stays");
    *removed += w.removed;
    *replaced += w.replaced;
    *refused += w.refused;
    assert_int_equal(merle_close(w.db), MERLE_OK);
    sim_destroy(w.s);
}

static void what_has_ended_is_gone_for_everybody_at_once(void **state) {
    uint64_t removed = 0, replaced = 0, refused = 0, runs = test_amount(RUN_COUNT);
    (void)state;
    for (uint64_t i = 0; i < runs; i++) run_once(test_seed() + i, &removed, &replaced, &refused);
    test_say("%llu runs: %llu removed by expiry, %llu put over what had ended, %llu refused",
             (unsigned long long)runs, (unsigned long long)removed, (unsigned long long)replaced,
             (unsigned long long)refused);
    assert_true(removed > runs && replaced > runs / 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_ended_is_gone_for_everybody_at_once),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
