/* database/operate.h - what an operator may ask of a database, whoever carries the words.
 *
 * What    Verbs with a map of arguments, answered by a map. What takes long is a job: it is begun,
 *         asked for, and may be cancelled. There is one at a time; what the last one came to can be
 *         asked for until the next one begins.
 * Owns    the job's thread, which has ended when the fini returns.
 * Sees    Arguments are foreign bytes, checked before anything is made of them.
 * Threads mrl_operate: one at a time. The job has a thread of its own.
 * Limits  MRL_OPERATE_PATH_MAX bytes of a path.
 *
 *   info {}, stats {}                   as merle_describe
 *   backup {path}, check {}             {job}: path is absolute
 *   checkpoint {}                       {job}
 *   job {job}                           {job, verb, state, part, done, total}; once it is over also
 *                                       err, message, result
 *   cancel {job}                        {job}: it ends as soon as it can; a checkpoint does not
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DATABASE_OPERATE_H
#define MRL_DATABASE_OPERATE_H

#include <pthread.h>
#include <stdatomic.h>

#include <merle/operate.h>

#include "base/lock.h"
#include "database/database.h"

enum { MRL_OPERATE_PATH_MAX = 4096 };

typedef enum mrl_job_kind {
    MRL_JOB_NONE = 0,
    MRL_JOB_BACKUP,
    MRL_JOB_CHECKPOINT,
    MRL_JOB_CHECK
} mrl_job_kind;

typedef enum mrl_job_state {
    MRL_JOB_RUNNING = 0,
    MRL_JOB_DONE,
    MRL_JOB_FAILED,
    MRL_JOB_CANCELLED
} mrl_job_state;

typedef struct mrl_operate {
    merle_db *db;
    merle_operator_rights rights;
    int may_have_threads; /* 0: no jobs */
    /* Of the last job. By who asks, and by its thread before and after its work. */
    mrl_job_kind kind;
    uint64_t number; /* from 1 */
    char path[MRL_OPERATE_PATH_MAX];
    pthread_t thread;
    int has_thread;
    _Atomic int is_cancelled;
    mrl_lock lock; /* of what follows */
    mrl_job_state state;
    const char *part;
    uint64_t done, total;
    merle_err err;
    merle_report report;
    merle_buffer result; /* a map; empty: there is none */
} mrl_operate;

/* The database is held until the fini. */
void mrl_operate_init(mrl_operate *operate, merle_db *db, merle_operator_rights rights,
                      int may_have_threads);
/* Cancels the job that is under way, and waits for it. */
void mrl_operate_fini(mrl_operate *operate);
/* Answers: *result is a map. Errors: MERLE_UNSUPPORTED (no such verb), MERLE_INVALID (arguments),
 * MERLE_NOT_FOUND (no such job), MERLE_BUSY (a job is under way), MERLE_READ_ONLY (not allowed
 * here), MERLE_WRONG_THREAD (no threads for jobs), MERLE_NO_MEMORY, MERLE_SYSTEM. */
MERLE_MUST_USE merle_err mrl_operate_ask(mrl_operate *operate, merle_bytes verb,
                                         merle_bytes arguments, merle_buffer *result);

/* ---- database/operate_job.c ---- */
/* The one before has ended. Errors: MERLE_BUSY, MERLE_READ_ONLY, MERLE_WRONG_THREAD (it may have no
 * thread of its own), MERLE_SYSTEM. */
MERLE_MUST_USE merle_err mrl_job_begin(mrl_operate *operate, mrl_job_kind kind, const char *path);
void mrl_job_cancel(mrl_operate *operate);
/* How it stands. */
void mrl_job_tell(mrl_operate *operate, merle_builder *builder);

#endif
