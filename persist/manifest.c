/* persist/manifest.c - writing and reading manifests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "persist/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/crc32c.h"
#include "persist/page.h"
#include "wire/bytes.h"

enum {
    MAGIC = 0x4d6c726d, /* "mrlM" */
    CHECKED_SIZE = MRL_MANIFEST_HEADER_SIZE - 4,
    BODY_FIELDS = 8,
    COLLECTION_FIELDS = 5,
    PAGE_FIELDS = 8,
    FILE_FIELDS = 2,
    NUMBER_SIZE_MAX = 9, /* of one number, or of an array's head */
    PIECE = 64
};

/* ---- the struct ---- */

void mrl_manifest_fini(mrl_manifest *manifest) {
    for (size_t i = 0; i < manifest->collection_count; i++) {
        merle_buffer_free(&manifest->collections[i].definition);
        free(manifest->collections[i].pages);
    }
    free(manifest->collections);
    free(manifest->files);
    memset(manifest, 0, sizeof *manifest);
}

/* Room for one element more; NULL: no memory, and the array is as it was. */
static void *grow(void *array, size_t count, size_t *capacity, size_t size) {
    if (count < *capacity) return array;
    size_t wanted = *capacity == 0 ? PIECE : *capacity * 2;
    /* Behind the question of tests whether memory shall be refused. */
    void *grown = mrl_allocate(wanted * size);
    if (grown == NULL) return NULL;
    if (count > 0) memcpy(grown, array, count * size);
    free(array);
    *capacity = wanted;
    return grown;
}

merle_err mrl_manifest_add_page(mrl_manifest_collection *collection,
                                const mrl_manifest_page *page) {
    mrl_manifest_page *pages =
        grow(collection->pages, collection->page_count, &collection->page_capacity, sizeof *page);
    if (pages == NULL) return MERLE_NO_MEMORY;
    collection->pages = pages;
    pages[collection->page_count++] = *page;
    return MERLE_OK;
}

/* Collections and files come in small numbers: the capacity is the next multiple of PIECE. */
static void *grow_by_piece(void *array, size_t count, size_t size) {
    size_t capacity = count;
    if (count % PIECE != 0) return array;
    capacity += PIECE;
    void *grown = mrl_allocate(capacity * size);
    if (grown == NULL) return NULL;
    if (count > 0) memcpy(grown, array, count * size);
    free(array);
    return grown;
}

mrl_manifest_collection *mrl_manifest_add_collection(mrl_manifest *manifest) {
    mrl_manifest_collection *grown = grow_by_piece(
        manifest->collections, manifest->collection_count, sizeof *manifest->collections);
    if (grown == NULL) return NULL;
    manifest->collections = grown;
    grown += manifest->collection_count++;
    memset(grown, 0, sizeof *grown);
    return grown;
}

merle_err mrl_manifest_add_file(mrl_manifest *manifest, uint64_t id, uint64_t size) {
    mrl_manifest_file *grown =
        grow_by_piece(manifest->files, manifest->file_count, sizeof *manifest->files);
    if (grown == NULL) return MERLE_NO_MEMORY;
    manifest->files = grown;
    grown[manifest->file_count++] = (mrl_manifest_file){.id = id, .size = size};
    return MERLE_OK;
}

