/* memory/map_fill.c - a map made at once from all its entries.
 *
 * The entries are sorted by the bits of their hash that choose the piece, as far as pieces would
 * have been split had they come one by one; then each piece is made in its final size, while its
 * table is warm, and nothing is ever copied.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "memory/map_private.h"

typedef struct filling {
    mrl_map *map;
    mrl_member *member;
    mrl_map_same_fn *same;
    void *context;
    uint32_t depth_max; /* of the directory: what its entries are worth */
    mrl_directory *directory;
} filling;

/* Entries that are on their way into a piece. */
typedef struct fill_probe {
    mrl_probe probe;
    const filling *f;
    uint64_t entry;
} fill_probe;

static int is_same(const mrl_probe *probe, uint64_t entry) {
    const fill_probe *asked = (const fill_probe *)probe;
    return asked->f->same(asked->f->context, entry, asked->entry);
}

/* Whether so many entries that share so many bits are one piece. */
static int is_piece(const filling *f, size_t count, uint32_t depth) {
    return count <= MRL_PIECE_MAX || depth == f->depth_max;
}

/* How many of the items have a nought as the bit that is next at this depth; they stand first.
 * Where they do already nothing is moved: so it costs little to sort what comes nearly sorted. */
static size_t part_items(mrl_map_item *items, size_t count, uint32_t depth) {
    uint32_t bit = (uint32_t)1 << (31 - depth);
    size_t low = 0, high = count;
    for (;;) {
        while (low < high && (items[low].hash & bit) == 0) low++;
        while (low < high && (items[high - 1].hash & bit) != 0) high--;
        if (low == high) return low;
        mrl_map_item moved = items[--high];
        items[high] = items[low];
        items[low++] = moved;
    }
}

/* Sorts the items, and gives the depth of the deepest piece. */
static uint32_t arrange(const filling *f, mrl_map_item *items, size_t count, uint32_t depth) {
    if (is_piece(f, count, depth)) return depth;
    size_t low = part_items(items, count, depth);
    uint32_t left = arrange(f, items, low, depth + 1);
    uint32_t right = arrange(f, items + low, count - low, depth + 1);
    return left > right ? left : right;
}

/* The same number, of items that are sorted. */
static size_t find_part(const mrl_map_item *items, size_t count, uint32_t depth) {
    uint32_t bit = (uint32_t)1 << (31 - depth);
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((items[middle].hash & bit) == 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int has_same(const filling *f, const mrl_piece *p, const mrl_map_item *item) {
    mrl_map_kind kind = f->map->type->kind;
    fill_probe probe = {{item->hash, is_same}, f, item->entry};
    unsigned long h = table_hash(kind, item->hash);
    uint64_t key, found = line_find(kind, p, h, &probe.probe);
    if (found == LINE_UNDECIDED) found = piece_find(p, h, &probe.probe, &key);
    return found != 0;
}

/* NULL without memory. */
static mrl_piece *make_piece(const filling *f, const mrl_map_item *items, size_t count,
                             uint32_t depth) {
    mrl_piece *p = mrl_piece_create(f->map->type, f->member, depth, count);
    for (size_t i = 0; p != NULL && i < count; i++) {
        if (has_same(f, p, &items[i])) continue;
        mrl_entry_tell_release(items[i].entry);
        if (mrl_piece_fill(p, f->member, items[i].entry)) continue;
        mrl_piece_free(f->member, p);
        return NULL;
    }
    if (p == NULL) return NULL;
    if (count > MRL_PIECE_MAX) p->split_at = 2 * piece_entries(p);
    mrl_piece_note_table(p);
    return p;
}

/* Makes the pieces for these places. Returns 0 without memory. */
static int make_pieces(const filling *f, const mrl_map_item *items, size_t count, uint32_t depth,
                       size_t place) {
    size_t span = (size_t)1 << (f->directory->depth - depth);
    if (!is_piece(f, count, depth)) {
        size_t low = find_part(items, count, depth);
        return make_pieces(f, items, low, depth + 1, place) &&
               make_pieces(f, items + low, count - low, depth + 1, place + span / 2);
    }
    mrl_piece *p = make_piece(f, items, count, depth);
    if (p == NULL) return 0;
    mrl_directory_put(f->directory, place, span, p);
    return 1;
}

/* Gives back what there is of a map that could not be filled. */
static void forget_pieces(const filling *f) {
    mrl_piece *last = NULL;
    for (size_t i = 0; i < places_of(f->directory); i++) {
        mrl_piece *p = piece_at(f->directory, i);
        if (p != last) mrl_piece_free(f->member, p);
        last = p;
    }
    mrl_block_free(f->member, f->directory);
}

/* Few entries are a list: they come in as they always do. */
static merle_err add_few(const filling *f, const mrl_map_item *items, size_t count) {
    for (size_t i = 0; i < count; i++) {
        fill_probe probe = {{items[i].hash, is_same}, f, items[i].entry};
        uint64_t existing;
        merle_err err = mrl_map_add(f->map, f->member, &probe.probe, items[i].entry, &existing);
        if (err != MERLE_OK) return err;
    }
    return MERLE_OK;
}

merle_err mrl_map_fill(mrl_map *map, mrl_member *member, mrl_map_item *items, size_t count,
                       mrl_map_same_fn *same, void *context) {
    filling f = {map, member, same, context, 0, NULL};
    if (count <= LIST_MAX) return add_few(&f, items, count);
    while (mrl_directory_may_be(count, f.depth_max + 1)) f.depth_max++;
    uint32_t depth = arrange(&f, items, count, 0);
    f.directory = mrl_directory_create(member, depth);
    if (f.directory == NULL) return MERLE_NO_MEMORY;
    memset(f.directory->places, 0, places_of(f.directory) * sizeof f.directory->places[0]);
    /* The release of each piece's place is what readers rely on, and of the directory's. */
    if (!make_pieces(&f, items, count, 0, 0)) {
        forget_pieces(&f);
        return MERLE_NO_MEMORY;
    }
    mrl_directory_count_deepest(f.directory);
    map_put_directory(map, f.directory);
    return MERLE_OK;
}
