/* store/store.c - the store as a whole: beginning, end, threads that leave, reports.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/store.h"

#include <stdarg.h>
#include <string.h>

#include "base/report.h"
#include "store/commit.h"

void mrl_store_init(mrl_store *store, const mrl_store_options *options) {
    memset(store, 0, sizeof *store);
    store->domain = options->domain;
    store->log = options->log;
    store->published = mrl_log_published(options->log);
    store->clock = options->clock;
    store->hash_seed = options->hash_seed;
    store->retired_max = options->retired_max;
    store->commit_size_max = options->commit_size_max;
    store->durability = options->durability;
    if (store->durability == MERLE_DURABILITY_DEFAULT) store->durability = MERLE_ASYNC;
    store->patience = options->patience == MERLE_REFUSE ? MERLE_REFUSE : MERLE_WAIT;
    store->db = options->db;
    store->collection_next_id = 1;
    mrl_lock_init(&store->catalog_lock);
    mrl_lock_init(&store->dying_lock);
    mrl_lock_init(&store->step_lock);
    mrl_lock_init(&store->build_lock);
    mrl_lock_init(&store->expiry_lock);
    atomic_init(&store->time_floor, INT64_MIN);
}

void mrl_store_fini(mrl_store *store, mrl_member *member) {
    for (mrl_root *root = store->dying, *next; root != NULL; root = next) {
        next = root->dying;
        mrl_root_destroy(root, member);
    }
    merle_collection *collection = atomic_load_explicit(&store->collections, memory_order_acquire);
    for (merle_collection *next; collection != NULL; collection = next) {
        next = atomic_load_explicit(&collection->next, memory_order_acquire);
        mrl_root_destroy(mrl_collection_current(collection), member);
        mrl_free(member, MRL_FOR_TABLES, collection, sizeof *collection);
    }
}

void mrl_store_leaving(void *context, mrl_member *member) {
    while (member->commits != NULL) mrl_commit_close(member->commits);
    mrl_changes_leaving(context, member);
    mrl_commit_free_spare(member);
}

merle_err mrl_store_fail(mrl_member *member, merle_err err, const merle_collection *collection,
                         merle_bytes key, const char *format, ...) {
    merle_report *report = member->report;
    if (report == NULL) return err;
    va_list arguments;
    va_start(arguments, format);
    (void)mrl_report_fill_list(report, err, format, arguments);
    va_end(arguments);
    if (collection != NULL) mrl_report_collection(report, collection->name);
    if (key.size != 0) mrl_report_key(report, key);
    return err;
}

merle_err mrl_store_fail_index(mrl_member *member, merle_err err,
                               const merle_collection *collection, const char *index,
                               const char *format, ...) {
    merle_report *report = member->report;
    if (report == NULL) return err;
    va_list arguments;
    va_start(arguments, format);
    (void)mrl_report_fill_list(report, err, format, arguments);
    va_end(arguments);
    mrl_report_collection(report, collection->name);
    mrl_report_index(report, index);
    return err;
}

uint64_t mrl_store_retired_bytes(mrl_store *store) {
    /* Freed first: what is retired between the two sums makes the result too large, never
     * negative. */
    uint64_t freed = mrl_domain_count(store->domain, MRL_N_FREED_BYTES);
    return mrl_domain_count(store->domain, MRL_N_RETIRED_BYTES) - freed;
}

uint64_t mrl_store_waiting_bytes(mrl_store *store) {
    uint64_t bytes = mrl_store_retired_bytes(store) + mrl_domain_bytes_waiting(store->domain);
    atomic_store_explicit(&store->waiting_seen, bytes, memory_order_relaxed);
    return bytes;
}

/* ---- the oldest section, for those who are refused because of it ---- */

static void look_for_oldest(void *context, mrl_member *member) {
    mrl_oldest_section *oldest = context;
    uint64_t seq = atomic_load_explicit(&member->section_oldest_seq, memory_order_relaxed);
    if (atomic_load_explicit(&member->sections_open, memory_order_relaxed) == 0 ||
        seq >= oldest->seq)
        return;
    oldest->seq = seq;
    oldest->thread = member->thread;
    oldest->seen_at_ns = member->seen_at_ns;
}

int mrl_store_oldest_section(mrl_store *store, mrl_oldest_section *out_oldest) {
    *out_oldest = (mrl_oldest_section){.seq = UINT64_MAX};
    mrl_member_each(store->domain, look_for_oldest, out_oldest);
    if (out_oldest->seq == UINT64_MAX) return 0;
    uint64_t now_ns = store->clock->monotonic_ns(store->clock->context);
    out_oldest->age_ns = out_oldest->seen_at_ns == 0 || out_oldest->seen_at_ns > now_ns
                             ? 0
                             : now_ns - out_oldest->seen_at_ns;
    return 1;
}
