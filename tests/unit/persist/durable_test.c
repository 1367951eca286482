/* tests/unit/persist/durable_test.c - what commits are promised of the disk.
 *
 * Aim     MEMORY asks for no sync, ASYNC never has more unsynced than its bound, SYNC is synced
 *         when it returns, SYNC_LATER soon; waiting, the descriptor and the callback tell; a disk
 *         that fails or is full is told to each writer, with the reason; a cursor that fell behind
 *         the ring goes on in files; operations of memory-only collections are in no file.
 * Method  A database in memory whose log has files on a shelf (shelf.h), which counts syncs and
 *         fails when told; with the thread "merle-disk" and without.
 * Blind   Opening again: log_set_test.c and the tests of directories.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <poll.h>
#include <sched.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "persist/log_file.h"
#include "persist/log_set.h"
#include "store/changes.h"
#include "tests/unit/persist/shelf.h"
#include "tests/unit/store/stand.h"

enum { LOG_FILE_SIZE = 256 << 10, UNSYNCED = 16 << 10 };

typedef struct desk {
    stand s;
    shelf shelf;
    mrl_log_set *set;
    merle_durable_fn *fn;
    uint64_t told;
    _Atomic uint64_t told_by_thread;
} desk;

static void tell(void *context, uint64_t seq) {
    desk *d = context;
    atomic_store(&d->told_by_thread, seq);
}

static void desk_open(desk *d, int with_thread, merle_durability durability) {
    merle_options options = {.threads = MERLE_THREADS_NONE,
                             .ring_size = 64 << 10,
                             .durability = durability,
                             .durable = tell,
                             .durable_context = d};
    memset(d, 0, sizeof *d);
    shelf_init(&d->shelf);
    options.report = &d->s.report;
    must(&d->s, mrl_db_open(NULL, &options, NULL, &d->s.db));
    mrl_log_set_options set_options = {.files = &d->shelf.files,
                                       .dir = shelf_dir(&d->shelf),
                                       .database_id = {1, 2},
                                       .file_size = LOG_FILE_SIZE};
    must(&d->s, mrl_log_set_open(&set_options, &d->set, &d->s.report));
    mrl_log_start_options start = {.log = d->s.db->log,
                                   .store = &d->s.db->store,
                                   .domain = d->s.db->domain,
                                   .unsynced_max = UNSYNCED,
                                   .with_thread = with_thread,
                                   .moved = mrl_durable_moved,
                                   .moved_context = &d->s.db->durable};
    must(&d->s, mrl_log_set_start(d->set, &start, &d->s.report));
    merle_report_to(d->s.db, &d->s.report);
    must(&d->s, merle_collection_open(d->s.db, "players", &players_schema, &d->s.players));
}

static mrl_member *member_of(const desk *d) {
    return mrl_member_join(d->s.db->domain);
}

static void desk_close(desk *d) {
    (void)mrl_log_set_close(d->set, member_of(d));
    stand_close(&d->s);
    assert_true(d->shelf.handles == 0);
    shelf_fini(&d->shelf);
}

/* A document of about 1 KiB. */
static merle_err put_in(desk *d, merle_collection *collection, const char *key,
                        merle_durability durability, merle_patience patience, uint64_t *out_seq) {
    static char json[1100];
    uint64_t seq;
    memset(json, 'x', 1024);
    memcpy(json, "{\"a\":\"", 6);
    strcpy(json + 1022, "\"}");
    merle_buffer doc = doc_of(json);
    merle_commit *commit;
    must(&d->s, merle_begin(d->s.db, &commit));
    must(&d->s, merle_commit_durability(commit, durability));
    merle_commit_patience(commit, patience);
    must(&d->s, merle_put(commit, collection, merle_str(key), bytes_of(&doc)));
    merle_err err = merle_end(commit, out_seq != NULL ? out_seq : &seq);
    merle_buffer_free(&doc);
    return err;
}

static merle_err put(desk *d, merle_durability durability, merle_patience patience,
                     uint64_t *out_seq) {
    return put_in(d, d->s.players, "a", durability, patience, out_seq);
}

