/* persist/care.c - findings, sources and targets of backup, restore, verify and repair.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "persist/care.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/crc32c.h"
#include "base/report.h"
#include "persist/checkpoint.h"
#include "persist/recover.h"
#include "wire/bytes.h"

#define MANIFEST_SIZE_MAX ((uint64_t)1 << 30)

static const char help[] =
    "merle restore goes back to an older state, merle repair takes what can be taken";

/* ---- findings ---- */

int mrl_care_is_damage(merle_err err) {
    return err == MERLE_CORRUPT || err == MERLE_DIFFERS || err == MERLE_EXISTS;
}

void mrl_care_tell(mrl_care *care, const merle_finding *finding) {
    care->info.findings++;
    if (finding->kind != MERLE_FOUND_ORPHAN && finding->kind != MERLE_FOUND_OLDER) {
        care->info.damaged++;
        if (care->first.err == MERLE_OK) {
            mrl_report_fill(&care->first, MERLE_CORRUPT, "%s", finding->message);
            mrl_report_path(&care->first, finding->file);
            mrl_report_offset(&care->first, finding->offset);
            mrl_report_collection(&care->first, finding->collection);
            mrl_report_expected(&care->first, finding->expected);
            mrl_report_found(&care->first, finding->found);
        }
    }
    if (care->options.finding != NULL && !care->is_quiet)
        care->options.finding(care->options.finding_context, finding);
}

