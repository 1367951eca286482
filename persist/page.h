/* persist/page.h - the coding of pages: the documents of a range of slots, as they were at one seq.
 *
 * What    A page covers 2^k slots, beginning at a multiple of as many. Its documents stand one
 *         behind the other, in the order of their slots; the whole is compressed where that pays.
 *         A header of MRL_PAGE_HEADER_SIZE bytes says what it is, with one checksum over header and
 *         contents. A page file is a header of its own and pages, each at a multiple of 8.
 *         docs/format.md has the bytes.
 * Owns    a writer: its buffers. Readers borrow the bytes as long as they are used.
 * Threads any; a writer: owner only.
 * Limits  Readers take foreign bytes: every length is checked against what is there. A page holds
 *         at most MRL_PAGE_RAW_MAX bytes of documents before compression.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_PERSIST_PAGE_H
#define MRL_PERSIST_PAGE_H

#include <stddef.h>
#include <stdint.h>

#include <merle/base.h>

enum {
    MRL_PAGE_FORMAT = 1,
    MRL_PAGE_HEADER_SIZE = 64,
    MRL_PAGE_FILE_HEADER_SIZE = 64,
    MRL_PAGE_ALIGNMENT = 8,
    MRL_PAGE_DOCUMENT_SIZE = 16, /* what stands before each key and document at least */
    /* Pages are made as small as this allows. A change writes its whole page again, and changes
     * come scattered: with 1 % of all documents changed at random, a quarter of the pages of this
     * size is dirty, but nearly all of those of 64 KiB. Smaller ones would make the manifest, which
     * is written as a whole, too large a part. */
    MRL_PAGE_RAW_AIM = 4 << 10,
    /* Above it a page is cut at a smaller power of two, unless it has one slot only. */
    MRL_PAGE_RAW_CUT = 64 << 10,
    /* One document of the largest size, with the largest key. */
    MRL_PAGE_RAW_MAX = (16 << 20) + (4 << 10),
    MRL_PAGE_SLOT_SHIFT_MAX = 14 /* a page without documents covers at most 2^14 slots */
};

typedef enum mrl_compression {
    MRL_COMPRESSION_NONE = 0,
    MRL_COMPRESSION_ZSTD = 1,
} mrl_compression;

/* A page's header without its checksum. */
typedef struct mrl_page {
    uint64_t database_id[2];
    uint64_t seq; /* S: the page has what a section at this seq saw */
    uint32_t collection_id;
    uint32_t first_slot;
    uint32_t slot_count;
    uint32_t document_count;
    uint32_t raw_size;    /* of the documents */
    uint32_t stored_size; /* of them in the file */
    mrl_compression compression;
} mrl_page;

typedef struct mrl_page_document {
    uint64_t seq;
    int64_t expires_ns; /* 0: never */
    uint32_t slot;
    merle_bytes key;
    merle_bytes doc;
} mrl_page_document;

/* ---- writing ---- */

/* Collects the documents of slots, from an aligned one on, and decides where the page ends. */
typedef struct mrl_page_writer {
    merle_buffer raw;
    merle_buffer packed;
    void *compressor;
    uint32_t first_slot;
    uint32_t slot_count; /* added so far */
    uint32_t document_count;
    uint32_t shift_max; /* the page covers at most 2^shift_max slots */
    /* What had been added when the slots were a power of two for the last time. */
    uint32_t mark_slots;
    uint32_t mark_documents;
    size_t mark_size;
    int is_cut; /* the page ends at the mark */
    uint8_t header[MRL_PAGE_HEADER_SIZE];
} mrl_page_writer;

/* Zero-fill before the first use. */
void mrl_page_writer_fini(mrl_page_writer *writer);
/* Begins a page at this slot. */
void mrl_page_begin(mrl_page_writer *writer, uint32_t first_slot);
/* Adds the next slot, with its document or without one (NULL; its slot is not looked at).
 * *out_is_whole: the page ends, with this slot or before it. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_page_add(mrl_page_writer *writer, const mrl_page_document *document,
                                      int *out_is_whole);
/* Ends the page; one that was not whole yet ends behind what was added, at the next power of two.
 * page has database, seq, collection and, as a wish, the compression; the rest is filled in.
 * out_parts: header and contents, borrowed until the writer's next call.
 * Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_page_end(mrl_page_writer *writer, mrl_page *page,
                                      merle_bytes out_parts[2], uint32_t *out_crc);

/* ---- reading foreign bytes ---- */

/* The header; size is what is there of the page. Errors: MERLE_CORRUPT (no page, a wrong checksum,
 * numbers that cannot be), MERLE_UNSUPPORTED (a newer format). *out_why: a few words, static. */
MERLE_MUST_USE merle_err mrl_page_read(const uint8_t *bytes, size_t size, mrl_page *out_page,
                                       uint32_t *out_crc, const char **out_why);

/* Memory for contents that are compressed, kept from page to page; zero-fill before the first
 * use. */
typedef struct mrl_page_unpacker {
    merle_buffer raw;
    void *decompressor;
} mrl_page_unpacker;
void mrl_page_unpacker_fini(mrl_page_unpacker *unpacker);

typedef struct mrl_page_reader {
    const uint8_t *at;
    const uint8_t *end;
    mrl_page page;
    uint32_t document_next;
    uint64_t slot_next; /* slots only grow */
} mrl_page_reader;

/* Unpacks the contents of a page that mrl_page_read has accepted. The reader borrows the bytes, and
 * the unpacker until its next use. Errors: MERLE_CORRUPT, MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_page_open(const uint8_t *bytes, const mrl_page *page,
                                       mrl_page_unpacker *unpacker, mrl_page_reader *out_reader,
                                       const char **out_why);
/* Errors: MERLE_CORRUPT; MERLE_NOT_FOUND behind the last (and then all bytes were used). */
MERLE_MUST_USE merle_err mrl_page_next(mrl_page_reader *reader, mrl_page_document *out_document,
                                       const char **out_why);

/* ---- page files ---- */

void mrl_page_file_write(uint8_t out_header[MRL_PAGE_FILE_HEADER_SIZE],
                         const uint64_t database_id[2], uint64_t file_id, int64_t time_ns);
/* Errors: MERLE_CORRUPT, MERLE_UNSUPPORTED; what it says is given as far as it has been read. */
MERLE_MUST_USE merle_err mrl_page_file_read(const uint8_t header[MRL_PAGE_FILE_HEADER_SIZE],
                                            uint64_t out_database_id[2], uint64_t *out_file_id,
                                            const char **out_why);

#endif
