/* tests/unit/document/json_test.c
 *
 * Aim     JSON text becomes the document that it says or is refused; what is written reads back as
 *         a document of equal values, whatever is in it and whatever the locale says of commas.
 * Method  Tables by hand; random documents written, read and written again, in both styles.
 * Blind   Other readers' and writers' tastes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/document/sample.h"

#include <locale.h>

#include "document/scan.h"
#include "document/textform.h"

static uint64_t test_seed;

static merle_err read_json(merle_bytes json, merle_buffer *out, merle_report *report) {
    uint8_t *exact = sample_exact(json);
    merle_err err = merle_json_read(merle_bytes_of(exact, json.size), out, report);
    free(exact);
    return err;
}

static const struct {
    const char *json;
    const char *data;
    size_t size;
} good_texts[] = {
#define CASE(json, literal) \
    { json, literal, sizeof(literal) - 1 }
    CASE("{}", "\x80"),
    CASE(" \t\r\n{ } ", "\x80"),
    CASE("{\"a\":1}",
         "\x81\xa1"
         "a\x01"),
    CASE("{\"a\": null , \"b\":[true,false]}",
         "\x82\xa1"
         "a\xc0\xa1"
         "b\x92\xc3\xc2"),
    CASE("{\"a\":{\"b\":{}},\"c\":[]}",
         "\x82\xa1"
         "a\x81\xa1"
         "b\x80\xa1"
         "c\x90"),
    CASE("{\"a\":-0}",
         "\x81\xa1"
         "a\x00"),
    CASE("{\"a\":-1}",
         "\x81\xa1"
         "a\xff"),
    CASE("{\"a\":18446744073709551615}",
         "\x81\xa1"
         "a\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
    CASE("{\"a\":-9223372036854775808}",
         "\x81\xa1"
         "a\xd3\x80\0\0\0\0\0\0\0"),
    CASE("{\"a\":0.5}",
         "\x81\xa1"
         "a\xcb\x3f\xe0\0\0\0\0\0\0"),
    CASE("{\"a\":5e-1}",
         "\x81\xa1"
         "a\xcb\x3f\xe0\0\0\0\0\0\0"),
    CASE("{\"a\":1E0}",
         "\x81\xa1"
         "a\xcb\x3f\xf0\0\0\0\0\0\0"),
    CASE("{\"a\":-0.0}",
         "\x81\xa1"
         "a\xcb\x80\0\0\0\0\0\0\0"),
    CASE("{\"\":\"\"}", "\x81\xa0\xa0"),
    CASE("{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}",
         "\x81\xa1"
         "a\xa8\"\\/\b\f\n\r\t"),
    CASE("{\"a\":\"\\u0000\\u00e4\\u20AC\\ud83d\\udc26\"}",
         "\x81\xa1"
         "a\xaa\0\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\xa6"),
    CASE("{\"\\u0061\":1}",
         "\x81\xa1"
         "a\x01"),
    CASE("{\"a\":{\"$bin\":\"\"}}",
         "\x81\xa1"
         "a\xc4\0"),
    CASE("{\"a\":{\"$bin\":\"AP8B\"}}",
         "\x81\xa1"
         "a\xc4\x03\0\xff\x01"),
    CASE("{\"a\":{\"$bin\":\"AP8=\"}}",
         "\x81\xa1"
         "a\xc4\x02\0\xff"),
    CASE("{\"a\":{\"$ext\":[-5,\"AA==\"]}}",
         "\x81\xa1"
         "a\xd4\xfb\0"),
    CASE("{\"a\":{\"$time\":\"1970-01-01T00:00:01Z\"}}",
         "\x81\xa1"
         "a\xd6\xff\0\0\0\1"),
    CASE("{\"a\":{\"$time\":\"1970-01-01T02:00:01.5+02:00\"}}",
         "\x81\xa1"
         "a\xd7\xff\x77\x35\x94\0\0\0\0\1"),
    CASE("{\"a\":{\"$float\":\"inf\"}}",
         "\x81\xa1"
         "a\xcb\x7f\xf0\0\0\0\0\0\0"),
    CASE("{\"a\":{\"$$bin\":1}}",
         "\x81\xa1"
         "a\x81\xa4$bin\x01"),
    CASE("{\"a\":{\"$other\":1}}",
         "\x81\xa1"
         "a\x81\xa6$other\x01"),
    CASE("{\"a\":{\"$bin\":1,\"x\":2}}",
         "\x81\xa1"
         "a\x82\xa4$bin\x01\xa1x\x02"),
    CASE("{\"$bin\":\"x\"}", "\x81\xa4$bin\xa1x"),
#undef CASE
};

static void text_becomes_the_document_it_says(void **state) {
    merle_buffer out = {NULL, 0, 0};
    merle_report report;
    (void)state;
    for (size_t i = 0; i < sizeof(good_texts) / sizeof(good_texts[0]); i++) {
        assert_int_equal(read_json(merle_str(good_texts[i].json), &out, &report), MERLE_OK);
        assert_int_equal(out.size, good_texts[i].size);
        assert_memory_equal(out.data, good_texts[i].data, good_texts[i].size);
        /* Cut anywhere but in the blanks behind, it is refused. */
        size_t size = strlen(good_texts[i].json);
        while (good_texts[i].json[size - 1] == ' ') size--;
        for (size_t cut = 0; cut < size; cut++) {
            merle_err err = read_json(merle_bytes_of(good_texts[i].json, cut), &out, &report);
            assert_int_equal(err, MERLE_BAD_DOCUMENT);
            assert_int_equal(out.size, 0);
        }
    }
    merle_buffer_free(&out);
}

