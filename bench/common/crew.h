/* bench/common/crew.h - the same work on one or more threads, begun at one moment and timed.
 *
 * What    starts threads, gives each its handle of the system, lets them go together, waits.
 * Threads crew_run: one at a time.
 * Limits  CREW_MAX threads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef BENCH_COMMON_CREW_H
#define BENCH_COMMON_CREW_H

#include "bench/common/system.h"

#define CREW_MAX 64u

typedef struct crew_job crew_job;

typedef struct crew_worker {
    const crew_job *job;
    void *thread;   /* the system's handle */
    unsigned index; /* from 0 */
    size_t begin;   /* this worker's share of the job's operations */
    size_t end;
    uint64_t done;      /* filled by the work: operations that went as they should */
    uint64_t score_sum; /* filled by the work */
    uint64_t start_ns;
    uint64_t stop_ns;
} crew_worker;

struct crew_job {
    const bench_system *system;
    void (*work)(crew_worker *worker);
    size_t op_count;
    const uint32_t *picks; /* one record number an operation */
    uint32_t record_count;
    uint64_t version; /* operation k writes version + k */
    void *context;    /* the phase's own */
};

typedef struct crew_result {
    uint64_t done;
    uint64_t score_sum;
    double seconds; /* from the first worker's start to the last one's stop */
} crew_result;

crew_result crew_run(const crew_job *job, unsigned thread_count);

#endif
