/* memory/heap.c - a jemalloc arena for each domain, a cache for each member, and their counts.
 *
 * Every call names the arena, and no cache. The automatic cache of a thread is never used: it would
 * keep memory of our arena after the arena is gone, and hand us memory of others.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "memory/memory_private.h"

/* ---- where memory comes from ---- */

#if MRL_HEAP_IS_PLAIN

/* Stands before each object. 32 bytes, so that the object is aligned as malloc aligns. */
typedef struct mrl_heap_object {
    struct mrl_heap_object *next;
    struct mrl_heap_object *before;
    size_t size;
    size_t reserved;
} mrl_heap_object;

static merle_err arena_init(mrl_heap *heap, uint32_t huge_pages) {
    (void)huge_pages;
    mrl_lock_init(&heap->object_lock);
    heap->objects = NULL;
    return MERLE_OK;
}

static void arena_fini(mrl_heap *heap) {
    while (heap->objects != NULL) {
        mrl_heap_object *object = heap->objects;
        heap->objects = object->next;
        free(object);
    }
}

static void *arena_take(mrl_heap *heap, mrl_cache *cache, size_t size) {
    (void)cache;
    if (size > SIZE_MAX - sizeof(mrl_heap_object)) return NULL;
    mrl_heap_object *object = malloc(sizeof *object + size);
    if (object == NULL) return NULL;
    object->size = size;
    object->before = NULL;
    mrl_lock_take(&heap->object_lock);
    object->next = heap->objects;
    if (heap->objects != NULL) heap->objects->before = object;
    heap->objects = object;
    mrl_lock_drop(&heap->object_lock);
    return object + 1;
}

static void arena_give(mrl_heap *heap, mrl_cache *cache, void *memory, size_t size) {
    (void)cache;
    mrl_heap_object *object = (mrl_heap_object *)memory - 1;
    MRL_ASSERT(object->size == size);
    mrl_lock_take(&heap->object_lock);
    if (object->before != NULL)
        object->before->next = object->next;
    else
        heap->objects = object->next;
    if (object->next != NULL) object->next->before = object->before;
    mrl_lock_drop(&heap->object_lock);
    free(object);
}

void mrl_heap_trim(mrl_heap *heap, mrl_cache *own_cache) {
    (void)heap;
    (void)own_cache;
}

/* Slabs are not used; they are there for their own tests. */
void *mrl_region_take(mrl_heap *heap, size_t size, size_t alignment) {
    (void)heap;
    return aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
}

void mrl_region_give(mrl_heap *heap, void *region, size_t size, size_t alignment) {
    (void)heap, (void)size, (void)alignment;
    free(region);
}

void mrl_cache_empty(mrl_cache *cache, mrl_heap *heap) {
    (void)cache, (void)heap;
}

#else

#include <jemalloc/jemalloc.h>
#include <stdbool.h>
#include <sys/mman.h>

static int arena_control(unsigned arena, const char *verb) {
    char name[48];
    (void)snprintf(name, sizeof name, "arena.%u.%s", arena, verb);
    return mallctl(name, NULL, NULL, NULL, 0);
}

/* The arena maps memory in ever larger extents. From HUGE_FROM on we ask the system for huge pages,
 * if we shall: random reads of a large store miss the address cache at nearly every step, and a
 * small store should not take megabytes for nothing. It is advice: where the system knows no huge
 * pages nothing changes. Not by default: whoever touches one first waits until it is cleared. */
enum { HUGE_PAGE_SIZE = 2 << 20, HUGE_FROM = 4 << 20 };

/* jemalloc's own way to get and give memory, the same for all arenas. */
static const extent_hooks_t *own_hooks;
static extent_hooks_t huge_hooks;
static pthread_once_t hooks_once = PTHREAD_ONCE_INIT;

