/* tests/unit/index/ordered_test.c
 *
 * Aim     What an index costs, small and large; what happens without memory; when marked hints go;
 *         and the edges of scans, counts and ranges that a random walk meets too seldom.
 * Method  Small trees by hand, larger ones with rows that go up, down or nowhere; every allocation
 *         refused in turn; sections of several workers in one thread.
 * Blind   to speed, and to threads that run at the same time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/index/ordered_stand.h"

#include "base/self.h"

static merle_bytes number(uint8_t out[9], uint64_t n) {
    return merle_bytes_of(out, put_number(out, n));
}

static void add_number(stand *s, uint64_t n, uint32_t slot) {
    uint8_t bytes[9];
    mrl_epoch_token token;
    int is_added;
    mrl_member_enter(s->member, &token);
    assert_int_equal(mrl_ordered_add(s->tree, s->member, number(bytes, n), slot, &is_added),
                     MERLE_OK);
    assert_int_equal(is_added, 1);
    mrl_member_leave(s->member, &token);
}

static void mark_number(stand *s, uint64_t n, uint32_t slot) {
    uint8_t bytes[9];
    mrl_epoch_token token;
    mrl_member_enter(s->member, &token);
    mrl_ordered_mark(s->tree, s->member, number(bytes, n), slot);
    mrl_member_leave(s->member, &token);
}

static int has_number(stand *s, uint64_t n, uint32_t slot) {
    uint8_t bytes[9];
    return mrl_ordered_has(s->tree, number(bytes, n), slot);
}

static mrl_ordered_stats stats_of(stand *s) {
    mrl_ordered_stats stats;
    mrl_ordered_stat(s->tree, &stats);
    return stats;
}

/* Sweeps until nothing is left to be done. */
static void sweep_all(stand *s) {
    size_t changed;
    do {
        stand_pass(s);
        changed = stand_sweep(s, SIZE_MAX);
    } while (changed != 0);
    stand_pass(s);
}

/* ---- what it costs ---- */

static void index_of_ten_costs_little(void **state) {
    stand s;
    (void)state;
    stand_begin(&s, NUMBERS, 0, 1);
    assert_true(stats_of(&s).bytes <= 96);
    for (uint32_t i = 0; i < 10; i++) add_number(&s, i * 77 % 10, i);
    assert_int_equal(stats_of(&s).depth, 1);
    assert_true(stats_of(&s).bytes <= 256);
    assert_true(mrl_domain_bytes(s.domain, MRL_FOR_TABLES) <= 256 + 1024);
    stand_end(&s);
}

static double bytes_each(stand *s) {
    stand_pass(s);
    mrl_ordered_stats stats = stats_of(s);
    return (double)mrl_domain_bytes(s->domain, MRL_FOR_TABLES) / (double)stats.entries;
}

static void rows_up_and_down_leave_full_leaves(void **state) {
    const uint32_t count = 50000;
    (void)state;
    for (int is_down = 0; is_down < 2; is_down++) {
        stand s;
        stand_begin(&s, NUMBERS, 0, 1);
        for (uint32_t i = 0; i < count; i++) add_number(&s, is_down ? count - i : i, i);
        assert_true((double)count / ((double)stats_of(&s).leaves * 64) >= 0.9);
        assert_true(bytes_each(&s) <= 15);
        stand_end(&s);
    }
}

static void random_numbers_cost_at_most_17_bytes(void **state) {
    const uint32_t count = (uint32_t)test_amount(200000);
    stand s;
    (void)state;
    stand_begin(&s, NUMBERS, 0, 1);
    for (uint32_t i = 0; i < count; i++) add_number(&s, mrl_random_next(&s.random), i);
    assert_true(bytes_each(&s) <= 17);
    stand_end(&s);
}

