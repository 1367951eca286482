/* schema/schema.h - a collection's schema in the form that the store works with.
 *
 * What    compiled paths and index definitions, field rules, and the definition as msgpack for the
 *         log.
 * Owns    everything it points to (malloc); immutable once it is published; shared by the roots
 *         that use it, counted.
 * Sees    Indexes come and go while a root is in use: each change is a new schema, which points to
 *         the one before it, and is versioned by seq as documents are. Within one root an index
 *         keeps its number and a path its place, so that versions made under an older schema stay
 *         as they are: they have fewer paths. See store/build.c.
 * Threads any, read only.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_SCHEMA_SCHEMA_H
#define MRL_SCHEMA_SCHEMA_H

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
    mrl_path *element;  /* EACH: where the value is in an element; NULL: the element itself.
                          EXTRACT: the label */
    const mrl_path *at; /* that path, for versions that were made before it came */
} mrl_schema_part;

typedef struct mrl_schema_index {
    char name[MERLE_NAME_SIZE_MAX + 1];
    char *on;                  /* as it was given */
    merle_index_kind kind;     /* what is kept of it: 0, nothing, if it has failed or is none */
    merle_index_kind declared; /* 0: there is no index of this number */
    merle_index_state state;
    uint32_t number;
    uint32_t is_added; /* 1: there may have been documents already that stand against it */
    merle_missing missing;
    uint32_t each; /* the part that is on each element; MRL_PART_NONE: the index has one value */
    uint64_t ready_seq; /* sections from this one on use it; 0: since there is the root */
    uint64_t made_seq;  /* when it was added; 0: with the collection. Tells it from a namesake */
    merle_extract_fn *extract; /* NULL: values are where the parts say */
    void *extract_context;
    uint32_t stamp; /* no other index of the root ever has it: marks what its function made */
    uint32_t part_count;
    mrl_schema_part parts[MERLE_INDEX_PART_COUNT_MAX];
} mrl_schema_index;

typedef struct mrl_schema {
    _Atomic uint32_t holders;
    _Atomic uint64_t seq;      /* in force since; UINT64_MAX until published; 0: with its root */
    struct mrl_schema *before; /* of the same root, for sections below seq; not held */
    uint32_t version;
    uint32_t memory_only;
    uint32_t path_count;
    uint32_t index_count;
    uint32_t rule_count;
    uint32_t last_stamp;
    mrl_path *expires_on; /* the field that says when a document ends; NULL: none */
    int64_t expires_after_ns;
    uint32_t index_room; /* of `indexes` */
    mrl_path **paths;    /* these two grow while it is made, one by one */
    mrl_rule *rules;
    merle_buffer definition; /* msgpack, see docs/format.md */
    mrl_schema_index indexes[];
} mrl_schema;

/* The index of a number that another schema of the collection gave: one of kind 0 if this one has
 * none. */
static inline const mrl_schema_index *mrl_schema_index_at(const mrl_schema *schema,
                                                          uint32_t number) {
    static const mrl_schema_index none;
    return number < schema->index_count ? &schema->indexes[number] : &none;
}

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
/* Whether it may be read by: there is one of this number, and it is ready. */
static inline int mrl_index_is_ready(const mrl_schema_index *index) {
    return index->declared != 0 && index->state == MERLE_INDEX_READY;
}
/* The index of that name, for who reads. Errors: MERLE_INVALID (there is none), MERLE_NOT_READY;
 * *out_index is NULL then. */
merle_err mrl_schema_read_index(const mrl_schema *schema, const char *name,
                                const mrl_schema_index **out_index);
/* Checks a document: rules hold, indexed values can be encoded. doc is well-formed already.
 * out_offsets (MRL_PATH_COUNT_MAX of them) tells where the schema's paths lead in it.
 * out_extracted, whose memory is kept and grows, has what the functions of its indexes made, in the
 * form in which a version has it; empty: there are none. */
merle_err mrl_schema_check_doc(const mrl_schema *schema, merle_bytes key, merle_bytes doc,
                               uint32_t *out_offsets, merle_buffer *out_extracted,
                               merle_report *report);
/* The same for a document that was written before, so that rules are no longer asked, and an index
 * that was added since may stand against it: *out_against has a bit for each that does. Errors:
 * those of the other indexes. */
merle_err mrl_schema_accept_doc(const mrl_schema *schema, merle_bytes key, merle_bytes doc,
                                uint32_t *out_offsets, merle_buffer *out_extracted,
                                uint32_t *out_against, merle_report *report);

/* When a document that meets the schema ends by its field: nanoseconds since 1970; 0: never. */
int64_t mrl_schema_moment_of(const mrl_schema *schema, merle_bytes doc);
static inline int64_t mrl_schema_moment(const mrl_schema *schema, merle_bytes doc) {
    return __builtin_expect(schema->expires_on == NULL, 1) ? 0 : mrl_schema_moment_of(schema, doc);
}

