/* store/check_shard.c - one shard of keys, looked at under its lock.
 *
 * With the shard's lock held nobody changes its table, its slots, its queue or its free slots;
 * every version in it was published, and every hint of its slots stands as it is, because hints are
 * added and dropped only by who holds the lock of the slot's shard. The unique shards' locks are
 * taken one at a time inside it, as the order wants, to look at their tables, and so that the
 * holder of a value cannot change meanwhile.
 *
 * Which old versions are still there only the queue can tell: `before` of a version may point to
 * one that was freed long ago, and its memory may be a version again, of another slot or a newer
 * one of the same slot. So a step from a version is taken only to one that stands in the queue as
 * superseded, has the same slot, and lies in the queue before the one that we come from: what is
 * reused of the same slot lies behind it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/check.h"

#include <stdlib.h>
#include <string.h>

#include "base/report.h"
#include "document/check.h"

enum { SLOTS_A_PIECE = 4096 };

typedef struct walk {
    mrl_check *check;
    mrl_root *root;
    mrl_shard *shard;
    mrl_map *map;
    uint32_t number;
    uint32_t slots_end;
    uint64_t published;
    mrl_check_queue queue; /* sorted by version */
    uint32_t *free_slots;  /* sorted */
    uint64_t documents;
    merle_err err;
} walk;

static const char *name_of_kind(uint32_t kind) {
    switch (kind) {
    case MRL_QUEUED_SUPERSEDED:
        return "superseded";
    case MRL_QUEUED_TOMBSTONE:
        return "tombstone";
    case MRL_QUEUED_LIMBO:
        return "limbo";
    default:
        return "unknown";
    }
}

/* ---- the queue, in a form that can be asked ---- */

static int copy_entry(void *context, const mrl_queue_entry *entry) {
    mrl_check_queue *queue = context;
    if (queue->count == queue->room) return 1;
    mrl_check_queued *to = &queue->entries[queue->count];
    *to = (mrl_check_queued){entry->version, entry->kind, (uint32_t)queue->count, entry->ticket, 0};
    queue->count++;
    return 0;
}

merle_err mrl_check_queue_read(const mrl_check *check, const mrl_queue *queue,
                               mrl_check_queue *out) {
    out->count = 0;
    out->room = mrl_queue_length(queue);
    out->entries = NULL;
    if (out->room == 0) return MERLE_OK;
    out->entries = malloc(out->room * sizeof *out->entries);
    if (out->entries == NULL) return mrl_check_no_memory(check);
    (void)mrl_queue_each(queue, copy_entry, out);
    return MERLE_OK;
}

void mrl_check_queue_free(mrl_check_queue *queue) {
    free(queue->entries);
    queue->entries = NULL;
    queue->count = 0;
}

static int by_version(const void *a, const void *b) {
    const mrl_check_queued *x = a, *y = b;
    if (x->version != y->version) return (uintptr_t)x->version < (uintptr_t)y->version ? -1 : 1;
    return x->position < y->position ? -1 : x->position > y->position;
}

/* The entry of a version with this kind; NULL: none. The version is not looked at. */
static mrl_check_queued *find_queued(const walk *w, const mrl_version *version, uint32_t kind) {
    size_t low = 0, high = w->queue.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((uintptr_t)w->queue.entries[middle].version < (uintptr_t)version)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < w->queue.count && w->queue.entries[low].version == version; low++)
        if (w->queue.entries[low].kind == kind) return &w->queue.entries[low];
    return NULL;
}

/* ---- one version ---- */

