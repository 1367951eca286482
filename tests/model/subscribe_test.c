/* tests/model/subscribe_test.c - a subscriber against a pretended server and a nasty network.
 *
 * Aim     Whatever the network loses, doubles, delays or reorders, and however the server is
 *         restarted, trimmed, wiped or robbed of its last commits: each change that is wanted comes
 *         once, in order, nothing else does; at each end of a commit the application's copy is what
 *         the server had then; what cannot be told is said to be missing. In the end the subscriber
 *         is where the server is.
 * Method  Seeds. The oracle is the pretended server's list of commits and states: the next thing
 *         heard must be the next operation of the list that is wanted.
 * Blind   One thread, no real sockets. The server's own handling of positions is as simple as the
 *         page on the protocol has it. Conditions are not among the filters.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "document/patch.h"
#include "pretend.h"
#include "seed.h"
#include "subscribe/subscriber.h"

enum { HEARD_MAX = 8 };

/* The application, and what it expects. */
typedef struct app {
    pretend *p;
    merle_subscriber *s;
    uint64_t seed;
    int all;
    int is_wanted[PRETEND_COLLECTIONS];
    const char *prefix; /* of the first collection; NULL: none */
    int keep;
    int has_publisher;
    pretend_state copy;
    int knows[PRETEND_COLLECTIONS]; /* it had a snapshot, or began where there was nothing */
    uint64_t seq;      /* heard up to here ... */
    uint32_t position; /* ... and so much of the next one */
    int in_snapshot;
    int in_series;     /* of snapshots of one instant */
    int waits;         /* for a snapshot of all: nothing else may come */
    uint64_t changes, snapshots, gaps, resumes, troubles;
    merle_buffer place; /* the position that was kept, ... */
    pretend_state place_copy; /* ... and what the copy was then */
    int place_knows[PRETEND_COLLECTIONS];
    merle_buffer scratch;
} app;

static void fail_at(const app *a, const char *what) {
    printf("# seed %llu: %s (heard up to %llu/%u, the server is at %llu)\n",
           (unsigned long long)a->seed, what, (unsigned long long)a->seq, a->position,
           (unsigned long long)a->p->seq);
    fail();
}

static void expect(const app *a, int truth, const char *what) {
    if (!truth) fail_at(a, what);
}

static uint32_t collection_of(const app *a, const char *name) {
    for (uint32_t c = 0; c < PRETEND_COLLECTIONS; c++)
        if (strcmp(name, pretend_names[c]) == 0) return c;
    fail_at(a, "a collection that there is not");
    return 0;
}

static int has_prefix(const app *a, uint32_t c, merle_bytes key) {
    if (c != 0 || a->prefix == NULL || a->all) return 1;
    size_t size = strlen(a->prefix);
    return key.size >= size && memcmp(key.data, a->prefix, size) == 0;
}

static int is_heard(const app *a, const pretend_commit *commit, const pretend_operation *o) {
    if (!pretend_is_told(commit, o)) return 0;
    if ((!a->all && !a->is_wanted[o->collection]) || !a->knows[o->collection]) return 0;
    return o->kind > MRL_RECORD_REMOVE || has_prefix(a, o->collection, pretend_key(o->key));
}

/* The next operation that should be heard; NULL: there is none yet. */
static const pretend_operation *next_operation(const app *a, uint64_t *out_seq,
                                               uint32_t *out_position) {
    uint32_t i = a->position;
    for (uint64_t seq = a->seq + 1; seq <= a->p->seq; seq++, i = 0) {
        const pretend_commit *commit = &a->p->commits[seq];
        for (; i < commit->count; i++) {
            if (!is_heard(a, commit, &commit->operations[i])) continue;
            *out_seq = seq;
            *out_position = i;
            return &commit->operations[i];
        }
    }
    return NULL;
}

/* ---- the copy ---- */

static uint32_t key_of(const app *a, merle_bytes key) {
    for (uint32_t k = 0; k < PRETEND_KEYS; k++) {
        merle_bytes there = pretend_key(k);
        if (there.size == key.size && memcmp(there.data, key.data, key.size) == 0) return k;
    }
    fail_at(a, "a key that there is not");
    return 0;
}

