/* bench/disk/reopen.c - reopen: from the start of a process to its first answered query.
 *
 * What    fill: inserts all documents, makes a checkpoint, closes. open: opens what is there and
 *         gets one document; the time is from just before the process was started. change: updates
 *         a tenth as many documents as there are, at random, waits until they are on stable
 *         storage, and kills itself.
 * Sees    files are in the page cache. Whoever opens what was changed kills itself too, so that the
 *         next opening finds the same.
 * Threads inserts: as many as asked for. The rest: one, beside what the store starts itself.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/common/measure.h"
#include "bench/disk/disk.h"

#define PART_MAX 8u

enum { SEED_CHANGE = 321 };

static void work_insert(crew_worker *worker) {
    const crew_job *job = worker->job;
    bench_record record;
    for (size_t k = worker->begin; k < worker->end; k++) {
        bench_record_make(&record, job->picks[k], 0, job->record_count);
        worker->done += job->system->insert(worker->thread, &record) == BENCH_YES;
    }
}

void disk_reopen_fill(const disk_stage *disk) {
    bench_stage stage;
    disk_open(disk, disk->count, BENCH_DURABLE_SOON, &stage);
    crew_job job = {.system = stage.system,
                    .work = work_insert,
                    .op_count = stage.count,
                    .picks = stage.order,
                    .record_count = stage.count};
    (void)crew_run(&job, disk->thread_count);
    bench_count_check(&stage, "reopen", stage.count);
    stage.system->disk->checkpoint(stage.thread);
    disk_close(&stage);
}

static uint32_t *changes_make(const disk_stage *disk) {
    return bench_picks_make(disk->count / 10, disk->count, SEED_CHANGE);
}

void disk_reopen_change(const disk_stage *disk) {
    const bench_system *system = disk->system;
    uint32_t *picks = changes_make(disk);
    bench_record record;
    void *thread = disk_store_open(disk, disk->count, BENCH_DURABLE_SOON);
    for (uint32_t k = 0; k < disk->count / 10; k++) {
        bench_record_make(&record, picks[k], 1 + k, disk->count);
        system->update(thread, &record);
    }
    system->disk->durable_wait(thread, system->disk->place(thread));
    bench_result(system->name, "reopen_changed_log_bytes", 1, (double)system->disk->log_bytes(),
                 "bytes");
    (void)kill(getpid(), SIGKILL);
    bench_die("still alive");
}

/* By part, as the store itself says; beside the whole, which is seen from outside. */
static void parts_report(const bench_system *system, const char *phase) {
    bench_part parts[PART_MAX];
    char name[96];
    if (system->disk->opening == NULL) return;
    size_t count = system->disk->opening(parts, PART_MAX);
    for (size_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s_%s", phase, parts[i].name);
        bench_result(system->name, name, 1, (double)parts[i].bytes / 1e6, "ms");
    }
}

void disk_reopen_open(const disk_stage *disk, unsigned is_changed, uint64_t start_ns) {
    const bench_system *system = disk->system;
    const char *name = is_changed ? "reopen_killed" : "reopen";
    uint64_t score = 0;
    char key[BENCH_KEY_SIZE + 1];
    bench_stage stage;
    bench_key_write(key, 0);
    uint64_t before = bench_resident_bytes();
    void *thread = disk_store_open(disk, disk->count, BENCH_DURABLE_SOON);
    if (system->get(thread, key, &score) == BENCH_NO) bench_die("%s: %s is gone", name, key);
    double ms = (double)(bench_now_ns() - start_ns) / 1e6;
    uint64_t peak = bench_peak_bytes() - before;
    if (system->settle != NULL) system->settle();
    uint64_t resident = bench_resident_bytes() - before;
    disk_stage_make(disk, disk->count, &stage);
    stage.thread = thread;
    if (is_changed) {
        uint32_t *picks = changes_make(disk);
        for (uint32_t k = 0; k < disk->count / 10; k++) {
            bench_ledger_update(&stage.ledger, picks[k], 1 + k);
        }
        free(picks);
    }
    if (score != stage.ledger.scores[0]) bench_die("%s: %s has score %lu", name, key, score);
    bench_count_check(&stage, name, stage.count);
    disk_check(&stage, name);
    bench_result(system->name, name, 1, ms, "ms");
    parts_report(system, name);
    if (is_changed) {
        bench_result(system->name, "reopen_killed_peak", 1, (double)peak, "bytes");
        (void)kill(getpid(), SIGKILL);
    }
    bench_result(system->name, "reopen_peak", 1, (double)peak, "bytes");
    bench_result(system->name, "reopen_resident", 1, (double)resident, "bytes");
    disk_close(&stage);
}
