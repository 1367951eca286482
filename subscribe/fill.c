/* subscribe/fill.c - snapshots: pages, the changes that make them one whole, the telling.
 *
 * Each page shows one instant, and the next page a later one. What happened in between is made good
 * by the changes from `at`, which is not later than the first page, to snapshot_seq, the instant of
 * the last one. A change counts for a document only if the document does not have it: each one has
 * the place of the change that made it, and one that came with a page has all of its commit. A
 * patch of a document that is not there is passed over: a page had been read when it was removed
 * already, and the change that removes it comes, too.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/buffer.h"
#include "document/check.h"
#include "document/patch.h"
#include "subscribe/subscriber_private.h"

void mrl_fill_again(mrl_chosen *chosen) {
    mrl_copy_destroy(chosen->fresh);
    chosen->fresh = NULL;
    chosen->has_page = 0;
    chosen->has_pages = 0;
    chosen->cursor.size = 0;
}

static void begin_one(mrl_chosen *chosen, merle_heard_reason reason) {
    chosen->is_filling = 1;
    chosen->reason = reason;
    mrl_fill_again(chosen);
}

void mrl_fill_begin(merle_subscriber *s, mrl_chosen *chosen, merle_heard_reason reason) {
    if (chosen != NULL) {
        begin_one(chosen, reason);
    } else {
        for (uint32_t i = 0; i < s->chosen_count; i++) begin_one(s->chosen[i], reason);
        s->fills_all = 1;
        s->has_position = 0;
    }
    if (!s->is_filling) s->snapshot_seq = 0;
    s->is_filling = 1;
    s->has_open = 0;
    s->is_live = 0;
    s->phase = MRL_PHASE_HELLO;
}

merle_err mrl_fill_nothing(merle_subscriber *s, mrl_chosen *chosen, uint64_t seq) {
    begin_one(chosen, MERLE_REASON_ASKED);
    chosen->has_page = 1;
    chosen->has_pages = 1;
    chosen->first_page_seq = seq;
    return mrl_fill_copy(s, &chosen->fresh);
}

mrl_chosen *mrl_fill_next(const merle_subscriber *s) {
    for (uint32_t i = 0; i < s->chosen_count; i++)
        if (s->chosen[i]->is_filling && !s->chosen[i]->has_pages) return s->chosen[i];
    return NULL;
}

int mrl_fill_is_too_much(const merle_subscriber *s) {
    return s->held_bytes > s->options.memory_max;
}

merle_err mrl_fill_copy(merle_subscriber *s, mrl_copy **out_copy) {
    return mrl_copy_create(mrl_random_next(&s->random), &s->held_bytes, out_copy);
}

/* ---- pages ---- */

/* What a page may be wrong in, apart from its documents. 1: it belongs to what came before. */
static int page_fits(mrl_chosen *c, const mrl_wire_answer *page) {
    if (!c->has_page) {
        c->has_id = page->has_collection;
        c->id = page->collection_id;
        c->first_page_seq = page->seq;
        c->has_page = 1;
        return 1;
    }
    return c->has_id == page->has_collection && (!c->has_id || c->id == page->collection_id);
}

static merle_err put_document(mrl_chosen *c, const mrl_wire_answer *page,
                              const mrl_wire_document *document) {
    merle_bytes bytes = document->document;
    if (document->seq > page->seq || document->key.size == 0 ||
        document->key.size > MERLE_KEY_SIZE_MAX)
        return MERLE_CORRUPT;
    merle_err err = mrl_check_document(bytes.data, bytes.size, NULL);
    if (err != MERLE_OK) return err == MERLE_NO_MEMORY ? err : MERLE_CORRUPT;
    /* A key that was removed and put again may stand in two pages. */
    const mrl_copy_entry *there = mrl_copy_get(c->fresh, document->key);
    if (there != NULL && mrl_copy_has(there, document->seq, MRL_PLACE_ALL)) return MERLE_OK;
    mrl_copy_entry *entry, *old;
    merle_doc doc = {bytes.data, bytes.size, document->seq, NULL};
    err = mrl_copy_put(c->fresh, document->key, doc, MRL_PLACE_ALL, document->expires_ns, &entry,
                       &old);
    free(old);
    return err;
}

