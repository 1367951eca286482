/* persist/page_look.c - reading pages one by one, damaged ones among them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "persist/page_look.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <merle/document.h>

#include "base/buffer.h"
#include "base/report.h"
#include "document/check.h"

static const char help[] =
    "merle restore goes back to an older state, merle repair takes what can be taken";

void mrl_page_look_begin(mrl_page_look *look, const mrl_directory *directory,
                         const mrl_manifest *manifest) {
    memset(look, 0, sizeof *look);
    look->directory = directory;
    look->manifest = manifest;
}

void mrl_page_look_end(mrl_page_look *look) {
    if (look->file != NULL) look->directory->files->file_close(look->file);
    mrl_page_unpacker_fini(&look->unpacker);
    merle_buffer_free(&look->bytes);
    look->file = NULL;
}

/* ---- files ---- */

static merle_err damaged(const mrl_page_look *look, merle_report *report, merle_err err,
                         uint64_t file_id, uint64_t offset, const char *what, const char *expected,
                         const char *found) {
    char name[MRL_FILE_NAME_MAX];
    mrl_directory_name(MRL_FILE_PAGES, file_id, name);
    mrl_damage damage = {name, offset, expected, found, what, help};
    return mrl_directory_damage(look->directory, report, err, &damage);
}

static merle_err open_file(mrl_page_look *look, uint64_t id, merle_report *report) {
    const mrl_files *files = look->directory->files;
    char name[MRL_FILE_NAME_MAX];
    if (look->file != NULL && look->file_id == id) return MERLE_OK;
    if (look->file != NULL) files->file_close(look->file);
    look->file = NULL;
    look->file_id = id;
    mrl_directory_name(MRL_FILE_PAGES, id, name);
    int failed = files->file_open(look->directory->dir, name, MRL_FILE_READ, &look->file);
    if (failed == 0) return MERLE_OK;
    look->file = NULL;
    if (failed == ENOENT)
        return damaged(look, report, MERLE_NOT_FOUND, id, 0, "the page file is missing",
                       "a page file that the manifest names", "no such file");
    return mrl_directory_system(look->directory, report, name, "opening", failed);
}

static merle_err check_header(const mrl_page_look *look, const mrl_manifest_file *file,
                              const uint8_t *header, uint64_t size, merle_report *report) {
    uint64_t database_id[2], id;
    char expected[64], found[64];
    const char *why;
    snprintf(expected, sizeof expected, "%" PRIu64 " bytes", file->size);
    snprintf(found, sizeof found, "%" PRIu64 " bytes", size);
    if (size < file->size)
        return damaged(look, report, MERLE_CORRUPT, file->id, size, "the page file was cut short",
                       expected, found);
    merle_err err = mrl_page_file_read(header, database_id, &id, &why);
    /* A manifest of a format that we know names files of such a format. */
    if (err == MERLE_UNSUPPORTED) err = MERLE_CORRUPT;
    if (err != MERLE_OK)
        return damaged(look, report, err, file->id, 0, why, "a page file's header", why);
    if (memcmp(database_id, look->manifest->database_id, sizeof database_id) != 0)
        return damaged(look, report, MERLE_CORRUPT, file->id, 8,
                       "the page file belongs to another database", "this database's id",
                       "another one");
    snprintf(expected, sizeof expected, "page file %016" PRIx64, file->id);
    snprintf(found, sizeof found, "page file %016" PRIx64, id);
    if (id != file->id)
        return damaged(look, report, MERLE_CORRUPT, file->id, 24,
                       "the page file was renamed or swapped", expected, found);
    return MERLE_OK;
}

merle_err mrl_page_look_file(mrl_page_look *look, const mrl_manifest_file *file,
                             merle_report *report) {
    const mrl_files *files = look->directory->files;
    uint8_t header[MRL_PAGE_FILE_HEADER_SIZE] = {0};
    char name[MRL_FILE_NAME_MAX];
    uint64_t size = 0;
    size_t got = 0;
    merle_err err = open_file(look, file->id, report);
    if (err != MERLE_OK) return err;
    int failed = files->file_size(look->file, &size);
    if (failed == 0) failed = files->file_read(look->file, 0, header, sizeof header, &got);
    mrl_directory_name(MRL_FILE_PAGES, file->id, name);
    if (failed != 0) return mrl_directory_system(look->directory, report, name, "reading", failed);
    return check_header(look, file, header, size, report);
}

/* ---- pages ---- */

static merle_err read_bytes(mrl_page_look *look, const mrl_manifest_page *page,
                            merle_report *report) {
    const mrl_files *files = look->directory->files;
    char name[MRL_FILE_NAME_MAX];
    size_t got = 0;
    merle_err err = open_file(look, page->file_id, report);
    if (err != MERLE_OK) return err == MERLE_NOT_FOUND ? MERLE_CORRUPT : err;
    look->bytes.size = 0;
    if (mrl_buffer_reserve(&look->bytes, page->length) != MERLE_OK)
        return mrl_report_fill(report, MERLE_NO_MEMORY, "no memory to read a page");
    int failed = files->file_read(look->file, page->offset, look->bytes.data, page->length, &got);
    mrl_directory_name(MRL_FILE_PAGES, page->file_id, name);
    /* What the disk cannot give back is damage as well. */
    if (failed == EIO)
        return damaged(look, report, MERLE_CORRUPT, page->file_id, page->offset,
                       "the disk cannot read the page", "a page", "an input/output error");
    if (failed != 0)
        return mrl_directory_system(look->directory, report, name, "reading pages", failed);
    if (got < page->length)
        return damaged(look, report, MERLE_CORRUPT, page->file_id, page->offset,
                       "the file ends in a page", "the whole page", "the end of the file");
    look->bytes.size = page->length;
    return MERLE_OK;
}

