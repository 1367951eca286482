/* document/condition_bounds.c - the range of encoded values that a comparison stands for.
 *
 * An index answers what evaluation answers only if its range ends where the operand's class ends:
 * behind the numbers come strings, and a number is never above a string in a condition.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/bytes.h"
#include "document/condition.h"
#include "document/encode.h"
#include "document/order.h"

static merle_err encode_end(const merle_value *value, uint8_t *out, size_t *out_size) {
    if (value->type == MERLE_TYPE_NIL) return MERLE_UNSUPPORTED;
    return mrl_encode_value(value, 0, out, MERLE_VALUE_SIZE_MAX, out_size);
}

/* Both ends at the value; then the one that the comparison leaves open is moved. */
static merle_err bounds_compare(const merle_value *value, merle_compare compare, mrl_bounds *b) {
    uint8_t first, last;
    merle_err err = encode_end(value, b->from, &b->from_size);
    if (err != MERLE_OK) return err;
    memcpy(b->to, b->from, b->from_size);
    b->to_size = b->from_size;
    mrl_encode_class(value->type, &first, &last);
    if (compare == MERLE_LT || compare == MERLE_LE) {
        b->from[0] = first;
        b->from_size = 1;
        b->to_open = compare == MERLE_LT;
    } else if (compare == MERLE_GT || compare == MERLE_GE) {
        b->to[0] = last;
        b->to_size = 1;
        b->from_open = compare == MERLE_GT;
    }
    return MERLE_OK;
}

static merle_err bounds_between(const merle_value *low, const merle_value *high, mrl_bounds *b) {
    merle_err err = encode_end(low, b->from, &b->from_size);
    if (err == MERLE_OK) err = encode_end(high, b->to, &b->to_size);
    if (err != MERLE_OK) return err;
    if (mrl_value_class(low->type) == mrl_value_class(high->type) &&
        mrl_value_order(low, high) <= 0)
        return MERLE_OK;
    b->is_empty = 1;
    b->from_size = b->to_size = 0;
    return MERLE_OK;
}

/* Without the two bytes that end it, an encoded string is what all longer ones begin with. */
static merle_err bounds_prefix(const merle_value *prefix, mrl_bounds *b) {
    merle_err err = encode_end(prefix, b->from, &b->from_size);
    if (err != MERLE_OK) return err;
    b->from_size -= 2;
    memcpy(b->to, b->from, b->from_size);
    b->to_size = b->from_size;
    return MERLE_OK;
}

merle_err mrl_condition_bounds(const mrl_condition_node *leaf, const merle_value *values,
                               mrl_bounds *out_bounds) {
    mrl_bounds *b = out_bounds;
    b->from_size = b->to_size = 0;
    b->from_open = b->to_open = b->is_empty = 0;
    if (leaf->operand_count == 0 || leaf->operand_count > 2) return MERLE_UNSUPPORTED;
    const merle_value *first = mrl_operand_value(&leaf->operands[0], values);
    merle_err err = MERLE_UNSUPPORTED;
    if (leaf->kind == MRL_CONDITION_COMPARE && leaf->compare != MERLE_NE)
        err = bounds_compare(first, leaf->compare, b);
    else if (leaf->kind == MRL_CONDITION_IN && leaf->operand_count == 1)
        err = bounds_compare(first, MERLE_EQ, b);
    else if (leaf->kind == MRL_CONDITION_BETWEEN)
        err = bounds_between(first, mrl_operand_value(&leaf->operands[1], values), b);
    else if (leaf->kind == MRL_CONDITION_PREFIX)
        err = bounds_prefix(first, b);
    if (err != MERLE_OK) b->from_size = b->to_size = 0;
    return err;
}

int mrl_bounds_have(const mrl_bounds *bounds, const uint8_t *encoded, size_t size) {
    if (bounds->is_empty) return 0;
    int order = mrl_bytes_order_begins(merle_bytes_of(encoded, size),
                                       merle_bytes_of(bounds->from, bounds->from_size));
    if (order < 0) return 0;
    if (order == 0 && bounds->from_open && size >= bounds->from_size) return 0;
    order = mrl_bytes_order_begins(merle_bytes_of(encoded, size),
                                   merle_bytes_of(bounds->to, bounds->to_size));
    return order < 0 || (order == 0 && !bounds->to_open);
}