static void step_at(desk *d, uint64_t later_ns) {
    (void)mrl_log_set_step(d->set, member_of(d), mrl_clock_system.monotonic_ns(NULL) + later_ns);
}

static void settle(desk *d) {
    must(&d->s, merle_wait_durable(d->s.db, UINT64_MAX));
}

/* ---- numbers ---- */

static uint64_t next_id(desk *d) {
    uint64_t id;
    must(&d->s, merle_collection_next_id(d->s.players, &id));
    return id;
}

static void numbers_are_given_when_they_are_durably_set_aside(void **state) {
    (void)state;
    desk d;
    desk_open(&d, 0, MERLE_MEMORY);
    uint64_t before = mrl_log_published_at(mrl_log_published(d.s.db->log));
    assert_true(next_id(&d) == 1 && merle_durable_seq(d.s.db) == before + 1);
    uint32_t syncs = d.shelf.syncs;
    while (mrl_log_published_at(mrl_log_published(d.s.db->log)) == before + 1)
        assert_true(next_id(&d) < 1024);
    /* The next block is asked of the disk ahead of time, and nobody waits. */
    assert_true(merle_durable_seq(d.s.db) == before + 1 && d.shelf.syncs == syncs);
    step_at(&d, 0);
    assert_true(merle_durable_seq(d.s.db) == before + 2);
    syncs = d.shelf.syncs;
    while (next_id(&d) < 1100) continue;
    assert_true(d.shelf.syncs == syncs);
    /* Without steps the last of a block's callers waits, and blocks grow. */
    while (next_id(&d) < 5000) assert_true(merle_durable_seq(d.s.db) >= before + 2);
    assert_true(d.shelf.syncs > syncs && d.shelf.syncs < syncs + 4);
    desk_close(&d);
}

static void numbers_of_a_block_that_never_was_durable_are_not_given(void **state) {
    (void)state;
    desk d;
    uint64_t id = 7;
    desk_open(&d, 0, MERLE_MEMORY);
    settle(&d);
    d.shelf.fail_sync_at = d.shelf.syncs + 1;
    assert_int_equal(merle_collection_next_id(d.s.players, &id), MERLE_READ_ONLY);
    assert_true(id == 0 && d.s.report.message[0] != 0);
    desk_close(&d);
}

/* ---- who makes files ---- */

static pthread_t writing_thread;
static _Atomic uint32_t reserved_by_writer, reserved_by_others;
static _Atomic uint64_t piece_max;

static int watched_reserve(mrl_file *file, uint64_t size) {
    uint64_t before;
    int failed = shelf_size(file, &before);
    if (size - before > piece_max) piece_max = size - before;
    if (pthread_equal(pthread_self(), writing_thread))
        reserved_by_writer++;
    else
        reserved_by_others++;
    return failed != 0 ? failed : shelf_reserve(file, size);
}

static void who_waits_for_the_disk_makes_no_files(void **state) {
    (void)state;
    desk d;
    desk_open(&d, 1, MERLE_SYNC);
    writing_thread = pthread_self();
    reserved_by_writer = reserved_by_others = 0;
    d.shelf.files.file_reserve = watched_reserve;
    for (int i = 0; i < 1500; i++) must(&d.s, put(&d, MERLE_SYNC, MERLE_WAIT, NULL));
    assert_true(reserved_by_writer == 0 && reserved_by_others > 3);
    desk_close(&d);
}

static void large_file_is_made_piece_by_piece(void **state) {
    (void)state;
    static const uint64_t size = 40 << 20;
    shelf files;
    mrl_log_set *set;
    merle_report report;
    stand s;
    merle_options options = {.threads = MERLE_THREADS_NONE, .report = &s.report};
    shelf_init(&files);
    memset(&s, 0, sizeof s);
    files.files.file_reserve = watched_reserve;
    piece_max = 0;
    must(&s, mrl_db_open(NULL, &options, NULL, &s.db));
    mrl_log_set_options set_options = {
        .files = &files.files, .dir = shelf_dir(&files), .database_id = {1, 2}, .file_size = size};
    must(&s, mrl_log_set_open(&set_options, &set, &report));
    mrl_log_start_options start = {
        .log = s.db->log, .store = &s.db->store, .domain = s.db->domain};
    must(&s, mrl_log_set_start(set, &start, &report));
    assert_true(piece_max > 0 && piece_max <= 8 << 20);
    assert_true(shelf_bytes(&files) == size);
    (void)mrl_log_set_close(set, mrl_member_join(s.db->domain));
    stand_close(&s);
    shelf_fini(&files);
}

