/* tests/crash/oracle.c - from what was done to what has to be there.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/crash/oracle.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long llu;

const char *const oracle_names[ORACLE_NAME_COUNT] = {"first", "memory", "second", "loaded",
                                                     "sessions"};
const merle_index oracle_extras[ORACLE_EXTRA_COUNT] = {{"by_number", MERLE_ORDERED, "number"},
                                                       {"by_list", MERLE_TAGS, "list"}};

const merle_schema *oracle_schema(uint32_t name) {
    static merle_schema in_memory;
    if (name != NAME_MEMORY) return &plain_schema;
    in_memory = plain_schema;
    in_memory.memory_only = 1;
    return &in_memory;
}

merle_bytes oracle_session_key(uint32_t session) {
    static char names[ORACLE_SESSION_COUNT + 1][12];
    (void)snprintf(names[session], sizeof names[session], "session-%u", session);
    return merle_str(names[session]);
}

/* ---- notes ---- */

static uint64_t published(const merle_db *db) {
    return mrl_log_published_at(db->store.published);
}

static world world_copy(const world *from) {
    world copy = *from;
    copy.plain = plain_state_copy(from->plain);
    return copy;
}

oracle *oracle_create(void) {
    oracle *o = calloc(1, sizeof *o);
    if (o == NULL) abort();
    o->notes = calloc(ORACLE_NOTE_MAX, sizeof *o->notes);
    if (o->notes == NULL) abort();
    o->base.plain = plain_state_copy(NULL);
    for (int i = 0; i < ORACLE_NAME_COUNT; i++) o->base.current[i] = ORACLE_NONE;
    o->history = history_create();
    o->now = world_copy(&o->base);
    return o;
}

static void note_clear(note *n) {
    for (uint32_t k = 0; k < n->op_count; k++) plain_op_clear(&n->ops[k]);
    for (uint32_t k = 0; k < PLAIN_KEY_COUNT && n->loaded != NULL; k++)
        plain_doc_release(n->loaded[k]);
    free(n->loaded);
    n->loaded = NULL;
}

static void forget_notes(oracle *o) {
    for (uint32_t i = 0; i < o->note_count; i++) note_clear(&o->notes[i]);
    o->note_count = 0;
}

void oracle_destroy(oracle *o) {
    forget_notes(o);
    plain_state_free(o->base.plain);
    plain_state_free(o->now.plain);
    history_destroy(o->history);
    free(o->notes);
    free(o);
}

void oracle_trouble(oracle *o, const char *format, ...) {
    va_list arguments;
    if (o->trouble[0] != 0) return;
    va_start(arguments, format);
    (void)vsnprintf(o->trouble, sizeof o->trouble, format, arguments);
    va_end(arguments);
}

note *oracle_note(oracle *o, note_kind kind, uint32_t worker, uint64_t published) {
    if (o->note_count == ORACLE_NOTE_MAX) abort();
    note *n = &o->notes[o->note_count++];
    memset(n, 0, sizeof *n);
    n->kind = kind;
    n->worker = worker;
    n->after_seq = published;
    n->collection = ORACLE_NONE;
    return n;
}

void oracle_done(oracle *o, note *n, uint64_t seq) {
    if (seq <= n->after_seq)
        oracle_trouble(o, "a write (%d) that began behind seq %llu got seq %llu", (int)n->kind,
                       (llu)n->after_seq, (llu)seq);
    n->fate = NOTE_DONE;
    n->seq = seq;
}

void oracle_refused(oracle *o, note *n) {
    n->fate = NOTE_REFUSED;
    if (n != &o->notes[o->note_count - 1]) return;
    /* What left no trace need not be remembered. */
    note_clear(n);
    o->note_count--;
}

void oracle_promise(oracle *o, uint64_t seq) {
    if (seq > o->promised_seq) o->promised_seq = seq;
}

uint32_t oracle_new_collection(const oracle *o) {
    int is_used[PLAIN_COLLECTION_MAX + 1] = {0};
    for (uint32_t c = 0; c < PLAIN_COLLECTION_MAX; c++)
        is_used[c] = o->base.plain->life[c] != PLAIN_UNBORN;
    for (uint32_t i = 0; i < o->note_count; i++) is_used[o->notes[i].collection] = 1;
    for (uint32_t c = 0; c < PLAIN_COLLECTION_MAX; c++)
        if (!is_used[c]) return c;
    return ORACLE_NONE;
}

