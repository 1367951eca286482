/* persist/repair.c - a sound database out of a damaged directory.
 *
 * What a slot has is known up to some commit, or not at all:
 *   - a page that can be read says what was there at its S;
 *   - of a slot without a page it is known that it was empty at R or the collection's base;
 *   - a page that cannot be read is replaced by what an older manifest has of the same slots; where
 *     that cannot be read either, nothing is known;
 *   - a put, a remove and a truncate say all of the slot, whatever was there before.
 * From there on the log's records are applied, each above what is known of its slot: that gives the
 * same as an opening, from whichever manifest the page comes, for the log is kept from the oldest
 * one's R on.
 *
 * Where the log has a hole, nothing is known any more of what was known only up to before its end:
 * some lost commit may have changed it. The document stays as it was then, a true one of the past,
 * until a record says all of the slot anew. A patch does not: it would make a document that never
 * was. So patches of such slots are left out and told. (Who wants the database as it was before the
 * hole, and nothing later, asks for MERLE_BEHIND_HOLES_STOP.)
 *
 * A document of the past may have a key or a unique value that a newer one has by now: of two such
 * the one of the later commit stays.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "persist/repair.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/hash.h"
#include "base/report.h"
#include "persist/page_look.h"
#include "store/expiry.h"
#include "load/load.h"
#include "wire/bytes.h"

enum { ATTEMPTS_MAX = 1000, ID_SHIFT = 32 };

/* What is known of a slot: 0, nothing; n + 1, everything up to commit n. */
typedef uint64_t known_to;

typedef struct book {
    uint32_t id;
    uint32_t count;
    known_to *slots;        /* malloc */
    known_to floor;         /* of slots that are not in it */
    uint64_t loading_since; /* the truncate that a bulk load began with; 0: none is under way */
    char name[64];
} book;

/* A page that could not be read. */
typedef struct bad_page {
    const mrl_manifest_collection *collection;
    const mrl_manifest_page *page;
    merle_report report;
} bad_page;

typedef struct repairing {
    mrl_care *care;
    mrl_care_source *source;
    const mrl_manifest *manifest; /* that it is built on; NULL: there is none */
    mrl_load *load;
    book *books;
    size_t book_count, book_capacity;
    bad_page *bad;
    size_t bad_count, bad_capacity;
    mrl_load_offence *offences; /* of attempts before this one */
    size_t offence_count;
    mrl_page_look look;
    uint64_t hole_end;   /* the last commit that is lost; 0: none is */
    uint64_t hole_begin; /* the first */
    mrl_salvage_log log;
    merle_report report; /* of one operation */
} repairing;

/* ---- what is known ---- */

static book *find_book(repairing *r, uint32_t id) {
    for (size_t i = 0; i < r->book_count; i++)
        if (r->books[i].id == id) return &r->books[i];
    return NULL;
}

static book *open_book(repairing *r, uint32_t id, known_to floor, const char *name) {
    book *b = find_book(r, id);
    if (b == NULL && r->book_count == r->book_capacity) {
        size_t capacity = r->book_capacity * 2 + 16;
        book *grown = realloc(r->books, capacity * sizeof *grown);
        if (grown == NULL) return NULL;
        r->books = grown;
        r->book_capacity = capacity;
    }
    if (b == NULL) {
        b = &r->books[r->book_count++];
        memset(b, 0, sizeof *b);
    }
    b->id = id;
    b->floor = floor;
    snprintf(b->name, sizeof b->name, "%s", name);
    return b;
}

static void close_books(repairing *r) {
    for (size_t i = 0; i < r->book_count; i++) free(r->books[i].slots);
    free(r->books);
    r->books = NULL;
    r->book_count = r->book_capacity = 0;
}

static known_to known(const book *b, uint32_t slot) {
    return slot < b->count ? b->slots[slot] : b->floor;
}

static merle_err learn(book *b, uint32_t slot, known_to up_to) {
    if (slot >= b->count) {
        uint64_t wanted = (uint64_t)slot + 1 + slot / 2;
        uint32_t count = wanted > UINT32_MAX ? UINT32_MAX : (uint32_t)wanted;
        known_to *grown = realloc(b->slots, count * sizeof *grown);
        if (grown == NULL) return MERLE_NO_MEMORY;
        for (uint32_t i = b->count; i < count; i++) grown[i] = b->floor;
        b->slots = grown;
        b->count = count;
    }
    b->slots[slot] = up_to;
    return MERLE_OK;
}

static int is_doubtful(const repairing *r, const book *b, uint32_t slot) {
    return known(b, slot) <= r->hole_end;
}

