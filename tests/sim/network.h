/* tests/sim/network.h - a network in memory behind mrl_net: one seed is one run.
 *
 * What    Hosts with names, each with its own mrl_net; sockets of all four roles on addresses of
 *         all transports. Messages wait in the network until the crank is turned: then they come
 *         late, twice or never, connections break and are made again, slow peers lose messages, as
 *         the seed and the faults say. What happened is counted.
 * Owns    its hosts, connections and messages; sockets until their close (one that is never closed
 *         goes with the network).
 * Sees    Without faults every message comes, in order, at once when the crank is turned. With
 *         them those of one connection come in order still, unless `reorder_one_in` says otherwise.
 *         `ready` is called only from the crank, never from within a call of a socket.
 * Threads one; any number of sockets and hosts. Each call on a socket is a point at which a
 *         simulated scheduler may let another worker run; turning the crank is none.
 * Limits  NETWORK_HOST_MAX hosts, addresses of NETWORK_URL_MAX - 1 bytes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_SIM_NETWORK_H
#define TESTS_SIM_NETWORK_H

#include <stdint.h>

#include "base/net.h"
#include "base/seam.h"

enum { NETWORK_HOST_MAX = 32, NETWORK_URL_MAX = 128 };

typedef struct network network;

/* clock: time is this one's, and who moves it turns the crank with network_deliver; NULL: the
 * network has a clock of its own, which network_step moves. Never NULL. */
network *network_create(uint64_t seed, const mrl_clock *clock);
void network_destroy(network *n);
/* The clock by which messages come: for mrl_environment, where the network has its own. */
const mrl_clock *network_clock(network *n);

/* The table of one host, made at the first call with this name; it lives as long as the network.
 * In addresses with hosts, "tcp://server:4000" is a port of the host `server`; 127.0.0.1, 0.0.0.0,
 * localhost and * are the host itself. inproc:// and ipc:// are of the host alone. */
const mrl_net *network_host(network *n, const char *host);

/* ---- the crank ---- */

/* The next thing that is due happens; an own clock goes on to its time. 0: nothing is on its way,
 * or (a clock from outside) nothing is due yet. */
int network_step(network *n);
/* All that is due by now happens, also what comes of it at once. How many things that were. */
uint64_t network_deliver(network *n);
/* Own clock: all happens that is due in the next `ns`, in order; then that much time has passed. */
void network_advance(network *n, uint64_t ns);
/* When the next thing is due; UINT64_MAX: nothing is on its way. */
uint64_t network_next_ns(const network *n);

/* ---- faults ---- zero-filled: none, and no delay; a rate of one in 0 is never */

typedef struct network_faults {
    uint64_t delay_min_ns, delay_max_ns;         /* of each message */
    uint64_t reconnect_min_ns, reconnect_max_ns; /* 0, 0: 10 ms to 1 s */
    uint32_t lose_one_in;                        /* a message never comes, its connection lives */
    uint32_t double_one_in;  /* it comes again: later, or as the first one of the next connection */
    uint32_t reorder_one_in; /* a message overtakes those before it: more than mrl_net allows */
    uint32_t cut_one_in; /* sending it breaks the connection: some of what is on its way is lost */
} network_faults;

/* For all that is sent from now on, on all connections. */
void network_fault(network *n, const network_faults *faults);

typedef enum network_link {
    NETWORK_JOINED = 0,
    NETWORK_HELD = 1, /* connections seem to live; nothing passes until it is joined again */
    NETWORK_CUT = 2   /* connections break, and none can be made */
} network_link;

/* Between two hosts, both ways; the same name twice: within the host, all transports. */
void network_link_set(network *n, const char *a, const char *b, network_link link);
/* All connections between two hosts break now and may be made again. How many they were. */
uint32_t network_cut(network *n, const char *a, const char *b);
/* A host that is paused receives nothing (its process is stopped): what is sent to it piles up to
 * the senders' queues. */
void network_pause(network *n, const char *host, int is_paused);
/* The host's process is killed: its sockets are dead (every call on them but close is
 * MERLE_SYSTEM, ready is not called), their connections break, their addresses are free. The host
 * can open new ones. */
void network_kill(network *n, const char *host);

/* ---- what was met ---- */

typedef struct network_fates {
    uint64_t sent;      /* messages given to a connection */
    uint64_t delivered; /* messages that came, a second time too */
    uint64_t lost, doubled, reordered;
    uint64_t cut;     /* messages that a broken connection took with it */
    uint64_t dropped; /* PUBLISH: the peer's queue was full */
    uint64_t overrun; /* SUBSCRIBE: its own queue was full */
    uint64_t too_big; /* beyond receive_max: the connection broke */
    uint64_t connections, broken, refused;
    uint64_t asked_again; /* an asker was told that there will be no answer */
} network_fates;

network_fates network_fates_of(const network *n);
/* Sockets that are open. */
uint64_t network_sockets(const network *n);
/* A number that differs if what happened, or the order of it, differs: for tests of one seed. */
uint64_t network_history(const network *n);
/* Prints the last things that happened, each line beginning with "# ". */
void network_print_trace(const network *n);

#endif
