/* query/project.c - documents with the fields that were asked for, and no others.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "document/scan.h"
#include "document/writer.h"
#include "query/query_private.h"

/* A name on some level, with those below it; none below it: all that stands there. */
struct mrl_field {
    const uint8_t *name; /* in the pool */
    uint32_t name_size;
    mrl_field *below, *next;
};

/* ---- parsing ---- */

static mrl_field *find(mrl_field *first, const mrl_step *step) {
    for (mrl_field *field = first; field != NULL; field = field->next)
        if (field->name_size == step->key_size &&
            memcmp(field->name, step->key, step->key_size) == 0)
            return field;
    return NULL;
}

/* The field of this name on the level, which is put behind the others if it is not there. */
static mrl_field *enter(merle_rows *rows, mrl_field **level, const mrl_step *step) {
    mrl_field *field = find(*level, step);
    if (field != NULL) return field;
    field = mrl_pool_take(&rows->pool, sizeof *field);
    uint8_t *name = mrl_pool_take(&rows->pool, step->key_size + 1);
    if (field == NULL || name == NULL) return NULL;
    memcpy(name, step->key, step->key_size);
    *field = (mrl_field){name, step->key_size, NULL, NULL};
    while (*level != NULL) level = &(*level)->next;
    *level = field;
    return field;
}

static merle_err add_path(merle_rows *rows, const mrl_path *path) {
    uint32_t count;
    const mrl_step *steps = mrl_path_steps(path, &count);
    mrl_field **level = &rows->fields, *field = NULL;
    for (uint32_t i = 0; i < count; i++) {
        int was_there = find(*level, &steps[i]) != NULL;
        if ((field = enter(rows, level, &steps[i])) == NULL) return MERLE_NO_MEMORY;
        /* All of it was asked for already. */
        if (was_there && field->below == NULL) return MERLE_OK;
        level = &field->below;
    }
    field->below = NULL;
    return MERLE_OK;
}

static merle_err check_part(const merle_rows *rows, const mrl_part *part, const char *fields) {
    uint32_t count = 0;
    const mrl_step *steps = part->path == NULL ? NULL : mrl_path_steps(part->path, &count);
    int is_wrong = part->descending || part->source != MRL_SOURCE_PATH;
    for (uint32_t i = 0; i < count; i++) is_wrong |= steps[i].key == NULL;
    if (!is_wrong) return MERLE_OK;
    return mrl_query_fail(rows, MERLE_INVALID,
                          "a query gives fields by their names, and in \"%.100s\" is something "
                          "else",
                          fields);
}

merle_err mrl_fields_parse(merle_rows *rows, const char *fields) {
    mrl_part parts[MERLE_QUERY_FIELD_COUNT_MAX];
    size_t count;
    merle_err err = mrl_parts_parse(fields, parts, MERLE_QUERY_FIELD_COUNT_MAX, &count,
                                    rows->view.section->member->report);
    if (err != MERLE_OK) return err;
    for (size_t i = 0; err == MERLE_OK && i < count; i++) {
        err = check_part(rows, &parts[i], fields);
        if (err == MERLE_OK) err = add_path(rows, parts[i].path);
    }
    mrl_parts_destroy(parts, count);
    return err;
}

/* ---- projecting ---- */

static uint32_t count_there(const mrl_field *level, const uint8_t *map);

/* The value of the field in the map, if something of it is asked for. */
static const uint8_t *value_of(const mrl_field *field, const uint8_t *map) {
    const uint8_t *first;
    uint32_t count;
    if (mrl_scan_container(map, &first, &count) != MERLE_TYPE_MAP) return NULL;
    const uint8_t *value = mrl_scan_find(first, count, field->name, field->name_size);
    if (value == NULL || field->below == NULL) return value;
    return count_there(field->below, value) > 0 ? value : NULL;
}

static uint32_t count_there(const mrl_field *level, const uint8_t *map) {
    uint32_t count = 0;
    for (const mrl_field *field = level; field != NULL; field = field->next)
        count += value_of(field, map) != NULL;
    return count;
}

static merle_err write_map(const mrl_field *level, const uint8_t *map, merle_buffer *out) {
    mrl_piece piece;
    mrl_piece_map(&piece, count_there(level, map));
    merle_err err = mrl_piece_append(&piece, out);
    for (const mrl_field *field = level; err == MERLE_OK && field != NULL; field = field->next) {
        const uint8_t *value = value_of(field, map);
        if (value == NULL) continue;
        mrl_piece_str(&piece, field->name, field->name_size);
        if ((err = mrl_piece_append(&piece, out)) != MERLE_OK) break;
        if (field->below != NULL) {
            err = write_map(field->below, value, out);
            continue;
        }
        mrl_piece_raw(&piece, value, (size_t)(mrl_scan_skip(value) - value));
        err = mrl_piece_append(&piece, out);
    }
    return err;
}

merle_err mrl_fields_project(merle_rows *rows, merle_doc *docs, size_t count) {
    merle_buffer *out = &rows->projected;
    out->size = 0;
    for (size_t i = 0; i < count; i++) {
        size_t before = out->size;
        merle_err err = write_map(rows->fields, docs[i].data, out);
        if (err != MERLE_OK) return err;
        docs[i].size = out->size - before;
    }
    /* Only now it stays where it is. */
    const uint8_t *at = out->data;
    for (size_t i = 0; i < count; at += docs[i++].size) docs[i].data = at;
    return MERLE_OK;
}
