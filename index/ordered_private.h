/* index/ordered_private.h - what the files of the ordered index share, and nobody else.
 *
 * What    The insides of the tree: nodes, their locks, and how keys are compared.
 *
 * Threads Each field says who may touch it. Locks are tried, never waited for.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_INDEX_ORDERED_PRIVATE_H
#define MRL_INDEX_ORDERED_PRIVATE_H

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/lock.h"
#include "base/self.h"
#include "index/ordered.h"

/* Nodes. The root hangs below a node of its own, `top`, so that every node has a parent. For the
 * whole life of a node these stay as they were made: its capacity, its prefix, its form, its level,
 * and the range of keys that it stands for. Entries and children are changed in place; whatever
 * needs another capacity, prefix, form or range is a new node, put into the parent in place of the
 * old one, which is then obsolete and retired. So there are no links between neighbours: whoever
 * goes on to the next leaf takes the next child of the parent, and knows by the parent's version
 * that the two ranges touch.
 *
 * Keys. All values of a node begin with its prefix. Behind that, 8 bytes are the `head`, filled up
 * with noughts, as a number in host order. A node is *plain* if all its values have the same size
 * and end within the head; else it has a word more for each entry, the tail: the value's size (odd
 * words), or the address of an immutable block with the whole value, for one that goes on behind
 * the head. Values of one node that look alike in prefix and head are thus told apart by size or
 * tail, then by slot.
 *
 * Versions. A writer locks a node by setting a bit of its version; unlocking after a change makes
 * it another number. A reader loads the version (acquire), then fields, then fences (acquire) and
 * loads the version again: if it is the same, the fields stood side by side. Fields are relaxed
 * atomics. Pointers that were read are not followed before that. Writers wait for no lock while
 * they hold one: they try, give all back, and begin again.
 *
 * Marks and removal. A mark is set by a commit before it publishes, inside its section, together
 * with the ticket t loaded then. Let X be a section that needs the hint: it noted what it sees
 * before the commit published, so it entered the epoch while the commit's section was open. While
 * that is open the epoch is at most t + 1; so X has announced at most t + 1, and the epoch does not
 * reach t + 3 before X is over. A hint is removed only when it has. The commit's own section keeps
 * the epoch below t + 2, so a commit that fails still finds what it marked, and un-marking takes no
 * memory. Marks of one leaf gather in two generations: only `young` gets new marks (its ticket
 * moves on), `old` waits with a fixed ticket; when old has gone, young becomes old. So a leaf that
 * is marked all the time still gets rid of them.
 *
 * Counts. `touched` is the epoch at the last add, mark or un-mark in the leaf, loaded inside the
 * commit's section. While that is open the epoch is at most touched + 1. So if a section loaded an
 * epoch of at least touched + 2 before it noted what it sees, all commits that touched the leaf
 * were over before, and each has published or been undone: what is unmarked is what is visible. A
 * commit that touches the leaf later is not seen by the section, and it leaves a touched that says
 * so. This is why marks are set before publishing: a hint that its commit has published, but not
 * yet marked, would be counted in an otherwise quiet leaf.
 *
 * Sums. A node just above leaves keeps the count of unmarked entries of all its leaves, with the
 * newest touched of them. A counting reader stores a token of its own, then reads the leaves, then
 * replaces the token by the sum if it still stands. A writer locks a leaf, sees that the parent is
 * still the parent, then clears the word if it is not clear. The reader's token comes before its
 * loads of versions, the writer's lock before its load of the word, all four sequentially
 * consistent: either the reader finds the leaf locked (and waits for the change), or the writer
 * finds the token. While nobody counts, writers only read the word. */

enum {
    LEAF_MAX = 64, /* entries of a leaf: the bits of a bitmap of marks */
    INNER_MAX = 64,
    ITEM_MAX = LEAF_MAX + INNER_MAX + 2, /* two nodes, a separator, and a new one */
    DEPTH_MAX = 24,
    CELL_COUNT = 4,
    SETTLED_EPOCHS = 2 /* from touched to an epoch at a begin: see "Counts" */
};

