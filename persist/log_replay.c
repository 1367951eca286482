/* persist/log_replay.c - reads the log of a directory, and tells a torn end from a hole.
 *
 * Files are read in the order of their ids, and seq n is expected, then n + 1, and so on. A file's
 * limit is the least seq that an opening of a later term took over: frames above it are what was
 * written before a crash and not found by that opening; they do not count, whatever stands there.
 *
 * Where no whole frame with seq n stands:
 *   - n is above the limit: the file's term ends here, and a later one goes on;
 *   - anything later says that n was durable: a mark at any later place of the file, the header or
 *     a mark of a later file, a later term that took n over, the manifest: a hole. The opening is
 *     refused: n may have been acknowledged as durable, and is not there;
 *   - else it is the torn end of the log: n was never said to be durable, nor was anything behind
 *     it. It is cut off by beginning a new term that takes over n - 1.
 *
 * A file is synced whole before the next one is begun. So within a term only the last file may have
 * a torn end, and the headers of later ones vouch for all that is before them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/report.h"
#include "persist/log_state.h"

enum { AGAIN_SIZE = 1 << 20 };

typedef struct replay {
    mrl_log_set *set;
    mrl_log_record_fn *fn;
    void *context;
    merle_report *report;
    uint64_t after_seq;
    uint64_t expected;
    uint64_t vouched; /* durable, as far as what was read says */
    int64_t time_ns;
    int has_ended; /* the torn end was found: nothing behind it counts */
    uint64_t done_before;
} replay;

static merle_err complain_scan(replay *r, const mrl_log_file *file, const mrl_log_scan *scan,
                               merle_err err) {
    char name[MRL_LOG_NAME_SIZE];
    if (err != MERLE_SYSTEM) return mrl_report_fill(r->report, err, NULL);
    mrl_log_name(name, file->id);
    return mrl_log_complain_system(r->report, name, scan->system_errno, "reading it");
}

/* ---- holes ---- */

/* Whether something behind vouches for seq n, which does not stand where it ought to; *out_where
 * says what. The scan stands at the bad place. */
static merle_err is_vouched(replay *r, const mrl_log_file *file, mrl_log_scan *scan,
                            char *out_where, size_t where_size, int *out_is) {
    uint64_t n = r->expected, at = 0;
    char name[MRL_LOG_NAME_SIZE];
    *out_is = 1;
    if (r->vouched >= n) {
        snprintf(out_where, where_size, "what was read before says so");
        return MERLE_OK;
    }
    if (r->set->options.vouched_seq >= n) {
        snprintf(out_where, where_size, "the manifest rests on it");
        return MERLE_OK;
    }
    for (const mrl_log_file *later = file->next; later != NULL; later = later->next) {
        int by_term = later->header.term > file->header.term && later->header.accepted_seq >= n;
        if (!by_term && later->header.vouched_seq < n) continue;
        mrl_log_name(name, later->id);
        snprintf(out_where, where_size, "the header of %s says so", name);
        return MERLE_OK;
    }
    merle_err err = mrl_log_scan_vouches(scan, n, &at);
    if (err == MERLE_OK)
        snprintf(out_where, where_size, "a mark at byte %llu says so", (unsigned long long)at);
    else
        *out_is = 0;
    return err == MERLE_NOT_FOUND ? MERLE_OK : err;
}

static merle_err complain_hole(replay *r, const mrl_log_file *file, uint64_t offset,
                               const char *where) {
    char expected[64];
    merle_err err = mrl_log_complain(
        r->report, MERLE_CORRUPT, file->id, offset,
        "record %llu is damaged or missing, but was durable (%s); merle restore takes a backup, "
        "merle repair what is left",
        (unsigned long long)r->expected, where);
    snprintf(expected, sizeof expected, "a record with seq %llu", (unsigned long long)r->expected);
    mrl_report_expected(r->report, expected);
    mrl_report_found(r->report, "no whole frame with that seq");
    return err;
}

/* Nothing whole with the expected seq stands at the scan's offset. */
static merle_err end_file(replay *r, const mrl_log_file *file, mrl_log_scan *scan,
                          uint64_t offset) {
    char where[64] = "";
    int is_hole = 0;
    scan->offset = offset;
    merle_err err = is_vouched(r, file, scan, where, sizeof where, &is_hole);
    if (err != MERLE_OK) return complain_scan(r, file, scan, err);
    if (is_hole) return complain_hole(r, file, offset, where);
    if (file->next != NULL)
        return complain_hole(r, file, offset, "a later file of the same term was begun");
    r->has_ended = 1;
    r->set->end_id = file->id;
    r->set->end_offset = offset;
    return MERLE_OK;
}

/* ---- reading ---- */

