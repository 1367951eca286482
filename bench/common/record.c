/* bench/common/record.c - see record.h. SPDX-License-Identifier: Apache-2.0 */
#include "bench/common/record.h"

/* ---- texts ---- */

static void digits_write(char *out_text, unsigned digit_count, uint32_t number) {
    for (unsigned at = digit_count; at-- > 0; number /= 10) {
        out_text[at] = (char)('0' + number % 10);
    }
}

void bench_key_write(char out_key[BENCH_KEY_SIZE + 1], uint32_t i) {
    out_key[0] = 'p';
    digits_write(out_key + 1, 8, i);
    out_key[BENCH_KEY_SIZE] = 0;
}

void bench_absent_key_write(char out_key[BENCH_KEY_SIZE + 1], uint32_t i) {
    bench_key_write(out_key, i);
    /* A letter where all others have a digit: as many absent keys as there are present ones. */
    out_key[BENCH_KEY_SIZE - 1] = (char)(out_key[BENCH_KEY_SIZE - 1] - '0' + 'a');
}

void bench_email_write(char out_email[BENCH_EMAIL_SIZE + 1], uint32_t i) {
    out_email[0] = 'u';
    digits_write(out_email + 1, 8, i);
    memcpy(out_email + 9, "@example.net", 13);
}

void bench_guild_write(char out_guild[BENCH_GUILD_SIZE + 1], uint32_t guild) {
    memcpy(out_guild, "guild:", 6);
    digits_write(out_guild + 6, 6, guild % 1000000);
    out_guild[BENCH_GUILD_SIZE] = 0;
}

void bench_lang_write(char out_lang[BENCH_LANG_SIZE + 1], uint32_t lang) {
    memcpy(out_lang, "lang:", 5);
    digits_write(out_lang + 5, 1, lang);
    out_lang[BENCH_LANG_SIZE] = 0;
}

/* ---- writing msgpack ---- */

static uint8_t *text_put(uint8_t *at, const char *text, size_t size) {
    if (size < 32) {
        *at++ = (uint8_t)(0xa0 | size);
    } else {
        *at++ = 0xd9;
        *at++ = (uint8_t)size;
    }
    memcpy(at, text, size);
    return at + size;
}

static uint8_t *uint_put(uint8_t *at, uint64_t number) {
    if (number < 128) {
        *at++ = (uint8_t)number;
        return at;
    }
    unsigned width = number < 256 ? 1 : number < 65536 ? 2 : number <= UINT32_MAX ? 4 : 8;
    *at++ = (uint8_t)(width == 1 ? 0xcc : width == 2 ? 0xcd : width == 4 ? 0xce : 0xcf);
    for (unsigned i = 0; i < width; i++) at[i] = (uint8_t)(number >> (8 * (width - 1 - i)));
    return at + width;
}

static void record_encode(bench_record *record) {
    uint8_t *at = record->bytes;
    *at++ = 0x86;
    at = text_put(at, "name", 4);
    at = text_put(at, record->name, BENCH_NAME_SIZE);
    at = text_put(at, "email", 5);
    at = text_put(at, record->email, BENCH_EMAIL_SIZE);
    at = text_put(at, "score", 5);
    at = uint_put(at, record->score);
    at = text_put(at, "tags", 4);
    *at++ = 0x92;
    at = text_put(at, record->guild, BENCH_GUILD_SIZE);
    at = text_put(at, record->lang, BENCH_LANG_SIZE);
    at = text_put(at, "bio", 3);
    at = text_put(at, record->bio, BENCH_BIO_SIZE);
    at = text_put(at, "gold", 4);
    at = uint_put(at, record->gold);
    record->size = (size_t)(at - record->bytes);
}

/* ---- records ---- */

