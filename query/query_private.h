/* query/query_private.h - what a query is made of; shared by the files that plan it and run it.
 *
 * What    A query looks at the conjunction at the top of its condition, its terms. A drive is one
 *         way to come by candidates: slots, or hits of an ordered index. query/ranges.c and
 *         query/tagging.c make drives of terms, query/plan.c estimates and chooses, query/rows.c
 *         takes candidates from the one chosen, sees which versions they are and compares these
 *         with the terms that the drive does not answer for.
 * Owns    the rows own all of it; most lies in their pool, which goes as a whole.
 * Sees    one view: an instant, and in a commit its own writes as they were when it was opened.
 * Threads the section's own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_QUERY_QUERY_PRIVATE_H
#define MRL_QUERY_QUERY_PRIVATE_H

#include <merle/query.h>

#include "document/condition.h"
#include "store/commit.h"
#include "store/view.h"
#include "tags/algebra.h"

/* ---- memory of one query ---- query/pool.c */

typedef struct mrl_pool_piece {
    struct mrl_pool_piece *next;
    uint64_t padding; /* what follows is 16-byte aligned */
} mrl_pool_piece;

typedef struct mrl_pool {
    mrl_pool_piece *pieces;
    uint8_t *at;
    size_t left;
    uint64_t taken; /* bytes of all pieces */
} mrl_pool;

/* first: memory of the caller's own, which is used up before anything is allocated. */
void mrl_pool_init(mrl_pool *pool, void *first, size_t first_size);
/* 16-byte aligned; NULL: no memory. */
void *mrl_pool_take(mrl_pool *pool, size_t size);
/* Nothing may be done with a pool that was filled with noughts but this. */
void mrl_pool_fini(mrl_pool *pool);

/* ---- terms ---- */

/* Terms of which all must hold; they stand in a row. */
typedef struct mrl_terms {
    const merle_condition *condition; /* NULL: there are no terms */
    const merle_value *values;        /* bound */
    const mrl_condition_node *list;
    uint32_t count;
} mrl_terms;

/* Sets of terms have a bit for each of the first 64. What is said of a term beyond them is lost,
 * which costs time and nothing else. */
static inline uint64_t mrl_term_bit(uint32_t number) {
    return number < 64 ? (uint64_t)1 << number : 0;
}

/* No path of the condition. */
#define MRL_PATH_NONE UINT32_MAX

/* What is planned with. */
typedef struct mrl_planner {
    mrl_pool *pool;
    const mrl_view *view;
    const merle_condition *condition;            /* may be NULL */
    const merle_value *values;                   /* bound */
    uint32_t condition_path[MRL_PATH_COUNT_MAX]; /* schema's path -> condition's, or NONE */
    uint32_t slot_end;
    merle_err err; /* the first one */
} mrl_planner;

/* Whether the terms imply that something other than nil stands at this path of the schema. */
int mrl_terms_imply(const mrl_planner *planner, const mrl_terms *terms, uint32_t schema_path);

/* ---- drives ---- */

typedef enum mrl_drive_kind {
    MRL_DRIVE_NOTHING = 0, /* no document can meet the condition */
    MRL_DRIVE_WALK,        /* all slots */
    MRL_DRIVE_RANGES,      /* hits of an ordered index, in its order */
    MRL_DRIVE_TAGS,        /* slots of an expression over tags */
    MRL_DRIVE_UNIQUE,      /* the slot that has a unique value */
    MRL_DRIVE_UNION,       /* the slots of several drives, collected and sorted */
} mrl_drive_kind;

typedef struct mrl_drive {
    mrl_drive_kind kind;
    uint8_t is_backwards; /* RANGES: from the last hit to the first */
    uint8_t is_ordered;   /* gives the order that is asked for */
    uint8_t is_bounded;   /* RANGES: some term bounds them */
    uint8_t is_each;      /* RANGES: a document may be hit several times, so slots are collected */
    uint32_t constant_parts;         /* RANGES: bit i: part i has one value */
    const mrl_schema_index *index;   /* RANGES, UNIQUE */
    const mrl_ordered_range *ranges; /* RANGES: ascending, none meets another; UNIQUE: the value */
    uint32_t range_count;
    uint32_t branch_count;
    const struct mrl_drive *branches; /* UNION */
    const mrl_tags_expr *expr;        /* TAGS */
    uint64_t terms;                   /* that hold for every document that it gives */
    uint64_t about;                   /* that make it give fewer */
    uint64_t estimate;                /* about how many candidates */
    double cost;                      /* in nanoseconds, roughly; only good for comparing */
} mrl_drive;

