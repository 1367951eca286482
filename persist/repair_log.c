/* persist/repair_log.c - the records of a damaged log, as far as they can be made out.
 *
 * The rules are those of log_replay.c, but that a hole is gone over instead of refused: behind the
 * place that cannot be read the next whole frame is looked for, at every multiple of 8. A frame
 * carries a checksum that begins with its file's own seed, so nothing else passes for one. Where
 * nothing vouches for what is missing it is the torn end of the log, and what stands behind it is
 * cut off, as an opening does.
 *
 * Frames behind a hole count only up to the file's limit, which the headers of later files say. So
 * where the next file cannot be read, nothing behind a hole is taken from this one: an opening may
 * have cut it off, and given the same seqs to other commits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "persist/repair.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/report.h"
#include "persist/log_file.h"

typedef struct salvage_file {
    mrl_log_header header;
    uint64_t limit;
    char name[MRL_FILE_NAME_MAX];
} salvage_file;

typedef struct salvaging {
    mrl_care *care;
    const mrl_care_source *source;
    mrl_salvage_log *log;
    const mrl_salvage_fns *fns;
    salvage_file *files; /* by id */
    size_t count;
    uint64_t expected; /* the next record to be given */
    uint64_t at;       /* the next one where the file is being read, not above expected */
    uint64_t vouched;
    /* Where the hole began that nothing has ended yet; NULL: there is none. */
    const char *hole_name;
    uint64_t hole_offset;
    int has_ended;
    uint64_t bytes_done, bytes_total;
} salvaging;

/* ---- headers ---- */

static void tell_file(salvaging *s, const char *name, const char *what, const char *expected,
                      const char *found) {
    mrl_damage damage = {name, 0, expected, found, what, NULL};
    mrl_care_tell_damage(s->care, MERLE_FOUND_DAMAGE, &s->source->directory, &damage);
}

/* The copy that was begun, of those that can be read. */
static int choose_header(const uint8_t *blocks, mrl_log_header *out) {
    mrl_log_header copy;
    uint32_t version;
    int found = 0;
    for (int i = 0; i < 2; i++) {
        if (mrl_log_header_read(blocks + i * MRL_LOG_HEADER_SIZE, &copy, &version) != MERLE_OK)
            continue;
        if (!found || (out->state != MRL_LOG_BEGUN && copy.state == MRL_LOG_BEGUN)) *out = copy;
        found = 1;
    }
    return found;
}

static merle_err look_at_file(salvaging *s, const mrl_file_entry *entry) {
    const mrl_files *files = s->care->files;
    uint8_t blocks[2 * MRL_LOG_HEADER_SIZE] = {0};
    salvage_file *out = &s->files[s->count];
    mrl_file *file;
    size_t got = 0;
    int failed = files->file_open(s->source->directory.dir, entry->name, MRL_FILE_READ, &file);
    if (failed == 0) {
        failed = files->file_read(file, 0, blocks, sizeof blocks, &got);
        files->file_close(file);
    }
    if (failed != 0)
        return mrl_directory_system(&s->source->directory, s->care->report, entry->name, "reading",
                                    failed);
    if (!choose_header(blocks, &out->header)) {
        tell_file(s, entry->name,
                  "both copies of the log file's header are damaged: its records "
                  "cannot be told from others",
                  "a header of a log file", "damage");
        return MERLE_OK;
    }
    if (out->header.state != MRL_LOG_BEGUN) return MERLE_OK;
    const uint64_t *id = s->log->database_id;
    int is_other = (id[0] | id[1]) != 0 && memcmp(out->header.database_id, id, 16) != 0;
    if (is_other || out->header.id != entry->id) {
        tell_file(s, entry->name, "the file is not the log file that its name says: it is left out",
                  "the id in its name, of this database", "another one");
        return MERLE_OK;
    }
    /* It had its whole size before it was begun. */
    if (entry->size < out->header.file_size)
        tell_file(s, entry->name, "the log file was cut short: what is left of it is taken",
                  "the size that its header says", "less");
    memcpy(s->log->database_id, out->header.database_id, sizeof s->log->database_id);
    memcpy(out->name, entry->name, sizeof out->name);
    out->limit = UINT64_MAX;
    s->bytes_total += entry->size;
    s->count++;
    if (out->header.term > s->log->term) s->log->term = out->header.term;
    return MERLE_OK;
}

