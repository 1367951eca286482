/* persist/log_state.h - what the files log_*.c of this room share: the set itself.
 *
 * What    log_set.c lists and checks the files, log_replay.c reads them, log_writer.c writes groups
 *         and syncs, log_prepare.c makes files ready and lets go of them, log_thread.c starts,
 *         steps and ends, log_older.c reads for cursors, log_terms.c keeps book of terms.
 * Threads Each field says who may touch it. "drain": whoever holds the log's drain lock, and setup.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_PERSIST_LOG_STATE_H
#define MRL_PERSIST_LOG_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/lock.h"
#include "base/random.h"
#include "persist/log_file.h"
#include "persist/log_set.h"

/* Kept free at the end of each file: for the mark that ends it. */
#define MRL_LOG_END_SIZE ((uint64_t)2 * MRL_FRAME_HEADER_SIZE)
/* Groups are gathered here and written at once. */
#define MRL_LOG_STAGING_SIZE ((size_t)1 << 20)

/* A log file that has records, or had. */
typedef struct mrl_log_file {
    struct mrl_log_file *next; /* by id */
    uint64_t id;               /* by its name */
    mrl_log_header header;
    uint64_t limit; /* records above it do not count: a later term did not take them over */
    uint64_t size;  /* as the directory says */
    /* Blocks up to here were written at some time, and from there on perhaps not: the first writing
     * of a block takes a sync longer. Once the file is begun, by the drain. */
    uint64_t written_to;
    uint32_t readers;
    uint32_t is_shared; /* somebody may have linked it: it is never written again */
} mrl_log_file;

/* A file that is of no use any more: made a next one again, or removed. */
typedef struct mrl_log_spare {
    struct mrl_log_spare *next;
    uint64_t id; /* by its name */
    uint64_t size, written_to;
} mrl_log_spare;

struct mrl_log_set {
    /* Setup only. */
    const mrl_files *files;
    mrl_dir *dir;
    const mrl_clock *clock;
    mrl_log_set_options options;
    mrl_log_start_options start; /* log NULL: not started */
    mrl_drain drain;
    mrl_older older;
    uint64_t capacity; /* of a file of the size that is made now: bytes of frames */
    uint64_t term, accepted_seq;
    uint64_t term_id;     /* 0: there is no term yet */
    mrl_log_terms terms;  /* before it */
    uint64_t prepared_id; /* found at opening; 0: none */
    uint64_t end_id, end_offset;
    _Atomic uint64_t replay_done;
    uint64_t replay_total;

    /* Under `lock`, which is taken last and held for moments. */
    mrl_lock lock;
    mrl_random random;
    mrl_log_file *first, *last; /* the last one is being written */
    mrl_log_spare *spares;
    uint32_t holds;
    /* Prepared; both are handed over to the drain when it is begun. */
    mrl_file *next_file;
    mrl_log_file *next;
    int room_errno; /* why no next one could be prepared */

    /* Under `prepare_lock`: who prepares. Only tried, but at setup. */
    mrl_lock prepare_lock;
    mrl_file *prepare_file;
    mrl_log_file *prepare_next;
    uint64_t prepare_reserved; /* bytes of prepare_file that have their room */
    uint64_t prepare_again_ns; /* after a failure: when it is tried again */

    /* Drain. */
    mrl_file *file; /* of `last` */
    uint64_t offset;
    int is_fresh;     /* the second header and the first group are still to come */
    uint8_t *staging; /* bytes that stand at `offset` - staged */
    size_t staged;
    uint64_t synced_offset;            /* where the last sync found `offset` */
    uint64_t asks_seen, asks_expected; /* see gather in log_writer.c */
    uint64_t sync_last_ns;
    uint64_t loose_written;  /* of entries that were written and not synced */
    uint64_t loose_since_ns; /* when the first of them was met; 0: there are none */
    uint32_t memory_only_id; /* the collection that was asked about last */
    int memory_only_answer;  /* -1: none was */
    merle_report failure;

