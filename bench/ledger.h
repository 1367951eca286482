/* bench/ledger.h - what must be in the store: the measure of every answer.
 *
 * What    score and guild of each record as they stand now, and from them what any query of the
 *         workload must touch. It never asks the system.
 * Owns    its arrays, until bench_ledger_fini.
 * Sees    changes count for queries after the next bench_ledger_sort.
 * Threads one at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef BENCH_LEDGER_H
#define BENCH_LEDGER_H

#include "bench/common/system.h"

#define BENCH_LEDGER_GONE UINT32_MAX

typedef struct bench_ledger {
    uint32_t count;
    uint32_t *scores; /* by record; BENCH_LEDGER_GONE: removed */
    uint32_t *guilds;
    unsigned is_sorted;
    /* Filled by bench_ledger_sort: how many scores lie below each number, the sums of the scores in
     * their order (and of the scores times their place in it), and each guild by language. */
    uint32_t *below;
    uint64_t *score_sums;
    uint64_t *order_sums;
    bench_sight *guild_langs;
} bench_ledger;

/* All records as inserted. */
void bench_ledger_init(bench_ledger *ledger, uint32_t count);
void bench_ledger_fini(bench_ledger *ledger);
void bench_ledger_update(bench_ledger *ledger, uint32_t i, uint64_t version);
void bench_ledger_remove(bench_ledger *ledger, uint32_t i);
void bench_ledger_sort(bench_ledger *ledger);

/* What a query must touch; order_sum is 0 where no order is asked for. */
bench_sight bench_ledger_range(const bench_ledger *ledger, uint64_t score_from, uint64_t score_to);
bench_sight bench_ledger_top(const bench_ledger *ledger, uint64_t score, size_t most);
bench_sight bench_ledger_tag(const bench_ledger *ledger, uint32_t guild);
bench_sight bench_ledger_tagand(const bench_ledger *ledger, uint32_t guild, uint32_t lang);

#endif
