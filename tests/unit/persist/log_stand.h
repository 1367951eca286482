/* tests/unit/persist/log_stand.h - a log with its files on a shelf, and commits that can be told
 * from one another.
 *
 * What    log_open opens the set, replays it and notes what came; log_begin starts it on a log;
 *         log_put commits a record with one operation whose document follows from its number;
 *         log_close and log_kill end it, cleanly or not.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_TESTS_UNIT_PERSIST_LOG_STAND_H
#define MRL_TESTS_UNIT_PERSIST_LOG_STAND_H

#include "base/report.h"
#include "persist/log_set.h"
#include "persist/log_state.h"
#include "tests/unit/log/stand.h"
#include "tests/unit/persist/shelf.h"

enum { FILE_SIZE = 64 << 10, RING_SIZE = 64 << 10 };

typedef struct log_stand {
    stand s;
    shelf *shelf;
    mrl_log_set *set;
    mrl_log_set_options options;
    mrl_log_start_options start;
    merle_report report;
    uint64_t last_seq;
    int64_t last_time_ns;
    uint64_t given; /* records that the replay gave */
    uint64_t wrong; /* not as they were written */
    uint64_t first_number;
} log_stand;

/* The document of a commit: its number, and bytes that follow from it. */
static inline size_t log_body(uint64_t number, size_t size, uint8_t *out) {
    uint8_t doc[70000], *slot_at;
    uint8_t *at = doc;
    mrl_random random;
    size_t filler = size > 60000 ? 60000 : size;
    *at++ = 0x81;
    *at++ = 0xa1;
    *at++ = 'n';
    *at++ = 0xc5;
    *at++ = (uint8_t)(filler >> 8);
    *at++ = (uint8_t)filler;
    mrl_random_init(&random, number);
    for (size_t i = 0; i < filler; i++) *at++ = (uint8_t)mrl_random_next(&random);
    uint8_t *end = mrl_record_begin(out, 0, merle_bytes_of(NULL, 0), 1);
    end =
        mrl_record_operation(end, 1, (uint32_t)number, merle_bytes_of(&number, sizeof number),
                             MRL_RECORD_PUT, merle_bytes_of(doc, (size_t)(at - doc)), 0, &slot_at);
    return (size_t)(end - out);
}

static inline size_t log_size_of(uint64_t number) {
    return 10 + number * 37 % 300;
}

/* Its number is its seq, unless the stand was told otherwise. */
static inline merle_err log_check(void *context, const mrl_frame *frame, merle_bytes body,
                                  merle_report *report) {
    log_stand *l = context;
    uint8_t expected[70000];
    (void)report;
    size_t size = log_body(frame->seq, log_size_of(frame->seq), expected);
    if (frame->seq != l->last_seq + 1 || body.size != size ||
        memcmp(body.data, expected, size) != 0)
        l->wrong++;
    l->last_seq = frame->seq;
    l->given++;
    return MERLE_OK;
}

static inline void log_stand_init(log_stand *l, shelf *on) {
    memset(l, 0, sizeof *l);
    l->shelf = on;
    l->options = (mrl_log_set_options){.files = &on->files,
                                       .dir = shelf_dir(on),
                                       .database_id = {7, 9},
                                       .file_size = FILE_SIZE,
                                       .seed = 5};
    l->start = (mrl_log_start_options){.unsynced_max = 16 << 10};
}

static inline merle_err log_open(log_stand *l) {
    uint64_t last = 0;
    l->given = l->wrong = 0;
    l->last_seq = l->options.after_seq;
    merle_err err = mrl_log_set_open(&l->options, &l->set, &l->report);
    if (err != MERLE_OK) return err;
    err = mrl_log_set_replay(l->set, l->options.after_seq, log_check, l, &last, &l->last_time_ns,
                             &l->report);
    if (err != MERLE_OK) {
        assert_int_equal(mrl_log_set_close(l->set, NULL), MERLE_OK);
        l->set = NULL;
        return err;
    }
    assert_true(last == l->last_seq);
    return MERLE_OK;
}

static inline merle_err log_begin(log_stand *l) {
    stand_init(&l->s, RING_SIZE, NULL);
    mrl_log_start(l->s.log, l->last_seq, l->last_time_ns);
    l->start.log = l->s.log;
    l->start.domain = l->s.domain;
    l->start.last_seq = l->last_seq;
    return mrl_log_set_start(l->set, &l->start, &l->report);
}

static inline void log_open_well(log_stand *l) {
    merle_err err = log_open(l);
    if (err == MERLE_OK) err = log_begin(l);
    if (err != MERLE_OK) printf("# %s\n", l->report.message);
    assert_int_equal(err, MERLE_OK);
    assert_true(l->wrong == 0);
}

/* Takes credit for and publishes the next record. loose: as ASYNC does. */
static inline merle_err log_try(log_stand *l, mrl_member *member, size_t size, int loose, int wait,
                                uint64_t *out_seq) {
    uint64_t next = mrl_log_published_at(mrl_log_published(l->s.log)) + 1;
    uint64_t bytes = mrl_entry_credit(size + 64);
    merle_err err = mrl_credit_take_loose(l->s.log, member, bytes, loose ? bytes : 0, wait);
    if (err != MERLE_OK) return err;
    mrl_entry *entry = mrl_entry_create(member, size + 64);
    entry->body_size = (uint32_t)log_body(next, size, entry->body);
    entry->body_crc = mrl_crc32c(0, entry->body, entry->body_size);
    entry->operation_count = 1;
    entry->loose = loose ? (uint32_t)bytes : 0;
    *out_seq = entry_publish(l->s.log, member, entry, bytes);
    return MERLE_OK;
}

static inline uint64_t log_put(log_stand *l) {
    uint64_t seq = 0;
    uint64_t next = mrl_log_published_at(mrl_log_published(l->s.log)) + 1;
    assert_int_equal(log_try(l, l->s.member, log_size_of(next), 0, 1, &seq), MERLE_OK);
    return seq;
}

static inline void log_put_many(log_stand *l, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) (void)log_put(l);
}

static inline void log_put_durable(log_stand *l) {
    assert_int_equal(mrl_log_wait_durable(l->s.log, l->s.member, log_put(l)), MERLE_OK);
}

static inline void log_step(log_stand *l) {
    (void)mrl_log_set_step(l->set, l->s.member, mrl_log_now_ns(l->set));
}

static inline void log_close(log_stand *l) {
    assert_int_equal(mrl_log_set_close(l->set, l->s.member), MERLE_OK);
    stand_fini(&l->s);
    assert_true(l->shelf->handles == 0);
}

/* As if the process had ended just now: what was written is there, nothing more is. */
static inline void log_kill(log_stand *l) {
    shelf copy;
    shelf_copy(&copy, l->shelf);
    (void)mrl_log_set_close(l->set, l->s.member);
    stand_fini(&l->s);
    for (int i = 0; i < SHELF_FILE_MAX; i++) {
        shelf_drop(&l->shelf->list[i]);
        l->shelf->list[i] = copy.list[i];
    }
    pthread_mutex_destroy(&copy.lock);
}

#endif
