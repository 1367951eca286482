/* load/fill_maps.c - keys and unique values in bulk.
 *
 * For each document the shard of its hash, 32 bits of it and the slot are taken down: lists of
 * 8-byte words, for each thread and shard. Then the map of each shard is made from its lists
 * (memory/map_fill.c), whose words come to it sorted by the first bits of the hash: by counting,
 * which costs less than the comparisons that it spares.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "load/fill_private.h"

typedef struct word_chunk {
    struct word_chunk *next;
    uint32_t count, capacity;
    uint64_t words[];
} word_chunk;

typedef struct word_list {
    word_chunk *last; /* the others hang in it */
    uint64_t count;
} word_list;

typedef struct mapping {
    mrl_column column; /* index NULL: keys */
    word_list *lists;  /* MRL_SHARD_COUNT for each worker */
    uint32_t worker_count;
    uint32_t chunk_capacity;
} mapping;

static word_list *list_of(const mapping *m, uint32_t worker, uint32_t shard) {
    return &m->lists[(size_t)worker * MRL_SHARD_COUNT + shard];
}

/* ---- taking down ---- */

static size_t chunk_size(uint32_t capacity) {
    return sizeof(word_chunk) + capacity * sizeof(uint64_t);
}

/* Chunks that are neither mostly empty in a small collection nor many in a large one. What is large
 * comes from no slab: it can become anything once it is given back. */
static uint32_t capacity_for(const mrl_root *root) {
    enum { SMALLEST = 14, LARGEST = 4094 };
    uint32_t fair = mrl_slots_end(&root->slots) / MRL_SHARD_COUNT / 4;
    return fair < SMALLEST ? SMALLEST : fair > LARGEST ? LARGEST : fair;
}

static int note_word(const mapping *m, const mrl_fill_batch *batch, uint64_t hash, uint32_t slot) {
    word_list *list = list_of(m, batch->worker, mrl_shard_of(hash));
    if (list->last == NULL || list->last->count == list->last->capacity) {
        word_chunk *chunk = mrl_alloc(batch->member, MRL_FOR_OTHER, chunk_size(m->chunk_capacity));
        if (chunk == NULL) return 0;
        *chunk = (word_chunk){.next = list->last, .capacity = m->chunk_capacity};
        list->last = chunk;
    }
    list->last->words[list->last->count++] = mrl_entry_pair(slot, hash);
    list->count++;
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

static void free_list(mrl_member *member, word_list *list) {
    for (word_chunk *chunk = list->last, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        mrl_free(member, MRL_FOR_OTHER, chunk, chunk_size(chunk->capacity));
    }
    *list = (word_list){NULL, 0};
}

/* The items of one shard, in the order of the first byte of their hash. */
enum { FIRST_BYTES = 256, FIRST_SHIFT = 56, AHEAD = 16 };

typedef struct placing {
    const mapping *m;
    mrl_map_item *items;
    size_t places[FIRST_BYTES]; /* where the next one goes */
} placing;

static void count_words(placing *p, const word_list *list) {
    for (const word_chunk *chunk = list->last; chunk != NULL; chunk = chunk->next)
        for (uint32_t i = 0; i < chunk->count; i++) p->places[chunk->words[i] >> FIRST_SHIFT]++;
}

static void begin_placing(placing *p) {
    size_t before = 0;
    for (uint32_t i = 0; i < FIRST_BYTES; i++) {
        size_t count = p->places[i];
        p->places[i] = before;
        before += count;
    }
}

static void place_words(placing *p, const word_chunk *chunk) {
    const mrl_slots *slots = &p->m->column.filling->root->slots;
    int is_of_keys = p->m->column.index == NULL;
    for (uint32_t i = 0; i < chunk->count; i++) {
        uint64_t word = chunk->words[i], hash = word >> 32;
        if (is_of_keys) {
            if (i + AHEAD < chunk->count)
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

static merle_err make_map(mrl_column *column, mrl_member *member, uint32_t shard) {
    mapping *m = (mapping *)column;
    mrl_root *root = column->filling->root;
    size_t count = 0;
    for (uint32_t w = 0; w < m->worker_count; w++) count += list_of(m, w, shard)->count;
    if (column->index == NULL) /* several shards share a counter */
        atomic_fetch_add_explicit(&root->counters[shard / MRL_COUNTER_SHARDS].count, count,
                                  memory_order_relaxed);
    if (count == 0) return MERLE_OK;
    placing p = {.m = m};
    p.items = mrl_alloc(member, MRL_FOR_OTHER, count * sizeof *p.items);
    if (p.items == NULL) return MERLE_NO_MEMORY;
    for (uint32_t w = 0; w < m->worker_count; w++) count_words(&p, list_of(m, w, shard));
    begin_placing(&p);
    for (uint32_t w = 0; w < m->worker_count; w++) {
        for (const word_chunk *chunk = list_of(m, w, shard)->last; chunk; chunk = chunk->next)
            place_words(&p, chunk);
        free_list(member, list_of(m, w, shard));
    }
    merle_err err = fill_map(m, member, shard, p.items, count);
    mrl_free(member, MRL_FOR_OTHER, p.items, count * sizeof *p.items);
    return err;
}

/* ---- the column ---- */

static void destroy(mrl_column *column, mrl_member *member) {
    mapping *m = (mapping *)column;
    size_t list_count = (size_t)m->worker_count * MRL_SHARD_COUNT;
    for (size_t i = 0; m->lists != NULL && i < list_count; i++) free_list(member, &m->lists[i]);
    if (m->lists != NULL) mrl_free(member, MRL_FOR_OTHER, m->lists, list_count * sizeof *m->lists);
    mrl_free(member, MRL_FOR_OTHER, m, sizeof *m);
}

mrl_column *mrl_column_of_map(mrl_filling *f, mrl_member *member, const mrl_schema_index *index) {
    static const mrl_column_type keys = {.note = note_keys, .make = make_map, .destroy = destroy};
    static const mrl_column_type values = {
        .note = note_values, .make = make_map, .destroy = destroy};
    mapping *m = mrl_alloc(member, MRL_FOR_OTHER, sizeof *m);
    if (m == NULL) return NULL;
    *m = (mapping){.column = {index == NULL ? &keys : &values, f, index, MRL_SHARD_COUNT},
                   .worker_count = mrl_crew_size(f->crew),
                   .chunk_capacity = capacity_for(f->root)};
    size_t lists_size = (size_t)m->worker_count * MRL_SHARD_COUNT * sizeof *m->lists;
    m->lists = mrl_alloc(member, MRL_FOR_OTHER, lists_size);
    if (m->lists != NULL) {
        memset(m->lists, 0, lists_size);
        return &m->column;
    }
    destroy(&m->column, member);
    return NULL;
}
