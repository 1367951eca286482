/* tests/unit/document/condition_where_test.c
 *
 * Aim     Conditions built in C: pieces are consumed whatever happens, the first error sticks and
 *         is told with its reason, limits hold, a refused allocation is MERLE_NO_MEMORY and
 *         nothing else; values that are bound are tested before anybody compares with them; many
 *         threads may ask one condition.
 * Method  Tables of pieces that are wrong; each call that allocates with its first, second,
 *         third... allocation refused.
 * Blind   Leaks are seen only under the address sanitizer, races only under the thread sanitizer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/document/sample.h"

#include <pthread.h>

#include <merle/condition.h>

#include "document/condition.h"

static void assert_made(merle_where *where, const char *wanted) {
    merle_condition *condition;
    merle_report report;
    merle_err err = merle_condition_create(where, &condition, &report);
    if (err != MERLE_OK) fail_msg("%s", report.message);
    assert_written(condition, wanted);
    merle_condition_destroy(condition);
}

static void assert_wrong(merle_where *where, merle_err wanted, const char *part) {
    merle_report report;
    merle_condition *condition = (merle_condition *)&report;
    merle_err err = merle_condition_create(where, &condition, &report);
    if (err != wanted || report.err != err || strstr(report.message, part) == NULL)
        fail_msg("%s, wanted %s: %s", merle_err_name(err), part, report.message);
    assert_null(condition);
}

static merle_where *is_true(void) {
    return merle_where_true("a");
}

/* ---- what can be built ---- */

static void pieces_are_put_together_as_they_are_read(void **state) {
    const merle_value two[] = {merle_value_str("b"), merle_value_str("a")};
    merle_where *parts[2];
    (void)state;
    assert_made(MERLE_AND(merle_where_compare("level", MERLE_GE, merle_value_int(10)),
                          merle_where_tag("tags", merle_value_str("eu")),
                          merle_where_not(merle_where_true("banned"))),
                "level >= 10 and tags: \"eu\" and banned != true");
    assert_made(MERLE_OR(merle_where_between("a", merle_value_int(1), merle_parameter("high")),
                         MERLE_AND(merle_where_in("b", two, 2),
                                   merle_where_prefix("c", merle_parameter("begin")))),
                "a between 1 and $high or b in (\"a\", \"b\") and c starts with $begin");
    assert_made(MERLE_OR(merle_where_all_of("t", two, 2), merle_where_any_of("t", two, 2),
                         merle_where_none_of("t", two, 1), merle_where_exists("x.y")),
                "t: all(\"a\", \"b\") or t: any(\"a\", \"b\") or t: none(\"b\") or exists(x.y)");
    assert_made(merle_where_in("a", NULL, 0), "a in ()");
    assert_made(merle_where_each(merle_where_compare("a", MERLE_NE, merle_value_int(1))),
                "any a != 1");
    assert_made(
        merle_where_each(merle_where_not(merle_where_compare("a", MERLE_EQ, merle_value_int(1)))),
        "any a != 1");
    assert_made(MERLE_AND(is_true()), "a = true");
    parts[0] = MERLE_OR(is_true(), is_true());
    parts[1] = merle_where_not(MERLE_AND(is_true(), is_true()));
    assert_made(merle_where_or(parts, 2), "a = true or a = true or a != true or a != true");
}

static void name_that_text_would_misread_is_quoted(void **state) {
    (void)state;
    assert_made(merle_where_true("two words"), "\"two words\" = true");
    assert_made(merle_where_true("and"), "\"and\" = true");
    assert_made(merle_where_true("a=1 or b.c-d.5"), "\"a=1 or b\".c-d.\"5\" = true");
    assert_made(merle_where_true("(\n)"), "\"(\n)\" = true");
}

/* Bytes that a value of another type happens to carry are nobody's. */
static void value_is_taken_by_its_type(void **state) {
    merle_value value = merle_value_int(5);
    (void)state;
    value.bytes = merle_bytes_of((const void *)16, 1000);
    assert_made(merle_where_compare("a", MERLE_EQ, value), "a = 5");
    value.type = MERLE_TYPE_UINT;
    assert_made(merle_where_compare("a", MERLE_EQ, value), "a = 5");
}

