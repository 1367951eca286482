/* bench/peers/redis.c - the workload on a Redis server behind a unix socket.
 *
 *     peer_redis SOCKET N THREADS PHASES SHARE
 *
 * What    loads N documents, then the phases asked for in the workload's order, each checked.
 *         SHARE of the operations are done.
 * Owns    a connection a worker, and a plain copy of what the documents must say.
 * Sees    RESULT and WRONG lines on stdout as bench/peers/README.md says; a WRONG ends it.
 * Threads record i is written by worker i % threads only, so the last write of each is known.
 *
 * A document is a string under its key, the same msgpack bytes as merle's. Beside it stand n:<name>
 * and e:<email> (the key under a unique value), the sorted set `score`, and a set of keys a tag.
 * Whatever needs more than one command is a script: it is atomic, and one way there and back.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/common/measure.h"
#include "bench/common/record.h"

#define NAME "redis"
#define BATCH 64u
#define WORKER_MAX 16u
#define ARGUMENT_MAX (BATCH + 8u)
#define ANY_LANG 8u

/* The same seeds as in bench/phases.c, then those of the queries. */
enum {
    SEED_ORDER = 1,
    SEED_GET,
    SEED_MISS,
    SEED_MANY,
    SEED_UNIQUE,
    SEED_UPDATE,
    SEED_PATCH,
    SEED_TICK,
    SEED_MIXED,
    SEED_DUP,
    SEED_DELETE,
    SEED_RANGE,
    SEED_TOP,
    SEED_TAG,
    SEED_TAGAND,
    SEED_CHECK
};

enum { SCRIPT_INSERT, SCRIPT_UNIQUE, SCRIPT_UPDATE, SCRIPT_PATCH, SCRIPT_REMOVE, SCRIPT_COUNT };

/* KEYS are not declared one by one: the server is no cluster. A guild's name can be found in the
 * bytes, and gold is the last field; only a removal unpacks the document. */
static const char *const script_texts[SCRIPT_COUNT] = {
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

/* What queries met. */
typedef struct found {
    uint64_t count;
    uint64_t sum;
} found;

/* One operation: which one of all, and its record or where its query begins. */
typedef struct operation {
    uint32_t k;
    uint32_t i;
} operation;

typedef struct peer_client {
    redisContext *link;
    operation *hand;
    size_t hand_size;
    found (*work)(struct peer_client *client);
    found result;
    uint64_t start_ns;
    uint64_t stop_ns;
} peer_client;

/* One command being put together. */
typedef struct words {
    const char *texts[ARGUMENT_MAX];
    size_t sizes[ARGUMENT_MAX];
    int count;
} words;

static uint32_t record_count;
static uint32_t guild_count;
static unsigned worker_count;
static double share;
static uint64_t version_next = 1;
static const char *socket_path;
static char script_names[SCRIPT_COUNT][41];
static peer_client clients[WORKER_MAX];
static redisContext *link_main;
static pthread_barrier_t gate;

/* The copy, and what is made of it by expect(). */
static uint64_t *scores;
static uint32_t *guilds;
static uint64_t *golds;
static uint8_t *gone;
static found *below; /* documents with a score below the place */

/* ---- talking ---- */

static void give_up(const char *phase, const char *why) {
    printf("WRONG " NAME " %s %s\n", phase, why);
    exit(1);
}

static void add_text(words *command, const char *text) {
    command->texts[command->count] = text;
    command->sizes[command->count++] = strlen(text);
}

static void add_bytes(words *command, const void *bytes, size_t size) {
    command->texts[command->count] = bytes;
    command->sizes[command->count++] = size;
}

static redisReply *ask(redisContext *link, words *command) {
    redisReply *reply = redisCommandArgv(link, command->count, command->texts, command->sizes);
    if (reply == NULL) bench_die("redis: %s", link->errstr);
    if (reply->type == REDIS_REPLY_ERROR) bench_die("redis: %s", reply->str);
    return reply;
}

static words script_begin(int script) {
    words command = {.count = 0};
    add_text(&command, "EVALSHA");
    add_bytes(&command, script_names[script], 40);
    add_text(&command, "0");
    return command;
}

/* The number that a script answers. */
static long long ask_number(redisContext *link, words *command) {
    redisReply *reply = ask(link, command);
    long long number = reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
    freeReplyObject(reply);
    return number;
}

static redisContext *link_open(void) {
    redisContext *link = redisConnectUnix(socket_path);
    if (link == NULL || link->err != 0) bench_die("redis: no server at %s", socket_path);
    return link;
}

static void scripts_load(void) {
    for (int i = 0; i < SCRIPT_COUNT; i++) {
        words command = {.count = 0};
        add_text(&command, "SCRIPT");
        add_text(&command, "LOAD");
        add_text(&command, script_texts[i]);
        redisReply *reply = ask(link_main, &command);
        memcpy(script_names[i], reply->str, 41);
        freeReplyObject(reply);
    }
}

/* ---- operations ---- */

static void found_add(found *all, const redisReply *document) {
    if (document->type != REDIS_REPLY_STRING) return;
    all->count++;
    all->sum += bench_find_uint((const uint8_t *)document->str, document->len, "score");
}

static found find_one(redisContext *link, words *command) {
    found all = {0};
    redisReply *reply = ask(link, command);
    found_add(&all, reply);
    freeReplyObject(reply);
    return all;
}

static found find_key(redisContext *link, const char *key) {
    words command = {.count = 0};
    add_bytes(&command, "GET", 3);
    add_bytes(&command, key, BENCH_KEY_SIZE);
    return find_one(link, &command);
}

static void add_email_key(words *command, char text[2 + BENCH_EMAIL_SIZE + 1], uint32_t i) {
    memcpy(text, "e:", 2);
    bench_email_write(text + 2, i);
    add_bytes(command, text, 2 + BENCH_EMAIL_SIZE);
}

static found find_email(redisContext *link, uint32_t i) {
    char email[2 + BENCH_EMAIL_SIZE + 1];
    words command = script_begin(SCRIPT_UNIQUE);
    add_email_key(&command, email, i);
    return find_one(link, &command);
}

/* Lists keys by one command, then takes all their documents by another. */
static found find_listed(redisContext *link, words *list) {
    found all = {0};
    redisReply *keys = ask(link, list);
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
        for (size_t i = 0; i < documents->elements; i++) found_add(&all, documents->element[i]);
        freeReplyObject(documents);
    }
    freeReplyObject(keys);
    return all;
}

