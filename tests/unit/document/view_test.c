/* tests/unit/document/view_test.c
 *
 * Aim     Values are read, walked over and built as merle/document.h says.
 * Method  Every getter against every type; walks compared with msgpack-c's unpacker; what the
 *         builder makes is checked and read back; each misuse of it has its error.
 * Blind   A builder whose memory fails.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/document/sample.h"

#include <math.h>

#include <msgpack.h>

static uint64_t test_seed;

static merle_doc over(merle_bytes bytes) {
    merle_doc doc;
    assert_int_equal(merle_doc_over(bytes, &doc), MERLE_OK);
    return doc;
}

static void getter_of_another_type_gives_the_default(void **state) {
    /* i: -5, p: 7, u: 2^64-1, h: 2^63, f: 0.5, t: true, s: "abc", n: nil, l: [1], x: 2^53 + 1 */
    merle_doc doc =
        over(BYTES("\x8a\xa1i\xfb\xa1p\x07\xa1u\xcf\xff\xff\xff\xff\xff\xff\xff\xff"
                   "\xa1h\xcf\x80\0\0\0\0\0\0\0\xa1"
                   "f\xcb\x3f\xe0\0\0\0\0\0\0\xa1t\xc3\xa1s\xa3"
                   "abc"
                   "\xa1n\xc0\xa1l\x91\x01\xa1x\xcf\0\x20\0\0\0\0\0\x01"));
    (void)state;
    assert_int_equal(merle_doc_int(doc, "i", 1), -5);
    assert_int_equal(merle_doc_int(doc, "u", 1), 1);
    assert_int_equal(merle_doc_int(doc, "f", 1), 1);
    assert_int_equal(merle_doc_int(doc, "l", 1), 1);
    assert_int_equal(merle_doc_int(doc, "gone", 1), 1);
    assert_int_equal(merle_doc_int(doc, "a..b", 1), 1);
    assert_int_equal(merle_doc_int(doc, NULL, 1), 1);
    assert_int_equal(merle_doc_uint(doc, "p", 1), 7);
    assert_int_equal(merle_doc_uint(doc, "i", 1), 1);
    assert_true(merle_doc_uint(doc, "u", 1) == UINT64_MAX);
    assert_true(merle_doc_float(doc, "f", 1) == 0.5);
    assert_true(merle_doc_float(doc, "i", 1) == -5.0);
    assert_true(merle_doc_float(doc, "h", 1) == 0x1p63);
    assert_true(merle_doc_float(doc, "u", 1) == 1);
    assert_true(merle_doc_float(doc, "x", 1) == 1);
    assert_true(merle_doc_float(doc, "s", 1) == 1);
    assert_int_equal(merle_doc_bool(doc, "t", 0), 1);
    assert_int_equal(merle_doc_bool(doc, "p", 0), 0);
    assert_int_equal(merle_doc_str(doc, "s").size, 3);
    assert_memory_equal(merle_doc_str(doc, "s").data, "abc", 3);
    assert_null(merle_doc_str(doc, "i").data);
    assert_null(merle_doc_str(doc, "gone").data);
    assert_int_equal(merle_doc_has(doc, "n"), 1);
    assert_int_equal(merle_doc_has(doc, "m"), 0);
    /* What INT64_MAX and UINT64_MAX round to lies beyond their types. */
    merle_doc top = over(BYTES("\x81\xa1i\xd3\x7f\xff\xff\xff\xff\xff\xff\xff"));
    assert_true(merle_doc_float(top, "i", 1) == 1);
    merle_doc none = {NULL, 0, 0, NULL};
    merle_value value;
    assert_int_equal(merle_doc_int(none, "i", 1), 1);
    assert_int_equal(merle_doc_has(none, "i.j"), 0);
    assert_int_equal(merle_doc_value(none, "i", &value), MERLE_NOT_FOUND);
    assert_int_equal(value.type, MERLE_TYPE_NONE);
}

