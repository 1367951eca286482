/* tags/bitmap.h - a span as a bitmap of one window of 4,096 slots.
 *
 * What    Chosen when an array of one window would have more than MRL_ARRAY_MAX entries; given up
 *         when fewer than MRL_BITMAP_MIN are left, half of that, so that no form changes to and
 *         fro. For each slot two bits, in neighbouring words: there, and marked. Marks are taken
 *         away by groups of 512 slots, each with the ticket of its latest mark. Garbage in a bitmap
 *         takes no room, so one generation is enough.
 * Sees    Read word by word while it is changed. Before an entry is added, marked or unmarked,
 *         `touched` gets the new ticket; whoever has seen the new bit sees that, too. What is taken
 *         away leaves the first word before the second: whoever finds the mark gone, and looked for
 *         it first, finds the entry gone.
 * Threads window, read, ask: read section. All others: the tag's lock held.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_TAGS_BITMAP_H
#define MRL_TAGS_BITMAP_H

#include "tags/tags_private.h"

enum { MRL_BITMAP_MIN = 154, MRL_BITMAP_GROUPS = 8 };

typedef struct mrl_bitmap_word {
    _Atomic uint64_t there;
    _Atomic uint64_t marked;
} mrl_bitmap_word;

typedef struct mrl_bitmap {
    mrl_span span;
    uint32_t tickets[MRL_BITMAP_GROUPS];
    uint8_t padding[12]; /* a word's two halves lie in one line */
    mrl_bitmap_word words[MRL_WALK_WORDS];
} mrl_bitmap;

/* An empty one. NULL: no memory. */
mrl_bitmap *mrl_bitmap_create(mrl_set_change *change, uint32_t base);

typedef enum mrl_bitmap_state { MRL_BIT_ABSENT, MRL_BIT_LIVE, MRL_BIT_MARKED } mrl_bitmap_state;
mrl_bitmap_state mrl_bitmap_get(const mrl_bitmap *b, uint32_t slot);
void mrl_bitmap_insert(mrl_bitmap *b, mrl_set_change *change, uint32_t slot);
void mrl_bitmap_mark(mrl_bitmap *b, mrl_set_change *change, uint32_t slot);
void mrl_bitmap_unmark(mrl_bitmap *b, mrl_set_change *change, uint32_t slot);
/* Takes the marked entries of all groups away whose ticket has passed. Returns how many went. */
uint32_t mrl_bitmap_drop(mrl_bitmap *b, mrl_set_change *change);
/* Puts a slot into a bitmap that nobody has seen; the tag has counted it already. */
void mrl_bitmap_fill(mrl_bitmap *b, uint32_t slot, int is_marked, uint32_t ticket);

/* ---- readers ---- */

/* The whole window. */
void mrl_bitmap_window(const mrl_bitmap *b, uint32_t section_epoch, mrl_planes *out_planes);
/* See mrl_tag_read. */
void mrl_bitmap_read(const mrl_bitmap *b, mrl_run *run);
/* The mark is loaded first: an entry that is taken away loses its bit before its mark. */
static inline uint64_t mrl_bitmap_load(const mrl_bitmap_word *word, uint64_t *out_marked) {
    *out_marked = atomic_load_explicit(&word->marked, memory_order_acquire);
    return MRL_GET(&word->there);
}
/* Whether all that was loaded before is settled. */
static inline int mrl_bitmap_settled_after(const mrl_bitmap *b, uint32_t section_epoch) {
    atomic_thread_fence(memory_order_acquire);
    return mrl_is_settled(MRL_GET(&b->span.touched), section_epoch);
}
/* Bit 0: whether the slot may be in the set; *out_sure: whether it is for certain. */
static inline uint64_t mrl_bitmap_ask(const mrl_bitmap *b, uint32_t slot, uint32_t section_epoch,
                                      uint64_t *out_sure) {
    uint64_t marked;
    uint64_t there = mrl_bitmap_load(&b->words[slot % MRL_WINDOW_SLOTS / 64], &marked);
    int is_settled = mrl_bitmap_settled_after(b, section_epoch);
    uint64_t live = (there & ~marked) >> (slot % 64) & 1;
    *out_sure = is_settled ? live : 0;
    return is_settled ? live : there >> (slot % 64) & 1;
}
/* The live count, and touched as it was then or later. */
uint32_t mrl_bitmap_live(const mrl_bitmap *b, uint32_t *out_touched);

const char *mrl_bitmap_check(const mrl_bitmap *b);

#endif
