/* persist/checkpoint_files.c - the files of checkpoints: page files, manifests, and what goes.
 *
 * The order is what keeps a crash harmless: page files are synced, and their names, before the
 * manifest that names them is written; that one is on the disk, name and all, before anything that
 * an older one needs is removed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/report.h"
#include "persist/checkpoint.h"

/* ---- page files ---- */

static merle_err fail_file(const mrl_checkpoint *c, merle_report *report, const char *doing,
                           int failed) {
    char name[MRL_FILE_NAME_MAX];
    mrl_directory_name(MRL_FILE_PAGES, c->next.files[c->next.file_count - 1].id, name);
    return mrl_directory_system(c->directory, report, name, doing, failed);
}

static merle_err no_memory(merle_report *report) {
    return mrl_report_fill(report, MERLE_NO_MEMORY, "no memory for a checkpoint's pages");
}

static merle_err open_file(mrl_checkpoint *c, merle_report *report) {
    uint8_t header[MRL_PAGE_FILE_HEADER_SIZE];
    char name[MRL_FILE_NAME_MAX];
    uint64_t id = c->file_next++;
    if (mrl_manifest_add_file(&c->next, id, 0) != MERLE_OK) return no_memory(report);
    mrl_directory_name(MRL_FILE_PAGES, id, name);
    int failed = c->directory->files->file_open(c->directory->dir, name, MRL_FILE_CREATE, &c->file);
    if (failed != 0) {
        c->file = NULL;
        return fail_file(c, report, "creating a page file", failed);
    }
    mrl_page_file_write(header, c->current.database_id, id, c->clock->wall_ns(c->clock->context));
    c->file_offset = c->file_synced = 0;
    c->out.size = 0;
    return mrl_buffer_append(&c->out, header, sizeof header) == MERLE_OK ? MERLE_OK
                                                                         : no_memory(report);
}

static merle_err flush(mrl_checkpoint *c, merle_report *report) {
    mrl_file_part part = {c->out.data, c->out.size};
    if (c->out.size == 0) return MERLE_OK;
    int failed = c->directory->files->file_write(c->file, c->file_offset, &part, 1);
    if (failed != 0) return fail_file(c, report, "writing pages", failed);
    c->file_offset += c->out.size;
    c->bytes_written += c->out.size;
    c->out.size = 0;
    return MERLE_OK;
}

static merle_err sync_file(mrl_checkpoint *c, merle_report *report) {
    int failed = c->directory->files->file_sync(c->file);
    if (failed != 0) return fail_file(c, report, "syncing pages", failed);
    c->file_synced = c->file_offset;
    return MERLE_OK;
}

merle_err mrl_checkpoint_close_file(mrl_checkpoint *c, merle_report *report) {
    if (c->file == NULL) return MERLE_OK;
    merle_err err = flush(c, report);
    if (err == MERLE_OK) err = sync_file(c, report);
    if (err != MERLE_OK) return err;
    c->next.files[c->next.file_count - 1].size = c->file_offset;
    c->directory->files->file_close(c->file);
    c->file = NULL;
    return MERLE_OK;
}

merle_err mrl_checkpoint_append(mrl_checkpoint *c, const merle_bytes parts[2],
                                mrl_manifest_page *out_place, merle_report *report) {
    static const uint8_t zeros[MRL_PAGE_ALIGNMENT];
    merle_err err = c->file == NULL ? open_file(c, report) : MERLE_OK;
    if (err != MERLE_OK) return err;
    size_t length = parts[0].size + parts[1].size;
    size_t padding = (MRL_PAGE_ALIGNMENT - length % MRL_PAGE_ALIGNMENT) % MRL_PAGE_ALIGNMENT;
    if (mrl_buffer_reserve(&c->out, length + padding) != MERLE_OK) return no_memory(report);
    out_place->file_id = c->next.files[c->next.file_count - 1].id;
    out_place->offset = c->file_offset + c->out.size;
    out_place->length = (uint32_t)length;
    if (mrl_buffer_append(&c->out, parts[0].data, parts[0].size) != MERLE_OK ||
        mrl_buffer_append(&c->out, parts[1].data, parts[1].size) != MERLE_OK ||
        mrl_buffer_append(&c->out, zeros, padding) != MERLE_OK)
        return no_memory(report);
    if (c->out.size >= MRL_CHECKPOINT_WRITE_SIZE) err = flush(c, report);
    if (err == MERLE_OK && c->file_offset - c->file_synced >= MRL_CHECKPOINT_SYNC_SIZE)
        err = sync_file(c, report);
    if (err == MERLE_OK && c->file_offset >= MRL_PAGE_FILE_SIZE)
        err = mrl_checkpoint_close_file(c, report);
    return err;
}

/* ---- manifests ---- */

