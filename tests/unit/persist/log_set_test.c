/* tests/unit/persist/log_set_test.c - what a log of files gives when it is opened again.
 *
 * Aim     Every rule of reading: a torn end is cut and goes on, a hole is refused whoever vouches
 *         for it, missing and swapped files are told, stale frames and frames above a term's limit
 *         never count; files rotate, are used again, and go.
 * Method  Files in memory (shelf.h), records whose bytes follow from their seq. Bytes are changed
 *         by hand where a rule says what must come of it. No thread.
 * Blind   Unsynced writes that are lost in part: tests/crash does that.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/persist/log_stand.h"

static shelf_file *file_of(shelf *s, uint64_t id) {
    char name[MRL_LOG_NAME_SIZE];
    mrl_log_name(name, id);
    shelf_file *file = shelf_find(s, name);
    assert_non_null(file);
    return file;
}

static uint32_t seed_of(shelf *s, uint64_t id) {
    mrl_log_header header;
    uint32_t version;
    assert_int_equal(mrl_log_header_read(file_of(s, id)->data, &header, &version), MERLE_OK);
    return header.seed;
}

/* Where the record with this seq begins in the file; 0: nowhere. */
static uint64_t place_of(shelf *s, uint64_t id, uint64_t seq) {
    const shelf_file *file = file_of(s, id);
    uint32_t frame_seed = seed_of(s, id);
    for (uint64_t at = MRL_LOG_FRAMES_AT; at + MRL_FRAME_HEADER_SIZE <= file->size; at += 8) {
        mrl_frame frame;
        if (mrl_frame_read(file->data + at, frame_seed, &frame) == MERLE_OK && frame.seq == seq &&
            frame.length > 0)
            return at;
    }
    return 0;
}

/* A database with records 1 to count, closed. */
static void make(log_stand *l, shelf *s, uint64_t count) {
    shelf_init(s);
    log_stand_init(l, s);
    log_open_well(l);
    for (uint64_t i = 0; i < count; i++) {
        log_put_durable(l);
        log_step(l);
    }
    log_close(l);
}

static void end(shelf *s) {
    shelf_fini(s);
}

/* Opens and says how many records came; the set is closed again. */
static merle_err reopen(log_stand *l) {
    merle_err err = log_open(l);
    if (err == MERLE_OK) {
        assert_true(l->wrong == 0);
        assert_int_equal(mrl_log_set_close(l->set, NULL), MERLE_OK);
    }
    assert_true(l->shelf->handles == 0);
    return err;
}

/* ---- right ---- */

static void log_without_files_is_empty(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    shelf_init(&s);
    log_stand_init(&l, &s);
    assert_int_equal(reopen(&l), MERLE_OK);
    assert_true(l.given == 0 && l.last_seq == 0);
    end(&s);
}

static void log_closed_comes_back_whole(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    make(&l, &s, 50);
    for (int i = 0; i < 3; i++) {
        log_open_well(&l);
        assert_true(l.given == 50 + (uint64_t)i * 10);
        assert_true(mrl_log_set_term(l.set) == 2 + (uint64_t)i);
        log_put_many(&l, 10);
        log_close(&l);
    }
    assert_int_equal(reopen(&l), MERLE_OK);
    assert_true(l.given == 80);
    l.options.after_seq = 77;
    assert_int_equal(reopen(&l), MERLE_OK);
    assert_true(l.given == 3);
    end(&s);
}

static void log_of_many_files_comes_back_whole(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    make(&l, &s, 1500);
    assert_int_equal(log_open(&l), MERLE_OK);
    assert_true(l.given == 1500 && l.wrong == 0);
    mrl_log_set_stats stats;
    mrl_log_set_stat(l.set, &stats);
    assert_true(stats.files >= 4);
    assert_true(mrl_log_set_id_for(l.set, 0) == 1);
    assert_true(mrl_log_set_id_for(l.set, 1500) == stats.files);
    uint64_t middle = mrl_log_set_id_for(l.set, 700);
    assert_true(middle > 1 && middle < stats.files && place_of(&s, middle, 701) != 0);
    assert_int_equal(mrl_log_set_close(l.set, NULL), MERLE_OK);
    l.options.oldest_id = middle;
    l.options.after_seq = 700;
    assert_int_equal(reopen(&l), MERLE_OK);
    assert_true(l.given == 800);
    end(&s);
}

