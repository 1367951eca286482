/* index/ordered_node.c - one node: comparing, searching, making, and changing it in place.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <sched.h>
#include <stddef.h>

#include "index/ordered_private.h"

enum { PAUSES_MAX = 64 };

void mrl_onode_pause(uint32_t *spins) {
    mrl_point("ordered.spin");
    if (++*spins < PAUSES_MAX) {
        mrl_cpu_relax();
        return;
    }
    /* Whoever holds the lock may have lost the processor to us. */
    *spins = 0;
    (void)sched_yield();
}

/* ---- comparing ---- */

static int slot_order(uint32_t a, uint32_t b) {
    return a < b ? -1 : a > b;
}

int mrl_okey_compare(const okey *a, const okey *b) {
    uint32_t size = a->size < b->size ? a->size : b->size;
    int order = size != 0 ? memcmp(a->bytes, b->bytes, size) : 0;
    if (order != 0) return order;
    if (a->size < b->size) return a->is_after ? 1 : -1;
    if (a->size > b->size) return b->is_after ? -1 : 1;
    if (a->is_after != b->is_after) return a->is_after ? 1 : -1;
    return slot_order(a->slot, b->slot);
}

void mrl_okey_between(const okey *before, const okey *at, okey *out) {
    enum { NUMBER_SIZE = 9 };
    uint32_t shared = 0;
    *out = *at;
    while (shared < at->size && shared < before->size && before->bytes[shared] == at->bytes[shared])
        shared++;
    if (shared == at->size) return; /* the same value: the slots tell */
    out->slot = 0;
    /* Numbers keep their size, so that nodes of them are plain. */
    if (at->size > NUMBER_SIZE && shared + 1 < at->size) out->size = shared + 1;
}

/* What of a key lies behind the node's prefix, as 8 bytes; what the key does not have is as low, or
 * as high, as can be. */
static uint64_t key_head(const okey *key, uint32_t prefix_size) {
    uint32_t rest = key->size - prefix_size;
    if (__builtin_expect(rest >= 8, 1)) return mrl_ordered_head_of(key->bytes + prefix_size, 8);
    uint64_t filler = key->is_after ? UINT64_MAX >> (8 * rest) : 0;
    return (rest != 0 ? mrl_ordered_head_of(key->bytes + prefix_size, rest) : 0) | filler;
}

/* The order of the node's entry and the key, which look alike in prefix and head. */
static int tail_order(const onode *n, uint64_t tail, uint32_t slot, const okey *key) {
    uint32_t known = n->prefix_size + 8u;
    uint32_t size = tail_is_block(tail) ? tail_block(tail)->size : (uint32_t)(tail >> 1);
    if (tail_is_block(tail) && key->size > known) {
        uint32_t shorter = size < key->size ? size : key->size;
        int order = memcmp(tail_block(tail)->bytes + known, key->bytes + known, shorter - known);
        if (order != 0) return order;
    }
    if (key->is_after) return -1;
    if (size != key->size) return size < key->size ? -1 : 1;
    return slot_order(slot, key->slot);
}

/* How many of the heads are below `head`. */
static uint32_t heads_below(const _Atomic uint64_t *heads, uint32_t count, uint64_t head) {
    const _Atomic uint64_t *at = heads;
    if (count == 0) return 0;
    while (count > 1) {
        uint32_t half = count / 2;
        at += word_load(&at[half - 1]) < head ? half : 0;
        count -= half;
    }
    return (uint32_t)(at - heads) + (word_load(at) < head);
}

/* Among entries from low to before high, all of the key's head, in a plain node. */
static int search_plain(const onode *n, uint32_t low, uint32_t high, const okey *key,
                        int *out_equal) {
    const _Atomic uint32_t *slots = node_slots(n);
    uint32_t end = high;
    if (key->is_after || key->size > n->value_size) return (int)high;
    if (key->size < n->value_size) return (int)low;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (half_load(&slots[middle]) < key->slot)
            low = middle + 1;
        else
            high = middle;
    }
    *out_equal = low < end && half_load(&slots[low]) == key->slot;
    return (int)low;
}