static void removing_most_gives_memory_back(void **state) {
    const uint32_t count = (uint32_t)test_amount(100000);
    stand s, fresh;
    (void)state;
    stand_begin(&s, NUMBERS, 0, 1);
    stand_begin(&fresh, NUMBERS, 0, 1);
    for (uint32_t i = 0; i < count; i++) add_number(&s, mrl_mix_u64(i), i);
    for (uint32_t i = 0; i < count; i++) {
        if (i % 10 == 0)
            add_number(&fresh, mrl_mix_u64(i), i);
        else
            mark_number(&s, mrl_mix_u64(i), i);
    }
    sweep_all(&s);
    assert_int_equal(stats_of(&s).entries, stats_of(&fresh).entries);
    assert_true(bytes_each(&s) <= 1.5 * bytes_each(&fresh));
    for (uint32_t i = 0; i < count; i += 10) mark_number(&s, mrl_mix_u64(i), i);
    sweep_all(&s);
    assert_int_equal(stats_of(&s).entries, 0);
    assert_int_equal(stats_of(&s).leaves, 1);
    assert_int_equal(stats_of(&s).depth, 1);
    stand_end(&s);
    stand_end(&fresh);
}

static void one_value_of_many_slots_costs_as_a_number(void **state) {
    stand s;
    uint8_t bytes[600];
    (void)state;
    stand_begin(&s, NUMBERS, 0, 1);
    memset(bytes, 'x', sizeof bytes);
    for (uint32_t i = 0; i < 20000; i++) {
        mrl_epoch_token token;
        int is_added;
        mrl_member_enter(s.member, &token);
        assert_int_equal(mrl_ordered_add(s.tree, s.member, merle_bytes_of(bytes, sizeof bytes),
                                         i * 7919 % 20000, &is_added),
                         MERLE_OK);
        assert_int_equal(is_added, 1);
        mrl_member_leave(s.member, &token);
    }
    stand_check(&s);
    /* The value itself stands once in each leaf. */
    assert_true(bytes_each(&s) <= 17 + 2 * 640 / 32);
    stand_end(&s);
}

/* Strings as short as a region's name, and a row of slots for each. */
static void few_strings_cost_as_numbers(void **state) {
    static const char *const names[] = {"@europe\0", "@asia\0", "@america\0", "@africa\0"};
    stand s;
    (void)state;
    stand_begin(&s, NUMBERS, 0, 1);
    for (uint32_t i = 0; i < 40000; i++) {
        const char *name = names[mrl_random_below(&s.random, 4)];
        mrl_epoch_token token;
        int is_added;
        mrl_member_enter(s.member, &token);
        assert_int_equal(
            mrl_ordered_add(s.tree, s.member, merle_bytes_of(name, strlen(name) + 2), i, &is_added),
            MERLE_OK);
        mrl_member_leave(s.member, &token);
    }
    stand_check(&s);
    assert_true(bytes_each(&s) <= 17);
    stand_end(&s);
}

static void clear_some_frees_a_few_nodes_a_call(void **state) {
    stand s;
    uint64_t calls = 0;
    (void)state;
    stand_begin(&s, MIXED, 5000, 3);
    for (uint32_t i = 0; i < s.hint_count; i++) assert_int_equal(stand_add(&s, i), MERLE_OK);
    mrl_ordered_stats stats = stats_of(&s);
    stand_pass(&s);
    while (mrl_ordered_clear_some(s.tree, s.member, 3) != 0) calls++;
    assert_true(calls >= (stats.leaves + stats.inner) / 3);
    assert_int_equal(stats_of(&s).leaves, 0);
    assert_int_equal(stats_of(&s).bytes, 0);
    mrl_ordered_destroy(s.tree, s.member);
    s.tree = mrl_ordered_create(s.member);
    stand_end(&s);
}

/* ---- without memory ---- */

/* All hints that the twin has, and no other ones. */
static void holds_exactly_the_twin(stand *s) {
    uint8_t position[MERLE_VALUE_SIZE_MAX];
    const mrl_ordered_range all = {{NULL, 0}, {NULL, 0}, MRL_BOUND_NONE, MRL_BOUND_NONE};
    mrl_ordered_cursor cursor;
    mrl_ordered_hit hit;
    mrl_ordered_cursor_init(&cursor, s->tree, &all, 0, position);
    for (uint32_t i = 0; i < s->hint_count; i++) {
        if (!s->live[i]) continue;
        assert_int_equal(mrl_ordered_next(&cursor, &hit, 1), 1);
        assert_int_equal(hit_find(s, &hit), i);
    }
    assert_int_equal(mrl_ordered_next(&cursor, &hit, 1), 0);
}

