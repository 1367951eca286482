/* tests/stress/life_test.c
 *
 * Aim     Threads may come and go, end inside sections and commits; collections may be
 *         truncated, dropped and made again while others read and write: each section still sees
 *         one instant, nothing is freed under it, and a close waits for nobody but says who is
 *         still there.
 * Method  Short-lived threads that end where they stand, beside long-lived readers with a
 *         checksum in each document; one thread that truncates, drops and makes anew. The
 *         address sanitizer sees what is freed too early.
 * Blind   Memory that is kept for too long is seen only where it never comes back at all.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>

#include "tests/model/seed.h"
#include "tests/stress/stress.h"

enum { KEY_COUNT = 200 };

static const merle_index indexes[] = {{"number", MERLE_UNIQUE, "n"}, {NULL, 0, NULL}};
static const merle_schema schema = {sizeof(merle_schema), 1, 0, indexes, NULL};

static void write_one(stress_worker *w) {
    merle_key key_bytes;
    uint8_t bytes[STRESS_DOC_SIZE];
    uint64_t key = mrl_random_below(&w->random, KEY_COUNT);
    merle_bytes at = merle_key_u64(&key_bytes, key);
    merle_err err =
        mrl_random_below(&w->random, 4) == 0
            ? merle_one_remove(w->s->collection, at, NULL)
            : merle_one_put(w->s->collection, at,
                            stress_doc(bytes, key, key, mrl_random_next(&w->random)), NULL);
    STRESS_EXPECT(w->s, err == MERLE_OK || err == MERLE_NOT_FOUND);
}

/* A section that is long, for its kind: what it saw first it sees at its end. */
static void reads_long(stress_worker *w) {
    merle_doc first[16];
    uint64_t keys[16], sums[16], more;
    merle_section section;
    STRESS_EXPECT(w->s, merle_section_begin(w->s->db, &section) == MERLE_OK);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 16; i++) {
            merle_key key;
            merle_doc doc;
            uint64_t number;
            if (round == 0) keys[i] = mrl_random_below(&w->random, KEY_COUNT);
            merle_err err =
                merle_get(&section, w->s->collection, merle_key_u64(&key, keys[i]), &doc);
            STRESS_EXPECT(w->s, err == MERLE_OK || err == MERLE_NOT_FOUND);
            if (round == 0) {
                first[i] = doc;
                sums[i] = merle_doc_uint(doc, "m", 0);
            }
            STRESS_EXPECT(w->s, doc.data == first[i].data && doc.seq == first[i].seq);
            if (err != MERLE_OK) continue;
            STRESS_EXPECT(w->s, stress_doc_read(first[i], keys[i], &number, &more));
            STRESS_EXPECT(w->s, more == sums[i]);
        }
        write_one(w);
    }
    STRESS_EXPECT(w->s, merle_section_end(&section) == MERLE_OK);
}

/* ---- threads that come and go ---- */

static void *short_life(void *context) {
    stress_worker *w = context;
    merle_section sections[3];
    merle_commit *commit;
    merle_key key;
    merle_doc doc;
    uint64_t ending = mrl_random_below(&w->random, 4), number, more;
    STRESS_EXPECT(w->s, merle_section_begin(w->s->db, &sections[0]) == MERLE_OK);
    for (uint64_t i = 0; i < 20; i++) {
        uint64_t at = mrl_random_below(&w->random, KEY_COUNT);
        if (merle_get(&sections[0], w->s->collection, merle_key_u64(&key, at), &doc) == MERLE_OK)
            STRESS_EXPECT(w->s, stress_doc_read(doc, at, &number, &more));
        write_one(w);
    }
    if (ending == 0) return NULL; /* ends inside */
    STRESS_EXPECT(w->s, merle_section_begin(w->s->db, &sections[1]) == MERLE_OK);
    if (ending == 1) return NULL; /* inside two */
    STRESS_EXPECT(w->s, merle_begin(w->s->db, &commit) == MERLE_OK);
    (void)merle_remove(commit, w->s->collection, merle_key_u64(&key, 1));
    if (ending == 2) return NULL; /* and inside a commit */
    STRESS_EXPECT(w->s, merle_section_end(&sections[0]) == MERLE_OK);
    merle_cancel(commit);
    STRESS_EXPECT(w->s, merle_section_end(&sections[1]) == MERLE_OK);
    return NULL;
}

static void comes_and_goes(stress_worker *w) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, short_life, w) != 0) {
        stress_fault(w->s, "pthread_create");
        return;
    }
    (void)pthread_join(thread, NULL);
}

static void come_and_go(uint32_t thread_count, merle_threads threads) {
    stress s;
    merle_stats_db stats = {.size = sizeof stats};
    stress_open(&s, threads, &schema);
    const stress_job jobs[] = {{"short lives", comes_and_goes, thread_count / 2},
                               {"long reads", reads_long, thread_count / 2},
                               {NULL, NULL, 0}};
    stress_run(&s, jobs, stress_time_ms());
    assert_int_equal(merle_stats(s.db, &stats), MERLE_OK);
    assert_int_equal(stats.sections_open, 0);
    assert_int_equal(stats.commits_open, 0);
    assert_true(stats.sections_abandoned > 0);
    stress_close(&s);
}

static void threads_that_end_inside_sections_leave_nothing(void **state) {
    (void)state;
    stress_shapes(come_and_go);
}

/* ---- collections that come and go ---- */

