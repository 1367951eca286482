/* query/tagging.c - terms that are about tags alone, as one expression of tags/algebra.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "document/encode.h"
#include "query/query_private.h"
#include "tags/tags.h"

/* Levels of the condition; each becomes at most one of the expression, and a leaf three. */
enum { DEPTH_MAX = MRL_TAGS_DEPTH_MAX - 5 };

typedef struct tagging {
    mrl_planner *planner;
    const mrl_terms *terms;
    const mrl_schema_index *only; /* NULL: any */
} tagging;

static const mrl_schema_index *index_of(const tagging *t, const mrl_condition_node *leaf) {
    const mrl_schema *schema = t->planner->view->schema;
    for (uint32_t i = 0; i < schema->index_count; i++) {
        const mrl_schema_index *index = &schema->indexes[i];
        if (!mrl_index_has_tags(index) || (t->only != NULL && t->only != index)) continue;
        if (t->planner->condition_path[index->parts[0].path] != leaf->path_number) continue;
        if (mrl_index_is_ready(index)) return index;
    }
    return NULL;
}

/* An index lists no nil. */
static int leaf_fits(const tagging *t, const mrl_condition_node *leaf) {
    if (!leaf->each || (leaf->kind != MRL_CONDITION_IN && leaf->kind != MRL_CONDITION_ALL))
        return 0;
    for (uint32_t i = 0; i < leaf->operand_count; i++)
        if (mrl_operand_value(&leaf->operands[i], t->terms->values)->type == MERLE_TYPE_NIL)
            return 0;
    return index_of(t, leaf) != NULL;
}

static int node_fits(const tagging *t, const mrl_condition_node *node, uint32_t depth) {
    if (node->child_count == 0) return leaf_fits(t, node);
    if (depth == DEPTH_MAX) return 0;
    for (uint32_t i = 0; i < node->child_count; i++)
        if (!node_fits(t, &node->children[i], depth + 1)) return 0;
    return 1;
}

static mrl_tags_expr *exprs_take(const tagging *t, uint32_t count) {
    mrl_tags_expr *exprs = mrl_pool_take(t->planner->pool, (count + 1) * sizeof *exprs);
    if (exprs == NULL) t->planner->err = MERLE_NO_MEMORY;
    return exprs;
}

static void set_group(mrl_tags_expr *expr, mrl_tags_op op, const mrl_tags_expr *children,
                      uint32_t count) {
    expr->op = op;
    expr->tag = NULL;
    expr->children = children;
    expr->child_count = count;
}

/* A tag too long to be encoded is one that nobody has. */
static const mrl_tag *tag_of(const tagging *t, const mrl_schema_index *index,
                             const mrl_operand *operand) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    size_t size;
    if (mrl_operand_encode(operand, t->terms->values, 0, encoded, sizeof encoded, &size) !=
        MERLE_OK)
        return NULL;
    return mrl_tags_find(t->planner->view->root->indexes[index->number].tags,
                         merle_bytes_of(encoded, size));
}

static int leaf_make(const tagging *t, const mrl_condition_node *leaf, mrl_tags_expr *out) {
    const mrl_schema_index *index = index_of(t, leaf);
    mrl_tags_expr *tags = exprs_take(t, leaf->operand_count);
    if (tags == NULL) return 0;
    for (uint32_t i = 0; i < leaf->operand_count; i++) {
        set_group(&tags[i], MRL_TAGS_TAG, NULL, 0);
        tags[i].tag = tag_of(t, index, &leaf->operands[i]);
    }
    if (leaf->kind == MRL_CONDITION_ALL && leaf->negated) {
        mrl_tags_expr *all = exprs_take(t, 1);
        if (all == NULL) return 0;
        set_group(all, MRL_TAGS_ALL, tags, leaf->operand_count);
        set_group(out, MRL_TAGS_NONE, all, 1);
    } else if (leaf->kind == MRL_CONDITION_ALL) {
        set_group(out, MRL_TAGS_ALL, tags, leaf->operand_count);
    } else if (leaf->negated) {
        set_group(out, MRL_TAGS_NONE, tags, leaf->operand_count);
    } else if (leaf->operand_count == 1) {
        *out = tags[0];
    } else {
        set_group(out, MRL_TAGS_ANY, tags, leaf->operand_count);
    }
    return 1;
}

static int node_make(const tagging *t, const mrl_condition_node *node, mrl_tags_expr *out) {
    if (node->child_count == 0) return leaf_make(t, node, out);
    mrl_tags_expr *children = exprs_take(t, node->child_count);
    if (children == NULL) return 0;
    for (uint32_t i = 0; i < node->child_count; i++)
        if (!node_make(t, &node->children[i], &children[i])) return 0;
    set_group(out, node->kind == MRL_CONDITION_AND ? MRL_TAGS_ALL : MRL_TAGS_ANY, children,
              node->child_count);
    return 1;
}

int mrl_tagging_of(mrl_planner *planner, const mrl_terms *terms, const mrl_schema_index *only,
                   mrl_drive *out_drive) {
    const tagging t = {planner, terms, only};
    uint32_t count = 0;
    memset(out_drive, 0, sizeof *out_drive);
    for (uint32_t i = 0; i < terms->count; i++)
        count += (uint32_t)node_fits(&t, &terms->list[i], 0);
    if (count == 0) return 0;
    mrl_tags_expr *exprs = exprs_take(&t, count + 1);
    if (exprs == NULL) return 0;
    set_group(&exprs[0], MRL_TAGS_ALL, exprs + 1, count);
    count = 0;
    for (uint32_t i = 0; i < terms->count; i++) {
        if (!node_fits(&t, &terms->list[i], 0)) continue;
        if (!node_make(&t, &terms->list[i], &exprs[++count])) return 0;
        out_drive->terms |= mrl_term_bit(i);
    }
    out_drive->kind = MRL_DRIVE_TAGS;
    out_drive->index = only;
    out_drive->expr = count == 1 ? &exprs[1] : &exprs[0];
    out_drive->estimate = mrl_tags_estimate(out_drive->expr, planner->slot_end);
    if (mrl_tagging_is_never(out_drive->expr)) out_drive->kind = MRL_DRIVE_NOTHING;
    return 1;
}

int mrl_tagging_is_never(const mrl_tags_expr *expr) {
    if (expr->op == MRL_TAGS_TAG) return expr->tag == NULL;
    if (expr->op == MRL_TAGS_NONE) return 0;
    int is_any = expr->op == MRL_TAGS_ANY;
    for (uint32_t i = 0; i < expr->child_count; i++)
        if (mrl_tagging_is_never(&expr->children[i]) != is_any) return !is_any;
    return is_any;
}
