/* subscribe/tell.c - from the operations of a run to what the application hears.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include <merle/merle.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "document/check.h"
#include "document/patch.h"
#include "subscribe/subscriber_private.h"

/* An operation, with where it stands. */
typedef struct taken {
    uint64_t seq;
    int64_t time_ns;
    uint32_t origin;
    merle_bytes app;
    uint32_t position;
    uint32_t count;
    mrl_record_operation_view operation;
} taken;

void mrl_heard_init(merle_heard *heard, merle_heard_kind kind, const mrl_chosen *chosen) {
    *heard = (merle_heard){.kind = kind, .text = ""};
    if (chosen == NULL) return;
    heard->collection = chosen->name;
    heard->collection_id = chosen->has_id ? chosen->id : 0;
}

/* ---- definitions ---- */

/* The collection that a definition is about, which may have a new id. NULL: not a wanted one. */
static mrl_chosen *define(merle_subscriber *s, const taken *t, merle_err *out_err) {
    merle_doc doc = {t->operation.payload.data, t->operation.payload.size, 0, NULL};
    *out_err = mrl_check_document(doc.data, doc.size, NULL);
    if (*out_err != MERLE_OK) return NULL;
    merle_bytes name = merle_doc_str(doc, "name");
    mrl_chosen *c = name.size == 0 ? NULL : mrl_chosen_by_name(s, name);
    if (c == NULL && s->wants_all) {
        *out_err = mrl_chosen_add(s, name, &c);
        if (*out_err == MERLE_OK && s->is_filling && s->fills_all)
            *out_err = mrl_fill_nothing(s, c, t->seq);
        if (*out_err != MERLE_OK) return NULL;
    }
    if (c == NULL) return NULL;
    if (c->has_id && c->id != t->operation.collection_id && c->kept != NULL && !c->is_filling)
        /* It was dropped, and that was not told: what we have is not of this one. */
        mrl_copy_remove_older(c->kept, t->seq, MRL_PLACE_ALL, &s->retired);
    c->has_id = 1;
    c->id = t->operation.collection_id;
    return c;
}

/* ---- changes of documents ---- */

/* Puts the new form of a document into the copy, where one is kept. Errors: MERLE_NO_MEMORY. */
static merle_err keep(merle_subscriber *s, mrl_chosen *c, const taken *t, merle_doc after,
                      merle_heard *heard) {
    heard->after = after;
    heard->expires_ns = t->operation.expires_ns;
    if (c->kept == NULL) return MERLE_OK;
    int matches = 1;
    mrl_copy_entry *entry, *old;
    merle_err err = mrl_copy_put(c->kept, t->operation.key, after, t->position,
                                 t->operation.expires_ns, &entry, &old);
    if (err != MERLE_OK) return err;
    mrl_retire(s, old);
    heard->after = mrl_copy_document(entry);
    if (c->condition != NULL &&
        merle_condition_match(c->condition, heard->after, NULL, 0, &matches) == MERLE_OK &&
        !matches) {
        mrl_retire(s, mrl_copy_remove(c->kept, t->operation.key));
        heard->leaves = 1;
    }
    return MERLE_OK;
}

static merle_err take_put(merle_subscriber *s, mrl_chosen *c, const taken *t,
                          const mrl_copy_entry *before, merle_heard *heard) {
    merle_bytes payload = t->operation.payload;
    merle_doc doc = {payload.data, payload.size, t->seq, NULL};
    int is_new = t->operation.is_new || (c->kept != NULL && before == NULL);
    heard->kind = is_new ? MERLE_HEARD_INSERT : MERLE_HEARD_UPDATE;
    merle_err err = mrl_check_document(doc.data, doc.size, NULL);
    return err != MERLE_OK ? err : keep(s, c, t, doc, heard);
}

static merle_err take_patch(merle_subscriber *s, mrl_chosen *c, const taken *t,
                            const mrl_copy_entry *before, merle_heard *heard) {
    heard->kind = MERLE_HEARD_UPDATE;
    heard->effect = t->operation.payload;
    heard->expires_ns = t->operation.expires_ns;
    if (c->kept == NULL) return MERLE_OK;
    if (before == NULL) return MERLE_CONFLICT;
    merle_doc was = mrl_copy_document(before);
    merle_err err =
        mrl_effect_apply(was.data, was.size, t->operation.payload, &s->patched, NULL);
    if (err == MERLE_BAD_DOCUMENT || err == MERLE_TOO_BIG) return MERLE_CONFLICT;
    if (err != MERLE_OK) return err;
    merle_doc after = {s->patched.data, s->patched.size, t->seq, NULL};
    return keep(s, c, t, after, heard);
}

