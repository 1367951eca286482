/* events/service.c - the service: questions come in, and are answered now or later.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/buffer.h"
#include "events/publish_private.h"

/* ---- answering ---- */

merle_err mrl_service_make(merle_publisher *publisher, const mrl_wire_answer *answer,
                           mrl_message *out_message) {
    const mrl_net *net = publisher->ground.net;
    merle_buffer *bytes = &publisher->scratch2;
    bytes->size = 0;
    memset(out_message, 0, sizeof *out_message);
    merle_err err = mrl_wire_answer_write(answer, bytes);
    if (err == MERLE_OK) err = net->message_make(net->context, bytes->size, out_message);
    if (err != MERLE_OK) {
        memset(out_message, 0, sizeof *out_message);
        return err;
    }
    memcpy(out_message->data, bytes->data, bytes->size);
    /* What an unusually large answer took goes back. */
    if (bytes->capacity > 2 * (size_t)publisher->options.answer_size_max) merle_buffer_free(bytes);
    return MERLE_OK;
}

void mrl_service_send(merle_publisher *publisher, mrl_question *question, mrl_message *message) {
    publisher->stats.answers++;
    publisher->stats.answer_bytes += message->size;
    publisher->unsent += message->size;
    publisher->ground.net->answer(question, message);
}

int mrl_service_is_full(const merle_publisher *publisher) {
    return publisher->unsent + publisher->held >= publisher->options.unsent_max;
}

void mrl_service_answer(merle_publisher *publisher, mrl_question *question,
                        const mrl_wire_answer *answer) {
    mrl_message message;
    if (mrl_service_make(publisher, answer, &message) == MERLE_OK) {
        mrl_service_send(publisher, question, &message);
        return;
    }
    /* No memory for an answer: whoever asked hears nothing, and asks again. */
    publisher->stats.failures++;
    publisher->ground.net->answer(question, NULL);
}

static void count_refusal(merle_publisher *publisher, mrl_wire_status status) {
    merle_publisher_stats *stats = &publisher->stats;
    stats->gaps += (uint64_t)(status == MRL_WIRE_GAP);
    stats->histories += (uint64_t)(status == MRL_WIRE_OTHER);
    stats->losts += (uint64_t)(status == MRL_WIRE_LOST);
    stats->resets += (uint64_t)(status == MRL_WIRE_RESET);
    stats->tokens_wrong += (uint64_t)(status == MRL_WIRE_TOKEN);
    stats->busy += (uint64_t)(status == MRL_WIRE_BUSY);
    stats->malformed += (uint64_t)(status == MRL_WIRE_BAD || status == MRL_WIRE_UNKNOWN);
}

void mrl_service_refuse(merle_publisher *publisher, mrl_question *question, mrl_wire_op op,
                        mrl_wire_status status, merle_bytes text, uint64_t number) {
    mrl_wire_answer answer = {.op = op, .status = status, .text = text, .number = number};
    if (answer.text.size > MRL_WIRE_TEXT_MAX) answer.text.size = MRL_WIRE_TEXT_MAX;
    count_refusal(publisher, status);
    mrl_service_answer(publisher, question, &answer);
}

/* ---- greetings ---- */

/* It takes as long whatever the bytes are. */
static int is_secret(const merle_publisher *publisher, merle_bytes given) {
    const uint8_t *bytes = given.data;
    uint32_t difference = (uint32_t)(given.size ^ publisher->secret_size);
    for (size_t i = 0; i < MERLE_SECRET_SIZE_MAX; i++) {
        uint8_t byte = i < given.size ? bytes[i] : 0;
        uint8_t ours = i < publisher->secret_size ? publisher->secret[i] : 0;
        difference |= (uint32_t)(byte ^ ours);
    }
    return difference == 0;
}

/* Whoever guesses has to wait for each answer; when too many wait, they get none. */
static void refuse_secret(merle_publisher *publisher, mrl_question *question, uint64_t now_ns) {
    publisher->stats.secrets_wrong++;
    if (publisher->slow_count == MRL_SLOW_ANSWER_MAX) {
        publisher->ground.net->answer(question, NULL);
        return;
    }
    publisher->slow[publisher->slow_count++] =
        (mrl_slow_answer){.question = question, .due_ns = now_ns + MRL_SECRET_NS};
}

typedef struct listing {
    merle_buffer *bytes;
    uint32_t count;
    merle_err err;
} listing;

