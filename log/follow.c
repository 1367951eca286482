/* log/follow.c - who is told that the log has moved.
 *
 * Why nobody sleeps through a commit. A writer stores the seq, then looks whether anybody is armed;
 * a follower arms, then looks at the seq; both with full fences in between. So one of the two sees
 * the other. A writer who sees nobody armed has paid one load.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "log/follow.h"

#include <errno.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/self.h"
#include "log/log_private.h"

void mrl_follower_init(mrl_follower *follower, mrl_log *log, mrl_follow follow, mrl_event *event,
                       int fd) {
    follower->log = log;
    follower->follow = log->drain == NULL ? MRL_FOLLOW_PUBLISHED : follow;
    follower->event = event;
    follower->fd = fd;
    atomic_init(&follower->is_armed, 0);
    follower->next = NULL;
    follower->at = NULL;
}

void mrl_follower_close(mrl_follower *follower) {
    /* Always with the lock: who has found it in the list may be signalling it still. */
    mrl_follower_disarm(follower);
}

uint64_t mrl_follower_seq(const mrl_follower *follower) {
    const mrl_log *log = follower->log;
    switch (follower->follow) {
    case MRL_FOLLOW_WRITTEN:
        return mrl_log_written_seq(log);
    case MRL_FOLLOW_DURABLE:
        return mrl_log_durable_seq(log);
    default:
        return mrl_log_published_at(&log->published);
    }
}

/* ---- the list, under its lock ---- */

static void link_in(mrl_follower *follower) {
    mrl_follower **first = &follower->log->followers[follower->follow];
    follower->next = *first;
    follower->at = first;
    if (*first != NULL) (*first)->at = &follower->next;
    *first = follower;
    atomic_store_explicit(&follower->is_armed, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&follower->log->armed[follower->follow], 1, memory_order_seq_cst);
}

static void take_out(mrl_follower *follower) {
    *follower->at = follower->next;
    if (follower->next != NULL) follower->next->at = follower->at;
    follower->next = NULL;
    follower->at = NULL;
    atomic_store_explicit(&follower->is_armed, 0, memory_order_relaxed);
    atomic_fetch_sub_explicit(&follower->log->armed[follower->follow], 1, memory_order_relaxed);
}

int mrl_follower_arm(mrl_follower *follower, uint64_t seq) {
    mrl_log *log = follower->log;
    if (mrl_follower_seq(follower) > seq) return 0;
    mrl_lock_take(&log->follow_lock);
    if (!atomic_load_explicit(&follower->is_armed, memory_order_relaxed)) link_in(follower);
    mrl_lock_drop(&log->follow_lock);
    mrl_point("log.follower_armed");
    /* Pairs with the fences before mrl_follow_look. Without it the seq could be an old one, and the
     * writer could have found nobody armed. */
    atomic_thread_fence(memory_order_seq_cst);
    if (mrl_follower_seq(follower) <= seq) return 1;
    mrl_follower_disarm(follower);
    return 0;
}

void mrl_follower_disarm(mrl_follower *follower) {
    mrl_lock_take(&follower->log->follow_lock);
    if (atomic_load_explicit(&follower->is_armed, memory_order_relaxed)) take_out(follower);
    mrl_lock_drop(&follower->log->follow_lock);
}

/* ---- for those who move the log ---- */

static void tell(mrl_follower *follower) {
    static const uint64_t one = 1;
    if (follower->event != NULL) mrl_event_signal(follower->event);
    if (follower->fd < 0) return;
    /* It fails only where the count is at its end already: then it is readable as well. */
    while (write(follower->fd, &one, sizeof one) < 0 && errno == EINTR) continue;
}

void mrl_follow_wake(mrl_log *log, mrl_follow follow) {
    mrl_point("log.follow_wake");
    /* The lock is held while they are told, so that none goes away meanwhile. */
    mrl_lock_take(&log->follow_lock);
    while (log->followers[follow] != NULL) {
        mrl_follower *follower = log->followers[follow];
        take_out(follower);
        tell(follower);
    }
    mrl_lock_drop(&log->follow_lock);
}
