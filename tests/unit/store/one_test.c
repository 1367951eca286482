/* tests/unit/store/one_test.c - calls that are one commit, and merle_run.
 *
 * Aim     Each call does what its commit would, and nothing when it fails; a call that gives a
 *         document gives that of its own commit, also while other threads hammer the same key, and
 *         then it does not conflict.
 * Method  Single calls compared with what a section sees. Threads: every number that
 *         merle_one_count gives is given once; every document swapped out was swapped in exactly
 *         once.
 * Blind   Which interleavings occur is the scheduler's choice.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/store/stand.h"

#include <pthread.h>

/* ---- single calls ---- */

static void insert_twice_is_refused(void **state) {
    (void)state;
    stand s = stand_open();
    merle_buffer doc = doc_of("{\"gold\":1}");
    uint64_t seq = 0;
    must(&s, merle_one_insert(s.players, merle_str("a"), bytes_of(&doc), &seq));
    assert_int_not_equal(seq, 0);
    assert_int_equal(merle_one_insert(s.players, merle_str("a"), bytes_of(&doc), &seq),
                     MERLE_EXISTS);
    assert_int_equal(seq, 0);
    must(&s, merle_one_replace(s.players, merle_str("a"), bytes_of(&doc), NULL));
    assert_int_equal(merle_one_replace(s.players, merle_str("b"), bytes_of(&doc), NULL),
                     MERLE_NOT_FOUND);
    must(&s, merle_one_remove(s.players, merle_str("a"), NULL));
    assert_int_equal(merle_one_remove(s.players, merle_str("a"), NULL), MERLE_NOT_FOUND);
    merle_buffer_free(&doc);
    stand_close(&s);
}

static void get_copies_document_and_its_seq(void **state) {
    (void)state;
    stand s = stand_open();
    merle_buffer copy = {NULL, 0, 0};
    uint64_t seq = 7;
    assert_int_equal(merle_one_get(s.players, merle_str("a"), &copy, &seq), MERLE_NOT_FOUND);
    assert_int_equal(seq, 0);
    uint64_t put_seq = put_json(&s, "a", "{\"gold\":1}");
    (void)put_json(&s, "b", "{\"gold\":2}");
    must(&s, merle_one_get(s.players, merle_str("a"), &copy, &seq));
    assert_int_equal(seq, put_seq);
    assert_is_doc(bytes_of(&copy), "{\"gold\":1}");
    assert_int_equal(merle_one_get(s.players, merle_str("c"), &copy, NULL), MERLE_NOT_FOUND);
    assert_int_equal(copy.size, 0);
    merle_buffer_free(&copy);
    stand_close(&s);
}

static void patch_gives_the_new_document(void **state) {
    (void)state;
    stand s = stand_open();
    merle_buffer copy = {NULL, 0, 0};
    uint64_t seq = 0;
    (void)put_json(&s, "a", "{\"gold\":1}");
    must(&s, merle_one_patch(s.players, merle_str("a"), &copy, &seq, MERLE_INC("gold", 5)));
    assert_is_doc(bytes_of(&copy), "{\"gold\":6}");
    assert_int_equal(merle_one_patch(s.players, merle_str("a"), &copy, &seq,
                                     MERLE_APPEND("gold", merle_value_int(1))),
                     MERLE_TYPE);
    assert_int_equal(copy.size, 0);
    assert_int_equal(seq, 0);
    assert_int_equal(merle_one_patch(s.players, merle_str("b"), &copy, NULL, MERLE_INC("gold", 5)),
                     MERLE_NOT_FOUND);
    must(&s, merle_one_patch(s.players, merle_str("a"), NULL, NULL, MERLE_INC("gold", 1)));
    must(&s, merle_one_get(s.players, merle_str("a"), &copy, NULL));
    assert_is_doc(bytes_of(&copy), "{\"gold\":7}");
    merle_buffer_free(&copy);
    stand_close(&s);
}

static void swap_gives_what_was_there(void **state) {
    (void)state;
    stand s = stand_open();
    merle_buffer old = {NULL, 0, 0}, one = doc_of("{\"n\":1}"), two = doc_of("{\"n\":2}");
    must(&s, merle_one_swap(s.players, merle_str("a"), bytes_of(&one), &old, NULL));
    assert_int_equal(old.size, 0);
    must(&s, merle_one_swap(s.players, merle_str("a"), bytes_of(&two), &old, NULL));
    assert_is_doc(bytes_of(&old), "{\"n\":1}");
    (void)remove_key(&s, "a");
    must(&s, merle_one_swap(s.players, merle_str("a"), bytes_of(&one), &old, NULL));
    assert_int_equal(old.size, 0);
    merle_buffer_free(&old);
    merle_buffer_free(&one);
    merle_buffer_free(&two);
    stand_close(&s);
}

