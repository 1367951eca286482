/* store/values.c - the unique values that a commit takes and gives up.
 *
 * A value is guarded by the lock of its shard in the index. Whoever takes it, gives it up, or has
 * read it, holds that lock from before the check until the commit is published. So, with the lock
 * held, whether the current version of another document has the value cannot change; it may be read
 * without that document's own shard lock: a commit that changes the document at this moment keeps
 * the value or holds our lock.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/report.h"
#include "store/build.h"
#include "store/commit.h"
#include "store/expiry.h"

static uint64_t shard_bit(uint64_t hash) {
    return (uint64_t)1 << mrl_shard_of(hash);
}

/* Encodes and hashes the index's value of a version; 0: it has none. */
static size_t hash_value(const mrl_root *root, const mrl_schema_index *index, const mrl_version *v,
                         uint8_t *encoded, uint64_t *out_hash) {
    size_t size = v == NULL ? 0 : mrl_version_encode_unique(v, index, encoded);
    *out_hash = size == 0 ? 0 : mrl_unique_hash(root->indexes[index->number].unique, encoded, size);
    return size;
}

static void compute_one(const mrl_root *root, const mrl_schema_index *index, const mrl_version *old,
                        const mrl_version *new, uint64_t known_hash, mrl_value_change *change) {
    uint8_t encoded_old[MERLE_VALUE_SIZE_MAX], encoded_new[MERLE_VALUE_SIZE_MAX];
    memset(change, 0, sizeof *change);
    if (old == NULL && known_hash != 0) {
        change->new_hash = known_hash;
        change->has_new = change->changed = 1;
        return;
    }
    if (old != NULL && new != NULL && mrl_version_same_fields(old, new, index)) return;
    size_t old_size = hash_value(root, index, old, encoded_old, &change->old_hash);
    size_t new_size = hash_value(root, index, new, encoded_new, &change->new_hash);
    change->has_old = old_size != 0;
    change->has_new = new_size != 0;
    /* 5 and 5.0 are other bytes and the same value. */
    change->changed = old_size != new_size || memcmp(encoded_old, encoded_new, old_size) != 0;
}

/* The hashes that were made when the version was; NULL: none were. */
static const uint64_t *known_hashes(const mrl_touch *touch) {
    const mrl_action *last = touch->last;
    return last->version != NULL && last->version == touch->version ? last->value_hashes : NULL;
}

merle_err mrl_values_compute(merle_commit *commit, mrl_touch *touch) {
    mrl_portion *part = touch->part;
    const mrl_schema *schema = part->schema;
    if (schema->index_count == 0 || touch->outcome == MRL_OUTCOME_NONE) return MERLE_OK;
    if (touch->values == NULL) {
        size_t size = schema->index_count * sizeof *touch->values;
        touch->values = mrl_arena_take(&commit->arena, commit->member, size);
        if (touch->values == NULL) return MERLE_NO_MEMORY;
        memset(touch->values, 0, size);
    }
    const mrl_version *old = mrl_version_live(touch->base), *new = mrl_touch_after(touch);
    const uint64_t *known = known_hashes(touch);
    for (uint32_t i = 0; i < schema->index_count; i++) {
        mrl_value_change *change = &touch->values[i];
        if (!mrl_index_is_unique(&schema->indexes[i])) continue;
        compute_one(part->root, &schema->indexes[i], old, new, known == NULL ? 0 : known[i],
                    change);
        if (!change->changed) continue;
        if (change->has_old) part->value_shards[i] |= shard_bit(change->old_hash);
        if (change->has_new) part->value_shards[i] |= shard_bit(change->new_hash);
    }
    return MERLE_OK;
}

/* ---- taking ---- */

typedef struct taken_probe {
    mrl_unique_probe unique;
    const merle_commit *commit;
    const mrl_touch *touch;
    const mrl_schema_index *index;
    uint8_t *encoded;      /* the value, of the size below; made when it is first compared */
    size_t size;           /* 0: it was not yet */
    merle_bytes other_key; /* of the document that has the value */
    int is_due;            /* it is past its time */
} taken_probe;

/* What this commit does to the document in the slot, whose current version is `now`; NULL:
 * nothing. By its key, for a commit may pass thousands of values round; a new document, which has
 * no version in its slot yet, is met only where it took the same value, or one with the same
 * tag. */
static const mrl_touch *touch_of_slot(const taken_probe *asked, uint32_t slot,
                                      const mrl_version *now) {
    const mrl_portion *part = asked->touch->part;
    if (now != NULL) {
        merle_bytes key = mrl_version_key(now);
        return mrl_commit_find_touch(asked->commit, part, mrl_root_hash(part->root, key), key);
    }
    for (const mrl_touch *touch = asked->commit->touches; touch != NULL; touch = touch->next)
        if (touch->slot == slot && touch->part == part) return touch;
    return NULL;
}

