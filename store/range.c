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
#include "base/bytes.h"
#include "document/encode.h"
#include "store/entries.h"
#include "store/expiry.h"
#include "store/own.h"
#include "store/range_each.h"

/* A range as the index wants it. */
typedef struct bounds {
    mrl_ordered_range range;
    int backwards;
    uint8_t from[MERLE_VALUE_SIZE_MAX];
    uint8_t to[MERLE_VALUE_SIZE_MAX];
} bounds;

/* Position of a cursor that is not at a document which its commit has added. */
#define NUMBER_NONE UINT32_MAX

struct merle_cursor {
    merle_collection *collection;
    uint64_t made_seq; /* the index's */
    mrl_ordered_cursor ordered;
    uint32_t number; /* of the document without a slot at the position, or NUMBER_NONE */
    char index[MERLE_NAME_SIZE_MAX + 1];
    uint8_t bytes[]; /* the bounds, then the position */
};

/* ---- from what is asked for ---- */

/* Who asks what of which index. */
typedef struct asking {
    mrl_member *member;
    const merle_collection *collection;
    const mrl_schema_index *index;
} asking;

static merle_err encode_values(const asking *a, const merle_value *values, size_t count,
                               uint8_t *out, size_t *out_size) {
    const char *name = a->index->name;
    *out_size = 0;
    if (count > a->index->part_count)
        return mrl_store_fail_index(a->member, MERLE_INVALID, a->collection, name,
                                    "index %s has %u fields, and a bound %zu values", name,
                                    a->index->part_count, count);
    for (size_t i = 0; i < count; i++) {
        size_t size = 0;
        merle_err err = mrl_index_encode(a->index, (uint32_t)i, &values[i], out + *out_size,
                                         MERLE_VALUE_SIZE_MAX - *out_size, &size);
        if (err != MERLE_OK)
            return mrl_store_fail_index(a->member, MERLE_INVALID, a->collection, name,
                                        "index %s cannot hold value %zu of a bound, %s%s", name, i,
                                        mrl_type_text(values[i].type),
                                        err == MERLE_TOO_BIG ? ": it is too long" : "");
        *out_size += size;
    }
    return MERLE_OK;
}

static merle_err encode_bound(const asking *a, const merle_bound *bound, uint8_t *out,
                              merle_bytes *out_bytes, mrl_bound *out_kind) {
    size_t size = 0;
    merle_err err = MERLE_OK;
    *out_kind = MRL_BOUND_NONE;
    if (bound->kind == MERLE_NO_BOUND) return MERLE_OK;
    if (bound->kind != MERLE_CLOSED && bound->kind != MERLE_OPEN)
        return mrl_store_fail_index(a->member, MERLE_INVALID, a->collection, a->index->name,
                                    "a bound is open, closed, or none");
    if ((err = encode_values(a, bound->values, bound->value_count, out, &size)) != MERLE_OK)
        return err;
    *out_bytes = merle_bytes_of(out, size);
    /* No values: all of it, or nothing. */
    *out_kind = bound->kind == MERLE_CLOSED ? MRL_BOUND_CLOSED : MRL_BOUND_OPEN;
    return MERLE_OK;
}

