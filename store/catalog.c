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
#include "base/crc32c.h"
#include "base/report.h"
#include "store/store.h"

enum { ID_BLOCK = 1024 };

/* ---- records of definitions ---- */

typedef struct definition {
    mrl_store *store;
    mrl_member *member;
    mrl_entry *entry;
    uint64_t credit;
} definition;

/* Credit and entry, with no shard locked. */
static merle_err prepare(definition *d, mrl_store *store, mrl_member *member,
                         uint32_t collection_id, mrl_record_kind kind, merle_bytes payload) {
    uint8_t *slot_at;
    size_t bound = mrl_record_begin_size(0) + mrl_record_operation_size(0, payload.size);
    *d = (definition){store, member, NULL, mrl_entry_credit(bound)};
    /* Never waits: the catalog is locked. MERLE_BUSY is for await_credit. */
    merle_err err = mrl_credit_take(store->log, member, d->credit, 0);
    if (err != MERLE_OK) return err;
    /* Small, and truncate and drop are how memory comes back: they may use the reserve. */
    d->entry = mrl_entry_create_urgent(member, bound);
    if (d->entry == NULL) {
        mrl_credit_give(store->log, d->credit);
        return MERLE_NO_MEMORY;
    }
    merle_bytes nothing = merle_bytes_of(NULL, 0);
    uint8_t *at = mrl_record_begin(d->entry->body, MERLE_ORIGIN_APPLICATION, nothing, 1);
    at = mrl_record_operation(at, collection_id, 0, nothing, kind, payload, 0, &slot_at);
    d->entry->body_size = (uint32_t)(at - d->entry->body);
    d->entry->operation_count = 1;
    d->entry->body_crc = mrl_crc32c(0, d->entry->body, d->entry->body_size);
    return MERLE_OK;
}

/* With nothing locked: waits until there is some credit again, for another try. */
static merle_err await_credit(mrl_store *store, mrl_member *member) {
    uint64_t credit = mrl_entry_credit(0);
    merle_err err = mrl_credit_take(store->log, member, credit, 1);
    if (err == MERLE_OK) mrl_credit_give(store->log, credit);
    return err;
}

/* root NULL: only the record. A root is swung under the publish lock, unlike documents: whoever
 * finds the new one, locks its free shards and commits into it, gets a seq after ours, so that the
 * log tells the definition before what rests on it. */
static uint64_t publish(definition *d, merle_collection *collection, mrl_root *root) {
    uint64_t seq = mrl_publish_begin(d->store->log);
    if (root != NULL) {
        mrl_root *before = mrl_collection_current(collection);
        if (before != NULL) mrl_root_go_on_from(root, before);
        atomic_store_explicit(&root->seq, seq, memory_order_release);
        atomic_store_explicit(&collection->root, root, memory_order_release);
        mrl_point("definition.swung");
    }
    mrl_publish_end(d->store->log, d->member, d->entry, d->credit);
    return seq;
}

/* ---- making and finding ---- */

static int is_alive(const merle_collection *collection) {
    const mrl_root *root = mrl_collection_current(collection);
    return root != NULL && !root->is_dropped;
}

static merle_collection *first_collection(mrl_store *store) {
    return atomic_load_explicit(&store->collections, memory_order_acquire);
}

static merle_collection *next_collection(merle_collection *collection) {
    return atomic_load_explicit(&collection->next, memory_order_acquire);
}

static merle_collection *find_alive(mrl_store *store, const char *name) {
    merle_collection *collection = first_collection(store);
    for (; collection != NULL; collection = next_collection(collection))
        if (strcmp(collection->name, name) == 0 && is_alive(collection)) return collection;
    return NULL;
}

static void link_collection(mrl_store *store, merle_collection *collection) {
    /* Release: whoever walks the list sees the collection whole. */
    if (store->collections_last == NULL)
        atomic_store_explicit(&store->collections, collection, memory_order_release);
    else
        atomic_store_explicit(&store->collections_last->next, collection, memory_order_release);
    store->collections_last = collection;
}

static merle_collection *allocate(mrl_store *store, mrl_member *member, const char *name) {
    merle_collection *collection = mrl_alloc(member, MRL_FOR_TABLES, sizeof *collection);
    if (collection == NULL) return NULL;
    memset(collection, 0, sizeof *collection);
    collection->store = store;
    mrl_lock_init(&collection->ids_lock);
    atomic_init(&collection->id_next, 1);
    atomic_init(&collection->id_end, 1);
    memcpy(collection->name, name, strlen(name) + 1);
    return collection;
}

