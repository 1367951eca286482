/* tests/unit/log/log_test.c - the log ring: order, leaving, reading, credit, and a stand-in drain.
 *
 * Aim     Commits get seqs without gaps; what is read is the whole entry or a gap with the right
 *         beginning, never wrong bytes; nothing leaves before a drain has written it; those who
 *         wait for credit are served in turn, and told when the drain fails; no byte of memory
 *         stays behind.
 * Method  Every body carries its own sum (body_crc) and who made it; readers check both beside the
 *         header. The drain is a stand-in that writes nowhere, with and without a thread, stuck, or
 *         failing. Threads meet by counters, never by time.
 * Blind   Which interleavings occur is the scheduler's choice; the simulator's tests go through
 *         them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "log/log.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/random.h"
#include "base/self.h"

static uint64_t seed;

/* ---- a log, and what surrounds it ---- */

typedef struct stand {
    mrl_domain *domain;
    mrl_member *member; /* of the main thread */
    mrl_log *log;
    uint64_t bytes_before;
} stand;

static void stand_init(stand *s, uint64_t ring_size, const mrl_clock *clock) {
    mrl_domain_options options;
    memset(&options, 0, sizeof options);
    assert_int_equal(mrl_domain_create(&options, &s->domain), MERLE_OK);
    s->member = mrl_member_join(s->domain);
    assert_non_null(s->member);
    s->bytes_before = mrl_domain_bytes(s->domain, MRL_FOR_LOG);
    assert_int_equal(mrl_log_create(s->domain, clock, ring_size, &s->log), MERLE_OK);
}

/* Frees all that was retired; no section is open. */
static void stand_drain(stand *s) {
    for (int i = 0; i < 8; i++) {
        mrl_epoch_advance(s->member);
        while (mrl_domain_drain(s->member, 1000) > 0) {
        }
    }
}

static void stand_fini(stand *s) {
    mrl_log_destroy(s->log, s->member);
    stand_drain(s);
    assert_true(mrl_domain_bytes(s->domain, MRL_FOR_LOG) == s->bytes_before);
    mrl_domain_destroy(s->domain);
}

static mrl_log_stats stat_of(const stand *s) {
    mrl_log_stats stats;
    mrl_log_stat(s->log, &stats);
    return stats;
}

/* ---- entries that can be checked ---- */

typedef struct mark {
    uint64_t maker, number;
} mark;

/* A body of `size` bytes, at least a mark's: the mark, then bytes that follow from it. */
static mrl_entry *entry_make(mrl_member *member, mark who, size_t size) {
    mrl_random random;
    mrl_entry *entry = mrl_entry_create(member, size);
    assert_non_null(entry);
    mrl_random_init(&random, who.maker * 1000003 + who.number);
    memcpy(entry->body, &who, sizeof who);
    for (size_t i = sizeof who; i < size; i++) entry->body[i] = (uint8_t)mrl_random_next(&random);
    entry->body_size = (uint32_t)size;
    entry->body_crc = mrl_crc32c(0, entry->body, size);
    return entry;
}

/* Whether header, fields and body of an entry agree. */
static int entry_is_whole(const mrl_entry *entry, uint64_t seq, mark *out_mark) {
    mrl_frame frame;
    if (mrl_frame_read(entry->header, 0, &frame) != MERLE_OK) return 0;
    memcpy(out_mark, entry->body, sizeof *out_mark);
    return frame.seq == seq && entry->seq == seq && frame.length == entry->body_size &&
           frame.time_ns == entry->time_ns && frame.body_crc == entry->body_crc &&
           mrl_crc32c(0, entry->body, entry->body_size) == entry->body_crc;
}

static uint64_t entry_publish(mrl_log *log, mrl_member *member, mrl_entry *entry, uint64_t taken) {
    uint64_t seq = mrl_publish_begin(log);
    mrl_publish_end(log, member, entry, taken);
    return seq;
}

/* Takes credit, waiting, and publishes a body of `size` bytes. */
static uint64_t commit_of(stand *s, uint64_t number, size_t size) {
    mark who = {0, number};
    uint64_t bytes = mrl_entry_credit(size);
    assert_int_equal(mrl_credit_take(s->log, s->member, bytes, 1), MERLE_OK);
    return entry_publish(s->log, s->member, entry_make(s->member, who, size), bytes);
}

static merle_err read_in_section(stand *s, uint64_t seq, uint64_t *out_first) {
    const mrl_entry *entry;
    mrl_epoch_token token;
    mark who;
    mrl_member_enter(s->member, &token);
    merle_err err = mrl_log_read(s->log, seq, &entry, out_first);
    if (err == MERLE_OK)
        assert_true(entry_is_whole(entry, seq, &who));
    else
        assert_null(entry);
    mrl_member_leave(s->member, &token);
    return err;
}

/* ---- one thread, no drain ---- */

static void log_fresh_has_nothing(void **state) {
    (void)state;
    stand s;
    uint64_t first;
    stand_init(&s, 10000, NULL);
    assert_int_equal(read_in_section(&s, 1, &first), MERLE_NOT_FOUND);
    assert_int_equal(read_in_section(&s, 0, &first), MERLE_GAP);
    assert_true(first == 1);
    assert_true(stat_of(&s).published == 0 && stat_of(&s).ring_bytes == 0);
    stand_fini(&s);
}

