/* tests/fuzz/page_fuzz.c - fuzzes the readers of pages and of manifests.
 *
 * Aim     Whatever the bytes are, reading stays within them, ends, and answers with an error that
 *         it may give; what it gives lies inside the bytes or inside what was unpacked.
 * Method  The input is taken for a page, and for a manifest, as it is; then with its checksums made
 *         right, so that what lies behind them is reached.
 * Blind   It does not look into documents and definitions: these have readers of their own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/crc32c.h"
#include "persist/manifest.h"
#include "persist/page.h"
#include "tests/fuzz/driver.h"
#include "wire/bytes.h"

static void read_documents(const uint8_t *bytes, const mrl_page *page) {
    mrl_page_unpacker unpacker = {0};
    mrl_page_reader reader;
    mrl_page_document d;
    const char *why;
    uint32_t sum = 0;
    merle_err err = mrl_page_open(bytes, page, &unpacker, &reader, &why);
    while (err == MERLE_OK && (err = mrl_page_next(&reader, &d, &why)) == MERLE_OK) {
        MRL_ASSERT(d.slot >= page->first_slot && d.slot - page->first_slot < page->slot_count);
        MRL_ASSERT(d.key.size > 0 && d.key.size <= MERLE_KEY_SIZE_MAX);
        /* Touches every byte, for the address sanitizer. */
        sum ^= mrl_crc32c(0, d.key.data, d.key.size) ^ mrl_crc32c(0, d.doc.data, d.doc.size);
    }
    MRL_ASSERT(err == MERLE_NOT_FOUND || err == MERLE_CORRUPT || err == MERLE_NO_MEMORY);
    MRL_ASSERT(sum != 1 || err != MERLE_OK);
    mrl_page_unpacker_fini(&unpacker);
}

static void try_page(const uint8_t *bytes, size_t size) {
    mrl_page page;
    const char *why;
    uint32_t crc;
    merle_err err = mrl_page_read(bytes, size, &page, &crc, &why);
    MRL_ASSERT(err == MERLE_OK || err == MERLE_CORRUPT || err == MERLE_UNSUPPORTED);
    if (err == MERLE_OK) read_documents(bytes, &page);
}

static void try_manifest(const uint8_t *bytes, size_t size) {
    mrl_manifest manifest, again;
    const char *why;
    uint64_t offset;
    merle_buffer written = {0};
    merle_err err = mrl_manifest_read(merle_bytes_of(bytes, size), &manifest, &why, &offset);
    MRL_ASSERT(err == MERLE_OK || err == MERLE_CORRUPT || err == MERLE_UNSUPPORTED);
    if (err != MERLE_OK) return;
    /* What was read can be written, and reads the same. */
    MRL_ASSERT(mrl_manifest_write(&manifest, &written) == MERLE_OK);
    MRL_ASSERT(mrl_manifest_read(merle_bytes_of(written.data, written.size), &again, &why,
                                 &offset) == MERLE_OK);
    MRL_ASSERT(again.collection_count == manifest.collection_count);
    MRL_ASSERT(again.seq_max == manifest.seq_max);
    mrl_manifest_fini(&manifest);
    mrl_manifest_fini(&again);
    merle_buffer_free(&written);
}

/* Makes magic, format, lengths and checksums right. */
static void seal_page(uint8_t *bytes, size_t size) {
    memcpy(bytes, "mrlP", 4);
    (void)mrl_put_little32(bytes + 4, MRL_PAGE_FORMAT);
    (void)mrl_put_little32(bytes + 52, (uint32_t)(size - MRL_PAGE_HEADER_SIZE));
    if (bytes[56] % 2 == 0) memcpy(bytes + 48, bytes + 52, 4);
    (void)mrl_put_little32(bytes + 56, bytes[56] % 2);
    uint32_t crc = mrl_crc32c(0, bytes, 60);
    crc = mrl_crc32c(crc, bytes + MRL_PAGE_HEADER_SIZE, size - MRL_PAGE_HEADER_SIZE);
    (void)mrl_put_little32(bytes + 60, crc);
}

static void seal_manifest(uint8_t *bytes, size_t size) {
    memcpy(bytes, "mrlM", 4);
    (void)mrl_put_little32(bytes + 4, MRL_MANIFEST_FORMAT);
    (void)mrl_put_little64(bytes + 32, size - MRL_MANIFEST_HEADER_SIZE);
    (void)mrl_put_little32(bytes + 40, mrl_crc32c(0, bytes + MRL_MANIFEST_HEADER_SIZE,
                                                  size - MRL_MANIFEST_HEADER_SIZE));
    (void)mrl_put_little32(bytes + 60, mrl_crc32c(0, bytes, 60));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size + 1);
    if (copy == NULL) return 0;
    memcpy(copy, data, size);
    try_page(copy, size);
    try_manifest(copy, size);
    if (size >= MRL_PAGE_HEADER_SIZE) {
        seal_page(copy, size);
        try_page(copy, size);
        memcpy(copy, data, size);
        seal_manifest(copy, size);
        try_manifest(copy, size);
    }
    free(copy);
    return 0;
}

static void add_page(fuzz_add_fn *add, mrl_compression compression) {
    mrl_page_writer writer = {0};
    mrl_page page = {.seq = 9, .collection_id = 3, .compression = compression};
    merle_bytes parts[2];
    merle_buffer whole = {0};
    uint32_t crc;
    int is_whole;
    mrl_page_begin(&writer, 4);
    for (uint32_t i = 0; i < 4; i++) {
        mrl_page_document d = {9, i % 2, 4 + i, merle_bytes_of("key", 3),
                               merle_bytes_of("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 32)};
        MRL_ASSERT(mrl_page_add(&writer, i == 1 ? NULL : &d, &is_whole) == MERLE_OK);
    }
    MRL_ASSERT(mrl_page_end(&writer, &page, parts, &crc) == MERLE_OK);
    MRL_ASSERT(mrl_buffer_append(&whole, parts[0].data, parts[0].size) == MERLE_OK);
    MRL_ASSERT(mrl_buffer_append(&whole, parts[1].data, parts[1].size) == MERLE_OK);
    add(whole.data, whole.size);
    merle_buffer_free(&whole);
    mrl_page_writer_fini(&writer);
}

void fuzz_corpus(fuzz_add_fn *add) {
    mrl_manifest m = {.number = 3, .replay_seq = 40, .collection_next_id = 9};
    merle_buffer bytes = {0};
    MRL_ASSERT(mrl_manifest_add_file(&m, 1, 5000) == MERLE_OK);
    mrl_manifest_collection *c = mrl_manifest_add_collection(&m);
    MRL_ASSERT(c != NULL);
    c->id = 5;
    MRL_ASSERT(mrl_buffer_append(&c->definition, "definition", 10) == MERLE_OK);
    for (uint32_t i = 0; i < 3; i++) {
        mrl_manifest_page page = {.file_id = 1,
                                  .offset = 64 + 200 * (uint64_t)i,
                                  .seq = 41 + i,
                                  .first_slot = 8 * i,
                                  .slot_count = 8,
                                  .length = 200,
                                  .document_count = 2};
        MRL_ASSERT(mrl_manifest_add_page(c, &page) == MERLE_OK);
    }
    MRL_ASSERT(mrl_manifest_write(&m, &bytes) == MERLE_OK);
    add(bytes.data, bytes.size);
    mrl_manifest_fini(&m);
    merle_buffer_free(&bytes);
    add_page(add, MRL_COMPRESSION_NONE);
    add_page(add, MRL_COMPRESSION_ZSTD);
}
