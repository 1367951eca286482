/* store/index_define.c - the definitions that add and drop an index, and what they leave behind.
 *
 * Both put a new schema in the place of the root's while all its shards are locked, under the
 * publish lock like a new root: whoever finds the new schema gets a seq after its definition. Until
 * that is published writers take the schema before (mrl_root_writable_schema), and wait for the
 * shards. What was replaced stays for sections that may use it. The argument why an index that
 * comes so is complete stands at the head of store/build.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/buffer.h"
#include "base/report.h"
#include "base/self.h"
#include "store/build.h"
#include "store/definition.h"

/* ---- what is left ---- */

mrl_left *mrl_left_create(mrl_member *member, mrl_schema *schema, mrl_build *build,
                          uint32_t number) {
    /* Urgent: a drop gives memory back. */
    mrl_left *left = mrl_alloc_urgent(member, MRL_FOR_TABLES, sizeof *left);
    if (left != NULL) *left = (mrl_left){NULL, schema, build, number, 0};
    return left;
}

void mrl_left_cancel(mrl_member *member, mrl_left *left) {
    mrl_free(member, MRL_FOR_TABLES, left, sizeof *left);
}

void mrl_left_push(mrl_store *store, mrl_root *root, mrl_left *left) {
    mrl_lock_take(&store->dying_lock);
    left->ticket = mrl_ticket_take(store->domain);
    if (root->left_last == NULL)
        atomic_store_explicit(&root->left_first, left, memory_order_relaxed);
    else
        root->left_last->next = left;
    root->left_last = left;
    mrl_lock_drop(&store->dying_lock);
}

uint32_t mrl_left_numbers(mrl_store *store, const mrl_root *root) {
    uint32_t numbers = 0;
    mrl_lock_take(&store->dying_lock);
    const mrl_left *left = atomic_load_explicit(&root->left_first, memory_order_relaxed);
    for (; left != NULL; left = left->next)
        if (left->number != MRL_LEFT_NONE) numbers |= (uint32_t)1 << left->number;
    mrl_lock_drop(&store->dying_lock);
    return numbers;
}

void mrl_left_destroy(mrl_member *member, mrl_left *left) {
    mrl_build_destroy(member, left->build);
    mrl_schema_release(left->schema);
    mrl_left_cancel(member, left);
}

/* The oldest, if its time has come. */
static mrl_left *oldest_left(mrl_store *store, const mrl_root *root) {
    mrl_lock_take(&store->dying_lock);
    mrl_left *left = atomic_load_explicit(&root->left_first, memory_order_relaxed);
    if (left != NULL && !mrl_ticket_passed(store->domain, left->ticket)) left = NULL;
    mrl_lock_drop(&store->dying_lock);
    return left;
}

size_t mrl_left_clear(mrl_store *store, mrl_member *member, mrl_root *root, size_t max) {
    size_t done = 0;
    mrl_left *left;
    if (atomic_load_explicit(&root->left_first, memory_order_relaxed) == NULL) return 0;
    while (done < max && (left = oldest_left(store, root)) != NULL) {
        size_t some = left->number == MRL_LEFT_NONE
                          ? 0
                          : mrl_root_index_clear(root, member, left->number, max - done);
        done += some;
        if (some != 0) continue;
        /* Only now is its number free again. */
        mrl_lock_take(&store->dying_lock);
        atomic_store_explicit(&root->left_first, left->next, memory_order_relaxed);
        if (left->next == NULL) root->left_last = NULL;
        mrl_lock_drop(&store->dying_lock);
        mrl_left_destroy(member, left);
        done++;
    }
    return done;
}

/* ---- changing ---- */

void mrl_root_swing_schema(mrl_root *root, mrl_schema *schema, mrl_schema *before, uint64_t seq) {
    schema->before = before;
    atomic_store_explicit(&schema->seq, seq, memory_order_release);
    /* Release: pairs with the acquire in mrl_root_schema. */
    atomic_store_explicit(&root->schema, schema, memory_order_release);
    mrl_point("definition.schema_swung");
}

typedef struct defining {
    mrl_store *store;
    mrl_member *member;
    merle_collection *collection;
    const merle_index *index; /* NULL: it is dropped */
    const char *name;
    uint64_t seq; /* out */
} defining;

