/* tests/unit/document/path_test.c
 *
 * Aim     Paths are taken exactly if they are well formed; compiled, parsed and simple paths find
 *         the same value, one by one and several in one pass; index parts and field rules read them
 *         right.
 * Method  Tables by hand; random paths over random documents, each found in three ways.
 * Blind   Whether the grammar is the one that people would like best.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/document/sample.h"

#include "document/path.h"
#include "document/rules.h"
#include "document/scan.h"

static uint64_t test_seed;

static mrl_path *compile(const char *text) {
    mrl_path *path = NULL;
    assert_int_equal(mrl_path_compile(text, strlen(text), &path), MERLE_OK);
    assert_non_null(path);
    assert_string_equal(mrl_path_text(path), text);
    return path;
}

static void text_that_is_no_path_is_refused(void **state) {
    static const char *const texts[] = {"",
                                        ".",
                                        "a.",
                                        ".a",
                                        "a..b",
                                        "a[",
                                        "a[]",
                                        "a[x]",
                                        "a[1",
                                        "a[1]b",
                                        "a[01]",
                                        "a[-0]",
                                        "a[+1]",
                                        "a[4294967296]",
                                        "a[99999999999999999999]",
                                        "[0]",
                                        "a.[0]",
                                        "a]",
                                        "a\"b",
                                        "\"a",
                                        "\"a\\",
                                        "\"a\\n\"",
                                        "\"a\"b",
                                        "a[0]\"b\"",
                                        "\xff",
                                        "a.\xc3",
                                        "\"\\",
                                        "a[--1]",
                                        "a[-]"};
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        mrl_path *path = (mrl_path *)&path;
        mrl_steps steps;
        const char *reason = NULL;
        merle_doc doc = {(const uint8_t *)"\x81\xa1" "a\x01", 4, 0, NULL};
        merle_value value;
        assert_int_equal(mrl_path_compile(texts[i], strlen(texts[i]), &path), MERLE_INVALID);
        assert_null(path);
        assert_int_equal(mrl_path_parse(texts[i], strlen(texts[i]), &steps, &reason),
                         MERLE_INVALID);
        assert_non_null(reason);
        assert_int_equal(merle_doc_value(doc, texts[i], &value), MERLE_INVALID);
        assert_int_equal(value.type, MERLE_TYPE_NONE);
    }
}

static void path_at_its_limits_is_taken_and_beyond_refused(void **state) {
    char text[MRL_PATH_SIZE_MAX + 2];
    mrl_steps steps;
    (void)state;
    memset(text, 'a', sizeof(text));
    assert_int_equal(mrl_path_parse(text, MRL_PATH_SIZE_MAX, &steps, NULL), MERLE_OK);
    assert_int_equal(mrl_path_parse(text, MRL_PATH_SIZE_MAX + 1, &steps, NULL), MERLE_INVALID);
    for (size_t i = 1; i < sizeof(text); i += 2) text[i] = '.';
    assert_int_equal(mrl_path_parse(text, 2 * 64 - 1, &steps, NULL), MERLE_OK);
    assert_int_equal(steps.count, 64);
    assert_int_equal(mrl_path_parse(text, 2 * 65 - 1, &steps, NULL), MERLE_INVALID);
    /* All of it one name, and all of that escapes. */
    memset(text, '\\', sizeof(text));
    text[0] = text[MRL_PATH_SIZE_MAX - 1] = '"';
    assert_int_equal(mrl_path_parse(text, MRL_PATH_SIZE_MAX, &steps, NULL), MERLE_OK);
    assert_int_equal(steps.step[0].key_size, MRL_PATH_SIZE_MAX / 2 - 1);
    mrl_path *path;
    assert_int_equal(mrl_path_compile(text, MRL_PATH_SIZE_MAX, &path), MERLE_OK);
    mrl_path_destroy(path);
}

/* {"a": {"b": [10, {"c": 20}], "x.y": 30, "q\"\\": 40, "": 50}, "ä": 60, 7: 1, "l": [1, 2, 3]}
 * with heads that are longer than need be. */
#define DOC                         \
    "\x84\xa1"                      \
    "a\xde\x00\x04\xd9\x01"         \
    "b\xdc\x00\x02\x0a\x81\xa1"     \
    "c\x14\xa3x.y\x1e\xa3q\"\\\x28" \
    "\xa0\x32\xda\x00\x02\xc3\xa4\x3c\x07\x01\xa1l\x93\x01\x02\x03"