static merle_err no_memory(repairing *r) {
    return mrl_report_fill(r->care->report, MERLE_NO_MEMORY, "no memory for a repair");
}

/* ---- what is told ---- */

__attribute__((format(printf, 6, 7))) static void tell_lost(repairing *r, const book *b,
                                                            uint32_t slot, merle_bytes key,
                                                            uint64_t seq, const char *format, ...) {
    va_list arguments;
    merle_finding f = {.kind = MERLE_FOUND_LOST,
                       .collection_id = b->id,
                       .slot_first = slot,
                       .slot_count = 1,
                       .seq_first = seq,
                       .seq_last = seq};
    memcpy(f.collection, b->name, sizeof f.collection);
    mrl_report_escape(key, f.key, sizeof f.key);
    va_start(arguments, format);
    (void)vsnprintf(f.message, sizeof f.message, format, arguments);
    va_end(arguments);
    mrl_care_tell(r->care, &f);
}

/* ---- pages ---- */

typedef struct taking {
    repairing *r;
    book *b;
    mrl_load_collection *target;
    uint32_t first, end; /* slots that are wanted */
    known_to known;
} taking;

static merle_err take_document(void *context, const mrl_page_document *d, merle_report *report) {
    const taking *t = context;
    if (d->slot < t->first || d->slot >= t->end) return MERLE_OK;
    return mrl_load_put(t->target, t->r->care->member, d->slot, d->key, d->doc, d->seq,
                        d->expires_ns, report);
}

/* The documents of a page in slots [first, end). Nothing of them is there if it cannot be read. */
static merle_err take_page(repairing *r, const mrl_manifest *manifest, book *b,
                           const mrl_manifest_page *page, uint32_t first, uint32_t end,
                           merle_report *report) {
    taking t = {r, b, mrl_load_find(r->load, b->id), first, end, page->seq + 1};
    merle_err err = MERLE_OK;
    r->look.manifest = manifest;
    if (page->length != 0) err = mrl_page_look_at(&r->look, b->id, page, take_document, &t, report);
    if (mrl_care_is_damage(err)) {
        for (uint32_t slot = first; slot < end; slot++)
            if (mrl_load_remove(t.target, r->care->member, slot, page->seq) == MERLE_NO_MEMORY)
                return MERLE_NO_MEMORY;
        return err;
    }
    for (uint32_t slot = first; slot < end && err == MERLE_OK; slot++)
        err = learn(b, slot, t.known);
    r->care->info.pages += err == MERLE_OK;
    return err;
}

static merle_err note_bad(repairing *r, const mrl_manifest_collection *c,
                          const mrl_manifest_page *page, const merle_report *report) {
    if (r->bad_count == r->bad_capacity) {
        size_t capacity = r->bad_capacity * 2 + 16;
        bad_page *grown = realloc(r->bad, capacity * sizeof *grown);
        if (grown == NULL) return MERLE_NO_MEMORY;
        r->bad = grown;
        r->bad_capacity = capacity;
    }
    r->bad[r->bad_count++] = (bad_page){c, page, *report};
    return MERLE_OK;
}

static void tell_older(repairing *r, const book *b, const mrl_manifest_page *bad, uint64_t number,
                       const merle_report *report) {
    merle_finding f = {.kind = MERLE_FOUND_OLDER,
                       .collection_id = b->id,
                       .offset = bad->offset,
                       .slot_first = bad->first_slot,
                       .slot_count = bad->slot_count};
    mrl_directory_name(MRL_FILE_PAGES, bad->file_id, f.file);
    memcpy(f.collection, b->name, sizeof f.collection);
    memcpy(f.expected, report->expected, sizeof f.expected);
    memcpy(f.found, report->found, sizeof f.found);
    snprintf(f.message, sizeof f.message,
             "%s: a page of collection %s (slots %u to %u) cannot be read: taken from manifest "
             "%016" PRIx64 ", with all commits since",
             f.file, b->name, bad->first_slot, bad->first_slot + bad->slot_count - 1, number);
    r->care->info.pages_older++;
    mrl_care_tell(r->care, &f);
}

/* Slots [first, end) as an older manifest has them, which may be in several pages, or none. Errors:
 * MERLE_CORRUPT: they cannot be had there as a whole. */
