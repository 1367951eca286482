/* tests/model/edges.h - values of every type at their edges, and their order.
 *
 * What    A pool of values, each with a code: MISSING (no value), NIL, then numbers at the edges of
 *         their types, equal ones of different types, empty and long strings and binaries that
 *         begin alike, times. Codes behind the pool are small integers. The order is written down
 *         here without a look at the library's.
 * Owns    the pool: pool_fill comes before everything else.
 * Threads owner only; reading: any.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_MODEL_EDGES_H
#define TESTS_MODEL_EDGES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include <merle/document.h>

enum { POOL_MAX = 96 };
enum { MISSING = 0, NIL = 1, FIRST_VALUE = 2 }; /* codes */

static merle_value pool[POOL_MAX];
static uint32_t pool_count;

static void pool_add(merle_value value) {
    assert_true(pool_count < POOL_MAX);
    pool[pool_count++] = value;
}

/* Strings that begin alike and differ at the end, or end where others go on. */
static void pool_add_long(size_t size, char last) {
    static char texts[32][400];
    static size_t count;
    char *text = texts[count++];
    assert_true(count <= 32 && size < 400);
    memset(text, 'p', size);
    text[size - 1] = last;
    pool_add(merle_value_bytes(merle_bytes_of(text, size)));
    pool_add(merle_value_bin(merle_bytes_of(text, size)));
}

static void pool_fill(void) {
    static const int64_t integers[] = {INT64_MIN,
                                       INT64_MIN + 1,
                                       -1,
                                       0,
                                       1,
                                       2,
                                       127,
                                       128,
                                       255,
                                       256,
                                       ((int64_t)1 << 53) - 1,
                                       (int64_t)1 << 53,
                                       ((int64_t)1 << 53) + 1,
                                       -((int64_t)1 << 53) - 1,
                                       INT64_MAX - 1,
                                       INT64_MAX,
                                       -((int64_t)1 << 54) - 1,
                                       -((int64_t)1 << 54) - 2,
                                       -((int64_t)1 << 54) - 3,
                                       -((int64_t)1 << 54),
                                       -((int64_t)1 << 54) - 4,
                                       ((int64_t)1 << 54) + 1,
                                       ((int64_t)1 << 54) + 3};
    static const double floats[] = {-INFINITY, -0x1p63, -0x1p53,  -0.5, -0.0,   0.0,
                                    0x1p-1074, 0.5,     1.0,      2.0,  0x1p53, 0x1p53 + 2,
                                    0x1p63,    0x1p64,  INFINITY, NAN};
    static const size_t sizes[] = {7, 8, 9, 63, 64, 65, 128, 300};
    pool_count = 0;
    pool_add((merle_value){.type = MERLE_TYPE_NONE});
    pool_add(merle_value_nil());
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
        pool_add(merle_value_int(integers[i]));
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        pool_add(merle_value_float(floats[i]));
    pool_add(merle_value_uint(UINT64_MAX));
    pool_add(merle_value_uint(UINT64_MAX - 1));
    pool_add(merle_value_uint((uint64_t)1 << 63));
    pool_add(merle_value_bool(0));
    pool_add(merle_value_bool(1));
    pool_add(merle_value_str(""));
    pool_add(merle_value_bin(merle_bytes_of("", 0)));
    pool_add(merle_value_bytes(merle_bytes_of("\0", 1)));
    pool_add(merle_value_bytes(merle_bytes_of("p\0", 2)));
    pool_add(merle_value_bytes(merle_bytes_of("p\0p", 3)));
    pool_add(merle_value_bin(merle_bytes_of("\xff\xff", 2)));
    pool_add(merle_value_bin(merle_bytes_of("\xff\0", 2)));
    pool_add(merle_value_time(-1, 999999999));
    pool_add(merle_value_time(0, 0));
    pool_add(merle_value_time(0, 1));
    pool_add(merle_value_time(INT64_MAX, 0));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        pool_add_long(sizes[i], 'p');
        if (i % 2 != 0) pool_add_long(sizes[i], 'q');
    }
}

/* Codes behind the pool are small integers. */
static merle_value value_of(uint32_t code) {
    return code < pool_count ? pool[code] : merle_value_int((int64_t)(code - pool_count) + 1000);
}

static int is_missing(const merle_value *v) {
    return v->type == MERLE_TYPE_NIL || v->type == MERLE_TYPE_NONE;
}

static int class_of(const merle_value *v) {
    switch (v->type) {
    case MERLE_TYPE_BOOL:
        return 1;
    case MERLE_TYPE_STR:
        return 3;
    case MERLE_TYPE_BIN:
        return 4;
    case MERLE_TYPE_TIME:
        return 5;
    default:
        return 2;
    }
}

/* A long double holds each of these exactly. */
static int compare_numbers(const merle_value *a, const merle_value *b) {
    long double x[2];
    const merle_value *both[2] = {a, b};
    for (int i = 0; i < 2; i++)
        x[i] = both[i]->type == MERLE_TYPE_FLOAT  ? (long double)both[i]->number.f
               : both[i]->type == MERLE_TYPE_UINT ? (long double)both[i]->number.u
                                                  : (long double)both[i]->number.i;
    int a_is_nan = x[0] != x[0], b_is_nan = x[1] != x[1];
    if (a_is_nan || b_is_nan) return b_is_nan - a_is_nan;
    return (x[0] > x[1]) - (x[0] < x[1]);
}

static int compare_values(const merle_value *a, const merle_value *b) {
    int class = class_of(a);
    if (class != class_of(b)) return class < class_of(b) ? -1 : 1;
    if (class == 2) return compare_numbers(a, b);
    if (class == 3 || class == 4) {
        size_t shared = a->bytes.size < b->bytes.size ? a->bytes.size : b->bytes.size;
        int order = shared == 0 ? 0 : memcmp(a->bytes.data, b->bytes.data, shared);
        return order != 0 ? order
                          : (a->bytes.size > b->bytes.size) - (a->bytes.size < b->bytes.size);
    }
    if (a->number.i != b->number.i) return a->number.i < b->number.i ? -1 : 1;
    return class == 5 ? (a->count > b->count) - (a->count < b->count) : 0;
}

#endif
