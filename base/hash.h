/* base/hash.h - a seeded 64-bit hash of bytes, and mixing of integers.
 *
 * What    multiply-and-fold over 16 bytes a step; made for keys of 1 to 64 bytes. Not
 *         cryptographic, but seeded with a secret, so that nobody who does not know the seed can
 *         aim at one shard.
 * Threads any; no state.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_BASE_HASH_H
#define MRL_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t mrl_hash_fold(uint64_t a, uint64_t b) {
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t mrl_load_u64(const void *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint32_t mrl_load_u32(const void *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The finalizer of splitmix64: a bijection on 64 bits. */
static inline uint64_t mrl_mix_u64(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline uint64_t mrl_hash_bytes(const void *data, size_t size, uint64_t seed) {
    const uint64_t k0 = 0x9e3779b97f4a7c15u, k1 = 0xd6e8feb86659fd93u;
    const uint8_t *p = (const uint8_t *)data;
    /* Both factors of each product contain something secret: a factor that others could make 0
     * would wipe out the other one, and give them as many keys with one hash as they like. */
    uint64_t state = seed ^ mrl_hash_fold(seed ^ k0, size ^ k1);
    size_t left = size;
    for (; left > 16; left -= 16, p += 16)
        state = mrl_hash_fold(mrl_load_u64(p) ^ k0 ^ state, mrl_load_u64(p + 8) ^ k1 ^ seed);
    uint64_t a = 0, b = 0;
    if (left >= 8) {
        /* Two loads that may overlap cover 8 to 16 bytes; the size is in the state already. */
        a = mrl_load_u64(p);
        b = mrl_load_u64(p + left - 8);
    } else if (left >= 4) {
        a = mrl_load_u32(p);
        b = mrl_load_u32(p + left - 4);
    } else if (left > 0) {
        a = ((uint64_t)p[0] << 16) | ((uint64_t)p[left >> 1] << 8) | p[left - 1];
    }
    return mrl_hash_fold(k1 ^ state, mrl_hash_fold(a ^ k0 ^ state, b ^ k1 ^ seed) ^ k0);
}

#endif
