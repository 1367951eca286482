/* tests/unit/persist/manifest_test.c - the coding of manifests.
 *
 * Aim     A manifest reads back as it was written, also one with parts that a later version may
 *         add; a changed byte, a shorter length, and numbers that cannot be are refused.
 * Method  A random manifest; every byte changed, every length tried; single numbers made wrong
 *         before it is written, so that the checksums are right.
 * Blind   Whether the pages are there: tests/unit/persist/open_test.c.
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

#include "base/buffer.h"
#include "base/crc32c.h"
#include "base/random.h"
#include "persist/manifest.h"
#include "tests/unit/seed.h"
#include "wire/bytes.h"

static uint64_t seed;

static void add_pages(mrl_manifest *m, mrl_manifest_collection *c, mrl_random *random, int count) {
    uint32_t slot = 0;
    for (int i = 0; i < count; i++) {
        uint32_t slots = 1u << mrl_random_below(random, 6);
        slot = (slot + slots - 1) / slots * slots;
        mrl_manifest_page page = {.first_slot = slot,
                                  .slot_count = slots,
                                  .seq = m->replay_seq + mrl_random_below(random, 1u << 20),
                                  .crc = (uint32_t)mrl_random_next(random)};
        if (mrl_random_below(random, 4) != 0) {
            page.file_id = m->files[mrl_random_below(random, m->file_count)].id;
            page.offset = 64 + 8 * mrl_random_below(random, 1000);
            page.length = 64 + (uint32_t)mrl_random_below(random, 5000);
            page.document_count = (uint32_t)mrl_random_below(random, slots + 1);
        }
        assert_int_equal(mrl_manifest_add_page(c, &page), MERLE_OK);
        slot += slots;
    }
}

static void make(mrl_manifest *m, mrl_random *random) {
    memset(m, 0, sizeof *m);
    m->database_id[0] = mrl_random_next(random);
    m->database_id[1] = mrl_random_next(random);
    m->number = mrl_random_next(random);
    m->term = mrl_random_below(random, 9);
    m->time_ns = (int64_t)(mrl_random_next(random) >> 1);
    m->replay_seq = mrl_random_next(random) >> 2;
    m->log_id = mrl_random_below(random, 1000);
    m->collection_next_id = 1000;
    for (uint64_t id = 3; id < 200; id += 1 + mrl_random_below(random, 5))
        assert_int_equal(mrl_manifest_add_file(m, id, 100000), MERLE_OK);
    for (uint32_t id = 1; id < 900; id += 1 + (uint32_t)mrl_random_below(random, 100)) {
        mrl_manifest_collection *c = mrl_manifest_add_collection(m);
        assert_non_null(c);
        c->id = id;
        c->base_seq = mrl_random_below(random, 1000);
        c->ids_end = mrl_random_next(random);
        assert_int_equal(mrl_buffer_append(&c->definition, "definition", 10), MERLE_OK);
        add_pages(m, c, random, (int)mrl_random_below(random, 100));
    }
}

static void check_same(const mrl_manifest *a, const mrl_manifest *b) {
    assert_memory_equal(a->database_id, b->database_id, sizeof a->database_id);
    assert_true(a->number == b->number && a->term == b->term && a->time_ns == b->time_ns);
    assert_true(a->replay_seq == b->replay_seq && a->log_id == b->log_id);
    assert_int_equal(a->collection_next_id, b->collection_next_id);
    assert_int_equal(a->file_count, b->file_count);
    for (size_t i = 0; i < a->file_count; i++)
        assert_true(a->files[i].id == b->files[i].id && a->files[i].size == b->files[i].size);
    assert_int_equal(a->collection_count, b->collection_count);
    for (size_t i = 0; i < a->collection_count; i++) {
        const mrl_manifest_collection *x = &a->collections[i], *y = &b->collections[i];
        assert_true(x->id == y->id && x->base_seq == y->base_seq && x->ids_end == y->ids_end);
        assert_int_equal(x->definition.size, y->definition.size);
        assert_int_equal(x->page_count, y->page_count);
        if (x->page_count > 0)
            assert_memory_equal(x->pages, y->pages, x->page_count * sizeof x->pages[0]);
    }
}

static merle_err read_back(const merle_buffer *bytes, size_t size, mrl_manifest *out) {
    const char *why;
    uint64_t offset;
    uint8_t *exact = malloc(size + 1);
    assert_non_null(exact);
    memcpy(exact, bytes->data, size);
    merle_err err = mrl_manifest_read(merle_bytes_of(exact, size), out, &why, &offset);
    if (err != MERLE_OK) assert_true(why[0] != 0);
    free(exact);
    return err;
}

static void random_manifests_come_back(void **state) {
    mrl_random random;
    (void)state;
    mrl_random_init(&random, seed);
    for (int round = 0; round < 30; round++) {
        mrl_manifest m, again;
        merle_buffer bytes = {0};
        make(&m, &random);
        assert_int_equal(mrl_manifest_write(&m, &bytes), MERLE_OK);
        assert_int_equal(read_back(&bytes, bytes.size, &again), MERLE_OK);
        check_same(&m, &again);
        mrl_manifest_fini(&m);
        mrl_manifest_fini(&again);
        merle_buffer_free(&bytes);
    }
}

static void changed_and_cut_bytes_are_refused(void **state) {
    mrl_random random;
    mrl_manifest m, again;
    merle_buffer bytes = {0};
    (void)state;
    mrl_random_init(&random, seed);
    make(&m, &random);
    assert_int_equal(mrl_manifest_write(&m, &bytes), MERLE_OK);
    for (size_t i = 0; i < bytes.size; i += i < 400 ? 1 : 37) {
        bytes.data[i] ^= 0x21;
        assert_int_not_equal(read_back(&bytes, bytes.size, &again), MERLE_OK);
        bytes.data[i] ^= 0x21;
        assert_int_not_equal(read_back(&bytes, i, &again), MERLE_OK);
    }
    mrl_manifest_fini(&m);
    merle_buffer_free(&bytes);
}

/* One page and one file, to be made wrong. */
static void make_small(mrl_manifest *m) {
    memset(m, 0, sizeof *m);
    m->number = 4;
    m->replay_seq = 50;
    m->collection_next_id = 10;
    assert_int_equal(mrl_manifest_add_file(m, 1, 1000), MERLE_OK);
    mrl_manifest_collection *c = mrl_manifest_add_collection(m);
    assert_non_null(c);
    c->id = 2;
    mrl_manifest_page page = {.file_id = 1,
                              .offset = 64,
                              .seq = 60,
                              .first_slot = 64,
                              .slot_count = 64,
                              .length = 200,
                              .document_count = 3};
    assert_int_equal(mrl_manifest_add_page(c, &page), MERLE_OK);
}

