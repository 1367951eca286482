/* store/own.c - a commit's own writes, as its section shows them.
 *
 * A commit may read and write in turns, thousands of times. So nothing here is made anew for each
 * read: a touch knows the last action that changed it, a list knows the last action that it has
 * seen, and what lies between the two is composed, encoded, sorted by itself and merged in.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/own.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "store/commit.h"
#include "store/entries.h"

enum { OWN_ROOM_MIN = 16 };

typedef struct mrl_own_list {
    struct mrl_own_list *next;
    const mrl_schema_index *index;
    mrl_own_side side;
    uint32_t seen_actions;
    uint32_t seen_touches;
    uint32_t told_actions; /* by mrl_own_each_changed */
    mrl_own_value *list;
    size_t count, capacity;
} mrl_own_list;

/* ---- arrays that are nearly sorted ---- */

typedef int compare_fn(const void *a, const void *b);

/* Sorts an array of which the first `sorted` are in order already. */
static merle_err merge_rest(merle_commit *commit, void *array, size_t count, size_t sorted,
                            size_t size, compare_fn *compare) {
    uint8_t *bytes = array;
    size_t left = count - sorted, at = sorted, to = count;
    if (left == 0) return MERLE_OK;
    qsort(bytes + sorted * size, left, size, compare);
    if (sorted == 0 || compare(bytes + (sorted - 1) * size, bytes + sorted * size) < 0)
        return MERLE_OK;
    uint8_t *rest = mrl_arena_take(&commit->arena, commit->member, left * size);
    if (rest == NULL) return MERLE_NO_MEMORY;
    memcpy(rest, bytes + sorted * size, left * size);
    while (left > 0) {
        int from_rest = at == 0 || compare(bytes + (at - 1) * size, rest + (left - 1) * size) < 0;
        const uint8_t *from = from_rest ? rest + --left * size : bytes + --at * size;
        memcpy(bytes + --to * size, from, size);
    }
    return MERLE_OK;
}

/* An array with room for `wanted`, `count` of which are copied; NULL: no memory. */
static void *take_array(merle_commit *commit, const void *old, size_t count, size_t size,
                        size_t wanted, size_t *out_capacity) {
    size_t capacity = wanted < OWN_ROOM_MIN ? OWN_ROOM_MIN : 2 * wanted;
    void *array = mrl_arena_take(&commit->arena, commit->member, capacity * size);
    if (array == NULL) return NULL;
    if (count > 0) memcpy(array, old, count * size);
    *out_capacity = capacity;
    return array;
}

/* ---- documents ---- */

mrl_portion *mrl_commit_find_part(const merle_commit *commit, const merle_collection *collection) {
    mrl_portion *part = commit->parts;
    while (part != NULL && part->collection != collection) part = part->next;
    return part;
}

merle_err mrl_touch_show(merle_commit *commit, mrl_touch *touch, const mrl_root *root) {
    if (touch->is_composed) return MERLE_OK;
    mrl_version *v = mrl_root_find(root, touch->hash, touch->key);
    while (v != NULL && mrl_version_seq(v) > commit->section.seq) v = v->before;
    merle_err err = mrl_touch_compose(commit, touch, v);
    if (err == MERLE_OK) touch->is_shown = 1;
    return err;
}

