/* tools/merle/tail.c - merle tail: the log of a directory, one change a line.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/merle/command.h"
#include "tools/merle/print.h"

enum { TAIL_BATCH = 64 };
enum { OPTION_FROM, OPTION_COLLECTION, OPTION_LIMIT };

typedef struct tail {
    merle_db *db;
    merle_changes *changes;
    merle_buffer json;
    uint64_t left;
} tail;

static const print_column columns[] = {
    {"seq", PRINT_NUMBER},  {"time_ns", PRINT_NUMBER},    {"origin", PRINT_TEXT},
    {"change", PRINT_TEXT}, {"collection", PRINT_NUMBER}, {"key", PRINT_KEY},
    {"expires", PRINT_RAW}, {"content", PRINT_RAW},
};

static const char *kind_name(merle_change_kind kind) {
    static const char *const names[] = {"?",      "put",      "patch", "remove",
                                        "define", "truncate", "drop",  "sequence"};
    return (size_t)kind < sizeof names / sizeof names[0] ? names[kind] : names[0];
}

static const char *origin_name(merle_origin origin) {
    if (origin == MERLE_ORIGIN_EXPIRY) return "expiry";
    return origin == MERLE_ORIGIN_MIGRATION ? "migration" : "application";
}

/* What the change carries, as JSON: the document, the effect, the definition. */
static merle_bytes content(tail *t, const merle_change *change) {
    merle_bytes bytes = change->effect;
    if (change->after.data != NULL) bytes = merle_bytes_of(change->after.data, change->after.size);
    if (bytes.size == 0) return merle_bytes_of(NULL, 0);
    if (merle_json_write(bytes, MERLE_JSON_COMPACT, &t->json) != MERLE_OK) return merle_str("null");
    return merle_bytes_of(t->json.data, t->json.size);
}

static void show(tail *t, const merle_change *change) {
    char expires[24] = "null";
    if (change->expires_ns != 0) snprintf(expires, sizeof expires, "%" PRId64, change->expires_ns);
    print_cell cells[] = {
        print_cell_number(change->seq),
        print_cell_number((uint64_t)change->time_ns),
        print_cell_text(origin_name(change->origin)),
        print_cell_text(kind_name(change->kind)),
        print_cell_number(change->collection_id),
        print_cell_bytes(change->key),
        print_cell_text(expires),
        print_cell_bytes(content(t, change)),
    };
    print_row(cells);
}

static merle_err show_all(tail *t) {
    merle_change changes[TAIL_BATCH];
    size_t count = 1;
    while (count > 0 && t->left > 0) {
        merle_err err = merle_changes_next(t->changes, changes, TAIL_BATCH, &count);
        if (err == MERLE_GAP) {
            uint64_t first, last;
            merle_changes_gap(t->changes, &first, &last);
            fprintf(stderr, "merle: changes %" PRIu64 " to %" PRIu64 " are not kept any more\n",
                    first, last);
            count = 1;
            continue;
        }
        if (err != MERLE_OK) return err;
        for (size_t i = 0; i < count && t->left > 0; i++, t->left--) show(t, &changes[i]);
        if (ferror(stdout)) break;
    }
    return MERLE_OK;
}

static int show_changes(tail *t, const merle_changes_options *options) {
    merle_err err = merle_changes_open(t->db, options, &t->changes);
    if (err != MERLE_OK) return command_fail("tail", err, NULL);
    print_begin(columns, sizeof columns / sizeof columns[0]);
    err = show_all(t);
    int failed = print_end();
    merle_changes_close(t->changes);
    if (err != MERLE_OK) return command_fail("tail", err, NULL);
    if (failed == 0 || failed == EPIPE) return EXIT_GOOD;
    fprintf(stderr, "merle: the answer could not be written: %s\n", strerror(failed));
    return EXIT_FAILED;
}

static int run(const command_line *line) {
    tail t = {.left = UINT64_MAX};
    merle_changes_options options = {.size = sizeof options};
    const char *from = line->values[OPTION_FROM], *limit = line->values[OPTION_LIMIT];
    const char *name = line->values[OPTION_COLLECTION];
    uint64_t first = 1;
    if (from != NULL && (!command_number(from, &first) || first == 0))
        return command_misuse("--from wants a seq, from 1 on, not \"%s\"", from);
    if (limit != NULL && !command_number(limit, &t.left))
        return command_misuse("--limit wants a number, not \"%s\"", limit);
    options.after_seq = first - 1;
    if ((t.db = command_open(line->arguments[0])) == NULL) return EXIT_FAILED;
    int end = EXIT_GOOD;
    if (name != NULL && merle_collection_find(t.db, name, &options.collection) != MERLE_OK) {
        fprintf(stderr, "merle: there is no collection \"%s\"\n", name);
        end = EXIT_FOUND;
    }
    if (end == EXIT_GOOD) end = show_changes(&t, &options);
    command_close(t.db);
    merle_buffer_free(&t.json);
    return end;
}

const command command_tail = {
    "tail",
    "DIR",
    1,
    "prints the log",
    "Every change that the log still has, in order: put and patch with what they wrote, the\n"
    "moment of expiry, and who made it. Nobody may have the directory open.\n\n"
    "  merle tail world.merle --from 120000\n"
    "  merle tail world.merle --collection players --json | jq .content\n",
    {
        [OPTION_FROM] = {"from", "SEQ", "begin with this commit"},
        [OPTION_COLLECTION] = {"collection", "NAME", "only of this collection"},
        [OPTION_LIMIT] = {"limit", "N", "no more than N changes"},
    },
    run,
};
