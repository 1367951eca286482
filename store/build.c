/* store/build.c - building an index while readers and writers go on.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * An index is added by a definition D: a new schema takes the place of the root's, with all shards
 * locked, as truncate locks them. Every commit after D finds the new schema when it has its locks,
 * and keeps the index as it keeps any other: it adds the entries of values that come, and gives up
 * those of values that go. What is missing are the entries of the documents that were there at D
 * and have not been written to since. They are in slots below the end at D; the walk visits each
 * of these slots once, under the lock of the document's key shard, and adds the entries of the
 * version that is current then.
 *
 * What holds of a slot, with its key shard locked. Before the visit: its live entries are some of
 * those that its current version has (what a commit after D added, and has not given up); an entry
 * of the current version is never marked, because whoever marked it took the value away, and who
 * brought it back added it again. So a commit that gives up a value looks first whether there is an
 * entry (store/hints.c). After the visit: the live entries are exactly those of the current
 * version, and commits keep it so.
 *
 * Why it is complete. When the walk is over all shards are locked once more, and a schema in which
 * the index is ready is put in place, in force from R on, the last commit that is published then.
 * A section with S >= R sees of each slot the version that was current at that moment or a later
 * one. The former has its entries by the invariant, the latter by its commit. A section below R
 * walks on to the schema before, in which the index is not ready (mrl_root_schema), even if it
 * lasts until long after. R is no commit's: no record says that an index became ready, since it
 * changes nothing that could be read another way. A section at R may have begun while the index was
 * being built. It may use it: it looks at entries after it has found the schema (acquire), thus
 * after the last of them was added, and the leaves and sets that the walk has touched have tickets
 * that are not older than its own epoch, so nothing in them counts as at rest.
 *
 * Unique values. While it is being built the index refuses nobody; who takes a value that another
 * current version has, a writer or the visit, notes its slot as suspect. Let p and q be current
 * with one value when all shards are locked at the end, and let q be the one that came to it last,
 * by its commit or, if it had it before D, by its visit. Both look with the value's shard locked,
 * after they are sure to become current; p's hint was there then, and p had the value. So q is
 * noted. It is enough to ask each suspect whether another one still has its value. The walk also
 * notes documents with values that the index cannot hold; new ones are refused by the schema. Notes
 * are few: if there is no room for one, and none that was kept still stands at the end, the walk
 * begins anew, over all slots there are then, since a pair may be missed in which both are new.
 *
 * Values made by a function stand with the version, and versions from before D lack them. They have
 * no values of the index, then, and no entries, until the visit puts a *twin* in the place of the
 * current version v: the same seq, slot, key and document, and what the function makes besides. It
 * is the same state: no record, no seq, no event, no mark on the page. Why that harms nobody:
 *   The twin's `before` is v, and v is retired as superseded, so the twin is to v what any commit's
 *   version is to the one before it: reclamation walks from the current one down to what it frees,
 *   and meets v. All unique values of v are the twin's too: v's hints are passed on.
 *   A section that has v in hand began before the ticket was taken. One with S >= v's seq stops at
 *   the twin or at v, which say the same; one below goes on to v and what is before it, and, being
 *   as old as that, holds all of these. A lookup in a frozen table finds v: the document is the
 *   same, and who asks for values comes by a slot, which is never frozen.
 *   A commit that has read v finds the twin: what was read holds if slot and seq are the same, not
 *   the address. What it composed on v is composed again, as if somebody had written. So is
 *   whatever it has composed for reading: an index that is ready for its section was so after every
 *   visit, and the slot leads to the twin (mrl_view_valued).
 *   Who writes after D makes the values by himself, and a commit that was begun before does so when
 *   it finds the schema. So what lacks them is from before D, nobody but the walk replaces it by
 *   something that is not a commit's, and the walk is one thread at a time: what was current when
 *   the twin was made without a lock is current still, or has been written over and has them.
 *   Which index made a value says its stamp; numbers are given again. Another build's twins keep
 *   what this one made, and the other way round. What a function refuses stays without values, as
 *   a suspect; the build fails as long as it stands.
 * Old versions that wait for sections take room that writers need: a build that has filled half of
 * it goes on when it is free.
 *
 * Failing. A suspect that still stands with all shards locked makes the build fail: a schema in
 * which nothing is kept of the index is put in place. Its tables go a grace period later, for
 * somebody may be looking at them; the list stays until it is dropped.
 *
 * Dropping is a definition again. Older sections see the schema before, and the tables, which
 * nobody keeps any more: what they see in them was there at their S, and stays, since nothing is
 * marked, dropped or swept in them from now on. The number is given again when the tables are gone.
 *
 * Truncate and drop of the collection replace the root; in the new one, which is empty, all indexes
 * are ready. A step looks with the shard locked whether root and schema are what they were, and
 * stops if not.
 */
