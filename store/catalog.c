/* store/catalog.c - collections: made, found, listed, truncated, dropped; ids set aside.
 *
 * Definitions are commits of their own: a record, a seq, an instant. One at a time, under the
 * catalog lock, which comes before all shard locks. Truncate and drop hold all shards of the root
 * that they replace, keys before values as everybody does: a writer that prepared against the old
 * root finds, when it gets its locks, that the root has changed, and starts over. Old sections go
 * on with the old root, which is torn down step by step when they are over.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/assert.h"
#include "base/report.h"
#include "store/definition.h"

/* ---- publishing ---- */

/* root NULL: only the record. A root is swung under the publish lock, unlike documents: whoever
 * finds the new one, locks its free shards and commits into it, gets a seq after ours, so that the
 * log tells the definition before what rests on it. */
static uint64_t publish(mrl_definition *d, merle_collection *collection, mrl_root *root) {
    uint64_t seq = mrl_definition_begin(d);
    if (root != NULL) {
        mrl_root *before = mrl_collection_current(collection);
        if (before != NULL) mrl_root_go_on_from(root, before);
        atomic_store_explicit(&root->seq, seq, memory_order_release);
        atomic_store_explicit(&collection->root, root, memory_order_release);
        mrl_point("definition.swung");
    }
    mrl_definition_end(d);
    return seq;
}

/* ---- making and finding ---- */

static merle_collection *first_collection(mrl_store *store) {
    return atomic_load_explicit(&store->collections, memory_order_acquire);
}

static merle_collection *next_collection(merle_collection *collection) {
    return atomic_load_explicit(&collection->next, memory_order_acquire);
}

static merle_collection *find_alive(mrl_store *store, const char *name) {
    merle_collection *collection = first_collection(store);
    for (; collection != NULL; collection = next_collection(collection))
        if (strcmp(collection->name, name) == 0 && mrl_collection_is_alive(collection))
            return collection;
    return NULL;
}

void mrl_collection_link(mrl_store *store, merle_collection *collection) {
    /* Release: whoever walks the list sees the collection whole. */
    if (store->collections_last == NULL)
        atomic_store_explicit(&store->collections, collection, memory_order_release);
    else
        atomic_store_explicit(&store->collections_last->next, collection, memory_order_release);
    store->collections_last = collection;
}

merle_collection *mrl_collection_create(mrl_store *store, mrl_member *member, const char *name) {
    merle_collection *collection = mrl_alloc(member, MRL_FOR_TABLES, sizeof *collection);
    if (collection == NULL) return NULL;
    memset(collection, 0, sizeof *collection);
    collection->store = store;
    mrl_lock_init(&collection->ids_lock);
    atomic_init(&collection->id_next, 1);
    atomic_init(&collection->id_end, 1);
    collection->id_aside = 1;
    memcpy(collection->name, name, strlen(name) + 1);
    return collection;
}

/* Makes a collection; the catalog lock is held. */
static merle_err make(mrl_store *store, mrl_member *member, const char *name,
                      const merle_schema *given, uint64_t *out_seq,
                      merle_collection **out_collection) {
    mrl_definition d;
    mrl_schema *schema = NULL;
    mrl_root *root = NULL;
    uint32_t id = store->collection_next_id;
    merle_err err = mrl_schema_create(name, id, given, &schema, member->report);
    if (err != MERLE_OK) return err;
    merle_collection *collection = mrl_collection_create(store, member, name);
    if (collection == NULL) {
        err = MERLE_NO_MEMORY;
        goto fail;
    }
    collection->id = id;
    if ((root = mrl_root_create(member, collection, schema)) == NULL) {
        err = MERLE_NO_MEMORY;
        goto fail;
    }
    merle_bytes payload = merle_bytes_of(schema->definition.data, schema->definition.size);
    if ((err = mrl_definition_prepare(&d, store, member, id, MRL_RECORD_DEFINE, payload)) !=
        MERLE_OK)
        goto fail;
    store->collection_next_id++;
    mrl_collection_link(store, collection);
    *out_seq = publish(&d, collection, root);
    mrl_schema_release(schema);
    *out_collection = collection;
    return MERLE_OK;
fail:
    if (root != NULL) mrl_root_destroy(root, member);
    if (collection != NULL) mrl_free(member, MRL_FOR_TABLES, collection, sizeof *collection);
    mrl_schema_release(schema);
    if (err == MERLE_NO_MEMORY)
        mrl_store_fail(member, err, NULL, merle_bytes_of(NULL, 0), "no memory for the collection");
    return err;
}