enum { VERSION_LOCKED = 1, VERSION_OBSOLETE = 2, VERSION_STEP = 4 };

typedef struct onode onode;
struct onode {
    _Atomic uint64_t version;
    _Atomic uint32_t count; /* entries; an inner node has one child more */
    /* Never changed. */
    uint16_t capacity;
    uint16_t prefix_size;
    uint16_t value_size; /* of a plain node */
    uint8_t level;       /* 0: a leaf */
    uint8_t is_plain;
    /* Leaves only, under the lock. */
    _Atomic uint32_t touched;
    _Atomic uint64_t young, old; /* bitmaps of marked entries */
    _Atomic uint32_t young_ticket, old_ticket;
    /* The prefix, filled up to whole words; heads[capacity]; tails[capacity] unless plain;
     * children[capacity + 1] if inner; then 32-bit slots[capacity]. */
    _Atomic uint64_t words[];
};

/* Inner nodes have no marks: there the word of the young ones holds the sum. */
#define node_sum young
enum { SUM_NONE = 0, SUM_TOKEN = 1, SUM_VALID = 2, SUM_KIND = 3 };

/* A value that does not fit into its node. Immutable. */
typedef struct otail {
    uint32_t size;
    uint8_t bytes[];
} otail;

/* Added to by all threads that share it. */
typedef struct ocell {
    _Atomic int64_t entries;
    _Atomic int64_t marked;
    _Atomic int64_t removed; /* by writers, since the last round of the sweep */
    _Atomic int64_t leaves, inner;
    _Atomic int64_t bytes;
    int64_t unused[2]; /* it takes a whole line */
} ocell;

struct mrl_ordered {
    onode *top; /* its only child is the root; never replaced */
    _Atomic uint64_t token;
    /* The sweep's, under its lock. */
    mrl_lock sweep_lock;
    int sweep_is_going;   /* inside a round */
    int sweep_was_idle;   /* the round, the last one or this one, has changed nothing */
    uint32_t sweep_epoch; /* at its begin */
    uint32_t sweep_slot;
    otail *sweep_at; /* NULL: a round begins */
    ocell *cells;    /* CELL_COUNT of them, each in a line of its own */
    uint8_t cell_bytes[(CELL_COUNT + 1) * sizeof(ocell)];
};

/* ---- keys ---- */

/* A place in the order. With is_after: behind all that begin with these bytes. */
typedef struct okey {
    const uint8_t *bytes;
    uint32_t size;
    uint32_t slot;
    int is_after;
} okey;

static inline okey okey_of(merle_bytes value, uint32_t slot) {
    okey key = {value.data, (uint32_t)value.size, slot, 0};
    return key;
}
/* The first place of the range, and the one behind its last. */
static inline okey okey_from(const mrl_ordered_range *range) {
    okey key = {NULL, 0, 0, 0};
    if (range->from_bound == MRL_BOUND_NONE) return key;
    key.bytes = range->from.data;
    key.size = (uint32_t)range->from.size;
    key.is_after = range->from_bound == MRL_BOUND_OPEN;
    return key;
}
static inline okey okey_to(const mrl_ordered_range *range) {
    okey key = {NULL, 0, 0, 1};
    if (range->to_bound == MRL_BOUND_NONE) return key;
    key.bytes = range->to.data;
    key.size = (uint32_t)range->to.size;
    key.is_after = range->to_bound == MRL_BOUND_CLOSED;
    return key;
}
/* The order of two places; below, at or above 0. */
int mrl_okey_compare(const okey *a, const okey *b);
/* A place above `before` and not above `at`, which is above it: as few of its bytes as will do.
 * Borrows them. */
void mrl_okey_between(const okey *before, const okey *at, okey *out);

/* ---- fields of a node ---- */

