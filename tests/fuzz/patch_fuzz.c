/* tests/fuzz/patch_fuzz.c - fuzzes patches and their effects.
 *
 * Aim     Any effect either is refused or leaves a document; any operations do, and their effect,
 *         applied to the same document, gives the same bytes.
 * Method  The first byte says how the rest is used. Odd: the rest is an effect for a fixed
 *         document. Even: the rest is a row of operations, each a kind, a path of a fixed list, and
 *         a value.
 * Blind   Paths that are not in the list.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/assert.h"
#include "document/check.h"
#include "document/patch.h"
#include "tests/fuzz/driver.h"

static const uint8_t doc[] =
    "\x85\xa1"
    "a\x05\xa1"
    "b\x93\x01\xa1x\x81\xa1"
    "c\x01\xa1s\xa3"
    "abc\xa1m\x81\xa1n\x91\x01\xa1"
    "f\xca\x3f\x80\0\0";
#define DOC_SIZE (sizeof(doc) - 1)
#define OP_MAX 16

static void try_effect(const uint8_t *data, size_t size) {
    static merle_buffer out;
    merle_report report;
    merle_err err = mrl_effect_apply(doc, DOC_SIZE, merle_bytes_of(data, size), &out, &report);
    MRL_ASSERT(err == MERLE_OK || err == MERLE_BAD_DOCUMENT);
    if (err == MERLE_OK)
        MRL_ASSERT(mrl_check_document(out.data, out.size, NULL) == MERLE_OK);
    else
        MRL_ASSERT(out.size == 0 && report.err == err && report.message[0] != 0);
}

static void try_ops(const uint8_t *data, size_t size) {
    static const char *const paths[] = {"a",      "b",      "b[0]",  "b[-1]",  "b[2].c", "s",
                                        "m.n",    "m.n[0]", "m.o.p", "f",      "new",    "b[9]",
                                        "\"q.\"", "m",      "x.y",   "b[-1].c"};
    static merle_buffer out, effect, again;
    merle_op ops[OP_MAX];
    size_t count = 0;
    for (size_t at = 0; at + 2 <= size && count < OP_MAX; count++) {
        merle_op *op = &ops[count];
        size_t value_size = 0;
        op->kind = (merle_op_kind)(data[at] % 9);
        op->path = paths[data[at + 1] % 16];
        op->value = merle_value_int(data[at]);
        at += 2;
        if (mrl_check_value(data + at, size - at, 0, &value_size, NULL) == MERLE_OK)
            MRL_ASSERT(merle_value_msgpack(merle_bytes_of(data + at, value_size), &op->value) ==
                       MERLE_OK);
        at += value_size;
    }
    if (mrl_ops_check(ops, count, NULL) != MERLE_OK) return;
    merle_err err = mrl_patch_apply(doc, DOC_SIZE, ops, count, &out, &effect, NULL);
    if (err != MERLE_OK) {
        MRL_ASSERT(out.size == 0 && effect.size == 0);
        return;
    }
    MRL_ASSERT(mrl_check_document(out.data, out.size, NULL) == MERLE_OK);
    err = mrl_effect_apply(doc, DOC_SIZE, merle_bytes_of(effect.data, effect.size), &again, NULL);
    MRL_ASSERT(err == MERLE_OK && again.size == out.size);
    MRL_ASSERT(memcmp(again.data, out.data, out.size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    if (data[0] & 1)
        try_effect(data + 1, size - 1);
    else
        try_ops(data + 1, size - 1);
    return 0;
}

void fuzz_corpus(fuzz_add_fn *add) {
    static const char effect[] =
        "\x01\x94\x92\x91\xa1"
        "a\x0a\x92\x92\xa1"
        "b\x03\x07\x91\x92\xa1"
        "b\x00\x92\x93\xa1m\xa1o\xa1p\xc0";
    static const char ops[] =
        "\0\x01\x00\x05\x03\x00\x07\x04\x01\x01\x05\x06\x02\x06\x01\x01\x04\x05\xa1z\x02\x0d\x07"
        "\x00\x01";
    add(effect, sizeof(effect) - 1);
    add(ops, sizeof(ops) - 1);
}
