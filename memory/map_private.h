/* memory/map_private.h - what map.c, map_piece.c, map_split.c and map_check.c share, and nobody
 * else.
 *
 * What    The insides of a map: pieces and the directory that shows them, and how a hash is divided
 *         between the two; and the list that a map of few entries is.
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
 * Finding and replacing look at a table's first line by themselves, and call ck only when that does
 * not decide: see "the first line" below.
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

/* Or a list: see "few entries" below. Then depth says so, and words stand where places would. */
typedef struct mrl_map_directory mrl_directory;
struct mrl_map_directory {
    uint32_t depth;
    uint32_t deepest_count; /* writer's: pieces whose depth is the directory's */
    uint32_t cleared_count; /* mrl_map_clear_some: places emptied so far */
    uint32_t capacity;      /* of a list: words */
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
    _Atomic uint64_t size;
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

/* ---- what ThreadSanitizer must be told ---- */

/* ck stores and loads entries with inline assembly, which ThreadSanitizer does not see. What makes
 * the program right is: the writer fences (release) before an entry is stored, and a reader reaches
 * what the entry stands for through the entry (an address dependency). We tell it so, by a word for
 * each entry. So it is with a table: it is filled before ck shows it. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#endif

#ifdef WITH_TSAN
void mrl_entry_tell_release(uint64_t entry);
void mrl_entry_tell_acquire(uint64_t entry);
#else
static inline void mrl_entry_tell_release(uint64_t entry) {
    (void)entry;
}
static inline void mrl_entry_tell_acquire(uint64_t entry) {
    (void)entry;
}
#endif

/* ---- a table's places ---- */

/* ck aligns the places behind its header; it has as many as the size that it asked for leaves. */
typedef struct table_places {
    _Atomic uint64_t *first;
    uint64_t mask;
} table_places;

static inline uint64_t table_slot_count(const struct ck_hs_map *table) {
    const table_header *header = (const table_header *)(const void *)table - 1;
    uint64_t size = atomic_load_explicit(&header->size, memory_order_relaxed);
    return (size - CK_MAP_HEADER_SIZE - CK_MAP_SLACK_SIZE) / sizeof(void *);
}
static inline uint64_t table_first_place(const struct ck_hs_map *table) {
    return (as_entry(table) + CK_MAP_HEADER_SIZE + CK_MAP_SLACK_SIZE) & ~(uint64_t)63;
}
static inline table_places piece_places(const mrl_piece *p) {
    /* ck publishes a new table after a fence; what is in it is reached through this pointer. */
    const struct ck_hs_map *table = __atomic_load_n(&p->hs.map, __ATOMIC_ACQUIRE);
    mrl_entry_tell_acquire(as_entry(table));
    table_places places = {(_Atomic uint64_t *)(uintptr_t)table_first_place(table),
                           table_slot_count(table) - 1};
    return places;
}

/* ---- the first line ---- */

/* ck probes the line in which a hash lies from its own place on, round to the place before, and
 * goes to another line only when it met no place that was never taken. Nine in ten entries are in
 * their first line. So we look there by ourselves, which is a tenth of the instructions of a call.
 *
 * A hit is an entry of the table that matches: nothing else has to be known of ck to believe it.
 * A miss: a key that is there all along stays in its place as long as the table lives, since we
 * replace entries where they are, and ck never makes a taken place one that was never taken. So it
 * lies before the first such place of its probe, and was seen. That ck probes in this order is
 * tested with the rest of its contract. */
enum { LINE_PLACES = 8 };
#define PLACE_EMPTY ((uint64_t)0)
#define PLACE_TOMBSTONE UINT64_MAX
/* The line is full of others: ck knows more. */
#define LINE_UNDECIDED UINT64_MAX

static inline uint64_t entry_tag(mrl_map_kind kind, uint64_t entry) {
    if (kind == MRL_MAP_PAIRS) return entry >> 32;
    return (entry & 0xfu) | ((entry >> 44) & 0xffff0u);
}
static inline uint64_t hash_tag(mrl_map_kind kind, uint64_t hash) {
    return hash & (kind == MRL_MAP_PAIRS ? 0xffffffffu : 0xfffffu);
}

static inline uint64_t line_find(mrl_map_kind kind, const mrl_piece *p, unsigned long h,
                                 const mrl_probe *probe) {
    table_places places = piece_places(p);
    _Atomic uint64_t *line = places.first + (h & places.mask & ~(uint64_t)(LINE_PLACES - 1));
    uint64_t tag = hash_tag(kind, probe->hash);
    for (uint64_t i = 0; i < LINE_PLACES; i++) {
        uint64_t entry =
            atomic_load_explicit(&line[(h + i) & (LINE_PLACES - 1)], memory_order_relaxed);
        if (entry == PLACE_EMPTY) return 0;
        if (entry_tag(kind, entry) != tag || entry == PLACE_TOMBSTONE) continue;
        mrl_entry_tell_acquire(entry);
        if (probe->matches(probe, entry)) return entry;
    }
    return LINE_UNDECIDED;
}

/* The place of an entry of the piece; in its first line, or wherever. */
static inline _Atomic uint64_t *piece_place_of(const mrl_piece *p, unsigned long h,
                                               uint64_t entry) {
    table_places places = piece_places(p);
    _Atomic uint64_t *line = places.first + (h & places.mask & ~(uint64_t)(LINE_PLACES - 1));
    for (uint64_t i = 0; i < LINE_PLACES; i++)
        if (atomic_load_explicit(&line[i], memory_order_relaxed) == entry) return &line[i];
    for (uint64_t i = 0; i <= places.mask; i++)
        if (atomic_load_explicit(&places.first[i], memory_order_relaxed) == entry)
            return &places.first[i];
    return NULL;
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

/* ---- few entries ---- */

/* The smallest table, with piece and directory, takes nearly 400 bytes, and a collection has many
 * maps of one entry or two. So a map of up to LIST_MAX entries has neither: in the directory's
 * place stands a list, a row of words that are entries, or nought. A find looks at all of them.
 *
 * An entry never moves while its list lives, and is replaced where it stands. A list that is full
 * is replaced whole, by a longer one or by a table, and stays as it was for its readers: so it is
 * what a piece is, and the argument of "Splits and old lookups" in docs/architecture.md holds for
 * it, too. */
enum { LIST_MIN = 2, LIST_MAX = 8, LIST_AGAIN = 3 /* entries of a table that becomes one again */ };
#define DEPTH_OF_LIST UINT32_MAX

static inline int is_list(const mrl_directory *d) {
    return __builtin_expect(d->depth == DEPTH_OF_LIST, 0);
}
static inline _Atomic uint64_t *list_words(const mrl_directory *d) {
    return (_Atomic uint64_t *)(uintptr_t)d->places;
}
static inline uint64_t list_entry(const mrl_directory *d, uint32_t at) {
    return atomic_load_explicit(&list_words(d)[at], memory_order_relaxed);
}
static inline size_t list_size(uint32_t capacity) {
    return sizeof(mrl_directory) + capacity * sizeof(uint64_t);
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
/* As mrl_map_add, in the piece that is the right one. */
merle_err mrl_piece_add(mrl_change *c, mrl_piece *p, const mrl_probe *probe, uint64_t entry,
                        uint64_t *out_existing);

/* ---- map_list.c: few entries ---- */

/* As the calls of map.h, in a map that is a list. */
uint64_t mrl_map_list_find(mrl_map_kind kind, const mrl_directory *d, const mrl_probe *probe);
void mrl_map_list_replace(const mrl_directory *d, uint64_t old, uint64_t entry);
uint64_t mrl_map_list_remove(mrl_change *c, const mrl_probe *probe);
uint32_t mrl_map_list_count(const mrl_directory *d);
const char *mrl_map_list_check(const mrl_map_type *type, const mrl_directory *d);
/* The first entry of a map: it becomes a list. Errors: MERLE_NO_MEMORY. */
merle_err mrl_map_list_start(mrl_change *c, uint64_t entry);
/* Adds an entry that is not there; the map may be a longer list or a table afterwards. Errors:
 * MERLE_NO_MEMORY. */
merle_err mrl_map_list_add(mrl_change *c, uint64_t entry);
/* Makes a table of few entries a list again, if there is memory for it. */
void mrl_map_list_again(mrl_change *c);

/* ---- map_split.c: pieces and directories that take the place of others ---- */

/* A directory with no piece in it yet; NULL without memory. */
mrl_directory *mrl_directory_create(mrl_member *member, uint32_t depth);
/* Whether a directory for so many entries may have this depth. */
int mrl_directory_may_be(uint64_t entry_count, uint32_t depth);
/* Shows the piece in `count` places from this one on. */
void mrl_directory_put(mrl_directory *d, size_t place, size_t count, mrl_piece *p);
/* Counts the pieces whose depth is the directory's, when all its places are filled. */
void mrl_directory_count_deepest(mrl_directory *d);
/* Splits the full piece for this hash until it has room, or cannot be split at a fair price. */
merle_err mrl_map_make_room(mrl_change *c, uint64_t hash);
/* Joins the piece for this hash with its buddy if both are thin. Returns whether it did. */
int mrl_piece_merge(mrl_change *c, uint64_t hash);
/* Copies the piece for this hash if its table has too many tombstones or too much room. */
void mrl_piece_rebuild(mrl_change *c, uint64_t hash);
/* The last entry has gone: gives everything back. */
void mrl_map_retire_all(mrl_change *c);

#endif
