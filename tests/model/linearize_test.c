/* tests/model/linearize_test.c
 *
 * Aim     Histories of real threads could have happened one call after the other: gets, puts,
 *         inserts, removes, compare-and-set, unique values taken and released, swaps of two
 *         documents and sections that read two. And the checker itself finds what is wrong in
 *         planted histories.
 * Method  Threads work on three documents and note times; tests/model/linearize.c looks for an
 *         order. Every written value is written once, so that what is read tells who wrote it.
 * Blind   What times cannot tell apart: calls that overlap may have happened in either order.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include <merle/merle.h>

#include "base/random.h"
#include "tests/model/linearize.h"
#include "tests/model/seed.h"

enum { THREAD_COUNT = 4, CALLS_EACH = 14, REGISTER_COUNT = 3 };

/* ---- planted histories ---- */

static linear_call planted(uint64_t begin, uint64_t end, linear_kind kind, uint64_t value,
                           int is_done) {
    linear_call call;
    memset(&call, 0, sizeof call);
    call.begin_ns = begin;
    call.end_ns = end;
    call.kind = kind;
    call.value = value;
    call.is_done = is_done;
    return call;
}

static void checker_accepts_what_can_be(void **state) {
    (void)state;
    linear_call calls[] = {
        planted(0, 10, LINEAR_PUT, 1, 1),     planted(5, 20, LINEAR_PUT, 2, 1),
        planted(12, 14, LINEAR_GET, 1, 1),    planted(15, 30, LINEAR_GET, 2, 1),
        planted(40, 50, LINEAR_REMOVE, 0, 1), planted(41, 60, LINEAR_GET, 2, 1),
        planted(61, 62, LINEAR_INSERT, 3, 1), planted(63, 64, LINEAR_INSERT, 4, 0)};
    assert_int_equal(linear_check(calls, sizeof calls / sizeof calls[0]), 1);
    assert_int_equal(linear_check(calls, 0), 1);
}

static void checker_finds_a_stale_read(void **state) {
    (void)state;
    linear_call calls[] = {planted(0, 10, LINEAR_PUT, 1, 1), planted(20, 30, LINEAR_PUT, 2, 1),
                           planted(40, 50, LINEAR_GET, 1, 1)};
    assert_int_equal(linear_check(calls, 3), 0);
    calls[2].begin_ns = 25; /* beside the second put it may be the first one's value */
    assert_int_equal(linear_check(calls, 3), 1);
    linear_call back[] = {planted(0, 10, LINEAR_PUT, 1, 1), planted(20, 90, LINEAR_PUT, 2, 1),
                          planted(30, 40, LINEAR_GET, 2, 1), planted(50, 60, LINEAR_GET, 1, 1)};
    assert_int_equal(linear_check(back, 4), 0); /* once seen it stays */
}

static void checker_finds_a_lost_update(void **state) {
    (void)state;
    linear_call calls[] = {planted(0, 10, LINEAR_PUT, 1, 1), planted(20, 60, LINEAR_CAS, 2, 1),
                           planted(21, 61, LINEAR_CAS, 3, 1), planted(70, 80, LINEAR_GET, 2, 1)};
    calls[1].expected = calls[2].expected = 1;
    assert_int_equal(linear_check(calls, 4), 0);
    calls[2].is_done = 0;
    assert_int_equal(linear_check(calls, 4), 1);
}

static void checker_finds_two_winners_of_one_value(void **state) {
    (void)state;
    linear_call calls[] = {planted(0, 50, LINEAR_TAKE, 1, 1), planted(10, 60, LINEAR_TAKE, 2, 1),
                           planted(70, 80, LINEAR_GET, 1, 1)};
    assert_int_equal(linear_check(calls, 3), 0);
    linear_call released[] = {planted(0, 50, LINEAR_TAKE, 1, 1), planted(10, 60, LINEAR_TAKE, 2, 1),
                              planted(40, 80, LINEAR_RELEASE, 1, 1)};
    assert_int_equal(linear_check(released, 3), 1);
}

