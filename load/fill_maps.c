/* load/fill_maps.c - keys and unique values in bulk.
 *
 * For each document the shard of its hash, 32 bits of it and the slot are taken down: lists of
 * 8-byte words, for each thread and shard. Then the map of each shard is made from its lists
 * (memory/map_fill.c), whose words come to it sorted by the first bits of the hash: by counting,
 * which costs less than the comparisons that it spares.
 *
 * A list is chunks of some kilobytes, so that little of it is unused. What is given back is meant
 * to become tables, which want pieces of a hundred kilobytes. So chunks are cut from blocks, of
 * which each has those of a few shards only: it is given back when the maps of these are made.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "load/fill_private.h"

enum { GROUP_SHARDS = 8, GROUP_COUNT = MRL_SHARD_COUNT / GROUP_SHARDS };

typedef struct word_chunk {
    struct word_chunk *before;
    uint64_t words[];
} word_chunk;

typedef struct word_block {
    struct word_block *before;
    uint64_t chunks[]; /* one behind the other */
} word_block;

/* What one worker has for a few shards. */
typedef struct word_group {
    word_block *last;
    uint32_t unused; /* chunks of the last block */
} word_group;

/* All chunks but the last one are full. While words come nothing is touched but this and the place
 * that the word takes. */
typedef struct word_list {
    word_chunk *last;
    uint64_t *at, *end; /* in the last one */
    uint32_t chunk_count;
} word_list;

typedef struct mapping {
    mrl_column column;  /* index NULL: keys */
    word_list *lists;   /* MRL_SHARD_COUNT for each worker */
    word_group *groups; /* GROUP_COUNT for each worker */
    uint32_t worker_count;
    uint32_t chunk_capacity;
    uint32_t block_chunks;
    _Atomic uint32_t shards_left[GROUP_COUNT]; /* whose maps are not made */
} mapping;

static word_list *list_of(const mapping *m, uint32_t worker, uint32_t shard) {
    return &m->lists[(size_t)worker * MRL_SHARD_COUNT + shard];
}

static word_group *group_of(const mapping *m, uint32_t worker, uint32_t group) {
    return &m->groups[(size_t)worker * GROUP_COUNT + group];
}

/* ---- memory ---- */

static size_t chunk_size(const mapping *m) {
    return sizeof(word_chunk) + m->chunk_capacity * sizeof(uint64_t);
}
static size_t word_count(const mapping *m, const word_list *list) {
    return (size_t)list->chunk_count * m->chunk_capacity - (size_t)(list->end - list->at);
}
/* Of one of the list's chunks. */
static uint32_t chunk_words(const mapping *m, const word_list *list, const word_chunk *chunk) {
    return chunk == list->last ? (uint32_t)(list->at - chunk->words) : m->chunk_capacity;
}

static size_t block_size(const mapping *m) {
    return sizeof(word_block) + m->block_chunks * chunk_size(m);
}

/* Chunks that are neither mostly empty in a small collection nor many in a large one; large blocks
 * come from no slab: they can become anything once they are given back. */
static void choose_sizes(mapping *m) {
    enum { SMALLEST = 14, LARGEST = 511, FEW = 8, BLOCK_SIZE = 256 << 10 };
    uint32_t fair = mrl_slots_end(&m->column.filling->root->slots) / MRL_SHARD_COUNT / 4;
    m->chunk_capacity = fair < SMALLEST ? SMALLEST : fair > LARGEST ? LARGEST : fair;
    m->block_chunks = FEW;
    if (m->chunk_capacity == LARGEST)
        m->block_chunks = (uint32_t)((BLOCK_SIZE - sizeof(word_block)) / chunk_size(m));
}

static int grow_group(const mapping *m, mrl_member *member, word_group *group) {
    word_block *block = mrl_alloc(member, MRL_FOR_OTHER, block_size(m));
    if (block == NULL) return 0;
    block->before = group->last;
    *group = (word_group){block, m->block_chunks};
    return 1;
}

static int grow_list(const mapping *m, const mrl_fill_batch *batch, uint32_t shard) {
    word_list *list = list_of(m, batch->worker, shard);
    word_group *group = group_of(m, batch->worker, shard / GROUP_SHARDS);
    if (group->unused == 0 && !grow_group(m, batch->member, group)) return 0;
    size_t at = (m->block_chunks - group->unused--) * (chunk_size(m) / sizeof(uint64_t));
    word_chunk *chunk = (word_chunk *)(void *)&group->last->chunks[at];
    chunk->before = list->last;
    *list =
        (word_list){chunk, chunk->words, chunk->words + m->chunk_capacity, list->chunk_count + 1};
    return 1;
}