static found find_between(redisContext *link, uint32_t from, uint32_t to) {
    char low[16];
    char high[16];
    words command = {.count = 0};
    snprintf(low, sizeof low, "%u", from);
    snprintf(high, sizeof high, "(%u", to);
    add_text(&command, "ZRANGE");
    add_text(&command, "score");
    add_text(&command, low);
    add_text(&command, high);
    add_text(&command, "BYSCORE");
    return find_listed(link, &command);
}

static found find_top(redisContext *link, uint32_t highest) {
    char high[16];
    const char *const rest[] = {"-inf", "BYSCORE", "REV", "LIMIT", "0", "100"};
    words command = {.count = 0};
    snprintf(high, sizeof high, "%u", highest);
    add_text(&command, "ZRANGE");
    add_text(&command, "score");
    add_text(&command, high);
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) add_text(&command, rest[i]);
    return find_listed(link, &command);
}

/* All documents of a set by one command, or those in both sets by two. */
static found find_tagged(redisContext *link, uint32_t guild, uint32_t lang) {
    char guild_text[24];
    char lang_text[24];
    words command = {.count = 0};
    snprintf(guild_text, sizeof guild_text, "guild:%06u", guild);
    snprintf(lang_text, sizeof lang_text, "lang:%u", lang);
    if (lang != ANY_LANG) {
        add_text(&command, "SINTER");
        add_text(&command, guild_text);
        add_text(&command, lang_text);
        return find_listed(link, &command);
    }
    const char *const rest[] = {guild_text, "BY", "nosort", "GET", "*"};
    add_text(&command, "SORT");
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) add_text(&command, rest[i]);
    found all = {0};
    redisReply *documents = ask(link, &command);
    for (size_t i = 0; i < documents->elements; i++) found_add(&all, documents->element[i]);
    freeReplyObject(documents);
    return all;
}

static unsigned insert(redisContext *link, const bench_record *record) {
    char name[2 + BENCH_NAME_SIZE + 1];
    char email[2 + BENCH_EMAIL_SIZE + 1];
    char score[24];
    words command = script_begin(SCRIPT_INSERT);
    snprintf(name, sizeof name, "n:%s", record->name);
    snprintf(email, sizeof email, "e:%s", record->email);
    snprintf(score, sizeof score, "%lu", record->score);
    add_bytes(&command, record->key, BENCH_KEY_SIZE);
    add_bytes(&command, record->bytes, record->size);
    add_text(&command, name);
    add_text(&command, email);
    add_text(&command, score);
    add_bytes(&command, record->guild, BENCH_GUILD_SIZE);
    add_bytes(&command, record->lang, BENCH_LANG_SIZE);
    return ask_number(link, &command) == 1;
}

