/* store/tagged.c - documents by tag, in sections.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "document/encode.h"
#include "store/entries.h"
#include "store/expiry.h"
#include "store/own.h"
#include "tags/set.h"

enum { LIST_PIECE = 32 };

typedef struct asked_tag {
    mrl_view view;
    mrl_view instant;
    const mrl_schema_index *index;
    const mrl_tag *tag;
    size_t size;
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
} asked_tag;

static merle_err find_tags(const mrl_view *view, const char *name,
                           const mrl_schema_index **out_index) {
    return mrl_read_index(view->section->member, view->root->collection, view->schema, name,
                          MRL_USE_TAGS, out_index);
}

static merle_err refuse_tag(const mrl_view *view, const char *index, const merle_value *tag) {
    return mrl_store_fail_index(view->section->member, MERLE_INVALID, view->root->collection, index,
                                "no document can have %s as its tag, or one as long",
                                mrl_type_text(tag->type));
}

static merle_err ask(asked_tag *asked, merle_section *section, merle_collection *collection,
                     const char *index, const merle_value *tag) {
    merle_err err = mrl_view_open(section, collection, &asked->view);
    if (err != MERLE_OK) return err;
    asked->instant = mrl_view_of_instant(&asked->view);
    if ((err = find_tags(&asked->view, index, &asked->index)) != MERLE_OK) return err;
    err = mrl_encode_value(tag, 0, asked->encoded, sizeof asked->encoded, &asked->size);
    if (err != MERLE_OK) return refuse_tag(&asked->view, index, tag);
    asked->tag = mrl_tags_find(asked->view.root->indexes[asked->index->number].tags,
                               merle_bytes_of(asked->encoded, asked->size));
    return MERLE_OK;
}

/* The documents that have, or had, the tag, of those that the commit has written to. */
static merle_err find_own(const asked_tag *asked, mrl_own_side side, mrl_own_run *out_run) {
    merle_err err = mrl_own_values(&asked->view, asked->index, side, out_run);
    if (out_run->count == 0) return err;
    *out_run = mrl_own_equal(*out_run, merle_bytes_of(asked->encoded, asked->size));
    return err;
}

static int has_tag(const asked_tag *asked, const mrl_version *v) {
    return mrl_entries_have_tag(v, asked->index, merle_bytes_of(asked->encoded, asked->size));
}

static uint64_t count_visible(void *context, const uint32_t *slots, size_t count) {
    const asked_tag *asked = context;
    const mrl_version *versions[MRL_READ_BATCH];
    uint64_t sum = 0;
    for (size_t at = 0; at < count; at += MRL_READ_BATCH) {
        size_t some = count - at < MRL_READ_BATCH ? count - at : MRL_READ_BATCH;
        mrl_view_slots(&asked->instant, slots + at, some, versions);
        for (size_t i = 0; i < some; i++) sum += versions[i] != NULL && has_tag(asked, versions[i]);
    }
    return sum;
}

typedef struct due_tags {
    const asked_tag *asked;
    uint64_t count;
} due_tags;

static int count_due(void *context, const mrl_version *v) {
    due_tags *due = context;
    due->count += (uint64_t)has_tag(due->asked, v);
    return 0;
}

merle_err merle_tag_count(merle_section *section, merle_collection *collection, const char *index,
                          merle_value tag, uint64_t *out_count) {
    asked_tag asked;
    mrl_own_run before = {NULL, 0}, after = {NULL, 0};
    *out_count = 0;
    merle_err err = ask(&asked, section, collection, index, &tag);
    if (err == MERLE_OK) err = find_own(&asked, MRL_OWN_BEFORE, &before);
    if (err == MERLE_OK) err = find_own(&asked, MRL_OWN_AFTER, &after);
    if (err != MERLE_OK) return err;
    due_tags due = {&asked, 0};
    if (mrl_due_count(&asked.view) > 0) (void)mrl_due_each(&asked.view, count_due, &due);
    *out_count = mrl_tag_count(asked.tag, asked.view.section->epoch, count_visible, &asked) -
                 before.count - due.count + after.count;
    return MERLE_OK;
}

