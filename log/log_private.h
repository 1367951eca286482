/* log/log_private.h - what the files of this room share: the log itself.
 *
 * What    log.c has the ring, publishing and reading; credit.c has credit and waiting for
 *         it; drain.c does the drain's work; follow.c tells followers; entry.c makes entries.
 * Threads each field says who writes it. Fields that different threads write often lie a cache line
 *         apart, wherever the block begins: hence the padding.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_LOG_LOG_PRIVATE_H
#define MRL_LOG_LOG_PRIVATE_H

#include "log/log.h"

#include "base/lock.h"
#include "log/follow.h"

enum {
    MRL_LINE_SIZE = 64,
    /* How many entries leave under the publish lock at most before it is dropped for a moment. */
    MRL_LEAVE_COUNT_MAX = 32,
    MRL_POSITION_COUNT_MIN = 64
};

typedef struct mrl_position {
    _Atomic(mrl_entry *) entry;
    /* What the entry counts for; under the publish lock. It stands here because an entry that
     * leaves was written a whole ring ago: to look at it would be a cache miss with the lock
     * held. */
    uint64_t bytes;
} mrl_position;

struct mrl_log {
    /* Written at setup only. */
    mrl_domain *domain;
    const mrl_clock *clock;
    const mrl_drain *drain; /* NULL: none */
    const mrl_older *older; /* NULL: none */
    uint64_t credit_max;    /* the drain's, completed */
    uint64_t record_max;
    uint64_t loose_max;
    mrl_position *positions;
    uint64_t position_mask;
    uint64_t ring_size;
    /* Written now and then. */
    _Atomic int failure;    /* a merle_err of the drain */
    _Atomic int is_failing; /* somebody is writing the reason down */
    _Atomic int room_errno; /* why there is no room for a record of the largest size */
    _Atomic uint64_t room;  /* see mrl_log_room */
    _Atomic int wants_room; /* see mrl_log_wants_room */
    _Atomic int wants_after;
    _Atomic int wants_before;
    _Atomic uint32_t armed[MRL_FOLLOW_KIND_COUNT]; /* how many followers are */
    char pad_rare[MRL_LINE_SIZE];

    /* Written at each publish, under the publish lock. */
    mrl_lock publish_lock;
    int64_t last_time_ns;
    _Atomic uint64_t ring_bytes; /* atomic for mrl_log_stat only */
    _Atomic uint64_t first_seq;  /* the oldest that is in the ring; read by anybody */
    char pad_publish[MRL_LINE_SIZE];

    /* Loaded at the begin of every section. */
    _Atomic uint64_t published;
    char pad_published[MRL_LINE_SIZE];

    /* Credit: used only where a drain is attached. */
    _Atomic uint64_t credit; /* bytes that can be taken */
    _Atomic uint64_t tickets_given;
    _Atomic uint64_t tickets_served;
    _Atomic uint64_t credit_waits;
    _Atomic uint32_t credit_waiting; /* who waits for credit at the moment */
    _Atomic uint32_t thread_state;   /* of a drain's thread that shares the work */
    _Atomic uint64_t loose;          /* bytes that can be taken */
    char pad_credit[MRL_LINE_SIZE];

    /* By the drain. */
    _Atomic uint64_t written;
    _Atomic uint64_t durable;
    _Atomic uint64_t asked;   /* to be durable */
    _Atomic uint64_t asks;    /* how often somebody asked */
    mrl_lock drain_lock;      /* who does the drain's work; only ever tried */
    int is_led;               /* under drain_lock: who holds it signals `moved` afterwards */
    int may_gather;           /* under drain_lock */
    _Atomic uint32_t knock;   /* somebody found drain_lock taken, and waits */
    _Atomic uint32_t telling; /* who has news of durable that are not told yet; 0: nobody tells */
    uint64_t told;            /* by whoever tells */
    mrl_event work;           /* for the drain's thread: it is wanted */
    mrl_event has_room;       /* for those who wait for credit: look again */
    mrl_event moved;          /* for those who wait for something to be durable: look again */
    merle_report reason;      /* of the failure; written once, before `failure` */

    mrl_lock follow_lock;
    mrl_follower *followers[MRL_FOLLOW_KIND_COUNT]; /* under follow_lock: those that are armed */
};

/* What a drain's thread is at, for those who might have to wake it. */
enum { MRL_THREAD_AWAKE = 0, MRL_THREAD_DOZES, MRL_THREAD_SLEEPS };

/* For publish: gives back credit that was too much, tells the drain, or whoever waits to do its
 * work. */
void mrl_credit_settle(mrl_log *log, uint64_t taken, uint64_t counted, int is_led);
/* For attach and create. */
void mrl_credit_reset(mrl_log *log);
/* Credit of entries that were written goes back. */
void mrl_credit_written(mrl_log *log, uint64_t bytes);

/* ---- log/follow.c ---- */
void mrl_follow_wake(mrl_log *log, mrl_follow follow);
/* After what is followed has moved, and a full fence, which pairs with the one in
 * mrl_follower_arm. */
static inline void mrl_follow_look(mrl_log *log, mrl_follow follow) {
    if (__builtin_expect(atomic_load_explicit(&log->armed[follow], memory_order_relaxed) != 0, 0))
        mrl_follow_wake(log, follow);
}

/* ---- log/drain.c ---- */
/* Does the drain's work if nobody else is at it, then waits until the event's count is no longer
 * `seen`, which it was before the caller looked at what he waits for. */
void mrl_log_lead_or_wait(mrl_log *log, mrl_member *member, mrl_event *event, uint32_t seen);
/* Wakes the drain's thread, if it rests. */
void mrl_log_wake(mrl_log *log);
/* The number of bytes that a demand for credit, or an entry, counts for. */
static inline uint64_t mrl_credit_worth(const mrl_log *log, uint64_t bytes) {
    if (bytes < MRL_ENTRY_CREDIT_MIN) bytes = MRL_ENTRY_CREDIT_MIN;
    return bytes < log->credit_max ? bytes : log->credit_max;
}

#endif