static void killed_process_loses_what_was_not_written(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    make(&l, &s, 10);
    log_open_well(&l);
    log_put_many(&l, 5);
    log_step(&l); /* written, not synced */
    log_put_many(&l, 3);
    log_kill(&l);
    uint32_t syncs = s.syncs;
    assert_int_equal(log_open(&l), MERLE_OK);
    /* Of two files the first one was synced before the second one was begun; that is written again,
     * and synced once more behind its first header. */
    assert_true(l.given == 15 && s.syncs == syncs + 2);
    assert_int_equal(mrl_log_set_close(l.set, NULL), MERLE_OK);
    end(&s);
}

static void record_larger_than_all_credit_is_taken_alone(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    shelf_init(&s);
    log_stand_init(&l, &s);
    log_open_well(&l);
    log_put_many(&l, 3);
    uint64_t seq = 0;
    assert_int_equal(log_try(&l, l.s.member, 50000, 0, 1, &seq), MERLE_OK);
    assert_int_equal(log_try(&l, l.s.member, 60000, 0, 1, &seq), MERLE_TOO_BIG);
    log_put_many(&l, 3);
    log_close(&l);
    assert_int_equal(log_open(&l), MERLE_OK);
    assert_true(l.given == 7 &&
                l.wrong == 1); /* the large one has another size than its seq says */
    assert_int_equal(mrl_log_set_close(l.set, NULL), MERLE_OK);
    end(&s);
}

/* ---- torn ends ---- */

static void torn_end_is_cut_and_gone_on_from(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    make(&l, &s, 20);
    log_open_well(&l);
    log_put_durable(&l);
    log_put_many(&l, 4);
    log_step(&l);
    log_kill(&l);
    /* 22 is torn, 23 to 25 stand behind it. */
    uint64_t at = place_of(&s, 2, 22);
    file_of(&s, 2)->data[at + 40] ^= 1;
    log_open_well(&l);
    assert_true(l.given == 21);
    log_put_many(&l, 2);
    log_close(&l);
    /* The old 22 whole again: it stays out, by the limit of its term. */
    file_of(&s, 2)->data[at + 40] ^= 1;
    assert_int_equal(reopen(&l), MERLE_OK);
    assert_true(l.given == 23);
    end(&s);
}

static void hole_is_refused_by_a_mark(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    shelf_init(&s);
    log_stand_init(&l, &s);
    log_open_well(&l);
    for (int i = 0; i < 20; i++) log_put_durable(&l);
    log_kill(&l);
    uint64_t at = place_of(&s, 1, 12);
    file_of(&s, 1)->data[at + 3] ^= 1;
    assert_int_equal(reopen(&l), MERLE_CORRUPT);
    assert_string_equal(l.report.path, "log-0000000000000001");
    assert_true(l.report.offset == at);
    assert_non_null(strstr(l.report.message, "record 12"));
    assert_non_null(strstr(l.report.expected, "seq 12"));
    /* The last one is vouched for by nothing. */
    file_of(&s, 1)->data[at + 3] ^= 1;
    file_of(&s, 1)->data[place_of(&s, 1, 20) + 3] ^= 1;
    assert_int_equal(reopen(&l), MERLE_OK);
    assert_true(l.given == 19);
    end(&s);
}

static void hole_is_refused_by_the_last_mark(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    make(&l, &s, 20);
    file_of(&s, 1)->data[place_of(&s, 1, 20) + 3] ^= 1;
    assert_int_equal(reopen(&l), MERLE_CORRUPT);
    end(&s);
}

