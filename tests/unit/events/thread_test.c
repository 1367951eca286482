/* tests/unit/events/thread_test.c - a publisher with its own thread, over real sockets.
 *
 * Aim     merle_publish as a program calls it: the thread is woken by commits and by questions; two
 *         writers beside it, and one who catches up and then follows, hears every commit once and
 *         in order, by the service and by news; closing ends it while questions are held.
 * Method  nng over inproc, ipc and tcp in one process; waiting is for answers, never for a time.
 * Blind   Other processes, and networks that fail, are tried by the tests of subscribers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>

#include <merle/publish.h>

#include "base/lock.h"
#include "channel/channel.h"
#include "wire/event.h"

enum { WRITER_COUNT = 2, COMMITS_EACH = 3000 };

typedef struct caller {
    mrl_socket *socket;
    mrl_event ready;
    mrl_message message;
    mrl_wire_answer answer;
    uint8_t token[MRL_WIRE_TOKEN_SIZE];
} caller;

static void is_ready(void *context) {
    caller *c = context;
    mrl_event_signal(&c->ready);
}

static void caller_open(caller *c, mrl_net_role role, const char *url) {
    const mrl_net *net = &mrl_net_nng;
    memset(c, 0, sizeof *c);
    mrl_event_init(&c->ready);
    mrl_net_options options = {
        .receive_max = 8u << 20, .queue = 8192, .ready_context = c, .ready = is_ready};
    assert_int_equal(net->open(net->context, role, &options, &c->socket, NULL), MERLE_OK);
    if (role == MRL_NET_SUBSCRIBE)
        assert_int_equal(net->topic(c->socket, merle_bytes_of(NULL, 0), 1), MERLE_OK);
    assert_int_equal(net->dial(c->socket, url, NULL), MERLE_OK);
}

static void caller_forget(caller *c) {
    if (c->message.data != NULL) mrl_net_nng.message_free(&c->message);
    memset(&c->message, 0, sizeof c->message);
}

static void caller_close(caller *c) {
    caller_forget(c);
    mrl_net_nng.close(c->socket);
}

/* The next message, however long it takes. */
static void caller_receive(caller *c) {
    caller_forget(c);
    for (;;) {
        uint32_t seen = mrl_event_count(&c->ready);
        merle_err err = mrl_net_nng.receive(c->socket, &c->message);
        if (err == MERLE_OK) return;
        assert_int_equal(err, MERLE_NOT_FOUND);
        (void)mrl_event_wait(&c->ready, seen, UINT64_MAX);
    }
}

static void caller_send(caller *c, mrl_wire_question *question) {
    merle_buffer bytes = {0};
    mrl_message message;
    if (question->op != MRL_WIRE_HELLO) question->token = merle_bytes_of(c->token, sizeof c->token);
    assert_int_equal(mrl_wire_question_write(question, &bytes), MERLE_OK);
    assert_int_equal(mrl_net_nng.message_make(mrl_net_nng.context, bytes.size, &message), MERLE_OK);
    memcpy(message.data, bytes.data, bytes.size);
    assert_int_equal(mrl_net_nng.send(c->socket, &message), MERLE_OK);
    merle_buffer_free(&bytes);
}

static void caller_ask(caller *c, mrl_wire_question *question) {
    caller_send(c, question);
    caller_receive(c);
    assert_int_equal(
        mrl_wire_answer_read(merle_bytes_of(c->message.data, c->message.size), &c->answer),
        MERLE_OK);
    assert_int_equal(c->answer.status, MRL_WIRE_OK);
}

static mrl_wire_question greeting(void) {
    mrl_wire_question question = {.op = MRL_WIRE_HELLO, .client = MERLE_STR("thread_test")};
    return question;
}

static void caller_greet(caller *c) {
    mrl_wire_question question = greeting();
    caller_ask(c, &question);
    memcpy(c->token, c->answer.token, sizeof c->token);
}

static void *write_on(void *context) {
    merle_collection *collection = context;
    for (unsigned i = 0; i < COMMITS_EACH; i++) {
        merle_key key;
        merle_err err =
            merle_one_put(collection, merle_key_u64(&key, i % 100), MERLE_STR("\x80"), NULL);
        if (err != MERLE_OK) abort();
    }
    return NULL;
}

/* Every commit behind `after` is in the list, one after the other. */
static uint64_t read_on(mrl_wire_list commits, uint64_t after) {
    mrl_wire_commit commit;
    while (mrl_wire_commit_next(&commits, &commit) == MERLE_OK) {
        assert_true(commit.seq == after + 1);
        after++;
    }
    return after;
}

