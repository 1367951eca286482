/* examples/game.h - what the files of the game share.
 *
 * What    game.c is the loop and its threads, scenes.c what happens between the ticks, world.c the
 *         rules, screen.c the picture.
 * Threads `stop` and the counts beside it: any. All else belongs to the main thread.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef EXAMPLES_GAME_H
#define EXAMPLES_GAME_H

#include <stdatomic.h>

#include <merle/merle.h>

#include "examples/screen.h"
#include "examples/world.h"

typedef struct game {
    world world;
    _Atomic int stop;
    _Atomic uint64_t looks, torn, trades, failures;
    int broken;            /* promises that the main thread saw broken */
    merle_section section; /* the one that is held open */
    sight then;            /* what it saw first: it must go on seeing exactly this */
    double then_seconds;
    merle_changes *changes;
    uint64_t changes_seq; /* the last one that the cursor gave */
    int live;
    double began_seconds;
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

#endif
