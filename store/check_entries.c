/* store/check_entries.c - the entries of ordered and tag indexes: each current version's are there,
 * and there are no more live ones than that.
 *
 * The first is asked with the lock of the version's key shard held, under which alone entries of
 * its slot come and go. The second compares sums, as the count of documents does.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/check.h"
#include "store/entries.h"
#include "store/expiry.h"
#include "tags/set.h"

typedef struct asking {
    mrl_check *check;
    const mrl_schema_index *index;
    const mrl_version *version;
    uint64_t count;
    int is_missing;
} asking;

static int tag_has(const mrl_check *check, const mrl_tags *tags, merle_bytes value, uint32_t slot) {
    uint32_t found = 0;
    mrl_run run = {mrl_epoch_value(check->store->domain), slot, slot, &found, NULL, 1, 0};
    mrl_tag_read(mrl_tags_find(tags, value), &run);
    return run.count == 1;
}

static int ask(void *context, merle_bytes value) {
    asking *a = context;
    const mrl_root_index *made = &a->check->root->indexes[a->index->number];
    uint32_t slot = a->version->slot;
    a->count++;
    a->is_missing = mrl_index_has_tags(a->index) ? !tag_has(a->check, made->tags, value, slot)
                                                 : !mrl_ordered_has(made->ordered, value, slot);
    return a->is_missing;
}

static int count_only(void *context, merle_bytes value) {
    asking *a = context;
    (void)value;
    a->count++;
    return 0;
}

static int has_entries(const mrl_schema_index *index) {
    return mrl_index_has_tree(index) || mrl_index_has_tags(index);
}

/* One that is being built may lack entries still, but has none too many. */
static int is_complete(const mrl_schema_index *index) {
    return index->state == MERLE_INDEX_READY;
}

/* The index by time has each document that ends, under its moment. */
static merle_err check_expiry(mrl_check *check, const mrl_version *v) {
    uint8_t value[MRL_EXPIRY_SIZE];
    mrl_ordered *expiry = mrl_root_expiry(check->root);
    int64_t expires_ns = mrl_version_expires(v);
    if (expires_ns == 0) return MERLE_OK;
    check->expiring++;
    mrl_expiry_encode(expires_ns, value);
    if (expiry != NULL && mrl_ordered_has(expiry, merle_bytes_of(value, sizeof value), v->slot))
        return MERLE_OK;
    return mrl_check_broken(check, NULL, v, "an entry in the index by time",
                            "none for slot %u at %lld", v->slot, (long long)expires_ns);
}

merle_err mrl_check_entries(mrl_check *check, const mrl_version *v) {
    merle_err err = check_expiry(check, v);
    if (err != MERLE_OK) return err;
    const mrl_schema *schema = mrl_root_schema_now(check->root);
    for (uint32_t i = 0; i < schema->index_count; i++) {
        asking a = {check, &schema->indexes[i], v, 0, 0};
        if (!has_entries(a.index)) continue;
        (void)mrl_entries_each(v, a.index, is_complete(a.index) ? ask : count_only, &a);
        if (a.is_missing)
            return mrl_check_broken(check, a.index->name, v, "an entry for each of its values",
                                    "none for one of slot %u", v->slot);
        check->entries[i] += a.count;
    }
    return MERLE_OK;
}

static uint64_t count_live(const mrl_root_index *made, const mrl_schema_index *index) {
    if (mrl_index_has_tree(index)) {
        mrl_ordered_stats stats;
        mrl_ordered_stat(made->ordered, &stats);
        return stats.entries - stats.marked;
    }
    mrl_tags_stats stats;
    mrl_tags_stat(made->tags, &stats);
    return stats.entries - stats.marked;
}

/* What a sum is of: an index, or, NULL, the index by time. */
static uint64_t count_entries(const mrl_check *check, const mrl_schema_index *index) {
    const mrl_root *root = check->root;
    if (index != NULL) return count_live(&root->indexes[index->number], index);
    mrl_ordered_stats stats = {0};
    if (mrl_root_expiry(root) != NULL) mrl_ordered_stat(mrl_root_expiry(root), &stats);
    return stats.entries - stats.marked;
}

/* Whether there are as many live entries as values; where somebody was writing meanwhile the sums
 * are not of one instant, and it counts as so. */
static int sums_agree(const mrl_check *check, const mrl_schema_index *index, uint64_t *out_live) {
    uint64_t values = index == NULL ? check->expiring : check->entries[index->number];
    *out_live = count_entries(check, index);
    /* A build gives documents the values of a function without publishing anything. */
    return mrl_log_published_at(check->store->published) != check->published ||
           mrl_domain_count(check->store->domain, MRL_N_RETIRED) != check->retired ||
           (index == NULL || is_complete(index) ? *out_live == values : *out_live <= values);
}

/* A commit under way has added entries and not published yet: only where the sums differ, and then
 * for as long as it takes to sum up once more, all writers wait. */
static int sums_agree_at_rest(const mrl_check *check, const mrl_schema_index *index,
                              uint64_t *out_live) {
    mrl_root *root = check->root;
    for (uint32_t i = 0; i < MRL_SHARD_COUNT; i++) mrl_lock_take(&root->shards[i].lock);
    int agree = sums_agree(check, index, out_live);
    for (uint32_t i = 0; i < MRL_SHARD_COUNT; i++) mrl_lock_drop(&root->shards[i].lock);
    return agree;
}

static merle_err check_expiry_sum(const mrl_check *check) {
    uint64_t live = 0;
    if (sums_agree(check, NULL, &live) || sums_agree_at_rest(check, NULL, &live)) return MERLE_OK;
    return mrl_check_broken(check, NULL, NULL, "an entry by time for each document that ends",
                            "%llu entries for %llu documents", (unsigned long long)live,
                            (unsigned long long)check->expiring);
}

merle_err mrl_check_entry_sums(const mrl_check *check) {
    const mrl_schema *schema = mrl_root_schema_now(check->root);
    for (uint32_t i = 0; i < schema->index_count; i++) {
        const mrl_schema_index *index = &schema->indexes[i];
        const mrl_root_index *made = &check->root->indexes[i];
        uint64_t live = 0;
        if (!has_entries(index)) continue;
        if (!sums_agree(check, index, &live) && !sums_agree_at_rest(check, index, &live))
            return mrl_check_broken(check, index->name, NULL,
                                    "an entry for each value, and no more",
                                    "%llu entries for %llu values", (unsigned long long)live,
                                    (unsigned long long)check->entries[i]);
        const char *broken = mrl_index_has_tags(index) ? mrl_tags_check(made->tags) : NULL;
        if (broken != NULL)
            return mrl_check_broken(check, index->name, NULL, "sound sets", "%s", broken);
    }
    return check_expiry_sum(check);
}
