/* tags/set.c - changing the set of one tag: spans that grow, divide, change their form, shrink.
 *
 * Everything here happens under the tag's lock. A new span is filled before it is shown; one that
 * is replaced is never changed again, and is retired after its successor is shown.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "tags/array.h"
#include "tags/bitmap.h"

enum {
    MERGE_MAX = MRL_ARRAY_MAX / 4, /* two neighbours with fewer become one */
    MARKED_SHARE = 32              /* one in so many: a marking writer looks what may go */
};

static mrl_array *as_array(mrl_span *span) {
    MRL_DEBUG_ASSERT(span->form == MRL_FORM_ARRAY);
    return (mrl_array *)(void *)span;
}
static mrl_bitmap *as_bitmap(mrl_span *span) {
    MRL_DEBUG_ASSERT(span->form == MRL_FORM_BITMAP);
    return (mrl_bitmap *)(void *)span;
}
static uint32_t entries_of(const mrl_span *span) {
    return MRL_GET(&span->entry_count);
}

/* ---- blocks ---- */

static size_t directory_size(uint32_t count) {
    return sizeof(mrl_directory) + count * (sizeof(mrl_span *) + sizeof(uint32_t) + 1);
}

static size_t size_of(const mrl_root *root) {
    if (root->form == MRL_FORM_DIRECTORY) return directory_size(root->directory.count);
    if (root->form == MRL_FORM_BITMAP) return sizeof(mrl_bitmap);
    return sizeof(mrl_array) + 4 * (size_t)root->span.capacity;
}

static void count_block(mrl_tags *tags, mrl_form form, size_t size, uint64_t sign) {
    atomic_fetch_add_explicit(&tags->block_bytes, sign * mrl_block_bytes(size),
                              memory_order_relaxed);
    if (form != MRL_FORM_DIRECTORY)
        atomic_fetch_add_explicit(&tags->span_count, sign, memory_order_relaxed);
    if (form == MRL_FORM_BITMAP)
        atomic_fetch_add_explicit(&tags->bitmap_count, sign, memory_order_relaxed);
}

void *mrl_set_alloc(mrl_set_change *change, mrl_form form, size_t size) {
    void *block = mrl_block_alloc(change->member, MRL_FOR_TABLES, size);
    if (block != NULL) count_block(change->tags, form, size, 1);
    return block;
}

void mrl_set_retire(mrl_set_change *change, void *block) {
    const mrl_root *root = block;
    count_block(change->tags, (mrl_form)root->form, size_of(root), UINT64_MAX);
    mrl_block_retire(change->member, block);
}

void mrl_set_free(mrl_set_change *change, void *block) {
    const mrl_root *root = block;
    if (block == NULL) return;
    count_block(change->tags, (mrl_form)root->form, size_of(root), UINT64_MAX);
    mrl_block_free(change->member, block);
}

/* ---- places ---- */

/* Where a slot is, or would be. */
typedef struct place {
    mrl_root *root;
    uint32_t at;    /* the span's number; without a span: what a new one would have */
    mrl_span *span; /* covers the slot; NULL: none does */
} place;

static uint32_t span_count(const mrl_root *root) {
    if (root == NULL) return 0;
    return root->form == MRL_FORM_DIRECTORY ? root->directory.count : 1;
}

static mrl_span *span_at(mrl_root *root, uint32_t at) {
    if (root->form == MRL_FORM_DIRECTORY) return mrl_directory_at(&root->directory, at);
    return &root->span;
}

static place place_of(const mrl_tag *tag, uint32_t slot) {
    place p = {mrl_tag_root(tag), 0, NULL};
    if (p.root == NULL) return p;
    if (p.root->form == MRL_FORM_DIRECTORY)
        p.at = mrl_directory_search(&p.root->directory, slot);
    else
        p.at = p.root->span.base <= slot;
    if (p.at == 0) return p;
    mrl_span *span = span_at(p.root, p.at - 1);
    if (!mrl_span_covers(span, slot)) return p;
    p.at--;
    p.span = span;
    return p;
}

