/* tests/sim/disk.h - a disk in memory behind mrl_files that keeps no more than it promised.
 *
 * What    Files with what a running process sees and what is on stable storage. A power cut loses,
 *         keeps or tears each unsynced write by itself, in any order, at any byte or at a border of
 *         sectors; so it does with sizes, and with names, renames and removals until dir_sync.
 *         Calls fail when asked to, the disk fills up, and the machine can stop at any call.
 * Owns    its files, and all that is opened on it: who is cut off closes nothing.
 * Sees    A sync covers what was written before it began. After a sync that failed what it covered
 *         is on the disk or lost for good, by the seed, and reads show it all the same.
 * Threads one; each call is a point at which a simulated scheduler may let another worker run.
 * Limits  names of DISK_NAME_MAX - 1 bytes; a write is never torn between two sectors' worth of
 *         garbage: what is not the new byte is the old one, or zero where the file was shorter.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_SIM_DISK_H
#define TESTS_SIM_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "base/file.h"

enum { DISK_NAME_MAX = 64, DISK_SECTOR_SIZE = 512, DISK_POINT_MAX = 128 };

typedef struct disk disk;

typedef enum disk_call {
    DISK_DIR_OPEN = 0,
    DISK_DIR_EACH,
    DISK_DIR_SYNC,
    DISK_DIR_LOCK,
    DISK_DIR_ROOM,
    DISK_RENAME,
    DISK_REMOVE,
    DISK_LINK,
    DISK_FILE_OPEN,
    DISK_FILE_CREATE,
    DISK_FILE_SIZE,
    DISK_FILE_READ,
    DISK_FILE_WRITE,
    DISK_FILE_SYNC,
    DISK_FILE_RESERVE,
    DISK_FILE_TRUNCATE,
    DISK_CALL_COUNT
} disk_call;

disk *disk_create(uint64_t seed); /* never NULL */
void disk_destroy(disk *d);
/* For mrl_environment; lives as long as the disk. */
const mrl_files *disk_files(disk *d);
const char *disk_call_name(disk_call call);

/* ---- cuts ---- */

/* The power is cut: unsynced things go as the seed says; nothing is open or locked any more. */
void disk_cut_power(disk *d);
/* The process is killed: all that it wrote stays, as unsynced as it was; nothing is open. */
void disk_kill(disk *d);
/* What happens at a stop: must not return (sim_abandon, longjmp). */
void disk_on_stop(disk *d, void (*stop)(void *context), void *context);
/* The n-th call from now on (1: the next one) does not return: before it had an effect, or after,
 * as the seed says. 0: none. */
void disk_stop_at(disk *d, uint64_t n);
/* The same, counting only calls at one point (disk_point.name). */
void disk_stop_at_point(disk *d, const char *name, uint64_t n);
/* Calls made so far. */
uint64_t disk_calls(const disk *d);
/* What is open now, directories and files. */
uint64_t disk_open_count(const disk *d);

/* ---- faults ---- all with EIO, but for the full disk */

/* One call of this kind in so many fails; 0: none. */
void disk_fail_one_in(disk *d, disk_call call, uint32_t one_in);
/* The n-th call of this kind from now on fails, and only that one; 0: none. */
void disk_fail_nth(disk *d, disk_call call, uint64_t n);
void disk_fail_none(disk *d);
/* Bytes that fit on the disk; UINT64_MAX: no limit. It may be less than there is already. */
void disk_capacity(disk *d, uint64_t bytes);
uint64_t disk_used(const disk *d);

/* ---- what was met ---- */

/* Counts for one call on one kind of file ("file_write log"). */
typedef struct disk_point {
    char name[40];
    disk_call call;
    uint64_t calls;
    uint64_t stops;  /* the machine stopped there */
    uint64_t faults; /* EIO */
    uint64_t fulls;  /* ENOSPC */
} disk_point;

typedef struct disk_fates {
    uint64_t cuts;
    uint64_t writes_lost, writes_kept, writes_torn;
    uint64_t names_lost, names_kept;
    uint64_t syncs_lost; /* writes that a failed sync has lost for good */
} disk_fates;

/* Prints the last calls that changed something, each line beginning with "# ". */
void disk_print_trace(const disk *d);
const disk_point *disk_points(const disk *d, size_t *out_count);
disk_fates disk_fates_of(const disk *d);

/* ---- harm and copies ---- none of these is a call; a path is that of dir_open */

/* A disk with the same files and names, all of it durable; nothing open. */
disk *disk_copy(const disk *d, uint64_t seed);
/* The i-th file of a directory in the order of names; 0: there is none. */
int disk_file_at(const disk *d, const char *path, size_t i, char out_name[DISK_NAME_MAX],
                 uint64_t *out_size);
/* Each gives 0, or ENOENT. They change what is seen and what is durable. */
int disk_flip(disk *d, const char *path, const char *name, uint64_t offset, uint8_t mask);
int disk_cut_file(disk *d, const char *path, const char *name, uint64_t size);
int disk_swap(disk *d, const char *path, const char *name, const char *other);
int disk_lose(disk *d, const char *path, const char *name);
/* A directory goes, with its files; nothing in it is open. */
void disk_lose_all(disk *d, const char *path);
/* A hash of all that is seen of a directory, but for the lock. */
uint64_t disk_sum(const disk *d, const char *path);
int disk_duplicate(disk *d, const char *path, const char *name, const char *copy_name);
/* Between a simulated and a real directory; all regular files. 0 or an errno value. */
int disk_export(disk *d, const char *path, const char *real_path);
int disk_import(disk *d, const char *path, const char *real_path);

#endif
