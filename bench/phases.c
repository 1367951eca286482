/* bench/phases.c - the plain phases: throughput over one load.
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench/phases.h"

#include <stdlib.h>
#include <string.h>

#include "bench/common/measure.h"

#define BATCH 64u
#define TICK 1000u
#define SAMPLE_COUNT 10000u

/* Seeds, one a phase, so that no phase finds warm what another has just touched. */
enum {
    SEED_ORDER = 1,
    SEED_GET,
    SEED_MISS,
    SEED_MANY,
    SEED_UNIQUE,
    SEED_UPDATE,
    SEED_PATCH,
    SEED_TICK,
    SEED_MIXED,
    SEED_DUP,
    SEED_DELETE
};

/* ---- what the phases share ---- */

static void shuffle(uint32_t *numbers, uint32_t count, uint64_t seed) {
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = bench_below((seed << 40) + i, i);
        uint32_t kept = numbers[i - 1];
        numbers[i - 1] = numbers[other];
        numbers[other] = kept;
    }
}

static uint32_t *shuffled_make(uint32_t count, uint64_t seed) {
    uint32_t *numbers = bench_alloc(count * sizeof *numbers);
    for (uint32_t i = 0; i < count; i++) numbers[i] = i;
    shuffle(numbers, count, seed);
    return numbers;
}

uint32_t *bench_picks_make(size_t pick_count, uint32_t limit, uint64_t seed) {
    uint32_t *picks = bench_alloc(pick_count * sizeof *picks);
    for (size_t i = 0; i < pick_count; i++) picks[i] = bench_below((seed << 40) + i, limit);
    return picks;
}

uint32_t *bench_update_picks_make(const bench_stage *stage, size_t pick_count, uint64_t seed) {
    unsigned thread_count = stage->thread_count;
    uint32_t *picks = bench_picks_make(pick_count, stage->count, seed);
    for (unsigned t = 0; t < thread_count; t++) {
        size_t end = pick_count * (t + 1) / thread_count;
        for (size_t k = pick_count * t / thread_count; k < end; k++) {
            uint32_t mine = picks[k] - picks[k] % thread_count + t;
            picks[k] = mine < stage->count ? mine : t;
        }
    }
    return picks;
}

size_t bench_op_count(const bench_stage *stage, size_t for_a_million) {
    unsigned divisor = stage->system->op_divisor == 0 ? 1 : stage->system->op_divisor;
    size_t count = for_a_million / divisor;
    if (stage->count >= 1000000 || stage->is_full) return count;
    size_t scaled = (size_t)((double)count * stage->count / 1e6);
    return scaled < 1 ? 1 : scaled;
}

void bench_count_check(bench_stage *stage, const char *phase, uint64_t wanted) {
    uint64_t count = stage->system->count(stage->thread);
    if (count != wanted) {
        bench_die("%s: after %s there are %lu documents instead of %lu", stage->system->name, phase,
                  count, wanted);
    }
}

static void done_check(const bench_stage *stage, const char *phase, uint64_t done,
                       uint64_t wanted) {
    if (done != wanted) {
        bench_die("%s: %s: %lu operations went as they should instead of %lu", stage->system->name,
                  phase, done, wanted);
    }
}

/* Every document read was the right one, if the scores add up. */
static void scores_check(const bench_stage *stage, const char *phase, const uint32_t *picks,
                         size_t pick_count, uint64_t score_sum) {
    uint64_t wanted = 0;
    for (size_t i = 0; i < pick_count; i++) wanted += stage->ledger.scores[picks[i]];
    if (score_sum != wanted) {
        bench_die("%s: %s: the scores read add up to %lu instead of %lu", stage->system->name,
                  phase, score_sum, wanted);
    }
}

static crew_job job_of(const bench_stage *stage, void (*work)(crew_worker *), size_t op_count,
                       const uint32_t *picks) {
    crew_job job = {.system = stage->system,
                    .work = work,
                    .op_count = op_count,
                    .picks = picks,
                    .record_count = stage->count,
                    .version = stage->version_next};
    return job;
}

