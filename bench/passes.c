/* bench/passes.c - the phases that need a load of their own: tail, getwriter, growth, memory.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/common/measure.h"
#include "bench/phases.h"

#define PAUSE_NS 1000000u
#define ENTRIES_COPIED_MAX 1000u
#define PART_MAX 16u

enum { SEED_TAIL_UPDATE = 101, SEED_READER, SEED_WRITER };

/* ---- tail: one insert while the table grows, one update ---- */

void bench_load_timed(bench_stage *stage) {
    const bench_system *system = stage->system;
    bench_latency latency;
    bench_record record;
    bench_latency_init(&latency, stage->count);
    bench_stage_open(stage);
    for (uint32_t k = 0; k < stage->count; k++) {
        bench_record_make(&record, stage->order[k], 0, stage->count);
        uint64_t start_ns = bench_now_ns();
        bench_answer answer = system->insert(stage->thread, &record);
        bench_latency_add(&latency, bench_now_ns() - start_ns);
        if (answer == BENCH_NO) bench_die("%s: %s was refused", system->name, record.key);
    }
    bench_count_check(stage, "tail_insert", stage->count);
    bench_latency_report(&latency, system->name, "tail_insert", 1);
    bench_latency_fini(&latency);
    if (system->settle != NULL) system->settle();
}

void bench_tail(bench_stage *stage) {
    const bench_system *system = stage->system;
    size_t op_count = bench_op_count(stage, 1000000);
    uint32_t *picks = bench_picks_make(op_count, stage->count, SEED_TAIL_UPDATE);
    bench_latency latency;
    bench_record record;
    bench_latency_init(&latency, op_count);
    bench_load_timed(stage);
    for (size_t k = 0; k < op_count; k++) {
        bench_record_make(&record, picks[k], stage->version_next + k, stage->count);
        uint64_t start_ns = bench_now_ns();
        system->update(stage->thread, &record);
        bench_latency_add(&latency, bench_now_ns() - start_ns);
    }
    for (size_t k = 0; k < op_count; k++) {
        bench_ledger_update(&stage->ledger, picks[k], stage->version_next + k);
    }
    stage->version_next += op_count;
    bench_count_check(stage, "tail_update", stage->count);
    bench_queries_check(stage, "tail_update");
    bench_latency_report(&latency, system->name, "tail_update", 1);
    bench_latency_fini(&latency);
    free(picks);
}

/* ---- getwriter: one get beside a writer ---- */

typedef struct writer {
    const bench_stage *stage;
    uint32_t *picks;
    size_t pick_count;
    unsigned is_stopped; /* atomic; set by the reader when it is done */
    uint64_t done;       /* atomic; updates so far */
} writer;

static void *writer_main(void *context) {
    writer *self = context;
    const bench_system *system = self->stage->system;
    void *thread = system->thread_begin();
    bench_record record;
    uint64_t version = self->stage->version_next;
    for (uint64_t k = 0; !__atomic_load_n(&self->is_stopped, __ATOMIC_RELAXED); k++) {
        uint32_t i = self->picks[k % self->pick_count];
        bench_record_make(&record, i, version + k, self->stage->count);
        system->update(thread, &record);
        __atomic_store_n(&self->done, k + 1, __ATOMIC_RELAXED);
    }
    system->thread_end(thread);
    return NULL;
}

static void gets_time(const bench_stage *stage, const uint32_t *picks, size_t pick_count,
                      bench_latency *latency) {
    for (size_t k = 0; k < pick_count; k++) {
        char key[BENCH_KEY_SIZE + 1];
        uint64_t score = UINT64_MAX;
        bench_key_write(key, picks[k]);
        uint64_t start_ns = bench_now_ns();
        bench_answer answer = stage->system->get(stage->thread, key, &score);
        bench_latency_add(latency, bench_now_ns() - start_ns);
        if (answer == BENCH_NO || score >= stage->count) {
            bench_die("%s: getwriter: %s was not found whole", stage->system->name, key);
        }
    }
}