typedef void spoil_fn(mrl_manifest *m);
static void spoil_count(mrl_manifest *m) {
    m->collections[0].pages[0].slot_count = 63;
}
static void spoil_place(mrl_manifest *m) {
    m->collections[0].pages[0].first_slot = 32;
}
static void spoil_seq(mrl_manifest *m) {
    m->collections[0].pages[0].seq = 49;
}
static void spoil_base(mrl_manifest *m) {
    m->collections[0].base_seq = 61;
}
static void spoil_file(mrl_manifest *m) {
    m->collections[0].pages[0].file_id = 2;
}
static void spoil_length(mrl_manifest *m) {
    m->collections[0].pages[0].length = 937;
}
static void spoil_offset(mrl_manifest *m) {
    m->collections[0].pages[0].offset = 8;
}
static void spoil_documents(mrl_manifest *m) {
    m->collections[0].pages[0].document_count = 65;
}
static void spoil_id(mrl_manifest *m) {
    m->collections[0].id = 10;
}
static void spoil_nothing(mrl_manifest *m) {
    (void)m;
}

static void impossible_numbers_are_refused(void **state) {
    static spoil_fn *const spoils[] = {spoil_count, spoil_place,  spoil_seq,    spoil_base,
                                       spoil_file,  spoil_length, spoil_offset, spoil_documents,
                                       spoil_id,    spoil_nothing};
    size_t count = sizeof spoils / sizeof spoils[0];
    (void)state;
    for (size_t i = 0; i < count; i++) {
        mrl_manifest m, again;
        merle_buffer bytes = {0};
        make_small(&m);
        spoils[i](&m);
        assert_int_equal(mrl_manifest_write(&m, &bytes), MERLE_OK);
        merle_err err = read_back(&bytes, bytes.size, &again);
        assert_int_equal(err, i + 1 == count ? MERLE_OK : MERLE_CORRUPT);
        mrl_manifest_fini(&again);
        mrl_manifest_fini(&m);
        merle_buffer_free(&bytes);
    }
}

