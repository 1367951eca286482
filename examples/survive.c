/* examples/survive.c - a game server that is killed, and the one that comes after it.
 *
 * The first one is a process of its own. Its ticks are asynchronous: acknowledged at once, on the
 * disk some milliseconds later. A purchase is synchronous: when the call returns it is on the disk.
 * After each commit it tells what it has been told itself. It is killed (SIGKILL) at some moment in
 * the middle of that. The second one opens the directory: of what was durable nothing may be
 * missing, and what is there must be a whole number of commits, the first ones.
 *
 * A kill takes less than a power cut does: what was given to the system by then is written by it
 * still. Power cuts are simulated in tests/crash.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "examples/survive.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "examples/sessions.h"

enum {
    COMMITS_FAST = 415,
    COMMITS = 3015,
    COMMITS_A_PURCHASE = 20,
    COMMITS_A_STEP = 8,
    SESSION_WAIT_S = 20
};
#define MILLISECOND_NS INT64_C(1000000)
#define HOUR_NS (3600 * SECOND_NS)

static const char *const names[PLAYER_COUNT] = {"Ada",  "Bran", "Cleo", "Dov",
                                                "Edda", "Finn", "Gwen", "Hal"};

/* What the first process says of itself after a commit. */
typedef struct told {
    uint64_t commits, purchases; /* that were acknowledged */
    uint64_t tick, seq;          /* the last one's */
    uint64_t durable_seq;        /* as merle_durable_seq said afterwards */
} told;

/* ---- the first process ---- */

static merle_err buy(const world *w, merle_collection *purchases, uint64_t number, uint64_t *seq) {
    char key[24];
    merle_commit *commit;
    static const uint8_t empty_map[] = {0x80};
    snprintf(key, sizeof key, "purchase %llu", (unsigned long long)number);
    merle_err err = merle_begin(w->db, &commit);
    if (err != MERLE_OK) return err;
    err = merle_commit_durability(commit, MERLE_SYNC);
    if (err == MERLE_OK)
        err = merle_insert(commit, purchases, merle_str(key),
                           merle_bytes_of(empty_map, sizeof empty_map));
    if (err == MERLE_OK) return merle_end(commit, seq);
    merle_cancel(commit);
    return err;
}

/* Half of them for an hour, the others for a moment. */
static merle_err log_everybody_in(const world *w) {
    merle_collection *sessions;
    merle_err err = sessions_open(w->db, &sessions);
    for (int i = 0; i < PLAYER_COUNT && err == MERLE_OK; i++)
        err = session_begin(sessions, names[i], i % 2 == 0 ? HOUR_NS : MILLISECOND_NS);
    return err;
}

static merle_err commit_one(const world *w, merle_collection *purchases, told *t) {
    merle_err err;
    if ((t->commits + 1) % COMMITS_A_PURCHASE == 0) {
        err = buy(w, purchases, t->purchases + 1, &t->seq);
        t->purchases += err == MERLE_OK;
    } else {
        err = world_tick(w, (uint32_t)t->tick + 1, &t->seq);
        t->tick += err == MERLE_OK;
    }
    t->commits += err == MERLE_OK;
    t->durable_seq = merle_durable_seq(w->db);
    return err;
}

/* Plays until it is killed. */
static void be_the_first(const char *path, int out, uint64_t checkpoint_at) {
    world w;
    merle_collection *purchases;
    told t = {0};
    merle_err err = world_create(&w, path);
    if (err == MERLE_OK) err = merle_collection_open(w.db, "purchases", NULL, &purchases);
    if (err == MERLE_OK) err = log_everybody_in(&w);
    while (err == MERLE_OK) {
        err = commit_one(&w, purchases, &t);
        if (err != MERLE_OK || write(out, &t, sizeof t) != (ssize_t)sizeof t) break;
        /* There are no threads: this is what writes and syncs for commits that do not wait. */
        if (t.commits % COMMITS_A_STEP == 0) (void)merle_step(w.db, 0, 0);
        if (t.commits == checkpoint_at) err = merle_checkpoint(w.db);
    }
    _exit(1);
}

/* ---- and its end ---- */