static void set_doc(pretend_doc *doc, const void *data, size_t size, uint64_t seq) {
    assert_true(size > 0 && size <= PRETEND_DOCUMENT_MAX);
    doc->size = (uint8_t)size;
    doc->seq = seq;
    memcpy(doc->bytes, data, size);
}

static void expect_doc(const app *a, const pretend_doc *doc, merle_doc heard, const char *what) {
    expect(a, heard.size == doc->size, what);
    expect(a, doc->size == 0 || memcmp(heard.data, doc->bytes, doc->size) == 0, what);
}

static void apply(app *a, const merle_heard *h, const pretend_operation *o) {
    uint32_t c = o->collection;
    pretend_doc *doc = &a->copy.docs[c][o->key];
    if (a->keep && o->kind <= MRL_RECORD_REMOVE)
        expect_doc(a, doc, h->before, "before is not what was there");
    switch (o->kind) {
        case MRL_RECORD_PUT:
            expect(a, h->kind == (o->is_new ? MERLE_HEARD_INSERT : MERLE_HEARD_UPDATE), "kind");
            set_doc(doc, h->after.data, h->after.size, h->seq);
            expect(a, o->size == doc->size && memcmp(o->payload, doc->bytes, o->size) == 0, "put");
            break;
        case MRL_RECORD_PATCH:
            expect(a, h->kind == MERLE_HEARD_UPDATE && h->effect.size == o->size, "kind of patch");
            expect(a, doc->size > 0, "a patch of nothing");
            assert_int_equal(
                mrl_effect_apply(doc->bytes, doc->size, h->effect, &a->scratch, NULL), MERLE_OK);
            set_doc(doc, a->scratch.data, a->scratch.size, h->seq);
            if (a->keep) expect_doc(a, doc, h->after, "after");
            break;
        case MRL_RECORD_REMOVE:
            expect(a, h->kind == MERLE_HEARD_REMOVE, "kind of remove");
            doc->size = 0;
            break;
        case MRL_RECORD_DEFINE:
            expect(a, h->kind == MERLE_HEARD_DEFINE && h->collection_id == o->id, "define");
            a->copy.id[c] = o->id;
            break;
        case MRL_RECORD_LOADED:
            expect(a, h->kind == MERLE_HEARD_LOADED, "loaded");
            a->knows[c] = 0;
            break;
        default:
            expect(a, h->kind == (o->kind == MRL_RECORD_DROP ? MERLE_HEARD_DROP
                                                             : MERLE_HEARD_TRUNCATE),
                   "truncate or drop");
            if (o->kind == MRL_RECORD_DROP) a->copy.id[c] = 0;
            memset(a->copy.docs[c], 0, sizeof a->copy.docs[c]);
            break;
    }
}

/* The copy is what the server had at this commit. */
static void compare(const app *a, uint64_t seq) {
    const pretend_state *truth = &a->p->states[seq];
    for (uint32_t c = 0; c < PRETEND_COLLECTIONS; c++) {
        if ((!a->all && !a->is_wanted[c]) || !a->knows[c]) continue;
        for (uint32_t k = 0; k < PRETEND_KEYS; k++) {
            const pretend_doc *mine = &a->copy.docs[c][k], *theirs = &truth->docs[c][k];
            if (!has_prefix(a, c, pretend_key(k))) continue;
            expect(a, mine->size == theirs->size && memcmp(mine->bytes, theirs->bytes,
                                                           mine->size) == 0,
                   "the copy differs");
        }
    }
}

typedef struct walk {
    const app *a;
    uint32_t c;
    uint32_t count;
} walk;

static int see_kept(void *context, merle_bytes key, merle_doc doc) {
    walk *w = context;
    expect_doc(w->a, &w->a->copy.docs[w->c][key_of(w->a, key)], doc, "what is kept differs");
    w->count++;
    return 0;
}

