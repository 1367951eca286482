/* tests/model/drain_test.c - credit and durability under the simulator, with a stand-in disk.
 *
 * Aim     Steps 0 and 7 of a write, in any order of events: a commit without credit is refused at
 *         once or waits, and never for ever; one that wants to be durable ends when it is; a disk
 *         that fails is told to everybody, and nobody hangs.
 * Method  Workers commit documents of random size through a ring of 64 KiB, some patient, some
 *         durable. The disk is a drain, with a worker of its own or without (then those who wait do
 *         its work); it takes a few entries at a time, reads each, and in some runs fails for good
 *         after some groups. A run in which all wait is a deadlock, which the simulator reports.
 * Blind   Real threads and their wakings: tests/unit/store/drain_test.c and tests/unit/log.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/crc32c.h"
#include "database/database.h"
#include "store/commit.h"
#include "tests/model/seed.h"
#include "tests/sim/sim.h"

enum { WORKER_COUNT = 4, COMMIT_COUNT = 30, RUN_COUNT = 400, RING_SIZE = 64 << 10 };

typedef struct world {
    sim *s;
    merle_db *db;
    merle_collection *players;
    mrl_drain drain;
    mrl_random random;
    uint64_t written;     /* by the disk, in order */
    uint32_t groups_left; /* before the disk fails; UINT32_MAX: never */
    uint32_t workers_left;
    uint32_t applied; /* commits that published */
    uint32_t refused, not_durable, durable;
    int is_busy; /* the disk is at work: only one at a time */
} world;

typedef struct worker {
    world *w;
    int number;
} worker;

/* ---- the disk ---- */

static void check_entry(world *w, uint64_t seq) {
    const mrl_entry *entry;
    uint64_t first;
    /* What is not written yet cannot have left. */
    assert_int_equal(mrl_log_read(w->db->log, seq, &entry, &first), MERLE_OK);
    assert_int_equal(entry->seq, seq);
    assert_int_equal(mrl_crc32c(0, entry->body, entry->body_size), entry->body_crc);
}

static merle_err write_group(void *context, mrl_member *member) {
    world *w = context;
    mrl_log *log = w->db->log;
    (void)member;
    assert_false(w->is_busy);
    w->is_busy = 1;
    uint64_t published = mrl_log_published_at(mrl_log_published(log));
    uint64_t end = w->written + 1 + mrl_random_below(&w->random, 4);
    for (; w->written < published && w->written < end; w->written++) {
        check_entry(w, w->written + 1);
        sim_point(w->s, "disk.writes");
    }
    w->is_busy = 0;
    if (w->groups_left != UINT32_MAX && w->groups_left-- == 0) return MERLE_SYSTEM;
    mrl_log_written(log, w->written);
    sim_point(w->s, "disk.syncs");
    mrl_log_durable(log, w->written);
    return MERLE_OK;
}

static void disk_worker(void *context) {
    world *w = context;
    mrl_log *log = w->db->log;
    mrl_event *work = mrl_log_work(log);
    for (;;) {
        uint32_t seen = mrl_event_count(work);
        int is_last = w->workers_left == 0;
        uint64_t before = w->written;
        merle_err err = write_group(w, NULL);
        if (err != MERLE_OK) {
            mrl_log_fail(log, err);
            return;
        }
        if (w->written > before) continue;
        if (is_last) return;
        (void)mrl_event_wait(work, seen, UINT64_MAX);
    }
}

/* ---- the workers ---- */

static merle_bytes make_doc(uint8_t *memory, uint32_t size) {
    static const uint8_t head[] = {0x81, 0xa1, 'b', 0xc5};
    memcpy(memory, head, sizeof head);
    memory[4] = (uint8_t)(size >> 8);
    memory[5] = (uint8_t)size;
    memset(memory + 6, 7, size);
    return merle_bytes_of(memory, 6 + size);
}

static void judge(world *w, merle_err err, uint64_t seq, int is_patient, int wants_durable) {
    w->applied += err == MERLE_OK || err == MERLE_NOT_DURABLE;
    w->refused += err == MERLE_BUSY;
    w->not_durable += err == MERLE_NOT_DURABLE;
    switch (err) {
    case MERLE_OK:
        if (!wants_durable) return;
        w->durable++;
        assert_true(mrl_log_durable_seq(w->db->log) >= seq);
        return;
    case MERLE_BUSY:
        assert_false(is_patient);
        return;
    case MERLE_NOT_DURABLE:
        assert_true(wants_durable);
        assert_true(mrl_log_durable_seq(w->db->log) < seq);
        assert_int_equal(mrl_log_failure(w->db->log), MERLE_SYSTEM);
        return;
    default:
        /* A patient commit may hear of the failure while it waits for credit. */
        if (err != MERLE_SYSTEM) assert_int_equal(err, MERLE_READ_ONLY);
        assert_int_equal(mrl_log_failure(w->db->log), MERLE_SYSTEM);
    }
}

