/* merle/document.h - documents: looking into them, building them, patching them, JSON.
 *
 * A document is a msgpack map (string keys by convention, any key is legal), at most 16 MiB,
 * checked once when it enters: well-formed, no deeper than MERLE_DEPTH_MAX, no key twice at the top
 * level, UTF-8 in strings. Nothing here needs a database; nothing here allocates except where a
 * buffer is handed in (and in the check of a document of more than 1,024 fields).
 *
 * Paths: "gold", "pos.x", "list[0]", "list[-1]" (from the end), "bag.items[3].name"; a key with a
 * dot, bracket or quote in it is quoted: `"a.b".c` (inside quotes \" and \\ stand for " and \). A
 * path has at most 4,096 bytes of UTF-8 and 64 steps. Keys that are no strings have no path; of two
 * equal keys in an inner map the first counts. SPDX-License-Identifier: Apache-2.0
 */
#ifndef MERLE_DOCUMENT_H
#define MERLE_DOCUMENT_H

#include <merle/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A document as a reader sees it. Its bytes are valid until the section (or commit, or cursor call)
 * that gave it ends; a document over bytes of the caller's own is valid as long as they are. */
typedef struct merle_doc {
    const uint8_t *data;
    size_t size;
    uint64_t seq;         /* commit that made this version; 0 for bytes of the caller's own */
    const void *internal; /* merle's own; NULL for bytes of the caller's own */
} merle_doc;

typedef enum merle_type {
    MERLE_TYPE_NONE = 0, /* no value there */
    MERLE_TYPE_NIL,
    MERLE_TYPE_BOOL,
    MERLE_TYPE_INT,  /* fits int64_t */
    MERLE_TYPE_UINT, /* above INT64_MAX */
    MERLE_TYPE_FLOAT,
    MERLE_TYPE_STR,
    MERLE_TYPE_BIN,
    MERLE_TYPE_ARRAY,
    MERLE_TYPE_MAP,
    MERLE_TYPE_TIME, /* msgpack timestamp, extension type -1 */
    MERLE_TYPE_EXT   /* any other extension */
} merle_type;

/* One value: found in a document, asked for in an index, or set by a patch. */
typedef struct merle_value {
    merle_type type;
    uint32_t count; /* of an array or map: its elements or pairs; of a time: its nanoseconds */
    union {
        int64_t i;  /* BOOL (0 or 1), INT, TIME (seconds) */
        uint64_t u; /* UINT */
        double f;   /* FLOAT */
    } number;
    merle_bytes
        bytes; /* STR, BIN, EXT: the contents. ARRAY, MAP: the msgpack bytes of the whole value */
    int8_t ext_type; /* EXT */
} merle_value;

static inline merle_value merle_value_nil(void) {
    merle_value v = {MERLE_TYPE_NIL, 0, {0}, {NULL, 0}, 0};
    return v;
}
static inline merle_value merle_value_bool(int truth) {
    merle_value v = {MERLE_TYPE_BOOL, 0, {truth != 0}, {NULL, 0}, 0};
    return v;
}
static inline merle_value merle_value_int(int64_t number) {
    merle_value v = {MERLE_TYPE_INT, 0, {number}, {NULL, 0}, 0};
    return v;
}
static inline merle_value merle_value_uint(uint64_t number) {
    merle_value v = {number > (uint64_t)INT64_MAX ? MERLE_TYPE_UINT : MERLE_TYPE_INT,
                     0,
                     {(int64_t)number},
                     {NULL, 0},
                     0};
    return v;
}
static inline merle_value merle_value_float(double number) {
    merle_value v = {MERLE_TYPE_FLOAT, 0, {0}, {NULL, 0}, 0};
    v.number.f = number;
    return v;
}
static inline merle_value merle_value_bytes(merle_bytes text) {
    merle_value v = {MERLE_TYPE_STR, 0, {0}, {NULL, 0}, 0};
    v.bytes = text;
    return v;
}
static inline merle_value merle_value_str(const char *text) {
    return merle_value_bytes(merle_str(text));
}
static inline merle_value merle_value_bin(merle_bytes bin) {
    merle_value v = {MERLE_TYPE_BIN, 0, {0}, {NULL, 0}, 0};
    v.bytes = bin;
    return v;
}
static inline merle_value merle_value_time(int64_t seconds, uint32_t nanoseconds) {
    merle_value v = {MERLE_TYPE_TIME, nanoseconds, {seconds}, {NULL, 0}, 0};
    return v;
}
/* Msgpack bytes of one whole value of any kind: an array, a map, a document. They are checked here
 * (as merle_doc_check does, but for keys that stand twice) and held as long as the value is used.
 * Errors: MERLE_BAD_DOCUMENT, MERLE_TOO_BIG. */
MERLE_API MERLE_MUST_USE merle_err merle_value_msgpack(merle_bytes bytes, merle_value *out_value);

/* ---- looking into a document ---- */

/* Checks bytes as merle_put would. report may be NULL. Threads: any.
 * Errors: MERLE_BAD_DOCUMENT; MERLE_TOO_BIG (size, depth); MERLE_NO_MEMORY (only of more than 1,024
 * fields); the report says at which byte and why. */
