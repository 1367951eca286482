/* store/check.c - merle_check: walks over everything and says what is broken first.
 *
 * Each shard is looked at under its lock, one at a time; in between writers go on. What spans
 * several shards is compared only where it can be told that nothing of it moved meanwhile: the
 * count of documents if the count's version is the same before and after, the bytes in the queues
 * if nothing was retired or freed. Each shard is looked at in a section of the epoch of its own: a
 * root that is replaced meanwhile stays as it was for us (whoever replaces it holds all its locks,
 * and nobody changes it afterwards).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/report.h"

/* ---- saying it ---- */

merle_err mrl_check_broken(const mrl_check *check, const char *index, const mrl_version *version,
                           const char *expected, const char *found, ...) {
    char text[128], key[128] = "";
    va_list arguments;
    va_start(arguments, found);
    vsnprintf(text, sizeof text, found, arguments);
    va_end(arguments);
    if (version != NULL) mrl_report_escape(mrl_version_key(version), key, sizeof key);
    (void)mrl_report_fill(check->report, MERLE_CORRUPT, "%s%s%s%s%s: expected %s, found %s",
                          check->collection != NULL ? check->collection->name : "the database",
                          index != NULL ? ", index " : "", index != NULL ? index : "",
                          version != NULL ? ", key " : "", key, expected, text);
    if (check->collection != NULL) mrl_report_collection(check->report, check->collection->name);
    mrl_report_index(check->report, index);
    if (version != NULL) mrl_report_key(check->report, mrl_version_key(version));
    mrl_report_expected(check->report, expected);
    mrl_report_found(check->report, text);
    return MERLE_CORRUPT;
}

merle_err mrl_check_no_memory(const mrl_check *check) {
    return mrl_report_fill(check->report, MERLE_NO_MEMORY, "no memory for the check itself");
}

/* ---- collections ---- */

typedef merle_err piece_fn(mrl_check *check, uint32_t number);

/* Calls fn for one piece of the collection's root, in a section of its own. The root may be another
 * one from piece to piece. */
static merle_err in_section(mrl_check *check, piece_fn *fn, uint32_t number) {
    mrl_epoch_token token;
    merle_err err = MERLE_OK;
    if (check->is_cancelled != NULL &&
        atomic_load_explicit(check->is_cancelled, memory_order_relaxed))
        return mrl_report_fill(check->report, MERLE_AGAIN, "the check was cancelled");
    mrl_member_enter(check->member, &token);
    check->root = mrl_collection_current(check->collection);
    if (check->root != NULL) err = fn(check, number);
    check->root = NULL;
    mrl_member_leave(check->member, &token);
    return err;
}

static merle_err each_shard(mrl_check *check, piece_fn *fn) {
    merle_err err = MERLE_OK;
    for (uint32_t i = 0; i < MRL_SHARD_COUNT && err == MERLE_OK; i++)
        err = in_section(check, fn, i);
    return err;
}

static merle_err begin_count(mrl_check *check, uint32_t unused) {
    const mrl_root *root = check->root;
    (void)unused;
    check->documents = 0;
    memset(check->entries, 0, sizeof check->entries);
    check->expiring = 0;
    check->is_mixed = 0;
    check->root_seq = atomic_load_explicit(&root->seq, memory_order_acquire);
    check->schema = mrl_root_schema_now(root);
    check->published = mrl_log_published_at(check->store->published);
    check->retired = mrl_domain_count(check->store->domain, MRL_N_RETIRED);
    check->count = mrl_root_count_now(root);
    return MERLE_OK;
}

/* Whoever changes a count does so before he publishes and drops the locks of the shards that he
 * changed: if nothing was published since before the first shard was locked, the sum is that of one
 * instant. */
static merle_err end_count(mrl_check *check, uint32_t unused) {
    (void)unused;
    if (atomic_load_explicit(&check->root->seq, memory_order_acquire) != check->root_seq)
        return MERLE_OK;
    /* A commit that removes here and inserts there changes what the walk sees, not the count. */
    if (check->is_mixed || mrl_root_schema_now(check->root) != check->schema ||
        mrl_log_published_at(check->store->published) != check->published)
        return MERLE_OK;
    if (check->documents == check->count) return mrl_check_entry_sums(check);
    return mrl_check_broken(check, NULL, NULL, "as many documents as the collection counts",
                            "%llu documents, counted %llu", (unsigned long long)check->documents,
                            (unsigned long long)check->count);
}

