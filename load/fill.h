/* load/fill.h - tables and indexes of a root whose slots are filled, made at once.
 *
 * What    Keys, unique values, ordered and tag indexes, counts and free slots, as if each document
 *         had been put by itself, but in bulk: all documents are gone over once, each table that is
 *         to be made takes down what it needs of them, and is made from that.
 * Owns    its lists (domain, MRL_FOR_OTHER), gone when it returns.
 * Sees    Of a slot its current version, which must be a document; no slot: it is free.
 * Threads setup: nobody else has the root; the crew does the work.
 * Limits  The lists, of all tables at once: 8 bytes a document for keys and for each unique index,
 *         24 for each value in order, and what it has beyond nine bytes, 4 for each tag of a
 *         document. They go as the tables come, which are larger.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_LOAD_FILL_H
#define MRL_LOAD_FILL_H

#include "load/crew.h"
#include "store/store.h"

/* Two documents that stand against each other, or one that stands against an index. */
typedef struct mrl_fill_offence {
    merle_err why;             /* MERLE_EXISTS, MERLE_TYPE, MERLE_TOO_BIG */
    uint32_t slot, other_slot; /* other: MRL_SLOT_NONE if there is none */
} mrl_fill_offence;

enum { MRL_FILL_KEPT_MAX = 64 };

typedef struct mrl_fill_options {
    mrl_root *root;
    mrl_crew *crew;
    uint32_t suspected; /* indexes, a bit each, that may have documents which they cannot hold */
    int is_strict;      /* 1: none may be: added or not, it is an error */
    mrl_fill_offence *offence; /* what MERLE_EXISTS is about; NULL: nobody asks */
    /* So many steps of mrl_fill_steps are done: in the caller's thread; NULL: nobody looks. */
    void (*progress)(void *context, uint64_t done);
    void *progress_context;
} mrl_fill_options;

/* How much work it is: the slots are gone over, and as much again for what is made then. */
uint64_t mrl_fill_steps(const mrl_root *root);

/* Fills the tables. An index that was added and has documents against it becomes a failed one.
 * Errors: MERLE_EXISTS (two documents with one key, or with one value of an index that was there
 * all along), MERLE_NO_MEMORY, with a report; the tables are partly filled then. */
MERLE_MUST_USE merle_err mrl_root_fill(const mrl_fill_options *options, mrl_member *member,
                                       merle_report *report);

#endif
