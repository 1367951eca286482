/* tags/bitmap.c - spans as bitmaps.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tags/bitmap.h"

#include <string.h>

_Static_assert(offsetof(mrl_bitmap, words) == 64, "words are aligned, as blocks are to 16 bytes");

mrl_bitmap *mrl_bitmap_create(mrl_set_change *change, uint32_t base) {
    mrl_bitmap *b = mrl_set_alloc(change, MRL_FORM_BITMAP, sizeof *b);
    if (b == NULL) return NULL;
    memset(b, 0, sizeof *b);
    b->span.form = MRL_FORM_BITMAP;
    b->span.bits = MRL_WINDOW_BITS;
    b->span.base = base;
    MRL_SET(&b->span.touched, change->now);
    return b;
}

/* ---- one slot ---- */

static uint32_t word_of(uint32_t slot) {
    return slot % MRL_WINDOW_SLOTS / 64;
}
static uint64_t bit_of(uint32_t slot) {
    return (uint64_t)1 << (slot % 64);
}
static uint32_t group_of(uint32_t slot) {
    return word_of(slot) / MRL_BITMAP_GROUPS;
}

mrl_bitmap_state mrl_bitmap_get(const mrl_bitmap *b, uint32_t slot) {
    const mrl_bitmap_word *word = &b->words[word_of(slot)];
    if ((MRL_GET(&word->there) & bit_of(slot)) == 0) return MRL_BIT_ABSENT;
    return (MRL_GET(&word->marked) & bit_of(slot)) != 0 ? MRL_BIT_MARKED : MRL_BIT_LIVE;
}

/* ---- writers ---- */

static void touch(mrl_bitmap *b, const mrl_set_change *change) {
    MRL_SET(&b->span.touched, change->now);
    /* Release: pairs with the acquire fences in mrl_bitmap_settled_after and mrl_bitmap_live; who
     * sees the bit or the count that is changed next sees the ticket. */
    atomic_thread_fence(memory_order_release);
}

/* Takes the marked entries of one group away. */
static uint32_t drop_group(mrl_bitmap *b, mrl_set_change *change, uint32_t group) {
    uint32_t gone = 0;
    for (uint32_t w = group * MRL_BITMAP_GROUPS; w < (group + 1) * MRL_BITMAP_GROUPS; w++) {
        uint64_t marked = MRL_GET(&b->words[w].marked);
        if (marked == 0) continue;
        MRL_SET(&b->words[w].there, MRL_GET(&b->words[w].there) & ~marked);
        /* Release: pairs with the acquire in mrl_bitmap_load; who finds no mark finds no entry. */
        atomic_store_explicit(&b->words[w].marked, 0, memory_order_release);
        gone += (uint32_t)__builtin_popcountll(marked);
    }
    mrl_span_count(&b->span, change->tag, -(int)gone, 0);
    return gone;
}

void mrl_bitmap_insert(mrl_bitmap *b, mrl_set_change *change, uint32_t slot) {
    _Atomic uint64_t *there = &b->words[word_of(slot)].there;
    touch(b, change);
    MRL_SET(there, MRL_GET(there) | bit_of(slot));
    mrl_span_count(&b->span, change->tag, 1, 1);
}

void mrl_bitmap_mark(mrl_bitmap *b, mrl_set_change *change, uint32_t slot) {
    uint32_t group = group_of(slot);
    _Atomic uint64_t *marked = &b->words[word_of(slot)].marked;
    /* A mark puts its whole group off, so what may go goes first. */
    if (mrl_span_marked(&b->span) != 0 &&
        mrl_ticket_passed(change->member->domain, b->tickets[group]))
        (void)drop_group(b, change, group);
    touch(b, change);
    MRL_SET(marked, MRL_GET(marked) | bit_of(slot));
    b->tickets[group] = change->now;
    mrl_span_count(&b->span, change->tag, 0, -1);
}

void mrl_bitmap_unmark(mrl_bitmap *b, mrl_set_change *change, uint32_t slot) {
    _Atomic uint64_t *marked = &b->words[word_of(slot)].marked;
    touch(b, change);
    MRL_SET(marked, MRL_GET(marked) & ~bit_of(slot));
    mrl_span_count(&b->span, change->tag, 0, 1);
}

