/* bench/disk/checkpoint.c - checkpoint: how long, how many bytes, and what a writer feels of it.
 *
 * What    all documents inserted by one thread; a checkpoint of all; one after 1 % of them that are
 *         neighbours (inserted one behind the other) were updated, one after 1 % at random. Then a
 *         thread updates random documents without pause, each update timed, at first alone, then
 *         while a checkpoint is made. Resident memory before the first checkpoint and its peak.
 *         Bytes are by how much files have grown that are not the log's.
 * Sees    the store makes no checkpoints but these. Afterwards it is opened again and compared.
 * Threads two: the one that asks for checkpoints, and the writer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "bench/common/measure.h"
#include "bench/disk/disk.h"

#define SAMPLE_MAX 8000000u
#define SAMPLE_LEAST 1000u
#define FILE_MAX 1024u

enum { SEED_SPREAD = 311, SEED_WRITER };

/* ---- updates ---- */

static void update_one(bench_stage *stage, void *thread, uint32_t i) {
    bench_record record;
    bench_record_make(&record, i, stage->version_next, stage->count);
    stage->system->update(thread, &record);
    bench_ledger_update(&stage->ledger, i, stage->version_next);
    stage->version_next++;
}

static void durable_all(const bench_stage *stage) {
    const bench_disk *files = stage->system->disk;
    files->durable_wait(stage->thread, files->place(stage->thread));
}

/* ---- one checkpoint ---- */

/* What the files of a directory had, but for those of the log. */
typedef struct sizes {
    char names[FILE_MAX][NAME_MAX + 1];
    uint64_t bytes[FILE_MAX];
    unsigned count;
} sizes;

static void sizes_read(const disk_stage *disk, sizes *out_sizes) {
    const char *prefix = disk->system->disk->log_prefix;
    DIR *directory = opendir(disk->directory);
    struct dirent *entry;
    if (directory == NULL) bench_die("checkpoint: cannot read %s", disk->directory);
    out_sizes->count = 0;
    while ((entry = readdir(directory)) != NULL) {
        struct stat about;
        if (prefix != NULL && strncmp(entry->d_name, prefix, strlen(prefix)) == 0) continue;
        /* Whoever removes one meanwhile is welcome to. */
        if (fstatat(dirfd(directory), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (!S_ISREG(about.st_mode)) continue;
        if (out_sizes->count == FILE_MAX) bench_die("checkpoint: more than %u files", FILE_MAX);
        out_sizes->bytes[out_sizes->count] = (uint64_t)about.st_size;
        strcpy(out_sizes->names[out_sizes->count++], entry->d_name);
    }
    closedir(directory);
}

/* By how much files have grown. A name that is gone is nothing written; one that is new is. */
static uint64_t growth_of(const sizes *before, const sizes *after) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < after->count; i++) {
        uint64_t had = 0;
        for (unsigned k = 0; k < before->count; k++) {
            if (strcmp(before->names[k], after->names[i]) == 0) had = before->bytes[k];
        }
        if (after->bytes[i] > had) bytes += after->bytes[i] - had;
    }
    return bytes;
}

static void checkpoint_time(const disk_stage *disk, const bench_stage *stage, const char *phase,
                            const char *bytes_phase) {
    static sizes before;
    static sizes after;
    sizes_read(disk, &before);
    uint64_t start_ns = bench_now_ns();
    disk->system->disk->checkpoint(stage->thread);
    double seconds = (double)(bench_now_ns() - start_ns) / 1e9;
    sizes_read(disk, &after);
    bench_result(disk->system->name, phase, 1, seconds * 1e3, "ms");
    bench_result(disk->system->name, bytes_phase, 1, (double)growth_of(&before, &after), "bytes");
}

static void first_run(const disk_stage *disk, bench_stage *stage, uint64_t before) {
    const char *name = stage->system->name;
    uint64_t resident = bench_resident_bytes();
    bench_peak_reset();
    checkpoint_time(disk, stage, "checkpoint", "checkpoint_bytes");
    bench_result(name, "checkpoint_resident", 1, (double)(resident - before), "bytes");
    bench_result(name, "checkpoint_peak", 1, (double)(bench_peak_bytes() - before), "bytes");
}

static void later_run(const disk_stage *disk, bench_stage *stage) {
    uint32_t part = stage->count / 100;
    uint32_t from = stage->count / 2;
    uint32_t *picks = bench_picks_make(part, stage->count, SEED_SPREAD);
    for (uint32_t k = 0; k < part; k++) update_one(stage, stage->thread, stage->order[from + k]);
    durable_all(stage);
    checkpoint_time(disk, stage, "checkpoint_neighbours", "checkpoint_neighbours_bytes");
    for (uint32_t k = 0; k < part; k++) update_one(stage, stage->thread, picks[k]);
    durable_all(stage);
    checkpoint_time(disk, stage, "checkpoint_spread", "checkpoint_spread_bytes");
    free(picks);
}

/* ---- a writer beside it ---- */

typedef struct sample {
    uint64_t start_ns;
    uint32_t took_ns;
} sample;

typedef struct writer {
    bench_stage *stage;
    sample *samples;
    uint64_t done;       /* atomic */
    unsigned is_stopped; /* atomic */
} writer;