static void checker_finds_a_torn_swap(void **state) {
    (void)state;
    linear_call calls[] = {planted(0, 1, LINEAR_PUT, 1, 1), planted(2, 3, LINEAR_PUT, 2, 1),
                           planted(10, 50, LINEAR_SWAP, 0, 1),
                           planted(20, 30, LINEAR_GET_TWO, 1, 1)};
    calls[1].at = 1;
    calls[2].other = calls[3].other = 1;
    calls[3].other_value = 1; /* the same value in both places */
    assert_int_equal(linear_check(calls, 4), 0);
    calls[3].other_value = 2;
    assert_int_equal(linear_check(calls, 4), 1);
}

/* ---- recorded histories ---- */

static const merle_index indexes[] = {{"tag", MERLE_UNIQUE, "tag"}, {NULL, 0, NULL}};
static const merle_schema schema = {sizeof(merle_schema), 1, 0, indexes, NULL};

typedef struct arena {
    merle_db *db;
    merle_collection *collection;
    uint64_t seed;
    uint64_t round;
    int is_unique; /* the round of unique values */
    pthread_barrier_t barrier;
    _Atomic uint64_t next_value;
    _Atomic uint32_t failures;
    _Atomic uint32_t stop;
    linear_call calls[THREAD_COUNT][CALLS_EACH];
} arena;

typedef struct runner {
    arena *a;
    uint32_t number;
    mrl_random random;
} runner;

static uint64_t now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static merle_bytes number_doc(uint8_t out[16], uint64_t value) {
    /* {"v": value}, by hand: no builder is needed for it. */
    static const uint8_t head[] = {0x81, 0xa1, 'v', 0xcf};
    memcpy(out, head, sizeof head);
    for (int i = 0; i < 8; i++) out[4 + i] = (uint8_t)(value >> (56 - 8 * i));
    return merle_bytes_of(out, 12);
}

static merle_bytes tag_doc(uint8_t out[16], uint64_t tag) {
    static const uint8_t head[] = {0x81, 0xa3, 't', 'a', 'g', 0xcf};
    memcpy(out, head, sizeof head);
    for (int i = 0; i < 8; i++) out[6 + i] = (uint8_t)(tag >> (56 - 8 * i));
    return merle_bytes_of(out, 14);
}

static merle_bytes register_key(const arena *a, merle_key *key, uint32_t at) {
    return merle_key_u64(key, a->round * 16 + at);
}

static uint64_t value_at(merle_section *section, const arena *a, uint32_t at) {
    merle_key key;
    merle_doc doc;
    if (merle_get(section, a->collection, register_key(a, &key, at), &doc) != MERLE_OK) return 0;
    return merle_doc_uint(doc, "v", 0);
}

/* Two documents change places in one commit. */
static merle_err swap_two(const arena *a, uint32_t at, uint32_t other) {
    merle_commit *commit;
    merle_key keys[2];
    merle_doc docs[2];
    uint64_t values[2];
    uint32_t places[2] = {at, other};
    merle_err err = merle_begin(a->db, &commit);
    if (err != MERLE_OK) return err;
    for (int i = 0; i < 2; i++) {
        merle_bytes key = register_key(a, &keys[i], places[i]);
        err = merle_commit_get(commit, a->collection, key, &docs[i]);
        values[i] = err == MERLE_OK ? merle_doc_uint(docs[i], "v", 0) : 0;
    }
    for (int i = 0; i < 2; i++) {
        uint8_t bytes[16];
        merle_bytes key = register_key(a, &keys[i], places[i]);
        if (values[1 - i] != 0)
            err = merle_put(commit, a->collection, key, number_doc(bytes, values[1 - i]));
        else if (values[i] != 0)
            err = merle_remove(commit, a->collection, key);
        else
            err = MERLE_OK;
        if (err != MERLE_OK) {
            merle_cancel(commit);
            return err;
        }
    }
    return merle_end(commit, NULL);
}

static merle_err compare_and_set(const arena *a, linear_call *call, merle_bytes key,
                                 merle_bytes doc) {
    merle_section section;
    merle_commit *commit;
    merle_doc seen;
    merle_err err = merle_section_begin(a->db, &section);
    if (err != MERLE_OK) return err;
    err = merle_get(&section, a->collection, key, &seen);
    call->expected = err == MERLE_OK ? merle_doc_uint(seen, "v", 0) : 0;
    uint64_t seq = seen.seq;
    (void)merle_section_end(&section);
    /* What was read is the caller's own knowledge: the call that counts begins here. */
    call->begin_ns = now_ns();
    if ((err = merle_begin(a->db, &commit)) != MERLE_OK) return err;
    if ((err = merle_expect(commit, a->collection, key, seq)) == MERLE_OK)
        err = merle_put(commit, a->collection, key, doc);
    if (err == MERLE_OK) return merle_end(commit, NULL);
    merle_cancel(commit);
    return err;
}