static int list_collection(void *context, merle_collection *collection) {
    listing *l = context;
    mrl_member *member = mrl_member_join(collection->store->domain);
    mrl_epoch_token token;
    mrl_wire_collection of = {.name = merle_str(collection->name), .id = collection->id};
    l->err = MERLE_NO_MEMORY;
    if (member == NULL) return 1;
    mrl_member_enter(member, &token);
    const mrl_root *root = mrl_collection_current(collection);
    if (root != NULL) {
        of.is_memory_only = mrl_root_schema_now(root)->memory_only != 0;
        of.version = mrl_root_schema_now(root)->version;
    }
    mrl_member_leave(member, &token);
    l->err = mrl_wire_collection_add(l->bytes, &of);
    l->count += (uint32_t)(l->err == MERLE_OK);
    return l->err != MERLE_OK;
}

static uint64_t oldest_seq(const merle_publisher *publisher) {
    mrl_log *log = publisher->ground.store->log;
    const mrl_older *older = mrl_log_older(log);
    mrl_log_stats stats;
    mrl_log_stat(log, &stats);
    uint64_t first = older == NULL ? 0 : older->first(older->context);
    return first != 0 && first < stats.first_seq ? first : stats.first_seq;
}

static void fill_limits(const merle_publisher *publisher, mrl_wire_answer *answer) {
    answer->bytes_max = publisher->options.answer_size_max;
    answer->wait_ms_max = publisher->options.wait_ms_max;
    answer->request_max = publisher->options.question_size_max;
    answer->rights = MRL_WIRE_MAY_READ;
    if (publisher->ground.operate != NULL) answer->rights |= MRL_WIRE_MAY_OPERATE;
    answer->data_on_news = publisher->news_socket != NULL && publisher->secret_size == 0;
}

static void greet(merle_publisher *publisher, mrl_question *question, const mrl_session *session) {
    merle_buffer terms = {0}, *collections = &publisher->scratch;
    collections->size = 0;
    listing l = {.bytes = collections};
    uint32_t count = 0;
    for (; count < publisher->term_count; count++)
        if (mrl_wire_term_add(&terms, &publisher->terms[count]) != MERLE_OK) break;
    merle_err err = merle_collection_each(publisher->ground.store->db, list_collection, &l);
    if (err == MERLE_OK) err = l.err;
    mrl_wire_answer answer = {.op = MRL_WIRE_HELLO,
                              .history = publisher->ground.history,
                              .newest = mrl_publisher_visible(publisher),
                              .oldest = oldest_seq(publisher),
                              .terms = mrl_wire_list_of(&terms, count),
                              .collections = mrl_wire_list_of(collections, l.count)};
    memcpy(answer.token, session->token, sizeof answer.token);
    fill_limits(publisher, &answer);
    if (err == MERLE_OK)
        mrl_service_answer(publisher, question, &answer);
    else
        mrl_service_refuse(publisher, question, MRL_WIRE_HELLO, MRL_WIRE_FAILED,
                           merle_str(merle_err_text(err)), (uint64_t)err);
    merle_buffer_free(&terms);
}

static void hello(merle_publisher *publisher, mrl_question *question,
                  const mrl_wire_question *asked, uint64_t peer, uint64_t now_ns) {
    publisher->stats.hellos++;
    if (publisher->secret_size > 0 && !is_secret(publisher, asked->secret)) {
        refuse_secret(publisher, question, now_ns);
        return;
    }
    /* Whoever greets anew is the one that he was. */
    mrl_session *before = mrl_session_find(publisher, asked->token);
    if (before != NULL) mrl_session_destroy(publisher, before);
    mrl_session *session = mrl_session_create(publisher, asked->client, peer, now_ns);
    if (session == NULL) {
        publisher->stats.clients_refused++;
        mrl_service_refuse(publisher, question, MRL_WIRE_HELLO, MRL_WIRE_BUSY,
                           MERLE_STR("there are as many clients as there may be"), 0);
        return;
    }
    session->questions = 1;
    greet(publisher, question, session);
}

/* ---- the other questions ---- */

static void newest(merle_publisher *publisher, mrl_question *question) {
    mrl_wire_answer answer = {.op = MRL_WIRE_NEWEST,
                              .history = publisher->ground.history,
                              .newest = mrl_publisher_visible(publisher)};
    mrl_service_answer(publisher, question, &answer);
}

static void bye(merle_publisher *publisher, mrl_session *session, mrl_question *question) {
    mrl_wire_answer answer = {.op = MRL_WIRE_BYE};
    mrl_session_destroy(publisher, session);
    mrl_service_answer(publisher, question, &answer);
}