static void compare_kept(const app *a) {
    for (uint32_t c = 0; c < PRETEND_COLLECTIONS; c++) {
        walk w = {a, c, 0};
        uint32_t count = 0;
        if (!a->is_wanted[c] || !a->knows[c]) continue;
        assert_int_equal(merle_subscriber_each(a->s, pretend_names[c], see_kept, &w), MERLE_OK);
        for (uint32_t k = 0; k < PRETEND_KEYS; k++) count += a->copy.docs[c][k].size > 0;
        expect(a, count == w.count, "there are others kept");
    }
}

/* ---- hearing ---- */

static void hear_change(app *a, const merle_heard *h) {
    uint64_t seq = 0;
    uint32_t position = 0;
    const pretend_operation *o = next_operation(a, &seq, &position);
    expect(a, !a->waits && !a->in_snapshot, "a change amid a snapshot");
    expect(a, o != NULL, "a change that there is not");
    if (h->seq != seq || h->position != position)
        printf("# expected %llu/%u of %s\n", (unsigned long long)seq, position,
               pretend_names[o->collection]);
    expect(a, h->seq == seq && h->position == position, "not the next change");
    expect(a, h->count == a->p->commits[seq].count, "count");
    expect(a, strcmp(h->collection, pretend_names[o->collection]) == 0, "collection");
    if (o->kind <= MRL_RECORD_REMOVE) expect(a, key_of(a, h->key) == o->key, "key");
    apply(a, h, o);
    a->changes++;
    a->seq = seq - 1;
    a->position = position + 1;
}

static void hear_snapshot(app *a, const merle_heard *h) {
    uint32_t c = h->collection == NULL ? 0 : collection_of(a, h->collection);
    if (h->kind == MERLE_HEARD_SNAPSHOT_BEGIN) {
        expect(a, !a->in_snapshot, "a snapshot in a snapshot");
        a->in_snapshot = 1;
        uint64_t seq = 0;
        uint32_t position;
        expect(a, a->waits || a->in_series || next_operation(a, &seq, &position) == NULL ||
                      seq > h->seq,
               "a snapshot that goes ahead of changes of other collections");
        a->in_series = 1;
        if (h->collection == NULL) return;
        memset(a->copy.docs[c], 0, sizeof a->copy.docs[c]);
        a->copy.id[c] = h->collection_id;
        return;
    }
    expect(a, a->in_snapshot, "part of a snapshot that did not begin");
    if (h->kind == MERLE_HEARD_DOCUMENT) {
        pretend_doc *doc = &a->copy.docs[c][key_of(a, h->key)];
        expect(a, doc->size == 0, "a document that comes twice");
        expect(a, has_prefix(a, c, h->key), "a document that is not wanted");
        set_doc(doc, h->after.data, h->after.size, h->after.seq);
        return;
    }
    a->in_snapshot = 0;
    a->knows[c] = 1;
    if (!h->ends) return;
    expect(a, a->waits || h->seq >= a->seq, "a snapshot of the past");
    if (a->all)
        for (c = 0; c < PRETEND_COLLECTIONS; c++) a->knows[c] = 1;
    a->snapshots++;
    a->in_series = 0;
    a->waits = 0;
    a->seq = h->seq;
    a->position = 0;
    expect(a, h->seq <= a->p->seq, "a snapshot of what is gone");
}

static void hear_end(app *a, const merle_heard *h, int is_last) {
    if (a->position > 0 || h->seq > a->seq) a->seq = h->seq;
    a->position = 0;
    if (h->seq <= a->p->seq) compare(a, h->seq);
    if (!is_last) return;
    if (a->keep) compare_kept(a);
    merle_err err = merle_subscriber_position(a->s, &a->place);
    if (err == MERLE_NOT_READY) return;
    assert_int_equal(err, MERLE_OK);
    a->place_copy = a->copy;
    memcpy(a->place_knows, a->knows, sizeof a->knows);
}

