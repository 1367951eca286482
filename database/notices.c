/* database/notices.c - noticing what an operator should know.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "database/notices.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "database/database.h"

__attribute__((format(printf, 3, 4))) static void tell(mrl_notices *notices, merle_log_level level,
                                                       const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    notices->fn(notices->context, level, text);
}

static void look_at_abandoned(merle_db *db) {
    mrl_notices *notices = &db->notices;
    uint64_t told = atomic_load_explicit(&notices->abandoned, memory_order_relaxed);
    uint64_t now = mrl_domain_count(db->domain, MRL_N_ABANDONED);
    /* Whoever moves the number on tells: once, also where several threads step. */
    if (now > told &&
        atomic_compare_exchange_strong_explicit(&notices->abandoned, &told, now,
                                                memory_order_relaxed, memory_order_relaxed))
        tell(notices, MERLE_LOG_WARNING,
             "%llu sections were left open by threads that ended inside them; they were ended",
             (unsigned long long)(now - told));
}

/* 1 the first time `now` reaches `max`; again only after it was below nine tenths of it. */
static int has_become_full(_Atomic int *is_full, uint64_t now, uint64_t max) {
    if (now >= max) return atomic_exchange_explicit(is_full, 1, memory_order_relaxed) == 0;
    if (now < max / 10 * 9) atomic_store_explicit(is_full, 0, memory_order_relaxed);
    return 0;
}

static void look_at_limits(merle_db *db) {
    mrl_notices *notices = &db->notices;
    mrl_store *store = &db->store;
    uint64_t retired = mrl_store_waiting_bytes(store);
    if (has_become_full(&notices->is_retired_full, retired, store->retired_max))
        tell(notices, MERLE_LOG_WARNING,
             "old versions kept for open sections have reached retired_max (%llu bytes): "
             "writes are refused; merle_sections lists the sections",
             (unsigned long long)store->retired_max);
    if (db->memory_max == 0) return;
    uint64_t bytes = mrl_domain_bytes_total(db->domain);
    if (has_become_full(&notices->is_memory_full, bytes, db->memory_max))
        tell(notices, MERLE_LOG_WARNING,
             "memory has reached memory_max (%llu bytes): writes are refused, removals go on",
             (unsigned long long)db->memory_max);
}

/* Of the log: what its writers are told, too. (Checkpoints tell by themselves.) */
static void look_at_disk(merle_db *db) {
    mrl_notices *notices = &db->notices;
    merle_report reason;
    char text[96] = "";
    /* What is open for reading has a log that takes nothing. */
    if (db->persist == NULL || db->options.access == MERLE_ACCESS_READ) return;
    if (mrl_log_failure(db->log) != MERLE_OK) {
        if (atomic_exchange_explicit(&notices->has_log_failed, 1, memory_order_relaxed) != 0)
            return;
        mrl_log_failure_reason(db->log, &reason);
        tell(notices, MERLE_LOG_ERROR, "the log has failed, nothing can be written any more: %s",
             reason.message);
        return;
    }
    int why = mrl_log_room_errno(db->log), is_lacking = why != 0;
    int was = atomic_load_explicit(&notices->has_no_next_file, memory_order_relaxed);
    if (is_lacking == was ||
        !atomic_compare_exchange_strong_explicit(&notices->has_no_next_file, &was, is_lacking,
                                                 memory_order_relaxed, memory_order_relaxed))
        return;
    if (is_lacking)
        tell(notices, MERLE_LOG_WARNING,
             "the next log file cannot be made ready (%s): writes are refused as soon as this one "
             "is full, until it can",
             strerror_r(why, text, sizeof text));
    else
        tell(notices, MERLE_LOG_INFO, "the next log file is ready again");
}

void mrl_notices_look(merle_db *db) {
    if (db->notices.fn == NULL) return;
    look_at_abandoned(db);
    look_at_limits(db);
    look_at_disk(db);
}
