/* bench/peers/redis_events.c - the phases of events that a Redis server can do.
 *
 *     peer_redis_events SOCKET N SAMPLES
 *
 * What    backlog_ipc_stream: N entries of a stream, put there before, read by one connection, as
 *         many an answer as are fastest here. idle_ipc_pubsub: a message by PUBLISH to a process
 *         that is subscribed, from just before the command is sent; idle_ipc_stream: the same by
 *         XADD to one that waits in XREAD.
 * Owns    its connections. The server is started and ended by peer_events.
 * Sees    RESULT and WRONG lines on stdout.
 * Threads one; who hears is a process of its own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/common/measure.h"
#include "bench/peers/redis_client.h"

#define NAME "redis"
#define PIPE_SIZE 1000u
#define ANSWER_COUNT "1000"
#define PAUSE_NS 3000000u

typedef struct shared {
    _Atomic uint32_t is_ready;
    _Atomic uint64_t mark_ns, heard;
    uint32_t lag_ns[1u << 16];
} shared;

static const char *socket_path;

static void give_up(const char *phase, const char *why) {
    printf("WRONG " NAME " %s %s\n", phase, why);
    exit(1);
}

static void nap(void) {
    const struct timespec time = {0, PAUSE_NS};
    (void)nanosleep(&time, NULL);
}

static redisReply *answer(redisContext *link, const char *phase) {
    redisReply *reply = NULL;
    if (redisGetReply(link, (void **)&reply) != REDIS_OK || reply == NULL)
        give_up(phase, "the connection broke");
    if (reply->type == REDIS_REPLY_ERROR) give_up(phase, reply->str);
    return reply;
}

static void entry_send(redisContext *link, uint32_t i) {
    bench_record record;
    bench_record_make(&record, i % 10000, i, 10000);
    if (redisAppendCommand(link, "XADD players * %b %b", record.key, (size_t)BENCH_KEY_SIZE,
                           record.bytes, record.size) != REDIS_OK)
        give_up("events", "no memory");
}

/* ---- a backlog ---- */

static void stream_fill(redisContext *link, uint32_t count) {
    for (uint32_t i = 0; i < count;) {
        uint32_t end = count - i < PIPE_SIZE ? count : i + PIPE_SIZE;
        uint32_t sent = end - i;
        while (i < end) entry_send(link, i++);
        while (sent-- > 0) freeReplyObject(answer(link, "backlog_ipc_stream"));
    }
}

/* The entries of an answer: their documents are looked at as a subscriber's are. */
static uint32_t entries_take(const redisReply *reply, char *last_id, size_t size, uint64_t *sum) {
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1) return 0;
    const redisReply *entries = reply->element[0]->element[1];
    for (size_t i = 0; i < entries->elements; i++) {
        const redisReply *fields = entries->element[i]->element[1];
        size_t number_size;
        *sum += bench_score_read((const uint8_t *)fields->element[1]->str, &number_size);
    }
    if (entries->elements > 0)
        snprintf(last_id, size, "%s", entries->element[entries->elements - 1]->element[0]->str);
    return (uint32_t)entries->elements;
}

static void backlog(redisContext *link, uint32_t count) {
    char last_id[64] = "0";
    uint64_t sum = 0;
    uint32_t heard = 0, more = 1;
    stream_fill(link, count);
    uint64_t begin_ns = bench_now_ns();
    while (more > 0) {
        if (redisAppendCommand(link, "XREAD COUNT " ANSWER_COUNT " STREAMS players %s", last_id) !=
            REDIS_OK)
            give_up("backlog_ipc_stream", "no memory");
        redisReply *reply = answer(link, "backlog_ipc_stream");
        more = entries_take(reply, last_id, sizeof last_id, &sum);
        heard += more;
        freeReplyObject(reply);
    }
    double seconds = (double)(bench_now_ns() - begin_ns) / 1e9;
    if (heard != count || sum == 0) give_up("backlog_ipc_stream", "not all entries came");
    bench_result(NAME, "backlog_ipc_stream", 1, count / seconds, "changes/s");
}

/* ---- one message on an idle system ---- */

static void note(shared *page) {
    uint64_t now_ns = bench_now_ns();
    uint64_t heard = atomic_load(&page->heard);
    page->lag_ns[heard] = (uint32_t)(now_ns - atomic_load(&page->mark_ns));
    atomic_store(&page->heard, heard + 1);
}

static void pubsub_hear(shared *page, uint32_t samples) {
    redisContext *link = redis_link_open(socket_path);
    freeReplyObject(redisCommand(link, "SUBSCRIBE news"));
    atomic_store(&page->is_ready, 1);
    while (atomic_load(&page->heard) < samples) {
        redisReply *reply = answer(link, "idle_ipc_pubsub");
        note(page);
        freeReplyObject(reply);
    }
}

static void stream_hear(shared *page, uint32_t samples) {
    char last_id[64] = "$";
    uint64_t sum = 0;
    redisContext *link = redis_link_open(socket_path);
    while (atomic_load(&page->heard) < samples) {
        (void)redisAppendCommand(link, "XREAD BLOCK 0 STREAMS players %s", last_id);
        int done = 0;
        while (!done) (void)redisBufferWrite(link, &done);
        atomic_store(&page->is_ready, 1);
        redisReply *reply = answer(link, "idle_ipc_stream");
        note(page);
        if (entries_take(reply, last_id, sizeof last_id, &sum) != 1)
            give_up("idle_ipc_stream", "not one entry");
        freeReplyObject(reply);
    }
}

static void message_send(redisContext *link, const char *phase, uint32_t i) {
    bench_record record;
    bench_record_make(&record, i % 10000, i, 10000);
    if (strcmp(phase, "idle_ipc_pubsub") == 0)
        (void)redisAppendCommand(link, "PUBLISH news %b", record.bytes, record.size);
    else
        entry_send(link, i);
}

static void idle(const char *phase, void (*hear)(shared *page, uint32_t samples), uint32_t samples) {
    shared *page =
        mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) give_up(phase, "no memory");
    pid_t pid = fork();
    if (pid == 0) {
        hear(page, samples);
        _exit(0);
    }
    redisContext *link = redis_link_open(socket_path);
    while (!atomic_load(&page->is_ready)) nap();
    for (uint32_t i = 0; i < samples; i++) {
        nap();
        while (atomic_load(&page->heard) < i) nap();
        nap();
        atomic_store(&page->mark_ns, bench_now_ns());
        message_send(link, phase, i);
        freeReplyObject(answer(link, phase));
    }
    (void)waitpid(pid, NULL, 0);
    bench_latency latency;
    bench_latency_init(&latency, samples);
    for (uint32_t i = 0; i < samples; i++) bench_latency_add(&latency, page->lag_ns[i]);
    bench_latency_report(&latency, NAME, phase, 1);
    bench_latency_fini(&latency);
    redisFree(link);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: %s SOCKET N SAMPLES\n", argv[0]);
        return 2;
    }
    socket_path = argv[1];
    uint32_t samples = (uint32_t)atoi(argv[3]);
    if (samples > 1u << 16) samples = 1u << 16;
    redisContext *link = redis_link_open(socket_path);
    idle("idle_ipc_pubsub", pubsub_hear, samples);
    idle("idle_ipc_stream", stream_hear, samples);
    freeReplyObject(redisCommand(link, "DEL players"));
    backlog(link, (uint32_t)atoi(argv[2]));
    redisFree(link);
    return 0;
}
