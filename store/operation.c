/* store/operation.c - a commit from begin to end or cancel: collecting what it shall do.
 *
 * Nothing here is visible to anybody else. Arguments are copied: documents into versions at once,
 * keys and patches into the commit's arena.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/report.h"
#include "base/self.h"
#include "document/check.h"
#include "document/patch.h"
#include "store/commit.h"
#include "store/expiry.h"

#define COMMIT_CHECK 0x6d65726c65636f6du

enum { TABLE_FROM = 8 };
_Static_assert(offsetof(struct merle_commit, section) == 0, "the section is given out by address");

/* ---- opening and closing ---- */

static void link_open(merle_commit *commit) {
    commit->previous = NULL;
    commit->next = commit->member->commits;
    if (commit->next != NULL) commit->next->previous = commit;
    commit->member->commits = commit;
}

static void unlink_open(merle_commit *commit) {
    if (commit->previous != NULL)
        commit->previous->next = commit->next;
    else
        commit->member->commits = commit->next;
    if (commit->next != NULL) commit->next->previous = commit->previous;
}

static merle_commit *take_spare(mrl_member *member) {
    merle_commit *commit = member->spare_commit;
    if (commit != NULL) {
        member->spare_commit = NULL;
        return commit;
    }
    commit = mrl_alloc_urgent(member, MRL_FOR_OTHER, sizeof *commit);
    if (commit != NULL) memset(commit, 0, sizeof *commit);
    return commit;
}

merle_err mrl_commit_open(mrl_store *store, mrl_member *member, merle_commit **out_commit) {
    *out_commit = NULL;
    merle_commit *commit = take_spare(member);
    if (commit == NULL) return MERLE_NO_MEMORY;
    commit->store = store;
    commit->member = member;
    commit->check = COMMIT_CHECK;
    commit->parts = NULL;
    commit->touches = commit->touches_last = NULL;
    commit->reads = NULL;
    commit->discarded = NULL;
    commit->table = NULL;
    commit->table_size = commit->touch_count = 0;
    commit->operation_count = commit->action_count = 0;
    commit->patience = store->patience;
    commit->origin_size = 0;
    commit->only_removes = 1;
    commit->record_origin = MERLE_ORIGIN_APPLICATION;
    commit->evictions = NULL;
    commit->durability = store->durability;
    commit->entry = NULL;
    commit->credit = commit->loose = 0;
    mrl_section_open(store, member, &commit->section);
    commit->judge_ns = commit->section.now_ns;
    link_open(commit);
    mrl_count(member, MRL_N_COMMITS_OPEN, 1);
    *out_commit = commit;
    return MERLE_OK;
}

static void free_touch(merle_commit *commit, mrl_touch *touch) {
    for (mrl_action *action = touch->first; action != NULL; action = action->next)
        if (action->version != NULL && action->version != touch->version)
            mrl_version_free(commit->member, action->version);
    if (touch->version != NULL) mrl_version_free(commit->member, touch->version);
}

static void commit_destroy(merle_commit *commit, mrl_member *member) {
    mrl_arena_fini(&commit->arena, member);
    merle_buffer_free(&commit->work[0]);
    merle_buffer_free(&commit->work[1]);
    merle_buffer_free(&commit->extracted);
    merle_buffer_free(&commit->effect);
    merle_buffer_free(&commit->effects);
    merle_builder_destroy(commit->builder);
    mrl_free(member, MRL_FOR_OTHER, commit, sizeof *commit);
}

void mrl_commit_close(merle_commit *commit) {
    mrl_member *member = commit->member;
    for (mrl_touch *touch = commit->touches; touch != NULL; touch = touch->next)
        free_touch(commit, touch);
    for (mrl_version *v = commit->discarded, *before; v != NULL; v = before) {
        before = v->before;
        mrl_version_free(member, v);
    }
    if (commit->section.check != 0) mrl_section_close(&commit->section);
    unlink_open(commit);
    mrl_count(member, MRL_N_COMMITS_OPEN, (uint64_t)-1);
    commit->check = 0;
    mrl_arena_reset(&commit->arena, member);
    if (member->spare_commit == NULL)
        member->spare_commit = commit;
    else
        commit_destroy(commit, member);
}

void mrl_commit_free_spare(mrl_member *member) {
    merle_commit *commit = member->spare_commit;
    member->spare_commit = NULL;
    if (commit != NULL) commit_destroy(commit, member);
}

