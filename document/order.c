/* document/order.c - the order of values, without encoding them first.
 * SPDX-License-Identifier: Apache-2.0 */
#include "document/order.h"

#include <string.h>

#include "base/assert.h"
#include "document/encode.h"

mrl_class mrl_value_class(merle_type type) {
    static const uint8_t classes[] = {
        [MERLE_TYPE_NONE] = MRL_CLASS_NONE,   [MERLE_TYPE_NIL] = MRL_CLASS_NIL,
        [MERLE_TYPE_BOOL] = MRL_CLASS_BOOL,   [MERLE_TYPE_INT] = MRL_CLASS_NUMBER,
        [MERLE_TYPE_UINT] = MRL_CLASS_NUMBER, [MERLE_TYPE_FLOAT] = MRL_CLASS_NUMBER,
        [MERLE_TYPE_STR] = MRL_CLASS_STR,     [MERLE_TYPE_BIN] = MRL_CLASS_BIN,
        [MERLE_TYPE_ARRAY] = MRL_CLASS_NONE,  [MERLE_TYPE_MAP] = MRL_CLASS_NONE,
        [MERLE_TYPE_TIME] = MRL_CLASS_TIME,   [MERLE_TYPE_EXT] = MRL_CLASS_NONE,
    };
    if ((unsigned)type >= sizeof(classes)) return MRL_CLASS_NONE;
    return (mrl_class)classes[type];
}

static int order_i64(int64_t left, int64_t right) {
    return (left > right) - (left < right);
}

/* Integers and floats have no common type in C that holds both exactly; their encodings have. */
static int order_encoded(const merle_value *left, const merle_value *right) {
    uint8_t one[MRL_ENCODE_SCALAR_SIZE_MAX], other[MRL_ENCODE_SCALAR_SIZE_MAX];
    size_t one_size, other_size;
    merle_err err = mrl_encode_value(left, 0, one, sizeof(one), &one_size);
    if (err == MERLE_OK) err = mrl_encode_value(right, 0, other, sizeof(other), &other_size);
    MRL_ASSERT(err == MERLE_OK);
    /* No encoding is the beginning of another one, so the shorter size decides. */
    return memcmp(one, other, one_size < other_size ? one_size : other_size);
}

static int order_numbers(const merle_value *left, const merle_value *right) {
    if (left->type == MERLE_TYPE_INT && right->type == MERLE_TYPE_INT)
        return order_i64(left->number.i, right->number.i);
    if (left->type == MERLE_TYPE_FLOAT && right->type == MERLE_TYPE_FLOAT) {
        double one = left->number.f, other = right->number.f;
        if (one == one && other == other) return (one > other) - (one < other);
    }
    return order_encoded(left, right);
}

static int order_bytes(merle_bytes left, merle_bytes right) {
    size_t size = left.size < right.size ? left.size : right.size;
    int order = size == 0 ? 0 : memcmp(left.data, right.data, size);
    if (order != 0) return order;
    return (left.size > right.size) - (left.size < right.size);
}

int mrl_value_order(const merle_value *left, const merle_value *right) {
    mrl_class class = mrl_value_class(left->type), other = mrl_value_class(right->type);
    if (class != other) return class < other ? -1 : 1;
    switch (class) {
    case MRL_CLASS_NUMBER:
        return order_numbers(left, right);
    case MRL_CLASS_BOOL:
        return (left->number.i != 0) - (right->number.i != 0);
    case MRL_CLASS_STR:
    case MRL_CLASS_BIN:
        return order_bytes(left->bytes, right->bytes);
    case MRL_CLASS_TIME:
        if (left->number.i != right->number.i) return order_i64(left->number.i, right->number.i);
        return order_i64(left->count, right->count);
    case MRL_CLASS_NIL:
    case MRL_CLASS_NONE:
        break;
    }
    return 0;
}