static merle_err take_older(repairing *r, const mrl_manifest *older, book *b,
                            const mrl_manifest_page *bad) {
    const mrl_manifest_collection *c = mrl_manifest_find(older, b->id);
    uint32_t end = bad->first_slot + bad->slot_count, slot = bad->first_slot;
    uint64_t base = older->replay_seq;
    merle_err err = MERLE_OK;
    if (c != NULL && c->base_seq > base) base = c->base_seq;
    while (slot < end && err == MERLE_OK) {
        const mrl_manifest_page *page = c == NULL ? NULL : mrl_manifest_page_of(c, slot);
        if (page == NULL) {
            err = learn(b, slot++, base + 1);
            continue;
        }
        if (page->length != 0 && page->file_id == bad->file_id && page->offset == bad->offset)
            return MERLE_CORRUPT;
        uint32_t page_end = page->first_slot + page->slot_count;
        if (page_end > end) page_end = end;
        err = take_page(r, older, b, page, slot, page_end, NULL);
        slot = page_end;
    }
    return err;
}

static merle_err replace_page(repairing *r, const mrl_manifest_collection *c, book *b,
                              const mrl_manifest_page *bad, const merle_report *report) {
    mrl_load_collection *target = mrl_load_find(r->load, b->id);
    merle_err err = MERLE_CORRUPT;
    for (const mrl_manifest *older = r->manifest; older > r->source->manifests;) {
        older--;
        err = take_older(r, older, b, bad);
        if (err == MERLE_OK) tell_older(r, b, bad, older->number, report);
        if (!mrl_care_is_damage(err)) return err;
    }
    for (uint32_t i = 0; i < bad->slot_count; i++) {
        uint32_t slot = bad->first_slot + i;
        if (mrl_load_remove(target, r->care->member, slot, bad->seq) == MERLE_NO_MEMORY ||
            learn(b, slot, 0) != MERLE_OK)
            return MERLE_NO_MEMORY;
    }
    return note_bad(r, c, bad, report);
}

static merle_err take_collection(repairing *r, const mrl_manifest_collection *c) {
    merle_bytes definition = {c->definition.data, c->definition.size};
    merle_report *report = r->care->report;
    uint64_t base = c->base_seq > r->manifest->replay_seq ? c->base_seq : r->manifest->replay_seq;
    char name[64];
    mrl_page_look_name(&c->definition, name);
    merle_err err = mrl_load_define(r->load, r->care->member, definition, c->base_seq, report);
    if (err != MERLE_OK) return err;
    book *b = open_book(r, c->id, base + 1, name);
    if (b == NULL) return no_memory(r);
    mrl_load_ids(mrl_load_find(r->load, c->id), c->ids_end);
    for (size_t i = 0; i < c->page_count && err == MERLE_OK; i++) {
        const mrl_manifest_page *page = &c->pages[i];
        mrl_report_clear(&r->report);
        err = take_page(r, r->manifest, b, page, page->first_slot,
                        page->first_slot + page->slot_count, &r->report);
        if (mrl_care_is_damage(err)) {
            merle_report bad = r->report;
            err = replace_page(r, c, b, page, &bad);
        } else if (err != MERLE_OK) {
            *report = r->report;
        }
        if (err == MERLE_NO_MEMORY) return no_memory(r);
    }
    return err;
}

static merle_err take_pages(repairing *r) {
    merle_err err = MERLE_OK;
    if (r->manifest == NULL) return MERLE_OK;
    mrl_page_look_begin(&r->look, &r->source->directory, r->manifest);
    for (size_t i = 0; i < r->manifest->collection_count && err == MERLE_OK; i++) {
        err = take_collection(r, &r->manifest->collections[i]);
        mrl_care_progress(r->care, "pages", i + 1, r->manifest->collection_count);
    }
    mrl_page_look_end(&r->look);
    mrl_load_next_collection(r->load, r->manifest->collection_next_id);
    return err;
}

/* ---- operations ---- */

typedef struct operation {
    repairing *r;
    book *b;
    mrl_load_collection *target;
    const mrl_record_operation_view *op;
    uint64_t seq;
    uint32_t origin;
} operation;

static merle_err lose(operation *o, const char *why) {
    o->r->care->info.operations_lost++;
    tell_lost(o->r, o->b, o->op->slot, o->op->key, o->seq,
              "commit %" PRIu64 ": a change of a document in collection %s is left out: %s", o->seq,
              o->b->name, why);
    return MERLE_OK;
}

static merle_err empty_slot(operation *o, uint32_t slot, known_to up_to) {
    merle_err err = MERLE_OK;
    /* Where nothing ever was there is nothing to be removed. */
    if (slot < mrl_load_slots_end(o->target))
        err = mrl_load_remove(o->target, o->r->care->member, slot, o->seq);
    else if (known(o->b, slot) == o->b->floor && up_to != 0)
        return MERLE_OK;
    return err == MERLE_OK ? learn(o->b, slot, up_to) : err;
}