static unsigned update(redisContext *link, const bench_record *record) {
    char score[24];
    words command = script_begin(SCRIPT_UPDATE);
    snprintf(score, sizeof score, "%lu", record->score);
    add_bytes(&command, record->key, BENCH_KEY_SIZE);
    add_bytes(&command, record->bytes, record->size);
    add_text(&command, score);
    add_bytes(&command, record->guild, BENCH_GUILD_SIZE);
    return ask_number(link, &command) == 1;
}

static unsigned change(redisContext *link, int script, uint32_t i) {
    char key[BENCH_KEY_SIZE + 1];
    words command = script_begin(script);
    bench_key_write(key, i);
    add_bytes(&command, key, BENCH_KEY_SIZE);
    return ask_number(link, &command) == 1;
}

/* ---- orders, workers ---- */

static uint32_t *picks_make(size_t count, uint32_t limit, uint64_t seed) {
    uint32_t *picks = bench_alloc(count * sizeof *picks);
    for (size_t k = 0; k < count; k++) picks[k] = bench_below((seed << 40) + k, limit);
    return picks;
}

static uint32_t *shuffled_make(uint32_t count, uint64_t seed) {
    uint32_t *order = bench_alloc(count * sizeof *order);
    for (uint32_t i = 0; i < count; i++) order[i] = i;
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = bench_below((seed << 40) + i, i);
        uint32_t kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
    return order;
}

static size_t op_count_of(double for_a_million) {
    double scale = record_count < 1000000 ? record_count / 1e6 : 1;
    size_t count = (size_t)(for_a_million * scale * share);
    return count < 1 ? 1 : count;
}

static void *worker_main(void *context) {
    peer_client *client = context;
    pthread_barrier_wait(&gate);
    client->start_ns = bench_now_ns();
    client->result = client->work(client);
    client->stop_ns = bench_now_ns();
    return NULL;
}

static found crew_run(found (*work)(peer_client *), double *out_seconds) {
    pthread_t threads[WORKER_MAX];
    found all = {0};
    uint64_t start_ns = UINT64_MAX;
    uint64_t stop_ns = 0;
    pthread_barrier_init(&gate, NULL, worker_count);
    for (unsigned w = 0; w < worker_count; w++) {
        clients[w].work = work;
        if (pthread_create(&threads[w], NULL, worker_main, &clients[w]) != 0) {
            bench_die("no thread");
        }
    }
    for (unsigned w = 0; w < worker_count; w++) {
        pthread_join(threads[w], NULL);
        all.count += clients[w].result.count;
        all.sum += clients[w].result.sum;
        if (clients[w].start_ns < start_ns) start_ns = clients[w].start_ns;
        if (clients[w].stop_ns > stop_ns) stop_ns = clients[w].stop_ns;
    }
    pthread_barrier_destroy(&gate);
    *out_seconds = (double)(stop_ns - start_ns) / 1e9;
    return all;
}

/* Those that write get their own records, those that read take turns. */
static found run(const uint32_t *picks, size_t count, unsigned writes, found (*work)(peer_client *),
                 double *out_seconds) {
    for (unsigned w = 0; w < worker_count; w++) {
        clients[w].hand = bench_alloc(count * sizeof *clients[w].hand);
        clients[w].hand_size = 0;
    }
    for (size_t k = 0; k < count; k++) {
        peer_client *client = &clients[(writes ? picks[k] : k) % worker_count];
        client->hand[client->hand_size++] = (operation){(uint32_t)k, picks[k]};
    }
    found all = crew_run(work, out_seconds);
    for (unsigned w = 0; w < worker_count; w++) free(clients[w].hand);
    return all;
}

/* ---- what the answers must be ---- */

static void check(const char *phase, found got, found wanted) {
    char why[160];
    if (got.count == wanted.count && got.sum == wanted.sum) return;
    snprintf(why, sizeof why, "%lu with scores of %lu instead of %lu with %lu", got.count, got.sum,
             wanted.count, wanted.sum);
    give_up(phase, why);
}

