/* document/textform.c - bytes as base64 and timestamps as text.
 * SPDX-License-Identifier: Apache-2.0 */
#include "document/textform.h"

/* ---- base64 ---- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void mrl_base64_encode(const uint8_t *data, size_t size, char *out) {
    for (; size >= 3; size -= 3, data += 3) {
        uint32_t bits = ((uint32_t)data[0] << 16) | ((uint32_t)data[1] << 8) | data[2];
        *out++ = digits[bits >> 18];
        *out++ = digits[(bits >> 12) & 63];
        *out++ = digits[(bits >> 6) & 63];
        *out++ = digits[bits & 63];
    }
    if (size == 0) return;
    uint32_t bits = ((uint32_t)data[0] << 16) | (size == 2 ? (uint32_t)data[1] << 8 : 0);
    *out++ = digits[bits >> 18];
    *out++ = digits[(bits >> 12) & 63];
    *out++ = size == 2 ? digits[(bits >> 6) & 63] : '=';
    *out++ = '=';
}

/* 64 for what is no digit. */
static uint32_t digit_value(uint8_t byte) {
    if (byte >= 'A' && byte <= 'Z') return byte - 'A';
    if (byte >= 'a' && byte <= 'z') return byte - 'a' + 26u;
    if (byte >= '0' && byte <= '9') return byte - '0' + 52u;
    if (byte == '+') return 62;
    return byte == '/' ? 63 : 64;
}

int mrl_base64_decode(const uint8_t *text, size_t size, uint8_t *out, size_t *out_size) {
    size_t padding = 0, written = 0;
    *out_size = 0;
    if (size % 4 != 0) return 0;
    if (size > 0 && text[size - 1] == '=') padding = text[size - 2] == '=' ? 2 : 1;
    for (size_t at = 0; at < size; at += 4) {
        size_t kept = at + 4 == size ? 4 - padding : 4;
        uint32_t bits = 0;
        for (size_t i = 0; i < 4; i++) {
            uint32_t value = i < kept ? digit_value(text[at + i]) : 0;
            if (value == 64) return 0;
            bits = (bits << 6) | value;
        }
        /* Bits behind the last byte would make two texts of the same bytes. */
        if (kept == 2 && (bits & 0xffff) != 0) return 0;
        if (kept == 3 && (bits & 0xff) != 0) return 0;
        out[written++] = (uint8_t)(bits >> 16);
        if (kept > 2) out[written++] = (uint8_t)(bits >> 8);
        if (kept > 3) out[written++] = (uint8_t)bits;
    }
    *out_size = written;
    return 1;
}

/* ---- timestamps ---- */

#define DAY_SECONDS 86400
/* Days from 0000-03-01 to 1970-01-01, and in 400 years. Counting years from March puts the leap day
 * at the end of the year, where it moves nothing else. */
#define DAYS_TO_1970 719468
#define ERA_DAYS 146097

static int64_t days_of(int64_t year, unsigned month, unsigned day) {
    if (month <= 2) year--;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t month_from_march = (month + 9) % 12;
    int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * ERA_DAYS + day_of_era - DAYS_TO_1970;
}

static void date_of(int64_t days, unsigned *out_year, unsigned *out_month, unsigned *out_day) {
    days += DAYS_TO_1970;
    int64_t era = (days >= 0 ? days : days - (ERA_DAYS - 1)) / ERA_DAYS;
    int64_t day_of_era = days - era * ERA_DAYS;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    *out_day = (unsigned)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    *out_month = (unsigned)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    *out_year = (unsigned)(year_of_era + era * 400 + (*out_month <= 2));
}

static char *write_digits(char *out, unsigned number, unsigned digit_count) {
    for (unsigned i = digit_count; i > 0; i--) {
        out[i - 1] = (char)('0' + number % 10);
        number /= 10;
    }
    return out + digit_count;
}