/* Where a document of the commit's stands in a scan: in its slot, or behind all slots. */
static uint64_t position_of(const mrl_own_value *own) {
    return (uint64_t)own->slot + (own->slot == MRL_SLOT_NONE ? own->number : 0);
}

/* A scan of one tag, in one section. */
typedef struct tag_walk {
    const asked_tag *asked;
    mrl_own_run own; /* what is still ahead */
    merle_scan *scan;
    merle_doc *docs;
    size_t count, max;
} tag_walk;

static void give(tag_walk *w, const mrl_version *v, uint64_t position) {
    w->docs[w->count++] = mrl_view_doc(v);
    w->scan->position = position + 1;
}

/* Gives what the commit has written before `end`, as far as there is room. */
static void give_own(tag_walk *w, uint64_t end) {
    while (w->own.count > 0 && w->count < w->max && position_of(w->own.list) < end) {
        if (position_of(w->own.list) >= w->scan->position)
            give(w, w->own.list->version, position_of(w->own.list));
        w->own.list++;
        w->own.count--;
    }
}

/* Gives those of the run that the instant shows with the tag; room for all of them. */
static void give_run(tag_walk *w, const mrl_run *run, const mrl_version **versions) {
    for (size_t i = 0; i < run->count; i++)
        if (versions[i] != NULL && (!run->recheck[i] || has_tag(w->asked, versions[i])))
            w->docs[w->count++] = mrl_view_doc(versions[i]);
    w->scan->position = run->from;
}

/* The next few slots of the set, with what the commit has written between them. */
static void step(tag_walk *w) {
    uint32_t slots[MRL_READ_BATCH];
    uint8_t recheck[MRL_READ_BATCH];
    const mrl_version *versions[MRL_READ_BATCH];
    size_t room = w->max - w->count;
    const mrl_view *view = &w->asked->view;
    mrl_run run = {view->section->epoch,
                   (uint32_t)w->scan->position,
                   MRL_TAGS_END - 1,
                   slots,
                   recheck,
                   room < MRL_READ_BATCH ? room : MRL_READ_BATCH,
                   0};
    mrl_tag_read(w->asked->tag, &run);
    mrl_view_slots(view, slots, run.count, versions);
    if (__builtin_expect(w->own.count == 0, 1)) {
        give_run(w, &run, versions);
        return;
    }
    for (size_t i = 0; i < run.count; i++) {
        give_own(w, slots[i]);
        if (w->count == w->max) return;
        if (versions[i] != NULL && (!recheck[i] || has_tag(w->asked, versions[i])))
            give(w, versions[i], slots[i]);
    }
    give_own(w, run.from);
    if (w->own.count == 0 || position_of(w->own.list) >= run.from) w->scan->position = run.from;
}

merle_err merle_tag_next(merle_section *section, merle_collection *collection, const char *index,
                         merle_value tag, merle_scan *scan, merle_doc *out_docs, size_t doc_max,
                         size_t *out_count) {
    asked_tag asked;
    tag_walk w = {.asked = &asked, .scan = scan, .docs = out_docs, .max = doc_max};
    *out_count = 0;
    merle_err err = ask(&asked, section, collection, index, &tag);
    if (err == MERLE_OK) err = find_own(&asked, MRL_OWN_AFTER, &w.own);
    if (err != MERLE_OK) return err;
    while (w.count < doc_max && scan->position < MRL_TAGS_END) step(&w);
    give_own(&w, UINT64_MAX);
    *out_count = w.count;
    return w.count == 0 && doc_max > 0 ? MERLE_NOT_FOUND : MERLE_OK;
}

/* ---- which tags there are ---- */

