/* persist/log_prepare.c - makes the next file ready ahead of time, and lets go of old ones.
 *
 * A file is ready when both its headers say "prepared", the disk has room for all of it, all of it
 * is synced, and its name is. New ones only get their room: the writer writes zeros ahead of itself
 * where that makes syncs faster. Old ones, of which no record is needed, only get new headers: with
 * another seed nothing in them passes for a frame. Until its name is changed such a file has an id
 * below the oldest that anybody needs: what its headers say does not matter.
 *
 * The next file is made when half of the current one is used, or when somebody has a record that
 * finds no place before: a small database has one file and not two.
 *
 * Room: where a next file is ready, any record that fits in a file has a place; else what is left
 * of the current one, if that is enough for everything that may be on its way.
 *
 * Where the log has a thread it does this, ahead of those who write: it is woken when it is due,
 * and nobody who waits for the disk makes files. Else steps do it, and whoever finds no room.
 *
 * Making ready may fail, for want of space above all, and is tried again: nothing that was said to
 * be on the disk is in such a file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/report.h"
#include "persist/log_state.h"

#define AGAIN_NS 100000000u /* after a failure */
#define PIECE_SIZE ((uint64_t)8 << 20)
enum { SPARES_MAX = 1 };
static const char tmp_name[] = "log-next.tmp";

/* ---- room ---- */

static void room_tell_locked(mrl_log_set *set) {
    if (set->file == NULL) return; /* nothing is begun yet */
    uint64_t end = set->last->header.file_size - MRL_LOG_END_SIZE;
    uint64_t used = atomic_load_explicit(&set->used, memory_order_relaxed);
    uint64_t left = used < end ? end - used : 0;
    if (set->next_file != NULL)
        mrl_log_room(set->start.log, set->capacity, 0);
    else
        mrl_log_room(set->start.log, left >= set->drain.credit_max ? left : 0, set->room_errno);
}

void mrl_log_room_tell(mrl_log_set *set) {
    mrl_lock_take(&set->lock);
    room_tell_locked(set);
    mrl_lock_drop(&set->lock);
}

uint64_t mrl_log_next_id(const mrl_log_set *set) {
    if (set->last != NULL) return set->last->id + 1;
    return set->options.oldest_id != 0 ? set->options.oldest_id : 1;
}

merle_err mrl_log_switch(mrl_log_set *set, uint64_t vouched_seq) {
    mrl_lock_take(&set->lock);
    mrl_log_file *file = set->next;
    mrl_file *handle = set->next_file;
    if (file == NULL) {
        mrl_lock_drop(&set->lock);
        return mrl_log_write_failed(set, ENOSPC, "going on in a next file");
    }
    set->next = NULL;
    set->next_file = NULL;
    file->header.state = MRL_LOG_BEGUN;
    mrl_log_term_tell(set, &file->header);
    file->header.first_seq = vouched_seq + 1;
    file->header.vouched_seq = vouched_seq;
    file->header.time_ns = set->clock->wall_ns(set->clock->context);
    if (set->last != NULL)
        set->last->next = file;
    else
        set->first = file;
    set->last = file;
    set->file = handle;
    atomic_store_explicit(&set->used, MRL_LOG_FRAMES_AT, memory_order_relaxed);
    room_tell_locked(set);
    mrl_lock_drop(&set->lock);
    return MERLE_OK;
}

/* ---- one file; under prepare_lock ---- */

static mrl_log_header prepared_header(mrl_log_set *set) {
    mrl_log_header header = {
        .state = MRL_LOG_PREPARED,
        .database_id = {set->options.database_id[0], set->options.database_id[1]},
        .file_size = set->options.file_size,
        .time_ns = set->clock->wall_ns(set->clock->context)};
    mrl_lock_take(&set->lock);
    header.id = mrl_log_next_id(set);
    header.seed = (uint32_t)mrl_random_next(&set->random);
    mrl_lock_drop(&set->lock);
    return header;
}

static int write_headers(mrl_log_set *set, mrl_file *file, const mrl_log_header *header) {
    uint8_t block[MRL_LOG_HEADER_SIZE];
    mrl_file_part parts[2] = {{block, sizeof block}, {block, sizeof block}};
    mrl_log_header_write(block, header);
    int failed = set->files->file_write(file, 0, parts, 2);
    return failed != 0 ? failed : set->files->file_sync(file);
}

