/* index/ordered_sweep.c - removing marked hints, and joining nodes that have become thin.
 *
 * A round goes along all leaves in order. It begins when there is enough to do for the size of the
 * tree, and is cut into calls as the caller likes; its position is a key.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "index/ordered_private.h"

enum {
    THIN_MAX = 16,      /* a node with fewer entries looks for a neighbour */
    JOINED_MAX = 48,    /* that it may be joined with, if both have so many at most */
    WORTH_ONE_IN = 128, /* marked or removed entries that begin a round, of all */
    ROOM_TIMES_MAX = 2  /* a leaf of so many times the capacity that it needs is made anew */
};

uint32_t mrl_oleaf_purge(mrl_ordered *tree, mrl_member *member, onode *leaf) {
    uint64_t young = word_load(&leaf->young), old = word_load(&leaf->old), gone = 0;
    if (old != 0 && mark_passed(member->domain, half_load(&leaf->old_ticket))) gone = old;
    if (young != 0 && gone == old && mark_passed(member->domain, half_load(&leaf->young_ticket)))
        gone |= young;
    mrl_onode_remove(tree, member, leaf, gone);
    if (word_load(&leaf->old) == 0) {
        word_store(&leaf->old, word_load(&leaf->young));
        half_store(&leaf->old_ticket, half_load(&leaf->young_ticket));
        word_store(&leaf->young, 0);
    }
    return (uint32_t)__builtin_popcountll(gone);
}

/* ---- joining ---- */

typedef struct joining {
    mrl_ordered *tree;
    mrl_member *member;
    onode *parent, *left, *right; /* all locked */
    uint32_t at;                  /* of the left one */
    oitems items;
} joining;

static uint32_t newer(uint32_t a, uint32_t b) {
    return (int32_t)(a - b) < 0 ? b : a;
}

/* The joined leaf has the marks of both, and waits for the later tickets. */
static void join_tickets(const joining *j, onode *n) {
    half_store(&n->touched, newer(half_load(&j->left->touched), half_load(&j->right->touched)));
    half_store(&n->young_ticket,
               newer(half_load(&j->left->young_ticket), half_load(&j->right->young_ticket)));
    half_store(&n->old_ticket,
               newer(half_load(&j->left->old_ticket), half_load(&j->right->old_ticket)));
}

/* The separator between two inner nodes comes down between their entries. */
static void join_separator(joining *j, okey *key, uint8_t *bytes) {
    const onode *p = j->parent;
    uint64_t tail = p->is_plain ? 1 : word_load(&node_tails(p)[j->at]);
    *key = (okey){bytes, 0, half_load(&node_slots(p)[j->at]), 0};
    if (tail_is_block(tail)) {
        key->bytes = tail_block(tail)->bytes;
        key->size = tail_block(tail)->size;
    } else {
        key->size = mrl_onode_value(p, j->at, bytes);
    }
    mrl_oitems_insert(&j->items, j->items.count, key, word_load(&node_children(j->right)[0]));
}

static onode *join_create(joining *j) {
    uint8_t bytes[MERLE_VALUE_SIZE_MAX];
    okey key;
    omake make = {.level = j->left->level, .like = j->left};
    j->items.count = 0;
    mrl_oitems_load(&j->items, j->left);
    if (j->left->level != 0) join_separator(j, &key, bytes);
    mrl_oitems_load(&j->items, j->right);
    make.count = j->items.count;
    make.room = make.level == 0 ? 2 : 8;
    onode *n = mrl_onode_create(j->tree, j->member, &j->items, &make);
    if (n != NULL && n->level == 0) join_tickets(j, n);
    return n;
}

/* All three are locked. Returns 0 without memory. */
static int join(joining *j) {
    onode *n = join_create(j);
    if (n == NULL) return 0;
    word_store(&node_children(j->parent)[j->at], (uint64_t)(uintptr_t)n);
    mrl_point("ordered.joining");
    mrl_onode_remove_child(j->tree, j->member, j->parent, j->at);
    mrl_onode_settle(j->tree, j->member, n, &j->items, 0);
    if (n->level == 0) node_clear_sum(j->parent);
    return 1;
}

static void joining_unlock(joining *j, int is_done) {
    if (!is_done) {
        node_unlock_same(j->parent);
        node_unlock_same(j->left);
        node_unlock_same(j->right);
        return;
    }
    node_unlock(j->parent);
    node_unlock_obsolete(j->left);
    node_unlock_obsolete(j->right);
    mrl_onode_retire(j->tree, j->member, j->left);
    mrl_onode_retire(j->tree, j->member, j->right);
}

