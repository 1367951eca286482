/* examples/game.h - what the files of the game share.
 *
 * What    game.c is the loop and its threads, scenes.c and scenes_league.c what happens between the
 *         ticks, world.c and league.c the rules, board.c looks at the league, screen.c is the
 *         picture, ask.c the prompt.
 * Threads `stop` and the counts beside it: any. All else belongs to the main thread.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef EXAMPLES_GAME_H
#define EXAMPLES_GAME_H

#include <stdatomic.h>

#include <merle/merle.h>

#include "examples/league.h"
#include "examples/screen.h"
#include "examples/world.h"

/* The member whose place is followed on the leaderboard, and one of the guild of owls. */
enum { MY_MEMBER = 4711, OWL_MEMBER = 15 };

typedef struct game {
    world world;
    _Atomic int stop;
    _Atomic uint64_t looks, torn, ticks, trades, duels, failures;
    int broken;            /* promises that the main thread saw broken */
    merle_section section; /* the one that is held open */
    sight then;            /* what it saw first: it must go on seeing exactly this */
    board board_then;
    double then_seconds;
    board board;       /* the latest */
    int64_t points;    /* of all members of the league together, as they must be */
    int is_building;   /* an index */
    uint64_t quarters; /* of it, which were told */
    uint64_t level_matched;
    merle_changes *changes;
    uint64_t changes_seq; /* the last one that the cursor gave */
    int live;
    int is_fast; /* no pauses between ticks */
    double began_seconds, seconds_max;
    feed story, news;
} game;

double seconds_now(void);
/* Tells what happened; where there is no picture it is a line. */
void tell(game *g, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Counts and tells a promise that did not hold. */
void must(game *g, int holds, const char *promise);

/* Opens the section that is held open. */
void begin_old_section(game *g);
/* Plays the scene of that number; now is the world before it. */
void play_scene(game *g, const sight *now, int number);

/* What the section sees of the leaderboard. */
void look_at_board(game *g, merle_section *section, board *out_board);
/* Notes how many points there are at the beginning. */
void begin_league(game *g);
/* Tells how far the index is that is being built, if there is one. */
void watch_index(game *g);
/* Plays one of the league's four scenes. */
void play_league_scene(game *g, int which, int round);

#endif
