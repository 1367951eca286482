/* log/log.c - the ring: publishing, letting the oldest leave, reading.
 *
 * The ring is an array of pointers; seq & mask is an entry's position. Who looks for an entry may
 * meet one that is just leaving. That is safe, because leaving goes in this order:
 *   1. under the publish lock first_seq goes beyond the entry, then its position is set to NULL (or
 *      to the entry that comes after it there);
 *   2. after the lock was dropped the entry is retired, and freed only when every section that was
 *      open then is over.
 * A reader is in a section before it loads the position. If it gets the pointer, the entry was
 * still linked after the section began, so the section keeps it alive until its end, whatever
 * happens to the ring meanwhile. If it gets another one, the entry has left, and first_seq, raised
 * before, says so.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "log/log.h"

#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/self.h"
#include "log/log_private.h"

enum { LEAVE_AHEAD = 4 }; /* entries; about as long as memory takes to answer */

/* ---- setup ---- */

static uint64_t position_count_for(uint64_t ring_size) {
    uint64_t count = MRL_POSITION_COUNT_MIN;
    while (count < ring_size / MRL_ENTRY_CREDIT_MIN) count *= 2;
    return count;
}

merle_err mrl_log_create(mrl_domain *domain, const mrl_clock *clock, uint64_t ring_size,
                         mrl_log **out_log) {
    mrl_log *log = NULL;
    mrl_position *positions = NULL;
    uint64_t count = position_count_for(ring_size);
    *out_log = NULL;
    mrl_member *member = mrl_member_join(domain);
    if (member == NULL) goto fail;
    log = (mrl_log *)mrl_alloc(member, MRL_FOR_LOG, sizeof *log);
    if (log == NULL) goto fail;
    positions = (mrl_position *)mrl_alloc(member, MRL_FOR_LOG, count * sizeof *positions);
    if (positions == NULL) goto fail;
    for (uint64_t i = 0; i < count; i++) {
        atomic_init(&positions[i].entry, NULL);
        positions[i].bytes = 0;
    }

    memset(log, 0, sizeof *log);
    log->domain = domain;
    log->clock = clock != NULL ? clock : &mrl_clock_system;
    log->positions = positions;
    log->position_mask = count - 1;
    log->ring_size = ring_size;
    log->last_time_ns = INT64_MIN;
    mrl_lock_init(&log->publish_lock);
    atomic_init(&log->first_seq, 1);
    mrl_lock_init(&log->drain_lock);
    mrl_lock_init(&log->follow_lock);
    mrl_event_init(&log->work);
    mrl_event_init(&log->has_room);
    mrl_event_init(&log->moved);
    mrl_credit_reset(log);
    *out_log = log;
    return MERLE_OK;
fail:
    if (log != NULL) mrl_free(member, MRL_FOR_LOG, log, sizeof *log);
    return MERLE_NO_MEMORY;
}

void mrl_log_start(mrl_log *log, uint64_t seq, int64_t time_ns) {
    MRL_ASSERT(mrl_log_published_at(&log->published) == 0);
    log->last_time_ns = time_ns;
    atomic_store_explicit(&log->first_seq, seq + 1, memory_order_relaxed);
    /* Release: as in publishing; what was loaded is seen with it. */
    atomic_store_explicit(&log->published, seq, memory_order_release);
    mrl_credit_reset(log);
}

void mrl_log_destroy(mrl_log *log, mrl_member *member) {
    if (log == NULL) return;
    uint64_t count = log->position_mask + 1;
    for (uint64_t i = 0; i < count; i++) {
        mrl_entry *entry = atomic_load_explicit(&log->positions[i].entry, memory_order_relaxed);
        if (entry != NULL) mrl_entry_destroy(member, entry);
    }
    mrl_free(member, MRL_FOR_LOG, log->positions, count * sizeof *log->positions);
    mrl_free(member, MRL_FOR_LOG, log, sizeof *log);
}

/* ---- publishing ---- */

/* Entries that left the ring under the lock and are to be retired after it. */
typedef struct leavers {
    mrl_entry *entries[MRL_LEAVE_COUNT_MAX];
    size_t count;
} leavers;

/* The seq up to which entries may leave. */
static uint64_t leave_limit(const mrl_log *log, uint64_t published) {
    if (log->drain == NULL) return published;
    /* Acquire: pairs with the release in mrl_log_written. The drain's reading of these entries is
     * over. */
    return atomic_load_explicit(&log->written, memory_order_acquire);
}

