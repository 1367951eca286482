/* schema/schema.c - compiling a schema, comparing two, checking documents against one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "schema/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/report.h"
#include "document/encode.h"
#include "document/scan.h"

static merle_err invalid(merle_report *report, const char *what, const char *name) {
    mrl_report_fill(report, MERLE_INVALID, "schema: %s: \"%s\"", what, name == NULL ? "" : name);
    return MERLE_INVALID;
}

static int is_name(const char *name) {
    size_t size = name == NULL ? 0 : strlen(name);
    return size > 0 && size <= MERLE_NAME_SIZE_MAX;
}

/* ---- its memory ---- */

mrl_schema *mrl_schema_alloc(uint32_t index_room) {
    mrl_schema *schema = calloc(1, sizeof *schema + index_room * sizeof schema->indexes[0]);
    if (schema == NULL) return NULL;
    atomic_init(&schema->holders, 1);
    schema->index_room = index_room;
    return schema;
}

/* An array of `count` has room for as many as the next power of two, at least four. NULL: no
 * memory; the array is as it was. */
static void *grown(void *array, uint32_t count, size_t size) {
    if (count != 0 && (count < 4 || (count & (count - 1)) != 0)) return array;
    return realloc(array, (count == 0 ? 4 : 2 * (size_t)count) * size);
}

int mrl_schema_grow_paths(mrl_schema *schema) {
    mrl_path **paths = grown(schema->paths, schema->path_count, sizeof *paths);
    if (paths != NULL) schema->paths = paths;
    return paths != NULL;
}

int mrl_schema_grow_rules(mrl_schema *schema) {
    mrl_rule *rules = grown(schema->rules, schema->rule_count, sizeof *rules);
    if (rules != NULL) schema->rules = rules;
    return rules != NULL;
}

/* ---- compiling ---- */

/* The number of a path in the schema; takes the path over. */
static merle_err add_path(mrl_schema *schema, mrl_path *path, mrl_schema_part *out_part) {
    for (uint32_t i = 0; i < schema->path_count; i++)
        if (strcmp(mrl_path_text(schema->paths[i]), mrl_path_text(path)) == 0) {
            mrl_path_destroy(path);
            out_part->path = i;
            out_part->at = schema->paths[i];
            return MERLE_OK;
        }
    if (schema->path_count == MRL_PATH_COUNT_MAX) {
        mrl_path_destroy(path);
        return MERLE_TOO_BIG;
    }
    if (!mrl_schema_grow_paths(schema)) {
        mrl_path_destroy(path);
        return MERLE_NO_MEMORY;
    }
    out_part->path = schema->path_count;
    out_part->at = path;
    schema->paths[schema->path_count++] = path;
    return MERLE_OK;
}

static merle_err compile_parts(mrl_schema *schema, mrl_schema_index *out, const char *on,
                               merle_report *report) {
    mrl_part parts[MERLE_INDEX_PART_COUNT_MAX];
    size_t count = 0;
    merle_err err = mrl_parts_parse(on, parts, MERLE_INDEX_PART_COUNT_MAX, &count, report);
    if (err != MERLE_OK) return err;
    out->each = MRL_PART_NONE;
    out->part_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        out->parts[i].descending = parts[i].descending;
        out->parts[i].source = parts[i].source;
        out->parts[i].element = parts[i].element;
        if (out->extract != NULL && parts[i].source == MRL_SOURCE_PATH) {
            out->parts[i].source = MRL_SOURCE_EXTRACT;
            out->parts[i].element = parts[i].path;
            continue;
        }
        if (err == MERLE_OK && parts[i].path != NULL)
            err = add_path(schema, parts[i].path, &out->parts[i]);
        else
            mrl_path_destroy(parts[i].path);
    }
    if (err == MERLE_TOO_BIG)
        mrl_report_fill(report, err, "schema: more than %d different fields in indexes",
                        MRL_PATH_COUNT_MAX);
    return err;
}

