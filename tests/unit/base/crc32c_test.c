/* tests/unit/base/crc32c_test.c
 *
 * Aim     The checksum is CRC-32C as others compute it, by instruction and by table alike.
 * Method  Published check values (RFC 3720, B.4); all lengths and alignments compared by both ways.
 * Blind   On a machine without SSE4.2 both ways are the same code.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/random.h"

typedef uint32_t crc_fn(uint32_t seed, const void *data, size_t size);

static void check_known_values(crc_fn *crc) {
    uint8_t zeros[32] = {0}, ones[32], up[32], down[32];
    memset(ones, 0xff, sizeof ones);
    for (int i = 0; i < 32; i++) {
        up[i] = (uint8_t)i;
        down[i] = (uint8_t)(31 - i);
    }
    assert_int_equal(crc(0, "", 0), 0);
    assert_int_equal(crc(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(crc(0, zeros, 32), 0x8a9136aau);
    assert_int_equal(crc(0, ones, 32), 0x62a8ab43u);
    assert_int_equal(crc(0, up, 32), 0x46dd794eu);
    assert_int_equal(crc(0, down, 32), 0x113fdb5cu);
}

static void known_values_are_met_by_instruction(void **state) {
    (void)state;
    check_known_values(mrl_crc32c);
}

static void known_values_are_met_by_table(void **state) {
    (void)state;
    check_known_values(mrl_crc32c_table);
}

static void each_length_and_alignment_gives_the_same_both_ways(void **state) {
    uint8_t bytes[300];
    mrl_random random;
    (void)state;
    mrl_random_init(&random, 7);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)mrl_random_next(&random);
    for (size_t start = 0; start < 16; start++)
        for (size_t size = 0; size <= 270; size++)
            assert_int_equal(mrl_crc32c(0, bytes + start, size),
                             mrl_crc32c_table(0, bytes + start, size));
}

static void cut_anywhere_gives_the_same(void **state) {
    uint8_t bytes[100];
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 37);
    uint32_t whole = mrl_crc32c(0, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        uint32_t first = mrl_crc32c(0, bytes, cut);
        assert_int_equal(mrl_crc32c(first, bytes + cut, sizeof bytes - cut), whole);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values_are_met_by_instruction),
        cmocka_unit_test(known_values_are_met_by_table),
        cmocka_unit_test(each_length_and_alignment_gives_the_same_both_ways),
        cmocka_unit_test(cut_anywhere_gives_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
