/* document/condition.c - finished conditions: made of pieces, in one piece of memory.
 *
 * The pieces know how many nodes, operands and bytes there are at most, so that one allocation is
 * enough. Leaves are first visited in the order of the text: parameters are numbered by it. Then
 * the paths are sorted, so that each stands once. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/report.h"
#include "document/condition_private.h"
#include "document/encode.h"
#include "document/order.h"

/* A leaf and its path, until it is known which number the path gets. */
typedef struct leaf_path {
    mrl_path *path;
    mrl_condition_node *node;
} leaf_path;

/* The block is a merle_condition, then room for each of these. */
typedef struct maker {
    merle_condition *condition;
    mrl_condition_node *nodes;
    mrl_operand *operands;
    mrl_parameter *parameters;
    mrl_path **paths;
    uint8_t *bytes;
    uint32_t node_count;
    uint32_t operand_count;
    uint32_t leaf_count;
    leaf_path *leaves;
    merle_err err; /* why it cannot be, with its reason */
    const char *reason;
} maker;

/* ---- parameters ---- */

static int starts_with_digit(merle_bytes name) {
    uint8_t first = *(const uint8_t *)name.data;
    return first >= '0' && first <= '9';
}

static uint32_t parameter_numbered(maker *m, merle_bytes name) {
    const uint8_t *at = name.data;
    uint32_t number = 0;
    for (size_t i = 0; i < name.size; i++) number = number * 10 + (uint32_t)(at[i] - '0');
    if (number > m->condition->parameter_count) m->condition->parameter_count = number;
    return number - 1;
}

static uint32_t parameter_named(maker *m, merle_bytes name) {
    merle_condition *c = m->condition;
    for (uint32_t i = 0; i < c->parameter_count; i++) {
        const char *known = m->parameters[i].name;
        if (strlen(known) == name.size && memcmp(known, name.data, name.size) == 0) return i;
    }
    if (c->parameter_count == MERLE_CONDITION_PARAMETER_COUNT_MAX) {
        m->err = MERLE_TOO_BIG;
        m->reason = "it has more than 256 parameters";
        return MRL_PARAMETER_NONE;
    }
    memcpy(m->bytes, name.data, name.size);
    m->bytes[name.size] = 0;
    m->parameters[c->parameter_count].name = (const char *)m->bytes;
    m->bytes += name.size + 1;
    return c->parameter_count++;
}

/* Gives MRL_PARAMETER_NONE and a reason if the condition cannot have it. */
static uint32_t parameter_of(maker *m, merle_bytes name, mrl_condition_kind kind) {
    int is_numbered = starts_with_digit(name);
    uint32_t before = m->condition->parameter_count;
    int were_numbered = before > 0 && m->parameters[before - 1].name == NULL;
    if (before > 0 && is_numbered != were_numbered) {
        m->err = MERLE_INVALID;
        m->reason = "some of its parameters have numbers and some have names";
        return MRL_PARAMETER_NONE;
    }
    uint32_t number = is_numbered ? parameter_numbered(m, name) : parameter_named(m, name);
    if (number == MRL_PARAMETER_NONE) return number;
    m->parameters[number].is_used = 1;
    if (kind == MRL_CONDITION_PREFIX) m->parameters[number].is_prefix = 1;
    return number;
}

/* ---- operands ---- */

static int operand_fill(maker *m, const merle_value *value, mrl_condition_kind kind,
                        mrl_operand *out_operand) {
    memset(out_operand, 0, sizeof(*out_operand));
    if (value->type == MERLE_TYPE_NONE) {
        out_operand->parameter = parameter_of(m, value->bytes, kind);
        return out_operand->parameter != MRL_PARAMETER_NONE;
    }
    out_operand->value = *value;
    out_operand->parameter = MRL_PARAMETER_NONE;
    if (value->bytes.size > 0) memcpy(m->bytes, value->bytes.data, value->bytes.size);
    out_operand->value.bytes.data = m->bytes;
    m->bytes += value->bytes.size;
    return 1;
}

