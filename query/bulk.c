/* query/bulk.c - patching or removing all that a query gives.
 *
 * Keys first, then commits. Where the query leaves nothing out by offset or limit, keys are found
 * in the order of slots, which a document keeps as long as it lives: so when there are too many to
 * be noted at once, the next section goes on behind the last slot, and no document that was changed
 * is met again, wherever the change has moved it in an index.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/buffer.h"
#include "query/query_private.h"

enum { COMMIT_DEFAULT = 256, TRIES_MAX = 100 };

typedef struct bulk {
    merle_collection *collection;
    merle_query query;
    const merle_op *ops; /* NULL: remove */
    size_t op_count;
    uint32_t commit_max;
    uint64_t memory_max;
    int is_cut;        /* offset or limit leave documents out: one instant */
    merle_buffer keys; /* each with its size before it, two bytes */
    merle_buffer after;
    int has_more;      /* behind `after` */
    uint64_t root_seq; /* of the root that was begun with */
    merle_bulk done;
} bulk;

/* ---- keys ---- */

static merle_err note_key(bulk *b, merle_bytes key) {
    const uint16_t size = (uint16_t)key.size;
    merle_err err = mrl_buffer_append(&b->keys, &size, sizeof size);
    return err != MERLE_OK ? err : mrl_buffer_append(&b->keys, key.data, key.size);
}

/* The key at *at, which is moved behind it. */
static merle_bytes next_key(const bulk *b, size_t *at) {
    uint16_t size;
    memcpy(&size, b->keys.data + *at, sizeof size);
    merle_bytes key = merle_bytes_of(b->keys.data + *at + sizeof size, size);
    *at += sizeof size + size;
    return key;
}

static int is_full(const bulk *b) {
    return b->keys.size >= b->memory_max || b->keys.size >= MRL_BUFFER_SIZE_MAX / 2;
}

/* Notes keys until there are no more, or too many. */
static merle_err note_keys(bulk *b, merle_rows *rows) {
    const mrl_version *versions[MRL_ROWS_BATCH];
    size_t some;
    merle_err err = MERLE_OK;
    while (!is_full(b)) {
        err = mrl_rows_versions(rows, versions, MRL_ROWS_BATCH, &some);
        for (size_t i = 0; err == MERLE_OK && i < some; i++) {
            b->done.matched++;
            err = note_key(b, mrl_version_key(versions[i]));
        }
        if (err == MERLE_NOT_FOUND) return MERLE_OK;
        if (err != MERLE_OK) return err;
    }
    b->has_more = 1;
    if (!b->is_cut) return merle_rows_position(rows, &b->after);
    return mrl_query_fail(rows, MERLE_TOO_BIG,
                          "the keys of what shall be changed take more than the %llu bytes that "
                          "the query may take",
                          (unsigned long long)b->memory_max);
}

static merle_err find_keys(bulk *b, merle_section *section) {
    const mrl_wishes wishes = {.by_slot = !b->is_cut};
    merle_query query = b->query;
    merle_rows *rows;
    b->keys.size = 0;
    b->has_more = 0;
    if (!b->is_cut) query.order = NULL;
    query.fields = NULL;
    query.after = merle_bytes_of(NULL, 0);
    if (b->done.matched > 0) query.after = merle_bytes_of(b->after.data, b->after.size);
    merle_err err = mrl_rows_open(section, b->collection, &query, &wishes, &rows);
    if (err != MERLE_OK) return err;
    err = note_keys(b, rows);
    merle_rows_close(rows);
    return err;
}

/* A collection that was truncated meanwhile has nothing left that was there all along. */
static merle_err find_keys_now(bulk *b) {
    merle_section section;
    mrl_view view;
    merle_err err = merle_section_begin(b->collection->store->db, &section);
    if (err != MERLE_OK) return err;
    err = mrl_view_open(&section, b->collection, &view);
    if (err == MERLE_OK) {
        uint64_t root_seq = atomic_load_explicit(&view.root->seq, memory_order_relaxed);
        if (b->done.matched == 0) b->root_seq = root_seq;
        b->keys.size = 0;
        b->has_more = 0;
        if (root_seq == b->root_seq) err = find_keys(b, &section);
    }
    merle_err ended = merle_section_end(&section);
    return err != MERLE_OK ? err : ended;
}

/* ---- commits ---- */

static merle_err change(const bulk *b, merle_commit *commit, merle_bytes key) {
    if (b->ops == NULL) return merle_remove(commit, b->collection, key);
    return merle_patch_ops(commit, b->collection, key, b->ops, b->op_count);
}

/* Changes the document if it still meets the condition. */
static merle_err change_if(const bulk *b, merle_commit *commit, merle_bytes key,
                           uint64_t *inout_changed) {
    merle_doc doc;
    int matches = 1;
    merle_err err = merle_commit_get(commit, b->collection, key, &doc);
    if (err == MERLE_NOT_FOUND) return MERLE_OK;
    if (err == MERLE_OK && b->query.where != NULL)
        err = merle_condition_match(b->query.where, doc, b->query.values, b->query.value_count,
                                    &matches);
    if (err != MERLE_OK || !matches) return err;
    err = change(b, commit, key);
    if (err == MERLE_OK) ++*inout_changed;
    return err;
}

