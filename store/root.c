/* store/root.c - making roots, finding in them, tearing them down.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/root.h"

#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "store/build.h"
#include "store/store.h"

static uint32_t rehash_key(void *context, uint64_t entry) {
    const mrl_root *root = context;
    return (uint32_t)mrl_root_hash(root, mrl_version_key(mrl_entry_to_pointer(entry)));
}

static void shard_init(mrl_shard *shard) {
    memset(shard, 0, sizeof *shard);
    mrl_lock_init(&shard->lock);
    mrl_queue_init(&shard->queue);
}

/* ---- indexes ---- */

static void index_destroy(mrl_root *root, mrl_member *member, uint32_t number) {
    mrl_root_index *made = &root->indexes[number];
    if (made->unique != NULL) mrl_unique_destroy(made->unique, member);
    if (made->ordered != NULL) mrl_ordered_destroy(made->ordered, member);
    if (made->tags != NULL) mrl_tags_destroy(made->tags, member);
    *made = (mrl_root_index){0};
}

int mrl_root_index_create(mrl_root *root, mrl_member *member, const mrl_schema_index *index) {
    mrl_root_index *made = &root->indexes[index->number];
    uint64_t seed = mrl_mix_u64(root->collection->store->hash_seed + 1 + index->number);
    if (mrl_index_is_unique(index) && (made->unique = mrl_unique_create(member, seed)) == NULL)
        goto fail;
    if (mrl_index_has_tree(index) && (made->ordered = mrl_ordered_create(member)) == NULL)
        goto fail;
    if (mrl_index_has_tags(index) && (made->tags = mrl_tags_create(member, seed)) == NULL)
        goto fail;
    return 1;
fail:
    index_destroy(root, member, index->number);
    return 0;
}

static size_t index_clear_some(mrl_root *root, mrl_member *member, uint32_t number, size_t max) {
    mrl_root_index *made = &root->indexes[number];
    size_t done = 0;
    if (made->unique != NULL) done += mrl_unique_clear_some(made->unique, member, max);
    if (made->ordered != NULL && done < max)
        done += mrl_ordered_clear_some(made->ordered, member, max - done);
    if (made->tags != NULL && done < max)
        done += mrl_tags_clear_some(made->tags, member, max - done);
    return done;
}

size_t mrl_root_index_clear(mrl_root *root, mrl_member *member, uint32_t number, size_t max) {
    size_t done = index_clear_some(root, member, number, max);
    if (done == 0) index_destroy(root, member, number);
    return done;
}

size_t mrl_root_sweep(mrl_root *root, mrl_member *member, size_t max) {
    const mrl_schema *schema = mrl_root_schema_now(root);
    size_t done = 0;
    for (uint32_t i = 0; i < schema->index_count && done < max; i++) {
        const mrl_schema_index *index = &schema->indexes[i];
        if (mrl_index_has_tree(index))
            done += mrl_ordered_sweep(root->indexes[i].ordered, member, max - done);
        else if (mrl_index_has_tags(index))
            done += mrl_tags_sweep(root->indexes[i].tags, member, max - done);
    }
    mrl_ordered *expiry = mrl_root_expiry(root);
    if (expiry != NULL && done < max) done += mrl_ordered_sweep(expiry, member, max - done);
    return done;
}

/* ---- all shards ---- */

/* Whoever changes other indexes holds key shards. */
void mrl_root_lock_all(mrl_root *root, const mrl_schema *schema) {
    for (uint32_t i = 0; i < MRL_SHARD_COUNT; i++) mrl_lock_take(&root->shards[i].lock);
    for (uint32_t n = 0; n < schema->index_count; n++)
        for (uint32_t i = 0; mrl_index_is_unique(&schema->indexes[n]) && i < MRL_SHARD_COUNT; i++)
            mrl_lock_take(&root->indexes[n].unique->shards[i].lock);
}

void mrl_root_unlock_all(mrl_root *root, const mrl_schema *schema) {
    for (uint32_t n = 0; n < schema->index_count; n++)
        for (uint32_t i = 0; mrl_index_is_unique(&schema->indexes[n]) && i < MRL_SHARD_COUNT; i++)
            mrl_lock_drop(&root->indexes[n].unique->shards[i].lock);
    for (uint32_t i = 0; i < MRL_SHARD_COUNT; i++) mrl_lock_drop(&root->shards[i].lock);
}

