/* tests/unit/document/condition_parse_test.c
 *
 * Aim     A text is parsed to what it says, or refused at the right byte with a reason; the
 *         canonical text is what docs/queries.md promises, and parses to itself.
 * Method  Tables of texts; limits with texts made to be one step inside and one step beyond.
 * Blind   What a condition means: condition_match_test.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/document/sample.h"

#include <locale.h>

#include <merle/condition.h>

#include "document/condition_parse.h"

static merle_condition *parsed(const char *text) {
    merle_condition *condition;
    merle_report report;
    merle_err err = merle_condition_parse(merle_str(text), &condition, &report);
    if (err != MERLE_OK) fail_msg("%s: %s", text, report.message);
    return condition;
}

/* ---- what is a condition ---- */

static const struct {
    const char *text;
    const char *canonical;
} good[] = {
    {"level >= 10 and tags: eu and not banned", "level >= 10 and tags: \"eu\" and banned != true"},
    {"banned", "banned = true"},
    {"not not banned", "banned = true"},
    {"a=1", "a = 1"},
    {" \t\n\ra != 1 ", "a != 1"},
    {"not a != 1", "a = 1"},
    {"not a < 5", "not a < 5"},
    {"a<5 or a<=5 or a>5 or a>=5", "a < 5 or a <= 5 or a > 5 or a >= 5"},
    /* precedence and brackets */
    {"a or b and c", "a = true or b = true and c = true"},
    {"(a or b) and c", "(a = true or b = true) and c = true"},
    {"((a)) and (b and (c and d))", "a = true and b = true and c = true and d = true"},
    {"not (a = 1 or b = 2)", "a != 1 and b != 2"},
    {"not (a = 1 and (b = 2 or c < 3))", "a != 1 or b != 2 and not c < 3"},
    {"not a and b", "a != true and b = true"},
    {"A AND B Or NoT c", "A = true and B = true or c != true"},
    /* paths */
    {"pos.x = 1", "pos.x = 1"},
    {"list[0] = 1 and list[-1] = 2", "list[0] = 1 and list[-1] = 2"},
    {"bag.items[3].name = 1", "bag.items[3].name = 1"},
    {"\"a b\".c = 1", "\"a b\".c = 1"},
    {"a.\"b c\"[2] = 1", "a.\"b c\"[2] = 1"},
    {"\"a\" = 1", "a = 1"},
    {"\"q\\\"\\\\\" = 1", "\"q\\\"\\\\\" = 1"},
    {"\"and\" = 1 and \"Not\" = 1", "\"and\" = 1 and \"Not\" = 1"},
    {"and.or = 1 and in[0] = 1", "and.or = 1 and in[0] = 1"},
    {"\"and\".or = 1", "and.or = 1"},
    {"all = 1 and none = 1 and with = 1 and order = 1",
     "all = 1 and none = 1 and with = 1 and order = 1"},
    {"guild-name = 1", "guild-name = 1"},
    {"\"1st\" = 1 and a.1st = 1", "\"1st\" = 1 and a.\"1st\" = 1"},
    {"\xc3\xa4\xe2\x82\xac = 1", "\xc3\xa4\xe2\x82\xac = 1"},
    {"x = \"61\" and X.x = 1", "x = \"61\" and X.x = 1"},
    {"\"\" = 1", "\"\" = 1"},
    /* numbers */
    {"a = -0", "a = 0"},
    {"a = -5 and b=-5", "a = -5 and b = -5"},
    {"a = 18446744073709551615", "a = 18446744073709551615"},
    {"a = -9223372036854775808", "a = -9223372036854775808"},
    {"a = 9223372036854775808", "a = 9223372036854775808"},
    {"a = 5.0 and b = 5e0 and c = -0.0", "a = 5.0 and b = 5.0 and c = -0.0"},
    {"a = 0.1 and b = 1E300 and c = 1e-7", "a = 0.1 and b = 1e+300 and c = 1e-07"},
    {"a = nan or a = INF or a = -Inf", "a = nan or a = inf or a = -inf"},
    /* strings */
    {"a = 'it is' and b = \"it's\"", "a = \"it is\" and b = \"it's\""},
    {"a = 'say \"x\"'", "a = \"say \\\"x\\\"\""},
    {"a = \"\\\"\\'\\\\\\/\\b\\f\\n\\r\\t\"", "a = \"\\\"'\\\\/\\b\\f\\n\\r\\t\""},
    {"a = '\\u0041\\u00e4\\u20ac\\ud83d\\udc26\\u0000\\u001f'",
     "a = \"A\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\xa6\\u0000\\u001f\""},
    {"a = ''", "a = \"\""},
    {"a='x'and b", "a = \"x\" and b = true"},
    /* other values */
    {"a = true and b = FALSE and c = nil and d = null",
     "a = true and b = false and c = nil and d = nil"},
    {"a = x\"00fF\" and b = X'' and c = x'AB'", "a = x\"00ff\" and b = x\"\" and c = x\"ab\""},
    {"a = @2026-11-21T10:00:00.5Z", "a = @2026-11-21T10:00:00.5Z"},
    {"a = @2026-11-21T10:00:00+02:00", "a = @2026-11-21T08:00:00Z"},
    {"a = @2026-11-21", "a = @2026-11-21T00:00:00Z"},
    {"a = @0 and b = @-0.5 and c = @1.000000001",
     "a = @1970-01-01T00:00:00Z and b = @1969-12-31T23:59:59.5Z and "
     "c = @1970-01-01T00:00:01.000000001Z"},
    {"a = @253402300800 and b = @253402300800.25",
     "a = @253402300800 and b = @253402300800.250000000"},
    {"a = @-62167219201 and b = @-62167219200.25",
     "a = @-62167219201 and b = @-62167219200.250000000"},
    {"a = @-9223372036854775808 and b = @9223372036854775807.999999999",
     "a = @-9223372036854775808 and b = @9223372036854775807.999999999"},
    {"a = @-9223372036854775807.5", "a = @-9223372036854775807.500000000"},
    /* relations with words */
    {"a in (3, 1, 2, 1)", "a in (1, 2, 3)"},
    {"a in ('b', 5.0, nil, x'00', true, 5, @0)",
     "a in (nil, true, 5.0, \"b\", x\"00\", @1970-01-01T00:00:00Z)"},
    {"a in (7)", "a = 7"},
    {"a not in (7)", "a != 7"},
    {"a in ()", "a in ()"},
    {"a not in (1, 2)", "a not in (1, 2)"},
    {"not a in (1, 2)", "a not in (1, 2)"},
    {"not a not in (1, 2)", "a in (1, 2)"},
    {"a between 1 and 2 and b", "a between 1 and 2 and b = true"},
    {"a not between 1 and 2", "a not between 1 and 2"},
    {"a starts with 'ab'", "a starts with \"ab\""},
    {"a STARTS WITH x'00'", "a starts with x\"00\""},
    {"not a starts with 'ab'", "a not starts with \"ab\""},
    {"exists(a.b) and not exists ( c )", "exists(a.b) and not exists(c)"},
    /* elements */
    {"any a = 5", "a: 5"},
    {"any a != 5", "any a != 5"},
    {"not any a != 5", "not any a != 5"},
    {"not any a = 5", "a: none(5)"},
    {"any a.b < 5", "any a.b < 5"},
    {"any a in (2, 1)", "a: any(1, 2)"},
    {"any a between 1 and 2", "any a between 1 and 2"},
    {"any a starts with 'b'", "any a starts with \"b\""},
    {"not any a starts with 'b'", "not any a starts with \"b\""},
    /* tags */
    {"tags: eu", "tags: \"eu\""},
    {"tags : 'eu west'", "tags: \"eu west\""},
    {"tags: eu-west", "tags: \"eu-west\""},
    {"tags: 5 or tags: true or tags: nil", "tags: 5 or tags: true or tags: nil"},
    {"not tags: eu", "tags: none(\"eu\")"},
    {"tags: any(vip, eu)", "tags: any(\"eu\", \"vip\")"},
    {"tags: all(vip, eu, vip)", "tags: all(\"eu\", \"vip\")"},
    {"tags: all(eu)", "tags: \"eu\""},
    {"tags: none(a, b)", "tags: none(\"a\", \"b\")"},
    {"not tags: none(a, b)", "tags: any(\"a\", \"b\")"},
    {"not tags: all(a, b)", "not tags: all(\"a\", \"b\")"},
    {"tags: any()", "tags: any()"},
    {"tags: all() or tags: none()", "tags: all() or tags: none()"},
    {"tags: all", "tags: \"all\""},
    {"a.b[0]: x", "a.b[0]: \"x\""},
    {"tags: all(a, any(b, c), none(d))",
     "tags: \"a\" and tags: any(\"b\", \"c\") and tags: none(\"d\")"},
    {"tags: any(a, all(b, c), d)", "tags: any(\"a\", \"d\") or tags: all(\"b\", \"c\")"},
    {"tags: none(a, all(b, c))", "tags: none(\"a\") and not tags: all(\"b\", \"c\")"},
    {"tags: any(all(a, b))", "tags: all(\"a\", \"b\")"},
    /* parameters */
    {"a = $1 and b = $2", "a = $1 and b = $2"},
    {"a = $3", "a = $3"},
    {"a = $256", "a = $256"},
    {"a between $low and $high_2", "a between $low and $high_2"},
    {"a in ($b, 2, $a, 1, $b)", "a in (1, 2, $b, $a)"},
    {"tags: all($x, y)", "tags: all(\"y\", $x)"},
};

