/* memory/map_split.c - pieces that split, merge and are copied, and the directory that shows them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "memory/map_private.h"

#include <string.h>

#include "base/self.h"

enum {
    DIRECTORY_DEPTH_MAX = 20,
    /* A directory may have as many places as there are entries / 16, but 16 at least: hashes that
     * cluster (many entries of one hash, and a few beside them) must not blow it up. */
    ENTRIES_A_PLACE_MIN = 16,
    MERGE_BELOW = 400,    /* entries of two buddies together */
    TOMBSTONES_FREE = 32, /* a table is never copied because of fewer */
    PREFETCH_AHEAD = 16
};

/* ---- the directory ---- */

void mrl_directory_put(mrl_directory *d, size_t place, size_t count, mrl_piece *p) {
    uint64_t hint = atomic_load_explicit(&p->slots_hint, memory_order_relaxed);
    for (size_t i = 0; i < count; i++) {
        atomic_store_explicit(&d->places[place + i].slots_hint, hint, memory_order_relaxed);
        atomic_store_explicit(&d->places[place + i].piece, p, memory_order_release);
    }
}

mrl_directory *mrl_directory_create(mrl_member *member, uint32_t depth) {
    size_t size = sizeof(mrl_directory) + (sizeof(mrl_place) << depth);
    mrl_directory *d = mrl_block_alloc(member, MRL_FOR_TABLES, size);
    if (d == NULL) return NULL;
    memset(d, 0, sizeof(*d));
    d->depth = depth;
    return d;
}

void mrl_directory_count_deepest(mrl_directory *d) {
    d->deepest_count = 0;
    for (size_t i = 0; i < places_of(d); i++)
        d->deepest_count += piece_depth(piece_at(d, i)) == d->depth;
}

/* Replaces the directory by one of the given depth, one more or one less. Returns 0 without
 * memory. */
static int directory_resize(mrl_change *c, uint32_t depth) {
    mrl_directory *old = map_directory(c->map);
    mrl_directory *d = mrl_directory_create(c->member, depth);
    if (d == NULL) return 0;
    for (size_t i = 0; i < places_of(d); i++) {
        size_t from = depth > old->depth ? i >> 1 : i << 1;
        mrl_piece *p = piece_at(old, from);
        atomic_init(&d->places[i].piece, p);
        atomic_init(&d->places[i].slots_hint,
                    atomic_load_explicit(&p->slots_hint, memory_order_relaxed));
    }
    mrl_directory_count_deepest(d);
    map_put_directory(c->map, d);
    mrl_point("map: directory replaced");
    mrl_block_retire(c->member, old);
    return 1;
}

/* ---- splitting ---- */

/* Sorts the entries of a piece by one bit of their hash. */
typedef struct sorting {
    const mrl_map_type *type;
    mrl_member *member;
    uint32_t bit;
    mrl_piece *halves[2];
    uint64_t waiting[PREFETCH_AHEAD];
    uint32_t waiting_count;
} sorting;

/* Returns non-zero without memory. */
static int sorting_flush(sorting *s) {
    for (uint32_t i = 0; i < s->waiting_count; i++) {
        uint64_t entry = s->waiting[i];
        uint32_t side = entry_hash(s->type, entry) >> s->bit & 1;
        if (!mrl_piece_fill(s->halves[side], s->member, entry)) return 1;
    }
    s->waiting_count = 0;
    return 0;
}

/* Entries are taken some at a time, so that the cold lines of what they point to are fetched
 * together. */
static int sorting_take(void *context, uint64_t entry) {
    sorting *s = context;
    if (s->type->kind == MRL_MAP_POINTERS) __builtin_prefetch(mrl_entry_to_pointer(entry));
    s->waiting[s->waiting_count++] = entry;
    return s->waiting_count == PREFETCH_AHEAD ? sorting_flush(s) : 0;
}

static int sorting_run(sorting *s, const mrl_piece *p) {
    return mrl_piece_each(p, sorting_take, s) || sorting_flush(s);
}

int mrl_directory_may_be(uint64_t entry_count, uint32_t depth) {
    uint64_t places = (uint64_t)1 << depth;
    if (depth > DIRECTORY_DEPTH_MAX) return 0;
    return places <= 16 || places <= entry_count / ENTRIES_A_PLACE_MIN;
}