#include "store/build.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/report.h"
#include "base/self.h"
#include "store/definition.h"
#include "store/entries.h"

/* How many suspects are asked with all shards locked; how many bytes of documents a step replaces
 * by their twins. */
enum { ASKED_MAX = 256, REPLACED_BYTES_MAX = 1 << 20 };
/* How often merle_index_build tries to make room before it gives up. */
enum { ROOM_ROUNDS_MAX = 64 };

/* ---- the state of a build ---- */

mrl_build *mrl_build_create(mrl_member *member) {
    mrl_build *build = mrl_alloc(member, MRL_FOR_TABLES, sizeof *build);
    if (build == NULL) return NULL;
    memset(build, 0, sizeof *build);
    mrl_lock_init(&build->lock);
    return build;
}

void mrl_build_destroy(mrl_member *member, mrl_build *build) {
    if (build == NULL) return;
    if (build->kept_bytes != NULL)
        mrl_free(member, MRL_FOR_TABLES, build->kept_bytes, build->kept_size);
    mrl_free(member, MRL_FOR_TABLES, build, sizeof *build);
}

static void note(mrl_build *build, uint32_t slot) {
    mrl_lock_take(&build->lock);
    if (build->note_count < MRL_BUILD_NOTE_MAX)
        build->notes[build->note_count++] = slot;
    else
        build->has_overflown = 1;
    mrl_lock_drop(&build->lock);
}

void mrl_build_note(mrl_build *build, uint32_t slot) {
    note(build, slot);
    atomic_fetch_add_explicit(&build->offence_count, 1, memory_order_relaxed);
}

static uint32_t count_notes(mrl_build *build) {
    mrl_lock_take(&build->lock);
    uint32_t count = build->note_count;
    mrl_lock_drop(&build->lock);
    return count;
}

static uint32_t total_of(const mrl_build *build) {
    return atomic_load_explicit(&build->slots_total, memory_order_relaxed);
}

static int is_walked(const mrl_build *build) {
    return atomic_load_explicit(&build->slots_done, memory_order_relaxed) >= total_of(build);
}

/* ---- one step ---- */

typedef struct stepping {
    mrl_store *store;
    mrl_member *member;
    merle_collection *collection;
    mrl_root *root;
    const mrl_schema *schema;
    const mrl_schema_index *index;
    mrl_build *build;
    const mrl_version *version; /* the one that is visited */
    int all_locked;
    /* Of an index with a function: made before the shard was locked, for who lacks its values. */
    mrl_version *twin;
    merle_err refused; /* or why there is none */
    merle_buffer made;
    size_t replaced_bytes;
} stepping;

/* Whether root and schema are what they were; one shard is locked. */
static int is_same(const stepping *s) {
    return mrl_collection_current(s->collection) == s->root &&
           mrl_root_schema_now(s->root) == s->schema;
}

/* ---- documents that lack what the index's function makes of them ---- */

/* Half of what old versions may take: the other half is the writers'. */
static int has_no_room(mrl_store *store) {
    return mrl_store_waiting_bytes(store) > store->retired_max / 2;
}

static void note_refusal(mrl_build *build, uint32_t slot, merle_err why) {
    mrl_lock_take(&build->lock);
    if (build->refusal_count < MRL_BUILD_KEPT_MAX)
        build->refusals[build->refusal_count++] = (mrl_refused){slot, why};
    mrl_lock_drop(&build->lock);
    mrl_build_note(build, slot);
}

/* What the function said of the document in the slot. It is not asked twice, and not where
 * everybody waits; beyond those that are noted it counts as a value that cannot be held. */
