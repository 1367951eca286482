/* store/queue.c - a chunked queue whose room is reserved ahead.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/queue.h"

#include <string.h>

#include "base/assert.h"

/* The first chunk of a quiet shard is one line; who retires much gets larger ones. */
enum { CHUNK_MIN = 3, CHUNK_MAX = 31 };

struct mrl_queue_chunk {
    mrl_queue_chunk *next;
    uint32_t room; /* of the tail: entries reserved and not pushed, here and in those behind */
    uint32_t capacity;
    mrl_queue_entry entries[];
};
_Static_assert(sizeof(mrl_queue_chunk) == sizeof(mrl_queue_entry), "a chunk has a size of its own");

static size_t chunk_size(uint32_t capacity) {
    return sizeof(mrl_queue_chunk) + capacity * sizeof(mrl_queue_entry);
}

static void chunk_free(mrl_member *member, mrl_queue_chunk *chunk) {
    mrl_free(member, MRL_FOR_OTHER, chunk, chunk_size(chunk->capacity));
}

static void set_length(mrl_queue *queue, uint32_t length) {
    atomic_store_explicit(&queue->length, length, memory_order_relaxed);
}

void mrl_queue_init(mrl_queue *queue) {
    memset(queue, 0, sizeof *queue);
}

void mrl_queue_fini(mrl_queue *queue, mrl_member *member) {
    for (mrl_queue_chunk *chunk = queue->head, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        chunk_free(member, chunk);
    }
    mrl_queue_init(queue);
}

/* As large as what waits and what is asked for. Retiring is what gives memory back: so a chunk may
 * come from the reserve. */
static mrl_queue_chunk *chunk_create(mrl_member *member, uint32_t wanted) {
    uint32_t capacity = CHUNK_MIN;
    while (capacity < wanted && capacity < CHUNK_MAX) capacity = 2 * capacity + 1;
    mrl_queue_chunk *chunk = mrl_alloc_urgent(member, MRL_FOR_OTHER, chunk_size(capacity));
    if (chunk == NULL) return NULL;
    *chunk = (mrl_queue_chunk){.capacity = capacity};
    return chunk;
}

merle_err mrl_queue_reserve(mrl_queue *queue, mrl_member *member, uint32_t count) {
    mrl_queue_chunk *last = queue->tail;
    while (last != NULL && last->next != NULL) last = last->next;
    while (count > 0 && (last == NULL || queue->tail->room < count)) {
        mrl_queue_chunk *chunk = chunk_create(member, mrl_queue_length(queue) + count);
        if (chunk == NULL) return MERLE_NO_MEMORY;
        if (last == NULL) {
            queue->head = queue->tail = chunk;
            queue->head_at = queue->tail_at = 0;
        } else {
            last->next = chunk;
        }
        last = chunk;
        queue->tail->room += chunk->capacity;
    }
    return MERLE_OK;
}

mrl_queue_entry *mrl_queue_push(mrl_queue *queue, mrl_version *version, mrl_queued kind,
                                uint32_t ticket) {
    MRL_ASSERT(queue->tail != NULL && queue->tail->room > 0);
    if (queue->tail_at == queue->tail->capacity) {
        queue->tail->next->room = queue->tail->room;
        queue->tail = queue->tail->next;
        queue->tail_at = 0;
    }
    mrl_queue_entry *entry = &queue->tail->entries[queue->tail_at++];
    entry->version = version;
    entry->ticket = ticket;
    entry->kind = (uint32_t)kind & 3;
    entry->hints_passed_on = 0;
    entry->size = (uint32_t)mrl_version_size(version) & 0x1fffffff;
    queue->tail->room--;
    set_length(queue, mrl_queue_length(queue) + 1);
    return entry;
}

const mrl_queue_entry *mrl_queue_peek(const mrl_queue *queue) {
    if (mrl_queue_length(queue) == 0) return NULL;
    if (queue->head_at == queue->head->capacity) return &queue->head->next->entries[0];
    return &queue->head->entries[queue->head_at];
}

void mrl_queue_pop(mrl_queue *queue, mrl_member *member) {
    MRL_ASSERT(mrl_queue_length(queue) > 0);
    if (queue->head_at == queue->head->capacity) {
        mrl_queue_chunk *empty = queue->head;
        queue->head = empty->next;
        queue->head_at = 0;
        chunk_free(member, empty);
    }
    queue->head_at++;
    set_length(queue, mrl_queue_length(queue) - 1);
    if (mrl_queue_length(queue) == 0 && queue->head == queue->tail) {
        /* Empty: begin the chunk again, so that a quiet shard keeps just one. */
        queue->tail->room += queue->tail_at;
        queue->head_at = queue->tail_at = 0;
    }
}

int mrl_queue_each(const mrl_queue *queue, int (*fn)(void *context, const mrl_queue_entry *entry),
                   void *context) {
    const mrl_queue_chunk *chunk = queue->head;
    uint32_t at = queue->head_at;
    for (uint32_t left = mrl_queue_length(queue); left > 0; left--) {
        if (at == chunk->capacity) {
            chunk = chunk->next;
            at = 0;
        }
        int stop = fn(context, &chunk->entries[at++]);
        if (stop != 0) return stop;
    }
    return 0;
}
