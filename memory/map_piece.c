/* memory/map_piece.c - one piece of a map: a ck_hs, its memory, and what is put into it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "memory/map_private.h"

#include <stdbool.h>
#include <string.h>

#include "base/assert.h"
#include "base/self.h"

enum { SLOTS_MIN = 8 /* the smallest table that ck_hs makes */ };

/* ---- what ThreadSanitizer must be told ---- */

#ifdef WITH_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
static char sync_words[4096];
static void *sync_word(uint64_t entry) {
    return &sync_words[(entry * 0x9e3779b97f4a7c15u) >> 52];
}
void mrl_entry_tell_release(uint64_t entry) {
    __tsan_release(sync_word(entry));
}
void mrl_entry_tell_acquire(uint64_t entry) {
    __tsan_acquire(sync_word(entry));
}

/* ck clears a new table after it was allocated and shows it when all entries have been copied, each
 * of which it asks us to hash: there we can tell that what was done so far comes before. */
static _Thread_local uint64_t table_being_filled;
static void table_tell(uint64_t table) {
    table_being_filled = table;
}
static void table_tell_filled(void) {
    if (table_being_filled != 0) mrl_entry_tell_release(table_being_filled);
}
#else
static inline void table_tell(uint64_t table) {
    (void)table;
}
static inline void table_tell_filled(void) {}
#endif

/* ---- what ck asks of an entry ---- */

static inline const mrl_probe *key_probe(const void *key) {
    return as_pointer(as_entry(key) & 0x0000fffffffffff8u);
}

static unsigned long hash_pointer(const void *entry, unsigned long seed) {
    (void)seed;
    table_tell_filled();
    return spread(entry_tag(MRL_MAP_POINTERS, as_entry(entry)));
}
static unsigned long hash_pair(const void *entry, unsigned long seed) {
    (void)seed;
    table_tell_filled();
    return spread(entry_tag(MRL_MAP_PAIRS, as_entry(entry)));
}

static bool compare_pointer(const void *in_table, const void *key) {
    uint64_t entry = as_entry(in_table);
    const mrl_probe *probe = key_probe(key);
    if (entry_tag(MRL_MAP_POINTERS, entry) != hash_tag(MRL_MAP_POINTERS, probe->hash)) return false;
    mrl_entry_tell_acquire(entry);
    return probe->matches(probe, entry) != 0;
}
static bool compare_pair(const void *in_table, const void *key) {
    uint64_t entry = as_entry(in_table);
    const mrl_probe *probe = key_probe(key);
    if (entry_tag(MRL_MAP_PAIRS, entry) != hash_tag(MRL_MAP_PAIRS, probe->hash)) return false;
    mrl_entry_tell_acquire(entry);
    return probe->matches(probe, entry) != 0;
}

/* ---- memory for ck ---- */

/* ck_malloc's functions have no context: whose memory it is stands in mrl_self. Nobody's: ck may
 * not have any now, and goes on with the table that it has. */
