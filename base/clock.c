/* base/clock.c - the machine's own clock, behind the seam.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <time.h>

#include "base/seam.h"

static uint64_t monotonic_ns(void *context) {
    struct timespec now;
    (void)context;
    /* Cannot fail: the clock exists on every Linux and the address is good. */
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int64_t wall_ns(void *context) {
    struct timespec now;
    (void)context;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + (int64_t)now.tv_nsec;
}

const mrl_clock mrl_clock_system = {NULL, monotonic_ns, wall_ns};
