/* tests/stress/stress.h - threads that work on one database for a bounded time and note what is
 * wrong.
 *
 * What    A stress has jobs, each done by some threads: a function called again and again until
 *         the time is over. A fault is noted with its words; the first one is printed.
 *         Throughput is printed as a line beginning with "# ".
 * Owns    database and threads, between stress_open and stress_close.
 * Threads functions are called by many at once; stress_fault: any.
 * Limits  STRESS_THREAD_MAX threads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_STRESS_STRESS_H
#define TESTS_STRESS_STRESS_H

#include <stdatomic.h>
#include <stdint.h>

#include <merle/merle.h>

#include "base/random.h"

enum { STRESS_THREAD_MAX = 16 };

typedef struct stress {
    merle_db *db;
    merle_collection *collection;
    void *context; /* the test's own */
    _Atomic uint32_t fault_count;
    _Atomic uint32_t is_over;
} stress;

typedef struct stress_worker {
    stress *s;
    uint32_t number; /* among those of the same job */
    mrl_random random;
    uint64_t done;
    void *own; /* the function's own, NULL at first; freed at the end */
} stress_worker;

typedef void stress_fn(stress_worker *worker);

typedef struct stress_job {
    const char *name;
    stress_fn *fn;
    uint32_t thread_count;
} stress_job;

/* Opens a database with one collection, "things". */
void stress_open(stress *s, merle_threads threads, const merle_schema *schema);
/* Checks (merle_check), closes, and fails the test if there was a fault. */
void stress_close(stress *s);
/* Runs the jobs side by side, for time_ms; jobs end with a name of NULL. */
void stress_run(stress *s, const stress_job *jobs, uint64_t time_ms);
/* How long one shape of a case runs: 750 ms, or 15 s in a long run: 3 s and 60 s a case. */
uint64_t stress_time_ms(void);
/* Every shape: 4 and 8 threads, with and without merle's own. */
void stress_shapes(void (*fn)(uint32_t thread_count, merle_threads threads));

__attribute__((format(printf, 2, 3))) void stress_fault(stress *s, const char *format, ...);
#define STRESS_EXPECT(s, condition) \
    ((condition) ? (void)0 : stress_fault((s), "%s:%d: %s", __FILE__, __LINE__, #condition))

/* ---- documents of two numbers and a check of them ---- */

/* {"n": number, "m": more, "c": a checksum of both and the key} */
enum { STRESS_DOC_SIZE = 34 };
merle_bytes stress_doc(uint8_t out[STRESS_DOC_SIZE], uint64_t key, uint64_t number, uint64_t more);
/* Whether the document is one of these, of this key. */
int stress_doc_read(merle_doc doc, uint64_t key, uint64_t *out_number, uint64_t *out_more);

#endif