merle_err mrl_checkpoint_write_manifest(mrl_checkpoint *c, merle_report *report) {
    char name[MRL_FILE_NAME_MAX];
    merle_buffer bytes = {0};
    merle_err err = mrl_manifest_write(&c->next, &bytes);
    if (err != MERLE_OK) {
        err = no_memory(report);
    } else {
        mrl_directory_name(MRL_FILE_MANIFEST, c->next.number, name);
        err = mrl_directory_replace(c->directory, name, merle_bytes_of(bytes.data, bytes.size),
                                    &c->is_named, report);
        c->bytes_written += bytes.size;
    }
    merle_buffer_free(&bytes);
    return err;
}

merle_err mrl_checkpoint_keep(mrl_checkpoint *c, const mrl_manifest *manifest) {
    mrl_kept_manifest kept = {manifest->number, manifest->replay_seq, manifest->log_id, NULL,
                              manifest->file_count};
    if (c->kept_count == MRL_MANIFESTS_KEPT_MAX) {
        free(c->kept[0].file_ids);
        memmove(&c->kept[0], &c->kept[1], --c->kept_count * sizeof c->kept[0]);
    }
    if (manifest->file_count > 0) {
        kept.file_ids = mrl_allocate(manifest->file_count * sizeof *kept.file_ids);
        if (kept.file_ids == NULL) return MERLE_NO_MEMORY;
    }
    for (size_t i = 0; i < manifest->file_count; i++) kept.file_ids[i] = manifest->files[i].id;
    c->kept[c->kept_count++] = kept;
    return MERLE_OK;
}

void mrl_checkpoint_note_unread(mrl_checkpoint *c, uint64_t number) {
    if (c->unread_count < MRL_MANIFESTS_KEPT_MAX) c->unread[c->unread_count++] = number;
}

uint64_t mrl_checkpoint_oldest_seq(const mrl_checkpoint *c) {
    return c->kept_count > 0 ? c->kept[0].replay_seq : c->current.replay_seq;
}

/* ---- what goes ---- */

/* A file may have nothing that is needed and be named all the same: the last one of an opening,
 * when a checkpoint came after its last commit. What a manifest names has to be there. */
uint64_t mrl_checkpoint_oldest_log(const mrl_checkpoint *c) {
    uint64_t first_id = c->current.log_id;
    for (size_t i = 0; i < c->kept_count; i++)
        if (c->kept[i].log_id < first_id) first_id = c->kept[i].log_id;
    return first_id;
}

static int manifest_is_kept(const mrl_checkpoint *c, uint64_t number) {
    for (size_t i = 0; i < c->kept_count; i++)
        if (c->kept[i].number == number) return 1;
    for (size_t i = 0; i < c->unread_count; i++)
        if (c->unread[i] == number) return 1;
    return number == c->current.number;
}

static int file_is_kept(const mrl_checkpoint *c, uint64_t id) {
    for (size_t i = 0; i < c->kept_count; i++)
        for (size_t f = 0; f < c->kept[i].file_count; f++)
            if (c->kept[i].file_ids[f] == id) return 1;
    return mrl_manifest_find_file(&c->current, id) != NULL;
}

void mrl_checkpoint_clean(mrl_checkpoint *c) {
    mrl_file_list list;
    while (c->kept_count + 1 > c->manifests_kept) {
        free(c->kept[0].file_ids);
        memmove(&c->kept[0], &c->kept[1], --c->kept_count * sizeof c->kept[0]);
    }
    /* What an earlier call has removed may still come back with a power cut. */
    int has_removed = c->has_stale, failed = 0;
    c->has_stale = 1;
    if (c->holds > 0 || mrl_directory_list(c->directory, &list, NULL) != MERLE_OK) return;
    /* Manifests come first in the list: a crash in between leaves none that names what is gone. But
     * their removal has to be on the disk before that of the files. */
    for (size_t i = 0; i < list.count; i++) {
        const mrl_file_entry *entry = &list.entries[i];
        if (entry->kind != MRL_FILE_MANIFEST || manifest_is_kept(c, entry->id)) continue;
        has_removed = 1;
        failed |= c->directory->files->remove(c->directory->dir, entry->name);
    }
    if (has_removed && failed == 0) failed = c->directory->files->dir_sync(c->directory->dir);
    if (failed != 0 || c->unread_count > 0) goto done;
    c->has_stale = 0;
    for (size_t i = 0; i < list.count; i++) {
        const mrl_file_entry *entry = &list.entries[i];
        int goes = (entry->kind == MRL_FILE_PAGES && !file_is_kept(c, entry->id)) ||
                   entry->kind == MRL_FILE_TEMPORARY;
        if (goes) (void)c->directory->files->remove(c->directory->dir, entry->name);
    }
done:
    mrl_file_list_fini(&list);
}
