/* store/reclaim.c - giving back what no section can see any more.
 *
 * One rule: when the oldest entry of a shard's queue is past its grace period, then under the
 * shard's lock
 *   superseded  each of its values that no newer version of the slot has (walk from the current one
 *               down to it: all are still there, because the queue is first in, first out) loses
 *               its hint, and the version is freed. "The same value" is asked by the hint's tag,
 *               for a hint is (tag, slot).
 *   tombstone   if it is still current, its key entry and the slot's pointer go; the tombstone goes
 *               into limbo with a new ticket, because a section that began after the removal may
 *               have loaded it. If it is not current, a re-insertion has superseded it and another
 *               entry frees it.
 *   limbo       it is freed, and its slot may be used again.
 * So a hint stands exactly as long as some version that a section can see has the value.
 * Runs only where the thread holds no lock, for any shard, on behalf of threads that are idle or
 * gone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/assert.h"
#include "base/self.h"
#include "store/build.h"
#include "store/store.h"

/* Entries handled while a shard's lock is held once: writers wait for it. */
enum { HOLD_MAX = 32 };
/* How much a writer clears away before it would be refused for want of room. */
enum { ROOM_ROUNDS_MAX = 64, ROOM_PIECE = 256 };

/* ---- one entry ---- */

/* Whether a version newer than v has a hint with this tag; stops at the first. */
static int newer_has_tag(const mrl_root *root, const mrl_schema_index *index, const mrl_version *v,
                         uint64_t tag) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    for (const mrl_version *newer = mrl_slots_load(&root->slots, v->slot); newer != v;
         newer = newer->before) {
        MRL_ASSERT(newer != NULL);
        if (mrl_version_same_fields(newer, v, index)) return 1;
        size_t size = mrl_version_encode_unique(newer, index, encoded);
        if (size == 0) continue;
        uint64_t hash = mrl_unique_hash(root->indexes[index->number].unique, encoded, size);
        if (mrl_unique_tag(hash) == tag) return 1;
    }
    return 0;
}

static void drop_hints(const mrl_root *root, mrl_member *member, const mrl_version *v) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    const mrl_schema *schema = mrl_root_schema_now(root);
    for (uint32_t i = 0; i < schema->index_count; i++) {
        const mrl_schema_index *index = &schema->indexes[i];
        if (!mrl_index_is_unique(index)) continue;
        const mrl_version *current = mrl_slots_load(&root->slots, v->slot);
        /* Nearly always: the current one has the same value. */
        if (mrl_version_same_fields(current, v, index)) continue;
        size_t size = mrl_version_encode_unique(v, index, encoded);
        if (size == 0) continue;
        mrl_unique *unique = root->indexes[i].unique;
        uint64_t hash = mrl_unique_hash(unique, encoded, size);
        if (newer_has_tag(root, index, v, mrl_unique_tag(hash))) continue;
        mrl_unique_shard *shard = mrl_unique_shard_of(unique, hash);
        mrl_lock_take(&shard->lock);
        mrl_unique_drop(unique, member, hash, v->slot);
        mrl_lock_drop(&shard->lock);
    }
}

static void drop_key(mrl_root *root, mrl_member *member, const mrl_version *tombstone) {
    mrl_key_probe probe;
    merle_bytes key = mrl_version_key(tombstone);
    uint64_t hash = mrl_root_hash(root, key);
    mrl_key_probe_init(&probe, hash, key);
    uint64_t entry = mrl_map_remove(&root->maps[mrl_shard_of(hash)], member, &probe.probe);
    MRL_ASSERT(mrl_entry_to_pointer(entry) == tombstone);
    mrl_point("reclaim.key_dropped");
    mrl_slots_store(&root->slots, tombstone->slot, NULL);
}

/* 1: done; 0: no memory to go on. */
static int reclaim_tombstone(mrl_store *store, mrl_member *member, mrl_root *root, mrl_shard *shard,
                             mrl_version *tombstone) {
    if (mrl_slots_load(&root->slots, tombstone->slot) != tombstone) return 1;
    if (mrl_queue_reserve(&shard->queue, member, 1) != MERLE_OK) return 0;
    drop_key(root, member, tombstone);
    (void)mrl_shard_retire(shard, member, tombstone, MRL_QUEUED_LIMBO,
                           mrl_ticket_take(store->domain));
    return 1;
}

static void free_version(mrl_member *member, const mrl_queue_entry *entry) {
    mrl_count(member, MRL_N_FREED, 1);
    mrl_count(member, MRL_N_FREED_BYTES, entry->size);
    mrl_version_free_sized(member, entry->version, entry->size);
}

/* Handles the oldest entry; 0: nothing can be done now. The shard's lock is held. */
static int reclaim_one(mrl_store *store, mrl_member *member, mrl_root *root, mrl_shard *shard) {
    const mrl_queue_entry *oldest = mrl_queue_peek(&shard->queue);
    if (oldest == NULL || !mrl_ticket_passed(store->domain, oldest->ticket)) return 0;
    mrl_queue_entry entry = *oldest;
    switch ((mrl_queued)entry.kind) {
    case MRL_QUEUED_SUPERSEDED:
        if (!entry.hints_passed_on) drop_hints(root, member, entry.version);
        free_version(member, &entry);
        break;
    case MRL_QUEUED_TOMBSTONE:
        if (!reclaim_tombstone(store, member, root, shard, entry.version)) return 0;
        break;
    case MRL_QUEUED_LIMBO:
        mrl_shard_return_slot(shard, member, entry.version->slot);
        free_version(member, &entry);
        break;
    }
    mrl_queue_pop(&shard->queue, member);
    return 1;
}

/* ---- shards ---- */

