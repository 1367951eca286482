/* store/own.h - a commit's own writes, as its section shows them.
 *
 * What    Of each collection that a commit has written into, the documents that it has changed, by
 *         slot; and for each index that was asked, the values that these have and had, in order.
 *         Both are brought up to date when somebody reads, at the cost of what has changed and one
 *         pass over what is there.
 * Owns    nothing beside what lies in the commit's arena.
 * Sees    documents as composed on what the commit's instant shows. Versions that were shown stay
 *         until the commit is over.
 * Threads the commit's own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_OWN_H
#define MRL_STORE_OWN_H

#include "store/view.h"

/* One value of a document that the commit has changed. Values are in order, those that are equal by
 * slot, and documents without a slot last, by number. */
typedef struct mrl_own_value {
    merle_bytes value;
    const mrl_version *version;
    mrl_touch *touch;
    uint32_t slot;
    uint32_t number;
} mrl_own_value;

/* Which versions are meant. */
typedef enum mrl_own_side {
    MRL_OWN_BEFORE, /* that the commit takes away */
    MRL_OWN_AFTER   /* that it leaves */
} mrl_own_side;

/* A run of values; good until the commit's next operation. */
typedef struct mrl_own_run {
    const mrl_own_value *list;
    size_t count;
} mrl_own_run;

/* The part of a collection; NULL: the commit has none. */
mrl_portion *mrl_commit_find_part(const merle_commit *commit, const merle_collection *collection);

/* Composes the touch on what the commit's instant shows, unless it is. Errors: those of its
 * actions. */
merle_err mrl_touch_show(merle_commit *commit, mrl_touch *touch, const mrl_root *root);

/* Brings part->own up to date. Errors: those of the commit's operations, MERLE_NO_MEMORY. */
merle_err mrl_own_refresh(merle_commit *commit, mrl_portion *part, const mrl_root *root);

/* The values in an index of what the view's commit has changed. None: count is 0. Errors:
 * MERLE_NO_MEMORY. */
merle_err mrl_own_values(const mrl_view *view, const mrl_schema_index *index, mrl_own_side side,
                         mrl_own_run *out_run);
/* Calls fn for the touches of the view's commit that have changed since this was done for the index
 * before; after mrl_own_values of those that it leaves. */
void mrl_own_each_changed(const mrl_view *view, const mrl_schema_index *index,
                          void (*fn)(void *context, mrl_touch *touch), void *context);
/* Those of them inside a range. */
mrl_own_run mrl_own_within(mrl_own_run run, const mrl_ordered_range *range);
/* For qsort: two values by their places. */
int mrl_own_by_place(const void *a, const void *b);
/* Those that are this value. */
mrl_own_run mrl_own_equal(mrl_own_run run, merle_bytes value);
/* How many come before the place of a value. */
size_t mrl_own_before(mrl_own_run run, merle_bytes value, uint32_t slot, uint32_t number);

#endif
