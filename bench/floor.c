/* bench/floor.c - the floors that are no table: what memory and the epoch themselves cost.
 *
 * What    ram chase: one load after another, each address from the load before (256 MiB, a cache
 *         line a step). ram chase16: sixteen such chains at once. epoch section: begin and end.
 *         epoch section_beside_writer: the same while another thread retires and polls every 64.
 * Owns    its memory until the process ends.
 * Threads ram: one. epoch section: as many as asked for, each with a record of its own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <ck_epoch.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "bench/common/measure.h"
#include "bench/phases.h"

#define LINE_COUNT (4u << 20)
#define STEP_COUNT 4000000u
#define CHAIN_COUNT 16u
#define SECTION_COUNT 20000000u
#define POLL_EVERY 64u

typedef struct line {
    struct line *next;
    uint64_t pad[7];
} line;

/* ---- memory ---- */

/* One cycle through all lines in random order. */
static line *ring_make(void) {
    line *lines = aligned_alloc(64, LINE_COUNT * sizeof *lines);
    uint32_t *order = bench_alloc(LINE_COUNT * sizeof *order);
    if (lines == NULL) bench_die("no memory");
    for (uint32_t i = 0; i < LINE_COUNT; i++) order[i] = i;
    for (uint32_t i = LINE_COUNT; i > 1; i--) {
        uint32_t other = bench_below(i, i);
        uint32_t kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
    for (uint32_t i = 0; i < LINE_COUNT; i++) {
        lines[order[i]].next = &lines[order[(i + 1) % LINE_COUNT]];
    }
    free(order);
    return lines;
}

static void ram_run(void) {
    line *lines = ring_make();
    line *at = lines;
    line *chains[CHAIN_COUNT];
    uint64_t start_ns = bench_now_ns();
    for (uint32_t i = 0; i < STEP_COUNT; i++) at = at->next;
    uint64_t one_ns = bench_now_ns() - start_ns;
    for (uint32_t c = 0; c < CHAIN_COUNT; c++) chains[c] = lines + LINE_COUNT / CHAIN_COUNT * c;
    start_ns = bench_now_ns();
    for (uint32_t i = 0; i < STEP_COUNT / 4; i++) {
        for (uint32_t c = 0; c < CHAIN_COUNT; c++) chains[c] = chains[c]->next;
    }
    uint64_t many_ns = bench_now_ns() - start_ns;
    /* What was walked must be seen to be used, or the compiler leaves it out. */
    for (uint32_t c = 0; c < CHAIN_COUNT; c++) at = at == NULL ? chains[c] : chains[c]->next;
    if (at == NULL) bench_die("the ring has an end");
    bench_result("ram", "chase", 1, (double)one_ns / STEP_COUNT, "ns");
    bench_result("ram", "chase16", 1, (double)many_ns / (STEP_COUNT / 4.0 * CHAIN_COUNT), "ns");
    free(lines);
}

/* ---- epoch ---- */

static ck_epoch_t epoch;
static unsigned is_writing;

static void *epoch_thread_begin(void) {
    ck_epoch_record_t *record = aligned_alloc(64, (sizeof *record + 63) / 64 * 64);
    if (record == NULL) bench_die("no memory");
    memset(record, 0, sizeof *record);
    ck_epoch_register(&epoch, record, NULL);
    return record;
}

static void epoch_thread_end(void *context) {
    ck_epoch_unregister(context);
}

static void work_section(crew_worker *worker) {
    ck_epoch_record_t *record = worker->thread;
    for (size_t k = worker->begin; k < worker->end; k++) {
        ck_epoch_begin(record, NULL);
        __asm__ volatile("" ::: "memory");
        ck_epoch_end(record, NULL);
    }
    worker->done = worker->end - worker->begin;
}

static void entry_free(ck_epoch_entry_t *entry) {
    free(entry);
}

static void *retire_main(void *context) {
    ck_epoch_record_t *record = epoch_thread_begin();
    (void)context;
    for (unsigned count = 1; __atomic_load_n(&is_writing, __ATOMIC_RELAXED); count++) {
        ck_epoch_entry_t *entry = malloc(sizeof *entry);
        if (entry == NULL) bench_die("no memory");
        ck_epoch_call(record, entry, entry_free);
        if (count % POLL_EVERY == 0) ck_epoch_poll(record);
    }
    ck_epoch_barrier(record);
    ck_epoch_unregister(record);
    return NULL;
}

static void sections_time(const char *phase, unsigned thread_count, unsigned named_count) {
    static const bench_system system = {
        .name = "epoch", .thread_begin = epoch_thread_begin, .thread_end = epoch_thread_end};
    crew_job job = {
        .system = &system, .work = work_section, .op_count = (size_t)SECTION_COUNT * thread_count};
    crew_result result = crew_run(&job, thread_count);
    bench_result("epoch", phase, named_count, result.seconds * 1e9 / SECTION_COUNT, "ns");
}

static void epoch_run(unsigned thread_count) {
    pthread_t thread;
    ck_epoch_init(&epoch);
    sections_time("section", thread_count, thread_count);
    if (thread_count != 1) return;
    is_writing = 1;
    if (pthread_create(&thread, NULL, retire_main, NULL) != 0) bench_die("cannot start a thread");
    sections_time("section_beside_writer", 1, 2);
    __atomic_store_n(&is_writing, 0, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
}

unsigned bench_floor_run(const char *name, unsigned thread_count) {
    if (strcmp(name, "ram") == 0) {
        if (thread_count == 1) ram_run();
        return 1;
    }
    if (strcmp(name, "epoch") == 0) {
        epoch_run(thread_count);
        return 1;
    }
    return 0;
}
