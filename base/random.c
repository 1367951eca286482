/* base/random.c - seeds from the system.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/random.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/seam.h"

/* For a system whose getrandom is forbidden (a strict seccomp filter): differs from call to call
 * and from process to process, but could be guessed. */
static uint64_t seed_without_system(void) {
    static _Atomic uint64_t call_count;
    uint64_t seed = atomic_fetch_add_explicit(&call_count, 1, memory_order_relaxed);
    seed = mrl_mix_u64(seed ^ mrl_clock_system.monotonic_ns(NULL));
    seed = mrl_mix_u64(seed ^ (uint64_t)mrl_clock_system.wall_ns(NULL));
    return mrl_mix_u64(seed ^ (uint64_t)getpid() ^ (uint64_t)(uintptr_t)&seed);
}

uint64_t mrl_random_seed(void) {
    uint64_t seed = 0;
    while (seed == 0) {
        ssize_t size = getrandom(&seed, sizeof seed, 0);
        if (size == (ssize_t)sizeof seed) continue;
        /* Eight bytes are given whole or not at all; a signal may have come first. */
        if (size < 0 && errno == EINTR)
            seed = 0;
        else
            seed = seed_without_system();
    }
    return seed;
}
