/* document/writer.h - the one place that emits msgpack, by msgpack-c's packer.
 *
 * What    heads and scalars in their shortest form, into a small array or a merle_buffer.
 * Owns    nothing.
 * Threads owner only.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DOCUMENT_WRITER_H
#define MRL_DOCUMENT_WRITER_H

#include <merle/document.h>

/* A value on its way into a document: head bytes, then body bytes that belong to somebody else. */
typedef struct mrl_piece {
    uint32_t head_size;
    uint8_t head[20];
    const uint8_t *body;
    size_t body_size;
} mrl_piece;

void mrl_piece_nil(mrl_piece *out_piece);
void mrl_piece_bool(mrl_piece *out_piece, int truth);
void mrl_piece_int(mrl_piece *out_piece, int64_t number);
void mrl_piece_uint(mrl_piece *out_piece, uint64_t number);
void mrl_piece_float(mrl_piece *out_piece, double number);
void mrl_piece_str(mrl_piece *out_piece, const void *text, uint32_t size);
void mrl_piece_bin(mrl_piece *out_piece, const void *bin, uint32_t size);
void mrl_piece_ext(mrl_piece *out_piece, int8_t type, const void *data, uint32_t size);
void mrl_piece_time(mrl_piece *out_piece, int64_t seconds, uint32_t nanoseconds);
/* Only the head of an array or map; the elements follow. */
void mrl_piece_array(mrl_piece *out_piece, uint32_t count);
void mrl_piece_map(mrl_piece *out_piece, uint32_t count);
/* Msgpack bytes as they are. */
void mrl_piece_raw(mrl_piece *out_piece, const void *data, size_t size);

/* The piece of a value that was checked by mrl_value_check. Its bytes are borrowed. */
void mrl_piece_value(mrl_piece *out_piece, const merle_value *value);

/* Checks a value that a caller made: its type, its UTF-8, its msgpack bytes below depth_above other
 * arrays and maps. Errors: MERLE_INVALID, MERLE_BAD_DOCUMENT, MERLE_TOO_BIG. */
MERLE_MUST_USE merle_err mrl_value_check(const merle_value *value, uint32_t depth_above,
                                         merle_report *report);

static inline size_t mrl_piece_size(const mrl_piece *piece) {
    return piece->head_size + piece->body_size;
}
/* Writes the piece at out, which has room for mrl_piece_size bytes; gives the byte behind it. */
uint8_t *mrl_piece_put(const mrl_piece *piece, uint8_t *out);
/* Appends the piece. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_piece_append(const mrl_piece *piece, merle_buffer *buffer);

#endif
