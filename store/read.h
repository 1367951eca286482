/* store/read.h - what the files that read in a section share.
 *
 * What    from what an application hands in to the root that its section sees; from slots to
 *         documents.
 * Owns    nothing.
 * Threads the section's own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_READ_H
#define MRL_STORE_READ_H

#include "store/store.h"

/* NULL: not an open section of this thread. */
mrl_section *mrl_section_own(merle_section *section, merle_err *out_err);
/* The root that the section sees. Errors: MERLE_INVALID, MERLE_NOT_FOUND, MERLE_GONE. */
merle_err mrl_section_root(const mrl_section *section, const merle_collection *collection,
                           mrl_root **out_root);

/* What an index is read by for. */
typedef enum mrl_index_use { MRL_USE_RANGES, MRL_USE_TAGS, MRL_USE_UNIQUE } mrl_index_use;
/* The index of this name, if it serves. Errors, with a report: MERLE_INVALID (there is none, or it
 * is of another kind), MERLE_NOT_READY; *out_index is NULL then. */
merle_err mrl_read_index(mrl_member *member, const merle_collection *collection,
                         const mrl_schema *schema, const char *name, mrl_index_use use,
                         const mrl_schema_index **out_index);

/* How many slots are on their way at once. */
enum { MRL_READ_BATCH = 64 };
/* The versions that the section sees of these slots, at most MRL_READ_BATCH; NULL: none. Their
 * first lines are on their way or there. */
void mrl_read_slots(const mrl_section *section, const mrl_root *root, const uint32_t *slots,
                    size_t count, const mrl_version **out_versions);
/* The same with those that are past their time by the section's clock. */
void mrl_read_slots_at(const mrl_section *section, const mrl_root *root, const uint32_t *slots,
                       size_t count, const mrl_version **out_versions);

#endif