/* Makes a collection; the catalog lock is held. */
static merle_err make(mrl_store *store, mrl_member *member, const char *name,
                      const merle_schema *given, merle_collection **out_collection) {
    definition d;
    mrl_schema *schema = NULL;
    mrl_root *root = NULL;
    uint32_t id = store->collection_next_id;
    merle_err err = mrl_schema_create(name, id, given, &schema, member->report);
    if (err != MERLE_OK) return err;
    merle_collection *collection = allocate(store, member, name);
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
    if ((err = prepare(&d, store, member, id, MRL_RECORD_DEFINE, payload)) != MERLE_OK) goto fail;
    store->collection_next_id++;
    link_collection(store, collection);
    (void)publish(&d, collection, root);
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
    err = mrl_schema_compare(mrl_collection_current(collection)->schema, asked, member->report);
    mrl_report_collection(member->report, collection->name);
    mrl_schema_release(asked);
    return err;
}

static merle_err join(merle_db *db, mrl_store **out_store, mrl_member **out_member) {
    if (db == NULL) return MERLE_INVALID;
    *out_store = mrl_db_store(db);
    if (mrl_domain_is_forked((*out_store)->domain)) return MERLE_FORKED;
    *out_member = mrl_member_join((*out_store)->domain);
    return *out_member == NULL ? MERLE_NO_MEMORY : MERLE_OK;
}

merle_err merle_collection_open(merle_db *db, const char *name, const merle_schema *schema,
                                merle_collection **out_collection) {
    mrl_store *store;
    mrl_member *member;
    *out_collection = NULL;
    merle_err err = join(db, &store, &member);
    if (err != MERLE_OK) return err;
    if (name == NULL || name[0] == 0 || strlen(name) > MERLE_NAME_SIZE_MAX)
        return mrl_store_fail(member, MERLE_INVALID, NULL, merle_bytes_of(NULL, 0),
                              "a collection's name has 1 to 63 bytes");
    while (err == MERLE_OK) {
        mrl_lock_take(&store->catalog_lock);
        merle_collection *collection = find_alive(store, name);
        if (collection == NULL)
            err = make(store, member, name, schema, &collection);
        else
            err = compare(collection, member, schema);
        mrl_lock_drop(&store->catalog_lock);
        if (err == MERLE_OK) *out_collection = collection;
        if (err != MERLE_BUSY) break;
        err = await_credit(store, member);
    }
    return err;
}

