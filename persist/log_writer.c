/* persist/log_writer.c - the drain: writes what was published, in groups, and syncs.
 *
 * A group is a mark and the records behind it, gathered in one buffer and written by one call; what
 * is larger than the buffer, or nearly so, is written from where it lies. The mark says what was
 * durable by then. Nothing here asks for memory, so nothing fails for want of it.
 *
 * A sync is due when somebody has asked for a seq; when what may be lost of commits that nobody
 * waits for has come to a quarter of its bound; or when the oldest of it is old enough. One sync
 * covers everything that was written before.
 *
 * A file that has no room for the next record ends with a mark, is synced, and only then the next
 * one is begun: its first header, synced; the second goes with its first group. So what the reader
 * takes for granted holds: before a file that was begun everything is durable.
 *
 * A new file has its room on the disk, but its blocks were never written; the first writing of a
 * block takes a sync longer than the next one. So where small groups are synced zeros are written
 * ahead of them, many at a time. Where much is written between two syncs it would not pay.
 *
 * A failed write or sync is final: what is on the disk is not known any more, and no later sync
 * would tell.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <sched.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/report.h"
#include "base/self.h"
#include "persist/log_state.h"

enum {
    DIRECT_SIZE = 64 << 10, /* from here on bytes are written from where they lie */
    LOOK_AHEAD = 4,         /* entries whose memory is brought nearer */
    LOOK_AHEAD_BYTES = 256,
    ZEROS_SIZE = 64 << 10,
    ZEROS_PARTS = 16,     /* so many times as many zeros are written ahead */
    SMALL_SIZE = 64 << 10 /* less between two syncs: zeros ahead pay */
};
#define GATHER_MAX_NS 1000000u
#define LOOSE_SYNC_SIZE ((uint64_t)256 << 10)

static void bump(_Atomic uint64_t *figure, uint64_t by) {
    uint64_t value = atomic_load_explicit(figure, memory_order_relaxed);
    atomic_store_explicit(figure, value + by, memory_order_relaxed);
}

static void raise_to(_Atomic uint64_t *figure, uint64_t value) {
    if (atomic_load_explicit(figure, memory_order_relaxed) < value)
        atomic_store_explicit(figure, value, memory_order_relaxed);
}

merle_err mrl_log_write_failed(mrl_log_set *set, int system_errno, const char *what) {
    char name[MRL_LOG_NAME_SIZE];
    mrl_log_name(name, set->last->id);
    (void)mrl_log_complain_system(&set->failure, name, system_errno, what);
    set->failure.err = MERLE_READ_ONLY;
    mrl_log_fail_with(set->start.log, MERLE_READ_ONLY, &set->failure);
    return MERLE_READ_ONLY;
}

/* ---- bytes ---- */

/* Writes what is staged, and `more` behind it. */
static merle_err flush(mrl_log_set *set, const void *more, size_t more_size) {
    mrl_file_part parts[2] = {{set->staging, set->staged}, {more, more_size}};
    size_t skip = set->staged == 0, count = more_size > 0 ? 2 : 1;
    if (set->staged + more_size == 0) return MERLE_OK;
    uint64_t at = set->offset - set->staged;
    mrl_point("disk.write");
    int failed = set->files->file_write(set->file, at, parts + skip, count - skip);
    if (failed != 0) return mrl_log_write_failed(set, failed, "writing to it");
    bump(&set->bytes_written, set->staged + more_size);
    set->staged = 0;
    set->offset += more_size;
    return MERLE_OK;
}

static merle_err append(mrl_log_set *set, const void *data, size_t size) {
    if (size >= DIRECT_SIZE) return flush(set, data, size);
    if (set->staged + size > MRL_LOG_STAGING_SIZE) {
        merle_err err = flush(set, NULL, 0);
        if (err != MERLE_OK) return err;
    }
    memcpy(set->staging + set->staged, data, size);
    set->staged += size;
    set->offset += size;
    return MERLE_OK;
}

static merle_err append_mark(mrl_log_set *set, uint32_t flags, uint64_t durable_seq) {
    uint8_t header[MRL_FRAME_HEADER_SIZE];
    mrl_frame frame = {.seq = durable_seq,
                       .time_ns = set->clock->wall_ns(set->clock->context),
                       .flags = MRL_FRAME_MARK | flags};
    mrl_frame_write(header, &frame, set->last->header.seed);
    return append(set, header, sizeof header);
}

static merle_err append_frame_end(mrl_log_set *set) {
    static const uint8_t zeros[8];
    size_t over = (size_t)(set->offset % 8);
    return over == 0 ? MERLE_OK : append(set, zeros, 8 - over);
}

