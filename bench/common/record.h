/* bench/common/record.h - the documents of the workload: what every system is given, byte for byte.
 *
 * What    record number i of the workload page, its keys, its msgpack bytes, and a small reader
 *         of such bytes for the systems that have none of their own.
 * Owns    nothing: a record lies where the caller puts it.
 * Sees    the same i and version give the same bytes, in every run and for every system.
 * Threads any.
 * Limits  i below 100,000,000 (eight digits).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef BENCH_COMMON_RECORD_H
#define BENCH_COMMON_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BENCH_KEY_SIZE 9u
#define BENCH_NAME_SIZE 15u
#define BENCH_EMAIL_SIZE 21u
#define BENCH_GUILD_SIZE 12u
#define BENCH_LANG_SIZE 6u
#define BENCH_BIO_SIZE 64u
#define BENCH_ENCODED_SIZE_MAX 224u

/* The texts are terminated, so that any system can take them as it likes. */
typedef struct bench_record {
    char key[BENCH_KEY_SIZE + 1];
    char name[BENCH_NAME_SIZE + 1];
    char email[BENCH_EMAIL_SIZE + 1];
    char guild[BENCH_GUILD_SIZE + 1];
    char lang[BENCH_LANG_SIZE + 1];
    char bio[BENCH_BIO_SIZE + 1];
    uint64_t score;
    uint64_t gold;
    size_t size; /* of bytes */
    uint8_t bytes[BENCH_ENCODED_SIZE_MAX];
} bench_record;

/* splitmix64 of one number. */
static inline uint64_t bench_mix(uint64_t number) {
    number += 0x9e3779b97f4a7c15u;
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9u;
    number = (number ^ (number >> 27)) * 0x94d049bb133111ebu;
    return number ^ (number >> 31);
}

/* A pseudo-random number below limit. */
static inline uint32_t bench_below(uint64_t number, uint32_t limit) {
    return (uint32_t)(((unsigned __int128)bench_mix(number) * limit) >> 64);
}

/* The score of record i; version 0 is the one inserted, each update has a version of its own. */
static inline uint64_t bench_score(uint64_t i, uint64_t version, uint32_t count) {
    return bench_mix(i + (version << 32)) % count;
}

/* Which guild record i is in, of how many; each version has one of its own. A guild has 100
 * members, a language an eighth of all. */
static inline uint32_t bench_guild_count(uint32_t count) {
    return count < 100 ? 1 : count / 100;
}
static inline uint32_t bench_guild(uint64_t i, uint64_t version, uint32_t count) {
    return (uint32_t)((i + version) % bench_guild_count(count));
}
#define BENCH_LANG_COUNT 8u
static inline uint32_t bench_lang(uint64_t i) {
    return (uint32_t)(bench_mix(i) % BENCH_LANG_COUNT);
}

/* Texts of record i, terminated. The absent key looks like a key, lies between the others in order,
 * and is none of them. */
void bench_key_write(char out_key[BENCH_KEY_SIZE + 1], uint32_t i);
void bench_absent_key_write(char out_key[BENCH_KEY_SIZE + 1], uint32_t i);
void bench_email_write(char out_email[BENCH_EMAIL_SIZE + 1], uint32_t i);
void bench_guild_write(char out_guild[BENCH_GUILD_SIZE + 1], uint32_t guild);
void bench_lang_write(char out_lang[BENCH_LANG_SIZE + 1], uint32_t lang);

/* Record i of count, in its version, with its msgpack bytes. */
void bench_record_make(bench_record *out_record, uint32_t i, uint64_t version, uint32_t count);
/* The same with another record's email, which is then taken. */
void bench_record_make_taken(bench_record *out_record, uint32_t i, uint32_t email_of,
                             uint32_t count);

/* The string or the number under a name at the top of such a document: a scan over what is before
 * it. A number that is not there, or no whole number at all, is UINT64_MAX; a string NULL. */
uint64_t bench_find_uint(const uint8_t *bytes, size_t size, const char *name);
const char *bench_find_text(const uint8_t *bytes, size_t size, const char *name, size_t *out_size);

/* Where such a document has its score, and the value itself: what "touching" one means where many
 * are read. Everything before the score has one size, so no system has to search for it. A document
 * that is not as written gives a number that is found wrong when all are added up. */
#define BENCH_SCORE_OFFSET (1u + 5 + 1 + BENCH_NAME_SIZE + 6 + 1 + BENCH_EMAIL_SIZE + 6)
static inline uint64_t bench_score_read(const uint8_t *bytes, size_t *out_size) {
    const uint8_t *at = bytes + BENCH_SCORE_OFFSET;
    uint16_t two;
    uint32_t four;
    switch (*at) {
    case 0xcc:
        *out_size = 2;
        return at[1];
    case 0xcd:
        memcpy(&two, at + 1, sizeof two);
        *out_size = 3;
        return __builtin_bswap16(two);
    case 0xce:
        memcpy(&four, at + 1, sizeof four);
        *out_size = 5;
        return __builtin_bswap32(four);
    default:
        *out_size = 1;
        return *at;
    }
}
/* Whether it has this language: the last byte of the second tag. */
static inline unsigned bench_lang_is(const uint8_t *bytes, uint32_t lang) {
    size_t size;
    (void)bench_score_read(bytes, &size);
    return bytes[BENCH_SCORE_OFFSET + size + 5 + 1 + 1 + BENCH_GUILD_SIZE + BENCH_LANG_SIZE] ==
           '0' + lang;
}

/* Writes the document again with gold one higher; out_bytes has room for BENCH_ENCODED_SIZE_MAX.
 * gold is the last field. Returns the new size, 0 if there is no gold. */
size_t bench_gold_raise(const uint8_t *bytes, size_t size, uint8_t *out_bytes);

#endif
