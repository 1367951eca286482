/* store/arena.c - a stack of chunks.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/arena.h"

#include <stdint.h>

enum { CHUNK_SIZE = 4096 - 64, CHUNK_SIZE_MAX = 64 << 10 };

struct mrl_arena_chunk {
    _Alignas(16) mrl_arena_chunk *next; /* taken before this one */
    size_t size;
    uint8_t bytes[];
};

static void chunk_free(mrl_member *member, mrl_arena_chunk *chunk) {
    mrl_free(member, MRL_FOR_OTHER, chunk, sizeof *chunk + chunk->size);
}

void *mrl_arena_take(mrl_arena *arena, mrl_member *member, size_t size) {
    size = (size + 15) & ~(size_t)15;
    if (arena->chunks == NULL || arena->chunks->size - arena->used < size) {
        /* Doubling, so that many small pieces need few chunks. */
        size_t wanted = arena->chunks == NULL ? CHUNK_SIZE : 2 * arena->chunks->size;
        if (wanted > CHUNK_SIZE_MAX) wanted = CHUNK_SIZE_MAX;
        if (wanted < size) wanted = size;
        /* Urgent: a removal at the memory limit needs a little here, too. */
        mrl_arena_chunk *chunk = mrl_alloc_urgent(member, MRL_FOR_OTHER, sizeof *chunk + wanted);
        if (chunk == NULL) return NULL;
        chunk->next = arena->chunks;
        chunk->size = wanted;
        arena->chunks = chunk;
        arena->used = 0;
    }
    void *memory = arena->chunks->bytes + arena->used;
    arena->used += size;
    return memory;
}

void mrl_arena_reset(mrl_arena *arena, mrl_member *member) {
    while (arena->chunks != NULL && arena->chunks->next != NULL) {
        mrl_arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        chunk_free(member, chunk);
    }
    if (arena->chunks != NULL && arena->chunks->size > CHUNK_SIZE) mrl_arena_fini(arena, member);
    arena->used = 0;
}

void mrl_arena_fini(mrl_arena *arena, mrl_member *member) {
    for (mrl_arena_chunk *chunk = arena->chunks, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        chunk_free(member, chunk);
    }
    arena->chunks = NULL;
    arena->used = 0;
}
