/* tests/sim/sim.h - a deterministic scheduler: one seed is one run.
 *
 * What    Workers are coroutines of one thread of the operating system. At every named point, and
 *         wherever a lock or an event is waited for, another worker may go on; a seeded generator
 *         decides who. Also a clock that moves only when it is asked, and a refusal of memory.
 * Owns    stacks, workers, and what the library keeps for each (mrl_self).
 * Sees    a run in which all workers wait is a deadlock: it is printed, with what each waits for
 *         and the last points, and the run fails.
 * Threads one thread uses a simulator, and no other thread uses the database meanwhile.
 * Limits  SIM_WORKER_MAX workers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdint.h>

#include "base/random.h"
#include "base/seam.h"

enum { SIM_WORKER_MAX = 8 };

typedef struct sim sim;
typedef void sim_fn(void *context);

/* switch_one_in: at a point, one time in so many another worker goes on. NULL: no memory. */
sim *sim_create(uint64_t seed, uint32_t switch_one_in);
void sim_destroy(sim *simulator);
/* Adds a worker; it begins with sim_run. Borrows name for ever, context until the run is over. */
void sim_spawn(sim *simulator, const char *name, sim_fn *fn, void *context);
/* Runs all workers to their ends. 0: they came there; 1: abandoned; -1: deadlock, told on standard
 * output. */
int sim_run(sim *simulator);
/* Called by a worker: sim_run returns 1 at once, and no worker ever runs again, as if the machine
 * had stopped. What the workers had made and held is left where it is: the database that they used
 * must not be touched any more, and its memory goes with the process. Does not return. */
_Noreturn void sim_abandon(sim *simulator);

/* For mrl_db_open. Held by the database until its close: it is closed before sim_destroy. */
const mrl_environment *sim_environment(sim *simulator);

/* A point of the test's own. */
void sim_point(sim *simulator, const char *name);
/* Moves the clock. */
void sim_clock_advance(sim *simulator, uint64_t ns);
/* Prints seed and the last points, each line beginning with "# ". */
void sim_print_trace(const sim *simulator);

/* ---- refusal ---- also without workers */

/* The n-th allocation from now on is refused, and only that one; 0: none. */
void sim_refuse_nth(sim *simulator, uint64_t n);
/* One in so many is refused; 0: none. */
void sim_refuse_one_in(sim *simulator, uint32_t one_in);
/* How many were refused since the last sim_refuse_nth or sim_refuse_one_in. */
uint64_t sim_refused(const sim *simulator);
/* Asks for the test's own seams, as the database does for each allocation. */
int sim_refuses(sim *simulator);

#endif