static merle_err list_files(salvaging *s) {
    merle_err err = MERLE_OK;
    s->files = calloc(s->source->list.count + 1, sizeof *s->files);
    if (s->files == NULL) return mrl_report_fill(s->care->report, MERLE_NO_MEMORY, NULL);
    for (size_t i = 0; i < s->source->list.count && err == MERLE_OK; i++) {
        const mrl_file_entry *entry = &s->source->list.entries[i];
        if (entry->kind == MRL_FILE_LOG && entry->id >= s->log->from_id)
            err = look_at_file(s, entry);
    }
    for (size_t i = 0; i < s->count; i++)
        for (size_t later = i + 1; later < s->count; later++)
            if (s->files[later].header.term > s->files[i].header.term &&
                s->files[later].header.accepted_seq < s->files[i].limit)
                s->files[i].limit = s->files[later].header.accepted_seq;
    return err;
}

/* ---- holes ---- */

/* The next record is there again, or the log has ended: everything expected below is lost. */
static merle_err end_hole(salvaging *s, const salvage_file *file, uint64_t next) {
    const char *name = s->hole_name != NULL ? s->hole_name : file->name;
    merle_err err = MERLE_OK;
    if (next > s->expected)
        err = s->fns->hole(s->fns->context, name, s->hole_offset, s->expected, next - 1);
    if (next > s->expected) s->expected = next;
    s->hole_name = NULL;
    s->hole_offset = 0;
    return err;
}

/* Whether what is expected was durable once, or something behind it says that there was more. */
static merle_err is_vouched(salvaging *s, size_t number, mrl_log_scan *scan, int *out_is) {
    const mrl_log_header *h = &s->files[number].header;
    uint64_t n = s->at, at;
    *out_is = 1;
    if (s->vouched >= n || s->log->vouched_seq >= n) return MERLE_OK;
    for (size_t i = number + 1; i < s->count; i++) {
        const mrl_log_header *later = &s->files[i].header;
        if (later->term == h->term || later->accepted_seq >= n || later->vouched_seq >= n)
            return MERLE_OK;
    }
    merle_err err = mrl_log_scan_vouches(scan, n, &at);
    *out_is = err == MERLE_OK;
    return err == MERLE_NOT_FOUND ? MERLE_OK : err;
}

/* No whole frame stands at the offset. *out_goes_on: the next place is to be tried. */
static merle_err meet_bad_place(salvaging *s, size_t number, mrl_log_scan *scan, uint64_t offset,
                                int *out_goes_on) {
    int is_hole = s->hole_name != NULL;
    merle_err err = MERLE_OK;
    *out_goes_on = 0;
    scan->offset = offset;
    if (!is_hole) err = is_vouched(s, number, scan, &is_hole);
    if (err != MERLE_OK) return err;
    if (!is_hole) {
        s->has_ended = 1;
        return MERLE_OK;
    }
    if (s->hole_name == NULL) {
        s->hole_name = s->files[number].name;
        s->hole_offset = offset;
    }
    int next_is_known =
        number + 1 == s->count || s->files[number + 1].header.id == s->files[number].header.id + 1;
    *out_goes_on = next_is_known && offset + 8 < scan->end;
    scan->offset = offset + 8;
    return MERLE_OK;
}

/* ---- reading ---- */

static merle_err take_record(salvaging *s, const salvage_file *file, const mrl_frame *frame,
                             merle_bytes body) {
    s->at = frame->seq + 1;
    merle_err err = end_hole(s, file, frame->seq);
    if (err != MERLE_OK || frame->seq < s->expected) return err;
    s->expected = frame->seq + 1;
    s->log->time_ns = frame->time_ns;
    s->care->info.records++;
    return s->fns->record(s->fns->context, frame, body);
}

