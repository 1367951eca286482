/* examples/world.h - the world of the little game: who is in it, and what may happen there.
 *
 * What    Eight players with unique names, a bank and a throne, all of them documents; and a
 *         league of all the others, which has files of its own. Every function that changes
 *         something makes one commit of it. Gold is only moved, never made.
 * Owns    the database.
 * Threads world_create, world_close: setup. All others: any.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef EXAMPLES_WORLD_H
#define EXAMPLES_WORLD_H

#include <merle/merle.h>

enum { PLAYER_COUNT = 8, WORLD_WIDTH = 60, WORLD_HEIGHT = 6, GOLD_TOTAL = 10000 };

typedef struct world {
    merle_db *db;
    merle_collection *players;
    merle_collection *things;
    merle_collection *league; /* everybody else: examples/league.h */
} world;

typedef struct player {
    char name[24];
    int x, y;
    int64_t gold, score;
} player;

/* All of the world at one instant. */
typedef struct sight {
    uint64_t seq;
    player players[PLAYER_COUNT];
    int64_t bank;
    int64_t gold_sum; /* of the bank and all players */
    uint64_t tick;    /* the last one that was committed */
} sight;

/* path NULL: in memory only; else a directory, in which the world may be already. */
merle_err world_create(world *out_world, const char *path);
merle_err world_close(world *w);
/* What the section sees. Fails with MERLE_CORRUPT if a name does not lead to its player. */
merle_err world_look(const world *w, merle_section *section, sight *out_sight);
/* Everybody walks a step and digs up some of the bank's gold; the rich pay a toll; some in the
 * league win points. One commit. */
merle_err world_tick(const world *w, uint32_t number, uint64_t *out_seq);
/* Moves gold from one player to another, if the first has enough. */
merle_err world_trade(const world *w, int from, int to, int64_t gold);
/* MERLE_EXISTS if somebody has the name; report may be NULL. */
merle_err world_rename(const world *w, int number, const char *name, merle_report *report);
merle_err world_swap_names(const world *w, int a, int b);
/* The version of the throne, and taking it as long as it is still that version. */
merle_err world_throne_seq(const world *w, uint64_t *out_seq);
merle_err world_take_throne(const world *w, int number, uint64_t expected_seq);

#endif
