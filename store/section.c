/* store/section.c - reading: sections, get, unique, many, scan, count.
 *
 * A section enters the epoch and then notes S, the last published seq. In this order: a version
 * that S can see is superseded after S was noted, thus after the epoch was entered, and its ticket
 * cannot pass before the section ends. The other way round a version could be freed between the
 * two.
 * A reader takes no lock. It loads the current version and walks to the version before while seq >
 * S.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/assert.h"
#include "base/self.h"
#include "document/encode.h"
#include "store/commit.h"
#include "store/expiry.h"
#include "store/own.h"

#define SECTION_CHECK 0x6d65726c65736563u

enum { BATCH = 16 };

static mrl_section *section_of(merle_section *section) {
    return (mrl_section *)section;
}

/* NULL: not an open section of this thread. */
mrl_section *mrl_section_own(merle_section *section, merle_err *out_err) {
    mrl_section *own = section_of(section);
    *out_err = MERLE_INVALID;
    if (own->check != SECTION_CHECK) return NULL;
    *out_err = MERLE_FORKED;
    if (mrl_domain_is_forked(own->store->domain)) return NULL;
    *out_err = MERLE_WRONG_THREAD;
    mrl_self *self = mrl_self_get();
    if (__builtin_expect(self->member == own->member, 1)) return own;
    return mrl_member_join(own->store->domain) == own->member ? own : NULL;
}

void mrl_section_open(mrl_store *store, mrl_member *member, mrl_section *out_section) {
    mrl_member_enter(member, &out_section->token);
    mrl_point("section.entered");
    /* Loaded before S: see mrl_ordered_viewer and tags/set.h. */
    out_section->epoch = mrl_epoch_at_begin(store->domain);
    out_section->seq = mrl_log_published_at(store->published);
    /* After S: who sees a commit by which something can expire sees that it can. */
    out_section->now_ns = mrl_expiry_now(store);
    out_section->store = store;
    out_section->member = member;
    out_section->commit = NULL;
    out_section->check = SECTION_CHECK;
    mrl_member_note_begin(member, out_section->seq);
}

void mrl_section_close(mrl_section *section) {
    section->check = 0;
    mrl_member_note_end(section->member, section->seq);
    mrl_member_leave(section->member, &section->token);
}

merle_err merle_section_begin(merle_db *db, merle_section *out_section) {
    section_of(out_section)->check = 0;
    if (db == NULL) return MERLE_INVALID;
    mrl_store *store = mrl_db_store(db);
    if (mrl_domain_is_forked(store->domain)) return MERLE_FORKED;
    mrl_member *member = mrl_member_join(store->domain);
    if (member == NULL) return MERLE_NO_MEMORY;
    mrl_section_open(store, member, section_of(out_section));
    return MERLE_OK;
}

merle_err merle_section_end(merle_section *section) {
    merle_err err;
    mrl_section *own = mrl_section_own(section, &err);
    if (own == NULL) return err;
    mrl_section_close(own);
    return MERLE_OK;
}

uint64_t merle_section_seq(const merle_section *section) {
    return ((const mrl_section *)section)->seq;
}

/* The section's instant is before the collection's first. Where its commit writes into it there is
 * nothing for these writes to stand on. */
static merle_err judge_unborn(const mrl_section *section, const merle_collection *collection) {
    const mrl_portion *part =
        section->commit == NULL ? NULL : mrl_commit_find_part(section->commit, collection);
    return part == NULL || part->touch_count == 0 ? MERLE_NOT_FOUND : MERLE_CONFLICT;
}

/* The root that the section sees, if there is one with documents. */
merle_err mrl_section_root(const mrl_section *section, const merle_collection *collection,
                           mrl_root **out_root) {
    *out_root = NULL;
    if (collection == NULL || collection->store != section->store) return MERLE_INVALID;
    mrl_root *root = mrl_collection_root(collection, section->seq);
    if (__builtin_expect(root == NULL, 0)) return judge_unborn(section, collection);
    if (__builtin_expect(root->is_dropped, 0)) return MERLE_GONE;
    *out_root = root;
    return MERLE_OK;
}

