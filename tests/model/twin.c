/* tests/model/twin.c - what a worker of the model twin does, and what it notes down.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/model/twin.h"

#include <stdlib.h>
#include <string.h>

#include "document/patch.h"
#include "tests/model/twin_private.h"

twin_totals twin_total;

const char *const twin_names[2] = {"first", "second"};

/* ---- events ---- */

static uint64_t published(const twin *run) {
    return mrl_log_published_at(run->db->store.published);
}

static twin_event *new_event(twin *run, twin_event_kind kind) {
    twin_event *event = calloc(1, sizeof *event);
    if (event == NULL) abort();
    event->kind = kind;
    event->lo = event->hi = published(run);
    return event;
}

static void add_event(twin *run, twin_event *event) {
    event->hi = published(run);
    *run->events_last = event;
    run->events_last = &event->next;
}

static uint64_t below(twin_worker *w, uint64_t limit) {
    return mrl_random_below(&w->random, limit);
}

static uint32_t random_key(twin_worker *w) {
    return (uint32_t)below(w, w->run->key_count);
}

/* The incarnation that stands under one of the names now. */
static uint32_t random_collection(twin_worker *w) {
    return w->run->current[below(w, 4) == 0 ? 1 : 0];
}

static merle_collection *handle(const twin *run, uint32_t collection) {
    return run->collections[collection];
}

static int may_refuse(const twin *run, merle_err err) {
    return run->options.may_refuse && err == MERLE_NO_MEMORY;
}

/* ---- reading ---- */

/* Notes down what a read gave. */
static void see(twin *run, twin_read *read, merle_err err, merle_doc doc) {
    plain_doc seen;
    read->err = err;
    read->seen_key = PLAIN_KEY_COUNT;
    if (err != MERLE_OK) {
        if (doc.data != NULL) twin_fail(run, "a failing read gave a document");
        return;
    }
    read->seq = doc.seq;
    read->seen_key = plain_key_find(merle_doc_key(doc));
    if (plain_doc_parse(doc, &seen) != 0)
        twin_fail(run, "a read gave a document that nobody put");
    else
        read->hash = plain_doc_hash(&seen);
}

static void random_values(twin_worker *w, twin_read *read) {
    read->index = (uint32_t)below(w, 2);
    read->is_unique = 1;
    read->values[0] = plain_value_of((uint32_t)below(w, PLAIN_VALUE_COUNT));
    read->values[1] = plain_value_of((uint32_t)below(w, 4));
}

static merle_err ask_unique(twin_read *read, merle_section *section, merle_commit *commit,
                            merle_collection *collection, merle_doc *out_doc) {
    static const char *const index_names[2] = {"name", "seat"};
    merle_value values[2] = {plain_value_to_merle(&read->values[0]),
                             plain_value_to_merle(&read->values[1])};
    const char *name = index_names[read->index];
    size_t count = read->index + 1;
    return section != NULL
               ? merle_get_unique(section, collection, name, values, count, out_doc)
               : merle_commit_get_unique(commit, collection, name, values, count, out_doc);
}

static twin_event *section_event(twin_worker *w, merle_section *section, twin_event_kind kind) {
    twin_event *event = new_event(w->run, kind);
    event->section_seq = merle_section_seq(section);
    event->collection = random_collection(w);
    return event;
}

static void read_get(twin_worker *w, merle_section *section) {
    twin_event *event = section_event(w, section, TWIN_READ);
    twin_read *read = &event->reads[event->read_count++];
    merle_doc doc;
    read->collection = event->collection;
    read->key = random_key(w);
    merle_err err =
        merle_get(section, handle(w->run, read->collection), plain_key(read->key), &doc);
    see(w->run, read, err, doc);
    if (merle_exists(section, handle(w->run, read->collection), plain_key(read->key)) != err)
        twin_fail(w->run, "merle_exists and merle_get differ");
    add_event(w->run, event);
}

static void read_unique(twin_worker *w, merle_section *section) {
    twin_event *event = section_event(w, section, TWIN_READ);
    twin_read *read = &event->reads[event->read_count++];
    merle_doc doc;
    read->collection = event->collection;
    random_values(w, read);
    merle_err err = ask_unique(read, section, NULL, handle(w->run, read->collection), &doc);
    see(w->run, read, err, doc);
    add_event(w->run, event);
}

