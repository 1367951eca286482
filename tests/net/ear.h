/* tests/net/ear.h - a subscriber, what it has heard, and the log to compare that with.
 *
 * What    Notes everything that is heard, or reads it from a file that another process has written.
 *         ear_judge: of each collection, the changes behind its last snapshot, and between two of
 *         them, are those of the log, in order, each once, none missing. ear_equals: the copy that
 *         the subscriber keeps is what the store has.
 * Sees    the log must reach back to the first commit.
 * Threads one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_NET_EAR_H
#define TESTS_NET_EAR_H

#include <merle/merle.h>
#include <merle/subscribe.h>

enum { EAR_IDS = 64 }; /* collections, ever */

typedef struct ear_note {
    uint64_t seq;
    uint32_t position, id, kind, reason; /* as in merle_heard */
    uint64_t key, after;                 /* hashes; 0: none */
} ear_note;

typedef struct ear {
    merle_subscriber *s;
    ear_note *notes;
    size_t count, room;
    uint64_t gaps, troubles, connects, snapshots;
    char trouble[256]; /* the last one */
} ear;

/* Short patience, keep; otherwise as they are given. */
void ear_open(ear *e, const merle_subscriber_options *options);
void ear_close(ear *e);
void ear_note_add(ear *e, const merle_heard *heard);
/* Takes what there is; how much. */
size_t ear_drain(ear *e);
/* Waits for something to hear, at most so long. */
void ear_wait(ear *e, unsigned ms);
/* Hears until everything up to seq was given; 0: not in time. */
int ear_until(ear *e, uint64_t seq, unsigned patience_s);
/* A line that says how it stands. */
void ear_say(const ear *e);
/* 1, or 0 and lines that say what is wrong. */
int ear_judge(const ear *e, merle_db *db);
int ear_equals(const ear *e, merle_db *db);

#endif
