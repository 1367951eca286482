/* document/condition.h - conditions as those see them who plan with them and evaluate them.
 *
 * What    the tree of a finished condition, its test on one document, and the range of encoded
 *         values that a comparison stands for.
 * Owns    a condition is one piece of memory and its paths; merle_condition_destroy frees it all.
 * Sees    two-valued logic: what is not true is false, also where fields are missing. So `not` is
 *         plain negation and was pushed down to the leaves when the condition was made.
 * Threads any; a condition never changes.
 * Limits  those of merle/condition.h. Functions that call themselves go down at most
 *         MERLE_CONDITION_DEPTH_MAX levels.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DOCUMENT_CONDITION_H
#define MRL_DOCUMENT_CONDITION_H

#include <merle/condition.h>

#include "document/path.h"

#define MRL_PARAMETER_NONE UINT32_MAX

/* One value that a leaf compares with: a literal, or a parameter's number. */
typedef struct mrl_operand {
    merle_value value;  /* of a literal; its class is not NONE, its bytes live with the condition */
    uint32_t parameter; /* MRL_PARAMETER_NONE for a literal */
} mrl_operand;

typedef enum mrl_condition_kind {
    MRL_CONDITION_WRONG = 0, /* never in a finished condition */
    MRL_CONDITION_AND,       /* at least two children, none of them an AND */
    MRL_CONDITION_OR,        /* at least two children, none of them an OR */
    MRL_CONDITION_COMPARE,   /* one operand */
    MRL_CONDITION_BETWEEN,   /* two operands, both ends belong to it */
    MRL_CONDITION_IN,        /* equal to one of the operands */
    MRL_CONDITION_ALL,       /* each of the operands is equal to an element */
    MRL_CONDITION_PREFIX,    /* one operand; a literal is a string or binary */
    MRL_CONDITION_EXISTS     /* no operand */
} mrl_condition_kind;

/* A node. Leaves are all kinds but AND and OR, and have a path.
 * - `negated` turns a leaf's answer around, missing fields included: `not a < 5` is true of a
 *   document without a, while `a >= 5` is not, so the one is never written as the other. It is 0
 *   for AND and OR.
 * - `each`: the leaf asks for one element that meets it by itself. The elements of what is no array
 *   are that value alone; a missing field has none. ALL always has it, EXISTS never.
 * - COMPARE: `compare` is EQ, LT, LE, GT or GE; with each it is NE, LT, LE, GT or GE (one element
 *   that differs), because `each` and EQ is IN with one operand. Without each, NE is a negated EQ.
 * - IN: no operand, or two and more, without each; any number with it (`tags: eu`, `tags: any(a,
 *   b)`, `any tags = "eu"`). ALL: no operand, or two and more.
 * - IN and ALL: the first `sorted_count` operands are the literals, ascending by mrl_value_order
 *   and none twice; then come the parameters, none twice, though two may be bound to one value. */
typedef struct mrl_condition_node {
    mrl_condition_kind kind;
    merle_compare compare;
    uint8_t negated;
    uint8_t each;
    uint32_t path_number;
    uint32_t child_count;
    uint32_t operand_count;
    uint32_t sorted_count;
    const struct mrl_condition_node *children; /* in a row, in the order of the text */
    const mrl_operand *operands;               /* in a row */
} mrl_condition_node;

/* A parameter is used if somebody compares with it: numbers may leave gaps. */
typedef struct mrl_parameter {
    const char *name; /* terminated; NULL where parameters are numbered */
    uint8_t is_used;
    uint8_t is_prefix; /* somewhere a value has to begin with it */
} mrl_parameter;

/* The paths are all different and numbered by mrl_path_order. */
struct merle_condition {
    const mrl_condition_node *root;
    mrl_path *const *paths;
    const mrl_parameter *parameters;
    uint32_t node_count;
    uint32_t path_count;
    uint32_t parameter_count;
};

/* The conjunction at the top: *out_count terms in a row, all of which must hold. */
static inline const mrl_condition_node *mrl_condition_terms(const merle_condition *condition,
                                                            uint32_t *out_count) {
    const mrl_condition_node *root = condition->root;
    *out_count = root->kind == MRL_CONDITION_AND ? root->child_count : 1;
    return root->kind == MRL_CONDITION_AND ? root->children : root;
}

static inline const mrl_path *mrl_condition_path(const merle_condition *condition,
                                                 const mrl_condition_node *leaf) {
    return condition->paths[leaf->path_number];
}

/* Writes one node as merle_condition_write writes the whole. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_condition_write_node(const merle_condition *condition,
                                                  const mrl_condition_node *node,
                                                  merle_buffer *out_text);

/* ---- values ---- */

/* Whether these values can be bound: to be asked once, before the functions below get them. Errors:
 * MERLE_INVALID, MERLE_TYPE; the report (may be NULL) names the parameter. */
MERLE_MUST_USE merle_err mrl_condition_bind(const merle_condition *condition,
                                            const merle_value *values, size_t value_count,
                                            merle_report *report);

static inline const merle_value *mrl_operand_value(const mrl_operand *operand,
                                                   const merle_value *values) {
    return operand->parameter == MRL_PARAMETER_NONE ? &operand->value : &values[operand->parameter];
}

/* The operand's bytes by document/encode.h. Errors: MERLE_TOO_BIG; *out_size is 0 then. */
MERLE_MUST_USE merle_err mrl_operand_encode(const mrl_operand *operand, const merle_value *values,
                                            int descending, uint8_t *out, size_t out_max,
                                            size_t *out_size);

/* ---- asking ---- */

#define MRL_OFFSET_UNKNOWN UINT32_MAX

/* A document under test. offsets, if not NULL, has for each path of the condition where its value
 * is: 0 where there is none, MRL_OFFSET_UNKNOWN where nobody has looked yet. */
typedef struct mrl_condition_subject {
    const uint8_t *doc;
    size_t size;
    const uint32_t *offsets;
    const merle_value *values; /* bound */
} mrl_condition_subject;

/* Whether the document meets the node, which belongs to the condition: its root, or a term. */
int mrl_condition_test(const merle_condition *condition, const mrl_condition_node *node,
                       const mrl_condition_subject *subject);

/* ---- ranges ---- */

/* A run of ascending encodings: those from `from` on (without it if from_open) up to the last one
 * that begins with `to` (without those that begin with it if to_open). */
typedef struct mrl_bounds {
    size_t from_size;
    size_t to_size;
    uint8_t from_open;
    uint8_t to_open;
    uint8_t is_empty; /* no value can be inside; the sizes are 0 */
    uint8_t from[MERLE_VALUE_SIZE_MAX];
    uint8_t to[MERLE_VALUE_SIZE_MAX];
} mrl_bounds;

/* The values that meet a COMPARE (but NE), BETWEEN or PREFIX, or an IN of one operand, without a
 * look at its negation: a value that can be encoded meets the leaf exactly if its encoding is
 * inside. What cannot be encoded (and what is missing) meets none of them. With `each`, all of this
 * is about a single element. The bounds never leave the operand's own class, so they meet neither
 * the missing ones that an index may list first or last, nor values of another type.
 * Errors: MERLE_UNSUPPORTED (another kind of leaf, or a comparison with nil, which indexes take for
 * missing), MERLE_TOO_BIG. */
MERLE_MUST_USE merle_err mrl_condition_bounds(const mrl_condition_node *leaf,
                                              const merle_value *values, mrl_bounds *out_bounds);
/* Whether an encoding is inside. */
int mrl_bounds_have(const mrl_bounds *bounds, const uint8_t *encoded, size_t size);

#endif
