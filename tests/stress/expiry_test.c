/* tests/stress/expiry_test.c
 *
 * Aim     With many threads and the machine's clock: in one section all that reads agrees on what
 *         has ended; a section that begins later shows nothing that an earlier one saw gone, unless
 *         it was written since; removals by expiry and by writers in one another's way lose nothing
 *         and free nothing twice.
 * Method  Writers put and insert documents for a few hundred microseconds, take each other's
 *         unique values, extend and remove; merle's own thread, or a job, removes what is due;
 *         readers compare gets, scans, counts, ranges and unique lookups within a section, and one
 *         document with what the section before has shown.
 * Blind   To orders of memory that this processor does not make, and to races that did not happen.
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

#include "tests/model/seed.h"
#include "tests/stress/stress.h"

enum { KEYS = 200, VALUES = 60, TTL_MAX_NS = 2000000 };

static merle_bytes key_of(uint64_t number, char out[8]) {
    return merle_bytes_of(out, (size_t)snprintf(out, 8, "k%03u", (unsigned)number));
}

/* {"n": below 128, "u": value below 128} */
static merle_bytes make_doc(stress_worker *w, uint8_t out[8]) {
    uint8_t value = (uint8_t)mrl_random_below(&w->random, VALUES);
    out[0] = 0x82;
    memcpy(out + 1, (uint8_t[]){0xa1, 'n', (uint8_t)mrl_random_below(&w->random, 10)}, 3);
    memcpy(out + 4, (uint8_t[]){0xa1, 'u', value}, 3);
    return merle_bytes_of(out, 7);
}

static void writes(stress_worker *w) {
    stress *s = w->s;
    char text[8];
    uint8_t bytes[8];
    merle_bytes key = key_of(mrl_random_below(&w->random, KEYS), text), doc = make_doc(w, bytes);
    int64_t ttl_ns = 1 + (int64_t)mrl_random_below(&w->random, TTL_MAX_NS);
    const merle_op op = merle_op_of(MERLE_OP_SET, "n", merle_value_int(1));
    merle_err err;
    switch (mrl_random_below(&w->random, 8)) {
    case 0:
        err = merle_one_remove(s->collection, key, NULL);
        break;
    case 1:
        err = merle_one_patch_ops(s->collection, key, &op, 1, NULL, NULL);
        break;
    case 2:
        err = merle_one_expire(s->collection, key, 0, NULL);
        break;
    case 3:
        err = merle_one_expire(s->collection, key, 1, NULL);
        break;
    case 4:
    case 5:
        err = merle_one_put_for(s->collection, key, doc, ttl_ns, NULL);
        break;
    default:
        err = merle_one_insert_for(s->collection, key, doc, ttl_ns, NULL);
        break;
    }
    STRESS_EXPECT(s, err == MERLE_OK || err == MERLE_NOT_FOUND || err == MERLE_EXISTS ||
                         err == MERLE_CONFLICT);
}

static uint64_t scan_all(stress *s, merle_section *section) {
    merle_scan scan = {0};
    merle_doc docs[16];
    size_t count;
    uint64_t sum = 0;
    while (merle_scan_next(section, s->collection, &scan, docs, 16, &count) == MERLE_OK)
        sum += count;
    return sum;
}

/* One document, from one section to the next: if it was gone and is there, it was written. */
typedef struct memory {
    uint64_t seq; /* of the section in which it was gone; 0: it was not */
} memory;

static void compare_one(stress_worker *w, merle_section *section, memory *m) {
    char text[8];
    merle_doc doc;
    if (merle_get(section, w->s->collection, key_of(w->number, text), &doc) == MERLE_OK) {
        STRESS_EXPECT(w->s, m->seq == 0 || doc.seq > m->seq);
        m->seq = 0;
    } else if (m->seq == 0) {
        m->seq = merle_section_seq(section);
    }
}

static void reads(stress_worker *w) {
    stress *s = w->s;
    const merle_range all = {.index = "n"};
    char text[8];
    merle_section section;
    merle_doc doc;
    uint64_t count, in_range, found = 0, held = 0;
    if (w->own == NULL) w->own = calloc(1, sizeof(memory));
    STRESS_EXPECT(s, merle_section_begin(s->db, &section) == MERLE_OK);
    compare_one(w, &section, w->own);
    STRESS_EXPECT(s, merle_count(&section, s->collection, &count) == MERLE_OK);
    for (uint64_t i = 0; i < KEYS; i++)
        found += merle_get(&section, s->collection, key_of(i, text), &doc) == MERLE_OK;
    STRESS_EXPECT(s, merle_range_count(&section, s->collection, &all, &in_range) == MERLE_OK);
    for (int64_t i = 0; i < VALUES; i++)
        held += merle_get_by(&section, s->collection, "u", &doc, merle_value_int(i)) == MERLE_OK;
    STRESS_EXPECT(s, found == count && in_range == count && held == count);
    STRESS_EXPECT(s, scan_all(s, &section) == count);
    STRESS_EXPECT(s, merle_section_end(&section) == MERLE_OK);
}

static void steps(stress_worker *w) {
    (void)merle_step(w->s->db, 0, 0);
}

static void run_shape(uint32_t thread_count, merle_threads threads) {
    static const merle_index indexes[] = {
        {"u", MERLE_UNIQUE, "u"}, {"n", MERLE_ORDERED, "n"}, {NULL, 0, NULL}};
    const merle_schema schema = {.version = 1, .indexes = indexes};
    const stress_job jobs[] = {{"writes", writes, thread_count / 2},
                               {"reads", reads, thread_count / 2 - 1},
                               {"steps", steps, 1},
                               {NULL, NULL, 0}};
    merle_stats_db stats = {.size = sizeof stats};
    stress s;
    memset(&s, 0, sizeof s);
    stress_open(&s, threads, &schema);
    stress_run(&s, jobs, stress_time_ms());
    assert_int_equal(merle_stats(s.db, &stats), MERLE_OK);
    test_say("%llu ended by themselves", (unsigned long long)stats.expired);
    assert_true(stats.expired > 0);
    stress_close(&s);
}

static void all_agree_on_what_has_ended(void **state) {
    (void)state;
    stress_shapes(run_shape);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_agree_on_what_has_ended),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