static void *map_extent(extent_hooks_t *hooks, void *new_address, size_t size, size_t alignment,
                        bool *zero, bool *commit, unsigned arena) {
    (void)hooks;
    if (size >= HUGE_FROM && alignment < HUGE_PAGE_SIZE) alignment = HUGE_PAGE_SIZE;
    void *memory = own_hooks->alloc((extent_hooks_t *)(uintptr_t)own_hooks, new_address, size,
                                    alignment, zero, commit, arena);
    if (memory != NULL && size >= HUGE_FROM) (void)madvise(memory, size, MADV_HUGEPAGE);
    return memory;
}

static void make_hooks(void) {
    extent_hooks_t *hooks = NULL;
    size_t size = sizeof hooks;
    if (mallctl("arena.0.extent_hooks", &hooks, &size, NULL, 0) != 0) return;
    own_hooks = hooks;
    huge_hooks = *hooks;
    huge_hooks.alloc = map_extent;
}

static merle_err arena_init(mrl_heap *heap, uint32_t huge_pages) {
    size_t size = sizeof heap->arena;
    extent_hooks_t *hooks = &huge_hooks;
    (void)pthread_once(&hooks_once, make_hooks);
    int has_hooks = huge_pages && own_hooks != NULL;
    int result = mallctl("arenas.create", &heap->arena, &size, has_hooks ? &hooks : NULL,
                         has_hooks ? sizeof hooks : 0);
    return result == 0 ? MERLE_OK : MERLE_NO_MEMORY;
}

static void arena_fini(mrl_heap *heap) {
    int result = arena_control(heap->arena, "destroy");
    MRL_ASSERT(result == 0);
}

/* No cache of jemalloc's: what is small comes from slabs, of which each member keeps some. */
static int flags_of(const mrl_heap *heap) {
    return (int)(MALLOCX_ARENA(heap->arena) | MALLOCX_TCACHE_NONE);
}

void *mrl_region_take(mrl_heap *heap, size_t size, size_t alignment) {
    return mallocx(size, flags_of(heap) | MALLOCX_ALIGN(alignment));
}

void mrl_region_give(mrl_heap *heap, void *region, size_t size, size_t alignment) {
    sdallocx(region, size, flags_of(heap) | MALLOCX_ALIGN(alignment));
}

/* How many objects of a class a member keeps at most. */
static size_t kept_max(size_t size) {
    size_t fitting = MRL_KEPT_BYTES_MAX / size;
    return fitting < MRL_KEPT_MAX ? fitting : MRL_KEPT_MAX;
}

static uint32_t kept_bytes(const mrl_cache *cache) {
    return atomic_load_explicit(&cache->kept_bytes, memory_order_relaxed);
}
static void kept_set(mrl_cache *cache, size_t bytes) {
    atomic_store_explicit(&cache->kept_bytes, (uint32_t)bytes, memory_order_relaxed);
}

static void class_empty(mrl_cache *cache, mrl_heap *heap, uint8_t size_class) {
    size_t count = cache->kept_counts[size_class];
    if (count == 0) return;
    mrl_slab_give(heap, size_class, cache->kept[size_class], count);
    cache->kept_counts[size_class] = 0;
    kept_set(cache, kept_bytes(cache) - count * mrl_size_of_class(size_class));
}

/* More than a member may keep: sizes in turn, until it is a half. A thread that frees many sizes
 * and then does nothing else, not even a step, would withhold a megabyte. */
static void kept_reduce(mrl_cache *cache, mrl_heap *heap) {
    while (kept_bytes(cache) > MRL_KEPT_TOTAL_MAX / 2) {
        cache->kept_next = (uint8_t)(cache->kept_next % MRL_SLAB_SMALL_COUNT + 1);
        class_empty(cache, heap, cache->kept_next);
    }
}

static void *small_take(mrl_heap *heap, mrl_cache *cache, size_t size) {
    uint8_t size_class = mrl_size_class(size);
    size_t count = cache->kept_counts[size_class];
    void **kept = cache->kept[size_class];
    if (__builtin_expect(count == 0, 0)) {
        count = mrl_slab_take(heap, size_class, kept, kept_max(size) / 2);
        if (count == 0) return NULL;
        kept_set(cache, kept_bytes(cache) + count * size);
    }
    cache->kept_counts[size_class] = (uint8_t)(count - 1);
    kept_set(cache, kept_bytes(cache) - size);
    return kept[count - 1];
}