static merle_err put(operation *o) {
    const mrl_record_operation_view *op = o->op;
    merle_err err = mrl_load_put(o->target, o->r->care->member, op->slot, op->key, op->payload,
                                 o->seq, op->expires_ns, &o->r->report);
    if (err == MERLE_OK) return learn(o->b, op->slot, o->seq + 1);
    if (!mrl_care_is_damage(err)) return err;
    err = empty_slot(o, op->slot, 0);
    return err == MERLE_OK ? lose(o, "it is no document by merle's rules") : err;
}

static int has_key(const operation *o) {
    uint64_t seq;
    merle_bytes key = mrl_load_key(o->target, o->op->slot, &seq);
    return key.size == o->op->key.size && key.size > 0 &&
           memcmp(key.data, o->op->key.data, key.size) == 0;
}

static merle_err patch(operation *o) {
    const mrl_record_operation_view *op = o->op;
    int is_there = has_key(o);
    if (is_doubtful(o->r, o->b, op->slot)) {
        /* Another document is there by now: the one that we have has gone. */
        merle_err err = is_there ? MERLE_OK : empty_slot(o, op->slot, known(o->b, op->slot));
        if (err != MERLE_OK) return err;
        return lose(o, is_there ? "it may rest on lost commits; the document is as it was before"
                                : "the document that it changes was lost");
    }
    if (!is_there) return lose(o, "the document that it changes is not there");
    merle_err err = mrl_load_effect(o->target, o->r->care->member, op->slot, op->key, op->payload,
                                    o->seq, op->expires_ns, &o->r->report);
    return mrl_care_is_damage(err) ? lose(o, "it does not fit") : err;
}

/* Empties the slots of which nothing is known behind `seq`. */
static merle_err empty_all(operation *o, uint64_t seq) {
    uint32_t end = mrl_load_slots_end(o->target);
    merle_err err = MERLE_OK;
    if (o->b->count > end) end = o->b->count;
    for (uint32_t slot = 0; slot < end && err == MERLE_OK; slot++)
        if (known(o->b, slot) <= seq) err = empty_slot(o, slot, seq + 1);
    if (o->b->floor <= seq) o->b->floor = seq + 1;
    return err;
}

/* A bulk load that was cut off has never been: see docs/format.md. Its documents are those that
 * records of it have put, not those of pages. */
static merle_err end_load(operation *o) {
    uint64_t since = o->b->loading_since;
    uint32_t end = mrl_load_slots_end(o->target);
    merle_err err = MERLE_OK;
    o->b->loading_since = 0;
    if (since == 0) return err;
    if (o->r->hole_end > since) {
        tell_lost(o->r, o->b, 0, merle_bytes_of(NULL, 0), since,
                  "whether the bulk load of collection %s that began with commit %" PRIu64
                  " has ended is lost: its documents are kept",
                  o->b->name, since);
        return err;
    }
    for (uint32_t slot = 0; slot < end && err == MERLE_OK; slot++)
        if (known(o->b, slot) > since + 1 && known(o->b, slot) <= o->seq)
            err = empty_slot(o, slot, o->seq);
    return err;
}

static merle_err keep_book_of_loads(operation *o) {
    mrl_record_kind kind = o->op->kind;
    merle_err err = MERLE_OK;
    if (kind == MRL_RECORD_SEQUENCE) return err;
    if (o->origin != MERLE_ORIGIN_LOAD || kind == MRL_RECORD_TRUNCATE) err = end_load(o);
    if (o->origin == MERLE_ORIGIN_LOAD && kind == MRL_RECORD_TRUNCATE) o->b->loading_since = o->seq;
    if (kind == MRL_RECORD_LOADED) o->b->loading_since = 0;
    return err;
}

static int is_in_manifest(const operation *o) {
    return o->r->manifest != NULL && o->seq <= o->r->manifest->replay_seq;
}

static merle_err define(operation *o) {
    merle_report *report = &o->r->report;
    merle_buffer definition = {0};
    char name[64];
    if (is_in_manifest(o)) return MERLE_OK;
    definition.data = (uint8_t *)(uintptr_t)o->op->payload.data;
    definition.size = o->op->payload.size;
    mrl_page_look_name(&definition, name);
    merle_err err = mrl_load_define(o->r->load, o->r->care->member, o->op->payload, o->seq, report);
    if (mrl_care_is_damage(err)) {
        book nobody = {.id = o->op->collection_id};
        tell_lost(o->r, &nobody, 0, merle_bytes_of(NULL, 0), o->seq,
                  "commit %" PRIu64 ": a definition of collection %u is left out: %.120s", o->seq,
                  nobody.id, report->message);
        return MERLE_OK;
    }
    if (err != MERLE_OK || find_book(o->r, o->op->collection_id) != NULL) return err;
    if (open_book(o->r, o->op->collection_id, o->seq + 1, name) == NULL) return MERLE_NO_MEMORY;
    return MERLE_OK;
}

