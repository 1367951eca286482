/* base/bytes.h - the order of bytes.
 *
 * What    compares as memcmp does where one is as long as the other; the shorter one of two that
 *         begin alike comes first.
 * Owns    nothing.
 * Threads any.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_BASE_BYTES_H
#define MRL_BASE_BYTES_H

#include <string.h>

#include <merle/base.h>

/* The order of what both have; 0 where one begins with the other. */
static inline int mrl_bytes_order_begins(merle_bytes a, merle_bytes b) {
    size_t shared = a.size < b.size ? a.size : b.size;
    return shared == 0 ? 0 : memcmp(a.data, b.data, shared);
}

static inline int mrl_bytes_order(merle_bytes a, merle_bytes b) {
    int order = mrl_bytes_order_begins(a, b);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static inline int mrl_bytes_equal(merle_bytes a, merle_bytes b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#endif
