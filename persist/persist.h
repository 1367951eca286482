/* persist/persist.h - a database's directory: opened, kept, closed.
 *
 * What    Opens or makes the directory, fills the store from it, attaches the log files to the log,
 *         and makes checkpoints from then on.
 * Owns    directory, lock, log set, checkpoint.
 * Threads open, close: setup. The rest: any; may wait on disk.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_PERSIST_PERSIST_H
#define MRL_PERSIST_PERSIST_H

#include <merle/merle.h>

#include "base/seam.h"
#include "persist/checkpoint.h"
#include "persist/log_set.h"
#include "store/store.h"

typedef struct mrl_persist mrl_persist;

typedef struct mrl_persist_options {
    const char *path;
    mrl_environment environment; /* what it points to is held until the close */
    mrl_store *store;            /* empty */
    uint64_t log_file_size;
    int with_threads;           /* 0: none, not even to open with */
    const merle_options *given; /* the application's, with no size left to look at */
    mrl_log_start_options log;  /* all but log, store, domain, last_seq, with_thread */
} mrl_persist_options;

/* Errors: those of merle_open, with a report; nothing is left open then, but the store may have
 * something in it. */
MERLE_MUST_USE merle_err mrl_persist_open(const mrl_persist_options *options, mrl_member *member,
                                          mrl_persist **out_persist, merle_report *report);
/* The store is still there, and nothing works on it any more. Frees everything. Errors:
 * MERLE_NOT_DURABLE. */
merle_err mrl_persist_close(mrl_persist *persist, mrl_member *member);

/* As it was given. */
const char *mrl_persist_path(const mrl_persist *persist);
const uint64_t *mrl_persist_database_id(const mrl_persist *persist);
mrl_log_set *mrl_persist_log_set(mrl_persist *persist);
const merle_recovery_info *mrl_persist_recovery(const mrl_persist *persist);
const mrl_checkpoint_stats *mrl_persist_checkpoint_stats(const mrl_persist *persist);

/* Does a piece of the checkpoint that is under way, or begins one if it is time; 0: there is
 * nothing to do now, or somebody else does it. A failure is counted, told to `told` (may be NULL),
 * and the next try waits a second. */
size_t mrl_persist_step(mrl_persist *persist, mrl_member *member, uint64_t now_ns,
                        merle_report *told);
/* Begins a checkpoint, whether it is time or not; if one is under way already that is all. Errors:
 * MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_persist_begin(mrl_persist *persist, mrl_member *member,
                                           merle_report *report);
/* A checkpoint is under way. */
int mrl_persist_is_busy(const mrl_persist *persist);
/* A whole checkpoint that has everything committed before. Errors: those of merle_checkpoint. */
MERLE_MUST_USE merle_err mrl_persist_checkpoint(mrl_persist *persist, mrl_member *member,
                                                merle_report *report);
/* The directory's files, for merle_files. */
MERLE_MUST_USE merle_err mrl_persist_files(mrl_persist *persist, merle_buffer *out_json,
                                           merle_report *report);

#endif