/* ---- records without the operations of memory-only collections ---- */

/* Inside a section. The last answer is kept: a record mostly has one collection. */
static int is_memory_only(mrl_log_set *set, uint32_t id) {
    if (set->memory_only_answer >= 0 && set->memory_only_id == id) return set->memory_only_answer;
    const merle_collection *at = NULL;
    if (set->start.store != NULL)
        at = atomic_load_explicit(&set->start.store->collections, memory_order_acquire);
    while (at != NULL && at->id != id) at = atomic_load_explicit(&at->next, memory_order_acquire);
    const mrl_root *root = at == NULL ? NULL : mrl_collection_current(at);
    set->memory_only_id = id;
    set->memory_only_answer = root != NULL && mrl_root_schema_now(root)->memory_only != 0;
    return set->memory_only_answer;
}

static int is_left_out(mrl_log_set *set, const mrl_record_operation_view *operation) {
    return operation->kind <= MRL_RECORD_REMOVE && is_memory_only(set, operation->collection_id);
}

/* What is written of a record: its beginning anew, and the operations that stay. Goes over them
 * with `each`. */
typedef merle_err piece_fn(mrl_log_set *set, void *context, const void *data, size_t size);

static merle_err each_piece(mrl_log_set *set, const mrl_entry *entry, uint32_t kept, piece_fn *fn,
                            void *context) {
    uint8_t head[2 * MERLE_ORIGIN_SIZE_MAX];
    mrl_record_reader reader;
    mrl_record_operation_view operation;
    merle_err err = mrl_record_read_begin(merle_bytes_of(entry->body, entry->body_size), &reader);
    MRL_ASSERT(err == MERLE_OK && mrl_record_begin_size(reader.app.size) <= sizeof head);
    uint8_t *end = mrl_record_begin(head, reader.origin, reader.app, kept);
    err = fn(set, context, head, (size_t)(end - head));
    const uint8_t *begin = reader.at;
    while (err == MERLE_OK && mrl_record_read_next(&reader, &operation) == MERLE_OK) {
        if (!is_left_out(set, &operation))
            err = fn(set, context, begin, (size_t)(reader.at - begin));
        begin = reader.at;
    }
    return err;
}

static uint32_t count_kept(mrl_log_set *set, const mrl_entry *entry) {
    mrl_record_reader reader;
    mrl_record_operation_view operation;
    uint32_t kept = 0;
    merle_err err = mrl_record_read_begin(merle_bytes_of(entry->body, entry->body_size), &reader);
    MRL_ASSERT(err == MERLE_OK);
    while (mrl_record_read_next(&reader, &operation) == MERLE_OK)
        kept += (uint32_t)!is_left_out(set, &operation);
    return kept;
}

static merle_err measure_piece(mrl_log_set *set, void *context, const void *data, size_t size) {
    mrl_frame *frame = context;
    (void)set;
    frame->length += (uint32_t)size;
    frame->body_crc = mrl_crc32c(frame->body_crc, data, size);
    return MERLE_OK;
}

static merle_err append_piece(mrl_log_set *set, void *context, const void *data, size_t size) {
    (void)context;
    return append(set, data, size);
}

static merle_err append_partial(mrl_log_set *set, const mrl_entry *entry, uint32_t kept) {
    uint8_t header[MRL_FRAME_HEADER_SIZE];
    mrl_frame frame = {.seq = entry->seq, .time_ns = entry->time_ns, .flags = MRL_FRAME_PARTIAL};
    (void)each_piece(set, entry, kept, measure_piece, &frame);
    mrl_frame_write(header, &frame, set->last->header.seed);
    merle_err err = append(set, header, sizeof header);
    return err == MERLE_OK ? each_piece(set, entry, kept, append_piece, NULL) : err;
}

static merle_err append_record(mrl_log_set *set, mrl_member *member, const mrl_entry *entry) {
    merle_err err;
    uint32_t kept = entry->operation_count;
    if (entry->is_memory_only) {
        mrl_epoch_token token;
        /* Roots and schemas are looked at. */
        mrl_member_enter(member, &token);
        kept = count_kept(set, entry);
        err = kept < entry->operation_count ? append_partial(set, entry, kept) : MERLE_OK;
        mrl_member_leave(member, &token);
        if (err != MERLE_OK) return err;
    }
    if (kept == entry->operation_count) {
        uint8_t header[MRL_FRAME_HEADER_SIZE];
        mrl_frame frame = {entry->body_size, entry->body_crc, entry->seq, entry->time_ns, 0};
        mrl_frame_write(header, &frame, set->last->header.seed);
        if ((err = append(set, header, sizeof header)) != MERLE_OK) return err;
        if ((err = append(set, entry->body, entry->body_size)) != MERLE_OK) return err;
    }
    return append_frame_end(set);
}

