/* tests/model/pretend_net.c - the network and the answers of a pretended server.
 * SPDX-License-Identifier: Apache-2.0 */
#include "pretend_net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"

struct mrl_socket {
    pretend *p;
    mrl_net_role role;
};

static uint64_t below(pretend *p, uint64_t limit) {
    return mrl_random_below(&p->random, limit);
}

static int happens(pretend *p, uint32_t one_in) {
    return one_in != 0 && below(p, one_in) == 0;
}

static uint64_t delay(pretend *p) {
    return p->faults.delay_max_ns == 0 ? 0 : below(p, p->faults.delay_max_ns);
}

/* ---- messages ---- */

static merle_err message_make(void *context, size_t size, mrl_message *out_message) {
    (void)context;
    /* Exactly as large, so that a sanitizer sees who reads behind it. */
    *out_message = (mrl_message){malloc(size == 0 ? 1 : size), size, NULL};
    return out_message->data == NULL ? MERLE_NO_MEMORY : MERLE_OK;
}

static void message_free(mrl_message *message) {
    free(message->data);
    *message = (mrl_message){NULL, 0, NULL};
}

static mrl_message message_of(const merle_buffer *buffer) {
    mrl_message message;
    MRL_ASSERT(message_make(NULL, buffer->size, &message) == MERLE_OK);
    if (buffer->size > 0) memcpy(message.data, buffer->data, buffer->size);
    return message;
}

/* It is cut off. Bytes that are others than they were nobody could notice: that is the transport's
 * matter, and the fuzzer's. */
static void spoil(pretend *p, mrl_message *message) {
    p->nonsense++;
    message->size = below(p, message->size);
}

/* ---- commits as messages ---- */

static merle_err ok(merle_err err) {
    MRL_ASSERT(err == MERLE_OK);
    return err;
}

typedef struct wanted {
    int all;
    int is[PRETEND_COLLECTIONS];
    merle_bytes prefix[PRETEND_COLLECTIONS];
} wanted;

static int wants(const wanted *w, const pretend_commit *commit, const pretend_operation *o) {
    if (!pretend_is_told(commit, o)) return 0;
    if (w->all) return 1;
    if (!w->is[o->collection]) return 0;
    merle_bytes prefix = w->prefix[o->collection], key = pretend_key(o->key);
    if (o->kind > MRL_RECORD_REMOVE) return 1;
    if (prefix.size == 0) return 1;
    return key.size >= prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0;
}

/* Writes operations from..to (positions) of a commit that are wanted. 1: there are some. */
static int write_commit(pretend *p, uint64_t seq, uint32_t from, uint32_t to, const wanted *w,
                        merle_buffer *buffer) {
    const pretend_commit *commit = &p->commits[seq];
    mrl_wire_commit head = {
        .seq = seq, .time_ns = (int64_t)seq, .origin = commit->origin, .count = commit->count};
    mrl_wire_commit_writer writer = {0};
    ok(mrl_wire_commit_begin(&writer, buffer, &head));
    for (uint32_t i = from; i < to && i < commit->count; i++) {
        const pretend_operation *o = &commit->operations[i];
        if (!wants(w, commit, o)) continue;
        mrl_record_operation_view view = {.collection_id = o->id,
                                          .slot = o->key,
                                          .kind = o->kind,
                                          .payload = {o->payload, o->size},
                                          .is_new = (uint8_t)o->is_new};
        if (o->kind <= MRL_RECORD_REMOVE) view.key = pretend_key(o->key);
        ok(mrl_wire_operation_add(&writer, buffer, i, &view));
    }
    return mrl_wire_commit_end(&writer, buffer);
}

/* ---- news ---- */

static void send_news(pretend *p, mrl_wire_news *news) {
    mrl_wire_history_set(&news->history, p->database_id, p->term_id);
    p->scratch.size = 0;
    ok(mrl_wire_news_write(news, &p->scratch));
    uint32_t times = happens(p, p->faults.double_one_in) ? 2 : 1;
    if (p->hear == NULL || p->is_silent) return;
    if (happens(p, p->faults.lose_one_in)) {
        p->lost++;
        return;
    }
    while (times-- > 0 && p->news_count < sizeof p->news / sizeof p->news[0]) {
        pretend_message *m = &p->news[p->news_count++];
        *m = (pretend_message){message_of(&p->scratch), p->now_ns + delay(p), p->news_number++};
        if (happens(p, p->faults.nonsense_one_in)) spoil(p, &m->message);
        if (happens(p, p->faults.reorder_one_in)) m->number += below(p, 8);
    }
}