static void get_two(const arena *a, linear_call *call) {
    merle_section section;
    if (merle_section_begin(a->db, &section) != MERLE_OK) return;
    call->value = value_at(&section, a, call->at);
    call->other_value = value_at(&section, a, call->other);
    (void)merle_section_end(&section);
}

static merle_err make_call(runner *r, linear_call *call) {
    arena *a = r->a;
    merle_key key_bytes;
    uint8_t bytes[16];
    merle_bytes key = register_key(a, &key_bytes, call->at);
    merle_bytes doc = number_doc(bytes, call->value);
    merle_err err;
    switch (call->kind) {
    case LINEAR_PUT:
        return merle_one_put(a->collection, key, doc, NULL);
    case LINEAR_INSERT:
        return merle_one_insert(a->collection, key, doc, NULL);
    case LINEAR_REMOVE:
        return merle_one_remove(a->collection, key, NULL);
    case LINEAR_CAS:
        return compare_and_set(a, call, key, doc);
    case LINEAR_SWAP:
        /* A document that was read and is gone at the end may be told either way. */
        do {
            err = swap_two(a, call->at, call->other);
        } while (err == MERLE_CONFLICT || err == MERLE_NOT_FOUND);
        return err;
    default:
        get_two(a, call);
        return MERLE_OK;
    }
}

static void random_call(runner *r, linear_call *call) {
    static const linear_kind kinds[] = {LINEAR_GET_TWO, LINEAR_GET_TWO, LINEAR_GET_TWO,
                                        LINEAR_PUT,     LINEAR_INSERT,  LINEAR_REMOVE,
                                        LINEAR_CAS,     LINEAR_SWAP};
    memset(call, 0, sizeof *call);
    call->kind = kinds[mrl_random_below(&r->random, 8)];
    call->at = (uint32_t)mrl_random_below(&r->random, REGISTER_COUNT);
    call->other = (call->at + 1) % REGISTER_COUNT;
    if (call->kind != LINEAR_GET_TWO) call->value = atomic_fetch_add(&r->a->next_value, 1);
}

static void work_on_documents(runner *r) {
    for (int i = 0; i < CALLS_EACH; i++) {
        linear_call *call = &r->a->calls[r->number][i];
        random_call(r, call);
        call->begin_ns = now_ns();
        merle_err err = make_call(r, call);
        call->end_ns = now_ns();
        call->is_done = err == MERLE_OK;
        if (err != MERLE_OK && err != MERLE_EXISTS && err != MERLE_NOT_FOUND &&
            err != MERLE_CONFLICT)
            atomic_fetch_add(&r->a->failures, 1);
    }
}

/* ---- unique values: the registers are the values, what they hold are the owners ---- */

static uint64_t owner_of(const arena *a, uint64_t tag) {
    merle_section section;
    merle_doc doc;
    uint64_t owner = 0;
    if (merle_section_begin(a->db, &section) != MERLE_OK) return 0;
    if (merle_get_by(&section, a->collection, "tag", &doc, merle_value_uint(tag)) == MERLE_OK) {
        merle_bytes key = merle_doc_key(doc);
        owner = ((const uint8_t *)key.data)[key.size - 1];
    }
    (void)merle_section_end(&section);
    return owner;
}

/* The owner is a document of the thread's own for this value: it has it, or it is not there. */
static void work_on_values(runner *r) {
    arena *a = r->a;
    for (int i = 0; i < CALLS_EACH; i++) {
        static const linear_kind kinds[] = {LINEAR_GET, LINEAR_TAKE, LINEAR_TAKE, LINEAR_RELEASE};
        linear_call *call = &a->calls[r->number][i];
        merle_key key_bytes;
        uint8_t bytes[16];
        memset(call, 0, sizeof *call);
        call->kind = kinds[mrl_random_below(&r->random, 4)];
        call->at = (uint32_t)mrl_random_below(&r->random, REGISTER_COUNT);
        uint64_t tag = a->round * 16 + call->at, owner = r->number * REGISTER_COUNT + call->at + 1;
        merle_bytes key = merle_key_u64(&key_bytes, ((uint64_t)1 << 40) + a->round * 256 + owner);
        merle_err err = MERLE_OK;
        call->value = owner;
        call->begin_ns = now_ns();
        if (call->kind == LINEAR_GET)
            call->value = owner_of(a, tag);
        else if (call->kind == LINEAR_TAKE)
            err = merle_one_put(a->collection, key, tag_doc(bytes, tag), NULL);
        else
            err = merle_one_remove(a->collection, key, NULL);
        call->end_ns = now_ns();
        call->is_done = err == MERLE_OK;
        if (err != MERLE_OK && err != MERLE_EXISTS && err != MERLE_NOT_FOUND)
            atomic_fetch_add(&a->failures, 1);
    }
}

