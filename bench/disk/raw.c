/* bench/disk/raw.c - the floors that are no store: what the file system and the disk do by
 * themselves.
 *
 * What    sync: a record of 256 bytes and an fdatasync, one behind the other, in a file whose every
 *         byte was written before; sync_append: the same at the end of a file that grows. sync64:
 *         64 records in one write, then an fdatasync. seq, seq_1m: the same bytes as a quarter of
 *         the documents in writes of 1 MiB, into a file that was written before, one fdatasync at
 *         the end or one after each.
 * Threads one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/common/measure.h"
#include "bench/disk/disk.h"

#define BLOCK_SIZE ((size_t)1 << 20)
#define GROUP 64u
#define SYNC_COUNT 2000u

typedef enum raw_sync { RAW_SYNC_EACH, RAW_SYNC_LAST } raw_sync;

typedef struct raw_run {
    const char *phase;
    size_t write_size;
    size_t write_count;
    raw_sync when;
    unsigned is_appended;
} raw_run;

static void bytes_write(int file, const uint8_t *bytes, size_t size, off_t at) {
    ssize_t done = pwrite(file, bytes, size, at);
    if (done < 0 || (size_t)done != size) bench_die("raw: write: %s", strerror(errno));
}

static void file_sync(int file) {
    if (fdatasync(file) != 0) bench_die("raw: fdatasync: %s", strerror(errno));
}

/* A file whose blocks are there and were written; empty if it is to be appended to. */
static int file_make(const char *path, const raw_run *run, const uint8_t *zeros) {
    size_t left = run->is_appended ? 0 : run->write_size * run->write_count;
    off_t at = 0;
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) bench_die("raw: %s: %s", path, strerror(errno));
    for (; left > 0; at += (off_t)BLOCK_SIZE) {
        size_t size = left < BLOCK_SIZE ? left : BLOCK_SIZE;
        bytes_write(file, zeros, size, at);
        left -= size;
    }
    if (fsync(file) != 0) bench_die("raw: fsync: %s", strerror(errno));
    return file;
}

/* Fills `bytes` so that no two writes are alike: nothing below may think them already there. */
static void bytes_fill(uint8_t *bytes, size_t size, size_t k) {
    for (size_t at = 0; at + 8 <= size; at += DISK_RECORD_SIZE) {
        uint64_t mark = bench_mix(k + at);
        memcpy(bytes + at, &mark, sizeof mark);
    }
}

static double run_time(const disk_stage *disk, const raw_run *run, bench_latency *latency) {
    char path[DISK_PATH_SIZE + 16];
    uint8_t *bytes = bench_alloc(BLOCK_SIZE);
    snprintf(path, sizeof path, "%s/raw", disk->directory);
    int file = file_make(path, run, bytes);
    memset(bytes, 'r', BLOCK_SIZE);
    uint64_t start_ns = bench_now_ns();
    for (size_t k = 0; k < run->write_count; k++) {
        uint64_t before_ns = bench_now_ns();
        bytes_fill(bytes, run->write_size, k);
        bytes_write(file, bytes, run->write_size, (off_t)(k * run->write_size));
        if (run->when == RAW_SYNC_EACH) file_sync(file);
        if (latency != NULL) bench_latency_add(latency, bench_now_ns() - before_ns);
    }
    if (run->when == RAW_SYNC_LAST) file_sync(file);
    double seconds = (double)(bench_now_ns() - start_ns) / 1e9;
    if (close(file) != 0 || unlink(path) != 0) bench_die("raw: %s: %s", path, strerror(errno));
    free(bytes);
    return seconds;
}

void disk_raw_async(const disk_stage *disk) {
    size_t bytes = disk_op_count(disk, 1000000) / 4 * DISK_RECORD_SIZE;
    size_t count = bytes < BLOCK_SIZE ? 1 : bytes / BLOCK_SIZE;
    const raw_run runs[] = {{"seq", BLOCK_SIZE, count, RAW_SYNC_LAST, 0},
                            {"seq_1m", BLOCK_SIZE, count, RAW_SYNC_EACH, 0}};
    for (size_t i = 0; i < 2; i++) {
        double seconds = run_time(disk, &runs[i], NULL);
        bench_result("raw", runs[i].phase, 1, (double)(count * BLOCK_SIZE) / seconds, "bytes/s");
    }
}

void disk_raw_sync(const disk_stage *disk) {
    size_t count = disk_op_count(disk, SYNC_COUNT);
    const raw_run runs[] = {{"sync", DISK_RECORD_SIZE, count, RAW_SYNC_EACH, 0},
                            {"sync_append", DISK_RECORD_SIZE, count, RAW_SYNC_EACH, 1}};
    for (size_t i = 0; i < 2; i++) {
        bench_latency latency;
        bench_latency_init(&latency, count);
        double seconds = run_time(disk, &runs[i], &latency);
        bench_result("raw", runs[i].phase, 1, (double)count / seconds, "docs/s");
        bench_latency_report(&latency, "raw", runs[i].phase, 1);
        bench_latency_fini(&latency);
    }
}

void disk_raw_sync64(const disk_stage *disk) {
    size_t count = disk_op_count(disk, SYNC_COUNT);
    const raw_run run = {"sync64", (size_t)DISK_RECORD_SIZE * GROUP, count, RAW_SYNC_EACH, 0};
    double seconds = run_time(disk, &run, NULL);
    bench_result("raw", run.phase, 1, (double)(count * GROUP) / seconds, "docs/s");
}
