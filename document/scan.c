/* document/scan.c - reading msgpack that was checked before. SPDX-License-Identifier: Apache-2.0 */
#include "document/scan.h"

#include "base/assert.h"
#include "document/encode.h"

#define FOUR(x) x, x, x, x
#define SIXTEEN(x) FOUR(x), FOUR(x), FOUR(x), FOUR(x)
#define UP4(x) x, x + 1, x + 2, x + 3

/* Empty arrays and maps are scalars here: one byte, nothing behind it. */
const uint8_t mrl_scan_sizes[256] = {SIXTEEN(1),
                                     SIXTEEN(1),
                                     SIXTEEN(1),
                                     SIXTEEN(1),
                                     SIXTEEN(1),
                                     SIXTEEN(1),
                                     SIXTEEN(1),
                                     SIXTEEN(1),
                                     /* 80 map */ 1,
                                     0,
                                     0,
                                     0,
                                     FOUR(0),
                                     FOUR(0),
                                     FOUR(0),
                                     /* 90 array */ 1,
                                     0,
                                     0,
                                     0,
                                     FOUR(0),
                                     FOUR(0),
                                     FOUR(0),
                                     /* a0 string */ UP4(1),
                                     UP4(5),
                                     UP4(9),
                                     UP4(13),
                                     UP4(17),
                                     UP4(21),
                                     UP4(25),
                                     UP4(29),
                                     /* c0 nil, reserved, false, true; bin 8-32; ext 8 */ 1,
                                     0,
                                     1,
                                     1,
                                     FOUR(0),
                                     /* c8 ext 16, ext 32, float 32, float 64; uint 8-64 */ 0,
                                     0,
                                     5,
                                     9,
                                     2,
                                     3,
                                     5,
                                     9,
                                     /* d0 int 8-64; fixext 1-8 */ 2,
                                     3,
                                     5,
                                     9,
                                     3,
                                     4,
                                     6,
                                     10,
                                     /* d8 fixext 16, str 8-32, array 16-32, map 16-32 */ 18,
                                     0,
                                     0,
                                     0,
                                     FOUR(0),
                                     /* e0 negative */ SIXTEEN(1),
                                     SIXTEEN(1)};

const uint8_t *mrl_scan_skip_slow(const uint8_t *at) {
    /* How many values are still to be passed; what stands inside counts like what stands behind. */
    uint64_t left = 1;
    while (left > 0) {
        left--;
        uint8_t head = *at;
        uint8_t size = mrl_scan_sizes[head];
        if (size != 0) {
            at += size;
            continue;
        }
        const uint8_t *first;
        uint32_t count;
        merle_type type = mrl_scan_container(at, &first, &count);
        if (type != MERLE_TYPE_NONE) {
            left += type == MERLE_TYPE_MAP ? 2 * (uint64_t)count : count;
            at = first;
            continue;
        }
        merle_value value;
        at = mrl_scan_value(at, &value);
    }
    return at;
}

static const uint8_t *bytes_value(const uint8_t *at, merle_type type, size_t size,
                                  merle_value *out_value) {
    out_value->type = type;
    out_value->bytes = merle_bytes_of(at, size);
    return at + size;
}

static const uint8_t *signed_value(const uint8_t *behind, int64_t number, merle_value *out_value) {
    out_value->type = MERLE_TYPE_INT;
    out_value->number.i = number;
    return behind;
}

static const uint8_t *unsigned_value(const uint8_t *behind, uint64_t number,
                                     merle_value *out_value) {
    out_value->type = number > (uint64_t)INT64_MAX ? MERLE_TYPE_UINT : MERLE_TYPE_INT;
    out_value->number.u = number;
    return behind;
}

static const uint8_t *float_value(const uint8_t *behind, double number, merle_value *out_value) {
    out_value->type = MERLE_TYPE_FLOAT;
    out_value->number.f = number;
    return behind;
}

static const uint8_t *time_value(const uint8_t *behind, int64_t seconds, uint32_t nanoseconds,
                                 merle_value *out_value) {
    out_value->type = MERLE_TYPE_TIME;
    out_value->number.i = seconds;
    out_value->count = nanoseconds;
    return behind;
}

