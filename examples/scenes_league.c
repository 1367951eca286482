/* examples/scenes_league.c - the league's scenes: the leaderboard, guilds, a new index, a season's
 * end.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "examples/game.h"

enum { SEASON_BONUS = 250, SEASON_COMMIT_MAX = 200, QUARTERS = 4 };

/* ---- the leaderboard ---- */

void look_at_board(game *g, merle_section *section, board *out_board) {
    merle_err err = league_board(&g->world, section, MY_MEMBER, out_board);
    must(g, err == MERLE_OK, "the leaderboard is in order, and places lead back to members");
}

/* All points, added up over 20,000 members at one instant while they are won and lost. */
static void check_points(game *g) {
    merle_section section;
    merle_summary sum;
    must(g, merle_section_begin(g->world.db, &section) == MERLE_OK, "a section can be opened");
    merle_err err = league_sum(&g->world, &section, &sum);
    must(g, err == MERLE_OK && sum.count == MEMBER_COUNT && sum.sum.number.i == g->points,
         "points are only moved, but for those that are given");
    (void)merle_section_end(&section);
}

void begin_league(game *g) {
    merle_section section;
    merle_summary sum = {0};
    must(g, merle_section_begin(g->world.db, &section) == MERLE_OK, "a section can be opened");
    must(g, league_sum(&g->world, &section, &sum) == MERLE_OK, "points can be added up");
    g->points = sum.sum.number.i;
    (void)merle_section_end(&section);
}

static void play_board(game *g) {
    const board *b = &g->board;
    check_points(g);
    tell(g, "%s leads %" PRIu64 " members with %" PRId64 " points; %" PRIu64 " of them duel on.",
         b->top[0].name, b->total, b->top[0].score, (uint64_t)atomic_load(&g->duels));
    if (g->live) return;
    for (int i = 0; i < TOP_ROWS; i++) {
        char line[FEED_COLUMNS];
        screen_board_line(b, i, line, sizeof line);
        printf("            %s\n", line);
    }
}

/* ---- guilds ---- */

static const guild_size *find_guild(const guild_size *guilds, size_t count, const char *tag) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(guilds[i].tag, tag) == 0) return &guilds[i];
    return NULL;
}

static size_t look_at_guilds(game *g, guild_size *out_guilds) {
    merle_section section;
    size_t count = 0;
    uint64_t members = 0;
    must(g, merle_section_begin(g->world.db, &section) == MERLE_OK, "a section can be opened");
    merle_err err = league_guilds(&g->world, &section, out_guilds, &count);
    (void)merle_section_end(&section);
    for (size_t i = 0; i < count; i++) members += out_guilds[i].count;
    must(g, err == MERLE_OK && members == MEMBER_COUNT, "everybody is in one guild");
    return count;
}

/* The member who speaks for the guild of owls goes to the foxes, and back in the next round. */
static void play_guilds(game *g, int round) {
    static const char *const homes[] = {"guild:owls", "guild:foxes"};
    const char *from = homes[round % 2], *to = homes[(round + 1) % 2];
    guild_size before[GUILD_COUNT_MAX], after[GUILD_COUNT_MAX];
    size_t count = look_at_guilds(g, before);
    merle_err err = league_change_guild(&g->world, OWL_MEMBER, from, to);
    must(g, err == MERLE_OK, "a guild can be changed");
    must(g, look_at_guilds(g, after) == count, "no guild comes or goes");
    const guild_size *old = find_guild(before, count, from), *now = find_guild(after, count, from);
    const guild_size *there = find_guild(after, count, to);
    must(g, old != NULL && now != NULL && there != NULL && old->count == now->count + 1,
         "who leaves a guild is not counted there any more");
    if (old == NULL || now == NULL || there == NULL) return;
    tell(g, "%zu guilds; one goes from %s (%" PRIu64 " now) to %s (%" PRIu64 " now).", count, from,
         now->count, to, there->count);
}

