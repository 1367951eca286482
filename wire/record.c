/* wire/record.c - writes and reads log records.
 *
 * Writing is part of every commit, so it stores bytes directly; reading trusts nothing that it is
 * given.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "wire/record.h"

#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "wire/bytes.h"

enum {
    HEADER_CHECKED_SIZE = 28, /* the header without its own checksum */
    U32_SIZE_MAX = 5,         /* a msgpack integer of 32 bits */
    I64_SIZE = 9,             /* a msgpack integer of 64 bits */
    LENGTH_SIZE_MAX = 5,      /* the head of any msgpack array, or of a binary */
    OPERATION_PART_COUNT = 6, /* elements of an operation's array */
    BODY_PART_COUNT = 3,      /* elements of a body's array */
    OPERATION_SIZE_MIN = 7 /* the smallest operation there can be: seven bytes of one value each */
};

/* Numbers that stand for a kind and what is_new and was_due say of it: docs/format.md. */
enum {
    NUMBER_INSERT = 9,  /* a PUT that is new */
    NUMBER_EXPIRE = 10, /* a REMOVE of a document that was due */
    NUMBER_RENEW = 11   /* a PUT that is new, over a document that was due */
};

/* ---- frames ---- */

void mrl_frame_write(uint8_t out_header[MRL_FRAME_HEADER_SIZE], const mrl_frame *frame,
                     uint32_t seed) {
    uint8_t *at = mrl_put_little32(out_header, frame->length);
    at = mrl_put_little32(at, frame->body_crc);
    at = mrl_put_little64(at, frame->seq);
    at = mrl_put_little64(at, (uint64_t)frame->time_ns);
    at = mrl_put_little32(at, frame->flags);
    mrl_put_little32(at, mrl_crc32c(seed, out_header, HEADER_CHECKED_SIZE));
}

merle_err mrl_frame_read(const uint8_t header[MRL_FRAME_HEADER_SIZE], uint32_t seed,
                         mrl_frame *out_frame) {
    memset(out_frame, 0, sizeof *out_frame);
    if (mrl_get_little32(header + HEADER_CHECKED_SIZE) !=
        mrl_crc32c(seed, header, HEADER_CHECKED_SIZE))
        return MERLE_CORRUPT;
    out_frame->length = mrl_get_little32(header);
    out_frame->body_crc = mrl_get_little32(header + 4);
    out_frame->seq = mrl_get_little64(header + 8);
    out_frame->time_ns = (int64_t)mrl_get_little64(header + 16);
    out_frame->flags = mrl_get_little32(header + 24);
    return MERLE_OK;
}

/* ---- writing bodies ---- */

size_t mrl_record_begin_size(size_t app_size) {
    return 1 + U32_SIZE_MAX + LENGTH_SIZE_MAX + app_size + LENGTH_SIZE_MAX;
}

size_t mrl_record_operation_size(size_t key_size, size_t payload_size) {
    size_t payload_or_nil = payload_size > 0 ? payload_size : 1;
    size_t numbers_size =
        2 * (size_t)U32_SIZE_MAX + 1 + I64_SIZE; /* collection, slot; kind; expiry */
    return 1 + numbers_size + LENGTH_SIZE_MAX + key_size + payload_or_nil;
}

uint8_t *mrl_record_begin(uint8_t *at, uint32_t origin, merle_bytes app, uint32_t operation_count) {
    MRL_DEBUG_ASSERT(app.size <= MERLE_ORIGIN_SIZE_MAX);
    at = mrl_mp_put_array(at, BODY_PART_COUNT);
    at = mrl_mp_put_u32(at, origin);
    at = app.size > 0 ? mrl_mp_put_bin(at, app) : mrl_mp_put_nil(at);
    return mrl_mp_put_array(at, operation_count);
}

