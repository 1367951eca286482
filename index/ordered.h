/* index/ordered.h - ordered index: hints (value bytes, slot) in the order of memcmp, then slot.
 *
 * What    a B+tree whose readers take no lock. A value is an encoding of document/encode.h: no
 *         value is a prefix of another one. A hint is added before its commit publishes. When a
 *         commit gives a value up it marks the hint; a marked hint stays in sight until every
 *         section that may need it is over, then whoever writes to its leaf, or the sweep, removes
 *         it.
 * Owns    its nodes and what values do not fit into them; all are retired by epoch.
 * Sees    a scan meets every hint that is there for its whole length exactly once, others at most
 *         once, in strict order. Counts are exact for the section that asks.
 * Threads Every call but create, destroy, clear_some and check is made inside a section of the
 *         epoch, by any thread. Calls for one slot that change hints are serialized by the caller.
 *         Readers and writers spin on a node that is just being changed, for as long as a node's
 *         copy lasts; nobody sleeps.
 * Limits  values of 1 to MERLE_VALUE_SIZE_MAX bytes. Slot UINT32_MAX is nobody's.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_INDEX_ORDERED_H
#define MRL_INDEX_ORDERED_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <merle/base.h>

#include "memory/domain.h"

typedef struct mrl_ordered mrl_ordered;

/* NULL: no memory. */
mrl_ordered *mrl_ordered_create(mrl_member *member);
/* No reader and no writer is left. */
void mrl_ordered_destroy(mrl_ordered *tree, mrl_member *member);
/* No reader and no writer is left, and none comes. Frees up to max nodes; 0: all are gone. */
size_t mrl_ordered_clear_some(mrl_ordered *tree, mrl_member *member, size_t max);

/* ---- writing ---- */

/* Adds the hint, or makes a marked one live again; *out_added: 1 if it was not live. Making live
 * what was marked by a commit still open takes no memory. A commit that fails marks all that it had
 * added, and adds all that it had marked. Errors: MERLE_NO_MEMORY, nothing has changed then. */
MERLE_MUST_USE merle_err mrl_ordered_add(mrl_ordered *tree, mrl_member *member, merle_bytes value,
                                         uint32_t slot, int *out_added);
/* Brings the leaf nearer in which the hint is, or will be, for those who will change it soon. */
void mrl_ordered_prefetch(mrl_ordered *tree, merle_bytes value, uint32_t slot);
/* Gives a live hint up. Called by a commit before it publishes, so that counts know of it. */
void mrl_ordered_mark(mrl_ordered *tree, mrl_member *member, merle_bytes value, uint32_t slot);
/* Goes on along the leaves where it stopped, looks at up to max of them, removes what nobody can
 * need any more and joins thin nodes. Does nothing while there is little to do; SIZE_MAX: a whole
 * round, whatever there is. Returns how many leaves it changed, at least 1 if the round is not
 * over. Never fails: what would need memory that is not there is left for later. */
size_t mrl_ordered_sweep(mrl_ordered *tree, mrl_member *member, size_t max);

/* Gives the next hint, in strict order; 0: there is none. *out_value is valid until the next call.
 * */
typedef int mrl_ordered_next_fn(void *context, merle_bytes *out_value, uint32_t *out_slot);
/* Fills an empty tree that nobody else uses yet, from the leaves up: they are nearly full, and no
 * node is ever made twice. Errors: MERLE_NO_MEMORY: the tree is empty as before. */
MERLE_MUST_USE merle_err mrl_ordered_build(mrl_ordered *tree, mrl_member *member,
                                           mrl_ordered_next_fn *next, void *context);

/* ---- what is asked for ---- */

typedef enum mrl_bound {
    MRL_BOUND_NONE = 0,
    MRL_BOUND_CLOSED, /* with all values that begin with these bytes */
    MRL_BOUND_OPEN    /* without them */
} mrl_bound;

/* Both bounds closed with the same bytes: all values that begin with them. Borrowed while the range
 * is in use. */
typedef struct mrl_ordered_range {
    merle_bytes from, to;
    mrl_bound from_bound, to_bound;
} mrl_ordered_range;

/* A hint that was met, valid until the section ends. If prefix_size == size, the value is at bytes.
 * Else the value is prefix_size bytes at bytes, then the first size - prefix_size bytes of head
 * (written big-endian, followed by noughts). A number is size 9 and prefix_size 1: its tag, and its
 * eight bytes in head. */
typedef struct mrl_ordered_hit {
    uint64_t head;
    const uint8_t *bytes;
    uint32_t slot;
    uint16_t size;
    uint16_t prefix_size;
} mrl_ordered_hit;

