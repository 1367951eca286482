/* tests/model/plain.h - the plain model of a database: arrays, linear search, nothing clever.
 *
 * What    Documents of a few known fields as C structs; the state of all collections at one
 *         instant as an array; what a commit does to a state, and which errors would be right.
 *         Written from the public headers, sharing no code with the store.
 * Owns    documents are counted; a state holds its documents until plain_state_free.
 * Threads one.
 * Limits  PLAIN_COLLECTION_MAX collections ever made, PLAIN_KEY_COUNT keys.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_MODEL_PLAIN_H
#define TESTS_MODEL_PLAIN_H

#include <stdint.h>

#include <merle/merle.h>

#include "base/random.h"

enum {
    PLAIN_COLLECTION_MAX = 6,
    PLAIN_KEY_COUNT = 30,
    PLAIN_VALUE_COUNT = 20,
    PLAIN_LIST_MAX = 48,
    PLAIN_TEXT_MAX = 160,
    PLAIN_PATCH_MAX = 3,
    PLAIN_TEXT_LIMIT = 16, /* of the schema's rules */
    PLAIN_LIST_LIMIT = 8
};

/* ---- values and documents ---- */

typedef struct plain_value {
    merle_type type; /* NONE, NIL, BOOL, INT, FLOAT, STR, BIN, ARRAY (of integers) */
    uint32_t size;   /* of a text or list */
    int64_t i;
    double f;
    char text[PLAIN_TEXT_MAX];
    int8_t list[PLAIN_LIST_MAX];
} plain_value;

typedef enum plain_field {
    PLAIN_NAME = 0, /* unique index "name" */
    PLAIN_GUILD,    /* with PLAIN_RANK: unique index "seat" */
    PLAIN_RANK,
    PLAIN_NUMBER,
    PLAIN_LIST,
    PLAIN_TEXT,
    PLAIN_X, /* pos.x */
    PLAIN_Y,
    PLAIN_PAD,
    PLAIN_FIELD_COUNT
} plain_field;

typedef struct plain_doc {
    uint32_t holders;
    plain_value fields[PLAIN_FIELD_COUNT];
} plain_doc;

extern const merle_schema plain_schema;
extern const char *const plain_paths[PLAIN_FIELD_COUNT];

/* The value with this number, below PLAIN_VALUE_COUNT: of all types, some of them equal. */
plain_value plain_value_of(uint32_t number);
int plain_value_equal(const plain_value *a, const plain_value *b); /* as an index sees it */
merle_value plain_value_to_merle(const plain_value *value);        /* borrows value; no ARRAY */

plain_doc *plain_doc_new(void);
plain_doc *plain_doc_hold(plain_doc *doc);
void plain_doc_release(plain_doc *doc);
plain_doc *plain_doc_random(mrl_random *random);
/* What a put refuses at once: MERLE_RULE, MERLE_TYPE, or MERLE_OK. */
merle_err plain_doc_check(const plain_doc *doc);
/* The document's bytes, in the builder's memory. */
merle_bytes plain_doc_build(const plain_doc *doc, merle_builder *builder);
/* Reads a document back; 0: it is one of ours, nothing else is in it. */
int plain_doc_parse(merle_doc doc, plain_doc *out_doc);
uint64_t plain_doc_hash(const plain_doc *doc); /* equal documents have equal hashes; never 0 */

merle_bytes plain_key(uint32_t key); /* static memory */
/* The number of a key, or PLAIN_KEY_COUNT. */
uint32_t plain_key_find(merle_bytes key);

/* ---- operations ---- */

typedef enum plain_kind {
    PLAIN_PUT = 0,
    PLAIN_INSERT,
    PLAIN_REPLACE,
    PLAIN_REMOVE,
    PLAIN_PATCH,
    PLAIN_MERGE_COUNT,  /* number + 1, made if there is none */
    PLAIN_MERGE_REMOVE, /* removes it if there is one */
    PLAIN_MERGE_FAIL,   /* MERLE_TYPE */
    PLAIN_EXPECT
} plain_kind;

typedef struct plain_patch {
    merle_op_kind kind;
    plain_field field;
    plain_value value;
} plain_patch;

typedef struct plain_op {
    plain_kind kind;
    uint32_t collection;
    uint32_t key;
    plain_doc *doc; /* held */
    uint32_t patch_count;
    plain_patch patches[PLAIN_PATCH_MAX];
    uint64_t seq; /* EXPECT */
} plain_op;

void plain_op_random_patch(mrl_random *random, plain_op *op);
void plain_op_clear(plain_op *op);

/* ---- states ---- */

typedef struct plain_cell {
    plain_doc *doc; /* NULL: none */
    uint64_t seq;
} plain_cell;

typedef enum plain_life { PLAIN_UNBORN = 0, PLAIN_ALIVE, PLAIN_DROPPED } plain_life;

typedef struct plain_state {
    plain_life life[PLAIN_COLLECTION_MAX];
    uint64_t root_seq[PLAIN_COLLECTION_MAX]; /* made, truncated or dropped last */
    plain_cell cells[PLAIN_COLLECTION_MAX][PLAIN_KEY_COUNT];
} plain_state;

plain_state *plain_state_copy(const plain_state *state); /* NULL: an empty one */
void plain_state_free(plain_state *state);

/* What a commit would change. */
typedef struct plain_change {
    uint32_t collection, key;
    plain_doc *doc; /* held; NULL: removed */
} plain_change;

enum { PLAIN_CHANGE_MAX = 32 };
typedef struct plain_result {
    uint32_t errors;     /* a bit for each merle_err that would be right; 0: it succeeds */
    uint32_t key_errors; /* of these, what each key by itself would give */
    uint32_t change_count;
    plain_change changes[PLAIN_CHANGE_MAX];
} plain_result;

void plain_result_clear(plain_result *result);
/* What these operations do on a state. */
void plain_apply(const plain_state *state, const plain_op *ops, uint32_t op_count,
                 plain_result *out_result);
/* Puts the changes of a successful commit into the state, with its seq. */
void plain_commit(plain_state *state, const plain_result *result, uint64_t seq);
void plain_clear_collection(plain_state *state, uint32_t collection);

/* The key that has the values of an index (0: name, 1: seat), or PLAIN_KEY_COUNT. */
uint32_t plain_find(const plain_state *state, uint32_t collection, uint32_t index,
                    const plain_value *values);
uint64_t plain_count(const plain_state *state, uint32_t collection);

#endif