static void values_are_found_where_they_are(void **state) {
    static const struct {
        const char *path;
        int64_t value; /* 0: there is none */
    } cases[] = {{"a.b[0]", 10},
                 {"a.b[1].c", 20},
                 {"a.b[-1].c", 20},
                 {"a.b[-2]", 10},
                 {"a.\"x.y\"", 30},
                 {"a.\"q\\\"\\\\\"", 40},
                 {"a.\"\"", 50},
                 {"\xc3\xa4", 60},
                 {"\"\xc3\xa4\"", 60},
                 {"\"a\".b[0]", 10},
                 {"l[0]", 1},
                 {"l[2]", 3},
                 {"l[-1]", 3},
                 {"l[-3]", 1},
                 {"l[3]", 0},
                 {"l[-4]", 0},
                 {"l[4294967295]", 0},
                 {"l.a", 0},
                 {"a[0]", 0},
                 {"a.x.y", 0},
                 {"a.b[0].c", 0},
                 {"a.b[0][0]", 0},
                 {"7", 0},
                 {"zz", 0},
                 {"a.b[1].d", 0}};
    const merle_bytes bytes = BYTES(DOC);
    merle_doc doc;
    uint32_t offsets[32];
    mrl_path *paths[32];
    const size_t count = sizeof(cases) / sizeof(cases[0]);
    (void)state;
    assert_int_equal(merle_doc_over(bytes, &doc), MERLE_OK);
    for (size_t i = 0; i < count; i++) {
        paths[i] = compile(cases[i].path);
        assert_int_equal(merle_doc_int(doc, cases[i].path, 0), cases[i].value);
        assert_int_equal(merle_doc_has(doc, cases[i].path), cases[i].value != 0);
        assert_int_equal(mrl_path_locate(paths[i], doc.data, doc.size, &offsets[0]),
                         cases[i].value != 0);
        if (cases[i].value != 0) assert_int_equal(doc.data[offsets[0]], cases[i].value);
        if (cases[i].value == 0) assert_int_equal(offsets[0], 0);
    }
    /* Two names with escapes lie one behind the other in a compiled path. */
    const merle_bytes two = BYTES("\x81\xa1\"\x81\xa2\\\\\x07");
    mrl_path *escaped = compile("\"\\\"\".\"\\\\\\\\\"");
    assert_int_equal(mrl_path_locate(escaped, two.data, two.size, &offsets[0]), 1);
    assert_int_equal(offsets[0], two.size - 1);
    mrl_path_destroy(escaped);
    mrl_paths_locate(paths, count, doc.data, doc.size, offsets);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(offsets[i] != 0, cases[i].value != 0);
        if (offsets[i] != 0) assert_int_equal(doc.data[offsets[i]], cases[i].value);
        mrl_path_destroy(paths[i]);
    }
}

static void random_paths_are_found_alike_in_every_way(void **state) {
    mrl_random random;
    merle_buffer buffer = {NULL, 0, 0};
    unsigned found = 0;
    (void)state;
    mrl_random_init(&random, test_seed);
    for (int round = 0; round < 5000; round++) {
        merle_bytes bytes = sample_document(&buffer, &random);
        merle_doc doc = {bytes.data, bytes.size, 0, NULL};
        mrl_path *paths[8];
        uint32_t offsets[8], offset;
        for (size_t i = 0; i < 8; i++) {
            char text[64];
            int size =
                snprintf(text, sizeof(text), "%c", (char)('a' + mrl_random_below(&random, 8)));
            for (uint64_t steps = mrl_random_below(&random, 3); steps > 0; steps--) {
                if (mrl_random_below(&random, 2))
                    size += snprintf(text + size, sizeof(text) - (size_t)size, ".%c",
                                     (char)('a' + mrl_random_below(&random, 8)));
                else
                    size += snprintf(text + size, sizeof(text) - (size_t)size, "[%d]",
                                     (int)mrl_random_below(&random, 7) - 3);
            }
            paths[i] = compile(text);
        }
        mrl_paths_locate(paths, 8, bytes.data, bytes.size, offsets);
        for (size_t i = 0; i < 8; i++) {
            merle_value one, other;
            merle_err err = merle_doc_value(doc, mrl_path_text(paths[i]), &one);
            assert_int_equal(mrl_path_locate(paths[i], doc.data, doc.size, &offset),
                             err == MERLE_OK);
            assert_int_equal(offset, offsets[i]);
            assert_int_equal(err, offset != 0 ? MERLE_OK : MERLE_NOT_FOUND);
            if (offset != 0) {
                mrl_scan_value(doc.data + offset, &other);
                assert_memory_equal(&one, &other, sizeof(one));
                found++;
            }
            mrl_path_destroy(paths[i]);
        }
    }
    assert_true(found > 5000);
    merle_buffer_free(&buffer);
}

