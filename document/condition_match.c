/* document/condition_match.c - is a condition true of a document?
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/report.h"
#include "document/condition.h"
#include "document/encode.h"
#include "document/order.h"
#include "document/scan.h"

/* ---- values ---- */

static merle_err bind_refuse(const merle_condition *condition, size_t number, merle_err err,
                             const char *reason, merle_report *report) {
    const char *name = condition->parameters[number].name;
    char digits[24];
    if (report == NULL) return err;
    snprintf(digits, sizeof(digits), "%zu", number + 1);
    return mrl_report_fill(report, err, "The parameter $%s of the condition %s.",
                           name == NULL ? digits : name, reason);
}

static merle_err bind_one(const merle_condition *condition, size_t number, const merle_value *value,
                          merle_report *report) {
    mrl_class class = mrl_value_class(value->type);
    if (value->type == MERLE_TYPE_NONE)
        return bind_refuse(condition, number, MERLE_INVALID, "has no value", report);
    if (class == MRL_CLASS_NONE)
        return bind_refuse(condition, number, MERLE_TYPE,
                           "is an array, a map or an extension, which compare with nothing",
                           report);
    if (class == MRL_CLASS_TIME && value->count > MRL_NANOSECONDS_MAX)
        return bind_refuse(condition, number, MERLE_INVALID,
                           "is a time of more than 999,999,999 nanoseconds", report);
    if (condition->parameters[number].is_prefix && class != MRL_CLASS_STR && class != MRL_CLASS_BIN)
        return bind_refuse(condition, number, MERLE_TYPE,
                           "is what something begins with, but no string or binary", report);
    return MERLE_OK;
}

merle_err mrl_condition_bind(const merle_condition *condition, const merle_value *values,
                             size_t value_count, merle_report *report) {
    for (size_t i = 0; i < condition->parameter_count; i++) {
        if (!condition->parameters[i].is_used) continue;
        if (i >= value_count)
            return bind_refuse(condition, i, MERLE_INVALID, "has no value", report);
        merle_err err = bind_one(condition, i, &values[i], report);
        if (err != MERLE_OK) return err;
    }
    return MERLE_OK;
}

merle_err mrl_operand_encode(const mrl_operand *operand, const merle_value *values, int descending,
                             uint8_t *out, size_t out_max, size_t *out_size) {
    return mrl_encode_value(mrl_operand_value(operand, values), descending, out, out_max, out_size);
}

/* ---- one value ---- */

/* What a leaf is asked with: the node, and what its parameters are bound to. */
typedef struct question {
    const mrl_condition_node *leaf;
    const merle_value *values;
} question;

static int compares(const question *q, const merle_value *value) {
    const merle_value *operand = mrl_operand_value(&q->leaf->operands[0], q->values);
    if (mrl_value_class(value->type) != mrl_value_class(operand->type))
        return q->leaf->compare == MERLE_NE;
    int order = mrl_value_order(value, operand);
    switch (q->leaf->compare) {
    case MERLE_EQ:
        return order == 0;
    case MERLE_NE:
        return order != 0;
    case MERLE_LT:
        return order < 0;
    case MERLE_LE:
        return order <= 0;
    case MERLE_GT:
        return order > 0;
    case MERLE_GE:
        return order >= 0;
    }
    return 0;
}

static int is_between(const question *q, const merle_value *value) {
    const merle_value *low = mrl_operand_value(&q->leaf->operands[0], q->values);
    const merle_value *high = mrl_operand_value(&q->leaf->operands[1], q->values);
    mrl_class class = mrl_value_class(value->type);
    if (class != mrl_value_class(low->type) || class != mrl_value_class(high->type)) return 0;
    return mrl_value_order(value, low) >= 0 && mrl_value_order(value, high) <= 0;
}

/* Which of the literals the value is equal to, or sorted_count. */
static uint32_t literal_equal(const mrl_condition_node *leaf, const merle_value *value) {
    uint32_t low = 0, high = leaf->sorted_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = mrl_value_order(&leaf->operands[middle].value, value);
        if (order == 0) return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return leaf->sorted_count;
}

static int is_in(const question *q, const merle_value *value) {
    const mrl_condition_node *leaf = q->leaf;
    if (literal_equal(leaf, value) < leaf->sorted_count) return 1;
    for (uint32_t i = leaf->sorted_count; i < leaf->operand_count; i++)
        if (mrl_value_order(&q->values[leaf->operands[i].parameter], value) == 0) return 1;
    return 0;
}

static int begins(const question *q, const merle_value *value) {
    const merle_value *prefix = mrl_operand_value(&q->leaf->operands[0], q->values);
    if (value->type != prefix->type || value->bytes.size < prefix->bytes.size) return 0;
    return prefix->bytes.size == 0 ||
           memcmp(value->bytes.data, prefix->bytes.data, prefix->bytes.size) == 0;
}

/* Reads a value that compares with others; 0 if it does not. Containers are left out before anybody
 * walks over all of them. */
static int read_scalar(const uint8_t *at, merle_value *out_value) {
    const uint8_t *first;
    uint32_t count;
    if (mrl_scan_container(at, &first, &count) != MERLE_TYPE_NONE) return 0;
    mrl_scan_value(at, out_value);
    return out_value->type != MERLE_TYPE_EXT;
}

