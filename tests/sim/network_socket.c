/* tests/sim/network_socket.c - the simulated network's sockets: the calls of mrl_net.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/report.h"
#include "base/self.h"
#include "tests/sim/network_private.h"

enum { RECEIVE_DEFAULT = 1 << 20, QUEUE_DEFAULT = 64, QUESTION_DEFAULT = 16 };

/* ---- messages ---- */

static merle_err net_message_make(void *context, size_t size, mrl_message *out_message) {
    (void)context;
    uint8_t *memory = network_memory(size + 1); /* a message may be empty */
    *out_message = (mrl_message){memory, size, memory};
    return MERLE_OK;
}

static void net_message_free(mrl_message *message) {
    free(message->internal);
    *message = (mrl_message){NULL, 0, NULL};
}

static flight *message_to_flight(mrl_message *message, uint64_t ask) {
    flight *f = flight_make(merle_bytes_of(message->data, message->size), ask);
    net_message_free(message);
    return f;
}

static void tell_ready(mrl_socket *socket) {
    if (socket->options.ready != NULL) socket->options.ready(socket->options.ready_context);
}

/* ---- opening and closing ---- */

static merle_err net_open(void *context, mrl_net_role role, const mrl_net_options *options,
                          mrl_socket **out_socket, merle_report *report) {
    host *at = context;
    (void)report;
    mrl_point("net.open");
    mrl_socket *socket = network_memory(sizeof *socket), **end = &at->owner->sockets;
    socket->at = at;
    socket->role = role;
    socket->options = *options;
    socket->options.tls = NULL;
    if (socket->options.receive_max == 0) socket->options.receive_max = RECEIVE_DEFAULT;
    if (socket->options.queue == 0) socket->options.queue = QUEUE_DEFAULT;
    if (socket->options.question_max == 0) socket->options.question_max = QUESTION_DEFAULT;
    while (*end != NULL) end = &(*end)->next;
    *end = socket;
    *out_socket = socket;
    return MERLE_OK;
}

static void arrivals_free(mrl_socket *socket) {
    while (socket->arrivals != NULL) {
        arrival *freed = socket->arrivals;
        socket->arrivals = freed->next;
        net_message_free(&freed->message);
        free(freed);
    }
    socket->arrival_count = 0;
}

void socket_free(mrl_socket *socket) {
    arrivals_free(socket);
    while (socket->topics != NULL) {
        topic *freed = socket->topics;
        socket->topics = freed->next;
        free(freed);
    }
    while (socket->questions != NULL) {
        mrl_question *freed = socket->questions;
        socket->questions = freed->next;
        free(freed);
    }
    free(socket->question);
    free(socket);
}

static void net_close(mrl_socket *socket) {
    if (socket == NULL) return;
    mrl_point("net.close");
    network *n = socket->at->owner;
    mrl_socket **place = &n->sockets;
    while (*place != socket) place = &(*place)->next;
    *place = socket->next;
    network_forget(n, socket);
    socket_free(socket);
}

/* ---- addresses ---- */

static int is_own_host(const char *name, size_t size) {
    static const char *const names[] = {"127.0.0.1", "0.0.0.0", "localhost", "*", "[::1]", ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == size && memcmp(names[i], name, size) == 0) return 1;
    return 0;
}

