/* tests/unit/log/follow_test.c - who is told that the log has moved.
 *
 * Aim     An armed follower is woken by the next commit, once, whatever it follows; one that is not
 *         armed is not; nobody sleeps through a commit.
 * Method  A log with and without a stand-in for a drain. A writer beside a follower that waits for
 *         every single commit without a timeout: a wake that is lost is a test that hangs.
 * Blind   Orders that x86-64 does not show.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "log/follow.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/log/stand.h"

static int is_readable(int fd) {
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, 0) == 1;
}

static uint64_t take_wakes(int fd) {
    uint64_t count = 0;
    if (read(fd, &count, sizeof count) != sizeof count) return 0;
    return count;
}

static void follower_armed_is_woken_once(void **state) {
    (void)state;
    stand s;
    mrl_follower f;
    mrl_event event;
    stand_init(&s, 100000, NULL);
    mrl_event_init(&event);
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    mrl_follower_init(&f, s.log, MRL_FOLLOW_PUBLISHED, &event, fd);
    commit_of(&s, 1, 100);
    assert_false(is_readable(fd));
    assert_int_equal(mrl_follower_arm(&f, 0), 0);
    assert_int_equal(mrl_follower_arm(&f, 1), 1);
    assert_int_equal(mrl_follower_arm(&f, 1), 1); /* armed already */
    assert_false(is_readable(fd));
    for (uint64_t i = 2; i <= 10; i++) commit_of(&s, i, 100);
    assert_int_equal(take_wakes(fd), 1);
    assert_int_equal(mrl_event_count(&event), 1);
    assert_int_equal(mrl_follower_seq(&f), 10);
    assert_int_equal(mrl_follower_arm(&f, 9), 0);
    mrl_follower_close(&f);
    close(fd);
    stand_fini(&s);
}

static void follower_disarmed_or_closed_is_left_alone(void **state) {
    (void)state;
    stand s;
    mrl_follower list[5];
    mrl_event events[5];
    stand_init(&s, 100000, NULL);
    for (int i = 0; i < 5; i++) {
        mrl_event_init(&events[i]);
        mrl_follower_init(&list[i], s.log, MRL_FOLLOW_PUBLISHED, &events[i], -1);
        assert_int_equal(mrl_follower_arm(&list[i], 0), 1);
    }
    /* The first, one in the middle, the last of the list. */
    mrl_follower_disarm(&list[4]);
    mrl_follower_close(&list[2]);
    mrl_follower_disarm(&list[0]);
    mrl_follower_disarm(&list[0]);
    commit_of(&s, 1, 100);
    for (int i = 0; i < 5; i++) assert_int_equal(mrl_event_count(&events[i]), i % 2);
    for (int i = 0; i < 5; i++) mrl_follower_close(&list[i]);
    stand_fini(&s);
}

static merle_err write_nothing(void *context, mrl_member *member) {
    (void)context;
    (void)member;
    return MERLE_OK;
}

static void follower_of_the_disk_waits_for_it(void **state) {
    (void)state;
    stand s;
    mrl_follower list[MRL_FOLLOW_KIND_COUNT];
    mrl_event events[MRL_FOLLOW_KIND_COUNT];
    const mrl_drain drain = {.write_group = write_nothing};
    stand_init(&s, 100000, NULL);
    mrl_log_drain_attach(s.log, &drain);
    for (int i = 0; i < MRL_FOLLOW_KIND_COUNT; i++) {
        mrl_event_init(&events[i]);
        mrl_follower_init(&list[i], s.log, (mrl_follow)i, &events[i], -1);
        assert_int_equal(mrl_follower_arm(&list[i], 0), 1);
    }
    commit_of(&s, 1, 100);
    assert_int_equal(mrl_event_count(&events[MRL_FOLLOW_PUBLISHED]), 1);
    assert_int_equal(mrl_event_count(&events[MRL_FOLLOW_WRITTEN]), 0);
    mrl_log_written(s.log, 1);
    assert_int_equal(mrl_event_count(&events[MRL_FOLLOW_WRITTEN]), 1);
    assert_int_equal(mrl_event_count(&events[MRL_FOLLOW_DURABLE]), 0);
    mrl_log_durable(s.log, 1);
    assert_int_equal(mrl_event_count(&events[MRL_FOLLOW_DURABLE]), 1);
    for (int i = 0; i < MRL_FOLLOW_KIND_COUNT; i++) {
        assert_int_equal(mrl_follower_seq(&list[i]), 1);
        assert_int_equal(mrl_follower_arm(&list[i], 1), 1);
    }
    mrl_log_fail(s.log, MERLE_SYSTEM);
    for (int i = 0; i < MRL_FOLLOW_KIND_COUNT; i++)
        assert_int_equal(mrl_event_count(&events[i]), 2);
    for (int i = 0; i < MRL_FOLLOW_KIND_COUNT; i++) mrl_follower_close(&list[i]);
    mrl_log_drain_attach(s.log, NULL);
    stand_fini(&s);
}

/* ---- beside a writer ---- */

enum { HASTE_COMMITS = 20000 };

typedef struct haste {
    stand *s;
    mrl_event seen; /* by the follower */
    _Atomic uint64_t seq;
} haste;

/* Publishes, and goes on when the follower has seen it: it is about to sleep each time. */
static void *write_in_haste(void *context) {
    haste *h = context;
    mrl_member *member = mrl_member_join(h->s->domain);
    for (uint64_t i = 1; i <= HASTE_COMMITS; i++) {
        mark who = {1, i};
        entry_publish(h->s->log, member, entry_make(member, who, sizeof who), 0);
        for (;;) {
            uint32_t count = mrl_event_count(&h->seen);
            if (atomic_load(&h->seq) >= i) break;
            (void)mrl_event_wait(&h->seen, count, UINT64_MAX);
        }
        if (i % 64 == 0) (void)mrl_domain_drain(member, 64);
    }
    return NULL;
}

static void follower_beside_a_writer_sleeps_through_nothing(void **state) {
    (void)state;
    stand s;
    mrl_follower f;
    mrl_event event;
    pthread_t thread;
    stand_init(&s, 100000, NULL);
    haste h = {.s = &s};
    mrl_event_init(&event);
    mrl_event_init(&h.seen);
    mrl_follower_init(&f, s.log, MRL_FOLLOW_PUBLISHED, &event, -1);
    assert_int_equal(pthread_create(&thread, NULL, write_in_haste, &h), 0);
    for (uint64_t seq = 0; seq < HASTE_COMMITS;) {
        uint32_t count = mrl_event_count(&event);
        if (mrl_follower_arm(&f, seq)) (void)mrl_event_wait(&event, count, UINT64_MAX);
        seq = mrl_follower_seq(&f);
        atomic_store(&h.seq, seq);
        mrl_event_signal(&h.seen);
    }
    pthread_join(thread, NULL);
    mrl_follower_close(&f);
    stand_fini(&s);
}

int main(int argc, char **argv) {
    seed_find(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follower_armed_is_woken_once),
        cmocka_unit_test(follower_disarmed_or_closed_is_left_alone),
        cmocka_unit_test(follower_of_the_disk_waits_for_it),
        cmocka_unit_test(follower_beside_a_writer_sleeps_through_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