static void read_many(twin_worker *w, merle_section *section) {
    merle_bytes keys[PLAIN_KEY_COUNT];
    merle_doc docs[PLAIN_KEY_COUNT];
    size_t found = 0, with_data = 0, count = 1 + below(w, w->run->key_count);
    uint32_t collection = random_collection(w), first = random_key(w);
    for (size_t i = 0; i < count; i++)
        keys[i] = plain_key((uint32_t)((first + i) % w->run->key_count));
    merle_err err = merle_get_many(section, handle(w->run, collection), keys, count, docs, &found);
    for (size_t i = 0; i < count; i++) {
        twin_event *event = section_event(w, section, TWIN_READ);
        twin_read *read = &event->reads[event->read_count++];
        event->collection = read->collection = collection;
        read->key = (uint32_t)((first + i) % w->run->key_count);
        with_data += err == MERLE_OK && docs[i].data != NULL;
        if (err == MERLE_OK)
            see(w->run, read, docs[i].data == NULL ? MERLE_NOT_FOUND : MERLE_OK, docs[i]);
        else
            read->err = err;
        add_event(w->run, event);
    }
    if (found != with_data) twin_fail(w->run, "merle_get_many counted wrongly");
}

static void read_count(twin_worker *w, merle_section *section) {
    twin_event *event = section_event(w, section, TWIN_COUNT);
    event->err = merle_count(section, handle(w->run, event->collection), &event->count);
    add_event(w->run, event);
}

static void read_scan(twin_worker *w, merle_section *section) {
    twin_event *event = section_event(w, section, TWIN_SCAN);
    merle_doc docs[16];
    merle_scan scan = {0};
    size_t count, step = 1 + below(w, 16);
    merle_err err;
    while ((err = merle_scan_next(section, handle(w->run, event->collection), &scan, docs, step,
                                  &count)) == MERLE_OK) {
        for (size_t i = 0; i < count; i++) {
            twin_read read = {0};
            see(w->run, &read, MERLE_OK, docs[i]);
            if (read.seen_key >= PLAIN_KEY_COUNT || event->scanned[read.seen_key] != 0) {
                twin_fail(w->run, "a scan gave a document twice, or one without its key");
                break;
            }
            event->scanned[read.seen_key] = read.hash;
            event->count++;
        }
        if (twin_has_failed(w->run)) break;
    }
    /* A scan of nothing ends with MERLE_NOT_FOUND, as every scan does. */
    event->err = err == MERLE_NOT_FOUND ? MERLE_OK : err;
    add_event(w->run, event);
}

static void read_something(twin_worker *w) {
    uint32_t at = (uint32_t)below(w, TWIN_SECTION_MAX);
    merle_section own, *section = &w->sections[at];
    if (!w->section_open[at]) {
        if (merle_section_begin(w->run->db, &own) != MERLE_OK) return;
        section = &own;
    }
    switch (below(w, 8)) {
    case 0:
        read_many(w, section);
        break;
    case 1:
        read_count(w, section);
        break;
    case 2:
        read_scan(w, section);
        break;
    case 3:
    case 4:
    case 5:
        read_unique(w, section);
        break;
    default:
        read_get(w, section);
    }
    if (section == &own && merle_section_end(&own) != MERLE_OK)
        twin_fail(w->run, "a section did not end");
}

static void toggle_section(twin_worker *w) {
    uint32_t at = (uint32_t)below(w, TWIN_SECTION_MAX);
    merle_err err;
    if (w->section_open[at])
        err = merle_section_end(&w->sections[at]);
    else
        err = merle_section_begin(w->run->db, &w->sections[at]);
    if (may_refuse(w->run, err)) return;
    if (err != MERLE_OK) twin_fail(w->run, "a section: %s", merle_err_name(err));
    w->section_open[at] = !w->section_open[at];
}

/* ---- writing ---- */

static merle_err merge_count(void *context, const merle_doc *current, merle_builder *builder,
                             merle_bytes *out_document) {
    static const char *const except[] = {"number"};
    (void)context;
    merle_value number = {0};
    merle_build_begin(builder);
    if (current != NULL) {
        merle_build_copy(builder, *current, except, 1);
        if (merle_doc_value(*current, "number", &number) != MERLE_OK) number.number.i = 0;
    }
    int64_t before =
        number.type == MERLE_TYPE_INT && number.number.i < INT64_MAX ? number.number.i : 0;
    merle_build_int(builder, "number", before + 1);
    return merle_build_end(builder, out_document);
}