/* What an index may be on, by its kind. */
static merle_err check_parts(mrl_schema_index *index, merle_report *report) {
    for (uint32_t i = 0; i < index->part_count; i++) {
        mrl_source source = index->parts[i].source;
        if (source == MRL_SOURCE_PATH) continue;
        if (mrl_index_has_tags(index))
            return invalid(report, "tags are on a plain path", index->name);
        if (source == MRL_SOURCE_EXTRACT) continue;
        if (index->extract != NULL)
            return invalid(report, "what a function makes has plain labels", index->name);
        if (mrl_index_is_unique(index) && source == MRL_SOURCE_EACH)
            return invalid(report, "an index on each element cannot be unique", index->name);
        if (mrl_index_is_unique(index))
            return invalid(report, "keys are unique already", index->name);
        if (source != MRL_SOURCE_EACH) continue;
        if (index->each != MRL_PART_NONE)
            return invalid(report, "an index has at most one part with [*]", index->name);
        index->each = i;
    }
    if (mrl_index_has_tags(index) && (index->part_count != 1 || index->parts[0].descending))
        return invalid(report, "tags are on one field, which has no order", index->name);
    if (index->missing != MERLE_MISSING_OUT && !mrl_index_has_tree(index))
        return invalid(report, "what is missing has a place only in an order", index->name);
    return MERLE_OK;
}

merle_err mrl_schema_compile_index(mrl_schema *schema, uint32_t number, const merle_index *index,
                                   merle_report *report) {
    if (number >= MERLE_INDEX_COUNT_MAX)
        return mrl_report_fill(report, MERLE_TOO_BIG, "schema: more than %u indexes",
                               MERLE_INDEX_COUNT_MAX);
    if (!is_name(index->name))
        return invalid(report, "an index's name has 1 to 63 bytes", index->name);
    if (mrl_schema_find_index(schema, index->name) != NULL)
        return invalid(report, "two indexes have one name", index->name);
    if (index->on == NULL) return invalid(report, "an index is on some field", index->name);
    if (index->kind < MERLE_UNIQUE || index->kind > MERLE_UNIQUE_ORDERED)
        return invalid(report, "unknown kind of index", index->name);
    if ((unsigned)index->missing > MERLE_MISSING_LAST || index->reserved != 0)
        return invalid(report, "an index asks for something unknown", index->name);
    MRL_ASSERT(number < schema->index_room);
    mrl_schema_index *out = &schema->indexes[number];
    memcpy(out->name, index->name, strlen(index->name) + 1);
    out->kind = out->declared = index->kind;
    out->missing = index->missing;
    out->extract = index->extract;
    out->extract_context = index->extract_context;
    out->stamp = ++schema->last_stamp;
    out->number = number;
    if ((out->on = strdup(index->on)) == NULL) return MERLE_NO_MEMORY;
    if (number == schema->index_count) schema->index_count++;
    merle_err err = compile_parts(schema, out, index->on, report);
    if (err == MERLE_OK) err = check_parts(out, report);
    if (err != MERLE_OK) mrl_report_index(report, index->name);
    return err;
}

merle_err mrl_schema_compile_rule(mrl_schema *schema, const merle_rule *rule,
                                  merle_report *report) {
    if (schema->rule_count == MERLE_RULE_COUNT_MAX)
        return mrl_report_fill(report, MERLE_TOO_BIG, "schema: more than %u rules",
                               MERLE_RULE_COUNT_MAX);
    if ((unsigned)rule->type > MERLE_TYPE_EXT)
        return invalid(report, "a rule asks for an unknown type", rule->path);
    if (!mrl_schema_grow_rules(schema)) return MERLE_NO_MEMORY;
    mrl_rule *out = &schema->rules[schema->rule_count];
    merle_err err = mrl_path_compile(rule->path, strlen(rule->path), &out->path);
    if (err == MERLE_INVALID) return invalid(report, "a rule's path is no path", rule->path);
    if (err != MERLE_OK) return err;
    out->type = rule->type;
    out->required = rule->required != 0;
    out->length_max = rule->length_max;
    schema->rule_count++;
    return MERLE_OK;
}

merle_err mrl_schema_compile_expires(mrl_schema *schema, const char *path, int64_t after_ns,
                                     merle_report *report) {
    if (path == NULL && after_ns == 0) return MERLE_OK;
    if (path == NULL || after_ns < 0)
        return invalid(report, "documents end at a field's time, or later", path);
    merle_err err = mrl_path_compile(path, strlen(path), &schema->expires_on);
    schema->expires_after_ns = after_ns;
    return err == MERLE_INVALID ? invalid(report, "expires_on is no path", path) : err;
}

static const char *kind_text(merle_index_kind kind) {
    static const char *const texts[] = {[MERLE_UNIQUE] = "unique",
                                        [MERLE_ORDERED] = "ordered",
                                        [MERLE_TAGS] = "tags",
                                        [MERLE_UNIQUE_ORDERED] = "unique ordered"};
    return texts[kind];
}

static const char *missing_text(merle_missing missing) {
    return missing == MERLE_MISSING_OUT ? "out" : missing == MERLE_MISSING_FIRST ? "first" : "last";
}