static void text_that_is_one_is_written_canonically(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        merle_condition *condition = parsed(good[i].text);
        assert_written(condition, good[i].canonical);
        merle_condition_destroy(condition);
        condition = parsed(good[i].canonical);
        assert_written(condition, good[i].canonical);
        merle_condition_destroy(condition);
    }
}

/* ---- what is none ---- */

static const struct {
    const char *text;
    uint64_t offset;
    const char *message; /* a part of it */
} bad[] = {
    {"", 0, "a field is expected, but here is the end"},
    {"   ", 3, "line 1, column 4: a field is expected"},
    {"a = ", 4, "a value (a number, a string in quotes, ...) is expected, but here is the end"},
    {"a = b", 4, "here is `b`"},
    {"a =\n  ten", 6, "line 2, column 3: a value"},
    {"a == 1", 3, "here is `=`"},
    {"a <> 1", 3, "here is `>`"},
    {"a ! 1", 2, "an exclamation mark"},
    {"a = 1 b", 6, "`and`, `or` or the end is expected, but here is `b`"},
    {"a = 1 and", 9, "a field is expected"},
    {"a = 1 or or b", 9, "put a name in quotes that is a keyword"},
    {"and = 1", 0, "put a name in quotes"},
    {"'a' = 1", 0, "a field is expected, but here is `'a'`"},
    {"5 = a", 0, "a field is expected, but here is `5`"},
    {"(a = 1", 6, "`and`, `or` or `)` is expected, but here is the end"},
    {"a = 1)", 5, "the end is expected, but here is `)`"},
    {"()", 1, "a field is expected, but here is `)`"},
    {"not", 3, "a field"},
    {"a not 5", 6, "`in`, `between` or `starts with`"},
    {"a not = 5", 6, "`in`, `between` or `starts with`"},
    {"a between 1", 11, "`and` and the upper end"},
    {"a between 1 or 2", 12, "`and` and the upper end"},
    {"a starts 'b'", 9, "`with`"},
    {"a starts with 5", 14, "only a string or a binary"},
    {"a in 5", 5, "`(`"},
    {"a in (1", 7, "`,` or `)`"},
    {"a in (1,)", 8, "a value"},
    {"a in (1 2)", 8, "`,` or `)`"},
    {"exists a", 7, "`(`"},
    {"exists(5)", 7, "a field"},
    {"exists(a", 8, "`)`"},
    {"any a", 5, "a comparison"},
    {"any a: b", 5, "a comparison"},
    {"any exists(a)", 4, "put a name in quotes"},
    {"tags:", 5, "a tag is expected"},
    {"tags: a.b", 6, "a tag is expected"},
    {"tags: and", 6, "a tag is expected"},
    {"tags: any(a", 11, "`,` or `)`"},
    {"tags: any(a,)", 12, "a tag"},
    {"tags: all(a, none(b)", 20, "`,` or `)`"},
    /* words */
    {"a = 1 ; b = 2", 6, "this character means nothing here"},
    {"a = #", 4, "this character means nothing here"},
    {"a & b", 2, "this character means nothing here"},
    {"a = \"x", 4, "a quote is not closed"},
    {"a = 'x\\", 4, "a quote is not closed"},
    {"\"a = 1", 0, "a quote is not closed"},
    {"a.\"b = 1", 0, "a quote is not closed"},
    {"a = x'0", 4, "a quote is not closed"},
    {"a = -", 4, "a minus stands before no number"},
    {"a = - 5", 4, "a minus stands before no number"},
    {"a = $", 4, "a $ stands before no name"},
    {"a = @", 4, "an @ stands before no time"},
    /* paths */
    {"a. = 1", 0, "a name is missing"},
    {"a..b = 1", 0, "a name is missing"},
    {"b or a[x] = 1", 5, "an index is no number"},
    {"a[1 = 1", 0, "an index is not closed by ]"},
    {"a[01] = 1", 0, "an index is not written in its plain form"},
    {"\"a\\n\" = 1", 0, "a backslash in quotes stands before neither"},
    /* values */
    {"a = 01", 4, "begins with a 0"},
    {"a = 10x", 4, "this is no number"},
    {"a = 1.", 4, "this is no number"},
    {"a = 1e", 4, "this is no number"},
    {"a = 1.2.3", 4, "this is no number"},
    {"a = -in", 4, "this is no number"},
    {"a = 18446744073709551616", 4, "an integer has more than 64 bits"},
    {"a = -9223372036854775809", 4, "an integer has more than 64 bits"},
    {"a = 1e999", 4, "a number is beyond the range of floats"},
    {"a = \"\\x\"", 4, "an escape in a string is none"},
    {"a = \"\\u12\"", 4, "an escape in a string is none"},
    {"a = \"\\ud800\"", 4, "an escape in a string is none"},
    {"a = \"\\ud800\\u0041\"", 4, "an escape in a string is none"},
    {"a = \"\\udc00\"", 4, "an escape in a string is none"},
    {"a = 'x\ny'", 4, "a control character stands in a string"},
    {"a = x'0'", 4, "an odd number of digits"},
    {"a = x'0g'", 4, "not hexadecimal"},
    {"a = @today", 4, "a time is neither"},
    {"a = @2026-02-30", 4, "a time is neither"},
    {"a = @1.", 4, "a time is neither"},
    {"a = @1.0000000001", 4, "a time is neither"},
    {"a = @9223372036854775808", 4, "more seconds than 64 bits"},
    {"a = @-9223372036854775808.5", 4, "more seconds than 64 bits"},
    {"a = \xff", 4, "this is no valid UTF-8"},
    /* parameters */
    {"a = $0", 4, "a parameter's name"},
    {"a = $01", 4, "a parameter's name"},
    {"a = $257", 4, "a parameter's name"},
    {"a = $1a", 4, "a parameter's name"},
    {"a = $99999999999999999999", 4, "a parameter's name"},
    {"a = $1 and b = $x", 15, "some of its parameters have numbers"},
    {"a = $x and b = $1", 15, "some of its parameters have numbers"},
};

