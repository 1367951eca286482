/* bench/disk/commits.c - async, sync, sync64: what a commit costs that is to survive.
 *
 * What    async: a quarter of the documents inserted with asynchronous durability, until the last
 *         one is on stable storage; async_memory: the same without files. sync: 2,000 inserts, each
 *         on stable storage before the next begins, each timed. sync64: 200,000 inserts and at
 *         least so many seconds as were asked for; by one loop that has 64 of them on the way
 *         (which waits for the oldest by a call; sync64_poll: by a descriptor), and by 64 threads
 *         that wait for theirs.
 * Sees    afterwards the store is closed and opened again, and must have every document.
 * Threads as each phase says.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/common/measure.h"
#include "bench/disk/disk.h"

#define OUTSTANDING 64u
#define SYNC_COUNT 2000u
#define SYNC64_COUNT 200000u
#define POLL_MS 1000
/* So many times as many documents at most, should the disk be faster than thought. */
#define ROOM_FACTOR 20u

/* ---- what these phases share ---- */

/* The documents below `present` must be there after another opening, and no others. */
static void reopened_check(const disk_stage *disk, bench_stage *stage, const char *phase,
                           uint32_t present) {
    uint32_t count = stage->count;
    disk_close(stage);
    disk_open(disk, count, BENCH_DURABLE_SOON, stage);
    for (uint32_t i = present; i < count; i++) bench_ledger_remove(&stage->ledger, i);
    bench_count_check(stage, phase, present);
    disk_check(stage, phase);
    disk_close(stage);
}

static void log_bytes_report(const bench_stage *stage, const char *phase, uint64_t count) {
    const bench_disk *files = stage->system->disk;
    if (files == NULL || files->log_bytes == NULL) return;
    bench_result(stage->system->name, phase, stage->thread_count,
                 (double)files->log_bytes() / (double)count, "bytes");
}

/* ---- async ---- */

static void work_insert(crew_worker *worker) {
    const crew_job *job = worker->job;
    bench_record record;
    for (size_t k = worker->begin; k < worker->end; k++) {
        bench_record_make(&record, job->picks[k], 0, job->record_count);
        worker->done += job->system->insert(worker->thread, &record) == BENCH_YES;
    }
}

/* Gives the seconds from the first insert until the last one is as safe as it is to be. */
static double inserts_time(bench_stage *stage, const char *phase) {
    const bench_disk *files = stage->system->disk;
    crew_job job = {.system = stage->system,
                    .work = work_insert,
                    .op_count = stage->count,
                    .picks = stage->order,
                    .record_count = stage->count};
    crew_result result = crew_run(&job, stage->thread_count);
    if (result.done != stage->count) {
        bench_die("%s: %s: %lu of %u inserts were accepted", stage->system->name, phase,
                  result.done, stage->count);
    }
    uint64_t start_ns = bench_now_ns();
    if (files != NULL && files->durable_wait != NULL) {
        files->durable_wait(stage->thread, files->place(stage->thread));
    }
    return result.seconds + (double)(bench_now_ns() - start_ns) / 1e9;
}

void disk_async_memory(const disk_stage *disk) {
    disk_stage memory = *disk;
    bench_stage stage;
    memory.directory[0] = 0;
    disk_open(&memory, disk->count / 4, BENCH_DURABLE_SOON, &stage);
    double seconds = inserts_time(&stage, "async_memory");
    bench_count_check(&stage, "async_memory", stage.count);
    bench_result(disk->system->name, "async_memory", disk->thread_count, stage.count / seconds,
                 "docs/s");
    disk_close(&stage);
}

void disk_async(const disk_stage *disk) {
    bench_stage stage;
    disk_open(disk, disk->count / 4, BENCH_DURABLE_SOON, &stage);
    double seconds = inserts_time(&stage, "async");
    log_bytes_report(&stage, "async_log_bytes", stage.count);
    reopened_check(disk, &stage, "async", stage.count);
    bench_result(disk->system->name, "async", disk->thread_count, stage.count / seconds, "docs/s");
}

/* ---- sync ---- */

void disk_sync(const disk_stage *disk) {
    const bench_system *system = disk->system;
    uint32_t count = (uint32_t)disk_op_count(disk, SYNC_COUNT);
    bench_latency latency;
    bench_stage stage;
    bench_record record;
    bench_latency_init(&latency, count);
    disk_open(disk, count, BENCH_DURABLE_FIRST, &stage);
    uint64_t start_ns = bench_now_ns();
    for (uint32_t i = 0; i < count; i++) {
        uint64_t before_ns = bench_now_ns();
        bench_record_make(&record, i, 0, count);
        if (system->insert(stage.thread, &record) == BENCH_NO) {
            bench_die("%s: sync: %s was refused", system->name, record.key);
        }
        bench_latency_add(&latency, bench_now_ns() - before_ns);
    }
    double seconds = (double)(bench_now_ns() - start_ns) / 1e9;
    log_bytes_report(&stage, "sync_log_bytes", count);
    reopened_check(disk, &stage, "sync", count);
    bench_result(system->name, "sync", 1, count / seconds, "docs/s");
    bench_latency_report(&latency, system->name, "sync", 1);
    bench_latency_fini(&latency);
}

