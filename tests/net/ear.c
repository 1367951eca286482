/* tests/net/ear.c - what is heard, against the log.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/net/ear.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/seam.h"

typedef unsigned long long llu;

/* ---- hearing ---- */

static uint64_t hash_of(const void *data, size_t size) {
    const uint8_t *bytes = data;
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash | 1;
}

void ear_open(ear *e, const merle_subscriber_options *options) {
    merle_subscriber_options own = *options;
    merle_report report = {0};
    if (own.answer_ms == 0) own.answer_ms = 700;
    if (own.wait_ms == 0) own.wait_ms = 300;
    if (own.silence_ms == 0) own.silence_ms = 1500;
    if (merle_subscriber_open(&own, &e->s, &report) != MERLE_OK) fail_msg("%s", report.message);
}

void ear_close(ear *e) {
    merle_subscriber_close(e->s);
    free(e->notes);
    *e = (ear){0};
}

void ear_note_add(ear *e, const merle_heard *heard) {
    if (e->count == e->room) {
        e->room = e->room == 0 ? 1024 : 2 * e->room;
        e->notes = realloc(e->notes, e->room * sizeof *e->notes);
        assert_non_null(e->notes);
    }
    e->notes[e->count++] = (ear_note){
        .seq = heard->seq,
        .position = heard->position,
        .id = heard->collection_id,
        .kind = heard->kind,
        .reason = heard->reason,
        .key = heard->key.size == 0 ? 0 : hash_of(heard->key.data, heard->key.size),
        .after = heard->after.data == NULL ? 0 : hash_of(heard->after.data, heard->after.size)};
    if (heard->kind == MERLE_HEARD_GAP) e->gaps++;
    if (heard->kind == MERLE_HEARD_CONNECTED) e->connects++;
    if (heard->kind == MERLE_HEARD_SNAPSHOT_END) e->snapshots++;
    if (heard->kind == MERLE_HEARD_TROUBLE) {
        e->troubles++;
        (void)snprintf(e->trouble, sizeof e->trouble, "%s: %s", merle_err_name(heard->err),
                       heard->text);
    }
}

size_t ear_drain(ear *e) {
    merle_heard heard[64];
    size_t count = 0, all = 0;
    do {
        assert_int_equal(merle_subscriber_next(e->s, heard, 64, &count), MERLE_OK);
        for (size_t i = 0; i < count; i++) ear_note_add(e, &heard[i]);
        all += count;
    } while (count > 0);
    return all;
}

static uint64_t now_ns(void) {
    return mrl_clock_system.monotonic_ns(mrl_clock_system.context);
}

void ear_wait(ear *e, unsigned ms) {
    merle_err err = merle_subscriber_wait(e->s, ms * 1000000ull);
    assert_true(err == MERLE_OK || err == MERLE_BUSY);
}

void ear_say(const ear *e) {
    merle_subscriber_stats stats = {0};
    (void)merle_subscriber_get_stats(e->s, &stats);
    print_message(
        "# heard up to %llu, newest %llu; %llu snapshots, %llu gaps, connected %u (%llu "
        "times), live %u, %llu questions, %llu refused, %llu rejected, %llu messages, "
        "last trouble: %s\n",
        (llu)stats.seq, (llu)stats.newest, (llu)stats.snapshots, (llu)stats.gaps,
        stats.is_connected, (llu)e->connects, stats.is_live, (llu)stats.questions,
        (llu)stats.refused, (llu)stats.rejected, (llu)stats.messages, e->trouble);
}

/* While a snapshot is under way there is no position. */
static int is_whole(const ear *e) {
    merle_buffer position = {0};
    merle_err err = merle_subscriber_position(e->s, &position);
    merle_buffer_free(&position);
    return err == MERLE_OK;
}

int ear_until(ear *e, uint64_t seq, unsigned patience_s) {
    uint64_t until_ns = now_ns() + patience_s * 1000000000ull;
    merle_subscriber_stats stats = {0};
    for (;;) {
        size_t heard = ear_drain(e);
        (void)merle_subscriber_get_stats(e->s, &stats);
        if (stats.seq >= seq && heard == 0 && is_whole(e)) return 1;
        if (now_ns() > until_ns) break;
        ear_wait(e, 100);
    }
    ear_say(e);
    print_message("# wanted: up to %llu\n", (llu)seq);
    return 0;
}

/* ---- the log ---- */

typedef struct record {
    ear_note *notes; /* what should be heard of it */
    size_t count, room;
} record;

/* What a change is heard as; 0: it is not. */
static uint32_t heard_as(const merle_change *c) {
    /* A load, and the truncate before it, are told by LOADED and a snapshot. */
    if (c->origin == MERLE_ORIGIN_LOAD && c->kind != MERLE_CHANGE_LOADED) return 0;
    switch (c->kind) {
    case MERLE_CHANGE_PUT:
        return c->is_new ? MERLE_HEARD_INSERT : MERLE_HEARD_UPDATE;
    case MERLE_CHANGE_PATCH:
        return MERLE_HEARD_UPDATE;
    case MERLE_CHANGE_REMOVE:
        return c->origin == MERLE_ORIGIN_EXPIRY ? MERLE_HEARD_EXPIRE : MERLE_HEARD_REMOVE;
    case MERLE_CHANGE_DEFINE:
        return MERLE_HEARD_DEFINE;
    case MERLE_CHANGE_TRUNCATE:
        return MERLE_HEARD_TRUNCATE;
    case MERLE_CHANGE_DROP:
        return MERLE_HEARD_DROP;
    case MERLE_CHANGE_LOADED:
        return MERLE_HEARD_LOADED;
    case MERLE_CHANGE_SEQUENCE:
        break;
    }
    return 0;
}