static const char *extract_text(merle_extract_fn *extract) {
    return extract == NULL ? "none" : "a function";
}

static void build_indexes(merle_builder *b, const mrl_schema *schema) {
    merle_build_array(b, "indexes");
    for (uint32_t i = 0; i < schema->index_count; i++) {
        if (schema->indexes[i].declared == 0) continue;
        merle_build_map(b, NULL);
        merle_build_str(b, "name", schema->indexes[i].name);
        merle_build_str(b, "kind", kind_text(schema->indexes[i].declared));
        merle_build_str(b, "on", schema->indexes[i].on);
        if (schema->indexes[i].missing != MERLE_MISSING_OUT)
            merle_build_str(b, "missing", missing_text(schema->indexes[i].missing));
        if (schema->indexes[i].extract != NULL) merle_build_bool(b, "extract", 1);
        if (schema->indexes[i].is_added) merle_build_bool(b, "added", 1);
        merle_build_close(b);
    }
    merle_build_close(b);
}

static void build_rules(merle_builder *b, const mrl_schema *schema) {
    merle_build_array(b, "rules");
    for (uint32_t i = 0; i < schema->rule_count; i++) {
        const mrl_rule *rule = &schema->rules[i];
        merle_build_map(b, NULL);
        merle_build_str(b, "path", mrl_path_text(rule->path));
        merle_build_int(b, "type", rule->type);
        merle_build_bool(b, "required", rule->required);
        merle_build_int(b, "length_max", rule->length_max);
        merle_build_close(b);
    }
    merle_build_close(b);
}

merle_err mrl_schema_define(mrl_schema *schema, const char *collection, uint32_t id) {
    merle_builder *b;
    merle_bytes bytes;
    merle_err err = merle_builder_create(&b);
    if (err != MERLE_OK) return err;
    merle_build_begin(b);
    merle_build_str(b, "name", collection);
    merle_build_int(b, "id", id);
    merle_build_int(b, "version", schema->version);
    merle_build_bool(b, "memory_only", (int)schema->memory_only);
    build_indexes(b, schema);
    build_rules(b, schema);
    if (schema->expires_on != NULL) {
        merle_build_str(b, "expires_on", mrl_path_text(schema->expires_on));
        merle_build_int(b, "expires_after_ns", schema->expires_after_ns);
    }
    if ((err = merle_build_end(b, &bytes)) == MERLE_OK)
        err = mrl_buffer_append(&schema->definition, bytes.data, bytes.size);
    merle_builder_destroy(b);
    return err;
}

merle_err mrl_schema_create(const char *collection, uint32_t collection_id,
                            const merle_schema *given, mrl_schema **out_schema,
                            merle_report *report) {
    merle_err err = MERLE_OK;
    uint32_t count = 0;
    *out_schema = NULL;
    while (given != NULL && given->indexes != NULL && count < MERLE_INDEX_COUNT_MAX &&
           given->indexes[count].name != NULL)
        count++;
    mrl_schema *schema = mrl_schema_alloc(count);
    if (schema == NULL) return mrl_report_fill(report, MERLE_NO_MEMORY, "schema: no memory for it");
    schema->version = given == NULL ? 1 : given->version;
    schema->memory_only = given != NULL && given->memory_only != 0;
    if (schema->version == 0) {
        err = mrl_report_fill(report, MERLE_INVALID, "schema: versions begin with 1");
        goto fail;
    }
    for (const merle_index *i = given == NULL ? NULL : given->indexes; i != NULL && i->name != NULL;
         i++)
        if ((err = mrl_schema_compile_index(schema, schema->index_count, i, report)) != MERLE_OK)
            goto fail;
    for (const merle_rule *r = given == NULL ? NULL : given->rules; r != NULL && r->path != NULL;
         r++)
        if ((err = mrl_schema_compile_rule(schema, r, report)) != MERLE_OK) goto fail;
    if (given != NULL)
        err =
            mrl_schema_compile_expires(schema, given->expires_on, given->expires_after_ns, report);
    if (err != MERLE_OK) goto fail;
    if ((err = mrl_schema_define(schema, collection, collection_id)) != MERLE_OK) goto fail;
    *out_schema = schema;
    return MERLE_OK;
fail:
    mrl_schema_release(schema);
    if (err == MERLE_NO_MEMORY) mrl_report_fill(report, err, "schema: no memory for it");
    mrl_report_collection(report, collection);
    return err;
}

mrl_schema *mrl_schema_hold(mrl_schema *schema) {
    atomic_fetch_add_explicit(&schema->holders, 1, memory_order_relaxed);
    return schema;
}

