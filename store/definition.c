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

merle_err mrl_definition_prepare(mrl_definition *d, mrl_store *store, mrl_member *member,
                                 uint32_t collection_id, mrl_record_kind kind,
                                 merle_bytes payload) {
    uint8_t *slot_at;
    size_t bound = mrl_record_begin_size(0) + mrl_record_operation_size(0, payload.size);
    *d = (mrl_definition){store, member, NULL, mrl_entry_credit(bound)};
    uint64_t loose = store->durability == MERLE_ASYNC ? d->credit : 0;
    merle_err err = mrl_credit_take_loose(store->log, member, d->credit, loose, 0);
    if (err == MERLE_BUSY) return err;
    if (err != MERLE_OK) return mrl_credit_refused(store, member, err);
    /* Small, and truncate and drop are how memory comes back: they may use the reserve. */
    d->entry = mrl_entry_create_urgent(member, bound);
    if (d->entry == NULL) {
        mrl_credit_give_loose(store->log, d->credit, loose);
        return MERLE_NO_MEMORY;
    }
    merle_bytes nothing = merle_bytes_of(NULL, 0);
    uint8_t *at = mrl_record_begin(d->entry->body, MERLE_ORIGIN_APPLICATION, nothing, 1);
    at = mrl_record_operation(at, collection_id, 0, nothing, kind, payload, 0, &slot_at);
    d->entry->body_size = (uint32_t)(at - d->entry->body);
    d->entry->operation_count = 1;
    d->entry->loose = (uint32_t)loose;
    d->entry->is_led = store->durability == MERLE_SYNC;
    d->entry->body_crc = mrl_crc32c(0, d->entry->body, d->entry->body_size);
    return MERLE_OK;
}

merle_err mrl_definition_await(mrl_store *store, mrl_member *member) {
    uint64_t credit = mrl_entry_credit(0);
    uint64_t loose = store->durability == MERLE_ASYNC ? credit : 0;
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
