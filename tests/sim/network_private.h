/* tests/sim/network_private.h - what the files of the simulated network share.
 *
 * What    A connection has two sides and a queue of flights (messages on their way) to each. What
 *         is next is the earliest of the first flights of all queues, of connections that are about
 *         to break, and of dialers that are about to try.
 * Owns    a network its hosts, addresses, dialers, connections and sockets.
 * Threads one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_SIM_NETWORK_PRIVATE_H
#define TESTS_SIM_NETWORK_PRIVATE_H

#include "base/random.h"
#include "tests/sim/network.h"

enum { NETWORK_TRACE_SIZE = 256, TO_LISTENER = 0, TO_DIALER = 1 };

typedef struct host {
    mrl_net net; /* its context is the host */
    network *owner;
    char name[32];
    int is_paused;
    network_link links[NETWORK_HOST_MAX]; /* by number */
    uint32_t number;
} host;

typedef struct address {
    struct address *next;
    char key[NETWORK_URL_MAX + 40]; /* the url, with the host's name in it */
    mrl_socket *socket;
} address;

/* A message on its way. */
typedef struct flight {
    struct flight *next;
    uint64_t due_ns;
    uint64_t ask; /* of a question and its answer: which one */
    size_t size;
    uint8_t data[];
} flight;

typedef struct dialer {
    struct dialer *next;
    char key[NETWORK_URL_MAX + 40];
    mrl_socket *socket;
    int is_connected;
    uint64_t due_ns;  /* when it tries */
    flight *ghost[2]; /* comes a second time, on the next connection; by direction */
} dialer;

typedef struct connection {
    struct connection *next;
    uint64_t number;
    mrl_socket *sockets[2]; /* whom the flights of a direction are for; NULL: closed */
    host *hosts[2];
    dialer *from;      /* NULL: closed */
    flight *flying[2]; /* the first one of each direction */
    size_t count[2];
    uint64_t last_due_ns[2];
    int is_breaking; /* it breaks when what is still on its way has come */
    uint32_t questions;
} connection;

struct mrl_question {
    mrl_question *next; /* open ones of the socket */
    mrl_socket *socket;
    uint64_t connection;
    uint64_t ask;
};

/* What waits to be fetched. */
typedef struct arrival {
    struct arrival *next;
    uint64_t connection, ask;
    mrl_message message;
} arrival;

typedef struct topic {
    struct topic *next;
    size_t size;
    uint8_t bytes[];
} topic;

struct mrl_socket {
    mrl_socket *next;
    host *at;
    mrl_net_role role;
    mrl_net_options options;
    int is_dead;
    mrl_net_stats stats;
    topic *topics;
    arrival *arrivals;
    uint32_t arrival_count;
    mrl_question *questions;
    uint64_t ask;      /* ASK: the present question; 0: none */
    uint64_t asked_on; /* the connection that took it; 0: none yet */
    flight *question;  /* until a connection takes it */
    int has_failed;
};

struct network {
    mrl_random random;
    const mrl_clock *outside; /* NULL: own */
    mrl_clock own;
    uint64_t now_ns;
    network_faults faults;
    host *hosts[NETWORK_HOST_MAX];
    uint32_t host_count;
    uint32_t port_last;
    uint64_t connection_last, ask_last;
    address *addresses;
    dialer *dialers;
    connection *connections; /* in the order in which they were made */
    mrl_socket *sockets;
    network_fates fates;
    uint64_t history, trace_count;
    char trace[NETWORK_TRACE_SIZE][120];
};

/* Memory, or the end of the program: tests have it. Zeroed. */
void *network_memory(size_t size);
uint64_t network_now(const network *n);
/* Notes down what happened, for the trace and the history. */
__attribute__((format(printf, 2, 3))) void network_note(network *n, const char *format, ...);

/* ---- network.c ---- */

flight *flight_make(merle_bytes bytes, uint64_t ask);
/* Gives a message to a connection, which delays, loses, doubles it, or breaks. Takes it. */
void connection_send(network *n, connection *c, int direction, flight *f);
/* The connection takes nothing any more; some of what is on its way still comes. */
void connection_break(network *n, connection *c);
connection *connection_find(const network *n, uint64_t number);
/* Of a socket that is closed or dead: its addresses, dialers and connections. */
void network_forget(network *n, mrl_socket *socket);

/* ---- network_socket.c ---- */

extern const mrl_net network_table;
/* A flight has come; takes it. 0: the connection is to be broken. */
int socket_receive(mrl_socket *socket, connection *c, flight *f);
/* ANSWER: there is no room for another question. */
int socket_is_full(const mrl_socket *socket);
/* ASK: a connection was made, or was lost. */
void socket_connected(mrl_socket *socket, connection *c);
void socket_disconnected(mrl_socket *socket, const connection *c);
void socket_free(mrl_socket *socket);

#endif
