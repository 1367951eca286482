/* tools/merle/checkpoint.c - merle checkpoint: writes what the log has into pages.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tools/merle/owner.h"
#include "tools/merle/print.h"

static void show(const merle_stats_db *stats) {
    print_facts_begin();
    print_fact_number("seq", stats->checkpoint_seq);
    print_fact_number("term", stats->term);
    print_fact_number("pages_written", stats->checkpoint_pages);
    print_fact_number("bytes_written", stats->checkpoint_bytes);
    print_fact_number("nanoseconds", stats->checkpoint_ns);
    print_fact_number("pages", stats->pages);
    print_fact_number("page_bytes", stats->page_bytes);
    print_facts_end();
}

static int write_here(merle_db *db, merle_stats_db *out_stats) {
    merle_report report = {0};
    merle_report_to(db, &report);
    merle_err err = merle_checkpoint(db);
    if (err == MERLE_OK) err = merle_stats(db, out_stats);
    return err == MERLE_OK ? EXIT_GOOD : command_fail("checkpoint", err, &report);
}

static int write_there(owner *o, merle_stats_db *out_stats) {
    merle_bytes none = {NULL, 0};
    merle_doc doc;
    int end = owner_job(o, "checkpoint", none, &doc);
    if (end != EXIT_GOOD) return end;
    out_stats->checkpoint_seq = merle_doc_uint(doc, "seq", 0);
    out_stats->term = merle_doc_uint(doc, "term", 0);
    out_stats->checkpoint_pages = merle_doc_uint(doc, "pages_written", 0);
    out_stats->checkpoint_bytes = merle_doc_uint(doc, "bytes_written", 0);
    out_stats->checkpoint_ns = merle_doc_uint(doc, "nanoseconds", 0);
    out_stats->pages = merle_doc_uint(doc, "pages", 0);
    out_stats->page_bytes = merle_doc_uint(doc, "page_bytes", 0);
    return end;
}

static int run(const command_line *line) {
    merle_stats_db stats = {.size = sizeof stats};
    command_target target;
    if (!command_reach_to_write(line->arguments[0], &target)) return EXIT_FAILED;
    int end = target.db != NULL ? write_here(target.db, &stats) : write_there(target.owner, &stats);
    if (end == EXIT_GOOD) show(&stats);
    return command_leave(&target, end);
}

const command command_checkpoint = {
    "checkpoint",
    "DIR",
    1,
    "writes what the log has into pages",
    "Writes a checkpoint: the next opening has no log to go over. Where a process has the\n"
    "directory open, and lets operators do so, that one writes it and goes on meanwhile; else the\n"
    "directory is opened and closed for it.\n\n"
    "  merle checkpoint world.merle\n",
    {{NULL, NULL, NULL}},
    run,
};
