/* tests/unit/persist/shelf.h - files in memory, behind the seam for files: for tests that look at
 * bytes.
 *
 * What    A directory of files that are arrays. What is written is there at once. A copy of a file
 *         as of its last sync stands beside it: shelf_crash puts it in place of the file. Names are
 *         not lost (the simulator's disk loses them). A number of bytes may be a limit, and the
 *         n-th write, sync or reservation may fail.
 * Threads one at a time takes the shelf's lock.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_TESTS_UNIT_PERSIST_SHELF_H
#define MRL_TESTS_UNIT_PERSIST_SHELF_H

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { SHELF_FILE_MAX = 64 };

typedef struct shelf_file {
    int is_there;
    char name[48];
    uint8_t *data, *synced;
    uint64_t size, synced_size;
} shelf_file;

/* What an mrl_dir and an mrl_file are here. */
typedef struct shelf {
    mrl_files files;
    shelf_file list[SHELF_FILE_MAX];
    pthread_mutex_t lock;
    uint64_t bytes_max; /* of all files; 0: no limit */
    /* A test looks at these and sets them while threads of the log are at work. */
    _Atomic uint32_t writes, syncs;               /* so many were called */
    _Atomic uint32_t fail_write_at, fail_sync_at; /* the call with this number fails; 0: none */
    uint32_t handles;                             /* open ones */
    _Atomic uint64_t sync_pause;                  /* spins of a sync, so that groups form */
} shelf;

typedef struct shelf_handle {
    shelf *s;
    shelf_file *file;
} shelf_handle;

static inline shelf_file *shelf_find(shelf *s, const char *name) {
    for (int i = 0; i < SHELF_FILE_MAX; i++)
        if (s->list[i].is_there && strcmp(s->list[i].name, name) == 0) return &s->list[i];
    return NULL;
}

static inline uint64_t shelf_bytes(const shelf *s) {
    uint64_t bytes = 0;
    for (int i = 0; i < SHELF_FILE_MAX; i++)
        if (s->list[i].is_there) bytes += s->list[i].size;
    return bytes;
}

static inline int shelf_grow(shelf *s, shelf_file *file, uint64_t size) {
    if (size <= file->size) return 0;
    if (s->bytes_max != 0 && shelf_bytes(s) + (size - file->size) > s->bytes_max) return ENOSPC;
    file->data = realloc(file->data, size);
    memset(file->data + file->size, 0, size - file->size);
    file->size = size;
    return 0;
}

static inline int shelf_dir_each(mrl_dir *dir, mrl_dir_fn *fn, void *context) {
    shelf *s = (shelf *)(void *)dir;
    for (int i = 0; i < SHELF_FILE_MAX; i++)
        if (s->list[i].is_there && fn(context, s->list[i].name, s->list[i].size) != 0) break;
    return 0;
}

static inline int shelf_dir_sync(mrl_dir *dir) {
    (void)dir;
    return 0;
}

static inline void shelf_drop(shelf_file *file) {
    free(file->data);
    free(file->synced);
    memset(file, 0, sizeof *file);
}

static inline int shelf_remove(mrl_dir *dir, const char *name) {
    shelf *s = (shelf *)(void *)dir;
    pthread_mutex_lock(&s->lock);
    shelf_file *file = shelf_find(s, name);
    if (file != NULL) shelf_drop(file);
    pthread_mutex_unlock(&s->lock);
    return file == NULL ? ENOENT : 0;
}

static inline int shelf_rename(mrl_dir *dir, const char *from, const char *to) {
    shelf *s = (shelf *)(void *)dir;
    pthread_mutex_lock(&s->lock);
    shelf_file *file = shelf_find(s, from), *other = shelf_find(s, to);
    if (file != NULL && other != NULL && other != file) shelf_drop(other);
    if (file != NULL) strcpy(file->name, to);
    pthread_mutex_unlock(&s->lock);
    return file == NULL ? ENOENT : 0;
}

static inline int shelf_open(mrl_dir *dir, const char *name, mrl_file_mode mode, mrl_file **out) {
    shelf *s = (shelf *)(void *)dir;
    *out = NULL;
    pthread_mutex_lock(&s->lock);
    shelf_file *file = shelf_find(s, name);
    int failed =
        mode == MRL_FILE_CREATE ? (file != NULL ? EEXIST : 0) : (file == NULL ? ENOENT : 0);
    for (int i = 0; i < SHELF_FILE_MAX && failed == 0 && file == NULL; i++)
        if (!s->list[i].is_there) {
            file = &s->list[i];
            file->is_there = 1;
            strcpy(file->name, name);
        }
    if (failed == 0 && file == NULL) failed = ENFILE;
    if (failed == 0) {
        shelf_handle *handle = malloc(sizeof *handle);
        *handle = (shelf_handle){s, file};
        *out = (mrl_file *)(void *)handle;
        s->handles++;
    }
    pthread_mutex_unlock(&s->lock);
    return failed;
}