MERLE_API MERLE_MUST_USE merle_err merle_doc_check(merle_bytes bytes, merle_report *report);
/* A document over the caller's own bytes, checked first. Errors: as merle_doc_check. */
MERLE_API MERLE_MUST_USE merle_err merle_doc_over(merle_bytes bytes, merle_doc *out_doc);

/* The value at path; MERLE_NOT_FOUND if there is none, MERLE_INVALID if the path is no path.
 * Costs a scan over the bytes before it; allocates nothing. Threads: any. */
MERLE_API MERLE_MUST_USE merle_err merle_doc_value(merle_doc doc, const char *path,
                                                   merle_value *out_value);
/* The same with a default instead of an error (also when the type is another). An integer is given
 * as float where it converts exactly, a float as integer never. */
MERLE_API int64_t merle_doc_int(merle_doc doc, const char *path, int64_t otherwise);
MERLE_API uint64_t merle_doc_uint(merle_doc doc, const char *path, uint64_t otherwise);
MERLE_API double merle_doc_float(merle_doc doc, const char *path, double otherwise);
MERLE_API int merle_doc_bool(merle_doc doc, const char *path, int otherwise);
MERLE_API merle_bytes merle_doc_str(merle_doc doc,
                                    const char *path); /* {NULL, 0} if there is none */
MERLE_API int merle_doc_has(merle_doc doc, const char *path);

/* Walks over the elements of an array or the pairs of a map, one step a call. The container is a
 * value that merle gave (from a document, a walk or merle_value_msgpack). Errors: MERLE_TYPE
 * (neither array nor map). */
typedef struct merle_walk {
    const uint8_t *at;
    const uint8_t *end;
    uint32_t left;
    uint32_t is_map;
} merle_walk;
MERLE_API MERLE_MUST_USE merle_err merle_walk_begin(const merle_value *container,
                                                    merle_walk *out_walk);
/* Gives the next element (key is {NONE} in an array); 0 at the end, 1 otherwise. */
MERLE_API int merle_walk_next(merle_walk *walk, merle_value *out_key, merle_value *out_value);

/* ---- building a document ---- */

/* A builder makes one document at a time in memory of its own, which it keeps for the next one.
 * Errors stick: build on, and merle_build_end tells the first. Threads: owner only. merle_builder
 * *b; merle_builder_create(&b); merle_build_begin(b); merle_build_str(b, "name", "ada");
 *       merle_build_array(b, "tags"); merle_build_str(b, NULL, "eu"); merle_build_close(b);
 *     merle_build_end(b, &doc);        // doc: valid until the next begin or destroy
 * Inside an array the name is NULL; inside a map it never is. */
typedef struct merle_builder merle_builder;
MERLE_API MERLE_MUST_USE merle_err merle_builder_create(merle_builder **out_builder);
MERLE_API void merle_builder_destroy(merle_builder *builder);
MERLE_API void merle_build_begin(merle_builder *builder);
MERLE_API void merle_build_nil(merle_builder *builder, const char *name);
MERLE_API void merle_build_bool(merle_builder *builder, const char *name, int truth);
MERLE_API void merle_build_int(merle_builder *builder, const char *name, int64_t number);
MERLE_API void merle_build_uint(merle_builder *builder, const char *name, uint64_t number);
MERLE_API void merle_build_float(merle_builder *builder, const char *name, double number);
MERLE_API void merle_build_str(merle_builder *builder, const char *name, const char *text);
MERLE_API void merle_build_bytes(merle_builder *builder, const char *name, merle_bytes text);
MERLE_API void merle_build_bin(merle_builder *builder, const char *name, merle_bytes bin);
MERLE_API void merle_build_time(merle_builder *builder, const char *name, int64_t seconds,
                                uint32_t nanoseconds);
MERLE_API void merle_build_value(merle_builder *builder, const char *name,
                                 const merle_value *value);
MERLE_API void merle_build_array(merle_builder *builder, const char *name);
MERLE_API void merle_build_map(merle_builder *builder, const char *name);
MERLE_API void merle_build_close(merle_builder *builder);
/* Copies all of a document's top-level pairs but those whose names follow (a merge function's
 * start). Only at the top level of what is built; elsewhere it is MERLE_INVALID. */
MERLE_API void merle_build_copy(merle_builder *builder, merle_doc doc, const char *const *except,
                                size_t except_count);
/* Errors: the first that happened on the way: MERLE_INVALID (unbalanced, name missing or given
 * twice), MERLE_NO_MEMORY, MERLE_TOO_BIG, MERLE_BAD_DOCUMENT (a string that is no UTF-8). */
MERLE_API MERLE_MUST_USE merle_err merle_build_end(merle_builder *builder, merle_bytes *out_bytes);

/* ---- JSON ---- */

