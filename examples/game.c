/* examples/game.c - a small game loop on merle; it ends by itself after about eight seconds.
 *
 * Three threads use one database. The main thread is the game: thirty ticks a second, each of them
 * one commit of 25 patches, and a few scenes between them. A trader moves gold from player to
 * player, and points from member to member of the league. A reader looks at the world as fast as it
 * can and counts what must never be seen: a sum of gold that is not 10,000, or a name that does not
 * lead to its player. At the end come queries: typed by somebody at a terminal, else three of the
 * game's own. Before that the same world is played in a directory by another process, which is
 * killed; what it was promised must be there when the directory is opened again (survive.c).
 *
 *   game           the show, then queries
 *   game --fast    the same, without pauses between the ticks
 *   game --ask     no show: answers the lines of standard input, one query each
 * MERLE_DEMO_SECONDS says how long the show is. The result is 0 if everything held.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "examples/ask.h"
#include "examples/game.h"
#include "examples/survive.h"

enum {
    TICKS_A_SECOND = 30,
    TICKS_A_SCENE = 22,
    TICKS_A_FRAME = 2,
    TICKS_A_BOARD = 10,
    SECONDS_DEFAULT = 8
};
#define SECOND_NS 1000000000u
#define TRADE_PAUSE_NS 500000
#define TRADES_A_TICK 30
#define STEP_BUDGET_NS 300000

/* ---- the other two threads ---- */

static void *read_all_the_time(void *context) {
    game *g = context;
    while (!atomic_load(&g->stop)) {
        merle_section section;
        sight seen;
        if (merle_section_begin(g->world.db, &section) != MERLE_OK) break;
        merle_err err = world_look(&g->world, &section, &seen);
        (void)merle_section_end(&section);
        atomic_fetch_add(&g->looks, 1);
        if (err != MERLE_OK || seen.gold_sum != GOLD_TOTAL) atomic_fetch_add(&g->torn, 1);
    }
    return NULL;
}

static void *trade_all_the_time(void *context) {
    game *g = context;
    const struct timespec pause = {0, TRADE_PAUSE_NS};
    for (unsigned random = 1; !atomic_load(&g->stop); random = random * 1103515245u + 12345u) {
        int from = (int)(random >> 16) % PLAYER_COUNT;
        int to = (from + 1 + (int)(random >> 24) % (PLAYER_COUNT - 1)) % PLAYER_COUNT;
        merle_err err = world_trade(&g->world, from, to, 1 + (int64_t)(random >> 20) % 50);
        atomic_fetch_add(err == MERLE_OK ? &g->trades : &g->failures, 1);
        int winner = (int)(random >> 8) % MEMBER_COUNT, loser = (int)(random >> 9) % MEMBER_COUNT;
        err = league_duel(&g->world, winner, loser, 1 + (int64_t)(random >> 20) % 50);
        atomic_fetch_add(err == MERLE_OK ? &g->duels : &g->failures, 1);
        do { /* a trader, not a benchmark: it keeps the pace of the ticks */
            nanosleep(&pause, NULL);
        } while (!atomic_load(&g->stop) &&
                 atomic_load(&g->trades) > TRADES_A_TICK * atomic_load(&g->ticks));
    }
    return NULL;
}

/* ---- the change cursor ---- */

static int is_said(merle_bytes bytes, const char *word) {
    return bytes.size == strlen(word) && memcmp(bytes.data, word, bytes.size) == 0;
}