/* `at` is the type byte; the contents follow it. */
static const uint8_t *ext_value(const uint8_t *at, uint32_t size, merle_value *out_value) {
    const uint8_t *data = at + 1;
    int8_t type = (int8_t)*at;
    if (type == MRL_TIME_EXT_TYPE) {
        if (size == 4) return time_value(data + 4, mrl_scan_u32(data), 0, out_value);
        if (size == 8) {
            uint64_t both = mrl_scan_u64(data);
            if (both >> 34 <= MRL_NANOSECONDS_MAX)
                return time_value(data + 8, (int64_t)(both & 0x3ffffffffu), (uint32_t)(both >> 34),
                                  out_value);
        }
        if (size == 12 && mrl_scan_u32(data) <= MRL_NANOSECONDS_MAX)
            return time_value(data + 12, (int64_t)mrl_scan_u64(data + 4), mrl_scan_u32(data),
                              out_value);
    }
    out_value->ext_type = type;
    return bytes_value(data, MERLE_TYPE_EXT, size, out_value);
}

static const uint8_t *container_value(const uint8_t *at, merle_value *out_value) {
    const uint8_t *first;
    merle_type type = mrl_scan_container(at, &first, &out_value->count);
    const uint8_t *behind = mrl_scan_skip(at);
    bytes_value(at, type, (size_t)(behind - at), out_value);
    return behind;
}

static float load_float32(const uint8_t *at) {
    uint32_t bits = mrl_scan_u32(at);
    float number;
    memcpy(&number, &bits, sizeof(number));
    return number;
}

static double load_float64(const uint8_t *at) {
    uint64_t bits = mrl_scan_u64(at);
    double number;
    memcpy(&number, &bits, sizeof(number));
    return number;
}

/* The values whose first byte is from c0 to df: each has its own form. */
static const uint8_t *formed_value(const uint8_t *at, merle_value *out_value) {
    const uint8_t *body = at + 1;
    switch (*at) {
    case 0xc0:
        out_value->type = MERLE_TYPE_NIL;
        return body;
    case 0xc2:
    case 0xc3:
        out_value->type = MERLE_TYPE_BOOL;
        out_value->number.i = *at & 1;
        return body;
    case 0xc4:
        return bytes_value(body + 1, MERLE_TYPE_BIN, *body, out_value);
    case 0xc5:
        return bytes_value(body + 2, MERLE_TYPE_BIN, mrl_scan_u16(body), out_value);
    case 0xc6:
        return bytes_value(body + 4, MERLE_TYPE_BIN, mrl_scan_u32(body), out_value);
    case 0xc7:
        return ext_value(body + 1, *body, out_value);
    case 0xc8:
        return ext_value(body + 2, mrl_scan_u16(body), out_value);
    case 0xc9:
        return ext_value(body + 4, mrl_scan_u32(body), out_value);
    case 0xca:
        return float_value(body + 4, (double)load_float32(body), out_value);
    case 0xcb:
        return float_value(body + 8, load_float64(body), out_value);
    case 0xcc:
        return unsigned_value(body + 1, *body, out_value);
    case 0xcd:
        return unsigned_value(body + 2, mrl_scan_u16(body), out_value);
    case 0xce:
        return unsigned_value(body + 4, mrl_scan_u32(body), out_value);
    case 0xcf:
        return unsigned_value(body + 8, mrl_scan_u64(body), out_value);
    case 0xd0:
        return signed_value(body + 1, (int8_t)*body, out_value);
    case 0xd1:
        return signed_value(body + 2, (int16_t)mrl_scan_u16(body), out_value);
    case 0xd2:
        return signed_value(body + 4, (int32_t)mrl_scan_u32(body), out_value);
    case 0xd3:
        return signed_value(body + 8, (int64_t)mrl_scan_u64(body), out_value);
    case 0xd4:
        return ext_value(body, 1, out_value);
    case 0xd5:
        return ext_value(body, 2, out_value);
    case 0xd6:
        return ext_value(body, 4, out_value);
    case 0xd7:
        return ext_value(body, 8, out_value);
    case 0xd8:
        return ext_value(body, 16, out_value);
    case 0xd9:
        return bytes_value(body + 1, MERLE_TYPE_STR, *body, out_value);
    case 0xda:
        return bytes_value(body + 2, MERLE_TYPE_STR, mrl_scan_u16(body), out_value);
    case 0xdb:
        return bytes_value(body + 4, MERLE_TYPE_STR, mrl_scan_u32(body), out_value);
    default:
        MRL_ASSERT(*at >= 0xdc && *at <= 0xdf);
        return container_value(at, out_value);
    }
}

const uint8_t *mrl_scan_value(const uint8_t *at, merle_value *out_value) {
    static const merle_value none;
    uint8_t head = *at;
    *out_value = none;
    if (head < 0x80) return signed_value(at + 1, head, out_value);
    if (head >= 0xe0) return signed_value(at + 1, (int8_t)head, out_value);
    if ((head & 0xe0) == 0xa0) return bytes_value(at + 1, MERLE_TYPE_STR, head & 0x1f, out_value);
    if (head < 0xa0) return container_value(at, out_value);
    return formed_value(at, out_value);
}