static merle_err check_key(merle_bytes key) {
    return key.data == NULL || key.size == 0 || key.size > MERLE_KEY_SIZE_MAX ? MERLE_INVALID
                                                                              : MERLE_OK;
}

/* ---- one key ---- */

/* What the section's commit has made of the document under key: 1, *out_version is NULL if it is
 * removed; 0: the commit has left it alone. */
static int find_own(const mrl_section *own, const merle_collection *collection,
                    const mrl_root *root, merle_bytes key, const mrl_version **out_version,
                    merle_err *out_err) {
    const mrl_portion *part = mrl_commit_find_part(own->commit, collection);
    mrl_touch *touch =
        part == NULL ? NULL
                     : mrl_commit_find_touch(own->commit, part, mrl_root_hash(root, key), key);
    *out_version = NULL;
    if (touch == NULL) return 0;
    *out_err = mrl_touch_show(own->commit, touch, root);
    if (*out_err == MERLE_OK) *out_version = mrl_touch_after(touch);
    return 1;
}

/* A get in a commit that has written something. */
static merle_err get_in_commit(const mrl_section *own, const merle_collection *collection,
                               const mrl_root *root, merle_bytes key, merle_doc *out_doc) {
    const mrl_version *v;
    merle_err err = MERLE_OK;
    mrl_count(own->member, MRL_N_GETS, 1);
    if (!find_own(own, collection, root, key, &v, &err))
        v = mrl_section_version(own, mrl_root_find(root, mrl_root_hash(root, key), key));
    if (err != MERLE_OK) return err;
    if (v == NULL) {
        mrl_count(own->member, MRL_N_GETS_MISSED, 1);
        return MERLE_NOT_FOUND;
    }
    *out_doc = mrl_view_doc(v);
    return MERLE_OK;
}

merle_err merle_get(merle_section *section, merle_collection *collection, merle_bytes key,
                    merle_doc *out_doc) {
    merle_err err;
    mrl_root *root;
    memset(out_doc, 0, sizeof *out_doc);
    mrl_section *own = mrl_section_own(section, &err);
    if (own == NULL) return err;
    if ((err = mrl_section_root(own, collection, &root)) != MERLE_OK) return err;
    if ((err = check_key(key)) != MERLE_OK) return err;
    if (__builtin_expect(own->commit != NULL, 0))
        return get_in_commit(own, collection, root, key, out_doc);
    mrl_count(own->member, MRL_N_GETS, 1);
    const mrl_version *v =
        mrl_section_version(own, mrl_root_find(root, mrl_root_hash(root, key), key));
    if (v == NULL) {
        mrl_count(own->member, MRL_N_GETS_MISSED, 1);
        return MERLE_NOT_FOUND;
    }
    *out_doc = mrl_version_view(v);
    return MERLE_OK;
}

merle_err merle_exists(merle_section *section, merle_collection *collection, merle_bytes key) {
    merle_doc doc;
    return merle_get(section, collection, key, &doc);
}

/* ---- many at once ---- */

static size_t get_batch(mrl_section *own, const mrl_root *root, const merle_bytes *keys,
                        size_t count, merle_doc *out_docs) {
    uint64_t hashes[BATCH];
    mrl_version *seen[BATCH];
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        hashes[i] = mrl_root_hash(root, keys[i]);
        mrl_root_prefetch(root, hashes[i]);
    }
    for (size_t i = 0; i < count; i++) seen[i] = mrl_root_peek(root, hashes[i]);
    for (size_t i = 0; i < count; i++) {
        const mrl_version *v = seen[i];
        if (v != NULL &&
            (v->key_size != keys[i].size || memcmp(v->bytes, keys[i].data, keys[i].size) != 0))
            v = mrl_root_find(root, hashes[i], keys[i]);
        v = mrl_section_version(own, v);
        memset(&out_docs[i], 0, sizeof out_docs[i]);
        if (v == NULL) continue;
        out_docs[i] = mrl_version_view(v);
        __builtin_prefetch(out_docs[i].data + 64);
        found++;
    }
    return found;
}

