/* tests/unit/persist/page_test.c - the coding of pages.
 *
 * Aim     What is collected is read back the same, packed or not; pages end at powers of two, as
 *         small as they may be, and never swallow a slot; damaged and foreign bytes are refused.
 * Method  Random documents of random sizes, cut into pages as a checkpoint does; each byte of a
 *         page changed, each length tried, in blocks of exactly their size.
 * Blind   It does not know whether a document is msgpack: the store looks at that.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "persist/page.h"
#include "tests/unit/seed.h"

static uint64_t seed;
static const uint64_t database_id[2] = {0x1122334455667788u, 0x99aabbccddeeff00u};

typedef struct sample {
    uint8_t *bytes;
    mrl_page_document document;
    int is_there;
} sample;

static void sample_make(sample *s, mrl_random *random, uint32_t slot, size_t size_max) {
    memset(s, 0, sizeof *s);
    s->is_there = mrl_random_below(random, 8) != 0;
    size_t key_size = 1 + mrl_random_below(random, 30), size = mrl_random_below(random, size_max);
    s->bytes = malloc(key_size + size);
    assert_non_null(s->bytes);
    for (size_t i = 0; i < key_size + size; i++)
        s->bytes[i] = (uint8_t)mrl_random_below(random, i % 3 == 0 ? 256 : 4);
    s->document.seq = 1 + mrl_random_below(random, 1000);
    s->document.expires_ns =
        mrl_random_below(random, 3) == 0 ? (int64_t)mrl_random_next(random) | 1 : 0;
    s->document.slot = slot;
    s->document.key = merle_bytes_of(s->bytes, key_size);
    s->document.doc = merle_bytes_of(s->bytes + key_size, size);
}

static int is_same(merle_bytes a, merle_bytes b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Header and contents, in a block of exactly their size; free it. */
static uint8_t *join(const merle_bytes parts[2]) {
    uint8_t *bytes = malloc(parts[0].size + parts[1].size);
    assert_non_null(bytes);
    memcpy(bytes, parts[0].data, parts[0].size);
    if (parts[1].size > 0) memcpy(bytes + parts[0].size, parts[1].data, parts[1].size);
    return bytes;
}

/* The page reads back as the samples of its slots. */
static void check_page(const uint8_t *bytes, size_t size, const sample *samples, uint32_t count) {
    mrl_page page;
    mrl_page_reader reader;
    mrl_page_unpacker unpacker = {0};
    mrl_page_document d;
    const char *why;
    uint32_t crc;
    assert_int_equal(mrl_page_read(bytes, size, &page, &crc, &why), MERLE_OK);
    assert_int_equal(mrl_page_open(bytes, &page, &unpacker, &reader, &why), MERLE_OK);
    for (uint32_t i = 0; i < page.slot_count && page.first_slot + i < count; i++) {
        const sample *s = &samples[page.first_slot + i];
        if (!s->is_there) continue;
        assert_int_equal(mrl_page_next(&reader, &d, &why), MERLE_OK);
        assert_int_equal(d.slot, s->document.slot);
        assert_int_equal(d.seq, s->document.seq);
        assert_int_equal(d.expires_ns, s->document.expires_ns);
        assert_true(is_same(d.key, s->document.key) && is_same(d.doc, s->document.doc));
    }
    assert_int_equal(mrl_page_next(&reader, &d, &why), MERLE_NOT_FOUND);
    mrl_page_unpacker_fini(&unpacker);
}

/* Cuts the samples into pages; returns how many. */
static uint32_t cut(mrl_page_writer *writer, const sample *samples, uint32_t count,
                    mrl_compression compression) {
    uint32_t pages = 0;
    for (uint32_t slot = 0; slot < count; pages++) {
        mrl_page page = {.database_id = {database_id[0], database_id[1]},
                         .seq = 1000,
                         .collection_id = 7,
                         .compression = compression};
        merle_bytes parts[2];
        uint32_t crc;
        int is_whole = 0;
        mrl_page_begin(writer, slot);
        for (uint32_t at = slot; at < count && !is_whole; at++)
            assert_int_equal(
                mrl_page_add(writer, samples[at].is_there ? &samples[at].document : NULL,
                             &is_whole),
                MERLE_OK);
        assert_int_equal(mrl_page_end(writer, &page, parts, &crc), MERLE_OK);
        assert_int_equal(page.first_slot, slot);
        assert_int_equal(page.first_slot % page.slot_count, 0);
        assert_true(page.raw_size <= MRL_PAGE_RAW_CUT || page.slot_count == 1);
        uint8_t *bytes = join(parts);
        check_page(bytes, parts[0].size + parts[1].size, samples, count);
        free(bytes);
        slot += page.slot_count;
    }
    return pages;
}

