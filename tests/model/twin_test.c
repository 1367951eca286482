/* tests/model/twin_test.c
 *
 * Aim     Whatever is done in whatever order, merle does what a plain model of arrays and linear
 *         search does: reads, refusals, unique values, conflicts, the log, with memory or
 *         without.
 * Method  Random operations on few keys and few values (tests/model/twin.c), compared with the
 *         model (tests/model/twin_verify.c), after each step where one worker runs, at the end
 *         where a simulator switches between several; merle_check now and then. Some runs have a
 *         simulated disk, and are closed and opened again on the way. One seed is one run.
 * Blind   Orders weaker than one processor's own; the real scheduler's timing (see tests/stress).
 *         Large documents, many documents: tables hardly ever split here. The disk keeps all
 *         that it was given (see tests/crash). Documents that end: see expiry_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/seed.h"
#include "tests/model/twin.h"
#include "tests/sim/disk.h"

enum { STEPS = 120, VERIFY_ALL_EVERY = 25 };

static twin_options base_options(uint64_t seed) {
    twin_options options;
    memset(&options, 0, sizeof options);
    options.seed = seed;
    options.defines = 1;
    options.switch_one_in = 1;
    /* A fifth of the runs have hardly any keys: everything meets everything. */
    if (seed % 5 == 0) options.key_count = 4;
    /* The smallest ring is overrun now and then. */
    if (seed % 3 == 0) options.ring_size = 64 << 10;
    return options;
}

/* ---- one worker ---- */

static int run_alone(const twin_options *options, uint64_t refuse_nth, uint32_t refuse_one_in,
                     uint32_t step_count, uint64_t *out_refused) {
    twin *run = twin_create(options);
    if (refuse_nth != 0) sim_refuse_nth(twin_sim(run), refuse_nth);
    if (refuse_one_in != 0) sim_refuse_one_in(twin_sim(run), refuse_one_in);
    twin_worker worker;
    if (twin_open(run) == 0) {
        twin_worker_init(&worker, run, 0, step_count);
        for (uint32_t i = 0; i < step_count && !twin_has_failed(run); i++) {
            twin_worker_step(&worker);
            twin_verify(run);
            if (i % VERIFY_ALL_EVERY == 0) twin_compare_all(run);
        }
        twin_worker_end(&worker);
    }
    if (out_refused != NULL) *out_refused = sim_refused(twin_sim(run));
    int result = twin_close(run);
    twin_destroy(run);
    return result;
}

static void one_worker_matches_the_model(void **state) {
    (void)state;
    uint64_t first = test_seed(), count = test_amount(8000);
    for (uint64_t i = 0; i < count; i++) {
        twin_options options = base_options(first + i);
        assert_int_equal(run_alone(&options, 0, 0, STEPS, NULL), 0);
    }
    test_say("%llu runs: %llu commits, %llu reads, %llu changes, %llu gaps",
             (unsigned long long)count, (unsigned long long)twin_total.commits,
             (unsigned long long)twin_total.reads, (unsigned long long)twin_total.changes,
             (unsigned long long)twin_total.gaps);
    for (int err = 1; err <= MERLE_SYSTEM; err++)
        if (twin_total.refused[err] != 0)
            test_say("refused with %s: %llu", merle_err_name((merle_err)err),
                     (unsigned long long)twin_total.refused[err]);
    assert_true(twin_total.refused[MERLE_EXISTS] > 0);
    assert_true(twin_total.refused[MERLE_CONFLICT] > 0);
}

static void one_long_run_matches_the_model(void **state) {
    (void)state;
    for (uint64_t i = 0; i < test_amount(12); i++) {
        twin_options options = base_options(test_seed() + i);
        options.is_lazy = i % 2 == 0;
        if (options.is_lazy) options.ring_size = 64 << 10;
        assert_int_equal(run_alone(&options, 0, 0, 4000, NULL), 0);
    }
    test_say("%llu gaps of the cursor", (unsigned long long)twin_total.gaps);
    assert_true(twin_total.gaps > 0);
}

static void memory_limit_refuses_and_leaves_no_trace(void **state) {
    (void)state;
    uint64_t before = twin_total.refused[MERLE_NO_MEMORY];
    for (uint64_t i = 0; i < test_amount(100); i++) {
        twin_options options = base_options(test_seed() + i);
        options.may_refuse = 1;
        options.memory_max = 100000 + 40000 * (i % 60);
        assert_int_equal(run_alone(&options, 0, 0, STEPS * 2, NULL), 0);
    }
    test_say("refused for the limit: %llu commits",
             (unsigned long long)(twin_total.refused[MERLE_NO_MEMORY] - before));
}

/* ---- allocation fails ---- */

