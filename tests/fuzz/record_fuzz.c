/* tests/fuzz/record_fuzz.c - fuzzes the reader of log records.
 *
 * Aim     Whatever the bytes are, reading stays within them, ends, and answers MERLE_OK,
 *         MERLE_NOT_FOUND or MERLE_CORRUPT; what was read without an error can be written again and
 *         reads the same.
 * Method  The input is a body; where it has 32 bytes, its beginning is taken for a frame header as
 *         well.
 * Blind   It does not look into payloads: documents, effects and definitions have readers of their
 *         own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "wire/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int bytes_are_equal(merle_bytes a, merle_bytes b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static void check_view(const mrl_record_operation_view *view, const uint8_t *data, size_t size) {
    const uint8_t *payload = (const uint8_t *)view->payload.data;
    const uint8_t *key = (const uint8_t *)view->key.data;
    if (view->payload.size > 0)
        MRL_ASSERT(payload >= data && payload + view->payload.size <= data + size);
    if (view->key.size > 0) MRL_ASSERT(key >= data && key + view->key.size <= data + size);
    MRL_ASSERT(view->key.size <= MERLE_KEY_SIZE_MAX);
    MRL_ASSERT(view->kind >= MRL_RECORD_PUT && view->kind <= MRL_RECORD_LOADED);
    MRL_ASSERT(!view->is_new || view->kind == MRL_RECORD_PUT);
    MRL_ASSERT(!view->was_due || view->is_new || view->kind == MRL_RECORD_REMOVE);
    const uint8_t *bytes = (const uint8_t *)view->bytes.data;
    MRL_ASSERT(bytes > data && bytes + view->bytes.size <= data + size);
}

/* Writes one operation as a record of its own and reads it back. */
static void check_again(const mrl_record_operation_view *view) {
    mrl_record_reader reader;
    mrl_record_operation_view again;
    merle_bytes none = {NULL, 0};
    size_t room =
        mrl_record_begin_size(0) + mrl_record_operation_size(view->key.size, view->payload.size);
    uint8_t *body = (uint8_t *)malloc(room);
    uint8_t *slot_at;
    if (body == NULL) return;
    uint8_t *at = mrl_record_begin(body, 0, none, 1);
    at = mrl_record_operation_of(at, view, &slot_at);
    MRL_ASSERT((size_t)(at - body) <= room);
    MRL_ASSERT(mrl_record_read_begin(merle_bytes_of(body, (size_t)(at - body)), &reader) ==
               MERLE_OK);
    MRL_ASSERT(mrl_record_read_next(&reader, &again) == MERLE_OK);
    MRL_ASSERT(again.collection_id == view->collection_id && again.slot == view->slot);
    MRL_ASSERT(again.kind == view->kind && again.expires_ns == view->expires_ns);
    MRL_ASSERT(again.is_new == view->is_new && again.was_due == view->was_due);
    MRL_ASSERT(bytes_are_equal(again.key, view->key));
    MRL_ASSERT(bytes_are_equal(again.payload, view->payload));
    MRL_ASSERT(mrl_record_read_next(&reader, &again) == MERLE_NOT_FOUND);
    free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mrl_record_reader reader;
    mrl_record_operation_view view;
    mrl_frame frame;
    if (size >= MRL_FRAME_HEADER_SIZE) {
        merle_err err = mrl_frame_read(data, 0, &frame);
        MRL_ASSERT(err == MERLE_OK || err == MERLE_CORRUPT);
    }
    merle_err err = mrl_record_read_begin(merle_bytes_of(data, size), &reader);
    uint32_t count = 0;
    while (err == MERLE_OK) {
        err = mrl_record_read_next(&reader, &view);
        if (err != MERLE_OK) break;
        check_view(&view, data, size);
        check_again(&view);
        count++;
    }
    MRL_ASSERT(err == MERLE_NOT_FOUND || err == MERLE_CORRUPT);
    if (err == MERLE_NOT_FOUND) MRL_ASSERT(count == reader.operation_count);
    return 0;
}
