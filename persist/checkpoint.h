/* persist/checkpoint.h - writing the documents to pages, piece by piece, beside everybody else.
 *
 * What    A checkpoint begins by noting R, the published seq, and the collections that there are.
 *         It goes through their slots, and writes the pages in which something has changed since
 *         they were read for the last time, each as a short section of its own sees it. Then it
 *         waits until the log is durable up to the last of these sections, and puts a new manifest
 *         in place of the old one. What no manifest needs any more goes.
 * Owns    the manifest in force, those kept besides, page files while they are written.
 * Sees    A page is dirty if a run of its slots has changed after its S. There is no flag to clear:
 *         a checkpoint that fails leaves everything as it was, and the next one begins anew, with
 *         new files.
 * Threads one at a time: who steps holds the lock of persist.h. Waits on disk; writers never wait
 *         for it.
 * Limits  a piece copies a few pages at most and writes at most MRL_CHECKPOINT_WRITE_SIZE and one
 *         page.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_PERSIST_CHECKPOINT_H
#define MRL_PERSIST_CHECKPOINT_H

#include <stdatomic.h>
#include <stdint.h>

#include <merle/merle.h>

#include "persist/directory.h"
#include "persist/log_set.h"
#include "persist/manifest.h"
#include "persist/page.h"
#include "store/store.h"

enum {
    MRL_CHECKPOINT_WRITE_SIZE = 256 << 10,
    MRL_CHECKPOINT_SYNC_SIZE = 4 << 20, /* so little is unsynced: the log's syncs wait for it */
    MRL_PAGE_FILE_SIZE = 64 << 20,      /* at about this size a page file is closed */
    MRL_MANIFESTS_KEPT_MAX = 64,
    MRL_MANIFESTS_KEPT_DEFAULT = 2
};

typedef enum mrl_checkpoint_state {
    MRL_CHECKPOINT_IDLE = 0,
    MRL_CHECKPOINT_PAGES,
    MRL_CHECKPOINT_SYNC,
    MRL_CHECKPOINT_LOG,
    MRL_CHECKPOINT_MANIFEST,
    MRL_CHECKPOINT_CLEAN
} mrl_checkpoint_state;

/* What an earlier manifest that is kept still needs. */
typedef struct mrl_kept_manifest {
    uint64_t number;
    uint64_t replay_seq;
    uint64_t log_id;    /* of the log file from which on it would be replayed */
    uint64_t *file_ids; /* of page files; malloc */
    size_t file_count;
} mrl_kept_manifest;

/* Read by anybody. */
typedef struct mrl_checkpoint_stats {
    _Atomic uint64_t done, failed;
    _Atomic uint64_t pages_written, bytes_written;       /* by all */
    _Atomic uint64_t last_pages, last_bytes, last_ns;    /* by the last that was done */
    _Atomic uint64_t last_seq;                           /* R of the manifest in force */
    _Atomic uint64_t slots_done, slots_total;            /* of the one under way; 0, 0: none is */
    _Atomic uint64_t page_count, page_bytes, page_files; /* of the manifest in force */
    _Atomic int is_under_way;
} mrl_checkpoint_stats;

typedef struct mrl_checkpoint {
    /* By the opening. */
    const mrl_directory *directory;
    mrl_log_set *log_set;
    mrl_store *store;
    const mrl_clock *clock;
    mrl_compression compression;
    uint32_t manifests_kept; /* with the one in force */
    mrl_manifest current;
    mrl_kept_manifest kept[MRL_MANIFESTS_KEPT_MAX]; /* besides the one in force, oldest first */
    size_t kept_count;
    uint64_t unread[MRL_MANIFESTS_KEPT_MAX]; /* older manifests that could not be read */
    size_t unread_count;
    uint32_t holds; /* of backups: while there are any, no file goes */
    int has_stale;  /* 1: the disk may have manifests besides: what they name stays */
    uint64_t manifest_next, file_next; /* numbers that were never given */
    mrl_checkpoint_stats stats;
    /* Of the one under way. */
    mrl_checkpoint_state state;
    mrl_manifest next;
    /* What the sections of the current one and of the next saw when they began: replay_seq, or more
     * if a bulk load was under way. */
    uint64_t current_seq, next_seq;
    uint64_t seq_max;         /* the log must have all up to here: see mrl_manifest */
    size_t collection_number; /* in next.collections */
    uint32_t slot;            /* where its next page begins */
    size_t old_page;          /* in the same collection of the manifest in force */
    uint64_t first_new_file;  /* page files from this id on are its own */
    uint64_t begun_ns, pages_written, bytes_written;
    mrl_page_writer writer;
    merle_buffer out; /* not written to the file yet */
    mrl_file *file;   /* NULL: none is open */
    uint64_t file_offset, file_synced;
    int is_named; /* the new manifest may be on the disk: its files stay */
} mrl_checkpoint;

/* Ends one that is under way without a result, and frees what it holds. */
void mrl_checkpoint_fini(mrl_checkpoint *checkpoint);
/* After an opening: counts what the manifest in force has. */
void mrl_checkpoint_note(mrl_checkpoint *checkpoint);
/* Something was committed since the manifest in force, or it names a log file that nobody needs. */
int mrl_checkpoint_has_work(const mrl_checkpoint *checkpoint);
/* Begins one; none is under way. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_checkpoint_begin(mrl_checkpoint *checkpoint, mrl_member *member,
                                              merle_report *report);
/* Does a bounded piece of the one under way. state is IDLE again when it is done, or has failed.
 * Errors: MERLE_SYSTEM, MERLE_NO_SPACE, MERLE_NO_MEMORY, MERLE_READ_ONLY (the log has failed). */
MERLE_MUST_USE merle_err mrl_checkpoint_step(mrl_checkpoint *checkpoint, mrl_member *member,
                                             merle_report *report);

/* ---- checkpoint_files.c: also for opening ---- */

/* Writes `next` as the manifest of its number. Errors: as step. */
MERLE_MUST_USE merle_err mrl_checkpoint_write_manifest(mrl_checkpoint *checkpoint,
                                                       merle_report *report);
/* Removes manifests, page files and temporary files that nobody needs; what cannot be removed stays
 * until the next time. */
void mrl_checkpoint_clean(mrl_checkpoint *checkpoint);
/* The manifest cannot be read: its file stays until the next checkpoint is there. Setup. */
void mrl_checkpoint_note_unread(mrl_checkpoint *checkpoint, uint64_t number);
/* Notes that `manifest` is kept besides the one in force. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_checkpoint_keep(mrl_checkpoint *checkpoint,
                                             const mrl_manifest *manifest);
/* The R of the oldest manifest that is kept: the log is needed from there on. */
uint64_t mrl_checkpoint_oldest_seq(const mrl_checkpoint *checkpoint);
/* The oldest log file that a manifest names. */
uint64_t mrl_checkpoint_oldest_log(const mrl_checkpoint *checkpoint);
/* Appends a page to the file that is open, or to a new one, and says where it is. */
MERLE_MUST_USE merle_err mrl_checkpoint_append(mrl_checkpoint *checkpoint,
                                               const merle_bytes parts[2],
                                               mrl_manifest_page *out_place, merle_report *report);
/* Writes and syncs what is open, and closes it. */
MERLE_MUST_USE merle_err mrl_checkpoint_close_file(mrl_checkpoint *checkpoint,
                                                   merle_report *report);

#endif
