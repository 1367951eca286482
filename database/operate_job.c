/* database/operate_job.c - what an operator has done, and takes long.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/report.h"
#include "base/thread.h"
#include "database/care.h"
#include "database/operate.h"
#include "store/check.h"

static const char *const kind_names[] = {"none", "backup", "checkpoint", "check"};
static const char *const state_names[] = {"running", "done", "failed", "cancelled"};

/* ---- what came of it ---- */

static merle_err finish(merle_builder *b, merle_buffer *out) {
    merle_bytes document;
    merle_err err = merle_build_end(b, &document);
    return err == MERLE_OK ? mrl_buffer_append(out, document.data, document.size) : err;
}

static void add_backup(merle_builder *b, const merle_care_info *info) {
    merle_build_uint(b, "term", info->term);
    merle_build_uint(b, "seq", info->seq);
    merle_build_int(b, "time_ns", info->time_ns);
    merle_build_uint(b, "manifests", info->manifests);
    merle_build_uint(b, "page_files", info->page_files);
    merle_build_uint(b, "log_files", info->log_files);
    merle_build_uint(b, "bytes", info->bytes);
    merle_build_uint(b, "bytes_linked", info->bytes_linked);
    merle_build_uint(b, "records", info->records);
}

static void add_checkpoint(merle_builder *b, const merle_stats_db *stats) {
    merle_build_uint(b, "seq", stats->checkpoint_seq);
    merle_build_uint(b, "term", stats->term);
    merle_build_uint(b, "pages_written", stats->checkpoint_pages);
    merle_build_uint(b, "bytes_written", stats->checkpoint_bytes);
    merle_build_uint(b, "nanoseconds", stats->checkpoint_ns);
    merle_build_uint(b, "pages", stats->pages);
    merle_build_uint(b, "page_bytes", stats->page_bytes);
}

/* ---- the work: in the job's thread ---- */

static void note_progress(void *context, const char *part, uint64_t done, uint64_t total) {
    mrl_operate *o = context;
    mrl_lock_take(&o->lock);
    o->part = part;
    o->done = done;
    o->total = total;
    mrl_lock_drop(&o->lock);
}

static merle_err make_backup(mrl_operate *o, merle_builder *b, merle_report *report) {
    merle_care_info info = {0};
    merle_care_options options = {.progress = note_progress, .progress_context = o};
    merle_err err = mrl_db_backup(o->db, o->path, &options, &o->is_cancelled, &info, report);
    if (err == MERLE_OK) add_backup(b, &info);
    return err;
}

static merle_err make_checkpoint(mrl_operate *o, merle_builder *b, merle_report *report) {
    merle_stats_db stats = {.size = sizeof stats};
    merle_report_to(o->db, report);
    merle_err err = merle_checkpoint(o->db);
    if (err == MERLE_OK) err = merle_stats(o->db, &stats);
    if (err == MERLE_OK) add_checkpoint(b, &stats);
    merle_report_to(o->db, NULL);
    return err;
}

static merle_err make_check(mrl_operate *o, merle_builder *b, merle_report *report) {
    merle_stats_db stats = {.size = sizeof stats};
    merle_err err = mrl_check_all(o->db, &o->is_cancelled, report);
    if (err == MERLE_OK) err = merle_stats(o->db, &stats);
    if (err != MERLE_OK) return err;
    merle_build_str(b, "verdict", "sound");
    merle_build_uint(b, "seq", stats.seq);
    merle_build_uint(b, "documents", stats.documents);
    return MERLE_OK;
}

static merle_err work(mrl_operate *o, merle_buffer *result, merle_report *report) {
    merle_builder *b = NULL;
    merle_err err = merle_builder_create(&b);
    if (err != MERLE_OK) return err;
    merle_build_begin(b);
    err = o->kind == MRL_JOB_BACKUP       ? make_backup(o, b, report)
          : o->kind == MRL_JOB_CHECKPOINT ? make_checkpoint(o, b, report)
                                          : make_check(o, b, report);
    if (err == MERLE_OK) err = finish(b, result);
    merle_builder_destroy(b);
    return err;
}