static merle_err drop(operation *o) {
    if (is_in_manifest(o)) return MERLE_OK;
    free(o->b->slots);
    *o->b = o->r->books[--o->r->book_count];
    return mrl_load_drop(o->r->load, o->r->care->member, o->op->collection_id, o->seq);
}

static merle_err set_ids_aside(operation *o) {
    const uint8_t *payload = o->op->payload.data;
    mrl_mp_cursor cursor = {payload, payload + o->op->payload.size};
    uint64_t end;
    if (o->op->payload.size > 0 && mrl_mp_get_u64(&cursor, &end)) mrl_load_ids(o->target, end);
    return MERLE_OK;
}

/* Of a collection whose definition was lost. What was dropped before the manifest is no loss. */
static merle_err lose_unknown(operation *o) {
    book nobody = {.id = o->op->collection_id};
    if (is_in_manifest(o) || o->op->kind == MRL_RECORD_DROP) return MERLE_OK;
    snprintf(nobody.name, sizeof nobody.name, "%u", nobody.id);
    o->b = &nobody;
    return lose(o, "the collection's definition was lost");
}

static merle_err apply(operation *o) {
    const mrl_record_operation_view *op = o->op;
    merle_err err;
    if (op->kind == MRL_RECORD_DEFINE) return define(o);
    o->target = mrl_load_find(o->r->load, op->collection_id);
    o->b = find_book(o->r, op->collection_id);
    if (o->target == NULL || o->b == NULL) return lose_unknown(o);
    if ((err = keep_book_of_loads(o)) != MERLE_OK) return err;
    switch (op->kind) {
    case MRL_RECORD_PUT:
        return o->seq < known(o->b, op->slot) ? MERLE_OK : put(o);
    case MRL_RECORD_PATCH:
        return o->seq < known(o->b, op->slot) ? MERLE_OK : patch(o);
    case MRL_RECORD_REMOVE:
        return o->seq < known(o->b, op->slot) ? MERLE_OK : empty_slot(o, op->slot, o->seq + 1);
    case MRL_RECORD_TRUNCATE:
        if ((err = empty_all(o, o->seq)) != MERLE_OK) return err;
        if (!is_in_manifest(o)) mrl_load_truncated(o->target, o->seq);
        return MERLE_OK;
    case MRL_RECORD_DROP:
        return drop(o);
    case MRL_RECORD_SEQUENCE:
        return set_ids_aside(o);
    case MRL_RECORD_DEFINE:
    case MRL_RECORD_LOADED:
        return MERLE_OK;
    }
    return lose(o, "this library does not know its kind: it is older than the files");
}

/* ---- the log ---- */

static merle_err take_record(void *context, const mrl_frame *frame, merle_bytes body) {
    repairing *r = context;
    mrl_record_reader reader;
    mrl_record_operation_view op;
    merle_err err = mrl_record_read_begin(body, &reader);
    while (err == MERLE_OK) {
        if ((err = mrl_record_read_next(&reader, &op)) != MERLE_OK) break;
        operation o = {r, NULL, NULL, &op, frame->seq, reader.origin};
        err = apply(&o);
        if (err == MERLE_NO_MEMORY) return no_memory(r);
        if (err != MERLE_OK) {
            *r->care->report = r->report;
            return err;
        }
    }
    if (err == MERLE_NOT_FOUND) return MERLE_OK;
    book nobody = {0};
    tell_lost(r, &nobody, 0, merle_bytes_of(NULL, 0), frame->seq,
              "the record of commit %" PRIu64 " cannot be read to its end", frame->seq);
    r->care->info.operations_lost++;
    return MERLE_OK;
}

static merle_err take_hole(void *context, const char *name, uint64_t offset, uint64_t first,
                           uint64_t last) {
    repairing *r = context;
    merle_finding f = {
        .kind = MERLE_FOUND_HOLE, .offset = offset, .seq_first = first, .seq_last = last};
    snprintf(f.file, sizeof f.file, "%s", name);
    snprintf(f.expected, sizeof f.expected, "a record with seq %" PRIu64, first);
    snprintf(f.found, sizeof f.found, "no whole frame with that seq");
    snprintf(f.message, sizeof f.message,
             "%s: commits %" PRIu64 " to %" PRIu64
             " are lost; what pages do not have of them is as it was before, until later commits "
             "put it anew",
             name, first, last);
    if (r->hole_begin == 0) r->hole_begin = first;
    r->hole_end = last;
    r->care->info.records_lost += last - first + 1;
    mrl_care_tell(r->care, &f);
    if (r->manifest != NULL && last <= r->manifest->replay_seq) return MERLE_OK;
    if (r->care->options.behind_holes != MERLE_BEHIND_HOLES_STOP) return MERLE_OK;
    r->hole_begin = first;
    /* Not an error: it ends the reading. */
    return MERLE_GAP;
}

