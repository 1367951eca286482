/* tests/unit/store/index_report_test.c - what is told when a question to an index cannot be one.
 *
 * Aim     Each way to ask wrongly fails with its error, and the report of the thread names
 *         collection and index and says in words what is wrong.
 * Method  One call for each way.
 * Blind   Whether right questions are answered rightly: range_test.c, kinds_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "writing.h"

static const merle_index indexes[] = {
    {"name", MERLE_UNIQUE, "n"}, {"level", MERLE_ORDERED, "l, m"}, {"tags", MERLE_TAGS, "t"}, {0}};

static void expect(stand *s, merle_err err, merle_err wanted, const char *index, const char *told) {
    assert_int_equal(err, wanted);
    assert_int_equal(s->report.err, wanted);
    assert_string_equal(s->report.collection, "players");
    assert_string_equal(s->report.index, index);
    if (strstr(s->report.message, told) == NULL) print_message("# %s\n", s->report.message);
    assert_non_null(strstr(s->report.message, told));
    s->report.err = MERLE_OK;
}

static void open_asking(stand *s, merle_section *section) {
    const merle_schema schema = {.version = 1, .indexes = indexes};
    writing_open(s, &schema, (merle_options){0}, NULL);
    put_json(s, "a", "{\"n\":\"a\",\"l\":1,\"t\":[1]}");
    must(s, merle_section_begin(s->db, section));
}

static void close_asking(stand *s, merle_section *section) {
    must(s, merle_section_end(section));
    writing_close(s);
}

/* The same words from who opens a cursor and from who counts. */
static void expect_range(stand *s, merle_section *section, merle_range range, const char *told) {
    merle_cursor *cursor;
    uint64_t count;
    expect(s, merle_range_open(s->players, &range, &cursor), MERLE_INVALID, range.index, told);
    assert_null(cursor);
    expect(s, merle_range_count(section, s->players, &range, &count), MERLE_INVALID, range.index,
           told);
}

static void ranges_that_cannot_be_are_told(void **state) {
    static char long_text[9000];
    (void)state;
    stand s;
    merle_section section;
    merle_value three[3] = {merle_value_int(1), merle_value_int(1), merle_value_int(1)};
    merle_value list = {.type = MERLE_TYPE_ARRAY}, text = merle_value_str(long_text);
    open_asking(&s, &section);
    memset(long_text, 'x', sizeof long_text - 1);
    text = merle_value_str(long_text);
    expect_range(&s, &section, (merle_range){.index = "none"}, "no index none");
    expect_range(&s, &section, (merle_range){.index = "tags"}, "tags has no order");
    expect_range(&s, &section, (merle_range){.index = "name"}, "name has no order");
    expect_range(&s, &section, (merle_range){.index = "level", .to = {MERLE_CLOSED, three, 3}},
                 "2 fields");
    expect_range(&s, &section, (merle_range){.index = "level", .from = {MERLE_OPEN, &list, 1}},
                 "an array");
    expect_range(&s, &section, (merle_range){.index = "level", .from = {MERLE_OPEN, &text, 1}},
                 "too long");
    expect_range(&s, &section,
                 (merle_range){.index = "level", .from = {(merle_bound_kind)7, three, 1}},
                 "open, closed, or none");
    expect_range(&s, &section,
                 (merle_range){.index = "level", .from = {MERLE_CLOSED, three, 2}, .prefix = "a"},
                 "no field left");
    expect_range(&s, &section, (merle_range){.index = "level", .prefix = long_text}, "prefix");
    close_asking(&s, &section);
}

static void tags_that_cannot_be_are_told(void **state) {
    (void)state;
    stand s;
    merle_section section;
    merle_value list = {.type = MERLE_TYPE_ARRAY}, none = {0}, one = merle_value_int(1);
    merle_scan scan = {0};
    merle_buffer bytes = {0};
    merle_tag_listed listed[2];
    merle_doc doc;
    uint64_t count;
    size_t got;
    open_asking(&s, &section);
    expect(&s, merle_tag_count(&section, s.players, "level", one, &count), MERLE_INVALID, "level",
           "none of tags");
    expect(&s, merle_tag_next(&section, s.players, "no", one, &scan, &doc, 1, &got), MERLE_INVALID,
           "no", "no index no");
    expect(&s, merle_tag_count(&section, s.players, "tags", list, &count), MERLE_INVALID, "tags",
           "an array");
    expect(&s, merle_tags_list(&section, s.players, "tags", one, none, &bytes, listed, 2, &got),
           MERLE_INVALID, "tags", "string or binary");
    expect(&s, merle_tags_list(&section, s.players, "tags", none, list, &bytes, listed, 2, &got),
           MERLE_INVALID, "tags", "an array");
    merle_buffer_free(&bytes);
    close_asking(&s, &section);
}

static void unique_values_that_cannot_be_are_told(void **state) {
    (void)state;
    stand s;
    merle_section section;
    merle_value two[2] = {merle_value_str("a"), {.type = MERLE_TYPE_MAP}};
    merle_doc doc;
    open_asking(&s, &section);
    expect(&s, merle_get_unique(&section, s.players, "level", two, 1, &doc), MERLE_INVALID, "level",
           "not unique");
    expect(&s, merle_get_unique(&section, s.players, "name", two, 2, &doc), MERLE_INVALID, "name",
           "1 fields, and 2 values");
    expect(&s, merle_get_unique(&section, s.players, "name", two + 1, 1, &doc), MERLE_INVALID,
           "name", "a map");
    merle_commit *commit = begin(&s);
    expect(&s, merle_commit_get_unique(commit, s.players, "none", two, 1, &doc), MERLE_INVALID,
           "none", "no index");
    merle_cancel(commit);
    close_asking(&s, &section);
}

static void index_that_is_not_ready_or_gone_is_told(void **state) {
    static const merle_index later = {"later", MERLE_UNIQUE_ORDERED, "n"};
    (void)state;
    stand s;
    merle_section section;
    merle_range range = {.index = "later"};
    merle_value a = merle_value_str("a");
    merle_cursor *cursor;
    merle_doc doc;
    size_t got;
    open_asking(&s, &section);
    must(&s, merle_section_end(&section));
    must(&s, merle_index_add(s.players, &later, NULL));
    must(&s, merle_section_begin(s.db, &section));
    expect(&s, merle_range_open(s.players, &range, &cursor), MERLE_NOT_READY, "later", "not built");
    expect(&s, merle_get_unique(&section, s.players, "later", &a, 1, &doc), MERLE_NOT_READY,
           "later", "not built");
    must(&s, merle_section_end(&section));
    must(&s, merle_index_build(s.players, "later"));
    must(&s, merle_range_open(s.players, &range, &cursor));
    must(&s, merle_index_drop(s.players, "later", NULL));
    must(&s, merle_section_begin(s.db, &section));
    expect(&s, merle_cursor_next(&section, cursor, &doc, 1, &got), MERLE_GONE, "later", "dropped");
    merle_cursor_close(cursor);
    close_asking(&s, &section);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_that_cannot_be_are_told),
        cmocka_unit_test(tags_that_cannot_be_are_told),
        cmocka_unit_test(unique_values_that_cannot_be_are_told),
        cmocka_unit_test(index_that_is_not_ready_or_gone_is_told),
    };
    return cmocka_run_group_tests_name("store/index_report", tests, NULL, NULL);
}
