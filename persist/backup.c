/* persist/backup.c - a copy of a running database's directory, as it is at one commit.
 *
 * The copy is what a crash right after that commit would leave: the manifest in force, its page
 * files, and the log from where the manifest needs it up to that commit. Page files are never
 * written again once a manifest names them, so a link will do. Log files are used again, so they
 * are copied; all but the last one have been written to their end, and of the last one everything
 * up to the commit is on the disk. Meanwhile nothing is removed or used again: the log is held, and
 * so are the files of checkpoints.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/report.h"
#include "persist/care.h"
#include "persist/log_file.h"
#include "persist/persist_private.h"

enum { PIECE_SIZE = 1 << 20 };
#define MANIFEST_SIZE_MAX ((uint64_t)1 << 30)

typedef struct log_part {
    uint64_t id, first_seq, size;
} log_part;

typedef struct backup {
    mrl_care *care;
    mrl_persist *persist;
    const mrl_directory *from;
    mrl_directory to;
    uint64_t seq; /* the commit */
    char manifest_name[MRL_FILE_NAME_MAX];
    merle_buffer manifest_bytes;
    mrl_manifest manifest;
    log_part *logs; /* those that it needs, by id; malloc */
    size_t log_count, log_capacity;
    int is_short; /* no memory for the list */
    uint64_t bytes_done, bytes_total;
    uint8_t *piece;
} backup;

static merle_err fail_from(const backup *b, const char *name, const char *doing, int failed) {
    return mrl_directory_system(b->from, b->care->report, name, doing, failed);
}

static merle_err fail_to(const backup *b, const char *name, const char *doing, int failed) {
    return mrl_directory_system(&b->to, b->care->report, name, doing, failed);
}

static void tell(backup *b, uint64_t size) {
    b->bytes_done += size;
    mrl_care_progress(b->care, "copy", b->bytes_done, b->bytes_total);
}

static merle_err go_on(const backup *b) {
    const _Atomic int *cancelled = b->care->is_cancelled;
    if (cancelled == NULL || !atomic_load_explicit(cancelled, memory_order_relaxed))
        return MERLE_OK;
    return mrl_report_fill(b->care->report, MERLE_AGAIN, "the backup was cancelled");
}

/* ---- one file ---- */

static merle_err copy_bytes(backup *b, const char *name, mrl_file *from, mrl_file *to,
                            uint64_t size) {
    const mrl_files *files = b->care->files;
    for (uint64_t at = 0; at < size;) {
        uint64_t wanted = size - at < PIECE_SIZE ? size - at : PIECE_SIZE;
        size_t got = 0;
        merle_err err = go_on(b);
        if (err != MERLE_OK) return err;
        int failed = files->file_read(from, at, b->piece, (size_t)wanted, &got);
        if (failed != 0) return fail_from(b, name, "reading", failed);
        if (got == 0) return fail_from(b, name, "reading what should be there", EIO);
        mrl_file_part part = {b->piece, got};
        if ((failed = files->file_write(to, at, &part, 1)) != 0)
            return fail_to(b, name, "writing a copy", failed);
        at += got;
        tell(b, got);
    }
    b->care->info.bytes += size;
    return MERLE_OK;
}

/* The first `used` bytes of a file, in one of `size` bytes: zeros behind them. */
static merle_err copy_file(backup *b, const char *name, uint64_t used, uint64_t size) {
    const mrl_files *files = b->care->files;
    mrl_file *from, *to = NULL;
    int failed = files->file_open(b->from->dir, name, MRL_FILE_READ, &from);
    if (failed != 0) return fail_from(b, name, "opening", failed);
    merle_err err = MERLE_OK;
    if ((failed = files->file_open(b->to.dir, name, MRL_FILE_CREATE, &to)) != 0) {
        to = NULL;
        err = fail_to(b, name, "creating a copy", failed);
    }
    if (err == MERLE_OK && size > used && (failed = files->file_reserve(to, size)) != 0)
        err = fail_to(b, name, "making room for a copy", failed);
    if (err == MERLE_OK) err = copy_bytes(b, name, from, to, used);
    if (err == MERLE_OK && (failed = files->file_sync(to)) != 0)
        err = fail_to(b, name, "syncing a copy", failed);
    if (to != NULL) files->file_close(to);
    files->file_close(from);
    return err;
}

/* ---- page files ---- */

