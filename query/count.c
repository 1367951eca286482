/* query/count.c - how many documents a query gives.
 *
 * Where one drive answers for the whole condition, its index counts exactly by itself and looks
 * only at versions that were written lately.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "query/query_private.h"
#include "store/expiry.h"

static uint64_t which_are_visible(void *context, const mrl_ordered_hit *hits, size_t count) {
    const merle_rows *rows = ((void **)context)[0];
    const mrl_drive *drive = ((void **)context)[1];
    return mrl_view_visible(&rows->view, drive->index, hits, count);
}

static uint64_t count_ranges(merle_rows *rows, const mrl_drive *drive) {
    void *context[] = {rows, (void *)(uintptr_t)drive};
    const mrl_ordered_viewer viewer = {rows->view.section->epoch, which_are_visible, context};
    mrl_ordered *tree = rows->view.root->indexes[drive->index->number].ordered;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < drive->range_count; i++)
        sum += mrl_ordered_count(tree, &drive->ranges[i], &viewer);
    return sum;
}

static uint64_t how_many_are_visible(void *context, const uint32_t *slots, size_t count) {
    const mrl_version *versions[MRL_READ_BATCH];
    merle_rows *rows = context;
    uint64_t sum = 0;
    for (size_t at = 0; at < count; at += MRL_READ_BATCH) {
        size_t some = count - at < MRL_READ_BATCH ? count - at : MRL_READ_BATCH;
        mrl_view_slots(&rows->view, slots + at, some, versions);
        for (size_t i = 0; i < some; i++)
            sum += versions[i] != NULL && mrl_rows_test(rows, versions[i], UINT64_MAX);
    }
    return sum;
}

/* Whether a slot that has it is one of a document: `none` is also true of slots that nobody has. */
static int is_of_documents(const mrl_tags_expr *expr) {
    int is_any = expr->op == MRL_TAGS_ANY;
    if (expr->op == MRL_TAGS_TAG) return 1;
    if (expr->op == MRL_TAGS_NONE) return 0;
    for (uint32_t i = 0; i < expr->child_count; i++)
        if (is_of_documents(&expr->children[i]) != is_any) return !is_any;
    return is_any;
}

static int answers_for_all(const merle_rows *rows, const mrl_drive *drive) {
    uint32_t count = rows->plan.terms.count;
    uint64_t all = count < 64 ? ((uint64_t)1 << count) - 1 : UINT64_MAX;
    return count <= 64 && (drive->terms & all) == all;
}

/* 1: an index has told. */
static int count_by_index(merle_rows *rows, uint64_t *out_count) {
    const mrl_plan *plan = &rows->plan;
    uint32_t end = mrl_slots_end(&rows->view.root->slots);
    for (uint32_t i = 0; i < plan->drive_count; i++) {
        const mrl_drive *drive = &plan->drives[i];
        if (!answers_for_all(rows, drive)) continue;
        if (drive->kind == MRL_DRIVE_RANGES) {
            *out_count = count_ranges(rows, drive);
            return 1;
        }
        if (drive->kind == MRL_DRIVE_TAGS && is_of_documents(drive->expr))
            return mrl_tags_count(drive->expr, end, rows->view.section->epoch, how_many_are_visible,
                                  rows, out_count) == MERLE_OK;
    }
    return 0;
}

static merle_err count_one_by_one(merle_rows *rows, uint64_t *out_count) {
    const mrl_version *versions[MRL_ROWS_BATCH];
    size_t some;
    merle_err err;
    while ((err = mrl_rows_versions(rows, versions, MRL_ROWS_BATCH, &some)) == MERLE_OK)
        *out_count += some;
    return err == MERLE_NOT_FOUND ? MERLE_OK : err;
}

static merle_err count_rows(merle_rows *rows, merle_section *section, merle_collection *collection,
                            uint64_t *out_count) {
    uint64_t all;
    merle_err err = MERLE_OK;
    if (rows->after.kind != MRL_PLACE_NONE) return count_one_by_one(rows, out_count);
    if (rows->plan.terms.count == 0)
        err = merle_count(section, collection, &all);
    else if (rows->view.own_count > 0 || mrl_due_count(&rows->view) > 0 ||
             !count_by_index(rows, &all))
        return count_one_by_one(rows, out_count);
    if (err != MERLE_OK) return err;
    all = all > rows->offset ? all - rows->offset : 0;
    *out_count = all < rows->left ? all : rows->left;
    return MERLE_OK;
}

merle_err merle_query_count(merle_section *section, merle_collection *collection,
                            const merle_query *query, uint64_t *out_count) {
    const mrl_wishes wishes = {.is_count = 1, .is_sum = 1};
    merle_rows *rows;
    *out_count = 0;
    merle_err err = mrl_rows_open(section, collection, query, &wishes, &rows);
    if (err != MERLE_OK) return err;
    err = count_rows(rows, section, collection, out_count);
    merle_rows_close(rows);
    if (err != MERLE_OK) *out_count = 0;
    return err;
}
