/* index/ordered_build.c - a tree made at once from all its hints, from the leaves up.
 *
 * Hints come in order, so a leaf is made when it is known what it has: in its final size and form,
 * and never touched again. The level of leaves is a row of nodes with what separates each from the
 * one before. From a row the next one is made, shorter, until there is one node: the root. A level
 * is shared out evenly, so that no inner node is left with a single child.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stddef.h>

#include "index/ordered_private.h"

/* Nearly full: there is room for what comes later, and a tree that only grows at its end does not
 * begin with splitting all it has. */
enum { LEAF_FILL = LEAF_MAX * 9 / 10, INNER_FILL = INNER_MAX * 9 / 10 };

/* What lies between two neighbours of a row. */
typedef struct between {
    struct between *made_before;
    uint32_t slot, size;
    uint8_t bytes[];
} between;

typedef struct row_place {
    onode *node;
    const between *before; /* NULL: it is the first of its row */
} row_place;

typedef struct building {
    mrl_ordered *tree;
    mrl_member *member;
    row_place *row;
    size_t count, capacity;
    between *betweens; /* the last one that was made */
    uint64_t entries;
    /* The leaf that is being gathered. */
    const between *before;
    uint32_t held;
    size_t bytes_used, bytes_size;
    uint8_t *bytes;
    size_t starts[LEAF_FILL];
    okey keys[INNER_MAX]; /* as many as a node of either kind can be given */
    oitems items;
} building;

/* ---- memory ---- */

static size_t between_size(uint32_t size) {
    return sizeof(between) + size;
}

/* Room for so many bytes, of which the first `used` stay. NULL: no memory; then all is as it was.
 */
static void *grow(mrl_member *member, void *before, size_t used, size_t size, size_t grown_size) {
    void *grown = mrl_alloc(member, MRL_FOR_OTHER, grown_size);
    if (grown == NULL) return NULL;
    if (before == NULL) return grown;
    memcpy(grown, before, used);
    mrl_free(member, MRL_FOR_OTHER, before, size);
    return grown;
}

static int row_grow(building *b) {
    size_t capacity = b->capacity == 0 ? 16 : b->capacity * 2;
    row_place *row = grow(b->member, b->row, b->count * sizeof *row, b->capacity * sizeof *row,
                          capacity * sizeof *row);
    if (row == NULL) return 0;
    b->row = row;
    b->capacity = capacity;
    return 1;
}

static int bytes_grow(building *b, size_t wanted) {
    size_t size = b->bytes_size == 0 ? 1024 : b->bytes_size * 2;
    while (size < wanted) size *= 2;
    uint8_t *bytes = grow(b->member, b->bytes, b->bytes_used, b->bytes_size, size);
    if (bytes == NULL) return 0;
    b->bytes = bytes;
    b->bytes_size = size;
    return 1;
}

static void tree_free(building *b, onode *n) {
    for (uint32_t i = 0; n->level != 0 && i <= node_count(n); i++) tree_free(b, node_child(n, i));
    for (uint32_t i = 0; i < node_count(n) && !n->is_plain; i++) {
        uint64_t tail = word_load(&node_tails(n)[i]);
        if (tail_is_block(tail)) mrl_otail_free(b->tree, b->member, (otail *)(uintptr_t)tail);
    }
    mrl_onode_free(b->tree, b->member, n);
}

/* What is left in the row, which is nothing if it came to an end, and all that was needed on the
 * way. */
static void building_end(building *b) {
    for (size_t i = 0; i < b->count; i++) tree_free(b, b->row[i].node);
    for (between *one = b->betweens, *next; one != NULL; one = next) {
        next = one->made_before;
        mrl_free(b->member, MRL_FOR_OTHER, one, between_size(one->size));
    }
    if (b->row != NULL) mrl_free(b->member, MRL_FOR_OTHER, b->row, b->capacity * sizeof *b->row);
    if (b->bytes != NULL) mrl_free(b->member, MRL_FOR_OTHER, b->bytes, b->bytes_size);
    mrl_free(b->member, MRL_FOR_OTHER, b, sizeof *b);
}

/* ---- leaves ---- */

/* What lies between the last hint of the leaf and the next one. NULL: no memory. */
static const between *between_make(building *b, const okey *last, const okey *next) {
    okey key;
    mrl_okey_between(last, next, &key);
    between *made = mrl_alloc(b->member, MRL_FOR_OTHER, between_size(key.size));
    if (made == NULL) return NULL;
    *made = (between){.made_before = b->betweens, .slot = key.slot, .size = key.size};
    memcpy(made->bytes, key.bytes, key.size);
    b->betweens = made;
    return made;
}

static void items_begin(building *b) {
    b->items.count = 0;
    b->items.first_child = 0;
}

static void items_put(building *b, const okey *key, uint64_t child) {
    b->items.items[b->items.count++] =
        (oitem){.key = key, .tail = 1, .child = child, .slot = key->slot};
}