static merle_err merge_remove(void *context, const merle_doc *current, merle_builder *builder,
                              merle_bytes *out_document) {
    (void)context;
    (void)current;
    (void)builder;
    (void)out_document;
    return MERLE_NOT_FOUND;
}

static merle_err merge_fail(void *context, const merle_doc *current, merle_builder *builder,
                            merle_bytes *out_document) {
    (void)context;
    (void)current;
    (void)builder;
    (void)out_document;
    return MERLE_TYPE;
}

static void make_ops(const plain_op *op, merle_op *out_ops) {
    for (uint32_t i = 0; i < op->patch_count; i++) {
        const plain_patch *patch = &op->patches[i];
        out_ops[i] = merle_op_of(patch->kind, plain_paths[patch->field],
                                 plain_value_to_merle(&patch->value));
    }
}

static int is_there(twin_worker *w, uint32_t collection, uint32_t key) {
    merle_section section;
    if (merle_section_begin(w->run->db, &section) != MERLE_OK) return 0;
    merle_err err = merle_exists(&section, handle(w->run, collection), plain_key(key));
    (void)merle_section_end(&section);
    return err == MERLE_OK;
}

/* Mostly what is possible, so that commits of many operations succeed; sometimes anything. */
static plain_kind random_kind(twin_worker *w, uint32_t collection, uint32_t key) {
    static const plain_kind if_there[] = {PLAIN_PUT,    PLAIN_PATCH,       PLAIN_PATCH,
                                          PLAIN_PATCH,  PLAIN_PATCH,       PLAIN_REPLACE,
                                          PLAIN_REMOVE, PLAIN_REMOVE,      PLAIN_MERGE_COUNT,
                                          PLAIN_EXPECT, PLAIN_MERGE_REMOVE};
    static const plain_kind if_absent[] = {PLAIN_PUT,    PLAIN_PUT,          PLAIN_INSERT,
                                           PLAIN_INSERT, PLAIN_INSERT,       PLAIN_MERGE_COUNT,
                                           PLAIN_EXPECT, PLAIN_MERGE_REMOVE, PLAIN_PUT};
    uint64_t dice = below(w, 64);
    if (dice == 0) return PLAIN_MERGE_FAIL;
    int there = is_there(w, collection, key);
    if (dice < 6) there = !there;
    return there ? if_there[below(w, sizeof if_there / sizeof if_there[0])]
                 : if_absent[below(w, sizeof if_absent / sizeof if_absent[0])];
}

static void random_op(twin_worker *w, plain_op *op) {
    memset(op, 0, sizeof *op);
    op->collection = random_collection(w);
    op->key = random_key(w);
    op->kind = random_kind(w, op->collection, op->key);
    if (op->kind == PLAIN_PUT || op->kind == PLAIN_INSERT || op->kind == PLAIN_REPLACE)
        op->doc = plain_doc_random(&w->random);
    if (op->kind == PLAIN_PATCH)
        for (uint64_t i = below(w, PLAIN_PATCH_MAX) + 1; i > 0; i--)
            plain_op_random_patch(&w->random, op);
}

/* What stands under the key now, for an expectation that is often right. */
static uint64_t current_seq(twin_worker *w, uint32_t collection, uint32_t key) {
    merle_section section;
    merle_doc doc;
    if (below(w, 8) == 0) return below(w, 3);
    if (merle_section_begin(w->run->db, &section) != MERLE_OK) return 0;
    (void)merle_get(&section, handle(w->run, collection), plain_key(key), &doc);
    uint64_t seq = doc.seq;
    (void)merle_section_end(&section);
    return seq;
}

