/* tests/fuzz/log_file_fuzz.c - fuzzes the reader of log files.
 *
 * Aim     Whatever the bytes are, opening and replaying a log stays within them, ends, and answers
 *         MERLE_OK or MERLE_CORRUPT (or that the format is newer); what is given was written: its
 *         checksums are right, and seqs follow one another.
 * Method  The input is a script of changes to a small log of two files and two terms: where (three
 *         bytes) and what (one byte) is written over it. In addition the input itself is read as a
 *         header and as frames.
 * Blind   Checksums that were forged: the seeds of real files are random.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "persist/log_file.h"
#include "persist/log_set.h"
#include "tests/fuzz/driver.h"
#include "tests/unit/persist/shelf.h"

enum { FILE_SIZE = 64 << 10, SEED = 77, RECORDS = 6 };

/* One file: header copies, a mark, three records. */
static void write_file(uint8_t *out, uint64_t id, uint64_t first_seq) {
    mrl_log_header header = {.state = MRL_LOG_BEGUN,
                             .seed = SEED,
                             .database_id = {1, 2},
                             .id = id,
                             .term = id,
                             .term_id = 40 + id,
                             .first_seq = first_seq,
                             .accepted_seq = first_seq - 1,
                             .vouched_seq = first_seq - 1,
                             .file_size = FILE_SIZE};
    mrl_log_header_write(out, &header);
    mrl_log_header_write(out + MRL_LOG_HEADER_SIZE, &header);
    uint8_t *at = out + MRL_LOG_FRAMES_AT;
    mrl_frame mark = {.seq = first_seq - 1, .flags = MRL_FRAME_MARK};
    mrl_frame_write(at, &mark, SEED);
    at += MRL_FRAME_HEADER_SIZE;
    for (uint64_t seq = first_seq; seq < first_seq + RECORDS / 2; seq++) {
        uint8_t *body = at + MRL_FRAME_HEADER_SIZE;
        memset(body, (int)seq, 40);
        mrl_frame frame = {.length = 40, .body_crc = mrl_crc32c(0, body, 40), .seq = seq};
        mrl_frame_write(at, &frame, SEED);
        at += mrl_log_frame_size(40);
    }
}

static merle_err take(void *context, const mrl_frame *frame, merle_bytes body,
                      merle_report *report) {
    uint64_t *last = context;
    const uint8_t *bytes = body.data;
    (void)report;
    MRL_ASSERT(frame->seq == ++*last);
    MRL_ASSERT(mrl_crc32c(0, body.data, body.size) == frame->body_crc);
    /* The records of the log are known. */
    for (size_t i = 0; i < body.size; i++) MRL_ASSERT(bytes[i] == (uint8_t)frame->seq);
    return MERLE_OK;
}

static void read_log(shelf *s) {
    mrl_log_set_options options = {
        .files = &s->files, .dir = shelf_dir(s), .database_id = {1, 2}, .seed = 1};
    mrl_log_set *set;
    merle_report report;
    uint64_t given = 0, last;
    int64_t time_ns;
    merle_err err = mrl_log_set_open(&options, &set, &report);
    if (err == MERLE_OK) {
        err = mrl_log_set_replay(set, 0, take, &given, &last, &time_ns, &report);
        MRL_ASSERT(err != MERLE_OK || last == given);
        (void)mrl_log_set_close(set, NULL);
    }
    MRL_ASSERT(err == MERLE_OK || err == MERLE_CORRUPT || err == MERLE_UNSUPPORTED);
    MRL_ASSERT(s->handles == 0);
}

static void change(shelf *s, const uint8_t *data, size_t size) {
    for (; size >= 4; data += 4, size -= 4) {
        uint32_t at = (uint32_t)data[0] << 16 | (uint32_t)data[1] << 8 | data[2];
        shelf_file *file = &s->list[at >> 23];
        at &= 0x7fffff;
        /* Mostly where something stands. */
        at = at % 4 == 0 ? at % FILE_SIZE
                         : (at % 2 == 0 ? MRL_LOG_FRAMES_AT + at % 300
                                        : at % 100 + (at & 64) / 64 * MRL_LOG_HEADER_SIZE);
        if (at < file->size) file->data[at] = data[3];
    }
    if (size == 3) s->list[data[0] & 1].size = ((uint64_t)data[1] << 8 | data[2]) % FILE_SIZE;
}

static void read_as_bytes(shelf *s, const uint8_t *data, size_t size) {
    uint8_t block[MRL_LOG_HEADER_SIZE] = {0};
    mrl_log_header header;
    mrl_log_scan scan;
    mrl_frame frame;
    merle_bytes body;
    mrl_file *file;
    uint32_t version;
    uint64_t at;
    memcpy(block, data, size < sizeof block ? size : sizeof block);
    merle_err err = mrl_log_header_read(block, &header, &version);
    MRL_ASSERT(err == MERLE_OK || err == MERLE_CORRUPT || err == MERLE_UNSUPPORTED);
    shelf_file *first = &s->list[0];
    if (size > first->size) size = first->size;
    if (size > 0) memcpy(first->data, data, size);
    MRL_ASSERT(shelf_open(shelf_dir(s), first->name, MRL_FILE_READ, &file) == 0);
    mrl_log_scan_begin(&scan, &s->files, file, SEED, size);
    scan.offset = 0;
    while (mrl_log_scan_next(&scan, &frame, &body) == MERLE_OK)
        MRL_ASSERT(scan.offset <= size + 7 && body.size <= size);
    err = mrl_log_scan_vouches(&scan, 1, &at);
    MRL_ASSERT(err == MERLE_NOT_FOUND || (err == MERLE_OK && at < size));
    mrl_log_scan_end(&scan);
    shelf_close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    shelf s;
    shelf_init(&s);
    for (uint64_t id = 1; id <= 2; id++) {
        shelf_file *file = &s.list[id - 1];
        file->is_there = 1;
        file->size = FILE_SIZE;
        file->data = calloc(1, FILE_SIZE);
        mrl_log_name(file->name, id);
        if (file->data == NULL) abort();
        write_file(file->data, id, 1 + (id - 1) * RECORDS / 2);
    }
    change(&s, data, size);
    read_log(&s);
    read_as_bytes(&s, data, size);
    shelf_fini(&s);
    return 0;
}

void fuzz_corpus(fuzz_add_fn *add) {
    static uint8_t file[FILE_SIZE];
    static const uint8_t script[] = {0, 32, 8, 1, 0x80, 32, 70, 2, 0, 0, 9, 5, 0x80, 16, 40, 255};
    write_file(file, 1, 1);
    add(file, 200);
    add(file + MRL_LOG_FRAMES_AT, 300);
    add(script, sizeof script);
    add(script, 7);
}