static merle_err check_place(const walk *w, const mrl_version *v) {
    merle_bytes key = mrl_version_key(v);
    uint64_t seq = mrl_version_seq(v);
    if (key.size == 0 || key.size > MERLE_KEY_SIZE_MAX)
        return mrl_check_broken(w->check, NULL, NULL, "a key of 1 to 1024 bytes", "%zu", key.size);
    uint32_t shard = mrl_shard_of(mrl_root_hash(w->root, key));
    if (shard != w->number)
        return mrl_check_broken(w->check, NULL, v, "a key of the shard that it stands in",
                                "shard %u, by its hash %u", w->number, shard);
    if (v->slot >= w->slots_end)
        return mrl_check_broken(w->check, NULL, v, "a slot that was given",
                                "slot %u, the end is %u", v->slot, w->slots_end);
    if (seq == 0 || seq > w->published)
        return mrl_check_broken(w->check, NULL, v, "a version that was published",
                                "seq %llu, the last commit is %llu", (unsigned long long)seq,
                                (unsigned long long)w->published);
    return MERLE_OK;
}

/* Document and offsets. What comes later leans on it: encoding a value trusts both. */
static merle_err check_bytes(const walk *w, const mrl_version *v) {
    const mrl_schema *schema = mrl_root_schema_now(w->root);
    uint32_t offsets[MRL_PATH_COUNT_MAX];
    if (mrl_version_is_tombstone(v)) return MERLE_OK;
    if (v->path_count > schema->path_count)
        return mrl_check_broken(w->check, NULL, v, "no more offsets than indexed paths",
                                "%u offsets, %u paths", v->path_count, schema->path_count);
    merle_err err = mrl_check_document(mrl_version_doc(v), v->doc_size, NULL);
    if (err == MERLE_NO_MEMORY) return mrl_check_no_memory(w->check);
    if (err != MERLE_OK)
        return mrl_check_broken(w->check, NULL, v, "a document", "bytes that are none");
    if (!mrl_version_is_sound(v))
        return mrl_check_broken(w->check, NULL, v, "extracted values that fill their place",
                                "others");
    if (schema->path_count == 0) return MERLE_OK;
    mrl_paths_locate(schema->paths, schema->path_count, mrl_version_doc(v), v->doc_size, offsets);
    for (uint32_t i = 0; i < v->path_count; i++)
        if (offsets[i] != mrl_version_offset(v, i))
            return mrl_check_broken(w->check, NULL, v, "indexed fields where the offsets say",
                                    "path %u at %u, the offset says %u", i, offsets[i],
                                    mrl_version_offset(v, i));
    return MERLE_OK;
}

int mrl_check_hash(const mrl_root *root, const mrl_schema_index *index, const mrl_version *version,
                   uint64_t *out_hash) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    size_t size = mrl_version_encode_unique(version, index, encoded);
    *out_hash = size == 0 ? 0 : mrl_unique_hash(root->indexes[index->number].unique, encoded, size);
    return size != 0;
}

/* The current version is the one that its value leads to: the hint is there, and no other live
 * document has the value. With the value's lock held that cannot change: see store/values.c. */
static merle_err check_current_value(const walk *w, const mrl_schema_index *index,
                                     const mrl_version *v) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    char other[96];
    size_t size = mrl_version_encode_unique(v, index, encoded);
    if (size == 0) return MERLE_OK;
    mrl_unique *unique = w->root->indexes[index->number].unique;
    uint64_t hash = mrl_unique_hash(unique, encoded, size);
    mrl_unique_shard *shard = mrl_unique_shard_of(unique, hash);
    mrl_lock_take(&shard->lock);
    int has = mrl_unique_has(unique, hash, v->slot);
    const mrl_version *found =
        mrl_root_find_unique(w->root, index, encoded, size, hash, MRL_SEQ_NONE);
    mrl_lock_drop(&shard->lock);
    if (!has)
        return mrl_check_broken(w->check, index->name, v, "a hint for the document's value",
                                "none for slot %u", v->slot);
    if (found == v) return MERLE_OK;
    if (found == NULL)
        return mrl_check_broken(w->check, index->name, v, "the document under its value",
                                "nothing");
    mrl_report_escape(mrl_version_key(found), other, sizeof other);
    return mrl_check_broken(w->check, index->name, v, "one document with a value",
                            "the same value in the document %s", other);
}