/* ---- making ---- */

enum { FREE_SLOTS_MIN = 2 };

static size_t free_slots_size(uint32_t capacity) {
    return sizeof(mrl_free_slots) + capacity * sizeof(uint32_t);
}

mrl_root *mrl_root_create(mrl_member *member, merle_collection *collection, mrl_schema *schema) {
    /* Urgent: truncate at the memory limit needs an empty root in order to give the full one
     * back. */
    mrl_root *root = mrl_alloc_urgent(member, MRL_FOR_TABLES, sizeof *root);
    if (root == NULL) return NULL;
    memset(root, 0, sizeof *root);
    atomic_init(&root->seq, MRL_SEQ_NONE);
    atomic_init(&root->due_from, INT64_MAX);
    root->due_behind.stop_ns = INT64_MIN;
    root->collection = collection;
    atomic_init(&root->schema, mrl_schema_hold(schema));
    root->key_type = (mrl_map_type){MRL_MAP_POINTERS, rehash_key, root};
    for (int i = 0; i < MRL_SHARD_COUNT; i++) {
        mrl_map_init(&root->maps[i], &root->key_type);
        shard_init(&root->shards[i]);
    }
    mrl_slots_init(&root->slots);
    for (uint32_t i = 0; i < schema->index_count; i++)
        if (!mrl_root_index_create(root, member, &schema->indexes[i])) {
            mrl_root_destroy(root, member);
            return NULL;
        }
    return root;
}

/* ---- tearing down ---- */

/* A version that was superseded, or left in limbo, is in no slot any more: the queue is its last
 * holder. A tombstone entry of its own says nothing: the version is current, superseded or in limbo
 * besides. */
static size_t drain_queue(mrl_member *member, mrl_shard *shard, size_t budget) {
    size_t done = 0;
    const mrl_queue_entry *entry;
    while (done < budget && (entry = mrl_queue_peek(&shard->queue)) != NULL) {
        if (entry->kind != MRL_QUEUED_TOMBSTONE) {
            mrl_count(member, MRL_N_FREED, 1);
            mrl_count(member, MRL_N_FREED_BYTES, mrl_version_size(entry->version));
            mrl_version_free(member, entry->version);
        }
        mrl_queue_pop(&shard->queue, member);
        done++;
    }
    return done;
}

static size_t drain_slots(mrl_root *root, mrl_member *member, size_t budget) {
    size_t done = 0;
    uint32_t end = mrl_slots_end(&root->slots);
    for (; done < budget && root->teardown_slot < end; done++) {
        uint32_t slot = root->teardown_slot++;
        mrl_version *v = mrl_slots_load(&root->slots, slot);
        if (v == NULL) continue;
        mrl_version_free(member, v);
        mrl_slots_store(&root->slots, slot, NULL);
    }
    return done;
}

size_t mrl_root_teardown(mrl_root *root, mrl_member *member, size_t budget) {
    size_t done = 0;
    for (int i = 0; i < MRL_SHARD_COUNT && done < budget; i++)
        done += drain_queue(member, &root->shards[i], budget - done);
    if (done < budget) done += drain_slots(root, member, budget - done);
    for (int i = 0; i < MRL_SHARD_COUNT && done < budget; i++)
        done += mrl_map_clear_some(&root->maps[i], member, budget - done);
    for (uint32_t i = 0; i < MERLE_INDEX_COUNT_MAX && done < budget; i++)
        done += index_clear_some(root, member, i, budget - done);
    if (mrl_root_expiry(root) != NULL && done < budget)
        done += mrl_ordered_clear_some(mrl_root_expiry(root), member, budget - done);
    return done;
}

/* What changes of its schema have left. */
static void destroy_left(mrl_root *root, mrl_member *member) {
    for (mrl_left *left = root->left_first, *next; left != NULL; left = next) {
        next = left->next;
        mrl_left_destroy(member, left);
    }
    for (uint32_t i = 0; i < MERLE_INDEX_COUNT_MAX; i++)
        mrl_build_destroy(member, atomic_load_explicit(&root->builds[i], memory_order_relaxed));
}