static int cannot_link(int failed) {
    return failed == EXDEV || failed == EPERM || failed == EMLINK || failed == ENOSYS ||
           failed == EOPNOTSUPP;
}

static merle_err take_page_file(backup *b, const mrl_manifest_file *file) {
    char name[MRL_FILE_NAME_MAX];
    merle_err err = go_on(b);
    if (err != MERLE_OK) return err;
    mrl_directory_name(MRL_FILE_PAGES, file->id, name);
    b->care->info.page_files++;
    int failed = b->care->files->link(b->from->dir, name, b->to.dir, name);
    if (failed == 0) {
        b->care->info.bytes_linked += file->size;
        tell(b, file->size);
        return MERLE_OK;
    }
    if (!cannot_link(failed)) return fail_from(b, name, "linking", failed);
    return copy_file(b, name, file->size, file->size);
}

/* ---- log files ---- */

static int note_log(void *context, const mrl_log_file_info *info) {
    backup *b = context;
    if (info->is_prepared || info->is_spare || info->id < b->manifest.log_id) return 0;
    /* One that begins behind the commit is needed only where the manifest names it. */
    if (info->first_seq > b->seq && info->id > b->manifest.log_id) return 0;
    if (b->log_count == b->log_capacity) {
        size_t capacity = b->log_capacity * 2 + 16;
        log_part *grown = realloc(b->logs, capacity * sizeof *grown);
        b->is_short = grown == NULL;
        if (grown == NULL) return 1;
        b->logs = grown;
        b->log_capacity = capacity;
    }
    b->logs[b->log_count++] = (log_part){info->id, info->first_seq, info->size};
    return 0;
}

/* How much of the last log file is needed: up to the end of the commit's record. */
static merle_err find_end(backup *b, const log_part *part, uint64_t *out_end) {
    const mrl_files *files = b->care->files;
    char name[MRL_FILE_NAME_MAX];
    uint8_t blocks[2 * MRL_LOG_HEADER_SIZE] = {0};
    mrl_log_header header;
    mrl_log_scan scan;
    mrl_frame frame;
    merle_bytes body;
    mrl_file *file;
    size_t got;
    uint32_t version;
    mrl_directory_name(MRL_FILE_LOG, part->id, name);
    *out_end = MRL_LOG_FRAMES_AT;
    int failed = files->file_open(b->from->dir, name, MRL_FILE_READ, &file);
    if (failed != 0) return fail_from(b, name, "opening", failed);
    failed = files->file_read(file, 0, blocks, sizeof blocks, &got);
    merle_err err = failed != 0 ? fail_from(b, name, "reading", failed)
                                : mrl_log_header_read(blocks, &header, &version);
    if (err != MERLE_OK) goto done;
    mrl_log_scan_begin(&scan, files, file, header.seed, part->size);
    uint64_t last = part->first_seq - 1;
    while (err == MERLE_OK && last < b->seq) {
        err = mrl_log_scan_next(&scan, &frame, &body);
        if (err != MERLE_OK || (frame.flags & MRL_FRAME_MARK) != 0) continue;
        last = frame.seq;
        b->care->info.time_ns = frame.time_ns;
        b->care->info.records++;
        *out_end = scan.offset;
    }
    if (err == MERLE_SYSTEM) err = fail_from(b, name, "reading", scan.system_errno);
    mrl_log_scan_end(&scan);
done:
    files->file_close(file);
    if (err == MERLE_OK || err == MERLE_SYSTEM) return err;
    err = err == MERLE_NO_MEMORY ? err : MERLE_CORRUPT;
    return mrl_report_fill(b->care->report, err, "%s: the log cannot be read up to commit %llu",
                           name, (unsigned long long)b->seq);
}

static merle_err take_logs(backup *b) {
    merle_err err = MERLE_OK;
    for (size_t i = 0; i < b->log_count && err == MERLE_OK; i++) {
        const log_part *part = &b->logs[i];
        char name[MRL_FILE_NAME_MAX];
        uint64_t used = part->size;
        mrl_directory_name(MRL_FILE_LOG, part->id, name);
        if (i + 1 == b->log_count) err = find_end(b, part, &used);
        /* What is not needed of the last one counts as done. */
        if (err == MERLE_OK) err = copy_file(b, name, used, part->size);
        tell(b, part->size - used);
        b->care->info.log_files++;
    }
    return err;
}

/* ---- the whole ---- */

