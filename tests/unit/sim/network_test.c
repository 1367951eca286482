/* tests/unit/sim/network_test.c - the simulated network keeps the promises of base/net.h, and it
 * breaks what it is asked to break.
 *
 * Aim     what comes, comes whole and in the order of its connection; every message is accounted
 *         for; one seed is one run; each fault happens and is counted.
 * Method  a few sockets on two or three hosts, the crank turned by hand; random faults with many
 *         messages, and sums over what was counted.
 * Cannot see whether nng behaves likewise: tests/unit/channel asks that of the real thing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/sim/network.h"
#include "tests/unit/seed.h"

static uint64_t seed;

enum { MS = 1000000 };

static mrl_socket *open_socket(network *n, const char *host, mrl_net_role role, uint32_t queue) {
    const mrl_net *net = network_host(n, host);
    mrl_net_options options = {.queue = queue};
    mrl_socket *socket = NULL;
    assert_int_equal(net->open(net->context, role, &options, &socket, NULL), MERLE_OK);
    return socket;
}

static void listen_on(network *n, const char *host, mrl_socket *socket, const char *url) {
    char shown[NETWORK_URL_MAX];
    assert_int_equal(network_host(n, host)->listen(socket, url, shown, sizeof shown, NULL),
                     MERLE_OK);
}

static void send_number(network *n, mrl_socket *socket, uint32_t number) {
    const mrl_net *net = network_host(n, "server"); /* all have the same functions */
    mrl_message message;
    assert_int_equal(net->message_make(net->context, sizeof number, &message), MERLE_OK);
    memcpy(message.data, &number, sizeof number);
    assert_int_equal(net->send(socket, &message), MERLE_OK);
}

/* 0: none is there. */
static int receive_number(network *n, mrl_socket *socket, uint32_t *out_number) {
    const mrl_net *net = network_host(n, "server");
    mrl_message message;
    if (net->receive(socket, &message) != MERLE_OK) return 0;
    assert_int_equal(message.size, sizeof *out_number);
    memcpy(out_number, message.data, sizeof *out_number);
    net->message_free(&message);
    return 1;
}

static mrl_socket *hear(network *n, const char *host, const char *url, uint32_t queue) {
    const mrl_net *net = network_host(n, host);
    mrl_socket *socket = open_socket(n, host, MRL_NET_SUBSCRIBE, queue);
    assert_int_equal(net->topic(socket, merle_bytes_of("", 0), 1), MERLE_OK);
    assert_int_equal(net->dial(socket, url, NULL), MERLE_OK);
    return socket;
}

static void publish_without_faults_comes_whole_and_in_order(void **state) {
    static const char *const urls[] = {"tcp://server:5000", "tls+tcp://server:5000",
                                       "ws://server:5000/x", "wss://server:5000/x"};
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        network *n = network_create(seed, NULL);
        mrl_socket *from = open_socket(n, "server", MRL_NET_PUBLISH, 200);
        listen_on(n, "server", from, urls[i]);
        mrl_socket *to = hear(n, "client", urls[i], 200);
        network_deliver(n);
        for (uint32_t number = 0; number < 100; number++) send_number(n, from, number);
        assert_int_equal(network_deliver(n), 100);
        uint32_t got = 0;
        for (uint32_t number = 0; number < 100; number++) {
            assert_true(receive_number(n, to, &got));
            assert_int_equal(got, number);
        }
        assert_false(receive_number(n, to, &got));
        network_host(n, "server")->close(from);
        network_destroy(n); /* with a socket that nobody closed */
    }
}