static inline uint64_t word_load(const _Atomic uint64_t *at) {
    return atomic_load_explicit(at, memory_order_relaxed);
}
static inline void word_store(_Atomic uint64_t *at, uint64_t word) {
    atomic_store_explicit(at, word, memory_order_relaxed);
}
static inline uint32_t half_load(const _Atomic uint32_t *at) {
    return atomic_load_explicit(at, memory_order_relaxed);
}
static inline void half_store(_Atomic uint32_t *at, uint32_t half) {
    atomic_store_explicit(at, half, memory_order_relaxed);
}

static inline uint32_t node_count(const onode *n) {
    return half_load(&n->count);
}
static inline uint32_t prefix_words(uint32_t prefix_size) {
    return (prefix_size + 7) / 8;
}
static inline const uint8_t *node_prefix(const onode *n) {
    return (const uint8_t *)n->words;
}
static inline _Atomic uint64_t *node_heads(const onode *n) {
    return (_Atomic uint64_t *)(uintptr_t)n->words + prefix_words(n->prefix_size);
}
static inline _Atomic uint64_t *node_tails(const onode *n) {
    return node_heads(n) + n->capacity;
}
static inline _Atomic uint64_t *node_children(const onode *n) {
    return node_heads(n) + (size_t)n->capacity * (n->is_plain ? 1 : 2);
}
static inline _Atomic uint32_t *node_slots(const onode *n) {
    _Atomic uint64_t *end = node_children(n) + (n->level != 0 ? n->capacity + 1u : 0u);
    return (_Atomic uint32_t *)(void *)end;
}
static inline onode *node_child(const onode *n, uint32_t at) {
    return (onode *)(uintptr_t)word_load(&node_children(n)[at]);
}
static inline int tail_is_block(uint64_t tail) {
    return (tail & 1) == 0;
}
static inline const otail *tail_block(uint64_t tail) {
    return (const otail *)(uintptr_t)tail;
}
static inline uint64_t tail_of_size(uint32_t size) {
    return (uint64_t)size << 1 | 1;
}

/* ---- versions ---- */

/* While somebody else changes a node. */
void mrl_onode_pause(uint32_t *spins);

/* The version of a node that nobody is changing. Acquire: pairs with the release in node_unlock;
 * what is then read is at least as new, and what the fields point to was written before. */
static inline uint64_t node_version(const onode *n) {
    uint32_t spins = 0;
    for (;;) {
        uint64_t version = atomic_load_explicit(&n->version, memory_order_acquire);
        if (__builtin_expect((version & VERSION_LOCKED) == 0, 1)) return version;
        mrl_onode_pause(&spins);
    }
}
/* Whether all that was read since stood side by side. Acquire: pairs with the fence in
 * node_try_lock; whoever has read a field of a later change sees the lock. */
static inline int node_is_same(const onode *n, uint64_t version) {
    atomic_thread_fence(memory_order_acquire);
    return word_load(&n->version) == version;
}
/* Locks it if it still has this version. Sequentially consistent: see "Sums". */
static inline int node_try_lock(onode *n, uint64_t version) {
    if ((version & (VERSION_LOCKED | VERSION_OBSOLETE)) != 0) return 0;
    if (!atomic_compare_exchange_strong_explicit(&n->version, &version, version | VERSION_LOCKED,
                                                 memory_order_seq_cst, memory_order_relaxed))
        return 0;
    /* Release: the lock is seen by whoever sees a field that we store from now on. */
    atomic_thread_fence(memory_order_release);
    mrl_point("ordered.locked");
    return 1;
}
/* Nothing was changed: readers need not begin again. */
static inline void node_unlock_same(onode *n) {
    uint64_t version = word_load(&n->version) & ~(uint64_t)VERSION_LOCKED;
    atomic_store_explicit(&n->version, version, memory_order_release);
}
static inline void node_unlock(onode *n) {
    uint64_t version = (word_load(&n->version) & ~(uint64_t)VERSION_LOCKED) + VERSION_STEP;
    mrl_point("ordered.unlock");
    atomic_store_explicit(&n->version, version, memory_order_release);
}
static inline void node_unlock_obsolete(onode *n) {
    uint64_t version = (word_load(&n->version) & ~(uint64_t)VERSION_LOCKED) + VERSION_STEP;
    mrl_point("ordered.obsolete");
    atomic_store_explicit(&n->version, version | VERSION_OBSOLETE, memory_order_release);
}

