/* bench/peers/redis_disk.c - the phases with a disk in them on a Redis server.
 *
 *     peer_redis_disk SOCKET N WHAT SECONDS [STARTED_NS or KEPT]
 *
 * What    sync: 2,000 inserts by one connection, each waiting for its answer. sync64: 200,000 and
 *         at least SECONDS, by 64 connections with a thread each; pipe64: the same by one
 *         connection that sends 64 at a time. fill: all documents, in a pipeline, then an AOF
 *         written anew. change: a tenth updated. open, killed: asks until the server answers, as it
 *         was filled or changed; the time is from STARTED_NS. kept: exactly KEPT documents of a
 *         sync phase are there.
 * Owns    its connections. The server is started and ended by peer_disk.
 * Sees    RESULT and WRONG lines on stdout, and after a sync phase `KEPT N`.
 * Threads as each says.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/common/measure.h"
#include "bench/ledger.h"
#include "bench/peers/redis_client.h"

#define NAME "redis"
#define CONNECTIONS 64u
#define PIPE_SIZE 64u
#define FILL_PIPE 1000u
#define SAMPLE_COUNT 10000u
#define QUERY_COUNT 300u
#define ROOM_FACTOR 20u

enum { SEED_CHANGE = 321, SEED_SAMPLE, SEED_QUERY };

static const char *socket_path;
static uint32_t record_count; /* N */
static double seconds_least;
static redisContext *link_main;

static void give_up(const char *phase, const char *why) {
    printf("WRONG " NAME " %s %s\n", phase, why);
    exit(1);
}

static uint32_t op_count_of(uint32_t for_a_million) {
    if (record_count >= 1000000) return for_a_million;
    uint32_t count = (uint32_t)((double)for_a_million * record_count / 1e6);
    return count < 200 ? 200 : count;
}

/* Documents of the sync phases are made as of so many. */
static uint32_t sync_room(void) {
    return op_count_of(200000) * ROOM_FACTOR + CONNECTIONS;
}

/* ---- sync, sync64 ---- */

typedef struct goal {
    uint32_t least;
    uint64_t until_ns;
    uint32_t next; /* atomic; the next record to insert */
} goal;

static goal goal_make(uint32_t least, double seconds) {
    goal made = {.least = least, .until_ns = bench_now_ns() + (uint64_t)(seconds * 1e9)};
    return made;
}

static unsigned goal_is_reached(const goal *self, uint32_t begun) {
    if (begun >= sync_room() - CONNECTIONS) return 1;
    return begun >= self->least && bench_now_ns() >= self->until_ns;
}

typedef struct worker {
    goal *wanted;
    redisContext *link;
    uint32_t done;
} worker;

static void *worker_main(void *context) {
    worker *self = context;
    bench_record record;
    while (!goal_is_reached(self->wanted, __atomic_load_n(&self->wanted->next, __ATOMIC_RELAXED))) {
        uint32_t i = __atomic_fetch_add(&self->wanted->next, 1, __ATOMIC_RELAXED);
        bench_record_make(&record, i, 0, sync_room());
        self->done += redis_insert(self->link, &record);
    }
    return NULL;
}

static void sync_report(const char *phase, unsigned count, uint32_t done, uint64_t start_ns) {
    double seconds = (double)(bench_now_ns() - start_ns) / 1e9;
    bench_result(NAME, phase, count, done / seconds, "docs/s");
    printf("KEPT %u\n", done);
}

static void sync_run(const char *phase, uint32_t least, double seconds, unsigned count) {
    worker workers[CONNECTIONS];
    pthread_t threads[CONNECTIONS];
    uint32_t done = 0;
    for (unsigned w = 0; w < count; w++) {
        workers[w] = (worker){.link = redis_link_open(socket_path)};
    }
    uint64_t start_ns = bench_now_ns();
    goal wanted = goal_make(least, seconds);
    for (unsigned w = 0; w < count; w++) {
        workers[w].wanted = &wanted;
        if (pthread_create(&threads[w], NULL, worker_main, &workers[w]) != 0) {
            bench_die("no thread");
        }
    }
    for (unsigned w = 0; w < count; w++) {
        pthread_join(threads[w], NULL);
        done += workers[w].done;
    }
    if (done != wanted.next) give_up(phase, "an insert was refused");
    sync_report(phase, count, done, start_ns);
    for (unsigned w = 0; w < count; w++) redisFree(workers[w].link);
}