static void hole_is_refused_by_a_later_file(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    make(&l, &s, 700);
    shelf_file *file = file_of(&s, 1);
    mrl_log_header header;
    uint32_t version;
    assert_int_equal(mrl_log_header_read(file_of(&s, 2)->data, &header, &version), MERLE_OK);
    uint64_t at = place_of(&s, 1, header.first_seq - 1);
    assert_true(at != 0);
    /* The last record of the file and all behind it, marks too. */
    memset(file->data + at, 0, file->size - at);
    assert_int_equal(reopen(&l), MERLE_CORRUPT);
    assert_non_null(strstr(l.report.message, "log-0000000000000002"));
    end(&s);
}

static void hole_is_refused_by_a_later_term(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    make(&l, &s, 10);
    log_open_well(&l);
    log_put_many(&l, 2);
    log_step(&l);
    log_kill(&l); /* 11 and 12 were written, and are taken over by the next opening */
    log_open_well(&l);
    log_kill(&l);
    assert_true(l.given == 12);
    memset(file_of(&s, 2)->data + MRL_LOG_FRAMES_AT, 0, FILE_SIZE - MRL_LOG_FRAMES_AT);
    assert_int_equal(reopen(&l), MERLE_CORRUPT);
    end(&s);
}

static void hole_is_refused_by_the_manifest(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    shelf_init(&s);
    log_stand_init(&l, &s);
    log_open_well(&l);
    log_put_many(&l, 5);
    log_step(&l);
    log_kill(&l);
    file_of(&s, 1)->data[place_of(&s, 1, 4) + 3] ^= 1;
    l.options.vouched_seq = 4;
    assert_int_equal(reopen(&l), MERLE_CORRUPT);
    l.options.vouched_seq = 3;
    assert_int_equal(reopen(&l), MERLE_OK);
    assert_true(l.given == 3);
    l.options.vouched_seq = 6;
    file_of(&s, 1)->data[place_of(&s, 1, 4) == 0 ? 0 : 0] ^= 0;
    assert_int_equal(reopen(&l), MERLE_CORRUPT);
    end(&s);
}

/* ---- files that are not as they ought to be ---- */

static void missing_files_are_told(void **state) {
    (void)state;
    shelf s, t;
    log_stand l;
    make(&l, &s, 1500);
    assert_int_equal(log_open(&l), MERLE_OK);
    mrl_log_set_stats stats;
    mrl_log_set_stat(l.set, &stats);
    assert_int_equal(mrl_log_set_close(l.set, NULL), MERLE_OK);
    for (uint64_t id = 1; id <= stats.files; id++) {
        shelf_copy(&t, &s);
        l.shelf = &t;
        l.options.dir = shelf_dir(&t);
        shelf_drop(file_of(&t, id));
        assert_int_equal(reopen(&l), MERLE_CORRUPT);
        assert_string_equal(l.report.path, file_of(&s, id)->name);
        shelf_fini(&t);
    }
    end(&s);
}

static void swapped_files_are_told(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    make(&l, &s, 1000);
    shelf_file *one = file_of(&s, 1), *two = file_of(&s, 2);
    uint8_t *data = one->data;
    one->data = two->data;
    two->data = data;
    assert_int_equal(reopen(&l), MERLE_CORRUPT);
    assert_non_null(strstr(l.report.message, "swapped"));
    end(&s);
}

static void file_of_another_database_is_told(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    make(&l, &s, 10);
    l.options.database_id[1]++;
    assert_int_equal(reopen(&l), MERLE_CORRUPT);
    assert_non_null(strstr(l.report.message, "another database"));
    end(&s);
}