static uint8_t number_of(const mrl_record_operation_view *operation) {
    if (operation->kind == MRL_RECORD_PUT && operation->is_new)
        return operation->was_due ? NUMBER_RENEW : NUMBER_INSERT;
    if (operation->kind == MRL_RECORD_REMOVE && operation->was_due) return NUMBER_EXPIRE;
    return (uint8_t)operation->kind;
}

uint8_t *mrl_record_operation_of(uint8_t *at, const mrl_record_operation_view *operation,
                                 uint8_t **out_slot_at) {
    merle_bytes key = operation->key, payload = operation->payload;
    at = mrl_mp_put_array(at, OPERATION_PART_COUNT);
    at = mrl_mp_put_u32(at, operation->collection_id);
    /* Always the five-byte form: a fresh document gets its slot only when the record is already
     * made. */
    *at++ = MRL_MP_UINT32;
    *out_slot_at = at;
    at = mrl_put_big32(at, operation->slot);
    at = key.size > 0 ? mrl_mp_put_bin(at, key) : mrl_mp_put_nil(at);
    *at++ = number_of(operation);
    if (payload.size > 0) {
        memcpy(at, payload.data, payload.size);
        at += payload.size;
    } else {
        at = mrl_mp_put_nil(at);
    }
    if (operation->expires_ns == 0) return mrl_mp_put_nil(at);
    *at++ = MRL_MP_INT64;
    return mrl_put_big64(at, (uint64_t)operation->expires_ns);
}

uint8_t *mrl_record_operation(uint8_t *at, uint32_t collection_id, uint32_t slot, merle_bytes key,
                              mrl_record_kind kind, merle_bytes payload, int64_t expires_ns,
                              uint8_t **out_slot_at) {
    const mrl_record_operation_view operation = {.collection_id = collection_id,
                                                 .slot = slot,
                                                 .kind = kind,
                                                 .key = key,
                                                 .payload = payload,
                                                 .expires_ns = expires_ns};
    return mrl_record_operation_of(at, &operation, out_slot_at);
}

void mrl_record_slot_set(uint8_t *slot_at, uint32_t slot) {
    mrl_put_big32(slot_at, slot);
}

/* ---- reading bodies ---- */

merle_err mrl_record_read_begin(merle_bytes body, mrl_record_reader *out_reader) {
    const uint8_t *bytes = (const uint8_t *)body.data;
    mrl_mp_cursor cursor = {bytes, bytes + body.size};
    uint32_t part_count = 0, origin = 0, operation_count = 0;
    merle_bytes app = {NULL, 0};
    memset(out_reader, 0, sizeof *out_reader);
    if (body.size == 0) goto fail;
    if (!mrl_mp_get_array(&cursor, &part_count) || part_count != BODY_PART_COUNT) goto fail;
    if (!mrl_mp_get_u32(&cursor, &origin)) goto fail;
    if (!mrl_mp_get_nil(&cursor)) {
        if (!mrl_mp_get_bin(&cursor, &app)) goto fail;
        if (app.size > MERLE_ORIGIN_SIZE_MAX) goto fail;
    }
    if (!mrl_mp_get_array(&cursor, &operation_count)) goto fail;
    /* So that a caller may take the count for true, for instance to make room for what follows. */
    if (operation_count > (size_t)(cursor.end - cursor.at) / OPERATION_SIZE_MIN) goto fail;
    out_reader->at = cursor.at;
    out_reader->end = cursor.end;
    out_reader->origin = origin;
    out_reader->app = app;
    out_reader->operation_count = operation_count;
    return MERLE_OK;
fail:
    return MERLE_CORRUPT;
}

static int is_map(uint8_t first) {
    return (first & 0xf0) == MRL_MP_FIXMAP || first == MRL_MP_MAP16 || first == MRL_MP_MAP32;
}

static int is_array(uint8_t first) {
    return (first & 0xf0) == MRL_MP_FIXARRAY || first == MRL_MP_ARRAY16 || first == MRL_MP_ARRAY32;
}

