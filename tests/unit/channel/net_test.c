/* tests/unit/channel/net_test.c - what base/net.h promises, asked of nng on every transport.
 *
 * Aim     messages and questions go and come whole; whoever is slow, gone, too big or too many
 *         troubles nobody else; what is broken is made again; an end that is closed is quiet.
 * Method  real sockets, both ends in this process; each case runs on inproc, ipc, tcp, tls+tcp, ws
 *         and wss. What must happen is waited for by the event that tells of it.
 * Cannot see other machines, and connections that die without a word.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/channel/end.h"

enum { ASKERS = 24, MB = 1 << 20 };

static const mrl_net *const net = &mrl_net_nng;

static const char *current; /* the transport; still set when a case has failed */

/* Runs a case on each transport. */
static void each(void (*fn)(size_t transport)) {
    for (size_t i = 0; i < END_TRANSPORTS; i++) {
        current = end_transports[i];
        fn(i);
    }
    current = NULL;
}

static void open_on(end *e, size_t transport, mrl_net_role role, const mrl_net_options *options) {
    mrl_net_options own = options == NULL ? (mrl_net_options){0} : *options;
    end_tls(transport, &own);
    end_open(e, role, &own);
}

/* One that listens and one that dials it, connected. */
static void open_pair(size_t transport, end *server, mrl_net_role serves, end *client,
                      mrl_net_role dials, const mrl_net_options *options) {
    char url[256];
    end_address(transport, url, sizeof url);
    open_on(server, transport, serves, options);
    end_listen(server, url);
    open_on(client, transport, dials, options);
    if (dials == MRL_NET_SUBSCRIBE)
        assert_int_equal(net->topic(client->socket, merle_bytes_of("a", 1), 1), MERLE_OK);
    end_dial(client, server->url);
    if (!end_peers(server, 1) || !end_peers(client, 1)) fail_msg("no connection: %s", server->url);
}

/* Whether it is noticed at once that the other side has closed. On ws and wss nng 1.5.2 now and
 * then (one time in fifty on a busy machine) does not, before something is sent. */
static int notices_ends(size_t transport) {
    return strncmp(end_transports[transport], "ws", 2) != 0;
}

static void publish(size_t transport) {
    end from, to;
    open_pair(transport, &from, MRL_NET_PUBLISH, &to, MRL_NET_SUBSCRIBE, NULL);
    end_send(&from, "b is not wanted", 0);
    end_send(&from, "a1", 0);
    end_send(&from, "a2", 1000);
    assert_true(end_receive(&to, "a1", 0));
    assert_true(end_receive(&to, "a2", 1000));
    assert_int_equal(net->topic(to.socket, merle_bytes_of("a", 1), 0), MERLE_OK);
    assert_int_equal(net->topic(to.socket, merle_bytes_of("b", 1), 1), MERLE_OK);
    end_send(&from, "a3", 0);
    end_send(&from, "b1", 0);
    assert_true(end_receive(&to, "b1", 0));
    assert_int_equal(end_stats(&from).messages_sent, 5);
    assert_int_equal(end_stats(&to).messages_received, 3);
    assert_int_equal(end_stats(&to).bytes_received, 2 + 1000 + 2);
    end_close(&from);
    if (notices_ends(transport)) assert_true(end_peers(&to, 0));
    end_close(&to);
}
static void publish_wanted_topic_comes_in_order(void **state) {
    (void)state;
    each(publish);
}

static void hold(size_t transport) {
    end server, askers[ASKERS];
    mrl_question *held[ASKERS];
    uint64_t peers[ASKERS];
    char url[256], text[16];
    end_address(transport, url, sizeof url);
    open_on(&server, transport, MRL_NET_ANSWER, NULL);
    end_listen(&server, url);
    for (int i = 0; i < ASKERS; i++) {
        open_on(&askers[i], transport, MRL_NET_ASK, NULL);
        end_dial(&askers[i], server.url);
        (void)snprintf(text, sizeof text, "q%02d", i);
        end_send(&askers[i], text, 0); /* the connection may not be there yet */
        held[i] = end_question(&server, text, &peers[i]);
        assert_non_null(held[i]);
        if (i > 0) assert_true(peers[i] != 0 && peers[i] != peers[i - 1]);
    }
    for (int i = 0; i < ASKERS; i++) {
        int other = (i * 7 + 3) % ASKERS; /* any order: 7 and 24 have no divisor in common */
        (void)snprintf(text, sizeof text, "a%02d", other);
        end_answer(held[other], text, 0);
        assert_true(end_receive(&askers[other], text, 0));
    }
    for (int i = 0; i < ASKERS; i++) end_close(&askers[i]);
    end_close(&server);
}
static void question_held_is_answered_in_any_order(void **state) {
    (void)state;
    each(hold);
}