/* ---- worlds ---- */

/* What a commit has changed, for those who read the log. */
static void write_down(const oracle *o, const world *w, const note *n, const plain_result *result,
                       history_commit *h) {
    h->kind = MERLE_CHANGE_PUT;
    for (uint32_t i = 0; i < result->change_count; i++) {
        const plain_change *from = &result->changes[i];
        history_change *to = &h->changes[h->change_count++];
        to->collection_id = o->collection_ids[from->collection];
        to->key = from->key;
        to->is_memory = from->collection == w->current[NAME_MEMORY];
        to->before = plain_doc_hold(w->plain->cells[from->collection][from->key].doc);
        to->after = plain_doc_hold(from->doc);
    }
    h->session = n->session;
    h->session_expires_ns = n->session_expires_ns;
    if (n->session != 0) h->sessions_id = o->collection_ids[w->current[NAME_SESSIONS]];
}

static void apply_commit(oracle *o, world *w, const note *n, history_commit *h) {
    plain_result result;
    plain_apply(w->plain, n->ops, n->op_count, &result);
    if (result.errors != 0)
        oracle_trouble(o, "seq %llu was committed, but should have been refused (errors %x)",
                       (llu)n->seq, result.errors);
    if (h != NULL) write_down(o, w, n, &result, h);
    plain_commit(w->plain, &result, n->seq);
    plain_result_clear(&result);
}

static void apply_session(world *w, const note *n) {
    if (n->session == 0) return;
    session_cell *cell = &w->sessions[n->session - 1];
    *cell = (session_cell){n->seq, n->session_expires_ns};
    if (n->session_expires_ns == SESSION_REMOVED) cell->seq = 0;
}

/* Which seq a document of a load has is the load's business. */
static void apply_load(oracle *o, world *w, const note *n, history_commit *h) {
    if (plain_count(w->plain, n->collection) != 0)
        oracle_trouble(o, "seq %llu: a load filled what was not empty", (llu)n->seq);
    for (uint32_t key = 0; key < PLAIN_KEY_COUNT; key++) {
        if (n->loaded[key] == NULL) continue;
        w->plain->cells[n->collection][key].doc = plain_doc_hold(n->loaded[key]);
        if (h != NULL && n->name != NAME_MEMORY) h->loaded += history_sum(key, n->loaded[key]);
    }
}

static void apply_clearing(world *w, const note *n) {
    uint32_t c = n->collection;
    plain_clear_collection(w->plain, c);
    if (n->name == NAME_SESSIONS) memset(w->sessions, 0, sizeof w->sessions);
    w->plain->root_seq[c] = n->seq;
    if (n->kind == NOTE_TRUNCATE) return;
    w->current[n->name] = n->kind == NOTE_DEFINE ? c : ORACLE_NONE;
    w->plain->life[c] = n->kind == NOTE_DEFINE ? PLAIN_ALIVE : PLAIN_DROPPED;
    if (n->kind == NOTE_DEFINE) w->extras[c] = 0;
}

/* h: what it did is told there; NULL: nobody asks. */
static void apply(oracle *o, world *w, const note *n, history_commit *h) {
    static const merle_change_kind kinds[] = {
        [NOTE_COMMIT] = MERLE_CHANGE_PUT,        [NOTE_DEFINE] = MERLE_CHANGE_DEFINE,
        [NOTE_TRUNCATE] = MERLE_CHANGE_TRUNCATE, [NOTE_DROP] = MERLE_CHANGE_DROP,
        [NOTE_INDEX_ADD] = MERLE_CHANGE_DEFINE,  [NOTE_INDEX_DROP] = MERLE_CHANGE_DEFINE,
        [NOTE_LOAD] = MERLE_CHANGE_LOADED};
    uint32_t c = n->collection;
    if (h != NULL) h->kind = kinds[n->kind];
    if (h != NULL && c != ORACLE_NONE) h->collection_id = o->collection_ids[c];
    switch (n->kind) {
    case NOTE_COMMIT:
        apply_commit(o, w, n, h);
        apply_session(w, n);
        return;
    case NOTE_INDEX_ADD:
        w->extras[c] |= 1u << n->extra;
        return;
    case NOTE_INDEX_DROP:
        w->extras[c] &= ~(1u << n->extra);
        return;
    case NOTE_LOAD:
        apply_load(o, w, n, h);
        return;
    default:
        apply_clearing(w, n);
    }
}

