/* load/bulk.c - filling an empty collection without a commit for each document.
 *
 * A load puts its documents into a root of its own, by slots alone, as load/load.h does, builds
 * the tables at the end (load/fill.h), and puts that root into the collection's place in one
 * instant, as truncate does with an empty one. What has to be argued is the log.
 *
 * What is in the log. A truncate, of origin load; then puts, in records of about a mebibyte, of
 * origin load, each with a seq of its own, which becomes that of its documents; then `loaded`. With
 * the truncate an empty root takes the collection's place that says that it is loading. It never
 * has a document: a commit that meets it is refused, and it is replaced only by `loaded`, or by
 * another truncate if the load is given up. A commit that was prepared on the root before it finds,
 * when it has its locks, that the root has changed, and begins anew. So between the truncate and
 * the end of the load nobody else writes to the collection, and nobody defines it: every record of
 * the collection in between is the load's, but for ids set aside.
 *
 * What a section sees. Its S decides on the root: before the truncate the old one, in which the
 * last document had gone; from there to `loaded` the loading one, which is empty; from `loaded` on
 * the new one, with all documents, whose seqs are below S. Nobody ever sees a part.
 *
 * What recovery makes of it. The truncate says that a load begins. Puts of origin load go into
 * slots. `loaded` says that they count. If the log ends before, the load has never been: the slots
 * are emptied. Nothing in the log says so; instead, whatever else concerns the collection later
 * (but for ids) says it: a record of another origin, or another truncate, cannot stand inside a
 * load, so it comes after one that was cut off. Who follows the log goes by the same rule.
 *
 * Checkpoints. Someone who writes down what a section sees, to read the log again only behind it,
 * would lose the puts of a load that is under way: they are in no section's view. So if the root
 * that the section sees is loading, he has to read again from before its seq, the truncate's; and
 * if he takes nothing of a root that a load has filled, all that is behind the truncate
 * (persist/checkpoint.c).
 *
 * Giving up must not fail for want of memory, since the collection would be loading for ever: the
 * empty root and the record of the truncate are made when the load begins.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/crc32c.h"
#include "base/report.h"
#include "document/check.h"
#include "load/fill.h"
#include "store/definition.h"
#include "store/expiry.h"

enum { RECORD_SIZE = 1 << 20, RECORD_SIZE_MIN = 4096 };

struct merle_bulk {
    mrl_store *store;
    merle_collection *collection;
    mrl_root *root;        /* that is filled; nobody else has it */
    mrl_root *empty;       /* that takes the loading one's place if the load is given up */
    mrl_definition loaded; /* kept for the end, */
    mrl_definition undone; /* or for that */
    size_t record_size;    /* of a record; one document may need more */
    /* The record that is being made: operations from `begin` on, the header comes before them. */
    mrl_entry *entry;
    uint8_t *at;
    uint32_t operation_count;
    uint32_t slot_first; /* its first document's; they follow each other */
    uint64_t last_seq;   /* of the last record */
    merle_err failure;   /* of the log; then nothing goes on */
    uint32_t offsets[MRL_PATH_COUNT_MAX];
    merle_buffer extracted;
};

static merle_err no_memory(const merle_bulk *bulk, mrl_member *member) {
    return mrl_store_fail(member, MERLE_NO_MEMORY, bulk->collection, merle_bytes_of(NULL, 0),
                          "no memory for the bulk load");
}

/* ---- roots ---- */

static void bulk_free(merle_bulk *bulk, mrl_member *member) {
    if (bulk->root != NULL) mrl_root_destroy(bulk->root, member);
    if (bulk->empty != NULL) mrl_root_destroy(bulk->empty, member);
    if (bulk->entry != NULL) mrl_entry_destroy(member, bulk->entry);
    mrl_definition_cancel(&bulk->loaded, member);
    mrl_definition_cancel(&bulk->undone, member);
    merle_buffer_free(&bulk->extracted);
    free(bulk);
}

/* Publishes the definition with its root, which is the collection's then; the catalog is locked.
 * MERLE_BUSY: there is no credit. */
