/* tests/sim/disk.c - the simulated disk's calls: points, stops, faults, names and files.
 *
 * Each call enters (a point for the scheduler, then a fault or a stop if one is due), does its
 * work, and leaves (a stop that was to come after it).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/disk.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/self.h"
#include "tests/sim/disk_private.h"

/* A call that is under way. */
typedef struct call {
    disk *d;
    disk_point *point;
    int fault; /* EIO: it fails, after some of its work where that can be */
    char what[120];
} call;

static const char *const call_names[DISK_CALL_COUNT] = {
    "dir_open",   "dir_each",  "dir_sync",     "dir_lock",     "dir_room",  "rename",
    "remove",     "link",      "file_open",    "file_new",     "file_size", "file_read",
    "file_write", "file_sync", "file_reserve", "file_truncate"};

static const char *const point_names[DISK_CALL_COUNT] = {
    "disk.dir_open",   "disk.dir_each",  "disk.dir_sync",     "disk.dir_lock",
    "disk.dir_room",   "disk.rename",    "disk.remove",       "disk.link",
    "disk.file_open",  "disk.file_new",  "disk.file_size",    "disk.file_read",
    "disk.file_write", "disk.file_sync", "disk.file_reserve", "disk.file_truncate"};

const char *disk_call_name(disk_call of) {
    return call_names[of];
}

/* ---- entering and leaving a call ---- */

static disk_point *find_point(disk *d, disk_call of, const char *kind) {
    char name[sizeof d->points[0].name];
    (void)snprintf(name, sizeof name, "%s %s", call_names[of], kind);
    for (size_t i = 0; i < d->point_count; i++)
        if (strcmp(d->points[i].name, name) == 0) return &d->points[i];
    if (d->point_count == DISK_POINT_MAX) abort();
    disk_point *p = &d->points[d->point_count++];
    memcpy(p->name, name, sizeof name);
    p->call = of;
    return p;
}

static void trace(disk *d, const char *what, const char *end) {
    char *line = d->trace[d->trace_count++ % DISK_TRACE_SIZE];
    (void)snprintf(line, sizeof d->trace[0], "%s: %s", what, end);
}

static void stop_here(disk *d, disk_point *p) {
    p->stops++;
    trace(d, p->name, "stopped here");
    d->stop_in = d->stop_at_point_in = 0;
    d->stops_after = 0;
    if (d->stop == NULL) abort();
    d->stop(d->stop_context);
    abort(); /* it was promised not to return */
}

static call enter(disk *d, disk_call of, const char *kind) {
    call c = {d, find_point(d, of, kind), 0, ""}; /* first: kind may go while others run */
    mrl_point(point_names[of]);
    c.point->calls++;
    d->calls++;
    int is_due = d->stop_in > 0 && --d->stop_in == 0;
    if (d->stop_at_point_in > 0 && strcmp(d->stop_point, c.point->name) == 0)
        is_due |= --d->stop_at_point_in == 0;
    if (is_due) {
        if (mrl_random_below(&d->random, 2) == 0) stop_here(d, c.point);
        d->stops_after = 1;
    }
    if (d->fail_nth[of] > 0 && --d->fail_nth[of] == 0) c.fault = EIO;
    if (d->fail_one_in[of] > 0 && mrl_random_below(&d->random, d->fail_one_in[of]) == 0)
        c.fault = EIO;
    if (c.fault != 0) c.point->faults++;
    return c;
}

/* What a call is about, for the trace. */
__attribute__((format(printf, 2, 3))) static void about(call *c, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(c->what, sizeof c->what, format, arguments);
    va_end(arguments);
}

static int leave(const call *c, int err) {
    if (c->what[0] != 0) trace(c->d, c->what, c->d->stops_after ? "stop" : strerror(err));
    if (err == ENOSPC) c->point->fulls++;
    if (c->d->stops_after) stop_here(c->d, c->point);
    return err;
}

/* ---- directories ---- */

static int is_name(const char *name) {
    return name[0] != 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strchr(name, '/') == NULL && strlen(name) < DISK_NAME_MAX;
}

static mrl_dir *new_dir(disk *d, folder *at) {
    mrl_dir *dir = calloc(1, sizeof *dir);
    if (dir == NULL) abort();
    *dir = (mrl_dir){d->dirs, d, at, 0};
    d->dirs = dir;
    return dir;
}