static void hear(game *g, const merle_change *c) {
    must(g, c->seq == g->changes_seq || c->seq == g->changes_seq + 1, "changes come without gaps");
    g->changes_seq = c->seq;
    if (c->kind == MERLE_CHANGE_DEFINE)
        feed_add(&g->news, "seq %llu, define: the league has other indexes",
                 (unsigned long long)c->seq);
    if (c->kind != MERLE_CHANGE_PATCH || c->after.data == NULL) return;
    merle_bytes origin = c->origin_bytes, name = merle_doc_str(c->after, "name");
    unsigned long long seq = c->seq;
    if (is_said(origin, "rename") || is_said(origin, "swap"))
        feed_add(&g->news, "seq %llu, %.*s: %.*s is now %.*s", seq, (int)origin.size,
                 (const char *)origin.data, (int)c->key.size, (const char *)c->key.data,
                 (int)name.size, (const char *)name.data);
    else if (is_said(origin, "guild"))
        feed_add(&g->news, "seq %llu, guild: %.*s is in another one", seq, (int)name.size,
                 (const char *)name.data);
    else if (is_said(origin, "throne"))
        feed_add(&g->news, "seq %llu, throne: held by p%lld", seq,
                 (long long)merle_doc_int(c->after, "holder", -1));
    else if (is_said(origin, "tick") && c->position == 0 && seq % 64 == 0)
        feed_add(&g->news, "seq %llu, tick: %u changes in one commit", seq, c->count);
}

static void hear_changes(game *g) {
    merle_change batch[64];
    size_t count;
    do {
        merle_err err = merle_changes_next(g->changes, batch, 64, &count);
        must(g, err == MERLE_OK, "the change cursor keeps up");
        if (err != MERLE_OK) return;
        for (size_t i = 0; i < count; i++) hear(g, &batch[i]);
    } while (count > 0);
}

/* ---- the game ---- */

/* The section held open must see what it saw at first, whatever was committed since. */
static void look_again(game *g) {
    sight again;
    merle_err err = world_look(&g->world, &g->section, &again);
    must(g, err == MERLE_OK && memcmp(&again, &g->then, sizeof again) == 0,
         "an open section sees its own instant");
}

static void look_now(game *g, sight *out_now) {
    merle_section section;
    must(g, merle_section_begin(g->world.db, &section) == MERLE_OK, "a section can be opened");
    must(g, world_look(&g->world, &section, out_now) == MERLE_OK, "the world can be seen");
    must(g, out_now->gold_sum == GOLD_TOTAL, "the gold stays the same");
    (void)merle_section_end(&section);
}

/* The leaderboard of now, and that of the old section: it stays as it was while places change. */
static void look_at_boards(game *g) {
    merle_section section;
    board again;
    must(g, merle_section_begin(g->world.db, &section) == MERLE_OK, "a section can be opened");
    look_at_board(g, &section, &g->board);
    (void)merle_section_end(&section);
    look_at_board(g, &g->section, &again);
    must(g, memcmp(&again, &g->board_then, sizeof again) == 0,
         "an open section sees the leaderboard of its own instant");
}

static void show(game *g, const sight *now, uint64_t ticks) {
    double clock = seconds_now();
    picture p = {
        .now = now, .then = &g->then, .story = &g->story, .news = &g->news, .board = &g->board};
    p.seconds = clock - g->began_seconds;
    p.seconds_max = g->seconds_max;
    p.then_age_seconds = clock - g->then_seconds;
    p.looks = atomic_load(&g->looks);
    p.torn = atomic_load(&g->torn);
    p.trades = atomic_load(&g->trades);
    p.duels = atomic_load(&g->duels);
    p.ticks = ticks;
    p.stats.size = sizeof p.stats;
    (void)merle_stats(g->world.db, &p.stats);
    if (g->live)
        screen_draw(&p);
    else if (ticks % TICKS_A_SECOND == 0)
        screen_status(&p);
}

/* Waits until the next tick is due, which depends on no tick before it. */
static void wait_for_tick(struct timespec *next) {
    next->tv_nsec += SECOND_NS / TICKS_A_SECOND;
    next->tv_sec += next->tv_nsec / (long)SECOND_NS;
    next->tv_nsec %= (long)SECOND_NS;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL);
}