static void *writer_main(void *context) {
    writer *self = context;
    void *thread = self->stage->system->thread_begin();
    for (uint64_t k = 0; !__atomic_load_n(&self->is_stopped, __ATOMIC_RELAXED); k++) {
        uint32_t i = bench_below(((uint64_t)SEED_WRITER << 40) + k, self->stage->count);
        bench_record record;
        bench_record_make(&record, i, self->stage->version_next, self->stage->count);
        uint64_t start_ns = bench_now_ns();
        self->stage->system->update(thread, &record);
        uint64_t took_ns = bench_now_ns() - start_ns;
        bench_ledger_update(&self->stage->ledger, i, self->stage->version_next++);
        if (k < SAMPLE_MAX) {
            self->samples[k] = (sample){start_ns, (uint32_t)took_ns};
            if (took_ns > UINT32_MAX) self->samples[k].took_ns = UINT32_MAX;
        }
        __atomic_store_n(&self->done, k + 1, __ATOMIC_RELEASE);
    }
    self->stage->system->thread_end(thread);
    return NULL;
}

/* Those that ended before the checkpoint, and those that it was there for a part of. */
static void samples_report(const writer *self, uint64_t begin_ns, uint64_t end_ns) {
    const char *name = self->stage->system->name;
    size_t count = self->done < SAMPLE_MAX ? self->done : SAMPLE_MAX;
    bench_latency alone;
    bench_latency beside;
    bench_latency_init(&alone, count);
    bench_latency_init(&beside, count);
    for (size_t k = 0; k < count; k++) {
        const sample *one = &self->samples[k];
        if (one->start_ns >= end_ns) break;
        unsigned is_beside = one->start_ns + one->took_ns > begin_ns;
        bench_latency_add(is_beside ? &beside : &alone, one->took_ns);
    }
    bench_latency_report(&alone, name, "checkpoint_update_alone", 1);
    bench_latency_report(&beside, name, "checkpoint_update", 1);
    bench_latency_fini(&alone);
    bench_latency_fini(&beside);
}

static void done_wait(const writer *self, uint64_t least) {
    const struct timespec moment = {0, 1000000};
    while (__atomic_load_n(&self->done, __ATOMIC_ACQUIRE) < least) (void)nanosleep(&moment, NULL);
}

static void writer_run(const disk_stage *disk, bench_stage *stage, uint64_t before) {
    writer beside = {.stage = stage, .samples = bench_alloc(SAMPLE_MAX * sizeof(sample))};
    pthread_t thread;
    before += SAMPLE_MAX * sizeof(sample);
    if (pthread_create(&thread, NULL, writer_main, &beside) != 0) bench_die("no thread");
    const struct timespec alone = {(time_t)disk->seconds,
                                   (long)((disk->seconds - (double)(time_t)disk->seconds) * 1e9)};
    (void)nanosleep(&alone, NULL);
    done_wait(&beside, SAMPLE_LEAST);
    uint64_t resident = bench_resident_bytes();
    bench_peak_reset();
    uint64_t least = __atomic_load_n(&beside.done, __ATOMIC_ACQUIRE) + SAMPLE_LEAST;
    uint64_t begin_ns = bench_now_ns();
    /* On few documents it is over before a writer has felt it: then again. */
    do {
        stage->system->disk->checkpoint(stage->thread);
    } while (__atomic_load_n(&beside.done, __ATOMIC_ACQUIRE) < least);
    uint64_t end_ns = bench_now_ns();
    uint64_t peak = bench_peak_bytes();
    __atomic_store_n(&beside.is_stopped, 1, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    const char *name = stage->system->name;
    bench_result(name, "checkpoint_beside", 1, (double)(end_ns - begin_ns) / 1e6, "ms");
    bench_result(name, "checkpoint_beside_resident", 1, (double)(resident - before), "bytes");
    bench_result(name, "checkpoint_beside_peak", 1, (double)(peak - before), "bytes");
    samples_report(&beside, begin_ns, end_ns);
    free(beside.samples);
}

/* ---- the phase ---- */

void disk_checkpoint(const disk_stage *disk) {
    const bench_system *system = disk->system;
    bench_stage stage;
    bench_record record;
    disk_open(disk, disk->count, BENCH_DURABLE_SOON, &stage);
    uint64_t before = bench_resident_bytes();
    for (uint32_t k = 0; k < stage.count; k++) {
        bench_record_make(&record, stage.order[k], 0, stage.count);
        if (system->insert(stage.thread, &record) == BENCH_NO) {
            bench_die("%s: checkpoint: %s was refused", system->name, record.key);
        }
    }
    bench_count_check(&stage, "checkpoint", stage.count);
    if (system->settle != NULL) system->settle();
    durable_all(&stage);
    first_run(disk, &stage, before);
    later_run(disk, &stage);
    writer_run(disk, &stage, before);
    bench_count_check(&stage, "checkpoint", stage.count);
    disk_check(&stage, "checkpoint");
    durable_all(&stage);
    /* The same ledger for another opening. */
    system->thread_end(stage.thread);
    system->close();
    stage.thread = disk_store_open(disk, stage.count, BENCH_DURABLE_SOON);
    bench_count_check(&stage, "checkpoint", stage.count);
    disk_check(&stage, "checkpoint");
    disk_close(&stage);
}
