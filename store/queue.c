/* store/queue.c - a chunked queue whose room is reserved ahead.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/queue.h"

#include <string.h>

#include "base/assert.h"

enum { CHUNK_ENTRIES = 30 };

struct mrl_queue_chunk {
    mrl_queue_chunk *next;
    mrl_queue_entry entries[CHUNK_ENTRIES];
};

static void set_length(mrl_queue *queue, uint32_t length) {
    atomic_store_explicit(&queue->length, length, memory_order_relaxed);
}

void mrl_queue_init(mrl_queue *queue) {
    memset(queue, 0, sizeof *queue);
}

void mrl_queue_fini(mrl_queue *queue, mrl_member *member) {
    for (mrl_queue_chunk *chunk = queue->head, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        mrl_free(member, MRL_FOR_OTHER, chunk, sizeof *chunk);
    }
    mrl_queue_init(queue);
}

merle_err mrl_queue_reserve(mrl_queue *queue, mrl_member *member, uint32_t count) {
    /* room counts what is free behind tail_at, in the tail chunk and in those linked behind it. */
    mrl_queue_chunk *last = queue->tail;
    while (last != NULL && last->next != NULL) last = last->next;
    while (queue->room < count) {
        /* Retiring is what gives memory back: it may go into the reserve. */
        mrl_queue_chunk *chunk = mrl_alloc_urgent(member, MRL_FOR_OTHER, sizeof *chunk);
        if (chunk == NULL) return MERLE_NO_MEMORY;
        chunk->next = NULL;
        if (last == NULL) {
            queue->head = queue->tail = chunk;
            queue->head_at = queue->tail_at = 0;
        } else {
            last->next = chunk;
        }
        last = chunk;
        queue->room += CHUNK_ENTRIES;
    }
    return MERLE_OK;
}

mrl_queue_entry *mrl_queue_push(mrl_queue *queue, mrl_version *version, mrl_queued kind,
                                uint32_t ticket) {
    MRL_ASSERT(queue->room > 0);
    if (queue->tail_at == CHUNK_ENTRIES) {
        queue->tail = queue->tail->next;
        queue->tail_at = 0;
    }
    mrl_queue_entry *entry = &queue->tail->entries[queue->tail_at++];
    entry->version = version;
    entry->ticket = ticket;
    entry->kind = (uint32_t)kind & 3;
    entry->hints_passed_on = 0;
    entry->size = (uint32_t)mrl_version_size(version) & 0x1fffffff;
    queue->room--;
    set_length(queue, mrl_queue_length(queue) + 1);
    return entry;
}

const mrl_queue_entry *mrl_queue_peek(const mrl_queue *queue) {
    if (mrl_queue_length(queue) == 0) return NULL;
    if (queue->head_at == CHUNK_ENTRIES) return &queue->head->next->entries[0];
    return &queue->head->entries[queue->head_at];
}

void mrl_queue_pop(mrl_queue *queue, mrl_member *member) {
    MRL_ASSERT(mrl_queue_length(queue) > 0);
    if (queue->head_at == CHUNK_ENTRIES) {
        mrl_queue_chunk *empty = queue->head;
        queue->head = empty->next;
        queue->head_at = 0;
        mrl_free(member, MRL_FOR_OTHER, empty, sizeof *empty);
    }
    queue->head_at++;
    set_length(queue, mrl_queue_length(queue) - 1);
    if (mrl_queue_length(queue) == 0 && queue->head == queue->tail) {
        /* Empty: begin the chunk again, so that a quiet shard keeps just one. */
        queue->room += queue->tail_at;
        queue->head_at = queue->tail_at = 0;
    }
}

int mrl_queue_each(const mrl_queue *queue, int (*fn)(void *context, const mrl_queue_entry *entry),
                   void *context) {
    const mrl_queue_chunk *chunk = queue->head;
    uint32_t at = queue->head_at;
    for (uint32_t left = mrl_queue_length(queue); left > 0; left--) {
        if (at == CHUNK_ENTRIES) {
            chunk = chunk->next;
            at = 0;
        }
        int stop = fn(context, &chunk->entries[at++]);
        if (stop != 0) return stop;
    }
    return 0;
}
