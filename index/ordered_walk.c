/* index/ordered_walk.c - the way down to a leaf, and from one leaf to the next.
 *
 * Ranges of nodes never change: so a leaf that was current after the way to it was read is the leaf
 * of its range, and the next child of a parent that still has the same version is its neighbour.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "index/ordered_private.h"

enum { LINE_SIZE = 64, PREFETCH_LINES = 8 };

static void prefetch(const onode *n) {
    const char *at = (const char *)n;
    for (int i = 0; i < PREFETCH_LINES; i++) __builtin_prefetch(at + i * LINE_SIZE);
}

/* Notes the leaf and its version. 0: it is obsolete. */
static int leaf_note(owalk *walk, onode *leaf) {
    walk->leaf = leaf;
    walk->leaf_version = node_version(leaf);
    mrl_point("ordered.leaf");
    return (walk->leaf_version & VERSION_OBSOLETE) == 0;
}

/* One node down; *inout_node becomes the child. 0: something has changed. */
static int down(owalk *walk, onode **inout_node, const okey *key, int is_below) {
    onode *n = *inout_node;
    uint64_t version = node_version(n);
    int is_equal, at;
    if ((version & VERSION_OBSOLETE) != 0) return 0;
    at = mrl_onode_search(n, version, key, &is_equal);
    if (at < 0) return 0;
    /* A separator is the first place of what lies behind it. */
    at += is_equal && !is_below;
    onode *child = node_child(n, (uint32_t)at);
    mrl_point("ordered.down");
    if (!node_is_same(n, version)) return 0;
    prefetch(child);
    MRL_ASSERT(walk->depth < DEPTH_MAX);
    walk->steps[walk->depth++] = (ostep){n, version, (uint32_t)at};
    *inout_node = child;
    return 1;
}

void mrl_owalk_seek(owalk *walk, mrl_ordered *tree, const okey *key, int is_below) {
    uint32_t spins = 0;
    walk->tree = tree;
    for (;; mrl_onode_pause(&spins)) {
        onode *n = tree->top;
        int is_on = 1;
        walk->depth = 0;
        while (n->level != 0 && is_on) is_on = down(walk, &n, key, is_below);
        if (is_on && leaf_note(walk, n)) return;
    }
}

void mrl_ordered_prefetch(mrl_ordered *tree, merle_bytes value, uint32_t slot) {
    owalk walk;
    okey key = okey_of(value, slot);
    onode *n = tree->top;
    walk.depth = 0;
    /* From top to the root; the last step from there asks for the leaf, and does not look at it. */
    if (!down(&walk, &n, &key, 0)) return;
    for (uint32_t level = n->level; level > 0; level--)
        if (!down(&walk, &n, &key, 0)) return;
}

/* Down along the edge that comes first in the direction. */
static int edge(owalk *walk, onode *n, int direction) {
    while (n->level != 0) {
        uint64_t version = node_version(n);
        uint32_t at = direction > 0 ? 0 : node_count(n);
        onode *child = node_child(n, at);
        if ((version & VERSION_OBSOLETE) != 0 || !node_is_same(n, version)) return WALK_CHANGED;
        MRL_ASSERT(walk->depth < DEPTH_MAX);
        walk->steps[walk->depth++] = (ostep){n, version, at};
        n = child;
    }
    return leaf_note(walk, n) ? WALK_ON : WALK_CHANGED;
}

void mrl_owalk_prefetch(const owalk *walk, int direction) {
    const ostep *step = &walk->steps[walk->depth - 1];
    uint32_t count = node_count(step->node);
    /* What was read may be old: a prefetch cannot be wrong. */
    if (direction > 0 && step->at < count) prefetch(node_child(step->node, step->at + 1));
    if (direction < 0 && step->at > 0 && step->at <= count)
        prefetch(node_child(step->node, step->at - 1));
}

int mrl_owalk_step(owalk *walk, int direction) {
    while (walk->depth > 0) {
        ostep *step = &walk->steps[walk->depth - 1];
        onode *n = step->node;
        uint32_t count = node_count(n);
        int is_last = direction > 0 ? step->at >= count : step->at == 0;
        onode *child = is_last ? NULL : node_child(n, step->at + (uint32_t)direction);
        onode *later = NULL;
        if (direction > 0 && step->at + 2 <= count) later = node_child(n, step->at + 2);
        if (direction < 0 && step->at >= 2) later = node_child(n, step->at - 2);
        if (!node_is_same(n, step->version)) return WALK_CHANGED;
        if (!is_last) {
            if (later != NULL) prefetch(later);
            step->at += (uint32_t)direction;
            return edge(walk, child, direction);
        }
        walk->depth--;
    }
    return WALK_END;
}

int mrl_owalk_fence(const owalk *walk, uint32_t level, uint8_t *out, okey *out_key) {
    for (uint32_t i = walk->depth - level; i-- > 0;) {
        const ostep *step = &walk->steps[i];
        const onode *n = step->node;
        uint32_t count = node_count(n);
        uint64_t tail = 1;
        if (step->at < count) {
            out_key->size = n->value_size;
            out_key->slot = half_load(&node_slots(n)[step->at]);
            out_key->bytes = out;
            out_key->is_after = 0;
            if (!n->is_plain) tail = word_load(&node_tails(n)[step->at]);
            if (!tail_is_block(tail)) out_key->size = mrl_onode_value(n, step->at, out);
        }
        if (!node_is_same(n, step->version)) return WALK_CHANGED;
        if (step->at >= count) continue;
        if (!tail_is_block(tail)) return WALK_ON;
        out_key->size = tail_block(tail)->size;
        memcpy(out, tail_block(tail)->bytes, out_key->size);
        return WALK_ON;
    }
    return WALK_END;
}