static merle_err refusal_of(mrl_build *build, uint32_t slot) {
    for (uint32_t i = 0; i < build->refusal_count; i++)
        if (build->refusals[i].slot == slot) return build->refusals[i].why;
    return MERLE_TYPE;
}

static void drop_twin(stepping *s) {
    if (s->twin != NULL) mrl_version_free(s->member, s->twin);
    s->twin = NULL;
}

/* Makes the twin of a version that lacks the values, if it does, holding nothing: the function may
 * take its time. Errors: MERLE_NO_MEMORY. */
static merle_err make_twin(stepping *s, mrl_version *v) {
    s->refused = MERLE_OK;
    if (mrl_version_is_tombstone(v) || mrl_version_has_extracted(v, s->index)) return MERLE_OK;
    merle_err err = mrl_version_copy_extracted(v, s->index, &s->made);
    if (err != MERLE_OK) return err;
    s->refused =
        mrl_schema_extract(s->schema, s->index, mrl_version_key(v),
                           merle_bytes_of(mrl_version_doc(v), v->doc_size), &s->made, NULL);
    if (s->refused == MERLE_NO_MEMORY) return s->refused;
    if (s->refused != MERLE_OK) return MERLE_OK;
    s->twin = mrl_version_twin(s->member, v, &s->made);
    return s->twin == NULL ? MERLE_NO_MEMORY : MERLE_OK;
}

/* Puts the twin in the place of the current version, as a commit would; the key shard is locked.
 * Errors: MERLE_NO_MEMORY. */
static merle_err swing_twin(stepping *s) {
    mrl_version *twin = s->twin, *old = twin->before;
    uint64_t hash = mrl_root_hash(s->root, mrl_version_key(old));
    uint32_t number = mrl_shard_of(hash);
    mrl_shard *shard = &s->root->shards[number];
    merle_err err = mrl_queue_reserve(&shard->queue, s->member, 1);
    if (err != MERLE_OK) return err;
    /* Nobody has it yet: the pointers below are stored with release. */
    atomic_store_explicit(&twin->seq, mrl_version_seq(old), memory_order_relaxed);
    mrl_map_replace(&s->root->maps[number], hash, mrl_entry_pointer(old, hash),
                    mrl_entry_pointer(twin, hash));
    mrl_point("build.key_swung");
    mrl_slots_store(&s->root->slots, old->slot, twin);
    mrl_point("build.slot_swung");
    s->replaced_bytes += mrl_version_size(old);
    /* It has all unique values that the old one has. */
    mrl_shard_retire(shard, s->member, old, MRL_QUEUED_SUPERSEDED,
                     mrl_ticket_take(s->store->domain))
        ->hints_passed_on = 1;
    s->version = twin;
    s->twin = NULL;
    return MERLE_OK;
}

/* ---- whether a document stands against the index ---- */

typedef struct other_probe {
    mrl_unique_probe unique;
    const stepping *s;
    const uint8_t *encoded;
    size_t size;
    const mrl_version *found;
} other_probe;

static int other_holds(const mrl_unique_probe *probe, uint32_t slot) {
    other_probe *asked = (other_probe *)(uintptr_t)probe;
    if (slot == asked->s->version->slot) return 0;
    const mrl_version *v = mrl_version_live(mrl_slots_load(&asked->s->root->slots, slot));
    if (!mrl_version_has_unique(v, asked->s->index, asked->encoded, asked->size)) return 0;
    asked->found = v;
    return 1;
}

/* Another document with the same unique value as s->version; NULL: there is none. The value's shard
 * is locked. */
static const mrl_version *find_other(const stepping *s, const uint8_t *encoded, size_t size,
                                     uint64_t hash) {
    other_probe probe = {.s = s, .encoded = encoded, .size = size};
    probe.unique.probe.hash = hash;
    probe.unique.holds = other_holds;
    (void)mrl_unique_find(s->root->indexes[s->index->number].unique, &probe.unique);
    return probe.found;
}

