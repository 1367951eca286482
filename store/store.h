/* store/store.h - the documents of one database in memory: sections, commits, collections,
 * reclamation.
 *
 * What    The parts that the rooms above and the files of this room share. The public functions on
 *         sections, commits and collections stand in the files that do their work.
 * Owns    collections, roots and versions; borrows domain and log from database/.
 * Sees    see docs/architecture.md; store/commit.c is the only place that orders a write.
 * Threads any, as each function says.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_STORE_H
#define MRL_STORE_STORE_H

#include <stdatomic.h>
#include <stdint.h>

#include <merle/merle.h>

#include "base/lock.h"
#include "base/seam.h"
#include "log/log.h"
#include "memory/domain.h"
#include "store/root.h"

typedef struct mrl_store {
    mrl_domain *domain;
    mrl_log *log;
    const _Atomic uint64_t *published;
    const mrl_clock *clock;
    uint64_t hash_seed;
    uint64_t retired_max;
    uint64_t commit_size_max;
    merle_durability durability; /* of commits that say nothing else */
    merle_patience patience;
    merle_db *db;
    /* Catalog: collections are added under the lock and never leave; readers walk without it. */
    mrl_lock catalog_lock;
    _Atomic uint64_t definition_lacks; /* credit that the last one refused had asked for */
    uint32_t collection_next_id;
    _Atomic(merle_collection *) collections;
    merle_collection *collections_last;
    /* Reclamation. */
    _Atomic uint64_t waiting_seen;     /* mrl_store_waiting_bytes, as it was a few commits ago */
    mrl_lock dying_lock;               /* also of what changed schemas have left to their roots */
    mrl_root *dying;                   /* replaced roots, oldest first */
    mrl_lock step_lock;                /* one step at a time */
    merle_collection *step_collection; /* where the last step stopped */
    uint32_t step_shard;
    /* Documents that end: store/expiry.h. */
    _Atomic uint32_t can_expire; /* some document may: sections ask the clock */
    mrl_lock expiry_lock;        /* one removal of what is due at a time */
    _Atomic int64_t time_floor;  /* no clock is before it */
    mrl_lock build_lock;         /* one step of a build at a time */
    _Atomic uint32_t building;   /* indexes that are being built; changed with the catalog locked */
    _Atomic uint32_t loads_open; /* bulk loads */
    uint32_t load_threads;       /* how many build indexes, of a bulk load; 0: the caller alone */
    _Atomic uint32_t cursors_open;
    mrl_lock cursors_lock;
    merle_changes *cursors; /* open ones, of all threads */
} mrl_store;

typedef struct mrl_store_options {
    mrl_domain *domain;
    mrl_log *log;
    const mrl_clock *clock;
    uint64_t hash_seed;
    uint64_t retired_max;
    uint64_t commit_size_max;
    merle_durability durability; /* MERLE_DURABILITY_DEFAULT: MERLE_ASYNC */
    merle_patience patience;
    merle_db *db;
} mrl_store_options;

void mrl_store_init(mrl_store *store, const mrl_store_options *options);
/* No section, commit or other thread is left. */
void mrl_store_fini(mrl_store *store, mrl_member *member);
/* The store of a database: a merle_db begins with it (database/database.h says so, too). */
static inline mrl_store *mrl_db_store(merle_db *db) {
    return (mrl_store *)(void *)db;
}

/* ---- sections ---- */

typedef struct mrl_section {
    mrl_store *store;
    mrl_member *member; /* NULL: not open */
    uint64_t seq;       /* S */
    int64_t now_ns;     /* its clock; INT64_MIN: nothing that it sees can expire */
    uint32_t epoch;     /* when it began; what was changed long before it is judged by it */
    uint32_t reserved;
    mrl_epoch_token token;
    merle_commit *commit; /* that it belongs to, once that has operations; NULL */
    uint64_t check;       /* tells an open section from bytes that happen to lie there */
} mrl_section;
_Static_assert(sizeof(mrl_section) <= sizeof(merle_section), "merle_section is too small");

