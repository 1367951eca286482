/* document/writer.c - the one place that emits msgpack, by msgpack-c's packer.
 * SPDX-License-Identifier: Apache-2.0 */
#include "document/writer.h"

#include <msgpack/pack.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/report.h"
#include "document/check.h"
#include "document/scan.h"
#include "document/utf8.h"

/* The packer writes at most 15 bytes a piece: a timestamp of 12 bytes with its head of 3. */
static inline int write_head(void *context, const char *data, size_t size) {
    mrl_piece *piece = context;
    MRL_DEBUG_ASSERT(piece->head_size + size <= sizeof(piece->head));
    memcpy(piece->head + piece->head_size, data, size);
    piece->head_size += (uint32_t)size;
    return 0;
}

static inline msgpack_packer packer_begin(mrl_piece *piece) {
    msgpack_packer packer;
    piece->head_size = 0;
    piece->body = NULL;
    piece->body_size = 0;
    msgpack_packer_init(&packer, piece, write_head);
    return packer;
}

void mrl_piece_nil(mrl_piece *out_piece) {
    msgpack_packer packer = packer_begin(out_piece);
    msgpack_pack_nil(&packer);
}

void mrl_piece_bool(mrl_piece *out_piece, int truth) {
    msgpack_packer packer = packer_begin(out_piece);
    if (truth)
        msgpack_pack_true(&packer);
    else
        msgpack_pack_false(&packer);
}

void mrl_piece_int(mrl_piece *out_piece, int64_t number) {
    msgpack_packer packer = packer_begin(out_piece);
    msgpack_pack_int64(&packer, number);
}

void mrl_piece_uint(mrl_piece *out_piece, uint64_t number) {
    msgpack_packer packer = packer_begin(out_piece);
    msgpack_pack_uint64(&packer, number);
}

void mrl_piece_float(mrl_piece *out_piece, double number) {
    msgpack_packer packer = packer_begin(out_piece);
    msgpack_pack_double(&packer, number);
}

static inline void body_set(mrl_piece *piece, const void *body, size_t size) {
    piece->body = body;
    piece->body_size = size;
}

void mrl_piece_str(mrl_piece *out_piece, const void *text, uint32_t size) {
    msgpack_packer packer = packer_begin(out_piece);
    msgpack_pack_str(&packer, size);
    body_set(out_piece, text, size);
}

void mrl_piece_bin(mrl_piece *out_piece, const void *bin, uint32_t size) {
    msgpack_packer packer = packer_begin(out_piece);
    msgpack_pack_bin(&packer, size);
    body_set(out_piece, bin, size);
}

void mrl_piece_ext(mrl_piece *out_piece, int8_t type, const void *data, uint32_t size) {
    msgpack_packer packer = packer_begin(out_piece);
    msgpack_pack_ext(&packer, size, type);
    body_set(out_piece, data, size);
}

void mrl_piece_time(mrl_piece *out_piece, int64_t seconds, uint32_t nanoseconds) {
    msgpack_packer packer = packer_begin(out_piece);
    msgpack_timestamp time = {seconds, nanoseconds};
    msgpack_pack_timestamp(&packer, &time);
}

void mrl_piece_array(mrl_piece *out_piece, uint32_t count) {
    msgpack_packer packer = packer_begin(out_piece);
    msgpack_pack_array(&packer, count);
}

void mrl_piece_map(mrl_piece *out_piece, uint32_t count) {
    msgpack_packer packer = packer_begin(out_piece);
    msgpack_pack_map(&packer, count);
}

void mrl_piece_raw(mrl_piece *out_piece, const void *data, size_t size) {
    out_piece->head_size = 0;
    body_set(out_piece, data, size);
}

