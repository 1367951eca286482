/* tests/unit/database/step_test.c - how long merle's thread rests while something waits.
 *
 * Aim     It comes back soon for what a grace period holds up, and less often, up to a bound, for
 *         what it could not do time after time: a build without memory, an old section.
 * Method  The rule by itself.
 * Blind   The thread.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "database/step.h"

static void rest_grows_while_nothing_can_be_done(void **state) {
    (void)state;
    assert_int_equal(mrl_step_rest_ns(0), 1000000);
    for (uint32_t i = 1; i < 5; i++)
        assert_int_equal(mrl_step_rest_ns(i), 2 * mrl_step_rest_ns(i - 1));
    assert_int_equal(mrl_step_rest_ns(5), MRL_STEP_IDLE_NS);
    assert_int_equal(mrl_step_rest_ns(UINT32_MAX), MRL_STEP_IDLE_NS);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(rest_grows_while_nothing_can_be_done)};
    return cmocka_run_group_tests_name("database/step", tests, NULL, NULL);
}
