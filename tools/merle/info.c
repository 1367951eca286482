/* tools/merle/info.c - merle info: what a directory holds.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/merle/command.h"
#include "tools/merle/print.h"

/* ---- the database ---- */

static void show_database(const merle_stats_db *stats) {
    char id[33];
    snprintf(id, sizeof id, "%016" PRIx64 "%016" PRIx64, stats->database_id[0],
             stats->database_id[1]);
    print_fact_text("database", id);
    print_fact_number("term", stats->term);
    print_fact_number("seq", stats->seq);
    print_fact_number("checkpoint_seq", stats->checkpoint_seq);
    print_fact_number("documents", stats->documents);
    print_fact_number("expiring", stats->expiring);
    print_fact_number("bytes_in_memory", stats->bytes_total);
    print_fact_number("pages", stats->pages);
    print_fact_number("page_bytes", stats->page_bytes);
}

static void show_recovery(const merle_recovery_info *info) {
    print_group_begin("recovery");
    print_fact_number("manifest", info->manifest);
    print_fact_number("manifest_seq", info->manifest_seq);
    print_fact_number("pages", info->pages);
    print_fact_number("page_bytes", info->page_bytes);
    print_fact_number("page_documents", info->documents);
    print_fact_number("log_records", info->records);
    print_fact_number("log_bytes", info->log_bytes);
    print_fact_number("log_operations", info->operations);
    print_fact_number("log_operations_in_pages", info->operations_passed_over);
    print_fact_number("threads", info->threads);
    print_fact_number("pages_ns", info->pages_ns);
    print_fact_number("log_ns", info->log_ns);
    print_fact_number("indexes_ns", info->build_ns);
    print_fact_number("total_ns", info->total_ns);
    print_group_end();
}

/* ---- its files ---- */

static const print_column file_columns[] = {
    {"name", PRINT_TEXT}, {"kind", PRINT_TEXT}, {"size", PRINT_NUMBER}, {"about", PRINT_TEXT}};

/* A map inside a document, looked at as one. */
static merle_doc doc_of(const merle_value *value) {
    merle_doc doc;
    /* Where it is none the document is empty, and has no field. */
    (void)!merle_doc_over(value->bytes, &doc);
    return doc;
}

static void show_file(merle_doc file) {
    print_cell cells[] = {
        print_cell_bytes(merle_doc_str(file, "name")),
        print_cell_bytes(merle_doc_str(file, "kind")),
        print_cell_number(merle_doc_uint(file, "size", 0)),
        print_cell_bytes(merle_doc_str(file, "about")),
    };
    print_row(cells);
}

static merle_err show_files(merle_db *db) {
    merle_buffer json = {0}, document = {0};
    merle_value files, none, file;
    merle_walk walk;
    merle_doc all;
    merle_err err = merle_files(db, &json);
    if (err == MERLE_OK)
        err = merle_json_read(merle_bytes_of(json.data, json.size), &document, NULL);
    if (err == MERLE_OK) err = merle_doc_over(merle_bytes_of(document.data, document.size), &all);
    if (err == MERLE_OK) err = merle_doc_value(all, "files", &files);
    if (err == MERLE_OK) {
        print_begin("files", file_columns, sizeof file_columns / sizeof file_columns[0]);
        err = merle_walk_begin(&files, &walk);
        while (err == MERLE_OK && merle_walk_next(&walk, &none, &file)) show_file(doc_of(&file));
        print_end();
    }
    merle_buffer_free(&json);
    merle_buffer_free(&document);
    return err;
}

/* ---- its collections ---- */

typedef struct listing {
    merle_buffer schema, document;
} listing;

static const print_column collection_columns[] = {
    {"collection", PRINT_TEXT}, {"id", PRINT_NUMBER},          {"documents", PRINT_NUMBER},
    {"slots", PRINT_NUMBER},    {"table_bytes", PRINT_NUMBER}, {"schema", PRINT_RAW, 1},
};

static merle_err read_schema(listing *l, merle_collection *collection, merle_doc *out_schema) {
    merle_err err = merle_collection_describe(collection, &l->schema);
    if (err == MERLE_OK)
        err = merle_json_read(merle_bytes_of(l->schema.data, l->schema.size), &l->document, NULL);
    if (err != MERLE_OK) return err;
    return merle_doc_over(merle_bytes_of(l->document.data, l->document.size), out_schema);
}

