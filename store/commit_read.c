/* store/commit_read.c - reading inside a commit, and checking at its end that it still holds.
 *
 * A read gives the commit's instant S with its own writes on top, and notes what was found or not
 * found, by key or by unique value. When the commit ends the shards of all that was read are locked
 * too, and the current state must be the one that was seen: so the commit is serializable for what
 * it read this way.
 *
 * A unique value is looked for among the commit's own writes, too. Which of them the answer rests
 * on: the one that has the value; and each that a document of another state than the instant shows
 * could give a value, which are the patches that touch a field of the index. Of the others either
 * the value is certain, or it is that of the document as it is, which the check of the value sees.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "document/encode.h"
#include "store/commit.h"
#include "store/expiry.h"
#include "store/own.h"

static merle_err note_read(merle_commit *commit, mrl_portion *part, const mrl_schema_index *index,
                           merle_bytes what, uint64_t hash, const mrl_version *seen) {
    mrl_read *read = mrl_arena_take(&commit->arena, commit->member, sizeof *read);
    if (read == NULL) return MERLE_NO_MEMORY;
    merle_err err = mrl_commit_copy(commit, what, &read->what);
    if (err != MERLE_OK) return err;
    read->part = part;
    read->index = index;
    read->hash = hash;
    read->seen = seen;
    read->next = commit->reads;
    commit->reads = read;
    part->has_reads = 1;
    return MERLE_OK;
}

/* The part, and the root that the commit's instant sees. A collection that was truncated or made
 * since is a conflict waiting to be told at the end: the roots differ. */
static merle_err open_part(merle_commit *commit, merle_collection *collection,
                           mrl_portion **out_part, mrl_root **out_root) {
    merle_err err = mrl_commit_part(commit, collection, out_part);
    if (err != MERLE_OK) return err;
    mrl_root *root = mrl_collection_root(collection, commit->section.seq);
    if (root == NULL) return MERLE_CONFLICT;
    if (root->is_dropped) return MERLE_GONE;
    /* Whether it was read is noted where something was: a read that fails binds nobody. */
    (*out_part)->read_root = root;
    *out_root = root;
    return MERLE_OK;
}

/* A put stands by itself; anything else that was read back rests on what the instant showed. */
static void note_read_back(mrl_touch *touch) {
    if (touch->first->kind == MRL_ACTION_PUT) return;
    touch->is_read_back = 1;
    touch->part->has_reads = 1;
}

static merle_err give(const mrl_version *v, merle_doc *out_doc) {
    if (v == NULL) return MERLE_NOT_FOUND;
    *out_doc = mrl_version_view(v);
    if (out_doc->seq == MRL_SEQ_NONE) out_doc->seq = 0;
    return MERLE_OK;
}

merle_err merle_commit_get(merle_commit *commit, merle_collection *collection, merle_bytes key,
                           merle_doc *out_doc) {
    merle_err err;
    mrl_portion *part;
    mrl_root *root;
    memset(out_doc, 0, sizeof *out_doc);
    if ((commit = mrl_commit_own(commit, &err)) == NULL) return err;
    if (key.data == NULL || key.size == 0 || key.size > MERLE_KEY_SIZE_MAX) return MERLE_INVALID;
    if ((err = open_part(commit, collection, &part, &root)) != MERLE_OK) return err;
    uint64_t hash = mrl_root_hash(root, key);
    mrl_touch *touch = mrl_commit_find_touch(commit, part, hash, key);
    if (touch != NULL) {
        if ((err = mrl_touch_show(commit, touch, root)) != MERLE_OK) return err;
        note_read_back(touch);
        return give(mrl_touch_after(touch), out_doc);
    }
    mrl_count(commit->member, MRL_N_GETS, 1);
    const mrl_version *v = mrl_section_version(&commit->section, mrl_root_find(root, hash, key));
    if ((err = note_read(commit, part, NULL, key, hash, v)) != MERLE_OK) return err;
    return give(v, out_doc);
}

/* ---- by unique value ---- */

/* Whether a patch of the one may change the value at the other. Numbers of elements may be counted
 * from either end, and appending moves none: they count as the same. */
static int paths_meet(const char *patched, const mrl_path *indexed) {
    mrl_steps steps;
    uint32_t count;
    const mrl_step *others = mrl_path_steps(indexed, &count);
    if (mrl_path_parse(patched, strlen(patched), &steps, NULL) != MERLE_OK) return 1;
    for (uint32_t i = 0; i < count && i < steps.count; i++) {
        const mrl_step *a = &steps.step[i], *b = &others[i];
        if (a->key == NULL || b->key == NULL) continue;
        if (a->key_size != b->key_size || memcmp(a->key, b->key, a->key_size) != 0) return 0;
    }
    return 1;
}

static int patch_concerns(const mrl_action *patch, const mrl_schema_index *index) {
    for (uint32_t i = 0; i < index->part_count; i++)
        for (size_t op = 0; op < patch->op_count; op++)
            if (index->parts[i].at == NULL || paths_meet(patch->ops[op].path, index->parts[i].at))
                return 1;
    return 0;
}