static void small_give(mrl_heap *heap, mrl_cache *cache, void *memory, size_t size) {
    uint8_t size_class = mrl_size_class(size);
    size_t count = cache->kept_counts[size_class], max = kept_max(size);
    void **kept = cache->kept[size_class];
    if (__builtin_expect(count == max, 0)) {
        /* Those that came first are the coldest. */
        mrl_slab_give(heap, size_class, kept, max / 2);
        memmove(kept, kept + max / 2, (max - max / 2) * sizeof *kept);
        count = max - max / 2;
        kept_set(cache, kept_bytes(cache) - max / 2 * size);
    }
    kept[count] = memory;
    cache->kept_counts[size_class] = (uint8_t)(count + 1);
    kept_set(cache, kept_bytes(cache) + size);
    if (__builtin_expect(kept_bytes(cache) > MRL_KEPT_TOTAL_MAX, 0)) kept_reduce(cache, heap);
}

static void *arena_take(mrl_heap *heap, mrl_cache *cache, size_t size) {
    void *object;
    if (size <= MRL_SLAB_SMALL_MAX) return small_take(heap, cache, size);
    if (size > MRL_SLAB_SIZE_MAX) return mallocx(size, flags_of(heap));
    return mrl_slab_take(heap, mrl_size_class(size), &object, 1) == 0 ? NULL : object;
}

static void arena_give(mrl_heap *heap, mrl_cache *cache, void *memory, size_t size) {
    if (size <= MRL_SLAB_SMALL_MAX)
        small_give(heap, cache, memory, size);
    else if (size > MRL_SLAB_SIZE_MAX)
        sdallocx(memory, size, flags_of(heap));
    else
        mrl_slab_give(heap, mrl_size_class(size), &memory, 1);
}

void mrl_cache_empty(mrl_cache *cache, mrl_heap *heap) {
    for (uint8_t i = 1; i <= MRL_SLAB_SMALL_COUNT; i++) class_empty(cache, heap, i);
}

void mrl_heap_trim(mrl_heap *heap, mrl_cache *own_cache) {
    if (own_cache != NULL) mrl_cache_empty(own_cache, heap);
    mrl_slab_trim(heap);
    (void)arena_control(heap->arena, "purge");
}

#endif

/* ---- counts and limits ---- */

static int64_t limit_of(uint64_t bytes) {
    return bytes > (uint64_t)INT64_MAX ? INT64_MAX : (int64_t)bytes;
}

merle_err mrl_heap_init(mrl_heap *heap, const mrl_domain_options *options) {
    heap->refusal = options->refusal;
    heap->bytes_max = INT64_MAX;
    heap->bytes_urgent_max = INT64_MAX;
    if (options->bytes_max != 0) {
        uint64_t urgent = options->bytes_max + options->bytes_reserve;
        if (urgent < options->bytes_max) urgent = UINT64_MAX;
        heap->bytes_max = limit_of(options->bytes_max);
        heap->bytes_urgent_max = limit_of(urgent);
    }
    int64_t slack = heap->bytes_max / MRL_COUNT_SLACK_SHARE;
    if (slack < MRL_COUNT_SLACK_BYTES_MIN) slack = MRL_COUNT_SLACK_BYTES_MIN;
    heap->slack_bytes = slack < MRL_COUNT_SLACK_BYTES ? slack : MRL_COUNT_SLACK_BYTES;
    atomic_init(&heap->member_count, 0);
    mrl_lock_init(&heap->count_lock);
    for (int i = 0; i < MRL_PURPOSE_COUNT; i++) atomic_init(&heap->bytes[i], 0);
    atomic_init(&heap->bytes_total, 0);
    memset(heap->slabs, 0, sizeof heap->slabs);
    for (int i = 0; i < MRL_SLAB_CLASS_COUNT; i++) mrl_lock_init(&heap->slabs[i].lock);
    return arena_init(heap, options->huge_pages);
}