static void term_that_the_manifest_knows_must_be_there(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    make(&l, &s, 10);
    l.options.term = 1;
    assert_int_equal(reopen(&l), MERLE_OK);
    l.options.term = 2;
    assert_int_equal(reopen(&l), MERLE_CORRUPT);
    l.options.term = 0;
    l.options.oldest_id = 5;
    assert_int_equal(reopen(&l), MERLE_CORRUPT);
    end(&s);
}

static void newer_format_is_told(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    make(&l, &s, 10);
    for (int i = 0; i < 2; i++) {
        uint8_t *block = file_of(&s, 1)->data + i * MRL_LOG_HEADER_SIZE;
        block[8] = 9;
        uint32_t crc = mrl_crc32c(0, block, 96);
        memcpy(block + 96, &crc, 4);
    }
    assert_int_equal(reopen(&l), MERLE_UNSUPPORTED);
    assert_non_null(strstr(l.report.message, "version 9"));
    end(&s);
}

/* ---- header copies ---- */

static void one_bad_header_copy_is_borne(void **state) {
    (void)state;
    for (int copy = 0; copy < 2; copy++) {
        shelf s;
        log_stand l;
        make(&l, &s, 10);
        memset(file_of(&s, 1)->data + copy * MRL_LOG_HEADER_SIZE, 0, MRL_LOG_HEADER_SIZE);
        assert_int_equal(reopen(&l), MERLE_OK);
        assert_true(l.given == 10);
        memset(file_of(&s, 1)->data + (1 - copy) * MRL_LOG_HEADER_SIZE, 0, MRL_LOG_HEADER_SIZE);
        assert_int_equal(reopen(&l), MERLE_CORRUPT);
        end(&s);
    }
}

static void file_torn_at_its_beginning_was_not_begun(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    make(&l, &s, 10);
    log_open_well(&l);
    log_kill(&l);
    /* File 2 is begun, and has no group yet: its second header still says prepared. */
    memset(file_of(&s, 2)->data, 0, 200);
    log_open_well(&l);
    assert_true(l.given == 10 && mrl_log_set_term(l.set) == 2);
    log_put_durable(&l);
    log_close(&l);
    assert_int_equal(reopen(&l), MERLE_OK);
    assert_true(l.given == 11);
    end(&s);
}

/* ---- files that are used again ---- */

static void released_files_are_used_again(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    shelf_init(&s);
    log_stand_init(&l, &s);
    log_open_well(&l);
    uint64_t oldest = 0;
    uint32_t first_seed = seed_of(&s, 1);
    for (int i = 0; i < 3000; i++) {
        uint64_t seq = log_put(&l);
        log_step(&l);
        if (i % 500 != 499) continue;
        assert_int_equal(mrl_log_set_sync(l.set, l.s.member, seq), MERLE_OK);
        oldest = mrl_log_set_id_for(l.set, seq - 50);
        mrl_log_set_release(l.set, seq - 50, UINT64_MAX);
        l.options.after_seq = seq - 50;
    }
    assert_true(oldest > 6);
    /* With the seed that it had before a file would show its old frames. */
    mrl_log_set_stats stats;
    mrl_log_set_stat(l.set, &stats);
    assert_true(seed_of(&s, stats.current_id) != first_seed);
    assert_true(shelf_bytes(&s) <= 5 * FILE_SIZE);
    l.options.oldest_id = oldest;
    log_kill(&l);
    assert_int_equal(reopen(&l), MERLE_OK);
    assert_true(l.given == 50);
    end(&s);
}

static void files_are_kept_as_long_as_asked(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    mrl_log_set_stats stats;
    shelf_init(&s);
    log_stand_init(&l, &s);
    l.start.keep_bytes = 2 * FILE_SIZE;
    log_open_well(&l);
    for (int i = 0; i < 2500; i++) {
        log_put_durable(&l);
        log_step(&l);
    }
    mrl_log_set_hold(l.set);
    mrl_log_set_stat(l.set, &stats);
    uint64_t files = stats.files;
    mrl_log_set_release(l.set, 2500, UINT64_MAX);
    mrl_log_set_stat(l.set, &stats);
    assert_true(files > 5 && stats.files == files);
    mrl_log_set_unhold(l.set);
    mrl_log_set_release(l.set, 2500, UINT64_MAX);
    mrl_log_set_stat(l.set, &stats);
    assert_true(stats.files == 3);
    log_close(&l);
    end(&s);
}

