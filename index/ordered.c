/* index/ordered.c - an ordered index as a whole: made, asked, given up.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stddef.h>

#include "index/ordered_private.h"

/* ---- making it ---- */

/* The root's parent: an inner node with one child and no room. */
static onode *top_create(mrl_member *member, onode *root) {
    size_t size = sizeof(onode) + sizeof(uint64_t);
    onode *top = mrl_block_alloc(member, MRL_FOR_TABLES, size);
    if (top == NULL) return NULL;
    memset((void *)top, 0, size);
    top->is_plain = 1;
    top->level = UINT8_MAX;
    atomic_init(&top->version, VERSION_STEP);
    word_store(&node_children(top)[0], (uint64_t)(uintptr_t)root);
    return top;
}

mrl_ordered *mrl_ordered_create(mrl_member *member) {
    mrl_ordered *tree = mrl_alloc(member, MRL_FOR_TABLES, sizeof *tree);
    const omake empty = {0};
    if (tree == NULL) return NULL;
    memset((void *)tree, 0, sizeof *tree);
    /* The allocator aligns to 16 bytes only. */
    uintptr_t cells = (uintptr_t)tree->cell_bytes + sizeof(ocell) - 1;
    tree->cells = (ocell *)(cells & ~(uintptr_t)(sizeof(ocell) - 1));
    mrl_lock_init(&tree->sweep_lock);
    onode *root = mrl_onode_create(tree, member, NULL, &empty);
    if (root == NULL) goto fail;
    tree->top = top_create(member, root);
    if (tree->top == NULL) goto fail;
    return tree;
fail:
    if (root != NULL) mrl_block_free(member, root);
    mrl_free(member, MRL_FOR_TABLES, tree, sizeof *tree);
    return NULL;
}

/* ---- giving it up ---- */

static void tails_free(mrl_ordered *tree, mrl_member *member, const onode *n) {
    for (uint32_t i = 0; i < node_count(n) && !n->is_plain; i++) {
        uint64_t tail = word_load(&node_tails(n)[i]);
        if (tail_is_block(tail)) mrl_otail_free(tree, member, (otail *)(uintptr_t)tail);
    }
}

/* Frees the last node that has no children, and takes it out of its parent. While a tree is being
 * cleared, an inner node whose first child is gone has none. */
static void last_free(mrl_ordered *tree, mrl_member *member) {
    onode *parent = tree->top, *n = node_child(parent, 0);
    while (n->level != 0 && node_child(n, node_count(n)) != NULL) {
        parent = n;
        n = node_child(n, node_count(n));
    }
    uint32_t at = node_count(parent);
    word_store(&node_children(parent)[at], 0);
    if (at != 0 && !parent->is_plain) {
        uint64_t tail = word_load(&node_tails(parent)[at - 1]);
        if (tail_is_block(tail)) mrl_otail_free(tree, member, (otail *)(uintptr_t)tail);
    }
    if (at != 0) half_store(&parent->count, at - 1);
    if (n->level == 0) tails_free(tree, member, n);
    mrl_onode_free(tree, member, n);
}

size_t mrl_ordered_clear_some(mrl_ordered *tree, mrl_member *member, size_t max) {
    size_t freed = 0;
    for (; freed < max && node_child(tree->top, 0) != NULL; freed++) last_free(tree, member);
    return freed;
}

void mrl_ordered_destroy(mrl_ordered *tree, mrl_member *member) {
    (void)mrl_ordered_clear_some(tree, member, SIZE_MAX);
    mrl_otail_free(tree, member, tree->sweep_at);
    mrl_block_free(member, tree->top);
    mrl_free(member, MRL_FOR_TABLES, tree, sizeof *tree);
}

/* ---- asking ---- */

int mrl_ordered_has(mrl_ordered *tree, merle_bytes value, uint32_t slot) {
    okey key = okey_of(value, slot);
    owalk walk;
    for (;;) {
        int is_equal;
        mrl_owalk_seek(&walk, tree, &key, 0);
        int at = mrl_onode_search(walk.leaf, walk.leaf_version, &key, &is_equal);
        if (at >= 0 && node_is_same(walk.leaf, walk.leaf_version)) return is_equal;
    }
}

int64_t mrl_ordered_sum(mrl_ordered *tree, size_t offset) {
    int64_t sum = 0;
    for (int i = 0; i < CELL_COUNT; i++) {
        const char *cell = (const char *)&tree->cells[i];
        const _Atomic int64_t *count = (const _Atomic int64_t *)(const void *)(cell + offset);
        sum += atomic_load_explicit(count, memory_order_relaxed);
    }
    return sum;
}

static uint64_t not_negative(int64_t n) {
    return n < 0 ? 0 : (uint64_t)n;
}

void mrl_ordered_stat(mrl_ordered *tree, mrl_ordered_stats *out_stats) {
    memset(out_stats, 0, sizeof *out_stats);
    out_stats->entries = not_negative(TREE_SUM(tree, entries));
    out_stats->marked = not_negative(TREE_SUM(tree, marked));
    out_stats->leaves = not_negative(TREE_SUM(tree, leaves));
    out_stats->inner = not_negative(TREE_SUM(tree, inner));
    out_stats->bytes = not_negative(TREE_SUM(tree, bytes));
    for (;;) {
        uint64_t version = node_version(tree->top);
        const onode *root = node_child(tree->top, 0);
        if (!node_is_same(tree->top, version)) continue;
        out_stats->depth = root == NULL ? 0 : root->level + 1u;
        return;
    }
}
