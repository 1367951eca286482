/* document/encode.h - values as bytes whose memcmp order is the order of the values.
 *
 * What    nil < bool < numbers < strings < binary < timestamps. Integers and floats of every width
 *         compare exactly, as numbers: 5 and 5.0 encode equal, 2^53 + 1 lies above 2^53 as a float,
 *         -0.0 equals 0.0; every NaN is equal and lies below all other numbers.
 * Form    one tag byte, then: nothing (nil, false, true); 8 bytes, and 2 more from 2^53 on
 *         (numbers); the bytes with 00 as 00 ff, ended by 00 00 (strings, binary); 12 bytes
 *         (timestamps). Descending values are the complement of that. No encoding is a prefix of
 *         another one, so encodings in a row order as the rows of their values do.
 * Owns    nothing, allocates nothing.
 * Threads any.
 * Limits  the caller's out_max: what does not fit is MERLE_TOO_BIG, never cut short.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DOCUMENT_ENCODE_H
#define MRL_DOCUMENT_ENCODE_H

#include <merle/document.h>

/* The most bytes that the encoding of anything but a string or binary takes. */
#define MRL_ENCODE_SCALAR_SIZE_MAX 13u

/* Encodes the checked msgpack value at `value`, which ends before or at `end`. descending is 0 or
 * 1. Errors: MERLE_TYPE (array, map, other extension), MERLE_TOO_BIG; *out_size is 0 then. */
MERLE_MUST_USE merle_err mrl_encode_at(const uint8_t *value, const uint8_t *end, int descending,
                                       uint8_t *out, size_t out_max, size_t *out_size);

/* Encodes a value that somebody asks for. Borrows its bytes until it returns. Errors: as
 * mrl_encode_at; MERLE_INVALID for a time of more than 999,999,999 nanoseconds. */
MERLE_MUST_USE merle_err mrl_encode_value(const merle_value *value, int descending, uint8_t *out,
                                          size_t out_max, size_t *out_size);

/* One byte for a value that is not there, where that has a place in the order: below (is_first) or
 * above all encodings of values that are ascending, or descending. */
uint8_t mrl_encode_missing(int is_first, int descending);

/* The first bytes that encodings of values of this type begin with, and of all types that compare
 * with it: the least and the greatest. 0 for a type that cannot be encoded. */
void mrl_encode_class(merle_type type, uint8_t *out_first, uint8_t *out_last);

/* For comparing many documents with one encoding: if the checked msgpack value is a number whose
 * ascending encoding is a tag and eight bytes, the tag, the eight as a number (most significant
 * first), and 1; else 0. */
int mrl_encode_number(const uint8_t *value, uint8_t *out_tag, uint64_t *out_bits);

/* Reads the encoding of one value back, of which others may follow; *out_size is what it takes. A
 * number is an integer if it is one and fits. A string's bytes are written to out, which has room
 * for encoded.size. Errors: MERLE_INVALID: that is no encoding; *out_value is empty then. */
MERLE_MUST_USE merle_err mrl_decode_value(merle_bytes encoded, int descending, uint8_t *out,
                                          merle_value *out_value, size_t *out_size);

#endif
