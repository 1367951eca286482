/* bench/events/watch.c - what watches cost: those who watch, and those who write.
 *
 * What    watch_drain: changes a second that a watch takes from the ring, of single commits that
 *         set a record anew; _prefix with a filter, _documents with what was there before and after.
 *         watch_commit: processor time of such a commit, with nobody who watches, with a watch
 *         whose thread polls its descriptor, and with one that was armed and never looked again.
 *         --commits=N --watches=N: so many commits beside armed watches, and nothing else, to be
 *         counted by callgrind.
 * Owns    its database.
 * Sees    writer and watcher have a thread each; with two processors neither waits for the other.
 * Threads a main one, and one that polls.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <merle/events.h>

#include "bench/common/measure.h"
#include "bench/common/record.h"

enum { KEY_COUNT = 10000, BATCH = 64, WATCH_MAX = 64 };

static merle_db *db;
static merle_collection *players;
static uint64_t version;

static void check(merle_err err, const char *what) {
    if (err != MERLE_OK) bench_die("merle: %s: %s", what, merle_err_name(err));
}

static void commit_some(size_t count) {
    bench_record record;
    for (size_t i = 0; i < count; i++) {
        bench_record_make(&record, (uint32_t)(i % KEY_COUNT), version++, KEY_COUNT);
        merle_bytes key = merle_bytes_of(record.key, BENCH_KEY_SIZE);
        check(merle_one_put(players, key, merle_bytes_of(record.bytes, record.size), NULL), "put");
    }
}

static void database_open(void) {
    const merle_options options = {
        .size = sizeof options, .threads = MERLE_THREADS_NONE, .ring_size = (uint64_t)1 << 30};
    check(merle_open(NULL, &options, &db), "open");
    check(merle_collection_open(db, "players", NULL, &players), "collection");
    commit_some(KEY_COUNT);
}

static merle_watch *watch_open(merle_watch_options options) {
    merle_watch *watch;
    check(merle_watch_open(db, &options, &watch), "watch");
    return watch;
}

/* ---- draining ---- */

static uint64_t drain(merle_watch *watch) {
    merle_event events[BATCH];
    uint64_t all = 0;
    size_t count;
    do {
        check(merle_watch_next(watch, events, BATCH, &count), "next");
        all += count;
    } while (count > 0);
    return all;
}

static void measure_drain(const char *phase, merle_watch_options options, size_t count) {
    merle_watch *watch = watch_open(options);
    commit_some(count);
    uint64_t start_ns = bench_now_ns();
    uint64_t drained = drain(watch);
    double seconds = (double)(bench_now_ns() - start_ns) / 1e9;
    if (drained != count) bench_die("%s: %lu changes of %lu", phase, drained, count);
    bench_result("merle", phase, 1, (double)count / seconds, "ops/s");
    merle_watch_close(watch);
}

static void measure_drains(size_t count) {
    bench_record record;
    bench_record_make(&record, 0, 0, KEY_COUNT);
    const merle_watch_filter filter = {.collection = players,
                                       .prefix = merle_bytes_of(record.key, 1)};
    measure_drain("watch_drain", (merle_watch_options){.size = 0}, count);
    measure_drain("watch_drain_prefix",
                  (merle_watch_options){.filters = &filter, .filter_count = 1}, count);
    measure_drain("watch_drain_documents", (merle_watch_options){.documents = 1}, count / 2);
}

/* ---- writing ---- */

typedef struct poller {
    _Atomic int is_ready, is_over;
    uint64_t events, wakes, gaps;
} poller;

static void *poll_main(void *context) {
    poller *p = context;
    merle_watch *watch = watch_open((merle_watch_options){.size = 0});
    merle_watch_stats stats = {.size = 0};
    int fd;
    check(merle_watch_fd(watch, &fd), "descriptor");
    p->events += drain(watch);
    atomic_store(&p->is_ready, 1);
    while (!atomic_load(&p->is_over)) {
        struct pollfd wanted = {fd, POLLIN, 0};
        if (poll(&wanted, 1, 10) > 0) p->events += drain(watch);
    }
    p->events += drain(watch);
    check(merle_watch_stat(watch, &stats), "stats");
    p->wakes = stats.wakes;
    merle_watch_close(watch);
    return NULL;
}

static double processor_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void measure_commits(const char *phase, size_t count) {
    double start_ns = processor_ns();
    commit_some(count);
    bench_result("merle", phase, 1, (processor_ns() - start_ns) / (double)count, "ns");
}

static void measure_watched(size_t count) {
    poller p = {.events = 0};
    pthread_t thread;
    if (pthread_create(&thread, NULL, poll_main, &p) != 0) bench_die("cannot start a thread");
    while (!atomic_load(&p.is_ready)) continue;
    measure_commits("watch_commit_polled", count);
    atomic_store(&p.is_over, 1);
    pthread_join(thread, NULL);
    if (p.events != count) bench_die("%lu changes of %lu were heard of", p.events, count);
    bench_result("merle", "watch_commit_wakes", 1, (double)p.wakes, "wakes");
}

static void measure_writers(size_t count) {
    int fd;
    measure_commits("watch_commit_alone", count);
    measure_watched(count);
    merle_watch *watch = watch_open((merle_watch_options){.size = 0});
    check(merle_watch_fd(watch, &fd), "descriptor");
    (void)drain(watch);
    measure_commits("watch_commit_stalled", count);
    merle_watch_close(watch);
}

/* ---- counting instructions ---- */

static void commit_beside(size_t commits, size_t watches) {
    merle_watch *list[WATCH_MAX];
    int fd;
    if (watches > WATCH_MAX) bench_die("at most %d watches", WATCH_MAX);
    for (size_t i = 0; i < watches; i++) {
        list[i] = watch_open((merle_watch_options){.size = 0});
        check(merle_watch_fd(list[i], &fd), "descriptor");
        (void)drain(list[i]);
    }
    commit_some(commits);
    for (size_t i = 0; i < watches; i++) merle_watch_close(list[i]);
}

static int number_of(const char *argument, const char *name, size_t *out) {
    size_t size = strlen(name);
    if (strncmp(argument, name, size) != 0) return 0;
    *out = strtoul(argument + size, NULL, 10);
    return 1;
}

int main(int argc, char **argv) {
    size_t count = 1000000, commits = 0, watches = 0;
    for (int i = 1; i < argc; i++)
        if (!number_of(argv[i], "--count=", &count) &&
            !number_of(argv[i], "--commits=", &commits) &&
            !number_of(argv[i], "--watches=", &watches))
            bench_die("usage: %s [--count=N] | --commits=N --watches=N", argv[0]);
    database_open();
    if (commits > 0) {
        commit_beside(commits, watches);
    } else {
        measure_drains(count);
        measure_writers(count);
    }
    check(merle_close(db), "close");
    return 0;
}