/* MERLE_OK, or why s->version stands against the index. Its key shard is locked. */
static merle_err judge(const stepping *s, const mrl_version **out_other) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    const mrl_version *v = s->version;
    *out_other = NULL;
    if (!mrl_version_has_extracted(v, s->index)) return refusal_of(s->build, v->slot);
    merle_err err = mrl_schema_check_index(s->schema, s->index, mrl_version_key(v),
                                           merle_bytes_of(mrl_version_doc(v), v->doc_size));
    if (err != MERLE_OK || !mrl_index_is_unique(s->index)) return err;
    size_t size = mrl_version_encode_unique(v, s->index, encoded);
    if (size == 0) return MERLE_OK;
    mrl_unique *unique = s->root->indexes[s->index->number].unique;
    uint64_t hash = mrl_unique_hash(unique, encoded, size);
    mrl_unique_shard *shard = mrl_unique_shard_of(unique, hash);
    if (!s->all_locked) mrl_lock_take(&shard->lock);
    *out_other = find_other(s, encoded, size, hash);
    if (!s->all_locked) mrl_lock_drop(&shard->lock);
    return *out_other == NULL ? MERLE_OK : MERLE_EXISTS;
}

/* ---- slots ---- */

typedef merle_err visit_fn(stepping *s);

/* Calls fn with the slot's live version, if it has one, in s->version, its key shard locked.
 * Errors: fn's; MERLE_GONE: root or schema is another one. */
static merle_err with_slot(stepping *s, uint32_t slot, visit_fn *fn) {
    merle_err err = MERLE_OK;
    const mrl_version *v = mrl_slots_load(&s->root->slots, slot);
    if (v == NULL) return MERLE_OK;
    /* A slot belongs to one shard for as long as its root lives. */
    uint64_t hash = mrl_root_hash(s->root, mrl_version_key(v));
    mrl_shard *shard = &s->root->shards[mrl_shard_of(hash)];
    mrl_lock_take(&shard->lock);
    mrl_point("build.slot_locked");
    s->version = mrl_version_live(mrl_slots_load(&s->root->slots, slot));
    if (!is_same(s))
        err = MERLE_GONE;
    else if (s->version != NULL)
        err = fn(s);
    mrl_lock_drop(&shard->lock);
    return err;
}

static merle_err add_hint(stepping *s) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    int added;
    size_t size = mrl_version_encode_unique(s->version, s->index, encoded);
    if (size == 0) return MERLE_OK;
    mrl_unique *unique = s->root->indexes[s->index->number].unique;
    uint64_t hash = mrl_unique_hash(unique, encoded, size);
    mrl_unique_shard *shard = mrl_unique_shard_of(unique, hash);
    mrl_lock_take(&shard->lock);
    if (find_other(s, encoded, size, hash) != NULL) mrl_build_note(s->build, s->version->slot);
    merle_err err = mrl_unique_add(unique, s->member, hash, s->version->slot, &added);
    mrl_lock_drop(&shard->lock);
    return err;
}

static int add_entry(void *context, merle_bytes value) {
    const stepping *s = context;
    const mrl_root_index *made = &s->root->indexes[s->index->number];
    int added;
    merle_err err =
        mrl_index_has_tags(s->index)
            ? mrl_tags_add(made->tags, s->member, value, s->version->slot, &added)
            : mrl_ordered_add(made->ordered, s->member, value, s->version->slot, &added);
    return err != MERLE_OK;
}

/* What is there already is added again when there was no memory for the rest: that changes
 * nothing. */
static merle_err visit(stepping *s) {
    merle_err err;
    if (!mrl_version_has_extracted(s->version, s->index)) {
        /* It is from before the index; so it is the one that was there before its shard was locked:
         * whatever came since has the values. */
        if (s->refused != MERLE_OK) {
            note_refusal(s->build, s->version->slot, s->refused);
            return MERLE_OK;
        }
        MRL_ASSERT(s->twin != NULL && s->twin->before == s->version);
        if ((err = swing_twin(s)) != MERLE_OK) return err;
    }
    const mrl_version *v = s->version;
    err = mrl_schema_check_index(s->schema, s->index, mrl_version_key(v),
                                 merle_bytes_of(mrl_version_doc(v), v->doc_size));
    /* It is listed as far as it can be: a commit that makes it fit adds only what the two versions
     * do not share. */
    if (err != MERLE_OK) mrl_build_note(s->build, v->slot);
    if (mrl_index_is_unique(s->index) && (err = add_hint(s)) != MERLE_OK) return err;
    if (!mrl_index_has_tree(s->index) && !mrl_index_has_tags(s->index)) return MERLE_OK;
    return mrl_entries_each(v, s->index, add_entry, s) == 0 ? MERLE_OK : MERLE_NO_MEMORY;
}

