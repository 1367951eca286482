/* tools/merle/checkpoint.c - merle checkpoint: writes pages of a directory that nobody has open.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include "tools/merle/command.h"
#include "tools/merle/print.h"

static int run(const command_line *line) {
    merle_report report = {0};
    merle_stats_db stats = {.size = sizeof stats};
    merle_db *db = command_open_to_write(line->arguments[0]);
    if (db == NULL) return EXIT_FAILED;
    merle_report_to(db, &report);
    merle_err err = merle_checkpoint(db);
    int end = err == MERLE_OK ? EXIT_GOOD : command_fail("checkpoint", err, &report);
    if (err == MERLE_OK && merle_stats(db, &stats) == MERLE_OK) {
        print_facts_begin();
        print_fact_number("seq", stats.seq);
        (void)print_facts_end();
    }
    merle_report_to(db, NULL);
    command_close(db);
    return end;
}

const command command_checkpoint = {
    "checkpoint",
    "DIR",
    1,
    "writes what the log has into pages",
    "Opens the directory, writes a checkpoint and closes it: the next opening has no log to go\n"
    "over. A program that has the directory open does this by itself, or by merle_checkpoint.\n\n"
    "  merle checkpoint world.merle\n",
    {{NULL, NULL, NULL}},
    run,
};
