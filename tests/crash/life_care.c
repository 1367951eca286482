/* tests/crash/life_care.c - backups of what runs; restore, repair and verify of what is closed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <merle/care.h>

#include <stdio.h>
#include <string.h>

#include "database/care.h"
#include "tests/crash/life_private.h"

typedef unsigned long long llu;

/* ---- backups ---- */

void life_forget_backup(crash_run *run) {
    if (run->backup[0] != 0) world_free(&run->backup_world);
    if (run->restore_seq != 0) world_free(&run->restore_world);
    disk_lose_all(run->d, run->backup);
    run->backup[0] = 0;
    run->restore_seq = 0;
}

/* Opens what merle_backup has made, while the others go on. */
static void judge_backup(life *l, const char *path, uint64_t seq_min) {
    crash_run *run = l->run;
    oracle *o = run->o;
    merle_report report;
    merle_db *copy = NULL;
    merle_access access =
        mrl_random_below(&run->random, 2) ? MERLE_ACCESS_READ : MERLE_ACCESS_DEFAULT;
    merle_err err = life_open_path(l, path, access, &report, &copy);
    if (err != MERLE_OK) {
        if (!life_excuses(l, err))
            oracle_trouble(o, "opening a backup: %s, %s", merle_err_name(err), report.message);
        return;
    }
    run->backup_seq = mrl_log_published_at(copy->store.published);
    if (run->backup_seq < seq_min)
        oracle_trouble(o, "a backup is of seq %llu, it was begun at %llu", (llu)run->backup_seq,
                       (llu)seq_min);
    oracle_earlier earlier = {.seq = o->base_seq};
    if (run->backup_seq > o->base_seq)
        earlier.seq += mrl_random_below(&run->random, run->backup_seq - o->base_seq);
    if (oracle_compare_copy(o, copy, &run->backup_world, &earlier) == 0)
        (void)snprintf(run->backup, sizeof run->backup, "%s", path);
    run->restore_seq = earlier.seq;
    run->restore_world = earlier.world;
    err = merle_close(copy);
    if (err != MERLE_OK && !life_excuses(l, err))
        oracle_trouble(o, "closing a backup: %s", merle_err_name(err));
    run->totals.backups_opened++;
}

void life_back_up(life_worker *w) {
    life *l = w->l;
    crash_run *run = l->run;
    char path[sizeof run->backup];
    merle_report report;
    memset(&report, 0, sizeof report);
    if (l->has_backup) return; /* one a life */
    l->has_backup = 1;
    life_forget_backup(run);
    (void)snprintf(path, sizeof path, "backup-%llu", (llu)run->totals.lives);
    uint64_t before = published(l);
    merle_err err = merle_backup(l->db, path, NULL, NULL, &report);
    if (err == MERLE_NO_MEMORY) run->totals.refusals[REFUSED_CARE]++;
    if (err == MERLE_OK) {
        run->totals.backups++;
        life_spare(l);
        judge_backup(l, path, before);
        life_refuse_again(l);
    } else if (!life_excuses(l, err)) {
        oracle_trouble(run->o, "a backup: %s, %s", merle_err_name(err), report.message);
    }
    if (run->backup[0] == 0) {
        disk_lose_all(run->d, path);
        life_forget_backup(run);
    }
}

/* ---- what was made must be this ---- */

static void judge_copy(life *l, const char *path, const char *what, const world *w, uint64_t seq) {
    crash_run *run = l->run;
    merle_report report;
    merle_db *copy = NULL;
    merle_err err = life_open_path(l, path, MERLE_ACCESS_EXISTING, &report, &copy);
    if (err != MERLE_OK) {
        if (!life_excuses(l, err))
            oracle_trouble(run->o, "opening %s: %s, %s", what, merle_err_name(err), report.message);
        return;
    }
    uint64_t found = mrl_log_published_at(copy->store.published);
    if (found != seq)
        oracle_trouble(run->o, "%s is of seq %llu instead of %llu", what, (llu)found, (llu)seq);
    (void)oracle_compare_world(run->o, w, seq, copy);
    err = merle_close(copy);
    if (err != MERLE_OK && !life_excuses(l, err)) oracle_trouble(run->o, "closing %s", what);
}

static mrl_environment environment_of(const life *l) {
    mrl_environment environment = *sim_environment(l->s);
    environment.files = disk_files(l->run->d);
    environment.database_id[0] = 7;
    return environment;
}

