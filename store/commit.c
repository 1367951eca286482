/* store/commit.c - the one place that orders a write.
 *
 *  1  prepare    outside all locks: versions and effects on what is current now, the record, its
 *                credit
 *  2  lock       key shards of all that is written or read, collections in the order of their ids,
 *                shards in the order of their numbers; the roots and their schemas must still be
 *                current, patches whose base has changed are composed again, preconditions are
 *                checked
 *  3  values     unique shards of all values taken, given up or read, likewise ordered; the read
 *                set holds, no value is taken twice; hints are added
 *  4  reserve    slots, room in the queues, entries of keys, ordered and tag indexes, images: all
 *                memory is in hand after this
 *  5  swing      key entries and slots point to the new versions, whose seq is still NONE: readers
 *                walk on to the version before; entries of values that go are given up. Nothing can
 *                fail from here on.
 *  6  publish    under the publish lock: seq, stamped into versions, page runs and record;
 *                published
 *  7  retire     what was superseded goes into its shard's queue, with a ticket taken after
 *                publishing
 *  8  unlock; wait for the disk if that was asked for; reclaim a bounded piece
 *
 * Why the swing may come before the seq: a section sees a version only if its seq is at most S.
 * While seq is NONE nobody does; it is stamped before seq is published, and a section whose S
 * reaches it has loaded `published` (acquire) after that. So the lock under which commits are
 * numbered covers only the stamping.
 *
 * Why nothing leaks from a commit that fails: until step 5 others can have met only hints (compared
 * with versions that do not have the value) and the key entry of a new document (seq NONE, nothing
 * before it). Both are taken away under the same locks; the version behind the key entry, which
 * somebody may be looking at, is freed after a grace period like a retired one, its slot with it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/commit.h"

#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/report.h"
#include "base/self.h"
#include "store/expiry.h"

enum {
    RESTARTS_MAX = 1000,
    RECLAIM_FROM = 24,
    ADVANCE_EVERY = 16,
    RECLAIM_PARTS = 4,
    REFUSED_PIECE = 256,
    ENTRY_PREFETCH_MAX = 1024
};

/* ---- 1: prepare ---- */

static mrl_version *current_version(const mrl_touch *touch) {
    return mrl_root_find(touch->part->root, touch->hash, touch->key);
}

static merle_err adopt_root(merle_commit *commit, mrl_portion *part, mrl_root *root,
                            const mrl_schema *schema) {
    int schema_changed = schema != part->schema;
    part->root = root;
    part->schema = schema;
    if (!schema_changed) return MERLE_OK;
    for (mrl_touch *touch = commit->touches; touch != NULL; touch = touch->next) {
        if (touch->part != part) continue;
        merle_err err = mrl_touch_adopt(commit, touch);
        if (err != MERLE_OK) return err;
    }
    return MERLE_OK;
}

/* Collections of which every operation was refused at once: they are not part of the commit. */
static void forget_idle_parts(merle_commit *commit) {
    for (mrl_portion **at = &commit->parts; *at != NULL;) {
        if ((*at)->touch_count == 0 && !(*at)->has_reads)
            *at = (*at)->next;
        else
            at = &(*at)->next;
    }
}

static merle_err prepare_roots(merle_commit *commit) {
    for (mrl_portion *part = commit->parts; part != NULL; part = part->next) {
        mrl_root *root = mrl_collection_writable(part->collection, commit->store->published);
        if (root == NULL || root->is_dropped)
            return mrl_store_fail(commit->member, MERLE_GONE, part->collection,
                                  merle_bytes_of(NULL, 0), "the collection was dropped");
        /* This root takes no document as long as it lives. */
        if (root->is_loading && part->touch_count > 0)
            return mrl_store_fail(commit->member, MERLE_BUSY, part->collection,
                                  merle_bytes_of(NULL, 0),
                                  "a bulk load of the collection is under way");
        const mrl_schema *schema = mrl_root_writable_schema(root, commit->store->published);
        merle_err err = root == part->root && schema == part->schema
                            ? MERLE_OK
                            : adopt_root(commit, part, root, schema);
        if (err != MERLE_OK) return err;
        part->key_shards = 0;
        memset(part->value_shards, 0, schema->index_count * sizeof part->value_shards[0]);
    }
    return MERLE_OK;
}