static void parts_of_an_index_are_read(void **state) {
    static const struct {
        const char *on;
        const char *paths[3];
        uint8_t descending[3];
        size_t count;
        merle_err err;
    } cases[] = {
        {"email", {"email"}, {0}, 1, MERLE_OK},
        {"guild, -score", {"guild", "score"}, {0, 1}, 2, MERLE_OK},
        {" guild ,- score , a.b[-1] ", {"guild", "score", "a.b[-1]"}, {0, 1, 0}, 3, MERLE_OK},
        {"\"a,b\",\"-c\"", {"\"a,b\"", "\"-c\""}, {0, 0}, 2, MERLE_OK},
        {"\"a\\\",b\"", {"\"a\\\",b\""}, {0}, 1, MERLE_OK},
        {"", {NULL}, {0}, 0, MERLE_INVALID},
        {"a,", {NULL}, {0}, 0, MERLE_INVALID},
        {",a", {NULL}, {0}, 0, MERLE_INVALID},
        {"a,,b", {NULL}, {0}, 0, MERLE_INVALID},
        {"-", {NULL}, {0}, 0, MERLE_INVALID},
        {"--a", {"-a"}, {1}, 1, MERLE_OK},
        {"a, -a", {NULL}, {0}, 0, MERLE_INVALID},
        {"a, b[", {NULL}, {0}, 0, MERLE_INVALID},
        {"a,b,c,d", {NULL}, {0}, 0, MERLE_TOO_BIG},
        {"a[*], a[*]", {NULL}, {0}, 0, MERLE_INVALID},
        {"key(), -key()", {NULL}, {0}, 0, MERLE_INVALID},
        {"[*]", {NULL}, {0}, 0, MERLE_INVALID},
        {"a[*][0]", {NULL}, {0}, 0, MERLE_INVALID},
        {"a[*].", {NULL}, {0}, 0, MERLE_INVALID},
        {"a[*]b", {NULL}, {0}, 0, MERLE_INVALID},
        {"a[*].b[*]", {NULL}, {0}, 0, MERLE_INVALID},
        {"key().a[", {NULL}, {0}, 0, MERLE_INVALID},
        {NULL, {NULL}, {0}, 0, MERLE_INVALID},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mrl_part parts[3];
        size_t count = 99;
        merle_report report;
        assert_int_equal(mrl_parts_parse(cases[i].on, parts, 3, &count, &report), cases[i].err);
        assert_int_equal(count, cases[i].count);
        if (cases[i].err != MERLE_OK) assert_int_equal(report.err, cases[i].err);
        for (size_t j = 0; j < count; j++) {
            assert_string_equal(mrl_path_text(parts[j].path), cases[i].paths[j]);
            assert_int_equal(parts[j].descending, cases[i].descending[j]);
        }
        mrl_parts_destroy(parts, count);
    }
}

