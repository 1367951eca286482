/* tests/unit/query/kinds_test.c - which of the more than plain indexes drive a query, and for what.
 *
 * Aim     An index that lists what is missing has all documents, and gives an order where it lists
 *         them as a query does; what is unique and ordered does both; a key behind the fields is
 *         passed over; by a function, and on each element of what may be missing, no query is
 *         driven.
 * Method  A thousand players; what merle_rows_explain says, and answers counted by hand.
 * Blind   Whether answers are right under random conditions: model/query_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "players.h"

#include "base/buffer.h"

static merle_err level_of(void *context, merle_bytes key, merle_doc doc, merle_value *out_values,
                          size_t value_max, size_t *out_count) {
    (void)context;
    (void)key;
    (void)value_max;
    out_values[0] = merle_value_int(merle_doc_int(doc, "level", 0));
    *out_count = 1;
    return MERLE_OK;
}

static const merle_index indexes[] = {
    {"rated", MERLE_ORDERED, "rating", MERLE_MISSING_FIRST},
    {"rated last", MERLE_ORDERED, "guild, rating", MERLE_MISSING_LAST},
    {"place", MERLE_UNIQUE_ORDERED, "pos.x, score"},
    {"stable", MERLE_ORDERED, "score, key()"},
    {"each", MERLE_ORDERED, "tags[*]"},
    {"made", MERLE_ORDERED, "level", .extract = level_of},
    {0}};

static void open_kinds(stand *s) {
    const merle_schema schema = {.version = 1, .indexes = indexes};
    merle_builder *b;
    writing_open(s, &schema, (merle_options){0}, NULL);
    must(s, merle_builder_create(&b));
    merle_commit *commit = begin(s);
    for (int i = 0; i < PLAYER_COUNT; i++) put_player(s, commit, b, i);
    (void)end(s, commit);
    merle_builder_destroy(b);
    stand_settle(s);
}

static void missing_ones_first_give_the_order(void **state) {
    stand s;
    answer a;
    (void)state;
    open_kinds(&s);
    ask(&s, NULL, (merle_query){.order = "rating", .limit = 300}, &a);
    assert_driven(&a, "ranges", "rated");
    assert_int_equal(told(&a, "sorted"), 0);
    for (size_t i = 0; i < 250; i++) assert_false(merle_doc_has(a.docs[i], "rating"));
    assert_int_equal(merle_doc_int(a.docs[250], "rating", 9), 0);
    answer_end(&s, &a);
    ask(&s, NULL, (merle_query){.order = "-rating", .limit = 800}, &a);
    assert_driven(&a, "ranges", "rated");
    assert_int_equal(merle_doc_int(a.docs[0], "rating", 9), 6);
    assert_false(merle_doc_has(a.docs[799], "rating"));
    answer_end(&s, &a);
    writing_close(&s);
}

static void missing_ones_last_are_all_there_in_another_order(void **state) {
    stand s;
    answer a;
    (void)state;
    open_kinds(&s);
    ask(&s, "guild = 'g2'", (merle_query){0}, &a);
    assert_driven(&a, "ranges", "rated last");
    assert_int_equal(a.count, 100);
    answer_end(&s, &a);
    ask(&s, "guild = 'g2' and rating < 9", (merle_query){0}, &a);
    assert_int_equal(a.count, 50);
    assert_int_equal(told(&a, "hits"), 50);
    answer_end(&s, &a);
    ask(&s, "guild = 'g2'", (merle_query){.order = "rating", .limit = 60}, &a);
    assert_int_not_equal(told(&a, "sorted"), 0);
    for (size_t i = 0; i < 50; i++) assert_false(merle_doc_has(a.docs[i], "rating"));
    assert_true(merle_doc_has(a.docs[50], "rating"));
    answer_end(&s, &a);
    /* Where none is missing the order is the index's. */
    ask(&s, "guild = 'g2' and rating >= 0", (merle_query){.order = "rating", .limit = 5}, &a);
    assert_driven(&a, "ranges", "rated last");
    assert_int_equal(told(&a, "sorted"), 0);
    answer_end(&s, &a);
    writing_close(&s);
}

