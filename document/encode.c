/* document/encode.c - values as bytes whose memcmp order is the order of the values.
 *
 * A number is written as the greatest double that is not above it, its bits turned so that they
 * sort as the double does. From 2^53 to 2^64 doubles have gaps, in which integers lie: there two
 * more bytes tell how far above the double the integer is (a double is 0 above itself). Whether
 * they follow is told by the first eight, so that equal numbers have equal bytes and no number's
 * bytes begin another's. SPDX-License-Identifier: Apache-2.0
 */
#include "document/encode.h"

#include "document/scan.h"

/* Never 00 or ff: inside an escaped string these two follow a 00 byte and mean something. */
enum {
    TAG_NIL = 0x10,
    TAG_FALSE = 0x18,
    TAG_TRUE = 0x19,
    TAG_NUMBER = 0x20,
    TAG_STR = 0x30,
    TAG_BIN = 0x38,
    TAG_TIME = 0x40,
    TAG_MISSING_LAST = 0x48 /* the missing ones that come first are nil */
};

#define SIGN_BIT ((uint64_t)1 << 63)
#define EXACT_MAX ((uint64_t)1 << 53)
#define TWO_TO_53 9007199254740992.0
#define TWO_TO_64 18446744073709551616.0

/* A double, and how far above it the number lies. */
typedef struct floored {
    double number;
    uint32_t above;
} floored;

static floored floor_unsigned(uint64_t number) {
    floored result = {0, 0};
    if (number >= EXACT_MAX) {
        int shift = 64 - __builtin_clzll(number) - 53;
        result.above = (uint32_t)(number & (((uint64_t)1 << shift) - 1));
    }
    result.number = (double)(number - result.above);
    return result;
}

/* Below zero the floor is the double of the next greater magnitude. */
static floored floor_signed(int64_t number) {
    if (number >= 0) return floor_unsigned((uint64_t)number);
    uint64_t magnitude = 0 - (uint64_t)number;
    floored result = {0, 0};
    if (magnitude > EXACT_MAX) {
        int shift = 64 - __builtin_clzll(magnitude) - 53;
        uint64_t gap = (uint64_t)1 << shift;
        uint64_t low = magnitude & (gap - 1);
        if (low != 0) {
            result.above = (uint32_t)(gap - low);
            magnitude += result.above;
        }
    }
    result.number = -(double)magnitude;
    return result;
}

/* The bits of a double, turned so that they sort as it does. */
static inline uint64_t turn(double number) {
    uint64_t bits;
    /* NaN has the bits 0, which no number has: -inf turned is above it. */
    if (number != number) return 0;
    number += 0.0; /* -0.0 becomes 0.0 */
    memcpy(&bits, &number, sizeof(bits));
    return bits & SIGN_BIT ? ~bits : bits | SIGN_BIT;
}

static size_t encode_floored(floored from, uint8_t *out) {
    double number = from.number;
    out[0] = TAG_NUMBER;
    mrl_scan_put_u64(out + 1, turn(number));
    double magnitude = number < 0 ? -number : number;
    if (!(magnitude >= TWO_TO_53 && magnitude < TWO_TO_64)) return 9;
    mrl_scan_put_u16(out + 9, (uint16_t)from.above);
    return 11;
}

/* Integers that a double holds exactly are most of what there is. */
static size_t encode_signed(int64_t number, uint8_t *out) {
    if ((uint64_t)number + EXACT_MAX < 2 * EXACT_MAX) {
        floored exact = {(double)number, 0};
        return encode_floored(exact, out);
    }
    return encode_floored(floor_signed(number), out);
}

static size_t encode_time(int64_t seconds, uint32_t nanoseconds, uint8_t *out) {
    out[0] = TAG_TIME;
    mrl_scan_put_u64(out + 1, (uint64_t)seconds ^ SIGN_BIT);
    mrl_scan_put_u32(out + 9, nanoseconds);
    return MRL_ENCODE_SCALAR_SIZE_MAX;
}

static void complement(uint8_t *bytes, size_t size) {
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t word;
        memcpy(&word, bytes + at, 8);
        word = ~word;
        memcpy(bytes + at, &word, 8);
    }
    for (; at < size; at++) bytes[at] = (uint8_t)~bytes[at];
}

/* Copies the runs between zero bytes whole. */
static merle_err encode_bytes(uint8_t tag, merle_bytes bytes, uint8_t *out, size_t out_max,
                              size_t *out_size) {
    const uint8_t *data = bytes.data;
    size_t left = bytes.size, at = 1;
    if (out_max < 3 || left > out_max - 3) return MERLE_TOO_BIG;
    out[0] = tag;
    while (left > 0) {
        const uint8_t *zero = memchr(data, 0, left);
        size_t run = zero == NULL ? left : (size_t)(zero - data);
        size_t needed = run + (zero != NULL ? 2 : 0) + 2;
        if (needed > out_max - at) return MERLE_TOO_BIG;
        memcpy(out + at, data, run);
        at += run;
        data += run;
        left -= run;
        if (zero == NULL) break;
        out[at++] = 0x00;
        out[at++] = 0xff;
        data++;
        left--;
    }
    out[at++] = 0x00;
    out[at++] = 0x00;
    *out_size = at;
    return MERLE_OK;
}

