/* tests/unit/log/ring_test.c - the log ring without a drain: order, leaving, reading.
 *
 * Aim     Commits get seqs without gaps; what is read is the whole entry or a gap with the right
 *         beginning, never wrong bytes; no byte of memory stays behind.
 * Method  Every body carries its own sum (body_crc) and who made it; readers check both beside the
 *         header. A reader is overtaken between two of his steps by a stand-in scheduler. Threads
 *         meet by counters, never by time.
 * Blind   Which interleavings occur is the scheduler's choice; the simulator's tests go through
 *         them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "log/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/self.h"
#include "tests/unit/log/stand.h"

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

/* ---- several threads ---- */

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
        cmocka_unit_test(followers_of_several_publishers_see_whole_entries_in_order),
        cmocka_unit_test(followers_overtaken_get_a_gap_and_never_wrong_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