size_t mrl_time_write(int64_t seconds, uint32_t nanoseconds, char out[MRL_TIME_TEXT_SIZE_MAX]) {
    int64_t days = seconds / DAY_SECONDS;
    if (seconds % DAY_SECONDS < 0) days--;
    unsigned rest = (unsigned)(seconds - days * DAY_SECONDS);
    unsigned year, month, day;
    char *at = out;
    date_of(days, &year, &month, &day);
    at = write_digits(at, year, 4);
    *at++ = '-';
    at = write_digits(at, month, 2);
    *at++ = '-';
    at = write_digits(at, day, 2);
    *at++ = 'T';
    at = write_digits(at, rest / 3600, 2);
    *at++ = ':';
    at = write_digits(at, rest / 60 % 60, 2);
    *at++ = ':';
    at = write_digits(at, rest % 60, 2);
    if (nanoseconds > 0) {
        *at++ = '.';
        at = write_digits(at, nanoseconds, 9);
        while (at[-1] == '0') at--;
    }
    *at++ = 'Z';
    *at = 0;
    return (size_t)(at - out);
}

typedef struct time_reader {
    const uint8_t *at;
    const uint8_t *end;
    int is_good;
} time_reader;

static unsigned read_digits(time_reader *r, unsigned digit_count) {
    unsigned number = 0;
    for (; digit_count > 0; digit_count--) {
        if (r->at == r->end || *r->at < '0' || *r->at > '9') {
            r->is_good = 0;
            return 0;
        }
        number = number * 10 + (*r->at++ - (unsigned)'0');
    }
    return number;
}

static void read_mark(time_reader *r, char mark) {
    if (r->at == r->end || *r->at != (uint8_t)mark)
        r->is_good = 0;
    else
        r->at++;
}

static uint32_t read_fraction(time_reader *r) {
    uint32_t fraction = 0;
    unsigned digit_count = 0;
    if (r->at == r->end || *r->at != '.') return 0;
    r->at++;
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9' && digit_count < 9; digit_count++)
        fraction = fraction * 10 + (*r->at++ - (uint32_t)'0');
    if (digit_count == 0) r->is_good = 0;
    for (; digit_count < 9; digit_count++) fraction *= 10;
    return fraction;
}

/* "Z", or how far local time is ahead of it. */
static int64_t read_zone(time_reader *r) {
    if (r->at == r->end) {
        r->is_good = 0;
        return 0;
    }
    uint8_t mark = *r->at++;
    if (mark == 'Z') return 0;
    if (mark != '+' && mark != '-') r->is_good = 0;
    unsigned hours = read_digits(r, 2);
    read_mark(r, ':');
    unsigned minutes = read_digits(r, 2);
    if (hours > 23 || minutes > 59) r->is_good = 0;
    int64_t ahead = (int64_t)hours * 3600 + minutes * 60;
    return mark == '-' ? -ahead : ahead;
}

static unsigned days_in_month(unsigned year, unsigned month) {
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)) return 29;
    return days[month - 1];
}

int mrl_time_read(const uint8_t *text, size_t size, int64_t *out_seconds,
                  uint32_t *out_nanoseconds) {
    time_reader r = {text, text + size, 1};
    unsigned year = read_digits(&r, 4);
    read_mark(&r, '-');
    unsigned month = read_digits(&r, 2);
    read_mark(&r, '-');
    unsigned day = read_digits(&r, 2);
    read_mark(&r, 'T');
    unsigned hour = read_digits(&r, 2);
    read_mark(&r, ':');
    unsigned minute = read_digits(&r, 2);
    read_mark(&r, ':');
    unsigned second = read_digits(&r, 2);
    uint32_t fraction = read_fraction(&r);
    int64_t ahead = read_zone(&r);
    if (!r.is_good || r.at != r.end || month < 1 || month > 12) return 0;
    if (day < 1 || day > days_in_month(year, month)) return 0;
    if (hour > 23 || minute > 59 || second > 59) return 0;
    *out_seconds = days_of(year, month, day) * DAY_SECONDS + (int64_t)hour * 3600 +
                   (int64_t)minute * 60 + second - ahead;
    *out_nanoseconds = fraction;
    return 1;
}
