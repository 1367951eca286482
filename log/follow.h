/* log/follow.h - who is told that the log has moved.
 *
 * What    A follower waits for what comes behind a seq: to be published, or written, or durable.
 *         While it has nothing to wait for, or naps and looks again by itself, it is not armed, and
 *         costs nobody anything. Armed, it costs the writer who comes next one wake, and is armed
 *         no more: so a burst of commits costs one.
 * Owns    nothing: the follower lies in its owner's memory; descriptor and event are the owner's.
 * Sees    who is told 0 by mrl_follower_arm has something to look at; who is told 1 is woken by
 *         whatever comes later. Being woken says only: look again.
 * Threads arm, disarm, close: owner only. Waking: any, with no lock but the list's.
 * Limits  a writer wakes all that are armed, one after the other: a host with very many that are
 *         idle lets a few of them stand for the others.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_LOG_FOLLOW_H
#define MRL_LOG_FOLLOW_H

#include "log/log.h"

typedef enum mrl_follow {
    MRL_FOLLOW_PUBLISHED = 0,
    MRL_FOLLOW_WRITTEN = 1,
    MRL_FOLLOW_DURABLE = 2,
    MRL_FOLLOW_KIND_COUNT = 3
} mrl_follow;

typedef struct mrl_follower {
    mrl_log *log;
    mrl_follow follow;
    mrl_event *event;          /* signalled; NULL: none */
    int fd;                    /* an eventfd of its own, that does not block; -1: none */
    _Atomic uint32_t is_armed; /* changed with the list's lock held */
    struct mrl_follower *next; /* in the list of those that are armed */
    struct mrl_follower **at;  /* what points to it there */
} mrl_follower;

/* Not armed. Where nothing is written to a disk, written and durable mean published. */
void mrl_follower_init(mrl_follower *follower, mrl_log *log, mrl_follow follow, mrl_event *event,
                       int fd);
/* Before its memory goes away, or what is to be signalled. */
void mrl_follower_close(mrl_follower *follower);

/* The seq up to which what it follows has come. */
uint64_t mrl_follower_seq(const mrl_follower *follower);
/* 1: it is armed, and nothing lies behind `seq` yet. 0: something does; it is not armed. A drain
 * that fails wakes all. */
int mrl_follower_arm(mrl_follower *follower, uint64_t seq);
void mrl_follower_disarm(mrl_follower *follower);

#endif
