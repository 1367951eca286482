/* store/expiry.c - judging what is past its time, the index by time, removing what is due.
 *
 * Why what was seen to be gone does not come back. Clocks may be set back, and two threads may ask
 * them in any order. So whoever finds a document past its time first raises the store's floor to
 * that moment, and no clock that is asked later is before the floor. Commits judge under the locks
 * of what they write, by a clock asked there: one that began while the document was alive does not
 * bring it back after somebody has seen it gone.
 *
 * Why nothing due is forgotten. due_from says from which moment on the index has to be looked at.
 * Who removes takes it, leaving "never", and puts back where he stopped. A commit that lists a
 * document lowers it after it has published: if the value was taken before, he who took it looks at
 * the index afterwards, and meets the published version; if later, the value that the commit left
 * is there for the next round.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/expiry.h"

#include <string.h>

#include "base/report.h"

enum { LOOK_FACTOR = 4, HITS = 64 };

/* ---- the clock ---- */

void mrl_expiry_enable(mrl_store *store) {
    if (atomic_load_explicit(&store->can_expire, memory_order_relaxed)) return;
    /* Whoever sees a commit that came after this has loaded its seq (acquire) before the flag. */
    atomic_store_explicit(&store->can_expire, 1, memory_order_release);
}

void mrl_expiry_raise(mrl_store *store, int64_t time_ns) {
    int64_t floor_ns = atomic_load_explicit(&store->time_floor, memory_order_relaxed);
    while (floor_ns < time_ns &&
           !atomic_compare_exchange_weak_explicit(&store->time_floor, &floor_ns, time_ns,
                                                  memory_order_release, memory_order_relaxed))
        continue;
}

int64_t mrl_expiry_now(const mrl_store *store) {
    if (!atomic_load_explicit(&store->can_expire, memory_order_relaxed)) return INT64_MIN;
    int64_t now_ns = store->clock->wall_ns(store->clock->context);
    /* Acquire: pairs with the release in mrl_expiry_raise; who was told of what somebody saw is not
     * before it. */
    int64_t floor_ns = atomic_load_explicit(&store->time_floor, memory_order_acquire);
    return now_ns < floor_ns ? floor_ns : now_ns;
}

int mrl_expiry_is_due(mrl_store *store, const mrl_version *v, int64_t now_ns) {
    int64_t expires_ns = mrl_version_expires(v);
    if (expires_ns == 0 || expires_ns > now_ns) return 0;
    mrl_expiry_raise(store, expires_ns);
    return 1;
}

const mrl_version *mrl_section_judge(const mrl_section *section, const mrl_version *v) {
    return mrl_expiry_is_due(section->store, v, section->now_ns) ? NULL : v;
}

/* ---- in a commit ---- */

int64_t mrl_commit_now(merle_commit *commit) {
    if (commit->section.now_ns == INT64_MIN) {
        /* Nothing that its instant shows can expire: else the section had asked the clock. */
        mrl_expiry_enable(commit->store);
        commit->section.now_ns = mrl_expiry_now(commit->store);
        commit->judge_ns = commit->section.now_ns;
    }
    return commit->section.now_ns;
}

const mrl_version *mrl_commit_live(const merle_commit *commit, const mrl_version *v) {
    v = mrl_version_live(v);
    return v != NULL && mrl_expiry_is_due(commit->store, v, commit->judge_ns) ? NULL : v;
}

/* ---- the index by time ---- */

merle_err mrl_expiry_index(mrl_root *root, mrl_member *member, mrl_ordered **out_index) {
    mrl_ordered *there = NULL;
    *out_index = mrl_root_expiry(root);
    if (*out_index != NULL) return MERLE_OK;
    mrl_ordered *made = mrl_ordered_create(member);
    if (made == NULL) return MERLE_NO_MEMORY;
    /* Release: pairs with the acquire in mrl_root_expiry. Who comes second takes the
     * first one's. */
    if (atomic_compare_exchange_strong_explicit(&root->expiry, &there, made, memory_order_acq_rel,
                                                memory_order_acquire)) {
        *out_index = made;
        return MERLE_OK;
    }
    mrl_ordered_destroy(made, member);
    *out_index = there;
    return MERLE_OK;
}

