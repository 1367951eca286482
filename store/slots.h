/* store/slots.h - slot -> current version, and the seq of the last change of each run of slots.
 *
 * What    a dense array that grows in chunks of MRL_CHUNK_SLOTS; chunk k's place never moves,
 *         nothing is copied as it grows. Each run of MRL_RUN_SLOTS slots keeps the seq of its last
 *         change: pages on disk are made of whole runs.
 * Owns    its chunks (domain, MRL_FOR_TABLES), not the versions.
 * Sees    a reader in a section finds under a slot the current version, from which it walks to its
 *         own.
 * Threads load: read section. store: who holds the lock of the slot's shard. ensure: any.
 * Limits  2^32 - 2 slots.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_SLOTS_H
#define MRL_STORE_SLOTS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/lock.h"
#include "memory/domain.h"
#include "store/version.h"

/* A chunk is a run: so a small collection takes little, and the word of a run lies beside it. */
enum { MRL_CHUNK_SLOTS = 64, MRL_RUN_SLOTS = 64, MRL_SEGMENT_COUNT = 27 };
#define MRL_SLOT_COUNT_MAX (UINT32_MAX - 1)

typedef struct mrl_chunk {
    _Atomic(mrl_version *) current[MRL_CHUNK_SLOTS];
    _Atomic uint64_t changed[MRL_CHUNK_SLOTS / MRL_RUN_SLOTS];
} mrl_chunk;

typedef struct mrl_slots {
    /* Segment s holds the places of 2^s chunks. */
    _Atomic(_Atomic(mrl_chunk *) *) segments[MRL_SEGMENT_COUNT];
    uint8_t padding[64];   /* readers load the places, inserts change what follows */
    _Atomic uint64_t next; /* the first slot that was never given */
    mrl_lock grow_lock;
} mrl_slots;

void mrl_slots_init(mrl_slots *slots);
/* Frees all chunks; no reader is left. */
void mrl_slots_fini(mrl_slots *slots, mrl_member *member);
/* A slot never given before, its chunk in place. Errors: MERLE_NO_MEMORY, MERLE_TOO_BIG. */
MERLE_MUST_USE merle_err mrl_slots_take(mrl_slots *slots, mrl_member *member, uint32_t *out_slot);
/* Setup, by several threads: this slot counts as given, its chunk is in place; those below it may
 * have none yet. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_slots_give(mrl_slots *slots, mrl_member *member, uint32_t slot);
/* Setup: puts in place what mrl_slots_give has left out. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_slots_fill(mrl_slots *slots, mrl_member *member);

static inline mrl_chunk *mrl_slots_chunk(const mrl_slots *slots, uint32_t slot) {
    uint32_t chunk = slot / MRL_CHUNK_SLOTS + 1;
    uint32_t segment = 31u - (uint32_t)__builtin_clz(chunk);
    /* Acquire: pairs with the release in growing; a chunk is zeroed before it can be found. */
    _Atomic(mrl_chunk *) *places =
        atomic_load_explicit(&slots->segments[segment], memory_order_acquire);
    if (places == NULL) return NULL;
    return atomic_load_explicit(&places[chunk - (1u << segment)], memory_order_acquire);
}

/* Where the slot's current version stands, for those who load it a little later; NULL: nowhere. It
 * stays there. */
static inline const _Atomic(mrl_version *) *mrl_slots_place(const mrl_slots *slots, uint32_t slot) {
    const mrl_chunk *chunk = mrl_slots_chunk(slots, slot);
    return chunk == NULL ? NULL : &chunk->current[slot % MRL_CHUNK_SLOTS];
}
/* NULL: nothing there. */
static inline mrl_version *mrl_slots_load(const mrl_slots *slots, uint32_t slot) {
    mrl_chunk *chunk = mrl_slots_chunk(slots, slot);
    if (chunk == NULL) return NULL;
    /* Acquire: pairs with the release in mrl_slots_store; the version is complete when it is
     * found. */
    return atomic_load_explicit(&chunk->current[slot % MRL_CHUNK_SLOTS], memory_order_acquire);
}
static inline void mrl_slots_store(mrl_slots *slots, uint32_t slot, mrl_version *version) {
    mrl_chunk *chunk = mrl_slots_chunk(slots, slot);
    atomic_store_explicit(&chunk->current[slot % MRL_CHUNK_SLOTS], version, memory_order_release);
}
/* For those who will store soon. */
static inline void mrl_slots_prefetch(const mrl_slots *slots, uint32_t slot) {
    mrl_chunk *chunk = mrl_slots_chunk(slots, slot);
    if (chunk != NULL) __builtin_prefetch(&chunk->current[slot % MRL_CHUNK_SLOTS], 1);
}
/* Under the publish lock: seqs only grow there, a plain store is a maximum. */
static inline void mrl_slots_mark(mrl_slots *slots, uint32_t slot, uint64_t seq) {
    mrl_chunk *chunk = mrl_slots_chunk(slots, slot);
    MRL_ASSERT(chunk != NULL);
    atomic_store_explicit(&chunk->changed[slot % MRL_CHUNK_SLOTS / MRL_RUN_SLOTS], seq,
                          memory_order_relaxed);
}
/* The last change of the slot's run: in a section, at least every one that it sees. */
static inline uint64_t mrl_slots_changed(const mrl_slots *slots, uint32_t slot) {
    const mrl_chunk *chunk = mrl_slots_chunk(slots, slot);
    /* Relaxed: a mark is set before its seq is published, and the section has acquired that. */
    return chunk == NULL
               ? 0
               : atomic_load_explicit(&chunk->changed[slot % MRL_CHUNK_SLOTS / MRL_RUN_SLOTS],
                                      memory_order_relaxed);
}
/* Setup, by several threads: the largest seq stays. */
static inline void mrl_slots_mark_late(mrl_slots *slots, uint32_t slot, uint64_t seq) {
    mrl_chunk *chunk = mrl_slots_chunk(slots, slot);
    _Atomic uint64_t *at = &chunk->changed[slot % MRL_CHUNK_SLOTS / MRL_RUN_SLOTS];
    uint64_t before = atomic_load_explicit(at, memory_order_relaxed);
    while (before < seq && !atomic_compare_exchange_weak_explicit(
                               at, &before, seq, memory_order_relaxed, memory_order_relaxed))
        continue;
}
/* The first slot that was never given. */
static inline uint32_t mrl_slots_end(const mrl_slots *slots) {
    uint64_t next = atomic_load_explicit(&slots->next, memory_order_acquire);
    return next > MRL_SLOT_COUNT_MAX ? MRL_SLOT_COUNT_MAX : (uint32_t)next;
}

#endif