static const char *const bad_texts[] = {"[]",
                                        "1",
                                        "null",
                                        "{} {}",
                                        "{}x",
                                        "{a:1}",
                                        "{\"a\" 1}",
                                        "{\"a\":1,}",
                                        "{,}",
                                        "{\"a\":[1,]}",
                                        "{\"a\":01}",
                                        "{\"a\":+1}",
                                        "{\"a\":1.}",
                                        "{\"a\":.5}",
                                        "{\"a\":1e}",
                                        "{\"a\":1e+}",
                                        "{\"a\":-}",
                                        "{\"a\":--1}",
                                        "{\"a\":0x1}",
                                        "{\"a\":NaN}",
                                        "{\"a\":Infinity}",
                                        "{\"a\":tru}",
                                        "{\"a\":nulL}",
                                        "{\"a\":18446744073709551616}",
                                        "{\"a\":-9223372036854775809}",
                                        "{\"a\":1e400}",
                                        "{\"a\":'x'}",
                                        "{\"a\":\"\\x\"}",
                                        "{\"a\":\"\\u12g4\"}",
                                        "{\"a\":\"\\ud83d\"}",
                                        "{\"a\":\"\\ud83d\\u0041\"}",
                                        "{\"a\":\"\\udc26\"}",
                                        "{\"a\":\"\n\"}",
                                        "{\"a\":\"\x01\"}",
                                        "{\"a\":\"\xff\"}",
                                        "{\"a\":\"\xed\xa0\x80\"}",
                                        "{\"a\":1,\"a\":2}",
                                        "{\"a\":1,\"\\u0061\":2}",
                                        "{\"x\":{\"a\":1,\"a\":2}}",
                                        "{\"x\":[{\"a\":1,\"a\":2}]}",
                                        "{\"a\":{\"$bin\":1}}",
                                        "{\"a\":{\"$bin\":\"A\"}}",
                                        "{\"a\":{\"$bin\":\"AA\"}}",
                                        "{\"a\":{\"$bin\":\"AB==\"}}",
                                        "{\"a\":{\"$bin\":\"A===\"}}",
                                        "{\"a\":{\"$bin\":\"====\"}}",
                                        "{\"a\":{\"$bin\":\"AA==AAAA\"}}",
                                        "{\"a\":{\"$bin\":\"AA-_\"}}",
                                        "{\"a\":{\"$ext\":\"AA==\"}}",
                                        "{\"a\":{\"$ext\":[]}}",
                                        "{\"a\":{\"$ext\":[128,\"\"]}}",
                                        "{\"a\":{\"$ext\":[1,\"\",1]}}",
                                        "{\"a\":{\"$ext\":[1,2]}}",
                                        "{\"a\":{\"$time\":0}}",
                                        "{\"a\":{\"$time\":\"1970-01-01\"}}",
                                        "{\"a\":{\"$time\":\"1970-02-29T00:00:00Z\"}}",
                                        "{\"a\":{\"$time\":\"1970-13-01T00:00:00Z\"}}",
                                        "{\"a\":{\"$time\":\"1970-01-01T24:00:00Z\"}}",
                                        "{\"a\":{\"$time\":\"1970-01-01T00:00:60Z\"}}",
                                        "{\"a\":{\"$time\":\"1970-01-01T00:00:00\"}}",
                                        "{\"a\":{\"$time\":\"1970-01-01T00:00:00.Z\"}}",
                                        "{\"a\":{\"$time\":\"1970-01-01T00:00:00.1234567890Z\"}}",
                                        "{\"a\":{\"$time\":\"1970-01-01T00:00:00Zx\"}}",
                                        "{\"a\":{\"$float\":\"NaN\"}}",
                                        "{\"a\":{\"$float\":1}}"};