/* ---- files ---- */

merle_err mrl_log_begin_file(mrl_log_set *set) {
    uint8_t block[MRL_LOG_HEADER_SIZE];
    mrl_log_file *file = set->last;
    mrl_file_part part = {block, sizeof block};
    mrl_log_header_write(block, &file->header);
    MRL_ASSERT(set->staged == 0);
    int failed = set->files->file_write(set->file, 0, &part, 1);
    if (failed != 0) return mrl_log_write_failed(set, failed, "beginning it");
    mrl_point("disk.begin_sync");
    failed = set->files->file_sync(set->file);
    if (failed != 0) return mrl_log_write_failed(set, failed, "syncing it");
    bump(&set->syncs, 1);
    bump(&set->bytes_written, sizeof block);
    set->offset = set->synced_offset = MRL_LOG_HEADER_SIZE;
    set->is_fresh = 1;
    atomic_store_explicit(&set->used, MRL_LOG_FRAMES_AT, memory_order_relaxed);
    return MERLE_OK;
}

int mrl_log_is_empty(const mrl_log_set *set, uint64_t last_seq) {
    const mrl_log_file *last = set->last;
    return last != NULL && last->header.first_seq == last_seq + 1 &&
           last->header.file_size == set->options.file_size && last->size == set->options.file_size;
}

merle_err mrl_log_begin_again(mrl_log_set *set) {
    uint8_t block[MRL_LOG_HEADER_SIZE];
    char name[MRL_LOG_NAME_SIZE];
    mrl_log_file *file = set->last;
    mrl_file_part part = {block, sizeof block};
    uint32_t seed_before = file->header.seed;
    mrl_log_name(name, file->id);
    int failed = set->files->file_open(set->dir, name, MRL_FILE_WRITE, &set->file);
    if (failed != 0) return mrl_log_write_failed(set, failed, "opening it");
    /* What a crash has left there must not pass for frames. */
    while (file->header.seed == seed_before)
        file->header.seed = (uint32_t)mrl_random_next(&set->random);
    mrl_log_term_tell(set, &file->header);
    file->header.vouched_seq = set->accepted_seq;
    file->header.time_ns = set->clock->wall_ns(set->clock->context);
    mrl_log_header_write(block, &file->header);
    /* The second copy comes first: should the first one be torn afterwards, this one counts; and it
     * does not count as long as the first one is whole. */
    failed = set->files->file_write(set->file, MRL_LOG_HEADER_SIZE, &part, 1);
    if (failed == 0) failed = set->files->file_sync(set->file);
    if (failed != 0) return mrl_log_write_failed(set, failed, "beginning it again");
    mrl_log_room_tell(set);
    return MERLE_OK;
}

/* What is left of the current file for a record. */
static uint64_t room_left(const mrl_log_set *set) {
    uint64_t at = set->is_fresh ? MRL_LOG_FRAMES_AT : set->offset;
    uint64_t end = set->last->header.file_size - MRL_LOG_END_SIZE;
    return at < end ? end - at : 0;
}

/* The next file is begun; the current one is synced. */
static merle_err rotate(mrl_log_set *set) {
    uint64_t durable = mrl_log_durable_seq(set->start.log);
    merle_err err = append_mark(set, MRL_FRAME_NEXT, durable);
    if (err == MERLE_OK) err = flush(set, NULL, 0);
    if (err == MERLE_OK) err = mrl_log_sync(set);
    if (err != MERLE_OK) return err;
    mrl_file *before = set->file;
    /* What is on its way always has a place: see mrl_log_room_tell. */
    err = mrl_log_switch(set, mrl_log_written_seq(set->start.log));
    if (err != MERLE_OK) return err;
    set->files->file_close(before);
    return mrl_log_begin_file(set);
}

/* ---- groups ---- */

static void look_ahead(const mrl_log *log, uint64_t seq) {
    const mrl_entry *entry;
    uint64_t first;
    if (mrl_log_read(log, seq, &entry, &first) != MERLE_OK) return;
    for (size_t at = 0; at < LOOK_AHEAD_BYTES; at += 64)
        __builtin_prefetch((const uint8_t *)entry + at);
}

