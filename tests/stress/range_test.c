/* tests/stress/range_test.c
 *
 * Aim     While documents come, go and change their values, whoever goes over a range in a section
 *         meets each document that is in it at his instant exactly once, with its state of then, in
 *         order, and no other; counts, ranks, n-th ones and the count of those without a tag are
 *         exact at his instant. A cursor that goes on over many sections meets each document that
 *         keeps its value exactly once.
 * Method  Writers put, patch, remove and move values to and fro. A tenth of the documents stay as
 *         they are. Readers walk over all documents of their section and compare: an ascending
 *         index, a descending compound one, one on each element, tags.
 * Blind   To orders of memory that this processor does not make. The thread sanitizer sees more.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <merle/query.h>

#include "tests/model/seed.h"
#include "tests/stress/stress.h"

enum { KEYS = 800, STAYING = 80, VALUES = 120, GROUPS = 5, TAGS = 6, ELEMENTS = 3 };

static const merle_index indexes[] = {
    {.name = "n", .kind = MERLE_ORDERED, .on = "n"},
    {.name = "pair", .kind = MERLE_ORDERED, .on = "-g, n"},
    {.name = "each", .kind = MERLE_ORDERED, .on = "t[*]"},
    {.name = "tags", .kind = MERLE_TAGS, .on = "t"},
    {0},
};
static const merle_schema schema = {.version = 1, .indexes = indexes};
enum { INDEX_N, INDEX_PAIR, INDEX_EACH, INDEX_COUNT };

/* ---- documents ---- */

static merle_bytes document_of(uint64_t key, mrl_random *r, uint8_t out[32]) {
    uint8_t *at = out;
    uint64_t number = key < STAYING ? key % VALUES : mrl_random_below(r, VALUES);
    uint64_t group = key < STAYING ? key % GROUPS : mrl_random_below(r, GROUPS);
    uint64_t tag_count = key < STAYING ? key % ELEMENTS : mrl_random_below(r, ELEMENTS + 1);
    memcpy(at, "\x84\xa1k\xcd", 4), at += 4;
    *at++ = (uint8_t)(key >> 8);
    *at++ = (uint8_t)key;
    memcpy(at, "\xa1n", 2), at += 2;
    *at++ = (uint8_t)number;
    memcpy(at, "\xa1g", 2), at += 2;
    *at++ = (uint8_t)group;
    memcpy(at, "\xa1t", 2), at += 2;
    *at++ = (uint8_t)(0x90 | tag_count);
    for (uint64_t i = 0; i < tag_count; i++)
        *at++ = (uint8_t)(key < STAYING ? (key + i) % TAGS : mrl_random_below(r, TAGS));
    return merle_bytes_of(out, (size_t)(at - out));
}

/* ---- writers ---- */

static merle_err write_one(stress_worker *w, merle_commit *commit) {
    uint8_t bytes[32];
    merle_key key;
    uint64_t number = STAYING + mrl_random_below(&w->random, KEYS - STAYING);
    merle_bytes at = merle_key_u64(&key, number);
    switch (mrl_random_below(&w->random, 6)) {
    case 0:
        return merle_remove(commit, w->s->collection, at);
    case 1:
        return merle_patch(commit, w->s->collection, at,
                           MERLE_SET_INT("n", (int64_t)mrl_random_below(&w->random, VALUES)));
    case 2: /* to and fro */
        return merle_patch(commit, w->s->collection, at,
                           MERLE_SET_INT("n", (int64_t)(w->done % 2 ? number % VALUES : 0)));
    default:
        return merle_put(commit, w->s->collection, at, document_of(number, &w->random, bytes));
    }
}

static void writes(stress_worker *w) {
    merle_commit *commit;
    STRESS_EXPECT(w->s, merle_begin(w->s->db, &commit) == MERLE_OK);
    for (uint64_t left = 1 + mrl_random_below(&w->random, 3); left > 0; left--)
        STRESS_EXPECT(w->s, write_one(w, commit) == MERLE_OK);
    if (mrl_random_below(&w->random, 16) == 0) {
        merle_cancel(commit);
        return;
    }
    merle_err err = merle_end(commit, NULL);
    STRESS_EXPECT(w->s, err == MERLE_OK || err == MERLE_NOT_FOUND);
}

static void steps(stress_worker *w) {
    (void)merle_step(w->s->db, 0, 0);
}

/* ---- what a walk says ---- */

typedef struct range_asked {
    merle_range range;
    merle_value from[2], to[2];
    int number;
    int64_t low, high, group; /* group -1: any */
} range_asked;

typedef struct answer {
    const uint8_t *bytes[KEYS]; /* of the documents inside; NULL: it is not */
    int64_t place[KEYS];        /* in the order of the index, as a number */
    uint64_t count, tagless;
} answer;

