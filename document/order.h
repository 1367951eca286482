/* document/order.h - the order of values, without encoding them first.
 *
 * What    the same order as document/encode.h: nil < bool < numbers < strings < binary < times, and
 *         numbers of every kind compared exactly; every NaN is equal and lies below other numbers.
 * Owns    nothing, allocates nothing.
 * Threads any.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DOCUMENT_ORDER_H
#define MRL_DOCUMENT_ORDER_H

#include <merle/document.h>

/* What compares with what. Values of NONE (nothing, arrays, maps, extensions) compare with
 * nothing. */
typedef enum mrl_class {
    MRL_CLASS_NONE = 0,
    MRL_CLASS_NIL,
    MRL_CLASS_BOOL,
    MRL_CLASS_NUMBER,
    MRL_CLASS_STR,
    MRL_CLASS_BIN,
    MRL_CLASS_TIME
} mrl_class;

mrl_class mrl_value_class(merle_type type);

/* Below 0, 0 or above 0. Neither value's class is NONE. */
int mrl_value_order(const merle_value *left, const merle_value *right);

#endif