/* What an address is known by in the whole network, and how others write it. port: instead of 0. */
static merle_err address_key(const host *at, const char *url, uint32_t port, char *out_key,
                             size_t max) {
    static const char *const ported[] = {"tcp://", "tls+tcp://", "ws://", "wss://"};
    if (strstr(url, "://") == NULL || strlen(url) >= NETWORK_URL_MAX) return MERLE_INVALID;
    if (strncmp(url, "inproc://", 9) == 0 || strncmp(url, "ipc://", 6) == 0) {
        (void)snprintf(out_key, max, "%s!%s", at->name, url);
        return MERLE_OK;
    }
    for (size_t i = 0; i < sizeof ported / sizeof *ported; i++) {
        size_t scheme = strlen(ported[i]);
        if (strncmp(url, ported[i], scheme) != 0) continue;
        const char *colon = strchr(url + scheme, ':');
        if (colon == NULL) return MERLE_INVALID;
        char *rest = NULL;
        unsigned long number = strtoul(colon + 1, &rest, 10);
        size_t size = (size_t)(colon - url) - scheme;
        int is_own = is_own_host(url + scheme, size);
        (void)snprintf(out_key, max, "%s%.*s:%lu%s", ported[i],
                       is_own ? (int)strlen(at->name) : (int)size, is_own ? at->name : url + scheme,
                       number == 0 ? port : number, rest);
        return MERLE_OK;
    }
    return MERLE_UNSUPPORTED;
}

static merle_err net_listen(mrl_socket *socket, const char *url, char *out_url, size_t url_size,
                            merle_report *report) {
    mrl_point("net.listen");
    network *n = socket->at->owner;
    if (socket->is_dead) return mrl_report_fill(report, MERLE_SYSTEM, "the host was killed");
    address *made = network_memory(sizeof *made);
    merle_err err = address_key(socket->at, url, ++n->port_last, made->key, sizeof made->key);
    for (const address *a = n->addresses; err == MERLE_OK && a != NULL; a = a->next)
        if (strcmp(a->key, made->key) == 0) err = MERLE_EXISTS;
    const char *shown = err == MERLE_OK && strchr(made->key, '!') != NULL ? url : made->key;
    if (err == MERLE_OK && strlen(shown) >= url_size) err = MERLE_INVALID;
    if (err != MERLE_OK) {
        free(made);
        return mrl_report_fill(report, err, "listen on %s: %s", url,
                               err == MERLE_EXISTS ? "the address is in use" : "no such address");
    }
    memcpy(out_url, shown, strlen(shown) + 1);
    made->socket = socket;
    made->next = n->addresses;
    n->addresses = made;
    network_note(n, "%s listens on %s", socket->at->name, made->key);
    return MERLE_OK;
}

static merle_err net_dial(mrl_socket *socket, const char *url, merle_report *report) {
    mrl_point("net.dial");
    network *n = socket->at->owner;
    if (socket->is_dead) return MERLE_OK; /* it will never come to anything */
    dialer *made = network_memory(sizeof *made), **end = &n->dialers;
    merle_err err = address_key(socket->at, url, 0, made->key, sizeof made->key);
    if (err != MERLE_OK) {
        free(made);
        return mrl_report_fill(report, err, "dial %s: no such address", url);
    }
    made->socket = socket;
    made->due_ns = network_now(n);
    while (*end != NULL) end = &(*end)->next;
    *end = made;
    return MERLE_OK;
}

static merle_err net_topic(mrl_socket *socket, merle_bytes bytes, int is_wanted) {
    mrl_point("net.topic");
    topic **place = &socket->topics;
    while (*place != NULL && ((*place)->size != bytes.size ||
                              (bytes.size > 0 && memcmp((*place)->bytes, bytes.data, bytes.size))))
        place = &(*place)->next;
    topic *found = *place;
    if (found != NULL && !is_wanted) {
        *place = found->next;
        free(found);
    } else if (found == NULL && is_wanted) {
        *place = network_memory(sizeof **place + bytes.size);
        (*place)->size = bytes.size;
        if (bytes.size > 0) memcpy((*place)->bytes, bytes.data, bytes.size);
    }
    return MERLE_OK;
}

/* ---- sending ---- */

/* To the other side of a connection. */
static int direction_from(const connection *c, const mrl_socket *socket) {
    return c->sockets[TO_LISTENER] == socket ? TO_DIALER : TO_LISTENER;
}

static int is_of(const connection *c, const mrl_socket *socket) {
    return c->sockets[0] == socket || c->sockets[1] == socket;
}

