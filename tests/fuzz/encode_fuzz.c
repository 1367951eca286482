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

/* ---- rows, as compound indexes have them ---- */

/* A field of a row: a value, or NULL: it is missing. */
static void append(encoded *row, const encoded *field, int is_first, int descending) {
    uint8_t missing = mrl_encode_missing(is_first, descending);
    size_t size = field == NULL ? 1 : field->size;
    memcpy(row->bytes + row->size, field == NULL ? &missing : field->bytes, size);
    row->size += size;
}

/* The order of (left, then) and (right, after), with a first field that descends or does not. */
static int order_of_rows(const encoded *left, const encoded *then, const encoded *right,
                         const encoded *after, int is_first, int descending) {
    static encoded rows[2];
    rows[0].size = rows[1].size = 0;
    if (left != NULL && then != NULL && left->size + then->size > sizeof rows->bytes) return 2;
    if (right != NULL && after != NULL && right->size + after->size > sizeof rows->bytes) return 2;
    append(&rows[0], left, is_first, descending);
    append(&rows[0], then, is_first, 0);
    append(&rows[1], right, is_first, descending);
    append(&rows[1], after, is_first, 0);
    return order_of(&rows[0], &rows[1]);
}

/* up and down are encodings of the same two values, whose order ascending is given. */
static void check_rows(const encoded up[2], const encoded down[2], int order) {
    int crossed = order_of_rows(&down[0], &up[1], &down[1], &up[0], 0, 1);
    MRL_ASSERT(crossed == 2 || crossed == -order);
    int second = order_of_rows(&down[0], &up[0], &down[0], &up[1], 0, 1);
    MRL_ASSERT(second == 2 || second == order);
    /* A nil is a missing one that comes first. */
    int is_nil = up[0].size == 1 && up[0].bytes[0] == mrl_encode_missing(1, 0);
    for (int is_first = 0; is_first < 2 && !is_nil; is_first++) {
        int behind = is_first ? -1 : 1;
        MRL_ASSERT(order_of_rows(NULL, &up[1], &up[0], &up[0], is_first, 0) == behind);
        MRL_ASSERT(order_of_rows(NULL, &up[1], &down[0], &up[0], is_first, 1) == behind);
        MRL_ASSERT(order_of_rows(NULL, NULL, NULL, &up[0], is_first, 1) == behind);
    }
}

/* Two keys, the input cut in two: of any bytes, in which a value would have only UTF-8. */
static void check_keys(const uint8_t *data, size_t size) {
    static encoded keys[2], turned[2];
    size_t half = size / 2;
    if (size > MERLE_KEY_SIZE_MAX) return;
    for (int i = 0; i < 2; i++) {
        merle_value key = merle_value_bytes(i == 0 ? merle_bytes_of(data, half)
                                                   : merle_bytes_of(data + half, size - half));
        MRL_ASSERT(mrl_encode_value(&key, 0, keys[i].bytes, sizeof keys[i].bytes, &keys[i].size) ==
                   MERLE_OK);
        MRL_ASSERT(mrl_encode_value(&key, 1, turned[i].bytes, sizeof turned[i].bytes,
                                    &turned[i].size) == MERLE_OK);
    }
    int order = half == 0 ? 0 : memcmp(data, data + half, half);
    if (order == 0 && half < size - half) order = -1;
    MRL_ASSERT(order_of(&keys[0], &keys[1]) == (order > 0) - (order < 0));
    check_rows(keys, turned, (order > 0) - (order < 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static encoded up[2], down[2];
    size_t one_size, other_size, decoded_size;
    check_keys(data, size);
    if (size > 0) {
        (void)decode(data, size, 0, &decoded_size);
        (void)decode(data, size, 1, &decoded_size);
    }
    if (mrl_check_value(data, size, 0, &one_size, NULL) != MERLE_OK) return 0;
    const uint8_t *second = data + one_size;
    if (mrl_check_value(second, size - one_size, 0, &other_size, NULL) != MERLE_OK) return 0;
    if (!encode(data, one_size, 0, &up[0]) || !encode(second, other_size, 0, &up[1])) return 0;
    MRL_ASSERT(decode(up[0].bytes, up[0].size, 0, &decoded_size) && decoded_size == up[0].size);
    int order = order_of(&up[0], &up[1]);
    MRL_ASSERT((order == 0) == (mrl_scan_equal(data, second) != 0));
    MRL_ASSERT(encode(data, one_size, 1, &down[0]) && encode(second, other_size, 1, &down[1]));
    MRL_ASSERT(order_of(&down[0], &down[1]) == -order);
    check_rows(up, down, order);
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