static const mrl_entry *entry_at(const mrl_log_set *set, uint64_t seq) {
    const mrl_entry *entry;
    uint64_t first;
    /* What is not written cannot leave, so no section is needed. */
    merle_err err = mrl_log_read(set->start.log, seq, &entry, &first);
    MRL_ASSERT(err == MERLE_OK);
    return entry;
}

static merle_err begin_group(mrl_log_set *set) {
    if (set->is_fresh) {
        uint8_t *block = set->staging;
        MRL_ASSERT(set->staged == 0 && set->offset == MRL_LOG_HEADER_SIZE);
        mrl_log_header_write(block, &set->last->header);
        set->staged = MRL_LOG_HEADER_SIZE;
        set->offset += MRL_LOG_HEADER_SIZE;
        set->is_fresh = 0;
    }
    return append_mark(set, 0, mrl_log_durable_seq(set->start.log));
}

static void note_loose(mrl_log_set *set, uint64_t bytes) {
    if (bytes == 0) return;
    set->loose_written += bytes;
    if (set->loose_since_ns != 0) return;
    set->loose_since_ns = mrl_log_now_ns(set);
    atomic_store_explicit(&set->loose_deadline_ns, set->loose_since_ns + set->start.sync_ns,
                          memory_order_relaxed);
}

/* Writes records behind `written` up to seq `to`, as many as come to about a group and find room
 * in the file. At least one does. */
static merle_err write_group(mrl_log_set *set, mrl_member *member, uint64_t to) {
    mrl_log *log = set->start.log;
    uint64_t seq = mrl_log_written_seq(log) + 1, loose = 0, began = 0, count = 0;
    for (; seq <= to; seq++, count++) {
        const mrl_entry *entry = entry_at(set, seq);
        look_ahead(log, seq + LOOK_AHEAD);
        uint64_t size = mrl_log_frame_size(entry->body_size) + MRL_FRAME_HEADER_SIZE;
        if (size > room_left(set)) break;
        merle_err err = MERLE_OK;
        if (count == 0) {
            err = begin_group(set);
            began = set->offset - MRL_FRAME_HEADER_SIZE;
        }
        if (err == MERLE_OK) err = append_record(set, member, entry);
        if (err != MERLE_OK) return err;
        loose += entry->loose < set->start.unsynced_max ? entry->loose : set->start.unsynced_max;
        if (set->offset - began >= MRL_LOG_STAGING_SIZE - DIRECT_SIZE) {
            seq++, count++;
            break;
        }
    }
    if (count == 0) return rotate(set);
    merle_err err = flush(set, NULL, 0);
    if (err != MERLE_OK) return err;
    bump(&set->groups, 1);
    bump(&set->records, count);
    raise_to(&set->group_bytes_max, set->offset - began);
    atomic_store_explicit(&set->used, set->offset, memory_order_relaxed);
    note_loose(set, loose);
    /* The room comes before the credit: see log/credit.c. */
    mrl_log_room_tell(set);
    mrl_log_written(log, seq - 1);
    return MERLE_OK;
}

merle_err mrl_log_sync(mrl_log_set *set) {
    mrl_log *log = set->start.log;
    uint64_t written = mrl_log_written_seq(log), began_ns = mrl_log_now_ns(set);
    mrl_point("disk.sync");
    int failed = set->files->file_sync(set->file);
    if (failed != 0) return mrl_log_write_failed(set, failed, "syncing it");
    uint64_t took_ns = mrl_log_now_ns(set) - began_ns, loose = set->loose_written;
    bump(&set->syncs, 1);
    bump(&set->sync_ns, took_ns);
    set->sync_last_ns = took_ns;
    raise_to(&set->sync_ns_max, took_ns);
    set->synced_offset = set->offset;
    set->loose_written = 0;
    set->loose_since_ns = 0;
    atomic_store_explicit(&set->loose_deadline_ns, 0, memory_order_relaxed);
    mrl_log_durable(log, written);
    mrl_log_firm(log, loose);
    return MERLE_OK;
}

static int is_sync_due(const mrl_log_set *set) {
    mrl_log *log = set->start.log;
    uint64_t durable = mrl_log_durable_seq(log), quarter = set->start.unsynced_max / 4;
    if (mrl_log_asked(log) > durable && mrl_log_written_seq(log) > durable) return 1;
    if (set->loose_since_ns == 0) return 0;
    if (set->loose_written >= (quarter < LOOSE_SYNC_SIZE ? quarter : LOOSE_SYNC_SIZE)) return 1;
    return mrl_log_now_ns(set) - set->loose_since_ns >= set->start.sync_ns;
}

