/* tests/unit/query/rows_test.c - what is asked wrongly, and what rows promise.
 *
 * Aim     Wrong queries are refused with a report and give nothing; order, offset, limit, fields
 *         and positions mean what the header says, whatever drives, also in commits.
 * Method  Documents written by hand, each answer compared key by key.
 * Blind   Random conditions: model/query_test.c. What drives: plan_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "players.h"

#include "document/encode.h"

/* ---- a few documents, with keys of one letter ---- */

static void few_open(stand *s) {
    static const merle_index indexes[] = {{.name = "score", .kind = MERLE_ORDERED, .on = "score"},
                                          {.name = "tags", .kind = MERLE_TAGS, .on = "tags"},
                                          {0}};
    const merle_schema schema = {.version = 1, .indexes = indexes};
    writing_open(s, &schema, (merle_options){0}, NULL);
    (void)put_json(s, "a", "{\"score\":3,\"name\":\"x\",\"pos\":{\"x\":1,\"y\":2}}");
    (void)put_json(s, "b", "{\"score\":1,\"name\":7,\"pos\":5,\"tags\":[\"eu\"]}");
    (void)put_json(s, "c", "{\"score\":2,\"name\":[1]}");
    (void)put_json(s, "d", "{\"name\":true,\"pos\":{\"x\":{\"deep\":[1,{\"z\":3}]}}}");
    (void)put_json(s, "e", "{\"score\":null,\"name\":2.5,\"tags\":[\"eu\",\"us\"]}");
    (void)put_json(s, "f", "{\"score\":2,\"name\":null}");
}

/* The keys that a query gives in this section, one letter each. */
static const char *keys_in(const stand *s, merle_section *section, const char *where,
                           merle_query query) {
    static char keys[64];
    merle_rows *rows;
    merle_doc docs[2];
    size_t count, used = 0;
    merle_condition *condition = condition_of(where);
    query.where = condition;
    must(s, merle_query_open(section, s->players, &query, &rows));
    while (merle_rows_next(rows, docs, 2, &count) == MERLE_OK)
        for (size_t i = 0; i < count; i++)
            keys[used++] = *(const char *)merle_doc_key(docs[i]).data;
    keys[used] = 0;
    merle_rows_close(rows);
    merle_condition_destroy(condition);
    return keys;
}

static const char *keys_of(const stand *s, const char *where, merle_query query) {
    merle_section section;
    must(s, merle_section_begin(s->db, &section));
    const char *keys = keys_in(s, &section, where, query);
    must(s, merle_section_end(&section));
    return keys;
}

/* nil < booleans < numbers < strings; what is missing, or no scalar, is nil. */
static void order_puts_what_is_missing_where_nil_stands(void **state) {
    stand s;
    (void)state;
    few_open(&s);
    assert_string_equal(keys_of(&s, NULL, (merle_query){.order = "score"}), "debcfa");
    assert_string_equal(keys_of(&s, NULL, (merle_query){.order = "-score"}), "acfbde");
    assert_string_equal(keys_of(&s, NULL, (merle_query){.order = "name"}), "cfdeba");
    assert_string_equal(keys_of(&s, NULL, (merle_query){.order = "-name"}), "abedcf");
    assert_string_equal(keys_of(&s, NULL, (merle_query){.order = "score, -name"}), "edbcfa");
    assert_string_equal(keys_of(&s, "score > 0", (merle_query){.order = "-score"}), "afcb");
    writing_close(&s);
}

