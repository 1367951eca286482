/* tests/model/crowd.h - subscribers that outlive the servers they listen to, and what was true.
 *
 * What    A *truth* is what there was after one commit. A *term* is one opening of the database,
 *         with the truths of its commits and the term that it goes on from. A *listener* is a
 *         subscriber with the application behind it, which keeps a copy of its own made of what it
 *         hears, and now and then a place to go on from together with the copy of that moment.
 * Owns    terms and truths; listeners their subscribers and copies.
 * Sees    crowd_turn lets each listener hear, and checks: changes come in order and once, a whole
 *         is what was true then in the term that the subscriber says it is in, and a snapshot that
 *         is said to be needed because of another history or a loss was needed.
 * Threads one.
 * Limits  TERM_MAX terms, and NODE_MAX commits of all of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_MODEL_CROWD_H
#define TESTS_MODEL_CROWD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "subscribe/subscriber.h"
#include "tests/sim/network.h"

enum { NAMES = 3, KEYS = 8, LISTENERS = 8, TERM_MAX = 64, NODE_MAX = 40000 };
enum { PLAYERS = 0, SCORES = 1, FLEETING = 2 };

#define NEWS_URL "tcp://server:4000"
#define SERVICE_URL "tcp://server:4001"
#define MILLISECOND ((uint64_t)1000000)
#define SECOND ((uint64_t)1000000000)

extern const char *const crowd_names[NAMES];
extern const char *const crowd_keys[KEYS];

typedef struct truth {
    uint32_t documents[NAMES][KEYS]; /* crowd_number of it; 0: there is none */
    int64_t expires_ns[NAMES][KEYS]; /* 0: never */
    int64_t wall_ns;                 /* when it was looked at: what is due then may be there */
    int is_known;
} truth;

typedef struct term {
    uint64_t id;
    int before;          /* the term it goes on from; -1: none */
    uint64_t before_end; /* up to this commit of it */
    uint64_t first_seq;  /* where it was when it had been opened */
    uint64_t last_seq;
    size_t first_node;
    uint64_t heard_seq; /* the last commit that somebody heard in it */
} term;

typedef struct kept_document {
    uint8_t *bytes; /* NULL: none */
    size_t size;
    int64_t expires_ns;
} kept_document;

typedef struct copy {
    kept_document documents[NAMES][KEYS];
    uint64_t seq;
    uint32_t position;
    uint64_t term_id;    /* in which this was heard; 0: nothing was */
    int is_void;         /* a snapshot of all is to come */
    int is_stale[NAMES]; /* one of this collection is */
} copy;

typedef struct listener {
    merle_subscriber *s;
    uint32_t number;
    int has_open;       /* a commit, or a snapshot, of which the end was not heard */
    copy now, then;     /* then: when the place was kept */
    merle_buffer place; /* size 0: none */
    merle_buffer scratch;
} listener;

typedef struct crowd_sums {
    uint64_t changes, snapshots, gaps[8], compared, unknown, resumed, fresh, troubles, files;
    uint64_t lives, stops, cuts, kills, closes, wipes, restores, faults, lost, settled, cut_commits;
} crowd_sums;

typedef struct crowd {
    uint64_t seed;
    mrl_random random;
    network *net;
    term terms[TERM_MAX];
    int term_count;
    truth *nodes;
    size_t node_count;
    listener listeners[LISTENERS];
    crowd_sums *sums;
    merle_bytes secret; /* size 0: none */
} crowd;

static inline uint64_t crowd_below(crowd *c, uint64_t limit) {
    return mrl_random_below(&c->random, limit);
}
/* Prints and fails. l may be NULL. */
_Noreturn void crowd_fail(const crowd *c, const listener *l, const char *what);

/* A document as one number, by its level and the length of its pad. */
uint32_t crowd_number(merle_doc doc);

/* The truth at a commit of a term, or of one that it goes on from. NULL: there is no such commit;
 * one that is not known was not looked at. */
const truth *crowd_truth(const crowd *c, int term_number, uint64_t seq);
/* -1: none has this id. */
int crowd_term(const crowd *c, uint64_t id);
/* Where the next commit of the last term is to be put down; those between are not known. */
truth *crowd_note(crowd *c, uint64_t seq);

void crowd_open(crowd *c, uint32_t number, int resumes);
/* The subscriber goes, with or without a word; another one begins, where it can at a kept place. */
void crowd_replace(crowd *c, uint32_t number);
void crowd_turn(crowd *c, uint32_t number);
/* Everything up to the last commit that may be seen was heard, and no snapshot is awaited. */
int crowd_is_there(const crowd *c, uint32_t number, uint64_t seq);
/* What it has is what is true now. */
void crowd_compare(crowd *c, uint32_t number);
void crowd_close(crowd *c);

#endif
