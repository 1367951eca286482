/* load/load.c - taking in what was in files: definitions, documents, changes.
 *
 * A root is filled by its slots alone: a slot has one version, the latest, and nobody looks at
 * tables, since there are none. What a slot had before is freed at once, for nobody else is there.
 *
 * Rules of a schema are not asked again: they were when the documents were written, and whoever
 * migrates may have other ones by now. What the rest of the store relies on is: that the bytes are
 * a document, and that its indexes can hold it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "load/load.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/report.h"
#include "document/check.h"
#include "document/patch.h"
#include "load/load_private.h"
#include "store/definition.h"
#include "store/expiry.h"

/* Slots beyond those that are accounted for: some thirty megabytes at most. */
enum { SLOTS_UNSEEN_MAX = 1 << 22 };

/* ---- a load ---- */

merle_err mrl_load_begin(mrl_store *store, mrl_member *member, const mrl_load_options *options,
                         mrl_load **out_load) {
    *out_load = NULL;
    (void)member;
    MRL_ASSERT(atomic_load_explicit(&store->collections, memory_order_relaxed) == NULL);
    mrl_load *load = calloc(1, sizeof *load);
    if (load == NULL) return MERLE_NO_MEMORY;
    load->store = store;
    load->options = *options;
    load->next_id = 1;
    for (int i = 0; i < MRL_LOAD_SCRATCH_COUNT; i++) mrl_lock_init(&load->scratches[i].lock);
    *out_load = load;
    return MERLE_OK;
}

static void discard(mrl_member *member, mrl_load_collection *c) {
    if (c->root != NULL) mrl_root_destroy(c->root, member);
    if (c->collection != NULL)
        mrl_free(member, MRL_FOR_TABLES, c->collection, sizeof *c->collection);
    free(c);
}

void mrl_load_destroy(mrl_load *load, mrl_member *member) {
    for (uint32_t i = 0; i < load->count; i++) discard(member, load->collections[i]);
    for (int i = 0; i < MRL_LOAD_SCRATCH_COUNT; i++) {
        merle_buffer_free(&load->scratches[i].document);
        merle_buffer_free(&load->scratches[i].extracted);
    }
    free(load->collections);
    free(load);
}

void mrl_load_cancel(mrl_load *load, mrl_member *member) {
    mrl_load_destroy(load, member);
}

/* ---- collections ---- */

