/* tests/unit/base/hash_test.c
 *
 * Aim     Keys of all sizes spread well, with every bit of key, size and seed taking part; keys
 *         that are chosen to make a product nought do not collide.
 * Method  Flips of single bits (about half of the output must change, on average), counts over
 *         buckets of the top and the low bits, sets of keys that have caught other hashes.
 * Blind   Attacks by somebody who knows the seed; statistics finer than these.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/random.h"

static uint64_t test_seed;

static void each_bit_of_a_key_changes_half_of_the_hash(void **state) {
    mrl_random random;
    (void)state;
    mrl_random_init(&random, test_seed);
    for (size_t size = 1; size <= 70; size++) {
        for (size_t bit = 0; bit < size * 8; bit++) {
            uint32_t changed = 0;
            for (int round = 0; round < 64; round++) {
                uint8_t key[70];
                uint64_t seed = mrl_random_next(&random);
                for (size_t i = 0; i < size; i++) key[i] = (uint8_t)mrl_random_next(&random);
                uint64_t before = mrl_hash_bytes(key, size, seed);
                key[bit / 8] ^= (uint8_t)(1u << bit % 8);
                uint64_t after = mrl_hash_bytes(key, size, seed);
                assert_true(before != after);
                changed += (uint32_t)__builtin_popcountll(before ^ after);
            }
            /* 64 rounds of 64 bits: 2048 expected, standard deviation 32 if all were
             * independent. */
            assert_in_range(changed, 1700, 2400);
        }
    }
}

static void each_bit_of_the_seed_changes_half_of_the_hash(void **state) {
    mrl_random random;
    (void)state;
    mrl_random_init(&random, test_seed);
    for (unsigned bit = 0; bit < 64; bit++) {
        uint32_t changed = 0;
        for (int round = 0; round < 64; round++) {
            uint64_t key = mrl_random_next(&random), seed = mrl_random_next(&random);
            uint64_t other = seed ^ ((uint64_t)1 << bit);
            changed += (uint32_t)__builtin_popcountll(mrl_hash_bytes(&key, 8, seed) ^
                                                      mrl_hash_bytes(&key, 8, other));
        }
        assert_in_range(changed, 1700, 2400);
    }
}

static void zeros_of_each_size_differ(void **state) {
    static const uint8_t zeros[200];
    uint64_t hashes[201];
    (void)state;
    for (size_t size = 0; size <= 200; size++) {
        hashes[size] = mrl_hash_bytes(zeros, size, test_seed);
        for (size_t i = 0; i < size; i++) assert_true(hashes[i] != hashes[size]);
    }
}

/* The constants of the hash are public: put one where it would cancel the constant of a factor. */
static void keys_made_of_its_constants_do_not_collide(void **state) {
    const uint64_t constants[2] = {0x9e3779b97f4a7c15u, 0xd6e8feb86659fd93u};
    (void)state;
    for (size_t parts = 2; parts <= 6; parts++)
        for (size_t place = 0; place < parts; place++)
            for (int c = 0; c < 2; c++) {
                uint64_t key[6] = {0}, hashes[32];
                key[place] = constants[c];
                for (uint64_t i = 0; i < 32; i++) {
                    key[(place + parts - 1) % parts] = i;
                    hashes[i] = mrl_hash_bytes(key, parts * 8, test_seed);
                    for (uint64_t j = 0; j < i; j++) assert_true(hashes[i] != hashes[j]);
                }
            }
}

enum { BUCKET_COUNT = 64, KEY_COUNT = 64000 };

static void check_spread(const uint32_t *counts) {
    /* 1,000 expected each, standard deviation 31.6. */
    for (int i = 0; i < BUCKET_COUNT; i++) assert_in_range(counts[i], 800, 1200);
}

static void counting_keys_spread_over_top_and_low_bits(void **state) {
    uint32_t tops[3][BUCKET_COUNT] = {{0}}, lows[3][BUCKET_COUNT] = {{0}};
    (void)state;
    for (uint32_t i = 0; i < KEY_COUNT; i++) {
        char text[32], longer[64];
        uint64_t big = __builtin_bswap64(i);
        int text_size = snprintf(text, sizeof text, "p%u", i);
        int longer_size = snprintf(longer, sizeof longer, "guild/north/players/%08u/state", i);
        uint64_t hashes[3] = {mrl_hash_bytes(&big, 8, test_seed),
                              mrl_hash_bytes(text, (size_t)text_size, test_seed),
                              mrl_hash_bytes(longer, (size_t)longer_size, test_seed)};
        for (int kind = 0; kind < 3; kind++) {
            tops[kind][hashes[kind] >> 58]++;
            lows[kind][hashes[kind] & 63]++;
        }
    }
    for (int kind = 0; kind < 3; kind++) {
        check_spread(tops[kind]);
        check_spread(lows[kind]);
    }
}

static void hash_reads_no_byte_beyond_the_key(void **state) {
    (void)state;
    /* Of no use without the address sanitizer, which sees the ends of each block. */
    for (size_t size = 1; size <= 70; size++) {
        uint8_t *key = malloc(size);
        assert_non_null(key);
        memset(key, 1, size);
        assert_true(mrl_hash_bytes(key, size, 1) != mrl_hash_bytes(key, size, 2));
        free(key);
    }
}

static uint64_t seed_from(int argc, char **argv) {
    const char *text = getenv("MERLE_TEST_SEED");
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "--seed=", 7) == 0) text = argv[i] + 7;
    return text != NULL ? strtoull(text, NULL, 0) : mrl_random_seed();
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_bit_of_a_key_changes_half_of_the_hash),
        cmocka_unit_test(each_bit_of_the_seed_changes_half_of_the_hash),
        cmocka_unit_test(zeros_of_each_size_differ),
        cmocka_unit_test(keys_made_of_its_constants_do_not_collide),
        cmocka_unit_test(counting_keys_spread_over_top_and_low_bits),
        cmocka_unit_test(hash_reads_no_byte_beyond_the_key),
    };
    test_seed = seed_from(argc, argv);
    printf("# seed %llu\n", (unsigned long long)test_seed);
    (void)fflush(stdout);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