static void put_root(mrl_tag *tag, void *root) {
    /* Release: pairs with the acquire in mrl_tag_root. */
    atomic_store_explicit(&tag->root, root, memory_order_release);
}

static void put_place(mrl_directory *d, uint32_t at, mrl_span *span) {
    /* Release: pairs with the acquire in mrl_directory_at. */
    atomic_store_explicit(&d->places[at], span, memory_order_release);
}

mrl_directory *mrl_set_directory(mrl_set_change *change, uint32_t count) {
    mrl_directory *d = mrl_set_alloc(change, MRL_FORM_DIRECTORY, directory_size(count));
    if (d == NULL) return NULL;
    d->form = MRL_FORM_DIRECTORY;
    d->bits = 0;
    d->unused = 0;
    d->count = count;
    memset(mrl_directory_flags(d), 0, count);
    return d;
}

static uint8_t flag_of(const mrl_span *span) {
    return mrl_span_marked(span) > 0;
}

/* The flag of a span that the root has. */
static uint8_t flag_at(const mrl_root *root, uint32_t at) {
    if (root->form == MRL_FORM_DIRECTORY) return mrl_directory_flags(&root->directory)[at];
    return flag_of(&root->span);
}

/* A directory of the root's spans, with fresh ones in the place of some. */
static mrl_directory *directory_with(mrl_set_change *change, mrl_root *root, uint32_t at,
                                     uint32_t old_count, mrl_span **fresh, uint32_t fresh_count) {
    uint32_t before = span_count(root), total = before - old_count + fresh_count;
    mrl_directory *d = mrl_set_directory(change, total);
    if (d == NULL) return NULL;
    uint32_t *bases = mrl_directory_bases(d);
    for (uint32_t i = 0; i < total; i++) {
        int is_fresh = i >= at && i - at < fresh_count;
        uint32_t from = i < at ? i : i - fresh_count + old_count;
        mrl_span *span = is_fresh ? fresh[i - at] : span_at(root, from);
        mrl_directory_flags(d)[i] = is_fresh ? flag_of(span) : flag_at(root, from);
        atomic_init(&d->places[i], span);
        bases[i] = span->base;
    }
    return d;
}

/* Shows fresh spans in the place of old_count ones that begin at `at`. The caller retires those.
 * Errors: MERLE_NO_MEMORY; nothing has changed then. Never, if all that is left is one or none. */
static merle_err replace(mrl_set_change *change, uint32_t at, uint32_t old_count, mrl_span **fresh,
                         uint32_t fresh_count) {
    mrl_root *root = mrl_tag_root(change->tag);
    uint32_t before = span_count(root), total = before - old_count + fresh_count;
    void *next = NULL;
    if (old_count == fresh_count && root->form == MRL_FORM_DIRECTORY) {
        MRL_ASSERT(fresh_count == 1);
        put_place(&root->directory, at, fresh[0]);
        mrl_directory_flags(&root->directory)[at] = flag_of(fresh[0]);
        return MERLE_OK;
    }
    if (total == 1) {
        next = fresh_count == 1 ? fresh[0] : span_at(root, at == 0 ? old_count : 0);
    } else if (total > 1) {
        next = directory_with(change, root, at, old_count, fresh, fresh_count);
        if (next == NULL) return MERLE_NO_MEMORY;
    }
    put_root(change->tag, next);
    if (root != NULL && root->form == MRL_FORM_DIRECTORY) mrl_set_retire(change, root);
    return MERLE_OK;
}

/* As replace, for one old span that is retired; on failure the fresh ones are freed. */
static merle_err replace_one(mrl_set_change *change, uint32_t at, mrl_span *old, mrl_span **fresh,
                             uint32_t fresh_count) {
    merle_err err = replace(change, at, 1, fresh, fresh_count);
    if (err == MERLE_OK) mrl_set_retire(change, old);
    for (uint32_t i = 0; i < fresh_count && err != MERLE_OK; i++) mrl_set_free(change, fresh[i]);
    return err;
}

