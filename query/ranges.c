/* query/ranges.c - what terms make of an index of values: the ranges in which all that meets them
 * lies.
 *
 * The first fields of the index are bound to single values as far as the terms go, or to a few of
 * them (an IN); the field behind these may be bound by a range. So the ranges ascend and none meets
 * another, and whoever goes over them in turn goes in the order of the index.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "document/encode.h"
#include "document/order.h"
#include "query/query_private.h"

/* ---- presence ---- */

/* nil is what an index takes for missing. */
static int has_nil(const mrl_condition_node *leaf, const merle_value *values) {
    for (uint32_t i = 0; i < leaf->operand_count; i++)
        if (mrl_operand_value(&leaf->operands[i], values)->type == MERLE_TYPE_NIL) return 1;
    return 0;
}

static int leaf_implies(const mrl_condition_node *leaf, const merle_value *values, uint32_t path) {
    if (leaf->path_number != path || leaf->negated || leaf->kind == MRL_CONDITION_EXISTS) return 0;
    /* One element that is not 5 may be nil. */
    if (leaf->kind == MRL_CONDITION_COMPARE && leaf->compare == MERLE_NE) return 0;
    if (leaf->kind == MRL_CONDITION_ALL && leaf->operand_count == 0) return 0;
    return !has_nil(leaf, values);
}

static int node_implies(const mrl_condition_node *node, const merle_value *values, uint32_t path) {
    if (node->child_count == 0) return leaf_implies(node, values, path);
    int is_and = node->kind == MRL_CONDITION_AND;
    for (uint32_t i = 0; i < node->child_count; i++)
        if (node_implies(&node->children[i], values, path) == is_and) return is_and;
    return !is_and;
}

int mrl_terms_imply(const mrl_planner *planner, const mrl_terms *terms, uint32_t schema_path) {
    uint32_t path = planner->condition_path[schema_path];
    for (uint32_t i = 0; path != MRL_PATH_NONE && i < terms->count; i++)
        if (node_implies(&terms->list[i], terms->values, path)) return 1;
    return 0;
}

/* Whether the index has every document that meets the terms. What a function makes of documents
 * nobody here knows. */
static int has_them_all(const mrl_planner *planner, const mrl_terms *terms,
                        const mrl_schema_index *index) {
    for (uint32_t i = 0; i < index->part_count; i++) {
        const mrl_schema_part *part = &index->parts[i];
        if (part->source == MRL_SOURCE_EXTRACT) return 0;
        if (part->source == MRL_SOURCE_KEY || index->missing != MERLE_MISSING_OUT) continue;
        /* What is inside its elements, no condition speaks of. */
        if (part->source == MRL_SOURCE_EACH && part->element != NULL) return 0;
        if (!mrl_terms_imply(planner, terms, part->path)) return 0;
    }
    return 1;
}

/* ---- what the terms say of one field ---- */

/* All of it ascending. */
typedef struct field_bounds {
    int is_bounded;
    uint8_t from_is_value, to_is_value; /* a whole value, not only the begin of one */
    uint64_t terms;                     /* that are answered by the bounds */
    const mrl_condition_node *list;     /* an IN of several; NULL: none */
    uint32_t list_term;
    mrl_bounds bounds;
} field_bounds;

/* Of two ends where one begins the other: whether the new one leaves more out. */
static int leaves_more_out(size_t old_size, int old_open, size_t new_size, int new_open) {
    if (old_size == new_size) return new_open && !old_open;
    /* An open end is open for all that begins with it; a closed one has all of that inside. */
    return new_size < old_size ? new_open : !old_open;
}

/* Both hold. */
static void narrow(field_bounds *f, const mrl_bounds *b, int from_is_value, int to_is_value) {
    mrl_bounds *to = &f->bounds;
    int is_first = !f->is_bounded;
    f->is_bounded = 1;
    if (is_first) to->is_empty = 0;
    if (b->is_empty) to->is_empty = 1;
    if (to->is_empty) return;
    int order = is_first ? -1
                         : mrl_bytes_order_begins(merle_bytes_of(to->from, to->from_size),
                                                  merle_bytes_of(b->from, b->from_size));
    if (order < 0 ||
        (order == 0 && leaves_more_out(to->from_size, to->from_open, b->from_size, b->from_open))) {
        memcpy(to->from, b->from, b->from_size);
        to->from_size = b->from_size;
        to->from_open = b->from_open;
        f->from_is_value = (uint8_t)from_is_value;
    }
    order = is_first ? 1
                     : mrl_bytes_order_begins(merle_bytes_of(to->to, to->to_size),
                                              merle_bytes_of(b->to, b->to_size));
    if (order > 0 ||
        (order == 0 && leaves_more_out(to->to_size, to->to_open, b->to_size, b->to_open))) {
        memcpy(to->to, b->to, b->to_size);
        to->to_size = b->to_size;
        to->to_open = b->to_open;
        f->to_is_value = (uint8_t)to_is_value;
    }
}