static merle_err do_op(twin_worker *w, merle_commit *commit, const plain_op *op) {
    merle_collection *collection = handle(w->run, op->collection);
    merle_bytes key = plain_key(op->key), doc = {NULL, 0};
    merle_op ops[PLAIN_PATCH_MAX];
    if (op->doc != NULL) doc = plain_doc_build(op->doc, w->builder);
    make_ops(op, ops);
    switch (op->kind) {
    case PLAIN_PUT:
        return merle_put(commit, collection, key, doc);
    case PLAIN_INSERT:
        return merle_insert(commit, collection, key, doc);
    case PLAIN_REPLACE:
        return merle_replace(commit, collection, key, doc);
    case PLAIN_REMOVE:
        return merle_remove(commit, collection, key);
    case PLAIN_PATCH:
        return merle_patch_ops(commit, collection, key, ops, op->patch_count);
    case PLAIN_MERGE_COUNT:
        return merle_merge(commit, collection, key, merge_count, NULL);
    case PLAIN_MERGE_REMOVE:
        return merle_merge(commit, collection, key, merge_remove, NULL);
    case PLAIN_MERGE_FAIL:
        return merle_merge(commit, collection, key, merge_fail, NULL);
    default:
        return merle_expect(commit, collection, key, op->seq);
    }
}

/* Adds an operation to the commit; what is refused at once is an event of its own. */
static void add_op(twin_worker *w, merle_commit *commit, twin_event *event, plain_op *op) {
    twin_event *once = new_event(w->run, TWIN_AT_ONCE);
    merle_err err = do_op(w, commit, op);
    once->err = err;
    once->collection = op->collection;
    once->ops[0] = *op;
    once->ops[0].doc = plain_doc_hold(op->doc);
    once->op_count = 1;
    event->named |= 1u << op->collection;
    add_event(w->run, once);
    if (err == MERLE_OK)
        event->ops[event->op_count++] = *op;
    else
        plain_op_clear(op);
}

static void add_random_op(twin_worker *w, merle_commit *commit, twin_event *event) {
    plain_op op;
    if (event->op_count == TWIN_OP_MAX) return;
    random_op(w, &op);
    /* Often the same key again. */
    if (event->op_count > 0 && below(w, 4) == 0) {
        op.collection = event->ops[0].collection;
        op.key = event->ops[0].key;
    }
    if (op.kind == PLAIN_EXPECT) op.seq = current_seq(w, op.collection, op.key);
    add_op(w, commit, event, &op);
}

static void add_read(twin_worker *w, merle_commit *commit, twin_event *event, uint32_t collection,
                     uint32_t key) {
    merle_doc doc;
    merle_err err;
    if (event->read_count == TWIN_READ_MAX) return;
    twin_read *read = &event->reads[event->read_count];
    memset(read, 0, sizeof *read);
    read->collection = collection;
    read->key = key;
    read->op_count = event->op_count;
    read->life_seq = published(w->run);
    if (key == PLAIN_KEY_COUNT) {
        random_values(w, read);
        err = ask_unique(read, NULL, commit, handle(w->run, collection), &doc);
    } else {
        err = merle_commit_get(commit, handle(w->run, collection), plain_key(key), &doc);
    }
    see(w->run, read, err, doc);
    read->life_seq_end = published(w->run);
    /* What gave no answer is no read. */
    if (may_refuse(w->run, err))
        event->is_read_failed = 1;
    else
        event->read_count++;
}

/* Two documents swap their names, in one commit. */
static void add_swap(twin_worker *w, merle_commit *commit, twin_event *event) {
    uint32_t collection = w->run->current[0], keys[2];
    plain_doc docs[2];
    if (event->op_count + 2 > TWIN_OP_MAX) return;
    keys[0] = random_key(w);
    keys[1] = random_key(w);
    merle_section *section = merle_commit_section(commit);
    for (int i = 0; i < 2; i++) {
        merle_doc doc;
        if (merle_get(section, handle(w->run, collection), plain_key(keys[i]), &doc) != MERLE_OK ||
            plain_doc_parse(doc, &docs[i]) != 0)
            return;
    }
    for (int i = 0; i < 2; i++) {
        plain_op op;
        memset(&op, 0, sizeof op);
        op.kind = PLAIN_PATCH;
        op.collection = collection;
        op.key = keys[i];
        op.patch_count = 1;
        op.patches[0].field = PLAIN_NAME;
        op.patches[0].kind = MERLE_OP_SET;
        op.patches[0].value = docs[1 - i].fields[PLAIN_NAME];
        if (op.patches[0].value.type == MERLE_TYPE_NONE) op.patches[0].kind = MERLE_OP_UNSET;
        add_op(w, commit, event, &op);
    }
}

