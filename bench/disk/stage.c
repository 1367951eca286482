/* bench/disk/stage.c - opening, closing and checking a store on a disk; see disk.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "bench/common/measure.h"
#include "bench/disk/disk.h"

#define SAMPLE_COUNT 10000u
#define SEED_SAMPLE 301u

size_t disk_op_count(const disk_stage *disk, size_t for_a_million) {
    if (disk->count >= 1000000) return for_a_million;
    size_t scaled = (size_t)((double)for_a_million * disk->count / 1e6);
    return scaled < 200 ? 200 : scaled;
}

void disk_stage_make(const disk_stage *disk, uint32_t count, bench_stage *out_stage) {
    *out_stage = (bench_stage){.system = disk->system,
                               .background = disk->background,
                               .count = count,
                               .entries = disk->entries,
                               .thread_count = disk->thread_count};
    bench_stage_init(out_stage);
}

void *disk_store_open(const disk_stage *disk, uint32_t count, bench_durability durability) {
    bench_setup setup = {.count = count,
                         .entries = disk->entries,
                         .background = disk->background,
                         .directory = disk->directory[0] == 0 ? NULL : disk->directory,
                         .durability = durability};
    disk->system->open(&setup);
    return disk->system->thread_begin();
}

void disk_open(const disk_stage *disk, uint32_t count, bench_durability durability,
               bench_stage *out_stage) {
    disk_stage_make(disk, count, out_stage);
    out_stage->thread = disk_store_open(disk, count, durability);
}

void disk_close(bench_stage *stage) {
    stage->system->thread_end(stage->thread);
    stage->system->close();
    bench_ledger_fini(&stage->ledger);
    free(stage->order);
    stage->order = NULL;
}

static void sample_check(bench_stage *stage, const char *phase, uint32_t i) {
    const bench_system *system = stage->system;
    uint32_t wanted = stage->ledger.scores[i];
    uint64_t scores[2] = {BENCH_LEDGER_GONE, BENCH_LEDGER_GONE};
    char key[BENCH_KEY_SIZE + 1];
    char email[BENCH_EMAIL_SIZE + 1];
    bench_key_write(key, i);
    bench_email_write(email, i);
    if (system->get(stage->thread, key, &scores[0]) == BENCH_NO) scores[0] = BENCH_LEDGER_GONE;
    if (system->get_by_email(stage->thread, email, &scores[1]) == BENCH_NO) {
        scores[1] = BENCH_LEDGER_GONE;
    }
    if (scores[0] != wanted || scores[1] != wanted) {
        bench_die("%s: %s: %s has score %lu by key and %lu by email instead of %u", system->name,
                  phase, key, scores[0], scores[1], wanted);
    }
}

void disk_check(bench_stage *stage, const char *phase) {
    uint32_t *picks = bench_picks_make(SAMPLE_COUNT, stage->count, SEED_SAMPLE);
    if (stage->count <= SAMPLE_COUNT) {
        for (uint32_t i = 0; i < stage->count; i++) sample_check(stage, phase, i);
    } else {
        for (size_t s = 0; s < SAMPLE_COUNT; s++) sample_check(stage, phase, picks[s]);
    }
    free(picks);
    bench_queries_check(stage, phase);
}
