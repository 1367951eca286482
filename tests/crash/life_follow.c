/* tests/crash/life_follow.c - cursors over the log: in the ring, in files, across reopenings.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/buffer.h"
#include "tests/crash/life_private.h"

typedef unsigned long long llu;

enum { GIVEN_MAX = 64 };

static void open_cursor(life_worker *w) {
    life *l = w->l;
    crash_run *run = l->run;
    uint64_t last = published(l), after = below(w, last + 1);
    if (below(w, 3) == 0) after = last - below(w, last < 100 ? last + 1 : 100);
    /* Where this one was in an earlier life. */
    uint64_t before = run->followed[w->number];
    int goes_on = before != 0 && below(w, 2);
    if (goes_on) after = before;
    const merle_changes_options options = {.after_seq = after};
    merle_err err = merle_changes_open(l->db, &options, &w->cursor);
    if (err == MERLE_NO_MEMORY) run->totals.refusals[REFUSED_CURSOR]++;
    if (err != MERLE_OK && !life_excuses(l, err))
        oracle_trouble(oracle_of(l), "a cursor behind %llu: %s", (llu)after, merle_err_name(err));
    if (err != MERLE_OK) return;
    w->follower.builder = w->builder;
    follower_begin(&w->follower, after);
    run->totals.cursors++;
    run->totals.cursors_again += goes_on && before <= oracle_of(l)->base_seq;
}

static uint64_t ring_first(const life *l) {
    merle_stats_db stats = {0};
    (void)merle_stats(l->db, &stats);
    return stats.ring_first_seq;
}

static int meet_gap(life_worker *w) {
    life *l = w->l;
    crash_run *run = l->run;
    uint64_t first, last;
    merle_changes_gap(w->cursor, &first, &last);
    run->totals.gaps++;
    /* A file whose header could not be read is left out in this life. */
    int may_lack = !run->keeps_log || l->fault == FAULT_CALL || first < run->log_first_seq;
    if (last > published(l) || !may_lack)
        oracle_trouble(oracle_of(l), "a gap from %llu to %llu; %llu is published", (llu)first,
                       (llu)last, (llu)published(l));
    return follower_gap(&w->follower, first, last);
}

/* 0: there may be more. */
static int take_next(life_worker *w) {
    static const size_t sizes[] = {1, 3, 16, GIVEN_MAX};
    static merle_change given[ORACLE_WORKER_MAX][GIVEN_MAX];
    life *l = w->l;
    oracle *o = oracle_of(l);
    life_totals *t = &l->run->totals;
    merle_change *changes = given[w->number];
    size_t count = 0;
    uint64_t last = published(l), first = ring_first(l);
    int result = 0;
    merle_err err = merle_changes_next(w->cursor, changes, sizes[below(w, 4)], &count);
    oracle_learn(o, l->db);
    const mrl_refusal *refusal = mrl_refusal_of_thread;
    mrl_refusal_of_thread = NULL; /* the test has memory */
    for (size_t i = 0; i < count && result == 0; i++) {
        result = follower_take(&w->follower, o->history, &changes[i]);
        t->changes++;
        t->changes_from_files += changes[i].seq < first;
    }
    mrl_refusal_of_thread = refusal;
    uint64_t position = merle_changes_position(w->cursor);
    if (err == MERLE_GAP)
        result = meet_gap(w);
    else if (err == MERLE_NO_MEMORY)
        t->refusals[REFUSED_CURSOR]++;
    if (err == MERLE_OK && count == 0) {
        result = follower_reach(&w->follower, o->history, position);
        if (position < last)
            oracle_trouble(o, "a cursor stops at %llu of %llu", (llu)position, (llu)last);
    }
    if (err != MERLE_OK && err != MERLE_GAP && !life_excuses(l, err))
        oracle_trouble(o, "a cursor at %llu: %s", (llu)position, merle_err_name(err));
    if (result != 0) oracle_trouble(o, "%s", w->follower.trouble);
    l->run->followed[w->number] = position;
    return result != 0 || err != MERLE_OK || count == 0;
}

void life_follow(life_worker *w) {
    if (w->cursor == NULL) open_cursor(w);
    for (uint64_t i = 1 + below(w, 8); w->cursor != NULL && i > 0; i--)
        if (take_next(w) != 0) break;
    if (below(w, 4) == 0) life_follow_end(w);
}

void life_follow_end(life_worker *w) {
    if (w->cursor != NULL) w->l->run->totals.changes_checked += w->follower.checked;
    w->follower.checked = 0;
    merle_changes_close(w->cursor);
    w->cursor = NULL;
}