static void lower_from(mrl_root *root, int64_t time_ns) {
    int64_t from = atomic_load_explicit(&root->due_from, memory_order_seq_cst);
    while (time_ns < from &&
           !atomic_compare_exchange_weak_explicit(&root->due_from, &from, time_ns,
                                                  memory_order_seq_cst, memory_order_seq_cst))
        continue;
}

/* One before it: so that it is told from where mrl_expiry_some itself goes on, behind some of the
 * entries of a moment that many documents share. */
void mrl_expiry_wake(mrl_root *root, int64_t expires_ns) {
    lower_from(root, expires_ns - 1);
}

static int64_t moment_before(const mrl_touch *touch) {
    const mrl_version *base = mrl_version_live(touch->base);
    return touch->outcome == MRL_OUTCOME_NONE || base == NULL ? 0 : mrl_version_expires(base);
}

static int64_t moment_after(const mrl_touch *touch) {
    const mrl_version *v = touch->outcome == MRL_OUTCOME_NONE ? NULL : touch->version;
    return v == NULL ? 0 : mrl_version_expires(v);
}

merle_err mrl_due_add(merle_commit *commit, mrl_touch *touch) {
    uint8_t value[MRL_EXPIRY_SIZE];
    mrl_ordered *index;
    int added = 0;
    int64_t expires_ns = moment_after(touch);
    if (__builtin_expect(expires_ns == 0, 1) || expires_ns == moment_before(touch)) return MERLE_OK;
    mrl_expiry_enable(commit->store);
    mrl_expiry_encode(expires_ns, value);
    merle_err err = mrl_expiry_index(touch->part->root, commit->member, &index);
    if (err == MERLE_OK)
        err = mrl_ordered_add(index, commit->member, merle_bytes_of(value, sizeof value),
                              touch->slot, &added);
    touch->due_added = (uint8_t)added;
    if (err == MERLE_OK) return err;
    return mrl_store_fail(commit->member, err, touch->part->collection, touch->key,
                          "no memory for the index by time");
}

static void mark(merle_commit *commit, const mrl_touch *touch, int64_t expires_ns) {
    uint8_t value[MRL_EXPIRY_SIZE];
    mrl_expiry_encode(expires_ns, value);
    mrl_ordered_mark(mrl_root_expiry(touch->part->root), commit->member,
                     merle_bytes_of(value, sizeof value), touch->slot);
}

void mrl_due_undo(merle_commit *commit, mrl_touch *touch) {
    if (!touch->due_added) return;
    mark(commit, touch, moment_after(touch));
    touch->due_added = 0;
}

void mrl_due_give_up(merle_commit *commit, mrl_touch *touch) {
    int64_t expires_ns = moment_before(touch);
    if (__builtin_expect(expires_ns == 0, 1) || expires_ns == moment_after(touch)) return;
    mark(commit, touch, expires_ns);
}

void mrl_due_published(const mrl_touch *touch) {
    int64_t expires_ns = moment_after(touch);
    if (__builtin_expect(expires_ns != 0, 0)) mrl_expiry_wake(touch->part->root, expires_ns);
}

/* ---- removing ---- */

/* One commit of removals. */
typedef struct removing {
    merle_commit *commit;
    int64_t now_ns;
    size_t removed, removed_max;
    size_t looked, looked_max;
    int64_t first_ns; /* what was looked at first: all of it again, if the commit fails */
} removing;

static mrl_root *root_of(const merle_collection *collection) {
    mrl_root *root = mrl_collection_current(collection);
    return root == NULL || root->is_dropped || mrl_root_expiry(root) == NULL ? NULL : root;
}

