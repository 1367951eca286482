/* persist/page.c - collecting, packing and reading pages.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "persist/page.h"

#include <string.h>
#include <zstd.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/crc32c.h"
#include "wire/bytes.h"

enum {
    PAGE_MAGIC = 0x506c726d, /* "mrlP" */
    FILE_MAGIC = 0x466c726d, /* "mrlF" */
    CHECKED_SIZE = MRL_PAGE_HEADER_SIZE - 4,
    EXPIRES_FLAG = 0x8000,
    COMPRESSION_LEVEL = 1,
    GAIN_SHIFT = 3 /* contents stay packed if that saves an eighth */
};

static uint64_t get_little64(const uint8_t *at) {
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return MRL_LITTLE_64(v);
}

static uint16_t get_little16(const uint8_t *at) {
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint8_t *put_little16(uint8_t *at, uint32_t v) {
    at[0] = (uint8_t)v;
    at[1] = (uint8_t)(v >> 8);
    return at + 2;
}

/* ---- collecting ---- */

void mrl_page_writer_fini(mrl_page_writer *writer) {
    merle_buffer_free(&writer->raw);
    merle_buffer_free(&writer->packed);
    ZSTD_freeCCtx(writer->compressor);
    memset(writer, 0, sizeof *writer);
}

void mrl_page_begin(mrl_page_writer *writer, uint32_t first_slot) {
    uint32_t shift =
        first_slot == 0 ? MRL_PAGE_SLOT_SHIFT_MAX : (uint32_t)__builtin_ctz(first_slot);
    writer->raw.size = 0;
    writer->first_slot = first_slot;
    writer->slot_count = writer->document_count = 0;
    writer->shift_max = shift < MRL_PAGE_SLOT_SHIFT_MAX ? shift : MRL_PAGE_SLOT_SHIFT_MAX;
    writer->mark_slots = writer->mark_documents = 0;
    writer->mark_size = 0;
    writer->is_cut = 0;
}

static merle_err append(mrl_page_writer *writer, const mrl_page_document *document) {
    size_t size = MRL_PAGE_DOCUMENT_SIZE + 8 + document->key.size + document->doc.size;
    merle_err err = mrl_buffer_reserve(&writer->raw, size);
    if (err != MERLE_OK) return err;
    uint32_t flag = document->expires_ns != 0 ? EXPIRES_FLAG : 0;
    uint8_t *at = writer->raw.data + writer->raw.size;
    at = put_little16(at, writer->slot_count);
    at = put_little16(at, (uint32_t)document->key.size | flag);
    at = mrl_put_little32(at, (uint32_t)document->doc.size);
    at = mrl_put_little64(at, document->seq);
    if (flag != 0) at = mrl_put_little64(at, (uint64_t)document->expires_ns);
    memcpy(at, document->key.data, document->key.size);
    at += document->key.size;
    memcpy(at, document->doc.data, document->doc.size);
    at += document->doc.size;
    writer->raw.size = (size_t)(at - writer->raw.data);
    writer->document_count++;
    return MERLE_OK;
}

merle_err mrl_page_add(mrl_page_writer *writer, const mrl_page_document *document,
                       int *out_is_whole) {
    *out_is_whole = 1;
    MRL_ASSERT(!writer->is_cut && writer->slot_count < 1u << writer->shift_max);
    if (document != NULL) {
        MRL_DEBUG_ASSERT(document->slot == writer->first_slot + writer->slot_count);
        merle_err err = append(writer, document);
        if (err != MERLE_OK) return err;
    }
    uint32_t count = ++writer->slot_count;
    if (writer->raw.size > MRL_PAGE_RAW_CUT && writer->mark_slots != 0) {
        writer->is_cut = 1;
        return MERLE_OK;
    }
    *out_is_whole = 0;
    if ((count & (count - 1)) != 0) return MERLE_OK;
    writer->mark_slots = count;
    writer->mark_documents = writer->document_count;
    writer->mark_size = writer->raw.size;
    writer->is_cut = writer->raw.size >= MRL_PAGE_RAW_AIM || count == 1u << writer->shift_max;
    *out_is_whole = writer->is_cut;
    return MERLE_OK;
}

/* ---- packing ---- */

/* Gives what is to be stored: the documents as they are, or packed where that is worth it. */
static merle_err pack(mrl_page_writer *writer, mrl_page *page, merle_bytes *out_stored) {
    mrl_compression wanted = page->compression;
    size_t raw_size = writer->raw.size;
    *out_stored = merle_bytes_of(writer->raw.data, raw_size);
    page->compression = MRL_COMPRESSION_NONE;
    if (wanted == MRL_COMPRESSION_NONE || raw_size == 0) return MERLE_OK;
    if (writer->compressor == NULL && (writer->compressor = ZSTD_createCCtx()) == NULL)
        return MERLE_NO_MEMORY;
    size_t room = raw_size - (raw_size >> GAIN_SHIFT);
    writer->packed.size = 0;
    merle_err err = mrl_buffer_reserve(&writer->packed, room);
    if (err != MERLE_OK) return err;
    /* What does not fit is not worth it. */
    size_t size = ZSTD_compressCCtx(writer->compressor, writer->packed.data, room, writer->raw.data,
                                    raw_size, COMPRESSION_LEVEL);
    if (ZSTD_isError(size)) return MERLE_OK;
    page->compression = MRL_COMPRESSION_ZSTD;
    *out_stored = merle_bytes_of(writer->packed.data, size);
    return MERLE_OK;
}

static uint32_t write_header(uint8_t *header, const mrl_page *page, merle_bytes stored) {
    uint8_t *at = mrl_put_little32(header, PAGE_MAGIC);
    at = mrl_put_little32(at, MRL_PAGE_FORMAT);
    at = mrl_put_little64(at, page->database_id[0]);
    at = mrl_put_little64(at, page->database_id[1]);
    at = mrl_put_little64(at, page->seq);
    at = mrl_put_little32(at, page->collection_id);
    at = mrl_put_little32(at, page->first_slot);
    at = mrl_put_little32(at, page->slot_count);
    at = mrl_put_little32(at, page->document_count);
    at = mrl_put_little32(at, page->raw_size);
    at = mrl_put_little32(at, page->stored_size);
    at = mrl_put_little32(at, (uint32_t)page->compression);
    uint32_t crc = mrl_crc32c(mrl_crc32c(0, header, CHECKED_SIZE), stored.data, stored.size);
    (void)mrl_put_little32(at, crc);
    return crc;
}

merle_err mrl_page_end(mrl_page_writer *writer, mrl_page *page, merle_bytes out_parts[2],
                       uint32_t *out_crc) {
    merle_bytes stored;
    if (writer->is_cut) {
        writer->slot_count = writer->mark_slots;
        writer->document_count = writer->mark_documents;
        writer->raw.size = writer->mark_size;
    }
    /* Behind the last slot that there is nothing comes before a later seq. */
    uint32_t count = 1;
    while (count < writer->slot_count) count *= 2;
    page->first_slot = writer->first_slot;
    page->slot_count = count;
    page->document_count = writer->document_count;
    page->raw_size = (uint32_t)writer->raw.size;
    merle_err err = pack(writer, page, &stored);
    if (err != MERLE_OK) return err;
    page->stored_size = (uint32_t)stored.size;
    *out_crc = write_header(writer->header, page, stored);
    out_parts[0] = merle_bytes_of(writer->header, sizeof writer->header);
    out_parts[1] = stored;
    return MERLE_OK;
}

/* ---- reading ---- */

static merle_err corrupt(const char **out_why, const char *why) {
    *out_why = why;
    return MERLE_CORRUPT;
}

static void read_header(const uint8_t *at, mrl_page *page) {
    page->database_id[0] = get_little64(at + 8);
    page->database_id[1] = get_little64(at + 16);
    page->seq = get_little64(at + 24);
    page->collection_id = mrl_get_little32(at + 32);
    page->first_slot = mrl_get_little32(at + 36);
    page->slot_count = mrl_get_little32(at + 40);
    page->document_count = mrl_get_little32(at + 44);
    page->raw_size = mrl_get_little32(at + 48);
    page->stored_size = mrl_get_little32(at + 52);
    page->compression = (mrl_compression)mrl_get_little32(at + 56);
}

/* Numbers that could not be, though the checksum is right. */
static int is_sound(const mrl_page *page) {
    uint32_t count = page->slot_count;
    if (count == 0 || (count & (count - 1)) != 0 || count > 1u << MRL_PAGE_SLOT_SHIFT_MAX) return 0;
    if (page->first_slot % count != 0 || page->document_count > count) return 0;
    if (page->raw_size > MRL_PAGE_RAW_MAX || page->stored_size > page->raw_size) return 0;
    if (page->compression == MRL_COMPRESSION_NONE) return page->stored_size == page->raw_size;
    return page->compression == MRL_COMPRESSION_ZSTD;
}

merle_err mrl_page_read(const uint8_t *bytes, size_t size, mrl_page *out_page, uint32_t *out_crc,
                        const char **out_why) {
    memset(out_page, 0, sizeof *out_page);
    *out_crc = 0;
    *out_why = "";
    if (size < MRL_PAGE_HEADER_SIZE) return corrupt(out_why, "the file ends in a page's header");
    if (mrl_get_little32(bytes) != PAGE_MAGIC) return corrupt(out_why, "no page begins there");
    if (mrl_get_little32(bytes + 4) > MRL_PAGE_FORMAT) {
        *out_why = "the page has a newer format";
        return MERLE_UNSUPPORTED;
    }
    mrl_page page;
    read_header(bytes, &page);
    uint32_t crc = mrl_get_little32(bytes + CHECKED_SIZE);
    if (page.stored_size > size - MRL_PAGE_HEADER_SIZE)
        return corrupt(out_why, "the page is longer than its place");
    uint32_t found = mrl_crc32c(mrl_crc32c(0, bytes, CHECKED_SIZE), bytes + MRL_PAGE_HEADER_SIZE,
                                page.stored_size);
    if (crc != found) return corrupt(out_why, "the page's checksum is wrong");
    if (!is_sound(&page)) return corrupt(out_why, "the page's header has impossible numbers");
    *out_page = page;
    *out_crc = crc;
    return MERLE_OK;
}

void mrl_page_unpacker_fini(mrl_page_unpacker *unpacker) {
    merle_buffer_free(&unpacker->raw);
    ZSTD_freeDCtx(unpacker->decompressor);
    memset(unpacker, 0, sizeof *unpacker);
}

static merle_err unpack(const uint8_t *stored, const mrl_page *page, mrl_page_unpacker *unpacker,
                        const char **out_why) {
    if (unpacker->decompressor == NULL && (unpacker->decompressor = ZSTD_createDCtx()) == NULL)
        return MERLE_NO_MEMORY;
    unpacker->raw.size = 0;
    merle_err err = mrl_buffer_reserve(&unpacker->raw, page->raw_size);
    if (err != MERLE_OK) return err;
    size_t size = ZSTD_decompressDCtx(unpacker->decompressor, unpacker->raw.data, page->raw_size,
                                      stored, page->stored_size);
    if (ZSTD_isError(size) || size != page->raw_size)
        return corrupt(out_why, "the page cannot be unpacked");
    unpacker->raw.size = size;
    return MERLE_OK;
}

merle_err mrl_page_open(const uint8_t *bytes, const mrl_page *page, mrl_page_unpacker *unpacker,
                        mrl_page_reader *out_reader, const char **out_why) {
    const uint8_t *at = bytes + MRL_PAGE_HEADER_SIZE;
    memset(out_reader, 0, sizeof *out_reader);
    *out_why = "";
    if (page->compression == MRL_COMPRESSION_ZSTD) {
        merle_err err = unpack(at, page, unpacker, out_why);
        if (err != MERLE_OK) return err;
        at = unpacker->raw.data;
    }
    out_reader->at = at;
    out_reader->end = at + page->raw_size;
    out_reader->page = *page;
    return MERLE_OK;
}

merle_err mrl_page_next(mrl_page_reader *reader, mrl_page_document *out_document,
                        const char **out_why) {
    memset(out_document, 0, sizeof *out_document);
    const uint8_t *at = reader->at;
    size_t left = (size_t)(reader->end - at);
    if (reader->document_next == reader->page.document_count)
        return left == 0 ? MERLE_NOT_FOUND : corrupt(out_why, "the page has bytes at its end");
    if (left < MRL_PAGE_DOCUMENT_SIZE)
        return corrupt(out_why, "the page's documents end too early");
    uint32_t number = get_little16(at);
    uint32_t key_size = get_little16(at + 2);
    size_t doc_size = mrl_get_little32(at + 4);
    uint64_t seq = get_little64(at + 8);
    size_t head = MRL_PAGE_DOCUMENT_SIZE + ((key_size & EXPIRES_FLAG) != 0 ? 8 : 0);
    int64_t expires_ns = 0;
    if (left >= head && head != MRL_PAGE_DOCUMENT_SIZE) expires_ns = (int64_t)get_little64(at + 16);
    key_size &= ~(uint32_t)EXPIRES_FLAG;
    if (left < head + key_size || left - head - key_size < doc_size)
        return corrupt(out_why, "the page's documents end too early");
    if (number >= reader->page.slot_count || number < reader->slot_next || key_size == 0 ||
        key_size > MERLE_KEY_SIZE_MAX || doc_size > MERLE_DOCUMENT_SIZE_MAX || seq == 0 ||
        seq > reader->page.seq)
        return corrupt(out_why, "a document of the page has impossible numbers");
    out_document->slot = reader->page.first_slot + number;
    out_document->seq = seq;
    out_document->expires_ns = expires_ns;
    out_document->key = merle_bytes_of(at + head, key_size);
    out_document->doc = merle_bytes_of(at + head + key_size, doc_size);
    reader->at = at + head + key_size + doc_size;
    reader->slot_next = (uint64_t)number + 1;
    reader->document_next++;
    return MERLE_OK;
}

/* ---- page files ---- */

void mrl_page_file_write(uint8_t out_header[MRL_PAGE_FILE_HEADER_SIZE],
                         const uint64_t database_id[2], uint64_t file_id, int64_t time_ns) {
    memset(out_header, 0, MRL_PAGE_FILE_HEADER_SIZE);
    uint8_t *at = mrl_put_little32(out_header, FILE_MAGIC);
    at = mrl_put_little32(at, MRL_PAGE_FORMAT);
    at = mrl_put_little64(at, database_id[0]);
    at = mrl_put_little64(at, database_id[1]);
    at = mrl_put_little64(at, file_id);
    (void)mrl_put_little64(at, (uint64_t)time_ns);
    (void)mrl_put_little32(out_header + CHECKED_SIZE, mrl_crc32c(0, out_header, CHECKED_SIZE));
}

merle_err mrl_page_file_read(const uint8_t header[MRL_PAGE_FILE_HEADER_SIZE],
                             uint64_t out_database_id[2], uint64_t *out_file_id,
                             const char **out_why) {
    *out_why = "";
    out_database_id[0] = get_little64(header + 8);
    out_database_id[1] = get_little64(header + 16);
    *out_file_id = get_little64(header + 24);
    if (mrl_get_little32(header) != FILE_MAGIC) return corrupt(out_why, "it is no page file");
    if (mrl_get_little32(header + 4) > MRL_PAGE_FORMAT) {
        *out_why = "the page file has a newer format";
        return MERLE_UNSUPPORTED;
    }
    if (mrl_get_little32(header + CHECKED_SIZE) != mrl_crc32c(0, header, CHECKED_SIZE))
        return corrupt(out_why, "the page file's header has a wrong checksum");
    return MERLE_OK;
}
