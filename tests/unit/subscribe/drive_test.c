/* tests/unit/subscribe/drive_test.c - the public subscriber, over nng, with a real publisher.
 *
 * Aim     The descriptor becomes readable when there is something and silent when there is not; a
 *         thread of the subscriber's own calls back and ends with the close; both hear everything,
 *         and the service forgets them with their close.
 * Method  A database in memory, a publisher on inproc, ipc and tcp, subscribers that wait on their
 *         descriptor or an event; every wait has an end.
 * Blind   Other processes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <merle/merle.h>
#include <merle/publish.h>
#include <merle/subscribe.h>

#include "base/lock.h"

enum { HEARD_MAX = 64, CHANGES = 500 };
#define WAIT_NS ((uint64_t)20 * 1000000000u)

typedef struct stand {
    merle_db *db;
    merle_collection *players;
    merle_publisher *publisher;
    char directory[32]; /* of sockets; empty: none */
    char news[64], service[64];
} stand;

typedef enum transport { INPROC = 0, IPC, TCP, TRANSPORT_COUNT } transport;

static void choose_addresses(stand *t, transport over) {
    memset(t, 0, sizeof *t);
    if (over == INPROC) {
        strcpy(t->news, "inproc://drive-news");
        strcpy(t->service, "inproc://drive-service");
    } else if (over == TCP) {
        strcpy(t->news, "tcp://127.0.0.1:0");
        strcpy(t->service, "tcp://127.0.0.1:0");
    } else {
        strcpy(t->directory, "/tmp/merle-drive-XXXXXX");
        assert_non_null(mkdtemp(t->directory));
        (void)snprintf(t->news, sizeof t->news, "ipc://%s/n", t->directory);
        (void)snprintf(t->service, sizeof t->service, "ipc://%s/s", t->directory);
    }
}

static void set_up(stand *t, transport over) {
    const char *news[] = {t->news, NULL}, *service[] = {t->service, NULL};
    merle_publish_options o = {.news = news, .service = service};
    choose_addresses(t, over);
    assert_int_equal(merle_open(NULL, NULL, &t->db), MERLE_OK);
    assert_int_equal(merle_collection_open(t->db, "players", NULL, &t->players), MERLE_OK);
    assert_int_equal(merle_publish(t->db, &o, &t->publisher), MERLE_OK);
}

/* It has said bye; a greeting that was answered too late leaves one more behind. */
static void expect_forgotten(stand *t) {
    merle_publisher_stats stats = {0};
    assert_int_equal(merle_publisher_stat(t->publisher, &stats), MERLE_OK);
    assert_true(stats.hellos > 0 && stats.clients < stats.hellos);
}

static void tear_down(stand *t) {
    assert_int_equal(merle_publisher_close(t->publisher), MERLE_OK);
    assert_int_equal(merle_close(t->db), MERLE_OK);
    if (t->directory[0] == 0) return;
    (void)unlink(t->news + strlen("ipc://"));
    (void)unlink(t->service + strlen("ipc://"));
    assert_int_equal(rmdir(t->directory), 0);
}

static uint64_t put(stand *t, uint64_t number) {
    static const uint8_t document[] = {0x81, 0xa1, 'n', 1};
    merle_key key;
    uint64_t seq = 0;
    assert_int_equal(merle_one_put(t->players, merle_key_u64(&key, number),
                                   merle_bytes_of(document, sizeof document), &seq),
                     MERLE_OK);
    return seq;
}

static const merle_wanted players = {.collection = "players"};

static merle_subscriber_options options(const stand *t) {
    merle_subscriber_options o = {.service = merle_publisher_service_address(t->publisher, 0),
                                  .publisher = merle_publisher_news_address(t->publisher, 0),
                                  .name = "drive",
                                  .wanted = &players,
                                  .wanted_count = 1,
                                  .keep = 1};
    return o;
}

static void hear_up_to(merle_subscriber *s, uint64_t seq, uint64_t *changes) {
    merle_heard heard[HEARD_MAX];
    merle_subscriber_stats stats = {0};
    size_t count = 0;
    for (;;) {
        assert_int_equal(merle_subscriber_next(s, heard, HEARD_MAX, &count), MERLE_OK);
        for (size_t i = 0; i < count; i++) *changes += heard[i].kind == MERLE_HEARD_INSERT;
        (void)merle_subscriber_get_stats(s, &stats);
        if (count == 0 && stats.seq >= seq && stats.documents > 0) return;
        if (count == 0) assert_int_equal(merle_subscriber_wait(s, WAIT_NS), MERLE_OK);
    }
}

static void hear_by_descriptor(transport over) {
    merle_subscriber *s;
    merle_doc doc;
    merle_key key;
    uint64_t changes = 0;
    stand t;
    set_up(&t, over);
    merle_subscriber_options o = options(&t);
    uint64_t seq = put(&t, 0);
    assert_int_equal(merle_subscriber_open(&o, &s, NULL), MERLE_OK);
    assert_true(merle_subscriber_fd(s) >= 0);
    hear_up_to(s, seq, &changes);
    assert_int_equal(changes, 0);
    for (uint64_t i = 1; i <= CHANGES; i++) seq = put(&t, i);
    hear_up_to(s, seq, &changes);
    assert_int_equal(changes, CHANGES);
    assert_int_equal(merle_subscriber_get(s, "players", merle_key_u64(&key, CHANGES), &doc),
                     MERLE_OK);
    assert_int_equal(merle_doc_int(doc, "n", 0), 1);
    merle_subscriber_close(s);
    expect_forgotten(&t);
    tear_down(&t);
}

