/* tools/merle/tail.c - merle tail: the log of a directory, one change a line.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/merle/command.h"
#include "tools/merle/print.h"

enum { TAIL_BATCH = 64 };
enum { OPTION_FROM, OPTION_COLLECTION, OPTION_LIMIT };

/* What collections are called, or were: definitions in the log say it, too. */
typedef struct name {
    struct name *next;
    uint32_t id;
    char text[MERLE_NAME_SIZE_MAX + 1];
} name;

typedef struct tail {
    merle_db *db;
    merle_changes *changes;
    merle_buffer wrapped, json;
    name *names;
    uint64_t left;
} tail;

static const print_column columns[] = {
    {"seq", PRINT_NUMBER},  {"time_ns", PRINT_TIME},    {"origin", PRINT_TEXT},
    {"change", PRINT_TEXT}, {"collection", PRINT_TEXT}, {"collection_id", PRINT_NUMBER},
    {"key", PRINT_KEY},     {"expires_ns", PRINT_TIME}, {"content", PRINT_RAW},
};

static const char *kind_name(merle_change_kind kind) {
    static const char *const names[] = {"?",        "put",  "patch",    "remove", "define",
                                        "truncate", "drop", "sequence", "loaded"};
    return (size_t)kind < sizeof names / sizeof names[0] ? names[kind] : names[0];
}

static const char *origin_name(merle_origin origin) {
    static const char *const names[] = {"application", "expiry", "migration", "load"};
    return (size_t)origin < sizeof names / sizeof names[0] ? names[origin] : "?";
}

/* ---- names ---- */

static const char *find_name(const tail *t, uint32_t id) {
    for (const name *at = t->names; at != NULL; at = at->next)
        if (at->id == id) return at->text;
    return NULL;
}

static void learn_name(tail *t, uint32_t id, merle_bytes text) {
    if (text.data == NULL || text.size > MERLE_NAME_SIZE_MAX || find_name(t, id) != NULL) return;
    name *made = calloc(1, sizeof *made);
    if (made == NULL) return;
    made->next = t->names;
    made->id = id;
    memcpy(made->text, text.data, text.size);
    t->names = made;
}

static int learn_collection(void *context, merle_collection *collection) {
    learn_name(context, merle_collection_id(collection),
               merle_str(merle_collection_name(collection)));
    return 0;
}

static void forget_names(tail *t) {
    while (t->names != NULL) {
        name *next = t->names->next;
        free(t->names);
        t->names = next;
    }
}

/* ---- one change ---- */

/* JSON of any msgpack value: as the only field of a document, whose braces are taken off again. */
static merle_bytes json_of(tail *t, merle_bytes value) {
    static const uint8_t before[] = {0x81, 0xa1, 'v'};
    static const char braces[] = "{\"v\":";
    size_t size = sizeof before + value.size;
    merle_bytes none = {NULL, 0};
    if (size > t->wrapped.capacity) {
        uint8_t *grown = realloc(t->wrapped.data, size);
        if (grown == NULL) return none;
        t->wrapped.data = grown;
        t->wrapped.capacity = size;
    }
    memcpy(t->wrapped.data, before, sizeof before);
    memcpy(t->wrapped.data + sizeof before, value.data, value.size);
    if (merle_json_write(merle_bytes_of(t->wrapped.data, size), MERLE_JSON_COMPACT, &t->json) !=
        MERLE_OK)
        return none;
    size_t begin = sizeof braces - 1;
    return merle_bytes_of(t->json.data + begin, t->json.size - begin - 1);
}

/* What the change carries, as JSON: the document, the effect, the definition. */
static merle_bytes content(tail *t, const merle_change *change) {
    merle_bytes bytes = change->effect;
    if (change->after.data != NULL) bytes = merle_bytes_of(change->after.data, change->after.size);
    if (bytes.size == 0) return merle_bytes_of(NULL, 0);
    if (change->kind != MERLE_CHANGE_PUT) return json_of(t, bytes);
    if (merle_json_write(bytes, MERLE_JSON_COMPACT, &t->json) != MERLE_OK)
        return merle_bytes_of(NULL, 0);
    return merle_bytes_of(t->json.data, t->json.size);
}

