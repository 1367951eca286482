/* bench/disk/disk.h - the phases that have a disk in them.
 *
 * What    async, sync, sync64, checkpoint, reopen, expiry of docs/workload.md, for the systems that
 *         have files, and the floors under them: the file system itself, and bare tables built from
 *         documents in memory.
 * Owns    each phase has a directory of its own, removed when it ends well.
 * Sees    every phase runs in a process of its own. What it writes is read back, where it can after
 *         another opening, and compared with the ledger; a difference ends the process.
 * Threads one phase at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef BENCH_DISK_DISK_H
#define BENCH_DISK_DISK_H

#include "bench/phases.h"

#define DISK_PATH_SIZE 512u
/* What a record of the log has about: the floors write as much at a time. */
#define DISK_RECORD_SIZE 256u

typedef struct disk_stage {
    const bench_system *system; /* NULL: a floor */
    uint32_t count;             /* N */
    unsigned thread_count;
    unsigned entries;
    bench_background background;
    double seconds;                 /* sync64 takes at least so long */
    char directory[DISK_PATH_SIZE]; /* there, and empty at first */
} disk_stage;

/* Opens the store in the stage's directory and makes a plain stage of it, with the ledger of
 * `count` records as inserted. */
void disk_open(const disk_stage *disk, uint32_t count, bench_durability durability,
               bench_stage *out_stage);
/* The two halves of it. */
void disk_stage_make(const disk_stage *disk, uint32_t count, bench_stage *out_stage);
void *disk_store_open(const disk_stage *disk, uint32_t count, bench_durability durability);
void disk_close(bench_stage *stage);
/* Count, samples by key and by email, and queries are as the ledger says. */
void disk_check(bench_stage *stage, const char *phase);
/* As many operations as for a million records, fewer for fewer. */
size_t disk_op_count(const disk_stage *disk, size_t for_a_million);

/* Floors: the file system (raw.c), and reading files and building bare tables (files.c). */
void disk_raw_async(const disk_stage *disk);
void disk_raw_sync(const disk_stage *disk);
void disk_raw_sync64(const disk_stage *disk);
void disk_files_reopen(const disk_stage *disk);

/* Systems. */
void disk_async_memory(const disk_stage *disk);
void disk_async(const disk_stage *disk);
void disk_sync(const disk_stage *disk);
void disk_sync64_loop(const disk_stage *disk);
void disk_sync64_poll(const disk_stage *disk);
void disk_sync64_threads(const disk_stage *disk);
void disk_checkpoint(const disk_stage *disk);
void disk_expiry(const disk_stage *disk);
/* reopen: fills a directory and closes it; opens it, begun at start_ns, and reports under `phase`;
 * changes a tenth and is killed. Each for a process of its own. */
void disk_reopen_fill(const disk_stage *disk);
void disk_reopen_open(const disk_stage *disk, unsigned is_changed, uint64_t start_ns);
void disk_reopen_change(const disk_stage *disk) __attribute__((noreturn));

#endif
