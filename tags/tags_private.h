/* tags/tags_private.h - the insides of a tags index: tags, spans, directories.
 *
 * What    A tag's root is NULL, one span, or a directory of spans. A span covers an aligned range
 *         of 2^bits slots (12 to 30 bits); spans do not overlap, what lies between them is empty.
 *         So a window of 4,096 slots is never divided among two spans.
 *         Readers load the root, then the directory's place (acquire both), and see a span whole. A
 *         span that is replaced stays as it was, frozen, for those who had found it; so does a
 *         directory. What they lack was changed later than that, by commits that those readers do
 *         not see: the argument of "Splits and old lookups" in docs/architecture.md.
 * Threads the tag's lock for all changes of its set. Fields that readers look at are atomic, or do
 *         not change while the block can be found.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_TAGS_TAGS_PRIVATE_H
#define MRL_TAGS_TAGS_PRIVATE_H

#include <sched.h>
#include <stdatomic.h>

#include "base/assert.h"
#include "base/lock.h"
#include "memory/map.h"
#include "tags/algebra.h"

enum {
    MRL_WINDOW_BITS = 12,
    MRL_WINDOW_SLOTS = 1 << MRL_WINDOW_BITS,
    MRL_SPAN_BITS_MAX = 30, /* an array keeps two bits of each word for the entry's state */
    MRL_LIST_HEIGHT_MAX = 12,
    MRL_TAGS_SHARD_COUNT = MRL_SHARD_COUNT / 4 /* locked only by tags that come or go */
};

/* ---- spans ---- */

typedef enum mrl_form { MRL_FORM_ARRAY = 1, MRL_FORM_BITMAP, MRL_FORM_DIRECTORY } mrl_form;

/* How each span begins; form and bits stand at the same place in a directory. */
typedef struct mrl_span {
    uint8_t form;
    uint8_t bits;
    uint16_t capacity; /* array: entries */
    uint32_t base;
    _Atomic uint32_t version; /* array: odd while it is being changed */
    _Atomic uint32_t touched; /* see tags/set.h */
    _Atomic uint16_t entry_count;
    _Atomic uint16_t live_count; /* those without a mark */
} mrl_span;

/* Spans in the order of their slots. Behind the places, count bases: so a search stays within few
 * lines; and behind them count flags. Only the places ever change, each from one span to a newer
 * one of the same range. */
typedef struct mrl_directory {
    uint8_t form;
    uint8_t bits;
    uint16_t unused;
    uint32_t count;
    _Atomic(mrl_span *) places[];
} mrl_directory;

typedef union mrl_root {
    uint8_t form;
    mrl_span span;
    mrl_directory directory;
} mrl_root;

/* ---- tags ---- */

struct mrl_tag {
    _Atomic(mrl_root *) root;
    uint64_t hash;
    struct mrl_tag *sweep_next; /* under the index's sweep_lock */
    mrl_lock lock;
    _Atomic uint32_t entry_count; /* changed under the lock, as live_count */
    _Atomic uint32_t live_count;  /* entries without a mark */
    uint32_t sweep_from;          /* under the lock: where the next sweep begins */
    uint32_t sweep_ticket;        /* as sweep_next: before it has passed there is nothing to do */
    uint16_t name_size;
    uint8_t height;    /* in the ordered list */
    uint8_t is_dead;   /* under the lock: it can no longer be found, and stays empty */
    uint8_t is_queued; /* under the lock: a sweep has it, or will come to it */
    _Atomic(struct mrl_tag *) next[]; /* height of them, then the name */
};

typedef struct mrl_tags_shard {
    mrl_map map; /* of mrl_tag */
    mrl_lock lock;
    uint32_t change_count; /* under the lock: tags made and dropped; check looks at it */
} mrl_tags_shard;