/* Whether a section that may use the index can see the version; newer has superseded it, NULL:
 * nothing has. While the index is being built documents may lack their hints. */
static int is_seen_by(const mrl_schema_index *index, const mrl_version *newer) {
    return mrl_index_is_unique(index) && index->state == MERLE_INDEX_READY &&
           (newer == NULL || mrl_version_seq(newer) > index->ready_seq);
}

static merle_err check_values(const walk *w, const mrl_version *v, const mrl_version *newer) {
    const mrl_schema *schema = mrl_root_schema_now(w->root);
    if (mrl_version_is_tombstone(v)) return MERLE_OK;
    for (uint32_t i = 0; i < schema->index_count; i++) {
        const mrl_schema_index *index = &schema->indexes[i];
        uint64_t hash;
        merle_err err = MERLE_OK;
        if (newer == NULL && index->kind != 0 && index->state == MERLE_INDEX_READY &&
            !mrl_version_has_extracted(v, index))
            return mrl_check_broken(w->check, index->name, v,
                                    "what its function makes of a document", "nothing for slot %u",
                                    v->slot);
        if (!is_seen_by(index, newer)) continue;
        if (newer == NULL) {
            err = check_current_value(w, index, v);
        } else if (mrl_check_hash(w->root, index, v, &hash)) {
            mrl_unique_shard *shard = mrl_unique_shard_of(w->root->indexes[i].unique, hash);
            mrl_lock_take(&shard->lock);
            int has = mrl_unique_has(w->root->indexes[i].unique, hash, v->slot);
            mrl_lock_drop(&shard->lock);
            if (!has)
                err = mrl_check_broken(
                    w->check, index->name, v, "a hint for the value of an old version",
                    "none for slot %u, seq %llu", v->slot, (unsigned long long)mrl_version_seq(v));
        }
        if (err != MERLE_OK) return err;
    }
    return newer == NULL ? mrl_check_entries(w->check, v) : MERLE_OK;
}

/* ---- one key ---- */

/* Whether newer says what v does, and has more of what functions make of it: store/build.c. */
static int is_twin(const mrl_version *newer, const mrl_version *v) {
    return mrl_version_is_same_state(newer, v) && !mrl_version_is_tombstone(v) &&
           newer->doc_size == v->doc_size &&
           memcmp(mrl_version_doc(newer), mrl_version_doc(v), v->doc_size) == 0 &&
           (newer->flags & MRL_VERSION_EXTRACTED) != 0;
}

static merle_err check_old(const walk *w, const mrl_version *newer, const mrl_version *v) {
    merle_err err = check_place(w, v);
    if (err == MERLE_OK) err = check_bytes(w, v);
    if (err != MERLE_OK) return err;
    if (v->key_size != newer->key_size || memcmp(v->bytes, newer->bytes, v->key_size) != 0)
        return mrl_check_broken(w->check, NULL, newer, "versions of one slot with one key",
                                "an older one with another key");
    if (mrl_version_seq(v) >= mrl_version_seq(newer) && !is_twin(newer, v))
        return mrl_check_broken(w->check, NULL, newer, "seqs that fall from newer to older",
                                "%llu before %llu", (unsigned long long)mrl_version_seq(v),
                                (unsigned long long)mrl_version_seq(newer));
    return check_values(w, v, newer);
}

/* From the current version down to the oldest that is still there. */
static merle_err check_chain(const walk *w, const mrl_version *current) {
    const mrl_version *newer = current;
    uint32_t position = UINT32_MAX;
    for (;;) {
        mrl_check_queued *older =
            newer->before == NULL ? NULL : find_queued(w, newer->before, MRL_QUEUED_SUPERSEDED);
        if (older == NULL || older->position >= position || older->version->slot != current->slot)
            return MERLE_OK;
        merle_err err = check_old(w, newer, older->version);
        if (err != MERLE_OK) return err;
        older->is_reached = 1;
        position = older->position;
        newer = older->version;
    }
}

