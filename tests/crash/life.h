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

/* What can be done with a directory that is closed. */
typedef enum care_kind {
    CARE_NONE = 0,
    CARE_RESTORE,
    CARE_REPAIR,
    CARE_VERIFY,
    CARE_COUNT
} care_kind;

/* Calls that were refused memory. */
typedef enum refused_call {
    REFUSED_OPENING = 0,
    REFUSED_COMMIT,
    REFUSED_CHECKPOINT,
    REFUSED_DEFINITION,
    REFUSED_LOAD,
    REFUSED_CURSOR,
    REFUSED_CARE,
    REFUSED_COUNT
} refused_call;

typedef struct life_totals {
    uint64_t lives, opened;
    uint64_t stops_caring, stops_opening, stops_working, stops_closing; /* in a call of the disk */
    uint64_t ends_between; /* cut off between two calls */
    uint64_t closes, cuts, kills;
    uint64_t faulted, refused_openings;
    uint64_t commits, refused, by_durability[MERLE_SYNC_LATER + 1];
    uint64_t definitions, checkpoints, steps, lost;
    uint64_t backups, backups_opened;
    uint64_t cares[CARE_COUNT];               /* restored, repaired, verified: whole */
    uint64_t cares_taken[CARE_COUNT];         /* of them, the next world */
    uint64_t cares_stopped[CARE_COUNT];       /* cut off by a stop */
    uint64_t cares_failed[CARE_COUNT];        /* by a fault */
    uint64_t copies_unfinished, copies_whole; /* of those that were cut off, as they were found */
    uint64_t restores_back;                   /* to an earlier commit */
    uint64_t restores_out_of_reach;
    uint64_t cursors, cursors_again; /* opened; gone on with after a reopening */
    uint64_t changes, changes_checked, changes_from_files, gaps;
    uint64_t loads, loads_in_company, loads_cancelled, loads_refused, loads_stopped;
    uint64_t beside_loads; /* definitions refused because of a load */
    uint64_t refusals[REFUSED_COUNT];
    uint64_t allocations_refused;
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
    uint64_t restore_seq; /* an earlier commit, and what the world was then; 0: there is none */
    world restore_world;
    char path[24]; /* of the database */
    char copy[24]; /* that was being made when the machine stopped; empty: none was */
    care_kind copy_kind;
    uint64_t copy_seq;      /* it is restored to this one; 0: it has all there is */
    uint64_t copy_of;       /* what the directory that it is made of has in its files */
    uint64_t log_first_seq; /* where the directory's log begins */
    int keeps_log;          /* files of the log are never removed */
    uint64_t followed[ORACLE_WORKER_MAX]; /* how far each has read the log */
    int is_told;                          /* each life is told */
} crash_run;

void crash_run_init(crash_run *run, uint64_t seed);
void crash_run_fini(crash_run *run);
/* A life. 0: all is well; else oracle->trouble says what is not. */
int crash_run_live(crash_run *run);

#endif
