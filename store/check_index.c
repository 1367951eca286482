/* store/check_index.c - the hints of one shard of a unique index: each stands for a version that is
 * there.
 *
 * The hints are listed under the unique shard's lock, and judged after it was dropped, because the
 * lock of the slot's key shard comes before it. Which lock makes the judgement sound:
 *   a slot that has a version: the lock of its key shard. Hints of the slot are added and dropped,
 *       and its versions come and go, only under that lock. So with it held the hint, if it still
 *       stands, must be that of the current version or of one in the shard's queue.
 *   a slot that has none: the lock of the unique shard. A commit adds a hint under it and keeps it
 *       until the slot has its version, or the hint is gone again; reclamation drops a document's
 *       last hint under it before it clears the slot. So with it held a hint that stands has a
 *       version in its slot.
 * Nearly every hint is the current version's: that is seen without a lock. The rest is judged by
 * key shards, so that each queue is read once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "base/self.h"
#include "store/check.h"

typedef struct hint {
    uint32_t slot;
    uint32_t tag;
    uint32_t key_shard; /* of the slot */
} hint;

typedef struct hints {
    mrl_check *check;
    const mrl_schema_index *index;
    mrl_unique *unique;
    mrl_unique_shard *shard;
    uint32_t number;
    hint *list;
    size_t count, room;
} hints;

/* ---- asking ---- */

typedef struct hint_probe {
    mrl_probe probe;
    uint64_t entry;
} hint_probe;

static int hint_matches(const mrl_probe *probe, uint64_t entry) {
    return entry == ((const hint_probe *)probe)->entry;
}

/* Whether the hint stands. Its place in the table depends on the tag alone. */
static int stands(const hints *h, const hint *asked) {
    hint_probe probe = {{asked->tag, hint_matches}, mrl_entry_pair(asked->slot, asked->tag)};
    return mrl_map_find(&h->shard->map, &probe.probe) != 0;
}

/* Whether the version has a value with the hint's tag, in this shard. */
static int is_hint_of(const hints *h, const mrl_version *v, const hint *asked) {
    uint64_t hash;
    if (mrl_version_is_tombstone(v)) return 0;
    if (!mrl_check_hash(h->check->root, h->index, v, &hash)) return 0;
    return (uint32_t)hash == asked->tag && mrl_shard_of(hash) == h->number;
}

/* ---- listing ---- */

static int list_hint(void *context, uint64_t entry) {
    hints *h = context;
    if (h->count == h->room) return 1;
    h->list[h->count++] = (hint){mrl_entry_to_number(entry), (uint32_t)(entry >> 32), 0};
    return 0;
}

static merle_err list_hints(hints *h) {
    merle_err err = MERLE_OK;
    mrl_lock_take(&h->shard->lock);
    const char *broken = mrl_map_check(&h->shard->map);
    h->room = mrl_map_count(&h->shard->map);
    if (broken == NULL && h->room > 0 && (h->list = malloc(h->room * sizeof *h->list)) == NULL)
        err = mrl_check_no_memory(h->check);
    if (broken == NULL && h->list != NULL) (void)mrl_map_each(&h->shard->map, list_hint, h);
    mrl_lock_drop(&h->shard->lock);
    if (broken != NULL)
        return mrl_check_broken(h->check, h->index->name, NULL, "a sound table of hints",
                                "shard %u: %s", h->number, broken);
    return err;
}

/* ---- judging ---- */

static merle_err break_hint(const hints *h, const mrl_version *v, const hint *asked) {
    return mrl_check_broken(h->check, h->index->name, v,
                            "a hint only for a value that some version of its slot has",
                            "one for slot %u that none has", asked->slot);
}

/* Dropped meanwhile, nobody keeps it. Definitions hold all shards of keys and of values. */
static int is_kept(const hints *h) {
    const mrl_schema_index *now =
        mrl_schema_index_at(mrl_root_schema_now(h->check->root), h->index->number);
    return mrl_index_is_unique(now) && now->made_seq == h->index->made_seq;
}

/* Under the unique shard's lock; 1: the slot has no version, and the hint does not stand, or is
 * broken. */
