/* tests/unit/channel/abuse_test.c - addresses that are none, and peers that do not behave.
 *
 * Aim     nothing of nng runs before the first open; each wrong address has its error and a
 *         sentence; files of others stay; a peer that does not read, or asks and asks, costs no
 *         more than its limits, and nobody waits for it.
 * Method  addresses of all kinds; peers that speak the protocol by hand over a plain socket, eight
 *         bytes of greeting and then messages with their sizes.
 * Cannot see what a flood of connections costs that never greet: nng ends them after ten seconds.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/channel/end.h"

enum { REQ = 0x30, SUB = 0x21, KB = 1 << 10, MB = 1 << 20 };

static const mrl_net *const net = &mrl_net_nng;

/* ---- a peer by hand ---- */

static void raw_write(int fd, const void *bytes, size_t size) {
    assert_int_equal(write(fd, bytes, size), (long)size);
}

/* Connects to an address on tcp and says what it is. */
static int raw_dial(const char *url, uint8_t protocol) {
    const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, protocol, 0, 0};
    uint8_t theirs[8];
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    raw_write(fd, greeting, sizeof greeting);
    assert_int_equal(read(fd, theirs, sizeof theirs), (long)sizeof theirs);
    return fd;
}

/* A question as req0 sends it: a size of eight bytes, a number of four, the text. */
static int raw_ask(int fd, uint32_t number, const char *text) {
    uint8_t frame[64] = {0};
    size_t length = strlen(text);
    frame[7] = (uint8_t)(4 + length);
    frame[8] = (uint8_t)(0x80 | number >> 24);
    frame[10] = (uint8_t)(number >> 8);
    frame[11] = (uint8_t)number;
    memcpy(frame + 12, text, length);
    return send(fd, frame, 12 + length, MSG_NOSIGNAL) == (long)(12 + length);
}

/* ---- threads and addresses ---- */

static int threads(void) {
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    while (readdir(tasks) != NULL) count++;
    (void)closedir(tasks);
    return count;
}

/* First of all: whoever opened a socket has the threads for ever. */
static void open_first_starts_the_threads_and_nothing_before(void **state) {
    (void)state;
    end e;
    mrl_message message;
    int before = threads();
    assert_int_equal(net->message_make(net->context, 10, &message), MERLE_OK);
    net->message_free(&message);
    assert_int_equal(threads(), before);
    end_open(&e, MRL_NET_ASK, NULL);
    assert_true(threads() > before);
    end_close(&e);
}

static void address_wrong_has_its_error_and_a_sentence(void **state) {
    char too_long[200] = "ipc:///tmp/", shown[256];
    memset(too_long + strlen(too_long), 'x', 120);
    (void)state;
    const struct {
        const char *url;
        merle_err listening, dialing;
        const char *says;
    } cases[] = {
        {"nonsense", MERLE_INVALID, MERLE_INVALID, "is no address"},
        {"udp://127.0.0.1:1", MERLE_UNSUPPORTED, MERLE_UNSUPPORTED, "no such transport"},
        {too_long, MERLE_INVALID, MERLE_INVALID, "file name is too long for a socket"},
        {"ipc://", MERLE_INVALID, MERLE_INVALID, "no file is named"},
        {"tls+tcp://127.0.0.1:1", MERLE_INVALID, MERLE_INVALID, "no certificates"},
        {"wss://127.0.0.1:1/x", MERLE_INVALID, MERLE_INVALID, "no certificates"},
        {"tcp://127.0.0.1:notaport", MERLE_INVALID, MERLE_INVALID, "no such address"},
        {"ipc:///no/such/directory/socket", MERLE_SYSTEM, MERLE_OK, "listen on"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        merle_report report = {0};
        end e;
        end_open(&e, MRL_NET_ANSWER, NULL);
        merle_err err = net->listen(e.socket, cases[i].url, shown, sizeof shown, &report);
        if (err != cases[i].listening || strstr(report.message, cases[i].says) == NULL)
            fail_msg("%s: %s, %s", cases[i].url, merle_err_name(err), report.message);
        assert_string_equal(shown, "");
        assert_int_equal(net->dial(e.socket, cases[i].url, NULL), cases[i].dialing);
        end_close(&e);
    }
}

static void address_in_use_is_told(void **state) {
    (void)state;
    for (size_t i = 0; i < END_TRANSPORTS; i++) {
        end one, other;
        char url[256], shown[256];
        merle_report report;
        if (strcmp(end_transports[i], "tls+tcp") == 0 || strcmp(end_transports[i], "wss") == 0)
            continue; /* as tcp and ws, with certificates */
        end_address(i, url, sizeof url);
        end_open(&one, MRL_NET_ANSWER, NULL);
        end_open(&other, MRL_NET_ANSWER, NULL);
        end_listen(&one, url);
        if (net->listen(other.socket, one.url, shown, sizeof shown, &report) != MERLE_EXISTS ||
            strstr(report.message, "in use") == NULL)
            fail_msg("%s: %s", one.url, report.message);
        if (strstr(url, ":0") != NULL) {
            end_listen(&other, url); /* another port */
            assert_string_not_equal(one.url, other.url);
        }
        end_close(&other);
        end_close(&one);
    }
}

static void listener_on_all_addresses_says_one_that_can_be_dialed(void **state) {
    static const char *const urls[] = {"tcp://0.0.0.0:0", "tcp://*:0", "ws://0.0.0.0:0/x"};
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        end server, client;
        end_open(&server, MRL_NET_PUBLISH, NULL);
        end_listen(&server, urls[i]);
        end_open(&client, MRL_NET_SUBSCRIBE, NULL);
        end_dial(&client, server.url);
        assert_true(end_peers(&client, 1));
        end_close(&client);
        end_close(&server);
    }
}

