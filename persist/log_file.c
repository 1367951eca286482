/* persist/log_file.c - writes headers, reads headers and frames of one log file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "persist/log_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/crc32c.h"
#include "wire/bytes.h"

enum {
    HEADER_CHECKED_SIZE = 96, /* of version 1: the part that says something, without its checksum */
    TERMS_AT = 104,           /* what version 2 says besides */
    TERMS_LIST_AT = 120,
    BLOCK_CHECKED_SIZE = MRL_LOG_HEADER_SIZE - 4, /* of version 2: all but the second checksum */
    SCAN_BUFFER_SIZE = 1 << 20
};
_Static_assert(TERMS_LIST_AT + MRL_LOG_TERMS_MAX * 24 <= BLOCK_CHECKED_SIZE, "all terms find room");
static const uint8_t magic[8] = {'m', 'e', 'r', 'l', 'e', 'l', 'o', 'g'};

/* ---- headers ---- */

void mrl_log_terms_add(mrl_log_terms *terms, mrl_log_term term) {
    if (terms->count == MRL_LOG_TERMS_MAX)
        memmove(&terms->list[0], &terms->list[1], --terms->count * sizeof terms->list[0]);
    terms->list[terms->count++] = term;
}

static void terms_write(uint8_t *block, const mrl_log_header *header) {
    uint8_t *at = mrl_put_little64(block + TERMS_AT, header->term_id);
    at = mrl_put_little32(at, header->terms.count);
    at = mrl_put_little32(at, 0);
    MRL_ASSERT(at == block + TERMS_LIST_AT && header->terms.count <= MRL_LOG_TERMS_MAX);
    for (uint32_t i = 0; i < header->terms.count; i++) {
        at = mrl_put_little64(at, header->terms.list[i].term);
        at = mrl_put_little64(at, header->terms.list[i].id);
        at = mrl_put_little64(at, header->terms.list[i].end_seq);
    }
}

void mrl_log_header_write(uint8_t out_block[MRL_LOG_HEADER_SIZE], const mrl_log_header *header) {
    memset(out_block, 0, MRL_LOG_HEADER_SIZE);
    memcpy(out_block, magic, sizeof magic);
    uint8_t *at = mrl_put_little32(out_block + sizeof magic, MRL_LOG_FORMAT_VERSION);
    at = mrl_put_little32(at, (uint32_t)header->state);
    at = mrl_put_little64(at, header->database_id[0]);
    at = mrl_put_little64(at, header->database_id[1]);
    at = mrl_put_little64(at, header->id);
    at = mrl_put_little64(at, header->term);
    at = mrl_put_little64(at, header->first_seq);
    at = mrl_put_little64(at, header->accepted_seq);
    at = mrl_put_little64(at, header->vouched_seq);
    at = mrl_put_little64(at, header->file_size);
    at = mrl_put_little64(at, (uint64_t)header->time_ns);
    at = mrl_put_little32(at, header->seed);
    at = mrl_put_little32(at, 0);
    MRL_ASSERT(at == out_block + HEADER_CHECKED_SIZE);
    /* This one stays where version 1 has it: a library that knows no other can tell a newer file
     * from a damaged one. */
    mrl_put_little32(at, mrl_crc32c(0, out_block, HEADER_CHECKED_SIZE));
    terms_write(out_block, header);
    mrl_put_little32(out_block + BLOCK_CHECKED_SIZE, mrl_crc32c(0, out_block, BLOCK_CHECKED_SIZE));
}

/* Files of version 1 have no ids of terms, and nobody was ever told one of theirs: what is made of
 * the database's id and the term (FNV-1a of their bytes) need only be the same each time. */
static uint64_t term_id_of_version_1(const uint8_t *block) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (int i = 0; i < 16; i++) hash = (hash ^ block[16 + i]) * 0x100000001b3u;
    for (int i = 0; i < 8; i++) hash = (hash ^ block[40 + i]) * 0x100000001b3u;
    return hash == 0 ? 1 : hash;
}

/* Terms grow, none ends before the one before it, and all before the one that the file is of. */
static merle_err terms_take(const uint8_t *block, mrl_log_header *out) {
    uint64_t term = 0, end_seq = 0;
    const uint8_t *at = block + TERMS_LIST_AT;
    out->term_id = mrl_get_little64(block + TERMS_AT);
    out->terms.count = mrl_get_little32(block + TERMS_AT + 8);
    if (out->terms.count > MRL_LOG_TERMS_MAX) return MERLE_CORRUPT;
    if ((out->term_id != 0) != (out->state == MRL_LOG_BEGUN)) return MERLE_CORRUPT;
    for (uint32_t i = 0; i < out->terms.count; i++, at += 24) {
        mrl_log_term *to = &out->terms.list[i];
        *to = (mrl_log_term){mrl_get_little64(at), mrl_get_little64(at + 8),
                             mrl_get_little64(at + 16)};
        if (to->term <= term || to->term >= out->term || to->id == 0 || to->end_seq < end_seq ||
            to->end_seq > out->accepted_seq)
            return MERLE_CORRUPT;
        term = to->term;
        end_seq = to->end_seq;
    }
    return MERLE_OK;
}