/* Bounds that have passed one another leave nothing between them. */
static void settle(field_bounds *f) {
    mrl_bounds *b = &f->bounds;
    if (!f->is_bounded || b->is_empty) return;
    int order = mrl_bytes_order_begins(merle_bytes_of(b->from, b->from_size),
                                       merle_bytes_of(b->to, b->to_size));
    if (order > 0) b->is_empty = 1;
    if (order == 0 && b->from_open && b->from_size <= b->to_size) b->is_empty = 1;
    if (order == 0 && b->to_open && b->to_size <= b->from_size) b->is_empty = 1;
}

static void take_leaf(field_bounds *f, const mrl_condition_node *leaf, const merle_value *values,
                      uint32_t number) {
    mrl_bounds bounds;
    int is_list = leaf->kind == MRL_CONDITION_IN;
    if (is_list && leaf->operand_count > 1) {
        if (f->list != NULL || has_nil(leaf, values)) return;
        f->list = leaf;
        f->list_term = number;
        return;
    }
    merle_err err = MERLE_OK;
    int is_equal = leaf->kind == MRL_CONDITION_COMPARE && leaf->compare == MERLE_EQ;
    if (is_list && leaf->operand_count == 0) {
        bounds.from_size = bounds.to_size = 0;
        bounds.is_empty = 1;
    } else {
        err = mrl_condition_bounds(leaf, values, &bounds);
    }
    /* No indexed value is that long. */
    if (err == MERLE_TOO_BIG && is_equal) {
        bounds.is_empty = 1;
        err = MERLE_OK;
    }
    if (err != MERLE_OK) return;
    int is_between = leaf->kind == MRL_CONDITION_BETWEEN;
    int is_below = leaf->compare == MERLE_LT || leaf->compare == MERLE_LE;
    int is_above = leaf->compare == MERLE_GT || leaf->compare == MERLE_GE;
    int is_compare = leaf->kind == MRL_CONDITION_COMPARE;
    narrow(f, &bounds, is_between || (is_compare && !is_below),
           is_between || (is_compare && !is_above));
    f->terms |= mrl_term_bit(number);
}

/* An index holds scalars, of which each is its own only element: so a leaf that asks for one
 * element asks for the value. An index on each element is bound by one leaf only, since two may be
 * met by two elements. */
static void field_look(const mrl_planner *planner, const mrl_terms *terms,
                       const mrl_schema_part *part, field_bounds *out) {
    int is_each = part->source == MRL_SOURCE_EACH;
    uint32_t path = MRL_PATH_NONE;
    if (part->source == MRL_SOURCE_PATH || (is_each && part->element == NULL))
        path = planner->condition_path[part->path];
    out->is_bounded = 0;
    out->from_is_value = out->to_is_value = 0;
    out->terms = 0;
    out->list = NULL;
    out->list_term = 0;
    out->bounds.is_empty = 0;
    for (uint32_t i = 0; path != MRL_PATH_NONE && i < terms->count; i++) {
        const mrl_condition_node *leaf = &terms->list[i];
        if (leaf->child_count != 0 || leaf->path_number != path || leaf->negated ||
            leaf->kind == MRL_CONDITION_ALL || leaf->kind == MRL_CONDITION_EXISTS)
            continue;
        take_leaf(out, leaf, terms->values, i);
        if (is_each && (out->is_bounded || out->list != NULL)) break;
    }
    settle(out);
}

static int field_is_value(const field_bounds *f) {
    const mrl_bounds *b = &f->bounds;
    return f->is_bounded && f->from_is_value && f->to_is_value && !b->from_open && !b->to_open &&
           b->from_size == b->to_size && memcmp(b->from, b->to, b->from_size) == 0;
}

/* ---- ranges ---- */

typedef struct making {
    mrl_planner *planner;
    const mrl_terms *terms;
    const mrl_schema_index *index;
    mrl_drive *drive;
    merle_bytes *prefixes; /* of the values inside, ascending */
    uint32_t prefix_count;
} making;

static int no_memory(mrl_planner *planner) {
    planner->err = MERLE_NO_MEMORY;
    return 0;
}