static int dir_open(void *context, const char *path, int create, mrl_dir **out_dir,
                    int *out_created) {
    disk *d = context;
    call c = enter(d, DISK_DIR_OPEN, "directory");
    *out_dir = NULL;
    *out_created = 0;
    folder *at = folder_find(d, path);
    int err = c.fault != 0 ? c.fault : at == NULL && !create ? ENOENT : 0;
    if (err == 0) {
        /* Durable at once: the call has synced the directory that it is in. */
        *out_created = at == NULL;
        *out_dir = new_dir(d, at == NULL ? folder_create(d, path) : at);
    }
    return leave(&c, err);
}

static void dir_unlock(mrl_dir *dir) {
    if (dir->has_lock) dir->at->is_locked = 0;
    dir->has_lock = 0;
}

static void dir_close(mrl_dir *dir) {
    if (dir == NULL) return;
    dir_unlock(dir);
    mrl_dir **link = &dir->owner->dirs;
    while (*link != dir) link = &(*link)->next;
    *link = dir->next;
    free(dir);
}

static int dir_each(mrl_dir *dir, mrl_dir_fn *fn, void *fn_context) {
    call c = enter(dir->owner, DISK_DIR_EACH, "directory");
    if (c.fault != 0) return leave(&c, c.fault);
    /* A copy: fn may open and remove. In no order: it begins anywhere. */
    name_table names = {0};
    table_copy(&names, &dir->at->live);
    size_t first = names.count == 0 ? 0 : mrl_random_below(&c.d->random, names.count);
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.entries[(first + i) % names.count].name;
        const name_entry *entry = table_find(&dir->at->live, name);
        if (entry != NULL && fn(fn_context, name, entry->of->live.size) != 0) break;
    }
    free(names.entries);
    return leave(&c, 0);
}

static int dir_sync(mrl_dir *dir) {
    call c = enter(dir->owner, DISK_DIR_SYNC, "directory");
    uint64_t last_id = c.d->change_id;
    about(&c, "dir_sync");
    mrl_point("disk.dir_syncs");
    if (c.fault == 0) {
        folder_settle(dir->at, last_id);
        disk_sweep(c.d);
    }
    return leave(&c, c.fault);
}

static int dir_lock(mrl_dir *dir, const char *name, uint64_t *out_pid) {
    call c = enter(dir->owner, DISK_DIR_LOCK, "directory");
    *out_pid = 0;
    int err = c.fault != 0 ? c.fault : !is_name(name) ? EINVAL : dir->at->is_locked ? EBUSY : 0;
    if (err == EBUSY) *out_pid = (uint64_t)getpid();
    if (err == 0) {
        if (table_find(&dir->at->live, name) == NULL)
            folder_change(c.d, dir->at, NAME_PUT, name, "", node_create(c.d, name));
        dir->at->is_locked = dir->has_lock = 1;
    }
    return leave(&c, err);
}

static int dir_room(mrl_dir *dir, uint64_t *out_bytes) {
    call c = enter(dir->owner, DISK_DIR_ROOM, "directory");
    uint64_t used = disk_used(c.d);
    *out_bytes = c.fault != 0 || used >= c.d->capacity ? 0 : c.d->capacity - used;
    return leave(&c, c.fault);
}

/* ---- names ---- */

/* The kind of file that a name is one of. */
static const char *kind_of(const mrl_dir *dir, const char *name) {
    const name_entry *entry = table_find(&dir->at->live, name);
    return entry == NULL ? "none" : entry->of->kind;
}

static int rename_file(mrl_dir *dir, const char *from, const char *to) {
    call c = enter(dir->owner, DISK_RENAME, kind_of(dir, from));
    const name_entry *entry = table_find(&dir->at->live, from);
    about(&c, "rename %s to %s", from, to);
    int err = c.fault != 0                     ? c.fault
              : !is_name(from) || !is_name(to) ? EINVAL
              : entry == NULL                  ? ENOENT
                                               : 0;
    if (err == 0 && strcmp(from, to) != 0) {
        node *of = entry->of;
        folder_change(c.d, dir->at, NAME_MOVE, from, to, of);
        node_name(of, to);
    }
    return leave(&c, err);
}

static int remove_file(mrl_dir *dir, const char *name) {
    call c = enter(dir->owner, DISK_REMOVE, kind_of(dir, name));
    about(&c, "remove %s", name);
    const name_entry *entry = table_find(&dir->at->live, name);
    int err = c.fault != 0 ? c.fault : !is_name(name) ? EINVAL : entry == NULL ? ENOENT : 0;
    if (err == 0) folder_change(c.d, dir->at, NAME_REMOVE, name, "", entry->of);
    return leave(&c, err);
}

