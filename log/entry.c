/* log/entry.c - makes and ends entries that are not in the ring.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "log/log.h"

#include <stddef.h>

#include "base/assert.h"

_Static_assert(offsetof(mrl_entry, body) == offsetof(mrl_entry, header) + MRL_FRAME_HEADER_SIZE,
               "header and body are written to a disk as one piece");

static mrl_entry *entry_init(mrl_entry *entry, size_t body_capacity) {
    /* A commit's size has a limit far below; without it the frame could not tell the length. */
    MRL_ASSERT(body_capacity <= UINT32_MAX);
    if (entry == NULL) return NULL;
    entry->seq = UINT64_MAX;
    entry->time_ns = 0;
    entry->credit = mrl_entry_credit(body_capacity);
    entry->body_size = 0;
    entry->body_capacity = (uint32_t)body_capacity;
    entry->body_crc = 0;
    entry->operation_count = 0;
    entry->loose = 0;
    entry->is_memory_only = 0;
    entry->is_led = 0;
    entry->images = NULL;
    return entry;
}

mrl_entry *mrl_entry_create(mrl_member *member, size_t body_capacity) {
    return entry_init(mrl_block_alloc(member, MRL_FOR_LOG, sizeof(mrl_entry) + body_capacity),
                      body_capacity);
}

mrl_entry *mrl_entry_create_urgent(mrl_member *member, size_t body_capacity) {
    return entry_init(
        mrl_block_alloc_urgent(member, MRL_FOR_LOG, sizeof(mrl_entry) + body_capacity),
        body_capacity);
}

void mrl_entry_destroy(mrl_member *member, mrl_entry *entry) {
    if (entry->images != NULL) mrl_block_free(member, entry->images);
    mrl_block_free(member, entry);
}
