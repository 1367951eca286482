/* persist/persist.c - opening a directory, and when checkpoints are made.
 *
 * A directory without a manifest is new if it has no other file of ours: the first manifest is put
 * there before anything else, so that whatever lies there without one has lost something.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "persist/persist_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/random.h"
#include "base/report.h"
#include "persist/recover.h"

#define CHECKPOINT_LOG_DEFAULT ((uint64_t)256 << 20)
#define RETRY_NS ((uint64_t)1000000000)
#define MANIFEST_SIZE_MAX ((uint64_t)1 << 30)
enum { THREADS_DEFAULT_MAX = 8, FILES_MANY = 4, FILES_MAX = 16 };

static const char help[] =
    "merle restore goes back to an older state, merle repair takes what can "
    "be taken";

static int is_reading(const mrl_persist *p) {
    return p->options.given->access == MERLE_ACCESS_READ;
}

/* ---- manifests ---- */

/* Errors: MERLE_CORRUPT, MERLE_UNSUPPORTED, MERLE_SYSTEM, MERLE_NO_MEMORY, with a report. */
static merle_err read_manifest(mrl_persist *p, const mrl_file_entry *entry, mrl_manifest *out,
                               merle_report *report) {
    merle_buffer bytes = {0};
    const char *why;
    uint64_t offset;
    char expected[64], found[64];
    merle_err err =
        mrl_directory_read(&p->directory, entry->name, MANIFEST_SIZE_MAX, &bytes, report);
    if (err != MERLE_OK) goto done;
    err = mrl_manifest_read(merle_bytes_of(bytes.data, bytes.size), out, &why, &offset);
    if (err == MERLE_NO_MEMORY) mrl_report_fill(report, err, "no memory for the manifest");
    if (err == MERLE_CORRUPT || err == MERLE_UNSUPPORTED) {
        mrl_damage damage = {entry->name, offset, "a manifest as docs/format.md has it",
                             why,         why,    help};
        (void)mrl_directory_damage(&p->directory, report, err, &damage);
    }
    if (err == MERLE_OK && out->number != entry->id) {
        snprintf(expected, sizeof expected, "manifest %016" PRIx64, entry->id);
        snprintf(found, sizeof found, "manifest %016" PRIx64, out->number);
        mrl_damage damage = {entry->name, 24, expected, found, "the manifest was renamed", help};
        mrl_manifest_fini(out);
        err = mrl_directory_damage(&p->directory, report, MERLE_CORRUPT, &damage);
    }
done:
    merle_buffer_free(&bytes);
    return err;
}

/* The first manifest of a new directory. */
static merle_err make_first(mrl_persist *p, merle_report *report) {
    mrl_checkpoint *c = &p->checkpoint;
    mrl_manifest *m = &c->next;
    *m = (mrl_manifest){.number = 1, .collection_next_id = 1};
    memcpy(m->database_id, p->options.environment.database_id, sizeof m->database_id);
    if ((m->database_id[0] | m->database_id[1]) == 0) {
        m->database_id[0] = mrl_random_seed();
        m->database_id[1] = mrl_random_seed();
    }
    m->time_ns = p->clock->wall_ns(p->clock->context);
    c->manifest_next = 2;
    p->recovery.is_new = 1;
    merle_err err = mrl_checkpoint_write_manifest(c, report);
    if (err != MERLE_OK) return err;
    c->current = *m;
    memset(m, 0, sizeof *m);
    return MERLE_OK;
}

/* Once the log has its first file: a manifest that names it, so that its loss is noticed. */
static merle_err make_second(mrl_persist *p, merle_report *report) {
    mrl_checkpoint *c = &p->checkpoint;
    c->next = c->current;
    c->next.number = c->manifest_next++;
    c->next.term = mrl_log_set_term(p->log_set);
    c->next.log_id = mrl_log_set_id_for(p->log_set, 0);
    merle_err err = mrl_checkpoint_write_manifest(c, report);
    if (err == MERLE_OK) {
        err = mrl_checkpoint_keep(c, &c->current);
        c->current = c->next;
    }
    memset(&c->next, 0, sizeof c->next);
    return err;
}

/* The newest manifest counts; one that is damaged is not passed over in silence, for what it has
 * is newer than what an older one with the log could still give. */
