/* log/credit.c - credit, the drain's progress, and waiting for it.
 *
 * credit = ring size - bytes of entries that are not written - bytes taken by commits on their way.
 * All of it is only used where a drain is attached; without one, nothing holds entries in the ring.
 *
 * Waiting: whoever waits reads the count of the event `room`, looks whether he may go on, and waits
 * for the count to change. Everything that may let somebody go on signals it afterwards: written,
 * durable, credit given back, a failure, a place in the queue. Where the drain has no thread,
 * publishing signals it too, and so does whoever did the drain's work and goes away: somebody else
 * must take his place.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/assert.h"
#include "base/self.h"
#include "log/log_private.h"

/* ---- failure ---- */

merle_err mrl_log_failure(const mrl_log *log) {
    return (merle_err)atomic_load_explicit(&log->failure, memory_order_acquire);
}

void mrl_log_fail(mrl_log *log, merle_err err) {
    int none = MERLE_OK;
    MRL_ASSERT(err != MERLE_OK);
    atomic_compare_exchange_strong_explicit(&log->failure, &none, (int)err, memory_order_acq_rel,
                                            memory_order_relaxed);
    mrl_event_signal(&log->room);
}

/* ---- the drain's work, done by one who waits ---- */

/* Does the drain's work if it has no thread and nobody else does it just now, else waits for the
 * event. `seen` is the event's count from before the caller looked at his condition. A group that
 * brought nothing forward is followed by waiting, too: more work for the drain comes with a signal.
 * *led becomes 1 where the caller did the work: he must then signal when he goes away. */
static void drain_or_wait(mrl_log *log, mrl_member *member, uint32_t seen, int *led) {
    if (!log->drain->has_thread && mrl_lock_try(&log->drain_lock)) {
        *led = 1;
        merle_err err = mrl_log_failure(log);
        if (err == MERLE_OK) {
            err = log->drain->write_group(log->drain->context, member);
            if (err != MERLE_OK) mrl_log_fail(log, err);
        }
        mrl_lock_drop(&log->drain_lock);
    }
    mrl_point("log.wait");
    (void)mrl_event_wait(&log->room, seen, UINT64_MAX);
}

/* ---- credit ---- */

void mrl_credit_reset(mrl_log *log) {
    uint64_t published = mrl_log_published_at(&log->published);
    atomic_store_explicit(&log->credit, log->ring_size, memory_order_relaxed);
    atomic_store_explicit(&log->tickets_given, 0, memory_order_relaxed);
    atomic_store_explicit(&log->tickets_served, 0, memory_order_relaxed);
    atomic_store_explicit(&log->failure, MERLE_OK, memory_order_relaxed);
    atomic_store_explicit(&log->written, published, memory_order_relaxed);
    atomic_store_explicit(&log->durable, published, memory_order_relaxed);
}

void mrl_log_drain_attach(mrl_log *log, const mrl_drain *drain) {
    log->drain = drain;
    mrl_credit_reset(log);
}

static int credit_try(mrl_log *log, uint64_t bytes) {
    uint64_t credit = atomic_load_explicit(&log->credit, memory_order_relaxed);
    while (credit >= bytes) {
        /* Acquire: pairs with the release in credit_add. Credit that came from an entry that was
         * written brings with it that it was written: the position that we shall use is known to be
         * free. */
        if (atomic_compare_exchange_weak_explicit(&log->credit, &credit, credit - bytes,
                                                  memory_order_acquire, memory_order_relaxed))
            return 1;
    }
    return 0;
}

static void credit_add(mrl_log *log, uint64_t bytes) {
    uint64_t before = atomic_fetch_add_explicit(&log->credit, bytes, memory_order_release);
    MRL_DEBUG_ASSERT(before + bytes <= log->ring_size);
    (void)before;
}

static int queue_is_empty(const mrl_log *log) {
    uint64_t given = atomic_load_explicit(&log->tickets_given, memory_order_relaxed);
    /* Some may have come and been served since: then it was empty in between. */
    return atomic_load_explicit(&log->tickets_served, memory_order_relaxed) >= given;
}

/* Waits in the queue: the one whose turn it is takes when there is enough for him;
 * nobody before. */
