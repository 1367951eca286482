/* persist/directory.c - names, lock and errors of a directory.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "persist/directory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/report.h"

static const char lock_name[] = "lock";
static const char temporary_end[] = ".tmp";
static const char *const prefixes[] = {
    [MRL_FILE_MANIFEST] = "manifest-", [MRL_FILE_PAGES] = "pages-", [MRL_FILE_LOG] = "log-"};

/* ---- reports ---- */

/* Directory and name, or the name alone where both do not fit: it is what matters. */
static void report_path(const mrl_directory *directory, merle_report *report, const char *name) {
    char path[sizeof report->path];
    if (report == NULL) return;
    int size = name == NULL ? snprintf(path, sizeof path, "%s", directory->path)
                            : snprintf(path, sizeof path, "%s/%s", directory->path, name);
    if (size < (int)sizeof path || name == NULL)
        mrl_report_path(report, path);
    else
        mrl_report_path(report, name);
}

merle_err mrl_directory_system(const mrl_directory *directory, merle_report *report,
                               const char *name, const char *doing, int system_errno) {
    merle_err err = MERLE_SYSTEM;
    if (system_errno == ENOSPC || system_errno == EDQUOT) err = MERLE_NO_SPACE;
    if (system_errno == ENOMEM) err = MERLE_NO_MEMORY;
    const char *text = strerrordesc_np(system_errno);
    mrl_report_fill(report, err, "%s: %s: %s", name == NULL ? directory->path : name, doing,
                    text == NULL ? "unknown error" : text);
    report_path(directory, report, name);
    mrl_report_errno(report, system_errno);
    return err;
}

merle_err mrl_directory_damage(const mrl_directory *directory, merle_report *report, merle_err err,
                               const mrl_damage *damage) {
    mrl_report_fill(report, err, "%s: %s%s%s", damage->name, damage->what,
                    damage->help == NULL ? "" : "; ", damage->help == NULL ? "" : damage->help);
    report_path(directory, report, damage->name);
    mrl_report_offset(report, damage->offset);
    mrl_report_expected(report, damage->expected);
    mrl_report_found(report, damage->found);
    return err;
}

/* ---- opening ---- */

static merle_err lock(mrl_directory *directory, merle_report *report) {
    uint64_t pid = 0;
    char found[48] = "another process";
    int failed = directory->files->dir_lock(directory->dir, lock_name, &pid);
    directory->is_locked = failed == 0;
    if (failed == 0) return MERLE_OK;
    if (failed != EBUSY)
        return mrl_directory_system(directory, report, lock_name, "locking", failed);
    if (pid != 0) snprintf(found, sizeof found, "process %" PRIu64, pid);
    mrl_report_fill(report, MERLE_BUSY, "%s is held by %s: one process owns a database",
                    directory->path, found);
    report_path(directory, report, NULL);
    mrl_report_expected(report, "nobody has it open");
    mrl_report_found(report, found);
    return MERLE_BUSY;
}

/* Opens it without a lock. create 1: makes it where it is not there. */
static merle_err open_unlocked(mrl_directory *directory, const mrl_files *files, const char *path,
                               int create, merle_report *report) {
    int is_new = 0;
    *directory = (mrl_directory){.files = files};
    size_t size = strlen(path) + 1;
    directory->path = mrl_allocate(size);
    if (directory->path == NULL) return mrl_report_fill(report, MERLE_NO_MEMORY, NULL);
    memcpy(directory->path, path, size);
    int failed = files->dir_open(files->context, path, create, &directory->dir, &is_new);
    if (failed == 0) return MERLE_OK;
    directory->dir = NULL;
    merle_err err = MERLE_NOT_FOUND;
    if (create || failed != ENOENT) {
        err = mrl_directory_system(directory, report, NULL, "opening the directory", failed);
    } else {
        mrl_report_fill(report, err, "%s: there is no such directory", path);
        report_path(directory, report, NULL);
    }
    mrl_directory_close(directory);
    return err;
}

merle_err mrl_directory_open(mrl_directory *directory, const mrl_files *files, const char *path,
                             merle_report *report) {
    merle_err err = open_unlocked(directory, files, path, 1, report);
    if (err != MERLE_OK) return err;
    err = lock(directory, report);
    if (err != MERLE_OK) mrl_directory_close(directory);
    return err;
}