/* Whether the schema asked for is the one in force; the catalog lock is held. */
static merle_err compare(merle_collection *collection, mrl_member *member,
                         const merle_schema *given) {
    mrl_schema *asked;
    if (given == NULL) return MERLE_OK;
    merle_err err =
        mrl_schema_create(collection->name, collection->id, given, &asked, member->report);
    if (err != MERLE_OK) return err;
    err = mrl_schema_compare(mrl_root_schema_now(mrl_collection_current(collection)), asked,
                             member->report);
    mrl_report_collection(member->report, collection->name);
    mrl_schema_release(asked);
    return err;
}

merle_err merle_collection_open(merle_db *db, const char *name, const merle_schema *schema,
                                merle_collection **out_collection) {
    mrl_store *store;
    mrl_member *member;
    uint64_t seq = 0;
    *out_collection = NULL;
    merle_err err = mrl_definition_join(db, &store, &member);
    if (err != MERLE_OK) return err;
    if (name == NULL || name[0] == 0 || strlen(name) > MERLE_NAME_SIZE_MAX)
        return mrl_store_fail(member, MERLE_INVALID, NULL, merle_bytes_of(NULL, 0),
                              "a collection's name has 1 to 63 bytes");
    while (err == MERLE_OK) {
        mrl_lock_take(&store->catalog_lock);
        merle_collection *collection = find_alive(store, name);
        if (collection == NULL)
            err = make(store, member, name, schema, &seq, &collection);
        else
            err = compare(collection, member, schema);
        mrl_lock_drop(&store->catalog_lock);
        if (err == MERLE_OK && seq != 0)
            err = mrl_durable_settle(store, member, seq, store->durability);
        if (err == MERLE_OK) *out_collection = collection;
        if (err != MERLE_BUSY) break;
        err = mrl_definition_await(store, member);
    }
    return err;
}

merle_err merle_collection_find(merle_db *db, const char *name, merle_collection **out_collection) {
    mrl_store *store;
    mrl_member *member;
    *out_collection = NULL;
    merle_err err = mrl_definition_join(db, &store, &member);
    if (err != MERLE_OK) return err;
    if (name == NULL) return MERLE_INVALID;
    mrl_lock_take(&store->catalog_lock);
    *out_collection = find_alive(store, name);
    mrl_lock_drop(&store->catalog_lock);
    return *out_collection == NULL ? MERLE_NOT_FOUND : MERLE_OK;
}

merle_err merle_collection_each(merle_db *db, merle_collection_fn *fn, void *context) {
    mrl_store *store;
    mrl_member *member;
    merle_err err = mrl_definition_join(db, &store, &member);
    if (err != MERLE_OK) return err;
    merle_collection *collection = first_collection(store);
    for (; collection != NULL; collection = next_collection(collection)) {
        mrl_epoch_token token;
        mrl_member_enter(member, &token);
        int alive = mrl_collection_is_alive(collection);
        mrl_member_leave(member, &token);
        if (alive && fn(context, collection) != 0) break;
    }
    return MERLE_OK;
}

const char *merle_collection_name(const merle_collection *collection) {
    return collection->name;
}

uint32_t merle_collection_id(const merle_collection *collection) {
    return collection->id;
}

merle_err merle_collection_describe(merle_collection *collection, merle_buffer *out_json) {
    mrl_store *store = collection->store;
    merle_err err = MERLE_GONE;
    if (mrl_domain_is_forked(store->domain)) return MERLE_FORKED;
    mrl_lock_take(&store->catalog_lock);
    if (mrl_collection_is_alive(collection))
        err =
            mrl_schema_describe(mrl_root_schema_now(mrl_collection_current(collection)), out_json);
    mrl_lock_drop(&store->catalog_lock);
    mrl_member *member = err == MERLE_NO_MEMORY ? mrl_member_join(store->domain) : NULL;
    if (member == NULL) return err;
    return mrl_store_fail(member, err, collection, merle_bytes_of(NULL, 0),
                          "no memory for the description");
}