static int by_seq(const void *a, const void *b) {
    uint64_t left = (*(const note *const *)a)->seq, right = (*(const note *const *)b)->seq;
    return left < right ? -1 : left > right;
}

/* Those behind one seq that came back, up to another one, in order. */
static size_t gather(oracle *o, uint64_t after_seq, uint64_t seq, const note **done) {
    size_t count = 0;
    for (uint32_t i = 0; i < o->note_count; i++) {
        const note *n = &o->notes[i];
        if (n->fate == NOTE_DONE && n->seq > after_seq && n->seq <= seq) done[count++] = n;
    }
    qsort(done, count, sizeof done[0], by_seq);
    for (size_t i = 1; i < count; i++)
        if (done[i]->seq == done[i - 1]->seq)
            oracle_trouble(o, "seq %llu was given twice", (llu)done[i]->seq);
    return count;
}

/* The world at a seq: the base, and all that was done up to there, in order. */
static world world_at(oracle *o, uint64_t seq) {
    static const note *done[ORACLE_NOTE_MAX];
    size_t count = gather(o, 0, seq, done);
    world w = world_copy(&o->base);
    for (size_t i = 0; i < count; i++) apply(o, &w, done[i], NULL);
    return w;
}

/* ---- what is known of each seq ---- */

static void learn_up_to(oracle *o, uint64_t seq) {
    static const note *done[ORACLE_NOTE_MAX];
    if (seq <= o->history->last_seq) return;
    size_t count = gather(o, o->history->last_seq, seq, done);
    for (size_t i = 0; i < count; i++) {
        /* What is only known to have been done, and not when, is left out. */
        history_commit *h = done[i]->is_guessed ? NULL : history_put(o->history, done[i]->seq);
        apply(o, &o->now, done[i], h);
    }
    o->history->last_seq = seq;
}

void oracle_learn(oracle *o, merle_db *db) {
    uint64_t seq = published(db);
    for (uint32_t i = 0; i < o->note_count; i++)
        if (o->notes[i].fate == NOTE_OPEN && o->notes[i].after_seq < seq)
            seq = o->notes[i].after_seq;
    learn_up_to(o, seq);
}

/* What was lost, or undone, has never been. */
static void learn_anew(oracle *o) {
    history_go_back(o->history, o->base_seq);
    plain_state_free(o->now.plain);
    o->now = world_copy(&o->base);
}

void oracle_go_back(oracle *o, uint64_t seq) {
    o->promised_seq = o->last_seq = seq;
    o->unsynced_max = 0; /* no bound for what is lost now */
    memset(o->ids, 0, sizeof o->ids);
    memset(o->new_ids, 0, sizeof o->new_ids);
}

/* ---- comparing ---- */

typedef struct comparison {
    const world *w;
    merle_db *db;
    merle_section section;
    int64_t before_ns, after_ns; /* its begin was between them */
    uint64_t seq;
    char *text; /* the first difference */
    size_t text_size;
} comparison;

__attribute__((format(printf, 2, 3))) static int differs(comparison *c, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(c->text, c->text_size, format, arguments);
    va_end(arguments);
    return -1;
}

static int compare_document(comparison *c, uint32_t name, merle_doc doc, uint32_t *seen) {
    const plain_state *plain = c->w->plain;
    plain_doc parsed;
    uint32_t key = plain_key_find(merle_doc_key(doc));
    if (key >= PLAIN_KEY_COUNT) return differs(c, "%s has a strange key", oracle_names[name]);
    const plain_cell *cell = &plain->cells[c->w->current[name]][key];
    if ((*seen >> key & 1) != 0) return differs(c, "%s has key %u twice", oracle_names[name], key);
    *seen |= 1u << key;
    if (cell->doc == NULL)
        return differs(c, "%s has key %u, of seq %llu, which it should not", oracle_names[name],
                       key, (llu)doc.seq);
    if (cell->seq != doc.seq && cell->seq != 0)
        return differs(c, "%s has key %u of seq %llu instead of %llu", oracle_names[name], key,
                       (llu)doc.seq, (llu)cell->seq);
    if (plain_doc_parse(doc, &parsed) != 0 || plain_doc_hash(&parsed) != plain_doc_hash(cell->doc))
        return differs(c, "%s has another document under key %u, seq %llu", oracle_names[name], key,
                       (llu)doc.seq);
    return 0;
}