static merle_err choose_manifest(mrl_persist *p, const mrl_file_list *list, merle_report *report) {
    mrl_checkpoint *c = &p->checkpoint;
    size_t count = 0;
    const char *other = NULL;
    for (size_t i = 0; i < list->count; i++) {
        const mrl_file_entry *entry = &list->entries[i];
        if (entry->kind == MRL_FILE_MANIFEST) count++;
        if (entry->kind == MRL_FILE_PAGES) c->file_next = entry->id + 1;
        if (entry->kind == MRL_FILE_PAGES || entry->kind == MRL_FILE_LOG) other = entry->name;
    }
    if (c->file_next == 0) c->file_next = 1;
    if (count == 0 && other == NULL && p->options.given->access == MERLE_ACCESS_DEFAULT)
        return make_first(p, report);
    if (count == 0 && other == NULL)
        return mrl_report_fill(report, MERLE_NOT_FOUND, "%s: the database is there no more",
                               p->directory.path);
    if (count == 0) {
        mrl_damage damage = {other,
                             0,
                             "a manifest-<number> besides",
                             "none",
                             "the directory has log or page files and no manifest",
                             "merle repair takes what can be taken"};
        return mrl_directory_damage(&p->directory, report, MERLE_CORRUPT, &damage);
    }
    const mrl_file_entry *newest = &list->entries[count - 1]; /* manifests come first */
    c->manifest_next = newest->id + 1;
    merle_err err = read_manifest(p, newest, &c->current, report);
    if (err != MERLE_OK) return err;
    for (size_t i = 0; i + 1 < count && err == MERLE_OK; i++) {
        mrl_manifest older;
        err = read_manifest(p, &list->entries[i], &older, NULL);
        if (err == MERLE_OK) {
            err = mrl_checkpoint_keep(c, &older);
            mrl_manifest_fini(&older);
        } else if (err != MERLE_NO_MEMORY) {
            /* It is not needed to open. It stays where it is, with all that it may name, so that
             * merle verify tells of it, until the next checkpoint takes what is older away. */
            mrl_checkpoint_note_unread(c, list->entries[i].id);
            err = MERLE_OK;
        }
    }
    return err == MERLE_OK ? err : mrl_report_fill(report, err, NULL);
}

/* ---- opening ---- */

static merle_err open_log(mrl_persist *p, merle_report *report) {
    const mrl_manifest *m = &p->checkpoint.current;
    mrl_log_set_options options = {
        .files = p->directory.files,
        .dir = p->directory.dir,
        .clock = p->clock,
        .database_id = {m->database_id[0], m->database_id[1]},
        .file_size = p->options.log_file_size,
        .oldest_id = m->log_id,
        .after_seq = m->replay_seq,
        .term = m->term,
        .vouched_seq = m->seq_max,
        .seed = p->options.environment.hash_seed,
        .only_reads = is_reading(p),
    };
    return mrl_log_set_open(&options, &p->log_set, report);
}

static merle_err fill_store(mrl_persist *p, mrl_member *member, merle_report *report) {
    const merle_options *given = p->options.given;
    mrl_recover_options options = {
        .directory = &p->directory,
        .log_set = p->log_set,
        .store = p->options.store,
        .clock = p->clock,
        .thread_count = (uint32_t)p->recovery.threads,
        .functions = given->functions,
        .without_functions = is_reading(p),
        .progress = given->progress,
        .progress_context = given->progress_context,
        .seq_end = UINT64_MAX,
    };
    p->recovery.manifest = p->checkpoint.current.number;
    p->checkpoint.current_seq = p->checkpoint.current.replay_seq;
    p->recovery.manifest_seq = p->checkpoint.current.replay_seq;
    return mrl_recover(&options, &p->checkpoint.current, member, &p->recovery, report);
}

static merle_err start_log(mrl_persist *p, merle_report *report) {
    if (is_reading(p)) {
        mrl_log_set_show(p->log_set, p->options.store->log);
        p->recovery.term = mrl_log_set_term(p->log_set);
        return MERLE_OK;
    }
    mrl_log_start_options options = p->options.log;
    options.log = p->options.store->log;
    options.store = p->options.store;
    options.domain = p->options.store->domain;
    options.last_seq = p->recovery.last_seq;
    options.covered_seq =
        p->checkpoint.unread_count > 0 ? 0 : mrl_checkpoint_oldest_seq(&p->checkpoint);
    options.named_id = mrl_checkpoint_oldest_log(&p->checkpoint);
    options.with_thread = p->options.with_threads;
    merle_err err = mrl_log_set_start(p->log_set, &options, report);
    if (err != MERLE_OK) return err;
    p->is_started = 1;
    p->recovery.term = mrl_log_set_term(p->log_set);
    return p->recovery.is_new ? make_second(p, report) : MERLE_OK;
}