static void newer(size_t transport) {
    end server, asker;
    uint64_t peer = 0, other = 0;
    mrl_net_options options = {.question_max = 1000};
    open_pair(transport, &server, MRL_NET_ANSWER, &asker, MRL_NET_ASK, &options);
    end_send(&asker, "old", 0);
    mrl_question *old = end_question(&server, "old", &peer);
    end_send(&asker, "new", 0);
    mrl_question *recent = end_question(&server, "new", &other);
    assert_true(peer != 0 && peer == other);
    end_answer(old, "to old", 0);
    end_answer(recent, "to new", 0);
    assert_true(end_receive(&asker, "to new", 0));
    for (int i = 0; i < 200; i++) end_send(&asker, "again", 0); /* faster than they are answered */
    end_send(&asker, "last", 0);
    mrl_message message;
    for (int is_last = 0; !is_last;) {
        end_until(&server, net->question(server.socket, &recent, &message, &peer) == MERLE_OK);
        is_last = memcmp(message.data, "last", 4) == 0;
        net->message_free(&message);
        if (is_last)
            end_answer(recent, "to last", 0);
        else
            net->answer(recent, NULL); /* not answered at all */
    }
    assert_true(end_receive(&asker, "to last", 0));
    end_close(&asker);
    end_close(&server);
}
static void question_newer_makes_the_old_forgotten(void **state) {
    (void)state;
    each(newer);
}

/* Whether a connection may be broken in the middle of a message. Over TLS on tcp nng 1.5.2 (and
 * 1.10, too) often loses its reaper then: it waits for ever, for all sockets of the process, and no
 * connection ends or comes again. There is no way round it from outside; channel/README.md. */
static int may_break_amid(size_t transport) {
    return notices_ends(transport) && strcmp(end_transports[transport], "tls+tcp") != 0;
}

static void big(size_t transport) {
    mrl_net_options options = {.receive_max = 2 * MB};
    end server, asker, from, to;
    uint64_t peer = 0;
    open_pair(transport, &server, MRL_NET_ANSWER, &asker, MRL_NET_ASK, &options);
    end_send(&asker, "q", 2 * MB);
    end_answer(end_question(&server, "q", &peer), "a", 2 * MB);
    assert_true(end_receive(&asker, "a", 2 * MB));
    if (may_break_amid(transport)) {
        end_send(&asker, "q", 2 * MB + 1); /* ends the connection */
        assert_true(end_receive_none(&asker));
        end_send(&asker, "small", 0);
        end_answer(end_question(&server, "small", &peer), "a", 2 * MB + 1);
        assert_true(end_receive_none(&asker));
    }
    end_close(&asker);
    end_close(&server);
    open_pair(transport, &from, MRL_NET_PUBLISH, &to, MRL_NET_SUBSCRIBE, &options);
    end_send(&from, "a", 2 * MB);
    assert_true(end_receive(&to, "a", 2 * MB));
    if (may_break_amid(transport)) {
        end_send(&from, "a", 2 * MB + 1);
        end_until(&to, end_stats(&to).peers_seen >= 2);
        end_until(&from, end_stats(&from).peers_seen >= 2); /* not the one that is to go */
        assert_true(end_peers(&from, 1) && end_peers(&to, 1));
        end_send(&from, "a again", 0);
        assert_true(end_receive(&to, "a again", 0));
    }
    end_close(&from);
    end_close(&to);
}
static void message_too_big_ends_only_its_connection(void **state) {
    (void)state;
    each(big);
}

static void gone(size_t transport) {
    end server, asker, other;
    uint64_t peer = 0;
    open_pair(transport, &server, MRL_NET_ANSWER, &asker, MRL_NET_ASK, NULL);
    end_send(&asker, "q", 0);
    mrl_question *held = end_question(&server, "q", &peer);
    end_close(&asker);
    if (notices_ends(transport)) assert_true(end_peers(&server, 0));
    end_answer(held, "nobody is there", 0);
    open_on(&other, transport, MRL_NET_ASK, NULL);
    end_dial(&other, server.url);
    end_send(&other, "r", 0);
    uint64_t other_peer = 0;
    held = end_question(&server, "r", &other_peer);
    assert_int_not_equal(peer, other_peer);
    end_close(&server); /* with a question that is held */
    assert_true(end_receive_none(&other));
    end_close(&other);
}
static void peer_gone_with_a_question_troubles_nobody(void **state) {
    (void)state;
    each(gone);
}

