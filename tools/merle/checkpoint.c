/* tools/merle/checkpoint.c - merle checkpoint: writes pages of a directory that nobody has open.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tools/merle/command.h"
#include "tools/merle/print.h"

static void show(merle_db *db) {
    merle_stats_db stats = {.size = sizeof stats};
    if (merle_stats(db, &stats) != MERLE_OK) return;
    print_facts_begin();
    print_fact_number("seq", stats.seq);
    print_fact_number("term", stats.term);
    print_fact_number("pages_written", stats.checkpoint_pages);
    print_fact_number("bytes_written", stats.checkpoint_bytes);
    print_fact_number("nanoseconds", stats.checkpoint_ns);
    print_fact_number("pages", stats.pages);
    print_fact_number("page_bytes", stats.page_bytes);
    print_facts_end();
}

static int run(const command_line *line) {
    merle_report report = {0};
    merle_db *db = command_open_to_write(line->arguments[0]);
    if (db == NULL) return EXIT_FAILED;
    merle_report_to(db, &report);
    merle_err err = merle_checkpoint(db);
    int end = err == MERLE_OK ? EXIT_GOOD : command_fail("checkpoint", err, &report);
    if (err == MERLE_OK) show(db);
    int closed = command_close(db);
    return end != EXIT_GOOD ? end : closed;
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
