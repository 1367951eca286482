/* tests/unit/wire/record_test.c - the coding of log records.
 *
 * Aim     What docs/format.md says is what is written and read: frames, bodies, each kind of
 *         operation; foreign bytes are refused with MERLE_CORRUPT and never read beyond their end.
 * Method  One record is compared with bytes written down by hand. Random records are read back by
 *         our own reader and by msgpack-c, which knows nothing of merle. Damaged bytes lie in
 *         blocks of exactly their size, so that the address sanitizer sees a read beyond them.
 * Blind   It does not see damage that a checksum has to find; that is the frame's matter, and log
 *         files'.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "wire/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <msgpack.h>

#include "base/crc32c.h"
#include "base/hash.h"

static uint64_t seed;
static uint64_t random_state;

static uint64_t random_u64(void) {
    random_state += 0x9e3779b97f4a7c15u;
    return mrl_mix_u64(random_state);
}

static uint64_t random_below(uint64_t limit) {
    return random_u64() % limit;
}

static void seed_begin(void) {
    random_state = seed;
}

static merle_bytes none(void) {
    return merle_bytes_of(NULL, 0);
}

/* A copy in a block of exactly its size; free it. */
static uint8_t *exact_copy(const void *data, size_t size) {
    uint8_t *copy = (uint8_t *)malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    if (size > 0) memcpy(copy, data, size);
    return copy;
}

/* Reads a whole body; returns the first answer that is not MERLE_OK. */
static merle_err read_all(const void *data, size_t size, uint32_t *out_count) {
    mrl_record_reader reader;
    mrl_record_operation_view view;
    *out_count = 0;
    merle_err err = mrl_record_read_begin(merle_bytes_of(data, size), &reader);
    while (err == MERLE_OK) {
        err = mrl_record_read_next(&reader, &view);
        if (err == MERLE_OK) (*out_count)++;
    }
    return err;
}

static merle_err read_all_of_exact_copy(const void *data, size_t size) {
    uint32_t count;
    uint8_t *copy = exact_copy(data, size);
    merle_err err = read_all(copy, size, &count);
    free(copy);
    return err;
}

/* ---- frames ---- */

static const mrl_frame SAMPLE_FRAME = {77, 0xdeadbeef, 0x0123456789abcdefu, -5, 3};

static void frame_written_reads_back_the_same(void **state) {
    (void)state;
    uint8_t header[MRL_FRAME_HEADER_SIZE];
    mrl_frame frame;
    mrl_frame_write(header, &SAMPLE_FRAME, 12345);
    assert_int_equal(mrl_frame_read(header, 12345, &frame), MERLE_OK);
    assert_int_equal(frame.length, SAMPLE_FRAME.length);
    assert_int_equal(frame.body_crc, SAMPLE_FRAME.body_crc);
    assert_true(frame.seq == SAMPLE_FRAME.seq);
    assert_true(frame.time_ns == SAMPLE_FRAME.time_ns);
    assert_int_equal(frame.flags, SAMPLE_FRAME.flags);
}

static void frame_known_numbers_have_known_bytes(void **state) {
    (void)state;
    static const uint8_t expected[28] = {77,   0,    0,    0,    0xef, 0xbe, 0xad, 0xde, 0xef, 0xcd,
                                         0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 0xfb, 0xff, 0xff, 0xff,
                                         0xff, 0xff, 0xff, 0xff, 3,    0,    0,    0};
    uint8_t header[MRL_FRAME_HEADER_SIZE];
    mrl_frame_write(header, &SAMPLE_FRAME, 0);
    assert_memory_equal(header, expected, sizeof expected);
    uint32_t crc = mrl_crc32c(0, expected, sizeof expected);
    for (int i = 0; i < 4; i++) assert_int_equal(header[28 + i], (crc >> (8 * i)) & 0xff);
}

