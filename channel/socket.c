/* channel/socket.c - sockets and messages, and the table of functions.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <nng/nng.h> /* before the others: they need it */
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/pubsub0/sub.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>

#include "base/assert.h"
#include "base/report.h"
#include "channel/channel_private.h"

enum {
    RECEIVE_DEFAULT = 1 << 20,
    QUEUE_DEFAULT = 64,
    QUEUE_MAX = 8192, /* nng's own */
    QUESTION_DEFAULT = 16,
    UNSENT_DEFAULT = 8 << 20,
    QUEUE_SIZE_DEFAULT = 64 << 20,
    HEADER_SIZE = 4 /* what req0 and rep0 put before a message, and nng counts with it */
};

#if defined(__SANITIZE_THREAD__)
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
    return "race:libnng.so\nrace:libmbedtls.so\n";
}
#endif

#define CLOSE_MAX_NS 2000000000u

/* ---- messages ---- */

void message_wrap(nng_msg *message, mrl_message *out_message) {
    *out_message = (mrl_message){nng_msg_body(message), nng_msg_len(message), message};
}

nng_msg *message_take(mrl_message *message) {
    nng_msg *taken = message->internal;
    size_t room = nng_msg_len(taken);
    MRL_ASSERT(message->size <= room);
    (void)nng_msg_chop(taken, room - message->size);
    *message = (mrl_message){NULL, 0, NULL};
    return taken;
}

int message_came(mrl_socket *socket, nng_msg *message) {
    size_t size = nng_msg_len(message);
    /* Most transports have ended the connection before; inproc has no limit of its own. */
    if (size > socket->options.receive_max) {
        socket->stats.peers_ended++;
        nng_msg_free(message);
        return 0;
    }
    socket->stats.messages_received++;
    socket->stats.bytes_received += size;
    return 1;
}

void tell_ready(mrl_socket *socket) {
    if (socket->options.ready != NULL) socket->options.ready(socket->options.ready_context);
    TELL_RELEASE(socket);
}

static merle_err net_message_make(void *context, size_t size, mrl_message *out_message) {
    nng_msg *message = NULL;
    (void)context;
    *out_message = (mrl_message){NULL, 0, NULL};
    if (nng_msg_alloc(&message, size) != 0) return MERLE_NO_MEMORY;
    message_wrap(message, out_message);
    return MERLE_OK;
}

static void net_message_free(mrl_message *message) {
    if (message->internal != NULL) nng_msg_free(message->internal);
    *message = (mrl_message){NULL, 0, NULL};
}

/* ---- opening and closing ---- */

static merle_err socket_options(mrl_socket *socket, const mrl_net_options *options) {
    mrl_net_options *own = &socket->options;
    *own = *options;
    if (own->receive_max == 0) own->receive_max = RECEIVE_DEFAULT;
    if (own->queue == 0) own->queue = QUEUE_DEFAULT;
    if (own->ipc_mode == 0) own->ipc_mode = 0600;
    if (own->question_max == 0) own->question_max = QUESTION_DEFAULT;
    if (own->unsent_max == 0) own->unsent_max = UNSENT_DEFAULT;
    if (own->queue_size_max == 0) own->queue_size_max = QUEUE_SIZE_DEFAULT;
    own->tls = NULL;
    if (own->queue > QUEUE_MAX || own->receive_max > SIZE_MAX - HEADER_SIZE) return MERLE_INVALID;
    return options->tls == NULL ? MERLE_OK : tls_copy(socket, options->tls);
}

static int socket_open_role(mrl_socket *socket) {
    switch (socket->role) {
    case MRL_NET_PUBLISH:
        return nng_pub0_open(&socket->nng);
    case MRL_NET_SUBSCRIBE:
        return nng_sub0_open(&socket->nng);
    case MRL_NET_ANSWER:
        return nng_rep0_open(&socket->nng);
    case MRL_NET_ASK:
        return nng_req0_open(&socket->nng);
    }
    return NNG_EINVAL;
}

static int socket_begin_role(mrl_socket *socket) {
    switch (socket->role) {
    case MRL_NET_PUBLISH:
        return nng_socket_set_int(socket->nng, NNG_OPT_SENDBUF, (int)socket->options.queue);
    case MRL_NET_SUBSCRIBE:
        return listening_begin(socket);
    case MRL_NET_ANSWER:
        return answering_begin(socket);
    case MRL_NET_ASK:
        return asking_begin(socket);
    }
    return NNG_EINVAL;
}

static void socket_end_role(mrl_socket *socket) {
    switch (socket->role) {
    case MRL_NET_PUBLISH:
        break;
    case MRL_NET_SUBSCRIBE:
        listening_end(socket);
        break;
    case MRL_NET_ANSWER:
        answering_end(socket);
        break;
    case MRL_NET_ASK:
        asking_end(socket);
        break;
    }
}

static void socket_free(mrl_socket *socket) {
    TELL_ACQUIRE(socket);
    mrl_lock_take(&socket->lock); /* callbacks that are over have dropped it */
    mrl_lock_drop(&socket->lock);
    keep_free(socket);
    peers_free(socket);
    tls_free(socket);
    free(socket);
}

static int socket_set_up(mrl_socket *socket) {
    int is_asked = socket->role == MRL_NET_ANSWER || socket->role == MRL_NET_ASK;
    size_t receive_max = socket->options.receive_max + (is_asked ? HEADER_SIZE : 0);
    int failed = nng_socket_set_size(socket->nng, NNG_OPT_RECVMAXSZ, receive_max);
    if (failed == 0) failed = nng_socket_set_ms(socket->nng, NNG_OPT_RECONNMINT, RETRY_MIN_MS);
    if (failed == 0) failed = nng_socket_set_ms(socket->nng, NNG_OPT_RECONNMAXT, RETRY_MAX_MS);
    if (failed == 0) failed = peers_watch(socket);
    mrl_lock_take(&socket->lock); /* callbacks see what was set up before */
    if (failed == 0) failed = socket_begin_role(socket);
    mrl_lock_drop(&socket->lock);
    return failed;
}

