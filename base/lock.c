/* base/lock.c - the slow paths of base/lock.h: futex calls, or the simulated scheduler.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/self.h"

MRL_THREAD_LOCAL mrl_self mrl_self_own;
MRL_THREAD_LOCAL mrl_self *mrl_self_swapped;

enum { SPIN_COUNT = 250 };

static const mrl_scheduler *simulated(void) {
    mrl_self *swapped = mrl_self_swapped;
    return swapped != NULL ? swapped->scheduler : NULL;
}

static int futex_wait(_Atomic uint32_t *address, uint32_t seen, const struct timespec *timeout) {
    return (int)syscall(SYS_futex, address, FUTEX_WAIT_PRIVATE, seen, timeout, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *address, int count) {
    (void)syscall(SYS_futex, address, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

void mrl_lock_wait(mrl_lock *lock) {
    const mrl_scheduler *scheduler = simulated();
    if (scheduler != NULL) {
        while (!mrl_lock_try(lock)) {
            atomic_store_explicit(&lock->state, 2, memory_order_relaxed);
            scheduler->wait(scheduler->context, lock);
        }
        return;
    }
    for (int i = 0; i < SPIN_COUNT; i++) {
        mrl_cpu_relax();
        if (atomic_load_explicit(&lock->state, memory_order_relaxed) == 0 && mrl_lock_try(lock))
            return;
    }
    /* From here on we take it as "somebody sleeps", so that no wake is lost; one wake too many
     * is harmless. */
    while (atomic_exchange_explicit(&lock->state, 2, memory_order_acquire) != 0)
        (void)futex_wait(&lock->state, 2, NULL);
}

void mrl_lock_wake(mrl_lock *lock) {
    const mrl_scheduler *scheduler = simulated();
    if (scheduler != NULL)
        scheduler->wake(scheduler->context, lock);
    else
        futex_wake(&lock->state, 1);
}

void mrl_event_init(mrl_event *event) {
    atomic_init(&event->count, 0);
    atomic_init(&event->waiters, 0);
}

int mrl_event_wait(mrl_event *event, uint32_t seen, uint64_t timeout_ns) {
    const mrl_scheduler *scheduler = simulated();
    if (scheduler != NULL) {
        if (mrl_event_count(event) == seen) scheduler->wait(scheduler->context, event);
        return 1;
    }
    struct timespec timeout = {(time_t)(timeout_ns / 1000000000u),
                               (long)(timeout_ns % 1000000000u)};
    atomic_fetch_add_explicit(&event->waiters, 1, memory_order_seq_cst);
    int result = futex_wait(&event->count, seen, timeout_ns == UINT64_MAX ? NULL : &timeout);
    int timed_out = result != 0 && errno == ETIMEDOUT;
    atomic_fetch_sub_explicit(&event->waiters, 1, memory_order_seq_cst);
    return !timed_out;
}

void mrl_event_signal(mrl_event *event) {
    /* The count moves before we look for waiters, a waiter announces itself before it compares
     * the count: one of the two sees the other (both sequentially consistent), so nobody sleeps
     * through a signal. */
    atomic_fetch_add_explicit(&event->count, 1, memory_order_seq_cst);
    const mrl_scheduler *scheduler = simulated();
    if (scheduler != NULL)
        scheduler->wake(scheduler->context, event);
    else if (atomic_load_explicit(&event->waiters, memory_order_seq_cst) != 0)
        futex_wake(&event->count, 0x7fffffff);
}
