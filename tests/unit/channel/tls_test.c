/* tests/unit/channel/tls_test.c - who may talk to whom where there are certificates.
 *
 * Aim     a dialer talks only to a listener whose certificate its authority signed, in time, for
 *         the name that it expects; a listener that wants certificates talks to nobody without.
 * Method  certificates made with openssl on the spot; beside each that must fail one that must come
 *         through, dialed later: when that one is connected, the other had its chance, several
 *         times over.
 * Cannot see weak ciphers, and certificates that are revoked.
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

enum { NAPS = 60 }; /* while one that must not connect tries: about ten times */

static const mrl_net *const net = &mrl_net_nng;
static const char *const urls[] = {"tls+tcp://127.0.0.1:0", "wss://127.0.0.1:0/path"};

static mrl_net_tls named(const char *authority, const char *own, const char *server_name) {
    char file[32];
    mrl_net_tls tls = {.server_name = server_name};
    if (authority != NULL) {
        (void)snprintf(file, sizeof file, "%s.pem", authority);
        tls.authorities = end_certificate(file);
    }
    if (own != NULL) {
        (void)snprintf(file, sizeof file, "%s.pem", own);
        tls.certificate = end_certificate(file);
        (void)snprintf(file, sizeof file, "%s.key", own);
        tls.key = end_certificate(file);
    }
    return tls;
}

/* bad never reaches this listener, good does. */
static void only_good(const char *url, const mrl_net_tls *listener, const mrl_net_tls *bad,
                      const mrl_net_tls *good) {
    mrl_net_options options = {.tls = listener};
    end server, wrong, right;
    uint64_t peer = 0;
    end_open(&server, MRL_NET_ANSWER, &options);
    end_listen(&server, url);
    options.tls = bad;
    end_open(&wrong, MRL_NET_ASK, &options);
    end_dial(&wrong, server.url);
    end_send(&wrong, "from whom nobody trusts", 0);
    options.tls = good;
    if (good != NULL) {
        end_open(&right, MRL_NET_ASK, &options);
        end_dial(&right, server.url);
        end_send(&right, "q", 0);
        end_answer(end_question(&server, "q", &peer), "a", 0);
        assert_true(end_receive(&right, "a", 0));
    }
    for (int i = 0; i < NAPS; i++) end_nap(&wrong);
    assert_int_equal(end_stats(&server).peers_seen, good != NULL);
    assert_int_equal(end_stats(&server).messages_received, good != NULL);
    assert_int_equal(end_stats(&wrong).messages_received, 0);
    if (good != NULL) end_close(&right);
    end_close(&wrong);
    end_close(&server);
}

static void authority_wrong_is_no_connection(void **state) {
    (void)state;
    mrl_net_tls listener = named(NULL, "server", NULL);
    mrl_net_tls bad = named("other", NULL, "localhost"),
                good = named("authority", NULL, "localhost");
    for (int i = 0; i < 2; i++) only_good(urls[i], &listener, &bad, &good);
}

static void name_wrong_is_no_connection(void **state) {
    (void)state;
    mrl_net_tls listener = named(NULL, "server", NULL);
    mrl_net_tls bad = named("authority", NULL, "elsewhere.example");
    mrl_net_tls good = named("authority", NULL, "localhost");
    for (int i = 0; i < 2; i++) only_good(urls[i], &listener, &bad, &good);
}

static void certificate_expired_is_no_connection(void **state) {
    (void)state;
    mrl_net_tls listener = named(NULL, "expired", NULL);
    mrl_net_tls bad = named("authority", NULL, "localhost");
    for (int i = 0; i < 2; i++) only_good(urls[i], &listener, &bad, NULL);
}

