/* tests/fuzz/subscriber_fuzz.c - fuzzes a subscriber's end: the server says anything.
 *
 * Aim     Whatever comes from service and publisher, a subscriber neither reads beyond it nor
 *         breaks: it stays within its limits, its state is sound, and all that it gives can be
 *         read.
 * Method  The input is a row of messages: a byte (even: an answer; odd: news), two of size, and so
 *         many bytes. The corpus is a sound conversation. Time passes between them.
 * Blind   What a subscriber asks is not looked at.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "driver.h"
#include "subscribe/subscriber.h"
#include "wire/event.h"

enum { HEARD_MAX = 8 };

struct mrl_socket {
    struct talk *talk;
    mrl_net_role role;
};

typedef struct talk {
    const uint8_t *at;
    const uint8_t *end;
    uint64_t now_ns;
    int is_asked;
    struct mrl_socket sockets[2];
} talk;

static merle_err net_open(void *context, mrl_net_role role, const mrl_net_options *options,
                          mrl_socket **out_socket, merle_report *report) {
    talk *t = context;
    (void)options;
    (void)report;
    *out_socket = &t->sockets[role == MRL_NET_ASK];
    **out_socket = (struct mrl_socket){t, role};
    return MERLE_OK;
}

static void net_close(mrl_socket *socket) {
    (void)socket;
}

static merle_err net_dial(mrl_socket *socket, const char *url, merle_report *report) {
    (void)socket;
    (void)url;
    (void)report;
    return MERLE_OK;
}

static merle_err net_topic(mrl_socket *socket, merle_bytes topic, int is_wanted) {
    (void)socket;
    (void)topic;
    (void)is_wanted;
    return MERLE_OK;
}

static merle_err message_make(void *context, size_t size, mrl_message *out_message) {
    (void)context;
    *out_message = (mrl_message){malloc(size == 0 ? 1 : size), size, NULL};
    return out_message->data == NULL ? MERLE_NO_MEMORY : MERLE_OK;
}

static void message_free(mrl_message *message) {
    free(message->data);
    *message = (mrl_message){NULL, 0, NULL};
}

static merle_err net_send(mrl_socket *socket, mrl_message *message) {
    socket->talk->is_asked = 1;
    message_free(message);
    return MERLE_OK;
}

static merle_err net_receive(mrl_socket *socket, mrl_message *out_message) {
    talk *t = socket->talk;
    int is_ask = socket->role == MRL_NET_ASK;
    if (t->end - t->at < 3 || (t->at[0] % 2 == 0) != is_ask || (is_ask && !t->is_asked))
        return MERLE_NOT_FOUND;
    size_t size = (size_t)t->at[1] << 8 | t->at[2];
    if (size > (size_t)(t->end - t->at - 3)) size = (size_t)(t->end - t->at - 3);
    if (message_make(NULL, size, out_message) != MERLE_OK) return MERLE_NOT_FOUND;
    memcpy(out_message->data, t->at + 3, size);
    t->at += 3 + size;
    if (is_ask) t->is_asked = 0;
    return MERLE_OK;
}

static uint64_t monotonic_ns(void *context) {
    return ((talk *)context)->now_ns;
}

static int64_t wall_ns(void *context) {
    (void)context;
    return 0;
}

static void read_all(merle_bytes bytes) {
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < bytes.size; i++) sum ^= ((const uint8_t *)bytes.data)[i];
}

static void look(const merle_heard *h) {
    MRL_ASSERT(h->kind >= MERLE_HEARD_CONNECTED && h->kind <= MERLE_HEARD_END);
    read_all(h->key);
    read_all(h->effect);
    read_all(h->origin_bytes);
    if (h->after.data != NULL)
        MRL_ASSERT(merle_doc_check(merle_bytes_of(h->after.data, h->after.size), NULL) == MERLE_OK);
    if (h->before.data != NULL) read_all(merle_bytes_of(h->before.data, h->before.size));
    MRL_ASSERT(h->text != NULL && strlen(h->text) < 256);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    talk t = {.at = data + 1, .end = data + size, .now_ns = 1};
    mrl_net net = {.context = &t,
                   .open = net_open,
                   .close = net_close,
                   .dial = net_dial,
                   .topic = net_topic,
                   .message_make = message_make,
                   .message_free = message_free,
                   .send = net_send,
                   .receive = net_receive};
    mrl_clock clock = {&t, monotonic_ns, wall_ns};
    merle_wanted wanted[] = {{.collection = "ants"}, {.collection = "bees"}};
    merle_subscriber_options o = {.service = "fuzz",
                                  .publisher = "fuzz",
                                  .wanted = wanted,
                                  .wanted_count = data[0] % 3,
                                  .keep = data[0] / 4 % 2,
                                  .early_max = 2000,
                                  .memory_max = 10000};
    mrl_subscriber_seams seams = {.net = &net, .clock = &clock, .seed = 1};
    merle_subscriber *s;
    merle_heard heard[HEARD_MAX];
    if (mrl_subscriber_open(&o, &seams, &s, NULL) != MERLE_OK) return 0;
    for (int i = 0; i < 200 && (t.end - t.at >= 3 || i < 5); i++) {
        t.now_ns += 300000000;
        size_t count = mrl_subscriber_next(s, heard, 1 + (size_t)i % HEARD_MAX);
        for (size_t k = 0; k < count; k++) look(&heard[k]);
        MRL_ASSERT(mrl_subscriber_check(s) == NULL);
    }
    mrl_subscriber_close(s);
    return 0;
}

/* ---- a sound conversation ---- */