static void frame_any_bit_flipped_is_corrupt(void **state) {
    (void)state;
    uint8_t header[MRL_FRAME_HEADER_SIZE];
    mrl_frame frame;
    mrl_frame_write(header, &SAMPLE_FRAME, 9);
    for (int bit = 0; bit < 8 * MRL_FRAME_HEADER_SIZE; bit++) {
        header[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(mrl_frame_read(header, 9, &frame), MERLE_CORRUPT);
        assert_true(frame.seq == 0 && frame.length == 0);
        header[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

static void frame_other_seed_is_corrupt(void **state) {
    (void)state;
    uint8_t header[MRL_FRAME_HEADER_SIZE];
    mrl_frame frame;
    mrl_frame_write(header, &SAMPLE_FRAME, 1);
    assert_int_equal(mrl_frame_read(header, 2, &frame), MERLE_CORRUPT);
}

/* ---- known bytes ---- */

/* The record of docs/format.md, "An example in full". */
static const uint8_t EXAMPLE[] = {
    0x93, 0x00,                               /* three parts; origin: the application */
    0xc4, 0x03, 'o',  'p',  's',              /* the application's bytes */
    0x92,                                     /* two operations */
    0x96, 0x07, 0xce, 0x00, 0x00, 0x00, 0x05, /* collection 7, slot 5 */
    0xc4, 0x03, 'p',  '1',  '7',              /* key */
    0x01, 0x81, 0xa4, 'g',  'o',  'l',  'd',  /* PUT {"gold": 3} */
    0x03, 0xd3, 0x00, 0x00, 0x00, 0x00, 0x3b, /* expires at 1,000,000,000 ns */
    0x9a, 0xca, 0x00,                         /* (the rest of the time) */
    0x96, 0xcd, 0x01, 0x2c, 0xce, 0xff, 0xff, /* collection 300, slot 4294967295 */
    0xff, 0xff, 0xc4, 0x01, 'x',  0x03, 0xc0, /* key, REMOVE, nil */
    0xc0                                      /* never expires */
};

static size_t example_write(uint8_t *begin) {
    static const uint8_t document[] = {0x81, 0xa4, 'g', 'o', 'l', 'd', 0x03};
    uint8_t *slot_at;
    uint8_t *at = mrl_record_begin(begin, 0, MERLE_STR("ops"), 2);
    at = mrl_record_operation(at, 7, 0, MERLE_STR("p17"), MRL_RECORD_PUT,
                              merle_bytes_of(document, sizeof document), 1000000000, &slot_at);
    mrl_record_slot_set(slot_at, 5);
    at = mrl_record_operation(at, 300, UINT32_MAX, MERLE_STR("x"), MRL_RECORD_REMOVE, none(), 0,
                              &slot_at);
    return (size_t)(at - begin);
}

static void record_example_has_known_bytes(void **state) {
    (void)state;
    uint8_t body[256];
    assert_int_equal(example_write(body), sizeof EXAMPLE);
    assert_memory_equal(body, EXAMPLE, sizeof EXAMPLE);
}

static void record_example_reads_back_the_same(void **state) {
    (void)state;
    mrl_record_reader reader;
    mrl_record_operation_view view;
    assert_int_equal(mrl_record_read_begin(merle_bytes_of(EXAMPLE, sizeof EXAMPLE), &reader),
                     MERLE_OK);
    assert_int_equal(reader.origin, 0);
    assert_int_equal(reader.app.size, 3);
    assert_memory_equal(reader.app.data, "ops", 3);
    assert_int_equal(reader.operation_count, 2);
    assert_int_equal(mrl_record_read_next(&reader, &view), MERLE_OK);
    assert_int_equal(view.collection_id, 7);
    assert_int_equal(view.slot, 5);
    assert_int_equal(view.kind, MRL_RECORD_PUT);
    assert_int_equal(view.key.size, 3);
    assert_memory_equal(view.key.data, "p17", 3);
    assert_int_equal(view.payload.size, 7);
    assert_true(view.expires_ns == 1000000000);
    assert_int_equal(mrl_record_read_next(&reader, &view), MERLE_OK);
    assert_int_equal(view.collection_id, 300);
    assert_true(view.slot == UINT32_MAX);
    assert_int_equal(view.kind, MRL_RECORD_REMOVE);
    assert_int_equal(view.payload.size, 0);
    assert_true(view.expires_ns == 0);
    assert_int_equal(mrl_record_read_next(&reader, &view), MERLE_NOT_FOUND);
    assert_int_equal(view.kind, 0);
    assert_int_equal(mrl_record_read_next(&reader, &view), MERLE_NOT_FOUND);
}

/* ---- random records, read by two readers ---- */

enum { CASE_COUNT = 3000, OPERATION_COUNT_MAX = 40, BODY_SIZE_MAX = 1 << 18 };

typedef struct sample {
    uint32_t collection_id, slot;
    mrl_record_kind kind;
    uint8_t key[MERLE_KEY_SIZE_MAX];
    size_t key_size;
    uint8_t payload[2048];
    size_t payload_size;
    int64_t expires_ns;
    uint8_t is_new, was_due;
} sample;

static uint32_t random_u32_of_any_size(void) {
    return (uint32_t)(random_u64() >> (32 + random_below(32)));
}

/* A map or an array around a binary of random bytes; payloads are not looked into here. */
static size_t random_container(uint8_t *out, uint8_t head) {
    size_t at = 0, size = random_below(2) ? random_below(40) : random_below(2000);
    out[at++] = head;
    if (head == 0x81) out[at++] = (uint8_t)random_below(128);
    out[at++] = 0xc5;
    out[at++] = (uint8_t)(size >> 8);
    out[at++] = (uint8_t)size;
    for (size_t i = 0; i < size; i++) out[at++] = (uint8_t)random_u64();
    return at;
}

static void random_sample(sample *out) {
    memset(out, 0, sizeof *out);
    out->collection_id = random_u32_of_any_size();
    out->slot = random_u32_of_any_size();
    out->kind = (mrl_record_kind)(1 + random_below(7));
    if (out->kind <= MRL_RECORD_REMOVE) {
        out->key_size = 1 + (random_below(4) ? random_below(30) : random_below(MERLE_KEY_SIZE_MAX));
        for (size_t i = 0; i < out->key_size; i++) out->key[i] = (uint8_t)random_u64();
    }
    if (out->kind == MRL_RECORD_PUT || out->kind == MRL_RECORD_DEFINE)
        out->payload_size = random_container(out->payload, 0x81);
    else if (out->kind == MRL_RECORD_PATCH)
        out->payload_size = random_container(out->payload, 0x91);
    else if (out->kind == MRL_RECORD_SEQUENCE)
        out->payload[out->payload_size++] = (uint8_t)random_below(128);
    if (random_below(2)) out->expires_ns = (int64_t)random_u64();
    if (out->kind == MRL_RECORD_PUT) out->is_new = random_below(2) != 0;
    if (out->is_new || out->kind == MRL_RECORD_REMOVE) out->was_due = random_below(2) != 0;
}

static size_t samples_write(uint8_t *begin, const sample *samples, uint32_t count, uint32_t origin,
                            merle_bytes app) {
    uint8_t *at = mrl_record_begin(begin, origin, app, count);
    uint8_t *slot_at;
    assert_true((size_t)(at - begin) <= mrl_record_begin_size(app.size));
    for (uint32_t i = 0; i < count; i++) {
        const sample *s = &samples[i];
        uint8_t *before = at;
        uint32_t first_slot = random_below(2) ? s->slot : (uint32_t)random_u64();
        const mrl_record_operation_view operation = {
            .collection_id = s->collection_id,
            .slot = first_slot,
            .kind = s->kind,
            .key = merle_bytes_of(s->key, s->key_size),
            .payload = merle_bytes_of(s->payload, s->payload_size),
            .expires_ns = s->expires_ns,
            .is_new = s->is_new,
            .was_due = s->was_due};
        at = mrl_record_operation_of(at, &operation, &slot_at);
        mrl_record_slot_set(slot_at, s->slot);
        assert_true((size_t)(at - before) <=
                    mrl_record_operation_size(s->key_size, s->payload_size));
    }
    return (size_t)(at - begin);
}

static void check_with_own_reader(const uint8_t *body, size_t size, const sample *samples,
                                  uint32_t count, uint32_t origin, merle_bytes app) {
    mrl_record_reader reader;
    mrl_record_operation_view view;
    assert_int_equal(mrl_record_read_begin(merle_bytes_of(body, size), &reader), MERLE_OK);
    assert_int_equal(reader.operation_count, count);
    assert_int_equal(reader.origin, origin);
    assert_int_equal(reader.app.size, app.size);
    if (app.size > 0) assert_memory_equal(reader.app.data, app.data, app.size);
    for (uint32_t i = 0; i < count; i++) {
        const sample *s = &samples[i];
        const uint8_t *begin = reader.at;
        assert_int_equal(mrl_record_read_next(&reader, &view), MERLE_OK);
        assert_true(view.bytes.data == begin && begin + view.bytes.size == reader.at);
        assert_int_equal(view.is_new, s->is_new);
        assert_int_equal(view.was_due, s->was_due);
        assert_int_equal(view.collection_id, s->collection_id);
        assert_int_equal(view.slot, s->slot);
        assert_int_equal(view.kind, s->kind);
        assert_int_equal(view.key.size, s->key_size);
        if (s->key_size > 0) assert_memory_equal(view.key.data, s->key, s->key_size);
        assert_int_equal(view.payload.size, s->payload_size);
        if (s->payload_size > 0)
            assert_memory_equal(view.payload.data, s->payload, s->payload_size);
        assert_true(view.expires_ns == s->expires_ns);
    }
    assert_int_equal(mrl_record_read_next(&reader, &view), MERLE_NOT_FOUND);
}

static void check_operation_with_msgpack(const msgpack_object *object, const sample *s) {
    assert_int_equal(object->type, MSGPACK_OBJECT_ARRAY);
    assert_int_equal(object->via.array.size, 6);
    const msgpack_object *part = object->via.array.ptr;
    assert_int_equal(part[0].type, MSGPACK_OBJECT_POSITIVE_INTEGER);
    assert_true(part[0].via.u64 == s->collection_id);
    assert_int_equal(part[1].type, MSGPACK_OBJECT_POSITIVE_INTEGER);
    assert_true(part[1].via.u64 == s->slot);
    assert_int_equal(part[2].type, s->key_size > 0 ? MSGPACK_OBJECT_BIN : MSGPACK_OBJECT_NIL);
    if (s->key_size > 0) {
        assert_int_equal(part[2].via.bin.size, s->key_size);
        assert_memory_equal(part[2].via.bin.ptr, s->key, s->key_size);
    }
    assert_true(part[3].via.u64 == (s->kind == MRL_RECORD_PUT && s->is_new ? s->was_due ? 11u : 9u
                                    : s->was_due                           ? 10u
                                                                           : s->kind));
    assert_int_equal(part[4].type == MSGPACK_OBJECT_NIL, s->payload_size == 0);
    if (s->expires_ns == 0)
        assert_int_equal(part[5].type, MSGPACK_OBJECT_NIL);
    else
        assert_true(part[5].via.i64 == s->expires_ns);
}

static void check_with_msgpack(const uint8_t *body, size_t size, const sample *samples,
                               uint32_t count, uint32_t origin) {
    msgpack_unpacked result;
    size_t offset = 0;
    msgpack_unpacked_init(&result);
    assert_int_equal(msgpack_unpack_next(&result, (const char *)body, size, &offset),
                     MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(offset, size);
    assert_int_equal(result.data.type, MSGPACK_OBJECT_ARRAY);
    assert_int_equal(result.data.via.array.size, 3);
    const msgpack_object *part = result.data.via.array.ptr;
    assert_true(part[0].via.u64 == origin);
    assert_int_equal(part[2].type, MSGPACK_OBJECT_ARRAY);
    assert_int_equal(part[2].via.array.size, count);
    for (uint32_t i = 0; i < count; i++)
        check_operation_with_msgpack(&part[2].via.array.ptr[i], &samples[i]);
    msgpack_unpacked_destroy(&result);
}

static void record_random_is_read_the_same_by_two_readers(void **state) {
    (void)state;
    seed_begin();
    sample *samples = (sample *)calloc(OPERATION_COUNT_MAX, sizeof *samples);
    uint8_t *body = (uint8_t *)malloc(BODY_SIZE_MAX);
    assert_true(samples != NULL && body != NULL);
    for (int i = 0; i < CASE_COUNT; i++) {
        uint8_t app_bytes[MERLE_ORIGIN_SIZE_MAX];
        uint32_t count =
            (uint32_t)(random_below(8) ? random_below(4) : random_below(OPERATION_COUNT_MAX));
        uint32_t origin = random_u32_of_any_size();
        merle_bytes app = {app_bytes, random_below(sizeof app_bytes + 1)};
        for (size_t k = 0; k < sizeof app_bytes; k++) app_bytes[k] = (uint8_t)random_u64();
        for (uint32_t k = 0; k < count; k++) random_sample(&samples[k]);
        size_t size = samples_write(body, samples, count, origin, app);
        uint8_t *copy = exact_copy(body, size);
        check_with_own_reader(copy, size, samples, count, origin, app);
        check_with_msgpack(copy, size, samples, count, origin);
        free(copy);
    }
    free(body);
    free(samples);
}

/* ---- foreign bytes ---- */

static void body_cut_anywhere_is_corrupt(void **state) {
    (void)state;
    for (size_t size = 0; size < sizeof EXAMPLE; size++)
        assert_int_equal(read_all_of_exact_copy(EXAMPLE, size), MERLE_CORRUPT);
    assert_int_equal(read_all_of_exact_copy(EXAMPLE, sizeof EXAMPLE), MERLE_NOT_FOUND);
}

static void body_with_bytes_behind_is_corrupt(void **state) {
    (void)state;
    uint8_t longer[sizeof EXAMPLE + 1];
    memcpy(longer, EXAMPLE, sizeof EXAMPLE);
    longer[sizeof EXAMPLE] = 0xc0;
    assert_int_equal(read_all_of_exact_copy(longer, sizeof longer), MERLE_CORRUPT);
}

static void body_damaged_at_random_is_read_within_its_bytes(void **state) {
    (void)state;
    uint8_t body[sizeof EXAMPLE];
    uint32_t corrupt = 0;
    seed_begin();
    for (int i = 0; i < 100000; i++) {
        memcpy(body, EXAMPLE, sizeof body);
        for (uint64_t k = random_below(3) + 1; k > 0; k--)
            body[random_below(sizeof body)] = (uint8_t)random_u64();
        merle_err err =
            read_all_of_exact_copy(body, random_below(4) ? sizeof body : random_below(sizeof body));
        assert_true(err == MERLE_NOT_FOUND || err == MERLE_CORRUPT);
        corrupt += err == MERLE_CORRUPT;
    }
    assert_true(corrupt > 10000);
}

/* One operation between a fixed beginning and end; returns what reading says. */
static merle_err read_operation(const char *bytes, size_t size) {
    uint8_t body[256] = {0x93, 0x00, 0xc0, 0x91};
    memcpy(body + 4, bytes, size);
    return read_all_of_exact_copy(body, 4 + size);
}
#define READ_OPERATION(text) read_operation(text, sizeof(text) - 1)

static void operation_of_each_kind_with_its_payload_is_read(void **state) {
    (void)state;
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x01\x80\xc0"), MERLE_NOT_FOUND);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x02\x90\xc0"), MERLE_NOT_FOUND);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x03\xc0\xc0"), MERLE_NOT_FOUND);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc0\x04\x80\xc0"), MERLE_NOT_FOUND);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc0\x05\xc0\xc0"), MERLE_NOT_FOUND);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc0\x06\xc0\xc0"), MERLE_NOT_FOUND);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc0\x07\x05\xc0"), MERLE_NOT_FOUND);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc0\x08\xc0\xc0"), MERLE_NOT_FOUND);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x09\x80\xc0"), MERLE_NOT_FOUND);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x0a\xc0\xc0"), MERLE_NOT_FOUND);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x0b\x80\xc0"), MERLE_NOT_FOUND);
}

