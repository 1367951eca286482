/* tests/crash/life_load.c - bulk loads: whole, given up, refused, beside each other and all else.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "tests/crash/life_private.h"

typedef unsigned long long llu;

enum { LOAD_DOCUMENTS_MAX = 24, LOAD_PAD_SIZE = 150 };

typedef struct loading {
    life_worker *w;
    note *n;
    merle_bulk *bulk;
    plain_state *put;  /* as if each had been inserted by itself */
    int has_duplicate; /* the end has to be refused */
} loading;

static void put_one(loading *g, uint32_t key, plain_doc *doc) {
    life *l = g->w->l;
    uint32_t c = g->n->collection;
    merle_err wanted = plain_doc_check(doc);
    merle_bytes bytes = life_build(g->w, doc);
    g->n->bytes += bytes.size;
    merle_err err = merle_bulk_put(g->bulk, plain_key(key), bytes);
    if (err == MERLE_NO_MEMORY) l->run->totals.refusals[REFUSED_LOAD]++;
    if (err == MERLE_OK && wanted == MERLE_OK) {
        plain_result result;
        plain_op op = {.kind = PLAIN_INSERT, .collection = c, .key = key, .doc = doc};
        plain_apply(g->put, &op, 1, &result);
        g->has_duplicate |= result.errors != 0;
        plain_commit(g->put, &result, 1);
        plain_result_clear(&result);
        if (g->n->loaded[key] == NULL) g->n->loaded[key] = plain_doc_hold(doc);
    } else if (err != wanted && !life_excuses(l, err)) {
        oracle_trouble(oracle_of(l), "a document of a load: %s instead of %s", merle_err_name(err),
                       merle_err_name(wanted));
    }
    plain_doc_release(doc);
}

/* The number of the load, under the worker's own key. */
static void put_marker(loading *g) {
    plain_doc *doc = plain_doc_new();
    g->n->attempt = ++oracle_of(g->w->l)->attempts[g->w->number];
    doc->fields[PLAIN_NUMBER].type = MERLE_TYPE_INT;
    doc->fields[PLAIN_NUMBER].i = g->n->attempt;
    put_one(g, ORACLE_KEY_COUNT + g->w->number, doc);
}

/* Random documents seldom go together: some have no unique values. */
static void put_some(loading *g) {
    life_worker *w = g->w;
    uint64_t count = below(w, LOAD_DOCUMENTS_MAX);
    int is_peaceful = below(w, 4) != 0;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t key = (uint32_t)below(w, ORACLE_KEY_COUNT);
        plain_doc *doc = plain_doc_random(&w->random);
        if (is_peaceful) {
            memset(&doc->fields[PLAIN_NAME], 0, sizeof doc->fields[0]);
            memset(&doc->fields[PLAIN_GUILD], 0, sizeof doc->fields[0]);
        }
        doc->fields[PLAIN_PAD] =
            (plain_value){.type = MERLE_TYPE_STR, .size = (uint32_t)below(w, LOAD_PAD_SIZE)};
        memset(doc->fields[PLAIN_PAD].text, 'p', doc->fields[PLAIN_PAD].size);
        if (is_peaceful && g->n->loaded[key] != NULL)
            plain_doc_release(doc);
        else
            put_one(g, key, doc);
        /* Others go on meanwhile. */
        if (below(w, 2) == 0) sim_point(w->l->s, "load");
    }
}

static void end_load(loading *g) {
    life *l = g->w->l;
    oracle *o = oracle_of(l);
    life_totals *t = &l->run->totals;
    uint64_t seq = 0;
    merle_err err = merle_bulk_end(g->bulk, &seq);
    life_settle(l, g->n, err, seq);
    if (err == MERLE_NO_MEMORY) t->refusals[REFUSED_LOAD]++;
    if (err == MERLE_OK && g->has_duplicate)
        oracle_trouble(o, "a load ends well with two documents of one value");
    if (err != MERLE_OK && !(err == MERLE_EXISTS && g->has_duplicate) && !life_excuses(l, err))
        oracle_trouble(o, "the end of a load: %s", merle_err_name(err));
    t->loads += err == MERLE_OK;
    t->loads_refused += err == MERLE_EXISTS;
    if (err == MERLE_OK) oracle_promise(o, seq);
}

static void fill(loading *g) {
    life *l = g->w->l;
    life_totals *t = &l->run->totals;
    g->put = plain_state_copy(NULL);
    g->put->life[g->n->collection] = PLAIN_ALIVE;
    l->loading = g->n->name;
    t->loads_in_company += ++l->loads_open > 1;
    put_some(g);
    put_marker(g);
    /* Without its marker it could not be told from one that never was. */
    if (g->n->loaded[ORACLE_KEY_COUNT + g->w->number] == NULL || below(g->w, 5) == 0) {
        merle_bulk_cancel(g->bulk);
        life_settle(l, g->n, MERLE_CONFLICT, 0);
        t->loads_cancelled++;
    } else {
        end_load(g);
    }
    l->loads_open--;
    plain_state_free(g->put);
}

void life_load(life_worker *w) {
    life *l = w->l;
    oracle *o = oracle_of(l);
    uint32_t name = below(w, 2) ? NAME_LOADED : below(w, 2) ? NAME_SECOND : NAME_MEMORY;
    if (l->loads_open > 0 && l->loading == name) name = NAME_LOADED + NAME_SECOND - name;
    if (name >= ORACLE_PLAIN_COUNT) name = NAME_LOADED; /* beside one in memory */
    uint32_t c = l->current[name];
    loading g = {.w = w};
    if (c == ORACLE_NONE || l->is_done) return;
    if (w->number == 0 && below(w, 4) != 0) life_define(w, NOTE_TRUNCATE, name);
    uint64_t before = published(l);
    merle_err err = merle_bulk_begin(l->handles[c], &g.bulk);
    if (err == MERLE_NO_MEMORY) l->run->totals.refusals[REFUSED_LOAD]++;
    if (err == MERLE_READ_ONLY) l->is_read_only = 1;
    if (err != MERLE_OK) {
        if (err != MERLE_EXISTS && err != MERLE_BUSY && err != MERLE_GONE && !life_excuses(l, err))
            oracle_trouble(o, "the begin of a load: %s", merle_err_name(err));
        return;
    }
    g.n = oracle_note(o, NOTE_LOAD, w->number, before);
    g.n->collection = c;
    g.n->name = name;
    g.n->loaded = calloc(PLAIN_KEY_COUNT, sizeof *g.n->loaded);
    if (g.n->loaded == NULL) abort();
    fill(&g);
}