/* How many ranges one drive may have. */
enum { MRL_RANGE_COUNT_MAX = 1024 };

/* query/ranges.c: what these terms make of an ordered index: everything in it that can meet them,
 * or all of it. 0: it cannot drive, because it may lack documents that meet the terms, or there was
 * no memory. */
int mrl_ranges_of(mrl_planner *planner, const mrl_terms *terms, const mrl_schema_index *index,
                  mrl_drive *out_drive);
/* The same for a unique index of which the terms give all values. */
int mrl_unique_of(mrl_planner *planner, const mrl_terms *terms, const mrl_schema_index *index,
                  mrl_drive *out_drive);

/* query/tagging.c: the terms that are about tags alone, as one expression; 0: there are none, or
 * there was no memory. only: terms on this index, NULL: on any. */
int mrl_tagging_of(mrl_planner *planner, const mrl_terms *terms, const mrl_schema_index *only,
                   mrl_drive *out_drive);
/* Whether the expression is certainly true of no document. */
int mrl_tagging_is_never(const mrl_tags_expr *expr);

/* ---- order ---- */

/* The values that documents are sorted by, as they would stand in an index. */
typedef struct mrl_sort_part {
    mrl_path *path;       /* NULL: the key */
    uint32_t schema_path; /* or MRL_PATH_NONE */
    uint32_t descending;
} mrl_sort_part;

typedef struct mrl_place {
    const uint8_t *value; /* encoded */
    uint32_t size;
    uint32_t slot;   /* MRL_SLOT_NONE: a document that its commit has just made */
    merle_bytes key; /* of such a one */
} mrl_place;

/* Where one stands before the other: by value, slot, key. */
int mrl_place_order(const mrl_place *left, const mrl_place *right);

/* ---- sorting ---- query/sort.c */

typedef struct mrl_sorted {
    uint64_t head; /* the value's first bytes, which mostly decide */
    const uint8_t *value;
    uint32_t size;
    uint32_t slot;
    const mrl_version *version;
    uint64_t count; /* how many are this one, where equal ones are joined */
} mrl_sorted;

/* Keeps the first `wanted` of all that are added. */
typedef struct mrl_sorter {
    mrl_sorted *list;
    size_t count, capacity;
    uint64_t added;
    uint64_t wanted; /* 0: all */
    int joins;       /* equal values are one entry */
    int is_full;     /* the first `wanted` in the list are in order; others must be before them */
    uint64_t memory_max;
    mrl_pool pool; /* the values */
} mrl_sorter;

void mrl_sorter_init(mrl_sorter *sorter, uint64_t wanted, int joins, uint64_t memory_max);
void mrl_sorter_fini(mrl_sorter *sorter);
/* Errors: MERLE_NO_MEMORY, MERLE_TOO_BIG. */
merle_err mrl_sorter_add(mrl_sorter *sorter, const mrl_place *place, const mrl_version *version);
/* Then list has count entries in order. */
void mrl_sorter_finish(mrl_sorter *sorter);

/* ---- plan ---- */

typedef enum mrl_sort_how {
    MRL_SORT_NOT = 0, /* no order asked for, or the drive gives it */
    MRL_SORT_ALL,
    MRL_SORT_TOP /* only the first offset + limit are kept */
} mrl_sort_how;

typedef struct mrl_plan {
    mrl_terms terms;
    mrl_drive drive;
    const mrl_tags_expr *filter; /* compared on slots before versions are loaded; NULL: nothing */
    uint64_t filter_terms;       /* what it answers for where it is sure */
    mrl_sort_how sort;
    const char *order_text; /* as it was asked for, in the pool; "" if it was not */
    mrl_sort_part *order;   /* without the parts that the condition makes constant */
    uint32_t order_count;
    uint64_t estimate;       /* about how many documents meet the condition */
    const mrl_drive *drives; /* all that were thought of, for those who want to know why */
    uint32_t drive_count;
    uint32_t drive_chosen;
} mrl_plan;

/* What the caller knows besides. */
typedef struct mrl_wishes {
    int by_slot;  /* candidates in the order of their slots; no order is asked for */
    int is_sum;   /* fields do not matter, nor does order unless documents are left out behind it */
    int is_count; /* order never matters */
} mrl_wishes;

/* ---- rows ---- */

enum { MRL_ROWS_BATCH = MRL_READ_BATCH, MRL_ROWS_READY = 2 * MRL_ROWS_BATCH };

/* A document of the commit's own that meets the condition. */
typedef struct mrl_own_row {
    const mrl_version *version;
    mrl_place place;
} mrl_own_row;

