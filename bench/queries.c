/* bench/queries.c - the phases that find many documents at once, and scanwrite.
 *
 * Every single answer is compared with the ledger: how many documents, the sum of their scores, and
 * where an order is asked for the order. That happens after the clock has stopped.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "bench/common/measure.h"
#include "bench/phases.h"

#define RUN 100u
#define CHECK_COUNT 300u

enum { SEED_RANGE = 201, SEED_TOP, SEED_TAG, SEED_TAGAND, SEED_SCAN, SEED_SCAN_UPDATE, SEED_CHECK };

/* One kind of query: what is asked with a pick, and what must come. */
typedef struct query_kind {
    const char *phase;
    size_t for_a_million;
    uint64_t seed;
    unsigned is_ordered;
    unsigned (*can)(const bench_system *system);
    uint32_t (*limit)(uint32_t count); /* picks are below it */
    void (*ask)(const bench_system *system, void *thread, uint32_t pick, bench_sight *out_sight);
    bench_sight (*wanted)(const bench_ledger *ledger, uint32_t pick);
} query_kind;

/* ---- the four kinds ---- */

static unsigned range_can(const bench_system *system) {
    return system->range != NULL;
}
static uint32_t range_limit(uint32_t count) {
    return count - RUN + 1;
}
static void range_ask(const bench_system *system, void *thread, uint32_t pick, bench_sight *out) {
    system->range(thread, pick, (uint64_t)pick + RUN, out);
}
static bench_sight range_wanted(const bench_ledger *ledger, uint32_t pick) {
    return bench_ledger_range(ledger, pick, (uint64_t)pick + RUN);
}

static unsigned top_can(const bench_system *system) {
    return system->top != NULL;
}
static uint32_t top_limit(uint32_t count) {
    return count;
}
static void top_ask(const bench_system *system, void *thread, uint32_t pick, bench_sight *out) {
    system->top(thread, pick, RUN, out);
}
static bench_sight top_wanted(const bench_ledger *ledger, uint32_t pick) {
    return bench_ledger_top(ledger, pick, RUN);
}

static unsigned tag_can(const bench_system *system) {
    return system->tag != NULL;
}
static void tag_ask(const bench_system *system, void *thread, uint32_t pick, bench_sight *out) {
    char guild[BENCH_GUILD_SIZE + 1];
    bench_guild_write(guild, pick);
    system->tag(thread, guild, out);
}
static bench_sight tag_wanted(const bench_ledger *ledger, uint32_t pick) {
    return bench_ledger_tag(ledger, pick);
}

static unsigned tagand_can(const bench_system *system) {
    return system->tagand != NULL;
}
static uint32_t tagand_limit(uint32_t count) {
    return bench_guild_count(count) * BENCH_LANG_COUNT;
}
static void tagand_ask(const bench_system *system, void *thread, uint32_t pick, bench_sight *out) {
    char guild[BENCH_GUILD_SIZE + 1];
    bench_guild_write(guild, pick / BENCH_LANG_COUNT);
    system->tagand(thread, guild, pick % BENCH_LANG_COUNT, out);
}
static bench_sight tagand_wanted(const bench_ledger *ledger, uint32_t pick) {
    return bench_ledger_tagand(ledger, pick / BENCH_LANG_COUNT, pick % BENCH_LANG_COUNT);
}

static const query_kind kinds[] = {
    {"range100", 20000, SEED_RANGE, 1, range_can, range_limit, range_ask, range_wanted},
    {"top100", 20000, SEED_TOP, 1, top_can, top_limit, top_ask, top_wanted},
    {"tag100", 20000, SEED_TAG, 0, tag_can, bench_guild_count, tag_ask, tag_wanted},
    {"tagand", 2000, SEED_TAGAND, 0, tagand_can, tagand_limit, tagand_ask, tagand_wanted},
};
#define KIND_COUNT (sizeof kinds / sizeof *kinds)

/* ---- checking ---- */

static unsigned sights_equal(const query_kind *kind, bench_sight seen, bench_sight wanted) {
    return seen.count == wanted.count && seen.score_sum == wanted.score_sum &&
           (!kind->is_ordered || seen.order_sum == wanted.order_sum);
}