static uint64_t now(const mrl_persist *p) {
    return p->clock->monotonic_ns(p->clock->context);
}

/* Each opening that commits leaves a file, however little comes into it: when they have become many
 * since the manifest in force they are as good a reason for a checkpoint as bytes in them. */
static uint64_t files_behind(const mrl_persist *p) {
    mrl_log_set_stats stats;
    mrl_log_set_stat(p->log_set, &stats);
    return stats.current_id - p->checkpoint.current.log_id;
}

static uint64_t log_behind(const mrl_persist *p) {
    return files_behind(p) > FILES_MANY ? UINT64_MAX : p->recovery.log_bytes;
}

/* Where lives are so short that no checkpoint ever comes about, each opening would find one file
 * more. So now and then it makes a checkpoint itself. */
static void bound_files(mrl_persist *p, mrl_member *member) {
    if (p->options.given->checkpoint_log_bytes == UINT64_MAX || files_behind(p) < FILES_MAX) return;
    merle_err err = mrl_persist_checkpoint(p, member, NULL);
    (void)err; /* it is tried again, as any other is */
}

/* `behind` bytes of log have come already since the manifest in force. */
static void plan_next(mrl_persist *p, uint64_t behind) {
    const merle_options *given = p->options.given;
    uint64_t every =
        given->checkpoint_log_bytes == 0 ? CHECKPOINT_LOG_DEFAULT : given->checkpoint_log_bytes;
    uint64_t written = mrl_log_set_written_bytes(p->log_set);
    p->log_bytes_due = every == UINT64_MAX ? UINT64_MAX
                       : every <= behind   ? written
                                           : written + every - behind;
    p->due_ns =
        given->checkpoint_interval_ns == 0 ? UINT64_MAX : now(p) + given->checkpoint_interval_ns;
}

static uint32_t choose_threads(const mrl_persist *p) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (!p->options.with_threads) return 1;
    if (p->options.given->open_threads != 0) return p->options.given->open_threads;
    if (processors < 1) return 1;
    return processors < THREADS_DEFAULT_MAX ? (uint32_t)processors : THREADS_DEFAULT_MAX;
}

static void prepare(mrl_persist *p, const mrl_persist_options *options) {
    const merle_options *given = options->given;
    mrl_checkpoint *c = &p->checkpoint;
    p->options = *options;
    p->clock = options->environment.clock != NULL ? options->environment.clock : &mrl_clock_system;
    mrl_lock_init(&p->lock);
    p->recovery.size = sizeof p->recovery;
    p->recovery.threads = choose_threads(p);
    c->directory = &p->directory;
    c->store = options->store;
    c->clock = p->clock;
    c->compression =
        given->compression == MERLE_COMPRESSION_ZSTD ? MRL_COMPRESSION_ZSTD : MRL_COMPRESSION_NONE;
    c->manifests_kept =
        given->manifests_kept == 0 ? MRL_MANIFESTS_KEPT_DEFAULT : given->manifests_kept;
}

static merle_err open_all(mrl_persist *p, mrl_member *member, merle_report *report) {
    const mrl_files *files = p->options.environment.files;
    mrl_file_list list = {0};
    merle_err err;
    if (files == NULL) files = &mrl_files_system;
    if (p->options.given->access == MERLE_ACCESS_DEFAULT)
        err = mrl_directory_open(&p->directory, files, p->options.path, report);
    else
        err = mrl_directory_open_existing(&p->directory, files, p->options.path, report);
    if (err == MERLE_OK) err = mrl_directory_list(&p->directory, &list, report);
    if (err == MERLE_OK) err = choose_manifest(p, &list, report);
    mrl_file_list_fini(&list);
    if (err == MERLE_OK) err = open_log(p, report);
    p->checkpoint.log_set = p->log_set;
    if (err == MERLE_OK) err = fill_store(p, member, report);
    if (err == MERLE_OK) err = start_log(p, report);
    return err;
}

