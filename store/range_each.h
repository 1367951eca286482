/* store/range_each.h - counts and places in a range of an index on each element.
 *
 * What    Such an index lists a document once for each of its values, and a range gives it at the
 *         first one inside. The sums that the tree keeps count values, so these calls go over the
 *         range with a cursor, which they close. NULL, for want of memory, is MERLE_NO_MEMORY.
 * Sees    what a cursor sees in the section.
 * Threads read section.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_RANGE_EACH_H
#define MRL_STORE_RANGE_EACH_H

#include <merle/merle.h>

/* Errors: of merle_cursor_next. */
merle_err mrl_each_count(merle_section *section, merle_cursor *cursor, uint64_t *out_count);
/* How many come before the document. Errors: MERLE_NOT_FOUND besides. */
merle_err mrl_each_rank(merle_section *section, merle_cursor *cursor, const merle_doc *doc,
                        uint64_t *out_rank);
/* Errors: MERLE_NOT_FOUND besides. */
merle_err mrl_each_nth(merle_section *section, merle_cursor *cursor, uint64_t n,
                       merle_doc *out_doc);

#endif