/* Those who wait for a sync come back soon after it with their next commits, one by one. Who leads
 * the next sync at once takes the first of them along, and the rest have to wait for two. So he
 * waits until about as many have asked as did last time (those who were served, and those who came
 * too late for it), but never longer than a good part of what a sync takes. One thread alone does
 * not wait at all. */
static void gather(mrl_log_set *set) {
    mrl_log *log = set->start.log;
    uint64_t wanted = set->asks_seen + set->asks_expected;
    if (set->asks_expected < 2 || !mrl_log_may_gather(log) || mrl_log_asks(log) >= wanted) return;
    uint64_t limit_ns =
        set->sync_last_ns / 2 < GATHER_MAX_NS ? set->sync_last_ns / 2 : GATHER_MAX_NS;
    uint64_t began_ns = mrl_log_now_ns(set);
    while (mrl_log_asks(log) < wanted && mrl_log_now_ns(set) - began_ns < limit_ns)
        (void)sched_yield();
}

/* Only whole blocks: what was written stays as it is, whatever a crash leaves of the zeros. */
static merle_err write_ahead(mrl_log_set *set) {
    static const uint8_t zeros[ZEROS_SIZE];
    mrl_file_part parts[ZEROS_PARTS];
    mrl_log_file *file = set->last;
    uint64_t block = MRL_LOG_HEADER_SIZE, at = (set->offset + block - 1) / block * block;
    uint64_t end = file->header.file_size, size = 0;
    size_t count = 0;
    if (set->offset > file->written_to) file->written_to = set->offset;
    if (at + SMALL_SIZE <= file->written_to || set->offset - set->synced_offset >= SMALL_SIZE)
        return MERLE_OK;
    for (; count < ZEROS_PARTS && at + size < end; count++) {
        uint64_t left = end - at - size;
        parts[count] = (mrl_file_part){zeros, left < ZEROS_SIZE ? (size_t)left : ZEROS_SIZE};
        size += parts[count].size;
    }
    if (count == 0) return MERLE_OK;
    int failed = set->files->file_write(set->file, at, parts, count);
    if (failed != 0) return mrl_log_write_failed(set, failed, "writing zeros to it");
    file->written_to = at + size;
    return MERLE_OK;
}

/* A sync that was asked for; `asks` were there when its group was closed. */
static merle_err sync_asked(mrl_log_set *set, uint64_t asks) {
    uint64_t served = asks - set->asks_seen;
    merle_err err = write_ahead(set);
    if (err == MERLE_OK) err = mrl_log_sync(set);
    set->asks_seen = asks;
    set->asks_expected = served + (mrl_log_asks(set->start.log) - asks);
    return err;
}

/* Files are made by the thread, where there is one; without it whoever waits for room, and finds
 * nothing else to do, makes some. */
static void see_to_next(mrl_log_set *set, int is_idle) {
    mrl_log *log = set->start.log;
    if (set->has_thread) {
        if (mrl_log_prepare_is_due(set)) mrl_event_signal(mrl_log_work(log));
        return;
    }
    if ((is_idle || mrl_log_wants_room(log) || room_left(set) < set->drain.credit_max) &&
        mrl_log_prepare(set) != 0)
        mrl_log_again(log);
}

merle_err mrl_log_write(void *context, mrl_member *member) {
    mrl_log_set *set = context;
    mrl_log *log = set->start.log;
    if (mrl_log_asked(log) > mrl_log_durable_seq(log)) gather(set);
    /* What is published meanwhile is for the next one: nobody works for others for ever. */
    uint64_t asks = mrl_log_asks(log);
    uint64_t to = mrl_log_published_at(mrl_log_published(log));
    int is_idle = mrl_log_written_seq(log) == to && !is_sync_due(set);
    merle_err err = MERLE_OK;
    while (err == MERLE_OK && mrl_log_written_seq(log) < to) err = write_group(set, member, to);
    if (err == MERLE_OK && is_sync_due(set)) err = sync_asked(set, asks);
    if (err == MERLE_OK) see_to_next(set, is_idle);
    return err;
}

merle_err mrl_log_write_close(mrl_log_set *set) {
    merle_err err = MERLE_OK;
    if (set->is_fresh) err = begin_group(set);
    if (err == MERLE_OK)
        err = append_mark(set, MRL_FRAME_CLOSE, mrl_log_durable_seq(set->start.log));
    if (err == MERLE_OK) err = flush(set, NULL, 0);
    return err == MERLE_OK ? mrl_log_sync(set) : err;
}
