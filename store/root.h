/* store/root.h - a collection, and its root: everything that truncate or drop replaces in one
 * instant.
 *
 * What    A collection is a name and an id for ever; its root holds schema, tables, slots and
 *         indexes, and is versioned by seq as documents are: old sections go on with the old root.
 * Owns    A root owns its tables and the versions in them; it is torn down step by step after its
 *         grace.
 * Threads reading: read section. A shard's queue, free slots and map changes: the shard's lock
 *         held. The current root changes only with all locks of the old one held.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_ROOT_H
#define MRL_STORE_ROOT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <merle/merle.h>

#include "base/lock.h"
#include "index/ordered.h"
#include "index/unique.h"
#include "memory/map.h"
#include "schema/schema.h"
#include "store/queue.h"
#include "store/slots.h"
#include "store/version.h"
#include "tags/tags.h"

struct mrl_store;

/* Fields that writers change lie a line away from those that every reader loads. */
enum { MRL_LINE_SIZE = 64 };

/* A stack. */
typedef struct mrl_free_slots {
    uint32_t count;
    uint32_t capacity;
    uint32_t slots[];
} mrl_free_slots;

/* What every change of the shard writes, in one line. */
typedef struct mrl_shard {
    mrl_lock lock;
    uint32_t reserved;
    mrl_queue queue;
    /* What was done to the shard's documents, under its lock; read by anybody. Here, because
     * whoever writes has the line anyhow: one line of the whole collection would travel with every
     * commit. */
    _Atomic uint64_t puts, patches, removes;
    mrl_free_slots *free; /* NULL: none yet */
} mrl_shard;
_Static_assert(sizeof(mrl_shard) == MRL_LINE_SIZE, "a shard is a line");

/* How many documents some shards have, and the commit up to which that counts. Written under the
 * publish lock, which is why several shards may share one. See mrl_root_count. */
typedef struct mrl_root_counter {
    _Atomic uint64_t count;
    _Atomic uint64_t seq;
} mrl_root_counter;
enum { MRL_COUNTER_SHARDS = 4 };

/* One index: what the schema says that it has, the others are NULL. */
typedef struct mrl_root_index {
    mrl_unique *unique;
    mrl_ordered *ordered;
    mrl_tags *tags;
} mrl_root_index;

typedef struct mrl_root {
    /* First: where a root begins on a line, no two shards share one. */
    mrl_shard shards[MRL_SHARD_COUNT];
    mrl_root_counter counters[MRL_SHARD_COUNT / MRL_COUNTER_SHARDS];
    /* Apart from these: readers load what follows, writers seldom write it. */
    uint8_t padding[MRL_LINE_SIZE];
    _Atomic uint64_t seq; /* MRL_SEQ_NONE until published */
    struct mrl_root *before;
    merle_collection *collection;
    _Atomic(mrl_schema *) schema; /* the latest; see mrl_root_schema */
    uint32_t is_dropped;
    _Atomic uint32_t is_loading; /* 1: empty, as long as a bulk load fills the next one */
    uint64_t loaded_from;        /* filled by a bulk load: the seq of its truncate; else 0 */
    uint32_t ticket;             /* of its retirement */
    struct mrl_root *dying;      /* next in the store's list of roots to tear down */
    uint32_t teardown_slot;      /* how far that went */
    /* What its former schemas have left, oldest first; under the store's dying_lock. */
    _Atomic(struct mrl_left *) left_first;
    struct mrl_left *left_last;
    mrl_map_type key_type;
    mrl_root_index indexes[MERLE_INDEX_COUNT_MAX];             /* as the schema numbers them */
    _Atomic(struct mrl_build *) builds[MERLE_INDEX_COUNT_MAX]; /* of those that are not ready */
    /* What ends when: made with the first document that does; see store/expiry.h. */
    _Atomic(mrl_ordered *) expiry;
    _Atomic int64_t due_from; /* nothing before it is due; INT64_MAX: nothing ever */
    struct {
        int64_t stop_ns; /* where the last look stopped: if the next one begins there, it goes on */
        int64_t last_ns; /* behind this entry */
        uint32_t slot;
    } due_behind; /* under the store's expiry_lock */
    mrl_map maps[MRL_SHARD_COUNT];
    mrl_slots slots;
} mrl_root;