/* For a try: a node that is locked is not waited for. */
static uint64_t version_now(const onode *n) {
    return atomic_load_explicit(&n->version, memory_order_acquire);
}

/* Joins the parent's children at `at` and behind it, if nobody else is at them. */
static int join_children(mrl_ordered *tree, mrl_member *member, const ostep *parent, uint32_t at) {
    joining j = {.tree = tree, .member = member, .parent = parent->node, .at = at};
    int is_done = 0;
    if (!node_try_lock(j.parent, parent->version)) return 0;
    j.left = node_child(j.parent, at);
    j.right = node_child(j.parent, at + 1);
    if (!node_try_lock(j.left, version_now(j.left))) goto unlock_parent;
    if (!node_try_lock(j.right, version_now(j.right))) goto unlock_left;
    if (node_count(j.left) + node_count(j.right) <= JOINED_MAX) is_done = join(&j);
    joining_unlock(&j, is_done);
    return is_done;
unlock_left:
    node_unlock_same(j.left);
unlock_parent:
    node_unlock_same(j.parent);
    return 0;
}

/* Joins the step's child with a neighbour, if it is thin. */
static int thin_join(mrl_ordered *tree, mrl_member *member, const ostep *parent,
                     const onode *child) {
    uint32_t count = node_count(parent->node), at = parent->at;
    if (node_count(child) >= THIN_MAX || parent->node == tree->top || count == 0) return 0;
    uint32_t size = node_count(child);
    for (int side = 0; side < 2; side++) {
        uint32_t left = side == 0 ? at : at - 1;
        if (side == 0 ? at >= count : at == 0) continue;
        const onode *other = node_child(parent->node, side == 0 ? at + 1 : at - 1);
        if (!node_is_same(parent->node, parent->version)) return 0;
        if (node_count(other) + size > JOINED_MAX) continue;
        return join_children(tree, member, parent, left);
    }
    return 0;
}

/* An inner root with one child is not needed. */
static int root_lower(mrl_ordered *tree, mrl_member *member) {
    ostep step = {tree->top, node_version(tree->top), 0};
    onode *root = node_child(tree->top, 0);
    if (!node_is_same(tree->top, step.version) || root->level == 0 || node_count(root) != 0)
        return 0;
    if (!node_try_lock(tree->top, step.version)) return 0;
    if (!node_try_lock(root, version_now(root))) goto unlock_top;
    if (node_count(root) != 0) goto unlock_root;
    mrl_onode_replace(tree, member, &step, root, node_child(root, 0));
    return 1;
unlock_root:
    node_unlock_same(root);
unlock_top:
    node_unlock_same(tree->top);
    return 0;
}

/* ---- one leaf ---- */

/* A leaf with far too much room, made anew. */
static int leaf_shrink(mrl_ordered *tree, mrl_member *member, const owalk *walk) {
    const ostep *parent = &walk->steps[walk->depth - 1];
    onode *leaf = walk->leaf;
    if (!node_try_lock(leaf, walk->leaf_version)) return 0;
    if (!node_try_lock(parent->node, parent->version)) goto unlock_leaf;
    onode *n = mrl_oleaf_create_copy(tree, member, leaf, node_count(leaf) / 16 + 1);
    if (n == NULL) goto unlock_parent;
    if (n->capacity >= leaf->capacity) goto give_back;
    mrl_onode_replace(tree, member, parent, leaf, n);
    return 1;
give_back:
    /* Beside a long prefix a few entries more or less may cost nothing. */
    mrl_onode_free(tree, member, n);
unlock_parent:
    node_unlock_same(parent->node);
unlock_leaf:
    node_unlock_same(leaf);
    return 0;
}

static int leaf_clean(mrl_ordered *tree, mrl_member *member, owalk *walk) {
    onode *leaf = walk->leaf;
    if (leaf_marks(leaf) == 0 || !mrl_owalk_lock_leaf(walk)) return 0;
    int is_changed = mrl_oleaf_purge(tree, member, leaf) != 0;
    node_unlock(leaf);
    walk->leaf_version = node_version(leaf);
    return is_changed;
}