static void offset_and_limit_cut_the_answer(void **state) {
    stand s;
    (void)state;
    few_open(&s);
    merle_query query = {.order = "score", .offset = 2, .limit = 2};
    assert_string_equal(keys_of(&s, NULL, query), "bc");
    query.offset = 5;
    assert_string_equal(keys_of(&s, NULL, query), "a");
    query.offset = 6;
    assert_string_equal(keys_of(&s, NULL, query), "");
    query = (merle_query){.order = "score", .offset = UINT64_MAX, .limit = 5};
    assert_string_equal(keys_of(&s, NULL, query), "");
    query = (merle_query){.order = "score", .offset = 1, .limit = UINT64_MAX};
    assert_string_equal(keys_of(&s, NULL, query), "ebcfa");
    query = (merle_query){.offset = 1, .limit = 3};
    assert_string_equal(keys_of(&s, NULL, query), "bcd");
    assert_string_equal(keys_of(&s, "tags: eu", query), "e");
    query.index = "score";
    assert_string_equal(keys_of(&s, "score >= 1", query), "cfa");
    writing_close(&s);
}

static void fields_are_given_and_no_others(void **state) {
    stand s;
    merle_section section;
    merle_rows *rows;
    merle_doc docs[8];
    size_t count;
    (void)state;
    few_open(&s);
    const merle_query query = {.fields = "pos.x, \"name\" , nothing, pos.y, score"};
    static const char *const wanted[] = {"{\"pos\":{\"x\":1,\"y\":2},\"name\":\"x\",\"score\":3}",
                                         "{\"name\":7,\"score\":1}",
                                         "{\"name\":[1],\"score\":2}",
                                         "{\"pos\":{\"x\":{\"deep\":[1,{\"z\":3}]}},\"name\":true}",
                                         "{\"name\":2.5,\"score\":null}",
                                         "{\"name\":null,\"score\":2}"};
    must(&s, merle_section_begin(s.db, &section));
    must(&s, merle_query_open(&section, s.players, &query, &rows));
    must(&s, merle_rows_next(rows, docs, 8, &count));
    assert_int_equal(count, 6);
    for (size_t i = 0; i < count; i++) {
        const uint8_t letter = (uint8_t)('a' + i);
        assert_is_doc(merle_bytes_of(docs[i].data, docs[i].size), wanted[i]);
        assert_memory_equal(merle_doc_key(docs[i]).data, &letter, 1);
        assert_int_not_equal(docs[i].seq, 0);
    }
    merle_rows_close(rows);
    must(&s, merle_section_end(&section));
    writing_close(&s);
}

/* All of a field includes what is below it, in whatever order they are asked for. */
static void field_that_is_asked_for_twice_is_given_once(void **state) {
    static const char *const fields[] = {"pos, pos.x", "pos.x, pos", "pos"};
    stand s;
    merle_section section;
    merle_rows *rows;
    merle_doc doc;
    size_t count;
    (void)state;
    few_open(&s);
    must(&s, merle_section_begin(s.db, &section));
    for (int i = 0; i < 3; i++) {
        const merle_query query = {.fields = fields[i], .limit = 1};
        must(&s, merle_query_open(&section, s.players, &query, &rows));
        must(&s, merle_rows_next(rows, &doc, 1, &count));
        assert_is_doc(merle_bytes_of(doc.data, doc.size), "{\"pos\":{\"x\":1,\"y\":2}}");
        merle_rows_close(rows);
    }
    must(&s, merle_section_end(&section));
    writing_close(&s);
}

/* ---- wrong queries ---- */

static void refuse(stand *s, merle_query query, merle_err err) {
    merle_section section;
    merle_rows *rows = (merle_rows *)&section;
    uint64_t count = 7;
    must(s, merle_section_begin(s->db, &section));
    memset(&s->report, 0, sizeof s->report);
    assert_int_equal(merle_query_open(&section, s->players, &query, &rows), err);
    assert_null(rows);
    assert_int_equal(s->report.err, err);
    assert_int_not_equal(s->report.message[0], 0);
    if (query.fields == NULL && query.order == NULL) {
        assert_int_equal(merle_query_count(&section, s->players, &query, &count), err);
        assert_int_equal(count, 0);
    }
    must(s, merle_section_end(&section));
}