static merle_err visit_slot(stepping *s, uint32_t slot) {
    mrl_version *v = s->index->extract == NULL ? NULL : mrl_slots_load(&s->root->slots, slot);
    merle_err err = v == NULL ? MERLE_OK : make_twin(s, v);
    if (err == MERLE_OK) err = with_slot(s, slot, visit);
    drop_twin(s);
    return err;
}

/* Visits up to max slots, or as many as make up a piece of memory. */
static merle_err walk(stepping *s, size_t max, size_t *out_done) {
    uint32_t slot = atomic_load_explicit(&s->build->slots_done, memory_order_relaxed);
    merle_err err = MERLE_OK;
    s->replaced_bytes = 0;
    for (*out_done = 0; *out_done < max && slot < total_of(s->build); ++*out_done) {
        if (s->replaced_bytes >= REPLACED_BYTES_MAX) break;
        if ((err = visit_slot(s, slot)) != MERLE_OK) break;
        slot++;
    }
    atomic_store_explicit(&s->build->slots_done, slot, memory_order_relaxed);
    return err;
}

/* ---- suspects ---- */

static merle_err note_again(stepping *s) {
    const mrl_version *other;
    if (judge(s, &other) != MERLE_OK) note(s->build, s->version->slot);
    return MERLE_OK;
}

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Keeps of the suspects those that still stand, each once. MERLE_GONE: another definition came in
 * between, the rest are kept unasked. */
static merle_err sift(stepping *s) {
    uint32_t notes[MRL_BUILD_NOTE_MAX];
    merle_err err = MERLE_OK;
    mrl_lock_take(&s->build->lock);
    uint32_t count = s->build->note_count;
    memcpy(notes, s->build->notes, count * sizeof notes[0]);
    s->build->note_count = 0;
    mrl_lock_drop(&s->build->lock);
    if (count > 1) qsort(notes, count, sizeof notes[0], by_number);
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0 && notes[i] == notes[i - 1]) continue;
        /* Of an empty slot nobody knows the shard: a new document may be on its way into it, and
         * has looked for others already. It stays a suspect until all shards are locked. */
        int is_empty = mrl_slots_load(&s->root->slots, notes[i]) == NULL;
        if (err == MERLE_OK && !is_empty) err = with_slot(s, notes[i], note_again);
        if (err != MERLE_OK || is_empty) note(s->build, notes[i]);
    }
    return err;
}

/* ---- the end ---- */

/* What replaces the schema, and what takes up the old one; made before anything is locked. */
typedef struct change {
    mrl_schema *schema;
    mrl_left *left;
} change;

/* In force from the last commit on that is published by now. */
static void swing_now(const stepping *s, mrl_schema *schema) {
    uint64_t seq = mrl_log_published_at(s->store->published);
    if (schema->indexes[s->index->number].state == MERLE_INDEX_READY)
        schema->indexes[s->index->number].ready_seq = seq;
    mrl_root_swing_schema(s->root, schema, mrl_root_schema_now(s->root), seq);
    atomic_fetch_sub_explicit(&s->store->building, 1, memory_order_relaxed);
}

static merle_err change_init(change *c, const stepping *s, merle_index_state state) {
    uint32_t number = s->index->number;
    merle_err err = mrl_schema_in_state(s->schema, number, state, 0, &c->schema);
    if (err != MERLE_OK) return err;
    int is_ready = state == MERLE_INDEX_READY;
    c->left = mrl_left_create(s->member, mrl_root_schema_now(s->root), is_ready ? s->build : NULL,
                              is_ready ? MRL_LEFT_NONE : number);
    if (c->left != NULL) return MERLE_OK;
    mrl_schema_release(c->schema);
    return MERLE_NO_MEMORY;
}

static void change_cancel(change *c, mrl_member *member) {
    mrl_schema_release(c->schema);
    mrl_left_cancel(member, c->left);
}