/* ---- room for one more ---- */

/* The largest aligned range around the slot that touches neither neighbour. */
static uint8_t gap_bits(const place *p, uint32_t slot) {
    uint32_t count = span_count(p->root);
    uint8_t bits = MRL_SPAN_BITS_MAX;
    /* A range reaches a neighbour as soon as it has all the bits in which the two differ. */
    if (p->at > 0) {
        uint32_t differs = slot ^ mrl_span_last(span_at(p->root, p->at - 1));
        uint8_t below = (uint8_t)(31 - __builtin_clz(differs));
        if (bits > below) bits = below;
    }
    if (p->at < count) {
        uint32_t differs = slot ^ span_at(p->root, p->at)->base;
        uint8_t below = (uint8_t)(31 - __builtin_clz(differs));
        if (bits > below) bits = below;
    }
    MRL_ASSERT(bits >= MRL_WINDOW_BITS);
    return bits;
}

static merle_err add_span(mrl_set_change *change, const place *p, uint32_t slot) {
    uint8_t bits = gap_bits(p, slot);
    mrl_array *a = mrl_array_create(change, slot >> bits << bits, bits, 1);
    if (a == NULL) return MERLE_NO_MEMORY;
    mrl_array_append_slot(a, slot, 0, change->now);
    mrl_span *fresh = &a->span;
    merle_err err = replace(change, p->at, 0, &fresh, 1);
    if (err != MERLE_OK) {
        mrl_set_free(change, a);
        return err;
    }
    MRL_SET(&change->tag->entry_count, MRL_GET(&change->tag->entry_count) + 1);
    MRL_SET(&change->tag->live_count, MRL_GET(&change->tag->live_count) + 1);
    return MERLE_OK;
}

/* A copy with room for entry_count. */
static merle_err resize(mrl_set_change *change, uint32_t at, mrl_array *old, uint32_t entry_count) {
    mrl_array *a = mrl_array_create(change, old->span.base, old->span.bits, entry_count);
    if (a == NULL) return MERLE_NO_MEMORY;
    mrl_array_append(a, old, 0, entries_of(&old->span));
    mrl_span *fresh = &a->span;
    return replace_one(change, at, &old->span, &fresh, 1);
}

static merle_err to_bitmap(mrl_set_change *change, uint32_t at, mrl_array *old) {
    uint32_t first = mrl_entry_slot(old, mrl_array_entry(old, 0));
    mrl_bitmap *b = mrl_bitmap_create(change, first & ~(uint32_t)(MRL_WINDOW_SLOTS - 1));
    if (b == NULL) return MERLE_NO_MEMORY;
    MRL_SET(&b->span.touched, MRL_GET(&old->span.touched));
    for (uint32_t i = 0; i < entries_of(&old->span); i++) {
        uint32_t entry = mrl_array_entry(old, i);
        mrl_bitmap_fill(b, mrl_entry_slot(old, entry), mrl_entry_state(entry) != 0, change->now);
    }
    mrl_span *fresh = &b->span;
    merle_err err = replace(change, at, 1, &fresh, 1);
    if (err == MERLE_OK)
        mrl_set_retire(change, old);
    else
        mrl_set_free(change, b);
    return err;
}

/* Divides a full array where its entries differ first. What lies in its range and in neither half
 * becomes empty space. */