static void refused_memory_changes_nothing(void **state) {
    (void)state;
    for (value_kind kind = NUMBERS; kind < KIND_COUNT; kind++) {
        stand s;
        uint32_t refused_count = 0;
        stand_begin(&s, kind, 700, 5 + kind);
        for (uint32_t i = 0; i < s.hint_count * 2; i++) {
            uint32_t at = (uint32_t)mrl_random_below(&s.random, s.hint_count);
            merle_err err;
            s.asked_count = 0;
            for (s.refuse_at = 1; (err = stand_add(&s, at)) != MERLE_OK; s.refuse_at++) {
                uint64_t asked_count = s.asked_count;
                assert_int_equal(err, MERLE_NO_MEMORY);
                stand_check(&s);
                refused_count++;
                s.asked_count = 0;
                assert_true(asked_count >= s.refuse_at);
            }
            s.refuse_at = 0;
            if (i % 32 == 0) holds_exactly_the_twin(&s);
        }
        assert_true(refused_count > 20);
        holds_exactly_the_twin(&s);
        stand_end(&s);
    }
}

static void giving_up_needs_no_memory(void **state) {
    stand s;
    (void)state;
    stand_begin(&s, MIXED, 3000, 9);
    for (uint32_t i = 0; i < s.hint_count; i++) assert_int_equal(stand_add(&s, i), MERLE_OK);
    s.refuses_all = 1;
    for (uint32_t i = 0; i < s.hint_count; i++)
        if (i % 8 != 0) stand_mark(&s, i);
    /* A commit that takes back what it marked needs none either. */
    for (uint32_t i = 1; i < s.hint_count; i += 16) assert_int_equal(stand_add(&s, i), MERLE_OK);
    sweep_all(&s);
    stand_check(&s);
    holds_exactly_the_twin(&s);
    uint64_t leaves = stats_of(&s).leaves;
    s.refuses_all = 0;
    sweep_all(&s);
    assert_true(stats_of(&s).leaves * 3 <= leaves * 2);
    holds_exactly_the_twin(&s);
    stand_end(&s);
}

/* ---- marks ---- */

static void adding_twice_adds_once(void **state) {
    stand s;
    uint8_t bytes[9];
    int is_added = 1;
    (void)state;
    stand_begin(&s, NUMBERS, 0, 1);
    add_number(&s, 5, 1);
    assert_int_equal(mrl_ordered_add(s.tree, s.member, number(bytes, 5), 1, &is_added), MERLE_OK);
    assert_int_equal(is_added, 0);
    assert_true(has_number(&s, 5, 1));
    assert_false(has_number(&s, 5, 2));
    assert_false(has_number(&s, 6, 1));
    mark_number(&s, 5, 1);
    add_number(&s, 5, 1); /* live again: counts as added */
    sweep_all(&s);
    assert_true(has_number(&s, 5, 1));
    stand_end(&s);
}

/* A section that began while the commit was open, one epoch later, needs the hint, too. */
static void marked_hint_stays_for_a_section_begun_during_the_commit(void **state) {
    stand s;
    mrl_self commits = {0}, reads = {0};
    mrl_epoch_token of_commit, of_reader;
    mrl_member *committing, *reading;
    uint8_t bytes[9];
    (void)state;
    stand_begin(&s, NUMBERS, 0, 1);
    add_number(&s, 5, 1);
    stand_pass(&s);
    mrl_self_swap(&commits);
    committing = mrl_member_join(s.domain);
    mrl_member_enter(committing, &of_commit);
    mrl_ordered_mark(s.tree, committing, number(bytes, 5), 1);
    mrl_self_swap(NULL);
    for (int i = 0; i < 8; i++) mrl_epoch_advance(s.member);
    mrl_self_swap(&reads);
    reading = mrl_member_join(s.domain);
    mrl_member_enter(reading, &of_reader);
    mrl_self_swap(&commits);
    mrl_member_leave(committing, &of_commit);
    mrl_self_swap(NULL);
    for (int i = 0; i < 8; i++) mrl_epoch_advance(s.member);
    (void)stand_sweep(&s, SIZE_MAX);
    assert_true(has_number(&s, 5, 1));
    mrl_self_swap(&reads);
    mrl_member_leave(reading, &of_reader);
    mrl_self_swap(NULL);
    sweep_all(&s);
    assert_false(has_number(&s, 5, 1));
    mrl_self_end(&commits);
    mrl_self_end(&reads);
    stand_end(&s);
}