static void log_publish_counts_seqs_without_gap(void **state) {
    (void)state;
    stand s;
    uint64_t first;
    stand_init(&s, 100000, NULL);
    for (uint64_t i = 1; i <= 100; i++) {
        assert_true(commit_of(&s, i, 100) == i);
        assert_true(mrl_log_published_at(mrl_log_published(s.log)) == i);
    }
    for (uint64_t i = 1; i <= 100; i++) assert_int_equal(read_in_section(&s, i, &first), MERLE_OK);
    assert_int_equal(read_in_section(&s, 101, &first), MERLE_NOT_FOUND);
    assert_true(stat_of(&s).ring_bytes == 100 * mrl_entry_credit(100));
    assert_true(mrl_log_written_seq(s.log) == 100 && mrl_log_durable_seq(s.log) == 100);
    assert_int_equal(mrl_log_wait_durable(s.log, s.member, 100), MERLE_OK);
    stand_fini(&s);
}

static int64_t clock_times[] = {50, 40, 70, 70, 60, 80};
static size_t clock_at;
static int64_t clock_wall(void *context) {
    (void)context;
    return clock_times[clock_at++];
}

static void log_clock_that_goes_back_is_held(void **state) {
    (void)state;
    static const int64_t expected[] = {50, 50, 70, 70, 70, 80};
    const mrl_clock clock = {NULL, NULL, clock_wall};
    stand s;
    clock_at = 0;
    stand_init(&s, 10000, &clock);
    for (uint64_t i = 1; i <= 6; i++) {
        const mrl_entry *entry;
        uint64_t first;
        mrl_epoch_token token;
        commit_of(&s, i, 16);
        mrl_member_enter(s.member, &token);
        assert_int_equal(mrl_log_read(s.log, i, &entry, &first), MERLE_OK);
        assert_true(entry->time_ns == expected[i - 1]);
        mrl_member_leave(s.member, &token);
    }
    stand_fini(&s);
}

static void ring_full_of_bytes_lets_the_oldest_leave(void **state) {
    (void)state;
    stand s;
    uint64_t first;
    stand_init(&s, 10 * mrl_entry_credit(1000), NULL);
    for (uint64_t i = 1; i <= 25; i++) commit_of(&s, i, 1000);
    assert_true(stat_of(&s).first_seq == 16);
    assert_true(stat_of(&s).ring_bytes == stat_of(&s).ring_size);
    for (uint64_t i = 0; i <= 15; i++) {
        assert_int_equal(read_in_section(&s, i, &first), MERLE_GAP);
        assert_true(first == 16);
    }
    for (uint64_t i = 16; i <= 25; i++) assert_int_equal(read_in_section(&s, i, &first), MERLE_OK);
    stand_fini(&s);
}

static void ring_full_of_positions_lets_the_oldest_leave(void **state) {
    (void)state;
    stand s;
    uint64_t first;
    /* The smallest entries: as many as there are positions fill the bytes just so. */
    stand_init(&s, 64 * MRL_ENTRY_CREDIT_MIN, NULL);
    for (uint64_t i = 1; i <= 200; i++) commit_of(&s, i, sizeof(mark));
    assert_true(stat_of(&s).first_seq == 137);
    assert_int_equal(read_in_section(&s, 136, &first), MERLE_GAP);
    for (uint64_t i = 137; i <= 200; i++)
        assert_int_equal(read_in_section(&s, i, &first), MERLE_OK);
    stand_fini(&s);
}

static void entry_larger_than_ring_is_alone_in_it(void **state) {
    (void)state;
    stand s;
    uint64_t first;
    stand_init(&s, 5000, NULL);
    for (uint64_t i = 1; i <= 10; i++) commit_of(&s, i, 100);
    assert_true(commit_of(&s, 11, 20000) == 11);
    assert_true(stat_of(&s).first_seq == 11);
    assert_int_equal(read_in_section(&s, 11, &first), MERLE_OK);
    assert_int_equal(read_in_section(&s, 10, &first), MERLE_GAP);
    commit_of(&s, 12, 100);
    assert_true(stat_of(&s).first_seq == 12);
    assert_true(stat_of(&s).ring_bytes == mrl_entry_credit(100));
    stand_fini(&s);
}

static void entry_large_pushes_out_very_many(void **state) {
    (void)state;
    enum { COUNT = 3000 };
    stand s;
    uint64_t first;
    stand_init(&s, COUNT * MRL_ENTRY_CREDIT_MIN, NULL);
    for (uint64_t i = 1; i <= COUNT; i++) commit_of(&s, i, sizeof(mark));
    assert_true(stat_of(&s).first_seq == 1);
    commit_of(&s, COUNT + 1, (COUNT - 10) * MRL_ENTRY_CREDIT_MIN - sizeof(mrl_entry));
    assert_true(stat_of(&s).first_seq == COUNT - 9);
    assert_true(stat_of(&s).ring_bytes == stat_of(&s).ring_size);
    assert_int_equal(read_in_section(&s, COUNT + 1, &first), MERLE_OK);
    assert_int_equal(read_in_section(&s, COUNT - 10, &first), MERLE_GAP);
    stand_fini(&s);
}

