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
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/common/measure.h"
#include "bench/common/record.h"
#include "bench/peers/redis_client.h"

#define NAME "redis"
#define BATCH 64u
#define WORKER_MAX 16u

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

/* One operation: which one of all, and its record or where its query begins. */
typedef struct operation {
    uint32_t k;
    uint32_t i;
} operation;

typedef struct peer_client {
    redisContext *link;
    operation *hand;
    size_t hand_size;
    redis_found (*work)(struct peer_client *client);
    redis_found result;
    uint64_t start_ns;
    uint64_t stop_ns;
} peer_client;

static uint32_t record_count;
static uint32_t guild_count;
static unsigned worker_count;
static double share;
static uint64_t version_next = 1;
static const char *socket_path;
static peer_client clients[WORKER_MAX];
static redisContext *link_main;
static pthread_barrier_t gate;

/* The copy, and what is made of it by expect(). */
static uint64_t *scores;
static uint32_t *guilds;
static uint64_t *golds;
static uint8_t *gone;
static redis_found *below; /* documents with a score below the place */

/* ---- giving up ---- */

static void give_up(const char *phase, const char *why) {
    printf("WRONG " NAME " %s %s\n", phase, why);
    exit(1);
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

static redis_found crew_run(redis_found (*work)(peer_client *), double *out_seconds) {
    pthread_t threads[WORKER_MAX];
    redis_found all = {0};
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
static redis_found run(const uint32_t *picks, size_t count, unsigned writes,
                       redis_found (*work)(peer_client *), double *out_seconds) {
    for (unsigned w = 0; w < worker_count; w++) {
        clients[w].hand = bench_alloc(count * sizeof *clients[w].hand);
        clients[w].hand_size = 0;
    }
    for (size_t k = 0; k < count; k++) {
        peer_client *client = &clients[(writes ? picks[k] : k) % worker_count];
        client->hand[client->hand_size++] = (operation){(uint32_t)k, picks[k]};
    }
    redis_found all = crew_run(work, out_seconds);
    for (unsigned w = 0; w < worker_count; w++) free(clients[w].hand);
    return all;
}

/* ---- what the answers must be ---- */

static void check(const char *phase, redis_found got, redis_found wanted) {
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

static redis_found wanted_between(uint32_t from, uint32_t to) {
    if (to > record_count) to = record_count;
    return (redis_found){below[to].count - below[from].count, below[to].sum - below[from].sum};
}

static redis_found wanted_range(uint32_t from) {
    return wanted_between(from, from + 100);
}

static redis_found wanted_top(uint32_t highest) {
    redis_found all = {0};
    for (uint32_t score = highest + 1; score > 0 && all.count < 100; score--) {
        uint64_t take = wanted_between(score - 1, score).count;
        if (take > 100 - all.count) take = 100 - all.count;
        all.count += take;
        all.sum += take * (score - 1);
    }
    return all;
}

/* Guilds as they were inserted: the queries come before all writes. */
static redis_found wanted_tagged(uint32_t guild, uint32_t lang) {
    redis_found all = {0};
    for (uint32_t i = guild; i < record_count; i += guild_count) {
        if (lang != REDIS_ANY_LANG && bench_mix(i) % 8 != lang) continue;
        all.count++;
        all.sum += scores[i];
    }
    return all;
}

static redis_found wanted_tag(uint32_t guild) {
    return wanted_tagged(guild, REDIS_ANY_LANG);
}
static redis_found wanted_tagand(uint32_t pick) {
    return wanted_tagged(pick / 8, pick % 8);
}
static redis_found wanted_one(uint32_t i) {
    return (redis_found){1, scores[i]};
}
static redis_found wanted_none(uint32_t i) {
    (void)i;
    return (redis_found){0, 0};
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
        redis_words command = {.count = 0};
        redis_add_text(&command, "MGET");
        for (uint32_t i = 0; i < BATCH && begin + i < record_count; i++) {
            bench_key_write(keys[i], begin + i);
            redis_add_bytes(&command, keys[i], BENCH_KEY_SIZE);
        }
        redisReply *reply = redis_ask(link_main, &command);
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
        check(phase, redis_find_email(link_main, from),
              gone[from] ? wanted_none(from) : wanted_one(from));
        check(phase, redis_find_between(link_main, from, from + 100), wanted_range(from));
        check(phase, redis_find_tagged(link_main, guild, REDIS_ANY_LANG),
              (redis_found){guild_sizes[guild], guild_sums[guild]});
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
    redis_words size = {.count = 0};
    redis_words entries = {.count = 0};
    redis_add_text(&size, "DBSIZE");
    redis_add_text(&entries, "ZCARD");
    redis_add_text(&entries, "score");
    if ((uint64_t)redis_ask_number(link_main, &size) != keys ||
        (uint64_t)redis_ask_number(link_main, &entries) != documents) {
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

static void join(redis_found *all, redis_found some) {
    all->count += some.count;
    all->sum += some.sum;
}

static redis_found work_insert(peer_client *client) {
    bench_record record;
    redis_found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        bench_record_make(&record, client->hand[at].i, 0, record_count);
        all.count += redis_insert(client->link, &record);
    }
    return all;
}

static redis_found work_get(peer_client *client) {
    char key[BENCH_KEY_SIZE + 1];
    redis_found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        bench_key_write(key, client->hand[at].i);
        join(&all, redis_find_key(client->link, key));
    }
    return all;
}

static redis_found work_get_miss(peer_client *client) {
    char key[BENCH_KEY_SIZE + 1];
    redis_found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        bench_absent_key_write(key, client->hand[at].i);
        join(&all, redis_find_key(client->link, key));
    }
    return all;
}

static redis_found work_get_many(peer_client *client) {
    char keys[BATCH][BENCH_KEY_SIZE + 1];
    redis_found all = {0};
    for (size_t at = 0; at < client->hand_size; at += BATCH) {
        redis_words command = {.count = 0};
        redis_add_text(&command, "MGET");
        for (size_t i = 0; i < BATCH && at + i < client->hand_size; i++) {
            bench_key_write(keys[i], client->hand[at + i].i);
            redis_add_bytes(&command, keys[i], BENCH_KEY_SIZE);
        }
        redisReply *reply = redis_ask(client->link, &command);
        for (size_t i = 0; i < reply->elements; i++) redis_found_add(&all, reply->element[i]);
        freeReplyObject(reply);
    }
    return all;
}

static redis_found work_unique(peer_client *client) {
    redis_found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        join(&all, redis_find_email(client->link, client->hand[at].i));
    }
    return all;
}

static redis_found work_range100(peer_client *client) {
    redis_found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        uint32_t from = client->hand[at].i;
        join(&all, redis_find_between(client->link, from, from + 100));
    }
    return all;
}

