/* channel/answer.c - ANSWER: rep0 with a context for each question that is open.
 *
 * One context is receiving, as long as there is room for another question; when it has one, the
 * next begins. So questions may be held for long and answered in any order. A context goes from
 * receiving to waiting (in the queue), to held (by the caller), to sending, and back to rest.
 *
 * What one connection may cost is bounded here, because rep0 reads on as long as a context is
 * receiving, whether its answers are taken or not.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "base/assert.h"
#include "channel/channel_private.h"

typedef enum question_state {
    QUESTION_RESTS = 0,
    QUESTION_RECEIVES,
    QUESTION_WAITS,
    QUESTION_HELD,
    QUESTION_SENDS
} question_state;

struct mrl_question {
    mrl_question *all_next;
    mrl_question *next; /* at rest, or in the queue */
    mrl_socket *socket;
    nng_ctx ctx;
    nng_aio *aio;
    question_state state;
    nng_msg *message; /* waiting: the question */
    nng_pipe pipe;
    uint64_t peer;
    size_t unsent; /* sending: bytes */
};

static void question_event(void *context);

static void question_free(mrl_question *question) {
    if (question->aio != NULL) nng_aio_free(question->aio);
    if (question->message != NULL) nng_msg_free(question->message);
    free(question);
}

/* Locked. NULL: no memory, or the limit. */
static mrl_question *question_make(mrl_socket *socket) {
    answering *a = &socket->as.answer;
    mrl_question *question = a->spare;
    if (question != NULL) {
        a->spare = question->next;
        return question;
    }
    if (a->made == MRL_CHANNEL_QUESTION_MAX) return NULL;
    question = calloc(1, sizeof *question);
    if (question == NULL) return NULL;
    question->socket = socket;
    if (nng_aio_alloc(&question->aio, question_event, question) != 0) goto fail;
    nng_aio_set_timeout(question->aio, NNG_DURATION_INFINITE);
    if (nng_ctx_open(&question->ctx, socket->nng) != 0) goto fail;
    question->all_next = a->all;
    a->all = question;
    a->made++;
    return question;
fail:
    question_free(question);
    return NULL;
}

/* Locked. Sees to it that one context receives, if there is room for what it may bring. When there
 * is no memory, whoever is next at rest tries again. */
static void answering_go_on(mrl_socket *socket) {
    answering *a = &socket->as.answer;
    if (socket->is_closing || a->is_receiving || a->waiting >= socket->options.queue) return;
    mrl_question *question = question_make(socket);
    if (question == NULL) return;
    question->state = QUESTION_RECEIVES;
    a->is_receiving = 1;
    nng_ctx_recv(question->ctx, question->aio);
}

/* Locked. The question is over. */
static void question_rest(mrl_question *question) {
    mrl_socket *socket = question->socket;
    if (question->peer != 0) {
        peer *asker = peer_find(socket, (uint32_t)nng_pipe_id(question->pipe), question->peer);
        if (asker != NULL) {
            asker->questions--;
            asker->unsent -= question->unsent;
        }
    }
    socket->stats.unsent -= question->unsent;
    question->peer = 0;
    question->unsent = 0;
    question->state = QUESTION_RESTS;
    question->next = socket->as.answer.spare;
    socket->as.answer.spare = question;
    answering_go_on(socket);
}

/* Locked. A question came: into the queue with it, if the asker may have one more (else 0). */
static int question_welcome(mrl_question *question, nng_msg *message) {
    mrl_socket *socket = question->socket;
    answering *a = &socket->as.answer;
    question->pipe = nng_msg_get_pipe(message);
    peer *asker = peer_find(socket, (uint32_t)nng_pipe_id(question->pipe), 0);
    if (asker == NULL) { /* gone meanwhile */
        nng_msg_free(message);
        return 0;
    }
    if (!message_came(socket, message)) return 0;
    if (asker->questions == socket->options.question_max) {
        socket->stats.peers_ended++;
        nng_msg_free(message);
        return 0;
    }
    asker->questions++;
    question->peer = asker->number;
    question->message = message;
    question->state = QUESTION_WAITS;
    question->next = NULL;
    *a->end = question;
    a->end = &question->next;
    a->waiting++;
    return 1;
}

