/* wire/bytes.c - reading single msgpack values out of bytes that nobody has checked.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "wire/bytes.h"

static size_t bytes_left(const mrl_mp_cursor *cursor) {
    return (size_t)(cursor->end - cursor->at);
}

/* Reads an integer of any form into 64 bits; *out_negative says how the bits are to be read. */
static int get_integer(mrl_mp_cursor *cursor, uint64_t *out_bits, int *out_negative) {
    size_t left = bytes_left(cursor);
    if (left == 0) return 0;
    uint8_t first = *cursor->at;
    *out_negative = 0;
    if (first < 0x80 || first >= 0xe0) {
        *out_bits = (uint64_t)(int64_t)(int8_t)first;
        *out_negative = first >= 0xe0;
        cursor->at++;
        return 1;
    }
    if (first < MRL_MP_UINT8 || first > MRL_MP_INT64) return 0;
    /* The eight forms stand in order: four unsigned widths, then four signed ones. */
    size_t width = (size_t)1 << ((first - MRL_MP_UINT8) & 3);
    if (left < 1 + width) return 0;
    const uint8_t *at = cursor->at + 1;
    uint64_t bits = width == 1   ? at[0]
                    : width == 2 ? mrl_get_big16(at)
                    : width == 4 ? mrl_get_big32(at)
                                 : mrl_get_big64(at);
    if (first >= MRL_MP_INT8) {
        unsigned sign_at = (unsigned)(8 * width - 1);
        *out_negative = (bits >> sign_at) & 1;
        if (*out_negative && width < 8) bits |= ~(uint64_t)0 << sign_at;
    }
    *out_bits = bits;
    cursor->at += 1 + width;
    return 1;
}

int mrl_mp_get_u64(mrl_mp_cursor *cursor, uint64_t *out_number) {
    mrl_mp_cursor next = *cursor;
    uint64_t bits;
    int negative;
    if (!get_integer(&next, &bits, &negative) || negative) return 0;
    *out_number = bits;
    *cursor = next;
    return 1;
}

int mrl_mp_get_u32_long(mrl_mp_cursor *cursor, uint32_t *out_number) {
    mrl_mp_cursor next = *cursor;
    uint64_t number;
    if (!mrl_mp_get_u64(&next, &number) || number > UINT32_MAX) return 0;
    *out_number = (uint32_t)number;
    *cursor = next;
    return 1;
}

int mrl_mp_get_i64(mrl_mp_cursor *cursor, int64_t *out_number) {
    mrl_mp_cursor next = *cursor;
    uint64_t bits;
    int negative;
    if (!get_integer(&next, &bits, &negative)) return 0;
    if (!negative && bits > (uint64_t)INT64_MAX) return 0;
    *out_number = (int64_t)bits;
    *cursor = next;
    return 1;
}

/* A big-endian length of 1, 2 or 4 bytes behind the first byte; the cursor is left behind it. */
static int get_length(mrl_mp_cursor *cursor, size_t width, uint32_t *out_length) {
    if (bytes_left(cursor) < 1 + width) return 0;
    const uint8_t *at = cursor->at + 1;
    *out_length = width == 1 ? at[0] : width == 2 ? mrl_get_big16(at) : mrl_get_big32(at);
    cursor->at += 1 + width;
    return 1;
}

int mrl_mp_get_array_long(mrl_mp_cursor *cursor, uint32_t *out_count) {
    if (cursor->at == cursor->end) return 0;
    uint8_t first = *cursor->at;
    if (first != MRL_MP_ARRAY16 && first != MRL_MP_ARRAY32) return 0;
    return get_length(cursor, first == MRL_MP_ARRAY16 ? 2 : 4, out_count);
}

int mrl_mp_get_bin(mrl_mp_cursor *cursor, merle_bytes *out_bytes) {
    mrl_mp_cursor next = *cursor;
    uint32_t size;
    if (next.at == next.end || *next.at < MRL_MP_BIN8 || *next.at > MRL_MP_BIN32) return 0;
    if (!get_length(&next, (size_t)1 << (*next.at - MRL_MP_BIN8), &size)) return 0;
    if (bytes_left(&next) < size) return 0;
    *out_bytes = merle_bytes_of(next.at, size);
    next.at += size;
    *cursor = next;
    return 1;
}