static redis_found work_top100(peer_client *client) {
    redis_found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        join(&all, redis_find_top(client->link, client->hand[at].i));
    }
    return all;
}

static redis_found work_tag100(peer_client *client) {
    redis_found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        join(&all, redis_find_tagged(client->link, client->hand[at].i, REDIS_ANY_LANG));
    }
    return all;
}

static redis_found work_tagand(peer_client *client) {
    redis_found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        uint32_t pick = client->hand[at].i;
        join(&all, redis_find_tagged(client->link, pick / 8, pick % 8));
    }
    return all;
}

static redis_found work_update(peer_client *client) {
    bench_record record;
    redis_found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        operation op = client->hand[at];
        bench_record_make(&record, op.i, version_next + op.k, record_count);
        all.count += redis_update(client->link, &record);
    }
    return all;
}

static redis_found work_patch(peer_client *client) {
    redis_found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        all.count += redis_change(client->link, REDIS_SCRIPT_PATCH, client->hand[at].i);
    }
    return all;
}

static redis_found work_mixed95(peer_client *client) {
    bench_record record;
    char key[BENCH_KEY_SIZE + 1];
    redis_found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        operation op = client->hand[at];
        if (bench_below(version_next + op.k, 20) == 0) {
            bench_record_make(&record, op.i, version_next + op.k, record_count);
            all.count += redis_update(client->link, &record);
            continue;
        }
        bench_key_write(key, op.i);
        redis_found one = redis_find_key(client->link, key);
        all.count += one.count == 1 && one.sum < record_count;
    }
    return all;
}

static redis_found work_dup(peer_client *client) {
    bench_record record;
    redis_found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        operation op = client->hand[at];
        bench_record_make_taken(&record, record_count + op.k, op.i, record_count);
        all.count += !redis_insert(client->link, &record);
    }
    return all;
}

static redis_found work_delete(peer_client *client) {
    redis_found all = {0};
    for (size_t at = 0; at < client->hand_size; at++) {
        all.count += redis_change(client->link, REDIS_SCRIPT_REMOVE, client->hand[at].i);
    }
    return all;
}

/* ---- phases ---- */

typedef struct task {
    const char *name;
    double for_a_million;
    uint64_t seed;
    redis_found (*work)(peer_client *client);
    redis_found (*wanted)(uint32_t pick); /* of a reading phase */
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
    redis_found wanted = {0};
    size_t count = op_count_of(phase->for_a_million);
    uint32_t limit = phase->limit_is_guild ? guild_count * phase->limit_is_guild : record_count;
    uint32_t *picks = picks_make(count, limit, phase->seed);
    redis_found got = run(picks, count, 0, phase->work, &seconds);
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
    redis_found got = run(picks, count, 1, phase->work, &seconds);
    check(phase->name, got, (redis_found){count, 0});
    copy_change(phase, picks, count);
    all_check(phase->name);
    bench_result(NAME, phase->name, worker_count, (double)count / seconds, phase->unit);
    free(picks);
}

/* Resident bytes of the server, which is another process. */
static uint64_t server_resident(void) {
    redis_words command = {.count = 0};
    uint64_t pid = 0;
    uint64_t kilobytes = 0;
    char text[256];
    redis_add_text(&command, "INFO");
    redis_add_text(&command, "server");
    redisReply *reply = redis_ask(link_main, &command);
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
    redis_found got = run(order, record_count, 1, work_insert, &seconds);
    check("insert", got, (redis_found){record_count, 0});
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
    link_main = redis_link_open(socket_path);
    for (unsigned w = 0; w < worker_count; w++) clients[w].link = redis_link_open(socket_path);
    redis_scripts_load(link_main);
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