static void finish_commit(twin_worker *w, uint32_t at) {
    twin_event *event = w->commit_events[at];
    merle_commit *commit = w->commits[at];
    w->commits[at] = NULL;
    w->commit_events[at] = NULL;
    event->lo = published(w->run);
    if (below(w, 12) == 0) {
        event->is_cancelled = 1;
        merle_cancel(commit);
    } else {
        event->err = merle_end(commit, &event->seq);
        if (event->err != MERLE_OK && event->seq != 0)
            twin_fail(w->run, "a refused commit has a seq");
    }
    add_event(w->run, event);
}

static void grow_commit(twin_worker *w) {
    uint32_t at = (uint32_t)below(w, TWIN_COMMIT_MAX);
    if (w->commits[at] == NULL) {
        merle_err err = merle_begin(w->run->db, &w->commits[at]);
        if (may_refuse(w->run, err)) return;
        if (err != MERLE_OK) {
            twin_fail(w->run, "merle_begin: %s", merle_err_name(err));
            return;
        }
        w->commit_events[at] = new_event(w->run, TWIN_COMMIT);
        w->commit_events[at]->section_seq = merle_section_seq(merle_commit_section(w->commits[at]));
    }
    merle_commit *commit = w->commits[at];
    twin_event *event = w->commit_events[at];
    for (uint64_t i = 1 + below(w, 4); i > 0; i--) {
        uint64_t dice = below(w, 16);
        if (dice == 0)
            add_swap(w, commit, event);
        else if (dice < 3)
            add_read(w, commit, event, random_collection(w), random_key(w));
        else if (dice < 5)
            add_read(w, commit, event, random_collection(w), PLAIN_KEY_COUNT);
        else
            add_random_op(w, commit, event);
    }
    if (below(w, 3) != 0) finish_commit(w, at);
}

/* ---- one call, one commit ---- */

static merle_err call_one(twin_worker *w, plain_op *op, twin_event *event, merle_buffer *buffer) {
    merle_collection *collection = handle(w->run, op->collection);
    merle_bytes key = plain_key(op->key), doc = {NULL, 0};
    merle_op ops[PLAIN_PATCH_MAX];
    if (op->doc != NULL) doc = plain_doc_build(op->doc, w->builder);
    make_ops(op, ops);
    switch (op->kind) {
    case PLAIN_INSERT:
        return merle_one_insert(collection, key, doc, &event->seq);
    case PLAIN_REPLACE:
        return merle_one_replace(collection, key, doc, &event->seq);
    case PLAIN_REMOVE:
        return merle_one_remove(collection, key, &event->seq);
    case PLAIN_PATCH:
        event->gives = TWIN_GIVES_AFTER;
        return merle_one_patch_ops(collection, key, ops, op->patch_count, buffer, &event->seq);
    default:
        op->kind = PLAIN_PUT;
        if (op->doc == NULL) op->doc = plain_doc_random(&w->random);
        doc = plain_doc_build(op->doc, w->builder);
        if (below(w, 2)) return merle_one_put(collection, key, doc, &event->seq);
        event->gives = TWIN_GIVES_BEFORE;
        return merle_one_swap(collection, key, doc, buffer, &event->seq);
    }
}

static void one_call(twin_worker *w) {
    merle_buffer buffer = {0};
    twin_event *event = new_event(w->run, TWIN_COMMIT);
    plain_op *op = &event->ops[event->op_count++];
    random_op(w, op);
    event->is_one = 1;
    event->section_seq = event->lo;
    event->err = call_one(w, op, event, &buffer);
    if (event->err != MERLE_OK) {
        event->gives = TWIN_GIVES_NOTHING;
        if (buffer.size != 0) twin_fail(w->run, "a failing call gave a document");
    }
    if (event->gives != TWIN_GIVES_NOTHING && buffer.size != 0) {
        plain_doc seen;
        merle_doc doc = {buffer.data, buffer.size, 0, NULL};
        if (plain_doc_parse(doc, &seen) != 0) twin_fail(w->run, "a copy that nobody put");
        event->given_hash = plain_doc_hash(&seen);
    }
    merle_buffer_free(&buffer);
    add_event(w->run, event);
}