/* ---- what cannot ---- */

static void piece_that_is_wrong_says_why(void **state) {
    const merle_value array = {MERLE_TYPE_ARRAY, 0, {0}, {"\x90", 1}, 0};
    const merle_value ext = {MERLE_TYPE_EXT, 0, {0}, {"x", 1}, 5};
    const merle_value none = {MERLE_TYPE_NONE, 0, {0}, {NULL, 0}, 0};
    const merle_value strange = {(merle_type)99, 0, {0}, {NULL, 0}, 0};
    const merle_value one = merle_value_int(1);
    (void)state;
    assert_wrong(NULL, MERLE_NO_MEMORY, "no memory");
    assert_wrong(merle_where_true(""), MERLE_INVALID, "it is empty");
    assert_wrong(merle_where_true(NULL), MERLE_INVALID, "it is empty");
    assert_wrong(merle_where_true("a..b"), MERLE_INVALID, "\"a..b\" is wrong: a name is missing");
    assert_wrong(merle_where_compare("a", (merle_compare)0, one), MERLE_INVALID, "a comparison");
    assert_wrong(merle_where_compare("a", (merle_compare)7, one), MERLE_INVALID, "a comparison");
    assert_wrong(merle_where_compare("a", MERLE_EQ, array), MERLE_TYPE, "compare with nothing");
    assert_wrong(merle_where_between("a", one, ext), MERLE_TYPE, "compare with nothing");
    assert_wrong(merle_where_compare("a", MERLE_EQ, strange), MERLE_TYPE, "compare with nothing");
    assert_wrong(merle_where_tag("a", none), MERLE_INVALID, "a value is none");
    assert_wrong(merle_where_prefix("a", one), MERLE_TYPE, "begins with");
    assert_wrong(merle_where_tag("a", merle_value_str("\xff")), MERLE_INVALID, "no UTF-8");
    assert_wrong(merle_where_tag("a", merle_value_time(0, 1000000000)), MERLE_INVALID, "time");
    assert_wrong(merle_where_tag("a", merle_parameter("a b")), MERLE_INVALID, "parameter");
    assert_wrong(merle_where_tag("a", merle_parameter("257")), MERLE_INVALID, "parameter");
    assert_wrong(merle_where_and(NULL, 0), MERLE_INVALID, "no parts");
    assert_wrong(merle_where_each(merle_where_exists("a")), MERLE_INVALID, "not negated");
    assert_wrong(merle_where_each(MERLE_OR(is_true(), is_true())), MERLE_INVALID, "not negated");
    assert_wrong(merle_where_each(merle_where_tag("a", one)), MERLE_INVALID, "not negated");
    assert_wrong(merle_where_each(merle_where_not(merle_where_prefix("a", merle_value_str("b")))),
                 MERLE_INVALID, "not negated");
    assert_wrong(MERLE_AND(merle_where_tag("a", merle_parameter("1")),
                           merle_where_tag("a", merle_parameter("x"))),
                 MERLE_INVALID, "some have names");
}

static void error_sticks_and_consumes_what_it_meets(void **state) {
    (void)state;
    assert_wrong(
        MERLE_OR(is_true(), merle_where_true("a["), MERLE_AND(is_true(), merle_where_true(""))),
        MERLE_INVALID, "a[");
    assert_wrong(merle_where_not(merle_where_each(MERLE_AND(merle_where_true("]"), is_true()))),
                 MERLE_INVALID, "]");
    assert_wrong(MERLE_AND(is_true(), NULL, is_true()), MERLE_NO_MEMORY, "no memory");
    assert_wrong(merle_where_not(NULL), MERLE_NO_MEMORY, "no memory");
    merle_where_destroy(MERLE_AND(is_true(), MERLE_OR(is_true(), is_true())));
    merle_where_destroy(merle_where_true(""));
    merle_where_destroy(NULL);
    merle_condition_destroy(NULL);
}

