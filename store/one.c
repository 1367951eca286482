/* store/one.c - calls that are one commit, and running a function in a commit until it holds.
 *
 * A call that gives a document gives the one of its own commit: merle_end shows it under the locks
 * under which it orders the commit, so nobody comes in between, and however many threads hammer one
 * key, a patch, a swap or a count never ends in a conflict.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/buffer.h"
#include "store/commit.h"

enum { TRIES_DEFAULT = 100 };

static merle_err open_commit(merle_collection *collection, merle_commit **out_commit) {
    *out_commit = NULL;
    if (collection == NULL) return MERLE_INVALID;
    return merle_begin(collection->store->db, out_commit);
}

/* Ends the commit if its operation was taken, else cancels it and gives that error. */
static merle_err close_commit(merle_commit *commit, merle_err err, uint64_t *out_seq) {
    if (err == MERLE_OK) return merle_end(commit, out_seq);
    merle_cancel(commit);
    return err;
}

/* ---- writing ---- */

typedef merle_err write_fn(merle_commit *commit, merle_collection *collection, merle_bytes key,
                           merle_bytes doc);

static merle_err write_one(write_fn *write, merle_collection *collection, merle_bytes key,
                           merle_bytes doc, uint64_t *out_seq) {
    merle_commit *commit;
    if (out_seq != NULL) *out_seq = 0;
    merle_err err = open_commit(collection, &commit);
    if (err != MERLE_OK) return err;
    return close_commit(commit, write(commit, collection, key, doc), out_seq);
}

merle_err merle_one_put(merle_collection *collection, merle_bytes key, merle_bytes doc,
                        uint64_t *out_seq) {
    return write_one(merle_put, collection, key, doc, out_seq);
}

merle_err merle_one_insert(merle_collection *collection, merle_bytes key, merle_bytes doc,
                           uint64_t *out_seq) {
    return write_one(merle_insert, collection, key, doc, out_seq);
}

merle_err merle_one_replace(merle_collection *collection, merle_bytes key, merle_bytes doc,
                            uint64_t *out_seq) {
    return write_one(merle_replace, collection, key, doc, out_seq);
}

/* The writes that take a moment, or a time. */
typedef merle_err write_for_fn(merle_commit *commit, merle_collection *collection, merle_bytes key,
                               merle_bytes doc, int64_t ttl_ns);

static merle_err write_one_for(write_for_fn *write, merle_collection *collection, merle_bytes key,
                               merle_bytes doc, int64_t ttl_ns, uint64_t *out_seq) {
    merle_commit *commit;
    if (out_seq != NULL) *out_seq = 0;
    merle_err err = open_commit(collection, &commit);
    if (err != MERLE_OK) return err;
    return close_commit(commit, write(commit, collection, key, doc, ttl_ns), out_seq);
}

merle_err merle_one_put_for(merle_collection *collection, merle_bytes key, merle_bytes doc,
                            int64_t ttl_ns, uint64_t *out_seq) {
    return write_one_for(merle_put_for, collection, key, doc, ttl_ns, out_seq);
}

merle_err merle_one_insert_for(merle_collection *collection, merle_bytes key, merle_bytes doc,
                               int64_t ttl_ns, uint64_t *out_seq) {
    return write_one_for(merle_insert_for, collection, key, doc, ttl_ns, out_seq);
}

static merle_err expire(merle_commit *commit, merle_collection *collection, merle_bytes key,
                        merle_bytes doc, int64_t expires_ns) {
    (void)doc;
    return merle_expire(commit, collection, key, expires_ns);
}

merle_err merle_one_expire(merle_collection *collection, merle_bytes key, int64_t expires_ns,
                           uint64_t *out_seq) {
    return write_one_for(expire, collection, key, merle_bytes_of(NULL, 0), expires_ns, out_seq);
}

merle_err merle_one_remove(merle_collection *collection, merle_bytes key, uint64_t *out_seq) {
    merle_commit *commit;
    if (out_seq != NULL) *out_seq = 0;
    merle_err err = open_commit(collection, &commit);
    if (err != MERLE_OK) return err;
    return close_commit(commit, merle_remove(commit, collection, key), out_seq);
}

