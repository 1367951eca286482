/* tests/unit/tags/algebra_test.c - expressions over tags against a naive evaluation; listing.
 *
 * Aim     A walk gives every slot for which the expression is true at the reader's moment, in order
 *         and once; what it calls certain is true, what it leaves out is false; at rest all is
 *         certain; counts are exact; both ways of walking agree. Tags are listed by prefix, in
 *         order, page by page.
 * Method  Random trees over a few tags, large and small, while commits go on between the calls.
 * Blind   To races: there is one thread.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/tags/stand.h"

/* ---- random trees ---- */

enum { NODE_MAX = 64 };

typedef struct tree {
    mrl_tags_expr nodes[NODE_MAX];
    uint32_t tags[NODE_MAX]; /* of the nodes that are one */
    uint32_t count;
} tree;

static void grow(stand *s, tree *t, mrl_tags_expr *node, uint32_t depth) {
    uint32_t what = stand_below(s, depth == 0 ? 12 : 8);
    node->tag = NULL;
    node->children = NULL;
    node->child_count = 0;
    if (what < 3 || depth == 4 || t->count + 4 > NODE_MAX) {
        uint32_t tag = stand_below(s, STAND_TAGS);
        node->op = MRL_TAGS_TAG;
        node->tag = stand_tag(s, tag);
        t->tags[node - t->nodes] = tag;
        return;
    }
    node->op = what % 3 == 0 ? MRL_TAGS_ALL : what % 3 == 1 ? MRL_TAGS_ANY : MRL_TAGS_NONE;
    node->child_count = stand_below(s, 4);
    mrl_tags_expr *children = &t->nodes[t->count];
    node->children = children;
    t->count += node->child_count;
    for (uint32_t i = 0; i < node->child_count; i++) grow(s, t, &children[i], depth + 1);
}

static int holds(const tree *t, const mrl_tags_expr *node, uint8_t mask) {
    int all = 1, any = 0;
    if (node->op == MRL_TAGS_TAG) return mask >> t->tags[node - t->nodes] & 1;
    for (uint32_t i = 0; i < node->child_count; i++) {
        int one = holds(t, &node->children[i], mask);
        all &= one;
        any |= one;
    }
    return node->op == MRL_TAGS_ALL ? all : node->op == MRL_TAGS_ANY ? any : !any;
}

/* ---- one walk ---- */

/* Slots between those of documents belong to nobody: they have no tags, and are found by
 * none(...). */
static int truth(const stand *s, const stand_reader *r, const tree *t, uint32_t slot) {
    uint8_t mask = slot % s->stride == 0 ? r->masks[slot / s->stride] : 0;
    return holds(t, &t->nodes[0], mask);
}

static uint32_t verify_walk(stand *s, stand_reader *r, const tree *t, uint32_t from, int way) {
    uint32_t slots[600], rechecks = 0, next = from, bound = stand_bound(s);
    uint8_t recheck[600];
    mrl_walk walk;
    size_t n;
    assert_int_equal(mrl_walk_begin(&walk, &t->nodes[0], bound, r->section_epoch, from), MERLE_OK);
    if (way == MRL_WALK_WINDOWS) walk.way = MRL_WALK_WINDOWS;
    while ((n = mrl_walk_next(&walk, slots, recheck, 1 + stand_below(s, 600))) > 0) {
        for (size_t i = 0; i < n; i++) {
            assert_true(slots[i] >= next && slots[i] < bound);
            for (; next < slots[i]; next++) assert_false(truth(s, r, t, next));
            if (!recheck[i]) assert_true(truth(s, r, t, slots[i]));
            rechecks += recheck[i];
            next++;
        }
    }
    for (; next < bound; next++) assert_false(truth(s, r, t, next));
    return rechecks;
}

typedef struct seeing {
    const stand *s;
    const stand_reader *r;
    const tree *t;
} seeing;

static uint64_t visible(void *context, const uint32_t *slots, size_t count) {
    const seeing *see = context;
    uint64_t seen = 0;
    for (size_t i = 0; i < count; i++) seen += (uint64_t)truth(see->s, see->r, see->t, slots[i]);
    return seen;
}

static uint32_t verify_tree(stand *s, stand_reader *r) {
    tree t = {.count = 1};
    seeing see = {s, r, &t};
    uint64_t expected = 0, count;
    uint32_t bound = stand_bound(s), rechecks;
    grow(s, &t, &t.nodes[0], 0);
    for (uint32_t slot = 0; slot < bound; slot++) expected += (uint64_t)truth(s, r, &t, slot);
    assert_int_equal(mrl_tags_count(&t.nodes[0], bound, r->section_epoch, visible, &see, &count),
                     MERLE_OK);
    assert_int_equal(count, expected);
    assert_true(mrl_tags_estimate(&t.nodes[0], bound) <= bound);
    rechecks = verify_walk(s, r, &t, 0, 0);
    (void)verify_walk(s, r, &t, stand_below(s, bound), 0);
    (void)verify_walk(s, r, &t, stand_below(s, 2) * 5000, MRL_WALK_WINDOWS);
    return rechecks;
}

