/* channel/listen.c - SUBSCRIBE: what is heard goes at once from nng into a queue of ours, so that
 * what is lost for want of room is counted.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include <nng/nng.h> /* before the others: they need it */
#include <nng/protocol/pubsub0/sub.h>

#include "base/assert.h"
#include "channel/channel_private.h"

/* Locked. */
static int listening_push(mrl_socket *socket, nng_msg *message) {
    listening *l = &socket->as.listen;
    size_t size = nng_msg_len(message), size_max = socket->options.queue_size_max;
    int is_full = l->count == socket->options.queue;
    if (is_full || (l->count > 0 && (l->size > size_max || size > size_max - l->size))) {
        socket->stats.dropped++;
        nng_msg_free(message);
        return 0;
    }
    l->ring[(l->first + l->count) % socket->options.queue] = message;
    l->count++;
    l->size += size;
    return 1;
}

static void listening_came(void *context) {
    mrl_socket *socket = context;
    listening *l = &socket->as.listen;
    int is_ready = 0;
    nng_pipe ended = NNG_PIPE_INITIALIZER;
    mrl_lock_take(&socket->lock);
    int failed = nng_aio_result(l->aio);
    if (failed == 0) {
        nng_msg *message = nng_aio_get_msg(l->aio);
        nng_pipe pipe = nng_msg_get_pipe(message);
        if (message_came(socket, message))
            is_ready = listening_push(socket, message);
        else
            ended = pipe;
    }
    if (!socket->is_closing && failed != NNG_ECLOSED) nng_recv_aio(socket->nng, l->aio);
    mrl_lock_drop(&socket->lock);
    if (nng_pipe_id(ended) > 0) (void)nng_pipe_close(ended);
    if (is_ready) tell_ready(socket);
}

int listening_begin(mrl_socket *socket) {
    listening *l = &socket->as.listen;
    l->ring = calloc(socket->options.queue, sizeof(nng_msg *));
    if (l->ring == NULL) return NNG_ENOMEM;
    int failed = nng_aio_alloc(&l->aio, listening_came, socket);
    if (failed != 0) return failed;
    nng_aio_set_timeout(l->aio, NNG_DURATION_INFINITE);
    nng_recv_aio(socket->nng, l->aio);
    return 0;
}

void listening_end(mrl_socket *socket) {
    listening *l = &socket->as.listen;
    if (l->aio != NULL) {
        nng_aio_stop(l->aio);
        nng_aio_free(l->aio);
    }
    for (; l->count > 0; l->count--) {
        nng_msg_free(l->ring[l->first]);
        l->first = (l->first + 1) % socket->options.queue;
    }
    free(l->ring);
}

merle_err listening_topic(mrl_socket *socket, merle_bytes topic, int is_wanted) {
    MRL_ASSERT(socket->role == MRL_NET_SUBSCRIBE);
    const char *option = is_wanted ? NNG_OPT_SUB_SUBSCRIBE : NNG_OPT_SUB_UNSUBSCRIBE;
    const void *bytes = topic.size == 0 ? "" : topic.data;
    return error_of(nng_socket_set(socket->nng, option, bytes, topic.size));
}

merle_err listening_receive(mrl_socket *socket, mrl_message *out_message) {
    listening *l = &socket->as.listen;
    nng_msg *message = NULL;
    mrl_lock_take(&socket->lock);
    if (l->count > 0) {
        message = l->ring[l->first];
        l->first = (l->first + 1) % socket->options.queue;
        l->count--;
        l->size -= nng_msg_len(message);
    }
    mrl_lock_drop(&socket->lock);
    if (message == NULL) return MERLE_NOT_FOUND;
    message_wrap(message, out_message);
    return MERLE_OK;
}