/* Locked. 1: somebody is to be told; 0: the connection is to be ended; -1: neither. */
static int question_received(mrl_question *question, int failed) {
    question->socket->as.answer.is_receiving = 0;
    if (failed != 0) {
        /* Only the end of the socket or of memory; the latter is no reason to spin. */
        question->state = QUESTION_RESTS;
        question->next = question->socket->as.answer.spare;
        question->socket->as.answer.spare = question;
        return -1;
    }
    nng_msg *message = nng_aio_get_msg(question->aio);
    nng_aio_set_msg(question->aio, NULL);
    int is_welcome = question_welcome(question, message);
    if (is_welcome)
        answering_go_on(question->socket);
    else
        question_rest(question);
    return is_welcome;
}

static void question_event(void *context) {
    mrl_question *question = context;
    mrl_socket *socket = question->socket;
    int told = -1;
    mrl_lock_take(&socket->lock);
    int failed = nng_aio_result(question->aio);
    nng_pipe pipe = NNG_PIPE_INITIALIZER;
    if (question->state == QUESTION_RECEIVES) {
        told = question_received(question, failed);
        pipe = question->pipe;
    } else {
        MRL_ASSERT(question->state == QUESTION_SENDS);
        nng_msg *message = nng_aio_get_msg(question->aio);
        nng_aio_set_msg(question->aio, NULL);
        if (failed != 0 && message != NULL) nng_msg_free(message);
        question_rest(question);
    }
    mrl_lock_drop(&socket->lock);
    if (told == 0) (void)nng_pipe_close(pipe);
    if (told == 1) tell_ready(socket);
}

int answering_begin(mrl_socket *socket) {
    answering *a = &socket->as.answer;
    a->end = &a->first;
    answering_go_on(socket);
    return a->is_receiving ? 0 : NNG_ENOMEM;
}

void answering_end(mrl_socket *socket) {
    answering *a = &socket->as.answer;
    /* Nobody adds to the list any more: the socket is closing. */
    for (mrl_question *question = a->all; question != NULL; question = question->all_next) {
        nng_aio_stop(question->aio);
        (void)nng_ctx_close(question->ctx);
    }
    while (a->all != NULL) {
        mrl_question *freed = a->all;
        a->all = freed->all_next;
        question_free(freed);
    }
}

merle_err answering_question(mrl_socket *socket, mrl_question **out_question,
                             mrl_message *out_message, uint64_t *out_peer) {
    MRL_ASSERT(socket->role == MRL_NET_ANSWER);
    answering *a = &socket->as.answer;
    *out_question = NULL;
    *out_message = (mrl_message){NULL, 0, NULL};
    *out_peer = 0;
    mrl_lock_take(&socket->lock);
    mrl_question *question = a->first;
    if (question != NULL) {
        a->first = question->next;
        if (a->first == NULL) a->end = &a->first;
        a->waiting--;
        question->state = QUESTION_HELD;
        message_wrap(question->message, out_message);
        question->message = NULL;
        *out_question = question;
        *out_peer = question->peer;
    }
    answering_go_on(socket);
    mrl_lock_drop(&socket->lock);
    return question == NULL ? MERLE_NOT_FOUND : MERLE_OK;
}

/* Locked. 0: too much waits for this asker already. */
static int question_send(mrl_question *question, nng_msg *message) {
    mrl_socket *socket = question->socket;
    size_t size = nng_msg_len(message);
    peer *asker = peer_find(socket, (uint32_t)nng_pipe_id(question->pipe), question->peer);
    size_t room = socket->options.unsent_max;
    if (asker != NULL) room -= asker->unsent < room ? asker->unsent : room;
    if (asker != NULL && asker->unsent > 0 && size > room) {
        socket->stats.peers_ended++;
        nng_msg_free(message);
        question_rest(question);
        return 0;
    }
    if (asker != NULL) asker->unsent += size;
    question->unsent = size;
    socket->stats.unsent += size;
    socket->stats.messages_sent++;
    socket->stats.bytes_sent += size;
    question->state = QUESTION_SENDS;
    nng_aio_set_msg(question->aio, message);
    nng_ctx_send(question->ctx, question->aio);
    return 1;
}

void answering_answer(mrl_question *question, mrl_message *message) {
    mrl_socket *socket = question->socket;
    nng_pipe pipe = question->pipe;
    nng_msg *taken = message == NULL ? NULL : message_take(message);
    int is_sent = 1;
    mrl_lock_take(&socket->lock);
    MRL_ASSERT(question->state == QUESTION_HELD);
    if (taken == NULL)
        question_rest(question);
    else
        is_sent = question_send(question, taken);
    mrl_lock_drop(&socket->lock);
    if (!is_sent) (void)nng_pipe_close(pipe);
}
