/* tools/merle/dump.c - merle dump: the documents of a directory, one JSON object a line.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <string.h>

#include <merle/condition.h>

#include "tools/merle/command.h"
#include "tools/merle/print.h"

enum { DUMP_BATCH = 64 };
enum { OPTION_COLLECTION, OPTION_KEY, OPTION_WHERE, OPTION_LIMIT };

typedef struct dump {
    const char *only; /* a collection's name, or NULL */
    merle_condition *condition;
    uint8_t key[MERLE_KEY_SIZE_MAX];
    size_t key_size; /* 0: all */
    uint64_t left;
    merle_db *db;
    merle_section *section;
    merle_buffer json;
    progress bar;
    uint64_t seen, total;
    int end; /* how the command ends */
    int found;
} dump;

static const print_column columns[] = {
    {"collection", PRINT_TEXT}, {"key", PRINT_KEY},      {"seq", PRINT_NUMBER},
    {"expires_ns", PRINT_TIME}, {"document", PRINT_RAW},
};

/* A document that cannot be shown is told of, and the others are shown. */
static void tell_of(dump *d, merle_collection *collection, merle_doc doc, merle_err err) {
    char text[4 * MERLE_KEY_SIZE_MAX + 1];
    text[print_key(merle_doc_key(doc), text)] = 0;
    progress_clear(&d->bar);
    fprintf(stderr, "merle: %s, key %s: %s (%s)\n", merle_collection_name(collection), text,
            merle_err_text(err), merle_err_name(err));
    d->end = EXIT_FAILED;
}

static merle_bytes json_of(dump *d, merle_collection *collection, merle_doc doc) {
    merle_err err =
        merle_json_write(merle_bytes_of(doc.data, doc.size), MERLE_JSON_COMPACT, &d->json);
    if (err == MERLE_OK) return merle_bytes_of(d->json.data, d->json.size);
    tell_of(d, collection, doc, err);
    return merle_bytes_of(NULL, 0);
}

/* Non-zero: no more is wanted. */
static int dump_document(dump *d, merle_collection *collection, merle_doc doc) {
    int matches = 1;
    merle_err err = MERLE_OK;
    if (d->condition != NULL) err = merle_condition_match(d->condition, doc, NULL, 0, &matches);
    if (err != MERLE_OK) tell_of(d, collection, doc, err);
    if (err != MERLE_OK || !matches) return 0;
    print_cell cells[] = {
        print_cell_text(merle_collection_name(collection)),
        print_cell_bytes(merle_doc_key(doc)),
        print_cell_number(doc.seq),
        print_cell_number((uint64_t)merle_doc_expires(doc)),
        print_cell_bytes(json_of(d, collection, doc)),
    };
    print_row(cells);
    d->found = 1;
    return print_has_failed() || --d->left == 0;
}

static merle_err dump_scan(dump *d, merle_collection *collection, int *out_has_enough) {
    merle_doc docs[DUMP_BATCH];
    merle_scan scan = {0};
    size_t count;
    for (;;) {
        merle_err err = merle_scan_next(d->section, collection, &scan, docs, DUMP_BATCH, &count);
        if (err != MERLE_OK) return err == MERLE_NOT_FOUND ? MERLE_OK : err;
        for (size_t i = 0; i < count && !*out_has_enough; i++)
            *out_has_enough = dump_document(d, collection, docs[i]);
        if (*out_has_enough) return MERLE_OK;
        d->seen += count;
        progress_show(&d->bar, "documents", d->seen, d->total);
    }
}

static int dump_collection(void *context, merle_collection *collection) {
    dump *d = context;
    merle_doc doc;
    int has_enough = 0;
    merle_err err;
    if (d->only != NULL && strcmp(d->only, merle_collection_name(collection)) != 0) return 0;
    if (d->key_size > 0) {
        err = merle_get(d->section, collection, merle_bytes_of(d->key, d->key_size), &doc);
        if (err == MERLE_OK) has_enough = dump_document(d, collection, doc);
        if (err == MERLE_NOT_FOUND) err = MERLE_OK;
    } else {
        err = dump_scan(d, collection, &has_enough);
    }
    if (err == MERLE_OK) return has_enough;
    progress_clear(&d->bar);
    d->end = command_fail(merle_collection_name(collection), err, NULL);
    return 0;
}