/* Whether another document will have the value after this commit. */
static int is_taken_by(const mrl_unique_probe *probe, uint32_t slot) {
    taken_probe *asked = (taken_probe *)(uintptr_t)probe;
    if (slot == asked->touch->slot) return 0;
    const mrl_version *v = mrl_slots_load(&asked->touch->part->root->slots, slot);
    const mrl_touch *other = touch_of_slot(asked, slot, v);
    if (other != NULL && other->outcome != MRL_OUTCOME_NONE) v = other->version;
    if (mrl_version_live(v) == NULL) return 0;
    if (asked->size == 0)
        asked->size =
            mrl_version_encode_unique(asked->touch->version, asked->index, asked->encoded);
    if (!mrl_version_has_unique(v, asked->index, asked->encoded, asked->size)) return 0;
    asked->other_key = mrl_version_key(v);
    asked->is_due = mrl_commit_live(asked->commit, v) == NULL;
    return 1;
}

/* The value is that of a document past its time: its removal becomes a part of this commit, which
 * starts over. */
static merle_err evict(merle_commit *commit, const mrl_touch *touch, merle_bytes key) {
    mrl_eviction *eviction = mrl_arena_take(&commit->arena, commit->member, sizeof *eviction);
    if (eviction == NULL) return MERLE_NO_MEMORY;
    *eviction = (mrl_eviction){commit->evictions, touch->part->collection, {NULL, 0}};
    merle_err err = mrl_commit_copy(commit, key, &eviction->key);
    if (err == MERLE_OK) commit->evictions = eviction;
    return err;
}

static merle_err refuse_value(merle_commit *commit, const mrl_touch *touch,
                              const mrl_schema_index *index, merle_bytes other_key) {
    merle_report *report = commit->member->report;
    char other[96];
    mrl_unique *unique = touch->part->root->indexes[index->number].unique;
    atomic_fetch_add_explicit(&unique->refused, 1, memory_order_relaxed);
    if (report == NULL) return MERLE_EXISTS;
    mrl_report_escape(other_key, other, sizeof other);
    mrl_store_fail(commit->member, MERLE_EXISTS, touch->part->collection, touch->key,
                   "the value of unique index %s is taken by the document %s", index->name, other);
    mrl_report_index(report, index->name);
    mrl_report_expected(report, "no other document with this value");
    mrl_report_found(report, other);
    mrl_report_operation(report, touch->last->operation);
    return MERLE_EXISTS;
}

static merle_err take_one(merle_commit *commit, mrl_touch *touch, const mrl_schema_index *index,
                          mrl_value_change *change) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    mrl_unique *unique = touch->part->root->indexes[index->number].unique;
    taken_probe probe = {.commit = commit, .touch = touch, .index = index, .encoded = encoded};
    probe.unique.probe.hash = change->new_hash;
    probe.unique.holds = is_taken_by;
    if (mrl_unique_find(unique, &probe.unique) != MRL_UNIQUE_NONE) {
        if (probe.is_due) return evict(commit, touch, probe.other_key);
        if (index->state == MERLE_INDEX_READY)
            return refuse_value(commit, touch, index, probe.other_key);
        mrl_build_note(mrl_root_build(touch->part->root, index->number), touch->slot);
    }
    int added = 0;
    merle_err err = mrl_unique_add(unique, commit->member, change->new_hash, touch->slot, &added);
    if (err != MERLE_OK) {
        mrl_store_fail(commit->member, err, touch->part->collection, touch->key,
                       "no memory for unique index %s", index->name);
        return err;
    }
    change->added = (uint8_t)added;
    return MERLE_OK;
}

merle_err mrl_values_take(merle_commit *commit, mrl_touch *touch) {
    const mrl_schema *schema = touch->part->schema;
    if (schema->index_count == 0 || touch->outcome == MRL_OUTCOME_NONE) return MERLE_OK;
    for (uint32_t i = 0; i < schema->index_count; i++) {
        mrl_value_change *change = &touch->values[i];
        if (!change->changed || !change->has_new) continue;
        merle_err err = take_one(commit, touch, &schema->indexes[i], change);
        if (err != MERLE_OK) return err;
    }
    return MERLE_OK;
}

int mrl_values_stay(const mrl_touch *touch) {
    uint32_t count = touch->part->schema->index_count;
    for (uint32_t i = 0; i < count; i++)
        if (touch->values[i].changed) return 0;
    return 1;
}

void mrl_values_undo(merle_commit *commit, mrl_touch *touch) {
    const mrl_schema *schema = touch->part->schema;
    if (touch->values == NULL) return;
    for (uint32_t i = 0; i < schema->index_count; i++) {
        mrl_value_change *change = &touch->values[i];
        if (!change->added) continue;
        mrl_unique_drop(touch->part->root->indexes[i].unique, commit->member, change->new_hash,
                        touch->slot);
        change->added = 0;
    }
}