/* Nobody goes over a list of these shards any more. */
static void free_group(const mapping *m, mrl_member *member, uint32_t number) {
    for (uint32_t w = 0; w < m->worker_count; w++) {
        word_group *group = group_of(m, w, number);
        for (word_block *block = group->last, *before; block != NULL; block = before) {
            before = block->before;
            mrl_free(member, MRL_FOR_OTHER, block, block_size(m));
        }
        *group = (word_group){NULL, 0};
    }
}

/* ---- taking down ---- */

static inline int note_word(const mapping *m, const mrl_fill_batch *batch, uint64_t hash,
                            uint32_t slot) {
    word_list *list = list_of(m, batch->worker, mrl_shard_of(hash));
    if (list->at == list->end && !grow_list(m, batch, mrl_shard_of(hash))) return 0;
    *list->at++ = mrl_entry_pair(slot, hash);
    return 1;
}

static int note_keys(mrl_column *column, const mrl_fill_batch *batch) {
    const mapping *m = (const mapping *)column;
    const mrl_root *root = column->filling->root;
    for (uint32_t i = 0; i < batch->count; i++) {
        const mrl_version *v = batch->versions[i];
        if (!note_word(m, batch, mrl_root_hash(root, mrl_version_key(v)), v->slot)) return 0;
    }
    return 1;
}

static int note_values(mrl_column *column, const mrl_fill_batch *batch) {
    const mapping *m = (const mapping *)column;
    const mrl_unique *unique = column->filling->root->indexes[column->index->number].unique;
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    for (uint32_t i = 0; i < batch->count; i++) {
        const mrl_version *v = batch->versions[i];
        size_t size = mrl_version_encode_unique(v, column->index, encoded);
        if (size == 0) continue;
        if (!note_word(m, batch, mrl_unique_hash(unique, encoded, size), v->slot)) return 0;
    }
    return 1;
}

/* ---- maps from lists ---- */

static int same_key(void *context, uint64_t first, uint64_t second) {
    const mapping *m = context;
    const mrl_version *a = mrl_entry_to_pointer(first), *b = mrl_entry_to_pointer(second);
    if (a->key_size != b->key_size || memcmp(a->bytes, b->bytes, a->key_size) != 0) return 0;
    mrl_filling_offend(m->column.filling, NULL, (mrl_fill_offence){MERLE_EXISTS, b->slot, a->slot});
    return 1;
}

static int same_value(void *context, uint64_t first, uint64_t second) {
    const mapping *m = context;
    const mrl_schema_index *index = m->column.index;
    const mrl_slots *slots = &m->column.filling->root->slots;
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    const mrl_version *a = mrl_slots_load(slots, mrl_entry_to_number(first));
    const mrl_version *b = mrl_slots_load(slots, mrl_entry_to_number(second));
    size_t size = mrl_version_encode_unique(a, index, encoded);
    if (!mrl_version_has_unique(b, index, encoded, size)) return 0;
    mrl_filling_offend(m->column.filling, index,
                       (mrl_fill_offence){MERLE_EXISTS, b->slot, a->slot});
    return 1;
}

/* The items of one shard, in the order of the first byte of their hash. */
enum { FIRST_BYTES = 256, FIRST_SHIFT = 56, AHEAD = 16 };

typedef struct placing {
    const mapping *m;
    mrl_map_item *items;
    size_t places[FIRST_BYTES]; /* where the next one goes */
} placing;

static void count_words(placing *p, const word_chunk *chunk, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) p->places[chunk->words[i] >> FIRST_SHIFT]++;
}

static void begin_placing(placing *p) {
    size_t before = 0;
    for (uint32_t i = 0; i < FIRST_BYTES; i++) {
        size_t count = p->places[i];
        p->places[i] = before;
        before += count;
    }
}

static void place_words(placing *p, const word_chunk *chunk, uint32_t count) {
    const mrl_slots *slots = &p->m->column.filling->root->slots;
    int is_of_keys = p->m->column.index == NULL;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t word = chunk->words[i], hash = word >> 32;
        if (is_of_keys) {
            if (i + AHEAD < count)
                mrl_slots_prefetch(slots, mrl_entry_to_number(chunk->words[i + AHEAD]));
            word = mrl_entry_pointer(mrl_slots_load(slots, mrl_entry_to_number(word)), hash);
        }
        p->items[p->places[hash >> (FIRST_SHIFT - 32)]++] =
            (mrl_map_item){.entry = word, .hash = (uint32_t)hash};
    }
}

