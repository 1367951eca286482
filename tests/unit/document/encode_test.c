/* tests/unit/document/encode_test.c
 *
 * Aim     memcmp of encodings orders values as their types and numbers do, alone, in a row, and
 *         descending; equal values have equal bytes.
 * Method  Random values, most of them close together or at limits, against a plain comparator that
 *         knows numbers as 80-bit floats, which hold every int64, uint64 and double exactly.
 * Blind   On machines whose long double has fewer bits, the comparator would be wrong, not the
 *         code.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/document/sample.h"

#include <math.h>

#include "document/check.h"
#include "document/encode.h"
#include "document/scan.h"

#define ROUNDS 200000
static uint64_t test_seed;

/* ---- the plain comparator ---- */

static int rank(const merle_value *value) {
    switch (value->type) {
    case MERLE_TYPE_NIL:
        return 0;
    case MERLE_TYPE_BOOL:
        return 1;
    case MERLE_TYPE_INT:
    case MERLE_TYPE_UINT:
    case MERLE_TYPE_FLOAT:
        return 2;
    case MERLE_TYPE_STR:
        return 3;
    case MERLE_TYPE_BIN:
        return 4;
    default:
        return 5;
    }
}

static int sign(long double number) {
    return (number > 0) - (number < 0);
}

static int compare_bytes(merle_bytes left, merle_bytes right) {
    size_t size = left.size < right.size ? left.size : right.size;
    int order = size == 0 ? 0 : memcmp(left.data, right.data, size);
    if (order != 0) return order < 0 ? -1 : 1;
    return (left.size > right.size) - (left.size < right.size);
}

static long double number_of(const merle_value *value) {
    if (value->type == MERLE_TYPE_INT) return (long double)value->number.i;
    if (value->type == MERLE_TYPE_UINT) return (long double)value->number.u;
    return (long double)value->number.f;
}

static int compare(const merle_value *left, const merle_value *right) {
    if (rank(left) != rank(right)) return rank(left) < rank(right) ? -1 : 1;
    switch (rank(left)) {
    case 0:
        return 0;
    case 1:
        return sign((long double)left->number.i - (long double)right->number.i);
    case 2: {
        long double one = number_of(left), other = number_of(right);
        if (isnan(one) || isnan(other)) return !!isnan(other) - !!isnan(one);
        return (one > other) - (one < other);
    }
    case 3:
    case 4:
        return compare_bytes(left->bytes, right->bytes);
    default:
        if (left->number.i != right->number.i) return left->number.i < right->number.i ? -1 : 1;
        return (left->count > right->count) - (left->count < right->count);
    }
}

/* ---- values that lie close together ---- */

static double near_float(mrl_random *random) {
    static const double floats[] = {0.0,
                                    -0.0,
                                    1.0,
                                    -1.0,
                                    0.1,
                                    5e-324,
                                    1.7976931348623157e308,
                                    9007199254740992.0,
                                    9007199254740994.0,
                                    9223372036854775808.0,
                                    18446744073709551616.0,
                                    9223372036854774784.0,
                                    INFINITY,
                                    NAN};
    double number = floats[mrl_random_below(random, 14)];
    switch (mrl_random_below(random, 4)) {
    case 0:
        return -number;
    case 1:
        return nextafter(number, -INFINITY);
    case 2:
        return nextafter(number, INFINITY);
    default:
        return number;
    }
}

static merle_value random_number(mrl_random *random) {
    uint64_t power = (uint64_t)1 << mrl_random_below(random, 64);
    uint64_t near = power + mrl_random_below(random, 5) - 2;
    uint64_t bits = mrl_random_next(random);
    double number;
    switch (mrl_random_below(random, 6)) {
    case 0:
        return merle_value_int(sample_integer(random));
    case 1:
        return merle_value_uint(near);
    case 2:
        return merle_value_int((int64_t)(0 - near));
    case 3:
        return merle_value_float((double)(int64_t)near);
    case 4:
        return merle_value_float(near_float(random));
    default:
        memcpy(&number, &bits, sizeof(number));
        return merle_value_float(number);
    }
}

static merle_value random_value(mrl_random *random, uint8_t bytes[4]) {
    static const uint8_t some[] = {0, 0, 1, 0xfe, 0xff, 'a'};
    size_t size = (size_t)mrl_random_below(random, 5);
    for (size_t i = 0; i < 4; i++) bytes[i] = some[mrl_random_below(random, 6)];
    switch (mrl_random_below(random, 10)) {
    case 0:
        return merle_value_nil();
    case 1:
        return merle_value_bool((int)mrl_random_below(random, 2));
    case 2:
    case 3:
        return merle_value_bytes(merle_bytes_of(bytes, size));
    case 4:
        return merle_value_bin(merle_bytes_of(bytes, size));
    case 5:
        return merle_value_time(sample_integer(random), (uint32_t)mrl_random_below(random, 3));
    default:
        return random_number(random);
    }
}

