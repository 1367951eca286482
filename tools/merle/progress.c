/* tools/merle/progress.c - one line on standard error for what takes long.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tools/merle/progress.h"

#include <inttypes.h>
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

void progress_begin(progress *bar, const char *what, const char *unit) {
    *bar = (progress){what, unit, now_ns(), 0, 0};
}

static void draw(progress *bar, uint64_t done, uint64_t total, double seconds) {
    char filled[BAR_WIDTH + 1];
    double share = (double)done / (double)total;
    int width = (int)(share * BAR_WIDTH);
    memset(filled, '#', sizeof filled);
    filled[width < BAR_WIDTH ? width : BAR_WIDTH] = 0;
    double rate = (double)done / seconds;
    double left = rate > 0 ? (double)(total - done) / rate : 0;
    fprintf(stderr, "\r%s [%-*s] %3.0f %%  %.3g %s/s  %.0f s left \033[K", bar->what, BAR_WIDTH,
            filled, 100 * share, rate, bar->unit, left);
    fflush(stderr);
    bar->is_drawn = 1;
}

void progress_show(progress *bar, uint64_t done, uint64_t total) {
    uint64_t now = now_ns();
    if (total == 0 || now - bar->began_ns < QUIET_NS || now - bar->drawn_ns < DRAW_NS) return;
    if (!isatty(STDERR_FILENO)) return;
    bar->drawn_ns = now;
    draw(bar, done < total ? done : total, total, (double)(now - bar->began_ns) / 1e9);
}

void progress_end(progress *bar) {
    if (bar->is_drawn) fputs("\r\033[K", stderr);
    bar->is_drawn = 0;
}