static void rate_report(const bench_stage *stage, const char *phase, size_t op_count,
                        double seconds, const char *unit) {
    bench_result(stage->system->name, phase, stage->thread_count, (double)op_count / seconds, unit);
}

void bench_stage_init(bench_stage *stage) {
    stage->order = shuffled_make(stage->count, SEED_ORDER);
    stage->version_next = 1;
    bench_ledger_init(&stage->ledger, stage->count);
}

void bench_stage_open(bench_stage *stage) {
    bench_setup setup = {
        .count = stage->count, .entries = stage->entries, .background = stage->background};
    stage->system->open(&setup);
    stage->thread = stage->system->thread_begin();
}

/* ---- insert ---- */

static void work_insert(crew_worker *worker) {
    const crew_job *job = worker->job;
    bench_record record;
    for (size_t k = worker->begin; k < worker->end; k++) {
        bench_record_make(&record, job->picks[k], 0, job->record_count);
        worker->done += job->system->insert(worker->thread, &record) == BENCH_YES;
        worker->score_sum += record.size;
    }
}

void bench_load(bench_stage *stage, const char *phase) {
    const bench_system *system = stage->system;
    unsigned thread_count = stage->thread_count;
    if (thread_count > system->writer_max) thread_count = system->writer_max;
    bench_stage_open(stage);
    crew_job job = job_of(stage, work_insert, stage->count, stage->order);
    crew_result result = crew_run(&job, thread_count);
    done_check(stage, "insert", result.done, stage->count);
    bench_count_check(stage, "insert", stage->count);
    stage->encoded_bytes = result.score_sum;
    if (phase != NULL && thread_count == stage->thread_count) {
        rate_report(stage, phase, stage->count, result.seconds, "docs/s");
    }
    if (system->settle != NULL) system->settle();
}

/* ---- reading ---- */

static void work_get(crew_worker *worker) {
    const crew_job *job = worker->job;
    char key[BENCH_KEY_SIZE + 1];
    for (size_t k = worker->begin; k < worker->end; k++) {
        uint64_t score = 0;
        bench_key_write(key, job->picks[k]);
        worker->done += job->system->get(worker->thread, key, &score) == BENCH_YES;
        worker->score_sum += score;
    }
}

static void work_get_miss(crew_worker *worker) {
    const crew_job *job = worker->job;
    char key[BENCH_KEY_SIZE + 1];
    for (size_t k = worker->begin; k < worker->end; k++) {
        uint64_t score = 0;
        bench_absent_key_write(key, job->picks[k]);
        worker->done += job->system->get(worker->thread, key, &score) == BENCH_NO;
    }
}

static void work_get_many(crew_worker *worker) {
    const crew_job *job = worker->job;
    char keys[BATCH][BENCH_KEY_SIZE + 1];
    for (size_t k = worker->begin; k < worker->end; k += BATCH) {
        size_t size = worker->end - k < BATCH ? worker->end - k : BATCH;
        for (size_t i = 0; i < size; i++) bench_key_write(keys[i], job->picks[k + i]);
        worker->done += job->system->get_many(
            worker->thread, (const char(*)[BENCH_KEY_SIZE + 1]) keys, size, &worker->score_sum);
    }
}

static void work_unique(crew_worker *worker) {
    const crew_job *job = worker->job;
    char email[BENCH_EMAIL_SIZE + 1];
    for (size_t k = worker->begin; k < worker->end; k++) {
        uint64_t score = 0;
        bench_email_write(email, job->picks[k]);
        worker->done += job->system->get_by_email(worker->thread, email, &score) == BENCH_YES;
        worker->score_sum += score;
    }
}

/* One reading phase: prepare the picks, let the crew go, check, report. */
static void read_run(bench_stage *stage, const char *phase, void (*work)(crew_worker *),
                     size_t for_a_million, uint64_t seed) {
    size_t op_count = bench_op_count(stage, for_a_million);
    uint32_t *picks = bench_picks_make(op_count, stage->count, seed);
    crew_job job = job_of(stage, work, op_count, picks);
    crew_result result = crew_run(&job, stage->thread_count);
    done_check(stage, phase, result.done, op_count);
    if (work != work_get_miss) scores_check(stage, phase, picks, op_count, result.score_sum);
    rate_report(stage, phase, op_count, result.seconds, "ops/s");
    free(picks);
}