static void reconnect(size_t transport) {
    end server, asker, from, to;
    char url[256];
    uint64_t peer = 0;
    if (!notices_ends(transport)) return;
    open_pair(transport, &server, MRL_NET_ANSWER, &asker, MRL_NET_ASK, NULL);
    (void)snprintf(url, sizeof url, "%s", server.url);
    end_close(&server);
    assert_true(end_peers(&asker, 0));
    end_send(&asker, "q", 0); /* waits for a connection */
    open_on(&server, transport, MRL_NET_ANSWER, NULL);
    end_listen(&server, url);
    assert_string_equal(server.url, url);
    mrl_question *question = end_question(&server, "q", &peer);
    assert_non_null(question);
    end_answer(question, "a", 0);
    assert_true(end_receive(&asker, "a", 0));
    end_close(&asker);
    end_close(&server);
    open_pair(transport, &from, MRL_NET_PUBLISH, &to, MRL_NET_SUBSCRIBE, NULL);
    (void)snprintf(url, sizeof url, "%s", from.url);
    end_close(&from);
    assert_true(end_peers(&to, 0));
    open_on(&from, transport, MRL_NET_PUBLISH, NULL);
    end_listen(&from, url);
    assert_true(end_peers(&from, 1) && end_peers(&to, 1));
    end_send(&from, "a", 0);
    assert_true(end_receive(&to, "a", 0));
    end_close(&to);
    end_close(&from);
}
static void listener_opened_again_is_found_again(void **state) {
    (void)state;
    each(reconnect);
}

static void refuse(size_t transport) {
    mrl_net_options options = {.peer_max = 2};
    end server, clients[3];
    char url[256];
    if (!notices_ends(transport)) return;
    end_address(transport, url, sizeof url);
    open_on(&server, transport, MRL_NET_PUBLISH, &options);
    end_listen(&server, url);
    for (int i = 0; i < 3; i++) {
        open_on(&clients[i], transport, MRL_NET_SUBSCRIBE, NULL);
        end_dial(&clients[i], server.url);
        if (i < 2) assert_true(end_peers(&server, (uint64_t)i + 1));
    }
    end_until(&server, end_stats(&server).peers_refused >= 2);
    assert_int_equal(end_stats(&server).peers, 2);
    end_close(&clients[0]);
    end_until(&server, end_stats(&server).peers_seen >= 3); /* the third one comes in */
    end_close(&clients[1]);
    end_close(&clients[2]);
    end_close(&server);
}
static void peer_beyond_the_limit_is_refused(void **state) {
    (void)state;
    each(refuse);
}

static void overrun(size_t transport) {
    mrl_net_options options = {.queue = 8};
    end from, to;
    open_pair(transport, &from, MRL_NET_PUBLISH, &to, MRL_NET_SUBSCRIBE, &options);
    for (int i = 0; i < 8; i++) {
        end_send(&from, "a", 0);
        end_until(&to, end_stats(&to).messages_received >= (uint64_t)i + 1);
    }
    end_send(&from, "a lost", 0);
    end_until(&to, end_stats(&to).dropped >= 1);
    for (int i = 0; i < 8; i++) assert_true(end_receive(&to, "a", 0));
    end_send(&from, "a2", 0);
    assert_true(end_receive(&to, "a2", 0));
    end_close(&from);
    end_close(&to);
}
static void queue_full_drops_and_counts(void **state) {
    (void)state;
    each(overrun);
}

static void bytes_that_wait_are_bounded(void **state) {
    (void)state;
    mrl_net_options options = {.queue = 64, .queue_size_max = 1000};
    end from, to;
    open_pair(1, &from, MRL_NET_PUBLISH, &to, MRL_NET_SUBSCRIBE, &options);
    end_send(&from, "a", 600);
    end_until(&to, end_stats(&to).messages_received >= 1);
    end_send(&from, "a", 600);
    end_until(&to, end_stats(&to).dropped >= 1);
    end_send(&from, "a", 300); /* it fits beside the first */
    end_until(&to, end_stats(&to).messages_received >= 3);
    assert_true(end_receive(&to, "a", 600));
    assert_true(end_receive(&to, "a", 300));
    end_send(&from, "a", 5000); /* alone it may be of any size */
    assert_true(end_receive(&to, "a", 5000));
    assert_int_equal(end_stats(&to).dropped, 1);
    end_close(&from);
    end_close(&to);
}

/* After each case. */
static int tell_failed(void **state) {
    (void)state;
    if (current != NULL) print_message("# it was on %s\n", current);
    current = NULL;
    return 0;
}

static int set_up(void **state) {
    (void)state;
    return end_certificates() ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    end_certificates_remove();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(publish_wanted_topic_comes_in_order, tell_failed),
        cmocka_unit_test_teardown(question_held_is_answered_in_any_order, tell_failed),
        cmocka_unit_test_teardown(question_newer_makes_the_old_forgotten, tell_failed),
        cmocka_unit_test_teardown(message_too_big_ends_only_its_connection, tell_failed),
        cmocka_unit_test_teardown(peer_gone_with_a_question_troubles_nobody, tell_failed),
        cmocka_unit_test_teardown(listener_opened_again_is_found_again, tell_failed),
        cmocka_unit_test_teardown(peer_beyond_the_limit_is_refused, tell_failed),
        cmocka_unit_test_teardown(queue_full_drops_and_counts, tell_failed),
        cmocka_unit_test_teardown(bytes_that_wait_are_bounded, tell_failed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
