/* tests/unit/query/plan_test.c - which drive a query gets, and what it looks at.
 *
 * Aim     Each kind of drive is chosen where it is the cheapest, looks at no more than it must, and
 *         what it answers for is not asked again; an index is not used where it may lack documents.
 * Method  A thousand players; what merle_rows_explain says before and after.
 * Blind   Whether answers are right under random conditions: model/query_test.c. Whether the costs
 *         are those of a given machine.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "players.h"

#include "base/buffer.h"

static void range_drives_and_answers_for_its_terms(void **state) {
    stand s;
    answer a;
    (void)state;
    players_open(&s);
    ask(&s, "level >= 10 and level < 12", (merle_query){0}, &a);
    assert_int_equal(a.count, 20);
    assert_driven(&a, "ranges", "level");
    assert_true(tells(&a, "\"on_versions\": []"));
    assert_int_equal(told(&a, "versions"), 20);
    answer_end(&s, &a);
    /* Bounds that leave nothing between them. */
    ask(&s, "level >= 12 and level < 12", (merle_query){0}, &a);
    assert_int_equal(a.count, 0);
    assert_driven(&a, "nothing", "level");
    answer_end(&s, &a);
    ask(&s, "level in (3, 5, 5.0, 500, 'x') and level != 5", (merle_query){0}, &a);
    assert_int_equal(a.count, 10);
    assert_int_equal(told(&a, "range_count"), 4);
    assert_true(tells(&a, "\"on_versions\": [\n    \"level != 5\"\n  ]"));
    answer_end(&s, &a);
    writing_close(&s);
}

static void compound_index_is_bound_field_by_field(void **state) {
    stand s;
    answer a;
    (void)state;
    players_open(&s);
    ask(&s, "guild = 'g3' and score > 500 and score <= 600", (merle_query){0}, &a);
    assert_int_equal(a.count, 10);
    assert_driven(&a, "ranges", "rank");
    assert_int_equal(told(&a, "hits"), 10);
    answer_end(&s, &a);
    ask(&s, "guild in ('g3', 'g5') and score > 500 and score <= 600", (merle_query){0}, &a);
    assert_int_equal(a.count, 20);
    assert_int_equal(told(&a, "hits"), 20);
    answer_end(&s, &a);
    /* Documents without a score are not in it. */
    ask(&s, "guild = 'g3'", (merle_query){0}, &a);
    assert_int_equal(a.count, 100);
    assert_driven(&a, "walk", NULL);
    answer_end(&s, &a);
    ask(&s, "guild starts with 'g3' and score > 0", (merle_query){0}, &a);
    assert_int_equal(a.count, 100);
    assert_driven(&a, "ranges", "rank");
    assert_int_equal(told(&a, "hits"), 100);
    answer_end(&s, &a);
    writing_close(&s);
}

static void unique_value_drives(void **state) {
    stand s;
    answer a;
    (void)state;
    players_open(&s);
    ask(&s, "email = 'e77' and level > 5", (merle_query){0}, &a);
    assert_int_equal(a.count, 1);
    assert_driven(&a, "unique", "email");
    assert_int_equal(told(&a, "versions"), 1);
    answer_end(&s, &a);
    ask(&s, "email = 'e77' and level > 77", (merle_query){0}, &a);
    assert_int_equal(a.count, 0);
    answer_end(&s, &a);
    writing_close(&s);
}

/* A value that no index can hold stands in a document that lacks the other field. */
static void unique_value_too_long_for_its_index_is_found(void **state) {
    enum { EMAIL_SIZE = MERLE_VALUE_SIZE_MAX + 1 };
    static const merle_index indexes[] = {
        {.name = "pair", .kind = MERLE_UNIQUE, .on = "email, region"}, {0}};
    const merle_schema schema = {.version = 1, .indexes = indexes};
    char email[EMAIL_SIZE + 1], json[EMAIL_SIZE + 32];
    stand s;
    answer a;
    (void)state;
    memset(email, 'e', EMAIL_SIZE);
    email[EMAIL_SIZE] = '\0';
    const merle_value value = merle_value_str(email);
    (void)snprintf(json, sizeof json, "{\"email\":\"%s\"}", email);
    writing_open(&s, &schema, (merle_options){0}, NULL);
    merle_commit *commit = begin(&s);
    must(&s, write_json(commit, s.players, merle_put, "p", json));
    (void)end(&s, commit);
    ask(&s, "email = $email", (merle_query){.values = &value, .value_count = 1}, &a);
    assert_int_equal(a.count, 1);
    answer_end(&s, &a);
    ask(&s, "email = $email and region = 'eu'", (merle_query){.values = &value, .value_count = 1},
        &a);
    assert_int_equal(a.count, 0);
    assert_driven(&a, "nothing", NULL);
    answer_end(&s, &a);
    writing_close(&s);
}