/* One commit of at most `max` keys from *at on; both are left behind what it has done. */
static merle_err commit_some(bulk *b, size_t *at, uint32_t max) {
    merle_commit *commit;
    uint64_t changed = 0, seq = 0;
    uint32_t count = 0;
    size_t end = *at;
    merle_err err = merle_begin(b->collection->store->db, &commit);
    if (err != MERLE_OK) return err;
    merle_commit_patience(commit, MERLE_WAIT);
    for (; err == MERLE_OK && count < max && end < b->keys.size; count++)
        err = change_if(b, commit, next_key(b, &end), &changed);
    if (err != MERLE_OK || changed == 0)
        merle_cancel(commit);
    else
        err = merle_end(commit, &seq);
    if (err != MERLE_OK) return err;
    b->done.changed += changed;
    b->done.skipped += count - changed;
    b->done.commits += changed > 0;
    if (changed > 0) b->done.last_seq = seq;
    *at = end;
    return MERLE_OK;
}

/* Others may write the same documents: fewer of them at a time meet fewer of the others. */
static merle_err commit_all(bulk *b) {
    uint32_t max = b->commit_max, tries = 0;
    for (size_t at = 0; at < b->keys.size;) {
        merle_err err = commit_some(b, &at, max);
        if (err == MERLE_CONFLICT && ++tries < TRIES_MAX) {
            if (max > 1) max /= 2;
            continue;
        }
        if (err != MERLE_OK) return err;
        tries = 0;
        if (max < b->commit_max) max *= 2;
        if (max > b->commit_max) max = b->commit_max;
    }
    return MERLE_OK;
}

/* ---- both together ---- */

static merle_err bulk_init(bulk *b, merle_collection *collection, const merle_query *query,
                           const merle_op *ops, size_t op_count) {
    memset(b, 0, sizeof *b);
    if (collection == NULL || query == NULL) return MERLE_INVALID;
    memcpy(&b->query, query,
           query->size == 0 || query->size > sizeof *query ? sizeof *query : query->size);
    /* What is put into it from here on counts, whatever version the caller is of. */
    b->query.size = sizeof b->query;
    b->collection = collection;
    b->ops = ops;
    b->op_count = op_count;
    b->is_cut = b->query.offset != 0 || b->query.limit != 0;
    b->memory_max =
        b->query.memory_max != 0 ? b->query.memory_max : (uint64_t)MERLE_QUERY_MEMORY_DEFAULT;
    return MERLE_OK;
}

static void bulk_fini(bulk *b) {
    merle_buffer_free(&b->keys);
    merle_buffer_free(&b->after);
}

static merle_err bulk_run(merle_collection *collection, const merle_query *query,
                          const merle_op *ops, size_t op_count, uint32_t commit_max,
                          merle_bulk *out_bulk) {
    bulk b;
    merle_err err = bulk_init(&b, collection, query, ops, op_count);
    b.commit_max = commit_max == 0 ? COMMIT_DEFAULT : commit_max;
    do {
        if (err == MERLE_OK) err = find_keys_now(&b);
        if (err == MERLE_OK) err = commit_all(&b);
    } while (err == MERLE_OK && b.has_more);
    if (out_bulk != NULL) {
        size_t kept = out_bulk->size;
        size_t size = kept == 0 || kept > sizeof b.done ? sizeof b.done : kept;
        memcpy(out_bulk, &b.done, size);
        out_bulk->size = kept;
    }
    bulk_fini(&b);
    return err;
}

merle_err merle_update_where(merle_collection *collection, const merle_query *query,
                             const merle_op *ops, size_t op_count, uint32_t commit_max,
                             merle_bulk *out_bulk) {
    if (ops == NULL || op_count == 0) collection = NULL;
    return bulk_run(collection, query, ops, op_count, commit_max, out_bulk);
}

merle_err merle_remove_where(merle_collection *collection, const merle_query *query,
                             uint32_t commit_max, merle_bulk *out_bulk) {
    return bulk_run(collection, query, NULL, 0, commit_max, out_bulk);
}

static merle_err bulk_inside(merle_commit *commit, merle_collection *collection,
                             const merle_query *query, const merle_op *ops, size_t op_count,
                             uint64_t *out_count) {
    bulk b;
    uint64_t changed = 0;
    merle_err err;
    if (out_count != NULL) *out_count = 0;
    if (mrl_commit_own(commit, &err) == NULL) return err;
    err = bulk_init(&b, collection, query, ops, op_count);
    /* A commit is one instant, so there is no going on later. */
    b.is_cut = 1;
    if (err == MERLE_OK) err = find_keys(&b, merle_commit_section(commit));
    for (size_t at = 0; err == MERLE_OK && at < b.keys.size;)
        err = change_if(&b, commit, next_key(&b, &at), &changed);
    if (out_count != NULL) *out_count = changed;
    bulk_fini(&b);
    return err;
}

merle_err merle_commit_update_where(merle_commit *commit, merle_collection *collection,
                                    const merle_query *query, const merle_op *ops, size_t op_count,
                                    uint64_t *out_count) {
    if (ops == NULL || op_count == 0) collection = NULL;
    return bulk_inside(commit, collection, query, ops, op_count, out_count);
}

merle_err merle_commit_remove_where(merle_commit *commit, merle_collection *collection,
                                    const merle_query *query, uint64_t *out_count) {
    return bulk_inside(commit, collection, query, NULL, 0, out_count);
}
