/* store/build.h - indexes that are added and dropped while the collection is in use.
 *
 * What    The state of one build: how far the walk over the slots is, and which slots are suspected
 *         to stand against the index. Of a failed one: the list of those that do.
 * Owns    itself and its list; hangs in the root until it is ready or dropped, and then for as long
 *         as a section may look at it.
 * Sees    see the argument at the head of store/build.c.
 * Threads mrl_build_note: any, holding the slot's key shard. Steps: any, holding nothing, one at a
 *         time. The rest: as each says.
 * Limits  MRL_BUILD_NOTE_MAX suspects at once; MRL_BUILD_KEPT_MAX offenders kept.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_BUILD_H
#define MRL_STORE_BUILD_H

#include "store/store.h"

enum { MRL_BUILD_NOTE_MAX = 1024, MRL_BUILD_KEPT_MAX = 64 };

/* An offender that is kept: the keys lie behind each other in the list's bytes. */
typedef struct mrl_kept {
    merle_err why;
    uint32_t key_at, key_size, other_size;
} mrl_kept;

typedef struct mrl_refused {
    uint32_t slot;
    merle_err why;
} mrl_refused;

typedef struct mrl_build {
    mrl_lock lock; /* the notes */
    uint32_t note_count;
    uint32_t has_overflown;       /* more was to be noted than there was room for */
    _Atomic uint32_t slots_total; /* how far the walk has to go */
    _Atomic uint32_t slots_done;
    _Atomic uint64_t offence_count; /* noted ever; of a failed one: how many stand */
    uint32_t notes[MRL_BUILD_NOTE_MAX];
    /* What the index's function said of documents that it refused, the first of them. */
    mrl_refused refusals[MRL_BUILD_KEPT_MAX];
    uint32_t refusal_count;
    /* Written once, before the failed state can be seen. */
    uint32_t kept_count;
    uint32_t kept_size;
    mrl_kept kept[MRL_BUILD_KEPT_MAX];
    uint8_t *kept_bytes;
} mrl_build;

/* Notes that the document in the slot may stand against the index. The slot's key shard is locked,
 * and for a value that is taken the value's shard, too. */
void mrl_build_note(mrl_build *build, uint32_t slot);
/* A walk that has not begun. NULL: no memory. */
mrl_build *mrl_build_create(mrl_member *member);
void mrl_build_destroy(mrl_member *member, mrl_build *build);

static inline mrl_build *mrl_root_build(const mrl_root *root, uint32_t number) {
    /* Acquire: pairs with the release when it is put there; inside a section. */
    return atomic_load_explicit(&root->builds[number], memory_order_acquire);
}

/* ---- steps ---- */

/* One bounded piece of whatever is being built: up to max slots. Returns how much was done. */
size_t mrl_build_some(mrl_store *store, mrl_member *member, size_t max);
/* Something is being built. */
static inline int mrl_build_is_pending(const mrl_store *store) {
    return atomic_load_explicit(&store->building, memory_order_relaxed) != 0;
}

/* Goes on with the index of this name until it is ready. Errors: as merle_index_build. */
merle_err mrl_build_finish(mrl_store *store, mrl_member *member, merle_collection *collection,
                           const char *name);

/* ---- changing a schema ---- */

/* Puts the schema in the place of `before`, with all shards locked. */
void mrl_root_swing_schema(mrl_root *root, mrl_schema *schema, mrl_schema *before, uint64_t seq);

/* Made before anything is locked. The schema is taken when it is pushed. NULL: no memory. */
mrl_left *mrl_left_create(mrl_member *member, mrl_schema *schema, mrl_build *build,
                          uint32_t number);
/* After the change. */
void mrl_left_push(mrl_store *store, mrl_root *root, mrl_left *left);
/* One that was not pushed. */
void mrl_left_cancel(mrl_member *member, mrl_left *left);
/* The numbers of indexes whose tables are not gone yet, a bit each. */
uint32_t mrl_left_numbers(mrl_store *store, const mrl_root *root);

/* Tears down what a root's schemas have left, as far as max goes; the root is current, inside a
 * section. Called by one thread at a time. */
size_t mrl_left_clear(mrl_store *store, mrl_member *member, mrl_root *root, size_t max);
/* Of a root that nobody uses. */
void mrl_left_destroy(mrl_member *member, mrl_left *left);

#endif
