/* tests/unit/index/ordered_model_test.c
 *
 * Aim     Whatever the values, the tree holds exactly what was added and not given up; scans of any
 *         range in both directions, counts, ranks and n-th hits are those of a sorted array, also
 * for sections that were begun long ago; the tree is sound after every step. Method  Random
 * operations on the tree and its twin, for each kind of value; up to three sections stay open with
 * a copy of the twin's flags. Blind   to everything that needs two threads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/index/ordered_stand.h"

enum { OLD_COUNT = 3 };

/* A section, and what it sees. */
typedef struct seen {
    const stand *s;
    int is_open;
    uint32_t epoch;
    mrl_epoch_token token;
    uint8_t *live;
} seen;

static void seen_begin(seen *v, stand *s) {
    mrl_member_enter(s->member, &v->token);
    v->s = s;
    v->is_open = 1;
    v->epoch = mrl_epoch_value(s->domain);
    v->live = malloc(s->hint_count);
    memcpy(v->live, s->live, s->hint_count);
}

static void seen_end(seen *v, stand *s) {
    mrl_member_leave(s->member, &v->token);
    free(v->live);
    v->is_open = 0;
}

static uint64_t seen_visible(void *context, const mrl_ordered_hit *hits, size_t count) {
    const seen *v = context;
    uint64_t visible = 0;
    assert_true(count <= 64);
    for (size_t i = 0; i < count; i++) visible |= (uint64_t)v->live[hit_find(v->s, &hits[i])] << i;
    return visible;
}

static mrl_ordered_viewer viewer_of(seen *v) {
    mrl_ordered_viewer viewer = {v->epoch, seen_visible, v};
    return viewer;
}

/* ---- questions ---- */

static uint64_t sure_count; /* hits that were said to be certain */

/* Live hints are met once each, in order; nothing but garbage besides. A hit that is certain is
 * live for the section. */
static void scan_is_right(stand *s, const seen *v) {
    asked a = range_pick(s);
    mrl_ordered_hit hits[100];
    uint8_t position[MERLE_VALUE_SIZE_MAX];
    mrl_ordered_cursor cursor;
    int is_descending = (int)mrl_random_below(&s->random, 2);
    size_t max = 1 + mrl_random_below(&s->random, 100), count;
    uint32_t at = is_descending ? a.to : a.from; /* descending: one above */
    mrl_ordered_cursor_init(&cursor, s->tree, &a.range, is_descending, position);
    cursor.can_be_sure = mrl_random_below(&s->random, 4) != 0;
    cursor.epoch = v->epoch;
    do {
        count = mrl_ordered_next(&cursor, hits, max);
        for (size_t i = 0; i < count; i++) {
            uint32_t found = hit_find(s, &hits[i]);
            int is_sure = i < 64 && (cursor.unsure >> i & 1) == 0;
            assert_true(!is_sure || (cursor.can_be_sure && v->live[found]));
            sure_count += (uint64_t)is_sure;
            uint32_t low = is_descending ? found + 1 : at, high = is_descending ? at : found;
            assert_true(found >= a.from && found < a.to);
            assert_true(is_descending ? found < at : found >= at);
            for (uint32_t k = low; k < high; k++) assert_false(v->live[k]);
            assert_true(s->live[found] || s->garbage[found]);
            at = is_descending ? found : found + 1;
        }
    } while (count == max);
    for (uint32_t k = is_descending ? a.from : at; k < (is_descending ? at : a.to); k++)
        assert_false(v->live[k]);
}

static void counts_are_right(stand *s, seen *v) {
    asked a = range_pick(s);
    mrl_ordered_viewer viewer = viewer_of(v);
    mrl_ordered_hit hit;
    uint32_t mine = (uint32_t)mrl_random_below(&s->random, s->hint_count);
    uint64_t count = 0, before = 0, behind = 0;
    for (uint32_t i = a.from; i < a.to; i++) {
        count += v->live[i];
        before += v->live[i] && i < mine;
        behind += v->live[i] && i > mine;
    }
    const hint *h = &s->hints[mine];
    assert_int_equal(mrl_ordered_count(s->tree, &a.range, &viewer), count);
    if (mine >= a.from && mine < a.to) {
        assert_int_equal(mrl_ordered_rank(s->tree, &a.range, 0, hint_value(h), h->slot, &viewer),
                         before);
        assert_int_equal(mrl_ordered_rank(s->tree, &a.range, 1, hint_value(h), h->slot, &viewer),
                         behind);
    }
    int is_descending = (int)mrl_random_below(&s->random, 2);
    uint64_t n = mrl_random_below(&s->random, count + 3);
    int is_there = mrl_ordered_nth(s->tree, &a.range, is_descending, n, &viewer, &hit);
    assert_int_equal(is_there, n < count);
    if (!is_there) return;
    uint32_t found = hit_find(s, &hit);
    assert_true(v->live[found] && found >= a.from && found < a.to);
    for (uint32_t i = is_descending ? found + 1 : a.from; i < (is_descending ? a.to : found); i++)
        n -= v->live[i];
    assert_int_equal(n, 0);
}

