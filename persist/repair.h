/* persist/repair.h - what repair.c and repair_log.c share.
 *
 * What    repair_log.c reads the log of a damaged directory: every record that can be made out, in
 *         order, and says between them what is missing. repair.c fills a store with them.
 * Threads setup; waits on disk.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_PERSIST_REPAIR_H
#define MRL_PERSIST_REPAIR_H

#include "persist/care.h"
#include "wire/record.h"

typedef struct mrl_salvage_fns {
    void *context;
    /* One record; an error ends the reading and is its result. */
    merle_err (*record)(void *context, const mrl_frame *frame, merle_bytes body);
    /* Records first to last are not to be had. Errors: as record. */
    merle_err (*hole)(void *context, const char *name, uint64_t offset, uint64_t first,
                      uint64_t last);
} mrl_salvage_fns;

typedef struct mrl_salvage_log {
    uint64_t from_id;     /* files below are left out */
    uint64_t after_seq;   /* records up to it are left out */
    uint64_t vouched_seq; /* everything up to here was durable, says the manifest */
    /* What was met. */
    uint64_t last_seq; /* of what was ever durable, or read */
    uint64_t term;
    int64_t time_ns; /* of the last record */
    uint64_t database_id[2];
} mrl_salvage_log;

/* Reads the log. What is wrong with a file as a whole is told as a finding. Errors: MERLE_SYSTEM,
 * MERLE_NO_MEMORY with a report; those of the functions. */
MERLE_MUST_USE merle_err mrl_salvage_log_read(mrl_care *care, const mrl_care_source *source,
                                              mrl_salvage_log *log, const mrl_salvage_fns *fns);

#endif
