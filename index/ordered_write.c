/* index/ordered_write.c - adding and marking hints; growing and splitting nodes.
 *
 * A hint goes into its leaf in place if it can. Else the leaf is made anew, larger, or in two: this
 * changes the parent, so both are locked. If the parent in turn has no room for one more separator,
 * or not in its form, all is given back, the parent is made anew first, or in two, and the add
 * begins again. So no more than two levels are ever locked at once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "index/ordered_private.h"

enum { DONE, RETRY, REFUSED, NEED };

typedef struct adding {
    mrl_ordered *tree;
    mrl_member *member;
    okey key;
    otail *spare; /* for the leaf's new entry, made before the leaf is locked */
    int is_added;
    owalk walk;
    /* The separator that a node of need_level must be able to take. */
    okey need;
    uint32_t need_level;
    uint8_t need_bytes[MERLE_VALUE_SIZE_MAX];
    uint8_t separator_bytes[MERLE_VALUE_SIZE_MAX];
    oitems items;
} adding;

/* ---- locks ---- */

int mrl_owalk_lock_leaf(const owalk *walk) {
    const ostep *parent = &walk->steps[walk->depth - 1];
    if (!node_try_lock(walk->leaf, walk->leaf_version)) return 0;
    /* Sequentially consistent, behind the lock: whoever replaces the parent from now on comes after
     * us, and so does whoever sums the new one up. */
    if (atomic_load_explicit(&parent->node->version, memory_order_seq_cst) == parent->version)
        return 1;
    node_unlock_same(walk->leaf);
    return 0;
}

/* After a lock was not to be had: notes the leaf's version now. As its range is what it was, there
 * is no need to go down again, unless the leaf is obsolete or its parent has changed. */
static int leaf_again(owalk *walk) {
    const ostep *parent = &walk->steps[walk->depth - 1];
    walk->leaf_version = node_version(walk->leaf);
    return (walk->leaf_version & VERSION_OBSOLETE) == 0 &&
           node_is_same(parent->node, parent->version);
}

/* ---- putting new nodes into the parent ---- */

static void old_give_up(mrl_ordered *tree, mrl_member *member, const ostep *parent, onode *old) {
    if (old->level == 0) node_clear_sum(parent->node);
    node_unlock(parent->node);
    node_unlock_obsolete(old);
    mrl_onode_retire(tree, member, old);
}

void mrl_onode_replace(mrl_ordered *tree, mrl_member *member, const ostep *parent, onode *old,
                       onode *n) {
    word_store(&node_children(parent->node)[parent->at], (uint64_t)(uintptr_t)n);
    old_give_up(tree, member, parent, old);
}

/* What comes in place of an old node, and where. */
typedef struct halves {
    const ostep *parent;
    onode *old;
    okey separator;
    omake left, right;
} halves;

/* A root above the two, in place of the one that is split. */
static onode *root_create(adding *a, const halves *h, onode *left, onode *right) {
    oitems one;
    const omake make = {.count = 1, .room = 2, .level = h->old->level + 1u};
    one.count = 0;
    one.first_child = (uint64_t)(uintptr_t)left;
    mrl_oitems_insert(&one, 0, &h->separator, (uint64_t)(uintptr_t)right);
    return mrl_onode_create(a->tree, a->member, &one, &make);
}

/* Both are locked, and stay so unless it is DONE. */
static int split(adding *a, const halves *h) {
    onode *parent = h->parent->node, *left, *right = NULL, *root = NULL;
    otail *tail = NULL;
    int has_tail, is_root = parent == a->tree->top;
    left = mrl_onode_create(a->tree, a->member, &a->items, &h->left);
    if (left == NULL) goto fail;
    right = mrl_onode_create(a->tree, a->member, &a->items, &h->right);
    if (right == NULL) goto fail;
    if (is_root) root = root_create(a, h, left, right);
    if (is_root && root == NULL) goto fail;
    has_tail = !is_root && onode_needs_tail(parent, &h->separator);
    if (has_tail)
        tail = mrl_otail_create(a->tree, a->member, h->separator.bytes, h->separator.size);
    if (has_tail && tail == NULL) goto fail;
    word_store(&node_children(parent)[h->parent->at], (uint64_t)(uintptr_t)(is_root ? root : left));
    mrl_point("ordered.splitting");
    if (!is_root)
        mrl_onode_insert(parent, h->parent->at, &h->separator, tail, (uint64_t)(uintptr_t)right);
    mrl_onode_settle(a->tree, a->member, left, &a->items, h->left.first);
    mrl_onode_settle(a->tree, a->member, right, &a->items, h->right.first);
    return DONE;
fail:
    mrl_onode_cancel(a->tree, a->member, left, &a->items, h->left.first);
    mrl_onode_cancel(a->tree, a->member, right, &a->items, h->right.first);
    return REFUSED;
}

