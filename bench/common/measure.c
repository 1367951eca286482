/* bench/common/measure.c - see measure.h. SPDX-License-Identifier: Apache-2.0 */
#include "bench/common/measure.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int result_descriptor = STDOUT_FILENO;

/* One write a line, so that the lines of several processes do not mix. */
static void line_say(const char *before, const char *format, va_list arguments) {
    char line[512];
    int start = snprintf(line, sizeof line, "%s", before);
    vsnprintf(line + start, sizeof line - (size_t)start - 1, format, arguments);
    size_t size = strlen(line);
    line[size++] = '\n';
    if (write(STDERR_FILENO, line, size) < 0) return; /* there is nowhere to complain */
}

void bench_note(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    line_say("", format, arguments);
    va_end(arguments);
}

void bench_die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    line_say("workload: ", format, arguments);
    va_end(arguments);
    /* Threads may be in the middle of anything: leave without running what is registered. */
    _exit(1);
}

void *bench_alloc(size_t size) {
    void *memory = malloc(size == 0 ? 1 : size);
    if (memory == NULL) bench_die("no memory for %zu bytes of the measuring itself", size);
    memset(memory, 0, size);
    return memory;
}

void bench_result_to(int descriptor) {
    result_descriptor = descriptor;
}

void bench_result(const char *system, const char *phase, unsigned thread_count, double value,
                  const char *unit) {
    char line[256];
    const char *format = value < 1000 ? "RESULT %s %s %u %.2f %s\n" : "RESULT %s %s %u %.0f %s\n";
    int size = snprintf(line, sizeof line, format, system, phase, thread_count, value, unit);
    if (size < 0 || (size_t)size >= sizeof line) bench_die("a result line is too long");
    if (write(result_descriptor, line, (size_t)size) != size) bench_die("cannot write a result");
}

void bench_latency_init(bench_latency *latency, size_t count_max) {
    latency->samples_ns = bench_alloc(count_max * sizeof *latency->samples_ns);
    latency->count = 0;
    latency->count_max = count_max;
}

void bench_latency_fini(bench_latency *latency) {
    free(latency->samples_ns);
    latency->samples_ns = NULL;
}

static int sample_compare(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

void bench_latency_report(bench_latency *latency, const char *system, const char *phase,
                          unsigned thread_count) {
    static const struct {
        const char *name;
        double share;
    } points[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}};
    if (latency->count == 0) bench_die("%s %s: nothing was measured", system, phase);
    qsort(latency->samples_ns, latency->count, sizeof *latency->samples_ns, sample_compare);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        char name[64];
        size_t at = (size_t)(points[i].share * (double)(latency->count - 1));
        snprintf(name, sizeof name, "%s_%s", phase, points[i].name);
        bench_result(system, name, thread_count, latency->samples_ns[at], "ns");
    }
}

/* The number of kilobytes that a line of such a file begins with. */
static uint64_t kilobytes_read(const char *path, const char *name) {
    char line[256];
    size_t size = strlen(name);
    uint64_t kilobytes = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL) bench_die("cannot read %s", path);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, size) == 0) kilobytes = strtoull(line + size, NULL, 10);
    }
    fclose(file);
    if (kilobytes == 0) bench_die("%s has no line %s", path, name);
    return kilobytes;
}

uint64_t bench_resident_bytes(void) {
    return kilobytes_read("/proc/self/smaps_rollup", "Rss:") * 1024;
}

uint64_t bench_peak_bytes(void) {
    return kilobytes_read("/proc/self/status", "VmHWM:") * 1024;
}

void bench_peak_reset(void) {
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file == NULL || fputs("5", file) < 0 || fclose(file) != 0) {
        bench_die("cannot write /proc/self/clear_refs");
    }
}