static void entry_read_lives_until_the_section_ends(void **state) {
    (void)state;
    stand s;
    const mrl_entry *entry;
    uint64_t first;
    mrl_epoch_token token;
    mark who;
    stand_init(&s, 5000, NULL);
    commit_of(&s, 1, 1000);
    mrl_member_enter(s.member, &token);
    assert_int_equal(mrl_log_read(s.log, 1, &entry, &first), MERLE_OK);
    for (uint64_t i = 2; i <= 200; i++) {
        commit_of(&s, i, 1000);
        mrl_epoch_advance(s.member);
        (void)mrl_domain_drain(s.member, 100);
    }
    assert_true(stat_of(&s).first_seq > 1);
    assert_true(mrl_domain_bytes_waiting(s.domain) >= 1000);
    assert_true(entry_is_whole(entry, 1, &who));
    assert_true(who.number == 1);
    mrl_member_leave(s.member, &token);
    stand_drain(&s);
    assert_true(mrl_domain_bytes_waiting(s.domain) == 0);
    stand_fini(&s);
}

/* Stands in for a scheduler: where a reader has looked at the first seq, others publish. */
typedef struct overtaking {
    stand *s;
    mrl_self *reader;
    int count; /* commits still to be made at that place */
    size_t size;
} overtaking;

static void overtaking_point(void *context, const char *name) {
    overtaking *o = (overtaking *)context;
    if (strcmp(name, "log.read_first") != 0) return;
    mrl_self_swap(NULL);
    for (; o->count > 0; o->count--) commit_of(o->s, 1000, o->size);
    mrl_self_swap(o->reader);
}