merle_commit *mrl_commit_own(merle_commit *commit, merle_err *out_err) {
    *out_err = MERLE_INVALID;
    if (commit == NULL || commit->check != COMMIT_CHECK) return NULL;
    *out_err = MERLE_FORKED;
    if (mrl_domain_is_forked(commit->store->domain)) return NULL;
    *out_err = MERLE_WRONG_THREAD;
    mrl_self *self = mrl_self_get();
    if (__builtin_expect(self->member == commit->member, 1)) return commit;
    return mrl_member_join(commit->store->domain) == commit->member ? commit : NULL;
}

merle_err merle_begin(merle_db *db, merle_commit **out_commit) {
    *out_commit = NULL;
    if (db == NULL) return MERLE_INVALID;
    mrl_store *store = mrl_db_store(db);
    if (mrl_domain_is_forked(store->domain)) return MERLE_FORKED;
    mrl_member *member = mrl_member_join(store->domain);
    if (member == NULL) return MERLE_NO_MEMORY;
    /* A commit is a section: what it holds back cannot be reclaimed once it has begun. */
    if (member->sections_open == 0) mrl_reclaim_for_room(store, member);
    return mrl_commit_open(store, member, out_commit);
}

void merle_cancel(merle_commit *commit) {
    merle_err err;
    commit = mrl_commit_own(commit, &err);
    if (commit != NULL) mrl_commit_close(commit);
}

merle_err merle_commit_origin(merle_commit *commit, merle_bytes bytes) {
    merle_err err;
    if ((commit = mrl_commit_own(commit, &err)) == NULL) return err;
    if (bytes.size > MERLE_ORIGIN_SIZE_MAX) return MERLE_TOO_BIG;
    memcpy(commit->origin, bytes.data, bytes.size);
    commit->origin_size = (uint32_t)bytes.size;
    return MERLE_OK;
}

void merle_commit_patience(merle_commit *commit, merle_patience patience) {
    merle_err err;
    if ((commit = mrl_commit_own(commit, &err)) == NULL) return;
    commit->patience =
        (uint32_t)(patience == MERLE_PATIENCE_DEFAULT ? commit->store->patience : patience);
}

void mrl_commit_want_durable(merle_commit *commit) {
    commit->durability = MERLE_SYNC;
}

merle_section *merle_commit_section(merle_commit *commit) {
    return (merle_section *)(void *)&commit->section;
}

/* ---- parts and touches ---- */

merle_err mrl_commit_copy(merle_commit *commit, merle_bytes bytes, merle_bytes *out_copy) {
    uint8_t *copy = mrl_arena_take(&commit->arena, commit->member, bytes.size);
    if (copy == NULL) return MERLE_NO_MEMORY;
    memcpy(copy, bytes.data, bytes.size);
    *out_copy = merle_bytes_of(copy, bytes.size);
    return MERLE_OK;
}

merle_err mrl_commit_part(merle_commit *commit, merle_collection *collection,
                          mrl_portion **out_part) {
    *out_part = NULL;
    if (collection == NULL || collection->store != commit->store) return MERLE_INVALID;
    mrl_portion **at = &commit->parts;
    while (*at != NULL && (*at)->collection->id < collection->id) at = &(*at)->next;
    if (*at != NULL && (*at)->collection == collection) {
        *out_part = *at;
        return MERLE_OK;
    }
    mrl_root *root = mrl_collection_writable(collection, commit->store->published);
    if (root == NULL || root->is_dropped) return MERLE_GONE;
    mrl_portion *part = mrl_arena_take(&commit->arena, commit->member, sizeof *part);
    if (part == NULL) return MERLE_NO_MEMORY;
    /* value_shards are cleared when the shards are gathered. */
    part->next = *at;
    part->collection = collection;
    part->root = root;
    part->schema = mrl_root_writable_schema(root, commit->store->published);
    mrl_root *seen = mrl_collection_root(collection, commit->section.seq);
    part->seen = seen == NULL ? NULL : mrl_root_schema(seen, commit->section.seq);
    if (part->seen == part->schema) part->seen = NULL;
    part->touch_count = 0;
    part->has_reads = 0;
    part->read_root = NULL;
    memset(&part->own, 0, sizeof part->own);
    *at = part;
    *out_part = part;
    return MERLE_OK;
}