static int judge_empty(const hints *h, const hint *asked, merle_err *out_err) {
    mrl_lock_take(&h->shard->lock);
    int has_version = asked->slot < mrl_slots_end(&h->check->root->slots) &&
                      mrl_slots_load(&h->check->root->slots, asked->slot) != NULL;
    int is_broken = !has_version && stands(h, asked) && is_kept(h);
    mrl_lock_drop(&h->shard->lock);
    if (is_broken)
        *out_err = mrl_check_broken(h->check, h->index->name, NULL,
                                    "a hint only for a slot that has a version",
                                    "one for slot %u, which is empty", asked->slot);
    return !has_version;
}

/* Keeps the hints that have to be judged with a lock, with the shards of their slots. */
static merle_err sift(hints *h) {
    const mrl_root *root = h->check->root;
    size_t kept = 0;
    for (size_t i = 0; i < h->count; i++) {
        hint asked = h->list[i];
        merle_err err = MERLE_OK;
        const mrl_version *v = asked.slot < mrl_slots_end(&root->slots)
                                   ? mrl_slots_load(&root->slots, asked.slot)
                                   : NULL;
        if (v == NULL) {
            if (judge_empty(h, &asked, &err)) {
                if (err != MERLE_OK) return err;
                continue;
            }
            /* It has one by now. If that is gone again, the hint was dropped before. */
            if ((v = mrl_slots_load(&root->slots, asked.slot)) == NULL) continue;
        }
        if (is_hint_of(h, v, &asked)) continue;
        asked.key_shard = mrl_shard_of(mrl_root_hash(root, mrl_version_key(v)));
        h->list[kept++] = asked;
    }
    h->count = kept;
    return MERLE_OK;
}

static int by_key_shard(const void *a, const void *b) {
    const hint *x = a, *y = b;
    if (x->key_shard != y->key_shard) return x->key_shard < y->key_shard ? -1 : 1;
    return x->slot < y->slot ? -1 : x->slot > y->slot;
}

static int by_slot(const void *a, const void *b) {
    const mrl_check_queued *x = a, *y = b;
    return x->version->slot < y->version->slot ? -1 : x->version->slot > y->version->slot;
}

static int has_old(const hints *h, const mrl_check_queue *queue, const hint *asked) {
    size_t low = 0, high = queue->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (queue->entries[middle].version->slot < asked->slot)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < queue->count && queue->entries[low].version->slot == asked->slot; low++)
        if (queue->entries[low].kind == MRL_QUEUED_SUPERSEDED &&
            is_hint_of(h, queue->entries[low].version, asked))
            return 1;
    return 0;
}

/* Hints whose slots are of one key shard, its lock held. */
static merle_err judge(const hints *h, const mrl_shard *shard, const hint *list, size_t count) {
    const mrl_root *root = h->check->root;
    mrl_check_queue queue;
    merle_err err = mrl_check_queue_read(h->check, &shard->queue, &queue);
    if (err != MERLE_OK) return err;
    if (queue.count > 0) qsort(queue.entries, queue.count, sizeof queue.entries[0], by_slot);
    for (size_t i = 0; i < count && err == MERLE_OK && is_kept(h); i++) {
        const mrl_version *v = mrl_slots_load(&root->slots, list[i].slot);
        if (!stands(h, &list[i])) continue;
        if (v != NULL && is_hint_of(h, v, &list[i])) continue;
        if (!has_old(h, &queue, &list[i])) err = break_hint(h, v, &list[i]);
    }
    mrl_check_queue_free(&queue);
    return err;
}

static merle_err judge_all(const hints *h) {
    merle_err err = MERLE_OK;
    for (size_t i = 0, next; i < h->count && err == MERLE_OK; i = next) {
        mrl_shard *shard = &h->check->root->shards[h->list[i].key_shard];
        for (next = i + 1; next < h->count; next++)
            if (h->list[next].key_shard != h->list[i].key_shard) break;
        mrl_lock_take(&shard->lock);
        err = judge(h, shard, h->list + i, next - i);
        mrl_lock_drop(&shard->lock);
    }
    return err;
}

merle_err mrl_check_hints(mrl_check *check, const mrl_schema_index *index, uint32_t number) {
    mrl_unique *unique = check->root->indexes[index->number].unique;
    hints h = {.check = check, .index = index, .unique = unique, .number = number};
    h.shard = &unique->shards[number];
    merle_err err = list_hints(&h);
    mrl_point("check.hints_listed");
    if (err == MERLE_OK) err = sift(&h);
    if (err == MERLE_OK && h.count > 1) qsort(h.list, h.count, sizeof *h.list, by_key_shard);
    if (err == MERLE_OK) err = judge_all(&h);
    free(h.list);
    return err;
}