static merle_err take_log(repairing *r) {
    const mrl_salvage_fns fns = {r, take_record, take_hole};
    const mrl_manifest *oldest = r->source->manifest_count == 0 ? NULL : r->source->manifests;
    r->log = (mrl_salvage_log){0};
    if (oldest != NULL) {
        r->log = (mrl_salvage_log){.from_id = oldest->log_id,
                                   .after_seq = oldest->replay_seq,
                                   .vouched_seq = r->manifest->seq_max,
                                   .term = r->manifest->term,
                                   .time_ns = r->manifest->time_ns};
        memcpy(r->log.database_id, oldest->database_id, sizeof oldest->database_id);
    }
    merle_err err = mrl_salvage_log_read(r->care, r->source, &r->log, &fns);
    if (err == MERLE_GAP) {
        err = MERLE_OK;
        r->log.last_seq = r->hole_begin - 1;
    }
    return err;
}

/* ---- what does not go together ---- */

typedef struct keyed {
    uint64_t hash, seq;
    uint32_t slot;
} keyed;

static int compare_keyed(const void *a, const void *b) {
    const keyed *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return x->seq > y->seq ? -1 : x->seq < y->seq;
}

static merle_err give_up_document(repairing *r, book *b, uint32_t slot, uint32_t other) {
    mrl_load_collection *target = mrl_load_find(r->load, b->id);
    merle_finding f = {
        .kind = MERLE_FOUND_DUPLICATE, .collection_id = b->id, .slot_first = slot, .slot_count = 1};
    merle_bytes key = mrl_load_key(target, slot, &f.seq_first);
    char text[100];
    uint64_t seq;
    memcpy(f.collection, b->name, sizeof f.collection);
    mrl_report_escape(key, f.key, sizeof f.key);
    mrl_report_escape(mrl_load_key(target, other, &seq), text, sizeof text);
    f.seq_last = f.seq_first;
    snprintf(f.message, sizeof f.message,
             "collection %.63s: the document of commit %" PRIu64
             " in slot %u is given up: %.60s, of "
             "commit %" PRIu64 ", has its key or one of its unique values",
             b->name, f.seq_first, slot, text, seq);
    r->care->info.duplicates++;
    mrl_care_tell(r->care, &f);
    return mrl_load_remove(target, r->care->member, slot, r->log.last_seq);
}

static merle_err compare_keys(repairing *r, book *b, const keyed *list, size_t count) {
    mrl_load_collection *target = mrl_load_find(r->load, b->id);
    merle_err err = MERLE_OK;
    uint64_t seq;
    for (size_t i = 0; i < count; i++) {
        merle_bytes key = mrl_load_key(target, list[i].slot, &seq);
        for (size_t n = i + 1; n < count && list[n].hash == list[i].hash && key.size > 0; n++) {
            merle_bytes other = mrl_load_key(target, list[n].slot, &seq);
            if (other.size != key.size || memcmp(other.data, key.data, key.size) != 0) continue;
            err = give_up_document(r, b, list[n].slot, list[i].slot);
            if (err != MERLE_OK) return err;
        }
    }
    return err;
}

static merle_err drop_double_keys(repairing *r, book *b) {
    mrl_load_collection *target = mrl_load_find(r->load, b->id);
    uint32_t end = target == NULL ? 0 : mrl_load_slots_end(target);
    size_t count = 0;
    keyed *list = malloc(((size_t)end + 1) * sizeof *list);
    if (list == NULL) return MERLE_NO_MEMORY;
    for (uint32_t slot = 0; slot < end; slot++) {
        keyed one = {.slot = slot};
        merle_bytes key = mrl_load_key(target, slot, &one.seq);
        if (key.size == 0) continue;
        one.hash = mrl_hash_bytes(key.data, key.size, 1);
        list[count++] = one;
    }
    qsort(list, count, sizeof *list, compare_keyed);
    merle_err err = compare_keys(r, b, list, count);
    free(list);
    return err;
}

