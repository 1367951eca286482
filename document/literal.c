/* document/literal.c - values written in merle's texts. SPDX-License-Identifier: Apache-2.0 */
#include "document/literal.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "document/scan.h"
#include "document/textform.h"

/* No double needs more digits than this to be told from its neighbours. */
#define NUMBER_SIZE_MAX 1100u
#define SECOND_NANOSECONDS 1000000000u

/* ---- words ---- */

typedef struct word {
    const char *text;
    merle_type type;
    int truth;
} word;

/* nan and inf are floats, and -inf looks like a number to the lexer. */
static const word words[] = {{"true", MERLE_TYPE_BOOL, 1}, {"false", MERLE_TYPE_BOOL, 0},
                             {"nil", MERLE_TYPE_NIL, 0},   {"null", MERLE_TYPE_NIL, 0},
                             {"nan", MERLE_TYPE_FLOAT, 0}, {"inf", MERLE_TYPE_FLOAT, 1}};

static const word *word_of(const mrl_token *token) {
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (mrl_token_is_word(token, words[i].text)) return &words[i];
    return NULL;
}

static merle_value value_of_word(const word *found) {
    if (found->type == MERLE_TYPE_NIL) return merle_value_nil();
    if (found->type == MERLE_TYPE_BOOL) return merle_value_bool(found->truth);
    return merle_value_float(found->truth ? __builtin_inf() : __builtin_nan(""));
}

int mrl_literal_is_one(const mrl_token *token) {
    switch (token->kind) {
    case MRL_TOKEN_STRING:
    case MRL_TOKEN_NUMBER:
    case MRL_TOKEN_BINARY:
    case MRL_TOKEN_TIME:
        return 1;
    case MRL_TOKEN_PATH:
        return word_of(token) != NULL;
    default:
        return 0;
    }
}

/* ---- numbers ---- */

static const uint8_t *pass_digits(const uint8_t *at, const uint8_t *end) {
    while (at < end && *at >= '0' && *at <= '9') at++;
    return at;
}

static const char *read_integer(const uint8_t *at, const uint8_t *end, merle_value *out_value) {
    int negative = *at == '-';
    uint64_t number = 0;
    for (at += negative; at < end; at++) {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number))
            return "an integer has more than 64 bits";
    }
    if (negative && number > (uint64_t)1 << 63) return "an integer has more than 64 bits";
    *out_value = negative ? merle_value_int((int64_t)(0 - number)) : merle_value_uint(number);
    return NULL;
}

static const char *read_float(const uint8_t *at, size_t size, merle_value *out_value) {
    char text[NUMBER_SIZE_MAX + 1];
    if (size > NUMBER_SIZE_MAX) return "a number has too many digits";
    memcpy(text, at, size);
    text[size] = 0;
    /* The C locale exists already: asking for it takes no memory. */
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0) return "the C locale is missing";
    double number = strtod_l(text, NULL, plain);
    freelocale(plain);
    if (number - number != 0) return "a number is beyond the range of floats";
    *out_value = merle_value_float(number);
    return NULL;
}

static const char *read_number(const mrl_token *token, merle_value *out_value) {
    static const char no_number[] = "this is no number";
    const uint8_t *at = token->text, *end = at + token->size, *digits;
    int is_integer = 1;
    if (token->size == 4 && strncasecmp((const char *)at, "-inf", 4) == 0) {
        *out_value = merle_value_float(-__builtin_inf());
        return NULL;
    }
    if (*at == '-') at++;
    digits = at;
    at = pass_digits(at, end);
    if (at == digits) return no_number;
    if (*digits == '0' && at - digits > 1) return "a number begins with a 0 that counts nothing";
    if (at < end && *at == '.') {
        is_integer = 0;
        digits = ++at;
        at = pass_digits(at, end);
        if (at == digits) return no_number;
    }
    if (at < end && (*at | 0x20) == 'e') {
        is_integer = 0;
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        digits = at;
        at = pass_digits(at, end);
        if (at == digits) return no_number;
    }
    if (at != end) return no_number;
    if (is_integer) return read_integer(token->text, end, out_value);
    return read_float(token->text, token->size, out_value);
}