/* Makes the checksums right again. */
static void seal(uint8_t *bytes, size_t size) {
    (void)mrl_put_little64(bytes + 32, size - MRL_MANIFEST_HEADER_SIZE);
    (void)mrl_put_little32(bytes + 40, mrl_crc32c(0, bytes + MRL_MANIFEST_HEADER_SIZE,
                                                  size - MRL_MANIFEST_HEADER_SIZE));
    (void)mrl_put_little32(bytes + 60, mrl_crc32c(0, bytes, 60));
}

static void parts_that_are_not_known_are_passed_over(void **state) {
    mrl_manifest m, again;
    merle_buffer bytes = {0};
    (void)state;
    make_small(&m);
    assert_int_equal(mrl_manifest_write(&m, &bytes), MERLE_OK);
    /* One element more at the end of the outermost array: a map. */
    assert_int_equal(bytes.data[MRL_MANIFEST_HEADER_SIZE], 0x98);
    bytes.data[MRL_MANIFEST_HEADER_SIZE] = 0x99;
    assert_int_equal(mrl_buffer_append(&bytes, "\x81\xa1x\x05", 4), MERLE_OK);
    seal(bytes.data, bytes.size);
    assert_int_equal(read_back(&bytes, bytes.size, &again), MERLE_OK);
    check_same(&m, &again);
    mrl_manifest_fini(&again);
    /* Bytes behind everything are nothing that anybody may add. */
    bytes.data[MRL_MANIFEST_HEADER_SIZE] = 0x98;
    seal(bytes.data, bytes.size);
    assert_int_equal(read_back(&bytes, bytes.size, &again), MERLE_CORRUPT);
    mrl_manifest_fini(&m);
    merle_buffer_free(&bytes);
}

static void page_of_a_slot_is_found(void **state) {
    mrl_random random;
    mrl_manifest m;
    (void)state;
    mrl_random_init(&random, seed);
    make(&m, &random);
    for (size_t i = 0; i < m.collection_count; i++) {
        const mrl_manifest_collection *c = &m.collections[i];
        assert_ptr_equal(mrl_manifest_find(&m, c->id), c);
        size_t p = 0;
        for (uint32_t slot = 0; slot < 6000; slot++) {
            while (p < c->page_count && slot >= c->pages[p].first_slot + c->pages[p].slot_count)
                p++;
            int is_in = p < c->page_count && slot >= c->pages[p].first_slot;
            assert_ptr_equal(mrl_manifest_page_of(c, slot), is_in ? &c->pages[p] : NULL);
        }
    }
    assert_null(mrl_manifest_find(&m, 999));
    mrl_manifest_fini(&m);
}

int main(int argc, char **argv) {
    seed = seed_of(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_manifests_come_back),
        cmocka_unit_test(changed_and_cut_bytes_are_refused),
        cmocka_unit_test(impossible_numbers_are_refused),
        cmocka_unit_test(parts_that_are_not_known_are_passed_over),
        cmocka_unit_test(page_of_a_slot_is_found),
    };
    return cmocka_run_group_tests_name("persist/manifest", tests, NULL, NULL);
}
