/* tests/unit/document/check_test.c
 *
 * Aim     Foreign bytes are taken exactly if they are a document by merle's rules, and reading
 *         never leaves them.
 * Method  Every form of value by hand, cut at every byte; UTF-8, depth and double keys at their
 *         edges; random documents and random damage, where msgpack-c's unpacker is the second
 *         opinion on all that was taken.
 * Blind   Reads past the end are seen only under the address sanitizer or valgrind.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/document/sample.h"

#include <msgpack.h>

#include "document/check.h"
#include "document/scan.h"
#include "document/utf8.h"

static uint64_t test_seed;

static merle_err check(merle_bytes bytes) {
    uint8_t *exact = sample_exact(bytes);
    merle_report report;
    memset(&report, 0xff, sizeof(report));
    merle_err err = merle_doc_check(merle_bytes_of(exact, bytes.size), &report);
    if (err != MERLE_OK) {
        assert_int_equal(report.err, err);
        assert_true(strlen(report.message) > 10);
        assert_true(report.offset <= bytes.size);
    }
    assert_int_equal(merle_doc_check(merle_bytes_of(exact, bytes.size), NULL), err);
    free(exact);
    return err;
}

static merle_err check_made(const merle_buffer *doc) {
    return check(merle_bytes_of(doc->data, doc->size));
}

static void refused_at_every_cut(const merle_buffer *doc) {
    for (size_t size = 0; size < doc->size; size++)
        assert_int_equal(check(merle_bytes_of(doc->data, size)), MERLE_BAD_DOCUMENT);
}

static int unpacker_takes(const merle_buffer *doc) {
    msgpack_unpacked unpacked;
    size_t offset = 0;
    msgpack_unpacked_init(&unpacked);
    msgpack_unpack_return result =
        msgpack_unpack_next(&unpacked, (const char *)doc->data, doc->size, &offset);
    msgpack_unpacked_destroy(&unpacked);
    return result == MSGPACK_UNPACK_SUCCESS && offset == doc->size;
}

/* What the check has let pass: the other reader agrees, and ours comes to the same end. */
static void assert_readable(const merle_buffer *doc) {
    assert_true(unpacker_takes(doc));
    assert_ptr_equal(mrl_scan_skip(doc->data), doc->data + doc->size);
}