static merle_err check_root(mrl_check *check, uint32_t unused) {
    const mrl_root *root = check->root;
    (void)unused;
    if (root->collection != check->collection)
        return mrl_check_broken(check, NULL, NULL, "a root of this collection", "another's root");
    uint64_t seq = atomic_load_explicit(&root->seq, memory_order_acquire);
    uint64_t published = mrl_log_published_at(check->store->published);
    /* One more: its commit is just publishing it. */
    if (seq != MRL_SEQ_NONE && seq > published + 1)
        return mrl_check_broken(check, NULL, NULL, "a root that was published",
                                "its seq is %llu, the last commit %llu", (unsigned long long)seq,
                                (unsigned long long)published);
    return MERLE_OK;
}

static merle_err check_keys(mrl_check *check, uint32_t number) {
    uint64_t seq = atomic_load_explicit(&check->root->seq, memory_order_acquire);
    if (seq != check->root_seq || seq == MRL_SEQ_NONE) check->is_mixed = 1;
    if (mrl_root_schema_now(check->root) != check->schema) check->is_mixed = 1;
    return mrl_check_shard(check, number);
}

/* The slots, a piece at a time. */
static merle_err check_all_slots(mrl_check *check) {
    merle_err err = MERLE_OK;
    check->has_more_slots = 1;
    for (uint32_t i = 0; err == MERLE_OK && check->has_more_slots; i++) {
        check->has_more_slots = 0;
        err = in_section(check, mrl_check_slots, i);
    }
    return err;
}

static merle_err check_hints(mrl_check *check, uint32_t number) {
    const mrl_schema *schema = mrl_root_schema_now(check->root);
    merle_err err = MERLE_OK;
    for (uint32_t i = 0; i < schema->index_count && err == MERLE_OK; i++)
        if (mrl_index_is_unique(&schema->indexes[i]))
            err = mrl_check_hints(check, &schema->indexes[i], number);
    return err;
}

static merle_err check_collection(mrl_check *check) {
    merle_err err = in_section(check, check_root, 0);
    if (err == MERLE_OK) err = in_section(check, begin_count, 0);
    if (err == MERLE_OK) err = each_shard(check, check_keys);
    /* What is lost names itself before the sum does. */
    if (err == MERLE_OK) err = check_all_slots(check);
    if (err == MERLE_OK) err = in_section(check, end_count, 0);
    return err != MERLE_OK ? err : each_shard(check, check_hints);
}

static merle_err check_collections(mrl_check *check) {
    uint32_t last_id = 0;
    merle_err err = MERLE_OK;
    merle_collection *collection =
        atomic_load_explicit(&check->store->collections, memory_order_acquire);
    for (; collection != NULL && err == MERLE_OK;
         collection = atomic_load_explicit(&collection->next, memory_order_acquire)) {
        check->collection = collection;
        if (collection->id <= last_id)
            return mrl_check_broken(check, NULL, NULL, "collections in the order of their ids",
                                    "%u behind %u", collection->id, last_id);
        last_id = collection->id;
        err = check_collection(check);
    }
    check->collection = NULL;
    return err;
}

/* ---- bytes in the queues ---- */

typedef struct retired_note {
    uint64_t retired, freed; /* bytes so far; they only grow */
    int has_dying;           /* replaced roots wait to be torn down: nobody looks at their queues */
} retired_note;

static retired_note note_retired(mrl_store *store) {
    retired_note note;
    /* Who replaces a root holds the catalog's lock until it is among the dying ones. */
    mrl_lock_take(&store->catalog_lock);
    mrl_lock_take(&store->dying_lock);
    note.has_dying = store->dying != NULL;
    mrl_lock_drop(&store->dying_lock);
    mrl_lock_drop(&store->catalog_lock);
    note.retired = mrl_domain_count(store->domain, MRL_N_RETIRED_BYTES);
    note.freed = mrl_domain_count(store->domain, MRL_N_FREED_BYTES);
    return note;
}

/* Bytes are counted under the lock of their shard: if no sum has moved, nothing was retired or
 * freed. */
static merle_err compare_retired(const mrl_check *check, const retired_note *before) {
    retired_note now = note_retired(check->store);
    if (now.has_dying || before->has_dying || now.retired != before->retired ||
        now.freed != before->freed || now.retired - now.freed == check->queued_bytes)
        return MERLE_OK;
    return mrl_check_broken(check, NULL, NULL,
                            "as many bytes in the queues as are counted as retired",
                            "%llu bytes, counted %llu", (unsigned long long)check->queued_bytes,
                            (unsigned long long)(now.retired - now.freed));
}

