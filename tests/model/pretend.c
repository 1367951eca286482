/* tests/model/pretend.c - the commits and states of a pretended server.
 * SPDX-License-Identifier: Apache-2.0 */
#include "pretend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "pretend_net.h"
#include "wire/bytes.h"

const char *const pretend_names[PRETEND_COLLECTIONS] = {"ants", "bees", "cats"};

merle_bytes pretend_key(uint32_t key) {
    static char keys[PRETEND_KEYS][8];
    (void)snprintf(keys[key], sizeof keys[key], "k%u", key);
    return merle_str(keys[key]);
}

pretend *pretend_create(uint64_t seed) {
    pretend *p = calloc(1, sizeof *p);
    MRL_ASSERT(p != NULL);
    p->commits = calloc(PRETEND_COMMITS, sizeof *p->commits);
    p->states = calloc(PRETEND_COMMITS, sizeof *p->states);
    MRL_ASSERT(p->commits != NULL && p->states != NULL);
    mrl_random_init(&p->random, seed);
    p->now_ns = 1000000000;
    p->database_id[0] = mrl_random_next(&p->random);
    p->database_id[1] = mrl_random_next(&p->random);
    p->term_id = mrl_random_next(&p->random);
    p->next_id = 1;
    p->oldest = 1;
    p->has_news = 1;
    pretend_net_init(p);
    return p;
}

void pretend_destroy(pretend *p) {
    pretend_net_fini(p);
    free(p->commits);
    free(p->states);
    merle_buffer_free(&p->question);
    merle_buffer_free(&p->scratch);
    merle_buffer_free(&p->list);
    merle_buffer_free(&p->batch);
    free(p);
}

int pretend_is_told(const pretend_commit *commit, const pretend_operation *operation) {
    return commit->origin != 3 || operation->kind != MRL_RECORD_PUT;
}

/* ---- documents: {"n": 0 to 255} or {"n": ..., "a": 0 to 255} ---- */

static uint8_t make_document(uint8_t *out, uint8_t n, int has_a, uint8_t a) {
    uint8_t *at = out;
    *at++ = (uint8_t)(MRL_MP_FIXMAP | (has_a ? 2 : 1));
    *at++ = 0xa1;
    *at++ = 'n';
    *at++ = MRL_MP_UINT8;
    *at++ = n;
    if (has_a) {
        *at++ = 0xa1;
        *at++ = 'a';
        *at++ = MRL_MP_UINT8;
        *at++ = a;
    }
    return (uint8_t)(at - out);
}

/* The effect that sets n. */
static uint8_t make_effect(uint8_t *out, uint8_t n) {
    static const uint8_t head[] = {0x91, 0x92, 0x91, 0xa1, 'n', MRL_MP_UINT8};
    memcpy(out, head, sizeof head);
    out[sizeof head] = n;
    return sizeof head + 1;
}

static uint8_t make_definition(uint8_t *out, uint32_t collection, uint32_t id) {
    uint8_t *at = out;
    size_t size = strlen(pretend_names[collection]);
    *at++ = MRL_MP_FIXMAP | 2;
    *at++ = 0xa4;
    memcpy(at, "name", 4);
    at += 4;
    *at++ = (uint8_t)(MRL_MP_FIXSTR | size);
    memcpy(at, pretend_names[collection], size);
    at += size;
    *at++ = 0xa2;
    memcpy(at, "id", 2);
    at = mrl_mp_put_u32(at + 2, id);
    return (uint8_t)(at - out);
}

/* ---- commits ---- */

static uint64_t below(pretend *p, uint64_t limit) {
    return mrl_random_below(&p->random, limit);
}

/* A new commit, and the state before it, to be changed; NULL: the list is full. */
static pretend_commit *begin(pretend *p, pretend_state **out_state) {
    if (p->seq + 1 >= PRETEND_COMMITS) return NULL;
    p->seq++;
    p->states[p->seq] = p->states[p->seq - 1];
    p->commits[p->seq] = (pretend_commit){.origin = 0};
    *out_state = &p->states[p->seq];
    return &p->commits[p->seq];
}

static pretend_operation *add(pretend_commit *commit, uint32_t collection, uint32_t id,
                              mrl_record_kind kind) {
    pretend_operation *o = &commit->operations[commit->count++];
    *o = (pretend_operation){.collection = collection, .id = id, .kind = kind};
    return o;
}

static void put(pretend *p, pretend_operation *o, pretend_doc *doc) {
    o->size = make_document(o->payload, (uint8_t)below(p, 256), below(p, 2) == 0,
                            (uint8_t)below(p, 256));
    o->is_new = doc->size == 0;
    doc->size = o->size;
    doc->seq = p->seq;
    memcpy(doc->bytes, o->payload, o->size);
}

static void change_one(pretend *p, pretend_commit *commit, pretend_state *state, uint32_t c) {
    uint32_t key = (uint32_t)below(p, PRETEND_KEYS);
    pretend_doc *doc = &state->docs[c][key];
    pretend_operation *o = add(commit, c, state->id[c], MRL_RECORD_PUT);
    uint64_t dice = below(p, 8);
    o->key = key;
    if (doc->size == 0 || dice < 2) {
        put(p, o, doc);
    } else if (dice < 6) {
        o->kind = MRL_RECORD_PATCH;
        doc->bytes[4] = (uint8_t)below(p, 256);
        doc->seq = p->seq;
        o->size = make_effect(o->payload, doc->bytes[4]);
    } else {
        o->kind = MRL_RECORD_REMOVE;
        doc->size = 0;
    }
}

