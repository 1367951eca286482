/* document/json_write.c - JSON text of documents. SPDX-License-Identifier: Apache-2.0 */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "document/check.h"
#include "document/scan.h"
#include "document/textform.h"

typedef struct writer {
    merle_buffer *out;
    merle_err err; /* the first one; nothing is written after it */
    int is_indented;
} writer;

static void put(writer *w, const void *data, size_t size) {
    if (w->err == MERLE_OK) w->err = mrl_buffer_append(w->out, data, size);
}

static void put_text(writer *w, const char *text) {
    put(w, text, strlen(text));
}

static void put_line(writer *w, uint32_t depth) {
    static const char blanks[] = "                                ";
    if (!w->is_indented) return;
    put(w, "\n", 1);
    for (size_t left = 2 * (size_t)depth; left > 0;) {
        size_t size = left < sizeof(blanks) - 1 ? left : sizeof(blanks) - 1;
        put(w, blanks, size);
        left -= size;
    }
}

/* What stands behind the backslash; 0 for a byte that needs none. */
static char escape_of(uint8_t byte) {
    switch (byte) {
    case '"':
        return '"';
    case '\\':
        return '\\';
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return byte < 0x20 ? 'u' : 0;
    }
}

static void put_escaped(writer *w, const uint8_t *text, size_t size) {
    size_t run = 0;
    for (size_t at = 0; at < size; at++) {
        char escape = escape_of(text[at]);
        if (escape == 0) continue;
        char long_form[8];
        const char short_form[2] = {'\\', escape};
        put(w, text + run, at - run);
        run = at + 1;
        if (escape != 'u') {
            put(w, short_form, sizeof(short_form));
            continue;
        }
        snprintf(long_form, sizeof(long_form), "\\u%04x", text[at]);
        put(w, long_form, 6);
    }
    put(w, text + run, size - run);
}

static void put_string(writer *w, const uint8_t *text, size_t size) {
    put(w, "\"", 1);
    put_escaped(w, text, size);
    put(w, "\"", 1);
}

static void put_base64(writer *w, const uint8_t *data, size_t size) {
    put(w, "\"", 1);
    size_t room = mrl_base64_size(size);
    if (w->err == MERLE_OK) w->err = mrl_buffer_reserve(w->out, room);
    if (w->err == MERLE_OK) {
        mrl_base64_encode(data, size, (char *)w->out->data + w->out->size);
        w->out->size += room;
    }
    put(w, "\"", 1);
}

static void put_ext(writer *w, int8_t type, const uint8_t *data, size_t size) {
    char text[32];
    snprintf(text, sizeof(text), "{\"$ext\":[%d,", type);
    put_text(w, text);
    put_base64(w, data, size);
    put_text(w, "]}");
}

static void put_time(writer *w, int64_t seconds, uint32_t nanoseconds) {
    if (seconds < MRL_TIME_SECONDS_MIN || seconds > MRL_TIME_SECONDS_MAX) {
        /* A year of more than four digits has no text form, so the bytes are given. */
        uint8_t bytes[12];
        mrl_scan_put_u32(bytes, nanoseconds);
        mrl_scan_put_u64(bytes + 4, (uint64_t)seconds);
        put_ext(w, MRL_TIME_EXT_TYPE, bytes, sizeof(bytes));
        return;
    }
    char text[MRL_TIME_TEXT_SIZE_MAX];
    size_t size = mrl_time_write(seconds, nanoseconds, text);
    put_text(w, "{\"$time\":\"");
    put(w, text, size);
    put_text(w, "\"}");
}

/* The fewest digits that read back as the same number, and always a sign that it is a float. */
static void put_float(writer *w, double number) {
    char text[40];
    if (number != number) {
        put_text(w, "{\"$float\":\"nan\"}");
        return;
    }
    if (number - number != 0) {
        put_text(w, number > 0 ? "{\"$float\":\"inf\"}" : "{\"$float\":\"-inf\"}");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, number);
        if (strtod(text, NULL) == number) break;
    }
    put_text(w, text);
    if (strpbrk(text, ".e") == NULL) put_text(w, ".0");
}