static void *run(void *context) {
    mrl_operate *o = context;
    merle_buffer result = {0};
    merle_report report;
    mrl_report_clear(&report);
    merle_err err = work(o, &result, &report);
    mrl_lock_take(&o->lock);
    o->err = err;
    o->report = report;
    o->result = result;
    o->state = err == MERLE_OK ? MRL_JOB_DONE : MRL_JOB_FAILED;
    if (err == MERLE_AGAIN && o->is_cancelled) o->state = MRL_JOB_CANCELLED;
    mrl_lock_drop(&o->lock);
    return NULL;
}

/* ---- begun, asked for, cancelled: by who asks ---- */

static int is_running(mrl_operate *o) {
    mrl_lock_take(&o->lock);
    int is = o->kind != MRL_JOB_NONE && o->state == MRL_JOB_RUNNING;
    mrl_lock_drop(&o->lock);
    return is;
}

/* It has ended, or ends now. */
static void clear(mrl_operate *o) {
    if (o->has_thread) pthread_join(o->thread, NULL);
    o->has_thread = 0;
    merle_buffer_free(&o->result);
    o->kind = MRL_JOB_NONE;
}

merle_err mrl_job_begin(mrl_operate *o, mrl_job_kind kind, const char *path) {
    if (o->rights == MERLE_OPERATOR_LOOK) return MERLE_READ_ONLY;
    if (!o->may_have_threads) return MERLE_WRONG_THREAD;
    if (is_running(o)) return MERLE_BUSY;
    clear(o);
    o->number++;
    o->state = MRL_JOB_RUNNING;
    o->part = kind_names[kind];
    o->done = o->total = 0;
    o->err = MERLE_OK;
    mrl_report_clear(&o->report);
    atomic_store_explicit(&o->is_cancelled, 0, memory_order_relaxed);
    snprintf(o->path, sizeof o->path, "%s", path);
    o->kind = kind;
    if (mrl_thread_start("merle-operate", run, o, &o->thread) == 0) {
        o->has_thread = 1;
        return MERLE_OK;
    }
    o->kind = MRL_JOB_NONE;
    return MERLE_SYSTEM;
}

void mrl_job_cancel(mrl_operate *o) {
    atomic_store_explicit(&o->is_cancelled, 1, memory_order_relaxed);
}

/* The figures of a checkpoint stand where everybody finds them. */
static void look_at_checkpoint(mrl_operate *o) {
    merle_stats_db stats = {.size = sizeof stats};
    if (merle_stats(o->db, &stats) == MERLE_OK && stats.checkpoint_slots_total > 0)
        note_progress(o, "pages", stats.checkpoint_slots_done, stats.checkpoint_slots_total);
}

void mrl_job_tell(mrl_operate *o, merle_builder *b) {
    merle_value value;
    if (o->kind == MRL_JOB_CHECKPOINT && is_running(o)) look_at_checkpoint(o);
    mrl_lock_take(&o->lock);
    merle_build_uint(b, "job", o->number);
    merle_build_str(b, "verb", kind_names[o->kind]);
    merle_build_str(b, "state", state_names[o->state]);
    merle_build_str(b, "part", o->part);
    merle_build_uint(b, "done", o->done);
    merle_build_uint(b, "total", o->total);
    if (o->state != MRL_JOB_RUNNING) {
        merle_build_uint(b, "err", (uint64_t)o->err);
        merle_build_str(b, "message",
                        o->report.message[0] != 0 ? o->report.message : merle_err_text(o->err));
    }
    if (o->result.size > 0 &&
        merle_value_msgpack(merle_bytes_of(o->result.data, o->result.size), &value) == MERLE_OK)
        merle_build_value(b, "result", &value);
    mrl_lock_drop(&o->lock);
}

void mrl_operate_init(mrl_operate *o, merle_db *db, merle_operator_rights rights,
                      int may_have_threads) {
    memset(o, 0, sizeof *o);
    o->db = db;
    o->rights = rights;
    o->may_have_threads = may_have_threads;
    mrl_lock_init(&o->lock);
}

void mrl_operate_fini(mrl_operate *o) {
    mrl_job_cancel(o);
    clear(o);
}
