/* bench/peers/redis_client.c - see redis_client.h. SPDX-License-Identifier: Apache-2.0 */
#include "bench/peers/redis_client.h"

#include <stdio.h>
#include <string.h>

#include "bench/common/measure.h"

#define BATCH 64u

/* KEYS are not declared one by one: the server is no cluster. A guild's name can be found in the
 * bytes, and gold is the last field; only a removal unpacks the document. */
static const char *const script_texts[REDIS_SCRIPT_COUNT] = {
    /* key, document, name, email, score, guild, lang */
    "if redis.call('MSETNX', ARGV[1], ARGV[2], ARGV[3], ARGV[1], ARGV[4], ARGV[1]) == 0 then "
    "return 0 end "
    "redis.call('ZADD', 'score', ARGV[5], ARGV[1]) "
    "redis.call('SADD', ARGV[6], ARGV[1]) redis.call('SADD', ARGV[7], ARGV[1]) return 1",
    "local key = redis.call('GET', ARGV[1]) return key and redis.call('GET', key)",
    /* key, document, score, guild */
    "local old = redis.call('SET', ARGV[1], ARGV[2], 'GET') "
    "local at = string.find(old, 'guild:', 1, true) "
    "local guild = string.sub(old, at, at + 11) "
    "redis.call('ZADD', 'score', ARGV[3], ARGV[1]) "
    "if guild ~= ARGV[4] then redis.call('SMOVE', guild, ARGV[4], ARGV[1]) end return 1",
    "local old = redis.call('GET', ARGV[1]) "
    "local at = string.find(old, 'gold', 1, true) + 4 "
    "local gold = cmsgpack.unpack(string.sub(old, at)) + 1 "
    "redis.call('SET', ARGV[1], string.sub(old, 1, at - 1) .. cmsgpack.pack(gold)) return 1",
    "local old = redis.call('GET', ARGV[1]) if not old then return 0 end "
    "local fields = cmsgpack.unpack(old) "
    "redis.call('DEL', ARGV[1], 'n:' .. fields.name, 'e:' .. fields.email) "
    "redis.call('ZREM', 'score', ARGV[1]) "
    "redis.call('SREM', fields.tags[1], ARGV[1]) redis.call('SREM', fields.tags[2], ARGV[1]) "
    "return 1",
};

static char script_names[REDIS_SCRIPT_COUNT][41];

/* ---- talking ---- */

void redis_add_text(redis_words *command, const char *text) {
    command->texts[command->count] = text;
    command->sizes[command->count++] = strlen(text);
}

void redis_add_bytes(redis_words *command, const void *bytes, size_t size) {
    command->texts[command->count] = bytes;
    command->sizes[command->count++] = size;
}

redisReply *redis_ask(redisContext *link, redis_words *command) {
    redisReply *reply = redisCommandArgv(link, command->count, command->texts, command->sizes);
    if (reply == NULL) bench_die("redis: %s", link->errstr);
    if (reply->type == REDIS_REPLY_ERROR) bench_die("redis: %s", reply->str);
    return reply;
}

redis_words redis_script_begin(int script) {
    redis_words command = {.count = 0};
    redis_add_text(&command, "EVALSHA");
    redis_add_bytes(&command, script_names[script], 40);
    redis_add_text(&command, "0");
    return command;
}

/* The number that a script answers. */
long long redis_ask_number(redisContext *link, redis_words *command) {
    redisReply *reply = redis_ask(link, command);
    long long number = reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
    freeReplyObject(reply);
    return number;
}

redisContext *redis_link_open(const char *socket_path) {
    redisContext *link = redisConnectUnix(socket_path);
    if (link == NULL || link->err != 0) bench_die("redis: no server at %s", socket_path);
    return link;
}

void redis_scripts_load(redisContext *link) {
    for (int i = 0; i < REDIS_SCRIPT_COUNT; i++) {
        redis_words command = {.count = 0};
        redis_add_text(&command, "SCRIPT");
        redis_add_text(&command, "LOAD");
        redis_add_text(&command, script_texts[i]);
        redisReply *reply = redis_ask(link, &command);
        memcpy(script_names[i], reply->str, 41);
        freeReplyObject(reply);
    }
}

/* ---- operations ---- */

void redis_found_add(redis_found *all, const redisReply *document) {
    if (document->type != REDIS_REPLY_STRING) return;
    all->count++;
    all->sum += bench_find_uint((const uint8_t *)document->str, document->len, "score");
}

static redis_found find_one(redisContext *link, redis_words *command) {
    redis_found all = {0};
    redisReply *reply = redis_ask(link, command);
    redis_found_add(&all, reply);
    freeReplyObject(reply);
    return all;
}

redis_found redis_find_key(redisContext *link, const char *key) {
    redis_words command = {.count = 0};
    redis_add_bytes(&command, "GET", 3);
    redis_add_bytes(&command, key, BENCH_KEY_SIZE);
    return find_one(link, &command);
}

static void add_email_key(redis_words *command, char text[2 + BENCH_EMAIL_SIZE + 1], uint32_t i) {
    memcpy(text, "e:", 2);
    bench_email_write(text + 2, i);
    redis_add_bytes(command, text, 2 + BENCH_EMAIL_SIZE);
}