static void ask(stress_worker *w, range_asked *q) {
    memset(q, 0, sizeof *q);
    q->number = (int)mrl_random_below(&w->random, INDEX_COUNT);
    q->range.index = indexes[q->number].name;
    q->range.backwards = (uint32_t)mrl_random_below(&w->random, 2);
    uint64_t bound = q->number == INDEX_EACH ? TAGS : VALUES;
    q->low = (int64_t)mrl_random_below(&w->random, bound);
    q->high = q->low + (int64_t)mrl_random_below(&w->random, bound - (uint64_t)q->low);
    q->group = q->number == INDEX_PAIR ? (int64_t)mrl_random_below(&w->random, GROUPS) : -1;
    size_t at = q->number == INDEX_PAIR;
    q->from[0] = q->to[0] = merle_value_int(q->group);
    q->from[at] = merle_value_int(q->low);
    q->to[at] = merle_value_int(q->high);
    q->range.from = (merle_bound){MERLE_CLOSED, q->from, at + 1};
    q->range.to = (merle_bound){MERLE_CLOSED, q->to, at + 1};
}

/* Where the range gives the document; -1: nowhere. */
static int64_t place_of(const range_asked *q, merle_doc doc) {
    int64_t n = merle_doc_int(doc, "n", -1), best = -1;
    if (q->number != INDEX_EACH) {
        if (q->group >= 0 && merle_doc_int(doc, "g", -1) != q->group) return -1;
        return n >= q->low && n <= q->high ? n : -1;
    }
    static const char *const paths[ELEMENTS] = {"t[0]", "t[1]", "t[2]"};
    for (int i = 0; i < ELEMENTS; i++) {
        int64_t tag = merle_doc_int(doc, paths[i], -1);
        if (tag < q->low || tag > q->high) continue;
        if (best < 0 || (q->range.backwards ? tag > best : tag < best)) best = tag;
    }
    return best;
}

static int has_tag(merle_doc doc, int64_t tag) {
    return merle_doc_int(doc, "t[0]", -1) == tag || merle_doc_int(doc, "t[1]", -1) == tag ||
           merle_doc_int(doc, "t[2]", -1) == tag;
}

static uint64_t key_number(merle_doc doc) {
    uint64_t key = (uint64_t)merle_doc_int(doc, "k", KEYS);
    return key < KEYS ? key : 0;
}

static void walk(stress_worker *w, merle_section *section, const range_asked *q, int64_t tag,
                 answer *out) {
    merle_scan scan = {0};
    merle_doc docs[64];
    size_t count;
    memset(out, 0, sizeof *out);
    while (merle_scan_next(section, w->s->collection, &scan, docs, 64, &count) == MERLE_OK)
        for (size_t i = 0; i < count; i++) {
            uint64_t key = key_number(docs[i]);
            out->tagless += !has_tag(docs[i], tag);
            out->place[key] = place_of(q, docs[i]);
            if (out->place[key] < 0) continue;
            out->bytes[key] = docs[i].data;
            out->count++;
        }
}

/* ---- readers ---- */

static merle_condition *conditions[TAGS]; /* not this tag */

static void compare_list(stress_worker *w, merle_section *section, const range_asked *q,
                         const answer *right) {
    merle_cursor *cursor;
    merle_doc docs[40];
    uint8_t is_met[KEYS] = {0};
    uint64_t met = 0;
    int64_t last = -1;
    size_t some, max = 1 + mrl_random_below(&w->random, 40);
    STRESS_EXPECT(w->s, merle_range_open(w->s->collection, &q->range, &cursor) == MERLE_OK);
    while (merle_cursor_next(section, cursor, docs, max, &some) == MERLE_OK)
        for (size_t i = 0; i < some; i++, met++) {
            uint64_t key = key_number(docs[i]);
            STRESS_EXPECT(w->s, right->bytes[key] == docs[i].data); /* matches, as it was then */
            STRESS_EXPECT(w->s, is_met[key]++ == 0);
            int64_t place = right->place[key];
            STRESS_EXPECT(w->s, last < 0 || (q->range.backwards ? place <= last : place >= last));
            last = place;
        }
    merle_cursor_close(cursor);
    STRESS_EXPECT(w->s, met == right->count);
}