size_t mrl_reclaim_shard(mrl_store *store, mrl_member *member, merle_collection *collection,
                         uint32_t number, size_t max) {
    size_t done = 0;
    if (max > HOLD_MAX) max = HOLD_MAX;
    mrl_epoch_token token;
    /* In the epoch: the root may be replaced, but is not torn down while we are here; and whoever
     * replaces it holds all its locks. */
    mrl_member_enter(member, &token);
    mrl_root *root = mrl_collection_current(collection);
    if (root != NULL) {
        mrl_shard *shard = &root->shards[number];
        mrl_lock_take(&shard->lock);
        if (mrl_collection_current(collection) == root)
            while (done < max && reclaim_one(store, member, root, shard)) done++;
        mrl_lock_drop(&shard->lock);
    }
    mrl_member_leave(member, &token);
    return done;
}

/* ---- replaced roots ---- */

void mrl_reclaim_root(mrl_store *store, mrl_root *root) {
    mrl_lock_take(&store->dying_lock);
    root->ticket = mrl_ticket_take(store->domain);
    root->dying = NULL;
    mrl_root **at = &store->dying;
    while (*at != NULL) at = &(*at)->dying;
    *at = root;
    mrl_lock_drop(&store->dying_lock);
}

/* Tears the oldest replaced root down, as far as max goes. Called by one thread at a time. */
static size_t reclaim_roots(mrl_store *store, mrl_member *member, size_t max) {
    size_t done = 0;
    while (done < max) {
        mrl_lock_take(&store->dying_lock);
        mrl_root *root = store->dying;
        if (root != NULL && !mrl_ticket_passed(store->domain, root->ticket)) root = NULL;
        mrl_lock_drop(&store->dying_lock);
        if (root == NULL) break;
        size_t some = mrl_root_teardown(root, member, max - done);
        done += some;
        if (some != 0) continue;
        mrl_lock_take(&store->dying_lock);
        store->dying = root->dying;
        mrl_lock_drop(&store->dying_lock);
        mrl_root_destroy(root, member);
        done++;
    }
    return done;
}

/* ---- everything, piece by piece ---- */

/* The next collection in the round. */
static merle_collection *next_collection(mrl_store *store, merle_collection *collection) {
    merle_collection *next =
        collection == NULL ? NULL : atomic_load_explicit(&collection->next, memory_order_acquire);
    if (next != NULL) return next;
    return atomic_load_explicit(&store->collections, memory_order_acquire);
}

static size_t reclaim_collection(mrl_store *store, mrl_member *member, merle_collection *collection,
                                 size_t max) {
    size_t done = 0, swept = 0;
    mrl_epoch_token token;
    mrl_member_enter(member, &token);
    mrl_root *root = mrl_collection_current(collection);
    if (root != NULL) swept = mrl_root_sweep(root, member, max);
    if (root != NULL) done = mrl_left_clear(store, member, root, max);
    for (uint32_t i = 0; root != NULL && i < MRL_SHARD_COUNT && done < max; i++) {
        uint32_t shard = (store->step_shard + i) % MRL_SHARD_COUNT;
        if (mrl_queue_length(&root->shards[shard].queue) != 0)
            done += mrl_reclaim_shard(store, member, collection, shard, max - done);
    }
    mrl_member_leave(member, &token);
    return done + swept;
}

size_t mrl_reclaim_some(mrl_store *store, mrl_member *member, size_t max) {
    if (!mrl_lock_try(&store->step_lock)) return 0;
    mrl_epoch_advance(member);
    /* Blocks and versions have a budget each: many records that have left the ring must not hold up
     * what old versions wait for. */
    size_t drained = mrl_domain_drain(member, max);
    size_t done = reclaim_roots(store, member, max);
    merle_collection *first = next_collection(store, store->step_collection);
    merle_collection *collection = first;
    while (collection != NULL && done < max) {
        done += reclaim_collection(store, member, collection, max - done);
        store->step_collection = collection;
        collection = next_collection(store, collection);
        if (collection == first) break;
    }
    store->step_shard = (store->step_shard + 1) % MRL_SHARD_COUNT;
    mrl_lock_drop(&store->step_lock);
    return done + drained;
}

void mrl_reclaim_for_room(mrl_store *store, mrl_member *member) {
    if (!mrl_store_is_full(store)) return;
    for (int i = 0; i < ROOM_ROUNDS_MAX && mrl_store_waiting_bytes(store) > store->retired_max; i++)
        if (mrl_reclaim_some(store, member, ROOM_PIECE) == 0) break;
}

static int collections_are_clean(mrl_store *store) {
    merle_collection *collection = atomic_load_explicit(&store->collections, memory_order_acquire);
    for (; collection != NULL;
         collection = atomic_load_explicit(&collection->next, memory_order_acquire)) {
        mrl_root *root = mrl_collection_current(collection);
        if (root != NULL && atomic_load_explicit(&root->left_first, memory_order_relaxed) != NULL)
            return 0;
        for (uint32_t i = 0; root != NULL && i < MRL_SHARD_COUNT; i++)
            if (mrl_queue_length(&root->shards[i].queue) != 0) return 0;
    }
    return 1;
}

int mrl_reclaim_is_done(mrl_store *store, mrl_member *member) {
    mrl_lock_take(&store->dying_lock);
    int is_dying = store->dying != NULL;
    mrl_lock_drop(&store->dying_lock);
    if (is_dying || mrl_domain_bytes_waiting(store->domain) != 0) return 0;
    mrl_epoch_token token;
    mrl_member_enter(member, &token);
    int done = collections_are_clean(store);
    mrl_member_leave(member, &token);
    return done;
}