mrl_manifest_collection *mrl_manifest_find(const mrl_manifest *manifest, uint32_t collection_id) {
    size_t low = 0, high = manifest->collection_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (manifest->collections[middle].id == collection_id)
            return &manifest->collections[middle];
        if (manifest->collections[middle].id < collection_id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

mrl_manifest_file *mrl_manifest_find_file(const mrl_manifest *manifest, uint64_t file_id) {
    size_t low = 0, high = manifest->file_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (manifest->files[middle].id == file_id) return &manifest->files[middle];
        if (manifest->files[middle].id < file_id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const mrl_manifest_page *mrl_manifest_page_of(const mrl_manifest_collection *collection,
                                              uint32_t slot) {
    size_t low = 0, high = collection->page_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const mrl_manifest_page *page = &collection->pages[middle];
        if (slot < page->first_slot)
            high = middle;
        else if (slot - page->first_slot >= page->slot_count)
            low = middle + 1;
        else
            return page;
    }
    return NULL;
}

void mrl_manifest_sum(mrl_manifest *manifest) {
    manifest->seq_max = manifest->replay_seq;
    for (size_t i = 0; i < manifest->file_count; i++) manifest->files[i].live = 0;
    for (size_t i = 0; i < manifest->collection_count; i++) {
        const mrl_manifest_collection *collection = &manifest->collections[i];
        if (collection->base_seq > manifest->seq_max) manifest->seq_max = collection->base_seq;
        for (size_t p = 0; p < collection->page_count; p++) {
            const mrl_manifest_page *page = &collection->pages[p];
            if (page->seq > manifest->seq_max) manifest->seq_max = page->seq;
            mrl_manifest_file *file =
                page->length == 0 ? NULL : mrl_manifest_find_file(manifest, page->file_id);
            if (file != NULL) file->live += page->length;
        }
    }
}

/* ---- writing ---- */

/* At most NUMBER_SIZE_MAX bytes. */
static uint8_t *put_u64(uint8_t *at, uint64_t v) {
    if (v <= UINT32_MAX) return mrl_mp_put_u32(at, (uint32_t)v);
    at[0] = MRL_MP_UINT64;
    return mrl_put_big64(at + 1, v);
}

static merle_err write_page(const mrl_manifest_page *page, merle_buffer *out) {
    merle_err err = mrl_buffer_reserve(out, (PAGE_FIELDS + 1) * NUMBER_SIZE_MAX);
    if (err != MERLE_OK) return err;
    uint8_t *at = mrl_mp_put_array(out->data + out->size, PAGE_FIELDS);
    at = put_u64(at, page->first_slot);
    at = put_u64(at, page->slot_count);
    at = put_u64(at, page->seq);
    at = put_u64(at, page->document_count);
    at = put_u64(at, page->file_id);
    at = put_u64(at, page->offset);
    at = put_u64(at, page->length);
    at = put_u64(at, page->crc);
    out->size = (size_t)(at - out->data);
    return MERLE_OK;
}

static merle_err write_collection(const mrl_manifest_collection *collection, merle_buffer *out) {
    merle_bytes definition = {collection->definition.data, collection->definition.size};
    merle_err err = mrl_buffer_reserve(out, 6 * NUMBER_SIZE_MAX + definition.size);
    if (err != MERLE_OK) return err;
    uint8_t *at = mrl_mp_put_array(out->data + out->size, COLLECTION_FIELDS);
    at = put_u64(at, collection->id);
    at = put_u64(at, collection->base_seq);
    at = put_u64(at, collection->ids_end);
    at = mrl_mp_put_bin(at, definition);
    at = mrl_mp_put_array(at, (uint32_t)collection->page_count);
    out->size = (size_t)(at - out->data);
    for (size_t i = 0; i < collection->page_count && err == MERLE_OK; i++)
        err = write_page(&collection->pages[i], out);
    return err;
}

static merle_err write_files(const mrl_manifest *manifest, merle_buffer *out) {
    merle_err err = mrl_buffer_reserve(out, NUMBER_SIZE_MAX * (1 + 3 * (manifest->file_count + 1)));
    if (err != MERLE_OK) return err;
    uint8_t *at = mrl_mp_put_array(out->data + out->size, (uint32_t)manifest->file_count);
    for (size_t i = 0; i < manifest->file_count; i++) {
        at = mrl_mp_put_array(at, FILE_FIELDS);
        at = put_u64(at, manifest->files[i].id);
        at = put_u64(at, manifest->files[i].size);
    }
    out->size = (size_t)(at - out->data);
    return MERLE_OK;
}

static merle_err write_body(const mrl_manifest *manifest, merle_buffer *out) {
    merle_err err = mrl_buffer_reserve(out, (BODY_FIELDS + 1) * NUMBER_SIZE_MAX);
    if (err != MERLE_OK) return err;
    uint8_t *at = mrl_mp_put_array(out->data + out->size, BODY_FIELDS);
    at = put_u64(at, manifest->number);
    at = put_u64(at, manifest->term);
    at = put_u64(at, (uint64_t)manifest->time_ns);
    at = put_u64(at, manifest->replay_seq);
    at = put_u64(at, manifest->log_id);
    at = put_u64(at, manifest->collection_next_id);
    at = mrl_mp_put_array(at, (uint32_t)manifest->collection_count);
    out->size = (size_t)(at - out->data);
    for (size_t i = 0; i < manifest->collection_count && err == MERLE_OK; i++)
        err = write_collection(&manifest->collections[i], out);
    return err != MERLE_OK ? err : write_files(manifest, out);
}

merle_err mrl_manifest_write(const mrl_manifest *manifest, merle_buffer *out) {
    size_t begin = out->size;
    merle_err err = mrl_buffer_reserve(out, MRL_MANIFEST_HEADER_SIZE);
    if (err != MERLE_OK) return err;
    out->size += MRL_MANIFEST_HEADER_SIZE;
    if ((err = write_body(manifest, out)) != MERLE_OK) return err;
    uint8_t *header = out->data + begin;
    const uint8_t *body = header + MRL_MANIFEST_HEADER_SIZE;
    size_t body_size = out->size - begin - MRL_MANIFEST_HEADER_SIZE;
    memset(header, 0, MRL_MANIFEST_HEADER_SIZE);
    uint8_t *at = mrl_put_little32(header, MAGIC);
    at = mrl_put_little32(at, MRL_MANIFEST_FORMAT);
    at = mrl_put_little64(at, manifest->database_id[0]);
    at = mrl_put_little64(at, manifest->database_id[1]);
    at = mrl_put_little64(at, manifest->number);
    at = mrl_put_little64(at, body_size);
    (void)mrl_put_little32(at, mrl_crc32c(0, body, body_size));
    (void)mrl_put_little32(header + CHECKED_SIZE, mrl_crc32c(0, header, CHECKED_SIZE));
    return MERLE_OK;
}

/* ---- reading ---- */

typedef struct reading {
    mrl_mp_cursor cursor;
    mrl_manifest *manifest;
    const char *why;
} reading;

static merle_err corrupt(reading *r, const char *why) {
    r->why = why;
    return MERLE_CORRUPT;
}

static uint64_t get_little64(const uint8_t *at) {
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return MRL_LITTLE_64(v);
}

/* The head of an array of at least `least` elements; each of those behind is one byte at least. */
static int get_array(reading *r, uint32_t least, uint32_t *out_count) {
    if (!mrl_mp_get_array(&r->cursor, out_count)) return 0;
    return *out_count >= least && *out_count <= (size_t)(r->cursor.end - r->cursor.at);
}

/* Elements that later writers may have added. */
static int skip_rest(reading *r, uint32_t count, uint32_t known) {
    for (; count > known; count--)
        if (!mrl_mp_skip(&r->cursor)) return 0;
    return 1;
}

static int page_is_sound(const mrl_manifest_page *page, uint64_t next_slot) {
    uint32_t count = page->slot_count;
    if (count == 0 || (count & (count - 1)) != 0 || count > 1u << MRL_PAGE_SLOT_SHIFT_MAX) return 0;
    if (page->first_slot % count != 0 || page->first_slot < next_slot) return 0;
    if (page->document_count > count) return 0;
    if (page->length == 0) return page->document_count == 0;
    return page->length >= MRL_PAGE_HEADER_SIZE &&
           page->length <= MRL_PAGE_HEADER_SIZE + MRL_PAGE_RAW_MAX &&
           page->offset >= MRL_PAGE_FILE_HEADER_SIZE && page->offset <= UINT64_MAX / 2;
}

static merle_err read_page(reading *r, mrl_manifest_collection *collection, uint64_t *next_slot) {
    mrl_manifest_page page = {0};
    uint32_t count;
    if (!get_array(r, PAGE_FIELDS, &count) || !mrl_mp_get_u32(&r->cursor, &page.first_slot) ||
        !mrl_mp_get_u32(&r->cursor, &page.slot_count) || !mrl_mp_get_u64(&r->cursor, &page.seq) ||
        !mrl_mp_get_u32(&r->cursor, &page.document_count) ||
        !mrl_mp_get_u64(&r->cursor, &page.file_id) || !mrl_mp_get_u64(&r->cursor, &page.offset) ||
        !mrl_mp_get_u32(&r->cursor, &page.length) || !mrl_mp_get_u32(&r->cursor, &page.crc) ||
        !skip_rest(r, count, PAGE_FIELDS))
        return corrupt(r, "a page's entry cannot be read");
    if (!page_is_sound(&page, *next_slot) || page.seq < r->manifest->replay_seq ||
        page.seq < collection->base_seq)
        return corrupt(r, "a page's entry has impossible numbers");
    *next_slot = (uint64_t)page.first_slot + page.slot_count;
    return mrl_manifest_add_page(collection, &page);
}

static merle_err read_collection(reading *r) {
    uint32_t count, page_count;
    uint64_t next_slot = 0;
    merle_bytes definition;
    uint32_t id_before = r->manifest->collection_count == 0
                             ? 0
                             : r->manifest->collections[r->manifest->collection_count - 1].id;
    mrl_manifest_collection *collection = mrl_manifest_add_collection(r->manifest);
    if (collection == NULL) return MERLE_NO_MEMORY;
    if (!get_array(r, COLLECTION_FIELDS, &count) || !mrl_mp_get_u32(&r->cursor, &collection->id) ||
        !mrl_mp_get_u64(&r->cursor, &collection->base_seq) ||
        !mrl_mp_get_u64(&r->cursor, &collection->ids_end) ||
        !mrl_mp_get_bin(&r->cursor, &definition) || !get_array(r, 0, &page_count))
        return corrupt(r, "a collection's entry cannot be read");
    if (collection->id <= id_before || collection->id >= r->manifest->collection_next_id)
        return corrupt(r, "a collection's id is out of order");
    merle_err err = mrl_buffer_append(&collection->definition, definition.data, definition.size);
    for (uint32_t i = 0; i < page_count && err == MERLE_OK; i++)
        err = read_page(r, collection, &next_slot);
    if (err == MERLE_OK && !skip_rest(r, count, COLLECTION_FIELDS))
        err = corrupt(r, "a collection's entry cannot be read");
    return err;
}

static merle_err read_file(reading *r, uint64_t *last_id) {
    uint32_t count;
    uint64_t id, size;
    if (!get_array(r, FILE_FIELDS, &count) || !mrl_mp_get_u64(&r->cursor, &id) ||
        !mrl_mp_get_u64(&r->cursor, &size) || !skip_rest(r, count, FILE_FIELDS))
        return corrupt(r, "a file's entry cannot be read");
    if (id <= *last_id) return corrupt(r, "the files are out of order");
    *last_id = id;
    return mrl_manifest_add_file(r->manifest, id, size);
}

/* Every page lies within a file that the manifest names. */
static merle_err check_places(reading *r) {
    for (size_t i = 0; i < r->manifest->collection_count; i++) {
        const mrl_manifest_collection *collection = &r->manifest->collections[i];
        for (size_t p = 0; p < collection->page_count; p++) {
            const mrl_manifest_page *page = &collection->pages[p];
            if (page->length == 0) continue;
            const mrl_manifest_file *file = mrl_manifest_find_file(r->manifest, page->file_id);
            if (file == NULL || page->offset + page->length > file->size)
                return corrupt(r, "a page lies outside of its file");
        }
    }
    return MERLE_OK;
}

static merle_err read_body(reading *r) {
    uint32_t count, collection_count, file_count;
    uint64_t number, time_ns, last_id = 0;
    mrl_manifest *m = r->manifest;
    merle_err err = MERLE_OK;
    if (!get_array(r, BODY_FIELDS, &count) || !mrl_mp_get_u64(&r->cursor, &number) ||
        !mrl_mp_get_u64(&r->cursor, &m->term) || !mrl_mp_get_u64(&r->cursor, &time_ns) ||
        !mrl_mp_get_u64(&r->cursor, &m->replay_seq) || !mrl_mp_get_u64(&r->cursor, &m->log_id) ||
        !mrl_mp_get_u32(&r->cursor, &m->collection_next_id) || !get_array(r, 0, &collection_count))
        return corrupt(r, "the manifest's head cannot be read");
    if (number != m->number) return corrupt(r, "the manifest's number is not its header's");
    m->time_ns = (int64_t)time_ns;
    for (uint32_t i = 0; i < collection_count && err == MERLE_OK; i++) err = read_collection(r);
    if (err != MERLE_OK) return err;
    if (!get_array(r, 0, &file_count)) return corrupt(r, "the files cannot be read");
    for (uint32_t i = 0; i < file_count && err == MERLE_OK; i++) err = read_file(r, &last_id);
    if (err != MERLE_OK) return err;
    if (!skip_rest(r, count, BODY_FIELDS) || r->cursor.at != r->cursor.end)
        return corrupt(r, "the manifest has bytes at its end");
    return check_places(r);
}

static merle_err read_header(merle_bytes bytes, mrl_manifest *manifest, const char **out_why) {
    const uint8_t *at = bytes.data;
    *out_why = "the manifest is shorter than its header";
    if (bytes.size < MRL_MANIFEST_HEADER_SIZE) return MERLE_CORRUPT;
    *out_why = "it is no manifest";
    if (mrl_get_little32(at) != MAGIC) return MERLE_CORRUPT;
    *out_why = "the manifest has a newer format";
    if (mrl_get_little32(at + 4) > MRL_MANIFEST_FORMAT) return MERLE_UNSUPPORTED;
    *out_why = "the checksum of the manifest's header is wrong";
    if (mrl_get_little32(at + CHECKED_SIZE) != mrl_crc32c(0, at, CHECKED_SIZE))
        return MERLE_CORRUPT;
    manifest->database_id[0] = get_little64(at + 8);
    manifest->database_id[1] = get_little64(at + 16);
    manifest->number = get_little64(at + 24);
    *out_why = "the manifest has another length than its header says";
    if (get_little64(at + 32) != bytes.size - MRL_MANIFEST_HEADER_SIZE) return MERLE_CORRUPT;
    *out_why = "the manifest's checksum is wrong";
    if (mrl_get_little32(at + 40) !=
        mrl_crc32c(0, at + MRL_MANIFEST_HEADER_SIZE, bytes.size - MRL_MANIFEST_HEADER_SIZE))
        return MERLE_CORRUPT;
    return MERLE_OK;
}

merle_err mrl_manifest_read(merle_bytes bytes, mrl_manifest *out_manifest, const char **out_why,
                            uint64_t *out_offset) {
    memset(out_manifest, 0, sizeof *out_manifest);
    *out_offset = 0;
    merle_err err = read_header(bytes, out_manifest, out_why);
    if (err != MERLE_OK) goto fail;
    const uint8_t *begin = bytes.data;
    reading r = {{begin + MRL_MANIFEST_HEADER_SIZE, begin + bytes.size}, out_manifest, ""};
    err = read_body(&r);
    *out_why = r.why;
    *out_offset = (uint64_t)(r.cursor.at - begin);
    if (err != MERLE_OK) goto fail;
    mrl_manifest_sum(out_manifest);
    return MERLE_OK;
fail:
    mrl_manifest_fini(out_manifest);
    return err;
}