void mrl_schema_index_fini(mrl_schema_index *index) {
    for (uint32_t i = 0; i < index->part_count; i++) mrl_path_destroy(index->parts[i].element);
    free(index->on);
}

void mrl_schema_release(mrl_schema *schema) {
    /* Acquire and release: the last one sees all that others did with it. */
    if (atomic_fetch_sub_explicit(&schema->holders, 1, memory_order_acq_rel) != 1) return;
    for (uint32_t i = 0; i < schema->path_count; i++) mrl_path_destroy(schema->paths[i]);
    for (uint32_t i = 0; i < schema->index_count; i++) mrl_schema_index_fini(&schema->indexes[i]);
    for (uint32_t i = 0; i < schema->rule_count; i++) mrl_path_destroy(schema->rules[i].path);
    mrl_path_destroy(schema->expires_on);
    merle_buffer_free(&schema->definition);
    free(schema->paths);
    free(schema->rules);
    free(schema);
}

/* ---- comparing ---- */

static merle_err differ(merle_report *report, const char *what, const char *asked,
                        const char *found) {
    if (report != NULL) {
        mrl_report_fill(report, MERLE_DIFFERS, "%s differs: asked for %s, in force is %s", what,
                        asked, found);
        mrl_report_expected(report, asked);
        mrl_report_found(report, found);
    }
    return MERLE_DIFFERS;
}

static merle_err differ_number(merle_report *report, const char *what, unsigned asked,
                               unsigned found) {
    char a[24], f[24];
    snprintf(a, sizeof a, "%u", asked);
    snprintf(f, sizeof f, "%u", found);
    return differ(report, what, a, f);
}

static merle_err compare_indexes(const mrl_schema *in_force, const mrl_schema *asked,
                                 merle_report *report) {
    for (uint32_t i = 0; i < asked->index_count; i++) {
        const mrl_schema_index *a = &asked->indexes[i];
        const mrl_schema_index *f = mrl_schema_find_index(in_force, a->name);
        merle_err err = MERLE_OK;
        if (f == NULL)
            err = differ(report, "an index", a->name, "none of that name");
        else if (f->declared != a->declared)
            err = differ(report, "an index's kind", kind_text(a->declared), kind_text(f->declared));
        else if (strcmp(f->on, a->on) != 0)
            err = differ(report, "what an index is on", a->on, f->on);
        else if (f->missing != a->missing)
            err = differ(report, "where an index has what is missing", missing_text(a->missing),
                         missing_text(f->missing));
        else if (f->extract != a->extract || f->extract_context != a->extract_context)
            err = differ(report, "the function of an index", extract_text(a->extract),
                         f->extract == NULL ? extract_text(NULL) : "another one");
        if (err == MERLE_OK) continue;
        mrl_report_index(report, a->name);
        return err;
    }
    return MERLE_OK;
}

static merle_err compare_rules(const mrl_schema *in_force, const mrl_schema *asked,
                               merle_report *report) {
    for (uint32_t i = 0; i < asked->rule_count; i++) {
        const mrl_rule *a = &asked->rules[i], *f = &in_force->rules[i];
        const char *path = mrl_path_text(a->path);
        if (strcmp(path, mrl_path_text(f->path)) != 0)
            return differ(report, "a rule's path", path, mrl_path_text(f->path));
        if (a->type == f->type && a->required == f->required && a->length_max == f->length_max)
            continue;
        merle_err err = differ(report, "a rule", path, "the same path with another rule");
        mrl_report_path(report, path);
        return err;
    }
    return MERLE_OK;
}

static merle_err compare_expires(const mrl_schema *in_force, const mrl_schema *asked,
                                 merle_report *report) {
    char a[24], f[24];
    const char *path = asked->expires_on == NULL ? "none" : mrl_path_text(asked->expires_on);
    const char *found = in_force->expires_on == NULL ? "none" : mrl_path_text(in_force->expires_on);
    if ((asked->expires_on == NULL) != (in_force->expires_on == NULL) || strcmp(path, found) != 0)
        return differ(report, "the field by which documents end", path, found);
    if (asked->expires_after_ns == in_force->expires_after_ns) return MERLE_OK;
    snprintf(a, sizeof a, "%lld ns", (long long)asked->expires_after_ns);
    snprintf(f, sizeof f, "%lld ns", (long long)in_force->expires_after_ns);
    return differ(report, "how long behind their field documents end", a, f);
}

