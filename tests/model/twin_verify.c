/* tests/model/twin_verify.c - comparing what happened with the plain model.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/twin_private.h"

void twin_fail(twin *run, const char *format, ...) {
    va_list arguments;
    if (run->has_failed) return;
    run->has_failed = 1;
    printf("# seed %llu: ", (unsigned long long)run->options.seed);
    va_start(arguments, format);
    (void)vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    if (run->options.is_simulated) sim_print_trace(run->simulator);
}

typedef unsigned long long llu;

static const plain_state *state_at(const twin *run, uint64_t seq) {
    return run->states[seq <= run->state_last ? seq : run->state_last];
}

/* ---- the history ---- */

static int is_write(const twin_event *event) {
    if (event->err != MERLE_OK || event->is_cancelled) return 0;
    if (event->kind == TWIN_DEFINE) return 1;
    /* A commit without effect gets the seq that it saw. */
    return event->kind == TWIN_COMMIT && event->seq > event->section_seq;
}

static plain_state *push_state(twin *run) {
    plain_state *state = plain_state_copy(run->states[run->state_last]);
    run->states[++run->state_last] = state;
    return state;
}

static void push_definition(twin *run, const twin_event *event) {
    plain_state *state = push_state(run);
    uint32_t c = event->collection;
    plain_clear_collection(state, c);
    state->root_seq[c] = event->seq;
    state->life[c] = event->definition == MERLE_CHANGE_DROP ? PLAIN_DROPPED : PLAIN_ALIVE;
    run->log[event->seq] = (twin_log){event->definition, c, 1, 0};
}

static void push_commit(twin *run, const twin_event *event) {
    plain_result result;
    plain_apply(run->states[run->state_last], event->ops, event->op_count, &result);
    if (result.errors != 0)
        twin_fail(run, "seq %llu was committed, but should have been refused (errors %x)",
                  (llu)event->seq, result.errors);
    else if (result.change_count == 0)
        twin_fail(run, "seq %llu was committed, but changes nothing", (llu)event->seq);
    plain_state *state = push_state(run);
    if (!run->has_failed) plain_commit(state, &result, event->seq);
    run->log[event->seq] =
        (twin_log){MERLE_CHANGE_PUT, PLAIN_COLLECTION_MAX, result.change_count, event->op_count};
    plain_result_clear(&result);
}

static int by_seq(const void *a, const void *b) {
    uint64_t left = (*(const twin_event *const *)a)->seq;
    uint64_t right = (*(const twin_event *const *)b)->seq;
    return left < right ? -1 : left > right;
}

static void build_history(twin *run) {
    size_t count = 0, at = 0;
    uint64_t last = mrl_log_published_at(run->db->store.published);
    for (twin_event *e = run->events; e != NULL; e = e->next) count += (size_t)is_write(e);
    twin_event **writes = calloc(count + 1, sizeof *writes);
    if (writes == NULL) abort();
    for (twin_event *e = run->events; e != NULL; e = e->next)
        if (is_write(e)) writes[at++] = e;
    qsort(writes, count, sizeof *writes, by_seq);
    if (last >= TWIN_SEQ_MAX) twin_fail(run, "the run is longer than the test can hold");
    for (at = 0; at < count && !run->has_failed; at++) {
        twin_event *event = writes[at];
        if (event->seq <= run->state_last || event->seq <= event->lo || event->seq > event->hi) {
            twin_fail(run, "seq %llu is outside its call (%llu to %llu, history %llu)",
                      (llu)event->seq, (llu)event->lo, (llu)event->hi, (llu)run->state_last);
            break;
        }
        /* Seqs that nobody claims are ids set aside: the cursor says so. */
        while (run->state_last + 1 < event->seq) (void)push_state(run);
        if (event->kind == TWIN_DEFINE)
            push_definition(run, event);
        else
            push_commit(run, event);
    }
    while (!run->has_failed && run->state_last < last) (void)push_state(run);
    free(writes);
}

/* ---- reads ---- */

static const plain_cell *cell_at(const plain_state *state, uint32_t collection, uint32_t key) {
    static const plain_cell empty = {NULL, 0};
    return key >= PLAIN_KEY_COUNT ? &empty : &state->cells[collection][key];
}

