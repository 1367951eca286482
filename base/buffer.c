/* base/buffer.c - growable bytes over a merle_buffer. SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

#include <stdlib.h>

#include "base/assert.h"

/* Most documents fit into the first piece, so that a fresh buffer rarely grows twice. */
#define CAPACITY_MIN ((size_t)256)

MRL_THREAD_LOCAL const mrl_refusal *mrl_refusal_of_thread;

static int is_refused(size_t size) {
    const mrl_refusal *refusal = mrl_refusal_of_thread;
    return refusal != NULL && refusal->refuses(refusal->context, size);
}

void *mrl_allocate(size_t size) {
    if (is_refused(size)) return NULL;
    return malloc(size);
}

merle_err mrl_buffer_grow(merle_buffer *buffer, size_t room) {
    MRL_ASSERT(buffer->size <= buffer->capacity);
    if (room > MRL_BUFFER_SIZE_MAX - buffer->size) return MERLE_NO_MEMORY;
    size_t needed = buffer->size + room;
    size_t capacity = buffer->capacity < CAPACITY_MIN ? CAPACITY_MIN : buffer->capacity;
    while (capacity < needed) capacity *= 2;
    if (is_refused(capacity)) return MERLE_NO_MEMORY;
    uint8_t *data = realloc(buffer->data, capacity);
    if (data == NULL) return MERLE_NO_MEMORY;
    buffer->data = data;
    buffer->capacity = capacity;
    return MERLE_OK;
}

void merle_buffer_free(merle_buffer *buffer) {
    if (buffer == NULL) return;
    free(buffer->data);
    buffer->data = NULL;
    buffer->size = 0;
    buffer->capacity = 0;
}