static const struct {
    const char *data;
    size_t size;
} forms[] = {
#define VALUE(literal) \
    { literal, sizeof(literal) - 1 }
    VALUE("\x00"),
    VALUE("\x7f"),
    VALUE("\xe0"),
    VALUE("\xff"),
    VALUE("\xc0"),
    VALUE("\xc2"),
    VALUE("\xc3"),
    VALUE("\x80"),
    VALUE("\x81\xa1x\x01"),
    VALUE("\x90"),
    VALUE("\x92\x01\x02"),
    VALUE("\xa0"),
    VALUE("\xa3"
          "abc"),
    VALUE("\xc4\x00"),
    VALUE("\xc4\x02\x00\xff"),
    VALUE("\xc5\x00\x01\xff"),
    VALUE("\xc6\x00\x00\x00\x01\xff"),
    VALUE("\xc7\x00\x05"),
    VALUE("\xc7\x03\x05"
          "abc"),
    VALUE("\xc8\x00\x01\x05"
          "a"),
    VALUE("\xc9\x00\x00\x00\x01\x05"
          "a"),
    VALUE("\xca\x3f\x80\x00\x00"),
    VALUE("\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
    VALUE("\xcc\xff"),
    VALUE("\xcd\xff\xff"),
    VALUE("\xce\xff\xff\xff\xff"),
    VALUE("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
    VALUE("\xd0\x80"),
    VALUE("\xd1\x80\x00"),
    VALUE("\xd2\x80\x00\x00\x00"),
    VALUE("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),
    VALUE("\xd4\x05"
          "a"),
    VALUE("\xd5\x05"
          "ab"),
    VALUE("\xd6\xff"
          "abcd"),
    VALUE("\xd7\xff"
          "abcdefgh"),
    VALUE("\xd8\x05"
          "0123456789abcdef"),
    VALUE("\xd9\x02"
          "ab"),
    VALUE("\xda\x00\x02"
          "ab"),
    VALUE("\xdb\x00\x00\x00\x02"
          "ab"),
    VALUE("\xdc\x00\x01\x07"),
    VALUE("\xdd\x00\x00\x00\x01\x07"),
    VALUE("\xde\x00\x01\xa1"
          "a\x07"),
    VALUE("\xdf\x00\x00\x00\x01\xa1"
          "a\x07"),
#undef VALUE
};

static void form_of_every_kind_is_taken_and_refused_when_cut(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        merle_buffer doc = {NULL, 0, 0};
        sample_put(&doc, "\x81\xa1k", 3);
        sample_put(&doc, forms[i].data, forms[i].size);
        assert_int_equal(check_made(&doc), MERLE_OK);
        assert_readable(&doc);
        assert_ptr_equal(mrl_scan_skip(doc.data + 3), doc.data + doc.size);
        merle_value value;
        assert_ptr_equal(mrl_scan_value(doc.data + 3, &value), doc.data + doc.size);
        assert_int_equal(value.type, mrl_scan_type(doc.data + 3));
        refused_at_every_cut(&doc);
        sample_byte(&doc, 0x01);
        assert_int_equal(check_made(&doc), MERLE_BAD_DOCUMENT);
        merle_buffer_free(&doc);
    }
}

static void bytes_that_are_no_map_are_refused(void **state) {
    (void)state;
    assert_int_equal(check(BYTES("")), MERLE_BAD_DOCUMENT);
    assert_int_equal(check(BYTES("\x80")), MERLE_OK);
    assert_int_equal(check(BYTES("\x90")), MERLE_BAD_DOCUMENT);
    assert_int_equal(check(BYTES("\xc0")), MERLE_BAD_DOCUMENT);
    assert_int_equal(check(BYTES("\xa1"
                                 "a")),
                     MERLE_BAD_DOCUMENT);
    assert_int_equal(check(BYTES("\x81\xa1"
                                 "a\xc1")),
                     MERLE_BAD_DOCUMENT);
    assert_int_equal(check(BYTES("\x81\xc1\x01")), MERLE_BAD_DOCUMENT);
    assert_int_equal(check(BYTES("\xde\x00\x00")), MERLE_OK);
    assert_int_equal(check(BYTES("\xdf\x00\x00\x00\x00")), MERLE_OK);
    assert_int_equal(merle_doc_check(merle_bytes_of(NULL, 0), NULL), MERLE_BAD_DOCUMENT);
}

static void count_beyond_the_bytes_is_refused(void **state) {
    (void)state;
    assert_int_equal(check(BYTES("\xdf\xff\xff\xff\xff\x01\x01")), MERLE_BAD_DOCUMENT);
    assert_int_equal(check(BYTES("\xdf\x80\x00\x00\x00\x01\x01")), MERLE_BAD_DOCUMENT);
    assert_int_equal(check(BYTES("\x81\x01\xdd\xff\xff\xff\xff")), MERLE_BAD_DOCUMENT);
    assert_int_equal(check(BYTES("\x81\x01\xdf\x80\x00\x00\x00")), MERLE_BAD_DOCUMENT);
    assert_int_equal(check(BYTES("\x81\x01\xdb\xff\xff\xff\xff"
                                 "a")),
                     MERLE_BAD_DOCUMENT);
    assert_int_equal(check(BYTES("\x81\x01\xc6\xff\xff\xff\xff"
                                 "a")),
                     MERLE_BAD_DOCUMENT);
    assert_int_equal(check(BYTES("\x81\x01\xc9\xff\xff\xff\xff\x01"
                                 "a")),
                     MERLE_BAD_DOCUMENT);
}

static void depth_of_64_is_taken_and_65_is_too_big(void **state) {
    (void)state;
    for (unsigned depth = 1; depth < 70; depth++) {
        for (unsigned kind = 0; kind < 2; kind++) {
            merle_buffer doc = {NULL, 0, 0};
            sample_put(&doc, "\x81\xa1k", 3);
            for (unsigned i = 1; i < depth; i++)
                sample_put(&doc, kind ? "\x91" : "\x81\x01", kind ? 1 : 2);
            sample_byte(&doc, 0xc0);
            merle_err err = check_made(&doc);
            assert_int_equal(err, depth <= 64 ? MERLE_OK : MERLE_TOO_BIG);
            if (err == MERLE_OK) assert_int_equal(mrl_scan_depth(doc.data), depth);
            /* An empty array inside is one level more. */
            doc.data[doc.size - 1] = 0x90;
            err = check_made(&doc);
            assert_int_equal(err, depth < 64 ? MERLE_OK : MERLE_TOO_BIG);
            merle_buffer_free(&doc);
        }
    }
}

static const struct {
    const char *one, *other;
    size_t one_size, other_size;
    int same;
} key_pairs[] = {
#define PAIR(one, other, same) \
    { one, other, sizeof(one) - 1, sizeof(other) - 1, same }
    PAIR("\xa1"
         "a",
         "\xa1"
         "a",
         1),
    PAIR("\xa1"
         "a",
         "\xd9\x01"
         "a",
         1),
    PAIR("\xda\x00\x01"
         "a",
         "\xdb\x00\x00\x00\x01"
         "a",
         1),
    PAIR("\xa1"
         "a",
         "\xa1"
         "b",
         0),
    PAIR("\xa1"
         "a",
         "\xa2"
         "ab",
         0),
    PAIR("\xa0", "\xd9\x00", 1),
    PAIR("\xa1"
         "a",
         "\xc4\x01"
         "a",
         0),
    PAIR("\xc4\x01"
         "a",
         "\xc5\x00\x01"
         "a",
         1),
    PAIR("\x05", "\xcc\x05", 1),
    PAIR("\x05", "\xd3\x00\x00\x00\x00\x00\x00\x00\x05", 1),
    PAIR("\x05", "\xca\x40\xa0\x00\x00", 1),
    PAIR("\xff", "\xd0\xff", 1),
    PAIR("\xff", "\xcc\xff", 0),
    PAIR("\xc0", "\xc0", 1),
    PAIR("\xc2", "\xc3", 0),
    PAIR("\xd4\x05"
         "a",
         "\xc7\x01\x05"
         "a",
         1),
    PAIR("\xd4\x05"
         "a",
         "\xd4\x06"
         "a",
         0),
    PAIR("\xd6\xff\x00\x00\x00\x01", "\xd7\xff\x00\x00\x00\x00\x00\x00\x00\x01", 1),
    PAIR("\x91\x01", "\x91\x01", 1),
    PAIR("\x91\x01", "\x91\x02", 0),
    PAIR("\x90", "\x80", 0),
    PAIR("\xcb\x00\x00\x00\x00\x00\x00\x00\x00", "\xcb\x80\x00\x00\x00\x00\x00\x00\x00", 1),
    PAIR("\xa9"
         "prefix000",
         "\xa9"
         "prefix001",
         0),
#undef PAIR
};

static void key_twice_in_any_encoding_is_refused(void **state) {
    (void)state;
    /* Few keys are compared in key_pairs, more are sorted on the stack, many in memory. */
    static const unsigned fillers[] = {0, 1, 22, 23, 100, 1022, 1023, 3000};
    for (size_t i = 0; i < sizeof(key_pairs) / sizeof(key_pairs[0]); i++) {
        for (size_t f = 0; f < sizeof(fillers) / sizeof(fillers[0]); f++) {
            merle_buffer doc = {NULL, 0, 0};
            sample_byte(&doc, 0xde);
            sample_big(&doc, fillers[f] + 2, 2);
            sample_put(&doc, key_pairs[i].one, key_pairs[i].one_size);
            sample_byte(&doc, 0xc0);
            for (unsigned n = 0; n < fillers[f]; n++) {
                char name[16];
                int size = snprintf(name, sizeof(name), "filler%u", n);
                sample_byte(&doc, 0xa0 | (unsigned)size);
                sample_put(&doc, name, (size_t)size);
                sample_byte(&doc, 0xc3);
            }
            size_t second = doc.size;
            sample_put(&doc, key_pairs[i].other, key_pairs[i].other_size);
            sample_byte(&doc, 0xc2);
            merle_report report;
            merle_err err = merle_doc_check(merle_bytes_of(doc.data, doc.size), &report);
            assert_int_equal(err, key_pairs[i].same ? MERLE_BAD_DOCUMENT : MERLE_OK);
            if (key_pairs[i].same) assert_int_equal(report.offset, second);
            merle_buffer_free(&doc);
        }
    }
    /* Further down, merle does not look. */
    assert_int_equal(check(BYTES("\x81\xa1"
                                 "a\x82\xa1"
                                 "b\x01\xa1"
                                 "b\x02")),
                     MERLE_OK);
}

static void million_keys_are_checked_without_a_square(void **state) {
    merle_buffer doc = {NULL, 0, 0};
    const uint32_t count = 1000000;
    (void)state;
    sample_byte(&doc, 0xdf);
    sample_big(&doc, count, 4);
    for (uint32_t i = 0; i < count; i++) {
        sample_byte(&doc, 0xce);
        sample_big(&doc, i * 2654435761u, 4);
        sample_byte(&doc, 0xc0);
    }
    assert_int_equal(merle_doc_check(merle_bytes_of(doc.data, doc.size), NULL), MERLE_OK);
    memcpy(doc.data + 5 + 6 * (size_t)(count - 1), doc.data + 5 + 6 * 4711, 5);
    assert_int_equal(merle_doc_check(merle_bytes_of(doc.data, doc.size), NULL), MERLE_BAD_DOCUMENT);
    merle_buffer_free(&doc);
}

static void utf8_edges_are_where_unicode_puts_them(void **state) {
    static const struct {
        const char *text;
        int good;
    } texts[] = {
        {"\x7f", 1},
        {"\x80", 0},
        {"\xbf", 0},
        {"\xc0\x80", 0},
        {"\xc1\xbf", 0},
        {"\xc2\x80", 1},
        {"\xdf\xbf", 1},
        {"\xc2", 0},
        {"\xc2"
         "a",
         0},
        {"\xe0\x80\x80", 0},
        {"\xe0\x9f\xbf", 0},
        {"\xe0\xa0\x80", 1},
        {"\xed\x9f\xbf", 1},
        {"\xed\xa0\x80", 0},
        {"\xed\xbf\xbf", 0},
        {"\xee\x80\x80", 1},
        {"\xef\xbf\xbf", 1},
        {"\xe2\x82", 0},
        {"\xe2\x28\xa1", 0},
        {"\xe2\x82\x28", 0},
        {"\xf0\x80\x80\x80", 0},
        {"\xf0\x8f\xbf\xbf", 0},
        {"\xf0\x90\x80\x80", 1},
        {"\xf4\x8f\xbf\xbf", 1},
        {"\xf4\x90\x80\x80", 0},
        {"\xf5\x80\x80\x80", 0},
        {"\xf8\x88\x80\x80\x80", 0},
        {"\xfe", 0},
        {"\xff", 0},
        {"\xf0\x9f\x90", 0},
        {"\xf0\x9f\x90\x41", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        /* At every distance from both ends, as words are read from both. */
        for (unsigned before = 0; before < 20; before++) {
            for (unsigned after = 0; after < 20; after += 3) {
                char text[64];
                size_t size = strlen(texts[i].text);
                memset(text, 'x', sizeof(text));
                memcpy(text + before, texts[i].text, size);
                merle_buffer doc = {NULL, 0, 0};
                sample_put(&doc, "\x81\x01\xd9", 3);
                sample_byte(&doc, (unsigned)(before + size + after));
                sample_put(&doc, text, before + size + after);
                assert_int_equal(check_made(&doc), texts[i].good ? MERLE_OK : MERLE_BAD_DOCUMENT);
                merle_buffer_free(&doc);
            }
        }
    }
    assert_int_equal(check(BYTES("\x81\xa1\xff\x01")), MERLE_BAD_DOCUMENT);
    assert_int_equal(check(BYTES("\x81\x01\x91\xa1\xff")), MERLE_BAD_DOCUMENT);
    assert_int_equal(check(BYTES("\x81\x01\xc4\x01\xff")), MERLE_OK);
}

/* A slow reading of the definition: decode, then look at the number. */
static int is_utf8_slowly(const uint8_t *text, size_t size) {
    for (size_t at = 0; at < size;) {
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        uint32_t point = text[at];
        unsigned tails = point < 0x80             ? 0
                         : (point & 0xe0) == 0xc0 ? 1
                         : (point & 0xf0) == 0xe0 ? 2
                                                  : 3;
        if (point >= 0x80 && (point < 0xc0 || point > 0xf7)) return 0;
        if (tails > 0) point &= 0x3fu >> tails;
        for (unsigned i = 1; i <= tails; i++) {
            if (at + i >= size || (text[at + i] & 0xc0) != 0x80) return 0;
            point = point << 6 | (text[at + i] & 0x3f);
        }
        if (point < least[tails] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
            return 0;
        at += tails + 1;
    }
    return 1;
}

static void utf8_of_random_bytes_agrees_with_the_definition(void **state) {
    static const uint8_t heads[] = {'a',  0x80, 0xbf, 0xc2, 0xe0, 0xa0,
                                    0xed, 0x9f, 0xf0, 0x90, 0xf4, 0x8f};
    mrl_random random;
    (void)state;
    mrl_random_init(&random, test_seed);
    for (int round = 0; round < 300000; round++) {
        uint8_t text[24];
        size_t size = (size_t)mrl_random_below(&random, 12);
        for (size_t i = 0; i < size; i++)
            text[i] = mrl_random_below(&random, 4) ? heads[mrl_random_below(&random, 12)]
                                                   : (uint8_t)mrl_random_next(&random);
        assert_int_equal(mrl_utf8_is_valid(text, size), is_utf8_slowly(text, size));
    }
}

static void size_beyond_the_limit_is_too_big(void **state) {
    (void)state;
    const size_t size = MERLE_DOCUMENT_SIZE_MAX + 1;
    uint8_t *data = calloc(1, size);
    assert_non_null(data);
    memcpy(data, "\x81\xa1k\xc6\x00\xff\xff\xf8", 8);
    assert_int_equal(merle_doc_check(merle_bytes_of(data, size - 1), NULL), MERLE_OK);
    assert_int_equal(merle_doc_check(merle_bytes_of(data, size), NULL), MERLE_TOO_BIG);
    free(data);
}

static void random_documents_are_taken_and_damage_agrees_with_msgpack_c(void **state) {
    mrl_random random;
    merle_buffer doc = {NULL, 0, 0};
    unsigned taken = 0;
    (void)state;
    mrl_random_init(&random, test_seed + 1);
    for (int round = 0; round < 4000; round++) {
        (void)sample_document(&doc, &random);
        assert_int_equal(check_made(&doc), MERLE_OK);
        assert_readable(&doc);
        if (round % 50 == 0) refused_at_every_cut(&doc);
        for (int damage = 0; damage < 8; damage++) {
            uint8_t *byte = &doc.data[mrl_random_below(&random, doc.size)], before = *byte;
            *byte = (uint8_t)mrl_random_next(&random);
            if (check_made(&doc) == MERLE_OK) {
                taken++;
                assert_readable(&doc);
            }
            *byte = before;
        }
    }
    assert_true(taken > 1000);
    merle_buffer_free(&doc);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(form_of_every_kind_is_taken_and_refused_when_cut),
        cmocka_unit_test(bytes_that_are_no_map_are_refused),
        cmocka_unit_test(count_beyond_the_bytes_is_refused),
        cmocka_unit_test(depth_of_64_is_taken_and_65_is_too_big),
        cmocka_unit_test(key_twice_in_any_encoding_is_refused),
        cmocka_unit_test(million_keys_are_checked_without_a_square),
        cmocka_unit_test(utf8_edges_are_where_unicode_puts_them),
        cmocka_unit_test(utf8_of_random_bytes_agrees_with_the_definition),
        cmocka_unit_test(size_beyond_the_limit_is_too_big),
        cmocka_unit_test(random_documents_are_taken_and_damage_agrees_with_msgpack_c),
    };
    test_seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
