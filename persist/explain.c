/* persist/explain.c - the directory's files, in words.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/report.h"
#include "persist/persist_private.h"

enum { ABOUT_MAX = 160 };

typedef struct find_log {
    uint64_t id;
    mrl_log_file_info found;
} find_log;

static int match_log(void *context, const mrl_log_file_info *info) {
    find_log *f = context;
    if (info->id != f->id) return 0;
    f->found = *info;
    return 1;
}

static void explain_log(mrl_persist *p, uint64_t id, char *out) {
    find_log f = {.id = id};
    mrl_log_set_each(p->log_set, match_log, &f);
    if (f.found.id != id)
        snprintf(out, ABOUT_MAX, "a log file that is no part of the log");
    else if (f.found.is_spare)
        snprintf(out, ABOUT_MAX, "a log file that will be used again");
    else if (f.found.is_prepared)
        snprintf(out, ABOUT_MAX, "the next log file, prepared");
    else
        snprintf(out, ABOUT_MAX, "commits from %" PRIu64 " on, of term %" PRIu64, f.found.first_seq,
                 f.found.term);
}

static void explain_manifest(const mrl_persist *p, uint64_t id, char *out) {
    const mrl_checkpoint *c = &p->checkpoint;
    snprintf(out, ABOUT_MAX, "a manifest that is not in force");
    if (id == c->current.number)
        snprintf(out, ABOUT_MAX,
                 "the manifest in force: its pages, and the log behind commit %" PRIu64
                 ", are the database",
                 c->current.replay_seq);
    for (size_t i = 0; i < c->kept_count; i++)
        if (c->kept[i].number == id)
            snprintf(out, ABOUT_MAX, "an older manifest, of commit %" PRIu64 ", kept for a restore",
                     c->kept[i].replay_seq);
}

static void explain_pages(const mrl_persist *p, uint64_t id, char *out) {
    const mrl_manifest_file *file = mrl_manifest_find_file(&p->checkpoint.current, id);
    if (file != NULL)
        snprintf(out, ABOUT_MAX, "pages of documents: %" PRIu64 " bytes of them are in use",
                 file->live);
    else
        snprintf(out, ABOUT_MAX,
                 "pages of documents that only older manifests need, or that a "
                 "checkpoint is writing");
}

static const char *kind_text(mrl_file_kind kind) {
    static const char *const texts[] = {"other", "manifest", "pages", "log", "lock", "temporary"};
    return texts[kind];
}

static void add_file(mrl_persist *p, const mrl_file_entry *entry, merle_builder *b) {
    char about[ABOUT_MAX] = "a file that was not finished";
    if (entry->kind == MRL_FILE_LOG) explain_log(p, entry->id, about);
    if (entry->kind == MRL_FILE_MANIFEST) explain_manifest(p, entry->id, about);
    if (entry->kind == MRL_FILE_PAGES) explain_pages(p, entry->id, about);
    if (entry->kind == MRL_FILE_LOCK)
        snprintf(about, sizeof about, "says that a process has the database open");
    merle_build_map(b, NULL);
    merle_build_str(b, "name", entry->name);
    merle_build_str(b, "kind", kind_text(entry->kind));
    merle_build_uint(b, "size", entry->size);
    merle_build_str(b, "about", about);
    merle_build_close(b);
}

merle_err mrl_persist_files(mrl_persist *p, merle_buffer *out_json, merle_report *report) {
    mrl_file_list list;
    merle_builder *b = NULL;
    merle_bytes document;
    merle_err err = mrl_directory_list(&p->directory, &list, report);
    if (err != MERLE_OK) return err;
    err = merle_builder_create(&b);
    if (err != MERLE_OK) goto done;
    merle_build_begin(b);
    merle_build_str(b, "path", p->directory.path);
    merle_build_array(b, "files");
    mrl_lock_take(&p->lock);
    for (size_t i = 0; i < list.count; i++) add_file(p, &list.entries[i], b);
    mrl_lock_drop(&p->lock);
    merle_build_close(b);
    if ((err = merle_build_end(b, &document)) == MERLE_OK)
        err = merle_json_write(document, MERLE_JSON_INDENTED, out_json);
    merle_builder_destroy(b);
done:
    mrl_file_list_fini(&list);
    if (err != MERLE_OK) mrl_report_fill(report, err, "no memory for the list of files");
    return err;
}