/* Whether the parent can take the separator in place. If not, that is noted as needed. */
static int parent_takes(adding *a, const onode *parent, const okey *separator) {
    if (parent == a->tree->top) return 1;
    if (node_count(parent) < parent->capacity && mrl_onode_takes(parent, separator)) return 1;
    memcpy(a->need_bytes, separator->bytes, separator->size);
    a->need = *separator;
    a->need.bytes = a->need_bytes;
    a->need_level = parent->level;
    return 0;
}

/* ---- making inner nodes anew ---- */

/* The walk's step at this level; 0: there is none. */
static uint32_t step_at_level(const owalk *walk, uint32_t level) {
    for (uint32_t i = walk->depth; i-- > 1;)
        if (walk->steps[i].node->level == level) return i;
    return 0;
}

static int inner_split(adding *a, const ostep *parent, onode *n) {
    oitems *items = &a->items;
    uint32_t middle = items->count / 2;
    int is_equal, at = mrl_onode_search(n, 0, &a->need, &is_equal), status;
    /* Rows that only go up, or down, leave full nodes behind. */
    if (at == (int)items->count) middle = items->count - 1;
    if (at == 0) middle = 0;
    oitem *up = &items->items[middle];
    int is_block = !n->is_plain && tail_is_block(up->tail);
    halves h = {.parent = parent, .old = n, .separator = {.slot = up->slot}};
    h.separator.bytes = a->separator_bytes;
    if (is_block) {
        h.separator.size = tail_block(up->tail)->size;
        memcpy(a->separator_bytes, tail_block(up->tail)->bytes, h.separator.size);
    } else {
        h.separator.size = mrl_onode_value(n, middle, a->separator_bytes);
    }
    if (!parent_takes(a, parent->node, &h.separator)) return NEED;
    h.left = (omake){.count = middle, .level = n->level};
    h.right = (omake){.first = middle + 1, .count = items->count - middle - 1, .level = n->level};
    h.left.room = h.left.count / 4 + 4;
    h.right.room = h.right.count / 4 + 4;
    status = split(a, &h);
    if (status == DONE && is_block) mrl_otail_retire(a->tree, a->member, tail_block(up->tail));
    return status;
}

static int inner_grow(adding *a, const ostep *parent, onode *n) {
    uint32_t count = a->items.count;
    const omake make = {
        .count = count, .room = count / 2 + 4, .level = n->level, .like = n, .also = &a->need};
    onode *grown = mrl_onode_create(a->tree, a->member, &a->items, &make);
    if (grown == NULL) return REFUSED;
    word_store(&node_children(parent->node)[parent->at], (uint64_t)(uintptr_t)grown);
    mrl_onode_settle(a->tree, a->member, grown, &a->items, 0);
    return DONE;
}

/* Makes the node that shall take the separator able to do so. NEED: its parent first. */
static int widen(adding *a) {
    owalk *walk = &a->walk;
    int status = DONE;
    mrl_owalk_seek(walk, a->tree, &a->need, 0);
    uint32_t i = step_at_level(walk, a->need_level);
    if (i == 0) return DONE; /* the tree has become lower */
    onode *n = walk->steps[i].node;
    const ostep *parent = &walk->steps[i - 1];
    if (!node_try_lock(n, walk->steps[i].version)) return RETRY;
    if (!node_try_lock(parent->node, parent->version)) {
        node_unlock_same(n);
        return RETRY;
    }
    if (node_count(n) < n->capacity && mrl_onode_takes(n, &a->need)) goto leave;
    a->items.count = 0;
    mrl_oitems_load(&a->items, n);
    status = node_count(n) < INNER_MAX ? inner_grow(a, parent, n) : inner_split(a, parent, n);
    if (status != DONE) goto leave;
    node_unlock(parent->node);
    node_unlock_obsolete(n);
    mrl_onode_retire(a->tree, a->member, n);
    return DONE;
leave:
    node_unlock_same(parent->node);
    node_unlock_same(n);
    return status;
}

/* ---- making leaves anew ---- */

/* The bytes of an item of the leaf, or of the key. */
static uint32_t item_value(const adding *a, const onode *leaf, uint32_t at, uint32_t key_at,
                           uint8_t *out) {
    if (at == key_at) {
        memcpy(out, a->key.bytes, a->key.size);
        return a->key.size;
    }
    const oitem *item = &a->items.items[at];
    if (leaf->is_plain || !tail_is_block(item->tail))
        return mrl_onode_value(leaf, at > key_at ? at - 1 : at, out);
    memcpy(out, tail_block(item->tail)->bytes, tail_block(item->tail)->size);
    return tail_block(item->tail)->size;
}