static merle_err encode_scalar(const merle_value *value, uint8_t *out, size_t *out_size) {
    floored number = {0, 0};
    switch (value->type) {
    case MERLE_TYPE_NIL:
        out[0] = TAG_NIL;
        *out_size = 1;
        return MERLE_OK;
    case MERLE_TYPE_BOOL:
        out[0] = value->number.i != 0 ? TAG_TRUE : TAG_FALSE;
        *out_size = 1;
        return MERLE_OK;
    case MERLE_TYPE_INT:
        *out_size = encode_signed(value->number.i, out);
        return MERLE_OK;
    case MERLE_TYPE_UINT:
        *out_size = encode_floored(floor_unsigned(value->number.u), out);
        return MERLE_OK;
    case MERLE_TYPE_FLOAT:
        number.number = value->number.f;
        *out_size = encode_floored(number, out);
        return MERLE_OK;
    case MERLE_TYPE_TIME:
        if (value->count > MRL_NANOSECONDS_MAX) return MERLE_INVALID;
        *out_size = encode_time(value->number.i, value->count, out);
        return MERLE_OK;
    default:
        return MERLE_TYPE;
    }
}

merle_err mrl_encode_value(const merle_value *value, int descending, uint8_t *out, size_t out_max,
                           size_t *out_size) {
    uint8_t scalar[MRL_ENCODE_SCALAR_SIZE_MAX];
    merle_err err;
    size_t size = 0;
    *out_size = 0;
    if (value->type == MERLE_TYPE_STR || value->type == MERLE_TYPE_BIN) {
        uint8_t tag = value->type == MERLE_TYPE_STR ? TAG_STR : TAG_BIN;
        err = encode_bytes(tag, value->bytes, out, out_max, &size);
    } else {
        err = encode_scalar(value, scalar, &size);
        if (err == MERLE_OK && size > out_max) err = MERLE_TOO_BIG;
        if (err == MERLE_OK) memcpy(out, scalar, size);
    }
    if (err != MERLE_OK) return err;
    if (descending) complement(out, size);
    *out_size = size;
    return MERLE_OK;
}

static inline int has_zero_byte(uint64_t word) {
    return ((word - 0x0101010101010101u) & ~word & 0x8080808080808080u) != 0;
}

/* Strings of up to 31 bytes without a zero are most of what is asked for; 0: it is none. */
static inline int encode_short(const uint8_t *value, const uint8_t *end, int descending,
                               uint8_t *out, size_t out_max, size_t *out_size) {
    uint64_t words[4];
    size_t size = *value & 0x1fu;
    if ((*value & 0xe0) != 0xa0 || descending || out_max < 1 + sizeof words + 2) return 0;
    if ((size_t)(end - value) < 1 + sizeof words) return 0;
    memcpy(words, value + 1, sizeof words);
    for (size_t i = 0; i < 4; i++) {
        size_t left = size > 8 * i ? size - 8 * i : 0;
        /* What does not belong to the string is no zero. */
        uint64_t others = left >= 8 ? 0 : ~(uint64_t)0 << 8 * left;
        if (has_zero_byte(words[i] | others)) return 0;
    }
    out[0] = TAG_STR;
    memcpy(out + 1, words, sizeof words);
    out[1 + size] = out[2 + size] = 0;
    *out_size = size + 3;
    return 1;
}

merle_err mrl_encode_at(const uint8_t *value, const uint8_t *end, int descending, uint8_t *out,
                        size_t out_max, size_t *out_size) {
    merle_value read;
    const uint8_t *first;
    uint32_t count;
    *out_size = 0;
    /* Arrays and maps are refused before anybody walks over all of them. */
    if (mrl_scan_container(value, &first, &count) != MERLE_TYPE_NONE) return MERLE_TYPE;
    if (encode_short(value, end, descending, out, out_max, out_size)) return MERLE_OK;
    mrl_scan_value(value, &read);
    return mrl_encode_value(&read, descending, out, out_max, out_size);
}

uint8_t mrl_encode_missing(int is_first, int descending) {
    if (descending) return (uint8_t) ~(is_first ? TAG_MISSING_LAST : TAG_NIL);
    return is_first ? TAG_NIL : TAG_MISSING_LAST;
}

void mrl_encode_class(merle_type type, uint8_t *out_first, uint8_t *out_last) {
    static const uint8_t firsts[] = {
        [MERLE_TYPE_NIL] = TAG_NIL,      [MERLE_TYPE_BOOL] = TAG_FALSE,
        [MERLE_TYPE_INT] = TAG_NUMBER,   [MERLE_TYPE_UINT] = TAG_NUMBER,
        [MERLE_TYPE_FLOAT] = TAG_NUMBER, [MERLE_TYPE_STR] = TAG_STR,
        [MERLE_TYPE_BIN] = TAG_BIN,      [MERLE_TYPE_TIME] = TAG_TIME,
    };
    *out_first = (unsigned)type < sizeof(firsts) ? firsts[type] : 0;
    *out_last = type == MERLE_TYPE_BOOL ? TAG_TRUE : *out_first;
}