/* Where a collection of this id stands, or would. */
static uint32_t place_of(const mrl_load *load, uint32_t id) {
    uint32_t low = 0, high = load->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (load->collections[middle]->collection->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

mrl_load_collection *mrl_load_find(mrl_load *load, uint32_t collection_id) {
    uint32_t at = place_of(load, collection_id);
    if (at == load->count || load->collections[at]->collection->id != collection_id) return NULL;
    return load->collections[at];
}

static int make_room(mrl_load *load) {
    if (load->count < load->capacity) return 1;
    uint32_t capacity = load->capacity * 2 + 16;
    mrl_load_collection **grown = realloc(load->collections, capacity * sizeof *load->collections);
    if (grown == NULL) return 0;
    load->collections = grown;
    load->capacity = capacity;
    return 1;
}

static merle_err no_memory(merle_report *report, const char *name) {
    merle_err err = mrl_report_fill(report, MERLE_NO_MEMORY, "no memory for collection %s", name);
    mrl_report_collection(report, name);
    return err;
}

static merle_err make(mrl_load *load, mrl_member *member, const mrl_schema_reading *reading,
                      mrl_schema *schema, uint64_t seq) {
    mrl_load_collection *c = make_room(load) ? calloc(1, sizeof *c) : NULL;
    if (c == NULL) return MERLE_NO_MEMORY;
    c->load = load;
    if ((c->collection = mrl_collection_create(load->store, member, reading->name)) == NULL)
        goto fail;
    c->collection->id = reading->id;
    if ((c->root = mrl_root_create(member, c->collection, schema)) == NULL) goto fail;
    atomic_store_explicit(&c->root->seq, seq, memory_order_relaxed);
    uint32_t at = place_of(load, reading->id);
    memmove(load->collections + at + 1, load->collections + at,
            (load->count - at) * sizeof *load->collections);
    load->collections[at] = c;
    load->count++;
    mrl_load_next_collection(load, reading->id + 1);
    return MERLE_OK;
fail:
    discard(member, c);
    return MERLE_NO_MEMORY;
}

/* Empty tables of the indexes that there are now. */
static int renew_indexes(mrl_root *root, mrl_member *member, const mrl_schema *schema) {
    for (uint32_t i = 0; i < MERLE_INDEX_COUNT_MAX; i++)
        while (mrl_root_index_clear(root, member, i, SIZE_MAX) != 0) continue;
    for (uint32_t i = 0; i < schema->index_count; i++)
        if (!mrl_root_index_create(root, member, &schema->indexes[i])) return 0;
    return 1;
}

/* Indexes of `schema` that were added and are not in `before`: the documents that are there were
 * not asked. */
static uint32_t added_since(const mrl_schema *before, const mrl_schema *schema) {
    uint32_t added = 0;
    for (uint32_t i = 0; i < schema->index_count; i++)
        if (schema->indexes[i].is_added &&
            (i >= before->index_count ||
             before->indexes[i].declared != schema->indexes[i].declared ||
             strcmp(before->indexes[i].name, schema->indexes[i].name) != 0 ||
             strcmp(before->indexes[i].on, schema->indexes[i].on) != 0))
            added |= (uint32_t)1 << i;
    return added;
}

static merle_err redefine(mrl_load_collection *c, mrl_member *member, mrl_schema *schema) {
    mrl_schema *before = mrl_root_schema_now(c->root);
    uint32_t suspected = atomic_load_explicit(&c->suspected, memory_order_relaxed);
    if (!renew_indexes(c->root, member, schema)) return MERLE_NO_MEMORY;
    if (mrl_load_slots_end(c) > 0) suspected |= added_since(before, schema);
    atomic_store_explicit(&c->suspected, suspected, memory_order_relaxed);
    atomic_store_explicit(&c->root->schema, mrl_schema_hold(schema), memory_order_relaxed);
    mrl_schema_release(before);
    return MERLE_OK;
}

/* The id in a definition, which must be a map with one; 0: it is none. */
static uint32_t id_in(merle_bytes definition) {
    merle_doc doc;
    if (merle_doc_over(definition, &doc) != MERLE_OK) return 0;
    uint64_t id = merle_doc_uint(doc, "id", 0);
    return id > UINT32_MAX ? 0 : (uint32_t)id;
}

merle_err mrl_load_define(mrl_load *load, mrl_member *member, merle_bytes definition, uint64_t seq,
                          merle_report *report) {
    mrl_schema *schema;
    mrl_load_collection *c = mrl_load_find(load, id_in(definition));
    mrl_schema_reading reading = {.functions = load->options.functions,
                                  .without_functions = load->options.without_functions};
    if (c != NULL) reading.before = mrl_root_schema_now(c->root);
    merle_err err = mrl_schema_read(&reading, definition, &schema, report);
    if (err != MERLE_OK) return err;
    if (c == NULL) {
        err = make(load, member, &reading, schema, seq);
    } else if (strcmp(reading.name, c->collection->name) != 0) {
        err = mrl_report_fill(report, MERLE_CORRUPT, "collection %u is called %s, and then %s",
                              reading.id, c->collection->name, reading.name);
        mrl_report_collection(report, c->collection->name);
    } else {
        err = redefine(c, member, schema);
    }
    if (err == MERLE_NO_MEMORY) (void)no_memory(report, reading.name);
    mrl_schema_release(schema);
    return err;
}

merle_err mrl_load_drop(mrl_load *load, mrl_member *member, uint32_t collection_id, uint64_t seq) {
    uint32_t at = place_of(load, collection_id);
    (void)seq;
    if (mrl_load_find(load, collection_id) == NULL) return MERLE_CORRUPT;
    discard(member, load->collections[at]);
    load->count--;
    memmove(load->collections + at, load->collections + at + 1,
            (load->count - at) * sizeof *load->collections);
    return MERLE_OK;
}

void mrl_load_next_collection(mrl_load *load, uint32_t next_id) {
    if (load->next_id < next_id) load->next_id = next_id;
}

void mrl_load_truncated(mrl_load_collection *c, uint64_t seq) {
    if (seq > atomic_load_explicit(&c->root->seq, memory_order_relaxed))
        atomic_store_explicit(&c->root->seq, seq, memory_order_relaxed);
}

void mrl_load_ids(mrl_load_collection *c, uint64_t end) {
    if (atomic_load_explicit(&c->collection->id_end, memory_order_relaxed) >= end) return;
    atomic_store_explicit(&c->collection->id_next, end, memory_order_relaxed);
    atomic_store_explicit(&c->collection->id_end, end, memory_order_relaxed);
    c->collection->id_aside = end;
}

merle_err mrl_load_settle(mrl_load_collection *c, mrl_member *member) {
    uint32_t end = mrl_load_slots_end(c);
    merle_err err = MERLE_OK;
    if (c->loading_since == 0) return err;
    for (uint32_t slot = 0; slot < end && err == MERLE_OK; slot++)
        if (mrl_slots_load(&c->root->slots, slot) != NULL)
            err = mrl_load_remove(c, member, slot, c->loading_since);
    if (err == MERLE_OK) c->loading_since = 0;
    return err;
}

merle_err mrl_load_concern(mrl_load_collection *c, mrl_member *member, mrl_record_kind kind,
                           uint32_t origin, uint64_t seq) {
    if (kind == MRL_RECORD_SEQUENCE) return MERLE_OK;
    if (origin != MERLE_ORIGIN_LOAD || kind == MRL_RECORD_TRUNCATE) {
        merle_err err = mrl_load_settle(c, member);
        if (err != MERLE_OK || origin != MERLE_ORIGIN_LOAD) return err;
        c->loading_since = seq;
    }
    if (kind != MRL_RECORD_LOADED) return MERLE_OK;
    c->loading_since = 0;
    mrl_load_truncated(c, seq);
    return MERLE_OK;
}

int mrl_load_is_loading(const mrl_load_collection *c) {
    return c->loading_since != 0;
}

void mrl_load_expect(mrl_load_collection *c, uint64_t slots) {
    c->slots_expected += slots;
}

/* Slots that commits had taken when they failed are not accounted for: they were given back, and
 * may never have been used. There are never many. */
int mrl_load_has_slot(const mrl_load_collection *c, uint32_t slot) {
    return slot < c->slots_expected + SLOTS_UNSEEN_MAX;
}

uint32_t mrl_load_slots_end(const mrl_load_collection *c) {
    return mrl_slots_end(&c->root->slots);
}

merle_bytes mrl_load_key(const mrl_load_collection *c, uint32_t slot, uint64_t *out_seq) {
    const mrl_version *v = mrl_slots_load(&c->root->slots, slot);
    *out_seq = v == NULL ? 0 : mrl_version_seq(v);
    return v == NULL ? merle_bytes_of(NULL, 0) : mrl_version_key(v);
}

/* ---- documents ---- */

/* One document on its way in. */
typedef struct taking {
    mrl_load_collection *c;
    mrl_member *member;
    mrl_load_scratch *scratch;
    uint32_t slot;
    merle_bytes key, doc;
    uint64_t seq;
    int64_t expires_ns;
    merle_report *report;
} taking;

/* More threads than scratches share them. */
static mrl_load_scratch *take_scratch(mrl_load *load, const mrl_member *member) {
    uint32_t first = (uint32_t)(member->thread % MRL_LOAD_SCRATCH_COUNT);
    for (uint32_t i = 0; i < MRL_LOAD_SCRATCH_COUNT; i++) {
        mrl_load_scratch *scratch = &load->scratches[(first + i) % MRL_LOAD_SCRATCH_COUNT];
        if (mrl_lock_try(&scratch->lock)) return scratch;
    }
    mrl_lock_take(&load->scratches[first].lock);
    return &load->scratches[first];
}

/* What is wrong with a document that comes from a file: the report keeps its sentence. */
static merle_err refuse(const taking *t, merle_err err) {
    if (t->report != NULL) {
        t->report->err = err;
        mrl_report_prefix(t->report, "collection %s, slot %u: ", t->c->collection->name, t->slot);
        mrl_report_collection(t->report, t->c->collection->name);
        if (t->key.size <= MERLE_KEY_SIZE_MAX) mrl_report_key(t->report, t->key);
    }
    return err;
}

static merle_err judge(const taking *t, merle_err err) {
    if (err == MERLE_OK) return err;
    return refuse(t, err == MERLE_NO_MEMORY ? err : MERLE_CORRUPT);
}

static merle_err check_place(const taking *t) {
    if (t->slot >= MRL_SLOT_COUNT_MAX)
        return refuse(t, mrl_report_fill(t->report, MERLE_CORRUPT, "there is no such slot"));
    if (t->key.size == 0 || t->key.size > MERLE_KEY_SIZE_MAX)
        return refuse(
            t, mrl_report_fill(t->report, MERLE_CORRUPT, "the key has %zu bytes", t->key.size));
    return MERLE_OK;
}

/* An error is the function's of an index, or says that an index cannot hold what it was asked to
 * hold when the document was written. */
static merle_err locate(taking *t, const mrl_schema *schema) {
    uint32_t against;
    merle_err err = mrl_schema_accept_doc(schema, t->key, t->doc, t->scratch->offsets,
                                          &t->scratch->extracted, &against, t->report);
    if (against != 0) atomic_fetch_or_explicit(&t->c->suspected, against, memory_order_relaxed);
    if (err == MERLE_OK || err == MERLE_NO_MEMORY) return judge(t, err);
    for (uint32_t i = 0; i < schema->index_count; i++)
        if (schema->indexes[i].extract != NULL) return refuse(t, MERLE_DIFFERS);
    return refuse(t, MERLE_CORRUPT);
}

/* The document is checked. */
static merle_err install(taking *t) {
    mrl_root *root = t->c->root;
    const mrl_schema *schema = mrl_root_schema_now(root);
    merle_err err = locate(t, schema);
    if (err != MERLE_OK) return err;
    mrl_version *v = mrl_version_create(t->member, schema, t->key, t->doc, t->scratch->offsets,
                                        &t->scratch->extracted, t->expires_ns);
    mrl_ordered *by_time;
    /* Filled in the end; that it is there says that it has to be. */
    if (t->expires_ns != 0 && mrl_expiry_index(root, t->member, &by_time) != MERLE_OK) {
        if (v != NULL) mrl_version_free(t->member, v);
        v = NULL;
    }
    err = v == NULL ? MERLE_NO_MEMORY : mrl_slots_give(&root->slots, t->member, t->slot);
    if (err != MERLE_OK) {
        if (v != NULL) mrl_version_free(t->member, v);
        return refuse(t, mrl_report_fill(t->report, err, "no memory for the document"));
    }
    v->slot = t->slot;
    atomic_store_explicit(&v->seq, t->seq, memory_order_relaxed);
    mrl_version *before = mrl_slots_load(&root->slots, t->slot);
    mrl_slots_store(&root->slots, t->slot, v);
    mrl_slots_mark_late(&root->slots, t->slot, t->seq);
    if (before != NULL) mrl_version_free(t->member, before);
    return MERLE_OK;
}

merle_err mrl_load_put(mrl_load_collection *c, mrl_member *member, uint32_t slot, merle_bytes key,
                       merle_bytes doc, uint64_t seq, int64_t expires_ns, merle_report *report) {
    taking t = {c, member, NULL, slot, key, doc, seq, expires_ns, report};
    merle_err err = check_place(&t);
    if (err == MERLE_OK) err = judge(&t, mrl_check_document(doc.data, doc.size, report));
    if (err != MERLE_OK) return err;
    t.scratch = take_scratch(c->load, member);
    err = install(&t);
    mrl_lock_drop(&t.scratch->lock);
    return err;
}

static merle_err apply(taking *t, merle_bytes effect) {
    const mrl_version *v = mrl_slots_load(&t->c->root->slots, t->slot);
    if (v == NULL || v->key_size != t->key.size || memcmp(v->bytes, t->key.data, t->key.size) != 0)
        return refuse(t, mrl_report_fill(t->report, MERLE_CORRUPT,
                                         "a change of a document that is not there"));
    t->scratch->document.size = 0;
    merle_err err =
        mrl_effect_apply(mrl_version_doc(v), v->doc_size, effect, &t->scratch->document, t->report);
    if (err != MERLE_OK) return judge(t, err);
    t->doc = merle_bytes_of(t->scratch->document.data, t->scratch->document.size);
    return install(t);
}

merle_err mrl_load_effect(mrl_load_collection *c, mrl_member *member, uint32_t slot,
                          merle_bytes key, merle_bytes effect, uint64_t seq, int64_t expires_ns,
                          merle_report *report) {
    taking t = {c, member, NULL, slot, key, merle_bytes_of(NULL, 0), seq, expires_ns, report};
    merle_err err = check_place(&t);
    if (err != MERLE_OK) return err;
    t.scratch = take_scratch(c->load, member);
    err = apply(&t, effect);
    mrl_lock_drop(&t.scratch->lock);
    return err;
}

merle_err mrl_load_remove(mrl_load_collection *c, mrl_member *member, uint32_t slot, uint64_t seq) {
    mrl_slots *slots = &c->root->slots;
    if (slot >= MRL_SLOT_COUNT_MAX) return MERLE_CORRUPT;
    merle_err err = mrl_slots_give(slots, member, slot);
    if (err != MERLE_OK) return err;
    mrl_version *before = mrl_slots_load(slots, slot);
    mrl_slots_store(slots, slot, NULL);
    mrl_slots_mark_late(slots, slot, seq);
    if (before != NULL) mrl_version_free(member, before);
    return MERLE_OK;
}