/* Sorts the copy anew, after writes. */
static void expect(void) {
    memset(below, 0, (record_count + 1) * sizeof *below);
    for (uint32_t i = 0; i < record_count; i++) {
        if (gone[i]) continue;
        below[scores[i] + 1].count++;
        below[scores[i] + 1].sum += scores[i];
    }
    for (uint32_t place = 1; place <= record_count; place++) {
        below[place].count += below[place - 1].count;
        below[place].sum += below[place - 1].sum;
    }
}

static found wanted_between(uint32_t from, uint32_t to) {
    if (to > record_count) to = record_count;
    return (found){below[to].count - below[from].count, below[to].sum - below[from].sum};
}

static found wanted_range(uint32_t from) {
    return wanted_between(from, from + 100);
}

static found wanted_top(uint32_t highest) {
    found all = {0};
    for (uint32_t score = highest + 1; score > 0 && all.count < 100; score--) {
        uint64_t take = wanted_between(score - 1, score).count;
        if (take > 100 - all.count) take = 100 - all.count;
        all.count += take;
        all.sum += take * (score - 1);
    }
    return all;
}

/* Guilds as they were inserted: the queries come before all writes. */
static found wanted_tagged(uint32_t guild, uint32_t lang) {
    found all = {0};
    for (uint32_t i = guild; i < record_count; i += guild_count) {
        if (lang != ANY_LANG && bench_mix(i) % 8 != lang) continue;
        all.count++;
        all.sum += scores[i];
    }
    return all;
}

static found wanted_tag(uint32_t guild) {
    return wanted_tagged(guild, ANY_LANG);
}
static found wanted_tagand(uint32_t pick) {
    return wanted_tagged(pick / 8, pick % 8);
}
static found wanted_one(uint32_t i) {
    return (found){1, scores[i]};
}
static found wanted_none(uint32_t i) {
    (void)i;
    return (found){0, 0};
}

static void document_check(const char *phase, const redisReply *reply, uint32_t i) {
    char guild[BENCH_GUILD_SIZE + 1];
    const uint8_t *bytes = (const uint8_t *)reply->str;
    if ((reply->type == REDIS_REPLY_STRING) == gone[i]) {
        give_up(phase, gone[i] ? "a removed document is there" : "a document is gone");
    }
    if (gone[i]) return;
    snprintf(guild, sizeof guild, "guild:%06u", guilds[i] % 1000000);
    const char *tag = memmem(bytes, reply->len, "guild:", 6);
    if (bench_find_uint(bytes, reply->len, "score") != scores[i] ||
        bench_find_uint(bytes, reply->len, "gold") != golds[i] || tag == NULL ||
        memcmp(tag, guild, BENCH_GUILD_SIZE) != 0) {
        give_up(phase, "a document has not what was written to it last");
    }
}

static void documents_check(const char *phase) {
    char keys[BATCH][BENCH_KEY_SIZE + 1];
    for (uint32_t begin = 0; begin < record_count; begin += BATCH) {
        words command = {.count = 0};
        add_text(&command, "MGET");
        for (uint32_t i = 0; i < BATCH && begin + i < record_count; i++) {
            bench_key_write(keys[i], begin + i);
            add_bytes(&command, keys[i], BENCH_KEY_SIZE);
        }
        redisReply *reply = ask(link_main, &command);
        for (uint32_t i = 0; i < reply->elements; i++) {
            document_check(phase, reply->element[i], begin + i);
        }
        freeReplyObject(reply);
    }
}

/* Emails and indexes agree with the copy; so does the number of all keys and of the entries. */
static void indexes_check(const char *phase) {
    uint32_t *guild_sizes = bench_alloc(guild_count * sizeof *guild_sizes);
    uint64_t *guild_sums = bench_alloc(guild_count * sizeof *guild_sums);
    memset(guild_sizes, 0, guild_count * sizeof *guild_sizes);
    memset(guild_sums, 0, guild_count * sizeof *guild_sums);
    for (uint32_t i = 0; i < record_count; i++) {
        if (gone[i]) continue;
        guild_sizes[guilds[i]]++;
        guild_sums[guilds[i]] += scores[i];
    }
    for (uint32_t k = 0; k < 500; k++) {
        uint32_t from = bench_below(((uint64_t)SEED_CHECK << 40) + k, record_count);
        uint32_t guild = bench_below(((uint64_t)SEED_CHECK << 40) + k, guild_count);
        check(phase, find_email(link_main, from),
              gone[from] ? wanted_none(from) : wanted_one(from));
        check(phase, find_between(link_main, from, from + 100), wanted_range(from));
        check(phase, find_tagged(link_main, guild, ANY_LANG),
              (found){guild_sizes[guild], guild_sums[guild]});
    }
    free(guild_sizes);
    free(guild_sums);
}