/* The manifest as it stands in its file: the one in memory says more than it, for checkpoints. */
static merle_err read_manifest(backup *b) {
    merle_report *report = b->care->report;
    const char *why = "";
    uint64_t offset;
    merle_err err = mrl_directory_read(b->from, b->manifest_name, MANIFEST_SIZE_MAX,
                                       &b->manifest_bytes, report);
    if (err != MERLE_OK) return err;
    err = mrl_manifest_read(merle_bytes_of(b->manifest_bytes.data, b->manifest_bytes.size),
                            &b->manifest, &why, &offset);
    if (err == MERLE_NO_MEMORY) return mrl_report_fill(report, err, "no memory for the manifest");
    if (err == MERLE_OK) return err;
    mrl_damage damage = {b->manifest_name,   offset, "the manifest in force", why, why,
                         "make a checkpoint"};
    return mrl_directory_damage(b->from, report, MERLE_CORRUPT, &damage);
}

static merle_err take_all(backup *b) {
    merle_err err = MERLE_OK;
    int is_named;
    for (size_t i = 0; i < b->manifest.file_count; i++) b->bytes_total += b->manifest.files[i].size;
    for (size_t i = 0; i < b->log_count; i++) b->bytes_total += b->logs[i].size;
    for (size_t i = 0; i < b->manifest.file_count && err == MERLE_OK; i++)
        err = take_page_file(b, &b->manifest.files[i]);
    if (err == MERLE_OK) err = take_logs(b);
    if (err != MERLE_OK) return err;
    int failed = b->care->files->dir_sync(b->to.dir);
    if (failed != 0) return fail_to(b, NULL, "syncing the directory", failed);
    /* From here on it is a database. */
    err = mrl_directory_replace(&b->to, b->manifest_name,
                                merle_bytes_of(b->manifest_bytes.data, b->manifest_bytes.size),
                                &is_named, b->care->report);
    b->care->info.manifests = 1;
    b->care->info.bytes += b->manifest_bytes.size;
    return err;
}

/* The files of checkpoints stay, and the log's. Both at once: the end of a checkpoint, under the
 * same lock, must not find its own held and the log's not. It would leave an old manifest, and take
 * away the log that this one needs. */
static void hold(backup *b) {
    mrl_lock_take(&b->persist->lock);
    b->persist->checkpoint.holds++;
    mrl_directory_name(MRL_FILE_MANIFEST, b->persist->checkpoint.current.number, b->manifest_name);
    mrl_log_set_hold(b->persist->log_set);
    mrl_lock_drop(&b->persist->lock);
}

static void unhold(backup *b) {
    mrl_lock_take(&b->persist->lock);
    mrl_log_set_unhold(b->persist->log_set);
    b->persist->checkpoint.holds--;
    mrl_lock_drop(&b->persist->lock);
}

static merle_err plan(backup *b, mrl_member *member) {
    merle_report *report = b->care->report;
    b->seq = mrl_log_published_at(b->persist->options.store->published);
    merle_err err = mrl_log_set_sync(b->persist->log_set, member, b->seq);
    if (err != MERLE_OK) return mrl_report_fill(report, err, "no backup: the log has failed");
    if ((err = read_manifest(b)) != MERLE_OK) return err;
    mrl_log_set_each(b->persist->log_set, note_log, b);
    b->piece = mrl_allocate(PIECE_SIZE);
    if (b->is_short || b->piece == NULL)
        return mrl_report_fill(report, MERLE_NO_MEMORY, "no memory for a backup");
    b->care->info.seq = b->seq;
    b->care->info.time_ns = b->manifest.time_ns;
    b->care->info.term = mrl_log_set_term(b->persist->log_set);
    memcpy(b->care->info.database_id, b->manifest.database_id, sizeof b->manifest.database_id);
    return MERLE_OK;
}

merle_err mrl_backup(mrl_care *care, mrl_persist *persist, mrl_member *member, const char *path) {
    backup b = {.care = care, .persist = persist, .from = &persist->directory};
    merle_err err = mrl_care_target_open(care, path, &b.to);
    if (err != MERLE_OK) return err;
    hold(&b);
    if ((err = plan(&b, member)) == MERLE_OK) err = take_all(&b);
    unhold(&b);
    mrl_care_target_close(&b.to, err);
    mrl_manifest_fini(&b.manifest);
    merle_buffer_free(&b.manifest_bytes);
    free(b.logs);
    free(b.piece);
    return err;
}
