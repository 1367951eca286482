/* tests/stress/watch_test.c
 *
 * Aim     Watches beside writers: every change once and in order, or a gap that is told; what was
 *         there before and what is there after are those of the change, whatever the speed; nobody
 *         who waits is left asleep; the latest of every key arrives.
 * Method  Writers number their documents. A watch with documents keeps a mirror by poll on its
 *         descriptor, one for the latest another by waiting; one with a condition, one that is too
 *         slow for a small ring. In the end mirrors are compared with a section.
 * Blind   Effects and fields (tests/unit/events).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <merle/events.h>

#include "base/seam.h"
#include "tests/model/seed.h"
#include "tests/stress/stress.h"

enum { KEY_COUNT = 64, BATCH = 64, NUMBER_LIMIT = 1 << 30 };

/* A wake that is so late is lost: commits come all the time. */
#define LATE_NS ((int64_t)2000000000)

typedef struct watcher {
    merle_watch *watch;
    merle_condition *condition;
    int is_latest;
    uint64_t seq;      /* of the last event */
    uint32_t position; /* and where in its commit */
    uint64_t events, gaps, unknown;
    uint8_t is_sure[KEY_COUNT];
    uint64_t mirror[KEY_COUNT]; /* number under each key; 0: none */
} watcher;

static void writes(stress_worker *w) {
    merle_commit *commit;
    merle_err err = merle_begin(w->s->db, &commit);
    STRESS_EXPECT(w->s, err == MERLE_OK);
    if (err != MERLE_OK) return;
    for (uint64_t i = mrl_random_below(&w->random, 4); i < 4 && err == MERLE_OK; i++) {
        merle_key key_bytes;
        uint8_t bytes[STRESS_DOC_SIZE];
        uint64_t key = mrl_random_below(&w->random, KEY_COUNT);
        merle_bytes at = merle_key_u64(&key_bytes, key);
        switch (mrl_random_below(&w->random, 4)) {
        case 0:
            err = merle_patch(commit, w->s->collection, at, MERLE_SET_INT("extra", (int64_t)i));
            break;
        case 1:
            err = merle_remove(commit, w->s->collection, at);
            break;
        default:
            err = merle_put(
                commit, w->s->collection, at,
                stress_doc(bytes, key, 1 + mrl_random_below(&w->random, NUMBER_LIMIT), i));
        }
    }
    STRESS_EXPECT(w->s, err == MERLE_OK);
    err = merle_end(commit, NULL);
    STRESS_EXPECT(w->s, err == MERLE_OK || err == MERLE_NOT_FOUND);
}

/* ---- what is given ---- */

static uint64_t key_number(merle_bytes key) {
    uint64_t number = 0;
    for (size_t i = 0; i < key.size; i++) number = number << 8 | ((const uint8_t *)key.data)[i];
    return number;
}

static uint64_t number_of(stress *s, merle_doc doc, uint64_t key) {
    uint64_t number = 0, more;
    if (doc.data != NULL) STRESS_EXPECT(s, stress_doc_read(doc, key, &number, &more));
    return number;
}

/* Documents before and after, against what is known of the key. */
static void check_documents(stress *s, watcher *w, const merle_event *event, uint64_t key) {
    uint64_t before = number_of(s, event->before, key), after = number_of(s, event->after, key);
    if (event->is_unknown) {
        w->unknown++;
        w->is_sure[key] = 0;
        return;
    }
    STRESS_EXPECT(s, (event->kind == MERLE_EVENT_INSERT) == (before == 0));
    STRESS_EXPECT(s, (event->kind == MERLE_EVENT_REMOVE) == (after == 0));
    if (w->is_sure[key]) STRESS_EXPECT(s, w->mirror[key] == before);
    w->mirror[key] = after;
    w->is_sure[key] = 1;
}