static void text_that_is_no_json_document_is_refused(void **state) {
    merle_buffer out = {NULL, 0, 0};
    merle_report report;
    (void)state;
    for (size_t i = 0; i < sizeof(bad_texts) / sizeof(bad_texts[0]); i++) {
        assert_int_equal(read_json(merle_str(bad_texts[i]), &out, &report), MERLE_BAD_DOCUMENT);
        assert_int_equal(out.size, 0);
        assert_int_equal(report.err, MERLE_BAD_DOCUMENT);
        assert_true(strstr(report.message, "line 1") != NULL || strlen(report.message) > 0);
        assert_int_equal(merle_json_read(merle_str(bad_texts[i]), &out, NULL), MERLE_BAD_DOCUMENT);
    }
    assert_int_equal(read_json(BYTES("{\n \"a\":\n  x}"), &out, &report), MERLE_BAD_DOCUMENT);
    assert_non_null(strstr(report.message, "line 3, column 3"));
    assert_int_equal(report.offset, 10);
    merle_buffer_free(&out);
}

static void depth_is_that_of_the_document(void **state) {
    merle_buffer json = {NULL, 0, 0}, out = {NULL, 0, 0}, again = {NULL, 0, 0};
    static const char *const scalars[] = {"1", "{\"$bin\":\"AA==\"}", "{\"$ext\":[7,\"AA==\"]}"};
    (void)state;
    for (unsigned depth = 1; depth < 100; depth++) {
        for (unsigned s = 0; s < 3; s++) {
            json.size = 0;
            for (unsigned i = 0; i < depth; i++) sample_put(&json, "{\"aa\":", 6);
            sample_put(&json, scalars[s], strlen(scalars[s]));
            for (unsigned i = 0; i < depth; i++) sample_put(&json, "}", 1);
            merle_err err = read_json(merle_bytes_of(json.data, json.size), &out, NULL);
            assert_int_equal(err, depth <= 64 ? MERLE_OK : MERLE_TOO_BIG);
            if (err != MERLE_OK) continue;
            assert_int_equal(
                merle_json_write(merle_bytes_of(out.data, out.size), MERLE_JSON_COMPACT, &again),
                MERLE_OK);
            assert_int_equal(again.size, json.size);
            assert_memory_equal(again.data, json.data, json.size);
        }
    }
    merle_buffer_free(&json);
    merle_buffer_free(&out);
    merle_buffer_free(&again);
}

static void written_is(merle_bytes doc, merle_json_style style, const char *expected) {
    merle_buffer out = {NULL, 0, 0};
    assert_int_equal(merle_json_write(doc, style, &out), MERLE_OK);
    assert_int_equal(out.size, strlen(expected));
    assert_memory_equal(out.data, expected, out.size);
    merle_buffer_free(&out);
}