static uint32_t key_of(const plain_state *state, const twin_read *read) {
    return read->is_unique ? plain_find(state, read->collection, read->index, read->values)
                           : read->key;
}

static int same_doc(const plain_doc *doc, const twin_read *read) {
    if (doc == NULL) return read->err == MERLE_NOT_FOUND;
    return read->err == MERLE_OK && read->hash == plain_doc_hash(doc);
}

/* Whether the read is right at this state. */
static int read_is_right(const plain_state *state, const twin_read *read) {
    if (state->life[read->collection] == PLAIN_UNBORN) return read->err == MERLE_NOT_FOUND;
    if (state->life[read->collection] == PLAIN_DROPPED) return read->err == MERLE_GONE;
    uint32_t key = key_of(state, read);
    const plain_cell *cell = cell_at(state, read->collection, key);
    return same_doc(cell->doc, read) && (read->err != MERLE_OK || read->seq == cell->seq);
}

static void verify_read(twin *run, const twin_event *event) {
    const twin_read *read = &event->reads[0];
    const plain_state *state = state_at(run, event->section_seq);
    twin_total.reads++;
    if (read_is_right(state, read) &&
        (read->err != MERLE_OK || read->seen_key == key_of(state, read)))
        return;
    uint32_t key = key_of(state, read);
    const plain_cell *cell = cell_at(state, read->collection, key);
    twin_fail(run,
              "a read at %llu (called at %llu) of collection %u, %s %u: %s, key %u, seq %llu; the "
              "model: key %u, seq %llu, %s",
              (llu)event->section_seq, (llu)event->lo, read->collection,
              read->is_unique ? "unique index" : "key", read->is_unique ? read->index : read->key,
              merle_err_name(read->err), read->seen_key, (llu)read->seq, key, (llu)cell->seq,
              cell->doc == NULL ? "no document" : "a document");
}

static void verify_one_get(twin *run, const twin_event *event) {
    twin_total.reads++;
    for (uint64_t seq = event->lo; seq <= event->hi; seq++)
        if (read_is_right(state_at(run, seq), &event->reads[0])) return;
    twin_fail(run, "a copy of key %u is right at no instant from %llu to %llu", event->reads[0].key,
              (llu)event->lo, (llu)event->hi);
}

static void verify_many(twin *run, const twin_event *event) {
    const plain_state *state = state_at(run, event->section_seq);
    uint32_t c = event->collection;
    merle_err expected = state->life[c] == PLAIN_UNBORN    ? MERLE_NOT_FOUND
                         : state->life[c] == PLAIN_DROPPED ? MERLE_GONE
                                                           : MERLE_OK;
    /* A scan that ends at once says MERLE_NOT_FOUND, too: the doer has made it MERLE_OK. */
    if (event->kind == TWIN_SCAN && expected == MERLE_NOT_FOUND) expected = MERLE_OK;
    twin_total.reads++;
    if (event->err != expected)
        twin_fail(run, "a %s at %llu gave %s instead of %s",
                  event->kind == TWIN_SCAN ? "scan" : "count", (llu)event->section_seq,
                  merle_err_name(event->err), merle_err_name(expected));
    if (event->err != MERLE_OK) return;
    if (event->count != plain_count(state, c))
        twin_fail(run, "%llu documents instead of %llu at %llu", (llu)event->count,
                  (llu)plain_count(state, c), (llu)event->section_seq);
    for (uint32_t key = 0; key < PLAIN_KEY_COUNT && event->kind == TWIN_SCAN; key++) {
        const plain_doc *doc = state->cells[c][key].doc;
        if (event->scanned[key] != (doc == NULL ? 0 : plain_doc_hash(doc)))
            twin_fail(run, "a scan at %llu has another document under key %u",
                      (llu)event->section_seq, key);
    }
}

/* ---- reads inside a commit ---- */

/* The last state that may justify a refusal. A truncate or drop refuses writers while it is being
 * published, that is one seq before sections see it; nothing else can come between. */
static uint64_t last_instant(const twin *run, const twin_event *event) {
    if (event->hi == run->state_last) return event->hi;
    merle_change_kind next = run->log[event->hi + 1].kind;
    return event->hi + (next == MERLE_CHANGE_TRUNCATE || next == MERLE_CHANGE_DROP);
}