static merle_err swing_locked(mrl_member *member, mrl_definition *d, mrl_root **root,
                              int needs_empty, uint64_t *out_seq) {
    merle_err err = mrl_definition_take(d, member);
    if (err == MERLE_OK) err = mrl_root_swing(d, *root, needs_empty, out_seq);
    if (err != MERLE_OK) return err;
    /* They are the log's and the collection's now. */
    d->entry = NULL;
    d->credit = 0;
    *root = NULL;
    return err;
}

/* The same, which waits for credit. Only for a load that is under way: nobody else may change the
 * collection between two tries. */
static merle_err swing(merle_bulk *bulk, mrl_member *member, mrl_definition *d, mrl_root **root,
                       uint64_t *out_seq) {
    merle_err err;
    for (;;) {
        mrl_lock_take(&bulk->store->catalog_lock);
        err = swing_locked(member, d, root, 0, out_seq);
        mrl_lock_drop(&bulk->store->catalog_lock);
        if (err != MERLE_BUSY) return err;
        if ((err = mrl_definition_await(bulk->store, member)) != MERLE_OK) return err;
    }
}

/* ---- beginning ---- */

/* All that is needed until the end but for documents; the catalog is locked. */
static merle_err prepare(merle_bulk *bulk, mrl_member *member, mrl_definition *begin,
                         mrl_root **out_loading) {
    mrl_schema *schema;
    uint32_t id = bulk->collection->id;
    const merle_bytes nothing = merle_bytes_of(NULL, 0);
    if (!mrl_collection_is_alive(bulk->collection)) return MERLE_GONE;
    if (mrl_collection_is_loading(bulk->collection)) return MERLE_BUSY;
    merle_err err =
        mrl_schema_settled(mrl_root_schema_now(mrl_collection_current(bulk->collection)), &schema);
    if (err != MERLE_OK) return err;
    bulk->root = mrl_root_create(member, bulk->collection, schema);
    bulk->empty = mrl_root_create(member, bulk->collection, schema);
    *out_loading = mrl_root_create(member, bulk->collection, schema);
    mrl_schema_release(schema);
    if (bulk->root == NULL || bulk->empty == NULL || *out_loading == NULL) return MERLE_NO_MEMORY;
    atomic_store_explicit(&(*out_loading)->is_loading, 1, memory_order_relaxed);
    err = mrl_definition_make(begin, bulk->store, member, MERLE_ORIGIN_LOAD, id,
                              MRL_RECORD_TRUNCATE, nothing);
    if (err == MERLE_OK)
        err = mrl_definition_make(&bulk->loaded, bulk->store, member, MERLE_ORIGIN_LOAD, id,
                                  MRL_RECORD_LOADED, nothing);
    if (err == MERLE_OK)
        err = mrl_definition_make(&bulk->undone, bulk->store, member, MERLE_ORIGIN_APPLICATION, id,
                                  MRL_RECORD_TRUNCATE, nothing);
    return err;
}

/* How large a record may be, so that the log is never filled by one. */
static size_t size_records(const merle_bulk *bulk, mrl_member *member) {
    size_t size = RECORD_SIZE;
    mrl_log_stats stats;
    mrl_log_stat(bulk->store->log, &stats);
    while (size > RECORD_SIZE_MIN &&
           (size > stats.ring_size / 4 || size > bulk->store->commit_size_max))
        size /= 2;
    for (; size > RECORD_SIZE_MIN; size /= 2) {
        uint64_t credit = mrl_entry_credit(size);
        merle_err err = mrl_credit_take(bulk->store->log, member, credit, 0);
        if (err == MERLE_OK) mrl_credit_give(bulk->store->log, credit);
        if (err != MERLE_TOO_BIG) break;
    }
    return size;
}

static void unprepare(merle_bulk *bulk, mrl_member *member, mrl_definition *begin,
                      mrl_root *loading) {
    if (loading != NULL) mrl_root_destroy(loading, member);
    if (bulk->root != NULL) mrl_root_destroy(bulk->root, member);
    if (bulk->empty != NULL) mrl_root_destroy(bulk->empty, member);
    bulk->root = bulk->empty = NULL;
    mrl_definition_cancel(begin, member);
    mrl_definition_cancel(&bulk->loaded, member);
    mrl_definition_cancel(&bulk->undone, member);
}

