/* bench/plant.c - see plant.h. SPDX-License-Identifier: Apache-2.0 */
#include "bench/plant.h"

#include <string.h>

#include "bench/common/measure.h"

#define WRONG_CALL 3u

static bench_system planted;
static bench_disk planted_disk;
static const bench_system *sound;
static unsigned call_count; /* atomic */

static unsigned is_wrong(void) {
    return __atomic_add_fetch(&call_count, 1, __ATOMIC_RELAXED) == WRONG_CALL;
}

static bench_answer insert_planted(void *thread, const bench_record *record) {
    return is_wrong() ? BENCH_YES : sound->insert(thread, record);
}
static bench_answer get_planted(void *thread, const char *key, uint64_t *out_score) {
    bench_answer answer = sound->get(thread, key, out_score);
    *out_score += is_wrong();
    return answer;
}
static uint64_t later_planted(void *thread, const bench_record *record) {
    if (!is_wrong()) return sound->disk->insert_later(thread, record);
    return sound->disk->place(thread);
}
static void update_planted(void *thread, const bench_record *record) {
    if (!is_wrong()) sound->update(thread, record);
}
static void patch_planted(void *thread, const char *key) {
    if (!is_wrong()) sound->patch(thread, key);
}
/* A document less. */
static void range_planted(void *thread, uint64_t score_from, uint64_t score_to,
                          bench_sight *out_sight) {
    sound->range(thread, score_from, score_to, out_sight);
    if (is_wrong()) out_sight->count--;
}
/* Two in the wrong order. */
static void top_planted(void *thread, uint64_t score, size_t most, bench_sight *out_sight) {
    sound->top(thread, score, most, out_sight);
    if (is_wrong()) out_sight->order_sum++;
}
/* A document twice. */
static void tag_planted(void *thread, const char *guild, bench_sight *out_sight) {
    sound->tag(thread, guild, out_sight);
    if (is_wrong()) bench_sight_score(out_sight, 0);
}
/* Another document instead of the right one. */
static void tagand_planted(void *thread, const char *guild, uint32_t lang, bench_sight *out_sight) {
    sound->tagand(thread, guild, lang, out_sight);
    if (is_wrong()) out_sight->score_sum++;
}

const bench_system *bench_plant(const bench_system *system, const char *fault) {
    sound = system;
    planted = *system;
    if (strcmp(fault, "insert") == 0) {
        planted.insert = insert_planted;
    } else if (strcmp(fault, "get") == 0) {
        planted.get = get_planted;
    } else if (strcmp(fault, "update") == 0) {
        planted.update = update_planted;
    } else if (strcmp(fault, "patch") == 0) {
        planted.patch = patch_planted;
    } else if (strcmp(fault, "later") == 0 && system->disk != NULL) {
        planted_disk = *system->disk;
        planted_disk.insert_later = later_planted;
        planted.disk = &planted_disk;
    } else if (strcmp(fault, "range") == 0) {
        planted.range = range_planted;
    } else if (strcmp(fault, "top") == 0) {
        planted.top = top_planted;
    } else if (strcmp(fault, "tag") == 0) {
        planted.tag = tag_planted;
    } else if (strcmp(fault, "tagand") == 0) {
        planted.tagand = tagand_planted;
    } else {
        bench_die("--plant: there is no fault %s", fault);
    }
    return &planted;
}
