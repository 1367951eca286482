/* document/json_read.c - documents from JSON text.
 *
 * Values are assembled as they are read. What JSON has no form for comes as an object of one name
 * that begins with $; it is first assembled like any other map and turned into what it means when
 * it closes, because only then its single name is known to be single. The outermost object always
 * is a document. SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/report.h"
#include "document/assemble.h"
#include "document/check.h"
#include "document/scan.h"
#include "document/textform.h"
#include "document/utf8.h"

/* No double needs more digits than this to be told from its neighbours. */
#define NUMBER_SIZE_MAX 1100u

typedef struct reader {
    const uint8_t *begin;
    const uint8_t *at;
    const uint8_t *end;
    mrl_assembly assembly;
    merle_report *report;
} reader;

__attribute__((cold)) static merle_err refuse_as(reader *r, merle_err err, const char *reason) {
    size_t line = 1, column = 1;
    for (const uint8_t *at = r->begin; at < r->at; at++) {
        column = *at == '\n' ? 1 : column + 1;
        line += *at == '\n';
    }
    mrl_report_fill(r->report, err, "The JSON text is wrong at line %zu, column %zu: %s.", line,
                    column, reason);
    mrl_report_offset(r->report, (uint64_t)(r->at - r->begin));
    return err;
}

__attribute__((cold)) static merle_err refuse(reader *r, const char *reason) {
    return refuse_as(r, MERLE_BAD_DOCUMENT, reason);
}

static merle_err put(reader *r, const mrl_piece *piece) {
    merle_err err = mrl_assembly_put(&r->assembly, piece);
    if (err == MERLE_OK) return err;
    return refuse_as(r, err,
                     err == MERLE_TOO_BIG ? "the document gets too big" : "no memory is left");
}