/* ---- strings and binaries ---- */

static int hex_value(uint8_t byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Four hexadecimal digits, or -1. */
static int32_t read_hex4(const uint8_t *at, const uint8_t *end) {
    int32_t number = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(at[i]);
        if (digit < 0) return -1;
        number = number * 16 + digit;
    }
    return number;
}

static uint8_t *put_utf8(uint8_t *out, uint32_t point) {
    static const uint8_t leads[] = {0, 0xc0, 0xe0, 0xf0};
    int follow_count = point < 0x80 ? 0 : point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    *out++ = (uint8_t)(leads[follow_count] | point >> (6 * follow_count));
    while (follow_count-- > 0) *out++ = (uint8_t)(0x80 | (point >> (6 * follow_count) & 0x3f));
    return out;
}

/* Behind \u; a surrogate is only half of a code point. Gives what is behind it, or NULL. */
static const uint8_t *read_code_point(const uint8_t *at, const uint8_t *end, uint8_t **out) {
    int32_t point = read_hex4(at, end);
    if (point < 0 || (point >= 0xdc00 && point <= 0xdfff)) return NULL;
    at += 4;
    if (point >= 0xd800 && point <= 0xdbff) {
        int32_t low = end - at >= 6 && at[0] == '\\' && at[1] == 'u' ? read_hex4(at + 2, end) : -1;
        if (low < 0xdc00 || low > 0xdfff) return NULL;
        at += 6;
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    }
    *out = put_utf8(*out, (uint32_t)point);
    return at;
}

/* Behind a backslash, which is not the last byte. */
static const uint8_t *read_escape(const uint8_t *at, const uint8_t *end, uint8_t **out) {
    static const char names[] = "\"'\\/bfnrt", meanings[] = "\"'\\/\b\f\n\r\t";
    if (*at == 'u') return read_code_point(at + 1, end, out);
    const char *found = *at == 0 ? NULL : strchr(names, *at);
    if (found == NULL) return NULL;
    *(*out)++ = (uint8_t)meanings[found - names];
    return at + 1;
}

/* What is decoded is never longer than what it is written with. */
static const char *read_string(const mrl_token *token, uint8_t *space, size_t *out_used,
                               merle_value *out_value) {
    const uint8_t *begin = token->text + 1, *end = token->text + token->size - 1;
    uint8_t *out = space;
    int escaped = memchr(begin, '\\', (size_t)(end - begin)) != NULL;
    for (const uint8_t *at = begin; at < end;) {
        if (*at < 0x20) return "a control character stands in a string; write it as an escape";
        if (*at != '\\') {
            if (escaped) *out++ = *at;
            at++;
            continue;
        }
        at = read_escape(at + 1, end, &out);
        if (at == NULL) return "an escape in a string is none";
    }
    *out_used = (size_t)(out - space);
    if (escaped)
        *out_value = merle_value_bytes(merle_bytes_of(space, *out_used));
    else
        *out_value = merle_value_bytes(merle_bytes_of(begin, (size_t)(end - begin)));
    return NULL;
}

static const char *read_binary(const mrl_token *token, uint8_t *space, size_t *out_used,
                               merle_value *out_value) {
    const uint8_t *at = token->text + 2, *end = token->text + token->size - 1;
    uint8_t *out = space;
    if ((end - at) % 2 != 0) return "a binary has an odd number of digits";
    for (; at < end; at += 2) {
        int high = hex_value(at[0]), low = hex_value(at[1]);
        if (high < 0 || low < 0) return "a binary has a digit that is not hexadecimal";
        *out++ = (uint8_t)(high * 16 + low);
    }
    *out_used = (size_t)(out - space);
    *out_value = merle_value_bin(merle_bytes_of(space, *out_used));
    return NULL;
}

