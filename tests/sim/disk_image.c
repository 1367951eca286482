/* tests/sim/disk_image.c - what is seen, what is durable, and what a power cut makes of the rest.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/disk_private.h"

void *disk_grow(void *memory, size_t count, size_t *capacity, size_t element_size) {
    if (count < *capacity) return memory;
    *capacity = *capacity == 0 ? 16 : 2 * *capacity;
    void *grown = realloc(memory, *capacity * element_size);
    if (grown == NULL) abort();
    return grown;
}

/* ---- images ---- */

void image_resize(bytes_image *image, uint64_t size) {
    if (size > image->capacity) {
        uint64_t capacity = image->capacity == 0 ? 4096 : image->capacity;
        while (capacity < size) capacity *= 2;
        image->bytes = realloc(image->bytes, capacity);
        if (image->bytes == NULL) abort();
        memset(image->bytes + image->capacity, 0, capacity - image->capacity);
        image->capacity = capacity;
    }
    if (size < image->size) memset(image->bytes + size, 0, image->size - size);
    image->size = size;
}

void image_copy(bytes_image *to, const bytes_image *from) {
    image_resize(to, 0);
    image_resize(to, from->size);
    if (from->size > 0) memcpy(to->bytes, from->bytes, from->size);
}

static void image_write(bytes_image *image, uint64_t offset, const uint8_t *bytes, uint64_t size) {
    if (size == 0) return;
    if (offset + size > image->size) image_resize(image, offset + size);
    memcpy(image->bytes + offset, bytes, size);
}

static void image_apply(bytes_image *image, const change *c) {
    if (c->kind == CHANGE_WRITE)
        image_write(image, c->offset, c->bytes, c->size);
    else if (c->kind == CHANGE_CUT || c->offset > image->size)
        image_resize(image, c->offset);
}

/* ---- files ---- */

static change *node_note(disk *d, node *n, change_kind kind, uint64_t offset) {
    n->changes = disk_grow(n->changes, n->change_count, &n->change_capacity, sizeof(change));
    change *c = &n->changes[n->change_count++];
    *c = (change){.id = ++d->change_id, .kind = kind, .offset = offset};
    return c;
}

void node_write(disk *d, node *n, uint64_t offset, const uint8_t *bytes, uint64_t size) {
    if (size == 0) return;
    change *c = node_note(d, n, CHANGE_WRITE, offset);
    c->size = size;
    c->bytes = malloc(size);
    if (c->bytes == NULL) abort();
    memcpy(c->bytes, bytes, size);
    image_apply(&n->live, c);
}

void node_resize(disk *d, node *n, uint64_t size) {
    if (size == n->live.size) return;
    change *c = node_note(d, n, size < n->live.size ? CHANGE_CUT : CHANGE_GROW, size);
    image_apply(&n->live, c);
}

/* Forgets the first `count` changes. */
static void node_forget(node *n, size_t count) {
    for (size_t i = 0; i < count; i++) free(n->changes[i].bytes);
    n->change_count -= count;
    if (n->change_count > 0)
        memmove(n->changes, n->changes + count, n->change_count * sizeof(change));
}

void node_settle(node *n, uint64_t last_id) {
    size_t count = 0;
    for (; count < n->change_count && n->changes[count].id <= last_id; count++)
        image_apply(&n->durable, &n->changes[count]);
    if (count > 0) node_forget(n, count);
}

void node_name(node *n, const char *name) {
    size_t size = strcspn(name, "-.");
    (void)snprintf(n->name, sizeof n->name, "%s", name);
    size_t length = strlen(name);
    if (length > 4 && strcmp(name + length - 4, ".tmp") == 0)
        (void)snprintf(n->kind, sizeof n->kind, "tmp");
    else
        (void)snprintf(n->kind, sizeof n->kind, "%.*s", (int)(size < 20 ? size : 20), name);
}

node *node_create(disk *d, const char *name) {
    node *n = calloc(1, sizeof *n);
    if (n == NULL) abort();
    node_name(n, name);
    n->next = d->nodes;
    d->nodes = n;
    return n;
}

static void node_destroy(node *n) {
    node_forget(n, n->change_count);
    free(n->changes);
    free(n->live.bytes);
    free(n->durable.bytes);
    free(n);
}

/* ---- names ---- */

name_entry *table_find(const name_table *table, const char *name) {
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->entries[i].name, name) == 0) return &table->entries[i];
    return NULL;
}

void table_put(name_table *table, const char *name, node *of) {
    name_entry *entry = table_find(table, name);
    if (entry == NULL) {
        table->entries =
            disk_grow(table->entries, table->count, &table->capacity, sizeof(name_entry));
        entry = &table->entries[table->count++];
        (void)snprintf(entry->name, sizeof entry->name, "%s", name);
    }
    entry->of = of;
}

