/* schema/schema_read.c - schemas that were written down, as docs/format.md has them.
 *
 * A definition says which indexes there are, not which numbers they have. In an empty root any
 * number will do. Where a definition replaces another one, documents have been read already: their
 * versions know fields by place, and what functions made by the index's number. So what stays keeps
 * both.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/report.h"
#include "document/check.h"
#include "schema/schema.h"

/* One index as it is read. */
typedef struct read_index {
    char name[MERLE_NAME_SIZE_MAX + 1];
    char *on;
    merle_index index;
    int is_added;
    int is_placed; /* compiled */
} read_index;

typedef struct read_all {
    mrl_schema_reading *reading;
    merle_report *report;
    mrl_schema *schema;
    uint32_t count;
    read_index indexes[MERLE_INDEX_COUNT_MAX];
} read_all;

static merle_err corrupt(const read_all *r, const char *what) {
    (void)mrl_report_fill(r->report, MERLE_CORRUPT, "a collection's definition: %s", what);
    if (r->reading->name[0] != 0) mrl_report_collection(r->report, r->reading->name);
    return MERLE_CORRUPT;
}

static merle_err no_memory(const read_all *r) {
    return mrl_report_fill(r->report, MERLE_NO_MEMORY, "no memory for a collection's definition");
}

/* What is wrong in bytes that were written down is damage, whatever it would be elsewhere. */
static merle_err judge(const read_all *r, merle_err err, const char *what) {
    if (err == MERLE_OK) return err;
    return err == MERLE_NO_MEMORY ? no_memory(r) : corrupt(r, what);
}

/* ---- values ---- */

/* A value inside a map that was checked with the definition; NONE: it is not there. */
static merle_value field(const merle_value *map, const char *name) {
    merle_walk walk;
    merle_value key, value, none = {MERLE_TYPE_NONE, 0, {0}, {NULL, 0}, 0};
    if (merle_walk_begin(map, &walk) != MERLE_OK || !walk.is_map) return none;
    while (merle_walk_next(&walk, &key, &value))
        if (key.type == MERLE_TYPE_STR && key.bytes.size == strlen(name) &&
            memcmp(key.bytes.data, name, key.bytes.size) == 0)
            return value;
    return none;
}

static int is_text(const merle_value *value, const char *text) {
    return value->type == MERLE_TYPE_STR && value->bytes.size == strlen(text) &&
           memcmp(value->bytes.data, text, value->bytes.size) == 0;
}

static int is_true(const merle_value *map, const char *name) {
    merle_value value = field(map, name);
    return value.type == MERLE_TYPE_BOOL && value.number.i != 0;
}

/* 0: it is none between low and high. */
static int read_number(const merle_value *map, const char *name, int64_t low, int64_t high,
                       uint32_t *out) {
    merle_value value = field(map, name);
    if (value.type != MERLE_TYPE_INT || value.number.i < low || value.number.i > high) return 0;
    *out = (uint32_t)value.number.i;
    return 1;
}

/* 0: it is no name. */
static int read_name(const merle_value *map, char *out) {
    merle_value value = field(map, "name");
    if (value.type != MERLE_TYPE_STR || value.bytes.size == 0 ||
        value.bytes.size > MERLE_NAME_SIZE_MAX ||
        memchr(value.bytes.data, 0, value.bytes.size) != NULL)
        return 0;
    memcpy(out, value.bytes.data, value.bytes.size);
    out[value.bytes.size] = 0;
    return 1;
}

/* A string with an end; NULL: no memory, or it is none. */
static char *read_string(const merle_value *map, const char *name) {
    merle_value value = field(map, name);
    char *text = value.type == MERLE_TYPE_STR ? malloc(value.bytes.size + 1) : NULL;
    if (text == NULL) return NULL;
    memcpy(text, value.bytes.data, value.bytes.size);
    text[value.bytes.size] = 0;
    return text;
}

/* ---- indexes ---- */

static merle_index_kind kind_of(const merle_value *map) {
    static const struct {
        const char *text;
        merle_index_kind kind;
    } kinds[] = {{"unique", MERLE_UNIQUE},
                 {"ordered", MERLE_ORDERED},
                 {"tags", MERLE_TAGS},
                 {"unique ordered", MERLE_UNIQUE_ORDERED}};
    merle_value value = field(map, "kind");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (is_text(&value, kinds[i].text)) return kinds[i].kind;
    return (merle_index_kind)0;
}

