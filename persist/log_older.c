/* persist/log_older.c - records that have left the ring, read from files for cursors.
 *
 * A reader holds the file that it reads: it is neither removed nor used again meanwhile. It gives
 * only what was written; the rest is in the ring. Bodies lie in its buffer until it is filled anew.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "base/buffer.h"
#include "persist/log_state.h"

typedef struct older_reader {
    mrl_log_set *set;
    mrl_log_file *file; /* held */
    mrl_file *handle;
    mrl_log_scan scan;
    uint64_t expected;
} older_reader;

/* The file that has seq, held; NULL: it is not there any more. */
static mrl_log_file *hold_file(mrl_log_set *set, uint64_t seq) {
    mrl_log_file *found = NULL;
    mrl_lock_take(&set->lock);
    for (mrl_log_file *at = set->first; at != NULL; at = at->next)
        if (at->header.first_seq <= seq) found = at;
    if (found != NULL) found->readers++;
    mrl_lock_drop(&set->lock);
    return found;
}

static void let_go(older_reader *reader) {
    if (reader->file == NULL) return;
    mrl_log_scan_end(&reader->scan);
    if (reader->handle != NULL) reader->set->files->file_close(reader->handle);
    reader->handle = NULL;
    mrl_lock_take(&reader->set->lock);
    reader->file->readers--;
    mrl_lock_drop(&reader->set->lock);
    reader->file = NULL;
}

/* Goes to the file that has the expected record. */
static merle_err go_to_file(older_reader *reader) {
    char name[MRL_LOG_NAME_SIZE];
    mrl_log_set *set = reader->set;
    let_go(reader);
    reader->file = hold_file(set, reader->expected);
    if (reader->file == NULL) return MERLE_GAP;
    mrl_log_name(name, reader->file->id);
    const mrl_log_header *header = &reader->file->header;
    mrl_log_scan_begin(&reader->scan, set->files, NULL, header->seed, header->file_size);
    if (set->files->file_open(set->dir, name, MRL_FILE_READ, &reader->handle) != 0) {
        reader->handle = NULL;
        let_go(reader);
        return MERLE_SYSTEM;
    }
    reader->scan.file = reader->handle;
    return MERLE_OK;
}

static merle_err older_open(void *context, uint64_t after_seq, void **out_reader) {
    *out_reader = NULL;
    older_reader *reader = mrl_allocate(sizeof *reader);
    if (reader == NULL) return MERLE_NO_MEMORY;
    *reader = (older_reader){.set = context, .expected = after_seq + 1};
    merle_err err = go_to_file(reader);
    if (err != MERLE_OK) {
        free(reader);
        return err;
    }
    *out_reader = reader;
    return MERLE_OK;
}

static void older_close(void *context) {
    older_reader *reader = context;
    if (reader == NULL) return;
    let_go(reader);
    free(reader);
}

static int has_next_file(older_reader *reader) {
    mrl_lock_take(&reader->set->lock);
    const mrl_log_file *next = reader->file->next;
    int is_there = next != NULL && next->header.first_seq <= reader->expected;
    mrl_lock_drop(&reader->set->lock);
    return is_there;
}

/* Passes over marks and what is not wanted, until the expected record is the next one, and in the
 * buffer. */
static merle_err seek(older_reader *reader) {
    for (;;) {
        uint64_t offset = reader->scan.offset;
        mrl_frame frame;
        merle_bytes body;
        merle_err err = has_next_file(reader) ? MERLE_NOT_FOUND
                                              : mrl_log_scan_next(&reader->scan, &frame, &body);
        if (err == MERLE_NOT_FOUND) {
            /* It is written, so it stands here or in a later file. */
            if (!has_next_file(reader)) return MERLE_CORRUPT;
            if ((err = go_to_file(reader)) != MERLE_OK) return err;
            continue;
        }
        if (err != MERLE_OK) return err;
        if ((frame.flags & MRL_FRAME_MARK) != 0 || frame.seq < reader->expected) continue;
        reader->scan.offset = offset;
        return frame.seq == reader->expected ? MERLE_OK : MERLE_CORRUPT;
    }
}

static merle_err older_fill(void *context) {
    older_reader *reader = context;
    reader->scan.keeps_buffer = 0;
    if (reader->expected > mrl_log_written_seq(reader->set->start.log)) return MERLE_NOT_FOUND;
    /* What was read before of the place where the writer is now may be stale. */
    reader->scan.buffer_size = 0;
    return seek(reader);
}

static merle_err older_next(void *context, mrl_frame *out_frame, merle_bytes *out_body) {
    older_reader *reader = context;
    reader->scan.keeps_buffer = 1;
    for (;;) {
        merle_err err = mrl_log_scan_next(&reader->scan, out_frame, out_body);
        /* What the buffer has no whole frame of may have been written since: fill tells. */
        if (err == MERLE_NOT_FOUND) return MERLE_AGAIN;
        if (err != MERLE_OK) return err;
        if ((out_frame->flags & MRL_FRAME_MARK) != 0) continue;
        if (out_frame->seq != reader->expected) return MERLE_CORRUPT;
        reader->expected++;
        return MERLE_OK;
    }
}

static uint64_t older_first(void *context) {
    mrl_log_set *set = context;
    mrl_lock_take(&set->lock);
    uint64_t seq = set->first != NULL ? set->first->header.first_seq : 0;
    mrl_lock_drop(&set->lock);
    return seq;
}

void mrl_log_older_init(mrl_log_set *set) {
    set->older = (mrl_older){set, older_open, older_fill, older_next, older_close, older_first};
}