/* The catalog is locked. *out_done: 0 if a suspect came meanwhile. */
static merle_err become_ready(stepping *s, int *out_done) {
    change c;
    merle_err err = change_init(&c, s, MERLE_INDEX_READY);
    if (err != MERLE_OK) return err;
    mrl_root_lock_all(s->root, s->schema);
    mrl_point("build.locked");
    *out_done = s->build->note_count == 0 && !s->build->has_overflown;
    if (*out_done) {
        atomic_store_explicit(&s->root->builds[s->index->number], NULL, memory_order_release);
        swing_now(s, c.schema);
    }
    mrl_root_unlock_all(s->root, s->schema);
    if (*out_done)
        mrl_left_push(s->store, s->root, c.left);
    else
        change_cancel(&c, s->member);
    return MERLE_OK;
}

/* Room for the keys of all that can be kept. */
static size_t kept_room(mrl_build *build) {
    uint32_t count = count_notes(build);
    if (count > MRL_BUILD_KEPT_MAX) count = MRL_BUILD_KEPT_MAX;
    return (size_t)count * 2 * MERLE_KEY_SIZE_MAX;
}

static uint32_t keep_bytes(mrl_build *build, uint32_t at, const mrl_version *v) {
    if (v == NULL) return at;
    memcpy(build->kept_bytes + at, v->bytes, v->key_size);
    return at + v->key_size;
}

/* Asks the suspects, all shards locked; keeps the first of those that stand. Returns how many. If
 * none does, those that were asked are suspects no more. */
static uint32_t judge_all(stepping *s, size_t room) {
    mrl_build *build = s->build;
    uint32_t used = 0, standing = 0;
    s->all_locked = 1;
    build->kept_count = 0;
    for (uint32_t i = 0; i < build->note_count && i < ASKED_MAX; i++) {
        const mrl_version *other = NULL;
        s->version = mrl_version_live(mrl_slots_load(&s->root->slots, build->notes[i]));
        merle_err why = s->version == NULL ? MERLE_OK : judge(s, &other);
        if (why == MERLE_OK) continue;
        standing++;
        size_t other_size = other == NULL ? 0 : other->key_size;
        if (build->kept_count == MRL_BUILD_KEPT_MAX ||
            used + s->version->key_size + other_size > room)
            continue;
        build->kept[build->kept_count++] =
            (mrl_kept){why, used, s->version->key_size, (uint32_t)other_size};
        used = keep_bytes(build, keep_bytes(build, used, s->version), other);
    }
    s->all_locked = 0;
    if (standing == 0) {
        uint32_t asked = build->note_count < ASKED_MAX ? build->note_count : ASKED_MAX;
        build->note_count -= asked;
        memmove(build->notes, build->notes + asked, build->note_count * sizeof build->notes[0]);
    }
    return standing;
}

/* Room was made for the longest keys; without memory for less it stays. */
static void shrink_kept(mrl_member *member, mrl_build *build) {
    const mrl_kept *last = &build->kept[build->kept_count - 1];
    uint32_t used = last->key_at + last->key_size + last->other_size;
    uint8_t *bytes = mrl_alloc(member, MRL_FOR_TABLES, used);
    if (bytes == NULL) return;
    memcpy(bytes, build->kept_bytes, used);
    mrl_free(member, MRL_FOR_TABLES, build->kept_bytes, build->kept_size);
    build->kept_bytes = bytes;
    build->kept_size = used;
}

/* The catalog is locked. *out_done: 0 if none of the suspects stands any more. */
static merle_err become_failed(stepping *s, int *out_done) {
    change c;
    mrl_build *build = s->build;
    size_t room = kept_room(build);
    merle_err err = change_init(&c, s, MERLE_INDEX_FAILED);
    if (err != MERLE_OK) return err;
    build->kept_bytes = mrl_alloc(s->member, MRL_FOR_TABLES, room);
    if (build->kept_bytes == NULL) {
        change_cancel(&c, s->member);
        return MERLE_NO_MEMORY;
    }
    build->kept_size = (uint32_t)room;
    mrl_root_lock_all(s->root, s->schema);
    mrl_point("build.locked");
    uint32_t standing = judge_all(s, room);
    *out_done = standing != 0;
    if (*out_done) {
        /* Those that were not asked stood a moment ago. */
        uint64_t rest = build->note_count > ASKED_MAX ? build->note_count - ASKED_MAX : 0;
        atomic_store_explicit(&build->offence_count, standing + rest, memory_order_relaxed);
        shrink_kept(s->member, build);
        swing_now(s, c.schema);
    }
    mrl_root_unlock_all(s->root, s->schema);
    if (*out_done) {
        mrl_left_push(s->store, s->root, c.left);
        return MERLE_OK;
    }
    mrl_free(s->member, MRL_FOR_TABLES, build->kept_bytes, room);
    build->kept_bytes = NULL;
    build->kept_size = 0;
    change_cancel(&c, s->member);
    return MERLE_OK;
}