/* What has really happened. */
typedef struct mrl_happened {
    uint64_t hits;     /* candidates that the drive gave */
    uint64_t slots;    /* compared on slots */
    uint64_t versions; /* looked at */
    uint64_t matched;
    uint64_t sorted;
    uint64_t given;
} mrl_happened;

/* A place to go on behind, as it was read. */
typedef enum mrl_place_kind {
    MRL_PLACE_NONE = 0,
    MRL_PLACE_SLOT,      /* in the order of slots */
    MRL_PLACE_FORWARDS,  /* in an index */
    MRL_PLACE_BACKWARDS, /* in an index, the other way round */
    MRL_PLACE_SORTED     /* in the order that is asked for */
} mrl_place_kind;

typedef struct mrl_after {
    mrl_place_kind kind;
    const mrl_schema_index *index; /* FORWARDS, BACKWARDS */
    mrl_place place;               /* in the pool */
} mrl_after;

typedef struct mrl_field mrl_field;

struct merle_rows {
    merle_section *section;
    const merle_collection *collection;
    mrl_view view;
    uint64_t seq; /* tells whether the section is still the same */
    uint64_t memory_max;
    uint64_t offset, limit; /* as asked */
    mrl_plan plan;
    mrl_after after;
    merle_err err; /* why they ended */
    uint8_t is_begun, is_over;
    uint64_t skip; /* documents still to be passed over */
    uint64_t left; /* documents still to be given; UINT64_MAX: all */
    /* Candidates. */
    uint32_t range_at; /* of the ranges, how many were begun */
    uint8_t in_range;
    uint32_t slot_at;
    uint32_t *slots; /* UNION: collected */
    size_t slot_count, slot_capacity;
    mrl_ordered_cursor cursor;
    size_t batch; /* how many candidates to take at once */
    /* What met the condition and was not given yet. */
    size_t ready_count, ready_at;
    mrl_own_row *own; /* in order */
    size_t own_count, own_at;
    mrl_sorter sorter;
    size_t sorted_at;
    /* Where paths of the condition lie in the version under test. */
    uint32_t *offsets;
    uint32_t *offset_paths; /* pairs: path of the condition, path of the schema */
    uint32_t offset_count;
    /* The last one given. */
    const mrl_version *last;
    uint32_t last_slot;
    mrl_field *fields; /* NULL: whole documents */
    merle_buffer projected;
    mrl_happened happened;
    mrl_pool pool;
    /* Nobody fills these with noughts first. */
    const mrl_version *ready[MRL_ROWS_READY];
    mrl_walk walk;
    uint8_t position[MERLE_VALUE_SIZE_MAX];
    uint64_t first[256]; /* of the pool */
};

/* query/rows.c */
merle_err mrl_rows_open(merle_section *section, merle_collection *collection,
                        const merle_query *query, const mrl_wishes *wishes, merle_rows **out_rows);
/* The next documents as versions, in batches: at most max. MERLE_NOT_FOUND at the end. */
merle_err mrl_rows_versions(merle_rows *rows, const mrl_version **out_versions, size_t max,
                            size_t *out_count);
/* Fills the thread's report with what is wrong with a query; returns err. */
merle_err mrl_query_fail(const merle_rows *rows, merle_err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Whether the document meets the terms of which the bit is set, and all beyond the first 64. */
int mrl_rows_test(merle_rows *rows, const mrl_version *v, uint64_t terms);

/* query/plan.c: fills rows->plan. Errors: MERLE_INVALID, MERLE_NO_MEMORY. */
merle_err mrl_plan_make(merle_rows *rows, const merle_query *query, const mrl_wishes *wishes);

/* query/gather.c: candidates. Fills ready; 0: there are no more. wanted: about how many. */
int mrl_rows_gather(merle_rows *rows, size_t wanted);
/* Makes what the plan needs before the first candidate. */
merle_err mrl_rows_begin(merle_rows *rows);

/* query/position.c */
merle_err mrl_after_read(merle_rows *rows, const char *order, merle_bytes position);
/* What the first eight bytes of a position must be. */
uint64_t mrl_position_check(const merle_rows *rows, const char *order, const uint8_t *bytes,
                            size_t size);
/* The encoded value by which the version stands in its order; out has MERLE_VALUE_SIZE_MAX bytes.
 * Errors: MERLE_TOO_BIG. */
merle_err mrl_rows_encode(const merle_rows *rows, const mrl_version *v, uint8_t *out,
                          size_t *out_size);

/* query/project.c */
merle_err mrl_fields_parse(merle_rows *rows, const char *fields);
/* Replaces the documents by projections, which lie in rows->projected. */
merle_err mrl_fields_project(merle_rows *rows, merle_doc *docs, size_t count);

#endif