static void unique_and_ordered_drives_as_both(void **state) {
    stand s;
    answer a;
    (void)state;
    open_kinds(&s);
    ask(&s, "pos.x = 7 and score = 7", (merle_query){0}, &a);
    assert_driven(&a, "unique", "place");
    assert_int_equal(a.count, 1);
    answer_end(&s, &a);
    ask(&s, "pos.x >= 7 and pos.x < 12 and score > 8", (merle_query){.index = "place"}, &a);
    assert_driven(&a, "ranges", "place");
    assert_int_equal(a.count, 3);
    assert_int_equal(told(&a, "hits"), 5);
    answer_end(&s, &a);
    writing_close(&s);
}

static void key_behind_a_field_is_passed_over(void **state) {
    stand s;
    answer a;
    (void)state;
    open_kinds(&s);
    ask(&s, "score >= 100 and score < 103", (merle_query){.order = "score"}, &a);
    assert_driven(&a, "ranges", "stable");
    assert_int_equal(a.count, 3);
    assert_int_equal(told(&a, "hits"), 3);
    assert_int_equal(told(&a, "sorted"), 0);
    answer_end(&s, &a);
    ask(&s, "score = 100", (merle_query){0}, &a);
    assert_int_equal(told(&a, "hits"), 1);
    answer_end(&s, &a);
    /* The key is bound by nothing, whatever else is. */
    ask(&s, "score = 101 and rating >= 0", (merle_query){.index = "stable"}, &a);
    assert_int_equal(a.count, 1);
    answer_end(&s, &a);
    writing_close(&s);
}

static void elements_unbound_and_functions_drive_nothing(void **state) {
    static const char *const names[] = {"each", "made"};
    stand s;
    answer a;
    merle_rows *rows;
    (void)state;
    open_kinds(&s);
    ask(&s, "level = 7", (merle_query){0}, &a);
    assert_driven(&a, "walk", NULL);
    assert_int_equal(a.count, 10);
    answer_end(&s, &a);
    ask(&s, "tags = 'even'", (merle_query){0}, &a);
    assert_driven(&a, "walk", NULL);
    assert_int_equal(a.count, 0);
    answer_end(&s, &a);
    for (size_t i = 0; i < 2; i++) {
        merle_section section;
        merle_query query = {.index = names[i]};
        must(&s, merle_section_begin(s.db, &section));
        assert_int_equal(merle_query_open(&section, s.players, &query, &rows), MERLE_INVALID);
        assert_null(rows);
        must(&s, merle_section_end(&section));
    }
    writing_close(&s);
}

static void order_and_fields_are_single_values(void **state) {
    static const char *const wrong[] = {"tags[*]", "level, tags[*].x", "key()", "level, -key()"};
    stand s;
    merle_rows *rows;
    (void)state;
    open_kinds(&s);
    for (size_t i = 0; i < 6; i++) {
        merle_section section;
        /* An order may be on the key. */
        merle_query query = {.order = i < 2 ? wrong[i] : NULL,
                             .fields = i < 2 ? NULL : wrong[i - 2]};
        must(&s, merle_section_begin(s.db, &section));
        memset(&s.report, 0, sizeof s.report);
        assert_int_equal(merle_query_open(&section, s.players, &query, &rows), MERLE_INVALID);
        assert_null(rows);
        assert_int_equal(s.report.err, MERLE_INVALID);
        must(&s, merle_section_end(&section));
    }
    writing_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_ones_first_give_the_order),
        cmocka_unit_test(missing_ones_last_are_all_there_in_another_order),
        cmocka_unit_test(unique_and_ordered_drives_as_both),
        cmocka_unit_test(key_behind_a_field_is_passed_over),
        cmocka_unit_test(elements_unbound_and_functions_drive_nothing),
        cmocka_unit_test(order_and_fields_are_single_values),
    };
    return cmocka_run_group_tests_name("query/kinds", tests, NULL, NULL);
}