/* Patches and merges are composed on the version that is current now (what was read back: on the
 * one that was read); the rest needs only its shard's lock to know whether there is one. */
static void prepare_touches(merle_commit *commit) {
    for (mrl_touch *touch = commit->touches; touch != NULL; touch = touch->next) {
        touch->part->key_shards |= (uint64_t)1 << mrl_shard_of(touch->hash);
        if (!touch->needs_base) continue;
        mrl_version *base = touch->is_read_back ? touch->base : current_version(touch);
        /* What is wrong now may be right when the lock is held: there it counts. */
        (void)mrl_touch_compose(commit, touch, base);
    }
}

static const mrl_version *put_of(const mrl_touch *touch) {
    if (touch->is_composed) return touch->version;
    return touch->last->kind == MRL_ACTION_PUT ? touch->last->version : NULL;
}

/* An upper bound of the record as far as touches are composed: a patch that is not counts for its
 * key alone, and the commit starts over when the lock shows that it needs more. */
static size_t record_bound(const merle_commit *commit) {
    size_t size = mrl_record_begin_size(commit->origin_size);
    for (const mrl_touch *touch = commit->touches; touch != NULL; touch = touch->next) {
        const mrl_version *v = put_of(touch);
        size_t payload = v != NULL ? v->doc_size : 0;
        if (touch->is_composed && touch->outcome == MRL_OUTCOME_PATCH) payload = touch->effect_size;
        size += mrl_record_operation_size(touch->key.size, payload);
    }
    return size;
}

/* Credit first, then memory, with nothing held: a stuck disk must not stop those who do not wait
 * for it. */
static merle_err prepare_entry(merle_commit *commit, size_t bound) {
    merle_err err;
    if (bound > commit->store->commit_size_max)
        return mrl_store_fail(commit->member, MERLE_TOO_BIG, NULL, merle_bytes_of(NULL, 0),
                              "the commit's record of %zu bytes is above commit_size_max", bound);
    mrl_images_plan(commit);
    uint64_t credit = mrl_entry_credit(bound) + commit->images_max;
    uint64_t loose = commit->durability == MERLE_ASYNC ? mrl_entry_credit(bound) : 0;
    err = mrl_credit_take_loose(commit->store->log, commit->member, credit, loose,
                                commit->patience != MERLE_REFUSE);
    if (err != MERLE_OK) return mrl_credit_refused(commit->store, commit->member, err);
    commit->credit = credit;
    commit->loose = loose;
    commit->entry = commit->only_removes ? mrl_entry_create_urgent(commit->member, bound)
                                         : mrl_entry_create(commit->member, bound);
    if (commit->entry != NULL) {
        /* Its memory was last used a whole ring ago. */
        for (size_t at = 0; at < bound && at < ENTRY_PREFETCH_MAX; at += MRL_LINE_SIZE)
            __builtin_prefetch(commit->entry->body + at, 1);
        return MERLE_OK;
    }
    return mrl_store_fail(commit->member, MERLE_NO_MEMORY, NULL, merle_bytes_of(NULL, 0),
                          "no memory for the commit's record");
}

static void drop_entry(merle_commit *commit) {
    if (commit->entry != NULL) mrl_entry_destroy(commit->member, commit->entry);
    if (commit->credit != 0)
        mrl_credit_give_loose(commit->store->log, commit->credit, commit->loose);
    commit->entry = NULL;
    commit->credit = commit->loose = 0;
}

/* ---- 2: key shards ---- */