/* The encoding of a tag that was asked for; none: size 0. */
static merle_err encode_asked(const merle_value *tag, uint8_t *out, merle_bytes *out_bytes) {
    size_t size = 0;
    *out_bytes = merle_bytes_of(out, 0);
    if (tag->type == MERLE_TYPE_NONE) return MERLE_OK;
    if (mrl_encode_value(tag, 0, out, MERLE_VALUE_SIZE_MAX, &size) != MERLE_OK)
        return MERLE_INVALID;
    out_bytes->size = size;
    return MERLE_OK;
}

/* Reads one back. Its text is put at the end of the buffer, which may still move: for the moment
 * tag.bytes.size says how long it is, and tag.bytes.data nothing. */
static merle_err list_one(const mrl_tags_listed *listed, merle_buffer *bytes,
                          merle_tag_listed *out_tag) {
    size_t size;
    merle_err err = mrl_buffer_reserve(bytes, listed->name.size);
    if (err != MERLE_OK) return err;
    err = mrl_decode_value(listed->name, 0, bytes->data + bytes->size, &out_tag->tag, &size);
    MRL_ASSERT(err == MERLE_OK && size == listed->name.size);
    bytes->size += out_tag->tag.bytes.size;
    out_tag->estimate = listed->estimate;
    return MERLE_OK;
}

static merle_err list_some(const mrl_tags *tags, merle_bytes prefix, merle_bytes after,
                           merle_buffer *bytes, merle_tag_listed *out_tags, size_t max,
                           size_t *count) {
    mrl_tags_listed listed[LIST_PIECE];
    size_t wanted, met;
    do {
        wanted = max - *count < LIST_PIECE ? max - *count : LIST_PIECE;
        met = mrl_tags_list(tags, prefix, after, listed, wanted);
        for (size_t i = 0; i < met; i++) {
            merle_err err = list_one(&listed[i], bytes, &out_tags[*count]);
            if (err != MERLE_OK) return err;
            ++*count;
        }
        if (met > 0) after = listed[met - 1].name;
    } while (met == wanted && *count < max);
    return MERLE_OK;
}

merle_err merle_tags_list(merle_section *section, merle_collection *collection, const char *index,
                          merle_value prefix, merle_value after, merle_buffer *bytes,
                          merle_tag_listed *out_tags, size_t tag_max, size_t *out_count) {
    uint8_t begin[MERLE_VALUE_SIZE_MAX], behind[MERLE_VALUE_SIZE_MAX];
    merle_bytes begins, follows;
    const mrl_schema_index *definition;
    mrl_view view;
    size_t count = 0;
    *out_count = 0;
    bytes->size = 0;
    merle_err err = mrl_view_open(section, collection, &view);
    if (err == MERLE_OK) err = find_tags(&view, index, &definition);
    if (err != MERLE_OK) return err;
    if (encode_asked(&prefix, begin, &begins) != MERLE_OK) return refuse_tag(&view, index, &prefix);
    if (encode_asked(&after, behind, &follows) != MERLE_OK) return refuse_tag(&view, index, &after);
    if (begins.size > 0) {
        if (prefix.type != MERLE_TYPE_STR && prefix.type != MERLE_TYPE_BIN)
            return mrl_store_fail_index(view.section->member, MERLE_INVALID, collection, index,
                                        "tags are listed by a string or binary, and not %s",
                                        mrl_type_text(prefix.type));
        begins.size -= 2; /* what ends a string */
    }
    err = list_some(view.root->indexes[definition->number].tags, begins, follows, bytes, out_tags,
                    tag_max, &count);
    if (err != MERLE_OK) return err;
    const uint8_t *text = bytes->data;
    for (size_t i = 0; i < count; i++) {
        if (out_tags[i].tag.bytes.size == 0) continue;
        out_tags[i].tag.bytes.data = text;
        text += out_tags[i].tag.bytes.size;
    }
    *out_count = count;
    return MERLE_OK;
}