/* A document is three keys; beside them stand the scores and every tag that has one at least. */
static uint64_t wanted_keys(uint64_t *out_documents) {
    uint8_t *seen = bench_alloc(guild_count + 8);
    uint64_t tags = 0;
    *out_documents = 0;
    memset(seen, 0, guild_count + 8);
    for (uint32_t i = 0; i < record_count; i++) {
        uint8_t *guild = &seen[guilds[i]];
        uint8_t *lang = &seen[guild_count + bench_mix(i) % 8];
        if (gone[i]) continue;
        *out_documents += 1;
        tags += !*guild + !*lang;
        *guild = 1;
        *lang = 1;
    }
    free(seen);
    return *out_documents * 3 + tags + (*out_documents > 0);
}

static void count_check(const char *phase) {
    uint64_t documents = 0;
    uint64_t keys = wanted_keys(&documents);
    words size = {.count = 0};
    words entries = {.count = 0};
    add_text(&size, "DBSIZE");
    add_text(&entries, "ZCARD");
    add_text(&entries, "score");
    if ((uint64_t)ask_number(link_main, &size) != keys ||
        (uint64_t)ask_number(link_main, &entries) != documents) {
        give_up(phase, "the number of documents or of other keys is not what it must be");
    }
}

static void all_check(const char *phase) {
    documents_check(phase);
    expect();
    indexes_check(phase);
    count_check(phase);
}

/* ---- work ---- */

static void join(found *all, found some) {
    all->count += some.count;
    all->sum += some.sum;
}

static found work_insert(peer_client *client) {
    bench_record record;
    found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        bench_record_make(&record, client->hand[at].i, 0, record_count);
        all.count += insert(client->link, &record);
    }
    return all;
}

static found work_get(peer_client *client) {
    char key[BENCH_KEY_SIZE + 1];
    found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        bench_key_write(key, client->hand[at].i);
        join(&all, find_key(client->link, key));
    }
    return all;
}

static found work_get_miss(peer_client *client) {
    char key[BENCH_KEY_SIZE + 1];
    found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        bench_absent_key_write(key, client->hand[at].i);
        join(&all, find_key(client->link, key));
    }
    return all;
}

static found work_get_many(peer_client *client) {
    char keys[BATCH][BENCH_KEY_SIZE + 1];
    found all = {0};
    for (size_t at = 0; at < client->hand_size; at += BATCH) {
        words command = {.count = 0};
        add_text(&command, "MGET");
        for (size_t i = 0; i < BATCH && at + i < client->hand_size; i++) {
            bench_key_write(keys[i], client->hand[at + i].i);
            add_bytes(&command, keys[i], BENCH_KEY_SIZE);
        }
        redisReply *reply = ask(client->link, &command);
        for (size_t i = 0; i < reply->elements; i++) found_add(&all, reply->element[i]);
        freeReplyObject(reply);
    }
    return all;
}

static found work_unique(peer_client *client) {
    found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        join(&all, find_email(client->link, client->hand[at].i));
    }
    return all;
}

static found work_range100(peer_client *client) {
    found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        uint32_t from = client->hand[at].i;
        join(&all, find_between(client->link, from, from + 100));
    }
    return all;
}

static found work_top100(peer_client *client) {
    found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        join(&all, find_top(client->link, client->hand[at].i));
    }
    return all;
}

static found work_tag100(peer_client *client) {
    found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        join(&all, find_tagged(client->link, client->hand[at].i, ANY_LANG));
    }
    return all;
}

static found work_tagand(peer_client *client) {
    found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        uint32_t pick = client->hand[at].i;
        join(&all, find_tagged(client->link, pick / 8, pick % 8));
    }
    return all;
}

static found work_update(peer_client *client) {
    bench_record record;
    found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        operation op = client->hand[at];
        bench_record_make(&record, op.i, version_next + op.k, record_count);
        all.count += update(client->link, &record);
    }
    return all;
}

static found work_patch(peer_client *client) {
    found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        all.count += change(client->link, SCRIPT_PATCH, client->hand[at].i);
    }
    return all;
}

