/* memory/map.c - a directory of ck_hs pieces: finding, adding, replacing, removing. How a map is
 * made stands at the top of map_private.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "memory/map.h"

#include "base/assert.h"
#include "memory/map_private.h"

/* ---- finding ---- */

/* Asks for the line of the slot at which a probe with this hash begins. */
static inline void prefetch_slot(uint64_t hint, unsigned long h) {
    uint64_t mask = ((uint64_t)1 << (hint & 63)) - 1;
    uint64_t slot = h & mask & ~(uint64_t)(LINE_PLACES - 1);
    __builtin_prefetch(as_pointer((hint & ~(uint64_t)63) + slot * sizeof(void *)));
}

/* Asks for the header of the table, which lies just before its slots, across two or three lines. */
static inline void prefetch_header(uint64_t hint) {
    __builtin_prefetch(as_pointer((hint & ~(uint64_t)63) - 64));
    __builtin_prefetch(as_pointer((hint & ~(uint64_t)63) - 128));
}

uint64_t mrl_map_find(const mrl_map *map, const mrl_probe *probe) {
    const mrl_directory *d = map_directory(map);
    uint64_t key;
    if (d == NULL) return 0;
    if (is_list(d)) return mrl_map_list_find(map->type->kind, d, probe);
    size_t place = place_of(d, probe->hash);
    unsigned long h = table_hash(map->type->kind, probe->hash);
    /* Before ck reads the piece and the table's header, which tells it where the slots are: the
     * three are fetched side by side. */
    uint64_t hint = atomic_load_explicit(&d->places[place].slots_hint, memory_order_relaxed);
    prefetch_slot(hint, h);
    prefetch_header(hint);
    const mrl_piece *p = piece_at(d, place);
    uint64_t entry = line_find(map->type->kind, p, h, probe);
    return entry != LINE_UNDECIDED ? entry : piece_find(p, h, probe, &key);
}

void mrl_map_prefetch(const mrl_map *map, uint64_t hash) {
    const mrl_directory *d = map_directory(map);
    if (d == NULL || is_list(d)) return;
    size_t place = place_of(d, hash);
    uint64_t hint = atomic_load_explicit(&d->places[place].slots_hint, memory_order_relaxed);
    __builtin_prefetch(piece_at(d, place));
    prefetch_header(hint);
    prefetch_slot(hint, table_hash(map->type->kind, hash));
}

/* ---- changing ---- */

static void change_begin(mrl_change *c, mrl_map *map, mrl_member *member) {
    c->map = map;
    c->member = member;
    c->copied_count = 0;
}
static void change_end(const mrl_change *c) {
    if (c->copied_count == 0) return;
    mrl_count(c->member, MRL_N_COPIED, c->copied_count);
    mrl_count_max(c->member, MRL_N_COPIED_MAX, c->copied_count);
}

void mrl_map_init(mrl_map *map, const mrl_map_type *type) {
    MRL_ASSERT((type->kind == MRL_MAP_POINTERS) == (type->rehash != NULL));
    atomic_init(&map->directory, NULL);
    map->type = type;
}

void mrl_map_fini(mrl_map *map, mrl_member *member) {
    while (mrl_map_clear_some(map, member, SIZE_MAX) != 0) continue;
}

/* After a change that may have given the piece for this hash a new table. */
static void refresh_hint(const mrl_map *map, uint64_t hash) {
    mrl_directory *d = map_directory(map);
    size_t place = place_of(d, hash);
    mrl_piece *p = piece_at(d, place);
    uint64_t hint = atomic_load_explicit(&p->slots_hint, memory_order_relaxed);
    if (atomic_load_explicit(&d->places[place].slots_hint, memory_order_relaxed) == hint) return;
    size_t end = place_after(d, place, p);
    for (size_t i = end - span_of(d, p); i < end; i++)
        atomic_store_explicit(&d->places[i].slots_hint, hint, memory_order_relaxed);
}

static merle_err list_add(mrl_change *c, const mrl_probe *probe, uint64_t entry,
                          uint64_t *out_existing) {
    *out_existing = mrl_map_list_find(c->map->type->kind, map_directory(c->map), probe);
    return *out_existing != 0 ? MERLE_OK : mrl_map_list_add(c, entry);
}

static merle_err table_add(mrl_change *c, const mrl_probe *probe, uint64_t entry,
                           uint64_t *out_existing) {
    mrl_piece *p = piece_of(map_directory(c->map), probe->hash);
    merle_err err = MERLE_OK;
    if (piece_entries(p) >= p->split_at) {
        *out_existing = mrl_map_find(c->map, probe);
        if (*out_existing != 0) return MERLE_OK;
        err = mrl_map_make_room(c, probe->hash);
        p = piece_of(map_directory(c->map), probe->hash);
    }
    if (err == MERLE_OK) err = mrl_piece_add(c, p, probe, entry, out_existing);
    refresh_hint(c->map, probe->hash);
    return err;
}

merle_err mrl_map_add(mrl_map *map, mrl_member *member, const mrl_probe *probe, uint64_t entry,
                      uint64_t *out_existing) {
    mrl_directory *d = map_directory(map);
    merle_err err;
    mrl_change c;
    *out_existing = 0;
    MRL_DEBUG_ASSERT(entry != 0 && entry != UINT64_MAX);
    change_begin(&c, map, member);
    if (d == NULL)
        err = mrl_map_list_start(&c, entry);
    else if (is_list(d))
        err = list_add(&c, probe, entry, out_existing);
    else
        err = table_add(&c, probe, entry, out_existing);
    change_end(&c);
    return err;
}