/* Literals by their values, then parameters by their numbers, which is the order of the text: so
 * the numbers stay the same if the canonical text is parsed. */
static int operand_order(const void *left, const void *right) {
    const mrl_operand *one = left, *other = right;
    int literal = one->parameter == MRL_PARAMETER_NONE;
    if (literal != (other->parameter == MRL_PARAMETER_NONE)) return literal ? -1 : 1;
    if (literal) return mrl_value_order(&one->value, &other->value);
    return (one->parameter > other->parameter) - (one->parameter < other->parameter);
}

static void operands_sort(mrl_operand *operands, mrl_condition_node *node) {
    uint32_t count = 0;
    qsort(operands, node->operand_count, sizeof(*operands), operand_order);
    for (uint32_t i = 0; i < node->operand_count; i++) {
        if (count > 0 && operand_order(&operands[count - 1], &operands[i]) == 0) continue;
        operands[count++] = operands[i];
        if (operands[i].parameter == MRL_PARAMETER_NONE) node->sorted_count = count;
    }
    node->operand_count = count;
    if (count != 1) return;
    if (node->each) {
        node->kind = MRL_CONDITION_IN;
        return;
    }
    node->kind = MRL_CONDITION_COMPARE;
    node->compare = MERLE_EQ;
    node->sorted_count = 0;
}

/* ---- nodes ---- */

static int leaf_fill(maker *m, merle_where *where, mrl_condition_node *node) {
    mrl_operand *operands = m->operands + m->operand_count;
    node->kind = where->kind;
    node->negated = where->negated;
    node->each = where->each;
    node->operands = operands;
    node->operand_count = where->value_count;
    if (where->kind == MRL_CONDITION_COMPARE) node->compare = where->compare;
    for (uint32_t i = 0; i < where->value_count; i++)
        if (!operand_fill(m, &where->values[i], where->kind, &operands[i])) return 0;
    if (where->each && where->kind == MRL_CONDITION_COMPARE && where->compare == MERLE_EQ) {
        node->kind = MRL_CONDITION_IN;
        node->compare = 0;
    }
    if (node->kind == MRL_CONDITION_IN || node->kind == MRL_CONDITION_ALL)
        operands_sort(operands, node);
    m->operand_count += node->operand_count;
    m->leaves[m->leaf_count].path = where->path;
    m->leaves[m->leaf_count++].node = node;
    return 1;
}

/* Children get their places in a row before any of them is filled. */
static int node_fill(maker *m, merle_where *where, mrl_condition_node *node) {
    memset(node, 0, sizeof(*node));
    if (where->first == NULL) return leaf_fill(m, where, node);
    mrl_condition_node *children = m->nodes + m->node_count;
    node->kind = where->kind;
    node->children = children;
    for (merle_where *child = where->first; child != NULL; child = child->next) node->child_count++;
    m->node_count += node->child_count;
    merle_where *child = where->first;
    for (uint32_t i = 0; i < node->child_count; i++, child = child->next)
        if (!node_fill(m, child, &children[i])) return 0;
    return 1;
}

static int leaf_order(const void *left, const void *right) {
    const leaf_path *one = left, *other = right;
    return mrl_path_order(one->path, other->path);
}

/* From here on the condition owns the paths, those that stand twice are freed. */
static void paths_take(maker *m) {
    merle_condition *c = m->condition;
    qsort(m->leaves, m->leaf_count, sizeof(*m->leaves), leaf_order);
    for (uint32_t i = 0; i < m->leaf_count; i++) {
        mrl_path *path = m->leaves[i].path;
        if (c->path_count > 0 && mrl_path_order(m->paths[c->path_count - 1], path) == 0)
            mrl_path_destroy(path);
        else
            m->paths[c->path_count++] = path;
        m->leaves[i].node->path_number = c->path_count - 1;
    }
}

static void paths_forget(merle_where *where) {
    where->path = NULL;
    for (merle_where *child = where->first; child != NULL; child = child->next) paths_forget(child);
}

/* ---- made of pieces ---- */