static void text_that_is_none_is_refused_where_it_is_wrong(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        merle_report report;
        merle_condition *condition = (merle_condition *)&report;
        merle_err err = merle_condition_parse(merle_str(bad[i].text), &condition, &report);
        if (err != MERLE_INVALID || report.err != err || condition != NULL ||
            report.offset != bad[i].offset || strstr(report.message, bad[i].message) == NULL)
            fail_msg("%s: %s at %llu: %s", bad[i].text, merle_err_name(err),
                     (unsigned long long)report.offset, report.message);
        err = merle_condition_parse(merle_str(bad[i].text), &condition, NULL);
        assert_int_equal(err, MERLE_INVALID);
    }
}

static void refusal_names_what_was_expected_and_found(void **state) {
    merle_condition *condition;
    merle_report report;
    (void)state;
    merle_err err = merle_condition_parse(BYTES("a in 5"), &condition, &report);
    assert_int_equal(err, MERLE_INVALID);
    assert_string_equal(report.expected, "`(`");
    assert_string_equal(report.found, "`5`");
}

static void zero_byte_is_refused_wherever_it_stands(void **state) {
    static const merle_bytes texts[] = {
        {"a\0", 2}, {"\0", 1}, {"a = \0", 5}, {"a = 'x\0'", 8}, {"\"a\0b\" = 1", 9}, {"a\0= 1", 5},
    };
    merle_condition *condition;
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(merle_condition_parse(texts[i], &condition, NULL), MERLE_INVALID);
}

