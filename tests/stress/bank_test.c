/* tests/stress/bank_test.c
 *
 * Aim     A commit is one instant for every section: money moved between accounts never changes
 *         its sum, a hit is the document asked for, whole; many reads in one section agree with
 *         each other; an account that is there all along is never missed; counters lose nothing.
 * Method  Threads move money by patches, by reads and puts, and by merges, while others sum up
 *         in sections by get, get_many and scan. Each document has a checksum over itself and
 *         its key.
 * Blind   Which order of commits it was (tests/model).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "tests/model/seed.h"
#include "tests/stress/stress.h"

enum { ACCOUNT_COUNT = 64, START = 1000 };

/* ---- money ---- */

static merle_err move(void *context, merle_commit *commit) {
    stress_worker *w = context;
    uint64_t keys[2], numbers[2], more[2], amount;
    keys[0] = mrl_random_below(&w->random, ACCOUNT_COUNT);
    keys[1] = mrl_random_below(&w->random, ACCOUNT_COUNT);
    if (keys[0] == keys[1]) keys[1] = (keys[1] + 1) % ACCOUNT_COUNT;
    for (int i = 0; i < 2; i++) {
        merle_key key;
        merle_doc doc;
        merle_err err =
            merle_commit_get(commit, w->s->collection, merle_key_u64(&key, keys[i]), &doc);
        if (err != MERLE_OK) return err;
        STRESS_EXPECT(w->s, stress_doc_read(doc, keys[i], &numbers[i], &more[i]));
    }
    amount = numbers[0] == 0 ? 0 : 1 + mrl_random_below(&w->random, numbers[0]);
    numbers[0] -= amount;
    numbers[1] += amount;
    for (int i = 0; i < 2; i++) {
        merle_key key;
        uint8_t bytes[STRESS_DOC_SIZE];
        merle_err err = merle_put(commit, w->s->collection, merle_key_u64(&key, keys[i]),
                                  stress_doc(bytes, keys[i], numbers[i], more[i] + 1));
        if (err != MERLE_OK) return err;
    }
    return MERLE_OK;
}

static void moves(stress_worker *w) {
    merle_err err = merle_run(w->s->db, move, w, 0, NULL);
    STRESS_EXPECT(w->s, err == MERLE_OK || err == MERLE_CONFLICT);
}

/* ---- sums ---- */

static uint64_t sum_by_get(stress_worker *w, merle_section *section, uint64_t numbers[]) {
    uint64_t sum = 0, more;
    for (uint64_t i = 0; i < ACCOUNT_COUNT; i++) {
        merle_key key;
        merle_doc doc;
        merle_err err = merle_get(section, w->s->collection, merle_key_u64(&key, i), &doc);
        STRESS_EXPECT(w->s, err == MERLE_OK);
        if (err != MERLE_OK) continue;
        STRESS_EXPECT(w->s, stress_doc_read(doc, i, &numbers[i], &more));
        STRESS_EXPECT(w->s, doc.seq <= merle_section_seq(section));
        sum += numbers[i];
    }
    return sum;
}

static void compare_many(stress_worker *w, merle_section *section, const uint64_t numbers[]) {
    merle_key keys[ACCOUNT_COUNT];
    merle_bytes asked[ACCOUNT_COUNT];
    merle_doc docs[ACCOUNT_COUNT];
    size_t found = 0;
    for (uint64_t i = 0; i < ACCOUNT_COUNT; i++) asked[i] = merle_key_u64(&keys[i], i);
    merle_err err = merle_get_many(section, w->s->collection, asked, ACCOUNT_COUNT, docs, &found);
    STRESS_EXPECT(w->s, err == MERLE_OK && found == ACCOUNT_COUNT);
    for (uint64_t i = 0; i < ACCOUNT_COUNT; i++) {
        uint64_t number = 0, more;
        STRESS_EXPECT(w->s, docs[i].data != NULL && stress_doc_read(docs[i], i, &number, &more));
        STRESS_EXPECT(w->s, number == numbers[i]);
    }
}

static uint64_t key_number(merle_doc doc) {
    merle_bytes key = merle_doc_key(doc);
    uint64_t number = 0;
    for (size_t i = 0; i < key.size; i++) number = number << 8 | ((const uint8_t *)key.data)[i];
    return number;
}