merle_type mrl_scan_type(const uint8_t *at) {
    const uint8_t *first;
    uint32_t count;
    merle_type type = mrl_scan_container(at, &first, &count);
    if (type != MERLE_TYPE_NONE) return type;
    merle_value value;
    mrl_scan_value(at, &value);
    return value.type;
}

uint32_t mrl_scan_depth(const uint8_t *at) {
    uint64_t left[MERLE_DEPTH_MAX + 1];
    uint32_t depth = 0, deepest = 0;
    left[0] = 1;
    for (;;) {
        while (left[depth] == 0) {
            if (depth == 0) return deepest;
            depth--;
        }
        left[depth]--;
        const uint8_t *first;
        uint32_t count;
        merle_type type = mrl_scan_container(at, &first, &count);
        if (type == MERLE_TYPE_NONE) {
            at = mrl_scan_skip(at);
            continue;
        }
        MRL_ASSERT(depth < MERLE_DEPTH_MAX);
        left[++depth] = type == MERLE_TYPE_MAP ? 2 * (uint64_t)count : count;
        at = first;
        if (depth > deepest) deepest = depth;
    }
}

static int is_number(merle_type type) {
    return type == MERLE_TYPE_INT || type == MERLE_TYPE_UINT || type == MERLE_TYPE_FLOAT;
}

static int scalars_equal(const merle_value *left, const merle_value *right) {
    if (is_number(left->type) && is_number(right->type)) {
        if (left->type == right->type && left->type != MERLE_TYPE_FLOAT)
            return left->number.u == right->number.u;
        uint8_t one[MRL_ENCODE_SCALAR_SIZE_MAX], other[MRL_ENCODE_SCALAR_SIZE_MAX];
        size_t one_size, other_size;
        merle_err err = mrl_encode_value(left, 0, one, sizeof(one), &one_size);
        if (err == MERLE_OK) err = mrl_encode_value(right, 0, other, sizeof(other), &other_size);
        MRL_ASSERT(err == MERLE_OK);
        return one_size == other_size && memcmp(one, other, one_size) == 0;
    }
    if (left->type != right->type) return 0;
    switch (left->type) {
    case MERLE_TYPE_NIL:
        return 1;
    case MERLE_TYPE_BOOL:
        return left->number.i == right->number.i;
    case MERLE_TYPE_TIME:
        return left->number.i == right->number.i && left->count == right->count;
    default:
        if (left->ext_type != right->ext_type || left->bytes.size != right->bytes.size) return 0;
        return left->bytes.size == 0 ||
               memcmp(left->bytes.data, right->bytes.data, left->bytes.size) == 0;
    }
}

/* Both values are walked side by side; as they must have the same shape, one count is enough. */
int mrl_scan_equal(const uint8_t *left, const uint8_t *right) {
    uint64_t count_left = 1;
    /* Two short strings, most of the time: their heads are their sizes. */
    if ((*left & 0xe0) == 0xa0 && (*right & 0xe0) == 0xa0)
        return *left == *right && memcmp(left + 1, right + 1, *left & 0x1f) == 0;
    while (count_left > 0) {
        const uint8_t *first, *other_first;
        uint32_t count, other_count;
        count_left--;
        merle_type type = mrl_scan_container(left, &first, &count);
        if (type != mrl_scan_container(right, &other_first, &other_count)) return 0;
        if (type != MERLE_TYPE_NONE) {
            if (count != other_count) return 0;
            count_left += type == MERLE_TYPE_MAP ? 2 * (uint64_t)count : count;
            left = first;
            right = other_first;
            continue;
        }
        merle_value one, other;
        left = mrl_scan_value(left, &one);
        right = mrl_scan_value(right, &other);
        if (!scalars_equal(&one, &other)) return 0;
    }
    return 1;
}

int mrl_scan_matches(const uint8_t *at, const merle_value *value) {
    const uint8_t *first;
    uint32_t count;
    merle_type type = mrl_scan_container(at, &first, &count);
    if (value->type == MERLE_TYPE_ARRAY || value->type == MERLE_TYPE_MAP)
        return type == value->type && mrl_scan_equal(at, value->bytes.data);
    if (type != MERLE_TYPE_NONE) return 0;
    merle_value read;
    mrl_scan_value(at, &read);
    return scalars_equal(&read, value);
}

const char *mrl_type_text(merle_type type) {
    static const char *const texts[] = {
        "nothing",  "nil",      "a boolean", "an integer", "an unsigned integer", "a float",
        "a string", "a binary", "an array",  "a map",      "a timestamp",         "an extension"};
    if ((unsigned)type >= sizeof(texts) / sizeof(texts[0])) return "no type of merle";
    return texts[type];
}
