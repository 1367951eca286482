/* store/definition.h - definitions: commits of their own that change a collection, not a document.
 *
 * What    one record, one seq, one instant. One at a time for each collection, under the catalog
 *         lock or, for ids, under theirs; both come before all shard locks.
 * Owns    the entry and its credit, from prepare until end or cancel.
 * Threads any, holding no shard.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_DEFINITION_H
#define MRL_STORE_DEFINITION_H

#include "store/store.h"

typedef struct mrl_definition {
    mrl_store *store;
    mrl_member *member;
    mrl_entry *entry;
    uint64_t credit;
} mrl_definition;

/* Store and member of a call. Errors: MERLE_INVALID, MERLE_FORKED, MERLE_NO_MEMORY. */
merle_err mrl_definition_join(merle_db *db, mrl_store **out_store, mrl_member **out_member);
/* Credit and entry, with no shard locked; never waits: MERLE_BUSY is for mrl_definition_await.
 * Errors: MERLE_BUSY, MERLE_READ_ONLY, MERLE_NO_MEMORY. */
merle_err mrl_definition_prepare(mrl_definition *d, mrl_store *store, mrl_member *member,
                                 uint32_t collection_id, mrl_record_kind kind, merle_bytes payload);
/* The same in two steps: a record that is kept, and its credit, when it is time. One that was not
 * published is given back with mrl_definition_cancel. Errors: MERLE_NO_MEMORY; MERLE_BUSY,
 * MERLE_READ_ONLY. */
merle_err mrl_definition_make(mrl_definition *d, mrl_store *store, mrl_member *member,
                              merle_origin origin, uint32_t collection_id, mrl_record_kind kind,
                              merle_bytes payload);
merle_err mrl_definition_take(mrl_definition *d, mrl_member *member);
void mrl_definition_cancel(mrl_definition *d, mrl_member *member);
/* With nothing locked: waits until there is as much credit again as the last definition that was
 * refused had asked for, for another try. */
merle_err mrl_definition_await(mrl_store *store, mrl_member *member);
/* From begin to end the publish lock is held. What is swung between the two is met by nobody with a
 * seq below the one that begin gives. */
uint64_t mrl_definition_begin(const mrl_definition *d);
void mrl_definition_end(mrl_definition *d);

/* One that nobody can find, without a root. NULL: no memory. */
merle_collection *mrl_collection_create(mrl_store *store, mrl_member *member, const char *name);
/* Behind the others, whose ids are smaller; the catalog is locked. */
void mrl_collection_link(mrl_store *store, merle_collection *collection);
/* Puts a new root into the place of the current one, and the definition into the log; the catalog
 * is locked, credit was taken. needs_empty: only if that has no documents, else MERLE_EXISTS, and
 * nothing has changed. */
merle_err mrl_root_swing(mrl_definition *d, mrl_root *root, int needs_empty, uint64_t *out_seq);
/* Whether the collection exists. Inside a section, or with the catalog locked. */
static inline int mrl_collection_is_alive(const merle_collection *collection) {
    const mrl_root *root = mrl_collection_current(collection);
    return root != NULL && !root->is_dropped;
}

#endif
