/* persist/log_thread.c - starts, steps and ends a log; its thread "merle-disk".
 *
 * The thread writes and syncs what nobody waits for, and prepares files. It is asleep where only
 * commits come that wait for the disk: those do the work themselves. The first commit after a pause
 * wakes it; from then on it looks again after a short nap, as long as there is something to do, so
 * that not every commit has to wake it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/report.h"
#include "persist/log_state.h"

#define NAP_NS 2000000u     /* between two looks while commits come */
#define AGAIN_NS 100000000u /* while no file can be prepared */
#define SYNC_DEFAULT_NS 10000000u
#define FOR_EVER UINT64_MAX

/* ---- steps ---- */

static int is_drain_due(const mrl_log_set *set, uint64_t now_ns) {
    const mrl_log *log = set->start.log;
    uint64_t deadline = atomic_load_explicit(&set->loose_deadline_ns, memory_order_relaxed);
    if (mrl_log_written_seq(log) < mrl_log_published_at(mrl_log_published(log))) return 1;
    if (deadline != 0 && now_ns >= deadline) return 1;
    return mrl_log_asked(log) > mrl_log_durable_seq(log);
}

size_t mrl_log_set_step(mrl_log_set *set, mrl_member *member, uint64_t now_ns) {
    mrl_log *log = set->start.log;
    if (log == NULL || mrl_log_failure(log) != MERLE_OK) return 0;
    size_t done = is_drain_due(set, now_ns) ? (size_t)mrl_log_drain(log, member) : 0;
    return done + (mrl_log_prepare_is_due(set) ? mrl_log_prepare(set) : 0);
}

int mrl_log_set_has_more(mrl_log_set *set) {
    mrl_log *log = set->start.log;
    if (log == NULL || mrl_log_failure(log) != MERLE_OK) return 0;
    if (atomic_load_explicit(&set->loose_deadline_ns, memory_order_relaxed) != 0) return 1;
    if (mrl_log_written_seq(log) < mrl_log_published_at(mrl_log_published(log))) return 1;
    return mrl_log_prepare_is_due(set);
}

/* ---- the thread ---- */

/* How long nothing has to be done; *out_is_idle: any commit changes that. */
static uint64_t rest_ns(mrl_log_set *set, uint64_t now_ns, int has_done, int *out_is_idle) {
    uint64_t deadline = atomic_load_explicit(&set->loose_deadline_ns, memory_order_relaxed);
    *out_is_idle = 0;
    if (deadline != 0) {
        uint64_t left = deadline > now_ns ? deadline - now_ns : 0;
        return left < NAP_NS ? left : NAP_NS;
    }
    if (has_done) return NAP_NS;
    *out_is_idle = 1;
    return mrl_log_prepare_is_due(set) ? AGAIN_NS : FOR_EVER;
}

/* One look; returns for how long nothing need be done. */
static uint64_t work(mrl_log_set *set, mrl_member *member, int *out_is_idle) {
    mrl_log *log = set->start.log;
    int has_done = 0;
    *out_is_idle = 0;
    if (mrl_log_failure(log) != MERLE_OK) return FOR_EVER;
    if (is_drain_due(set, mrl_log_now_ns(set))) {
        /* Somebody who waits for the disk may be at it: he does it for us. */
        if (!mrl_log_drain_or_await(log, member, NAP_NS)) return 0;
        has_done = 1;
    }
    if (mrl_log_prepare_is_due(set) && mrl_log_prepare(set) != 0) return 0;
    return rest_ns(set, mrl_log_now_ns(set), has_done, out_is_idle);
}

static void *run(void *context) {
    mrl_log_set *set = context;
    mrl_log *log = set->start.log;
    mrl_member *member = mrl_member_join(set->start.domain);
    while (!atomic_load_explicit(&set->stop, memory_order_acquire)) {
        uint32_t seen = mrl_event_count(mrl_log_work(log));
        int is_idle = 1;
        if (atomic_load_explicit(&set->stop, memory_order_acquire)) break;
        /* Without memory for a member of its own it tries again later: who waits does the work. */
        if (member == NULL) member = mrl_member_join(set->start.domain);
        if (member == NULL && mrl_log_prepare_is_due(set)) (void)mrl_log_prepare(set);
        uint64_t rest = member == NULL ? AGAIN_NS : work(set, member, &is_idle);
        if (mrl_log_failure(log) != MERLE_OK)
            (void)mrl_event_wait(mrl_log_work(log), seen, FOR_EVER);
        else if (rest > 0)
            mrl_log_rest(log, seen, is_idle, rest);
    }
    return NULL;
}

static merle_err thread_begin(mrl_log_set *set, merle_report *report) {
    sigset_t all, before;
    /* The host's signals are the host's business: this thread takes none. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    set->has_thread = 1; /* before it looks */
    int failed = pthread_create(&set->thread, NULL, run, set);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        set->has_thread = 0;
        return mrl_log_complain_system(report, "merle-disk", failed, "starting it");
    }
    pthread_setname_np(set->thread, "merle-disk");
    return MERLE_OK;
}

