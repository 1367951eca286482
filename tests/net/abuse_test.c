/* tests/net/abuse_test.c - subscribers that are slow, strange, or not welcome.
 *
 * Aim     Whoever does not read, floods, lies or has no right to be there costs writers nothing and
 *         the server no more than its limits, and others hear everything. One who was away goes on.
 *         The faults that an events library is known for: a single subscriber, one that never
 *         reads, an event of an insert that was refused.
 * Method  A database with files, published on tcp or TLS; good subscribers whose copies and changes
 *         are compared with store and log; beside them raw sockets and wrong options. That writers
 *         do not notice is counted: each write returns while nobody reads or steps anything.
 * Blind   How long a write takes; tests on a machine that others use cannot say.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/model/seed.h"
#include "tests/net/ear.h"
#include "tests/net/host.h"
#include "tests/unit/channel/end.h"

enum { PATIENCE_S = 60, REQ = 0x30, SUB = 0x21, MB = 1 << 20, STRANGERS = 24, FLOOD = 300 };

typedef unsigned long long llu;

typedef struct world {
    char directory[64];
    host host;
    ear ear;
} world;

static void world_open(world *w, const char *scheme) {
    char url[64];
    (void)snprintf(w->directory, sizeof w->directory, "/tmp/merle-net-XXXXXX");
    assert_non_null(mkdtemp(w->directory));
    (void)snprintf(url, sizeof url, "%s://127.0.0.1:0", scheme);
    host_open(&w->host, w->directory, test_seed());
    host_publish(&w->host, w->host.publish.secret.size > 0 ? NULL : url, url);
}

static void world_close(world *w) {
    char command[96];
    if (w->ear.s != NULL) ear_close(&w->ear);
    host_close(&w->host);
    (void)snprintf(command, sizeof command, "rm -rf %s", w->directory);
    assert_int_equal(system(command), 0);
}

static merle_subscriber_options options_of(const world *w) {
    return (merle_subscriber_options){
        .service = w->host.service, .publisher = w->host.news, .keep = 1};
}

/* A good one, that is connected. */
static void ear_begin(world *w, merle_subscriber_options options) {
    ear_open(&w->ear, &options);
    assert_true(ear_until(&w->ear, w->host.seq, PATIENCE_S));
}

static void ear_finish(world *w) {
    assert_int_equal(merle_wait_durable(w->host.db, UINT64_MAX), MERLE_OK);
    assert_true(ear_until(&w->ear, w->host.seq, PATIENCE_S));
    if (w->ear.gaps > 0) ear_say(&w->ear);
    assert_int_equal(w->ear.gaps, 0);
    if (!ear_judge(&w->ear, w->host.db)) {
        ear_say(&w->ear);
        fail();
    }
    assert_true(ear_equals(&w->ear, w->host.db));
}

static merle_publisher_stats stats_of(const world *w) {
    merle_publisher_stats stats = {0};
    assert_int_equal(merle_publisher_stat(w->host.publisher, &stats), MERLE_OK);
    return stats;
}

/* The memory of this process, in bytes; 0 under sanitizers, whose own says nothing. */
static size_t resident(void) {
    unsigned long all = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &all, &pages), 2);
    (void)fclose(file);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    pages = 0;
#endif
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static long long grown_kib(size_t before) {
    return ((long long)resident() - (long long)before) / 1024;
}

/* ---- strangers ---- */

