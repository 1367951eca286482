/* store/range_each.c - counts and places in a range of an index on each element.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/range_each.h"

#include "store/read.h"

/* What a walk is for: it stops at the document, at the n-th, or at the end. */
typedef struct walk {
    const merle_doc *until; /* NULL: none */
    uint64_t n;
    uint64_t met; /* documents before the one that it stopped at */
    merle_doc found;
} walk;

/* 1: the walk is over. */
static int walk_batch(walk *w, const merle_doc *docs, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (w->met == w->n || (w->until != NULL && w->until->data == docs[i].data)) {
            w->found = docs[i];
            return 1;
        }
        w->met++;
    }
    return 0;
}

/* MERLE_NOT_FOUND: it went to the end. */
static merle_err walk_range(walk *w, merle_section *section, merle_cursor *cursor) {
    merle_doc docs[MRL_READ_BATCH];
    size_t count;
    int is_over = 0;
    merle_err err = cursor == NULL ? MERLE_NO_MEMORY : MERLE_OK;
    while (err == MERLE_OK && !is_over) {
        err = merle_cursor_next(section, cursor, docs, MRL_READ_BATCH, &count);
        if (err == MERLE_OK) is_over = walk_batch(w, docs, count);
    }
    merle_cursor_close(cursor);
    return err;
}

merle_err mrl_each_count(merle_section *section, merle_cursor *cursor, uint64_t *out_count) {
    walk w = {.n = UINT64_MAX};
    merle_err err = walk_range(&w, section, cursor);
    if (err != MERLE_NOT_FOUND) return err;
    *out_count = w.met;
    return MERLE_OK;
}

merle_err mrl_each_rank(merle_section *section, merle_cursor *cursor, const merle_doc *doc,
                        uint64_t *out_rank) {
    walk w = {.until = doc, .n = UINT64_MAX};
    merle_err err = walk_range(&w, section, cursor);
    if (err == MERLE_OK) *out_rank = w.met;
    return err;
}

merle_err mrl_each_nth(merle_section *section, merle_cursor *cursor, uint64_t n,
                       merle_doc *out_doc) {
    walk w = {.n = n};
    merle_err err = walk_range(&w, section, cursor);
    if (err == MERLE_OK) *out_doc = w.found;
    return err;
}