/* ---- times ---- */

static const char no_time[] =
    "a time is neither like @2026-11-21T10:00:00Z nor @2026-11-21 nor "
    "seconds since 1970 like @1795258800.5";

/* At the digits behind a point: 1 to 9 of them, up to the end. */
static int read_fraction(const uint8_t *at, const uint8_t *end, uint32_t *out_nanoseconds) {
    uint32_t nanoseconds = 0, unit = SECOND_NANOSECONDS;
    if (at == end || end - at > 9 || pass_digits(at, end) != end) return 0;
    for (; at < end; at++) {
        unit /= 10;
        nanoseconds += (uint32_t)(*at - '0') * unit;
    }
    *out_nanoseconds = nanoseconds;
    return 1;
}

/* Seconds with a fraction. -4.5 is the second -5 and half a second more. */
static const char *read_seconds(const uint8_t *at, const uint8_t *end, merle_value *out_value) {
    int negative = *at == '-';
    uint32_t nanoseconds = 0;
    const uint8_t *point = pass_digits(at + negative, end);
    if (point == at + negative) return no_time;
    if (point < end && (*point != '.' || !read_fraction(point + 1, end, &nanoseconds)))
        return no_time;
    if (read_integer(at, point, out_value) != NULL || out_value->type != MERLE_TYPE_INT)
        return "a time has more seconds than 64 bits hold";
    int64_t seconds = out_value->number.i;
    if (negative && nanoseconds > 0) {
        if (seconds == INT64_MIN) return "a time has more seconds than 64 bits hold";
        seconds--;
        nanoseconds = SECOND_NANOSECONDS - nanoseconds;
    }
    *out_value = merle_value_time(seconds, nanoseconds);
    return NULL;
}

static const char *read_time(const mrl_token *token, merle_value *out_value) {
    const uint8_t *at = token->text + 1, *end = token->text + token->size;
    uint8_t midnight[] = "0000-00-00T00:00:00Z";
    int64_t seconds;
    uint32_t nanoseconds;
    if (at == end) return no_time;
    if (end - at < 10 || at[4] != '-') return read_seconds(at, end, out_value);
    size_t size = (size_t)(end - at);
    if (size == 10) {
        memcpy(midnight, at, size);
        at = midnight;
        size = sizeof(midnight) - 1;
    }
    if (!mrl_time_read(at, size, &seconds, &nanoseconds)) return no_time;
    *out_value = merle_value_time(seconds, nanoseconds);
    return NULL;
}

const char *mrl_literal_read(const mrl_token *token, uint8_t *space, size_t *out_used,
                             merle_value *out_value) {
    *out_used = 0;
    switch (token->kind) {
    case MRL_TOKEN_STRING:
        return read_string(token, space, out_used, out_value);
    case MRL_TOKEN_NUMBER:
        return read_number(token, out_value);
    case MRL_TOKEN_BINARY:
        return read_binary(token, space, out_used, out_value);
    case MRL_TOKEN_TIME:
        return read_time(token, out_value);
    default:
        MRL_ASSERT(word_of(token) != NULL);
        *out_value = value_of_word(word_of(token));
        return NULL;
    }
}

/* ---- writing ---- */

static merle_err put_text(merle_buffer *out, const char *text) {
    return mrl_buffer_append(out, text, strlen(text));
}

static merle_err put_float(merle_buffer *out, double number) {
    char text[40];
    if (number != number) return put_text(out, "nan");
    if (number - number != 0) return put_text(out, number > 0 ? "inf" : "-inf");
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0) return MERLE_NO_MEMORY;
    locale_t before = uselocale(plain);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text) - 2, "%.*g", digits, number);
        if (strtod(text, NULL) == number) break;
    }
    uselocale(before);
    freelocale(plain);
    /* Always a sign that it is a float. */
    if (strpbrk(text, ".e") == NULL) strcat(text, ".0");
    return put_text(out, text);
}