static uint32_t id_of(const pretend *p, uint64_t from, uint32_t c, uint32_t turn) {
    /* Each id that the collection had in the flush has a batch of its own. */
    uint32_t last = 0;
    for (uint64_t seq = from + 1; seq <= p->seq; seq++)
        for (uint32_t i = 0; i < p->commits[seq].count; i++) {
            const pretend_operation *o = &p->commits[seq].operations[i];
            if (o->collection != c || !pretend_is_told(&p->commits[seq], o) || o->id <= last)
                continue;
            last = o->id;
            if (turn-- == 0) return last;
        }
    return 0;
}

/* Only operations with this id. */
static uint32_t write_batch(pretend *p, uint64_t from, uint32_t c, uint32_t id) {
    uint32_t count = 0;
    wanted w = {.is = {0}};
    w.is[c] = 1;
    p->batch.size = 0;
    for (uint64_t seq = from + 1; seq <= p->seq; seq++) {
        pretend_commit kept = p->commits[seq];
        for (uint32_t i = 0; i < kept.count; i++)
            if (kept.operations[i].id != id) /* for this once it is another's */
                p->commits[seq].operations[i].collection = (c + 1) % PRETEND_COLLECTIONS;
        count += (uint32_t)write_commit(p, seq, 0, UINT32_MAX, &w, &p->batch);
        p->commits[seq] = kept;
    }
    return count;
}

static void publish(pretend *p) {
    uint64_t from = p->told, to = p->seq;
    uint32_t id_count = 0, id;
    merle_buffer ids = {0};
    if (from == to && p->now_ns - p->beat_ns < 1000000000u) return;
    p->beat_ns = p->now_ns;
    for (uint32_t c = 0; c < PRETEND_COLLECTIONS && p->has_news; c++)
        for (uint32_t turn = 0; (id = id_of(p, from, c, turn)) != 0; turn++) {
            uint32_t count = write_batch(p, from, c, id);
            mrl_wire_news batch = {.type = MRL_WIRE_BATCH,
                                   .name = merle_str(pretend_names[c]),
                                   .from = from,
                                   .to = to,
                                   .before = p->before[c],
                                   .collection_id = id,
                                   .commits = mrl_wire_list_of(&p->batch, count)};
            if (happens(p, p->faults.large_one_in)) batch.commits = (mrl_wire_list){0};
            send_news(p, &batch);
            p->before[c] = to;
            ok(mrl_wire_id_add(&ids, id));
            id_count++;
        }
    mrl_wire_news beat = {.type = MRL_WIRE_BEAT,
                          .from = from,
                          .to = to,
                          .collections = mrl_wire_list_of(&ids, id_count)};
    send_news(p, &beat);
    p->told = to;
    merle_buffer_free(&ids);
}

/* ---- answers ---- */

static void write_answer(pretend *p, mrl_wire_answer *answer) {
    mrl_wire_history_set(&answer->history, p->database_id, p->term_id);
    answer->newest = p->seq;
    p->scratch.size = 0;
    ok(mrl_wire_answer_write(answer, &p->scratch));
    p->answer = message_of(&p->scratch);
    if (happens(p, p->faults.nonsense_one_in)) spoil(p, &p->answer);
    p->answer_ns = p->now_ns + delay(p);
    p->has_answer = happens(p, p->faults.break_one_in) ? -1 : 1;
    p->has_question = 0;
    p->answered++;
}

static void refuse(pretend *p, mrl_wire_op op, mrl_wire_status status, uint64_t number,
                   const char *text) {
    mrl_wire_answer answer = {
        .op = op, .status = status, .text = merle_str(text), .number = number};
    write_answer(p, &answer);
}

