/* load/crew.h - a few threads that do the pieces of one job together.
 *
 * What    A job is a number of tasks; each is done by whoever comes first, the caller among them.
 * Owns    its threads, called "merle-load", with all signals blocked; each is a member of the
 *         domain as long as it lives.
 * Sees    A run has ended when all its tasks have: what they wrote is seen by whoever called.
 * Threads owner only. Tasks: any of the threads, inside a section of the epoch.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_LOAD_CREW_H
#define MRL_LOAD_CREW_H

#include "memory/domain.h"

typedef struct mrl_crew mrl_crew;

/* worker: below mrl_crew_size, for what each thread has of its own. */
typedef void mrl_crew_fn(void *context, mrl_member *member, uint32_t worker, uint32_t task);

/* Starts thread_count - 1 threads, or as many as the system gives. NULL: no memory. */
mrl_crew *mrl_crew_create(mrl_domain *domain, uint32_t thread_count);
/* Waits until they have ended. */
void mrl_crew_destroy(mrl_crew *crew);
uint32_t mrl_crew_size(const mrl_crew *crew);
/* Calls fn for the tasks from 0 on. Each worker is given its tasks in ascending order. */
void mrl_crew_run(mrl_crew *crew, mrl_member *member, mrl_crew_fn *fn, void *context,
                  uint32_t task_count);

#endif