/* Both checksums are right. */
static merle_err header_take(const uint8_t *block, uint32_t version, mrl_log_header *out) {
    out->state = (mrl_log_state)mrl_get_little32(block + 12);
    out->database_id[0] = mrl_get_little64(block + 16);
    out->database_id[1] = mrl_get_little64(block + 24);
    out->id = mrl_get_little64(block + 32);
    out->term = mrl_get_little64(block + 40);
    out->first_seq = mrl_get_little64(block + 48);
    out->accepted_seq = mrl_get_little64(block + 56);
    out->vouched_seq = mrl_get_little64(block + 64);
    out->file_size = mrl_get_little64(block + 72);
    out->time_ns = (int64_t)mrl_get_little64(block + 80);
    out->seed = mrl_get_little32(block + 88);
    if (out->state != MRL_LOG_PREPARED && out->state != MRL_LOG_BEGUN) return MERLE_CORRUPT;
    if (version != 1) return terms_take(block, out);
    if (out->state == MRL_LOG_BEGUN) out->term_id = term_id_of_version_1(block);
    return MERLE_OK;
}

merle_err mrl_log_header_read(const uint8_t block[MRL_LOG_HEADER_SIZE], mrl_log_header *out_header,
                              uint32_t *out_version) {
    memset(out_header, 0, sizeof *out_header);
    *out_version = 0;
    if (memcmp(block, magic, sizeof magic) != 0) return MERLE_CORRUPT;
    if (mrl_get_little32(block + HEADER_CHECKED_SIZE) != mrl_crc32c(0, block, HEADER_CHECKED_SIZE))
        return MERLE_CORRUPT;
    *out_version = mrl_get_little32(block + 8);
    if (*out_version == 0 || *out_version > MRL_LOG_FORMAT_VERSION) return MERLE_UNSUPPORTED;
    if (*out_version > 1 &&
        mrl_get_little32(block + BLOCK_CHECKED_SIZE) != mrl_crc32c(0, block, BLOCK_CHECKED_SIZE))
        return MERLE_CORRUPT;
    merle_err err = header_take(block, *out_version, out_header);
    if (err != MERLE_OK) memset(out_header, 0, sizeof *out_header);
    return err;
}

/* ---- names ---- */

void mrl_log_name(char out_name[MRL_LOG_NAME_SIZE], uint64_t id) {
    (void)snprintf(out_name, MRL_LOG_NAME_SIZE, "log-%016llx", (unsigned long long)id);
}

