/* tests/fuzz/condition_fuzz.c - fuzzes the parser of conditions.
 *
 * Aim     Parsing stays within the text and ends; what is a condition is written so that it parses
 *         to the same text and the same answers; its negation has the opposite answers; what is
 *         none is refused at a byte of the text.
 * Method  The input is a condition. It is asked of one document that has something of every kind.
 * Blind   Whether a text that was refused ought to have been, and whether an answer is right.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include <merle/condition.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "tests/fuzz/driver.h"

static const char doc_json[] =
    "{\"level\":10,\"score\":1.5,\"name\":\"ada\",\"banned\":false,\"none\":null,\"a\":true,"
    "\"tags\":[\"eu\",\"pvp\",7],\"guild\":\"red\",\"list\":[1,[2],{\"x\":3}],\"pos\":{\"x\":-3},"
    "\"big\":9007199254740993,\"at\":{\"$time\":\"2026-11-21T10:00:00Z\"},"
    "\"bin\":{\"$bin\":\"AAECAw==\"},\"b c\":{\"and\":5}}";

static merle_doc doc;
static merle_value values[MERLE_CONDITION_PARAMETER_COUNT_MAX];

static void prepare(void) {
    static merle_buffer buffer;
    if (doc.data != NULL) return;
    merle_err err = merle_json_read(merle_str(doc_json), &buffer, NULL);
    if (err == MERLE_OK) err = merle_doc_over(merle_bytes_of(buffer.data, buffer.size), &doc);
    MRL_ASSERT(err == MERLE_OK);
    for (size_t i = 0; i < MERLE_CONDITION_PARAMETER_COUNT_MAX; i++)
        values[i] = merle_value_str(i % 2 ? "eu" : "ada");
}

static int ask(const merle_condition *condition) {
    int result = 7;
    merle_err err = merle_condition_match(condition, doc, values,
                                          merle_condition_parameter_count(condition), &result);
    MRL_ASSERT(err == MERLE_OK && (result == 0 || result == 1));
    return result;
}

static void try_written(const merle_condition *condition, int wanted) {
    static merle_buffer text, again;
    merle_condition *read;
    MRL_ASSERT(merle_condition_write(condition, &text) == MERLE_OK);
    if (text.size > MERLE_CONDITION_TEXT_SIZE_MAX) return;
    merle_err err = merle_condition_parse(merle_bytes_of(text.data, text.size), &read, NULL);
    MRL_ASSERT(err == MERLE_OK);
    MRL_ASSERT(ask(read) == wanted);
    MRL_ASSERT(merle_condition_write(read, &again) == MERLE_OK);
    MRL_ASSERT(again.size == text.size && memcmp(again.data, text.data, text.size) == 0);
    merle_condition_destroy(read);
}

static void try_negated(const uint8_t *data, size_t size, int wanted) {
    static merle_buffer text;
    merle_condition *negated;
    text.size = 0;
    MRL_ASSERT(mrl_buffer_append(&text, "not (", 5) == MERLE_OK);
    MRL_ASSERT(mrl_buffer_append(&text, data, size) == MERLE_OK);
    MRL_ASSERT(mrl_buffer_append(&text, ")", 1) == MERLE_OK);
    merle_err err = merle_condition_parse(merle_bytes_of(text.data, text.size), &negated, NULL);
    MRL_ASSERT(err == MERLE_OK || err == MERLE_TOO_BIG);
    if (err != MERLE_OK) return;
    MRL_ASSERT(ask(negated) == !wanted);
    merle_condition_destroy(negated);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    merle_condition *condition;
    merle_report report;
    prepare();
    merle_err err = merle_condition_parse(merle_bytes_of(data, size), &condition, &report);
    MRL_ASSERT((err == MERLE_OK) == (condition != NULL));
    if (err != MERLE_OK) {
        MRL_ASSERT(err == MERLE_INVALID || err == MERLE_TOO_BIG);
        MRL_ASSERT(report.err == err && report.message[0] != 0 && report.offset <= size);
        return 0;
    }
    int result = ask(condition);
    try_written(condition, result);
    try_negated(data, size, result);
    merle_condition_destroy(condition);
    return 0;
}

void fuzz_corpus(fuzz_add_fn *add) {
    static const char *const texts[] = {
        "level >= 10 and tags: eu and not banned",
        "(a or b) and not (c != 1 or d.e[0] < -1.5e3)",
        "name starts with \"ad\" or name not starts with 'x\\u00e4\\n'",
        "level in (1, 10, 'x', nil, true) and pos.x not in () and none = nil",
        "big between 9007199254740992.0 and $1 or score not between $2 and inf",
        "tags: all(eu, any(us, pvp), none(x, all(7, y))) or guild: $name",
        "any list != 5 and any tags starts with 'e' and not any list between 1 and 2",
        "exists(\"b c\".\"and\") and \"b c\".and = 5 and not exists(list[-1].y)",
        "at > @2026-11-21 and at < @1795255201.5 and at != @2026-11-21T10:00:00.25+02:00",
        "bin starts with x'0001' and bin > x\"00\" and a",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) add(texts[i], strlen(texts[i]));
}
