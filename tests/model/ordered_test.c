/* tests/model/ordered_test.c
 *
 * Aim     The same promises as tests/stress/ordered_test.c, where workers are switched at the worst
 *         places: while a node is locked or half changed, between the parts of a search, while a
 * sum is being made. Method  Simulated workers do the steps of ordered_world.h on few documents;
 * each seed is another schedule. Blind   to what happens between two points, and to orders of
 * memory.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim.h"
#include "tests/stress/ordered_world.h"

typedef struct task {
    stress_worker worker;
    stress_fn *fn;
    uint32_t steps;
} task;

static void task_run(void *context) {
    task *t = context;
    for (t->worker.done = 0; t->worker.done < t->steps; t->worker.done++) t->fn(&t->worker);
}

static void run(uint64_t seed, uint32_t document_count, uint32_t switch_one_in) {
    static world w;
    static stress_fn *const fns[] = {writes, writes, writes, scans, counts, counts, sweeps};
    static const uint32_t steps[] = {400, 400, 400, 60, 60, 60, 200};
    enum { TASK_COUNT = sizeof fns / sizeof fns[0] };
    task tasks[TASK_COUNT];
    stress s;
    sim *simulator = sim_create(seed, switch_one_in);
    assert_non_null(simulator);
    world_begin(&s, &w, document_count, 64);
    memset(tasks, 0, sizeof tasks);
    for (uint32_t i = 0; i < TASK_COUNT; i++) {
        tasks[i].worker.s = &s;
        tasks[i].worker.number = i;
        mrl_random_init(&tasks[i].worker.random, seed * 100 + i);
        tasks[i].fn = fns[i];
        tasks[i].steps = steps[i];
        sim_spawn(simulator, "worker", task_run, &tasks[i]);
    }
    assert_int_equal(sim_run(simulator), 0);
    if (atomic_load(&s.fault_count) != 0) test_say("with seed %llu", (unsigned long long)seed);
    world_end(&s, &w);
    sim_destroy(simulator);
}

static void promises_hold_in_every_schedule(void **state) {
    (void)state;
    uint64_t count = test_amount(1000);
    for (uint64_t i = 0; i < count; i++)
        run(test_seed() * 1000 + i, i % 3 == 0 ? 400 : 80, i % 2 == 0 ? 2 : 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promises_hold_in_every_schedule),
    };
    test_seed_print();
    return cmocka_run_group_tests_name("index/ordered", tests, NULL, NULL);
}