/* Of terms beyond the 64th nothing is noted: they are asked of versions, and said to be. */
static void terms_beyond_the_first_are_told_as_asked_of_versions(void **state) {
    char text[2048];
    stand s;
    answer a;
    (void)state;
    players_open(&s);
    size_t size = (size_t)snprintf(text, sizeof text, "level = 7");
    for (int i = 0; i < 64; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, " and score != %d", i);
    ask(&s, text, (merle_query){0}, &a);
    assert_int_equal(a.count, 9);
    assert_driven(&a, "ranges", "level");
    assert_true(tells(&a, "\"by_drive\": [\n    \"level = 7\"\n  ]"));
    assert_true(tells(&a, "\"score != 63\"\n  ]"));
    answer_end(&s, &a);
    writing_close(&s);
}

static void tags_drive_together(void **state) {
    stand s;
    answer a;
    (void)state;
    players_open(&s);
    ask(&s, "tags: all(m7, odd) and not tags: m8", (merle_query){0}, &a);
    assert_int_equal(a.count, 20);
    assert_driven(&a, "tags", NULL);
    assert_int_equal(told(&a, "versions"), 20);
    answer_end(&s, &a);
    ask(&s, "tags: m7 and (tags: even or tags: m8)", (merle_query){0}, &a);
    assert_int_equal(a.count, 0);
    assert_int_equal(told(&a, "versions"), 0);
    answer_end(&s, &a);
    ask(&s, "tags: nobody and level > 3", (merle_query){0}, &a);
    assert_int_equal(a.count, 0);
    assert_driven(&a, "nothing", NULL);
    assert_int_equal(told(&a, "hits"), 0);
    answer_end(&s, &a);
    writing_close(&s);
}

/* What a tag can tell of a slot is not asked of the version. */
static void range_is_filtered_by_tags_on_slots(void **state) {
    stand s;
    answer a;
    (void)state;
    players_open(&s);
    ask(&s, "level = 7 and tags: m7 and tags: odd and not tags: even", (merle_query){0}, &a);
    assert_int_equal(a.count, 10);
    assert_driven(&a, "ranges", "level");
    assert_int_equal(told(&a, "slots_compared"), 10);
    answer_end(&s, &a);
    ask(&s, "level between 0 and 19 and tags: m7 and pos.x > 0", (merle_query){.index = "level"},
        &a);
    assert_int_equal(a.count, 10);
    assert_int_equal(told(&a, "slots_compared"), 200);
    assert_int_equal(told(&a, "versions"), 10);
    answer_end(&s, &a);
    writing_close(&s);
}

static void or_of_what_can_drive_is_a_union(void **state) {
    stand s;
    answer a;
    (void)state;
    players_open(&s);
    ask(&s, "level = 7 or tags: m8 or email = 'e1' or (guild = 'g1' and score = 11)",
        (merle_query){0}, &a);
    assert_int_equal(a.count, 32);
    assert_driven(&a, "union", NULL);
    assert_int_equal(told(&a, "versions"), 32);
    answer_end(&s, &a);
    /* A branch that nothing drives. */
    ask(&s, "level = 7 or pos.x = 1", (merle_query){0}, &a);
    assert_int_equal(a.count, 11);
    assert_driven(&a, "walk", NULL);
    answer_end(&s, &a);
    /* Too much to collect: all slots will do. */
    ask(&s, "level = 7 or tags: even", (merle_query){.memory_max = 100}, &a);
    assert_int_equal(a.count, 510);
    answer_end(&s, &a);
    writing_close(&s);
}