static void file_of_a_socket_has_its_mode_and_others_stay(void **state) {
    (void)state;
    char directory[] = "/tmp/merle-abuse-XXXXXX", path[64], url[80], shown[80];
    merle_report report;
    struct stat found;
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/socket", directory);
    (void)snprintf(url, sizeof url, "ipc://%s", path);
    for (uint32_t mode = 0; mode <= 0660; mode += 0660) {
        mrl_net_options options = {.ipc_mode = mode};
        end e;
        end_open(&e, MRL_NET_ANSWER, &options);
        end_listen(&e, url);
        assert_int_equal(stat(path, &found), 0);
        assert_int_equal(found.st_mode & 0777, mode == 0 ? 0600 : mode);
        end_close(&e);
        assert_int_equal(stat(path, &found), -1); /* it goes with its listener */
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fclose(file);
    end e;
    end_open(&e, MRL_NET_ANSWER, NULL);
    assert_int_equal(net->listen(e.socket, url, shown, sizeof shown, &report), MERLE_EXISTS);
    assert_int_equal(stat(path, &found), 0);
    (void)unlink(path);
    int left = socket(AF_UNIX, SOCK_STREAM, 0); /* a socket whose owner was killed */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    assert_int_equal(bind(left, (struct sockaddr *)&address, sizeof address), 0);
    (void)close(left);
    end_listen(&e, url);
    end_close(&e);
    assert_int_equal(rmdir(directory), 0);
}

/* ---- peers ---- */

/* The memory of this process, in bytes. */
static size_t resident(void) {
    unsigned long all = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &all, &pages), 2);
    (void)fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void peer_that_never_reads_costs_its_queue_and_no_time(void **state) {
    (void)state;
    mrl_net_options options = {.queue = 32, .receive_max = MB};
    end from, good;
    end_open(&from, MRL_NET_PUBLISH, &options);
    end_listen(&from, "tcp://127.0.0.1:0");
    end_open(&good, MRL_NET_SUBSCRIBE, &options);
    assert_int_equal(net->topic(good.socket, merle_bytes_of("", 0), 1), MERLE_OK);
    end_dial(&good, from.url);
    int stopped = raw_dial(from.url, SUB);
    assert_true(end_peers(&from, 2));
    size_t before = resident();
    for (int i = 0; i < 400; i++) { /* 400 MiB, of which at most 33 wait */
        end_send(&from, "x", MB);
        assert_true(end_receive(&good, "x", MB)); /* one message late is not heard: it was there */
    }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(resident() < before + 100 * (size_t)MB);
#endif
    (void)before;
    assert_int_equal(end_stats(&from).peers, 2);
    (void)close(stopped);
    assert_true(end_peers(&from, 1));
    end_close(&good);
    end_close(&from);
}

static void asker_with_too_many_questions_is_ended(void **state) {
    (void)state;
    mrl_net_options options = {.question_max = 4};
    mrl_question *held[4];
    uint64_t peer = 0;
    end server, good;
    end_open(&server, MRL_NET_ANSWER, &options);
    end_listen(&server, "tcp://127.0.0.1:0");
    int fd = raw_dial(server.url, REQ);
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(raw_ask(fd, i, "flood"));
        held[i] = end_question(&server, "flood", &peer);
        assert_non_null(held[i]);
    }
    assert_int_equal(end_stats(&server).peers_ended, 0);
    assert_true(raw_ask(fd, 4, "flood"));
    assert_true(end_peers(&server, 0));
    assert_int_equal(end_stats(&server).peers_ended, 1);
    for (int i = 0; i < 4; i++) end_answer(held[i], "late", 0);
    (void)close(fd);
    end_open(&good, MRL_NET_ASK, NULL);
    end_dial(&good, server.url);
    end_send(&good, "good", 0);
    end_answer(end_question(&server, "good", &peer), "answer", 0);
    assert_true(end_receive(&good, "answer", 0));
    end_close(&good);
    end_close(&server);
}

