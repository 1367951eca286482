/* tests/unit/log/credit_test.c - credit, and a stand-in drain.
 *
 * Aim     Nothing leaves before a drain has written it; those who wait for credit are served in
 *         turn, and told when the drain fails; no byte of credit or memory stays behind.
 * Method  The drain is a stand-in that writes nowhere, with and without a thread, stuck, or
 *         failing; it checks each entry as a disk writer would meet it. Threads meet by counters,
 *         never by time.
 * Blind   Which interleavings occur is the scheduler's choice; the simulator's tests go through
 *         them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "log/log.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/self.h"
#include "tests/unit/log/stand.h"

/* ---- the stand-in drain ---- */

typedef struct drain_stand {
    stand *s;
    mrl_drain drain;
    uint64_t group_max;      /* seqs a group writes at most; 0: stuck, nothing gets written */
    merle_err fails_with;    /* MERLE_OK: does not fail */
    uint64_t fails_from;     /* the group that reaches this seq fails */
    _Atomic uint32_t inside; /* callers in write_group at the moment */
    _Atomic uint32_t inside_max;
    _Atomic uint32_t calls;
    _Atomic uint32_t wrong; /* entries that were not as they ought to be */
    _Atomic int stop;       /* for the drain's thread */
} drain_stand;

/* "Writes" what is ready: reads each entry as a disk writer would. */
static merle_err stand_write_group(void *context, mrl_member *member) {
    drain_stand *d = (drain_stand *)context;
    mrl_log *log = d->s->log;
    mrl_epoch_token token;
    merle_err err = MERLE_OK;
    atomic_fetch_add(&d->calls, 1);
    uint32_t inside = atomic_fetch_add(&d->inside, 1) + 1;
    if (inside > atomic_load(&d->inside_max)) atomic_store(&d->inside_max, inside);
    uint64_t from = mrl_log_written_seq(log) + 1;
    uint64_t to = mrl_log_published_at(mrl_log_published(log));
    if (to - from + 1 > d->group_max) to = from + d->group_max - 1;
    mrl_member_enter(member, &token);
    for (uint64_t seq = from; seq <= to; seq++) {
        const mrl_entry *entry;
        uint64_t first;
        mark who;
        if (mrl_log_read(log, seq, &entry, &first) != MERLE_OK || !entry_is_whole(entry, seq, &who))
            atomic_fetch_add(&d->wrong, 1);
    }
    mrl_member_leave(member, &token);
    if (d->fails_with != MERLE_OK && to >= d->fails_from) err = d->fails_with;
    if (err == MERLE_OK && to >= from) {
        mrl_log_written(log, to);
        mrl_log_durable(log, to);
    }
    atomic_fetch_sub(&d->inside, 1);
    return err;
}

static void drain_stand_init(drain_stand *d, stand *s, uint64_t group_max, int has_thread) {
    memset(d, 0, sizeof *d);
    d->s = s;
    d->drain.context = d;
    d->drain.write_group = stand_write_group;
    d->drain.has_thread = has_thread;
    d->group_max = group_max;
    mrl_log_drain_attach(s->log, &d->drain);
}

static void *drain_thread(void *argument) {
    drain_stand *d = (drain_stand *)argument;
    mrl_member *member = mrl_member_join(d->s->domain);
    mrl_event *work = mrl_log_work(d->s->log);
    merle_err err = MERLE_OK;
    for (;;) {
        uint32_t seen = mrl_event_count(work);
        int stop = atomic_load(&d->stop);
        uint64_t before = mrl_log_written_seq(d->s->log);
        err = stand_write_group(d, member);
        if (err != MERLE_OK) break;
        if (mrl_log_written_seq(d->s->log) > before) continue;
        if (stop) break;
        (void)mrl_event_wait(work, seen, UINT64_MAX);
    }
    if (err != MERLE_OK) mrl_log_fail(d->s->log, err);
    return NULL;
}

