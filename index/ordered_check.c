/* index/ordered_check.c - walks a whole tree that nobody changes, and says what is broken.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "index/ordered_private.h"

typedef struct checking {
    mrl_ordered *tree;
    int64_t entries, marked, leaves, inner;
    uint32_t unmarked; /* of the leaves below the node just above them */
} checking;

/* The range that a node must keep within: from low to before high. */
typedef struct orange {
    okey low, high;
} orange;

/* An entry's place; its bytes go into scratch if they lie nowhere. */
static okey entry_key(const onode *n, uint32_t at, uint8_t *scratch) {
    okey key = {scratch, 0, half_load(&node_slots(n)[at]), 0};
    uint64_t tail = n->is_plain ? 1 : word_load(&node_tails(n)[at]);
    if (!tail_is_block(tail)) {
        key.size = mrl_onode_value(n, at, scratch);
        return key;
    }
    key.bytes = tail_block(tail)->bytes;
    key.size = tail_block(tail)->size;
    return key;
}

static const char *entry_check(const onode *n, uint32_t at, const okey *key) {
    uint64_t tail = n->is_plain ? 1 : word_load(&node_tails(n)[at]);
    int is_equal;
    if (key->size < n->prefix_size || memcmp(key->bytes, node_prefix(n), n->prefix_size) != 0)
        return "a value does not begin with its node's prefix";
    if (n->is_plain && n->value_size > n->prefix_size + 8)
        return "a plain node's values are too long";
    if (tail_is_block(tail) != (key->size > n->prefix_size + 8u))
        return "a value has a block that it does not need, or lacks one";
    uint32_t rest = key->size - n->prefix_size;
    uint64_t head = rest == 0 ? 0 : mrl_ordered_head_of(key->bytes + n->prefix_size, rest);
    if (head != word_load(&node_heads(n)[at])) return "a head is not that of its value";
    if (mrl_onode_search(n, 0, key, &is_equal) != (int)at || !is_equal)
        return "an entry cannot be found in its node";
    return NULL;
}

static const char *node_entries_check(const onode *n, const orange *range) {
    uint8_t scratch[2][MERLE_VALUE_SIZE_MAX];
    okey before = range->low;
    uint32_t count = node_count(n);
    if (count > n->capacity) return "a node has more entries than it can have";
    for (uint32_t i = 0; i < count; i++) {
        okey key = entry_key(n, i, scratch[i & 1]);
        const char *broken = entry_check(n, i, &key);
        int order = mrl_okey_compare(&before, &key);
        if (broken != NULL) return broken;
        /* An entry may be the first place of its range, a separator may not. */
        if (order > 0 || (order == 0 && (i > 0 || n->level != 0)))
            return "entries are out of order, or below their range";
        if (mrl_okey_compare(&key, &range->high) >= 0) return "an entry is above its range";
        before = key;
    }
    return NULL;
}

static const char *leaf_check(checking *c, const onode *leaf) {
    uint64_t young = word_load(&leaf->young), old = word_load(&leaf->old);
    uint32_t count = node_count(leaf);
    int marked = __builtin_popcountll(young | old);
    if ((young & old) != 0) return "an entry is marked twice";
    if (((young | old) & ~bits_below(count)) != 0) return "a mark stands where no entry is";
    if (leaf->capacity > LEAF_MAX) return "a leaf is too large";
    c->leaves++;
    c->entries += count;
    c->marked += marked;
    c->unmarked += count - (uint32_t)marked;
    return NULL;
}

static const char *node_check(checking *c, const onode *n, const orange *range);

static const char *children_check(checking *c, const onode *n, const orange *range) {
    uint8_t scratch[2][MERLE_VALUE_SIZE_MAX];
    orange of_child = *range;
    uint32_t count = node_count(n);
    for (uint32_t i = 0; i <= count; i++) {
        const onode *child = node_child(n, i);
        if (child == NULL || child->level + 1 != n->level) return "a child is at the wrong level";
        of_child.high = i < count ? entry_key(n, i, scratch[i & 1]) : range->high;
        const char *broken = node_check(c, child, &of_child);
        if (broken != NULL) return broken;
        of_child.low = of_child.high;
    }
    return NULL;
}

static const char *node_check(checking *c, const onode *n, const orange *range) {
    uint64_t version = word_load(&n->version);
    const char *broken;
    if ((version & VERSION_LOCKED) != 0) return "a node is locked though nobody writes";
    if ((version & VERSION_OBSOLETE) != 0) return "an obsolete node is still in the tree";
    broken = node_entries_check(n, range);
    if (broken != NULL) return broken;
    if (n->level == 0) return leaf_check(c, n);
    c->inner++;
    if (n->level == 1) c->unmarked = 0;
    broken = children_check(c, n, range);
    if (broken != NULL) return broken;
    uint64_t sum = word_load(&n->node_sum);
    if (n->level > 1 && sum != SUM_NONE) return "a node that is not above leaves has a sum";
    if ((sum & SUM_KIND) == SUM_TOKEN) return "a sum is being made though nobody counts";
    if (n->level == 1 && sum != SUM_NONE && (uint32_t)sum >> 2 != c->unmarked)
        return "a sum is not that of the leaves";
    return NULL;
}

const char *mrl_ordered_check(mrl_ordered *tree) {
    const orange all = {{NULL, 0, 0, 0}, {NULL, 0, 0, 1}};
    checking c = {.tree = tree};
    const char *broken = node_check(&c, node_child(tree->top, 0), &all);
    if (broken != NULL) return broken;
    if (c.entries != TREE_SUM(tree, entries)) return "the entries are not as many as was counted";
    if (c.marked != TREE_SUM(tree, marked)) return "the marks are not as many as was counted";
    if (c.leaves != TREE_SUM(tree, leaves)) return "the leaves are not as many as was counted";
    if (c.inner != TREE_SUM(tree, inner)) return "the inner nodes are not as many as was counted";
    return NULL;
}
