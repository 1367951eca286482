/* store/commit.h - what a commit is made of; shared by the files that collect it, compose it and
 * end it.
 *
 * What    A commit has a part for each collection that it touches or reads, a touch for each key
 *         that it changes, with the actions on that key in order, and a list of what it read.
 *         store/operation.c collects, store/compose.c turns the actions on a key into one new
 *         version, store/values.c deals with unique values, store/commit_read.c reads inside a
 *         commit, store/commit.c orders the write.
 * Owns    its arena, the versions that were made and not published, its buffers.
 * Threads owner only.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_COMMIT_H
#define MRL_STORE_COMMIT_H

#include <merle/merle.h>

#include "store/arena.h"
#include "store/store.h"

typedef enum mrl_action_kind {
    MRL_ACTION_PUT = 1,
    MRL_ACTION_REMOVE,
    MRL_ACTION_PATCH,
    MRL_ACTION_MERGE,
    MRL_ACTION_NEED_ABSENT,
    MRL_ACTION_NEED_PRESENT,
    MRL_ACTION_EXPECT,
    MRL_ACTION_EXPIRE, /* sets the moment at which the document ends */
    MRL_ACTION_END     /* removes it if that has passed */
} mrl_action_kind;

typedef struct mrl_action {
    struct mrl_action *next;
    mrl_action_kind kind;
    uint32_t operation;   /* number in the commit, for reports */
    mrl_version *version; /* PUT: made when it was asked for; owned by the commit until published */
    uint64_t *value_hashes; /* of version's unique values, in the arena; 0: not known. Or NULL */
    const merle_op *ops;    /* PATCH: a copy in the arena */
    size_t op_count;
    merle_merge_fn *merge;
    void *context;
    uint64_t seq;       /* EXPECT */
    int64_t expires_ns; /* EXPIRE */
} mrl_action;

typedef enum mrl_outcome {
    MRL_OUTCOME_NONE = 0, /* nothing is written */
    MRL_OUTCOME_PUT,
    MRL_OUTCOME_PATCH,
    MRL_OUTCOME_REMOVE
} mrl_outcome;

/* What a touch does to one unique index. */
typedef struct mrl_value_change {
    uint64_t old_hash, new_hash;
    uint8_t has_old, has_new;
    uint8_t changed; /* the value is taken or given up */
    uint8_t added;   /* the hint was not there before: it goes if the commit fails */
} mrl_value_change;

/* What a touch does to an ordered or tag index: it gives one value an entry, or takes it. */
typedef struct mrl_hint {
    struct mrl_hint *next;
    const mrl_schema_index *index;
    merle_bytes value; /* encoded, in the arena */
    mrl_tag *tag;      /* between the warning and the mark */
    uint8_t is_new;    /* 1: the document has it now, 0: it has it no more */
    uint8_t added;     /* it was not there, or marked: it goes if the commit fails */
} mrl_hint;

typedef struct mrl_touch {
    struct mrl_touch *next;
    struct mrl_portion *part;
    merle_bytes key; /* in the arena */
    uint64_t hash;
    mrl_action *first, *last;
    /* Composed against base: */
    mrl_version *base;    /* the current version under the key, a tombstone too; NULL: none */
    mrl_version *version; /* the new one; NULL if outcome is NONE */
    mrl_outcome outcome;
    uint8_t is_composed;
    uint8_t base_is_due;           /* base has a document past its time: it counts as none */
    uint8_t due_added;             /* the entry in the index by time: it goes if the commit fails */
    uint8_t needs_base;            /* the outcome depends on base: patches, merges */
    uint8_t owns_version;          /* made by composing: freed when composed anew */
    uint8_t is_read_back;          /* the commit has read its own patch: base must stay */
    uint8_t is_shown;              /* its version may be in the application's hands */
    uint8_t has_slot;              /* a slot was taken for it */
    uint8_t is_exposed;            /* its key entry is in the table */
    size_t effect_at, effect_size; /* in the commit's effects: PATCH */
    uint32_t slot;
    uint32_t number;     /* in the commit, from 0 */
    uint32_t changed_at; /* the commit's action_count after its last action */
    uint8_t *slot_at;    /* in the record */
    mrl_value_change *values;
    mrl_hint *hints;
} mrl_touch;

