/* tools/merle/command.c - what the commands share: opening a directory, telling errors.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tools/merle/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/merle/owner.h"

/* What the program itself writes is a few removals at most: those of documents that have ended. */
#define LOG_FILE_SIZE ((uint64_t)4 << 20)

/* ---- errors ---- */

/* What the sentence may not have said already. */
static void tell_details(const merle_report *report) {
    if (report->path[0] != 0 && strstr(report->message, report->path) == NULL)
        fprintf(stderr, "  file: %s\n", report->path);
    if (report->path[0] != 0 && (report->offset != 0 || report->err == MERLE_CORRUPT))
        fprintf(stderr, "  offset: %" PRIu64 "\n", report->offset);
    if (report->expected[0] != 0) fprintf(stderr, "  expected: %s\n", report->expected);
    if (report->found[0] != 0) fprintf(stderr, "  found: %s\n", report->found);
}

int command_fail(const char *what, merle_err err, const merle_report *report) {
    const char *sentence = merle_err_text(err);
    int has_report = report != NULL && report->message[0] != 0;
    if (has_report) sentence = report->message;
    fprintf(stderr, "merle: %s: %s (%s)\n", what, sentence, merle_err_name(err));
    if (has_report) tell_details(report);
    return EXIT_FAILED;
}

int command_misuse(const char *format, ...) {
    va_list list;
    va_start(list, format);
    fputs("merle: ", stderr);
    vfprintf(stderr, format, list);
    fputs("\n", stderr);
    va_end(list);
    return EXIT_USAGE;
}

int command_no_collection(const char *name) {
    fprintf(stderr, "merle: there is no collection \"%s\"; merle info lists them\n", name);
    return EXIT_FOUND;
}

int command_number(const char *text, uint64_t *out_number) {
    char *end;
    if (*text < '0' || *text > '9') return 0;
    errno = 0;
    *out_number = strtoull(text, &end, 10);
    return errno == 0 && *end == 0;
}

/* ---- a directory ---- */

static merle_err open_for(const char *path, merle_access access, merle_db **out_db,
                          merle_report *report) {
    progress bar;
    progress_begin(&bar, "opening");
    merle_options options = {
        .size = sizeof options,
        .access = access,
        .log_file_size = LOG_FILE_SIZE,
        .checkpoint_log_bytes = UINT64_MAX,
        .progress = progress_show,
        .progress_context = &bar,
        .report = report,
    };
    merle_err err = merle_open(path, &options, out_db);
    progress_clear(&bar);
    return err;
}

static void tell_not_opened(merle_err err, const merle_report *report) {
    (void)command_fail("opening", err, report);
    if (err == MERLE_BUSY) fputs("  That process has to close it first.\n", stderr);
    if (err == MERLE_DIFFERS)
        fputs(
            "  An index is made by a C function: only the program that has it can open the "
            "database to write.\n",
            stderr);
}

merle_db *command_open(const char *path) {
    merle_report report = {0};
    merle_db *db;
    merle_err err = open_for(path, MERLE_ACCESS_READ, &db, &report);
    if (err == MERLE_OK) return db;
    tell_not_opened(err, &report);
    return NULL;
}

/* ---- a directory, or its owner ---- */

static int reach(const char *path, merle_access access, command_target *out) {
    merle_report report = {0};
    *out = (command_target){NULL, NULL};
    merle_err err = open_for(path, access, &out->db, &report);
    if (err == MERLE_BUSY)
        out->owner = owner_open(path, &report);
    else if (err != MERLE_OK)
        tell_not_opened(err, &report);
    return out->db != NULL || out->owner != NULL;
}

int command_reach(const char *path, command_target *out_target) {
    return reach(path, MERLE_ACCESS_READ, out_target);
}

int command_reach_to_write(const char *path, command_target *out_target) {
    return reach(path, MERLE_ACCESS_EXISTING, out_target);
}

int command_leave(command_target *target, int end) {
    owner_close(target->owner);
    int closed = target->db == NULL ? EXIT_GOOD : command_close(target->db);
    return end != EXIT_GOOD ? end : closed;
}

int command_close(merle_db *db) {
    merle_report report = {0};
    merle_report_to(db, &report);
    merle_err err = merle_close(db);
    return err == MERLE_OK ? EXIT_GOOD : command_fail("closing", err, &report);
}
