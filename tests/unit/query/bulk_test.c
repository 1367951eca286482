/* tests/unit/query/bulk_test.c - patching and removing all that a query gives.
 *
 * Aim     Commits are bounded; what a patch does to a document's place does not bring it back; a
 *         document that refuses ends it with its key in the report and what was done told; offset
 *         and limit cut at one instant; what others change meanwhile is read again.
 * Method  A thousand players, each case by hand.
 * Blind   Threads, and what meets the condition no more when its turn comes: model/query_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "players.h"

static int64_t sum_now(const stand *s, const char *path) {
    merle_summary summary = {0};
    merle_section section;
    const merle_query query = {0};
    must(s, merle_section_begin(s->db, &section));
    must(s, merle_query_summarize(&section, s->players, &query, path, &summary));
    must(s, merle_section_end(&section));
    return summary.sum.number.i;
}

static merle_err update(const stand *s, const char *where, merle_query query, const merle_op *ops,
                        size_t op_count, uint32_t commit_max, merle_bulk *out_bulk) {
    merle_condition *condition = condition_of(where);
    query.where = condition;
    merle_err err = merle_update_where(s->players, &query, ops, op_count, commit_max, out_bulk);
    merle_condition_destroy(condition);
    return err;
}

static void update_goes_in_bounded_commits(void **state) {
    const merle_op op = MERLE_INC("visits", 1);
    stand s;
    merle_bulk bulk = {.size = sizeof bulk};
    (void)state;
    players_open(&s);
    uint64_t commits = stats_of(&s).commits;
    must(&s, update(&s, "tags: odd", (merle_query){0}, &op, 1, 100, &bulk));
    assert_int_equal(bulk.matched, 500);
    assert_int_equal(bulk.changed, 500);
    assert_int_equal(bulk.skipped, 0);
    assert_int_equal(bulk.commits, 5);
    assert_int_equal(stats_of(&s).commits - commits, 5);
    assert_int_equal(bulk.last_seq, stats_of(&s).seq);
    assert_int_equal(sum_now(&s, "visits"), 500);
    must(&s, update(&s, NULL, (merle_query){0}, &op, 1, 0, NULL));
    assert_int_equal(stats_of(&s).commits - commits, 9);
    assert_int_equal(sum_now(&s, "visits"), 1500);
    must(&s, update(&s, "tags: nobody", (merle_query){0}, &op, 1, 0, &bulk));
    assert_int_equal(bulk.matched, 0);
    assert_int_equal(bulk.commits, 0);
    assert_int_equal(bulk.last_seq, 0);
    writing_close(&s);
}

/* Each goes up along the index that drives, to where the update has not been yet. */
static void document_that_moves_ahead_is_not_met_again(void **state) {
    const merle_op op = MERLE_INC("level", 10);
    stand s;
    merle_bulk bulk = {0};
    (void)state;
    players_open(&s);
    int64_t before = sum_now(&s, "level");
    for (uint64_t i = 0; i < 6; i++) {
        const merle_query query = {
            .memory_max = i / 2 * 200, .index = "level", .order = i % 2 == 0 ? NULL : "level"};
        must(&s, update(&s, "level >= 0", query, &op, 1, 7, &bulk));
        assert_int_equal(bulk.changed, 1000);
        before += 10000;
        assert_int_equal(sum_now(&s, "level"), before);
    }
    writing_close(&s);
}

static void limit_cuts_at_one_instant(void **state) {
    const merle_op op = MERLE_SET_BOOL("first", 1);
    stand s;
    merle_bulk bulk = {0};
    merle_section section;
    uint64_t count;
    (void)state;
    players_open(&s);
    merle_condition *first = condition_of("first and score >= 980 and score < 990");
    const merle_query query = {.where = first};
    must(&s, update(&s, NULL, (merle_query){.order = "-score", .offset = 10, .limit = 10}, &op, 1,
                    3, &bulk));
    assert_int_equal(bulk.matched, 10);
    assert_int_equal(bulk.commits, 4);
    must(&s, merle_section_begin(s.db, &section));
    must(&s, merle_query_count(&section, s.players, &query, &count));
    assert_int_equal(count, 10);
    must(&s, merle_section_end(&section));
    /* Keys that must be noted at once, and cannot be. */
    const merle_query large = {.limit = 500, .memory_max = 300};
    assert_int_equal(update(&s, NULL, large, &op, 1, 3, &bulk), MERLE_TOO_BIG);
    assert_int_equal(bulk.changed, 0);
    merle_condition_destroy(first);
    writing_close(&s);
}