static void random_trees(uint32_t count, uint32_t stride, uint64_t seed) {
    static const uint32_t wanted[STAND_TAGS] = {90, 40, 10, 3, 1, 0};
    stand s;
    stand_begin(&s, count, stride, seed);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t tag = 0; tag < STAND_TAGS; tag++)
            if (stand_below(&s, 100) < wanted[tag]) (void)stand_commit(&s, i, tag, 0);
    for (uint64_t round = 0; round < test_amount(60); round++) {
        for (uint32_t i = 0; i < 100; i++) {
            (void)stand_commit(&s, stand_below(&s, count), stand_below(&s, STAND_TAGS),
                               stand_below(&s, 8) == 0);
            stand_idle(&s);
        }
        for (int i = 0; i < STAND_READERS; i++)
            if (s.readers[i].is_open) (void)verify_tree(&s, &s.readers[i]);
        if (round % 3 != 0) continue;
        stand_end_readers(&s);
        stand_drain(&s);
        stand_read_begin(&s, &s.readers[0]);
        assert_int_equal(verify_tree(&s, &s.readers[0]), 0);
    }
    stand_end_readers(&s);
    stand_end(&s);
}

static void expression_of_neighbours_is_as_naive(void **state) {
    (void)state;
    random_trees(15000, 1, test_seed());
}
static void expression_scattered_is_as_naive(void **state) {
    (void)state;
    random_trees(2500, 23, test_seed() + 1);
}

/* ---- shapes ---- */

static void expression_bad_is_refused(void **state) {
    mrl_tags_expr nodes[MRL_TAGS_DEPTH_MAX + 1] = {{MRL_TAGS_ALL, NULL, NULL, 0}};
    mrl_walk walk;
    uint32_t slot;
    (void)state;
    for (int i = 0; i < MRL_TAGS_DEPTH_MAX; i++)
        nodes[i] = (mrl_tags_expr){MRL_TAGS_ALL, NULL, &nodes[i + 1], 1};
    nodes[MRL_TAGS_DEPTH_MAX].op = MRL_TAGS_TAG;
    assert_int_equal(mrl_walk_begin(&walk, nodes, 10, 0, 0), MERLE_TOO_BIG);
    assert_int_equal(mrl_walk_next(&walk, &slot, NULL, 1), 0);
    nodes[3].op = (mrl_tags_op)9;
    assert_int_equal(mrl_walk_begin(&walk, nodes, 10, 0, 0), MERLE_INVALID);
    assert_int_equal(mrl_walk_next(&walk, &slot, NULL, 1), 0);
    nodes[3] = (mrl_tags_expr){MRL_TAGS_ALL, NULL, NULL, 0};
    assert_int_equal(mrl_walk_begin(&walk, nodes, 10, 0, 0), MERLE_OK);
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(mrl_walk_next(&walk, &slot, NULL, 1), 1);
        assert_int_equal(slot, i);
    }
    assert_int_equal(mrl_walk_next(&walk, &slot, NULL, 1), 0);
}