static void presence_is_right(stand *s) {
    uint32_t i = (uint32_t)mrl_random_below(&s->random, s->hint_count);
    int has = mrl_ordered_has(s->tree, hint_value(&s->hints[i]), s->hints[i].slot);
    if (s->live[i]) assert_true(has);
    if (!s->live[i] && !s->garbage[i]) assert_false(has);
}

static void all_is_right(stand *s, seen *old) {
    seen now = {0};
    seen_begin(&now, s);
    scan_is_right(s, &now);
    counts_are_right(s, &now);
    presence_is_right(s);
    for (int i = 0; i < OLD_COUNT; i++) {
        if (!old[i].is_open) continue;
        scan_is_right(s, &old[i]);
        counts_are_right(s, &old[i]);
    }
    seen_end(&now, s);
}

/* ---- steps ---- */

static void changes_one(stand *s, uint32_t filling) {
    uint32_t i = (uint32_t)mrl_random_below(&s->random, s->hint_count);
    if (mrl_random_below(&s->random, 100) < filling)
        assert_int_equal(stand_add(s, i), MERLE_OK);
    else if (s->live[i])
        stand_mark(s, i);
}

static void old_changes(stand *s, seen *old) {
    seen *v = &old[mrl_random_below(&s->random, OLD_COUNT)];
    if (v->is_open)
        seen_end(v, s);
    else
        seen_begin(v, s);
    mrl_epoch_advance(s->member);
}

static void quiet(stand *s, seen *old) {
    for (int i = 0; i < OLD_COUNT; i++)
        if (old[i].is_open) seen_end(&old[i], s);
    for (int i = 0; i < 4; i++) mrl_epoch_advance(s->member);
}

static void run(value_kind kind, uint32_t hint_count, uint64_t steps) {
    static const uint32_t fillings[] = {80, 50, 95, 10, 55, 2};
    stand s;
    seen old[OLD_COUNT] = {{0}};
    int is_small = hint_count < 1000;
    stand_begin(&s, kind, hint_count, test_seed() + kind);
    sure_count = 0;
    for (uint64_t i = 0; i < steps; i++) {
        changes_one(&s, fillings[i * 6 / steps]);
        if (i % 16 == 0 || is_small) all_is_right(&s, old);
        /* Half of the time nobody holds the epoch back: then sums are made, and hold. */
        if (i % 32 == 0 && i / 512 % 2 == 0) old_changes(&s, old);
        if (i / 512 % 2 != 0) quiet(&s, old);
        if (i % 64 == 0) (void)stand_sweep(&s, 1 + mrl_random_below(&s.random, 8));
        if (i % 16 == 0 || is_small) stand_check(&s);
        if (i % 16 == 0) (void)mrl_domain_drain(s.member, 100);
    }
    for (int i = 0; i < OLD_COUNT; i++)
        if (old[i].is_open) seen_end(&old[i], &s);
    for (int i = 0; i < 4; i++) {
        stand_pass(&s);
        (void)stand_sweep(&s, SIZE_MAX);
    }
    mrl_ordered_stats stats;
    mrl_ordered_stat(s.tree, &stats);
    assert_int_equal(stats.marked, 0);
    memset(s.garbage, 0, s.hint_count);
    all_is_right(&s, old);
    /* Short runs, as under sanitizers, have no quiet time. */
    assert_true(steps < 2000 || sure_count > steps);
    stand_end(&s);
}

#define MODEL_CASE(name, kind)               \
    static void name(void **state) {         \
        (void)state;                         \
        run(kind, 300, test_amount(4000));   \
        run(kind, 6000, test_amount(20000)); \
    }

MODEL_CASE(numbers_random_operations_match_twin, NUMBERS)
MODEL_CASE(dense_numbers_random_operations_match_twin, DENSE)
MODEL_CASE(strings_random_operations_match_twin, STRINGS)
MODEL_CASE(mixed_values_random_operations_match_twin, MIXED)
MODEL_CASE(few_values_random_operations_match_twin, FEW)
MODEL_CASE(compounds_random_operations_match_twin, COMPOUNDS)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_random_operations_match_twin),
        cmocka_unit_test(dense_numbers_random_operations_match_twin),
        cmocka_unit_test(strings_random_operations_match_twin),
        cmocka_unit_test(mixed_values_random_operations_match_twin),
        cmocka_unit_test(few_values_random_operations_match_twin),
        cmocka_unit_test(compounds_random_operations_match_twin),
    };
    test_seed_print();
    return cmocka_run_group_tests_name("index/ordered_model", tests, NULL, NULL);
}
