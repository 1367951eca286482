/* log/drain.c - who does the drain's work, how far it has come, and waiting for it.
 *
 * The work is done under `drain_lock`, which is only ever tried: by those who wait for credit or
 * for something to be durable, by steps, and by a thread of the drain's where there is one. A
 * commit that is to be durable so needs nobody to be woken: its thread writes and syncs, for itself
 * and for all who have published by then. They find the lock taken, knock, and sleep; when the one
 * at work goes away, it wakes them: those whose commits are durable are done, one of the rest is
 * next.
 *
 * Why nobody sleeps for ever: who finds the lock taken sets `knock` and tries once more; who drops
 * it looks at `knock` afterwards; both with full fences in between. So one of the two sees the
 * other. Who has the lock and finds nothing to do sleeps until something is published
 * (credit_waiting, in credit.c); for durability there is always something to do.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/assert.h"
#include "base/report.h"
#include "base/self.h"
#include "log/log_private.h"

/* ---- failure ---- */

merle_err mrl_log_failure(const mrl_log *log) {
    return (merle_err)atomic_load_explicit(&log->failure, memory_order_acquire);
}

void mrl_log_fail_with(mrl_log *log, merle_err err, const merle_report *reason) {
    MRL_ASSERT(err != MERLE_OK);
    if (atomic_exchange_explicit(&log->is_failing, 1, memory_order_acq_rel) == 0) {
        mrl_report_clear(&log->reason);
        if (reason != NULL) log->reason = *reason;
        /* Release: pairs with the acquire in mrl_log_failure; who sees it sees the reason. */
        atomic_store_explicit(&log->failure, (int)err, memory_order_release);
    }
    mrl_event_signal(&log->has_room);
    mrl_event_signal(&log->moved);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in mrl_follower_arm */
    for (mrl_follow at = MRL_FOLLOW_PUBLISHED; at < MRL_FOLLOW_KIND_COUNT; at++)
        mrl_follow_look(log, at);
}

void mrl_log_failure_reason(const mrl_log *log, merle_report *out_reason) {
    mrl_report_clear(out_reason);
    if (mrl_log_failure(log) != MERLE_OK) *out_reason = log->reason;
}

/* ---- telling ----
 *
 * Who has dropped the drain lock may be overtaken before he tells: somebody else leads, and tells a
 * larger seq. So one at a time tells, and always the seq of now. Who finds another one at it leaves
 * it to him: `is_telling` is counted up by whoever has news, and who tells goes on until no more
 * has come. A call of `moved` that leads itself so finds its own teller at work, and is told
 * afterwards. */

static void tell(mrl_log *log) {
    if (atomic_fetch_add_explicit(&log->telling, 1, memory_order_acq_rel) != 0) return;
    uint32_t seen;
    do {
        seen = atomic_load_explicit(&log->telling, memory_order_acquire);
        uint64_t durable = mrl_log_durable_seq(log);
        mrl_point("log.tell");
        if (durable > log->told) log->drain->moved(log->drain->context, durable);
        log->told = durable;
        /* Release: the next teller finds `told` as it was left. */
    } while (!atomic_compare_exchange_strong_explicit(&log->telling, &seen, 0, memory_order_acq_rel,
                                                      memory_order_relaxed));
}

/* ---- doing the work ---- */

/* With drain_lock held; drops it. */
static void lead(mrl_log *log, mrl_member *member, int may_gather) {
    uint64_t before = mrl_log_durable_seq(log);
    log->is_led = 1;
    log->may_gather = may_gather;
    merle_err err = mrl_log_failure(log);
    if (err == MERLE_OK) {
        err = log->drain->write_group(log->drain->context, member);
        if (err != MERLE_OK) mrl_log_fail(log, err);
    }
    log->is_led = 0;
    mrl_point("log.led");
    mrl_lock_drop(&log->drain_lock);
    atomic_thread_fence(memory_order_seq_cst); /* see above: the lock is dropped, then the knock */
    int knocked = atomic_load_explicit(&log->knock, memory_order_relaxed) != 0 &&
                  atomic_exchange(&log->knock, 0) != 0;
    uint64_t durable = mrl_log_durable_seq(log);
    if (durable != before || knocked) mrl_event_signal(&log->moved);
    if (knocked) mrl_event_signal(&log->has_room);
    if (durable != before && log->drain->moved != NULL) tell(log);
}

static int try_lead(mrl_log *log, mrl_member *member, int may_gather) {
    if (!mrl_lock_try(&log->drain_lock)) return 0;
    lead(log, member, may_gather);
    return 1;
}

int mrl_log_drain(mrl_log *log, mrl_member *member) {
    return try_lead(log, member, 0);
}

/* Who does not get the lock has knocked. */
static int drain_or_knock(mrl_log *log, mrl_member *member) {
    if (try_lead(log, member, 1)) return 1;
    atomic_store(&log->knock, 1);
    atomic_thread_fence(memory_order_seq_cst); /* see above: the knock, then the lock */
    return try_lead(log, member, 1);
}

