/* tests/stress/unique_test.c
 *
 * Aim     A unique value never has two owners, whoever fights for it; a value that is passed
 *         between two documents is found exactly once in every section; values that swap owners
 *         within one commit stay where they belong.
 * Method  Threads insert, put and remove documents with few values and look them up in sections
 *         by value and by scan; a ball is thrown back and forth; two documents swap.
 * Blind   Which of several fighters wins.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/model/seed.h"
#include "tests/stress/stress.h"

enum { KEY_COUNT = 48, VALUE_COUNT = 16, BALL = 1000, SWAP_FIRST = 2000, PAIR_COUNT = 4 };

static const merle_index indexes[] = {{"number", MERLE_UNIQUE, "n"}, {NULL, 0, NULL}};
static const merle_schema schema = {sizeof(merle_schema), 1, 0, indexes, NULL};

static uint64_t key_number(merle_doc doc) {
    merle_bytes key = merle_doc_key(doc);
    uint64_t number = 0;
    for (size_t i = 0; i < key.size; i++) number = number << 8 | ((const uint8_t *)key.data)[i];
    return number;
}

/* ---- fighting for values ---- */

static void fights(stress_worker *w) {
    merle_key key_bytes;
    uint8_t bytes[STRESS_DOC_SIZE];
    uint64_t key = mrl_random_below(&w->random, KEY_COUNT);
    uint64_t value = 1 + mrl_random_below(&w->random, VALUE_COUNT);
    merle_bytes at = merle_key_u64(&key_bytes, key);
    merle_err err;
    switch (mrl_random_below(&w->random, 4)) {
    case 0:
        err = merle_one_remove(w->s->collection, at, NULL);
        break;
    case 1:
        err = merle_one_insert(w->s->collection, at, stress_doc(bytes, key, value, w->done), NULL);
        break;
    default:
        err = merle_one_put(w->s->collection, at, stress_doc(bytes, key, value, w->done), NULL);
    }
    STRESS_EXPECT(w->s, err == MERLE_OK || err == MERLE_EXISTS || err == MERLE_NOT_FOUND);
}

/* In one section: each value is found where a scan finds it, and nowhere else. */
static void looks(stress_worker *w) {
    merle_section section;
    merle_doc docs[KEY_COUNT * 2], doc;
    merle_scan scan = {0};
    uint64_t owners[VALUE_COUNT + 1], number, more;
    size_t count = 0;
    memset(owners, 0xff, sizeof owners);
    STRESS_EXPECT(w->s, merle_section_begin(w->s->db, &section) == MERLE_OK);
    (void)merle_scan_next(&section, w->s->collection, &scan, docs, KEY_COUNT * 2, &count);
    STRESS_EXPECT(w->s, count <= VALUE_COUNT); /* one document a value */
    for (size_t i = 0; i < count; i++) {
        uint64_t key = key_number(docs[i]);
        STRESS_EXPECT(w->s, stress_doc_read(docs[i], key, &number, &more));
        STRESS_EXPECT(w->s, number >= 1 && number <= VALUE_COUNT);
        if (number > VALUE_COUNT) continue;
        STRESS_EXPECT(w->s, owners[number] == UINT64_MAX);
        owners[number] = key;
    }
    for (uint64_t value = 1; value <= VALUE_COUNT; value++) {
        merle_err err =
            merle_get_by(&section, w->s->collection, "number", &doc, merle_value_uint(value));
        STRESS_EXPECT(w->s, err == (owners[value] == UINT64_MAX ? MERLE_NOT_FOUND : MERLE_OK));
        if (err != MERLE_OK) continue;
        STRESS_EXPECT(w->s, key_number(doc) == owners[value]);
        STRESS_EXPECT(w->s, stress_doc_read(doc, key_number(doc), &number, &more));
        STRESS_EXPECT(w->s, number == value);
    }
    STRESS_EXPECT(w->s, merle_section_end(&section) == MERLE_OK);
}

static void steps(stress_worker *w) {
    (void)merle_step(w->s->db, 0, 0);
}

static void fight(uint32_t thread_count, merle_threads threads) {
    stress s;
    stress_open(&s, threads, &schema);
    const stress_job jobs[] = {{"fights for a value", fights, thread_count / 2},
                               {"looks at all values", looks, thread_count / 2 - 1},
                               {"steps", steps, 1},
                               {NULL, NULL, 0}};
    stress_run(&s, jobs, stress_time_ms());
    stress_close(&s);
}

static void value_never_has_two_owners(void **state) {
    (void)state;
    stress_shapes(fight);
}

/* ---- the ball ---- */

/* The ball is a value: 0 in "more" says that a player has it not, then its number is its own. */
static merle_err throw_ball(void *context, merle_commit *commit) {
    stress_worker *w = context;
    merle_key keys[2];
    merle_doc docs[2];
    uint64_t numbers[2], more;
    uint8_t bytes[STRESS_DOC_SIZE];
    merle_err err = MERLE_OK;
    for (uint64_t i = 0; i < 2 && err == MERLE_OK; i++) {
        err = merle_commit_get(commit, w->s->collection, merle_key_u64(&keys[i], i), &docs[i]);
        if (err == MERLE_OK) STRESS_EXPECT(w->s, stress_doc_read(docs[i], i, &numbers[i], &more));
    }
    for (uint64_t i = 0; i < 2 && err == MERLE_OK; i++) {
        uint64_t number = numbers[i] == BALL ? 1 + i : BALL;
        err = merle_put(commit, w->s->collection, merle_key_u64(&keys[i], i),
                        stress_doc(bytes, i, number, w->done));
    }
    return err;
}

static void throws(stress_worker *w) {
    merle_err err = merle_run(w->s->db, throw_ball, w, 0, NULL);
    STRESS_EXPECT(w->s, err == MERLE_OK || err == MERLE_CONFLICT);
}

