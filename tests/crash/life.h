/* tests/crash/life.h - one life of a database on a simulated disk: opened, worked with, cut off.
 *
 * What    A crash_run has a disk and an oracle; each life of it is a simulator of its own, with
 *         workers that commit, checkpoint, define and step, until the machine stops at some call
 *         of the disk, or the work is done.
 * Owns    disk, oracle. What a life that was cut off had allocated is never given back: a run
 *         belongs in a process of its own.
 * Threads one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_CRASH_LIFE_H
#define TESTS_CRASH_LIFE_H

#include "tests/crash/oracle.h"
#include "tests/crash/terms.h"
#include "tests/sim/disk.h"
#include "tests/sim/sim.h"

enum { LIFE_COMMITS_MIN = 50, LIFE_COMMITS_MAX = 1200 };

typedef struct life_totals {
    uint64_t lives, opened;
    uint64_t stops_opening, stops_working, stops_closing; /* in a call of the disk */
    uint64_t ends_between;                                /* cut off between two calls */
    uint64_t closes, cuts, kills;
    uint64_t faulted, refused_openings;
    uint64_t commits, refused, by_durability[MERLE_SYNC_LATER + 1];
    uint64_t definitions, checkpoints, steps, lost;
    uint64_t backups, backups_opened;
    uint64_t answers[MERLE_NOT_READY + 1]; /* of commits */
} life_totals;

typedef struct crash_run {
    uint64_t seed;
    mrl_random random;
    disk *d;
    oracle *o;
    life_totals totals;
    terms_book terms;
    uint64_t now_ns;
    char backup[24]; /* where the last one lies; empty: nowhere */
    uint64_t backup_seq;
    world backup_world;
    int is_told; /* each life is told */
} crash_run;

void crash_run_init(crash_run *run, uint64_t seed);
void crash_run_fini(crash_run *run);
/* A life. 0: all is well; else oracle->trouble says what is not. */
int crash_run_live(crash_run *run);

#endif