/* Sends an insert or update without waiting for the answer. */
static void send_write(uint32_t i, uint64_t version, uint32_t count) {
    bench_record record;
    redis_words command;
    redis_texts room;
    bench_record_make(&record, i, version, count);
    if (version == 0) {
        redis_insert_words(&command, &room, &record);
    } else {
        redis_update_words(&command, &room, &record);
    }
    if (redisAppendCommandArgv(link_main, command.count, command.texts, command.sizes) !=
        REDIS_OK) {
        bench_die("redis: %s", link_main->errstr);
    }
}

static void take_answers(const char *phase, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        redisReply *reply = NULL;
        if (redisGetReply(link_main, (void **)&reply) != REDIS_OK || reply == NULL) {
            bench_die("redis: %s", link_main->errstr);
        }
        if (reply->type != REDIS_REPLY_INTEGER || reply->integer != 1) {
            give_up(phase, reply->type == REDIS_REPLY_ERROR ? reply->str : "a write was refused");
        }
        freeReplyObject(reply);
    }
}

static void pipe_run(void) {
    uint64_t start_ns = bench_now_ns();
    goal wanted = goal_make(op_count_of(200000), seconds_least);
    uint32_t done = 0;
    for (; !goal_is_reached(&wanted, done); done += PIPE_SIZE) {
        for (uint32_t k = 0; k < PIPE_SIZE; k++) send_write(done + k, 0, sync_room());
        take_answers("sync64", PIPE_SIZE);
    }
    sync_report("sync64", 1, done, start_ns);
}

/* ---- fill, change ---- */

/* Waits until the server's report has this line. */
static void info_wait(const char *line) {
    const struct timespec moment = {0, 20000000};
    for (;;) {
        redis_words command = {.count = 0};
        redis_add_text(&command, "INFO");
        redis_add_text(&command, "persistence");
        redisReply *reply = redis_ask(link_main, &command);
        unsigned is_there = strstr(reply->str, line) != NULL;
        freeReplyObject(reply);
        if (is_there) return;
        (void)nanosleep(&moment, NULL);
    }
}

static void fill_run(void) {
    for (uint32_t i = 0; i < record_count; i += FILL_PIPE) {
        uint32_t count = record_count - i < FILL_PIPE ? record_count - i : FILL_PIPE;
        for (uint32_t k = 0; k < count; k++) send_write(i + k, 0, record_count);
        take_answers("reopen", count);
    }
    redis_words command = {.count = 0};
    redis_add_text(&command, "BGREWRITEAOF");
    freeReplyObject(redis_ask(link_main, &command));
    info_wait("aof_rewrite_scheduled:0");
    info_wait("aof_rewrite_in_progress:0");
    info_wait("aof_last_bgrewrite_status:ok");
}

static uint32_t change_pick(uint32_t k) {
    return bench_below(((uint64_t)SEED_CHANGE << 40) + k, record_count);
}

static void change_run(void) {
    for (uint32_t k = 0; k < record_count / 10;) {
        uint32_t sent = 0;
        for (; sent < PIPE_SIZE && k < record_count / 10; sent++, k++) {
            send_write(change_pick(k), 1 + k, record_count);
        }
        take_answers("reopen", sent);
    }
}

/* ---- opened again ---- */

/* Three keys a document, the scores, and every tag that one has at least. */
static uint64_t keys_wanted(bench_ledger *ledger, uint64_t *out_documents) {
    uint64_t tags = 0;
    uint64_t langs = 0;
    *out_documents = 0;
    bench_ledger_sort(ledger);
    for (uint32_t guild = 0; guild < bench_guild_count(ledger->count); guild++) {
        uint64_t members = bench_ledger_tag(ledger, guild).count;
        tags += members > 0;
        *out_documents += members;
        for (uint32_t lang = 0; lang < BENCH_LANG_COUNT; lang++) {
            if (bench_ledger_tagand(ledger, guild, lang).count > 0) langs |= 1u << lang;
        }
    }
    return *out_documents * 3 + tags + (uint64_t)__builtin_popcountll(langs) + (*out_documents > 0);
}

static void found_check(const char *phase, const char *what, redis_found got, bench_sight wanted) {
    char why[160];
    if (got.count == wanted.count && got.sum == wanted.score_sum) return;
    snprintf(why, sizeof why, "%s: %lu with scores of %lu instead of %lu with %lu", what, got.count,
             got.sum, wanted.count, wanted.score_sum);
    give_up(phase, why);
}