/* Whatever can be done at the walk's leaf. */
static int leaf_tidy(mrl_ordered *tree, mrl_member *member, owalk *walk) {
    int is_changed = leaf_clean(tree, member, walk);
    uint32_t count = node_count(walk->leaf);
    if (thin_join(tree, member, &walk->steps[walk->depth - 1], walk->leaf)) return 1;
    if (walk->leaf->capacity > 4 && count * ROOM_TIMES_MAX <= walk->leaf->capacity)
        is_changed |= leaf_shrink(tree, member, walk);
    for (uint32_t i = walk->depth; i-- > 1;)
        if (thin_join(tree, member, &walk->steps[i - 1], walk->steps[i].node)) return 1;
    return is_changed | root_lower(tree, member);
}

/* ---- rounds ---- */

/* Not before something may have changed since a round that had found nothing. */
static int round_is_worth_while(mrl_ordered *tree, uint32_t epoch) {
    int64_t work = TREE_SUM(tree, marked) + TREE_SUM(tree, removed);
    if (tree->sweep_was_idle && tree->sweep_epoch == epoch) return 0;
    return work > TREE_SUM(tree, entries) / WORTH_ONE_IN;
}

static void round_begin(mrl_ordered *tree, uint32_t epoch) {
    for (int i = 0; i < CELL_COUNT; i++)
        atomic_store_explicit(&tree->cells[i].removed, 0, memory_order_relaxed);
    tree->sweep_is_going = 1;
    tree->sweep_was_idle = 1;
    tree->sweep_epoch = epoch;
}

static void position_drop(mrl_ordered *tree, mrl_member *member) {
    mrl_otail_free(tree, member, tree->sweep_at);
    tree->sweep_at = NULL;
}

/* Keeps the position until the next call. Without memory the round ends here. */
static void position_keep(mrl_ordered *tree, mrl_member *member, const okey *at) {
    position_drop(tree, member);
    tree->sweep_at = mrl_otail_create(tree, member, at->bytes, at->size);
    tree->sweep_slot = at->slot;
    if (tree->sweep_at == NULL) tree->sweep_is_going = 0;
}

/* Goes to the first leaf that has not been looked at. The position behind the leaf goes into bytes;
 * 0: there is nothing behind it. */
static int leaf_next(owalk *walk, mrl_ordered *tree, okey *position, uint8_t *bytes) {
    uint32_t spins = 0;
    for (;; mrl_onode_pause(&spins)) {
        mrl_owalk_seek(walk, tree, position, 0);
        uint8_t fence_bytes[MERLE_VALUE_SIZE_MAX];
        okey fence;
        int result = mrl_owalk_fence(walk, 0, fence_bytes, &fence);
        if (result == WALK_CHANGED) continue;
        if (result == WALK_END) return 0;
        memcpy(bytes, fence_bytes, fence.size);
        *position = fence;
        position->bytes = bytes;
        return 1;
    }
}

size_t mrl_ordered_sweep(mrl_ordered *tree, mrl_member *member, size_t max) {
    uint8_t bytes[MERLE_VALUE_SIZE_MAX];
    okey position = {bytes, 0, 0, 0};
    size_t changed = 0, done = 0;
    owalk walk;
    uint32_t epoch = mrl_epoch_value(member->domain);
    if (!mrl_lock_try(&tree->sweep_lock)) return 0;
    if (!tree->sweep_is_going && max != SIZE_MAX && !round_is_worth_while(tree, epoch)) goto leave;
    if (!tree->sweep_is_going || max == SIZE_MAX) round_begin(tree, epoch);
    if (tree->sweep_at != NULL && max != SIZE_MAX) {
        position = (okey){bytes, tree->sweep_at->size, tree->sweep_slot, 0};
        memcpy(bytes, tree->sweep_at->bytes, position.size);
    }
    for (size_t i = 0; i < max && tree->sweep_is_going; i++) {
        tree->sweep_is_going = leaf_next(&walk, tree, &position, bytes);
        changed += leaf_tidy(tree, member, &walk) != 0;
    }
    if (changed != 0) tree->sweep_was_idle = 0;
    /* There is more to look at: that nothing was changed so far does not say that nothing will. */
    done = changed == 0 && tree->sweep_is_going ? 1 : changed;
    if (tree->sweep_is_going)
        position_keep(tree, member, &position);
    else
        position_drop(tree, member);
leave:
    mrl_lock_drop(&tree->sweep_lock);
    return done;
}