void mrl_map_replace(mrl_map *map, uint64_t hash, uint64_t old, uint64_t entry) {
    mrl_directory *d = map_directory(map);
    MRL_ASSERT(d != NULL);
    if (is_list(d)) {
        mrl_map_list_replace(d, old, entry);
        return;
    }
    mrl_piece *p = piece_of(d, hash);
    _Atomic uint64_t *place = piece_place_of(p, table_hash(map->type->kind, hash), old);
    MRL_ASSERT(place != NULL);
    /* Release: what the entry stands for is written before it is shown; readers follow the
     * entry. */
    mrl_entry_tell_release(entry);
    atomic_store_explicit(place, entry, memory_order_release);
}

/* After an entry has gone: smaller tables, if there is memory for them. */
static void table_shrink(mrl_change *c, uint64_t hash) {
    while (mrl_piece_merge(c, hash)) continue;
    mrl_directory *d = map_directory(c->map);
    if (d->depth == 0 && piece_entries(piece_at(d, 0)) <= LIST_AGAIN) {
        mrl_map_list_again(c);
        if (is_list(map_directory(c->map))) return;
    }
    mrl_piece_rebuild(c, hash);
    refresh_hint(c->map, hash);
}

static uint64_t table_remove(mrl_change *c, const mrl_probe *probe) {
    uint64_t key;
    mrl_piece *p = piece_of(map_directory(c->map), probe->hash);
    unsigned long h = table_hash(c->map->type->kind, probe->hash);
    uint64_t entry = piece_find(p, h, probe, &key);
    if (entry == 0) return 0;
    void *removed = ck_hs_remove(&p->hs, h, as_pointer(key));
    MRL_ASSERT(as_entry(removed) == entry);
    count_up(&p->entry_count, -1);
    count_up(&p->removed_count, 1);
    if (piece_entries(p) == 0 && mrl_map_count(c->map) == 0)
        mrl_map_retire_all(c);
    else
        table_shrink(c, probe->hash);
    return entry;
}

static uint64_t list_remove(mrl_change *c, const mrl_probe *probe) {
    uint64_t entry = mrl_map_list_remove(c, probe);
    if (entry != 0 && mrl_map_count(c->map) == 0) mrl_map_retire_all(c);
    return entry;
}

uint64_t mrl_map_remove(mrl_map *map, mrl_member *member, const mrl_probe *probe) {
    mrl_directory *d = map_directory(map);
    mrl_change c;
    if (d == NULL) return 0;
    change_begin(&c, map, member);
    uint64_t entry = is_list(d) ? list_remove(&c, probe) : table_remove(&c, probe);
    change_end(&c);
    return entry;
}

size_t mrl_map_clear_some(mrl_map *map, mrl_member *member, size_t max) {
    mrl_directory *d = map_directory(map);
    size_t freed_count = 0;
    if (d == NULL || max == 0) return 0;
    if (is_list(d)) {
        map_put_directory(map, NULL);
        mrl_block_free(member, d);
        return 1;
    }
    while (d->cleared_count < places_of(d) && freed_count < max) {
        mrl_piece *p = piece_at(d, d->cleared_count);
        d->cleared_count = (uint32_t)place_after(d, d->cleared_count, p);
        mrl_piece_free(member, p);
        freed_count++;
    }
    if (d->cleared_count == places_of(d)) {
        map_put_directory(map, NULL);
        mrl_block_free(member, d);
    }
    return freed_count;
}

/* ---- spreading hashes over shards ---- */

/* Shard i has round(b(i + 1)) - round(b(i)) of the 1024 places, where b(i) is the sum of w * 2^(k /
 * 63) for k < i, and w = 11.0833..., so that b(64) = 1024: from w for the first to 2 w for the
 * last. */
#define W11(s) s, s, s, s, s, s, s, s, s, s, s
#define W12(s) W11(s), s
#define W13(s) W12(s), s
#define W14(s) W13(s), s
#define W15(s) W14(s), s
#define W16(s) W15(s), s
#define W17(s) W16(s), s
#define W18(s) W17(s), s
#define W19(s) W18(s), s
#define W20(s) W19(s), s
#define W21(s) W20(s), s
#define W22(s) W21(s), s
const uint8_t mrl_shard_table[1024] = {
    W11(0),  W11(1),  W12(2),  W11(3),  W12(4),  W11(5),  W12(6),  W12(7),  W12(8),  W13(9),
    W12(10), W12(11), W13(12), W13(13), W13(14), W13(15), W13(16), W13(17), W14(18), W14(19),
    W13(20), W14(21), W14(22), W15(23), W14(24), W15(25), W15(26), W14(27), W16(28), W15(29),
    W15(30), W16(31), W16(32), W15(33), W17(34), W16(35), W16(36), W17(37), W17(38), W17(39),
    W17(40), W17(41), W18(42), W18(43), W18(44), W18(45), W18(46), W19(47), W19(48), W19(49),
    W19(50), W19(51), W20(52), W20(53), W20(54), W20(55), W21(56), W21(57), W21(58), W21(59),
    W21(60), W22(61), W22(62), W22(63)};