static void leave_one(mrl_log *log, uint64_t first, leavers *out_leavers) {
    mrl_position *position = &log->positions[first & log->position_mask];
    mrl_entry *entry = atomic_load_explicit(&position->entry, memory_order_relaxed);
    uint64_t bytes = atomic_load_explicit(&log->ring_bytes, memory_order_relaxed);
    atomic_store_explicit(&log->ring_bytes, bytes - position->bytes, memory_order_relaxed);
    atomic_store_explicit(&log->first_seq, first + 1, memory_order_relaxed);
    /* Release: pairs with the acquire in mrl_log_read. Who finds the position empty sees first_seq
     * raised; without it he would be told that an entry is missing, but not from where on there are
     * some. */
    atomic_store_explicit(&position->entry, NULL, memory_order_release);
    out_leavers->entries[out_leavers->count++] = entry;
    /* Its memory is far away by now, and so is that of those which soon follow it. */
    uint64_t soon = (first + LEAVE_AHEAD) & log->position_mask;
    __builtin_prefetch(atomic_load_explicit(&log->positions[soon].entry, memory_order_relaxed));
}

/* Under the publish lock: lets the oldest leave while the ring holds too many bytes, but never the
 * entry `keep`, nor what is not written yet, nor more than fit the list. */
static void leave_some(mrl_log *log, uint64_t keep, leavers *out_leavers) {
    uint64_t limit = leave_limit(log, keep);
    while (out_leavers->count < MRL_LEAVE_COUNT_MAX) {
        uint64_t first = atomic_load_explicit(&log->first_seq, memory_order_relaxed);
        if (atomic_load_explicit(&log->ring_bytes, memory_order_relaxed) <= log->ring_size) break;
        if (first >= keep || first > limit) break;
        leave_one(log, first, out_leavers);
    }
}

static void leavers_retire(mrl_member *member, const leavers *list) {
    for (size_t i = 0; i < list->count; i++) {
        mrl_images *images = list->entries[i]->images;
        if (images != NULL) mrl_block_retire(member, images);
        mrl_block_retire(member, list->entries[i]);
    }
}

/* A large entry may push out very many small ones. Its publisher goes on with that here, a few at a
 * time, so that nobody waits long for the publish lock. */
static void leave_rest(mrl_log *log, mrl_member *member) {
    leavers list;
    do {
        list.count = 0;
        mrl_lock_take(&log->publish_lock);
        leave_some(log, atomic_load_explicit(&log->published, memory_order_relaxed), &list);
        mrl_lock_drop(&log->publish_lock);
        leavers_retire(member, &list);
    } while (list.count == MRL_LEAVE_COUNT_MAX);
}

uint64_t mrl_publish_begin(mrl_log *log) {
    mrl_point("log.publish_begin");
    /* Read before the lock is taken: asking the clock takes longer than all that is done under the
     * lock. It may be stale by then; the last time stands in for a time before it. */
    int64_t now_ns = log->clock->wall_ns(log->clock->context);
    mrl_lock_take(&log->publish_lock);
    if (now_ns > log->last_time_ns) log->last_time_ns = now_ns;
    return atomic_load_explicit(&log->published, memory_order_relaxed) + 1;
}

static void entry_stamp(mrl_entry *entry, uint64_t seq, int64_t time_ns) {
    mrl_frame frame = {entry->body_size, entry->body_crc, seq, time_ns, 0};
    entry->seq = seq;
    entry->time_ns = time_ns;
    if (entry->credit < MRL_ENTRY_CREDIT_MIN) entry->credit = MRL_ENTRY_CREDIT_MIN;
    mrl_frame_write(entry->header, &frame, 0);
}

/* Under the publish lock: puts a stamped entry at its position. */
static void entry_link(mrl_log *log, mrl_entry *entry, leavers *out_leavers) {
    mrl_position *position = &log->positions[entry->seq & log->position_mask];
    uint64_t first = atomic_load_explicit(&log->first_seq, memory_order_relaxed);
    if (entry->seq - first > log->position_mask) {
        /* The one that stands there is the oldest. Each entry's credit is worth a position, so with
         * a drain it was written. */
        MRL_DEBUG_ASSERT(first <= leave_limit(log, entry->seq - 1));
        leave_one(log, first, out_leavers);
    }
    uint64_t bytes = atomic_load_explicit(&log->ring_bytes, memory_order_relaxed);
    atomic_store_explicit(&log->ring_bytes, bytes + entry->credit, memory_order_relaxed);
    position->bytes = entry->credit;
    /* Release: pairs with the acquire in mrl_log_read; who finds the entry sees all of it. */
    atomic_store_explicit(&position->entry, entry, memory_order_release);
}