struct merle_collection {
    struct mrl_store *store;
    _Atomic(mrl_root *) root; /* NULL until it is published */
    uint32_t id;
    char name[MERLE_NAME_SIZE_MAX + 1];
    _Atomic(struct merle_collection *) next; /* all collections, in the order of their ids */
    uint8_t padding[MRL_LINE_SIZE];
    /* Numbers for the application: store/ids.c. */
    mrl_lock ids_lock;     /* a block is being set aside */
    uint32_t id_block;     /* how long the next one is; 0: the shortest; under the lock */
    uint64_t id_aside;     /* set aside in the log up to here, and */
    uint64_t id_aside_seq; /* by which commit; both under the lock */
    _Atomic uint64_t id_next;
    _Atomic uint64_t id_end;  /* those before it may be given: their record is durable */
    _Atomic uint64_t id_mark; /* who gets this one sets the next block aside */
};

/* What a change of the schema took out of use, while sections may still use it. */
typedef struct mrl_left {
    struct mrl_left *next;
    mrl_schema *schema;      /* the one before */
    struct mrl_build *build; /* or NULL */
    uint32_t number;         /* of an index whose tables go; MRL_LEFT_NONE: none go */
    uint32_t ticket;
} mrl_left;
#define MRL_LEFT_NONE UINT32_MAX

/* A root with empty tables, not published. NULL: no memory. */
mrl_root *mrl_root_create(mrl_member *member, merle_collection *collection, mrl_schema *schema);
/* Frees one that nobody can reach, with all that is in it. */
void mrl_root_destroy(mrl_root *root, mrl_member *member);
/* Frees up to `budget` versions or tables of one that nobody can reach any more; 0: it is empty. */
size_t mrl_root_teardown(mrl_root *root, mrl_member *member, size_t budget);

/* Takes garbage out of its ordered and tag indexes, looking at up to max places; 0: there is none
 * that can go now. Holding no lock, inside a section. */
size_t mrl_root_sweep(mrl_root *root, mrl_member *member, size_t max);

/* NULL: no document of it has ever had an end. */
static inline mrl_ordered *mrl_root_expiry(const mrl_root *root) {
    /* Acquire: pairs with the release in mrl_expiry_index. */
    return atomic_load_explicit(&root->expiry, memory_order_acquire);
}

static inline mrl_root *mrl_collection_current(const merle_collection *collection) {
    /* Acquire: pairs with the release when a definition swings it. */
    return atomic_load_explicit(&collection->root, memory_order_acquire);
}
/* The root that writers work on: the current one, but the one before while its definition is not
 * published yet. Its shards are locked until it is: who wants them waits, and starts over. NULL:
 * there is none yet. */
static inline mrl_root *mrl_collection_writable(const merle_collection *collection,
                                                const _Atomic uint64_t *published) {
    mrl_root *root = mrl_collection_current(collection);
    if (root != NULL && atomic_load_explicit(&root->seq, memory_order_acquire) >
                            atomic_load_explicit(published, memory_order_acquire))
        root = root->before;
    return root;
}
/* The root that a section at S sees; NULL: the collection did not exist yet. */
static inline mrl_root *mrl_collection_root(const merle_collection *collection, uint64_t seq) {
    mrl_root *root = mrl_collection_current(collection);
    while (__builtin_expect(
        root != NULL && atomic_load_explicit(&root->seq, memory_order_acquire) > seq, 0))
        root = root->before;
    return root;
}

/* Whether a bulk load is under way. Inside a section, or with the catalog locked. */
static inline int mrl_collection_is_loading(const merle_collection *collection) {
    const mrl_root *root = mrl_collection_current(collection);
    return root != NULL && atomic_load_explicit(&root->is_loading, memory_order_relaxed) != 0;
}

/* The schema that a section at S sees; the root is that of the section. */
static inline const mrl_schema *mrl_root_schema(const mrl_root *root, uint64_t seq) {
    /* Acquire: pairs with the release when a definition swings it. */
    const mrl_schema *schema = atomic_load_explicit(&root->schema, memory_order_acquire);
    while (__builtin_expect(atomic_load_explicit(&schema->seq, memory_order_acquire) > seq, 0))
        schema = schema->before;
    return schema;
}
/* The schema that writers work with: the latest, but the one before while its definition is not
 * published yet. All shards are locked until it is. */
