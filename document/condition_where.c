/* document/condition_where.c - pieces of conditions. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "document/condition_private.h"
#include "document/order.h"
#include "document/scan.h"
#include "document/utf8.h"

/* ---- wrong pieces ---- */

static merle_where *where_new(mrl_condition_kind kind, size_t value_count, size_t bytes_size) {
    size_t size = sizeof(merle_where) + value_count * sizeof(merle_value) + bytes_size;
    merle_where *where = mrl_allocate(size);
    if (where == NULL) return NULL;
    memset(where, 0, sizeof(*where));
    where->kind = kind;
    where->node_count = 1;
    return where;
}

static merle_where *wrong(merle_err err, const char *reason) {
    merle_where *where = where_new(MRL_CONDITION_WRONG, 0, 0);
    if (where == NULL) return NULL;
    where->err = err;
    where->reason = reason;
    return where;
}

static merle_where *wrong_at(const mrl_leaf *leaf, merle_err err, const char *reason) {
    merle_where *where = wrong(err, reason);
    if (where == NULL) return NULL;
    size_t size = leaf->path_size;
    if (size >= sizeof(where->wrong_path)) size = sizeof(where->wrong_path) - 1;
    if (size > 0) memcpy(where->wrong_path, leaf->path, size);
    return where;
}

/* Goes down as deep as pieces can be: MERLE_CONDITION_DEPTH_MAX. */
void merle_where_destroy(merle_where *part) {
    if (part == NULL) return;
    for (merle_where *child = part->first, *next; child != NULL; child = next) {
        next = child->next;
        merle_where_destroy(child);
    }
    mrl_path_destroy(part->path);
    free(part);
}

/* ---- leaves ---- */

static const char *name_problem(merle_bytes name) {
    static const char reason[] =
        "a parameter's name is no number from 1 to 256 and not made of "
        "letters, digits and _";
    const uint8_t *at = name.data;
    uint32_t number = 0;
    int digits = 1;
    if (name.size == 0 || name.size > MRL_PARAMETER_NAME_SIZE_MAX) return reason;
    for (size_t i = 0; i < name.size; i++) {
        int is_digit = at[i] >= '0' && at[i] <= '9';
        uint8_t letter = at[i] | 0x20;
        if (!is_digit && at[i] != '_' && !(letter >= 'a' && letter <= 'z')) return reason;
        digits = digits && is_digit;
        number = is_digit && number <= MERLE_CONDITION_PARAMETER_COUNT_MAX
                     ? number * 10 + (uint32_t)(at[i] - '0')
                     : number;
    }
    if (!digits) return at[0] >= '0' && at[0] <= '9' ? reason : NULL;
    if (at[0] == '0' || number > MERLE_CONDITION_PARAMETER_COUNT_MAX) return reason;
    return NULL;
}

merle_err mrl_where_value_problem(const merle_value *value, mrl_condition_kind kind,
                                  const char **out_reason) {
    *out_reason = NULL;
    if (value->type == MERLE_TYPE_NONE) {
        *out_reason = value->bytes.size == 0 ? "a value is none" : name_problem(value->bytes);
        return *out_reason == NULL ? MERLE_OK : MERLE_INVALID;
    }
    mrl_class class = mrl_value_class(value->type);
    *out_reason = "arrays, maps and extensions compare with nothing";
    if (class == MRL_CLASS_NONE) return MERLE_TYPE;
    *out_reason = "only a string or a binary can be what something begins with";
    if (kind == MRL_CONDITION_PREFIX && class != MRL_CLASS_STR && class != MRL_CLASS_BIN)
        return MERLE_TYPE;
    *out_reason = "a string is no UTF-8";
    if (class == MRL_CLASS_STR && value->bytes.size > 0 &&
        !mrl_utf8_is_valid(value->bytes.data, value->bytes.size))
        return MERLE_INVALID;
    *out_reason = "a time has more than 999,999,999 nanoseconds";
    if (class == MRL_CLASS_TIME && value->count > MRL_NANOSECONDS_MAX) return MERLE_INVALID;
    *out_reason = NULL;
    return MERLE_OK;
}

/* All of the values' bytes; the limit keeps the sum from overflowing. */
static merle_err values_problem(const mrl_leaf *leaf, size_t *out_bytes_size,
                                const char **out_reason) {
    size_t size = 0;
    *out_reason = "a list has more than 4,096 values";
    if (leaf->value_count > MERLE_CONDITION_LIST_COUNT_MAX) return MERLE_TOO_BIG;
    for (size_t i = 0; i < leaf->value_count; i++) {
        merle_err err = mrl_where_value_problem(&leaf->values[i], leaf->kind, out_reason);
        if (err != MERLE_OK) return err;
        size_t bytes_size = leaf->values[i].bytes.size;
        *out_reason = "its strings and binaries have more than 1 MiB";
        if (bytes_size > MERLE_CONDITION_BYTES_SIZE_MAX) return MERLE_TOO_BIG;
        size += bytes_size;
        if (size > MERLE_CONDITION_BYTES_SIZE_MAX) return MERLE_TOO_BIG;
    }
    *out_bytes_size = size;
    return MERLE_OK;
}

