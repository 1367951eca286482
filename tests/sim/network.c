/* tests/sim/network.c - the simulated network: hosts, connections, the crank, and faults.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/network.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "tests/sim/network_private.h"

enum { MS = 1000000 };

/* What happens next. */
typedef struct event {
    uint64_t due_ns;
    connection *on;
    int direction; /* of a flight; -1: the connection breaks */
    dialer *tries; /* instead of a connection */
} event;

void *network_memory(size_t size) {
    void *memory = calloc(1, size);
    if (memory == NULL) abort();
    return memory;
}

/* ---- time and notes ---- */

uint64_t network_now(const network *n) {
    return n->outside == NULL ? n->now_ns : n->outside->monotonic_ns(n->outside->context);
}

static uint64_t own_monotonic_ns(void *context) {
    return ((network *)context)->now_ns;
}

static int64_t own_wall_ns(void *context) {
    return 1700000000000000000 + (int64_t)((network *)context)->now_ns;
}

void network_note(network *n, const char *format, ...) {
    char *line = n->trace[n->trace_count++ % NETWORK_TRACE_SIZE];
    int size = snprintf(line, sizeof n->trace[0],
                        "%llu us: ", (unsigned long long)(network_now(n) / 1000));
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line + size, sizeof n->trace[0] - (size_t)size, format, arguments);
    va_end(arguments);
    n->history = mrl_mix_u64(n->history ^ mrl_hash_bytes(line, strlen(line), 1));
}

static int happens(network *n, uint32_t one_in) {
    return one_in > 0 && mrl_random_below(&n->random, one_in) == 0;
}

static uint64_t between(network *n, uint64_t min, uint64_t max) {
    return max <= min ? min : min + mrl_random_below(&n->random, max - min + 1);
}

static void dialer_later(network *n, dialer *d) {
    uint64_t min = n->faults.reconnect_min_ns, max = n->faults.reconnect_max_ns;
    if (min == 0 && max == 0) min = 10 * MS, max = 1000 * MS;
    d->is_connected = 0;
    d->due_ns = network_now(n) + between(n, min, max);
}

/* ---- making, hosts ---- */

network *network_create(uint64_t seed, const mrl_clock *clock) {
    network *n = network_memory(sizeof *n);
    mrl_random_init(&n->random, seed);
    n->outside = clock;
    n->own = (mrl_clock){n, own_monotonic_ns, own_wall_ns};
    n->now_ns = 1;
    n->port_last = 40000;
    return n;
}

const mrl_clock *network_clock(network *n) {
    return n->outside == NULL ? &n->own : n->outside;
}

static host *host_find(network *n, const char *name) {
    for (uint32_t i = 0; i < n->host_count; i++)
        if (strcmp(n->hosts[i]->name, name) == 0) return n->hosts[i];
    host *made = network_memory(sizeof *made);
    if (n->host_count == NETWORK_HOST_MAX || strlen(name) >= sizeof made->name) abort();
    memcpy(made->name, name, strlen(name) + 1);
    made->owner = n;
    made->number = n->host_count;
    made->net = network_table;
    made->net.context = made;
    n->hosts[n->host_count++] = made;
    return made;
}

const mrl_net *network_host(network *n, const char *name) {
    return &host_find(n, name)->net;
}

/* ---- flights ---- */

flight *flight_make(merle_bytes bytes, uint64_t ask) {
    flight *f = network_memory(sizeof *f + bytes.size);
    f->size = bytes.size;
    f->ask = ask;
    if (bytes.size > 0) memcpy(f->data, bytes.data, bytes.size);
    return f;
}

static flight *flight_copy(const flight *f) {
    return flight_make(merle_bytes_of(f->data, f->size), f->ask);
}

static void flights_free(flight *f) {
    while (f != NULL) {
        flight *freed = f;
        f = f->next;
        free(freed);
    }
}

/* In order: not before those that were sent before it. */
static void flight_append(network *n, connection *c, int direction, flight *f) {
    flight **end = &c->flying[direction];
    while (*end != NULL) end = &(*end)->next;
    f->due_ns = network_now(n) + between(n, n->faults.delay_min_ns, n->faults.delay_max_ns);
    if (f->due_ns < c->last_due_ns[direction]) f->due_ns = c->last_due_ns[direction];
    c->last_due_ns[direction] = f->due_ns;
    *end = f;
    c->count[direction]++;
}