typedef struct encoded {
    uint8_t bytes[64];
    size_t size;
} encoded;

static void encode(const merle_value *value, int descending, encoded *out) {
    size_t size;
    merle_err err = mrl_encode_value(value, descending, out->bytes + out->size,
                                     sizeof(out->bytes) - out->size, &size);
    assert_int_equal(err, MERLE_OK);
    out->size += size;
}

static int compare_encoded(const encoded *left, const encoded *right) {
    return compare_bytes(merle_bytes_of(left->bytes, left->size),
                         merle_bytes_of(right->bytes, right->size));
}

/* ---- cases ---- */

static void numbers_of_every_width_are_ordered_exactly(void **state) {
    mrl_random random;
    (void)state;
    mrl_random_init(&random, test_seed);
    for (int round = 0; round < ROUNDS; round++) {
        merle_value left = random_number(&random), right = random_number(&random);
        encoded one = {{0}, 0}, other = {{0}, 0};
        encode(&left, 0, &one);
        encode(&right, 0, &other);
        assert_int_equal(compare_encoded(&one, &other), compare(&left, &right));
    }
}

static void values_of_every_type_are_ordered_both_ways(void **state) {
    mrl_random random;
    uint8_t left_bytes[4], right_bytes[4];
    (void)state;
    mrl_random_init(&random, test_seed + 1);
    for (int round = 0; round < ROUNDS; round++) {
        merle_value left = random_value(&random, left_bytes);
        merle_value right = random_value(&random, right_bytes);
        int descending = (int)(round & 1);
        encoded one = {{0}, 0}, other = {{0}, 0};
        encode(&left, descending, &one);
        encode(&right, descending, &other);
        int order = compare(&left, &right);
        assert_int_equal(compare_encoded(&one, &other), descending ? -order : order);
    }
}

/* Nil has its place below all others, and is missing where that has one. */
static void missing_value_is_below_or_above_all_others(void **state) {
    mrl_random random;
    uint8_t bytes[4];
    (void)state;
    mrl_random_init(&random, test_seed + 3);
    for (int round = 0; round < ROUNDS; round++) {
        merle_value value = random_value(&random, bytes);
        int descending = (int)(round & 1);
        encoded one = {{0}, 0};
        if (value.type == MERLE_TYPE_NIL) continue;
        encode(&value, descending, &one);
        assert_true(mrl_encode_missing(1, descending) < one.bytes[0]);
        assert_true(mrl_encode_missing(0, descending) > one.bytes[0]);
    }
    /* These two have a meaning behind a zero in a string. */
    for (int i = 0; i < 4; i++) assert_in_range(mrl_encode_missing(i & 1, i >> 1), 1, 254);
}

static void rows_of_values_are_ordered_part_by_part(void **state) {
    mrl_random random;
    uint8_t bytes[2][4][4];
    (void)state;
    mrl_random_init(&random, test_seed + 2);
    for (int round = 0; round < ROUNDS; round++) {
        encoded one = {{0}, 0}, other = {{0}, 0};
        size_t part_count = 2 + (size_t)mrl_random_below(&random, 3);
        int order = 0;
        for (size_t i = 0; i < part_count; i++) {
            merle_value left = random_value(&random, bytes[0][i]), right = left;
            int descending = (int)mrl_random_below(&random, 2);
            if (mrl_random_below(&random, 3) == 0) right = random_value(&random, bytes[1][i]);
            encode(&left, descending, &one);
            encode(&right, descending, &other);
            int part_order = compare(&left, &right);
            if (order == 0) order = descending ? -part_order : part_order;
        }
        assert_int_equal(compare_encoded(&one, &other), order);
    }
}