/* May the directory be doubled, for the entries that there are? */
static int directory_may_grow(const mrl_change *c, const mrl_directory *d) {
    return mrl_directory_may_be(mrl_map_count(c->map), d->depth + 1);
}

/* All entries share the next bit too: the piece keeps those places that have it, and the others get
 * a new empty one. Nothing is copied. Readers that have just found this piece for the other places
 * find nothing in it there, as they would in the empty one. */
static merle_err piece_narrow(mrl_change *c, mrl_directory *d, mrl_piece *p, uint64_t hash,
                              uint32_t side) {
    uint32_t depth = piece_depth(p) + 1;
    size_t span = (size_t)1 << (d->depth - depth);
    size_t base = place_of(d, hash) & ~(2 * span - 1);
    mrl_piece *empty = mrl_piece_create(c->map->type, c->member, depth, 0);
    if (empty == NULL) return MERLE_NO_MEMORY;
    mrl_directory_put(d, base + (side ? 0 : span), span, empty);
    atomic_store_explicit(&p->depth, depth, memory_order_relaxed);
    if (depth == d->depth) d->deepest_count += 2;
    return MERLE_OK;
}

/* Two new pieces with all entries take the place of the old one, which stays as it is for its
 * readers. */
static void piece_halve(mrl_change *c, mrl_directory *d, mrl_piece *p, uint64_t hash,
                        const sorting *s) {
    uint32_t depth = piece_depth(p) + 1;
    size_t span = (size_t)1 << (d->depth - depth);
    size_t base = place_of(d, hash) & ~(2 * span - 1);
    mrl_piece_note_table(s->halves[0]);
    mrl_piece_note_table(s->halves[1]);
    mrl_directory_put(d, base, span, s->halves[0]);
    mrl_point("map: half of a split is shown");
    mrl_directory_put(d, base + span, span, s->halves[1]);
    if (depth == d->depth) d->deepest_count += 2;
    mrl_piece_retire(c->member, p);
    mrl_count(c->member, MRL_N_SPLITS, 1);
}

/* Sorts the entries of a piece into two new ones of the same size: one of them alone could hold
 * all, so there is no need to count first. Most often both are needed; where one stays empty the
 * old piece can stay. */
static merle_err piece_split(mrl_change *c, mrl_directory *d, mrl_piece *p, uint64_t hash,
                             int *out_more) {
    uint32_t depth = piece_depth(p);
    sorting s = {.type = c->map->type, .member = c->member, .bit = 31 - depth};
    merle_err err = MERLE_NO_MEMORY;
    s.halves[0] = mrl_piece_create(c->map->type, c->member, depth + 1, piece_entries(p));
    if (s.halves[0] == NULL) goto fail;
    s.halves[1] = mrl_piece_create(c->map->type, c->member, depth + 1, piece_entries(p));
    if (s.halves[1] == NULL || sorting_run(&s, p) != 0) goto fail;
    c->copied_count += piece_entries(p);
    if (piece_entries(s.halves[0]) != 0 && piece_entries(s.halves[1]) != 0) {
        piece_halve(c, d, p, hash, &s);
        return MERLE_OK;
    }
    *out_more = 1;
    err = piece_narrow(c, d, p, hash, piece_entries(s.halves[1]) != 0);
fail:
    mrl_piece_free(c->member, s.halves[0]);
    mrl_piece_free(c->member, s.halves[1]);
    return err;
}

/* One step towards room in the full piece for this hash. *out_more says that another may be
 * needed. */
static merle_err piece_split_step(mrl_change *c, uint64_t hash, int *out_more) {
    mrl_directory *d = map_directory(c->map);
    mrl_piece *p = piece_of(d, hash);
    uint32_t depth = piece_depth(p);
    *out_more = 0;
    if (depth == d->depth) {
        if (!directory_may_grow(c, d)) {
            /* These hashes cannot be told apart at a fair price. The piece grows past its limit,
             * and is looked at again when it has doubled. */
            p->split_at = 2 * piece_entries(p);
            return MERLE_OK;
        }
        if (!directory_resize(c, depth + 1)) return MERLE_NO_MEMORY;
        d = map_directory(c->map);
    }
    return piece_split(c, d, p, hash, out_more);
}