static merle_err split(mrl_set_change *change, uint32_t at, mrl_array *old, uint8_t bits) {
    uint32_t count = entries_of(&old->span);
    uint32_t last = mrl_entry_slot(old, mrl_array_entry(old, count - 1));
    uint32_t base = last >> bits << bits, cut = mrl_array_search(old, base);
    uint32_t half = (uint32_t)1 << bits;
    mrl_array *left = mrl_array_create(change, base - half, bits, cut);
    mrl_array *right = mrl_array_create(change, base, bits, count - cut);
    if (left == NULL || right == NULL) goto fail;
    mrl_array_append(left, old, 0, cut);
    mrl_array_append(right, old, cut, count);
    mrl_span *fresh[2] = {&left->span, &right->span};
    return replace_one(change, at, &old->span, fresh, 2);
fail:
    mrl_set_free(change, left);
    mrl_set_free(change, right);
    return MERLE_NO_MEMORY;
}

/* Makes room in a full array, or other spans in its place. */
static merle_err make_room(mrl_set_change *change, uint32_t at, mrl_array *a) {
    uint32_t count = entries_of(&a->span);
    if (count < MRL_ARRAY_MAX) return resize(change, at, a, count + 1);
    uint32_t differs = mrl_array_entry(a, 0) ^ mrl_array_entry(a, count - 1);
    differs &= MRL_ARRAY_SLOT_MASK;
    uint8_t bits = (uint8_t)(31 - __builtin_clz(differs));
    if (bits < MRL_WINDOW_BITS) return to_bitmap(change, at, a);
    return split(change, at, a, bits);
}

/* ---- one entry ---- */

static int add_to_bitmap(mrl_set_change *change, mrl_bitmap *b, uint32_t slot) {
    switch (mrl_bitmap_get(b, slot)) {
    case MRL_BIT_LIVE:
        return 0;
    case MRL_BIT_MARKED:
        mrl_bitmap_unmark(b, change, slot);
        return 1;
    case MRL_BIT_ABSENT:
        break;
    }
    mrl_bitmap_insert(b, change, slot);
    return 1;
}

/* Whether the array has the slot; *out_at: where it is, or would be. */
static int array_has(const mrl_array *a, uint32_t slot, uint32_t *out_at) {
    *out_at = mrl_array_search(a, slot);
    return *out_at < entries_of(&a->span) && mrl_entry_slot(a, mrl_array_entry(a, *out_at)) == slot;
}

/* Returns 0 if there is no room. */
static int add_to_array(mrl_set_change *change, mrl_array *a, uint32_t slot, int *out_added) {
    uint32_t at;
    if (array_has(a, slot, &at)) {
        *out_added = mrl_entry_state(mrl_array_entry(a, at)) != 0;
        if (*out_added) mrl_array_unmark(a, change, at);
        return 1;
    }
    if (entries_of(&a->span) == a->span.capacity) return 0;
    mrl_array_insert(a, change, at, slot);
    *out_added = 1;
    return 1;
}

merle_err mrl_set_add(mrl_set_change *change, uint32_t slot, int *out_added) {
    merle_err err = MERLE_OK;
    *out_added = 0;
    while (err == MERLE_OK) {
        place p = place_of(change->tag, slot);
        if (p.span == NULL) {
            err = add_span(change, &p, slot);
            *out_added = err == MERLE_OK;
            return err;
        }
        if (p.span->form == MRL_FORM_BITMAP) {
            *out_added = add_to_bitmap(change, as_bitmap(p.span), slot);
            return MERLE_OK;
        }
        mrl_array *a = as_array(p.span);
        if (add_to_array(change, a, slot, out_added)) return MERLE_OK;
        if (mrl_array_drop(a, change) == 0) err = make_room(change, p.at, a);
    }
    return err;
}

void mrl_set_warn(mrl_set_change *change, uint32_t slot) {
    place p = place_of(change->tag, slot);
    MRL_ASSERT(p.span != NULL);
    /* Nothing that a reader takes with it changes, so this needs no new version: whoever sees the
     * commit published sees this store, which came before. */
    MRL_SET(&p.span->touched, change->now);
}