/* As nng does: the oldest one that waits makes room; the first is on the wire already. */
static void publish_to(network *n, connection *c, mrl_socket *socket, flight *f) {
    int direction = direction_from(c, socket);
    if (c->count[direction] > socket->options.queue) {
        flight *first = c->flying[direction], *dropped = first->next;
        first->next = dropped->next;
        free(dropped);
        c->count[direction]--;
        socket->stats.dropped++;
        n->fates.dropped++;
    }
    connection_send(n, c, direction, f);
}

static void ask_on(network *n, mrl_socket *socket, connection *c) {
    flight *f = socket->question;
    socket->question = NULL;
    socket->asked_on = c->number;
    connection_send(n, c, direction_from(c, socket), f);
}

static void ask(network *n, mrl_socket *socket, mrl_message *message) {
    arrivals_free(socket); /* an answer that nobody fetched */
    free(socket->question);
    socket->ask = ++n->ask_last;
    socket->asked_on = 0;
    socket->has_failed = 0;
    socket->question = message_to_flight(message, socket->ask);
    for (connection *c = n->connections; c != NULL; c = c->next) {
        if (!is_of(c, socket) || c->is_breaking) continue;
        ask_on(n, socket, c);
        return;
    }
}

static merle_err net_send(mrl_socket *socket, mrl_message *message) {
    mrl_point("net.send");
    network *n = socket->at->owner;
    if (socket->is_dead) {
        net_message_free(message);
        return MERLE_SYSTEM;
    }
    socket->stats.messages_sent++;
    socket->stats.bytes_sent += message->size;
    if (socket->role == MRL_NET_ASK) {
        ask(n, socket, message);
        return MERLE_OK;
    }
    if (socket->role != MRL_NET_PUBLISH) abort();
    merle_bytes bytes = merle_bytes_of(message->data, message->size);
    for (connection *c = n->connections; c != NULL; c = c->next)
        if (is_of(c, socket)) publish_to(n, c, socket, flight_make(bytes, 0));
    net_message_free(message);
    return MERLE_OK;
}

/* ---- what comes ---- */

static int is_wanted(const mrl_socket *socket, const flight *f) {
    if (socket->role != MRL_NET_SUBSCRIBE) return 1;
    for (const topic *t = socket->topics; t != NULL; t = t->next)
        if (t->size <= f->size && memcmp(t->bytes, f->data, t->size) == 0) return 1;
    return 0;
}

int socket_is_full(const mrl_socket *socket) {
    return socket->role == MRL_NET_ANSWER && socket->arrival_count >= socket->options.queue;
}

/* Puts it into the queue. */
static void arrive(mrl_socket *socket, connection *c, const flight *f) {
    arrival *made = network_memory(sizeof *made), **end = &socket->arrivals;
    (void)net_message_make(NULL, f->size, &made->message);
    if (f->size > 0) memcpy(made->message.data, f->data, f->size);
    made->connection = c->number;
    made->ask = f->ask;
    while (*end != NULL) end = &(*end)->next;
    *end = made;
    socket->arrival_count++;
    socket->stats.messages_received++;
    socket->stats.bytes_received += f->size;
}

int socket_receive(mrl_socket *socket, connection *c, flight *f) {
    network *n = socket->at->owner;
    int is_right = 1, is_taken = is_wanted(socket, f);
    if (f->size > socket->options.receive_max) {
        n->fates.too_big++;
        is_right = is_taken = 0;
    } else if (socket->role == MRL_NET_ASK) {
        is_taken = f->ask == socket->ask; /* else the answer to a question that was forgotten */
        if (is_taken) socket->ask = 0;
    } else if (socket->role == MRL_NET_ANSWER) {
        is_right = is_taken = c->questions < socket->options.question_max;
        c->questions += (uint32_t)is_taken;
    } else if (is_taken && socket->arrival_count >= socket->options.queue) {
        socket->stats.dropped++;
        n->fates.overrun++;
        is_taken = 0;
    }
    if (!is_right) socket->stats.peers_ended++;
    if (is_taken) arrive(socket, c, f);
    free(f);
    if (is_taken) tell_ready(socket);
    return is_right;
}