/* left, then right as the part has it. size 0: no memory, or longer than any value. */
static merle_bytes joined(mrl_planner *planner, merle_bytes left, const uint8_t *right,
                          size_t right_size, uint32_t descending) {
    merle_bytes none = {NULL, 0};
    if (left.size + right_size > MERLE_VALUE_SIZE_MAX) return none;
    uint8_t *bytes = mrl_pool_take(planner->pool, left.size + right_size);
    if (bytes == NULL) {
        (void)no_memory(planner);
        return none;
    }
    if (left.size > 0) memcpy(bytes, left.data, left.size);
    for (size_t i = 0; i < right_size; i++)
        bytes[left.size + i] = descending ? (uint8_t)~right[i] : right[i];
    return merle_bytes_of(bytes, left.size + right_size);
}

static int by_bytes(const void *left, const void *right) {
    const merle_bytes *a = left, *b = right;
    return mrl_bytes_order(*a, *b);
}

/* The operands that are inside the bounds, encoded, ascending, none twice. NULL: no memory. */
static merle_bytes *list_encode(making *m, const field_bounds *f, uint32_t descending,
                                uint32_t *out_count) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    const mrl_condition_node *leaf = f->list;
    merle_bytes *list = mrl_pool_take(m->planner->pool, leaf->operand_count * sizeof *list);
    uint32_t count = 0, kept = 0;
    *out_count = 0;
    if (list == NULL) return NULL;
    for (uint32_t i = 0; i < leaf->operand_count; i++) {
        size_t size;
        /* What is too long to be encoded, no document has. */
        if (mrl_operand_encode(&leaf->operands[i], m->terms->values, 0, encoded, sizeof encoded,
                               &size) != MERLE_OK)
            continue;
        if (f->is_bounded && !mrl_bounds_have(&f->bounds, encoded, size)) continue;
        list[count] = joined(m->planner, merle_bytes_of(NULL, 0), encoded, size, descending);
        if (list[count++].size == 0) return NULL;
    }
    if (count > 1) qsort(list, count, sizeof *list, by_bytes);
    for (uint32_t i = 0; i < count; i++)
        if (i == 0 || by_bytes(&list[i], &list[i - 1]) != 0) list[kept++] = list[i];
    *out_count = kept;
    return list;
}

/* Every prefix with every one of these behind it. */
static int multiply(making *m, const merle_bytes *list, uint32_t count, uint32_t descending) {
    uint32_t kept = 0;
    merle_bytes *all = mrl_pool_take(m->planner->pool, (m->prefix_count * count + 1) * sizeof *all);
    if (all == NULL) return no_memory(m->planner);
    for (uint32_t i = 0; i < m->prefix_count; i++)
        for (uint32_t j = 0; j < count; j++) {
            merle_bytes both =
                joined(m->planner, m->prefixes[i], list[j].data, list[j].size, descending);
            if (both.size != 0) all[kept++] = both;
        }
    m->prefixes = all;
    m->prefix_count = kept;
    return m->planner->err == MERLE_OK;
}

/* The ranges are the prefixes, or a part of what begins with them. */
static int finish(making *m, const field_bounds *f, uint32_t descending) {
    const mrl_bounds *b = &f->bounds;
    mrl_ordered_range *ranges =
        mrl_pool_take(m->planner->pool, (m->prefix_count + 1) * sizeof *ranges);
    if (ranges == NULL) return no_memory(m->planner);
    for (uint32_t i = 0; i < m->prefix_count; i++) {
        mrl_ordered_range *range = &ranges[i];
        memset(range, 0, sizeof *range);
        range->from = range->to = m->prefixes[i];
        if (m->prefixes[i].size > 0) range->from_bound = range->to_bound = MRL_BOUND_CLOSED;
        if (!f->is_bounded) continue;
        merle_bytes low = joined(m->planner, m->prefixes[i], b->from, b->from_size, descending);
        merle_bytes high = joined(m->planner, m->prefixes[i], b->to, b->to_size, descending);
        if (low.size == 0 || high.size == 0) {
            /* Too long to be written down: the whole of the prefix, and the term is asked again. */
            m->drive->terms &= ~f->terms;
            continue;
        }
        mrl_bound low_bound = b->from_open ? MRL_BOUND_OPEN : MRL_BOUND_CLOSED;
        mrl_bound high_bound = b->to_open ? MRL_BOUND_OPEN : MRL_BOUND_CLOSED;
        range->from = descending ? high : low;
        range->to = descending ? low : high;
        range->from_bound = descending ? high_bound : low_bound;
        range->to_bound = descending ? low_bound : high_bound;
    }
    m->drive->ranges = ranges;
    m->drive->range_count = m->prefix_count;
    return m->planner->err == MERLE_OK;
}

