/* tests/stress/stress.c - threads, time and faults.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/stress/stress.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/model/seed.h"

void stress_fault(stress *s, const char *format, ...) {
    va_list arguments;
    if (atomic_fetch_add(&s->fault_count, 1) != 0) return;
    char text[256];
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    test_say("fault: %s", text);
}

uint64_t stress_time_ms(void) {
    return test_is_long() ? 15000 : 750;
}

void stress_shapes(void (*fn)(uint32_t thread_count, merle_threads threads)) {
    fn(4, MERLE_THREADS_NONE);
    fn(4, MERLE_THREADS_BACKGROUND);
    fn(8, MERLE_THREADS_NONE);
    fn(8, MERLE_THREADS_BACKGROUND);
}

void stress_open(stress *s, merle_threads threads, const merle_schema *schema) {
    merle_options options = {.threads = threads};
    memset(s, 0, sizeof *s);
    assert_int_equal(merle_open(NULL, &options, &s->db), MERLE_OK);
    assert_int_equal(merle_collection_open(s->db, "things", schema, &s->collection), MERLE_OK);
}

void stress_close(stress *s) {
    merle_report report;
    merle_err err = merle_check(s->db, &report);
    if (err != MERLE_OK) test_say("merle_check: %s", report.message);
    assert_int_equal(err, MERLE_OK);
    assert_int_equal(merle_close(s->db), MERLE_OK);
    assert_int_equal(atomic_load(&s->fault_count), 0);
}

/* ---- running ---- */

typedef struct runner {
    stress_worker worker;
    stress_fn *fn;
    pthread_t thread;
    uint32_t job;
} runner;

static void *run(void *context) {
    runner *r = context;
    while (!atomic_load_explicit(&r->worker.s->is_over, memory_order_relaxed)) {
        r->fn(&r->worker);
        r->worker.done++;
    }
    free(r->worker.own);
    return NULL;
}

static void wait_ms(uint64_t time_ms) {
    struct timespec time = {(time_t)(time_ms / 1000), (long)(time_ms % 1000) * 1000000};
    while (nanosleep(&time, &time) != 0) continue;
}

void stress_run(stress *s, const stress_job *jobs, uint64_t time_ms) {
    static runner runners[STRESS_THREAD_MAX];
    uint32_t count = 0;
    memset(runners, 0, sizeof runners);
    atomic_store(&s->is_over, 0);
    for (uint32_t job = 0; jobs[job].name != NULL; job++)
        for (uint32_t i = 0; i < jobs[job].thread_count; i++, count++) {
            assert_true(count < STRESS_THREAD_MAX);
            runner *r = &runners[count];
            r->worker.s = s;
            r->worker.number = i;
            r->fn = jobs[job].fn;
            r->job = job;
            mrl_random_init(&r->worker.random, test_seed() * 1000 + count);
            assert_int_equal(pthread_create(&r->thread, NULL, run, r), 0);
        }
    wait_ms(time_ms);
    atomic_store(&s->is_over, 1);
    for (uint32_t i = 0; i < count; i++) assert_int_equal(pthread_join(runners[i].thread, NULL), 0);
    for (uint32_t job = 0; jobs[job].name != NULL; job++) {
        uint64_t done = 0;
        for (uint32_t i = 0; i < count; i++)
            if (runners[i].job == job) done += runners[i].worker.done;
        test_say("%u x %s: %.0f a second", jobs[job].thread_count, jobs[job].name,
                 (double)done * 1000.0 / (double)time_ms);
    }
}

/* ---- documents ---- */

static uint8_t *put_number(uint8_t *at, char name, uint64_t number) {
    *at++ = 0xa1;
    *at++ = (uint8_t)name;
    *at++ = 0xcf;
    for (int i = 0; i < 8; i++) *at++ = (uint8_t)(number >> (56 - 8 * i));
    return at;
}

static uint64_t checksum(uint64_t key, uint64_t number, uint64_t more) {
    return mrl_mix_u64(key * 3 + mrl_mix_u64(number * 5 + mrl_mix_u64(more)));
}

merle_bytes stress_doc(uint8_t out[STRESS_DOC_SIZE], uint64_t key, uint64_t number, uint64_t more) {
    uint8_t *at = out;
    *at++ = 0x83;
    at = put_number(at, 'n', number);
    at = put_number(at, 'm', more);
    at = put_number(at, 'c', checksum(key, number, more));
    return merle_bytes_of(out, (size_t)(at - out));
}

int stress_doc_read(merle_doc doc, uint64_t key, uint64_t *out_number, uint64_t *out_more) {
    *out_number = merle_doc_uint(doc, "n", 0);
    *out_more = merle_doc_uint(doc, "m", 0);
    return merle_doc_uint(doc, "c", 0) == checksum(key, *out_number, *out_more);
}
