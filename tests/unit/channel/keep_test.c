/* tests/unit/channel/keep_test.c - peers that break off while they are greeted silence nobody.
 *
 * Aim     whatever a peer does before it has greeted, a good one is answered afterwards, on every
 *         transport; who was connected does not feel it on ipc; who connected to a listener that
 *         was dead is sent away, and so comes again; the file keeps its mode, and goes at the end.
 * Method  peers by hand, many in a row: nng's listener dies if one has gone before nng greets it.
 *         To meet a dead one for certain we abuse it until a peer that greets well is not shown.
 * Cannot see a dead listener on tls+tcp: no way to make one is known.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/channel/end.h"

enum { REQ = 0x30, TIMES = 10, TRIES = 50, CUT_SECONDS = 5 };

static const mrl_net *const net = &mrl_net_nng;

/* ---- peers by hand ---- */

typedef enum manner {
    GONE_AT_ONCE = 0,
    GONE_IN_ITS_GREETING,
    GREETS_WRONG,
    RESETS,
    ENDS_AND_RESETS,
    GONE_IN_A_TLS_HELLO,
    RESETS_IN_A_TLS_HELLO,
    GONE_IN_A_REQUEST,
    GONE_AFTER_A_REQUEST,
    MANNERS
} manner;

static const char request[] =
    "GET /path HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Sec-WebSocket-Protocol: rep.sp.nanomsg.org\r\n\r\n";

static int raw_connect(const char *url) {
    struct sockaddr_storage address = {0};
    socklen_t size;
    if (strncmp(url, "ipc://", 6) == 0) {
        struct sockaddr_un *un = (struct sockaddr_un *)&address;
        un->sun_family = AF_UNIX;
        (void)snprintf(un->sun_path, sizeof un->sun_path, "%s", url + 6);
        size = sizeof *un;
    } else {
        struct sockaddr_in *in = (struct sockaddr_in *)&address;
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1));
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        size = sizeof *in;
    }
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, size) == 0) return fd;
    if (fd >= 0) (void)close(fd);
    return -1;
}

static void say(int fd, const void *bytes, size_t size) {
    (void)send(fd, bytes, size, MSG_NOSIGNAL); /* it may be ended meanwhile: all the same */
}

static void abuse(const char *url, manner how) {
    static const uint8_t tls_hello[] = {0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3};
    const struct linger reset = {1, 0};
    int fd = raw_connect(url);
    if (fd < 0) return; /* between the old listener and the new one nobody can connect */
    if (how == GONE_IN_ITS_GREETING) say(fd, "\0SP\0", 4);
    if (how == GREETS_WRONG) say(fd, "garbage, garbage\r\n\r\n", 20);
    if (how == GONE_IN_A_TLS_HELLO || how == RESETS_IN_A_TLS_HELLO)
        say(fd, tls_hello, sizeof tls_hello);
    if (how == GONE_IN_A_REQUEST) say(fd, request, sizeof request / 2);
    if (how == GONE_AFTER_A_REQUEST) say(fd, request, sizeof request - 1);
    if (how == ENDS_AND_RESETS) (void)shutdown(fd, SHUT_WR);
    if (how == RESETS || how == ENDS_AND_RESETS || how == RESETS_IN_A_TLS_HELLO)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    (void)close(fd);
}

/* Connects, greets well, and is greeted. -1: it cannot. */
static int raw_greet(const char *url) {
    const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, REQ, 0, 0};
    uint8_t theirs[8];
    int fd = raw_connect(url);
    if (fd < 0) return -1;
    say(fd, greeting, sizeof greeting);
    if (read(fd, theirs, sizeof theirs) == (long)sizeof theirs) return fd;
    (void)close(fd);
    return -1;
}

/* ---- good peers ---- */

/* A question on its way to a dead listener is lost with its connection, and asked again. */
static void answered(end *server, end *client) {
    mrl_question *question = NULL;
    mrl_message message;
    uint64_t peer = 0, until_ns = end_now_ns() + END_PATIENCE_NS;
    end_send(client, "question", 0);
    while (net->question(server->socket, &question, &message, &peer) != MERLE_OK) {
        if (end_now_ns() > until_ns) fail_msg("%s: nobody is heard any more", server->url);
        merle_err err = net->receive(client->socket, &message);
        assert_int_not_equal(err, MERLE_OK);
        if (err == MERLE_SYSTEM) end_send(client, "question", 0);
        end_nap(server);
    }
    net->message_free(&message);
    end_answer(question, "answer", 0);
    assert_true(end_receive(client, "answer", 0));
}

static void peers_that_break_off_silence_no_listener(void **state) {
    (void)state;
    for (size_t i = 1; i < END_TRANSPORTS; i++) { /* nobody connects to inproc by hand */
        mrl_net_options options = {0};
        char url[256], plain[256];
        end server;
        end_address(i, url, sizeof url);
        end_tls(i, &options);
        end_open(&server, MRL_NET_ANSWER, &options);
        end_listen(&server, url);
        (void)snprintf(plain, sizeof plain, "%s", server.url);
        char *path = strstr(plain, "/path");
        if (path != NULL) *path = 0;
        for (manner how = 0; how < MANNERS; how++) {
            end good;
            for (int n = 0; n < TIMES; n++) abuse(plain, how);
            end_open(&good, MRL_NET_ASK, &options);
            end_dial(&good, server.url);
            answered(&server, &good);
            end_close(&good);
        }
        end_close(&server);
    }
}

