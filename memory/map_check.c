/* memory/map_check.c - looking at a whole map: all its entries, its size, and whether it is sound.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "memory/map_private.h"

/* ---- all entries ---- */

int mrl_map_each(const mrl_map *map, int (*fn)(void *context, uint64_t entry), void *context) {
    const mrl_directory *d = map_directory(map);
    int result = 0;
    if (d == NULL) return 0;
    for (uint32_t i = 0; is_list(d) && i < d->capacity && result == 0; i++) {
        uint64_t entry = list_entry(d, i);
        if (entry == 0) continue;
        mrl_entry_tell_acquire(entry);
        result = fn(context, entry);
    }
    if (is_list(d)) return result;
    for (size_t i = 0; i < places_of(d) && result == 0;) {
        const mrl_piece *p = piece_at(d, i);
        i = place_after(d, i, p);
        result = mrl_piece_each(p, fn, context);
    }
    return result;
}

/* ---- looking at it ---- */

uint64_t mrl_map_count(const mrl_map *map) {
    const mrl_directory *d = map_directory(map);
    uint64_t count = 0;
    if (d == NULL) return 0;
    if (is_list(d)) return mrl_map_list_count(d);
    for (size_t i = d->cleared_count; i < places_of(d);) {
        const mrl_piece *p = piece_at(d, i);
        count += piece_entries(p);
        i = place_after(d, i, p);
    }
    return count;
}

void mrl_map_stat(const mrl_map *map, mrl_map_stats *out_stats) {
    const mrl_directory *d = map_directory(map);
    memset(out_stats, 0, sizeof(*out_stats));
    if (d == NULL) return;
    out_stats->entries = mrl_map_count(map);
    if (is_list(d)) {
        out_stats->directory_size = out_stats->pieces = 1;
        out_stats->bytes = mrl_block_bytes(list_size(d->capacity));
        return;
    }
    out_stats->directory_size = places_of(d);
    out_stats->bytes = mrl_block_bytes(sizeof(mrl_directory) + (sizeof(mrl_place) << d->depth));
    for (size_t i = 0; i < places_of(d);) {
        const mrl_piece *p = piece_at(d, i);
        uint64_t removed = piece_removed(p), slot_count = piece_slot_count(p);
        i = place_after(d, i, p);
        out_stats->pieces++;
        out_stats->tombstones += removed < slot_count ? removed : slot_count;
        out_stats->bytes += mrl_block_bytes(sizeof(mrl_piece)) +
                            mrl_block_bytes(sizeof(table_header) + CK_MAP_HEADER_SIZE +
                                            CK_MAP_SLACK_SIZE + slot_count * sizeof(void *));
    }
}

/* The check of one piece: walks its entries and looks for each as a reader would. */
typedef struct checking {
    mrl_probe probe; /* first: it is handed to ck as the key */
    const mrl_map_type *type;
    const mrl_piece *piece;
    uint32_t prefix; /* the top bits that all hashes of the piece share */
    uint64_t wanted, met_count;
    uint64_t entry_count;
    const char *broken;
} checking;

/* Counts, and shows that it wants to see all. */
static int checking_matches(const mrl_probe *probe, uint64_t entry) {
    checking *c = (checking *)(uintptr_t)probe;
    c->met_count += entry == c->wanted;
    return 0;
}

static int checking_count(void *context, uint64_t entry) {
    checking *c = context;
    c->met_count += entry == c->wanted;
    return 0;
}

static int checking_entry(void *context, uint64_t entry) {
    checking *c = context;
    uint32_t hash = entry_hash(c->type, entry);
    uint32_t depth = piece_depth(c->piece);
    unsigned long h = table_hash(c->type->kind, hash);
    uint64_t key;
    c->entry_count++;
    if (h != c->piece->hs.hf(as_pointer(entry), 0))
        c->broken = "an entry's tag is not that of its hash";
    if ((uint64_t)hash >> (32 - depth) != c->prefix) c->broken = "an entry is in the wrong piece";
    c->probe.hash = hash;
    c->wanted = entry;
    c->met_count = 0;
    (void)piece_find(c->piece, h, &c->probe, &key);
    if (c->met_count == 0) c->broken = "an entry is in a table, but cannot be found there";
    if (c->met_count > 1) {
        /* A probe may come to the same line again. So only a walk tells whether it is really there
         * twice. */
        c->met_count = 0;
        (void)mrl_piece_each(c->piece, checking_count, c);
        if (c->met_count != 1) c->broken = "an entry is twice in a table";
    }
    return c->broken != NULL;
}

static const char *piece_check(const mrl_map *map, const mrl_directory *d, size_t place,
                               const mrl_piece *p) {
    checking c = {.probe.matches = checking_matches, .type = map->type, .piece = p};
    uint32_t depth = piece_depth(p);
    size_t span = span_of(d, p);
    if (depth > d->depth) return "a piece is deeper than its directory";
    if ((place & (span - 1)) != 0) return "a piece begins at a place that is not its own";
    for (size_t i = 1; i < span; i++)
        if (piece_at(d, place + i) != p) return "a piece is missing at one of its places";
    c.prefix = (uint32_t)(place >> (d->depth - depth));
    if (mrl_piece_each(p, checking_entry, &c) != 0) return c.broken;
    if (c.entry_count != piece_entries(p)) return "a piece's count is not that of its entries";
    if (c.entry_count != ck_hs_count((ck_hs_t *)(uintptr_t)&p->hs))
        return "ck_hs counts otherwise than we do";
    return NULL;
}

const char *mrl_map_check(const mrl_map *map) {
    const mrl_directory *d = map_directory(map);
    uint64_t deepest_count = 0;
    const char *broken = NULL;
    if (d == NULL) return NULL;
    if (is_list(d)) return mrl_map_list_check(map->type, d);
    for (size_t i = 0; i < places_of(d) && broken == NULL;) {
        const mrl_piece *p = piece_at(d, i);
        broken = piece_check(map, d, i, p);
        deepest_count += piece_depth(p) == d->depth;
        i = place_after(d, i, p);
    }
    if (broken != NULL) return broken;
    if (deepest_count != d->deepest_count) return "the count of deepest pieces is wrong";
    return NULL;
}
