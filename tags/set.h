/* tags/set.h - reading the set of one tag: its slots in order, how many, whether one is in it.
 *
 * What    A set is divided into spans: aligned ranges of slots, each an array (tags/array.h) or a
 *         bitmap (tags/bitmap.h). What is read comes with one of two answers for each slot:
 *         "certain", the version at S has the tag, or "recheck", it may have it.
 * Sees    see tags/tags.h. Each span is read as it was at one moment; slots come in strict order.
 * Threads read section; no lock is taken.
 *
 * Why an entry can be certain. A span keeps, as `touched`, a ticket that was taken when an entry
 * was last added, unmarked, warned of or marked there. Each of these calls lies within the section
 * of its commit, and all but the mark come before that commit publishes.
 * Let touched + 2 be reached when our section begins. Then every commit whose call we see there is
 * over, marks and all, and S is not before it (it had published, or was undone). A commit that S
 * sees had touched the span before it published, and we loaded S before we look: so we see its
 * call. And a commit that S does not see cannot have changed the span without our seeing the newer
 * ticket, since a change comes after its ticket and we look at the ticket after we looked at the
 * entries. So then unmarked entries are exactly the slots that have the tag at S, and marked ones
 * have it not.
 * Without the warning it would be wrong: between a commit's publishing and its mark a section
 * could begin that sees the commit, finds the entry unmarked and the span at rest.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_TAGS_SET_H
#define MRL_TAGS_SET_H

#include "tags/tags.h"

/* No slot: behind the last one. */
#define MRL_TAGS_END UINT32_MAX

/* A request for slots of a set. */
typedef struct mrl_run {
    uint32_t section_epoch; /* mrl_epoch_at_begin, taken before S was loaded */
    uint32_t from;          /* the first slot wanted; moved on; MRL_TAGS_END: there are no more */
    uint32_t last;          /* the last slot wanted */
    uint32_t *slots;        /* the caller's, room for max */
    uint8_t *recheck; /* the caller's, room for max, 1: compare with the version; may be NULL */
    size_t max;
    size_t count; /* filled */
} mrl_run;

/* Appends slots in [from, last], ascending, until max are there or none is left. tag may be
 * NULL. */
void mrl_tag_read(const mrl_tag *tag, mrl_run *run);

/* Entries without those that are marked. tag may be NULL. */
uint64_t mrl_tag_estimate(const mrl_tag *tag);

/* Says how many of these slots have at S what is asked for. */
typedef uint64_t mrl_visible_fn(void *context, const uint32_t *slots, size_t count);
/* How many slots have the tag at S, exactly. A span that has not been touched lately costs one
 * look; the slots of the others are handed to visible. tag may be NULL. */
uint64_t mrl_tag_count(const mrl_tag *tag, uint32_t section_epoch, mrl_visible_fn *visible,
                       void *context);

#endif