/* ---- openings that change nothing ---- */

static void empty_file_is_begun_again(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    mrl_log_set_stats stats;
    make(&l, &s, 20);
    log_open_well(&l);
    log_close(&l);
    uint64_t bytes = shelf_bytes(&s);
    uint32_t seed_before = seed_of(&s, 2);
    for (uint64_t term = 3; term < 8; term++) {
        log_open_well(&l);
        mrl_log_set_stat(l.set, &stats);
        assert_true(l.given == 20 && mrl_log_set_term(l.set) == term && stats.current_id == 2);
        if (term % 2 == 0)
            log_kill(&l);
        else
            log_close(&l);
        assert_true(shelf_bytes(&s) == bytes && seed_of(&s, 2) != seed_before);
        seed_before = seed_of(&s, 2);
    }
    log_open_well(&l);
    log_put_durable(&l);
    log_kill(&l);
    log_open_well(&l);
    mrl_log_set_stat(l.set, &stats);
    assert_true(l.given == 21 && stats.current_id == 3);
    log_close(&l);
    end(&s);
}

/* Of a record that was cut off as the torn end nothing may come back. */
static void torn_record_of_an_empty_file_stays_away(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    make(&l, &s, 20);
    log_open_well(&l);
    log_put_durable(&l);
    log_kill(&l);
    uint64_t at = place_of(&s, 2, 21);
    assert_true(at != 0);
    uint8_t *first = file_of(&s, 2)->data + at, was = *first;
    *first ^= 1;
    log_open_well(&l);
    assert_true(l.given == 20);
    log_kill(&l);
    file_of(&s, 2)->data[at] = was;
    assert_int_equal(reopen(&l), MERLE_OK);
    assert_true(l.given == 20);
    end(&s);
}

/* Each copy of the header torn at the moment when it is written anew. */
static void file_torn_while_it_is_begun_again_is_empty(void **state) {
    (void)state;
    for (int copy = 0; copy < 2; copy++) {
        shelf s;
        log_stand l;
        uint8_t before[2 * MRL_LOG_HEADER_SIZE];
        make(&l, &s, 20);
        log_open_well(&l);
        log_close(&l);
        memcpy(before, file_of(&s, 2)->data, sizeof before);
        log_open_well(&l);
        log_kill(&l);
        uint8_t *header = file_of(&s, 2)->data;
        /* The first copy as it was before, or torn: the second comes first. */
        memcpy(header, before, MRL_LOG_HEADER_SIZE);
        if (copy == 0)
            memset(header, 7, 50);
        else
            memset(header + MRL_LOG_HEADER_SIZE, 7, 50);
        log_open_well(&l);
        assert_true(l.given == 20);
        log_put_durable(&l);
        log_kill(&l);
        assert_int_equal(reopen(&l), MERLE_OK);
        assert_true(l.given == 21);
        end(&s);
    }
}

/* The manifest names the file that has the record behind the seq that was released. */
static void file_that_ends_with_what_is_released_stays(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    make(&l, &s, 20);
    l.options.oldest_id = 1;
    for (int i = 0; i < 4; i++) {
        l.start.covered_seq = l.options.after_seq = 20;
        l.start.named_id = 1;
        log_open_well(&l);
        if (i == 1) log_put_durable(&l);
        mrl_log_set_release(l.set, 20, l.start.named_id);
        log_close(&l);
    }
    assert_int_equal(reopen(&l), MERLE_OK);
    assert_true(l.given == 1);
    end(&s);
}