static void commit_once(world *w, int number) {
    static uint8_t memory[WORKER_COUNT][20000];
    merle_commit *commit;
    merle_key key;
    uint64_t seq = 0;
    int is_patient = mrl_random_below(&w->random, 3) != 0;
    int wants_durable = mrl_random_below(&w->random, 3) == 0;
    uint32_t size = (uint32_t)mrl_random_below(&w->random, 16000);
    merle_bytes doc = make_doc(memory[number], size);
    assert_int_equal(merle_begin(w->db, &commit), MERLE_OK);
    merle_commit_patience(commit, is_patient ? MERLE_WAIT : MERLE_REFUSE);
    if (wants_durable) mrl_commit_want_durable(commit);
    merle_bytes name = merle_key_u64(&key, mrl_random_below(&w->random, 5));
    assert_int_equal(merle_put(commit, w->players, name, doc), MERLE_OK);
    merle_err err = merle_end(commit, &seq);
    judge(w, err, seq, is_patient, wants_durable);
}

static void run_worker(void *context) {
    worker *me = context;
    for (int i = 0; i < COMMIT_COUNT; i++) commit_once(me->w, me->number);
    me->w->workers_left--;
    /* The disk looks whether it was the last. */
    mrl_event_signal(mrl_log_work(me->w->db->log));
}

/* ---- runs ---- */

static void world_open(world *w, uint64_t seed, int has_thread) {
    merle_options options = {.threads = MERLE_THREADS_NONE, .ring_size = RING_SIZE};
    memset(w, 0, sizeof *w);
    mrl_random_init(&w->random, seed);
    w->s = sim_create(seed, 1 + (uint32_t)mrl_random_below(&w->random, 8));
    assert_non_null(w->s);
    assert_int_equal(mrl_db_open(NULL, &options, sim_environment(w->s), &w->db), MERLE_OK);
    assert_int_equal(merle_collection_open(w->db, "players", NULL, &w->players), MERLE_OK);
    w->written = mrl_log_published_at(mrl_log_published(w->db->log));
    w->groups_left = mrl_random_below(&w->random, 4) == 0
                         ? (uint32_t)mrl_random_below(&w->random, 40)
                         : UINT32_MAX;
    w->workers_left = WORKER_COUNT;
    w->drain = (mrl_drain){w, write_group, has_thread};
    mrl_log_drain_attach(w->db->log, &w->drain);
}

static void world_close(world *w) {
    merle_report report = {0};
    assert_int_equal(merle_check(w->db, &report), MERLE_OK);
    mrl_log_drain_attach(w->db->log, NULL);
    assert_int_equal(merle_close(w->db), MERLE_OK);
    sim_destroy(w->s);
}

static void run(world *w, uint64_t seed, int has_thread) {
    static const char *const names[] = {"one", "two", "three", "four"};
    worker workers[WORKER_COUNT];
    world_open(w, seed, has_thread);
    uint64_t before = mrl_log_published_at(mrl_log_published(w->db->log));
    for (int i = 0; i < WORKER_COUNT; i++) {
        workers[i] = (worker){w, i};
        sim_spawn(w->s, names[i], run_worker, &workers[i]);
    }
    if (has_thread) sim_spawn(w->s, "disk", disk_worker, w);
    if (sim_run(w->s) != 0) fail_msg("seed %llu hangs", (unsigned long long)seed);
    uint64_t published = mrl_log_published_at(mrl_log_published(w->db->log));
    assert_int_equal(published, before + w->applied);
    if (has_thread && mrl_log_failure(w->db->log) == MERLE_OK)
        assert_int_equal(w->written, published);
}

static void run_all(int has_thread) {
    uint64_t refused = 0, not_durable = 0, durable = 0, failed = 0;
    test_seed_print();
    for (uint64_t i = 0; i < test_amount(RUN_COUNT); i++) {
        world w;
        run(&w, test_seed() + i, has_thread);
        refused += w.refused;
        not_durable += w.not_durable;
        durable += w.durable;
        failed += mrl_log_failure(w.db->log) != MERLE_OK;
        world_close(&w);
    }
    test_say("%llu refused, %llu durable, %llu not durable, %llu disks failed",
             (unsigned long long)refused, (unsigned long long)durable,
             (unsigned long long)not_durable, (unsigned long long)failed);
    /* A test in which nothing of it happened would show nothing. */
    assert_true(refused > 0 && durable > 0 && not_durable > 0 && failed > 0);
}

static void disk_with_a_thread_lets_all_end(void **state) {
    (void)state;
    run_all(1);
}

static void those_who_wait_do_the_work_of_the_disk(void **state) {
    (void)state;
    run_all(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disk_with_a_thread_lets_all_end),
        cmocka_unit_test(those_who_wait_do_the_work_of_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