static void answer_hello(pretend *p) {
    merle_buffer terms = {0}, collections = {0};
    uint32_t count = 0;
    for (uint32_t i = p->term_count; i > 0; i--) ok(mrl_wire_term_add(&terms, &p->terms[i - 1]));
    for (uint32_t c = 0; c < PRETEND_COLLECTIONS; c++) {
        mrl_wire_collection there = {merle_str(pretend_names[c]), p->states[p->seq].id[c], 0, 1};
        if (there.id == 0) continue;
        ok(mrl_wire_collection_add(&collections, &there));
        count++;
    }
    mrl_wire_answer answer = {.op = MRL_WIRE_HELLO,
                              .oldest = p->oldest,
                              .bytes_max = 1 << 20,
                              .wait_ms_max = 30000,
                              .request_max = 65536,
                              .rights = MRL_WIRE_MAY_READ,
                              .data_on_news = (uint32_t)p->has_news,
                              .terms = mrl_wire_list_of(&terms, p->term_count),
                              .collections = mrl_wire_list_of(&collections, count)};
    for (size_t i = 0; i < sizeof p->token; i++) p->token[i] = (uint8_t)below(p, 256);
    p->has_token = 1;
    memcpy(answer.token, p->token, sizeof p->token);
    write_answer(p, &answer);
    merle_buffer_free(&terms);
    merle_buffer_free(&collections);
}

/* 0: refused. */
static int position_fits(pretend *p, const mrl_wire_question *q) {
    uint64_t id[2], term;
    mrl_wire_history_get(&q->history, id, &term);
    if (id[0] != p->database_id[0] || id[1] != p->database_id[1]) {
        refuse(p, q->op, MRL_WIRE_OTHER, 0, "another database");
        return 0;
    }
    uint64_t end = 0;
    int is_known = term == p->term_id;
    if (is_known) end = p->seq;
    for (uint32_t i = 0; i < p->term_count; i++)
        if (p->terms[i].id == term) {
            is_known = 1;
            end = p->terms[i].end;
        }
    if (!is_known) {
        refuse(p, q->op, MRL_WIRE_OTHER, 0, "a term that is not known");
        return 0;
    }
    if (q->after_seq > end || (q->after_seq == end && q->after_position > 0)) {
        refuse(p, q->op, MRL_WIRE_LOST, end, "a crash took it");
        return 0;
    }
    if (q->after_seq + 1 < p->oldest) {
        refuse(p, q->op, MRL_WIRE_GAP, p->oldest, "the log is shorter");
        return 0;
    }
    return 1;
}

static int read_filters(pretend *p, const mrl_wire_question *q, wanted *out) {
    mrl_wire_list filters = q->filters;
    mrl_wire_filter f;
    *out = (wanted){.all = filters.at == NULL};
    while (!out->all && mrl_wire_filter_next(&filters, &f) == MERLE_OK)
        for (uint32_t c = 0; c < PRETEND_COLLECTIONS; c++) {
            if (f.name.size != strlen(pretend_names[c]) ||
                memcmp(f.name.data, pretend_names[c], f.name.size) != 0)
                continue;
            uint32_t id = p->states[p->seq].id[c];
            if (f.has_id && id != 0 && id != f.collection_id) {
                refuse(p, q->op, MRL_WIRE_RESET, 0, pretend_names[c]);
                return 0;
            }
            out->is[c] = 1;
            out->prefix[c] = f.prefix;
        }
    return 1;
}

/* How many positions of the commits behind `after` fit into an answer; at least one. */
static void answer_changes(pretend *p, const mrl_wire_question *q) {
    wanted w;
    if (!position_fits(p, q) || !read_filters(p, q, &w)) return;
    mrl_wire_answer answer = {
        .op = q->op, .upto_seq = q->after_seq, .upto_position = q->after_position};
    uint64_t room = 1 + below(p, 24);
    uint32_t count = 0;
    p->list.size = 0;
    while (answer.upto_seq < p->seq && room > 0) {
        uint64_t seq = answer.upto_seq + 1;
        uint32_t from = answer.upto_position, to = p->commits[seq].count;
        if (to - from > room) to = from + (uint32_t)room;
        count += (uint32_t)write_commit(p, seq, from, to, &w, &p->list);
        room -= to - from < room ? to - from : room;
        if (room > 0 && to == from) room--;
        answer.upto_position = to == p->commits[seq].count ? 0 : to;
        if (answer.upto_position == 0) answer.upto_seq = seq;
    }
    uint64_t waited = (p->now_ns - p->question_ns) / 1000000;
    if (count == 0 && answer.upto_seq == p->seq && waited < q->wait_ms) return; /* is held */
    answer.commits = mrl_wire_list_of(&p->list, count);
    write_answer(p, &answer);
}

