/* memory/memory_private.h - what domain.c, heap.c, epoch.c and block.c share, and nobody else.
 *
 * What    The insides of mrl_domain and mrl_member.
 * Owns    Domain and members live in plain memory of the process, not in the domain's arena: a
 *         member may outlive its domain until its thread takes notice.
 * Threads Each field says who may touch it. Lock order: end_lock of a member, then member_lock of
 *         the domain, then the lock of a queue (never two queues), then that of a slab's size, of a
 *         heap's object list, or of its counts.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_MEMORY_MEMORY_PRIVATE_H
#define MRL_MEMORY_MEMORY_PRIVATE_H

#include <ck_epoch.h>

#include "memory/domain.h"
#include "memory/slab_private.h"

/* Under a sanitizer each object comes from malloc, so that the sanitizer sees its bounds and its
 * end. */
#if defined(__SANITIZE_ADDRESS__)
#define MRL_HEAP_IS_PLAIN 1
#elif defined(__SANITIZE_THREAD__)
#define MRL_HEAP_IS_PLAIN 1
#define MRL_HAS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MRL_HEAP_IS_PLAIN 1
#elif __has_feature(thread_sanitizer)
#define MRL_HEAP_IS_PLAIN 1
#define MRL_HAS_TSAN 1
#endif
#endif
#ifndef MRL_HEAP_IS_PLAIN
#define MRL_HEAP_IS_PLAIN 0
#endif
#ifndef MRL_HAS_TSAN
#define MRL_HAS_TSAN 0
#endif

/* A member keeps counts of its own up to its slack, for each purpose, before it adds them to the
 * domain's. Under a limit the slack is so small that eight members have a 64th of it. */
enum {
    MRL_COUNT_SLACK_BYTES = 64 * 1024,
    MRL_COUNT_SLACK_BYTES_MIN = 1024,
    MRL_COUNT_SLACK_SHARE = 64 * 8 * MRL_PURPOSE_COUNT
};

/* ---- heap.c: the allocator and its counts ---- */

struct mrl_heap_object;

typedef struct mrl_heap {
    const mrl_refusal *refusal; /* may be NULL */
    int64_t bytes_max;          /* INT64_MAX: no limit */
    int64_t bytes_urgent_max;
    int64_t slack_bytes;
    _Atomic int64_t member_count; /* changed under member_lock */
    unsigned arena;               /* jemalloc's number */
    mrl_slab_class slabs[MRL_SLAB_CLASS_COUNT];
    /* What the members have handed in; their own slack is not in it. A member may free what
     * another one has counted, so each of these may be below zero for a while. */
    _Atomic int64_t bytes[MRL_PURPOSE_COUNT];
    _Atomic int64_t bytes_total;
    /* Where there is a limit: held while a member hands in, so that a sum finds its bytes once. */
    mrl_lock count_lock;
    /* Plain heaps only: every living object, so that all can be freed at the end, as an arena
     * would. */
    mrl_lock object_lock;
    struct mrl_heap_object *objects;
} mrl_heap;

/* Small objects that a member has at hand: what it has freed and will want again, and a few from
 * the slabs. */
enum {
    MRL_KEPT_MAX = MRL_SLAB_BATCH_MAX, /* objects of a class */
    MRL_KEPT_BYTES_MAX = 16384,        /* of a class */
    MRL_KEPT_TOTAL_MAX = 65536         /* bytes of all classes: what an idle thread withholds */
};

/* A member's part in the heap. */
typedef struct mrl_cache {
    uint8_t kept_counts[MRL_SLAB_SMALL_COUNT + 1]; /* by mrl_size_class */
    uint8_t kept_next; /* the class that gives its objects back next, if they become too many */
    _Atomic uint32_t kept_bytes; /* of all classes; owner writes, others read */
    void *kept[MRL_SLAB_SMALL_COUNT + 1][MRL_KEPT_MAX];
    _Atomic int64_t bytes[MRL_PURPOSE_COUNT]; /* not handed in yet; owner writes, others read */
} mrl_cache;

merle_err mrl_heap_init(mrl_heap *heap, const mrl_domain_options *options);
/* All caches are gone; whatever is still allocated goes now. */
void mrl_heap_fini(mrl_heap *heap);
void mrl_heap_trim(mrl_heap *heap, mrl_cache *own_cache);
int mrl_heap_refuses(const mrl_heap *heap, size_t size);
void mrl_cache_init(mrl_cache *cache);
/* Gives the cached memory back. */
void mrl_cache_empty(mrl_cache *cache, mrl_heap *heap);
/* Hands the counts in, too. */
void mrl_cache_fini(mrl_cache *cache, mrl_heap *heap);
/* Memory for a slab; what it has, not what it gives out, is counted nowhere. */
void *mrl_region_take(mrl_heap *heap, size_t size, size_t alignment);
void mrl_region_give(mrl_heap *heap, void *region, size_t size, size_t alignment);

/* ---- block.c: retired blocks ---- */

struct mrl_block;

typedef struct mrl_block_queue {
    mrl_lock lock;
    struct mrl_block *first;
    struct mrl_block *last;
    _Atomic uint64_t bytes; /* written under the lock, read by anybody */
} mrl_block_queue;

/* Puts all of `from` behind what is in `to`. */
void mrl_block_queue_append(mrl_block_queue *to, mrl_block_queue *from);

/* ---- domain.c: who takes part ---- */

/* A record cannot be unlinked from ck's list of records: it goes with the domain. */
typedef struct mrl_record {
    ck_epoch_record_t ck;
    struct mrl_record *next;
} mrl_record;

struct mrl_member_private {
    mrl_member shared;
    mrl_self *self; /* whose it is; in mrl_domain_destroy: who destroys */
    mrl_record *record;
    uint32_t entered;     /* open sections of the epoch; owner only */
    uint32_t seq_count;   /* used places of section_seqs; owner only */
    uint32_t drain_calls; /* owner only */
    uint64_t serial;      /* of the domain */
    uint32_t born_in;     /* of the domain */
    mrl_cache cache;
    mrl_block_queue retired;
    /* The thread and the domain both hold the member; the last one to let go frees it. */
    _Atomic uint32_t owners;
    mrl_lock end_lock;            /* held by whoever takes the member out of the domain */
    _Atomic uint32_t is_detached; /* the domain has let go; written under end_lock */
    mrl_member *next_in_thread;   /* owner only */
    mrl_member *next_in_domain;   /* under member_lock */
    mrl_member *before_in_domain;
};

struct mrl_domain {
    mrl_domain_front front;
    mrl_domain_options options;
    mrl_heap heap;
    /* Read by all at each section, written at each step of the epoch. */
    ck_epoch_t epoch __attribute__((aligned(64)));
    /* Members come and go. */
    mrl_lock member_lock __attribute__((aligned(64)));
    mrl_member *members;
    mrl_member *drain_next; /* where the next drain of others begins; NULL: at the orphans */
    mrl_record *records;
    uint64_t departed[MRL_COUNTER_COUNT];
    mrl_block_queue orphans; /* retired by members that are gone */
};

/* ---- epoch.c ---- */

void mrl_epoch_leave_all(mrl_member *member);

#endif
