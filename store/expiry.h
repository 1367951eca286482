/* store/expiry.h - documents that end by themselves.
 *
 * What    A version may say when its document ends. From then on no section that began later shows
 *         it, and to a writer it is gone, though it lies there still: whoever judges a version asks
 *         here. An index by time in each root, made with the first document that ends, tells what
 *         is due: mrl_expiry_some removes it by ordinary commits, in order of time; and
 *         sections count by it what they must not show (mrl_due_*).
 * Owns    nothing; the index by time is its root's.
 * Sees    a section judges by its clock, fixed when it began; a commit when it ends by the clock of
 *         that moment. No clock lags behind a moment at which a document was seen to be gone.
 * Threads any, in a section.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_EXPIRY_H
#define MRL_STORE_EXPIRY_H

#include "store/own.h"

/* ---- the clock ---- */

/* From now on sections that begin ask the clock. Before a version that expires is published. */
void mrl_expiry_enable(mrl_store *store);
/* The clock's time, not before the floor; INT64_MIN where no document can expire. */
int64_t mrl_expiry_now(const mrl_store *store);
/* The floor of all that is asked from now on: at opening, the log's last time. */
void mrl_expiry_raise(mrl_store *store, int64_t time_ns);
/* Whether the version's document is past its time; then nobody who asks later sees it alive. */
int mrl_expiry_is_due(mrl_store *store, const mrl_version *v, int64_t now_ns);
/* What ends at `now` and so much later, or never: 0 is never. */
static inline int64_t mrl_expiry_after(int64_t now_ns, int64_t ttl_ns) {
    int64_t sum;
    if (__builtin_add_overflow(now_ns, ttl_ns, &sum)) return INT64_MAX;
    return sum > 0 ? sum : 1;
}

/* ---- in a commit ---- */

/* The commit's clock, for a time to live; asks it where nobody has needed it yet. */
int64_t mrl_commit_now(merle_commit *commit);
/* The live version as the commit judges it: NULL if it is past its time. */
const mrl_version *mrl_commit_live(const merle_commit *commit, const mrl_version *v);
/* Adds the removal of a document, if it is past its time when the commit ends; else it does
 * nothing. Errors: as those of merle_remove at once. */
merle_err mrl_commit_end_due(merle_commit *commit, merle_collection *collection, merle_bytes key);

/* ---- the index by time ---- */

enum { MRL_EXPIRY_SIZE = 8 };
/* The value under which the index has this moment. */
static inline void mrl_expiry_encode(int64_t expires_ns, uint8_t *out) {
    uint64_t big = __builtin_bswap64((uint64_t)expires_ns);
    memcpy(out, &big, MRL_EXPIRY_SIZE);
}
static inline int64_t mrl_expiry_decode(const mrl_ordered_hit *hit) {
    uint8_t bytes[MRL_EXPIRY_SIZE];
    uint64_t big;
    mrl_ordered_hit_copy(hit, bytes);
    memcpy(&big, bytes, sizeof big);
    return (int64_t)__builtin_bswap64(big);
}
/* The root's, made if need be; whoever fills it by himself (mrl_ordered_build) is alone, enables
 * the clock and calls mrl_expiry_wake with the first moment. Errors: MERLE_NO_MEMORY. */
merle_err mrl_expiry_index(mrl_root *root, mrl_member *member, mrl_ordered **out_index);
/* What lies from this moment on is looked at again by mrl_expiry_some. */
void mrl_expiry_wake(mrl_root *root, int64_t expires_ns);

/* Entries of a commit's touches, beside those of mrl_hints_*: key shards locked. */
merle_err mrl_due_add(merle_commit *commit, mrl_touch *touch);
void mrl_due_undo(merle_commit *commit, mrl_touch *touch);
void mrl_due_give_up(merle_commit *commit, mrl_touch *touch);
/* After publishing. */
void mrl_due_published(const mrl_touch *touch);

/* ---- what a section must not count ---- store/due.c */

/* How many documents of the view's instant are past their time. */
uint64_t mrl_due_count(const mrl_view *view);
/* Calls fn with each of them until it returns non-zero; gives that. */
typedef int mrl_due_fn(void *context, const mrl_version *v);
int mrl_due_each(const mrl_view *view, mrl_due_fn *fn, void *context);

typedef struct mrl_due_values {
    mrl_own_value *list;
    size_t count, capacity;
    merle_buffer bytes;
} mrl_due_values;
/* Adds their values in an index with one value a document, those in the range, to a run of what the
 * commit takes away; nothing is done if there are none. out_values is zero-filled before, keeps
 * what the run then points to and is freed by the caller unless this fails. Errors:
 * MERLE_NO_MEMORY. */
merle_err mrl_due_add_values(const mrl_view *view, const mrl_schema_index *index,
                             const mrl_ordered_range *range, mrl_own_run *run,
                             mrl_due_values *out_values);
void mrl_due_free_values(mrl_due_values *values);

/* ---- removing ---- */

/* One commit that removes up to max of what is due, the earliest first. How many it looked at; 0:
 * nothing is due, or it cannot be done now. Holding no lock. */
size_t mrl_expiry_some(mrl_store *store, mrl_member *member, size_t max);
/* Whether something is due. */
int mrl_expiry_is_pending(mrl_store *store, mrl_member *member);
/* The earliest moment at which something may be due; INT64_MAX: never. */
int64_t mrl_expiry_next(mrl_store *store, mrl_member *member);

#endif
