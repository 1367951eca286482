/* tools/merle/dump.c - merle dump: the documents of a directory, one JSON object a line.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
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
    int end; /* how the command ends */
    int found;
} dump;

static const print_column columns[] = {
    {"collection", PRINT_TEXT}, {"key", PRINT_KEY},      {"seq", PRINT_NUMBER},
    {"expires", PRINT_RAW},     {"document", PRINT_RAW},
};

/* Non-zero: no more is wanted. */
static int dump_document(dump *d, merle_collection *collection, merle_doc doc) {
    char expires[24] = "null";
    int matches = 1;
    merle_err err = MERLE_OK;
    if (d->condition != NULL) err = merle_condition_match(d->condition, doc, NULL, 0, &matches);
    if (err == MERLE_OK && !matches) return 0;
    if (err == MERLE_OK)
        err = merle_json_write(merle_bytes_of(doc.data, doc.size), MERLE_JSON_COMPACT, &d->json);
    if (err != MERLE_OK) {
        d->end = command_fail("dump", err, NULL);
        return 1;
    }
    int64_t expires_ns = merle_doc_expires(doc);
    if (expires_ns != 0) snprintf(expires, sizeof expires, "%lld", (long long)expires_ns);
    print_cell cells[] = {
        print_cell_text(merle_collection_name(collection)),
        print_cell_bytes(merle_doc_key(doc)),
        print_cell_number(doc.seq),
        print_cell_text(expires),
        print_cell_bytes(merle_bytes_of(d->json.data, d->json.size)),
    };
    print_row(cells);
    d->found = 1;
    return ferror(stdout) || --d->left == 0;
}

static int dump_collection(void *context, merle_collection *collection) {
    dump *d = context;
    merle_doc docs[DUMP_BATCH];
    merle_scan scan = {0};
    size_t count;
    if (d->only != NULL && strcmp(d->only, merle_collection_name(collection)) != 0) return 0;
    if (d->key_size > 0) {
        merle_err err =
            merle_get(d->section, collection, merle_bytes_of(d->key, d->key_size), &docs[0]);
        return err == MERLE_OK ? dump_document(d, collection, docs[0]) : 0;
    }
    while (merle_scan_next(d->section, collection, &scan, docs, DUMP_BATCH, &count) == MERLE_OK)
        for (size_t i = 0; i < count; i++)
            if (dump_document(d, collection, docs[i]) != 0) return 1;
    return 0;
}

static int dump_all(dump *d) {
    merle_section section;
    merle_err err = merle_section_begin(d->db, &section);
    if (err != MERLE_OK) return command_fail("dump", err, NULL);
    d->section = &section;
    print_begin(columns, sizeof columns / sizeof columns[0]);
    err = merle_collection_each(d->db, dump_collection, d);
    int failed = print_end();
    (void)merle_section_end(&section);
    if (err != MERLE_OK) return command_fail("dump", err, NULL);
    /* Whoever reads has enough: that is no failure. */
    if (failed != 0 && failed != EPIPE) {
        fprintf(stderr, "merle: the answer could not be written: %s\n", strerror(failed));
        return EXIT_FAILED;
    }
    if (d->end == EXIT_GOOD && d->key_size > 0 && !d->found) return EXIT_FOUND;
    return d->end;
}

static int read_options(dump *d, const command_line *line) {
    merle_report report = {0};
    d->only = line->values[OPTION_COLLECTION];
    const char *key = line->values[OPTION_KEY], *limit = line->values[OPTION_LIMIT];
    if (key != NULL && !print_key_read(key, d->key, &d->key_size))
        return command_misuse("\"%s\" is no key: a byte that does not print is \\xNN", key);
    if (limit != NULL && (!command_number(limit, &d->left) || d->left == 0))
        return command_misuse("--limit wants a number above 0, not \"%s\"", limit);
    if (line->values[OPTION_WHERE] == NULL) return EXIT_GOOD;
    merle_err err =
        merle_condition_parse(merle_str(line->values[OPTION_WHERE]), &d->condition, &report);
    if (err == MERLE_OK) return EXIT_GOOD;
    return command_misuse("--where: %s",
                          report.message[0] != 0 ? report.message : merle_err_text(err));
}

static int run(const command_line *line) {
    dump d = {.left = UINT64_MAX, .end = EXIT_GOOD};
    merle_collection *collection;
    int end = read_options(&d, line);
    if (end != EXIT_GOOD) return end;
    d.db = command_open(line->arguments[0]);
    if (d.db == NULL) {
        end = EXIT_FAILED;
    } else if (d.only != NULL &&
               merle_collection_find(d.db, d.only, &collection) == MERLE_NOT_FOUND) {
        fprintf(stderr, "merle: there is no collection \"%s\"\n", d.only);
        end = EXIT_FOUND;
    } else {
        end = dump_all(&d);
    }
    if (d.db != NULL) command_close(d.db);
    merle_condition_destroy(d.condition);
    merle_buffer_free(&d.json);
    return end;
}

const command command_dump = {
    "dump",
    "DIR",
    1,
    "prints the documents",
    "Every document with its collection, key, seq of its last change and moment of expiry\n"
    "(nanoseconds since 1970). Bytes of a key that do not print are \\xNN.\n\n"
    "  merle dump world.merle --collection players --where 'level >= 10' --limit 5\n"
    "  merle dump world.merle --collection players --key p17\n",
    {
        [OPTION_COLLECTION] = {"collection", "NAME", "only of this collection"},
        [OPTION_KEY] = {"key", "KEY", "only the document under this key"},
        [OPTION_WHERE] = {"where", "CONDITION", "only those that meet the condition"},
        [OPTION_LIMIT] = {"limit", "N", "no more than N"},
    },
    run,
};
