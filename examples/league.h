/* examples/league.h - the league: all the other people of the game, with places, guilds, languages.
 *
 * What    20,000 members, each a document with name, level, score, and tags for guild and
 *         language. Points are won from one another, and given by the tick and at a season's end;
 *         so their sum is known at every moment.
 * Owns    nothing; the collection is the world's.
 * Threads league_create: setup. All others: any.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef EXAMPLES_LEAGUE_H
#define EXAMPLES_LEAGUE_H

#include <merle/query.h>

#include "examples/world.h"

enum {
    MEMBER_COUNT = 20000,
    TICK_POINTS = 48, /* what one tick gives to the members together */
    TOP_ROWS = 10,
    AROUND_ROWS = 5,
    GUILD_COUNT_MAX = 16
};

/* ---- making and changing (league.c) ---- */

merle_err league_create(world *w);
/* Adds the tick's points to a commit that is the tick of the whole world. */
merle_err league_tick(const world *w, merle_commit *commit, uint32_t number);
/* Moves points from one member to another, if the first has enough. */
merle_err league_duel(const world *w, int winner, int loser, int64_t points);
/* Takes a member out of one guild and into another; only the entries of these two tags change. */
merle_err league_change_guild(const world *w, int member, const char *from, const char *to);
/* Gives everybody in the guild a bonus, in commits of at most 200 members. */
merle_err league_season(const world *w, const char *guild, int64_t bonus, merle_bulk *out_bulk);
merle_err league_add_level_index(const world *w);
merle_err league_drop_level_index(const world *w);

/* ---- looking (board.c) ---- */

typedef struct board_row {
    uint64_t place; /* from 1 */
    char name[24];
    int64_t score;
} board_row;

/* The leaderboard at one instant: its head, and one member with those around. */
typedef struct board {
    uint64_t total;
    uint64_t mine; /* the member's place, from 1 */
    board_row top[TOP_ROWS];
    board_row around[AROUND_ROWS];
} board;

/* Fails with MERLE_CORRUPT if places and scores do not agree. */
merle_err league_board(const world *w, merle_section *section, int member, board *out_board);

typedef struct guild_size {
    char tag[24];
    uint64_t count; /* exactly, at the section's instant */
} guild_size;

merle_err league_guilds(const world *w, merle_section *section, guild_size *out_guilds,
                        size_t *out_count);
/* How many members there are, and all their points. */
merle_err league_sum(const world *w, merle_section *section, merle_summary *out_summary);
/* How many have both tags, and the name of the one with the most points. */
merle_err league_best_of(const world *w, merle_section *section, const char *guild,
                         const char *language, uint64_t *out_count, board_row *out_best);
/* What drives a query for a level, by explain: "walk", or "ranges" where there is an index. */
merle_err league_level_drive(const world *w, merle_section *section, char out_drive[16],
                             uint64_t *out_matched);

#endif