static void check_event(stress *s, watcher *w, const merle_event *event) {
    uint64_t key = key_number(event->key);
    w->events++;
    if (event->kind > MERLE_EVENT_REMOVE) return;
    STRESS_EXPECT(s, key < KEY_COUNT && event->collection == s->collection);
    if (w->is_latest) {
        w->mirror[key] = number_of(s, event->after, key);
        w->is_sure[key] = 1;
        return;
    }
    STRESS_EXPECT(s,
                  event->seq > w->seq || (event->seq == w->seq && event->position > w->position));
    /* Nothing between them was left out. */
    if (w->condition == NULL && w->seq != 0)
        STRESS_EXPECT(s, event->seq == w->seq ? event->position == w->position + 1
                                              : event->seq == w->seq + 1 && event->position == 0);
    w->seq = event->seq;
    w->position = event->position;
    if (w->condition == NULL) {
        check_documents(s, w, event, key);
    } else if (!event->is_unknown) {
        int before = 0, after = 0;
        if (event->before.data != NULL)
            STRESS_EXPECT(s, merle_condition_match(w->condition, event->before, NULL, 0, &before) ==
                                 MERLE_OK);
        if (event->after.data != NULL)
            STRESS_EXPECT(
                s, merle_condition_match(w->condition, event->after, NULL, 0, &after) == MERLE_OK);
        STRESS_EXPECT(s, before || after);
    }
}

/* How many events came; a gap counts as one. */
static size_t take_some(stress *s, watcher *w) {
    merle_event events[BATCH];
    size_t count = 0;
    merle_err err = merle_watch_next(w->watch, events, BATCH, &count);
    if (err == MERLE_GAP) {
        uint64_t first = 0, last = 0;
        merle_watch_gap(w->watch, &first, &last);
        STRESS_EXPECT(s, last >= first);
        if (!w->is_latest && w->condition == NULL && w->seq != 0)
            STRESS_EXPECT(s, first == w->seq + 1 || first == w->seq);
        w->gaps++;
        w->seq = 0;
        memset(w->is_sure, 0, sizeof w->is_sure);
        return 1;
    }
    STRESS_EXPECT(s, err == MERLE_OK);
    for (size_t i = 0; i < count; i++) check_event(s, w, &events[i]);
    return count;
}

/* ---- the watches ---- */

static void open_watch(stress_worker *k, watcher *w, merle_watch_options options) {
    const merle_watch_filter filter = {.condition = w->condition};
    memset(w->is_sure, 0, sizeof w->is_sure);
    w->is_latest = options.latest != 0;
    if (w->condition != NULL) {
        options.filters = &filter;
        options.filter_count = 1;
    }
    STRESS_EXPECT(k->s, merle_watch_open(k->s->db, &options, &w->watch) == MERLE_OK);
}

/* A section that sees just what the watch has given: writers may be at their last commit. */
static void compare_mirror(stress *s, watcher *w) {
    merle_section section;
    for (;;) {
        while (take_some(s, w) != 0) continue;
        STRESS_EXPECT(s, merle_section_begin(s->db, &section) == MERLE_OK);
        if (merle_section_seq(&section) == merle_watch_position(w->watch)) break;
        STRESS_EXPECT(s, merle_section_end(&section) == MERLE_OK);
    }
    for (uint64_t i = 0; i < KEY_COUNT; i++) {
        merle_key key;
        merle_doc doc = {0};
        merle_err err = merle_get(&section, s->collection, merle_key_u64(&key, i), &doc);
        STRESS_EXPECT(s, err == MERLE_OK || err == MERLE_NOT_FOUND);
        if (w->is_sure[i]) STRESS_EXPECT(s, w->mirror[i] == number_of(s, doc, i));
    }
    STRESS_EXPECT(s, merle_section_end(&section) == MERLE_OK);
}

static void end_watch(stress_worker *k, watcher *w, const char *name) {
    merle_watch_stats stats = {.size = 0};
    if (w->condition == NULL) compare_mirror(k->s, w);
    STRESS_EXPECT(k->s, merle_watch_stat(w->watch, &stats) == MERLE_OK);
    STRESS_EXPECT(k->s, stats.gaps == w->gaps && stats.events == w->events);
    test_say("%s: %llu events, %llu gaps, %llu unknown, %llu wakes", name,
             (unsigned long long)w->events, (unsigned long long)w->gaps,
             (unsigned long long)w->unknown, (unsigned long long)stats.wakes);
    merle_watch_close(w->watch);
}

static int64_t now_ns(void) {
    return mrl_clock_system.wall_ns(mrl_clock_system.context);
}

