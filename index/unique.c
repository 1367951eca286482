/* index/unique.c - hints of unique values over memory/map.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "index/unique.h"

#include <stddef.h>
#include <string.h>

static const mrl_map_type pair_type = {MRL_MAP_PAIRS, NULL, NULL};

typedef struct pair_probe {
    mrl_probe probe;
    uint64_t entry;
} pair_probe;

static int pair_matches(const mrl_probe *probe, uint64_t entry) {
    return entry == ((const pair_probe *)probe)->entry;
}

static pair_probe pair_of(uint64_t hash, uint32_t slot) {
    pair_probe pair = {{hash, pair_matches}, mrl_entry_pair(slot, hash)};
    return pair;
}

static int holder_matches(const mrl_probe *probe, uint64_t entry) {
    const mrl_unique_probe *asked = (const mrl_unique_probe *)probe;
    return asked->holds(asked, mrl_entry_to_number(entry));
}

mrl_unique *mrl_unique_create(mrl_member *member, uint64_t seed) {
    /* Urgent as the root that it belongs to. */
    mrl_unique *unique = mrl_alloc_urgent(member, MRL_FOR_TABLES, sizeof *unique);
    if (unique == NULL) return NULL;
    unique->seed = seed;
    atomic_init(&unique->refused, 0);
    for (int i = 0; i < MRL_SHARD_COUNT; i++) {
        mrl_map_init(&unique->shards[i].map, &pair_type);
        mrl_lock_init(&unique->shards[i].lock);
        unique->shards[i].reserved = 0;
    }
    return unique;
}

void mrl_unique_destroy(mrl_unique *unique, mrl_member *member) {
    for (int i = 0; i < MRL_SHARD_COUNT; i++) mrl_map_fini(&unique->shards[i].map, member);
    mrl_free(member, MRL_FOR_TABLES, unique, sizeof *unique);
}

size_t mrl_unique_clear_some(mrl_unique *unique, mrl_member *member, size_t max) {
    size_t freed = 0;
    for (int i = 0; i < MRL_SHARD_COUNT && freed < max; i++)
        freed += mrl_map_clear_some(&unique->shards[i].map, member, max - freed);
    return freed;
}

uint32_t mrl_unique_find(mrl_unique *unique, mrl_unique_probe *probe) {
    probe->probe.matches = holder_matches;
    uint64_t entry =
        mrl_map_find(&mrl_unique_shard_of(unique, probe->probe.hash)->map, &probe->probe);
    return entry == 0 ? MRL_UNIQUE_NONE : mrl_entry_to_number(entry);
}

merle_err mrl_unique_add(mrl_unique *unique, mrl_member *member, uint64_t hash, uint32_t slot,
                         int *out_added) {
    pair_probe pair = pair_of(hash, slot);
    uint64_t existing = 0;
    *out_added = 0;
    merle_err err = mrl_map_add(&mrl_unique_shard_of(unique, hash)->map, member, &pair.probe,
                                pair.entry, &existing);
    if (err != MERLE_OK) return err;
    *out_added = existing == 0;
    return MERLE_OK;
}

void mrl_unique_drop(mrl_unique *unique, mrl_member *member, uint64_t hash, uint32_t slot) {
    pair_probe pair = pair_of(hash, slot);
    (void)mrl_map_remove(&mrl_unique_shard_of(unique, hash)->map, member, &pair.probe);
}

int mrl_unique_has(mrl_unique *unique, uint64_t hash, uint32_t slot) {
    pair_probe pair = pair_of(hash, slot);
    return mrl_map_find(&mrl_unique_shard_of(unique, hash)->map, &pair.probe) != 0;
}

void mrl_unique_stat(const mrl_unique *unique, mrl_map_stats *out_stats) {
    memset(out_stats, 0, sizeof *out_stats);
    for (int i = 0; i < MRL_SHARD_COUNT; i++) {
        mrl_map_stats one;
        mrl_map_stat(&unique->shards[i].map, &one);
        out_stats->entries += one.entries;
        out_stats->pieces += one.pieces;
        out_stats->tombstones += one.tombstones;
        out_stats->bytes += one.bytes;
        out_stats->directory_size += one.directory_size;
    }
}