static merle_err no_memory(const defining *d) {
    return mrl_store_fail(d->member, MERLE_NO_MEMORY, d->collection, merle_bytes_of(NULL, 0),
                          "no memory for the definition of index %s", d->name);
}

/* The record, and everything under the locks. `build` is of an index that is added. */
static merle_err change_schema(defining *d, mrl_root *root, mrl_schema *schema, mrl_left *left,
                               mrl_build *build, uint32_t number) {
    mrl_definition record;
    mrl_schema *old = mrl_root_schema_now(root);
    merle_bytes payload = merle_bytes_of(schema->definition.data, schema->definition.size);
    merle_err err = mrl_definition_prepare(&record, d->store, d->member, d->collection->id,
                                           MRL_RECORD_DEFINE, payload);
    if (err != MERLE_OK) return err == MERLE_NO_MEMORY ? no_memory(d) : err;
    mrl_root_lock_all(root, old);
    mrl_point("definition.locked");
    if (build != NULL)
        atomic_store_explicit(&build->slots_total, mrl_slots_end(&root->slots),
                              memory_order_relaxed);
    atomic_store_explicit(&root->builds[number], build, memory_order_release);
    d->seq = mrl_definition_begin(&record);
    if (build != NULL) schema->indexes[number].made_seq = d->seq;
    mrl_root_swing_schema(root, schema, old, d->seq);
    mrl_definition_end(&record);
    mrl_point("definition.published");
    if (build != NULL)
        atomic_fetch_add_explicit(&d->store->building, 1, memory_order_relaxed);
    else if (old->indexes[number].state == MERLE_INDEX_BUILDING)
        atomic_fetch_sub_explicit(&d->store->building, 1, memory_order_relaxed);
    mrl_root_unlock_all(root, old);
    mrl_left_push(d->store, root, left);
    return MERLE_OK;
}

/* The catalog is locked. */
static merle_err add_locked(defining *d) {
    mrl_root *root = mrl_collection_current(d->collection);
    mrl_schema *schema = NULL;
    uint32_t number;
    mrl_left *left = NULL;
    mrl_build *build = NULL;
    int has_tables = 0;
    if (!mrl_collection_is_alive(d->collection)) return MERLE_GONE;
    merle_err err =
        mrl_schema_with(mrl_root_schema_now(root), d->collection->name, d->collection->id, d->index,
                        mrl_left_numbers(d->store, root), &schema, &number, d->member->report);
    if (err != MERLE_OK) return err;
    left = mrl_left_create(d->member, mrl_root_schema_now(root), NULL, MRL_LEFT_NONE);
    build = mrl_build_create(d->member);
    has_tables = mrl_root_index_create(root, d->member, &schema->indexes[number]);
    if (left == NULL || build == NULL || !has_tables) {
        err = no_memory(d);
        goto fail;
    }
    if ((err = change_schema(d, root, schema, left, build, number)) == MERLE_OK) return err;
fail:
    if (has_tables)
        while (mrl_root_index_clear(root, d->member, number, SIZE_MAX) != 0) continue;
    mrl_build_destroy(d->member, build);
    if (left != NULL) mrl_left_cancel(d->member, left);
    mrl_schema_release(schema);
    return err;
}

/* The catalog is locked. */
static merle_err drop_locked(defining *d) {
    mrl_root *root = mrl_collection_current(d->collection);
    mrl_schema *schema = NULL;
    if (!mrl_collection_is_alive(d->collection)) return MERLE_GONE;
    mrl_schema *old = mrl_root_schema_now(root);
    const mrl_schema_index *index = mrl_schema_find_index(old, d->name);
    if (index == NULL) return MERLE_NOT_FOUND;
    merle_err err =
        mrl_schema_without(old, d->collection->name, d->collection->id, index->number, &schema);
    if (err != MERLE_OK) return no_memory(d);
    mrl_left *left =
        mrl_left_create(d->member, old, mrl_root_build(root, index->number), index->number);
    err = left == NULL ? no_memory(d) : change_schema(d, root, schema, left, NULL, index->number);
    if (err == MERLE_OK) return err;
    if (left != NULL) mrl_left_cancel(d->member, left);
    mrl_schema_release(schema);
    return err;
}

