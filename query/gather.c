/* query/gather.c - from candidates to versions that meet the condition.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/bytes.h"
#include "query/query_private.h"

/* A batch of candidates on their way to versions. */
typedef struct batch {
    size_t count;
    mrl_ordered_hit hits[MRL_ROWS_READY]; /* of ranges */
    uint32_t slots[MRL_ROWS_READY];
    uint64_t terms[MRL_ROWS_READY]; /* that are still to be compared with the version */
    uint8_t unsure[MRL_ROWS_READY]; /* whether the version has the hit's value is */
} batch;

/* ---- candidates ---- */

static void begin_range(merle_rows *rows, const mrl_ordered_range *range) {
    const mrl_drive *drive = &rows->plan.drive;
    mrl_ordered *tree = rows->view.root->indexes[drive->index->number].ordered;
    mrl_ordered_cursor_init(&rows->cursor, tree, range, drive->is_backwards, rows->position);
}

/* Whether the value lies before the range (-1), inside (0) or behind it (1). */
static int range_side(const mrl_ordered_range *range, const mrl_place *place) {
    for (int i = 0; i < 2; i++) {
        merle_bytes end = i == 0 ? range->from : range->to;
        mrl_bound kind = i == 0 ? range->from_bound : range->to_bound;
        if (kind == MRL_BOUND_NONE) continue;
        int order = mrl_bytes_order_begins(merle_bytes_of(place->value, place->size), end);
        if (order == 0 && kind == MRL_BOUND_CLOSED) continue;
        if (i == 0 && order <= 0) return -1;
        if (i == 1 && order >= 0) return 1;
    }
    return 0;
}

/* The next range that has something behind the place that is gone on from; 0: there is none. */
static int next_range(merle_rows *rows) {
    const mrl_drive *drive = &rows->plan.drive;
    while (rows->range_at < drive->range_count) {
        uint32_t number = rows->range_at++;
        if (drive->is_backwards) number = drive->range_count - 1 - number;
        const mrl_ordered_range *range = &drive->ranges[number];
        const mrl_place *place = &rows->after.place;
        begin_range(rows, range);
        /* Places in an order that is sorted for are not in the index. */
        if (rows->after.index == NULL) return 1;
        int side = range_side(range, place);
        if (drive->is_backwards) side = -side;
        if (side > 0) continue;
        /* Behind all slots is the place of a document that its commit had just made. */
        uint32_t slot = place->slot == MRL_SLOT_NONE ? MRL_SLOT_NONE - 1 : place->slot;
        if (side == 0)
            mrl_ordered_cursor_seek(&rows->cursor, merle_bytes_of(place->value, place->size), slot);
        return 1;
    }
    return 0;
}

static size_t take_hits(merle_rows *rows, mrl_ordered_hit *hits, size_t max) {
    for (;;) {
        if (!rows->in_range) {
            if (!next_range(rows)) return 0;
            rows->in_range = 1;
        }
        rows->cursor.can_be_sure = 1;
        rows->cursor.epoch = rows->view.section->epoch;
        size_t count = mrl_ordered_next(&rows->cursor, hits, max);
        if (count < max) rows->in_range = 0;
        if (count > 0) return count;
    }
}

static size_t take_slots(merle_rows *rows, uint32_t *slots, uint8_t *recheck, size_t max) {
    size_t count = 0;
    memset(recheck, 1, max);
    if (rows->plan.drive.kind == MRL_DRIVE_TAGS)
        return mrl_walk_next(&rows->walk, slots, recheck, max);
    if (rows->slots != NULL) {
        while (count < max && rows->slot_at < rows->slot_count)
            slots[count++] = rows->slots[rows->slot_at++];
        return count;
    }
    uint32_t end = (uint32_t)rows->slot_count;
    while (count < max && rows->slot_at < end) slots[count++] = rows->slot_at++;
    return count;
}

/* ---- what can be told of slots ---- */

/* Sorts numbers that are often sorted already. */
static void sort_numbers(uint64_t *numbers, size_t count) {
    for (size_t i = 1; i < count; i++) {
        uint64_t number = numbers[i];
        size_t at = i;
        for (; at > 0 && numbers[at - 1] > number; at--) numbers[at] = numbers[at - 1];
        numbers[at] = number;
    }
}

/* Compares the candidates from `from` on with the tags; those of which it can be said that they do
 * not have them are left out. */