merle_err mrl_schema_compare(const mrl_schema *in_force, const mrl_schema *asked,
                             merle_report *report) {
    if (in_force->version != asked->version)
        return differ_number(report, "the schema's version", asked->version, in_force->version);
    if (in_force->memory_only != asked->memory_only)
        return differ_number(report, "memory_only", asked->memory_only, in_force->memory_only);
    uint32_t index_count = mrl_schema_index_count(in_force);
    if (index_count != asked->index_count)
        return differ_number(report, "the number of indexes", asked->index_count, index_count);
    if (in_force->rule_count != asked->rule_count)
        return differ_number(report, "the number of rules", asked->rule_count,
                             in_force->rule_count);
    merle_err err = compare_expires(in_force, asked, report);
    if (err == MERLE_OK) err = compare_indexes(in_force, asked, report);
    return err != MERLE_OK ? err : compare_rules(in_force, asked, report);
}

const mrl_schema_index *mrl_schema_find_index(const mrl_schema *schema, const char *name) {
    for (uint32_t i = 0; name != NULL && i < schema->index_count; i++)
        if (schema->indexes[i].declared != 0 && strcmp(schema->indexes[i].name, name) == 0)
            return &schema->indexes[i];
    return NULL;
}

merle_err mrl_index_encode(const mrl_schema_index *index, uint32_t part, const merle_value *value,
                           uint8_t *out, size_t out_max, size_t *out_size) {
    merle_value wanted = *value;
    *out_size = 0;
    /* A key is neither, and stands in the index as a string. */
    if (value->type == MERLE_TYPE_BIN && index->parts[part].source == MRL_SOURCE_KEY)
        wanted.type = MERLE_TYPE_STR;
    if (value->type != MERLE_TYPE_NIL || index->missing == MERLE_MISSING_OUT)
        return mrl_encode_value(&wanted, (int)index->parts[part].descending, out, out_max,
                                out_size);
    if (out_max == 0) return MERLE_TOO_BIG;
    *out = mrl_index_missing(index, part);
    *out_size = 1;
    return MERLE_OK;
}

merle_err mrl_schema_read_index(const mrl_schema *schema, const char *name,
                                const mrl_schema_index **out_index) {
    const mrl_schema_index *index = mrl_schema_find_index(schema, name);
    *out_index = NULL;
    if (index == NULL) return MERLE_INVALID;
    if (!mrl_index_is_ready(index)) return MERLE_NOT_READY;
    *out_index = index;
    return MERLE_OK;
}

/* ---- documents ---- */

#define SECOND_NS 1000000000

/* The time at `at`: a timestamp, or an integer of seconds since 1970; nil is none, 0. What lies
 * beyond what nanoseconds can say is as far as they go. */
static merle_err read_moment(const uint8_t *at, int64_t after_ns, int64_t *out_expires_ns) {
    merle_value value;
    int64_t seconds, moment_ns;
    uint32_t nanoseconds = 0;
    *out_expires_ns = 0;
    (void)mrl_scan_value(at, &value);
    if (value.type == MERLE_TYPE_NIL) return MERLE_OK;
    if (value.type == MERLE_TYPE_TIME) {
        seconds = value.number.i;
        nanoseconds = value.count;
    } else if (value.type == MERLE_TYPE_INT) {
        seconds = value.number.i;
    } else if (value.type == MERLE_TYPE_UINT) {
        seconds = INT64_MAX;
    } else {
        return MERLE_TYPE;
    }
    if (__builtin_mul_overflow(seconds, (int64_t)SECOND_NS, &moment_ns) ||
        __builtin_add_overflow(moment_ns, (int64_t)nanoseconds, &moment_ns) ||
        __builtin_add_overflow(moment_ns, after_ns, &moment_ns))
        moment_ns = seconds < 0 ? 1 : INT64_MAX;
    /* 0 says never: what ended before there was a clock ended long ago. */
    *out_expires_ns = moment_ns < 1 ? 1 : moment_ns;
    return MERLE_OK;
}

int64_t mrl_schema_moment_of(const mrl_schema *schema, merle_bytes doc) {
    uint32_t offset;
    int64_t expires_ns = 0;
    (void)mrl_path_locate(schema->expires_on, doc.data, doc.size, &offset);
    if (offset != 0)
        (void)read_moment((const uint8_t *)doc.data + offset, schema->expires_after_ns,
                          &expires_ns);
    return expires_ns;
}

