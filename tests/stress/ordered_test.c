/* tests/stress/ordered_test.c
 *
 * Aim     While hints are added, marked, un-marked and swept, whoever scans meets every hint that
 *         is there all along exactly once and in strict order, and whoever counts gets exactly what
 *         his section sees.
 * Method  Threads do the steps of ordered_world.h on some thousands of documents.
 * Blind   to orders of memory that this processor does not make. The thread sanitizer sees more.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/stress/ordered_world.h"

static void run(uint32_t writer_count, uint32_t scanner_count, uint32_t counter_count) {
    static world w;
    stress s;
    world_begin(&s, &w, DOCUMENT_COUNT_MAX, 256);
    const stress_job jobs[] = {{"writes", writes, writer_count},
                               {"scans", scans, scanner_count},
                               {"counts", counts, counter_count},
                               {"sweeps", sweeps, 1},
                               {NULL, NULL, 0}};
    stress_run(&s, jobs, stress_time_ms());
    world_end(&s, &w);
}

static void hints_that_stay_are_met_exactly_once(void **state) {
    (void)state;
    run(2, 2, 0);
    run(4, 3, 0);
}

static void counts_are_those_of_the_section(void **state) {
    (void)state;
    run(1, 0, 2);
    run(3, 1, 3);
}

static void writers_alone_leave_a_sound_tree(void **state) {
    (void)state;
    run(4, 0, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hints_that_stay_are_met_exactly_once),
        cmocka_unit_test(counts_are_those_of_the_section),
        cmocka_unit_test(writers_alone_leave_a_sound_tree),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