static merle_err take_document(merle_subscriber *s, mrl_chosen *c, const taken *t,
                               merle_heard *heard) {
    mrl_copy_entry *before = c->kept != NULL ? mrl_copy_get(c->kept, t->operation.key) : NULL;
    heard->key = t->operation.key;
    if (before != NULL) heard->before = mrl_copy_document(before);
    if (t->operation.kind == MRL_RECORD_PUT) return take_put(s, c, t, before, heard);
    if (t->operation.kind == MRL_RECORD_PATCH) return take_patch(s, c, t, before, heard);
    int was_due = t->operation.was_due || t->origin == MERLE_ORIGIN_EXPIRY;
    heard->kind = was_due ? MERLE_HEARD_EXPIRE : MERLE_HEARD_REMOVE;
    if (before != NULL) mrl_retire(s, mrl_copy_remove(c->kept, t->operation.key));
    return MERLE_OK;
}

/* ---- changes of collections ---- */

static void empty(merle_subscriber *s, mrl_chosen *c, const taken *t) {
    if (c->kept != NULL) mrl_copy_remove_older(c->kept, t->seq, t->position, &s->retired);
}

static void take_collection(merle_subscriber *s, mrl_chosen *c, const taken *t,
                            merle_heard *heard) {
    switch (t->operation.kind) {
        case MRL_RECORD_DEFINE:
            heard->kind = MERLE_HEARD_DEFINE;
            heard->effect = t->operation.payload;
            break;
        case MRL_RECORD_TRUNCATE:
            heard->kind = MERLE_HEARD_TRUNCATE;
            empty(s, c, t);
            break;
        case MRL_RECORD_DROP:
            heard->kind = MERLE_HEARD_DROP;
            empty(s, c, t);
            c->has_id = 0;
            s->run.has_drop = 1;
            break;
        default:
            heard->kind = MERLE_HEARD_LOADED;
            /* Its documents were not told, so what follows cannot be understood without them. */
            mrl_fill_begin(s, c, MERLE_REASON_LOADED);
            s->stops_run = 1;
            break;
    }
}

/* ---- the run ---- */

/* A change that cannot be told, because it does not fit, or there is no memory. */
static void fail_change(merle_subscriber *s, mrl_chosen *c, merle_err err) {
    s->stops_run = 1;
    if (err == MERLE_CONFLICT) {
        mrl_resync(s, MERLE_REASON_DIFFERS, s->at.seq, c,
                   "A change does not fit the document that was kept.");
        return;
    }
    if (err != MERLE_NO_MEMORY) s->stats.rejected++;
    mrl_notice_add(s, MERLE_HEARD_TROUBLE, err,
                   err == MERLE_NO_MEMORY ? NULL : "A change is none by the rules of documents.");
    /* The change itself was passed, and the copy does not have it. */
    mrl_fill_begin(s, c, MERLE_REASON_DIFFERS);
    mrl_subscriber_rest(s);
}

/* 1: *out_heard was filled. */
static int take(merle_subscriber *s, const taken *t, merle_heard *out_heard) {
    merle_err err = MERLE_OK;
    mrl_record_kind kind = t->operation.kind;
    if (kind == MRL_RECORD_SEQUENCE) return 0;
    mrl_chosen *c = kind == MRL_RECORD_DEFINE ? define(s, t, &err)
                                              : mrl_chosen_by_id(s, t->operation.collection_id);
    if (c == NULL && err != MERLE_OK) {
        s->run.is_broken = 1;
        return 0;
    }
    if (c == NULL) return 0;
    if (c->is_filling) {
        err = mrl_fill_replay(s, c, t->seq, t->position, &t->operation);
        if (err == MERLE_OK && mrl_fill_is_too_much(s)) err = MERLE_NO_MEMORY;
        if (err != MERLE_OK) fail_change(s, c, err);
        return 0;
    }
    mrl_heard_init(out_heard, MERLE_HEARD_END, c);
    out_heard->seq = t->seq;
    out_heard->time_ns = t->time_ns;
    out_heard->origin = t->origin;
    out_heard->origin_bytes = t->app;
    out_heard->position = t->position;
    out_heard->count = t->count;
    if (kind <= MRL_RECORD_REMOVE)
        err = take_document(s, c, t, out_heard);
    else
        take_collection(s, c, t, out_heard);
    if (err == MERLE_OK && c->kept != NULL && mrl_fill_is_too_much(s)) err = MERLE_NO_MEMORY;
    if (err != MERLE_OK) fail_change(s, c, err);
    return err == MERLE_OK;
}