static merle_err take_mark(replay *r, const mrl_log_file *file, const mrl_frame *frame,
                           int *out_ended) {
    if (frame->seq > r->vouched) r->vouched = frame->seq;
    /* Behind the mark of a close nothing was written to the file. */
    *out_ended = (frame->flags & MRL_FRAME_CLOSE) != 0 && frame->seq == r->expected - 1;
    if ((frame->flags & MRL_FRAME_NEXT) == 0) return MERLE_OK;
    *out_ended = 1;
    /* The next one was prepared before this mark was written, its name synced. */
    int is_there =
        file->next != NULL ? file->next->id == file->id + 1 : r->set->prepared_id == file->id + 1;
    if (is_there) return MERLE_OK;
    return mrl_log_complain(r->report, MERLE_CORRUPT, file->id + 1, 0,
                            "the file is missing: the one before it says that the log goes on in "
                            "it; put it back, or merle restore a backup, or merle repair");
}

static merle_err take_record(replay *r, const mrl_frame *frame, merle_bytes body) {
    r->time_ns = frame->time_ns;
    r->expected = frame->seq + 1;
    if (frame->seq <= r->after_seq || r->fn == NULL) return MERLE_OK;
    return r->fn(r->context, frame, body, r->report);
}

/* What is wrong with a whole record was found by whoever takes it: the report says where it is. */
static merle_err at_record(const replay *r, const mrl_log_file *file, uint64_t offset,
                           merle_err err) {
    char name[MRL_LOG_NAME_SIZE];
    if (err == MERLE_OK || r->report == NULL || r->report->err == MERLE_OK) return err;
    if (r->report->path[0] != 0) return err;
    mrl_log_name(name, file->id);
    mrl_report_prefix(r->report, "%s: ", name);
    mrl_report_path(r->report, name);
    mrl_report_offset(r->report, offset);
    return err;
}

static merle_err read_frames(replay *r, const mrl_log_file *file, mrl_log_scan *scan) {
    int has_ended = 0;
    while (!has_ended) {
        uint64_t offset = scan->offset;
        mrl_frame frame;
        merle_bytes body;
        /* Behind the limit nothing counts, not even what looks whole. */
        if (r->expected > file->limit) return MERLE_OK;
        merle_err err = mrl_log_scan_next(scan, &frame, &body);
        atomic_store_explicit(&r->set->replay_done, r->done_before + offset, memory_order_relaxed);
        if (err == MERLE_NOT_FOUND) return end_file(r, file, scan, offset);
        if (err != MERLE_OK) return complain_scan(r, file, scan, err);
        if ((frame.flags & MRL_FRAME_MARK) != 0)
            err = take_mark(r, file, &frame, &has_ended);
        else if (frame.seq != r->expected)
            return end_file(r, file, scan, offset);
        else
            err = at_record(r, file, offset, take_record(r, &frame, body));
        if (err != MERLE_OK) return err;
    }
    if (file->next == NULL) {
        r->set->end_id = file->id;
        r->set->end_offset = scan->offset;
    }
    return MERLE_OK;
}

/* ---- what was taken over must not go any more ----
 *
 * After a mere kill it may stand in the system's memory only. To sync it would not be enough: if a
 * sync has failed before, the system goes on showing what the disk has lost, has forgotten that it
 * was to be written, and says that the next sync went well. So what nobody vouches for is written
 * again, as it is. That can only be in the last file: the others were synced whole before the next
 * one was begun. */

/* Where the first record stands that nobody vouches for, with the marks before it. */
static merle_err find_unvouched(const replay *r, const mrl_log_file *file, mrl_file *handle,
                                uint64_t *out_offset, int *out_errno) {
    mrl_log_scan scan;
    mrl_frame frame = {0};
    merle_bytes body;
    merle_err err = MERLE_OK;
    *out_offset = MRL_LOG_FRAMES_AT;
    mrl_log_scan_begin(&scan, r->set->files, handle, file->header.seed, file->header.file_size);
    while (scan.offset < r->set->end_offset && frame.seq <= r->vouched) {
        if ((err = mrl_log_scan_next(&scan, &frame, &body)) != MERLE_OK) break;
        if ((frame.flags & MRL_FRAME_MARK) != 0)
            frame.seq = 0;
        else if (frame.seq <= r->vouched)
            *out_offset = scan.offset;
    }
    *out_errno = scan.system_errno;
    mrl_log_scan_end(&scan);
    return err == MERLE_NOT_FOUND ? MERLE_OK : err;
}

/* Writes what stands from `offset` to `end` there once more. 0, or an errno value. */
static int write_again(const mrl_log_set *set, mrl_file *handle, uint64_t offset, uint64_t end,
                       uint8_t *buffer, size_t buffer_size) {
    int failed = 0;
    while (failed == 0 && offset < end) {
        size_t size = end - offset < buffer_size ? (size_t)(end - offset) : buffer_size;
        size_t got = 0;
        failed = set->files->file_read(handle, offset, buffer, size, &got);
        if (failed == 0 && got == 0) break;
        mrl_file_part part = {buffer, got};
        if (failed == 0) failed = set->files->file_write(handle, offset, &part, 1);
        offset += got;
    }
    return failed;
}

