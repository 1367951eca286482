/* tests/sim/disk_harm.c - harm done to a disk, copies of it, and real directories.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "tests/sim/disk_private.h"

static node *find_node(const disk *d, const char *path, const char *name) {
    const folder *f = folder_find(d, path);
    const name_entry *entry = f == NULL ? NULL : table_find(&f->live, name);
    return entry == NULL ? NULL : entry->of;
}

/* A node's bytes are what is seen, for good. */
static void make_durable(node *n) {
    node_settle(n, UINT64_MAX);
    image_copy(&n->durable, &n->live);
}

/* A folder's names are what is seen, for good. */
static void make_names_durable(folder *f) {
    f->change_count = 0;
    table_copy(&f->durable, &f->live);
}

int disk_file_at(const disk *d, const char *path, size_t i, char out_name[DISK_NAME_MAX],
                 uint64_t *out_size) {
    const folder *f = folder_find(d, path);
    if (f == NULL || i >= f->live.count) return 0;
    for (size_t a = 0; a < f->live.count; a++) {
        size_t rank = 0;
        for (size_t b = 0; b < f->live.count; b++)
            rank += strcmp(f->live.entries[b].name, f->live.entries[a].name) < 0;
        if (rank != i) continue;
        memcpy(out_name, f->live.entries[a].name, DISK_NAME_MAX);
        *out_size = f->live.entries[a].of->live.size;
    }
    return 1;
}

int disk_flip(disk *d, const char *path, const char *name, uint64_t offset, uint8_t mask) {
    node *n = find_node(d, path, name);
    if (n == NULL || offset >= n->live.size) return ENOENT;
    n->live.bytes[offset] ^= mask;
    make_durable(n);
    return 0;
}

int disk_cut_file(disk *d, const char *path, const char *name, uint64_t size) {
    node *n = find_node(d, path, name);
    if (n == NULL || size > n->live.size) return ENOENT;
    image_resize(&n->live, size);
    make_durable(n);
    return 0;
}

int disk_swap(disk *d, const char *path, const char *name, const char *other) {
    folder *f = folder_find(d, path);
    node *a = find_node(d, path, name), *b = find_node(d, path, other);
    if (f == NULL || a == NULL || b == NULL) return ENOENT;
    table_put(&f->live, name, b);
    table_put(&f->live, other, a);
    make_names_durable(f);
    return 0;
}

int disk_lose(disk *d, const char *path, const char *name) {
    folder *f = folder_find(d, path);
    if (f == NULL || find_node(d, path, name) == NULL) return ENOENT;
    table_remove(&f->live, name);
    make_names_durable(f);
    disk_sweep(d);
    return 0;
}

void disk_lose_all(disk *d, const char *path) {
    folder *f = folder_find(d, path);
    if (f == NULL) return;
    f->live.count = 0;
    make_names_durable(f);
    disk_sweep(d);
}

uint64_t disk_sum(const disk *d, const char *path) {
    const folder *f = folder_find(d, path);
    uint64_t sum = 0;
    for (size_t i = 0; f != NULL && i < f->live.count; i++) {
        const name_entry *entry = &f->live.entries[i];
        const bytes_image *live = &entry->of->live;
        if (strcmp(entry->name, "lock") == 0) continue;
        /* In any order. */
        sum += mrl_mix_u64(mrl_hash_bytes(entry->name, strlen(entry->name), 1) ^
                           mrl_hash_bytes(live->bytes, live->size, live->size));
    }
    return sum;
}

int disk_duplicate(disk *d, const char *path, const char *name, const char *copy_name) {
    folder *f = folder_find(d, path);
    const node *n = find_node(d, path, name);
    if (f == NULL || n == NULL) return ENOENT;
    node *copy = node_create(d, copy_name);
    image_copy(&copy->live, &n->live);
    make_durable(copy);
    table_put(&f->live, copy_name, copy);
    make_names_durable(f);
    return 0;
}

/* ---- copies ---- */

disk *disk_copy(const disk *d, uint64_t seed) {
    disk *copy = disk_create(seed);
    for (const folder *f = d->folders; f != NULL; f = f->next) (void)folder_create(copy, f->path);
    for (const node *n = d->nodes; n != NULL; n = n->next) {
        node *made = node_create(copy, n->kind);
        (void)snprintf(made->kind, sizeof made->kind, "%s", n->kind);
        image_copy(&made->live, &n->live);
        make_durable(made);
        /* All the names that it has, in all folders. */
        for (const folder *f = d->folders; f != NULL; f = f->next)
            for (size_t i = 0; i < f->live.count; i++)
                if (f->live.entries[i].of == n)
                    table_put(&folder_find(copy, f->path)->live, f->live.entries[i].name, made);
    }
    for (folder *f = copy->folders; f != NULL; f = f->next) make_names_durable(f);
    disk_sweep(copy);
    return copy;
}

/* ---- real directories ---- */

static int write_real(mrl_dir *dir, const char *name, const bytes_image *image) {
    mrl_file *file = NULL;
    mrl_file_part part = {image->bytes, image->size};
    int err = mrl_files_system.file_open(dir, name, MRL_FILE_CREATE, &file);
    if (err == 0 && image->size > 0) err = mrl_files_system.file_write(file, 0, &part, 1);
    mrl_files_system.file_close(file);
    return err;
}

int disk_export(disk *d, const char *path, const char *real_path) {
    mrl_dir *dir = NULL;
    int created;
    const folder *f = folder_find(d, path);
    if (f == NULL) return ENOENT;
    int err = mrl_files_system.dir_open(NULL, real_path, 1, &dir, &created);
    for (size_t i = 0; err == 0 && i < f->live.count; i++)
        err = write_real(dir, f->live.entries[i].name, &f->live.entries[i].of->live);
    mrl_files_system.dir_close(dir);
    return err;
}

typedef struct import {
    disk *d;
    folder *to;
    mrl_dir *from;
    int err;
} import;

static int import_file(void *context, const char *name, uint64_t size) {
    import *m = context;
    mrl_file *file = NULL;
    size_t got = 0;
    m->err = strlen(name) >= DISK_NAME_MAX
                 ? ENAMETOOLONG
                 : mrl_files_system.file_open(m->from, name, MRL_FILE_READ, &file);
    if (m->err == 0) {
        node *n = node_create(m->d, name);
        table_put(&m->to->live, name, n);
        image_resize(&n->live, size);
        if (size > 0) m->err = mrl_files_system.file_read(file, 0, n->live.bytes, size, &got);
        make_durable(n);
    }
    mrl_files_system.file_close(file);
    return m->err;
}

int disk_import(disk *d, const char *path, const char *real_path) {
    int created;
import m = {d, folder_find(d, path), NULL, 0 };
    int err = mrl_files_system.dir_open(NULL, real_path, 0, &m.from, &created);
    if (err != 0) return err;
    if (m.to == NULL) m.to = folder_create(d, path);
    err = mrl_files_system.dir_each(m.from, import_file, &m);
    mrl_files_system.dir_close(m.from);
    make_names_durable(m.to);
    disk_sweep(d);
    return err != 0 ? err : m.err;
}
