/* tests/fuzz/json_fuzz.c - fuzzes the JSON reader.
 *
 * Aim     Reading stays within the text and ends; what was read is a document, and writing and
 *         reading it again gives the same text.
 * Method  The input is JSON text.
 * Blind   Whether a text that was refused ought to have been.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include <merle/document.h>

#include "base/assert.h"
#include "tests/fuzz/driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static merle_buffer doc, json, again, text;
    merle_report report;
    merle_err err = merle_json_read(merle_bytes_of(data, size), &doc, &report);
    MRL_ASSERT(err == MERLE_OK || err == MERLE_BAD_DOCUMENT || err == MERLE_TOO_BIG);
    if (err != MERLE_OK) {
        MRL_ASSERT(doc.size == 0 && report.err == err && report.message[0] != 0);
        return 0;
    }
    MRL_ASSERT(merle_doc_check(merle_bytes_of(doc.data, doc.size), NULL) == MERLE_OK);
    err = merle_json_write(merle_bytes_of(doc.data, doc.size), MERLE_JSON_INDENTED, &json);
    MRL_ASSERT(err == MERLE_OK);
    err = merle_json_read(merle_bytes_of(json.data, json.size), &again, NULL);
    MRL_ASSERT(err == MERLE_OK);
    err = merle_json_write(merle_bytes_of(again.data, again.size), MERLE_JSON_INDENTED, &text);
    MRL_ASSERT(err == MERLE_OK && text.size == json.size);
    MRL_ASSERT(memcmp(text.data, json.data, json.size) == 0);
    return 0;
}

void fuzz_corpus(fuzz_add_fn *add) {
    static const char *const texts[] = {
        "{\"a\":1,\"b\":[true,false,null,-1.5e3],\"c\":{\"d\":\"\\u00e4\\ud83d\\udc26\\n\"}}",
        "{\"a\":{\"$bin\":\"AP8=\"},\"b\":{\"$ext\":[-5,\"AAAA\"]},\"c\":{\"$float\":\"-inf\"}}",
        "{\"a\":{\"$time\":\"2026-11-21T10:00:00.5Z\"},\"b\":{\"$$bin\":1},\"c\":{\"$\":"
        "18446744073709551615}}",
        "{\"a\":[[[[[[{\"b\":{}}]]]]]],\"\\\"\":\"\\\\\"}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) add(texts[i], strlen(texts[i]));
}
