/* tests/unit/events/world.h - a database, a publisher on a simulated network, and clients that say
 * byte for byte what a test wants them to.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_UNIT_EVENTS_WORLD_H
#define TESTS_UNIT_EVENTS_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "database/database.h"
#include "database/publish.h"
#include "tests/sim/network.h"

#define NEWS_URL "tcp://server:4000"
#define SERVICE_URL "tcp://server:4001"
#define MILLISECOND 1000000u
#define SECOND 1000000000u

typedef struct world {
    network *net;
    const mrl_net *server, *outside;
    mrl_environment environment;
    merle_options options;
    merle_publish_options publish;
    char directory[64]; /* empty: in memory */
    merle_db *db;
    merle_collection *players;
    merle_publisher *publisher;
} world;

typedef struct client {
    world *w;
    mrl_socket *ask;
    mrl_message message; /* of the last answer */
    mrl_wire_answer answer;
    uint8_t token[MRL_WIRE_TOKEN_SIZE];
    mrl_wire_history history;
    merle_buffer bytes, list;
} client;

/* ---- time ---- */

/* So much time passes, in small steps; publisher and database do their work. */
static inline void turn(world *w, uint64_t ns) {
    for (uint64_t passed = 0; passed <= ns; passed += MILLISECOND / 4) {
        network_advance(w->net, MILLISECOND / 4);
        (void)merle_step(w->db, 0, 0);
        if (w->publisher != NULL)
            assert_int_equal(merle_publisher_step(w->publisher, 0, NULL), MERLE_OK);
    }
}

/* ---- opening ---- */

static inline void world_publish(world *w) {
    static const char *const news[] = {NEWS_URL, NULL};
    static const char *const service[] = {SERVICE_URL, NULL};
    merle_report report = {0};
    w->publish.news = news;
    w->publish.service = service;
    w->publish.threads = MERLE_THREADS_NONE;
    w->publish.report = &report;
    merle_err err = mrl_db_publish(w->db, w->server, NULL, NULL, &w->publish, &w->publisher);
    if (err != MERLE_OK) print_error("%s\n", report.message);
    assert_int_equal(err, MERLE_OK);
}

static inline void world_open_db(world *w) {
    w->options.threads = MERLE_THREADS_NONE;
    assert_int_equal(mrl_db_open(w->directory[0] != 0 ? w->directory : NULL, &w->options,
                                 &w->environment, &w->db),
                     MERLE_OK);
    assert_int_equal(merle_collection_open(w->db, "players", NULL, &w->players), MERLE_OK);
}

static inline void world_make(world *w) {
    memset(w, 0, sizeof *w);
    w->net = network_create(1, NULL);
    w->environment.clock = network_clock(w->net);
    w->server = network_host(w->net, "server");
    w->outside = network_host(w->net, "outside");
}

static inline void world_on_disk(world *w) {
    strcpy(w->directory, "/tmp/merle-events-XXXXXX");
    assert_non_null(mkdtemp(w->directory));
}

static inline void world_open(world *w) {
    world_make(w);
    world_open_db(w);
    world_publish(w);
}

static inline void world_stop(world *w) {
    assert_int_equal(merle_publisher_close(w->publisher), MERLE_OK);
    w->publisher = NULL;
    assert_int_equal(merle_close(w->db), MERLE_OK);
    w->db = NULL;
}

static inline void world_close(world *w) {
    char command[96];
    world_stop(w);
    network_destroy(w->net);
    if (w->directory[0] == 0) return;
    snprintf(command, sizeof command, "rm -r %s", w->directory);
    assert_int_equal(system(command), 0);
}

/* ---- writing ---- */

static inline merle_bytes level(uint8_t *bytes, unsigned number) {
    const uint8_t document[] = {
        0x81, 0xa5, 'l', 'e', 'v', 'e', 'l', 0xcd, (uint8_t)(number >> 8), (uint8_t)number};
    memcpy(bytes, document, sizeof document);
    return merle_bytes_of(bytes, sizeof document);
}

static inline uint64_t put(world *w, const char *key, unsigned number) {
    uint8_t bytes[16];
    uint64_t seq;
    assert_int_equal(merle_one_put(w->players, merle_str(key), level(bytes, number), &seq),
                     MERLE_OK);
    return seq;
}

/* ---- a client of the service ---- */

static inline void client_open(client *c, world *w) {
    mrl_net_options options = {.receive_max = 64u << 20};
    memset(c, 0, sizeof *c);
    c->w = w;
    assert_int_equal(w->outside->open(w->outside->context, MRL_NET_ASK, &options, &c->ask, NULL),
                     MERLE_OK);
    assert_int_equal(w->outside->dial(c->ask, SERVICE_URL, NULL), MERLE_OK);
    turn(w, 2 * SECOND);
}

