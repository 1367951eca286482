/* persist/recover_pages.c - reading pages, by several threads.
 *
 * Pages are read in the order in which they lie in their files. A thread takes the next span: pages
 * that lie close together, read by one call.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/report.h"
#include "base/thread.h"
#include "load/load.h"
#include "persist/page.h"
#include "persist/recover.h"

enum {
    SPAN_SIZE = 512 << 10,
    SPAN_GAP = 16 << 10, /* so much that nobody needs is read along rather than another call made */
    THREADS_MAX = 64
};

static const char help[] =
    "merle verify shows all damage, merle restore an older state, "
    "merle repair takes what can be taken";

typedef struct page_ref {
    const mrl_manifest_page *page;
    mrl_load_collection *target;
    uint32_t collection_id;
    uint32_t reserved;
} page_ref;

/* What the threads share; under the lock, but for what is written before they start. */
typedef struct loading {
    const mrl_recover_options *options;
    const mrl_manifest *manifest;
    page_ref *refs;
    size_t count;
    uint64_t bytes_total;
    mrl_lock lock;
    size_t next;
    uint64_t bytes_done, documents;
    merle_err err; /* the first; the others stop then */
    merle_report report;
} loading;

/* One thread's. */
typedef struct worker {
    loading *shared;
    mrl_member *member;
    pthread_t thread;
    mrl_page_unpacker unpacker;
    merle_buffer bytes;
    mrl_file *file; /* NULL: none is open */
    uint64_t file_id;
    uint64_t documents;
    merle_report report;
} worker;

/* ---- errors ---- */

static merle_err damaged(worker *w, const page_ref *ref, merle_err err, const char *what,
                         const char *expected, const char *found) {
    char name[MRL_FILE_NAME_MAX];
    mrl_directory_name(MRL_FILE_PAGES, ref->page->file_id, name);
    mrl_damage damage = {name, ref->page->offset, expected, found, what, help};
    return mrl_directory_damage(w->shared->options->directory, &w->report, err, &damage);
}

/* Something that the store has refused: the report says what, this says where. */
static merle_err refused(worker *w, const page_ref *ref, merle_err err) {
    char name[MRL_FILE_NAME_MAX];
    mrl_directory_name(MRL_FILE_PAGES, ref->page->file_id, name);
    mrl_report_prefix(&w->report, "%s: ", name);
    mrl_report_path(&w->report, name);
    mrl_report_offset(&w->report, ref->page->offset);
    return err;
}

/* ---- one page ---- */

static int is_as_expected(const loading *l, const page_ref *ref, const mrl_page *page) {
    return memcmp(page->database_id, l->manifest->database_id, sizeof page->database_id) == 0 &&
           page->collection_id == ref->collection_id && page->first_slot == ref->page->first_slot &&
           page->slot_count == ref->page->slot_count &&
           page->document_count == ref->page->document_count && page->seq <= ref->page->seq &&
           MRL_PAGE_HEADER_SIZE + (uint64_t)page->stored_size == ref->page->length;
}

static merle_err check_page(worker *w, const page_ref *ref, const uint8_t *bytes, mrl_page *page) {
    char expected[120], found[120];
    const char *why;
    uint32_t crc;
    merle_err err = mrl_page_read(bytes, ref->page->length, page, &crc, &why);
    snprintf(expected, sizeof expected, "collection %u, %u slots from %u on, checksum %08x",
             ref->collection_id, ref->page->slot_count, ref->page->first_slot, ref->page->crc);
    if (err != MERLE_OK) return damaged(w, ref, err, why, expected, why);
    snprintf(found, sizeof found, "collection %u, %u slots from %u on, checksum %08x",
             page->collection_id, page->slot_count, page->first_slot, crc);
    if (crc != ref->page->crc || !is_as_expected(w->shared, ref, page))
        return damaged(w, ref, MERLE_CORRUPT, "another page stands there than the manifest names",
                       expected, found);
    return MERLE_OK;
}

static merle_err load_page(worker *w, const page_ref *ref, const uint8_t *bytes) {
    mrl_page page;
    mrl_page_reader reader;
    mrl_page_document d;
    const char *why = "";
    merle_err err = check_page(w, ref, bytes, &page);
    if (err != MERLE_OK) return err;
    err = mrl_page_open(bytes, &page, &w->unpacker, &reader, &why);
    while (err == MERLE_OK) {
        if ((err = mrl_page_next(&reader, &d, &why)) != MERLE_OK) break;
        err = mrl_load_put(ref->target, w->member, d.slot, d.key, d.doc, d.seq, d.expires_ns,
                           &w->report);
        if (err != MERLE_OK) return refused(w, ref, err);
        w->documents++;
    }
    if (err == MERLE_NOT_FOUND) return MERLE_OK;
    if (err == MERLE_NO_MEMORY) return mrl_report_fill(&w->report, err, "no memory for a page");
    return damaged(w, ref, err, why, "documents as the header says", why);
}

/* ---- spans ---- */