static void lock_keys(merle_commit *commit) {
    for (mrl_portion *part = commit->parts; part != NULL; part = part->next)
        for (uint64_t bits = part->key_shards; bits != 0; bits &= bits - 1)
            mrl_lock_take(&part->root->shards[__builtin_ctzll(bits)].lock);
}

static void unlock_keys(merle_commit *commit) {
    for (mrl_portion *part = commit->parts; part != NULL; part = part->next)
        for (uint64_t bits = part->key_shards; bits != 0; bits &= bits - 1)
            mrl_lock_drop(&part->root->shards[__builtin_ctzll(bits)].lock);
}

static int roots_are_current(const merle_commit *commit) {
    for (mrl_portion *part = commit->parts; part != NULL; part = part->next)
        if (mrl_collection_current(part->collection) != part->root ||
            mrl_root_schema_now(part->root) != part->schema)
            return 0;
    return 1;
}

/* Whether what was read back of the commit's own writes still rests on what it rested on. */
static merle_err check_read_back(const merle_commit *commit) {
    for (const mrl_touch *touch = commit->touches; touch != NULL; touch = touch->next)
        if (touch->is_read_back &&
            !mrl_version_is_same_state(mrl_commit_live(commit, current_version(touch)),
                                       touch->base_is_due ? NULL : mrl_version_live(touch->base)))
            return mrl_store_fail(commit->member, MERLE_CONFLICT, touch->part->collection,
                                  touch->key, "what the commit had read has changed");
    return MERLE_OK;
}

/* Whether what the touch was composed on, or what it would leave, has passed its time since. */
static int has_come_due(const merle_commit *commit, const mrl_touch *touch) {
    const mrl_version *base = mrl_version_live(touch->base);
    if (base != NULL && !touch->base_is_due && mrl_commit_live(commit, base) == NULL) return 1;
    return touch->outcome != MRL_OUTCOME_NONE && touch->outcome != MRL_OUTCOME_REMOVE &&
           mrl_commit_live(commit, touch->version) == NULL;
}

/* With the key shards locked: every touch composed on the version that is current. */
static merle_err settle_touches(merle_commit *commit) {
    commit->effective_count = 0;
    for (mrl_touch *touch = commit->touches; touch != NULL; touch = touch->next) {
        mrl_version *base = current_version(touch);
        if (!touch->is_composed || base != touch->base || has_come_due(commit, touch)) {
            merle_err err = mrl_touch_compose(commit, touch, base);
            if (err != MERLE_OK) return err;
        }
        if (touch->outcome != MRL_OUTCOME_NONE) commit->effective_count++;
        if (touch->version != NULL) touch->version->before = base;
        /* The last of the steps that bring nearer what this commit will change. */
        if (base != NULL) mrl_slots_prefetch(&touch->part->root->slots, base->slot);
        merle_err err = mrl_values_compute(commit, touch);
        if (err == MERLE_OK) err = mrl_hints_compute(commit, touch);
        if (err != MERLE_OK) return err;
    }
    return MERLE_OK;
}

/* ---- 3: unique shards ---- */

static void lock_values(merle_commit *commit) {
    for (mrl_portion *part = commit->parts; part != NULL; part = part->next)
        for (uint32_t i = 0; i < part->schema->index_count; i++)
            for (uint64_t bits = part->value_shards[i]; bits != 0; bits &= bits - 1)
                mrl_lock_take(&part->root->indexes[i].unique->shards[__builtin_ctzll(bits)].lock);
}

static void unlock_values(merle_commit *commit) {
    for (mrl_portion *part = commit->parts; part != NULL; part = part->next)
        for (uint32_t i = 0; i < part->schema->index_count; i++)
            for (uint64_t bits = part->value_shards[i]; bits != 0; bits &= bits - 1)
                mrl_lock_drop(&part->root->indexes[i].unique->shards[__builtin_ctzll(bits)].lock);
}

/* ---- 4: reserve ---- */

static mrl_shard *shard_of(const mrl_touch *touch) {
    return &touch->part->root->shards[mrl_shard_of(touch->hash)];
}