merle_err mrl_fill_page(merle_subscriber *s, mrl_chosen *chosen, const mrl_wire_answer *page) {
    mrl_wire_list documents = page->documents;
    mrl_wire_document document;
    merle_err err = MERLE_OK;
    /* A page from before `at` would lack changes that nobody will tell again. */
    if (page->seq < s->at.seq + (s->at.position > 0)) return MERLE_CORRUPT;
    if (!page_fits(chosen, page)) {
        mrl_fill_again(chosen); /* it was made anew between two pages */
        return MERLE_OK;
    }
    if (chosen->fresh == NULL) err = mrl_fill_copy(s, &chosen->fresh);
    while (err == MERLE_OK && (err = mrl_wire_document_next(&documents, &document)) == MERLE_OK)
        err = put_document(chosen, page, &document);
    if (err == MERLE_NOT_FOUND) err = MERLE_OK;
    if (err == MERLE_OK && mrl_fill_is_too_much(s)) err = MERLE_NO_MEMORY;
    chosen->cursor.size = 0;
    if (err == MERLE_OK)
        err = mrl_buffer_append(&chosen->cursor, page->cursor.data, page->cursor.size);
    if (err != MERLE_OK) {
        mrl_fill_again(chosen);
        return err;
    }
    if (page->seq > s->snapshot_seq) s->snapshot_seq = page->seq;
    chosen->has_pages = page->cursor.size == 0;
    return MERLE_OK;
}

/* ---- changes between the pages ---- */

/* Errors: MERLE_NO_MEMORY, and what is wrong with the document. */
static merle_err replay_put(mrl_chosen *c, merle_bytes key, merle_doc doc, uint32_t position,
                            int64_t expires_ns) {
    int matches = 1;
    if (c->condition != NULL &&
        merle_condition_match(c->condition, doc, NULL, 0, &matches) == MERLE_OK && !matches) {
        free(mrl_copy_remove(c->fresh, key));
        return MERLE_OK;
    }
    mrl_copy_entry *entry, *old;
    merle_err err = mrl_copy_put(c->fresh, key, doc, position, expires_ns, &entry, &old);
    free(old);
    return err;
}

static merle_err replay_document(merle_subscriber *s, mrl_chosen *c, uint64_t seq,
                                 uint32_t position, const mrl_record_operation_view *operation) {
    const mrl_copy_entry *there = mrl_copy_get(c->fresh, operation->key);
    if (there != NULL && mrl_copy_has(there, seq, position)) return MERLE_OK;
    merle_doc doc = {operation->payload.data, operation->payload.size, seq, NULL};
    if (operation->kind == MRL_RECORD_REMOVE) {
        free(mrl_copy_remove(c->fresh, operation->key));
        return MERLE_OK;
    }
    merle_err err;
    if (operation->kind == MRL_RECORD_PUT) {
        err = mrl_check_document(doc.data, doc.size, NULL);
    } else {
        if (there == NULL) return MERLE_OK;
        merle_doc was = mrl_copy_document(there);
        err = mrl_effect_apply(was.data, was.size, operation->payload, &s->patched, NULL);
        doc.data = s->patched.data;
        doc.size = s->patched.size;
    }
    if (err != MERLE_OK) return err;
    return replay_put(c, operation->key, doc, position, operation->expires_ns);
}