static void hear(app *a, const merle_heard *h, int is_last) {
    if (getenv("HEAR_TRACE") != NULL)
        printf("# kind %d reason %d err %d ends %u seq %llu/%u of %u, %s, %s\n", h->kind, h->reason, h->err,
               h->ends, (unsigned long long)h->seq, h->position, h->count, h->collection, h->text);
    switch (h->kind) {
        case MERLE_HEARD_CONNECTED:
        case MERLE_HEARD_DISCONNECTED: break;
        case MERLE_HEARD_TROUBLE: a->troubles++; break;
        case MERLE_HEARD_GAP:
            a->gaps++;
            expect(a, h->reason != MERLE_REASON_DIFFERS, "a change did not fit");
            if (h->collection == NULL) a->waits = 1;
            if (h->collection == NULL) memset(a->knows, 0, sizeof a->knows);
            else a->knows[collection_of(a, h->collection)] = 0;
            a->place.size = 0;
            break;
        case MERLE_HEARD_SNAPSHOT_BEGIN:
        case MERLE_HEARD_DOCUMENT:
        case MERLE_HEARD_SNAPSHOT_END: hear_snapshot(a, h); break;
        case MERLE_HEARD_END: break;
        default: hear_change(a, h); break;
    }
    if (h->ends) hear_end(a, h, is_last);
}

static void turn(app *a, size_t heard_max) {
    merle_heard heard[HEARD_MAX];
    size_t count = mrl_subscriber_next(a->s, heard, heard_max);
    for (size_t i = 0; i < count; i++) hear(a, &heard[i], i + 1 == count);
    const char *wrong = mrl_subscriber_check(a->s);
    if (wrong != NULL) fail_at(a, wrong);
}

/* ---- a run ---- */

static void open_subscriber(app *a, int resumes) {
    merle_wanted wanted[PRETEND_COLLECTIONS];
    merle_subscriber_options o = {.service = "pretend://service",
                                  .wanted = wanted,
                                  .keep = (uint32_t)a->keep,
                                  .wait_ms = 300,
                                  .answer_ms = 200,
                                  .early_max = 4096};
    mrl_subscriber_seams seams = {.net = &a->p->net, .clock = &a->p->clock, .seed = a->seed};
    for (uint32_t c = 0; c < PRETEND_COLLECTIONS && !a->all; c++) {
        if (!a->is_wanted[c]) continue;
        merle_wanted *w = &wanted[o.wanted_count++];
        *w = (merle_wanted){.collection = pretend_names[c]};
        if (c == 0 && a->prefix != NULL) w->prefix = merle_str(a->prefix);
    }
    if (a->has_publisher) o.publisher = "pretend://publisher";
    if (resumes) o.position = merle_bytes_of(a->place.data, a->place.size);
    a->waits = !resumes;
    a->in_snapshot = 0;
    a->in_series = 0;
    assert_int_equal(mrl_subscriber_open(&o, &seams, &a->s, NULL), MERLE_OK);
}

/* The application ends, and goes on where it had written down that it was. */
static void resume(app *a) {
    mrl_subscriber_close(a->s);
    a->copy = a->place_copy;
    memcpy(a->knows, a->place_knows, sizeof a->knows);
    a->seq = mrl_load_u64(a->place.data + 32);
    a->position = mrl_load_u32(a->place.data + 40);
    a->resumes++;
    open_subscriber(a, 1);
}

/* Hears all that has come already, and nothing more of the network. */
static void drain(app *a) {
    merle_heard heard[HEARD_MAX];
    size_t count;
    a->p->is_blocked = 1;
    do {
        count = mrl_subscriber_next(a->s, heard, HEARD_MAX);
        for (size_t i = 0; i < count; i++) hear(a, &heard[i], i + 1 == count);
    } while (count > 0);
    a->p->is_blocked = 0;
}

static uint64_t below(app *a, uint64_t limit) {
    return mrl_random_below(&a->p->random, limit);
}

/* Something that befalls the server. */
static void befall(app *a) {
    uint64_t dice = below(a, 1000);
    if (dice < 300) pretend_change(a->p);
    if (dice >= 300 && dice < 312) pretend_upset(a->p);
    if (dice == 320) pretend_reopen(a->p, 0);
    if (dice == 321) {
        drain(a);
        pretend_reopen(a->p, below(a, 6));
    }
    if (dice == 322 && below(a, 4) == 0) {
        drain(a);
        pretend_wipe(a->p);
    }
    if (dice == 323) pretend_trim(a->p, a->p->seq - below(a, 20) % (a->p->seq + 1));
    if (dice == 324) a->p->is_silent = !a->p->is_silent;
    if (dice == 325 && a->place.size > 0 && !a->keep) resume(a);
    if (dice == 326) pretend_advance(a->p, 4000000000u);
}

