/* memory/map.c - a directory of ck_hs pieces that split and merge.
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
 * What ck_hs 0.7.1 is relied on for is tested by tests/unit/memory/ck_hs_contract_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "memory/map.h"

#include <ck_hs.h>
#include <stdbool.h>
#include <string.h>

#include "base/assert.h"
#include "base/self.h"

enum {
    DIRECTORY_DEPTH_MAX = 20,
    /* A directory may have as many places as there are entries / 16, but 16 at least: hashes that
     * cluster (many entries of one hash, and a few beside them) must not blow it up. */
    ENTRIES_A_PLACE_MIN = 16,
    MERGE_BELOW = 400,     /* entries of two buddies together */
    SLOTS_MIN = 8,         /* the smallest table that ck_hs makes */
    TOMBSTONES_FREE = 32,  /* a table is never copied because of fewer */
    HASH_SLOTS_A_LINE = 8, /* ck_hs probes cache line by cache line */
    PREFETCH_AHEAD = 16,
    /* sizeof(struct ck_hs_map), and what ck adds to a table's size so that it can align the slots.
     * Tables are measured by them; where the slots are is only a hint. */
    CK_MAP_HEADER_SIZE = 80,
    CK_MAP_SLACK_SIZE = 63
};

typedef struct mrl_map_piece piece;
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

typedef struct mrl_map_directory directory;
struct mrl_map_directory {
    uint32_t depth;
    uint32_t deepest_count; /* writer's: pieces whose depth is the directory's */
    uint32_t cleared_count; /* mrl_map_clear_some: places emptied so far */
    piece *_Atomic pieces[];
};

/* One call of a writer: what it works on, and how many entries it has copied. */
typedef struct change {
    mrl_map *map;
    mrl_member *member;
    uint64_t copied_count;
} change;

/* ---- what ThreadSanitizer must be told ---- */

/* ck stores and loads entries with inline assembly, which ThreadSanitizer does not see. What makes
 * the program right is: the writer fences (release) before ck stores the entry, and a reader
 * reaches what the entry stands for through the entry (an address dependency). We tell it so, by a
 * word for each entry. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#endif

#ifdef WITH_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
static char sync_words[4096];
static void *sync_word(uint64_t entry) {
    return &sync_words[(entry * 0x9e3779b97f4a7c15u) >> 52];
}
static inline void entry_release(uint64_t entry) {
    __tsan_release(sync_word(entry));
}
static inline void entry_acquire(uint64_t entry) {
    __tsan_acquire(sync_word(entry));
}
#else
static inline void entry_release(uint64_t entry) {
    (void)entry;
}
static inline void entry_acquire(uint64_t entry) {
    (void)entry;
}
#endif

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
static inline uint64_t tag_of_pointer(uint64_t entry) {
    return (entry & 0xfu) | ((entry >> 44) & 0xffff0u);
}
static inline unsigned long table_hash(mrl_map_kind kind, uint64_t hash) {
    return spread(hash & (kind == MRL_MAP_PAIRS ? 0xffffffffu : 0xfffffu));
}

/* Variant v of a probe's address; it differs from all others in the bits that a pointer leaves
 * free. */
static inline uint64_t probe_key(const mrl_probe *probe, uint32_t variant) {
    return as_entry(probe) ^ (variant & 7u) ^ ((uint64_t)(variant >> 3) << 48);
}
static inline const mrl_probe *key_probe(const void *key) {
    return as_pointer(as_entry(key) & 0x0000fffffffffff8u);
}

static unsigned long hash_pointer(const void *entry, unsigned long seed) {
    (void)seed;
    return spread(tag_of_pointer(as_entry(entry)));
}
static unsigned long hash_pair(const void *entry, unsigned long seed) {
    (void)seed;
    return spread(as_entry(entry) >> 32);
}

static bool compare_pointer(const void *in_table, const void *key) {
    uint64_t entry = as_entry(in_table);
    const mrl_probe *probe = key_probe(key);
    if (tag_of_pointer(entry) != (probe->hash & 0xfffffu)) return false;
    entry_acquire(entry);
    return probe->matches(probe, entry) != 0;
}
static bool compare_pair(const void *in_table, const void *key) {
    uint64_t entry = as_entry(in_table);
    const mrl_probe *probe = key_probe(key);
    if ((uint32_t)(entry >> 32) != (uint32_t)probe->hash) return false;
    entry_acquire(entry);
    return probe->matches(probe, entry) != 0;
}