struct mrl_tags {
    uint64_t seed;
    mrl_tags_shard shards[MRL_TAGS_SHARD_COUNT];
    _Atomic(mrl_tag *) list_heads[MRL_LIST_HEIGHT_MAX];
    mrl_lock list_lock;
    /* What stands above is read by every lookup and seldom changes; what follows changes often. */
    uint8_t padding[64];
    mrl_lock sweep_lock;
    _Atomic uint32_t sweep_count;  /* tags in the queue */
    _Atomic uint32_t sweep_ticket; /* of the first one */
    mrl_tag *sweep_first, *sweep_last;
    _Atomic uint64_t tag_count, span_count, bitmap_count, block_bytes;
};

static inline uint8_t *mrl_tag_name(const mrl_tag *tag) {
    return (uint8_t *)(uintptr_t)&tag->next[tag->height];
}
static inline mrl_tags_shard *mrl_tags_shard_of(const mrl_tags *tags, uint64_t hash) {
    return (mrl_tags_shard *)(uintptr_t)&tags->shards[mrl_shard_of(hash) / 4];
}

/* One call of a writer, with the tag's lock held. */
typedef struct mrl_set_change {
    mrl_tags *tags;
    mrl_member *member;
    mrl_tag *tag;
    uint32_t now; /* a ticket taken for this call */
} mrl_set_change;

/* ---- loads and stores that need no order, and counts under the lock ---- */

#define MRL_GET(at) atomic_load_explicit((at), memory_order_relaxed)
#define MRL_SET(at, value) atomic_store_explicit((at), (value), memory_order_relaxed)

static inline void mrl_span_count(mrl_span *span, mrl_tag *tag, int entries, int live) {
    MRL_SET(&span->entry_count, (uint16_t)(MRL_GET(&span->entry_count) + entries));
    MRL_SET(&span->live_count, (uint16_t)(MRL_GET(&span->live_count) + live));
    MRL_SET(&tag->entry_count, MRL_GET(&tag->entry_count) + (uint32_t)entries);
    MRL_SET(&tag->live_count, MRL_GET(&tag->live_count) + (uint32_t)live);
}
static inline uint32_t mrl_span_marked(const mrl_span *span) {
    return (uint32_t)MRL_GET(&span->entry_count) - MRL_GET(&span->live_count);
}

/* ---- ranges ---- */

static inline uint32_t mrl_span_last(const mrl_span *span) {
    return span->base + (((uint32_t)1 << span->bits) - 1);
}
static inline int mrl_span_covers(const mrl_span *span, uint32_t slot) {
    return ((slot ^ span->base) >> span->bits) == 0;
}
static inline uint32_t mrl_slot_after(uint32_t slot) {
    return slot == MRL_TAGS_END ? MRL_TAGS_END : slot + 1;
}
/* Whether what was touched then is settled for a section: see tags/set.h. */
static inline int mrl_is_settled(uint32_t touched, uint32_t section_epoch) {
    return (int32_t)(section_epoch - (touched + 2)) >= 0;
}

/* ---- directories ---- */

static inline uint32_t *mrl_directory_bases(const mrl_directory *d) {
    return (uint32_t *)(uintptr_t)&d->places[d->count];
}
/* Under the lock, one a place: the span may have marks. So a sweep need not look at all spans. */
static inline uint8_t *mrl_directory_flags(const mrl_directory *d) {
    return (uint8_t *)(mrl_directory_bases(d) + d->count);
}
static inline mrl_span *mrl_directory_at(const mrl_directory *d, uint32_t at) {
    /* Acquire: pairs with the release in put_place; a reader sees the span filled. */
    return atomic_load_explicit(&d->places[at], memory_order_acquire);
}
static inline mrl_root *mrl_tag_root(const mrl_tag *tag) {
    /* Acquire: pairs with the release in put_root; a reader sees span or directory filled. */
    return atomic_load_explicit(&tag->root, memory_order_acquire);
}
/* How many spans begin at or before the slot. Where most windows have a span of their own, the
 * first guess is right. */
