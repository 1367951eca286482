/* memory/block.c - blocks: memory that can be retired without allocating.
 *
 * A retired block waits in its member's queue, oldest first, with the ticket that was taken when it
 * was retired. The tickets of a queue grow (but for what comes from members that are gone, one
 * after the other), so whoever drains looks at the first one only.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/assert.h"
#include "memory/memory_private.h"

enum { BLOCK_IN_USE = 0xb10c, BLOCK_RETIRED = 0xdead };

/* In front of each block, 16 bytes. One byte is enough for the size: see mrl_size_class. */
typedef struct mrl_block {
    struct mrl_block *next; /* once retired, under the queue's lock */
    uint32_t ticket;        /* once retired */
    uint8_t size_class;
    uint8_t purpose;
    uint16_t state;
} mrl_block;

_Static_assert(sizeof(mrl_block) == 16, "what follows the header is aligned to 16 bytes");

static mrl_block *block_of(void *memory) {
    mrl_block *block = (mrl_block *)memory - 1;
    MRL_ASSERT(block->state == BLOCK_IN_USE);
    return block;
}

typedef void *alloc_fn(mrl_member *member, mrl_purpose purpose, size_t size);

static void *block_alloc(alloc_fn *alloc, mrl_member *member, mrl_purpose purpose, size_t size) {
    MRL_ASSERT(size > 0);
    if (size > SIZE_MAX / 8) return NULL;
    size_t rounded = mrl_size_round(size + sizeof(mrl_block));
    mrl_block *block = alloc(member, purpose, rounded);
    if (block == NULL) return NULL;
    block->next = NULL;
    block->ticket = 0;
    block->size_class = mrl_size_class(rounded);
    block->purpose = (uint8_t)purpose;
    block->state = BLOCK_IN_USE;
    return block + 1;
}

void *mrl_block_alloc(mrl_member *member, mrl_purpose purpose, size_t size) {
    return block_alloc(mrl_alloc, member, purpose, size);
}

void *mrl_block_alloc_urgent(mrl_member *member, mrl_purpose purpose, size_t size) {
    return block_alloc(mrl_alloc_urgent, member, purpose, size);
}

size_t mrl_block_bytes(size_t size) {
    return mrl_size_round(size + sizeof(mrl_block));
}

size_t mrl_block_step(size_t size) {
    size += sizeof(mrl_block);
    size_t step = size <= 128 ? 16 : (size_t)1 << (mrl_size_bits(size) - 2);
    return ((size + step - 1) & ~(step - 1)) - sizeof(mrl_block);
}

static void give_back(mrl_member *member, mrl_block *block) {
    block->state = 0;
    mrl_free(member, (mrl_purpose)block->purpose, block, mrl_size_of_class(block->size_class));
}

void mrl_block_free(mrl_member *member, void *memory) {
    if (memory != NULL) give_back(member, block_of(memory));
}

void mrl_block_retire(mrl_member *member, void *memory) {
    mrl_block_queue *queue = &member->private_part->retired;
    mrl_block *block = block_of(memory);
    MRL_DEBUG_ASSERT(member->private_part->self == mrl_self_get());
    block->state = BLOCK_RETIRED;
    block->next = NULL;
    block->ticket = mrl_ticket_take(member->domain);
    mrl_lock_take(&queue->lock);
    if (queue->last != NULL)
        queue->last->next = block;
    else
        queue->first = block;
    queue->last = block;
    atomic_fetch_add_explicit(&queue->bytes, mrl_size_of_class(block->size_class),
                              memory_order_relaxed);
    mrl_lock_drop(&queue->lock);
}

void mrl_block_queue_append(mrl_block_queue *to, mrl_block_queue *from) {
    mrl_lock_take(&from->lock);
    mrl_block *first = from->first, *last = from->last;
    uint64_t bytes = atomic_load_explicit(&from->bytes, memory_order_relaxed);
    from->first = from->last = NULL;
    atomic_store_explicit(&from->bytes, 0, memory_order_relaxed);
    mrl_lock_drop(&from->lock);
    if (first == NULL) return;
    mrl_lock_take(&to->lock);
    if (to->last != NULL)
        to->last->next = first;
    else
        to->first = first;
    to->last = last;
    atomic_fetch_add_explicit(&to->bytes, bytes, memory_order_relaxed);
    mrl_lock_drop(&to->lock);
}