/* The same in one with tails. They are only followed after a look at the version. */
static int search_tails(const onode *n, uint64_t version, uint32_t low, uint32_t high,
                        const okey *key, int *out_equal) {
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        uint64_t tail = word_load(&node_tails(n)[middle]);
        uint32_t slot = half_load(&node_slots(n)[middle]);
        if (version != 0 && !node_is_same(n, version)) return -1;
        int order = tail_order(n, tail, slot, key);
        if (order == 0) {
            *out_equal = 1;
            return (int)middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return (int)low;
}

/* Most nodes hold numbers, and have their tag as the prefix. */
static inline int prefix_order(const uint8_t *bytes, const uint8_t *prefix, uint32_t size) {
    if (__builtin_expect(size <= 1, 1)) return size == 0 ? 0 : (int)bytes[0] - (int)prefix[0];
    return memcmp(bytes, prefix, size);
}

int mrl_onode_search(const onode *n, uint64_t version, const okey *key, int *out_equal) {
    uint32_t count = node_count(n), prefix_size = n->prefix_size;
    uint32_t shared = key->size < prefix_size ? key->size : prefix_size;
    *out_equal = 0;
    int order = prefix_order(key->bytes, node_prefix(n), shared);
    if (order != 0) return order < 0 ? 0 : (int)count;
    if (key->size < prefix_size) return key->is_after ? (int)count : 0;
    const _Atomic uint64_t *heads = node_heads(n);
    uint64_t head = key_head(key, prefix_size);
    uint32_t low = heads_below(heads, count, head);
    if (low == count || word_load(&heads[low]) != head) return (int)low;
    uint32_t high = low + 1;
    if (high < count && word_load(&heads[high]) == head)
        high = head == UINT64_MAX ? count : heads_below(heads, count, head + 1);
    if (n->is_plain) return search_plain(n, low, high, key, out_equal);
    return search_tails(n, version, low, high, key, out_equal);
}

int mrl_onode_takes(const onode *n, const okey *key) {
    if (key->size < n->prefix_size) return 0;
    if (n->is_plain && key->size != n->value_size) return 0;
    return prefix_order(key->bytes, node_prefix(n), n->prefix_size) == 0;
}

/* ---- values that do not fit in ---- */

otail *mrl_otail_create(mrl_ordered *tree, mrl_member *member, const uint8_t *bytes,
                        uint32_t size) {
    otail *tail = mrl_block_alloc(member, MRL_FOR_TABLES, sizeof(otail) + size);
    if (tail == NULL) return NULL;
    tail->size = size;
    memcpy(tail->bytes, bytes, size);
    cell_add(&tree_cell(tree, member)->bytes, (int64_t)mrl_block_bytes(sizeof(otail) + size));
    return tail;
}

static void tail_count_out(mrl_ordered *tree, mrl_member *member, const otail *tail) {
    int64_t size = (int64_t)mrl_block_bytes(sizeof(otail) + tail->size);
    cell_add(&tree_cell(tree, member)->bytes, -size);
}

void mrl_otail_free(mrl_ordered *tree, mrl_member *member, otail *tail) {
    if (tail == NULL) return;
    tail_count_out(tree, member, tail);
    mrl_block_free(member, tail);
}

void mrl_otail_retire(mrl_ordered *tree, mrl_member *member, const otail *tail) {
    tail_count_out(tree, member, tail);
    mrl_block_retire(member, (void *)(uintptr_t)tail);
}

/* ---- items ---- */

static uint32_t item_size(const oitem *item) {
    if (item->from == NULL) return item->key->size;
    if (item->from->is_plain) return item->from->value_size;
    return tail_is_block(item->tail) ? tail_block(item->tail)->size : (uint32_t)(item->tail >> 1);
}

static uint32_t value_write(const onode *n, uint64_t head, uint32_t size, uint8_t *out) {
    uint64_t bytes = __builtin_bswap64(head);
    memcpy(out, node_prefix(n), n->prefix_size);
    memcpy(out + n->prefix_size, &bytes, size - n->prefix_size);
    return size;
}

uint32_t mrl_onode_value(const onode *n, uint32_t at, uint8_t *out) {
    uint32_t size = n->is_plain ? n->value_size : (uint32_t)(word_load(&node_tails(n)[at]) >> 1);
    return value_write(n, word_load(&node_heads(n)[at]), size, out);
}

/* The value's bytes, where they lie or in scratch. */
static const uint8_t *item_bytes(const oitem *item, uint8_t *scratch) {
    if (item->from == NULL) return item->key->bytes;
    if (!item->from->is_plain && tail_is_block(item->tail)) return tail_block(item->tail)->bytes;
    (void)value_write(item->from, item->head, item_size(item), scratch);
    return scratch;
}

void mrl_oitems_load(oitems *items, const onode *n) {
    uint32_t count = node_count(n);
    uint64_t young = word_load(&n->young), old = word_load(&n->old);
    for (uint32_t i = 0; i < count; i++) {
        oitem *item = &items->items[items->count + i];
        item->from = n;
        item->head = word_load(&node_heads(n)[i]);
        item->tail = n->is_plain ? 1 : word_load(&node_tails(n)[i]);
        item->slot = half_load(&node_slots(n)[i]);
        item->marks = 0;
        if (n->level != 0)
            item->child = word_load(&node_children(n)[i + 1]);
        else
            item->marks = (uint32_t)((young >> i & 1) | (old >> i & 1) << 1);
    }
    if (n->level != 0 && items->count == 0) items->first_child = word_load(&node_children(n)[0]);
    items->count += count;
}

static uint64_t bits_insert(uint64_t bits, uint32_t at) {
    uint64_t below = bits & bits_below(at);
    return below | (bits & ~bits_below(at)) << 1;
}

void mrl_oitems_insert(oitems *items, uint32_t at, const okey *key, uint64_t child) {
    oitem *item = &items->items[at];
    memmove(item + 1, item, (items->count - at) * sizeof *item);
    memset(item, 0, sizeof *item);
    item->key = key;
    item->slot = key->slot;
    item->child = child;
    item->tail = 1;
    items->count++;
}

/* ---- forms ---- */

typedef struct oform {
    uint32_t prefix_size;
    uint32_t value_size;
    int is_plain;
    const uint8_t *prefix;
} oform;

static uint32_t common_size(const uint8_t *a, uint32_t a_size, const uint8_t *b, uint32_t b_size) {
    uint32_t size = 0;
    while (size < a_size && size < b_size && a[size] == b[size]) size++;
    return size;
}

/* The items are in order: what the first and the last have in common is common to all. The bytes of
 * the first go into scratch. */
static void form_choose(oform *form, const oitems *items, const omake *make, uint8_t *scratch) {
    uint8_t last_scratch[MERLE_VALUE_SIZE_MAX];
    const oitem *a = &items->items[make->first], *b = a + make->count - 1;
    uint32_t size = item_size(a), common;
    const uint8_t *bytes = item_bytes(a, scratch);
    common = common_size(bytes, size, item_bytes(b, last_scratch), item_size(b));
    if (make->also != NULL)
        common = common_size(bytes, common, make->also->bytes, make->also->size);
    form->prefix = bytes;
    form->value_size = size;
    form->is_plain = size <= common + 8 && (make->also == NULL || make->also->size == size);
    for (uint32_t i = 1; i < make->count && form->is_plain; i++)
        form->is_plain = item_size(&a[i]) == size;
    /* A plain node wants no longer prefix than it needs: the next value may have less of it. */
    form->prefix_size = !form->is_plain ? common : size > 8 ? size - 8 : 0;
}

static inline int item_fits(const oitem *item, const onode *like) {
    if (item->from == like) return 1;
    if (item->from == NULL) return mrl_onode_takes(like, item->key);
    return like->is_plain && item->from->is_plain && item->from->value_size == like->value_size &&
           item->from->prefix_size == like->prefix_size &&
           memcmp(node_prefix(item->from), node_prefix(like), like->prefix_size) == 0;
}

static int form_keep(oform *form, const oitems *items, const omake *make) {
    const onode *like = make->like;
    /* A part of a node with tails may have more in common, or need no tails. */
    if (like == NULL || !like->is_plain) return 0;
    if (make->also != NULL && !mrl_onode_takes(like, make->also)) return 0;
    for (uint32_t i = make->first; i < make->first + make->count; i++)
        if (!item_fits(&items->items[i], like)) return 0;
    form->prefix = node_prefix(like);
    form->prefix_size = like->prefix_size;
    form->value_size = like->value_size;
    form->is_plain = like->is_plain;
    return 1;
}

/* The form of a node that has no items yet: that of the key that will come, if it is known. */
static void form_empty(oform *form, const okey *also) {
    static const uint8_t nothing[1];
    memset(form, 0, sizeof *form);
    form->is_plain = 1;
    form->prefix = nothing;
    if (also == NULL) return;
    form->prefix = also->bytes;
    form->prefix_size = also->size > 8 ? also->size - 8 : 0;
    form->value_size = also->size;
}

static size_t entry_size(const oform *form, uint32_t level) {
    return sizeof(uint64_t) * (1u + !form->is_plain + (level != 0)) + sizeof(uint32_t);
}

static size_t node_size(const onode *n) {
    return (size_t)((const char *)(node_slots(n) + n->capacity) - (const char *)n);
}

/* ---- making nodes ---- */

/* An empty node with room for `count` entries or a few more. */
static onode *node_alloc(mrl_ordered *tree, mrl_member *member, const oform *form, uint32_t count,
                         uint32_t level) {
    uint32_t max = level == 0 ? LEAF_MAX : INNER_MAX;
    size_t entry = entry_size(form, level);
    size_t fixed =
        sizeof(onode) + sizeof(uint64_t) * (prefix_words(form->prefix_size) + (level != 0));
    size_t room = mrl_block_step(fixed + entry * (count != 0 ? count : 1));
    size_t capacity = (room - fixed) / entry;
    if (capacity > max) capacity = max;
    onode *n = mrl_block_alloc(member, MRL_FOR_TABLES, fixed + entry * capacity);
    if (n == NULL) return NULL;
    memset((void *)n, 0, sizeof(onode));
    n->capacity = (uint16_t)capacity;
    n->prefix_size = (uint16_t)form->prefix_size;
    n->value_size = form->is_plain ? (uint16_t)form->value_size : 0;
    n->level = (uint8_t)level;
    n->is_plain = form->is_plain != 0;
    atomic_init(&n->version, VERSION_STEP);
    memcpy((uint8_t *)(uintptr_t)node_prefix(n), form->prefix, form->prefix_size);
    ocell *cell = tree_cell(tree, member);
    cell_add(&cell->bytes, (int64_t)mrl_block_bytes(node_size(n)));
    cell_add(level == 0 ? &cell->leaves : &cell->inner, 1);
    return n;
}

static void node_count_out(mrl_ordered *tree, mrl_member *member, const onode *n) {
    ocell *cell = tree_cell(tree, member);
    cell_add(&cell->bytes, -(int64_t)mrl_block_bytes(node_size(n)));
    cell_add(n->level == 0 ? &cell->leaves : &cell->inner, -1);
}

void mrl_onode_retire(mrl_ordered *tree, mrl_member *member, onode *n) {
    node_count_out(tree, member, n);
    mrl_block_retire(member, n);
}

void mrl_onode_free(mrl_ordered *tree, mrl_member *member, onode *n) {
    node_count_out(tree, member, n);
    mrl_block_free(member, n);
}

/* Writes the item into the new node. 0: no memory for its block. */
static int item_store(mrl_ordered *tree, mrl_member *member, onode *n, uint32_t at,
                      const oitem *item) {
    uint8_t scratch[MERLE_VALUE_SIZE_MAX];
    uint64_t tail = item->tail, head = item->head;
    uint32_t known = n->prefix_size + 8u;
    const onode *from = item->from;
    if (from == NULL || from->prefix_size != n->prefix_size || (from->is_plain && !n->is_plain)) {
        uint32_t size = item_size(item);
        const uint8_t *bytes = item_bytes(item, scratch);
        head = mrl_ordered_head_of(bytes + n->prefix_size, size - n->prefix_size);
        if (size <= known) {
            tail = tail_of_size(size);
        } else if (from == NULL || !tail_is_block(item->tail)) {
            tail = (uint64_t)(uintptr_t)mrl_otail_create(tree, member, bytes, size);
            if (tail == 0) return 0;
        }
    }
    word_store(&node_heads(n)[at], head);
    if (!n->is_plain) word_store(&node_tails(n)[at], tail);
    half_store(&node_slots(n)[at], item->slot);
    if (n->level != 0) word_store(&node_children(n)[at + 1], item->child);
    return 1;
}

void mrl_onode_cancel(mrl_ordered *tree, mrl_member *member, onode *n, const oitems *items,
                      uint32_t first) {
    if (n == NULL) return;
    for (uint32_t i = 0; i < node_count(n) && !n->is_plain; i++) {
        uint64_t tail = word_load(&node_tails(n)[i]);
        if (tail_is_block(tail) && tail != items->items[first + i].tail)
            mrl_otail_free(tree, member, (otail *)(uintptr_t)tail);
    }
    mrl_onode_free(tree, member, n);
}

void mrl_onode_settle(mrl_ordered *tree, mrl_member *member, const onode *n, const oitems *items,
                      uint32_t first) {
    for (uint32_t i = 0; i < node_count(n); i++) {
        const oitem *item = &items->items[first + i];
        if (item->from == NULL || item->from->is_plain || !tail_is_block(item->tail)) continue;
        if (n->is_plain || word_load(&node_tails(n)[i]) != item->tail)
            mrl_otail_retire(tree, member, tail_block(item->tail));
    }
}

static void marks_store(onode *n, const oitem *items, uint32_t count) {
    uint64_t young = 0, old = 0;
    for (uint32_t i = 0; i < count; i++) {
        young |= (uint64_t)(items[i].marks & 1) << i;
        old |= (uint64_t)(items[i].marks >> 1) << i;
    }
    word_store(&n->young, young);
    word_store(&n->old, old);
}

onode *mrl_onode_create(mrl_ordered *tree, mrl_member *member, const oitems *items,
                        const omake *make) {
    uint8_t scratch[MERLE_VALUE_SIZE_MAX];
    oform form;
    uint32_t first = make->first;
    if (make->count == 0)
        form_empty(&form, make->also);
    else if (!form_keep(&form, items, make))
        form_choose(&form, items, make, scratch);
    onode *n = node_alloc(tree, member, &form, make->count + make->room, make->level);
    if (n == NULL) return NULL;
    for (uint32_t i = 0; i < make->count; i++) {
        if (!item_store(tree, member, n, i, &items->items[first + i])) {
            mrl_onode_cancel(tree, member, n, items, first);
            return NULL;
        }
        half_store(&n->count, i + 1);
    }
    if (make->level != 0)
        word_store(&node_children(n)[0],
                   first == 0 ? items->first_child : items->items[first - 1].child);
    else if (make->count != 0)
        marks_store(n, &items->items[first], make->count);
    if (make->level == 0 && make->like != NULL) {
        half_store(&n->touched, half_load(&make->like->touched));
        half_store(&n->young_ticket, half_load(&make->like->young_ticket));
        half_store(&n->old_ticket, half_load(&make->like->old_ticket));
    }
    return n;
}

onode *mrl_oleaf_create_copy(mrl_ordered *tree, mrl_member *member, const onode *leaf,
                             uint32_t room) {
    uint32_t count = node_count(leaf);
    const oform form = {leaf->prefix_size, leaf->value_size, leaf->is_plain, node_prefix(leaf)};
    onode *n = node_alloc(tree, member, &form, count + room, 0);
    if (n == NULL) return NULL;
    /* The one is locked, the other is not seen by anybody yet. */
    memcpy((void *)node_heads(n), (const void *)node_heads(leaf), count * sizeof(uint64_t));
    if (!leaf->is_plain)
        memcpy((void *)node_tails(n), (const void *)node_tails(leaf), count * sizeof(uint64_t));
    memcpy((void *)node_slots(n), (const void *)node_slots(leaf), count * sizeof(uint32_t));
    half_store(&n->count, count);
    half_store(&n->touched, half_load(&leaf->touched));
    word_store(&n->young, word_load(&leaf->young));
    word_store(&n->old, word_load(&leaf->old));
    half_store(&n->young_ticket, half_load(&leaf->young_ticket));
    half_store(&n->old_ticket, half_load(&leaf->old_ticket));
    return n;
}

/* ---- changing in place ---- */

static void words_up(_Atomic uint64_t *words, uint32_t at, uint32_t count) {
    for (uint32_t i = count; i > at; i--) word_store(&words[i], word_load(&words[i - 1]));
}

static void words_down(_Atomic uint64_t *words, uint32_t at, uint32_t count) {
    for (uint32_t i = at; i + 1 < count; i++) word_store(&words[i], word_load(&words[i + 1]));
}

void mrl_onode_insert(onode *n, uint32_t at, const okey *key, const otail *tail, uint64_t child) {
    uint32_t count = node_count(n);
    _Atomic uint32_t *slots = node_slots(n);
    MRL_DEBUG_ASSERT(count < n->capacity && at <= count);
    words_up(node_heads(n), at, count);
    word_store(&node_heads(n)[at], key_head(key, n->prefix_size));
    for (uint32_t i = count; i > at; i--) half_store(&slots[i], half_load(&slots[i - 1]));
    half_store(&slots[at], key->slot);
    mrl_point("ordered.inserting");
    if (!n->is_plain) {
        words_up(node_tails(n), at, count);
        word_store(&node_tails(n)[at],
                   tail != NULL ? (uint64_t)(uintptr_t)tail : tail_of_size(key->size));
    }
    if (n->level != 0) {
        words_up(node_children(n) + 1, at, count);
        word_store(&node_children(n)[at + 1], child);
    } else if (leaf_marks(n) != 0) {
        word_store(&n->young, bits_insert(word_load(&n->young), at));
        word_store(&n->old, bits_insert(word_load(&n->old), at));
    }
    half_store(&n->count, count + 1);
}

static uint64_t bits_remove(uint64_t bits, uint64_t gone) {
    uint64_t kept = 0;
    uint32_t at = 0;
    for (uint32_t i = 0; i < 64; i++) {
        if ((gone >> i & 1) != 0) continue;
        kept |= (bits >> i & 1) << at++;
    }
    return kept;
}

void mrl_onode_remove(mrl_ordered *tree, mrl_member *member, onode *leaf, uint64_t gone) {
    uint32_t count = node_count(leaf), to = 0;
    uint64_t young = word_load(&leaf->young), old = word_load(&leaf->old);
    if (gone == 0) return;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t tail = leaf->is_plain ? 1 : word_load(&node_tails(leaf)[i]);
        if ((gone >> i & 1) != 0) {
            if (tail_is_block(tail)) mrl_otail_retire(tree, member, tail_block(tail));
            continue;
        }
        word_store(&node_heads(leaf)[to], word_load(&node_heads(leaf)[i]));
        if (!leaf->is_plain) word_store(&node_tails(leaf)[to], tail);
        half_store(&node_slots(leaf)[to], half_load(&node_slots(leaf)[i]));
        to++;
    }
    mrl_point("ordered.removing");
    half_store(&leaf->count, to);
    word_store(&leaf->young, (young & gone) != young ? bits_remove(young, gone) : 0);
    word_store(&leaf->old, (old & gone) != old ? bits_remove(old, gone) : 0);
    ocell *cell = tree_cell(tree, member);
    cell_add(&cell->entries, -(int64_t)(count - to));
    cell_add(&cell->marked, -(int64_t)(count - to));
    cell_add(&cell->removed, count - to);
}

void mrl_onode_remove_child(mrl_ordered *tree, mrl_member *member, onode *n, uint32_t at) {
    uint32_t count = node_count(n);
    _Atomic uint32_t *slots = node_slots(n);
    if (!n->is_plain) {
        uint64_t tail = word_load(&node_tails(n)[at]);
        if (tail_is_block(tail)) mrl_otail_retire(tree, member, tail_block(tail));
        words_down(node_tails(n), at, count);
    }
    words_down(node_heads(n), at, count);
    words_down(node_children(n) + 1, at, count);
    for (uint32_t i = at; i + 1 < count; i++) half_store(&slots[i], half_load(&slots[i + 1]));
    half_store(&n->count, count - 1);
}
