/* tools/merle/progress.c - one line on standard error for what takes long.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tools/merle/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define QUIET_NS 500000000u /* what is over by then shows nothing */
#define DRAW_NS 100000000u
enum { BAR_WIDTH = 30 };

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void progress_begin(progress *bar, const char *what) {
    *bar = (progress){.what = what, .is_shown = isatty(STDERR_FILENO)};
    bar->began_ns = bar->part_ns = now_ns();
}

/* 1.2 M/s */
static void write_rate(double rate, char out[16]) {
    static const char units[] = " kMGT";
    size_t unit = 0;
    for (; rate >= 1000 && unit < sizeof units - 2; unit++) rate /= 1000;
    snprintf(out, 16, "%.3g %c/s", rate, units[unit]);
}

static void draw(progress *bar, uint64_t done, uint64_t total, double seconds) {
    char filled[BAR_WIDTH + 1], rate_text[16];
    double share = (double)done / (double)total;
    int width = (int)(share * BAR_WIDTH);
    memset(filled, '#', sizeof filled);
    filled[width < BAR_WIDTH ? width : BAR_WIDTH] = 0;
    double rate = seconds > 0 ? (double)done / seconds : 0;
    double left = rate > 0 ? (double)(total - done) / rate : 0;
    write_rate(rate, rate_text);
    fprintf(stderr, "\r%s: %s [%-*s] %3.0f %%  %s  %.0f s left\033[K", bar->what, bar->part,
            BAR_WIDTH, filled, 100 * share, rate_text, left);
    fflush(stderr);
    bar->is_drawn = 1;
}

void progress_show(void *context, const char *part, uint64_t done, uint64_t total) {
    progress *bar = context;
    if (!bar->is_shown) return;
    uint64_t now = now_ns();
    if (bar->part == NULL || strcmp(bar->part, part) != 0) {
        bar->part = part;
        bar->part_ns = now;
    }
    if (total == 0 || now - bar->began_ns < QUIET_NS || now - bar->drawn_ns < DRAW_NS) return;
    bar->drawn_ns = now;
    draw(bar, done < total ? done : total, total, (double)(now - bar->part_ns) / 1e9);
}

void progress_clear(progress *bar) {
    if (bar->is_drawn) fputs("\r\033[K", stderr);
    bar->is_drawn = 0;
    bar->drawn_ns = 0;
}