static void run_get(bench_stage *stage) {
    read_run(stage, "get", work_get, 2000000, SEED_GET);
}
static void run_get_miss(bench_stage *stage) {
    read_run(stage, "get_miss", work_get_miss, 1000000, SEED_MISS);
}
static void run_get_many(bench_stage *stage) {
    read_run(stage, "get_many", work_get_many, 2000000, SEED_MANY);
}
static void run_unique(bench_stage *stage) {
    read_run(stage, "unique", work_unique, 1000000, SEED_UNIQUE);
}

/* ---- writing ---- */

static void work_update(crew_worker *worker) {
    const crew_job *job = worker->job;
    bench_record record;
    for (size_t k = worker->begin; k < worker->end; k++) {
        bench_record_make(&record, job->picks[k], job->version + k, job->record_count);
        job->system->update(worker->thread, &record);
        worker->done++;
    }
}

/* The ledger takes in what was written; the store must then have the same: by key, and in every
 * index. */
static void updates_check(bench_stage *stage, const char *phase, const uint32_t *picks,
                          size_t op_count) {
    for (size_t s = 0; s < SAMPLE_COUNT && s < op_count; s++) {
        char key[BENCH_KEY_SIZE + 1];
        uint64_t score = 0;
        bench_key_write(key, picks[s]);
        if (stage->system->get(stage->thread, key, &score) == BENCH_NO)
            bench_die("%s is gone", key);
        if (score != stage->ledger.scores[picks[s]]) {
            bench_die("%s: %s: %s has score %lu instead of %u", stage->system->name, phase, key,
                      score, stage->ledger.scores[picks[s]]);
        }
    }
    bench_queries_check(stage, phase);
}

static void run_update(bench_stage *stage) {
    size_t op_count = bench_op_count(stage, 1000000);
    uint32_t *picks = bench_update_picks_make(stage, op_count, SEED_UPDATE);
    crew_job job = job_of(stage, work_update, op_count, picks);
    stage->version_next += op_count;
    if (stage->gold_sum != 0) stage->gold_sum = UINT64_MAX;
    crew_result result = crew_run(&job, stage->thread_count);
    done_check(stage, "update", result.done, op_count);
    bench_count_check(stage, "update", stage->count);
    for (size_t k = 0; k < op_count; k++) {
        bench_ledger_update(&stage->ledger, picks[k], job.version + k);
    }
    updates_check(stage, "update", picks, op_count);
    rate_report(stage, "update", op_count, result.seconds, "ops/s");
    free(picks);
}

static void work_patch(crew_worker *worker) {
    const crew_job *job = worker->job;
    char key[BENCH_KEY_SIZE + 1];
    for (size_t k = worker->begin; k < worker->end; k++) {
        bench_key_write(key, job->picks[k]);
        job->system->patch(worker->thread, key);
        worker->done++;
    }
}

static void work_tick(crew_worker *worker) {
    const crew_job *job = worker->job;
    static _Thread_local char keys[TICK][BENCH_KEY_SIZE + 1];
    for (size_t k = worker->begin; k < worker->end; k += TICK) {
        size_t size = worker->end - k < TICK ? worker->end - k : TICK;
        for (size_t i = 0; i < size; i++) bench_key_write(keys[i], job->picks[k + i]);
        job->system->patch_many(worker->thread, (const char(*)[BENCH_KEY_SIZE + 1]) keys, size);
        worker->done += size;
    }
}

static uint64_t gold_sum_read(const bench_stage *stage) {
    uint64_t sum = 0;
    char key[BENCH_KEY_SIZE + 1];
    for (uint32_t i = 0; i < stage->count; i++) {
        bench_key_write(key, i);
        sum += stage->system->gold(stage->thread, key);
    }
    return sum;
}