/* The shortest bytes that lie between the items before and at `cut`. */
static void separator_between(adding *a, const onode *leaf, uint32_t cut, uint32_t key_at,
                              okey *out) {
    uint8_t before[MERLE_VALUE_SIZE_MAX];
    okey left = {before, 0, a->items.items[cut - 1].slot, 0};
    okey right = {a->separator_bytes, 0, a->items.items[cut].slot, 0};
    right.size = item_value(a, leaf, cut, key_at, a->separator_bytes);
    left.size = item_value(a, leaf, cut - 1, key_at, before);
    mrl_okey_between(&left, &right, out);
}

/* The leaf in two. Rows that only go up, or down, leave full leaves behind: then the new hint is
 * alone, and the separator lies close to the full leaf, so that what comes between the two joins
 * the new one. */
static int leaf_split(adding *a, const ostep *parent, onode *leaf, uint32_t at) {
    uint32_t count = a->items.count, cut = count / 2;
    halves h = {.parent = parent, .old = leaf};
    if (at + 1 == count) {
        cut = at;
        h.separator = (okey){a->separator_bytes, 0, a->items.items[at - 1].slot + 1, 0};
        h.separator.size = item_value(a, leaf, at - 1, at, a->separator_bytes);
    } else if (at == 0) {
        cut = 1;
        h.separator = (okey){a->separator_bytes, 0, a->items.items[1].slot, 0};
        h.separator.size = item_value(a, leaf, 1, at, a->separator_bytes);
    } else {
        separator_between(a, leaf, cut, at, &h.separator);
    }
    if (!parent_takes(a, parent->node, &h.separator)) return NEED;
    h.left = (omake){.count = cut, .room = 2, .like = leaf};
    h.right = (omake){.first = cut, .count = count - cut, .room = 2, .like = leaf};
    return split(a, &h);
}

/* The same leaf, larger. */
static int leaf_grow(adding *a, const ostep *parent, onode *leaf, uint32_t at) {
    onode *n = mrl_oleaf_create_copy(a->tree, a->member, leaf, node_count(leaf) / 16 + 2);
    if (n == NULL) return REFUSED;
    int has_tail = !leaf->is_plain && onode_needs_tail(leaf, &a->key);
    mrl_onode_insert(n, at, &a->key, has_tail ? a->spare : NULL, 0);
    if (has_tail) a->spare = NULL;
    word_store(&node_children(parent->node)[parent->at], (uint64_t)(uintptr_t)n);
    return DONE;
}

/* The leaf in a form that takes the key. */
static int leaf_reform(adding *a, const ostep *parent, onode *leaf) {
    uint32_t count = a->items.count;
    const omake make = {.count = count, .room = count / 16 + 1, .like = leaf};
    onode *grown = mrl_onode_create(a->tree, a->member, &a->items, &make);
    if (grown == NULL) return REFUSED;
    word_store(&node_children(parent->node)[parent->at], (uint64_t)(uintptr_t)grown);
    mrl_onode_settle(a->tree, a->member, grown, &a->items, 0);
    return DONE;
}

/* The leaf is locked. */
static int leaf_renew(adding *a, uint32_t at, int takes, uint32_t epoch) {
    onode *leaf = a->walk.leaf;
    const ostep *parent = &a->walk.steps[a->walk.depth - 1];
    int status = RETRY;
    if (!node_try_lock(parent->node, parent->version)) goto leave;
    half_store(&leaf->touched, epoch); /* what replaces the leaf takes it over */
    if (takes && node_count(leaf) < LEAF_MAX) {
        status = leaf_grow(a, parent, leaf, at);
    } else {
        a->items.count = 0;
        mrl_oitems_load(&a->items, leaf);
        mrl_oitems_insert(&a->items, at, &a->key, 0);
        status = a->items.count <= LEAF_MAX ? leaf_reform(a, parent, leaf)
                                            : leaf_split(a, parent, leaf, at);
    }
    if (status == DONE) {
        old_give_up(a->tree, a->member, parent, leaf);
        a->is_added = 1;
        cell_add(&tree_cell(a->tree, a->member)->entries, 1);
        return DONE;
    }
    node_unlock_same(parent->node);
leave:
    node_unlock(leaf);
    return status;
}

/* ---- adding ---- */

static void leaf_touch(const owalk *walk, uint32_t epoch) {
    half_store(&walk->leaf->touched, epoch);
    node_clear_sum(walk->steps[walk->depth - 1].node);
}

/* The hint is there already; the leaf is locked. */
static int unmark(adding *a, uint32_t at, uint32_t epoch) {
    onode *leaf = a->walk.leaf;
    uint64_t bit = (uint64_t)1 << at;
    if ((leaf_marks(leaf) & bit) == 0) {
        node_unlock_same(leaf);
        return DONE;
    }
    word_store(&leaf->young, word_load(&leaf->young) & ~bit);
    word_store(&leaf->old, word_load(&leaf->old) & ~bit);
    leaf_touch(&a->walk, epoch);
    node_unlock(leaf);
    a->is_added = 1;
    cell_add(&tree_cell(a->tree, a->member)->marked, -1);
    return DONE;
}