/* Those that an attempt before has met, which had the same documents up to there. */
static merle_err drop_offences(repairing *r) {
    merle_err err = MERLE_OK;
    for (size_t i = 0; i < r->offence_count && err == MERLE_OK; i++) {
        const mrl_load_offence *o = &r->offences[i];
        mrl_load_collection *target = mrl_load_find(r->load, o->collection_id);
        book *b = find_book(r, o->collection_id);
        uint64_t seq, other_seq;
        /* All but the last one were told by the attempts before. */
        r->care->is_quiet = i + 1 < r->offence_count;
        if (target == NULL || b == NULL) continue;
        if (mrl_load_key(target, o->slot, &seq).size == 0) continue;
        if (mrl_load_key(target, o->other_slot, &other_seq).size == 0) continue;
        err = seq < other_seq ? give_up_document(r, b, o->slot, o->other_slot)
                              : give_up_document(r, b, o->other_slot, o->slot);
    }
    r->care->is_quiet = r->offence_count > 0;
    return err;
}

/* ---- what is lost for good ---- */

typedef struct naming {
    repairing *r;
    const bad_page *bad;
    book *b;
} naming;

static merle_err name_document(void *context, const mrl_page_document *d, merle_report *report) {
    const naming *n = context;
    (void)report;
    if (known(n->b, d->slot) != 0) return MERLE_OK;
    tell_lost(
        n->r, n->b, d->slot, d->key, d->seq,
        "collection %s: a document in a page that cannot be read; its key is what can be made "
        "out of the damaged bytes",
        n->b->name);
    return MERLE_OK;
}

/* Documents of pages that neither an older one nor later commits have replaced. */
static void tell_lost_pages(repairing *r) {
    mrl_page_look_begin(&r->look, &r->source->directory, r->manifest);
    for (size_t i = 0; i < r->bad_count; i++) {
        const bad_page *bad = &r->bad[i];
        naming n = {r, bad, find_book(r, bad->collection->id)};
        uint32_t lost = 0;
        if (n.b == NULL) continue;
        for (uint32_t s = 0; s < bad->page->slot_count; s++)
            lost += known(n.b, bad->page->first_slot + s) == 0;
        if (lost == 0) continue;
        merle_finding f = {.kind = MERLE_FOUND_LOST,
                           .collection_id = n.b->id,
                           .offset = bad->page->offset,
                           .slot_first = bad->page->first_slot,
                           .slot_count = bad->page->slot_count};
        mrl_directory_name(MRL_FILE_PAGES, bad->page->file_id, f.file);
        memcpy(f.collection, n.b->name, sizeof f.collection);
        memcpy(f.expected, bad->report.expected, sizeof f.expected);
        memcpy(f.found, bad->report.found, sizeof f.found);
        snprintf(f.message, sizeof f.message,
                 "%s: a page of collection %s is lost: of %u slots from %u on, %u had no later "
                 "whole document; the page had %u documents",
                 f.file, n.b->name, bad->page->slot_count, bad->page->first_slot, lost,
                 bad->page->document_count);
        r->care->info.pages_lost++;
        mrl_care_tell(r->care, &f);
        mrl_page_look_guess(&r->look, bad->page, name_document, &n);
    }
    mrl_page_look_end(&r->look);
}

/* ---- the whole ---- */

static merle_err end_loads(repairing *r) {
    merle_err err = MERLE_OK;
    for (size_t i = 0; i < r->book_count && err == MERLE_OK; i++) {
        book *b = &r->books[i];
        operation o = {r, b, mrl_load_find(r->load, b->id), NULL, r->log.last_seq + 1, 0};
        if (o.target != NULL) err = end_load(&o);
    }
    return err;
}

static merle_err fill(repairing *r) {
    merle_err err = take_pages(r);
    if (err == MERLE_OK) err = take_log(r);
    if (err != MERLE_OK) return err;
    if (r->manifest != NULL && r->log.last_seq < r->manifest->seq_max)
        r->log.last_seq = r->manifest->seq_max;
    err = end_loads(r);
    for (size_t i = 0; i < r->book_count && err == MERLE_OK; i++)
        err = drop_double_keys(r, &r->books[i]);
    if (err == MERLE_OK) err = drop_offences(r);
    if (err == MERLE_OK) tell_lost_pages(r);
    return err == MERLE_OK ? err : no_memory(r);
}

static void forget(repairing *r) {
    close_books(r);
    r->bad_count = 0;
    r->hole_begin = r->hole_end = 0;
}

/* One attempt. *out_offence: two documents with one unique value; the next one knows. */
static merle_err attempt(repairing *r, mrl_load_offence *out_offence) {
    mrl_care *care = r->care;
    mrl_load_options options = {.thread_count = care->options.threads,
                                .functions = care->options.functions,
                                .without_functions = care->options.functions == NULL,
                                .offence = out_offence};
    *out_offence = (mrl_load_offence){0};
    forget(r);
    merle_err err = mrl_load_begin(care->store, care->member, &options, &r->load);
    if (err != MERLE_OK) return no_memory(r);
    err = fill(r);
    if (err != MERLE_OK) {
        mrl_load_cancel(r->load, care->member);
        return err;
    }
    return mrl_load_finish(r->load, care->member, care->report);
}

