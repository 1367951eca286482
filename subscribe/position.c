/* subscribe/position.c - the bytes of a position.
 * SPDX-License-Identifier: Apache-2.0 */
#include "subscribe/position.h"

#include "base/buffer.h"
#include "base/crc32c.h"
#include "wire/bytes.h"

enum {
    VERSION = 1,
    HEAD_SIZE = 4 + 4 + MRL_WIRE_HISTORY_SIZE + 8 + 4 + 4 + 4,
    PART_SIZE = 1 + 1 + 4 + 4, /* and the name */
    FLAG_ALL = 1,
    CRC_SIZE = 4
};

static const uint8_t magic[4] = {'m', 'r', 'l', 'S'};

uint32_t mrl_position_filter(merle_bytes prefix, merle_bytes condition) {
    uint8_t size[8];
    (void)mrl_put_little64(size, prefix.size);
    uint32_t number = mrl_crc32c(0, size, sizeof size);
    number = mrl_crc32c(number, prefix.data, prefix.size);
    return mrl_crc32c(number, condition.data, condition.size);
}

merle_err mrl_position_write_begin(const mrl_position *position, uint32_t part_count,
                                   merle_buffer *buffer) {
    merle_err err = mrl_buffer_reserve(buffer, HEAD_SIZE);
    if (err != MERLE_OK) return err;
    uint8_t *at = buffer->data + buffer->size;
    memcpy(at, magic, sizeof magic);
    at = mrl_put_little32(at + sizeof magic, VERSION);
    memcpy(at, position->history.bytes, MRL_WIRE_HISTORY_SIZE);
    at = mrl_put_little64(at + MRL_WIRE_HISTORY_SIZE, position->seq);
    at = mrl_put_little32(at, position->position);
    at = mrl_put_little32(at, position->has_all ? FLAG_ALL : 0);
    (void)mrl_put_little32(at, part_count);
    buffer->size += HEAD_SIZE;
    return MERLE_OK;
}

merle_err mrl_position_write_part(const mrl_position_part *part, merle_buffer *buffer) {
    uint8_t head[PART_SIZE] = {(uint8_t)part->name.size, part->has_id != 0};
    (void)mrl_put_little32(mrl_put_little32(head + 2, part->has_id ? part->id : 0), part->filter);
    merle_err err = mrl_buffer_reserve(buffer, PART_SIZE + part->name.size);
    if (err == MERLE_OK) err = mrl_buffer_append(buffer, head, PART_SIZE);
    if (err == MERLE_OK) err = mrl_buffer_append(buffer, part->name.data, part->name.size);
    return err;
}

merle_err mrl_position_write_end(merle_buffer *buffer) {
    uint8_t crc[CRC_SIZE];
    (void)mrl_put_little32(crc, mrl_crc32c(0, buffer->data, buffer->size));
    return mrl_buffer_append(buffer, crc, sizeof crc);
}

/* 0: the parts do not fill the bytes exactly. */
static int parts_fit(merle_bytes bytes, uint32_t part_count) {
    const uint8_t *at = (const uint8_t *)bytes.data + HEAD_SIZE;
    const uint8_t *end = (const uint8_t *)bytes.data + bytes.size - CRC_SIZE;
    for (uint32_t i = 0; i < part_count; i++) {
        if (end - at < PART_SIZE) return 0;
        uint8_t name_size = at[0];
        if (name_size == 0 || name_size > MERLE_NAME_SIZE_MAX || at[1] > 1) return 0;
        at += PART_SIZE;
        if (end - at < name_size) return 0;
        at += name_size;
    }
    return at == end;
}

merle_err mrl_position_read(merle_bytes bytes, mrl_position *out_position,
                            uint32_t *out_part_count) {
    const uint8_t *at = bytes.data;
    *out_position = (mrl_position){.seq = 0};
    *out_part_count = 0;
    if (bytes.size < HEAD_SIZE + CRC_SIZE || memcmp(at, magic, sizeof magic) != 0)
        return MERLE_INVALID;
    if (mrl_get_little32(at + bytes.size - CRC_SIZE) != mrl_crc32c(0, at, bytes.size - CRC_SIZE))
        return MERLE_INVALID;
    if (mrl_get_little32(at + 4) != VERSION) return MERLE_UNSUPPORTED;
    uint32_t part_count = mrl_get_little32(at + HEAD_SIZE - 4);
    uint32_t flags = mrl_get_little32(at + HEAD_SIZE - 8);
    if (flags > FLAG_ALL || !parts_fit(bytes, part_count)) return MERLE_INVALID;
    memcpy(out_position->history.bytes, at + 8, MRL_WIRE_HISTORY_SIZE);
    out_position->seq = mrl_get_little64(at + 8 + MRL_WIRE_HISTORY_SIZE);
    out_position->position = mrl_get_little32(at + 16 + MRL_WIRE_HISTORY_SIZE);
    out_position->has_all = flags == FLAG_ALL;
    *out_part_count = part_count;
    return MERLE_OK;
}

void mrl_position_part_get(merle_bytes bytes, uint32_t number, mrl_position_part *out_part) {
    const uint8_t *at = (const uint8_t *)bytes.data + HEAD_SIZE;
    for (; number > 0; number--) at += PART_SIZE + at[0];
    *out_part = (mrl_position_part){.name = {at + PART_SIZE, at[0]},
                                    .has_id = at[1],
                                    .id = mrl_get_little32(at + 2),
                                    .filter = mrl_get_little32(at + 6)};
}