static void wrong_queries_are_refused_with_a_report(void **state) {
    stand s;
    merle_condition *condition = condition_of("score > $low");
    const merle_value list = {.type = MERLE_TYPE_ARRAY};
    (void)state;
    few_open(&s);
    refuse(&s, (merle_query){.where = condition}, MERLE_INVALID);
    refuse(&s, (merle_query){.where = condition, .values = &list, .value_count = 1}, MERLE_TYPE);
    refuse(&s, (merle_query){.order = "score,"}, MERLE_INVALID);
    refuse(&s, (merle_query){.order = ""}, MERLE_INVALID);
    refuse(&s, (merle_query){.order = "score, -score"}, MERLE_INVALID);
    refuse(&s, (merle_query){.order = "a,b,c,d,e,f,g,h,i"}, MERLE_TOO_BIG);
    refuse(&s, (merle_query){.order = "tags[*], score"}, MERLE_INVALID);
    refuse(&s, (merle_query){.order = "items[*].id"}, MERLE_INVALID);
    refuse(&s, (merle_query){.fields = "key()"}, MERLE_INVALID);
    refuse(&s, (merle_query){.fields = "score, tags[*]"}, MERLE_INVALID);
    refuse(&s, (merle_query){.fields = "-name"}, MERLE_INVALID);
    refuse(&s, (merle_query){.fields = "list[0]"}, MERLE_INVALID);
    refuse(&s, (merle_query){.fields = "pos..x"}, MERLE_INVALID);
    refuse(&s, (merle_query){.index = "nobody"}, MERLE_INVALID);
    refuse(&s, (merle_query){.index = "score"}, MERLE_INVALID);
    refuse(&s, (merle_query){.after = merle_str("short")}, MERLE_INVALID);
    refuse(&s, (merle_query){.after = merle_str("long enough to be a position")}, MERLE_INVALID);
    merle_condition_destroy(condition);
    writing_close(&s);
}

static void calls_without_what_they_need_are_invalid(void **state) {
    stand s;
    merle_section section;
    merle_rows *rows;
    merle_doc doc;
    size_t count = 7;
    merle_buffer buffer = {NULL, 0, 0};
    const merle_query query = {0}, no_values = {.value_count = 1};
    (void)state;
    few_open(&s);
    must(&s, merle_section_begin(s.db, &section));
    assert_int_equal(merle_query_open(&section, s.players, NULL, &rows), MERLE_INVALID);
    assert_int_equal(merle_query_open(&section, NULL, &query, &rows), MERLE_INVALID);
    assert_int_equal(merle_query_open(NULL, s.players, &query, &rows), MERLE_INVALID);
    assert_int_equal(merle_query_open(&section, s.players, &no_values, &rows), MERLE_INVALID);
    assert_int_equal(merle_rows_next(NULL, &doc, 1, &count), MERLE_INVALID);
    assert_int_equal(merle_rows_position(NULL, &buffer), MERLE_INVALID);
    assert_int_equal(merle_rows_explain(NULL, &buffer), MERLE_INVALID);
    merle_rows_close(NULL);
    must(&s, merle_query_open(&section, s.players, &query, &rows));
    assert_int_equal(merle_rows_position(rows, &buffer), MERLE_NOT_FOUND);
    must(&s, merle_rows_next(rows, &doc, 0, &count));
    assert_int_equal(count, 0);
    must(&s, merle_rows_next(rows, &doc, 1, &count));
    must(&s, merle_section_end(&section));
    assert_int_equal(merle_rows_next(rows, &doc, 1, &count), MERLE_INVALID);
    assert_int_equal(count, 0);
    /* Another section at the same place in memory is not the one. */
    (void)put_json(&s, "g", "{}");
    must(&s, merle_section_begin(s.db, &section));
    assert_int_equal(merle_rows_next(rows, &doc, 1, &count), MERLE_INVALID);
    must(&s, merle_section_end(&section));
    merle_rows_close(rows);
    writing_close(&s);
}

