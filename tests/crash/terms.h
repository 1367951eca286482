/* tests/crash/terms.h - which openings there were, kept beside a database that is crashed again and
 * again.
 *
 * What    Notes the id of each opening that came back. Whoever was told of a commit in its term
 *         must find it again: at each later opening its id is there, and its end is the seq at
 *         which the opening after it went on, which is not below what was promised. No id comes
 *         twice.
 * Threads one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_CRASH_TERMS_H
#define TESTS_CRASH_TERMS_H

#include "tests/crash/oracle.h"

typedef struct terms_book {
    mrl_log_term list[MRL_LOG_TERMS_MAX]; /* newest last; an end of UINT64_MAX: it has none yet */
    size_t count;
} terms_book;

/* The database was opened and judged. What is wrong goes to the oracle. */
void terms_judge(terms_book *book, oracle *o, const merle_db *db);

#endif