static merle_err note_offence(repairing *r, const mrl_load_offence *offence) {
    mrl_load_offence *grown = realloc(r->offences, (r->offence_count + 1) * sizeof *grown);
    if (grown == NULL) return no_memory(r);
    r->offences = grown;
    r->offences[r->offence_count++] = *offence;
    return MERLE_OK;
}

/* Attempts until no two documents are against each other. The first one tells all it finds; later
 * ones only what they give up. The last one counts. */
static merle_err attempt_all(repairing *r) {
    const merle_care_info before = r->care->info;
    mrl_load_offence offence;
    merle_err err = MERLE_CORRUPT;
    for (int i = 0; i < ATTEMPTS_MAX; i++) {
        r->care->info = before;
        mrl_report_clear(r->care->report);
        err = attempt(r, &offence);
        if (err != MERLE_CORRUPT || offence.collection_id == 0) return err;
        if ((err = note_offence(r, &offence)) != MERLE_OK) return err;
        r->care->is_quiet = 1;
    }
    return err;
}

/* Where nothing behind a hole is wanted the pages must not be from behind it either. */
static merle_err look_ahead(void *context, const mrl_frame *frame, merle_bytes body) {
    (void)context;
    (void)frame;
    (void)body;
    return MERLE_OK;
}

static merle_err note_hole(void *context, const char *name, uint64_t offset, uint64_t first,
                           uint64_t last) {
    repairing *r = context;
    (void)name;
    (void)offset;
    /* What all pages have is lost for older states only. */
    if (last <= r->manifest->replay_seq) return MERLE_OK;
    r->hole_begin = first;
    return MERLE_GAP;
}

static merle_err choose_manifest(repairing *r) {
    const mrl_salvage_fns fns = {r, look_ahead, note_hole};
    r->manifest = mrl_care_newest(r->source);
    if (r->care->options.behind_holes != MERLE_BEHIND_HOLES_STOP || r->manifest == NULL)
        return MERLE_OK;
    const mrl_manifest *oldest = r->source->manifests;
    mrl_salvage_log log = {.from_id = oldest->log_id,
                           .after_seq = oldest->replay_seq,
                           .vouched_seq = r->manifest->seq_max};
    merle_care_info before = r->care->info;
    r->care->is_quiet = 1;
    memcpy(log.database_id, oldest->database_id, sizeof oldest->database_id);
    merle_err err = mrl_salvage_log_read(r->care, r->source, &log, &fns);
    r->care->info = before;
    r->care->is_quiet = 0;
    if (err != MERLE_GAP) return err;
    for (size_t i = 0; i < r->source->manifest_count; i++)
        if (r->source->manifests[i].seq_max < r->hole_begin) r->manifest = &r->source->manifests[i];
    return MERLE_OK;
}

static merle_err repair(repairing *r, mrl_directory *target) {
    mrl_care *care = r->care;
    merle_err err = choose_manifest(r);
    if (err == MERLE_OK) err = attempt_all(r);
    if (err != MERLE_OK) return err;
    /* Commits may be missing, so whoever was told of them has something else than what is here: no
     * term is known any more. */
    mrl_care_found_options found = {.term = r->log.term,
                                    .seq = r->log.last_seq,
                                    .time_ns = r->log.time_ns,
                                    .log_file_size = r->source->log_file_size};
    memcpy(found.database_id, r->log.database_id, sizeof found.database_id);
    if (r->log.last_seq == 0 && r->source->manifest_count == 0)
        return mrl_report_fill(care->report, MERLE_CORRUPT,
                               "neither a manifest nor the log can be read: nothing can be taken");
    mrl_log_start(care->store->log, found.seq, found.time_ns);
    mrl_expiry_raise(care->store, found.time_ns);
    memcpy(care->info.database_id, found.database_id, sizeof found.database_id);
    care->info.seq = found.seq;
    care->info.time_ns = found.time_ns;
    return mrl_care_found(care, target, &found);
}

merle_err mrl_repair(mrl_care *care, const char *path, const char *to) {
    mrl_care_source source;
    mrl_directory target = {0};
    merle_err err = mrl_care_source_open(care, path, &source);
    if (err != MERLE_OK) return err;
    repairing r = {.care = care, .source = &source};
    err = mrl_care_target_open(care, to, &target);
    if (err == MERLE_OK) err = repair(&r, &target);
    mrl_care_target_close(&target, err);
    close_books(&r);
    free(r.bad);
    free(r.offences);
    mrl_care_source_close(&source);
    return err;
}