void mrl_piece_value(mrl_piece *out_piece, const merle_value *value) {
    uint32_t size = (uint32_t)value->bytes.size;
    switch (value->type) {
    case MERLE_TYPE_NIL:
        mrl_piece_nil(out_piece);
        return;
    case MERLE_TYPE_BOOL:
        mrl_piece_bool(out_piece, value->number.i != 0);
        return;
    case MERLE_TYPE_INT:
        mrl_piece_int(out_piece, value->number.i);
        return;
    case MERLE_TYPE_UINT:
        mrl_piece_uint(out_piece, value->number.u);
        return;
    case MERLE_TYPE_FLOAT:
        mrl_piece_float(out_piece, value->number.f);
        return;
    case MERLE_TYPE_STR:
        mrl_piece_str(out_piece, value->bytes.data, size);
        return;
    case MERLE_TYPE_BIN:
        mrl_piece_bin(out_piece, value->bytes.data, size);
        return;
    case MERLE_TYPE_EXT:
        mrl_piece_ext(out_piece, value->ext_type, value->bytes.data, size);
        return;
    case MERLE_TYPE_TIME:
        mrl_piece_time(out_piece, value->number.i, value->count);
        return;
    case MERLE_TYPE_ARRAY:
    case MERLE_TYPE_MAP:
        mrl_piece_raw(out_piece, value->bytes.data, value->bytes.size);
        return;
    default:
        MRL_ASSERT(!"a value that nobody checked");
    }
}

static merle_err check_container(const merle_value *value, uint32_t depth_above,
                                 merle_report *report) {
    size_t size = 0;
    merle_err err =
        mrl_check_value(value->bytes.data, value->bytes.size, depth_above, &size, report);
    if (err != MERLE_OK) return err;
    if (size != value->bytes.size)
        return mrl_report_fill(report, MERLE_BAD_DOCUMENT,
                               "A value's bytes end at byte %zu, but there are %zu.", size,
                               value->bytes.size);
    if (mrl_scan_type(value->bytes.data) != value->type)
        return mrl_report_fill(report, MERLE_INVALID, "A value says it is %s, its bytes are %s.",
                               mrl_type_text(value->type),
                               mrl_type_text(mrl_scan_type(value->bytes.data)));
    return MERLE_OK;
}

static merle_err check_bytes(const merle_value *value, merle_report *report) {
    if (value->bytes.size > MERLE_DOCUMENT_SIZE_MAX)
        return mrl_report_fill(report, MERLE_TOO_BIG,
                               "A value has %zu bytes, more than a document.", value->bytes.size);
    if (value->bytes.data == NULL && value->bytes.size > 0)
        return mrl_report_fill(report, MERLE_INVALID, "A value has a size but no bytes.");
    if (value->type == MERLE_TYPE_STR && !mrl_utf8_is_valid(value->bytes.data, value->bytes.size))
        return mrl_report_fill(report, MERLE_BAD_DOCUMENT, "A string is not valid UTF-8.");
    return MERLE_OK;
}

merle_err mrl_value_check(const merle_value *value, uint32_t depth_above, merle_report *report) {
    switch (value->type) {
    case MERLE_TYPE_NIL:
    case MERLE_TYPE_BOOL:
    case MERLE_TYPE_INT:
    case MERLE_TYPE_UINT:
    case MERLE_TYPE_FLOAT:
        return MERLE_OK;
    case MERLE_TYPE_TIME:
        if (value->count <= MRL_NANOSECONDS_MAX) return MERLE_OK;
        return mrl_report_fill(report, MERLE_INVALID, "A timestamp has %u nanoseconds.",
                               value->count);
    case MERLE_TYPE_STR:
    case MERLE_TYPE_BIN:
    case MERLE_TYPE_EXT:
        return check_bytes(value, report);
    case MERLE_TYPE_ARRAY:
    case MERLE_TYPE_MAP: {
        merle_err err = check_bytes(value, report);
        return err != MERLE_OK ? err : check_container(value, depth_above, report);
    }
    default:
        return mrl_report_fill(report, MERLE_INVALID, "A value has no type of merle.");
    }
}

uint8_t *mrl_piece_put(const mrl_piece *piece, uint8_t *out) {
    memcpy(out, piece->head, piece->head_size);
    out += piece->head_size;
    if (piece->body_size > 0) memcpy(out, piece->body, piece->body_size);
    return out + piece->body_size;
}

merle_err mrl_piece_append(const mrl_piece *piece, merle_buffer *buffer) {
    merle_err err = mrl_buffer_reserve(buffer, mrl_piece_size(piece));
    if (err != MERLE_OK) return err;
    mrl_piece_put(piece, buffer->data + buffer->size);
    buffer->size += mrl_piece_size(piece);
    return MERLE_OK;
}