void mrl_publish_end_untold(mrl_log *log, mrl_member *member, mrl_entry *entry, uint64_t taken) {
    leavers list;
    list.count = 0;
    MRL_DEBUG_ASSERT(mrl_lock_is_held(&log->publish_lock));
    MRL_DEBUG_ASSERT(entry->body_size <= entry->body_capacity);
    uint64_t seq = atomic_load_explicit(&log->published, memory_order_relaxed) + 1;
    entry_stamp(entry, seq, log->last_time_ns);
    /* After the lock was dropped the entry may leave at any time, and be freed where no section is
     * open. */
    uint64_t counted = entry->credit;
    int is_led = entry->is_led;
    entry_link(log, entry, &list);
    leave_some(log, seq, &list);
    mrl_point("log.publish_stamped");
    /* Release: pairs with the acquire in mrl_log_published_at. Who sees seq sees what the commit
     * wrote. */
    atomic_store_explicit(&log->published, seq, memory_order_release);
    mrl_point("log.publish_before_drop");
    mrl_lock_drop(&log->publish_lock);

    leavers_retire(member, &list);
    if (list.count == MRL_LEAVE_COUNT_MAX) leave_rest(log, member);
    /* What was published comes before what we look at: who waits for us, and who is armed. Pairs
     * with the fences in mrl_follower_arm and mrl_log_rest, and with the counting in credit_wait.
     * Without it somebody could go to sleep without having seen our commit, and we could take him
     * for awake. */
    atomic_thread_fence(memory_order_seq_cst);
    if (log->drain != NULL) mrl_credit_settle(log, taken, counted, is_led);
}

void mrl_publish_tell(mrl_log *log) {
    /* There was a full fence since the commit was published. */
    mrl_follow_look(log, MRL_FOLLOW_PUBLISHED);
}

void mrl_publish_end(mrl_log *log, mrl_member *member, mrl_entry *entry, uint64_t taken) {
    mrl_publish_end_untold(log, member, entry, taken);
    mrl_publish_tell(log);
}

/* ---- reading ---- */

const _Atomic uint64_t *mrl_log_published(const mrl_log *log) {
    return &log->published;
}

merle_err mrl_log_read(const mrl_log *log, uint64_t seq, const mrl_entry **out_entry,
                       uint64_t *out_first) {
    *out_entry = NULL;
    *out_first = 0;
    if (seq > mrl_log_published_at(&log->published)) return MERLE_NOT_FOUND;
    const mrl_position *position = &log->positions[seq & log->position_mask];
    if (seq >= atomic_load_explicit(&log->first_seq, memory_order_relaxed)) {
        mrl_point("log.read_first");
        /* Acquire: pairs with the release in entry_link (the entry is complete) and in leave_one
         * (where it is not there any more, first_seq below says so). */
        const mrl_entry *entry = atomic_load_explicit(&position->entry, memory_order_acquire);
        if (entry != NULL && entry->seq == seq) {
            *out_entry = entry;
            return MERLE_OK;
        }
    }
    *out_first = atomic_load_explicit(&log->first_seq, memory_order_relaxed);
    MRL_DEBUG_ASSERT(*out_first > seq);
    return MERLE_GAP;
}

void mrl_log_approach(const mrl_log *log, uint64_t seq) {
    enum { LINE_COUNT = 5 }; /* an entry with a small document */
    const mrl_position *position = &log->positions[seq & log->position_mask];
    /* It may be another one by then, or gone: its bytes are not looked at. */
    const char *entry = (const char *)atomic_load_explicit(&position->entry, memory_order_relaxed);
    for (int i = 0; i < LINE_COUNT; i++) __builtin_prefetch(entry + i * MRL_LINE_SIZE);
}

void mrl_log_older_attach(mrl_log *log, const mrl_older *older) {
    log->older = older;
}

const mrl_older *mrl_log_older(const mrl_log *log) {
    return log->older;
}

/* ---- images and figures ---- */

/* A follower raises these before it notes where it begins; a commit that did not see it yet may
 * come behind that place without images, and the follower must bear it. So no stronger order would
 * help. */
void mrl_log_want_images(mrl_log *log, int after_delta, int before_delta) {
    atomic_fetch_add_explicit(&log->wants_after, after_delta, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->wants_before, before_delta, memory_order_relaxed);
}

int mrl_log_wants_after(const mrl_log *log) {
    return atomic_load_explicit(&log->wants_after, memory_order_relaxed) > 0;
}

int mrl_log_wants_before(const mrl_log *log) {
    return atomic_load_explicit(&log->wants_before, memory_order_relaxed) > 0;
}

void mrl_log_stat(const mrl_log *log, mrl_log_stats *out_stats) {
    out_stats->ring_bytes = atomic_load_explicit(&log->ring_bytes, memory_order_relaxed);
    out_stats->ring_size = log->ring_size;
    out_stats->first_seq = atomic_load_explicit(&log->first_seq, memory_order_relaxed);
    out_stats->published = mrl_log_published_at(&log->published);
    out_stats->written = mrl_log_written_seq(log);
    out_stats->durable = mrl_log_durable_seq(log);
    out_stats->loose = log->drain == NULL ? 0
                                          : log->loose_max - atomic_load_explicit(
                                                                 &log->loose, memory_order_relaxed);
    out_stats->credit_waits = atomic_load_explicit(&log->credit_waits, memory_order_relaxed);
}