static void address_own_to_its_host_or_taken_is_told(void **state) {
    (void)state;
    network *n = network_create(seed, NULL);
    const mrl_net *net = network_host(n, "server");
    mrl_socket *one = open_socket(n, "server", MRL_NET_PUBLISH, 0);
    mrl_socket *other = open_socket(n, "server", MRL_NET_PUBLISH, 0);
    mrl_socket *elsewhere = open_socket(n, "client", MRL_NET_PUBLISH, 0);
    char shown[NETWORK_URL_MAX];
    listen_on(n, "server", one, "ipc:///tmp/x");
    assert_int_equal(net->listen(other, "ipc:///tmp/x", shown, sizeof shown, NULL), MERLE_EXISTS);
    listen_on(n, "client", elsewhere, "ipc:///tmp/x");
    assert_int_equal(net->listen(other, "tcp://0.0.0.0:0", shown, sizeof shown, NULL), MERLE_OK);
    assert_int_equal(strncmp(shown, "tcp://server:4", 14), 0);
    assert_int_equal(net->listen(other, "nonsense", shown, sizeof shown, NULL), MERLE_INVALID);
    assert_int_equal(net->listen(other, "udp://a:1", shown, sizeof shown, NULL), MERLE_UNSUPPORTED);
    mrl_socket *near = hear(n, "server", "ipc:///tmp/x", 0);
    network_deliver(n);
    send_number(n, elsewhere, 1);
    send_number(n, one, 2);
    network_deliver(n);
    uint32_t got = 0;
    assert_true(receive_number(n, near, &got));
    assert_int_equal(got, 2);
    network_destroy(n);
}

static void queue_full_drops_and_counts(void **state) {
    (void)state;
    network *n = network_create(seed, NULL);
    mrl_socket *from = open_socket(n, "server", MRL_NET_PUBLISH, 10);
    listen_on(n, "server", from, "tcp://server:1");
    mrl_socket *slow = hear(n, "slow", "tcp://server:1", 100);
    mrl_socket *narrow = hear(n, "narrow", "tcp://server:1", 5);
    network_deliver(n);
    network_pause(n, "slow", 1);
    for (uint32_t number = 0; number < 50; number++) send_number(n, from, number);
    network_deliver(n);
    network_fates fates = network_fates_of(n);
    assert_int_equal(fates.dropped, 2 * 39); /* one on the wire, ten in the queue of each */
    assert_int_equal(fates.overrun, 6);
    network_pause(n, "slow", 0);
    network_deliver(n);
    uint32_t got = 0, count = 0;
    while (receive_number(n, slow, &got)) count++;
    assert_int_equal(count, 11);
    assert_int_equal(got, 49); /* the newest is kept */
    for (count = 0; receive_number(n, narrow, &got);) count++;
    assert_int_equal(count, 5);
    network_destroy(n);
}

static void count_ready(void *context) {
    (*(int *)context)++;
}

static void question_held_and_answered_in_any_order(void **state) {
    (void)state;
    network *n = network_create(seed, NULL);
    const mrl_net *net = network_host(n, "server");
    mrl_socket *server = open_socket(n, "server", MRL_NET_ANSWER, 0), *askers[3];
    mrl_question *held[3];
    mrl_message messages[3];
    uint64_t peers[3];
    listen_on(n, "server", server, "tcp://server:1");
    for (uint32_t i = 0; i < 3; i++) {
        askers[i] = open_socket(n, "client", MRL_NET_ASK, 0);
        assert_int_equal(net->dial(askers[i], "tcp://server:1", NULL), MERLE_OK);
        send_number(n, askers[i], i); /* before there is a connection */
    }
    network_deliver(n);
    for (int i = 0; i < 3; i++)
        assert_int_equal(net->question(server, &held[i], &messages[i], &peers[i]), MERLE_OK);
    assert_int_not_equal(peers[0], peers[1]);
    for (int i = 2; i >= 0; i--) net->answer(held[i], &messages[i]);
    network_deliver(n);
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t got = 99;
        assert_true(receive_number(n, askers[i], &got));
        assert_int_equal(got, i);
    }
    network_destroy(n);
}