static void flight_overtake(network *n, connection *c, int direction, flight *f) {
    f->due_ns = network_now(n);
    f->next = c->flying[direction];
    c->flying[direction] = f;
    c->count[direction]++;
    n->fates.reordered++;
}

static void flight_double(network *n, connection *c, int direction, const flight *f) {
    n->fates.doubled++;
    if (c->from != NULL && mrl_random_below(&n->random, 2) == 0) {
        free(c->from->ghost[direction]);
        c->from->ghost[direction] = flight_copy(f);
    } else {
        flight_append(n, c, direction, flight_copy(f));
    }
}

void connection_send(network *n, connection *c, int direction, flight *f) {
    n->fates.sent++;
    network_note(n, "connection %llu: sent %zu bytes %s", (unsigned long long)c->number, f->size,
                 direction == TO_DIALER ? "to the dialer" : "to the listener");
    if (c->is_breaking || happens(n, n->faults.lose_one_in)) {
        if (c->is_breaking)
            n->fates.cut++;
        else
            n->fates.lost++;
        free(f);
        return;
    }
    if (happens(n, n->faults.double_one_in)) flight_double(n, c, direction, f);
    if (c->count[direction] > 0 && happens(n, n->faults.reorder_one_in))
        flight_overtake(n, c, direction, f);
    else
        flight_append(n, c, direction, f);
    if (happens(n, n->faults.cut_one_in)) connection_break(n, c);
}

/* ---- connections ---- */

connection *connection_find(const network *n, uint64_t number) {
    connection *c = n->connections;
    while (c != NULL && c->number != number) c = c->next;
    return c;
}

void connection_break(network *n, connection *c) {
    if (c->is_breaking) return;
    c->is_breaking = 1;
    network_note(n, "connection %llu breaks", (unsigned long long)c->number);
    for (int direction = 0; direction < 2; direction++) {
        uint64_t kept = mrl_random_below(&n->random, c->count[direction] + 1);
        flight **end = &c->flying[direction];
        n->fates.cut += c->count[direction] - kept;
        c->count[direction] = kept;
        for (; kept > 0; kept--) end = &(*end)->next;
        flights_free(*end);
        *end = NULL;
    }
}

/* It is over: both sides hear of it, and the dialer tries again. */
static void connection_end(network *n, connection *c) {
    connection **place = &n->connections;
    while (*place != c) place = &(*place)->next;
    *place = c->next;
    n->fates.broken++;
    network_note(n, "connection %llu is over", (unsigned long long)c->number);
    for (int side = 0; side < 2; side++) {
        n->fates.cut += c->count[side];
        flights_free(c->flying[side]);
        c->flying[side] = NULL;
    }
    if (c->from != NULL) dialer_later(n, c->from);
    for (int side = 0; side < 2; side++)
        if (c->sockets[side] != NULL) socket_disconnected(c->sockets[side], c);
    free(c);
}

static address *address_find(const network *n, const char *key) {
    address *a = n->addresses;
    while (a != NULL && strcmp(a->key, key) != 0) a = a->next;
    return a;
}

static int roles_fit(mrl_net_role listener, mrl_net_role dialed_by) {
    return (listener == MRL_NET_PUBLISH && dialed_by == MRL_NET_SUBSCRIBE) ||
           (listener == MRL_NET_SUBSCRIBE && dialed_by == MRL_NET_PUBLISH) ||
           (listener == MRL_NET_ANSWER && dialed_by == MRL_NET_ASK) ||
           (listener == MRL_NET_ASK && dialed_by == MRL_NET_ANSWER);
}

static int has_room(network *n, const mrl_socket *socket) {
    int room = socket->options.peer_max == 0 || socket->stats.peers < socket->options.peer_max;
    if (!room) n->fates.refused++;
    return room;
}

