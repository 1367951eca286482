/* store/schema.h - a collection's schema in the form that the store works with.
 *
 * What    compiled paths and index definitions, field rules, and the definition as msgpack for the
 *         log.
 * Owns    everything it points to (malloc); immutable once made; shared by the roots that use it,
 *         counted.
 * Threads any, read only.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_SCHEMA_H
#define MRL_STORE_SCHEMA_H

#include <stdatomic.h>
#include <stdint.h>

#include <merle/merle.h>

#include "document/encode.h"
#include "document/path.h"
#include "document/rules.h"

enum { MRL_PATH_COUNT_MAX = 255 }; /* of one schema: a version counts its paths in one byte */
#define MRL_PART_NONE UINT32_MAX

typedef struct mrl_schema_part {
    uint32_t path; /* of PATH and EACH: number in the schema's paths */
    uint32_t descending;
    mrl_source source;
    mrl_path *element; /* EACH: where the value is in an element; NULL: the element itself */
} mrl_schema_part;

typedef struct mrl_schema_index {
    char name[MERLE_NAME_SIZE_MAX + 1];
    char *on; /* as it was given */
    merle_index_kind kind;
    uint32_t number;
    merle_missing missing;
    uint32_t each; /* the part that is on each element; MRL_PART_NONE: the index has one value */
    uint32_t part_count;
    mrl_schema_part parts[MERLE_INDEX_PART_COUNT_MAX];
} mrl_schema_index;

typedef struct mrl_schema {
    _Atomic uint32_t holders;
    uint32_t version;
    uint32_t memory_only;
    uint32_t path_count;
    uint32_t index_count;
    uint32_t rule_count;
    mrl_path *paths[MRL_PATH_COUNT_MAX];
    mrl_schema_index indexes[MERLE_INDEX_COUNT_MAX];
    mrl_rule rules[MERLE_RULE_COUNT_MAX];
    merle_buffer definition; /* msgpack, see docs/format.md */
} mrl_schema;

/* What an index has. Of a unique one a value leads to its document, and is refused a second time; a
 * tree gives ranges. An index may have both. */
static inline int mrl_index_is_unique(const mrl_schema_index *index) {
    return index->kind == MERLE_UNIQUE || index->kind == MERLE_UNIQUE_ORDERED;
}
static inline int mrl_index_has_tree(const mrl_schema_index *index) {
    return index->kind == MERLE_ORDERED || index->kind == MERLE_UNIQUE_ORDERED;
}
static inline int mrl_index_has_tags(const mrl_schema_index *index) {
    return index->kind == MERLE_TAGS;
}

/* Compiles a schema (NULL: version 1, nothing in it). Errors: MERLE_INVALID, MERLE_UNSUPPORTED,
 * MERLE_TOO_BIG, MERLE_NO_MEMORY, with a report. The caller holds it. */
MERLE_MUST_USE merle_err mrl_schema_create(const char *collection, uint32_t collection_id,
                                           const merle_schema *schema, mrl_schema **out_schema,
                                           merle_report *report);
mrl_schema *mrl_schema_hold(mrl_schema *schema);
void mrl_schema_release(mrl_schema *schema);
/* MERLE_OK if they say the same, else MERLE_DIFFERS with a report on the first difference. */
merle_err mrl_schema_compare(const mrl_schema *in_force, const mrl_schema *asked,
                             merle_report *report);
/* Encodes what somebody asks of a field: merle_value_nil is what is missing. Errors: as
 * mrl_encode_value. */
MERLE_MUST_USE merle_err mrl_index_encode(const mrl_schema_index *index, uint32_t part,
                                          const merle_value *value, uint8_t *out, size_t out_max,
                                          size_t *out_size);
/* What a document has in a field that it lacks: one byte. Not where the index leaves it out. */
static inline uint8_t mrl_index_missing(const mrl_schema_index *index, uint32_t part) {
    return mrl_encode_missing(index->missing == MERLE_MISSING_FIRST,
                              (int)index->parts[part].descending);
}
/* NULL if there is none of that name. */
const mrl_schema_index *mrl_schema_find_index(const mrl_schema *schema, const char *name);
/* Checks a document: rules hold, indexed values can be encoded. doc is well-formed already.
 * out_offsets (MRL_PATH_COUNT_MAX of them) tells where the schema's paths lead in it. */
merle_err mrl_schema_check_doc(const mrl_schema *schema, merle_bytes key, merle_bytes doc,
                               uint32_t *out_offsets, merle_report *report);
/* The schema as JSON. */
MERLE_MUST_USE merle_err mrl_schema_describe(const mrl_schema *schema, merle_buffer *out_json);

#endif
