/* tools/merle/text.c - keys and times as text, and back.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/merle/print.h"

#define SECOND_NS 1000000000

/* ---- keys ---- */

size_t print_key(merle_bytes key, char *out) {
    const unsigned char *at = key.data;
    size_t size = 0;
    for (size_t i = 0; i < key.size; i++) {
        if (at[i] == '\\') {
            out[size++] = '\\';
            out[size++] = '\\';
        } else if (at[i] > 0x20 && at[i] < 0x7f) {
            out[size++] = (char)at[i];
        } else {
            size += (size_t)sprintf(out + size, "\\x%02x", at[i]);
        }
    }
    return size;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

int print_key_read(const char *text, uint8_t *out, size_t *out_size) {
    size_t size = 0;
    for (; *text != 0; text++) {
        uint8_t byte = (uint8_t)*text;
        if (size == MERLE_KEY_SIZE_MAX) return 0;
        if (*text == '\\' && text[1] == '\\') {
            text++;
        } else if (*text == '\\') {
            if (text[1] != 'x' || hex_digit(text[2]) < 0 || hex_digit(text[3]) < 0) return 0;
            byte = (uint8_t)(hex_digit(text[2]) * 16 + hex_digit(text[3]));
            text += 3;
        }
        out[size++] = byte;
    }
    *out_size = size;
    return size > 0;
}

/* ---- times ---- */

void print_time(int64_t time_ns, char out[PRINT_TIME_SIZE]) {
    char day[32] = "";
    struct tm parts;
    int64_t seconds = time_ns / SECOND_NS, rest = time_ns % SECOND_NS;
    if (rest < 0) {
        seconds--;
        rest += SECOND_NS;
    }
    time_t at = (time_t)seconds;
    if (gmtime_r(&at, &parts) != NULL) (void)strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out, PRINT_TIME_SIZE, "%s.%09dZ", day, (int)rest);
}

/* ".5" is half a second. What follows it is *out_end. */
static int read_part(const char *text, int64_t *out_ns, const char **out_end) {
    int64_t worth = SECOND_NS;
    *out_ns = 0;
    *out_end = text;
    if (*text != '.') return 1;
    for (text++; *text >= '0' && *text <= '9'; text++) {
        worth /= 10;
        *out_ns += (*text - '0') * worth;
    }
    *out_end = text;
    return worth < SECOND_NS;
}

static int read_number(const char *text, int64_t *out) {
    char *end;
    if (*text < '0' || *text > '9') return 0;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return errno == 0 && *end == 0;
}

int print_time_read(const char *text, int64_t *out_time_ns) {
    struct tm parts = {0};
    int64_t part;
    if (read_number(text, out_time_ns)) return 1;
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
    if (rest == NULL || !read_part(rest, &part, &rest)) return 0;
    if (strcmp(rest, "Z") != 0) return 0;
    time_t seconds = timegm(&parts);
    if (seconds < 0 || seconds > INT64_MAX / SECOND_NS - 1) return 0;
    *out_time_ns = (int64_t)seconds * SECOND_NS + part;
    return 1;
}