/* One try. The lock is kept from the look at the collection until its root says that it is being
 * filled: nobody else begins, drops or defines in between. *out_lacks_credit: another try. */
static merle_err try_begin(merle_bulk *bulk, mrl_member *member, int *out_lacks_credit) {
    mrl_definition d = {bulk->store, member, NULL, 0};
    mrl_root *loading = NULL;
    uint64_t seq = 0;
    mrl_lock_take(&bulk->store->catalog_lock);
    merle_err err = prepare(bulk, member, &d, &loading);
    *out_lacks_credit = err == MERLE_OK;
    if (err == MERLE_OK) err = swing_locked(member, &d, &loading, 1, &seq);
    *out_lacks_credit &= err == MERLE_BUSY;
    mrl_lock_drop(&bulk->store->catalog_lock);
    if (err == MERLE_OK)
        bulk->root->loaded_from = seq;
    else
        unprepare(bulk, member, &d, loading);
    return err;
}

/* Whether the collection may be filled; its root says so from then on. */
static merle_err begin(merle_bulk *bulk, mrl_member *member) {
    for (;;) {
        int lacks_credit;
        merle_err err = try_begin(bulk, member, &lacks_credit);
        if (!lacks_credit) return err;
        if ((err = mrl_definition_await(bulk->store, member)) != MERLE_OK) return err;
    }
}

static merle_err tell_begin(merle_err err, const merle_bulk *bulk, mrl_member *member) {
    const merle_bytes nothing = merle_bytes_of(NULL, 0);
    if (err == MERLE_EXISTS)
        return mrl_store_fail(member, err, bulk->collection, nothing,
                              "a bulk load fills an empty collection: this one has documents");
    if (err == MERLE_BUSY)
        return mrl_store_fail(member, err, bulk->collection, nothing,
                              "another bulk load of the collection is under way");
    return err == MERLE_NO_MEMORY ? no_memory(bulk, member) : err;
}

merle_err merle_bulk_begin(merle_collection *collection, merle_bulk **out_bulk) {
    mrl_store *store;
    mrl_member *member;
    *out_bulk = NULL;
    if (collection == NULL) return MERLE_INVALID;
    merle_err err = mrl_definition_join(collection->store->db, &store, &member);
    if (err != MERLE_OK) return err;
    merle_bulk *bulk = calloc(1, sizeof *bulk);
    if (bulk == NULL) return MERLE_NO_MEMORY;
    bulk->store = store;
    bulk->collection = collection;
    if ((err = begin(bulk, member)) != MERLE_OK) {
        err = tell_begin(err, bulk, member);
        bulk_free(bulk, member);
        return err;
    }
    bulk->record_size = size_records(bulk, member);
    atomic_fetch_add_explicit(&store->loads_open, 1, memory_order_relaxed);
    *out_bulk = bulk;
    return MERLE_OK;
}

/* ---- documents ---- */

/* Puts the header before the operations, which were written with room for the largest one. */
static void close_body(merle_bulk *bulk) {
    mrl_entry *entry = bulk->entry;
    uint8_t *begin = entry->body + mrl_record_begin_size(0);
    size_t size = (size_t)(bulk->at - begin);
    uint8_t *at = mrl_record_begin(entry->body, MERLE_ORIGIN_LOAD, merle_bytes_of(NULL, 0),
                                   bulk->operation_count);
    if (at != begin) memmove(at, begin, size);
    entry->body_size = (uint32_t)((size_t)(at - entry->body) + size);
    entry->operation_count = bulk->operation_count;
    entry->is_memory_only = mrl_root_schema_now(bulk->root)->memory_only != 0;
    entry->body_crc = mrl_crc32c(0, entry->body, entry->body_size);
}

/* The documents of a record have its seq. They are nobody else's yet: this need not be done where
 * others wait for it. */
static void stamp(merle_bulk *bulk, uint64_t seq) {
    uint32_t end = mrl_slots_end(&bulk->root->slots);
    for (uint32_t slot = bulk->slot_first; slot < end; slot++) {
        mrl_version *v = mrl_slots_load(&bulk->root->slots, slot);
        if (v != NULL) atomic_store_explicit(&v->seq, seq, memory_order_relaxed);
        mrl_slots_mark(&bulk->root->slots, slot, seq);
    }
    bulk->slot_first = end;
}

