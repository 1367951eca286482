/* log/credit.c - credit, and waiting for it.
 *
 * credit = credit_max - bytes of entries not written - bytes taken by commits on their way.
 * loose  = loose_max - bytes of commits nobody waits for, taken, and not durable yet.
 * All of it is only used where a drain is attached; without one, nothing holds entries in the ring.
 *
 * Waiting: whoever waits reads the count of the event `has_room`, looks whether he may go on, and
 * waits for the count to change. Everything that may let somebody go on signals it afterwards:
 * written, loose bytes that have become firm, credit given back, room, a failure, a place in the
 * queue. Whoever waits does the drain's work where nobody else is at it; having found nothing to
 * write, he is woken by the next publish (credit_waiting), for it may bring what he waits for. Who
 * finds somebody else at the work knocks, and is woken when that one goes away (drain.c).
 *
 * Room: a drain says how large a record it has a place for. Whoever takes credit looks at it after
 * he has taken: credit that the drain gave back for what it has written brings with it (release,
 * acquire) the room that is left after that writing. So what is on its way always has a place.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/assert.h"
#include "base/self.h"
#include "log/log_private.h"

typedef struct demand {
    uint64_t bytes; /* of the record, and what goes with it in the ring */
    uint64_t worth; /* in credit */
    uint64_t loose;
} demand;

typedef enum answer { ANSWER_TAKEN = 0, ANSWER_LACKING, ANSWER_FULL } answer;

void mrl_credit_reset(mrl_log *log) {
    uint64_t published = mrl_log_published_at(&log->published);
    const mrl_drain *drain = log->drain;
    log->credit_max = drain != NULL && drain->credit_max != 0 ? drain->credit_max : log->ring_size;
    MRL_ASSERT(log->credit_max <= log->ring_size);
    log->record_max =
        drain != NULL && drain->record_max > log->credit_max ? drain->record_max : log->credit_max;
    log->loose_max = drain != NULL && drain->loose_max != 0 ? drain->loose_max : UINT64_MAX;
    atomic_store_explicit(&log->credit, log->credit_max, memory_order_relaxed);
    atomic_store_explicit(&log->loose, log->loose_max, memory_order_relaxed);
    atomic_store_explicit(&log->room, UINT64_MAX, memory_order_relaxed);
    atomic_store_explicit(&log->room_errno, 0, memory_order_relaxed);
    atomic_store_explicit(&log->wants_room, 0, memory_order_relaxed);
    atomic_store_explicit(&log->tickets_given, 0, memory_order_relaxed);
    atomic_store_explicit(&log->tickets_served, 0, memory_order_relaxed);
    atomic_store_explicit(&log->failure, MERLE_OK, memory_order_relaxed);
    atomic_store_explicit(&log->is_failing, 0, memory_order_relaxed);
    atomic_store_explicit(&log->written, published, memory_order_relaxed);
    atomic_store_explicit(&log->durable, published, memory_order_relaxed);
    atomic_store_explicit(&log->asked, published, memory_order_relaxed);
    log->told = published;
}

void mrl_log_drain_attach(mrl_log *log, const mrl_drain *drain) {
    log->drain = drain;
    mrl_credit_reset(log);
}

/* ---- taking and giving ---- */

static int take_from(_Atomic uint64_t *pool, uint64_t bytes) {
    uint64_t there = atomic_load_explicit(pool, memory_order_relaxed);
    while (there >= bytes) {
        /* Acquire: pairs with the release in credit_add. Credit that came from an entry that was
         * written brings with it that it was written: the position that we shall use is known to be
         * free, and so is the room that the drain said was left. */
        if (atomic_compare_exchange_weak_explicit(pool, &there, there - bytes, memory_order_acquire,
                                                  memory_order_relaxed))
            return 1;
    }
    return 0;
}

static void credit_add(mrl_log *log, uint64_t bytes) {
    uint64_t before = atomic_fetch_add_explicit(&log->credit, bytes, memory_order_release);
    MRL_DEBUG_ASSERT(before + bytes <= log->credit_max);
    (void)before;
}