/* The values of `from`, then a string that is not ended: all that begin with these bytes. */
static merle_err encode_prefix(const asking *a, const merle_range *range, bounds *out) {
    const char *name = a->index->name;
    size_t size = 0, string_size = 0, count = range->from.value_count;
    merle_value text = merle_value_str(range->prefix);
    merle_err err = encode_values(a, range->from.values, count, out->from, &size);
    if (err != MERLE_OK) return err;
    if (count >= a->index->part_count)
        return mrl_store_fail_index(a->member, MERLE_INVALID, a->collection, name,
                                    "index %s has no field left for a prefix", name);
    err = mrl_index_encode(a->index, (uint32_t)count, &text, out->from + size,
                           sizeof out->from - size, &string_size);
    if (err != MERLE_OK)
        return mrl_store_fail_index(a->member, MERLE_INVALID, a->collection, name,
                                    "index %s cannot hold strings as long as the prefix", name);
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

static merle_err make_bounds(const asking *a, const merle_range *range, bounds *out) {
    const mrl_schema_index *index = a->index;
    memset(&out->range, 0, sizeof out->range);
    out->backwards = range->backwards != 0;
    if (range->prefix != NULL) return encode_prefix(a, range, out);
    merle_err err =
        encode_bound(a, &range->from, out->from, &out->range.from, &out->range.from_bound);
    if (err != MERLE_OK) return err;
    err = encode_bound(a, &range->to, out->to, &out->range.to, &out->range.to_bound);
    if (err == MERLE_OK && index->missing != MERLE_MISSING_OUT) shut_out_missing(index, range, out);
    return err;
}

/* ---- cursors ---- */

static merle_cursor *create_cursor(merle_collection *collection, const mrl_schema_index *index,
                                   const bounds *wanted) {
    size_t from_size = wanted->range.from.size, to_size = wanted->range.to.size;
    merle_cursor *cursor =
        mrl_allocate(sizeof *cursor + from_size + to_size + MERLE_VALUE_SIZE_MAX);
    if (cursor == NULL) return NULL;
    mrl_ordered_range range = wanted->range;
    if (from_size > 0) memcpy(cursor->bytes, range.from.data, from_size);
    if (to_size > 0) memcpy(cursor->bytes + from_size, range.to.data, to_size);
    range.from.data = cursor->bytes;
    range.to.data = cursor->bytes + from_size;
    cursor->collection = collection;
    cursor->number = NUMBER_NONE;
    cursor->made_seq = index->made_seq;
    memcpy(cursor->index, index->name, sizeof cursor->index);
    mrl_ordered_cursor_init(&cursor->ordered, NULL, &range, wanted->backwards,
                            cursor->bytes + from_size + to_size);
    return cursor;
}

merle_err merle_range_open(merle_collection *collection, const merle_range *range,
                           merle_cursor **out_cursor) {
    bounds wanted;
    mrl_epoch_token token;
    *out_cursor = NULL;
    if (collection == NULL || range == NULL || range->index == NULL) return MERLE_INVALID;
    mrl_store *store = collection->store;
    if (mrl_domain_is_forked(store->domain)) return MERLE_FORKED;
    mrl_member *member = mrl_member_join(store->domain);
    if (member == NULL) return MERLE_NO_MEMORY;
    mrl_member_enter(member, &token);
    const mrl_root *root = mrl_collection_current(collection);
    merle_err err = MERLE_GONE;
    asking a = {member, collection, NULL};
    if (root != NULL && !root->is_dropped)
        err = mrl_read_index(member, collection, mrl_root_schema_now(root), range->index,
                             MRL_USE_RANGES, &a.index);
    if (err == MERLE_OK) err = make_bounds(&a, range, &wanted);
    if (err == MERLE_OK) {
        *out_cursor = create_cursor(collection, a.index, &wanted);
        if (*out_cursor == NULL) err = MERLE_NO_MEMORY;
    }
    mrl_member_leave(member, &token);
    return err;
}

void merle_cursor_close(merle_cursor *cursor) {
    free(cursor);
}

/* ---- going over a range ---- */

/* A cursor on its way, in one section. */
typedef struct walk {
    merle_cursor *cursor;
    const mrl_view *view;
    const mrl_schema_index *index;
    mrl_own_run own; /* what the commit has written and is still ahead */
} walk;

/* Fills in up to `room` documents; *out_is_end: the range has no more. */
static size_t step(const walk *w, merle_doc *out_docs, size_t room, int *out_is_end) {
    mrl_ordered_hit hits[MRL_READ_BATCH];
    const mrl_version *versions[MRL_READ_BATCH];
    size_t wanted = room < MRL_READ_BATCH ? room : MRL_READ_BATCH, given = 0;
    size_t met = mrl_ordered_next(&w->cursor->ordered, hits, wanted);
    mrl_view_first_hits(w->view, w->index, &w->cursor->ordered.range,
                        w->cursor->ordered.is_descending, hits, met, w->cursor->ordered.unsure,
                        versions);
    for (size_t i = 0; i < met; i++)
        if (versions[i] != NULL) out_docs[given++] = mrl_view_doc(versions[i]);
    if (met > 0) w->cursor->number = NUMBER_NONE;
    *out_is_end = met < wanted;
    return given;
}

/* Of the run, what lies ahead of the cursor. */
static mrl_own_run ahead_of(const merle_cursor *cursor, mrl_own_run run) {
    const mrl_ordered_cursor *at = &cursor->ordered;
    if (!at->has_position) return run;
    merle_bytes value = merle_bytes_of(at->position, at->position_size);
    int is_new = cursor->number != NUMBER_NONE;
    uint32_t slot = is_new ? MRL_SLOT_NONE : at->position_slot;
    if (at->is_descending) {
        run.count = mrl_own_before(run, value, slot, is_new ? cursor->number : 0);
        return run;
    }
    size_t passed = mrl_own_before(run, value, slot, is_new ? cursor->number + 1 : NUMBER_NONE);
    return (mrl_own_run){run.list + passed, run.count - passed};
}

/* What is next of the commit's own; NULL: nothing. */
static const mrl_own_value *next_own(const walk *w) {
    if (w->own.count == 0) return NULL;
    return w->cursor->ordered.is_descending ? &w->own.list[w->own.count - 1] : w->own.list;
}

static void pass_own(walk *w) {
    w->own.count--;
    if (!w->cursor->ordered.is_descending) w->own.list++;
}

/* Whether a value comes before a hit in the cursor's direction. */
static int comes_before(const walk *w, const mrl_own_value *own, const mrl_ordered_hit *hit) {
    uint8_t value[MERLE_VALUE_SIZE_MAX];
    mrl_ordered_hit_copy(hit, value);
    int order = mrl_bytes_order_begins(own->value, merle_bytes_of(value, hit->size));
    if (order == 0) order = own->slot < hit->slot ? -1 : own->slot > hit->slot;
    return w->cursor->ordered.is_descending ? order > 0 : order < 0;
}

/* The tree has no hint with the slot of a document that is not in it: its place is behind all that
 * have the value. */
static uint32_t tree_slot(uint32_t slot) {
    return slot == MRL_SLOT_NONE ? MRL_SLOT_NONE - 1 : slot;
}

static void seek_own(merle_cursor *cursor, const mrl_own_value *own) {
    mrl_ordered_cursor_seek(&cursor->ordered, own->value, tree_slot(own->slot));
    cursor->number = own->slot == MRL_SLOT_NONE ? own->number : NUMBER_NONE;
}

static void seek_hit(merle_cursor *cursor, const mrl_ordered_hit *hit) {
    uint8_t value[MERLE_VALUE_SIZE_MAX];
    mrl_ordered_hit_copy(hit, value);
    mrl_ordered_cursor_seek(&cursor->ordered, merle_bytes_of(value, hit->size), hit->slot);
    cursor->number = NUMBER_NONE;
}

/* Of several values of a document, only the first one gives it. */
static int is_given(const walk *w, const mrl_own_value *own) {
    const mrl_ordered_cursor *at = &w->cursor->ordered;
    return w->index->each == MRL_PART_NONE ||
           mrl_entries_gives(own->version, w->index, &at->range, at->is_descending, own->value);
}

/* The same as step, with what the commit has written where it belongs. */
static size_t step_merged(walk *w, merle_doc *out_docs, size_t room, int *out_is_end) {
    mrl_ordered_hit hits[MRL_READ_BATCH];
    const mrl_version *versions[MRL_READ_BATCH];
    const mrl_own_value *own, *last = NULL;
    size_t wanted = room < MRL_READ_BATCH ? room : MRL_READ_BATCH, given = 0, passed = 0;
    size_t met = mrl_ordered_next(&w->cursor->ordered, hits, wanted);
    mrl_view_first_hits(w->view, w->index, &w->cursor->ordered.range,
                        w->cursor->ordered.is_descending, hits, met, w->cursor->ordered.unsure,
                        versions);
    *out_is_end = met < wanted;
    while (given < room) {
        own = next_own(w);
        if (own != NULL && (passed < met ? comes_before(w, own, &hits[passed]) : *out_is_end)) {
            if (is_given(w, own)) out_docs[given++] = mrl_view_doc(own->version);
            last = own;
            pass_own(w);
        } else if (passed < met) {
            if (versions[passed] != NULL) out_docs[given++] = mrl_view_doc(versions[passed]);
            passed++;
            last = NULL;
        } else {
            break;
        }
    }
    if (last != NULL)
        seek_own(w->cursor, last);
    else if (passed > 0)
        seek_hit(w->cursor, &hits[passed - 1]);
    return given;
}

merle_err merle_cursor_next(merle_section *section, merle_cursor *cursor, merle_doc *out_docs,
                            size_t doc_max, size_t *out_count) {
    mrl_view view;
    walk w = {cursor, &view, NULL, {NULL, 0}};
    int is_end = 0;
    *out_count = 0;
    if (cursor == NULL) return MERLE_INVALID;
    merle_err err = mrl_view_open(section, cursor->collection, &view);
    if (err != MERLE_OK) return err;
    mrl_member *member = view.section->member;
    err = mrl_read_index(member, cursor->collection, view.schema, cursor->index, MRL_USE_RANGES,
                         &w.index);
    if (err == MERLE_NOT_READY) return err;
    if (err != MERLE_OK || w.index->made_seq != cursor->made_seq)
        return mrl_store_fail_index(member, MERLE_GONE, cursor->collection, cursor->index,
                                    "the index %s of the cursor was dropped", cursor->index);
    cursor->ordered.tree = view.root->indexes[w.index->number].ordered;
    cursor->ordered.can_be_sure = 1;
    cursor->ordered.epoch = view.section->epoch;
    if (view.own_count > 0) {
        err = mrl_own_values(&view, w.index, MRL_OWN_AFTER, &w.own);
        if (err != MERLE_OK) return err;
        w.own = ahead_of(cursor, mrl_own_within(w.own, &cursor->ordered.range));
    }
    while (*out_count < doc_max && !is_end) {
        merle_doc *docs = out_docs + *out_count;
        size_t room = doc_max - *out_count;
        *out_count += view.own_count > 0 ? step_merged(&w, docs, room, &is_end)
                                         : step(&w, docs, room, &is_end);
    }
    return *out_count == 0 && doc_max > 0 ? MERLE_NOT_FOUND : MERLE_OK;
}

/* ---- counting ---- */

/* A range in a section. What the tree counts is the instant; what the commit takes away from that,
 * and what it puts there, is counted beside it. */
typedef struct asked_range {
    mrl_view view;
    mrl_view instant;
    const mrl_schema_index *index;
    mrl_ordered *tree;
    mrl_ordered_viewer viewer;
    bounds bounds;
    mrl_own_run before, after;
    mrl_due_values due; /* memory of what before has of the documents past their time */
} asked_range;

static uint64_t which_are_visible(void *context, const mrl_ordered_hit *hits, size_t count) {
    const asked_range *asked = context;
    return mrl_view_visible(&asked->instant, asked->index, hits, count);
}

static merle_err ask_own(asked_range *asked) {
    merle_err err = mrl_own_values(&asked->view, asked->index, MRL_OWN_BEFORE, &asked->before);
    if (err == MERLE_OK)
        err = mrl_own_values(&asked->view, asked->index, MRL_OWN_AFTER, &asked->after);
    asked->before = mrl_own_within(asked->before, &asked->bounds.range);
    asked->after = mrl_own_within(asked->after, &asked->bounds.range);
    return err;
}

static merle_err ask(asked_range *asked, merle_section *section, merle_collection *collection,
                     const merle_range *range) {
    if (range == NULL || range->index == NULL) return MERLE_INVALID;
    merle_err err = mrl_view_open(section, collection, &asked->view);
    if (err != MERLE_OK) return err;
    mrl_member *member = asked->view.section->member;
    err = mrl_read_index(member, collection, asked->view.schema, range->index, MRL_USE_RANGES,
                         &asked->index);
    if (err != MERLE_OK) return err;
    asked->instant = mrl_view_of_instant(&asked->view);
    asked->tree = asked->view.root->indexes[asked->index->number].ordered;
    asked->viewer = (mrl_ordered_viewer){asked->view.section->epoch, which_are_visible, asked};
    asked->before = asked->after = (mrl_own_run){NULL, 0};
    asked->due = (mrl_due_values){0};
    const asking a = {member, collection, asked->index};
    err = make_bounds(&a, range, &asked->bounds);
    if (err == MERLE_OK && asked->view.own_count > 0) err = ask_own(asked);
    if (err == MERLE_OK && asked->index->each == MRL_PART_NONE)
        err = mrl_due_add_values(&asked->view, asked->index, &asked->bounds.range, &asked->before,
                                 &asked->due);
    return err;
}

/* For what a walk has to tell: see store/range_each.h. NULL: no memory. */
static merle_cursor *each_cursor(const asked_range *asked, merle_collection *collection) {
    return create_cursor(collection, asked->index, &asked->bounds);
}

merle_err merle_range_count(merle_section *section, merle_collection *collection,
                            const merle_range *range, uint64_t *out_count) {
    asked_range asked;
    *out_count = 0;
    merle_err err = ask(&asked, section, collection, range);
    if (err != MERLE_OK) return err;
    if (asked.index->each != MRL_PART_NONE)
        return mrl_each_count(section, each_cursor(&asked, collection), out_count);
    *out_count = mrl_ordered_count(asked.tree, &asked.bounds.range, &asked.viewer) -
                 asked.before.count + asked.after.count;
    mrl_due_free_values(&asked.due);
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
    if (err == MERLE_OK) mrl_due_free_values(&asked.due);
    merle_err ended = merle_section_end(&section);
    return err != MERLE_OK ? err : ended;
}

/* ---- ranks ---- */

/* The place of a document in an index. */
typedef struct place {
    merle_bytes value;
    uint32_t slot, number;
} place;

static place place_of(const mrl_own_value *own) {
    return (place){own->value, own->slot, own->number};
}

/* How many of the run come before the place, in the direction that was asked for. */
static uint64_t ahead(const asked_range *asked, mrl_own_run run, const place *at) {
    if (!asked->bounds.backwards) return mrl_own_before(run, at->value, at->slot, at->number);
    return run.count - mrl_own_before(run, at->value, at->slot, at->number + 1);
}

/* How many documents of the instant come before the place. */
static uint64_t rank_at_instant(const asked_range *asked, const place *at) {
    return mrl_ordered_rank(asked->tree, &asked->bounds.range, asked->bounds.backwards, at->value,
                            tree_slot(at->slot), &asked->viewer);
}

static uint64_t rank_of(const asked_range *asked, const place *at) {
    return rank_at_instant(asked, at) - ahead(asked, asked->before, at) +
           ahead(asked, asked->after, at);
}

/* The n-th of a run in the direction that was asked for. */
static const mrl_own_value *nth_of(const asked_range *asked, mrl_own_run run, size_t n) {
    return &run.list[asked->bounds.backwards ? run.count - 1 - n : n];
}

static merle_err find_rank(const asked_range *asked, const mrl_version *v, uint64_t *out_rank) {
    uint8_t value[MERLE_VALUE_SIZE_MAX];
    size_t size = mrl_version_encode(v, asked->index, value);
    if (size == 0 || !mrl_range_has(&asked->bounds.range, merle_bytes_of(value, size)))
        return MERLE_NOT_FOUND;
    place at = {merle_bytes_of(value, size), v->slot, 0};
    mrl_own_run equal = mrl_own_equal(asked->after, at.value);
    for (size_t i = 0; i < equal.count; i++)
        if (equal.list[i].version == v) at = place_of(&equal.list[i]);
    *out_rank = rank_of(asked, &at);
    return MERLE_OK;
}

merle_err merle_range_rank(merle_section *section, merle_collection *collection,
                           const merle_range *range, merle_bytes key, uint64_t *out_rank) {
    asked_range asked;
    merle_doc doc;
    *out_rank = 0;
    merle_err err = ask(&asked, section, collection, range);
    if (err != MERLE_OK) return err;
    err = merle_get(section, collection, key, &doc);
    if (err == MERLE_OK && asked.index->each != MRL_PART_NONE)
        return mrl_each_rank(section, each_cursor(&asked, collection), &doc, out_rank);
    if (err == MERLE_OK)
        err = find_rank(&asked, mrl_view_valued(&asked.view, asked.index, doc.internal), out_rank);
    mrl_due_free_values(&asked.due);
    return err;
}

/* How many of what the commit has written have a rank up to n. */
static size_t count_up_to(const asked_range *asked, uint64_t n) {
    size_t low = 0, high = asked->after.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        place at = place_of(nth_of(asked, asked->after, middle));
        if (rank_of(asked, &at) <= n)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The rank at the instant of the n-th document that the commit has left alone. As many of those
 * that it has changed come before it as have at most n of the others before them. */
static uint64_t rank_of_untouched(const asked_range *asked, uint64_t n) {
    size_t low = 0, high = asked->before.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        place at = place_of(nth_of(asked, asked->before, middle));
        if (rank_at_instant(asked, &at) - middle <= n)
            low = middle + 1;
        else
            high = middle;
    }
    return n + low;
}

static merle_err find_nth(const asked_range *asked, uint64_t n, merle_doc *out_doc) {
    mrl_ordered_hit hit;
    const mrl_version *v;
    if (asked->before.count + asked->after.count > 0) {
        size_t own_count = count_up_to(asked, n);
        const mrl_own_value *own =
            own_count == 0 ? NULL : nth_of(asked, asked->after, own_count - 1);
        place at = own == NULL ? (place){0} : place_of(own);
        if (own != NULL && rank_of(asked, &at) == n) {
            *out_doc = mrl_view_doc(own->version);
            return MERLE_OK;
        }
        n = rank_of_untouched(asked, n - own_count);
    }
    if (!mrl_ordered_nth(asked->tree, &asked->bounds.range, asked->bounds.backwards, n,
                         &asked->viewer, &hit))
        return MERLE_NOT_FOUND;
    mrl_view_hits(&asked->instant, asked->index, &hit, 1, &v);
    if (v == NULL) return MERLE_NOT_FOUND;
    *out_doc = mrl_view_doc(v);
    return MERLE_OK;
}

merle_err merle_range_nth(merle_section *section, merle_collection *collection,
                          const merle_range *range, uint64_t n, merle_doc *out_doc) {
    asked_range asked;
    memset(out_doc, 0, sizeof *out_doc);
    merle_err err = ask(&asked, section, collection, range);
    if (err != MERLE_OK) return err;
    if (asked.index->each != MRL_PART_NONE)
        return mrl_each_nth(section, each_cursor(&asked, collection), n, out_doc);
    err = find_nth(&asked, n, out_doc);
    mrl_due_free_values(&asked.due);
    return err;
}
