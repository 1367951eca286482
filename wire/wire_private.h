/* wire/wire_private.h - what event.c and event_service.c share.
 *
 * What    Parts that messages have in common: the head, lists, texts within a limit.
 * Threads any; no state.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_WIRE_WIRE_PRIVATE_H
#define MRL_WIRE_WIRE_PRIVATE_H

#include "wire/bytes.h"
#include "wire/event.h"

/* The most that one of these takes: an integer; the head of an array, string or binary. */
enum { MRL_WIRE_NUMBER_ROOM = 9, MRL_WIRE_HEAD_ROOM = 5 };

/* ---- reading: as mrl_mp_get_*, 0 where it is something else ---- */

/* The array of a message: its version, and how many elements follow. Errors: MERLE_CORRUPT,
 * MERLE_UNSUPPORTED. */
merle_err mrl_wire_get_head(mrl_mp_cursor *cursor, uint32_t *out_left);
/* Steps over the `left` elements that nobody here knows; the bytes must end there. */
int mrl_wire_get_rest(mrl_mp_cursor *cursor, uint32_t left);
/* An array, or nil: then at is NULL. */
int mrl_wire_get_list(mrl_mp_cursor *cursor, mrl_wire_list *out_list);
/* The same where nothing comes behind it: nobody walks over it to find its end, so it is not known
 * before its last element was taken out whether all of it is sound. */
int mrl_wire_get_last_list(mrl_mp_cursor *cursor, mrl_wire_list *out_list);
int mrl_wire_get_history(mrl_mp_cursor *cursor, mrl_wire_history *out_history);
/* At most size_max bytes. `_or_nil`: data is NULL where it is nil. */
int mrl_wire_get_str(mrl_mp_cursor *cursor, size_t size_max, merle_bytes *out_text);
int mrl_wire_get_str_or_nil(mrl_mp_cursor *cursor, size_t size_max, merle_bytes *out_text);
int mrl_wire_get_bin_or_nil(mrl_mp_cursor *cursor, size_t size_max, merle_bytes *out_bytes);
/* Any value, as it stands there; a map, if asked. */
int mrl_wire_get_map(mrl_mp_cursor *cursor, merle_bytes *out_map);
/* The next element of a list, an array of at least count_min: *out_left is how many it has.
 * Errors: as of every `_next`. The list is moved on by mrl_wire_list_moved. */
merle_err mrl_wire_list_element(const mrl_wire_list *list, uint32_t count_min,
                                mrl_mp_cursor *out_cursor, uint32_t *out_left);
/* Behind the element: `left` elements of it are passed over. */
merle_err mrl_wire_list_moved(mrl_wire_list *list, mrl_mp_cursor *cursor, uint32_t left);

/* ---- writing: into memory that is large enough; each returns the first byte behind ---- */

uint8_t *mrl_wire_put_list(uint8_t *at, const mrl_wire_list *list);
uint8_t *mrl_wire_put_history(uint8_t *at, const mrl_wire_history *history);
/* Nil where data is NULL. */
uint8_t *mrl_wire_put_str(uint8_t *at, merle_bytes text);
uint8_t *mrl_wire_put_bin(uint8_t *at, merle_bytes bytes);
uint8_t *mrl_wire_put_raw(uint8_t *at, merle_bytes value);
static inline size_t mrl_wire_list_size(const mrl_wire_list *list) {
    return MRL_WIRE_HEAD_ROOM + (size_t)(list->end - list->at);
}

#endif