static void document_is_written_in_its_plain_form(void **state) {
    (void)state;
    written_is(BYTES("\x80"), MERLE_JSON_INDENTED, "{}");
    written_is(BYTES("\x82\xa1"
                     "a\x01\xa1"
                     "b\x92\xc0\x80"),
               MERLE_JSON_COMPACT, "{\"a\":1,\"b\":[null,{}]}");
    written_is(BYTES("\x82\xa1"
                     "a\x01\xa1"
                     "b\x92\xc0\x80"),
               MERLE_JSON_INDENTED, "{\n  \"a\": 1,\n  \"b\": [\n    null,\n    {}\n  ]\n}");
    written_is(BYTES("\x81\xa1"
                     "a\xa4\x01\"\\\x1f"),
               MERLE_JSON_COMPACT, "{\"a\":\"\\u0001\\\"\\\\\\u001f\"}");
    written_is(BYTES("\x81\xa1"
                     "a\xcb\x40\x14\0\0\0\0\0\0"),
               MERLE_JSON_COMPACT, "{\"a\":5.0}");
    written_is(BYTES("\x81\xa1"
                     "a\xcb\x80\0\0\0\0\0\0\0"),
               MERLE_JSON_COMPACT, "{\"a\":-0.0}");
    written_is(BYTES("\x81\xa1"
                     "a\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"),
               MERLE_JSON_COMPACT, "{\"a\":0.1}");
    written_is(BYTES("\x81\xa1"
                     "a\xcb\x7f\xf8\0\0\0\0\0\0"),
               MERLE_JSON_COMPACT, "{\"a\":{\"$float\":\"nan\"}}");
    written_is(BYTES("\x81\xa1"
                     "a\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
               MERLE_JSON_COMPACT, "{\"a\":18446744073709551615}");
    written_is(BYTES("\x81\xa1"
                     "a\xd6\xff\x69\x20\x3a\xa0"),
               MERLE_JSON_COMPACT, "{\"a\":{\"$time\":\"2025-11-21T10:10:40Z\"}}");
    written_is(BYTES("\x81\xa1"
                     "a\x81\xa4$bin\x01"),
               MERLE_JSON_COMPACT, "{\"a\":{\"$$bin\":1}}");
    written_is(BYTES("\x81\xa1"
                     "a\x81\xa1$\x01"),
               MERLE_JSON_COMPACT, "{\"a\":{\"$$\":1}}");
    written_is(BYTES("\x81\xa4$bin\x01"), MERLE_JSON_COMPACT, "{\"$bin\":1}");
    merle_buffer out = {NULL, 0, 0};
    assert_int_equal(merle_json_write(BYTES("\x81\x01\x01"), MERLE_JSON_COMPACT, &out), MERLE_TYPE);
    assert_int_equal(out.size, 0);
    assert_int_equal(merle_json_write(BYTES("\x81\x01"), MERLE_JSON_COMPACT, &out),
                     MERLE_BAD_DOCUMENT);
    merle_buffer_free(&out);
}

static void random_documents_come_back_equal(void **state) {
    mrl_random random;
    merle_buffer buffer = {NULL, 0, 0}, json = {NULL, 0, 0}, read = {NULL, 0, 0},
                 again = {NULL, 0, 0};
    (void)state;
    mrl_random_init(&random, test_seed);
    /* If this locale exists, a careless reader or writer of numbers is found out. */
    (void)setlocale(LC_ALL, "de_DE.UTF-8");
    for (int round = 0; round < 10000; round++) {
        merle_bytes doc = sample_document(&buffer, &random);
        merle_json_style style = round & 1 ? MERLE_JSON_INDENTED : MERLE_JSON_COMPACT;
        merle_report report;
        assert_int_equal(merle_json_write(doc, style, &json), MERLE_OK);
        assert_int_equal(read_json(merle_bytes_of(json.data, json.size), &read, &report), MERLE_OK);
        assert_true(mrl_scan_equal(doc.data, read.data));
        assert_int_equal(merle_json_write(merle_bytes_of(read.data, read.size), style, &again),
                         MERLE_OK);
        assert_int_equal(again.size, json.size);
        assert_memory_equal(again.data, json.data, json.size);
    }
    (void)setlocale(LC_ALL, "C");
    merle_buffer_free(&buffer);
    merle_buffer_free(&json);
    merle_buffer_free(&read);
    merle_buffer_free(&again);
}

static void times_of_every_day_come_back(void **state) {
    mrl_random random;
    char text[MRL_TIME_TEXT_SIZE_MAX];
    (void)state;
    mrl_random_init(&random, test_seed + 1);
    for (int round = 0; round < 100000; round++) {
        int64_t range = MRL_TIME_SECONDS_MAX - MRL_TIME_SECONDS_MIN + 1;
        int64_t seconds =
            MRL_TIME_SECONDS_MIN + (int64_t)mrl_random_below(&random, (uint64_t)range);
        if (round == 0) seconds = MRL_TIME_SECONDS_MIN;
        if (round == 1) seconds = MRL_TIME_SECONDS_MAX;
        uint32_t nanoseconds = (uint32_t)mrl_random_below(&random, 1000000000), nanoseconds_back;
        int64_t seconds_back;
        if (round % 3 == 0) nanoseconds = nanoseconds / 1000000 * 1000000;
        size_t size = mrl_time_write(seconds, nanoseconds, text);
        assert_int_equal(strlen(text), size);
        assert_true(mrl_time_read((const uint8_t *)text, size, &seconds_back, &nanoseconds_back));
        assert_true(seconds_back == seconds && nanoseconds_back == nanoseconds);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_becomes_the_document_it_says),
        cmocka_unit_test(text_that_is_no_json_document_is_refused),
        cmocka_unit_test(depth_is_that_of_the_document),
        cmocka_unit_test(document_is_written_in_its_plain_form),
        cmocka_unit_test(random_documents_come_back_equal),
        cmocka_unit_test(times_of_every_day_come_back),
    };
    test_seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