static merle_err find_function(const read_all *r, merle_index *index) {
    const merle_function *f = r->reading->functions;
    for (; f != NULL && f->collection != NULL; f++) {
        if (strcmp(f->collection, r->reading->name) != 0 || strcmp(f->index, index->name) != 0)
            continue;
        index->extract = f->extract;
        index->extract_context = f->context;
        if (f->extract != NULL) return MERLE_OK;
    }
    (void)mrl_report_fill(r->report, MERLE_DIFFERS,
                          "index %s of collection %s is by a function, which was not given: "
                          "name it in the options' functions",
                          index->name, r->reading->name);
    mrl_report_collection(r->report, r->reading->name);
    mrl_report_index(r->report, index->name);
    return MERLE_DIFFERS;
}

static merle_err read_index_map(read_all *r, const merle_value *map) {
    read_index *one = &r->indexes[r->count];
    if (r->count == MERLE_INDEX_COUNT_MAX) return corrupt(r, "too many indexes");
    if (map->type != MERLE_TYPE_MAP || !read_name(map, one->name))
        return corrupt(r, "an index without a name");
    int has_function = is_true(map, "extract");
    if (has_function && r->reading->without_functions) return MERLE_OK;
    merle_value missing = field(map, "missing"), on = field(map, "on");
    one->index = (merle_index){.name = one->name, .kind = kind_of(map)};
    one->is_added = is_true(map, "added");
    if (is_text(&missing, "first")) one->index.missing = MERLE_MISSING_FIRST;
    if (is_text(&missing, "last")) one->index.missing = MERLE_MISSING_LAST;
    if (one->index.kind == 0 || on.type != MERLE_TYPE_STR)
        return corrupt(r, "an index of an unknown kind, or on nothing");
    if ((one->on = read_string(map, "on")) == NULL) return no_memory(r);
    one->index.on = one->on;
    r->count++;
    return has_function ? find_function(r, &one->index) : MERLE_OK;
}

static int is_same(const mrl_schema_index *before, const read_index *one) {
    return before->declared == one->index.kind && strcmp(before->on, one->on) == 0 &&
           before->missing == one->index.missing &&
           (before->extract != NULL) == (one->index.extract != NULL);
}

/* old: the same index, as documents know it that were loaded before; or NULL. */
static merle_err compile(read_all *r, read_index *one, uint32_t number,
                         const mrl_schema_index *old) {
    merle_err err = mrl_schema_compile_index(r->schema, number, &one->index, r->report);
    if (old != NULL) r->schema->indexes[number].stamp = old->stamp;
    r->schema->indexes[number].is_added = one->is_added != 0;
    one->is_placed = 1;
    return judge(r, err, "an index that cannot be");
}

/* What stays first, then the others where there is room. */
static merle_err place_indexes(read_all *r) {
    const mrl_schema *before = r->reading->before;
    merle_err err = MERLE_OK;
    for (uint32_t i = 0; before != NULL && i < r->count && err == MERLE_OK; i++) {
        const mrl_schema_index *old = mrl_schema_find_index(before, r->indexes[i].name);
        if (old != NULL && is_same(old, &r->indexes[i]) &&
            r->schema->indexes[old->number].declared == 0)
            err = compile(r, &r->indexes[i], old->number, old);
    }
    for (uint32_t i = 0, number = 0; i < r->count && err == MERLE_OK; i++) {
        if (r->indexes[i].is_placed) continue;
        while (number < r->schema->index_count && r->schema->indexes[number].declared != 0)
            number++;
        err = compile(r, &r->indexes[i], number, NULL);
    }
    return err;
}

/* ---- rules ---- */

static merle_err read_rule(read_all *r, const merle_value *map) {
    uint32_t type, length_max;
    merle_value path = field(map, "path");
    if (path.type != MERLE_TYPE_STR ||
        !read_number(map, "type", MERLE_TYPE_NONE, MERLE_TYPE_EXT, &type) ||
        !read_number(map, "length_max", 0, UINT32_MAX, &length_max))
        return corrupt(r, "a rule that is none");
    char *text = read_string(map, "path");
    if (text == NULL) return no_memory(r);
    const merle_rule rule = {text, (merle_type)type, is_true(map, "required"), length_max};
    merle_err err = mrl_schema_compile_rule(r->schema, &rule, r->report);
    free(text);
    return judge(r, err, "a rule that cannot be");
}

