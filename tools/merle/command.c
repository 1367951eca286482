/* tools/merle/command.c - what the commands share: opening a directory, telling errors.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tools/merle/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/merle/progress.h"

int command_fail(const char *what, merle_err err, const merle_report *report) {
    const char *sentence = merle_err_text(err);
    if (report != NULL && report->message[0] != 0) sentence = report->message;
    fprintf(stderr, "merle: %s: %s (%s)\n", what, sentence, merle_err_name(err));
    return EXIT_FAILED;
}

int command_number(const char *text, uint64_t *out_number) {
    char *end;
    if (*text < '0' || *text > '9') return 0;
    errno = 0;
    *out_number = strtoull(text, &end, 10);
    return errno == 0 && *end == 0;
}

static void show_progress(void *context, uint64_t done, uint64_t total) {
    progress_show(context, done, total);
}

static merle_db *open_for(const char *path, merle_access access) {
    merle_db *db;
    merle_report report = {0};
    progress bar;
    progress_begin(&bar, "opening", "steps");
    merle_options options = {
        .size = sizeof options,
        .threads = MERLE_THREADS_NONE,
        .access = access,
        .progress = show_progress,
        .progress_context = &bar,
        .report = &report,
    };
    merle_err err = merle_open(path, &options, &db);
    progress_end(&bar);
    if (err == MERLE_OK) return db;
    (void)command_fail(path, err, &report);
    return NULL;
}

merle_db *command_open(const char *path) {
    return open_for(path, MERLE_ACCESS_READ);
}

merle_db *command_open_to_write(const char *path) {
    return open_for(path, MERLE_ACCESS_EXISTING);
}

void command_close(merle_db *db) {
    merle_report report = {0};
    merle_report_to(db, &report);
    merle_err err = merle_close(db);
    if (err != MERLE_OK) (void)command_fail("closing", err, &report);
}
