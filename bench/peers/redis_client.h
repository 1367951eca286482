/* bench/peers/redis_client.h - talking to a Redis server: the operations of the workload.
 *
 * What    commands put together word by word, and each operation on a document as one command; see
 *         redis.c for what is kept where.
 * Owns    nothing; a link belongs to whoever opened it.
 * Sees    an error of the server, or of the link, ends the process.
 * Threads redis_scripts_load first, by one; then any, a link each.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef BENCH_PEERS_REDIS_CLIENT_H
#define BENCH_PEERS_REDIS_CLIENT_H

#include <hiredis/hiredis.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/common/record.h"

#define REDIS_ARGUMENT_MAX 72u
#define REDIS_ANY_LANG 8u

enum {
    REDIS_SCRIPT_INSERT,
    REDIS_SCRIPT_UNIQUE,
    REDIS_SCRIPT_UPDATE,
    REDIS_SCRIPT_PATCH,
    REDIS_SCRIPT_REMOVE,
    REDIS_SCRIPT_COUNT
};

/* What queries met. */
typedef struct redis_found {
    uint64_t count;
    uint64_t sum;
} redis_found;

/* One command being put together. */
typedef struct redis_words {
    const char *texts[REDIS_ARGUMENT_MAX];
    size_t sizes[REDIS_ARGUMENT_MAX];
    int count;
} redis_words;

/* Where the texts of a command lie that are not the record's own. */
typedef struct redis_texts {
    char name[2 + BENCH_NAME_SIZE + 1];
    char email[2 + BENCH_EMAIL_SIZE + 1];
    char score[24];
} redis_texts;

redisContext *redis_link_open(const char *socket_path);
void redis_scripts_load(redisContext *link);

void redis_add_text(redis_words *command, const char *text);
void redis_add_bytes(redis_words *command, const void *bytes, size_t size);
redis_words redis_script_begin(int script);
/* The answer; ask_number: the number that it is, -1 if it is none. */
redisReply *redis_ask(redisContext *link, redis_words *command);
long long redis_ask_number(redisContext *link, redis_words *command);

/* Adds a document that was answered, if it is one. */
void redis_found_add(redis_found *all, const redisReply *document);
redis_found redis_find_key(redisContext *link, const char *key);
redis_found redis_find_email(redisContext *link, uint32_t i);
/* Scores from the first up to, without, the second; the 100 highest; a guild, and a language. */
redis_found redis_find_between(redisContext *link, uint32_t from, uint32_t to);
redis_found redis_find_top(redisContext *link, uint32_t highest);
redis_found redis_find_tagged(redisContext *link, uint32_t guild, uint32_t lang);

/* The words of an insert or update; record and room have to be there as long as they are. */
void redis_insert_words(redis_words *command, redis_texts *room, const bench_record *record);
void redis_update_words(redis_words *command, redis_texts *room, const bench_record *record);
/* 1: done. 0: refused, or there is none. */
unsigned redis_insert(redisContext *link, const bench_record *record);
unsigned redis_update(redisContext *link, const bench_record *record);
unsigned redis_change(redisContext *link, int script, uint32_t i);

#endif