merle_err mrl_persist_open(const mrl_persist_options *options, mrl_member *member,
                           mrl_persist **out_persist, merle_report *report) {
    *out_persist = NULL;
    mrl_persist *p = calloc(1, sizeof *p);
    if (p == NULL) return mrl_report_fill(report, MERLE_NO_MEMORY, NULL);
    prepare(p, options);
    uint64_t began_ns = now(p);
    merle_err err = open_all(p, member, report);
    if (err != MERLE_OK) {
        (void)mrl_persist_close(p, member);
        return err;
    }
    /* What a crash has left, now that everything else is known to be there. */
    if (!is_reading(p)) mrl_checkpoint_clean(&p->checkpoint);
    mrl_checkpoint_note(&p->checkpoint);
    plan_next(p, log_behind(p));
    if (!is_reading(p)) bound_files(p, member);
    p->recovery.total_ns = now(p) - began_ns;
    *out_persist = p;
    return MERLE_OK;
}

merle_err mrl_persist_close(mrl_persist *p, mrl_member *member) {
    merle_err err = MERLE_OK;
    mrl_checkpoint_fini(&p->checkpoint);
    if (p->log_set != NULL) err = mrl_log_set_close(p->log_set, p->is_started ? member : NULL);
    mrl_directory_close(&p->directory);
    free(p);
    return err;
}

/* ---- what others ask ---- */

const char *mrl_persist_path(const mrl_persist *p) {
    return p->directory.path;
}

const uint64_t *mrl_persist_database_id(const mrl_persist *p) {
    return p->checkpoint.current.database_id;
}

mrl_log_set *mrl_persist_log_set(mrl_persist *p) {
    return p->log_set;
}

const merle_recovery_info *mrl_persist_recovery(const mrl_persist *p) {
    return &p->recovery;
}

const mrl_checkpoint_stats *mrl_persist_checkpoint_stats(const mrl_persist *p) {
    return &p->checkpoint.stats;
}

/* ---- checkpoints ---- */

static int is_due(const mrl_persist *p, uint64_t now_ns) {
    if (now_ns < p->retry_ns || !mrl_checkpoint_has_work(&p->checkpoint)) return 0;
    if (mrl_log_failure(p->options.store->log) != MERLE_OK) return 0;
    return now_ns >= p->due_ns || mrl_log_set_written_bytes(p->log_set) >= p->log_bytes_due;
}

/* A piece; the lock is held. */
static merle_err step_locked(mrl_persist *p, mrl_member *member, merle_report *report) {
    mrl_checkpoint *c = &p->checkpoint;
    merle_err err = MERLE_OK;
    int was_idle = c->state == MRL_CHECKPOINT_IDLE;
    if (is_reading(p))
        return mrl_report_fill(report, MERLE_READ_ONLY,
                               "no checkpoint: the database was opened for reading");
    if (was_idle) err = mrl_checkpoint_begin(c, member, report);
    /* From here on what comes belongs to the next one. */
    if (was_idle && err == MERLE_OK) plan_next(p, 0);
    if (!was_idle) err = mrl_checkpoint_step(c, member, report);
    if (err != MERLE_OK) {
        /* Tried again, unless nothing is to be done unasked. */
        p->retry_ns = now(p) + RETRY_NS;
        if (p->log_bytes_due != UINT64_MAX) p->log_bytes_due = 0;
    }
    return err;
}

size_t mrl_persist_step(mrl_persist *p, mrl_member *member, uint64_t now_ns, merle_report *told) {
    size_t done = 0;
    if (!mrl_lock_try(&p->lock)) return 0;
    if (p->checkpoint.state != MRL_CHECKPOINT_IDLE || is_due(p, now_ns))
        done = step_locked(p, member, told) == MERLE_OK;
    mrl_lock_drop(&p->lock);
    return done;
}

merle_err mrl_persist_begin(mrl_persist *p, mrl_member *member, merle_report *report) {
    merle_err err = MERLE_OK;
    mrl_lock_take(&p->lock);
    if (p->checkpoint.state == MRL_CHECKPOINT_IDLE) err = step_locked(p, member, report);
    mrl_lock_drop(&p->lock);
    return err;
}

int mrl_persist_is_busy(const mrl_persist *p) {
    return atomic_load_explicit(&p->checkpoint.stats.is_under_way, memory_order_relaxed);
}

merle_err mrl_persist_checkpoint(mrl_persist *p, mrl_member *member, merle_report *report) {
    uint64_t wanted = mrl_log_published_at(p->options.store->published);
    merle_err err = MERLE_OK;
    int is_done = 0;
    while (err == MERLE_OK && !is_done) {
        mrl_lock_take(&p->lock);
        is_done = !is_reading(p) && p->checkpoint.state == MRL_CHECKPOINT_IDLE &&
                  p->checkpoint.current_seq >= wanted;
        if (!is_done) err = step_locked(p, member, report);
        mrl_lock_drop(&p->lock);
    }
    return err;
}