/* A crash between the mark that file 2 follows and the beginning of file 2, and openings after it
 * that cannot make a file ready: the next one finds file 2 all the same. */
static void prepared_file_that_follows_outlives_failed_openings(void **state) {
    (void)state;
    for (int fault = 0; fault < 2; fault++) {
        shelf s;
        log_stand l;
        mrl_log_set_stats stats = {0};
        uint8_t prepared[2 * MRL_LOG_HEADER_SIZE];
        shelf_init(&s);
        log_stand_init(&l, &s);
        log_open_well(&l);
        for (int i = 0; stats.files_spare == 0; i++) {
            assert_true(i < 1000);
            log_put_durable(&l);
            log_step(&l);
            mrl_log_set_stat(l.set, &stats);
        }
        memcpy(prepared, file_of(&s, 2)->data, sizeof prepared);
        for (; stats.current_id == 1; mrl_log_set_stat(l.set, &stats)) log_put_durable(&l);
        log_kill(&l);
        memset(file_of(&s, 2)->data, 0, file_of(&s, 2)->size);
        memcpy(file_of(&s, 2)->data, prepared, sizeof prepared);
        assert_int_equal(reopen(&l), MERLE_OK);
        uint64_t count = l.given;
        assert_true(count > 0);
        /* Of another size and no room for it, or a disk that takes no header. */
        if (fault == 0) {
            l.options.file_size = 2 * FILE_SIZE;
            s.bytes_max = shelf_bytes(&s);
        }
        assert_int_equal(log_open(&l), MERLE_OK);
        if (fault == 1) s.fail_write_at = s.writes + 1;
        assert_int_not_equal(log_begin(&l), MERLE_OK);
        assert_int_equal(mrl_log_set_close(l.set, NULL), MERLE_OK);
        stand_fini(&l.s);
        s.bytes_max = s.fail_write_at = 0;
        log_open_well(&l);
        assert_true(l.given == count);
        log_close(&l);
        end(&s);
    }
}

/* What a checkpoint has taken over is used again by the opening itself. */
static void covered_files_are_used_again_by_an_opening(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    make(&l, &s, 1500);
    uint64_t bytes = shelf_bytes(&s);
    assert_int_equal(log_open(&l), MERLE_OK);
    uint64_t id = mrl_log_set_id_for(l.set, 1400);
    assert_int_equal(mrl_log_set_close(l.set, NULL), MERLE_OK);
    l.options.oldest_id = l.start.named_id = id;
    l.options.after_seq = l.start.covered_seq = 1400;
    log_open_well(&l);
    assert_true(l.given == 100 && shelf_bytes(&s) < bytes);
    log_close(&l);
    assert_int_equal(reopen(&l), MERLE_OK);
    end(&s);
}

/* A record larger than what is left of the current file: there is no next one yet. */
static void record_without_room_has_a_file_made(void **state) {
    (void)state;
    for (int wait = 0; wait < 2; wait++) {
        shelf s;
        log_stand l;
        uint64_t seq = 0;
        shelf_init(&s);
        log_stand_init(&l, &s);
        log_open_well(&l);
        for (int i = 0; i < 60; i++) {
            log_put_durable(&l);
            log_step(&l);
        }
        mrl_log_set_stats stats;
        mrl_log_set_stat(l.set, &stats);
        assert_true(stats.files_spare == 0 && stats.current_used > FILE_SIZE / 4);
        merle_err err = log_try(&l, l.s.member, 50000, 0, wait, &seq);
        if (!wait) {
            assert_int_equal(err, MERLE_BUSY);
            log_step(&l);
            err = log_try(&l, l.s.member, 50000, 0, 0, &seq);
        }
        assert_int_equal(err, MERLE_OK);
        assert_int_equal(mrl_log_set_sync(l.set, l.s.member, seq), MERLE_OK);
        log_close(&l);
        end(&s);
    }
}

/* ---- failing ---- */