/* ---- the field by which documents end ---- */

static merle_err read_expires(read_all *r, const merle_value *map) {
    merle_value path = field(map, "expires_on"), after = field(map, "expires_after_ns");
    if (path.type == MERLE_TYPE_NONE) return MERLE_OK;
    if (path.type != MERLE_TYPE_STR || after.type != MERLE_TYPE_INT)
        return corrupt(r, "a field by which documents end, that is none");
    char *text = read_string(map, "expires_on");
    if (text == NULL) return no_memory(r);
    merle_err err = mrl_schema_compile_expires(r->schema, text, after.number.i, r->report);
    free(text);
    return judge(r, err, "a field by which documents end, that cannot be");
}

/* ---- the whole ---- */

typedef merle_err read_fn(read_all *r, const merle_value *map);

static merle_err read_list(read_all *r, const merle_value *map, const char *name, read_fn *fn) {
    merle_walk walk;
    merle_value key, value, list = field(map, name);
    merle_err err = MERLE_OK;
    if (list.type != MERLE_TYPE_ARRAY || merle_walk_begin(&list, &walk) != MERLE_OK)
        return corrupt(r, "no list of indexes, or of rules");
    while (err == MERLE_OK && merle_walk_next(&walk, &key, &value)) err = fn(r, &value);
    return err;
}

/* An empty schema with the places and paths of the one before, and room for all indexes. */
static mrl_schema *make_schema(const read_all *r) {
    const mrl_schema *before = r->reading->before;
    uint32_t room = r->count + (before == NULL ? 0 : before->index_count);
    mrl_schema *schema =
        mrl_schema_alloc(room < MERLE_INDEX_COUNT_MAX ? room : MERLE_INDEX_COUNT_MAX);
    for (uint32_t i = 0; schema != NULL && before != NULL && i < before->path_count; i++) {
        if (!mrl_schema_grow_paths(schema)) {
            mrl_schema_release(schema);
            return NULL;
        }
        schema->paths[schema->path_count++] = mrl_path_hold(before->paths[i]);
    }
    if (schema != NULL && before != NULL) schema->last_stamp = before->last_stamp;
    for (uint32_t i = 0; schema != NULL && before != NULL && i < before->index_count; i++)
        schema->indexes[schema->index_count++].number = i;
    return schema;
}

static merle_err read_schema(read_all *r, const merle_value *map) {
    uint32_t version;
    if (!read_name(map, r->reading->name)) return corrupt(r, "no name");
    if (!read_number(map, "id", 1, UINT32_MAX, &r->reading->id) ||
        !read_number(map, "version", 1, UINT32_MAX, &version))
        return corrupt(r, "no id, or no version");
    merle_err err = read_list(r, map, "indexes", read_index_map);
    if (err != MERLE_OK) return err;
    if ((r->schema = make_schema(r)) == NULL) return no_memory(r);
    r->schema->version = version;
    r->schema->memory_only = is_true(map, "memory_only");
    if ((err = place_indexes(r)) != MERLE_OK) return err;
    if ((err = read_expires(r, map)) != MERLE_OK) return err;
    return read_list(r, map, "rules", read_rule);
}

merle_err mrl_schema_read(mrl_schema_reading *reading, merle_bytes definition,
                          mrl_schema **out_schema, merle_report *report) {
    merle_value map;
    *out_schema = NULL;
    reading->name[0] = 0;
    read_all *r = calloc(1, sizeof *r);
    if (r == NULL) return mrl_report_fill(report, MERLE_NO_MEMORY, "no memory for a definition");
    r->reading = reading;
    r->report = report;
    merle_err err = mrl_check_document(definition.data, definition.size, NULL);
    if (err == MERLE_OK) err = merle_value_msgpack(definition, &map);
    if ((err = judge(r, err, "it is no document")) != MERLE_OK) goto end;
    if ((err = read_schema(r, &map)) == MERLE_OK)
        err = mrl_buffer_append(&r->schema->definition, definition.data, definition.size);
end:
    if (err == MERLE_NO_MEMORY) (void)no_memory(r);
    if (err == MERLE_OK)
        *out_schema = r->schema;
    else if (r->schema != NULL)
        mrl_schema_release(r->schema);
    for (uint32_t i = 0; i < r->count; i++) free(r->indexes[i].on);
    free(r);
    return err;
}
