/* index/unique.h - unique index: hints (hash tag of a value, slot), sharded by the value's hash.
 *
 * What    says which slots may have a value. An entry is a pair (tag, slot); pairs of one value may
 *         stand several at once (an old holder and a new one), and two values of one slot with the
 *         same tag share a pair: so whether a pair may go is asked by tag, never by value.
 *         "Not found" is certain for whoever holds the shard's lock or reads at an instant before
 *         which the pair was added; "found" is a hint, to be compared with the version that one
 *         sees.
 * Owns    its tables. Knows slots and hashes, not documents.
 * Threads find: read section. lock, add, drop, candidates: the shard's lock held.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_INDEX_UNIQUE_H
#define MRL_INDEX_UNIQUE_H

#include <stdint.h>

#include "base/hash.h"
#include "base/lock.h"
#include "memory/map.h"

typedef struct mrl_unique_shard {
    mrl_map map;
    mrl_lock lock;
    uint32_t reserved;
} mrl_unique_shard;

typedef struct mrl_unique {
    uint64_t seed;
    _Atomic uint64_t refused; /* values that were taken already */
    mrl_unique_shard shards[MRL_SHARD_COUNT];
} mrl_unique;

/* Asks whether the slot has the value, in whatever sense the caller needs. */
typedef struct mrl_unique_probe mrl_unique_probe;
struct mrl_unique_probe {
    mrl_probe probe;
    int (*holds)(const mrl_unique_probe *probe, uint32_t slot);
};

mrl_unique *mrl_unique_create(mrl_member *member, uint64_t seed);
/* No reader is left. */
void mrl_unique_destroy(mrl_unique *unique, mrl_member *member);
/* Frees up to max pieces of tables; 0: all are gone. */
size_t mrl_unique_clear_some(mrl_unique *unique, mrl_member *member, size_t max);

static inline uint64_t mrl_unique_hash(const mrl_unique *unique, const void *encoded, size_t size) {
    return mrl_hash_bytes(encoded, size, unique->seed);
}
static inline mrl_unique_shard *mrl_unique_shard_of(mrl_unique *unique, uint64_t hash) {
    return &unique->shards[mrl_shard_of(hash)];
}
/* By what hints of one slot are told apart: the shard that they stand in, and the tag in their
 * entry. Equal numbers are one hint; equal tags in two shards are two. */
static inline uint64_t mrl_unique_tag(uint64_t hash) {
    return ((uint64_t)mrl_shard_of(hash) << 32) | (uint32_t)hash;
}

/* The first slot of which probe->holds says yes; MRL_UNIQUE_NONE: there is none. probe->probe.hash
 * is set. */
#define MRL_UNIQUE_NONE UINT32_MAX
uint32_t mrl_unique_find(mrl_unique *unique, mrl_unique_probe *probe);
/* Adds the hint. *out_added: 1 if it was not there yet. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_unique_add(mrl_unique *unique, mrl_member *member, uint64_t hash,
                                        uint32_t slot, int *out_added);
/* Drops the hint if it is there. */
void mrl_unique_drop(mrl_unique *unique, mrl_member *member, uint64_t hash, uint32_t slot);
/* Whether the hint is there. */
int mrl_unique_has(mrl_unique *unique, uint64_t hash, uint32_t slot);
void mrl_unique_stat(const mrl_unique *unique, mrl_map_stats *out_stats);

#endif
