/* channel/ask.c - ASK: one context of req0, one question on its way.
 *
 * There is one aio, and its callback alone decides what is next. A newer question while it is under
 * way is put aside and the aio is cancelled; the callback, which comes in any case, then begins
 * with it. req0 never sends a question twice by itself (no resend time): a connection that breaks
 * ends the question with an error, and the asker knows best what to ask then.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <nng/nng.h> /* before the others: they need it */
#include <nng/protocol/reqrep0/req.h>

#include "channel/channel_private.h"

/* Locked. Takes the message. */
static void asking_start(asking *ask, nng_msg *message) {
    ask->state = ASKING_SENDS;
    nng_aio_set_msg(ask->aio, message);
    nng_ctx_send(ask->ctx, ask->aio);
}

/* Locked. The aio is at rest. What it brought: an answer, or NULL. */
static nng_msg *asking_result(asking *ask, int failed) {
    nng_msg *message = nng_aio_get_msg(ask->aio);
    nng_aio_set_msg(ask->aio, NULL);
    if (failed == 0 && ask->state == ASKING_WAITS) return message;
    /* A question that was not sent is still ours. */
    if (failed != 0 && ask->state == ASKING_SENDS && message != NULL) nng_msg_free(message);
    return NULL;
}

/* Locked. The question is over, with this answer or without; 1: that is to be told. */
static int asking_over(mrl_socket *socket, nng_msg *answer, nng_pipe *out_ended) {
    asking *ask = &socket->as.ask;
    ask->state = ASKING_IDLE;
    nng_pipe pipe = NNG_PIPE_INITIALIZER;
    if (answer != NULL) pipe = nng_msg_get_pipe(answer);
    if (answer != NULL && !message_came(socket, answer)) {
        *out_ended = pipe;
        answer = NULL;
    }
    ask->answer = answer;
    ask->has_failed = answer == NULL;
    return 1;
}

static void asking_came(void *context) {
    mrl_socket *socket = context;
    asking *ask = &socket->as.ask;
    int is_ready = 0;
    nng_pipe ended = NNG_PIPE_INITIALIZER;
    mrl_lock_take(&socket->lock);
    int failed = nng_aio_result(ask->aio);
    nng_msg *answer = asking_result(ask, failed);
    if (socket->is_closing || ask->next != NULL) {
        if (answer != NULL) nng_msg_free(answer);
        ask->state = ASKING_IDLE;
        if (!socket->is_closing) asking_start(ask, ask->next);
        if (!socket->is_closing) ask->next = NULL;
    } else if (failed == 0 && ask->state == ASKING_SENDS) {
        ask->state = ASKING_WAITS;
        nng_ctx_recv(ask->ctx, ask->aio);
    } else {
        is_ready = asking_over(socket, answer, &ended);
    }
    mrl_lock_drop(&socket->lock);
    if (nng_pipe_id(ended) > 0) (void)nng_pipe_close(ended);
    if (is_ready) tell_ready(socket);
}

int asking_begin(mrl_socket *socket) {
    asking *ask = &socket->as.ask;
    int failed = nng_socket_set_ms(socket->nng, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    if (failed == 0) failed = nng_aio_alloc(&ask->aio, asking_came, socket);
    if (failed != 0) return failed;
    nng_aio_set_timeout(ask->aio, NNG_DURATION_INFINITE);
    return nng_ctx_open(&ask->ctx, socket->nng);
}

void asking_end(mrl_socket *socket) {
    asking *ask = &socket->as.ask;
    if (ask->aio != NULL) nng_aio_stop(ask->aio);
    if (nng_ctx_id(ask->ctx) > 0) (void)nng_ctx_close(ask->ctx);
    if (ask->aio != NULL) nng_aio_free(ask->aio);
    if (ask->next != NULL) nng_msg_free(ask->next);
    if (ask->answer != NULL) nng_msg_free(ask->answer);
}

void asking_send(mrl_socket *socket, nng_msg *message) {
    asking *ask = &socket->as.ask;
    mrl_lock_take(&socket->lock);
    nng_msg *answer = ask->answer, *forgotten = ask->next;
    ask->answer = NULL;
    ask->next = NULL;
    ask->has_failed = 0;
    if (ask->state == ASKING_IDLE) {
        asking_start(ask, message);
    } else {
        ask->next = message;
        nng_aio_cancel(ask->aio);
    }
    mrl_lock_drop(&socket->lock);
    if (answer != NULL) nng_msg_free(answer);
    if (forgotten != NULL) nng_msg_free(forgotten);
}

merle_err asking_receive(mrl_socket *socket, mrl_message *out_message) {
    asking *ask = &socket->as.ask;
    mrl_lock_take(&socket->lock);
    nng_msg *answer = ask->answer;
    int has_failed = ask->has_failed;
    ask->answer = NULL;
    ask->has_failed = 0;
    mrl_lock_drop(&socket->lock);
    if (answer == NULL) return has_failed ? MERLE_SYSTEM : MERLE_NOT_FOUND;
    message_wrap(answer, out_message);
    return MERLE_OK;
}
