/* store/range.c - ranges of ordered indexes, in sections.
 *
 * The index gives hints in order; each is compared with the version that the section sees. So a
 * document comes with the state of the section's instant, at the place of the value that it has
 * then.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "document/encode.h"
#include "store/entries.h"
#include "store/range_each.h"
#include "store/view.h"

/* A range as the index wants it. */
typedef struct bounds {
    mrl_ordered_range range;
    int backwards;
    uint8_t from[MERLE_VALUE_SIZE_MAX];
    uint8_t to[MERLE_VALUE_SIZE_MAX];
} bounds;

struct merle_cursor {
    merle_collection *collection;
    char index[MERLE_NAME_SIZE_MAX + 1];
    uint64_t made_seq; /* the index's */
    bounds bounds;
    mrl_ordered_cursor ordered;
    uint8_t position[MERLE_VALUE_SIZE_MAX];
};

/* ---- from what is asked for ---- */

static merle_err encode_values(const mrl_schema_index *index, const merle_value *values,
                               size_t count, uint8_t *out, size_t *out_size) {
    *out_size = 0;
    if (count > index->part_count) return MERLE_INVALID;
    for (size_t i = 0; i < count; i++) {
        size_t size = 0;
        merle_err err = mrl_index_encode(index, (uint32_t)i, &values[i], out + *out_size,
                                         MERLE_VALUE_SIZE_MAX - *out_size, &size);
        if (err != MERLE_OK) return MERLE_INVALID;
        *out_size += size;
    }
    return MERLE_OK;
}

static merle_err encode_bound(const mrl_schema_index *index, const merle_bound *bound, uint8_t *out,
                              merle_bytes *out_bytes, mrl_bound *out_kind) {
    size_t size = 0;
    merle_err err = MERLE_OK;
    *out_kind = MRL_BOUND_NONE;
    if (bound->kind == MERLE_NO_BOUND) return MERLE_OK;
    if (bound->kind != MERLE_CLOSED && bound->kind != MERLE_OPEN) return MERLE_INVALID;
    if ((err = encode_values(index, bound->values, bound->value_count, out, &size)) != MERLE_OK)
        return err;
    *out_bytes = merle_bytes_of(out, size);
    /* No values: all of it, or nothing. */
    *out_kind = bound->kind == MERLE_CLOSED ? MRL_BOUND_CLOSED : MRL_BOUND_OPEN;
    return MERLE_OK;
}

/* The values of `from`, then a string that is not ended: all that begin with these bytes. */
static merle_err encode_prefix(const mrl_schema_index *index, const merle_range *range,
                               bounds *out) {
    size_t size = 0, string_size = 0, count = range->from.value_count;
    merle_value text = merle_value_str(range->prefix);
    merle_err err = encode_values(index, range->from.values, count, out->from, &size);
    if (err != MERLE_OK || count >= index->part_count) return MERLE_INVALID;
    err = mrl_index_encode(index, (uint32_t)count, &text, out->from + size, sizeof out->from - size,
                           &string_size);
    if (err != MERLE_OK) return MERLE_INVALID;
    /* Without the two bytes that end a string. */
    out->range.from = out->range.to = merle_bytes_of(out->from, size + string_size - 2);
    out->range.from_bound = out->range.to_bound = MRL_BOUND_CLOSED;
    return MERLE_OK;
}

/* Where one end of the range says something of a field and the other one nothing, the latter does
 * not reach the documents that lack the field. */
static void shut_out_missing(const mrl_schema_index *index, const merle_range *range, bounds *out) {
    size_t from_count = range->from.kind == MERLE_NO_BOUND ? 0 : range->from.value_count;
    size_t to_count = range->to.kind == MERLE_NO_BOUND ? 0 : range->to.value_count;
    int is_from = from_count < to_count; /* which is shorter */
    int is_first = index->missing == MERLE_MISSING_FIRST;
    if (from_count == to_count || is_from != is_first) return;
    uint32_t part = (uint32_t)(is_from ? from_count : to_count);
    const merle_value *said = is_from ? &range->to.values[part] : &range->from.values[part];
    merle_bytes *end = is_from ? &out->range.from : &out->range.to;
    mrl_bound *kind = is_from ? &out->range.from_bound : &out->range.to_bound;
    const merle_bytes *other = is_from ? &out->range.to : &out->range.from;
    if (said->type == MERLE_TYPE_NIL || *kind == MRL_BOUND_OPEN) return;
    if (*kind == MRL_BOUND_NONE) *end = merle_bytes_of(is_from ? out->from : out->to, 0);
    if (end->size > 0 && memcmp(end->data, other->data, end->size) != 0) return;
    /* It fits: the other end has these bytes and a value besides. */
    (is_from ? out->from : out->to)[end->size++] = mrl_index_missing(index, part);
    *kind = MRL_BOUND_OPEN;
}

