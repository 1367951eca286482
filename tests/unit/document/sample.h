/* tests/unit/document/sample.h - what the tests of document/ share: bytes written by hand, random
 * documents in every encoding that msgpack allows, seeds.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_DOCUMENT_SAMPLE_H
#define TESTS_DOCUMENT_SAMPLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <merle/document.h>

#include <merle/condition.h>

#include "base/buffer.h"
#include "base/random.h"
#include "tests/unit/seed.h"

#define SAMPLE_UNUSED __attribute__((unused))

/* A string literal with bytes in it, as bytes. */
#define BYTES(literal) merle_bytes_of(literal, sizeof(literal) - 1)

/* ---- want of memory ---- */

/* Grants so many allocations, refuses the next one, and grants what comes then. */
typedef struct sample_countdown {
    size_t left;
    int refused; /* whether it came to that */
} sample_countdown;

SAMPLE_UNUSED static int sample_refuses(void *context, size_t size) {
    sample_countdown *count = context;
    (void)size;
    if (count->left-- != 0) return 0;
    count->refused = 1;
    return 1;
}

/* Refuses its first allocation, then its second, until there are no more: each time it gives
 * MERLE_NO_MEMORY exactly if it was refused one. It takes more than `least` allocations. */
SAMPLE_UNUSED static void sample_refuse_in_turn(merle_err (*run)(void), size_t least) {
    for (size_t allocation = 0;; allocation++) {
        sample_countdown count = {allocation, 0};
        const mrl_refusal refusal = {&count, sample_refuses};
        mrl_refusal_of_thread = &refusal;
        merle_err err = run();
        mrl_refusal_of_thread = NULL;
        assert_int_equal(err, count.refused ? MERLE_NO_MEMORY : MERLE_OK);
        if (count.refused) continue;
        assert_true(allocation > least);
        break;
    }
}

/* ---- values and documents ---- */

SAMPLE_UNUSED static void sample_put(merle_buffer *out, const void *data, size_t size) {
    assert_int_equal(mrl_buffer_append(out, data, size), MERLE_OK);
}

SAMPLE_UNUSED static void sample_byte(merle_buffer *out, unsigned byte) {
    uint8_t one = (uint8_t)byte;
    sample_put(out, &one, 1);
}

/* A number in `width` bytes, the greatest first. */
SAMPLE_UNUSED static void sample_big(merle_buffer *out, uint64_t number, unsigned width) {
    while (width-- > 0) sample_byte(out, (unsigned)(number >> (8 * width)));
}

/* A head of one of the families that have 1, 2 and 4 bytes of size, or the short form if there is
 * one and it fits. first: head of the form with 1 byte (or, without_8, the one with 2). */
SAMPLE_UNUSED static void sample_head(merle_buffer *out, mrl_random *random, size_t size,
                                      unsigned short_head, size_t short_max, unsigned first,
                                      int without_8) {
    unsigned least = size > 0xffff ? 2 : size > 0xff ? 1 : 0;
    if (without_8 && least == 0) least = 1;
    if (size <= short_max && mrl_random_below(random, 4) != 0) {
        sample_byte(out, short_head | (unsigned)size);
        return;
    }
    unsigned form = least + (unsigned)mrl_random_below(random, 3 - least);
    sample_byte(out, first + form - (without_8 ? 1 : 0));
    sample_big(out, size, 1u << form);
}

/* A small size in 1, 2 or 4 bytes. */
SAMPLE_UNUSED static void sample_wide(merle_buffer *out, mrl_random *random, size_t size,
                                      unsigned first) {
    unsigned form = (unsigned)mrl_random_below(random, 3);
    sample_byte(out, first + form);
    sample_big(out, size, 1u << form);
}

SAMPLE_UNUSED static void sample_str(merle_buffer *out, mrl_random *random, const char *text,
                                     size_t size) {
    sample_head(out, random, size, 0xa0, 31, 0xd9, 0);
    sample_put(out, text, size);
}

SAMPLE_UNUSED static int64_t sample_integer(mrl_random *random) {
    uint64_t number = mrl_random_next(random) >> mrl_random_below(random, 64);
    switch (mrl_random_below(random, 4)) {
    case 0:
        return (int64_t)number;
    case 1:
        return (int64_t)(0 - number);
    case 2:
        return (int64_t)mrl_random_below(random, 10);
    default:
        return (int64_t)(((uint64_t)1 << mrl_random_below(random, 64)) +
                         mrl_random_below(random, 3) - 1);
    }
}

SAMPLE_UNUSED static void sample_number(merle_buffer *out, mrl_random *random) {
    static const unsigned heads[] = {0xcc, 0xcd, 0xce, 0xcf, 0xd0, 0xd1, 0xd2, 0xd3};
    static const double floats[] = {0.0, -0.0, 0.5, -1.5, 1e300, 5.0, 9007199254740992.0, 3.0};
    double number = floats[mrl_random_below(random, 8)];
    uint64_t bits = mrl_random_next(random);
    unsigned form = (unsigned)mrl_random_below(random, 12);
    if (form < 8) {
        sample_byte(out, heads[form]);
        sample_big(out, (uint64_t)sample_integer(random), 1u << (form % 4));
    } else if (form == 8) {
        sample_byte(out,
                    mrl_random_below(random, 2) ? (unsigned)(bits & 0x7f) : 0xe0 | (bits & 31));
    } else if (form == 9) {
        sample_byte(out, 0xca);
        sample_big(out, bits, 4);
    } else {
        if (form == 10) memcpy(&bits, &number, sizeof(bits));
        sample_byte(out, 0xcb);
        sample_big(out, bits, 8);
    }
}