static void compare_places(stress_worker *w, merle_section *section, const range_asked *q,
                           const answer *right) {
    uint64_t number = UINT64_MAX, n = mrl_random_below(&w->random, right->count + 1), before = 0;
    merle_doc doc;
    merle_collection *things = w->s->collection;
    STRESS_EXPECT(w->s, merle_range_count(section, things, &q->range, &number) == MERLE_OK);
    STRESS_EXPECT(w->s, number == right->count);
    merle_err err = merle_range_nth(section, things, &q->range, n, &doc);
    STRESS_EXPECT(w->s, err == (n < right->count ? MERLE_OK : MERLE_NOT_FOUND));
    if (err != MERLE_OK) return;
    uint64_t key = key_number(doc), same = 0;
    STRESS_EXPECT(w->s, right->bytes[key] == doc.data);
    for (uint64_t i = 0; i < KEYS; i++) {
        if (right->bytes[i] == NULL) continue;
        before += q->range.backwards ? right->place[i] > right->place[key]
                                     : right->place[i] < right->place[key];
        same += right->place[i] == right->place[key];
    }
    STRESS_EXPECT(w->s, n >= before && n < before + same);
    err = merle_range_rank(section, things, &q->range, merle_doc_key(doc), &number);
    STRESS_EXPECT(w->s, err == MERLE_OK && number == n);
}

static void reads(stress_worker *w) {
    merle_section section;
    range_asked q;
    answer right;
    uint64_t count = UINT64_MAX;
    int64_t tag = (int64_t)mrl_random_below(&w->random, TAGS);
    ask(w, &q);
    STRESS_EXPECT(w->s, merle_section_begin(w->s->db, &section) == MERLE_OK);
    /* Now the walk comes first, now the range. */
    if (w->done % 2) walk(w, &section, &q, tag, &right);
    const merle_query none = {.where = conditions[tag]};
    STRESS_EXPECT(w->s, merle_query_count(&section, w->s->collection, &none, &count) == MERLE_OK);
    if (w->done % 2 == 0) walk(w, &section, &q, tag, &right);
    STRESS_EXPECT(w->s, count == right.tagless);
    compare_list(w, &section, &q, &right);
    compare_places(w, &section, &q, &right);
    STRESS_EXPECT(w->s, merle_section_end(&section) == MERLE_OK);
}

/* Over many sections: those that stay come once each. */
static void goes_on(stress_worker *w) {
    merle_section section;
    range_asked q;
    merle_cursor *cursor;
    merle_doc docs[16];
    uint8_t is_met[STAYING] = {0}, is_inside[STAYING] = {0};
    size_t some, max = 1 + mrl_random_below(&w->random, 16);
    merle_err err;
    ask(w, &q);
    STRESS_EXPECT(w->s, merle_range_open(w->s->collection, &q.range, &cursor) == MERLE_OK);
    do {
        STRESS_EXPECT(w->s, merle_section_begin(w->s->db, &section) == MERLE_OK);
        err = merle_cursor_next(&section, cursor, docs, max, &some);
        for (size_t i = 0; err == MERLE_OK && i < some; i++) {
            uint64_t key = key_number(docs[i]);
            STRESS_EXPECT(w->s, place_of(&q, docs[i]) >= 0);
            if (key < STAYING) STRESS_EXPECT(w->s, is_met[key]++ == 0);
        }
        for (uint64_t i = 0; i < STAYING && err != MERLE_OK; i++) {
            merle_key key;
            merle_doc doc;
            STRESS_EXPECT(w->s, merle_get(&section, w->s->collection, merle_key_u64(&key, i),
                                          &doc) == MERLE_OK);
            is_inside[i] = place_of(&q, doc) >= 0;
        }
        STRESS_EXPECT(w->s, merle_section_end(&section) == MERLE_OK);
    } while (err == MERLE_OK && !atomic_load(&w->s->is_over));
    merle_cursor_close(cursor);
    if (err == MERLE_NOT_FOUND) STRESS_EXPECT(w->s, memcmp(is_met, is_inside, STAYING) == 0);
}

static void run(uint32_t thread_count, merle_threads threads) {
    stress s;
    uint8_t bytes[32];
    merle_key key;
    mrl_random r;
    stress_open(&s, threads, &schema);
    for (int i = 0; i < TAGS; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, i % 2 ? "not t: %d" : "t: none(%d)", i);
        assert_int_equal(merle_condition_parse(merle_str(text), &conditions[i], NULL), MERLE_OK);
    }
    mrl_random_init(&r, test_seed());
    for (uint64_t i = 0; i < KEYS; i++)
        assert_int_equal(
            merle_one_put(s.collection, merle_key_u64(&key, i), document_of(i, &r, bytes), NULL),
            MERLE_OK);
    const stress_job jobs[] = {{"writes", writes, thread_count / 2 - 1},
                               {"reads in one section", reads, thread_count / 2 - 1},
                               {"goes on over sections", goes_on, 1},
                               {"steps", steps, 1},
                               {NULL, NULL, 0}};
    stress_run(&s, jobs, stress_time_ms());
    stress_close(&s);
    for (int i = 0; i < TAGS; i++) merle_condition_destroy(conditions[i]);
}

static void ranges_are_those_of_the_instant(void **state) {
    (void)state;
    stress_shapes(run);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(ranges_are_those_of_the_instant)};
    test_seed_print();
    return cmocka_run_group_tests_name("stress/range", tests, NULL, NULL);
}