void mrl_heap_fini(mrl_heap *heap) {
    arena_fini(heap);
}

int mrl_heap_refuses(const mrl_heap *heap, size_t size) {
    const mrl_refusal *refusal = heap->refusal;
    return refusal != NULL && refusal->refuses(refusal->context, size);
}

void mrl_cache_init(mrl_cache *cache) {
    for (int i = 0; i < MRL_PURPOSE_COUNT; i++) atomic_init(&cache->bytes[i], 0);
    memset(cache->kept_counts, 0, sizeof cache->kept_counts);
    cache->kept_next = 0;
    atomic_init(&cache->kept_bytes, 0);
}

static void hand_in(mrl_cache *cache, mrl_heap *heap, mrl_purpose purpose) {
    int64_t bytes = atomic_load_explicit(&cache->bytes[purpose], memory_order_relaxed);
    int has_limit = heap->bytes_max != INT64_MAX;
    if (has_limit) mrl_lock_take(&heap->count_lock);
    atomic_store_explicit(&cache->bytes[purpose], 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&heap->bytes[purpose], bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&heap->bytes_total, bytes, memory_order_relaxed);
    if (has_limit) mrl_lock_drop(&heap->count_lock);
}

void mrl_cache_fini(mrl_cache *cache, mrl_heap *heap) {
    for (int i = 0; i < MRL_PURPOSE_COUNT; i++) hand_in(cache, heap, (mrl_purpose)i);
    mrl_cache_empty(cache, heap);
}

static void count_bytes(mrl_cache *cache, mrl_heap *heap, mrl_purpose purpose, int64_t bytes) {
    _Atomic int64_t *own = &cache->bytes[purpose];
    int64_t now = atomic_load_explicit(own, memory_order_relaxed) + bytes;
    atomic_store_explicit(own, now, memory_order_relaxed);
    if (now >= heap->slack_bytes || now <= -heap->slack_bytes) hand_in(cache, heap, purpose);
}

/* The members' slack of one purpose, under member_lock. */
static int64_t slack_of(const mrl_domain *domain, mrl_purpose purpose) {
    int64_t bytes = 0;
    for (const mrl_member *m = domain->members; m != NULL; m = m->private_part->next_in_domain)
        bytes += atomic_load_explicit(&m->private_part->cache.bytes[purpose], memory_order_relaxed);
    return bytes;
}

uint64_t mrl_domain_bytes(mrl_domain *domain, mrl_purpose purpose) {
    mrl_lock_take(&domain->member_lock);
    int64_t bytes = slack_of(domain, purpose) +
                    atomic_load_explicit(&domain->heap.bytes[purpose], memory_order_relaxed);
    mrl_lock_drop(&domain->member_lock);
    return bytes > 0 ? (uint64_t)bytes : 0;
}

/* Under member_lock. */
static int64_t bytes_exact(mrl_domain *domain) {
    mrl_lock_take(&domain->heap.count_lock);
    int64_t bytes = atomic_load_explicit(&domain->heap.bytes_total, memory_order_relaxed);
    for (int i = 0; i < MRL_PURPOSE_COUNT; i++) bytes += slack_of(domain, (mrl_purpose)i);
    mrl_lock_drop(&domain->heap.count_lock);
    return bytes;
}

uint64_t mrl_domain_bytes_total(mrl_domain *domain) {
    mrl_lock_take(&domain->member_lock);
    int64_t bytes = bytes_exact(domain);
    mrl_lock_drop(&domain->member_lock);
    return bytes > 0 ? (uint64_t)bytes : 0;
}

uint64_t mrl_domain_bytes_kept(mrl_domain *domain) {
    uint64_t bytes = 0;
    mrl_lock_take(&domain->member_lock);
    for (const mrl_member *m = domain->members; m != NULL; m = m->private_part->next_in_domain)
        bytes += atomic_load_explicit(&m->private_part->cache.kept_bytes, memory_order_relaxed);
    mrl_lock_drop(&domain->member_lock);
    return bytes;
}

