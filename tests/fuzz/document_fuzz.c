/* tests/fuzz/document_fuzz.c - fuzzes the checker of documents and what trusts it.
 *
 * Aim     The checker stays within the bytes and ends; whatever it takes can be skipped, read,
 *         walked over, encoded, and written as JSON that reads back as an equal document.
 * Method  The input is a document.
 * Blind   JSON of documents whose inner maps have a name twice or keys that are no strings.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/fuzz/driver.h"

#include <merle/document.h>

#include "base/assert.h"
#include "document/check.h"
#include "document/encode.h"
#include "document/scan.h"

static void look(const merle_value *value) {
    merle_walk walk;
    merle_value key, kid;
    if (value->type != MERLE_TYPE_ARRAY && value->type != MERLE_TYPE_MAP) return;
    MRL_ASSERT(merle_walk_begin(value, &walk) == MERLE_OK);
    while (merle_walk_next(&walk, &key, &kid)) look(&kid);
    MRL_ASSERT(walk.at == walk.end);
}

static void encode_top(const uint8_t *data, size_t size) {
    static uint8_t out[8192];
    const uint8_t *at;
    uint32_t count;
    mrl_scan_container(data, &at, &count);
    for (uint64_t left = 2 * (uint64_t)count; left > 0; left--) {
        size_t out_size;
        merle_err err =
            mrl_encode_at(at, data + size, (int)(left & 1), out, sizeof(out), &out_size);
        MRL_ASSERT(err == MERLE_OK || err == MERLE_TYPE || err == MERLE_TOO_BIG);
        MRL_ASSERT((err == MERLE_OK) == (out_size > 0));
        at = mrl_scan_skip(at);
    }
    MRL_ASSERT(at == data + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static merle_buffer json, again;
    merle_report report;
    merle_value value;
    merle_bytes bytes = merle_bytes_of(data, size);
    merle_err err = merle_doc_check(bytes, &report);
    MRL_ASSERT(err == MERLE_OK || err == MERLE_BAD_DOCUMENT || err == MERLE_TOO_BIG);
    if (err != MERLE_OK) {
        MRL_ASSERT(report.err == err && report.message[0] != 0 && report.offset <= size);
        return 0;
    }
    MRL_ASSERT(mrl_scan_skip(data) == data + size);
    MRL_ASSERT(mrl_scan_depth(data) <= MERLE_DEPTH_MAX);
    MRL_ASSERT(merle_value_msgpack(bytes, &value) == MERLE_OK);
    look(&value);
    encode_top(data, size);
    err = merle_json_write(bytes, MERLE_JSON_COMPACT, &json);
    if (err == MERLE_TYPE) return 0;
    MRL_ASSERT(err == MERLE_OK);
    err = merle_json_read(merle_bytes_of(json.data, json.size), &again, NULL);
    if (err == MERLE_BAD_DOCUMENT) return 0;
    MRL_ASSERT(err == MERLE_OK);
    MRL_ASSERT(mrl_scan_equal(data, again.data));
    return 0;
}

void fuzz_corpus(fuzz_add_fn *add) {
    static const char all[] =
        "\x8c\xa1"
        "a\x01\xa1"
        "b\xcb\x3f\xe0\0\0\0\0\0\0\xa1"
        "c\xd9\x03"
        "abc\xa1"
        "d\x92\x01\x81\xa1x\xc0"
        "\xa1"
        "e\xc4\x02\0\xff\xa1"
        "f\xd6\xff\0\0\0\1\xa1g\xc7\x03\x05"
        "abc\xa1h\xd3\x80\0\0\0\0\0\0\0"
        "\xa1i\xdc\0\x01\xc3\xa1j\xde\0\x01\xa1k\xca\x3f\x80\0\0\xda\0\x02\xc3\xa4\xcf\xff\xff\xff"
        "\xff"
        "\xff\xff\xff\xff\xa1l\xd7\xff\x77\x35\x94\0\0\0\0\1";
    add(all, sizeof(all) - 1);
    add("\x80", 1);
    add("\x82\x01\x02\x92\x01\x02\xc2", 7);
}
