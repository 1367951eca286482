/* base/file.h - the seam for files: everything that the library ever asks of a file system.
 *
 * What    A table of functions on directories and the files in them. A name is one component (no
 *         slash, not "." or ".."): nothing leads out of the directory, no link is followed. Every
 *         function gives 0 or an errno value; what is interrupted by a signal is gone on with.
 * Owns    each open directory and file belongs to whoever opened it.
 * Sees    What is written may be lost, in part and in any order, until file_sync; a file's name,
 *         its renaming, its removal until dir_sync. A failed sync means that what it covered may
 *         be lost for good, whatever a later sync says.
 * Threads any, on different files; on one file reads beside one writer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_BASE_FILE_H
#define MRL_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

/* What stands behind them is the implementation's own. */
typedef struct mrl_dir mrl_dir;
typedef struct mrl_file mrl_file;

typedef enum mrl_file_mode {
    MRL_FILE_READ = 0,   /* must be there */
    MRL_FILE_WRITE = 1,  /* must be there; reads and writes */
    MRL_FILE_CREATE = 2, /* must not be there (EEXIST); mode 0600; reads and writes */
} mrl_file_mode;

/* Bytes that are written one behind the other. */
typedef struct mrl_file_part {
    const void *data;
    size_t size;
} mrl_file_part;

/* Called for each regular file of a directory, in no order; non-zero ends the listing, which is no
 * error. */
typedef int mrl_dir_fn(void *context, const char *name, uint64_t size);

typedef struct mrl_files {
    void *context;

    /* Opens a directory; create: makes it (mode 0700) if it is not there, and syncs the directory
     * that it is in. *out_created tells whether it made it. A link in the directory's own place is
     * refused (ENOTDIR or ELOOP); links on the way to it are the caller's affair. */
    int (*dir_open)(void *context, const char *path, int create, mrl_dir **out_dir,
                    int *out_created);
    void (*dir_close)(mrl_dir *dir);
    int (*dir_each)(mrl_dir *dir, mrl_dir_fn *fn, void *fn_context);
    int (*dir_sync)(mrl_dir *dir);
    /* Makes this process the directory's only owner until unlock or its end, by a file `name` in
     * it. EBUSY: somebody has it, *out_pid says who (0: not known). A forked child neither has nor
     * keeps it. The file stays for ever, and nobody else may open it: closing any descriptor of it
     * would drop the lock. */
    int (*dir_lock)(mrl_dir *dir, const char *name, uint64_t *out_pid);
    void (*dir_unlock)(mrl_dir *dir);
    /* Bytes that this process could still write there. */
    int (*dir_room)(mrl_dir *dir, uint64_t *out_bytes);
    int (*rename)(mrl_dir *dir, const char *from, const char *to); /* replaces what `to` was */
    int (*remove)(mrl_dir *dir, const char *name);
    /* A second name in another directory, of the same file. EXDEV, EPERM, EMLINK: copy it. */
    int (*link)(mrl_dir *dir, const char *name, mrl_dir *to_dir, const char *to_name);

    int (*file_open)(mrl_dir *dir, const char *name, mrl_file_mode mode, mrl_file **out_file);
    void (*file_close)(mrl_file *file);
    int (*file_size)(mrl_file *file, uint64_t *out_size);
    /* *out_read is less than size at the end of the file only. */
    int (*file_read)(mrl_file *file, uint64_t offset, void *out, size_t size, size_t *out_read);
    /* All of it, or an error: then any part of it may have been written. */
    int (*file_write)(mrl_file *file, uint64_t offset, const mrl_file_part *parts, size_t count);
    /* Data and size are on stable storage. The name is not: see dir_sync. */
    int (*file_sync)(mrl_file *file);
    /* The file has at least this size, and room on the disk for it; what is new reads as zeros.
     * ENOSPC: nothing is promised. */
    int (*file_reserve)(mrl_file *file, uint64_t size);
    int (*file_truncate)(mrl_file *file, uint64_t size);
} mrl_files;

/* The machine's own. Two databases of one process never own one directory. */
extern const mrl_files mrl_files_system;

#endif
