/* bench/events/raw.c - the floor: the same bytes by nng's push and pull; see events.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nng/nng.h> /* before the others: they need it */
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>

#include "bench/common/measure.h"
#include "bench/events/events.h"

struct events_raw {
    nng_socket socket;
};

static void die_of(int failed, const char *what) {
    if (failed != 0) bench_die("raw: %s: %s", what, nng_strerror(failed));
}

events_raw *events_raw_open(const char *transport) {
    char url[EVENTS_URL_SIZE];
    nng_listener listener;
    char *bound;
    events_raw *raw = bench_alloc(sizeof *raw);
    events_url(url, transport, "raw");
    die_of(nng_push0_open(&raw->socket), "open");
    die_of(nng_listener_create(&listener, raw->socket, url), "listener");
    die_of(nng_listener_start(listener, 0), "listen");
    die_of(nng_listener_get_string(listener, NNG_OPT_URL, &bound), "url");
    if (strcmp(transport, "tcp") == 0) {
        int port = 0;
        die_of(nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port), "port");
        snprintf(page->raw, sizeof page->raw, "tcp://127.0.0.1:%d", port);
    } else {
        snprintf(page->raw, sizeof page->raw, "%s", bound);
    }
    nng_strfree(bound);
    return raw;
}

static nng_msg *message_of(const void *bytes, size_t size) {
    nng_msg *message;
    die_of(nng_msg_alloc(&message, size), "message");
    memcpy(nng_msg_body(message), bytes, size);
    return message;
}

void events_raw_send(events_raw *raw, const void *bytes, size_t size) {
    die_of(nng_sendmsg(raw->socket, message_of(bytes, size), 0), "send");
}

void events_raw_send_marked(events_raw *raw, const void *bytes, size_t size) {
    nng_msg *message = message_of(bytes, size);
    atomic_store(&page->raw_mark_ns, bench_now_ns());
    die_of(nng_sendmsg(raw->socket, message, 0), "send");
}

void events_raw_close(events_raw *raw) {
    (void)nng_close(raw->socket);
    free(raw);
}

/* The first message only says that both ends are there. */
void events_raw_hear(void) {
    nng_socket socket;
    nng_msg *message;
    uint64_t expected = 2;
    die_of(nng_pull0_open(&socket), "open");
    die_of(nng_dial(socket, page->raw, NULL, 0), "dial");
    for (uint64_t heard = 0; heard < expected; heard++) {
        die_of(nng_recvmsg(socket, &message, 0), "receive");
        uint64_t now_ns = bench_now_ns();
        if (heard == 0) expected = page->expected + 1;
        if (heard > 0 && heard < sizeof page->raw_lag_ns / sizeof *page->raw_lag_ns)
            page->raw_lag_ns[heard - 1] = (uint32_t)(now_ns - atomic_load(&page->raw_mark_ns));
        nng_msg_free(message);
        page->raw_end_ns = now_ns;
        atomic_store(&page->raw_heard, heard + 1);
    }
    page->raw_processor_ns = events_processor_ns();
    (void)nng_close(socket);
}
