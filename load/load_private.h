/* load/load_private.h - what load.c and load_finish.c share, and nobody else.
 *
 * What    A load is a list of collections that nobody can find yet, in the order of their ids.
 * Threads as load.h says.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_LOAD_LOAD_PRIVATE_H
#define MRL_LOAD_LOAD_PRIVATE_H

#include "base/lock.h"
#include "load/load.h"

/* What a thread needs while it takes a document in; whoever comes takes one that is free. */
typedef struct mrl_load_scratch {
    mrl_lock lock;
    uint32_t offsets[MRL_PATH_COUNT_MAX];
    merle_buffer document;  /* what an effect makes */
    merle_buffer extracted; /* what functions make */
} mrl_load_scratch;

enum { MRL_LOAD_SCRATCH_COUNT = 16 };

struct mrl_load_collection {
    mrl_load *load;
    merle_collection *collection;
    mrl_root *root;
    uint64_t slots_expected; /* that files and records account for: mrl_load_expect */
    uint64_t loading_since;  /* the truncate that a bulk load began with; 0: none is under way */
    /* A bit for each index that was added, so that some document may stand against it. */
    _Atomic uint32_t suspected;
};

struct mrl_load {
    mrl_store *store;
    mrl_load_options options;
    mrl_load_collection **collections; /* by id */
    uint32_t count, capacity;
    uint32_t next_id; /* of collections */
    mrl_load_scratch scratches[MRL_LOAD_SCRATCH_COUNT];
};

/* Empties the slots of a bulk load that was cut off, if there is one. */
merle_err mrl_load_settle(mrl_load_collection *collection, mrl_member *member);
/* Gives back the load itself, and the collections that are still in it. */
void mrl_load_destroy(mrl_load *load, mrl_member *member);

#endif