/* A backup goes back to an earlier commit of the life that it was made in. */
static void restore_backup(life *l) {
    crash_run *run = l->run;
    const mrl_environment environment = environment_of(l);
    const merle_care_options options = {.seq = run->restore_seq, .threads = 1};
    merle_care_info info = {0};
    merle_report report;
    char path[sizeof run->path];
    memset(&report, 0, sizeof report);
    (void)snprintf(path, sizeof path, "restored-%llu", (llu)run->totals.lives);
    merle_err err = mrl_db_restore(&environment, run->backup, path, &options, &info, &report);
    if (err == MERLE_OK) {
        run->totals.restores_back++;
        judge_copy(l, path, "a restored backup", &run->restore_world, run->restore_seq);
    } else if (err == MERLE_NOT_FOUND && run->restore_seq < info.seq_min) {
        run->totals.restores_out_of_reach++;
    } else {
        oracle_trouble(run->o, "restoring a backup to %llu: %s, %s", (llu)run->restore_seq,
                       merle_err_name(err), report.message);
    }
    disk_lose_all(run->d, path);
}

void life_check_backup(life *l) {
    crash_run *run = l->run;
    if (run->backup[0] == 0 || l->fault != FAULT_NONE) return;
    if (run->restore_seq != 0) restore_backup(l);
    merle_report report;
    merle_db *copy = NULL;
    merle_err err = life_open_path(l, run->backup, MERLE_ACCESS_DEFAULT, &report, &copy);
    if (err != MERLE_OK) {
        oracle_trouble(run->o, "opening an older backup: %s, %s", merle_err_name(err),
                       report.message);
        return;
    }
    (void)oracle_compare_world(run->o, &run->backup_world, run->backup_seq, copy);
    if (merle_close(copy) != MERLE_OK) oracle_trouble(run->o, "closing an older backup");
    run->totals.backups_opened++;
    life_forget_backup(run);
}

/* ---- restore, repair, verify, before the directory is opened ---- */

static void keep_finding(void *context, const merle_finding *finding) {
    merle_finding *last = context;
    if (finding->kind != MERLE_FOUND_ORPHAN) *last = *finding;
}

typedef struct caring {
    life *l;
    merle_care_options options;
    merle_care_info info;
    merle_report report;
    merle_finding last; /* that is not harmless */
} caring;

static merle_err call_care(caring *g) {
    const crash_run *run = g->l->run;
    const mrl_environment environment = environment_of(g->l);
    g->options.finding = keep_finding;
    g->options.finding_context = &g->last;
    g->options.threads = 1;
    switch (g->l->caring) {
    case CARE_RESTORE:
        return mrl_db_restore(&environment, run->path, run->copy, &g->options, &g->info,
                              &g->report);
    case CARE_REPAIR:
        return mrl_db_repair(&environment, run->path, run->copy, &g->options, &g->info, &g->report);
    default:
        return mrl_db_verify(&environment, run->path, &g->options, &g->info, &g->report);
    }
}

static uint64_t losses(const caring *g) {
    const merle_care_info *info = &g->info;
    return info->damaged + info->pages_lost + info->pages_older + info->records_lost +
           info->operations_lost + info->duplicates;
}

/* A crash is no damage. What the disk does not let one read is. */
static void judge_care(caring *g, merle_err err) {
    static const char *const names[] = {"none", "restore", "repair", "verify"};
    life *l = g->l;
    oracle *o = oracle_of(l);
    int is_damage = err == MERLE_CORRUPT || (err == MERLE_OK && losses(g) > 0);
    if (err == MERLE_NO_MEMORY) l->run->totals.refusals[REFUSED_CARE]++;
    if (err == MERLE_NOT_FOUND && g->options.seq != 0 && g->options.seq < g->info.seq_min) {
        l->run->totals.restores_out_of_reach++;
    } else if (is_damage) {
        if (l->fault != FAULT_CALL)
            oracle_trouble(o, "%s of a sound directory has found: %s, %s", names[l->caring],
                           g->last.message, g->report.message);
    } else if (err != MERLE_OK && !life_excuses(l, err)) {
        oracle_trouble(o, "%s: %s, %s", names[l->caring], merle_err_name(err), g->report.message);
    }
}