/* The file before says that the log goes on in this one. */
static void find_next(salvaging *s, uint64_t id) {
    char name[MRL_FILE_NAME_MAX];
    for (size_t i = 0; i < s->source->list.count; i++)
        if (s->source->list.entries[i].kind == MRL_FILE_LOG && s->source->list.entries[i].id == id)
            return;
    mrl_directory_name(MRL_FILE_LOG, id, name);
    mrl_damage damage = {name,
                         0,
                         "a log file",
                         "none",
                         "the file is missing: the one before it says that the log goes on in it",
                         NULL};
    mrl_care_tell_damage(s->care, MERLE_FOUND_MISSING, &s->source->directory, &damage);
}

static merle_err read_frames(salvaging *s, size_t number, mrl_log_scan *scan) {
    const salvage_file *file = &s->files[number];
    int goes_on = 1;
    merle_err err = MERLE_OK;
    while (goes_on && err == MERLE_OK && s->expected <= file->limit) {
        uint64_t offset = scan->offset;
        mrl_frame frame;
        merle_bytes body;
        err = mrl_log_scan_next(scan, &frame, &body);
        if (err == MERLE_NOT_FOUND || (err == MERLE_OK && frame.seq > file->limit)) {
            err = meet_bad_place(s, number, scan, offset, &goes_on);
            continue;
        }
        if (err != MERLE_OK) break;
        mrl_care_progress(s->care, "log", s->bytes_done + offset, s->bytes_total);
        if ((frame.flags & MRL_FRAME_MARK) == 0) {
            /* A gap between whole frames: bytes of another time stand there. */
            if (frame.seq > s->at && s->hole_name == NULL) {
                err = meet_bad_place(s, number, scan, offset, &goes_on);
                if (err != MERLE_OK || !goes_on) continue;
            }
            scan->offset = offset;
            err = mrl_log_scan_next(scan, &frame, &body);
            if (err == MERLE_OK) err = take_record(s, file, &frame, body);
        } else {
            if (frame.seq > s->vouched) s->vouched = frame.seq;
            goes_on = (frame.flags & MRL_FRAME_NEXT) == 0;
            if (!goes_on) find_next(s, file->header.id + 1);
        }
    }
    if (err == MERLE_SYSTEM && scan->system_errno != 0)
        mrl_directory_system(&s->source->directory, s->care->report, file->name, "reading",
                             scan->system_errno);
    return err;
}

static merle_err read_file(salvaging *s, size_t number) {
    const salvage_file *file = &s->files[number];
    mrl_log_scan scan;
    mrl_file *opened;
    /* A file before this one is not there, or was not read to its end. */
    if (file->header.first_seq > s->expected && s->hole_name == NULL) s->hole_name = file->name;
    if (file->header.vouched_seq > s->vouched) s->vouched = file->header.vouched_seq;
    int failed =
        s->care->files->file_open(s->source->directory.dir, file->name, MRL_FILE_READ, &opened);
    if (failed != 0)
        return mrl_directory_system(&s->source->directory, s->care->report, file->name, "opening",
                                    failed);
    merle_err err = end_hole(s, file, file->header.first_seq);
    s->at = file->header.first_seq;
    mrl_log_scan_begin(&scan, s->care->files, opened, file->header.seed, file->header.file_size);
    if (err == MERLE_OK) err = read_frames(s, number, &scan);
    mrl_log_scan_end(&scan);
    s->care->files->file_close(opened);
    s->care->info.log_files++;
    s->bytes_done += file->header.file_size;
    return err;
}

merle_err mrl_salvage_log_read(mrl_care *care, const mrl_care_source *source, mrl_salvage_log *log,
                               const mrl_salvage_fns *fns) {
    salvaging s = {.care = care,
                   .source = source,
                   .log = log,
                   .fns = fns,
                   .expected = log->after_seq + 1,
                   .vouched = log->vouched_seq};
    merle_err err = list_files(&s);
    for (size_t i = 0; i < s.count && err == MERLE_OK && !s.has_ended; i++) err = read_file(&s, i);
    /* What was durable and did not come. */
    static const salvage_file none = {.name = "log"};
    if (err == MERLE_OK && s.vouched >= s.expected) err = end_hole(&s, &none, s.vouched + 1);
    log->last_seq = s.expected - 1;
    free(s.files);
    return err;
}