/* An earlier version of the struct ended before `fields`. */
static void query_of_a_smaller_size_is_read_as_far_as_it_goes(void **state) {
    stand s;
    merle_query query = {.size = offsetof(merle_query, fields), .order = "score", .limit = 2};
    (void)state;
    few_open(&s);
    query.fields = "list[0]";
    query.index = "nobody";
    assert_string_equal(keys_of(&s, NULL, query), "de");
    writing_close(&s);
}

static void sort_beyond_its_memory_is_too_big(void **state) {
    static char text[MERLE_VALUE_SIZE_MAX];
    stand s;
    merle_section section;
    merle_rows *rows;
    merle_doc doc;
    size_t count = 7;
    (void)state;
    players_open(&s);
    must(&s, merle_section_begin(s.db, &section));
    merle_query query = {.order = "pos.x", .memory_max = 20000};
    must(&s, merle_query_open(&section, s.players, &query, &rows));
    assert_int_equal(merle_rows_next(rows, &doc, 1, &count), MERLE_TOO_BIG);
    assert_int_equal(count, 0);
    assert_non_null(strstr(s.report.message, "pos.x"));
    assert_int_equal(merle_rows_next(rows, &doc, 1, &count), MERLE_TOO_BIG);
    merle_rows_close(rows);
    /* The first few take no more than that. */
    query.limit = 20;
    must(&s, merle_query_open(&section, s.players, &query, &rows));
    must(&s, merle_rows_next(rows, &doc, 1, &count));
    merle_rows_close(rows);
    must(&s, merle_section_end(&section));
    /* A value that no index could have either. */
    memset(text, 'x', sizeof text);
    merle_value value = merle_value_bytes(merle_bytes_of(text, sizeof text));
    must(&s, merle_one_patch(s.players, KEY("p001"), NULL, NULL, MERLE_SET("pos.x", value)));
    must(&s, merle_section_begin(s.db, &section));
    must(&s, merle_query_open(&section, s.players, &query, &rows));
    assert_int_equal(merle_rows_next(rows, &doc, 1, &count), MERLE_TOO_BIG);
    merle_rows_close(rows);
    must(&s, merle_section_end(&section));
    writing_close(&s);
}

/* ---- positions ---- */

/* Gives so many documents' keys, from a position on, which is moved. */
static const char *keys_from(const stand *s, merle_section *section, const char *where,
                             merle_query query, size_t wanted, merle_buffer *position) {
    static char keys[64];
    merle_rows *rows;
    merle_doc docs[16];
    size_t count = 0;
    merle_condition *condition = condition_of(where);
    query.where = condition;
    query.after = merle_bytes_of(position->data, position->size);
    must(s, merle_query_open(section, s->players, &query, &rows));
    merle_err err = merle_rows_next(rows, docs, wanted, &count);
    for (size_t i = 0; i < count; i++) keys[i] = *(const char *)merle_doc_key(docs[i]).data;
    keys[count] = 0;
    if (err == MERLE_OK) must(s, merle_rows_position(rows, position));
    merle_rows_close(rows);
    merle_condition_destroy(condition);
    return keys;
}

typedef struct going_on {
    const char *where, *order, *index;
    const char *first, *rest;
} going_on;