/* Each commit marks one hint and adds another one in the same leaf; nobody sweeps. */
static void leaf_that_always_changes_gets_rid_of_marks(void **state) {
    stand s;
    (void)state;
    stand_begin(&s, NUMBERS, 0, 1);
    add_number(&s, 0, 1);
    for (uint32_t i = 0; i < 5000; i++) {
        add_number(&s, i + 1, 1);
        mark_number(&s, i, 1);
        mrl_epoch_advance(s.member);
        assert_true(stats_of(&s).entries <= 16);
        assert_int_equal(stats_of(&s).entries - stats_of(&s).marked, 1);
    }
    stand_end(&s);
}

static void sweep_in_small_steps_comes_round(void **state) {
    stand s;
    (void)state;
    stand_begin(&s, STRINGS, 5000, 11);
    for (uint32_t i = 0; i < s.hint_count; i++) assert_int_equal(stand_add(&s, i), MERLE_OK);
    for (uint32_t i = 0; i < s.hint_count; i += 2) stand_mark(&s, i);
    stand_pass(&s);
    for (int i = 0; i < 1000; i++) (void)stand_sweep(&s, 3);
    assert_int_equal(stats_of(&s).marked, 0);
    assert_int_equal(stand_sweep(&s, 3), 0);
    holds_exactly_the_twin(&s);
    stand_end(&s);
}

/* All that can go stands at the end: the first steps change nothing, and are not the last. */
static void sweep_that_changes_nothing_yet_goes_on(void **state) {
    stand s;
    (void)state;
    stand_begin(&s, STRINGS, 5000, 11);
    for (uint32_t i = 0; i < s.hint_count; i++) assert_int_equal(stand_add(&s, i), MERLE_OK);
    for (uint32_t i = s.hint_count / 2; i < s.hint_count; i++) stand_mark(&s, i);
    stand_pass(&s);
    while (stand_sweep(&s, 3) != 0) continue;
    assert_int_equal(stats_of(&s).marked, 0);
    holds_exactly_the_twin(&s);
    stand_end(&s);
}

/* Room for a few more entries costs nothing beside a long prefix: it is not taken back in vain. */
static void sweep_of_long_values_comes_to_an_end(void **state) {
    stand s;
    uint8_t bytes[4000];
    merle_bytes value = merle_bytes_of(bytes, sizeof bytes);
    mrl_epoch_token token;
    int is_added;
    (void)state;
    stand_begin(&s, NUMBERS, 0, 1);
    memset(bytes, 'x', sizeof bytes);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(mrl_ordered_add(s.tree, s.member, value, i, &is_added), MERLE_OK);
    for (uint32_t i = 0; i < 1000; i++) {
        if (i % 4 == 0) continue;
        mrl_member_enter(s.member, &token);
        mrl_ordered_mark(s.tree, s.member, value, i);
        mrl_member_leave(s.member, &token);
    }
    sweep_all(&s);
    assert_int_equal(stats_of(&s).entries, 250);
    assert_int_equal(stats_of(&s).marked, 0);
    stand_end(&s);
}

/* ---- scans ---- */