static void loose_add(mrl_log *log, uint64_t bytes) {
    uint64_t before = atomic_fetch_add_explicit(&log->loose, bytes, memory_order_release);
    MRL_DEBUG_ASSERT(before + bytes <= log->loose_max);
    (void)before;
}

static answer look_for_room(const mrl_log *log, uint64_t bytes) {
    if (bytes <= atomic_load_explicit(&log->room, memory_order_relaxed)) return ANSWER_TAKEN;
    return atomic_load_explicit(&log->room_errno, memory_order_relaxed) != 0 ? ANSWER_FULL
                                                                             : ANSWER_LACKING;
}

/* Takes all or nothing. It looks at everything first: what is taken and given back again may have
 * kept somebody who waits from taking it, so he must be told. */
static answer try_take(mrl_log *log, const demand *d) {
    answer got = look_for_room(log, d->bytes);
    if (got != ANSWER_TAKEN) return got;
    if (d->loose > atomic_load_explicit(&log->loose, memory_order_relaxed)) return ANSWER_LACKING;
    if (!take_from(&log->credit, d->worth)) return ANSWER_LACKING;
    mrl_point("log.credit_taken");
    got = look_for_room(log, d->bytes);
    if (got == ANSWER_TAKEN && (d->loose == 0 || take_from(&log->loose, d->loose))) return got;
    if (got == ANSWER_TAKEN) got = ANSWER_LACKING;
    credit_add(log, d->worth);
    mrl_event_signal(&log->has_room);
    return got;
}

static int queue_is_empty(const mrl_log *log) {
    uint64_t given = atomic_load_explicit(&log->tickets_given, memory_order_relaxed);
    /* Some may have come and been served since: then it was empty in between. */
    return atomic_load_explicit(&log->tickets_served, memory_order_relaxed) >= given;
}

/* Whose turn it is lacks bytes of the loose ones: only a sync brings them. */
static void ask_for_loose(mrl_log *log, const demand *d) {
    if (d->loose > atomic_load_explicit(&log->loose, memory_order_relaxed))
        mrl_log_ask_durable(log, mrl_log_published_at(&log->published));
}