/* Document from JSON text: one object. Integers stay integers (up to 64 bits, beyond that
 * MERLE_BAD_DOCUMENT), other numbers become floats; {"$bin":"base64"} is binary,
 * {"$time":"2026-11-21T10:00:00.5Z"} a timestamp,
 * {"$ext":[type,"base64"]} an extension, {"$float":"nan"|"inf"|"-inf"} those floats. These are
 * objects of exactly one name, and never the outermost one; where such a name is meant as it
 * stands, one more $ goes before it ({"$$bin":1}). Times may have an offset (+02:00). Duplicate
 * names are refused at every level, so is a number beyond the range of floats. report may be NULL.
 * The buffer belongs to the caller. Threads: any. */
MERLE_API MERLE_MUST_USE merle_err merle_json_read(merle_bytes json, merle_buffer *out_document,
                                                   merle_report *report);
/* JSON text of a document, that merle_json_read gives back byte for byte equal in value; not
 * terminated. Times outside the years 0 to 9999 are written as extension -1. An inner map that has
 * a name twice is written as it is, and merle_json_read then refuses it. Errors: MERLE_TYPE (a map
 * key that is no string), MERLE_BAD_DOCUMENT, MERLE_TOO_BIG, MERLE_NO_MEMORY. */
typedef enum merle_json_style { MERLE_JSON_COMPACT = 0, MERLE_JSON_INDENTED = 1 } merle_json_style;
MERLE_API MERLE_MUST_USE merle_err merle_json_write(merle_bytes document, merle_json_style style,
                                                    merle_buffer *out_json);

/* ---- patches ---- */

typedef enum merle_op_kind {
    MERLE_OP_SET = 1, /* sets the value at path; missing maps on the way are made */
    MERLE_OP_UNSET,   /* removes the field or element; absent already: changes nothing */
    MERLE_OP_INC,     /* adds; absent counts as 0; integer + integer is checked for overflow */
    MERLE_OP_APPEND,  /* adds an element at the end of an array (absent: an empty one), or text to a
                         string */
    MERLE_OP_SET_ADD, /* adds to an array unless an equal element is there */
    MERLE_OP_SET_REMOVE, /* removes all equal elements from an array */
    MERLE_OP_MIN,        /* the smaller of the number there and this one; absent: this one */
    MERLE_OP_MAX
} merle_op_kind;

typedef struct merle_op {
    merle_op_kind kind;
    const char *path;
    merle_value value;
} merle_op;

static inline merle_op merle_op_of(merle_op_kind kind, const char *path, merle_value value) {
    merle_op op;
    op.kind = kind;
    op.path = path;
    op.value = value;
    return op;
}
#define MERLE_SET(path, value) merle_op_of(MERLE_OP_SET, path, value)
#define MERLE_SET_INT(path, number) merle_op_of(MERLE_OP_SET, path, merle_value_int(number))
#define MERLE_SET_FLOAT(path, number) merle_op_of(MERLE_OP_SET, path, merle_value_float(number))
#define MERLE_SET_BOOL(path, truth) merle_op_of(MERLE_OP_SET, path, merle_value_bool(truth))
#define MERLE_SET_STR(path, text) merle_op_of(MERLE_OP_SET, path, merle_value_str(text))
#define MERLE_UNSET(path) merle_op_of(MERLE_OP_UNSET, path, merle_value_nil())
#define MERLE_INC(path, number) merle_op_of(MERLE_OP_INC, path, merle_value_int(number))
#define MERLE_INC_FLOAT(path, number) merle_op_of(MERLE_OP_INC, path, merle_value_float(number))
#define MERLE_APPEND(path, value) merle_op_of(MERLE_OP_APPEND, path, value)
#define MERLE_ADD(path, value) merle_op_of(MERLE_OP_SET_ADD, path, value)
#define MERLE_REMOVE(path, value) merle_op_of(MERLE_OP_SET_REMOVE, path, value)
#define MERLE_MIN(path, number) merle_op_of(MERLE_OP_MIN, path, merle_value_int(number))
#define MERLE_MAX(path, number) merle_op_of(MERLE_OP_MAX, path, merle_value_int(number))

/* Applies operations, in order, to a document of the caller's own: all or nothing. Bytes that no
 * operation touches stay as they were. All that put something make the maps that are missing on the
 * way; arrays are made only by APPEND and SET_ADD, at the end of their path. Two signed integers
 * stay signed: INT64_MAX + 1 is MERLE_OVERFLOW, while a number above INT64_MAX counts on to
 * UINT64_MAX. Integer + float is a float. Elements are equal if numbers are equal as numbers (5 and
 * 5.0), maps if they have equal pairs in one order. report may be NULL; its operation is the index
 * in ops. Errors: MERLE_BAD_DOCUMENT (document, or a value's bytes), MERLE_TYPE, MERLE_OVERFLOW,
 * MERLE_INVALID (path), MERLE_NOT_FOUND (an array element that does not exist), MERLE_TOO_BIG,
 * MERLE_NO_MEMORY. Threads: any. */
MERLE_API MERLE_MUST_USE merle_err merle_doc_patch(merle_bytes document, const merle_op *ops,
                                                   size_t op_count, merle_buffer *out_document,
                                                   merle_report *report);

#ifdef __cplusplus
}
#endif
#endif
