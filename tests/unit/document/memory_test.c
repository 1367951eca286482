/* tests/unit/document/memory_test.c
 *
 * Aim     A refused allocation, whichever it is, is MERLE_NO_MEMORY to its caller and nothing else:
 *         no leak, empty outputs, and the same call works afterwards.
 * Method  Each call of the room that allocates is repeated with its first, second, third...
 *         allocation refused, until it goes through.
 * Blind   Leaks are seen only under the address sanitizer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/document/sample.h"

#include "document/check.h"
#include "document/patch.h"
#include "document/path.h"

static merle_bytes big_document(void) {
    static uint8_t data[3 + 2000 * 6];
    uint8_t *at = data;
    memcpy(at, "\xde\x07\xd0", 3);
    at += 3;
    for (uint32_t i = 0; i < 2000; i++) {
        char text[8];
        snprintf(text, sizeof(text), "%04u", i % 10000);
        *at++ = 0xa4;
        memcpy(at, text, 4);
        at += 4;
        *at++ = 0xc0;
    }
    return merle_bytes_of(data, sizeof(data));
}

static merle_err run_check(void) {
    return merle_doc_check(big_document(), NULL);
}

static merle_err run_compile(void) {
    mrl_path *path;
    merle_err err = mrl_path_compile("a.b", 3, &path);
    assert_true((err == MERLE_OK) == (path != NULL));
    mrl_path_destroy(path);
    return err;
}

static merle_err run_parts(void) {
    mrl_part parts[3];
    size_t count;
    merle_err err = mrl_parts_parse("a, -b, c[*].d", parts, 3, &count, NULL);
    assert_int_equal(count, err == MERLE_OK ? 3 : 0);
    mrl_parts_destroy(parts, count);
    return err;
}

static merle_err run_patch(void) {
    char text[3000];
    memset(text, 'x', sizeof(text));
    merle_buffer out = {NULL, 0, 0}, effect = {NULL, 0, 0};
    const merle_bytes doc = BYTES(
        "\x81\xa1"
        "a\xa1x");
    merle_value value = merle_value_bytes(merle_bytes_of(text, sizeof(text)));
    const merle_op ops[] = {MERLE_APPEND("a", value), MERLE_APPEND("l", value),
                            MERLE_ADD("l", value), MERLE_SET("b.c", value), MERLE_UNSET("a")};
    merle_err err = mrl_patch_apply(doc.data, doc.size, ops, 5, &out, &effect, NULL);
    if (err != MERLE_OK) assert_int_equal(out.size + effect.size, 0);
    merle_buffer again = {NULL, 0, 0};
    if (err == MERLE_OK) {
        err = mrl_effect_apply(doc.data, doc.size, merle_bytes_of(effect.data, effect.size), &again,
                               NULL);
        if (err != MERLE_OK) assert_int_equal(again.size, 0);
    }
    merle_buffer_free(&out);
    merle_buffer_free(&effect);
    merle_buffer_free(&again);
    return err;
}

static merle_err run_json(void) {
    merle_buffer json = {NULL, 0, 0}, out = {NULL, 0, 0};
    merle_err err = merle_json_write(big_document(), MERLE_JSON_INDENTED, &json);
    if (err != MERLE_OK) assert_int_equal(json.size, 0);
    if (err == MERLE_OK) {
        err = merle_json_read(merle_bytes_of(json.data, json.size), &out, NULL);
        if (err != MERLE_OK) assert_int_equal(out.size, 0);
    }
    if (err == MERLE_OK)
        err = merle_json_read(BYTES("{\"a\":\"\\u0041 and more\",\"b\":{\"$bin\":\"AAAA\"}}"), &out,
                              NULL);
    merle_buffer_free(&json);
    merle_buffer_free(&out);
    return err;
}

static merle_err run_builder(void) {
    merle_builder *builder;
    merle_bytes bytes;
    merle_err err = merle_builder_create(&builder);
    assert_true((err == MERLE_OK) == (builder != NULL));
    if (err != MERLE_OK) return err;
    merle_build_begin(builder);
    merle_build_array(builder, "list");
    for (int i = 0; i < 1000; i++) merle_build_int(builder, NULL, i);
    merle_build_close(builder);
    err = merle_build_end(builder, &bytes);
    assert_true((err == MERLE_OK) == (bytes.data != NULL));
    merle_builder_destroy(builder);
    return err;
}

static void refused_allocation_is_no_memory_and_nothing_else(void **state) {
    static merle_err (*const runs[])(void) = {run_check, run_compile, run_parts,
                                              run_patch, run_json,    run_builder};
    (void)state;
    for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) sample_refuse_in_turn(runs[i], 0);
}

static void buffer_that_cannot_grow_stays_as_it_was(void **state) {
    merle_buffer buffer = {NULL, 0, 0};
    (void)state;
    assert_int_equal(mrl_buffer_append(&buffer, "abc", 3), MERLE_OK);
    merle_buffer before = buffer;
    sample_countdown count = {0, 0};
    const mrl_refusal refusal = {&count, sample_refuses};
    mrl_refusal_of_thread = &refusal;
    assert_int_equal(mrl_buffer_reserve(&buffer, buffer.capacity), MERLE_NO_MEMORY);
    mrl_refusal_of_thread = NULL;
    assert_memory_equal(&buffer, &before, sizeof(buffer));
    assert_int_equal(mrl_buffer_reserve(&buffer, MRL_BUFFER_SIZE_MAX), MERLE_NO_MEMORY);
    assert_int_equal(mrl_buffer_reserve(&buffer, SIZE_MAX), MERLE_NO_MEMORY);
    assert_memory_equal(buffer.data, "abc", 3);
    merle_buffer_free(&buffer);
    assert_null(buffer.data);
    merle_buffer_free(&buffer);
    merle_buffer_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_allocation_is_no_memory_and_nothing_else),
        cmocka_unit_test(buffer_that_cannot_grow_stays_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