static int show_collection(void *context, merle_collection *collection) {
    merle_stats_collection stats = {.size = sizeof stats};
    listing *l = context;
    merle_doc schema;
    if (merle_collection_stats(collection, &stats) != MERLE_OK ||
        read_schema(l, collection, &schema) != MERLE_OK ||
        merle_json_write(merle_bytes_of(schema.data, schema.size), MERLE_JSON_COMPACT,
                         &l->schema) != MERLE_OK)
        return 0;
    print_cell cells[] = {
        print_cell_text(merle_collection_name(collection)),
        print_cell_number(merle_collection_id(collection)),
        print_cell_number(stats.documents),
        print_cell_number(stats.slots),
        print_cell_number(stats.bytes),
        print_cell_bytes(merle_bytes_of(l->schema.data, l->schema.size)),
    };
    print_row(cells);
    return print_has_failed();
}

static const print_column index_columns[] = {
    {"collection", PRINT_TEXT}, {"index", PRINT_TEXT}, {"kind", PRINT_TEXT},
    {"on", PRINT_TEXT},         {"state", PRINT_TEXT}, {"entries", PRINT_NUMBER},
    {"bytes", PRINT_NUMBER},
};

static const char *state_name(merle_index_state state) {
    if (state == MERLE_INDEX_BUILDING) return "building";
    return state == MERLE_INDEX_FAILED ? "failed" : "ready";
}

static void show_index(merle_collection *collection, merle_doc index) {
    merle_stats_index stats = {.size = sizeof stats};
    char name[MERLE_NAME_SIZE_MAX + 1];
    merle_bytes named = merle_doc_str(index, "name");
    if (named.data == NULL || named.size > MERLE_NAME_SIZE_MAX) return;
    memcpy(name, named.data, named.size);
    name[named.size] = 0;
    if (merle_index_stats(collection, name, &stats) != MERLE_OK) return;
    print_cell cells[] = {
        print_cell_text(merle_collection_name(collection)),
        print_cell_bytes(named),
        print_cell_bytes(merle_doc_str(index, "kind")),
        print_cell_bytes(merle_doc_str(index, "on")),
        print_cell_text(state_name(stats.state)),
        print_cell_number(stats.entries),
        print_cell_number(stats.bytes),
    };
    print_row(cells);
}

static int show_indexes(void *context, merle_collection *collection) {
    listing *l = context;
    merle_value indexes, none, index;
    merle_walk walk;
    merle_doc schema;
    if (read_schema(l, collection, &schema) != MERLE_OK ||
        merle_doc_value(schema, "indexes", &indexes) != MERLE_OK ||
        merle_walk_begin(&indexes, &walk) != MERLE_OK)
        return 0;
    while (merle_walk_next(&walk, &none, &index)) show_index(collection, doc_of(&index));
    return print_has_failed();
}

static merle_err show_collections(merle_db *db) {
    listing l = {{0}, {0}};
    print_begin("collections", collection_columns,
                sizeof collection_columns / sizeof collection_columns[0]);
    merle_err err = merle_collection_each(db, show_collection, &l);
    print_end();
    print_begin("indexes", index_columns, sizeof index_columns / sizeof index_columns[0]);
    if (err == MERLE_OK) err = merle_collection_each(db, show_indexes, &l);
    print_end();
    merle_buffer_free(&l.schema);
    merle_buffer_free(&l.document);
    return err;
}

/* ---- the command ---- */

static merle_err show(merle_db *db, const char *path) {
    merle_stats_db stats = {.size = sizeof stats};
    merle_recovery_info info = {.size = sizeof info};
    merle_err err = merle_stats(db, &stats);
    if (err == MERLE_OK) err = merle_recovery(db, &info);
    if (err != MERLE_OK) return err;
    print_facts_begin();
    print_fact_text("path", path);
    show_database(&stats);
    show_recovery(&info);
    err = show_files(db);
    if (err == MERLE_OK) err = show_collections(db);
    print_facts_end();
    return err;
}

static int run(const command_line *line) {
    merle_report report = {0};
    merle_db *db = command_open(line->arguments[0]);
    if (db == NULL) return EXIT_FAILED;
    merle_report_to(db, &report);
    merle_err err = show(db, line->arguments[0]);
    int end = err == MERLE_OK ? EXIT_GOOD : command_fail("info", err, &report);
    int closed = command_close(db);
    return end != EXIT_GOOD ? end : closed;
}

const command command_info = {
    "info",
    "DIR",
    1,
    "shows what a directory holds",
    "The database's identity, how far it has come, what an opening has to read, its files, and "
    "its\n"
    "collections with their indexes. As JSON: one object. Changes nothing.\n\n"
    "  merle info world.merle\n"
    "  merle info world.merle --json | jq '.collections[].documents'\n",
    {{NULL, NULL, NULL}},
    run,
};