/* What the commit's section shows of the touches of a part; see store/own.c. */
typedef struct mrl_own_writes {
    struct mrl_own *list; /* by slot */
    size_t count, capacity;
    uint32_t seen_actions;       /* the commit's action_count when the list was made */
    mrl_touch *last;             /* the last of the commit's touches that was looked at */
    struct mrl_own_list *values; /* of each index that was asked for */
} mrl_own_writes;

/* All of a commit that concerns one collection. */
typedef struct mrl_portion {
    struct mrl_portion *next; /* in the order of collection ids */
    merle_collection *collection;
    mrl_root *root;
    const mrl_schema *schema; /* the root's, that the commit is prepared for */
    const mrl_schema *seen;   /* that the commit's section reads by; NULL: the same, or none */
    uint64_t key_shards;      /* to be locked, one bit each */
    uint64_t value_shards[MERLE_INDEX_COUNT_MAX];
    uint32_t touch_count;
    uint32_t has_reads;
    mrl_root *read_root; /* what the reads saw */
    mrl_own_writes own;
} mrl_portion;

typedef struct mrl_read {
    struct mrl_read *next;
    mrl_portion *part;
    const mrl_schema_index *index; /* NULL: by key */
    merle_bytes what;              /* key, or encoded value; in the arena */
    uint64_t hash;
    const mrl_version *seen; /* the live version, or NULL */
} mrl_read;

/* A document past its time that has a unique value which the commit takes. */
typedef struct mrl_eviction {
    struct mrl_eviction *next;
    merle_collection *collection;
    merle_bytes key;
} mrl_eviction;

typedef merle_err mrl_accept_fn(void *context, const mrl_version *before, const mrl_version *after);

struct merle_commit {
    mrl_section section; /* first: merle_commit_section gives it out */
    mrl_store *store;
    mrl_member *member;
    struct merle_commit *next; /* the thread's open commits */
    struct merle_commit *previous;
    uint64_t check;
    mrl_arena arena;
    mrl_portion *parts;
    mrl_touch *touches, *touches_last;
    mrl_read *reads;
    mrl_version *discarded; /* composed, read back, then composed anew; linked by `before` */
    mrl_touch **table;      /* touches by hash, once there are many; in the arena */
    uint32_t table_size;
    uint32_t touch_count;
    uint32_t operation_count;
    uint32_t action_count;
    uint32_t patience;
    uint32_t origin_size;
    uint32_t only_removes;
    merle_origin record_origin;
    merle_durability durability;
    uint8_t origin[MERLE_ORIGIN_SIZE_MAX];
    merle_buffer work[2];   /* documents being composed */
    merle_buffer extracted; /* what the functions of indexes made of one of them */
    merle_buffer effect;    /* of the patch being composed */
    merle_buffer effects;   /* of all that are composed, one behind the other */
    merle_builder *builder; /* for merge functions; made when first needed */
    /* By which documents are past their time: the section's clock, and when it ends, that of the
     * moment at which its locks are held. */
    int64_t judge_ns;
    /* While it ends: */
    mrl_eviction *evictions; /* to be removed with it: it starts over */
    mrl_entry *entry;
    uint64_t credit, loose;
    uint32_t effective_count;          /* operations in the record */
    uint8_t wants_after, wants_before; /* images, as it was when credit was taken */
    size_t images_max;
    /* Shown what the first touch found and left (NULL: none), under the locks that order the
     * commit, while it may still fail: an error of it is the commit's. NULL: nobody looks. See
     * store/one.c. */
    mrl_accept_fn *accept;
    void *accept_context;
};

/* ---- store/operation.c ---- */
merle_err mrl_commit_open(mrl_store *store, mrl_member *member, merle_commit **out_commit);
/* Frees what was not published, ends the section, keeps the struct for reuse. */
void mrl_commit_close(merle_commit *commit);
void mrl_commit_free_spare(mrl_member *member);
/* NULL: not an open commit of this thread. */
merle_commit *mrl_commit_own(merle_commit *commit, merle_err *out_err);
/* The part of a collection, made if need be. Errors: MERLE_INVALID, MERLE_GONE, MERLE_NO_MEMORY. */
merle_err mrl_commit_part(merle_commit *commit, merle_collection *collection,
                          mrl_portion **out_part);