/* ---- sync64 ---- */

/* How far it is: at least so many, and until so late. */
typedef struct goal {
    uint32_t least;
    uint32_t most;
    uint64_t until_ns;
    uint32_t next; /* atomic; the next record to insert */
} goal;

static goal goal_make(const disk_stage *disk) {
    uint32_t least = (uint32_t)disk_op_count(disk, SYNC64_COUNT);
    goal made = {.least = least, .most = least * ROOM_FACTOR};
    return made;
}

static void goal_begin(goal *self, const disk_stage *disk) {
    self->until_ns = bench_now_ns() + (uint64_t)(disk->seconds * 1e9);
}

static unsigned goal_is_reached(const goal *self, uint32_t begun) {
    return begun >= self->most || (begun >= self->least && bench_now_ns() >= self->until_ns);
}

static void sync64_report(const disk_stage *disk, bench_stage *stage, const char *phase,
                          uint32_t done, double seconds) {
    char bytes_phase[64];
    snprintf(bytes_phase, sizeof bytes_phase, "%s_log_bytes", phase);
    log_bytes_report(stage, bytes_phase, done);
    unsigned thread_count = stage->thread_count;
    reopened_check(disk, stage, phase, done);
    bench_result(disk->system->name, phase, thread_count, done / seconds, "docs/s");
}

static void wait_by_call(const bench_stage *stage, uint64_t place) {
    stage->system->disk->durable_wait(stage->thread, place);
}

/* As a loop would that has other descriptors too: it asks, and polls where there is nothing. */
static void wait_by_poll(const bench_stage *stage, uint64_t place) {
    const bench_disk *files = stage->system->disk;
    while (files->durable_place(stage->thread) < place) {
        struct pollfd wanted = {.fd = files->durable_descriptor(stage->thread), .events = POLLIN};
        uint64_t moves;
        if (poll(&wanted, 1, POLL_MS) < 0) bench_die("sync64: poll: %s", strerror(errno));
        if (wanted.revents != 0 && read(wanted.fd, &moves, sizeof moves) < 0 && errno != EAGAIN) {
            bench_die("sync64: read: %s", strerror(errno));
        }
    }
}

static void loop_run(const disk_stage *disk, const char *phase,
                     void (*wait)(const bench_stage *, uint64_t)) {
    const bench_disk *files = disk->system->disk;
    goal wanted = goal_make(disk);
    uint64_t places[OUTSTANDING] = {0};
    uint32_t done = 0;
    bench_stage stage;
    bench_record record;
    disk_open(disk, wanted.most, BENCH_DURABLE_SOON, &stage);
    goal_begin(&wanted, disk);
    uint64_t start_ns = bench_now_ns();
    for (; !goal_is_reached(&wanted, done); done++) {
        uint64_t *place = &places[done % OUTSTANDING];
        if (done >= OUTSTANDING) wait(&stage, *place);
        bench_record_make(&record, done, 0, wanted.most);
        *place = files->insert_later(stage.thread, &record);
        if (*place == 0) bench_die("%s: %s: %s was refused", disk->system->name, phase, record.key);
    }
    wait(&stage, places[(done - 1) % OUTSTANDING]);
    double seconds = (double)(bench_now_ns() - start_ns) / 1e9;
    sync64_report(disk, &stage, phase, done, seconds);
}

void disk_sync64_loop(const disk_stage *disk) {
    loop_run(disk, "sync64", wait_by_call);
}

void disk_sync64_poll(const disk_stage *disk) {
    if (disk->background == BENCH_BACKGROUND_NONE) {
        bench_note("%s: sync64_poll: nobody writes without threads", disk->system->name);
        return;
    }
    loop_run(disk, "sync64_poll", wait_by_poll);
}

static void work_sync64(crew_worker *worker) {
    const crew_job *job = worker->job;
    goal *wanted = job->context;
    bench_record record;
    for (;;) {
        if (goal_is_reached(wanted, __atomic_load_n(&wanted->next, __ATOMIC_RELAXED))) return;
        uint32_t i = __atomic_fetch_add(&wanted->next, 1, __ATOMIC_RELAXED);
        bench_record_make(&record, i, 0, job->record_count);
        worker->done += job->system->insert(worker->thread, &record) == BENCH_YES;
    }
}

void disk_sync64_threads(const disk_stage *disk) {
    goal wanted = goal_make(disk);
    bench_stage stage;
    /* Each of the threads may take one more than there were to be. */
    uint32_t count = wanted.most + OUTSTANDING;
    crew_job job = {.system = disk->system,
                    .work = work_sync64,
                    .op_count = OUTSTANDING,
                    .record_count = count,
                    .context = &wanted};
    disk_open(disk, count, BENCH_DURABLE_FIRST, &stage);
    goal_begin(&wanted, disk);
    crew_result result = crew_run(&job, OUTSTANDING);
    if (result.done != wanted.next) {
        bench_die("%s: sync64: %lu of %u inserts were accepted", disk->system->name, result.done,
                  wanted.next);
    }
    stage.thread_count = OUTSTANDING;
    sync64_report(disk, &stage, "sync64", wanted.next, result.seconds);
}