/* ---- modes, without a thread ---- */

static void memory_commits_are_written_and_never_synced(void **state) {
    (void)state;
    desk d;
    uint64_t seq;
    desk_open(&d, 0, MERLE_MEMORY);
    settle(&d);
    for (int i = 0; i < 5; i++) step_at(&d, 0); /* the next file is prepared */
    uint32_t syncs = d.shelf.syncs, writes = d.shelf.writes;
    for (int i = 0; i < 100; i++) must(&d.s, put(&d, MERLE_MEMORY, MERLE_WAIT, &seq));
    step_at(&d, 1000000000u);
    assert_true(mrl_log_written_seq(d.s.db->log) == seq);
    assert_true(d.shelf.syncs == syncs && d.shelf.writes > writes);
    assert_true(merle_durable_seq(d.s.db) < seq);
    settle(&d);
    assert_true(merle_durable_seq(d.s.db) == seq && d.shelf.syncs == syncs + 1);
    desk_close(&d);
}

static void async_commits_never_pass_their_bound(void **state) {
    (void)state;
    desk d;
    uint64_t seq = 0;
    int taken = 0;
    desk_open(&d, 0, MERLE_ASYNC);
    settle(&d);
    while (put(&d, MERLE_ASYNC, MERLE_REFUSE, &seq) == MERLE_OK) taken++;
    assert_int_equal(d.s.report.err, MERLE_BUSY);
    assert_true(taken >= 10 && taken <= UNSYNCED / 1024);
    /* Others have a bound of their own. */
    must(&d.s, put(&d, MERLE_MEMORY, MERLE_REFUSE, NULL));
    /* Written is not enough; synced is. */
    uint32_t syncs = d.shelf.syncs;
    step_at(&d, 0);
    assert_true(d.shelf.syncs == syncs + 1); /* who was refused has asked for it */
    must(&d.s, put(&d, MERLE_ASYNC, MERLE_REFUSE, &seq));
    /* Who waits makes room himself. */
    for (int i = 0; i < 100; i++) {
        must(&d.s, put(&d, MERLE_ASYNC, MERLE_WAIT, &seq));
        assert_true(seq - merle_durable_seq(d.s.db) <= UNSYNCED / 1024);
    }
    desk_close(&d);
}

static void async_commit_is_synced_when_it_is_old(void **state) {
    (void)state;
    desk d;
    uint64_t seq;
    desk_open(&d, 0, MERLE_ASYNC);
    settle(&d);
    must(&d.s, put(&d, MERLE_ASYNC, MERLE_REFUSE, &seq));
    uint64_t durable = merle_durable_seq(d.s.db);
    step_at(&d, 0);
    assert_true(merle_durable_seq(d.s.db) == durable && mrl_log_set_has_more(d.set));
    uint64_t until = mrl_clock_system.monotonic_ns(NULL) + 11000000u;
    while (mrl_clock_system.monotonic_ns(NULL) < until) sched_yield();
    step_at(&d, 0);
    assert_true(merle_durable_seq(d.s.db) == seq);
    assert_true(atomic_load(&d.told_by_thread) == seq);
    desk_close(&d);
}