/* A directory of something else must not even get a lock file. */
static merle_err find_database(const mrl_directory *directory, merle_report *report) {
    mrl_file_list list;
    merle_err err = mrl_directory_list(directory, &list, report);
    if (err != MERLE_OK) return err;
    int is_there = 0;
    for (size_t i = 0; i < list.count; i++) {
        mrl_file_kind kind = list.entries[i].kind;
        if (kind == MRL_FILE_MANIFEST || kind == MRL_FILE_PAGES || kind == MRL_FILE_LOG)
            is_there = 1;
    }
    mrl_file_list_fini(&list);
    if (is_there) return MERLE_OK;
    mrl_report_fill(report, MERLE_NOT_FOUND, "%s: there is no database in this directory",
                    directory->path);
    report_path(directory, report, NULL);
    mrl_report_expected(report, "a manifest-<number>");
    mrl_report_found(report, "none");
    return MERLE_NOT_FOUND;
}

merle_err mrl_directory_open_existing(mrl_directory *directory, const mrl_files *files,
                                      const char *path, merle_report *report) {
    merle_err err = open_unlocked(directory, files, path, 0, report);
    if (err != MERLE_OK) return err;
    err = find_database(directory, report);
    if (err == MERLE_OK) err = lock(directory, report);
    if (err != MERLE_OK) mrl_directory_close(directory);
    return err;
}

void mrl_directory_close(mrl_directory *directory) {
    if (directory->is_locked) directory->files->dir_unlock(directory->dir);
    if (directory->dir != NULL) directory->files->dir_close(directory->dir);
    free(directory->path);
    *directory = (mrl_directory){0};
}

/* ---- names ---- */

void mrl_directory_name(mrl_file_kind kind, uint64_t id, char out_name[MRL_FILE_NAME_MAX]) {
    snprintf(out_name, MRL_FILE_NAME_MAX, "%s%016" PRIx64, prefixes[kind], id);
}

mrl_file_kind mrl_directory_parse(const char *name, uint64_t *out_id) {
    char whole[MRL_FILE_NAME_MAX];
    size_t size = strlen(name), end_size = sizeof temporary_end - 1;
    *out_id = 0;
    if (strcmp(name, lock_name) == 0) return MRL_FILE_LOCK;
    if (size < sizeof whole && size > end_size &&
        strcmp(name + size - end_size, temporary_end) == 0) {
        memcpy(whole, name, size - end_size);
        whole[size - end_size] = 0;
        /* The log set looks after its own. */
        return mrl_directory_parse(whole, out_id) == MRL_FILE_MANIFEST ? MRL_FILE_TEMPORARY
                                                                       : MRL_FILE_OTHER;
    }
    for (mrl_file_kind kind = MRL_FILE_MANIFEST; kind <= MRL_FILE_LOG; kind++) {
        size_t prefix_size = strlen(prefixes[kind]);
        if (strncmp(name, prefixes[kind], prefix_size) != 0) continue;
        uint64_t id = strtoull(name + prefix_size, NULL, 16);
        /* Written again: only the one form is ours. */
        mrl_directory_name(kind, id, whole);
        if (strcmp(whole, name) != 0) return MRL_FILE_OTHER;
        *out_id = id;
        return kind;
    }
    return MRL_FILE_OTHER;
}

typedef struct listing {
    mrl_file_list *list;
    int has_failed;
} listing;

static int add_entry(void *context, const char *name, uint64_t size) {
    listing *l = context;
    mrl_file_entry entry = {.size = size};
    entry.kind = mrl_directory_parse(name, &entry.id);
    if (entry.kind == MRL_FILE_OTHER) return 0;
    memcpy(entry.name, name, strlen(name) + 1);
    if (l->list->count == l->list->capacity) {
        size_t capacity = l->list->capacity * 2 + 16;
        mrl_file_entry *grown = mrl_allocate(capacity * sizeof *grown);
        l->has_failed = grown == NULL;
        if (grown == NULL) return 1;
        if (l->list->count > 0) memcpy(grown, l->list->entries, l->list->count * sizeof *grown);
        free(l->list->entries);
        l->list->entries = grown;
        l->list->capacity = capacity;
    }
    l->list->entries[l->list->count++] = entry;
    return 0;
}

