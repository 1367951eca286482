/* persist/directory.h - the directory of a database: its lock, its names, what went wrong in it.
 *
 * What    A directory has the files `lock`, `manifest-<id>`, `log-<id>`, `pages-<id>`, each id as
 *         sixteen hexadecimal digits, and `<name>.tmp`, which nobody needs. Others are left alone.
 * Owns    the open directory, the lock on it, and a copy of its path for reports.
 * Threads open, close: setup. The rest: any.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_PERSIST_DIRECTORY_H
#define MRL_PERSIST_DIRECTORY_H

#include <stddef.h>
#include <stdint.h>

#include <merle/base.h>

#include "base/file.h"

typedef struct mrl_directory {
    const mrl_files *files;
    mrl_dir *dir;
    char *path;
    int is_locked;
} mrl_directory;

typedef enum mrl_file_kind {
    MRL_FILE_OTHER = 0, /* somebody else's */
    MRL_FILE_MANIFEST,
    MRL_FILE_PAGES,
    MRL_FILE_LOG,
    MRL_FILE_LOCK,
    MRL_FILE_TEMPORARY
} mrl_file_kind;

enum { MRL_FILE_NAME_MAX = 40 };

typedef struct mrl_file_entry {
    mrl_file_kind kind;
    uint64_t id;
    uint64_t size;
    char name[MRL_FILE_NAME_MAX];
} mrl_file_entry;

typedef struct mrl_file_list {
    mrl_file_entry *entries; /* in the order of kinds and ids; malloc */
    size_t count;
    size_t capacity;
} mrl_file_list;

/* Opens the directory, makes it if it is not there, and takes its lock. Errors: MERLE_BUSY (the
 * report says which process has it), MERLE_SYSTEM, MERLE_NO_SPACE, MERLE_NO_MEMORY; nothing is left
 * open then. */
MERLE_MUST_USE merle_err mrl_directory_open(mrl_directory *directory, const mrl_files *files,
                                            const char *path, merle_report *report);
/* The same for one that must be there, with a database in it; nothing is written to it but the lock
 * file. Errors besides: MERLE_NOT_FOUND. */
MERLE_MUST_USE merle_err mrl_directory_open_existing(mrl_directory *directory,
                                                     const mrl_files *files, const char *path,
                                                     merle_report *report);
/* Zero-filled is closed. */
void mrl_directory_close(mrl_directory *directory);

/* The name of a file; kinds with an id only. */
void mrl_directory_name(mrl_file_kind kind, uint64_t id, char out_name[MRL_FILE_NAME_MAX]);
mrl_file_kind mrl_directory_parse(const char *name, uint64_t *out_id);
/* The files that are merle's. Errors: MERLE_SYSTEM, MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_directory_list(const mrl_directory *directory, mrl_file_list *out_list,
                                            merle_report *report);
void mrl_file_list_fini(mrl_file_list *list);

/* Reads a whole file of at most size_max bytes. Errors: MERLE_SYSTEM, MERLE_NO_MEMORY,
 * MERLE_CORRUPT (it is larger). */
MERLE_MUST_USE merle_err mrl_directory_read(const mrl_directory *directory, const char *name,
                                            uint64_t size_max, merle_buffer *out,
                                            merle_report *report);
/* Writes a file under another name, syncs it, and renames it: it is there as a whole or not at all.
 * *out_is_named: it may be there even if this fails. Errors: MERLE_SYSTEM, MERLE_NO_SPACE. */
MERLE_MUST_USE merle_err mrl_directory_replace(const mrl_directory *directory, const char *name,
                                               merle_bytes bytes, int *out_is_named,
                                               merle_report *report);

/* What an errno means: MERLE_NO_SPACE, MERLE_NO_MEMORY or MERLE_SYSTEM, with a report. name NULL:
 * the directory itself. */
merle_err mrl_directory_system(const mrl_directory *directory, merle_report *report,
                               const char *name, const char *doing, int system_errno);
/* A file is not as it should be: fills the report and returns err. help: the sentence on what to
 * do; NULL: none. */
typedef struct mrl_damage {
    const char *name;
    uint64_t offset;
    const char *expected;
    const char *found;
    const char *what;
    const char *help;
} mrl_damage;
merle_err mrl_directory_damage(const mrl_directory *directory, merle_report *report, merle_err err,
                               const mrl_damage *damage);

#endif