static merle_err make_bounds(const mrl_schema_index *index, const merle_range *range, bounds *out) {
    memset(&out->range, 0, sizeof out->range);
    out->backwards = range->backwards != 0;
    if (range->prefix != NULL) return encode_prefix(index, range, out);
    merle_err err =
        encode_bound(index, &range->from, out->from, &out->range.from, &out->range.from_bound);
    if (err != MERLE_OK) return err;
    err = encode_bound(index, &range->to, out->to, &out->range.to, &out->range.to_bound);
    if (err == MERLE_OK && index->missing != MERLE_MISSING_OUT) shut_out_missing(index, range, out);
    return err;
}

static merle_err find_index(const mrl_schema *schema, const char *name,
                            const mrl_schema_index **out_index) {
    merle_err err = mrl_schema_read_index(schema, name, out_index);
    return err == MERLE_OK && !mrl_index_has_tree(*out_index) ? MERLE_INVALID : err;
}

/* ---- hits and versions ---- */

typedef struct viewing {
    const mrl_view *view;
    const mrl_schema_index *index;
} viewing;

static uint64_t which_are_visible(void *context, const mrl_ordered_hit *hits, size_t count) {
    const mrl_version *versions[MRL_READ_BATCH];
    uint64_t bits = 0;
    const viewing *asked = context;
    mrl_view_hits(asked->view, asked->index, hits, count, versions);
    for (size_t i = 0; i < count; i++) bits |= (uint64_t)(versions[i] != NULL) << i;
    return bits;
}

/* ---- cursors ---- */

merle_err merle_range_open(merle_collection *collection, const merle_range *range,
                           merle_cursor **out_cursor) {
    *out_cursor = NULL;
    if (collection == NULL || range == NULL || range->index == NULL) return MERLE_INVALID;
    mrl_store *store = collection->store;
    if (mrl_domain_is_forked(store->domain)) return MERLE_FORKED;
    mrl_member *member = mrl_member_join(store->domain);
    merle_cursor *cursor = member == NULL ? NULL : mrl_allocate(sizeof *cursor);
    if (cursor == NULL) return MERLE_NO_MEMORY;
    const mrl_schema_index *index;
    mrl_epoch_token token;
    mrl_member_enter(member, &token);
    mrl_root *root = mrl_collection_current(collection);
    merle_err err = root == NULL || root->is_dropped
                        ? MERLE_GONE
                        : find_index(mrl_root_schema_now(root), range->index, &index);
    if (err == MERLE_OK) err = make_bounds(index, range, &cursor->bounds);
    if (err == MERLE_OK) memcpy(cursor->index, index->name, sizeof cursor->index);
    if (err == MERLE_OK) cursor->made_seq = index->made_seq;
    mrl_member_leave(member, &token);
    if (err != MERLE_OK) {
        free(cursor);
        return err;
    }
    cursor->collection = collection;
    mrl_ordered_cursor_init(&cursor->ordered, NULL, &cursor->bounds.range, cursor->bounds.backwards,
                            cursor->position);
    *out_cursor = cursor;
    return MERLE_OK;
}

void merle_cursor_close(merle_cursor *cursor) {
    free(cursor);
}

merle_err merle_cursor_next(merle_section *section, merle_cursor *cursor, merle_doc *out_docs,
                            size_t doc_max, size_t *out_count) {
    mrl_ordered_hit hits[MRL_READ_BATCH];
    const mrl_version *versions[MRL_READ_BATCH];
    const mrl_schema_index *index;
    merle_err err;
    mrl_view view;
    *out_count = 0;
    if (cursor == NULL) return MERLE_INVALID;
    if ((err = mrl_view_open(section, cursor->collection, &view)) != MERLE_OK) return err;
    if ((err = find_index(view.schema, cursor->index, &index)) != MERLE_OK)
        return err == MERLE_NOT_READY ? err : MERLE_GONE;
    if (index->made_seq != cursor->made_seq) return MERLE_GONE;
    cursor->ordered.tree = view.root->indexes[index->number].ordered;
    while (*out_count < doc_max) {
        size_t wanted = doc_max - *out_count;
        if (wanted > MRL_READ_BATCH) wanted = MRL_READ_BATCH;
        size_t met = mrl_ordered_next(&cursor->ordered, hits, wanted);
        mrl_view_first_hits(&view, index, &cursor->bounds.range, cursor->bounds.backwards, hits,
                            met, versions);
        for (size_t i = 0; i < met; i++)
            if (versions[i] != NULL) out_docs[(*out_count)++] = mrl_view_doc(versions[i]);
        if (met < wanted) break;
    }
    return *out_count == 0 && doc_max > 0 ? MERLE_NOT_FOUND : MERLE_OK;
}