/* No increment may be lost and none done twice: the gold of all documents is added up after. */
static void patch_run(bench_stage *stage, const char *phase, void (*work)(crew_worker *),
                      uint64_t seed, const char *unit) {
    size_t op_count = bench_op_count(stage, 1000000);
    uint32_t *picks = bench_picks_make(op_count, stage->count, seed);
    crew_job job = job_of(stage, work, op_count, picks);
    if (stage->gold_sum == UINT64_MAX) stage->gold_sum = gold_sum_read(stage);
    crew_result result = crew_run(&job, stage->thread_count);
    done_check(stage, phase, result.done, op_count);
    stage->gold_sum += op_count;
    uint64_t sum = gold_sum_read(stage);
    if (sum != stage->gold_sum) {
        bench_die("%s: %s: all gold is %lu instead of %lu", stage->system->name, phase, sum,
                  stage->gold_sum);
    }
    rate_report(stage, phase, op_count, result.seconds, unit);
    free(picks);
}

static void run_patch(bench_stage *stage) {
    patch_run(stage, "patch", work_patch, SEED_PATCH, "ops/s");
}
static void run_tick(bench_stage *stage) {
    patch_run(stage, "tick", work_tick, SEED_TICK, "patches/s");
}

static inline unsigned is_mixed_update(uint64_t version) {
    return bench_below(version, 20) == 0;
}

static void work_mixed95(crew_worker *worker) {
    const crew_job *job = worker->job;
    bench_record record;
    char key[BENCH_KEY_SIZE + 1];
    for (size_t k = worker->begin; k < worker->end; k++) {
        uint64_t score = 0;
        if (is_mixed_update(job->version + k)) {
            bench_record_make(&record, job->picks[k], job->version + k, job->record_count);
            job->system->update(worker->thread, &record);
            worker->done++;
            continue;
        }
        bench_key_write(key, job->picks[k]);
        worker->done +=
            job->system->get(worker->thread, key, &score) == BENCH_YES && score < job->record_count;
    }
}

static void run_mixed95(bench_stage *stage) {
    size_t op_count = bench_op_count(stage, 2000000);
    uint32_t *picks = bench_update_picks_make(stage, op_count, SEED_MIXED);
    crew_job job = job_of(stage, work_mixed95, op_count, picks);
    stage->version_next += op_count;
    if (stage->gold_sum != 0) stage->gold_sum = UINT64_MAX;
    crew_result result = crew_run(&job, stage->thread_count);
    done_check(stage, "mixed95", result.done, op_count);
    bench_count_check(stage, "mixed95", stage->count);
    for (size_t k = 0; k < op_count; k++) {
        uint64_t version = job.version + k;
        if (is_mixed_update(version)) bench_ledger_update(&stage->ledger, picks[k], version);
    }
    updates_check(stage, "mixed95", picks, op_count);
    rate_report(stage, "mixed95", op_count, result.seconds, "ops/s");
    free(picks);
}

static void work_dup(crew_worker *worker) {
    const crew_job *job = worker->job;
    bench_record record;
    for (size_t k = worker->begin; k < worker->end; k++) {
        bench_record_make_taken(&record, job->record_count + (uint32_t)k, job->picks[k],
                                job->record_count);
        worker->done += job->system->insert(worker->thread, &record) == BENCH_NO;
    }
}

static void run_dup(bench_stage *stage) {
    size_t op_count = bench_op_count(stage, 200000);
    uint32_t *picks = bench_picks_make(op_count, stage->count, SEED_DUP);
    crew_job job = job_of(stage, work_dup, op_count, picks);
    crew_result result = crew_run(&job, stage->thread_count);
    done_check(stage, "dup", result.done, op_count);
    bench_count_check(stage, "dup", stage->count);
    rate_report(stage, "dup", op_count, result.seconds, "ops/s");
    free(picks);
}

static void work_delete(crew_worker *worker) {
    const crew_job *job = worker->job;
    char key[BENCH_KEY_SIZE + 1];
    for (size_t k = worker->begin; k < worker->end; k++) {
        bench_key_write(key, job->picks[k]);
        worker->done += job->system->remove(worker->thread, key) == BENCH_YES;
    }
}

