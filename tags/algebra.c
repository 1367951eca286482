/* tags/algebra.c - what an expression is about, lane by lane; estimates and counts.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tags/algebra.h"

#include <string.h>

/* ---- estimates ---- */

uint64_t mrl_tags_estimate(const mrl_tags_expr *expr, uint32_t bound) {
    uint64_t estimate = expr->op == MRL_TAGS_ANY ? 0 : bound;
    if (expr->op == MRL_TAGS_TAG) return mrl_tag_estimate(expr->tag);
    if (expr->op == MRL_TAGS_NONE) return bound;
    for (uint32_t i = 0; i < expr->child_count; i++) {
        uint64_t of_child = mrl_tags_estimate(&expr->children[i], bound);
        if (expr->op == MRL_TAGS_ANY)
            estimate += of_child;
        else if (of_child < estimate)
            estimate = of_child;
    }
    return estimate < bound ? estimate : bound;
}

/* ---- planes ---- */

static void fill(const mrl_lanes *lanes, mrl_planes *planes, uint64_t bits) {
    for (uint32_t w = 0; w < lanes->word_count; w++) planes->may[w] = planes->sure[w] = bits;
}

static uint64_t combine(mrl_tags_op op, const mrl_lanes *lanes, mrl_planes *into,
                        const mrl_planes *other) {
    uint64_t left = 0;
    if (op == MRL_TAGS_ALL) {
        for (uint32_t w = 0; w < lanes->word_count; w++) {
            left |= into->may[w] &= other->may[w];
            into->sure[w] &= other->sure[w];
        }
        return left;
    }
    for (uint32_t w = 0; w < lanes->word_count; w++) {
        into->may[w] |= other->may[w];
        into->sure[w] |= other->sure[w];
    }
    return 1;
}

static void negate(const mrl_lanes *lanes, mrl_planes *planes) {
    for (uint32_t w = 0; w < lanes->word_count; w++) {
        uint64_t may = ~planes->sure[w];
        planes->sure[w] = ~planes->may[w];
        planes->may[w] = may;
    }
}

void mrl_tags_eval(const mrl_tags_expr *expr, const mrl_lanes *lanes, mrl_planes *out_planes) {
    mrl_planes other;
    if (expr->op == MRL_TAGS_TAG) {
        if (expr != lanes->known) {
            mrl_tag_lanes(expr->tag, lanes, out_planes);
            return;
        }
        memset(out_planes->may, 0xff, lanes->word_count * sizeof(uint64_t));
        memcpy(out_planes->sure, lanes->known_sure, lanes->word_count * sizeof(uint64_t));
        return;
    }
    if (expr->child_count == 0) {
        fill(lanes, out_planes, expr->op == MRL_TAGS_ANY ? 0 : ~(uint64_t)0);
        return;
    }
    mrl_tags_eval(&expr->children[0], lanes, out_planes);
    for (uint32_t i = 1; i < expr->child_count; i++) {
        mrl_tags_eval(&expr->children[i], lanes, &other);
        if (combine(expr->op, lanes, out_planes, &other) == 0) break;
    }
    if (expr->op == MRL_TAGS_NONE) negate(lanes, out_planes);
}

/* ---- counts ---- */

enum { COUNT_BATCH = 256 };

static uint64_t count_walk(mrl_walk *walk, mrl_visible_fn *visible, void *context) {
    uint32_t slots[COUNT_BATCH];
    uint8_t recheck[COUNT_BATCH];
    uint64_t count = 0;
    size_t n;
    while ((n = mrl_walk_next(walk, slots, recheck, COUNT_BATCH)) > 0) {
        size_t open = 0;
        for (size_t i = 0; i < n; i++) {
            if (recheck[i])
                slots[open++] = slots[i];
            else
                count++;
        }
        if (open > 0) count += visible(context, slots, open);
    }
    return count;
}

merle_err mrl_tags_count(const mrl_tags_expr *expr, uint32_t bound, uint32_t section_epoch,
                         mrl_visible_fn *visible, void *context, uint64_t *out_count) {
    mrl_walk walk;
    *out_count = 0;
    merle_err err = mrl_walk_begin(&walk, expr, bound, section_epoch, 0);
    if (err != MERLE_OK) return err;
    *out_count = count_walk(&walk, visible, context);
    return MERLE_OK;
}