/* Puts the record into the log, if there is one. */
static merle_err publish(merle_bulk *bulk, mrl_member *member) {
    if (bulk->operation_count == 0) return MERLE_OK;
    uint64_t credit = mrl_entry_credit(bulk->entry->body_capacity);
    merle_err err = mrl_credit_take(bulk->store->log, member, credit, 1);
    if (err != MERLE_OK) {
        /* Most of its documents would have no record. */
        bulk->failure = err;
        return err;
    }
    close_body(bulk);
    uint64_t seq = mrl_publish_begin(bulk->store->log);
    mrl_publish_end(bulk->store->log, member, bulk->entry, credit);
    bulk->entry = NULL;
    bulk->operation_count = 0;
    bulk->last_seq = seq;
    stamp(bulk, seq);
    return MERLE_OK;
}

/* Room for an operation of so many bytes. */
static merle_err make_room(merle_bulk *bulk, mrl_member *member, size_t size) {
    size_t used = bulk->entry == NULL ? 0 : (size_t)(bulk->at - bulk->entry->body);
    if (bulk->entry != NULL && bulk->entry->body_capacity - used >= size) return MERLE_OK;
    merle_err err = publish(bulk, member);
    if (err != MERLE_OK) return err;
    /* Nothing was written into it, or it was published. */
    if (bulk->entry != NULL) mrl_entry_destroy(member, bulk->entry);
    size_t capacity = mrl_record_begin_size(0) + size;
    if (capacity < bulk->record_size) capacity = bulk->record_size;
    bulk->entry = mrl_entry_create(member, capacity);
    if (bulk->entry == NULL) return MERLE_NO_MEMORY;
    bulk->at = bulk->entry->body + mrl_record_begin_size(0);
    return MERLE_OK;
}

/* Into the next slot, and the record. What can fail comes first. */
static merle_err add(merle_bulk *bulk, mrl_member *member, merle_bytes key, merle_bytes doc) {
    uint32_t slot;
    uint8_t *slot_at;
    const mrl_schema *schema = mrl_root_schema_now(bulk->root);
    size_t size = mrl_record_operation_size(key.size, doc.size);
    if (mrl_record_begin_size(0) + size > bulk->store->commit_size_max)
        return mrl_store_fail(member, MERLE_TOO_BIG, bulk->collection, key,
                              "the document's record is above commit_size_max");
    merle_err err = make_room(bulk, member, size);
    if (err != MERLE_OK) return err;
    int64_t expires_ns = mrl_schema_moment(schema, doc);
    mrl_ordered *by_time;
    if (expires_ns != 0 && (err = mrl_expiry_index(bulk->root, member, &by_time)) != MERLE_OK)
        return err;
    mrl_version *v =
        mrl_version_create(member, schema, key, doc, bulk->offsets, &bulk->extracted, expires_ns);
    if (v == NULL) return MERLE_NO_MEMORY;
    if ((err = mrl_slots_take(&bulk->root->slots, member, &slot)) != MERLE_OK) {
        mrl_version_free(member, v);
        return err;
    }
    v->slot = slot;
    mrl_slots_store(&bulk->root->slots, slot, v);
    bulk->at = mrl_record_operation(bulk->at, bulk->collection->id, slot, key, MRL_RECORD_PUT, doc,
                                    expires_ns, &slot_at);
    bulk->operation_count++;
    return MERLE_OK;
}