static int compare_documents(comparison *c, uint32_t name, merle_collection *collection) {
    merle_scan scan = {0};
    merle_doc docs[16];
    size_t count;
    uint32_t seen = 0;
    uint64_t counted = 0;
    while (merle_scan_next(&c->section, collection, &scan, docs, 16, &count) == MERLE_OK)
        for (size_t i = 0; i < count; i++)
            if (compare_document(c, name, docs[i], &seen) != 0) return -1;
    for (uint32_t key = 0; key < PLAIN_KEY_COUNT; key++) {
        const plain_cell *cell = &c->w->plain->cells[c->w->current[name]][key];
        merle_doc doc;
        merle_err err = merle_get(&c->section, collection, plain_key(key), &doc);
        if (err != (cell->doc != NULL ? MERLE_OK : MERLE_NOT_FOUND) ||
            (cell->doc != NULL) != (seen >> key & 1))
            return differs(c, "%s: key %u, of seq %llu, is %s", oracle_names[name], key,
                           (llu)cell->seq, merle_err_name(err));
    }
    uint64_t wanted = plain_count(c->w->plain, c->w->current[name]);
    if (merle_count(&c->section, collection, &counted) != MERLE_OK || counted != wanted)
        return differs(c, "%s counts %llu documents instead of %llu", oracle_names[name],
                       (llu)counted, (llu)wanted);
    return 0;
}

static int compare_value(comparison *c, uint32_t name, merle_collection *collection, uint32_t index,
                         const plain_value *values) {
    static const char *const index_names[2] = {"name", "seat"};
    merle_value given[2] = {plain_value_to_merle(&values[0]), plain_value_to_merle(&values[1])};
    merle_doc doc;
    uint32_t wanted = plain_find(c->w->plain, c->w->current[name], index, values);
    merle_err err =
        merle_get_unique(&c->section, collection, index_names[index], given, index + 1, &doc);
    uint32_t found = err == MERLE_OK ? plain_key_find(merle_doc_key(doc)) : PLAIN_KEY_COUNT;
    if (found == wanted && (err == MERLE_OK || err == MERLE_NOT_FOUND)) return 0;
    return differs(c, "%s: a value of index %s is that of key %u instead of %u (%s)",
                   oracle_names[name], index_names[index], found, wanted, merle_err_name(err));
}

static int compare_values(comparison *c, uint32_t name, merle_collection *collection) {
    for (uint32_t v = 0; v < PLAIN_VALUE_COUNT; v++) {
        plain_value values[2] = {plain_value_of(v), plain_value_of(0)};
        if (compare_value(c, name, collection, 0, values) != 0) return -1;
        for (uint32_t rank = 0; rank < 4; rank++) {
            values[1] = plain_value_of(rank);
            if (compare_value(c, name, collection, 1, values) != 0) return -1;
        }
    }
    return 0;
}

static int compare_extras(comparison *c, uint32_t name, merle_collection *collection) {
    for (uint32_t i = 0; i < ORACLE_EXTRA_COUNT; i++) {
        merle_stats_index stats = {0};
        merle_err err = merle_index_stats(collection, oracle_extras[i].name, &stats);
        int wanted = (int)(c->w->extras[c->w->current[name]] >> i & 1);
        if ((err == MERLE_OK) == wanted && (err == MERLE_OK || err == MERLE_NOT_FOUND)) continue;
        return differs(c, "%s: index %s is %s", oracle_names[name], oracle_extras[i].name,
                       merle_err_name(err));
    }
    return 0;
}

/* A document is there until its end by the clock of the section. */
static int compare_sessions(comparison *c, merle_collection *collection) {
    uint64_t there = 0, unsure = 0, counted = 0;
    for (uint32_t i = 0; i < ORACLE_SESSION_COUNT; i++) {
        const session_cell *cell = &c->w->sessions[i];
        merle_doc doc;
        merle_err err = merle_get(&c->section, collection, oracle_session_key(i + 1), &doc);
        if (cell->seq != 0 && cell->expires_ns >= c->before_ns && cell->expires_ns <= c->after_ns) {
            unsure++;
            continue;
        }
        int is_there = cell->seq != 0 && cell->expires_ns > c->after_ns;
        there += (uint64_t)is_there;
        if (err != (is_there ? MERLE_OK : MERLE_NOT_FOUND))
            return differs(c, "session %u of seq %llu, that ends at %lld, is %s at %lld", i + 1,
                           (llu)cell->seq, (long long)cell->expires_ns, merle_err_name(err),
                           (long long)c->after_ns);
        if (is_there && (doc.seq != cell->seq || merle_doc_expires(doc) != cell->expires_ns))
            return differs(c, "session %u is of seq %llu and ends at %lld, instead of %llu, %lld",
                           i + 1, (llu)doc.seq, (long long)merle_doc_expires(doc), (llu)cell->seq,
                           (long long)cell->expires_ns);
    }
    merle_err err = merle_count(&c->section, collection, &counted);
    if (err != MERLE_OK || counted < there || counted > there + unsure)
        return differs(c, "%llu sessions are counted instead of %llu", (llu)counted, (llu)there);
    return 0;
}