int mrl_log_drain_or_await(mrl_log *log, mrl_member *member, uint64_t timeout_ns) {
    uint32_t seen = mrl_event_count(&log->moved);
    if (drain_or_knock(log, member)) return 1;
    (void)mrl_event_wait(&log->moved, seen, timeout_ns);
    return 0;
}

void mrl_log_lead_or_wait(mrl_log *log, mrl_member *member, mrl_event *event, uint32_t seen) {
    if (!log->drain->has_thread) (void)drain_or_knock(log, member);
    mrl_point("log.wait");
    (void)mrl_event_wait(event, seen, UINT64_MAX);
}

/* ---- the drain's own thread ---- */

mrl_event *mrl_log_work(mrl_log *log) {
    return &log->work;
}

void mrl_log_wake(mrl_log *log) {
    if (atomic_exchange_explicit(&log->thread_state, MRL_THREAD_AWAKE, memory_order_relaxed) !=
        MRL_THREAD_AWAKE)
        mrl_event_signal(&log->work);
}

void mrl_log_rest(mrl_log *log, uint32_t seen, int is_idle, uint64_t timeout_ns) {
    uint32_t state = is_idle ? MRL_THREAD_SLEEPS : MRL_THREAD_DOZES;
    uint64_t written = atomic_load_explicit(&log->written, memory_order_relaxed);
    atomic_store_explicit(&log->thread_state, state, memory_order_relaxed);
    /* What we are at comes before what we look at: pairs with the fences in mrl_credit_settle and
     * mrl_log_ask_durable. */
    atomic_thread_fence(memory_order_seq_cst);
    int is_wanted = mrl_log_asked(log) > mrl_log_durable_seq(log) || mrl_log_wants_room(log) ||
                    (is_idle && mrl_log_published_at(&log->published) > written);
    if (!is_wanted) (void)mrl_event_wait(&log->work, seen, timeout_ns);
    atomic_store_explicit(&log->thread_state, MRL_THREAD_AWAKE, memory_order_relaxed);
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
        const mrl_entry *entry = atomic_load_explicit(&position->entry, memory_order_relaxed);
        bytes += mrl_credit_worth(log, entry->credit);
    }
    /* Release: pairs with the acquire in leave_limit; from here on they may leave and be freed. */
    atomic_store_explicit(&log->written, seq, memory_order_release);
    mrl_point("log.written");
    mrl_credit_written(log, bytes);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in mrl_follower_arm */
    mrl_follow_look(log, MRL_FOLLOW_WRITTEN);
}

void mrl_log_durable(mrl_log *log, uint64_t seq) {
    if (seq <= atomic_load_explicit(&log->durable, memory_order_relaxed)) return;
    atomic_store_explicit(&log->durable, seq, memory_order_release);
    /* Who holds the drain lock signals when he has dropped it: who is woken may then take it. */
    if (!log->is_led) mrl_event_signal(&log->moved);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in mrl_follower_arm */
    mrl_follow_look(log, MRL_FOLLOW_DURABLE);
}

void mrl_log_again(mrl_log *log) {
    mrl_event_signal(&log->has_room);
    mrl_event_signal(&log->moved);
}

/* ---- waiting for it ---- */

uint64_t mrl_log_asked(const mrl_log *log) {
    return atomic_load_explicit(&log->asked, memory_order_relaxed);
}

uint64_t mrl_log_asks(const mrl_log *log) {
    return atomic_load_explicit(&log->asks, memory_order_relaxed);
}

int mrl_log_may_gather(const mrl_log *log) {
    return log->may_gather && mrl_self_get()->scheduler == NULL;
}

static void ask(mrl_log *log, uint64_t seq) {
    uint64_t asked = mrl_log_asked(log);
    atomic_fetch_add_explicit(&log->asks, 1, memory_order_relaxed);
    while (asked < seq && !atomic_compare_exchange_weak_explicit(
                              &log->asked, &asked, seq, memory_order_seq_cst, memory_order_relaxed))
        ;
}

void mrl_log_ask_durable(mrl_log *log, uint64_t seq) {
    if (log->drain == NULL || mrl_log_durable_seq(log) >= seq) return;
    ask(log, seq);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in mrl_log_rest */
    if (atomic_load_explicit(&log->thread_state, memory_order_relaxed) != MRL_THREAD_AWAKE)
        mrl_log_wake(log);
}

merle_err mrl_log_wait_durable(mrl_log *log, mrl_member *member, uint64_t seq) {
    merle_err err = MERLE_OK;
    if (log->drain == NULL || mrl_log_durable_seq(log) >= seq) return MERLE_OK;
    ask(log, seq);
    for (;;) {
        uint32_t seen = mrl_event_count(&log->moved);
        if (mrl_log_durable_seq(log) >= seq) break;
        err = mrl_log_failure(log);
        if (err != MERLE_OK) break;
        mrl_log_lead_or_wait(log, member, &log->moved, seen);
    }
    return err;
}