static void cursor_goes_on_after_its_place_is_gone(void **state) {
    stand s;
    uint8_t position[MERLE_VALUE_SIZE_MAX];
    const mrl_ordered_range all = {{NULL, 0}, {NULL, 0}, MRL_BOUND_NONE, MRL_BOUND_NONE};
    mrl_ordered_cursor cursor;
    mrl_ordered_hit hits[10];
    (void)state;
    stand_begin(&s, NUMBERS, 0, 1);
    for (uint32_t i = 0; i < 2000; i++) add_number(&s, i, i);
    mrl_ordered_cursor_init(&cursor, s.tree, &all, 0, position);
    assert_int_equal(mrl_ordered_next(&cursor, hits, 10), 10);
    for (uint32_t i = 5; i < 1500; i++) mark_number(&s, i, i);
    sweep_all(&s);
    assert_int_equal(mrl_ordered_next(&cursor, hits, 1), 1);
    assert_int_equal(hits[0].slot, 1500);
    assert_int_equal(hits[0].head, 1500);
    assert_int_equal(hits[0].size - hits[0].prefix_size, 8);
    cursor.is_descending = 1;
    assert_int_equal(mrl_ordered_next(&cursor, hits, 10), 5);
    assert_int_equal(hits[4].slot, 0);
    assert_int_equal(mrl_ordered_next(&cursor, hits, 10), 0);
    cursor.is_descending = 0;
    mrl_ordered_cursor_seek(&cursor, number(position, 1998), 1998);
    assert_int_equal(mrl_ordered_next(&cursor, hits, 10), 1);
    assert_int_equal(hits[0].slot, 1999);
    stand_end(&s);
}

static void longest_values_are_met_whole(void **state) {
    stand s;
    static uint8_t bytes[3][MERLE_VALUE_SIZE_MAX];
    uint8_t position[MERLE_VALUE_SIZE_MAX];
    const mrl_ordered_range all = {{NULL, 0}, {NULL, 0}, MRL_BOUND_NONE, MRL_BOUND_NONE};
    mrl_ordered_cursor cursor;
    mrl_ordered_hit hits[200];
    int is_added;
    (void)state;
    stand_begin(&s, NUMBERS, 0, 1);
    for (uint32_t i = 0; i < 200; i++) { /* differ at the beginning, the middle or the end */
        memset(bytes[0], 'y', sizeof bytes[0]);
        bytes[0][i % 3 * 2047] = (uint8_t)(i / 3 + 32);
        assert_int_equal(mrl_ordered_add(s.tree, s.member,
                                         merle_bytes_of(bytes[0], sizeof bytes[0]), i, &is_added),
                         MERLE_OK);
    }
    stand_check(&s);
    mrl_ordered_cursor_init(&cursor, s.tree, &all, 0, position);
    assert_int_equal(mrl_ordered_next(&cursor, hits, 200), 200);
    for (uint32_t i = 0; i < 200; i++) {
        memset(bytes[0], 'y', sizeof bytes[0]);
        bytes[0][hits[i].slot % 3 * 2047] = (uint8_t)(hits[i].slot / 3 + 32);
        assert_true(mrl_ordered_hit_is(&hits[i], merle_bytes_of(bytes[0], sizeof bytes[0])));
        mrl_ordered_hit_copy(&hits[i], bytes[1 + (i & 1)]);
        assert_memory_equal(bytes[1 + (i & 1)], bytes[0], sizeof bytes[0]);
        if (i > 0)
            assert_true(memcmp(bytes[1 + (i & 1)], bytes[2 - (i & 1)], sizeof bytes[0]) >= 0);
    }
    stand_end(&s);
}

/* ---- counts ---- */

static uint64_t visible_never(void *context, const mrl_ordered_hit *hits, size_t count) {
    (void)hits;
    *(uint64_t *)context += count;
    return 0;
}

static void quiet_tree_is_counted_without_asking(void **state) {
    stand s;
    uint64_t asked_count = 0;
    const mrl_ordered_range all = {{NULL, 0}, {NULL, 0}, MRL_BOUND_NONE, MRL_BOUND_NONE};
    mrl_ordered_viewer viewer = {0, visible_never, &asked_count};
    mrl_ordered_hit hit;
    (void)state;
    stand_begin(&s, NUMBERS, 0, 1);
    for (uint32_t i = 0; i < 10000; i++) add_number(&s, i, i);
    for (uint32_t i = 0; i < 10000; i += 4) mark_number(&s, i, i);
    stand_pass(&s);
    viewer.epoch = mrl_epoch_value(s.domain);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mrl_ordered_count(s.tree, &all, &viewer), 7500);
        assert_int_equal(mrl_ordered_nth(s.tree, &all, 0, 3000, &viewer, &hit), 1);
        assert_int_equal(hit.head, 4001);
        assert_int_equal(asked_count, 0);
    }
    stand_check(&s);
    /* One change: what is asked about now is one leaf, and nothing of it is said to be visible. */
    add_number(&s, 4000, 4000);
    assert_true(mrl_ordered_count(s.tree, &all, &viewer) < 7500);
    assert_true(asked_count > 0 && asked_count <= 64);
    stand_check(&s);
    stand_end(&s);
}