static found work_mixed95(peer_client *client) {
    bench_record record;
    char key[BENCH_KEY_SIZE + 1];
    found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        operation op = client->hand[at];
        if (bench_below(version_next + op.k, 20) == 0) {
            bench_record_make(&record, op.i, version_next + op.k, record_count);
            all.count += update(client->link, &record);
            continue;
        }
        bench_key_write(key, op.i);
        found one = find_key(client->link, key);
        all.count += one.count == 1 && one.sum < record_count;
    }
    return all;
}

static found work_dup(peer_client *client) {
    bench_record record;
    found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        operation op = client->hand[at];
        bench_record_make_taken(&record, record_count + op.k, op.i, record_count);
        all.count += !insert(client->link, &record);
    }
    return all;
}

static found work_delete(peer_client *client) {
    found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        all.count += change(client->link, SCRIPT_REMOVE, client->hand[at].i);
    }
    return all;
}

/* ---- phases ---- */

typedef struct task {
    const char *name;
    double for_a_million;
    uint64_t seed;
    found (*work)(peer_client *client);
    found (*wanted)(uint32_t pick); /* of a reading phase */
    const char *unit;
    unsigned limit_is_guild; /* picks are below: 0 the records, 1 the guilds, 8 eight a guild */
} task;

static const task read_phases[] = {
    {"get", 2e6, SEED_GET, work_get, wanted_one, "ops/s", 0},
    {"get_miss", 1e6, SEED_MISS, work_get_miss, wanted_none, "ops/s", 0},
    {"get_many", 2e6, SEED_MANY, work_get_many, wanted_one, "ops/s", 0},
    {"unique", 1e6, SEED_UNIQUE, work_unique, wanted_one, "ops/s", 0},
    {"range100", 2e4, SEED_RANGE, work_range100, wanted_range, "queries/s", 0},
    {"top100", 2e4, SEED_TOP, work_top100, wanted_top, "queries/s", 0},
    {"tag100", 2e4, SEED_TAG, work_tag100, wanted_tag, "queries/s", 1},
    {"tagand", 2e3, SEED_TAGAND, work_tagand, wanted_tagand, "queries/s", 8},
    {NULL, 0, 0, NULL, NULL, NULL, 0},
};

static const task write_phases[] = {
    {"update", 1e6, SEED_UPDATE, work_update, NULL, "ops/s", 0},
    {"patch", 1e6, SEED_PATCH, work_patch, NULL, "ops/s", 0},
    {"mixed95", 2e6, SEED_MIXED, work_mixed95, NULL, "ops/s", 0},
    {"dup", 2e5, SEED_DUP, work_dup, NULL, "ops/s", 0},
    {"delete", 5e5, SEED_DELETE, work_delete, NULL, "ops/s", 0},
    {NULL, 0, 0, NULL, NULL, NULL, 0},
};

static void read_phase(const task *phase) {
    double seconds = 0;
    found wanted = {0};
    size_t count = op_count_of(phase->for_a_million);
    uint32_t limit = phase->limit_is_guild ? guild_count * phase->limit_is_guild : record_count;
    uint32_t *picks = picks_make(count, limit, phase->seed);
    found got = run(picks, count, 0, phase->work, &seconds);
    for (size_t k = 0; k < count; k++) join(&wanted, phase->wanted(picks[k]));
    check(phase->name, got, wanted);
    bench_result(NAME, phase->name, worker_count, (double)count / seconds, phase->unit);
    free(picks);
}

/* Notes in the copy what the operations of a phase did. */
static void copy_change(const task *phase, const uint32_t *picks, size_t count) {
    for (size_t k = 0; k < count; k++) {
        uint32_t i = picks[k];
        uint64_t version = version_next + k;
        if (phase->seed == SEED_PATCH) golds[i]++;
        if (phase->seed == SEED_DELETE) gone[i] = 1;
        if (phase->seed == SEED_UPDATE ||
            (phase->seed == SEED_MIXED && bench_below(version, 20) == 0)) {
            scores[i] = bench_score(i, version, record_count);
            guilds[i] = (uint32_t)((i + version) % guild_count);
            golds[i] = 0;
        }
    }
    version_next += count;
}