static void put_scalar(writer *w, const merle_value *value) {
    char text[32];
    switch (value->type) {
    case MERLE_TYPE_NIL:
        put_text(w, "null");
        return;
    case MERLE_TYPE_BOOL:
        put_text(w, value->number.i ? "true" : "false");
        return;
    case MERLE_TYPE_INT:
        snprintf(text, sizeof(text), "%lld", (long long)value->number.i);
        put_text(w, text);
        return;
    case MERLE_TYPE_UINT:
        snprintf(text, sizeof(text), "%llu", (unsigned long long)value->number.u);
        put_text(w, text);
        return;
    case MERLE_TYPE_FLOAT:
        put_float(w, value->number.f);
        return;
    case MERLE_TYPE_STR:
        put_string(w, value->bytes.data, value->bytes.size);
        return;
    case MERLE_TYPE_BIN:
        put_text(w, "{\"$bin\":");
        put_base64(w, value->bytes.data, value->bytes.size);
        put_text(w, "}");
        return;
    case MERLE_TYPE_TIME:
        put_time(w, value->number.i, value->count);
        return;
    default:
        put_ext(w, value->ext_type, value->bytes.data, value->bytes.size);
        return;
    }
}

/* Writes a map's key and gives the value behind it. A single name that begins with $ gets one more,
 * so that the map is not taken for something that JSON has no form for. */
static const uint8_t *put_key(writer *w, const uint8_t *at, int is_single) {
    const uint8_t *text;
    uint32_t size;
    if (!mrl_scan_str(at, &text, &size)) {
        if (w->err == MERLE_OK) w->err = MERLE_TYPE;
        return mrl_scan_skip(at);
    }
    put(w, "\"", 1);
    if (is_single && size > 0 && *text == '$') put(w, "$", 1);
    put_escaped(w, text, size);
    put_text(w, w->is_indented ? "\": " : "\":");
    return text + size;
}

/* Writes the value at `at`, inside `depth` others, and gives the byte behind it. Calls itself at
 * most MERLE_DEPTH_MAX deep, as the document was checked. */
static const uint8_t *put_value(writer *w, const uint8_t *at, uint32_t depth) {
    const uint8_t *first;
    uint32_t count;
    merle_type type = mrl_scan_container(at, &first, &count);
    if (type == MERLE_TYPE_NONE) {
        merle_value value;
        at = mrl_scan_value(at, &value);
        put_scalar(w, &value);
        return at;
    }
    int is_map = type == MERLE_TYPE_MAP;
    at = first;
    put_text(w, is_map ? "{" : "[");
    for (uint32_t i = 0; i < count && w->err == MERLE_OK; i++) {
        if (i > 0) put_text(w, ",");
        put_line(w, depth + 1);
        if (is_map) at = put_key(w, at, count == 1 && depth > 0);
        at = put_value(w, at, depth + 1);
    }
    if (count > 0) put_line(w, depth);
    put_text(w, is_map ? "}" : "]");
    return at;
}

merle_err merle_json_write(merle_bytes document, merle_json_style style, merle_buffer *out_json) {
    out_json->size = 0;
    merle_err err = mrl_check_document(document.data, document.size, NULL);
    if (err != MERLE_OK) return err;
    /* snprintf asks the thread's locale what the decimal point is. The C locale costs nothing. */
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0) return MERLE_NO_MEMORY;
    locale_t before = uselocale(plain);
    writer w = {out_json, MERLE_OK, style == MERLE_JSON_INDENTED};
    put_value(&w, document.data, 0);
    uselocale(before);
    freelocale(plain);
    if (w.err != MERLE_OK) out_json->size = 0;
    return w.err;
}