/* The low 32 bits of an entry's hash. */
static inline uint32_t entry_hash(const mrl_map_type *type, uint64_t entry) {
    if (type->kind == MRL_MAP_PAIRS) return (uint32_t)(entry >> 32);
    return type->rehash(type->context, entry);
}

/* ---- memory for ck ---- */

/* ck_malloc's functions have no context: whose memory it is stands in mrl_self. Each table carries
 * its size in front, so that its length can be known from outside. */
typedef struct table_header {
    uint64_t size;
    uint64_t unused; /* keeps the table 16-byte aligned */
} table_header;

static void *table_alloc(size_t size) {
    table_header *header =
        mrl_block_alloc(mrl_self_get()->allocating, MRL_FOR_TABLES, sizeof(table_header) + size);
    if (header == NULL) return NULL;
    header->size = size;
    return header + 1;
}
static void *table_realloc(void *table, size_t size_old, size_t size_new, bool defer) {
    (void)table, (void)size_old, (void)size_new, (void)defer;
    return NULL; /* ck_hs never calls it */
}
static void table_free(void *table, size_t size, bool defer) {
    mrl_member *member = mrl_self_get()->allocating;
    table_header *header = (table_header *)table - 1;
    (void)size;
    if (defer)
        mrl_block_retire(member, header);
    else
        mrl_block_free(member, header);
}

static struct ck_malloc table_memory = {
    .malloc = table_alloc, .realloc = table_realloc, .free = table_free};

static uint64_t table_size(const struct ck_hs_map *table) {
    return ((const table_header *)(const void *)table - 1)->size;
}
static uint64_t table_slot_count(const struct ck_hs_map *table) {
    uint64_t slots_size = table_size(table) - CK_MAP_HEADER_SIZE - CK_MAP_SLACK_SIZE;
    MRL_ASSERT((slots_size & (slots_size - 1)) == 0);
    return slots_size / sizeof(void *);
}

/* Every call into ck that may take or give memory stands between these two. */
static mrl_member *allocate_for(mrl_member *member) {
    mrl_self *self = mrl_self_get();
    mrl_member *before = self->allocating;
    self->allocating = member;
    return before;
}
static void allocate_restore(mrl_member *before) {
    mrl_self_get()->allocating = before;
}

/* ---- a piece ---- */

static uint32_t log2_of(uint64_t power) {
    return (uint32_t)__builtin_ctzll(power);
}
static uint64_t piece_slot_count(const piece *p) {
    uint64_t hint = atomic_load_explicit(&p->slots_hint, memory_order_relaxed);
    return (uint64_t)1 << (hint & 63);
}
static uint32_t piece_entries(const piece *p) {
    return atomic_load_explicit(&p->entry_count, memory_order_relaxed);
}
static uint32_t piece_removed(const piece *p) {
    return atomic_load_explicit(&p->removed_count, memory_order_relaxed);
}
/* There is one writer: so this need not be one atomic step. */
static void count_up(_Atomic uint32_t *count, int by) {
    uint32_t before = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, before + (uint32_t)by, memory_order_relaxed);
}
static uint32_t piece_depth(const piece *p) {
    return atomic_load_explicit(&p->depth, memory_order_relaxed);
}

/* After ck has made a new table: notes where it is, and when it will be too large. A table that ck
 * made much larger than its entries need (because many have one hash) would be made so again: so it
 * is not called too large before half of the entries have gone. */
static void piece_note_table(piece *p) {
    uint64_t slot_count = table_slot_count(p->hs.map);
    uint64_t slots = (as_entry(p->hs.map) + CK_MAP_HEADER_SIZE + CK_MAP_SLACK_SIZE) & ~(uint64_t)63;
    uint64_t half = piece_entries(p) / 2;
    atomic_store_explicit(&p->slots_hint, slots | log2_of(slot_count), memory_order_relaxed);
    atomic_store_explicit(&p->removed_count, 0, memory_order_relaxed);
    p->shrink_below = 0;
    if (slot_count > SLOTS_MIN)
        p->shrink_below = (uint32_t)(half < slot_count / 8 ? half : slot_count / 8);
}

/* Slots for so many entries: ck doubles when more than a half are taken, and we leave a little
 * room. */
static unsigned long slots_for(uint64_t entry_count) {
    unsigned long slot_count = SLOTS_MIN;
    while (slot_count * 7 / 16 < entry_count) slot_count *= 2;
    return slot_count;
}