typedef struct definitions {
    _Atomic(merle_collection *) current;
} definitions;

static void redefines(stress_worker *w) {
    definitions *d = w->s->context;
    merle_collection *collection = atomic_load(&d->current);
    uint64_t seq;
    merle_err err;
    if (w->done % 64 != 63) {
        err = merle_collection_truncate(collection, &seq);
        STRESS_EXPECT(w->s, err == MERLE_OK && seq > 0);
        return;
    }
    err = merle_collection_drop(collection, &seq);
    STRESS_EXPECT(w->s, err == MERLE_OK && seq > 0);
    STRESS_EXPECT(w->s, merle_collection_truncate(collection, NULL) == MERLE_GONE);
    err = merle_collection_open(w->s->db, "changing", &schema, &collection);
    STRESS_EXPECT(w->s, err == MERLE_OK);
    if (err == MERLE_OK) atomic_store(&d->current, collection);
}

/* Two documents, always together: a truncate takes both. */
static void writes_pairs(stress_worker *w) {
    definitions *d = w->s->context;
    merle_collection *collection = atomic_load(&d->current);
    uint64_t pair = mrl_random_below(&w->random, KEY_COUNT / 2);
    merle_commit *commit;
    if (merle_begin(w->s->db, &commit) != MERLE_OK) return;
    merle_err err = MERLE_OK;
    for (uint64_t i = 0; i < 2 && err == MERLE_OK; i++) {
        merle_key key;
        uint8_t bytes[STRESS_DOC_SIZE];
        err = merle_put(commit, collection, merle_key_u64(&key, 2 * pair + i),
                        stress_doc(bytes, 2 * pair + i, 2 * pair + i, w->done));
    }
    if (err != MERLE_OK) {
        STRESS_EXPECT(w->s, err == MERLE_GONE);
        merle_cancel(commit);
        return;
    }
    err = merle_end(commit, NULL);
    STRESS_EXPECT(w->s, err == MERLE_OK || err == MERLE_GONE);
}

static void reads_pairs(stress_worker *w) {
    definitions *d = w->s->context;
    merle_collection *collection = atomic_load(&d->current);
    merle_section section;
    STRESS_EXPECT(w->s, merle_section_begin(w->s->db, &section) == MERLE_OK);
    for (int i = 0; i < 16; i++) {
        uint64_t pair = mrl_random_below(&w->random, KEY_COUNT / 2), numbers[2], more[2];
        merle_err errs[2], by_value;
        merle_doc doc;
        for (uint64_t j = 0; j < 2; j++) {
            merle_key key;
            errs[j] = merle_get(&section, collection, merle_key_u64(&key, 2 * pair + j), &doc);
            if (errs[j] == MERLE_OK)
                STRESS_EXPECT(w->s, stress_doc_read(doc, 2 * pair + j, &numbers[j], &more[j]));
        }
        by_value = merle_get_by(&section, collection, "number", &doc, merle_value_uint(2 * pair));
        STRESS_EXPECT(w->s, errs[0] == errs[1] && errs[0] == by_value);
        STRESS_EXPECT(w->s, errs[0] != MERLE_OK || more[0] == more[1]);
    }
    STRESS_EXPECT(w->s, merle_section_end(&section) == MERLE_OK);
}

static void steps(stress_worker *w) {
    (void)merle_step(w->s->db, 0, 0);
}

static void define_and_read(uint32_t thread_count, merle_threads threads) {
    stress s;
    definitions d;
    merle_collection *collection;
    stress_open(&s, threads, NULL);
    assert_int_equal(merle_collection_open(s.db, "changing", &schema, &collection), MERLE_OK);
    atomic_init(&d.current, collection);
    s.context = &d;
    const stress_job jobs[] = {{"definitions", redefines, 1},
                               {"writes of pairs", writes_pairs, thread_count / 2 - 1},
                               {"reads of pairs", reads_pairs, thread_count / 2 - 1},
                               {"steps", steps, 1},
                               {NULL, NULL, 0}};
    stress_run(&s, jobs, stress_time_ms());
    stress_close(&s);
}

static void truncate_and_drop_are_one_instant_for_all(void **state) {
    (void)state;
    stress_shapes(define_and_read);
}

/* ---- closing ---- */

static void close_is_refused_while_something_is_open(void **state) {
    stress s;
    merle_section section;
    merle_commit *commit;
    merle_changes *cursor;
    merle_section_info infos[4];
    size_t count;
    (void)state;
    stress_open(&s, MERLE_THREADS_BACKGROUND, NULL);
    assert_int_equal(merle_section_begin(s.db, &section), MERLE_OK);
    assert_int_equal(merle_close(s.db), MERLE_BUSY);
    assert_int_equal(merle_sections(s.db, infos, 4, &count), MERLE_OK);
    assert_int_equal(count, 1);
    assert_int_equal(merle_section_end(&section), MERLE_OK);
    assert_int_equal(merle_begin(s.db, &commit), MERLE_OK);
    assert_int_equal(merle_close(s.db), MERLE_BUSY);
    merle_cancel(commit);
    assert_int_equal(merle_changes_open(s.db, NULL, &cursor), MERLE_OK);
    assert_int_equal(merle_close(s.db), MERLE_BUSY);
    merle_changes_close(cursor);
    stress_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_that_end_inside_sections_leave_nothing),
        cmocka_unit_test(truncate_and_drop_are_one_instant_for_all),
        cmocka_unit_test(close_is_refused_while_something_is_open),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
