/* document/textform.h - bytes as base64 (standard alphabet, padded) and timestamps as text.
 *
 * What    the two text forms that JSON borrows for what it has no form of its own.
 * Owns    nothing, allocates nothing.
 * Threads any.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DOCUMENT_TEXTFORM_H
#define MRL_DOCUMENT_TEXTFORM_H

#include <stddef.h>
#include <stdint.h>

static inline size_t mrl_base64_size(size_t size) {
    return (size + 2) / 3 * 4;
}
/* Writes mrl_base64_size(size) characters, not terminated. */
void mrl_base64_encode(const uint8_t *data, size_t size, char *out);
/* Decodes; out may be at or before text in the same memory. 1 and the size, or 0 if text is no
 * base64 with its padding and nothing but zero bits behind the last byte. */
int mrl_base64_decode(const uint8_t *text, size_t size, uint8_t *out, size_t *out_size);

/* The first and last second that have a year of four digits. */
#define MRL_TIME_SECONDS_MIN (-62167219200ll)
#define MRL_TIME_SECONDS_MAX 253402300799ll
#define MRL_TIME_TEXT_SIZE_MAX 31u

/* Writes "2026-11-21T10:00:00.5Z", terminated; gives its size. seconds must be in the range. */
size_t mrl_time_write(int64_t seconds, uint32_t nanoseconds, char out[MRL_TIME_TEXT_SIZE_MAX]);
/* Reads that form, also with an offset as "+02:00"; 0 if text is something else. */
int mrl_time_read(const uint8_t *text, size_t size, int64_t *out_seconds,
                  uint32_t *out_nanoseconds);

#endif
