/* bench/events/phases.c - what is measured, from the side of the process that writes; see events.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/common/measure.h"
#include "bench/events/events.h"

#define IDLE_PAUSE_NS 3000000u
#define TICK_NS 1000000u
#define MESSAGE_HEAD_SIZE 80u /* of a batch and its commit, about */

static void phase_name(char *out_name, size_t size, const char *phase,
                       const events_options *options) {
    snprintf(out_name, size, "%s_%s", phase, options->transport);
}

static void lag_report(const char *system, const char *phase, const uint32_t *lag_ns,
                       size_t count) {
    bench_latency latency;
    bench_latency_init(&latency, count);
    for (size_t i = 0; i < count; i++) bench_latency_add(&latency, lag_ns[i]);
    bench_latency_report(&latency, system, phase, 1);
    bench_latency_fini(&latency);
}

/* ---- a backlog ---- */

/* How many a second, and processor time a change of who tells and who hears. */
static void backlog_report(const char *system, const char *phase, double count, double seconds,
                           double tell_ns, double hear_ns) {
    char name[80];
    bench_result(system, phase, 1, count / seconds, "changes/s");
    snprintf(name, sizeof name, "%s_tell", phase);
    bench_result(system, name, 1, tell_ns / count, "ns");
    snprintf(name, sizeof name, "%s_hear", phase);
    bench_result(system, name, 1, hear_ns / count, "ns");
}

void events_backlog(const events_options *options) {
    char name[64];
    events_stage stage;
    phase_name(name, sizeof name, "backlog", options);
    events_page_make(options);
    events_stage_open(&stage);
    events_publish(&stage, options->transport);
    pid_t pid = events_start("resume", 0);
    events_listener *listener = &page->listeners[0];
    events_await_flag(&listener->is_ready, name);
    page->expected = options->count;
    uint64_t last_seq = events_commit(&stage, options->count);
    uint64_t before_ns = events_processor_ns();
    atomic_store(&page->is_begun, 1);
    events_end(pid);
    uint64_t tell_ns = events_processor_ns() - before_ns;
    if (listener->last_seq != last_seq || listener->first_seq != last_seq - options->count + 1)
        bench_die("%s: heard up to %lu of %lu", name, listener->last_seq, last_seq);
    double seconds = (double)(listener->end_ns - listener->begin_ns) / 1e9;
    backlog_report("merle", name, options->count, seconds, (double)tell_ns,
                   (double)listener->processor_ns);
    events_stage_close(&stage);
}

static size_t change_size(void) {
    events_stage stage;
    events_stage_open(&stage);
    size_t size = events_change_size(&stage);
    events_stage_close(&stage);
    return size;
}

void events_raw_backlog(const events_options *options) {
    char name[64];
    phase_name(name, sizeof name, "backlog", options);
    size_t size = EVENTS_PUSH_COUNT * change_size();
    uint8_t *bytes = bench_alloc(size);
    events_page_make(options);
    events_raw *raw = events_raw_open(options->transport);
    pid_t pid = events_start("pull", 0);
    page->expected = options->count / EVENTS_PUSH_COUNT;
    events_raw_send(raw, bytes, 1);
    events_await(&page->raw_heard, 1, name);
    uint64_t begin_ns = bench_now_ns(), before_ns = events_processor_ns();
    for (uint64_t i = 0; i < page->expected; i++) events_raw_send(raw, bytes, size);
    events_end(pid);
    double tell_ns = (double)(events_processor_ns() - before_ns);
    backlog_report("raw", name, (double)(page->expected * EVENTS_PUSH_COUNT),
                   (double)(page->raw_end_ns - begin_ns) / 1e9, tell_ns,
                   (double)page->raw_processor_ns);
    events_raw_close(raw);
    free(bytes);
}

/* ---- a writer with a pace ---- */

void events_paced(const events_options *options) {
    char name[64], lost[80];
    events_stage stage;
    phase_name(name, sizeof name, "paced", options);
    snprintf(lost, sizeof lost, "%s_batches_lost", name);
    size_t a_tick = options->rate / (1000000000u / TICK_NS);
    size_t count = (size_t)(options->seconds * 1e9 / TICK_NS) * a_tick;
    if (count > EVENTS_MARK_MAX) bench_die("%s: too many changes", name);
    events_page_make(options);
    page->has_marks = 1;
    page->expected = count;
    events_stage_open(&stage);
    events_publish(&stage, options->transport);
    pid_t pid = events_start("hear", 0);
    events_await_flag(&page->listeners[0].is_ready, name);
    uint64_t begin_ns = bench_now_ns(), due_ns = begin_ns;
    for (size_t i = 0; i < count; due_ns += TICK_NS) {
        uint64_t now_ns = bench_now_ns();
        if (now_ns < due_ns) events_nap(due_ns - now_ns);
        for (size_t k = 0; k < a_tick; k++) events_commit_marked(&stage, i++);
    }
    double seconds = (double)(bench_now_ns() - begin_ns) / 1e9;
    atomic_store(&page->is_over, 1);
    events_end(pid);
    bench_result("merle", name, 1, (double)count / seconds, "changes/s");
    bench_result("merle", lost, 1, (double)atomic_load(&page->listeners[0].lost), "batches");
    char lag[80];
    snprintf(lag, sizeof lag, "%s_lag", name);
    lag_report("merle", lag, page->lag_ns, count);
    events_stage_close(&stage);
}