static void define(pretend *p, uint32_t c) {
    pretend_state *state;
    pretend_commit *commit = begin(p, &state);
    if (commit == NULL) return;
    if (state->id[c] == 0) state->id[c] = p->next_id++;
    pretend_operation *o = add(commit, c, state->id[c], MRL_RECORD_DEFINE);
    o->size = make_definition(o->payload, c, state->id[c]);
}

void pretend_change(pretend *p) {
    pretend_state *state;
    uint32_t c = (uint32_t)below(p, PRETEND_COLLECTIONS);
    if (p->loading == (int)c + 1) return;
    if (p->states[p->seq].id[c] == 0) {
        define(p, c);
        return;
    }
    pretend_commit *commit = begin(p, &state);
    if (commit == NULL) return;
    uint64_t count = 1 + below(p, PRETEND_OPERATIONS);
    while (count-- > 0) {
        if (below(p, 3) == 0) c = (uint32_t)below(p, PRETEND_COLLECTIONS);
        if (state->id[c] == 0 || p->loading == (int)c + 1) continue;
        change_one(p, commit, state, c);
    }
}

static void empty(pretend_state *state, uint32_t c) {
    memset(state->docs[c], 0, sizeof state->docs[c]);
}

/* One step of a bulk load: it begins, puts, or ends. */
static void load(pretend *p, uint32_t c) {
    pretend_state *state;
    pretend_commit *commit;
    if (p->loading == 0) {
        if ((commit = begin(p, &state)) == NULL) return;
        (void)add(commit, c, state->id[c], MRL_RECORD_TRUNCATE);
        commit->origin = 3;
        empty(state, c);
        p->loading = (int)c + 1;
        memset(&p->load, 0, sizeof p->load);
    }
    c = (uint32_t)p->loading - 1;
    for (uint32_t i = 0; i < 3; i++) {
        if ((commit = begin(p, &state)) == NULL) return;
        commit->origin = 3;
        pretend_operation *o = add(commit, c, state->id[c], MRL_RECORD_PUT);
        o->key = (uint32_t)below(p, PRETEND_KEYS);
        put(p, o, &p->load.docs[c][o->key]);
    }
    if (below(p, 2) == 0 || (commit = begin(p, &state)) == NULL) return;
    commit->origin = 3;
    (void)add(commit, c, state->id[c], MRL_RECORD_LOADED);
    memcpy(state->docs[c], p->load.docs[c], sizeof state->docs[c]);
    p->loading = 0;
}

void pretend_upset(pretend *p) {
    pretend_state *state;
    pretend_commit *commit;
    uint32_t c = (uint32_t)below(p, PRETEND_COLLECTIONS);
    uint64_t dice = below(p, 6);
    if (p->states[p->seq].id[c] == 0 || dice == 0) {
        define(p, c);
        return;
    }
    if (p->loading != 0 || dice < 3) {
        load(p, c);
        return;
    }
    if ((commit = begin(p, &state)) == NULL) return;
    (void)add(commit, c, state->id[c], dice == 3 ? MRL_RECORD_DROP : MRL_RECORD_TRUNCATE);
    empty(state, c);
    if (dice != 3) return;
    state->id[c] = 0;
    if (below(p, 2) == 0) define(p, c);
}

void pretend_reopen(pretend *p, uint64_t lost) {
    if (lost > p->seq) lost = p->seq;
    if (p->term_count == PRETEND_TERMS) {
        memmove(p->terms, p->terms + 1, (PRETEND_TERMS - 1) * sizeof p->terms[0]);
        p->term_count--;
    }
    p->seq -= lost;
    if (p->oldest > p->seq + 1) p->oldest = p->seq + 1;
    p->terms[p->term_count++] = (mrl_wire_term){p->term_id, p->seq};
    /* A term of before that ends later has lost what is behind this end, too. */
    for (uint32_t i = 0; i < p->term_count; i++)
        if (p->terms[i].end > p->seq) p->terms[i].end = p->seq;
    p->term_id = mrl_random_next(&p->random);
    p->loading = 0;
    p->told = p->seq;
    for (uint32_t c = 0; c < PRETEND_COLLECTIONS; c++) p->before[c] = p->seq;
    pretend_net_restart(p, lost > 0);
}

void pretend_wipe(pretend *p) {
    p->database_id[0] = mrl_random_next(&p->random);
    p->term_count = 0;
    p->seq = 0;
    p->oldest = 1;
    p->next_id = 1;
    p->told = 0;
    p->loading = 0;
    p->term_id = mrl_random_next(&p->random);
    memset(p->before, 0, sizeof p->before);
    pretend_net_restart(p, 1);
}

void pretend_trim(pretend *p, uint64_t oldest) {
    if (oldest > p->oldest && oldest <= p->seq + 1) p->oldest = oldest;
}