/* Takes the next pages that lie together; 0: there are none, or somebody has failed. */
static size_t take_span(loading *l, size_t *out_first) {
    size_t count = 0;
    mrl_lock_take(&l->lock);
    size_t first = l->next;
    while (l->err == MERLE_OK && first + count < l->count) {
        const mrl_manifest_page *begin = l->refs[first].page, *page = l->refs[first + count].page;
        const mrl_manifest_page *before = count == 0 ? page : l->refs[first + count - 1].page;
        uint64_t end = before->offset + before->length;
        if (count > 0 && (page->file_id != begin->file_id || page->offset > end + SPAN_GAP ||
                          page->offset + page->length > begin->offset + SPAN_SIZE))
            break;
        l->bytes_done += page->length;
        count++;
    }
    l->next += count;
    mrl_lock_drop(&l->lock);
    *out_first = first;
    return count;
}

static merle_err open_file(worker *w, const page_ref *ref) {
    const mrl_directory *directory = w->shared->options->directory;
    char name[MRL_FILE_NAME_MAX];
    if (w->file != NULL && w->file_id == ref->page->file_id) return MERLE_OK;
    if (w->file != NULL) directory->files->file_close(w->file);
    w->file = NULL;
    w->file_id = ref->page->file_id;
    mrl_directory_name(MRL_FILE_PAGES, w->file_id, name);
    int failed = directory->files->file_open(directory->dir, name, MRL_FILE_READ, &w->file);
    if (failed == 0) return MERLE_OK;
    w->file = NULL;
    return mrl_directory_system(directory, &w->report, name, "opening", failed);
}

static merle_err load_span(worker *w, const page_ref *refs, size_t count) {
    const mrl_directory *directory = w->shared->options->directory;
    char name[MRL_FILE_NAME_MAX];
    size_t got;
    const mrl_manifest_page *first = refs[0].page, *last = refs[count - 1].page;
    size_t size = (size_t)(last->offset + last->length - first->offset);
    merle_err err = open_file(w, refs);
    if (err != MERLE_OK) return err;
    w->bytes.size = 0;
    if (mrl_buffer_reserve(&w->bytes, size) != MERLE_OK)
        return mrl_report_fill(&w->report, MERLE_NO_MEMORY, "no memory to read pages");
    mrl_directory_name(MRL_FILE_PAGES, w->file_id, name);
    int failed = directory->files->file_read(w->file, first->offset, w->bytes.data, size, &got);
    if (failed != 0)
        return mrl_directory_system(directory, &w->report, name, "reading pages", failed);
    for (size_t i = 0; i < count && err == MERLE_OK; i++) {
        size_t at = (size_t)(refs[i].page->offset - first->offset);
        if (at + refs[i].page->length > got)
            return damaged(w, &refs[i], MERLE_CORRUPT, "the file ends in a page", "the whole page",
                           "the end of the file");
        err = load_page(w, &refs[i], w->bytes.data + at);
    }
    return err;
}

static void tell(loading *l) {
    const mrl_recover_options *o = l->options;
    mrl_lock_take(&l->lock);
    uint64_t done = l->bytes_done;
    mrl_lock_drop(&l->lock);
    if (o->progress != NULL) o->progress(o->progress_context, "pages", done, l->bytes_total);
}

static void work(worker *w, int is_caller) {
    loading *l = w->shared;
    size_t first, count;
    merle_err err = MERLE_OK;
    while (err == MERLE_OK && (count = take_span(l, &first)) != 0) {
        err = load_span(w, l->refs + first, count);
        if (is_caller) tell(l);
    }
    mrl_lock_take(&l->lock);
    l->documents += w->documents;
    if (err != MERLE_OK && l->err == MERLE_OK) {
        l->err = err;
        l->report = w->report;
    }
    mrl_lock_drop(&l->lock);
    if (w->file != NULL) l->options->directory->files->file_close(w->file);
    mrl_page_unpacker_fini(&w->unpacker);
    merle_buffer_free(&w->bytes);
}

/* ---- threads ---- */

static void *run(void *context) {
    worker *w = context;
    w->member = mrl_member_join(w->shared->options->store->domain);
    /* Without memory for a member the others do the work. */
    if (w->member != NULL) work(w, 0);
    return NULL;
}

/* Starts what can be started, does a share of the work in this thread, waits for the others. */
static merle_err work_together(loading *l, mrl_member *member) {
    uint32_t wanted =
        l->options->thread_count < THREADS_MAX ? l->options->thread_count : (uint32_t)THREADS_MAX;
    if (wanted > l->count / 2 + 1) wanted = (uint32_t)(l->count / 2 + 1);
    worker *workers = calloc(wanted, sizeof *workers);
    if (workers == NULL) return MERLE_NO_MEMORY;
    uint32_t started = 1;
    for (; started < wanted; started++) {
        workers[started].shared = l;
        if (mrl_thread_start("merle-load", run, &workers[started], &workers[started].thread) != 0)
            break;
    }
    workers[0].shared = l;
    workers[0].member = member;
    work(&workers[0], 1);
    for (uint32_t i = 1; i < started; i++) pthread_join(workers[i].thread, NULL);
    free(workers);
    return l->err;
}

/* ---- beginning ---- */

