/* query/summarize.c - one field of all that a query gives: sum, average, least, greatest, and what
 * different values there are.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "document/encode.h"
#include "document/order.h"
#include "document/scan.h"
#include "query/query_private.h"

/* ---- one field ---- */

typedef struct field {
    merle_rows *rows;
    mrl_path *path;
    uint32_t schema_path; /* where versions know it, or MRL_PATH_NONE */
} field;

static merle_err field_open(merle_section *section, merle_collection *collection,
                            const merle_query *query, const char *path, field *out) {
    const mrl_wishes wishes = {.is_sum = 1};
    memset(out, 0, sizeof *out);
    if (path == NULL) return MERLE_INVALID;
    merle_err err = mrl_rows_open(section, collection, query, &wishes, &out->rows);
    if (err != MERLE_OK) return err;
    err = mrl_path_compile(path, strlen(path), &out->path);
    if (err != MERLE_OK) {
        if (err == MERLE_INVALID)
            err = mrl_query_fail(out->rows, err, "\"%.100s\" is no path", path);
        merle_rows_close(out->rows);
        return err;
    }
    const mrl_schema *schema = out->rows->view.schema;
    out->schema_path = MRL_PATH_NONE;
    for (uint32_t i = 0; i < schema->path_count; i++)
        if (mrl_path_order(schema->paths[i], out->path) == 0) out->schema_path = i;
    return MERLE_OK;
}

static void field_close(field *f) {
    mrl_path_destroy(f->path);
    merle_rows_close(f->rows);
}

/* The value there if it is one that orders: no nil, array, map or extension. 0: there is none. */
static int field_value(const field *f, const mrl_version *v, merle_value *out_value,
                       const uint8_t **out_at) {
    const uint8_t *doc = mrl_version_doc(v), *first;
    uint32_t offset = mrl_version_find(v, f->schema_path, f->path), count;
    if (offset == 0) return 0;
    if (mrl_scan_container(doc + offset, &first, &count) != MERLE_TYPE_NONE) return 0;
    mrl_scan_value(doc + offset, out_value);
    *out_at = doc + offset;
    mrl_class class = mrl_value_class(out_value->type);
    return class != MRL_CLASS_NONE && class != MRL_CLASS_NIL;
}

/* ---- sums ---- */

/* Integers exactly, floats with what rounding loses kept beside. */
typedef struct summing {
    __int128 integers;
    double floats, lost;
    uint64_t float_count;
} summing;

static void add_float(summing *s, double number) {
    double sum = s->floats + number;
    int is_greater = __builtin_fabs(s->floats) >= __builtin_fabs(number);
    s->lost += is_greater ? (s->floats - sum) + number : (number - sum) + s->floats;
    s->floats = sum;
    s->float_count++;
}

static void add_number(summing *s, const merle_value *value) {
    if (value->type == MERLE_TYPE_INT)
        s->integers += value->number.i;
    else if (value->type == MERLE_TYPE_UINT)
        s->integers += (__int128)value->number.u;
    else
        add_float(s, value->number.f);
}

static double as_float(const summing *s) {
    summing all = *s;
    /* The integers as two floats that together are them exactly, or nearly. */
    double most = (double)s->integers;
    add_float(&all, most);
    add_float(&all, (double)(s->integers - (__int128)most));
    /* What is lost on the way to infinity is not a number. */
    return all.floats - all.floats != 0 ? all.floats : all.floats + all.lost;
}

static merle_value sum_of(const summing *s) {
    if (s->float_count > 0) return merle_value_float(as_float(s));
    if (s->integers >= INT64_MIN && s->integers <= INT64_MAX)
        return merle_value_int((int64_t)s->integers);
    if (s->integers >= 0 && s->integers <= (__int128)UINT64_MAX)
        return merle_value_uint((uint64_t)s->integers);
    return merle_value_float(as_float(s));
}