static void sight_check(const bench_stage *stage, const query_kind *kind, const char *phase,
                        uint32_t pick, bench_sight seen) {
    bench_sight wanted = kind->wanted(&stage->ledger, pick);
    if (sights_equal(kind, seen, wanted)) return;
    bench_die(
        "%s: %s: %s of %u touched %lu documents, scores %lu, in order %lu instead of %lu, %lu, %lu",
        stage->system->name, phase, kind->phase, pick, seen.count, seen.score_sum, seen.order_sum,
        wanted.count, wanted.score_sum, wanted.order_sum);
}

void bench_queries_check(bench_stage *stage, const char *phase) {
    if (stage->entries != BENCH_ENTRIES_ALL) return;
    bench_ledger_sort(&stage->ledger);
    for (size_t at = 0; at < KIND_COUNT; at++) {
        const query_kind *kind = &kinds[at];
        if (!kind->can(stage->system)) continue;
        uint32_t *picks =
            bench_picks_make(CHECK_COUNT, kind->limit(stage->count), SEED_CHECK + kind->seed);
        for (size_t k = 0; k < CHECK_COUNT; k++) {
            bench_sight seen = {0};
            kind->ask(stage->system, stage->thread, picks[k], &seen);
            sight_check(stage, kind, phase, picks[k], seen);
        }
        free(picks);
    }
}

/* ---- the phases ---- */

typedef struct query_job {
    const query_kind *kind;
    bench_sight *sights; /* one a query */
} query_job;

static void work_query(crew_worker *worker) {
    const crew_job *job = worker->job;
    const query_job *asked = job->context;
    for (size_t k = worker->begin; k < worker->end; k++) {
        bench_sight sight = {0};
        asked->kind->ask(job->system, worker->thread, job->picks[k], &sight);
        asked->sights[k] = sight;
        worker->done++;
    }
}

static void query_run(bench_stage *stage, const query_kind *kind) {
    size_t op_count = bench_op_count(stage, kind->for_a_million);
    uint32_t *picks = bench_picks_make(op_count, kind->limit(stage->count), kind->seed);
    query_job asked = {.kind = kind, .sights = bench_alloc(op_count * sizeof *asked.sights)};
    crew_job job = {.system = stage->system,
                    .work = work_query,
                    .op_count = op_count,
                    .picks = picks,
                    .record_count = stage->count,
                    .context = &asked};
    crew_result result = crew_run(&job, stage->thread_count);
    bench_ledger_sort(&stage->ledger);
    for (size_t k = 0; k < op_count; k++) {
        sight_check(stage, kind, kind->phase, picks[k], asked.sights[k]);
    }
    bench_result(stage->system->name, kind->phase, stage->thread_count,
                 (double)op_count / result.seconds, "queries/s");
    free(asked.sights);
    free(picks);
}

unsigned bench_query_can(const bench_stage *stage, const char *phase) {
    if (stage->entries != BENCH_ENTRIES_ALL) return 0;
    if (stage->thread_count > stage->system->reader_max) return 0;
    for (size_t at = 0; at < KIND_COUNT; at++) {
        if (strcmp(kinds[at].phase, phase) == 0) return kinds[at].can(stage->system);
    }
    return 0;
}

void bench_query_run(bench_stage *stage, const char *phase) {
    for (size_t at = 0; at < KIND_COUNT; at++) {
        if (strcmp(kinds[at].phase, phase) == 0) query_run(stage, &kinds[at]);
    }
}

/* ---- scanwrite: one scans, one updates, each also alone ---- */

typedef struct side {
    bench_stage *stage;
    const uint32_t *picks;
    size_t pick_count;
    uint64_t done; /* of this run */
    double seconds;
    unsigned is_running; /* atomic */
} side;

static unsigned sides_stopped; /* atomic */

static void *scan_main(void *context) {
    side *self = context;
    const bench_system *system = self->stage->system;
    void *thread = system->thread_begin();
    __atomic_store_n(&self->is_running, 1, __ATOMIC_RELEASE);
    uint64_t start_ns = bench_now_ns();
    uint64_t done = 0;
    for (; !__atomic_load_n(&sides_stopped, __ATOMIC_RELAXED); done++) {
        uint32_t from = self->picks[done % self->pick_count];
        bench_sight seen = {0};
        system->range(thread, from, (uint64_t)from + RUN, &seen);
        /* Others write meanwhile: how many there are is not known, but where they lie is. */
        if (seen.score_sum < seen.count * from ||
            seen.score_sum > seen.count * ((uint64_t)from + RUN - 1)) {
            bench_die("%s: scanwrite: %lu documents from score %u on have %lu together",
                      system->name, seen.count, from, seen.score_sum);
        }
    }
    self->seconds = (double)(bench_now_ns() - start_ns) / 1e9;
    self->done = done;
    system->thread_end(thread);
    return NULL;
}