static void record_fill(bench_record *record, uint32_t i, uint32_t email_of, uint64_t version,
                        uint32_t count) {
    bench_key_write(record->key, i);
    memcpy(record->name, "player_", 7);
    digits_write(record->name + 7, 8, i);
    record->name[BENCH_NAME_SIZE] = 0;
    bench_email_write(record->email, email_of);
    bench_guild_write(record->guild, bench_guild(i, version, count));
    bench_lang_write(record->lang, bench_lang(i));
    memset(record->bio, 'b', BENCH_BIO_SIZE);
    record->bio[BENCH_BIO_SIZE] = 0;
    record->score = bench_score(i, version, count);
    record->gold = 0;
    record_encode(record);
}

void bench_record_make(bench_record *out_record, uint32_t i, uint64_t version, uint32_t count) {
    record_fill(out_record, i, i, version, count);
}

void bench_record_make_taken(bench_record *out_record, uint32_t i, uint32_t email_of,
                             uint32_t count) {
    record_fill(out_record, i, email_of, 0, count);
}

/* ---- reading msgpack: only the kinds that the writer above makes ---- */

/* Bytes of the value at `at`; 0 if it is of no kind that the writer makes, or is cut. */
static size_t value_size(const uint8_t *at, const uint8_t *end) {
    if (at >= end) return 0;
    uint8_t head = *at;
    if (head < 0x80) return 1;
    if (head >= 0xa0 && head < 0xc0) return 1 + (size_t)(head & 31);
    if (head >= 0xcc && head <= 0xcf) return 1 + ((size_t)1 << (head - 0xcc));
    if (head == 0xd9 && end - at >= 2) return 2 + (size_t)at[1];
    if (head >= 0x90 && head < 0xa0) {
        size_t size = 1;
        for (unsigned left = head & 15; left > 0; left--) {
            size_t element = value_size(at + size, end);
            if (element == 0) return 0;
            size += element;
        }
        return size;
    }
    return 0;
}

static const uint8_t *value_find(const uint8_t *bytes, size_t size, const char *name) {
    const uint8_t *at = bytes;
    const uint8_t *end = bytes + size;
    size_t name_size = strlen(name);
    if (size == 0 || (*at & 0xf0) != 0x80) return NULL;
    unsigned left = *at++ & 15;
    for (; left > 0; left--) {
        size_t field_size = value_size(at, end);
        const uint8_t *value = at + field_size;
        if (field_size == 0 || value >= end) return NULL;
        if (field_size == name_size + 1 && memcmp(at + 1, name, name_size) == 0) return value;
        size_t skip = value_size(value, end);
        if (skip == 0) return NULL;
        at = value + skip;
    }
    return NULL;
}

uint64_t bench_find_uint(const uint8_t *bytes, size_t size, const char *name) {
    const uint8_t *at = value_find(bytes, size, name);
    if (at == NULL) return UINT64_MAX;
    if (*at < 0x80) return *at;
    if (*at < 0xcc || *at > 0xcf) return UINT64_MAX;
    unsigned width = 1u << (*at - 0xcc);
    uint64_t number = 0;
    for (unsigned i = 0; i < width; i++) number = number << 8 | at[1 + i];
    return number;
}

const char *bench_find_text(const uint8_t *bytes, size_t size, const char *name, size_t *out_size) {
    const uint8_t *at = value_find(bytes, size, name);
    *out_size = 0;
    if (at == NULL) return NULL;
    if (*at >= 0xa0 && *at < 0xc0) {
        *out_size = *at & 31;
        return (const char *)at + 1;
    }
    if (*at != 0xd9) return NULL;
    *out_size = at[1];
    return (const char *)at + 2;
}

size_t bench_gold_raise(const uint8_t *bytes, size_t size, uint8_t *out_bytes) {
    const uint8_t *at = value_find(bytes, size, "gold");
    if (at == NULL) return 0;
    size_t before = (size_t)(at - bytes);
    uint64_t gold = bench_find_uint(bytes, size, "gold");
    memcpy(out_bytes, bytes, before);
    return (size_t)(uint_put(out_bytes + before, gold + 1) - out_bytes);
}