static void show(tail *t, const merle_change *change) {
    if (change->kind == MERLE_CHANGE_DEFINE) {
        merle_doc definition;
        if (merle_doc_over(change->effect, &definition) == MERLE_OK)
            learn_name(t, change->collection_id, merle_doc_str(definition, "name"));
    }
    merle_bytes key = change->key.size > 0 ? change->key : merle_bytes_of(NULL, 0);
    print_cell cells[] = {
        print_cell_number(change->seq),
        print_cell_number((uint64_t)change->time_ns),
        print_cell_text(origin_name(change->origin)),
        print_cell_text(kind_name(change->kind)),
        print_cell_text(find_name(t, change->collection_id)),
        print_cell_number(change->collection_id),
        print_cell_bytes(key),
        print_cell_number((uint64_t)change->expires_ns),
        print_cell_bytes(content(t, change)),
    };
    print_row(cells);
}

/* ---- the log ---- */

static void tell_gap(const tail *t) {
    uint64_t first, last;
    merle_changes_gap(t->changes, &first, &last);
    fprintf(stderr,
            "merle: changes %" PRIu64 " to %" PRIu64
            " are not kept any more; a checkpoint has what came of them\n",
            first, last);
}

static merle_err show_all(tail *t) {
    merle_change changes[TAIL_BATCH];
    size_t count = 1;
    while (count > 0 && t->left > 0 && !print_has_failed()) {
        merle_err err = merle_changes_next(t->changes, changes, TAIL_BATCH, &count);
        if (err == MERLE_GAP) {
            tell_gap(t);
            count = 1;
            continue;
        }
        if (err != MERLE_OK) return err;
        for (size_t i = 0; i < count && t->left > 0; i++, t->left--) show(t, &changes[i]);
    }
    return MERLE_OK;
}

static int show_changes(tail *t, const merle_changes_options *options) {
    merle_report report = {0};
    merle_report_to(t->db, &report);
    merle_err err = merle_changes_open(t->db, options, &t->changes);
    if (err != MERLE_OK) return command_fail("tail", err, &report);
    err = merle_collection_each(t->db, learn_collection, t);
    print_begin(NULL, columns, sizeof columns / sizeof columns[0]);
    if (err == MERLE_OK) err = show_all(t);
    print_end();
    merle_changes_close(t->changes);
    return err == MERLE_OK ? EXIT_GOOD : command_fail("tail", err, &report);
}

static int open_and_show(tail *t, const char *path, const char *collection, uint64_t from) {
    merle_changes_options options = {.size = sizeof options, .after_seq = from - 1};
    int end = EXIT_GOOD;
    if ((t->db = command_open(path)) == NULL) return EXIT_FAILED;
    if (collection != NULL &&
        merle_collection_find(t->db, collection, &options.collection) != MERLE_OK)
        end = command_no_collection(collection);
    if (end == EXIT_GOOD) end = show_changes(t, &options);
    int closed = command_close(t->db);
    return end != EXIT_GOOD ? end : closed;
}

static int run(const command_line *line) {
    tail t = {.left = UINT64_MAX};
    const char *from = line->values[OPTION_FROM], *limit = line->values[OPTION_LIMIT];
    uint64_t first = 1;
    if (from != NULL && (!command_number(from, &first) || first == 0))
        return command_misuse("--from wants a seq, from 1 on, not \"%s\"", from);
    if (limit != NULL && (!command_number(limit, &t.left) || t.left == 0))
        return command_misuse("--limit wants a number above 0, not \"%s\"", limit);
    int end = open_and_show(&t, line->arguments[0], line->values[OPTION_COLLECTION], first);
    forget_names(&t);
    free(t.wrapped.data);
    merle_buffer_free(&t.json);
    return end;
}

const command command_tail = {
    "tail",
    "DIR",
    1,
    "prints the log",
    "Every change that the log files still have, in order: what was put, the effect of a patch,\n"
    "definitions, when a document ends, and who made the change. Nobody may have the directory\n"
    "open. Changes nothing.\n\n"
    "  merle tail world.merle --from 120000\n"
    "  merle tail world.merle --collection players --json | jq .content\n",
    {
        [OPTION_FROM] = {"from", "SEQ", "begin with this commit"},
        [OPTION_COLLECTION] = {"collection", "NAME", "only of this collection"},
        [OPTION_LIMIT] = {"limit", "N", "no more than N changes"},
    },
    run,
};
