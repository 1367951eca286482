/* load/fill_private.h - what the files that fill a root share, and nobody else.
 *
 * What    A filling goes over all documents once. Each table that is to be made has a column (an
 *         ordered unique index has two): that takes down what it needs of each document while this
 *         is in the cache. Then all tables are made from their columns, side by side: a column says
 *         how many tasks that is, and gives its lists back as its tasks end.
 * Threads owner only, but what is said to be for tasks.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_LOAD_FILL_PRIVATE_H
#define MRL_LOAD_FILL_PRIVATE_H

#include "load/fill.h"

enum {
    MRL_FILL_RANGE = 16384, /* slots that one task goes over */
    MRL_FILL_BATCH = 16,    /* documents that are brought near at once */
    MRL_FILL_LINES = 4, /* of 64 bytes, from a version's first on: fields are looked for there */
    MRL_FILL_COLUMN_MAX = 2 + 2 * MERLE_INDEX_COUNT_MAX
};

/* What stands against an index, or against the keys. */
typedef struct mrl_fill_offences {
    uint64_t count;
    uint32_t kept_count;
    mrl_fill_offence kept[MRL_FILL_KEPT_MAX];
} mrl_fill_offences;

typedef struct mrl_filling mrl_filling;
typedef struct mrl_column mrl_column;

/* Neighbouring documents, in the order of slots, and who goes over them. A worker is given ranges
 * in ascending order. */
typedef struct mrl_fill_batch {
    mrl_member *member;
    uint32_t worker, range;
    uint32_t count;
    const mrl_version *versions[MRL_FILL_BATCH];
} mrl_fill_batch;

/* For tasks, but destroy. */
typedef struct mrl_column_type {
    /* Takes down what it needs of these. 0: no memory. */
    int (*note)(mrl_column *column, const mrl_fill_batch *batch);
    /* The batch was the last one of its range; NULL: that is all the same. 0: no memory. */
    int (*end)(mrl_column *column, const mrl_fill_batch *batch);
    merle_err (*make)(mrl_column *column, mrl_member *member, uint32_t task);
    void (*destroy)(mrl_column *column, mrl_member *member);
} mrl_column_type;

struct mrl_column {
    const mrl_column_type *type;
    mrl_filling *filling;
    const mrl_schema_index *index; /* NULL: the keys, or the index by time */
    uint32_t task_count;
    _Atomic uint32_t tasks_left;
};

struct mrl_filling {
    mrl_root *root;
    mrl_schema *schema;
    const mrl_fill_options *options;
    mrl_crew *crew;
    uint32_t range_count, task_count;
    _Atomic uint64_t slots_done; /* gone over */
    _Atomic uint32_t tasks_done;
    _Atomic int err; /* the first of all tasks; then nobody goes on */
    uint32_t column_count;
    mrl_column *columns[MRL_FILL_COLUMN_MAX];
    mrl_lock lock;                                        /* of offences */
    mrl_fill_offences of_keys, of[MERLE_INDEX_COUNT_MAX]; /* by index */
};

/* For tasks. index NULL: it is about keys. */
void mrl_filling_offend(mrl_filling *f, const mrl_schema_index *index, mrl_fill_offence offence);

/* Each makes a column. NULL: no memory. */
mrl_column *mrl_column_of_map(mrl_filling *f, mrl_member *member, const mrl_schema_index *index);
mrl_column *mrl_column_of_tree(mrl_filling *f, mrl_member *member, const mrl_schema_index *index);
mrl_column *mrl_column_of_tags(mrl_filling *f, mrl_member *member, const mrl_schema_index *index);

#endif