static void failed_write_or_sync_is_final(void **state) {
    (void)state;
    for (int is_sync = 0; is_sync < 2; is_sync++) {
        shelf s;
        log_stand l;
        merle_report reason;
        uint64_t seq = 0;
        shelf_init(&s);
        log_stand_init(&l, &s);
        log_open_well(&l);
        for (int i = 0; i < 5; i++) log_put_durable(&l);
        if (is_sync)
            s.fail_sync_at = s.syncs + 1;
        else
            s.fail_write_at = s.writes + 1;
        assert_int_equal(mrl_log_wait_durable(l.s.log, l.s.member, log_put(&l)), MERLE_READ_ONLY);
        assert_int_equal(log_try(&l, l.s.member, 10, 1, 1, &seq), MERLE_READ_ONLY);
        uint32_t syncs = s.syncs, writes = s.writes;
        log_step(&l);
        mrl_log_failure_reason(l.s.log, &reason);
        assert_int_equal(reason.system_errno, EIO);
        assert_string_equal(reason.path, "log-0000000000000001");
        assert_int_equal(mrl_log_set_sync(l.set, l.s.member, 5), MERLE_OK);
        assert_int_equal(mrl_log_set_sync(l.set, l.s.member, 6), MERLE_READ_ONLY);
        assert_int_equal(mrl_log_set_close(l.set, l.s.member), MERLE_NOT_DURABLE);
        assert_true(s.syncs == syncs && s.writes == writes);
        stand_fini(&l.s);
        assert_true(s.handles == 0);
        assert_int_equal(reopen(&l), MERLE_OK);
        assert_true(l.given == (is_sync ? 6 : 5));
        end(&s);
    }
}

static void full_disk_refuses_before_anything_is_applied(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    uint64_t seq = 0, count = 0;
    merle_err err;
    shelf_init(&s);
    log_stand_init(&l, &s);
    log_open_well(&l);
    s.bytes_max = 2 * FILE_SIZE + 1000;
    for (;;) {
        uint64_t next = mrl_log_published_at(mrl_log_published(l.s.log)) + 1;
        err = log_try(&l, l.s.member, log_size_of(next), 0, 1, &seq);
        if (err != MERLE_OK) break;
        count++;
        log_step(&l);
    }
    assert_int_equal(err, MERLE_NO_SPACE);
    assert_int_equal(mrl_log_room_errno(l.s.log), ENOSPC);
    /* Two files are filled but for what may be on its way. */
    assert_true(count > 250);
    assert_int_equal(log_try(&l, l.s.member, 10, 0, 0, &seq), MERLE_NO_SPACE);
    assert_int_equal(mrl_log_set_sync(l.set, l.s.member, count), MERLE_OK);
    /* There is space again: it goes on by itself. */
    s.bytes_max = 0;
    uint64_t later = mrl_log_now_ns(l.set) + 200000000u;
    while (mrl_log_now_ns(l.set) < later) log_step(&l);
    for (int i = 0; i < 300; i++, count++) {
        log_put_durable(&l);
        log_step(&l);
    }
    log_close(&l);
    assert_int_equal(reopen(&l), MERLE_OK);
    assert_true(l.given == count);
    end(&s);
}

/* ---- every byte, every length ---- */

/* What opening gives after harm: right up to some seq that is at least `vouched`, or refused. */
static void judge(log_stand *l, uint64_t vouched, uint64_t count) {
    l->report.message[0] = 0;
    merle_err err = reopen(l);
    if (err == MERLE_OK) {
        assert_true(l->wrong == 0 && l->given <= count && l->last_seq >= vouched);
        return;
    }
    assert_int_equal(err, MERLE_CORRUPT);
    assert_true(l->report.message[0] != 0 && l->report.path[0] != 0);
}

