/* tests/crash/history.c - what commits have changed, held against what cursors give.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/crash/history.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "document/patch.h"

typedef unsigned long long llu;

/* ---- what was done ---- */

history *history_create(void) {
    history *h = calloc(1, sizeof *h);
    if (h == NULL) abort();
    return h;
}

static void forget(history_commit *c) {
    for (uint32_t i = 0; i < c->change_count; i++) {
        plain_doc_release(c->changes[i].before);
        plain_doc_release(c->changes[i].after);
    }
    memset(c, 0, sizeof *c);
}

void history_destroy(history *h) {
    for (size_t i = 0; i < HISTORY_MAX; i++) forget(&h->commits[i]);
    free(h);
}

history_commit *history_put(history *h, uint64_t seq) {
    history_commit *c = &h->commits[seq % HISTORY_MAX];
    forget(c);
    c->seq = seq;
    return c;
}

void history_go_back(history *h, uint64_t seq) {
    for (size_t i = 0; i < HISTORY_MAX; i++)
        if (h->commits[i].seq > seq) forget(&h->commits[i]);
    h->last_seq = seq;
}

uint64_t history_sum(uint32_t key, const plain_doc *doc) {
    return mrl_mix_u64(plain_doc_hash(doc) ^ (uint64_t)key << 32);
}

static const history_commit *find(const history *h, uint64_t seq) {
    const history_commit *c = &h->commits[seq % HISTORY_MAX];
    return c->seq == seq && seq != 0 ? c : NULL;
}

/* Whether the history says all that there is to say of a seq. */
static int is_known(const history *h, uint64_t seq) {
    return seq <= h->last_seq && seq + HISTORY_MAX > h->last_seq;
}

/* ---- following ---- */

__attribute__((format(printf, 2, 3))) static int wrong(follower *f, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(f->trouble, sizeof f->trouble, format, arguments);
    va_end(arguments);
    return -1;
}

void follower_begin(follower *f, uint64_t after_seq) {
    *f = (follower){.builder = f->builder, .checked = f->checked};
    f->seq = f->after_seq = after_seq;
}

static uint32_t persistent_count(const history_commit *c) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->change_count; i++) count += c->changes[i].is_memory == 0;
    return count;
}

/* Nothing more of the commit comes. */
static int end_commit(follower *f, const history *h) {
    const history_commit *c = find(h, f->seq);
    if (c == NULL || !f->was_known || !is_known(h, f->seq)) return 0;
    if (c->kind != MERLE_CHANGE_PUT) return 0;
    if (f->met == persistent_count(c)) return 0;
    return wrong(f, "a cursor gave %u of %u changes of seq %llu", f->met, persistent_count(c),
                 (llu)f->seq);
}

/* From one commit to a later one: those between must have had nothing for files. */
static int go_to(follower *f, const history *h, uint64_t seq) {
    if (end_commit(f, h) != 0) return -1;
    for (uint64_t at = f->seq + 1; at < seq; at++) {
        const history_commit *c = find(h, at);
        if (c != NULL && is_known(h, at) && persistent_count(c) > 0)
            return wrong(f, "a cursor left out seq %llu", (llu)at);
    }
    f->seq = seq;
    f->met = f->given = 0;
    f->was_known = is_known(h, seq);
    return 0;
}

int follower_gap(follower *f, uint64_t first, uint64_t last) {
    if (first != f->seq + 1 && first <= f->seq)
        return wrong(f, "a gap from %llu on, seq %llu was given", (llu)first, (llu)f->seq);
    if (last < first) return wrong(f, "a gap from %llu to %llu", (llu)first, (llu)last);
    follower_begin(f, last);
    return 0;
}

int follower_reach(follower *f, const history *h, uint64_t position) {
    if (position < f->seq)
        return wrong(f, "a cursor is at %llu, seq %llu was given", (llu)position, (llu)f->seq);
    if (go_to(f, h, position + 1) != 0) return -1;
    f->seq = f->after_seq = position;
    f->was_known = 0;
    return 0;
}

/* ---- one change ---- */

static uint64_t *sum_of(follower *f, uint32_t collection_id) {
    for (size_t i = 0; i < FOLLOWER_LOAD_MAX; i++)
        if (f->loads[i].collection_id == collection_id) return &f->loads[i].sum;
    return NULL;
}

static void begin_load(follower *f, uint32_t collection_id) {
    uint64_t *sum = sum_of(f, collection_id);
    for (size_t i = 0; i < FOLLOWER_LOAD_MAX && sum == NULL; i++)
        if (f->loads[i].collection_id == 0) {
            f->loads[i].collection_id = collection_id;
            sum = &f->loads[i].sum;
        }
    if (sum != NULL) *sum = 0;
}

/* A document of a bulk load. */
static int take_loaded(follower *f, const merle_change *change) {
    plain_doc doc;
    uint32_t key = plain_key_find(change->key);
    uint64_t *sum = sum_of(f, change->collection_id);
    if (change->kind != MERLE_CHANGE_PUT || key == PLAIN_KEY_COUNT ||
        plain_doc_parse(change->after, &doc) != 0)
        return wrong(f, "seq %llu, of a load, has something else", (llu)change->seq);
    if (sum != NULL) *sum += history_sum(key, &doc);
    return 0;
}

