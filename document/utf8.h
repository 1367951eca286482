/* document/utf8.h - is this UTF-8?
 *
 * What    refuses overlong forms, surrogates, anything above U+10FFFF, and broken sequences.
 * Owns    nothing, allocates nothing. Never reads outside the bytes given.
 * Threads any.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DOCUMENT_UTF8_H
#define MRL_DOCUMENT_UTF8_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MRL_UTF8_HIGH_BITS 0x8080808080808080ull

/* How many bytes of the text are valid before the first wrong sequence; size if all are. */
size_t mrl_utf8_valid_size(const uint8_t *text, size_t size);

/* Whether all bytes are ASCII; reads words that overlap instead of single bytes at the end. */
static inline int mrl_utf8_is_ascii(const uint8_t *text, size_t size) {
    uint64_t bits = 0, word = 0;
    if (size >= 8) {
        for (size_t at = 0; at + 8 <= size; at += 8) {
            memcpy(&word, text + at, 8);
            bits |= word;
        }
        memcpy(&word, text + size - 8, 8);
        return ((bits | word) & MRL_UTF8_HIGH_BITS) == 0;
    }
    if (size >= 4) {
        uint32_t first, last;
        memcpy(&first, text, 4);
        memcpy(&last, text + size - 4, 4);
        return ((first | last) & (uint32_t)MRL_UTF8_HIGH_BITS) == 0;
    }
    for (size_t at = 0; at < size; at++) bits |= text[at];
    return (bits & 0x80) == 0;
}

static inline int mrl_utf8_is_valid(const uint8_t *text, size_t size) {
    return mrl_utf8_is_ascii(text, size) || mrl_utf8_valid_size(text, size) == size;
}

#endif
