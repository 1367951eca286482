/* bench/events/hear.c - who hears: a subscriber in a process of its own; see events.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include <merle/subscribe.h>

#include "bench/common/measure.h"
#include "bench/common/record.h"
#include "bench/events/events.h"

typedef struct hearing {
    events_listener *listener;
    uint64_t heard, next_seq, score_sum;
} hearing;

static void die_of(merle_err err, const char *what) {
    if (err != MERLE_OK) bench_die("subscriber: %s: %d", what, (int)err);
}

/* A change must be the one behind the last, whole, and of the size of a document of ours. */
static void take_change(hearing *h, const merle_heard *heard, uint64_t now_ns) {
    size_t size;
    if (h->next_seq != 0 && heard->seq != h->next_seq)
        bench_die("subscriber: commit %lu came where %lu was expected", heard->seq, h->next_seq);
    if (heard->key.size != BENCH_KEY_SIZE || heard->after.data == NULL)
        bench_die("subscriber: commit %lu is not whole", heard->seq);
    h->score_sum += bench_score_read(heard->after.data, &size);
    if (page->has_marks && h->heard < EVENTS_MARK_MAX)
        page->lag_ns[h->heard] = (uint32_t)(now_ns - atomic_load(&page->mark_ns[h->heard]));
    if (h->next_seq == 0) h->listener->first_seq = heard->seq;
    h->next_seq = heard->seq + 1;
    h->heard++;
}

static void take_planted(hearing *h, const merle_heard *heard, uint64_t now_ns) {
    int is_third = page->plant != EVENTS_PLANT_NONE && h->heard == 2;
    if (is_third && page->plant == EVENTS_PLANT_LOSE) {
        page->plant = EVENTS_PLANT_NONE;
        return;
    }
    take_change(h, heard, now_ns);
    if (is_third) take_change(h, heard, now_ns);
}

static void take(void *context, merle_subscriber *subscriber, const merle_heard *heard,
                 size_t count) {
    hearing *h = context;
    uint64_t now_ns = bench_now_ns();
    (void)subscriber;
    for (size_t i = 0; i < count; i++) {
        switch (heard[i].kind) {
        case MERLE_HEARD_INSERT:
        case MERLE_HEARD_UPDATE:
            take_planted(h, &heard[i], now_ns);
            break;
        case MERLE_HEARD_GAP:
        case MERLE_HEARD_TROUBLE:
            bench_die("subscriber: %s", heard[i].text);
        default:
            break;
        }
    }
    if (h->heard > 0 && h->heard == page->expected) h->listener->end_ns = now_ns;
    h->listener->last_seq = h->next_seq - 1;
    /* At the end, behind all that was written. */
    atomic_store(&h->listener->heard, h->heard);
}

static merle_subscriber *open_one(hearing *h, merle_bytes position) {
    static const merle_wanted players = {.collection = "players"};
    merle_subscriber *subscriber;
    merle_report report = {0};
    const merle_subscriber_options options = {.size = sizeof options,
                                              .service = page->service,
                                              .publisher = page->news,
                                              .wanted = &players,
                                              .wanted_count = 1,
                                              .begin = MERLE_BEGIN_NOW,
                                              .position = position,
                                              .hear = take,
                                              .hear_context = h};
    die_of(merle_subscriber_open(&options, &subscriber, &report), "open");
    return subscriber;
}

static void get_stats(const merle_subscriber *subscriber, merle_subscriber_stats *out_stats) {
    *out_stats = (merle_subscriber_stats){.size = 0};
    die_of(merle_subscriber_get_stats(subscriber, out_stats), "stats");
}

/* Until the publisher is heard: what comes now is told by news. */
static void await_live(const merle_subscriber *subscriber) {
    merle_subscriber_stats stats;
    uint64_t begin_ns = bench_now_ns();
    do {
        if (bench_now_ns() - begin_ns > 30000000000u) bench_die("subscriber: not connected");
        events_nap(2000000);
        get_stats(subscriber, &stats);
    } while (!stats.is_live);
}

void events_hear(unsigned index) {
    hearing h = {.listener = &page->listeners[index]};
    merle_subscriber_stats stats;
    merle_subscriber *subscriber = open_one(&h, merle_bytes_of(NULL, 0));
    await_live(subscriber);
    atomic_store(&h.listener->is_ready, 1);
    while (atomic_load(&page->is_over) == 0) events_nap(5000000);
    events_await(&h.listener->heard, page->expected, "changes");
    get_stats(subscriber, &stats);
    atomic_store(&h.listener->gaps, stats.gaps);
    atomic_store(&h.listener->lost, stats.batches_lost);
    merle_subscriber_close(subscriber);
}

void events_resume(unsigned index) {
    hearing h = {.listener = &page->listeners[index]};
    merle_buffer position = {0};
    merle_subscriber *subscriber = open_one(&h, merle_bytes_of(NULL, 0));
    await_live(subscriber);
    die_of(merle_subscriber_position(subscriber, &position), "position");
    merle_subscriber_close(subscriber);
    atomic_store(&h.listener->is_ready, 1);
    while (atomic_load(&page->is_begun) == 0) events_nap(1000000);
    h.listener->begin_ns = bench_now_ns();
    uint64_t before_ns = events_processor_ns();
    subscriber = open_one(&h, merle_bytes_of(position.data, position.size));
    events_await(&h.listener->heard, page->expected, "backlog");
    h.listener->processor_ns = events_processor_ns() - before_ns;
    merle_subscriber_close(subscriber);
    merle_buffer_free(&position);
}