static uint32_t parameter_room(const merle_where *where) {
    /* Numbers may leave gaps, so the number of operands says little. */
    return where->operand_count == 0 ? 0 : MERLE_CONDITION_PARAMETER_COUNT_MAX;
}

static merle_err maker_init(maker *m, const merle_where *where) {
    size_t nodes_size = where->node_count * sizeof(mrl_condition_node);
    size_t operands_size = where->operand_count * sizeof(mrl_operand);
    size_t parameters_size = parameter_room(where) * sizeof(mrl_parameter);
    size_t paths_size = where->leaf_count * sizeof(mrl_path *);
    memset(m, 0, sizeof(*m));
    m->leaves = mrl_allocate(where->leaf_count * sizeof(*m->leaves));
    if (m->leaves == NULL) return MERLE_NO_MEMORY;
    uint8_t *block = mrl_allocate(sizeof(merle_condition) + nodes_size + operands_size +
                                  parameters_size + paths_size + where->bytes_size);
    if (block == NULL) {
        free(m->leaves);
        return MERLE_NO_MEMORY;
    }
    m->condition = (merle_condition *)block;
    block += sizeof(merle_condition);
    m->nodes = (mrl_condition_node *)block;
    block += nodes_size;
    m->operands = (mrl_operand *)block;
    block += operands_size;
    m->parameters = (mrl_parameter *)block;
    block += parameters_size;
    m->paths = (mrl_path **)block;
    m->bytes = block + paths_size;
    memset(m->condition, 0, sizeof(*m->condition));
    memset(m->parameters, 0, parameters_size);
    m->condition->root = m->nodes;
    m->condition->parameters = m->parameters;
    m->condition->paths = m->paths;
    return MERLE_OK;
}

static merle_err make(merle_where *where, merle_condition **out_condition,
                      const char **out_reason) {
    maker m;
    *out_reason = "no memory is left";
    if (where == NULL) return MERLE_NO_MEMORY;
    *out_reason = where->reason;
    if (where->kind == MRL_CONDITION_WRONG) return where->err;
    *out_reason = "no memory is left";
    merle_err err = maker_init(&m, where);
    if (err != MERLE_OK) return err;
    m.node_count = 1;
    if (!node_fill(&m, where, m.nodes)) {
        *out_reason = m.reason;
        free(m.condition);
        free(m.leaves);
        return m.err;
    }
    MRL_ASSERT(m.node_count == where->node_count && m.leaf_count == where->leaf_count);
    m.condition->node_count = m.node_count;
    paths_take(&m);
    paths_forget(where);
    free(m.leaves);
    *out_condition = m.condition;
    return MERLE_OK;
}

merle_err merle_condition_create(merle_where *where, merle_condition **out_condition,
                                 merle_report *report) {
    const char *reason;
    *out_condition = NULL;
    merle_err err = make(where, out_condition, &reason);
    if (err != MERLE_OK) {
        const char *path = where == NULL ? "" : where->wrong_path;
        if (path[0] != 0)
            mrl_report_fill(report, err, "The condition on \"%s\" is wrong: %s.", path, reason);
        else
            mrl_report_fill(report, err, "The condition is wrong: %s.", reason);
        mrl_report_path(report, path);
    }
    merle_where_destroy(where);
    return err;
}

void merle_condition_destroy(merle_condition *condition) {
    if (condition == NULL) return;
    for (uint32_t i = 0; i < condition->path_count; i++) mrl_path_destroy(condition->paths[i]);
    free(condition);
}

/* ---- parameters from outside ---- */

size_t merle_condition_parameter_count(const merle_condition *condition) {
    return condition->parameter_count;
}

merle_err merle_condition_parameter(const merle_condition *condition, const char *name,
                                    size_t *out_number) {
    *out_number = 0;
    for (uint32_t i = 0; i < condition->parameter_count; i++) {
        const char *known = condition->parameters[i].name;
        if (known == NULL || strcmp(known, name) != 0) continue;
        *out_number = i;
        return MERLE_OK;
    }
    return MERLE_NOT_FOUND;
}