static mrl_touch **table_place(mrl_touch **table, uint32_t size, const mrl_portion *part,
                               uint64_t hash, merle_bytes key) {
    uint32_t at = (uint32_t)(hash ^ part->collection->id) & (size - 1);
    for (;; at = (at + 1) & (size - 1)) {
        mrl_touch *touch = table[at];
        if (touch == NULL) return &table[at];
        if (touch->hash == hash && touch->part == part && touch->key.size == key.size &&
            memcmp(touch->key.data, key.data, key.size) == 0)
            return &table[at];
    }
}

/* Makes the table at least twice as large as the touches. */
static merle_err grow_table(merle_commit *commit) {
    if (commit->touch_count < TABLE_FROM || commit->touch_count * 2 < commit->table_size)
        return MERLE_OK;
    uint32_t size = commit->table_size == 0 ? 8 * TABLE_FROM : 4 * commit->table_size;
    mrl_touch **table = mrl_arena_take(&commit->arena, commit->member, size * sizeof *table);
    if (table == NULL) return MERLE_NO_MEMORY;
    memset(table, 0, size * sizeof *table);
    for (mrl_touch *touch = commit->touches; touch != NULL; touch = touch->next)
        *table_place(table, size, touch->part, touch->hash, touch->key) = touch;
    commit->table = table;
    commit->table_size = size;
    return MERLE_OK;
}

mrl_touch *mrl_commit_find_touch(const merle_commit *commit, const mrl_portion *part, uint64_t hash,
                                 merle_bytes key) {
    if (commit->table != NULL)
        return *table_place(commit->table, commit->table_size, part, hash, key);
    for (mrl_touch *touch = commit->touches; touch != NULL; touch = touch->next)
        if (touch->hash == hash && touch->part == part && touch->key.size == key.size &&
            memcmp(touch->key.data, key.data, key.size) == 0)
            return touch;
    return NULL;
}

static merle_err add_touch(merle_commit *commit, mrl_portion *part, uint64_t hash, merle_bytes key,
                           mrl_touch **out_touch) {
    merle_err err = grow_table(commit);
    if (err != MERLE_OK) return err;
    mrl_touch *touch = mrl_arena_take(&commit->arena, commit->member, sizeof *touch);
    if (touch == NULL) return MERLE_NO_MEMORY;
    memset(touch, 0, sizeof *touch);
    if ((err = mrl_commit_copy(commit, key, &touch->key)) != MERLE_OK) return err;
    touch->part = part;
    touch->hash = hash;
    touch->slot = MRL_SLOT_NONE;
    touch->number = commit->touch_count;
    if (commit->touches_last != NULL)
        commit->touches_last->next = touch;
    else
        commit->touches = touch;
    commit->touches_last = touch;
    commit->touch_count++;
    part->touch_count++;
    /* From now on its section has more to show than its instant. */
    commit->section.commit = commit;
    if (commit->table != NULL)
        *table_place(commit->table, commit->table_size, part, hash, touch->key) = touch;
    *out_touch = touch;
    return MERLE_OK;
}

/* ---- actions ---- */

typedef struct wanted {
    merle_commit *commit;
    merle_collection *collection;
    merle_bytes key;
    mrl_portion *part;
    uint64_t hash;
} wanted;

static merle_err fail(const wanted *w, merle_err err, const char *text) {
    mrl_store_fail(w->commit->member, err, w->collection, w->key, "%s", text);
    mrl_report_operation(w->commit->member->report, w->commit->operation_count);
    return err;
}

static merle_err want(wanted *w, merle_commit *commit, merle_collection *collection,
                      merle_bytes key) {
    merle_err err;
    memset(w, 0, sizeof *w);
    if ((w->commit = mrl_commit_own(commit, &err)) == NULL) return err;
    if (collection == NULL) return MERLE_INVALID;
    w->collection = collection;
    w->key = key;
    if (key.data == NULL || key.size == 0 || key.size > MERLE_KEY_SIZE_MAX)
        return fail(w, MERLE_INVALID, "a key has 1 to 1024 bytes");
    err = mrl_commit_part(commit, collection, &w->part);
    if (err != MERLE_OK) return fail(w, err, merle_err_text(err));
    w->hash = mrl_root_hash(w->part->root, key);
    /* The first of the steps that bring nearer, while there is other work, what the end will
     * touch. */
    mrl_root_prefetch(w->part->root, w->hash);
    return MERLE_OK;
}

/* The second: the version that will be superseded, and its first fields. NULL: most likely the key
 * is new. */