static merle_err check_agreement(const walk *w, const mrl_version *v) {
    const mrl_version *in_slot = mrl_slots_load(&w->root->slots, v->slot);
    if (in_slot != v)
        return mrl_check_broken(w->check, NULL, v, "key entry and slot with one version",
                                in_slot == NULL ? "slot %u without one" : "slot %u with another",
                                v->slot);
    uint64_t hash = mrl_root_hash(w->root, mrl_version_key(v));
    if (mrl_root_find(w->root, hash, mrl_version_key(v)) != v)
        return mrl_check_broken(w->check, NULL, v, "one entry for a key", "another one besides");
    uint64_t marked =
        atomic_load_explicit(&mrl_slots_chunk(&w->root->slots, v->slot)
                                  ->changed[v->slot % MRL_CHUNK_SLOTS / MRL_RUN_SLOTS],
                             memory_order_relaxed);
    if (marked < mrl_version_seq(v))
        return mrl_check_broken(w->check, NULL, v, "a page marked with its last change",
                                "mark %llu, a version of %llu", (unsigned long long)marked,
                                (unsigned long long)mrl_version_seq(v));
    return MERLE_OK;
}

/* A version that is current does not wait to be freed; a tombstone waits for its turn. */
static merle_err check_standing(const walk *w, const mrl_version *v) {
    if (find_queued(w, v, MRL_QUEUED_SUPERSEDED) != NULL ||
        find_queued(w, v, MRL_QUEUED_LIMBO) != NULL)
        return mrl_check_broken(w->check, NULL, v, "a current version that nobody will free",
                                "it waits in the queue to be freed");
    int waits = find_queued(w, v, MRL_QUEUED_TOMBSTONE) != NULL;
    if (waits == mrl_version_is_tombstone(v)) return MERLE_OK;
    return mrl_check_broken(w->check, NULL, v, "current tombstones in the queue, and nothing else",
                            waits ? "a live document that waits as a tombstone"
                                  : "a tombstone that is not in the queue");
}

static int check_key(void *context, uint64_t entry) {
    walk *w = context;
    const mrl_version *v = mrl_entry_to_pointer(entry);
    w->err = check_place(w, v);
    if (w->err == MERLE_OK) w->err = check_agreement(w, v);
    if (w->err == MERLE_OK) w->err = check_bytes(w, v);
    if (w->err == MERLE_OK) w->err = check_standing(w, v);
    if (w->err == MERLE_OK) w->err = check_values(w, v, NULL);
    if (w->err == MERLE_OK) w->err = check_chain(w, v);
    if (!mrl_version_is_tombstone(v)) w->documents++;
    return w->err != MERLE_OK;
}

/* ---- the queue ---- */

/* What nobody has published keeps no seq; its slot has no version. */
static merle_err check_limbo(const walk *w, const mrl_version *v) {
    if (v->slot >= w->slots_end)
        return mrl_check_broken(w->check, NULL, v, "a slot that was given", "slot %u", v->slot);
    if (mrl_slots_load(&w->root->slots, v->slot) == NULL) return MERLE_OK;
    return mrl_check_broken(w->check, NULL, v, "an empty slot while its last version is in limbo",
                            "slot %u with a version", v->slot);
}

static merle_err check_tombstone(const walk *w, const mrl_version *v) {
    if (!mrl_version_is_tombstone(v))
        return mrl_check_broken(w->check, NULL, v, "a tombstone", "a document in its place");
    merle_err err = check_place(w, v);
    if (err != MERLE_OK || mrl_slots_load(&w->root->slots, v->slot) == v) return err;
    if (find_queued(w, v, MRL_QUEUED_SUPERSEDED) != NULL) return MERLE_OK;
    return mrl_check_broken(w->check, NULL, v, "a tombstone that is current or superseded",
                            "one that is neither");
}