static merle_err define(defining *d, merle_collection *collection, uint64_t *out_seq) {
    if (out_seq != NULL) *out_seq = 0;
    if (collection == NULL || d->name == NULL) return MERLE_INVALID;
    d->collection = collection;
    merle_err err = mrl_definition_join(collection->store->db, &d->store, &d->member);
    while (err == MERLE_OK) {
        mrl_lock_take(&d->store->catalog_lock);
        int is_loading = mrl_collection_is_loading(collection);
        if (is_loading)
            err = mrl_store_fail(d->member, MERLE_BUSY, collection, merle_bytes_of(NULL, 0),
                                 "a bulk load of the collection is under way");
        else
            err = d->index != NULL ? add_locked(d) : drop_locked(d);
        mrl_lock_drop(&d->store->catalog_lock);
        if (err != MERLE_BUSY || is_loading) break;
        err = mrl_definition_await(d->store, d->member);
    }
    if (err != MERLE_OK) return err;
    if (out_seq != NULL) *out_seq = d->seq;
    return mrl_durable_settle(d->store, d->member, d->seq, d->store->durability);
}

merle_err merle_index_add(merle_collection *collection, const merle_index *index,
                          uint64_t *out_seq) {
    defining d = {.index = index, .name = index == NULL ? NULL : index->name};
    return define(&d, collection, out_seq);
}

merle_err merle_index_drop(merle_collection *collection, const char *name, uint64_t *out_seq) {
    defining d = {.name = name};
    return define(&d, collection, out_seq);
}

merle_err merle_index_build(merle_collection *collection, const char *name) {
    mrl_store *store;
    mrl_member *member;
    if (collection == NULL || name == NULL) return MERLE_INVALID;
    merle_err err = mrl_definition_join(collection->store->db, &store, &member);
    return err != MERLE_OK ? err : mrl_build_finish(store, member, collection, name);
}

/* ---- who stands against it ---- */

static merle_err list(const mrl_build *build, merle_buffer *out_keys, merle_offender *out,
                      size_t out_max, size_t *out_count) {
    size_t count = build->kept_count < out_max ? build->kept_count : out_max;
    size_t used = 0;
    for (size_t i = 0; i < count; i++) used += build->kept[i].key_size + build->kept[i].other_size;
    out_keys->size = 0;
    merle_err err = used == 0 ? MERLE_OK : mrl_buffer_append(out_keys, build->kept_bytes, used);
    if (err != MERLE_OK) return err;
    for (size_t i = 0; i < count; i++) {
        const mrl_kept *kept = &build->kept[i];
        const uint8_t *key = out_keys->data + kept->key_at;
        out[i].why = kept->why;
        out[i].key = merle_bytes_of(key, kept->key_size);
        out[i].other_key =
            merle_bytes_of(kept->other_size == 0 ? NULL : key + kept->key_size, kept->other_size);
    }
    *out_count = count;
    return MERLE_OK;
}

merle_err merle_index_offenders(merle_collection *collection, const char *name,
                                merle_buffer *out_keys, merle_offender *out_offenders,
                                size_t out_max, size_t *out_count) {
    mrl_store *store;
    mrl_member *member;
    mrl_epoch_token token;
    *out_count = 0;
    if (collection == NULL || name == NULL || out_keys == NULL) return MERLE_INVALID;
    merle_err err = mrl_definition_join(collection->store->db, &store, &member);
    if (err != MERLE_OK) return err;
    mrl_member_enter(member, &token);
    const mrl_root *root = mrl_collection_current(collection);
    const mrl_schema_index *index =
        root == NULL ? NULL : mrl_schema_find_index(mrl_root_schema_now(root), name);
    /* Loaded once: a drop may take it out at any time. */
    const mrl_build *build = index == NULL ? NULL : mrl_root_build(root, index->number);
    if (root == NULL || root->is_dropped)
        err = MERLE_GONE;
    else if (index == NULL)
        err = MERLE_NOT_FOUND;
    else if (index->state == MERLE_INDEX_FAILED && build != NULL)
        err = list(build, out_keys, out_offenders, out_max, out_count);
    mrl_member_leave(member, &token);
    return err;
}
