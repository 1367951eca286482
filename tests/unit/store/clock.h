/* tests/unit/store/clock.h - a clock that stands still until it is told.
 *
 * What    test_clock is for an environment; both its hands show clock_ns.
 * Owns    nothing.
 * Threads any may look at it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_UNIT_STORE_CLOCK_H
#define TESTS_UNIT_STORE_CLOCK_H

#include <stdatomic.h>

#include "base/seam.h"

static _Atomic int64_t clock_ns = 1000;

static uint64_t clock_monotonic(void *context) {
    (void)context;
    return (uint64_t)atomic_load(&clock_ns);
}
static int64_t clock_wall(void *context) {
    (void)context;
    return atomic_load(&clock_ns);
}
static const mrl_clock test_clock = {NULL, clock_monotonic, clock_wall};

#endif
