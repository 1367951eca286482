/* persist/log_file.h - the bytes of one log file: its name, its header, its frames.
 *
 * What    Two copies of a header, 4096 bytes each, then frames, each at an offset that is a
 *         multiple of 8. docs/format.md is the reference.
 * Owns    a scan owns its buffer.
 * Sees    Foreign bytes: every length is checked against the file before anything is made of it.
 * Threads no state but that of a scan, which belongs to its owner.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_PERSIST_LOG_FILE_H
#define MRL_PERSIST_LOG_FILE_H

#include <stddef.h>
#include <stdint.h>

#include <merle/base.h>

#include "base/file.h"
#include "wire/record.h"

enum {
    MRL_LOG_HEADER_SIZE = 4096,
    MRL_LOG_FRAMES_AT = 2 * MRL_LOG_HEADER_SIZE,
    MRL_LOG_NAME_SIZE = 32,
    MRL_LOG_FORMAT_VERSION = 2,
    MRL_LOG_TERMS_MAX = 64 /* earlier terms that a header tells; older ones are not known */
};

/* Flags of a frame, beside MRL_FRAME_PARTIAL. A mark has no body; its seq is the last that was
 * durable when it was written. */
enum {
    MRL_FRAME_MARK = 2,
    MRL_FRAME_CLOSE = 4, /* a mark: the database was closed, and all before is durable */
    MRL_FRAME_NEXT = 8   /* a mark: the log goes on in the file with the next id */
};

typedef enum mrl_log_state { MRL_LOG_PREPARED = 1, MRL_LOG_BEGUN = 2 } mrl_log_state;

/* A term that has ended: commits of it up to end_seq are part of what came later, those behind it
 * were lost, or never durable. */
typedef struct mrl_log_term {
    uint64_t term;
    uint64_t id; /* drawn at its beginning, never 0 */
    uint64_t end_seq;
} mrl_log_term;

/* Oldest first. */
typedef struct mrl_log_terms {
    uint32_t count;
    mrl_log_term list[MRL_LOG_TERMS_MAX];
} mrl_log_terms;
/* The next one; where there are too many the oldest is forgotten. */
void mrl_log_terms_add(mrl_log_terms *terms, mrl_log_term term);

typedef struct mrl_log_header {
    mrl_log_state state;
    uint32_t seed; /* of the checksums of frame headers */
    uint64_t database_id[2];
    uint64_t id, term;
    uint64_t first_seq;    /* of the first record that the file may have */
    uint64_t accepted_seq; /* the last that the opening which began this term took over */
    uint64_t vouched_seq;  /* durable when the file was begun */
    uint64_t file_size;
    int64_t time_ns;
    uint64_t term_id;    /* of a file of version 1, which has none: made of its database and term */
    mrl_log_terms terms; /* before this one; none in a file of version 1 */
} mrl_log_header;

void mrl_log_header_write(uint8_t out_block[MRL_LOG_HEADER_SIZE], const mrl_log_header *header);
/* Errors: MERLE_CORRUPT, MERLE_UNSUPPORTED (whole, but of another version: *out_version). */
MERLE_MUST_USE merle_err mrl_log_header_read(const uint8_t block[MRL_LOG_HEADER_SIZE],
                                             mrl_log_header *out_header, uint32_t *out_version);

/* "log-" and sixteen hexadecimal digits. */
void mrl_log_name(char out_name[MRL_LOG_NAME_SIZE], uint64_t id);
/* 1: the name is one of a log file. */
int mrl_log_name_read(const char *name, uint64_t *out_id);

/* What a frame with a body of this size takes in a file. */
static inline uint64_t mrl_log_frame_size(uint64_t body_size) {
    return (MRL_FRAME_HEADER_SIZE + body_size + 7) / 8 * 8;
}

/* ---- a scan: the frames of one file, one after another ---- */

typedef struct mrl_log_scan {
    const mrl_files *files;
    mrl_file *file;
    uint32_t seed;
    uint64_t end;    /* bytes behind it are not looked at */
    uint64_t offset; /* of the next frame */
    uint8_t *buffer;
    uint64_t buffer_at; /* in the file */
    size_t buffer_size, buffer_capacity;
    int keeps_buffer; /* 1: what is in the buffer stays, see mrl_log_scan_next */
    int system_errno; /* of MERLE_SYSTEM */
} mrl_log_scan;

/* Borrows the file until the end. */
void mrl_log_scan_begin(mrl_log_scan *scan, const mrl_files *files, mrl_file *file, uint32_t seed,
                        uint64_t end);
void mrl_log_scan_end(mrl_log_scan *scan);
/* The next frame, whole and right, and moves behind it; body is valid until the next call (marks
 * have none). Errors: MERLE_NOT_FOUND (what stands there is no frame, or there is no room for one),
 * MERLE_AGAIN (keeps_buffer, and it is not in the buffer), MERLE_SYSTEM, MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_log_scan_next(mrl_log_scan *scan, mrl_frame *out_frame,
                                           merle_bytes *out_body);
/* Looks at every place from the scan's offset on for a mark that vouches for seq: *out_offset is
 * where it stands. The scan is of no other use then. Errors: MERLE_NOT_FOUND, MERLE_SYSTEM,
 * MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_log_scan_vouches(mrl_log_scan *scan, uint64_t seq,
                                              uint64_t *out_offset);

#endif