void mrl_root_destroy(mrl_root *root, mrl_member *member) {
    while (mrl_root_teardown(root, member, SIZE_MAX) != 0) continue;
    for (int i = 0; i < MRL_SHARD_COUNT; i++) {
        mrl_shard *shard = &root->shards[i];
        mrl_map_fini(&root->maps[i], member);
        mrl_queue_fini(&shard->queue, member);
        if (shard->free != NULL)
            mrl_free(member, MRL_FOR_TABLES, shard->free, free_slots_size(shard->free->capacity));
    }
    for (uint32_t i = 0; i < MERLE_INDEX_COUNT_MAX; i++) index_destroy(root, member, i);
    if (mrl_root_expiry(root) != NULL) mrl_ordered_destroy(mrl_root_expiry(root), member);
    destroy_left(root, member);
    mrl_slots_fini(&root->slots, member);
    mrl_schema_release(mrl_root_schema_now(root));
    mrl_free(member, MRL_FOR_TABLES, root, sizeof *root);
}

/* ---- what is retired, and free slots ---- */

mrl_queue_entry *mrl_shard_retire(mrl_shard *shard, mrl_member *member, mrl_version *version,
                                  mrl_queued kind, uint32_t ticket) {
    mrl_queue_entry *entry = mrl_queue_push(&shard->queue, version, kind, ticket);
    /* A tombstone is current still: it counts when it is superseded, or goes into limbo. */
    if (kind == MRL_QUEUED_TOMBSTONE) return entry;
    mrl_count(member, MRL_N_RETIRED, 1);
    mrl_count(member, MRL_N_RETIRED_BYTES, entry->size);
    return entry;
}

void mrl_shard_return_slot(mrl_shard *shard, mrl_member *member, uint32_t slot) {
    mrl_free_slots *stack = shard->free;
    uint32_t count = stack == NULL ? 0 : stack->count;
    if (stack == NULL || count == stack->capacity) {
        /* By an eighth: most of a collection may be free slots, once it has shrunk. */
        uint32_t capacity = count == 0 ? FREE_SLOTS_MIN : count + count / 8 + 16;
        stack = mrl_alloc_urgent(member, MRL_FOR_TABLES, free_slots_size(capacity));
        /* Without memory the slot is lost to use, nothing else: a number out of four thousand
         * million. */
        if (stack == NULL) return;
        *stack = (mrl_free_slots){.count = count, .capacity = capacity};
        if (shard->free != NULL) {
            memcpy(stack->slots, shard->free->slots, count * sizeof *stack->slots);
            mrl_free(member, MRL_FOR_TABLES, shard->free, free_slots_size(shard->free->capacity));
        }
        shard->free = stack;
    }
    stack->slots[stack->count++] = slot;
}

/* ---- keys ---- */

static int key_matches(const mrl_probe *probe, uint64_t entry) {
    const mrl_key_probe *asked = (const mrl_key_probe *)probe;
    const mrl_version *v = mrl_entry_to_pointer(entry);
    return v->key_size == asked->key.size &&
           memcmp(v->bytes, asked->key.data, asked->key.size) == 0;
}

uint64_t mrl_root_hash(const mrl_root *root, merle_bytes key) {
    return mrl_hash_bytes(key.data, key.size, root->collection->store->hash_seed);
}

void mrl_key_probe_init(mrl_key_probe *probe, uint64_t hash, merle_bytes key) {
    probe->probe.hash = hash;
    probe->probe.matches = key_matches;
    probe->key = key;
}

mrl_version *mrl_root_find(const mrl_root *root, uint64_t hash, merle_bytes key) {
    mrl_key_probe probe;
    mrl_key_probe_init(&probe, hash, key);
    uint64_t entry = mrl_map_find(&root->maps[mrl_shard_of(hash)], &probe.probe);
    return entry == 0 ? NULL : mrl_entry_to_pointer(entry);
}

typedef struct peek_probe {
    mrl_probe probe;
    mrl_version *found;
} peek_probe;

/* Takes the first entry with the right tag. */
static int peek_matches(const mrl_probe *probe, uint64_t entry) {
    mrl_version *v = mrl_entry_to_pointer(entry);
    ((peek_probe *)(uintptr_t)probe)->found = v;
    __builtin_prefetch(v);
    return 1;
}