static void random_documents_come_back_page_by_page(void **state) {
    mrl_random random;
    mrl_page_writer writer = {0};
    (void)state;
    mrl_random_init(&random, seed);
    static const size_t sizes[] = {1, 20, 200, 3000, 100000};
    for (int round = 0; round < 20; round++) {
        uint32_t count = 1 + (uint32_t)mrl_random_below(&random, round % 5 == 4 ? 100 : 700);
        sample *samples = calloc(count, sizeof *samples);
        assert_non_null(samples);
        for (uint32_t i = 0; i < count; i++) sample_make(&samples[i], &random, i, sizes[round % 5]);
        assert_true(cut(&writer, samples, count, (mrl_compression)(round % 2)) > 0);
        for (uint32_t i = 0; i < count; i++) free(samples[i].bytes);
        free(samples);
    }
    mrl_page_writer_fini(&writer);
}

static void empty_slots_make_one_large_page(void **state) {
    mrl_page_writer writer = {0};
    mrl_page page = {.compression = MRL_COMPRESSION_ZSTD};
    merle_bytes parts[2];
    uint32_t crc, added = 0;
    int is_whole = 0;
    (void)state;
    for (mrl_page_begin(&writer, 0); !is_whole; added++)
        assert_int_equal(mrl_page_add(&writer, NULL, &is_whole), MERLE_OK);
    assert_int_equal(added, 1u << MRL_PAGE_SLOT_SHIFT_MAX);
    assert_int_equal(mrl_page_end(&writer, &page, parts, &crc), MERLE_OK);
    assert_int_equal(page.slot_count, added);
    assert_int_equal(parts[1].size, 0);
    /* At an odd multiple of eight it may cover eight. */
    is_whole = 0;
    added = 0;
    for (mrl_page_begin(&writer, 24); !is_whole; added++)
        assert_int_equal(mrl_page_add(&writer, NULL, &is_whole), MERLE_OK);
    assert_int_equal(added, 8);
    mrl_page_writer_fini(&writer);
}

/* A page of some documents, in a block of its own size. */
static uint8_t *small_page(mrl_compression compression, size_t *out_size) {
    mrl_page_writer writer = {0};
    mrl_page page = {.seq = 9, .collection_id = 3, .compression = compression};
    merle_bytes parts[2];
    uint32_t crc;
    int is_whole;
    static const char text[] = "the same text again and again, the same text again and again";
    mrl_page_begin(&writer, 8);
    for (uint32_t i = 0; i < 8; i++) {
        mrl_page_document d = {9, i % 2, 8 + i, merle_bytes_of("key", 3),
                               merle_bytes_of(text, sizeof text)};
        assert_int_equal(mrl_page_add(&writer, &d, &is_whole), MERLE_OK);
    }
    assert_int_equal(mrl_page_end(&writer, &page, parts, &crc), MERLE_OK);
    assert_int_equal(page.compression, compression);
    uint8_t *bytes = join(parts);
    *out_size = parts[0].size + parts[1].size;
    mrl_page_writer_fini(&writer);
    return bytes;
}

static void every_changed_byte_is_noticed(void **state) {
    (void)state;
    for (int compression = 0; compression < 2; compression++) {
        size_t size;
        uint8_t *bytes = small_page((mrl_compression)compression, &size);
        mrl_page page;
        const char *why;
        uint32_t crc;
        for (size_t i = 0; i < size; i++) {
            bytes[i] ^= 0x41;
            assert_int_not_equal(mrl_page_read(bytes, size, &page, &crc, &why), MERLE_OK);
            assert_true(why[0] != 0);
            bytes[i] ^= 0x41;
        }
        assert_int_equal(mrl_page_read(bytes, size, &page, &crc, &why), MERLE_OK);
        free(bytes);
    }
}

static void every_shorter_length_is_refused(void **state) {
    size_t size;
    uint8_t *bytes = small_page(MRL_COMPRESSION_ZSTD, &size);
    (void)state;
    for (size_t length = 0; length < size; length++) {
        mrl_page page;
        const char *why;
        uint32_t crc;
        uint8_t *exact = malloc(length + 1);
        assert_non_null(exact);
        memcpy(exact, bytes, length);
        assert_int_equal(mrl_page_read(exact, length, &page, &crc, &why), MERLE_CORRUPT);
        free(exact);
    }
    free(bytes);
}

static void page_file_header_says_what_it_is(void **state) {
    uint8_t header[MRL_PAGE_FILE_HEADER_SIZE];
    uint64_t read_id[2], id;
    const char *why;
    (void)state;
    mrl_page_file_write(header, database_id, 77, 5);
    assert_int_equal(mrl_page_file_read(header, read_id, &id, &why), MERLE_OK);
    assert_memory_equal(read_id, database_id, sizeof read_id);
    assert_int_equal(id, 77);
    for (size_t i = 0; i < sizeof header; i++) {
        header[i] ^= 1;
        assert_int_not_equal(mrl_page_file_read(header, read_id, &id, &why), MERLE_OK);
        header[i] ^= 1;
    }
}

int main(int argc, char **argv) {
    seed = seed_of(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_documents_come_back_page_by_page),
        cmocka_unit_test(empty_slots_make_one_large_page),
        cmocka_unit_test(every_changed_byte_is_noticed),
        cmocka_unit_test(every_shorter_length_is_refused),
        cmocka_unit_test(page_file_header_says_what_it_is),
    };
    return cmocka_run_group_tests_name("persist/page", tests, NULL, NULL);
}
