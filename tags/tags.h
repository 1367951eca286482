/* tags/tags.h - the tags index of one collection: tag -> set of slots.
 *
 * What    A tag is a byte string, encoded as document/encode.h does it. An entry (tag, slot) is a
 *         hint: "not in the set" is certain, "in the set" is compared by the caller with the
 *         version that it sees, unless the entry is said to be certain (see tags/set.h).
 *         An entry is added by a commit before it publishes. A commit that gives the tag up warns
 *         before it publishes, and marks the entry after it has published. A marked entry stays
 *         visible until its ticket has passed; then whoever writes near it takes it away, or the
 *         sweep. A tag without entries goes away as a whole.
 * Owns    its tags and sets (blocks of the domain, retired by epoch).
 * Sees    a reader in a section meets every entry that was added before a commit that it sees was
 *         published, and not marked before one that it sees; it may meet others, none twice.
 * Threads find, list, stat: read section. add, warn, mark, sweep: any thread, inside a section;
 *         calls for one slot come one at a time. create, destroy, clear_some: setup.
 * Limits  MERLE_VALUE_SIZE_MAX bytes a tag; slots below UINT32_MAX.
 *
 * Why a hint is never removed while a section may need it. A section needs (tag, slot) if the
 * version of the slot that it sees, at its S, has the tag. Let commit C be the one that gives the
 * tag up: S is before C. The section had entered the epoch before it noted S, and S was noted
 * before C published; C marks after it published and takes a ticket then. So the section began
 * before that ticket, and the ticket does not pass while it lasts (memory/epoch.c). Removal asks
 * whether the ticket of the mark's generation has passed, and a generation's ticket is that of its
 * latest mark, which is not older. A commit that adds the tag again finds the entry marked and
 * unmarks it, under the set's lock: from then on it is as new, and only a later mark with a later
 * ticket endangers it. A commit that fails marks what it has added or unmarked: nobody at all needs
 * that, or the earlier holder of the mark does, and the new ticket is not older than his.
 * Both steps happen within the commit's own section, which the next header's argument needs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_TAGS_TAGS_H
#define MRL_TAGS_TAGS_H

#include <stddef.h>
#include <stdint.h>

#include <merle/base.h>

#include "memory/domain.h"

typedef struct mrl_tags mrl_tags;
typedef struct mrl_tag mrl_tag; /* one tag and its set */

/* NULL: no memory. */
mrl_tags *mrl_tags_create(mrl_member *member, uint64_t seed);
/* No reader is left. */
void mrl_tags_destroy(mrl_tags *tags, mrl_member *member);
/* Frees up to max spans, tags and pieces of tables of an index that nobody uses any more; 0: all
 * are gone. */
size_t mrl_tags_clear_some(mrl_tags *tags, mrl_member *member, size_t max);

/* The tag, or NULL if no slot has it, which is certain. Good until the section ends, within which
 * it was found: look it up again in the next one. Borrows name. */
const mrl_tag *mrl_tags_find(const mrl_tags *tags, merle_bytes name);
/* For those who will change its set soon, each a little later than the one before: brings nearer
 * what looking the tag up will touch, the tag, its set. */
void mrl_tags_prefetch(const mrl_tags *tags, merle_bytes name);
void mrl_tags_prefetch_tag(const mrl_tags *tags, merle_bytes name);
void mrl_tags_prefetch_set(const mrl_tags *tags, merle_bytes name);

/* Adds (name, slot), or takes its mark away; *out_added is 1 then, 0 if it was there unmarked. A
 * commit that fails marks exactly those with 1. Borrows name.
 * Errors: MERLE_NO_MEMORY, MERLE_TOO_BIG (or an empty name); nothing has changed then. */
MERLE_MUST_USE merle_err mrl_tags_add(mrl_tags *tags, mrl_member *member, merle_bytes name,
                                      uint32_t slot, int *out_added);
/* Adds a tag that is not there yet, with all these slots, which ascend: for an index that is built
 * from sorted entries. Borrows name and slots.
 * Errors: MERLE_EXISTS, MERLE_NO_MEMORY, MERLE_TOO_BIG; nothing has changed then. */
MERLE_MUST_USE merle_err mrl_tags_fill(mrl_tags *tags, mrl_member *member, merle_bytes name,
                                       const uint32_t *slots, size_t count);
/* Says, before publishing, that this commit is about to give the tag up; nothing changes, but that
 * no reader takes an entry near it for certain (tags/set.h). A commit that fails then has nothing
 * to undo. The entry must be there, unmarked. Returns the tag, for mrl_tag_mark in the same
 * section. Borrows name. */
mrl_tag *mrl_tags_warn(mrl_tags *tags, mrl_member *member, merle_bytes name, uint32_t slot);
/* Says that the slot has given the tag up: after publishing, if mrl_tags_warn was called before, or
 * because the commit that added it fails. The entry must be there; marking twice is the same as
 * once. Needs no memory. Borrows name. */
void mrl_tags_mark(mrl_tags *tags, mrl_member *member, merle_bytes name, uint32_t slot);
void mrl_tag_mark(mrl_tags *tags, mrl_member *member, mrl_tag *tag, uint32_t slot);
/* Takes away marked entries whose time has come, gives memory back, drops tags that are empty.
 * Looks at up to max spans and goes on there the next time. Returns how many entries went, at
 * least 1 if it has not seen everything. Holds no lock for long; the caller holds none and is in a
 * section. */
size_t mrl_tags_sweep(mrl_tags *tags, mrl_member *member, size_t max);
/* Whether a sweep would have something to look at: one load. */
int mrl_tags_has_garbage(const mrl_tags *tags);

/* ---- looking at it ---- */

typedef struct mrl_tags_listed {
    merle_bytes name; /* good until the section ends */
    uint64_t estimate;
} mrl_tags_listed;

/* The first max tags, in the order of their bytes, that begin with prefix and come after `after`
 * (size 0: from the first on). Returns how many; fewer than max: those were the last. Allocates
 * nothing; takes a search of logarithmic length and a step for each. */
size_t mrl_tags_list(const mrl_tags *tags, merle_bytes prefix, merle_bytes after,
                     mrl_tags_listed *out_listed, size_t max);

typedef struct mrl_tags_stats {
    uint64_t tags;
    uint64_t entries; /* with those that are marked */
    uint64_t marked;
    uint64_t spans;   /* arrays and bitmaps */
    uint64_t bitmaps; /* of these */
    uint64_t bytes;   /* of all blocks and tables, as the allocator rounds them */
} mrl_tags_stats;
/* Walks over all tags. Estimates while writers go on. */
void mrl_tags_stat(const mrl_tags *tags, mrl_tags_stats *out_stats);
/* NULL if all is well, else a sentence on the first thing that is broken. Takes one set's lock or
 * one shard's at a time; the caller holds none. Threads: any, in a section. */
const char *mrl_tags_check(mrl_tags *tags);

#endif