static int by_slot(const void *a, const void *b) {
    const mrl_own *x = a, *y = b;
    if (x->slot != y->slot) return x->slot < y->slot ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static mrl_own own_of(mrl_touch *touch) {
    const mrl_version *before = touch->base_is_due ? NULL : mrl_version_live(touch->base);
    return (mrl_own){before, mrl_touch_after(touch), touch,
                     before == NULL ? MRL_SLOT_NONE : before->slot, touch->number};
}

/* Appends the touches that are not in the list yet. */
static merle_err append_touches(merle_commit *commit, mrl_portion *part, const mrl_root *root,
                                size_t *count) {
    mrl_own_writes *own = &part->own;
    mrl_touch *touch = own->last == NULL ? commit->touches : own->last->next;
    for (; touch != NULL; touch = touch->next) {
        if (touch->part != part) continue;
        merle_err err = mrl_touch_show(commit, touch, root);
        if (err != MERLE_OK) return err;
        own->list[(*count)++] = own_of(touch);
    }
    return MERLE_OK;
}

merle_err mrl_own_refresh(merle_commit *commit, mrl_portion *part, const mrl_root *root) {
    mrl_own_writes *own = &part->own;
    if (own->seen_actions == commit->action_count) return MERLE_OK;
    if (own->capacity < part->touch_count) {
        mrl_own *list = take_array(commit, own->list, own->count, sizeof *list, part->touch_count,
                                   &own->capacity);
        if (list == NULL) return MERLE_NO_MEMORY;
        own->list = list;
    }
    size_t count = own->count;
    for (size_t i = 0; i < count; i++) {
        mrl_touch *touch = own->list[i].touch;
        if (touch->changed_at <= own->seen_actions) continue;
        merle_err err = mrl_touch_show(commit, touch, root);
        if (err != MERLE_OK) return err;
        own->list[i].after = mrl_touch_after(touch);
    }
    merle_err err = append_touches(commit, part, root, &count);
    if (err == MERLE_OK)
        err = merge_rest(commit, own->list, count, own->count, sizeof *own->list, by_slot);
    if (err != MERLE_OK) return err;
    own->count = count;
    own->last = commit->touches_last;
    own->seen_actions = commit->action_count;
    return MERLE_OK;
}

/* ---- values ---- */

static int compare_place(const mrl_own_value *a, merle_bytes value, uint32_t slot,
                         uint32_t number) {
    int order = mrl_bytes_order(a->value, value);
    if (order != 0) return order;
    if (a->slot != slot) return a->slot < slot ? -1 : 1;
    return a->number < number ? -1 : a->number > number;
}

int mrl_own_by_place(const void *a, const void *b) {
    const mrl_own_value *y = b;
    return compare_place(a, y->value, y->slot, y->number);
}

/* Adding the values of one document. */
typedef struct adding {
    merle_commit *commit;
    mrl_own_list *values;
    mrl_own_value model;
} adding;

static int add_value(void *context, merle_bytes value) {
    adding *a = context;
    mrl_own_list *values = a->values;
    if (values->count == values->capacity) {
        void *list = take_array(a->commit, values->list, values->count, sizeof *values->list,
                                values->count + 1, &values->capacity);
        if (list == NULL) return MERLE_NO_MEMORY;
        values->list = list;
    }
    a->model.value = merle_bytes_of(NULL, 0);
    merle_err err = mrl_commit_copy(a->commit, value, &a->model.value);
    if (err == MERLE_OK) values->list[values->count++] = a->model;
    return (int)err;
}

static merle_err add_values(const mrl_view *view, mrl_own_list *values, const mrl_own *own) {
    merle_commit *commit = view->section->commit;
    int is_after = values->side == MRL_OWN_AFTER;
    const mrl_version *v =
        mrl_view_valued(view, values->index, is_after ? own->after : own->before);
    adding a = {commit, values, {.version = v, .touch = own->touch, .slot = own->slot}};
    a.model.number = own->number;
    return v == NULL ? MERLE_OK : (merle_err)mrl_entries_each(v, values->index, add_value, &a);
}

/* What a document was never changes; what it will be does so with each action. */
static int is_new(const mrl_own_list *values, const mrl_touch *touch) {
    return values->side == MRL_OWN_BEFORE ? touch->number >= values->seen_touches
                                          : touch->changed_at > values->seen_actions;
}

static merle_err refresh_values(const mrl_view *view, mrl_own_list *values) {
    merle_commit *commit = view->section->commit;
    const mrl_own_writes *own = &view->part->own;
    size_t sorted = 0;
    merle_err err = MERLE_OK;
    if (values->seen_actions == own->seen_actions) return MERLE_OK;
    for (size_t i = 0; i < values->count; i++)
        if (!is_new(values, values->list[i].touch)) values->list[sorted++] = values->list[i];
    values->count = sorted;
    for (size_t i = 0; i < own->count && err == MERLE_OK; i++)
        if (is_new(values, own->list[i].touch)) err = add_values(view, values, &own->list[i]);
    if (err == MERLE_OK)
        err = merge_rest(commit, values->list, values->count, sorted, sizeof *values->list,
                         mrl_own_by_place);
    /* What is half done is done again from the beginning: then all is new. */
    values->seen_actions = err == MERLE_OK ? own->seen_actions : 0;
    values->seen_touches = err == MERLE_OK ? commit->touch_count : 0;
    return err;
}

static mrl_own_list *find_list(const mrl_own_writes *own, const mrl_schema_index *index,
                               mrl_own_side side) {
    mrl_own_list *values = own->values;
    while (values != NULL && (values->index != index || values->side != side))
        values = values->next;
    return values;
}

merle_err mrl_own_values(const mrl_view *view, const mrl_schema_index *index, mrl_own_side side,
                         mrl_own_run *out_run) {
    *out_run = (mrl_own_run){NULL, 0};
    if (view->own_count == 0) return MERLE_OK;
    merle_commit *commit = view->section->commit;
    mrl_own_writes *own = &view->part->own;
    mrl_own_list *values = find_list(own, index, side);
    if (values == NULL) {
        values = mrl_arena_take(&commit->arena, commit->member, sizeof *values);
        if (values == NULL) return MERLE_NO_MEMORY;
        *values = (mrl_own_list){.next = own->values, .index = index, .side = side};
        own->values = values;
    }
    merle_err err = refresh_values(view, values);
    if (err == MERLE_OK) *out_run = (mrl_own_run){values->list, values->count};
    return err;
}

void mrl_own_each_changed(const mrl_view *view, const mrl_schema_index *index,
                          void (*fn)(void *context, mrl_touch *touch), void *context) {
    const mrl_own_writes *own = &view->part->own;
    mrl_own_list *values = find_list(own, index, MRL_OWN_AFTER);
    if (values->told_actions == own->seen_actions) return;
    for (size_t i = 0; i < own->count; i++)
        if (own->list[i].touch->changed_at > values->told_actions) fn(context, own->list[i].touch);
    values->told_actions = own->seen_actions;
}

/* ---- places in a run ---- */

size_t mrl_own_before(mrl_own_run run, merle_bytes value, uint32_t slot, uint32_t number) {
    size_t low = 0, high = run.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare_place(&run.list[middle], value, slot, number) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* How many lie before a bound; those that begin with its bytes too, if is_behind. */
static size_t before_bound(mrl_own_run run, merle_bytes bound, int is_behind) {
    size_t low = 0, high = run.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = mrl_bytes_order_begins(run.list[middle].value, bound);
        if (order < 0 || (order == 0 && is_behind))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

mrl_own_run mrl_own_within(mrl_own_run run, const mrl_ordered_range *range) {
    size_t from = 0, to = run.count;
    if (range->from_bound != MRL_BOUND_NONE)
        from = before_bound(run, range->from, range->from_bound == MRL_BOUND_OPEN);
    if (range->to_bound != MRL_BOUND_NONE)
        to = before_bound(run, range->to, range->to_bound == MRL_BOUND_CLOSED);
    if (to <= from) return (mrl_own_run){NULL, 0};
    return (mrl_own_run){run.list + from, to - from};
}

mrl_own_run mrl_own_equal(mrl_own_run run, merle_bytes value) {
    const mrl_ordered_range one = {value, value, MRL_BOUND_CLOSED, MRL_BOUND_CLOSED};
    return mrl_own_within(run, &one);
}
