/* events/filter.c - which changes somebody wants.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "events/filter.h"

#include <string.h>

int mrl_filter_fits_key(const mrl_filter *filter, merle_bytes key) {
    if (filter->key.size > 0 &&
        (key.size != filter->key.size || memcmp(key.data, filter->key.data, key.size) != 0))
        return 0;
    return filter->prefix.size == 0 ||
           (key.size >= filter->prefix.size &&
            memcmp(key.data, filter->prefix.data, filter->prefix.size) == 0);
}

mrl_fit mrl_filter_fits_doc(const mrl_filter *filter, merle_doc doc, int is_known) {
    int matches = 0;
    if (!is_known) return MRL_FIT_MAYBE;
    if (doc.data == NULL) return MRL_FIT_NO;
    if (filter->condition == NULL) return MRL_FIT_YES;
    /* Its values were found right when the filter was made. */
    if (merle_condition_match(filter->condition, doc, filter->values, filter->value_count,
                              &matches) != MERLE_OK)
        return MRL_FIT_NO;
    return matches ? MRL_FIT_YES : MRL_FIT_NO;
}

static mrl_fit judge_one(const mrl_filter *filter, const mrl_happening *h) {
    if (filter->collection_id != 0 && filter->collection_id != h->collection_id) return MRL_FIT_NO;
    if (h->key.size == 0) return MRL_FIT_YES;
    if (!mrl_filter_fits_key(filter, h->key)) return MRL_FIT_NO;
    if (filter->condition == NULL) return MRL_FIT_YES;
    mrl_fit after = mrl_filter_fits_doc(filter, h->after, h->knows_after);
    if (after == MRL_FIT_YES) return after;
    mrl_fit before = mrl_filter_fits_doc(filter, h->before, h->knows_before);
    return before > after ? before : after;
}

mrl_fit mrl_filter_judge(const mrl_filter *filters, size_t count, const mrl_happening *happening) {
    mrl_fit best = count == 0 ? MRL_FIT_YES : MRL_FIT_NO;
    for (size_t i = 0; i < count && best != MRL_FIT_YES; i++) {
        mrl_fit fit = judge_one(&filters[i], happening);
        if (fit > best) best = fit;
    }
    return best;
}
