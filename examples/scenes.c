/* examples/scenes.c - between the ticks: duels for a name, swaps, the throne, old sections.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "examples/game.h"

double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void tell(game *g, const char *format, ...) {
    char line[FEED_COLUMNS];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    feed_add(&g->story, "%s", line);
    if (!g->live) printf("        %s\n", line);
}

void must(game *g, int holds, const char *promise) {
    if (holds) return;
    g->broken++;
    tell(g, "BROKEN: %s", promise);
}

/* ---- scene: two want one name ---- */

typedef struct duelist {
    const world *world;
    pthread_barrier_t *barrier;
    const char *name;
    int number;
    merle_err err;
    merle_report report;
} duelist;

static void *claim_name(void *context) {
    duelist *d = context;
    pthread_barrier_wait(d->barrier);
    d->err = world_rename(d->world, d->number, d->name, &d->report);
    return NULL;
}

static void play_duel(game *g, const sight *now, int round) {
    static const char *const wanted[] = {"Merlin", "Robin", "Wren", "Swift", "Heron", "Lark"};
    char name[24];
    pthread_t thread;
    pthread_barrier_t barrier;
    int number = round / 6, a = round % PLAYER_COUNT, b = (a + 3) % PLAYER_COUNT;
    snprintf(name, sizeof name, number > 0 ? "%s %d" : "%s", wanted[round % 6], number + 1);
    duelist left = {.world = &g->world, .barrier = &barrier, .name = name, .number = a};
    duelist right = left;
    right.number = b;
    pthread_barrier_init(&barrier, NULL, 2);
    if (pthread_create(&thread, NULL, claim_name, &right) == 0) {
        claim_name(&left);
        pthread_join(thread, NULL);
        const duelist *loser = left.err == MERLE_OK ? &right : &left;
        const duelist *winner = loser == &left ? &right : &left;
        must(g, winner->err == MERLE_OK && loser->err == MERLE_EXISTS, "exactly one gets the name");
        tell(g, "%s and %s both want to be %s: %s is.", now->players[a].name, now->players[b].name,
             name, now->players[winner->number].name);
        tell(g, "  %s sees %s: %s", now->players[loser->number].name, merle_err_name(loser->err),
             loser->report.message);
    }
    pthread_barrier_destroy(&barrier);
}

/* ---- the other scenes ---- */

static void play_swap(game *g, const sight *now, int round) {
    int a = (round + 1) % PLAYER_COUNT, b = (round + 5) % PLAYER_COUNT;
    must(g, world_swap_names(&g->world, a, b) == MERLE_OK, "names can be swapped in one commit");
    tell(g, "%s and %s swap their names in one commit.", now->players[a].name,
         now->players[b].name);
}

static void play_throne(game *g, const sight *now, int round) {
    uint64_t seq;
    int a = round % PLAYER_COUNT, b = (round + 1) % PLAYER_COUNT;
    must(g, world_throne_seq(&g->world, &seq) == MERLE_OK, "the throne is there");
    merle_err first = world_take_throne(&g->world, a, seq);
    merle_err second = world_take_throne(&g->world, b, seq);
    must(g, first == MERLE_OK && second == MERLE_CONFLICT, "compare and set lets one through");
    tell(g, "%s takes the throne as of seq %llu; %s comes too late: %s.", now->players[a].name,
         (unsigned long long)seq, now->players[b].name, merle_err_name(second));
}

void begin_old_section(game *g) {
    must(g, merle_section_begin(g->world.db, &g->section) == MERLE_OK, "a section can be opened");
    must(g, world_look(&g->world, &g->section, &g->then) == MERLE_OK, "the world can be seen");
    look_at_board(g, &g->section, &g->board_then);
    g->then_seconds = seconds_now();
}

static void play_old_section(game *g) {
    must(g, merle_section_end(&g->section) == MERLE_OK, "a section can be ended");
    begin_old_section(g);
    tell(g, "The old section ends, a new one is held open at seq %llu.",
         (unsigned long long)g->then.seq);
}

void play_scene(game *g, const sight *now, int number) {
    int round = number / 8;
    if (number % 2 == 1) {
        play_league_scene(g, number / 2 % 4, round);
        return;
    }
    switch (number / 2 % 4) {
    case 0:
        play_duel(g, now, round);
        break;
    case 1:
        play_swap(g, now, round);
        break;
    case 2:
        play_throne(g, now, round);
        break;
    default:
        play_old_section(g);
        break;
    }
}