static inline void shelf_close(mrl_file *file) {
    shelf_handle *handle = (shelf_handle *)(void *)file;
    handle->s->handles--;
    free(handle);
}

static inline int shelf_size(mrl_file *file, uint64_t *out_size) {
    *out_size = ((shelf_handle *)(void *)file)->file->size;
    return 0;
}

static inline int shelf_read(mrl_file *file, uint64_t offset, void *out, size_t size, size_t *got) {
    shelf_handle *handle = (shelf_handle *)(void *)file;
    const shelf_file *from = handle->file;
    pthread_mutex_lock(&handle->s->lock);
    *got = offset >= from->size ? 0 : from->size - offset < size ? from->size - offset : size;
    if (*got > 0) memcpy(out, from->data + offset, *got);
    pthread_mutex_unlock(&handle->s->lock);
    return 0;
}

static inline int shelf_write(mrl_file *file, uint64_t offset, const mrl_file_part *parts,
                              size_t count) {
    shelf_handle *handle = (shelf_handle *)(void *)file;
    shelf *s = handle->s;
    pthread_mutex_lock(&s->lock);
    int failed = ++s->writes == s->fail_write_at ? EIO : 0;
    for (size_t i = 0; i < count && failed == 0; i++) {
        failed = shelf_grow(s, handle->file, offset + parts[i].size);
        if (failed == 0) memcpy(handle->file->data + offset, parts[i].data, parts[i].size);
        offset += parts[i].size;
    }
    pthread_mutex_unlock(&s->lock);
    return failed;
}

static inline int shelf_sync(mrl_file *file) {
    shelf_handle *handle = (shelf_handle *)(void *)file;
    shelf *s = handle->s;
    for (volatile uint64_t i = 0; i < s->sync_pause;) i = i + 1;
    pthread_mutex_lock(&s->lock);
    int failed = ++s->syncs == s->fail_sync_at ? EIO : 0;
    shelf_file *at = handle->file;
    if (failed == 0) {
        at->synced = realloc(at->synced, at->size + 1);
        if (at->size > 0) memcpy(at->synced, at->data, at->size);
        at->synced_size = at->size;
    }
    pthread_mutex_unlock(&s->lock);
    return failed;
}

static inline int shelf_reserve(mrl_file *file, uint64_t size) {
    shelf_handle *handle = (shelf_handle *)(void *)file;
    pthread_mutex_lock(&handle->s->lock);
    int failed = shelf_grow(handle->s, handle->file, size);
    pthread_mutex_unlock(&handle->s->lock);
    return failed;
}

static inline int shelf_truncate(mrl_file *file, uint64_t size) {
    shelf_handle *handle = (shelf_handle *)(void *)file;
    if (size < handle->file->size) handle->file->size = size;
    return size > handle->file->size ? shelf_grow(handle->s, handle->file, size) : 0;
}

static inline mrl_dir *shelf_dir(shelf *s) {
    return (mrl_dir *)(void *)s;
}

static inline void shelf_init(shelf *s) {
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->files = (mrl_files){.dir_each = shelf_dir_each,
                           .dir_sync = shelf_dir_sync,
                           .rename = shelf_rename,
                           .remove = shelf_remove,
                           .file_open = shelf_open,
                           .file_close = shelf_close,
                           .file_size = shelf_size,
                           .file_read = shelf_read,
                           .file_write = shelf_write,
                           .file_sync = shelf_sync,
                           .file_reserve = shelf_reserve,
                           .file_truncate = shelf_truncate};
}

static inline void shelf_fini(shelf *s) {
    for (int i = 0; i < SHELF_FILE_MAX; i++) shelf_drop(&s->list[i]);
    pthread_mutex_destroy(&s->lock);
}

/* A second shelf with the same bytes. */
static inline void shelf_copy(shelf *to, const shelf *from) {
    shelf_init(to);
    for (int i = 0; i < SHELF_FILE_MAX; i++) {
        const shelf_file *file = &from->list[i];
        if (!file->is_there) continue;
        to->list[i] = *file;
        to->list[i].synced = NULL;
        to->list[i].data = malloc(file->size + 1);
        if (file->size > 0) memcpy(to->list[i].data, file->data, file->size);
    }
}

/* What was not synced is gone. */
static inline void shelf_crash(shelf *s) {
    for (int i = 0; i < SHELF_FILE_MAX; i++) {
        shelf_file *file = &s->list[i];
        if (!file->is_there) continue;
        free(file->data);
        file->data = file->synced;
        file->size = file->synced_size;
        file->synced = NULL;
        file->synced_size = 0;
        if (file->data == NULL) file->is_there = 0;
    }
    s->fail_write_at = s->fail_sync_at = 0;
    s->writes = s->syncs = 0;
}

#endif