static void filter(merle_rows *rows, batch *b, size_t from) {
    uint64_t order[MRL_ROWS_BATCH]; /* slot, place in the batch */
    uint32_t slots[MRL_ROWS_BATCH];
    uint64_t may = 0, sure = 0;
    mrl_planes planes;
    size_t count = b->count - from, kept = from, different = 0;
    if (rows->plan.filter == NULL || count == 0) return;
    for (size_t i = 0; i < count; i++) order[i] = (uint64_t)b->slots[from + i] << 32 | i;
    sort_numbers(order, count);
    for (size_t i = 0; i < count; i++) {
        uint32_t slot = (uint32_t)(order[i] >> 32);
        if (i == 0 || slots[different - 1] != slot) slots[different++] = slot;
    }
    const mrl_lanes lanes = {.section_epoch = rows->view.section->epoch,
                             .word_count = 1,
                             .slots = slots,
                             .slot_count = (uint32_t)different};
    mrl_tags_eval(rows->plan.filter, &lanes, &planes);
    for (size_t i = 0, lane = 0; i < count; i++) {
        if (i > 0 && slots[lane] != (uint32_t)(order[i] >> 32)) lane++;
        may |= (planes.may[0] >> lane & 1) << (uint32_t)order[i];
        sure |= (planes.sure[0] >> lane & 1) << (uint32_t)order[i];
    }
    rows->happened.slots += count;
    for (size_t i = 0; i < count; i++) {
        if ((may >> i & 1) == 0) continue;
        b->hits[kept] = b->hits[from + i];
        b->slots[kept] = b->slots[from + i];
        b->terms[kept] = b->terms[from + i];
        b->unsure[kept] = b->unsure[from + i];
        if (sure >> i & 1) b->terms[kept] &= ~rows->plan.filter_terms;
        kept++;
    }
    b->count = kept;
}

/* ---- versions ---- */

static void load(merle_rows *rows, batch *b) {
    const mrl_version *versions[MRL_ROWS_BATCH];
    int is_ranges = rows->plan.drive.kind == MRL_DRIVE_RANGES;
    for (size_t at = 0; at < b->count; at += MRL_ROWS_BATCH) {
        size_t some = b->count - at < MRL_ROWS_BATCH ? b->count - at : MRL_ROWS_BATCH;
        uint64_t unsure = 0;
        for (size_t i = 0; is_ranges && i < some; i++) unsure |= (uint64_t)b->unsure[at + i] << i;
        if (is_ranges)
            mrl_view_sift(&rows->view, rows->plan.drive.index, b->hits + at, some, unsure,
                          versions);
        else
            mrl_view_slots(&rows->view, b->slots + at, some, versions);
        rows->happened.versions += some;
        for (size_t i = 0; i < some; i++)
            if (versions[i] != NULL && mrl_rows_test(rows, versions[i], b->terms[at + i]))
                rows->ready[rows->ready_count++] = versions[i];
    }
}

/* Adds up to max candidates to the batch; 0: there are no more. */
static size_t take(merle_rows *rows, batch *b, size_t max) {
    const mrl_drive *drive = &rows->plan.drive;
    uint8_t recheck[MRL_ROWS_BATCH];
    size_t from = b->count, count = 0;
    uint64_t terms = ~drive->terms;
    if (rows->plan.terms.count < 64) terms &= ((uint64_t)1 << rows->plan.terms.count) - 1;
    if (drive->kind == MRL_DRIVE_RANGES) {
        count = take_hits(rows, b->hits + from, max);
        for (size_t i = 0; i < count; i++) {
            b->slots[from + i] = b->hits[from + i].slot;
            b->unsure[from + i] = rows->cursor.unsure >> i & 1;
            b->terms[from + i] = terms;
        }
    } else {
        count = take_slots(rows, b->slots + from, recheck, max);
        for (size_t i = 0; i < count; i++)
            b->terms[from + i] = recheck[i] ? terms | drive->terms : terms;
    }
    b->count += count;
    rows->happened.hits += count;
    filter(rows, b, from);
    return count;
}

int mrl_rows_gather(merle_rows *rows, size_t wanted) {
    batch b;
    if (rows->batch == 0) rows->batch = wanted < MRL_ROWS_BATCH ? wanted : MRL_ROWS_BATCH;
    while (rows->ready_count == 0) {
        size_t taken = 1;
        b.count = 0;
        while (b.count < rows->batch && taken > 0) taken = take(rows, &b, rows->batch);
        if (b.count == 0) return 0;
        load(rows, &b);
        rows->batch = rows->batch * 4 < MRL_ROWS_BATCH ? rows->batch * 4 : MRL_ROWS_BATCH;
    }
    rows->happened.matched += rows->ready_count;
    return 1;
}
