/* wire/record.h - the coding of log records: one commit is one record. docs/format.md is the
 * reference.
 *
 * What    A frame header of 32 bytes (little-endian) and a msgpack body:
 *             u32 length of the body | u32 CRC-32C of the body | u64 seq | i64 time_ns |
 *             u32 flags | u32 CRC-32C of the 28 bytes before, begun with a seed (0 in memory, the
 *             file's id on disk)
 *             body: [origin, app bytes or nil, [operation, ...]]
 *             operation: [collection id, slot, key, kind, payload, expires_ns or nil]
 *         The slot is always written as uint 32 (5 bytes), so that it can be set later in place.
 *         payload: PUT the document; PATCH the effect; REMOVE nil; DEFINE a map; TRUNCATE, DROP,
 *         LOADED nil; SEQUENCE the number below which ids are set aside. key is nil from DEFINE on.
 * Owns    nothing. A reader borrows the body as long as it is used.
 * Threads any; no state.
 * Limits  readers take foreign bytes: every length is checked against what is there, nothing is
 *         allocated.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_WIRE_RECORD_H
#define MRL_WIRE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include <merle/base.h>

/* What an operation does. The bytes say more of a put and of a removal, in numbers of their own
 * that only wire/record.c knows: see is_new and was_due below. */
typedef enum mrl_record_kind {
    MRL_RECORD_PUT = 1,
    MRL_RECORD_PATCH = 2,
    MRL_RECORD_REMOVE = 3,
    MRL_RECORD_DEFINE = 4,
    MRL_RECORD_TRUNCATE = 5,
    MRL_RECORD_DROP = 6,
    MRL_RECORD_SEQUENCE = 7,
    MRL_RECORD_LOADED = 8
} mrl_record_kind;

enum { MRL_FRAME_HEADER_SIZE = 32 };

/* A flag of frames in files: operations of memory-only collections were left out. */
enum { MRL_FRAME_PARTIAL = 1 };

typedef struct mrl_frame {
    uint32_t length;
    uint32_t body_crc;
    uint64_t seq;
    int64_t time_ns;
    uint32_t flags;
} mrl_frame;

/* Writes the header; computes its own checksum from seed. */
void mrl_frame_write(uint8_t out_header[MRL_FRAME_HEADER_SIZE], const mrl_frame *frame,
                     uint32_t seed);
/* Errors: MERLE_CORRUPT (the header's checksum). Does not look at the body. */
MERLE_MUST_USE merle_err mrl_frame_read(const uint8_t header[MRL_FRAME_HEADER_SIZE], uint32_t seed,
                                        mrl_frame *out_frame);

/* ---- writing: into memory that is known to be large enough ---- */

/* Upper bounds of what the calls below write. */
size_t mrl_record_begin_size(size_t app_size);
size_t mrl_record_operation_size(size_t key_size, size_t payload_size);

/* Each writes at `at` and returns the first byte behind. payload is msgpack already; size 0 stands
 * for nil. */
uint8_t *mrl_record_begin(uint8_t *at, uint32_t origin, merle_bytes app, uint32_t operation_count);
/* *out_slot_at points at the slot's 4 bytes (big-endian), for mrl_record_slot_set. */
uint8_t *mrl_record_operation(uint8_t *at, uint32_t collection_id, uint32_t slot, merle_bytes key,
                              mrl_record_kind kind, merle_bytes payload, int64_t expires_ns,
                              uint8_t **out_slot_at);
/* The same, with all that a reader is told. `bytes` is not looked at. */
struct mrl_record_operation_view;
uint8_t *mrl_record_operation_of(uint8_t *at, const struct mrl_record_operation_view *operation,
                                 uint8_t **out_slot_at);
void mrl_record_slot_set(uint8_t *slot_at, uint32_t slot);

/* ---- reading foreign bytes ---- */

typedef struct mrl_record_reader {
    const uint8_t *at;
    const uint8_t *end;
    uint32_t origin;
    merle_bytes app;
    uint32_t operation_count;
    uint32_t operation_next;
} mrl_record_reader;

typedef struct mrl_record_operation_view {
    uint32_t collection_id;
    uint32_t slot;
    mrl_record_kind kind;
    merle_bytes key;
    merle_bytes payload; /* msgpack of the value; size 0: nil */
    int64_t expires_ns;
    /* PUT: 1, if the key had no living document. Records of before this was told, and those of bulk
     * loads, have 0 in any case. */
    uint8_t is_new;
    /* A document that was past its time went with it: of a REMOVE it is the one that is removed, of
     * a PUT (which then is_new) the one that had the key before. */
    uint8_t was_due;
    merle_bytes bytes; /* the whole operation, as it stands in the record */
} mrl_record_operation_view;

/* Errors: MERLE_CORRUPT. */
MERLE_MUST_USE merle_err mrl_record_read_begin(merle_bytes body, mrl_record_reader *out_reader);
/* Errors: MERLE_CORRUPT; MERLE_NOT_FOUND behind the last (and then all bytes were used). */
MERLE_MUST_USE merle_err mrl_record_read_next(mrl_record_reader *reader,
                                              mrl_record_operation_view *out_operation);

#endif