static const mrl_version *approach_version(const wanted *w) {
    const mrl_version *v = mrl_root_peek(w->part->root, w->hash);
    if (v == NULL) return NULL;
    __builtin_prefetch((const uint8_t *)v + 64);
    __builtin_prefetch((const uint8_t *)v + 128);
    return v;
}

/* The third, for a new document: the places of its unique values. Their hashes are kept: they will
 * be wanted again. NULL: no memory, and no harm. */
static uint64_t *approach_values(const wanted *w, const mrl_version *made) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    const mrl_root *root = w->part->root;
    const mrl_schema *schema = w->part->schema;
    uint32_t count = schema->index_count;
    if (count == 0) return NULL;
    uint64_t *hashes = mrl_arena_take(&w->commit->arena, w->commit->member, count * sizeof *hashes);
    for (uint32_t i = 0; hashes != NULL && i < count; i++) {
        hashes[i] = 0;
        if (!mrl_index_is_unique(&schema->indexes[i])) continue;
        size_t size = mrl_version_encode_unique(made, &schema->indexes[i], encoded);
        hashes[i] = size == 0 ? 0 : mrl_unique_hash(root->indexes[i].unique, encoded, size);
        if (hashes[i] == 0) continue;
        mrl_map_prefetch(&mrl_unique_shard_of(root->indexes[i].unique, hashes[i])->map, hashes[i]);
    }
    return hashes;
}

/* Adds an action to the key's touch, which is made if need be. */
static merle_err add_action(const wanted *w, const mrl_action *model) {
    merle_commit *commit = w->commit;
    mrl_action *action = mrl_arena_take(&commit->arena, commit->member, sizeof *action);
    if (action == NULL) return fail(w, MERLE_NO_MEMORY, "no memory for the operation");
    *action = *model;
    action->next = NULL;
    action->operation = commit->operation_count;
    mrl_touch *touch = mrl_commit_find_touch(commit, w->part, w->hash, w->key);
    if (touch == NULL) {
        merle_err err = add_touch(commit, w->part, w->hash, w->key, &touch);
        if (err != MERLE_OK) return fail(w, err, "no memory for the operation");
    }
    if (touch->last != NULL)
        touch->last->next = action;
    else
        touch->first = action;
    touch->last = action;
    if (model->kind == MRL_ACTION_PATCH || model->kind == MRL_ACTION_MERGE ||
        model->kind == MRL_ACTION_EXPIRE)
        touch->needs_base = 1;
    if (model->kind != MRL_ACTION_REMOVE && model->kind != MRL_ACTION_END) commit->only_removes = 0;
    touch->is_composed = 0;
    touch->changed_at = ++commit->action_count;
    return MERLE_OK;
}

/* ttl_ns 0: when its collection says, or never. */
static merle_err put(merle_commit *commit, merle_collection *collection, merle_bytes key,
                     merle_bytes doc, mrl_action_kind need, int64_t ttl_ns) {
    wanted w;
    uint32_t offsets[MRL_PATH_COUNT_MAX];
    merle_err err = want(&w, commit, collection, key);
    if (err != MERLE_OK) return err;
    merle_report *report = commit->member->report;
    if ((err = mrl_check_document(doc.data, doc.size, report)) != MERLE_OK ||
        (err = mrl_commit_check_doc(commit, w.part, key, doc, offsets)) != MERLE_OK) {
        mrl_report_collection(report, collection->name);
        mrl_report_key(report, key);
        mrl_report_operation(report, commit->operation_count);
        return err;
    }
    const mrl_version *old = approach_version(&w);
    mrl_action action = {.kind = MRL_ACTION_PUT};
    int64_t expires_ns = ttl_ns == 0 ? mrl_schema_moment(w.part->schema, doc)
                                     : mrl_expiry_after(mrl_commit_now(commit), ttl_ns);
    if (expires_ns != 0) (void)mrl_commit_now(commit);
    action.version = mrl_version_create(commit->member, w.part->schema, key, doc, offsets,
                                        &commit->extracted, expires_ns);
    if (action.version == NULL) return fail(&w, MERLE_NO_MEMORY, "no memory for the document");
    if (old == NULL) action.value_hashes = approach_values(&w, action.version);
    if (need != MRL_ACTION_PUT) {
        mrl_action condition = {.kind = need};
        if ((err = add_action(&w, &condition)) != MERLE_OK) goto fail;
    }
    if ((err = add_action(&w, &action)) != MERLE_OK) goto fail;
    commit->operation_count++;
    return MERLE_OK;
fail:
    mrl_version_free(commit->member, action.version);
    return err;
}