/* What the database does by itself. */
static int take_own(follower *f, const merle_change *change) {
    int is_of_document = change->kind == MERLE_CHANGE_PUT || change->kind == MERLE_CHANGE_PATCH ||
                         change->kind == MERLE_CHANGE_REMOVE;
    if (!is_of_document) return 0;
    if (change->origin == MERLE_ORIGIN_EXPIRY && change->kind == MERLE_CHANGE_REMOVE) return 0;
    return wrong(f, "seq %llu, which nobody has, changes a document (kind %d, origin %d)",
                 (llu)change->seq, (int)change->kind, (int)change->origin);
}

/* What the document is after it. 0: none; 1: it is told wrongly. */
static uint64_t hash_after(follower *f, const merle_change *change, const plain_doc *before) {
    merle_buffer made = {0};
    plain_doc doc;
    merle_doc after = change->after;
    if (change->kind == MERLE_CHANGE_REMOVE) return 0;
    if (change->kind == MERLE_CHANGE_PATCH) {
        if (before == NULL) return 1;
        merle_bytes bytes = plain_doc_build(before, f->builder);
        if (mrl_effect_apply(bytes.data, bytes.size, change->effect, &made, NULL) != MERLE_OK)
            return 1;
        after = (merle_doc){made.data, made.size, change->seq, NULL};
    }
    uint64_t hash = plain_doc_parse(after, &doc) != 0 ? 1 : plain_doc_hash(&doc);
    merle_buffer_free(&made);
    return hash;
}

static int take_session(follower *f, const history_commit *c, const merle_change *change) {
    char wanted[16];
    (void)snprintf(wanted, sizeof wanted, "session-%u", c->session);
    if (change->key.size != strlen(wanted) || memcmp(change->key.data, wanted, strlen(wanted)) != 0)
        return wrong(f, "seq %llu changes another session", (llu)change->seq);
    if (change->kind == MERLE_CHANGE_PUT && change->expires_ns == c->session_expires_ns) return 0;
    /* One that was due when the commit ended leaves nothing. */
    if (change->kind == MERLE_CHANGE_REMOVE && change->time_ns >= c->session_expires_ns) return 0;
    return wrong(f, "seq %llu: a session ends at %lld instead of %lld", (llu)change->seq,
                 (long long)change->expires_ns, (long long)c->session_expires_ns);
}

static int take_known(follower *f, const history_commit *c, const merle_change *change) {
    if (c->sessions_id != 0 && change->collection_id == c->sessions_id)
        return take_session(f, c, change);
    uint32_t key = plain_key_find(change->key);
    for (uint32_t i = 0; i < c->change_count; i++) {
        const history_change *wanted = &c->changes[i];
        if (wanted->collection_id != change->collection_id || wanted->key != key) continue;
        f->met += wanted->is_memory == 0;
        uint64_t hash = wanted->after == NULL ? 0 : plain_doc_hash(wanted->after);
        if (hash_after(f, change, wanted->before) == hash) return 0;
        return wrong(f, "seq %llu: key %u of collection %u is something else (kind %d)",
                     (llu)change->seq, key, change->collection_id, (int)change->kind);
    }
    return wrong(f, "seq %llu did not change key %u of collection %u (kind %d)", (llu)change->seq,
                 key, change->collection_id, (int)change->kind);
}

static int take_definition(follower *f, const history_commit *c, const merle_change *change) {
    if (change->kind != c->kind || change->collection_id != c->collection_id)
        return wrong(f, "seq %llu is of kind %d instead of %d", (llu)change->seq, (int)change->kind,
                     (int)c->kind);
    uint64_t *sum = sum_of(f, change->collection_id);
    if (c->kind != MERLE_CHANGE_LOADED || c->loaded == 0) return 0;
    if (sum == NULL || *sum == c->loaded) return 0;
    return wrong(f, "seq %llu ends another load than it was", (llu)change->seq);
}

int follower_take(follower *f, const history *h, const merle_change *change) {
    if (change->seq < f->seq || change->seq <= f->after_seq)
        return wrong(f, "seq %llu comes after %llu", (llu)change->seq, (llu)f->seq);
    if (change->seq != f->seq && go_to(f, h, change->seq) != 0) return -1;
    if (change->count <= f->given)
        return wrong(f, "seq %llu has more than %u changes", (llu)change->seq, change->count);
    f->given++;
    const history_commit *c = find(h, change->seq);
    if (change->origin == MERLE_ORIGIN_LOAD && change->kind == MERLE_CHANGE_TRUNCATE)
        begin_load(f, change->collection_id);
    else if (change->origin == MERLE_ORIGIN_LOAD && change->kind != MERLE_CHANGE_LOADED)
        return take_loaded(f, change);
    if (!is_known(h, change->seq)) return 0;
    f->checked++;
    if (c == NULL) return take_own(f, change);
    return c->kind == MERLE_CHANGE_PUT ? take_known(f, c, change) : take_definition(f, c, change);
}