/* Puts what the section's commit has written over what the instant shows. */
static merle_err add_own(const mrl_section *own, const merle_collection *collection,
                         const mrl_root *root, const merle_bytes *keys, size_t count,
                         merle_doc *out_docs, size_t *found) {
    for (size_t i = 0; i < count; i++) {
        const mrl_version *v;
        merle_err err = MERLE_OK;
        if (!find_own(own, collection, root, keys[i], &v, &err)) continue;
        if (err != MERLE_OK) return err;
        *found -= out_docs[i].data != NULL;
        *found += v != NULL;
        memset(&out_docs[i], 0, sizeof out_docs[i]);
        if (v != NULL) out_docs[i] = mrl_view_doc(v);
    }
    return MERLE_OK;
}

merle_err merle_get_many(merle_section *section, merle_collection *collection,
                         const merle_bytes *keys, size_t key_count, merle_doc *out_docs,
                         size_t *out_found) {
    merle_err err;
    mrl_root *root;
    size_t found = 0;
    if (out_found != NULL) *out_found = 0;
    mrl_section *own = mrl_section_own(section, &err);
    if (own == NULL) return err;
    if ((err = mrl_section_root(own, collection, &root)) != MERLE_OK) return err;
    for (size_t i = 0; i < key_count; i++)
        if ((err = check_key(keys[i])) != MERLE_OK) return err;
    for (size_t i = 0; i < key_count; i += BATCH) {
        size_t count = key_count - i < BATCH ? key_count - i : BATCH;
        found += get_batch(own, root, keys + i, count, out_docs + i);
    }
    if (own->commit != NULL &&
        (err = add_own(own, collection, root, keys, key_count, out_docs, &found)) != MERLE_OK) {
        memset(out_docs, 0, key_count * sizeof *out_docs);
        return err;
    }
    mrl_count(own->member, MRL_N_GETS, key_count);
    mrl_count(own->member, MRL_N_GETS_MISSED, key_count - found);
    if (out_found != NULL) *out_found = found;
    return MERLE_OK;
}

/* ---- unique values ---- */

static int serves(const mrl_schema_index *index, mrl_index_use use) {
    return use == MRL_USE_RANGES ? mrl_index_has_tree(index)
           : use == MRL_USE_TAGS ? mrl_index_has_tags(index)
                                 : mrl_index_is_unique(index);
}

merle_err mrl_read_index(mrl_member *member, const merle_collection *collection,
                         const mrl_schema *schema, const char *name, mrl_index_use use,
                         const mrl_schema_index **out_index) {
    static const char *const kinds[] = {"has no order", "is none of tags", "is not unique"};
    merle_err err = mrl_schema_read_index(schema, name, out_index);
    if (err == MERLE_OK && serves(*out_index, use)) return err;
    const char *told = name == NULL ? "" : name;
    if (err == MERLE_NOT_READY)
        return mrl_store_fail_index(member, err, collection, told,
                                    "index %s was not built yet when the section began", told);
    if (err != MERLE_OK)
        return mrl_store_fail_index(member, err, collection, told, "there is no index %s", told);
    *out_index = NULL;
    return mrl_store_fail_index(member, MERLE_INVALID, collection, told, "index %s %s", told,
                                kinds[use]);
}

merle_err mrl_encode_asked(mrl_member *member, const merle_collection *collection,
                           const mrl_schema *schema, const char *name, const merle_value *values,
                           size_t value_count, const mrl_schema_index **out_index, uint8_t *out,
                           size_t *out_size) {
    *out_size = 0;
    merle_err found = mrl_read_index(member, collection, schema, name, MRL_USE_UNIQUE, out_index);
    if (found != MERLE_OK) return found;
    const mrl_schema_index *index = *out_index;
    if (index->part_count != value_count)
        return mrl_store_fail_index(member, MERLE_INVALID, collection, name,
                                    "index %s has %u fields, and %zu values were given", name,
                                    index->part_count, value_count);
    for (size_t i = 0; i < value_count; i++) {
        size_t size = 0;
        /* A value that no document may have is found in none. */
        if (values[i].type == MERLE_TYPE_NIL || values[i].type == MERLE_TYPE_NONE)
            return MERLE_NOT_FOUND;
        merle_err err = mrl_encode_value(&values[i], (int)index->parts[i].descending,
                                         out + *out_size, MERLE_VALUE_SIZE_MAX - *out_size, &size);
        if (err == MERLE_TOO_BIG) return MERLE_NOT_FOUND;
        if (err != MERLE_OK)
            return mrl_store_fail_index(member, MERLE_INVALID, collection, name,
                                        "index %s cannot hold %s", name,
                                        mrl_type_text(values[i].type));
        *out_size += size;
    }
    return MERLE_OK;
}

