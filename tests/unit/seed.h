/* tests/unit/seed.h - the seed of a random unit test.
 *
 * What    the argument --seed=N, else MERLE_TEST_SEED, else a random one; printed.
 * Threads main's.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_TESTS_UNIT_SEED_H
#define MRL_TESTS_UNIT_SEED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

__attribute__((unused)) static uint64_t seed_of(int argc, char **argv) {
    const char *text = getenv("MERLE_TEST_SEED");
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "--seed=", 7) == 0) text = argv[i] + 7;
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : mrl_random_seed();
    printf("# seed %llu\n", (unsigned long long)seed);
    (void)fflush(stdout);
    return seed;
}

#endif
