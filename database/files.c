/* database/files.c - a database with a path: opening, the thread "merle-pages", what is told of it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/lock.h"
#include "base/report.h"
#include "database/database.h"

#define LOOK_NS 20000000u /* how often the thread looks whether a checkpoint is due */
enum { PAGES_NICE = 10 }; /* writers and readers come first where processors are few */

struct mrl_pages_thread {
    pthread_t thread;
    mrl_event wake;
    _Atomic int stop;
};

/* ---- opening ---- */

merle_err mrl_files_open(merle_db *db, const char *path, mrl_member *member) {
    mrl_persist_options options = {
        .path = path,
        .environment = db->environment,
        .store = &db->store,
        .with_threads =
            db->options.threads == MERLE_THREADS_BACKGROUND && db->environment.scheduler == NULL,
        .given = &db->options,
        .log_file_size = db->options.log_file_size,
        .log = {.unsynced_max = db->options.unsynced_max,
                .sync_ns = (uint64_t)db->options.sync_interval_ms * 1000000,
                .keep_bytes = db->options.log_keep_bytes,
                .keep_ns = db->options.log_keep_ns,
                .moved = mrl_durable_moved,
                .moved_context = &db->durable},
    };
    merle_err err = mrl_persist_open(&options, member, &db->persist, db->options.report);
    if (err != MERLE_OK) return err;
    memcpy(db->database_id, mrl_persist_database_id(db->persist), sizeof db->database_id);
    db->term = mrl_persist_recovery(db->persist)->term;
    db->term_id = mrl_log_set_term_id(mrl_persist_log_set(db->persist));
    return MERLE_OK;
}

/* ---- checkpoints by steps, or by a thread ---- */

static void tell_failure(const merle_db *db, const merle_report *report) {
    if (report->err == MERLE_OK || db->notices.fn == NULL) return;
    db->notices.fn(db->notices.context, MERLE_LOG_ERROR, report->message);
}

static size_t pages_step(merle_db *db, mrl_member *member, uint64_t now_ns) {
    merle_report report;
    mrl_report_clear(&report);
    size_t done = mrl_persist_step(db->persist, member, now_ns, &report);
    tell_failure(db, &report);
    return done;
}

/* Where there are threads they do it: a host that steps besides does not wait on the disk. */
static int is_for_steps(const merle_db *db) {
    return db->persist != NULL && db->options.threads == MERLE_THREADS_NONE;
}

size_t mrl_files_step(merle_db *db, mrl_member *member, uint64_t now_ns) {
    if (!is_for_steps(db)) return 0;
    size_t done = mrl_log_set_step(mrl_persist_log_set(db->persist), member, now_ns);
    return done + pages_step(db, member, now_ns);
}

int mrl_files_have_more(merle_db *db) {
    if (!is_for_steps(db)) return 0;
    return mrl_log_set_has_more(mrl_persist_log_set(db->persist)) ||
           mrl_persist_is_busy(db->persist);
}

static void *run(void *context) {
    merle_db *db = context;
    struct mrl_pages_thread *pages = db->pages;
    mrl_member *member = mrl_member_join(db->domain);
    /* Of this thread alone, as Linux has it; without the permission it runs as the others do. */
    (void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + PAGES_NICE);
    while (!atomic_load_explicit(&pages->stop, memory_order_acquire)) {
        uint32_t seen = mrl_event_count(&pages->wake);
        if (atomic_load_explicit(&pages->stop, memory_order_acquire)) break;
        if (member == NULL) member = mrl_member_join(db->domain);
        uint64_t now_ns = db->clock->monotonic_ns(db->clock->context);
        if (member == NULL || pages_step(db, member, now_ns) == 0)
            (void)mrl_event_wait(&pages->wake, seen, LOOK_NS);
    }
    return NULL;
}