static void play_best(game *g) {
    merle_section section;
    uint64_t count = 0;
    board_row best = {0};
    must(g, merle_section_begin(g->world.db, &section) == MERLE_OK, "a section can be opened");
    merle_err err = league_best_of(&g->world, &section, "guild:owls", "lang:de", &count, &best);
    (void)merle_section_end(&section);
    must(g, err == MERLE_OK && count > 0, "guild and language can be asked for together");
    tell(g, "  %" PRIu64 " owls speak German; %s is their best with %" PRId64 " points.", count,
         best.name, best.score);
}

/* ---- an index that comes while the game runs ---- */

static void look_at_levels(game *g, const char *drive_expected) {
    merle_section section;
    char drive[16] = "";
    uint64_t matched = 0;
    must(g, merle_section_begin(g->world.db, &section) == MERLE_OK, "a section can be opened");
    merle_err err = league_level_drive(&g->world, &section, drive, &matched);
    (void)merle_section_end(&section);
    must(g, err == MERLE_OK && strcmp(drive, drive_expected) == 0, "the cheapest plan is taken");
    must(g, g->level_matched == 0 || g->level_matched == matched, "both plans find the same");
    g->level_matched = matched;
    tell(g, "  %" PRIu64 " members are of level 60; they are found by %s", matched, drive);
}

/* In even rounds the index comes, in odd ones it goes. */
static void play_index(game *g, int round) {
    if (round % 2 == 1) {
        must(g, league_drop_level_index(&g->world) == MERLE_OK, "an index can be dropped");
        tell(g, "The index on level is dropped.");
        look_at_levels(g, "walk");
        return;
    }
    look_at_levels(g, "walk");
    must(g, league_add_level_index(&g->world) == MERLE_OK, "an index can be added");
    tell(g, "An index on level is added; it is built while the game goes on.");
    g->is_building = 1;
    g->quarters = 0;
}

void watch_index(game *g) {
    merle_stats_index index = {.size = sizeof index};
    if (!g->is_building) return;
    merle_err err = merle_index_stats(g->world.league, "level", &index);
    must(g, err == MERLE_OK && index.state != MERLE_INDEX_FAILED, "the index is being built");
    if (err != MERLE_OK) return;
    if (index.state == MERLE_INDEX_READY) {
        g->is_building = 0;
        tell(g, "The index is ready, for sections from seq %" PRIu64 " on.", index.ready_seq);
        look_at_levels(g, "ranges");
        return;
    }
    uint64_t quarters = index.slots_done * QUARTERS / index.slots_total;
    if (quarters <= g->quarters) return;
    g->quarters = quarters;
    tell(g, "  %" PRIu64 " of %" PRIu64 " documents are in the index", index.slots_done,
         index.slots_total);
}

/* ---- the season's end ---- */

static void play_season(game *g) {
    guild_size guilds[GUILD_COUNT_MAX];
    merle_bulk bulk;
    size_t count = look_at_guilds(g, guilds);
    const guild_size *owls = find_guild(guilds, count, "guild:owls");
    merle_err err = league_season(&g->world, "guild:owls", SEASON_BONUS, &bulk);
    must(g, err == MERLE_OK && owls != NULL && bulk.changed == owls->count,
         "everybody in the guild gets the bonus, once");
    must(g, bulk.commits >= (bulk.changed + SEASON_COMMIT_MAX - 1) / SEASON_COMMIT_MAX,
         "commits are bounded");
    g->points += (int64_t)bulk.changed * SEASON_BONUS;
    check_points(g);
    tell(g, "The season ends: %" PRIu64 " owls get %d points each, in %" PRIu64 " commits.",
         bulk.changed, SEASON_BONUS, bulk.commits);
}

void play_league_scene(game *g, int which, int round) {
    switch (which) {
    case 0:
        play_board(g);
        break;
    case 1:
        play_guilds(g, round);
        play_best(g);
        break;
    case 2:
        play_index(g, round);
        break;
    default:
        play_season(g);
        break;
    }
}
