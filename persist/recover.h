/* persist/recover.h - filling an empty store from a manifest's pages and the log behind them.
 *
 * What    Pages are read by several threads, each checked against the manifest; then the log is
 *         replayed from R on. A record changes a slot only if its seq is above the S of the page
 *         that covers the slot, or, where none does, above the collection's base: what is below is
 *         in the page. Then tables and indexes are built in bulk.
 * Owns    nothing beyond the call.
 * Sees    Nobody else uses the store yet.
 * Threads setup; starts threads "merle-load", which have ended when it returns. Waits on disk.
 * Limits  beyond the database: 512 KiB, or one page, a thread; what the log is read in; the lists
 *         of load/load.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_PERSIST_RECOVER_H
#define MRL_PERSIST_RECOVER_H

#include <merle/merle.h>

#include "persist/directory.h"
#include "persist/log_set.h"
#include "persist/manifest.h"
#include "store/store.h"

typedef struct mrl_recover_options {
    const mrl_directory *directory;
    mrl_log_set *log_set;
    mrl_store *store;
    const mrl_clock *clock;
    uint32_t thread_count; /* the caller's among them; at least 1 */
    const merle_function *functions;
    int without_functions;       /* 1: indexes that lack theirs are left out */
    merle_progress_fn *progress; /* may be NULL */
    void *progress_context;
    uint64_t seq_end; /* commits behind it are left out, and not even read; UINT64_MAX: all count */
} mrl_recover_options;

/* Fills the store and moves the log to the last commit. The manifest's tables are made to say what
 * a next checkpoint may rely on. info has what is known so far, also where this fails.
 * Errors: MERLE_CORRUPT, MERLE_UNSUPPORTED, MERLE_DIFFERS (an index lacks its function),
 * MERLE_SYSTEM, MERLE_NO_MEMORY, with a report. */
MERLE_MUST_USE merle_err mrl_recover(const mrl_recover_options *options, mrl_manifest *manifest,
                                     mrl_member *member, merle_recovery_info *info,
                                     merle_report *report);

/* ---- recover_pages.c ---- */

struct mrl_load;
/* Loads the pages of all collections, which are defined already. Errors: as above. */
MERLE_MUST_USE merle_err mrl_recover_pages(const mrl_recover_options *options,
                                           const mrl_manifest *manifest, struct mrl_load *load,
                                           mrl_member *member, merle_recovery_info *info,
                                           merle_report *report);

#endif