static void allocation_failing_at_each_point_leaves_no_trace(void **state) {
    (void)state;
    for (uint64_t i = 0; i < test_amount(8); i++) {
        twin_options options = base_options(test_seed() + i);
        options.may_refuse = 1;
        uint64_t refused = 1, n = 0;
        while (refused != 0) {
            assert_int_equal(run_alone(&options, ++n, 0, 40, &refused), 0);
        }
        test_say("seed %llu: each of %llu allocations was refused once",
                 (unsigned long long)options.seed, (unsigned long long)(n - 1));
    }
}

static void allocation_failing_at_random_leaves_no_trace(void **state) {
    (void)state;
    for (uint64_t i = 0; i < test_amount(500); i++) {
        twin_options options = base_options(test_seed() + i);
        options.may_refuse = 1;
        assert_int_equal(run_alone(&options, 0, 3 + (uint32_t)(i % 40), STEPS, NULL), 0);
    }
}

/* ---- on a disk ---- */

enum { REOPEN_ONE_IN = 50 };

/* Closed and opened again now and then, with checkpoints in between or without. */
static int run_on_disk(twin_options *options, uint32_t step_count) {
    disk *d = disk_create(options->seed);
    options->files = disk_files(d);
    twin *run = twin_create(options);
    twin_worker worker;
    if (twin_open(run) == 0) {
        twin_worker_init(&worker, run, 0, step_count);
        for (uint32_t i = 0; i < step_count && !twin_has_failed(run); i++) {
            twin_worker_step(&worker);
            twin_verify(run);
            if (mrl_random_below(&worker.random, REOPEN_ONE_IN) != 0) continue;
            mrl_random random = worker.random;
            twin_worker_end(&worker);
            twin_reopen(run);
            twin_worker_init(&worker, run, 0, step_count);
            worker.random = random;
        }
        twin_worker_end(&worker);
    }
    int result = twin_close(run);
    twin_destroy(run);
    disk_destroy(d);
    return result;
}

static void opened_again_it_matches_the_model(void **state) {
    (void)state;
    for (uint64_t i = 0; i < test_amount(400); i++) {
        twin_options options = base_options(test_seed() + i);
        assert_int_equal(run_on_disk(&options, 4 * STEPS), 0);
    }
    test_say("%llu openings, %llu checkpoints", (unsigned long long)twin_total.openings,
             (unsigned long long)twin_total.checkpoints);
    assert_true(twin_total.openings > 0 && twin_total.checkpoints > 0);
}

/* ---- several workers under the simulator ---- */

static int run_together(twin_options *options, uint32_t worker_count, uint32_t refuse_one_in,
                        int ends_inside) {
    static const char *const names[] = {"a", "b", "c", "d"};
    twin_worker workers[4];
    options->is_simulated = 1;
    options->switch_one_in = 1 + (uint32_t)(options->seed % 4);
    twin *run = twin_create(options);
    if (twin_open(run) == 0) {
        sim_refuse_one_in(twin_sim(run), refuse_one_in);
        for (uint32_t i = 0; i < worker_count; i++) {
            twin_worker_init(&workers[i], run, i, STEPS / 2);
            workers[i].ends_inside = ends_inside && i > 0;
            sim_spawn(twin_sim(run), names[i], twin_worker_run, &workers[i]);
        }
        if (sim_run(twin_sim(run)) != 0)
            fail_msg("deadlock, seed %llu", (unsigned long long)options->seed);
    }
    int result = twin_close(run);
    twin_destroy(run);
    return result;
}

static void several_workers_match_the_model(void **state) {
    (void)state;
    for (uint64_t i = 0; i < test_amount(6000); i++) {
        twin_options options = base_options(test_seed() + i);
        assert_int_equal(run_together(&options, 2 + (uint32_t)(i % 3), 0, 0), 0);
    }
}

static void workers_ending_inside_sections_match_the_model(void **state) {
    (void)state;
    for (uint64_t i = 0; i < test_amount(500); i++) {
        twin_options options = base_options(test_seed() + i);
        assert_int_equal(run_together(&options, 3, 0, 1), 0);
    }
}

static void several_workers_with_failing_allocations_match_the_model(void **state) {
    (void)state;
    for (uint64_t i = 0; i < test_amount(1000); i++) {
        twin_options options = base_options(test_seed() + i);
        options.may_refuse = 1;
        assert_int_equal(run_together(&options, 3, 5 + (uint32_t)(i % 60), (int)(i & 1)), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_worker_matches_the_model),
        cmocka_unit_test(one_long_run_matches_the_model),
        cmocka_unit_test(memory_limit_refuses_and_leaves_no_trace),
        cmocka_unit_test(allocation_failing_at_each_point_leaves_no_trace),
        cmocka_unit_test(allocation_failing_at_random_leaves_no_trace),
        cmocka_unit_test(opened_again_it_matches_the_model),
        cmocka_unit_test(several_workers_match_the_model),
        cmocka_unit_test(workers_ending_inside_sections_match_the_model),
        cmocka_unit_test(several_workers_with_failing_allocations_match_the_model),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
