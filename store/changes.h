/* store/changes.h - what the rooms above may do with a cursor over the log, beside the public calls
 * on it.
 *
 * What    Bounds on what a cursor gives, places inside a commit, resting between calls, and what to
 *         do about gaps.
 * Owns    nothing; the cursor is merle_changes_open's.
 * Threads owner only, as the cursor.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_CHANGES_H
#define MRL_STORE_CHANGES_H

#include "store/store.h"

/* From now on nothing above this seq is given; UINT64_MAX: no bound. A commit that is being given
 * is given whole. It also bounds how far a call looks for what the cursor wants. */
void mrl_changes_limit(merle_changes *changes, uint64_t seq);

/* Ends the section between two calls: what was given last is gone, nothing is held in memory. Where
 * a commit was being given, the rest of it comes next, if the ring, or a file, still has it. While
 * a cursor reads in files, the file stays held. */
void mrl_changes_rest(merle_changes *changes);

/* Goes on behind after_seq, with the operation `passed` of the commit after it: those before it
 * were given already. after_seq is not beyond the last commit. */
void mrl_changes_begin_at(merle_changes *changes, uint64_t after_seq, uint32_t passed);
/* The member of the thread that owns it; NULL: that has ended, and any other may close it. */
const mrl_member *mrl_changes_owner(const merle_changes *changes);
/* How many operations of the commit behind merle_changes_position were looked at already. */
uint32_t mrl_changes_passed(const merle_changes *changes);

/* This cursor is for memory-only collections too. From now on a record of a file is a gap, up to
 * where the ring begins, if operations of such collections were left out of it. (A public cursor on
 * one such collection is strict by itself.) */
void mrl_changes_be_strict(merle_changes *changes);

/* Passes over what lies before last_seq and itself; merle_changes_gap tells that as a gap. */
void mrl_changes_skip(merle_changes *changes, uint64_t last_seq);
/* Goes back to the beginning of the last gap, and reads in files what they have of it, be it
 * without images. What they do not have is told as a gap again. MERLE_NOT_FOUND: there was no gap,
 * or there are no files. */
MERLE_MUST_USE merle_err mrl_changes_mend(merle_changes *changes);

#endif