/* A touch retires at most what it supersedes and its own tombstone, or, failing, its exposed
 * version. */
static merle_err reserve_queues(merle_commit *commit) {
    for (mrl_portion *part = commit->parts; part != NULL; part = part->next) {
        uint32_t counts[MRL_SHARD_COUNT];
        for (uint64_t bits = part->key_shards; bits != 0; bits &= bits - 1)
            counts[__builtin_ctzll(bits)] = 0;
        for (mrl_touch *touch = commit->touches; touch != NULL; touch = touch->next)
            if (touch->part == part) counts[mrl_shard_of(touch->hash)] += 2;
        for (uint64_t bits = part->key_shards; bits != 0; bits &= bits - 1) {
            uint32_t shard = (uint32_t)__builtin_ctzll(bits);
            merle_err err =
                mrl_queue_reserve(&part->root->shards[shard].queue, commit->member, counts[shard]);
            if (err != MERLE_OK) return err;
        }
    }
    return MERLE_OK;
}

static merle_err take_slot(merle_commit *commit, mrl_touch *touch) {
    if (touch->outcome == MRL_OUTCOME_NONE) return MERLE_OK;
    mrl_hints_approach(touch);
    if (touch->base != NULL) {
        touch->slot = touch->base->slot;
    } else {
        touch->slot = mrl_shard_take_slot(shard_of(touch));
        if (touch->slot == MRL_SLOT_NONE) {
            merle_err err = mrl_slots_take(&touch->part->root->slots, commit->member, &touch->slot);
            if (err != MERLE_OK) return err;
        }
        touch->has_slot = 1;
    }
    touch->version->slot = touch->slot;
    return MERLE_OK;
}

static merle_err expose_key(merle_commit *commit, mrl_touch *touch) {
    if (touch->outcome == MRL_OUTCOME_NONE || touch->base != NULL) return MERLE_OK;
    mrl_key_probe probe;
    mrl_key_probe_init(&probe, touch->hash, touch->key);
    uint64_t existing = 0;
    merle_err err =
        mrl_map_add(&touch->part->root->maps[mrl_shard_of(touch->hash)], commit->member,
                    &probe.probe, mrl_entry_pointer(touch->version, touch->hash), &existing);
    if (err != MERLE_OK) return err;
    MRL_ASSERT(existing == 0);
    touch->is_exposed = 1;
    return MERLE_OK;
}

/* Steps 3 and 4 for every touch; what fails half-way is undone by fail_touches. */
static merle_err reserve_touches(merle_commit *commit) {
    merle_err err = reserve_queues(commit);
    for (mrl_touch *touch = commit->touches; touch != NULL && err == MERLE_OK; touch = touch->next)
        err = take_slot(commit, touch);
    for (mrl_touch *touch = commit->touches; touch != NULL && err == MERLE_OK; touch = touch->next)
        if ((err = mrl_values_take(commit, touch)) == MERLE_EXISTS) return err;
    /* Before anything is exposed: what was cannot be prepared anew. */
    if (err == MERLE_OK && commit->evictions != NULL) return MERLE_AGAIN;
    for (mrl_touch *touch = commit->touches; touch != NULL && err == MERLE_OK;
         touch = touch->next) {
        err = mrl_hints_add(commit, touch);
        if (err == MERLE_OK) err = mrl_due_add(commit, touch);
        if (err == MERLE_OK) err = expose_key(commit, touch);
    }
    if (err == MERLE_NO_MEMORY || err == MERLE_TOO_BIG)
        mrl_store_fail(commit->member, err, commit->touches->part->collection, commit->touches->key,
                       "no memory for the tables");
    return err;
}

static void forget_version(mrl_touch *touch) {
    for (mrl_action *action = touch->first; action != NULL; action = action->next)
        if (action->version == touch->version) action->version = NULL;
    touch->version = NULL;
    touch->owns_version = 0;
}

