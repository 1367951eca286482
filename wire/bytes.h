/* wire/bytes.h - writing and reading msgpack by hand: the few forms that records use.
 *
 * What    Inline stores and loads of single msgpack values. Writers take the shortest form unless
 *         they say otherwise; readers take every form that the msgpack specification has for the
 *         type.
 * Owns    nothing. A cursor borrows the bytes as long as it is used.
 * Threads any; no state.
 * Limits  writers trust the caller's room; readers check every length against what is there.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_WIRE_BYTES_H
#define MRL_WIRE_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <merle/base.h>

/* First bytes of the msgpack forms that have no value of their own in them. */
enum {
    MRL_MP_NIL = 0xc0,
    MRL_MP_UNUSED = 0xc1, /* stands for nothing in msgpack */
    MRL_MP_FALSE = 0xc2,
    MRL_MP_TRUE = 0xc3,
    MRL_MP_BIN8 = 0xc4,
    MRL_MP_BIN16 = 0xc5,
    MRL_MP_BIN32 = 0xc6,
    MRL_MP_EXT8 = 0xc7,
    MRL_MP_FLOAT32 = 0xca,
    MRL_MP_UINT8 = 0xcc,
    MRL_MP_UINT16 = 0xcd,
    MRL_MP_UINT32 = 0xce,
    MRL_MP_UINT64 = 0xcf,
    MRL_MP_INT8 = 0xd0,
    MRL_MP_INT16 = 0xd1,
    MRL_MP_INT32 = 0xd2,
    MRL_MP_INT64 = 0xd3,
    MRL_MP_FIXEXT1 = 0xd4,
    MRL_MP_STR8 = 0xd9,
    MRL_MP_STR16 = 0xda,
    MRL_MP_STR32 = 0xdb,
    MRL_MP_ARRAY16 = 0xdc,
    MRL_MP_ARRAY32 = 0xdd,
    MRL_MP_MAP16 = 0xde,
    MRL_MP_MAP32 = 0xdf,
    MRL_MP_FIXMAP = 0x80,
    MRL_MP_FIXARRAY = 0x90,
    MRL_MP_FIXSTR = 0xa0
};

/* ---- numbers of a fixed order of bytes ---- */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define MRL_BIG_16(v) __builtin_bswap16(v)
#define MRL_BIG_32(v) __builtin_bswap32(v)
#define MRL_BIG_64(v) __builtin_bswap64(v)
#define MRL_LITTLE_32(v) (v)
#define MRL_LITTLE_64(v) (v)
#else
#define MRL_BIG_16(v) (v)
#define MRL_BIG_32(v) (v)
#define MRL_BIG_64(v) (v)
#define MRL_LITTLE_32(v) __builtin_bswap32(v)
#define MRL_LITTLE_64(v) __builtin_bswap64(v)
#endif

/* Each stores at `at` and returns the first byte behind. */
static inline uint8_t *mrl_put_big16(uint8_t *at, uint16_t v) {
    v = MRL_BIG_16(v);
    memcpy(at, &v, sizeof v);
    return at + sizeof v;
}
static inline uint8_t *mrl_put_big32(uint8_t *at, uint32_t v) {
    v = MRL_BIG_32(v);
    memcpy(at, &v, sizeof v);
    return at + sizeof v;
}
static inline uint8_t *mrl_put_big64(uint8_t *at, uint64_t v) {
    v = MRL_BIG_64(v);
    memcpy(at, &v, sizeof v);
    return at + sizeof v;
}
static inline uint8_t *mrl_put_little32(uint8_t *at, uint32_t v) {
    v = MRL_LITTLE_32(v);
    memcpy(at, &v, sizeof v);
    return at + sizeof v;
}
static inline uint8_t *mrl_put_little64(uint8_t *at, uint64_t v) {
    v = MRL_LITTLE_64(v);
    memcpy(at, &v, sizeof v);
    return at + sizeof v;
}

static inline uint16_t mrl_get_big16(const uint8_t *at) {
    uint16_t v;
    memcpy(&v, at, sizeof v);
    return MRL_BIG_16(v);
}
static inline uint32_t mrl_get_big32(const uint8_t *at) {
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return MRL_BIG_32(v);
}
static inline uint64_t mrl_get_big64(const uint8_t *at) {
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return MRL_BIG_64(v);
}
static inline uint32_t mrl_get_little32(const uint8_t *at) {
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return MRL_LITTLE_32(v);
}
static inline uint64_t mrl_get_little64(const uint8_t *at) {
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return MRL_LITTLE_64(v);
}

/* ---- writing msgpack ---- */