/* Who has the value in the commit of the view; *out_version is NULL: nobody. */
static merle_err find_own_unique(const mrl_view *view, const mrl_schema_index *index,
                                 merle_bytes value, const mrl_version **out_version) {
    mrl_own_run run;
    *out_version = NULL;
    merle_err err = mrl_own_values(view, index, MRL_OWN_AFTER, &run);
    if (err != MERLE_OK) return err;
    run = mrl_own_equal(run, value);
    if (run.count > 0) *out_version = run.list[0].version;
    return MERLE_OK;
}

merle_err merle_get_unique(merle_section *section, merle_collection *collection, const char *index,
                           const merle_value *values, size_t value_count, merle_doc *out_doc) {
    mrl_view view;
    const mrl_schema_index *definition;
    const mrl_version *v = NULL;
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    size_t size;
    memset(out_doc, 0, sizeof *out_doc);
    merle_err err = mrl_view_open(section, collection, &view);
    if (err != MERLE_OK) return err;
    mrl_count(view.section->member, MRL_N_GETS_UNIQUE, 1);
    err = mrl_encode_asked(view.section->member, collection, view.schema, index, values,
                           value_count, &definition, encoded, &size);
    if (err == MERLE_OK && view.own_count > 0)
        err = find_own_unique(&view, definition, merle_bytes_of(encoded, size), &v);
    if (err != MERLE_OK) return err;
    if (v == NULL) {
        uint64_t hash =
            mrl_unique_hash(view.root->indexes[definition->number].unique, encoded, size);
        v = mrl_root_find_unique(view.root, definition, encoded, size, hash, view.section->seq);
        if (v != NULL) v = mrl_section_judge(view.section, v);
        if (v != NULL && view.own_count > 0 && mrl_view_find_own(&view, v->slot) != NULL) v = NULL;
    }
    if (v == NULL) return MERLE_NOT_FOUND;
    *out_doc = mrl_view_doc(v);
    return MERLE_OK;
}

merle_bytes merle_doc_key(merle_doc doc) {
    const mrl_version *v = doc.internal;
    return v == NULL ? merle_bytes_of(NULL, 0) : mrl_version_key(v);
}

int64_t merle_doc_expires(merle_doc doc) {
    const mrl_version *v = doc.internal;
    return v == NULL ? 0 : mrl_version_expires(v);
}

/* ---- many slots ---- */

void mrl_read_slots_at(const mrl_section *section, const mrl_root *root, const uint32_t *slots,
                       size_t count, const mrl_version **out_versions) {
    const _Atomic(mrl_version *) *places[MRL_READ_BATCH];
    MRL_DEBUG_ASSERT(count <= MRL_READ_BATCH);
    for (size_t i = 0; i < count; i++) {
        places[i] = mrl_slots_place(&root->slots, slots[i]);
        __builtin_prefetch((const void *)places[i]);
    }
    for (size_t i = 0; i < count; i++) {
        /* Acquire: as in mrl_slots_load. */
        const mrl_version *v =
            places[i] == NULL ? NULL : atomic_load_explicit(places[i], memory_order_acquire);
        out_versions[i] = v;
        if (v == NULL) continue;
        __builtin_prefetch(v);
        __builtin_prefetch((const uint8_t *)v + 64);
    }
    for (size_t i = 0; i < count; i++)
        out_versions[i] = mrl_version_at(out_versions[i], section->seq);
}

void mrl_read_slots(const mrl_section *section, const mrl_root *root, const uint32_t *slots,
                    size_t count, const mrl_version **out_versions) {
    mrl_read_slots_at(section, root, slots, count, out_versions);
    if (__builtin_expect(section->now_ns == INT64_MIN, 1)) return;
    for (size_t i = 0; i < count; i++)
        if (out_versions[i] != NULL) out_versions[i] = mrl_section_judge(section, out_versions[i]);
}

/* ---- scan and count ---- */