static void position_goes_on_in_a_later_section(void **state) {
    enum { CASES = 7 };
    static const going_on cases[CASES] = {
        {"score > 0", "-score", "score", "af", "ihgb"},
        {"score > 0", "-score", "", "ac", "fighb"},
        {"score > 0", "score", "score", "bc", "fa"},
        {NULL, "score", NULL, "de", "bghifa"},
        {NULL, NULL, NULL, "ab", "efghi"},
        {"tags: eu", NULL, "tags", "be", "h"},
        {"tags: eu or score > 0", NULL, NULL, "ab", "efghi"},
    };
    stand s;
    merle_section section;
    merle_buffer at[CASES] = {{NULL, 0, 0}};
    (void)state;
    few_open(&s);
    must(&s, merle_section_begin(s.db, &section));
    for (int i = 0; i < CASES; i++) {
        const merle_query query = {.order = cases[i].order, .index = cases[i].index};
        assert_string_equal(keys_from(&s, &section, cases[i].where, query, 2, &at[i]),
                            cases[i].first);
    }
    must(&s, merle_section_end(&section));
    /* The slots of the removed ones are not used again before anybody steps. */
    (void)remove_key(&s, "c");
    (void)remove_key(&s, "d");
    (void)put_json(&s, "g", "{\"score\":1.5}");
    (void)put_json(&s, "h", "{\"score\":1.5,\"tags\":\"eu\"}");
    (void)put_json(&s, "i", "{\"score\":1.75}");
    must(&s, merle_section_begin(s.db, &section));
    for (int i = 0; i < CASES; i++) {
        /* How the first part was found is how the rest is. */
        const merle_query query = {.order = cases[i].order};
        assert_string_equal(keys_from(&s, &section, cases[i].where, query, 9, &at[i]),
                            cases[i].rest);
        assert_string_equal(keys_from(&s, &section, cases[i].where, query, 9, &at[i]), "");
        merle_buffer_free(&at[i]);
    }
    must(&s, merle_section_end(&section));
    writing_close(&s);
}

static merle_err open_behind(const stand *s, merle_collection *collection, const char *order,
                             const merle_buffer *position) {
    merle_section section;
    merle_rows *rows;
    merle_query query = {.order = order};
    query.after = merle_bytes_of(position->data, position->size);
    must(s, merle_section_begin(s->db, &section));
    merle_err err = merle_query_open(&section, collection, &query, &rows);
    merle_rows_close(rows);
    must(s, merle_section_end(&section));
    return err;
}

static void foreign_position_is_refused(void **state) {
    stand s;
    merle_section section;
    merle_collection *others;
    merle_buffer at = {NULL, 0, 0};
    (void)state;
    few_open(&s);
    must(&s, merle_collection_open(s.db, "others", NULL, &others));
    must(&s, merle_section_begin(s.db, &section));
    (void)keys_from(&s, &section, NULL, (merle_query){.order = "name"}, 2, &at);
    must(&s, merle_section_end(&section));
    assert_int_equal(open_behind(&s, s.players, "name", &at), MERLE_OK);
    assert_int_equal(open_behind(&s, s.players, "-name", &at), MERLE_INVALID);
    assert_int_equal(open_behind(&s, s.players, NULL, &at), MERLE_INVALID);
    assert_int_equal(open_behind(&s, others, "name", &at), MERLE_INVALID);
    for (size_t i = 0; i < at.size; i++) {
        at.data[i] ^= 1;
        assert_int_equal(open_behind(&s, s.players, "name", &at), MERLE_INVALID);
        at.data[i] ^= 1;
    }
    for (; at.size > 0; at.size--)
        if (at.size > 1) {
            at.size--;
            assert_int_equal(open_behind(&s, s.players, "name", &at), MERLE_INVALID);
            at.size++;
        }
    merle_buffer_free(&at);
    writing_close(&s);
}

/* What is there again is another collection. */
static void position_does_not_outlive_a_truncation(void **state) {
    stand s;
    merle_section section;
    merle_buffer at = {NULL, 0, 0};
    (void)state;
    few_open(&s);
    must(&s, merle_section_begin(s.db, &section));
    (void)keys_from(&s, &section, NULL, (merle_query){.order = "name"}, 2, &at);
    must(&s, merle_section_end(&section));
    must(&s, merle_collection_truncate(s.players, NULL));
    assert_int_equal(open_behind(&s, s.players, "name", &at), MERLE_INVALID);
    merle_buffer_free(&at);
    writing_close(&s);
}

/* ---- in commits ---- */