/* The parent's sum no longer holds. The leaf, or the parent, is locked. */
static inline void node_clear_sum(onode *parent) {
    if (atomic_load_explicit(&parent->node_sum, memory_order_seq_cst) != SUM_NONE)
        atomic_store_explicit(&parent->node_sum, SUM_NONE, memory_order_relaxed);
}

static inline uint64_t leaf_marks(const onode *leaf) {
    return word_load(&leaf->young) | word_load(&leaf->old);
}
/* Whether all commits that had touched a leaf by then were over when a section with this epoch
 * began: see "Counts". */
static inline int touch_is_settled(uint32_t touched, uint32_t epoch) {
    return (int32_t)(epoch - touched) >= SETTLED_EPOCHS;
}
static inline uint64_t bits_below(uint32_t count) {
    return count >= 64 ? UINT64_MAX : ((uint64_t)1 << count) - 1;
}

/* ---- counters ---- */

static inline ocell *tree_cell(mrl_ordered *tree, const mrl_member *member) {
    return &tree->cells[member->thread % CELL_COUNT];
}
static inline void cell_add(_Atomic int64_t *count, int64_t n) {
    atomic_fetch_add_explicit(count, n, memory_order_relaxed);
}
int64_t mrl_ordered_sum(mrl_ordered *tree, size_t offset);
#define TREE_SUM(tree, field) mrl_ordered_sum((tree), offsetof(ocell, field))

/* ---- ordered_node.c ---- */

/* Of all entries of the node, how many are below the key: where it stands, or would. *out_equal: it
 * is there. Returns -1 if the node has changed; version 0: the caller has the lock. */
int mrl_onode_search(const onode *n, uint64_t version, const okey *key, int *out_equal);
/* Whether the node's form can take the value; whether that needs a block. */
int mrl_onode_takes(const onode *n, const okey *key);
static inline int onode_needs_tail(const onode *n, const okey *key) {
    return key->size > n->prefix_size + 8u;
}
/* Writes the value of an entry, which is no block, and returns its size. */
uint32_t mrl_onode_value(const onode *n, uint32_t at, uint8_t *out);

otail *mrl_otail_create(mrl_ordered *tree, mrl_member *member, const uint8_t *bytes, uint32_t size);
void mrl_otail_free(mrl_ordered *tree, mrl_member *member, otail *tail);
void mrl_otail_retire(mrl_ordered *tree, mrl_member *member, const otail *tail);

/* An entry on its way from nodes that are locked to new ones. */
typedef struct oitem {
    const onode *from; /* NULL: it is the key */
    const okey *key;
    uint64_t head, tail;
    uint64_t child; /* behind it, in an inner node */
    uint32_t slot;
    uint32_t marks; /* bit 0: among the young ones, bit 1: the old ones */
} oitem;

typedef struct oitems {
    uint32_t count;
    uint64_t first_child;
    oitem items[ITEM_MAX];
} oitems;

void mrl_oitems_load(oitems *items, const onode *n);
void mrl_oitems_insert(oitems *items, uint32_t at, const okey *key, uint64_t child);
/* How a node is to be made. */
typedef struct omake {
    uint32_t first, count; /* which items */
    uint32_t room;         /* for at least so many more */
    uint32_t level;
    const onode *like; /* whose form it takes if that is plain and all fit, and whose tickets */
    const okey *also;  /* its form can take this key, too; may be NULL */
} omake;

/* NULL: no memory, and nothing is left behind. */
onode *mrl_onode_create(mrl_ordered *tree, mrl_member *member, const oitems *items,
                        const omake *make);