static void order_is_given_by_an_index_where_it_lacks_nothing(void **state) {
    stand s;
    answer a;
    (void)state;
    players_open(&s);
    ask(&s, "level >= 0", (merle_query){.order = "-level", .limit = 5}, &a);
    assert_int_equal(a.count, 5);
    assert_driven(&a, "ranges", "level");
    assert_true(tells(&a, "\"backwards\": true"));
    assert_in_range(told(&a, "hits"), 5, 64);
    assert_int_equal(told(&a, "sorted"), 0);
    answer_end(&s, &a);
    /* Behind a field that is bound to one value. */
    ask(&s, "guild = 'g4' and score < 900", (merle_query){.order = "-score", .limit = 3}, &a);
    assert_driven(&a, "ranges", "rank");
    assert_int_equal(told(&a, "sorted"), 0);
    assert_int_equal(merle_doc_int(a.docs[0], "score", 0), 894);
    answer_end(&s, &a);
    ask(&s, "guild = 'g4' and score < 900", (merle_query){.order = "guild, score", .limit = 3}, &a);
    assert_true(tells(&a, "\"backwards\": true"));
    assert_int_equal(merle_doc_int(a.docs[2], "score", 0), 24);
    answer_end(&s, &a);
    /* One field upwards, the other one downwards, is not its order. */
    ask(&s, "guild >= 'g8' and score > 0", (merle_query){.order = "guild, score", .limit = 3}, &a);
    assert_int_equal(told(&a, "sorted"), 200);
    assert_int_equal(merle_doc_int(a.docs[0], "score", 0), 8);
    answer_end(&s, &a);
    /* Every fourth is not in the index, and comes first. */
    ask(&s, NULL, (merle_query){.order = "rating", .limit = 300}, &a);
    assert_driven(&a, "walk", NULL);
    assert_true(tells(&a, "\"how\": \"top\""));
    assert_int_equal(told(&a, "sorted"), 1000);
    for (size_t i = 0; i < 250; i++) assert_false(merle_doc_has(a.docs[i], "rating"));
    assert_int_equal(merle_doc_int(a.docs[250], "rating", 9), 0);
    answer_end(&s, &a);
    /* Few documents are sorted rather than looked for in an order. */
    ask(&s, "level >= 0 and tags: all(m7, odd) and email < 'e3'",
        (merle_query){.order = "level", .limit = 100}, &a);
    assert_driven(&a, "tags", NULL);
    assert_true(tells(&a, "\"how\": \"top\""));
    answer_end(&s, &a);
    writing_close(&s);
}

static void index_that_is_named_drives(void **state) {
    stand s;
    answer a;
    merle_rows *rows;
    merle_condition *condition = condition_of("guild = 'g1' and level = 1");
    (void)state;
    players_open(&s);
    ask(&s, "guild = 'g1' and level = 1 and score > 0", (merle_query){.index = "rank"}, &a);
    assert_int_equal(a.count, 10);
    assert_driven(&a, "ranges", "rank");
    assert_int_equal(told(&a, "hits"), 100);
    answer_end(&s, &a);
    ask(&s, "level = 1", (merle_query){.index = ""}, &a);
    assert_int_equal(a.count, 10);
    assert_driven(&a, "walk", NULL);
    answer_end(&s, &a);
    ask(&s, "tags: m3 and level = 3", (merle_query){.index = "tags"}, &a);
    assert_int_equal(a.count, 10);
    assert_driven(&a, "tags", "tags");
    answer_end(&s, &a);
    static const char *const wrong[] = {"rank", "email", "tags", "none"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        merle_query query = {.where = condition, .index = wrong[i]};
        merle_section section;
        must(&s, merle_section_begin(s.db, &section));
        memset(&s.report, 0, sizeof s.report);
        assert_int_equal(merle_query_open(&section, s.players, &query, &rows), MERLE_INVALID);
        assert_null(rows);
        assert_int_equal(s.report.err, MERLE_INVALID);
        assert_non_null(strstr(s.report.message, wrong[i]));
        must(&s, merle_section_end(&section));
    }
    merle_condition_destroy(condition);
    writing_close(&s);
}

/* ---- other kinds of index ---- */

static void kinds_open(stand *s) {
    static const merle_index indexes[] = {
        {.name = "rating", .kind = MERLE_ORDERED, .on = "rating", .missing = MERLE_MISSING_FIRST},
        {.name = "down", .kind = MERLE_ORDERED, .on = "-level", .missing = MERLE_MISSING_FIRST},
        {.name = "key", .kind = MERLE_ORDERED, .on = "guild, key()"},
        {.name = "each", .kind = MERLE_ORDERED, .on = "tags[*]"},
        {.name = "email", .kind = MERLE_UNIQUE_ORDERED, .on = "email"},
        {0}};
    const merle_schema schema = {.version = 1, .indexes = indexes};
    merle_builder *b;
    writing_open(s, &schema, (merle_options){0}, NULL);
    must(s, merle_builder_create(&b));
    merle_commit *commit = begin(s);
    for (int i = 0; i < PLAYER_COUNT; i++) put_player(s, commit, b, i);
    (void)end(s, commit);
    merle_builder_destroy(b);
}

