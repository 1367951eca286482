/* memory/map_list.c - a map of few entries: a list instead of directory, piece and table.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/assert.h"
#include "base/self.h"
#include "memory/map_private.h"

static mrl_directory *list_create(mrl_member *member, uint32_t capacity) {
    mrl_directory *d = mrl_block_alloc(member, MRL_FOR_TABLES, list_size(capacity));
    if (d == NULL) return NULL;
    memset(d, 0, list_size(capacity));
    d->depth = DEPTH_OF_LIST;
    d->capacity = capacity;
    return d;
}

/* Release: what the entry stands for is written before it is shown; readers follow the entry. */
static void word_put(const mrl_directory *d, uint32_t at, uint64_t entry) {
    mrl_entry_tell_release(entry);
    atomic_store_explicit(&list_words(d)[at], entry, memory_order_release);
}

/* The first word that is `entry`; capacity: none. */
static uint32_t word_of(const mrl_directory *d, uint64_t entry) {
    uint32_t at = 0;
    while (at < d->capacity && list_entry(d, at) != entry) at++;
    return at;
}

/* ---- finding ---- */

uint64_t mrl_map_list_find(mrl_map_kind kind, const mrl_directory *d, const mrl_probe *probe) {
    uint64_t tag = hash_tag(kind, probe->hash);
    /* Nought among the entries ends nothing: what stood there was removed. */
    for (uint32_t i = 0; i < d->capacity; i++) {
        uint64_t entry = list_entry(d, i);
        if (entry == 0 || entry_tag(kind, entry) != tag) continue;
        mrl_entry_tell_acquire(entry);
        if (probe->matches(probe, entry)) return entry;
    }
    return 0;
}

uint32_t mrl_map_list_count(const mrl_directory *d) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < d->capacity; i++) count += list_entry(d, i) != 0;
    return count;
}

/* ---- changing ---- */

void mrl_map_list_replace(const mrl_directory *d, uint64_t old, uint64_t entry) {
    uint32_t at = word_of(d, old);
    MRL_ASSERT(at < d->capacity);
    word_put(d, at, entry);
}

uint64_t mrl_map_list_remove(mrl_change *c, const mrl_probe *probe) {
    const mrl_directory *d = map_directory(c->map);
    uint64_t entry = mrl_map_list_find(c->map->type->kind, d, probe);
    if (entry != 0)
        atomic_store_explicit(&list_words(d)[word_of(d, entry)], 0, memory_order_relaxed);
    return entry;
}

merle_err mrl_map_list_start(mrl_change *c, uint64_t entry) {
    mrl_directory *d = list_create(c->member, LIST_MIN);
    if (d == NULL) return MERLE_NO_MEMORY;
    word_put(d, 0, entry);
    map_put_directory(c->map, d);
    return MERLE_OK;
}

/* Shows `d` in place of a list, which stays as it is for its readers. */
static void list_give_way(mrl_change *c, mrl_directory *list, mrl_directory *d) {
    c->copied_count += list->capacity;
    map_put_directory(c->map, d);
    mrl_point("map: list replaced");
    mrl_block_retire(c->member, list);
}

static merle_err list_lengthen(mrl_change *c, mrl_directory *list, uint64_t entry) {
    mrl_directory *d = list_create(c->member, 2 * list->capacity);
    if (d == NULL) return MERLE_NO_MEMORY;
    for (uint32_t i = 0; i < list->capacity; i++) word_put(d, i, list_entry(list, i));
    word_put(d, list->capacity, entry);
    list_give_way(c, list, d);
    return MERLE_OK;
}

/* A directory of one place, with a piece that has all entries. */
static merle_err list_to_table(mrl_change *c, mrl_directory *list, uint64_t entry) {
    mrl_piece *p = NULL;
    mrl_directory *d = mrl_directory_create(c->member, 0);
    if (d == NULL) return MERLE_NO_MEMORY;
    p = mrl_piece_create(c->map->type, c->member, 0, list->capacity + 1u);
    if (p == NULL) goto fail;
    for (uint32_t i = 0; i < list->capacity; i++)
        if (!mrl_piece_fill(p, c->member, list_entry(list, i))) goto fail;
    if (!mrl_piece_fill(p, c->member, entry)) goto fail;
    mrl_piece_note_table(p);
    d->deepest_count = 1;
    atomic_init(&d->places[0].piece, p);
    atomic_init(&d->places[0].slots_hint,
                atomic_load_explicit(&p->slots_hint, memory_order_relaxed));
    list_give_way(c, list, d);
    return MERLE_OK;
fail:
    mrl_piece_free(c->member, p);
    mrl_block_free(c->member, d);
    return MERLE_NO_MEMORY;
}

merle_err mrl_map_list_add(mrl_change *c, uint64_t entry) {
    mrl_directory *d = map_directory(c->map);
    uint32_t at = word_of(d, 0);
    if (at == d->capacity)
        return at < LIST_MAX ? list_lengthen(c, d, entry) : list_to_table(c, d, entry);
    word_put(d, at, entry);
    return MERLE_OK;
}

/* ---- a list again ---- */

static int take_entry(void *context, uint64_t entry) {
    mrl_directory *d = context;
    MRL_ASSERT(d->deepest_count < d->capacity);
    word_put(d, d->deepest_count++, entry);
    return 0;
}

void mrl_map_list_again(mrl_change *c) {
    mrl_directory *old = map_directory(c->map);
    mrl_piece *p = piece_at(old, 0);
    mrl_directory *d = list_create(c->member, LIST_MAX / 2);
    if (d == NULL) return;
    (void)mrl_piece_each(p, take_entry, d);
    d->deepest_count = 0;
    c->copied_count += piece_entries(p);
    map_put_directory(c->map, d);
    mrl_piece_retire(c->member, p);
    mrl_block_retire(c->member, old);
}

/* ---- looking at it ---- */

const char *mrl_map_list_check(const mrl_map_type *type, const mrl_directory *d) {
    if (d->capacity < LIST_MIN || d->capacity > LIST_MAX) return "a list has no such length";
    if (mrl_map_list_count(d) == 0) return "a list is empty";
    for (uint32_t i = 0; i < d->capacity; i++) {
        uint64_t entry = list_entry(d, i);
        if (entry == 0) continue;
        if (entry_tag(type->kind, entry) != hash_tag(type->kind, entry_hash(type, entry)))
            return "an entry's tag is not that of its hash";
        if (word_of(d, entry) != i) return "an entry is twice in a list";
    }
    return NULL;
}
