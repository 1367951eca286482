/* database/care.c - backup, restore, verify, repair: each with a database in memory to work in.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "database/care.h"

#include <string.h>
#include <unistd.h>

#include "base/report.h"
#include "database/database.h"
#include "persist/care.h"

enum { THREADS_DEFAULT_MAX = 8 };

const char *merle_finding_name(merle_finding_kind kind) {
    static const char *const names[] = {"unknown", "damage",    "missing", "orphan", "hole",
                                        "index",   "duplicate", "lost",    "older"};
    return (unsigned)kind < sizeof names / sizeof names[0] ? names[kind] : names[0];
}

/* ---- one call ---- */

typedef struct call {
    mrl_care care;
    merle_db *db; /* in memory; NULL: there is none */
    merle_care_info *out_info;
    size_t info_size;
    merle_report report;
    merle_report *out_report;
} call;

static uint32_t choose_threads(uint32_t given) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (given != 0) return given;
    if (processors < 1) return 1;
    return processors < THREADS_DEFAULT_MAX ? (uint32_t)processors : THREADS_DEFAULT_MAX;
}

static merle_err take_options(call *c, const merle_care_options *given) {
    merle_care_options *o = &c->care.options;
    size_t size = given == NULL ? 0 : given->size == 0 ? sizeof *given : given->size;
    if (size > sizeof *o)
        return mrl_report_fill(&c->report, MERLE_INVALID,
                               "the options are larger than this library knows: it is older");
    if (size > 0) memcpy(o, given, size);
    if (o->seq != 0 && o->time_ns != 0)
        return mrl_report_fill(&c->report, MERLE_INVALID, "options: seq or time_ns, not both");
    if ((unsigned)o->behind_holes > MERLE_BEHIND_HOLES_STOP ||
        (unsigned)o->compression > MERLE_COMPRESSION_ZSTD)
        return mrl_report_fill(&c->report, MERLE_INVALID,
                               "options: unknown value of behind_holes or compression");
    o->threads = choose_threads(o->threads);
    return MERLE_OK;
}

static merle_err begin(call *c, const mrl_environment *environment,
                       const merle_care_options *options, merle_care_info *out_info,
                       merle_report *report) {
    memset(c, 0, sizeof *c);
    mrl_report_clear(&c->report);
    mrl_report_clear(&c->care.first);
    c->out_report = report;
    c->out_info = out_info;
    c->info_size = out_info == NULL || out_info->size == 0 ? sizeof *out_info : out_info->size;
    c->care.report = &c->report;
    c->care.files =
        environment == NULL || environment->files == NULL ? &mrl_files_system : environment->files;
    c->care.clock =
        environment == NULL || environment->clock == NULL ? &mrl_clock_system : environment->clock;
    if (c->info_size > sizeof *out_info)
        return mrl_report_fill(&c->report, MERLE_INVALID,
                               "the info is larger than this library knows: it is older");
    return take_options(c, options);
}

/* A database in memory, which nothing happens in by itself. */
static merle_err open_memory(call *c, const mrl_environment *environment) {
    merle_options options = {.threads = MERLE_THREADS_NONE, .report = &c->report};
    merle_err err = mrl_db_open(NULL, &options, environment, &c->db);
    if (err != MERLE_OK) return err;
    c->care.store = &c->db->store;
    c->care.member = mrl_member_join(c->db->domain);
    return c->care.member != NULL ? MERLE_OK : mrl_report_fill(&c->report, MERLE_NO_MEMORY, NULL);
}

static merle_err end(call *c, merle_err err) {
    /* Nobody else knows of it: it closes. */
    merle_err closed = merle_close(c->db);
    if (err == MERLE_OK) err = closed;
    c->care.info.size = c->info_size;
    if (c->out_info != NULL && c->info_size <= sizeof *c->out_info)
        memcpy(c->out_info, &c->care.info, c->info_size);
    if (err != MERLE_OK && c->report.err != err) mrl_report_fill(&c->report, err, NULL);
    if (err == MERLE_OK) mrl_report_clear(&c->report);
    if (c->out_report != NULL) *c->out_report = c->report;
    return err;
}