/* ---- a dead listener ---- */

/* Abuses it until somebody who greets well is not shown. Returns that peer, which waits. */
static int kill_listener(end *server, manner how) {
    for (int tries = 0; tries < TRIES; tries++) {
        for (int n = 0; n < TIMES; n++) abuse(server->url, how);
        uint64_t seen = end_stats(server).peers_seen, again = end_stats(server).relistened;
        int fd = raw_greet(server->url);
        if (fd < 0) continue;
        for (int naps = 0; naps < 100 && end_stats(server).peers_seen == seen; naps++)
            end_nap(server);
        if (end_stats(server).peers_seen == seen && end_stats(server).relistened == again)
            return fd;
        (void)close(fd);
    }
    return -1; /* a nng that does not die of it */
}

/* 1: its connection was ended in time. */
static int is_cut(int fd) {
    struct timeval patience = {.tv_sec = CUT_SECONDS};
    uint8_t byte;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    long got = read(fd, &byte, 1);
    return got == 0 || (got < 0 && errno == ECONNRESET);
}

/* 1: it died. The one that waits is in a process of its own, as clients are, and must be sent away;
 * but if we were slow, it found the new listener, and is shown. */
static int dies_and_sends_away(end *server) {
    int status = -1, fd = kill_listener(server, GONE_AT_ONCE);
    if (fd < 0) return 0;
    uint64_t seen = end_stats(server).peers_seen;
    (void)close(fd);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int own = raw_greet(server->url);
        _exit(own < 0 || is_cut(own) ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) != 0) assert_true(end_stats(server).peers_seen > seen);
    return 1;
}

static void listener_on_ipc_that_died_is_made_again_and_connections_stay(void **state) {
    (void)state;
    char url[256];
    struct stat found;
    end server, before, after;
    end_address(1, url, sizeof url);
    end_open(&server, MRL_NET_ANSWER, NULL);
    end_listen(&server, url);
    end_open(&before, MRL_NET_ASK, NULL);
    end_dial(&before, url);
    answered(&server, &before);
    int was_dead = dies_and_sends_away(&server);
    end_open(&after, MRL_NET_ASK, NULL);
    end_dial(&after, url);
    answered(&server, &after);
    answered(&server, &before);
    assert_int_equal(end_stats(&before).peers_seen, 1); /* it did not have to dial again */
    assert_true(end_peers(&server, 2));
    if (was_dead) assert_true(end_stats(&server).relistened > 0);
    assert_int_equal(stat(url + 6, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
    /* The dead one goes with its last connection, and takes no file with it. */
    ino_t file = found.st_ino;
    end_close(&before);
    assert_true(end_peers(&server, 1));
    for (int i = 0; i < 500; i++) end_nap(&server);
    assert_int_equal(stat(url + 6, &found), 0);
    assert_true(found.st_ino == file);
    end_open(&before, MRL_NET_ASK, NULL);
    end_dial(&before, url);
    answered(&server, &before);
    end_close(&before);
    end_close(&after);
    end_close(&server);
    assert_int_equal(stat(url + 6, &found), -1);
}

static void listener_on_tcp_that_died_is_made_again(void **state) {
    (void)state;
    end server, client;
    end_open(&server, MRL_NET_ANSWER, NULL);
    end_listen(&server, "tcp://127.0.0.1:0");
    end_open(&client, MRL_NET_ASK, NULL);
    end_dial(&client, server.url);
    answered(&server, &client);
    int waits = kill_listener(&server, ENDS_AND_RESETS);
    if (waits >= 0) {
        assert_true(is_cut(waits));
        (void)close(waits);
        end_until(&server, end_stats(&server).relistened > 0);
        end_until(&server, end_stats(&client).peers_seen > 1);
        end_until(&server, end_stats(&client).peers == 1);
    }
    answered(&server, &client); /* by a connection that was made again */
    end_close(&client);
    end_close(&server);
}

/* A file that others have put in its place is theirs. */
static void listener_whose_file_is_not_its_own_leaves_it(void **state) {
    (void)state;
    char url[256];
    struct stat found;
    end server, other;
    end_address(1, url, sizeof url);
    end_open(&server, MRL_NET_ANSWER, NULL);
    end_listen(&server, url);
    int waits = kill_listener(&server, GONE_AT_ONCE);
    assert_int_equal(unlink(url + 6), 0);
    end_open(&other, MRL_NET_ANSWER, NULL);
    end_listen(&other, url);
    assert_int_equal(stat(url + 6, &found), 0);
    ino_t file = found.st_ino;
    for (int i = 0; i < 1000; i++) end_nap(&server);
    assert_int_equal(stat(url + 6, &found), 0);
    assert_true(found.st_ino == file);
    assert_int_equal(end_stats(&server).relistened, 0);
    if (waits >= 0) (void)close(waits);
    end_close(&server);
    end_close(&other);
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
        cmocka_unit_test(peers_that_break_off_silence_no_listener),
        cmocka_unit_test(listener_on_ipc_that_died_is_made_again_and_connections_stay),
        cmocka_unit_test(listener_on_tcp_that_died_is_made_again),
        cmocka_unit_test(listener_whose_file_is_not_its_own_leaves_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
