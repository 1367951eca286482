/* document/assemble.c - putting a document together front to back.
 * SPDX-License-Identifier: Apache-2.0 */
#include "document/assemble.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "document/check.h"

void mrl_assembly_begin(mrl_assembly *assembly, merle_buffer *out) {
    assembly->out = out;
    assembly->depth = 0;
    out->size = 0;
}

static merle_err room_make(mrl_assembly *assembly, size_t room) {
    if (room > MERLE_DOCUMENT_SIZE_MAX - assembly->out->size) return MERLE_TOO_BIG;
    return mrl_buffer_reserve(assembly->out, room);
}

merle_err mrl_assembly_open(mrl_assembly *assembly, uint32_t is_map) {
    if (assembly->depth == MRL_FRAME_MAX) return MERLE_TOO_BIG;
    merle_err err = room_make(assembly, 1);
    if (err != MERLE_OK) return err;
    mrl_assembly_frame *frame = &assembly->frames[assembly->depth++];
    frame->head = (uint32_t)assembly->out->size++;
    frame->is_map = is_map;
    frame->count = 0;
    return MERLE_OK;
}

merle_err mrl_assembly_put(mrl_assembly *assembly, const mrl_piece *piece) {
    size_t size = mrl_piece_size(piece);
    merle_err err = room_make(assembly, size);
    if (err != MERLE_OK) return err;
    mrl_piece_put(piece, assembly->out->data + assembly->out->size);
    assembly->out->size += size;
    return MERLE_OK;
}

merle_err mrl_assembly_close(mrl_assembly *assembly) {
    merle_buffer *out = assembly->out;
    MRL_ASSERT(assembly->depth > 0);
    const mrl_assembly_frame *frame = mrl_assembly_top(assembly);
    uint32_t count = (uint32_t)frame->count;
    if (frame->is_map) {
        const uint8_t *second;
        merle_err err = mrl_check_keys(out->data + frame->head + 1, count, &second);
        if (err != MERLE_OK) return err;
        if (second != NULL) return MERLE_INVALID;
    }
    mrl_piece head;
    if (frame->is_map)
        mrl_piece_map(&head, count);
    else
        mrl_piece_array(&head, count);
    if (head.head_size > 1) {
        size_t more = head.head_size - 1, first = frame->head + 1;
        merle_err err = room_make(assembly, more);
        if (err != MERLE_OK) return err;
        memmove(out->data + first + more, out->data + first, out->size - first);
        out->size += more;
    }
    mrl_piece_put(&head, out->data + frame->head);
    assembly->depth--;
    return MERLE_OK;
}
