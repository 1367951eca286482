/* persist/restore.c - a directory as it was after a commit, made anew.
 *
 * A manifest's pages show commits up to its highest S, so it can serve for that state and later
 * ones. The newest such manifest is taken, and the log replayed up to the wanted commit. What the
 * log has is found out first, by reading it once: also for a time, which only records have.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/report.h"
#include "persist/care.h"

/* What the log says of commits and times. */
typedef struct reach {
    int64_t time_ns;  /* wanted: the last commit that is not later */
    uint64_t seq;     /* wanted: no later one; UINT64_MAX: any */
    uint64_t found;   /* the last one that is not behind either; UINT64_MAX: all are */
    int64_t found_ns; /* its time */
    uint64_t seq_min; /* the first state that can be had */
    int64_t time_min_ns;
    uint64_t seq_max;
    int64_t time_max_ns;
    uint64_t records;
} reach;

static merle_err look_at_record(void *context, const mrl_frame *frame, merle_bytes body,
                                merle_report *report) {
    reach *r = context;
    (void)body;
    (void)report;
    if (frame->time_ns <= r->time_ns && frame->seq <= r->seq) {
        r->found = frame->seq;
        r->found_ns = frame->time_ns;
    }
    if (frame->seq == r->seq_min) r->time_min_ns = frame->time_ns;
    r->seq_max = frame->seq;
    r->time_max_ns = frame->time_ns;
    r->records++;
    return MERLE_OK;
}

/* A hole ends what can be had: the report keeps where. */
static merle_err measure(mrl_care *care, const mrl_care_source *source, reach *r) {
    const mrl_manifest *oldest = &source->manifests[0];
    mrl_log_set *set;
    uint64_t last_seq;
    int64_t last_time_ns;
    r->seq_min = UINT64_MAX;
    for (size_t i = 0; i < source->manifest_count; i++)
        if (source->manifests[i].seq_max < r->seq_min) r->seq_min = source->manifests[i].seq_max;
    r->seq_max = oldest->replay_seq;
    r->time_max_ns = r->time_min_ns = oldest->time_ns;
    r->found_ns = oldest->time_ns;
    r->found = oldest->time_ns <= r->time_ns ? oldest->replay_seq : UINT64_MAX;
    merle_err err = mrl_care_log_open(care, source, oldest, &set, care->report);
    if (err != MERLE_OK) return err;
    err = mrl_log_set_replay(set, oldest->replay_seq, look_at_record, r, &last_seq, &last_time_ns,
                             care->report);
    (void)mrl_log_set_close(set, NULL);
    merle_care_info *info = &care->info;
    info->seq_min = r->seq_min;
    info->seq_max = r->seq_max;
    info->time_min_ns = r->time_min_ns;
    info->time_max_ns = r->time_max_ns;
    return err;
}

static merle_err out_of_reach(mrl_care *care, const char *path, const reach *r,
                              const char *wanted) {
    char found[128];
    snprintf(found, sizeof found, "commits %" PRIu64 " to %" PRIu64, r->seq_min, r->seq_max);
    (void)mrl_report_fill(care->report, MERLE_NOT_FOUND,
                          "%s cannot be restored: the files go from commit %" PRIu64
                          " (time %" PRId64 ") to %" PRIu64 " (time %" PRId64 ")",
                          wanted, r->seq_min, r->time_min_ns, r->seq_max, r->time_max_ns);
    mrl_report_path(care->report, path);
    mrl_report_expected(care->report, wanted);
    mrl_report_found(care->report, found);
    return MERLE_NOT_FOUND;
}

/* Which commit it is to be. `failed`: how reading the log has ended. */
static merle_err choose_seq(mrl_care *care, const char *path, const reach *r, merle_err failed,
                            uint64_t *out_seq) {
    const merle_care_options *o = &care->options;
    char wanted[64];
    uint64_t seq = r->seq_max;
    snprintf(wanted, sizeof wanted, "the last commit");
    if (o->seq != 0) {
        seq = o->seq;
        snprintf(wanted, sizeof wanted, "commit %" PRIu64, seq);
    } else if (o->time_ns != 0) {
        seq = r->found;
        snprintf(wanted, sizeof wanted, "time %" PRId64, o->time_ns);
    }
    *out_seq = seq;
    /* Where the log has a hole its end is not known: all there is cannot be had, nor a time behind
     * the last record that was read. */
    int is_open = o->seq == 0 && (o->time_ns == 0 || seq == r->seq_max);
    if (failed != MERLE_OK && (is_open || seq > r->seq_max)) return failed;
    if (seq < r->seq_min || seq > r->seq_max) return out_of_reach(care, path, r, wanted);
    return MERLE_OK;
}

static mrl_manifest *choose_manifest(mrl_care_source *source, uint64_t seq) {
    mrl_manifest *chosen = NULL;
    for (size_t i = 0; i < source->manifest_count; i++)
        if (source->manifests[i].seq_max <= seq) chosen = &source->manifests[i];
    return chosen;
}

static merle_err fill(mrl_care *care, mrl_care_source *source, const char *from,
                      mrl_care_found_options *out_found) {
    merle_recovery_info recovery;
    reach r = {.time_ns = care->options.time_ns == 0 ? INT64_MAX : care->options.time_ns,
               .seq = care->options.seq == 0 ? UINT64_MAX : care->options.seq};
    uint64_t seq;
    if (source->manifest_count == 0)
        return mrl_report_fill(care->report, MERLE_CORRUPT,
                               "%s: no manifest can be read; merle repair takes what can be taken",
                               from);
    merle_err err = measure(care, source, &r);
    if (err != MERLE_OK && !mrl_care_is_damage(err)) return err;
    if ((err = choose_seq(care, from, &r, err, &seq)) != MERLE_OK) return err;
    mrl_manifest *manifest = choose_manifest(source, seq);
    *out_found = (mrl_care_found_options){
        .database_id = {manifest->database_id[0], manifest->database_id[1]},
        .seq = seq,
        .log_file_size = source->log_file_size,
        .terms = &care->terms};
    err = mrl_care_recover(care, source, manifest, seq, &recovery, care->report);
    if (err != MERLE_OK) return err;
    out_found->term = recovery.term;
    out_found->time_ns = manifest->time_ns > r.found_ns ? manifest->time_ns : r.found_ns;
    care->info.seq = seq;
    care->info.time_ns = r.found_ns;
    care->info.pages = recovery.pages;
    care->info.records = recovery.records;
    return MERLE_OK;
}

merle_err mrl_restore(mrl_care *care, const char *from, const char *to) {
    mrl_care_source source;
    mrl_directory target = {0};
    mrl_care_found_options found = {0};
    merle_err err = mrl_care_source_open(care, from, &source);
    if (err != MERLE_OK) return err;
    err = mrl_care_target_open(care, to, &target);
    if (err == MERLE_OK) err = fill(care, &source, from, &found);
    if (err == MERLE_OK) err = mrl_care_found(care, &target, &found);
    mrl_care_target_close(&target, err);
    mrl_care_source_close(&source);
    return err;
}