static merle_err check_queued(const walk *w, const mrl_check_queued *queued,
                              const mrl_check_queued *next) {
    const mrl_version *v = queued->version;
    if (next != NULL && next->version == v && next->kind == queued->kind)
        return mrl_check_broken(w->check, NULL, v, "a version once in the queue", "twice as %s",
                                name_of_kind(queued->kind));
    switch (queued->kind) {
    case MRL_QUEUED_SUPERSEDED:
        if (queued->is_reached) return MERLE_OK;
        return mrl_check_broken(
            w->check, NULL, v, "a superseded version behind its slot's current one",
            "slot %u does not lead to seq %llu", v->slot, (unsigned long long)mrl_version_seq(v));
    case MRL_QUEUED_TOMBSTONE:
        return check_tombstone(w, v);
    case MRL_QUEUED_LIMBO:
        return check_limbo(w, v);
    default:
        return mrl_check_broken(w->check, NULL, NULL, "a kind of entry in the queue", "kind %u",
                                queued->kind);
    }
}

/* In the queue's own order: tickets grow. */
static merle_err check_tickets(const walk *w) {
    const mrl_check_queue *queue = &w->queue;
    for (size_t i = 1; i < queue->count; i++)
        if ((int32_t)(queue->entries[i].ticket - queue->entries[i - 1].ticket) < 0)
            return mrl_check_broken(w->check, NULL, queue->entries[i].version,
                                    "tickets in the queue that grow", "%u behind %u",
                                    queue->entries[i].ticket, queue->entries[i - 1].ticket);
    if (queue->count != queue->room)
        return mrl_check_broken(w->check, NULL, NULL, "a queue of the length that it says",
                                "%zu of %zu entries", queue->count, queue->room);
    return MERLE_OK;
}

static merle_err check_queue(walk *w) {
    merle_err err = MERLE_OK;
    for (size_t i = 0; i < w->queue.count && err == MERLE_OK; i++) {
        const mrl_check_queued *next = i + 1 < w->queue.count ? &w->queue.entries[i + 1] : NULL;
        err = check_queued(w, &w->queue.entries[i], next);
        if (w->queue.entries[i].kind != MRL_QUEUED_TOMBSTONE)
            w->check->queued_bytes += mrl_version_size(w->queue.entries[i].version);
    }
    return err;
}

/* ---- free slots ---- */

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static merle_err read_free_slots(walk *w) {
    const mrl_free_slots *stack = w->shard->free;
    if (stack == NULL || stack->count == 0) return MERLE_OK;
    if (stack->count > stack->capacity)
        return mrl_check_broken(w->check, NULL, NULL, "no more free slots than there is room for",
                                "%u of %u", stack->count, stack->capacity);
    w->free_slots = malloc(stack->count * sizeof *w->free_slots);
    if (w->free_slots == NULL) return mrl_check_no_memory(w->check);
    memcpy(w->free_slots, stack->slots, stack->count * sizeof *w->free_slots);
    qsort(w->free_slots, stack->count, sizeof *w->free_slots, by_number);
    return MERLE_OK;
}

static merle_err check_free_slots(const walk *w) {
    uint32_t count = w->shard->free == NULL ? 0 : w->shard->free->count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t slot = w->free_slots[i];
        if (i > 0 && slot == w->free_slots[i - 1])
            return mrl_check_broken(w->check, NULL, NULL, "a slot once in the free list",
                                    "slot %u twice", slot);
        if (slot >= w->slots_end)
            return mrl_check_broken(w->check, NULL, NULL, "free slots that were given once",
                                    "slot %u, the end is %u", slot, w->slots_end);
        if (mrl_slots_load(&w->root->slots, slot) != NULL)
            return mrl_check_broken(w->check, NULL, NULL, "free slots without a version",
                                    "a version in slot %u", slot);
    }
    for (size_t i = 0; count > 0 && i < w->queue.count; i++) {
        const mrl_check_queued *queued = &w->queue.entries[i];
        if (queued->kind == MRL_QUEUED_LIMBO &&
            bsearch(&queued->version->slot, w->free_slots, count, sizeof *w->free_slots,
                    by_number) != NULL)
            return mrl_check_broken(w->check, NULL, queued->version,
                                    "a slot in use while its last version is in limbo",
                                    "slot %u in the free list", queued->version->slot);
    }
    return MERLE_OK;
}