SAMPLE_UNUSED static void sample_text(merle_buffer *out, mrl_random *random) {
    static const char *const texts[] = {"",
                                        "a",
                                        "b",
                                        "eu",
                                        "\xc3\xa4",
                                        "\xe2\x82\xac uro",
                                        "\xf0\x9f\x90\xa6",
                                        "quo\"te\\",
                                        "thirty-one bytes are the most..",
                                        "thirty-two bytes are one too many",
                                        "line\nfeed"};
    const char *text = texts[mrl_random_below(random, 11)];
    if (mrl_random_below(random, 20) == 0) {
        char big[400];
        size_t size = (size_t)mrl_random_below(random, sizeof(big));
        for (size_t i = 0; i < size; i++) big[i] = (char)mrl_random_below(random, 128);
        sample_str(out, random, big, size);
        return;
    }
    sample_str(out, random, text, strlen(text));
}

SAMPLE_UNUSED static void sample_ext(merle_buffer *out, mrl_random *random) {
    static const unsigned sizes[] = {1, 2, 4, 8, 16};
    unsigned form = (unsigned)mrl_random_below(random, 8);
    size_t size = form < 5 ? sizes[form] : (size_t)mrl_random_below(random, 20);
    unsigned type = mrl_random_below(random, 2) ? 0xff : (unsigned)mrl_random_below(random, 256);
    if (form < 5)
        sample_byte(out, 0xd4 + form);
    else
        sample_wide(out, random, size, 0xc7);
    sample_byte(out, type);
    for (size_t i = 0; i < size; i++) sample_byte(out, (unsigned)mrl_random_below(random, 256));
}

SAMPLE_UNUSED static void sample_bin(merle_buffer *out, mrl_random *random) {
    size_t size = (size_t)mrl_random_below(random, 12);
    static const uint8_t bytes[12] = {0, 1, 255, 0, 0, 7};
    sample_wide(out, random, size, 0xc4);
    sample_put(out, bytes, size);
}

SAMPLE_UNUSED static void sample_value(merle_buffer *out, mrl_random *random, unsigned depth);

/* Pairs with the names "a" to "h", in order but with gaps: no name twice. */
SAMPLE_UNUSED static void sample_map(merle_buffer *out, mrl_random *random, unsigned depth) {
    uint8_t wanted = (uint8_t)mrl_random_next(random);
    sample_head(out, random, (size_t)__builtin_popcount(wanted), 0x80, 15, 0xde, 1);
    for (int i = 0; i < 8; i++) {
        char name = (char)('a' + i);
        if ((wanted >> i & 1) == 0) continue;
        sample_str(out, random, &name, 1);
        sample_value(out, random, depth);
    }
}

SAMPLE_UNUSED static void sample_array(merle_buffer *out, mrl_random *random, unsigned depth) {
    size_t count = (size_t)mrl_random_below(random, mrl_random_below(random, 10) ? 5 : 20);
    sample_head(out, random, count, 0x90, 15, 0xdc, 1);
    for (size_t i = 0; i < count; i++) sample_value(out, random, depth);
}

SAMPLE_UNUSED static void sample_value(merle_buffer *out, mrl_random *random, unsigned depth) {
    static const uint8_t words[] = {0xc0, 0xc2, 0xc3};
    switch (mrl_random_below(random, depth > 0 ? 12 : 8)) {
    case 0:
        sample_byte(out, words[mrl_random_below(random, 3)]);
        return;
    case 1:
        sample_bin(out, random);
        return;
    case 2:
        sample_ext(out, random);
        return;
    case 3:
    case 4:
        sample_text(out, random);
        return;
    case 5:
    case 6:
    case 7:
        sample_number(out, random);
        return;
    case 8:
    case 9:
        sample_array(out, random, depth - 1);
        return;
    default:
        sample_map(out, random, depth - 1);
        return;
    }
}

/* A random document with the names "a" to "h" at every level. */
SAMPLE_UNUSED static merle_bytes sample_document(merle_buffer *out, mrl_random *random) {
    out->size = 0;
    sample_map(out, random, 3);
    return merle_bytes_of(out->data, out->size);
}

/* A copy that ends where its memory ends, so that the sanitizer sees each byte read too far. */
SAMPLE_UNUSED static uint8_t *sample_exact(merle_bytes bytes) {
    uint8_t *copy = malloc(bytes.size == 0 ? 1 : bytes.size);
    assert_non_null(copy);
    if (bytes.size > 0) memcpy(copy, bytes.data, bytes.size);
    return copy;
}

/* ---- conditions ---- */

SAMPLE_UNUSED static void assert_written(const merle_condition *condition, const char *wanted) {
    merle_buffer text = {NULL, 0, 0};
    assert_int_equal(merle_condition_write(condition, &text), MERLE_OK);
    if (text.size != strlen(wanted) || memcmp(text.data, wanted, text.size) != 0)
        fail_msg("written: %.*s\nwanted:  %s", (int)text.size, (const char *)text.data, wanted);
    merle_buffer_free(&text);
}

#endif