static void all_check(const char *phase, bench_ledger *ledger) {
    uint64_t documents = 0;
    uint64_t keys = keys_wanted(ledger, &documents);
    redis_words size = {.count = 0};
    redis_words entries = {.count = 0};
    redis_add_text(&size, "DBSIZE");
    redis_add_text(&entries, "ZCARD");
    redis_add_text(&entries, "score");
    if ((uint64_t)redis_ask_number(link_main, &size) != keys ||
        (uint64_t)redis_ask_number(link_main, &entries) != documents) {
        give_up(phase, "the number of documents or of other keys is not what it must be");
    }
    for (uint32_t s = 0; s < SAMPLE_COUNT; s++) {
        uint32_t i = bench_below(((uint64_t)SEED_SAMPLE << 40) + s, ledger->count);
        bench_sight wanted = {0};
        char key[BENCH_KEY_SIZE + 1];
        bench_key_write(key, i);
        if (ledger->scores[i] != BENCH_LEDGER_GONE) bench_sight_score(&wanted, ledger->scores[i]);
        found_check(phase, key, redis_find_key(link_main, key), wanted);
        found_check(phase, "by email", redis_find_email(link_main, i), wanted);
    }
    for (uint32_t q = 0; q < QUERY_COUNT; q++) {
        uint32_t from = bench_below(((uint64_t)SEED_QUERY << 40) + q, ledger->count - 100);
        uint32_t guild =
            bench_below(((uint64_t)SEED_QUERY << 40) + q, bench_guild_count(ledger->count));
        found_check(phase, "range", redis_find_between(link_main, from, from + 100),
                    bench_ledger_range(ledger, from, from + 100));
        found_check(phase, "guild", redis_find_tagged(link_main, guild, REDIS_ANY_LANG),
                    bench_ledger_tag(ledger, guild));
    }
}

/* Asks for one document until the server is there and has loaded everything. */
static void first_answer_wait(void) {
    const struct timespec moment = {0, 500000};
    char key[BENCH_KEY_SIZE + 1];
    bench_key_write(key, 0);
    for (;; (void)nanosleep(&moment, NULL)) {
        redisContext *link = redisConnectUnix(socket_path);
        redisReply *reply = NULL;
        if (link != NULL && link->err == 0) reply = redisCommand(link, "GET %s", key);
        unsigned is_answered = reply != NULL && reply->type == REDIS_REPLY_STRING;
        unsigned is_refused = reply != NULL && reply->type == REDIS_REPLY_NIL;
        if (reply != NULL) freeReplyObject(reply);
        if (link != NULL) redisFree(link);
        if (is_refused) give_up("reopen", "the first document is gone");
        if (is_answered) return;
    }
}

static void open_run(const char *phase, uint64_t start_ns, unsigned is_changed) {
    bench_ledger ledger;
    first_answer_wait();
    double ms = (double)(bench_now_ns() - start_ns) / 1e6;
    link_main = redis_link_open(socket_path);
    redis_scripts_load(link_main);
    bench_ledger_init(&ledger, record_count);
    for (uint32_t k = 0; is_changed && k < record_count / 10; k++) {
        bench_ledger_update(&ledger, change_pick(k), 1 + k);
    }
    all_check(phase, &ledger);
    bench_result(NAME, phase, 1, ms, "ms");
}

/* After a sync phase: exactly the first `kept` documents are there. */
static void kept_run(uint32_t kept) {
    bench_ledger ledger;
    first_answer_wait();
    link_main = redis_link_open(socket_path);
    redis_scripts_load(link_main);
    bench_ledger_init(&ledger, sync_room());
    for (uint32_t i = kept; i < ledger.count; i++) bench_ledger_remove(&ledger, i);
    all_check("sync", &ledger);
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "usage: peer_redis_disk SOCKET N WHAT SECONDS [STARTED_NS or KEPT]\n");
        return 2;
    }
    const char *what = argv[3];
    uint64_t number = argc > 5 ? strtoull(argv[5], NULL, 10) : 0;
    socket_path = argv[1];
    record_count = (uint32_t)strtoul(argv[2], NULL, 10);
    seconds_least = strtod(argv[4], NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    bench_result_to(1);
    if (strcmp(what, "open") == 0 || strcmp(what, "killed") == 0) {
        unsigned is_changed = strcmp(what, "killed") == 0;
        open_run(is_changed ? "reopen_killed" : "reopen", number, is_changed);
        return 0;
    }
    if (strcmp(what, "kept") == 0) {
        kept_run((uint32_t)number);
        return 0;
    }
    link_main = redis_link_open(socket_path);
    redis_scripts_load(link_main);
    if (strcmp(what, "sync") == 0) sync_run("sync", op_count_of(2000), 0, 1);
    if (strcmp(what, "sync64") == 0) {
        sync_run("sync64", op_count_of(200000), seconds_least, CONNECTIONS);
    }
    if (strcmp(what, "pipe64") == 0) pipe_run();
    if (strcmp(what, "fill") == 0) fill_run();
    if (strcmp(what, "change") == 0) change_run();
    return 0;
}