/* The collection whose next moment is the earliest, and the earliest of the others. NULL: nothing
 * is listed anywhere. */
static merle_collection *find_earliest(const mrl_store *store, int64_t *out_first_ns,
                                       int64_t *out_second_ns) {
    merle_collection *earliest = NULL;
    *out_first_ns = *out_second_ns = INT64_MAX;
    merle_collection *collection = atomic_load_explicit(&store->collections, memory_order_acquire);
    for (; collection != NULL;
         collection = atomic_load_explicit(&collection->next, memory_order_acquire)) {
        const mrl_root *root = root_of(collection);
        if (root == NULL) continue;
        int64_t from = atomic_load_explicit(&root->due_from, memory_order_seq_cst);
        if (from < *out_first_ns) {
            *out_second_ns = *out_first_ns;
            *out_first_ns = from;
            earliest = collection;
        } else if (from < *out_second_ns) {
            *out_second_ns = from;
        }
    }
    return earliest;
}

/* The current version that a hit leads to, if it ends at the hit's moment. What is not published
 * yet wakes us when it is. */
static const mrl_version *version_of(const mrl_root *root, const mrl_ordered_hit *hit) {
    const mrl_version *v = mrl_version_live(mrl_slots_load(&root->slots, hit->slot));
    if (v == NULL || mrl_version_seq(v) == MRL_SEQ_NONE) return NULL;
    return mrl_version_expires(v) == mrl_expiry_decode(hit) ? v : NULL;
}

/* A million may end at one moment, and their entries stay in sight for a while: the next batch goes
 * on behind those that were looked at. */
static void go_on_behind(mrl_ordered_cursor *cursor, const mrl_root *root) {
    uint8_t value[MRL_EXPIRY_SIZE];
    mrl_expiry_encode(root->due_behind.last_ns, value);
    cursor->range.from_bound = MRL_BOUND_NONE;
    mrl_ordered_cursor_seek(cursor, merle_bytes_of(value, sizeof value), root->due_behind.slot);
}

/* Takes what is due up to `until` into the commit. Gives where it stopped. */
static merle_err take_some(removing *r, merle_collection *collection, mrl_root *root,
                           int64_t from_ns, int64_t until_ns, int64_t *out_stop_ns) {
    uint8_t from[MRL_EXPIRY_SIZE], position[MERLE_VALUE_SIZE_MAX];
    mrl_ordered_hit hits[HITS];
    mrl_ordered_cursor cursor;
    size_t count = HITS;
    mrl_expiry_encode(from_ns, from);
    const mrl_ordered_range range = {.from = merle_bytes_of(from, sizeof from),
                                     .from_bound = MRL_BOUND_CLOSED};
    mrl_ordered_cursor_init(&cursor, mrl_root_expiry(root), &range, 0, position);
    if (root->due_behind.stop_ns == from_ns) go_on_behind(&cursor, root);
    *out_stop_ns = from_ns;
    while (count == HITS) {
        count = mrl_ordered_next(&cursor, hits, HITS);
        for (size_t i = 0; i < count; i++) {
            *out_stop_ns = mrl_expiry_decode(&hits[i]);
            if (*out_stop_ns > until_ns) return MERLE_OK;
            if (r->removed == r->removed_max || r->looked == r->looked_max) return MERLE_OK;
            r->looked++;
            root->due_behind.last_ns = *out_stop_ns;
            root->due_behind.slot = hits[i].slot;
            const mrl_version *v = version_of(root, &hits[i]);
            if (v == NULL) continue;
            merle_err err = mrl_commit_end_due(r->commit, collection, mrl_version_key(v));
            if (err != MERLE_OK) return err;
            r->removed++;
        }
    }
    *out_stop_ns = INT64_MAX;
    return MERLE_OK;
}

