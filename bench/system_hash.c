/* bench/system_hash.c - the floor under every lookup: one bare ck_hs, with and without tag bits.
 *
 * What    two systems: ck_hs (pointers to documents as they are) and ck_hs_tag (the upper 16 bits
 *         of each pointer hold hash bits, compared before the pointer is followed). A lookup is one
 *         ck_epoch section; the documents lie one by one in the allocator's memory, key beside
 *         bytes. There are no versions, no unique values, no log: this is what the map costs.
 * Owns    the table and every document in it.
 * Sees    get_many of ck_hs_tag goes in batches of 16: slot lines first, then the documents whose
 *         tag fits, then the lookups. The address of the slots follows from ck 0.7.1: the first
 *         cache line behind the map's own struct (80 bytes) in the memory that our ck_malloc gave.
 *         Should that be wrong, only the prefetch is wasted.
 * Threads reads: any. Writes: one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <ck_epoch.h>
#include <ck_hs.h>
#include <stdlib.h>
#include <string.h>

#include "bench/common/measure.h"
#include "bench/common/system.h"

#define CACHE_LINE 64u
#define SLOTS_A_LINE 8u
#define MAP_STRUCT_SIZE 80u
#define BATCH 16u
#define TAG_SHIFT 48
#define POLL_EVERY 64u

typedef struct hash_doc {
    ck_epoch_entry_t retired;
    uint64_t seq;
    uint32_t size;
    uint32_t key_size;
    uint8_t bytes[]; /* key, then msgpack */
} hash_doc;

/* A document with a key and nothing else, on the stack: what a lookup compares with. */
typedef union hash_query {
    hash_doc doc;
    uint8_t room[sizeof(hash_doc) + BENCH_KEY_SIZE];
} hash_query;

typedef struct hash_thread {
    ck_epoch_record_t record;
    unsigned retired_count;
} hash_thread;

typedef struct map_block {
    struct map_block *older;
    size_t size;
    uint64_t pad[6]; /* the map keeps the alignment that malloc gave to the block */
} map_block;

static ck_hs_t table;
static ck_epoch_t epoch;
static unsigned is_tagged;
static uint64_t seq_last;
/* The slots of the table in use, for prefetching; written by the writer when the table grows. */
static const uintptr_t *slots;
static uint64_t slot_mask;
static map_block *blocks_retired;

/* ---- hashing and comparing ---- */