static int compare_collection(comparison *c, uint32_t name) {
    merle_collection *collection = NULL;
    merle_err err = merle_collection_find(c->db, oracle_names[name], &collection);
    if (c->w->current[name] == ORACLE_NONE)
        return err == MERLE_NOT_FOUND
                   ? 0
                   : differs(c, "%s is there (%s)", oracle_names[name], merle_err_name(err));
    if (err != MERLE_OK)
        return differs(c, "%s is not there (%s)", oracle_names[name], merle_err_name(err));
    if (name == NAME_SESSIONS)
        return compare_sessions(c, collection) != 0 ? -1 : compare_extras(c, name, collection);
    if (compare_documents(c, name, collection) != 0) return -1;
    if (compare_values(c, name, collection) != 0) return -1;
    return compare_extras(c, name, collection);
}

static int compare(const world *w, merle_db *db, char *text, size_t text_size) {
    comparison c = {.w = w, .db = db, .text = text, .text_size = text_size};
    int result = 0;
    c.before_ns = db->clock->wall_ns(db->clock->context);
    if (merle_section_begin(db, &c.section) != MERLE_OK) return differs(&c, "no section");
    c.after_ns = db->clock->wall_ns(db->clock->context);
    c.seq = merle_section_seq(&c.section);
    for (uint32_t name = 0; name < ORACLE_NAME_COUNT && result == 0; name++)
        result = compare_collection(&c, name);
    (void)merle_section_end(&c.section);
    return result;
}

static void check_whole(oracle *o, merle_db *db) {
    merle_report report;
    memset(&report, 0, sizeof report);
    merle_err err = merle_check(db, &report);
    if (err != MERLE_OK)
        oracle_trouble(o, "merle_check: %s, %s", merle_err_name(err), report.message);
}

/* ---- judging a reopened database ---- */

/* The marker of a worker in a collection: the number of the last write that has set it, and the
 * document's seq. */
typedef struct marker {
    uint32_t attempt;
    uint64_t seq;
} marker;

typedef struct markers {
    marker of[ORACLE_NAME_COUNT][ORACLE_WORKER_MAX];
} markers;

static void read_marker(oracle *o, merle_section *section, merle_collection *collection,
                        uint32_t worker, marker *out) {
    merle_doc doc;
    merle_value number;
    if (merle_get(section, collection, plain_key(ORACLE_KEY_COUNT + worker), &doc) != MERLE_OK)
        return;
    if (merle_doc_value(doc, plain_paths[PLAIN_NUMBER], &number) != MERLE_OK)
        oracle_trouble(o, "the marker of worker %u has no number", worker);
    *out = (marker){(uint32_t)number.number.i, doc.seq};
}

static void read_markers(oracle *o, merle_db *db, markers *out) {
    merle_section section;
    memset(out, 0, sizeof *out);
    if (merle_section_begin(db, &section) != MERLE_OK) return;
    for (uint32_t name = 0; name < ORACLE_PLAIN_COUNT; name++) {
        merle_collection *collection;
        if (merle_collection_find(db, oracle_names[name], &collection) != MERLE_OK) continue;
        for (uint32_t worker = 0; worker < ORACLE_WORKER_MAX; worker++)
            read_marker(o, &section, collection, worker, &out->of[name][worker]);
    }
    (void)merle_section_end(&section);
}

/* Whether they say that the commit or load, which has not come back, was done. */
static int is_done(const markers *m, const note *n, uint64_t *out_seq) {
    const marker *at = &m->of[n->kind == NOTE_LOAD ? n->name : NAME_FIRST][n->worker];
    *out_seq = at->seq;
    return n->attempt != 0 && at->attempt == n->attempt;
}

