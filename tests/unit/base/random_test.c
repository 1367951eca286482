/* tests/unit/base/random_test.c
 *
 * Aim     The generator is splitmix64, so that a printed seed replays anywhere; seeds differ.
 * Method  Known outputs for known seeds; ranges, and a coarse count over them.
 * Blind   Whether the system's entropy is any good.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"

static void known_seeds_give_known_numbers(void **state) {
    mrl_random random;
    (void)state;
    mrl_random_init(&random, 0);
    assert_true(mrl_random_next(&random) == 0xe220a8397b1dcdafu);
    assert_true(mrl_random_next(&random) == 0x6e789e6aa1b965f4u);
    assert_true(mrl_random_next(&random) == 0x06c45d188009454fu);
    mrl_random_init(&random, 1234567);
    assert_true(mrl_random_next(&random) == 6457827717110365317u);
    assert_true(mrl_random_next(&random) == 3203168211198807973u);
}

static void below_stays_below_and_reaches_all(void **state) {
    uint32_t counts[10] = {0};
    mrl_random random;
    (void)state;
    mrl_random_init(&random, 1);
    for (int i = 0; i < 100000; i++) {
        uint64_t n = mrl_random_below(&random, 10);
        assert_true(n < 10);
        counts[n]++;
    }
    /* 10,000 expected each; six standard deviations are 570. */
    for (int i = 0; i < 10; i++) assert_in_range(counts[i], 9400, 10600);
    for (int i = 0; i < 1000; i++) assert_int_equal(mrl_random_below(&random, 1), 0);
}

static void seeds_differ_and_are_never_zero(void **state) {
    uint64_t before = mrl_random_seed();
    (void)state;
    for (int i = 0; i < 100; i++) {
        uint64_t seed = mrl_random_seed();
        assert_true(seed != 0);
        assert_true(seed != before);
        before = seed;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_seeds_give_known_numbers),
        cmocka_unit_test(below_stays_below_and_reaches_all),
        cmocka_unit_test(seeds_differ_and_are_never_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