static void *update_main(void *context) {
    side *self = context;
    const bench_system *system = self->stage->system;
    void *thread = system->thread_begin();
    uint64_t version = self->stage->version_next;
    bench_record record;
    __atomic_store_n(&self->is_running, 1, __ATOMIC_RELEASE);
    uint64_t start_ns = bench_now_ns();
    uint64_t done = 0;
    for (; !__atomic_load_n(&sides_stopped, __ATOMIC_RELAXED); done++) {
        uint32_t i = self->picks[done % self->pick_count];
        bench_record_make(&record, i, version + done, self->stage->count);
        system->update(thread, &record);
    }
    self->seconds = (double)(bench_now_ns() - start_ns) / 1e9;
    self->done = done;
    system->thread_end(thread);
    return NULL;
}

static void wait_seconds(double seconds) {
    uint64_t end_ns = bench_now_ns() + (uint64_t)(seconds * 1e9);
    while (bench_now_ns() < end_ns) {
        struct timespec step = {0, 1000000};
        nanosleep(&step, NULL);
    }
}

/* Either side may be NULL. What was written goes into the ledger. */
static void sides_run(bench_stage *stage, side *scan, side *update) {
    pthread_t threads[2];
    side *sides[2] = {scan, update};
    void *(*const mains[2])(void *) = {scan_main, update_main};
    __atomic_store_n(&sides_stopped, 0, __ATOMIC_RELAXED);
    for (unsigned s = 0; s < 2; s++) {
        if (sides[s] == NULL) continue;
        sides[s]->is_running = 0;
        if (pthread_create(&threads[s], NULL, mains[s], sides[s]) != 0)
            bench_die("cannot start a thread");
        while (!__atomic_load_n(&sides[s]->is_running, __ATOMIC_ACQUIRE)) {
        }
    }
    wait_seconds(stage->scan_seconds);
    __atomic_store_n(&sides_stopped, 1, __ATOMIC_RELAXED);
    for (unsigned s = 0; s < 2; s++) {
        if (sides[s] != NULL) pthread_join(threads[s], NULL);
    }
    if (update == NULL) return;
    for (uint64_t k = 0; k < update->done; k++) {
        bench_ledger_update(&stage->ledger, update->picks[k % update->pick_count],
                            stage->version_next + k);
    }
    stage->version_next += update->done;
}

static void side_report(const bench_stage *stage, const side *which, const char *phase,
                        const char *unit) {
    bench_result(stage->system->name, phase, 2, (double)which->done / which->seconds, unit);
}

void bench_scanwrite(bench_stage *stage) {
    size_t pick_count = bench_op_count(stage, 1000000);
    uint32_t *scans = bench_picks_make(pick_count, range_limit(stage->count), SEED_SCAN);
    uint32_t *updates = bench_picks_make(pick_count, stage->count, SEED_SCAN_UPDATE);
    side scan = {.stage = stage, .picks = scans, .pick_count = pick_count};
    side update = {.stage = stage, .picks = updates, .pick_count = pick_count};
    /* Updates set gold back; how much is left of it is read when it is needed. */
    if (stage->gold_sum != 0) stage->gold_sum = UINT64_MAX;
    sides_run(stage, &scan, NULL);
    side_report(stage, &scan, "scanwrite_range_alone", "queries/s");
    sides_run(stage, NULL, &update);
    side_report(stage, &update, "scanwrite_update_alone", "ops/s");
    sides_run(stage, &scan, &update);
    bench_count_check(stage, "scanwrite", stage->count);
    bench_queries_check(stage, "scanwrite");
    side_report(stage, &scan, "scanwrite_range", "queries/s");
    side_report(stage, &update, "scanwrite_update", "ops/s");
    free(scans);
    free(updates);
}
