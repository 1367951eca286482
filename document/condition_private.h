/* document/condition_private.h - conditions while they are being put together.
 *
 * What    pieces: heap nodes, each the owner of its children, its path and its operands' bytes.
 * Sees    a piece is always in the form of a finished condition: negations at the leaves, no AND
 *         directly inside an AND, no OR directly inside an OR.
 * Threads owner only.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DOCUMENT_CONDITION_PRIVATE_H
#define MRL_DOCUMENT_CONDITION_PRIVATE_H

#include "document/condition.h"

#define MRL_PARAMETER_NAME_SIZE_MAX 63u

/* What a leaf is made of. Its path and values are borrowed. */
typedef struct mrl_leaf {
    mrl_condition_kind kind;
    merle_compare compare;
    uint8_t negated;
    uint8_t each;
    const char *path;
    size_t path_size;
    const merle_value *values; /* parameters have type NONE and their name as bytes */
    size_t value_count;
} mrl_leaf;

struct merle_where {
    mrl_condition_kind kind;
    merle_compare compare;
    uint8_t negated;
    uint8_t each;
    merle_err err;       /* of a WRONG one, else MERLE_OK */
    const char *reason;  /* of a WRONG one */
    uint32_t depth;      /* of ands and ors inside one another; 0 for a leaf */
    uint32_t node_count; /* of this one and all below it, as all counts here */
    uint32_t leaf_count;
    uint32_t operand_count;
    size_t bytes_size; /* what the operands' bytes and names take */
    merle_where *first;
    merle_where *last;
    merle_where *next;
    mrl_path *path;
    char wrong_path[64]; /* of a WRONG one: as much of its path as fits */
    uint32_t value_count;
    merle_value values[]; /* a leaf's own; their bytes lie behind them */
};

/* A leaf; a WRONG piece if it cannot be, NULL without memory. */
merle_where *mrl_where_leaf(const mrl_leaf *leaf);
/* Whether a leaf of this kind can have the value: MERLE_OK, or an error and its reason. */
merle_err mrl_where_value_problem(const merle_value *value, mrl_condition_kind kind,
                                  const char **out_reason);
/* An AND or OR of two pieces, which are consumed. */
merle_where *mrl_where_join(mrl_condition_kind kind, merle_where *left, merle_where *right);

#endif
