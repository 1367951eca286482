/* tests/sim/disk_private.h - what the files of the simulated disk share.
 *
 * What    A node is a file without its names: bytes as a process sees them (live), bytes on stable
 *         storage (durable), and the changes that lead from the one to the other. A folder has
 *         names in the same three forms.
 * Owns    a disk its nodes, folders and handles. A node goes when no name, live, durable or on the
 *         way, and no handle leads to it.
 * Threads one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_SIM_DISK_PRIVATE_H
#define TESTS_SIM_DISK_PRIVATE_H

#include "base/random.h"
#include "tests/sim/disk.h"

enum { DISK_TRACE_SIZE = 256 };

typedef struct bytes_image {
    uint8_t *bytes; /* zeros from size on */
    uint64_t size, capacity;
} bytes_image;

typedef enum change_kind { CHANGE_WRITE = 0, CHANGE_GROW, CHANGE_CUT } change_kind;

/* One call's effect on a file. */
typedef struct change {
    uint64_t id; /* grows over all of a disk */
    change_kind kind;
    uint64_t offset; /* of CHANGE_GROW and CHANGE_CUT: the size */
    uint64_t size;
    uint8_t *bytes;
} change;

typedef struct node {
    struct node *next;
    char name[DISK_NAME_MAX]; /* its last one */
    char kind[24];            /* what that begins with */
    uint32_t open_count;
    int has_lost; /* live shows what is lost for good */
    int is_used;  /* while nodes are swept */
    bytes_image live, durable;
    change *changes;
    size_t change_count, change_capacity;
} node;

typedef struct name_entry {
    char name[DISK_NAME_MAX];
    node *of;
} name_entry;

typedef struct name_table {
    name_entry *entries;
    size_t count, capacity;
} name_table;

typedef enum name_change_kind { NAME_PUT = 0, NAME_MOVE, NAME_REMOVE } name_change_kind;

typedef struct name_change {
    uint64_t id;
    name_change_kind kind;
    char name[DISK_NAME_MAX], to[DISK_NAME_MAX];
    node *of; /* NULL: of a removal */
} name_change;

typedef struct folder {
    struct folder *next;
    char path[256];
    int is_locked;
    name_table live, durable;
    name_change *changes;
    size_t change_count, change_capacity;
} folder;

struct mrl_dir {
    mrl_dir *next;
    disk *owner;
    folder *at;
    int has_lock;
};

struct mrl_file {
    mrl_file *next;
    disk *owner;
    node *of;
    mrl_file_mode mode;
};

struct disk {
    mrl_files files;
    mrl_random random;
    node *nodes;
    folder *folders;
    mrl_dir *dirs;
    mrl_file *handles;
    uint64_t change_id;
    uint64_t capacity;
    uint64_t calls;
    uint64_t stop_in; /* 0: no stop is asked for */
    uint64_t stop_at_point_in;
    char stop_point[40];
    int stops_after; /* the stop is due when the present call is over */
    void (*stop)(void *context);
    void *stop_context;
    uint32_t fail_one_in[DISK_CALL_COUNT];
    uint64_t fail_nth[DISK_CALL_COUNT];
    disk_fates fates;
    uint64_t trace_count;
    char trace[DISK_TRACE_SIZE][160];
    size_t point_count;
    disk_point points[DISK_POINT_MAX];
};

/* realloc for `count` more elements, or the end of the program: tests have memory. */
void *disk_grow(void *memory, size_t count, size_t *capacity, size_t element_size);

/* ---- disk_image.c ---- */

void image_resize(bytes_image *image, uint64_t size);
void image_copy(bytes_image *to, const bytes_image *from);
/* Notes what was done to a node and does it to the live image. A write borrows its bytes. */
void node_write(disk *d, node *n, uint64_t offset, const uint8_t *bytes, uint64_t size);
void node_resize(disk *d, node *n, uint64_t size);
/* The changes up to an id are durable. */
void node_settle(node *n, uint64_t last_id);
/* The changes up to an id were written or are lost for good, though the live image shows them. */
void node_lose(disk *d, node *n, uint64_t last_id);
node *node_create(disk *d, const char *name);
void node_name(node *n, const char *name);

name_entry *table_find(const name_table *table, const char *name);
void table_put(name_table *table, const char *name, node *of);
void table_remove(name_table *table, const char *name);
void table_copy(name_table *to, const name_table *from);
/* Notes a change of names and does it to the live names. */
void folder_change(disk *d, folder *f, name_change_kind kind, const char *name, const char *to,
                   node *of);
void folder_settle(folder *f, uint64_t last_id);
folder *folder_find(const disk *d, const char *path);
folder *folder_create(disk *d, const char *path);
/* Frees nodes that nothing leads to. */
void disk_sweep(disk *d);

#endif