merle_err mrl_fill_replay(merle_subscriber *s, mrl_chosen *chosen, uint64_t seq, uint32_t position,
                          const mrl_record_operation_view *operation) {
    mrl_copy_entry *list = NULL;
    switch (operation->kind) {
    case MRL_RECORD_DEFINE:
        return MERLE_OK;
    case MRL_RECORD_DROP:
        chosen->has_id = 0;
        break;
    case MRL_RECORD_TRUNCATE:
        break;
    case MRL_RECORD_LOADED:
        if (chosen->first_page_seq >= seq) return MERLE_OK;
        /* The first pages did not see what was loaded, and nobody tells it. */
        mrl_fill_again(chosen);
        s->phase = MRL_PHASE_PAGES;
        s->stops_run = 1;
        return MERLE_OK;
    default:
        return replay_document(s, chosen, seq, position, operation);
    }
    mrl_copy_remove_older(chosen->fresh, seq, position, &list);
    while (list != NULL) {
        mrl_copy_entry *entry = list;
        list = entry->next;
        free(entry);
    }
    return MERLE_OK;
}

/* ---- the telling ---- */

void mrl_fill_end(merle_subscriber *s) {
    s->is_telling = 1;
    s->tell_number = 0;
    s->tell_stage = 0;
    s->tell_count = 0;
    s->tell_cursor = 0;
}

static mrl_chosen *next_to_tell(const merle_subscriber *s, uint32_t number) {
    for (; number < s->chosen_count; number++)
        if (s->chosen[number]->is_filling) return s->chosen[number];
    return NULL;
}

static void tell_is_over(merle_subscriber *s) {
    s->is_telling = 0;
    s->is_filling = 0;
    s->fills_all = 0;
    s->has_reset = 0;
    s->stats.snapshots++;
    s->stops_call = 1; /* so that no copy is spent twice before the application has looked */
}

static void fill_heard(merle_subscriber *s, const mrl_chosen *c, merle_heard *heard) {
    static const merle_heard_kind kinds[] = {MERLE_HEARD_SNAPSHOT_BEGIN, MERLE_HEARD_DOCUMENT,
                                             MERLE_HEARD_SNAPSHOT_END};
    mrl_heard_init(heard, kinds[s->tell_stage], c);
    heard->reason = c == NULL ? MERLE_REASON_ASKED : c->reason;
    heard->seq = s->snapshot_seq;
}

/* All collections are wanted, and there is none: the snapshot is told all the same. */
static int tell_nothing(merle_subscriber *s, merle_heard *out_heard) {
    fill_heard(s, NULL, out_heard);
    if (s->tell_stage == 0) {
        s->tell_stage = 2;
        return 1;
    }
    out_heard->ends = 1;
    tell_is_over(s);
    return 1;
}

static void tell_document(const mrl_copy_entry *entry, merle_heard *heard) {
    heard->key = mrl_copy_key(entry);
    heard->after = mrl_copy_document(entry);
    heard->expires_ns = entry->expires_ns;
}

/* The fresh copy takes its place, or has been told and is needed no more. */
static void close_one(merle_subscriber *s, mrl_chosen *c) {
    if (s->options.keep) {
        c->spent = c->kept;
        c->kept = c->fresh;
    } else {
        c->spent = c->fresh;
    }
    c->fresh = NULL;
    c->is_filling = 0;
}

int mrl_fill_tell(merle_subscriber *s, merle_heard *out_heard) {
    mrl_chosen *c = next_to_tell(s, s->tell_number);
    if (c == NULL) return tell_nothing(s, out_heard);
    mrl_copy_entry *entry = NULL;
    if (s->tell_stage == 1) {
        entry = mrl_copy_next(c->fresh, &s->tell_cursor);
        if (entry == NULL) s->tell_stage = 2;
    }
    fill_heard(s, c, out_heard);
    if (s->tell_stage == 0) {
        s->tell_number = c->number;
        s->tell_cursor = 0;
        s->tell_stage = 1;
    } else if (entry != NULL) {
        tell_document(entry, out_heard);
    } else {
        close_one(s, c);
        s->tell_stage = 0;
        out_heard->ends = next_to_tell(s, s->tell_number) == NULL;
        if (out_heard->ends) tell_is_over(s);
    }
    return 1;
}
