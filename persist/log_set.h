/* persist/log_set.h - the log files of a directory: what was committed, in order, on a disk.
 *
 * What    At opening: looks at all log files, checks that they are one chain, and hands every
 *         record to whoever replays them. Then: takes over from the ring of log/ what is published,
 *         writes it in groups, syncs as durability asks for it, begins a new file when one is full,
 *         and keeps the next one ready ahead. docs/format.md has the bytes, log_chain.c the rules
 *         by which a torn end is told from a hole.
 * Owns    the log files, their buffers, the thread "merle-disk".
 * Sees    A record is given once, whole, in the order of seqs, or the opening is refused: what may
 *         have been acknowledged as durable is never passed over.
 * Threads open, replay, start, close: setup. The rest: any; may wait on disk.
 * Limits  a record, with its frame, fits in a file: mrl_log_set_record_max.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_PERSIST_LOG_SET_H
#define MRL_PERSIST_LOG_SET_H

#include <stdint.h>

#include <merle/base.h>

#include "base/file.h"
#include "base/seam.h"
#include "log/log.h"
#include "memory/domain.h"
#include "persist/log_file.h"
#include "store/store.h"
#include "wire/record.h"

typedef struct mrl_log_set mrl_log_set;

/* The smallest log file: two headers, and room for four records that say something. */
#define MRL_LOG_FILE_SIZE_MIN ((uint64_t)64 << 10)
#define MRL_LOG_FILE_SIZE_DEFAULT ((uint64_t)64 << 20)
#define MRL_UNSYNCED_DEFAULT ((uint64_t)1 << 20)

/* What opening needs to know. Everything that it points to is held until the close. */
typedef struct mrl_log_set_options {
    const mrl_files *files; /* NULL: mrl_files_system */
    mrl_dir *dir;
    const mrl_clock *clock; /* NULL: mrl_clock_system */
    uint64_t database_id[2];
    uint64_t file_size;   /* of files to come; 0: the default */
    uint64_t oldest_id;   /* the file that has the first record to replay; 0: none is needed yet */
    uint64_t after_seq;   /* records behind it are replayed */
    uint64_t term;        /* that of the manifest: the log has come at least so far; 0: not known */
    uint64_t vouched_seq; /* the manifest rests on all up to here: a log that ends before it lacks
                           * something; 0: nothing is said */
    uint64_t seed;        /* of the seeds of frames; 0: from the system */
    int only_reads;       /* 1: nothing is written or synced, and there will be no start */
    uint64_t term_floor;  /* the next term is above it, whatever files there are; 0: as they say */
    const mrl_log_terms *terms; /* of a new directory: those that it goes on from; NULL: none */
} mrl_log_set_options;

/* Looks at the headers of all log files and checks that they are one chain. A directory without
 * one is empty, where oldest_id is 0. Errors: MERLE_CORRUPT (missing, swapped, damaged, of another
 * database: the report has file, offset, expected, found), MERLE_UNSUPPORTED (a newer format),
 * MERLE_SYSTEM, MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_log_set_open(const mrl_log_set_options *options, mrl_log_set **out_set,
                                          merle_report *report);

/* One record: body is valid until it returns. An error ends the replay and is its result. */
typedef merle_err mrl_log_record_fn(void *context, const mrl_frame *frame, merle_bytes body,
                                    merle_report *report);

/* Gives all records behind after_seq, in order, and syncs the files that they came from: after a
 * mere kill they may stand in the system's memory only. fn NULL: only looks.
 * *out_last_seq: the last record (or after_seq), *out_last_time_ns: its time (or INT64_MIN).
 * Errors: MERLE_CORRUPT (a hole), MERLE_SYSTEM, MERLE_NO_MEMORY; those of fn. */
MERLE_MUST_USE merle_err mrl_log_set_replay(mrl_log_set *set, uint64_t after_seq,
                                            mrl_log_record_fn *fn, void *context,
                                            uint64_t *out_last_seq, int64_t *out_last_time_ns,
                                            merle_report *report);
/* Bytes of the files that a replay goes over, for a progress display; those that it has gone over
 * may be asked for by another thread meanwhile. */
uint64_t mrl_log_set_replay_total(const mrl_log_set *set);
uint64_t mrl_log_set_replay_done(const mrl_log_set *set);

/* Told after durable has moved, holding nothing; by whichever thread did the work. */
typedef void mrl_log_moved_fn(void *context, uint64_t durable_seq);

