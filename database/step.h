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

#endif