static int is_open(const note *n) {
    return (n->kind == NOTE_COMMIT || n->kind == NOTE_LOAD) && n->fate == NOTE_OPEN;
}

/* What became of the commits and loads that had not come back. */
static void settle_commits(oracle *o, merle_db *db) {
    markers m;
    read_markers(o, db, &m);
    for (uint32_t i = 0; i < o->note_count; i++) {
        note *n = &o->notes[i];
        uint64_t seq;
        if (!is_open(n)) continue;
        if (is_done(&m, n, &seq)) {
            /* A load's documents came before it ended; nobody else wrote to its collection then. */
            n->is_guessed = n->kind == NOTE_LOAD;
            oracle_done(o, n, seq);
        } else {
            oracle_refused(o, n);
        }
    }
}

int oracle_compare(oracle *o, merle_db *db) {
    char text[256];
    /* One that is not durable is there all the same. */
    settle_commits(o, db);
    world w = world_at(o, published(db));
    if (compare(&w, db, text, sizeof text) != 0)
        oracle_trouble(o, "at seq %llu, still running: %s", (llu)published(db), text);
    plain_state_free(w.plain);
    /* Which seq the end of a load has is not known: it may be lost where its documents are not. */
    for (uint32_t i = 0; i < o->note_count; i++)
        if (o->notes[i].kind == NOTE_LOAD && o->notes[i].is_guessed) o->notes[i].fate = NOTE_OPEN;
    check_whole(o, db);
    return o->trouble[0] != 0 ? -1 : 0;
}

static int is_claimed(const oracle *o, uint64_t seq) {
    for (uint32_t i = 0; i < o->note_count; i++)
        if (o->notes[i].fate == NOTE_DONE && o->notes[i].seq == seq) return 1;
    return 0;
}

static note *find_open(oracle *o) {
    for (uint32_t i = 0; i < o->note_count; i++)
        if (o->notes[i].fate == NOTE_OPEN) return &o->notes[i];
    return NULL;
}

/* What is in memory only is gone; what was dropped may be used again. */
static void world_wake(world *w) {
    for (uint32_t c = 0; c < PLAIN_COLLECTION_MAX; c++) {
        if (w->plain->life[c] == PLAIN_DROPPED) w->plain->life[c] = PLAIN_UNBORN;
        if (w->plain->life[c] == PLAIN_UNBORN || w->current[NAME_MEMORY] == c)
            plain_clear_collection(w->plain, c);
    }
}

void world_free(world *w) {
    plain_state_free(w->plain);
    w->plain = NULL;
}

int oracle_compare_world(oracle *o, const world *w, uint64_t seq, merle_db *db) {
    char text[256];
    if (published(db) < seq) oracle_trouble(o, "a copy lacks commits");
    if (compare(w, db, text, sizeof text) != 0)
        oracle_trouble(o, "the copy of seq %llu: %s", (llu)seq, text);
    check_whole(o, db);
    return o->trouble[0] != 0 ? -1 : 0;
}

int oracle_compare_copy(oracle *o, merle_db *copy, world *out_world, oracle_earlier *earlier) {
    static note *open[ORACLE_NOTE_MAX];
    size_t count = 0;
    markers m;
    /* Writes of others may be in the copy, and not have come back yet: the copy says which. */
    read_markers(o, copy, &m);
    /* From here on nobody else runs, until the notes are again as they were. */
    for (uint32_t i = 0; i < o->note_count; i++) {
        note *n = &o->notes[i];
        if (!is_open(n) || n->attempt == 0) continue;
        open[count++] = n;
        n->fate = is_done(&m, n, &n->seq) ? NOTE_DONE : NOTE_REFUSED;
        /* When a load that has not come back has ended is not known. */
        if (n->fate == NOTE_DONE && n->kind == NOTE_LOAD) earlier->seq = 0;
    }
    *out_world = world_at(o, published(copy));
    if (earlier->seq != 0) earlier->world = world_at(o, earlier->seq);
    if (earlier->seq != 0) world_wake(&earlier->world);
    for (size_t i = 0; i < count; i++) open[i]->fate = NOTE_OPEN;
    world_wake(out_world);
    return oracle_compare_world(o, out_world, published(copy), copy);
}