static void estimate_is_near(void **state) {
    const uint32_t count = (uint32_t)test_amount(100000);
    stand s;
    (void)state;
    stand_begin(&s, NUMBERS, 0, 1);
    for (uint32_t i = 0; i < count; i++) add_number(&s, mrl_mix_u64(i) % count, i);
    for (int i = 0; i < 1000; i++) {
        uint8_t bytes[2][9];
        uint64_t from = mrl_random_below(&s.random, count);
        uint64_t width = 1 + mrl_random_below(&s.random, count - from);
        const mrl_ordered_range range = {number(bytes[0], from), number(bytes[1], from + width),
                                         MRL_BOUND_CLOSED, MRL_BOUND_OPEN};
        uint64_t estimate = mrl_ordered_estimate(s.tree, &range);
        if (width > 500) assert_true(estimate >= width / 2 && estimate <= width * 2);
    }
    stand_end(&s);
}

static void range_turned_round_is_empty(void **state) {
    stand s;
    uint8_t bytes[2][9], position[MERLE_VALUE_SIZE_MAX];
    uint64_t asked_count = 0;
    mrl_ordered_viewer viewer = {0, visible_never, &asked_count};
    mrl_ordered_cursor cursor;
    mrl_ordered_hit hit;
    (void)state;
    stand_begin(&s, NUMBERS, 0, 1);
    for (uint32_t i = 0; i < 1000; i++) add_number(&s, i, i);
    stand_pass(&s);
    viewer.epoch = mrl_epoch_value(s.domain);
    const mrl_ordered_range range = {number(bytes[0], 800), number(bytes[1], 200), MRL_BOUND_CLOSED,
                                     MRL_BOUND_CLOSED};
    for (int is_descending = 0; is_descending < 2; is_descending++) {
        mrl_ordered_cursor_init(&cursor, s.tree, &range, is_descending, position);
        assert_int_equal(mrl_ordered_next(&cursor, &hit, 1), 0);
        assert_int_equal(mrl_ordered_nth(s.tree, &range, is_descending, 0, &viewer, &hit), 0);
    }
    assert_int_equal(mrl_ordered_count(s.tree, &range, &viewer), 0);
    assert_int_equal(mrl_ordered_estimate(s.tree, &range), 0);
    stand_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_of_ten_costs_little),
        cmocka_unit_test(rows_up_and_down_leave_full_leaves),
        cmocka_unit_test(random_numbers_cost_at_most_17_bytes),
        cmocka_unit_test(removing_most_gives_memory_back),
        cmocka_unit_test(one_value_of_many_slots_costs_as_a_number),
        cmocka_unit_test(few_strings_cost_as_numbers),
        cmocka_unit_test(clear_some_frees_a_few_nodes_a_call),
        cmocka_unit_test(refused_memory_changes_nothing),
        cmocka_unit_test(giving_up_needs_no_memory),
        cmocka_unit_test(adding_twice_adds_once),
        cmocka_unit_test(marked_hint_stays_for_a_section_begun_during_the_commit),
        cmocka_unit_test(leaf_that_always_changes_gets_rid_of_marks),
        cmocka_unit_test(sweep_in_small_steps_comes_round),
        cmocka_unit_test(sweep_that_changes_nothing_yet_goes_on),
        cmocka_unit_test(sweep_of_long_values_comes_to_an_end),
        cmocka_unit_test(cursor_goes_on_after_its_place_is_gone),
        cmocka_unit_test(longest_values_are_met_whole),
        cmocka_unit_test(quiet_tree_is_counted_without_asking),
        cmocka_unit_test(estimate_is_near),
        cmocka_unit_test(range_turned_round_is_empty),
    };
    test_seed_print();
    return cmocka_run_group_tests_name("index/ordered", tests, NULL, NULL);
}