static void one_get(twin_worker *w) {
    merle_buffer buffer = {0};
    twin_event *event = new_event(w->run, TWIN_ONE_GET);
    twin_read *read = &event->reads[event->read_count++];
    event->collection = read->collection = random_collection(w);
    read->key = random_key(w);
    read->err =
        merle_one_get(handle(w->run, read->collection), plain_key(read->key), &buffer, &read->seq);
    if (read->err == MERLE_OK) {
        plain_doc seen;
        merle_doc doc = {buffer.data, buffer.size, 0, NULL};
        if (plain_doc_parse(doc, &seen) != 0) twin_fail(w->run, "a copy that nobody put");
        read->hash = plain_doc_hash(&seen);
    }
    merle_buffer_free(&buffer);
    add_event(w->run, event);
}

/* ---- definitions ---- */

static int open_collection(twin_worker *w, uint32_t name) {
    twin *run = w->run;
    merle_collection *collection;
    twin_event *event = new_event(run, TWIN_DEFINE);
    event->err = merle_collection_open(run->db, twin_names[name], &plain_schema, &collection);
    event->collection = run->collection_count;
    event->definition = MERLE_CHANGE_DEFINE;
    if (event->err == MERLE_OK) {
        event->seq = atomic_load(&mrl_collection_current(collection)->seq);
        run->collections[run->collection_count] = collection;
        run->current[name] = run->collection_count++;
    }
    add_event(run, event);
    return event->err == MERLE_OK ? 0 : -1;
}

static void define_something(twin_worker *w) {
    twin *run = w->run;
    uint32_t name = (uint32_t)below(w, 2);
    if (!run->options.defines || w->number != 0) return;
    if (run->dropped[name]) {
        run->dropped[name] = open_collection(w, name) != 0;
        return;
    }
    twin_event *event = new_event(run, TWIN_DEFINE);
    event->collection = run->current[name];
    merle_collection *collection = handle(run, event->collection);
    int drops = below(w, 3) == 0 && run->collection_count < PLAIN_COLLECTION_MAX;
    event->definition = drops ? MERLE_CHANGE_DROP : MERLE_CHANGE_TRUNCATE;
    event->err = drops ? merle_collection_drop(collection, &event->seq)
                       : merle_collection_truncate(collection, &event->seq);
    add_event(run, event);
    /* Where memory is refused, it is made again at another time. */
    if (drops && event->err == MERLE_OK) run->dropped[name] = open_collection(w, name) != 0;
}

/* The same again is the same handle; another schema is refused; ids come once. */
static void ask_catalog(twin_worker *w) {
    twin *run = w->run;
    merle_collection *again = NULL;
    uint32_t collection = run->current[below(w, 2)];
    uint64_t id = 0, *last = &run->last_ids[collection];
    merle_err err = merle_collection_next_id(handle(run, collection), &id);
    /* Several workers may overtake each other between the call and this line. */
    if (err == MERLE_OK && !run->options.is_simulated && id <= *last)
        twin_fail(run, "an id was given twice");
    if (err == MERLE_OK && id > *last) *last = id;
    if (err != MERLE_OK && err != MERLE_GONE && !may_refuse(run, err))
        twin_fail(run, "merle_collection_next_id: %s", merle_err_name(err));
    if (w->number != 0) return;
    const merle_schema other = {sizeof other, 2, 0, NULL, NULL};
    if (run->dropped[0]) return;
    err = merle_collection_open(run->db, twin_names[0], &other, &again);
    if ((err != MERLE_DIFFERS && !may_refuse(run, err)) || again != NULL)
        twin_fail(run, "another schema gave %s", merle_err_name(err));
    err = merle_collection_open(run->db, twin_names[0], &plain_schema, &again);
    if (err == MERLE_OK ? again != handle(run, run->current[0]) : !may_refuse(run, err))
        twin_fail(run, "the same schema gave %s", merle_err_name(err));
}

/* ---- the log's cursor ---- */

static uint64_t hash_image(twin *run, merle_doc doc) {
    plain_doc seen;
    if (doc.data == NULL) return 0;
    if (plain_doc_parse(doc, &seen) != 0) {
        twin_fail(run, "the log has a document that nobody put");
        return 0;
    }
    return plain_doc_hash(&seen);
}

/* The effect of a patch, applied to the document before, makes the document after, byte for
 * byte. */
static void check_effect(twin *run, const merle_change *change) {
    merle_buffer made = {0};
    if (change->before.data == NULL || change->after.data == NULL) return;
    merle_err err =
        mrl_effect_apply(change->before.data, change->before.size, change->effect, &made, NULL);
    if (err != MERLE_OK || made.size != change->after.size ||
        memcmp(made.data, change->after.data, made.size) != 0)
        twin_fail(run, "the effect at seq %llu does not make the document",
                  (unsigned long long)change->seq);
    merle_buffer_free(&made);
}

