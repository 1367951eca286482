/* memory/slab_private.h - sizes of objects, and slabs: regions that hold objects of one size.
 *
 * What    jemalloc has four sizes between a power of two and the next one, so that an object of 210
 *         bytes takes 224, and a table of 8,400 takes 10,240. Here sizes are 16 bytes apart up to a
 *         kilobyte, and sixteen to a doubling from there to 12 KiB. A slab is a region from the
 *         arena that is cut into objects of one size; beyond 12 KiB the arena is asked directly.
 * Owns    A heap has a list of slabs for each size: those that have objects to give. A region goes
 *         back to the arena when its last object has come back, but for one of each size.
 * Threads any; a lock for each size. Whoever takes or gives many objects at once pays once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_MEMORY_SLAB_PRIVATE_H
#define MRL_MEMORY_SLAB_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"

enum {
    MRL_SLAB_SMALL_MAX = 1024,  /* sizes up to it are 16 bytes apart */
    MRL_SLAB_SIZE_MAX = 12288,  /* of an object */
    MRL_SLAB_SMALL_COUNT = 64,  /* classes of small sizes, from 1 */
    MRL_SLAB_CLASS_COUNT = 121, /* and of all sizes that slabs have */
    MRL_SLAB_BATCH_MAX = 32     /* objects taken or given at once */
};

/* ---- sizes ---- */

/* The bits of the power of two that size lies above: 10 for 1,025 to 2,048. */
static inline unsigned mrl_size_bits(size_t size) {
    return 63 - (unsigned)__builtin_clzll((unsigned long long)size - 1);
}
/* The size that is taken for a size asked. */
static inline size_t mrl_size_round(size_t size) {
    if (size <= MRL_SLAB_SMALL_MAX) return (size + 15) & ~(size_t)15;
    if (size > SIZE_MAX / 4) return size;
    unsigned step_bits = mrl_size_bits(size) - (size <= MRL_SLAB_SIZE_MAX ? 4 : 2);
    size_t step = (size_t)1 << step_bits;
    return (size + step - 1) & ~(step - 1);
}
/* A number for each rounded size, in one byte: 1 to 120 are those that slabs have. */
static inline uint8_t mrl_size_class(size_t rounded) {
    if (rounded <= MRL_SLAB_SMALL_MAX) return (uint8_t)(rounded / 16);
    unsigned bits = mrl_size_bits(rounded);
    size_t beyond = rounded - ((size_t)1 << bits);
    if (rounded <= MRL_SLAB_SIZE_MAX)
        return (uint8_t)(64 + (bits - 10) * 16 + (beyond >> (bits - 4)));
    return (uint8_t)(120 + (bits - 13) * 4 + (beyond >> (bits - 2)));
}
static inline size_t mrl_size_of_class(uint8_t size_class) {
    if (size_class <= 64) return (size_t)size_class * 16;
    if (size_class <= 120) {
        unsigned beyond = size_class - 65u;
        return (size_t)(17 + beyond % 16) << (beyond / 16 + 6);
    }
    unsigned beyond = size_class - 121u;
    return (size_t)(5 + beyond % 4) << (beyond / 4 + 11);
}

/* ---- slabs ---- */

struct mrl_slab;
struct mrl_heap;

/* One size of a heap. */
typedef struct mrl_slab_class {
    mrl_lock lock;
    uint32_t empty_count;   /* of those in the list: all their objects are here */
    struct mrl_slab *first; /* have objects to give */
    struct mrl_slab *last;
    uint8_t padding[40];
} mrl_slab_class;
_Static_assert(sizeof(mrl_slab_class) == 64, "two sizes share no line");

/* Takes up to max (at most MRL_SLAB_BATCH_MAX) objects; how many: 0 if there is no memory. */
size_t mrl_slab_take(struct mrl_heap *heap, uint8_t size_class, void **out_objects, size_t max);
/* Gives objects back, at most MRL_SLAB_BATCH_MAX, of whatever slabs of this size. */
void mrl_slab_give(struct mrl_heap *heap, uint8_t size_class, void *const *objects, size_t count);
/* Gives all regions back of which nothing is in use. */
void mrl_slab_trim(struct mrl_heap *heap);

#endif
