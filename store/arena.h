/* store/arena.h - memory that a commit takes piece by piece and gives back at once.
 *
 * Owns    its chunks (domain, MRL_FOR_OTHER). The first chunk is kept for the next commit.
 * Threads owner only.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_ARENA_H
#define MRL_STORE_ARENA_H

#include <stddef.h>

#include "memory/domain.h"

typedef struct mrl_arena_chunk mrl_arena_chunk;

typedef struct mrl_arena {
    mrl_arena_chunk *chunks; /* the one in use first */
    size_t used;             /* of that one */
} mrl_arena;

/* 16-byte aligned; NULL: no memory. */
void *mrl_arena_take(mrl_arena *arena, mrl_member *member, size_t size);
/* Everything taken is gone; the first chunk stays. */
void mrl_arena_reset(mrl_arena *arena, mrl_member *member);
void mrl_arena_fini(mrl_arena *arena, mrl_member *member);

#endif
