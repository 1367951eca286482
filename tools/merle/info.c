/* tools/merle/info.c - merle info: what a directory holds.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/merle/command.h"
#include "tools/merle/print.h"

static const print_column columns[] = {
    {"collection", PRINT_TEXT}, {"id", PRINT_NUMBER},     {"documents", PRINT_NUMBER},
    {"slots", PRINT_NUMBER},    {"tables", PRINT_NUMBER}, {"schema", PRINT_RAW},
};

static int show_collection(void *context, merle_collection *collection) {
    merle_stats_collection stats = {.size = sizeof stats};
    merle_buffer *schema = context;
    /* One that is dropped meanwhile is not there any more. */
    if (merle_collection_stats(collection, &stats) != MERLE_OK ||
        merle_collection_describe(collection, schema) != MERLE_OK)
        return 0;
    print_cell cells[] = {
        print_cell_text(merle_collection_name(collection)),
        print_cell_number(merle_collection_id(collection)),
        print_cell_number(stats.documents),
        print_cell_number(stats.slots),
        print_cell_number(stats.bytes),
        print_cell_bytes(merle_bytes_of(schema->data, schema->size)),
    };
    print_row(cells);
    return 0;
}

static merle_err show_database(merle_db *db) {
    merle_stats_db stats = {.size = sizeof stats};
    char id[33];
    merle_err err = merle_stats(db, &stats);
    if (err != MERLE_OK) return err;
    snprintf(id, sizeof id, "%016" PRIx64 "%016" PRIx64, stats.database_id[0],
             stats.database_id[1]);
    print_facts_begin();
    print_fact_text("database", id);
    print_fact_number("term", stats.term);
    print_fact_number("seq", stats.seq);
    print_fact_number("documents", stats.documents);
    print_fact_number("collections", stats.collections);
    print_fact_number("bytes in memory", stats.bytes_total);
    return MERLE_OK;
}

static merle_err show_files(merle_db *db) {
    merle_buffer json = {0};
    merle_err err = merle_files(db, &json);
    if (err == MERLE_OK) print_fact_json("files", merle_bytes_of(json.data, json.size));
    merle_buffer_free(&json);
    return err;
}

static merle_err show_collections(merle_db *db) {
    merle_buffer schema = {0};
    print_begin(columns, sizeof columns / sizeof columns[0]);
    merle_err err = merle_collection_each(db, show_collection, &schema);
    (void)print_end();
    merle_buffer_free(&schema);
    return err;
}

static int run(const command_line *line) {
    merle_db *db = command_open(line->arguments[0]);
    if (db == NULL) return EXIT_FAILED;
    merle_err err = show_database(db);
    if (err == MERLE_OK) err = show_files(db);
    (void)print_facts_end();
    if (err == MERLE_OK) err = show_collections(db);
    command_close(db);
    return err == MERLE_OK ? EXIT_GOOD : command_fail("info", err, NULL);
}

const command command_info = {
    "info",
    "DIR",
    1,
    "shows what a directory holds",
    "The database's identity, how far it has come, its files and its collections. As JSON: one\n"
    "line for the database, then one for each collection.\n\n"
    "  merle info world.merle\n",
    {{NULL, NULL, NULL}},
    run,
};
