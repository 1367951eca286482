/* query/sort.c - the first so many of many, or all of them, in order.
 *
 * Where only the first are wanted, the list is sorted whenever it has twice as many, and what is
 * behind them is forgotten; from then on whatever is not before the last of them is not even noted.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "query/query_private.h"

enum { LIST_FIRST = 128 };

int mrl_place_order(const mrl_place *left, const mrl_place *right) {
    int order = mrl_bytes_order(merle_bytes_of(left->value, left->size),
                                merle_bytes_of(right->value, right->size));
    if (order != 0) return order;
    if (left->slot != right->slot) return left->slot < right->slot ? -1 : 1;
    return left->slot != MRL_SLOT_NONE ? 0 : mrl_bytes_order(left->key, right->key);
}

/* An entry of a document that has no slot yet is told apart by its key. */
static mrl_place place_of(const mrl_sorted *entry) {
    mrl_place place = {entry->value, entry->size, entry->slot, {NULL, 0}};
    if (entry->slot == MRL_SLOT_NONE && entry->version != NULL)
        place.key = mrl_version_key(entry->version);
    return place;
}

static int by_place(const void *left, const void *right) {
    const mrl_sorted *a = left, *b = right;
    if (a->head != b->head) return a->head < b->head ? -1 : 1;
    const mrl_place one = place_of(a), other = place_of(b);
    return mrl_place_order(&one, &other);
}

void mrl_sorter_init(mrl_sorter *sorter, uint64_t wanted, int joins, uint64_t memory_max) {
    memset(sorter, 0, sizeof *sorter);
    sorter->wanted = wanted;
    sorter->joins = joins;
    sorter->memory_max = memory_max;
    mrl_pool_init(&sorter->pool, NULL, 0);
}

void mrl_sorter_fini(mrl_sorter *sorter) {
    free(sorter->list);
    sorter->list = NULL;
    mrl_pool_fini(&sorter->pool);
}

/* Equal ones stand side by side. */
static void join(mrl_sorter *sorter) {
    size_t kept = 0;
    for (size_t i = 0; i < sorter->count; i++) {
        const mrl_sorted *entry = &sorter->list[i];
        mrl_sorted *last = kept == 0 ? NULL : &sorter->list[kept - 1];
        if (last != NULL && last->size == entry->size && last->head == entry->head &&
            memcmp(last->value, entry->value, entry->size) == 0)
            last->count += entry->count;
        else
            sorter->list[kept++] = *entry;
    }
    sorter->count = kept;
}

/* Copies what the values of the list take, and lets go of those that nobody has any more. */
static merle_err move_values(mrl_sorter *sorter) {
    mrl_pool pool;
    mrl_pool_init(&pool, NULL, 0);
    for (size_t i = 0; i < sorter->count; i++) {
        mrl_sorted *entry = &sorter->list[i];
        uint8_t *value = mrl_pool_take(&pool, entry->size);
        if (value == NULL) {
            /* The list must not point into memory that is gone: nothing of it is used any more. */
            mrl_pool_fini(&pool);
            sorter->count = 0;
            return MERLE_NO_MEMORY;
        }
        memcpy(value, entry->value, entry->size);
        entry->value = value;
    }
    mrl_pool_fini(&sorter->pool);
    sorter->pool = pool;
    return MERLE_OK;
}

/* Forgets what is not wanted, and joins what is equal. The values of what is gone are let go of
 * where they are many, or memory is tight. */
static merle_err compact(mrl_sorter *sorter, int is_tight) {
    size_t before = sorter->count;
    qsort(sorter->list, sorter->count, sizeof *sorter->list, by_place);
    if (sorter->joins) join(sorter);
    if (sorter->wanted > 0 && sorter->count >= sorter->wanted) {
        sorter->count = (size_t)sorter->wanted;
        sorter->is_full = 1;
    }
    int is_moved = sorter->count <= before / 2 || (is_tight && sorter->count < before);
    return is_moved ? move_values(sorter) : MERLE_OK;
}

static merle_err grow(mrl_sorter *sorter) {
    size_t capacity = sorter->capacity == 0 ? LIST_FIRST : sorter->capacity * 2;
    /* Sorting takes as much again. */
    if (2 * capacity * sizeof *sorter->list > sorter->memory_max) return MERLE_TOO_BIG;
    mrl_sorted *list = mrl_allocate(capacity * sizeof *list);
    if (list == NULL) return MERLE_NO_MEMORY;
    if (sorter->count > 0) memcpy(list, sorter->list, sorter->count * sizeof *list);
    free(sorter->list);
    sorter->list = list;
    sorter->capacity = capacity;
    return MERLE_OK;
}

static uint64_t used_by(const mrl_sorter *sorter) {
    return 2 * sorter->capacity * sizeof *sorter->list + sorter->pool.taken;
}

/* An eighth of the memory, or of the list, must come free: else it is too big, because soon each
 * document would cost a sort. */
static merle_err make_room_by_joining(mrl_sorter *sorter, size_t size, int is_tight) {
    size_t before = sorter->count;
    merle_err err = compact(sorter, is_tight);
    if (err != MERLE_OK || sorter->count <= before / 2) return err;
    int is_enough = used_by(sorter) + size <= sorter->memory_max / 8 * 7;
    if (is_tight) return is_enough ? MERLE_OK : MERLE_TOO_BIG;
    /* Most are different: in a longer list fewer of those that come next would be. */
    err = grow(sorter);
    return err == MERLE_TOO_BIG && sorter->count <= sorter->capacity / 8 * 7 ? MERLE_OK : err;
}

/* Makes room for one more, in the list and for its value. */
static merle_err make_room(mrl_sorter *sorter, size_t size) {
    int may_shrink = sorter->joins || (sorter->wanted > 0 && sorter->count >= 2 * sorter->wanted);
    int is_tight = size > sorter->pool.left && used_by(sorter) + size > sorter->memory_max;
    if (sorter->count < sorter->capacity && !is_tight) return MERLE_OK;
    if (sorter->count > 0 && (may_shrink || is_tight))
        return make_room_by_joining(sorter, size, is_tight);
    return grow(sorter);
}

merle_err mrl_sorter_add(mrl_sorter *sorter, const mrl_place *place, const mrl_version *version) {
    sorter->added++;
    if (sorter->is_full) {
        const mrl_place last = place_of(&sorter->list[sorter->wanted - 1]);
        if (mrl_place_order(place, &last) >= 0) return MERLE_OK;
    }
    merle_err err = make_room(sorter, place->size);
    if (err != MERLE_OK) return err;
    uint8_t *value = mrl_pool_take(&sorter->pool, place->size);
    if (value == NULL) return MERLE_NO_MEMORY;
    memcpy(value, place->value, place->size);
    sorter->list[sorter->count++] = (mrl_sorted){
        mrl_ordered_head_of(value, place->size), value, place->size, place->slot, version, 1};
    return MERLE_OK;
}

void mrl_sorter_finish(mrl_sorter *sorter) {
    if (sorter->count == 0) return;
    qsort(sorter->list, sorter->count, sizeof *sorter->list, by_place);
    if (sorter->joins) join(sorter);
    if (sorter->wanted > 0 && sorter->count > sorter->wanted)
        sorter->count = (size_t)sorter->wanted;
}
