/* load/fill_private.h - what fill.c, fill_ordered.c and fill_tags.c share, and nobody else.
 *
 * What    One filling, and how all documents are gone over: in ranges of slots, one a task.
 * Threads owner only, but what is said to be for tasks.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_LOAD_FILL_PRIVATE_H
#define MRL_LOAD_FILL_PRIVATE_H

#include "load/fill.h"

/* Slots of one task. */
enum { MRL_FILL_RANGE = 16384 };

typedef struct mrl_filling {
    mrl_root *root;
    mrl_schema *schema;
    const mrl_fill_options *options;
    mrl_crew *crew;
    uint32_t range_count;
    _Atomic uint64_t done; /* slots gone over */
    _Atomic int err;       /* the first of all tasks; then nobody goes on */
    /* What stands against the index that is being made. */
    mrl_lock lock;
    uint64_t offence_count;
    uint32_t kept_count;
    mrl_fill_offence kept[MRL_FILL_KEPT_MAX];
} mrl_filling;

static inline int mrl_filling_is_over(const mrl_filling *f) {
    return atomic_load_explicit(&f->err, memory_order_relaxed) != MERLE_OK;
}
/* For tasks. */
void mrl_filling_fail(mrl_filling *f, merle_err err);
void mrl_filling_offend(mrl_filling *f, merle_err why, uint32_t slot, uint32_t other_slot);

/* For tasks: calls fn for each document of the range, in the order of slots, until it gives 0. What
 * it will look at, some 64-byte lines from the version's first on, is fetched ahead. */
typedef int mrl_fill_fn(void *context, const mrl_version *v);
void mrl_filling_each(mrl_filling *f, uint32_t range, uint32_t lines, mrl_fill_fn *fn,
                      void *context);
/* At the end of a task. */
void mrl_filling_tell(mrl_filling *f, uint32_t worker);
/* Lines in which an index looks for its fields. */
enum { MRL_FILL_LINES = 4 };

/* Ordered indexes from `first` on, as many at once as there are threads; gives the number of the
 * first one that was not made. */
uint32_t mrl_fill_ordered(mrl_filling *f, mrl_member *member, uint32_t first);
/* The index by time, if some document ends. */
void mrl_fill_expiry(mrl_filling *f, mrl_member *member);
void mrl_fill_tags(mrl_filling *f, mrl_member *member, const mrl_schema_index *index);

#endif