static int dump_all(dump *d) {
    merle_section section;
    merle_stats_db stats = {.size = sizeof stats};
    merle_err err = merle_section_begin(d->db, &section);
    if (err != MERLE_OK) return command_fail("dump", err, NULL);
    d->section = &section;
    if (merle_stats(d->db, &stats) == MERLE_OK) d->total = stats.documents;
    progress_begin(&d->bar, "dumping");
    print_begin(NULL, columns, sizeof columns / sizeof columns[0]);
    err = merle_collection_each(d->db, dump_collection, d);
    print_end();
    progress_clear(&d->bar);
    (void)merle_section_end(&section);
    if (err != MERLE_OK) return command_fail("dump", err, NULL);
    if (d->end != EXIT_GOOD || d->key_size == 0 || d->found) return d->end;
    fputs("merle: there is no such document\n", stderr);
    return EXIT_FOUND;
}

static int read_condition(dump *d, const char *text) {
    merle_report report = {0};
    if (text == NULL) return EXIT_GOOD;
    merle_err err = merle_condition_parse(merle_str(text), &d->condition, &report);
    if (err != MERLE_OK)
        return command_misuse("--where: %s; see merle dump --help",
                              report.message[0] != 0 ? report.message : merle_err_text(err));
    if (merle_condition_parameter_count(d->condition) == 0) return EXIT_GOOD;
    return command_misuse("--where: a condition with $parameters has no values here");
}

static int read_options(dump *d, const command_line *line) {
    d->only = line->values[OPTION_COLLECTION];
    const char *key = line->values[OPTION_KEY], *limit = line->values[OPTION_LIMIT];
    if (key != NULL && !print_key_read(key, d->key, &d->key_size))
        return command_misuse(
            "--key \"%s\" is no key: a backslash is \\\\, a byte that does not print \\xNN", key);
    if (limit != NULL && (!command_number(limit, &d->left) || d->left == 0))
        return command_misuse("--limit wants a number above 0, not \"%s\"", limit);
    return read_condition(d, line->values[OPTION_WHERE]);
}

static int open_and_dump(dump *d, const char *path) {
    merle_collection *collection;
    int end;
    d->db = command_open(path);
    if (d->db == NULL) return EXIT_FAILED;
    if (d->only != NULL && merle_collection_find(d->db, d->only, &collection) != MERLE_OK)
        end = command_no_collection(d->only);
    else
        end = dump_all(d);
    int closed = command_close(d->db);
    return end != EXIT_GOOD ? end : closed;
}

static int run(const command_line *line) {
    dump d = {.left = UINT64_MAX, .end = EXIT_GOOD};
    int end = read_options(&d, line);
    if (end == EXIT_GOOD) end = open_and_dump(&d, line->arguments[0]);
    merle_condition_destroy(d.condition);
    merle_buffer_free(&d.json);
    return end;
}

const command command_dump = {
    "dump",
    "DIR",
    1,
    "prints the documents",
    "Every document with its collection, its key, the seq of its last change and the moment when\n"
    "it ends (nanoseconds since 1970). Bytes of a key that do not print are \\xNN, and --key "
    "takes\n"
    "them so. Ends with 1 where there is no such collection or key. Changes nothing.\n\n"
    "  merle dump world.merle --collection players --where 'level >= 10' --limit 5\n"
    "  merle dump world.merle --collection players --key p17\n"
    "  merle dump world.merle --key '\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x07'\n",
    {
        [OPTION_COLLECTION] = {"collection", "NAME", "only of this collection"},
        [OPTION_KEY] = {"key", "KEY", "only the document under this key"},
        [OPTION_WHERE] = {"where", "CONDITION", "only those that meet the condition"},
        [OPTION_LIMIT] = {"limit", "N", "no more than N"},
    },
    run,
};
