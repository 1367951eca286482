/* base/buffer.h - growable bytes over a merle_buffer.
 *
 * What    makes room in, and appends to, the buffers in which calls hand bytes to their caller.
 * Owns    nothing; the buffer's memory comes from malloc and goes back with merle_buffer_free.
 * Sees    a failed call leaves the buffer as it was: same bytes, same size, same capacity.
 * Threads owner only.
 * Limits  a buffer grows to at most 1 GiB; the caller has its own, smaller limits.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_BASE_BUFFER_H
#define MRL_BASE_BUFFER_H

#include <string.h>

#include <merle/base.h>

#include "base/seam.h"

#define MRL_BUFFER_SIZE_MAX ((size_t)1 << 30)

/* Tests only: asked before this thread's buffers grow and before mrl_allocate; NULL: nobody is. */
extern MRL_THREAD_LOCAL const mrl_refusal *mrl_refusal_of_thread;

/* malloc, behind that question. The memory goes back with free. */
void *mrl_allocate(size_t size);

/* Makes the buffer's capacity at least size + room, and at least doubles it if it has to grow.
 * Use mrl_buffer_reserve instead, which tests for room inline. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_buffer_grow(merle_buffer *buffer, size_t room);

/* Makes sure that room more bytes fit behind the buffer's size. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE static inline merle_err mrl_buffer_reserve(merle_buffer *buffer, size_t room) {
    if (__builtin_expect(buffer->capacity - buffer->size >= room, 1)) return MERLE_OK;
    return mrl_buffer_grow(buffer, room);
}

/* Appends size bytes. data must not lie inside the buffer. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE static inline merle_err mrl_buffer_append(merle_buffer *buffer, const void *data,
                                                         size_t size) {
    merle_err err = mrl_buffer_reserve(buffer, size);
    if (err != MERLE_OK) return err;
    if (size > 0) memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    return MERLE_OK;
}

#endif