static void document_that_refuses_ends_the_update(void **state) {
    const merle_op op = MERLE_INC("rating", 1);
    stand s;
    merle_bulk bulk = {0};
    (void)state;
    players_open(&s);
    must(&s, merle_one_patch(s.players, KEY("p505"), NULL, NULL, MERLE_SET_STR("rating", "high")));
    int64_t before = sum_now(&s, "rating");
    assert_int_equal(update(&s, NULL, (merle_query){0}, &op, 1, 10, &bulk), MERLE_TYPE);
    assert_told(&s, MERLE_TYPE, s.report.operation, "p505", "");
    /* What was done before stays, and is told. */
    assert_true(bulk.changed > 0 && bulk.changed < 1000);
    assert_int_equal(bulk.changed % 10, 0);
    assert_int_equal(bulk.commits, bulk.changed / 10);
    assert_int_equal(sum_now(&s, "rating") - before, (int64_t)bulk.changed);
    const merle_op wrong = MERLE_SET_INT("a..b", 1);
    assert_int_equal(update(&s, NULL, (merle_query){0}, &wrong, 1, 10, &bulk), MERLE_INVALID);
    assert_int_equal(update(&s, NULL, (merle_query){0}, NULL, 0, 10, &bulk), MERLE_INVALID);
    assert_int_equal(update(&s, NULL, (merle_query){.order = ",", .limit = 1}, &op, 1, 10, &bulk),
                     MERLE_INVALID);
    assert_int_equal(merle_update_where(s.players, NULL, &op, 1, 0, NULL), MERLE_INVALID);
    assert_int_equal(merle_remove_where(NULL, NULL, 0, NULL), MERLE_INVALID);
    writing_close(&s);
}

static void unique_value_that_is_taken_ends_the_update(void **state) {
    const merle_op op = MERLE_SET_STR("email", "the one");
    stand s;
    merle_bulk bulk = {0};
    (void)state;
    players_open(&s);
    assert_int_equal(update(&s, "level = 5", (merle_query){0}, &op, 1, 1, &bulk), MERLE_EXISTS);
    assert_int_equal(bulk.changed, 1);
    assert_string_equal(s.report.index, "email");
    assert_holder_now(&s, "email", EMAIL("the one"), "p005");
    writing_close(&s);
}

static void remove_removes_what_meets_the_condition(void **state) {
    stand s;
    merle_bulk bulk = {0};
    merle_condition *condition = condition_of("tags: m7 or level = 3");
    const merle_query query = {.where = condition};
    (void)state;
    players_open(&s);
    must(&s, merle_remove_where(s.players, &query, 8, &bulk));
    assert_int_equal(bulk.changed, 30);
    assert_int_equal(bulk.commits, 4);
    assert_int_equal(count_now(&s), 970);
    must(&s, merle_remove_where(s.players, &query, 8, &bulk));
    assert_int_equal(bulk.matched, 0);
    merle_condition_destroy(condition);
    writing_close(&s);
}

/* ---- inside a commit ---- */

static void update_in_a_commit_is_one_instant_with_its_own_writes(void **state) {
    const merle_op op = MERLE_INC("level", 1);
    stand s;
    uint64_t count = 7;
    merle_condition *condition = condition_of("level = 5 or level = 6");
    const merle_query query = {.where = condition};
    (void)state;
    players_open(&s);
    merle_commit *commit = begin(&s);
    put_in(&s, commit, "new", "{\"level\":5}");
    must(&s, merle_remove(commit, s.players, KEY("p005")));
    must(&s, merle_commit_update_where(commit, s.players, &query, &op, 1, &count));
    assert_int_equal(count, 20);
    /* Those that had 5 have 6 now. */
    must(&s, merle_commit_update_where(commit, s.players, &query, &op, 1, &count));
    assert_int_equal(count, 10);
    must(&s, merle_commit_remove_where(commit, s.players, &query, &count));
    assert_int_equal(count, 0);
    (void)end(&s, commit);
    assert_there(&s, "new", "{\"level\":7}");
    assert_there(&s, "p005", NULL);
    assert_int_equal(merle_commit_remove_where(NULL, s.players, &query, &count), MERLE_INVALID);
    merle_condition_destroy(condition);
    writing_close(&s);
}

static void update_in_a_commit_conflicts_with_who_changed_its_documents(void **state) {
    const merle_op op = MERLE_INC("visits", 1);
    stand s;
    merle_condition *condition = condition_of("level = 5");
    const merle_query query = {.where = condition};
    (void)state;
    players_open(&s);
    merle_commit *commit = begin(&s);
    must(&s, merle_commit_update_where(commit, s.players, &query, &op, 1, NULL));
    must(&s, merle_one_patch(s.players, KEY("p205"), NULL, NULL, MERLE_SET_INT("level", 6)));
    end_refused(&s, commit, MERLE_CONFLICT);
    /* What nobody touches does not matter. */
    commit = begin(&s);
    must(&s, merle_commit_remove_where(commit, s.players, &query, NULL));
    must(&s, merle_one_patch(s.players, KEY("p206"), NULL, NULL, MERLE_SET_INT("level", 5)));
    (void)end(&s, commit);
    assert_int_equal(count_now(&s), 991);
    merle_condition_destroy(condition);
    writing_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(update_goes_in_bounded_commits),
        cmocka_unit_test(document_that_moves_ahead_is_not_met_again),
        cmocka_unit_test(limit_cuts_at_one_instant),
        cmocka_unit_test(document_that_refuses_ends_the_update),
        cmocka_unit_test(unique_value_that_is_taken_ends_the_update),
        cmocka_unit_test(remove_removes_what_meets_the_condition),
        cmocka_unit_test(update_in_a_commit_is_one_instant_with_its_own_writes),
        cmocka_unit_test(update_in_a_commit_conflicts_with_who_changed_its_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