static merle_err fill_map(mapping *m, mrl_member *member, uint32_t shard, mrl_map_item *items,
                          size_t count) {
    mrl_root *root = m->column.filling->root;
    if (m->column.index == NULL)
        return mrl_map_fill(&root->maps[shard], member, items, count, same_key, m);
    mrl_unique *unique = root->indexes[m->column.index->number].unique;
    return mrl_map_fill(&unique->shards[shard].map, member, items, count, same_value, m);
}

/* All lists of the shard, in its first byte's order; NULL: no memory. */
static mrl_map_item *gather_items(const mapping *m, mrl_member *member, uint32_t shard,
                                  size_t count) {
    placing p = {.m = m, .items = mrl_alloc(member, MRL_FOR_OTHER, count * sizeof *p.items)};
    if (p.items == NULL) return NULL;
    for (int is_second = 0; is_second < 2; is_second++) {
        for (uint32_t w = 0; w < m->worker_count; w++) {
            const word_list *list = list_of(m, w, shard);
            for (const word_chunk *chunk = list->last; chunk != NULL; chunk = chunk->before) {
                if (is_second)
                    place_words(&p, chunk, chunk_words(m, list, chunk));
                else
                    count_words(&p, chunk, chunk_words(m, list, chunk));
            }
        }
        if (!is_second) begin_placing(&p);
    }
    return p.items;
}

static merle_err make_map(mrl_column *column, mrl_member *member, uint32_t shard) {
    mapping *m = (mapping *)column;
    mrl_root *root = column->filling->root;
    uint32_t group = shard / GROUP_SHARDS;
    size_t count = 0;
    for (uint32_t w = 0; w < m->worker_count; w++) count += word_count(m, list_of(m, w, shard));
    if (column->index == NULL) /* several shards share a counter */
        atomic_fetch_add_explicit(&root->counters[shard / MRL_COUNTER_SHARDS].count, count,
                                  memory_order_relaxed);
    mrl_map_item *items = count == 0 ? NULL : gather_items(m, member, shard, count);
    /* Release: our reading of the lists comes before; acquire: so does that of the others. */
    if (atomic_fetch_sub_explicit(&m->shards_left[group], 1, memory_order_acq_rel) == 1)
        free_group(m, member, group);
    if (count == 0) return MERLE_OK;
    if (items == NULL) return MERLE_NO_MEMORY;
    merle_err err = fill_map(m, member, shard, items, count);
    mrl_free(member, MRL_FOR_OTHER, items, count * sizeof *items);
    return err;
}

/* ---- the column ---- */

static void destroy(mrl_column *column, mrl_member *member) {
    mapping *m = (mapping *)column;
    if (m->groups != NULL) {
        for (uint32_t i = 0; i < GROUP_COUNT; i++) free_group(m, member, i);
        mrl_free(member, MRL_FOR_OTHER, m->groups,
                 (size_t)m->worker_count * GROUP_COUNT * sizeof *m->groups);
    }
    if (m->lists != NULL)
        mrl_free(member, MRL_FOR_OTHER, m->lists,
                 (size_t)m->worker_count * MRL_SHARD_COUNT * sizeof *m->lists);
    mrl_free(member, MRL_FOR_OTHER, m, sizeof *m);
}

mrl_column *mrl_column_of_map(mrl_filling *f, mrl_member *member, const mrl_schema_index *index) {
    static const mrl_column_type keys = {.note = note_keys, .make = make_map, .destroy = destroy};
    static const mrl_column_type values = {
        .note = note_values, .make = make_map, .destroy = destroy};
    mapping *m = mrl_alloc(member, MRL_FOR_OTHER, sizeof *m);
    if (m == NULL) return NULL;
    memset((void *)m, 0, sizeof *m);
    m->column = (mrl_column){index == NULL ? &keys : &values, f, index, MRL_SHARD_COUNT};
    m->worker_count = mrl_crew_size(f->crew);
    choose_sizes(m);
    for (uint32_t i = 0; i < GROUP_COUNT; i++) atomic_init(&m->shards_left[i], GROUP_SHARDS);
    size_t lists_size = (size_t)m->worker_count * MRL_SHARD_COUNT * sizeof *m->lists;
    size_t groups_size = (size_t)m->worker_count * GROUP_COUNT * sizeof *m->groups;
    m->lists = mrl_alloc(member, MRL_FOR_OTHER, lists_size);
    m->groups = mrl_alloc(member, MRL_FOR_OTHER, groups_size);
    if (m->lists != NULL) memset(m->lists, 0, lists_size);
    if (m->groups != NULL) memset(m->groups, 0, groups_size);
    if (m->lists != NULL && m->groups != NULL) return &m->column;
    destroy(&m->column, member);
    return NULL;
}