void table_remove(name_table *table, const char *name) {
    name_entry *entry = table_find(table, name);
    if (entry != NULL) *entry = table->entries[--table->count];
}

void table_copy(name_table *to, const name_table *from) {
    to->count = 0;
    for (size_t i = 0; i < from->count; i++)
        table_put(to, from->entries[i].name, from->entries[i].of);
}

static void table_apply(name_table *table, const name_change *c) {
    if (c->kind == NAME_PUT) {
        table_put(table, c->name, c->of);
        return;
    }
    /* What was renamed or removed may be another file by now, if what made that was lost. */
    const name_entry *entry = table_find(table, c->name);
    if (entry != NULL && entry->of == c->of) table_remove(table, c->name);
    if (c->kind == NAME_MOVE) table_put(table, c->to, c->of);
}

void folder_change(disk *d, folder *f, name_change_kind kind, const char *name, const char *to,
                   node *of) {
    f->changes = disk_grow(f->changes, f->change_count, &f->change_capacity, sizeof(name_change));
    name_change *c = &f->changes[f->change_count++];
    *c = (name_change){.id = ++d->change_id, .kind = kind, .of = of};
    (void)snprintf(c->name, sizeof c->name, "%s", name);
    (void)snprintf(c->to, sizeof c->to, "%s", to);
    table_apply(&f->live, c);
}

void folder_settle(folder *f, uint64_t last_id) {
    size_t count = 0;
    for (; count < f->change_count && f->changes[count].id <= last_id; count++)
        table_apply(&f->durable, &f->changes[count]);
    f->change_count -= count;
    if (count > 0) memmove(f->changes, f->changes + count, f->change_count * sizeof(name_change));
}

folder *folder_find(const disk *d, const char *path) {
    for (folder *f = d->folders; f != NULL; f = f->next)
        if (strcmp(f->path, path) == 0) return f;
    return NULL;
}

folder *folder_create(disk *d, const char *path) {
    folder *f = calloc(1, sizeof *f);
    if (f == NULL) abort();
    (void)snprintf(f->path, sizeof f->path, "%s", path);
    f->next = d->folders;
    d->folders = f;
    return f;
}

static void mark_table(const name_table *table) {
    for (size_t i = 0; i < table->count; i++) table->entries[i].of->is_used = 1;
}

void disk_sweep(disk *d) {
    for (node *n = d->nodes; n != NULL; n = n->next) n->is_used = n->open_count > 0;
    for (folder *f = d->folders; f != NULL; f = f->next) {
        mark_table(&f->live);
        mark_table(&f->durable);
        for (size_t i = 0; i < f->change_count; i++) f->changes[i].of->is_used = 1;
    }
    for (node **link = &d->nodes; *link != NULL;) {
        node *n = *link;
        if (n->is_used) {
            link = &n->next;
            continue;
        }
        *link = n->next;
        node_destroy(n);
    }
}

/* ---- what is lost ---- */

/* What a cut does to all that is unsynced: a mood for each cut, so that the extremes happen too,
 * and not only mixtures. */
typedef enum mood { MOOD_LOSES = 0, MOOD_KEEPS, MOOD_UNTIL, MOOD_MIXED, MOOD_COUNT } mood;

typedef struct cut {
    disk *d;
    mood is;
    uint64_t until; /* MOOD_UNTIL: changes up to this id are kept, as if nothing were reordered */
} cut;

static int chance(disk *d, uint64_t one_in) {
    return mrl_random_below(&d->random, one_in) == 0;
}

/* Part of a write reaches the disk: its beginning up to some byte or sector, its end from some
 * sector on, or some of its sectors. */
static void apply_torn(disk *d, bytes_image *image, const change *c) {
    uint64_t kind = mrl_random_below(&d->random, 4), end = c->offset + c->size;
    uint64_t at = c->offset + mrl_random_below(&d->random, c->size);
    if (kind != 0) at -= at % DISK_SECTOR_SIZE;
    if (at < c->offset) at = c->offset;
    if (kind <= 1) {
        image_write(image, c->offset, c->bytes, at - c->offset);
        return;
    }
    if (kind == 2) {
        image_write(image, at, c->bytes + (at - c->offset), end - at);
        return;
    }
    for (uint64_t from = c->offset; from < end;) {
        uint64_t to = from - from % DISK_SECTOR_SIZE + DISK_SECTOR_SIZE;
        if (to > end) to = end;
        if (chance(d, 2)) image_write(image, from, c->bytes + (from - c->offset), to - from);
        from = to;
    }
}