static void async_commit_above_the_bound_takes_all_of_it(void **state) {
    (void)state;
    desk d;
    uint64_t seq = 0;
    desk_open(&d, 0, MERLE_ASYNC);
    settle(&d);
    for (int i = 0; i < 5; i++) {
        merle_commit *commit;
        must(&d.s, merle_begin(d.s.db, &commit));
        merle_commit_patience(commit, MERLE_WAIT);
        merle_buffer doc = doc_of("{\"a\":1}");
        for (int j = 0; j < 500; j++) {
            char key[16];
            snprintf(key, sizeof key, "%015d", j);
            must(&d.s, merle_put(commit, d.s.players, merle_bytes_of(key, 15), bytes_of(&doc)));
        }
        merle_buffer_free(&doc);
        must(&d.s, merle_end(commit, &seq));
        assert_true(seq - merle_durable_seq(d.s.db) <= 1);
    }
    desk_close(&d);
}

static void sync_commit_is_synced_when_it_returns(void **state) {
    (void)state;
    desk d;
    uint64_t seq;
    desk_open(&d, 0, MERLE_SYNC);
    for (int i = 0; i < 20; i++) {
        uint32_t syncs = d.shelf.syncs, writes = d.shelf.writes;
        must(&d.s, put(&d, MERLE_DURABILITY_DEFAULT, MERLE_REFUSE, &seq));
        assert_true(merle_durable_seq(d.s.db) == seq);
        assert_true(d.shelf.syncs == syncs + 1 && d.shelf.writes == writes + 1);
    }
    /* Definitions, too. */
    must(&d.s, merle_collection_truncate(d.s.players, &seq));
    assert_true(merle_durable_seq(d.s.db) == seq);
    desk_close(&d);
}

static void sync_later_is_asked_for_and_not_waited_for(void **state) {
    (void)state;
    desk d;
    uint64_t seq;
    int descriptor;
    desk_open(&d, 0, MERLE_ASYNC);
    settle(&d);
    must(&d.s, merle_durable_fd(d.s.db, &descriptor));
    struct pollfd wanted = {.fd = descriptor, .events = POLLIN};
    uint32_t syncs = d.shelf.syncs;
    for (int i = 0; i < 10; i++) must(&d.s, put(&d, MERLE_SYNC_LATER, MERLE_REFUSE, &seq));
    assert_true(d.shelf.syncs == syncs && poll(&wanted, 1, 0) == 0);
    step_at(&d, 0);
    assert_true(d.shelf.syncs == syncs + 1 && merle_durable_seq(d.s.db) == seq);
    uint64_t moves = 0;
    assert_true(poll(&wanted, 1, 0) == 1);
    assert_int_equal(read(descriptor, &moves, sizeof moves), sizeof moves);
    assert_true(moves == 1 && poll(&wanted, 1, 0) == 0);
    assert_int_equal(merle_wait_durable(d.s.db, seq + 1), MERLE_INVALID);
    desk_close(&d);
}

static void database_without_files_is_durable_at_once(void **state) {
    (void)state;
    stand s = stand_open();
    uint64_t seq = put_json(&s, "a", "{}");
    assert_true(merle_durable_seq(s.db) == seq);
    must(&s, merle_wait_durable(s.db, seq));
    stand_close(&s);
}

/* ---- with the thread ---- */

static void thread_makes_durable_what_nobody_waits_for(void **state) {
    (void)state;
    desk d;
    uint64_t seq = 0;
    desk_open(&d, 1, MERLE_ASYNC);
    for (int i = 0; i < 300; i++) {
        must(&d.s, put(&d, i % 3 == 0 ? MERLE_SYNC_LATER : MERLE_ASYNC, MERLE_WAIT, &seq));
        if (i % 50 == 0)
            while (atomic_load(&d.told_by_thread) < seq) sched_yield();
    }
    while (merle_durable_seq(d.s.db) < seq) sched_yield();
    desk_close(&d);
}

typedef struct writer {
    desk *d;
    pthread_t thread;
    int number;
    uint64_t wrong, done;
} writer;

