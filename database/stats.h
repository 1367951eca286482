/* database/stats.h - the inside view: what steps refresh for it.
 *
 * Threads any.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DATABASE_STATS_H
#define MRL_DATABASE_STATS_H

#include "database/database.h"

/* Notes since when each thread's section has been open; ages are as exact as looks are frequent. */
void mrl_sections_look(merle_db *db, uint64_t now_ns);

#endif