void socket_connected(mrl_socket *socket, connection *c) {
    socket->stats.peers++;
    socket->stats.peers_seen++;
    if (socket->role == MRL_NET_ASK && socket->question != NULL)
        ask_on(socket->at->owner, socket, c);
}

void socket_disconnected(mrl_socket *socket, const connection *c) {
    socket->stats.peers--;
    if (socket->role != MRL_NET_ASK || socket->ask == 0 || socket->asked_on != c->number) return;
    socket->ask = 0;
    socket->has_failed = 1;
    socket->at->owner->fates.asked_again++;
    tell_ready(socket);
}

/* ---- fetching ---- */

static arrival *arrival_first(mrl_socket *socket) {
    arrival *first = socket->arrivals;
    if (first == NULL) return NULL;
    socket->arrivals = first->next;
    socket->arrival_count--;
    return first;
}

static merle_err net_receive(mrl_socket *socket, mrl_message *out_message) {
    mrl_point("net.receive");
    *out_message = (mrl_message){NULL, 0, NULL};
    if (socket->is_dead) return MERLE_SYSTEM;
    arrival *first = arrival_first(socket);
    if (first != NULL) {
        *out_message = first->message;
        free(first);
        return MERLE_OK;
    }
    int has_failed = socket->has_failed;
    socket->has_failed = 0;
    return has_failed ? MERLE_SYSTEM : MERLE_NOT_FOUND;
}

static merle_err net_question(mrl_socket *socket, mrl_question **out_question,
                              mrl_message *out_message, uint64_t *out_peer) {
    mrl_point("net.question");
    *out_question = NULL;
    *out_message = (mrl_message){NULL, 0, NULL};
    *out_peer = 0;
    if (socket->is_dead) return MERLE_SYSTEM;
    arrival *first = arrival_first(socket);
    if (first == NULL) return MERLE_NOT_FOUND;
    mrl_question *question = network_memory(sizeof *question);
    *question = (mrl_question){socket->questions, socket, first->connection, first->ask};
    socket->questions = question;
    *out_question = question;
    *out_message = first->message;
    *out_peer = first->connection;
    free(first);
    return MERLE_OK;
}

static void net_answer(mrl_question *question, mrl_message *message) {
    mrl_point("net.answer");
    mrl_socket *socket = question->socket;
    network *n = socket->at->owner;
    connection *c = connection_find(n, question->connection);
    if (c != NULL && c->questions > 0) c->questions--;
    if (message != NULL && !socket->is_dead) {
        socket->stats.messages_sent++;
        socket->stats.bytes_sent += message->size;
    }
    if (message != NULL && c != NULL && is_of(c, socket))
        connection_send(n, c, direction_from(c, socket), message_to_flight(message, question->ask));
    else if (message != NULL)
        net_message_free(message);
    mrl_question **place = &socket->questions;
    while (*place != question) place = &(*place)->next;
    *place = question->next;
    free(question);
}

/* Answers that are on their way are not taken yet. */
static uint64_t unsent_bytes(const mrl_socket *socket) {
    uint64_t bytes = 0;
    for (const connection *c = socket->at->owner->connections; c != NULL; c = c->next)
        for (const flight *f = is_of(c, socket) ? c->flying[direction_from(c, socket)] : NULL;
             f != NULL; f = f->next)
            bytes += f->size;
    return bytes;
}

static void net_stat(mrl_socket *socket, mrl_net_stats *out_stats) {
    *out_stats = socket->stats;
    if (socket->role == MRL_NET_ANSWER) out_stats->unsent = unsent_bytes(socket);
}

const mrl_net network_table = {
    .open = net_open,
    .close = net_close,
    .listen = net_listen,
    .dial = net_dial,
    .topic = net_topic,
    .message_make = net_message_make,
    .message_free = net_message_free,
    .send = net_send,
    .receive = net_receive,
    .question = net_question,
    .answer = net_answer,
    .stat = net_stat,
};