static void swap_refused_by_unique_value_gives_nothing(void **state) {
    (void)state;
    stand s = stand_open();
    merle_buffer old = {NULL, 0, 0}, doc = doc_of("{\"email\":\"x\"}");
    (void)put_json(&s, "a", "{\"email\":\"x\"}");
    (void)put_json(&s, "b", "{\"email\":\"y\"}");
    assert_int_equal(merle_one_swap(s.players, merle_str("b"), bytes_of(&doc), &old, NULL),
                     MERLE_EXISTS);
    assert_int_equal(old.size, 0);
    merle_buffer_free(&old);
    merle_buffer_free(&doc);
    stand_close(&s);
}

/* ---- counting ---- */

static void count_makes_document_and_field(void **state) {
    (void)state;
    stand s = stand_open();
    merle_buffer copy = {NULL, 0, 0};
    int64_t number = 0;
    must(&s, merle_one_count(s.players, merle_str("a"), "hits.north", 3, &number));
    assert_int_equal(number, 3);
    must(&s, merle_one_count(s.players, merle_str("a"), "hits.south", -1, &number));
    assert_int_equal(number, -1);
    must(&s, merle_one_count(s.players, merle_str("a"), "hits.north", 4, NULL));
    must(&s, merle_one_get(s.players, merle_str("a"), &copy, NULL));
    assert_is_doc(bytes_of(&copy), "{\"hits\":{\"north\":7,\"south\":-1}}");
    (void)remove_key(&s, "a");
    must(&s, merle_one_count(s.players, merle_str("a"), "hits.north", 1, &number));
    assert_int_equal(number, 1);
    merle_buffer_free(&copy);
    stand_close(&s);
}

static void count_of_another_type_changes_nothing(void **state) {
    (void)state;
    stand s = stand_open();
    merle_buffer copy = {NULL, 0, 0};
    int64_t number = 9;
    const char *json = "{\"f\":1.5,\"t\":\"x\",\"big\":9223372036854775807,\"list\":[1]}";
    (void)put_json(&s, "a", json);
    assert_int_equal(merle_one_count(s.players, merle_str("a"), "f", 1, &number), MERLE_TYPE);
    assert_int_equal(number, 0);
    assert_int_equal(merle_one_count(s.players, merle_str("a"), "t", 1, &number), MERLE_TYPE);
    assert_int_equal(merle_one_count(s.players, merle_str("a"), "big", 1, &number), MERLE_OVERFLOW);
    assert_int_equal(merle_one_count(s.players, merle_str("a"), "list[5]", 1, &number),
                     MERLE_NOT_FOUND);
    assert_int_equal(merle_one_count(s.players, merle_str("a"), "a..b", 1, &number), MERLE_INVALID);
    must(&s, merle_one_get(s.players, merle_str("a"), &copy, NULL));
    assert_is_doc(bytes_of(&copy), json);
    merle_buffer_free(&copy);
    stand_close(&s);
}

/* ---- threads on one key ---- */

enum { THREADS = 3, ROUNDS = 2000 };

typedef struct crew {
    stand *s;
    uint32_t number;
    int64_t *given; /* what the calls gave, ROUNDS of them */
} crew;

