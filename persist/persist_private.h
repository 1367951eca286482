/* persist/persist_private.h - what persist.c and explain.c share: an open directory.
 *
 * Threads as each field says; the rest is written by the opening only.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_PERSIST_PERSIST_PRIVATE_H
#define MRL_PERSIST_PERSIST_PRIVATE_H

#include "persist/persist.h"

struct mrl_persist {
    mrl_persist_options options;
    const mrl_clock *clock;
    mrl_directory directory;
    mrl_log_set *log_set;
    merle_recovery_info recovery;
    int is_started;
    mrl_lock lock; /* of what follows; held while a piece of a checkpoint is done */
    mrl_checkpoint checkpoint;
    uint64_t
        log_bytes_due; /* of the log set, at which the next one begins; UINT64_MAX: none does */
    uint64_t due_ns;   /* when the next one begins for its time; UINT64_MAX: none does */
    uint64_t retry_ns; /* not before: the last one has failed */
};

#endif
