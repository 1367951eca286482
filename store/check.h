/* store/check.h - what the files of merle_check share.
 *
 * What    check.c goes over collections, counts and the log; check_shard.c over one shard of keys;
 *         check_index.c over the hints of one shard of a unique index, check_entries.c over the
 *         entries of other indexes.
 * Owns    its lists (malloc: they count for no limit), freed by whoever made them.
 * Sees    see the comment at the head of each file for the lock that makes its questions sound.
 * Threads owner only, in a section of the epoch.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_CHECK_H
#define MRL_STORE_CHECK_H

#include "store/store.h"

typedef struct mrl_check {
    mrl_store *store;
    mrl_member *member;
    merle_report *report;            /* may be NULL */
    const _Atomic int *is_cancelled; /* looked at before each piece; NULL: nobody cancels */
    const merle_collection *collection;
    mrl_root *root; /* the one that is looked at */
    /* What is added up over the shards of one root, to be compared with its count. */
    uint64_t documents;
    uint64_t entries[MERLE_INDEX_COUNT_MAX]; /* values, by index */
    uint64_t expiring;                       /* documents that end */
    uint64_t root_seq, published, count;     /* as they were before the first shard */
    uint64_t retired;
    const mrl_schema *schema; /* likewise; not looked into */
    int is_mixed;             /* it was replaced meanwhile, or its schema: no sum of one root */
    int has_more_slots;
    uint64_t queued_bytes; /* over all roots, as mrl_store_retired_bytes counts them */
} mrl_check;

/* merle_check that may be cancelled. Errors besides: MERLE_AGAIN: it was. */
MERLE_MUST_USE merle_err mrl_check_all(merle_db *db, const _Atomic int *is_cancelled,
                                       merle_report *report);
/* What is wrong: expected and found in a few words. Gives MERLE_CORRUPT. */
merle_err mrl_check_broken(const mrl_check *check, const char *index, const mrl_version *version,
                           const char *expected, const char *found, ...)
    __attribute__((format(printf, 5, 6)));
/* No memory for the check itself. */
merle_err mrl_check_no_memory(const mrl_check *check);

/* The versions in one shard's queue, in a form that can be asked. */
typedef struct mrl_check_queued {
    const mrl_version *version;
    uint32_t kind;
    uint32_t position; /* in the queue, from the oldest */
    uint32_t ticket;
    uint32_t is_reached; /* by the walk from its slot's current version */
} mrl_check_queued;

typedef struct mrl_check_queue {
    mrl_check_queued *entries;
    size_t count;
    size_t room;
} mrl_check_queue;

/* Copies a shard's queue, the shard's lock held, in its order. Errors: MERLE_NO_MEMORY. */
merle_err mrl_check_queue_read(const mrl_check *check, const mrl_queue *queue,
                               mrl_check_queue *out);
void mrl_check_queue_free(mrl_check_queue *queue);

/* The hash of the version's value in a unique index; 0: it has none. */
int mrl_check_hash(const mrl_root *root, const mrl_schema_index *index, const mrl_version *version,
                   uint64_t *out_hash);

/* The entries that a current version has in ordered and tag indexes; its key shard's lock held. */
merle_err mrl_check_entries(mrl_check *check, const mrl_version *v);
/* Whether those were all. */
merle_err mrl_check_entry_sums(const mrl_check *check);

/* One shard of keys of check->root. Takes and drops its lock. */
merle_err mrl_check_shard(mrl_check *check, uint32_t number);
/* The piece-th piece of the slots: each that has a version belongs to a key. Sets has_more_slots
 * unless it was the last one. Takes and drops locks. */
merle_err mrl_check_slots(mrl_check *check, uint32_t piece);
/* One shard of a unique index of check->root. Takes and drops locks. */
merle_err mrl_check_hints(mrl_check *check, const mrl_schema_index *index, uint32_t number);

#endif