static merle_err check_moment(const mrl_schema *schema, merle_bytes doc, merle_report *report) {
    uint32_t offset;
    int64_t expires_ns;
    (void)mrl_path_locate(schema->expires_on, doc.data, doc.size, &offset);
    if (offset == 0) return MERLE_OK;
    const uint8_t *at = (const uint8_t *)doc.data + offset;
    merle_err err = read_moment(at, 0, &expires_ns);
    if (err == MERLE_OK) return err;
    mrl_report_fill(report, err, "a document does not end at %s", mrl_type_text(mrl_scan_type(at)));
    mrl_report_path(report, mrl_path_text(schema->expires_on));
    return err;
}

/* One document that is asked for its values. */
typedef struct asked {
    const mrl_schema *schema;
    merle_bytes key, doc;
    const uint32_t *offsets;
    merle_buffer *extracted;
    merle_report *report;
} asked;

static merle_err refuse_value(const asked *a, const mrl_schema_index *index, uint32_t part,
                              merle_err err, merle_type type) {
    const mrl_schema_part *of = &index->parts[part];
    const char *path = of->source == MRL_SOURCE_KEY       ? "key()"
                       : of->source == MRL_SOURCE_EXTRACT ? mrl_path_text(of->element)
                                                          : mrl_path_text(of->at);
    if (err == MERLE_TYPE)
        mrl_report_fill(a->report, err, "%s index %s cannot hold %s at %s", kind_text(index->kind),
                        index->name, mrl_type_text(type), path);
    else
        mrl_report_fill(a->report, err, "%s index %s: the value at %s is above %u bytes encoded",
                        kind_text(index->kind), index->name, path, MERLE_VALUE_SIZE_MAX);
    mrl_report_index(a->report, index->name);
    mrl_report_path(a->report, path);
    return err;
}

/* How much an encoding of the value at `at` can take, without making it; SIZE_MAX: it has none. */
static size_t bound_part(const uint8_t *at) {
    switch (mrl_scan_type(at)) {
    case MERLE_TYPE_ARRAY:
    case MERLE_TYPE_MAP:
    case MERLE_TYPE_EXT:
        return SIZE_MAX;
    case MERLE_TYPE_STR:
    case MERLE_TYPE_BIN:
        /* Every byte may need an escape, and the end is marked. */
        return 2 * (size_t)(mrl_scan_skip(at) - at) + MRL_ENCODE_SCALAR_SIZE_MAX;
    default:
        return MRL_ENCODE_SCALAR_SIZE_MAX;
    }
}

/* Where the value of a part stands that is not the key; NULL: it is missing. */
static const uint8_t *part_at(const asked *a, const mrl_schema_part *part, const uint8_t *element) {
    if (part->source == MRL_SOURCE_EACH) return element;
    const uint8_t *at = (const uint8_t *)a->doc.data + a->offsets[part->path];
    return at == a->doc.data || *at == 0xc0 ? NULL : at;
}

/* The exact way, for what the bounds leave open. */
static merle_err measure_index(const asked *a, const mrl_schema_index *index,
                               const uint8_t *element) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    const merle_value key = {.type = MERLE_TYPE_STR, .bytes = a->key};
    const uint8_t *end = (const uint8_t *)a->doc.data + a->doc.size;
    size_t used = 0;
    for (uint32_t i = 0; i < index->part_count; i++) {
        size_t size = 1, room = sizeof encoded - used;
        merle_err err = room == 0 ? MERLE_TOO_BIG : MERLE_OK;
        const uint8_t *at = NULL;
        if (index->parts[i].source == MRL_SOURCE_KEY)
            err = mrl_encode_value(&key, 0, encoded, room, &size);
        else if ((at = part_at(a, &index->parts[i], element)) != NULL)
            err = mrl_encode_at(at, end, 0, encoded, room, &size);
        if (err != MERLE_OK)
            return refuse_value(a, index, i, err, at == NULL ? MERLE_TYPE_STR : mrl_scan_type(at));
        used += size;
    }
    return MERLE_OK;
}

/* One value of an ordered or unique index; element is that of the part on each. */
static merle_err check_value(const asked *a, const mrl_schema_index *index,
                             const uint8_t *element) {
    size_t bound = 0;
    int is_out = 0;
    for (uint32_t i = 0; i < index->part_count; i++) {
        size_t part = 1;
        const uint8_t *at = NULL;
        if (index->parts[i].source == MRL_SOURCE_KEY)
            part = 2 * a->key.size + MRL_ENCODE_SCALAR_SIZE_MAX;
        else if ((at = part_at(a, &index->parts[i], element)) == NULL)
            is_out |= index->missing == MERLE_MISSING_OUT;
        else if ((part = bound_part(at)) == SIZE_MAX)
            return refuse_value(a, index, i, MERLE_TYPE, mrl_scan_type(at));
        bound += part;
    }
    if (is_out || bound <= MERLE_VALUE_SIZE_MAX) return MERLE_OK;
    return measure_index(a, index, element);
}