static void set_faults(app *a) {
    static const uint32_t rates[] = {0, 5, 20, 100};
    pretend_faults *f = &a->p->faults;
    f->lose_one_in = rates[below(a, 4)];
    f->double_one_in = rates[below(a, 4)];
    f->reorder_one_in = rates[below(a, 4)];
    f->break_one_in = rates[below(a, 4)];
    f->nonsense_one_in = rates[below(a, 2) * 3];
    f->token_one_in = rates[below(a, 2) * 3];
    f->busy_one_in = rates[below(a, 2) * 3];
    f->large_one_in = rates[below(a, 4)];
    f->delay_max_ns = below(a, 3) * 20000000;
}

/* Until the subscriber is where the server is, and has nothing more to say. */
static void settle(app *a) {
    merle_subscriber_stats stats = {0};
    a->p->faults = (pretend_faults){.lose_one_in = 0};
    a->p->is_silent = 0;
    for (int i = 0; i < 4000; i++) {
        pretend_advance(a->p, 10000000);
        turn(a, HEARD_MAX);
        (void)merle_subscriber_get_stats(a->s, &stats);
        if (i > 700 && stats.seq == a->p->seq && !a->waits && !a->in_snapshot) break;
    }
    expect(a, stats.seq == a->p->seq && !a->waits, "it does not catch up");
    a->seq = a->p->seq;
    a->position = 0;
    for (uint32_t c = 0; c < PRETEND_COLLECTIONS; c++)
        expect(a, a->knows[c] || (!a->is_wanted[c] && !a->all), "a snapshot is missing");
    compare(a, a->p->seq);
    if (a->keep) compare_kept(a);
}

static void run(uint64_t seed, app *total) {
    app *a = calloc(1, sizeof *a);
    assert_non_null(a);
    a->seed = seed;
    a->p = pretend_create(seed);
    a->all = below(a, 4) == 0;
    a->keep = below(a, 2) == 0;
    a->has_publisher = below(a, 4) != 0;
    a->p->has_news = below(a, 5) != 0;
    if (below(a, 5) == 0) a->prefix = "k1";
    for (uint32_t c = 0; c < PRETEND_COLLECTIONS; c++) a->is_wanted[c] = below(a, 2) == 0;
    a->is_wanted[below(a, PRETEND_COLLECTIONS)] = 1;
    set_faults(a);
    for (int i = 0; i < 30; i++) pretend_change(a->p);
    open_subscriber(a, 0);
    for (int i = 0; i < 3000; i++) {
        befall(a);
        pretend_advance(a->p, below(a, 5000000));
        if (below(a, 4) != 0) turn(a, 1 + below(a, HEARD_MAX));
    }
    settle(a);
    total->changes += a->changes;
    total->snapshots += a->snapshots;
    total->gaps += a->gaps;
    total->resumes += a->resumes;
    total->troubles += a->troubles;
    mrl_subscriber_close(a->s);
    pretend_destroy(a->p);
    merle_buffer_free(&a->place);
    merle_buffer_free(&a->scratch);
    free(a);
}

static void any_harm_leaves_each_change_once_and_in_order(void **state) {
    uint64_t first = test_seed();
    app total = {0};
    (void)state;
    test_seed_print();
    for (uint64_t i = 0; i < test_amount(300); i++) run(first + i, &total);
    test_say("%llu changes, %llu snapshots, %llu gaps, %llu resumes, %llu troubles",
             (unsigned long long)total.changes, (unsigned long long)total.snapshots,
             (unsigned long long)total.gaps, (unsigned long long)total.resumes,
             (unsigned long long)total.troubles);
    assert_true(total.changes > 0 && total.snapshots > 0 && total.gaps > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_harm_leaves_each_change_once_and_in_order)};
    return cmocka_run_group_tests_name("subscribe", tests, NULL, NULL);
}