/* ---- reading ---- */

merle_err merle_one_get(merle_collection *collection, merle_bytes key, merle_buffer *out_doc,
                        uint64_t *out_seq) {
    merle_section section;
    merle_doc doc;
    if (out_doc != NULL) out_doc->size = 0;
    if (out_seq != NULL) *out_seq = 0;
    if (collection == NULL) return MERLE_INVALID;
    merle_err err = merle_section_begin(collection->store->db, &section);
    if (err != MERLE_OK) return err;
    err = merle_get(&section, collection, key, &doc);
    if (err == MERLE_OK && out_doc != NULL) err = mrl_buffer_append(out_doc, doc.data, doc.size);
    if (err == MERLE_OK && out_seq != NULL) *out_seq = doc.seq;
    merle_err ended = merle_section_end(&section);
    return err != MERLE_OK ? err : ended;
}

/* ---- writing, and giving a document ---- */

/* Where the document that is handed out goes; the report is the calling thread's. */
typedef struct copying {
    mrl_member *member;
    merle_collection *collection;
    merle_buffer *out; /* empty; may be NULL */
} copying;

static merle_err no_memory(mrl_member *member, merle_collection *collection, merle_bytes key) {
    return mrl_store_fail(member, MERLE_NO_MEMORY, collection, key,
                          "no memory for what the call shall give");
}

/* Appends the version's document. */
static merle_err copy_out(const copying *c, const mrl_version *v) {
    if (c->out == NULL || v == NULL) return MERLE_OK;
    if (mrl_buffer_append(c->out, mrl_version_doc(v), v->doc_size) == MERLE_OK) return MERLE_OK;
    return no_memory(c->member, c->collection, mrl_version_key(v));
}

static merle_err accept_copy_after(void *context, const mrl_version *before,
                                   const mrl_version *after) {
    (void)before;
    return copy_out(context, after);
}

static merle_err accept_copy_before(void *context, const mrl_version *before,
                                    const mrl_version *after) {
    (void)after;
    return copy_out(context, before);
}

/* As close_commit; accept sees the result first. */
static merle_err close_accepted(merle_commit *commit, merle_err err, mrl_accept_fn *accept,
                                void *context, uint64_t *out_seq) {
    commit->accept = err == MERLE_OK ? accept : NULL;
    commit->accept_context = context;
    return close_commit(commit, err, out_seq);
}

merle_err merle_one_patch_ops(merle_collection *collection, merle_bytes key, const merle_op *ops,
                              size_t op_count, merle_buffer *out_doc, uint64_t *out_seq) {
    merle_commit *commit;
    if (out_doc != NULL) out_doc->size = 0;
    if (out_seq != NULL) *out_seq = 0;
    merle_err err = open_commit(collection, &commit);
    if (err != MERLE_OK) return err;
    copying c = {commit->member, collection, out_doc};
    err = merle_patch_ops(commit, collection, key, ops, op_count);
    err = close_accepted(commit, err, accept_copy_after, &c, out_seq);
    if (err != MERLE_OK && out_doc != NULL) out_doc->size = 0;
    return err;
}

merle_err merle_one_swap(merle_collection *collection, merle_bytes key, merle_bytes doc,
                         merle_buffer *out_old, uint64_t *out_seq) {
    merle_commit *commit;
    if (out_old != NULL) out_old->size = 0;
    if (out_seq != NULL) *out_seq = 0;
    merle_err err = open_commit(collection, &commit);
    if (err != MERLE_OK) return err;
    copying c = {commit->member, collection, out_old};
    err = merle_put(commit, collection, key, doc);
    err = close_accepted(commit, err, accept_copy_before, &c, out_seq);
    if (err != MERLE_OK && out_old != NULL) out_old->size = 0;
    return err;
}

/* ---- counting ---- */

typedef struct counting {
    merle_op op;
    int64_t number;
    merle_buffer made;
    merle_err err; /* of the merge function: not to be taken for "remove the document" */
} counting;

