/* tests/crash/life_private.h - what the files of a life share.
 *
 * What    life.c has its plan, its opening, its work and its end; life_care.c backups, restore and
 *         repair; life_follow.c cursors over the log; life_load.c bulk loads.
 * Threads one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_CRASH_LIFE_PRIVATE_H
#define TESTS_CRASH_LIFE_PRIVATE_H

#include "tests/crash/life.h"

enum { LIFE_LOG_FILE_SIZE = 64 << 10 };

/* What goes wrong in a life, besides its end. */
typedef enum life_fault { FAULT_NONE = 0, FAULT_CALL, FAULT_SPACE, FAULT_MEMORY } life_fault;

typedef struct life {
    crash_run *run;
    sim *s;
    merle_db *db;
    merle_collection *handles[PLAIN_COLLECTION_MAX];
    uint32_t current[ORACLE_NAME_COUNT];
    uint32_t commits; /* that came back well */
    uint32_t commits_wanted;
    uint32_t stop_within; /* calls, from when there are so many; 0: no stop */
    life_fault fault;
    disk_call fault_call;
    merle_durability durability; /* of all commits; 0: any */
    uint32_t steps_in_64;        /* so often worker 0 steps */
    uint32_t await_in;           /* one in so many waits for the disk */
    uint32_t checkpoint_in;      /* one action in so many is a checkpoint */
    uint32_t follow_in;          /* ... reads the log */
    uint32_t load_in;            /* ... is a bulk load */
    uint32_t refuse_in;  /* one allocation in so many is refused, in lives that lack memory */
    int refuses_opening; /* also while it is opened */
    int is_refusing;
    int is_armed;
    uint32_t backup_in; /* one action of worker 0 in so many is a backup */
    int has_backup;
    uint32_t loads_open;
    uint32_t loading; /* the name of the collection that was loaded last */
    int is_read_only; /* a writer was told so */
    int is_opening, is_closing;
    care_kind caring; /* what is made of the directory before it is opened */
    int is_caring;
    int has_copy; /* it was made, and is looked at when the database is open */
    int is_done;  /* as many commits as were wanted, and some more */
    int has_failed_to_open;
} life;

typedef struct life_worker {
    life *l;
    uint32_t number;
    mrl_random random;
    merle_builder *builder;
    merle_changes *cursor; /* NULL: none is open */
    follower follower;
} life_worker;

static inline uint64_t below(life_worker *w, uint64_t limit) {
    return mrl_random_below(&w->random, limit);
}

static inline uint64_t published(const life *l) {
    return mrl_log_published_at(l->db->store.published);
}

static inline oracle *oracle_of(const life *l) {
    return l->run->o;
}

/* ---- life.c ---- */

/* What a call may be answered with when something was made to fail. Refusals are counted. */
int life_excuses(life *l, merle_err err);
/* Sees to the note of a write that has come back. */
void life_settle(life *l, note *n, merle_err err, uint64_t seq);
merle_err life_open_path(const life *l, const char *path, merle_access access, merle_report *report,
                         merle_db **out_db);
/* Defines: worker 0 alone. */
void life_define(life_worker *w, note_kind kind, uint32_t name);
/* A document's bytes, in the worker's builder. */
merle_bytes life_build(life_worker *w, const plain_doc *doc);
/* No allocation is refused between the two. */
void life_spare(life *l);
void life_refuse_again(life *l);

/* ---- life_care.c ---- */

void life_back_up(life_worker *w);
/* The backup of an earlier life has outlived the crash: it is restored from and opened. */
void life_check_backup(life *l);
void life_forget_backup(crash_run *run);
/* Makes of the directory a restored or repaired one, as was planned: the next world, or to be
 * looked at only. */
void life_care(life *l);
/* The database was opened, and is what it has to be. */
void life_care_opened(life *l);
/* The machine has stopped, and the disk is still as it was then. */
void life_care_stopped(life *l);

/* ---- life_follow.c ---- */

void life_follow(life_worker *w);
void life_follow_end(life_worker *w);

/* ---- life_load.c ---- */

void life_load(life_worker *w);

#endif
