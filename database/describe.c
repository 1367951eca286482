/* database/describe.c - a database in one document: what the command `merle` shows.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <merle/operate.h>

#include "base/buffer.h"
#include "database/database.h"

/* ---- figures ---- */

typedef struct figure {
    const char *name;
    size_t offset;
} figure;

#define FIGURE(field) \
    { #field, offsetof(merle_stats_db, field) }
static const figure figures[] = {
    FIGURE(seq),
    FIGURE(term),
    FIGURE(collections),
    FIGURE(documents),
    FIGURE(bytes_total),
    FIGURE(bytes_documents),
    FIGURE(bytes_tables),
    FIGURE(bytes_log),
    FIGURE(bytes_retired),
    FIGURE(bytes_other),
    FIGURE(bytes_max),
    FIGURE(ring_bytes),
    FIGURE(ring_size),
    FIGURE(ring_first_seq),
    FIGURE(threads),
    FIGURE(sections_open),
    FIGURE(commits_open),
    FIGURE(cursors_open),
    FIGURE(section_oldest_age_ns),
    FIGURE(section_oldest_seq),
    FIGURE(section_oldest_thread),
    FIGURE(sections_abandoned),
    FIGURE(commits),
    FIGURE(commits_refused),
    FIGURE(conflicts),
    FIGURE(retries),
    FIGURE(operations),
    FIGURE(gets),
    FIGURE(gets_missed),
    FIGURE(gets_unique),
    FIGURE(scans),
    FIGURE(versions_retired),
    FIGURE(versions_freed),
    FIGURE(versions_waiting),
    FIGURE(tables_split),
    FIGURE(tables_merged),
    FIGURE(tables_rebuilt),
    FIGURE(entries_copied),
    FIGURE(entries_copied_max),
    FIGURE(steps),
    FIGURE(step_longest_ns),
    FIGURE(bytes_kept),
    FIGURE(expired),
    FIGURE(expiring),
    FIGURE(expiry_lag_ns),
    FIGURE(checkpoints),
    FIGURE(checkpoints_failed),
    FIGURE(checkpoint_seq),
    FIGURE(checkpoint_pages),
    FIGURE(checkpoint_bytes),
    FIGURE(checkpoint_ns),
    FIGURE(checkpoint_slots_done),
    FIGURE(checkpoint_slots_total),
    FIGURE(page_files),
    FIGURE(pages),
    FIGURE(page_bytes),
    FIGURE(log_bytes_written),
    FIGURE(log_groups),
    FIGURE(log_group_bytes_max),
    FIGURE(log_records),
    FIGURE(log_syncs),
    FIGURE(log_sync_ns),
    FIGURE(log_sync_ns_max),
    FIGURE(log_files),
    FIGURE(log_files_spare),
    FIGURE(log_unsynced_bytes),
    FIGURE(durable_seq),
    FIGURE(term_id),
};

static uint64_t figure_of(const merle_stats_db *stats, const figure *f) {
    uint64_t value;
    memcpy(&value, (const uint8_t *)stats + f->offset, sizeof value);
    return value;
}

static void add_id(merle_builder *b, const char *name, const merle_stats_db *stats) {
    char text[33];
    snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64, stats->database_id[0],
             stats->database_id[1]);
    merle_build_str(b, name, text);
}

static merle_err add_stats(merle_db *db, merle_builder *b) {
    merle_stats_db stats = {.size = sizeof stats};
    merle_err err = merle_stats(db, &stats);
    if (err != MERLE_OK) return err;
    add_id(b, "database", &stats);
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        merle_build_uint(b, figures[i].name, figure_of(&stats, &figures[i]));
    return MERLE_OK;
}

/* ---- the database and its files ---- */