static void *write_durably(void *argument) {
    writer *w = argument;
    merle_buffer doc = doc_of("{\"a\":1}");
    char key[16];
    snprintf(key, sizeof key, "%d", w->number);
    for (int i = 0; i < 200; i++) {
        merle_commit *commit;
        uint64_t seq = 0;
        if (merle_begin(w->d->s.db, &commit) != MERLE_OK) break;
        (void)merle_commit_durability(commit, i % 4 == 3 ? MERLE_ASYNC : MERLE_SYNC);
        merle_commit_patience(commit, MERLE_WAIT);
        (void)merle_put(commit, w->d->s.players, merle_str(key), bytes_of(&doc));
        merle_err err = merle_end(commit, &seq);
        w->wrong += err != MERLE_OK;
        if (i % 4 != 3) w->wrong += merle_durable_seq(w->d->s.db) < seq;
        w->done++;
    }
    merle_buffer_free(&doc);
    return NULL;
}

static void many_threads_share_syncs(void **state) {
    (void)state;
    for (int with_thread = 0; with_thread < 2; with_thread++) {
        desk d;
        writer writers[16];
        desk_open(&d, with_thread, MERLE_ASYNC);
        d.shelf.sync_pause = 100000;
        uint32_t syncs = d.shelf.syncs;
        for (int i = 0; i < 16; i++) {
            writers[i] = (writer){.d = &d, .number = i};
            assert_int_equal(pthread_create(&writers[i].thread, NULL, write_durably, &writers[i]),
                             0);
        }
        for (int i = 0; i < 16; i++) {
            pthread_join(writers[i].thread, NULL);
            assert_true(writers[i].wrong == 0 && writers[i].done == 200);
        }
        syncs = d.shelf.syncs - syncs;
        print_message("# 2400 durable commits of 16 threads took %u syncs\n", syncs);
        assert_true(syncs < 2000);
        d.shelf.sync_pause = 0;
        desk_close(&d);
    }
}

/* ---- disks that fail ---- */

/* Some room is left, and less than the definition takes: it has to wait for what it takes, and to
 * do the disk's work meanwhile, for nobody else does it here. */
static void definition_waits_for_all_the_room_that_it_takes(void **state) {
    (void)state;
    desk d;
    desk_open(&d, 0, MERLE_ASYNC);
    const merle_index index = {"more", MERLE_ORDERED, "a"};
    for (size_t size = 20; size < 400; size += 16) {
        char json[420] = "{\"a\":\"", key[8] = "b";
        memset(json + 6, 'y', size);
        strcpy(json + 6 + size, "\"}");
        merle_buffer doc = doc_of(json);
        merle_err err = MERLE_OK;
        while (err == MERLE_OK) {
            merle_commit *commit;
            must(&d.s, merle_begin(d.s.db, &commit));
            merle_commit_patience(commit, MERLE_REFUSE);
            must(&d.s, merle_put(commit, d.s.players, merle_str(key), bytes_of(&doc)));
            err = merle_end(commit, NULL);
        }
        assert_int_equal(err, MERLE_BUSY);
        merle_buffer_free(&doc);
        must(&d.s, merle_index_add(d.s.players, &index, NULL));
        must(&d.s, merle_index_drop(d.s.players, "more", NULL));
        while (merle_step(d.s.db, 0, 1000000) == MERLE_BUSY) step_at(&d, 0);
    }
    desk_close(&d);
}

static void failed_disk_is_told_to_each_writer_with_the_reason(void **state) {
    (void)state;
    for (int with_thread = 0; with_thread < 2; with_thread++) {
        desk d;
        uint64_t seq = 0;
        desk_open(&d, with_thread, MERLE_ASYNC);
        settle(&d);
        d.shelf.fail_sync_at = UINT32_MAX;
        pthread_mutex_lock(&d.shelf.lock);
        d.shelf.fail_write_at = d.shelf.writes + 1;
        pthread_mutex_unlock(&d.shelf.lock);
        /* The thread may be preparing the next file: that failure is another one, and borne. */
        merle_err err = MERLE_OK;
        while (err == MERLE_OK) {
            err = put(&d, MERLE_SYNC, MERLE_WAIT, &seq);
            pthread_mutex_lock(&d.shelf.lock);
            d.shelf.fail_write_at = d.shelf.writes + 1;
            pthread_mutex_unlock(&d.shelf.lock);
        }
        assert_int_equal(err, MERLE_NOT_DURABLE);
        assert_true(seq > 0);
        assert_int_equal(d.s.report.system_errno, EIO);
        for (int patience = MERLE_WAIT; patience <= MERLE_REFUSE; patience++) {
            assert_int_equal(put(&d, MERLE_ASYNC, (merle_patience)patience, NULL), MERLE_READ_ONLY);
            assert_int_equal(d.s.report.err, MERLE_READ_ONLY);
            assert_int_equal(d.s.report.system_errno, EIO);
            assert_non_null(strstr(d.s.report.path, "log-"));
        }
        assert_int_equal(merle_wait_durable(d.s.db, UINT64_MAX), MERLE_NOT_DURABLE);
        merle_buffer out = {NULL, 0, 0};
        must(&d.s, merle_one_get(d.s.players, merle_str("a"), &out, NULL));
        merle_buffer_free(&out);
        desk_close(&d);
    }
}

