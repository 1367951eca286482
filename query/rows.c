/* query/rows.c - the documents of a query, one after the other.
 *
 * What met the condition comes from query/gather.c in batches: through the sorter where the plan
 * sorts, else in the order of its drive, with what the commit itself wrote put in between.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/report.h"
#include "query/query_private.h"

merle_err mrl_query_fail(const merle_rows *rows, merle_err err, const char *format, ...) {
    merle_report *report = rows->view.section->member->report;
    va_list arguments;
    if (report == NULL) return err;
    va_start(arguments, format);
    (void)mrl_report_fill_list(report, err, format, arguments);
    va_end(arguments);
    mrl_report_collection(report, rows->collection->name);
    return err;
}

/* ---- testing ---- */

int mrl_rows_test(merle_rows *rows, const mrl_version *v, uint64_t terms) {
    const mrl_terms *t = &rows->plan.terms;
    if (terms == 0 && t->count <= 64) return 1;
    for (uint32_t i = 0; i < rows->offset_count; i++) {
        uint32_t path = rows->offset_paths[2 * i + 1];
        rows->offsets[rows->offset_paths[2 * i]] =
            path < v->path_count ? mrl_version_offset(v, path) : MRL_OFFSET_UNKNOWN;
    }
    const mrl_condition_subject subject = {mrl_version_doc(v), v->doc_size, rows->offsets,
                                           t->values};
    for (uint32_t i = 0; i < t->count; i++) {
        if (i < 64 && (terms >> i & 1) == 0) continue;
        if (!mrl_condition_test(t->condition, &t->list[i], &subject)) return 0;
    }
    return 1;
}

/* Notes which of the condition's paths lie where a version knows them. */
static merle_err note_paths(merle_rows *rows) {
    const merle_condition *condition = rows->plan.terms.condition;
    const mrl_schema *schema = rows->view.schema;
    if (condition == NULL) return MERLE_OK;
    uint32_t count = condition->path_count;
    rows->offsets = mrl_pool_take(&rows->pool, (count + 1) * sizeof *rows->offsets);
    rows->offset_paths = mrl_pool_take(&rows->pool, (2 * count + 1) * sizeof *rows->offset_paths);
    if (rows->offsets == NULL || rows->offset_paths == NULL) return MERLE_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        rows->offsets[i] = MRL_OFFSET_UNKNOWN;
        for (uint32_t j = 0; j < schema->path_count; j++) {
            if (mrl_path_order(schema->paths[j], condition->paths[i]) != 0) continue;
            rows->offset_paths[2 * rows->offset_count] = i;
            rows->offset_paths[2 * rows->offset_count++ + 1] = j;
            break;
        }
    }
    return MERLE_OK;
}

/* ---- opening ---- */

static merle_err take_query(const merle_query *query, merle_query *out) {
    memset(out, 0, sizeof *out);
    if (query == NULL) return MERLE_INVALID;
    size_t size = query->size == 0 || query->size > sizeof *out ? sizeof *out : query->size;
    memcpy(out, query, size);
    if (out->value_count > 0 && out->values == NULL) return MERLE_INVALID;
    return out->after.size > 0 && out->after.data == NULL ? MERLE_INVALID : MERLE_OK;
}

static merle_err take_terms(merle_rows *rows, const merle_query *query) {
    mrl_terms *terms = &rows->plan.terms;
    if (query->where == NULL) return MERLE_OK;
    merle_report *report = rows->view.section->member->report;
    merle_err err = mrl_condition_bind(query->where, query->values, query->value_count, report);
    if (err != MERLE_OK) return err;
    terms->condition = query->where;
    terms->values = query->values;
    terms->list = mrl_condition_terms(query->where, &terms->count);
    return MERLE_OK;
}

