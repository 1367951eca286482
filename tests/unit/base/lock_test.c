/* tests/unit/base/lock_test.c
 *
 * Aim     The lock excludes, publishes what was written under it and loses no wake; the event loses
 *         no signal; under a simulated scheduler neither of them sleeps.
 * Method  Threads that count under the lock, ping-pong without timeouts (a lost wake hangs: the
 *         runner's timeout tells), and a scheduler that records what it is asked.
 * Blind   Fairness; orders weaker than the machine's own (thread sanitizer sees more).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/lock.h"
#include "base/self.h"

enum { THREAD_COUNT = 4, ROUND_COUNT = 100000, PING_COUNT = 20000 };

static mrl_lock counter_lock;
static uint64_t counter; /* under counter_lock */

static void *count_under_lock(void *context) {
    (void)context;
    for (int i = 0; i < ROUND_COUNT; i++) {
        mrl_lock_take(&counter_lock);
        counter++;
        mrl_lock_drop(&counter_lock);
    }
    return NULL;
}

static void lock_taken_by_threads_excludes(void **state) {
    pthread_t threads[THREAD_COUNT];
    (void)state;
    mrl_lock_init(&counter_lock);
    counter = 0;
    for (int i = 0; i < THREAD_COUNT; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_under_lock, NULL), 0);
    for (int i = 0; i < THREAD_COUNT; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(counter, (uint64_t)THREAD_COUNT * ROUND_COUNT);
    assert_false(mrl_lock_is_held(&counter_lock));
}

static void lock_held_refuses_a_try(void **state) {
    mrl_lock lock;
    (void)state;
    mrl_lock_init(&lock);
    assert_true(mrl_lock_try(&lock));
    assert_true(mrl_lock_is_held(&lock));
    assert_false(mrl_lock_try(&lock));
    mrl_lock_drop(&lock);
    assert_false(mrl_lock_is_held(&lock));
    assert_true(mrl_lock_try(&lock));
    mrl_lock_drop(&lock);
}

typedef struct ping_pong {
    mrl_event event;
    _Atomic uint32_t turn;
} ping_pong;

static void play(ping_pong *game, uint32_t me) {
    for (int i = 0; i < PING_COUNT; i++) {
        for (;;) {
            uint32_t seen = mrl_event_count(&game->event);
            if (atomic_load_explicit(&game->turn, memory_order_acquire) == me) break;
            (void)mrl_event_wait(&game->event, seen, UINT64_MAX);
        }
        atomic_store_explicit(&game->turn, 1 - me, memory_order_release);
        mrl_event_signal(&game->event);
    }
}

static void *play_second(void *context) {
    play((ping_pong *)context, 1);
    return NULL;
}

static void event_signalled_is_never_lost(void **state) {
    ping_pong game;
    pthread_t thread;
    (void)state;
    mrl_event_init(&game.event);
    atomic_init(&game.turn, 0);
    assert_int_equal(pthread_create(&thread, NULL, play_second, &game), 0);
    play(&game, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(mrl_event_count(&game.event), 2 * PING_COUNT);
    assert_int_equal(atomic_load(&game.event.waiters), 0);
}

static void event_that_has_moved_does_not_wait(void **state) {
    mrl_event event;
    (void)state;
    mrl_event_init(&event);
    uint32_t seen = mrl_event_count(&event);
    mrl_event_signal(&event);
    assert_int_equal(mrl_event_wait(&event, seen, UINT64_MAX), 1);
}

static void event_without_signal_times_out(void **state) {
    mrl_event event;
    int result = 1;
    (void)state;
    mrl_event_init(&event);
    /* A wait may return early; sooner or later one times out. */
    for (int i = 0; i < 1000 && result != 0; i++)
        result = mrl_event_wait(&event, mrl_event_count(&event), 1000000);
    assert_int_equal(result, 0);
}

/* ---- a scheduler that frees the lock when somebody waits for it ---- */

typedef struct recorder {
    mrl_lock *lock;
    const void *waited;
    const void *woken;
    int wait_count;
} recorder;

static void record_point(void *context, const char *name) {
    (void)context;
    (void)name;
}

static void record_wait(void *context, const void *address) {
    recorder *r = context;
    r->waited = address;
    r->wait_count++;
    /* The other worker runs: it gives the lock back at the second time. */
    if (r->lock != NULL && r->wait_count == 2) mrl_lock_drop(r->lock);
}

static void record_wake(void *context, const void *address) {
    ((recorder *)context)->woken = address;
}

static void lock_in_a_simulation_asks_the_scheduler(void **state) {
    mrl_lock lock;
    recorder r = {.lock = &lock};
    mrl_scheduler scheduler = {&r, record_point, record_wait, record_wake};
    mrl_self worker = {.scheduler = &scheduler};
    (void)state;
    mrl_lock_init(&lock);
    assert_true(mrl_lock_try(&lock));
    mrl_self_swap(&worker);
    mrl_lock_take(&lock);
    mrl_self_swap(NULL);
    assert_int_equal(r.wait_count, 2);
    assert_ptr_equal(r.waited, &lock);
    assert_ptr_equal(r.woken, &lock);
    assert_true(mrl_lock_is_held(&lock));
}

static void event_in_a_simulation_asks_the_scheduler(void **state) {
    mrl_event event;
    recorder r = {.lock = NULL};
    mrl_scheduler scheduler = {&r, record_point, record_wait, record_wake};
    mrl_self worker = {.scheduler = &scheduler};
    (void)state;
    mrl_event_init(&event);
    mrl_self_swap(&worker);
    assert_int_equal(mrl_event_wait(&event, 0, UINT64_MAX), 1);
    assert_ptr_equal(r.waited, &event);
    mrl_event_signal(&event);
    assert_ptr_equal(r.woken, &event);
    assert_int_equal(mrl_event_wait(&event, 0, UINT64_MAX), 1);
    mrl_self_swap(NULL);
    assert_int_equal(r.wait_count, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lock_taken_by_threads_excludes),
        cmocka_unit_test(lock_held_refuses_a_try),
        cmocka_unit_test(event_signalled_is_never_lost),
        cmocka_unit_test(event_that_has_moved_does_not_wait),
        cmocka_unit_test(event_without_signal_times_out),
        cmocka_unit_test(lock_in_a_simulation_asks_the_scheduler),
        cmocka_unit_test(event_in_a_simulation_asks_the_scheduler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
