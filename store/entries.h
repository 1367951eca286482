/* store/entries.h - which values a version has in an ordered or tag index.
 *
 * What    ordered: the encoded value of its fields, if all are there and none is nil. Tags: the
 *         elements of the array, each once; a value that is no array is its own only element.
 * Owns    nothing.
 * Threads any.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_ENTRIES_H
#define MRL_STORE_ENTRIES_H

#include "store/version.h"

typedef int mrl_entries_fn(void *context, merle_bytes value);

/* Calls fn for each value of `v`, encoded, until it returns non-zero; gives that. */
int mrl_entries_each(const mrl_version *v, const mrl_schema_index *index, mrl_entries_fn *fn,
                     void *context);
/* The same for those that `other` lacks; v and other may be NULL: such have none. */
int mrl_entries_each_but(const mrl_version *v, const mrl_version *other,
                         const mrl_schema_index *index, mrl_entries_fn *fn, void *context);

#endif
