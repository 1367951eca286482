/* subscribe/position.h - a subscriber's position as bytes that an application keeps.
 *
 * What    where a subscriber stands: the history, the last commit of which it was given everything,
 *         how much of the next one; and which collections it wanted, so that a later one notices
 *         that a collection was made anew meanwhile, or is wanted in another way. docs/protocol.md
 *         has the bytes.
 * Owns    nothing. What was read points into the bytes.
 * Threads any; no state.
 * Limits  readers take foreign bytes: all is checked, with a checksum over the whole.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_SUBSCRIBE_POSITION_H
#define MRL_SUBSCRIBE_POSITION_H

#include "wire/event.h"

typedef struct mrl_position {
    mrl_wire_history history;
    uint64_t seq;      /* everything up to this commit was given, ... */
    uint32_t position; /* ... and of the next one the operations below this */
    int has_all;       /* all collections were wanted: what is no part of it did not exist */
} mrl_position;

/* One collection as it was wanted. */
typedef struct mrl_position_part {
    merle_bytes name;
    int has_id;      /* it existed */
    uint32_t id;
    uint32_t filter; /* mrl_position_filter of how it was wanted */
} mrl_position_part;

/* A number that tells prefix and condition from others. */
uint32_t mrl_position_filter(merle_bytes prefix, merle_bytes condition);

/* Errors: MERLE_NO_MEMORY; the buffer is as it was. */
MERLE_MUST_USE merle_err mrl_position_write_begin(const mrl_position *position, uint32_t part_count,
                                                  merle_buffer *buffer);
MERLE_MUST_USE merle_err mrl_position_write_part(const mrl_position_part *part,
                                                 merle_buffer *buffer);
MERLE_MUST_USE merle_err mrl_position_write_end(merle_buffer *buffer);

/* Errors: MERLE_INVALID (not a position), MERLE_UNSUPPORTED (of a later version). */
MERLE_MUST_USE merle_err mrl_position_read(merle_bytes bytes, mrl_position *out_position,
                                           uint32_t *out_part_count);
/* Part number n of bytes that mrl_position_read has accepted. */
void mrl_position_part_get(merle_bytes bytes, uint32_t number, mrl_position_part *out_part);

#endif