static void question_on_a_broken_connection_is_told(void **state) {
    (void)state;
    network *n = network_create(seed, NULL);
    const mrl_net *net = network_host(n, "client");
    int ready = 0;
    mrl_net_options options = {.ready = count_ready, .ready_context = &ready};
    mrl_socket *server = open_socket(n, "server", MRL_NET_ANSWER, 0), *asker = NULL;
    mrl_question *held = NULL;
    mrl_message message;
    uint64_t peer = 0;
    listen_on(n, "server", server, "tcp://server:1");
    assert_int_equal(net->open(net->context, MRL_NET_ASK, &options, &asker, NULL), MERLE_OK);
    assert_int_equal(net->dial(asker, "tcp://server:1", NULL), MERLE_OK);
    send_number(n, asker, 7);
    network_deliver(n);
    assert_int_equal(net->question(server, &held, &message, &peer), MERLE_OK);
    assert_int_equal(network_cut(n, "server", "client"), 1);
    assert_int_equal(ready, 0); /* only the crank tells */
    network_deliver(n);
    assert_int_equal(ready, 1);
    net->answer(held, &message); /* the asker is gone: no error */
    assert_int_equal(net->receive(asker, &message), MERLE_SYSTEM);
    assert_int_equal(net->receive(asker, &message), MERLE_NOT_FOUND); /* told once */
    network_advance(n, 2000 * (uint64_t)MS);
    assert_int_equal(net->receive(asker, &message), MERLE_NOT_FOUND);
    send_number(n, asker, 8);
    network_deliver(n);
    assert_int_equal(net->question(server, &held, &message, &peer), MERLE_OK);
    net->answer(held, &message);
    network_deliver(n);
    uint32_t got = 0;
    assert_true(receive_number(n, asker, &got));
    assert_int_equal(got, 8);
    network_destroy(n);
}

static void link_held_cut_killed_and_joined_again(void **state) {
    (void)state;
    network *n = network_create(seed, NULL);
    mrl_socket *from = open_socket(n, "server", MRL_NET_PUBLISH, 100);
    uint32_t got = 0;
    mrl_net_stats stats;
    listen_on(n, "server", from, "tcp://server:1");
    mrl_socket *to = hear(n, "client", "tcp://server:1", 100);
    network_deliver(n);
    network_link_set(n, "client", "server", NETWORK_HELD);
    send_number(n, from, 1);
    network_advance(n, 5000 * (uint64_t)MS);
    assert_false(receive_number(n, to, &got));
    network_link_set(n, "client", "server", NETWORK_JOINED);
    network_deliver(n);
    assert_true(receive_number(n, to, &got)); /* late, but there */
    network_link_set(n, "client", "server", NETWORK_CUT);
    network_advance(n, 5000 * (uint64_t)MS);
    network_host(n, "server")->stat(from, &stats);
    assert_int_equal(stats.peers, 0);
    network_link_set(n, "client", "server", NETWORK_JOINED);
    network_advance(n, 2000 * (uint64_t)MS);
    network_host(n, "server")->stat(from, &stats);
    assert_int_equal(stats.peers, 1);
    network_kill(n, "server");
    network_deliver(n);
    network_host(n, "client")->stat(to, &stats);
    assert_int_equal(stats.peers, 0);
    mrl_socket *again = open_socket(n, "server", MRL_NET_PUBLISH, 100);
    listen_on(n, "server", again, "tcp://server:1");
    network_advance(n, 2000 * (uint64_t)MS);
    send_number(n, again, 2);
    network_deliver(n);
    assert_true(receive_number(n, to, &got));
    assert_int_equal(got, 2);
    network_destroy(n);
}

static void peer_beyond_the_limit_is_refused(void **state) {
    (void)state;
    network *n = network_create(seed, NULL);
    const mrl_net *net = network_host(n, "server");
    mrl_net_options options = {.peer_max = 2};
    mrl_socket *from = NULL;
    mrl_net_stats stats;
    assert_int_equal(net->open(net->context, MRL_NET_PUBLISH, &options, &from, NULL), MERLE_OK);
    listen_on(n, "server", from, "tcp://server:1");
    mrl_socket *first = hear(n, "client", "tcp://server:1", 0);
    (void)hear(n, "client", "tcp://server:1", 0);
    (void)hear(n, "client", "tcp://server:1", 0);
    network_advance(n, 3000 * (uint64_t)MS);
    net->stat(from, &stats);
    assert_int_equal(stats.peers, 2);
    assert_true(stats.peers_refused > 1);
    net->close(first);
    network_advance(n, 3000 * (uint64_t)MS);
    net->stat(from, &stats);
    assert_int_equal(stats.peers, 2); /* the third one came in */
    assert_int_equal(stats.peers_seen, 3);
    network_destroy(n);
}