/* ---- one change on an idle system ---- */

/* They take turns, change by change: what else the machine does hits both alike. */
void events_idle(const events_options *options) {
    char name[64];
    events_stage stage;
    phase_name(name, sizeof name, "idle", options);
    events_page_make(options);
    page->has_marks = 1;
    page->expected = options->samples;
    events_stage_open(&stage);
    events_publish(&stage, options->transport);
    size_t size = events_change_size(&stage) + MESSAGE_HEAD_SIZE;
    uint8_t *bytes = bench_alloc(size);
    events_raw *raw = events_raw_open(options->transport);
    pid_t hearer = events_start("hear", 0), puller = events_start("pull", 0);
    events_await_flag(&page->listeners[0].is_ready, name);
    events_raw_send(raw, bytes, 1);
    events_await(&page->raw_heard, 1, name);
    for (size_t i = 0; i < options->samples; i++) {
        events_nap(IDLE_PAUSE_NS);
        events_raw_send_marked(raw, bytes, size);
        events_nap(IDLE_PAUSE_NS);
        events_await(&page->raw_heard, i + 2, name);
        events_commit_marked(&stage, i);
        events_nap(IDLE_PAUSE_NS);
        events_await(&page->listeners[0].heard, i + 1, name);
    }
    atomic_store(&page->is_over, 1);
    events_end(hearer);
    events_end(puller);
    lag_report("merle", name, page->lag_ns, options->samples);
    lag_report("raw", name, page->raw_lag_ns, options->samples);
    events_raw_close(raw);
    events_stage_close(&stage);
    free(bytes);
}

/* ---- what an audience costs a writer ---- */

typedef struct audience {
    const char *name;
    unsigned is_published;
    unsigned listeners;
    unsigned is_stopped;
} audience;

static const audience audiences[] = {{"audience_none", 0, 0, 0},
                                     {"audience_0", 1, 0, 0},
                                     {"audience_1", 1, 1, 0},
                                     {"audience_10", 1, 10, 0},
                                     {"audience_stopped", 1, 1, 1}};
enum { AUDIENCE_COUNT = sizeof audiences / sizeof *audiences, ROUND_MAX = 32 };

static double processor_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void audience_end(const audience *a, const pid_t *pids) {
    atomic_store(&page->is_over, 1);
    for (unsigned i = 0; i < a->listeners; i++) {
        if (a->is_stopped) kill(pids[i], SIGCONT);
        events_end(pids[i]);
    }
}

/* What callgrind counts: it knows functions by their names. */
__attribute__((noinline)) static void commit_counted(const events_stage *stage, size_t count) {
    (void)events_commit(stage, count);
}

/* Processor time of a commit by a writer without a pause. Everybody hears everything, at last. */
static double audience_measure(const events_options *options, const audience *a) {
    events_stage stage;
    pid_t pids[EVENTS_LISTENER_MAX];
    events_page_make(options);
    page->expected = options->commits;
    events_stage_open(&stage);
    if (a->is_published) events_publish(&stage, options->transport);
    for (unsigned i = 0; i < a->listeners; i++) pids[i] = events_start("hear", i);
    for (unsigned i = 0; i < a->listeners; i++)
        events_await_flag(&page->listeners[i].is_ready, a->name);
    if (a->is_stopped) kill(pids[0], SIGSTOP);
    events_nap(20000000);
    double start_ns = processor_ns();
    commit_counted(&stage, options->commits);
    double taken_ns = processor_ns() - start_ns;
    audience_end(a, pids);
    events_stage_close(&stage);
    return taken_ns / options->commits;
}

static int number_compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* They take turns, each in as many rounds; the median of each is told. */
void events_audience(const events_options *options) {
    double taken_ns[AUDIENCE_COUNT][ROUND_MAX];
    uint32_t rounds = options->rounds < ROUND_MAX ? options->rounds : ROUND_MAX;
    for (uint32_t round = 0; round < rounds; round++)
        for (size_t i = 0; i < AUDIENCE_COUNT; i++)
            taken_ns[i][round] = audience_measure(options, &audiences[i]);
    for (size_t i = 0; i < AUDIENCE_COUNT; i++) {
        char name[64];
        phase_name(name, sizeof name, audiences[i].name, options);
        qsort(taken_ns[i], rounds, sizeof **taken_ns, number_compare);
        bench_result("merle", name, 1, taken_ns[i][rounds / 2], "ns");
    }
}

/* One audience, once, for callgrind with --toggle-collect=commit_counted. */
void events_count(const events_options *options) {
    const audience a = {"count", 1, options->audience, options->is_stopped};
    (void)audience_measure(options, &a);
}