static const char *name_in(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

void mrl_care_tell_report(mrl_care *care, merle_finding_kind kind, const merle_report *report) {
    merle_finding f = {.kind = kind, .offset = report->offset};
    snprintf(f.file, sizeof f.file, "%.63s", name_in(report->path));
    memcpy(f.collection, report->collection, sizeof f.collection);
    memcpy(f.key, report->key, sizeof f.key);
    memcpy(f.expected, report->expected, sizeof f.expected);
    memcpy(f.found, report->found, sizeof f.found);
    memcpy(f.message, report->message, sizeof f.message);
    mrl_care_tell(care, &f);
}

void mrl_care_tell_damage(mrl_care *care, merle_finding_kind kind, const mrl_directory *directory,
                          const mrl_damage *damage) {
    merle_report report;
    mrl_report_clear(&report);
    (void)mrl_directory_damage(directory, &report, MERLE_CORRUPT, damage);
    mrl_care_tell_report(care, kind, &report);
}

void mrl_care_progress(mrl_care *care, const char *what, uint64_t done, uint64_t total) {
    if (care->options.progress != NULL)
        care->options.progress(care->options.progress_context, what, done, total);
}

/* ---- sources ---- */

/* Whether a header that claims a newer format is one, and not a damaged one of ours. */
static int is_newer(const merle_buffer *bytes) {
    enum { CHECKED_SIZE = MRL_MANIFEST_HEADER_SIZE - 4 };
    return bytes->size >= MRL_MANIFEST_HEADER_SIZE &&
           mrl_get_little32(bytes->data + CHECKED_SIZE) == mrl_crc32c(0, bytes->data, CHECKED_SIZE);
}

static merle_err read_manifest(mrl_care *care, mrl_care_source *source,
                               const mrl_file_entry *entry) {
    merle_buffer bytes = {0};
    const char *why = "";
    uint64_t offset = 0;
    mrl_manifest *out = &source->manifests[source->manifest_count];
    merle_err err = mrl_directory_read(&source->directory, entry->name, MANIFEST_SIZE_MAX, &bytes,
                                       care->report);
    if (err != MERLE_OK) goto done;
    err = mrl_manifest_read(merle_bytes_of(bytes.data, bytes.size), out, &why, &offset);
    if (err == MERLE_UNSUPPORTED && !is_newer(&bytes)) err = MERLE_CORRUPT;
    if (err == MERLE_OK && out->number != entry->id) {
        mrl_manifest_fini(out);
        why = "the manifest was renamed: it has another number than its name";
        err = MERLE_CORRUPT;
    }
    mrl_damage damage = {entry->name, offset, "a manifest as docs/format.md has it",
                         why,         why,    help};
    if (err == MERLE_OK) {
        source->manifest_count++;
        care->info.bytes += bytes.size;
    } else if (err == MERLE_CORRUPT) {
        mrl_care_tell_damage(care, MERLE_FOUND_DAMAGE, &source->directory, &damage);
        source->manifests_damaged++;
        err = MERLE_OK;
    } else if (err == MERLE_UNSUPPORTED) {
        (void)mrl_directory_damage(&source->directory, care->report, err, &damage);
    } else {
        mrl_report_fill(care->report, err, "no memory for a manifest");
    }
done:
    merle_buffer_free(&bytes);
    return err;
}

static merle_err read_manifests(mrl_care *care, mrl_care_source *source) {
    merle_err err = MERLE_OK;
    source->manifests = calloc(source->list.count + 1, sizeof *source->manifests);
    if (source->manifests == NULL) return mrl_report_fill(care->report, MERLE_NO_MEMORY, NULL);
    for (size_t i = 0; i < source->list.count && err == MERLE_OK; i++) {
        const mrl_file_entry *entry = &source->list.entries[i];
        if (entry->kind == MRL_FILE_MANIFEST) err = read_manifest(care, source, entry);
        if (entry->kind == MRL_FILE_LOG) source->log_file_size = entry->size;
    }
    care->info.manifests = source->manifest_count;
    return err;
}

merle_err mrl_care_source_open(mrl_care *care, const char *path, mrl_care_source *out_source) {
    memset(out_source, 0, sizeof *out_source);
    merle_err err =
        mrl_directory_open_existing(&out_source->directory, care->files, path, care->report);
    if (err != MERLE_OK) return err;
    err = mrl_directory_list(&out_source->directory, &out_source->list, care->report);
    if (err == MERLE_OK) err = read_manifests(care, out_source);
    if (err != MERLE_OK) mrl_care_source_close(out_source);
    return err;
}

void mrl_care_source_close(mrl_care_source *source) {
    for (size_t i = 0; i < source->manifest_count; i++) mrl_manifest_fini(&source->manifests[i]);
    free(source->manifests);
    mrl_file_list_fini(&source->list);
    if (source->directory.path != NULL) mrl_directory_close(&source->directory);
    memset(source, 0, sizeof *source);
}

mrl_manifest *mrl_care_newest(const mrl_care_source *source) {
    return source->manifest_count == 0 ? NULL : &source->manifests[source->manifest_count - 1];
}

merle_err mrl_care_log_open(mrl_care *care, const mrl_care_source *source,
                            const mrl_manifest *manifest, mrl_log_set **out_set,
                            merle_report *report) {
    const mrl_manifest *newest = mrl_care_newest(source);
    mrl_log_set_options options = {
        .files = care->files,
        .dir = source->directory.dir,
        .clock = care->clock,
        .database_id = {manifest->database_id[0], manifest->database_id[1]},
        .oldest_id = manifest->log_id,
        .after_seq = manifest->replay_seq,
        .term = newest->term,
        .vouched_seq = newest->seq_max,
        .seed = 1,
        .only_reads = 1,
    };
    return mrl_log_set_open(&options, out_set, report);
}

/* Of the newest term what was recovered has come over, and of no other more than that. */
static void note_terms(mrl_care *care, const mrl_log_set *set, uint64_t last_seq) {
    mrl_log_term newest = {mrl_log_set_term(set), mrl_log_set_term_id(set), last_seq};
    care->terms = *mrl_log_set_terms(set);
    if (newest.id != 0) mrl_log_terms_add(&care->terms, newest);
    for (uint32_t i = 0; i < care->terms.count; i++)
        if (care->terms.list[i].end_seq > last_seq) care->terms.list[i].end_seq = last_seq;
}

/* How many documents the store has: from pages and log. */
static void count_documents(mrl_care *care) {
    const merle_collection *at =
        atomic_load_explicit(&care->store->collections, memory_order_acquire);
    care->info.documents = 0;
    for (; at != NULL; at = atomic_load_explicit(&at->next, memory_order_acquire)) {
        mrl_root *root = mrl_collection_current(at);
        if (root != NULL && !root->is_dropped) care->info.documents += mrl_root_count_now(root);
    }
}

merle_err mrl_care_recover(mrl_care *care, mrl_care_source *source, mrl_manifest *manifest,
                           uint64_t seq_end, merle_recovery_info *out_recovery,
                           merle_report *report) {
    mrl_log_set *set;
    *out_recovery = (merle_recovery_info){.size = sizeof *out_recovery};
    merle_err err = mrl_care_log_open(care, source, manifest, &set, report);
    if (err != MERLE_OK) return err;
    mrl_recover_options options = {
        .directory = &source->directory,
        .log_set = set,
        .store = care->store,
        .clock = care->clock,
        .thread_count = care->options.threads,
        .functions = care->options.functions,
        .without_functions = care->options.functions == NULL,
        .progress = care->options.progress,
        .progress_context = care->options.progress_context,
        .seq_end = seq_end,
    };
    err = mrl_recover(&options, manifest, care->member, out_recovery, report);
    if (err == MERLE_OK) count_documents(care);
    out_recovery->term = mrl_log_set_term(set);
    note_terms(care, set, out_recovery->last_seq);
    (void)mrl_log_set_close(set, NULL);
    return err;
}

/* ---- targets ---- */

typedef struct emptiness {
    char other[MRL_FILE_NAME_MAX];
} emptiness;

static int find_any(void *context, const char *name, uint64_t size) {
    emptiness *e = context;
    uint64_t id;
    (void)size;
    if (mrl_directory_parse(name, &id) == MRL_FILE_LOCK) return 0;
    snprintf(e->other, sizeof e->other, "%.39s", name);
    return 1;
}

merle_err mrl_care_target_open(mrl_care *care, const char *path, mrl_directory *out_directory) {
    emptiness e = {""};
    merle_err err = mrl_directory_open(out_directory, care->files, path, care->report);
    if (err != MERLE_OK) return err;
    int failed = care->files->dir_each(out_directory->dir, find_any, &e);
    if (failed != 0)
        err = mrl_directory_system(out_directory, care->report, NULL, "listing the directory",
                                   failed);
    if (err == MERLE_OK && e.other[0] != 0) {
        err =
            mrl_report_fill(care->report, MERLE_EXISTS,
                            "%s has files in it already (%s): give a new directory", path, e.other);
        mrl_report_path(care->report, path);
    }
    if (err != MERLE_OK) mrl_directory_close(out_directory);
    return err;
}

void mrl_care_target_close(mrl_directory *directory, merle_err err) {
    mrl_file_list list = {0};
    uint64_t id;
    if (directory->path == NULL) return;
    if (err != MERLE_OK && mrl_directory_list(directory, &list, NULL) == MERLE_OK) {
        for (size_t i = 0; i < list.count; i++)
            if (mrl_directory_parse(list.entries[i].name, &id) != MRL_FILE_LOCK)
                (void)directory->files->remove(directory->dir, list.entries[i].name);
        mrl_file_list_fini(&list);
    }
    mrl_directory_close(directory);
}

/* A checkpoint of everything, in a directory that has none. */
static merle_err write_pages(mrl_care *care, mrl_directory *target, mrl_log_set *set,
                             const mrl_care_found_options *options) {
    merle_err err = MERLE_NO_MEMORY;
    mrl_checkpoint *c = calloc(1, sizeof *c);
    if (c == NULL) return mrl_report_fill(care->report, err, NULL);
    c->directory = target;
    c->log_set = set;
    c->store = care->store;
    c->clock = care->clock;
    c->compression = care->options.compression == MERLE_COMPRESSION_ZSTD ? MRL_COMPRESSION_ZSTD
                                                                         : MRL_COMPRESSION_NONE;
    c->manifests_kept = 1;
    memcpy(c->current.database_id, options->database_id, sizeof options->database_id);
    c->current.time_ns = options->time_ns;
    c->current.collection_next_id = 1;
    c->manifest_next = c->file_next = 1;
    err = mrl_checkpoint_begin(c, care->member, care->report);
    while (err == MERLE_OK && c->state != MRL_CHECKPOINT_IDLE) {
        mrl_care_progress(care, "writing",
                          atomic_load_explicit(&c->stats.slots_done, memory_order_relaxed),
                          atomic_load_explicit(&c->stats.slots_total, memory_order_relaxed));
        err = mrl_checkpoint_step(c, care->member, care->report);
    }
    mrl_checkpoint_fini(c);
    free(c);
    return err;
}

merle_err mrl_care_found(mrl_care *care, mrl_directory *target,
                         const mrl_care_found_options *options) {
    mrl_log_set *set;
    mrl_log_set_options set_options = {
        .files = care->files,
        .dir = target->dir,
        .clock = care->clock,
        .database_id = {options->database_id[0], options->database_id[1]},
        .file_size = options->log_file_size,
        .after_seq = options->seq,
        .term_floor = options->term,
        .terms = options->terms,
    };
    count_documents(care);
    merle_err err = mrl_log_set_open(&set_options, &set, care->report);
    if (err != MERLE_OK) return err;
    mrl_log_start_options start = {.log = care->store->log,
                                   .store = care->store,
                                   .domain = care->store->domain,
                                   .last_seq = options->seq};
    err = mrl_log_set_start(set, &start, care->report);
    int has_started = err == MERLE_OK;
    if (err == MERLE_OK) err = write_pages(care, target, set, options);
    care->info.term = mrl_log_set_term(set);
    merle_err closed = mrl_log_set_close(set, has_started ? care->member : NULL);
    if (err == MERLE_OK && closed != MERLE_OK)
        err = mrl_report_fill(care->report, MERLE_SYSTEM, "the new log could not be closed");
    return err;
}
