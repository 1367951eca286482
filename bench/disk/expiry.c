/* bench/disk/expiry.c - expiry: how late due documents are removed.
 *
 * What    all documents inserted with an hour to live and more, the longest first in no order; then
 *         a hundredth as many that fall due one after the other, over three seconds. Meanwhile
 *         another thread asks every tenth of a millisecond for how long the oldest one that is
 *         still there has been due: the worst of that is the figure, and how many of all answers
 *         were above 10 ms.
 * Sees    removals are commits like any other, with asynchronous durability. Nothing else is
 *         written while they happen.
 * Threads one that inserts, one that watches; the store's own removes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <time.h>

#include "bench/common/measure.h"
#include "bench/disk/disk.h"

#define HOUR_NS 3600000000000
#define DELAY_NS 1000000000 /* until the first falls due: time enough to insert them */
#define SPREAD_NS 3000000000
#define WAIT_NS 30000000000u
#define LATE_NS 10000000u

enum { SEED_TTL = 331 };

static void inserted_check(const disk_stage *disk, bench_answer answer,
                           const bench_record *record) {
    if (answer == BENCH_NO)
        bench_die("%s: expiry: %s was refused", disk->system->name, record->key);
}

static void pending_insert(const disk_stage *disk, bench_stage *stage) {
    bench_record record;
    for (uint32_t i = 0; i < disk->count; i++) {
        uint64_t more = bench_mix(((uint64_t)SEED_TTL << 40) + i) % HOUR_NS;
        bench_record_make(&record, i, 0, stage->count);
        inserted_check(
            disk, disk->system->disk->insert_for(stage->thread, &record, HOUR_NS + (int64_t)more),
            &record);
    }
}

/* The moment at which each of them is due is fixed, however long the inserts before it take. */
static void due_insert(const disk_stage *disk, bench_stage *stage) {
    uint32_t due_count = stage->count - disk->count;
    uint64_t start_ns = bench_now_ns();
    bench_record record;
    for (uint32_t k = 0; k < due_count; k++) {
        int64_t ttl_ns = DELAY_NS + (int64_t)(SPREAD_NS / due_count * k);
        ttl_ns -= (int64_t)(bench_now_ns() - start_ns);
        if (ttl_ns <= 0) bench_die("%s: expiry: inserts are too slow", disk->system->name);
        bench_record_make(&record, disk->count + k, 0, stage->count);
        inserted_check(disk, disk->system->disk->insert_for(stage->thread, &record, ttl_ns),
                       &record);
    }
}

/* Until all that fall due are gone. */
static void ends_watch(const disk_stage *disk, const bench_stage *stage) {
    const struct timespec moment = {0, 100000};
    const bench_system *system = disk->system;
    uint64_t until_ns = bench_now_ns() + WAIT_NS;
    uint64_t due_count = stage->count - disk->count;
    uint64_t ended = 0;
    uint64_t pending = 0;
    uint64_t lag_ns = 0;
    bench_latency lags;
    uint64_t late_count = 0;
    bench_latency_init(&lags, 400000);
    while (ended < due_count) {
        system->disk->expiry(&ended, &pending, &lag_ns);
        bench_latency_add(&lags, lag_ns);
        late_count += lag_ns > LATE_NS;
        if (bench_now_ns() > until_ns) {
            bench_die("%s: expiry: %lu of %lu have ended", system->name, ended, due_count);
        }
        (void)nanosleep(&moment, NULL);
    }
    if (ended != due_count || pending != disk->count) {
        bench_die("%s: expiry: %lu have ended and %lu are to, instead of %lu and %u", system->name,
                  ended, pending, due_count, disk->count);
    }
    bench_result(system->name, "expiry_lag_late", 1, (double)late_count, "over_10ms");
    bench_latency_report(&lags, system->name, "expiry_lag", 1);
    bench_latency_fini(&lags);
}

void disk_expiry(const disk_stage *disk) {
    bench_stage stage;
    uint32_t due_count = disk->count / 100;
    if (disk->background == BENCH_BACKGROUND_NONE) {
        bench_note("%s: expiry: nobody removes anything without threads", disk->system->name);
        return;
    }
    disk_open(disk, disk->count + due_count, BENCH_DURABLE_SOON, &stage);
    pending_insert(disk, &stage);
    if (disk->system->settle != NULL) disk->system->settle();
    due_insert(disk, &stage);
    ends_watch(disk, &stage);
    for (uint32_t k = 0; k < due_count; k++) bench_ledger_remove(&stage.ledger, disk->count + k);
    bench_count_check(&stage, "expiry", disk->count);
    disk_check(&stage, "expiry");
    disk_close(&stage);
}
