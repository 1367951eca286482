/* log/log_private.h - what the files of this room share: the log itself.
 *
 * What    log.c has the ring, publishing and reading; credit.c has credit, the drain and waiting
 *         for it; entry.c makes entries.
 * Threads each field says who writes it. Fields that different threads write often lie a cache line
 *         apart, wherever the block begins: hence the padding.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_LOG_LOG_PRIVATE_H
#define MRL_LOG_LOG_PRIVATE_H

#include "log/log.h"

#include "base/lock.h"

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
    mrl_position *positions;
    uint64_t position_mask;
    uint64_t ring_size;
    /* Written now and then. */
    _Atomic int failure; /* a merle_err of the drain */
    _Atomic int wants_after;
    _Atomic int wants_before;
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
    char pad_credit[MRL_LINE_SIZE];

    /* By the drain. */
    _Atomic uint64_t written;
    _Atomic uint64_t durable;
    mrl_lock drain_lock; /* who does the drain's work where it has no thread; only ever tried */
    mrl_event work;      /* for the drain's thread: something was published */
    mrl_event room;      /* for those who wait for the drain: look again */
};

/* For publish: gives back credit, tells the drain, or whoever waits to do its work. */
void mrl_credit_settle(mrl_log *log, uint64_t too_much);
/* For attach and create. */
void mrl_credit_reset(mrl_log *log);
/* The number of bytes that a demand for credit counts for. */
static inline uint64_t mrl_credit_round(uint64_t bytes) {
    return bytes < MRL_ENTRY_CREDIT_MIN ? MRL_ENTRY_CREDIT_MIN : bytes;
}

#endif