static const plain_doc *doc_after(const plain_state *state, const plain_result *result,
                                  uint32_t collection, uint32_t key, int *out_is_own) {
    *out_is_own = 0;
    for (uint32_t i = 0; i < result->change_count; i++) {
        if (result->changes[i].collection != collection || result->changes[i].key != key) continue;
        *out_is_own = 1;
        return result->changes[i].doc;
    }
    return state->cells[collection][key].doc;
}

static int index_has(const plain_doc *doc, const twin_read *read) {
    plain_state *state = plain_state_copy(NULL);
    state->cells[0][0].doc = plain_doc_hold((plain_doc *)(uintptr_t)doc);
    int has = plain_find(state, 0, read->index, read->values) == 0;
    plain_state_free(state);
    return has;
}

static int own_key_is_right(const plain_state *state, const plain_result *result,
                            const twin_read *read) {
    int is_own;
    const plain_doc *doc = doc_after(state, result, read->collection, read->key, &is_own);
    if (!same_doc(doc, read)) return 0;
    return read->err != MERLE_OK || is_own ||
           read->seq == state->cells[read->collection][read->key].seq;
}

static int own_unique_is_right(const plain_state *state, const plain_result *result,
                               const twin_read *read) {
    int is_own;
    if (read->err == MERLE_OK) {
        if (read->seen_key >= PLAIN_KEY_COUNT) return 0;
        const plain_doc *doc = doc_after(state, result, read->collection, read->seen_key, &is_own);
        return doc != NULL && same_doc(doc, read) && index_has(doc, read);
    }
    if (read->err != MERLE_NOT_FOUND) return 0;
    for (uint32_t key = 0; key < PLAIN_KEY_COUNT; key++) {
        const plain_doc *doc = doc_after(state, result, read->collection, key, &is_own);
        if (doc != NULL && index_has(doc, read)) return 0;
    }
    return 1;
}

/* Those of the commit's operations that the read has to see. */
static uint32_t own_ops(const twin_event *event, const twin_read *read, plain_op *out_ops) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < read->op_count; i++) {
        const plain_op *op = &event->ops[i];
        if (op->collection == read->collection && (read->is_unique || op->key == read->key))
            out_ops[count++] = *op;
    }
    return count;
}

static int life_was(const twin *run, const twin_read *read, plain_life life) {
    for (uint64_t seq = read->life_seq; seq <= read->life_seq_end + 1; seq++)
        if (state_at(run, seq)->life[read->collection] == life) return 1;
    return 0;
}

/* No document can have it: nothing is looked at. */
static int asks_for_nil(const twin_read *read) {
    return read->err == MERLE_NOT_FOUND &&
           (read->values[0].type == MERLE_TYPE_NIL ||
            (read->index == 1 && read->values[1].type == MERLE_TYPE_NIL));
}

static int commit_read_is_right(const twin *run, const twin_event *event, const twin_read *read) {
    const plain_state *state = state_at(run, event->section_seq);
    plain_op ops[TWIN_OP_MAX];
    plain_result result;
    if (read->err == MERLE_GONE)
        return state->life[read->collection] == PLAIN_DROPPED || life_was(run, read, PLAIN_DROPPED);
    if (state->life[read->collection] == PLAIN_UNBORN) return read->err == MERLE_CONFLICT;
    if (state->life[read->collection] == PLAIN_DROPPED) return 0;
    plain_apply(state, ops, own_ops(event, read, ops), &result);
    int is_right;
    if (result.key_errors != 0 && read->is_unique)
        /* A document with the value may have been found before the operation that is wrong. */
        is_right =
            read->err == MERLE_OK || ((result.key_errors >> read->err) & 1) || asks_for_nil(read);
    else if (result.key_errors != 0)
        is_right = (int)((result.key_errors >> read->err) & 1);
    else
        is_right = read->is_unique ? own_unique_is_right(state, &result, read)
                                   : own_key_is_right(state, &result, read);
    plain_result_clear(&result);
    return is_right;
}

/* ---- commits ---- */

static int touched_before(const twin_event *event, const twin_read *read, uint32_t key) {
    for (uint32_t i = 0; i < read->op_count; i++)
        if (event->ops[i].collection == read->collection && event->ops[i].key == key) return 1;
    return 0;
}