/* ---- limits ---- */

static merle_err parse_repeated(const char *begin, const char *part, size_t count, const char *end,
                                char *out_message, size_t message_max) {
    merle_buffer text = {NULL, 0, 0};
    merle_condition *condition;
    merle_report report;
    sample_put(&text, begin, strlen(begin));
    for (size_t i = 0; i < count; i++) sample_put(&text, part, strlen(part));
    sample_put(&text, end, strlen(end));
    uint8_t *exact = sample_exact(merle_bytes_of(text.data, text.size));
    merle_err err = merle_condition_parse(merle_bytes_of(exact, text.size), &condition, &report);
    snprintf(out_message, message_max, "%s", err == MERLE_OK ? "" : report.message);
    if (err == MERLE_OK) {
        merle_buffer first = {NULL, 0, 0};
        assert_int_equal(merle_condition_write(condition, &first), MERLE_OK);
        merle_buffer_free(&first);
    }
    merle_condition_destroy(condition);
    merle_buffer_free(&text);
    free(exact);
    return err;
}

static void limits_hold_to_the_last_step(void **state) {
    static const struct {
        const char *begin, *part, *end;
        size_t max;
        const char *message;
    } limits[] = {
        {"", "(", "a", 0, "is expected"},
        {"a=1", " or b=2", "", 4094, "more than 4,096 comparisons"},
        {"a in (1", ",2", ")", 4095, "a list has more than 4,096 values"},
        {"tags: any(a", ",b", ")", 4095, "a list has more than 4,096 values"},
        {"", "not ", "a", 64, "deeper than 64"},
        {"a = 1", " ", "", (64u << 10) - 5, "more than 64 KiB of text"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        char message[256];
        merle_err err = parse_repeated(limits[i].begin, limits[i].part, limits[i].max,
                                       limits[i].end, message, sizeof(message));
        if (err != MERLE_OK) fail_msg("%zu: %s", i, message);
        err = parse_repeated(limits[i].begin, limits[i].part, limits[i].max + 1, limits[i].end,
                             message, sizeof(message));
        assert_int_equal(err, i == 0 ? MERLE_INVALID : MERLE_TOO_BIG);
        if (strstr(message, limits[i].message) == NULL) fail_msg("%zu: %s", i, message);
    }
}

/* "(a or b and (a or b and (..." has two levels of the tree for each bracket. */
static void depth_of_brackets_and_of_trees_is_bounded(void **state) {
    static const struct {
        const char *open;
        size_t count;
        merle_err err;
    } cases[] = {{"(", 64, MERLE_OK},
                 {"(", 65, MERLE_TOO_BIG},
                 {"a or b and (", 31, MERLE_OK},
                 {"a or b and (", 32, MERLE_OK},
                 {"a or b and (", 33, MERLE_TOO_BIG},
                 {"b and (a or ", 31, MERLE_OK},
                 {"not (a or ", 32, MERLE_OK},
                 {"not (a or ", 33, MERLE_TOO_BIG},
                 {"t: any(", 1, MERLE_OK}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char end[130] = "x";
        char message[256];
        memset(end + 1, ')', cases[i].count);
        merle_err err = parse_repeated("", cases[i].open, cases[i].count, end, message, 256);
        if (err != cases[i].err) fail_msg("%zu: %s %s", i, merle_err_name(err), message);
    }
}

static void group_of_tags_too_deep_is_refused(void **state) {
    char text[64 * 4 + 200] = "t: ", message[256], end[70] = "x";
    (void)state;
    memset(end + 1, ')', 64);
    for (int i = 0; i < 32; i++) strcat(text, "any(all(");
    strcat(text, end);
    merle_condition_destroy(parsed(text));
    memset(end + 1, ')', 65);
    assert_int_equal(parse_repeated("t: any(", "any(all(", 32, end, message, sizeof(message)),
                     MERLE_TOO_BIG);
}

static void parameters_beyond_the_most_are_refused(void **state) {
    char text[300 * 12] = "a in (0";
    merle_condition *condition;
    merle_report report;
    (void)state;
    for (int i = 0; i < 256; i++) snprintf(text + strlen(text), 16, ",$p%d", i);
    size_t size = strlen(text);
    strcat(text, ")");
    condition = parsed(text);
    assert_int_equal(merle_condition_parameter_count(condition), 256);
    merle_condition_destroy(condition);
    strcpy(text + size, ",$more)");
    assert_int_equal(merle_condition_parse(merle_str(text), &condition, &report), MERLE_TOO_BIG);
    assert_non_null(strstr(report.message, "more than 256 parameters"));
}

/* ---- the shape of the tree ---- */

static void tree_has_the_form_that_its_header_promises(void **state) {
    merle_condition *c = parsed("b = 1 and (a < 2 or not (b > 1 and \"a\" = 3)) and t: all(x, $p)");
    uint32_t count;
    (void)state;
    const mrl_condition_node *terms = mrl_condition_terms(c, &count);
    assert_int_equal(count, 3);
    assert_int_equal(c->node_count, 7);
    assert_int_equal(c->path_count, 3);
    assert_int_equal(terms[0].kind, MRL_CONDITION_COMPARE);
    assert_string_equal(mrl_path_text(mrl_condition_path(c, &terms[0])), "b");
    assert_int_equal(terms[1].kind, MRL_CONDITION_OR);
    assert_int_equal(terms[1].child_count, 3);
    const mrl_condition_node *children = terms[1].children;
    assert_int_equal(children[0].compare, MERLE_LT);
    assert_int_equal(children[0].negated, 0);
    assert_int_equal(children[1].compare, MERLE_GT);
    assert_int_equal(children[1].negated, 1);
    assert_int_equal(children[1].path_number, terms[0].path_number);
    assert_int_equal(children[2].compare, MERLE_EQ);
    assert_int_equal(children[2].negated, 1);
    assert_int_equal(children[2].path_number, children[0].path_number);
    assert_int_equal(terms[2].kind, MRL_CONDITION_ALL);
    assert_int_equal(terms[2].each, 1);
    assert_int_equal(terms[2].operand_count, 2);
    assert_int_equal(terms[2].sorted_count, 1);
    assert_int_equal(terms[2].operands[1].parameter, 0);
    merle_condition_destroy(c);
    c = parsed("a = 1");
    assert_ptr_equal(mrl_condition_terms(c, &count), c->root);
    assert_int_equal(count, 1);
    merle_condition_destroy(c);
}

static void parameters_are_numbered_as_the_text_has_them(void **state) {
    merle_condition *c = parsed("z = $low and (a in ($x, $low) or t: $other)");
    size_t number = 7;
    (void)state;
    assert_int_equal(merle_condition_parameter_count(c), 3);
    assert_int_equal(merle_condition_parameter(c, "low", &number), MERLE_OK);
    assert_int_equal(number, 0);
    assert_int_equal(merle_condition_parameter(c, "x", &number), MERLE_OK);
    assert_int_equal(number, 1);
    assert_int_equal(merle_condition_parameter(c, "other", &number), MERLE_OK);
    assert_int_equal(number, 2);
    assert_int_equal(merle_condition_parameter(c, "lo", &number), MERLE_NOT_FOUND);
    assert_int_equal(number, 0);
    merle_condition_destroy(c);
    c = parsed("a = $3");
    assert_int_equal(merle_condition_parameter_count(c), 3);
    assert_int_equal(merle_condition_parameter(c, "3", &number), MERLE_NOT_FOUND);
    merle_condition_destroy(c);
}

/* What other texts are made of: a condition, and something behind it. */
static void parser_stops_where_the_condition_ends(void **state) {
    mrl_parser parser;
    merle_condition *condition;
    merle_report report;
    (void)state;
    const char *text = "level > 3 and order.by = 'x' order by score desc";
    assert_int_equal(mrl_parser_init(&parser, merle_str(text), &report), MERLE_OK);
    merle_where *where = mrl_parser_condition(&parser);
    assert_true(mrl_token_is_word(&parser.token, "order"));
    assert_int_equal(parser.token.offset, 29);
    mrl_parser_refuse(&parser, "a wish");
    assert_int_equal(parser.err, MERLE_INVALID);
    assert_int_equal(report.offset, 29);
    assert_string_equal(report.found, "`order`");
    mrl_parser_fini(&parser);
    assert_int_equal(merle_condition_create(where, &condition, NULL), MERLE_OK);
    assert_written(condition, "level > 3 and order.by = \"x\"");
    merle_condition_destroy(condition);
}

static void locale_of_the_thread_changes_nothing(void **state) {
    static const char *const names[] = {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8"};
    (void)state;
    const char *found = NULL;
    for (size_t i = 0; i < 3 && found == NULL; i++) found = setlocale(LC_ALL, names[i]);
    if (found == NULL) printf("# no locale with a decimal comma here: the C locale is tried\n");
    merle_condition *c = parsed("a = 1.5");
    assert_written(c, "a = 1.5");
    merle_condition_destroy(c);
    (void)setlocale(LC_ALL, "C");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_that_is_one_is_written_canonically),
        cmocka_unit_test(text_that_is_none_is_refused_where_it_is_wrong),
        cmocka_unit_test(refusal_names_what_was_expected_and_found),
        cmocka_unit_test(zero_byte_is_refused_wherever_it_stands),
        cmocka_unit_test(limits_hold_to_the_last_step),
        cmocka_unit_test(depth_of_brackets_and_of_trees_is_bounded),
        cmocka_unit_test(group_of_tags_too_deep_is_refused),
        cmocka_unit_test(parameters_beyond_the_most_are_refused),
        cmocka_unit_test(tree_has_the_form_that_its_header_promises),
        cmocka_unit_test(parameters_are_numbered_as_the_text_has_them),
        cmocka_unit_test(parser_stops_where_the_condition_ends),
        cmocka_unit_test(locale_of_the_thread_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