/* The headers one after the other: one of them is whole at any moment. */
static int write_headers_again(const mrl_log_set *set, const mrl_log_file *file, mrl_file *handle) {
    uint8_t block[MRL_LOG_HEADER_SIZE];
    mrl_file_part part = {block, sizeof block};
    mrl_log_header_write(block, &file->header);
    int failed = set->files->file_write(handle, 0, &part, 1);
    if (failed == 0) failed = set->files->file_sync(handle);
    return failed != 0 ? failed : set->files->file_write(handle, sizeof block, &part, 1);
}

static merle_err firm_last(replay *r, const mrl_log_file *file, const char *name) {
    const mrl_log_set *set = r->set;
    mrl_file *handle = NULL;
    uint64_t offset;
    int failed = set->files->file_open(set->dir, name, MRL_FILE_WRITE, &handle);
    if (failed != 0) return mrl_log_complain_system(r->report, name, failed, "opening it");
    uint8_t *buffer = malloc(AGAIN_SIZE);
    merle_err err =
        buffer == NULL ? MERLE_NO_MEMORY : find_unvouched(r, file, handle, &offset, &failed);
    if (err == MERLE_NO_MEMORY) (void)mrl_report_fill(r->report, err, NULL);
    if (err == MERLE_OK) {
        failed = write_headers_again(set, file, handle);
        if (failed == 0)
            failed = write_again(set, handle, offset, set->end_offset, buffer, AGAIN_SIZE);
        if (failed == 0) failed = set->files->file_sync(handle);
    }
    if (failed != 0) err = mrl_log_complain_system(r->report, name, failed, "writing it again");
    free(buffer);
    set->files->file_close(handle);
    return err;
}

static merle_err firm(replay *r, const mrl_log_file *file, const char *name) {
    /* A record of the file that is vouched for was synced, and the headers before it. */
    int is_vouched = r->expected > file->header.first_seq && r->vouched + 1 >= r->expected;
    if (file->next != NULL || is_vouched) return MERLE_OK;
    /* One that is begun again is written anew. */
    if (mrl_log_is_empty(r->set, r->expected - 1)) return MERLE_OK;
    return firm_last(r, file, name);
}

static merle_err read_file(replay *r, mrl_log_file *file) {
    mrl_log_set *set = r->set;
    char name[MRL_LOG_NAME_SIZE];
    mrl_log_scan scan;
    mrl_file *handle;
    if (file->header.first_seq != r->expected)
        return mrl_log_complain(r->report, MERLE_CORRUPT, file->id, 0,
                                "the file begins with seq %llu, but %llu is expected",
                                (unsigned long long)file->header.first_seq,
                                (unsigned long long)r->expected);
    mrl_log_name(name, file->id);
    int failed = set->files->file_open(set->dir, name, MRL_FILE_READ, &handle);
    if (failed != 0) return mrl_log_complain_system(r->report, name, failed, "opening it");
    if (file->header.vouched_seq > r->vouched && file->header.vouched_seq < r->expected)
        r->vouched = file->header.vouched_seq;
    mrl_log_scan_begin(&scan, set->files, handle, file->header.seed, file->header.file_size);
    merle_err err = read_frames(r, file, &scan);
    mrl_log_scan_end(&scan);
    if (err == MERLE_OK && !set->options.only_reads) err = firm(r, file, name);
    set->files->file_close(handle);
    return err;
}

/* The manifest may rest on more than the log has at all. */
static merle_err check_reach(const replay *r) {
    const mrl_log_set *set = r->set;
    uint64_t needed = set->options.vouched_seq;
    uint64_t last = set->last != NULL ? r->expected - 1 : r->after_seq;
    if (last >= needed) return MERLE_OK;
    return mrl_log_complain(r->report, MERLE_CORRUPT, set->last != NULL ? set->last->id : 1, 0,
                            "the log ends with seq %llu, but the manifest rests on %llu",
                            (unsigned long long)last, (unsigned long long)needed);
}

merle_err mrl_log_set_replay(mrl_log_set *set, uint64_t after_seq, mrl_log_record_fn *fn,
                             void *context, uint64_t *out_last_seq, int64_t *out_last_time_ns,
                             merle_report *report) {
    replay r = {.set = set,
                .fn = fn,
                .context = context,
                .report = report,
                .after_seq = after_seq,
                .expected = after_seq + 1,
                .time_ns = INT64_MIN};
    merle_err err = MERLE_OK;
    int is_first = 1;
    *out_last_seq = 0;
    *out_last_time_ns = INT64_MIN;
    for (mrl_log_file *file = set->first; file != NULL && err == MERLE_OK; file = file->next) {
        if (file->id < set->options.oldest_id) continue;
        if (is_first) r.expected = file->header.first_seq;
        is_first = 0;
        err = read_file(&r, file);
        r.done_before += file->size;
    }
    if (err == MERLE_OK) err = check_reach(&r);
    if (err != MERLE_OK) return err;
    uint64_t last = r.expected - 1 > after_seq ? r.expected - 1 : after_seq;
    if (set->last == NULL) last = after_seq;
    *out_last_seq = last;
    *out_last_time_ns = r.time_ns;
    return MERLE_OK;
}