static void slots_at_the_upper_end_are_found(void **state) {
    stand s;
    uint32_t slots[4], wanted[2] = {MRL_TAGS_END - 4097, MRL_TAGS_END - 2};
    mrl_tags_expr all[2] = {{MRL_TAGS_TAG, NULL, NULL, 0}, {MRL_TAGS_NONE, NULL, NULL, 0}};
    mrl_tags_expr expr = {MRL_TAGS_ALL, NULL, all, 2};
    mrl_walk walk;
    int added;
    (void)state;
    stand_begin(&s, 1, 1, 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(mrl_tags_add(s.tags, s.member, stand_name(0), wanted[i], &added),
                         MERLE_OK);
    all[0].tag = stand_tag(&s, 0);
    for (int way = MRL_WALK_WINDOWS; way <= MRL_WALK_LIST; way++) {
        assert_int_equal(mrl_walk_begin(&walk, &expr, MRL_TAGS_END - 1, 0, 0), MERLE_OK);
        walk.way = (mrl_walk_way)way;
        assert_int_equal(mrl_walk_next(&walk, slots, NULL, 4), 2);
        assert_int_equal(slots[0], wanted[0]);
        assert_int_equal(slots[1], wanted[1]);
        assert_int_equal(mrl_walk_next(&walk, slots, NULL, 4), 0);
    }
    stand_sound(&s);
    stand_end(&s);
}

/* ---- listing ---- */

enum { NAME_COUNT = 10000, PAGE = 37 };

static merle_bytes name_of(char out[16], uint32_t number) {
    return merle_bytes_of(out, (size_t)snprintf(out, 16, "%c%u", "abc"[number % 3], number));
}

static int compare_names(const void *left, const void *right) {
    return strcmp(left, right);
}

/* All names that begin with prefix, page by page, against the sorted ones. */
static void verify_list(stand *s, char (*names)[16], uint32_t count, const char *prefix) {
    mrl_tags_listed page[PAGE];
    merle_bytes after = {NULL, 0};
    uint32_t at = 0;
    size_t n;
    while (at < count && strncmp(names[at], prefix, strlen(prefix)) < 0) at++;
    do {
        n = mrl_tags_list(s->tags, merle_str(prefix), after, page, PAGE);
        for (size_t i = 0; i < n; i++, at++) {
            assert_true(at < count);
            assert_int_equal(page[i].name.size, strlen(names[at]));
            assert_memory_equal(page[i].name.data, names[at], page[i].name.size);
            assert_int_equal(page[i].estimate, 1);
        }
        if (n > 0) after = page[n - 1].name;
    } while (n == PAGE);
    assert_true(at == count || strncmp(names[at], prefix, strlen(prefix)) != 0);
}

static void tags_are_listed_by_prefix_in_order(void **state) {
    static char names[NAME_COUNT][16];
    static const char *const prefixes[] = {"", "a", "b1", "b12", "b123", "c99", "d", "a9999"};
    stand s;
    char name[16];
    int added;
    mrl_epoch_token token;
    uint32_t kept = 0;
    (void)state;
    stand_begin(&s, 1, 1, test_seed());
    for (uint32_t i = 0; i < NAME_COUNT; i++) {
        mrl_member_enter(s.member, &token);
        assert_int_equal(mrl_tags_add(s.tags, s.member, name_of(name, i), i, &added), MERLE_OK);
        (void)name_of(names[i], i);
        mrl_member_leave(s.member, &token);
    }
    qsort(names, NAME_COUNT, sizeof names[0], compare_names);
    for (uint32_t i = 0; i < 8; i++) verify_list(&s, names, NAME_COUNT, prefixes[i]);
    for (uint32_t i = 0; i < NAME_COUNT; i++) {
        merle_bytes of_name = merle_str(names[i]);
        uint32_t slot = (uint32_t)strtoul(names[i] + 1, NULL, 10);
        mrl_member_enter(s.member, &token);
        if (i % 7 != 0)
            mrl_tag_mark(s.tags, s.member, mrl_tags_warn(s.tags, s.member, of_name, slot), slot);
        else
            memmove(names[kept++], names[i], sizeof names[i]);
        mrl_member_leave(s.member, &token);
        if (i % 100 == 0) stand_drain(&s);
        mrl_member_enter(s.member, &token);
        (void)mrl_tags_sweep(s.tags, s.member, 4);
        mrl_member_leave(s.member, &token);
    }
    stand_drain(&s);
    mrl_member_enter(s.member, &token);
    (void)mrl_tags_sweep(s.tags, s.member, SIZE_MAX);
    mrl_member_leave(s.member, &token);
    assert_int_equal(s.tags->tag_count, kept);
    for (uint32_t i = 0; i < 8; i++) verify_list(&s, names, kept, prefixes[i]);
    stand_sound(&s);
    stand_end(&s);
}

static void name_too_long_is_refused(void **state) {
    static char name[MERLE_VALUE_SIZE_MAX + 1];
    stand s;
    int added;
    (void)state;
    stand_begin(&s, 1, 1, 1);
    assert_int_equal(mrl_tags_add(s.tags, s.member, merle_bytes_of(name, sizeof name), 1, &added),
                     MERLE_TOO_BIG);
    assert_int_equal(mrl_tags_add(s.tags, s.member, merle_bytes_of(name, 0), 1, &added),
                     MERLE_TOO_BIG);
    assert_int_equal(
        mrl_tags_add(s.tags, s.member, merle_bytes_of(name, sizeof name - 1), 1, &added), MERLE_OK);
    assert_non_null(mrl_tags_find(s.tags, merle_bytes_of(name, sizeof name - 1)));
    stand_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expression_of_neighbours_is_as_naive),
        cmocka_unit_test(expression_scattered_is_as_naive),
        cmocka_unit_test(expression_bad_is_refused),
        cmocka_unit_test(slots_at_the_upper_end_are_found),
        cmocka_unit_test(tags_are_listed_by_prefix_in_order),
        cmocka_unit_test(name_too_long_is_refused),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
