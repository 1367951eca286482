/* tests/net/transports_test.c - publisher and subscribers on real sockets, on each transport, and
 * through a proxy that does not behave.
 *
 * Aim     Whatever the network does, each subscriber hears every change in order and once, and its
 *         copy equals the store: with three collections, truncates, a bulk load, and one that is
 *         dropped and made anew; by news and by polls.
 * Method  A database with files, a writer, and two subscribers in one process; between them, in
 *         the second round, a proxy for news and one for the service. The log is the oracle.
 * Blind   Over TLS connections are not cut: nng 1.5.2 may stop for good on tls+tcp, and not notice
 *         the end of a connection on wss (channel/README.md).
 *         Inproc has no proxy.
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

#include "tests/model/seed.h"
#include "tests/net/ear.h"
#include "tests/net/host.h"
#include "tests/net/proxy.h"
#include "tests/unit/channel/end.h"

enum { EARS = 2, PATIENCE_S = 30, TLS = 3, WSS = 5, ROUND = 75 };

typedef struct world {
    char directory[64];
    host host;
    ear ears[EARS]; /* one with news, one that polls */
    proxy *proxies[2];
    uint64_t seed;
} world;

static void directory_make(world *w) {
    (void)snprintf(w->directory, sizeof w->directory, "/tmp/merle-net-XXXXXX");
    assert_non_null(mkdtemp(w->directory));
}

static void directory_remove(world *w) {
    char command[96];
    (void)snprintf(command, sizeof command, "rm -rf %s", w->directory);
    assert_int_equal(system(command), 0);
}

static void ears_open(world *w, const char *news, const char *service) {
    merle_subscriber_options options = {.service = service,
                                        .publisher = news,
                                        .keep = 1,
                                        .tls_authorities = host_authority(),
                                        .tls_server_name = "localhost"};
    ear_open(&w->ears[0], &options);
    options.publisher = NULL;
    ear_open(&w->ears[1], &options);
}

static void world_open(world *w, size_t transport, const proxy_faults *faults) {
    char news[256], service[256];
    directory_make(w);
    host_address(transport, "news", news, sizeof news);
    host_address(transport, "service", service, sizeof service);
    w->host.publish.tls = host_tls();
    host_open(&w->host, w->directory, w->seed);
    host_publish(&w->host, news, service);
    if (faults == NULL) {
        ears_open(w, w->host.news, w->host.service);
        return;
    }
    w->proxies[0] = proxy_open(w->host.news, faults, w->seed + 1, news, sizeof news);
    w->proxies[1] = proxy_open(w->host.service, faults, w->seed + 2, service, sizeof service);
    ears_open(w, news, service);
}

static void world_close(world *w) {
    for (int i = 0; i < EARS; i++) ear_close(&w->ears[i]);
    for (int i = 0; i < 2 && w->proxies[i] != NULL; i++) {
        proxy_counts c = proxy_close(w->proxies[i]);
        test_say(
            "  %s: %llu connections, %llu messages, %llu dropped, %llu doubled, %llu delayed, "
            "%llu cut",
            i == 0 ? "news" : "service", (unsigned long long)c.links,
            (unsigned long long)c.messages, (unsigned long long)c.dropped,
            (unsigned long long)c.doubled, (unsigned long long)c.delayed,
            (unsigned long long)c.cut);
    }
    host_close(&w->host);
    directory_remove(w);
}

static void hear_all(world *w) {
    assert_int_equal(merle_wait_durable(w->host.db, UINT64_MAX), MERLE_OK);
    for (int i = 0; i < EARS; i++)
        if (!ear_until(&w->ears[i], w->host.seq, PATIENCE_S)) fail_msg("subscriber %d", i);
}

/* Rounds, so that much is heard one by one while it happens; what is lost at the end of a round is
 * missed in it. */
static void write_and_hear(world *w, uint64_t commits) {
    for (uint64_t i = 0; i < commits; i++) {
        host_write(&w->host);
        if (i % 3 == 0) (void)ear_drain(&w->ears[0]);
        if (i % 7 == 0) (void)ear_drain(&w->ears[1]);
        if (i % 5 == 0) ear_wait(&w->ears[0], 2);
        if (i % ROUND == ROUND - 1) hear_all(w);
    }
}

/* Both heard everything, as it was. */
static void all_is_heard(world *w) {
    hear_all(w);
    for (int i = 0; i < EARS; i++) {
        if (!ear_judge(&w->ears[i], w->host.db)) fail_msg("subscriber %d", i);
        if (!ear_equals(&w->ears[i], w->host.db)) fail_msg("the copy of subscriber %d", i);
    }
}

static void run(size_t transport, const proxy_faults *faults, uint64_t commits) {
    world w = {.seed = test_seed() + transport};
    test_say("%s%s", host_transports[transport], faults == NULL ? "" : ", with a proxy");
    world_open(&w, transport, faults);
    hear_all(&w);
    write_and_hear(&w, commits);
    host_stir(&w.host);
    write_and_hear(&w, commits / 2);
    for (int i = 0; i < 2 && w.proxies[i] != NULL; i++) proxy_behave(w.proxies[i]);
    all_is_heard(&w);
    assert_int_equal(w.ears[0].gaps, w.ears[1].gaps);
    world_close(&w);
}

static void each_transport_tells_everything_once(void **state) {
    (void)state;
    for (size_t i = 0; i < HOST_TRANSPORTS; i++) run(i, NULL, test_amount(300));
}

static void bad_network_loses_nothing(void **state) {
    (void)state;
    for (size_t i = 1; i < HOST_TRANSPORTS; i++) {
        proxy_faults faults = {.dropped = 300,
                               .doubled = 400,
                               .delayed = 3000,
                               .cut = i == TLS || i == WSS ? 0 : 120,
                               .delay_max_ms = 15};
        run(i, &faults, test_amount(300));
    }
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
        cmocka_unit_test(each_transport_tells_everything_once),
        cmocka_unit_test(bad_network_loses_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