static void bad_bytes_give_no_document_and_no_value(void **state) {
    merle_doc doc;
    merle_value value;
    (void)state;
    assert_int_equal(merle_doc_over(BYTES("\x81\xa1"
                                          "a"),
                                    &doc),
                     MERLE_BAD_DOCUMENT);
    assert_null(doc.data);
    assert_int_equal(merle_value_msgpack(BYTES(""), &value), MERLE_BAD_DOCUMENT);
    assert_int_equal(merle_value_msgpack(BYTES("\x91"), &value), MERLE_BAD_DOCUMENT);
    assert_int_equal(merle_value_msgpack(BYTES("\x01\x01"), &value), MERLE_BAD_DOCUMENT);
    assert_int_equal(value.type, MERLE_TYPE_NONE);
    assert_int_equal(merle_value_msgpack(BYTES("\x05"), &value), MERLE_OK);
    assert_int_equal(value.type, MERLE_TYPE_INT);
    assert_int_equal(merle_value_msgpack(BYTES("\x92\x01\x02"), &value), MERLE_OK);
    assert_int_equal(value.type, MERLE_TYPE_ARRAY);
    assert_int_equal(value.count, 2);
    assert_int_equal(value.bytes.size, 3);
}

static void value_is(const merle_value *value, const msgpack_object *object);

static void walk_is(const merle_value *value, uint32_t count, const msgpack_object *elements,
                    const msgpack_object_kv *pairs) {
    merle_walk walk;
    merle_value key, kid;
    assert_int_equal(value->count, count);
    assert_int_equal(merle_walk_begin(value, &walk), MERLE_OK);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(merle_walk_next(&walk, &key, &kid), 1);
        if (pairs != NULL) value_is(&key, &pairs[i].key);
        if (pairs == NULL) assert_int_equal(key.type, MERLE_TYPE_NONE);
        value_is(&kid, pairs != NULL ? &pairs[i].val : &elements[i]);
    }
    assert_int_equal(merle_walk_next(&walk, &key, &kid), 0);
    assert_int_equal(kid.type, MERLE_TYPE_NONE);
    assert_ptr_equal(walk.at, walk.end);
}

static void bytes_are(const merle_value *value, merle_type type, const void *data, size_t size) {
    assert_int_equal(value->type, type);
    assert_int_equal(value->bytes.size, size);
    if (size > 0) assert_memory_equal(value->bytes.data, data, size);
}

static void value_is(const merle_value *value, const msgpack_object *object) {
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        assert_int_equal(value->type, MERLE_TYPE_NIL);
        return;
    case MSGPACK_OBJECT_BOOLEAN:
        assert_int_equal(value->type, MERLE_TYPE_BOOL);
        assert_int_equal(value->number.i, object->via.boolean);
        return;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        assert_int_equal(value->type,
                         object->via.u64 > INT64_MAX ? MERLE_TYPE_UINT : MERLE_TYPE_INT);
        assert_true(value->number.u == object->via.u64);
        return;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        assert_int_equal(value->type, MERLE_TYPE_INT);
        assert_true(value->number.i == object->via.i64);
        return;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        assert_int_equal(value->type, MERLE_TYPE_FLOAT);
        assert_true(value->number.f == object->via.f64 || isnan(object->via.f64));
        return;
    case MSGPACK_OBJECT_STR:
        bytes_are(value, MERLE_TYPE_STR, object->via.str.ptr, object->via.str.size);
        return;
    case MSGPACK_OBJECT_BIN:
        bytes_are(value, MERLE_TYPE_BIN, object->via.bin.ptr, object->via.bin.size);
        return;
    case MSGPACK_OBJECT_EXT:
        if (value->type == MERLE_TYPE_TIME) {
            msgpack_timestamp time = {0, 0};
            assert_true(msgpack_object_to_timestamp(object, &time));
            assert_true(time.tv_sec == value->number.i && time.tv_nsec == value->count);
            return;
        }
        assert_int_equal(value->ext_type, object->via.ext.type);
        bytes_are(value, MERLE_TYPE_EXT, object->via.ext.ptr, object->via.ext.size);
        return;
    case MSGPACK_OBJECT_ARRAY:
        assert_int_equal(value->type, MERLE_TYPE_ARRAY);
        walk_is(value, object->via.array.size, object->via.array.ptr, NULL);
        return;
    default:
        assert_int_equal(value->type, MERLE_TYPE_MAP);
        walk_is(value, object->via.map.size, NULL, object->via.map.ptr);
    }
}

