/* tests/crash/history.h - what each of the last commits has changed, and whether a cursor says so.
 *
 * What    For each of the last HISTORY_MAX seqs up to `last_seq` the write that had it, as the
 *         oracle has worked it out. A follower holds the changes that a cursor gives against it,
 *         one after the other: none is missing, none is another's, each is what was done. Seqs
 *         without a write are the database's own: expiry, ids, parts of bulk loads.
 * Owns    documents of its changes, held.
 * Threads one.
 * Limits  HISTORY_MAX seqs; older ones are told as unknown.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_CRASH_HISTORY_H
#define TESTS_CRASH_HISTORY_H

#include "tests/model/plain.h"

enum { HISTORY_MAX = 2048, HISTORY_CHANGE_MAX = 12, FOLLOWER_LOAD_MAX = 4 };

typedef struct history_change {
    uint32_t collection_id;
    uint32_t key;
    int is_memory;             /* files do not have it */
    plain_doc *before, *after; /* NULL: none */
} history_change;

typedef struct history_commit {
    uint64_t seq;           /* 0: there is none */
    merle_change_kind kind; /* MERLE_CHANGE_PUT: of a commit, whatever it did */
    uint32_t collection_id; /* of a definition or a load */
    uint64_t loaded;        /* of a load: the sum of its documents; 0: files do not have them */
    uint32_t sessions_id;   /* the collection of the session that was touched; 0: none was */
    uint32_t session;
    int64_t session_expires_ns; /* INT64_MIN: it was removed */
    uint32_t change_count;
    history_change changes[HISTORY_CHANGE_MAX];
} history_commit;

typedef struct history {
    uint64_t last_seq; /* all up to here is known */
    history_commit commits[HISTORY_MAX];
} history;

history *history_create(void); /* never NULL */
void history_destroy(history *h);
/* A place for what this seq did, empty. */
history_commit *history_put(history *h, uint64_t seq);
/* Later ones are forgotten: they never were. */
void history_go_back(history *h, uint64_t seq);
/* What one document adds to the sum of a load. */
uint64_t history_sum(uint32_t key, const plain_doc *doc);

/* One who reads the log. */
typedef struct follower {
    uint64_t seq;        /* the last commit of which something was given */
    uint64_t after_seq;  /* it began behind this one */
    uint32_t met, given; /* of its changes: the persistent ones, all of them */
    int was_known;       /* from its first change on */
    struct {
        uint32_t collection_id; /* 0: unused */
        uint64_t sum;
    } loads[FOLLOWER_LOAD_MAX]; /* that it has seen begin */
    uint64_t checked;           /* changes that the history knows, in all */
    merle_builder *builder;
    char trouble[200]; /* empty: none */
} follower;

void follower_begin(follower *f, uint64_t after_seq);
/* The next change. -1: it is wrong, see trouble. */
int follower_take(follower *f, const history *h, const merle_change *change);
/* The cursor says that commits first to last are not to be had. */
int follower_gap(follower *f, uint64_t first, uint64_t last);
/* The cursor has given all up to there. */
int follower_reach(follower *f, const history *h, uint64_t position);

#endif
