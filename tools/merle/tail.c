/* tools/merle/tail.c - merle tail: the log of a directory, one change a line.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/merle/command.h"
#include "tools/merle/owner.h"
#include "tools/merle/print.h"

enum { TAIL_BATCH = 64, WAIT_MS = 10000 };
enum { OPTION_FROM, OPTION_COLLECTION, OPTION_LIMIT, OPTION_FOLLOW };

/* What collections are called, or were: definitions in the log say it, too. */
typedef struct name {
    struct name *next;
    uint32_t id;
    char text[MERLE_NAME_SIZE_MAX + 1];
} name;

typedef struct tail {
    command_target target;
    merle_changes *changes;
    const char *collection; /* NULL: all */
    uint64_t from;
    int follows;
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

static void tell_gap(uint64_t first, uint64_t last) {
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
            uint64_t first, last;
            merle_changes_gap(t->changes, &first, &last);
            tell_gap(first, last);
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
    merle_report_to(t->target.db, &report);
    merle_err err = merle_changes_open(t->target.db, options, &t->changes);
    if (err != MERLE_OK) return command_fail("tail", err, &report);
    err = merle_collection_each(t->target.db, learn_collection, t);
    print_begin(NULL, columns, sizeof columns / sizeof columns[0]);
    if (err == MERLE_OK) err = show_all(t);
    print_end();
    merle_changes_close(t->changes);
    return err == MERLE_OK ? EXIT_GOOD : command_fail("tail", err, &report);
}

static int show_files(tail *t) {
    merle_changes_options options = {.size = sizeof options, .after_seq = t->from - 1};
    if (t->collection != NULL &&
        merle_collection_find(t->target.db, t->collection, &options.collection) != MERLE_OK)
        return command_no_collection(t->collection);
    int end = show_changes(t, &options);
    if (t->follows && end == EXIT_GOOD)
        fputs("merle: nobody has the directory open: there is nothing to follow\n", stderr);
    return end;
}

/* ---- a running database ---- */

static void show_operation(tail *t, const mrl_wire_commit *commit,
                           const mrl_record_operation_view *operation) {
    merle_change change = {.seq = commit->seq,
                           .time_ns = commit->time_ns,
                           .kind = (merle_change_kind)operation->kind,
                           .origin = (merle_origin)commit->origin,
                           .collection_id = operation->collection_id,
                           .key = operation->key,
                           .effect = operation->payload,
                           .expires_ns = operation->expires_ns};
    if (operation->kind == MRL_RECORD_PUT) {
        merle_err err = merle_doc_check(operation->payload, NULL);
        if (err == MERLE_OK) err = merle_doc_over(operation->payload, &change.after);
        if (err != MERLE_OK) return;
    }
    show(t, &change);
}

static merle_err show_commits(tail *t, mrl_wire_list commits) {
    mrl_record_operation_view operation;
    mrl_wire_commit commit;
    uint32_t position;
    merle_err err = MERLE_OK;
    while (err == MERLE_OK && (err = mrl_wire_commit_next(&commits, &commit)) == MERLE_OK) {
        while (t->left > 0 &&
               (err = mrl_wire_operation_next(&commit, &position, &operation)) == MERLE_OK) {
            show_operation(t, &commit, &operation);
            t->left--;
        }
        if (t->left == 0) return MERLE_OK;
        if (err == MERLE_NOT_FOUND) err = MERLE_OK;
    }
    return err == MERLE_NOT_FOUND ? MERLE_OK : err;
}

/* What the answer says, and where the next question begins. *out_is_end: nothing more is wanted. */
static int take_answer(tail *t, const mrl_wire_answer *answer, mrl_wire_question *question,
                       int *out_is_end) {
    if (answer->status == MRL_WIRE_GAP && answer->number > question->after_seq) {
        tell_gap(question->after_seq + 1, answer->number - 1);
        question->after_seq = answer->number - 1;
        question->after_position = 0;
        return EXIT_GOOD;
    }
    if (answer->status != MRL_WIRE_OK) {
        fprintf(stderr, "merle: tail: the owner says: %.*s\n", (int)answer->text.size,
                (const char *)answer->text.data);
        return EXIT_FAILED;
    }
    merle_err err = show_commits(t, answer->commits);
    if (err != MERLE_OK) return command_fail("tail", err, NULL);
    question->after_seq = answer->upto_seq;
    question->after_position = answer->upto_position;
    *out_is_end =
        t->left == 0 || print_has_failed() || (!t->follows && answer->upto_seq >= answer->newest);
    return EXIT_GOOD;
}

static int ask_for_changes(tail *t, owner *o, merle_buffer *filters) {
    mrl_wire_question question = {.op = MRL_WIRE_CHANGES,
                                  .history = o->history,
                                  .after_seq = t->from - 1,
                                  .wait_ms = t->follows ? WAIT_MS : 0,
                                  .why = MRL_WIRE_BEGIN};
    mrl_wire_answer answer;
    int is_end = 0, end = EXIT_GOOD;
    while (end == EXIT_GOOD && !is_end) {
        if (filters->size > 0) question.filters = mrl_wire_list_of(filters, 1);
        end = owner_ask(o, &question, WAIT_MS + OWNER_PATIENCE_MS, &answer);
        if (end == EXIT_GOOD) end = take_answer(t, &answer, &question, &is_end);
        question.why = MRL_WIRE_POLL;
        /* Who follows wants to see what there is, not what fills a page. */
        if (t->follows && print_flush() != 0) is_end = 1;
    }
    return end;
}

/* The names of those that are there already. 0: the one that is wanted is not. */
static int learn_names(tail *t, owner *o) {
    merle_bytes none = {NULL, 0};
    merle_value rows, key, value;
    merle_walk walk;
    merle_doc info, row;
    int is_there = t->collection == NULL;
    if (owner_operate(o, "info", none, &info) != EXIT_GOOD ||
        merle_doc_value(info, "collections", &rows) != MERLE_OK ||
        merle_walk_begin(&rows, &walk) != MERLE_OK)
        return 1;
    while (merle_walk_next(&walk, &key, &value)) {
        if (merle_doc_over(value.bytes, &row) != MERLE_OK) continue;
        merle_bytes text = merle_doc_str(row, "collection");
        learn_name(t, (uint32_t)merle_doc_uint(row, "id", 0), text);
        is_there |= t->collection != NULL && text.size == strlen(t->collection) &&
                    memcmp(text.data, t->collection, text.size) == 0;
    }
    return is_there;
}

static int show_running(tail *t) {
    merle_buffer filters = {0};
    owner *o = t->target.owner;
    merle_err err = MERLE_OK;
    if (!learn_names(t, o) && !t->follows) return command_no_collection(t->collection);
    if (t->collection != NULL) {
        mrl_wire_filter filter = {.name = merle_str(t->collection)};
        err = mrl_wire_filter_add(&filters, &filter);
    }
    if (err != MERLE_OK) return command_fail("tail", err, NULL);
    print_begin(NULL, columns, sizeof columns / sizeof columns[0]);
    int end = ask_for_changes(t, o, &filters);
    print_end();
    merle_buffer_free(&filters);
    return end;
}

/* ---- the command ---- */

static int run(const command_line *line) {
    tail t = {.left = UINT64_MAX, .from = 1};
    const char *from = line->values[OPTION_FROM], *limit = line->values[OPTION_LIMIT];
    if (from != NULL && (!command_number(from, &t.from) || t.from == 0))
        return command_misuse("--from wants a seq, from 1 on, not \"%s\"", from);
    if (limit != NULL && (!command_number(limit, &t.left) || t.left == 0))
        return command_misuse("--limit wants a number above 0, not \"%s\"", limit);
    t.collection = line->values[OPTION_COLLECTION];
    t.follows = line->values[OPTION_FOLLOW] != NULL;
    if (!command_reach(line->arguments[0], &t.target)) return EXIT_FAILED;
    int end = t.target.db != NULL ? show_files(&t) : show_running(&t);
    end = command_leave(&t.target, end);
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
    "definitions, when a document ends, and who made the change. Where a process has the "
    "directory\n"
    "open, and lets operators look, that one is asked; with --follow what is committed comes as\n"
    "soon as it is durable, until one of the two ends. Changes nothing.\n\n"
    "  merle tail world.merle --from 120000\n"
    "  merle tail world.merle --follow --json\n"
    "  merle tail world.merle --collection players --json | jq .content\n",
    {
        [OPTION_FROM] = {"from", "SEQ", "begin with this commit"},
        [OPTION_COLLECTION] = {"collection", "NAME", "only of this collection"},
        [OPTION_LIMIT] = {"limit", "N", "no more than N changes"},
        [OPTION_FOLLOW] = {"follow", NULL, "go on with what is committed from now on"},
    },
    run,
};