/* A version that may be past its time, as the section sees it: itself, or NULL. */
const mrl_version *mrl_section_judge(const mrl_section *section, const mrl_version *v);
/* The document that the section sees, beginning at the current version; NULL: none. */
static inline const mrl_version *mrl_section_version(const mrl_section *section,
                                                     const mrl_version *v) {
    v = mrl_version_at(v, section->seq);
    if (v != NULL && __builtin_expect((v->flags & MRL_VERSION_EXPIRES) != 0, 0))
        return mrl_section_judge(section, v);
    return v;
}

void mrl_section_open(mrl_store *store, mrl_member *member, mrl_section *out_section);
void mrl_section_close(mrl_section *section);

/* ---- reclamation ---- store/reclaim.c; holding no lock ---- */

/* Reclaims up to max entries of one shard; returns how many. */
size_t mrl_reclaim_shard(mrl_store *store, mrl_member *member, merle_collection *collection,
                         uint32_t shard, size_t max);
/* One bounded piece over all; returns what it did: 0, nothing can be done now. */
size_t mrl_reclaim_some(mrl_store *store, mrl_member *member, size_t max);
/* What waits has reached retired_max, as far as was seen. */
static inline int mrl_store_is_full(const mrl_store *store) {
    return atomic_load_explicit(&store->waiting_seen, memory_order_relaxed) > store->retired_max;
}
/* Before a commit begins, without a section: if what waits has reached retired_max, reclaims a
 * bounded lot. */
void mrl_reclaim_for_room(mrl_store *store, mrl_member *member);
/* Puts a replaced root into the list of those to tear down. */
void mrl_reclaim_root(mrl_store *store, mrl_root *root);
/* Nothing waits in any queue or list. */
int mrl_reclaim_is_done(mrl_store *store, mrl_member *member);

/* ---- reports ---- */

/* Fills the report that the member's thread asked for, if it did, with its parts; returns err. */
merle_err mrl_store_fail(mrl_member *member, merle_err err, const merle_collection *collection,
                         merle_bytes key, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* The same for what is asked of an index. */
merle_err mrl_store_fail_index(mrl_member *member, merle_err err,
                               const merle_collection *collection, const char *index,
                               const char *format, ...) __attribute__((format(printf, 5, 6)));

/* ---- the disk: store/durable.c ---- */

/* Fills the report with what the log says of a credit that it refused; returns err. */
merle_err mrl_credit_refused(mrl_store *store, mrl_member *member, merle_err err);
/* After a commit or definition was published, holding nothing: waits for the disk, asks it, or does
 * nothing, as its durability says. Errors: MERLE_NOT_DURABLE. */
MERLE_MUST_USE merle_err mrl_durable_settle(mrl_store *store, mrl_member *member, uint64_t seq,
                                            merle_durability durability);

/* ---- cursors: store/changes.c ---- */

/* Ends the sections of the cursors of a thread that ends: they wait to be closed, by any thread. */
void mrl_changes_leaving(mrl_store *store, mrl_member *member);

/* Bytes of versions in the shards' queues: exact at rest. Takes the domain's member lock. */
uint64_t mrl_store_retired_bytes(mrl_store *store);
/* The same with retired blocks (records that left the ring, tables): what retired_max bounds. Also
 * refreshes waiting_seen, which costs one load. */
uint64_t mrl_store_waiting_bytes(mrl_store *store);

typedef struct mrl_oldest_section {
    uint64_t seq;
    uint64_t thread; /* kernel id */
    uint64_t seen_at_ns;
    uint64_t age_ns; /* at least; 0: no step has looked at it yet */
} mrl_oldest_section;
/* 0: no section is open. */
int mrl_store_oldest_section(mrl_store *store, mrl_oldest_section *out_oldest);

/* ---- ends what a leaving thread left open: for the domain's `leaving` ---- */
void mrl_store_leaving(void *context, mrl_member *member);

#endif