/* What was removed is found neither by key nor by email; what was not is found by both. */
static void removed_check(bench_stage *stage, uint32_t removed_count) {
    const bench_system *system = stage->system;
    for (uint32_t s = 0; s < SAMPLE_COUNT; s++) {
        char key[BENCH_KEY_SIZE + 1];
        char email[BENCH_EMAIL_SIZE + 1];
        uint64_t score;
        uint32_t i = bench_below(((uint64_t)SEED_DELETE << 40) + s, stage->count);
        bench_answer wanted = i < removed_count ? BENCH_NO : BENCH_YES;
        bench_key_write(key, i);
        bench_email_write(email, i);
        if (system->get(stage->thread, key, &score) != wanted ||
            system->get_by_email(stage->thread, email, &score) != wanted) {
            bench_die("%s: delete: %s is %s", system->name, key,
                      wanted == BENCH_NO ? "still there" : "gone");
        }
    }
}

/* Half of all, or the part of it that the system does. */
static void run_delete(bench_stage *stage) {
    unsigned divisor = stage->system->op_divisor == 0 ? 1 : stage->system->op_divisor;
    uint32_t op_count = stage->count / 2 / divisor;
    uint32_t *picks = shuffled_make(op_count, SEED_DELETE);
    crew_job job = job_of(stage, work_delete, op_count, picks);
    crew_result result = crew_run(&job, stage->thread_count);
    done_check(stage, "delete", result.done, op_count);
    bench_count_check(stage, "delete", stage->count - op_count);
    removed_check(stage, op_count);
    for (uint32_t i = 0; i < op_count; i++) bench_ledger_remove(&stage->ledger, i);
    bench_queries_check(stage, "delete");
    rate_report(stage, "delete", op_count, result.seconds, "ops/s");
    free(picks);
}

/* ---- which system can do which ---- */

static unsigned can_read(const bench_stage *stage) {
    return stage->thread_count <= stage->system->reader_max && stage->system->get != NULL;
}
static unsigned can_range100(const bench_stage *stage) {
    return bench_query_can(stage, "range100");
}
static unsigned can_top100(const bench_stage *stage) {
    return bench_query_can(stage, "top100");
}
static unsigned can_tag100(const bench_stage *stage) {
    return bench_query_can(stage, "tag100");
}
static unsigned can_tagand(const bench_stage *stage) {
    return bench_query_can(stage, "tagand");
}
static void run_range100(bench_stage *stage) {
    bench_query_run(stage, "range100");
}
static void run_top100(bench_stage *stage) {
    bench_query_run(stage, "top100");
}
static void run_tag100(bench_stage *stage) {
    bench_query_run(stage, "tag100");
}
static void run_tagand(bench_stage *stage) {
    bench_query_run(stage, "tagand");
}
/* One thread reads, one writes: with two threads, and with no other number. */
static unsigned can_scanwrite(const bench_stage *stage) {
    return stage->thread_count == 2 && can_range100(stage) && stage->system->update != NULL;
}
static unsigned can_unique(const bench_stage *stage) {
    return can_read(stage) && stage->system->get_by_email != NULL;
}
static unsigned can_write(const bench_stage *stage) {
    return stage->thread_count <= stage->system->writer_max && stage->system->update != NULL;
}
static unsigned can_patch(const bench_stage *stage) {
    return can_write(stage) && stage->system->patch != NULL;
}
static unsigned can_dup(const bench_stage *stage) {
    return stage->thread_count <= stage->system->writer_max && stage->system->has_unique;
}
static unsigned can_delete(const bench_stage *stage) {
    return stage->thread_count <= stage->system->writer_max && stage->system->remove != NULL;
}

const bench_phase bench_phases[] = {
    {"get", can_read, run_get},
    {"get_miss", can_read, run_get_miss},
    {"get_many", can_read, run_get_many},
    {"unique", can_unique, run_unique},
    {"range100", can_range100, run_range100},
    {"top100", can_top100, run_top100},
    {"tag100", can_tag100, run_tag100},
    {"tagand", can_tagand, run_tagand},
    {"update", can_write, run_update},
    {"patch", can_patch, run_patch},
    {"tick", can_patch, run_tick},
    {"mixed95", can_write, run_mixed95},
    {"scanwrite", can_scanwrite, bench_scanwrite},
    {"dup", can_dup, run_dup},
    {"delete", can_delete, run_delete},
    {NULL, NULL, NULL},
};