static void well_known_neighbours_are_told_apart(void **state) {
    (void)state;
    const int64_t big = (int64_t)1 << 53;
    const merle_value rising[] = {merle_value_nil(),
                                  merle_value_bool(0),
                                  merle_value_bool(1),
                                  merle_value_float(NAN),
                                  merle_value_float(-INFINITY),
                                  merle_value_float(-1e300),
                                  merle_value_int(INT64_MIN),
                                  merle_value_int(INT64_MIN + 1),
                                  merle_value_int(-big - 2),
                                  merle_value_int(-big - 1),
                                  merle_value_int(-big),
                                  merle_value_int(-1),
                                  merle_value_float(-0.5),
                                  merle_value_int(0),
                                  merle_value_float(0.5),
                                  merle_value_int(big - 1),
                                  merle_value_float((double)big),
                                  merle_value_int(big + 1),
                                  merle_value_int(big + 2),
                                  merle_value_int(INT64_MAX),
                                  merle_value_float(9223372036854775808.0),
                                  merle_value_uint(((uint64_t)1 << 63) + 1),
                                  merle_value_uint(UINT64_MAX),
                                  merle_value_float(18446744073709551616.0),
                                  merle_value_float(INFINITY),
                                  merle_value_str(""),
                                  merle_value_bytes(BYTES("\0")),
                                  merle_value_bytes(BYTES("\0\0")),
                                  merle_value_bytes(BYTES("\0\1")),
                                  merle_value_str("a"),
                                  merle_value_bytes(BYTES("a\0")),
                                  merle_value_bytes(BYTES("a\0b")),
                                  merle_value_str("ab"),
                                  merle_value_bin(BYTES("")),
                                  merle_value_bin(BYTES("\xff")),
                                  merle_value_time(INT64_MIN, 0),
                                  merle_value_time(-1, 999999999),
                                  merle_value_time(0, 0),
                                  merle_value_time(0, 1),
                                  merle_value_time(1, 0)};
    for (size_t i = 0; i < sizeof(rising) / sizeof(rising[0]); i++) {
        for (size_t j = 0; j < sizeof(rising) / sizeof(rising[0]); j++) {
            encoded one = {{0}, 0}, other = {{0}, 0};
            encode(&rising[i], 0, &one);
            encode(&rising[j], 0, &other);
            assert_int_equal(compare_encoded(&one, &other), (i > j) - (i < j));
        }
    }
}

static void numbers_that_are_equal_have_equal_bytes(void **state) {
    const merle_value pairs[][2] = {
        {merle_value_int(5), merle_value_float(5.0)},
        {merle_value_float(0.0), merle_value_float(-0.0)},
        {merle_value_int(0), merle_value_float(-0.0)},
        {merle_value_int((int64_t)1 << 60), merle_value_float(0x1p60)},
        {merle_value_uint((uint64_t)1 << 63), merle_value_float(0x1p63)},
        {merle_value_int(INT64_MIN), merle_value_float(-0x1p63)},
        {merle_value_float(NAN), merle_value_float(-NAN)},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        encoded one = {{0}, 0}, other = {{0}, 0};
        encode(&pairs[i][0], 0, &one);
        encode(&pairs[i][1], 0, &other);
        assert_int_equal(compare_encoded(&one, &other), 0);
    }
}

static void value_in_a_document_has_the_bytes_of_the_value_asked_for(void **state) {
    mrl_random random;
    merle_buffer buffer = {NULL, 0, 0};
    (void)state;
    mrl_random_init(&random, test_seed + 3);
    for (int round = 0; round < 20000; round++) {
        buffer.size = 0;
        sample_value(&buffer, &random, 1);
        uint8_t one[2048], other[2048];
        size_t one_size, other_size;
        merle_value value;
        mrl_scan_value(buffer.data, &value);
        merle_err err = mrl_encode_at(buffer.data, buffer.data + buffer.size, round & 1, one,
                                      sizeof(one), &one_size);
        assert_int_equal(mrl_encode_value(&value, round & 1, other, sizeof(other), &other_size),
                         err);
        if (value.type == MERLE_TYPE_ARRAY || value.type == MERLE_TYPE_MAP ||
            value.type == MERLE_TYPE_EXT)
            assert_int_equal(err, MERLE_TYPE);
        else
            assert_int_equal(err, MERLE_OK);
        assert_int_equal(one_size, other_size);
        if (err != MERLE_OK) assert_int_equal(one_size, 0);
        assert_memory_equal(one, other, one_size);
        uint8_t tag;
        uint64_t bits;
        if (mrl_encode_number(buffer.data, &tag, &bits) && (round & 1) == 0) {
            uint64_t written;
            assert_int_equal(one_size, 9);
            assert_int_equal(tag, one[0]);
            memcpy(&written, one + 1, 8);
            assert_int_equal(bits, __builtin_bswap64(written));
        }
        /* What stands behind the value in its document changes nothing. */
        uint8_t *inside = malloc(buffer.size + 64);
        assert_non_null(inside);
        memcpy(inside, buffer.data, buffer.size);
        for (size_t i = 0; i < 64; i++)
            inside[buffer.size + i] = round & 2 ? 0 : (uint8_t)mrl_random_next(&random);
        assert_int_equal(mrl_encode_at(inside, inside + buffer.size + 64, round & 1, one,
                                       sizeof(one), &one_size),
                         err);
        assert_int_equal(one_size, other_size);
        assert_memory_equal(one, other, one_size);
        free(inside);
    }
    merle_buffer_free(&buffer);
}

