/* query/begin.c - what is done before the first document is given: slots are collected, what the
 * commit itself wrote is picked out, and what has to be sorted is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "query/query_private.h"

/* ---- collected slots ---- */

/* Notes one more; 0: they would take more than they may, or there is no memory. */
static int note_slot(merle_rows *rows, uint32_t slot) {
    if (rows->slot_count == rows->slot_capacity) {
        size_t capacity = rows->slot_capacity == 0 ? 256 : rows->slot_capacity * 2;
        if (capacity * sizeof *rows->slots > rows->memory_max) return 0;
        uint32_t *slots = mrl_allocate(capacity * sizeof *slots);
        if (slots == NULL) return 0;
        if (rows->slot_count > 0) memcpy(slots, rows->slots, rows->slot_count * sizeof *slots);
        free(rows->slots);
        rows->slots = slots;
        rows->slot_capacity = capacity;
    }
    rows->slots[rows->slot_count++] = slot;
    return 1;
}

static int collect_ranges(merle_rows *rows, const mrl_drive *branch) {
    mrl_ordered_hit hits[MRL_ROWS_BATCH];
    mrl_ordered *tree = rows->view.root->indexes[branch->index->number].ordered;
    for (uint32_t i = 0; i < branch->range_count; i++) {
        size_t count;
        mrl_ordered_cursor_init(&rows->cursor, tree, &branch->ranges[i], 0, rows->position);
        do {
            count = mrl_ordered_next(&rows->cursor, hits, MRL_ROWS_BATCH);
            for (size_t j = 0; j < count; j++)
                if (!note_slot(rows, hits[j].slot)) return 0;
            rows->happened.hits += count;
        } while (count == MRL_ROWS_BATCH);
    }
    return 1;
}

static int collect_tags(merle_rows *rows, const mrl_drive *branch) {
    uint32_t slots[MRL_ROWS_BATCH];
    uint32_t end = mrl_slots_end(&rows->view.root->slots);
    size_t count;
    if (mrl_walk_begin(&rows->walk, branch->expr, end, rows->view.section->epoch, 0) != MERLE_OK)
        return 0;
    while ((count = mrl_walk_next(&rows->walk, slots, NULL, MRL_ROWS_BATCH)) > 0) {
        rows->happened.hits += count;
        for (size_t i = 0; i < count; i++)
            if (!note_slot(rows, slots[i])) return 0;
    }
    return 1;
}

static int collect_unique(merle_rows *rows, const mrl_drive *branch) {
    const mrl_root *root = rows->view.root;
    merle_bytes value = branch->ranges[0].from;
    uint64_t hash =
        mrl_unique_hash(root->indexes[branch->index->number].unique, value.data, value.size);
    const mrl_version *v =
        mrl_root_find_unique(root, branch->index, value.data, value.size, hash, rows->seq);
    rows->happened.hits++;
    return v == NULL || note_slot(rows, v->slot);
}

static int collect(merle_rows *rows, const mrl_drive *branch) {
    switch (branch->kind) {
    case MRL_DRIVE_RANGES:
        return collect_ranges(rows, branch);
    case MRL_DRIVE_TAGS:
        return collect_tags(rows, branch);
    case MRL_DRIVE_UNIQUE:
        return collect_unique(rows, branch);
    default:
        return branch->kind == MRL_DRIVE_NOTHING;
    }
}