static void run_crew(stand *s, void *(*fn)(void *), int64_t given[THREADS][ROUNDS]) {
    pthread_t threads[THREADS];
    crew members[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        members[i] = (crew){s, i, given[i]};
        assert_int_equal(pthread_create(&threads[i], NULL, fn, &members[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

static void *count_many(void *context) {
    crew *c = context;
    for (int i = 0; i < ROUNDS; i++)
        if (merle_one_count(c->s->players, merle_str("a"), "n", 1, &c->given[i]) != MERLE_OK)
            c->given[i] = 0;
    return NULL;
}

/* Swaps numbers of its own in; what it is given is somebody's. */
static void *swap_many(void *context) {
    crew *c = context;
    merle_buffer old = {NULL, 0, 0};
    merle_builder *builder;
    if (merle_builder_create(&builder) != MERLE_OK) return NULL;
    for (int i = 0; i < ROUNDS; i++) {
        merle_bytes doc;
        merle_build_begin(builder);
        merle_build_int(builder, "n", (int64_t)c->number * ROUNDS + i + 1);
        c->given[i] = -1;
        if (merle_build_end(builder, &doc) != MERLE_OK) continue;
        if (merle_one_swap(c->s->players, merle_str("a"), doc, &old, NULL) != MERLE_OK) continue;
        merle_doc view = {old.data, old.size, 0, NULL};
        c->given[i] = old.size == 0 ? 0 : merle_doc_int(view, "n", -1);
    }
    merle_builder_destroy(builder);
    merle_buffer_free(&old);
    return NULL;
}

static int64_t given[THREADS][ROUNDS];

static void count_by_threads_gives_each_number_once(void **state) {
    (void)state;
    static uint8_t seen[THREADS * ROUNDS + 1];
    stand s = stand_open();
    memset(seen, 0, sizeof seen);
    run_crew(&s, count_many, given);
    for (int t = 0; t < THREADS; t++)
        for (int i = 0; i < ROUNDS; i++) {
            assert_in_range(given[t][i], 1, THREADS * ROUNDS);
            assert_int_equal(seen[given[t][i]]++, 0);
            if (i > 0) assert_true(given[t][i] > given[t][i - 1]);
        }
    must(&s, merle_check(s.db, &s.report));
    stand_close(&s);
}

static void swap_by_threads_loses_no_document(void **state) {
    (void)state;
    static uint8_t seen[THREADS * ROUNDS + 1];
    stand s = stand_open();
    merle_buffer last = {NULL, 0, 0};
    memset(seen, 0, sizeof seen);
    run_crew(&s, swap_many, given);
    for (int t = 0; t < THREADS; t++)
        for (int i = 0; i < ROUNDS; i++) {
            assert_in_range(given[t][i], 0, THREADS * ROUNDS);
            assert_int_equal(seen[given[t][i]]++, 0);
        }
    must(&s, merle_one_get(s.players, merle_str("a"), &last, NULL));
    merle_doc view = {last.data, last.size, 0, NULL};
    assert_int_equal(seen[merle_doc_int(view, "n", 0)]++, 0);
    for (int i = 0; i <= THREADS * ROUNDS; i++) assert_int_equal(seen[i], 1);
    merle_buffer_free(&last);
    must(&s, merle_check(s.db, &s.report));
    stand_close(&s);
}

/* ---- merle_run ---- */

typedef struct running {
    stand *s;
    int calls;
    int disturb; /* how many times somebody else comes in between */
    merle_err err;
} running;

static merle_err read_and_put(void *context, merle_commit *commit) {
    running *r = context;
    merle_doc doc;
    r->calls++;
    merle_err err = merle_commit_get(commit, r->s->players, merle_str("a"), &doc);
    if (err != MERLE_OK) return err;
    if (r->calls <= r->disturb) (void)put_json(r->s, "a", "{\"n\":2}");
    if (r->err != MERLE_OK) return r->err;
    return merle_patch(commit, r->s->players, merle_str("b"), MERLE_INC("n", 1));
}

static void run_again_after_conflict_ends_well(void **state) {
    (void)state;
    stand s = stand_open();
    uint64_t seq = 0;
    (void)put_json(&s, "a", "{\"n\":1}");
    (void)put_json(&s, "b", "{\"n\":0}");
    running r = {&s, 0, 3, MERLE_OK};
    must(&s, merle_run(s.db, read_and_put, &r, 0, &seq));
    assert_int_equal(r.calls, 4);
    assert_int_not_equal(seq, 0);
    merle_buffer copy = {NULL, 0, 0};
    must(&s, merle_one_get(s.players, merle_str("b"), &copy, NULL));
    assert_is_doc(bytes_of(&copy), "{\"n\":1}");
    merle_buffer_free(&copy);
    stand_close(&s);
}

static void run_gives_up_after_its_tries(void **state) {
    (void)state;
    stand s = stand_open();
    uint64_t seq = 5;
    (void)put_json(&s, "a", "{\"n\":1}");
    (void)put_json(&s, "b", "{\"n\":0}");
    running r = {&s, 0, 1000, MERLE_OK};
    assert_int_equal(merle_run(s.db, read_and_put, &r, 5, &seq), MERLE_CONFLICT);
    assert_int_equal(r.calls, 5);
    assert_int_equal(seq, 0);
    r = (running){&s, 0, 0, MERLE_AGAIN};
    assert_int_equal(merle_run(s.db, read_and_put, &r, 5, NULL), MERLE_CONFLICT);
    assert_int_equal(r.calls, 5);
    r = (running){&s, 0, 0, MERLE_TYPE};
    assert_int_equal(merle_run(s.db, read_and_put, &r, 5, NULL), MERLE_TYPE);
    assert_int_equal(r.calls, 1);
    stand_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(insert_twice_is_refused),
        cmocka_unit_test(get_copies_document_and_its_seq),
        cmocka_unit_test(patch_gives_the_new_document),
        cmocka_unit_test(swap_gives_what_was_there),
        cmocka_unit_test(swap_refused_by_unique_value_gives_nothing),
        cmocka_unit_test(count_makes_document_and_field),
        cmocka_unit_test(count_of_another_type_changes_nothing),
        cmocka_unit_test(count_by_threads_gives_each_number_once),
        cmocka_unit_test(swap_by_threads_loses_no_document),
        cmocka_unit_test(run_again_after_conflict_ends_well),
        cmocka_unit_test(run_gives_up_after_its_tries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