static void room_too_small_is_too_big_and_never_overrun(void **state) {
    const merle_value values[] = {merle_value_nil(),
                                  merle_value_int(7),
                                  merle_value_int(INT64_MAX),
                                  merle_value_str("abc"),
                                  merle_value_bytes(BYTES("a\0b\0\0")),
                                  merle_value_time(1, 2)};
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        encoded whole = {{0}, 0};
        encode(&values[i], 0, &whole);
        for (size_t room = 0; room <= whole.size + 1; room++) {
            uint8_t *out = malloc(room == 0 ? 1 : room);
            size_t size = 99;
            assert_non_null(out);
            merle_err err = mrl_encode_value(&values[i], 0, out, room, &size);
            assert_int_equal(err, room < whole.size ? MERLE_TOO_BIG : MERLE_OK);
            assert_int_equal(size, room < whole.size ? 0 : whole.size);
            free(out);
        }
    }
    merle_value wrong = merle_value_time(0, 1000000000);
    uint8_t out[16];
    size_t size;
    assert_int_equal(mrl_encode_value(&wrong, 0, out, sizeof(out), &size), MERLE_INVALID);
}

/* Read back, also as a part of a row, a value encodes the same and compares the same. */
static void values_are_read_back_as_they_were(void **state) {
    mrl_random random;
    uint8_t bytes[4], text[64], one[64], other[64];
    size_t size, again, used;
    (void)state;
    mrl_random_init(&random, test_seed + 7);
    for (int round = 0; round < ROUNDS / 4; round++) {
        merle_value value = random_value(&random, bytes), found;
        assert_int_equal(mrl_encode_value(&value, round & 1, one, sizeof one - 1, &size), MERLE_OK);
        one[size] = (uint8_t)round; /* what follows changes nothing */
        assert_int_equal(
            mrl_decode_value(merle_bytes_of(one, size + 1), round & 1, text, &found, &used),
            MERLE_OK);
        assert_int_equal(used, size);
        assert_int_equal(compare(&value, &found), 0);
        assert_int_equal(mrl_encode_value(&found, round & 1, other, sizeof other, &again),
                         MERLE_OK);
        assert_int_equal(again, size);
        assert_memory_equal(one, other, size);
        /* Cut short it is none. */
        assert_int_equal(
            mrl_decode_value(merle_bytes_of(one, size - 1), round & 1, text, &found, &used),
            MERLE_INVALID);
        assert_int_equal(used, 0);
        assert_int_equal(found.type, MERLE_TYPE_NONE);
    }
}

static void integers_are_read_back_as_integers(void **state) {
    const merle_value values[] = {merle_value_float(5.0),
                                  merle_value_float(-3.0),
                                  merle_value_int(INT64_MIN),
                                  merle_value_uint(UINT64_MAX),
                                  merle_value_float(18446744073709551616.0),
                                  merle_value_float(0.5),
                                  merle_value_float(-1e300),
                                  merle_value_float(-1e19)};
    static const merle_type types[] = {MERLE_TYPE_INT,   MERLE_TYPE_INT,   MERLE_TYPE_INT,
                                       MERLE_TYPE_UINT,  MERLE_TYPE_FLOAT, MERLE_TYPE_FLOAT,
                                       MERLE_TYPE_FLOAT, MERLE_TYPE_FLOAT};
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        uint8_t bytes[16];
        size_t size, used;
        merle_value found;
        assert_int_equal(mrl_encode_value(&values[i], 0, bytes, sizeof bytes, &size), MERLE_OK);
        assert_int_equal(mrl_decode_value(merle_bytes_of(bytes, size), 0, bytes, &found, &used),
                         MERLE_OK);
        assert_int_equal(found.type, types[i]);
        assert_int_equal(compare(&found, &values[i]), 0);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_every_width_are_ordered_exactly),
        cmocka_unit_test(values_of_every_type_are_ordered_both_ways),
        cmocka_unit_test(missing_value_is_below_or_above_all_others),
        cmocka_unit_test(rows_of_values_are_ordered_part_by_part),
        cmocka_unit_test(well_known_neighbours_are_told_apart),
        cmocka_unit_test(numbers_that_are_equal_have_equal_bytes),
        cmocka_unit_test(value_in_a_document_has_the_bytes_of_the_value_asked_for),
        cmocka_unit_test(values_are_read_back_as_they_were),
        cmocka_unit_test(integers_are_read_back_as_integers),
        cmocka_unit_test(room_too_small_is_too_big_and_never_overrun),
    };
    test_seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
