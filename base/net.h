/* base/net.h - the seam for messages: everything that the library ever asks of a network.
 *
 * What    A table of functions on sockets of four roles. PUBLISH gives each message to all who are
 *         connected and want its topic, and drops it for whoever is too slow. SUBSCRIBE hears it.
 *         ANSWER takes questions and answers them in any order, now or later. ASK has at most one
 *         question on its way. Nothing here ever waits: what has come is fetched when the caller
 *         likes, and `ready` tells that there may be something.
 * Owns    each socket belongs to whoever opened it, a message to whoever holds it: send and answer
 *         take it, whatever comes out.
 * Sees    Messages come whole or not at all, and may be lost, or come twice, or late. Those of one
 *         connection come in order; a connection that breaks is made again, by itself.
 * Threads any; on one socket one call at a time. `ready` is called from any thread, with locks of
 *         the network's held: it sets a flag or wakes a thread, no more.
 * Limits  what is larger than receive_max ends its connection. Connections beyond peer_max are
 *         closed before anything is read from them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_BASE_NET_H
#define MRL_BASE_NET_H

#include <stddef.h>
#include <stdint.h>

#include <merle/base.h>

typedef struct mrl_socket mrl_socket;
typedef struct mrl_question mrl_question;

typedef enum mrl_net_role {
    MRL_NET_PUBLISH = 1,
    MRL_NET_SUBSCRIBE = 2,
    MRL_NET_ANSWER = 3,
    MRL_NET_ASK = 4
} mrl_net_role;

/* Bytes of a message; `internal` is the network's own. */
typedef struct mrl_message {
    uint8_t *data;
    size_t size;
    void *internal;
} mrl_message;

/* For tls+tcp:// and wss://. Texts in PEM, not names of files; NULL: none. */
typedef struct mrl_net_tls {
    const char *authorities; /* who is trusted; a listener that has it asks clients for theirs */
    const char *certificate;
    const char *key;
    const char *server_name; /* what a dialer expects in the certificate; NULL: from the address */
} mrl_net_tls;

typedef struct mrl_net_options {
    size_t receive_max; /* 0: 1 MiB */
    uint32_t queue;    /* messages that wait for one slow peer (PUBLISH), or to be fetched; 0: 64 */
    uint32_t peer_max; /* 0: no limit */
    uint32_t ipc_mode; /* permissions of ipc:// files; 0: 0600 */
    const mrl_net_tls *tls;
    void *ready_context;
    void (*ready)(void *context); /* NULL: nobody is told */
    /* ANSWER: a connection is ended that has more questions than this for which no answer was given
     * and taken (0: 16), or to which more bytes of answers wait than this (0: 8 MiB); one answer
     * may be of any size. */
    uint32_t question_max;
    size_t unsent_max;
    /* SUBSCRIBE: bytes of messages that wait to be fetched; what does not fit beside them is
     * dropped (0: 64 MiB). */
    size_t queue_size_max;
} mrl_net_options;

typedef struct mrl_net_stats {
    uint64_t peers;         /* connected now */
    uint64_t peers_refused; /* beyond peer_max */
    uint64_t peers_seen;    /* connections ever */
    uint64_t messages_sent, messages_received;
    uint64_t bytes_sent, bytes_received;
    uint64_t dropped;     /* where it is known: for slow peers, or because the queue was full */
    uint64_t peers_ended; /* where it is known: too large a message, question_max, unsent_max */
    uint64_t unsent;      /* ANSWER: bytes of answers that wait to be taken, of all connections */
    uint64_t relistened;  /* listeners that had died, and were made again */
} mrl_net_stats;

typedef struct mrl_net {
    void *context;

    /* Errors: MERLE_NO_MEMORY, MERLE_INVALID, MERLE_SYSTEM; the report may be NULL. */
    merle_err (*open)(void *context, mrl_net_role role, const mrl_net_options *options,
                      mrl_socket **out_socket, merle_report *report);
    /* Ends connections, drops what waits; `ready` is not called any more when it returns, and open
     * questions of the socket are gone. */
    void (*close)(mrl_socket *socket);
    /* inproc://name, ipc:///path, tcp://host:port, tls+tcp://host:port, ws://host:port/path,
     * wss://. Port 0 chooses one; out_url says the address that others can dial. Errors:
     * MERLE_INVALID (no such address), MERLE_EXISTS (in use), MERLE_UNSUPPORTED (transport),
     * MERLE_SYSTEM. */
    merle_err (*listen)(mrl_socket *socket, const char *url, char *out_url, size_t url_size,
                        merle_report *report);
    /* Connects, and again whenever the connection breaks, until the close; returns at once. Errors:
     * MERLE_INVALID, MERLE_UNSUPPORTED, MERLE_NO_MEMORY. */
    merle_err (*dial)(mrl_socket *socket, const char *url, merle_report *report);
    /* SUBSCRIBE: messages that begin with these bytes are wanted (or no more). */
    merle_err (*topic)(mrl_socket *socket, merle_bytes topic, int is_wanted);

    /* A message with room for size bytes; write them, lower `size` if there were fewer. */
    merle_err (*message_make)(void *context, size_t size, mrl_message *out_message);
    void (*message_free)(mrl_message *message);

    /* PUBLISH: to all. ASK: the question; one that is on its way is forgotten. Errors:
     * MERLE_NO_MEMORY, MERLE_SYSTEM; the message is taken all the same. */
    merle_err (*send)(mrl_socket *socket, mrl_message *message);
    /* SUBSCRIBE: the next message. ASK: the answer; MERLE_SYSTEM: there will be none, ask again
     * (told once). MERLE_NOT_FOUND: nothing is there yet. Others may read the same bytes: nobody
     * writes into a message that came. */
    merle_err (*receive)(mrl_socket *socket, mrl_message *out_message);
    /* ANSWER: the next question. out_peer: a number of the connection, never used again.
     * MERLE_NOT_FOUND: none is there. */
    merle_err (*question)(mrl_socket *socket, mrl_question **out_question, mrl_message *out_msg,
                          uint64_t *out_peer);
    /* message NULL: it will not be answered. Takes both. An asker that is gone is no error. */
    void (*answer)(mrl_question *question, mrl_message *message);
    void (*stat)(mrl_socket *socket, mrl_net_stats *out_stats);
} mrl_net;

#endif