static void operate(merle_publisher *publisher, mrl_question *question,
                    const mrl_wire_question *asked) {
    static const uint8_t empty_map[1] = {0x80};
    merle_buffer result = {0};
    if (publisher->ground.operate == NULL) {
        mrl_service_refuse(publisher, question, asked->op, MRL_WIRE_UNKNOWN,
                           MERLE_STR("nobody operates by this address"), 0);
        return;
    }
    merle_err err = publisher->ground.operate(publisher->ground.operate_context, asked->verb,
                                              asked->arguments, &result);
    if (err == MERLE_OK) {
        mrl_wire_answer answer = {.op = MRL_WIRE_OPERATE,
                                  .result = result.size > 0
                                                ? merle_bytes_of(result.data, result.size)
                                                : merle_bytes_of(empty_map, sizeof empty_map)};
        mrl_service_answer(publisher, question, &answer);
    } else {
        mrl_service_refuse(publisher, question, asked->op, MRL_WIRE_FAILED,
                           merle_str(merle_err_text(err)), (uint64_t)err);
    }
    merle_buffer_free(&result);
}

static void answer_with(merle_publisher *publisher, mrl_session *session, mrl_question *question,
                        const mrl_wire_question *asked, uint64_t now_ns) {
    switch (asked->op) {
    case MRL_WIRE_CHANGES:
        mrl_catchup_ask(publisher, session, question, asked, now_ns);
        return;
    case MRL_WIRE_SNAPSHOT:
        mrl_snapshot_ask(publisher, session, question, asked, now_ns);
        return;
    case MRL_WIRE_NEWEST:
        newest(publisher, question);
        return;
    case MRL_WIRE_BYE:
        bye(publisher, session, question);
        return;
    case MRL_WIRE_OPERATE:
        operate(publisher, question, asked);
        return;
    case MRL_WIRE_HELLO:
        return; /* it has no session yet: see take */
    }
}

/* What may have a large answer waits for its turn: changes are held (see catchup.c), the others
 * come again. */
static int is_refused_as_full(merle_publisher *publisher, mrl_question *question, mrl_wire_op op) {
    if ((op != MRL_WIRE_HELLO && op != MRL_WIRE_SNAPSHOT) || !mrl_service_is_full(publisher))
        return 0;
    mrl_service_refuse(publisher, question, op, MRL_WIRE_BUSY,
                       MERLE_STR("too many answers were not taken yet"), 0);
    return 1;
}

static void take(merle_publisher *publisher, mrl_question *question, merle_bytes message,
                 uint64_t peer, uint64_t now_ns) {
    mrl_wire_question asked;
    publisher->stats.questions++;
    merle_err err = mrl_wire_question_read(message, &asked);
    if (err != MERLE_OK) {
        int is_unknown = err == MERLE_UNSUPPORTED;
        mrl_service_refuse(publisher, question, asked.op,
                           is_unknown ? MRL_WIRE_UNKNOWN : MRL_WIRE_BAD,
                           is_unknown ? MERLE_STR("no such version or op is known here")
                                      : MERLE_STR("the question is malformed"),
                           0);
        return;
    }
    if (is_refused_as_full(publisher, question, asked.op)) return;
    if (asked.op == MRL_WIRE_HELLO) {
        hello(publisher, question, &asked, peer, now_ns);
        return;
    }
    mrl_session *session = mrl_session_find(publisher, asked.token);
    if (session == NULL) {
        mrl_service_refuse(publisher, question, asked.op, MRL_WIRE_TOKEN, MERLE_STR("say hello"),
                           0);
        return;
    }
    session->seen_ns = now_ns;
    session->peer = peer;
    session->questions++;
    answer_with(publisher, session, question, &asked, now_ns);
}

int mrl_service_take(merle_publisher *publisher, uint64_t now_ns) {
    const mrl_net *net = publisher->ground.net;
    for (int i = 0; i < MRL_QUESTIONS_A_ROUND; i++) {
        mrl_question *question;
        mrl_message message;
        uint64_t peer;
        if (net->question(publisher->service_socket, &question, &message, &peer) != MERLE_OK)
            return 0;
        take(publisher, question, merle_bytes_of(message.data, message.size), peer, now_ns);
        net->message_free(&message);
    }
    return 1;
}

uint64_t mrl_service_round(merle_publisher *publisher, uint64_t now_ns) {
    uint32_t done = 0;
    while (done < publisher->slow_count && publisher->slow[done].due_ns <= now_ns)
        mrl_service_refuse(publisher, publisher->slow[done++].question, MRL_WIRE_HELLO,
                           MRL_WIRE_SECRET, MERLE_STR("that is not the secret"), 0);
    publisher->slow_count -= done;
    memmove(publisher->slow, publisher->slow + done,
            publisher->slow_count * sizeof publisher->slow[0]);
    return publisher->slow_count == 0 ? MRL_FOREVER : publisher->slow[0].due_ns;
}

void mrl_service_fini(merle_publisher *publisher) {
    for (uint32_t i = 0; i < publisher->slow_count; i++)
        publisher->ground.net->answer(publisher->slow[i].question, NULL);
    publisher->slow_count = 0;
    while (publisher->sessions != NULL) mrl_session_destroy(publisher, publisher->sessions);
}
