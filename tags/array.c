/* tags/array.c - spans as sorted arrays.
 *
 * The version is a sequence lock. Writer: odd version, release fence, entries, even version with
 * release. Reader: version with acquire, entries, acquire fence, version again. If a reader saw any
 * entry of a change, the fences make it see the odd version or a later one, and it reads again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tags/array.h"

#include <string.h>

_Static_assert(sizeof(mrl_array) == 32,
               "with the header of its block, 48 bytes before the entries");

/* ---- versions ---- */

static void change_begin(mrl_array *a) {
    MRL_SET(&a->span.version, MRL_GET(&a->span.version) + 1);
    /* Release: pairs with the acquire fence in read_end. */
    atomic_thread_fence(memory_order_release);
}
static void change_end(mrl_array *a) {
    /* Release: pairs with the acquire in read_begin; the entries are whole. */
    atomic_store_explicit(&a->span.version, MRL_GET(&a->span.version) + 1, memory_order_release);
}

enum { SPIN_COUNT = 100 };

static uint32_t read_begin(const mrl_array *a) {
    for (uint32_t i = 1;; i++) {
        uint32_t version = atomic_load_explicit(&a->span.version, memory_order_acquire);
        if ((version & 1) == 0) return version;
        /* Whoever changes it holds no more than this span, and may have lost the processor. */
        if (i % SPIN_COUNT == 0)
            (void)sched_yield();
        else
            mrl_cpu_relax();
    }
}
static int read_end(const mrl_array *a, uint32_t version) {
    atomic_thread_fence(memory_order_acquire);
    return MRL_GET(&a->span.version) == version;
}

/* ---- making ---- */

uint32_t mrl_array_capacity(uint32_t entry_count) {
    size_t size = sizeof(mrl_array) + 4 * (size_t)entry_count;
    uint32_t capacity = (uint32_t)((mrl_block_step(size) - sizeof(mrl_array)) / 4);
    return capacity < MRL_ARRAY_MAX ? capacity : MRL_ARRAY_MAX;
}

mrl_array *mrl_array_create(mrl_set_change *change, uint32_t base, uint8_t bits,
                            uint32_t entry_count) {
    uint32_t capacity = mrl_array_capacity(entry_count);
    MRL_ASSERT(entry_count <= MRL_ARRAY_MAX);
    mrl_array *a = mrl_set_alloc(change, MRL_FORM_ARRAY, sizeof *a + 4 * (size_t)capacity);
    if (a == NULL) return NULL;
    memset(a, 0, sizeof *a);
    a->span.form = MRL_FORM_ARRAY;
    a->span.bits = bits;
    a->span.base = base;
    a->span.capacity = (uint16_t)capacity;
    MRL_SET(&a->span.touched, change->now);
    return a;
}

/* ---- writers ---- */

/* The first of count entries that is not below, by its lower 30 bits. */
static uint32_t lower_bound(const mrl_array *a, uint32_t count, uint32_t low) {
    uint32_t at = 0;
    while (count > 0) {
        uint32_t half = count / 2;
        int is_below = (mrl_array_entry(a, at + half) & MRL_ARRAY_SLOT_MASK) < low;
        at += is_below ? half + 1 : 0;
        count = is_below ? count - half - 1 : half;
    }
    return at;
}

uint32_t mrl_array_search(const mrl_array *a, uint32_t slot) {
    return lower_bound(a, MRL_GET(&a->span.entry_count), slot & MRL_ARRAY_SLOT_MASK);
}

void mrl_array_insert(mrl_array *a, mrl_set_change *change, uint32_t at, uint32_t slot) {
    uint32_t count = MRL_GET(&a->span.entry_count);
    MRL_ASSERT(count < a->span.capacity);
    change_begin(a);
    for (uint32_t i = count; i > at; i--) MRL_SET(&a->entries[i], mrl_array_entry(a, i - 1));
    MRL_SET(&a->entries[at], slot & MRL_ARRAY_SLOT_MASK);
    MRL_SET(&a->span.touched, change->now);
    mrl_span_count(&a->span, change->tag, 1, 1);
    change_end(a);
}

static void set_state(mrl_array *a, uint32_t at, uint32_t state) {
    uint32_t entry = mrl_array_entry(a, at) & MRL_ARRAY_SLOT_MASK;
    MRL_SET(&a->entries[at], entry | (state << MRL_SPAN_BITS_MAX));
}