static merle_err add_identity(merle_db *db, merle_builder *b) {
    merle_stats_db stats = {.size = sizeof stats};
    merle_err err = merle_stats(db, &stats);
    if (err != MERLE_OK) return err;
    char text[17];
    add_id(b, "database", &stats);
    merle_build_uint(b, "term", stats.term);
    snprintf(text, sizeof text, "%016" PRIx64, stats.term_id);
    merle_build_str(b, "term_id", text);
    merle_build_uint(b, "seq", stats.seq);
    merle_build_uint(b, "checkpoint_seq", stats.checkpoint_seq);
    merle_build_uint(b, "documents", stats.documents);
    merle_build_uint(b, "expiring", stats.expiring);
    merle_build_uint(b, "bytes_in_memory", stats.bytes_total);
    merle_build_uint(b, "pages", stats.pages);
    merle_build_uint(b, "page_bytes", stats.page_bytes);
    return MERLE_OK;
}

static void add_recovery(merle_db *db, merle_builder *b) {
    merle_recovery_info info = {.size = sizeof info};
    if (merle_recovery(db, &info) != MERLE_OK) return;
    merle_build_map(b, "recovery");
    merle_build_uint(b, "manifest", info.manifest);
    merle_build_uint(b, "manifest_seq", info.manifest_seq);
    merle_build_uint(b, "pages", info.pages);
    merle_build_uint(b, "page_bytes", info.page_bytes);
    merle_build_uint(b, "page_documents", info.documents);
    merle_build_uint(b, "log_records", info.records);
    merle_build_uint(b, "log_bytes", info.log_bytes);
    merle_build_uint(b, "log_operations", info.operations);
    merle_build_uint(b, "log_operations_in_pages", info.operations_passed_over);
    merle_build_uint(b, "threads", info.threads);
    merle_build_uint(b, "pages_ns", info.pages_ns);
    merle_build_uint(b, "log_ns", info.log_ns);
    merle_build_uint(b, "indexes_ns", info.build_ns);
    merle_build_uint(b, "total_ns", info.total_ns);
    merle_build_close(b);
}

/* JSON that merle wrote, as a document in a buffer. */
static merle_err document_of(const merle_buffer *json, merle_buffer *document, merle_doc *out_doc) {
    merle_err err = merle_json_read(merle_bytes_of(json->data, json->size), document, NULL);
    if (err != MERLE_OK) return err;
    return merle_doc_over(merle_bytes_of(document->data, document->size), out_doc);
}

static merle_err add_files(merle_db *db, merle_builder *b) {
    merle_buffer json = {0}, document = {0};
    merle_value files;
    merle_doc all;
    merle_err err = merle_files(db, &json);
    int has_none = err == MERLE_NOT_FOUND;
    if (err == MERLE_OK) err = document_of(&json, &document, &all);
    if (err == MERLE_OK) err = merle_doc_value(all, "files", &files);
    if (err == MERLE_OK) {
        merle_build_bytes(b, "path", merle_doc_str(all, "path"));
        merle_build_value(b, "files", &files);
    }
    merle_buffer_free(&json);
    merle_buffer_free(&document);
    return has_none ? MERLE_OK : err;
}

/* ---- its collections ---- */

typedef struct describing {
    merle_builder *b;
    merle_buffer json, document;
    merle_err err;
} describing;

static merle_err read_schema(describing *d, merle_collection *collection, merle_doc *out_schema) {
    merle_err err = merle_collection_describe(collection, &d->json);
    return err == MERLE_OK ? document_of(&d->json, &d->document, out_schema) : err;
}

static int add_collection(void *context, merle_collection *collection) {
    describing *d = context;
    merle_stats_collection stats = {.size = sizeof stats};
    merle_value value;
    merle_doc schema;
    merle_err err = merle_collection_stats(collection, &stats);
    if (err == MERLE_OK) err = read_schema(d, collection, &schema);
    if (err == MERLE_OK)
        err = merle_value_msgpack(merle_bytes_of(schema.data, schema.size), &value);
    /* It was dropped just now. */
    if (err == MERLE_GONE) return 0;
    d->err = err;
    if (err != MERLE_OK) return 1;
    merle_build_map(d->b, NULL);
    merle_build_str(d->b, "collection", merle_collection_name(collection));
    merle_build_uint(d->b, "id", merle_collection_id(collection));
    merle_build_uint(d->b, "documents", stats.documents);
    merle_build_uint(d->b, "slots", stats.slots);
    merle_build_uint(d->b, "table_bytes", stats.bytes);
    merle_build_value(d->b, "schema", &value);
    merle_build_close(d->b);
    return 0;
}