static void record_add(record *r, const merle_change *c) {
    uint32_t kind = heard_as(c);
    if (kind == 0) return;
    assert_true(c->collection_id < EAR_IDS);
    if (r->count == r->room) {
        r->room = r->room == 0 ? 1024 : 2 * r->room;
        r->notes = realloc(r->notes, r->room * sizeof *r->notes);
        assert_non_null(r->notes);
    }
    int has_document = c->kind == MERLE_CHANGE_PUT && c->after.data != NULL;
    r->notes[r->count++] =
        (ear_note){.seq = c->seq,
                   .position = c->position,
                   .id = c->collection_id,
                   .kind = kind,
                   .key = c->key.size == 0 ? 0 : hash_of(c->key.data, c->key.size),
                   .after = has_document ? hash_of(c->after.data, c->after.size) : 0};
}

static void record_read(record *r, merle_db *db) {
    merle_changes_options options = {.after_seq = 0};
    merle_changes *changes;
    merle_change some[64];
    size_t count = 0;
    assert_int_equal(merle_changes_open(db, &options, &changes), MERLE_OK);
    do {
        assert_int_equal(merle_changes_next(changes, some, 64, &count), MERLE_OK);
        for (size_t i = 0; i < count; i++) record_add(r, &some[i]);
    } while (count > 0);
    merle_changes_close(changes);
}

/* ---- the judge ---- */

static int complain(const char *what, const ear_note *heard, const ear_note *logged) {
    static const ear_note none;
    if (heard == NULL) heard = &none;
    if (logged == NULL) logged = &none;
    print_message("# %s: heard %llu/%u kind %u collection %u, in the log %llu/%u kind %u\n", what,
                  (llu)heard->seq, heard->position, heard->kind, heard->id, (llu)logged->seq,
                  logged->position, logged->kind);
    return 0;
}

/* The next of this collection in the log, from `at` on. */
static size_t record_next(const record *r, uint32_t id, size_t at) {
    while (at < r->count && r->notes[at].id != id) at++;
    return at;
}

static int is_change(uint32_t kind) {
    return kind >= MERLE_HEARD_INSERT && kind <= MERLE_HEARD_LOADED;
}

/* One collection. *out_judged counts what was compared. */
static int judge_one(const ear *e, const record *r, uint32_t id, uint64_t *judged) {
    size_t at = record_next(r, id, 0);
    int is_known = 0;
    uint64_t seq = 0;
    for (size_t i = 0; i < e->count; i++) {
        const ear_note *h = &e->notes[i];
        if (h->id != id) continue;
        if (h->kind == MERLE_HEARD_SNAPSHOT_END) {
            if (h->seq < seq) return complain("a snapshot goes back", h, NULL);
            for (at = 0; at < r->count && r->notes[at].seq <= h->seq;) at++;
            at = record_next(r, id, at);
            is_known = 1;
        }
        if (!is_change(h->kind)) continue;
        if (at == r->count) return complain("never committed", h, NULL);
        const ear_note *l = &r->notes[at];
        if (h->seq != l->seq || h->position != l->position || h->kind != l->kind ||
            h->key != l->key || (l->after != 0 && h->after != 0 && h->after != l->after))
            return complain("not in order, or not what was done", h, l);
        seq = h->seq;
        at = record_next(r, id, at + 1);
        is_known = 1;
        ++*judged;
    }
    if (is_known && at < r->count) return complain("not heard", NULL, &r->notes[at]);
    return 1;
}

int ear_judge(const ear *e, merle_db *db) {
    record r = {0};
    int is_right = 1;
    uint64_t judged = 0;
    record_read(&r, db);
    for (uint32_t id = 0; id < EAR_IDS && is_right; id++) is_right = judge_one(e, &r, id, &judged);
    if (is_right && judged == 0) is_right = complain("nothing was compared", NULL, NULL);
    free(r.notes);
    return is_right;
}

/* ---- the copy ---- */

typedef struct comparing {
    merle_section *section;
    merle_collection *collection;
    uint64_t count;
    int differs;
} comparing;

static int compare_one(void *context, merle_bytes key, merle_doc kept) {
    comparing *c = context;
    merle_doc doc;
    c->count++;
    if (merle_get(c->section, c->collection, key, &doc) != MERLE_OK || doc.size != kept.size ||
        memcmp(doc.data, kept.data, doc.size) != 0) {
        print_message("# %s: %.*s differs\n", merle_collection_name(c->collection), (int)key.size,
                      (const char *)key.data);
        c->differs = 1;
    }
    return c->differs;
}

typedef struct equality {
    const ear *e;
    merle_section section;
    int differs;
} equality;

static int compare_collection(void *context, merle_collection *collection) {
    equality *q = context;
    comparing c = {.section = &q->section, .collection = collection};
    const char *name = merle_collection_name(collection);
    uint64_t count = 0;
    merle_err err = merle_subscriber_each(q->e->s, name, compare_one, &c);
    assert_int_equal(merle_count(&q->section, collection, &count), MERLE_OK);
    if (err != MERLE_OK || c.count != count) {
        print_message("# %s has %llu documents, %llu are kept\n", name, (llu)count, (llu)c.count);
        q->differs = 1;
    }
    q->differs |= c.differs;
    return q->differs;
}

int ear_equals(const ear *e, merle_db *db) {
    equality q = {.e = e};
    assert_int_equal(merle_section_begin(db, &q.section), MERLE_OK);
    assert_int_equal(merle_collection_each(db, compare_collection, &q), MERLE_OK);
    assert_int_equal(merle_section_end(&q.section), MERLE_OK);
    return !q.differs;
}