static void operation_with_wrong_parts_is_corrupt(void **state) {
    (void)state;
    /* Unknown kinds. */
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x00\x80\xc0"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc0\x0c\xc0\xc0"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x0c\x80\xc0"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc0\xce\x00\x01\x00\x06\xc0\xc0"), MERLE_CORRUPT);
    /* Payloads of another type. */
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x01\x90\xc0"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x01\xc0\xc0"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x02\x80\xc0"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x03\x80\xc0"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x09\xc0\xc0"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x0a\x80\xc0"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x0b\x90\xc0"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc0\x04\xc0\xc0"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc0\x05\x80\xc0"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc0\x07\xff\xc0"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc0\x07\xc0\xc0"), MERLE_CORRUPT);
    /* Keys where there are none, none where there is one, an empty one, a string. */
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x06\xc0\xc0"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc0\x01\x80\xc0"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x00\x05\xc0\xc0"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xa1k\x01\x80\xc0"), MERLE_CORRUPT);
    /* Numbers out of range, another count of parts, another type of expiry. */
    assert_int_equal(READ_OPERATION("\x96\xff\x02\xc4\x01k\x01\x80\xc0"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xc0\x05\xc0\xc0"),
                     MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x95\x01\x02\xc4\x01k\x01\x80"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x01\x80\xc2"), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc0\x05\xc0\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
                     MERLE_CORRUPT);
}

