/* tags/set_build.c - a set made at once from slots in order, as tight as it can be.
 *
 * The ranges are divided as long as an array would be too long; so is the set that adding makes,
 * but for its slack. The first pass counts the spans, the second one makes them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tags/array.h"
#include "tags/bitmap.h"

typedef struct building {
    mrl_set_change *change;
    mrl_directory *directory; /* NULL: one span is all */
    mrl_span *only;
    uint32_t span_count; /* so far */
    int makes;           /* 0: only counts */
} building;

static mrl_span *make_array(mrl_set_change *change, uint32_t base, uint8_t bits,
                            const uint32_t *slots, size_t count) {
    mrl_array *a = mrl_array_create(change, base, bits, (uint32_t)count);
    if (a == NULL) return NULL;
    for (size_t i = 0; i < count; i++) mrl_array_append_slot(a, slots[i], 0, 0);
    return &a->span;
}

static mrl_span *make_bitmap(mrl_set_change *change, uint32_t base, const uint32_t *slots,
                             size_t count) {
    mrl_bitmap *b = mrl_bitmap_create(change, base);
    if (b == NULL) return NULL;
    for (size_t i = 0; i < count; i++) mrl_bitmap_fill(b, slots[i], 0, 0);
    return &b->span;
}

static merle_err build_span(building *b, uint32_t base, uint8_t bits, const uint32_t *slots,
                            size_t count) {
    uint32_t at = b->span_count;
    mrl_span *span;
    if (b->makes) {
        span = count > MRL_ARRAY_MAX ? make_bitmap(b->change, base, slots, count)
                                     : make_array(b->change, base, bits, slots, count);
        if (span == NULL) return MERLE_NO_MEMORY;
        if (b->directory == NULL) {
            b->only = span;
        } else {
            atomic_init(&b->directory->places[at], span);
            mrl_directory_bases(b->directory)[at] = base;
        }
    }
    b->span_count++;
    return MERLE_OK;
}

static merle_err build_range(building *b, uint32_t base, uint8_t bits, const uint32_t *slots,
                             size_t count) {
    if (count == 0) return MERLE_OK;
    if (count <= MRL_ARRAY_MAX || bits == MRL_WINDOW_BITS)
        return build_span(b, base, bits, slots, count);
    uint32_t middle = base + ((uint32_t)1 << (bits - 1));
    size_t low = 0, high = count;
    while (low < high) {
        size_t half = low + (high - low) / 2;
        if (slots[half] < middle)
            low = half + 1;
        else
            high = half;
    }
    merle_err err = build_range(b, base, bits - 1, slots, low);
    if (err != MERLE_OK) return err;
    return build_range(b, middle, bits - 1, slots + low, count - low);
}

/* All four ranges of the largest size. */
static merle_err build_all(building *b, const uint32_t *slots, size_t count) {
    size_t at = 0;
    merle_err err = MERLE_OK;
    b->span_count = 0;
    for (uint32_t quarter = 0; quarter < 4 && err == MERLE_OK; quarter++) {
        size_t begin = at;
        while (at < count && slots[at] >> MRL_SPAN_BITS_MAX == quarter) at++;
        err = build_range(b, quarter << MRL_SPAN_BITS_MAX, MRL_SPAN_BITS_MAX, slots + begin,
                          at - begin);
    }
    return err;
}

merle_err mrl_set_build(mrl_set_change *change, const uint32_t *slots, size_t count) {
    building b = {.change = change};
    (void)build_all(&b, slots, count);
    if (b.span_count > 1) {
        b.directory = mrl_set_directory(change, b.span_count);
        if (b.directory == NULL) return MERLE_NO_MEMORY;
    }
    b.makes = 1;
    if (build_all(&b, slots, count) != MERLE_OK) goto fail;
    void *root = b.directory != NULL ? (void *)b.directory : b.only;
    MRL_SET(&change->tag->root, (mrl_root *)root);
    MRL_SET(&change->tag->entry_count, (uint32_t)count);
    MRL_SET(&change->tag->live_count, (uint32_t)count);
    return MERLE_OK;
fail:
    for (uint32_t i = 0; b.directory != NULL && i < b.span_count; i++)
        mrl_set_free(change, mrl_directory_at(b.directory, i));
    mrl_set_free(change, b.directory);
    return MERLE_NO_MEMORY;
}
