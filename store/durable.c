/* store/durable.c - what commits ask of the disk, and what they are told.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/report.h"
#include "store/commit.h"

/* ---- refusals ---- */

static merle_err tell_failure(mrl_store *store, mrl_member *member, merle_err err,
                              const char *what) {
    merle_report reason;
    mrl_log_failure_reason(store->log, &reason);
    if (member->report == NULL || reason.message[0] == 0)
        return mrl_store_fail(member, err, NULL, merle_bytes_of(NULL, 0), "%s", what);
    *member->report = reason;
    member->report->err = err;
    mrl_report_prefix(member->report, "%s: ", what);
    return err;
}

merle_err mrl_credit_refused(mrl_store *store, mrl_member *member, merle_err err) {
    merle_bytes nothing = merle_bytes_of(NULL, 0);
    if (err == MERLE_READ_ONLY) return tell_failure(store, member, err, "nothing can be written");
    if (err == MERLE_NO_SPACE && mrl_log_failure(store->log) == MERLE_OK) {
        char text[96] = "";
        int why = mrl_log_room_errno(store->log);
        (void)mrl_store_fail(member, err, NULL, nothing,
                             "there is no room for the next log file: %s",
                             strerror_r(why, text, sizeof text));
        mrl_report_errno(member->report, why);
        return err;
    }
    if (err == MERLE_BUSY)
        return mrl_store_fail(member, err, NULL, nothing,
                              "the disk is behind: the log's ring, or unsynced_max, has no room");
    if (err == MERLE_TOO_BIG)
        return mrl_store_fail(member, err, NULL, nothing,
                              "the commit's record does not fit in a log file (log_file_size)");
    return err;
}

/* ---- waiting ---- */

static merle_err wait_durable(mrl_store *store, mrl_member *member, uint64_t seq) {
    if (mrl_log_wait_durable(store->log, member, seq) == MERLE_OK) return MERLE_OK;
    return tell_failure(store, member, MERLE_NOT_DURABLE,
                        "it was applied, but could not be made durable");
}

merle_err mrl_durable_settle(mrl_store *store, mrl_member *member, uint64_t seq,
                             merle_durability durability) {
    if (durability == MERLE_SYNC) return wait_durable(store, member, seq);
    if (durability == MERLE_SYNC_LATER) mrl_log_ask_durable(store->log, seq);
    return MERLE_OK;
}

/* ---- public ---- */

merle_err merle_commit_durability(merle_commit *commit, merle_durability durability) {
    merle_err err;
    if ((commit = mrl_commit_own(commit, &err)) == NULL) return err;
    if ((unsigned)durability > MERLE_SYNC_LATER) return MERLE_INVALID;
    commit->durability =
        durability == MERLE_DURABILITY_DEFAULT ? commit->store->durability : durability;
    return MERLE_OK;
}

merle_err merle_wait_durable(merle_db *db, uint64_t seq) {
    if (db == NULL) return MERLE_INVALID;
    mrl_store *store = mrl_db_store(db);
    if (mrl_domain_is_forked(store->domain)) return MERLE_FORKED;
    mrl_member *member = mrl_member_join(store->domain);
    if (member == NULL) return MERLE_NO_MEMORY;
    uint64_t published = mrl_log_published_at(store->published);
    if (seq == UINT64_MAX) seq = published;
    if (seq > published)
        return mrl_store_fail(member, MERLE_INVALID, NULL, merle_bytes_of(NULL, 0),
                              "seq %llu is beyond the last commit, %llu", (unsigned long long)seq,
                              (unsigned long long)published);
    return wait_durable(store, member, seq);
}

uint64_t merle_durable_seq(const merle_db *db) {
    const mrl_store *store = (const mrl_store *)(const void *)db;
    return db == NULL ? 0 : mrl_log_durable_seq(store->log);
}