static merle_err accept_number(void *context, const mrl_version *before, const mrl_version *after) {
    counting *c = context;
    merle_value value;
    (void)before;
    if (after == NULL) return MERLE_NOT_FOUND;
    merle_err err = merle_doc_value(mrl_version_view(after), c->op.path, &value);
    if (err != MERLE_OK) return err;
    /* A float, or above INT64_MAX: nothing that this call could give, so nothing that it counts. */
    if (value.type != MERLE_TYPE_INT)
        return value.type == MERLE_TYPE_UINT ? MERLE_OVERFLOW : MERLE_TYPE;
    c->number = value.number.i;
    return MERLE_OK;
}

static merle_err merge_number(void *context, const merle_doc *current, merle_builder *builder,
                              merle_bytes *out_document) {
    static const uint8_t empty_map = 0x80;
    counting *c = context;
    (void)builder;
    merle_bytes doc = current != NULL ? merle_bytes_of(current->data, current->size)
                                      : merle_bytes_of(&empty_map, 1);
    c->err = merle_doc_patch(doc, &c->op, 1, &c->made, NULL);
    if (c->err != MERLE_OK) return MERLE_INVALID;
    *out_document = merle_bytes_of(c->made.data, c->made.size);
    return MERLE_OK;
}

static merle_err count_existing(merle_collection *collection, merle_bytes key, counting *c) {
    merle_commit *commit;
    merle_err err = open_commit(collection, &commit);
    if (err != MERLE_OK) return err;
    err = merle_patch_ops(commit, collection, key, &c->op, 1);
    return close_accepted(commit, err, accept_number, c, NULL);
}

static merle_err count_anyhow(merle_collection *collection, merle_bytes key, counting *c) {
    merle_commit *commit;
    merle_err err = open_commit(collection, &commit);
    if (err != MERLE_OK) return err;
    mrl_member *member = commit->member;
    c->err = MERLE_OK;
    err = merle_merge(commit, collection, key, merge_number, c);
    err = close_accepted(commit, err, accept_number, c, NULL);
    if (err != MERLE_INVALID || c->err == MERLE_OK) return err;
    return c->err == MERLE_NO_MEMORY ? no_memory(member, collection, key) : c->err;
}

merle_err merle_one_count(merle_collection *collection, merle_bytes key, const char *path,
                          int64_t delta, int64_t *out_number) {
    if (out_number != NULL) *out_number = 0;
    if (path == NULL) return MERLE_INVALID;
    counting c = {.op = merle_op_of(MERLE_OP_INC, path, merle_value_int(delta))};
    /* A patch first: the log then has the number alone. The merge makes a document that is
     * missing. */
    merle_err err = count_existing(collection, key, &c);
    if (err == MERLE_NOT_FOUND) err = count_anyhow(collection, key, &c);
    if (err == MERLE_OK && out_number != NULL) *out_number = c.number;
    merle_buffer_free(&c.made);
    return err;
}

/* ---- again and again ---- */

static merle_err run_once(merle_db *db, merle_commit_fn *fn, void *context, uint64_t *out_seq) {
    merle_commit *commit;
    merle_err err = merle_begin(db, &commit);
    if (err != MERLE_OK) return err;
    /* A read inside may tell at once that the commit can only end in a conflict. */
    return close_commit(commit, fn(context, commit), out_seq);
}

merle_err merle_run(merle_db *db, merle_commit_fn *fn, void *context, uint32_t tries,
                    uint64_t *out_seq) {
    merle_err err = MERLE_CONFLICT;
    if (out_seq != NULL) *out_seq = 0;
    if (db == NULL || fn == NULL) return MERLE_INVALID;
    if (tries == 0) tries = TRIES_DEFAULT;
    for (uint32_t i = 0; i < tries; i++) {
        err = run_once(db, fn, context, out_seq);
        if (err != MERLE_CONFLICT && err != MERLE_AGAIN) return err;
        mrl_member *member = mrl_member_join(mrl_db_store(db)->domain);
        if (member != NULL) mrl_count(member, MRL_N_RETRIES, 1);
    }
    /* MERLE_AGAIN is between the function and us. */
    return err == MERLE_AGAIN ? MERLE_CONFLICT : err;
}