static const char *state_name(merle_index_state state) {
    if (state == MERLE_INDEX_BUILDING) return "building";
    return state == MERLE_INDEX_FAILED ? "failed" : "ready";
}

static void add_index(describing *d, merle_collection *collection, const merle_value *definition) {
    merle_stats_index stats = {.size = sizeof stats};
    char name[MERLE_NAME_SIZE_MAX + 1];
    merle_doc index;
    if (merle_doc_over(definition->bytes, &index) != MERLE_OK) return;
    merle_bytes named = merle_doc_str(index, "name");
    if (named.data == NULL || named.size > MERLE_NAME_SIZE_MAX) return;
    memcpy(name, named.data, named.size);
    name[named.size] = 0;
    if (merle_index_stats(collection, name, &stats) != MERLE_OK) return;
    merle_build_map(d->b, NULL);
    merle_build_str(d->b, "collection", merle_collection_name(collection));
    merle_build_bytes(d->b, "index", named);
    merle_build_bytes(d->b, "kind", merle_doc_str(index, "kind"));
    merle_build_bytes(d->b, "on", merle_doc_str(index, "on"));
    merle_build_str(d->b, "state", state_name(stats.state));
    merle_build_uint(d->b, "entries", stats.entries);
    merle_build_uint(d->b, "bytes", stats.bytes);
    merle_build_close(d->b);
}

static int add_indexes(void *context, merle_collection *collection) {
    describing *d = context;
    merle_value indexes, none, index;
    merle_walk walk;
    merle_doc schema;
    if (read_schema(d, collection, &schema) != MERLE_OK ||
        merle_doc_value(schema, "indexes", &indexes) != MERLE_OK ||
        merle_walk_begin(&indexes, &walk) != MERLE_OK)
        return 0;
    while (merle_walk_next(&walk, &none, &index)) add_index(d, collection, &index);
    return 0;
}

static merle_err add_collections(merle_db *db, merle_builder *b) {
    describing d = {.b = b};
    merle_build_array(b, "collections");
    merle_err err = merle_collection_each(db, add_collection, &d);
    merle_build_close(b);
    merle_build_array(b, "indexes");
    if (err == MERLE_OK) err = d.err;
    if (err == MERLE_OK) err = merle_collection_each(db, add_indexes, &d);
    merle_build_close(b);
    merle_buffer_free(&d.json);
    merle_buffer_free(&d.document);
    return err;
}

/* ---- the whole ---- */

static merle_err add_info(merle_db *db, merle_builder *b) {
    merle_err err = add_identity(db, b);
    if (err != MERLE_OK) return err;
    add_recovery(db, b);
    err = add_files(db, b);
    return err == MERLE_OK ? add_collections(db, b) : err;
}

merle_err merle_describe(merle_db *db, const char *what, merle_buffer *out_document) {
    merle_builder *b = NULL;
    merle_bytes document;
    if (db == NULL || what == NULL || out_document == NULL) return MERLE_INVALID;
    int is_info = strcmp(what, "info") == 0;
    if (!is_info && strcmp(what, "stats") != 0) return MERLE_INVALID;
    merle_err err = merle_builder_create(&b);
    if (err != MERLE_OK) return err;
    merle_build_begin(b);
    err = is_info ? add_info(db, b) : add_stats(db, b);
    if (err == MERLE_OK) err = merle_build_end(b, &document);
    out_document->size = 0;
    if (err == MERLE_OK) err = mrl_buffer_append(out_document, document.data, document.size);
    merle_builder_destroy(b);
    return err;
}