/* The file is whole: it gets its headers and, if it has another one, its name. */
static int finish(mrl_log_set *set, const char *name_now) {
    char name[MRL_LOG_NAME_SIZE];
    mrl_log_file *next = set->prepare_next;
    next->header = prepared_header(set);
    next->id = next->header.id;
    int failed = write_headers(set, set->prepare_file, &next->header);
    mrl_log_name(name, next->id);
    if (failed == 0 && strcmp(name, name_now) != 0)
        failed = set->files->rename(set->dir, name_now, name);
    if (failed == 0) failed = set->files->dir_sync(set->dir);
    if (failed != 0) {
        /* Its own name stays, whatever stands there: the end of the file before may say that it
         * follows. The next try takes its place. */
        if (strcmp(name, name_now) != 0) (void)set->files->remove(set->dir, name_now);
        return failed;
    }
    mrl_lock_take(&set->lock);
    set->next = next;
    set->next_file = set->prepare_file;
    set->room_errno = 0;
    set->prepare_next = NULL;
    set->prepare_file = NULL;
    room_tell_locked(set);
    mrl_lock_drop(&set->lock);
    return 0;
}

static mrl_log_spare *take_spare(mrl_log_set *set) {
    mrl_lock_take(&set->lock);
    mrl_log_spare *spare = set->holds == 0 ? set->spares : NULL;
    if (spare != NULL) set->spares = spare->next;
    mrl_lock_drop(&set->lock);
    return spare;
}

/* From a file that is there; *out_failed: an errno value. 0: there is none that will do. */
static int from_spare(mrl_log_set *set, int *out_failed) {
    char name[MRL_LOG_NAME_SIZE];
    uint64_t id = set->prepared_id, size = set->options.file_size;
    mrl_log_spare *spare = id == 0 ? take_spare(set) : NULL;
    int spare_is_old = id == 0;
    *out_failed = 0;
    /* Of one that was found prepared it is not known how much of it was ever written. */
    set->prepare_next->written_to = spare != NULL ? spare->written_to : MRL_LOG_FRAMES_AT;
    if (spare != NULL) {
        id = spare->id;
        size = spare->size;
        free(spare);
    }
    set->prepared_id = 0;
    if (id == 0) return 0;
    mrl_log_name(name, id);
    uint64_t there = 0;
    int failed = set->files->file_open(set->dir, name, MRL_FILE_WRITE, &set->prepare_file);
    if (failed == 0) failed = set->files->file_size(set->prepare_file, &there);
    if (failed == 0 && there == size && size == set->options.file_size) {
        *out_failed = finish(set, name);
        return 1;
    }
    /* Of another size, or not to be had: a new one takes its place. One that was prepared stays
     * until then, under its name, which the end of the file before it may tell. */
    if (set->prepare_file != NULL) set->files->file_close(set->prepare_file);
    set->prepare_file = NULL;
    if (spare_is_old) (void)set->files->remove(set->dir, name);
    return 0;
}

/* A piece of it: EAGAIN, there is more to do. Where a file system cannot reserve room its pieces
 * are written, and whoever has to do it here goes on with his own work in between. */
static int make_new(mrl_log_set *set) {
    int failed = 0;
    if (set->prepare_file == NULL) {
        (void)set->files->remove(set->dir, tmp_name);
        failed = set->files->file_open(set->dir, tmp_name, MRL_FILE_CREATE, &set->prepare_file);
        set->prepare_reserved = 0;
    }
    if (failed != 0) return failed;
    uint64_t left = set->options.file_size - set->prepare_reserved;
    set->prepare_reserved += left < PIECE_SIZE ? left : PIECE_SIZE;
    failed = set->files->file_reserve(set->prepare_file, set->prepare_reserved);
    if (failed != 0) return failed;
    if (set->prepare_reserved < set->options.file_size) return EAGAIN;
    set->prepare_next->written_to = MRL_LOG_FRAMES_AT;
    return finish(set, tmp_name);
}

static void give_up(mrl_log_set *set, int system_errno) {
    if (set->prepare_file != NULL) set->files->file_close(set->prepare_file);
    set->prepare_file = NULL;
    (void)set->files->remove(set->dir, tmp_name);
    set->prepare_again_ns = mrl_log_now_ns(set) + AGAIN_NS;
    mrl_lock_take(&set->lock);
    set->room_errno = system_errno;
    room_tell_locked(set);
    mrl_lock_drop(&set->lock);
}

static int prepare(mrl_log_set *set) {
    int failed = 0;
    if (set->prepare_next == NULL) {
        static const mrl_log_header none;
        set->prepare_next = mrl_log_file_create(0, &none, set->options.file_size);
        if (set->prepare_next == NULL) return ENOMEM;
    }
    if (set->prepare_file == NULL && from_spare(set, &failed)) return failed;
    return make_new(set);
}

int mrl_log_prepare_is_due(mrl_log_set *set) {
    mrl_lock_take(&set->lock);
    int is_due = set->next == NULL, is_wanted = mrl_log_wants_room(set->start.log);
    /* Somebody may have looked just before it was there. */
    if (!is_due && is_wanted) room_tell_locked(set);
    if (is_due && !is_wanted && set->room_errno == 0)
        is_due = atomic_load_explicit(&set->used, memory_order_relaxed) >
                 set->last->header.file_size / 2;
    mrl_lock_drop(&set->lock);
    return is_due;
}

