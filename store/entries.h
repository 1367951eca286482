/* store/entries.h - which values a version has in an ordered or tag index.
 *
 * What    ordered: the encoded value of its fields, if the index has a place for those that are
 *         missing or nil, or none is; on each element of an array: one with each of the elements,
 *         each once. Tags: the elements of the array, each once. A value that is no array is its
 *         own only element.
 * Owns    nothing.
 * Threads any.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_ENTRIES_H
#define MRL_STORE_ENTRIES_H

#include "index/ordered.h"
#include "store/version.h"

typedef int mrl_entries_fn(void *context, merle_bytes value);

/* Calls fn for each value of `v`, encoded, until it returns non-zero; gives that. */
int mrl_entries_each(const mrl_version *v, const mrl_schema_index *index, mrl_entries_fn *fn,
                     void *context);
/* Calls fn for each value that only one of two versions has; is_new: it is the new one. A version
 * that is NULL has none. */
typedef int mrl_entries_change_fn(void *context, merle_bytes value, int is_new);
int mrl_entries_differ(const mrl_version *old, const mrl_version *new,
                       const mrl_schema_index *index, mrl_entries_change_fn *fn, void *context);

/* ---- ranges of an index with a tree ---- */

int mrl_range_has(const mrl_ordered_range *range, merle_bytes value);
/* Whether a range gives the version's document at this value of it, or hit, which lies inside:
 * where it has several, at the first one inside, the last one if is_backwards. */
int mrl_entries_gives(const mrl_version *v, const mrl_schema_index *index,
                      const mrl_ordered_range *range, int is_backwards, merle_bytes value);
int mrl_entries_gives_hit(const mrl_version *v, const mrl_schema_index *index,
                          const mrl_ordered_range *range, int is_backwards,
                          const mrl_ordered_hit *hit);
/* Whether the version has the value that was hit. */
int mrl_entries_have(const mrl_version *v, const mrl_schema_index *index,
                     const mrl_ordered_hit *hit);
/* Whether it has this tag, encoded. */
int mrl_entries_have_tag(const mrl_version *v, const mrl_schema_index *index, merle_bytes tag);

#endif
