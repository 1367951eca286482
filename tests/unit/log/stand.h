/* tests/unit/log/stand.h - what the tests of the log share: a log with its domain, entries that can
 * be checked, and a crowd of publishers and followers.
 *
 * What    Every body carries its own sum (body_crc) and who made it; readers check both beside the
 *         header. Publishers take credit and publish, followers read along and count what is wrong.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_TESTS_UNIT_LOG_STAND_H
#define MRL_TESTS_UNIT_LOG_STAND_H

#include <pthread.h>
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
#include "log/log.h"

static uint64_t seed;

static inline void seed_find(int argc, char **argv) {
    const char *text = getenv("MERLE_TEST_SEED");
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "--seed=", 7) == 0) text = argv[i] + 7;
    seed = text != NULL ? strtoull(text, NULL, 0) : 1;
    printf("# seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
}

/* ---- a log, and what surrounds it ---- */

typedef struct stand {
    mrl_domain *domain;
    mrl_member *member; /* of the main thread */
    mrl_log *log;
    uint64_t bytes_before;
} stand;

static inline void stand_init(stand *s, uint64_t ring_size, const mrl_clock *clock) {
    mrl_domain_options options;
    memset(&options, 0, sizeof options);
    assert_int_equal(mrl_domain_create(&options, &s->domain), MERLE_OK);
    s->member = mrl_member_join(s->domain);
    assert_non_null(s->member);
    s->bytes_before = mrl_domain_bytes(s->domain, MRL_FOR_LOG);
    assert_int_equal(mrl_log_create(s->domain, clock, ring_size, &s->log), MERLE_OK);
}

/* Frees all that was retired; no section is open. */
static inline void stand_drain(stand *s) {
    for (int i = 0; i < 8; i++) {
        mrl_epoch_advance(s->member);
        while (mrl_domain_drain(s->member, 1000) > 0) {
        }
    }
}

static inline void stand_fini(stand *s) {
    mrl_log_destroy(s->log, s->member);
    stand_drain(s);
    assert_true(mrl_domain_bytes(s->domain, MRL_FOR_LOG) == s->bytes_before);
    mrl_domain_destroy(s->domain);
}

static inline mrl_log_stats stat_of(const stand *s) {
    mrl_log_stats stats;
    mrl_log_stat(s->log, &stats);
    return stats;
}

/* ---- entries that can be checked ---- */

typedef struct mark {
    uint64_t maker, number;
} mark;

/* A body of `size` bytes, at least a mark's: the mark, then bytes that follow from it. */
static inline mrl_entry *entry_make(mrl_member *member, mark who, size_t size) {
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
static inline int entry_is_whole(const mrl_entry *entry, uint64_t seq, mark *out_mark) {
    mrl_frame frame;
    if (mrl_frame_read(entry->header, 0, &frame) != MERLE_OK) return 0;
    memcpy(out_mark, entry->body, sizeof *out_mark);
    return frame.seq == seq && entry->seq == seq && frame.length == entry->body_size &&
           frame.time_ns == entry->time_ns && frame.body_crc == entry->body_crc &&
           mrl_crc32c(0, entry->body, entry->body_size) == entry->body_crc;
}

static inline uint64_t entry_publish(mrl_log *log, mrl_member *member, mrl_entry *entry,
                                     uint64_t taken) {
    uint64_t seq = mrl_publish_begin(log);
    mrl_publish_end(log, member, entry, taken);
    return seq;
}

/* Takes credit, waiting, and publishes a body of `size` bytes. */
static inline uint64_t commit_of(stand *s, uint64_t number, size_t size) {
    mark who = {0, number};
    uint64_t bytes = mrl_entry_credit(size);
    assert_int_equal(mrl_credit_take(s->log, s->member, bytes, 1), MERLE_OK);
    return entry_publish(s->log, s->member, entry_make(s->member, who, size), bytes);
}

static inline merle_err read_in_section(stand *s, uint64_t seq, uint64_t *out_first) {
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

/* ---- a crowd: several threads ---- */

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

static inline void *publisher(void *argument) {
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
static inline void follower_look(worker *w, uint64_t *next, uint64_t *numbers) {
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

static inline void *follower(void *argument) {
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

static inline void worker_begin(worker *w, stand *s, uint64_t id, void *(*run)(void *)) {
    w->s = s;
    w->id = id;
    assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
}

enum { PUBLISHER_COUNT = 3, FOLLOWER_COUNT = 2, COMMIT_COUNT = 8000 };

/* Publishers and followers at once; returns when all are done. */
static inline void crowd_run(stand *s, uint64_t commit_count, size_t size_max, int durable) {
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

#endif