static void missing_ones_in_an_index_let_it_give_the_order(void **state) {
    stand s;
    answer a;
    (void)state;
    kinds_open(&s);
    ask(&s, NULL, (merle_query){.order = "rating", .limit = 260}, &a);
    assert_driven(&a, "ranges", "rating");
    assert_int_equal(told(&a, "sorted"), 0);
    for (size_t i = 0; i < 250; i++) assert_false(merle_doc_has(a.docs[i], "rating"));
    assert_int_equal(merle_doc_int(a.docs[250], "rating", 9), 0);
    answer_end(&s, &a);
    ask(&s, NULL, (merle_query){.order = "-rating", .limit = 5}, &a);
    assert_true(tells(&a, "\"backwards\": true"));
    assert_int_equal(merle_doc_int(a.docs[0], "rating", 9), 6);
    answer_end(&s, &a);
    /* Descending, nil comes last, and in this index first. */
    ask(&s, NULL, (merle_query){.order = "-level", .limit = 5}, &a);
    assert_driven(&a, "walk", NULL);
    answer_end(&s, &a);
    ask(&s, "level >= 0", (merle_query){.order = "-level", .limit = 5}, &a);
    assert_driven(&a, "ranges", "down");
    answer_end(&s, &a);
    writing_close(&s);
}

static void index_on_each_element_is_collected(void **state) {
    stand s;
    answer a;
    (void)state;
    kinds_open(&s);
    ask(&s, "any tags starts with 'm1'", (merle_query){0}, &a);
    assert_int_equal(a.count, 220);
    assert_driven(&a, "union", "each");
    answer_end(&s, &a);
    /* Two elements may meet the two halves: only one of them bounds it. */
    ask(&s, "any tags > 'm8' and any tags < 'm8'", (merle_query){.index = "each"}, &a);
    assert_int_equal(a.count, 480);
    answer_end(&s, &a);
    writing_close(&s);
}

static void key_orders_and_values_that_are_unique_have_ranges(void **state) {
    stand s;
    answer a;
    (void)state;
    kinds_open(&s);
    ask(&s, "guild = 'g3'", (merle_query){.order = "-key()", .limit = 2}, &a);
    assert_driven(&a, "ranges", "key");
    assert_int_equal(told(&a, "sorted"), 0);
    assert_memory_equal(merle_doc_key(a.docs[0]).data, "p993", 4);
    answer_end(&s, &a);
    ask(&s, NULL, (merle_query){.order = "key()", .limit = 2}, &a);
    assert_int_equal(told(&a, "sorted"), 1000);
    assert_memory_equal(merle_doc_key(a.docs[1]).data, "p001", 4);
    answer_end(&s, &a);
    ask(&s, "email starts with 'e99'", (merle_query){0}, &a);
    assert_int_equal(a.count, 11);
    assert_driven(&a, "ranges", "email");
    answer_end(&s, &a);
    ask(&s, "email = 'e99'", (merle_query){0}, &a);
    assert_driven(&a, "unique", "email");
    answer_end(&s, &a);
    writing_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(range_drives_and_answers_for_its_terms),
        cmocka_unit_test(compound_index_is_bound_field_by_field),
        cmocka_unit_test(unique_value_drives),
        cmocka_unit_test(unique_value_too_long_for_its_index_is_found),
        cmocka_unit_test(terms_beyond_the_first_are_told_as_asked_of_versions),
        cmocka_unit_test(tags_drive_together),
        cmocka_unit_test(range_is_filtered_by_tags_on_slots),
        cmocka_unit_test(or_of_what_can_drive_is_a_union),
        cmocka_unit_test(order_is_given_by_an_index_where_it_lacks_nothing),
        cmocka_unit_test(index_that_is_named_drives),
        cmocka_unit_test(missing_ones_in_an_index_let_it_give_the_order),
        cmocka_unit_test(index_on_each_element_is_collected),
        cmocka_unit_test(key_orders_and_values_that_are_unique_have_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