void bench_get_beside_writer(bench_stage *stage) {
    size_t get_count = bench_op_count(stage, 1000000);
    uint32_t *picks = bench_picks_make(get_count, stage->count, SEED_READER);
    writer other = {.stage = stage, .pick_count = get_count};
    bench_latency latency;
    pthread_t thread;
    other.picks = bench_picks_make(get_count, stage->count, SEED_WRITER);
    bench_latency_init(&latency, get_count);
    if (pthread_create(&thread, NULL, writer_main, &other) != 0) bench_die("cannot start a thread");
    while (__atomic_load_n(&other.done, __ATOMIC_RELAXED) == 0) {
    }
    uint64_t written = __atomic_load_n(&other.done, __ATOMIC_RELAXED);
    uint64_t start_ns = bench_now_ns();
    gets_time(stage, picks, get_count, &latency);
    double seconds = (double)(bench_now_ns() - start_ns) / 1e9;
    written = __atomic_load_n(&other.done, __ATOMIC_RELAXED) - written;
    __atomic_store_n(&other.is_stopped, 1, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    for (uint64_t k = 0; k < other.done; k++) {
        bench_ledger_update(&stage->ledger, other.picks[k % get_count], stage->version_next + k);
    }
    stage->version_next += other.done;
    bench_count_check(stage, "getwriter", stage->count);
    bench_queries_check(stage, "getwriter");
    bench_latency_report(&latency, stage->system->name, "getwriter", 2);
    bench_result(stage->system->name, "getwriter_writes", 2, (double)written / seconds, "ops/s");
    bench_latency_fini(&latency);
    free(other.picks);
    free(picks);
}

/* ---- growth: pauses of inserts, against those of a thread that only looks at the clock ---- */

typedef struct pauses {
    uint64_t count;
    uint64_t longest_ns;
} pauses;

typedef struct spinner {
    unsigned is_stopped; /* atomic */
    unsigned is_running; /* atomic */
    pauses seen;
} spinner;

static inline uint64_t pause_note(pauses *seen, uint64_t before_ns) {
    uint64_t now_ns = bench_now_ns();
    uint64_t pause_ns = now_ns - before_ns;
    if (pause_ns > seen->longest_ns) seen->longest_ns = pause_ns;
    seen->count += pause_ns > PAUSE_NS;
    return now_ns;
}

static void *spinner_main(void *context) {
    spinner *self = context;
    uint64_t before_ns = bench_now_ns();
    __atomic_store_n(&self->is_running, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&self->is_stopped, __ATOMIC_RELAXED)) {
        before_ns = pause_note(&self->seen, before_ns);
    }
    return NULL;
}

/* From the end of one insert to the end of the next, so that no moment is left out. */
static void inserts_watch(bench_stage *stage, pauses *out_seen) {
    bench_record record;
    uint64_t before_ns = bench_now_ns();
    for (uint32_t k = 0; k < stage->count; k++) {
        bench_record_make(&record, stage->order[k], 0, stage->count);
        if (stage->system->insert(stage->thread, &record) == BENCH_NO) {
            bench_die("%s: growth: %s was refused", stage->system->name, record.key);
        }
        before_ns = pause_note(out_seen, before_ns);
    }
}

static void copied_report(const bench_stage *stage) {
    if (stage->system->entries_copied_max == NULL) return;
    uint64_t copied = stage->system->entries_copied_max();
    bench_result(stage->system->name, "growth_entries_copied_max", 1, (double)copied, "entries");
    if (copied > ENTRIES_COPIED_MAX) {
        bench_die("%s: growth: one insert copied %lu table entries, %u are allowed",
                  stage->system->name, copied, ENTRIES_COPIED_MAX);
    }
}

void bench_growth(bench_stage *stage) {
    const char *name = stage->system->name;
    spinner beside = {0};
    pauses inserts = {0};
    pthread_t thread;
    bench_stage_open(stage);
    if (pthread_create(&thread, NULL, spinner_main, &beside) != 0)
        bench_die("cannot start a thread");
    while (!__atomic_load_n(&beside.is_running, __ATOMIC_ACQUIRE)) {
    }
    inserts_watch(stage, &inserts);
    __atomic_store_n(&beside.is_stopped, 1, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    bench_count_check(stage, "growth", stage->count);
    bench_result(name, "growth_pauses_insert", 1, (double)inserts.count, "over_1ms");
    bench_result(name, "growth_pauses_spin", 1, (double)beside.seen.count, "over_1ms");
    bench_result(name, "growth_longest_insert", 1, (double)inserts.longest_ns, "ns");
    bench_result(name, "growth_longest_spin", 1, (double)beside.seen.longest_ns, "ns");
    copied_report(stage);
}

/* ---- memory ---- */

void bench_memory(bench_stage *stage) {
    bench_part parts[PART_MAX];
    char phase[64];
    uint64_t before = bench_resident_bytes();
    bench_load(stage, NULL);
    uint64_t after = bench_resident_bytes();
    double resident = (double)(after - before) / stage->count;
    double encoded = (double)stage->encoded_bytes / stage->count;
    snprintf(phase, sizeof phase, "memory_%u", stage->count);
    bench_result(stage->system->name, phase, stage->thread_count, resident - encoded, "bytes");
    if (stage->system->memory == NULL) return;
    size_t part_count = stage->system->memory(parts, PART_MAX);
    for (size_t i = 0; i < part_count; i++) {
        snprintf(phase, sizeof phase, "memory_%u_%s", stage->count, parts[i].name);
        double bytes = (double)parts[i].bytes / stage->count;
        bench_result(stage->system->name, phase, stage->thread_count, bytes, "bytes");
        if (strcmp(parts[i].name, "documents") != 0) continue;
        /* What a document has around its key and its bytes. */
        snprintf(phase, sizeof phase, "memory_%u_versions", stage->count);
        bench_result(stage->system->name, phase, stage->thread_count,
                     bytes - encoded - BENCH_KEY_SIZE, "bytes");
    }
}
