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
#include "persist/persist.h"
#include "store/store.h"

struct merle_db {
    mrl_store store;
    mrl_domain *domain;
    mrl_log *log;
    const mrl_clock *clock;
    mrl_environment environment;
    uint64_t database_id[2];
    uint64_t term;
    uint64_t term_id;
    uint64_t memory_max;
    struct mrl_background *background; /* NULL: no thread */
    mrl_persist *persist;              /* NULL: in memory only */
    struct mrl_pages_thread *pages;    /* NULL: no thread */
    merle_options options;             /* as completed; its functions are not looked at any more */
    mrl_notices notices;
    mrl_durable durable;
};

_Static_assert(offsetof(struct merle_db, store) == 0, "mrl_db_store finds the store there");

/* As merle_open; environment may be NULL. It is copied; what it points to is held until the
 * close. */
MERLE_MUST_USE merle_err mrl_db_open(const char *path, const merle_options *options,
                                     const mrl_environment *environment, merle_db **out_db);

/* ---- database/history.c: which past the seqs of this opening belong to ---- */
enum { MRL_HISTORY_SIZE = 24 };
/* The database's id, two numbers, and the id of this opening's term; all big-endian. It is drawn
 * anew by each opening, also in memory. Threads: any. */
void mrl_db_history(const merle_db *db, uint8_t out_history[MRL_HISTORY_SIZE]);
/* Terms before this one, newest first: their ids, and up to which seq they are part of this one. A
 * term that is not among them is of another past, or too old. Gives at most `max`. Threads: any. */
void mrl_db_terms(const merle_db *db, mrl_log_term *out_terms, size_t max, size_t *out_count);

/* ---- database/background.c ---- */
/* Starts the thread that does what merle_step does. Errors: MERLE_SYSTEM. */
MERLE_MUST_USE merle_err mrl_background_start(merle_db *db);
/* Ends it and waits until it has. */
void mrl_background_stop(merle_db *db);

/* ---- database/files.c: what concerns a database with a path ---- */
/* Opens the directory and fills the store. Errors: those of merle_open, with a report. */
MERLE_MUST_USE merle_err mrl_files_open(merle_db *db, const char *path, mrl_member *member);
/* Starts the thread that makes checkpoints, which wait on disk. Errors: MERLE_SYSTEM. */
MERLE_MUST_USE merle_err mrl_pages_start(merle_db *db);
void mrl_pages_stop(merle_db *db);
/* The part of a step that concerns files, where no thread does it; returns what was done. */
size_t mrl_files_step(merle_db *db, mrl_member *member, uint64_t now_ns);
int mrl_files_have_more(merle_db *db);
/* What concerns files, into figures that are nought. */
void mrl_files_stat(merle_db *db, merle_stats_db *stats);

#endif