static int cell_changed(const twin *run, uint32_t collection, uint32_t key, uint64_t from,
                        uint64_t to) {
    const plain_cell *a = cell_at(state_at(run, from), collection, key);
    const plain_cell *b = cell_at(state_at(run, to), collection, key);
    return a->seq != b->seq || (a->doc == NULL) != (b->doc == NULL);
}

/* Whether what a read gave is certainly another thing at this seq. */
static int read_has_changed(const twin *run, const twin_event *event, const twin_read *read,
                            uint64_t seq) {
    const plain_state *then = state_at(run, event->section_seq), *now = state_at(run, seq);
    if (read->err != MERLE_OK && read->err != MERLE_NOT_FOUND) return 0;
    uint32_t key = key_of(then, read);
    if (!read->is_unique)
        return !touched_before(event, read, key) &&
               cell_changed(run, read->collection, key, event->section_seq, seq);
    /* Found among the commit's own writes: the index was not asked. */
    if (read->err == MERLE_OK && touched_before(event, read, read->seen_key)) return 0;
    if (key != key_of(now, read)) return 1;
    return key < PLAIN_KEY_COUNT &&
           cell_changed(run, read->collection, key, event->section_seq, seq);
}

static int reads_hold(const twin *run, const twin_event *event, uint64_t seq) {
    for (uint32_t i = 0; i < event->read_count; i++)
        if (read_has_changed(run, event, &event->reads[i], seq)) return 0;
    return 1;
}

/* Whether anything that the commit read or touched is another thing at this seq. */
static int may_conflict(const twin *run, const twin_event *event, uint64_t seq) {
    const plain_state *then = state_at(run, event->section_seq), *now = state_at(run, seq);
    if (event->read_count == 0 && !event->is_read_failed) return 0;
    for (uint32_t i = 0; i < event->read_count; i++) {
        const twin_read *read = &event->reads[i];
        if (then->root_seq[read->collection] != now->root_seq[read->collection]) return 1;
        uint32_t key = key_of(then, read);
        if (key != key_of(now, read)) return 1;
        if (key < PLAIN_KEY_COUNT &&
            cell_changed(run, read->collection, key, event->section_seq, seq))
            return 1;
    }
    for (uint32_t i = 0; i < event->op_count; i++)
        if (cell_changed(run, event->ops[i].collection, event->ops[i].key, event->section_seq, seq))
            return 1;
    return 0;
}

/* Whether a collection that the commit named, if only in reading, is dropped at this seq. */
static int names_gone(const twin *run, const twin_event *event, uint64_t seq) {
    for (uint32_t c = 0; c < PLAIN_COLLECTION_MAX; c++)
        if (((event->named >> c) & 1) && state_at(run, seq)->life[c] == PLAIN_DROPPED) return 1;
    for (uint32_t i = 0; i < event->read_count; i++)
        if (state_at(run, seq)->life[event->reads[i].collection] == PLAIN_DROPPED) return 1;
    return 0;
}

static void print_commit(const twin *run, const twin_event *event) {
    for (uint32_t i = 0; i < event->op_count; i++) {
        const plain_op *op = &event->ops[i];
        const plain_cell *cell = cell_at(state_at(run, event->lo), op->collection, op->key);
        printf("#   operation %u: kind %d, collection %u, key %u, expects %llu; there: seq %llu\n",
               i, (int)op->kind, op->collection, op->key, (llu)op->seq, (llu)cell->seq);
    }
    for (uint32_t i = 0; i < event->read_count; i++) {
        const twin_read *read = &event->reads[i];
        printf("#   read %u, after %u operations: collection %u, %s %u: %s, key %u, seq %llu\n", i,
               read->op_count, read->collection, read->is_unique ? "unique index" : "key",
               read->is_unique ? read->index : read->key, merle_err_name(read->err), read->seen_key,
               (llu)read->seq);
    }
}

