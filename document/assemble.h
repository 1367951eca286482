/* document/assemble.h - putting a document together front to back.
 *
 * What    arrays and maps whose counts are known only when they close: the builder and the JSON
 *         reader both stand on it.
 * Owns    nothing; the bytes go to a buffer of the caller's.
 * Sees    each head is made in one byte and widened when the container closes with more than 15
 *         values, so that small ones, which are most, are never moved.
 * Threads owner only.
 * Limits  MERLE_DOCUMENT_SIZE_MAX; two levels more than MERLE_DEPTH_MAX, as the JSON reader writes
 *         one scalar as two levels for a moment. Who assembles checks the depth that counts.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DOCUMENT_ASSEMBLE_H
#define MRL_DOCUMENT_ASSEMBLE_H

#include "document/writer.h"

#define MRL_FRAME_MAX (MERLE_DEPTH_MAX + 2)

typedef struct mrl_assembly_frame {
    uint32_t head; /* where its head stands */
    uint32_t is_map;
    uint64_t count; /* elements or pairs so far; whoever puts them counts them */
} mrl_assembly_frame;

typedef struct mrl_assembly {
    merle_buffer *out;
    uint32_t depth; /* open frames */
    mrl_assembly_frame frames[MRL_FRAME_MAX];
} mrl_assembly;

/* Empties the buffer and holds it until the last frame is closed. */
void mrl_assembly_begin(mrl_assembly *assembly, merle_buffer *out);

/* Opens an array or map. Errors: MERLE_TOO_BIG (depth, size), MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_assembly_open(mrl_assembly *assembly, uint32_t is_map);

/* Appends a piece. Errors: MERLE_TOO_BIG, MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_assembly_put(mrl_assembly *assembly, const mrl_piece *piece);

/* Closes the innermost frame, of which there must be one. Errors: MERLE_INVALID (a map with one key
 * twice), MERLE_TOO_BIG, MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_assembly_close(mrl_assembly *assembly);

/* The innermost open frame. */
static inline mrl_assembly_frame *mrl_assembly_top(mrl_assembly *assembly) {
    return &assembly->frames[assembly->depth - 1];
}

#endif