static void follow_by_polls(caller *c, uint64_t after, uint64_t upto) {
    while (after < upto) {
        mrl_wire_question question = {.op = MRL_WIRE_CHANGES,
                                      .history = c->answer.history,
                                      .after_seq = after,
                                      .wait_ms = 30000};
        caller_ask(c, &question);
        after = read_on(c->answer.commits, after);
        assert_true(after == c->answer.upto_seq);
    }
}

static void one_transport(const char *news_url, const char *service_url) {
    const char *const news[] = {news_url, NULL}, *const service[] = {service_url, NULL};
    merle_publish_options options = {.news = news, .service = service, .news_queue = 8192};
    merle_db *db;
    merle_collection *collection;
    merle_publisher *publisher;
    pthread_t writers[WRITER_COUNT];
    caller asking, hearing;
    mrl_wire_news heard;
    assert_int_equal(merle_open(NULL, NULL, &db), MERLE_OK);
    assert_int_equal(merle_collection_open(db, "c", NULL, &collection), MERLE_OK);
    assert_int_equal(merle_publish(db, &options, &publisher), MERLE_OK);
    caller_open(&hearing, MRL_NET_SUBSCRIBE, merle_publisher_news_address(publisher, 0));
    caller_open(&asking, MRL_NET_ASK, merle_publisher_service_address(publisher, 0));
    caller_greet(&asking);
    uint64_t begin = asking.answer.newest, end = begin + WRITER_COUNT * COMMITS_EACH;
    /* A beat: from here on news come. */
    caller_receive(&hearing);
    for (int i = 0; i < WRITER_COUNT; i++)
        assert_int_equal(pthread_create(&writers[i], NULL, write_on, collection), 0);
    follow_by_polls(&asking, begin, end);
    for (int i = 0; i < WRITER_COUNT; i++) pthread_join(writers[i], NULL);
    uint64_t at = begin;
    while (at < end) {
        caller_receive(&hearing);
        assert_int_equal(
            mrl_wire_news_read(merle_bytes_of(hearing.message.data, hearing.message.size), &heard),
            MERLE_OK);
        if (heard.type == MRL_WIRE_BATCH) at = read_on(heard.commits, at);
        if (heard.type == MRL_WIRE_BEAT) assert_true(heard.to == at);
    }
    /* It is closed while an answer is held. */
    mrl_wire_question question = {.op = MRL_WIRE_CHANGES,
                                  .history = asking.answer.history,
                                  .after_seq = end,
                                  .wait_ms = 30000};
    caller_send(&asking, &question);
    merle_publisher_stats stats = {0};
    while (stats.answers_held == 0)
        assert_int_equal(merle_publisher_stat(publisher, &stats), MERLE_OK);
    assert_true(stats.seq == end && stats.failures == 0);
    assert_int_equal(merle_close(db), MERLE_BUSY);
    assert_int_equal(merle_publisher_close(publisher), MERLE_OK);
    assert_int_equal(merle_close(db), MERLE_OK);
    caller_close(&asking);
    caller_close(&hearing);
}

static void inproc_every_commit_comes_once_and_in_order(void **state) {
    (void)state;
    one_transport("inproc://thread-test-news", "inproc://thread-test-service");
}

static void ipc_every_commit_comes_once_and_in_order(void **state) {
    char directory[] = "/tmp/merle-thread-XXXXXX", news[64], service[64];
    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(news, sizeof news, "ipc://%s/n", directory);
    snprintf(service, sizeof service, "ipc://%s/s", directory);
    one_transport(news, service);
    (void)unlink(news + 6);
    (void)unlink(service + 6);
    assert_int_equal(rmdir(directory), 0);
}

static void tcp_every_commit_comes_once_and_in_order(void **state) {
    (void)state;
    one_transport("tcp://127.0.0.1:0", "tcp://127.0.0.1:0");
}

static void publish_bad_options_are_refused(void **state) {
    static const char *const bad[] = {"tcp//nowhere", NULL};
    merle_publish_options options = {.news = bad};
    merle_db *db;
    merle_publisher *publisher;
    (void)state;
    assert_int_equal(merle_open(NULL, NULL, &db), MERLE_OK);
    assert_int_equal(merle_publish(db, &options, &publisher), MERLE_INVALID);
    assert_null(publisher);
    options = (merle_publish_options){.size = sizeof options + 8};
    assert_int_equal(merle_publish(db, &options, &publisher), MERLE_INVALID);
    options = (merle_publish_options){.follow = (merle_publish_follow)7};
    assert_int_equal(merle_publish(db, &options, &publisher), MERLE_INVALID);
    assert_int_equal(merle_publish(NULL, NULL, &publisher), MERLE_INVALID);
    assert_int_equal(merle_close(db), MERLE_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inproc_every_commit_comes_once_and_in_order),
        cmocka_unit_test(ipc_every_commit_comes_once_and_in_order),
        cmocka_unit_test(tcp_every_commit_comes_once_and_in_order),
        cmocka_unit_test(publish_bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