static inline void client_forget(client *c) {
    if (c->message.data != NULL) c->w->outside->message_free(&c->message);
    memset(&c->message, 0, sizeof c->message);
}

static inline void client_close(client *c) {
    client_forget(c);
    c->w->outside->close(c->ask);
    merle_buffer_free(&c->bytes);
    merle_buffer_free(&c->list);
}

static inline void client_send_bytes(client *c, const void *data, size_t size) {
    mrl_message message;
    client_forget(c);
    assert_int_equal(c->w->outside->message_make(c->w->outside->context, size, &message), MERLE_OK);
    if (size > 0) memcpy(message.data, data, size);
    assert_int_equal(c->w->outside->send(c->ask, &message), MERLE_OK);
}

static inline void client_send(client *c, mrl_wire_question *question) {
    if (question->op != MRL_WIRE_HELLO && question->token.data == NULL)
        question->token = merle_bytes_of(c->token, sizeof c->token);
    c->bytes.size = 0;
    assert_int_equal(mrl_wire_question_write(question, &c->bytes), MERLE_OK);
    client_send_bytes(c, c->bytes.data, c->bytes.size);
}

/* 1: the answer is there. */
static inline int client_hears(client *c) {
    client_forget(c);
    if (c->w->outside->receive(c->ask, &c->message) != MERLE_OK) return 0;
    assert_int_equal(
        mrl_wire_answer_read(merle_bytes_of(c->message.data, c->message.size), &c->answer),
        MERLE_OK);
    return 1;
}

static inline mrl_wire_status client_await(client *c, uint64_t ns) {
    for (uint64_t passed = 0; passed < ns; passed += MILLISECOND) {
        if (client_hears(c)) return c->answer.status;
        turn(c->w, MILLISECOND);
    }
    fail_msg("no answer came");
    return MRL_WIRE_FAILED;
}

static inline mrl_wire_status client_ask(client *c, mrl_wire_question *question) {
    client_send(c, question);
    return client_await(c, 5 * SECOND);
}

static inline mrl_wire_status client_hello(client *c, const char *secret) {
    mrl_wire_question question = {.op = MRL_WIRE_HELLO, .client = MERLE_STR("test")};
    if (secret != NULL) question.secret = merle_str(secret);
    mrl_wire_status status = client_ask(c, &question);
    if (status != MRL_WIRE_OK) return status;
    memcpy(c->token, c->answer.token, sizeof c->token);
    c->history = c->answer.history;
    return status;
}

static inline mrl_wire_question changes_after(const client *c, uint64_t seq, uint32_t position) {
    mrl_wire_question question = {.op = MRL_WIRE_CHANGES,
                                  .history = c->history,
                                  .after_seq = seq,
                                  .after_position = position,
                                  .why = MRL_WIRE_POLL};
    return question;
}

/* The question with one filter; its list lies in the client. */
static inline void with_filter(client *c, mrl_wire_question *question, const char *name,
                               const char *prefix, const char *condition) {
    mrl_wire_filter filter = {.name = merle_str(name)};
    if (prefix != NULL) filter.prefix = merle_str(prefix);
    if (condition != NULL) filter.condition = merle_str(condition);
    c->list.size = 0;
    assert_int_equal(mrl_wire_filter_add(&c->list, &filter), MERLE_OK);
    question->filters = mrl_wire_list_of(&c->list, 1);
}

/* The keys of all operations of the answer, each with a blank behind; of others than documents' the
 * kind as "#4 ". */
static inline const char *keys_of(mrl_wire_list commits) {
    static char text[1 << 16];
    mrl_wire_commit commit;
    mrl_record_operation_view view;
    uint32_t position;
    size_t at = 0;
    text[0] = 0;
    while (mrl_wire_commit_next(&commits, &commit) == MERLE_OK)
        while (mrl_wire_operation_next(&commit, &position, &view) == MERLE_OK) {
            if (view.key.size > 0)
                at += (size_t)snprintf(text + at, sizeof text - at, "%.*s ", (int)view.key.size,
                                       (const char *)view.key.data);
            else
                at += (size_t)snprintf(text + at, sizeof text - at, "#%d ", (int)view.kind);
        }
    return text;
}

static inline merle_publisher_stats stats_of(world *w) {
    merle_publisher_stats stats = {0};
    assert_int_equal(merle_publisher_stat(w->publisher, &stats), MERLE_OK);
    return stats;
}

#endif