static void connection_make(network *n, dialer *d, mrl_socket *listener) {
    connection *c = network_memory(sizeof *c), **end = &n->connections;
    while (*end != NULL) end = &(*end)->next;
    *end = c;
    c->number = ++n->connection_last;
    c->from = d;
    c->sockets[TO_LISTENER] = listener;
    c->sockets[TO_DIALER] = d->socket;
    d->is_connected = 1;
    n->fates.connections++;
    network_note(n, "connection %llu: %s to %s", (unsigned long long)c->number, d->socket->at->name,
                 d->key);
    for (int side = 0; side < 2; side++) {
        c->hosts[side] = c->sockets[side]->at;
        if (d->ghost[side] != NULL) flight_append(n, c, side, d->ghost[side]);
        d->ghost[side] = NULL;
    }
    for (int side = 0; side < 2; side++) socket_connected(c->sockets[side], c);
}

static void dialer_try(network *n, dialer *d) {
    address *a = address_find(n, d->key);
    host *from = d->socket->at;
    if (a == NULL || from->links[a->socket->at->number] != NETWORK_JOINED ||
        a->socket->at->is_paused || !roles_fit(a->socket->role, d->socket->role)) {
        dialer_later(n, d);
    } else if (!has_room(n, a->socket) || !has_room(n, d->socket)) {
        a->socket->stats.peers_refused++;
        network_note(n, "%s refuses %s", d->key, from->name);
        dialer_later(n, d);
    } else {
        connection_make(n, d, a->socket);
    }
}

/* ---- the crank ---- */

static int is_blocked(const connection *c, int direction) {
    const mrl_socket *socket = c->sockets[direction];
    return c->hosts[0]->links[c->hosts[1]->number] == NETWORK_HELD ||
           c->hosts[direction]->is_paused || (socket != NULL && socket_is_full(socket));
}

static void take_earlier(event *e, uint64_t due_ns, connection *c, int direction, dialer *d) {
    if (e->on != NULL || e->tries != NULL)
        if (e->due_ns <= due_ns) return;
    *e = (event){due_ns, c, direction, d};
}

static int next_event(const network *n, event *out_event) {
    *out_event = (event){UINT64_MAX, NULL, 0, NULL};
    for (connection *c = n->connections; c != NULL; c = c->next) {
        for (int direction = 0; direction < 2; direction++)
            if (c->flying[direction] != NULL && !is_blocked(c, direction))
                take_earlier(out_event, c->flying[direction]->due_ns, c, direction, NULL);
        if (c->is_breaking && c->flying[0] == NULL && c->flying[1] == NULL)
            take_earlier(out_event, 0, c, -1, NULL);
    }
    for (dialer *d = n->dialers; d != NULL; d = d->next)
        if (!d->is_connected && !d->socket->at->is_paused)
            take_earlier(out_event, d->due_ns, NULL, 0, d);
    return out_event->on != NULL || out_event->tries != NULL;
}

static void flight_comes(network *n, connection *c, int direction) {
    flight *f = c->flying[direction];
    mrl_socket *socket = c->sockets[direction];
    c->flying[direction] = f->next;
    c->count[direction]--;
    network_note(n, "connection %llu: %zu bytes came %s", (unsigned long long)c->number, f->size,
                 direction == TO_DIALER ? "to the dialer" : "to the listener");
    if (socket == NULL) {
        free(f);
        return;
    }
    n->fates.delivered++;
    if (!socket_receive(socket, c, f)) connection_break(n, c);
}

static void event_happens(network *n, const event *e) {
    if (e->tries != NULL)
        dialer_try(n, e->tries);
    else if (e->direction < 0)
        connection_end(n, e->on);
    else
        flight_comes(n, e->on, e->direction);
}

int network_step(network *n) {
    event e;
    if (!next_event(n, &e)) return 0;
    if (n->outside == NULL && e.due_ns > n->now_ns) n->now_ns = e.due_ns;
    if (e.due_ns > network_now(n)) return 0;
    event_happens(n, &e);
    return 1;
}

uint64_t network_deliver(network *n) {
    event e;
    uint64_t count = 0;
    for (; next_event(n, &e) && e.due_ns <= network_now(n); count++) event_happens(n, &e);
    return count;
}