/* Records 1 to 8 in three terms; 7 was durable when 8 was written. */
static void make_small(log_stand *l, shelf *s) {
    make(l, s, 3);
    log_open_well(l);
    for (int i = 0; i < 3; i++) log_put_durable(l);
    log_kill(l);
    log_open_well(l);
    log_put_durable(l);
    log_put_durable(l);
    log_kill(l);
}

static void every_byte_flipped_is_right_or_refused_or_cut(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    make_small(&l, &s);
    for (uint64_t id = 1; id <= 3; id++) {
        uint8_t *data = file_of(&s, id)->data;
        for (uint64_t at = 0; at < FILE_SIZE; at++) {
            /* The quiet parts of headers and files: one in many. */
            if (at > 200 && at < MRL_LOG_HEADER_SIZE && at % 97 != 0) continue;
            if (at > MRL_LOG_HEADER_SIZE + 200 && at < MRL_LOG_FRAMES_AT && at % 97 != 0) continue;
            if (at > MRL_LOG_FRAMES_AT + 2000 && at % 997 != 0) continue;
            data[at] ^= (uint8_t)(1u << at % 8);
            judge(&l, 7, 8);
            data[at] ^= (uint8_t)(1u << at % 8);
        }
    }
    end(&s);
}

static void every_length_is_right_or_refused_or_cut(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    make_small(&l, &s);
    for (uint64_t id = 1; id <= 3; id++) {
        shelf_file *file = file_of(&s, id);
        for (uint64_t size = 0; size < FILE_SIZE; size++) {
            if (size > MRL_LOG_FRAMES_AT + 2000 && size % 997 != 0) continue;
            if (size > 200 && size < MRL_LOG_FRAMES_AT - 200 && size % 97 != 0) continue;
            file->size = size;
            judge(&l, 7, 8);
        }
        file->size = FILE_SIZE;
    }
    end(&s);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_without_files_is_empty),
        cmocka_unit_test(log_closed_comes_back_whole),
        cmocka_unit_test(log_of_many_files_comes_back_whole),
        cmocka_unit_test(killed_process_loses_what_was_not_written),
        cmocka_unit_test(record_larger_than_all_credit_is_taken_alone),
        cmocka_unit_test(torn_end_is_cut_and_gone_on_from),
        cmocka_unit_test(hole_is_refused_by_a_mark),
        cmocka_unit_test(hole_is_refused_by_the_last_mark),
        cmocka_unit_test(hole_is_refused_by_a_later_file),
        cmocka_unit_test(hole_is_refused_by_a_later_term),
        cmocka_unit_test(hole_is_refused_by_the_manifest),
        cmocka_unit_test(missing_files_are_told),
        cmocka_unit_test(swapped_files_are_told),
        cmocka_unit_test(file_of_another_database_is_told),
        cmocka_unit_test(term_that_the_manifest_knows_must_be_there),
        cmocka_unit_test(newer_format_is_told),
        cmocka_unit_test(one_bad_header_copy_is_borne),
        cmocka_unit_test(file_torn_at_its_beginning_was_not_begun),
        cmocka_unit_test(released_files_are_used_again),
        cmocka_unit_test(files_are_kept_as_long_as_asked),
        cmocka_unit_test(empty_file_is_begun_again),
        cmocka_unit_test(torn_record_of_an_empty_file_stays_away),
        cmocka_unit_test(file_torn_while_it_is_begun_again_is_empty),
        cmocka_unit_test(file_that_ends_with_what_is_released_stays),
        cmocka_unit_test(prepared_file_that_follows_outlives_failed_openings),
        cmocka_unit_test(covered_files_are_used_again_by_an_opening),
        cmocka_unit_test(record_without_room_has_a_file_made),
        cmocka_unit_test(failed_write_or_sync_is_final),
        cmocka_unit_test(full_disk_refuses_before_anything_is_applied),
        cmocka_unit_test(every_byte_flipped_is_right_or_refused_or_cut),
        cmocka_unit_test(every_length_is_right_or_refused_or_cut),
    };
    seed_find(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
