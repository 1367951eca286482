/* bench/phases.h - the phases of the workload.
 *
 * What    the phases of docs/workload.md that can be run now, each in terms of bench_system.
 * Owns    bench_stage owns its order of keys; the system's store is open from the load to the end
 *         of the process.
 * Sees    a pass is one fresh process: a load, then phases on what was loaded. Every phase checks
 *         its counts and ends the process with an explanation if one is wrong.
 * Threads one at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef BENCH_PHASES_H
#define BENCH_PHASES_H

#include "bench/common/crew.h"
#include "bench/common/system.h"
#include "bench/ledger.h"

typedef struct bench_stage {
    const bench_system *system;
    bench_background background;
    uint32_t count;   /* N */
    unsigned entries; /* index entries a document */
    unsigned thread_count;
    unsigned is_full; /* 1: as many operations as for a million records, also with fewer of them */
    double scan_seconds;    /* of each run of scanwrite */
    void *thread;           /* the main thread's handle, for checks */
    uint32_t *order;        /* all record numbers, shuffled */
    bench_ledger ledger;    /* what is in the store */
    uint64_t version_next;  /* for updates: never the same version twice */
    uint64_t gold_sum;      /* over all documents; UINT64_MAX: not known */
    uint64_t encoded_bytes; /* of all documents, as inserted */
} bench_stage;

void bench_stage_init(bench_stage *stage);
/* Opens the store of the stage's system, empty. */
void bench_stage_open(bench_stage *stage);

/* Opens the system and inserts all records; gives a result line where `phase` is not NULL. */
void bench_load(bench_stage *stage, const char *phase);
/* The same on one thread, each insert timed. */
void bench_load_timed(bench_stage *stage);

/* Passes of their own, each with its own load. */
void bench_tail(bench_stage *stage);
void bench_get_beside_writer(bench_stage *stage);
void bench_growth(bench_stage *stage);
void bench_memory(bench_stage *stage);

/* range100, top100, tag100, tagand: whether the system can, and the phase itself. */
unsigned bench_query_can(const bench_stage *stage, const char *phase);
void bench_query_run(bench_stage *stage, const char *phase);
/* A scan beside a writer, and each of both alone; two threads, whatever the stage says. */
void bench_scanwrite(bench_stage *stage);
/* Some hundred queries of each kind that the system has, against the ledger; not timed. */
void bench_queries_check(bench_stage *stage, const char *phase);

/* The plain phases, on one load, in this order. NULL name ends the table. */
typedef struct bench_phase {
    const char *name;
    unsigned (*can)(const bench_stage *stage);
    void (*run)(bench_stage *stage);
} bench_phase;
extern const bench_phase bench_phases[];

/* Shared by the phase files. */
uint32_t *bench_picks_make(size_t pick_count, uint32_t limit, uint64_t seed);
/* Records for updates: each thread has records of its own, so that it is known who wrote last. */
uint32_t *bench_update_picks_make(const bench_stage *stage, size_t pick_count, uint64_t seed);
/* As many operations as the workload page says for a million records, fewer for fewer, and for a
 * system that does only a part. */
size_t bench_op_count(const bench_stage *stage, size_t for_a_million);
void bench_count_check(bench_stage *stage, const char *phase, uint64_t wanted);

/* The floors that are no table: memory and the epoch. Returns 0 if the name is none of them. */
unsigned bench_floor_run(const char *name, unsigned thread_count);

#endif
