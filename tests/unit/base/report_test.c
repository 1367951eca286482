/* tests/unit/base/report_test.c
 *
 * Aim     Reports are filled whole, terminated, and marked where they were cut; no report is fine;
 *         every error has a name and a sentence.
 * Method  Texts around the size of each field; keys with bytes that do not print.
 * Blind   Whether the sentences help anybody.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/report.h"

static void report_of_nobody_is_fine(void **state) {
    (void)state;
    assert_int_equal(mrl_report_fill(NULL, MERLE_TYPE, "%d", 1), MERLE_TYPE);
    mrl_report_clear(NULL);
    mrl_report_path(NULL, "a");
    mrl_report_key(NULL, merle_str("a"));
    mrl_report_operation(NULL, 1);
    mrl_report_prefix(NULL, "a");
}

static void fill_empties_what_was_there(void **state) {
    merle_report report;
    (void)state;
    memset(&report, 0xff, sizeof(report));
    assert_int_equal(mrl_report_fill(&report, MERLE_RULE, "The %s.", "word"), MERLE_RULE);
    assert_int_equal(report.err, MERLE_RULE);
    assert_string_equal(report.message, "The word.");
    assert_string_equal(report.path, "");
    assert_string_equal(report.key, "");
    assert_int_equal(report.operation, UINT32_MAX);
    assert_int_equal(report.offset, 0);
    assert_int_equal(report.system_errno, 0);
    mrl_report_prefix(&report, "Operation %d: ", 3);
    assert_string_equal(report.message, "Operation 3: The word.");
    mrl_report_fill(&report, MERLE_GONE, NULL);
    assert_string_equal(report.message, merle_err_text(MERLE_GONE));
}

static void text_too_long_is_cut_with_dots(void **state) {
    merle_report report;
    char text[400];
    (void)state;
    for (size_t size = 60; size < 300; size++) {
        memset(text, 'x', size);
        text[size] = 0;
        mrl_report_fill(&report, MERLE_RULE, "%s", text);
        mrl_report_collection(&report, text);
        mrl_report_path(&report, text);
        mrl_report_key(&report, merle_str(text));
        const char *const fields[] = {report.message, report.collection, report.path, report.key};
        const size_t rooms[] = {255, 63, 127, 127};
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(strlen(fields[i]), size < rooms[i] ? size : rooms[i]);
            if (size > rooms[i]) assert_string_equal(fields[i] + rooms[i] - 3, "...");
            if (size <= rooms[i]) assert_null(strchr(fields[i], '.'));
        }
    }
    mrl_report_prefix(&report, "%s", text);
    assert_string_equal(report.message + 252, "...");
}

static void key_that_does_not_print_is_escaped(void **state) {
    merle_report report;
    uint8_t zeros[200] = {0};
    (void)state;
    mrl_report_fill(&report, MERLE_EXISTS, NULL);
    mrl_report_key(&report, merle_bytes_of("a\0\\\xff~", 5));
    assert_string_equal(report.key, "a\\x00\\x5c\\xff~");
    mrl_report_key(&report, merle_bytes_of(zeros, sizeof(zeros)));
    assert_int_equal(strlen(report.key), 124 + 3);
    assert_string_equal(report.key + 120, "\\x00...");
    mrl_report_key(&report, merle_bytes_of(NULL, 0));
    assert_string_equal(report.key, "");
}

static void every_error_has_name_and_text(void **state) {
    (void)state;
    for (int err = MERLE_OK; err <= MERLE_SYSTEM; err++) {
        const char *name = merle_err_name((merle_err)err), *text = merle_err_text((merle_err)err);
        assert_int_equal(strncmp(name, "MERLE_", 6), 0);
        assert_string_not_equal(name, "MERLE_UNKNOWN");
        assert_int_equal(text[strlen(text) - 1], '.');
    }
    assert_string_equal(merle_err_name(MERLE_EXISTS), "MERLE_EXISTS");
    assert_string_equal(merle_err_name((merle_err)999), "MERLE_UNKNOWN");
    assert_string_equal(merle_err_name((merle_err)-1), "MERLE_UNKNOWN");
    assert_string_equal(merle_version(), MERLE_VERSION_STRING);
    assert_int_equal(merle_str(NULL).size, 0);
    assert_int_equal(MERLE_STR("abc").size, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(report_of_nobody_is_fine),
        cmocka_unit_test(fill_empties_what_was_there),
        cmocka_unit_test(text_too_long_is_cut_with_dots),
        cmocka_unit_test(key_that_does_not_print_is_escaped),
        cmocka_unit_test(every_error_has_name_and_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