/* A leaf of the same form and entries, with room for at least so many more. It shares the blocks of
 * the one that is copied, which is locked. NULL: no memory. */
onode *mrl_oleaf_create_copy(mrl_ordered *tree, mrl_member *member, const onode *leaf,
                             uint32_t room);
/* Gives a new node back, with the blocks that were made for it. */
void mrl_onode_cancel(mrl_ordered *tree, mrl_member *member, onode *n, const oitems *items,
                      uint32_t first);
/* The items from first on stand in n now: retires the blocks that it does not need. */
void mrl_onode_settle(mrl_ordered *tree, mrl_member *member, const onode *n, const oitems *items,
                      uint32_t first);
void mrl_onode_retire(mrl_ordered *tree, mrl_member *member, onode *n);
void mrl_onode_free(mrl_ordered *tree, mrl_member *member, onode *n);

/* In place, in a locked node that has room and takes the key. child stands behind the key. */
void mrl_onode_insert(onode *n, uint32_t at, const okey *key, const otail *tail, uint64_t child);
/* In place: removes entries whose bits are set, from a locked leaf; retires their blocks. */
void mrl_onode_remove(mrl_ordered *tree, mrl_member *member, onode *leaf, uint64_t gone);
/* In place: removes a separator and the child behind it, from a locked inner node. */
void mrl_onode_remove_child(mrl_ordered *tree, mrl_member *member, onode *n, uint32_t at);

/* ---- ordered_walk.c ---- */

typedef struct ostep {
    onode *node;
    uint64_t version;
    uint32_t at; /* which child */
} ostep;

typedef struct owalk {
    mrl_ordered *tree;
    uint32_t depth;         /* steps[depth - 1] is the leaf's parent */
    ostep steps[DEPTH_MAX]; /* steps[0] is top */
    onode *leaf;
    uint64_t leaf_version;
} owalk;

/* Goes to the leaf in whose range the key lies; is_below: in whose range what is just below it
 * lies. */
void mrl_owalk_seek(owalk *walk, mrl_ordered *tree, const okey *key, int is_below);
enum { WALK_ON = 0, WALK_END, WALK_CHANGED };
/* To the next leaf (direction 1) or the one before (-1). WALK_CHANGED: seek again. */
int mrl_owalk_step(owalk *walk, int direction);
/* Asks for the leaf that mrl_owalk_step would go to, if it has the same parent. */
void mrl_owalk_prefetch(const owalk *walk, int direction);
/* Copies the separator behind the walk's leaf (level 0) or behind its parent (level 1), into out,
 * and its key into *out_key. WALK_END: there is none. */
int mrl_owalk_fence(const owalk *walk, uint32_t level, uint8_t *out, okey *out_key);

/* ---- ordered_write.c ---- */

/* Locks the walk's leaf, if it is as it was and its parent, too. The parent stays the parent. */
int mrl_owalk_lock_leaf(const owalk *walk);
/* Puts n, which is new, into the place of the old node; parent and old one are locked, and unlocked
 * here. The old one is retired. */
void mrl_onode_replace(mrl_ordered *tree, mrl_member *member, const ostep *parent, onode *old,
                       onode *n);

/* ---- ordered_sweep.c ---- */

static inline int mark_passed(mrl_domain *domain, uint32_t ticket) {
    return mrl_ticket_passed(domain, ticket + 1); /* see "Marks and removal" */
}
/* Removes marked entries of the locked leaf that nobody needs any more, and moves the generations
 * on. Returns how many went. */
uint32_t mrl_oleaf_purge(mrl_ordered *tree, mrl_member *member, onode *leaf);

/* ---- ordered_scan.c ---- */

/* Copies entries from to before `to` of the leaf, in the direction. 0: the leaf has changed. */
int mrl_oleaf_copy(const onode *leaf, uint64_t version, uint32_t from, uint32_t to, int direction,
                   mrl_ordered_hit *hits);

#endif
