/* bench/common/measure.h - clock, latencies, result lines, and how a measurement gives up.
 *
 * What    what every phase needs in order to measure and to say what it measured.
 * Owns    a bench_latency owns its samples until bench_latency_fini.
 * Threads any; one bench_latency belongs to one thread.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef BENCH_COMMON_MEASURE_H
#define BENCH_COMMON_MEASURE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Monotonic, in nanoseconds. */
static inline uint64_t bench_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Says on stderr why and ends the process with an error: a wrong count makes all figures void. */
void bench_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void bench_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* malloc or die; the memory is touched, so that it is resident before anything is measured. */
void *bench_alloc(size_t size);

/* Where result lines go from now on: a file descriptor. */
void bench_result_to(int descriptor);
/* `RESULT <system> <phase> <threads> <value> <unit>`, one line. */
void bench_result(const char *system, const char *phase, unsigned thread_count, double value,
                  const char *unit);

/* One duration a sample, kept all, so that percentiles are exact. */
typedef struct bench_latency {
    uint32_t *samples_ns;
    size_t count;
    size_t count_max;
} bench_latency;

void bench_latency_init(bench_latency *latency, size_t count_max);
void bench_latency_fini(bench_latency *latency);
static inline void bench_latency_add(bench_latency *latency, uint64_t duration_ns) {
    if (latency->count == latency->count_max) return;
    latency->samples_ns[latency->count++] =
        duration_ns > UINT32_MAX ? UINT32_MAX : (uint32_t)duration_ns;
}
/* Sorts and gives out <phase>_p50, _p99, _p99.9 and _max. */
void bench_latency_report(bench_latency *latency, const char *system, const char *phase,
                          unsigned thread_count);

/* Resident bytes of this process; the most that there were since its start, or since the reset. */
uint64_t bench_resident_bytes(void);
uint64_t bench_peak_bytes(void);
void bench_peak_reset(void);

#endif