/* ---- the log ---- */

static merle_err check_record(const mrl_check *check, const mrl_entry *entry) {
    mrl_record_reader reader;
    mrl_record_operation_view operation;
    uint32_t count = 0;
    merle_err err = mrl_record_read_begin(merle_bytes_of(entry->body, entry->body_size), &reader);
    while (err == MERLE_OK && (err = mrl_record_read_next(&reader, &operation)) == MERLE_OK)
        count++;
    if (err == MERLE_NOT_FOUND && count == entry->operation_count) return MERLE_OK;
    return mrl_check_broken(check, NULL, NULL, "a log record that can be read",
                            "record %llu breaks off after %u of %u operations",
                            (unsigned long long)entry->seq, count, entry->operation_count);
}

static merle_err check_entry(const mrl_check *check, const mrl_entry *entry, uint64_t seq) {
    mrl_frame frame;
    unsigned long long number = seq;
    if (mrl_frame_read(entry->header, 0, &frame) != MERLE_OK)
        return mrl_check_broken(check, NULL, NULL, "a log frame whose header's checksum is right",
                                "another checksum in record %llu", number);
    if (frame.seq != seq)
        return mrl_check_broken(check, NULL, NULL, "log frames in order",
                                "the frame of seq %llu at the place of %llu",
                                (unsigned long long)frame.seq, number);
    if (frame.length != entry->body_size || entry->body_size > entry->body_capacity ||
        frame.time_ns != entry->time_ns)
        return mrl_check_broken(check, NULL, NULL, "a log entry that says what its frame says",
                                "another length or time in record %llu", number);
    if (mrl_crc32c(0, entry->body, entry->body_size) != frame.body_crc)
        return mrl_check_broken(check, NULL, NULL, "a log record whose checksum is right",
                                "another checksum in record %llu", number);
    return check_record(check, entry);
}

/* From the oldest entry to the one that is the last when the check of the log begins. Those that
 * leave meanwhile are passed over. */
static merle_err check_log(mrl_check *check) {
    mrl_log_stats stats;
    int64_t last_time_ns = INT64_MIN;
    merle_err err = MERLE_OK;
    mrl_log_stat(check->store->log, &stats);
    for (uint64_t seq = stats.first_seq; seq <= stats.published && err == MERLE_OK; seq++) {
        const mrl_entry *entry;
        uint64_t first;
        mrl_epoch_token token;
        mrl_member_enter(check->member, &token);
        err = mrl_log_read(check->store->log, seq, &entry, &first);
        if (err == MERLE_OK) {
            err = check_entry(check, entry, seq);
            if (err == MERLE_OK && entry->time_ns < last_time_ns)
                err = mrl_check_broken(
                    check, NULL, NULL, "times in the log that do not run backwards",
                    "record %llu is earlier than the one before it", (unsigned long long)seq);
            last_time_ns = entry->time_ns;
        } else if (err == MERLE_GAP && first > seq) {
            seq = first - 1;
            err = MERLE_OK;
        } else {
            err = mrl_check_broken(check, NULL, NULL, "every commit from the oldest in the log on",
                                   "no entry for %llu, though the oldest is %llu",
                                   (unsigned long long)seq, (unsigned long long)first);
        }
        mrl_member_leave(check->member, &token);
    }
    return err;
}

/* ---- the whole ---- */

merle_err mrl_check_all(merle_db *db, const _Atomic int *is_cancelled, merle_report *report) {
    mrl_report_clear(report);
    if (db == NULL) return mrl_report_fill(report, MERLE_INVALID, NULL);
    mrl_store *store = mrl_db_store(db);
    if (mrl_domain_is_forked(store->domain)) return mrl_report_fill(report, MERLE_FORKED, NULL);
    mrl_member *member = mrl_member_join(store->domain);
    if (member == NULL) return mrl_report_fill(report, MERLE_NO_MEMORY, NULL);
    mrl_check check = {
        .store = store, .member = member, .report = report, .is_cancelled = is_cancelled};
    retired_note before = note_retired(store);
    merle_err err = check_collections(&check);
    if (err == MERLE_OK) err = compare_retired(&check, &before);
    if (err == MERLE_OK) err = check_log(&check);
    return err;
}

merle_err merle_check(merle_db *db, merle_report *report) {
    return mrl_check_all(db, NULL, report);
}