/* Reads what is told until there is no more; at kill_at commits the other one is killed. */
static int watch_and_kill(pid_t first, int in, uint64_t kill_at, told *out_last) {
    told t;
    int is_killed = 0, status = 0;
    memset(out_last, 0, sizeof *out_last);
    while (read(in, &t, sizeof t) == (ssize_t)sizeof t) {
        *out_last = t;
        if (t.commits >= kill_at && !is_killed) is_killed = kill(first, SIGKILL) == 0;
    }
    (void)waitpid(first, &status, 0);
    return is_killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static int play_and_kill(const char *path, uint64_t kill_at, told *out_last) {
    int ends[2];
    memset(out_last, 0, sizeof *out_last);
    if (pipe(ends) != 0) return 0;
    (void)fflush(NULL); /* or the other process would have our lines, too */
    pid_t first = fork();
    if (first == 0) {
        (void)close(ends[0]);
        be_the_first(path, ends[1], kill_at / 2);
    }
    (void)close(ends[1]);
    int is_killed = first > 0 && watch_and_kill(first, ends[0], kill_at, out_last);
    (void)close(ends[0]);
    return is_killed;
}

/* ---- the second one ---- */

static uint64_t count_purchases(world *w) {
    merle_collection *purchases;
    merle_section section;
    uint64_t count = 0;
    if (merle_collection_find(w->db, "purchases", &purchases) != MERLE_OK) return 0;
    if (merle_section_begin(w->db, &section) != MERLE_OK) return 0;
    (void)merle_count(&section, purchases, &count);
    (void)merle_section_end(&section);
    return count;
}

static void tell_recovery(game *g, world *w, const told *last) {
    merle_recovery_info info = {.size = sizeof info};
    must(g, merle_recovery(w->db, &info) == MERLE_OK, "the opening can be asked about");
    tell(g, "Opened again in %.0f ms: %llu documents from pages, then %llu commits from the log.",
         (double)info.total_ns / 1e6, (unsigned long long)info.documents,
         (unsigned long long)info.records);
    must(g, info.last_seq >= last->durable_seq, "what was durable is there");
    if (info.last_seq < last->seq)
        tell(g, "Lost: %llu, the latest, which were acknowledged and not durable yet.",
             (unsigned long long)(last->seq - info.last_seq));
    else
        tell(g, "Not even a tick is lost. A power cut might have taken some milliseconds of them.");
}

static void compare(game *g, world *w, const told *last) {
    merle_section section;
    sight now;
    uint64_t purchases = count_purchases(w);
    must(g, purchases >= last->purchases, "no purchase is lost");
    must(g, merle_section_begin(w->db, &section) == MERLE_OK, "a section can be opened");
    /* Each name leads to its player, too: world_look has a look. */
    must(g, world_look(w, &section, &now) == MERLE_OK, "the world is there");
    (void)merle_section_end(&section);
    must(g, now.gold_sum == GOLD_TOTAL, "the gold is the same: no commit is there in part");
    must(g, now.tick <= last->tick + 1, "nothing is there that never was");
    tell(g, "All %llu purchases are there, the gold is %lld in all; it is tick %llu of %llu.",
         (unsigned long long)purchases, (long long)now.gold_sum, (unsigned long long)now.tick,
         (unsigned long long)last->tick);
    must(g, merle_check(w->db, NULL) == MERLE_OK, "merle_check finds nothing");
}

/* ---- sessions ---- */

/* Steps until so many are left. Every look counts them in three ways. */
static uint64_t step_until(game *g, world *w, merle_collection *sessions, uint64_t left) {
    uint64_t count = 0, looks = 0;
    double limit = seconds_now() + SESSION_WAIT_S;
    do {
        (void)merle_step(w->db, 0, 0);
        must(g, sessions_count(w->db, sessions, names, PLAYER_COUNT, &count) == MERLE_OK,
             "count, scan and gets agree");
        looks++;
    } while (count > left && g->broken == 0 && seconds_now() < limit);
    must(g, count == left, "sessions end by themselves, and no others");
    return looks;
}

static void play_sessions(game *g, world *w) {
    merle_collection *sessions;
    merle_report report;
    must(g, sessions_open(w->db, &sessions) == MERLE_OK, "the sessions are there");
    (void)step_until(g, w, sessions, PLAYER_COUNT / 2);
    tell(g, "Of 8 sessions the 4 for an hour have lived through it; 4 have ended meanwhile.");
    merle_report_to(w->db, &report);
    must(g, session_begin(sessions, "Ada", HOUR_NS) == MERLE_EXISTS, "nobody is logged in twice");
    tell(g, "Ada logs in once more: %s", report.message);
    merle_report_to(w->db, NULL);
    for (int i = 1; i < PLAYER_COUNT; i += 2)
        must(g, session_begin(sessions, names[i], 200 * MILLISECOND_NS) == MERLE_OK,
             "who is gone may come back");
    must(g, session_renew(sessions, "Bran", HOUR_NS) == MERLE_OK, "a session can be renewed");
    double began = seconds_now();
    uint64_t looks = step_until(g, w, sessions, PLAYER_COUNT / 2 + 1);
    tell(g, "The others come back for 200 ms, Bran stays: 5 are left after %.0f ms (%llu looks).",
         (seconds_now() - began) * 1e3, (unsigned long long)looks);
}

/* ---- all of it ---- */

static void remove_directory(const char *path) {
    DIR *listing = opendir(path);
    const struct dirent *entry;
    while (listing != NULL && (entry = readdir(listing)) != NULL)
        if (entry->d_name[0] != '.') (void)unlinkat(dirfd(listing), entry->d_name, 0);
    if (listing != NULL) (void)closedir(listing);
    (void)rmdir(path);
}

static void be_the_second(game *g, const char *path, const told *last) {
    world w;
    merle_err err = world_create(&w, path);
    must(g, err == MERLE_OK, "what was killed can be opened");
    if (err != MERLE_OK) return;
    tell_recovery(g, &w, last);
    compare(g, &w, last);
    play_sessions(g, &w);
    must(g, world_close(&w) == MERLE_OK, "it can be closed, and everything is on the disk");
}

void survive(game *g) {
    char path[512];
    const char *below = getenv("TMPDIR");
    told last;
    snprintf(path, sizeof path, "%s/merle-demo-XXXXXX", below != NULL ? below : "/tmp");
    must(g, mkdtemp(path) != NULL, "there is a place for a directory");
    if (g->broken != 0) return;
    tell(g, "Another process plays in %s; its ticks are asynchronous, purchases are not.", path);
    must(g, play_and_kill(path, g->is_fast ? COMMITS_FAST : COMMITS, &last), "it was killed");
    tell(g, "Killed. %llu commits were acknowledged to it, the last as seq %llu; durable: %llu.",
         (unsigned long long)last.commits, (unsigned long long)last.seq,
         (unsigned long long)last.durable_seq);
    if (last.commits > 0) be_the_second(g, path, &last);
    remove_directory(path);
}