mrl_version *mrl_root_peek(const mrl_root *root, uint64_t hash) {
    peek_probe peek = {{hash, peek_matches}, NULL};
    (void)mrl_map_find(&root->maps[mrl_shard_of(hash)], &peek.probe);
    return peek.found;
}

/* ---- unique values ---- */

typedef struct value_probe {
    mrl_unique_probe unique;
    const mrl_root *root;
    const mrl_schema_index *index;
    const uint8_t *encoded;
    size_t size;
    uint64_t seq;
    const mrl_version *found;
} value_probe;

static int value_holds(const mrl_unique_probe *probe, uint32_t slot) {
    value_probe *asked = (value_probe *)(uintptr_t)probe;
    const mrl_version *v = mrl_slots_load(&asked->root->slots, slot);
    /* NONE: the current one, whatever its seq. */
    v = asked->seq == MRL_SEQ_NONE ? mrl_version_live(v) : mrl_version_at(v, asked->seq);
    if (!mrl_version_has_unique(v, asked->index, asked->encoded, asked->size)) return 0;
    asked->found = v;
    return 1;
}

const mrl_version *mrl_root_find_unique(const mrl_root *root, const mrl_schema_index *index,
                                        const uint8_t *encoded, size_t size, uint64_t hash,
                                        uint64_t seq) {
    value_probe probe = {
        .root = root, .index = index, .encoded = encoded, .size = size, .seq = seq};
    probe.unique.probe.hash = hash;
    probe.unique.holds = value_holds;
    (void)mrl_unique_find(root->indexes[index->number].unique, &probe.unique);
    return probe.found;
}

/* ---- count ---- */

void mrl_root_count_add(mrl_root *root, uint64_t hash, int delta, uint64_t seq) {
    /* Who reads takes the count only if its seq was the same before and after, and none of later
     * commits; NONE is later than all. A seq comes but once, unless one commit counts several
     * times: and of that commit a reader who believes its seq has seen all. */
    mrl_root_counter *counter = &root->counters[mrl_shard_of(hash) / MRL_COUNTER_SHARDS];
    uint64_t count = atomic_load_explicit(&counter->count, memory_order_relaxed);
    atomic_store_explicit(&counter->seq, MRL_SEQ_NONE, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&counter->count, count + (uint64_t)(int64_t)delta, memory_order_relaxed);
    atomic_store_explicit(&counter->seq, seq, memory_order_release);
}

enum { COUNTER_COUNT = MRL_SHARD_COUNT / MRL_COUNTER_SHARDS };

merle_err mrl_root_count(const mrl_root *root, uint64_t seq, uint64_t *out_count) {
    uint64_t sum = 0;
    *out_count = 0;
    for (int i = 0; i < COUNTER_COUNT; i++) {
        const mrl_root_counter *counter = &root->counters[i];
        uint64_t before = atomic_load_explicit(&counter->seq, memory_order_acquire);
        sum += atomic_load_explicit(&counter->count, memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        uint64_t after = atomic_load_explicit(&counter->seq, memory_order_relaxed);
        if (before != after || before > seq) return MERLE_CONFLICT;
    }
    *out_count = sum;
    return MERLE_OK;
}

uint64_t mrl_root_count_now(const mrl_root *root) {
    uint64_t sum = 0;
    for (int i = 0; i < COUNTER_COUNT; i++)
        sum += atomic_load_explicit(&root->counters[i].count, memory_order_relaxed);
    return sum;
}

mrl_root_done mrl_root_sum_done(const mrl_root *root) {
    mrl_root_done sum = {0, 0, 0};
    for (int i = 0; i < MRL_SHARD_COUNT; i++) {
        const mrl_shard *shard = &root->shards[i];
        sum.puts += atomic_load_explicit(&shard->puts, memory_order_relaxed);
        sum.patches += atomic_load_explicit(&shard->patches, memory_order_relaxed);
        sum.removes += atomic_load_explicit(&shard->removes, memory_order_relaxed);
    }
    return sum;
}

void mrl_root_go_on_from(mrl_root *root, const mrl_root *before) {
    mrl_root_done sum = mrl_root_sum_done(before);
    atomic_init(&root->shards[0].puts, sum.puts);
    atomic_init(&root->shards[0].patches, sum.patches);
    atomic_init(&root->shards[0].removes, sum.removes);
}