/* The next live version at S from slot on; *slot is moved behind it. Versions of the next slots are
 * prefetched on the way. */
static const mrl_version *next_version(const mrl_section *section, const mrl_slots *slots,
                                       uint32_t end, uint32_t *slot) {
    while (*slot < end) {
        if (*slot + BATCH < end) __builtin_prefetch(mrl_slots_load(slots, *slot + BATCH));
        const mrl_version *v = mrl_section_version(section, mrl_slots_load(slots, *slot));
        ++*slot;
        if (v != NULL) return v;
    }
    return NULL;
}

/* Fills in what the slots from scan->position on show. */
static void scan_slots(const mrl_view *view, merle_scan *scan, merle_doc *out_docs, size_t doc_max,
                       size_t *count) {
    const mrl_slots *slots = &view->root->slots;
    uint32_t end = mrl_slots_end(slots);
    uint32_t slot = (uint32_t)scan->position;
    while (*count < doc_max) {
        const mrl_version *v = next_version(view->section, slots, end, &slot);
        if (v == NULL) break;
        const mrl_own *own =
            __builtin_expect(view->own_count == 0, 1) ? NULL : mrl_view_find_own(view, v->slot);
        if (own != NULL && (v = own->after) == NULL) continue;
        out_docs[(*count)++] = mrl_view_doc(v);
    }
    scan->position = slot;
}

/* Behind the slots: what the commit has added, by number. */
static void scan_new(const mrl_view *view, merle_scan *scan, merle_doc *out_docs, size_t doc_max,
                     size_t *count) {
    if (*count < doc_max && scan->position < MRL_SLOT_NONE) scan->position = MRL_SLOT_NONE;
    for (size_t i = mrl_view_first_new(view); i < view->own_count && *count < doc_max; i++) {
        const mrl_own *own = &view->own[i];
        uint64_t position = (uint64_t)MRL_SLOT_NONE + own->number;
        if (position < scan->position || own->after == NULL) continue;
        out_docs[(*count)++] = mrl_view_doc(own->after);
        scan->position = position + 1;
    }
}

merle_err merle_scan_next(merle_section *section, merle_collection *collection, merle_scan *scan,
                          merle_doc *out_docs, size_t doc_max, size_t *out_count) {
    mrl_view view;
    *out_count = 0;
    merle_err err = mrl_view_open(section, collection, &view);
    if (err != MERLE_OK) return err;
    mrl_count(view.section->member, MRL_N_SCANS, 1);
    if (scan->position < mrl_slots_end(&view.root->slots))
        scan_slots(&view, scan, out_docs, doc_max, out_count);
    if (view.own_count > 0) scan_new(&view, scan, out_docs, doc_max, out_count);
    return *out_count == 0 && doc_max > 0 ? MERLE_NOT_FOUND : MERLE_OK;
}

merle_err merle_count(merle_section *section, merle_collection *collection, uint64_t *out_count) {
    mrl_view view;
    uint64_t count = 0;
    *out_count = 0;
    merle_err err = mrl_view_open(section, collection, &view);
    if (err != MERLE_OK) return err;
    if (mrl_root_count(view.root, view.section->seq, &count) != MERLE_OK) {
        uint32_t end = mrl_slots_end(&view.root->slots), slot = 0;
        for (count = 0; next_version(view.section, &view.root->slots, end, &slot) != NULL;) count++;
    } else {
        count -= mrl_due_count(&view);
    }
    for (size_t i = 0; i < view.own_count; i++)
        count += (uint64_t)(view.own[i].after != NULL) - (view.own[i].before != NULL);
    *out_count = count;
    return MERLE_OK;
}

uint64_t merle_count_estimate(merle_collection *collection) {
    mrl_store *store = collection->store;
    mrl_member *member = mrl_member_join(store->domain);
    if (member == NULL || mrl_domain_is_forked(store->domain)) return 0;
    /* The root may be replaced and freed meanwhile: look at it in a section. */
    mrl_epoch_token token;
    mrl_member_enter(member, &token);
    mrl_root *root = mrl_collection_current(collection);
    uint64_t count = root == NULL || root->is_dropped ? 0 : mrl_root_count_now(root);
    mrl_member_leave(member, &token);
    return count;
}