/* He has a record for which the drain must make room first. It may be asleep. */
static void ask_for_room(mrl_log *log, const demand *d) {
    if (look_for_room(log, d->bytes) != ANSWER_LACKING) return;
    atomic_store_explicit(&log->wants_room, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in mrl_log_rest */
    mrl_log_wake(log);
}

/* Waits in the queue: the one whose turn it is takes when there is enough for him; nobody before.
 * Where the disk is full they leave in turn, too. */
static merle_err credit_wait(mrl_log *log, mrl_member *member, const demand *d) {
    uint64_t ticket = atomic_fetch_add_explicit(&log->tickets_given, 1, memory_order_relaxed);
    answer got = ANSWER_LACKING;
    merle_err err;
    atomic_fetch_add_explicit(&log->credit_waits, 1, memory_order_relaxed);
    /* Sequentially consistent, as all of it that pairs with the fence in mrl_credit_settle. */
    atomic_fetch_add(&log->credit_waiting, 1);
    mrl_point("log.credit_wait");
    for (;;) {
        uint32_t seen = mrl_event_count(&log->has_room);
        /* The queue is not put in order any more: nobody gets credit after a failure. */
        if ((err = mrl_log_failure(log)) != MERLE_OK) break;
        if (atomic_load_explicit(&log->tickets_served, memory_order_relaxed) == ticket) {
            got = try_take(log, d);
            if (got != ANSWER_LACKING) break;
            ask_for_loose(log, d);
            ask_for_room(log, d);
        }
        mrl_log_lead_or_wait(log, member, &log->has_room, seen);
    }
    atomic_fetch_sub(&log->credit_waiting, 1);
    if (err != MERLE_OK) return err;
    atomic_store_explicit(&log->tickets_served, ticket + 1, memory_order_relaxed);
    /* The next one may go on. */
    mrl_event_signal(&log->has_room);
    return got == ANSWER_FULL ? MERLE_NO_SPACE : MERLE_OK;
}

/* For who will not wait: what he lacks shall at least be on its way when he comes again. */
static merle_err refuse(mrl_log *log, const demand *d) {
    ask_for_loose(log, d);
    ask_for_room(log, d);
    return MERLE_BUSY;
}

merle_err mrl_credit_take_loose(mrl_log *log, mrl_member *member, uint64_t bytes, uint64_t loose,
                                int wait) {
    merle_err err = MERLE_OK;
    if (log->drain == NULL) return MERLE_OK;
    mrl_point("log.credit_before");
    demand d = {bytes, mrl_credit_worth(log, bytes),
                loose < log->loose_max ? loose : log->loose_max};
    answer got = ANSWER_LACKING;
    if (mrl_log_failure(log) != MERLE_OK)
        err = MERLE_READ_ONLY;
    else if (bytes > log->record_max)
        err = MERLE_TOO_BIG;
    else if (queue_is_empty(log) && (got = try_take(log, &d)) != ANSWER_LACKING)
        err = got == ANSWER_FULL ? MERLE_NO_SPACE : MERLE_OK;
    else if (wait)
        err = credit_wait(log, member, &d);
    else
        err = refuse(log, &d);
    mrl_point("log.credit_after");
    return err;
}

void mrl_credit_give_loose(mrl_log *log, uint64_t bytes, uint64_t loose) {
    if (log->drain == NULL) return;
    credit_add(log, mrl_credit_worth(log, bytes));
    if (loose > 0) loose_add(log, loose < log->loose_max ? loose : log->loose_max);
    mrl_event_signal(&log->has_room);
}

/* ---- for publishing and the drain ---- */

/* A quarter of what there is has gone: the drain's thread need not wait for more. */
static int is_a_good_load(const mrl_log *log) {
    uint64_t credit = atomic_load_explicit(&log->credit, memory_order_relaxed);
    uint64_t loose = atomic_load_explicit(&log->loose, memory_order_relaxed);
    return credit < log->credit_max - log->credit_max / 4 ||
           loose < log->loose_max - log->loose_max / 4;
}

void mrl_credit_settle(mrl_log *log, uint64_t taken, uint64_t counted, int is_led) {
    uint64_t too_much = mrl_credit_worth(log, taken) - mrl_credit_worth(log, counted);
    MRL_ASSERT(mrl_credit_worth(log, taken) >= mrl_credit_worth(log, counted));
    /* There was a full fence since the commit was published: see mrl_publish_end. */
    if (too_much > 0) credit_add(log, too_much);
    if (too_much > 0 || atomic_load_explicit(&log->credit_waiting, memory_order_relaxed) != 0)
        mrl_event_signal(&log->has_room);
    if (log->drain->has_thread) {
        mrl_event_signal(&log->work);
        return;
    }
    uint32_t state = atomic_load_explicit(&log->thread_state, memory_order_relaxed);
    if (__builtin_expect(state == MRL_THREAD_AWAKE, 1)) return;
    if (is_a_good_load(log) || (state == MRL_THREAD_SLEEPS && !is_led)) mrl_log_wake(log);
}

void mrl_credit_written(mrl_log *log, uint64_t bytes) {
    credit_add(log, bytes);
    mrl_event_signal(&log->has_room);
}

void mrl_log_firm(mrl_log *log, uint64_t loose) {
    if (loose == 0) return;
    loose_add(log, loose);
    mrl_event_signal(&log->has_room);
}

void mrl_log_room(mrl_log *log, uint64_t record_size, int system_errno) {
    uint64_t before = atomic_load_explicit(&log->room, memory_order_relaxed);
    int errno_before = atomic_load_explicit(&log->room_errno, memory_order_relaxed);
    atomic_store_explicit(&log->room_errno, system_errno, memory_order_relaxed);
    if (record_size > before || record_size >= log->record_max || system_errno != 0)
        atomic_store_explicit(&log->wants_room, 0, memory_order_relaxed);
    atomic_store_explicit(&log->room, record_size, memory_order_release);
    mrl_point("log.room");
    if (record_size > before || system_errno != errno_before) mrl_event_signal(&log->has_room);
}

int mrl_log_wants_room(const mrl_log *log) {
    return atomic_load_explicit(&log->wants_room, memory_order_relaxed);
}

int mrl_log_room_errno(const mrl_log *log) {
    return atomic_load_explicit(&log->room_errno, memory_order_relaxed);
}
