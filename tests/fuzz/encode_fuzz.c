/* tests/fuzz/encode_fuzz.c - fuzzes the encoding that keeps the order of values.
 *
 * Aim     Encodings of any two values are equal exactly if the values are; none is the beginning of
 *         another; descending turns the order around; a value that was read encodes as it stands.
 *         What is read back from any bytes encodes as these bytes.
 * Method  The input is two msgpack values, one behind the other; and bytes to be read back.
 * Blind   Which of two values comes first: that is the unit test's, with a comparator of its own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "document/check.h"
#include "document/encode.h"
#include "document/scan.h"
#include "tests/fuzz/driver.h"

typedef struct encoded {
    uint8_t bytes[16384];
    size_t size;
} encoded;

static int encode(const uint8_t *at, size_t size, int descending, encoded *out) {
    static encoded again;
    merle_value value;
    merle_err err =
        mrl_encode_at(at, at + size, descending, out->bytes, sizeof(out->bytes), &out->size);
    mrl_scan_value(at, &value);
    MRL_ASSERT(
        mrl_encode_value(&value, descending, again.bytes, sizeof(again.bytes), &again.size) == err);
    MRL_ASSERT(again.size == out->size && memcmp(again.bytes, out->bytes, again.size) == 0);
    MRL_ASSERT(err == MERLE_OK || (err == MERLE_TYPE && out->size == 0));
    return err == MERLE_OK;
}

/* What is decoded says the same bytes; the bytes need not be an encoding. */
static int decode(const uint8_t *data, size_t size, int descending, size_t *out_size) {
    static encoded again;
    merle_value value;
    uint8_t *copy = malloc(size), *text = malloc(size);
    MRL_ASSERT(copy != NULL && text != NULL);
    memcpy(copy, data, size); /* so that a sanitizer sees a byte too many */
    merle_err err =
        mrl_decode_value(merle_bytes_of(copy, size), descending, text, &value, out_size);
    MRL_ASSERT(err == MERLE_OK || (err == MERLE_INVALID && *out_size == 0));
    if (err == MERLE_OK && *out_size <= sizeof again.bytes) {
        MRL_ASSERT(mrl_encode_value(&value, descending, again.bytes, sizeof again.bytes,
                                    &again.size) == MERLE_OK);
        MRL_ASSERT(again.size == *out_size && memcmp(again.bytes, data, again.size) == 0);
    }
    free(copy);
    free(text);
    return err == MERLE_OK;
}

static int order_of(const encoded *left, const encoded *right) {
    size_t size = left->size < right->size ? left->size : right->size;
    int order = memcmp(left->bytes, right->bytes, size);
    /* If one were the beginning of the other, what follows it in a row would decide. */
    if (order == 0) MRL_ASSERT(left->size == right->size);
    return (order > 0) - (order < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static encoded one, other;
    size_t one_size, other_size, decoded_size;
    if (size > 0) {
        (void)decode(data, size, 0, &decoded_size);
        (void)decode(data, size, 1, &decoded_size);
    }
    if (mrl_check_value(data, size, 0, &one_size, NULL) != MERLE_OK) return 0;
    const uint8_t *second = data + one_size;
    if (mrl_check_value(second, size - one_size, 0, &other_size, NULL) != MERLE_OK) return 0;
    if (!encode(data, one_size, 0, &one) || !encode(second, other_size, 0, &other)) return 0;
    MRL_ASSERT(decode(one.bytes, one.size, 0, &decoded_size) && decoded_size == one.size);
    int order = order_of(&one, &other);
    MRL_ASSERT((order == 0) == (mrl_scan_equal(data, second) != 0));
    MRL_ASSERT(encode(data, one_size, 1, &one) && encode(second, other_size, 1, &other));
    MRL_ASSERT(order_of(&one, &other) == -order);
    return 0;
}

void fuzz_corpus(fuzz_add_fn *add) {
    static const struct {
        const char *data;
        size_t size;
    } pairs[] = {
#define PAIR(literal) {literal, sizeof(literal) - 1}
        PAIR("\x05\xcb\x40\x14\0\0\0\0\0\0"),
        PAIR("\xcf\0\x20\0\0\0\0\0\x01\xcb\x43\x40\0\0\0\0\0\0"),
        PAIR("\xd3\xff\xdf\xff\xff\xff\xff\xff\xff\xcb\xc3\x40\0\0\0\0\0\0"),
        PAIR("\xa2"
             "a\0\xa1"
             "a"),
        PAIR("\xc4\x02\0\xff\xd9\x02\0\xff"),
        PAIR("\xc2\xc0"),
        PAIR("\xd6\xff\0\0\0\1\xd7\xff\0\0\0\0\0\0\0\1"),
        PAIR("\x20\xc3\x40\0\0\0\0\0\0\0\1"),
        PAIR("\x30\0\xff\0\0"),
        PAIR("\xcf\xff\xff"),
        PAIR("\xca\x7f\xc0\0\0\xcb\xff\xf8\0\0\0\0\0\1"),
#undef PAIR
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) add(pairs[i].data, pairs[i].size);
}