/* ---- counting ---- */

typedef struct asked_range {
    mrl_view view;
    viewing viewing;
    mrl_ordered *tree;
    mrl_ordered_viewer viewer;
    bounds bounds;
} asked_range;

static merle_err ask(asked_range *asked, merle_section *section, merle_collection *collection,
                     const merle_range *range) {
    const mrl_schema_index *index;
    if (range == NULL || range->index == NULL) return MERLE_INVALID;
    merle_err err = mrl_view_open(section, collection, &asked->view);
    if (err != MERLE_OK) return err;
    if ((err = find_index(asked->view.schema, range->index, &index)) != MERLE_OK) return err;
    asked->viewing = (viewing){&asked->view, index};
    asked->tree = asked->view.root->indexes[index->number].ordered;
    asked->viewer =
        (mrl_ordered_viewer){asked->view.section->epoch, which_are_visible, &asked->viewing};
    return make_bounds(index, range, &asked->bounds);
}

merle_err merle_range_count(merle_section *section, merle_collection *collection,
                            const merle_range *range, uint64_t *out_count) {
    asked_range asked;
    *out_count = 0;
    merle_err err = ask(&asked, section, collection, range);
    if (err != MERLE_OK) return err;
    if (asked.viewing.index->each != MRL_PART_NONE)
        return mrl_each_count(section, collection, range, out_count);
    *out_count = mrl_ordered_count(asked.tree, &asked.bounds.range, &asked.viewer);
    return MERLE_OK;
}

merle_err merle_range_estimate(merle_collection *collection, const merle_range *range,
                               uint64_t *out_count) {
    merle_section section;
    asked_range asked;
    *out_count = 0;
    if (collection == NULL) return MERLE_INVALID;
    merle_err err = merle_section_begin(collection->store->db, &section);
    if (err != MERLE_OK) return err;
    err = ask(&asked, &section, collection, range);
    if (err == MERLE_OK) *out_count = mrl_ordered_estimate(asked.tree, &asked.bounds.range);
    merle_err ended = merle_section_end(&section);
    return err != MERLE_OK ? err : ended;
}

merle_err merle_range_rank(merle_section *section, merle_collection *collection,
                           const merle_range *range, merle_bytes key, uint64_t *out_rank) {
    uint8_t value[MERLE_VALUE_SIZE_MAX];
    asked_range asked;
    merle_doc doc;
    *out_rank = 0;
    merle_err err = ask(&asked, section, collection, range);
    if (err != MERLE_OK) return err;
    if ((err = merle_get(section, collection, key, &doc)) != MERLE_OK) return err;
    if (asked.viewing.index->each != MRL_PART_NONE)
        return mrl_each_rank(section, collection, range, &doc, out_rank);
    const mrl_version *v = doc.internal;
    size_t size = mrl_version_encode(v, asked.viewing.index, value);
    if (size == 0 || !mrl_range_has(&asked.bounds.range, merle_bytes_of(value, size)))
        return MERLE_NOT_FOUND;
    *out_rank = mrl_ordered_rank(asked.tree, &asked.bounds.range, asked.bounds.backwards,
                                 merle_bytes_of(value, size), v->slot, &asked.viewer);
    return MERLE_OK;
}

merle_err merle_range_nth(merle_section *section, merle_collection *collection,
                          const merle_range *range, uint64_t n, merle_doc *out_doc) {
    asked_range asked;
    mrl_ordered_hit hit;
    const mrl_version *v;
    memset(out_doc, 0, sizeof *out_doc);
    merle_err err = ask(&asked, section, collection, range);
    if (err != MERLE_OK) return err;
    if (asked.viewing.index->each != MRL_PART_NONE)
        return mrl_each_nth(section, collection, range, n, out_doc);
    if (!mrl_ordered_nth(asked.tree, &asked.bounds.range, asked.bounds.backwards, n, &asked.viewer,
                         &hit))
        return MERLE_NOT_FOUND;
    mrl_view_hits(&asked.view, asked.viewing.index, &hit, 1, &v);
    if (v == NULL) return MERLE_NOT_FOUND;
    *out_doc = mrl_view_doc(v);
    return MERLE_OK;
}
