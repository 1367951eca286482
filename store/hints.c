/* store/hints.c - what a commit does to ordered and tag indexes.
 *
 * An entry (value, slot) is added before the commit publishes, and given up by the commit after
 * which the document has the value no more; the index itself takes it away when no section can need
 * it (index/ordered.h, tags/tags.h). A version that keeps a value changes nothing. Between entries
 * of one slot the lock of its key shard keeps order.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "store/commit.h"
#include "store/entries.h"
#include "tags/set.h"

static const mrl_root_index *made_of(const mrl_touch *touch, const mrl_hint *hint) {
    return &touch->part->root->indexes[hint->index->number];
}

/* ---- computing ---- */

typedef struct computing {
    merle_commit *commit;
    mrl_touch *touch;
    const mrl_schema_index *index;
} computing;

/* Notes one value, in the arena; 1: no memory. */
static int note(void *context, merle_bytes value, int is_new) {
    const computing *c = context;
    mrl_hint *hint = mrl_arena_take(&c->commit->arena, c->commit->member, sizeof *hint);
    if (hint == NULL) return 1;
    memset(hint, 0, sizeof *hint);
    if (mrl_commit_copy(c->commit, value, &hint->value) != MERLE_OK) return 1;
    hint->index = c->index;
    hint->is_new = (uint8_t)is_new;
    hint->next = c->touch->hints;
    c->touch->hints = hint;
    /* Each entry lies elsewhere, most likely far away: all are asked for before the first is
     * changed. */
    const mrl_root_index *made = made_of(c->touch, hint);
    if (mrl_index_has_tags(c->index))
        mrl_tags_prefetch(made->tags, hint->value);
    else
        mrl_ordered_prefetch(made->ordered, hint->value, 0);
    return 0;
}

void mrl_hints_approach(const mrl_touch *touch) {
    for (const mrl_hint *hint = touch->hints; hint != NULL; hint = hint->next)
        if (mrl_index_has_tags(hint->index))
            mrl_tags_prefetch_tag(made_of(touch, hint)->tags, hint->value);
}

merle_err mrl_hints_compute(merle_commit *commit, mrl_touch *touch) {
    const mrl_schema *schema = touch->part->schema;
    const mrl_version *old = mrl_version_live(touch->base), *new = mrl_touch_after(touch);
    touch->hints = NULL;
    if (touch->outcome == MRL_OUTCOME_NONE) return MERLE_OK;
    for (uint32_t i = 0; i < schema->index_count; i++) {
        computing c = {commit, touch, &schema->indexes[i]};
        if (!mrl_index_has_tree(c.index) && !mrl_index_has_tags(c.index)) continue;
        if (mrl_entries_differ(old, new, c.index, note, &c) != 0)
            return mrl_store_fail(commit->member, MERLE_NO_MEMORY, touch->part->collection,
                                  touch->key, "no memory for index %s", c.index->name);
    }
    return MERLE_OK;
}

/* ---- adding, and giving up ---- */

merle_err mrl_hints_add(merle_commit *commit, mrl_touch *touch) {
    for (mrl_hint *hint = touch->hints; hint != NULL; hint = hint->next)
        if (mrl_index_has_tags(hint->index))
            mrl_tags_prefetch_set(made_of(touch, hint)->tags, hint->value);
    for (mrl_hint *hint = touch->hints; hint != NULL; hint = hint->next) {
        if (!hint->is_new) continue;
        const mrl_root_index *made = made_of(touch, hint);
        int added = 0;
        merle_err err =
            mrl_index_has_tags(hint->index)
                ? mrl_tags_add(made->tags, commit->member, hint->value, touch->slot, &added)
                : mrl_ordered_add(made->ordered, commit->member, hint->value, touch->slot, &added);
        if (err != MERLE_OK)
            return mrl_store_fail(commit->member, err, touch->part->collection, touch->key,
                                  "no memory for index %s", hint->index->name);
        hint->added = (uint8_t)added;
    }
    return MERLE_OK;
}

void mrl_hints_undo(merle_commit *commit, mrl_touch *touch) {
    for (mrl_hint *hint = touch->hints; hint != NULL; hint = hint->next) {
        if (!hint->added) continue;
        const mrl_root_index *made = made_of(touch, hint);
        if (mrl_index_has_tags(hint->index))
            mrl_tags_mark(made->tags, commit->member, hint->value, touch->slot);
        else
            mrl_ordered_mark(made->ordered, commit->member, hint->value, touch->slot);
        hint->added = 0;
    }
}

static int tag_has(const mrl_root_index *made, merle_bytes value, uint32_t slot) {
    uint32_t found;
    mrl_run run = {0, slot, slot, &found, NULL, 1, 0};
    mrl_tag_read(mrl_tags_find(made->tags, value), &run);
    return run.count == 1;
}

/* Whether there is an entry to give up: an index that is being built may not have it yet. Then
 * nobody adds it meanwhile, since the builder takes our shard's lock, too. If it is there, it is
 * not marked: what the document has now was added when the document got it. */
static int has_entry(const mrl_touch *touch, const mrl_hint *hint) {
    const mrl_root_index *made = made_of(touch, hint);
    if (hint->index->state == MERLE_INDEX_READY) return 1;
    return mrl_index_has_tags(hint->index)
               ? tag_has(made, hint->value, touch->slot)
               : mrl_ordered_has(made->ordered, hint->value, touch->slot);
}

void mrl_hints_give_up(merle_commit *commit, mrl_touch *touch) {
    for (mrl_hint *hint = touch->hints; hint != NULL; hint = hint->next) {
        if (hint->is_new || !has_entry(touch, hint)) continue;
        const mrl_root_index *made = made_of(touch, hint);
        if (mrl_index_has_tags(hint->index))
            hint->tag = mrl_tags_warn(made->tags, commit->member, hint->value, touch->slot);
        else
            mrl_ordered_mark(made->ordered, commit->member, hint->value, touch->slot);
    }
}

void mrl_hints_given_up(merle_commit *commit, mrl_touch *touch) {
    for (mrl_hint *hint = touch->hints; hint != NULL; hint = hint->next)
        if (hint->tag != NULL)
            mrl_tag_mark(made_of(touch, hint)->tags, commit->member, hint->tag, touch->slot);
}