/* What was made becomes the database, or is looked at when that has been opened. */
static void take_copy(caring *g) {
    life *l = g->l;
    crash_run *run = l->run;
    /* One that goes back behind what was promised is of use only as the next world. */
    if (g->options.seq == 0 && mrl_random_below(&run->random, 2)) {
        l->has_copy = 1;
        return;
    }
    if (g->options.seq != 0) oracle_go_back(run->o, g->options.seq);
    run->totals.restores_back += g->options.seq != 0;
    run->totals.cares_taken[l->caring]++;
    disk_lose_all(run->d, run->path);
    memcpy(run->path, run->copy, sizeof run->path);
    run->copy[0] = 0;
    run->log_first_seq = 0;
    run->terms.count = 0;
}

static void forget_copy(crash_run *run) {
    disk_lose_all(run->d, run->copy);
    run->copy[0] = 0;
}

/* After an error nothing is left that could be opened. */
static void judge_failed(life *l) {
    crash_run *run = l->run;
    merle_report report;
    merle_db *copy = NULL;
    life_spare(l);
    if (life_open_path(l, run->copy, MERLE_ACCESS_EXISTING, &report, &copy) == MERLE_OK) {
        oracle_trouble(run->o, "what could not be made can be opened");
        if (merle_close(copy) != MERLE_OK) oracle_trouble(run->o, "closing it");
    }
    life_refuse_again(l);
    forget_copy(run);
}

/* What a stop has left of a copy: it is whole, or told to be unfinished. */
static void judge_rest(life *l) {
    crash_run *run = l->run;
    merle_report report;
    merle_db *copy = NULL;
    merle_err err = life_open_path(l, run->copy, MERLE_ACCESS_EXISTING, &report, &copy);
    if (err == MERLE_OK) {
        uint64_t found = mrl_log_published_at(copy->store.published);
        run->totals.copies_whole++;
        if (merle_check(copy, &report) != MERLE_OK)
            oracle_trouble(run->o, "a copy that was cut off: %s", report.message);
        if (run->copy_seq != 0 ? found != run->copy_seq : found < run->o->promised_seq)
            oracle_trouble(run->o, "a copy that was cut off is of seq %llu", (llu)found);
        if (merle_close(copy) != MERLE_OK) oracle_trouble(run->o, "closing a copy");
    } else {
        run->totals.copies_unfinished++;
        if (err != MERLE_CORRUPT && err != MERLE_NOT_FOUND && !life_excuses(l, err))
            oracle_trouble(run->o, "a copy that was cut off: %s, %s", merle_err_name(err),
                           report.message);
    }
    forget_copy(run);
}

void life_care(life *l) {
    crash_run *run = l->run;
    caring g = {.l = l};
    if (run->copy[0] != 0) {
        judge_rest(l);
        /* It is begun again. */
        l->caring = run->copy_kind;
        g.options.seq = run->copy_seq;
    } else if (l->caring == CARE_RESTORE && mrl_random_below(&run->random, 2)) {
        uint64_t first = run->o->base_seq, end = run->o->promised_seq;
        g.options.seq = first + (end > first ? mrl_random_below(&run->random, end - first) : 0);
    }
    if (l->caring == CARE_NONE) return;
    if (l->caring != CARE_VERIFY) {
        (void)snprintf(run->copy, sizeof run->copy, "world-%llu", (llu)run->totals.lives);
        run->copy_kind = l->caring;
        run->copy_seq = g.options.seq;
    }
    run->copy_of = disk_sum(run->d, run->path);
    l->is_caring = 1;
    merle_err err = call_care(&g);
    l->is_caring = 0;
    if (disk_sum(run->d, run->path) != run->copy_of)
        oracle_trouble(run->o, "what care was taken of is not what it was");
    judge_care(&g, err);
    *(err == MERLE_OK ? &run->totals.cares[l->caring] : &run->totals.cares_failed[l->caring]) += 1;
    if (l->caring == CARE_VERIFY) return;
    if (err != MERLE_OK)
        judge_failed(l);
    else if (losses(&g) > 0)
        forget_copy(run);
    else
        take_copy(&g);
}

void life_care_opened(life *l) {
    crash_run *run = l->run;
    if (run->log_first_seq == 0) run->log_first_seq = run->o->base_seq + 1;
    if (!l->has_copy) return;
    judge_copy(l, run->copy, "a copy", &run->o->base, run->o->base_seq);
    forget_copy(run);
}

void life_care_stopped(life *l) {
    crash_run *run = l->run;
    if (!l->is_caring) return;
    run->totals.cares_stopped[l->caring]++;
    if (disk_sum(run->d, run->path) != run->copy_of)
        oracle_trouble(run->o,
                       "what care was taken of is not what it was when the machine stopped");
}