/* Takes everything away that a failing commit has added; key and value shards locked. */
static void fail_touches(merle_commit *commit) {
    for (mrl_touch *touch = commit->touches; touch != NULL; touch = touch->next) {
        mrl_values_undo(commit, touch);
        mrl_hints_undo(commit, touch);
        mrl_due_undo(commit, touch);
        if (touch->is_exposed) {
            mrl_key_probe probe;
            mrl_key_probe_init(&probe, touch->hash, touch->key);
            (void)mrl_map_remove(&touch->part->root->maps[mrl_shard_of(touch->hash)],
                                 commit->member, &probe.probe);
            (void)mrl_shard_retire(shard_of(touch), commit->member, touch->version,
                                   MRL_QUEUED_LIMBO, mrl_ticket_take(commit->store->domain));
            forget_version(touch);
        } else if (touch->has_slot) {
            mrl_shard_return_slot(shard_of(touch), commit->member, touch->slot);
        }
        touch->is_exposed = touch->has_slot = 0;
        touch->is_composed = 0;
    }
}

/* ---- the record ---- */

static merle_bytes record_payload(const merle_commit *commit, const mrl_touch *touch) {
    if (touch->outcome == MRL_OUTCOME_PUT)
        return merle_bytes_of(mrl_version_doc(touch->version), touch->version->doc_size);
    if (touch->outcome == MRL_OUTCOME_PATCH)
        return merle_bytes_of(commit->effects.data + touch->effect_at, touch->effect_size);
    return merle_bytes_of(NULL, 0);
}

static mrl_record_operation_view record_operation(const merle_commit *commit,
                                                  const mrl_touch *touch) {
    mrl_record_operation_view operation = {.collection_id = touch->part->collection->id,
                                           .slot = touch->slot,
                                           .key = touch->key,
                                           .payload = record_payload(commit, touch),
                                           .expires_ns = mrl_version_expires(touch->version),
                                           .was_due = touch->base_is_due};
    operation.kind = touch->outcome == MRL_OUTCOME_PUT     ? MRL_RECORD_PUT
                     : touch->outcome == MRL_OUTCOME_PATCH ? MRL_RECORD_PATCH
                                                           : MRL_RECORD_REMOVE;
    operation.is_new = touch->outcome == MRL_OUTCOME_PUT &&
                       (touch->base_is_due || mrl_version_live(touch->base) == NULL);
    return operation;
}

/* Writes the record of the composed touches, for which there is room. */
static void write_record(merle_commit *commit) {
    mrl_entry *entry = commit->entry;
    merle_bytes origin = merle_bytes_of(commit->origin, commit->origin_size);
    uint8_t *at =
        mrl_record_begin(entry->body, commit->record_origin, origin, commit->effective_count);
    for (mrl_touch *touch = commit->touches; touch != NULL; touch = touch->next) {
        if (touch->outcome == MRL_OUTCOME_NONE) continue;
        entry->is_memory_only |= touch->part->schema->memory_only != 0;
        const mrl_record_operation_view operation = record_operation(commit, touch);
        at = mrl_record_operation_of(at, &operation, &touch->slot_at);
    }
    entry->body_size = (uint32_t)(at - entry->body);
    MRL_ASSERT(entry->body_size <= entry->body_capacity);
    entry->operation_count = commit->effective_count;
    entry->loose = (uint32_t)commit->loose;
    entry->is_led = commit->durability == MERLE_SYNC;
    entry->body_crc = mrl_crc32c(0, entry->body, entry->body_size);
}

/* ---- 5 to 7 ---- */

static void swing(merle_commit *commit) {
    for (mrl_touch *touch = commit->touches; touch != NULL; touch = touch->next) {
        if (touch->outcome == MRL_OUTCOME_NONE) continue;
        mrl_root *root = touch->part->root;
        if (touch->base != NULL) {
            mrl_map_replace(&root->maps[mrl_shard_of(touch->hash)], touch->hash,
                            mrl_entry_pointer(touch->base, touch->hash),
                            mrl_entry_pointer(touch->version, touch->hash));
            mrl_point("commit.key_swung");
        }
        mrl_slots_store(&root->slots, touch->slot, touch->version);
        mrl_point("commit.slot_swung");
        mrl_hints_give_up(commit, touch);
        mrl_due_give_up(commit, touch);
    }
}