static void parts_are_on_elements_and_on_the_key(void **state) {
    static const struct {
        const char *on, *path, *element;
        mrl_source source;
        uint8_t descending;
    } cases[] = {
        {"scores[*]", "scores", NULL, MRL_SOURCE_EACH, 0},
        {" - a.b[2][*] ", "a.b[2]", NULL, MRL_SOURCE_EACH, 1},
        {"items[*].id", "items", "id", MRL_SOURCE_EACH, 0},
        {"items[*].a[1].\"x.y\"", "items", "a[1].\"x.y\"", MRL_SOURCE_EACH, 0},
        {"\"a[*]\"", "\"a[*]\"", NULL, MRL_SOURCE_PATH, 0},
        {"\"a\\\"[*]\"[*]", "\"a\\\"[*]\"", NULL, MRL_SOURCE_EACH, 0},
        {"key()", NULL, NULL, MRL_SOURCE_KEY, 0},
        {"- key() ", NULL, NULL, MRL_SOURCE_KEY, 1},
        {"\"key()\"", "\"key()\"", NULL, MRL_SOURCE_PATH, 0},
        {"key().a", "key().a", NULL, MRL_SOURCE_PATH, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mrl_part part;
        size_t count = 0;
        assert_int_equal(mrl_parts_parse(cases[i].on, &part, 1, &count, NULL), MERLE_OK);
        assert_int_equal(part.source, cases[i].source);
        assert_int_equal(part.descending, cases[i].descending);
        assert_int_equal(part.path == NULL, cases[i].path == NULL);
        assert_int_equal(part.element == NULL, cases[i].element == NULL);
        if (part.path != NULL) assert_string_equal(mrl_path_text(part.path), cases[i].path);
        if (part.element != NULL)
            assert_string_equal(mrl_path_text(part.element), cases[i].element);
        mrl_parts_destroy(&part, count);
    }
}

static void rules_ask_type_presence_and_length(void **state) {
    /* {"s": "abc", "i": 1, "u": 2^63, "f": 0.5, "l": [1,2], "m": {}, "b": bin 2, "n": nil} */
    const merle_bytes doc = BYTES(
        "\x88\xa1s\xa3"
        "abc\xa1i\x01\xa1u\xcf\x80\0\0\0\0\0\0\0\xa1"
        "f\xca\x3f\0\0\0"
        "\xa1l\x92\x01\x02\xa1m\x80\xa1"
        "b\xc4\x02zz\xa1n\xc0");
    static const struct {
        const char *path;
        merle_type type;
        int required;
        uint32_t length_max;
        merle_err err;
    } cases[] = {
        {"s", MERLE_TYPE_STR, 1, 3, MERLE_OK},     {"s", MERLE_TYPE_STR, 1, 2, MERLE_RULE},
        {"s", MERLE_TYPE_INT, 0, 0, MERLE_RULE},   {"x", MERLE_TYPE_INT, 0, 0, MERLE_OK},
        {"x", MERLE_TYPE_INT, 1, 0, MERLE_RULE},   {"x", MERLE_TYPE_NONE, 1, 0, MERLE_RULE},
        {"s", MERLE_TYPE_NONE, 1, 0, MERLE_OK},    {"i", MERLE_TYPE_INT, 1, 0, MERLE_OK},
        {"u", MERLE_TYPE_INT, 1, 0, MERLE_OK},     {"i", MERLE_TYPE_UINT, 1, 0, MERLE_RULE},
        {"i", MERLE_TYPE_FLOAT, 1, 0, MERLE_OK},   {"u", MERLE_TYPE_FLOAT, 1, 0, MERLE_OK},
        {"f", MERLE_TYPE_INT, 1, 0, MERLE_RULE},   {"f", MERLE_TYPE_FLOAT, 1, 1, MERLE_OK},
        {"l", MERLE_TYPE_ARRAY, 1, 2, MERLE_OK},   {"l", MERLE_TYPE_ARRAY, 1, 1, MERLE_RULE},
        {"l", MERLE_TYPE_NONE, 1, 1, MERLE_RULE},  {"m", MERLE_TYPE_MAP, 1, 1, MERLE_OK},
        {"m", MERLE_TYPE_ARRAY, 1, 1, MERLE_RULE}, {"b", MERLE_TYPE_BIN, 1, 1, MERLE_RULE},
        {"n", MERLE_TYPE_NIL, 1, 0, MERLE_OK},     {"n", MERLE_TYPE_STR, 0, 0, MERLE_RULE},
        {"l[1]", MERLE_TYPE_INT, 1, 0, MERLE_OK},  {"l[2]", MERLE_TYPE_INT, 1, 0, MERLE_RULE},
    };
    (void)state;
    assert_int_equal(merle_doc_check(doc, NULL), MERLE_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mrl_rule rules[2] = {
            {compile("s"), MERLE_TYPE_STR, 1, 0},
            {compile(cases[i].path), cases[i].type, cases[i].required, cases[i].length_max}};
        merle_report report;
        assert_int_equal(mrl_rules_check(rules, 2, doc.data, doc.size, &report), cases[i].err);
        if (cases[i].err != MERLE_OK) {
            assert_string_equal(report.path, cases[i].path);
            assert_true(strlen(report.expected) > 0 && strlen(report.found) > 0);
        }
        mrl_path_destroy(rules[0].path);
        mrl_path_destroy(rules[1].path);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_that_is_no_path_is_refused),
        cmocka_unit_test(path_at_its_limits_is_taken_and_beyond_refused),
        cmocka_unit_test(values_are_found_where_they_are),
        cmocka_unit_test(random_paths_are_found_alike_in_every_way),
        cmocka_unit_test(parts_of_an_index_are_read),
        cmocka_unit_test(parts_are_on_elements_and_on_the_key),
        cmocka_unit_test(rules_ask_type_presence_and_length),
    };
    test_seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
