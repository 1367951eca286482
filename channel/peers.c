/* channel/peers.c - who is connected: numbers, limits, and how soon we dial again.
 *
 * nng tells of a connection before anything is read from it (and lets us end it there), when it is
 * up, and when it is over; without locks of its own, and not any more when nng_close has returned.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include <nng/nng.h> /* before the others: they need it */
#include <nng/transport/ipc/ipc.h>

#include "base/seam.h"
#include "channel/channel_private.h"

/* A connection that ends sooner was refused, in all likelihood. */
#define SHORT_LIFE_NS 1000000000u

static uint64_t now_ns(void) {
    return mrl_clock_system.monotonic_ns(mrl_clock_system.context);
}

static peer **peer_place(mrl_socket *socket, uint32_t pipe) {
    peer **place = &socket->peers[pipe % PEER_BUCKETS];
    while (*place != NULL && (*place)->pipe != pipe) place = &(*place)->next;
    return place;
}

peer *peer_find(mrl_socket *socket, uint32_t pipe, uint64_t number) {
    peer *found = *peer_place(socket, pipe);
    return found != NULL && number != 0 && found->number != number ? NULL : found;
}

size_t peers_by(const mrl_socket *socket, int listener, uint64_t pid) {
    size_t count = 0;
    for (size_t i = 0; i < PEER_BUCKETS; i++)
        for (const peer *p = socket->peers[i]; p != NULL; p = p->next)
            count += p->listener == listener && (pid == PEERS_ALL || p->pid == pid);
    return count;
}

/* 0: it is one too many, or there is no memory for it. */
static int peer_add(mrl_socket *socket, nng_pipe nng, uint64_t pid) {
    uint32_t pipe = (uint32_t)nng_pipe_id(nng);
    peer *added = NULL;
    if (socket->is_closing) return 0;
    if (socket->options.peer_max == 0 || socket->peer_count < socket->options.peer_max)
        added = calloc(1, sizeof *added);
    if (added == NULL) {
        socket->stats.peers_refused++;
        return 0;
    }
    peer **place = peer_place(socket, pipe);
    added->next = *place;
    added->pipe = pipe;
    added->number = ++socket->peer_last;
    added->since_ns = now_ns();
    added->listener = nng_listener_id(nng_pipe_listener(nng));
    added->pid = pid;
    *place = added;
    socket->peer_count++;
    return 1;
}

/* How long the connection had lasted, 0 if we had refused it. */
static uint64_t peer_remove(mrl_socket *socket, uint32_t pipe) {
    peer **place = peer_place(socket, pipe), *removed = *place;
    if (removed == NULL) return 0;
    uint64_t lasted_ns = now_ns() - removed->since_ns;
    *place = removed->next;
    socket->peer_count--;
    if (removed->is_up) socket->stats.peers--;
    free(removed);
    return lasted_ns + 1;
}

static void peer_comes(nng_pipe pipe, nng_pipe_ev event, void *context) {
    mrl_socket *socket = context;
    uint64_t pid = 0;
    (void)event;
    if (nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_PID, &pid) != 0) pid = 0;
    mrl_lock_take(&socket->lock);
    keep_came(socket, nng_listener_id(nng_pipe_listener(pipe)));
    int is_welcome = peer_add(socket, pipe, pid);
    mrl_lock_drop(&socket->lock);
    if (!is_welcome) (void)nng_pipe_close(pipe);
}

/* Now it gets what is sent. nng may tell of this after it has told of the end. */
static void peer_is_up(nng_pipe pipe, nng_pipe_ev event, void *context) {
    mrl_socket *socket = context;
    (void)event;
    mrl_lock_take(&socket->lock);
    peer *up = peer_find(socket, (uint32_t)nng_pipe_id(pipe), 0);
    if (up != NULL) {
        up->is_up = 1;
        socket->stats.peers++;
        socket->stats.peers_seen++;
    }
    mrl_lock_drop(&socket->lock);
}

/* nng forgets how long it has waited as soon as a connection is made, so one who is refused (a
 * server that has enough peers) would come back a hundred times a second. */
static void peer_goes(nng_pipe pipe, nng_pipe_ev event, void *context) {
    mrl_socket *socket = context;
    (void)event;
    mrl_lock_take(&socket->lock);
    uint64_t lasted_ns = peer_remove(socket, (uint32_t)nng_pipe_id(pipe));
    int retry_ms = lasted_ns > SHORT_LIFE_NS ? RETRY_MIN_MS : socket->retry_ms * 2;
    if (retry_ms > RETRY_MAX_MS) retry_ms = RETRY_MAX_MS;
    socket->retry_ms = retry_ms;
    int is_closing = socket->is_closing;
    mrl_lock_drop(&socket->lock);
    nng_dialer dialer = nng_pipe_dialer(pipe);
    if (!is_closing && nng_dialer_id(dialer) > 0)
        (void)nng_dialer_set_ms(dialer, NNG_OPT_RECONNMINT, retry_ms);
}

int peers_watch(mrl_socket *socket) {
    int failed = nng_pipe_notify(socket->nng, NNG_PIPE_EV_ADD_PRE, peer_comes, socket);
    if (failed != 0) return failed;
    failed = nng_pipe_notify(socket->nng, NNG_PIPE_EV_ADD_POST, peer_is_up, socket);
    if (failed != 0) return failed;
    return nng_pipe_notify(socket->nng, NNG_PIPE_EV_REM_POST, peer_goes, socket);
}

void peers_free(mrl_socket *socket) {
    for (size_t i = 0; i < PEER_BUCKETS; i++) {
        while (socket->peers[i] != NULL) {
            peer *freed = socket->peers[i];
            socket->peers[i] = freed->next;
            free(freed);
        }
    }
}