merle_err merle_put(merle_commit *commit, merle_collection *collection, merle_bytes key,
                    merle_bytes doc) {
    return put(commit, collection, key, doc, MRL_ACTION_PUT, 0);
}

merle_err merle_insert(merle_commit *commit, merle_collection *collection, merle_bytes key,
                       merle_bytes doc) {
    return put(commit, collection, key, doc, MRL_ACTION_NEED_ABSENT, 0);
}

merle_err merle_replace(merle_commit *commit, merle_collection *collection, merle_bytes key,
                        merle_bytes doc) {
    return put(commit, collection, key, doc, MRL_ACTION_NEED_PRESENT, 0);
}

merle_err merle_put_for(merle_commit *commit, merle_collection *collection, merle_bytes key,
                        merle_bytes doc, int64_t ttl_ns) {
    if (ttl_ns <= 0) return MERLE_INVALID;
    return put(commit, collection, key, doc, MRL_ACTION_PUT, ttl_ns);
}

merle_err merle_insert_for(merle_commit *commit, merle_collection *collection, merle_bytes key,
                           merle_bytes doc, int64_t ttl_ns) {
    if (ttl_ns <= 0) return MERLE_INVALID;
    return put(commit, collection, key, doc, MRL_ACTION_NEED_ABSENT, ttl_ns);
}

static merle_err add_simple(merle_commit *commit, merle_collection *collection, merle_bytes key,
                            const mrl_action *action) {
    wanted w;
    merle_err err = want(&w, commit, collection, key);
    if (err != MERLE_OK) return err;
    if ((err = add_action(&w, action)) != MERLE_OK) return err;
    commit->operation_count++;
    return MERLE_OK;
}

merle_err merle_remove(merle_commit *commit, merle_collection *collection, merle_bytes key) {
    mrl_action action = {.kind = MRL_ACTION_REMOVE};
    return add_simple(commit, collection, key, &action);
}

merle_err merle_expire(merle_commit *commit, merle_collection *collection, merle_bytes key,
                       int64_t expires_ns) {
    mrl_action action = {.kind = MRL_ACTION_EXPIRE, .expires_ns = expires_ns};
    merle_err err;
    if ((commit = mrl_commit_own(commit, &err)) == NULL) return err;
    if (expires_ns < 0) return MERLE_INVALID;
    (void)mrl_commit_now(commit);
    return add_simple(commit, collection, key, &action);
}

merle_err mrl_commit_end_due(merle_commit *commit, merle_collection *collection, merle_bytes key) {
    mrl_action action = {.kind = MRL_ACTION_END};
    return add_simple(commit, collection, key, &action);
}

merle_err merle_merge(merle_commit *commit, merle_collection *collection, merle_bytes key,
                      merle_merge_fn *fn, void *context) {
    mrl_action action = {.kind = MRL_ACTION_MERGE, .merge = fn, .context = context};
    if (fn == NULL) return MERLE_INVALID;
    return add_simple(commit, collection, key, &action);
}

merle_err merle_expect(merle_commit *commit, merle_collection *collection, merle_bytes key,
                       uint64_t seq) {
    mrl_action action = {.kind = MRL_ACTION_EXPECT, .seq = seq};
    return add_simple(commit, collection, key, &action);
}

merle_err merle_patch_ops(merle_commit *commit, merle_collection *collection, merle_bytes key,
                          const merle_op *ops, size_t op_count) {
    wanted w;
    merle_err err = want(&w, commit, collection, key);
    if (err != MERLE_OK) return err;
    if (ops == NULL || op_count == 0) return fail(&w, MERLE_INVALID, "a patch has operations");
    if ((err = mrl_ops_check(ops, op_count, commit->member->report)) != MERLE_OK) {
        mrl_report_collection(commit->member->report, collection->name);
        mrl_report_key(commit->member->report, key);
        mrl_report_operation(commit->member->report, commit->operation_count);
        return err;
    }
    void *memory = mrl_arena_take(&commit->arena, commit->member, mrl_ops_size(ops, op_count));
    if (memory == NULL) return fail(&w, MERLE_NO_MEMORY, "no memory for the patch");
    mrl_action action = {.kind = MRL_ACTION_PATCH, .op_count = op_count};
    (void)approach_version(&w);
    action.ops = mrl_ops_copy_into(memory, ops, op_count);
    if ((err = add_action(&w, &action)) != MERLE_OK) return err;
    commit->operation_count++;
    return MERLE_OK;
}