/* The rest of a close, which is given up on if it takes too long. */
typedef struct ending {
    mrl_socket *socket;
    mrl_event over;
    _Atomic int users; /* the last one frees it */
} ending;

static void ending_leave(ending *e) {
    if (atomic_fetch_sub(&e->users, 1) == 1) free(e);
}

static void *ending_run(void *context) {
    ending *e = context;
    (void)nng_close(e->socket->nng);
    socket_free(e->socket);
    mrl_event_signal(&e->over);
    ending_leave(e);
    return NULL;
}

/* nng 1.5.2 can wait for ever for a connection over TLS that broke while much was being sent on it
 * (its reaper waits for an aio that nobody finishes). A caller must not hang with it: after a while
 * the socket is left to a thread of its own; is_closing keeps its callbacks quiet. */
static void socket_end_bounded(mrl_socket *socket) {
    pthread_t thread;
    pthread_attr_t attributes;
    ending *e = calloc(1, sizeof *e);
    int failed = e == NULL || pthread_attr_init(&attributes) != 0;
    if (!failed) {
        *e = (ending){.socket = socket, .users = 2};
        mrl_event_init(&e->over);
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        failed = pthread_create(&thread, &attributes, ending_run, e) != 0;
        (void)pthread_attr_destroy(&attributes);
    }
    if (failed) { /* no memory for a thread: then without */
        free(e);
        (void)nng_close(socket->nng);
        socket_free(socket);
        return;
    }
    while (mrl_event_count(&e->over) == 0)
        if (!mrl_event_wait(&e->over, 0, CLOSE_MAX_NS)) break;
    ending_leave(e);
}

static void net_close(mrl_socket *socket) {
    if (socket == NULL) return;
    mrl_lock_take(&socket->lock);
    socket->is_closing = 1;
    mrl_lock_drop(&socket->lock);
    /* Contexts and aios first: what ends them comes back to callbacks that see is_closing. Without
     * our lock, for nng waits for these callbacks. */
    keep_end(socket);
    socket_end_role(socket);
    TELL_ACQUIRE(socket);
    socket_end_bounded(socket);
}

static merle_err open_quietly(mrl_net_role role, const mrl_net_options *options,
                              mrl_socket **out_socket, merle_report *report) {
    *out_socket = NULL;
    mrl_socket *socket = calloc(1, sizeof *socket);
    if (socket == NULL) return mrl_report_fill(report, MERLE_NO_MEMORY, NULL);
    socket->role = role;
    socket->retry_ms = RETRY_MIN_MS;
    mrl_lock_init(&socket->lock);
    int failed = 0;
    merle_err err = socket_options(socket, options);
    if (err != MERLE_OK) {
        (void)mrl_report_fill(report, err, "open socket: queue or receive_max beyond its limit");
        goto fail;
    }
    failed = socket_open_role(socket);
    if (failed != 0) goto fail;
    failed = socket_set_up(socket);
    if (failed != 0) {
        net_close(socket);
        return error_report(report, failed, "open socket", "");
    }
    *out_socket = socket;
    return MERLE_OK;
fail:
    socket_free(socket);
    return failed != 0 ? error_report(report, failed, "open socket", "") : err;
}

/* The host's signals are the host's business: what threads nng starts take none. */
static merle_err net_open(void *context, mrl_net_role role, const mrl_net_options *options,
                          mrl_socket **out_socket, merle_report *report) {
    sigset_t all, before;
    (void)context;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    merle_err err = open_quietly(role, options, out_socket, report);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

/* ---- calls on sockets ---- */

/* Gives it to the queues of all peers; pub0 never waits. */
static merle_err publish(mrl_socket *socket, nng_msg *message) {
    int failed = nng_sendmsg(socket->nng, message, NNG_FLAG_NONBLOCK);
    if (failed != 0) nng_msg_free(message);
    return error_of(failed);
}

static merle_err net_send(mrl_socket *socket, mrl_message *message) {
    nng_msg *taken = message_take(message);
    mrl_lock_take(&socket->lock);
    socket->stats.messages_sent++;
    socket->stats.bytes_sent += nng_msg_len(taken);
    mrl_lock_drop(&socket->lock);
    if (socket->role == MRL_NET_PUBLISH) return publish(socket, taken);
    MRL_ASSERT(socket->role == MRL_NET_ASK);
    asking_send(socket, taken);
    return MERLE_OK;
}

static merle_err net_receive(mrl_socket *socket, mrl_message *out_message) {
    *out_message = (mrl_message){NULL, 0, NULL};
    if (socket->role == MRL_NET_SUBSCRIBE) return listening_receive(socket, out_message);
    MRL_ASSERT(socket->role == MRL_NET_ASK);
    return asking_receive(socket, out_message);
}

static void net_stat(mrl_socket *socket, mrl_net_stats *out_stats) {
    mrl_lock_take(&socket->lock);
    *out_stats = socket->stats;
    mrl_lock_drop(&socket->lock);
}

const mrl_net mrl_net_nng = {
    .open = net_open,
    .close = net_close,
    .listen = address_listen,
    .dial = address_dial,
    .topic = listening_topic,
    .message_make = net_message_make,
    .message_free = net_message_free,
    .send = net_send,
    .receive = net_receive,
    .question = answering_question,
    .answer = answering_answer,
    .stat = net_stat,
};