uint32_t mrl_bitmap_drop(mrl_bitmap *b, mrl_set_change *change) {
    uint32_t gone = 0;
    if (mrl_span_marked(&b->span) == 0) return 0;
    for (uint32_t group = 0; group < MRL_BITMAP_GROUPS; group++)
        if (mrl_ticket_passed(change->member->domain, b->tickets[group]))
            gone += drop_group(b, change, group);
    return gone;
}

void mrl_bitmap_fill(mrl_bitmap *b, uint32_t slot, int is_marked, uint32_t ticket) {
    mrl_bitmap_word *word = &b->words[word_of(slot)];
    MRL_SET(&word->there, MRL_GET(&word->there) | bit_of(slot));
    if (is_marked) {
        MRL_SET(&word->marked, MRL_GET(&word->marked) | bit_of(slot));
        b->tickets[group_of(slot)] = ticket;
    }
    MRL_SET(&b->span.entry_count, (uint16_t)(MRL_GET(&b->span.entry_count) + 1));
    MRL_SET(&b->span.live_count, (uint16_t)(MRL_GET(&b->span.live_count) + !is_marked));
}

/* ---- readers ---- */

void mrl_bitmap_window(const mrl_bitmap *b, uint32_t section_epoch, mrl_planes *out_planes) {
    for (uint32_t w = 0; w < MRL_WALK_WORDS; w++) {
        uint64_t marked;
        out_planes->may[w] = mrl_bitmap_load(&b->words[w], &marked);
        out_planes->sure[w] = out_planes->may[w] & ~marked;
    }
    if (mrl_bitmap_settled_after(b, section_epoch))
        memcpy(out_planes->may, out_planes->sure, sizeof out_planes->may);
    else
        memset(out_planes->sure, 0, sizeof out_planes->sure);
}

void mrl_bitmap_read(const mrl_bitmap *b, mrl_run *run) {
    mrl_planes planes;
    uint32_t last = mrl_span_last(&b->span);
    if (last > run->last) last = run->last;
    uint32_t from = run->from > b->span.base ? run->from : b->span.base;
    mrl_bitmap_window(b, run->section_epoch, &planes);
    for (uint32_t w = word_of(from); w <= word_of(last); w++) {
        uint64_t bits = planes.may[w];
        if (w == word_of(from)) bits &= ~(uint64_t)0 << (from % 64);
        if (w == word_of(last)) bits &= ~(uint64_t)0 >> (63 - last % 64);
        for (; bits != 0; bits &= bits - 1) {
            uint32_t slot = b->span.base + w * 64 + (uint32_t)__builtin_ctzll(bits);
            if (run->count == run->max) {
                run->from = slot;
                return;
            }
            run->slots[run->count] = slot;
            if (run->recheck != NULL)
                run->recheck[run->count] = (planes.sure[w] & bit_of(slot)) == 0;
            run->count++;
        }
    }
    run->from = mrl_slot_after(last);
}

uint32_t mrl_bitmap_live(const mrl_bitmap *b, uint32_t *out_touched) {
    uint32_t live = MRL_GET(&b->span.live_count);
    atomic_thread_fence(memory_order_acquire);
    *out_touched = MRL_GET(&b->span.touched);
    return live;
}

/* ---- check ---- */

const char *mrl_bitmap_check(const mrl_bitmap *b) {
    uint32_t there_count = 0, marked_count = 0;
    if (b->span.bits != MRL_WINDOW_BITS) return "a bitmap is not of one window";
    for (uint32_t w = 0; w < MRL_WALK_WORDS; w++) {
        uint64_t there = MRL_GET(&b->words[w].there), marked = MRL_GET(&b->words[w].marked);
        if ((marked & ~there) != 0) return "a bitmap marks a slot that is not there";
        there_count += (uint32_t)__builtin_popcountll(there);
        marked_count += (uint32_t)__builtin_popcountll(marked);
    }
    if (there_count != MRL_GET(&b->span.entry_count)) return "a bitmap's count is wrong";
    if (there_count - marked_count != MRL_GET(&b->span.live_count))
        return "a bitmap's live count is wrong";
    return NULL;
}
