/* channel/channel_private.h - what the files of this room share.
 *
 * What    The socket and its peers. The lock of a socket is taken before any of nng's: nng calls
 *         us without locks of its own, and calls on an aio never call back before they return
 *         (nng's own protocols make them with their locks held).
 * Owns    a socket its peers, contexts, aios and the messages that wait in it.
 * Threads all fields below `lock` under it, but for those that are set before the first callback.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_CHANNEL_CHANNEL_PRIVATE_H
#define MRL_CHANNEL_CHANNEL_PRIVATE_H

#include <nng/nng.h>

#include "base/lock.h"
#include "channel/channel.h"

enum { PEER_BUCKETS = 64, RETRY_MIN_MS = 10, RETRY_MAX_MS = 1000 };

typedef struct peer {
    struct peer *next; /* of its bucket */
    uint32_t pipe;     /* nng's number, which comes again some day */
    uint64_t number;   /* ours, which does not */
    uint64_t since_ns;
    int listener;       /* by which it came; -1: we dialed */
    uint64_t pid;       /* of its process, on ipc; else 0 */
    int is_up;          /* it gets what is sent */
    uint32_t questions; /* neither given back nor answered and taken */
    size_t unsent;      /* bytes of answers that are not taken */
} peer;

typedef struct keeper keeper;

/* SUBSCRIBE: what came, in a ring. */
typedef struct listening {
    nng_aio *aio;
    nng_msg **ring;
    uint32_t first, count;
    size_t size; /* bytes of what is in there */
} listening;

typedef enum asking_state { ASKING_IDLE = 0, ASKING_SENDS, ASKING_WAITS } asking_state;

/* ASK: one context and one aio, whose callback does what is next. */
typedef struct asking {
    nng_ctx ctx;
    nng_aio *aio;
    asking_state state;
    nng_msg *next;   /* a newer question; what is under way is forgotten */
    nng_msg *answer; /* to be fetched */
    int has_failed;  /* to be told once */
} asking;

/* ANSWER: each question has its context. */
typedef struct answering {
    mrl_question *all;      /* by all_next */
    mrl_question *spare;    /* contexts at rest */
    mrl_question *first;    /* questions to be fetched, in the order in which they came */
    mrl_question **end;     /* where the next is put */
    uint32_t waiting, made; /* to be fetched; contexts in all */
    int is_receiving;       /* one context does */
} answering;

struct mrl_socket {
    mrl_net_role role;
    nng_socket nng;
    mrl_net_options options; /* no number is 0 any more; tls: NULL, or own_tls */
    mrl_net_tls own_tls;     /* texts of our own */
    mrl_lock lock;
    int is_closing;
    mrl_net_stats stats;
    peer *peers[PEER_BUCKETS];
    uint64_t peer_last; /* the last number given */
    uint32_t peer_count;
    keeper *keepers;   /* of listeners on ipc and tcp (keep.c) */
    nng_aio *keep_aio; /* their timer; NULL: none was needed */
    int retry_ms;      /* the shortest time until a connection is made again */
    union {
        listening listen;
        asking ask;
        answering answer;
    } as;
};

/* nng is not built for ThreadSanitizer, which sees its locks, but not the counts by which it shares
 * messages: races of accesses that nng itself makes are passed over (socket.c). Ours are seen;
 * and that the end of the last callback comes before the end of a close is told here. */
#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define TELL_ACQUIRE(address) __tsan_acquire((void *)(address))
#define TELL_RELEASE(address) __tsan_release((void *)(address))
#else
#define TELL_ACQUIRE(address) ((void)(address))
#define TELL_RELEASE(address) ((void)(address))
#endif

/* ---- what nng says ---- */

merle_err error_of(int nng_err);
/* Fills the report with what was tried and why it went wrong. */
merle_err error_report(merle_report *report, int nng_err, const char *what, const char *about);

/* ---- messages ---- */

/* Takes nng's message out of ours, cut to its size; ours is empty then. */
nng_msg *message_take(mrl_message *message);
void message_wrap(nng_msg *message, mrl_message *out_message);
/* Locked. A message came: counts it. 0: it is too large; it is freed, and the caller ends the
 * connection with nng_pipe_close once the lock is dropped. */
int message_came(mrl_socket *socket, nng_msg *message);
void tell_ready(mrl_socket *socket);

/* ---- peers ---- */

/* Asks nng to tell of connections. */
int peers_watch(mrl_socket *socket);
void peers_free(mrl_socket *socket);
/* Locked. NULL: it is gone. number 0: whoever has this pipe. */
peer *peer_find(mrl_socket *socket, uint32_t pipe, uint64_t number);

/* Locked. How many came by this listener from this process (PEERS_ALL: from any). */
#define PEERS_ALL UINT64_MAX
size_t peers_by(const mrl_socket *socket, int listener, uint64_t pid);

/* ---- addresses ---- */

/* out_options has no pointers into the caller's. */
merle_err tls_copy(mrl_socket *socket, const mrl_net_tls *tls);
void tls_free(mrl_socket *socket);
merle_err address_listen(mrl_socket *socket, const char *url, char *out_url, size_t url_size,
                         merle_report *report);
/* As the first time: an address that address_listen has made. Errors: nng's. */
int address_listen_at(mrl_socket *socket, const char *url, nng_listener *out_listener);
merle_err address_dial(mrl_socket *socket, const char *url, merle_report *report);

/* ---- listeners that die ---- */

/* Sees to it that somebody listens there, until keep_end. Errors: nng's. */
int keep_listening(mrl_socket *socket, const char *url, nng_listener listener);
/* Locked. nng has shown us a connection that came by this listener. */
void keep_came(mrl_socket *socket, int listener);
/* Callbacks are over when it returns; without our lock. */
void keep_end(mrl_socket *socket);
void keep_free(mrl_socket *socket);

/* ---- roles ---- begin: locked, after the socket is open; end: before it is closed; callbacks are
 * over when it returns */

int listening_begin(mrl_socket *socket);
void listening_end(mrl_socket *socket);
merle_err listening_topic(mrl_socket *socket, merle_bytes topic, int is_wanted);
merle_err listening_receive(mrl_socket *socket, mrl_message *out_message);

int asking_begin(mrl_socket *socket);
void asking_end(mrl_socket *socket);
void asking_send(mrl_socket *socket, nng_msg *message);
merle_err asking_receive(mrl_socket *socket, mrl_message *out_message);

int answering_begin(mrl_socket *socket);
void answering_end(mrl_socket *socket);
merle_err answering_question(mrl_socket *socket, mrl_question **out_question,
                             mrl_message *out_message, uint64_t *out_peer);
void answering_answer(mrl_question *question, mrl_message *message);

#endif