static merle_err check_page(const mrl_page_look *look, uint32_t collection_id,
                            const mrl_manifest_page *page, mrl_page *out_page,
                            merle_report *report) {
    char expected[120], found[120];
    const char *why;
    uint32_t crc;
    merle_err err = mrl_page_read(look->bytes.data, page->length, out_page, &crc, &why);
    if (err == MERLE_UNSUPPORTED) err = MERLE_CORRUPT; /* as for files */
    snprintf(expected, sizeof expected, "collection %u, %u slots from %u on, checksum %08x",
             collection_id, page->slot_count, page->first_slot, page->crc);
    if (err != MERLE_OK)
        return damaged(look, report, err, page->file_id, page->offset, why, expected, why);
    snprintf(found, sizeof found, "collection %u, %u slots from %u on, checksum %08x",
             out_page->collection_id, out_page->slot_count, out_page->first_slot, crc);
    int is_right =
        memcmp(out_page->database_id, look->manifest->database_id, sizeof out_page->database_id) ==
            0 &&
        out_page->collection_id == collection_id && out_page->first_slot == page->first_slot &&
        out_page->slot_count == page->slot_count &&
        out_page->document_count == page->document_count && out_page->seq <= page->seq &&
        crc == page->crc && MRL_PAGE_HEADER_SIZE + (uint64_t)out_page->stored_size == page->length;
    if (is_right) return MERLE_OK;
    return damaged(look, report, MERLE_CORRUPT, page->file_id, page->offset,
                   "another page stands there than the manifest names", expected, found);
}

static merle_err each_document(mrl_page_look *look, const mrl_manifest_page *page,
                               const mrl_page *head, mrl_page_look_fn *fn, void *context,
                               merle_report *report) {
    mrl_page_reader reader;
    mrl_page_document d;
    const char *why = "";
    merle_err err = mrl_page_open(look->bytes.data, head, &look->unpacker, &reader, &why);
    while (err == MERLE_OK) {
        if ((err = mrl_page_next(&reader, &d, &why)) != MERLE_OK) break;
        if (fn != NULL) {
            if ((err = fn(context, &d, report)) != MERLE_OK) return err;
        } else if (mrl_check_document(d.doc.data, d.doc.size, NULL) != MERLE_OK ||
                   d.key.size == 0 || d.key.size > MERLE_KEY_SIZE_MAX) {
            why = "a document in the page is none by merle's rules";
            err = MERLE_CORRUPT;
        }
    }
    if (err == MERLE_NOT_FOUND) return MERLE_OK;
    if (err == MERLE_NO_MEMORY) return mrl_report_fill(report, err, "no memory for a page");
    return damaged(look, report, err, page->file_id, page->offset, why,
                   "documents as the header says", why);
}

merle_err mrl_page_look_at(mrl_page_look *look, uint32_t collection_id,
                           const mrl_manifest_page *page, mrl_page_look_fn *fn, void *context,
                           merle_report *report) {
    mrl_page head;
    merle_err err = read_bytes(look, page, report);
    if (err == MERLE_OK) err = check_page(look, collection_id, page, &head, report);
    if (err == MERLE_OK) err = each_document(look, page, &head, NULL, NULL, report);
    if (err == MERLE_OK && fn != NULL) err = each_document(look, page, &head, fn, context, report);
    return err;
}

void mrl_page_look_guess(mrl_page_look *look, const mrl_manifest_page *page, mrl_page_look_fn *fn,
                         void *context) {
    mrl_page head = {.seq = page->seq,
                     .first_slot = page->first_slot,
                     .slot_count = page->slot_count,
                     .document_count = page->document_count,
                     .raw_size = page->length - MRL_PAGE_HEADER_SIZE,
                     .stored_size = page->length - MRL_PAGE_HEADER_SIZE};
    merle_err err = read_bytes(look, page, NULL);
    /* Compressed contents do not unpack, or are seen to be none: then nothing is told. */
    if (err == MERLE_OK) err = each_document(look, page, &head, fn, context, NULL);
    (void)err;
}

void mrl_page_look_name(const merle_buffer *definition, char out_name[64]) {
    merle_doc doc;
    out_name[0] = 0;
    if (merle_doc_over(merle_bytes_of(definition->data, definition->size), &doc) != MERLE_OK)
        return;
    merle_bytes name = merle_doc_str(doc, "name");
    if (name.size > 0 && name.size <= MERLE_NAME_SIZE_MAX) memcpy(out_name, name.data, name.size);
    out_name[name.size <= MERLE_NAME_SIZE_MAX ? name.size : 0] = 0;
}