static void add_message(merle_buffer *talk_bytes, uint8_t kind, const merle_buffer *message) {
    uint8_t head[3] = {kind, (uint8_t)(message->size >> 8), (uint8_t)message->size};
    MRL_ASSERT(mrl_buffer_append(talk_bytes, head, sizeof head) == MERLE_OK);
    MRL_ASSERT(mrl_buffer_append(talk_bytes, message->data, message->size) == MERLE_OK);
}

static void add_answer(merle_buffer *bytes, mrl_wire_answer *answer) {
    merle_buffer message = {0};
    memset(answer->history.bytes, 7, sizeof answer->history.bytes);
    MRL_ASSERT(mrl_wire_answer_write(answer, &message) == MERLE_OK);
    add_message(bytes, 0, &message);
    merle_buffer_free(&message);
}

/* Of commit seq: a put, or an effect, of key "k" in collection 1. */
static void add_commit(merle_buffer *commits, uint64_t seq, mrl_record_kind kind,
                       merle_bytes payload) {
    mrl_wire_commit commit = {.seq = seq, .count = 1};
    mrl_wire_commit_writer writer = {0};
    mrl_record_operation_view view = {
        .collection_id = 1, .kind = kind, .key = {"k", 1}, .payload = payload};
    MRL_ASSERT(mrl_wire_commit_begin(&writer, commits, &commit) == MERLE_OK);
    MRL_ASSERT(mrl_wire_operation_add(&writer, commits, 0, &view) == MERLE_OK);
    MRL_ASSERT(mrl_wire_commit_end(&writer, commits));
}

void fuzz_corpus(fuzz_add_fn *add) {
    static const uint8_t doc[] = {0x81, 0xa1, 'n', 1}, effect[] = {0x91, 0x92, 0x91, 0xa1, 'n', 2};
    merle_buffer bytes = {0}, list = {0}, message = {0};
    mrl_wire_collection ants = {{"ants", 4}, 1, 0, 1};
    mrl_wire_document there = {{"k", 1}, {doc, sizeof doc}, 3, 0};
    MRL_ASSERT(mrl_buffer_append(&bytes, "\5", 1) == MERLE_OK);
    MRL_ASSERT(mrl_wire_collection_add(&list, &ants) == MERLE_OK);
    mrl_wire_answer hello = {.op = MRL_WIRE_HELLO,
                             .newest = 4,
                             .data_on_news = 1,
                             .terms = mrl_wire_list_of(&message, 0),
                             .collections = mrl_wire_list_of(&list, 1)};
    add_answer(&bytes, &hello);
    list.size = 0;
    MRL_ASSERT(mrl_wire_document_add(&list, &there) == MERLE_OK);
    mrl_wire_answer page = {.op = MRL_WIRE_SNAPSHOT,
                            .has_collection = 1,
                            .collection_id = 1,
                            .seq = 5,
                            .documents = mrl_wire_list_of(&list, 1)};
    add_answer(&bytes, &page);
    list.size = 0;
    add_commit(&list, 5, MRL_RECORD_PATCH, merle_bytes_of(effect, sizeof effect));
    mrl_wire_answer changes = {
        .op = MRL_WIRE_CHANGES, .newest = 5, .upto_seq = 5, .commits = mrl_wire_list_of(&list, 1)};
    add_answer(&bytes, &changes);
    list.size = 0;
    add_commit(&list, 6, MRL_RECORD_PUT, merle_bytes_of(doc, sizeof doc));
    add_commit(&list, 7, MRL_RECORD_REMOVE, merle_bytes_of(NULL, 0));
    mrl_wire_news news = {.type = MRL_WIRE_BATCH,
                          .name = {"ants", 4},
                          .from = 5,
                          .to = 7,
                          .before = 5,
                          .collection_id = 1,
                          .commits = mrl_wire_list_of(&list, 2)};
    memset(news.history.bytes, 7, sizeof news.history.bytes);
    MRL_ASSERT(mrl_wire_news_write(&news, &message) == MERLE_OK);
    add_message(&bytes, 1, &message);
    list.size = message.size = 0;
    MRL_ASSERT(mrl_wire_id_add(&list, 1) == MERLE_OK);
    news.type = MRL_WIRE_BEAT;
    news.name = merle_bytes_of(NULL, 0);
    news.collections = mrl_wire_list_of(&list, 1);
    MRL_ASSERT(mrl_wire_news_write(&news, &message) == MERLE_OK);
    add_message(&bytes, 1, &message);
    for (uint8_t first = 0; first < 8; first++) {
        bytes.data[0] = first;
        add(bytes.data, bytes.size);
    }
    merle_buffer_free(&bytes);
    merle_buffer_free(&list);
    merle_buffer_free(&message);
}