static int by_slot(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

/* Collects the slots of all branches, each once, ascending. Where there are too many, all slots
 * will do: everything is compared with the version anyway. */
static void collect_all(merle_rows *rows) {
    const mrl_drive *drive = &rows->plan.drive;
    const mrl_drive *branches = drive->kind == MRL_DRIVE_UNION ? drive->branches : drive;
    uint32_t count = drive->kind == MRL_DRIVE_UNION ? drive->branch_count : 1;
    size_t kept = 0;
    int is_all = 1;
    for (uint32_t i = 0; is_all && i < count; i++) is_all = collect(rows, &branches[i]);
    if (!is_all) {
        free(rows->slots);
        rows->slots = NULL;
        rows->slot_count = mrl_slots_end(&rows->view.root->slots);
        return;
    }
    if (rows->slot_count == 0) return;
    qsort(rows->slots, rows->slot_count, sizeof *rows->slots, by_slot);
    for (size_t i = 0; i < rows->slot_count; i++)
        if (i == 0 || rows->slots[i] != rows->slots[kept - 1]) rows->slots[kept++] = rows->slots[i];
    rows->slot_count = kept;
}

/* ---- the commit's own documents ---- */

static int by_place(const void *left, const void *right) {
    return mrl_place_order(&((const mrl_own_row *)left)->place,
                           &((const mrl_own_row *)right)->place);
}

static int is_backwards(const merle_rows *rows) {
    return rows->plan.sort == MRL_SORT_NOT && rows->plan.drive.is_backwards;
}

/* Whether the place lies behind the one that is gone on from. */
static int is_behind(const merle_rows *rows, const mrl_place *place) {
    if (rows->after.kind == MRL_PLACE_NONE) return 1;
    int order = mrl_place_order(place, &rows->after.place);
    return is_backwards(rows) ? order < 0 : order > 0;
}

static merle_err place_own(merle_rows *rows, const mrl_own *own, mrl_own_row *out) {
    uint8_t value[MERLE_VALUE_SIZE_MAX];
    size_t size;
    merle_err err = mrl_rows_encode(rows, own->after, value, &size);
    if (err != MERLE_OK) return err;
    uint8_t *copy = mrl_pool_take(&rows->pool, size + 1);
    if (copy == NULL) return MERLE_NO_MEMORY;
    memcpy(copy, value, size);
    out->version = own->after;
    out->place.value = copy;
    out->place.size = (uint32_t)size;
    out->place.slot = own->slot;
    out->place.key = mrl_version_key(own->after);
    return MERLE_OK;
}

/* Those that meet the condition and lie behind the place that is gone on from, in order. */
static merle_err pick_own(merle_rows *rows) {
    const mrl_view *view = &rows->view;
    if (view->own_count == 0) return MERLE_OK;
    rows->own = mrl_pool_take(&rows->pool, view->own_count * sizeof *rows->own);
    if (rows->own == NULL) return MERLE_NO_MEMORY;
    for (size_t i = 0; i < view->own_count; i++) {
        const mrl_own *own = &view->own[i];
        if (own->after == NULL || !mrl_rows_test(rows, own->after, UINT64_MAX)) continue;
        merle_err err = place_own(rows, own, &rows->own[rows->own_count]);
        if (err != MERLE_OK) return err;
        if (is_behind(rows, &rows->own[rows->own_count].place)) rows->own_count++;
    }
    if (rows->own_count > 1) qsort(rows->own, rows->own_count, sizeof *rows->own, by_place);
    for (size_t i = 0; is_backwards(rows) && i < rows->own_count / 2; i++) {
        mrl_own_row row = rows->own[i];
        rows->own[i] = rows->own[rows->own_count - 1 - i];
        rows->own[rows->own_count - 1 - i] = row;
    }
    rows->happened.matched += rows->own_count;
    return MERLE_OK;
}

/* ---- sorting ---- */

static merle_err sort_one(merle_rows *rows, const mrl_version *v) {
    uint8_t value[MERLE_VALUE_SIZE_MAX];
    size_t size;
    merle_err err = mrl_rows_encode(rows, v, value, &size);
    const mrl_place place = {value, (uint32_t)size, v->slot, {NULL, 0}};
    if (err != MERLE_OK || !is_behind(rows, &place)) return err;
    return mrl_sorter_add(&rows->sorter, &place, v);
}

static merle_err sort_failed(const merle_rows *rows, merle_err err) {
    if (err != MERLE_TOO_BIG) return err;
    return mrl_query_fail(rows, err,
                          "to sort by \"%.80s\" takes more than the %llu bytes that the query "
                          "may take, after %llu documents",
                          rows->plan.order_text, (unsigned long long)rows->memory_max,
                          (unsigned long long)rows->happened.matched);
}

static merle_err sort_all(merle_rows *rows) {
    uint64_t wanted = rows->offset + rows->limit;
    if (rows->plan.sort != MRL_SORT_TOP || wanted < rows->limit) wanted = 0;
    mrl_sorter_init(&rows->sorter, wanted, 0, rows->memory_max);
    merle_err err = MERLE_OK;
    while (err == MERLE_OK && mrl_rows_gather(rows, MRL_ROWS_BATCH)) {
        for (size_t i = 0; err == MERLE_OK && i < rows->ready_count; i++)
            err = sort_one(rows, rows->ready[i]);
        rows->ready_count = 0;
    }
    for (size_t i = 0; err == MERLE_OK && i < rows->own_count; i++)
        err = mrl_sorter_add(&rows->sorter, &rows->own[i].place, rows->own[i].version);
    if (err != MERLE_OK) return sort_failed(rows, err);
    mrl_sorter_finish(&rows->sorter);
    rows->happened.sorted = rows->sorter.added;
    return MERLE_OK;
}

/* ---- beginning ---- */

/* Moves the candidates behind the slot that is gone on from. */
static void begin_slots(merle_rows *rows) {
    const mrl_drive *drive = &rows->plan.drive;
    uint32_t end = mrl_slots_end(&rows->view.root->slots), from = 0;
    if (rows->after.kind == MRL_PLACE_SLOT)
        from = rows->after.place.slot < end ? rows->after.place.slot + 1 : end;
    if (drive->kind == MRL_DRIVE_TAGS) {
        merle_err err =
            mrl_walk_begin(&rows->walk, drive->expr, end, rows->view.section->epoch, from);
        MRL_ASSERT(err == MERLE_OK);
        return;
    }
    if (drive->kind == MRL_DRIVE_WALK) rows->slot_count = end;
    if (drive->kind == MRL_DRIVE_UNIQUE || drive->kind == MRL_DRIVE_UNION) collect_all(rows);
    if (rows->slots == NULL)
        rows->slot_at = from;
    else
        while (rows->slot_at < rows->slot_count && rows->slots[rows->slot_at] < from)
            rows->slot_at++;
}

merle_err mrl_rows_begin(merle_rows *rows) {
    rows->is_begun = 1;
    if (rows->plan.drive.kind != MRL_DRIVE_RANGES) begin_slots(rows);
    merle_err err = pick_own(rows);
    if (err == MERLE_OK && rows->plan.sort != MRL_SORT_NOT) err = sort_all(rows);
    return err;
}