merle_err mrl_map_make_room(mrl_change *c, uint64_t hash) {
    int more = 1;
    while (more) {
        mrl_piece *p = piece_of(map_directory(c->map), hash);
        if (piece_entries(p) < p->split_at) break;
        merle_err err = piece_split_step(c, hash, &more);
        if (err != MERLE_OK) return err;
    }
    return MERLE_OK;
}

/* ---- merging, shrinking ---- */

static int piece_copy_entry(void *context, uint64_t entry) {
    sorting *s = context;
    return !mrl_piece_fill(s->halves[0], s->member, entry);
}

/* A new piece of the given depth with the entries of one or two; NULL without memory. */
static mrl_piece *piece_copy(mrl_change *c, uint32_t depth, const mrl_piece *first,
                             const mrl_piece *second) {
    uint64_t entry_count = (uint64_t)piece_entries(first) + (second ? piece_entries(second) : 0);
    sorting s = {.member = c->member};
    /* With some room: else the next entry would make it grow. */
    s.halves[0] =
        mrl_piece_create(c->map->type, c->member, depth, entry_count + entry_count / 4 + 1);
    if (s.halves[0] == NULL) return NULL;
    if (mrl_piece_each(first, piece_copy_entry, &s) != 0) goto fail;
    if (second != NULL && mrl_piece_each(second, piece_copy_entry, &s) != 0) goto fail;
    mrl_piece_note_table(s.halves[0]);
    c->copied_count += entry_count;
    return s.halves[0];
fail:
    mrl_piece_free(c->member, s.halves[0]);
    return NULL;
}

/* Joins the piece for this hash with its buddy if both are thin. Returns whether it did. */
int mrl_piece_merge(mrl_change *c, uint64_t hash) {
    mrl_directory *d = map_directory(c->map);
    size_t place = place_of(d, hash);
    mrl_piece *p = piece_at(d, place);
    uint32_t depth = piece_depth(p);
    if (depth == 0 || piece_entries(p) >= MERGE_BELOW) return 0;
    size_t span = span_of(d, p);
    mrl_piece *buddy = piece_at(d, place ^ span);
    if (piece_depth(buddy) != depth || piece_entries(p) + piece_entries(buddy) >= MERGE_BELOW)
        return 0;
    mrl_piece *merged = piece_copy(c, depth - 1, p, buddy);
    if (merged == NULL) return 0;
    mrl_directory_put(d, place & ~(2 * span - 1), 2 * span, merged);
    if (depth == d->depth) d->deepest_count -= 2;
    mrl_piece_retire(c->member, p);
    mrl_piece_retire(c->member, buddy);
    mrl_count(c->member, MRL_N_MERGES, 1);
    while (d->deepest_count == 0 && d->depth > 0 && directory_resize(c, d->depth - 1))
        d = map_directory(c->map);
    return 1;
}

/* Copies a piece whose table has too many tombstones or too much room. */
void mrl_piece_rebuild(mrl_change *c, uint64_t hash) {
    mrl_directory *d = map_directory(c->map);
    mrl_piece *p = piece_of(d, hash);
    uint64_t slots = piece_slot_count(p), removed = piece_removed(p);
    /* A find that misses ends at a slot that was never taken: some of these there must be. */
    int is_worn = removed > TOMBSTONES_FREE &&
                  (removed > slots / 4 || piece_entries(p) + removed > slots / 8 * 7);
    if (!is_worn && piece_entries(p) >= p->shrink_below) return;
    mrl_piece *fresh = piece_copy(c, piece_depth(p), p, NULL);
    if (fresh == NULL) return;
    fresh->split_at = p->split_at;
    size_t span = span_of(d, p);
    mrl_directory_put(d, place_of(d, hash) & ~(span - 1), span, fresh);
    mrl_piece_retire(c->member, p);
    mrl_count(c->member, MRL_N_REBUILDS, 1);
}

/* The last entry has gone: gives everything back. */
void mrl_map_retire_all(mrl_change *c) {
    mrl_directory *d = map_directory(c->map);
    map_put_directory(c->map, NULL);
    for (size_t i = 0; !is_list(d) && i < places_of(d);) {
        mrl_piece *p = piece_at(d, i);
        i = place_after(d, i, p);
        mrl_piece_retire(c->member, p);
    }
    mrl_block_retire(c->member, d);
}