static void operation_with_integers_of_any_width_is_read(void **state) {
    (void)state;
    mrl_record_reader reader;
    mrl_record_operation_view view;
    static const uint8_t body[] = {0x93, 0xcc, 0x01, 0xc0, 0xdc, 0x00, 0x01, 0xdd, 0x00, 0x00,
                                   0x00, 0x06, 0xcf, 0,    0,    0,    0,    0,    0,    0,
                                   9,    0xd1, 0x01, 0x00, 0xc0, 0xd3, 0,    0,    0,    0,
                                   0,    0,    0,    5,    0xc0, 0xd0, 0xfe};
    assert_int_equal(mrl_record_read_begin(merle_bytes_of(body, sizeof body), &reader), MERLE_OK);
    assert_int_equal(reader.origin, 1);
    assert_int_equal(mrl_record_read_next(&reader, &view), MERLE_OK);
    assert_int_equal(view.collection_id, 9);
    assert_int_equal(view.slot, 256);
    assert_int_equal(view.kind, MRL_RECORD_TRUNCATE);
    assert_true(view.expires_ns == -2);
    assert_int_equal(mrl_record_read_next(&reader, &view), MERLE_NOT_FOUND);
}

static void body_that_claims_more_than_it_has_is_corrupt(void **state) {
    (void)state;
    static const uint8_t operations[] = {0x93, 0x00, 0xc0, 0xdd, 0xff, 0xff, 0xff, 0xff};
    assert_int_equal(read_all_of_exact_copy(operations, sizeof operations), MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x01\xdf\xff\xff\xff\xff\xc0"),
                     MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x01\x81\xa1z\xdb\xff\xff\xff\xff\xc0"),
                     MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc6\xff\xff\xff\xffk\x01\x80\xc0"),
                     MERLE_CORRUPT);
    assert_int_equal(READ_OPERATION("\x96\x01\x02\xc4\x01k\x01\x81\xa1z\xc1\xc0"), MERLE_CORRUPT);
}

