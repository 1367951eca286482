/* persist/verify.c - everything in a directory is read and compared.
 *
 * Four passes. Files and pages: of every manifest that can be read, the newest last; a page that an
 * earlier one has in the same place is not read again. The log: from where the oldest manifest
 * needs it to its end, record by record, operation by operation. Orphans: files that nothing refers
 * to. Recovery: what an opening would do, into memory; whoever calls compares indexes and documents
 * then.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/report.h"
#include "document/check.h"
#include "persist/care.h"
#include "persist/page_look.h"
#include "wire/record.h"

/* ---- pages ---- */

typedef struct verifying {
    mrl_care *care;
    mrl_care_source *source;
    const mrl_manifest *manifest, *before; /* before: the one that was looked at last; or NULL */
    mrl_page_look look;
    uint64_t bytes_done, bytes_total;
} verifying;

static int was_looked_at(const verifying *v, uint32_t collection_id,
                         const mrl_manifest_page *page) {
    if (v->before == NULL) return 0;
    const mrl_manifest_collection *c = mrl_manifest_find(v->before, collection_id);
    const mrl_manifest_page *same = c == NULL ? NULL : mrl_manifest_page_of(c, page->first_slot);
    return same != NULL && same->file_id == page->file_id && same->offset == page->offset &&
           same->length == page->length && same->crc == page->crc &&
           same->slot_count == page->slot_count && same->document_count == page->document_count;
}

static void tell_page(verifying *v, const mrl_manifest_collection *c, const mrl_manifest_page *page,
                      const merle_report *report) {
    merle_finding f = {.kind = MERLE_FOUND_DAMAGE,
                       .collection_id = c->id,
                       .offset = page->offset,
                       .slot_first = page->first_slot,
                       .slot_count = page->slot_count};
    mrl_directory_name(MRL_FILE_PAGES, page->file_id, f.file);
    mrl_page_look_name(&c->definition, f.collection);
    memcpy(f.expected, report->expected, sizeof f.expected);
    memcpy(f.found, report->found, sizeof f.found);
    memcpy(f.message, report->message, sizeof f.message);
    mrl_care_tell(v->care, &f);
}

static merle_err verify_collection(verifying *v, const mrl_manifest_collection *c) {
    merle_report report;
    merle_err err = MERLE_OK;
    for (size_t i = 0; i < c->page_count && err == MERLE_OK; i++) {
        const mrl_manifest_page *page = &c->pages[i];
        if (page->length == 0) continue;
        v->bytes_done += page->length;
        if (was_looked_at(v, c->id, page)) continue;
        mrl_report_clear(&report);
        err = mrl_page_look_at(&v->look, c->id, page, NULL, NULL, &report);
        if (mrl_care_is_damage(err)) {
            tell_page(v, c, page, &report);
            err = MERLE_OK;
        } else if (err == MERLE_OK) {
            v->care->info.pages++;
            v->care->info.bytes += page->length;
        } else {
            *v->care->report = report;
        }
        mrl_care_progress(v->care, "pages", v->bytes_done, v->bytes_total);
    }
    return err;
}

static merle_err verify_manifest(verifying *v) {
    merle_report report;
    merle_err err = MERLE_OK;
    mrl_page_look_begin(&v->look, &v->source->directory, v->manifest);
    for (size_t i = 0; i < v->manifest->file_count && err == MERLE_OK; i++) {
        mrl_report_clear(&report);
        err = mrl_page_look_file(&v->look, &v->manifest->files[i], &report);
        if (err == MERLE_NOT_FOUND || err == MERLE_CORRUPT) {
            mrl_care_tell_report(
                v->care, err == MERLE_CORRUPT ? MERLE_FOUND_DAMAGE : MERLE_FOUND_MISSING, &report);
            err = MERLE_OK;
        } else if (err != MERLE_OK) {
            *v->care->report = report;
        }
    }
    v->care->info.page_files = v->manifest->file_count;
    for (size_t i = 0; i < v->manifest->collection_count && err == MERLE_OK; i++)
        err = verify_collection(v, &v->manifest->collections[i]);
    mrl_page_look_end(&v->look);
    v->before = v->manifest;
    return err;
}

static merle_err verify_pages(mrl_care *care, mrl_care_source *source) {
    verifying v = {.care = care, .source = source};
    merle_err err = MERLE_OK;
    for (size_t i = 0; i < source->manifest_count; i++)
        for (size_t f = 0; f < source->manifests[i].file_count; f++)
            v.bytes_total += source->manifests[i].files[f].live;
    for (size_t i = 0; i < source->manifest_count && err == MERLE_OK; i++) {
        v.manifest = &source->manifests[i];
        err = verify_manifest(&v);
    }
    return err;
}

/* ---- the log ---- */

/* Of the records only what they say by themselves: what they are applied to comes later. */
static merle_err verify_record(void *context, const mrl_frame *frame, merle_bytes body,
                               merle_report *report) {
    mrl_care *care = context;
    mrl_record_reader reader;
    mrl_record_operation_view op;
    merle_err err = mrl_record_read_begin(body, &reader);
    while (err == MERLE_OK) {
        err = mrl_record_read_next(&reader, &op);
        if (err == MERLE_OK && op.kind == MRL_RECORD_PUT)
            err = mrl_check_document(op.payload.data, op.payload.size, NULL);
    }
    if (err != MERLE_NOT_FOUND)
        return mrl_report_fill(report, err == MERLE_NO_MEMORY ? err : MERLE_CORRUPT,
                               "the record of commit %" PRIu64 " cannot be read", frame->seq);
    care->info.records++;
    care->info.bytes += MRL_FRAME_HEADER_SIZE + frame->length;
    care->info.seq = frame->seq;
    care->info.time_ns = frame->time_ns;
    return MERLE_OK;
}