static int is_unsigned(merle_bytes value) {
    const uint8_t *bytes = (const uint8_t *)value.data;
    mrl_mp_cursor cursor = {bytes, bytes + value.size};
    uint64_t number;
    return mrl_mp_get_u64(&cursor, &number);
}

/* Whether key and payload are of the sort that this kind of operation has. An empty payload
 * is nil. */
static int operation_is_sound(const mrl_record_operation_view *operation) {
    uint8_t first =
        operation->payload.size > 0 ? *(const uint8_t *)operation->payload.data : MRL_MP_NIL;
    size_t key_size = operation->key.size;
    int has_key = key_size > 0 && key_size <= MERLE_KEY_SIZE_MAX;
    switch (operation->kind) {
    case MRL_RECORD_PUT:
        return has_key && is_map(first);
    case MRL_RECORD_PATCH:
        return has_key && is_array(first);
    case MRL_RECORD_REMOVE:
        return has_key && first == MRL_MP_NIL;
    case MRL_RECORD_DEFINE:
        return key_size == 0 && is_map(first);
    case MRL_RECORD_TRUNCATE:
    case MRL_RECORD_DROP:
    case MRL_RECORD_LOADED:
        return key_size == 0 && first == MRL_MP_NIL;
    case MRL_RECORD_SEQUENCE:
        return key_size == 0 && operation->payload.size > 0 && is_unsigned(operation->payload);
    }
    return 0;
}

/* The number of a kind, taken apart. */
static void set_kind(mrl_record_operation_view *operation, uint32_t number) {
    operation->kind = number == NUMBER_INSERT || number == NUMBER_RENEW ? MRL_RECORD_PUT
                      : number == NUMBER_EXPIRE                         ? MRL_RECORD_REMOVE
                                                                        : (mrl_record_kind)number;
    operation->is_new = number == NUMBER_INSERT || number == NUMBER_RENEW;
    operation->was_due = number == NUMBER_EXPIRE || number == NUMBER_RENEW;
}

static int get_payload(mrl_mp_cursor *cursor, merle_bytes *out_payload) {
    const uint8_t *begin = cursor->at;
    *out_payload = merle_bytes_of(NULL, 0);
    if (mrl_mp_get_nil(cursor)) return 1;
    if (!mrl_mp_skip(cursor)) return 0;
    *out_payload = merle_bytes_of(begin, (size_t)(cursor->at - begin));
    return 1;
}

merle_err mrl_record_read_next(mrl_record_reader *reader,
                               mrl_record_operation_view *out_operation) {
    mrl_mp_cursor cursor = {reader->at, reader->end};
    mrl_record_operation_view operation;
    uint32_t part_count = 0, kind = 0;
    memset(&operation, 0, sizeof operation);
    memset(out_operation, 0, sizeof *out_operation);
    if (reader->operation_next == reader->operation_count)
        return reader->at == reader->end ? MERLE_NOT_FOUND : MERLE_CORRUPT;
    if (!mrl_mp_get_array(&cursor, &part_count) || part_count != OPERATION_PART_COUNT) goto fail;
    if (!mrl_mp_get_u32(&cursor, &operation.collection_id)) goto fail;
    if (!mrl_mp_get_u32(&cursor, &operation.slot)) goto fail;
    if (!mrl_mp_get_nil(&cursor)) {
        if (!mrl_mp_get_bin(&cursor, &operation.key) || operation.key.size == 0) goto fail;
    }
    if (!mrl_mp_get_u32(&cursor, &kind)) goto fail;
    set_kind(&operation, kind);
    if (!get_payload(&cursor, &operation.payload)) goto fail;
    if (!mrl_mp_get_nil(&cursor) && !mrl_mp_get_i64(&cursor, &operation.expires_ns)) goto fail;
    if (!operation_is_sound(&operation)) goto fail;
    operation.bytes = merle_bytes_of(reader->at, (size_t)(cursor.at - reader->at));
    *out_operation = operation;
    reader->at = cursor.at;
    reader->operation_next++;
    return MERLE_OK;
fail:
    return MERLE_CORRUPT;
}