static void summarize_one(const field *f, const mrl_version *v, summing *s, merle_summary *out) {
    merle_value value;
    const uint8_t *at;
    out->count++;
    if (!field_value(f, v, &value, &at)) return;
    if (out->min.type == MERLE_TYPE_NONE || mrl_value_order(&value, &out->min) < 0)
        out->min = value;
    if (out->max.type == MERLE_TYPE_NONE || mrl_value_order(&value, &out->max) > 0)
        out->max = value;
    if (mrl_value_class(value.type) != MRL_CLASS_NUMBER) return;
    out->numbers++;
    add_number(s, &value);
}

/* Of a summary of an earlier version as much as it has. */
static void give(const merle_summary *summary, merle_summary *out_summary) {
    size_t size = out_summary->size;
    if (size == 0 || size > sizeof *summary) size = sizeof *summary;
    size_t kept = out_summary->size;
    memcpy(out_summary, summary, size);
    out_summary->size = kept;
}

merle_err merle_query_summarize(merle_section *section, merle_collection *collection,
                                const merle_query *query, const char *path,
                                merle_summary *out_summary) {
    const mrl_version *versions[MRL_ROWS_BATCH];
    merle_summary summary = {.sum = merle_value_int(0)};
    summing s = {0};
    field f;
    size_t some;
    give(&summary, out_summary);
    merle_err err = field_open(section, collection, query, path, &f);
    if (err != MERLE_OK) return err;
    while ((err = mrl_rows_versions(f.rows, versions, MRL_ROWS_BATCH, &some)) == MERLE_OK)
        for (size_t i = 0; i < some; i++) summarize_one(&f, versions[i], &s, &summary);
    field_close(&f);
    if (err != MERLE_NOT_FOUND) return err;
    summary.sum = sum_of(&s);
    if (summary.numbers > 0) summary.average = as_float(&s) / (double)summary.numbers;
    give(&summary, out_summary);
    return MERLE_OK;
}

/* ---- different values ---- */

static merle_err note_value(const field *f, mrl_sorter *sorter, const mrl_version *v) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    const uint8_t *at;
    merle_value value;
    size_t size;
    if (!field_value(f, v, &value, &at)) return MERLE_OK;
    merle_err err =
        mrl_encode_at(at, mrl_version_doc(v) + v->doc_size, 0, encoded, sizeof encoded, &size);
    const mrl_place place = {encoded, (uint32_t)size, 0, {NULL, 0}};
    if (err == MERLE_OK) err = mrl_sorter_add(sorter, &place, v);
    if (err != MERLE_TOO_BIG) return err;
    return mrl_query_fail(f->rows, err,
                          "the different values at %.100s take more than the %llu bytes that the "
                          "query may take, or one of them more than %u",
                          mrl_path_text(f->path), (unsigned long long)f->rows->memory_max,
                          MERLE_VALUE_SIZE_MAX);
}

static void tell_values(const field *f, const mrl_sorter *sorter, merle_distinct_fn *fn,
                        void *context) {
    for (size_t i = 0; i < sorter->count; i++) {
        const uint8_t *at;
        merle_value value;
        if (!field_value(f, sorter->list[i].version, &value, &at)) continue;
        if (fn(context, value, sorter->list[i].count) != 0) return;
    }
}

merle_err merle_query_distinct(merle_section *section, merle_collection *collection,
                               const merle_query *query, const char *path, merle_distinct_fn *fn,
                               void *context) {
    const mrl_version *versions[MRL_ROWS_BATCH];
    mrl_sorter sorter;
    field f;
    size_t some = 0;
    if (fn == NULL) return MERLE_INVALID;
    merle_err err = field_open(section, collection, query, path, &f);
    if (err != MERLE_OK) return err;
    mrl_sorter_init(&sorter, 0, 1, f.rows->memory_max);
    while (err == MERLE_OK) {
        err = mrl_rows_versions(f.rows, versions, MRL_ROWS_BATCH, &some);
        for (size_t i = 0; err == MERLE_OK && i < some; i++)
            err = note_value(&f, &sorter, versions[i]);
    }
    if (err == MERLE_NOT_FOUND) {
        mrl_sorter_finish(&sorter);
        tell_values(&f, &sorter, fn, context);
        err = MERLE_OK;
    }
    mrl_sorter_fini(&sorter);
    field_close(&f);
    return err;
}
