/* base/lock.h - a mutual exclusion of four bytes, and an event to wait for.
 *
 * What    mrl_lock: futex lock; spins briefly, then sleeps. mrl_event: a counter that says that
 *         something happened, for those who wait for a condition that others make true.
 * Sees    unlock releases, lock acquires: what was written under the lock is seen by the next
 *         owner.
 * Threads any. Under a simulated scheduler a wait switches to another worker instead of sleeping.
 * Limits  not recursive. The order of all locks stands in docs/locks.md.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_BASE_LOCK_H
#define MRL_BASE_LOCK_H

#include <stdatomic.h>
#include <stdint.h>

typedef struct mrl_lock {
    _Atomic uint32_t state; /* 0 free, 1 held, 2 held and somebody sleeps */
} mrl_lock;

/* Tells the processor that we spin. */
static inline void mrl_cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void mrl_lock_wait(mrl_lock *lock);
void mrl_lock_wake(mrl_lock *lock);

static inline void mrl_lock_init(mrl_lock *lock) {
    atomic_init(&lock->state, 0);
}

static inline int mrl_lock_try(mrl_lock *lock) {
    uint32_t is_free = 0;
    return atomic_compare_exchange_strong_explicit(&lock->state, &is_free, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}
static inline void mrl_lock_take(mrl_lock *lock) {
    if (!mrl_lock_try(lock)) mrl_lock_wait(lock);
}
static inline void mrl_lock_drop(mrl_lock *lock) {
    /* Release: pairs with the acquire in mrl_lock_try; the next owner sees all that we wrote. */
    if (atomic_exchange_explicit(&lock->state, 0, memory_order_release) == 2) mrl_lock_wake(lock);
}
/* For assertions: somebody holds it. */
static inline int mrl_lock_is_held(const mrl_lock *lock) {
    return atomic_load_explicit(&lock->state, memory_order_relaxed) != 0;
}

typedef struct mrl_event {
    _Atomic uint32_t count;
    _Atomic uint32_t waiters;
} mrl_event;

void mrl_event_init(mrl_event *event);
/* Read the count, then test the condition, then wait: a signal in between is not lost. */
static inline uint32_t mrl_event_count(const mrl_event *event) {
    return atomic_load_explicit(&event->count, memory_order_seq_cst);
}
/* Returns when the count is no longer `seen`, or after timeout_ns (UINT64_MAX: never), or early.
 * Returns 0 after a timeout, else 1. */
int mrl_event_wait(mrl_event *event, uint32_t seen, uint64_t timeout_ns);
void mrl_event_signal(mrl_event *event);

#endif
