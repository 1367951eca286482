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
    /* "guild, -score", as indexes are on; NULL: none, they come as it is cheapest. Values order as
     * in an index. What is missing, nil, or no scalar counts as nil: first where ascending, last
     * where descending. Documents with equal values come in an order that says nothing, the same
     * each time. */
    const char *order;
    uint64_t offset; /* so many are passed over first */
    uint64_t limit;  /* and then at most so many given; 0: no limit */
    /* "name, pos.x": the documents that are given have these fields and no others. They are valid
     * until the next call of merle_rows_next. NULL: whole documents. */
    const char *fields;
    const char *index;   /* this index drives; "": none does; NULL: the cheapest */
    merle_bytes after;   /* goes on behind a place that merle_rows_position told; size 0: begins */
    uint64_t memory_max; /* bytes for sorting and collecting; 0: MERLE_QUERY_MEMORY_DEFAULT */
} merle_query;

/* The documents of one query, one after the other. Lives no longer than its section. Threads: the
 * section's own. */
typedef struct merle_rows merle_rows;

/* Makes a plan; nothing is looked up yet but estimates. The report that the thread asked for says
 * what is wrong with a query. Errors: MERLE_INVALID (a parameter without a value; no such index, or
 * one that cannot drive this query; order or fields that are none; a foreign position), MERLE_TYPE
 * (a parameter's value), MERLE_NOT_FOUND, MERLE_GONE (the collection), MERLE_NO_MEMORY,
 * MERLE_WRONG_THREAD. */
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

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