/* What a drain has taken out of the queues and not yet freed. */
typedef struct mrl_harvest {
    mrl_block *first;
    mrl_block **end; /* where the next one is hung */
    size_t count;
    size_t max;
} mrl_harvest;

static void harvest_queue(mrl_domain *domain, mrl_block_queue *queue, mrl_harvest *harvest) {
    if (harvest->count == harvest->max) return;
    if (atomic_load_explicit(&queue->bytes, memory_order_relaxed) == 0) return;
    mrl_lock_take(&queue->lock);
    while (harvest->count < harvest->max && queue->first != NULL &&
           mrl_ticket_passed(domain, queue->first->ticket)) {
        mrl_block *block = queue->first;
        queue->first = block->next;
        if (queue->first == NULL) queue->last = NULL;
        atomic_fetch_sub_explicit(&queue->bytes, mrl_size_of_class(block->size_class),
                                  memory_order_relaxed);
        block->next = NULL;
        *harvest->end = block;
        harvest->end = &block->next;
        harvest->count++;
    }
    mrl_lock_drop(&queue->lock);
}

/* The queues in a ring: orphans (NULL), then each member. Each call begins where the last one
 * has stopped, so that a small max comes round to everybody. */
static void harvest_others(mrl_domain *domain, mrl_harvest *harvest) {
    mrl_lock_take(&domain->member_lock);
    mrl_member *start = domain->drain_next;
    mrl_member *at = start;
    do {
        mrl_block_queue *queue = at != NULL ? &at->private_part->retired : &domain->orphans;
        harvest_queue(domain, queue, harvest);
        at = at != NULL ? at->private_part->next_in_domain : domain->members;
    } while (at != start && harvest->count < harvest->max);
    domain->drain_next = at;
    mrl_lock_drop(&domain->member_lock);
}

/* How often a member whose own queue is never empty looks after others all the same. */
enum { OWN_DRAINS_MAX = 64 };

static void harvest_all(mrl_member *member, mrl_harvest *harvest) {
    struct mrl_member_private *own = member->private_part;
    harvest_queue(member->domain, &own->retired, harvest);
    /* If our own oldest block has to wait, those of others most likely have to as well: writers
     * that all keep up with their own blocks need not meet at the member lock. */
    int is_own_empty = atomic_load_explicit(&own->retired.bytes, memory_order_relaxed) == 0;
    if (harvest->count < harvest->max && (is_own_empty || ++own->drain_calls % OWN_DRAINS_MAX == 0))
        harvest_others(member->domain, harvest);
}

size_t mrl_domain_drain(mrl_member *member, size_t max) {
    mrl_harvest harvest = {.first = NULL, .count = 0, .max = max};
    harvest.end = &harvest.first;
    MRL_DEBUG_ASSERT(member->private_part->self == mrl_self_get());
    if (max == 0) return 0;
    harvest_all(member, &harvest);
    if (harvest.count == 0 &&
        (atomic_load_explicit(&member->private_part->retired.bytes, memory_order_relaxed) != 0 ||
         mrl_domain_bytes_waiting(member->domain) != 0)) {
        mrl_epoch_advance(member);
        harvest_all(member, &harvest);
    }
    for (mrl_block *block = harvest.first, *next; block != NULL; block = next) {
        next = block->next;
        give_back(member, block);
    }
    return harvest.count;
}

uint64_t mrl_domain_bytes_waiting(mrl_domain *domain) {
    mrl_lock_take(&domain->member_lock);
    uint64_t bytes = atomic_load_explicit(&domain->orphans.bytes, memory_order_relaxed);
    for (mrl_member *m = domain->members; m != NULL; m = m->private_part->next_in_domain)
        bytes += atomic_load_explicit(&m->private_part->retired.bytes, memory_order_relaxed);
    mrl_lock_drop(&domain->member_lock);
    return bytes;
}