static inline uint32_t mrl_directory_search(const mrl_directory *d, uint32_t slot) {
    const uint32_t *bases = mrl_directory_bases(d);
    if (slot < bases[0]) return 0;
    uint32_t guess = (slot - bases[0]) >> MRL_WINDOW_BITS;
    if (guess < d->count && bases[guess] <= slot &&
        (guess + 1 == d->count || slot < bases[guess + 1]))
        return guess + 1;
    uint32_t low = 0, size = d->count;
    while (size > 1) {
        uint32_t half = size / 2;
        low += bases[low + half] <= slot ? half : 0;
        size -= half;
    }
    return low + 1;
}
/* The span that covers the slot, or NULL. */
static inline mrl_span *mrl_root_find(mrl_root *root, uint32_t slot) {
    mrl_span *span;
    if (root == NULL) return NULL;
    if (root->form != MRL_FORM_DIRECTORY) {
        span = &root->span;
    } else {
        uint32_t at = mrl_directory_search(&root->directory, slot);
        if (at == 0) return NULL;
        span = mrl_directory_at(&root->directory, at - 1);
    }
    return mrl_span_covers(span, slot) ? span : NULL;
}

/* ---- set.c ---- */

/* Blocks of a set, counted in the index. Contents undefined. NULL: no memory. */
void *mrl_set_alloc(mrl_set_change *change, mrl_form form, size_t size);
/* Frees it when those who may see it are gone; or at once, if nobody can. */
void mrl_set_retire(mrl_set_change *change, void *block);
void mrl_set_free(mrl_set_change *change, void *block);

merle_err mrl_set_add(mrl_set_change *change, uint32_t slot, int *out_added);
/* Only touches the span. */
void mrl_set_warn(mrl_set_change *change, uint32_t slot);
void mrl_set_mark(mrl_set_change *change, uint32_t slot);
/* Takes away what may go in the first span from `from` on that may have marks, and puts it into a
 * form that fits. *out_next: where to go on, or MRL_TAGS_END. Returns how many entries went. */
size_t mrl_set_sweep(mrl_set_change *change, uint32_t from, uint32_t *out_next);
/* Frees up to max blocks of a set that nobody sees; returns how many. */
size_t mrl_set_clear_some(mrl_set_change *change, size_t max);
/* Retires all there is. */
void mrl_set_retire_all(mrl_set_change *change);

/* A directory with room for so many spans, which are not set yet. NULL: no memory. */
mrl_directory *mrl_set_directory(mrl_set_change *change, uint32_t count);
/* Fills the set of a tag that nobody has seen with slots, which ascend. Errors: MERLE_NO_MEMORY. */
merle_err mrl_set_build(mrl_set_change *change, const uint32_t *slots, size_t count);

/* ---- list.c: all tags in order ---- */

uint8_t mrl_list_height(uint64_t hash);
/* Under the list's lock, which they take. */
void mrl_list_insert(mrl_tags *tags, mrl_tag *tag);
void mrl_list_remove(mrl_tags *tags, mrl_tag *tag);
static inline mrl_tag *mrl_list_next(_Atomic(mrl_tag *) const *link) {
    /* Acquire: pairs with the release in mrl_list_insert; the tag is whole when it is found. */
    return atomic_load_explicit(link, memory_order_acquire);
}

/* ---- sweep.c ---- */

/* Puts the tag into the queue, if it is not there; its lock is held. now: a ticket. */
void mrl_sweep_queue(mrl_tags *tags, mrl_tag *tag, uint32_t now);

/* ---- tags.c ---- */

/* Takes an empty tag out of table and list; shard's and tag's lock are held. */
void mrl_tags_drop(mrl_tags *tags, mrl_member *member, mrl_tag *tag);

/* ---- check.c ---- */

/* What is wrong with the set, or NULL; its lock is held. */
const char *mrl_set_check(const mrl_tag *tag);

#endif