/* ---- truncate and drop ---- */

merle_err mrl_root_swing(mrl_definition *d, mrl_root *root, int needs_empty, uint64_t *out_seq) {
    mrl_store *store = d->store;
    mrl_root *old = mrl_collection_current(root->collection);
    const mrl_schema *locked = mrl_root_schema_now(old);
    mrl_root_lock_all(old, locked);
    mrl_point("definition.locked");
    if (needs_empty && mrl_root_count_now(old) != 0) {
        mrl_root_unlock_all(old, locked);
        return MERLE_EXISTS;
    }
    root->before = old;
    *out_seq = publish(d, root->collection, root);
    mrl_point("definition.published");
    store->building -= mrl_schema_building_count(locked);
    mrl_root_unlock_all(old, locked);
    mrl_reclaim_root(store, old);
    return MERLE_OK;
}

/* Whether a bulk load is under way; the catalog lock is held. */
static merle_err refuse_while_loading(mrl_member *member, merle_collection *collection) {
    return mrl_store_fail(member, MERLE_BUSY, collection, merle_bytes_of(NULL, 0),
                          "a bulk load of the collection is under way");
}

/* Puts a new root in the place of the current one; the catalog lock is held. */
static merle_err replace_root(mrl_store *store, mrl_member *member, merle_collection *collection,
                              mrl_schema *schema, mrl_record_kind kind, uint64_t *out_seq) {
    mrl_definition d;
    mrl_root *root = mrl_root_create(member, collection, schema);
    if (root == NULL)
        return mrl_store_fail(member, MERLE_NO_MEMORY, collection, merle_bytes_of(NULL, 0),
                              "no memory for empty tables");
    merle_err err =
        mrl_definition_prepare(&d, store, member, collection->id, kind, merle_bytes_of(NULL, 0));
    if (err != MERLE_OK) {
        mrl_root_destroy(root, member);
        return err;
    }
    root->is_dropped = kind == MRL_RECORD_DROP;
    return mrl_root_swing(&d, root, 0, out_seq);
}

/* One try; the catalog lock is held. */
static merle_err redefine_locked(mrl_store *store, mrl_member *member, merle_collection *collection,
                                 mrl_record_kind kind, uint64_t *out_seq) {
    mrl_schema *schema = NULL;
    merle_err err = MERLE_OK;
    if (!mrl_collection_is_alive(collection)) return MERLE_GONE;
    if (kind == MRL_RECORD_DROP)
        err = mrl_schema_create(collection->name, collection->id, NULL, &schema, member->report);
    else
        err = mrl_schema_settled(mrl_root_schema_now(mrl_collection_current(collection)), &schema);
    if (err != MERLE_OK) return err;
    err = replace_root(store, member, collection, schema, kind, out_seq);
    mrl_schema_release(schema);
    return err;
}

static merle_err redefine(merle_collection *collection, mrl_record_kind kind, uint64_t *out_seq) {
    mrl_store *store;
    mrl_member *member;
    uint64_t seq = 0;
    if (out_seq != NULL) *out_seq = 0;
    if (collection == NULL) return MERLE_INVALID;
    merle_err err = mrl_definition_join(collection->store->db, &store, &member);
    while (err == MERLE_OK) {
        mrl_lock_take(&store->catalog_lock);
        int is_loading = mrl_collection_is_loading(collection);
        err = is_loading ? refuse_while_loading(member, collection)
                         : redefine_locked(store, member, collection, kind, &seq);
        mrl_lock_drop(&store->catalog_lock);
        if (err != MERLE_BUSY || is_loading) break;
        err = mrl_definition_await(store, member);
    }
    if (err != MERLE_OK) return err;
    if (out_seq != NULL) *out_seq = seq;
    return mrl_durable_settle(store, member, seq, store->durability);
}

merle_err merle_collection_truncate(merle_collection *collection, uint64_t *out_seq) {
    return redefine(collection, MRL_RECORD_TRUNCATE, out_seq);
}

merle_err merle_collection_drop(merle_collection *collection, uint64_t *out_seq) {
    return redefine(collection, MRL_RECORD_DROP, out_seq);
}