mrl_touch *mrl_commit_find_touch(const merle_commit *commit, const mrl_portion *part, uint64_t hash,
                                 merle_bytes key);
merle_err mrl_commit_copy(merle_commit *commit, merle_bytes bytes, merle_bytes *out_copy);

/* The commit ends only when what it wrote is on stable storage. */
void mrl_commit_want_durable(merle_commit *commit);

/* ---- store/compose.c ---- */
/* Applies the touch's actions to base: sets outcome, version, effect. Errors: of the actions. */
merle_err mrl_touch_compose(merle_commit *commit, mrl_touch *touch, mrl_version *base);
/* Checks a document that the commit makes: offsets as of mrl_schema_check_doc, and in
 * commit->extracted what functions make of it, also for indexes that were dropped since the commit
 * began: its own section reads by them still. */
merle_err mrl_commit_check_doc(merle_commit *commit, const mrl_portion *part, merle_bytes key,
                               merle_bytes doc, uint32_t *out_offsets);
/* The document that the touch leaves, NULL if none; it is composed. */
const mrl_version *mrl_touch_after(const mrl_touch *touch);
/* Makes versions anew after the schema in force has changed. */
merle_err mrl_touch_adopt(merle_commit *commit, mrl_touch *touch);

/* ---- store/values.c: unique values; in this order ---- */
/* Which values the touch takes and gives up; adds to the part's value_shards. Key shards locked. */
merle_err mrl_values_compute(merle_commit *commit, mrl_touch *touch);
/* Refuses a value that another live document would have after this commit, adds the hints. Value
 * shards locked. Errors: MERLE_EXISTS, MERLE_NO_MEMORY. */
merle_err mrl_values_take(merle_commit *commit, mrl_touch *touch);
/* 1: no unique value is taken or given up; the hints of base are those of the new version. */
int mrl_values_stay(const mrl_touch *touch);
/* Takes the hints away that mrl_values_take newly added. */
void mrl_values_undo(merle_commit *commit, mrl_touch *touch);

/* ---- store/hints.c: entries of ordered and tag indexes; key shards locked ---- */
/* Which entries come and go. Errors: MERLE_NO_MEMORY. */
merle_err mrl_hints_compute(merle_commit *commit, mrl_touch *touch);
/* A little later: goes on with bringing nearer what they will change. */
void mrl_hints_approach(const mrl_touch *touch);
/* Adds those that come. Errors: MERLE_NO_MEMORY; those that were added are noted. */
merle_err mrl_hints_add(merle_commit *commit, mrl_touch *touch);
/* Takes those that were added away again. */
void mrl_hints_undo(merle_commit *commit, mrl_touch *touch);
/* Before publishing, and after it: gives those that go up. */
void mrl_hints_give_up(merle_commit *commit, mrl_touch *touch);
void mrl_hints_given_up(merle_commit *commit, mrl_touch *touch);

/* ---- store/images.c: whole documents beside the record, where somebody follows ---- */
/* Bounds their size, with nothing locked. */
void mrl_images_plan(merle_commit *commit);
/* Whether what they need now, with everything settled, is within that bound. */
int mrl_images_fit(const merle_commit *commit);
merle_err mrl_images_make(merle_commit *commit);

/* ---- store/commit_read.c ---- */
/* MERLE_CONFLICT if anything read has changed. All shards locked, nothing swung yet. */
merle_err mrl_reads_check(merle_commit *commit);
/* Marks the shards that the reads need. */
void mrl_reads_mark(merle_commit *commit);

/* ---- store/section.c ---- */
/* Values asked for, encoded. Errors: MERLE_INVALID (no such index, count), MERLE_NOT_FOUND (a value
 * that no document can have). out has MERLE_VALUE_SIZE_MAX bytes. */
merle_err mrl_encode_asked(mrl_member *member, const merle_collection *collection,
                           const mrl_schema *schema, const char *name, const merle_value *values,
                           size_t value_count, const mrl_schema_index **out_index, uint8_t *out,
                           size_t *out_size);

#endif