/* A path that ends at a zero byte for every other function of the interface is none. */
static merle_err path_problem(const mrl_leaf *leaf, mrl_path **out_path, const char **out_reason) {
    *out_path = NULL;
    *out_reason = "it has a zero byte";
    if (leaf->path != NULL && memchr(leaf->path, 0, leaf->path_size) != NULL) return MERLE_INVALID;
    merle_err err = mrl_path_compile(leaf->path, leaf->path_size, out_path);
    if (err != MERLE_INVALID) return err;
    mrl_steps steps;
    return mrl_path_parse(leaf->path, leaf->path_size, &steps, out_reason);
}

static void copy_values(merle_where *where, const mrl_leaf *leaf) {
    uint8_t *at = (uint8_t *)(where->values + leaf->value_count);
    for (size_t i = 0; i < leaf->value_count; i++) {
        merle_value *value = &where->values[i];
        *value = leaf->values[i];
        /* Values of other types may come with bytes that nobody means. */
        int has_bytes = value->type == MERLE_TYPE_STR || value->type == MERLE_TYPE_BIN ||
                        value->type == MERLE_TYPE_NONE;
        if (!has_bytes) value->bytes = merle_bytes_of(NULL, 0);
        if (value->bytes.size > 0) memcpy(at, value->bytes.data, value->bytes.size);
        value->bytes.data = at;
        at += value->bytes.size;
    }
}

merle_where *mrl_where_leaf(const mrl_leaf *leaf) {
    const char *reason;
    mrl_path *path = NULL;
    size_t bytes_size = 0;
    merle_err err = path_problem(leaf, &path, &reason);
    if (err == MERLE_OK) err = values_problem(leaf, &bytes_size, &reason);
    if (err != MERLE_OK) {
        mrl_path_destroy(path);
        return err == MERLE_NO_MEMORY ? NULL : wrong_at(leaf, err, reason);
    }
    merle_where *where = where_new(leaf->kind, leaf->value_count, bytes_size);
    if (where == NULL) {
        mrl_path_destroy(path);
        return NULL;
    }
    where->compare = leaf->compare;
    where->negated = leaf->negated;
    where->each = leaf->each;
    where->path = path;
    where->leaf_count = 1;
    where->value_count = where->operand_count = (uint32_t)leaf->value_count;
    /* A terminated name takes one byte more than the name. */
    where->bytes_size = bytes_size + leaf->value_count;
    copy_values(where, leaf);
    if (where->each) return where;
    if (where->kind == MRL_CONDITION_COMPARE && where->compare == MERLE_NE) {
        where->compare = MERLE_EQ;
        where->negated = !where->negated;
    }
    return where;
}

static merle_where *leaf_of(mrl_condition_kind kind, merle_compare compare, const char *path,
                            const merle_value *values, size_t value_count) {
    mrl_leaf leaf = {kind, compare, 0, kind == MRL_CONDITION_ALL, path, 0, values, value_count};
    leaf.path_size = path == NULL ? 0 : strlen(path);
    return mrl_where_leaf(&leaf);
}

merle_where *merle_where_compare(const char *path, merle_compare compare, merle_value value) {
    if (compare < MERLE_EQ || compare > MERLE_GE)
        return wrong(MERLE_INVALID, "a comparison is none of those that there are");
    return leaf_of(MRL_CONDITION_COMPARE, compare, path, &value, 1);
}

merle_where *merle_where_between(const char *path, merle_value low, merle_value high) {
    const merle_value values[] = {low, high};
    return leaf_of(MRL_CONDITION_BETWEEN, 0, path, values, 2);
}

merle_where *merle_where_in(const char *path, const merle_value *values, size_t value_count) {
    return leaf_of(MRL_CONDITION_IN, 0, path, values, value_count);
}

merle_where *merle_where_prefix(const char *path, merle_value prefix) {
    return leaf_of(MRL_CONDITION_PREFIX, 0, path, &prefix, 1);
}

merle_where *merle_where_exists(const char *path) {
    return leaf_of(MRL_CONDITION_EXISTS, 0, path, NULL, 0);
}

merle_where *merle_where_true(const char *path) {
    return merle_where_compare(path, MERLE_EQ, merle_value_bool(1));
}

/* ---- elements ---- */