static void walks_agree_with_msgpack_c(void **state) {
    mrl_random random;
    merle_buffer buffer = {NULL, 0, 0};
    (void)state;
    mrl_random_init(&random, test_seed);
    for (int round = 0; round < 5000; round++) {
        merle_bytes bytes = sample_document(&buffer, &random);
        msgpack_unpacked unpacked;
        size_t offset = 0;
        merle_value value;
        msgpack_unpacked_init(&unpacked);
        assert_int_equal(msgpack_unpack_next(&unpacked, bytes.data, bytes.size, &offset),
                         MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(merle_value_msgpack(bytes, &value), MERLE_OK);
        value_is(&value, &unpacked.data);
        msgpack_unpacked_destroy(&unpacked);
    }
    merle_buffer_free(&buffer);
    merle_value scalar = merle_value_int(1);
    merle_walk walk;
    assert_int_equal(merle_walk_begin(&scalar, &walk), MERLE_TYPE);
}

static void builder_makes_what_was_said(void **state) {
    merle_builder *builder;
    merle_bytes bytes;
    merle_value value = merle_value_time(-1, 5);
    (void)state;
    assert_int_equal(merle_builder_create(&builder), MERLE_OK);
    for (int round = 0; round < 3; round++) {
        merle_build_begin(builder);
        merle_build_nil(builder, "nil");
        merle_build_bool(builder, "bool", 1);
        merle_build_int(builder, "int", INT64_MIN);
        merle_build_uint(builder, "uint", UINT64_MAX);
        merle_build_float(builder, "float", 0.5);
        merle_build_str(builder, "str", "ada");
        merle_build_bytes(builder, "bytes", BYTES("a\0b"));
        merle_build_bin(builder, "bin", BYTES("\xff\0"));
        merle_build_time(builder, "time", 1, 2);
        merle_build_value(builder, "value", &value);
        merle_build_array(builder, "list");
        for (int i = 0; i < 20; i++) merle_build_int(builder, NULL, i);
        merle_build_map(builder, NULL);
        merle_build_str(builder, "in", "side");
        merle_build_close(builder);
        merle_build_close(builder);
        assert_int_equal(merle_build_end(builder, &bytes), MERLE_OK);
        merle_doc doc = over(bytes);
        assert_int_equal(merle_doc_has(doc, "nil"), 1);
        assert_int_equal(merle_doc_bool(doc, "bool", 0), 1);
        assert_true(merle_doc_int(doc, "int", 0) == INT64_MIN);
        assert_true(merle_doc_uint(doc, "uint", 0) == UINT64_MAX);
        assert_true(merle_doc_float(doc, "float", 0) == 0.5);
        assert_int_equal(merle_doc_str(doc, "bytes").size, 3);
        assert_int_equal(merle_doc_int(doc, "list[19]", 0), 19);
        assert_int_equal(merle_doc_str(doc, "list[20].in").size, 4);
        assert_int_equal(merle_doc_value(doc, "value", &value), MERLE_OK);
        assert_int_equal(value.type, MERLE_TYPE_TIME);
        assert_int_equal(value.number.i, -1);
        assert_int_equal(value.count, 5);
    }
    /* A copy leaves out what is named and takes more. */
    merle_buffer kept = {NULL, 0, 0};
    sample_put(&kept, bytes.data, bytes.size);
    const char *const except[] = {"list", "int"};
    merle_build_begin(builder);
    merle_build_copy(builder, over(merle_bytes_of(kept.data, kept.size)), except, 2);
    merle_build_int(builder, "int", 7);
    for (int i = 0; i < 30; i++) {
        char name[16];
        snprintf(name, sizeof(name), "more%d", i);
        merle_build_int(builder, name, i);
    }
    assert_int_equal(merle_build_end(builder, &bytes), MERLE_OK);
    merle_doc doc = over(bytes);
    assert_int_equal(merle_doc_int(doc, "int", 0), 7);
    assert_int_equal(merle_doc_has(doc, "list"), 0);
    assert_int_equal(merle_doc_str(doc, "str").size, 3);
    assert_int_equal(merle_doc_int(doc, "more29", 0), 29);
    merle_buffer_free(&kept);
    merle_builder_destroy(builder);
    merle_builder_destroy(NULL);
}

static void builder_misuse_sticks_until_the_end(void **state) {
    merle_builder *b;
    merle_bytes bytes;
    (void)state;
    assert_int_equal(merle_builder_create(&b), MERLE_OK);
    assert_int_equal(merle_build_end(b, &bytes), MERLE_INVALID);
#define MISUSE(expected, ...)                               \
    merle_build_begin(b);                                   \
    __VA_ARGS__;                                            \
    merle_build_int(b, "later", 1);                         \
    assert_int_equal(merle_build_end(b, &bytes), expected); \
    assert_null(bytes.data)
    MISUSE(MERLE_INVALID, merle_build_int(b, NULL, 1));
    MISUSE(MERLE_INVALID, merle_build_close(b));
    MISUSE(MERLE_INVALID, merle_build_map(b, "m"));
    MISUSE(MERLE_INVALID, merle_build_array(b, "l"); merle_build_int(b, "name", 1));
    MISUSE(MERLE_INVALID, merle_build_int(b, "a", 1); merle_build_int(b, "a", 2));
    MISUSE(MERLE_INVALID, merle_build_map(b, "m"); merle_build_int(b, "a", 1);
           merle_build_int(b, "a", 2); merle_build_close(b));
    MISUSE(MERLE_INVALID, merle_build_str(b, "s", NULL));
    MISUSE(MERLE_INVALID, merle_build_time(b, "t", 0, 1000000000));
    MISUSE(MERLE_BAD_DOCUMENT, merle_build_str(b, "s", "\xff"); merle_build_int(b, NULL, 1));
    MISUSE(MERLE_BAD_DOCUMENT, merle_build_str(b, "\xff", "s"));
    MISUSE(MERLE_TOO_BIG, for (int i = 0; i < 64; i++) merle_build_map(b, "m"));
#undef MISUSE
    merle_build_begin(b);
    for (int i = 0; i < 63; i++) merle_build_map(b, "m");
    for (int i = 0; i < 63; i++) merle_build_close(b);
    assert_int_equal(merle_build_end(b, &bytes), MERLE_OK);
    over(bytes);
    assert_int_equal(merle_build_end(b, &bytes), MERLE_INVALID);
    char *big = calloc(1, MERLE_DOCUMENT_SIZE_MAX);
    assert_non_null(big);
    merle_build_begin(b);
    merle_build_bin(b, "big", merle_bytes_of(big, MERLE_DOCUMENT_SIZE_MAX - 9));
    assert_int_equal(merle_build_end(b, &bytes), MERLE_TOO_BIG);
    merle_build_begin(b);
    merle_build_bin(b, "big", merle_bytes_of(big, MERLE_DOCUMENT_SIZE_MAX - 10));
    assert_int_equal(merle_build_end(b, &bytes), MERLE_OK);
    over(bytes);
    free(big);
    merle_builder_destroy(b);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(getter_of_another_type_gives_the_default),
        cmocka_unit_test(bad_bytes_give_no_document_and_no_value),
        cmocka_unit_test(walks_agree_with_msgpack_c),
        cmocka_unit_test(builder_makes_what_was_said),
        cmocka_unit_test(builder_misuse_sticks_until_the_end),
    };
    test_seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
