/* tools/merle/care.c - what the commands that call <merle/care.h> share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tools/merle/care.h"

#include <inttypes.h>
#include <stdio.h>

#include "tools/merle/print.h"

void care_begin(care *c, const char *what) {
    *c = (care){.options = {.size = sizeof c->options}, .info = {.size = sizeof c->info}};
    c->options.progress = progress_show;
    c->options.progress_context = &c->bar;
    progress_begin(&c->bar, what);
}

/* ---- findings ---- */

static const print_column columns[] = {
    {"kind", PRINT_TEXT},          {"file", PRINT_TEXT},           {"offset", PRINT_NUMBER},
    {"message", PRINT_TEXT},       {"expected", PRINT_TEXT, 1},    {"found", PRINT_TEXT, 1},
    {"collection", PRINT_TEXT, 1}, {"key", PRINT_TEXT, 1},         {"slot_first", PRINT_NUMBER, 1},
    {"slots", PRINT_NUMBER, 1},    {"seq_first", PRINT_NUMBER, 1}, {"seq_last", PRINT_NUMBER, 1},
};

static void show_finding(void *context, const merle_finding *finding) {
    care *c = context;
    progress_clear(&c->bar);
    print_cell cells[] = {
        print_cell_text(merle_finding_name(finding->kind)),
        print_cell_text(finding->file),
        print_cell_number(finding->offset),
        print_cell_text(finding->message),
        print_cell_text(finding->expected),
        print_cell_text(finding->found),
        print_cell_text(finding->collection),
        print_cell_text(finding->key),
        print_cell_number(finding->slot_first),
        print_cell_number(finding->slot_count),
        print_cell_number(finding->seq_first),
        print_cell_number(finding->seq_last),
    };
    print_row(cells);
}

void care_list_begin(care *c, const char *name) {
    c->options.finding = show_finding;
    c->options.finding_context = c;
    print_begin(name, columns, sizeof columns / sizeof columns[0]);
}

void care_list_end(care *c) {
    progress_clear(&c->bar);
    print_end();
}

/* ---- figures ---- */

static void show_number(const char *name, uint64_t number) {
    if (number != 0) print_fact_number(name, number);
}

static void show_where(const merle_care_info *info) {
    char id[33];
    if ((info->database_id[0] | info->database_id[1]) != 0) {
        snprintf(id, sizeof id, "%016" PRIx64 "%016" PRIx64, info->database_id[0],
                 info->database_id[1]);
        print_fact_text("database", id);
    }
    show_number("term", info->term);
    print_fact_number("seq", info->seq);
    if (info->time_ns != 0) print_fact_time("time_ns", info->time_ns);
    if (info->seq_max == 0) return;
    print_fact_number("restore_seq_min", info->seq_min);
    print_fact_number("restore_seq_max", info->seq_max);
    print_fact_time("restore_time_min_ns", info->time_min_ns);
    print_fact_time("restore_time_max_ns", info->time_max_ns);
}

void care_show(const care *c) {
    const merle_care_info *info = &c->info;
    show_where(info);
    show_number("pages", info->pages);
    show_number("documents", info->documents);
    show_number("log_records", info->records);
    show_number("manifests", info->manifests);
    show_number("page_files", info->page_files);
    show_number("log_files", info->log_files);
    show_number("bytes", info->bytes);
    show_number("bytes_linked", info->bytes_linked);
    show_number("pages_older", info->pages_older);
    show_number("pages_lost", info->pages_lost);
    show_number("records_lost", info->records_lost);
    show_number("operations_lost", info->operations_lost);
    show_number("duplicates", info->duplicates);
}

int care_answer(care *c, const char *what, merle_err err, const char *to) {
    progress_clear(&c->bar);
    if (err != MERLE_OK) return command_fail(what, err, &c->report);
    print_facts_begin();
    print_fact_text("path", to);
    care_show(c);
    print_facts_end();
    return EXIT_GOOD;
}