static void note_change(twin *run, const merle_change *change) {
    if (run->change_count == TWIN_CHANGES_MAX) return;
    twin_change *noted = &run->changes[run->change_count++];
    memset(noted, 0, sizeof *noted);
    noted->seq = change->seq;
    noted->kind = change->kind;
    noted->position = change->position;
    noted->count = change->count;
    noted->key = change->key.size == 0 ? PLAIN_KEY_COUNT : plain_key_find(change->key);
    noted->collection = PLAIN_COLLECTION_MAX;
    noted->collection_id = change->collection_id;
    noted->after = hash_image(run, change->after);
    noted->before = hash_image(run, change->before);
    if (change->kind == MERLE_CHANGE_PATCH) check_effect(run, change);
    if (change->time_ns < run->last_time_ns) twin_fail(run, "time runs backwards in the log");
    run->last_time_ns = change->time_ns;
}

static void note_gap(twin *run) {
    uint64_t first, last;
    merle_changes_gap(run->cursor, &first, &last);
    twin_change *noted = &run->changes[run->change_count++];
    memset(noted, 0, sizeof *noted);
    noted->is_gap = 1;
    noted->seq = first;
    noted->gap_last = last;
    twin_total.gaps++;
}

void twin_poll(twin_worker *w, int all) {
    merle_change changes[24];
    twin *run = w->run;
    size_t count;
    do {
        if (run->cursor == NULL || run->change_count + 32 > TWIN_CHANGES_MAX) return;
        merle_err err = merle_changes_next(run->cursor, changes, 4 + below(w, 20), &count);
        if (err == MERLE_GAP) {
            note_gap(run);
            count = 1;
            continue;
        }
        if (may_refuse(run, err)) return;
        if (err != MERLE_OK) {
            twin_fail(run, "the cursor: %s", merle_err_name(err));
            return;
        }
        for (size_t i = 0; i < count; i++) note_change(run, &changes[i]);
    } while (all && count > 0);
}

/* ---- workers ---- */

void twin_worker_init(twin_worker *w, twin *run, uint32_t number, uint32_t step_count) {
    memset(w, 0, sizeof *w);
    w->run = run;
    w->number = number;
    w->step_count = step_count;
    mrl_random_init(&w->random, run->options.seed * 31 + number);
    if (merle_builder_create(&w->builder) != MERLE_OK) abort();
}

static void step_something(twin_worker *w) {
    (void)merle_step(w->run->db, 0, below(w, 2) ? 0 : 100000);
    if (w->run->options.files == NULL || below(w, 4) != 0) return;
    merle_err err = merle_checkpoint(w->run->db);
    if (err != MERLE_OK) twin_fail(w->run, "merle_checkpoint: %s", merle_err_name(err));
    twin_total.checkpoints++;
}

void twin_worker_step(twin_worker *w) {
    merle_report report;
    switch (below(w, 20)) {
    case 0:
    case 1:
        toggle_section(w);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
        read_something(w);
        break;
    case 7:
    case 8:
    case 9:
        one_call(w);
        break;
    case 10:
        one_get(w);
        break;
    case 11:
        if (below(w, 3) == 0) define_something(w);
        break;
    case 12:
        if (w->number == 0 && (!w->run->options.is_lazy || below(w, 50) == 0)) twin_poll(w, 0);
        break;
    case 13:
        step_something(w);
        break;
    case 14:
        if (below(w, 8) == 0) ask_catalog(w);
        if (w->run->options.is_simulated && below(w, 4) == 0 &&
            merle_check(w->run->db, &report) == MERLE_CORRUPT)
            twin_fail(w->run, "merle_check: %s", report.message);
        break;
    default:
        grow_commit(w);
    }
}