/* One run with many messages: gives the history, and checks the sums. in_order: numbers grow. */
static uint64_t run_faults(uint64_t with_seed, const network_faults *faults, int in_order,
                           network_fates *out_fates) {
    network *n = network_create(with_seed, NULL);
    mrl_socket *from = open_socket(n, "server", MRL_NET_PUBLISH, 20);
    listen_on(n, "server", from, "tcp://server:1");
    mrl_socket *to = hear(n, "client", "tcp://server:1", 4000);
    network_deliver(n);
    network_fault(n, faults);
    uint32_t got = 0, last = 0, wrong = 0;
    for (uint32_t number = 1; number <= 2000; number++) {
        send_number(n, from, number);
        network_advance(n, MS);
        for (; receive_number(n, to, &got); last = got) wrong += got <= last;
    }
    while (network_fates_of(n).sent > 0 && network_next_ns(n) != UINT64_MAX) network_step(n);
    for (; receive_number(n, to, &got); last = got) wrong += got <= last;
    if (in_order) assert_int_equal(wrong, 0);
    *out_fates = network_fates_of(n);
    uint64_t history = network_history(n);
    /* What was doubled for the next connection may still wait for it. */
    uint64_t gone = out_fates->delivered + out_fates->lost + out_fates->cut + out_fates->dropped;
    assert_true(gone <= out_fates->sent + out_fates->doubled);
    assert_true(gone + out_fates->doubled >= out_fates->sent);
    if (out_fates->doubled == 0) assert_int_equal(gone, out_fates->sent);
    network_destroy(n);
    return history;
}

static void faults_happen_and_are_all_counted(void **state) {
    (void)state;
    network_fates fates;
    network_faults orderly = {.delay_min_ns = 1000,
                              .delay_max_ns = 5 * MS,
                              .reconnect_min_ns = MS,
                              .reconnect_max_ns = 20 * MS,
                              .lose_one_in = 50,
                              .cut_one_in = 100};
    run_faults(seed, &orderly, 1, &fates);
    assert_true(fates.lost > 5 && fates.cut > 0 && fates.broken > 3);
    assert_true(fates.connections > fates.broken);
    network_faults wild = orderly;
    wild.double_one_in = 20;
    wild.reorder_one_in = 20;
    run_faults(seed, &wild, 0, &fates);
    assert_true(fates.doubled > 10 && fates.reordered > 10);
    network_faults late = {.delay_min_ns = 50 * MS, .delay_max_ns = 50 * MS};
    run_faults(seed, &late, 1, &fates);
    assert_true(fates.dropped > 500); /* 20 in 50 ms, and one comes every ms */
}

static void seed_same_gives_the_same_run(void **state) {
    (void)state;
    network_fates fates;
    network_faults faults = {.delay_max_ns = 5 * MS,
                             .lose_one_in = 50,
                             .double_one_in = 50,
                             .reorder_one_in = 50,
                             .cut_one_in = 100};
    uint64_t first = run_faults(seed, &faults, 0, &fates);
    assert_true(run_faults(seed, &faults, 0, &fates) == first);
    assert_true(run_faults(seed + 1, &faults, 0, &fates) != first);
}

int main(int argc, char **argv) {
    seed = seed_of(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publish_without_faults_comes_whole_and_in_order),
        cmocka_unit_test(address_own_to_its_host_or_taken_is_told),
        cmocka_unit_test(queue_full_drops_and_counts),
        cmocka_unit_test(question_held_and_answered_in_any_order),
        cmocka_unit_test(question_on_a_broken_connection_is_told),
        cmocka_unit_test(link_held_cut_killed_and_joined_again),
        cmocka_unit_test(peer_beyond_the_limit_is_refused),
        cmocka_unit_test(faults_happen_and_are_all_counted),
        cmocka_unit_test(seed_same_gives_the_same_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
