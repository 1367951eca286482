/* tests/model/pretend.h - a server of events that is only pretended, behind a network that harms.
 *
 * What    A list of commits with the state after each, as slow and obvious as can be, and a mrl_net
 *         with one ASK and one SUBSCRIBE socket at its other end. It publishes, answers, and by a
 *         seed: loses, doubles, delays and reorders messages, breaks off questions, forgets
 *         tokens, answers nonsense, is opened anew (also with the end of its log lost, or wiped).
 * Owns    all messages that are on their way.
 * Threads one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_MODEL_PRETEND_H
#define TESTS_MODEL_PRETEND_H

#include <stdint.h>

#include "base/net.h"
#include "base/random.h"
#include "base/seam.h"
#include "wire/event.h"

enum {
    PRETEND_COLLECTIONS = 3,
    PRETEND_KEYS = 12,
    PRETEND_COMMITS = 4000,
    PRETEND_OPERATIONS = 5,
    PRETEND_DOCUMENT_MAX = 40,
    PRETEND_TERMS = 32
};

typedef struct pretend_doc {
    uint64_t seq;
    uint8_t size; /* 0: there is none */
    uint8_t bytes[PRETEND_DOCUMENT_MAX];
} pretend_doc;

/* What there is after a commit, to whoever looks. */
typedef struct pretend_state {
    uint32_t id[PRETEND_COLLECTIONS]; /* 0: it does not exist */
    pretend_doc docs[PRETEND_COLLECTIONS][PRETEND_KEYS];
} pretend_state;

typedef struct pretend_operation {
    uint32_t collection;
    uint32_t id;
    uint32_t key;
    mrl_record_kind kind;
    int is_new;
    uint8_t size;
    uint8_t payload[96];
} pretend_operation;

typedef struct pretend_commit {
    uint32_t origin;
    uint32_t count;
    pretend_operation operations[PRETEND_OPERATIONS];
} pretend_commit;

typedef struct pretend_faults {
    uint32_t lose_one_in, double_one_in, reorder_one_in, break_one_in, nonsense_one_in;
    uint32_t token_one_in, busy_one_in, large_one_in;
    uint64_t delay_max_ns;
} pretend_faults;

typedef struct pretend_message {
    mrl_message message;
    uint64_t due_ns;
    uint64_t number;
} pretend_message;

typedef struct pretend {
    mrl_net net;
    mrl_clock clock;
    uint64_t now_ns;
    mrl_random random;
    pretend_faults faults;
    uint64_t database_id[2];
    uint64_t term_id;
    mrl_wire_term terms[PRETEND_TERMS]; /* newest last */
    uint32_t term_count;
    uint64_t seq;    /* of the last commit */
    uint64_t oldest; /* the log reaches back to this one */
    uint64_t told;   /* up to where it was published */
    uint64_t before[PRETEND_COLLECTIONS];
    uint32_t next_id;
    int loading;             /* collection + 1 */
    pretend_state load;      /* what is being loaded: of that collection alone */
    pretend_commit *commits; /* [seq] */
    pretend_state *states;   /* [seq] */
    int has_news;            /* batches are published */
    int is_silent;           /* nothing is published */
    int is_blocked;          /* nothing comes */
    uint8_t token[MRL_WIRE_TOKEN_SIZE];
    int has_token;

    mrl_socket *ask, *hear;
    int has_question;
    merle_buffer question;
    uint64_t question_ns;
    mrl_message answer;
    uint64_t answer_ns;
    int has_answer; /* 1: it comes at answer_ns; -1: the connection breaks then */
    pretend_message news[256];
    uint32_t news_count;
    uint64_t news_number;
    uint64_t beat_ns;
    merle_buffer scratch, list, batch;
    uint64_t lost, answered, nonsense, byes;
    merle_bytes secret; /* who does not say it is refused; size 0: none */
} pretend;

extern const char *const pretend_names[PRETEND_COLLECTIONS];

pretend *pretend_create(uint64_t seed);
void pretend_destroy(pretend *p);

/* The bytes of a key: "k" and its number. Lives as long as the program. */
merle_bytes pretend_key(uint32_t key);
/* A commit of something. */
void pretend_change(pretend *p);
/* A collection is defined, dropped, emptied, loaded. */
void pretend_upset(pretend *p);
/* Opened anew; `lost` commits of the end are gone. */
void pretend_reopen(pretend *p, uint64_t lost);
void pretend_wipe(pretend *p);
/* The log reaches back to this commit only. */
void pretend_trim(pretend *p, uint64_t oldest);
void pretend_advance(pretend *p, uint64_t ns);
/* Whether the operation is one that subscribers are told. */
int pretend_is_told(const pretend_commit *commit, const pretend_operation *operation);

#endif
