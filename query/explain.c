/* query/explain.c - a plan in words, and what came of it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "query/query_private.h"

typedef struct telling {
    const merle_rows *rows;
    merle_builder *builder;
    merle_buffer text; /* of one term */
    merle_err err;     /* the first one that the builder does not know of */
} telling;

static const char *kind_text(mrl_drive_kind kind) {
    static const char *const texts[] = {"nothing", "walk", "ranges", "tags", "unique", "union"};
    return texts[kind];
}

static const char *bound_text(mrl_bound bound) {
    static const char *const texts[] = {"none", "closed", "open"};
    return texts[bound];
}

/* ---- drives ---- */

static void put_end(telling *t, const char *name, mrl_bound bound, merle_bytes bytes) {
    if (bound == MRL_BOUND_NONE) return;
    merle_build_map(t->builder, name);
    merle_build_str(t->builder, "bound", bound_text(bound));
    merle_build_bin(t->builder, "encoded", bytes);
    merle_build_close(t->builder);
}

/* The first few are enough to see what they are. */
static void put_ranges(telling *t, const mrl_drive *drive) {
    enum { SHOWN_MAX = 8 };
    merle_build_uint(t->builder, "range_count", drive->range_count);
    merle_build_array(t->builder, "ranges");
    for (uint32_t i = 0; i < drive->range_count && i < SHOWN_MAX; i++) {
        const mrl_ordered_range *range = &drive->ranges[i];
        merle_build_map(t->builder, NULL);
        put_end(t, "from", range->from_bound, range->from);
        put_end(t, "to", range->to_bound, range->to);
        merle_build_close(t->builder);
    }
    merle_build_close(t->builder);
}

static void put_tags(telling *t, const char *name, const mrl_tags_expr *expr) {
    static const char *const ops[] = {NULL, "tag", "all", "any", "none"};
    merle_build_map(t->builder, name);
    merle_build_str(t->builder, "is", ops[expr->op]);
    if (expr->op == MRL_TAGS_TAG) {
        merle_build_uint(t->builder, "estimate", mrl_tag_estimate(expr->tag));
    } else {
        merle_build_array(t->builder, "of");
        for (uint32_t i = 0; i < expr->child_count; i++) put_tags(t, NULL, &expr->children[i]);
        merle_build_close(t->builder);
    }
    merle_build_close(t->builder);
}

static void put_drive(telling *t, const char *name, const mrl_drive *drive, int in_full) {
    merle_builder *b = t->builder;
    merle_build_map(b, name);
    merle_build_str(b, "by", kind_text(drive->kind));
    if (drive->index != NULL) merle_build_str(b, "index", drive->index->name);
    merle_build_uint(b, "estimate", drive->estimate);
    if (in_full) {
        if (drive->kind == MRL_DRIVE_RANGES) {
            merle_build_bool(b, "backwards", drive->is_backwards);
            put_ranges(t, drive);
        }
        if (drive->expr != NULL) put_tags(t, "tags", drive->expr);
        if (drive->branch_count > 0) {
            merle_build_array(b, "branches");
            for (uint32_t i = 0; i < drive->branch_count; i++)
                put_drive(t, NULL, &drive->branches[i], 0);
            merle_build_close(b);
        }
    }
    merle_build_close(b);
}

/* ---- terms ---- */

/* The terms that the drive answers for, or the others, as which those without a bit count. */
static void put_terms(telling *t, const char *name, int by_drive) {
    const mrl_terms *all = &t->rows->plan.terms;
    merle_build_array(t->builder, name);
    for (uint32_t i = 0; i < all->count; i++) {
        if (((t->rows->plan.drive.terms & mrl_term_bit(i)) != 0) != by_drive) continue;
        merle_err err = mrl_condition_write_node(all->condition, &all->list[i], &t->text);
        if (err != MERLE_OK) t->err = err;
        merle_build_bytes(t->builder, NULL, merle_bytes_of(t->text.data, t->text.size));
    }
    merle_build_close(t->builder);
}

/* ---- the rest ---- */

static void put_sort(telling *t) {
    static const char *const hows[] = {"no", "all", "top"};
    const mrl_plan *plan = &t->rows->plan;
    merle_build_map(t->builder, "sort");
    merle_build_str(t->builder, "how", hows[plan->sort]);
    merle_build_str(t->builder, "order", plan->order_text);
    merle_build_bool(t->builder, "by_drive", plan->order_count > 0 && plan->sort == MRL_SORT_NOT);
    merle_build_close(t->builder);
}

static void put_happened(telling *t) {
    const mrl_happened *h = &t->rows->happened;
    merle_build_map(t->builder, "happened");
    merle_build_uint(t->builder, "hits", h->hits);
    merle_build_uint(t->builder, "slots_compared", h->slots);
    merle_build_uint(t->builder, "versions", h->versions);
    merle_build_uint(t->builder, "matched", h->matched);
    merle_build_uint(t->builder, "sorted", h->sorted);
    merle_build_uint(t->builder, "given", h->given);
    merle_build_close(t->builder);
}

static void put_all(telling *t) {
    const merle_rows *rows = t->rows;
    const mrl_plan *plan = &rows->plan;
    merle_builder *b = t->builder;
    merle_build_begin(b);
    merle_build_str(b, "collection", rows->collection->name);
    merle_build_uint(b, "slots", mrl_slots_end(&rows->view.root->slots));
    merle_build_uint(b, "estimate", plan->estimate);
    put_drive(t, "drive", &plan->drive, 1);
    put_terms(t, "by_drive", 1);
    if (plan->filter != NULL) put_tags(t, "on_slots", plan->filter);
    put_terms(t, "on_versions", 0);
    put_sort(t);
    merle_build_array(b, "drives");
    for (uint32_t i = 0; i < plan->drive_count; i++) put_drive(t, NULL, &plan->drives[i], 0);
    merle_build_close(b);
    if (rows->view.own_count > 0) merle_build_uint(b, "own", rows->view.own_count);
    put_happened(t);
}

merle_err merle_rows_explain(const merle_rows *rows, merle_buffer *out_json) {
    telling t = {.rows = rows};
    merle_bytes document;
    out_json->size = 0;
    if (rows == NULL) return MERLE_INVALID;
    merle_err err = merle_builder_create(&t.builder);
    if (err != MERLE_OK) return err;
    put_all(&t);
    err = merle_build_end(t.builder, &document);
    if (t.err != MERLE_OK) err = t.err;
    if (err == MERLE_OK) err = merle_json_write(document, MERLE_JSON_INDENTED, out_json);
    merle_builder_destroy(t.builder);
    merle_buffer_free(&t.text);
    return err;
}