static inline uint64_t mrl_ordered_head_of(const uint8_t *bytes, size_t size) {
    uint64_t head = 0;
    memcpy(&head, bytes, size < 8 ? size : 8);
    return __builtin_bswap64(head);
}
/* Writes the value's bytes, hit->size of them. */
static inline void mrl_ordered_hit_copy(const mrl_ordered_hit *hit, uint8_t *out) {
    uint64_t head = __builtin_bswap64(hit->head);
    memcpy(out, hit->bytes, hit->prefix_size);
    memcpy(out + hit->prefix_size, &head, hit->size - hit->prefix_size);
}
/* Whether the hit's value is these bytes. */
static inline int mrl_ordered_hit_is(const mrl_ordered_hit *hit, merle_bytes value) {
    const uint8_t *bytes = value.data;
    size_t rest = (size_t)hit->size - hit->prefix_size;
    return value.size == hit->size &&
           (rest == 0 || mrl_ordered_head_of(bytes + hit->prefix_size, rest) == hit->head) &&
           memcmp(bytes, hit->bytes, hit->prefix_size) == 0;
}

/* ---- reading ---- */

int mrl_ordered_has(mrl_ordered *tree, merle_bytes value, uint32_t slot);

/* Holds its position by value, so it goes on in any section, after whatever has happened. */
typedef struct mrl_ordered_cursor {
    mrl_ordered *tree;
    mrl_ordered_range range;
    uint8_t *position; /* the caller's buffer, MERLE_VALUE_SIZE_MAX bytes */
    uint32_t position_size;
    uint32_t position_slot;
    int is_descending;
    int has_position; /* the last hit that was given */
    /* For those who would compare each hit with what they see: with can_be_sure and the epoch of a
     * mrl_ordered_viewer set before each call, bit i of unsure is 0 if the section sees hits[i]
     * certainly. Else it is 1, as it is for hits beyond the 64th. */
    int can_be_sure;
    uint32_t epoch;
    uint64_t unsure;
} mrl_ordered_cursor;

static inline void mrl_ordered_cursor_init(mrl_ordered_cursor *cursor, mrl_ordered *tree,
                                           const mrl_ordered_range *range, int is_descending,
                                           uint8_t *position) {
    memset(cursor, 0, sizeof *cursor);
    cursor->tree = tree;
    cursor->range = *range;
    cursor->is_descending = is_descending;
    cursor->position = position;
}
/* Goes on behind this hint, which need not be there. It lies within the range. */
static inline void mrl_ordered_cursor_seek(mrl_ordered_cursor *cursor, merle_bytes value,
                                           uint32_t slot) {
    memcpy(cursor->position, value.data, value.size);
    cursor->position_size = (uint32_t)value.size;
    cursor->position_slot = slot;
    cursor->has_position = 1;
}
/* The next hits, at most max; fewer: there are no more now. */
size_t mrl_ordered_next(mrl_ordered_cursor *cursor, mrl_ordered_hit *hits, size_t max);

/* ---- counting ---- */

/* Which of up to 64 hits are visible to the section: bit i for hits[i]. */
typedef uint64_t mrl_ordered_visible_fn(void *context, const mrl_ordered_hit *hits, size_t count);

/* Who counts. epoch is mrl_epoch_value, loaded after the section entered the epoch and before it
 * noted what it sees. */
typedef struct mrl_ordered_viewer {
    uint32_t epoch;
    mrl_ordered_visible_fn *visible;
    void *context;
} mrl_ordered_viewer;

/* How many hints of the range the section sees, exactly. */
uint64_t mrl_ordered_count(mrl_ordered *tree, const mrl_ordered_range *range,
                           const mrl_ordered_viewer *viewer);
/* How many that the section sees lie before (value, slot) in the range, or behind it if
 * is_descending. */
uint64_t mrl_ordered_rank(mrl_ordered *tree, const mrl_ordered_range *range, int is_descending,
                          merle_bytes value, uint32_t slot, const mrl_ordered_viewer *viewer);
/* The n-th (from 0) that the section sees; 0: there are not so many. */
int mrl_ordered_nth(mrl_ordered *tree, const mrl_ordered_range *range, int is_descending,
                    uint64_t n, const mrl_ordered_viewer *viewer, mrl_ordered_hit *out_hit);
/* About how many hints the range has, also marked ones; exact inside one leaf. */
uint64_t mrl_ordered_estimate(mrl_ordered *tree, const mrl_ordered_range *range);

/* ---- looking at it ---- */

typedef struct mrl_ordered_stats {
    uint64_t entries; /* also the marked ones */
    uint64_t marked;
    uint64_t leaves, inner;
    uint64_t bytes; /* of all nodes and values, as the allocator counts them */
    uint32_t depth; /* 1: there is one leaf */
} mrl_ordered_stats;

/* Sums of relaxed counters; exact when nobody writes. */
void mrl_ordered_stat(mrl_ordered *tree, mrl_ordered_stats *out_stats);
/* Walks all of it and says what is broken; NULL: nothing is. Nobody writes meanwhile. */
const char *mrl_ordered_check(mrl_ordered *tree);

#endif
