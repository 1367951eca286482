/* memory/map_private.h - what map.c, map_piece.c, map_split.c and map_check.c share, and nobody
 * else.
 *
 * What    The insides of a map: pieces and the directory that shows them, and how a hash is divided
 *         between the two.
 *
 * How the 32 hash bits are used: the top ones (bit 31 downward) choose the piece, the entry's tag
 * places it inside the piece. The hash that ck_hs is given is a function of the tag alone, so that
 * ck_hs can grow by itself without following a pointer. POINTERS keep bits 0-19 as their tag; PAIRS
 * keep bits 0-31.
 *
 * ck_hs takes any key to be the very entry if both are the same number, and only then asks
 * `compare`. We pass a probe's address as the key, and an entry of PAIRS might by chance be that
 * number. So the address is varied in bits that a pointer leaves free (its lowest three, its
 * highest sixteen), and a result that equals the key is not believed but looked for again with the
 * next variant.
 *
 * ck_hs doubles a table that is more than half full, but does not insist: when its allocator gives
 * nothing, it goes on with the table that it has until a probe finds no free place any more. So our
 * allocator gives nothing before three quarters are taken.
 *
 * What ck_hs 0.7.1 is relied on for is tested by tests/unit/memory/ck_hs_contract_test.c.
 *
 * Threads Who may touch which field stands beside it: the writer is whoever may change the map.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_MEMORY_MAP_PRIVATE_H
#define MRL_MEMORY_MAP_PRIVATE_H

#include <ck_hs.h>

#include "memory/map.h"

enum {
    /* sizeof(struct ck_hs_map), and what ck adds to a table's size so that it can align the slots.
     * Tables are measured by them; where the slots are is only a hint. */
    CK_MAP_HEADER_SIZE = 80,
    CK_MAP_SLACK_SIZE = 63
};

typedef struct mrl_map_piece mrl_piece;
struct mrl_map_piece {
    ck_hs_t hs; /* 48 bytes */
    /* Where the slot array is, with log2 of its length in the six lowest bits. A hint for
     * prefetching. */
    _Atomic uint64_t slots_hint;
    /* How many top bits of the hash all entries share. Only ever grows while the piece is
     * reachable. */
    _Atomic uint32_t depth;
    /* Changed by the writer; others may look. */
    _Atomic uint32_t entry_count;
    /* Since the table was made: at least as many as there are tombstones. */
    _Atomic uint32_t removed_count;
    /* The writer's. */
    uint32_t split_at;     /* entries at which the next split is tried */
    uint32_t shrink_below; /* entries below which the table is too large */
};

/* The hint of the piece stands here, too: so a find can ask for the slot's line without waiting for
 * the piece's own. It may be old; a prefetch cannot be wrong. */
typedef struct mrl_place {
    mrl_piece *_Atomic piece;
    _Atomic uint64_t slots_hint;
} mrl_place;

typedef struct mrl_map_directory mrl_directory;
struct mrl_map_directory {
    uint32_t depth;
    uint32_t deepest_count; /* writer's: pieces whose depth is the directory's */
    uint32_t cleared_count; /* mrl_map_clear_some: places emptied so far */
    mrl_place places[];
};

/* One call of a writer: what it works on, and how many entries it has copied. */
typedef struct mrl_change {
    mrl_map *map;
    mrl_member *member;
    uint64_t copied_count;
} mrl_change;

/* Stands in front of each of ck's tables, so that its length can be known from outside. */
typedef struct table_header {
    uint64_t size;
    uint64_t unused; /* keeps the table 16-byte aligned */
} table_header;

/* ---- hashes, tags and keys ---- */

static inline const void *as_pointer(uint64_t entry) {
    return (const void *)(uintptr_t)entry;
}
static inline uint64_t as_entry(const void *pointer) {
    return (uint64_t)(uintptr_t)pointer;
}

/* From the tag to what ck_hs is given. The multiplier is odd: so the low bits, which place the
 * entry, are a permutation of the tag's low bits, and the bits above, from which ck_hs takes its
 * stride, depend on all of them. */
static inline unsigned long spread(uint64_t tag) {
    return (unsigned long)(tag * 0x9e3779b97f4a7c15u);
}
static inline unsigned long table_hash(mrl_map_kind kind, uint64_t hash) {
    return spread(hash & (kind == MRL_MAP_PAIRS ? 0xffffffffu : 0xfffffu));
}

/* Variant v of a probe's address; it differs from all others in the bits that a pointer leaves
 * free. */
static inline uint64_t probe_key(const mrl_probe *probe, uint32_t variant) {
    return as_entry(probe) ^ (variant & 7u) ^ ((uint64_t)(variant >> 3) << 48);
}

/* The low 32 bits of an entry's hash. */
static inline uint32_t entry_hash(const mrl_map_type *type, uint64_t entry) {
    if (type->kind == MRL_MAP_PAIRS) return (uint32_t)(entry >> 32);
    return type->rehash(type->context, entry);
}

/* ---- what is known of a piece ---- */