static int count_file(void *context, const mrl_log_file_info *info) {
    mrl_care *care = context;
    if (!info->is_spare && !info->is_prepared) care->info.log_files++;
    return 0;
}

static merle_err verify_log(mrl_care *care, mrl_care_source *source) {
    const mrl_manifest *oldest = &source->manifests[0];
    mrl_log_set *set;
    merle_report report;
    uint64_t last_seq = 0;
    int64_t last_time_ns;
    mrl_report_clear(&report);
    care->info.seq = oldest->replay_seq;
    care->info.time_ns = oldest->time_ns;
    merle_err err = mrl_care_log_open(care, source, oldest, &set, &report);
    if (err == MERLE_OK) {
        err = mrl_log_set_replay(set, oldest->replay_seq, verify_record, care, &last_seq,
                                 &last_time_ns, &report);
        mrl_log_set_each(set, count_file, care);
        care->info.term = mrl_log_set_term(set);
        (void)mrl_log_set_close(set, NULL);
    }
    if (err == MERLE_CORRUPT) {
        int is_hole = strncmp(report.expected, "a record with seq", 17) == 0;
        mrl_care_tell_report(care, is_hole ? MERLE_FOUND_HOLE : MERLE_FOUND_DAMAGE, &report);
        return MERLE_OK;
    }
    if (err != MERLE_OK) *care->report = report;
    care->info.seq_min = UINT64_MAX;
    for (size_t i = 0; i < source->manifest_count; i++)
        if (source->manifests[i].seq_max < care->info.seq_min)
            care->info.seq_min = source->manifests[i].seq_max;
    care->info.seq_max = care->info.seq;
    care->info.time_min_ns = oldest->time_ns;
    care->info.time_max_ns = care->info.time_ns;
    return err;
}

/* ---- orphans ---- */

static void find_orphans(mrl_care *care, const mrl_care_source *source) {
    for (size_t i = 0; i < source->list.count; i++) {
        const mrl_file_entry *entry = &source->list.entries[i];
        int is_named = entry->kind != MRL_FILE_PAGES && entry->kind != MRL_FILE_TEMPORARY;
        for (size_t m = 0; m < source->manifest_count && entry->kind == MRL_FILE_PAGES; m++)
            is_named |= mrl_manifest_find_file(&source->manifests[m], entry->id) != NULL;
        if (is_named) continue;
        merle_finding f = {.kind = MERLE_FOUND_ORPHAN};
        snprintf(f.file, sizeof f.file, "%s", entry->name);
        snprintf(f.message, sizeof f.message,
                 "%s: nothing refers to it; the next opening for writing removes it", entry->name);
        mrl_care_tell(care, &f);
    }
}

/* ---- the whole ---- */

/* What an opening would find that the bytes alone do not show. */
static merle_err recover(mrl_care *care, mrl_care_source *source, int *out_can_check) {
    merle_recovery_info recovery;
    merle_report report;
    mrl_manifest *newest = mrl_care_newest(source);
    mrl_report_clear(&report);
    /* Damage that was told already would only be met again. */
    if (care->info.damaged > 0) return MERLE_OK;
    merle_err err = mrl_care_recover(care, source, newest, UINT64_MAX, &recovery, &report);
    *out_can_check = err == MERLE_OK;
    if (mrl_care_is_damage(err)) {
        mrl_care_tell_report(
            care,
            report.found[0] != 0 && report.key[0] != 0 ? MERLE_FOUND_DUPLICATE : MERLE_FOUND_DAMAGE,
            &report);
        return MERLE_OK;
    }
    if (err != MERLE_OK) *care->report = report;
    return err;
}

static merle_err verify_all(mrl_care *care, mrl_care_source *source, int *out_can_check) {
    const mrl_manifest *newest = mrl_care_newest(source);
    if (newest == NULL) {
        mrl_damage damage = {"manifest-<number>",
                             0,
                             "a manifest that can be read",
                             source->manifests_damaged > 0 ? "damaged ones only" : "none",
                             "without a manifest nothing says what the files are",
                             "take a backup"};
        mrl_care_tell_damage(care, MERLE_FOUND_MISSING, &source->directory, &damage);
        return MERLE_OK;
    }
    memcpy(care->info.database_id, newest->database_id, sizeof newest->database_id);
    merle_err err = verify_pages(care, source);
    if (err == MERLE_OK) err = verify_log(care, source);
    if (err != MERLE_OK) return err;
    if (source->manifests_damaged == 0) find_orphans(care, source);
    return recover(care, source, out_can_check);
}

merle_err mrl_verify(mrl_care *care, const char *path, int *out_can_check) {
    mrl_care_source source;
    *out_can_check = 0;
    merle_err err = mrl_care_source_open(care, path, &source);
    if (err != MERLE_OK) return err;
    err = verify_all(care, &source, out_can_check);
    mrl_care_source_close(&source);
    return err;
}