static void answer_page(pretend *p, const mrl_wire_question *q) {
    uint32_t c = 0, count = 0, key;
    while (c < PRETEND_COLLECTIONS && (q->name.size != strlen(pretend_names[c]) ||
                                       memcmp(q->name.data, pretend_names[c], q->name.size) != 0))
        c++;
    const pretend_state *state = &p->states[p->seq];
    mrl_wire_answer answer = {.op = q->op, .seq = p->seq};
    uint8_t next = 0;
    key = q->cursor.size == 1 ? *(const uint8_t *)q->cursor.data : 0;
    p->list.size = 0;
    if (c < PRETEND_COLLECTIONS && state->id[c] != 0) {
        answer.has_collection = 1;
        answer.collection_id = state->id[c];
        for (uint64_t room = 1 + below(p, 6); key < PRETEND_KEYS && room > 0; key++, room--) {
            const pretend_doc *doc = &state->docs[c][key];
            merle_bytes k = pretend_key(key);
            if (doc->size == 0 || k.size < q->prefix.size ||
                (q->prefix.size > 0 && memcmp(k.data, q->prefix.data, q->prefix.size) != 0))
                continue;
            mrl_wire_document document = {k, {doc->bytes, doc->size}, doc->seq, 0};
            ok(mrl_wire_document_add(&p->list, &document));
            count++;
        }
        next = (uint8_t)key;
        if (key < PRETEND_KEYS) answer.cursor = merle_bytes_of(&next, 1);
    }
    answer.documents = mrl_wire_list_of(&p->list, count);
    write_answer(p, &answer);
}

static void serve(pretend *p) {
    mrl_wire_question q;
    if (!p->has_question) return;
    ok(mrl_wire_question_read(merle_bytes_of(p->question.data, p->question.size), &q));
    if (happens(p, p->faults.busy_one_in)) {
        refuse(p, q.op, MRL_WIRE_BUSY, 0, "busy");
        return;
    }
    if (happens(p, p->faults.token_one_in)) p->has_token = 0;
    if (q.op != MRL_WIRE_HELLO && (!p->has_token || q.token.size != sizeof p->token ||
                                   memcmp(q.token.data, p->token, sizeof p->token) != 0)) {
        refuse(p, q.op, MRL_WIRE_TOKEN, 0, "who are you");
        return;
    }
    mrl_wire_answer newest = {.op = q.op};
    switch (q.op) {
    case MRL_WIRE_HELLO:
        if (q.secret.size != p->secret.size ||
            (q.secret.size > 0 && memcmp(q.secret.data, p->secret.data, q.secret.size) != 0))
            refuse(p, q.op, MRL_WIRE_SECRET, 0, "the secret is wrong");
        else
            answer_hello(p);
        break;
    case MRL_WIRE_CHANGES:
        answer_changes(p, &q);
        break;
    case MRL_WIRE_SNAPSHOT:
        answer_page(p, &q);
        break;
    default:
        write_answer(p, &newest);
        break;
    }
}

/* ---- the table ---- */

static merle_err net_open(void *context, mrl_net_role role, const mrl_net_options *options,
                          mrl_socket **out_socket, merle_report *report) {
    pretend *p = context;
    mrl_socket *socket = malloc(sizeof *socket);
    (void)options;
    (void)report;
    MRL_ASSERT(socket != NULL);
    *socket = (mrl_socket){p, role};
    *(role == MRL_NET_ASK ? &p->ask : &p->hear) = socket;
    *out_socket = socket;
    return MERLE_OK;
}