static void compare_scan(stress_worker *w, merle_section *section, const uint64_t numbers[]) {
    merle_doc docs[16];
    merle_scan scan = {0};
    uint64_t seen = 0, count, total = 0;
    size_t got;
    while (merle_scan_next(section, w->s->collection, &scan, docs, 16, &got) == MERLE_OK)
        for (size_t i = 0; i < got; i++) {
            uint64_t key = key_number(docs[i]), number, more;
            STRESS_EXPECT(w->s, key < ACCOUNT_COUNT && !((seen >> key) & 1));
            STRESS_EXPECT(w->s, stress_doc_read(docs[i], key, &number, &more));
            STRESS_EXPECT(w->s, key >= ACCOUNT_COUNT || number == numbers[key]);
            seen |= (uint64_t)1 << (key % 64);
            total++;
        }
    STRESS_EXPECT(w->s, seen == UINT64_MAX && total == ACCOUNT_COUNT);
    STRESS_EXPECT(w->s, merle_count(section, w->s->collection, &count) == MERLE_OK);
    STRESS_EXPECT(w->s, count == ACCOUNT_COUNT);
}

static void sums(stress_worker *w) {
    uint64_t numbers[ACCOUNT_COUNT] = {0};
    merle_section section, inner;
    STRESS_EXPECT(w->s, merle_section_begin(w->s->db, &section) == MERLE_OK);
    STRESS_EXPECT(w->s, sum_by_get(w, &section, numbers) == (uint64_t)START * ACCOUNT_COUNT);
    if (w->done % 4 == 0) {
        uint64_t others[ACCOUNT_COUNT] = {0};
        STRESS_EXPECT(w->s, merle_section_begin(w->s->db, &inner) == MERLE_OK);
        STRESS_EXPECT(w->s, merle_section_seq(&inner) >= merle_section_seq(&section));
        STRESS_EXPECT(w->s, sum_by_get(w, &inner, others) == (uint64_t)START * ACCOUNT_COUNT);
        STRESS_EXPECT(w->s, merle_section_end(&inner) == MERLE_OK);
    }
    compare_many(w, &section, numbers);
    compare_scan(w, &section, numbers);
    STRESS_EXPECT(w->s, merle_section_end(&section) == MERLE_OK);
}

static void steps(stress_worker *w) {
    (void)merle_step(w->s->db, 0, 0);
}

static void money(uint32_t thread_count, merle_threads threads) {
    stress s;
    stress_open(&s, threads, NULL);
    for (uint64_t i = 0; i < ACCOUNT_COUNT; i++) {
        merle_key key;
        uint8_t bytes[STRESS_DOC_SIZE];
        assert_int_equal(merle_one_put(s.collection, merle_key_u64(&key, i),
                                       stress_doc(bytes, i, START, 0), NULL),
                         MERLE_OK);
    }
    const stress_job jobs[] = {{"moves of money", moves, thread_count / 2},
                               {"sums of all accounts", sums, thread_count / 2 - 1},
                               {"steps", steps, 1},
                               {NULL, NULL, 0}};
    stress_run(&s, jobs, stress_time_ms());
    stress_close(&s);
}

static void money_moved_never_changes_its_sum(void **state) {
    (void)state;
    stress_shapes(money);
}

/* ---- counters ---- */

typedef struct tally {
    _Atomic uint64_t added;
} tally;

static void counts(stress_worker *w) {
    tally *t = w->s->context;
    int64_t number = 0;
    merle_err err = merle_one_count(w->s->collection, MERLE_STR("counter"), "n", 1, &number);
    STRESS_EXPECT(w->s, err == MERLE_OK || err == MERLE_CONFLICT);
    if (err == MERLE_OK) atomic_fetch_add(&t->added, 1);
    STRESS_EXPECT(w->s, err != MERLE_OK || number > 0);
}

static void count_together(uint32_t thread_count, merle_threads threads) {
    stress s;
    tally t;
    merle_buffer copy = {0};
    atomic_init(&t.added, 0);
    stress_open(&s, threads, NULL);
    s.context = &t;
    const stress_job jobs[] = {{"counts", counts, thread_count}, {NULL, NULL, 0}};
    stress_run(&s, jobs, stress_time_ms() / 2);
    assert_int_equal(merle_one_get(s.collection, MERLE_STR("counter"), &copy, NULL), MERLE_OK);
    merle_doc doc = {copy.data, copy.size, 0, NULL};
    assert_int_equal(merle_doc_int(doc, "n", -1), atomic_load(&t.added));
    merle_buffer_free(&copy);
    stress_close(&s);
}

static void counters_lose_nothing(void **state) {
    (void)state;
    stress_shapes(count_together);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(money_moved_never_changes_its_sum),
        cmocka_unit_test(counters_lose_nothing),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
