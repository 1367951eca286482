/* examples/screen.c - the picture of the game, in plain escape sequences.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "examples/screen.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BOLD "\033[1m"
#define DIM "\033[2m"
#define PLAIN "\033[0m"
#define CLEAR "\033[2J"
#define HOME "\033[H"
#define LINE_END "\033[K\n" /* what an earlier picture left on the line goes */
#define REST_END "\033[J"
#define WRAP_OFF "\033[?7l" /* what is wider than the terminal is cut, not wrapped */
#define WRAP_ON "\033[?7h"

enum { ROWS_FOR_ALL = 40, ROWS_FOR_BOARD = 34, FEED_LINES_SMALL = 2 };

/* In a small terminal there is no map, in a smaller one no leaderboard either, and less is told. */
static int rows_of_terminal(void) {
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0) return ROWS_FOR_ALL;
    return size.ws_row;
}

void feed_add(feed *f, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(f->lines[f->count % FEED_LINES], FEED_COLUMNS, format, arguments);
    va_end(arguments);
    f->count++;
}

int screen_is_live(void) {
    return isatty(STDOUT_FILENO);
}

void screen_begin(void) {
    printf(CLEAR);
}

static void draw_map(const sight *now) {
    char cells[WORLD_HEIGHT][WORLD_WIDTH];
    memset(cells, ' ', sizeof cells);
    for (int i = 0; i < PLAYER_COUNT; i++) {
        const player *p = &now->players[i];
        if (p->x >= 0 && p->x < WORLD_WIDTH && p->y >= 0 && p->y < WORLD_HEIGHT)
            cells[p->y][p->x] = p->name[0];
    }
    for (int y = 0; y < WORLD_HEIGHT; y++)
        printf("  " DIM "|" PLAIN BOLD "%.*s" PLAIN DIM "|" PLAIN LINE_END, WORLD_WIDTH, cells[y]);
}

static void draw_players(const picture *p) {
    printf(BOLD "  %-14s %8s %7s" PLAIN DIM "   | %-14s %8s %7s" PLAIN LINE_END, "now", "gold",
           "score", "the old section", "gold", "score");
    for (int i = 0; i < PLAYER_COUNT; i++) {
        const player *now = &p->now->players[i], *then = &p->then->players[i];
        printf("  %-14s %8" PRId64 " %7" PRId64 DIM "   | %-15s %8" PRId64
               " %7" PRId64 PLAIN LINE_END,
               now->name, now->gold, now->score, then->name, then->gold, then->score);
    }
    printf("  %-14s %8" PRId64 " %7s" DIM "   | %-15s %8" PRId64 PLAIN LINE_END, "the bank",
           p->now->bank, "", "the bank", p->then->bank);
    printf("  %-14s " BOLD "%8" PRId64 PLAIN " %7s" DIM "   | %-15s " PLAIN BOLD
           "%8" PRId64 PLAIN DIM "   seq %" PRIu64 ", %.1f s old" PLAIN LINE_END,
           "all the gold", p->now->gold_sum, "", "all the gold", p->then->gold_sum, p->then->seq,
           p->then_age_seconds);
}

void screen_board_line(const board *b, int row, char *out_line, size_t size) {
    const board_row *top = &b->top[row], *near = row < AROUND_ROWS ? &b->around[row] : NULL;
    int used = snprintf(out_line, size, "%2" PRIu64 ". %-12s %6" PRId64, top->place, top->name,
                        top->score);
    if (near != NULL && used > 0 && (size_t)used < size)
        snprintf(out_line + used, size - (size_t)used, "   %s %5" PRIu64 ". %-12s %6" PRId64,
                 near->place == b->mine ? "me" : "  ", near->place, near->name, near->score);
}

static void draw_board(const board *b) {
    char line[FEED_COLUMNS];
    printf(BOLD "  the leaderboard of %" PRIu64 LINE_END PLAIN, b->total);
    for (int i = 0; i < TOP_ROWS; i++) {
        screen_board_line(b, i, line, sizeof line);
        printf("  %s" LINE_END, line);
    }
}

static void draw_feed(const char *title, const feed *f, uint32_t lines) {
    printf(BOLD "  %s" PLAIN LINE_END, title);
    for (uint32_t i = 0; i < lines; i++) {
        uint32_t number = f->count < lines ? i : f->count - lines + i;
        printf("   %s" LINE_END, number < f->count ? f->lines[number % FEED_LINES] : "");
    }
}

static void draw_numbers(const picture *p) {
    const merle_stats_db *s = &p->stats;
    printf("  reader: %" PRIu64 " looks at everything, " BOLD "%" PRIu64 PLAIN
           " torn sums; writers: %" PRIu64 " ticks, %" PRIu64 " trades, %" PRIu64 " duels" LINE_END,
           p->looks, p->torn, p->ticks, p->trades, p->duels);
    printf("  merle: seq %" PRIu64 ", %" PRIu64 " commits, %" PRIu64 " conflicts" LINE_END, s->seq,
           s->commits, s->conflicts);
    printf("  memory: %" PRIu64 " KiB in all, the log %" PRIu64 " KiB, %" PRIu64
           " old versions waiting" LINE_END,
           s->bytes_total / 1024, s->bytes_log / 1024, s->versions_waiting);
}

void screen_draw(const picture *p) {
    int rows = rows_of_terminal();
    uint32_t lines = rows < ROWS_FOR_BOARD ? FEED_LINES_SMALL : FEED_LINES;
    printf(HOME WRAP_OFF BOLD "  merle %s" PLAIN "  a small game, %.1f of %.0f seconds" LINE_END,
           merle_version(), p->seconds, p->seconds_max);
    if (rows >= ROWS_FOR_ALL) draw_map(p->now);
    draw_players(p);
    if (rows >= ROWS_FOR_BOARD) draw_board(p->board);
    draw_feed("what happens", p->story, lines);
    draw_feed("what the change cursor says", p->news, lines);
    draw_numbers(p);
    printf(REST_END WRAP_ON);
    fflush(stdout);
}

void screen_status(const picture *p) {
    printf("%4.1f s  seq %" PRIu64 ": %s has %" PRId64 " points (%" PRId64
           " in the section of seq %" PRIu64 "); gold %" PRId64 " (%" PRId64 "); %" PRIu64
           " looks, %" PRIu64 " torn; %" PRIu64 " versions waiting\n",
           p->seconds, p->now->seq, p->now->players[0].name, p->now->players[0].score,
           p->then->players[0].score, p->then->seq, p->now->gold_sum, p->then->gold_sum, p->looks,
           p->torn, p->stats.versions_waiting);
    fflush(stdout);
}
