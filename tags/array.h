/* tags/array.h - a span as a sorted array of slots.
 *
 * What    Chosen while a span has few entries for its range: up to MRL_ARRAY_MAX of them. That is
 *         where the array's block would outgrow the block of a bitmap, 1,280 bytes. A full array of
 *         more than one window is divided into two; one of a single window becomes a bitmap.
 *         An entry is 32 bits: the lower 30 bits of the slot, the upper two are its state: live, or
 *         marked in one of two generations. The young generation takes new marks. While the old one
 *         is empty, the young one becomes old when the ticket has moved on: so constant marking
 *         does not keep what was marked first.
 * Sees    Changed in place, within an odd version; a reader that met a change reads again. No lock
 *         is taken and nothing allocated between the two versions.
 * Threads read, test: read section. All others: the tag's lock held.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_TAGS_ARRAY_H
#define MRL_TAGS_ARRAY_H

#include "tags/tags_private.h"

enum { MRL_ARRAY_MAX = 308 };
#define MRL_ARRAY_SLOT_MASK (((uint32_t)1 << MRL_SPAN_BITS_MAX) - 1)

typedef struct mrl_array {
    mrl_span span;
    uint32_t tickets[2]; /* of the generations: the latest mark */
    uint16_t old_count;  /* marked entries that are in the old one */
    uint8_t young;       /* which one takes new marks, 0 or 1 */
    uint8_t unused;
    _Atomic uint32_t entries[];
} mrl_array;

/* An empty one with room for entry_count, or a little more. NULL: no memory. */
mrl_array *mrl_array_create(mrl_set_change *change, uint32_t base, uint8_t bits,
                            uint32_t entry_count);
/* How many entries a block made for entry_count has room for. */
uint32_t mrl_array_capacity(uint32_t entry_count);

static inline uint32_t mrl_array_entry(const mrl_array *a, uint32_t at) {
    return MRL_GET(&a->entries[at]);
}
static inline uint32_t mrl_entry_slot(const mrl_array *a, uint32_t entry) {
    return (a->span.base & ~MRL_ARRAY_SLOT_MASK) | (entry & MRL_ARRAY_SLOT_MASK);
}
/* 0: live; 1 + generation: marked. */
static inline uint32_t mrl_entry_state(uint32_t entry) {
    return entry >> MRL_SPAN_BITS_MAX;
}

/* The place of the first entry that is not below the slot. */
uint32_t mrl_array_search(const mrl_array *a, uint32_t slot);
/* Puts the slot there; it is not in the array, and there is room. */
void mrl_array_insert(mrl_array *a, mrl_set_change *change, uint32_t at, uint32_t slot);
void mrl_array_mark(mrl_array *a, mrl_set_change *change, uint32_t at);
void mrl_array_unmark(mrl_array *a, mrl_set_change *change, uint32_t at);
/* Takes the generations away whose ticket has passed. Returns how many entries went. */
uint32_t mrl_array_drop(mrl_array *a, mrl_set_change *change);
/* Appends entries [at, end) of another array, states and all, to one that nobody has seen; their
 * slots follow on what is there. Does not count them in the tag: they are there already. */
void mrl_array_append(mrl_array *to, const mrl_array *from, uint32_t at, uint32_t end);
/* Appends one slot to an array that nobody has seen; as above. */
void mrl_array_append_slot(mrl_array *to, uint32_t slot, int is_marked, uint32_t ticket);

/* ---- readers ---- */

/* See mrl_tag_read; only what this span has. */
void mrl_array_read(const mrl_array *a, mrl_run *run);
/* Sets the bits of lanes [first, end), whose slots this span covers. */
void mrl_array_test(const mrl_array *a, const mrl_lanes *lanes, uint32_t first, uint32_t end,
                    mrl_planes *planes);
/* Reads touched and the live count as they were at one moment. Returns live. */
uint32_t mrl_array_live(const mrl_array *a, uint32_t *out_touched);

const char *mrl_array_check(const mrl_array *a);

#endif