int mrl_encode_number(const uint8_t *value, uint8_t *out_tag, uint64_t *out_bits) {
    uint8_t head = *value;
    int64_t number;
    if (head < 0x80 || head >= 0xe0)
        number = (int8_t)head;
    else if (head == 0xcc)
        number = value[1];
    else if (head == 0xcd)
        number = mrl_scan_u16(value + 1);
    else if (head == 0xce)
        number = mrl_scan_u32(value + 1);
    else if (head == 0xd0)
        number = (int8_t)value[1];
    else if (head == 0xd1)
        number = (int16_t)mrl_scan_u16(value + 1);
    else if (head == 0xd2)
        number = (int32_t)mrl_scan_u32(value + 1);
    else
        return 0;
    *out_tag = TAG_NUMBER;
    *out_bits = turn((double)number);
    return 1;
}

/* ---- reading an encoding back ---- */

static merle_value number_of(double floor, uint32_t above) {
    double magnitude = floor < 0 ? -floor : floor;
    if (!(magnitude < TWO_TO_64) || (double)(uint64_t)magnitude != magnitude)
        return merle_value_float(floor);
    if (magnitude < TWO_TO_53) above = 0; /* these have no bytes for it */
    if (floor >= 0) return merle_value_uint((uint64_t)floor + above);
    uint64_t below = (uint64_t)magnitude - above;
    return below > SIGN_BIT ? merle_value_float(floor) : merle_value_int((int64_t)(0 - below));
}

/* A string or binary up to its end; 0: it has none. */
static size_t decode_bytes(merle_bytes encoded, uint8_t turned, uint8_t *out,
                           merle_bytes *out_bytes) {
    const uint8_t *data = encoded.data;
    size_t at = 1, size = 0;
    while (at < encoded.size) {
        uint8_t byte = data[at++] ^ turned;
        if (byte == 0) {
            uint8_t next = at < encoded.size ? data[at] ^ turned : 1;
            if (next != 0 && next != 0xff) return 0;
            at++;
            if (next == 0) {
                *out_bytes = merle_bytes_of(out, size);
                return at;
            }
        }
        out[size++] = byte;
    }
    return 0;
}

/* Anything else; `bytes` is ascending and goes on with noughts. 0: it is none. */
static size_t decode_scalar(const uint8_t *bytes, merle_value *out_value) {
    uint64_t bits = mrl_scan_u64(bytes + 1);
    double floor;
    switch (bytes[0]) {
    case TAG_NIL:
        *out_value = merle_value_nil();
        return 1;
    case TAG_FALSE:
    case TAG_TRUE:
        *out_value = merle_value_bool(bytes[0] == TAG_TRUE);
        return 1;
    case TAG_TIME:
        *out_value = merle_value_time((int64_t)(bits ^ SIGN_BIT), mrl_scan_u32(bytes + 9));
        return MRL_ENCODE_SCALAR_SIZE_MAX;
    case TAG_NUMBER:
        bits = bits & SIGN_BIT ? bits ^ SIGN_BIT : ~bits;
        memcpy(&floor, &bits, sizeof floor);
        *out_value = number_of(floor, mrl_scan_u16(bytes + 9));
        return 9;
    default:
        return 0;
    }
}

merle_err mrl_decode_value(merle_bytes encoded, int descending, uint8_t *out,
                           merle_value *out_value, size_t *out_size) {
    uint8_t scalar[MRL_ENCODE_SCALAR_SIZE_MAX] = {0}, again[MRL_ENCODE_SCALAR_SIZE_MAX];
    const uint8_t *data = encoded.data;
    uint8_t turned = descending ? 0xff : 0;
    memset(out_value, 0, sizeof *out_value);
    *out_size = 0;
    if (encoded.size == 0) return MERLE_INVALID;
    uint8_t tag = data[0] ^ turned;
    if (tag == TAG_STR || tag == TAG_BIN) {
        merle_bytes bytes;
        *out_size = decode_bytes(encoded, turned, out, &bytes);
        if (*out_size == 0) return MERLE_INVALID;
        *out_value = tag == TAG_STR ? merle_value_bytes(bytes) : merle_value_bin(bytes);
        return MERLE_OK;
    }
    for (size_t i = 0; i < sizeof scalar && i < encoded.size; i++) scalar[i] = data[i] ^ turned;
    merle_value value;
    size_t size = 0;
    /* What the bytes say is believed if it says the same bytes. */
    if (decode_scalar(scalar, &value) == 0 ||
        mrl_encode_value(&value, 0, again, sizeof again, &size) != MERLE_OK ||
        size > encoded.size || memcmp(again, scalar, size) != 0)
        return MERLE_INVALID;
    *out_value = value;
    *out_size = size;
    return MERLE_OK;
}