static void drain_thread_stop(drain_stand *d, pthread_t thread) {
    atomic_store(&d->stop, 1);
    mrl_event_signal(mrl_log_work(d->s->log));
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* ---- credit, one thread ---- */

static void credit_without_drain_is_always_there(void **state) {
    (void)state;
    stand s;
    stand_init(&s, 1000, NULL);
    for (int i = 0; i < 100; i++)
        assert_int_equal(mrl_credit_take(s.log, s.member, 1000000, 0), MERLE_OK);
    mrl_credit_give(s.log, 1000000);
    stand_fini(&s);
}

static void credit_used_up_is_busy_until_given_back(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    stand_init(&s, 1000, NULL);
    drain_stand_init(&d, &s, 0, 0);
    assert_int_equal(mrl_credit_take(s.log, s.member, 1001, 1), MERLE_TOO_BIG);
    assert_int_equal(mrl_credit_take(s.log, s.member, 600, 0), MERLE_OK);
    assert_int_equal(mrl_credit_take(s.log, s.member, 600, 0), MERLE_BUSY);
    assert_int_equal(mrl_credit_take(s.log, s.member, 400, 0), MERLE_OK);
    assert_int_equal(mrl_credit_take(s.log, s.member, 1, 0), MERLE_BUSY);
    mrl_credit_give(s.log, 600);
    assert_int_equal(mrl_credit_take(s.log, s.member, 600, 0), MERLE_OK);
    mrl_credit_give(s.log, 400);
    mrl_credit_give(s.log, 600);
    assert_int_equal(mrl_credit_take(s.log, s.member, 1000, 0), MERLE_OK);
    mrl_credit_give(s.log, 1000);
    assert_true(atomic_load(&d.calls) == 0);
    stand_fini(&s);
}

static void credit_too_much_goes_back_at_publish(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    mark who = {0, 1};
    stand_init(&s, 10000, NULL);
    drain_stand_init(&d, &s, 1000, 0);
    assert_int_equal(mrl_credit_take(s.log, s.member, 9000, 0), MERLE_OK);
    entry_publish(s.log, s.member, entry_make(s.member, who, 1000), 9000);
    uint64_t rest = 10000 - mrl_entry_credit(1000);
    assert_int_equal(mrl_credit_take(s.log, s.member, rest + 1, 0), MERLE_BUSY);
    assert_int_equal(mrl_credit_take(s.log, s.member, rest, 0), MERLE_OK);
    mrl_credit_give(s.log, rest);
    mrl_log_written(s.log, 1);
    assert_int_equal(mrl_credit_take(s.log, s.member, 10000, 0), MERLE_OK);
    mrl_credit_give(s.log, 10000);
    stand_fini(&s);
}

static void entry_not_written_does_not_leave(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    uint64_t first;
    stand_init(&s, 10 * mrl_entry_credit(500), NULL);
    commit_of(&s, 1, 500);
    drain_stand_init(&d, &s, 0, 0);
    for (uint64_t i = 2; i <= 11; i++) {
        assert_int_equal(mrl_credit_take(s.log, s.member, mrl_entry_credit(500), 0), MERLE_OK);
        mark who = {0, i};
        entry_publish(s.log, s.member, entry_make(s.member, who, 500), mrl_entry_credit(500));
    }
    assert_int_equal(mrl_credit_take(s.log, s.member, mrl_entry_credit(500), 0), MERLE_BUSY);
    /* What was there before the drain could leave. */
    assert_int_equal(read_in_section(&s, 1, &first), MERLE_GAP);
    for (uint64_t i = 2; i <= 11; i++) assert_int_equal(read_in_section(&s, i, &first), MERLE_OK);
    mrl_log_written(s.log, 3);
    assert_true(mrl_log_written_seq(s.log) == 3 && mrl_log_durable_seq(s.log) == 1);
    commit_of(&s, 12, 500);
    assert_true(stat_of(&s).first_seq == 3);
    commit_of(&s, 13, 500);
    assert_true(stat_of(&s).first_seq == 4);
    assert_int_equal(mrl_credit_take(s.log, s.member, 128, 0), MERLE_BUSY);
    stand_fini(&s);
}

static void credit_waiter_without_drain_thread_writes_himself(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    stand_init(&s, 20000, NULL);
    drain_stand_init(&d, &s, 7, 0);
    for (uint64_t i = 1; i <= 1000; i++) assert_true(commit_of(&s, i, 16 + i % 3000) == i);
    assert_true(atomic_load(&d.calls) > 0 && atomic_load(&d.wrong) == 0);
    assert_int_equal(mrl_log_wait_durable(s.log, s.member, 1000), MERLE_OK);
    assert_true(mrl_log_durable_seq(s.log) == 1000 && mrl_log_written_seq(s.log) == 1000);
    assert_int_equal(mrl_credit_take(s.log, s.member, 20000, 0), MERLE_OK);
    mrl_credit_give(s.log, 20000);
    stand_fini(&s);
}

static void drain_failing_is_told_and_ends_writing(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    uint64_t first;
    mark who = {0, 99};
    stand_init(&s, 10 * mrl_entry_credit(500), NULL);
    drain_stand_init(&d, &s, 3, 0);
    d.fails_with = MERLE_NO_SPACE;
    d.fails_from = 6;
    for (uint64_t i = 1; i <= 9; i++) commit_of(&s, i, 500);
    assert_int_equal(mrl_log_wait_durable(s.log, s.member, 3), MERLE_OK);
    assert_int_equal(mrl_credit_take(s.log, s.member, 2 * mrl_entry_credit(500), 0), MERLE_OK);
    assert_int_equal(mrl_credit_take(s.log, s.member, 4 * mrl_entry_credit(500), 1),
                     MERLE_NO_SPACE);
    assert_int_equal(mrl_log_failure(s.log), MERLE_NO_SPACE);
    assert_int_equal(mrl_credit_take(s.log, s.member, 1, 1), MERLE_READ_ONLY);
    assert_int_equal(mrl_credit_take(s.log, s.member, 1, 0), MERLE_READ_ONLY);
    uint32_t calls = atomic_load(&d.calls);
    assert_int_equal(mrl_log_wait_durable(s.log, s.member, 3), MERLE_OK);
    assert_int_equal(mrl_log_wait_durable(s.log, s.member, 4), MERLE_NO_SPACE);
    assert_true(atomic_load(&d.calls) == calls);
    /* A commit that had its credit before may end; reading goes on. */
    assert_true(entry_publish(s.log, s.member, entry_make(s.member, who, 500),
                              2 * mrl_entry_credit(500)) == 10);
    for (uint64_t i = 4; i <= 10; i++) assert_int_equal(read_in_section(&s, i, &first), MERLE_OK);
    stand_fini(&s);
}

/* ---- several threads ---- */

static void publishers_with_a_drain_thread_lose_nothing(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    pthread_t thread;
    stand_init(&s, 20000, NULL);
    drain_stand_init(&d, &s, 5, 1);
    assert_int_equal(pthread_create(&thread, NULL, drain_thread, &d), 0);
    crowd_run(&s, COMMIT_COUNT / 2, 3000, 0);
    drain_thread_stop(&d, thread);
    assert_true(atomic_load(&d.wrong) == 0);
    assert_true(mrl_log_written_seq(s.log) == stat_of(&s).published);
    assert_int_equal(mrl_credit_take(s.log, s.member, 20000, 0), MERLE_OK);
    mrl_credit_give(s.log, 20000);
    stand_fini(&s);
}

static void publishers_without_a_drain_thread_take_turns_at_writing(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    stand_init(&s, 20000, NULL);
    drain_stand_init(&d, &s, 5, 0);
    crowd_run(&s, COMMIT_COUNT / 2, 3000, 0);
    assert_true(atomic_load(&d.wrong) == 0 && atomic_load(&d.inside_max) == 1);
    assert_int_equal(mrl_log_wait_durable(s.log, s.member, stat_of(&s).published), MERLE_OK);
    assert_int_equal(mrl_credit_take(s.log, s.member, 20000, 0), MERLE_OK);
    mrl_credit_give(s.log, 20000);
    stand_fini(&s);
}

static void publishers_that_want_it_durable_share_groups(void **state) {
    (void)state;
    for (int has_thread = 0; has_thread <= 1; has_thread++) {
        stand s;
        drain_stand d;
        pthread_t thread;
        stand_init(&s, 50000, NULL);
        drain_stand_init(&d, &s, 1000, has_thread);
        if (has_thread) assert_int_equal(pthread_create(&thread, NULL, drain_thread, &d), 0);
        crowd_run(&s, COMMIT_COUNT / 8, 500, 1);
        if (has_thread) drain_thread_stop(&d, thread);
        assert_true(atomic_load(&d.wrong) == 0);
        assert_true(mrl_log_durable_seq(s.log) == stat_of(&s).published);
        stand_fini(&s);
    }
}

/* One who takes credit and keeps it; tells with `done`. */
typedef struct taker {
    stand *s;
    pthread_t thread;
    uint64_t bytes;
    merle_err err;
    _Atomic int done;
} taker;

static void *taker_run(void *argument) {
    taker *t = (taker *)argument;
    mrl_member *member = mrl_member_join(t->s->domain);
    t->err = mrl_credit_take(t->s->log, member, t->bytes, 1);
    atomic_store(&t->done, 1);
    return NULL;
}

static void taker_begin(taker *t, stand *s, uint64_t bytes) {
    uint64_t waits = stat_of(s).credit_waits;
    memset(t, 0, sizeof *t);
    t->s = s;
    t->bytes = bytes;
    assert_int_equal(pthread_create(&t->thread, NULL, taker_run, t), 0);
    /* Until he has his place in the queue. */
    while (stat_of(s).credit_waits == waits) sched_yield();
}

static void credit_waiter_is_not_overtaken_by_smaller_ones(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    taker big, small;
    stand_init(&s, 10000, NULL);
    drain_stand_init(&d, &s, 0, 1);
    assert_int_equal(mrl_credit_take(s.log, s.member, 4000, 0), MERLE_OK);
    assert_int_equal(mrl_credit_take(s.log, s.member, 4000, 0), MERLE_OK);
    taker_begin(&big, &s, 9000);
    taker_begin(&small, &s, 200);
    /* 2000 bytes are free, but others wait. */
    assert_int_equal(mrl_credit_take(s.log, s.member, 200, 0), MERLE_BUSY);
    mrl_credit_give(s.log, 4000);
    assert_int_equal(mrl_credit_take(s.log, s.member, 200, 0), MERLE_BUSY);
    assert_false(atomic_load(&big.done) || atomic_load(&small.done));
    mrl_credit_give(s.log, 4000);
    pthread_join(big.thread, NULL);
    pthread_join(small.thread, NULL);
    assert_true(big.err == MERLE_OK && small.err == MERLE_OK);
    assert_int_equal(mrl_credit_take(s.log, s.member, 800, 0), MERLE_OK);
    assert_int_equal(mrl_credit_take(s.log, s.member, 128, 0), MERLE_BUSY);
    mrl_credit_give(s.log, 9000);
    mrl_credit_give(s.log, 200);
    mrl_credit_give(s.log, 800);
    stand_fini(&s);
}

static void credit_waiters_at_a_stuck_drain_go_on_when_it_moves(void **state) {
    (void)state;
    for (int has_thread = 0; has_thread <= 1; has_thread++) {
        stand s;
        drain_stand d;
        taker first, second;
        stand_init(&s, 10 * mrl_entry_credit(500), NULL);
        drain_stand_init(&d, &s, 0, has_thread);
        for (uint64_t i = 1; i <= 10; i++) commit_of(&s, i, 500);
        taker_begin(&first, &s, 1000);
        taker_begin(&second, &s, 1000);
        assert_int_equal(mrl_credit_take(s.log, s.member, 200, 0), MERLE_BUSY);
        assert_false(atomic_load(&first.done) || atomic_load(&second.done));
        mrl_log_written(s.log, 2);
        pthread_join(first.thread, NULL);
        assert_int_equal(first.err, MERLE_OK);
        assert_false(atomic_load(&second.done));
        mrl_log_written(s.log, 4);
        pthread_join(second.thread, NULL);
        assert_int_equal(second.err, MERLE_OK);
        mrl_credit_give(s.log, 1000);
        mrl_credit_give(s.log, 1000);
        stand_fini(&s);
    }
}

static void credit_waiter_writes_what_is_published_later(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    taker late;
    mark who = {0, 1};
    uint64_t all = mrl_entry_credit(5000);
    stand_init(&s, all, NULL);
    drain_stand_init(&d, &s, 1000, 0);
    assert_int_equal(mrl_credit_take(s.log, s.member, all, 0), MERLE_OK);
    taker_begin(&late, &s, 1000);
    /* He finds nothing to write and has to sleep until there is something. */
    while (atomic_load(&d.calls) == 0 || atomic_load(&d.inside) != 0) sched_yield();
    entry_publish(s.log, s.member, entry_make(s.member, who, 5000), all);
    pthread_join(late.thread, NULL);
    assert_int_equal(late.err, MERLE_OK);
    assert_true(mrl_log_written_seq(s.log) == 1);
    mrl_credit_give(s.log, 1000);
    stand_fini(&s);
}

static void drain_thread_failing_wakes_all_who_wait(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    taker takers[3];
    stand_init(&s, 10 * mrl_entry_credit(500), NULL);
    drain_stand_init(&d, &s, 0, 1);
    for (uint64_t i = 1; i <= 10; i++) commit_of(&s, i, 500);
    for (int i = 0; i < 3; i++) taker_begin(&takers[i], &s, 1000);
    mrl_log_fail(s.log, MERLE_SYSTEM);
    mrl_log_fail(s.log, MERLE_NO_SPACE);
    for (int i = 0; i < 3; i++) {
        pthread_join(takers[i].thread, NULL);
        assert_int_equal(takers[i].err, MERLE_SYSTEM);
    }
    assert_int_equal(mrl_log_wait_durable(s.log, s.member, 1), MERLE_SYSTEM);
    assert_int_equal(mrl_credit_take(s.log, s.member, 1000, 1), MERLE_READ_ONLY);
    /* Without the drain, the log is as it was at first. */
    mrl_log_drain_attach(s.log, NULL);
    assert_int_equal(mrl_log_failure(s.log), MERLE_OK);
    assert_true(commit_of(&s, 11, 20000) == 11);
    stand_fini(&s);
}

/* ---- telling ---- */

/* Who has synced, and is overtaken at a named point before he tells. */
typedef struct overtaken {
    drain_stand d;
    stand s;
    const char *point;
    uint64_t told[8];
    uint32_t told_count, met;
} overtaken;

static void note_moved(void *context, uint64_t seq) {
    overtaken *o = (overtaken *)context; /* its first member is the drain's context */
    if (o->told_count < 8) o->told[o->told_count++] = seq;
}

static void *overtake(void *argument) {
    overtaken *o = argument;
    mrl_member *member = mrl_member_join(o->s.domain);
    mark who = {1, 2};
    uint64_t bytes = mrl_entry_credit(100);
    assert_int_equal(mrl_credit_take(o->s.log, member, bytes, 1), MERLE_OK);
    (void)entry_publish(o->s.log, member, entry_make(member, who, 100), bytes);
    (void)mrl_log_drain(o->s.log, member);
    return NULL;
}

static void overtake_at(void *context, const char *name) {
    overtaken *o = context;
    pthread_t thread;
    if (strcmp(name, o->point) != 0 || o->met++ > 0) return;
    assert_int_equal(pthread_create(&thread, NULL, overtake, o), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void ignore_address(void *context, const void *address) {
    (void)context;
    (void)address;
}

static void overtaken_drain_tells_nothing_smaller_later(void **state) {
    overtaken o;
    mrl_scheduler scheduler = {&o, overtake_at, ignore_address, ignore_address};
    mrl_self self = {.scheduler = &scheduler};
    (void)state;
    memset(&o, 0, sizeof o);
    o.point = "log.tell";
    mrl_self_swap(&self);
    stand_init(&o.s, 1 << 16, NULL);
    drain_stand_init(&o.d, &o.s, 100, 0);
    o.d.drain.moved = note_moved;
    (void)commit_of(&o.s, 1, 100);
    (void)mrl_log_drain(o.s.log, o.s.member);
    assert_true(o.met > 0 && o.told_count > 0 && mrl_log_durable_seq(o.s.log) == 2);
    for (uint32_t i = 1; i < o.told_count; i++) assert_true(o.told[i] > o.told[i - 1]);
    assert_true(o.told[o.told_count - 1] == 2);
    mrl_log_drain_attach(o.s.log, NULL);
    stand_fini(&o.s);
    mrl_self_swap(NULL);
}

int main(int argc, char **argv) {
    seed_find(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(credit_without_drain_is_always_there),
        cmocka_unit_test(credit_used_up_is_busy_until_given_back),
        cmocka_unit_test(credit_too_much_goes_back_at_publish),
        cmocka_unit_test(entry_not_written_does_not_leave),
        cmocka_unit_test(credit_waiter_without_drain_thread_writes_himself),
        cmocka_unit_test(drain_failing_is_told_and_ends_writing),
        cmocka_unit_test(publishers_with_a_drain_thread_lose_nothing),
        cmocka_unit_test(publishers_without_a_drain_thread_take_turns_at_writing),
        cmocka_unit_test(publishers_that_want_it_durable_share_groups),
        cmocka_unit_test(credit_waiter_is_not_overtaken_by_smaller_ones),
        cmocka_unit_test(credit_waiters_at_a_stuck_drain_go_on_when_it_moves),
        cmocka_unit_test(credit_waiter_writes_what_is_published_later),
        cmocka_unit_test(drain_thread_failing_wakes_all_who_wait),
        cmocka_unit_test(overtaken_drain_tells_nothing_smaller_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