/* Notes were lost, and none that was kept stands: everything is looked at again. */
static void begin_again(stepping *s) {
    mrl_lock_take(&s->build->lock);
    s->build->has_overflown = 0;
    s->build->refusal_count = 0;
    mrl_lock_drop(&s->build->lock);
    /* After that: whose note was lost has its slot by now. */
    atomic_store_explicit(&s->build->slots_total, mrl_slots_end(&s->root->slots),
                          memory_order_relaxed);
    atomic_store_explicit(&s->build->slots_done, 0, memory_order_relaxed);
}

/* Finds the index of this number while it is being built; 0: it is not. In a section, or with the
 * catalog locked. */
static int find_build(stepping *s, uint32_t number) {
    s->root = mrl_collection_current(s->collection);
    if (s->root == NULL || s->root->is_dropped) return 0;
    s->schema = mrl_root_schema_now(s->root);
    s->index = mrl_schema_index_at(s->schema, number);
    s->build = mrl_root_build(s->root, number);
    return s->build != NULL && s->index->state == MERLE_INDEX_BUILDING;
}

/* The walk is over and the suspects are sifted: ready, failed, or once more. */
static merle_err finish(stepping *s, uint32_t number) {
    merle_err err = MERLE_OK;
    int done = 0;
    mrl_lock_take(&s->store->catalog_lock);
    if (find_build(s, number) && is_walked(s->build)) {
        /* Whoever notes something from now on is met again with all shards locked. */
        mrl_lock_take(&s->build->lock);
        int has_notes = s->build->note_count != 0, has_overflown = s->build->has_overflown != 0;
        mrl_lock_drop(&s->build->lock);
        if (has_notes)
            err = become_failed(s, &done);
        else if (has_overflown)
            begin_again(s);
        else
            err = become_ready(s, &done);
    }
    mrl_lock_drop(&s->store->catalog_lock);
    return err;
}

/* One bounded piece of one build; the build lock is held. Errors: MERLE_NO_MEMORY. */
static merle_err step(stepping *s, uint32_t number, size_t max, size_t *out_done) {
    mrl_epoch_token token;
    merle_err err = MERLE_OK;
    int is_over = 0;
    *out_done = 0;
    mrl_member_enter(s->member, &token);
    if (find_build(s, number)) {
        err = s->index->extract != NULL && has_no_room(s->store) ? MERLE_NO_MEMORY
                                                                 : walk(s, max, out_done);
        is_over = err == MERLE_OK && is_walked(s->build);
        if (is_over || count_notes(s->build) > MRL_BUILD_NOTE_MAX / 2) {
            merle_err sifted = sift(s);
            if (err == MERLE_OK) err = sifted;
        }
    }
    mrl_member_leave(s->member, &token);
    merle_buffer_free(&s->made);
    mrl_point("build.stepped");
    if (err == MERLE_GONE) return MERLE_OK;
    if (err != MERLE_OK || !is_over) return err;
    ++*out_done;
    return finish(s, number);
}

/* ---- whatever is being built ---- */

/* Names a document that stands against a failed index. */
static merle_err tell_failure(const stepping *s, const mrl_build *build,
                              const mrl_schema_index *index) {
    const char *name = index->name;
    const mrl_kept *kept = &build->kept[0];
    char other[96];
    merle_bytes key = merle_bytes_of(build->kept_bytes + kept->key_at, kept->key_size);
    merle_bytes other_key =
        merle_bytes_of(build->kept_bytes + kept->key_at + kept->key_size, kept->other_size);
    mrl_report_escape(other_key, other, sizeof other);
    if (kept->why == MERLE_EXISTS)
        mrl_store_fail(s->member, kept->why, s->collection, key,
                       "index %s has failed: the document has the same value as %s", name, other);
    else
        mrl_store_fail(s->member, kept->why, s->collection, key,
                       index->extract == NULL
                           ? "index %s has failed: it cannot hold the document's value"
                           : "index %s has failed: its function refuses the document",
                       name);
    mrl_report_index(s->member->report, name);
    return kept->why;
}