int mrl_mp_get_str(mrl_mp_cursor *cursor, merle_bytes *out_text) {
    mrl_mp_cursor next = *cursor;
    uint32_t size;
    if (next.at == next.end) return 0;
    uint8_t first = *next.at;
    if ((first & 0xe0) == MRL_MP_FIXSTR) {
        size = first & 0x1f;
        next.at++;
    } else {
        if (first < MRL_MP_STR8 || first > MRL_MP_STR32) return 0;
        if (!get_length(&next, (size_t)1 << (first - MRL_MP_STR8), &size)) return 0;
    }
    if (bytes_left(&next) < size) return 0;
    *out_text = merle_bytes_of(next.at, size);
    next.at += size;
    *cursor = next;
    return 1;
}

/* Steps over the head of one value and its flat contents (a string's bytes, a number); what a map
 * or an array has inside follows and is told by *out_inside. Returns 0 where the bytes end too
 * early. */
static int skip_head(mrl_mp_cursor *cursor, uint64_t *out_inside) {
    if (cursor->at == cursor->end) return 0;
    uint8_t first = *cursor->at;
    uint32_t length = 0;
    size_t flat = 0;
    *out_inside = 0;
    if (first < 0x80 || first >= 0xe0) {
        flat = 1;
    } else if (first < 0x90) {
        flat = 1;
        *out_inside = 2 * (uint64_t)(first & 0x0f);
    } else if (first < 0xa0) {
        flat = 1;
        *out_inside = first & 0x0f;
    } else if (first < 0xc0) {
        flat = 1 + (size_t)(first & 0x1f);
    } else if (first == MRL_MP_UNUSED) {
        return 0;
    } else if (first < MRL_MP_BIN8) {
        flat = 1; /* nil, false, true */
    } else if (first < MRL_MP_EXT8) {
        if (!get_length(cursor, (size_t)1 << (first - MRL_MP_BIN8), &length)) return 0;
        flat = length;
    } else if (first < MRL_MP_FLOAT32) {
        if (!get_length(cursor, (size_t)1 << (first - MRL_MP_EXT8), &length)) return 0;
        flat = (size_t)length + 1; /* the type of the extension */
    } else if (first < MRL_MP_UINT8) {
        flat = first == MRL_MP_FLOAT32 ? 5 : 9;
    } else if (first < MRL_MP_FIXEXT1) {
        flat = 1 + ((size_t)1 << ((first - MRL_MP_UINT8) & 3));
    } else if (first < MRL_MP_STR8) {
        flat = 2 + ((size_t)1 << (first - MRL_MP_FIXEXT1));
    } else if (first < MRL_MP_ARRAY16) {
        if (!get_length(cursor, (size_t)1 << (first - MRL_MP_STR8), &length)) return 0;
        flat = length;
    } else {
        if (!get_length(cursor, first == MRL_MP_ARRAY16 || first == MRL_MP_MAP16 ? 2 : 4, &length))
            return 0;
        *out_inside = first >= MRL_MP_MAP16 ? 2 * (uint64_t)length : length;
    }
    if (bytes_left(cursor) < flat) return 0;
    cursor->at += flat;
    return 1;
}

int mrl_mp_skip(mrl_mp_cursor *cursor) {
    mrl_mp_cursor next = *cursor;
    /* Values that are still to come. It never exceeds the bytes that are left, so it cannot
     * overflow and a small body that claims a huge array is refused at once. */
    uint64_t wanted = 1;
    while (wanted > 0) {
        uint64_t inside;
        if (!skip_head(&next, &inside)) return 0;
        wanted += inside - 1;
        if (wanted > bytes_left(&next)) return 0;
    }
    *cursor = next;
    return 1;
}