static void client_without_the_right_certificate_is_refused(void **state) {
    (void)state;
    mrl_net_tls listener = named("authority", "server", NULL);
    mrl_net_tls without = named("authority", NULL, "localhost");
    mrl_net_tls strange = named("authority", "other", "localhost");
    mrl_net_tls expired = named("authority", "expired", "localhost");
    mrl_net_tls good = named("authority", "client", "localhost");
    for (int i = 0; i < 2; i++) {
        only_good(urls[i], &listener, &without, &good);
        only_good(urls[i], &listener, &strange, &good);
        only_good(urls[i], &listener, &expired, &good);
    }
}

static void name_comes_from_the_address_if_none_is_given(void **state) {
    (void)state;
    mrl_net_tls listener = named(NULL, "server", NULL), tls = named("authority", NULL, NULL);
    mrl_net_options options = {.tls = &listener};
    end server, client;
    char url[256];
    end_open(&server, MRL_NET_PUBLISH, &options);
    end_listen(&server, urls[0]);
    (void)snprintf(url, sizeof url, "tls+tcp://localhost%s", strrchr(server.url, ':'));
    options.tls = &tls;
    end_open(&client, MRL_NET_SUBSCRIBE, &options);
    end_dial(&client, url);
    assert_true(end_peers(&server, 1));
    end_close(&client);
    end_open(&client, MRL_NET_SUBSCRIBE, &options);
    end_dial(&client, server.url); /* 127.0.0.1 is not in the certificate */
    for (int i = 0; i < NAPS; i++) end_nap(&client);
    assert_int_equal(end_stats(&server).peers_seen, 1);
    end_close(&client);
    end_close(&server);
}

static void speaker_without_tls_troubles_nobody(void **state) {
    (void)state;
    mrl_net_tls listener = named(NULL, "server", NULL), tls = named("authority", NULL, "localhost");
    mrl_net_options options = {.tls = &listener};
    end server, plain, client;
    char url[256];
    end_open(&server, MRL_NET_PUBLISH, &options);
    end_listen(&server, urls[0]);
    (void)snprintf(url, sizeof url, "tcp%s", strstr(server.url, "://"));
    end_open(&plain, MRL_NET_SUBSCRIBE, NULL);
    end_dial(&plain, url);
    options.tls = &tls;
    end_open(&client, MRL_NET_SUBSCRIBE, &options);
    end_dial(&client, server.url);
    assert_true(end_peers(&server, 1));
    assert_int_equal(end_stats(&plain).peers_seen, 0);
    end_close(&plain);
    end_close(&client);
    end_close(&server);
}

static void certificates_missing_or_senseless_are_told(void **state) {
    (void)state;
    char shown[256];
    merle_report report;
    mrl_net_tls tls[] = {named("authority", NULL, NULL), /* a listener without a certificate */
                         {.certificate = end_certificate("server.pem")}, /* without its key */
                         {.certificate = "not PEM", .key = "neither"}};
    for (size_t i = 0; i <= sizeof tls / sizeof *tls; i++) {
        mrl_net_options options = {.tls = i == 0 ? NULL : &tls[i - 1]};
        end server;
        end_open(&server, MRL_NET_ANSWER, &options);
        for (int j = 0; j < 2; j++)
            assert_int_equal(net->listen(server.socket, urls[j], shown, sizeof shown, &report),
                             MERLE_INVALID);
        end_close(&server);
    }
    mrl_net_tls nobody = {0};
    mrl_net_options options = {.tls = &nobody};
    end client;
    end_open(&client, MRL_NET_ASK, &options);
    assert_int_equal(net->dial(client.socket, "tls+tcp://127.0.0.1:1", &report), MERLE_INVALID);
    assert_non_null(strstr(report.message, "who is trusted"));
    end_close(&client);
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
        cmocka_unit_test(authority_wrong_is_no_connection),
        cmocka_unit_test(name_wrong_is_no_connection),
        cmocka_unit_test(certificate_expired_is_no_connection),
        cmocka_unit_test(client_without_the_right_certificate_is_refused),
        cmocka_unit_test(name_comes_from_the_address_if_none_is_given),
        cmocka_unit_test(speaker_without_tls_troubles_nobody),
        cmocka_unit_test(certificates_missing_or_senseless_are_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