static void mark_in_array(mrl_set_change *change, mrl_array *a, uint32_t slot) {
    uint32_t at, marked = mrl_span_marked(&a->span);
    if (marked > 0 && marked * MARKED_SHARE >= entries_of(&a->span))
        (void)mrl_array_drop(a, change);
    int is_there = array_has(a, slot, &at);
    MRL_ASSERT(is_there);
    if (mrl_entry_state(mrl_array_entry(a, at)) == 0) mrl_array_mark(a, change, at);
}

void mrl_set_mark(mrl_set_change *change, uint32_t slot) {
    place p = place_of(change->tag, slot);
    MRL_ASSERT(p.span != NULL);
    /* While a section lasts the epoch goes on by one step at most: so this finds most of those who
     * have not warned within theirs. */
    MRL_DEBUG_ASSERT((int32_t)(change->now - MRL_GET(&p.span->touched)) <= 1);
    if (p.root->form == MRL_FORM_DIRECTORY) mrl_directory_flags(&p.root->directory)[p.at] = 1;
    if (p.span->form == MRL_FORM_ARRAY) {
        mark_in_array(change, as_array(p.span), slot);
        return;
    }
    mrl_bitmap_state state = mrl_bitmap_get(as_bitmap(p.span), slot);
    MRL_ASSERT(state != MRL_BIT_ABSENT);
    if (state == MRL_BIT_LIVE) mrl_bitmap_mark(as_bitmap(p.span), change, slot);
}

/* ---- shrinking, as far as there is memory for it ---- */

static merle_err to_array(mrl_set_change *change, uint32_t at, mrl_bitmap *old) {
    mrl_array *a =
        mrl_array_create(change, old->span.base, MRL_WINDOW_BITS, entries_of(&old->span));
    if (a == NULL) return MERLE_NO_MEMORY;
    MRL_SET(&a->span.touched, MRL_GET(&old->span.touched));
    for (uint32_t i = 0; i < MRL_WINDOW_SLOTS; i++) {
        mrl_bitmap_state state = mrl_bitmap_get(old, old->span.base + i);
        if (state != MRL_BIT_ABSENT)
            mrl_array_append_slot(a, old->span.base + i, state == MRL_BIT_MARKED, change->now);
    }
    mrl_span *fresh = &a->span;
    return replace_one(change, at, &old->span, &fresh, 1);
}

static void append_all(mrl_array *to, const mrl_array *from, uint32_t now) {
    for (uint32_t i = 0; i < entries_of(&from->span); i++) {
        uint32_t entry = mrl_array_entry(from, i);
        mrl_array_append_slot(to, mrl_entry_slot(from, entry), mrl_entry_state(entry) != 0, now);
    }
}

/* Whether span `at` and the next one are thin arrays that can share a range. *out_bits: its
 * size. */
static int may_merge(mrl_root *root, uint32_t at, uint8_t *out_bits) {
    uint32_t count = span_count(root);
    if (at + 1 >= count) return 0;
    const mrl_span *left = span_at(root, at), *right = span_at(root, at + 1);
    if (left->form != MRL_FORM_ARRAY || right->form != MRL_FORM_ARRAY) return 0;
    if (entries_of(left) + entries_of(right) > MERGE_MAX) return 0;
    uint8_t bits = (uint8_t)(32 - __builtin_clz(left->base ^ right->base));
    if (bits > MRL_SPAN_BITS_MAX) return 0;
    uint32_t base = left->base >> bits << bits, last = base + (((uint32_t)1 << bits) - 1);
    if (at > 0 && mrl_span_last(span_at(root, at - 1)) >= base) return 0;
    if (at + 2 < count && span_at(root, at + 2)->base <= last) return 0;
    *out_bits = bits;
    return 1;
}