/* One change meets its fate. */
static void apply_fate(const cut *k, bytes_image *image, const change *c) {
    disk *d = k->d;
    uint64_t fate = k->is == MOOD_LOSES   ? 0
                    : k->is == MOOD_KEEPS ? 1
                    : k->is == MOOD_UNTIL ? (c->id < k->until ? 1 : (c->id == k->until ? 2 : 0))
                                          : mrl_random_below(&d->random, 3);
    if (fate == 2 && c->kind != CHANGE_WRITE) fate = mrl_random_below(&d->random, 2);
    if (fate == 0) {
        d->fates.writes_lost++;
        /* The size may be written where the bytes were not. */
        uint64_t end = c->offset + c->size;
        if (c->kind == CHANGE_WRITE && k->is == MOOD_MIXED && end > image->size && chance(d, 2))
            image_resize(image, end);
    } else if (fate == 1) {
        d->fates.writes_kept++;
        image_apply(image, c);
    } else {
        d->fates.writes_torn++;
        apply_torn(d, image, c);
    }
}

void node_lose(disk *d, node *n, uint64_t last_id) {
    cut k = {d, MOOD_MIXED, 0};
    size_t count = 0;
    for (; count < n->change_count && n->changes[count].id <= last_id; count++) {
        d->fates.syncs_lost++;
        apply_fate(&k, &n->durable, &n->changes[count]);
    }
    if (count > 0) n->has_lost = 1;
    if (count > 0) node_forget(n, count);
}

static void node_cut(const cut *k, node *n) {
    if (n->change_count == 0 && !n->has_lost) return; /* both images are the same */
    n->has_lost = 0;
    for (size_t i = 0; i < n->change_count; i++) apply_fate(k, &n->durable, &n->changes[i]);
    node_forget(n, n->change_count);
    image_copy(&n->live, &n->durable);
}

static void folder_cut(const cut *k, folder *f) {
    disk *d = k->d;
    for (size_t i = 0; i < f->change_count; i++) {
        const name_change *c = &f->changes[i];
        int is_kept = k->is == MOOD_LOSES   ? 0
                      : k->is == MOOD_KEEPS ? 1
                      : k->is == MOOD_UNTIL ? c->id <= k->until
                                            : chance(d, 2);
        if (is_kept) table_apply(&f->durable, c);
        if (is_kept)
            d->fates.names_kept++;
        else
            d->fates.names_lost++;
    }
    f->change_count = 0;
    table_copy(&f->live, &f->durable);
}

/* The id of one of the changes that are on their way, or one before all of them. */
static uint64_t choose_until(disk *d) {
    uint64_t first = d->change_id;
    for (const node *n = d->nodes; n != NULL; n = n->next)
        if (n->change_count > 0 && n->changes[0].id < first) first = n->changes[0].id;
    for (const folder *f = d->folders; f != NULL; f = f->next)
        if (f->change_count > 0 && f->changes[0].id < first) first = f->changes[0].id;
    return first + mrl_random_below(&d->random, d->change_id - first + 1);
}

void disk_kill(disk *d) {
    (void)snprintf(d->trace[d->trace_count++ % DISK_TRACE_SIZE], sizeof d->trace[0],
                   "---- the process has ended ----");
    while (d->dirs != NULL) {
        mrl_dir *dir = d->dirs;
        d->dirs = dir->next;
        free(dir);
    }
    while (d->handles != NULL) {
        mrl_file *file = d->handles;
        d->handles = file->next;
        file->of->open_count--;
        free(file);
    }
    for (folder *f = d->folders; f != NULL; f = f->next) f->is_locked = 0;
    d->stop_in = d->stop_at_point_in = 0;
    d->stops_after = 0;
    disk_sweep(d);
}

void disk_cut_power(disk *d) {
    disk_kill(d);
    d->fates.cuts++;
    /* Mixtures most often: they are where the surprises are. */
    uint64_t is = mrl_random_below(&d->random, 2 * MOOD_COUNT);
    cut k = {d, is < MOOD_COUNT ? (mood)is : MOOD_MIXED, 0};
    (void)snprintf(d->trace[d->trace_count++ % DISK_TRACE_SIZE], sizeof d->trace[0],
                   "---- power cut, mood %d ----", (int)k.is);
    k.until = choose_until(d);
    for (node *n = d->nodes; n != NULL; n = n->next) node_cut(&k, n);
    for (folder *f = d->folders; f != NULL; f = f->next) folder_cut(&k, f);
    disk_sweep(d);
}

void disk_destroy(disk *d) {
    if (d == NULL) return;
    disk_kill(d);
    while (d->folders != NULL) {
        folder *f = d->folders;
        d->folders = f->next;
        free(f->live.entries);
        free(f->durable.entries);
        free(f->changes);
        free(f);
    }
    disk_sweep(d);
    free(d);
}