merle_err mrl_pages_start(merle_db *db) {
    sigset_t all, before;
    struct mrl_pages_thread *pages = calloc(1, sizeof *pages);
    if (pages == NULL) return MERLE_NO_MEMORY;
    mrl_event_init(&pages->wake);
    db->pages = pages;
    /* The host's signals are the host's business: this thread takes none. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&pages->thread, NULL, run, db);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        db->pages = NULL;
        free(pages);
        return MERLE_SYSTEM;
    }
    pthread_setname_np(pages->thread, "merle-pages");
    return MERLE_OK;
}

void mrl_pages_stop(merle_db *db) {
    struct mrl_pages_thread *pages = db->pages;
    if (pages == NULL) return;
    atomic_store_explicit(&pages->stop, 1, memory_order_release);
    mrl_event_signal(&pages->wake);
    pthread_join(pages->thread, NULL);
    db->pages = NULL;
    free(pages);
}

/* ---- figures ---- */

static void stat_checkpoints(const mrl_checkpoint_stats *from, merle_stats_db *stats) {
    const struct {
        const _Atomic uint64_t *from;
        uint64_t *out;
    } fields[] = {
        {&from->done, &stats->checkpoints},
        {&from->failed, &stats->checkpoints_failed},
        {&from->last_seq, &stats->checkpoint_seq},
        {&from->last_pages, &stats->checkpoint_pages},
        {&from->last_bytes, &stats->checkpoint_bytes},
        {&from->last_ns, &stats->checkpoint_ns},
        {&from->slots_done, &stats->checkpoint_slots_done},
        {&from->slots_total, &stats->checkpoint_slots_total},
        {&from->page_files, &stats->page_files},
        {&from->page_count, &stats->pages},
        {&from->page_bytes, &stats->page_bytes},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        *fields[i].out = atomic_load_explicit(fields[i].from, memory_order_relaxed);
}

void mrl_files_stat(merle_db *db, merle_stats_db *stats) {
    mrl_log_set_stats log;
    mrl_log_stats ring;
    if (db->persist == NULL) return;
    stat_checkpoints(mrl_persist_checkpoint_stats(db->persist), stats);
    mrl_log_set_stat(mrl_persist_log_set(db->persist), &log);
    stats->log_bytes_written = log.bytes_written;
    stats->log_groups = log.groups;
    stats->log_group_bytes_max = log.group_bytes_max;
    stats->log_records = log.records;
    stats->log_syncs = log.syncs;
    stats->log_sync_ns = log.sync_ns;
    stats->log_sync_ns_max = log.sync_ns_max;
    stats->log_files = log.files;
    stats->log_files_spare = log.files_spare;
    mrl_log_stat(db->log, &ring);
    stats->log_unsynced_bytes = ring.loose;
}

/* ---- the public calls ---- */

static merle_err join(merle_db *db, mrl_member **out_member) {
    if (db == NULL) return MERLE_INVALID;
    if (mrl_domain_is_forked(db->domain)) return MERLE_FORKED;
    *out_member = mrl_member_join(db->domain);
    return *out_member == NULL ? MERLE_NO_MEMORY : MERLE_OK;
}

merle_err merle_checkpoint(merle_db *db) {
    mrl_member *member;
    merle_err err = join(db, &member);
    if (err != MERLE_OK || db->persist == NULL) return err;
    return mrl_persist_checkpoint(db->persist, member, member->report);
}

merle_err merle_recovery(merle_db *db, merle_recovery_info *out_info) {
    if (db == NULL) return MERLE_INVALID;
    if (db->persist == NULL) return MERLE_NOT_FOUND;
    size_t asked = out_info->size == 0 ? sizeof *out_info : out_info->size;
    if (asked > sizeof *out_info) return MERLE_INVALID;
    memcpy(out_info, mrl_persist_recovery(db->persist), asked);
    out_info->size = asked;
    return MERLE_OK;
}

merle_err merle_files(merle_db *db, merle_buffer *out_json) {
    mrl_member *member;
    merle_err err = join(db, &member);
    if (err != MERLE_OK) return err;
    if (db->persist == NULL) return MERLE_NOT_FOUND;
    return mrl_persist_files(db->persist, out_json, member->report);
}