static void write_phase(const task *phase) {
    double seconds = 0;
    size_t count = op_count_of(phase->for_a_million);
    uint32_t *picks = NULL;
    if (phase->seed == SEED_DELETE) {
        count = (size_t)(record_count / 2 * share);
        picks = shuffled_make(record_count / 2, phase->seed);
    } else {
        picks = picks_make(count, record_count, phase->seed);
    }
    found got = run(picks, count, 1, phase->work, &seconds);
    check(phase->name, got, (found){count, 0});
    copy_change(phase, picks, count);
    all_check(phase->name);
    bench_result(NAME, phase->name, worker_count, (double)count / seconds, phase->unit);
    free(picks);
}

/* Resident bytes of the server, which is another process. */
static uint64_t server_resident(void) {
    words command = {.count = 0};
    uint64_t pid = 0;
    uint64_t kilobytes = 0;
    char text[256];
    add_text(&command, "INFO");
    add_text(&command, "server");
    redisReply *reply = ask(link_main, &command);
    const char *at = strstr(reply->str, "process_id:");
    if (at != NULL) pid = strtoull(at + 11, NULL, 10);
    freeReplyObject(reply);
    snprintf(text, sizeof text, "/proc/%lu/smaps_rollup", pid);
    FILE *file = fopen(text, "r");
    if (file == NULL) bench_die("redis: no %s", text);
    while (fgets(text, sizeof text, file) != NULL) {
        if (strncmp(text, "Rss:", 4) == 0) kilobytes = strtoull(text + 4, NULL, 10);
    }
    fclose(file);
    return kilobytes * 1024;
}

static unsigned is_wanted(const char *phases, const char *name) {
    size_t size = strlen(name);
    for (const char *at = phases; (at = strstr(at, name)) != NULL; at += size) {
        if ((at == phases || at[-1] == ',') && (at[size] == ',' || at[size] == 0)) return 1;
    }
    return 0;
}

static void load(const char *phases) {
    double seconds = 0;
    bench_record record;
    uint64_t encoded_bytes = 0;
    uint32_t *order = shuffled_make(record_count, SEED_ORDER);
    uint64_t before = server_resident();
    found got = run(order, record_count, 1, work_insert, &seconds);
    check("insert", got, (found){record_count, 0});
    count_check("insert");
    if (is_wanted(phases, "insert")) {
        bench_result(NAME, "insert", worker_count, record_count / seconds, "docs/s");
    }
    if (is_wanted(phases, "memory")) {
        for (uint32_t i = 0; i < record_count; i++) {
            bench_record_make(&record, i, 0, record_count);
            encoded_bytes += record.size;
        }
        double bytes = (double)server_resident() - (double)before - (double)encoded_bytes;
        bench_result(NAME, "memory", worker_count, bytes / record_count, "bytes");
    }
    free(order);
}

static void copy_make(void) {
    scores = bench_alloc(record_count * sizeof *scores);
    guilds = bench_alloc(record_count * sizeof *guilds);
    golds = bench_alloc(record_count * sizeof *golds);
    gone = bench_alloc(record_count * sizeof *gone);
    below = bench_alloc((record_count + 1) * sizeof *below);
    for (uint32_t i = 0; i < record_count; i++) {
        scores[i] = bench_score(i, 0, record_count);
        guilds[i] = i % guild_count;
        golds[i] = 0;
        gone[i] = 0;
    }
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: peer_redis SOCKET N THREADS PHASES SHARE\n");
        return 2;
    }
    const char *phases = argv[4];
    socket_path = argv[1];
    record_count = (uint32_t)strtoul(argv[2], NULL, 10);
    worker_count = (unsigned)strtoul(argv[3], NULL, 10);
    share = strtod(argv[5], NULL);
    guild_count = record_count < 100 ? 1 : record_count / 100;
    if (worker_count < 1 || worker_count > WORKER_MAX) bench_die("%u threads", worker_count);
    setvbuf(stdout, NULL, _IOLBF, 0);
    bench_result_to(1);
    link_main = link_open();
    for (unsigned w = 0; w < worker_count; w++) clients[w].link = link_open();
    scripts_load();
    copy_make();
    load(phases);
    expect();
    for (const task *phase = read_phases; phase->name != NULL; phase++) {
        if (is_wanted(phases, phase->name)) read_phase(phase);
    }
    for (const task *phase = write_phases; phase->name != NULL; phase++) {
        if (is_wanted(phases, phase->name)) write_phase(phase);
    }
    for (unsigned w = 0; w < worker_count; w++) redisFree(clients[w].link);
    redisFree(link_main);
    return 0;
}