static int is_met_by(const question *q, const uint8_t *at) {
    merle_value value;
    if (!read_scalar(at, &value))
        return q->leaf->kind == MRL_CONDITION_COMPARE && q->leaf->compare == MERLE_NE;
    switch (q->leaf->kind) {
    case MRL_CONDITION_COMPARE:
        return compares(q, &value);
    case MRL_CONDITION_BETWEEN:
        return is_between(q, &value);
    case MRL_CONDITION_IN:
        return is_in(q, &value);
    default:
        MRL_DEBUG_ASSERT(q->leaf->kind == MRL_CONDITION_PREFIX);
        return begins(q, &value);
    }
}

/* ---- elements ---- */

/* What is no array is its own only element. */
static uint32_t elements_of(const uint8_t *at, const uint8_t **out_first) {
    uint32_t count;
    if (mrl_scan_container(at, out_first, &count) == MERLE_TYPE_ARRAY) return count;
    *out_first = at;
    return 1;
}

static int is_met_by_element(const question *q, const uint8_t *at) {
    uint32_t count = elements_of(at, &at);
    for (; count > 0; count--, at = mrl_scan_skip(at))
        if (is_met_by(q, at)) return 1;
    return 0;
}

#define MARK_BITS 64u

/* Which operands have met their element. */
typedef struct marks {
    uint32_t left; /* how many have not */
    uint64_t words[MERLE_CONDITION_LIST_COUNT_MAX / MARK_BITS];
} marks;

static void mark(marks *m, uint32_t operand) {
    uint64_t *word = &m->words[operand / MARK_BITS];
    uint64_t bit = (uint64_t)1 << operand % MARK_BITS;
    if ((*word & bit) == 0) m->left--;
    *word |= bit;
}

/* In one pass over the elements: asking for each operand by itself would cost the product of two
 * counts, both of which a stranger may have chosen. */
static int has_all(const question *q, const uint8_t *at) {
    const mrl_condition_node *leaf = q->leaf;
    marks m;
    uint32_t count = elements_of(at, &at);
    m.left = leaf->operand_count;
    /* Two parameters may have one value, but two literals do not. */
    if (leaf->sorted_count > count) return 0;
    memset(m.words, 0, (leaf->operand_count + MARK_BITS - 1) / MARK_BITS * sizeof(m.words[0]));
    for (; count > 0 && m.left > 0; count--, at = mrl_scan_skip(at)) {
        merle_value value;
        if (!read_scalar(at, &value)) continue;
        uint32_t literal = literal_equal(leaf, &value);
        if (literal < leaf->sorted_count) mark(&m, literal);
        for (uint32_t i = leaf->sorted_count; i < leaf->operand_count; i++)
            if (mrl_value_order(&q->values[leaf->operands[i].parameter], &value) == 0) mark(&m, i);
    }
    return m.left == 0;
}

/* ---- the tree ---- */

static const uint8_t *locate(const merle_condition *condition, const mrl_condition_node *leaf,
                             const mrl_condition_subject *subject) {
    uint32_t offset = MRL_OFFSET_UNKNOWN;
    if (subject->offsets != NULL) offset = subject->offsets[leaf->path_number];
    if (offset == MRL_OFFSET_UNKNOWN)
        mrl_path_locate(condition->paths[leaf->path_number], subject->doc, subject->size, &offset);
    return offset == 0 ? NULL : subject->doc + offset;
}

static int leaf_holds(const mrl_condition_node *leaf, const uint8_t *at,
                      const merle_value *values) {
    const question q = {leaf, values};
    if (leaf->kind == MRL_CONDITION_EXISTS) return at != NULL;
    /* All of nothing is there even in a field that is missing. */
    if (at == NULL) return leaf->kind == MRL_CONDITION_ALL && leaf->operand_count == 0;
    if (leaf->kind == MRL_CONDITION_ALL) return has_all(&q, at);
    if (leaf->each) return is_met_by_element(&q, at);
    return is_met_by(&q, at);
}

int mrl_condition_test(const merle_condition *condition, const mrl_condition_node *node,
                       const mrl_condition_subject *subject) {
    int is_or = node->kind == MRL_CONDITION_OR;
    if (node->child_count == 0) {
        const uint8_t *at = locate(condition, node, subject);
        return leaf_holds(node, at, subject->values) != node->negated;
    }
    /* The first child that settles it is the last one asked. */
    for (uint32_t i = 0; i < node->child_count; i++)
        if (mrl_condition_test(condition, &node->children[i], subject) == is_or) return is_or;
    return !is_or;
}

merle_err merle_condition_match(const merle_condition *condition, merle_doc doc,
                                const merle_value *values, size_t value_count, int *out_matches) {
    *out_matches = 0;
    merle_err err = mrl_condition_bind(condition, values, value_count, NULL);
    if (err != MERLE_OK) return err;
    const mrl_condition_subject subject = {doc.data, doc.data == NULL ? 0 : doc.size, NULL, values};
    *out_matches = mrl_condition_test(condition, condition->root, &subject);
    return MERLE_OK;
}
