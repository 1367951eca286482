/* memory/map.h - a hash map of 64-bit entries, for one writer and many readers, over ck_hs.
 *
 * What    A directory of pieces; each piece is a ck_hs of at most MRL_PIECE_MAX entries. A full
 *         piece is split into two new ones, two thin neighbours are merged into a new one, a piece
 *         with many tombstones is copied: so no insert ever copies more than MRL_PIECE_MAX entries.
 *         An entry holds a part of its hash (its tag), so that a probe follows hardly any pointer
 *         in vain.
 *         POINTERS: a 16-byte aligned pointer; tag = bits 48-63 and 0-3, twenty bits of the hash.
 *         PAIRS: a 32-bit number below 2^32-2, and 32 bits of the hash as tag: rehashing needs no
 *         look at what the number stands for.
 * Owns    its directory and pieces (blocks of the domain, retired by epoch), not what entries point
 *         to.
 * Sees    A reader that began its section before a change was made either sees it or not; one that
 *         begins after the writer has published (release) sees it. A replaced piece stays as it
 *         was, frozen, for readers that had found it: see docs/architecture.md, "Splits and old
 *         lookups".
 * Threads find, prefetch, each, stat: read section or writer. All others: the writer (whoever holds
 *         the lock of the shard that the map is in).
 * Limits  hash bits: the low 32 choose the place; tables of up to 2^20 pieces a map.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_MEMORY_MAP_H
#define MRL_MEMORY_MAP_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <merle/base.h>

#include "memory/domain.h"

/* Three quarters of 1,024 slots. */
enum { MRL_PIECE_MAX = 768 };

typedef enum mrl_map_kind { MRL_MAP_POINTERS = 1, MRL_MAP_PAIRS = 2 } mrl_map_kind;

/* What is looked for. Callers put it first in a struct of their own. `matches` is asked for entries
 * whose tag is that of the hash; it may remember what it is shown and say 0 to see all of them
 * (some of them more than once: a probe can come to the same line again, or start anew). */
typedef struct mrl_probe mrl_probe;
struct mrl_probe {
    uint64_t hash;
    int (*matches)(const mrl_probe *probe, uint64_t entry);
};

/* How to get the low 32 bits of the hash of an entry back when a piece of POINTERS is split. */
typedef uint32_t mrl_map_rehash_fn(void *context, uint64_t entry);

typedef struct mrl_map_type {
    mrl_map_kind kind;
    mrl_map_rehash_fn *rehash; /* NULL for PAIRS */
    void *context;
} mrl_map_type;

struct mrl_map_directory;
typedef struct mrl_map {
    struct mrl_map_directory *_Atomic directory; /* NULL: empty */
    const mrl_map_type *type;
} mrl_map; /* changes only when the directory does: the lines of many maps stay in all caches */

static inline uint64_t mrl_entry_pointer(const void *pointer, uint64_t hash) {
    return (uint64_t)(uintptr_t)pointer | (hash & 0xfu) | ((hash & 0xffff0u) << 44);
}
static inline void *mrl_entry_to_pointer(uint64_t entry) {
    return (void *)(uintptr_t)(entry & 0x0000fffffffffff0u);
}
static inline uint64_t mrl_entry_pair(uint32_t number, uint64_t hash) {
    return (hash << 32) | ((uint64_t)number + 1);
}
static inline uint32_t mrl_entry_to_number(uint64_t entry) {
    return (uint32_t)entry - 1;
}

/* The map holds type by reference. */
void mrl_map_init(mrl_map *map, const mrl_map_type *type);
/* Frees its tables at once: no reader may be left. */
void mrl_map_fini(mrl_map *map, mrl_member *member);

/* The entry that matches, or 0. */
uint64_t mrl_map_find(const mrl_map *map, const mrl_probe *probe);
/* Brings the lines that a find will touch nearer; a hint, never wrong. */
void mrl_map_prefetch(const mrl_map *map, uint64_t hash);

/* Adds entry unless one matches; *out_existing is that one, or 0 if entry was added.
 * Errors: MERLE_NO_MEMORY; nothing has changed then. */
MERLE_MUST_USE merle_err mrl_map_add(mrl_map *map, mrl_member *member, const mrl_probe *probe,
                                     uint64_t entry, uint64_t *out_existing);
/* An entry with the low 32 bits of its hash. */
typedef struct mrl_map_item {
    uint64_t entry;
    uint32_t hash;
    uint32_t reserved;
} mrl_map_item;
/* Asked of two entries with one tag: non-zero, if the second is not to stand beside the first. */
typedef int mrl_map_same_fn(void *context, uint64_t first, uint64_t second);
/* Fills an empty map that nobody reads yet, with tables as large as they need to be. An entry that
 * is the same as another one is left out. Reorders items. Errors: MERLE_NO_MEMORY; the map is empty
 * then. */
MERLE_MUST_USE merle_err mrl_map_fill(mrl_map *map, mrl_member *member, mrl_map_item *items,
                                      size_t count, mrl_map_same_fn *same, void *context);
/* Puts entry in the place of old, which must be there; both have the hash, or as much of it as
 * their tag holds. Never allocates. A concurrent find gives the one or the other, never neither. */
void mrl_map_replace(mrl_map *map, uint64_t hash, uint64_t old, uint64_t entry);
/* Takes the one that matches away and returns it, or 0. Never fails: if there is no memory to
 * shrink or to copy, that is left for later. */
uint64_t mrl_map_remove(mrl_map *map, mrl_member *member, const mrl_probe *probe);

/* Calls fn for each entry until it returns non-zero; gives that. Writers may go on: an entry that
 * is there all along is given at least once; one that is replaced meanwhile is given as it was or
 * as it is. As the writer: exactly once. */
int mrl_map_each(const mrl_map *map, int (*fn)(void *context, uint64_t entry), void *context);
/* Frees up to max pieces (of a map that nobody uses any more) and returns how many; 0: it is
 * empty. */
size_t mrl_map_clear_some(mrl_map *map, mrl_member *member, size_t max);

/* How many entries there are: a sum over the pieces. Exact as the writer, else an estimate. */
uint64_t mrl_map_count(const mrl_map *map);

typedef struct mrl_map_stats {
    uint64_t entries, pieces, tombstones, bytes, directory_size;
} mrl_map_stats;
/* Estimates, where the writer goes on meanwhile. Tombstones: at most so many. */
void mrl_map_stat(const mrl_map *map, mrl_map_stats *out_stats);
/* Writer. Returns NULL if all is well, else a sentence on what is broken (entry in the wrong piece,
 * twice there, counts that differ). */
const char *mrl_map_check(const mrl_map *map);

/* ---- spreading hashes over shards ---- */

enum { MRL_SHARD_COUNT = 64 };
/* The shard of a hash, by its top ten bits. The shards' shares of the hash space grow evenly on a
 * log scale from 1 to 2: so their tables double at different times, and memory grows without
 * steps. */
extern const uint8_t mrl_shard_table[1024];
static inline uint32_t mrl_shard_of(uint64_t hash) {
    return mrl_shard_table[hash >> 54];
}

#endif