static void *run(void *context) {
    runner *r = context;
    for (;;) {
        (void)pthread_barrier_wait(&r->a->barrier);
        if (atomic_load(&r->a->stop)) return NULL;
        if (r->a->is_unique)
            work_on_values(r);
        else
            work_on_documents(r);
        (void)pthread_barrier_wait(&r->a->barrier);
    }
}

static void record_and_check(merle_threads threads, int is_unique, uint64_t round_count) {
    static arena a;
    runner runners[THREAD_COUNT];
    pthread_t handles[THREAD_COUNT];
    merle_options options = {.threads = threads};
    memset(&a, 0, sizeof a);
    a.is_unique = is_unique;
    atomic_init(&a.next_value, 1);
    assert_int_equal(merle_open(NULL, &options, &a.db), MERLE_OK);
    assert_int_equal(merle_collection_open(a.db, "registers", &schema, &a.collection), MERLE_OK);
    assert_int_equal(pthread_barrier_init(&a.barrier, NULL, THREAD_COUNT + 1), 0);
    for (uint32_t i = 0; i < THREAD_COUNT; i++) {
        runners[i] = (runner){&a, i, {test_seed() * 100 + i}};
        assert_int_equal(pthread_create(&handles[i], NULL, run, &runners[i]), 0);
    }
    int result = 1;
    for (a.round = 0; a.round < round_count && result == 1; a.round++) {
        (void)pthread_barrier_wait(&a.barrier);
        (void)pthread_barrier_wait(&a.barrier);
        result = linear_check(&a.calls[0][0], THREAD_COUNT * CALLS_EACH);
    }
    atomic_store(&a.stop, 1);
    (void)pthread_barrier_wait(&a.barrier);
    for (uint32_t i = 0; i < THREAD_COUNT; i++) (void)pthread_join(handles[i], NULL);
    for (int i = 0; result != 1 && i < THREAD_COUNT * CALLS_EACH; i++) {
        const linear_call *c = &a.calls[i / CALLS_EACH][i % CALLS_EACH];
        test_say(
            "thread %d: %llu to %llu, kind %d, at %u and %u: %llu, %llu, expected %llu, done %d",
            i / CALLS_EACH, (unsigned long long)c->begin_ns, (unsigned long long)c->end_ns,
            (int)c->kind, c->at, c->other, (unsigned long long)c->value,
            (unsigned long long)c->other_value, (unsigned long long)c->expected, c->is_done);
    }
    assert_int_equal(result, 1);
    assert_int_equal(atomic_load(&a.failures), 0);
    (void)pthread_barrier_destroy(&a.barrier);
    assert_int_equal(merle_close(a.db), MERLE_OK);
}

static void documents_are_linearizable(void **state) {
    (void)state;
    record_and_check(MERLE_THREADS_NONE, 0, test_amount(8000));
    record_and_check(MERLE_THREADS_BACKGROUND, 0, test_amount(4000));
}

static void unique_values_are_linearizable(void **state) {
    (void)state;
    record_and_check(MERLE_THREADS_NONE, 1, test_amount(8000));
    record_and_check(MERLE_THREADS_BACKGROUND, 1, test_amount(4000));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checker_accepts_what_can_be),
        cmocka_unit_test(checker_finds_a_stale_read),
        cmocka_unit_test(checker_finds_a_lost_update),
        cmocka_unit_test(checker_finds_two_winners_of_one_value),
        cmocka_unit_test(checker_finds_a_torn_swap),
        cmocka_unit_test(documents_are_linearizable),
        cmocka_unit_test(unique_values_are_linearizable),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