static void polls_until_over(stress_worker *k) {
    watcher w = {.seq = 0};
    int fd = -1;
    open_watch(k, &w, (merle_watch_options){.documents = 1});
    STRESS_EXPECT(k->s, merle_watch_fd(w.watch, &fd) == MERLE_OK);
    int64_t came_ns = now_ns();
    while (!atomic_load(&k->s->is_over)) {
        struct pollfd p = {fd, POLLIN, 0};
        (void)poll(&p, 1, 10);
        size_t count, all = 0;
        if (p.revents == 0) {
            STRESS_EXPECT(k->s, now_ns() - came_ns < LATE_NS);
            continue;
        }
        while ((count = take_some(k->s, &w)) != 0) all += count;
        if (all > 0) came_ns = now_ns();
        k->done++;
    }
    end_watch(k, &w, "poll");
}

static void waits_until_over(stress_worker *k) {
    watcher w = {.seq = 0};
    open_watch(k, &w, (merle_watch_options){.latest = 1, .latest_max = 16});
    int64_t came_ns = now_ns();
    while (!atomic_load(&k->s->is_over)) {
        merle_err err = merle_watch_wait(w.watch, 10000000);
        size_t count = 1;
        STRESS_EXPECT(k->s, err == MERLE_OK || err == MERLE_NOT_FOUND);
        if (err != MERLE_OK) {
            STRESS_EXPECT(k->s, now_ns() - came_ns < LATE_NS);
            continue;
        }
        while (count != 0 && !atomic_load(&k->s->is_over)) count = take_some(k->s, &w);
        came_ns = now_ns();
    }
    end_watch(k, &w, "latest");
}

/* Rests in the middle now and then, and falls behind. */
static void dawdles_until_over(stress_worker *k) {
    watcher w = {.seq = 0};
    merle_report report;
    uint64_t behind_max = mrl_random_below(&k->random, 2) * 2000;
    STRESS_EXPECT(
        k->s, merle_condition_parse(merle_str("extra >= 2"), &w.condition, &report) == MERLE_OK);
    open_watch(k, &w, (merle_watch_options){.documents = 1, .behind_max = behind_max});
    while (!atomic_load(&k->s->is_over)) {
        (void)take_some(k->s, &w);
        if (mrl_random_below(&k->random, 8) == 0) merle_watch_rest(w.watch);
        for (uint64_t i = mrl_random_below(&k->random, 5000); i > 0; i--) {
            merle_section section;
            STRESS_EXPECT(k->s, merle_section_begin(k->s->db, &section) == MERLE_OK);
            STRESS_EXPECT(k->s, merle_section_end(&section) == MERLE_OK);
        }
    }
    end_watch(k, &w, "dawdler");
    merle_condition_destroy(w.condition);
}

static void watch(uint32_t thread_count, merle_threads threads, uint64_t ring_size) {
    stress s;
    merle_options options = {.threads = threads, .ring_size = ring_size};
    memset(&s, 0, sizeof s);
    assert_int_equal(merle_open(NULL, &options, &s.db), MERLE_OK);
    assert_int_equal(merle_collection_open(s.db, "things", NULL, &s.collection), MERLE_OK);
    const stress_job jobs[] = {{"commits", writes, thread_count - 3 > 0 ? thread_count - 3 : 1},
                               {"polls", polls_until_over, 1},
                               {"waits", waits_until_over, 1},
                               {"dawdles", dawdles_until_over, 1},
                               {NULL, NULL, 0}};
    stress_run(&s, jobs, stress_time_ms());
    stress_close(&s);
}

static void watch_beside(uint32_t thread_count, merle_threads threads) {
    watch(thread_count, threads, 8u << 20);
}

static void watch_overrun(uint32_t thread_count, merle_threads threads) {
    watch(thread_count, threads, 64u << 10);
}

static void watch_beside_writers_misses_nothing(void **state) {
    (void)state;
    stress_shapes(watch_beside);
}

static void watch_with_a_small_ring_tells_what_it_missed(void **state) {
    (void)state;
    stress_shapes(watch_overrun);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(watch_beside_writers_misses_nothing),
        cmocka_unit_test(watch_with_a_small_ring_tells_what_it_missed),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