static piece *piece_create(const mrl_map_type *type, mrl_member *member, uint32_t depth,
                           uint64_t entry_count) {
    int is_pairs = type->kind == MRL_MAP_PAIRS;
    mrl_member *before;
    bool made;
    piece *p = mrl_block_alloc(member, MRL_FOR_TABLES, sizeof(piece));
    if (p == NULL) return NULL;
    memset(p, 0, sizeof(*p));
    before = allocate_for(member);
    made = ck_hs_init(
        &p->hs, CK_HS_MODE_SPMC | CK_HS_MODE_DIRECT, is_pairs ? hash_pair : hash_pointer,
        is_pairs ? compare_pair : compare_pointer, &table_memory, slots_for(entry_count), 0);
    allocate_restore(before);
    if (!made) {
        mrl_block_free(member, p);
        return NULL;
    }
    atomic_init(&p->depth, depth);
    p->split_at = MRL_PIECE_MAX;
    piece_note_table(p);
    return p;
}

/* Frees a piece that no reader has seen, or that none can see any more. */
static void piece_free(mrl_member *member, piece *p) {
    mrl_member *before;
    if (p == NULL) return;
    before = allocate_for(member);
    ck_hs_destroy(&p->hs);
    allocate_restore(before);
    mrl_block_free(member, p);
}

/* Frees a piece that was unlinked, when its readers are gone. Nothing of it is changed any more. */
static void piece_retire(mrl_member *member, piece *p) {
    mrl_block_retire(member, (table_header *)(void *)p->hs.map - 1);
    mrl_block_retire(member, p);
}

/* Puts an entry that is not there into a piece that no reader has seen yet. While it is being
 * filled the table compares nothing, since what we give as the key is then the entry. Returns 0
 * without memory. */
static int piece_fill(piece *p, mrl_member *member, uint64_t entry) {
    mrl_member *before = allocate_for(member);
    ck_hs_compare_cb_t *compare = p->hs.compare;
    bool done;
    p->hs.compare = NULL;
    done = ck_hs_put_unique(&p->hs, p->hs.hf(as_pointer(entry), 0), as_pointer(entry));
    p->hs.compare = compare;
    allocate_restore(before);
    count_up(&p->entry_count, done);
    return done;
}

/* Calls fn for each entry of one table of the piece until it gives non-zero. A reader may meet
 * entries that come and go; those that stay where they are it meets exactly once. */
typedef int piece_each_fn(void *context, uint64_t entry);
static int piece_each(const piece *p, piece_each_fn *fn, void *context) {
    ck_hs_iterator_t iterator = CK_HS_ITERATOR_INITIALIZER;
    ck_hs_t *hs = (ck_hs_t *)(uintptr_t)&p->hs; /* ck only reads it */
    void *key;
    int result = 0;
    while (result == 0 && ck_hs_next_spmc(hs, &iterator, &key)) {
        entry_acquire(as_entry(key));
        result = fn(context, as_entry(key));
    }
    return result;
}

/* ---- the directory ---- */

static size_t places_of(const directory *d) {
    return (size_t)1 << d->depth;
}
static inline size_t place_of(const directory *d, uint64_t hash) {
    return (size_t)(((uint64_t)(uint32_t)hash << d->depth) >> 32);
}
static piece *piece_at(const directory *d, size_t place) {
    /* Acquire: pairs with the release in directory_put; a reader sees the piece filled. */
    return atomic_load_explicit(&d->pieces[place], memory_order_acquire);
}
static directory *map_directory(const mrl_map *map) {
    /* Acquire: pairs with the release in map_put_directory; a reader sees all its places filled. */
    return atomic_load_explicit(&map->directory, memory_order_acquire);
}
static void map_put_directory(mrl_map *map, directory *d) {
    atomic_store_explicit(&map->directory, d, memory_order_release);
}
static piece *piece_of(const directory *d, uint64_t hash) {
    return piece_at(d, place_of(d, hash));
}

/* How many places show the piece; one, if it has gone deeper than a directory that was replaced. */
static size_t span_of(const directory *d, const piece *p) {
    uint32_t depth = piece_depth(p);
    return depth >= d->depth ? 1 : (size_t)1 << (d->depth - depth);
}
/* The first place behind those that show the piece which stands at `place`. */
static size_t place_after(const directory *d, size_t place, const piece *p) {
    size_t span = span_of(d, p);
    return (place & ~(span - 1)) + span;
}

