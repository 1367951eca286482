/* store/view.c - what a section sees of one collection.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/view.h"

#include <string.h>

#include "document/encode.h"
#include "store/entries.h"
#include "store/own.h"

static merle_err add_own(mrl_view *view, const merle_collection *collection) {
    merle_commit *commit = view->section->commit;
    mrl_portion *part = mrl_commit_find_part(commit, collection);
    if (part == NULL || part->touch_count == 0) return MERLE_OK;
    merle_err err = mrl_own_refresh(commit, part, view->root);
    if (err != MERLE_OK) {
        *view = (mrl_view){0};
        return err;
    }
    view->part = part;
    view->own = part->own.list;
    view->own_count = part->own.count;
    return MERLE_OK;
}

merle_err mrl_view_open(merle_section *section, const merle_collection *collection,
                        mrl_view *out_view) {
    merle_err err;
    mrl_root *root;
    *out_view = (mrl_view){0};
    const mrl_section *own = mrl_section_own(section, &err);
    if (own == NULL) return err;
    if ((err = mrl_section_root(own, collection, &root)) != MERLE_OK) return err;
    out_view->section = own;
    out_view->root = root;
    out_view->schema = mrl_root_schema(root, own->seq);
    return __builtin_expect(own->commit == NULL, 1) ? MERLE_OK : add_own(out_view, collection);
}

void mrl_view_keep(mrl_view *view, mrl_own *own) {
    if (view->own_count > 0) memcpy(own, view->own, view->own_count * sizeof *own);
    view->own = own;
    view->part = NULL;
}

mrl_view mrl_view_of_instant(const mrl_view *view) {
    mrl_view instant = *view;
    instant.part = NULL;
    instant.own = NULL;
    instant.own_count = 0;
    instant.shows_due = 1;
    return instant;
}

const mrl_version *mrl_view_valued(const mrl_view *view, const mrl_schema_index *index,
                                   const mrl_version *v) {
    if (__builtin_expect(index->extract == NULL, 1) || v == NULL) return v;
    if (mrl_version_has_extracted(v, index) || mrl_version_seq(v) == MRL_SEQ_NONE) return v;
    /* The slot leads to the twin, and the index was not ready before it did. */
    return mrl_version_at(mrl_slots_load(&view->root->slots, v->slot), view->section->seq);
}

/* How many come before this slot. */
static size_t own_before(const mrl_view *view, uint32_t slot) {
    size_t low = 0, high = view->own_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (view->own[middle].slot < slot)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const mrl_own *mrl_view_find_own(const mrl_view *view, uint32_t slot) {
    size_t at = own_before(view, slot);
    return at < view->own_count && view->own[at].slot == slot ? &view->own[at] : NULL;
}

size_t mrl_view_first_new(const mrl_view *view) {
    return own_before(view, MRL_SLOT_NONE);
}

void mrl_view_slots(const mrl_view *view, const uint32_t *slots, size_t count,
                    const mrl_version **out_versions) {
    if (__builtin_expect(view->shows_due, 0))
        mrl_read_slots_at(view->section, view->root, slots, count, out_versions);
    else
        mrl_read_slots(view->section, view->root, slots, count, out_versions);
    if (__builtin_expect(view->own_count == 0, 1)) return;
    for (size_t i = 0; i < count; i++)
        if (out_versions[i] != NULL && mrl_view_find_own(view, slots[i]) != NULL)
            out_versions[i] = NULL;
}

const mrl_schema_index *mrl_view_index(const mrl_view *view, const char *name) {
    const mrl_schema_index *index;
    (void)mrl_schema_read_index(view->schema, name, &index);
    return index;
}

/* ---- hits ---- */

/* Most indexes are on one number, of which the hit has the tag and eight bytes. 1 yes, 0 no, -1: to
 * be asked another way. */
static inline int is_number_of(const mrl_version *v, const mrl_schema_index *index,
                               const mrl_ordered_hit *hit) {
    uint8_t tag;
    uint64_t bits;
    if (hit->size != 9 || hit->prefix_size != 1 || index->part_count != 1 ||
        index->parts[0].descending || index->parts[0].source != MRL_SOURCE_PATH)
        return -1;
    uint32_t offset = mrl_version_locate(v, &index->parts[0]);
    if (offset == 0) return 0;
    if (!mrl_encode_number(mrl_version_doc(v) + offset, &tag, &bits)) return -1;
    return tag == hit->bytes[0] && bits == hit->head;
}

static int is_value_of(const mrl_version *v, const mrl_schema_index *index,
                       const mrl_ordered_hit *hit) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    int is_number = is_number_of(v, index, hit);
    if (__builtin_expect(is_number >= 0, 1)) return is_number;
    if (index->each != MRL_PART_NONE) return mrl_entries_have(v, index, hit);
    size_t size = mrl_version_encode(v, index, encoded);
    return size != 0 && mrl_ordered_hit_is(hit, merle_bytes_of(encoded, size));
}

/* The versions of the slots, whatever their values. */
static inline void hit_slots(const mrl_view *view, const mrl_ordered_hit *hits, size_t count,
                             const mrl_version **out_versions) {
    uint32_t slots[MRL_READ_BATCH];
    slots[0] = hits[0].slot;
    for (size_t i = 1; i < count; i++) slots[i] = hits[i].slot;
    mrl_view_slots(view, slots, count, out_versions);
}

void mrl_view_sift(const mrl_view *view, const mrl_schema_index *index, const mrl_ordered_hit *hits,
                   size_t count, uint64_t unsure, const mrl_version **out_versions) {
    if (count == 0) return;
    hit_slots(view, hits, count, out_versions);
    if (count < 64) unsure &= ((uint64_t)1 << count) - 1;
    for (; unsure != 0; unsure &= unsure - 1) {
        int i = __builtin_ctzll(unsure);
        if (out_versions[i] != NULL && !is_value_of(out_versions[i], index, &hits[i]))
            out_versions[i] = NULL;
    }
}

uint64_t mrl_view_visible(const mrl_view *view, const mrl_schema_index *index,
                          const mrl_ordered_hit *hits, size_t count) {
    const mrl_version *versions[MRL_READ_BATCH];
    uint64_t bits = 0;
    mrl_view_hits(view, index, hits, count, versions);
    for (size_t i = 0; i < count; i++) bits |= (uint64_t)(versions[i] != NULL) << i;
    return bits;
}

void mrl_view_first_hits(const mrl_view *view, const mrl_schema_index *index,
                         const mrl_ordered_range *range, int is_backwards,
                         const mrl_ordered_hit *hits, size_t count, uint64_t unsure,
                         const mrl_version **out_versions) {
    if (index->each == MRL_PART_NONE) {
        mrl_view_sift(view, index, hits, count, unsure, out_versions);
        return;
    }
    if (count == 0) return;
    hit_slots(view, hits, count, out_versions);
    for (size_t i = 0; i < count; i++)
        if (out_versions[i] != NULL &&
            !mrl_entries_gives_hit(out_versions[i], index, range, is_backwards, &hits[i]))
            out_versions[i] = NULL;
}
