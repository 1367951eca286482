/* document/utf8.c - is this UTF-8? SPDX-License-Identifier: Apache-2.0 */
#include "document/utf8.h"

static inline int is_tail(uint8_t byte) {
    return (byte & 0xc0) == 0x80;
}

/* The size of the sequence at text, or 0 if it is wrong or does not fit. The second byte's range
 * keeps out what is overlong (e0, f0), a surrogate (ed) or above U+10FFFF (f4). */
static inline size_t sequence_size(const uint8_t *text, size_t left) {
    uint8_t head = text[0];
    if (head < 0x80) return 1;
    if (head < 0xc2) return 0;
    if (head < 0xe0) return left >= 2 && is_tail(text[1]) ? 2 : 0;
    if (head < 0xf0) {
        if (left < 3 || !is_tail(text[1]) || !is_tail(text[2])) return 0;
        if (head == 0xe0 && text[1] < 0xa0) return 0;
        if (head == 0xed && text[1] > 0x9f) return 0;
        return 3;
    }
    if (head > 0xf4 || left < 4) return 0;
    if (!is_tail(text[1]) || !is_tail(text[2]) || !is_tail(text[3])) return 0;
    if (head == 0xf0 && text[1] < 0x90) return 0;
    if (head == 0xf4 && text[1] > 0x8f) return 0;
    return 4;
}

size_t mrl_utf8_valid_size(const uint8_t *text, size_t size) {
    size_t at = 0;
    while (at < size) {
        uint64_t word;
        if (size - at >= 8) {
            memcpy(&word, text + at, 8);
            if ((word & MRL_UTF8_HIGH_BITS) == 0) {
                at += 8;
                continue;
            }
        }
        size_t step = sequence_size(text + at, size - at);
        if (step == 0) return at;
        at += step;
    }
    return at;
}
