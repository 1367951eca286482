/* tests/model/twin.h - the model twin: the same random operations on merle and on the plain
 * model.
 *
 * What    A run has a database, a history of plain states by seq, and what its workers did and
 *         saw (events). twin_verify puts successful writes in order of their seqs, builds the
 *         history from them, and compares: each commit is right on the state before it, each
 *         refusal is right at some instant of its call, each read equals the history at its
 *         section's S, the log's cursor gives every change.
 * Owns    everything of the run.
 * Threads one thread; workers are coroutines of tests/sim, or the thread itself.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_MODEL_TWIN_H
#define TESTS_MODEL_TWIN_H

#include "base/random.h"
#include "database/database.h"
#include "tests/model/plain.h"
#include "tests/sim/sim.h"

enum { TWIN_SEQ_MAX = 8192, TWIN_SECTION_MAX = 3, TWIN_COMMIT_MAX = 2, TWIN_OP_MAX = 10 };

typedef struct twin_options {
    uint64_t seed;
    uint64_t memory_max;
    uint64_t ring_size;     /* 0: a small one */
    uint32_t switch_one_in; /* of the simulator */
    uint32_t key_count;     /* 0: all */
    uint32_t may_refuse;    /* MERLE_NO_MEMORY may be the answer to anything that allocates */
    uint32_t is_lazy;       /* the cursor falls behind */
    uint32_t defines;       /* 1: collections are truncated, dropped and made again */
    uint32_t is_simulated;  /* 1: several workers; nothing is known before the end */
    const mrl_files *files; /* where it has a directory; NULL: it is in memory alone */
} twin_options;

typedef struct twin_event twin_event;
typedef struct twin twin;

/* What a worker holds open. */
typedef struct twin_worker {
    twin *run;
    uint32_t number;
    uint32_t step_count;
    mrl_random random;
    merle_builder *builder;
    merle_section sections[TWIN_SECTION_MAX];
    int section_open[TWIN_SECTION_MAX];
    merle_commit *commits[TWIN_COMMIT_MAX];
    twin_event *commit_events[TWIN_COMMIT_MAX];
    int ends_inside; /* leaves its sections and commits to the library */
} twin_worker;

twin *twin_create(const twin_options *options);
/* Opens the database and the two collections. 0, or -1 (only where memory may be refused). */
int twin_open(twin *run);
/* Closes the database, which has files and nothing open but the cursor, and opens it again: all is
 * as it was. Workers begin anew. */
void twin_reopen(twin *run);
/* Ends what is open, closes, compares. 0: all is well. */
int twin_close(twin *run);
void twin_destroy(twin *run);

void twin_worker_init(twin_worker *worker, twin *run, uint32_t number, uint32_t step_count);
void twin_worker_step(twin_worker *worker);
void twin_worker_end(twin_worker *worker);
/* A whole worker: a sim_fn. context: the worker. */
void twin_worker_run(void *context);

/* Compares everything that happened since the last time. */
void twin_verify(twin *run);
/* Compares all documents, values and counts with the newest state, and calls merle_check. */
void twin_compare_all(twin *run);
int twin_has_failed(const twin *run);
sim *twin_sim(twin *run);
/* Sums over all runs of the process, for a line that says that something was tested. */
typedef struct twin_totals {
    uint64_t commits, refused[MERLE_NOT_READY + 1], reads, changes, checks, gaps, openings,
        checkpoints;
} twin_totals;
extern twin_totals twin_total;

#endif
