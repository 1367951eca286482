/* tests/unit/index/ordered_build_test.c - a tree made at once from all its hints.
 *
 * Aim     Whatever the number of hints and the kind of their values, the tree that is built has
 *         exactly these, in nodes that are nearly full, and can be changed as any other one.
 *         Without memory it stays empty, and nothing is lost.
 * Method  Universes of ordered_stand.h, as many hints of them as make a level full, one less and
 *         one more; walks compared with the twin, mrl_ordered_check, the number of leaves. Then
 *         random adds and marks. Each allocation in turn is refused.
 * Blind   Speed: bench phase reopen. Trees of more than three levels.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "ordered_stand.h"

enum { LEAF_FILL = 57, CHILDREN = 58 };

typedef struct building {
    const stand *s;
    uint32_t next, end;
} building;

static int build_next(void *context, merle_bytes *out_value, uint32_t *out_slot) {
    building *b = context;
    if (b->next == b->end) return 0;
    *out_value = hint_value(&b->s->hints[b->next]);
    *out_slot = b->s->hints[b->next++].slot;
    return 1;
}

/* Builds the first `count` hints of the universe. */
static merle_err build_first(stand *s, uint32_t count) {
    building b = {s, 0, count};
    mrl_epoch_token token;
    assert_true(count <= s->hint_count);
    mrl_member_enter(s->member, &token);
    merle_err err = mrl_ordered_build(s->tree, s->member, build_next, &b);
    mrl_member_leave(s->member, &token);
    if (err == MERLE_OK) memset(s->live, 1, count);
    return err;
}

static mrl_ordered_stats stats_of(const stand *s) {
    mrl_ordered_stats stats;
    mrl_ordered_stat(s->tree, &stats);
    return stats;
}

/* All hints that the twin has, and no other ones. */
static void holds_exactly_the_twin(stand *s, int is_descending) {
    uint8_t position[MERLE_VALUE_SIZE_MAX];
    const mrl_ordered_range all = {{NULL, 0}, {NULL, 0}, MRL_BOUND_NONE, MRL_BOUND_NONE};
    mrl_ordered_cursor cursor;
    mrl_ordered_hit hit;
    mrl_epoch_token token;
    mrl_member_enter(s->member, &token);
    mrl_ordered_cursor_init(&cursor, s->tree, &all, is_descending, position);
    for (uint32_t n = 0; n < s->hint_count; n++) {
        uint32_t i = is_descending ? s->hint_count - 1 - n : n;
        if (!s->live[i]) continue;
        do assert_int_equal(mrl_ordered_next(&cursor, &hit, 1), 1);
        while (s->garbage[hit_find(s, &hit)]);
        assert_int_equal(hit_find(s, &hit), i);
    }
    while (mrl_ordered_next(&cursor, &hit, 1) != 0) assert_true(s->garbage[hit_find(s, &hit)]);
    mrl_member_leave(s->member, &token);
}

static void built_of_size(value_kind kind, uint32_t count) {
    stand s;
    stand_begin(&s, kind, count * 2 + 200, 3 + count);
    if (s.hint_count < count) count = s.hint_count;
    assert_int_equal(build_first(&s, count), MERLE_OK);
    stand_check(&s);
    holds_exactly_the_twin(&s, 0);
    holds_exactly_the_twin(&s, 1);
    mrl_ordered_stats stats = stats_of(&s);
    assert_int_equal(stats.entries, count);
    assert_int_equal(stats.leaves, count == 0 ? 1 : (count + LEAF_FILL - 1) / LEAF_FILL);
    uint64_t depth = 1;
    for (uint64_t nodes = stats.leaves; nodes > 1; nodes = (nodes + CHILDREN - 1) / CHILDREN)
        depth++;
    assert_int_equal(stats.depth, depth);
    stand_end(&s);
}

static void tree_of_every_size_has_what_was_given(void **state) {
    const uint32_t borders[] = {LEAF_FILL, 2 * LEAF_FILL, LEAF_FILL * CHILDREN,
                                LEAF_FILL * (CHILDREN + 1), LEAF_FILL * CHILDREN * 2};
    (void)state;
    for (value_kind kind = NUMBERS; kind < KIND_COUNT; kind++) {
        for (uint32_t count = 0; count < 4; count++) built_of_size(kind, count);
        for (size_t i = 0; i < sizeof borders / sizeof borders[0]; i++)
            for (uint32_t count = borders[i] - 1; count <= borders[i] + 1; count++)
                built_of_size(kind, count);
    }
    built_of_size(DENSE, LEAF_FILL * CHILDREN * CHILDREN + 1);
}

static void built_tree_costs_little(void **state) {
    stand s;
    (void)state;
    stand_begin(&s, NUMBERS, 50000, 1);
    assert_int_equal(build_first(&s, s.hint_count), MERLE_OK);
    double bytes = (double)mrl_domain_bytes(s.domain, MRL_FOR_TABLES) / (double)s.hint_count;
    assert_true(bytes <= 14.5);
    stand_end(&s);
}

static void built_tree_is_changed_as_any_other(void **state) {
    const uint64_t seed = test_seed() + 1;
    (void)state;
    for (value_kind kind = NUMBERS; kind < KIND_COUNT; kind++) {
        stand s;
        stand_begin(&s, kind, 8000, seed);
        assert_int_equal(build_first(&s, s.hint_count * 3 / 4), MERLE_OK);
        for (uint32_t i = 0; i < 20000; i++) {
            uint32_t at = (uint32_t)mrl_random_below(&s.random, s.hint_count);
            if (s.live[at])
                stand_mark(&s, at);
            else
                assert_int_equal(stand_add(&s, at), MERLE_OK);
            if (i % 4000 != 0) continue;
            stand_check(&s);
            holds_exactly_the_twin(&s, (int)(i / 4000 % 2));
        }
        stand_pass(&s);
        while (stand_sweep(&s, SIZE_MAX) != 0) stand_pass(&s);
        memset(s.garbage, 0, s.hint_count);
        stand_check(&s);
        holds_exactly_the_twin(&s, 0);
        stand_end(&s);
    }
}

static void build_without_memory_leaves_the_tree_empty(void **state) {
    (void)state;
    for (value_kind kind = NUMBERS; kind < KIND_COUNT; kind++) {
        stand s;
        stand_begin(&s, kind, LEAF_FILL * 70, 7);
        uint64_t tables = mrl_domain_bytes(s.domain, MRL_FOR_TABLES), refused_count = 0;
        for (s.refuse_at = 1;; s.refuse_at++) {
            s.asked_count = 0;
            merle_err err = build_first(&s, s.hint_count);
            if (err == MERLE_OK) break;
            refused_count++;
            assert_int_equal(err, MERLE_NO_MEMORY);
            stand_check(&s);
            holds_exactly_the_twin(&s, 0);
            assert_int_equal(mrl_domain_bytes(s.domain, MRL_FOR_TABLES), tables);
            assert_int_equal(mrl_domain_bytes(s.domain, MRL_FOR_OTHER), 0);
        }
        s.refuse_at = 0;
        assert_true(refused_count > 40);
        holds_exactly_the_twin(&s, 0);
        assert_int_equal(mrl_domain_bytes(s.domain, MRL_FOR_OTHER), 0);
        stand_end(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tree_of_every_size_has_what_was_given),
        cmocka_unit_test(built_tree_costs_little),
        cmocka_unit_test(built_tree_is_changed_as_any_other),
        cmocka_unit_test(build_without_memory_leaves_the_tree_empty),
    };
    test_seed_print();
    return cmocka_run_group_tests_name("index/ordered_build", tests, NULL, NULL);
}