static inline uint8_t *mrl_mp_put_nil(uint8_t *at) {
    *at = MRL_MP_NIL;
    return at + 1;
}
/* At most 5 bytes. */
static inline uint8_t *mrl_mp_put_u32(uint8_t *at, uint32_t v) {
    if (v < 128) {
        *at = (uint8_t)v;
        return at + 1;
    }
    if (v < 256) {
        at[0] = MRL_MP_UINT8;
        at[1] = (uint8_t)v;
        return at + 2;
    }
    if (v < 65536) {
        at[0] = MRL_MP_UINT16;
        return mrl_put_big16(at + 1, (uint16_t)v);
    }
    at[0] = MRL_MP_UINT32;
    return mrl_put_big32(at + 1, v);
}
/* At most 9 bytes. */
static inline uint8_t *mrl_mp_put_u64(uint8_t *at, uint64_t v) {
    if (v <= UINT32_MAX) return mrl_mp_put_u32(at, (uint32_t)v);
    *at = MRL_MP_UINT64;
    return mrl_put_big64(at + 1, v);
}
/* At most 9 bytes. Negative numbers take all of them: they are rare. */
static inline uint8_t *mrl_mp_put_i64(uint8_t *at, int64_t v) {
    if (v >= 0) return mrl_mp_put_u64(at, (uint64_t)v);
    *at = MRL_MP_INT64;
    return mrl_put_big64(at + 1, (uint64_t)v);
}
/* At most 5 bytes. */
static inline uint8_t *mrl_mp_put_array(uint8_t *at, uint32_t count) {
    if (count < 16) {
        *at = (uint8_t)(MRL_MP_FIXARRAY | count);
        return at + 1;
    }
    if (count < 65536) {
        at[0] = MRL_MP_ARRAY16;
        return mrl_put_big16(at + 1, (uint16_t)count);
    }
    at[0] = MRL_MP_ARRAY32;
    return mrl_put_big32(at + 1, count);
}
/* At most 5 bytes and the contents. */
static inline uint8_t *mrl_mp_put_bin(uint8_t *at, merle_bytes bytes) {
    if (bytes.size < 256) {
        at[0] = MRL_MP_BIN8;
        at[1] = (uint8_t)bytes.size;
        at += 2;
    } else if (bytes.size < 65536) {
        at[0] = MRL_MP_BIN16;
        at = mrl_put_big16(at + 1, (uint16_t)bytes.size);
    } else {
        at[0] = MRL_MP_BIN32;
        at = mrl_put_big32(at + 1, (uint32_t)bytes.size);
    }
    if (bytes.size > 0) memcpy(at, bytes.data, bytes.size);
    return at + bytes.size;
}

/* At most 5 bytes and the contents. */
static inline uint8_t *mrl_mp_put_str(uint8_t *at, merle_bytes text) {
    if (text.size < 32) {
        *at++ = (uint8_t)(MRL_MP_FIXSTR | text.size);
    } else if (text.size < 256) {
        at[0] = MRL_MP_STR8;
        at[1] = (uint8_t)text.size;
        at += 2;
    } else if (text.size < 65536) {
        at[0] = MRL_MP_STR16;
        at = mrl_put_big16(at + 1, (uint16_t)text.size);
    } else {
        at[0] = MRL_MP_STR32;
        at = mrl_put_big32(at + 1, (uint32_t)text.size);
    }
    if (text.size > 0) memcpy(at, text.data, text.size);
    return at + text.size;
}

/* ---- reading msgpack ---- each moves the cursor behind the value, or returns 0 and leaves it */

typedef struct mrl_mp_cursor {
    const uint8_t *at;
    const uint8_t *end;
} mrl_mp_cursor;

/* The next value is nil. */
static inline int mrl_mp_get_nil(mrl_mp_cursor *cursor) {
    if (cursor->at == cursor->end || *cursor->at != MRL_MP_NIL) return 0;
    cursor->at++;
    return 1;
}
/* An integer of any form. A number that does not fit the result is refused. */
int mrl_mp_get_u64(mrl_mp_cursor *cursor, uint64_t *out_number);
int mrl_mp_get_u32_long(mrl_mp_cursor *cursor, uint32_t *out_number);
int mrl_mp_get_i64(mrl_mp_cursor *cursor, int64_t *out_number);
/* Most numbers are one byte. */
static inline int mrl_mp_get_u32(mrl_mp_cursor *cursor, uint32_t *out_number) {
    if (cursor->at == cursor->end || *cursor->at >= 0x80)
        return mrl_mp_get_u32_long(cursor, out_number);
    *out_number = *cursor->at++;
    return 1;
}
/* The head of an array; its elements follow. */
int mrl_mp_get_array_long(mrl_mp_cursor *cursor, uint32_t *out_count);
static inline int mrl_mp_get_array(mrl_mp_cursor *cursor, uint32_t *out_count) {
    if (cursor->at == cursor->end || (*cursor->at & 0xf0) != MRL_MP_FIXARRAY)
        return mrl_mp_get_array_long(cursor, out_count);
    *out_count = *cursor->at++ & 0x0f;
    return 1;
}
int mrl_mp_get_bin(mrl_mp_cursor *cursor, merle_bytes *out_bytes);
/* The bytes of a string; nobody looks whether they are UTF-8. */
int mrl_mp_get_str(mrl_mp_cursor *cursor, merle_bytes *out_text);
/* Steps over one value with all that is in it, whatever its depth: no recursion. */
int mrl_mp_skip(mrl_mp_cursor *cursor);

#endif
