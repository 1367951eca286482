/* tests/model/sim_test.c
 *
 * Aim     The simulator keeps its word: a deadlock is found and told, one seed is one run, other
 *         seeds are other runs, refusals come when they were asked for.
 * Method  Workers with two locks in the wrong order, and workers that write down who ran.
 * Blind   What the library does with it (twin_test.c).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/lock.h"
#include "base/self.h"
#include "tests/model/seed.h"
#include "tests/sim/sim.h"

enum { RUN_COUNT = 64, STEP_COUNT = 40 };

typedef struct two_locks {
    mrl_lock *first, *second;
} two_locks;

static void takes_both(void *context) {
    two_locks *locks = context;
    for (int i = 0; i < 4; i++) {
        mrl_lock_take(locks->first);
        mrl_point("test.between");
        mrl_lock_take(locks->second);
        mrl_lock_drop(locks->second);
        mrl_lock_drop(locks->first);
        mrl_point("test.free");
    }
}

static int count_deadlocks(int is_ordered) {
    int found = 0;
    for (uint64_t i = 0; i < RUN_COUNT; i++) {
        mrl_lock a, b;
        mrl_lock_init(&a);
        mrl_lock_init(&b);
        two_locks one = {&a, &b}, other = {is_ordered ? &a : &b, is_ordered ? &b : &a};
        sim *s = sim_create(test_seed() + i, 2);
        assert_non_null(s);
        sim_spawn(s, "one", takes_both, &one);
        sim_spawn(s, "other", takes_both, &other);
        found += sim_run(s) != 0;
        sim_destroy(s);
        if (found > 0) break; /* one is enough, and each is printed */
    }
    return found;
}

static void locks_in_the_wrong_order_are_found(void **state) {
    (void)state;
    assert_int_equal(count_deadlocks(0), 1);
}

static void locks_in_one_order_end(void **state) {
    (void)state;
    assert_int_equal(count_deadlocks(1), 0);
}

/* ---- one seed, one run ---- */

typedef struct diary {
    char who[4 * STEP_COUNT + 1];
    size_t count;
} diary;

typedef struct writer {
    diary *d;
    char name;
} writer;

static void writes_down(void *context) {
    writer *w = context;
    for (int i = 0; i < STEP_COUNT; i++) {
        w->d->who[w->d->count++] = w->name;
        mrl_point("test.wrote");
    }
}

static void write_diary(uint64_t seed, diary *out) {
    memset(out, 0, sizeof *out);
    writer writers[3] = {{out, 'a'}, {out, 'b'}, {out, 'c'}};
    sim *s = sim_create(seed, 2);
    assert_non_null(s);
    sim_spawn(s, "a", writes_down, &writers[0]);
    sim_spawn(s, "b", writes_down, &writers[1]);
    sim_spawn(s, "c", writes_down, &writers[2]);
    assert_int_equal(sim_run(s), 0);
    sim_destroy(s);
    assert_int_equal(out->count, 3 * STEP_COUNT);
}

static void seed_decides_the_run(void **state) {
    diary one, again, other;
    (void)state;
    write_diary(test_seed(), &one);
    write_diary(test_seed(), &again);
    write_diary(test_seed() + 1, &other);
    assert_string_equal(one.who, again.who);
    assert_string_not_equal(one.who, other.who);
}

static void refusal_comes_when_it_was_asked_for(void **state) {
    (void)state;
    sim *s = sim_create(test_seed(), 1);
    assert_non_null(s);
    assert_false(sim_refuses(s));
    sim_refuse_nth(s, 3);
    assert_false(sim_refuses(s));
    assert_false(sim_refuses(s));
    assert_true(sim_refuses(s));
    assert_false(sim_refuses(s));
    assert_int_equal(sim_refused(s), 1);
    sim_refuse_one_in(s, 1);
    assert_true(sim_refuses(s));
    sim_destroy(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locks_in_the_wrong_order_are_found),
        cmocka_unit_test(locks_in_one_order_end),
        cmocka_unit_test(seed_decides_the_run),
        cmocka_unit_test(refusal_comes_when_it_was_asked_for),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