static void reader_overtaken_between_his_steps_gets_a_gap(void **state) {
    (void)state;
    /* The position has been given to the next entry, or to one much later; or is empty. */
    static const struct {
        uint64_t seq, first;
        int count;
        size_t size;
    } cases[] = {
        {1, 2, 1, 16}, {1, 11, 10, 16}, {1, 65, 64, 16}, {60, 201, 200, 16}, {5, 10, 1, 1000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stand s;
        mrl_self self;
        overtaking o = {&s, &self, cases[i].count, cases[i].size};
        const mrl_scheduler scheduler = {&o, overtaking_point, NULL, NULL};
        const mrl_entry *entry;
        uint64_t first;
        mrl_epoch_token token;
        stand_init(&s, 64 * MRL_ENTRY_CREDIT_MIN, NULL);
        for (uint64_t k = 1; k <= 64; k++) commit_of(&s, k, sizeof(mark));
        memset(&self, 0, sizeof self);
        self.scheduler = &scheduler;
        mrl_member_enter(s.member, &token);
        mrl_self_swap(&self);
        merle_err err = mrl_log_read(s.log, cases[i].seq, &entry, &first);
        mrl_self_swap(NULL);
        assert_int_equal(err, MERLE_GAP);
        assert_null(entry);
        assert_int_equal(first, cases[i].first);
        assert_int_equal(o.count, 0);
        mrl_member_leave(s.member, &token);
        stand_fini(&s);
    }
}

static mrl_entry *entry_with_images(stand *s, uint64_t number, size_t images_size) {
    mark who = {0, number};
    mrl_entry *entry = entry_make(s->member, who, 100);
    entry->images = (mrl_images *)mrl_block_alloc(s->member, MRL_FOR_LOG, images_size);
    assert_non_null(entry->images);
    entry->credit += images_size;
    return entry;
}

static void images_count_and_leave_with_their_entry(void **state) {
    (void)state;
    stand s;
    stand_init(&s, 50000, NULL);
    uint64_t empty = mrl_domain_bytes(s.domain, MRL_FOR_LOG);
    for (uint64_t i = 1; i <= 100; i++) {
        mrl_entry *entry = entry_with_images(&s, i, 10000);
        entry_publish(s.log, s.member, entry, entry->credit);
    }
    assert_true(stat_of(&s).first_seq == 97);
    stand_drain(&s);
    uint64_t held = mrl_domain_bytes(s.domain, MRL_FOR_LOG) - empty;
    assert_true(held >= 40000 && held < 50000);
    mrl_entry_destroy(s.member, entry_with_images(&s, 101, 10000));
    assert_true(mrl_domain_bytes(s.domain, MRL_FOR_LOG) - empty == held);
    stand_fini(&s);
}

static void images_wanted_are_counted(void **state) {
    (void)state;
    stand s;
    stand_init(&s, 1000, NULL);
    assert_false(mrl_log_wants_after(s.log) || mrl_log_wants_before(s.log));
    mrl_log_want_images(s.log, 1, 0);
    mrl_log_want_images(s.log, 1, 1);
    assert_true(mrl_log_wants_after(s.log) && mrl_log_wants_before(s.log));
    mrl_log_want_images(s.log, -1, -1);
    assert_true(mrl_log_wants_after(s.log) && !mrl_log_wants_before(s.log));
    mrl_log_want_images(s.log, -1, 0);
    assert_false(mrl_log_wants_after(s.log));
    stand_fini(&s);
}

static int refuse_at, refuse_count;
static int refuse(void *context, size_t size) {
    (void)context;
    (void)size;
    return ++refuse_count == refuse_at;
}

static void log_without_memory_is_refused(void **state) {
    (void)state;
    const mrl_refusal refusal = {NULL, refuse};
    mrl_domain_options options;
    mrl_domain *domain;
    mrl_log *log;
    memset(&options, 0, sizeof options);
    options.refusal = &refusal;
    refuse_at = 0;
    assert_int_equal(mrl_domain_create(&options, &domain), MERLE_OK);
    mrl_member *member = mrl_member_join(domain);
    assert_non_null(member);
    uint64_t before = mrl_domain_bytes(domain, MRL_FOR_LOG);
    for (int at = 1; at <= 2; at++) {
        refuse_count = 0;
        refuse_at = at;
        assert_int_equal(mrl_log_create(domain, NULL, 10000, &log), MERLE_NO_MEMORY);
        assert_null(log);
        assert_true(mrl_domain_bytes(domain, MRL_FOR_LOG) == before);
    }
    refuse_count = 0;
    refuse_at = 1;
    assert_null(mrl_entry_create(member, 100));
    refuse_at = 0;
    mrl_domain_destroy(domain);
}

/* ---- the stand-in drain ---- */

typedef struct drain_stand {
    stand *s;
    mrl_drain drain;
    uint64_t group_max;      /* seqs a group writes at most; 0: stuck, nothing gets written */
    merle_err fails_with;    /* MERLE_OK: does not fail */
    uint64_t fails_from;     /* the group that reaches this seq fails */
    _Atomic uint32_t inside; /* callers in write_group at the moment */
    _Atomic uint32_t inside_max;
    _Atomic uint32_t calls;
    _Atomic uint32_t wrong; /* entries that were not as they ought to be */
    _Atomic int stop;       /* for the drain's thread */
} drain_stand;

/* "Writes" what is ready: reads each entry as a disk writer would. */
static merle_err stand_write_group(void *context, mrl_member *member) {
    drain_stand *d = (drain_stand *)context;
    mrl_log *log = d->s->log;
    mrl_epoch_token token;
    merle_err err = MERLE_OK;
    atomic_fetch_add(&d->calls, 1);
    uint32_t inside = atomic_fetch_add(&d->inside, 1) + 1;
    if (inside > atomic_load(&d->inside_max)) atomic_store(&d->inside_max, inside);
    uint64_t from = mrl_log_written_seq(log) + 1;
    uint64_t to = mrl_log_published_at(mrl_log_published(log));
    if (to - from + 1 > d->group_max) to = from + d->group_max - 1;
    mrl_member_enter(member, &token);
    for (uint64_t seq = from; seq <= to; seq++) {
        const mrl_entry *entry;
        uint64_t first;
        mark who;
        if (mrl_log_read(log, seq, &entry, &first) != MERLE_OK || !entry_is_whole(entry, seq, &who))
            atomic_fetch_add(&d->wrong, 1);
    }
    mrl_member_leave(member, &token);
    if (d->fails_with != MERLE_OK && to >= d->fails_from) err = d->fails_with;
    if (err == MERLE_OK && to >= from) {
        mrl_log_written(log, to);
        mrl_log_durable(log, to);
    }
    atomic_fetch_sub(&d->inside, 1);
    return err;
}

static void drain_stand_init(drain_stand *d, stand *s, uint64_t group_max, int has_thread) {
    memset(d, 0, sizeof *d);
    d->s = s;
    d->drain.context = d;
    d->drain.write_group = stand_write_group;
    d->drain.has_thread = has_thread;
    d->group_max = group_max;
    mrl_log_drain_attach(s->log, &d->drain);
}

static void *drain_thread(void *argument) {
    drain_stand *d = (drain_stand *)argument;
    mrl_member *member = mrl_member_join(d->s->domain);
    mrl_event *work = mrl_log_work(d->s->log);
    merle_err err = MERLE_OK;
    for (;;) {
        uint32_t seen = mrl_event_count(work);
        int stop = atomic_load(&d->stop);
        uint64_t before = mrl_log_written_seq(d->s->log);
        err = stand_write_group(d, member);
        if (err != MERLE_OK) break;
        if (mrl_log_written_seq(d->s->log) > before) continue;
        if (stop) break;
        (void)mrl_event_wait(work, seen, UINT64_MAX);
    }
    if (err != MERLE_OK) mrl_log_fail(d->s->log, err);
    return NULL;
}

static void drain_thread_stop(drain_stand *d, pthread_t thread) {
    atomic_store(&d->stop, 1);
    mrl_event_signal(mrl_log_work(d->s->log));
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* ---- credit, one thread ---- */

static void credit_without_drain_is_always_there(void **state) {
    (void)state;
    stand s;
    stand_init(&s, 1000, NULL);
    for (int i = 0; i < 100; i++)
        assert_int_equal(mrl_credit_take(s.log, s.member, 1000000, 0), MERLE_OK);
    mrl_credit_give(s.log, 1000000);
    stand_fini(&s);
}

static void credit_used_up_is_busy_until_given_back(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    stand_init(&s, 1000, NULL);
    drain_stand_init(&d, &s, 0, 0);
    assert_int_equal(mrl_credit_take(s.log, s.member, 1001, 1), MERLE_TOO_BIG);
    assert_int_equal(mrl_credit_take(s.log, s.member, 600, 0), MERLE_OK);
    assert_int_equal(mrl_credit_take(s.log, s.member, 600, 0), MERLE_BUSY);
    assert_int_equal(mrl_credit_take(s.log, s.member, 400, 0), MERLE_OK);
    assert_int_equal(mrl_credit_take(s.log, s.member, 1, 0), MERLE_BUSY);
    mrl_credit_give(s.log, 600);
    assert_int_equal(mrl_credit_take(s.log, s.member, 600, 0), MERLE_OK);
    mrl_credit_give(s.log, 400);
    mrl_credit_give(s.log, 600);
    assert_int_equal(mrl_credit_take(s.log, s.member, 1000, 0), MERLE_OK);
    mrl_credit_give(s.log, 1000);
    assert_true(atomic_load(&d.calls) == 0);
    stand_fini(&s);
}

static void credit_too_much_goes_back_at_publish(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    mark who = {0, 1};
    stand_init(&s, 10000, NULL);
    drain_stand_init(&d, &s, 1000, 0);
    assert_int_equal(mrl_credit_take(s.log, s.member, 9000, 0), MERLE_OK);
    entry_publish(s.log, s.member, entry_make(s.member, who, 1000), 9000);
    uint64_t rest = 10000 - mrl_entry_credit(1000);
    assert_int_equal(mrl_credit_take(s.log, s.member, rest + 1, 0), MERLE_BUSY);
    assert_int_equal(mrl_credit_take(s.log, s.member, rest, 0), MERLE_OK);
    mrl_credit_give(s.log, rest);
    mrl_log_written(s.log, 1);
    assert_int_equal(mrl_credit_take(s.log, s.member, 10000, 0), MERLE_OK);
    mrl_credit_give(s.log, 10000);
    stand_fini(&s);
}

static void entry_not_written_does_not_leave(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    uint64_t first;
    stand_init(&s, 10 * mrl_entry_credit(500), NULL);
    commit_of(&s, 1, 500);
    drain_stand_init(&d, &s, 0, 0);
    for (uint64_t i = 2; i <= 11; i++) {
        assert_int_equal(mrl_credit_take(s.log, s.member, mrl_entry_credit(500), 0), MERLE_OK);
        mark who = {0, i};
        entry_publish(s.log, s.member, entry_make(s.member, who, 500), mrl_entry_credit(500));
    }
    assert_int_equal(mrl_credit_take(s.log, s.member, mrl_entry_credit(500), 0), MERLE_BUSY);
    /* What was there before the drain could leave. */
    assert_int_equal(read_in_section(&s, 1, &first), MERLE_GAP);
    for (uint64_t i = 2; i <= 11; i++) assert_int_equal(read_in_section(&s, i, &first), MERLE_OK);
    mrl_log_written(s.log, 3);
    assert_true(mrl_log_written_seq(s.log) == 3 && mrl_log_durable_seq(s.log) == 1);
    commit_of(&s, 12, 500);
    assert_true(stat_of(&s).first_seq == 3);
    commit_of(&s, 13, 500);
    assert_true(stat_of(&s).first_seq == 4);
    assert_int_equal(mrl_credit_take(s.log, s.member, 128, 0), MERLE_BUSY);
    stand_fini(&s);
}

static void credit_waiter_without_drain_thread_writes_himself(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    stand_init(&s, 20000, NULL);
    drain_stand_init(&d, &s, 7, 0);
    for (uint64_t i = 1; i <= 1000; i++) assert_true(commit_of(&s, i, 16 + i % 3000) == i);
    assert_true(atomic_load(&d.calls) > 0 && atomic_load(&d.wrong) == 0);
    assert_int_equal(mrl_log_wait_durable(s.log, s.member, 1000), MERLE_OK);
    assert_true(mrl_log_durable_seq(s.log) == 1000 && mrl_log_written_seq(s.log) == 1000);
    assert_int_equal(mrl_credit_take(s.log, s.member, 20000, 0), MERLE_OK);
    mrl_credit_give(s.log, 20000);
    stand_fini(&s);
}

static void drain_failing_is_told_and_ends_writing(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    uint64_t first;
    mark who = {0, 99};
    stand_init(&s, 10 * mrl_entry_credit(500), NULL);
    drain_stand_init(&d, &s, 3, 0);
    d.fails_with = MERLE_NO_SPACE;
    d.fails_from = 6;
    for (uint64_t i = 1; i <= 9; i++) commit_of(&s, i, 500);
    assert_int_equal(mrl_log_wait_durable(s.log, s.member, 3), MERLE_OK);
    assert_int_equal(mrl_credit_take(s.log, s.member, 2 * mrl_entry_credit(500), 0), MERLE_OK);
    assert_int_equal(mrl_credit_take(s.log, s.member, 4 * mrl_entry_credit(500), 1),
                     MERLE_NO_SPACE);
    assert_int_equal(mrl_log_failure(s.log), MERLE_NO_SPACE);
    assert_int_equal(mrl_credit_take(s.log, s.member, 1, 1), MERLE_READ_ONLY);
    assert_int_equal(mrl_credit_take(s.log, s.member, 1, 0), MERLE_READ_ONLY);
    uint32_t calls = atomic_load(&d.calls);
    assert_int_equal(mrl_log_wait_durable(s.log, s.member, 3), MERLE_OK);
    assert_int_equal(mrl_log_wait_durable(s.log, s.member, 4), MERLE_NO_SPACE);
    assert_true(atomic_load(&d.calls) == calls);
    /* A commit that had its credit before may end; reading goes on. */
    assert_true(entry_publish(s.log, s.member, entry_make(s.member, who, 500),
                              2 * mrl_entry_credit(500)) == 10);
    for (uint64_t i = 4; i <= 10; i++) assert_int_equal(read_in_section(&s, i, &first), MERLE_OK);
    stand_fini(&s);
}

/* ---- several threads ---- */

typedef struct worker {
    stand *s;
    pthread_t thread;
    uint64_t id;
    uint64_t count;  /* commits to make */
    size_t size_max; /* of a body */
    int durable;     /* wait for each commit */
    uint64_t done;
    merle_err err; /* the first that was not MERLE_OK */
    uint64_t wrong, gaps, seen;
    const _Atomic int *publishers_done;
} worker;

static void *publisher(void *argument) {
    worker *w = (worker *)argument;
    mrl_member *member = mrl_member_join(w->s->domain);
    mrl_random random;
    mrl_random_init(&random, seed + w->id);
    for (uint64_t i = 1; i <= w->count && w->err == MERLE_OK; i++) {
        size_t size = sizeof(mark) + mrl_random_below(&random, w->size_max);
        uint64_t spare = mrl_random_below(&random, 200);
        uint64_t bytes = mrl_entry_credit(size) + spare;
        w->err = mrl_credit_take(w->s->log, member, bytes, 1);
        if (w->err != MERLE_OK) break;
        if (mrl_random_below(&random, 16) == 0) {
            mrl_credit_give(w->s->log, bytes);
            i--;
            continue;
        }
        mark who = {w->id, i};
        uint64_t seq = entry_publish(w->s->log, member, entry_make(member, who, size), bytes);
        w->done++;
        if (w->durable) w->err = mrl_log_wait_durable(w->s->log, member, seq);
        if (i % 16 == 0) {
            mrl_epoch_advance(member);
            (void)mrl_domain_drain(member, 64);
        }
    }
    return NULL;
}

/* Follows the log; checks every entry, and that each publisher's commits come in its order. */
static void follower_look(worker *w, uint64_t *next, uint64_t *numbers) {
    const mrl_entry *entry;
    uint64_t first;
    mark who;
    merle_err err = mrl_log_read(w->s->log, *next, &entry, &first);
    if (err == MERLE_GAP) {
        w->gaps++;
        w->wrong += first <= *next;
        *next = first;
    } else if (err == MERLE_OK) {
        int whole = entry_is_whole(entry, *next, &who);
        if (!whole || who.maker >= 8 || who.number <= numbers[who.maker])
            w->wrong++;
        else
            numbers[who.maker] = who.number;
        w->seen++;
        ++*next;
    } else {
        w->wrong += err != MERLE_NOT_FOUND;
    }
}

static void *follower(void *argument) {
    worker *w = (worker *)argument;
    mrl_member *member = mrl_member_join(w->s->domain);
    uint64_t numbers[8] = {0}, next = 1;
    const _Atomic uint64_t *published = mrl_log_published(w->s->log);
    for (;;) {
        int done = atomic_load(w->publishers_done);
        mrl_epoch_token token;
        mrl_member_enter(member, &token);
        for (int i = 0; i < 20; i++) follower_look(w, &next, numbers);
        mrl_member_leave(member, &token);
        if (done && next > mrl_log_published_at(published)) break;
    }
    return NULL;
}

static void worker_begin(worker *w, stand *s, uint64_t id, void *(*run)(void *)) {
    w->s = s;
    w->id = id;
    assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
}

enum { PUBLISHER_COUNT = 3, FOLLOWER_COUNT = 2, COMMIT_COUNT = 8000 };

/* Publishers and followers at once; returns when all are done. */
static void crowd_run(stand *s, uint64_t commit_count, size_t size_max, int durable) {
    worker publishers[PUBLISHER_COUNT], followers[FOLLOWER_COUNT];
    _Atomic int publishers_done = 0;
    uint64_t gaps = 0;
    memset(publishers, 0, sizeof publishers);
    memset(followers, 0, sizeof followers);
    for (uint64_t i = 0; i < FOLLOWER_COUNT; i++) {
        followers[i].publishers_done = &publishers_done;
        worker_begin(&followers[i], s, i, follower);
    }
    for (uint64_t i = 0; i < PUBLISHER_COUNT; i++) {
        publishers[i].count = commit_count;
        publishers[i].size_max = size_max;
        publishers[i].durable = durable;
        worker_begin(&publishers[i], s, i, publisher);
    }
    for (int i = 0; i < PUBLISHER_COUNT; i++) {
        pthread_join(publishers[i].thread, NULL);
        assert_int_equal(publishers[i].err, MERLE_OK);
        assert_true(publishers[i].done == commit_count);
    }
    atomic_store(&publishers_done, 1);
    for (int i = 0; i < FOLLOWER_COUNT; i++) {
        pthread_join(followers[i].thread, NULL);
        assert_true(followers[i].wrong == 0);
        gaps += followers[i].gaps;
    }
    assert_true(stat_of(s).published == PUBLISHER_COUNT * commit_count);
    printf("# followers were overtaken %llu times\n", (unsigned long long)gaps);
}

static void followers_of_several_publishers_see_whole_entries_in_order(void **state) {
    (void)state;
    stand s;
    stand_init(&s, 1 << 20, NULL);
    crowd_run(&s, COMMIT_COUNT, 300, 0);
    assert_true(stat_of(&s).ring_bytes <= stat_of(&s).ring_size);
    stand_fini(&s);
}

static void followers_overtaken_get_a_gap_and_never_wrong_bytes(void **state) {
    (void)state;
    stand s;
    /* A ring of a handful of entries, some of them larger than it. */
    stand_init(&s, 2000, NULL);
    crowd_run(&s, COMMIT_COUNT, 2500, 0);
    stand_fini(&s);
}

static void publishers_with_a_drain_thread_lose_nothing(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    pthread_t thread;
    stand_init(&s, 20000, NULL);
    drain_stand_init(&d, &s, 5, 1);
    assert_int_equal(pthread_create(&thread, NULL, drain_thread, &d), 0);
    crowd_run(&s, COMMIT_COUNT / 2, 3000, 0);
    drain_thread_stop(&d, thread);
    assert_true(atomic_load(&d.wrong) == 0);
    assert_true(mrl_log_written_seq(s.log) == stat_of(&s).published);
    assert_int_equal(mrl_credit_take(s.log, s.member, 20000, 0), MERLE_OK);
    mrl_credit_give(s.log, 20000);
    stand_fini(&s);
}

static void publishers_without_a_drain_thread_take_turns_at_writing(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    stand_init(&s, 20000, NULL);
    drain_stand_init(&d, &s, 5, 0);
    crowd_run(&s, COMMIT_COUNT / 2, 3000, 0);
    assert_true(atomic_load(&d.wrong) == 0 && atomic_load(&d.inside_max) == 1);
    assert_int_equal(mrl_log_wait_durable(s.log, s.member, stat_of(&s).published), MERLE_OK);
    assert_int_equal(mrl_credit_take(s.log, s.member, 20000, 0), MERLE_OK);
    mrl_credit_give(s.log, 20000);
    stand_fini(&s);
}

static void publishers_that_want_it_durable_share_groups(void **state) {
    (void)state;
    for (int has_thread = 0; has_thread <= 1; has_thread++) {
        stand s;
        drain_stand d;
        pthread_t thread;
        stand_init(&s, 50000, NULL);
        drain_stand_init(&d, &s, 1000, has_thread);
        if (has_thread) assert_int_equal(pthread_create(&thread, NULL, drain_thread, &d), 0);
        crowd_run(&s, COMMIT_COUNT / 8, 500, 1);
        if (has_thread) drain_thread_stop(&d, thread);
        assert_true(atomic_load(&d.wrong) == 0);
        assert_true(mrl_log_durable_seq(s.log) == stat_of(&s).published);
        stand_fini(&s);
    }
}

/* One who takes credit and keeps it; tells with `done`. */
typedef struct taker {
    stand *s;
    pthread_t thread;
    uint64_t bytes;
    merle_err err;
    _Atomic int done;
} taker;

static void *taker_run(void *argument) {
    taker *t = (taker *)argument;
    mrl_member *member = mrl_member_join(t->s->domain);
    t->err = mrl_credit_take(t->s->log, member, t->bytes, 1);
    atomic_store(&t->done, 1);
    return NULL;
}

static void taker_begin(taker *t, stand *s, uint64_t bytes) {
    uint64_t waits = stat_of(s).credit_waits;
    memset(t, 0, sizeof *t);
    t->s = s;
    t->bytes = bytes;
    assert_int_equal(pthread_create(&t->thread, NULL, taker_run, t), 0);
    /* Until he has his place in the queue. */
    while (stat_of(s).credit_waits == waits) sched_yield();
}

static void credit_waiter_is_not_overtaken_by_smaller_ones(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    taker big, small;
    stand_init(&s, 10000, NULL);
    drain_stand_init(&d, &s, 0, 1);
    assert_int_equal(mrl_credit_take(s.log, s.member, 4000, 0), MERLE_OK);
    assert_int_equal(mrl_credit_take(s.log, s.member, 4000, 0), MERLE_OK);
    taker_begin(&big, &s, 9000);
    taker_begin(&small, &s, 200);
    /* 2000 bytes are free, but others wait. */
    assert_int_equal(mrl_credit_take(s.log, s.member, 200, 0), MERLE_BUSY);
    mrl_credit_give(s.log, 4000);
    assert_int_equal(mrl_credit_take(s.log, s.member, 200, 0), MERLE_BUSY);
    assert_false(atomic_load(&big.done) || atomic_load(&small.done));
    mrl_credit_give(s.log, 4000);
    pthread_join(big.thread, NULL);
    pthread_join(small.thread, NULL);
    assert_true(big.err == MERLE_OK && small.err == MERLE_OK);
    assert_int_equal(mrl_credit_take(s.log, s.member, 800, 0), MERLE_OK);
    assert_int_equal(mrl_credit_take(s.log, s.member, 128, 0), MERLE_BUSY);
    mrl_credit_give(s.log, 9000);
    mrl_credit_give(s.log, 200);
    mrl_credit_give(s.log, 800);
    stand_fini(&s);
}

static void credit_waiters_at_a_stuck_drain_go_on_when_it_moves(void **state) {
    (void)state;
    for (int has_thread = 0; has_thread <= 1; has_thread++) {
        stand s;
        drain_stand d;
        taker first, second;
        stand_init(&s, 10 * mrl_entry_credit(500), NULL);
        drain_stand_init(&d, &s, 0, has_thread);
        for (uint64_t i = 1; i <= 10; i++) commit_of(&s, i, 500);
        taker_begin(&first, &s, 1000);
        taker_begin(&second, &s, 1000);
        assert_int_equal(mrl_credit_take(s.log, s.member, 200, 0), MERLE_BUSY);
        assert_false(atomic_load(&first.done) || atomic_load(&second.done));
        mrl_log_written(s.log, 2);
        pthread_join(first.thread, NULL);
        assert_int_equal(first.err, MERLE_OK);
        assert_false(atomic_load(&second.done));
        mrl_log_written(s.log, 4);
        pthread_join(second.thread, NULL);
        assert_int_equal(second.err, MERLE_OK);
        mrl_credit_give(s.log, 1000);
        mrl_credit_give(s.log, 1000);
        stand_fini(&s);
    }
}

static void credit_waiter_writes_what_is_published_later(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    taker late;
    mark who = {0, 1};
    uint64_t all = mrl_entry_credit(5000);
    stand_init(&s, all, NULL);
    drain_stand_init(&d, &s, 1000, 0);
    assert_int_equal(mrl_credit_take(s.log, s.member, all, 0), MERLE_OK);
    taker_begin(&late, &s, 1000);
    /* He finds nothing to write and has to sleep until there is something. */
    while (atomic_load(&d.calls) == 0 || atomic_load(&d.inside) != 0) sched_yield();
    entry_publish(s.log, s.member, entry_make(s.member, who, 5000), all);
    pthread_join(late.thread, NULL);
    assert_int_equal(late.err, MERLE_OK);
    assert_true(mrl_log_written_seq(s.log) == 1);
    mrl_credit_give(s.log, 1000);
    stand_fini(&s);
}

static void drain_thread_failing_wakes_all_who_wait(void **state) {
    (void)state;
    stand s;
    drain_stand d;
    taker takers[3];
    stand_init(&s, 10 * mrl_entry_credit(500), NULL);
    drain_stand_init(&d, &s, 0, 1);
    for (uint64_t i = 1; i <= 10; i++) commit_of(&s, i, 500);
    for (int i = 0; i < 3; i++) taker_begin(&takers[i], &s, 1000);
    mrl_log_fail(s.log, MERLE_SYSTEM);
    mrl_log_fail(s.log, MERLE_NO_SPACE);
    for (int i = 0; i < 3; i++) {
        pthread_join(takers[i].thread, NULL);
        assert_int_equal(takers[i].err, MERLE_SYSTEM);
    }
    assert_int_equal(mrl_log_wait_durable(s.log, s.member, 1), MERLE_SYSTEM);
    assert_int_equal(mrl_credit_take(s.log, s.member, 1000, 1), MERLE_READ_ONLY);
    /* Without the drain, the log is as it was at first. */
    mrl_log_drain_attach(s.log, NULL);
    assert_int_equal(mrl_log_failure(s.log), MERLE_OK);
    assert_true(commit_of(&s, 11, 20000) == 11);
    stand_fini(&s);
}

static void seed_find(int argc, char **argv) {
    const char *text = getenv("MERLE_TEST_SEED");
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "--seed=", 7) == 0) text = argv[i] + 7;
    seed = text != NULL ? strtoull(text, NULL, 0) : 1;
    printf("# seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
}

int main(int argc, char **argv) {
    seed_find(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_fresh_has_nothing),
        cmocka_unit_test(log_publish_counts_seqs_without_gap),
        cmocka_unit_test(log_clock_that_goes_back_is_held),
        cmocka_unit_test(ring_full_of_bytes_lets_the_oldest_leave),
        cmocka_unit_test(ring_full_of_positions_lets_the_oldest_leave),
        cmocka_unit_test(entry_larger_than_ring_is_alone_in_it),
        cmocka_unit_test(entry_large_pushes_out_very_many),
        cmocka_unit_test(entry_read_lives_until_the_section_ends),
        cmocka_unit_test(reader_overtaken_between_his_steps_gets_a_gap),
        cmocka_unit_test(images_count_and_leave_with_their_entry),
        cmocka_unit_test(images_wanted_are_counted),
        cmocka_unit_test(log_without_memory_is_refused),
        cmocka_unit_test(credit_without_drain_is_always_there),
        cmocka_unit_test(credit_used_up_is_busy_until_given_back),
        cmocka_unit_test(credit_too_much_goes_back_at_publish),
        cmocka_unit_test(entry_not_written_does_not_leave),
        cmocka_unit_test(credit_waiter_without_drain_thread_writes_himself),
        cmocka_unit_test(drain_failing_is_told_and_ends_writing),
        cmocka_unit_test(followers_of_several_publishers_see_whole_entries_in_order),
        cmocka_unit_test(followers_overtaken_get_a_gap_and_never_wrong_bytes),
        cmocka_unit_test(publishers_with_a_drain_thread_lose_nothing),
        cmocka_unit_test(publishers_without_a_drain_thread_take_turns_at_writing),
        cmocka_unit_test(publishers_that_want_it_durable_share_groups),
        cmocka_unit_test(credit_waiter_is_not_overtaken_by_smaller_ones),
        cmocka_unit_test(credit_waiters_at_a_stuck_drain_go_on_when_it_moves),
        cmocka_unit_test(credit_waiter_writes_what_is_published_later),
        cmocka_unit_test(drain_thread_failing_wakes_all_who_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
