/* tools/merle/backup.c - merle backup: a copy of a directory that nobody has open.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tools/merle/care.h"

static int run(const command_line *line) {
    care c;
    merle_db *db = command_open_to_write(line->arguments[0]);
    if (db == NULL) return EXIT_FAILED;
    care_begin(&c, "backup");
    merle_err err = merle_backup(db, line->arguments[1], &c.options, &c.info, &c.report);
    int end = care_answer(&c, "backup", err, line->arguments[1]);
    int closed = command_close(db);
    return end != EXIT_GOOD ? end : closed;
}

const command command_backup = {
    "backup",
    "DIR TO",
    2,
    "copies a database to a new directory",
    "Opens the directory, copies it as it is to TO, and closes it. Files of pages are linked "
    "where\n"
    "that is possible. TO opens like any directory; one without a manifest was cut off, and is no\n"
    "backup. A program that has the directory open calls merle_backup, and goes on meanwhile.\n\n"
    "  merle backup world.merle /backups/world-monday\n",
    {{NULL, NULL, NULL}},
    run,
};