static void skip_blanks(reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

/* Passes the byte if it is the next one behind blanks. */
static int take(reader *r, char byte) {
    skip_blanks(r);
    if (r->at == r->end || *r->at != (uint8_t)byte) return 0;
    r->at++;
    return 1;
}

/* ---- strings ---- */

static int hex_value(uint8_t byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Four hexadecimal digits; -1 if they are not. */
static int32_t read_hex4(reader *r) {
    int32_t number = 0;
    if (r->end - r->at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(*r->at++);
        if (digit < 0) return -1;
        number = number * 16 + digit;
    }
    return number;
}

static uint8_t *put_utf8(uint8_t *out, uint32_t point) {
    if (point < 0x80) {
        *out++ = (uint8_t)point;
        return out;
    }
    if (point < 0x800) {
        *out++ = (uint8_t)(0xc0 | point >> 6);
    } else if (point < 0x10000) {
        *out++ = (uint8_t)(0xe0 | point >> 12);
        *out++ = (uint8_t)(0x80 | (point >> 6 & 0x3f));
    } else {
        *out++ = (uint8_t)(0xf0 | point >> 18);
        *out++ = (uint8_t)(0x80 | (point >> 12 & 0x3f));
        *out++ = (uint8_t)(0x80 | (point >> 6 & 0x3f));
    }
    *out++ = (uint8_t)(0x80 | (point & 0x3f));
    return out;
}

/* Behind \u: a code point, of which a surrogate is only half. NULL if it is none. */
static uint8_t *read_code_point(reader *r, uint8_t *out) {
    int32_t point = read_hex4(r);
    if (point < 0 || (point >= 0xdc00 && point <= 0xdfff)) return NULL;
    if (point < 0xd800 || point > 0xdbff) return put_utf8(out, (uint32_t)point);
    if (r->end - r->at < 2 || r->at[0] != '\\' || r->at[1] != 'u') return NULL;
    r->at += 2;
    int32_t low = read_hex4(r);
    if (low < 0xdc00 || low > 0xdfff) return NULL;
    return put_utf8(out, 0x10000u + ((uint32_t)(point - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
}

/* Behind a backslash. */
static uint8_t *read_escape(reader *r, uint8_t *out) {
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (r->at == r->end) return NULL;
    uint8_t name = *r->at++;
    if (name == 'u') return read_code_point(r, out);
    const char *found = name == 0 ? NULL : strchr(names, name);
    if (found == NULL) return NULL;
    *out++ = (uint8_t)meanings[found - names];
    return out;
}

/* A string with escapes: decoded behind the largest head, then moved up to its own. The text that
 * it is made from is never shorter than what comes out. */
static merle_err read_escaped(reader *r, const uint8_t *close) {
    merle_buffer *buffer = r->assembly.out;
    mrl_piece head;
    size_t raw_size = (size_t)(close - r->at);
    merle_err err = mrl_buffer_reserve(buffer, raw_size + 5);
    if (err != MERLE_OK) return refuse_as(r, err, "no memory is left");
    uint8_t *text = buffer->data + buffer->size + 5, *out = text;
    while (r->at < close) {
        if (*r->at != '\\') {
            *out++ = *r->at++;
            continue;
        }
        r->at++;
        out = read_escape(r, out);
        if (out == NULL) return refuse(r, "an escape in a string is none");
    }
    size_t size = (size_t)(out - text);
    if (size > MERLE_DOCUMENT_SIZE_MAX) return refuse_as(r, MERLE_TOO_BIG, "a string is too big");
    mrl_piece_str(&head, NULL, (uint32_t)size);
    memcpy(buffer->data + buffer->size, head.head, head.head_size);
    memmove(buffer->data + buffer->size + head.head_size, text, size);
    buffer->size += head.head_size + size;
    r->at = close + 1;
    return MERLE_OK;
}

/* Behind the opening quote. */
static merle_err read_string(reader *r) {
    const uint8_t *close = r->at;
    mrl_piece piece;
    int escaped = 0;
    for (; close < r->end && *close != '"'; close++) {
        if (*close == '\\') {
            escaped = 1;
            if (++close == r->end) break;
        }
        if (*close < 0x20) {
            r->at = close;
            return refuse(r, "a control character stands in a string");
        }
    }
    if (close == r->end) return refuse(r, "a string is not closed");
    size_t size = (size_t)(close - r->at), valid = size;
    if (!mrl_utf8_is_ascii(r->at, size)) valid = mrl_utf8_valid_size(r->at, size);
    if (valid != size) {
        r->at += valid;
        return refuse(r, "a string is not valid UTF-8");
    }
    if (escaped) return read_escaped(r, close);
    if (size > MERLE_DOCUMENT_SIZE_MAX) return refuse_as(r, MERLE_TOO_BIG, "a string is too big");
    mrl_piece_str(&piece, r->at, (uint32_t)size);
    r->at = close + 1;
    return put(r, &piece);
}

/* ---- numbers and words ---- */

static const uint8_t *pass_digits(const uint8_t *at, const uint8_t *end) {
    while (at < end && *at >= '0' && *at <= '9') at++;
    return at;
}

/* The end of the number by JSON's grammar, or NULL. */
static const uint8_t *number_end(const reader *r, int *out_is_integer) {
    const uint8_t *at = r->at, *digits;
    *out_is_integer = 1;
    if (at < r->end && *at == '-') at++;
    digits = at;
    at = pass_digits(at, r->end);
    if (at == digits || (*digits == '0' && at - digits > 1)) return NULL;
    if (at < r->end && *at == '.') {
        *out_is_integer = 0;
        digits = ++at;
        at = pass_digits(at, r->end);
        if (at == digits) return NULL;
    }
    if (at < r->end && (*at == 'e' || *at == 'E')) {
        *out_is_integer = 0;
        at++;
        if (at < r->end && (*at == '+' || *at == '-')) at++;
        digits = at;
        at = pass_digits(at, r->end);
        if (at == digits) return NULL;
    }
    return at;
}

static merle_err read_integer(reader *r, const uint8_t *end) {
    int negative = *r->at == '-';
    uint64_t number = 0;
    mrl_piece piece;
    for (const uint8_t *at = r->at + negative; at < end; at++) {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number))
            return refuse(r, "an integer has more than 64 bits");
    }
    if (negative && number > (uint64_t)1 << 63)
        return refuse(r, "an integer has more than 64 bits");
    if (negative)
        mrl_piece_int(&piece, (int64_t)(0 - number));
    else
        mrl_piece_uint(&piece, number);
    r->at = end;
    return put(r, &piece);
}

static merle_err read_float(reader *r, const uint8_t *end) {
    char text[NUMBER_SIZE_MAX + 1];
    size_t size = (size_t)(end - r->at);
    mrl_piece piece;
    if (size > NUMBER_SIZE_MAX) return refuse(r, "a number has too many digits");
    memcpy(text, r->at, size);
    text[size] = 0;
    double number = strtod(text, NULL);
    if (number - number != 0) return refuse(r, "a number is beyond the range of floats");
    mrl_piece_float(&piece, number);
    r->at = end;
    return put(r, &piece);
}

static merle_err read_number(reader *r) {
    int is_integer;
    const uint8_t *end = number_end(r, &is_integer);
    if (end == NULL) return refuse(r, "this is no value");
    return is_integer ? read_integer(r, end) : read_float(r, end);
}

static merle_err read_word(reader *r, const char *word, const mrl_piece *piece) {
    size_t size = strlen(word);
    if ((size_t)(r->end - r->at) < size || memcmp(r->at, word, size) != 0)
        return refuse(r, "this is no value");
    r->at += size;
    return put(r, piece);
}

/* ---- objects that mean something else ---- */

/* Writes binary or extension in the place of the map at `head`, from base64 in `text`, which lies
 * behind it in the same buffer. The new head is shorter than what stands before text. */
static merle_err place_bytes(reader *r, uint32_t head, merle_bytes text, const int8_t *ext_type) {
    merle_buffer *buffer = r->assembly.out;
    uint8_t *source = (uint8_t *)text.data;
    mrl_piece piece;
    size_t size;
    if (!mrl_base64_decode(source, text.size, source, &size))
        return refuse(r, "the text of a \"$bin\" or \"$ext\" is no base64");
    if (ext_type != NULL)
        mrl_piece_ext(&piece, *ext_type, NULL, (uint32_t)size);
    else
        mrl_piece_bin(&piece, NULL, (uint32_t)size);
    memcpy(buffer->data + head, piece.head, piece.head_size);
    memmove(buffer->data + head + piece.head_size, source, size);
    buffer->size = head + piece.head_size + size;
    return MERLE_OK;
}

static void place_piece(reader *r, uint32_t head, const mrl_piece *piece) {
    merle_buffer *buffer = r->assembly.out;
    buffer->size = (size_t)(mrl_piece_put(piece, buffer->data + head) - buffer->data);
}

static merle_err place_time(reader *r, uint32_t head, const merle_value *value) {
    int64_t seconds;
    uint32_t nanoseconds;
    mrl_piece piece;
    if (value->type != MERLE_TYPE_STR ||
        !mrl_time_read(value->bytes.data, value->bytes.size, &seconds, &nanoseconds))
        return refuse(r, "a \"$time\" is no time like \"2026-11-21T10:00:00.5Z\"");
    mrl_piece_time(&piece, seconds, nanoseconds);
    place_piece(r, head, &piece);
    return MERLE_OK;
}

static int text_is(merle_bytes text, const char *word) {
    return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

static merle_err place_float(reader *r, uint32_t head, const merle_value *value) {
    mrl_piece piece;
    double number;
    if (value->type != MERLE_TYPE_STR) return refuse(r, "a \"$float\" is no string");
    if (text_is(value->bytes, "nan"))
        number = __builtin_nan("");
    else if (text_is(value->bytes, "inf"))
        number = __builtin_inf();
    else if (text_is(value->bytes, "-inf"))
        number = -__builtin_inf();
    else
        return refuse(r, "a \"$float\" is none of \"nan\", \"inf\", \"-inf\"");
    mrl_piece_float(&piece, number);
    place_piece(r, head, &piece);
    return MERLE_OK;
}

static merle_err place_ext(reader *r, uint32_t head, const merle_value *value) {
    const uint8_t *at;
    uint32_t count;
    merle_value type, text;
    static const char reason[] = "an \"$ext\" is no array of a type from -128 to 127 and a string";
    if (value->type != MERLE_TYPE_ARRAY) return refuse(r, reason);
    mrl_scan_container(value->bytes.data, &at, &count);
    if (count != 2) return refuse(r, reason);
    mrl_scan_value(mrl_scan_value(at, &type), &text);
    if (type.type != MERLE_TYPE_INT || type.number.i < INT8_MIN || type.number.i > INT8_MAX ||
        text.type != MERLE_TYPE_STR)
        return refuse(r, reason);
    int8_t ext_type = (int8_t)type.number.i;
    return place_bytes(r, head, text.bytes, &ext_type);
}

/* "$$name" stands for "$name" where a single name is read. */
static void drop_dollar(reader *r, uint32_t key, merle_bytes name) {
    merle_buffer *buffer = r->assembly.out;
    size_t from = (size_t)((const uint8_t *)name.data - buffer->data) + 1;
    mrl_piece head;
    mrl_piece_str(&head, NULL, (uint32_t)name.size - 1);
    memcpy(buffer->data + key, head.head, head.head_size);
    memmove(buffer->data + key + head.head_size, buffer->data + from, buffer->size - from);
    buffer->size -= from - key - head.head_size;
}

/* A map of one pair was closed whose head is the one byte at `head`. */
static merle_err turn_single(reader *r, uint32_t head) {
    merle_value name, value;
    const uint8_t *at = r->assembly.out->data + head + 1;
    mrl_scan_value(mrl_scan_value(at, &name), &value);
    const char *text = name.bytes.data;
    if (name.bytes.size < 2 || text[0] != '$') return MERLE_OK;
    if (text[1] == '$') {
        drop_dollar(r, head + 1, name.bytes);
        return MERLE_OK;
    }
    if (text_is(name.bytes, "$time")) return place_time(r, head, &value);
    if (text_is(name.bytes, "$float")) return place_float(r, head, &value);
    if (text_is(name.bytes, "$ext")) return place_ext(r, head, &value);
    if (!text_is(name.bytes, "$bin")) return MERLE_OK;
    if (value.type != MERLE_TYPE_STR) return refuse(r, "a \"$bin\" is no string");
    return place_bytes(r, head, value.bytes, NULL);
}

/* ---- values ---- */

static merle_err read_value(reader *r);

static merle_err open_container(reader *r, uint32_t is_map) {
    merle_err err = mrl_assembly_open(&r->assembly, is_map);
    if (err == MERLE_OK) return err;
    return refuse_as(r, err,
                     err == MERLE_TOO_BIG ? "it gets too deep or too big" : "no memory is left");
}

static merle_err close_container(reader *r) {
    mrl_assembly_frame frame = *mrl_assembly_top(&r->assembly);
    merle_err err = mrl_assembly_close(&r->assembly);
    if (err == MERLE_INVALID) return refuse(r, "an object has one name twice");
    if (err != MERLE_OK)
        return refuse_as(r, err, "the document gets too big, or no memory is left");
    if (frame.is_map && frame.count == 1 && r->assembly.depth > 0)
        return turn_single(r, frame.head);
    return MERLE_OK;
}

static merle_err read_pair(reader *r) {
    if (!take(r, '"')) return refuse(r, "a name is missing");
    merle_err err = read_string(r);
    if (err != MERLE_OK) return err;
    if (!take(r, ':')) return refuse(r, "a colon is missing");
    return read_value(r);
}

/* Behind the opening bracket. */
static merle_err read_container(reader *r, uint32_t is_map) {
    char close = is_map ? '}' : ']';
    merle_err err = open_container(r, is_map);
    if (err != MERLE_OK) return err;
    if (take(r, close)) return close_container(r);
    do {
        mrl_assembly_top(&r->assembly)->count++;
        err = is_map ? read_pair(r) : read_value(r);
        if (err != MERLE_OK) return err;
    } while (take(r, ','));
    if (!take(r, close)) return refuse(r, "a comma or a closing bracket is missing");
    return close_container(r);
}

/* Calls itself through read_container, at most MRL_FRAME_MAX deep. */
static merle_err read_value(reader *r) {
    mrl_piece piece;
    skip_blanks(r);
    if (r->at == r->end) return refuse(r, "it ends where a value should be");
    switch (*r->at) {
    case '{':
        r->at++;
        return read_container(r, 1);
    case '[':
        r->at++;
        return read_container(r, 0);
    case '"':
        r->at++;
        return read_string(r);
    case 't':
        mrl_piece_bool(&piece, 1);
        return read_word(r, "true", &piece);
    case 'f':
        mrl_piece_bool(&piece, 0);
        return read_word(r, "false", &piece);
    case 'n':
        mrl_piece_nil(&piece);
        return read_word(r, "null", &piece);
    default:
        return read_number(r);
    }
}

static merle_err read_document(reader *r) {
    if (!take(r, '{')) return refuse(r, "a document is one object");
    merle_err err = read_container(r, 1);
    if (err != MERLE_OK) return err;
    skip_blanks(r);
    if (r->at != r->end) return refuse(r, "something follows the object");
    /* The depth that counts is known only now, and a second opinion costs little. */
    const merle_buffer *out = r->assembly.out;
    return mrl_check_document(out->data, out->size, r->report);
}

merle_err merle_json_read(merle_bytes json, merle_buffer *out_document, merle_report *report) {
    reader r;
    r.begin = r.at = json.data;
    r.end = r.begin + json.size;
    r.report = report;
    mrl_assembly_begin(&r.assembly, out_document);
    /* strtod asks the thread's locale what the decimal point is. The C locale costs nothing. */
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0) return refuse_as(&r, MERLE_NO_MEMORY, "no memory is left");
    locale_t before = uselocale(plain);
    merle_err err = read_document(&r);
    uselocale(before);
    freelocale(plain);
    if (err != MERLE_OK) out_document->size = 0;
    return err;
}