static inline uint64_t word_load(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint64_t words_mix(uint64_t a, uint64_t b) {
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t key_hash(const void *key) {
    const uint8_t *at = key;
    uint64_t head = word_load(at) ^ 0xa0761d6478bd642fu;
    uint64_t tail = word_load(at + BENCH_KEY_SIZE - 8) ^ 0xe7037ed1a0b428dbu;
    return words_mix(words_mix(head, tail), 0x8ebc6af09c88c6e3u ^ BENCH_KEY_SIZE);
}

static inline hash_doc *doc_of(const void *entry) {
    return (hash_doc *)((uintptr_t)entry & (((uintptr_t)1 << TAG_SHIFT) - 1));
}

static inline uintptr_t tag_of(uint64_t hash) {
    return is_tagged ? (uintptr_t)(hash >> TAG_SHIFT) << TAG_SHIFT : 0;
}

static inline void *entry_of(const hash_doc *doc, uint64_t hash) {
    return (void *)((uintptr_t)doc | tag_of(hash));
}

static unsigned long entry_hash(const void *entry, unsigned long seed) {
    (void)seed;
    return key_hash(doc_of(entry)->bytes);
}

static bool entry_compare(const void *entry, const void *wanted) {
    if (((uintptr_t)entry ^ (uintptr_t)wanted) >> TAG_SHIFT != 0) return false;
    const hash_doc *doc = doc_of(entry);
    const hash_doc *query = doc_of(wanted);
    return doc->key_size == query->key_size && memcmp(doc->bytes, query->bytes, doc->key_size) == 0;
}

static void *query_make(hash_query *out_query, const char *key, uint64_t hash) {
    out_query->doc.key_size = BENCH_KEY_SIZE;
    memcpy(out_query->room + offsetof(hash_doc, bytes), key, BENCH_KEY_SIZE);
    return entry_of(&out_query->doc, hash);
}

/* ---- memory of the table ---- */

static void *map_alloc(size_t size) {
    map_block *block = aligned_alloc(CACHE_LINE, (sizeof *block + size + 63) / 64 * 64);
    if (block == NULL) return NULL;
    block->size = size;
    return block + 1;
}

static void map_free(void *map, size_t size, bool is_deferred) {
    map_block *block = (map_block *)map - 1;
    (void)size;
    if (!is_deferred) {
        free(block);
        return;
    }
    /* Readers may be in it. Old tables are together as large as the one in use: kept to the end. */
    block->older = blocks_retired;
    blocks_retired = block;
}

static struct ck_malloc map_memory = {.malloc = map_alloc, .free = map_free};

static void slots_note(void) {
    const map_block *block = (const map_block *)(const void *)table.map - 1;
    uintptr_t first =
        ((uintptr_t)table.map + MAP_STRUCT_SIZE + CACHE_LINE - 1) & -(uintptr_t)CACHE_LINE;
    slots = (const uintptr_t *)first;
    slot_mask = (block->size - MAP_STRUCT_SIZE - (CACHE_LINE - 1)) / sizeof(void *) - 1;
}

/* ---- life ---- */

static void hash_open(void) {
    ck_epoch_init(&epoch);
    if (!ck_hs_init(&table, CK_HS_MODE_SPMC | CK_HS_MODE_OBJECT, entry_hash, entry_compare,
                    &map_memory, 1024, 0)) {
        bench_die("ck_hs: no memory");
    }
    slots_note();
}

static void plain_open(const bench_setup *setup) {
    (void)setup;
    is_tagged = 0;
    hash_open();
}

static void tagged_open(const bench_setup *setup) {
    (void)setup;
    is_tagged = 1;
    hash_open();
}

static void hash_close(void) {
    ck_hs_iterator_t iterator = CK_HS_ITERATOR_INITIALIZER;
    void *entry;
    while (ck_hs_next(&table, &iterator, &entry)) free(doc_of(entry));
    ck_hs_destroy(&table);
    while (blocks_retired != NULL) {
        map_block *block = blocks_retired;
        blocks_retired = block->older;
        free(block);
    }
}

static void *hash_thread_begin(void) {
    /* record is the first member; one that a thread left behind serves the next thread. */
    hash_thread *thread = (hash_thread *)ck_epoch_recycle(&epoch, NULL);
    if (thread != NULL) return thread;
    thread = aligned_alloc(CACHE_LINE, (sizeof *thread + 63) / 64 * 64);
    if (thread == NULL) bench_die("ck_hs: no memory for a thread");
    memset(thread, 0, sizeof *thread);
    ck_epoch_register(&epoch, &thread->record, NULL);
    return thread;
}

static void hash_thread_end(void *context) {
    hash_thread *thread = context;
    ck_epoch_barrier(&thread->record);
    /* The record stays linked in the epoch, by ck's rules, and so its memory stays. */
    ck_epoch_unregister(&thread->record);
}

/* ---- operations ---- */

static hash_doc *doc_make(const bench_record *record) {
    hash_doc *doc = malloc(sizeof *doc + BENCH_KEY_SIZE + record->size);
    if (doc == NULL) bench_die("ck_hs: no memory for a document");
    doc->seq = ++seq_last;
    doc->size = (uint32_t)record->size;
    doc->key_size = BENCH_KEY_SIZE;
    memcpy(doc->bytes, record->key, BENCH_KEY_SIZE);
    memcpy(doc->bytes + BENCH_KEY_SIZE, record->bytes, record->size);
    return doc;
}

static bench_answer hash_insert(void *context, const bench_record *record) {
    hash_doc *doc = doc_make(record);
    uint64_t hash = key_hash(doc->bytes);
    const void *map_before = table.map;
    (void)context;
    if (!ck_hs_put(&table, hash, entry_of(doc, hash))) {
        free(doc);
        return BENCH_NO;
    }
    if (table.map != map_before) slots_note();
    return BENCH_YES;
}

static inline const hash_doc *doc_find(const char *key, uint64_t hash) {
    hash_query query;
    return doc_of(ck_hs_get(&table, hash, query_make(&query, key, hash)));
}

static inline uint64_t score_read(const hash_doc *doc) {
    return bench_find_uint(doc->bytes + doc->key_size, doc->size, "score");
}

static bench_answer hash_get(void *context, const char *key, uint64_t *out_score) {
    hash_thread *thread = context;
    bench_answer answer = BENCH_NO;
    ck_epoch_begin(&thread->record, NULL);
    const hash_doc *doc = doc_find(key, key_hash(key));
    if (doc != NULL) {
        *out_score = score_read(doc);
        answer = BENCH_YES;
    }
    ck_epoch_end(&thread->record, NULL);
    return answer;
}

/* A batch without prefetching: one section for all, nothing else. */
static size_t plain_get_many(void *context, const char (*keys)[BENCH_KEY_SIZE + 1],
                             size_t key_count, uint64_t *out_score_sum) {
    hash_thread *thread = context;
    size_t found = 0;
    ck_epoch_begin(&thread->record, NULL);
    for (size_t i = 0; i < key_count; i++) {
        const hash_doc *doc = doc_find(keys[i], key_hash(keys[i]));
        if (doc == NULL) continue;
        *out_score_sum += score_read(doc);
        found++;
    }
    ck_epoch_end(&thread->record, NULL);
    return found;
}

/* Asks for the first document of the slot's line whose tag fits. */
static inline void doc_prefetch(uint64_t hash) {
    uint64_t offset = hash & slot_mask;
    const uintptr_t *line = slots + (offset & ~(uint64_t)(SLOTS_A_LINE - 1));
    for (unsigned i = 0; i < SLOTS_A_LINE; i++) {
        uintptr_t entry =
            __atomic_load_n(line + ((i + offset) & (SLOTS_A_LINE - 1)), __ATOMIC_RELAXED);
        if (entry == 0) return;
        if ((entry ^ tag_of(hash)) >> TAG_SHIFT != 0) continue;
        const uint8_t *doc = (const uint8_t *)doc_of((const void *)entry);
        __builtin_prefetch(doc);
        __builtin_prefetch(doc + CACHE_LINE);
        __builtin_prefetch(doc + 2 * CACHE_LINE);
        return;
    }
}

static size_t batch_get(const char (*keys)[BENCH_KEY_SIZE + 1], size_t key_count,
                        uint64_t *out_score_sum) {
    uint64_t hashes[BATCH];
    size_t found = 0;
    for (size_t i = 0; i < key_count; i++) {
        hashes[i] = key_hash(keys[i]);
        __builtin_prefetch(slots + (hashes[i] & slot_mask));
    }
    for (size_t i = 0; i < key_count; i++) doc_prefetch(hashes[i]);
    for (size_t i = 0; i < key_count; i++) {
        const hash_doc *doc = doc_find(keys[i], hashes[i]);
        if (doc == NULL) continue;
        *out_score_sum += score_read(doc);
        found++;
    }
    return found;
}

static size_t tagged_get_many(void *context, const char (*keys)[BENCH_KEY_SIZE + 1],
                              size_t key_count, uint64_t *out_score_sum) {
    hash_thread *thread = context;
    size_t found = 0;
    for (size_t at = 0; at < key_count; at += BATCH) {
        size_t size = key_count - at < BATCH ? key_count - at : BATCH;
        ck_epoch_begin(&thread->record, NULL);
        found += batch_get(keys + at, size, out_score_sum);
        ck_epoch_end(&thread->record, NULL);
    }
    return found;
}

static void doc_free(ck_epoch_entry_t *entry) {
    /* retired is the first member of the document. */
    free(entry);
}

static void hash_update(void *context, const bench_record *record) {
    hash_thread *thread = context;
    hash_doc *doc = doc_make(record);
    uint64_t hash = key_hash(doc->bytes);
    void *previous = NULL;
    if (!ck_hs_set(&table, hash, entry_of(doc, hash), &previous) || previous == NULL) {
        bench_die("ck_hs: update of %s found no document", record->key);
    }
    ck_epoch_call(&thread->record, &doc_of(previous)->retired, doc_free);
    if (++thread->retired_count % POLL_EVERY == 0) ck_epoch_poll(&thread->record);
}

static uint64_t hash_count(void *context) {
    (void)context;
    return ck_hs_count(&table);
}

const bench_system bench_ck_hs = {
    .name = "ck_hs",
    .about = "one table, pointers as they are, one epoch section a lookup",
    .reader_max = 64,
    .writer_max = 1,
    .open = plain_open,
    .close = hash_close,
    .thread_begin = hash_thread_begin,
    .thread_end = hash_thread_end,
    .insert = hash_insert,
    .get = hash_get,
    .get_many = plain_get_many,
    .update = hash_update,
    .count = hash_count,
};

const bench_system bench_ck_hs_tag = {
    .name = "ck_hs_tag",
    .about =
        "one table, 16 hash bits in each pointer; batches of 16, slots and documents prefetched",
    .reader_max = 64,
    .writer_max = 1,
    .open = tagged_open,
    .close = hash_close,
    .thread_begin = hash_thread_begin,
    .thread_end = hash_thread_end,
    .insert = hash_insert,
    .get = hash_get,
    .get_many = tagged_get_many,
    .update = hash_update,
    .count = hash_count,
};