redis_found redis_find_email(redisContext *link, uint32_t i) {
    char email[2 + BENCH_EMAIL_SIZE + 1];
    redis_words command = redis_script_begin(REDIS_SCRIPT_UNIQUE);
    add_email_key(&command, email, i);
    return find_one(link, &command);
}

/* Lists keys by one command, then takes all their documents by another. */
static redis_found find_listed(redisContext *link, redis_words *list) {
    redis_found all = {0};
    redisReply *keys = redis_ask(link, list);
    for (size_t begin = 0; begin < keys->elements; begin += BATCH * 2) {
        const char *texts[1 + BATCH * 2] = {"MGET"};
        size_t sizes[1 + BATCH * 2] = {4};
        size_t count = keys->elements - begin < BATCH * 2 ? keys->elements - begin : BATCH * 2;
        for (size_t i = 0; i < count; i++) {
            texts[1 + i] = keys->element[begin + i]->str;
            sizes[1 + i] = keys->element[begin + i]->len;
        }
        redisReply *documents = redisCommandArgv(link, (int)count + 1, texts, sizes);
        if (documents == NULL) bench_die("redis: %s", link->errstr);
        for (size_t i = 0; i < documents->elements; i++)
            redis_found_add(&all, documents->element[i]);
        freeReplyObject(documents);
    }
    freeReplyObject(keys);
    return all;
}

redis_found redis_find_between(redisContext *link, uint32_t from, uint32_t to) {
    char low[16];
    char high[16];
    redis_words command = {.count = 0};
    snprintf(low, sizeof low, "%u", from);
    snprintf(high, sizeof high, "(%u", to);
    redis_add_text(&command, "ZRANGE");
    redis_add_text(&command, "score");
    redis_add_text(&command, low);
    redis_add_text(&command, high);
    redis_add_text(&command, "BYSCORE");
    return find_listed(link, &command);
}

redis_found redis_find_top(redisContext *link, uint32_t highest) {
    char high[16];
    const char *const rest[] = {"-inf", "BYSCORE", "REV", "LIMIT", "0", "100"};
    redis_words command = {.count = 0};
    snprintf(high, sizeof high, "%u", highest);
    redis_add_text(&command, "ZRANGE");
    redis_add_text(&command, "score");
    redis_add_text(&command, high);
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) redis_add_text(&command, rest[i]);
    return find_listed(link, &command);
}

/* All documents of a set by one command, or those in both sets by two. */
redis_found redis_find_tagged(redisContext *link, uint32_t guild, uint32_t lang) {
    char guild_text[24];
    char lang_text[24];
    redis_words command = {.count = 0};
    snprintf(guild_text, sizeof guild_text, "guild:%06u", guild);
    snprintf(lang_text, sizeof lang_text, "lang:%u", lang);
    if (lang != REDIS_ANY_LANG) {
        redis_add_text(&command, "SINTER");
        redis_add_text(&command, guild_text);
        redis_add_text(&command, lang_text);
        return find_listed(link, &command);
    }
    const char *const rest[] = {guild_text, "BY", "nosort", "GET", "*"};
    redis_add_text(&command, "SORT");
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) redis_add_text(&command, rest[i]);
    redis_found all = {0};
    redisReply *documents = redis_ask(link, &command);
    for (size_t i = 0; i < documents->elements; i++) redis_found_add(&all, documents->element[i]);
    freeReplyObject(documents);
    return all;
}

/* The texts of an insert have to live as long as its redis_words. */
void redis_insert_words(redis_words *command, redis_texts *room, const bench_record *record) {
    *command = redis_script_begin(REDIS_SCRIPT_INSERT);
    snprintf(room->name, sizeof room->name, "n:%s", record->name);
    snprintf(room->email, sizeof room->email, "e:%s", record->email);
    snprintf(room->score, sizeof room->score, "%lu", record->score);
    redis_add_bytes(command, record->key, BENCH_KEY_SIZE);
    redis_add_bytes(command, record->bytes, record->size);
    redis_add_text(command, room->name);
    redis_add_text(command, room->email);
    redis_add_text(command, room->score);
    redis_add_bytes(command, record->guild, BENCH_GUILD_SIZE);
    redis_add_bytes(command, record->lang, BENCH_LANG_SIZE);
}

void redis_update_words(redis_words *command, redis_texts *room, const bench_record *record) {
    *command = redis_script_begin(REDIS_SCRIPT_UPDATE);
    snprintf(room->score, sizeof room->score, "%lu", record->score);
    redis_add_bytes(command, record->key, BENCH_KEY_SIZE);
    redis_add_bytes(command, record->bytes, record->size);
    redis_add_text(command, room->score);
    redis_add_bytes(command, record->guild, BENCH_GUILD_SIZE);
}

unsigned redis_insert(redisContext *link, const bench_record *record) {
    redis_words command;
    redis_texts room;
    redis_insert_words(&command, &room, record);
    return redis_ask_number(link, &command) == 1;
}

unsigned redis_update(redisContext *link, const bench_record *record) {
    redis_words command;
    redis_texts room;
    redis_update_words(&command, &room, record);
    return redis_ask_number(link, &command) == 1;
}

unsigned redis_change(redisContext *link, int script, uint32_t i) {
    char key[BENCH_KEY_SIZE + 1];
    redis_words command = redis_script_begin(script);
    bench_key_write(key, i);
    redis_add_bytes(&command, key, BENCH_KEY_SIZE);
    return redis_ask_number(link, &command) == 1;
}