static void thread_end(mrl_log_set *set) {
    if (!set->has_thread) return;
    atomic_store_explicit(&set->stop, 1, memory_order_release);
    mrl_event_signal(mrl_log_work(set->start.log));
    pthread_join(set->thread, NULL);
    set->has_thread = 0;
}

/* ---- start and end ---- */

static void moved(void *context, uint64_t durable_seq) {
    mrl_log_set *set = context;
    if (set->start.moved != NULL) set->start.moved(set->start.moved_context, durable_seq);
}

/* All that may be on its way fits in a quarter of a file: so one file and the prepared one behind
 * it always have a place for it. */
static void attach(mrl_log_set *set) {
    mrl_log_stats stats;
    mrl_log_stat(set->start.log, &stats);
    uint64_t quarter = set->capacity / 4;
    set->drain = (mrl_drain){
        .context = set,
        .write_group = mrl_log_write,
        .credit_max = stats.ring_size < quarter ? stats.ring_size : quarter,
        .record_max = set->capacity,
        .loose_max = set->start.unsynced_max,
        .moved = moved,
    };
    mrl_log_drain_attach(set->start.log, &set->drain);
    mrl_log_older_init(set);
    mrl_log_older_attach(set->start.log, &set->older);
}

static void detach(mrl_log_set *set) {
    mrl_log_drain_attach(set->start.log, NULL);
    mrl_log_older_attach(set->start.log, NULL);
}

static merle_err begin_term(mrl_log_set *set, merle_report *report) {
    int is_again = mrl_log_is_empty(set, set->start.last_seq);
    merle_err err = is_again ? MERLE_OK : mrl_log_prepare_first(set, report);
    if (err != MERLE_OK) return err;
    mrl_log_term_begin(set, set->start.last_seq);
    attach(set);
    err = is_again ? mrl_log_begin_again(set) : mrl_log_switch(set, set->start.last_seq);
    if (err == MERLE_OK) err = mrl_log_begin_file(set);
    if (err == MERLE_OK) return err;
    if (report != NULL) {
        *report = set->failure;
        report->err = MERLE_SYSTEM;
    }
    detach(set);
    return MERLE_SYSTEM;
}

merle_err mrl_log_set_start(mrl_log_set *set, const mrl_log_start_options *options,
                            merle_report *report) {
    MRL_ASSERT(set->start.log == NULL);
    set->staging = mrl_allocate(MRL_LOG_STAGING_SIZE);
    if (set->staging == NULL) return mrl_report_fill(report, MERLE_NO_MEMORY, NULL);
    set->start = *options;
    if (set->start.unsynced_max == 0) set->start.unsynced_max = MRL_UNSYNCED_DEFAULT;
    if (set->start.sync_ns == 0) set->start.sync_ns = SYNC_DEFAULT_NS;
    mrl_log_set_release(set, options->covered_seq, options->named_id);
    merle_err err = begin_term(set, report);
    if (err == MERLE_OK && options->with_thread) {
        if ((err = thread_begin(set, report)) != MERLE_OK) detach(set);
    }
    if (err != MERLE_OK) set->start.log = NULL;
    return err;
}

static merle_err refuse_to_write(void *context, mrl_member *member) {
    (void)context;
    (void)member;
    return MERLE_READ_ONLY;
}

void mrl_log_set_show(mrl_log_set *set, mrl_log *log) {
    merle_report reason;
    MRL_ASSERT(set->start.log == NULL && set->options.only_reads);
    mrl_report_clear(&reason);
    mrl_report_fill(&reason, MERLE_READ_ONLY, "the database was opened for reading");
    set->start.log = log;
    set->drain = (mrl_drain){.context = set, .write_group = refuse_to_write};
    mrl_log_drain_attach(log, &set->drain);
    mrl_log_older_init(set);
    mrl_log_older_attach(log, &set->older);
    mrl_log_fail_with(log, MERLE_READ_ONLY, &reason);
}

merle_err mrl_log_set_sync(mrl_log_set *set, mrl_member *member, uint64_t seq) {
    return mrl_log_wait_durable(set->start.log, member, seq);
}

/* Nobody else is at it any more. */
static merle_err write_the_end(mrl_log_set *set, mrl_member *member) {
    mrl_log *log = set->start.log;
    uint64_t published = mrl_log_published_at(mrl_log_published(log));
    merle_err err = mrl_log_wait_durable(log, member, published);
    /* The last mark only says once more what is so. */
    if (err == MERLE_OK && mrl_log_failure(log) == MERLE_OK) (void)mrl_log_write_close(set);
    return err;
}

merle_err mrl_log_set_close(mrl_log_set *set, mrl_member *member) {
    merle_err err = MERLE_OK;
    if (set == NULL) return MERLE_OK;
    if (set->start.log != NULL) {
        thread_end(set);
        if (!set->options.only_reads && write_the_end(set, member) != MERLE_OK)
            err = MERLE_NOT_DURABLE;
        detach(set);
    }
    if (set->file != NULL) set->files->file_close(set->file);
    mrl_log_prepare_fini(set);
    mrl_log_set_destroy(set);
    return err;
}