/* Times outside of the years that have four digits are written as seconds. */
static merle_err put_time(merle_buffer *out, int64_t seconds, uint32_t nanoseconds) {
    char text[MRL_TIME_TEXT_SIZE_MAX + 32];
    merle_err err = put_text(out, "@");
    if (err != MERLE_OK) return err;
    if (seconds >= MRL_TIME_SECONDS_MIN && seconds <= MRL_TIME_SECONDS_MAX) {
        mrl_time_write(seconds, nanoseconds, text);
        return put_text(out, text);
    }
    if (seconds < 0 && nanoseconds > 0) {
        seconds++;
        nanoseconds = SECOND_NANOSECONDS - nanoseconds;
    }
    /* The seconds are far from 0 here, so their sign is never lost. */
    if (nanoseconds > 0)
        snprintf(text, sizeof(text), "%lld.%09u", (long long)seconds, nanoseconds);
    else
        snprintf(text, sizeof(text), "%lld", (long long)seconds);
    return put_text(out, text);
}

/* Only what cannot stand in a string as it is becomes an escape. */
static merle_err put_string(merle_buffer *out, merle_bytes bytes) {
    static const char names[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const uint8_t *at = bytes.data, *end = bytes.size == 0 ? at : at + bytes.size, *run = at;
    merle_err err = put_text(out, "\"");
    for (; err == MERLE_OK && at < end; at++) {
        char escape[8];
        if (*at >= 0x20 && *at != '"' && *at != '\\') continue;
        const char *found = *at == 0 ? NULL : strchr(names, *at);
        if (found != NULL)
            snprintf(escape, sizeof(escape), "\\%c", letters[found - names]);
        else
            snprintf(escape, sizeof(escape), "\\u%04x", *at);
        err = mrl_buffer_append(out, run, (size_t)(at - run));
        if (err == MERLE_OK) err = put_text(out, escape);
        run = at + 1;
    }
    if (err == MERLE_OK) err = mrl_buffer_append(out, run, (size_t)(end - run));
    if (err == MERLE_OK) err = put_text(out, "\"");
    return err;
}

static merle_err put_binary(merle_buffer *out, merle_bytes bytes) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *data = bytes.data;
    merle_err err = mrl_buffer_reserve(out, 2 * bytes.size + 3);
    if (err != MERLE_OK) return err;
    uint8_t *at = out->data + out->size;
    *at++ = 'x';
    *at++ = '"';
    for (size_t i = 0; i < bytes.size; i++) {
        *at++ = (uint8_t)digits[data[i] >> 4];
        *at++ = (uint8_t)digits[data[i] & 15];
    }
    *at++ = '"';
    out->size = (size_t)(at - out->data);
    return MERLE_OK;
}

merle_err mrl_literal_write(const merle_value *value, merle_buffer *out) {
    char text[32];
    switch (value->type) {
    case MERLE_TYPE_NIL:
        return put_text(out, "nil");
    case MERLE_TYPE_BOOL:
        return put_text(out, value->number.i ? "true" : "false");
    case MERLE_TYPE_INT:
        snprintf(text, sizeof(text), "%lld", (long long)value->number.i);
        return put_text(out, text);
    case MERLE_TYPE_UINT:
        snprintf(text, sizeof(text), "%llu", (unsigned long long)value->number.u);
        return put_text(out, text);
    case MERLE_TYPE_FLOAT:
        return put_float(out, value->number.f);
    case MERLE_TYPE_STR:
        return put_string(out, value->bytes);
    case MERLE_TYPE_BIN:
        return put_binary(out, value->bytes);
    default:
        MRL_ASSERT(value->type == MERLE_TYPE_TIME);
        return put_time(out, value->number.i, value->count);
    }
}