/* ---- the whole ---- */

static merle_err check_locked(walk *w) {
    const char *broken = mrl_map_check(w->map);
    if (broken != NULL)
        return mrl_check_broken(w->check, NULL, NULL, "a sound table of keys", "shard %u: %s",
                                w->number, broken);
    merle_err err = mrl_check_queue_read(w->check, &w->shard->queue, &w->queue);
    if (err == MERLE_OK) err = read_free_slots(w);
    if (err == MERLE_OK) err = check_tickets(w);
    if (err != MERLE_OK) return err;
    if (w->queue.count > 0)
        qsort(w->queue.entries, w->queue.count, sizeof w->queue.entries[0], by_version);
    (void)mrl_map_each(w->map, check_key, w);
    if (w->err != MERLE_OK) return w->err;
    if ((err = check_queue(w)) != MERLE_OK) return err;
    return check_free_slots(w);
}

merle_err mrl_check_shard(mrl_check *check, uint32_t number) {
    mrl_root *root = check->root;
    walk w = {.check = check, .root = root, .number = number};
    w.shard = &root->shards[number];
    w.map = &root->maps[number];
    mrl_lock_take(&w.shard->lock);
    /* After the lock: whatever stands in the shard is published, and its slot given, by now. */
    w.published = mrl_log_published_at(check->store->published);
    w.slots_end = mrl_slots_end(&root->slots);
    merle_err err = check_locked(&w);
    mrl_lock_drop(&w.shard->lock);
    check->documents += w.documents;
    mrl_check_queue_free(&w.queue);
    free(w.free_slots);
    return err;
}

/* ---- slots ---- */

/* A slot belongs to one shard for as long as its root lives: free slots go back to the shard that
 * they came from. So the version seen without the lock tells which lock to take. */
static merle_err check_slot(mrl_check *check, uint32_t slot) {
    mrl_root *root = check->root;
    const mrl_version *v = mrl_slots_load(&root->slots, slot);
    if (v == NULL) return MERLE_OK;
    uint32_t number = mrl_shard_of(mrl_root_hash(root, mrl_version_key(v)));
    merle_err err = MERLE_OK;
    mrl_lock_take(&root->shards[number].lock);
    if ((v = mrl_slots_load(&root->slots, slot)) != NULL) {
        uint64_t hash = mrl_root_hash(root, mrl_version_key(v));
        if (mrl_shard_of(hash) != number)
            err = mrl_check_broken(check, NULL, v, "a slot that stays with its shard",
                                   "slot %u in shards %u and %u", slot, number, mrl_shard_of(hash));
        else if (mrl_root_find(root, hash, mrl_version_key(v)) != v)
            err = mrl_check_broken(check, NULL, v,
                                   "a version in a slot only where its key leads to it",
                                   "slot %u with a version that no key leads to", slot);
    }
    mrl_lock_drop(&root->shards[number].lock);
    return err;
}

merle_err mrl_check_slots(mrl_check *check, uint32_t piece) {
    merle_err err = MERLE_OK;
    uint64_t end = mrl_slots_end(&check->root->slots);
    uint64_t slot = (uint64_t)piece * SLOTS_A_PIECE, stop = slot + SLOTS_A_PIECE;
    check->has_more_slots = stop < end;
    if (stop > end) stop = end;
    for (; slot < stop && err == MERLE_OK; slot++) err = check_slot(check, (uint32_t)slot);
    return err;
}