static void full_disk_is_told_and_gone_on_from(void **state) {
    (void)state;
    desk d;
    merle_err err = MERLE_OK;
    desk_open(&d, 0, MERLE_ASYNC);
    d.shelf.bytes_max = LOG_FILE_SIZE + 1000;
    uint64_t seq = 0, last = 0;
    while (err == MERLE_OK) {
        last = seq;
        err = put(&d, MERLE_MEMORY, MERLE_WAIT, &seq);
        step_at(&d, 0);
    }
    assert_int_equal(err, MERLE_NO_SPACE);
    assert_int_equal(d.s.report.system_errno, ENOSPC);
    assert_true(mrl_log_published_at(d.s.db->store.published) == last);
    must(&d.s, merle_wait_durable(d.s.db, UINT64_MAX));
    d.shelf.bytes_max = 0;
    uint64_t until = mrl_clock_system.monotonic_ns(NULL) + 150000000u;
    while (mrl_clock_system.monotonic_ns(NULL) < until) step_at(&d, 0);
    for (int i = 0; i < 600; i++) {
        must(&d.s, put(&d, MERLE_MEMORY, MERLE_WAIT, &seq));
        step_at(&d, 0);
    }
    desk_close(&d);
}

/* ---- cursors in files ---- */

static void cursor_behind_the_ring_goes_on_in_files(void **state) {
    (void)state;
    desk d;
    merle_changes *changes;
    merle_change list[7];
    size_t count;
    uint64_t seq = 0, expected = 1;
    desk_open(&d, 0, MERLE_MEMORY);
    merle_changes_options options = {.after_seq = 0};
    must(&d.s, merle_changes_open(d.s.db, &options, &changes));
    for (int i = 0; i < 1000; i++) {
        must(&d.s, put(&d, MERLE_MEMORY, MERLE_WAIT, &seq));
        step_at(&d, 0);
    }
    assert_true(seq > 1000);
    do {
        must(&d.s, merle_changes_next(changes, list, 7, &count));
        for (size_t i = 0; i < count; i++, expected++) {
            assert_true(list[i].seq == expected && list[i].count == 1);
            if (list[i].kind != MERLE_CHANGE_PUT) continue;
            assert_true(list[i].after.size > 1000 && list[i].after.size < 1040);
        }
    } while (count > 0);
    assert_true(expected == seq + 1);
    /* From the ring, now. */
    must(&d.s, put(&d, MERLE_MEMORY, MERLE_WAIT, &seq));
    must(&d.s, merle_changes_next(changes, list, 7, &count));
    assert_true(count == 1 && list[0].seq == seq);
    merle_changes_close(changes);
    /* With images it would be a gap. */
    options.want_before = 1;
    must(&d.s, merle_changes_open(d.s.db, &options, &changes));
    assert_int_equal(merle_changes_next(changes, list, 7, &count), MERLE_GAP);
    merle_changes_close(changes);
    /* As it is where the file has gone. */
    settle(&d);
    mrl_log_set_release(d.set, seq, UINT64_MAX);
    options.want_before = 0;
    must(&d.s, merle_changes_open(d.s.db, &options, &changes));
    assert_int_equal(merle_changes_next(changes, list, 7, &count), MERLE_GAP);
    merle_changes_close(changes);
    desk_close(&d);
}