/* Goes on by one field; 1: there may be a next one, 0: not. *out_field is what bounds it then. */
static int take_field(making *m, uint32_t part, field_bounds *field) {
    uint32_t descending = m->index->parts[part].descending, count = 0;
    mrl_drive *drive = m->drive;
    field_look(m->planner, m->terms, &m->index->parts[part], field);
    if (field->is_bounded && field->bounds.is_empty) m->prefix_count = 0;
    if (field->is_bounded || field->list != NULL) drive->is_bounded = 1;
    drive->terms |= field->terms;
    if (m->prefix_count == 0) return 0;
    if (field_is_value(field)) {
        merle_bytes value = merle_bytes_of(field->bounds.from, field->bounds.from_size);
        field->is_bounded = 0;
        if (m->prefix_count == 1) drive->constant_parts |= 1u << part;
        return multiply(m, &value, 1, descending);
    }
    if (field->list == NULL) return 0;
    merle_bytes *list = list_encode(m, field, descending, &count);
    if (list == NULL) return no_memory(m->planner);
    if ((uint64_t)count * m->prefix_count > MRL_RANGE_COUNT_MAX) return 0;
    field->is_bounded = 0;
    drive->terms |= mrl_term_bit(field->list_term);
    return multiply(m, list, count, 0);
}

/* Many ranges are not all looked at. */
static uint64_t estimate(mrl_ordered *tree, const mrl_drive *drive) {
    enum { SAMPLE_MAX = 16 };
    uint32_t count = drive->range_count < SAMPLE_MAX ? drive->range_count : SAMPLE_MAX;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += mrl_ordered_estimate(tree, &drive->ranges[(uint64_t)i * drive->range_count / count]);
    return count == 0 ? 0 : sum * drive->range_count / count;
}

int mrl_ranges_of(mrl_planner *planner, const mrl_terms *terms, const mrl_schema_index *index,
                  mrl_drive *out_drive) {
    merle_bytes whole = {NULL, 0};
    field_bounds field; /* filled with the first field, of which there is one */
    making m = {planner, terms, index, out_drive, &whole, 1};
    uint32_t part = 0, descending = 0;
    memset(out_drive, 0, sizeof *out_drive);
    if (!has_them_all(planner, terms, index)) return 0;
    out_drive->kind = MRL_DRIVE_RANGES;
    out_drive->index = index;
    out_drive->is_each = index->each != MRL_PART_NONE;
    int goes_on = 1;
    while (goes_on && part < index->part_count) {
        descending = index->parts[part].descending;
        goes_on = take_field(&m, part++, &field);
    }
    if (planner->err != MERLE_OK || !finish(&m, &field, descending)) return 0;
    out_drive->estimate = estimate(planner->view->root->indexes[index->number].ordered, out_drive);
    return 1;
}

int mrl_unique_of(mrl_planner *planner, const mrl_terms *terms, const mrl_schema_index *index,
                  mrl_drive *out_drive) {
    merle_bytes value = {NULL, 0};
    field_bounds field;
    memset(out_drive, 0, sizeof *out_drive);
    /* A value that is too long for the index may stand in a document that lacks another field. */
    if (index->extract != NULL || !has_them_all(planner, terms, index)) return 0;
    for (uint32_t i = 0; i < index->part_count; i++) {
        field_look(planner, terms, &index->parts[i], &field);
        out_drive->terms |= field.terms;
        if (field.is_bounded && field.bounds.is_empty) {
            out_drive->kind = MRL_DRIVE_NOTHING;
            return 1;
        }
        if (!field_is_value(&field)) return 0;
        value = joined(planner, value, field.bounds.from, field.bounds.from_size,
                       index->parts[i].descending);
        if (value.size == 0) return 0;
    }
    mrl_ordered_range *range = mrl_pool_take(planner->pool, sizeof *range);
    if (range == NULL) return no_memory(planner);
    memset(range, 0, sizeof *range);
    range->from = range->to = value;
    range->from_bound = range->to_bound = MRL_BOUND_CLOSED;
    out_drive->kind = MRL_DRIVE_UNIQUE;
    out_drive->index = index;
    out_drive->ranges = range;
    out_drive->range_count = 1;
    out_drive->estimate = 1;
    return 1;
}
