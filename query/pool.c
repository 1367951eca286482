/* query/pool.c - the memory of one query, taken piece by piece and given back at once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "base/buffer.h"
#include "query/query_private.h"

enum { PIECE_SIZE = 8192 };

void mrl_pool_init(mrl_pool *pool, void *first, size_t first_size) {
    pool->pieces = NULL;
    pool->at = first;
    pool->left = first_size;
    pool->taken = 0;
}

void *mrl_pool_take(mrl_pool *pool, size_t size) {
    size = (size + 15) & ~(size_t)15;
    if (size > pool->left) {
        size_t piece_size = sizeof(mrl_pool_piece) + (size > PIECE_SIZE ? size : PIECE_SIZE);
        mrl_pool_piece *piece = mrl_allocate(piece_size);
        if (piece == NULL) return NULL;
        piece->next = pool->pieces;
        pool->pieces = piece;
        pool->at = (uint8_t *)(piece + 1);
        pool->left = piece_size - sizeof *piece;
        pool->taken += piece_size;
    }
    void *memory = pool->at;
    pool->at += size;
    pool->left -= size;
    return memory;
}

void mrl_pool_fini(mrl_pool *pool) {
    for (mrl_pool_piece *piece = pool->pieces, *next; piece != NULL; piece = next) {
        next = piece->next;
        free(piece);
    }
    pool->pieces = NULL;
}
