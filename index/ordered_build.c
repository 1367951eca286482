/* index/ordered_build.c - filling an empty tree from sorted input.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "index/ordered_private.h"

merle_err mrl_ordered_build(mrl_ordered *tree, mrl_member *member, mrl_ordered_next_fn *next,
                            void *context) {
    merle_bytes value;
    uint32_t slot;
    int is_added;
    while (next(context, &value, &slot)) {
        merle_err err = mrl_ordered_add(tree, member, value, slot, &is_added);
        if (err != MERLE_OK) return err;
    }
    return MERLE_OK;
}