static void payload_of_every_msgpack_form_is_stepped_over(void **state) {
    (void)state;
    /* A patch: an array of 34 values, one of each form that there is. */
    static const char forms[] =
        "\x02\xdc\x00\x22"
        "\x01\xff\x80\x90\xa1z\xc0\xc2\xc3"
        "\xc4\x01z\xc5\x00\x01z\xc6\x00\x00\x00\x01z"
        "\xc7\x01\x05z\xc8\x00\x01\x05z\xc9\x00\x00\x00\x01\x05z"
        "\xca\x01\x02\x03\x04\xcb\x01\x02\x03\x04\x05\x06\x07\x08"
        "\xcc\x01\xcd\x01\x02\xce\x01\x02\x03\x04\xcf\x01\x02\x03\x04\x05\x06\x07\x08"
        "\xd0\x01\xd1\x01\x02\xd2\x01\x02\x03\x04\xd3\x01\x02\x03\x04\x05\x06\x07\x08"
        "\xd4\x01\x02\xd5\x01\x02\x03\xd6\x01\x02\x03\x04\x05"
        "\xd9\x01z\xda\x00\x01z\xdb\x00\x00\x00\x01z"
        "\xdc\x00\x01\x01\xdd\x00\x00\x00\x01\x01\xde\x00\x01\x01\x02\xdf\x00\x00\x00\x01\x01\x02"
        "\xc0";
    char operation[200] = "\x96\x01\x02\xc4\x01k";
    memcpy(operation + 6, forms, sizeof forms - 1);
    assert_int_equal(read_operation(operation, 6 + sizeof forms - 1), MERLE_NOT_FOUND);
    operation[6 + 3]++;
    assert_int_equal(read_operation(operation, 6 + sizeof forms - 1), MERLE_CORRUPT);
}