/* Makes one of span `at` and the next one. Returns 0 if that cannot be. */
static int merge(mrl_set_change *change, uint32_t at) {
    mrl_root *root = mrl_tag_root(change->tag);
    uint8_t bits;
    if (!may_merge(root, at, &bits)) return 0;
    mrl_array *left = as_array(span_at(root, at)), *right = as_array(span_at(root, at + 1));
    uint32_t left_touched = MRL_GET(&left->span.touched);
    uint32_t right_touched = MRL_GET(&right->span.touched);
    mrl_array *a = mrl_array_create(change, left->span.base >> bits << bits, bits,
                                    entries_of(&left->span) + entries_of(&right->span));
    if (a == NULL) return 0;
    int is_left_later = (int32_t)(left_touched - right_touched) > 0;
    MRL_SET(&a->span.touched, is_left_later ? left_touched : right_touched);
    append_all(a, left, change->now);
    append_all(a, right, change->now);
    mrl_span *fresh = &a->span;
    if (replace(change, at, 2, &fresh, 1) != MERLE_OK) {
        mrl_set_free(change, a);
        return 0;
    }
    mrl_set_retire(change, left);
    mrl_set_retire(change, right);
    return 1;
}

/* Two become one only if nothing else lies in the range that they would share: so where a span has
 * gone, the two before it may have become neighbours of that kind, too; and what has become one may
 * fit to the next. Each time there is a span less. */
static void merge_around(mrl_set_change *change, uint32_t at) {
    for (uint32_t back = 0; back <= 2 && back <= at;) {
        if (!merge(change, at - back)) {
            back++;
            continue;
        }
        at -= back;
        back = 0;
    }
}

/* Gives a span the form that fits what is left in it. Without memory it stays as it is. */
static void tidy(mrl_set_change *change, uint32_t at, mrl_span *span) {
    uint32_t count = entries_of(span);
    merle_err err = MERLE_OK;
    if (count == 0) {
        err = replace_one(change, at, span, NULL, 0);
    } else if (span->form == MRL_FORM_BITMAP) {
        if (count < MRL_BITMAP_MIN) err = to_array(change, at, as_bitmap(span));
    } else if (2 * mrl_array_capacity(count + 1) <= span->capacity) {
        err = resize(change, at, as_array(span), count);
    }
    if (err != MERLE_OK) return;
    merge_around(change, at);
}

size_t mrl_set_sweep(mrl_set_change *change, uint32_t from, uint32_t *out_next) {
    place p = place_of(change->tag, from);
    uint32_t count = span_count(p.root), gone;
    *out_next = MRL_TAGS_END;
    while (p.at < count && count > 1 && !flag_at(p.root, p.at)) p.at++;
    if (p.at >= count) return 0;
    mrl_span *span = span_at(p.root, p.at);
    if (p.at + 1 < count) *out_next = span_at(p.root, p.at + 1)->base;
    if (span->form == MRL_FORM_BITMAP)
        gone = mrl_bitmap_drop(as_bitmap(span), change);
    else
        gone = mrl_array_drop(as_array(span), change);
    if (count > 1) mrl_directory_flags(&p.root->directory)[p.at] = flag_of(span);
    tidy(change, p.at, span);
    return gone;
}

/* ---- the end ---- */

void mrl_set_retire_all(mrl_set_change *change) {
    mrl_root *root = mrl_tag_root(change->tag);
    put_root(change->tag, NULL);
    for (uint32_t i = 0; i < span_count(root); i++) mrl_set_retire(change, span_at(root, i));
    if (root != NULL && root->form == MRL_FORM_DIRECTORY) mrl_set_retire(change, root);
}

size_t mrl_set_clear_some(mrl_set_change *change, size_t max) {
    mrl_tag *tag = change->tag;
    mrl_root *root = mrl_tag_root(tag);
    uint32_t count = span_count(root);
    size_t freed = 0;
    /* Nobody sweeps it any more: so the place of the sweep can be that of the clearing. */
    for (; tag->sweep_from < count && freed < max; tag->sweep_from++, freed++)
        mrl_set_free(change, span_at(root, tag->sweep_from));
    if (root == NULL || tag->sweep_from < count) return freed;
    put_root(tag, NULL);
    if (count > 1) mrl_set_free(change, root);
    return freed;
}