void mrl_array_mark(mrl_array *a, mrl_set_change *change, uint32_t at) {
    uint32_t young_count = mrl_span_marked(&a->span) - a->old_count;
    /* What was marked at an earlier ticket becomes old, if that place is free: the old one's ticket
     * never moves, so it passes. */
    if (a->old_count == 0 && young_count > 0 && a->tickets[a->young] != change->now) {
        a->old_count = (uint16_t)young_count;
        a->young ^= 1;
    }
    a->tickets[a->young] = change->now;
    change_begin(a);
    set_state(a, at, 1u + a->young);
    MRL_SET(&a->span.touched, change->now);
    mrl_span_count(&a->span, change->tag, 0, -1);
    change_end(a);
}

void mrl_array_unmark(mrl_array *a, mrl_set_change *change, uint32_t at) {
    uint32_t state = mrl_entry_state(mrl_array_entry(a, at));
    if (state == 2u - a->young) a->old_count--;
    change_begin(a);
    set_state(a, at, 0);
    MRL_SET(&a->span.touched, change->now);
    mrl_span_count(&a->span, change->tag, 0, 1);
    change_end(a);
}

uint32_t mrl_array_drop(mrl_array *a, mrl_set_change *change) {
    mrl_domain *domain = change->member->domain;
    uint32_t count = MRL_GET(&a->span.entry_count), old = a->young ^ 1u, to = 0;
    uint32_t young_count = mrl_span_marked(&a->span) - a->old_count;
    int goes[4] = {0, 0, 0, 0};
    if (a->old_count > 0) goes[1 + old] = mrl_ticket_passed(domain, a->tickets[old]);
    if (young_count > 0) goes[1 + a->young] = mrl_ticket_passed(domain, a->tickets[a->young]);
    if (!goes[1] && !goes[2]) return 0;
    change_begin(a);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t entry = mrl_array_entry(a, i);
        if (goes[mrl_entry_state(entry)]) continue;
        MRL_SET(&a->entries[to], entry);
        to++;
    }
    if (goes[1 + old]) a->old_count = 0;
    mrl_span_count(&a->span, change->tag, (int)to - (int)count, 0);
    change_end(a);
    return count - to;
}

void mrl_array_append(mrl_array *to, const mrl_array *from, uint32_t at, uint32_t end) {
    uint32_t count = MRL_GET(&to->span.entry_count), live = 0, old = 0;
    MRL_ASSERT(count == 0 && end - at <= to->span.capacity);
    for (uint32_t i = at; i < end; i++) {
        uint32_t entry = mrl_array_entry(from, i);
        live += mrl_entry_state(entry) == 0;
        old += mrl_entry_state(entry) == 2u - from->young;
        MRL_SET(&to->entries[count++], entry);
    }
    memcpy(to->tickets, from->tickets, sizeof to->tickets);
    to->young = from->young;
    to->old_count = (uint16_t)old;
    MRL_SET(&to->span.touched, MRL_GET(&from->span.touched));
    MRL_SET(&to->span.entry_count, (uint16_t)count);
    MRL_SET(&to->span.live_count, (uint16_t)live);
}

void mrl_array_append_slot(mrl_array *to, uint32_t slot, int is_marked, uint32_t ticket) {
    uint32_t count = MRL_GET(&to->span.entry_count);
    MRL_ASSERT(count < to->span.capacity);
    MRL_SET(&to->entries[count], slot & MRL_ARRAY_SLOT_MASK);
    MRL_SET(&to->span.entry_count, (uint16_t)(count + 1));
    if (is_marked) {
        to->tickets[to->young] = ticket;
        set_state(to, count, 1u + to->young);
    } else {
        MRL_SET(&to->span.live_count, (uint16_t)(MRL_GET(&to->span.live_count) + 1));
    }
}

/* ---- readers ---- */

/* One try. Returns 1 if there was no room for all. */
static int try_read(const mrl_array *a, mrl_run *run, uint32_t low_from, uint32_t low_last,
                    size_t *out_count, uint32_t *out_next) {
    int is_settled = mrl_is_settled(MRL_GET(&a->span.touched), run->section_epoch);
    uint32_t count = MRL_GET(&a->span.entry_count), skipped = is_settled ? 3 : 0;
    size_t n = run->count;
    for (uint32_t at = low_from == 0 ? 0 : lower_bound(a, count, low_from); at < count; at++) {
        uint32_t entry = mrl_array_entry(a, at);
        if ((entry & MRL_ARRAY_SLOT_MASK) > low_last) break;
        if (n == run->max) {
            *out_next = mrl_entry_slot(a, entry);
            return 1;
        }
        run->slots[n] = mrl_entry_slot(a, entry);
        /* Where all is settled, marked entries are not in the set. */
        n += (mrl_entry_state(entry) & skipped) == 0;
    }
    *out_count = n;
    if (run->recheck != NULL) memset(run->recheck + run->count, !is_settled, n - run->count);
    return 0;
}