static int outcome_is_right(const twin *run, const twin_event *event, uint64_t seq) {
    plain_result result;
    plain_apply(state_at(run, seq), event->ops, event->op_count, &result);
    uint32_t errors = result.errors, changes = result.change_count;
    plain_result_clear(&result);
    if (event->err == MERLE_OK) return errors == 0 && changes == 0 && reads_hold(run, event, seq);
    if ((errors >> event->err) & 1) return 1;
    /* A single call checks its document at once, before it looks at anything else. */
    if (event->is_one && event->ops[0].doc != NULL &&
        plain_doc_check(event->ops[0].doc) == event->err)
        return 1;
    if (event->err == MERLE_GONE && names_gone(run, event, seq)) return 1;
    return event->err == MERLE_CONFLICT && may_conflict(run, event, seq);
}

static void verify_refusal(twin *run, const twin_event *event) {
    for (uint64_t seq = event->lo; seq <= last_instant(run, event); seq++)
        if (outcome_is_right(run, event, seq)) return;
    plain_result result;
    plain_apply(state_at(run, event->lo), event->ops, event->op_count, &result);
    twin_fail(run,
              "a commit with %u operations gave %s, right at no instant from %llu to %llu "
              "(errors at the first: %x; section at %llu, %u reads)",
              event->op_count, merle_err_name(event->err), (llu)event->lo, (llu)event->hi,
              result.errors, (llu)event->section_seq, event->read_count);
    print_commit(run, event);
    plain_result_clear(&result);
}

static void verify_gift(twin *run, const twin_event *event) {
    uint64_t seq = event->gives == TWIN_GIVES_AFTER ? event->seq : event->seq - 1;
    const plain_doc *doc =
        state_at(run, seq)->cells[event->ops[0].collection][event->ops[0].key].doc;
    if (event->given_hash != (doc == NULL ? 0 : plain_doc_hash(doc)))
        twin_fail(run, "the copy given with seq %llu is another document", (llu)event->seq);
}

static void verify_commit(twin *run, const twin_event *event) {
    for (uint32_t i = 0; i < event->read_count; i++) {
        const twin_read *read = &event->reads[i];
        twin_total.reads++;
        if (commit_read_is_right(run, event, read)) continue;
        twin_fail(run,
                  "in a commit at %llu after %u operations: a read of %s %u in collection %u "
                  "gave %s, key %u",
                  (llu)event->section_seq, read->op_count, read->is_unique ? "unique index" : "key",
                  read->is_unique ? read->index : read->key, read->collection,
                  merle_err_name(read->err), read->seen_key);
        print_commit(run, event);
    }
    if (event->is_cancelled) return;
    twin_total.refused[event->err]++;
    if (event->err == MERLE_NO_MEMORY && run->options.may_refuse) return;
    if (!is_write(event)) {
        verify_refusal(run, event);
        return;
    }
    twin_total.commits++;
    if (event->seq > 0 && !reads_hold(run, event, event->seq - 1))
        twin_fail(run, "seq %llu was committed, though what it had read has changed",
                  (llu)event->seq);
    if (event->gives != TWIN_GIVES_NOTHING) verify_gift(run, event);
}

static void verify_at_once(twin *run, const twin_event *event) {
    const plain_op *op = &event->ops[0];
    merle_err expected = op->doc == NULL ? MERLE_OK : plain_doc_check(op->doc);
    if (event->err == expected) return;
    if (event->err == MERLE_NO_MEMORY && run->options.may_refuse) return;
    for (uint64_t seq = event->lo; seq <= last_instant(run, event); seq++)
        if (event->err == MERLE_GONE &&
            state_at(run, seq)->life[event->collection] == PLAIN_DROPPED)
            return;
    twin_fail(run, "an operation of kind %d gave %s at once instead of %s", (int)op->kind,
              merle_err_name(event->err), merle_err_name(expected));
}

static void verify_event(twin *run, const twin_event *event) {
    switch (event->kind) {
    case TWIN_COMMIT:
        verify_commit(run, event);
        return;
    case TWIN_AT_ONCE:
        verify_at_once(run, event);
        return;
    case TWIN_READ:
        verify_read(run, event);
        return;
    case TWIN_COUNT:
    case TWIN_SCAN:
        verify_many(run, event);
        return;
    case TWIN_ONE_GET:
        if (event->reads[0].err == MERLE_NO_MEMORY && run->options.may_refuse) return;
        verify_one_get(run, event);
        return;
    case TWIN_DEFINE:
        if (event->err != MERLE_OK && !(event->err == MERLE_NO_MEMORY && run->options.may_refuse))
            twin_fail(run, "a definition gave %s", merle_err_name(event->err));
        return;
    }
}