merle_where *merle_where_each(merle_where *part) {
    if (part == NULL || part->kind == MRL_CONDITION_WRONG) return part;
    int is_equal = part->kind == MRL_CONDITION_COMPARE && part->compare == MERLE_EQ;
    int fits = part->kind == MRL_CONDITION_COMPARE || part->kind == MRL_CONDITION_BETWEEN ||
               part->kind == MRL_CONDITION_IN || part->kind == MRL_CONDITION_PREFIX;
    if (!fits || part->each || (part->negated && !is_equal)) {
        merle_where_destroy(part);
        return wrong(MERLE_INVALID, "only a comparison that is not negated is asked of elements");
    }
    /* "One element is not equal" is something else than "not: one is equal". */
    if (part->negated) part->compare = MERLE_NE;
    part->negated = 0;
    part->each = 1;
    return part;
}

merle_where *merle_where_tag(const char *path, merle_value value) {
    return merle_where_each(merle_where_in(path, &value, 1));
}

merle_where *merle_where_all_of(const char *path, const merle_value *values, size_t value_count) {
    return leaf_of(MRL_CONDITION_ALL, 0, path, values, value_count);
}

merle_where *merle_where_any_of(const char *path, const merle_value *values, size_t value_count) {
    return merle_where_each(merle_where_in(path, values, value_count));
}

merle_where *merle_where_none_of(const char *path, const merle_value *values, size_t value_count) {
    return merle_where_not(merle_where_any_of(path, values, value_count));
}

/* ---- and, or, not ---- */

/* By De Morgan, which holds because there are two truth values only. */
merle_where *merle_where_not(merle_where *part) {
    if (part == NULL || part->kind == MRL_CONDITION_WRONG) return part;
    if (part->kind != MRL_CONDITION_AND && part->kind != MRL_CONDITION_OR) {
        part->negated = !part->negated;
        return part;
    }
    part->kind = part->kind == MRL_CONDITION_AND ? MRL_CONDITION_OR : MRL_CONDITION_AND;
    for (merle_where *child = part->first; child != NULL; child = child->next)
        (void)merle_where_not(child);
    return part;
}

/* Puts the child, or if it is of the same kind its children, at the end of the list. */
static void append(merle_where *list, merle_where *child) {
    merle_where *first = child, *last = child;
    list->leaf_count += child->leaf_count;
    list->operand_count += child->operand_count;
    list->bytes_size += child->bytes_size;
    list->node_count += child->node_count;
    uint32_t depth = child->depth + 1;
    if (child->kind == list->kind) {
        first = child->first;
        last = child->last;
        depth = child->depth;
        list->node_count--;
        free(child);
    }
    if (list->first == NULL)
        list->first = first;
    else
        list->last->next = first;
    list->last = last;
    if (depth > list->depth) list->depth = depth;
}

static const char *limit_problem(const merle_where *where) {
    if (where->depth > MERLE_CONDITION_DEPTH_MAX) return "it is deeper than 64";
    if (where->node_count > MERLE_CONDITION_NODE_COUNT_MAX)
        return "it has more than 4,096 comparisons, ands and ors";
    if (where->operand_count > MERLE_CONDITION_VALUE_COUNT_MAX)
        return "it has more than 65,536 values";
    if (where->bytes_size > MERLE_CONDITION_BYTES_SIZE_MAX + MERLE_CONDITION_VALUE_COUNT_MAX)
        return "its strings and binaries have more than 1 MiB";
    return NULL;
}

static merle_where *join_checked(merle_where *list, merle_where *child) {
    append(list, child);
    const char *reason = limit_problem(list);
    if (reason == NULL) return list;
    merle_where_destroy(list);
    return wrong(MERLE_TOO_BIG, reason);
}

merle_where *mrl_where_join(mrl_condition_kind kind, merle_where *left, merle_where *right) {
    merle_where *list = NULL;
    if (left == NULL || right == NULL) goto fail;
    if (left->kind == MRL_CONDITION_WRONG) {
        merle_where_destroy(right);
        return left;
    }
    if (right->kind == MRL_CONDITION_WRONG) {
        merle_where_destroy(left);
        return right;
    }
    if (left->kind == kind) return join_checked(left, right);
    list = where_new(kind, 0, 0);
    if (list == NULL) goto fail;
    append(list, left);
    return join_checked(list, right);

fail:
    merle_where_destroy(left);
    merle_where_destroy(right);
    return NULL;
}

static merle_where *join_all(mrl_condition_kind kind, merle_where *const *parts,
                             size_t part_count) {
    if (part_count == 0) return wrong(MERLE_INVALID, "an and or an or has no parts");
    merle_where *joined = parts[0];
    for (size_t i = 1; i < part_count; i++) joined = mrl_where_join(kind, joined, parts[i]);
    return joined;
}

merle_where *merle_where_and(merle_where *const *parts, size_t part_count) {
    return join_all(MRL_CONDITION_AND, parts, part_count);
}

merle_where *merle_where_or(merle_where *const *parts, size_t part_count) {
    return join_all(MRL_CONDITION_OR, parts, part_count);
}