static void descriptor_tells_that_there_is_something(void **state) {
    (void)state;
    for (int over = INPROC; over < TRANSPORT_COUNT; over++) hear_by_descriptor((transport)over);
}

typedef struct hearing {
    mrl_event event;
    _Atomic uint64_t changes;
    _Atomic int has_snapshot;
} hearing;

static void hear(void *context, merle_subscriber *subscriber, const merle_heard *heard,
                 size_t count) {
    hearing *h = context;
    merle_buffer position = {0};
    for (size_t i = 0; i < count; i++) {
        if (heard[i].kind == MERLE_HEARD_INSERT) atomic_fetch_add(&h->changes, 1);
        if (heard[i].kind == MERLE_HEARD_SNAPSHOT_END) atomic_store(&h->has_snapshot, 1);
    }
    merle_err err = merle_subscriber_position(subscriber, &position);
    assert_true(err == MERLE_OK || err == MERLE_NOT_READY);
    merle_buffer_free(&position);
    mrl_event_signal(&h->event);
}

static void hear_by_thread(transport over) {
    merle_subscriber *s;
    merle_heard heard;
    size_t count;
    hearing h;
    stand t;
    set_up(&t, over);
    merle_subscriber_options o = options(&t);
    memset(&h, 0, sizeof h);
    mrl_event_init(&h.event);
    o.hear = hear;
    o.hear_context = &h;
    assert_int_equal(merle_subscriber_open(&o, &s, NULL), MERLE_OK);
    assert_int_equal(merle_subscriber_next(s, &heard, 1, &count), MERLE_INVALID);
    for (uint64_t i = 0;; i++) {
        uint32_t seen = mrl_event_count(&h.event);
        if (atomic_load(&h.has_snapshot)) break;
        assert_true(mrl_event_wait(&h.event, seen, WAIT_NS));
    }
    for (uint64_t i = 0; i < CHANGES; i++) (void)put(&t, i);
    for (;;) {
        uint32_t seen = mrl_event_count(&h.event);
        if (atomic_load(&h.changes) == CHANGES) break;
        assert_true(mrl_event_wait(&h.event, seen, WAIT_NS));
    }
    merle_subscriber_close(s);
    expect_forgotten(&t);
    tear_down(&t);
}

static void thread_of_its_own_calls_back(void **state) {
    (void)state;
    for (int over = INPROC; over < TRANSPORT_COUNT; over++) hear_by_thread((transport)over);
}

/* 1: the thread takes this signal. */
static int takes_signal(const char *thread, int signal) {
    char path[320], line[256];
    unsigned long long blocked = ~0ull;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", thread);
    FILE *file = fopen(path, "r");
    if (file == NULL) return 0; /* it has ended */
    while (fgets(line, sizeof line, file) != NULL) (void)sscanf(line, "SigBlk: %llx", &blocked);
    (void)fclose(file);
    return (blocked >> (signal - 1) & 1) == 0;
}

static void threads_take_no_signal_of_the_host(void **state) {
    merle_subscriber *s;
    struct dirent *entry;
    hearing h;
    int threads = 0, takers = 0;
    stand t;
    (void)state;
    set_up(&t, INPROC);
    merle_subscriber_options o = options(&t);
    memset(&h, 0, sizeof h);
    mrl_event_init(&h.event);
    o.hear = hear;
    o.hear_context = &h;
    assert_int_equal(merle_subscriber_open(&o, &s, NULL), MERLE_OK);
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    while ((entry = readdir(tasks)) != NULL) {
        if (entry->d_name[0] == '.') continue;
        threads++;
        takers += takes_signal(entry->d_name, SIGTERM);
    }
    (void)closedir(tasks);
    assert_true(threads > 3);
    assert_int_equal(takers, 1); /* this one */
    merle_subscriber_close(s);
    tear_down(&t);
}

static void nobody_at_the_address_is_no_error(void **state) {
    merle_subscriber_options o = {.wanted = &players, .wanted_count = 1};
    merle_subscriber *s;
    merle_heard heard[HEARD_MAX];
    size_t count;
    (void)state;
    o.service = "inproc://drive-nobody";
    assert_int_equal(merle_subscriber_open(&o, &s, NULL), MERLE_OK);
    assert_int_equal(merle_subscriber_next(s, heard, HEARD_MAX, &count), MERLE_OK);
    assert_int_equal(count, 0);
    merle_subscriber_close(s);
    o.service = "nonsense://x";
    assert_int_not_equal(merle_subscriber_open(&o, &s, NULL), MERLE_OK);
    assert_null(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(descriptor_tells_that_there_is_something),
                                       cmocka_unit_test(thread_of_its_own_calls_back),
                                       cmocka_unit_test(threads_take_no_signal_of_the_host),
                                       cmocka_unit_test(nobody_at_the_address_is_no_error)};
    return cmocka_run_group_tests_name("drive", tests, NULL, NULL);
}