/* What a function made for an index, as it stands behind a version's document: four bytes for the
 * size of all, these among them, then one behind the other: this, and `size` bytes. */
typedef struct mrl_extracted {
    uint32_t stamp; /* the index's: its number may have been another one's before */
    uint16_t size;  /* 0: the document is not in the index */
    uint8_t index;  /* its number */
    uint8_t has_missing;
} mrl_extracted;
/* Appends what one index's function makes of a document to what others have made of it. Errors:
 * the function's, MERLE_INVALID, MERLE_TYPE, MERLE_TOO_BIG, MERLE_NO_MEMORY; nothing is appended
 * then. */
MERLE_MUST_USE merle_err mrl_schema_extract(const mrl_schema *schema, const mrl_schema_index *index,
                                            merle_bytes key, merle_bytes doc,
                                            merle_buffer *extracted, merle_report *report);
/* Whether a document that was there before the index could be in it: MERLE_OK, MERLE_TYPE,
 * MERLE_TOO_BIG. Not of an index whose values a function makes. */
merle_err mrl_schema_check_index(const mrl_schema *schema, const mrl_schema_index *index,
                                 merle_bytes key, merle_bytes doc);

/* ---- a schema that differs from another in one index: schema/schema_change.c ---- */

/* With one index more, which is being built. Its number is none of the bits in `busy`. Errors:
 * those of mrl_schema_create, MERLE_EXISTS (the name is taken). The caller holds it. */
MERLE_MUST_USE merle_err mrl_schema_with(const mrl_schema *schema, const char *collection,
                                         uint32_t collection_id, const merle_index *index,
                                         uint32_t busy, mrl_schema **out_schema,
                                         uint32_t *out_number, merle_report *report);
/* Without the index of this number. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_schema_without(const mrl_schema *schema, const char *collection,
                                            uint32_t collection_id, uint32_t number,
                                            mrl_schema **out_schema);
/* With the index of this number in another state. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_schema_in_state(const mrl_schema *schema, uint32_t number,
                                             merle_index_state state, uint64_t ready_seq,
                                             mrl_schema **out_schema);
/* For an empty root: every index is ready. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_schema_settled(mrl_schema *schema, mrl_schema **out_schema);
/* How many indexes there are: numbers may be free. */
uint32_t mrl_schema_index_count(const mrl_schema *schema);
/* How many of them are being built. */
uint32_t mrl_schema_building_count(const mrl_schema *schema);

/* For these only. One with nothing in it, and room for so many indexes. NULL: no memory. */
mrl_schema *mrl_schema_alloc(uint32_t index_room);
/* Makes room for one path more, or one rule. 0: no memory. */
int mrl_schema_grow_paths(mrl_schema *schema);
int mrl_schema_grow_rules(mrl_schema *schema);
/* Puts an index at a number that is free; a schema in which it fails is released.
 * Errors: as mrl_schema_create. */
merle_err mrl_schema_compile_index(mrl_schema *schema, uint32_t number, const merle_index *index,
                                   merle_report *report);
/* Errors: MERLE_INVALID, MERLE_TOO_BIG, MERLE_NO_MEMORY. */
merle_err mrl_schema_compile_rule(mrl_schema *schema, const merle_rule *rule, merle_report *report);
/* The field by which documents end. Errors: MERLE_INVALID, MERLE_NO_MEMORY. */
merle_err mrl_schema_compile_expires(mrl_schema *schema, const char *path, int64_t after_ns,
                                     merle_report *report);
/* Frees what it points to. */
void mrl_schema_index_fini(mrl_schema_index *index);
/* Writes the definition. Errors: MERLE_NO_MEMORY. */
merle_err mrl_schema_define(mrl_schema *schema, const char *collection, uint32_t collection_id);

/* ---- a schema that was written down: schema/schema_read.c ---- */

typedef struct mrl_schema_reading {
    const mrl_schema *before;        /* that it replaces in a root, or NULL */
    const merle_function *functions; /* of its indexes; NULL: none */
    int without_functions;           /* 1: indexes by functions are left out */
    /* What else the definition says: */
    char name[MERLE_NAME_SIZE_MAX + 1];
    uint32_t id;
} mrl_schema_reading;

/* Compiles a definition, foreign bytes. Indexes that stay keep their numbers, and paths their
 * places. Errors: MERLE_CORRUPT, MERLE_DIFFERS (no function for an index), MERLE_NO_MEMORY, with a
 * report. The caller holds it. */
MERLE_MUST_USE merle_err mrl_schema_read(mrl_schema_reading *reading, merle_bytes definition,
                                         mrl_schema **out_schema, merle_report *report);

/* The schema as JSON. */
MERLE_MUST_USE merle_err mrl_schema_describe(const mrl_schema *schema, merle_buffer *out_json);

#endif