/* A definition that had not come back may have been applied, at any seq that nobody else has. */
static int try_worlds(oracle *o, merle_db *db, uint64_t seq, world *out_world) {
    char first[256] = "", text[256];
    note *open = find_open(o);
    uint64_t at = open == NULL || open->after_seq > seq ? seq + 1 : open->after_seq + 1;
    for (; at <= seq + 1; at++) {
        if (at <= seq && is_claimed(o, at)) continue;
        if (open != NULL) {
            open->fate = at <= seq ? NOTE_DONE : NOTE_REFUSED;
            open->seq = at;
            open->is_guessed = 1;
        }
        world w = world_at(o, seq);
        world_wake(&w);
        int is_right = o->trouble[0] == 0 && compare(&w, db, text, sizeof text) == 0;
        if (is_right) {
            *out_world = w;
            return 0;
        }
        plain_state_free(w.plain);
        /* What is impossible under this assumption may be right under the next. */
        if (o->trouble[0] != 0) memcpy(text, o->trouble, sizeof text);
        text[sizeof text - 1] = 0;
        o->trouble[0] = 0;
        memcpy(first, text, sizeof first);
    }
    oracle_trouble(o, "reopened at seq %llu (published %llu, promised %llu): %s", (llu)seq,
                   (llu)o->last_seq, (llu)o->promised_seq, first);
    return -1;
}

/* What ASYNC may lose is bounded. */
static void judge_loss(oracle *o, uint64_t seq) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < o->note_count; i++) {
        const note *n = &o->notes[i];
        if (n->fate != NOTE_DONE || n->seq <= seq) continue;
        o->lost++;
        if (n->may_be_lost) bytes += n->bytes;
    }
    if (o->unsynced_max != 0 && bytes > o->unsynced_max)
        oracle_trouble(o, "%llu bytes of acknowledged ASYNC commits are gone, of at most %llu",
                       (llu)bytes, (llu)o->unsynced_max);
}

static void judge_ids(oracle *o, merle_db *db, uint64_t seq) {
    for (uint32_t name = 0; name < ORACLE_NAME_COUNT; name++) {
        uint32_t c = o->base.current[name];
        merle_collection *collection;
        uint64_t id = 0;
        if (c == ORACLE_NONE) continue;
        /* Whatever the crash has taken back: that it was given is durable. */
        if (o->new_ids[c] > o->ids[c]) o->ids[c] = o->new_ids[c];
        if (merle_collection_find(db, oracle_names[name], &collection) != MERLE_OK) continue;
        /* Asking sets some aside, which is a write: not every time. */
        if (o->ids[c] == 0 || seq % 4 != 0) continue;
        if (merle_collection_next_id(collection, &id) == MERLE_OK && id <= o->ids[c])
            oracle_trouble(o, "%s gave id %llu again, after %llu", oracle_names[name], (llu)id,
                           (llu)o->ids[c]);
    }
    /* A number that is free may come to stand for another collection. */
    for (uint32_t c = 0; c < PLAIN_COLLECTION_MAX; c++)
        if (o->base.plain->life[c] == PLAIN_UNBORN) o->ids[c] = 0;
    memset(o->new_ids, 0, sizeof o->new_ids);
}

/* Also of collections whose making had not come back. */
static void find_ids(oracle *o, merle_db *db, const world *w) {
    for (uint32_t name = 0; name < ORACLE_NAME_COUNT; name++) {
        merle_collection *collection;
        if (w->current[name] != ORACLE_NONE &&
            merle_collection_find(db, oracle_names[name], &collection) == MERLE_OK)
            o->collection_ids[w->current[name]] = merle_collection_id(collection);
    }
}

int oracle_judge(oracle *o, merle_db *db) {
    uint64_t seq = published(db);
    world w;
    if (seq < o->promised_seq || seq > o->last_seq)
        oracle_trouble(o, "reopened at seq %llu, but %llu was durable and %llu published", (llu)seq,
                       (llu)o->promised_seq, (llu)o->last_seq);
    settle_commits(o, db);
    if (o->trouble[0] != 0 || try_worlds(o, db, seq, &w) != 0) return -1;
    judge_loss(o, seq);
    find_ids(o, db, &w);
    learn_up_to(o, seq);
    plain_state_free(o->base.plain);
    o->base = w;
    o->base_seq = seq;
    learn_anew(o);
    forget_notes(o);
    /* What an opening has found is durable from then on. */
    oracle_promise(o, seq);
    check_whole(o, db);
    judge_ids(o, db, seq);
    return o->trouble[0] != 0 ? -1 : 0;
}