static void asker_that_never_reads_is_ended(void **state) {
    (void)state;
    mrl_net_options options = {.question_max = 1000, .unsent_max = 2 * MB};
    uint64_t peer = 0;
    end server;
    end_open(&server, MRL_NET_ANSWER, &options);
    end_listen(&server, "tcp://127.0.0.1:0");
    int fd = raw_dial(server.url, REQ);
    size_t sent = 0;
    uint64_t unsent = 0;
    for (uint32_t i = 0; end_stats(&server).peers_ended == 0 && i < 500; i++, sent += 512 * KB) {
        assert_true(raw_ask(fd, i, "more"));
        mrl_question *question = end_question(&server, "more", &peer);
        if (question == NULL) break;
        unsent = end_stats(&server).unsent;
        end_answer(question, "a", 512 * KB);
    }
    /* What the system's own buffers take comes on top. */
    assert_int_equal(end_stats(&server).peers_ended, 1);
    assert_true(sent < 64 * (size_t)MB);
    assert_true(unsent > 1 * MB && unsent <= 2 * MB);
    assert_true(end_peers(&server, 0));
    while (end_stats(&server).unsent > 0) usleep(1000);
    (void)close(fd);
    end_close(&server);
}

static void bytes_that_are_no_message_end_only_their_connection(void **state) {
    static const uint8_t huge[8] = {0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t small[10] = {0, 0, 0, 0, 0, 0, 0, 2, 1, 2}; /* no room for a number */
    (void)state;
    end server;
    end_open(&server, MRL_NET_ANSWER, NULL);
    end_listen(&server, "tcp://127.0.0.1:0");
    for (int i = 0; i < 2; i++) {
        uint8_t byte;
        int fd = raw_dial(server.url, REQ);
        assert_true(end_peers(&server, 1));
        raw_write(fd, i == 0 ? huge : small, i == 0 ? sizeof huge : sizeof small);
        assert_true(read(fd, &byte, 1) <= 0);
        assert_true(end_peers(&server, 0));
        (void)close(fd);
    }
    int fd = raw_dial(server.url, SUB); /* the wrong protocol */
    uint8_t byte;
    assert_true(read(fd, &byte, 1) <= 0);
    (void)close(fd);
    end_close(&server);
}

/* The questions that nobody fetches stay with those who ask. */
static void questions_that_nobody_fetches_wait_at_their_askers(void **state) {
    (void)state;
    enum { MANY = 40 };
    mrl_net_options options = {.queue = 4};
    uint64_t peer = 0;
    end server, askers[MANY];
    end_open(&server, MRL_NET_ANSWER, &options);
    end_listen(&server, "inproc://patient");
    for (int i = 0; i < MANY; i++) {
        end_open(&askers[i], MRL_NET_ASK, NULL);
        end_dial(&askers[i], server.url);
        end_send(&askers[i], "q", 0);
    }
    assert_true(end_peers(&server, MANY));
    end_until(&server, end_stats(&server).messages_received >= 4);
    for (int i = 0; i < 20; i++) end_nap(&server);
    assert_int_equal(end_stats(&server).messages_received, 4);
    for (int i = 0; i < MANY; i++) end_answer(end_question(&server, "q", &peer), "a", 0);
    for (int i = 0; i < MANY; i++) {
        assert_true(end_receive(&askers[i], "a", 0));
        end_close(&askers[i]);
    }
    end_close(&server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_first_starts_the_threads_and_nothing_before),
        cmocka_unit_test(address_wrong_has_its_error_and_a_sentence),
        cmocka_unit_test(address_in_use_is_told),
        cmocka_unit_test(listener_on_all_addresses_says_one_that_can_be_dialed),
        cmocka_unit_test(file_of_a_socket_has_its_mode_and_others_stay),
        cmocka_unit_test(peer_that_never_reads_costs_its_queue_and_no_time),
        cmocka_unit_test(asker_with_too_many_questions_is_ended),
        cmocka_unit_test(asker_that_never_reads_is_ended),
        cmocka_unit_test(bytes_that_are_no_message_end_only_their_connection),
        cmocka_unit_test(questions_that_nobody_fetches_wait_at_their_askers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
