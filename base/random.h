/* base/random.h - a small random generator, and seeds from the system.
 *
 * What    splitmix64: good for tests, sampling and ids that need only differ; never for secrets.
 *         Secrets, like the seed of the hash, come from mrl_random_seed.
 * Owns    nothing.
 * Threads one generator: owner only. mrl_random_seed: any; may wait for the system's first entropy
 *         after boot.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_BASE_RANDOM_H
#define MRL_BASE_RANDOM_H

#include <stdint.h>

#include "base/hash.h"

typedef struct mrl_random {
    uint64_t state;
} mrl_random;

/* Any seed is good; the same seed gives the same numbers on every machine. */
static inline void mrl_random_init(mrl_random *random, uint64_t seed) {
    random->state = seed;
}

static inline uint64_t mrl_random_next(mrl_random *random) {
    random->state += 0x9e3779b97f4a7c15u;
    return mrl_mix_u64(random->state);
}

/* A number below `limit`, which is not 0. The bias is limit / 2^64: no test could see it. */
static inline uint64_t mrl_random_below(mrl_random *random, uint64_t limit) {
    return (uint64_t)(((__uint128_t)mrl_random_next(random) * limit) >> 64);
}

/* A number nobody can guess, never 0. */
uint64_t mrl_random_seed(void);

#endif