static merle_err credit_wait(mrl_log *log, mrl_member *member, uint64_t bytes) {
    uint64_t ticket = atomic_fetch_add_explicit(&log->tickets_given, 1, memory_order_relaxed);
    int led = 0;
    atomic_fetch_add_explicit(&log->credit_waits, 1, memory_order_relaxed);
    mrl_point("log.credit_wait");
    for (;;) {
        uint32_t seen = mrl_event_count(&log->room);
        merle_err err = mrl_log_failure(log);
        /* The queue is not put in order any more: nobody gets credit after a failure. */
        if (err != MERLE_OK) return err;
        if (atomic_load_explicit(&log->tickets_served, memory_order_relaxed) == ticket &&
            credit_try(log, bytes))
            break;
        drain_or_wait(log, member, seen, &led);
    }
    atomic_store_explicit(&log->tickets_served, ticket + 1, memory_order_relaxed);
    /* The next one may go on, and take over the drain's work if we did it. */
    mrl_event_signal(&log->room);
    return MERLE_OK;
}

merle_err mrl_credit_take(mrl_log *log, mrl_member *member, uint64_t bytes, int wait) {
    merle_err err = MERLE_OK;
    if (log->drain == NULL) return MERLE_OK;
    mrl_point("log.credit_before");
    bytes = mrl_credit_round(bytes);
    if (mrl_log_failure(log) != MERLE_OK)
        err = MERLE_READ_ONLY;
    else if (bytes > log->ring_size)
        err = MERLE_TOO_BIG;
    else if (queue_is_empty(log) && credit_try(log, bytes))
        err = MERLE_OK;
    else
        err = wait ? credit_wait(log, member, bytes) : MERLE_BUSY;
    mrl_point("log.credit_after");
    return err;
}

void mrl_credit_give(mrl_log *log, uint64_t bytes) {
    if (log->drain == NULL) return;
    credit_add(log, mrl_credit_round(bytes));
    mrl_event_signal(&log->room);
}

void mrl_credit_settle(mrl_log *log, uint64_t too_much) {
    if (too_much > 0) credit_add(log, too_much);
    if (!log->drain->has_thread || too_much > 0) mrl_event_signal(&log->room);
    if (log->drain->has_thread) mrl_event_signal(&log->work);
}

mrl_event *mrl_log_work(mrl_log *log) {
    return &log->work;
}

/* ---- what the drain says ---- */

uint64_t mrl_log_written_seq(const mrl_log *log) {
    const _Atomic uint64_t *at = log->drain == NULL ? &log->published : &log->written;
    return atomic_load_explicit(at, memory_order_acquire);
}

uint64_t mrl_log_durable_seq(const mrl_log *log) {
    const _Atomic uint64_t *at = log->drain == NULL ? &log->published : &log->durable;
    return atomic_load_explicit(at, memory_order_acquire);
}

void mrl_log_written(mrl_log *log, uint64_t seq) {
    uint64_t before = atomic_load_explicit(&log->written, memory_order_relaxed);
    uint64_t bytes = 0;
    MRL_ASSERT(seq <= mrl_log_published_at(&log->published));
    if (seq <= before) return;
    /* Entries that are not written cannot leave, so no section is needed to look at them. */
    for (uint64_t at = before + 1; at <= seq; at++) {
        const mrl_position *position = &log->positions[at & log->position_mask];
        bytes += atomic_load_explicit(&position->entry, memory_order_relaxed)->credit;
    }
    /* Release: pairs with the acquire in leave_limit; from here on they may leave and be freed. */
    atomic_store_explicit(&log->written, seq, memory_order_release);
    mrl_point("log.written");
    credit_add(log, bytes);
    mrl_event_signal(&log->room);
}

void mrl_log_durable(mrl_log *log, uint64_t seq) {
    if (seq <= atomic_load_explicit(&log->durable, memory_order_relaxed)) return;
    atomic_store_explicit(&log->durable, seq, memory_order_release);
    mrl_event_signal(&log->room);
}

merle_err mrl_log_wait_durable(mrl_log *log, mrl_member *member, uint64_t seq) {
    int led = 0;
    merle_err err = MERLE_OK;
    while (log->drain != NULL) {
        uint32_t seen = mrl_event_count(&log->room);
        if (mrl_log_durable_seq(log) >= seq) break;
        err = mrl_log_failure(log);
        if (err != MERLE_OK) break;
        drain_or_wait(log, member, seen, &led);
    }
    if (led) mrl_event_signal(&log->room);
    return err;
}