/* Everything of the run was taken, or it is broken. */
static void finish(merle_subscriber *s) {
    mrl_run *run = &s->run;
    if (run->is_broken) {
        s->stats.rejected++;
        mrl_notice_add(s, MERLE_HEARD_TROUBLE, MERLE_CORRUPT, "Commits came that make no sense.");
        mrl_subscriber_rest(s);
        mrl_subscriber_refetch(s);
    } else if (!(run->is_alone && run->has_drop) &&
               mrl_place_order(run->end, run->end_position, s->at.seq, s->at.position) > 0) {
        /* A batch alone in which a collection was dropped is not all of its flush: there may be
         * another one, of the collection that was made anew. */
        s->at.seq = run->end;
        s->at.position = run->end_position;
    }
    mrl_run_end(s);
    mrl_early_drop_old(s);
    if (s->is_filling && s->phase == MRL_PHASE_CHANGES && s->at.seq >= s->snapshot_seq &&
        mrl_fill_next(s) == NULL)
        mrl_fill_end(s);
}

static int tell_end(merle_subscriber *s, merle_heard *out_heard) {
    mrl_heard_init(out_heard, MERLE_HEARD_END, NULL);
    out_heard->seq = s->open_seq;
    out_heard->ends = 1;
    s->has_open = 0;
    if (s->at.seq < s->open_seq) {
        s->at.seq = s->open_seq;
        s->at.position = 0;
    }
    return 1;
}

static void pass(merle_subscriber *s, uint64_t seq, uint32_t position, uint32_t count) {
    int is_last = position + 1 >= count;
    s->at.seq = is_last ? seq : seq - 1;
    s->at.position = is_last ? 0 : position + 1;
}

/* What was told is the last thing of its commit, as far as is known. */
static int ends(merle_subscriber *s, uint64_t seq) {
    const mrl_run_list *next = mrl_run_least(s);
    if (s->run.is_broken || s->stops_run) return s->at.seq >= seq;
    return s->run.end >= seq && (next == NULL || next->commit.seq > seq);
}

int mrl_tell_step(merle_subscriber *s, merle_heard *out_heard) {
    /* Taken whole, or thrown away: in both cases nothing more can come of this commit. */
    if (s->has_open && s->at.seq >= s->open_seq) return tell_end(s, out_heard);
    mrl_run_list *list = mrl_run_least(s);
    if (list == NULL) {
        finish(s);
        return s->has_open && s->at.seq >= s->open_seq ? tell_end(s, out_heard) : 0;
    }
    taken t = {list->commit.seq, list->commit.time_ns, list->commit.origin, list->commit.app,
               list->position,   list->commit.count,   list->operation};
    int is_new = t.seq > s->at.seq + 1 || (t.seq == s->at.seq + 1 && t.position >= s->at.position);
    if (is_new && s->has_open && t.seq > s->open_seq) return tell_end(s, out_heard);
    if (is_new && s->is_filling && t.seq > s->snapshot_seq) {
        s->at.seq = s->snapshot_seq;
        s->at.position = 0;
        mrl_fill_end(s);
        return 0;
    }
    mrl_run_advance(s, list);
    if (!is_new) return 0;
    pass(s, t.seq, t.position, t.count);
    int was_told = take(s, &t, out_heard);
    if (was_told) {
        s->run.was_given = 1;
        s->stats.changes++;
        out_heard->ends = (uint32_t)ends(s, t.seq);
        s->has_open = !out_heard->ends;
        s->open_seq = t.seq;
    }
    if (s->stops_run) {
        s->stops_run = 0;
        mrl_run_end(s);
        mrl_subscriber_refetch(s);
    }
    return was_told;
}