/* A touch whose document may have another value in the index if it rests on another one. */
static void note_if_unsure(void *context, mrl_touch *touch) {
    const mrl_schema_index *index = context;
    int is_unsure = 0;
    if (touch->is_read_back) return;
    for (const mrl_action *action = touch->first; action != NULL; action = action->next)
        is_unsure |= action->kind == MRL_ACTION_MERGE ||
                     (action->kind == MRL_ACTION_PATCH && patch_concerns(action, index));
    if (is_unsure) note_read_back(touch);
}

/* Among the commit's own writes: *out_doc, or MERLE_NOT_FOUND. */
static merle_err find_own(merle_commit *commit, merle_collection *collection,
                          const mrl_schema_index *index, merle_bytes value, merle_doc *out_doc) {
    mrl_view view;
    mrl_own_run run;
    merle_err err = mrl_view_open(merle_commit_section(commit), collection, &view);
    if (err == MERLE_OK && view.own_count == 0) return MERLE_NOT_FOUND;
    if (err == MERLE_OK) err = mrl_own_values(&view, index, MRL_OWN_AFTER, &run);
    if (err != MERLE_OK) return err;
    mrl_own_each_changed(&view, index, note_if_unsure, (void *)(uintptr_t)index);
    run = mrl_own_equal(run, value);
    if (run.count == 0) return MERLE_NOT_FOUND;
    note_read_back(run.list[0].touch);
    return give(run.list[0].version, out_doc);
}

merle_err merle_commit_get_unique(merle_commit *commit, merle_collection *collection,
                                  const char *index, const merle_value *values, size_t value_count,
                                  merle_doc *out_doc) {
    merle_err err;
    mrl_portion *part;
    mrl_root *root;
    const mrl_schema_index *definition;
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    size_t size;
    memset(out_doc, 0, sizeof *out_doc);
    if ((commit = mrl_commit_own(commit, &err)) == NULL) return err;
    if ((err = open_part(commit, collection, &part, &root)) != MERLE_OK) return err;
    err = mrl_encode_asked(commit->member, collection, mrl_root_schema(root, commit->section.seq),
                           index, values, value_count, &definition, encoded, &size);
    if (err != MERLE_OK) return err;
    err = find_own(commit, collection, definition, merle_bytes_of(encoded, size), out_doc);
    if (err != MERLE_NOT_FOUND) return err;
    mrl_count(commit->member, MRL_N_GETS_UNIQUE, 1);
    uint64_t hash = mrl_unique_hash(root->indexes[definition->number].unique, encoded, size);
    const mrl_version *v =
        mrl_root_find_unique(root, definition, encoded, size, hash, commit->section.seq);
    if (v != NULL) v = mrl_section_judge(&commit->section, v);
    err = note_read(commit, part, definition, merle_bytes_of(encoded, size), hash, v);
    if (err != MERLE_OK) return err;
    if (v == NULL) return MERLE_NOT_FOUND;
    /* The document counts as a key read, too: what was seen of it must hold. */
    uint64_t key_hash = mrl_root_hash(root, mrl_version_key(v));
    mrl_touch *touch = mrl_commit_find_touch(commit, part, key_hash, mrl_version_key(v));
    /* Changed by this commit: it has the value no more. */
    if (touch != NULL) return MERLE_NOT_FOUND;
    err = note_read(commit, part, NULL, mrl_version_key(v), key_hash, v);
    return err != MERLE_OK ? err : give(v, out_doc);
}

/* Whether the index that was read by is there still: dropped since, nobody keeps it, and its number
 * is nobody else's while this section lasts. */
static int is_kept(const mrl_read *read) {
    return mrl_index_is_unique(mrl_schema_index_at(read->part->schema, read->index->number));
}

void mrl_reads_mark(merle_commit *commit) {
    for (mrl_read *read = commit->reads; read != NULL; read = read->next) {
        uint64_t bit = (uint64_t)1 << mrl_shard_of(read->hash);
        if (read->index == NULL)
            read->part->key_shards |= bit;
        else if (is_kept(read))
            read->part->value_shards[read->index->number] |= bit;
    }
}

static int read_holds(const merle_commit *commit, const mrl_read *read) {
    const mrl_root *root = read->part->root;
    const mrl_version *now;
    if (read->index != NULL) {
        if (!is_kept(read)) return 0;
        now = mrl_root_find_unique(root, read->index, read->what.data, read->what.size, read->hash,
                                   MRL_SEQ_NONE);
    } else {
        now = mrl_root_find(root, read->hash, read->what);
    }
    now = mrl_commit_live(commit, now);
    /* Versions that the commit has seen cannot be freed before it ends: they may be looked at, and
     * an address is nobody else's. */
    return mrl_version_is_same_state(now, read->seen);
}

merle_err mrl_reads_check(merle_commit *commit) {
    for (mrl_portion *part = commit->parts; part != NULL; part = part->next)
        if (part->has_reads && part->read_root != part->root) return MERLE_CONFLICT;
    for (mrl_read *read = commit->reads; read != NULL; read = read->next)
        if (!read_holds(commit, read))
            return mrl_store_fail(commit->member, MERLE_CONFLICT, read->part->collection,
                                  read->index == NULL ? read->what : merle_bytes_of(NULL, 0),
                                  "what the commit had read has changed");
    return MERLE_OK;
}