static int link_file(mrl_dir *dir, const char *name, mrl_dir *to_dir, const char *to_name) {
    call c = enter(dir->owner, DISK_LINK, kind_of(dir, name));
    const name_entry *entry = table_find(&dir->at->live, name);
    int err = c.fault != 0                                     ? c.fault
              : !is_name(name) || !is_name(to_name)            ? EINVAL
              : entry == NULL                                  ? ENOENT
              : table_find(&to_dir->at->live, to_name) != NULL ? EEXIST
                                                               : 0;
    if (err == 0) folder_change(c.d, to_dir->at, NAME_PUT, to_name, "", entry->of);
    return leave(&c, err);
}

/* ---- files ---- */

static mrl_file *new_file(disk *d, node *of, mrl_file_mode mode) {
    mrl_file *file = calloc(1, sizeof *file);
    if (file == NULL) abort();
    *file = (mrl_file){d->handles, d, of, mode};
    d->handles = file;
    of->open_count++;
    return file;
}

static int create_file(disk *d, folder *at, const char *name) {
    if (table_find(&at->live, name) != NULL) return EEXIST;
    if (disk_used(d) >= d->capacity) return ENOSPC; /* a new file has at least a block */
    folder_change(d, at, NAME_PUT, name, "", node_create(d, name));
    return 0;
}

static int file_open(mrl_dir *dir, const char *name, mrl_file_mode mode, mrl_file **out_file) {
    disk *d = dir->owner;
    node kind;
    node_name(&kind, name);
    call c = enter(d, mode == MRL_FILE_CREATE ? DISK_FILE_CREATE : DISK_FILE_OPEN, kind.kind);
    *out_file = NULL;
    about(&c, "%s %s", mode == MRL_FILE_CREATE ? "make" : "open", name);
    int err = c.fault != 0 ? c.fault : !is_name(name) ? EINVAL : 0;
    if (err == 0 && mode == MRL_FILE_CREATE) err = create_file(d, dir->at, name);
    if (err == 0) {
        const name_entry *entry = table_find(&dir->at->live, name);
        if (entry != NULL)
            *out_file = new_file(d, entry->of, mode);
        else
            err = ENOENT;
    }
    return leave(&c, err);
}

static void file_close(mrl_file *file) {
    if (file == NULL) return;
    disk *d = file->owner;
    mrl_file **link = &d->handles;
    while (*link != file) link = &(*link)->next;
    *link = file->next;
    if (--file->of->open_count == 0) disk_sweep(d);
    free(file);
}

static int file_size(mrl_file *file, uint64_t *out_size) {
    call c = enter(file->owner, DISK_FILE_SIZE, file->of->kind);
    *out_size = c.fault != 0 ? 0 : file->of->live.size;
    return leave(&c, c.fault);
}

static int file_read(mrl_file *file, uint64_t offset, void *out, size_t size, size_t *out_read) {
    call c = enter(file->owner, DISK_FILE_READ, file->of->kind);
    const bytes_image *live = &file->of->live;
    *out_read = 0;
    if (c.fault != 0) {
        memset(out, 0xaa, size); /* nobody may use what a failed read left */
    } else if (offset < live->size) {
        *out_read = live->size - offset < size ? (size_t)(live->size - offset) : size;
        memcpy(out, live->bytes + offset, *out_read);
    }
    return leave(&c, c.fault);
}

/* Writes as much as fits on the disk; ENOSPC: that was not all. */
static int write_what_fits(disk *d, node *n, uint64_t offset, const uint8_t *bytes, uint64_t size) {
    uint64_t end = offset + size, used = disk_used(d);
    int err = 0;
    if (end > n->live.size) {
        uint64_t room = used >= d->capacity ? 0 : d->capacity - used;
        if (end - n->live.size > room) {
            err = ENOSPC;
            end = n->live.size + room;
        }
    }
    if (end > offset) node_write(d, n, offset, bytes, end - offset);
    return err;
}

static int file_write(mrl_file *file, uint64_t offset, const mrl_file_part *parts, size_t count) {
    disk *d = file->owner;
    call c = enter(d, DISK_FILE_WRITE, file->of->kind);
    uint64_t size = 0, at = 0;
    for (size_t i = 0; i < count; i++) size += parts[i].size;
    about(&c, "write %s at %llu, %llu bytes", file->of->name, (unsigned long long)offset,
          (unsigned long long)size);
    if (file->mode == MRL_FILE_READ) return leave(&c, EBADF);
    if (offset > INT64_MAX || size > INT64_MAX - offset) return leave(&c, EFBIG);
    uint8_t *bytes = malloc(size + 1);
    if (bytes == NULL) abort();
    for (size_t i = 0; i < count; i++) {
        if (parts[i].size > 0) memcpy(bytes + at, parts[i].data, parts[i].size);
        at += parts[i].size;
    }
    /* One that fails may have written any part of it. */
    if (c.fault != 0) size = mrl_random_below(&d->random, size + 1);
    int err = write_what_fits(d, file->of, offset, bytes, size);
    free(bytes);
    return leave(&c, c.fault != 0 ? c.fault : err);
}

