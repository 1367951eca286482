/* tools/merle/info.c - merle info and merle stats: what a directory holds, and how it does.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <merle/operate.h>

#include "tools/merle/command.h"
#include "tools/merle/owner.h"
#include "tools/merle/print.h"

/* ---- facts ---- */

/* Every field of a map that is a number or a text. */
static void show_facts(const merle_value *map) {
    merle_value key, value;
    merle_walk walk;
    char name[64], text[64];
    if (merle_walk_begin(map, &walk) != MERLE_OK) return;
    while (merle_walk_next(&walk, &key, &value)) {
        snprintf(name, sizeof name, "%.*s", (int)key.bytes.size, (const char *)key.bytes.data);
        if (value.type == MERLE_TYPE_INT) print_fact_number(name, (uint64_t)value.number.i);
        if (value.type == MERLE_TYPE_UINT) print_fact_number(name, value.number.u);
        if (value.type != MERLE_TYPE_STR || strcmp(name, "path") == 0) continue;
        snprintf(text, sizeof text, "%.*s", (int)value.bytes.size, (const char *)value.bytes.data);
        print_fact_text(name, text);
    }
}

static void show_all_facts(merle_doc doc) {
    merle_value all;
    if (merle_value_msgpack(merle_bytes_of(doc.data, doc.size), &all) == MERLE_OK) show_facts(&all);
}

static void show_group(merle_doc doc, const char *name) {
    merle_value map;
    if (merle_doc_value(doc, name, &map) != MERLE_OK) return;
    print_group_begin(name);
    show_facts(&map);
    print_group_end();
}

/* ---- rows ---- */

static const print_column file_columns[] = {
    {"name", PRINT_TEXT}, {"kind", PRINT_TEXT}, {"size", PRINT_NUMBER}, {"about", PRINT_TEXT}};

static const print_column collection_columns[] = {
    {"collection", PRINT_TEXT}, {"id", PRINT_NUMBER},          {"documents", PRINT_NUMBER},
    {"slots", PRINT_NUMBER},    {"table_bytes", PRINT_NUMBER}, {"schema", PRINT_RAW, 1},
};

static const print_column index_columns[] = {
    {"collection", PRINT_TEXT}, {"index", PRINT_TEXT}, {"kind", PRINT_TEXT},
    {"on", PRINT_TEXT},         {"state", PRINT_TEXT}, {"entries", PRINT_NUMBER},
    {"bytes", PRINT_NUMBER},
};

enum { COLUMN_MAX = 8 };

/* A row's columns are fields of the same names; RAW is a map, shown as JSON. */
static void show_row(merle_doc row, const print_column *columns, int count, merle_buffer *json) {
    print_cell cells[COLUMN_MAX];
    for (int i = 0; i < count; i++) {
        merle_value value;
        cells[i] = columns[i].kind == PRINT_NUMBER
                       ? print_cell_number(merle_doc_uint(row, columns[i].name, 0))
                       : print_cell_bytes(merle_doc_str(row, columns[i].name));
        if (columns[i].kind == PRINT_RAW &&
            merle_doc_value(row, columns[i].name, &value) == MERLE_OK &&
            merle_json_write(value.bytes, MERLE_JSON_COMPACT, json) == MERLE_OK)
            cells[i] = print_cell_bytes(merle_bytes_of(json->data, json->size));
    }
    print_row(cells);
}

static void show_rows(merle_doc doc, const char *name, const print_column *columns, int count) {
    merle_buffer json = {0};
    merle_value rows, none, value;
    merle_walk walk;
    merle_doc row;
    print_begin(name, columns, count);
    if (merle_doc_value(doc, name, &rows) == MERLE_OK && merle_walk_begin(&rows, &walk) == MERLE_OK)
        while (merle_walk_next(&walk, &none, &value) && !print_has_failed())
            if (merle_doc_over(value.bytes, &row) == MERLE_OK) show_row(row, columns, count, &json);
    print_end();
    merle_buffer_free(&json);
}
#define SHOW_ROWS(doc, name, columns) \
    show_rows(doc, name, columns, (int)(sizeof columns / sizeof columns[0]))

static void show_info(merle_doc doc, const char *path) {
    print_facts_begin();
    print_fact_text("path", path);
    show_all_facts(doc);
    show_group(doc, "recovery");
    SHOW_ROWS(doc, "files", file_columns);
    SHOW_ROWS(doc, "collections", collection_columns);
    SHOW_ROWS(doc, "indexes", index_columns);
    print_facts_end();
}

static void show_stats(merle_doc doc, const char *path) {
    print_facts_begin();
    print_fact_text("path", path);
    show_all_facts(doc);
    print_facts_end();
}

/* ---- the commands ---- */

static int describe(merle_db *db, const char *what, merle_buffer *document, merle_doc *out_doc) {
    merle_report report = {0};
    merle_report_to(db, &report);
    merle_err err = merle_describe(db, what, document);
    if (err == MERLE_OK)
        err = merle_doc_over(merle_bytes_of(document->data, document->size), out_doc);
    return err == MERLE_OK ? EXIT_GOOD : command_fail(what, err, &report);
}

static int ask(const char *path, const char *what, void (*show)(merle_doc doc, const char *path)) {
    merle_bytes none = {NULL, 0};
    merle_buffer document = {0};
    command_target target;
    merle_doc doc;
    if (!command_reach(path, &target)) return EXIT_FAILED;
    int end = target.db != NULL ? describe(target.db, what, &document, &doc)
                                : owner_operate(target.owner, what, none, &doc);
    if (end == EXIT_GOOD) show(doc, path);
    merle_buffer_free(&document);
    return command_leave(&target, end);
}

static int run_info(const command_line *line) {
    return ask(line->arguments[0], "info", show_info);
}

static int run_stats(const command_line *line) {
    return ask(line->arguments[0], "stats", show_stats);
}

const command command_info = {
    "info",
    "DIR",
    1,
    "shows what a directory holds",
    "The database's identity, how far it has come, what an opening has to read, its files, and "
    "its\n"
    "collections with their indexes. As JSON: one object. Changes nothing. Where a process has\n"
    "the directory open, and lets operators look, that one is asked.\n\n"
    "  merle info world.merle\n"
    "  merle info world.merle --json | jq '.collections[].documents'\n",
    {{NULL, NULL, NULL}},
    run_info,
};

const command command_stats = {
    "stats",
    "DIR",
    1,
    "shows all figures of a running database",
    "Every figure of merle_stats, asked of the process that has the directory open. Where nobody\n"
    "has, the directory is opened to read, and the figures are those of that. As JSON: one "
    "object.\n\n"
    "  merle stats world.merle\n"
    "  merle stats world.merle --json | jq '.commits, .log_syncs'\n",
    {{NULL, NULL, NULL}},
    run_stats,
};
