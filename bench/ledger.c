/* bench/ledger.c - see ledger.h. SPDX-License-Identifier: Apache-2.0 */
#include "bench/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "bench/common/measure.h"

void bench_ledger_init(bench_ledger *ledger, uint32_t count) {
    size_t guild_langs = (size_t)bench_guild_count(count) * BENCH_LANG_COUNT;
    memset(ledger, 0, sizeof *ledger);
    ledger->count = count;
    ledger->scores = bench_alloc(count * sizeof *ledger->scores);
    ledger->guilds = bench_alloc(count * sizeof *ledger->guilds);
    ledger->below = bench_alloc(((size_t)count + 1) * sizeof *ledger->below);
    ledger->score_sums = bench_alloc(((size_t)count + 1) * sizeof *ledger->score_sums);
    ledger->order_sums = bench_alloc(((size_t)count + 1) * sizeof *ledger->order_sums);
    ledger->guild_langs = bench_alloc(guild_langs * sizeof *ledger->guild_langs);
    for (uint32_t i = 0; i < count; i++) bench_ledger_update(ledger, i, 0);
}

void bench_ledger_fini(bench_ledger *ledger) {
    free(ledger->scores);
    free(ledger->guilds);
    free(ledger->below);
    free(ledger->score_sums);
    free(ledger->order_sums);
    free(ledger->guild_langs);
    memset(ledger, 0, sizeof *ledger);
}

void bench_ledger_update(bench_ledger *ledger, uint32_t i, uint64_t version) {
    ledger->scores[i] = (uint32_t)bench_score(i, version, ledger->count);
    ledger->guilds[i] = bench_guild(i, version, ledger->count);
    ledger->is_sorted = 0;
}

void bench_ledger_remove(bench_ledger *ledger, uint32_t i) {
    ledger->scores[i] = BENCH_LEDGER_GONE;
    ledger->is_sorted = 0;
}

static void scores_sort(bench_ledger *ledger) {
    uint32_t count = ledger->count;
    uint32_t place = 0;
    memset(ledger->below, 0, ((size_t)count + 1) * sizeof *ledger->below);
    for (uint32_t i = 0; i < count; i++) {
        if (ledger->scores[i] != BENCH_LEDGER_GONE) ledger->below[ledger->scores[i] + 1]++;
    }
    /* A score is below count, so all of them can be counted by value. */
    for (uint32_t score = 0; score < count; score++) {
        uint32_t same = ledger->below[score + 1];
        for (; same > 0; same--, place++) {
            ledger->score_sums[place + 1] = ledger->score_sums[place] + score;
            ledger->order_sums[place + 1] =
                ledger->order_sums[place] + (uint64_t)score * ((uint64_t)place + 1);
        }
        ledger->below[score + 1] = place;
    }
}

void bench_ledger_sort(bench_ledger *ledger) {
    if (ledger->is_sorted) return;
    size_t guild_langs = (size_t)bench_guild_count(ledger->count) * BENCH_LANG_COUNT;
    scores_sort(ledger);
    memset(ledger->guild_langs, 0, guild_langs * sizeof *ledger->guild_langs);
    for (uint32_t i = 0; i < ledger->count; i++) {
        if (ledger->scores[i] == BENCH_LEDGER_GONE) continue;
        size_t at = (size_t)ledger->guilds[i] * BENCH_LANG_COUNT + bench_lang(i);
        ledger->guild_langs[at].count++;
        ledger->guild_langs[at].score_sum += ledger->scores[i];
    }
    ledger->is_sorted = 1;
}

/* How many documents have a lower score. */
static uint32_t places_below(const bench_ledger *ledger, uint64_t score) {
    return ledger->below[score < ledger->count ? score : ledger->count];
}

bench_sight bench_ledger_range(const bench_ledger *ledger, uint64_t score_from, uint64_t score_to) {
    uint32_t begin = places_below(ledger, score_from);
    uint32_t end = places_below(ledger, score_to);
    bench_sight sight = {.count = end - begin,
                         .score_sum = ledger->score_sums[end] - ledger->score_sums[begin]};
    /* The first of them has place 1 in the answer and begin + 1 in the whole. */
    sight.order_sum = ledger->order_sums[end] - ledger->order_sums[begin] - begin * sight.score_sum;
    return sight;
}

bench_sight bench_ledger_top(const bench_ledger *ledger, uint64_t score, size_t most) {
    uint32_t end = places_below(ledger, score + 1);
    uint32_t begin = end > most ? end - (uint32_t)most : 0;
    bench_sight sight = {.count = end - begin,
                         .score_sum = ledger->score_sums[end] - ledger->score_sums[begin]};
    /* The last of them has place 1 in the answer and `end` in the whole. */
    sight.order_sum = ((uint64_t)end + 1) * sight.score_sum -
                      (ledger->order_sums[end] - ledger->order_sums[begin]);
    return sight;
}

bench_sight bench_ledger_tag(const bench_ledger *ledger, uint32_t guild) {
    bench_sight sight = {0};
    for (uint32_t lang = 0; lang < BENCH_LANG_COUNT; lang++) {
        bench_sight part = bench_ledger_tagand(ledger, guild, lang);
        sight.count += part.count;
        sight.score_sum += part.score_sum;
    }
    return sight;
}

bench_sight bench_ledger_tagand(const bench_ledger *ledger, uint32_t guild, uint32_t lang) {
    return ledger->guild_langs[(size_t)guild * BENCH_LANG_COUNT + lang];
}