static int file_sync(mrl_file *file) {
    disk *d = file->owner;
    call c = enter(d, DISK_FILE_SYNC, file->of->kind);
    about(&c, "sync %s", file->of->name);
    /* What is written while it lasts is not covered. */
    uint64_t last_id = d->change_id;
    mrl_point("disk.file_syncs");
    if (c.fault == 0)
        node_settle(file->of, last_id);
    else
        node_lose(d, file->of, last_id);
    return leave(&c, c.fault);
}

static int file_reserve(mrl_file *file, uint64_t size) {
    disk *d = file->owner;
    call c = enter(d, DISK_FILE_RESERVE, file->of->kind);
    uint64_t now = file->of->live.size, used = disk_used(d);
    int err = c.fault;
    if (err == 0 && size > now) {
        if (used >= d->capacity || size - now > d->capacity - used)
            err = ENOSPC;
        else
            node_resize(d, file->of, size);
    }
    return leave(&c, err);
}

static int file_truncate(mrl_file *file, uint64_t size) {
    disk *d = file->owner;
    call c = enter(d, DISK_FILE_TRUNCATE, file->of->kind);
    if (c.fault == 0) node_resize(d, file->of, size);
    return leave(&c, c.fault);
}

/* ---- the disk ---- */

disk *disk_create(uint64_t seed) {
    disk *d = calloc(1, sizeof *d);
    if (d == NULL) abort();
    mrl_random_init(&d->random, seed);
    d->capacity = UINT64_MAX;
    d->files = (mrl_files){
        .context = d,
        .dir_open = dir_open,
        .dir_close = dir_close,
        .dir_each = dir_each,
        .dir_sync = dir_sync,
        .dir_lock = dir_lock,
        .dir_unlock = dir_unlock,
        .dir_room = dir_room,
        .rename = rename_file,
        .remove = remove_file,
        .link = link_file,
        .file_open = file_open,
        .file_close = file_close,
        .file_size = file_size,
        .file_read = file_read,
        .file_write = file_write,
        .file_sync = file_sync,
        .file_reserve = file_reserve,
        .file_truncate = file_truncate,
    };
    return d;
}

const mrl_files *disk_files(disk *d) {
    return &d->files;
}

void disk_on_stop(disk *d, void (*stop)(void *context), void *context) {
    d->stop = stop;
    d->stop_context = context;
}

void disk_stop_at_point(disk *d, const char *name, uint64_t n) {
    (void)snprintf(d->stop_point, sizeof d->stop_point, "%s", name);
    d->stop_at_point_in = n;
    d->stop_in = 0;
    d->stops_after = 0;
}

void disk_stop_at(disk *d, uint64_t n) {
    d->stop_in = n;
    d->stop_at_point_in = 0;
    d->stops_after = 0;
}

uint64_t disk_calls(const disk *d) {
    return d->calls;
}

uint64_t disk_open_count(const disk *d) {
    uint64_t count = 0;
    for (const mrl_dir *dir = d->dirs; dir != NULL; dir = dir->next) count++;
    for (const mrl_file *file = d->handles; file != NULL; file = file->next) count++;
    return count;
}

void disk_fail_one_in(disk *d, disk_call of, uint32_t one_in) {
    d->fail_one_in[of] = one_in;
}

void disk_fail_nth(disk *d, disk_call of, uint64_t n) {
    d->fail_nth[of] = n;
}

void disk_fail_none(disk *d) {
    memset(d->fail_one_in, 0, sizeof d->fail_one_in);
    memset(d->fail_nth, 0, sizeof d->fail_nth);
}

void disk_capacity(disk *d, uint64_t bytes) {
    d->capacity = bytes;
}

uint64_t disk_used(const disk *d) {
    uint64_t used = 0;
    for (const node *n = d->nodes; n != NULL; n = n->next) used += n->live.size;
    return used;
}

const disk_point *disk_points(const disk *d, size_t *out_count) {
    *out_count = d->point_count;
    return d->points;
}

void disk_print_trace(const disk *d) {
    uint64_t first = d->trace_count < DISK_TRACE_SIZE ? 0 : d->trace_count - DISK_TRACE_SIZE;
    for (uint64_t i = first; i < d->trace_count; i++)
        printf("#   disk: %s\n", d->trace[i % DISK_TRACE_SIZE]);
}

disk_fates disk_fates_of(const disk *d) {
    return d->fates;
}
