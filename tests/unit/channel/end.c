/* tests/unit/channel/end.c - sockets for tests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/channel/end.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/seam.h"

#define NAP_NS 2000000u

static const mrl_net *const net = &mrl_net_nng;
static char directory[64];

const char *const end_transports[END_TRANSPORTS] = {"inproc", "ipc", "tcp", "tls+tcp", "ws", "wss"};

uint64_t end_now_ns(void) {
    return mrl_clock_system.monotonic_ns(mrl_clock_system.context);
}

static void end_ready(void *context) {
    end *e = context;
    e->told++;
    mrl_event_signal(&e->event);
}

void end_open(end *e, mrl_net_role role, const mrl_net_options *options) {
    mrl_net_options own = options == NULL ? (mrl_net_options){0} : *options;
    merle_report report;
    *e = (end){0};
    mrl_event_init(&e->event);
    own.ready = end_ready;
    own.ready_context = e;
    if (net->open(net->context, role, &own, &e->socket, &report) != MERLE_OK)
        fail_msg("%s", report.message);
}

void end_close(end *e) {
    net->close(e->socket);
    uint32_t told = e->told;
    e->socket = NULL;
    assert_int_equal(e->told, told);
}

void end_listen(end *e, const char *url) {
    merle_report report;
    if (net->listen(e->socket, url, e->url, sizeof e->url, &report) != MERLE_OK)
        fail_msg("%s", report.message);
}

void end_dial(end *e, const char *url) {
    merle_report report;
    if (net->dial(e->socket, url, &report) != MERLE_OK) fail_msg("%s", report.message);
}

static void message_of(const char *text, size_t size, mrl_message *out_message) {
    size_t length = strlen(text);
    if (size < length) size = length;
    assert_int_equal(net->message_make(net->context, size + 10, out_message), MERLE_OK);
    memset(out_message->data, 0, size);
    memcpy(out_message->data, text, length);
    out_message->size = size; /* fewer than there was room for */
}

void end_send(end *e, const char *text, size_t size) {
    mrl_message message;
    message_of(text, size, &message);
    assert_int_equal(net->send(e->socket, &message), MERLE_OK);
    assert_null(message.data);
}

static int is_message(mrl_message *message, const char *text, size_t size) {
    size_t length = strlen(text);
    int is_it = message->size == (size < length ? length : size) &&
                (length == 0 || memcmp(message->data, text, length) == 0);
    if (!is_it)
        print_message("# got %zu bytes: %.*s\n", message->size,
                      message->size > 40 ? 40 : (int)message->size, (const char *)message->data);
    net->message_free(message);
    return is_it;
}

void end_nap(end *e) {
    mrl_event_wait(&e->event, mrl_event_count(&e->event), NAP_NS);
}

static merle_err receive(end *e, mrl_message *out_message) {
    uint64_t until_ns = end_now_ns() + END_PATIENCE_NS;
    for (;;) {
        uint32_t seen = mrl_event_count(&e->event);
        merle_err err = net->receive(e->socket, out_message);
        if (err != MERLE_NOT_FOUND || end_now_ns() > until_ns) return err;
        mrl_event_wait(&e->event, seen, END_PATIENCE_NS);
    }
}

int end_receive(end *e, const char *text, size_t size) {
    mrl_message message;
    merle_err err = receive(e, &message);
    if (err != MERLE_OK) print_message("# no message: %s\n", merle_err_name(err));
    return err == MERLE_OK && is_message(&message, text, size);
}

int end_receive_none(end *e) {
    mrl_message message;
    merle_err err = receive(e, &message);
    if (err == MERLE_OK) net->message_free(&message);
    return err == MERLE_SYSTEM;
}

mrl_question *end_question(end *e, const char *text, uint64_t *out_peer) {
    mrl_question *question = NULL;
    mrl_message message;
    uint64_t until_ns = end_now_ns() + END_PATIENCE_NS;
    for (;;) {
        uint32_t seen = mrl_event_count(&e->event);
        merle_err err = net->question(e->socket, &question, &message, out_peer);
        if (err == MERLE_OK) break;
        assert_int_equal(err, MERLE_NOT_FOUND);
        if (end_now_ns() > until_ns) return NULL;
        mrl_event_wait(&e->event, seen, END_PATIENCE_NS);
    }
    assert_true(is_message(&message, text, message.size));
    return question;
}

void end_answer(mrl_question *question, const char *text, size_t size) {
    mrl_message message;
    message_of(text, size, &message);
    net->answer(question, &message);
}

mrl_net_stats end_stats(end *e) {
    mrl_net_stats stats;
    net->stat(e->socket, &stats);
    return stats;
}

int end_peers(end *e, uint64_t count) {
    uint64_t until_ns = end_now_ns() + END_PATIENCE_NS;
    while (end_stats(e).peers != count) {
        if (end_now_ns() > until_ns) return 0;
        end_nap(e);
    }
    return 1;
}

/* ---- addresses ---- */

void end_address(size_t transport, char *out_url, size_t size) {
    static unsigned serial;
    const char *name = end_transports[transport];
    if (strcmp(name, "inproc") == 0)
        (void)snprintf(out_url, size, "inproc://end-%u", ++serial);
    else if (strcmp(name, "ipc") == 0)
        (void)snprintf(out_url, size, "ipc:///tmp/merle-end-%ld-%u", (long)getpid(), ++serial);
    else
        (void)snprintf(out_url, size, "%s://127.0.0.1:0%s", name, name[0] == 'w' ? "/path" : "");
}

void end_tls(size_t transport, mrl_net_options *options) {
    static mrl_net_tls tls;
    const char *name = end_transports[transport];
    if (strcmp(name, "tls+tcp") != 0 && strcmp(name, "wss") != 0) return;
    tls = (mrl_net_tls){end_certificate("authority.pem"), end_certificate("server.pem"),
                        end_certificate("server.key"), "localhost"};
    options->tls = &tls;
}

/* ---- certificates ---- */

int end_certificates(void) {
    char command[512];
    (void)snprintf(directory, sizeof directory, "/tmp/merle-certificates-XXXXXX");
    if (mkdtemp(directory) == NULL) return 0;
    (void)snprintf(command, sizeof command, "%s %s", CERTIFICATES, directory);
    return system(command) == 0;
}

const char *end_certificate(const char *name) {
    static struct { char name[32], text[4096]; } kept[16];
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        if (strcmp(kept[i].name, name) == 0) return kept[i].text;
        if (kept[i].name[0] != 0) continue;
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", directory, name);
        FILE *file = fopen(path, "r");
        if (file == NULL) fail_msg("%s is missing", path);
        size_t size = fread(kept[i].text, 1, sizeof kept[i].text - 1, file);
        (void)fclose(file);
        kept[i].text[size] = 0;
        (void)snprintf(kept[i].name, sizeof kept[i].name, "%s", name);
        return kept[i].text;
    }
    fail_msg("too many certificates");
    return NULL;
}

void end_certificates_remove(void) {
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", directory);
    if (directory[0] != 0 && system(command) != 0) (void)fprintf(stderr, "# left %s\n", directory);
}