/* Fills the commit from one collection after the other, always the one with the earliest. */
static merle_err fill(removing *r) {
    mrl_store *store = r->commit->store;
    while (r->removed < r->removed_max && r->looked < r->looked_max) {
        int64_t first_ns, second_ns, stop_ns;
        merle_collection *collection = find_earliest(store, &first_ns, &second_ns);
        if (collection == NULL || first_ns > r->now_ns) return MERLE_OK;
        if (first_ns < r->first_ns) r->first_ns = first_ns;
        mrl_root *root = root_of(collection);
        if (root == NULL) continue;
        int64_t from_ns =
            atomic_exchange_explicit(&root->due_from, INT64_MAX, memory_order_seq_cst);
        int64_t until_ns = second_ns < r->now_ns ? second_ns : r->now_ns;
        size_t looked = r->looked;
        merle_err err = take_some(r, collection, root, from_ns, until_ns, &stop_ns);
        root->due_behind.stop_ns = err == MERLE_OK && r->looked > looked ? stop_ns : INT64_MIN;
        lower_from(root, err == MERLE_OK ? stop_ns : from_ns);
        if (err != MERLE_OK) return err;
    }
    return MERLE_OK;
}

/* The commit failed: what it had taken is looked at again, by the next step. */
static void wake_all(mrl_store *store, int64_t from_ns) {
    merle_collection *collection = atomic_load_explicit(&store->collections, memory_order_acquire);
    for (; collection != NULL;
         collection = atomic_load_explicit(&collection->next, memory_order_acquire)) {
        mrl_root *root = root_of(collection);
        if (root != NULL) mrl_expiry_wake(root, from_ns);
    }
}

/* In a section of its own: the roots stay while the commit that was begun is filled. */
static size_t remove_some(mrl_store *store, mrl_member *member, size_t max) {
    removing r = {.removed_max = max, .looked_max = LOOK_FACTOR * max, .first_ns = INT64_MAX};
    mrl_epoch_token token;
    merle_report *report = member->report;
    if (mrl_commit_open(store, member, &r.commit) != MERLE_OK) return 0;
    /* The application's report is not for what it did not ask for. */
    member->report = NULL;
    r.now_ns = mrl_commit_now(r.commit);
    r.commit->record_origin = MERLE_ORIGIN_EXPIRY;
    /* Nobody waits for it: what a crash brings back is due, and goes again. */
    r.commit->patience = MERLE_REFUSE;
    if (r.commit->durability != MERLE_MEMORY) r.commit->durability = MERLE_ASYNC;
    /* Longer than the commit: what failed is put back into roots that are still there. */
    mrl_member_enter(member, &token);
    merle_err err = fill(&r);
    if (err == MERLE_OK && r.removed > 0)
        err = merle_end(r.commit, NULL);
    else
        merle_cancel(r.commit);
    if (err != MERLE_OK) wake_all(store, r.first_ns);
    mrl_member_leave(member, &token);
    member->report = report;
    return err == MERLE_OK ? r.looked : 0;
}

int64_t mrl_expiry_next(mrl_store *store, mrl_member *member) {
    int64_t first_ns, second_ns;
    mrl_epoch_token token;
    if (!atomic_load_explicit(&store->can_expire, memory_order_relaxed)) return INT64_MAX;
    mrl_member_enter(member, &token);
    (void)find_earliest(store, &first_ns, &second_ns);
    mrl_member_leave(member, &token);
    return first_ns;
}

int mrl_expiry_is_pending(mrl_store *store, mrl_member *member) {
    /* Nothing is removed where nothing can be written. */
    if (mrl_log_failure(store->log) != MERLE_OK) return 0;
    int64_t next_ns = mrl_expiry_next(store, member);
    return next_ns != INT64_MAX && next_ns <= mrl_expiry_now(store);
}

size_t mrl_expiry_some(mrl_store *store, mrl_member *member, size_t max) {
    if (!mrl_expiry_is_pending(store, member)) return 0;
    if (!mrl_lock_try(&store->expiry_lock)) return 0;
    size_t looked = remove_some(store, member, max);
    mrl_lock_drop(&store->expiry_lock);
    return looked;
}