/* Whether all members may have as much as they can without telling the others, and each be about to
 * take a slack more. */
static int is_well_below(const mrl_heap *heap, int64_t rounded, int64_t limit) {
    int64_t members = atomic_load_explicit(&heap->member_count, memory_order_relaxed);
    int64_t total = atomic_load_explicit(&heap->bytes_total, memory_order_relaxed);
    return rounded <= heap->slack_bytes &&
           total + members * (MRL_PURPOSE_COUNT + 1) * heap->slack_bytes <= limit;
}

/* Far from the limit, which costs two loads. Looked at again once the bytes are counted: between
 * the first look and the count this thread may have been off the processor for long. */
static int count_well_below(mrl_heap *heap, mrl_cache *cache, mrl_purpose purpose, int64_t rounded,
                            int64_t limit) {
    if (!is_well_below(heap, rounded, limit)) return 0;
    count_bytes(cache, heap, purpose, rounded);
    if (is_well_below(heap, rounded, limit)) return 1;
    count_bytes(cache, heap, purpose, -rounded);
    return 0;
}

/* Counts the bytes if they are within the limit. Near it the exact sum is made, and counted under
 * the lock: whoever comes next sees what we took. So the limit is not passed, however many threads
 * come near it at once. */
static int count_within(mrl_domain *domain, mrl_cache *cache, mrl_purpose purpose, size_t rounded,
                        int64_t limit) {
    mrl_heap *heap = &domain->heap;
    if (limit == INT64_MAX) {
        count_bytes(cache, heap, purpose, (int64_t)rounded);
        return 1;
    }
    if (rounded > (uint64_t)limit) return 0;
    if (count_well_below(heap, cache, purpose, (int64_t)rounded, limit)) return 1;
    mrl_lock_take(&domain->member_lock);
    int fits = bytes_exact(domain) <= limit - (int64_t)rounded;
    if (fits) count_bytes(cache, heap, purpose, (int64_t)rounded);
    mrl_lock_drop(&domain->member_lock);
    return fits;
}

/* Slabs and arena give whole classes; plain heaps the very size, so that a sanitizer sees its
 * bounds. */
static inline size_t size_to_take(size_t size, size_t rounded) {
    return MRL_HEAP_IS_PLAIN ? size : rounded;
}

static void *alloc_within(mrl_member *member, mrl_purpose purpose, size_t size, int64_t limit) {
    struct mrl_member_private *own = member->private_part;
    mrl_domain *domain = member->domain;
    MRL_DEBUG_ASSERT(own->self == mrl_self_get());
    MRL_ASSERT(size > 0);
    if (mrl_heap_refuses(&domain->heap, size)) return NULL;
    size_t rounded = mrl_size_round(size);
    if (!count_within(domain, &own->cache, purpose, rounded, limit)) return NULL;
    void *memory = arena_take(&domain->heap, &own->cache, size_to_take(size, rounded));
    if (memory == NULL) count_bytes(&own->cache, &domain->heap, purpose, -(int64_t)rounded);
    return memory;
}

void *mrl_alloc(mrl_member *member, mrl_purpose purpose, size_t size) {
    return alloc_within(member, purpose, size, member->domain->heap.bytes_max);
}

void *mrl_alloc_urgent(mrl_member *member, mrl_purpose purpose, size_t size) {
    return alloc_within(member, purpose, size, member->domain->heap.bytes_urgent_max);
}

void mrl_free(mrl_member *member, mrl_purpose purpose, void *memory, size_t size) {
    struct mrl_member_private *own = member->private_part;
    mrl_domain *domain = member->domain;
    MRL_DEBUG_ASSERT(own->self == mrl_self_get());
    if (memory == NULL) return;
    size_t rounded = mrl_size_round(size);
    arena_give(&domain->heap, &own->cache, memory, size_to_take(size, rounded));
    count_bytes(&own->cache, &domain->heap, purpose, -(int64_t)rounded);
}