merle_err merle_bulk_put(merle_bulk *bulk, merle_bytes key, merle_bytes doc) {
    if (bulk == NULL) return MERLE_INVALID;
    if (mrl_domain_is_forked(bulk->store->domain)) return MERLE_FORKED;
    mrl_member *member = mrl_member_join(bulk->store->domain);
    if (member == NULL) return MERLE_NO_MEMORY;
    if (bulk->failure != MERLE_OK)
        return mrl_store_fail(member, bulk->failure, bulk->collection, key,
                              "the bulk load has failed");
    if (key.size == 0 || key.size > MERLE_KEY_SIZE_MAX)
        return mrl_store_fail(member, MERLE_INVALID, bulk->collection, merle_bytes_of(NULL, 0),
                              "a key has 1 to %u bytes", MERLE_KEY_SIZE_MAX);
    merle_err err = mrl_check_document(doc.data, doc.size, member->report);
    if (err == MERLE_OK)
        err = mrl_schema_check_doc(mrl_root_schema_now(bulk->root), key, doc, bulk->offsets,
                                   &bulk->extracted, member->report);
    if (err != MERLE_OK) {
        mrl_report_collection(member->report, bulk->collection->name);
        mrl_report_key(member->report, key);
        return err;
    }
    err = add(bulk, member, key, doc);
    return err == MERLE_NO_MEMORY ? no_memory(bulk, member) : err;
}

/* ---- the end ---- */

static merle_err build(merle_bulk *bulk, mrl_member *member) {
    mrl_crew *crew = mrl_crew_create(bulk->store->domain, bulk->store->load_threads);
    if (crew == NULL) return no_memory(bulk, member);
    const mrl_fill_options options = {.root = bulk->root, .crew = crew, .is_strict = 1};
    merle_err err = mrl_root_fill(&options, member, member->report);
    mrl_crew_destroy(crew);
    return err;
}

/* The root of the load is empty: it goes on as any other. */
static void end_loading(const merle_bulk *bulk) {
    mrl_lock_take(&bulk->store->catalog_lock);
    mrl_root *root = mrl_collection_current(bulk->collection);
    const mrl_schema *schema = mrl_root_schema_now(root);
    mrl_root_lock_all(root, schema);
    atomic_store_explicit(&root->is_loading, 0, memory_order_relaxed);
    mrl_root_unlock_all(root, schema);
    mrl_lock_drop(&bulk->store->catalog_lock);
}

/* The collection is empty, and anybody's again. Where the log has no room, or has failed, it is so
 * without a record: the next change of the collection says it as well. */
static void undo(merle_bulk *bulk, mrl_member *member) {
    uint64_t seq;
    merle_report *report = member->report;
    member->report = NULL; /* it says why the load was given up */
    if (swing(bulk, member, &bulk->undone, &bulk->empty, &seq) != MERLE_OK) end_loading(bulk);
    member->report = report;
}

static void close(merle_bulk *bulk, mrl_member *member) {
    atomic_fetch_sub_explicit(&bulk->store->loads_open, 1, memory_order_relaxed);
    bulk_free(bulk, member);
}

merle_err merle_bulk_end(merle_bulk *bulk, uint64_t *out_seq) {
    uint64_t seq = 0;
    if (out_seq != NULL) *out_seq = 0;
    if (bulk == NULL) return MERLE_INVALID;
    mrl_store *store = bulk->store;
    if (mrl_domain_is_forked(store->domain)) return MERLE_FORKED;
    mrl_member *member = mrl_member_join(store->domain);
    if (member == NULL) return MERLE_NO_MEMORY;
    merle_err err = bulk->failure != MERLE_OK ? bulk->failure : publish(bulk, member);
    if (err == MERLE_OK) err = build(bulk, member);
    /* Before anybody sees them, so that no more can be lost than a commit may lose. */
    if (err == MERLE_OK) err = mrl_log_wait_durable(store->log, member, bulk->last_seq);
    if (err == MERLE_OK) err = swing(bulk, member, &bulk->loaded, &bulk->root, &seq);
    if (err != MERLE_OK) {
        undo(bulk, member);
        close(bulk, member);
        return err;
    }
    close(bulk, member);
    if (out_seq != NULL) *out_seq = seq;
    if (mrl_log_wait_durable(store->log, member, seq) != MERLE_OK) return MERLE_NOT_DURABLE;
    return MERLE_OK;
}

void merle_bulk_cancel(merle_bulk *bulk) {
    if (bulk == NULL || mrl_domain_is_forked(bulk->store->domain)) return;
    mrl_member *member = mrl_member_join(bulk->store->domain);
    /* Without memory for the thread itself it stays open, and merle_close says so. */
    if (member == NULL) return;
    undo(bulk, member);
    close(bulk, member);
}