static void *table_alloc(size_t size) {
    mrl_member *member = mrl_self_get()->allocating;
    if (member == NULL) return NULL;
    table_header *header = mrl_block_alloc(member, MRL_FOR_TABLES, sizeof(table_header) + size);
    if (header == NULL) return NULL;
    atomic_init(&header->size, size);
    table_tell(as_entry(header + 1));
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

/* How many entries are good for so many slots. ck by itself doubles a table that is more than half
 * full, which costs a third more memory and gains little: so it gets no memory before. */
static uint64_t entries_for(uint64_t slot_count) {
    return slot_count / 4 * 3;
}

static unsigned long slots_for(uint64_t entry_count) {
    unsigned long slot_count = SLOTS_MIN;
    while (entries_for(slot_count) < entry_count) slot_count *= 2;
    return slot_count;
}

/* After ck has made a new table: notes where it is, and when it will be too large. A table that ck
 * made much larger than its entries need (because many have one hash) would be made so again: so it
 * is not called too large before half of the entries have gone. */
void mrl_piece_note_table(mrl_piece *p) {
    uint64_t slot_count = table_slot_count(p->hs.map);
    mrl_entry_tell_release(as_entry(p->hs.map));
    MRL_ASSERT((slot_count & (slot_count - 1)) == 0);
    uint64_t slots = table_first_place(p->hs.map);
    uint64_t half = piece_entries(p) / 2;
    atomic_store_explicit(&p->slots_hint, slots | log2_of(slot_count), memory_order_relaxed);
    atomic_store_explicit(&p->removed_count, 0, memory_order_relaxed);
    p->shrink_below = slot_count > SLOTS_MIN ? (uint32_t)(slot_count / 4) : 0;
    /* It may have grown for the next entry, which is not counted yet. */
    if (slot_count > slots_for(piece_entries(p) + 1) && half < p->shrink_below)
        p->shrink_below = (uint32_t)half;
}

/* Who pays for a larger table if ck asks for one at the next entry. */
static mrl_member *who_grows(const mrl_piece *p, mrl_member *member) {
    return piece_entries(p) < entries_for(piece_slot_count(p)) ? NULL : member;
}

mrl_piece *mrl_piece_create(const mrl_map_type *type, mrl_member *member, uint32_t depth,
                            uint64_t entry_count) {
    int is_pairs = type->kind == MRL_MAP_PAIRS;
    mrl_member *before;
    bool made;
    mrl_piece *p = mrl_block_alloc(member, MRL_FOR_TABLES, sizeof(mrl_piece));
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
    mrl_piece_note_table(p);
    return p;
}

/* Frees a piece that no reader has seen, or that none can see any more. */
void mrl_piece_free(mrl_member *member, mrl_piece *p) {
    mrl_member *before;
    if (p == NULL) return;
    before = allocate_for(member);
    ck_hs_destroy(&p->hs);
    allocate_restore(before);
    mrl_block_free(member, p);
}

/* Frees a piece that was unlinked, when its readers are gone. Nothing of it is changed any more. */
void mrl_piece_retire(mrl_member *member, mrl_piece *p) {
    mrl_block_retire(member, (table_header *)(void *)p->hs.map - 1);
    mrl_block_retire(member, p);
}

/* Puts an entry that is not there into a piece that no reader has seen yet. While it is being
 * filled the table compares nothing, since what we give as the key is then the entry. Returns 0
 * without memory. */
int mrl_piece_fill(mrl_piece *p, mrl_member *member, uint64_t entry) {
    ck_hs_compare_cb_t *compare = p->hs.compare;
    unsigned long h = p->hs.hf(as_pointer(entry), 0);
    mrl_member *grows = who_grows(p, member);
    mrl_member *before = allocate_for(grows);
    p->hs.compare = NULL;
    bool done = ck_hs_put_unique(&p->hs, h, as_pointer(entry));
    if (!done && grows == NULL) {
        /* All places within the bound of its probe are taken. */
        (void)allocate_for(member);
        done = ck_hs_put_unique(&p->hs, h, as_pointer(entry));
    }
    p->hs.compare = compare;
    allocate_restore(before);
    count_up(&p->entry_count, done);
    if (piece_slot_count(p) != table_slot_count(p->hs.map)) mrl_piece_note_table(p);
    return done;
}

int mrl_piece_each(const mrl_piece *p, mrl_piece_each_fn *fn, void *context) {
    ck_hs_iterator_t iterator = CK_HS_ITERATOR_INITIALIZER;
    ck_hs_t *hs = (ck_hs_t *)(uintptr_t)&p->hs; /* ck only reads it */
    void *key;
    int result = 0;
    while (result == 0 && ck_hs_next_spmc(hs, &iterator, &key)) {
        mrl_entry_tell_acquire(as_entry(key));
        result = fn(context, as_entry(key));
    }
    return result;
}

/* ---- adding ---- */

/* What ck_hs_apply is to do with what it finds. */
typedef struct applying {
    uint64_t key;
    uint64_t entry;
    uint64_t existing;
} applying;

/* Returns what shall stand there afterwards. An existing entry that equals the key was not
 * compared: it stays, and the caller tries with another key. */
static void *apply(void *existing, void *context) {
    applying *a = context;
    a->existing = as_entry(existing);
    return existing != NULL ? existing : (void *)(uintptr_t)a->entry;
}

/* Returns 0 without memory. */
static int piece_apply(mrl_piece *p, unsigned long h, const mrl_probe *probe, applying *a) {
    uint32_t variant = 0;
    bool done;
    /* Release: what the entry stands for is written before ck shows the entry; readers follow the
     * entry. */
    atomic_thread_fence(memory_order_release);
    mrl_entry_tell_release(a->entry);
    do {
        a->key = probe_key(probe, variant++);
        a->existing = 0;
        done = ck_hs_apply(&p->hs, h, as_pointer(a->key), apply, a);
    } while (done && a->existing == a->key);
    return done;
}

merle_err mrl_piece_add(mrl_change *c, mrl_piece *p, const mrl_probe *probe, uint64_t entry,
                        uint64_t *out_existing) {
    const struct ck_hs_map *table = p->hs.map;
    unsigned long h = table_hash(c->map->type->kind, probe->hash);
    applying a = {.entry = entry};
    mrl_member *grows = who_grows(p, c->member);
    mrl_member *before = allocate_for(grows);
    int done = piece_apply(p, h, probe, &a);
    if (!done && grows == NULL) {
        /* All places within the bound of its probe are taken. */
        (void)allocate_for(c->member);
        done = piece_apply(p, h, probe, &a);
    }
    allocate_restore(before);
    if (done && a.existing == 0) count_up(&p->entry_count, 1);
    if (p->hs.map != table) {
        c->copied_count += piece_entries(p);
        mrl_piece_note_table(p);
    }
    if (!done) return MERLE_NO_MEMORY;
    *out_existing = a.existing;
    return MERLE_OK;
}