/* ---- with the seams ---- */

merle_err mrl_db_restore(const mrl_environment *environment, const char *from, const char *to,
                         const merle_care_options *options, merle_care_info *out_info,
                         merle_report *report) {
    call c;
    merle_err err = begin(&c, environment, options, out_info, report);
    if (err == MERLE_OK) err = open_memory(&c, environment);
    if (err == MERLE_OK) err = mrl_restore(&c.care, from, to);
    return end(&c, err);
}

merle_err mrl_db_verify(const mrl_environment *environment, const char *path,
                        const merle_care_options *options, merle_care_info *out_info,
                        merle_report *report) {
    call c;
    int can_check = 0;
    merle_err err = begin(&c, environment, options, out_info, report);
    if (err == MERLE_OK) err = open_memory(&c, environment);
    if (err == MERLE_OK) err = mrl_verify(&c.care, path, &can_check);
    if (err == MERLE_OK && can_check) {
        merle_report found;
        mrl_report_clear(&found);
        merle_err checked = merle_check(c.db, &found);
        if (checked == MERLE_CORRUPT)
            mrl_care_tell_report(&c.care, MERLE_FOUND_INDEX, &found);
        else if (checked != MERLE_OK)
            err = mrl_report_fill(&c.report, checked, "the indexes could not be compared");
    }
    if (err == MERLE_OK && c.care.info.damaged > 0) {
        c.report = c.care.first;
        err = MERLE_CORRUPT;
    }
    return end(&c, err);
}

merle_err mrl_db_repair(const mrl_environment *environment, const char *path, const char *to,
                        const merle_care_options *options, merle_care_info *out_info,
                        merle_report *report) {
    call c;
    merle_err err = begin(&c, environment, options, out_info, report);
    if (err == MERLE_OK) err = open_memory(&c, environment);
    if (err == MERLE_OK) err = mrl_repair(&c.care, path, to);
    return end(&c, err);
}

merle_err mrl_db_backup(merle_db *db, const char *path, const merle_care_options *options,
                        const _Atomic int *is_cancelled, merle_care_info *out_info,
                        merle_report *report) {
    call c;
    if (db == NULL || path == NULL) return MERLE_INVALID;
    if (mrl_domain_is_forked(db->domain)) return MERLE_FORKED;
    merle_err err = begin(&c, &db->environment, options, out_info, report);
    if (err == MERLE_OK && db->persist == NULL)
        err = mrl_report_fill(&c.report, MERLE_NOT_FOUND, "the database has no directory");
    mrl_member *member = mrl_member_join(db->domain);
    if (err == MERLE_OK && member == NULL) err = mrl_report_fill(&c.report, MERLE_NO_MEMORY, NULL);
    c.care.is_cancelled = is_cancelled;
    if (err == MERLE_OK) err = mrl_backup(&c.care, db->persist, member, path);
    return end(&c, err);
}

/* ---- the public calls ---- */

merle_err merle_backup(merle_db *db, const char *path, const merle_care_options *options,
                       merle_care_info *out_info, merle_report *report) {
    return mrl_db_backup(db, path, options, NULL, out_info, report);
}

merle_err merle_restore(const char *from, const char *to, const merle_care_options *options,
                        merle_care_info *out_info, merle_report *report) {
    if (from == NULL || to == NULL) return MERLE_INVALID;
    return mrl_db_restore(NULL, from, to, options, out_info, report);
}

merle_err merle_verify(const char *path, const merle_care_options *options,
                       merle_care_info *out_info, merle_report *report) {
    if (path == NULL) return MERLE_INVALID;
    return mrl_db_verify(NULL, path, options, out_info, report);
}

merle_err merle_repair(const char *path, const char *to, const merle_care_options *options,
                       merle_care_info *out_info, merle_report *report) {
    if (path == NULL || to == NULL) return MERLE_INVALID;
    return mrl_db_repair(NULL, path, to, options, out_info, report);
}