static merle_rows *rows_create(merle_section *section, const merle_collection *collection,
                               const merle_query *query) {
    merle_rows *rows = mrl_allocate(sizeof *rows);
    if (rows == NULL) return NULL;
    memset(rows, 0, offsetof(merle_rows, ready));
    mrl_pool_init(&rows->pool, rows->first, sizeof rows->first);
    rows->section = section;
    rows->collection = collection;
    rows->memory_max = query->memory_max != 0 ? query->memory_max : MERLE_QUERY_MEMORY_DEFAULT;
    rows->offset = rows->skip = query->offset;
    rows->limit = query->limit;
    rows->left = query->limit != 0 ? query->limit : UINT64_MAX;
    rows->last_slot = MRL_SLOT_NONE;
    return rows;
}

/* Rows go on while their commit does: with what it had written when they were opened. */
static merle_err keep_own(merle_rows *rows) {
    if (rows->view.own_count == 0) return MERLE_OK;
    mrl_own *own = mrl_pool_take(&rows->pool, rows->view.own_count * sizeof *own);
    if (own == NULL) return MERLE_NO_MEMORY;
    mrl_view_keep(&rows->view, own);
    return MERLE_OK;
}

merle_err mrl_rows_open(merle_section *section, merle_collection *collection,
                        const merle_query *query, const mrl_wishes *wishes, merle_rows **out_rows) {
    merle_query asked;
    mrl_view view;
    *out_rows = NULL;
    merle_err err = take_query(query, &asked);
    if (err != MERLE_OK || section == NULL || collection == NULL) return MERLE_INVALID;
    if ((err = mrl_view_open(section, collection, &view)) != MERLE_OK) return err;
    merle_rows *rows = rows_create(section, collection, &asked);
    if (rows == NULL) return MERLE_NO_MEMORY;
    rows->view = view;
    rows->seq = view.section->seq;
    err = keep_own(rows);
    if (err == MERLE_OK) err = take_terms(rows, &asked);
    if (err == MERLE_OK && asked.after.size > 0)
        err = mrl_after_read(rows, asked.order, asked.after);
    if (err == MERLE_OK) err = mrl_plan_make(rows, &asked, wishes);
    if (err == MERLE_OK) err = note_paths(rows);
    if (err == MERLE_OK && asked.fields != NULL && !wishes->is_sum)
        err = mrl_fields_parse(rows, asked.fields);
    if (err != MERLE_OK) {
        merle_rows_close(rows);
        return err;
    }
    *out_rows = rows;
    return MERLE_OK;
}

merle_err merle_query_open(merle_section *section, merle_collection *collection,
                           const merle_query *query, merle_rows **out_rows) {
    const mrl_wishes wishes = {0};
    return mrl_rows_open(section, collection, query, &wishes, out_rows);
}

void merle_rows_close(merle_rows *rows) {
    if (rows == NULL) return;
    for (uint32_t i = 0; i < rows->plan.order_count; i++)
        mrl_path_destroy(rows->plan.order[i].path);
    mrl_sorter_fini(&rows->sorter);
    merle_buffer_free(&rows->projected);
    free(rows->slots);
    mrl_pool_fini(&rows->pool);
    free(rows);
}

/* ---- giving ---- */

/* Whether the next document of the commit's own comes before this one. */
static int own_is_next(const merle_rows *rows, const mrl_version *v) {
    uint8_t value[MERLE_VALUE_SIZE_MAX];
    mrl_place other = {value, 0, v->slot, {NULL, 0}};
    size_t size = 0;
    /* It has its value in an index, or is placed by its slot alone. */
    if (rows->plan.drive.kind == MRL_DRIVE_RANGES &&
        mrl_rows_encode(rows, v, value, &size) != MERLE_OK)
        return 0;
    other.size = (uint32_t)size;
    int order = mrl_place_order(&rows->own[rows->own_at].place, &other);
    return rows->plan.drive.is_backwards ? order > 0 : order < 0;
}

