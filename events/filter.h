/* events/filter.h - which changes somebody wants.
 *
 * What    A filter wants changes of a collection, of a key, of keys with a prefix, of documents
 *         that meet a condition, or of what fits several of these. One of a list must fit.
 * Owns    nothing: key, prefix, condition and values are the caller's.
 * Sees    a change is wanted if the document before it or the one after it meets the condition. If
 *         one of them is not known and the other does not, it may be wanted.
 * Threads any; where documents come from a section, its thread.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_EVENTS_FILTER_H
#define MRL_EVENTS_FILTER_H

#include <merle/condition.h>
#include <merle/document.h>

typedef struct mrl_filter {
    uint32_t collection_id; /* 0: any */
    merle_bytes key;        /* size 0: any */
    merle_bytes prefix;
    const merle_condition *condition; /* NULL: any; its parameters have values that it takes */
    const merle_value *values;
    size_t value_count;
} mrl_filter;

/* What happened to one document. `knows_...` 0: whether there was one, and which, is not known. */
typedef struct mrl_happening {
    uint32_t collection_id;
    merle_bytes key; /* size 0: it concerns the collection as a whole */
    merle_doc before, after;
    uint8_t knows_before, knows_after;
} mrl_happening;

typedef enum mrl_fit { MRL_FIT_NO = 0, MRL_FIT_MAYBE = 1, MRL_FIT_YES = 2 } mrl_fit;

/* Of a filter its part: whether the key fits; whether a document, which is there (data not NULL),
 * is not, or is not known, meets the condition. */
int mrl_filter_fits_key(const mrl_filter *filter, merle_bytes key);
mrl_fit mrl_filter_fits_doc(const mrl_filter *filter, merle_doc doc, int is_known);
/* The best that one of the filters says; without filters everything fits. */
mrl_fit mrl_filter_judge(const mrl_filter *filters, size_t count, const mrl_happening *happening);

#endif