size_t mrl_log_prepare(mrl_log_set *set) {
    if (!mrl_lock_try(&set->prepare_lock)) return 0;
    mrl_lock_take(&set->lock);
    int is_ready = set->next != NULL;
    mrl_lock_drop(&set->lock);
    size_t done = 0;
    if (!is_ready && (set->prepare_again_ns == 0 || mrl_log_now_ns(set) >= set->prepare_again_ns)) {
        int failed = prepare(set);
        set->prepare_again_ns = 0;
        done = failed == 0 || failed == EAGAIN;
        if (!done) give_up(set, failed);
    }
    mrl_lock_drop(&set->prepare_lock);
    return done;
}

merle_err mrl_log_prepare_first(mrl_log_set *set, merle_report *report) {
    int failed;
    while ((failed = prepare(set)) == EAGAIN) continue;
    if (failed == 0) return MERLE_OK;
    give_up(set, failed);
    if (failed == ENOMEM) return mrl_report_fill(report, MERLE_NO_MEMORY, NULL);
    return mrl_log_complain_system(report, "log file", failed, "making one ready");
}

void mrl_log_prepare_fini(mrl_log_set *set) {
    if (set->prepare_file != NULL) {
        set->files->file_close(set->prepare_file);
        (void)set->files->remove(set->dir, tmp_name);
    }
    if (set->next_file != NULL) set->files->file_close(set->next_file);
    free(set->prepare_next);
    free(set->next);
    set->prepare_file = set->next_file = NULL;
    set->prepare_next = set->next = NULL;
}

/* ---- letting go ---- */

void mrl_log_set_hold(mrl_log_set *set) {
    mrl_lock_take(&set->lock);
    set->holds++;
    for (mrl_log_file *at = set->first; at != NULL; at = at->next) at->is_shared = 1;
    mrl_lock_drop(&set->lock);
}

void mrl_log_set_unhold(mrl_log_set *set) {
    mrl_lock_take(&set->lock);
    MRL_ASSERT(set->holds > 0);
    set->holds--;
    mrl_lock_drop(&set->lock);
}

/* Under `lock`: bytes of covered files from this one on. */
static uint64_t covered_bytes(const mrl_log_file *from, uint64_t seq) {
    uint64_t bytes = 0;
    for (const mrl_log_file *at = from; at->next != NULL && at->next->header.first_seq <= seq;
         at = at->next)
        bytes += at->size;
    return bytes;
}

/* Under `lock`: the oldest file, if nothing in it is of use any more. */
static mrl_log_file *take_covered(mrl_log_set *set, uint64_t seq, uint64_t first_id,
                                  int64_t now_ns) {
    mrl_log_file *file = set->first;
    if (file == NULL || file->next == NULL || file->readers > 0 || set->holds > 0) return NULL;
    if (file->next->header.first_seq > seq + 1 || file->id >= first_id) return NULL;
    if (covered_bytes(file, seq) <= set->start.keep_bytes) return NULL;
    int64_t age_ns = now_ns - file->next->header.time_ns;
    if (set->start.keep_ns > 0 && (age_ns < 0 || (uint64_t)age_ns < set->start.keep_ns))
        return NULL;
    set->first = file->next;
    return file;
}

static void remove_id(mrl_log_set *set, uint64_t id) {
    char name[MRL_LOG_NAME_SIZE];
    mrl_log_name(name, id);
    /* One that cannot be removed stands below the oldest id: the next opening lists it as spare. */
    (void)set->files->remove(set->dir, name);
}

/* Keeps a few spares of the right size, and removes the rest. */
static void trim_spares(mrl_log_set *set) {
    for (;;) {
        uint32_t good = 0;
        mrl_lock_take(&set->lock);
        mrl_log_spare **at = &set->spares;
        while (*at != NULL && (*at)->size == set->options.file_size && good < SPARES_MAX) {
            at = &(*at)->next;
            good++;
        }
        mrl_log_spare *spare = set->holds == 0 ? *at : NULL;
        if (spare != NULL) *at = spare->next;
        mrl_lock_drop(&set->lock);
        if (spare == NULL) return;
        remove_id(set, spare->id);
        free(spare);
    }
}

void mrl_log_set_release(mrl_log_set *set, uint64_t seq, uint64_t first_id) {
    int64_t now_ns = set->clock->wall_ns(set->clock->context);
    for (;;) {
        mrl_log_spare *spare = mrl_allocate(sizeof *spare);
        mrl_lock_take(&set->lock);
        mrl_log_file *file = take_covered(set, seq, first_id, now_ns);
        int is_kept = file != NULL && spare != NULL && !file->is_shared;
        if (is_kept) {
            *spare =
                (mrl_log_spare){set->spares, file->id, file->header.file_size, file->written_to};
            set->spares = spare;
        }
        mrl_lock_drop(&set->lock);
        if (!is_kept) free(spare);
        if (file != NULL && !is_kept) remove_id(set, file->id);
        free(file);
        if (file == NULL) break;
    }
    trim_spares(set);
}