    /* Figures; by the drain, read by anybody. */
    _Atomic uint64_t bytes_written, groups, group_bytes_max, records, syncs, sync_ns, sync_ns_max;
    _Atomic uint64_t used;
    _Atomic uint64_t loose_deadline_ns; /* when the oldest commit that may be lost is synced */

    /* The thread. */
    pthread_t thread;
    int has_thread;
    _Atomic int stop;
};

/* ---- log_set.c ---- */
/* Fills the report for a file of the log, and returns err. */
merle_err mrl_log_complain(merle_report *report, merle_err err, uint64_t id, uint64_t offset,
                           const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The same for a call of the system that failed. Its result: MERLE_NO_SPACE, MERLE_SYSTEM. */
merle_err mrl_log_complain_system(merle_report *report, const char *name, int system_errno,
                                  const char *what);
/* Frees it; its files are closed. */
void mrl_log_set_destroy(mrl_log_set *set);
mrl_log_file *mrl_log_file_create(uint64_t id, const mrl_log_header *header, uint64_t size);

/* ---- log_terms.c ---- */
/* Takes note of a file that was begun; they come in the order of their ids. */
void mrl_log_term_meet(mrl_log_set *set, const mrl_log_header *header);
/* Of two files one behind the other: 0, they are of two copies of the directory, each of which has
 * gone on by itself. */
int mrl_log_term_follows(const mrl_log_header *before, const mrl_log_header *behind);
/* The next term begins, behind the last seq of the one before it. */
void mrl_log_term_begin(mrl_log_set *set, uint64_t accepted_seq);
/* What a header of the current term says of it. */
void mrl_log_term_tell(const mrl_log_set *set, mrl_log_header *header);

/* ---- log_prepare.c ---- */
/* No next file is ready, and half of the current one is used, or somebody has a record that finds
 * no place, or there was no space. Holding nothing. */
int mrl_log_prepare_is_due(mrl_log_set *set);
/* Makes the next file ready, if none is; returns what it did. Holding nothing. */
size_t mrl_log_prepare(mrl_log_set *set);
/* The first one. For setup. Errors: MERLE_NO_SPACE, MERLE_SYSTEM, MERLE_NO_MEMORY. */
merle_err mrl_log_prepare_first(mrl_log_set *set, merle_report *report);
/* Ends what is begun, takes away what is not finished. */
void mrl_log_prepare_fini(mrl_log_set *set);
/* Tells the log how large a record there is room for. */
void mrl_log_room_tell(mrl_log_set *set);
/* By the drain: the prepared file becomes the last one, with a header that says that it is begun.
 * Errors: MERLE_READ_ONLY (there is none; the log has failed). */
merle_err mrl_log_switch(mrl_log_set *set, uint64_t vouched_seq);
/* Under `lock`, or at setup. */
uint64_t mrl_log_next_id(const mrl_log_set *set);

/* ---- log_writer.c: drain ---- */
/* The end of all writing: a call on the current file has failed. Its result: MERLE_READ_ONLY. */
merle_err mrl_log_write_failed(mrl_log_set *set, int system_errno, const char *what);
/* The newest file has no record, and is such as are made now: an opening begins it again, so that
 * openings which change nothing leave no files behind. */
int mrl_log_is_empty(const mrl_log_set *set, uint64_t last_seq);
/* By setup: the newest file, which has no record, is begun again for the new term. Its first header
 * is still to come. Errors: MERLE_READ_ONLY. */
merle_err mrl_log_begin_again(mrl_log_set *set);
/* Writes the first header of the last file, which was just switched to. */
merle_err mrl_log_begin_file(mrl_log_set *set);
/* The drain's write_group. */
merle_err mrl_log_write(void *context, mrl_member *member);
/* Everything that was written becomes durable. */
merle_err mrl_log_sync(mrl_log_set *set);
/* The last mark of a clean close, synced. */
merle_err mrl_log_write_close(mrl_log_set *set);

/* ---- log_older.c ---- */
void mrl_log_older_init(mrl_log_set *set);

static inline uint64_t mrl_log_now_ns(const mrl_log_set *set) {
    return set->clock->monotonic_ns(set->clock->context);
}

#endif