static void watches(stress_worker *w) {
    merle_section section;
    merle_doc doc;
    uint64_t has = 0, number, more;
    STRESS_EXPECT(w->s, merle_section_begin(w->s->db, &section) == MERLE_OK);
    merle_err err =
        merle_get_by(&section, w->s->collection, "number", &doc, merle_value_uint(BALL));
    STRESS_EXPECT(w->s, err == MERLE_OK);
    uint64_t owner = err == MERLE_OK ? key_number(doc) : 2;
    for (uint64_t i = 0; i < 2; i++) {
        merle_key key;
        err = merle_get(&section, w->s->collection, merle_key_u64(&key, i), &doc);
        STRESS_EXPECT(w->s, err == MERLE_OK && stress_doc_read(doc, i, &number, &more));
        has += err == MERLE_OK && number == BALL;
        STRESS_EXPECT(w->s, (number == BALL) == (owner == i));
        /* The one who has it not has his own number. */
        err = merle_get_by(&section, w->s->collection, "number", &doc, merle_value_uint(1 + i));
        STRESS_EXPECT(w->s, err == (owner == i ? MERLE_NOT_FOUND : MERLE_OK));
    }
    STRESS_EXPECT(w->s, has == 1);
    STRESS_EXPECT(w->s, merle_section_end(&section) == MERLE_OK);
}

static void play(uint32_t thread_count, merle_threads threads) {
    stress s;
    merle_key key;
    uint8_t bytes[STRESS_DOC_SIZE];
    stress_open(&s, threads, &schema);
    assert_int_equal(
        merle_one_put(s.collection, merle_key_u64(&key, 0), stress_doc(bytes, 0, BALL, 0), NULL),
        MERLE_OK);
    assert_int_equal(
        merle_one_put(s.collection, merle_key_u64(&key, 1), stress_doc(bytes, 1, 2, 0), NULL),
        MERLE_OK);
    const stress_job jobs[] = {{"throws of the ball", throws, thread_count / 2},
                               {"looks at the ball", watches, thread_count / 2},
                               {NULL, NULL, 0}};
    stress_run(&s, jobs, stress_time_ms());
    stress_close(&s);
}

static void value_passed_on_is_found_exactly_once(void **state) {
    (void)state;
    stress_shapes(play);
}

/* ---- swaps ---- */

static void swaps(stress_worker *w) {
    uint64_t pair = mrl_random_below(&w->random, PAIR_COUNT), numbers[2], more;
    merle_commit *commit;
    merle_err err = merle_begin(w->s->db, &commit);
    if (err != MERLE_OK) {
        stress_fault(w->s, "merle_begin: %s", merle_err_name(err));
        return;
    }
    for (uint64_t i = 0; i < 2 && err == MERLE_OK; i++) {
        merle_key key;
        merle_doc doc;
        err = merle_commit_get(commit, w->s->collection, merle_key_u64(&key, 2 * pair + i), &doc);
        if (err == MERLE_OK)
            STRESS_EXPECT(w->s, stress_doc_read(doc, 2 * pair + i, &numbers[i], &more));
    }
    for (uint64_t i = 0; i < 2 && err == MERLE_OK; i++) {
        merle_key key;
        uint8_t bytes[STRESS_DOC_SIZE];
        err = merle_put(commit, w->s->collection, merle_key_u64(&key, 2 * pair + i),
                        stress_doc(bytes, 2 * pair + i, numbers[1 - i], w->done));
    }
    STRESS_EXPECT(w->s, err == MERLE_OK);
    err = merle_end(commit, NULL);
    STRESS_EXPECT(w->s, err == MERLE_OK || err == MERLE_CONFLICT);
}

static void watches_pairs(stress_worker *w) {
    merle_section section;
    STRESS_EXPECT(w->s, merle_section_begin(w->s->db, &section) == MERLE_OK);
    for (uint64_t pair = 0; pair < PAIR_COUNT; pair++) {
        uint64_t owners[2] = {0, 0};
        for (uint64_t i = 0; i < 2; i++) {
            merle_doc doc;
            merle_err err = merle_get_by(&section, w->s->collection, "number", &doc,
                                         merle_value_uint(SWAP_FIRST + 2 * pair + i));
            STRESS_EXPECT(w->s, err == MERLE_OK);
            if (err == MERLE_OK) owners[i] = key_number(doc);
        }
        STRESS_EXPECT(w->s, owners[0] != owners[1]);
        STRESS_EXPECT(w->s, owners[0] / 2 == pair && owners[1] / 2 == pair);
    }
    STRESS_EXPECT(w->s, merle_section_end(&section) == MERLE_OK);
}

static void swap(uint32_t thread_count, merle_threads threads) {
    stress s;
    stress_open(&s, threads, &schema);
    for (uint64_t i = 0; i < 2 * PAIR_COUNT; i++) {
        merle_key key;
        uint8_t bytes[STRESS_DOC_SIZE];
        assert_int_equal(merle_one_put(s.collection, merle_key_u64(&key, i),
                                       stress_doc(bytes, i, SWAP_FIRST + i, 0), NULL),
                         MERLE_OK);
    }
    const stress_job jobs[] = {{"swaps", swaps, thread_count / 2},
                               {"looks at all pairs", watches_pairs, thread_count / 2},
                               {NULL, NULL, 0}};
    stress_run(&s, jobs, stress_time_ms());
    stress_close(&s);
}

static void values_swapped_are_where_they_belong(void **state) {
    (void)state;
    stress_shapes(swap);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_never_has_two_owners),
        cmocka_unit_test(value_passed_on_is_found_exactly_once),
        cmocka_unit_test(values_swapped_are_where_they_belong),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