static void query_in_a_commit_sees_its_own_writes_in_their_place(void **state) {
    stand s;
    (void)state;
    few_open(&s);
    merle_commit *commit = begin(&s);
    merle_section *inside = merle_commit_section(commit);
    put_in(&s, commit, "b", "{\"score\":2.5}");
    put_in(&s, commit, "x", "{\"score\":2.25,\"tags\":[\"eu\"]}");
    put_in(&s, commit, "y", "{\"score\":9}");
    must(&s, merle_remove(commit, s.players, KEY("f")));
    for (int i = 0; i < 2; i++) {
        merle_query query = {.order = "score", .index = i == 0 ? "score" : ""};
        assert_string_equal(keys_in(&s, inside, "score > 0", query), "cxbay");
        query.order = "-score";
        assert_string_equal(keys_in(&s, inside, "score > 0", query), "yabxc");
    }
    assert_string_equal(
        keys_in(&s, inside, "score between 2 and 2.5", (merle_query){.index = "score"}), "cxb");
    assert_string_equal(keys_in(&s, inside, "tags: eu", (merle_query){0}), "ex");
    assert_string_equal(keys_in(&s, inside, NULL, (merle_query){.order = "score, name"}),
                        "decxbay");
    assert_string_equal(keys_in(&s, inside, NULL, (merle_query){0}), "abcdexy");
    assert_string_equal(keys_of(&s, "score > 0", (merle_query){.order = "score"}), "bcfa");
    (void)end(&s, commit);
    assert_string_equal(keys_of(&s, "score > 0", (merle_query){.order = "score"}), "cxbay");
    writing_close(&s);
}

/* A tag that nobody has yet, but for the commit. */
static void query_in_a_commit_finds_what_no_index_has(void **state) {
    stand s;
    merle_buffer at = {NULL, 0, 0};
    (void)state;
    few_open(&s);
    merle_commit *commit = begin(&s);
    merle_section *inside = merle_commit_section(commit);
    put_in(&s, commit, "x", "{\"score\":1,\"tags\":[\"new\"]}");
    put_in(&s, commit, "y", "{\"score\":0,\"tags\":[\"new\"]}");
    put_in(&s, commit, "a", "{\"score\":7,\"tags\":[\"new\"]}");
    assert_string_equal(keys_in(&s, inside, "tags: new", (merle_query){.order = "-score"}), "axy");
    assert_string_equal(keys_in(&s, inside, "tags: new", (merle_query){0}), "axy");
    assert_string_equal(keys_from(&s, inside, "tags: new", (merle_query){0}, 1, &at), "a");
    assert_string_equal(keys_from(&s, inside, "tags: new", (merle_query){0}, 1, &at), "x");
    assert_string_equal(keys_from(&s, inside, "tags: new", (merle_query){0}, 9, &at), "y");
    assert_string_equal(keys_from(&s, inside, "tags: new", (merle_query){0}, 9, &at), "");
    merle_buffer_free(&at);
    merle_cancel(commit);
    writing_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_puts_what_is_missing_where_nil_stands),
        cmocka_unit_test(offset_and_limit_cut_the_answer),
        cmocka_unit_test(fields_are_given_and_no_others),
        cmocka_unit_test(field_that_is_asked_for_twice_is_given_once),
        cmocka_unit_test(wrong_queries_are_refused_with_a_report),
        cmocka_unit_test(calls_without_what_they_need_are_invalid),
        cmocka_unit_test(query_of_a_smaller_size_is_read_as_far_as_it_goes),
        cmocka_unit_test(sort_beyond_its_memory_is_too_big),
        cmocka_unit_test(position_goes_on_in_a_later_section),
        cmocka_unit_test(foreign_position_is_refused),
        cmocka_unit_test(position_does_not_outlive_a_truncation),
        cmocka_unit_test(query_in_a_commit_sees_its_own_writes_in_their_place),
        cmocka_unit_test(query_in_a_commit_finds_what_no_index_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
