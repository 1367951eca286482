/* tests/crash/terms.c - compares what a database says of earlier openings.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/crash/terms.h"

#include <string.h>

typedef unsigned long long llu;

static const mrl_log_term *find(const mrl_log_term *terms, size_t count, uint64_t id) {
    for (size_t i = 0; i < count; i++)
        if (terms[i].id == id) return &terms[i];
    return NULL;
}

/* Where the last term of the book ended. Openings that failed late, or were cut off, may have begun
 * a term each, and removed what was due in it: then it ended before what was found now. */
static uint64_t end_of_last(const terms_book *book, const mrl_log_term *told, size_t count,
                            uint64_t found_seq) {
    const mrl_log_term *last = find(told, count, book->list[book->count - 1].id);
    int is_followed = last != NULL && last != &told[0];
    return is_followed && last->end_seq < found_seq ? last->end_seq : found_seq;
}

void terms_judge(terms_book *book, oracle *o, const merle_db *db) {
    mrl_log_term told[MRL_LOG_TERMS_MAX];
    size_t count;
    mrl_db_terms(db, told, MRL_LOG_TERMS_MAX, &count);
    if (find(book->list, book->count, db->term_id) != NULL || db->term_id == 0)
        oracle_trouble(o, "the opening has the id of an earlier one, or none");
    if (book->count > 0 && book->list[book->count - 1].end_seq == UINT64_MAX)
        book->list[book->count - 1].end_seq = end_of_last(book, told, count, o->base_seq);
    for (size_t i = 0; i < book->count; i++) {
        const mrl_log_term *term = find(told, count, book->list[i].id);
        if (term == NULL)
            oracle_trouble(o, "term %llu is not known any more", (llu)book->list[i].term);
        else if (term->end_seq != book->list[i].end_seq || term->term != book->list[i].term)
            oracle_trouble(o, "term %llu is said to have ended at %llu, but it was %llu",
                           (llu)term->term, (llu)term->end_seq, (llu)book->list[i].end_seq);
    }
    if (book->count == MRL_LOG_TERMS_MAX)
        memmove(&book->list[0], &book->list[1], --book->count * sizeof book->list[0]);
    book->list[book->count++] = (mrl_log_term){db->term, db->term_id, UINT64_MAX};
}
