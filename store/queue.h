/* store/queue.h - what a shard has retired and not yet reclaimed, first in, first out.
 *
 * What    entries of (version, kind, ticket). Room is reserved ahead: a push never fails.
 * Owns    its chunks, not the versions.
 * Threads who holds the shard's lock; `mrl_queue_length` any (an estimate).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_QUEUE_H
#define MRL_STORE_QUEUE_H

#include <stdatomic.h>
#include <stdint.h>

#include "memory/domain.h"
#include "store/version.h"

typedef enum mrl_queued {
    /* A newer version of the slot was published: its hints that no newer one has go, and it is
     * freed. */
    MRL_QUEUED_SUPERSEDED = 0,
    /* A tombstone was published: if it is still current, key entry and slot pointer go. Else
     * nothing. */
    MRL_QUEUED_TOMBSTONE = 1,
    /* Out of reach but for those who had it already: freed, and the slot is free. */
    MRL_QUEUED_LIMBO = 2
} mrl_queued;

typedef struct mrl_queue_entry {
    mrl_version *version;
    uint32_t ticket;
    uint32_t kind : 2;
    /* SUPERSEDED by a version with the same unique values: the hints are that one's affair now, and
     * reclaiming need not look at either of the two. */
    uint32_t hints_passed_on : 1;
    /* Of the version: freeing need not look at it, it has long been out of the cache. */
    uint32_t size : 29;
} mrl_queue_entry;
_Static_assert(sizeof(mrl_queue_entry) == 16, "a queue's entry is two words");

typedef struct mrl_queue_chunk mrl_queue_chunk;

/* What else there is to know stands in the chunks: a shard has one line for all that it writes. */
typedef struct mrl_queue {
    mrl_queue_chunk *head; /* oldest; NULL: no chunk yet */
    mrl_queue_chunk *tail; /* the one that is filled; it knows the room that is reserved */
    _Atomic uint32_t length;
    uint16_t head_at;
    uint16_t tail_at;
} mrl_queue;

void mrl_queue_init(mrl_queue *queue);
void mrl_queue_fini(mrl_queue *queue, mrl_member *member);
/* From now on count pushes cannot fail. urgent: may use the reserve. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_queue_reserve(mrl_queue *queue, mrl_member *member, uint32_t count);
/* Gives the new entry, for a word that the caller wants to add. */
mrl_queue_entry *mrl_queue_push(mrl_queue *queue, mrl_version *version, mrl_queued kind,
                                uint32_t ticket);
/* The oldest, or NULL. */
const mrl_queue_entry *mrl_queue_peek(const mrl_queue *queue);
void mrl_queue_pop(mrl_queue *queue, mrl_member *member);
/* Calls fn for each, oldest first, until it returns non-zero. */
int mrl_queue_each(const mrl_queue *queue, int (*fn)(void *context, const mrl_queue_entry *entry),
                   void *context);
static inline uint32_t mrl_queue_length(const mrl_queue *queue) {
    return atomic_load_explicit(&queue->length, memory_order_relaxed);
}

#endif
