/* examples/screen.h - shows the game: a picture that is drawn again and again, or plain lines.
 *
 * What    On a terminal the picture is redrawn in place; elsewhere only what is told is printed.
 * Owns    nothing but its own few lines of text.
 * Threads owner only.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef EXAMPLES_SCREEN_H
#define EXAMPLES_SCREEN_H

#include <merle/merle.h>

#include "examples/league.h"
#include "examples/world.h"

enum { FEED_LINES = 4, FEED_COLUMNS = 160 };

/* The latest lines of something that goes on; the oldest make room. */
typedef struct feed {
    char lines[FEED_LINES][FEED_COLUMNS];
    uint32_t count; /* of all lines ever added */
} feed;

void feed_add(feed *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

typedef struct picture {
    const sight *now;
    const sight *then; /* what the section held open sees */
    double seconds, seconds_max, then_age_seconds;
    const board *board;
    uint64_t looks, torn; /* of the reader thread */
    uint64_t ticks, trades, duels;
    const feed *story, *news;
    merle_stats_db stats;
} picture;

/* 1 if standard output is a terminal. */
int screen_is_live(void);
void screen_begin(void);
void screen_draw(const picture *p);
/* One line of the leaderboard, of TOP_ROWS. */
void screen_board_line(const board *b, int row, char *out_line, size_t size);
/* One line of the numbers, for where no picture is drawn. */
void screen_status(const picture *p);

#endif
