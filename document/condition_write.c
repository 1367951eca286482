/* document/condition_write.c - conditions as text, in one canonical form.
 *
 * Every blank, quote and parenthesis has its one place, negations stand at the leaves, lists are
 * sorted. So two conditions that differ only in their spelling have the same text.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "document/condition_parse.h"
#include "document/lexer.h"
#include "document/literal.h"

/* The first error sticks, and what follows it is not written. */
typedef struct writer {
    const merle_condition *condition;
    merle_buffer *out;
    merle_err err;
} writer;

static void put(writer *w, const void *data, size_t size) {
    if (w->err == MERLE_OK) w->err = mrl_buffer_append(w->out, data, size);
}

static void put_text(writer *w, const char *text) {
    put(w, text, strlen(text));
}

/* ---- paths ---- */

static void put_quoted_name(writer *w, const uint8_t *name, uint32_t size) {
    put_text(w, "\"");
    for (uint32_t i = 0; i < size; i++) {
        if (name[i] == '"' || name[i] == '\\') put_text(w, "\\");
        put(w, &name[i], 1);
    }
    put_text(w, "\"");
}

/* A keyword is one only where it stands alone. */
static void put_name(writer *w, const mrl_step *step, int is_alone) {
    int is_bare = mrl_name_is_bare(step->key, step->key_size);
    if (is_bare && is_alone && mrl_keyword_is_one(step->key, step->key_size)) is_bare = 0;
    if (is_bare)
        put(w, step->key, step->key_size);
    else
        put_quoted_name(w, step->key, step->key_size);
}

static void put_path(writer *w, const mrl_path *path) {
    uint32_t count;
    const mrl_step *steps = mrl_path_steps(path, &count);
    for (uint32_t i = 0; i < count; i++) {
        char index[24];
        if (steps[i].key == NULL) {
            snprintf(index, sizeof(index), "[%lld]", (long long)steps[i].index);
            put_text(w, index);
            continue;
        }
        if (i > 0) put_text(w, ".");
        put_name(w, &steps[i], count == 1);
    }
}

/* ---- operands ---- */

static void put_operand(writer *w, const mrl_operand *operand) {
    char text[80];
    if (operand->parameter == MRL_PARAMETER_NONE) {
        if (w->err == MERLE_OK) w->err = mrl_literal_write(&operand->value, w->out);
        return;
    }
    const char *name = w->condition->parameters[operand->parameter].name;
    if (name != NULL)
        snprintf(text, sizeof(text), "$%s", name);
    else
        snprintf(text, sizeof(text), "$%u", operand->parameter + 1);
    put_text(w, text);
}

static void put_list(writer *w, const mrl_condition_node *leaf) {
    put_text(w, "(");
    for (uint32_t i = 0; i < leaf->operand_count; i++) {
        if (i > 0) put_text(w, ", ");
        put_operand(w, &leaf->operands[i]);
    }
    put_text(w, ")");
}

/* ---- leaves ---- */

/* `path: ...`; an IN that is negated has a word of its own, an ALL needs `not`. */
static void put_tags(writer *w, const mrl_condition_node *leaf) {
    if (leaf->negated && leaf->kind == MRL_CONDITION_ALL) put_text(w, "not ");
    put_path(w, mrl_condition_path(w->condition, leaf));
    put_text(w, ": ");
    if (leaf->kind == MRL_CONDITION_IN && leaf->operand_count == 1 && !leaf->negated) {
        put_operand(w, &leaf->operands[0]);
        return;
    }
    put_text(w, leaf->kind == MRL_CONDITION_ALL ? "all" : leaf->negated ? "none" : "any");
    put_list(w, leaf);
}

/* What follows the path; `negated` only where it can stand there. */
static void put_relation(writer *w, const mrl_condition_node *leaf, int negated) {
    static const char *const marks[] = {
        [MERLE_EQ] = " = ",  [MERLE_NE] = " != ", [MERLE_LT] = " < ",
        [MERLE_LE] = " <= ", [MERLE_GT] = " > ",  [MERLE_GE] = " >= ",
    };
    if (leaf->kind == MRL_CONDITION_COMPARE) {
        put_text(w, marks[negated ? MERLE_NE : leaf->compare]);
        put_operand(w, &leaf->operands[0]);
        return;
    }
    if (negated) put_text(w, " not");
    if (leaf->kind == MRL_CONDITION_IN) {
        put_text(w, " in ");
        put_list(w, leaf);
        return;
    }
    put_text(w, leaf->kind == MRL_CONDITION_BETWEEN ? " between " : " starts with ");
    put_operand(w, &leaf->operands[0]);
    if (leaf->kind == MRL_CONDITION_PREFIX) return;
    put_text(w, " and ");
    put_operand(w, &leaf->operands[1]);
}

static void put_leaf(writer *w, const mrl_condition_node *leaf) {
    if (leaf->each && (leaf->kind == MRL_CONDITION_IN || leaf->kind == MRL_CONDITION_ALL)) {
        put_tags(w, leaf);
        return;
    }
    int is_order = leaf->kind == MRL_CONDITION_COMPARE && leaf->compare != MERLE_EQ;
    int is_inside = !leaf->each && !is_order && leaf->kind != MRL_CONDITION_EXISTS;
    if (leaf->negated && !is_inside) put_text(w, "not ");
    if (leaf->kind == MRL_CONDITION_EXISTS) put_text(w, "exists(");
    if (leaf->each) put_text(w, "any ");
    put_path(w, mrl_condition_path(w->condition, leaf));
    if (leaf->kind == MRL_CONDITION_EXISTS)
        put_text(w, ")");
    else
        put_relation(w, leaf, leaf->negated && is_inside);
}

/* ---- the tree ---- */

static void put_node(writer *w, const mrl_condition_node *node) {
    if (node->child_count == 0) {
        put_leaf(w, node);
        return;
    }
    int is_and = node->kind == MRL_CONDITION_AND;
    for (uint32_t i = 0; i < node->child_count; i++) {
        const mrl_condition_node *child = &node->children[i];
        /* Inside an and every child with children is an or, which binds less. */
        int in_brackets = is_and && child->child_count > 0;
        if (i > 0) put_text(w, is_and ? " and " : " or ");
        if (in_brackets) put_text(w, "(");
        put_node(w, child);
        if (in_brackets) put_text(w, ")");
    }
}

merle_err mrl_condition_write_node(const merle_condition *condition, const mrl_condition_node *node,
                                   merle_buffer *out_text) {
    writer w = {condition, out_text, MERLE_OK};
    out_text->size = 0;
    put_node(&w, node);
    if (w.err != MERLE_OK) out_text->size = 0;
    return w.err;
}

merle_err merle_condition_write(const merle_condition *condition, merle_buffer *out_text) {
    return mrl_condition_write_node(condition, condition->root, out_text);
}