static int compare_entries(const void *a, const void *b) {
    const mrl_file_entry *x = a, *y = b;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

merle_err mrl_directory_list(const mrl_directory *directory, mrl_file_list *out_list,
                             merle_report *report) {
    merle_err err;
    *out_list = (mrl_file_list){0};
    listing l = {out_list, 0};
    int failed = directory->files->dir_each(directory->dir, add_entry, &l);
    if (l.has_failed) {
        err = mrl_report_fill(report, MERLE_NO_MEMORY, NULL);
        goto fail;
    }
    if (failed != 0) {
        err = mrl_directory_system(directory, report, NULL, "listing the directory", failed);
        goto fail;
    }
    if (out_list->count > 0)
        qsort(out_list->entries, out_list->count, sizeof *out_list->entries, compare_entries);
    return MERLE_OK;
fail:
    mrl_file_list_fini(out_list);
    return err;
}

void mrl_file_list_fini(mrl_file_list *list) {
    free(list->entries);
    *list = (mrl_file_list){0};
}

/* ---- whole files ---- */

merle_err mrl_directory_read(const mrl_directory *directory, const char *name, uint64_t size_max,
                             merle_buffer *out, merle_report *report) {
    const mrl_files *files = directory->files;
    mrl_file *file;
    uint64_t size = 0;
    size_t got = 0;
    out->size = 0;
    int failed = files->file_open(directory->dir, name, MRL_FILE_READ, &file);
    if (failed != 0) return mrl_directory_system(directory, report, name, "opening", failed);
    merle_err err = MERLE_OK;
    if ((failed = files->file_size(file, &size)) != 0)
        err = mrl_directory_system(directory, report, name, "asking for the size", failed);
    else if (size > size_max)
        err = mrl_report_fill(report, MERLE_CORRUPT, "%s: the file is too large to be one", name);
    else if (mrl_buffer_reserve(out, (size_t)size) != MERLE_OK)
        err = mrl_report_fill(report, MERLE_NO_MEMORY, NULL);
    else if ((failed = files->file_read(file, 0, out->data, (size_t)size, &got)) != 0)
        err = mrl_directory_system(directory, report, name, "reading", failed);
    files->file_close(file);
    out->size = got;
    return err;
}

/* Writes and syncs; *out_doing is what it was at. */
static int write_synced(const mrl_directory *directory, const char *name, merle_bytes bytes,
                        const char **out_doing) {
    const mrl_files *files = directory->files;
    mrl_file_part part = {bytes.data, bytes.size};
    mrl_file *file;
    *out_doing = "creating";
    int failed = files->file_open(directory->dir, name, MRL_FILE_CREATE, &file);
    if (failed != 0) return failed;
    *out_doing = "writing";
    failed = files->file_write(file, 0, &part, 1);
    if (failed == 0) {
        *out_doing = "syncing";
        failed = files->file_sync(file);
    }
    files->file_close(file);
    return failed;
}

merle_err mrl_directory_replace(const mrl_directory *directory, const char *name, merle_bytes bytes,
                                int *out_is_named, merle_report *report) {
    const mrl_files *files = directory->files;
    char temporary[MRL_FILE_NAME_MAX];
    const char *doing;
    *out_is_named = 0;
    snprintf(temporary, sizeof temporary, "%.30s%s", name, temporary_end);
    /* One that an earlier try has left. */
    (void)files->remove(directory->dir, temporary);
    int failed = write_synced(directory, temporary, bytes, &doing);
    if (failed != 0) {
        (void)files->remove(directory->dir, temporary);
        return mrl_directory_system(directory, report, temporary, doing, failed);
    }
    *out_is_named = 1;
    if ((failed = files->rename(directory->dir, temporary, name)) != 0)
        return mrl_directory_system(directory, report, temporary, "renaming", failed);
    if ((failed = files->dir_sync(directory->dir)) != 0)
        return mrl_directory_system(directory, report, NULL, "syncing the directory", failed);
    return MERLE_OK;
}