static merle_err file_differs(const mrl_directory *directory, merle_report *report, merle_err err,
                              const char *name, const char *what, const char *expected,
                              const char *found) {
    mrl_damage damage = {name, 0, expected, found, what, help};
    return mrl_directory_damage(directory, report, err, &damage);
}

static merle_err check_header(const mrl_directory *directory, const mrl_manifest *manifest,
                              const mrl_manifest_file *file, mrl_file *opened, const char *name,
                              merle_report *report) {
    uint8_t header[MRL_PAGE_FILE_HEADER_SIZE];
    uint64_t database_id[2], id, size;
    char expected[64], found[64];
    const char *why;
    size_t got = 0;
    int failed = directory->files->file_size(opened, &size);
    if (failed == 0) failed = directory->files->file_read(opened, 0, header, sizeof header, &got);
    if (failed != 0) return mrl_directory_system(directory, report, name, "reading", failed);
    snprintf(expected, sizeof expected, "%" PRIu64 " bytes", file->size);
    snprintf(found, sizeof found, "%" PRIu64 " bytes", size);
    if (size < file->size || got < sizeof header)
        return file_differs(directory, report, MERLE_CORRUPT, name, "the page file was cut short",
                            expected, found);
    merle_err err = mrl_page_file_read(header, database_id, &id, &why);
    if (err != MERLE_OK)
        return file_differs(directory, report, err, name, why, "a page file's header", why);
    if (memcmp(database_id, manifest->database_id, sizeof database_id) != 0)
        return file_differs(directory, report, MERLE_CORRUPT, name,
                            "the page file belongs to another database", "this database's id",
                            "another one");
    snprintf(expected, sizeof expected, "page file %016" PRIx64, file->id);
    snprintf(found, sizeof found, "page file %016" PRIx64, id);
    if (id != file->id)
        return file_differs(directory, report, MERLE_CORRUPT, name,
                            "the page file was renamed or swapped", expected, found);
    return MERLE_OK;
}

static merle_err check_files(const mrl_directory *directory, const mrl_manifest *manifest,
                             merle_report *report) {
    merle_err err = MERLE_OK;
    for (size_t i = 0; i < manifest->file_count && err == MERLE_OK; i++) {
        char name[MRL_FILE_NAME_MAX];
        mrl_file *file;
        mrl_directory_name(MRL_FILE_PAGES, manifest->files[i].id, name);
        int failed = directory->files->file_open(directory->dir, name, MRL_FILE_READ, &file);
        if (failed == ENOENT)
            return file_differs(directory, report, MERLE_CORRUPT, name, "the page file is missing",
                                "a page file that the manifest names", "no such file");
        if (failed != 0) return mrl_directory_system(directory, report, name, "opening", failed);
        err = check_header(directory, manifest, &manifest->files[i], file, name, report);
        directory->files->file_close(file);
    }
    return err;
}

static int compare_refs(const void *a, const void *b) {
    const mrl_manifest_page *x = ((const page_ref *)a)->page, *y = ((const page_ref *)b)->page;
    if (x->file_id != y->file_id) return x->file_id < y->file_id ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* All pages that have documents, in the order of their places. */
static merle_err list_pages(loading *l, mrl_load *load) {
    size_t count = 0;
    for (size_t i = 0; i < l->manifest->collection_count; i++)
        count += l->manifest->collections[i].page_count;
    l->refs = mrl_allocate((count + 1) * sizeof *l->refs);
    if (l->refs == NULL) return MERLE_NO_MEMORY;
    for (size_t i = 0; i < l->manifest->collection_count; i++) {
        const mrl_manifest_collection *collection = &l->manifest->collections[i];
        mrl_load_collection *target = mrl_load_find(load, collection->id);
        for (size_t p = 0; p < collection->page_count; p++) {
            const mrl_manifest_page *page = &collection->pages[p];
            if (page->length == 0) continue;
            l->refs[l->count++] = (page_ref){page, target, collection->id, 0};
            l->bytes_total += page->length;
        }
    }
    qsort(l->refs, l->count, sizeof *l->refs, compare_refs);
    return MERLE_OK;
}

merle_err mrl_recover_pages(const mrl_recover_options *options, const mrl_manifest *manifest,
                            mrl_load *load, mrl_member *member, merle_recovery_info *info,
                            merle_report *report) {
    loading *l = calloc(1, sizeof *l);
    if (l == NULL) return mrl_report_fill(report, MERLE_NO_MEMORY, NULL);
    l->options = options;
    l->manifest = manifest;
    mrl_lock_init(&l->lock);
    merle_err err = check_files(options->directory, manifest, report);
    if (err != MERLE_OK) goto done;
    if ((err = list_pages(l, load)) == MERLE_OK) err = work_together(l, member);
    if (err == MERLE_NO_MEMORY && l->err == MERLE_OK)
        mrl_report_fill(report, err, "no memory for the list of pages");
    else if (err != MERLE_OK && report != NULL)
        *report = l->report;
    info->pages = l->count;
    info->page_bytes = l->bytes_done;
    info->documents = l->documents;
done:
    free(l->refs);
    free(l);
    return err;
}