void network_advance(network *n, uint64_t ns) {
    event e;
    uint64_t until_ns = n->now_ns + ns;
    if (n->outside != NULL) abort();
    while (next_event(n, &e) && e.due_ns <= until_ns) {
        if (e.due_ns > n->now_ns) n->now_ns = e.due_ns;
        event_happens(n, &e);
    }
    n->now_ns = until_ns;
}

uint64_t network_next_ns(const network *n) {
    event e;
    if (!next_event(n, &e)) return UINT64_MAX;
    return e.due_ns > network_now(n) ? e.due_ns : network_now(n);
}

/* ---- faults and links ---- */

void network_fault(network *n, const network_faults *faults) {
    n->faults = *faults;
}

static int is_between(const connection *c, const host *a, const host *b) {
    return (c->hosts[0] == a && c->hosts[1] == b) || (c->hosts[0] == b && c->hosts[1] == a);
}

uint32_t network_cut(network *n, const char *a, const char *b) {
    host *one = host_find(n, a), *other = host_find(n, b);
    uint32_t count = 0;
    for (connection *c = n->connections; c != NULL; c = c->next) {
        if (!is_between(c, one, other) || c->is_breaking) continue;
        connection_break(n, c);
        count++;
    }
    return count;
}

void network_link_set(network *n, const char *a, const char *b, network_link link) {
    host *one = host_find(n, a), *other = host_find(n, b);
    one->links[other->number] = other->links[one->number] = link;
    network_note(n, "link of %s and %s: %d", a, b, (int)link);
    if (link == NETWORK_CUT) (void)network_cut(n, a, b);
}

void network_pause(network *n, const char *name, int is_paused) {
    host_find(n, name)->is_paused = is_paused;
    network_note(n, "%s: paused %d", name, is_paused);
}

void network_forget(network *n, mrl_socket *socket) {
    for (connection *c = n->connections; c != NULL; c = c->next) {
        for (int side = 0; side < 2; side++) {
            if (c->sockets[side] != socket) continue;
            connection_break(n, c);
            c->sockets[side] = NULL;
            if (side == TO_DIALER) c->from = NULL;
        }
    }
    for (address **place = &n->addresses; *place != NULL;) {
        address *a = *place;
        if (a->socket != socket) {
            place = &a->next;
            continue;
        }
        *place = a->next;
        free(a);
    }
    for (dialer **place = &n->dialers; *place != NULL;) {
        dialer *d = *place;
        if (d->socket != socket) {
            place = &d->next;
            continue;
        }
        *place = d->next;
        free(d->ghost[0]);
        free(d->ghost[1]);
        free(d);
    }
}

void network_kill(network *n, const char *name) {
    host *killed = host_find(n, name);
    network_note(n, "%s is killed", name);
    killed->is_paused = 0;
    for (mrl_socket *socket = n->sockets; socket != NULL; socket = socket->next) {
        if (socket->at != killed || socket->is_dead) continue;
        socket->is_dead = 1;
        network_forget(n, socket);
    }
}

void network_destroy(network *n) {
    while (n->sockets != NULL) {
        mrl_socket *freed = n->sockets;
        n->sockets = freed->next;
        network_forget(n, freed);
        socket_free(freed);
    }
    while (n->connections != NULL) connection_end(n, n->connections);
    for (uint32_t i = 0; i < n->host_count; i++) free(n->hosts[i]);
    free(n);
}

/* ---- what was met ---- */

network_fates network_fates_of(const network *n) {
    return n->fates;
}

uint64_t network_sockets(const network *n) {
    uint64_t count = 0;
    for (const mrl_socket *socket = n->sockets; socket != NULL; socket = socket->next) count++;
    return count;
}

uint64_t network_history(const network *n) {
    return n->history;
}

void network_print_trace(const network *n) {
    uint64_t first = n->trace_count > NETWORK_TRACE_SIZE ? n->trace_count - NETWORK_TRACE_SIZE : 0;
    for (uint64_t i = first; i < n->trace_count; i++)
        printf("# net %s\n", n->trace[i % NETWORK_TRACE_SIZE]);
}