/* The keys of the leaf that is being gathered, now that their bytes do not move any more. */
static void keys_place(building *b) {
    for (uint32_t i = 0; i < b->held; i++) b->keys[i].bytes = b->bytes + b->starts[i];
}

/* Ends the leaf; next: the hint behind it, or NULL. 0: no memory. */
static int leaf_end(building *b, const okey *next) {
    const omake make = {.count = b->held};
    if (b->count == b->capacity && !row_grow(b)) return 0;
    keys_place(b);
    items_begin(b);
    for (uint32_t i = 0; i < b->held; i++) items_put(b, &b->keys[i], 0);
    onode *leaf = mrl_onode_create(b->tree, b->member, &b->items, &make);
    if (leaf == NULL) return 0;
    half_store(&leaf->touched, mrl_epoch_value(b->member->domain));
    b->row[b->count++] = (row_place){leaf, b->before};
    if (next == NULL) return 1;
    b->before = between_make(b, &b->keys[b->held - 1], next);
    b->held = 0;
    b->bytes_used = 0;
    return b->before != NULL;
}

/* 0: no memory. */
static int leaf_hold(building *b, merle_bytes value, uint32_t slot) {
    size_t end = b->bytes_used + value.size;
    if (end > b->bytes_size && !bytes_grow(b, end)) return 0;
    memcpy(b->bytes + b->bytes_used, value.data, value.size);
    b->starts[b->held] = b->bytes_used;
    b->keys[b->held++] = (okey){NULL, (uint32_t)value.size, slot, 0};
    b->bytes_used = end;
    b->entries++;
    return 1;
}

static int leaves_make(building *b, mrl_ordered_next_fn *next, void *context) {
    merle_bytes value;
    uint32_t slot;
    while (next(context, &value, &slot)) {
        MRL_ASSERT(value.size > 0 && value.size <= MERLE_VALUE_SIZE_MAX && slot != UINT32_MAX);
        const okey key = okey_of(value, slot);
        if (b->held == LEAF_FILL && !leaf_end(b, &key)) return 0;
        if (!leaf_hold(b, value, slot)) return 0;
    }
    return b->held == 0 || leaf_end(b, NULL);
}

/* ---- what stands above them ---- */

/* A node above these of the row. NULL: no memory. */
static onode *inner_make(building *b, const row_place *from, size_t count, uint32_t level) {
    omake make = {.count = (uint32_t)count - 1, .level = level};
    make.room = INNER_MAX - make.count;
    items_begin(b);
    b->items.first_child = (uint64_t)(uintptr_t)from[0].node;
    for (size_t i = 1; i < count; i++) {
        const between *before = from[i].before;
        b->keys[i - 1] = (okey){before->bytes, before->size, before->slot, 0};
        items_put(b, &b->keys[i - 1], (uint64_t)(uintptr_t)from[i].node);
    }
    return mrl_onode_create(b->tree, b->member, &b->items, &make);
}

/* The row becomes the one above it. 0: no memory; then it is partly the one, partly the other. */
static int row_rise(building *b) {
    size_t below = b->count, nodes = (below + INNER_FILL) / (INNER_FILL + 1), done = 0;
    uint32_t level = b->row[0].node->level + 1u;
    for (size_t i = 0; i < nodes; i++) {
        size_t end = below * (i + 1) / nodes;
        onode *n = inner_make(b, &b->row[done], end - done, level);
        if (n == NULL) {
            memmove(&b->row[i], &b->row[done], (below - done) * sizeof *b->row);
            b->count = i + (below - done);
            return 0;
        }
        b->row[i] = (row_place){n, b->row[done].before};
        done = end;
    }
    b->count = nodes;
    return 1;
}

/* ---- the whole ---- */

merle_err mrl_ordered_build(mrl_ordered *tree, mrl_member *member, mrl_ordered_next_fn *next,
                            void *context) {
    onode *empty = node_child(tree->top, 0);
    MRL_ASSERT(empty != NULL && empty->level == 0 && node_count(empty) == 0);
    building *b = mrl_alloc(member, MRL_FOR_OTHER, sizeof *b);
    if (b == NULL) return MERLE_NO_MEMORY;
    memset(b, 0, offsetof(building, keys));
    b->tree = tree;
    b->member = member;
    int is_made = leaves_make(b, next, context);
    while (is_made && b->count > 1) is_made = row_rise(b);
    if (is_made && b->count == 1) {
        word_store(&node_children(tree->top)[0], (uint64_t)(uintptr_t)b->row[0].node);
        mrl_onode_free(tree, member, empty);
        cell_add(&tree_cell(tree, member)->entries, (int64_t)b->entries);
        b->count = 0;
    }
    building_end(b);
    return is_made ? MERLE_OK : MERLE_NO_MEMORY;
}