static void directory_put(directory *d, size_t place, size_t count, piece *p) {
    for (size_t i = 0; i < count; i++)
        atomic_store_explicit(&d->pieces[place + i], p, memory_order_release);
}

static directory *directory_create(mrl_member *member, uint32_t depth) {
    size_t size = sizeof(directory) + (sizeof(piece *) << depth);
    directory *d = mrl_block_alloc(member, MRL_FOR_TABLES, size);
    if (d == NULL) return NULL;
    memset(d, 0, sizeof(*d));
    d->depth = depth;
    return d;
}

static void directory_count_deepest(directory *d) {
    d->deepest_count = 0;
    for (size_t i = 0; i < places_of(d); i++)
        d->deepest_count += piece_depth(piece_at(d, i)) == d->depth;
}

/* Replaces the directory by one of the given depth, one more or one less. Returns 0 without
 * memory. */
static int directory_resize(change *c, uint32_t depth) {
    directory *old = map_directory(c->map);
    directory *d = directory_create(c->member, depth);
    if (d == NULL) return 0;
    for (size_t i = 0; i < places_of(d); i++) {
        size_t from = depth > old->depth ? i >> 1 : i << 1;
        atomic_init(&d->pieces[i], piece_at(old, from));
    }
    directory_count_deepest(d);
    map_put_directory(c->map, d);
    mrl_point("map: directory replaced");
    mrl_block_retire(c->member, old);
    return 1;
}

/* ---- counting ---- */

static void change_begin(change *c, mrl_map *map, mrl_member *member) {
    c->map = map;
    c->member = member;
    c->copied_count = 0;
}
static void change_end(const change *c) {
    if (c->copied_count == 0) return;
    mrl_count(c->member, MRL_N_COPIED, c->copied_count);
    mrl_count_max(c->member, MRL_N_COPIED_MAX, c->copied_count);
}
static void map_count_entries(mrl_map *map, int64_t by) {
    uint64_t count = atomic_load_explicit(&map->entry_count, memory_order_relaxed);
    atomic_store_explicit(&map->entry_count, count + (uint64_t)by, memory_order_relaxed);
}

/* ---- splitting ---- */

/* Sorts the entries of a piece by one bit of their hash. */
typedef struct sorting {
    const mrl_map_type *type;
    mrl_member *member;
    uint32_t bit;
    uint64_t counts[2];
    piece *halves[2]; /* NULL: only count */
    uint64_t waiting[PREFETCH_AHEAD];
    uint32_t waiting_count;
} sorting;