static int raw_dial(const char *url) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static int raw_write(int fd, const void *bytes, size_t size) {
    return send(fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static int raw_greet(const char *url, uint8_t protocol) {
    const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, protocol, 0, 0};
    int fd = raw_dial(url);
    (void)raw_write(fd, greeting, sizeof greeting);
    return fd;
}

/* A question of so many bytes, all of them `byte`; says that it is of `told` bytes. */
static int raw_ask(int fd, uint64_t told, size_t size, uint8_t byte) {
    uint8_t head[12] = {0}, body[4096];
    for (int i = 0; i < 8; i++) head[i] = (uint8_t)(told >> (56 - 8 * i));
    head[8] = 0x80;
    memset(body, byte, sizeof body);
    int is_sent = raw_write(fd, head, sizeof head);
    for (; is_sent && size > 0; size -= size < sizeof body ? size : sizeof body)
        is_sent = raw_write(fd, body, size < sizeof body ? size : sizeof body);
    return is_sent;
}

/* ---- slow ones ---- */

static void one_that_stops_reading_goes_on_later(void **state) {
    (void)state;
    world w = {.host = {.filler = 4000,
                        .options = {.ring_size = MB},
                        .publish = {.news_queue = 32, .batch_size_max = 64 << 10}}};
    int strangers[STRANGERS];
    world_open(&w, "tcp");
    ear_begin(&w, options_of(&w));
    for (int i = 0; i < STRANGERS; i++) strangers[i] = raw_greet(w.host.news, SUB);
    end_until(&(end){0}, stats_of(&w).news_peers == STRANGERS + 1);
    for (int i = 0; i < 200; i++) host_write(&w.host);
    size_t before = resident(), commits = (size_t)test_amount(6000);
    for (size_t i = 0; i < commits; i++) host_write(&w.host); /* nobody reads anything */
    /* Each may hold its queue, on both sides, and what the system takes is not ours; the ring, the
     * documents and the records on their way to the disk are in it. */
    test_say("grew by %lld KiB, the publisher has %llu KiB", grown_kib(before),
             (llu)(stats_of(&w).bytes >> 10));
    assert_true(resident() <= before + STRANGERS * (32 * (64 << 10)) + 64 * (size_t)MB);
    assert_true(stats_of(&w).bytes < 32 * (size_t)MB);
    ear_finish(&w);
    for (int i = 0; i < STRANGERS; i++) (void)close(strangers[i]);
    world_close(&w);
}

/* Changes one of so many documents. */
static void write_many(world *w, uint64_t number, uint64_t many) {
    uint8_t document[] = {0x81, 0xa1, 'n', 0xce, 0, 0, 0, 0};
    char name[24];
    for (int i = 0; i < 4; i++) document[4 + i] = (uint8_t)(number >> (24 - 8 * i));
    (void)snprintf(name, sizeof name, "many-%llu", (llu)(number * 7919 % many));
    assert_int_equal(merle_one_put(w->host.collections[number % HOST_COLLECTIONS], merle_str(name),
                                   merle_bytes_of(document, sizeof document), &w->host.seq),
                     MERLE_OK);
}

/* It asks for a snapshot while all of them change, and hears changes before they cease. */
static void one_that_joins_amid_many_changes_has_them_all(void **state) {
    (void)state;
    world w = {0};
    uint64_t many = test_is_long() ? 1000000 : test_amount(30000), number = 0;
    uint64_t snapshot = 0;
    int has_joined = 0;
    world_open(&w, "tcp");
    merle_subscriber_options options = options_of(&w);
    while (number < many) write_many(&w, number++, many);
    ear_open(&w.ear, &options);
    while (w.ear.count < snapshot + 2000 && number < 60 * many) {
        for (int i = 0; i < 100; i++) write_many(&w, number++, many);
        (void)ear_drain(&w.ear);
        ear_wait(&w.ear, 1);
        if (!has_joined) snapshot = w.ear.count;
        has_joined = w.ear.snapshots >= HOST_COLLECTIONS;
    }
    ear_finish(&w);
    test_say("%llu documents, changed %llu times, %zu things heard", (llu)many, (llu)number,
             w.ear.count);
    world_close(&w);
}

/* ---- floods ---- */

static void floods_end_where_the_limits_are(void **state) {
    (void)state;
    world w = {.host.publish = {.client_max = 16, .question_size_max = 16 << 10}};
    int fds[FLOOD];
    world_open(&w, "tcp");
    ear_begin(&w, options_of(&w));
    size_t before = resident();
    for (int i = 0; i < FLOOD; i++) {
        uint64_t told = i % 3 == 0 ? UINT64_MAX / 2 : i % 3 == 1 ? 8196 : 4 + 4096 * (uint64_t)MB;
        fds[i] = raw_greet(w.host.service, REQ);
        (void)raw_ask(fds[i], told, i % 3 == 1 ? 8192 : 4096, (uint8_t)i);
        host_write(&w.host);
    }
    merle_publisher_stats s = stats_of(&w);
    test_say("%llu peers, %llu refused, %llu ended, %llu malformed; grew by %lld KiB",
             (llu)s.service_peers, (llu)s.service_peers_refused, (llu)s.service_peers_ended,
             (llu)s.malformed, grown_kib(before));
    assert_true(resident() <= before + 32 * (size_t)MB);
    for (int i = 0; i < FLOOD; i++) (void)close(fds[i]);
    ear_finish(&w);
    end_until(&(end){0}, stats_of(&w).service_peers == 1);
    world_close(&w);
}

static void secret_wrong_hears_nothing(void **state) {
    (void)state;
    world w = {.host.publish.secret = merle_str("open sesame")};
    ear wrong[2] = {{0}};
    world_open(&w, "tcp");
    merle_subscriber_options options = options_of(&w);
    ear_open(&wrong[0], &options); /* says none */
    options.secret = merle_str("open simsim");
    ear_open(&wrong[1], &options);
    options.secret = merle_str("open sesame");
    ear_begin(&w, options);
    for (int i = 0; i < 100; i++) {
        host_write(&w.host);
        for (int j = 0; j < 2; j++) (void)ear_drain(&wrong[j]);
    }
    ear_finish(&w);
    for (int j = 0; j < 2; j++) {
        for (int i = 0; i < PATIENCE_S * 20 && wrong[j].troubles == 0; i++) {
            (void)ear_drain(&wrong[j]);
            ear_wait(&wrong[j], 50);
        }
        assert_true(wrong[j].troubles > 0);
        for (size_t i = 0; i < wrong[j].count; i++) /* that it is refused, and no more */
            assert_true(wrong[j].notes[i].kind <= MERLE_HEARD_TROUBLE);
        ear_close(&wrong[j]);
    }
    assert_true(stats_of(&w).secrets_wrong >= 2);
    world_close(&w);
}

/* ---- certificates ---- */

static void certificate_wrong_hears_nothing(void **state) {
    (void)state;
    const char *authority = end_certificate("authority.pem");
    merle_publish_tls tls = *host_tls();
    world w = {.host.publish.tls = &tls};
    tls.authorities = authority; /* clients need certificates, too */
    struct {
        const char *authorities, *certificate, *key;
    } bad[] = {{end_certificate("other.pem"), end_certificate("client.pem"),
                end_certificate("client.key")},
               {authority, end_certificate("expired.pem"), end_certificate("expired.key")},
               {authority, end_certificate("other.pem"), end_certificate("other.key")},
               {authority, NULL, NULL}};
    ear wrong[4] = {{0}};
    world_open(&w, "tls+tcp");
    merle_subscriber_options options = options_of(&w);
    options.tls_server_name = "localhost";
    for (int i = 0; i < 4; i++) {
        options.tls_authorities = bad[i].authorities;
        options.tls_certificate = bad[i].certificate;
        options.tls_key = bad[i].key;
        ear_open(&wrong[i], &options);
    }
    options.tls_authorities = authority;
    options.tls_certificate = end_certificate("client.pem");
    options.tls_key = end_certificate("client.key");
    ear_begin(&w, options);
    for (int i = 0; i < 100; i++) {
        host_write(&w.host);
        (void)ear_drain(&w.ear);
        for (int j = 0; j < 4; j++) (void)ear_drain(&wrong[j]);
        ear_wait(&w.ear, 5);
    }
    ear_finish(&w);
    for (int j = 0; j < 4; j++) {
        assert_int_equal(wrong[j].connects, 0);
        ear_close(&wrong[j]);
    }
    world_close(&w);
}

/* ---- what events libraries are known for ---- */

static void single_subscriber_hears_and_refused_inserts_are_silent(void **state) {
    (void)state;
    uint8_t document[] = {0x81, 0xa1, 'n', 1};
    world w = {0};
    merle_bytes bytes = merle_bytes_of(document, sizeof document);
    world_open(&w, "tcp");
    ear_begin(&w, options_of(&w));
    merle_collection *players = w.host.collections[0];
    assert_int_equal(merle_one_insert(players, merle_str("one"), bytes, &w.host.seq), MERLE_OK);
    assert_int_equal(merle_wait_durable(w.host.db, UINT64_MAX), MERLE_OK);
    assert_true(ear_until(&w.ear, w.host.seq, PATIENCE_S));
    size_t heard = w.ear.count;
    for (int i = 0; i < 50; i++) {
        document[3] = (uint8_t)i;
        assert_int_equal(merle_one_insert(players, merle_str("one"), bytes, NULL), MERLE_EXISTS);
    }
    assert_int_equal(merle_one_remove(players, merle_str("none"), NULL), MERLE_NOT_FOUND);
    assert_int_equal(merle_one_insert(players, merle_str("two"), bytes, &w.host.seq), MERLE_OK);
    ear_finish(&w);
    uint64_t inserts = 0;
    for (size_t i = heard; i < w.ear.count; i++) inserts += w.ear.notes[i].kind != MERLE_HEARD_END;
    assert_int_equal(inserts, 1);
    world_close(&w);
}

static int set_up(void **state) {
    (void)state;
    test_seed_print();
    return end_certificates() ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    end_certificates_remove();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_stops_reading_goes_on_later),
        cmocka_unit_test(one_that_joins_amid_many_changes_has_them_all),
        cmocka_unit_test(floods_end_where_the_limits_are),
        cmocka_unit_test(secret_wrong_hears_nothing),
        cmocka_unit_test(certificate_wrong_hears_nothing),
        cmocka_unit_test(single_subscriber_hears_and_refused_inserts_are_silent),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
