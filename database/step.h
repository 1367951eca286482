/* database/step.h - background work in bounded pieces, for merle_step and the background thread.
 *
 * Threads any.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DATABASE_STEP_H
#define MRL_DATABASE_STEP_H

#include "database/database.h"

/* One bounded piece of every kind of work; returns how much was done: 0, there is nothing to do
 * now. */
size_t mrl_step_piece(merle_db *db, mrl_member *member, uint64_t now_ns);
/* Something waits that a later step may be able to do. */
int mrl_step_has_more(merle_db *db, mrl_member *member);

/* How old what waits may get where nobody else reclaims it. */
#define MRL_STEP_IDLE_NS 20000000u
/* How long merle's thread rests while something waits, after so many rounds in which nothing could
 * be done: a grace period passes soon, but an old section may last, and so may a want of memory. */
static inline uint64_t mrl_step_rest_ns(uint32_t idle_count) {
    const uint64_t grace_ns = 1000000u;
    uint64_t rest_ns = grace_ns << (idle_count < 8 ? idle_count : 8);
    return rest_ns < MRL_STEP_IDLE_NS ? rest_ns : MRL_STEP_IDLE_NS;
}

#endif
