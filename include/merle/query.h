/* merle/query.h - queries: the documents that meet a condition, found by the cheapest way there is.
 *
 * A query names a condition, an order, how many documents are wanted and which of their fields. By
 * estimates merle chooses what drives it: a unique value, ranges of an ordered index, tags, a union
 * of these, or a walk over everything. docs/queries.md says how, merle_rows_explain says what was
 * chosen and what came of it.
 *     merle_query query = {.where = condition, .order = "-score", .limit = 10};
 *     merle_rows *rows;
 *     if (merle_query_open(&section, players, &query, &rows) == MERLE_OK) {
 *         while (merle_rows_next(rows, docs, 16, &count) == MERLE_OK)
 *             for (size_t i = 0; i < count; i++) show(docs[i]);
 *         merle_rows_close(rows);
 *     }
 * Everything here takes a section; inside a commit that is merle_commit_section(commit), and then
 * the query sees the commit's instant with what the commit had written when the query was opened.
 * Such reads are not checked when the commit ends.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MERLE_QUERY_H
#define MERLE_QUERY_H

#include <merle/condition.h>
#include <merle/merle.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MERLE_QUERY_MEMORY_DEFAULT (64u << 20) /* bytes that a query may take; memory_max 0 */
#define MERLE_QUERY_FIELD_COUNT_MAX 64u        /* fields of a projection */

/* What is asked. Zero-filled: all documents. where, and the values with their bytes, are held until
 * the rows are closed; everything else is borrowed until the call returns. */
typedef struct merle_query {
    size_t size;                  /* sizeof(merle_query) or 0 */
    const merle_condition *where; /* NULL: all documents */
    const merle_value *values;    /* of the condition's parameters */
    size_t value_count;
    /* "guild, -score", as indexes are on, or "key()"; NULL: none, they come as it is cheapest.
     * Values order as in an index. What is missing, nil, or no scalar counts as nil: first where
     * ascending, last where descending. Documents with equal values come in an order that says
     * nothing, the same each time. */
    const char *order;
    uint64_t offset; /* so many are passed over first */
    uint64_t limit;  /* and then at most so many given; 0: no limit */
    /* "name, pos.x": the documents that are given have these fields and no others. They are valid
     * until the next call of merle_rows_next. NULL: whole documents. */
    const char *fields;
    const char *index; /* this index drives; "": none does; NULL: the cheapest */
    merle_bytes after; /* goes on behind a place that merle_rows_position told; size 0: begins */
    /* Bytes for sorting, and as many for collecting candidates: more of these than that, and all
     * documents are looked at instead. 0: MERLE_QUERY_MEMORY_DEFAULT. */
    uint64_t memory_max;
} merle_query;

/* The documents of one query, one after the other. Lives no longer than its section. Threads: the
 * section's own. */
typedef struct merle_rows merle_rows;

/* Makes a plan; nothing is looked up yet but estimates. The report that the thread asked for says
 * what is wrong with a query. Errors: MERLE_INVALID (a parameter without a value; no such index, or
 * one that cannot drive this query; order or fields that are none; a foreign position), MERLE_TYPE
 * (a parameter's value), MERLE_TOO_BIG (an order of more than MERLE_INDEX_PART_COUNT_MAX paths,
 * more than MERLE_QUERY_FIELD_COUNT_MAX fields), MERLE_NOT_FOUND, MERLE_GONE (the collection),
 * MERLE_NOT_READY (the index that is named), MERLE_NO_MEMORY, MERLE_WRONG_THREAD. */
MERLE_API MERLE_MUST_USE merle_err merle_query_open(merle_section *section,
                                                    merle_collection *collection,
                                                    const merle_query *query,
                                                    merle_rows **out_rows);
/* The next documents, each once, as the section sees them. Errors: MERLE_NOT_FOUND at the end;
 * MERLE_TOO_BIG (more to sort than memory_max takes, or a value in the order that is longer than
 * MERLE_VALUE_SIZE_MAX), MERLE_NO_MEMORY: then the rows have ended. */
MERLE_API MERLE_MUST_USE merle_err merle_rows_next(merle_rows *rows, merle_doc *out_docs,
                                                   size_t doc_max, size_t *out_count);
/* Where the last document given stands: the same query with this as `after`, in a later section if
 * need be, goes on behind it. Documents that keep their place meanwhile come exactly once; one that
 * moves may come again, or be passed by. The bytes mean nothing outside this database. Errors:
 * MERLE_NOT_FOUND (none was given yet), MERLE_NO_MEMORY. */
MERLE_API MERLE_MUST_USE merle_err merle_rows_position(const merle_rows *rows,
                                                       merle_buffer *out_position);
/* The plan as JSON, not terminated: what drives and by which ranges, what is compared on slots and
 * what on documents, how it is sorted, what was estimated, and what has happened so far. Errors:
 * MERLE_NO_MEMORY. */
MERLE_API MERLE_MUST_USE merle_err merle_rows_explain(const merle_rows *rows,
                                                      merle_buffer *out_json);