void mrl_array_read(const mrl_array *a, mrl_run *run) {
    uint32_t last = mrl_span_last(&a->span), version, next;
    if (last > run->last) last = run->last;
    uint32_t from = run->from > a->span.base ? run->from : a->span.base;
    uint32_t low_from = from == a->span.base ? 0 : from & MRL_ARRAY_SLOT_MASK;
    uint32_t low_last = last & MRL_ARRAY_SLOT_MASK;
    size_t count;
    int is_cut;
    do {
        version = read_begin(a);
        count = run->max;
        next = mrl_slot_after(last);
        is_cut = try_read(a, run, low_from, low_last, &count, &next);
        if (is_cut && run->recheck != NULL)
            memset(run->recheck + run->count,
                   !mrl_is_settled(MRL_GET(&a->span.touched), run->section_epoch),
                   run->max - run->count);
    } while (!read_end(a, version));
    run->count = count;
    run->from = next;
}

enum { NEAR = 4 /* steps before a search goes by halves */ };

/* One try: the bits of lanes [first, end) into words of our own. */
static void try_test(const mrl_array *a, const mrl_lanes *lanes, uint32_t first, uint32_t end,
                     mrl_planes *out) {
    int is_settled = mrl_is_settled(MRL_GET(&a->span.touched), lanes->section_epoch);
    uint32_t count = MRL_GET(&a->span.entry_count), at = 0, low_at = 0;
    for (uint32_t i = first; i < end && at < count; i++) {
        uint32_t low = lanes->slots[i] & MRL_ARRAY_SLOT_MASK, steps = 0;
        while (at < count && steps < NEAR && low_at < low) {
            low_at = mrl_array_entry(a, at) & MRL_ARRAY_SLOT_MASK;
            if (low_at < low) at++, steps++;
        }
        if (steps == NEAR) at = lower_bound(a, count, low);
        if (at == count) break;
        uint32_t entry = mrl_array_entry(a, at);
        low_at = entry & MRL_ARRAY_SLOT_MASK;
        if (low_at != low) continue;
        uint64_t bit = (uint64_t)1 << (i % 64);
        if (!is_settled || mrl_entry_state(entry) == 0) out->may[i / 64] |= bit;
        if (is_settled && mrl_entry_state(entry) == 0) out->sure[i / 64] |= bit;
    }
}

void mrl_array_test(const mrl_array *a, const mrl_lanes *lanes, uint32_t first, uint32_t end,
                    mrl_planes *planes) {
    mrl_planes tried;
    uint32_t version;
    do {
        version = read_begin(a);
        for (uint32_t w = first / 64; w <= (end - 1) / 64; w++) tried.may[w] = tried.sure[w] = 0;
        try_test(a, lanes, first, end, &tried);
    } while (!read_end(a, version));
    for (uint32_t w = first / 64; w <= (end - 1) / 64; w++) {
        planes->may[w] |= tried.may[w];
        planes->sure[w] |= tried.sure[w];
    }
}

uint32_t mrl_array_live(const mrl_array *a, uint32_t *out_touched) {
    uint32_t version, live;
    do {
        version = read_begin(a);
        live = MRL_GET(&a->span.live_count);
        *out_touched = MRL_GET(&a->span.touched);
    } while (!read_end(a, version));
    return live;
}

/* ---- check ---- */

const char *mrl_array_check(const mrl_array *a) {
    uint32_t count = MRL_GET(&a->span.entry_count), states[4] = {0, 0, 0, 0};
    if ((MRL_GET(&a->span.version) & 1) != 0) return "an array is left within a change";
    if (count > a->span.capacity || a->span.capacity > MRL_ARRAY_MAX)
        return "an array has more entries than room";
    if (a->young > 1) return "an array has no such generation";
    for (uint32_t i = 0; i < count; i++) {
        uint32_t entry = mrl_array_entry(a, i);
        states[mrl_entry_state(entry)]++;
        if (!mrl_span_covers(&a->span, mrl_entry_slot(a, entry)))
            return "an array has a slot outside its range";
        if (i > 0 &&
            (mrl_array_entry(a, i - 1) & MRL_ARRAY_SLOT_MASK) >= (entry & MRL_ARRAY_SLOT_MASK))
            return "an array is not in order";
    }
    if (states[3] != 0) return "an entry has no such state";
    if (states[0] != MRL_GET(&a->span.live_count)) return "an array's live count is wrong";
    if (states[2u - a->young] != a->old_count) return "the count of an old generation is wrong";
    return NULL;
}