static void payload_of_great_depth_is_stepped_over(void **state) {
    (void)state;
    enum { DEPTH = 1000000 };
    static const uint8_t begin[] = {0x93, 0x00, 0xc0, 0x91, 0x96, 0x01,
                                    0x02, 0xc4, 0x01, 'k',  0x02};
    size_t size = sizeof begin + DEPTH + 2;
    uint8_t *body = (uint8_t *)malloc(size);
    uint32_t count;
    assert_non_null(body);
    memcpy(body, begin, sizeof begin);
    memset(body + sizeof begin, 0x91, DEPTH);
    body[size - 2] = 0x01;
    body[size - 1] = 0xc0;
    assert_int_equal(read_all(body, size, &count), MERLE_NOT_FOUND);
    assert_int_equal(count, 1);
    free(body);
}

static void seed_find(int argc, char **argv) {
    const char *text = getenv("MERLE_TEST_SEED");
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "--seed=", 7) == 0) text = argv[i] + 7;
    seed = text != NULL ? strtoull(text, NULL, 0) : 1;
    printf("# seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
}

int main(int argc, char **argv) {
    seed_find(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_written_reads_back_the_same),
        cmocka_unit_test(frame_known_numbers_have_known_bytes),
        cmocka_unit_test(frame_any_bit_flipped_is_corrupt),
        cmocka_unit_test(frame_other_seed_is_corrupt),
        cmocka_unit_test(record_example_has_known_bytes),
        cmocka_unit_test(record_example_reads_back_the_same),
        cmocka_unit_test(record_random_is_read_the_same_by_two_readers),
        cmocka_unit_test(body_cut_anywhere_is_corrupt),
        cmocka_unit_test(body_with_bytes_behind_is_corrupt),
        cmocka_unit_test(body_damaged_at_random_is_read_within_its_bytes),
        cmocka_unit_test(operation_of_each_kind_with_its_payload_is_read),
        cmocka_unit_test(operation_with_wrong_parts_is_corrupt),
        cmocka_unit_test(operation_with_integers_of_any_width_is_read),
        cmocka_unit_test(body_that_claims_more_than_it_has_is_corrupt),
        cmocka_unit_test(payload_of_every_msgpack_form_is_stepped_over),
        cmocka_unit_test(payload_of_great_depth_is_stepped_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