merle_err merle_collection_find(merle_db *db, const char *name, merle_collection **out_collection) {
    mrl_store *store;
    mrl_member *member;
    *out_collection = NULL;
    merle_err err = join(db, &store, &member);
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
    merle_err err = join(db, &store, &member);
    if (err != MERLE_OK) return err;
    merle_collection *collection = first_collection(store);
    for (; collection != NULL; collection = next_collection(collection)) {
        mrl_epoch_token token;
        mrl_member_enter(member, &token);
        int alive = is_alive(collection);
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
    if (is_alive(collection))
        err = mrl_schema_describe(mrl_collection_current(collection)->schema, out_json);
    mrl_lock_drop(&store->catalog_lock);
    mrl_member *member = err == MERLE_NO_MEMORY ? mrl_member_join(store->domain) : NULL;
    if (member == NULL) return err;
    return mrl_store_fail(member, err, collection, merle_bytes_of(NULL, 0),
                          "no memory for the description");
}

/* ---- truncate and drop ---- */

static int is_unique(const mrl_root *root, uint32_t index) {
    return mrl_index_is_unique(&root->schema->indexes[index]);
}

/* Whoever changes other indexes holds key shards. */
static void lock_root(mrl_root *root) {
    for (uint32_t i = 0; i < MRL_SHARD_COUNT; i++) mrl_lock_take(&root->shards[i].lock);
    for (uint32_t n = 0; n < root->schema->index_count; n++)
        for (uint32_t i = 0; is_unique(root, n) && i < MRL_SHARD_COUNT; i++)
            mrl_lock_take(&root->indexes[n].unique->shards[i].lock);
}

static void unlock_root(mrl_root *root) {
    for (uint32_t n = 0; n < root->schema->index_count; n++)
        for (uint32_t i = 0; is_unique(root, n) && i < MRL_SHARD_COUNT; i++)
            mrl_lock_drop(&root->indexes[n].unique->shards[i].lock);
    for (uint32_t i = 0; i < MRL_SHARD_COUNT; i++) mrl_lock_drop(&root->shards[i].lock);
}

/* Puts a new root in the place of the current one; the catalog lock is held. */
static merle_err replace_root(mrl_store *store, mrl_member *member, merle_collection *collection,
                              mrl_schema *schema, mrl_record_kind kind, uint64_t *out_seq) {
    definition d;
    mrl_root *old = mrl_collection_current(collection);
    mrl_root *root = mrl_root_create(member, collection, schema);
    if (root == NULL)
        return mrl_store_fail(member, MERLE_NO_MEMORY, collection, merle_bytes_of(NULL, 0),
                              "no memory for empty tables");
    merle_err err = prepare(&d, store, member, collection->id, kind, merle_bytes_of(NULL, 0));
    if (err != MERLE_OK) {
        mrl_root_destroy(root, member);
        return err;
    }
    root->before = old;
    root->is_dropped = kind == MRL_RECORD_DROP;
    lock_root(old);
    mrl_point("definition.locked");
    *out_seq = publish(&d, collection, root);
    mrl_point("definition.published");
    unlock_root(old);
    mrl_reclaim_root(store, old);
    return MERLE_OK;
}

/* One try; the catalog lock is held. */
static merle_err redefine_locked(mrl_store *store, mrl_member *member, merle_collection *collection,
                                 mrl_record_kind kind, uint64_t *out_seq) {
    mrl_schema *schema = NULL;
    merle_err err = MERLE_OK;
    if (!is_alive(collection)) return MERLE_GONE;
    if (kind == MRL_RECORD_DROP)
        err = mrl_schema_create(collection->name, collection->id, NULL, &schema, member->report);
    else
        schema = mrl_schema_hold(mrl_collection_current(collection)->schema);
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
    merle_err err = join(collection->store->db, &store, &member);
    while (err == MERLE_OK) {
        mrl_lock_take(&store->catalog_lock);
        err = redefine_locked(store, member, collection, kind, &seq);
        mrl_lock_drop(&store->catalog_lock);
        if (err != MERLE_BUSY) break;
        err = await_credit(store, member);
    }
    if (err == MERLE_OK && out_seq != NULL) *out_seq = seq;
    return err;
}

merle_err merle_collection_truncate(merle_collection *collection, uint64_t *out_seq) {
    return redefine(collection, MRL_RECORD_TRUNCATE, out_seq);
}

merle_err merle_collection_drop(merle_collection *collection, uint64_t *out_seq) {
    return redefine(collection, MRL_RECORD_DROP, out_seq);
}

/* ---- ids ---- */

/* Sets ids up to beyond `id` aside in the log; the ids lock is held. */
static merle_err extend_locked(merle_collection *collection, mrl_store *store, mrl_member *member,
                               uint64_t id) {
    definition d;
    uint8_t payload[9] = {0xcf};
    uint64_t end = atomic_load_explicit(&collection->id_end, memory_order_relaxed);
    if (end > id) return MERLE_OK;
    end = id + ID_BLOCK;
    for (int i = 0; i < 8; i++) payload[1 + i] = (uint8_t)(end >> (56 - 8 * i));
    merle_err err = prepare(&d, store, member, collection->id, MRL_RECORD_SEQUENCE,
                            merle_bytes_of(payload, sizeof payload));
    if (err != MERLE_OK) return err;
    (void)publish(&d, collection, NULL);
    atomic_store_explicit(&collection->id_end, end, memory_order_release);
    return MERLE_OK;
}

static merle_err extend_ids(merle_collection *collection, mrl_store *store, mrl_member *member,
                            uint64_t id) {
    for (;;) {
        mrl_lock_take(&collection->ids_lock);
        merle_err err = extend_locked(collection, store, member, id);
        mrl_lock_drop(&collection->ids_lock);
        if (err != MERLE_BUSY) return err;
        if ((err = await_credit(store, member)) != MERLE_OK) return err;
    }
}

merle_err merle_collection_next_id(merle_collection *collection, uint64_t *out_id) {
    mrl_store *store;
    mrl_member *member;
    *out_id = 0;
    if (collection == NULL) return MERLE_INVALID;
    merle_err err = join(collection->store->db, &store, &member);
    if (err != MERLE_OK) return err;
    mrl_epoch_token token;
    mrl_member_enter(member, &token);
    int alive = is_alive(collection);
    mrl_member_leave(member, &token);
    if (!alive) return MERLE_GONE;
    uint64_t id = atomic_fetch_add_explicit(&collection->id_next, 1, memory_order_relaxed);
    if (id >= atomic_load_explicit(&collection->id_end, memory_order_acquire) &&
        (err = extend_ids(collection, store, member, id)) != MERLE_OK)
        return err;
    *out_id = id;
    return MERLE_OK;
}