static void limits_hold_to_the_last_step(void **state) {
    static merle_value values[MERLE_CONDITION_LIST_COUNT_MAX + 1];
    static char letters[MERLE_CONDITION_BYTES_SIZE_MAX + 1];
    merle_condition *condition;
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        values[i] = merle_value_int((int64_t)i);
    memset(letters, 'x', sizeof(letters));
    merle_where *where = merle_where_in("a", values, MERLE_CONDITION_LIST_COUNT_MAX);
    for (int i = 1; i < 16; i++)
        where = MERLE_AND(where, merle_where_in("a", values, MERLE_CONDITION_LIST_COUNT_MAX));
    assert_int_equal(merle_condition_create(where, &condition, NULL), MERLE_OK);
    merle_condition_destroy(condition);
    where = merle_where_in("a", values, MERLE_CONDITION_LIST_COUNT_MAX);
    for (int i = 1; i < 16; i++)
        where = MERLE_AND(where, merle_where_in("a", values, MERLE_CONDITION_LIST_COUNT_MAX));
    assert_wrong(MERLE_AND(where, merle_where_tag("a", values[0])), MERLE_TOO_BIG, "65,536 values");
    assert_wrong(merle_where_any_of("a", values, MERLE_CONDITION_LIST_COUNT_MAX + 1), MERLE_TOO_BIG,
                 "4,096 values");
    merle_value text = merle_value_bytes(merle_bytes_of(letters, MERLE_CONDITION_BYTES_SIZE_MAX));
    assert_int_equal(merle_condition_create(merle_where_tag("a", text), &condition, NULL),
                     MERLE_OK);
    merle_condition_destroy(condition);
    text.bytes.size++;
    assert_wrong(merle_where_tag("a", text), MERLE_TOO_BIG, "1 MiB");
    where = is_true();
    for (unsigned i = 0; i < MERLE_CONDITION_DEPTH_MAX; i++)
        where = i % 2 ? MERLE_OR(where, is_true()) : MERLE_AND(is_true(), where);
    assert_int_equal(merle_condition_create(where, &condition, NULL), MERLE_OK);
    merle_condition_destroy(condition);
    where = is_true();
    for (unsigned i = 0; i <= MERLE_CONDITION_DEPTH_MAX; i++)
        where = i % 2 ? MERLE_OR(where, is_true()) : MERLE_AND(is_true(), where);
    assert_wrong(where, MERLE_TOO_BIG, "deeper than 64");
    where = is_true();
    for (unsigned i = 0; i < 1000; i++) where = merle_where_not(where);
    assert_made(where, "a = true");
}

/* ---- values that are bound ---- */

static void value_that_cannot_be_bound_is_refused(void **state) {
    const merle_value array = {MERLE_TYPE_ARRAY, 0, {0}, {"\x90", 1}, 0};
    const merle_value none = {MERLE_TYPE_NONE, 0, {0}, {NULL, 0}, 0};
    const struct {
        merle_value values[3];
        size_t count;
        merle_err err;
        const char *message;
    } cases[] = {
        {{merle_value_int(1), none, merle_value_str("b")}, 3, MERLE_OK, ""},
        {{merle_value_int(1), array, merle_value_bin(BYTES("b"))}, 3, MERLE_OK, ""},
        {{merle_value_nil(), none, merle_value_str("b")}, 3, MERLE_OK, ""},
        {{none, none, none}, 0, MERLE_INVALID, "$1 of the condition has no value"},
        {{merle_value_int(1), none, none}, 2, MERLE_INVALID, "$3 of the condition has no value"},
        {{none, none, merle_value_str("b")}, 3, MERLE_INVALID, "$1"},
        {{array, none, merle_value_str("b")}, 3, MERLE_TYPE, "$1 of the condition is an array"},
        {{merle_value_int(1), none, merle_value_int(1)}, 3, MERLE_TYPE, "$3 of the condition is"},
        {{merle_value_time(0, 1000000000), none, merle_value_str("b")}, 3, MERLE_INVALID, "$1"},
    };
    const merle_doc doc = {(const uint8_t *)"\x80", 1, 0, NULL};
    merle_condition *condition;
    (void)state;
    assert_int_equal(
        merle_condition_parse(merle_str("a != $1 or a starts with $3"), &condition, NULL),
        MERLE_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        merle_report report = {.message = ""};
        int result = 7;
        assert_int_equal(
            merle_condition_match(condition, doc, cases[i].values, cases[i].count, &result),
            cases[i].err);
        assert_int_equal(result, cases[i].err == MERLE_OK);
        assert_int_equal(mrl_condition_bind(condition, cases[i].values, cases[i].count, &report),
                         cases[i].err);
        if (strstr(report.message, cases[i].message) == NULL) fail_msg("%s", report.message);
    }
    merle_condition_destroy(condition);
}

