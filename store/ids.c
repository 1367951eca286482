/* store/ids.c - numbers that a collection gives, each of them once.
 *
 * Numbers are set aside in blocks, by a record in the log. A number is given only when the record
 * of its block is durable: so no crash takes back that it was given, in whatever mode the database
 * is. When half of a block is given the next one is set aside, and the disk is asked for it: as
 * long as a sync takes less than the rest lasts, only the first caller of all ever waits. Where it
 * takes longer blocks grow.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/commit.h"
#include "store/definition.h"

enum { BLOCK_MIN = 1024, BLOCK_MAX = 1 << 20 };

/* ---- with the ids lock held ---- */

/* The block that was set aside last may be given from, once its record is durable. */
static void open_block(merle_collection *collection, const mrl_log *log) {
    uint64_t end = atomic_load_explicit(&collection->id_end, memory_order_relaxed);
    if (collection->id_aside == end || mrl_log_durable_seq(log) < collection->id_aside_seq) return;
    uint64_t half = (collection->id_aside - end) / 2;
    atomic_store_explicit(&collection->id_mark, collection->id_aside - half, memory_order_relaxed);
    /* Release: pairs with the acquire in take; who sees numbers sees that they are set aside. */
    atomic_store_explicit(&collection->id_end, collection->id_aside, memory_order_release);
}

/* Sets the next block aside, if none is waiting for the disk. Never waits: MERLE_BUSY. */
static merle_err set_aside(merle_collection *collection, mrl_store *store, mrl_member *member) {
    mrl_definition d;
    uint8_t payload[9] = {0xcf};
    if (collection->id_aside != atomic_load_explicit(&collection->id_end, memory_order_relaxed))
        return MERLE_OK;
    if (collection->id_block < BLOCK_MIN) collection->id_block = BLOCK_MIN;
    uint64_t end = collection->id_aside + collection->id_block;
    for (int i = 0; i < 8; i++) payload[1 + i] = (uint8_t)(end >> (56 - 8 * i));
    merle_err err = mrl_definition_prepare(&d, store, member, collection->id, MRL_RECORD_SEQUENCE,
                                           merle_bytes_of(payload, sizeof payload));
    if (err != MERLE_OK) return err;
    collection->id_aside_seq = mrl_definition_begin(&d);
    mrl_definition_end(&d);
    /* Before the lock is dropped: a checkpoint that has the record behind it notes this number. */
    collection->id_aside = end;
    return MERLE_OK;
}

/* ---- with nothing locked ---- */

static int take(merle_collection *collection, uint64_t *out_id) {
    uint64_t id = atomic_load_explicit(&collection->id_next, memory_order_relaxed);
    while (id < atomic_load_explicit(&collection->id_end, memory_order_acquire)) {
        if (!atomic_compare_exchange_weak_explicit(&collection->id_next, &id, id + 1,
                                                   memory_order_relaxed, memory_order_relaxed))
            continue;
        *out_id = id;
        return 1;
    }
    return 0;
}

/* Half of the block is given. What fails here is tried again by who finds nothing left. */
static void go_ahead(merle_collection *collection, mrl_store *store, mrl_member *member) {
    uint64_t seq = 0;
    if (!mrl_lock_try(&collection->ids_lock)) return;
    if (set_aside(collection, store, member) == MERLE_OK) seq = collection->id_aside_seq;
    open_block(collection, store->log);
    mrl_lock_drop(&collection->ids_lock);
    if (seq != 0) mrl_log_ask_durable(store->log, seq);
}

/* The block is used up: waits for the next one. */
static merle_err wait_for_block(merle_collection *collection, mrl_store *store,
                                mrl_member *member) {
    mrl_lock_take(&collection->ids_lock);
    open_block(collection, store->log);
    uint64_t end = atomic_load_explicit(&collection->id_end, memory_order_relaxed);
    int is_there = atomic_load_explicit(&collection->id_next, memory_order_relaxed) < end;
    merle_err err = is_there ? MERLE_OK : set_aside(collection, store, member);
    uint64_t seq = collection->id_aside_seq;
    mrl_lock_drop(&collection->ids_lock);
    if (is_there) return MERLE_OK;
    if (err == MERLE_BUSY) return mrl_definition_await(store, member);
    if (err != MERLE_OK) return err;
    mrl_point("ids.wait");
    int had_to_wait = mrl_log_durable_seq(store->log) < seq;
    if (mrl_log_wait_durable(store->log, member, seq) != MERLE_OK)
        return mrl_credit_refused(store, member, MERLE_READ_ONLY);
    mrl_lock_take(&collection->ids_lock);
    open_block(collection, store->log);
    if (had_to_wait && end > 1 && collection->id_block < BLOCK_MAX) collection->id_block *= 2;
    mrl_lock_drop(&collection->ids_lock);
    return MERLE_OK;
}

merle_err merle_collection_next_id(merle_collection *collection, uint64_t *out_id) {
    mrl_store *store;
    mrl_member *member;
    *out_id = 0;
    if (collection == NULL) return MERLE_INVALID;
    merle_err err = mrl_definition_join(collection->store->db, &store, &member);
    if (err != MERLE_OK) return err;
    mrl_epoch_token token;
    mrl_member_enter(member, &token);
    int alive = mrl_collection_is_alive(collection);
    mrl_member_leave(member, &token);
    if (!alive) return MERLE_GONE;
    while (!take(collection, out_id))
        if ((err = wait_for_block(collection, store, member)) != MERLE_OK) return err;
    if (*out_id == atomic_load_explicit(&collection->id_mark, memory_order_relaxed))
        go_ahead(collection, store, member);
    return MERLE_OK;
}