/* Returns non-zero without memory. */
static int sorting_flush(sorting *s) {
    for (uint32_t i = 0; i < s->waiting_count; i++) {
        uint64_t entry = s->waiting[i];
        uint32_t side = entry_hash(s->type, entry) >> s->bit & 1;
        if (s->halves[side] == NULL)
            s->counts[side]++;
        else if (!piece_fill(s->halves[side], s->member, entry))
            return 1;
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

static int sorting_run(sorting *s, const piece *p) {
    return piece_each(p, sorting_take, s) || sorting_flush(s);
}

/* May the directory be doubled, for the entries that there are? */
static int directory_may_grow(const change *c, const directory *d) {
    uint64_t entries = atomic_load_explicit(&c->map->entry_count, memory_order_relaxed);
    uint64_t places = (uint64_t)2 << d->depth;
    if (d->depth >= DIRECTORY_DEPTH_MAX) return 0;
    return places <= 16 || places <= entries / ENTRIES_A_PLACE_MIN;
}

/* All entries share the next bit too: the piece keeps those places that have it, and the others get
 * a new empty one. Nothing is copied. Readers that have just found this piece for the other places
 * find nothing in it there, as they would in the empty one. */
static merle_err piece_narrow(change *c, directory *d, piece *p, uint64_t hash, uint32_t side) {
    uint32_t depth = piece_depth(p) + 1;
    size_t span = (size_t)1 << (d->depth - depth);
    size_t base = place_of(d, hash) & ~(2 * span - 1);
    piece *empty = piece_create(c->map->type, c->member, depth, 0);
    if (empty == NULL) return MERLE_NO_MEMORY;
    directory_put(d, base + (side ? 0 : span), span, empty);
    atomic_store_explicit(&p->depth, depth, memory_order_relaxed);
    if (depth == d->depth) d->deepest_count += 2;
    return MERLE_OK;
}

/* Two new pieces with all entries take the place of the old one, which stays as it is for its
 * readers. */
static merle_err piece_halve(change *c, directory *d, piece *p, uint64_t hash, sorting *s) {
    uint32_t depth = piece_depth(p) + 1;
    size_t span = (size_t)1 << (d->depth - depth);
    size_t base = place_of(d, hash) & ~(2 * span - 1);
    s->halves[0] = piece_create(c->map->type, c->member, depth, s->counts[0]);
    if (s->halves[0] == NULL) goto fail;
    s->halves[1] = piece_create(c->map->type, c->member, depth, s->counts[1]);
    if (s->halves[1] == NULL || sorting_run(s, p) != 0) goto fail;
    piece_note_table(s->halves[0]);
    piece_note_table(s->halves[1]);
    c->copied_count += piece_entries(p);
    directory_put(d, base, span, s->halves[0]);
    mrl_point("map: half of a split is shown");
    directory_put(d, base + span, span, s->halves[1]);
    if (depth == d->depth) d->deepest_count += 2;
    piece_retire(c->member, p);
    mrl_count(c->member, MRL_N_SPLITS, 1);
    return MERLE_OK;
fail:
    piece_free(c->member, s->halves[0]);
    piece_free(c->member, s->halves[1]);
    return MERLE_NO_MEMORY;
}

/* One step towards room in the full piece for this hash. *out_more says that another may be
 * needed. */
static merle_err piece_split_step(change *c, uint64_t hash, int *out_more) {
    directory *d = map_directory(c->map);
    piece *p = piece_of(d, hash);
    sorting s = {.type = c->map->type, .member = c->member};
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
    s.bit = 31 - depth;
    sorting_run(&s, p);
    if (s.counts[0] != 0 && s.counts[1] != 0) return piece_halve(c, d, p, hash, &s);
    *out_more = 1;
    return piece_narrow(c, d, p, hash, s.counts[1] != 0);
}

static merle_err map_make_room(change *c, uint64_t hash) {
    int more = 1;
    while (more) {
        piece *p = piece_of(map_directory(c->map), hash);
        if (piece_entries(p) < p->split_at) break;
        merle_err err = piece_split_step(c, hash, &more);
        if (err != MERLE_OK) return err;
    }
    return MERLE_OK;
}

/* ---- merging, shrinking ---- */

static int piece_copy_entry(void *context, uint64_t entry) {
    sorting *s = context;
    return !piece_fill(s->halves[0], s->member, entry);
}

/* A new piece of the given depth with the entries of one or two; NULL without memory. */
static piece *piece_copy(change *c, uint32_t depth, const piece *first, const piece *second) {
    uint64_t entry_count = (uint64_t)piece_entries(first) + (second ? piece_entries(second) : 0);
    sorting s = {.member = c->member};
    s.halves[0] = piece_create(c->map->type, c->member, depth, entry_count);
    if (s.halves[0] == NULL) return NULL;
    if (piece_each(first, piece_copy_entry, &s) != 0) goto fail;
    if (second != NULL && piece_each(second, piece_copy_entry, &s) != 0) goto fail;
    piece_note_table(s.halves[0]);
    c->copied_count += entry_count;
    return s.halves[0];
fail:
    piece_free(c->member, s.halves[0]);
    return NULL;
}

/* Joins the piece for this hash with its buddy if both are thin. Returns whether it did. */
static int piece_merge(change *c, uint64_t hash) {
    directory *d = map_directory(c->map);
    size_t place = place_of(d, hash);
    piece *p = piece_at(d, place);
    uint32_t depth = piece_depth(p);
    if (depth == 0 || piece_entries(p) >= MERGE_BELOW) return 0;
    size_t span = span_of(d, p);
    piece *buddy = piece_at(d, place ^ span);
    if (piece_depth(buddy) != depth || piece_entries(p) + piece_entries(buddy) >= MERGE_BELOW)
        return 0;
    piece *merged = piece_copy(c, depth - 1, p, buddy);
    if (merged == NULL) return 0;
    directory_put(d, place & ~(2 * span - 1), 2 * span, merged);
    if (depth == d->depth) d->deepest_count -= 2;
    piece_retire(c->member, p);
    piece_retire(c->member, buddy);
    mrl_count(c->member, MRL_N_MERGES, 1);
    while (d->deepest_count == 0 && d->depth > 0 && directory_resize(c, d->depth - 1))
        d = map_directory(c->map);
    return 1;
}

/* Copies a piece whose table has too many tombstones or too much room. */
static void piece_rebuild(change *c, uint64_t hash) {
    directory *d = map_directory(c->map);
    piece *p = piece_of(d, hash);
    uint64_t quarter = piece_slot_count(p) / 4;
    int is_worn = piece_removed(p) > (quarter > TOMBSTONES_FREE ? quarter : TOMBSTONES_FREE);
    if (!is_worn && piece_entries(p) >= p->shrink_below) return;
    piece *fresh = piece_copy(c, piece_depth(p), p, NULL);
    if (fresh == NULL) return;
    fresh->split_at = p->split_at;
    size_t span = span_of(d, p);
    directory_put(d, place_of(d, hash) & ~(span - 1), span, fresh);
    piece_retire(c->member, p);
    mrl_count(c->member, MRL_N_REBUILDS, 1);
}

/* The last entry has gone: gives everything back. */
static void map_retire_all(change *c) {
    directory *d = map_directory(c->map);
    map_put_directory(c->map, NULL);
    for (size_t i = 0; i < places_of(d);) {
        piece *p = piece_at(d, i);
        i = place_after(d, i, p);
        piece_retire(c->member, p);
    }
    mrl_block_retire(c->member, d);
}

/* ---- finding ---- */

/* The entry of the piece that matches, or 0; *out_key is the key that found it. */
static inline uint64_t piece_find(const piece *p, unsigned long h, const mrl_probe *probe,
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

static inline void piece_prefetch_slot(const piece *p, unsigned long h) {
    uint64_t hint = atomic_load_explicit(&p->slots_hint, memory_order_relaxed);
    uint64_t mask = ((uint64_t)1 << (hint & 63)) - 1;
    uint64_t slot = h & mask & ~(uint64_t)(HASH_SLOTS_A_LINE - 1);
    __builtin_prefetch(as_pointer((hint & ~(uint64_t)63) + slot * sizeof(void *)));
}

uint64_t mrl_map_find(const mrl_map *map, const mrl_probe *probe) {
    const directory *d = map_directory(map);
    uint64_t key;
    if (d == NULL) return 0;
    const piece *p = piece_of(d, probe->hash);
    unsigned long h = table_hash(map->type->kind, probe->hash);
    /* The slot's line is asked for before ck reads the table's header, which tells it where the
     * slot is. */
    piece_prefetch_slot(p, h);
    return piece_find(p, h, probe, &key);
}

void mrl_map_prefetch(const mrl_map *map, uint64_t hash) {
    const directory *d = map_directory(map);
    if (d == NULL) return;
    const piece *p = piece_of(d, hash);
    uint64_t hint = atomic_load_explicit(&p->slots_hint, memory_order_relaxed) & ~(uint64_t)63;
    /* The table's header lies just before its slots, across two or three lines. */
    __builtin_prefetch(as_pointer(hint - 64));
    __builtin_prefetch(as_pointer(hint - 128));
    piece_prefetch_slot(p, table_hash(map->type->kind, hash));
}

/* ---- changing ---- */

void mrl_map_init(mrl_map *map, const mrl_map_type *type) {
    MRL_ASSERT((type->kind == MRL_MAP_POINTERS) == (type->rehash != NULL));
    atomic_init(&map->directory, NULL);
    atomic_init(&map->entry_count, 0);
    map->type = type;
}

void mrl_map_fini(mrl_map *map, mrl_member *member) {
    while (mrl_map_clear_some(map, member, SIZE_MAX) != 0) continue;
}

/* What ck_hs_apply is to do with what it finds. */
typedef struct applying {
    uint64_t key;
    uint64_t entry;
    uint64_t existing;
    int replaces;
} applying;

/* Returns what shall stand there afterwards. An existing entry that equals the key was not
 * compared: it stays, and the caller tries with another key. */
static void *apply(void *existing, void *context) {
    applying *a = context;
    a->existing = as_entry(existing);
    if (a->existing == a->key) return existing;
    if (existing != NULL && !a->replaces) return existing;
    if (existing == NULL && a->replaces) return NULL;
    return (void *)(uintptr_t)a->entry;
}

/* Returns 0 without memory. */
static int piece_apply(piece *p, unsigned long h, const mrl_probe *probe, applying *a) {
    uint32_t variant = 0;
    bool done;
    /* Release: what the entry stands for is written before ck shows the entry; readers follow the
     * entry. */
    atomic_thread_fence(memory_order_release);
    entry_release(a->entry);
    do {
        a->key = probe_key(probe, variant++);
        a->existing = 0;
        done = ck_hs_apply(&p->hs, h, as_pointer(a->key), apply, a);
    } while (done && a->existing == a->key);
    return done;
}

static merle_err piece_add(change *c, piece *p, const mrl_probe *probe, uint64_t entry,
                           uint64_t *out_existing) {
    const struct ck_hs_map *table = p->hs.map;
    applying a = {.entry = entry};
    mrl_member *before = allocate_for(c->member);
    int done = piece_apply(p, table_hash(c->map->type->kind, probe->hash), probe, &a);
    allocate_restore(before);
    if (done && a.existing == 0) {
        count_up(&p->entry_count, 1);
        map_count_entries(c->map, 1);
    }
    if (p->hs.map != table) {
        c->copied_count += piece_entries(p);
        piece_note_table(p);
    }
    if (!done) return MERLE_NO_MEMORY;
    *out_existing = a.existing;
    return MERLE_OK;
}

/* The first entry: a directory of one place, shown when the entry is in it. */
static merle_err map_start(change *c, const mrl_probe *probe, uint64_t entry) {
    uint64_t existing;
    merle_err err = MERLE_NO_MEMORY;
    directory *d = directory_create(c->member, 0);
    if (d == NULL) return MERLE_NO_MEMORY;
    piece *p = piece_create(c->map->type, c->member, 0, 1);
    if (p == NULL) goto fail;
    err = piece_add(c, p, probe, entry, &existing);
    if (err != MERLE_OK) goto fail;
    d->deepest_count = 1;
    atomic_init(&d->pieces[0], p);
    map_put_directory(c->map, d);
    return MERLE_OK;
fail:
    piece_free(c->member, p);
    mrl_block_free(c->member, d);
    return err;
}

merle_err mrl_map_add(mrl_map *map, mrl_member *member, const mrl_probe *probe, uint64_t entry,
                      uint64_t *out_existing) {
    directory *d = map_directory(map);
    merle_err err = MERLE_OK;
    change c;
    *out_existing = 0;
    MRL_DEBUG_ASSERT(entry != 0 && entry != UINT64_MAX);
    change_begin(&c, map, member);
    if (d == NULL) {
        err = map_start(&c, probe, entry);
    } else {
        piece *p = piece_of(d, probe->hash);
        if (piece_entries(p) >= p->split_at) {
            *out_existing = mrl_map_find(map, probe);
            if (*out_existing != 0) return MERLE_OK;
            err = map_make_room(&c, probe->hash);
            p = piece_of(map_directory(map), probe->hash);
        }
        if (err == MERLE_OK) err = piece_add(&c, p, probe, entry, out_existing);
    }
    change_end(&c);
    return err;
}

uint64_t mrl_map_replace(mrl_map *map, const mrl_probe *probe, uint64_t entry) {
    directory *d = map_directory(map);
    MRL_ASSERT(d != NULL);
    applying a = {.entry = entry, .replaces = 1};
    piece *p = piece_of(d, probe->hash);
    int done = piece_apply(p, table_hash(map->type->kind, probe->hash), probe, &a);
    /* An existing key is always within the bound of the probe: ck had no need to grow. */
    MRL_ASSERT(done && a.existing != 0);
    return a.existing;
}

uint64_t mrl_map_remove(mrl_map *map, mrl_member *member, const mrl_probe *probe) {
    directory *d = map_directory(map);
    uint64_t key;
    change c;
    if (d == NULL) return 0;
    piece *p = piece_of(d, probe->hash);
    unsigned long h = table_hash(map->type->kind, probe->hash);
    uint64_t entry = piece_find(p, h, probe, &key);
    if (entry == 0) return 0;
    void *removed = ck_hs_remove(&p->hs, h, as_pointer(key));
    MRL_ASSERT(as_entry(removed) == entry);
    count_up(&p->entry_count, -1);
    count_up(&p->removed_count, 1);
    map_count_entries(map, -1);
    change_begin(&c, map, member);
    if (atomic_load_explicit(&map->entry_count, memory_order_relaxed) == 0) {
        map_retire_all(&c);
        return entry;
    }
    while (piece_merge(&c, probe->hash)) continue;
    piece_rebuild(&c, probe->hash);
    change_end(&c);
    return entry;
}

/* ---- all entries ---- */

int mrl_map_each(const mrl_map *map, int (*fn)(void *context, uint64_t entry), void *context) {
    const directory *d = map_directory(map);
    int result = 0;
    if (d == NULL) return 0;
    for (size_t i = 0; i < places_of(d) && result == 0;) {
        const piece *p = piece_at(d, i);
        i = place_after(d, i, p);
        result = piece_each(p, fn, context);
    }
    return result;
}

size_t mrl_map_clear_some(mrl_map *map, mrl_member *member, size_t max) {
    directory *d = map_directory(map);
    size_t freed_count = 0;
    if (d == NULL) return 0;
    while (d->cleared_count < places_of(d) && freed_count < max) {
        piece *p = piece_at(d, d->cleared_count);
        d->cleared_count = (uint32_t)place_after(d, d->cleared_count, p);
        map_count_entries(map, -(int64_t)piece_entries(p));
        piece_free(member, p);
        freed_count++;
    }
    if (d->cleared_count == places_of(d)) {
        map_put_directory(map, NULL);
        mrl_block_free(member, d);
    }
    return freed_count;
}

/* ---- looking at it ---- */

void mrl_map_stat(const mrl_map *map, mrl_map_stats *out_stats) {
    const directory *d = map_directory(map);
    memset(out_stats, 0, sizeof(*out_stats));
    if (d == NULL) return;
    out_stats->entries = atomic_load_explicit(&map->entry_count, memory_order_relaxed);
    out_stats->directory_size = places_of(d);
    out_stats->bytes = sizeof(directory) + (sizeof(piece *) << d->depth);
    for (size_t i = 0; i < places_of(d);) {
        const piece *p = piece_at(d, i);
        uint64_t removed = piece_removed(p), slot_count = piece_slot_count(p);
        i = place_after(d, i, p);
        out_stats->pieces++;
        out_stats->tombstones += removed < slot_count ? removed : slot_count;
        out_stats->bytes += sizeof(piece) + sizeof(table_header) + CK_MAP_HEADER_SIZE +
                            CK_MAP_SLACK_SIZE + slot_count * sizeof(void *);
    }
}

/* The check of one piece: walks its entries and looks for each as a reader would. */
typedef struct checking {
    mrl_probe probe; /* first: it is handed to ck as the key */
    const mrl_map_type *type;
    const piece *piece;
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
        (void)piece_each(c->piece, checking_count, c);
        if (c->met_count != 1) c->broken = "an entry is twice in a table";
    }
    return c->broken != NULL;
}

static const char *piece_check(const mrl_map *map, const directory *d, size_t place,
                               const piece *p) {
    checking c = {.probe.matches = checking_matches, .type = map->type, .piece = p};
    uint32_t depth = piece_depth(p);
    size_t span = span_of(d, p);
    if (depth > d->depth) return "a piece is deeper than its directory";
    if ((place & (span - 1)) != 0) return "a piece begins at a place that is not its own";
    for (size_t i = 1; i < span; i++)
        if (piece_at(d, place + i) != p) return "a piece is missing at one of its places";
    c.prefix = (uint32_t)(place >> (d->depth - depth));
    if (piece_each(p, checking_entry, &c) != 0) return c.broken;
    if (c.entry_count != piece_entries(p)) return "a piece's count is not that of its entries";
    if (c.entry_count != ck_hs_count((ck_hs_t *)(uintptr_t)&p->hs))
        return "ck_hs counts otherwise than we do";
    return NULL;
}

const char *mrl_map_check(const mrl_map *map) {
    const directory *d = map_directory(map);
    uint64_t wanted = atomic_load_explicit(&map->entry_count, memory_order_relaxed);
    uint64_t entry_count = 0, deepest_count = 0;
    const char *broken = NULL;
    if (d == NULL) return wanted == 0 ? NULL : "the map has no tables, but entries by its count";
    for (size_t i = 0; i < places_of(d) && broken == NULL;) {
        const piece *p = piece_at(d, i);
        broken = piece_check(map, d, i, p);
        entry_count += piece_entries(p);
        deepest_count += piece_depth(p) == d->depth;
        i = place_after(d, i, p);
    }
    if (broken != NULL) return broken;
    if (entry_count != wanted) return "the map's count is not that of its pieces";
    if (deepest_count != d->deepest_count) return "the count of deepest pieces is wrong";
    return NULL;
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