static void free_event(twin_event *event) {
    for (uint32_t i = 0; i < event->op_count; i++) plain_op_clear(&event->ops[i]);
    free(event);
}

/* ---- the cursor ---- */

static void verify_position(twin *run, const twin_change *change) {
    int goes_on = change->seq == run->cursor_seq && change->position == run->cursor_position;
    int begins =
        change->seq == run->cursor_seq + 1 && change->position == 0 && run->cursor_position == 0;
    if (!goes_on && !begins)
        twin_fail(run, "the cursor gave change %u of seq %llu after %u of %llu", change->position,
                  (llu)change->seq, run->cursor_position, (llu)run->cursor_seq);
    run->cursor_seq = change->seq;
    run->cursor_position = change->position + 1 == change->count ? 0 : change->position + 1;
}

/* A commit that was under way when the cursor was opened may not have seen that images are
 * wanted: at most one of each worker. */
static int may_lack_images(twin *run, uint64_t seq) {
    if (!run->options.is_simulated) return 0;
    if (seq <= run->cursor_open_seq || seq == run->lack_seq) return 1;
    run->lack_seq = seq;
    return ++run->lack_count < SIM_WORKER_MAX;
}

static void verify_document_change(twin *run, const twin_change *change) {
    const plain_cell *cell = NULL, *before = NULL;
    uint32_t c = 0;
    while (c < run->collection_count &&
           (run->collections[c] == NULL ||
            merle_collection_id(run->collections[c]) != change->collection_id))
        c++;
    if (c == run->collection_count || change->key >= PLAIN_KEY_COUNT) {
        twin_fail(run, "seq %llu: a change of a document that is none of ours", (llu)change->seq);
        return;
    }
    cell = &state_at(run, change->seq)->cells[c][change->key];
    before = &state_at(run, change->seq - 1)->cells[c][change->key];
    uint64_t hash = cell->doc == NULL ? 0 : plain_doc_hash(cell->doc);
    uint64_t hash_before = before->doc == NULL ? 0 : plain_doc_hash(before->doc);
    int lacks = 0;
    int is_right = change->kind == MERLE_CHANGE_REMOVE
                       ? cell->doc == NULL && before->doc != NULL && change->after == 0
                       : cell->doc != NULL && cell->seq == change->seq;
    if (change->after != hash) {
        lacks = change->kind == MERLE_CHANGE_PATCH && change->after == 0;
        is_right &= lacks;
    }
    if (change->before != hash_before) {
        lacks = change->before == 0;
        is_right &= lacks;
    }
    if (lacks) is_right &= may_lack_images(run, change->seq);
    if (!is_right)
        twin_fail(run,
                  "seq %llu: the change of key %u (kind %d) is not what the model says (after %s, "
                  "before %s; in the log %s and %s; the cursor was opened at %llu)",
                  (llu)change->seq, change->key, (int)change->kind, hash == 0 ? "none" : "one",
                  hash_before == 0 ? "none" : "one", change->after == hash ? "so" : "not so",
                  change->before == hash_before ? "so" : "not so", (llu)run->cursor_open_seq);
}

static void verify_change(twin *run, const twin_change *change) {
    twin_total.changes++;
    if (change->is_gap) {
        if (change->seq != run->cursor_seq + 1 || change->gap_last < change->seq)
            twin_fail(run, "a gap from %llu to %llu after %llu", (llu)change->seq,
                      (llu)change->gap_last, (llu)run->cursor_seq);
        run->cursor_seq = change->gap_last;
        run->cursor_position = 0;
        return;
    }
    verify_position(run, change);
    const twin_log *log = &run->log[change->seq];
    int is_document = change->kind <= MERLE_CHANGE_REMOVE;
    if (log->kind == MERLE_CHANGE_PUT) {
        if (!is_document || change->count != log->change_count)
            twin_fail(run, "seq %llu has %u changes in the log, %u in the model", (llu)change->seq,
                      change->count, log->change_count);
        else
            verify_document_change(run, change);
    } else if (log->kind == 0 ? change->kind != MERLE_CHANGE_SEQUENCE : change->kind != log->kind) {
        twin_fail(run, "seq %llu is of kind %d in the log, %d in the model", (llu)change->seq,
                  (int)change->kind, (int)log->kind);
    }
}