static void fill_beyond_the_ring(desk *d, uint64_t *out_seq) {
    for (int i = 0; i < 300; i++) {
        must(&d->s, put(d, MERLE_MEMORY, MERLE_WAIT, out_seq));
        step_at(d, 0);
    }
}

static void cursor_with_images_mends_its_gap_in_files(void **state) {
    (void)state;
    desk d;
    merle_changes *changes;
    merle_change list[7];
    size_t count;
    uint64_t seq = 0, first, last, expected = 1;
    desk_open(&d, 0, MERLE_MEMORY);
    const merle_changes_options options = {.after_seq = 0, .want_before = 1};
    must(&d.s, merle_changes_open(d.s.db, &options, &changes));
    assert_int_equal(mrl_changes_mend(changes), MERLE_NOT_FOUND);
    fill_beyond_the_ring(&d, &seq);
    assert_int_equal(merle_changes_next(changes, list, 7, &count), MERLE_GAP);
    merle_changes_gap(changes, &first, &last);
    assert_true(first == 1 && last > 1 && last < seq);
    must(&d.s, mrl_changes_mend(changes));
    do {
        must(&d.s, merle_changes_next(changes, list, 7, &count));
        for (size_t i = 0; i < count; i++, expected++) {
            assert_true(list[i].seq == expected);
            if (list[i].seq > 2) assert_true((list[i].before.data != NULL) == (expected > last));
        }
    } while (count > 0);
    assert_true(expected == seq + 1);
    /* Behind what was mended files will not do. */
    fill_beyond_the_ring(&d, &seq);
    assert_int_equal(merle_changes_next(changes, list, 7, &count), MERLE_GAP);
    merle_changes_close(changes);
    desk_close(&d);
}

/* ---- memory-only collections ---- */

static void strict_cursor_meets_a_gap_where_files_lack_something(void **state) {
    (void)state;
    desk d;
    merle_changes *plain, *strict, *own;
    merle_change list[7];
    size_t count;
    uint64_t seq = 0, first, last, lacking = 0;
    merle_collection *brief;
    const merle_schema schema = {.version = 1, .memory_only = 1};
    desk_open(&d, 0, MERLE_MEMORY);
    must(&d.s, merle_collection_open(d.s.db, "brief", &schema, &brief));
    merle_changes_options options = {.after_seq = 0};
    must(&d.s, merle_changes_open(d.s.db, &options, &plain));
    must(&d.s, merle_changes_open(d.s.db, &options, &strict));
    mrl_changes_be_strict(strict);
    options.collection = brief;
    must(&d.s, merle_changes_open(d.s.db, &options, &own));
    fill_beyond_the_ring(&d, &seq);
    must(&d.s, put_in(&d, brief, "b", MERLE_MEMORY, MERLE_WAIT, &lacking));
    fill_beyond_the_ring(&d, &seq);
    for (uint64_t expected = 1; expected <= seq;) {
        must(&d.s, merle_changes_next(plain, list, 7, &count));
        assert_true(count > 0);
        for (size_t i = 0; i < count; i++, expected++) {
            expected += expected == lacking;
            assert_true(list[i].seq == expected);
        }
    }
    do {
        merle_err err = merle_changes_next(strict, list, 7, &count);
        if (err == MERLE_GAP) break;
        must(&d.s, err);
    } while (count > 0);
    assert_true(merle_changes_position(strict) > lacking);
    merle_changes_gap(strict, &first, &last);
    assert_true(first == lacking && last > lacking && last < seq);
    must(&d.s, merle_changes_next(own, list, 7, &count));
    assert_int_equal(count, 1);
    assert_int_equal(list[0].kind, MERLE_CHANGE_DEFINE);
    assert_int_equal(merle_changes_next(own, list, 7, &count), MERLE_GAP);
    merle_changes_gap(own, &first, &last);
    assert_true(first == lacking);
    merle_changes_close(plain);
    merle_changes_close(strict);
    merle_changes_close(own);
    desk_close(&d);
}