static merle_err refuse_count(const asked *a, const mrl_schema_index *index, uint32_t part) {
    const char *path = mrl_path_text(index->parts[part].at);
    mrl_report_fill(a->report, MERLE_TOO_BIG, "%s index %s: more than %u elements at %s",
                    kind_text(index->kind), index->name, MERLE_TAG_COUNT_MAX, path);
    mrl_report_index(a->report, index->name);
    mrl_report_path(a->report, path);
    return MERLE_TOO_BIG;
}

/* Each element, with the other parts; a document without one is asked for these. */
static merle_err check_each(const asked *a, const mrl_schema_index *index) {
    const mrl_schema_part *part = &index->parts[index->each];
    uint32_t offset = a->offsets[part->path], met = 0;
    if (offset == 0) return check_value(a, index, NULL);
    mrl_elements elements = mrl_elements_of((const uint8_t *)a->doc.data + offset);
    if (elements.count > MERLE_TAG_COUNT_MAX) return refuse_count(a, index, index->each);
    for (const uint8_t *at; (at = mrl_elements_next_at(&elements, part->element)) != NULL; met++) {
        merle_err err = check_value(a, index, at);
        if (err != MERLE_OK) return err;
    }
    return met > 0 ? MERLE_OK : check_value(a, index, NULL);
}

/* A tag is a scalar: the elements of an array, or what stands there instead of one. */
static merle_err check_tags(const asked *a, const mrl_schema_index *index) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    const uint8_t *bytes = a->doc.data;
    uint32_t offset = a->offsets[index->parts[0].path];
    if (offset == 0) return MERLE_OK;
    mrl_elements elements = mrl_elements_of(bytes + offset);
    if (elements.count > MERLE_TAG_COUNT_MAX) return refuse_count(a, index, 0);
    for (const uint8_t *at; (at = mrl_elements_next(&elements)) != NULL;) {
        size_t bound = bound_part(at), size = 0;
        if (bound <= MERLE_VALUE_SIZE_MAX) continue;
        merle_err err = bound == SIZE_MAX ? MERLE_TYPE
                                          : mrl_encode_at(at, bytes + a->doc.size, 0, encoded,
                                                          sizeof encoded, &size);
        if (err != MERLE_OK) return refuse_value(a, index, 0, err, mrl_scan_type(at));
    }
    return MERLE_OK;
}

static merle_err check_index(const asked *a, const mrl_schema_index *index) {
    if (index->kind == 0 || index->extract != NULL) return MERLE_OK;
    if (mrl_index_has_tags(index)) return check_tags(a, index);
    return index->each == MRL_PART_NONE ? check_value(a, index, NULL) : check_each(a, index);
}

static merle_err refuse_extract(const asked *a, const mrl_schema_index *index, merle_err err,
                                const char *what) {
    mrl_report_fill(a->report, err, "%s index %s: %s", kind_text(index->kind), index->name, what);
    mrl_report_index(a->report, index->name);
    return err;
}

/* What the function gave, encoded. */
static merle_err encode_extracted(const asked *a, const mrl_schema_index *index,
                                  const merle_value *values, uint8_t *encoded,
                                  mrl_extracted *head) {
    size_t used = 0;
    for (uint32_t i = 0; i < index->part_count; i++) {
        size_t size = 0;
        if (values[i].type == MERLE_TYPE_NIL) head->has_missing = 1;
        merle_err err = mrl_index_encode(index, i, &values[i], encoded + used,
                                         MERLE_VALUE_SIZE_MAX - used, &size);
        if (err == MERLE_INVALID) err = MERLE_TYPE;
        if (err != MERLE_OK) return refuse_value(a, index, i, err, values[i].type);
        used += size;
    }
    if (!head->has_missing || index->missing != MERLE_MISSING_OUT) head->size = (uint16_t)used;
    return MERLE_OK;
}

/* Behind what is there; the size of all, which comes first, is put right. */
static merle_err append_extracted(merle_buffer *out, const mrl_extracted *head,
                                  const uint8_t *encoded) {
    uint32_t size = (uint32_t)out->size;
    if (size == 0) size = sizeof size;
    size_t more = size + sizeof *head + head->size - out->size;
    merle_err err = mrl_buffer_reserve(out, more);
    if (err != MERLE_OK) return err;
    memcpy(out->data + size, head, sizeof *head);
    if (head->size > 0) memcpy(out->data + size + sizeof *head, encoded, head->size);
    out->size += more;
    size = (uint32_t)out->size;
    memcpy(out->data, &size, sizeof size);
    return MERLE_OK;
}