static void name_of_a_parameter_is_in_the_report(void **state) {
    merle_condition *condition;
    merle_report report;
    (void)state;
    assert_int_equal(merle_condition_parse(merle_str("a = $low"), &condition, NULL), MERLE_OK);
    assert_int_equal(mrl_condition_bind(condition, NULL, 0, &report), MERLE_INVALID);
    assert_non_null(strstr(report.message, "$low"));
    merle_condition_destroy(condition);
}

/* Two parameters with one value: one element is enough for both. */
static void parameters_with_one_value_meet_one_element(void **state) {
    const merle_value values[] = {merle_value_str("x"), merle_value_str("x"), merle_value_str("y")};
    const merle_doc doc = {(const uint8_t *)"\x81\xa1t\x92\xa1x\x05", 7, 0, NULL};
    merle_condition *condition;
    int result;
    (void)state;
    merle_err err = merle_condition_parse(merle_str("t: all($1, 5, $2)"), &condition, NULL);
    assert_int_equal(err, MERLE_OK);
    assert_int_equal(merle_condition_match(condition, doc, values, 2, &result), MERLE_OK);
    assert_int_equal(result, 1);
    assert_int_equal(merle_condition_match(condition, doc, values + 1, 2, &result), MERLE_OK);
    assert_int_equal(result, 0);
    merle_condition_destroy(condition);
}

/* ---- memory ---- */

static merle_err run_build(void) {
    const merle_value two[] = {merle_value_str("b"), merle_parameter("a")};
    merle_condition *condition;
    merle_report report;
    merle_where *where =
        MERLE_OR(MERLE_AND(is_true(), merle_where_all_of("t", two, 2)),
                 merle_where_not(merle_where_each(merle_where_prefix("b", two[0]))),
                 MERLE_OR(merle_where_none_of("c", two, 2), MERLE_AND(is_true(), is_true())));
    merle_err err = merle_condition_create(where, &condition, &report);
    assert_true((err == MERLE_OK) == (condition != NULL));
    merle_condition_destroy(condition);
    return err;
}

/* A piece that is wrong takes memory too; without it NULL says the same. */
static merle_err run_wrong(void) {
    merle_condition *condition;
    merle_err err =
        merle_condition_create(MERLE_AND(is_true(), merle_where_true("a[")), &condition, NULL);
    assert_null(condition);
    return err == MERLE_INVALID ? MERLE_OK : err;
}

static merle_err run_parse(void) {
    merle_condition *condition;
    merle_report report;
    merle_err err = merle_condition_parse(
        merle_str("(a = 'x\\n' or b) and not (c in (1, 2, $x, 'y') or t: all(u, any(v, w), "
                  "none(z))) and exists(d) and e between 1 and 2 or any f starts with 'g'"),
        &condition, &report);
    assert_true((err == MERLE_OK) == (condition != NULL));
    if (err != MERLE_OK) assert_int_equal(report.err, err);
    merle_condition_destroy(condition);
    return err;
}

