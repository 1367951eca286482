/* database/database.h - the one place that knows everybody: opens, wires and closes.
 *
 * What    merle_open for tests and simulators: the same, with the seams filled in.
 * Threads setup.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DATABASE_DATABASE_H
#define MRL_DATABASE_DATABASE_H

#include <merle/merle.h>

#include "base/seam.h"
#include "database/durable.h"
#include "database/notices.h"
#include "store/store.h"

struct merle_db {
    mrl_store store;
    mrl_domain *domain;
    mrl_log *log;
    const mrl_clock *clock;
    mrl_environment environment;
    uint64_t database_id[2];
    uint64_t term;
    uint64_t memory_max;
    struct mrl_background *background; /* NULL: no thread */
    mrl_notices notices;
    mrl_durable durable;
};

_Static_assert(offsetof(struct merle_db, store) == 0, "mrl_db_store finds the store there");

/* As merle_open; environment may be NULL. It is copied; what it points to is held until the
 * close. */
MERLE_MUST_USE merle_err mrl_db_open(const char *path, const merle_options *options,
                                     const mrl_environment *environment, merle_db **out_db);

/* ---- database/background.c ---- */
/* Starts the thread that does what merle_step does. Errors: MERLE_SYSTEM. */
MERLE_MUST_USE merle_err mrl_background_start(merle_db *db);
/* Ends it and waits until it has. */
void mrl_background_stop(merle_db *db);

#endif
