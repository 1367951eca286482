/* database/notices.h - what an operator should know, told through the log callback.
 *
 * Threads any; the callback runs in the calling thread, with no lock held.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DATABASE_NOTICES_H
#define MRL_DATABASE_NOTICES_H

#include <stdatomic.h>
#include <stdint.h>

#include <merle/merle.h>

/* What was told already: each trouble once, until it is over. */
typedef struct mrl_notices {
    merle_log_fn *fn; /* NULL: nobody listens */
    void *context;
    _Atomic uint64_t abandoned; /* sections told of */
    _Atomic int is_retired_full;
    _Atomic int is_memory_full;
    _Atomic int has_log_failed;
    _Atomic int has_no_next_file;
} mrl_notices;

struct merle_db;
/* Looks at the database and tells what is new. Called by steps. */
void mrl_notices_look(struct merle_db *db);

#endif