static merle_err run_write(void) {
    merle_condition *condition;
    merle_buffer text = {NULL, 0, 0};
    merle_err err = merle_condition_parse(
        merle_str("a = 'a string that takes some room, so that the buffer has to grow, and to "
                  "grow once more, and that has \\\" and \\u0001 in it' and \"b c\" = 1.5 and d in "
                  "(@253402300800.5, x'00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff"
                  "00ff00ff00ff00ff00ff00ff00ff00ff00ff', nan, nil, true, $1) or t: none(a, b)"),
        &condition, NULL);
    if (err != MERLE_OK) return err;
    err = merle_condition_write(condition, &text);
    if (err != MERLE_OK) assert_int_equal(text.size, 0);
    merle_buffer_free(&text);
    merle_condition_destroy(condition);
    return err;
}

static void refused_allocation_is_no_memory_and_nothing_else(void **state) {
    static merle_err (*const runs[])(void) = {run_build, run_wrong, run_parse, run_write};
    (void)state;
    for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) sample_refuse_in_turn(runs[i], 2);
}

static void asking_allocates_nothing(void **state) {
    const merle_value values[] = {merle_value_str("x")};
    const merle_doc doc = {(const uint8_t *)"\x81\xa1t\x92\xa1x\x05", 7, 0, NULL};
    sample_countdown count = {0, 0};
    const mrl_refusal refusal = {&count, sample_refuses};
    merle_condition *condition;
    int result;
    (void)state;
    merle_err err = merle_condition_parse(
        merle_str("t: all($1, 5) and not t: none(5) and not exists(a) and t[1] in (5, 6, 7.5)"),
        &condition, NULL);
    assert_int_equal(err, MERLE_OK);
    mrl_refusal_of_thread = &refusal;
    err = merle_condition_match(condition, doc, values, 1, &result);
    mrl_refusal_of_thread = NULL;
    assert_int_equal(err, MERLE_OK);
    assert_int_equal(result, 1);
    assert_int_equal(count.refused, 0);
    merle_condition_destroy(condition);
}

/* ---- threads ---- */

typedef struct asker {
    const merle_condition *condition;
    int64_t low;
    size_t wrong;
} asker;

static void *ask(void *argument) {
    asker *a = argument;
    const merle_value values[] = {merle_value_int(a->low), merle_value_int(a->low + 10)};
    for (unsigned i = 0; i < 10000; i++) {
        const uint8_t bytes[] = {0x81, 0xa1, 'n', (uint8_t)(i % 128)};
        const merle_doc doc = {bytes, sizeof(bytes), 0, NULL};
        int result, wanted = i % 128 >= a->low && i % 128 <= a->low + 10;
        merle_err err = merle_condition_match(a->condition, doc, values, 2, &result);
        if (err != MERLE_OK || result != wanted) a->wrong++;
    }
    return NULL;
}

static void one_condition_is_asked_by_many_with_their_own_values(void **state) {
    merle_condition *condition;
    pthread_t threads[4];
    asker askers[4];
    (void)state;
    assert_int_equal(merle_condition_parse(merle_str("n between $low and $high"), &condition, NULL),
                     MERLE_OK);
    for (int i = 0; i < 4; i++) {
        askers[i] = (asker){condition, i * 20, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &askers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(askers[i].wrong, 0);
    }
    merle_condition_destroy(condition);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_put_together_as_they_are_read),
        cmocka_unit_test(name_that_text_would_misread_is_quoted),
        cmocka_unit_test(value_is_taken_by_its_type),
        cmocka_unit_test(piece_that_is_wrong_says_why),
        cmocka_unit_test(error_sticks_and_consumes_what_it_meets),
        cmocka_unit_test(limits_hold_to_the_last_step),
        cmocka_unit_test(value_that_cannot_be_bound_is_refused),
        cmocka_unit_test(name_of_a_parameter_is_in_the_report),
        cmocka_unit_test(parameters_with_one_value_meet_one_element),
        cmocka_unit_test(refused_allocation_is_no_memory_and_nothing_else),
        cmocka_unit_test(asking_allocates_nothing),
        cmocka_unit_test(one_condition_is_asked_by_many_with_their_own_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