/* Asks the index's function, and appends what it made. */
static merle_err extract_index(const asked *a, const mrl_schema_index *index) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    merle_value values[MERLE_INDEX_PART_COUNT_MAX];
    mrl_extracted head = {.stamp = index->stamp, .index = (uint8_t)index->number};
    const merle_doc doc = {a->doc.data, a->doc.size, 0, NULL};
    size_t count = 0;
    for (uint32_t i = 0; i < index->part_count; i++) values[i] = merle_value_nil();
    merle_err err =
        index->extract(index->extract_context, a->key, doc, values, index->part_count, &count);
    if (err != MERLE_OK) return refuse_extract(a, index, err, "its function gave this error");
    if (count != 0 && count != index->part_count)
        return refuse_extract(a, index, MERLE_INVALID,
                              "its function gives another number of values than it has labels");
    if (count != 0) err = encode_extracted(a, index, values, encoded, &head);
    if (err != MERLE_OK) return err;
    err = append_extracted(a->extracted, &head, encoded);
    return err == MERLE_OK ? err : refuse_extract(a, index, err, "no memory for its values");
}

merle_err mrl_schema_extract(const mrl_schema *schema, const mrl_schema_index *index,
                             merle_bytes key, merle_bytes doc, merle_buffer *extracted,
                             merle_report *report) {
    const asked a = {schema, key, doc, NULL, extracted, report};
    return extract_index(&a, index);
}

merle_err mrl_schema_check_index(const mrl_schema *schema, const mrl_schema_index *index,
                                 merle_bytes key, merle_bytes doc) {
    uint32_t offsets[MRL_PATH_COUNT_MAX];
    const asked a = {schema, key, doc, offsets, NULL, NULL};
    mrl_paths_locate(schema->paths, schema->path_count, doc.data, doc.size, offsets);
    return check_index(&a, index);
}

static merle_err ask_index(const asked *a, const mrl_schema_index *index) {
    return index->kind != 0 && index->extract != NULL ? extract_index(a, index)
                                                      : check_index(a, index);
}

merle_err mrl_schema_check_doc(const mrl_schema *schema, merle_bytes key, merle_bytes doc,
                               uint32_t *out_offsets, merle_buffer *out_extracted,
                               merle_report *report) {
    out_extracted->size = 0;
    if (schema->rule_count > 0) {
        merle_err err =
            mrl_rules_check(schema->rules, schema->rule_count, doc.data, doc.size, report);
        if (err != MERLE_OK) return err;
    }
    if (schema->expires_on != NULL) {
        merle_err err = check_moment(schema, doc, report);
        if (err != MERLE_OK) return err;
    }
    if (schema->index_count == 0) return MERLE_OK;
    mrl_paths_locate(schema->paths, schema->path_count, doc.data, doc.size, out_offsets);
    const asked a = {schema, key, doc, out_offsets, out_extracted, report};
    for (uint32_t i = 0; i < schema->index_count; i++) {
        merle_err err = ask_index(&a, &schema->indexes[i]);
        if (err != MERLE_OK) return err;
    }
    return MERLE_OK;
}

merle_err mrl_schema_accept_doc(const mrl_schema *schema, merle_bytes key, merle_bytes doc,
                                uint32_t *out_offsets, merle_buffer *out_extracted,
                                uint32_t *out_against, merle_report *report) {
    *out_against = 0;
    out_extracted->size = 0;
    if (schema->path_count > 0)
        mrl_paths_locate(schema->paths, schema->path_count, doc.data, doc.size, out_offsets);
    for (uint32_t i = 0; i < schema->index_count; i++) {
        int may_fail = schema->indexes[i].is_added != 0;
        const asked a = {schema, key, doc, out_offsets, out_extracted, may_fail ? NULL : report};
        merle_err err = ask_index(&a, &schema->indexes[i]);
        if (err != MERLE_OK && !may_fail) return err;
        if (err != MERLE_OK) *out_against |= (uint32_t)1 << i;
    }
    return MERLE_OK;
}

merle_err mrl_schema_describe(const mrl_schema *schema, merle_buffer *out_json) {
    return merle_json_write(merle_bytes_of(schema->definition.data, schema->definition.size),
                            MERLE_JSON_INDENTED, out_json);
}