static inline mrl_schema *mrl_root_writable_schema(const mrl_root *root,
                                                   const _Atomic uint64_t *published) {
    mrl_schema *schema = atomic_load_explicit(&root->schema, memory_order_acquire);
    if (atomic_load_explicit(&schema->seq, memory_order_acquire) >
        atomic_load_explicit(published, memory_order_acquire))
        schema = schema->before;
    return schema;
}
/* The latest; with one of the root's shards locked it stays. */
static inline mrl_schema *mrl_root_schema_now(const mrl_root *root) {
    return atomic_load_explicit(&root->schema, memory_order_acquire);
}

/* Makes the tables of an index that the root does not have yet. 0: no memory; none are left. */
int mrl_root_index_create(mrl_root *root, mrl_member *member, const mrl_schema_index *index);
/* Frees up to max pieces of the tables of an index that nobody uses any more; 0: they are gone. */
size_t mrl_root_index_clear(mrl_root *root, mrl_member *member, uint32_t number, size_t max);
/* All shards: keys, and values of what `schema` keeps, in the order that everybody keeps to. */
void mrl_root_lock_all(mrl_root *root, const mrl_schema *schema);
void mrl_root_unlock_all(mrl_root *root, const mrl_schema *schema);

/* Pushes what somebody may still be looking at into the queue, where there is room; the shard's
 * lock held. Gives the new entry. */
mrl_queue_entry *mrl_shard_retire(mrl_shard *shard, mrl_member *member, mrl_version *version,
                                  mrl_queued kind, uint32_t ticket);
/* Puts a slot that nobody refers to any more on its shard's stack; the shard's lock held. */
void mrl_shard_return_slot(mrl_shard *shard, mrl_member *member, uint32_t slot);
/* The one that was put there last; MRL_SLOT_NONE: there is none. The shard's lock held. */
static inline uint32_t mrl_shard_take_slot(mrl_shard *shard) {
    mrl_free_slots *stack = shard->free;
    return stack == NULL || stack->count == 0 ? MRL_SLOT_NONE : stack->slots[--stack->count];
}

/* ---- keys ---- */

typedef struct mrl_key_probe {
    mrl_probe probe;
    merle_bytes key;
} mrl_key_probe;

uint64_t mrl_root_hash(const mrl_root *root, merle_bytes key);
void mrl_key_probe_init(mrl_key_probe *probe, uint64_t hash, merle_bytes key);
/* The current version under a key, a tombstone too, published or not; NULL: none. Read section. */
mrl_version *mrl_root_find(const mrl_root *root, uint64_t hash, merle_bytes key);

/* For those who will want a key soon. First: brings the lines that a find will touch nearer. */
static inline void mrl_root_prefetch(const mrl_root *root, uint64_t hash) {
    mrl_map_prefetch(&root->maps[mrl_shard_of(hash)], hash);
}
/* Then, a little later: the version that most likely stands under the key (it has the right tag,
 * the key was not compared), its first lines on their way. NULL: none. Read section. */
mrl_version *mrl_root_peek(const mrl_root *root, uint64_t hash);

/* ---- unique values ---- */

/* The live version that has the encoded value. seq: at that instant; MRL_SEQ_NONE: the current one,
 * whether published or not (the value's shard lock held). NULL: none. */
const mrl_version *mrl_root_find_unique(const mrl_root *root, const mrl_schema_index *index,
                                        const uint8_t *encoded, size_t size, uint64_t hash,
                                        uint64_t seq);

/* ---- count ---- */

/* One document more or less under a key with this hash. Under the publish lock. */
void mrl_root_count_add(mrl_root *root, uint64_t hash, int delta, uint64_t seq);
/* MERLE_OK with the count at seq if nothing was counted since; MERLE_CONFLICT otherwise. */
merle_err mrl_root_count(const mrl_root *root, uint64_t seq, uint64_t *out_count);
/* The count of now: an estimate, but with all shards locked. */
uint64_t mrl_root_count_now(const mrl_root *root);

/* What was done to the documents since the collection was made: sums over the shards. */
typedef struct mrl_root_done {
    uint64_t puts, patches, removes;
} mrl_root_done;
mrl_root_done mrl_root_sum_done(const mrl_root *root);
/* A new root goes on from the sums of the one that it replaces, whose shards are locked. */
void mrl_root_go_on_from(mrl_root *root, const mrl_root *before);

#endif