static inline uint64_t piece_slot_count(const mrl_piece *p) {
    uint64_t hint = atomic_load_explicit(&p->slots_hint, memory_order_relaxed);
    return (uint64_t)1 << (hint & 63);
}
static inline uint32_t piece_entries(const mrl_piece *p) {
    return atomic_load_explicit(&p->entry_count, memory_order_relaxed);
}
static inline uint32_t piece_removed(const mrl_piece *p) {
    return atomic_load_explicit(&p->removed_count, memory_order_relaxed);
}
static inline uint32_t piece_depth(const mrl_piece *p) {
    return atomic_load_explicit(&p->depth, memory_order_relaxed);
}
/* There is one writer: so this need not be one atomic step. */
static inline void count_up(_Atomic uint32_t *count, int by) {
    uint32_t before = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, before + (uint32_t)by, memory_order_relaxed);
}

/* The entry of the piece that matches, or 0; *out_key is the key that found it. */
static inline uint64_t piece_find(const mrl_piece *p, unsigned long h, const mrl_probe *probe,
                                  uint64_t *out_key) {
    ck_hs_t *hs = (ck_hs_t *)(uintptr_t)&p->hs; /* ck only reads it */
    uint64_t entry;
    uint32_t variant = 0;
    do {
        *out_key = probe_key(probe, variant++);
        entry = as_entry(ck_hs_get(hs, h, as_pointer(*out_key)));
        /* An entry that only happens to be the number of our key was never compared. */
    } while (__builtin_expect(entry == *out_key, 0));
    return entry;
}

/* ---- the directory ---- */

static inline size_t places_of(const mrl_directory *d) {
    return (size_t)1 << d->depth;
}
static inline size_t place_of(const mrl_directory *d, uint64_t hash) {
    return (size_t)(((uint64_t)(uint32_t)hash << d->depth) >> 32);
}
static inline mrl_piece *piece_at(const mrl_directory *d, size_t place) {
    /* Acquire: pairs with the release in directory_put; a reader sees the piece filled. */
    return atomic_load_explicit(&d->places[place].piece, memory_order_acquire);
}
static inline mrl_directory *map_directory(const mrl_map *map) {
    /* Acquire: pairs with the release in map_put_directory; a reader sees all its places filled. */
    return atomic_load_explicit(&map->directory, memory_order_acquire);
}
static inline void map_put_directory(mrl_map *map, mrl_directory *d) {
    atomic_store_explicit(&map->directory, d, memory_order_release);
}
static inline mrl_piece *piece_of(const mrl_directory *d, uint64_t hash) {
    return piece_at(d, place_of(d, hash));
}

/* How many places show the piece; one, if it has gone deeper than a directory that was replaced. */
static inline size_t span_of(const mrl_directory *d, const mrl_piece *p) {
    uint32_t depth = piece_depth(p);
    return depth >= d->depth ? 1 : (size_t)1 << (d->depth - depth);
}
/* The first place behind those that show the piece which stands at `place`. */
static inline size_t place_after(const mrl_directory *d, size_t place, const mrl_piece *p) {
    size_t span = span_of(d, p);
    return (place & ~(span - 1)) + span;
}

/* ---- map_piece.c: one piece ---- */

/* Room for so many entries; NULL without memory. */
mrl_piece *mrl_piece_create(const mrl_map_type *type, mrl_member *member, uint32_t depth,
                            uint64_t entry_count);
/* Frees a piece that no reader has seen, or that none can see any more. NULL is allowed. */
void mrl_piece_free(mrl_member *member, mrl_piece *p);
/* Frees a piece that was unlinked, when its readers are gone. Nothing of it is changed any more. */
void mrl_piece_retire(mrl_member *member, mrl_piece *p);
/* After ck has made a new table: notes where it is, and when it will be too large. */
void mrl_piece_note_table(mrl_piece *p);
/* Puts an entry that is not there into a piece that no reader has seen yet. Returns 0 without
 * memory. */
int mrl_piece_fill(mrl_piece *p, mrl_member *member, uint64_t entry);
/* Calls fn for each entry of one table of the piece until it gives non-zero; returns that. A reader
 * may meet entries that come and go; those that stay where they are it meets exactly once. */
typedef int mrl_piece_each_fn(void *context, uint64_t entry);
int mrl_piece_each(const mrl_piece *p, mrl_piece_each_fn *fn, void *context);
/* As mrl_map_add and mrl_map_replace, in the piece that is the right one. */
merle_err mrl_piece_add(mrl_change *c, mrl_piece *p, const mrl_probe *probe, uint64_t entry,
                        uint64_t *out_existing);
uint64_t mrl_piece_replace(mrl_map_kind kind, mrl_piece *p, const mrl_probe *probe, uint64_t entry);

/* ---- map_split.c: pieces and directories that take the place of others ---- */

/* A directory with no piece in it yet; NULL without memory. */
mrl_directory *mrl_directory_create(mrl_member *member, uint32_t depth);
/* Splits the full piece for this hash until it has room, or cannot be split at a fair price. */
merle_err mrl_map_make_room(mrl_change *c, uint64_t hash);
/* Joins the piece for this hash with its buddy if both are thin. Returns whether it did. */
int mrl_piece_merge(mrl_change *c, uint64_t hash);
/* Copies the piece for this hash if its table has too many tombstones or too much room. */
void mrl_piece_rebuild(mrl_change *c, uint64_t hash);
/* The last entry has gone: gives everything back. */
void mrl_map_retire_all(mrl_change *c);

#endif