/* MERLE_OK: ready; MERLE_BUSY, with its number: it is being built; else why it is not. */
static merle_err look(stepping *s, const char *name, uint32_t *out_number) {
    mrl_epoch_token token;
    merle_err err = MERLE_BUSY;
    mrl_member_enter(s->member, &token);
    /* As writers do, not the very latest: what is called ready, sections can use from now on. */
    const _Atomic uint64_t *published = s->store->published;
    const mrl_root *root = mrl_collection_writable(s->collection, published);
    const mrl_schema_index *index =
        root == NULL || root->is_dropped
            ? NULL
            : mrl_schema_find_index(mrl_root_writable_schema(root, published), name);
    const mrl_build *build = index == NULL ? NULL : mrl_root_build(root, index->number);
    if (root == NULL || root->is_dropped)
        err = MERLE_GONE;
    else if (index == NULL)
        err = MERLE_NOT_FOUND;
    else if (index->state == MERLE_INDEX_READY)
        err = MERLE_OK;
    else if (index->state == MERLE_INDEX_FAILED && build != NULL)
        err = tell_failure(s, build, index);
    *out_number = index == NULL ? 0 : index->number;
    mrl_member_leave(s->member, &token);
    return err;
}

merle_err mrl_build_finish(mrl_store *store, mrl_member *member, merle_collection *collection,
                           const char *name) {
    enum { PIECE_MAX = 256 };
    stepping s = {.store = store, .member = member, .collection = collection};
    uint32_t number, rounds = 0;
    size_t done;
    for (;;) {
        merle_err err = look(&s, name, &number);
        if (err != MERLE_BUSY) return err;
        mrl_lock_take(&store->build_lock);
        err = step(&s, number, PIECE_MAX, &done);
        mrl_lock_drop(&store->build_lock);
        int is_tight = err != MERLE_OK && has_no_room(store);
        /* What was replaced by twins goes as it came, if nobody looks at it. */
        if (s.replaced_bytes > 0 || err != MERLE_OK)
            (void)mrl_reclaim_some(store, member, 2 * PIECE_MAX);
        rounds = err == MERLE_OK ? 0 : rounds + 1;
        if (err == MERLE_OK || (is_tight && rounds < ROOM_ROUNDS_MAX)) continue;
        return mrl_store_fail(member, err, collection, merle_bytes_of(NULL, 0),
                              "no memory to go on with index %s%s", name,
                              is_tight ? ": old versions take half of retired_max" : "");
    }
}

static size_t build_collection(stepping *s, size_t max) {
    mrl_epoch_token token;
    uint32_t numbers = 0;
    size_t done = 0, some;
    mrl_member_enter(s->member, &token);
    const mrl_root *root = mrl_collection_current(s->collection);
    const mrl_schema *schema = root == NULL ? NULL : mrl_root_schema_now(root);
    for (uint32_t i = 0; schema != NULL && i < schema->index_count; i++)
        if (schema->indexes[i].state == MERLE_INDEX_BUILDING) numbers |= (uint32_t)1 << i;
    mrl_member_leave(s->member, &token);
    for (; numbers != 0 && done < max; numbers &= numbers - 1) {
        /* Without memory it is tried again by a later step. */
        (void)step(s, (uint32_t)__builtin_ctz(numbers), max - done, &some);
        done += some;
    }
    return done;
}

size_t mrl_build_some(mrl_store *store, mrl_member *member, size_t max) {
    size_t done = 0;
    if (!mrl_build_is_pending(store) || !mrl_lock_try(&store->build_lock)) return 0;
    stepping s = {.store = store, .member = member};
    s.collection = atomic_load_explicit(&store->collections, memory_order_acquire);
    for (; s.collection != NULL && done < max;
         s.collection = atomic_load_explicit(&s.collection->next, memory_order_acquire))
        done += build_collection(&s, max - done);
    mrl_lock_drop(&store->build_lock);
    return done;
}
