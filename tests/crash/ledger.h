/* tests/crash/ledger.h - what a process that is killed has said, and what has to be there then.
 *
 * What    The events that a child sends through a pipe, each in one piece; a ledger of its commits
 *         made from them; and the comparison of an opened database with it. Each worker's commits
 *         also put a marker, which tells how many of them are there.
 * Owns    nothing but itself: it is copied, by a fork too.
 * Sees    A killed process loses what it had not written, and nothing else: what it had said to be
 *         written, or to be durable, is there, and everything before it.
 * Threads one at a time; a pipe takes events of several.
 * Limits  LEDGER_NOTE_MAX commits between two openings that came to their end.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_CRASH_LEDGER_H
#define TESTS_CRASH_LEDGER_H

#include <merle/merle.h>
#include <stdint.h>

enum {
    LEDGER_WORKERS = 2,
    LEDGER_KEYS = 60,    /* of each worker */
    LEDGER_VALUES = 150, /* unique ones, of all of them */
    LEDGER_OPS = 3,
    LEDGER_NOTE_MAX = 20000
};

typedef enum ledger_kind {
    LEDGER_AT_IT = 1, /* an opening has begun, or gone on */
    LEDGER_OPENED,    /* and what was found was right */
    LEDGER_INTENT,    /* the end of a commit is called */
    LEDGER_DONE,
    LEDGER_REFUSED,
    LEDGER_CLOSED, /* all is durable */
    LEDGER_TROUBLE
} ledger_kind;

typedef struct ledger_op {
    uint32_t key, number; /* number 0: removed */
    uint32_t value;       /* unique; 0: none */
    uint32_t filler;      /* bytes besides */
    int64_t expires_ns;
} ledger_op;

typedef struct ledger_marker {
    uint64_t attempt, seq; /* of the worker's last commit that is there; 0: none is */
} ledger_marker;

typedef struct ledger_event {
    ledger_kind kind;
    uint32_t worker;
    uint64_t attempt, seq; /* OPENED: the last commit that was found */
    uint64_t written;      /* the last commit that is written, or durable, as far as was known */
    merle_durability durability;
    uint32_t op_count;
    ledger_op ops[LEDGER_OPS];
    ledger_marker markers[LEDGER_WORKERS];
    char text[200];
} ledger_event;

typedef enum ledger_fate { LEDGER_OPEN = 0, LEDGER_IS_DONE, LEDGER_IS_REFUSED } ledger_fate;

typedef struct ledger_note {
    uint32_t worker, op_count;
    uint64_t attempt, seq;
    merle_durability durability;
    ledger_fate fate;
    ledger_op ops[LEDGER_OPS];
} ledger_note;

typedef struct ledger_document {
    ledger_op is; /* number 0: none */
    uint64_t seq;
} ledger_document;

typedef struct ledger {
    ledger_document documents[LEDGER_WORKERS][LEDGER_KEYS];
    ledger_marker markers[LEDGER_WORKERS];
    uint64_t attempts[LEDGER_WORKERS]; /* the last number that was given */
    uint64_t promised_seq;             /* everything up to here is there */
    int is_opening_unknown;            /* set by the parent if an opening did not come to its end:
                               * it may have made commits */
    uint32_t note_count;
    ledger_note notes[LEDGER_NOTE_MAX];
    char trouble[256]; /* what is wrong; empty: nothing */
    uint64_t commits, refused, lost, by_durability[MERLE_SYNC_LATER + 1];
} ledger;

/* 0, or -1: the pipe is closed. */
int ledger_send(int fd, const ledger_event *event);
/* Takes an event into account: OPENED settles everything before it. */
void ledger_take(ledger *l, const ledger_event *event);
/* Compares an opened database with the ledger, fills *out (OPENED, or TROUBLE), and takes it. */
void ledger_judge(ledger *l, merle_db *db, merle_collection *things, ledger_event *out);

merle_bytes ledger_key(merle_key *out, uint32_t worker, uint32_t key);
merle_bytes ledger_marker_key(merle_key *out, uint32_t worker);
/* {"n": number, "v": value, "f": filler}; 0: without. */
merle_bytes ledger_build(merle_builder *builder, uint64_t number, uint32_t value, uint32_t filler);
int64_t ledger_now_ns(void);

#endif
