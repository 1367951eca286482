/* store/due.c - what a section must not count: the documents of its instant that are past their
 * time and still lie there.
 *
 * Mostly there are none, or as many as fell due since the last step. Whoever shows documents leaves
 * these out one by one (mrl_section_version); who counts by an index subtracts them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "store/entries.h"
#include "store/expiry.h"

/* What is due at the section's clock. 0: nothing can be. */
static int due_range(const mrl_view *view, uint8_t *to, mrl_ordered_range *out_range) {
    int64_t now_ns = view->section->now_ns;
    if (__builtin_expect(now_ns <= 0, 1) || mrl_root_expiry(view->root) == NULL) return 0;
    mrl_expiry_encode(now_ns, to);
    *out_range = (mrl_ordered_range){.to = merle_bytes_of(to, MRL_EXPIRY_SIZE),
                                     .to_bound = MRL_BOUND_CLOSED};
    return 1;
}

/* The versions of hits, NULL where the instant has none that ends at the hit's moment. */
static void versions_of(const mrl_view *view, const mrl_ordered_hit *hits, size_t count,
                        const mrl_version **out_versions) {
    uint32_t slots[MRL_READ_BATCH];
    if (count == 0) return;
    slots[0] = hits[0].slot;
    for (size_t i = 1; i < count; i++) slots[i] = hits[i].slot;
    mrl_read_slots_at(view->section, view->root, slots, count, out_versions);
    for (size_t i = 0; i < count; i++)
        if (out_versions[i] != NULL &&
            mrl_version_expires(out_versions[i]) != mrl_expiry_decode(&hits[i]))
            out_versions[i] = NULL;
}

static uint64_t which_are_visible(void *context, const mrl_ordered_hit *hits, size_t count) {
    const mrl_version *versions[MRL_READ_BATCH];
    uint64_t bits = 0;
    versions_of(context, hits, count, versions);
    for (size_t i = 0; i < count; i++) bits |= (uint64_t)(versions[i] != NULL) << i;
    return bits;
}

uint64_t mrl_due_count(const mrl_view *view) {
    uint8_t to[MRL_EXPIRY_SIZE];
    mrl_ordered_range range;
    if (!due_range(view, to, &range)) return 0;
    const mrl_ordered_viewer viewer = {view->section->epoch, which_are_visible,
                                       (void *)(uintptr_t)view};
    uint64_t count = mrl_ordered_count(mrl_root_expiry(view->root), &range, &viewer);
    /* They count as gone: nobody shall see one of them later. */
    if (count > 0) mrl_expiry_raise(view->section->store, view->section->now_ns);
    return count;
}

int mrl_due_each(const mrl_view *view, mrl_due_fn *fn, void *context) {
    uint8_t to[MRL_EXPIRY_SIZE], position[MERLE_VALUE_SIZE_MAX];
    mrl_ordered_hit hits[MRL_READ_BATCH];
    const mrl_version *versions[MRL_READ_BATCH];
    mrl_ordered_range range;
    mrl_ordered_cursor cursor;
    size_t count = MRL_READ_BATCH;
    int result = 0;
    if (!due_range(view, to, &range)) return 0;
    mrl_ordered_cursor_init(&cursor, mrl_root_expiry(view->root), &range, 0, position);
    while (result == 0 && count == MRL_READ_BATCH) {
        count = mrl_ordered_next(&cursor, hits, MRL_READ_BATCH);
        versions_of(view, hits, count, versions);
        for (size_t i = 0; i < count && result == 0; i++)
            if (versions[i] != NULL) result = fn(context, versions[i]);
    }
    return result;
}

/* ---- their values ---- */

/* Collecting those of one index. */
typedef struct collecting {
    const mrl_view *view;
    const mrl_schema_index *index;
    const mrl_ordered_range *range;
    mrl_due_values *values;
} collecting;

static merle_err add_one(mrl_due_values *values, const mrl_own_value *value) {
    if (values->count == values->capacity) {
        size_t capacity = values->capacity == 0 ? 64 : 2 * values->capacity;
        mrl_own_value *list = mrl_allocate(capacity * sizeof *list);
        if (list == NULL) return MERLE_NO_MEMORY;
        if (values->count > 0) memcpy(list, values->list, values->count * sizeof *list);
        free(values->list);
        values->list = list;
        values->capacity = capacity;
    }
    values->list[values->count++] = *value;
    return MERLE_OK;
}

static int collect(void *context, const mrl_version *v) {
    const collecting *c = context;
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    v = mrl_view_valued(c->view, c->index, v);
    size_t size = mrl_version_encode(v, c->index, encoded);
    if (size == 0 || !mrl_range_has(c->range, merle_bytes_of(encoded, size))) return MERLE_OK;
    /* The bytes may still move: for the moment the value says only how long they are. */
    const mrl_own_value value = {.value = {NULL, size}, .version = v, .slot = v->slot};
    merle_err err = mrl_buffer_append(&c->values->bytes, encoded, size);
    return (int)(err == MERLE_OK ? add_one(c->values, &value) : err);
}

void mrl_due_free_values(mrl_due_values *values) {
    free(values->list);
    merle_buffer_free(&values->bytes);
    *values = (mrl_due_values){0};
}

merle_err mrl_due_add_values(const mrl_view *view, const mrl_schema_index *index,
                             const mrl_ordered_range *range, mrl_own_run *run,
                             mrl_due_values *out_values) {
    collecting c = {view, index, range, out_values};
    if (mrl_due_count(view) == 0) return MERLE_OK;
    merle_err err = (merle_err)mrl_due_each(view, collect, &c);
    const uint8_t *at = out_values->bytes.data;
    for (size_t i = 0; i < out_values->count; i++) {
        out_values->list[i].value.data = at;
        at += out_values->list[i].value.size;
    }
    for (size_t i = 0; i < run->count && err == MERLE_OK; i++)
        err = add_one(out_values, &run->list[i]);
    if (err != MERLE_OK) {
        mrl_due_free_values(out_values);
        return err;
    }
    if (out_values->count > 0)
        qsort(out_values->list, out_values->count, sizeof *out_values->list, mrl_own_by_place);
    *run = (mrl_own_run){out_values->list, out_values->count};
    return MERLE_OK;
}
