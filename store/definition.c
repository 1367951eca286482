/* store/definition.c - the records of definitions.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/definition.h"

#include "base/crc32c.h"

merle_err mrl_definition_join(merle_db *db, mrl_store **out_store, mrl_member **out_member) {
    if (db == NULL) return MERLE_INVALID;
    *out_store = mrl_db_store(db);
    if (mrl_domain_is_forked((*out_store)->domain)) return MERLE_FORKED;
    *out_member = mrl_member_join((*out_store)->domain);
    return *out_member == NULL ? MERLE_NO_MEMORY : MERLE_OK;
}

static size_t bound_of(merle_bytes payload) {
    return mrl_record_begin_size(0) + mrl_record_operation_size(0, payload.size);
}

merle_err mrl_definition_make(mrl_definition *d, mrl_store *store, mrl_member *member,
                              merle_origin origin, uint32_t collection_id, mrl_record_kind kind,
                              merle_bytes payload) {
    uint8_t *slot_at;
    size_t bound = bound_of(payload);
    merle_bytes nothing = merle_bytes_of(NULL, 0);
    /* Small, and truncate and drop are how memory comes back: they may use the reserve. */
    *d = (mrl_definition){store, member, mrl_entry_create_urgent(member, bound), 0};
    if (d->entry == NULL) return MERLE_NO_MEMORY;
    uint8_t *at = mrl_record_begin(d->entry->body, origin, nothing, 1);
    at = mrl_record_operation(at, collection_id, 0, nothing, kind, payload, 0, &slot_at);
    d->entry->body_size = (uint32_t)(at - d->entry->body);
    d->entry->operation_count = 1;
    d->entry->is_led = store->durability == MERLE_SYNC;
    d->entry->body_crc = mrl_crc32c(0, d->entry->body, d->entry->body_size);
    return MERLE_OK;
}

/* Of a definition nobody waits for, what may be lost is bounded as for commits. */
static uint64_t loose_of(const mrl_store *store, uint64_t credit) {
    return store->durability == MERLE_ASYNC ? credit : 0;
}

static merle_err take_credit(mrl_store *store, mrl_member *member, uint64_t credit) {
    merle_err err = mrl_credit_take_loose(store->log, member, credit, loose_of(store, credit), 0);
    if (err == MERLE_BUSY)
        atomic_store_explicit(&store->definition_lacks, credit, memory_order_relaxed);
    return err == MERLE_OK || err == MERLE_BUSY ? err : mrl_credit_refused(store, member, err);
}

static void settle_credit(mrl_definition *d, uint64_t credit) {
    d->credit = credit;
    d->entry->loose = (uint32_t)loose_of(d->store, credit);
}

merle_err mrl_definition_take(mrl_definition *d, mrl_member *member) {
    uint64_t credit = mrl_entry_credit(d->entry->body_capacity);
    d->member = member;
    merle_err err = take_credit(d->store, member, credit);
    if (err == MERLE_OK) settle_credit(d, credit);
    return err;
}

void mrl_definition_cancel(mrl_definition *d, mrl_member *member) {
    if (d->credit != 0) mrl_credit_give_loose(d->store->log, d->credit, d->entry->loose);
    if (d->entry != NULL) mrl_entry_destroy(member, d->entry);
    d->entry = NULL;
    d->credit = 0;
}

merle_err mrl_definition_prepare(mrl_definition *d, mrl_store *store, mrl_member *member,
                                 uint32_t collection_id, mrl_record_kind kind,
                                 merle_bytes payload) {
    /* Credit first: who gets none takes no memory. */
    uint64_t credit = mrl_entry_credit(bound_of(payload));
    merle_err err = take_credit(store, member, credit);
    if (err != MERLE_OK) return err;
    err = mrl_definition_make(d, store, member, MERLE_ORIGIN_APPLICATION, collection_id, kind,
                              payload);
    if (err != MERLE_OK) {
        mrl_credit_give_loose(store->log, credit, loose_of(store, credit));
        return err;
    }
    settle_credit(d, credit);
    return MERLE_OK;
}

merle_err mrl_definition_await(mrl_store *store, mrl_member *member) {
    /* As much as was asked for: where less would do for this wait it could be over at once, again
     * and again, and without a thread for the disk nobody else would ever make room. */
    uint64_t credit = atomic_load_explicit(&store->definition_lacks, memory_order_relaxed);
    uint64_t loose = loose_of(store, credit);
    merle_err err = mrl_credit_take_loose(store->log, member, credit, loose, 1);
    if (err != MERLE_OK) return mrl_credit_refused(store, member, err);
    mrl_credit_give_loose(store->log, credit, loose);
    return err;
}

uint64_t mrl_definition_begin(const mrl_definition *d) {
    return mrl_publish_begin(d->store->log);
}

void mrl_definition_end(mrl_definition *d) {
    mrl_publish_end(d->store->log, d->member, d->entry, d->credit);
}