static int digit_of(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int mrl_log_name_read(const char *name, uint64_t *out_id) {
    *out_id = 0;
    if (strncmp(name, "log-", 4) != 0 || strlen(name) != 20) return 0;
    for (const char *at = name + 4; *at != 0; at++) {
        int digit = digit_of(*at);
        if (digit < 0) {
            *out_id = 0;
            return 0;
        }
        *out_id = *out_id << 4 | (uint64_t)digit;
    }
    return 1;
}

/* ---- scanning ---- */

void mrl_log_scan_begin(mrl_log_scan *scan, const mrl_files *files, mrl_file *file, uint32_t seed,
                        uint64_t end) {
    memset(scan, 0, sizeof *scan);
    scan->files = files;
    scan->file = file;
    scan->seed = seed;
    scan->end = end;
    scan->offset = MRL_LOG_FRAMES_AT;
}

void mrl_log_scan_end(mrl_log_scan *scan) {
    free(scan->buffer);
    scan->buffer = NULL;
    scan->buffer_size = scan->buffer_capacity = 0;
}

static int is_buffered(const mrl_log_scan *scan, uint64_t offset, uint64_t size) {
    return offset >= scan->buffer_at && offset - scan->buffer_at + size <= scan->buffer_size;
}

/* Fills the buffer from `offset` on, with at least `size` bytes, which lie before the end; more
 * are read along. What the file is shorter by counts as zeros: no frame has them. */
static merle_err fill(mrl_log_scan *scan, uint64_t offset, uint64_t size) {
    uint64_t wanted = size > SCAN_BUFFER_SIZE ? size : SCAN_BUFFER_SIZE;
    size_t got = 0;
    if (wanted > scan->end - offset) wanted = scan->end - offset;
    if (wanted > scan->buffer_capacity) {
        uint8_t *buffer = mrl_allocate((size_t)wanted);
        if (buffer == NULL) return MERLE_NO_MEMORY;
        free(scan->buffer);
        scan->buffer = buffer;
        scan->buffer_capacity = (size_t)wanted;
    }
    scan->buffer_size = 0;
    scan->system_errno =
        scan->files->file_read(scan->file, offset, scan->buffer, (size_t)wanted, &got);
    if (scan->system_errno != 0) return MERLE_SYSTEM;
    memset(scan->buffer + got, 0, (size_t)wanted - got);
    scan->buffer_at = offset;
    scan->buffer_size = (size_t)wanted;
    return MERLE_OK;
}

/* Bytes of the file, which lie before its end. */
static merle_err bytes_at(mrl_log_scan *scan, uint64_t offset, uint64_t size,
                          const uint8_t **out_bytes) {
    *out_bytes = NULL;
    if (!is_buffered(scan, offset, size)) {
        if (scan->keeps_buffer) return MERLE_AGAIN;
        merle_err err = fill(scan, offset, size);
        if (err != MERLE_OK) return err;
    }
    *out_bytes = scan->buffer + (offset - scan->buffer_at);
    return MERLE_OK;
}

static int has_room(const mrl_log_scan *scan, uint64_t offset, uint64_t size) {
    return offset <= scan->end && size <= scan->end - offset;
}

/* Marks have no body, and only marks have a mark's flags; a record has a body. */
static int frame_is_sound(const mrl_frame *frame) {
    uint32_t known = MRL_FRAME_PARTIAL | MRL_FRAME_MARK | MRL_FRAME_CLOSE | MRL_FRAME_NEXT;
    if ((frame->flags & ~known) != 0) return 0;
    if ((frame->flags & MRL_FRAME_MARK) != 0)
        return frame->length == 0 && (frame->flags & MRL_FRAME_PARTIAL) == 0;
    return frame->length != 0 && (frame->flags & ~(uint32_t)MRL_FRAME_PARTIAL) == 0;
}

merle_err mrl_log_scan_next(mrl_log_scan *scan, mrl_frame *out_frame, merle_bytes *out_body) {
    const uint8_t *bytes;
    mrl_frame frame;
    memset(out_frame, 0, sizeof *out_frame);
    *out_body = merle_bytes_of(NULL, 0);
    if (!has_room(scan, scan->offset, MRL_FRAME_HEADER_SIZE)) return MERLE_NOT_FOUND;
    merle_err err = bytes_at(scan, scan->offset, MRL_FRAME_HEADER_SIZE, &bytes);
    if (err != MERLE_OK) return err;
    if (mrl_frame_read(bytes, scan->seed, &frame) != MERLE_OK) return MERLE_NOT_FOUND;
    if (!frame_is_sound(&frame)) return MERLE_NOT_FOUND;
    uint64_t size = MRL_FRAME_HEADER_SIZE + (uint64_t)frame.length;
    if (!has_room(scan, scan->offset, size)) return MERLE_NOT_FOUND;
    if ((err = bytes_at(scan, scan->offset, size, &bytes)) != MERLE_OK) return err;
    const uint8_t *body = bytes + MRL_FRAME_HEADER_SIZE;
    if (mrl_crc32c(0, body, frame.length) != frame.body_crc) return MERLE_NOT_FOUND;
    scan->offset += mrl_log_frame_size(frame.length);
    *out_frame = frame;
    if (frame.length > 0) *out_body = merle_bytes_of(body, frame.length);
    return MERLE_OK;
}

/* A mark's first eight bytes are zeros, and its flags are few: nearly every other place is told
 * from one without a checksum. */
static int may_be_mark(const uint8_t *bytes) {
    return mrl_get_little64(bytes) == 0 && (mrl_get_little32(bytes + 24) & MRL_FRAME_MARK) != 0;
}

/* From the scan's offset on, as far as the buffer goes; moves behind it. */
static int buffer_vouches(mrl_log_scan *scan, uint64_t seq) {
    const uint8_t *at = scan->buffer + (scan->offset - scan->buffer_at);
    const uint8_t *end = scan->buffer + scan->buffer_size - MRL_FRAME_HEADER_SIZE;
    int is_found = 0;
    for (; at <= end && !is_found; at += 8) {
        mrl_frame frame;
        is_found = may_be_mark(at) && mrl_frame_read(at, scan->seed, &frame) == MERLE_OK &&
                   frame_is_sound(&frame) && frame.seq >= seq;
    }
    scan->offset = scan->buffer_at + (uint64_t)(at - scan->buffer);
    return is_found;
}

merle_err mrl_log_scan_vouches(mrl_log_scan *scan, uint64_t seq, uint64_t *out_offset) {
    *out_offset = 0;
    while (has_room(scan, scan->offset, MRL_FRAME_HEADER_SIZE)) {
        const uint8_t *bytes;
        merle_err err = bytes_at(scan, scan->offset, MRL_FRAME_HEADER_SIZE, &bytes);
        if (err != MERLE_OK) return err;
        if (!buffer_vouches(scan, seq)) continue;
        *out_offset = scan->offset - 8;
        return MERLE_OK;
    }
    return MERLE_NOT_FOUND;
}