typedef struct mrl_log_start_options {
    mrl_log *log;     /* stands at last_seq: mrl_log_start */
    mrl_store *store; /* tells which collections are memory-only; NULL: none is */
    mrl_domain *domain;
    uint64_t last_seq;     /* as the replay gave it */
    uint64_t covered_seq;  /* in the oldest checkpoint that is kept, and */
    uint64_t named_id;     /* the oldest file that one names: see mrl_log_set_release */
    uint64_t unsynced_max; /* bytes of ASYNC commits; 0: 1 MiB */
    uint64_t sync_ns;      /* how old they may get before a sync begins; 0: 10 ms */
    uint64_t keep_bytes;   /* of files that no checkpoint needs any more */
    uint64_t keep_ns;
    int with_thread;         /* 1: a thread "merle-disk" does what mrl_log_set_step does */
    mrl_log_moved_fn *moved; /* NULL: nobody is told */
    void *moved_context;
} mrl_log_start_options;

/* Begins a new term in a new file, or once more in the newest if that has no record, and attaches
 * itself to the log as its drain. The set is then at work until mrl_log_set_close. Errors:
 * MERLE_SYSTEM, MERLE_NO_SPACE, MERLE_NO_MEMORY: the set can only be closed. */
MERLE_MUST_USE merle_err mrl_log_set_start(mrl_log_set *set, const mrl_log_start_options *options,
                                           merle_report *report);

/* Instead of a start, in a set that only reads: whoever wants to commit gets MERLE_READ_ONLY, and
 * cursors are given what stands in the files. log stands at the last seq. */
void mrl_log_set_show(mrl_log_set *set, mrl_log *log);

/* The term: before the start that of the newest file (0: none), then the one that was begun. */
uint64_t mrl_log_set_term(const mrl_log_set *set);
/* Its id, 0 where there is no term. No two terms have the same one, whatever their numbers: not of
 * the copies of one directory either. Threads: any, once it was started or shown. */
uint64_t mrl_log_set_term_id(const mrl_log_set *set);
/* The terms before it. Threads: as above. */
const mrl_log_terms *mrl_log_set_terms(const mrl_log_set *set);
/* The id of the file that has, or will have, seq + 1: what a manifest with R = seq names. */
uint64_t mrl_log_set_id_for(mrl_log_set *set, uint64_t seq);
/* The largest record that can be written; commits with more are MERLE_TOO_BIG. */
uint64_t mrl_log_set_record_max(const mrl_log_set *set);
/* Bytes that were written to the log since the set was started (marks and all). */
uint64_t mrl_log_set_written_bytes(const mrl_log_set *set);

/* Records up to seq are in the oldest checkpoint that is kept, and no manifest names a file with an
 * id below first_id: files that have nothing else, and are below it, are used again or removed,
 * unless they are to be kept or somebody holds them. May wait on disk. */
void mrl_log_set_release(mrl_log_set *set, uint64_t seq, uint64_t first_id);
/* While anybody holds the set no file is removed or used again (a backup that links them). */
void mrl_log_set_hold(mrl_log_set *set);
void mrl_log_set_unhold(mrl_log_set *set);

/* Everything up to seq is durable when it returns, whatever the mode. Errors: MERLE_READ_ONLY (the
 * log has failed before it came so far). Started sets only. */
MERLE_MUST_USE merle_err mrl_log_set_sync(mrl_log_set *set, mrl_member *member, uint64_t seq);
/* Writes and syncs what is due, prepares the next file. Returns what it did: 0, nothing
 * to do now. */
size_t mrl_log_set_step(mrl_log_set *set, mrl_member *member, uint64_t now_ns);
/* Something waits that a later step will do: written or synced later, or a file being prepared. */
int mrl_log_set_has_more(mrl_log_set *set);

/* Ends it. Where it was started and has not failed: everything is written, synced and vouched for,
 * and the drain is taken off the log. Frees the set in any case. Errors: MERLE_NOT_DURABLE
 * (something that was committed is not on the disk, now or before). member NULL: never started. */
merle_err mrl_log_set_close(mrl_log_set *set, mrl_member *member);

typedef struct mrl_log_set_stats {
    uint64_t files;         /* with records that are kept, the one being written too */
    uint64_t files_spare;   /* prepared, or to be used again */
    uint64_t bytes_written; /* to the log, marks and padding too */
    uint64_t groups, group_bytes_max, records, syncs;
    uint64_t sync_ns, sync_ns_max; /* spent in syncs; the longest */
    uint64_t current_id, current_used, current_size;
} mrl_log_set_stats;
void mrl_log_set_stat(mrl_log_set *set, mrl_log_set_stats *out_stats);

/* One log file as it is now: for a list of the directory's files. */
typedef struct mrl_log_file_info {
    uint64_t id, term, first_seq, size, used; /* used 0: not known */
    int is_prepared, is_spare;
} mrl_log_file_info;
typedef int mrl_log_file_fn(void *context, const mrl_log_file_info *info);
void mrl_log_set_each(mrl_log_set *set, mrl_log_file_fn *fn, void *context);

#endif