/* ---- the whole ---- */

void twin_verify(twin *run) {
    if (!run->has_failed) build_history(run);
    for (twin_event *event = run->events, *next; event != NULL; event = next) {
        next = event->next;
        if (!run->has_failed) verify_event(run, event);
        free_event(event);
    }
    run->events = NULL;
    run->events_last = &run->events;
    for (; run->changes_verified < run->change_count && !run->has_failed; run->changes_verified++)
        verify_change(run, &run->changes[run->changes_verified]);
}

static void compare_unique(twin *run, merle_section *section, uint32_t c, uint32_t index,
                           const plain_value *values) {
    static const char *const names[2] = {"name", "seat"};
    const plain_state *state = state_at(run, merle_section_seq(section));
    merle_value given[2] = {plain_value_to_merle(&values[0]), plain_value_to_merle(&values[1])};
    merle_doc doc;
    merle_err err =
        merle_get_unique(section, run->collections[c], names[index], given, index + 1, &doc);
    uint32_t key = plain_find(state, c, index, values);
    if (key == PLAIN_KEY_COUNT ? err != MERLE_NOT_FOUND
                               : err != MERLE_OK || plain_key_find(merle_doc_key(doc)) != key)
        twin_fail(run, "unique index %s of collection %u: %s, key %u; the model: key %u",
                  names[index], c, merle_err_name(err),
                  err == MERLE_OK ? plain_key_find(merle_doc_key(doc)) : 0, key);
}

static void compare_collection(twin *run, merle_section *section, uint32_t c) {
    const plain_state *state = state_at(run, merle_section_seq(section));
    uint64_t count = 0;
    for (uint32_t key = 0; key < PLAIN_KEY_COUNT; key++) {
        plain_doc seen;
        merle_doc doc;
        const plain_cell *cell = &state->cells[c][key];
        merle_err err = merle_get(section, run->collections[c], plain_key(key), &doc);
        int is_same = cell->doc == NULL ? err == MERLE_NOT_FOUND
                                        : err == MERLE_OK && doc.seq == cell->seq &&
                                              plain_doc_parse(doc, &seen) == 0 &&
                                              plain_doc_hash(&seen) == plain_doc_hash(cell->doc);
        if (!is_same) twin_fail(run, "collection %u, key %u differs from the model", c, key);
    }
    for (uint32_t i = 0; i < PLAIN_VALUE_COUNT; i++) {
        plain_value values[2] = {plain_value_of(i), plain_value_of(0)};
        compare_unique(run, section, c, 0, values);
        for (uint32_t j = 0; j < 4; j++) {
            values[1] = plain_value_of(j);
            compare_unique(run, section, c, 1, values);
        }
    }
    if (merle_count(section, run->collections[c], &count) != MERLE_OK ||
        count != plain_count(state, c))
        twin_fail(run, "collection %u has %llu documents, the model %llu", c, (llu)count,
                  (llu)plain_count(state, c));
}

void twin_compare_all(twin *run) {
    merle_section section;
    merle_report report;
    if (run->has_failed || merle_section_begin(run->db, &section) != MERLE_OK) return;
    const plain_state *state = state_at(run, merle_section_seq(&section));
    for (uint32_t c = 0; c < run->collection_count; c++)
        if (state->life[c] == PLAIN_ALIVE) compare_collection(run, &section, c);
    if (merle_section_end(&section) != MERLE_OK) twin_fail(run, "a section did not end");
    twin_total.checks++;
    merle_err err = merle_check(run->db, &report);
    if (err != MERLE_OK && !(err == MERLE_NO_MEMORY && run->options.may_refuse))
        twin_fail(run, "merle_check: %s: %s", merle_err_name(err), report.message);
}

void twin_destroy(twin *run) {
    for (twin_event *event = run->events, *next; event != NULL; event = next) {
        next = event->next;
        free_event(event);
    }
    for (uint64_t seq = 0; seq <= run->state_last; seq++) plain_state_free(run->states[seq]);
    sim_destroy(run->simulator);
    free(run);
}