/* The next one that met the condition; NULL: there are no more. */
static const mrl_version *next_unsorted(merle_rows *rows, size_t wanted, uint32_t *out_slot) {
    if (rows->ready_at == rows->ready_count) {
        rows->ready_at = rows->ready_count = 0;
        if (!rows->is_over && !mrl_rows_gather(rows, wanted)) rows->is_over = 1;
    }
    const mrl_version *v = rows->ready_at < rows->ready_count ? rows->ready[rows->ready_at] : NULL;
    if (rows->own_at < rows->own_count && (v == NULL || own_is_next(rows, v))) {
        *out_slot = rows->own[rows->own_at].place.slot;
        return rows->own[rows->own_at++].version;
    }
    if (v == NULL) return NULL;
    rows->ready_at++;
    *out_slot = v->slot;
    return v;
}

static const mrl_version *next_sorted(merle_rows *rows, uint32_t *out_slot) {
    if (rows->sorted_at == rows->sorter.count) return NULL;
    const mrl_sorted *entry = &rows->sorter.list[rows->sorted_at++];
    *out_slot = entry->slot;
    return entry->version;
}

static const mrl_version *next_one(merle_rows *rows, size_t wanted) {
    uint32_t slot = MRL_SLOT_NONE;
    for (;;) {
        uint64_t needed = rows->skip > SIZE_MAX - wanted ? SIZE_MAX : wanted + rows->skip;
        const mrl_version *v = rows->plan.sort != MRL_SORT_NOT
                                   ? next_sorted(rows, &slot)
                                   : next_unsorted(rows, (size_t)needed, &slot);
        if (v == NULL) return NULL;
        if (rows->skip > 0) {
            rows->skip--;
            continue;
        }
        rows->last = v;
        rows->last_slot = slot;
        return v;
    }
}

static merle_err still_open(const merle_rows *rows) {
    merle_err err;
    const mrl_section *own = mrl_section_own(rows->section, &err);
    if (own == NULL) return err;
    return own->seq == rows->seq ? MERLE_OK : MERLE_INVALID;
}

merle_err mrl_rows_versions(merle_rows *rows, const mrl_version **out_versions, size_t max,
                            size_t *out_count) {
    *out_count = 0;
    merle_err err = still_open(rows);
    if (err == MERLE_OK) err = rows->err;
    if (err == MERLE_OK && !rows->is_begun) err = mrl_rows_begin(rows);
    while (err == MERLE_OK && *out_count < max && rows->left > 0) {
        size_t wanted = max - *out_count;
        if (wanted > rows->left) wanted = (size_t)rows->left;
        const mrl_version *v = next_one(rows, wanted);
        if (v == NULL) break;
        out_versions[(*out_count)++] = v;
        rows->left--;
        rows->happened.given++;
    }
    if (err != MERLE_OK) {
        if (rows->is_begun) rows->err = err;
        *out_count = 0;
        return err;
    }
    return *out_count == 0 && max > 0 ? MERLE_NOT_FOUND : MERLE_OK;
}

merle_err merle_rows_next(merle_rows *rows, merle_doc *out_docs, size_t doc_max,
                          size_t *out_count) {
    const mrl_version *versions[MRL_ROWS_BATCH];
    merle_err err = MERLE_OK;
    *out_count = 0;
    if (rows == NULL) return MERLE_INVALID;
    do {
        size_t some, wanted = doc_max - *out_count;
        if (wanted > MRL_ROWS_BATCH) wanted = MRL_ROWS_BATCH;
        err = mrl_rows_versions(rows, versions, wanted, &some);
        for (size_t i = 0; i < some; i++) out_docs[*out_count + i] = mrl_view_doc(versions[i]);
        *out_count += some;
        if (some < wanted) break;
    } while (err == MERLE_OK && *out_count < doc_max);
    if (err == MERLE_NOT_FOUND && *out_count > 0) err = MERLE_OK;
    if (err == MERLE_OK && rows->fields != NULL)
        err = rows->err = mrl_fields_project(rows, out_docs, *out_count);
    if (err != MERLE_OK) *out_count = 0;
    return err;
}