static merle_err count_operations(void *context, const mrl_frame *frame, merle_bytes body,
                                  merle_report *report) {
    uint32_t *counts = context;
    mrl_record_reader reader;
    mrl_record_operation_view operation;
    (void)report;
    assert_int_equal(mrl_record_read_begin(body, &reader), MERLE_OK);
    counts[4] += (frame->flags & MRL_FRAME_PARTIAL) != 0;
    while (mrl_record_read_next(&reader, &operation) == MERLE_OK)
        counts[operation.kind <= MRL_RECORD_REMOVE ? operation.collection_id : 3]++;
    return MERLE_OK;
}

static void operations_of_memory_only_collections_are_left_out(void **state) {
    (void)state;
    desk d;
    merle_collection *brief;
    merle_schema schema = {.version = 1, .memory_only = 1};
    uint32_t counts[5] = {0};
    uint64_t last;
    int64_t time_ns;
    desk_open(&d, 0, MERLE_ASYNC);
    must(&d.s, merle_collection_open(d.s.db, "brief", &schema, &brief));
    assert_true(merle_collection_id(d.s.players) == 1 && merle_collection_id(brief) == 2);
    merle_buffer doc = doc_of("{\"a\":1}");
    for (int i = 0; i < 9; i++) {
        merle_commit *commit;
        must(&d.s, merle_begin(d.s.db, &commit));
        if (i % 3 != 0) must(&d.s, merle_put(commit, brief, merle_str("b"), bytes_of(&doc)));
        if (i % 3 != 1) must(&d.s, merle_put(commit, d.s.players, merle_str("a"), bytes_of(&doc)));
        must(&d.s, merle_end(commit, NULL));
    }
    merle_buffer_free(&doc);
    settle(&d);
    mrl_log_set_options options = {.files = &d.shelf.files,
                                   .dir = shelf_dir(&d.shelf),
                                   .database_id = {1, 2},
                                   .file_size = LOG_FILE_SIZE};
    mrl_log_set *again;
    must(&d.s, mrl_log_set_open(&options, &again, &d.s.report));
    must(&d.s,
         mrl_log_set_replay(again, 0, count_operations, counts, &last, &time_ns, &d.s.report));
    must(&d.s, mrl_log_set_close(again, NULL));
    assert_true(last == 11 && counts[1] == 6 && counts[2] == 0 && counts[3] == 2);
    assert_true(counts[4] == 6);
    desk_close(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_for_the_disk_makes_no_files),
        cmocka_unit_test(large_file_is_made_piece_by_piece),
        cmocka_unit_test(numbers_are_given_when_they_are_durably_set_aside),
        cmocka_unit_test(numbers_of_a_block_that_never_was_durable_are_not_given),
        cmocka_unit_test(memory_commits_are_written_and_never_synced),
        cmocka_unit_test(async_commits_never_pass_their_bound),
        cmocka_unit_test(async_commit_is_synced_when_it_is_old),
        cmocka_unit_test(async_commit_above_the_bound_takes_all_of_it),
        cmocka_unit_test(sync_commit_is_synced_when_it_returns),
        cmocka_unit_test(sync_later_is_asked_for_and_not_waited_for),
        cmocka_unit_test(database_without_files_is_durable_at_once),
        cmocka_unit_test(thread_makes_durable_what_nobody_waits_for),
        cmocka_unit_test(many_threads_share_syncs),
        cmocka_unit_test(definition_waits_for_all_the_room_that_it_takes),
        cmocka_unit_test(failed_disk_is_told_to_each_writer_with_the_reason),
        cmocka_unit_test(full_disk_is_told_and_gone_on_from),
        cmocka_unit_test(cursor_behind_the_ring_goes_on_in_files),
        cmocka_unit_test(cursor_with_images_mends_its_gap_in_files),
        cmocka_unit_test(strict_cursor_meets_a_gap_where_files_lack_something),
        cmocka_unit_test(operations_of_memory_only_collections_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