/* How many documents more the shard has. */
static int count_delta(const mrl_touch *touch) {
    if (touch->outcome == MRL_OUTCOME_REMOVE) return -1;
    return mrl_version_live(touch->base) == NULL;
}

static uint64_t publish(merle_commit *commit) {
    mrl_log *log = commit->store->log;
    uint64_t seq = mrl_publish_begin(log);
    for (mrl_touch *touch = commit->touches; touch != NULL; touch = touch->next) {
        if (touch->outcome == MRL_OUTCOME_NONE) continue;
        /* Release: pairs with the acquire in mrl_version_seq. */
        atomic_store_explicit(&touch->version->seq, seq, memory_order_release);
        mrl_slots_mark(&touch->part->root->slots, touch->slot, seq);
        int delta = count_delta(touch);
        if (delta != 0) mrl_root_count_add(touch->part->root, touch->hash, delta, seq);
    }
    mrl_publish_end_untold(log, commit->member, commit->entry, commit->credit);
    commit->entry = NULL;
    commit->credit = commit->loose = 0;
    return seq;
}

/* Plain additions: the shard's lock makes us the only one. */
static void count_done(mrl_shard *shard, mrl_outcome outcome) {
    _Atomic uint64_t *count = outcome == MRL_OUTCOME_PUT     ? &shard->puts
                              : outcome == MRL_OUTCOME_PATCH ? &shard->patches
                                                             : &shard->removes;
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void retire_superseded(merle_commit *commit) {
    /* After publishing: who could see the old version began before the ticket was taken. */
    uint32_t ticket = mrl_ticket_take(commit->store->domain);
    for (mrl_touch *touch = commit->touches; touch != NULL; touch = touch->next) {
        if (touch->outcome == MRL_OUTCOME_NONE) continue;
        mrl_shard *shard = shard_of(touch);
        mrl_member *member = commit->member;
        count_done(shard, touch->outcome);
        mrl_hints_given_up(commit, touch);
        mrl_due_published(touch);
        if (touch->base_is_due) mrl_count(member, MRL_N_EXPIRED, 1);
        if (touch->base != NULL)
            mrl_shard_retire(shard, member, touch->base, MRL_QUEUED_SUPERSEDED, ticket)
                ->hints_passed_on = mrl_values_stay(touch) & 1;
        if (touch->outcome == MRL_OUTCOME_REMOVE)
            (void)mrl_shard_retire(shard, member, touch->version, MRL_QUEUED_TOMBSTONE, ticket);
        forget_version(touch);
        touch->has_slot = touch->is_exposed = 0;
    }
}

/* ---- the whole ---- */

/* An operation was refused. If what the commit had read has changed, then that is why: a conflict,
 * so that who read first and wrote by it knows to try again. */
static merle_err judge_refusal(merle_commit *commit, merle_err refused) {
    if (refused == MERLE_NO_MEMORY || commit->reads == NULL) return refused;
    lock_values(commit);
    merle_err err = mrl_reads_check(commit);
    unlock_values(commit);
    return err != MERLE_OK ? err : refused;
}

/* Shows a one-call form what its commit found and leaves. */
static merle_err show_result(merle_commit *commit) {
    const mrl_touch *touch = commit->touches;
    if (commit->accept == NULL || touch == NULL) return MERLE_OK;
    const mrl_version *before = touch->base_is_due ? NULL : mrl_version_live(touch->base);
    return commit->accept(commit->accept_context, before, mrl_touch_after(touch));
}

/* Everything under the locks. MERLE_AGAIN: start over, nothing is left. */
static merle_err write_locked(merle_commit *commit, uint64_t *out_seq) {
    commit->judge_ns = mrl_expiry_now(commit->store);
    merle_err err = check_read_back(commit);
    if (err != MERLE_OK) return err;
    if ((err = settle_touches(commit)) != MERLE_OK) return judge_refusal(commit, err);
    /* The record has outgrown what credit was taken for: start over with more, holding nothing. */
    if (commit->entry != NULL &&
        (record_bound(commit) > commit->entry->body_capacity || !mrl_images_fit(commit)))
        return MERLE_AGAIN;
    mrl_point("commit.settled");
    lock_values(commit);
    mrl_point("commit.values_locked");
    /* Again: a collection of which only unique values were read has had no key shard locked. */
    if (!roots_are_current(commit)) {
        err = MERLE_AGAIN;
        goto done;
    }
    if ((err = mrl_reads_check(commit)) != MERLE_OK) goto done;
    if ((err = show_result(commit)) != MERLE_OK) goto done;
    if (commit->effective_count == 0) {
        *out_seq = commit->section.seq;
        goto done;
    }
    if ((err = reserve_touches(commit)) != MERLE_OK) goto fail;
    if ((err = mrl_images_make(commit)) != MERLE_OK) goto fail;
    mrl_point("commit.reserved");
    write_record(commit);
    swing(commit);
    *out_seq = publish(commit);
    mrl_point("commit.published");
    retire_superseded(commit);
    goto done;
fail:
    fail_touches(commit);
done:
    unlock_values(commit);
    return err;
}

static merle_err try_once(merle_commit *commit, uint64_t *out_seq) {
    commit->effects.size = 0;
    merle_err err = prepare_roots(commit);
    if (err != MERLE_OK) return err;
    prepare_touches(commit);
    mrl_reads_mark(commit);
    if (commit->touches != NULL && (err = prepare_entry(commit, record_bound(commit))) != MERLE_OK)
        goto done;
    mrl_point("commit.prepared");
    lock_keys(commit);
    mrl_point("commit.keys_locked");
    /* Definitions hold all key shards of the root that they replace, or whose schema: with one of
     * them locked both stay. */
    err = roots_are_current(commit) ? write_locked(commit, out_seq) : MERLE_AGAIN;
    unlock_keys(commit);
    mrl_point("commit.unlocked");
    /* To wake those who follow is a system call: nobody waits for our locks meanwhile. */
    mrl_publish_tell(commit->store->log);
done:
    drop_entry(commit);
    return err;
}

/* Holding no lock: what stood in the way, past its time, goes with this commit. */
static merle_err add_evictions(merle_commit *commit) {
    merle_err err = MERLE_OK;
    for (mrl_eviction *e = commit->evictions; e != NULL && err == MERLE_OK; e = e->next)
        err = mrl_commit_end_due(commit, e->collection, e->key);
    commit->evictions = NULL;
    return err;
}

static merle_err check_room(merle_commit *commit) {
    mrl_store *store = commit->store;
    mrl_oldest_section oldest;
    if (commit->only_removes || !mrl_store_is_full(store)) return MERLE_OK;
    if (mrl_store_waiting_bytes(store) <= store->retired_max) return MERLE_OK;
    merle_bytes nothing = merle_bytes_of(NULL, 0);
    if (!mrl_store_oldest_section(store, &oldest) || oldest.seq >= commit->section.seq)
        return mrl_store_fail(commit->member, MERLE_NO_MEMORY, NULL, nothing,
                              "old versions have reached retired_max and are being reclaimed");
    return mrl_store_fail(commit->member, MERLE_NO_MEMORY, NULL, nothing,
                          "old versions kept for open sections have reached retired_max; the "
                          "oldest section is of thread %llu, at least %.3f s old, at seq %llu",
                          (unsigned long long)oldest.thread, (double)oldest.age_ns / 1e9,
                          (unsigned long long)oldest.seq);
}

/* What the commit's shards have to reclaim, a bounded piece of it; the section has ended, no lock
 * is held. */
static void reclaim_after(mrl_store *store, mrl_member *member,
                          merle_collection *const *collections, const uint64_t *shards,
                          size_t count, size_t budget) {
    uint64_t commits = atomic_load_explicit(&member->counts[MRL_N_COMMITS], memory_order_relaxed);
    if (commits % ADVANCE_EVERY == 0) {
        mrl_epoch_advance(member);
        /* Twice what this thread's commits have pushed out of the ring: it keeps up by itself. */
        (void)mrl_domain_drain(member, 2 * ADVANCE_EVERY);
        (void)mrl_store_waiting_bytes(store);
    }
    for (size_t i = 0; i < count; i++)
        for (uint64_t bits = shards[i]; bits != 0 && budget > 0; bits &= bits - 1) {
            size_t done = mrl_reclaim_shard(store, member, collections[i],
                                            (uint32_t)__builtin_ctzll(bits), budget);
            budget -= done < budget ? done : budget;
        }
}

static void count_end(merle_commit *commit, merle_err err) {
    mrl_member *member = commit->member;
    mrl_count(member, MRL_N_OPERATIONS, commit->operation_count);
    mrl_count(member, err == MERLE_OK ? MRL_N_COMMITS : MRL_N_REFUSED, 1);
    if (err == MERLE_CONFLICT) mrl_count(member, MRL_N_CONFLICTS, 1);
}

/* Which of the commit's shards have something to reclaim. In its section still: the roots are
 * there. */
static size_t find_due(const merle_commit *commit, merle_collection **out_collections,
                       uint64_t *out_shards, size_t max) {
    size_t count = 0;
    for (mrl_portion *part = commit->parts; part != NULL && count < max; part = part->next) {
        uint64_t due = 0;
        for (uint64_t bits = part->key_shards; bits != 0; bits &= bits - 1) {
            uint32_t shard = (uint32_t)__builtin_ctzll(bits);
            if (mrl_queue_length(&part->root->shards[shard].queue) >= RECLAIM_FROM)
                due |= (uint64_t)1 << shard;
        }
        out_collections[count] = part->collection;
        out_shards[count++] = due;
    }
    return count;
}

merle_err merle_end(merle_commit *commit, uint64_t *out_seq) {
    merle_collection *collections[RECLAIM_PARTS];
    uint64_t shards[RECLAIM_PARTS], seq = 0;
    merle_err err;
    if (out_seq != NULL) *out_seq = 0;
    if ((commit = mrl_commit_own(commit, &err)) == NULL) return err;
    mrl_store *store = commit->store;
    mrl_member *member = commit->member;
    forget_idle_parts(commit);
    err = check_room(commit);
    for (uint32_t i = 0; err == MERLE_OK; i++) {
        err = try_once(commit, &seq);
        if (err != MERLE_AGAIN) break;
        mrl_count(member, MRL_N_RETRIES, 1);
        err = i < RESTARTS_MAX ? add_evictions(commit) : MERLE_CONFLICT;
    }
    count_end(commit, err);
    commit->accept = NULL;
    size_t count = find_due(commit, collections, shards, RECLAIM_PARTS);
    size_t budget = 2 * (size_t)commit->touch_count + RECLAIM_FROM;
    merle_durability durability = commit->durability;
    int is_written = err == MERLE_OK && commit->effective_count != 0;
    mrl_commit_close(commit);
    /* With its section ended and nothing locked: a slow disk holds up nobody else. */
    if (is_written) err = mrl_durable_settle(store, member, seq, durability);
    reclaim_after(store, member, collections, shards, count, budget);
    /* Who tries again shall find what can be given back, though nobody else steps. */
    if (err == MERLE_NO_MEMORY) (void)mrl_reclaim_some(store, member, REFUSED_PIECE);
    if ((err == MERLE_OK || err == MERLE_NOT_DURABLE) && out_seq != NULL) *out_seq = seq;
    return err;
}