/* rows may be NULL. May be called after the section has ended. */
MERLE_API void merle_rows_close(merle_rows *rows);

/* ---- about all that a query gives ---- fields is not looked at */

/* How many documents the query gives, exactly. Documents are not opened where indexes alone can
 * tell. Errors: as merle_query_open and merle_rows_next, but for MERLE_NOT_FOUND at the end. */
MERLE_API MERLE_MUST_USE merle_err merle_query_count(merle_section *section,
                                                     merle_collection *collection,
                                                     const merle_query *query, uint64_t *out_count);

typedef struct merle_summary {
    size_t size;      /* sizeof(merle_summary) or 0, set by the caller */
    uint64_t count;   /* documents that the query gives */
    uint64_t numbers; /* of these, those with a number at the path */
    /* Of the numbers: an integer, exactly, if all are integers and the sum fits into 64 bits; else
     * a float. 0 if there are none. */
    merle_value sum;
    double average; /* of the numbers; 0 if there are none */
    /* The least and the greatest of all values there but nil, arrays, maps and extensions, in the
     * order of an index (numbers come before strings). Their bytes lie in a document; the type is
     * MERLE_TYPE_NONE if there are none. */
    merle_value min, max;
} merle_summary;
/* Sums up one field. Errors: as merle_query_count; MERLE_INVALID (path). */
MERLE_API MERLE_MUST_USE merle_err merle_query_summarize(merle_section *section,
                                                         merle_collection *collection,
                                                         const merle_query *query, const char *path,
                                                         merle_summary *out_summary);

/* Calls fn for each different value at the path, ascending, with the number of documents that have
 * it, until fn returns non-zero. nil, arrays, maps and extensions are left out. Equal values (5 and
 * 5.0) are one. memory_max bounds the different values. Errors: as merle_query_count; MERLE_INVALID
 * (path); MERLE_TOO_BIG (also a value longer than MERLE_VALUE_SIZE_MAX). */
typedef int merle_distinct_fn(void *context, merle_value value, uint64_t count);
MERLE_API MERLE_MUST_USE merle_err merle_query_distinct(merle_section *section,
                                                        merle_collection *collection,
                                                        const merle_query *query, const char *path,
                                                        merle_distinct_fn *fn, void *context);

/* ---- changing all that a query gives ---- fields and after are not looked at */

typedef struct merle_bulk {
    size_t size;       /* sizeof(merle_bulk) or 0, set by the caller */
    uint64_t matched;  /* documents that the query gave */
    uint64_t changed;  /* of these, those that were patched or removed */
    uint64_t skipped;  /* those that did not meet the condition any more when their turn came */
    uint64_t commits;  /* how many it took */
    uint64_t last_seq; /* of the last of them; 0: there was none */
} merle_bulk;

/* Patches, or removes, what the query gives, in commits of at most commit_max documents (0: 256).
 * The keys are found first, at one instant (without order, offset and limit: at several, one after
 * the other, if they take more than memory_max; then in the order of slots). Each commit reads its
 * documents, leaves out those that do not meet the condition any more, and is made again if
 * somebody else changed one of them meanwhile. So a document that meets the condition all the time
 * is changed exactly once, whatever the patch does to its place in an index; documents that come to
 * meet it meanwhile may be changed or not. A document that refuses its patch (MERLE_TYPE,
 * MERLE_OVERFLOW, MERLE_RULE, MERLE_EXISTS, MERLE_TOO_BIG, ...) ends it all with that error, and
 * the report names its key; the commits before it stay, and out_bulk, which may be NULL, tells them
 * also then. So does MERLE_CONFLICT, after a hundred tries of one commit; and MERLE_TOO_BIG, if
 * there is an offset or limit, and the keys take more than memory_max. A section that the calling
 * thread has open holds the old versions of all that.
 * Threads: any, may wait. */
MERLE_API MERLE_MUST_USE merle_err merle_update_where(merle_collection *collection,
                                                      const merle_query *query, const merle_op *ops,
                                                      size_t op_count, uint32_t commit_max,
                                                      merle_bulk *out_bulk);
MERLE_API MERLE_MUST_USE merle_err merle_remove_where(merle_collection *collection,
                                                      const merle_query *query, uint32_t commit_max,
                                                      merle_bulk *out_bulk);
/* The same inside a commit of the caller's, which is one instant. What is changed counts as read by
 * key: the commit ends with MERLE_CONFLICT if somebody else changed one of these documents; what
 * came to meet the condition meanwhile is not noticed. out_count may be NULL. Errors: as
 * merle_query_count and the operations; operations that were added before an error stay in the
 * commit. Threads: owner only. */
MERLE_API MERLE_MUST_USE merle_err merle_commit_update_where(merle_commit *commit,
                                                             merle_collection *collection,
                                                             const merle_query *query,
                                                             const merle_op *ops, size_t op_count,
                                                             uint64_t *out_count);
MERLE_API MERLE_MUST_USE merle_err merle_commit_remove_where(merle_commit *commit,
                                                             merle_collection *collection,
                                                             const merle_query *query,
                                                             uint64_t *out_count);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