static void drop_answer(pretend *p) {
    if (p->has_answer != 0) message_free(&p->answer);
    p->has_answer = 0;
    p->has_question = 0;
}

static void drop_news(pretend *p) {
    for (uint32_t i = 0; i < p->news_count; i++) message_free(&p->news[i].message);
    p->news_count = 0;
}

static void net_close(mrl_socket *socket) {
    pretend *p = socket->p;
    if (socket->role == MRL_NET_ASK) {
        drop_answer(p);
        p->ask = NULL;
    } else {
        drop_news(p);
        p->hear = NULL;
    }
    free(socket);
}

static merle_err net_dial(mrl_socket *socket, const char *url, merle_report *report) {
    (void)socket;
    (void)url;
    (void)report;
    return MERLE_OK;
}

static merle_err net_topic(mrl_socket *socket, merle_bytes topic, int is_wanted) {
    (void)socket;
    (void)topic; /* all of them come: it does not harm, and tests more */
    (void)is_wanted;
    return MERLE_OK;
}

static merle_err net_send(mrl_socket *socket, mrl_message *message) {
    pretend *p = socket->p;
    drop_answer(p);
    p->question.size = 0;
    ok(mrl_buffer_append(&p->question, message->data, message->size));
    message_free(message);
    p->question_ns = p->now_ns;
    p->has_question = 1;
    mrl_wire_question q;
    ok(mrl_wire_question_read(merle_bytes_of(p->question.data, p->question.size), &q));
    p->byes += q.op == MRL_WIRE_BYE;
    if (happens(p, p->faults.lose_one_in)) p->has_question = 0;
    return MERLE_OK;
}

static merle_err receive_news(pretend *p, mrl_message *out_message) {
    uint32_t best = p->news_count;
    for (uint32_t i = 0; i < p->news_count; i++)
        if (p->news[i].due_ns <= p->now_ns &&
            (best == p->news_count || p->news[i].number < p->news[best].number))
            best = i;
    if (best == p->news_count) return MERLE_NOT_FOUND;
    *out_message = p->news[best].message;
    p->news[best] = p->news[--p->news_count];
    return MERLE_OK;
}

static merle_err net_receive(mrl_socket *socket, mrl_message *out_message) {
    pretend *p = socket->p;
    if (p->is_blocked) return MERLE_NOT_FOUND;
    if (socket->role == MRL_NET_SUBSCRIBE) return receive_news(p, out_message);
    if (p->has_answer == 0 || p->now_ns < p->answer_ns) return MERLE_NOT_FOUND;
    if (p->has_answer < 0) {
        drop_answer(p);
        return MERLE_SYSTEM;
    }
    *out_message = p->answer;
    p->has_answer = 0;
    return MERLE_OK;
}

static uint64_t monotonic_ns(void *context) {
    return ((pretend *)context)->now_ns;
}

static int64_t wall_ns(void *context) {
    return (int64_t)((pretend *)context)->now_ns;
}

void pretend_net_init(pretend *p) {
    p->net = (mrl_net){.context = p,
                       .open = net_open,
                       .close = net_close,
                       .dial = net_dial,
                       .topic = net_topic,
                       .message_make = message_make,
                       .message_free = message_free,
                       .send = net_send,
                       .receive = net_receive};
    p->clock = (mrl_clock){p, monotonic_ns, wall_ns};
}

void pretend_net_fini(pretend *p) {
    MRL_ASSERT(p->ask == NULL && p->hear == NULL);
}

void pretend_net_restart(pretend *p, int is_other) {
    int was_asked = p->has_question || p->has_answer != 0;
    drop_answer(p);
    if (was_asked) {
        p->has_answer = -1;
        p->answer_ns = p->now_ns;
        MRL_ASSERT(message_make(NULL, 1, &p->answer) == MERLE_OK);
    }
    /* What is on its way already comes all the same, some of it: but nothing of a past that has
     * not been, because the oracle knows of one only. */
    if (is_other || below(p, 2) == 0) drop_news(p);
    p->has_token = 0;
}

void pretend_advance(pretend *p, uint64_t ns) {
    p->now_ns += ns;
    publish(p);
    serve(p);
}