void twin_worker_end(twin_worker *w) {
    for (uint32_t i = 0; i < TWIN_COMMIT_MAX; i++) {
        if (w->commits[i] == NULL) continue;
        if (!w->ends_inside) {
            finish_commit(w, i);
        } else {
            w->commit_events[i]->is_cancelled = 1;
            add_event(w->run, w->commit_events[i]);
        }
        w->commits[i] = NULL;
        w->commit_events[i] = NULL;
    }
    for (uint32_t i = 0; i < TWIN_SECTION_MAX && !w->ends_inside; i++) {
        if (w->section_open[i] && merle_section_end(&w->sections[i]) != MERLE_OK)
            twin_fail(w->run, "a section did not end");
        w->section_open[i] = 0;
    }
    if (w->number == 0 && w->run->cursor != NULL) {
        twin_poll(w, 1);
        if (w->run->options.is_simulated) {
            merle_changes_close(w->run->cursor);
            w->run->cursor = NULL;
        }
    }
    merle_builder_destroy(w->builder);
    w->builder = NULL;
}

void twin_worker_run(void *context) {
    twin_worker *w = context;
    if (w->number == 0) {
        /* The cursor belongs to the worker that reads it. */
        merle_changes_options options = {sizeof options, 0, NULL, 1, 1};
        merle_err err = merle_changes_open(w->run->db, &options, &w->run->cursor);
        w->run->cursor_open_seq = published(w->run);
        if (err != MERLE_OK && !may_refuse(w->run, err))
            twin_fail(w->run, "merle_changes_open: %s", merle_err_name(err));
    }
    for (uint32_t i = 0; i < w->step_count && !twin_has_failed(w->run); i++) twin_worker_step(w);
    twin_worker_end(w);
}

/* ---- the run ---- */

twin *twin_create(const twin_options *options) {
    twin *run = calloc(1, sizeof *run);
    if (run == NULL) abort();
    run->options = *options;
    run->key_count = options->key_count == 0 ? PLAIN_KEY_COUNT : options->key_count;
    run->events_last = &run->events;
    run->simulator = sim_create(options->seed, options->switch_one_in);
    run->states[0] = plain_state_copy(NULL);
    if (run->simulator == NULL) abort();
    return run;
}

merle_err twin_open_database(twin *run) {
    merle_options options = {.threads = MERLE_THREADS_NONE};
    mrl_environment environment = *sim_environment(run->simulator);
    options.memory_max = run->options.memory_max;
    options.ring_size = run->options.ring_size == 0 ? 1u << 20 : run->options.ring_size;
    options.log_file_size = 128 << 10;
    options.checkpoint_log_bytes = 32 << 10;
    options.open_threads = 1;
    environment.files = run->options.files;
    environment.database_id[0] = 7;
    return mrl_db_open(run->options.files == NULL ? NULL : "twin", &options, &environment,
                       &run->db);
}

int twin_open(twin *run) {
    twin_worker opener;
    merle_err err = twin_open_database(run);
    if (err != MERLE_OK) {
        if (!may_refuse(run, err)) twin_fail(run, "mrl_db_open: %s", merle_err_name(err));
        return -1;
    }
    twin_worker_init(&opener, run, 0, 0);
    int result = open_collection(&opener, 0) == 0 && open_collection(&opener, 1) == 0 ? 0 : -1;
    merle_builder_destroy(opener.builder);
    if (result == 0 && !run->options.is_simulated) {
        merle_changes_options wants = {sizeof wants, 0, NULL, 1, 1};
        err = merle_changes_open(run->db, &wants, &run->cursor);
        if (err != MERLE_OK && !may_refuse(run, err))
            twin_fail(run, "merle_changes_open: %s", merle_err_name(err));
    }
    return result;
}

int twin_close(twin *run) {
    if (run->db == NULL) return twin_has_failed(run) ? -1 : 0;
    sim_refuse_nth(run->simulator, 0);
    if (run->cursor != NULL) {
        merle_section section;
        if (merle_section_begin(run->db, &section) == MERLE_OK) {
            if (merle_close(run->db) != MERLE_BUSY) twin_fail(run, "a close with an open section");
            (void)merle_section_end(&section);
        }
        merle_changes_close(run->cursor);
        run->cursor = NULL;
    }
    twin_verify(run);
    if (!twin_has_failed(run)) twin_compare_all(run);
    merle_err err = merle_close(run->db);
    if (err != MERLE_OK) twin_fail(run, "merle_close: %s", merle_err_name(err));
    run->db = NULL;
    return twin_has_failed(run) ? -1 : 0;
}

int twin_has_failed(const twin *run) {
    return run->has_failed;
}
sim *twin_sim(twin *run) {
    return run->simulator;
}