static void play_tick(game *g, uint32_t tick) {
    sight now;
    must(g, world_tick(&g->world, tick, NULL) == MERLE_OK, "a tick is committed");
    atomic_fetch_add(&g->ticks, 1);
    g->points += TICK_POINTS;
    (void)merle_step(g->world.db, 0, STEP_BUDGET_NS); /* MERLE_BUSY: the next tick goes on */
    look_now(g, &now);
    look_again(g);
    if (tick % TICKS_A_BOARD == 1) look_at_boards(g);
    watch_index(g);
    if (tick % TICKS_A_SCENE == TICKS_A_SCENE / 2) play_scene(g, &now, (int)(tick / TICKS_A_SCENE));
    hear_changes(g);
    if (tick % TICKS_A_FRAME == 0) show(g, &now, tick);
}

static void play(game *g) {
    struct timespec next;
    uint32_t tick_max = (uint32_t)(g->seconds_max * TICKS_A_SECOND);
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (uint32_t tick = 1; tick <= tick_max && g->broken == 0; tick++) {
        play_tick(g, tick);
        if (!g->is_fast) wait_for_tick(&next);
    }
}

static int run_with_threads(game *g) {
    pthread_t reader, trader;
    if (pthread_create(&reader, NULL, read_all_the_time, g) != 0) return 0;
    int has_trader = pthread_create(&trader, NULL, trade_all_the_time, g) == 0;
    if (has_trader) play(g);
    atomic_store(&g->stop, 1);
    if (has_trader) pthread_join(trader, NULL);
    pthread_join(reader, NULL);
    return has_trader;
}

static int finish(game *g) {
    merle_report report;
    hear_changes(g);
    merle_changes_close(g->changes);
    must(g, merle_section_end(&g->section) == MERLE_OK, "a section can be ended");
    merle_err checked = merle_check(g->world.db, &report);
    if (checked != MERLE_OK) printf("merle_check: %s\n", report.message);
    uint64_t torn = atomic_load(&g->torn), failures = atomic_load(&g->failures);
    printf(
        "\n%llu looks, %llu torn sums; %llu trades and %llu duels, %llu failed; %d broken "
        "promises; "
        "check %s\n",
        (unsigned long long)atomic_load(&g->looks), (unsigned long long)torn,
        (unsigned long long)atomic_load(&g->trades), (unsigned long long)atomic_load(&g->duels),
        (unsigned long long)failures, g->broken, merle_err_name(checked));
    return torn == 0 && failures == 0 && g->broken == 0 && checked == MERLE_OK;
}

/* 1 if everything was as promised. */
static int run_show(game *g) {
    merle_changes_options options = {.after_seq = UINT64_MAX, .want_after = 1};
    const char *asked = getenv("MERLE_DEMO_SECONDS");
    g->seconds_max = asked != NULL ? atof(asked) : SECONDS_DEFAULT;
    if (merle_changes_open(g->world.db, &options, &g->changes) != MERLE_OK) return 0;
    g->changes_seq = merle_changes_position(g->changes);
    g->live = screen_is_live() && !g->is_fast;
    g->began_seconds = seconds_now();
    if (g->live) screen_begin();
    begin_league(g);
    begin_old_section(g);
    int has_run = run_with_threads(g);
    int holds = finish(g) && has_run;
    g->live = 0; /* from here on lines are printed */
    printf("\n");
    survive(g);
    holds &= g->broken == 0;
    if (isatty(STDIN_FILENO) && screen_is_live() && !g->is_fast)
        ask_lines(&g->world, stdin, 1);
    else
        holds &= ask_examples(&g->world);
    return holds;
}

int main(int argument_count, char **arguments) {
    static game g;
    const char *option = argument_count > 1 ? arguments[1] : "";
    int only_asks = strcmp(option, "--ask") == 0, holds = 1;
    g.is_fast = strcmp(option, "--fast") == 0;
    if (*option != '\0' && !only_asks && !g.is_fast) {
        fprintf(stderr, "usage: game [--fast | --ask]\n");
        return 2;
    }
    if (world_create(&g.world, NULL) != MERLE_OK) return 1;
    if (only_asks)
        ask_lines(&g.world, stdin, isatty(STDIN_FILENO));
    else
        holds = run_show(&g);
    return world_close(&g.world) == MERLE_OK && holds ? 0 : 1;
}
