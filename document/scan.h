/* document/scan.h - reading msgpack that was checked before.
 *
 * What    steps over and reads values in bytes that document/check.h (or merle's own writer)
 *         vouched for. Nothing here tests a bound: handing in bytes that nobody checked is a broken
 *         promise.
 * Owns    nothing, allocates nothing.
 * Threads any.
 * Limits  those of the checker.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DOCUMENT_SCAN_H
#define MRL_DOCUMENT_SCAN_H

#include <string.h>

#include <merle/document.h>

/* The whole size of a value by its first byte, where that byte alone tells it; 0 where it does not
 * (long strings and binaries, arrays, maps, long extensions) or where the byte is reserved. */
extern const uint8_t mrl_scan_sizes[256];

#define MRL_TIME_EXT_TYPE (-1)
#define MRL_NANOSECONDS_MAX 999999999u

static inline uint16_t mrl_scan_u16(const uint8_t *at) {
    uint16_t number;
    memcpy(&number, at, sizeof(number));
    return __builtin_bswap16(number);
}
static inline uint32_t mrl_scan_u32(const uint8_t *at) {
    uint32_t number;
    memcpy(&number, at, sizeof(number));
    return __builtin_bswap32(number);
}
static inline uint64_t mrl_scan_u64(const uint8_t *at) {
    uint64_t number;
    memcpy(&number, at, sizeof(number));
    return __builtin_bswap64(number);
}
static inline void mrl_scan_put_u16(uint8_t *at, uint16_t number) {
    number = __builtin_bswap16(number);
    memcpy(at, &number, sizeof(number));
}
static inline void mrl_scan_put_u32(uint8_t *at, uint32_t number) {
    number = __builtin_bswap32(number);
    memcpy(at, &number, sizeof(number));
}
static inline void mrl_scan_put_u64(uint8_t *at, uint64_t number) {
    number = __builtin_bswap64(number);
    memcpy(at, &number, sizeof(number));
}

/* The first byte behind the value at `at`. The slow one takes every kind of value. */
const uint8_t *mrl_scan_skip_slow(const uint8_t *at);
static inline const uint8_t *mrl_scan_skip(const uint8_t *at) {
    uint8_t size = mrl_scan_sizes[*at];
    if (__builtin_expect(size != 0, 1)) return at + size;
    return mrl_scan_skip_slow(at);
}

/* If there is a string at `at`: its contents, and 1; else {NULL, 0}, and 0. */
static inline int mrl_scan_str(const uint8_t *at, const uint8_t **out_text, uint32_t *out_size) {
    uint8_t head = *at;
    if (__builtin_expect((head & 0xe0) == 0xa0, 1)) {
        *out_text = at + 1;
        *out_size = head & 0x1f;
        return 1;
    }
    if (head < 0xd9 || head > 0xdb) {
        *out_text = NULL;
        *out_size = 0;
        return 0;
    }
    unsigned width = 1u << (head - 0xd9);
    *out_text = at + 1 + width;
    *out_size = width == 1 ? at[1] : width == 2 ? mrl_scan_u16(at + 1) : mrl_scan_u32(at + 1);
    return 1;
}

/* An array's or map's count and first element; MERLE_TYPE_ARRAY, _MAP, or _NONE if it is
 * neither. */
static inline merle_type mrl_scan_container(const uint8_t *at, const uint8_t **out_first,
                                            uint32_t *out_count) {
    uint8_t head = *at;
    if ((head & 0xe0) == 0x80) {
        *out_first = at + 1;
        *out_count = head & 0x0f;
        return head & 0x10 ? MERLE_TYPE_ARRAY : MERLE_TYPE_MAP;
    }
    if (head < 0xdc || head > 0xdf) {
        *out_first = at;
        *out_count = 0;
        return MERLE_TYPE_NONE;
    }
    int wide = head & 1;
    *out_first = at + (wide ? 5 : 3);
    *out_count = wide ? mrl_scan_u32(at + 1) : mrl_scan_u16(at + 1);
    return head >= 0xde ? MERLE_TYPE_MAP : MERLE_TYPE_ARRAY;
}

/* Finds a string key in the map whose pairs begin at `at`: the value's first byte, or NULL. */
static inline const uint8_t *mrl_scan_find(const uint8_t *at, uint32_t count, const uint8_t *key,
                                           uint32_t key_size) {
    for (; count > 0; count--) {
        const uint8_t *text;
        uint32_t size;
        if (mrl_scan_str(at, &text, &size)) {
            at = text + size;
            if (size == key_size && memcmp(text, key, size) == 0) return at;
        } else {
            at = mrl_scan_skip(at);
        }
        at = mrl_scan_skip(at);
    }
    return NULL;
}

/* Reads the value at `at` and gives the first byte behind it. Bytes of the result lie in the
 * document. An extension of type -1 that is no timestamp by msgpack's rules is a plain
 * extension. */
const uint8_t *mrl_scan_value(const uint8_t *at, merle_value *out_value);

/* The type of the value at `at`. */
merle_type mrl_scan_type(const uint8_t *at);

/* How deep arrays and maps stand inside one another in the value at `at`; 0 for a scalar. */
uint32_t mrl_scan_depth(const uint8_t *at);

/* Whether two values are equal: numbers as numbers (5 and 5.0 are equal, NaN equals NaN), strings,
 * binaries, times and extensions by contents, arrays and maps element by element in their order. */
int mrl_scan_equal(const uint8_t *left, const uint8_t *right);

/* The same against a value that was read or checked. */
int mrl_scan_matches(const uint8_t *at, const merle_value *value);

/* The elements of the value at `at`: an array's, or the value itself, which is its only one. nil,
 * and elements that are nil, do not count. */
typedef struct mrl_elements {
    const uint8_t *at;
    uint32_t count; /* still to come */
} mrl_elements;
static inline mrl_elements mrl_elements_of(const uint8_t *at) {
    mrl_elements elements = {at, 1};
    const uint8_t *first;
    uint32_t count;
    if (mrl_scan_container(at, &first, &count) == MERLE_TYPE_ARRAY)
        elements = (mrl_elements){first, count};
    return elements;
}
/* NULL: there are no more. */
static inline const uint8_t *mrl_elements_next(mrl_elements *elements) {
    while (elements->count > 0) {
        const uint8_t *at = elements->at;
        elements->count--;
        elements->at = mrl_scan_skip(at);
        if (*at != 0xc0) return at;
    }
    return NULL;
}

/* The name of a type, for messages: "a string". */
const char *mrl_type_text(merle_type type);

#endif