/* In the walk's leaf. */
static int leaf_add(adding *a) {
    owalk *walk = &a->walk;
    int is_equal, at;
    onode *leaf = walk->leaf;
    at = mrl_onode_search(leaf, walk->leaf_version, &a->key, &is_equal);
    if (at < 0) return RETRY;
    int takes = mrl_onode_takes(leaf, &a->key);
    int has_tail = takes && !leaf->is_plain && onode_needs_tail(leaf, &a->key);
    if (has_tail && !is_equal && a->spare == NULL) {
        a->spare = mrl_otail_create(a->tree, a->member, a->key.bytes, a->key.size);
        if (a->spare == NULL) return REFUSED;
    }
    if (!mrl_owalk_lock_leaf(walk)) return RETRY;
    uint32_t epoch = mrl_epoch_value(a->member->domain);
    if (is_equal) return unmark(a, (uint32_t)at, epoch);
    if (node_count(leaf) == leaf->capacity && leaf_marks(leaf) != 0 &&
        mrl_oleaf_purge(a->tree, a->member, leaf) != 0)
        at = mrl_onode_search(leaf, 0, &a->key, &is_equal);
    if (!takes || node_count(leaf) == leaf->capacity || node_count(leaf) == LEAF_MAX)
        return leaf_renew(a, (uint32_t)at, takes, epoch);
    mrl_onode_insert(leaf, (uint32_t)at, &a->key, has_tail ? a->spare : NULL, 0);
    leaf_touch(walk, epoch);
    node_unlock(leaf);
    if (has_tail) a->spare = NULL;
    a->is_added = 1;
    cell_add(&tree_cell(a->tree, a->member)->entries, 1);
    return DONE;
}

static int add_once(adding *a) {
    int status;
    mrl_owalk_seek(&a->walk, a->tree, &a->key, 0);
    do status = leaf_add(a);
    while (status == RETRY && leaf_again(&a->walk));
    return status;
}

merle_err mrl_ordered_add(mrl_ordered *tree, mrl_member *member, merle_bytes value, uint32_t slot,
                          int *out_added) {
    adding a;
    uint32_t spins = 0;
    int status;
    MRL_ASSERT(value.size > 0 && value.size <= MERLE_VALUE_SIZE_MAX && slot != UINT32_MAX);
    a.tree = tree;
    a.member = member;
    a.key = okey_of(value, slot);
    a.spare = NULL;
    a.is_added = 0;
    for (;;) {
        status = add_once(&a);
        if (status == DONE || status == REFUSED) break;
        if (status == RETRY) mrl_onode_pause(&spins);
        while (status == NEED) status = widen(&a);
        if (status == REFUSED) break;
    }
    mrl_otail_free(tree, member, a.spare);
    *out_added = a.is_added;
    return status == DONE ? MERLE_OK : MERLE_NO_MEMORY;
}

/* ---- marking ---- */

/* 0: something has changed, or somebody else has the leaf. */
static int leaf_mark(mrl_ordered *tree, mrl_member *member, const okey *key, const owalk *walk) {
    onode *leaf = walk->leaf;
    int is_equal, at = mrl_onode_search(leaf, walk->leaf_version, key, &is_equal);
    if (at < 0 || !mrl_owalk_lock_leaf(walk)) return 0;
    MRL_ASSERT(is_equal);
    if (leaf_marks(leaf) != 0 && mrl_oleaf_purge(tree, member, leaf) != 0)
        at = mrl_onode_search(leaf, 0, key, &is_equal);
    uint64_t bit = (uint64_t)1 << at;
    uint32_t epoch = mrl_epoch_value(member->domain);
    MRL_ASSERT((leaf_marks(leaf) & bit) == 0);
    word_store(&leaf->young, word_load(&leaf->young) | bit);
    half_store(&leaf->young_ticket, epoch);
    leaf_touch(walk, epoch);
    node_unlock(leaf);
    cell_add(&tree_cell(tree, member)->marked, 1);
    return 1;
}

void mrl_ordered_mark(mrl_ordered *tree, mrl_member *member, merle_bytes value, uint32_t slot) {
    okey key = okey_of(value, slot);
    owalk walk;
    uint32_t spins = 0;
    for (;; mrl_onode_pause(&spins)) {
        mrl_owalk_seek(&walk, tree, &key, 0);
        do
            if (leaf_mark(tree, member, &key, &walk)) return;
        while (leaf_again(&walk));
    }
}
