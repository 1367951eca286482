/* wire/event.h - the coding of all that publisher, service and subscribers say to each other.
 * docs/protocol.md is the reference.
 *
 * What    Three kinds of messages. *News* come from the publisher: batches of commits of one
 *         collection, and beats. A *question* is asked of the service, an *answer* comes back. Each
 *         is one msgpack array that begins with the protocol's version; a reader passes over
 *         elements behind those that it knows. One struct a kind, for writing and for reading:
 *         parts that a message does not have are zero.
 *         What a message has many of (commits, filters, documents) is a *list*: elements one behind
 *         the other, not yet looked at. A writer makes them with the `_add` functions in a buffer
 *         of its own, a reader takes them out one after another with the `_next` functions.
 * Owns    nothing. What was read points into the message.
 * Threads any; no state.
 * Limits  readers take foreign bytes: every length and count is checked against what is there, and
 *         against the limits below; nothing is allocated, nothing recurses. Documents, effects and
 *         definitions are msgpack values of the right kind, and no more is known of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_WIRE_EVENT_H
#define MRL_WIRE_EVENT_H

#include <stddef.h>
#include <stdint.h>

#include <merle/base.h>

#include "wire/record.h"

enum {
    MRL_WIRE_VERSION = 1,
    MRL_WIRE_HISTORY_SIZE = 24,
    MRL_WIRE_TOKEN_SIZE = 16,
    MRL_WIRE_SECRET_MAX = 256,         /* bytes */
    MRL_WIRE_CLIENT_MAX = 63,          /* bytes of a client's name */
    MRL_WIRE_TEXT_MAX = 255,           /* bytes of an answer's text */
    MRL_WIRE_FILTER_MAX = 64,          /* filters of one question */
    MRL_WIRE_CONDITION_MAX = 16 << 10, /* bytes of a condition's text */
    MRL_WIRE_CURSOR_MAX = 1100,        /* bytes of the place at which a snapshot goes on */
    MRL_WIRE_TERM_MAX = 64             /* earlier terms that a greeting tells */
};

/* Which past a seq belongs to: the database's id, two numbers, and the id of the term, drawn at
 * each opening; all big-endian. */
typedef struct mrl_wire_history {
    uint8_t bytes[MRL_WIRE_HISTORY_SIZE];
} mrl_wire_history;

void mrl_wire_history_set(mrl_wire_history *history, const uint64_t database_id[2],
                          uint64_t term_id);
void mrl_wire_history_get(const mrl_wire_history *history, uint64_t out_database_id[2],
                          uint64_t *out_term_id);

/* Elements one behind the other. at NULL: nil stands in the place of the list. */
typedef struct mrl_wire_list {
    const uint8_t *at;
    const uint8_t *end;
    uint32_t left; /* how many are still to come */
} mrl_wire_list;

/* A list of count elements that lie in the buffer from its beginning. */
mrl_wire_list mrl_wire_list_of(const merle_buffer *elements, uint32_t count);

/* Of every `_next`. Errors: MERLE_NOT_FOUND: there is no more (and all bytes were used);
 * MERLE_CORRUPT. Of every `_add`: MERLE_NO_MEMORY; the buffer is as it was. */

/* ---- commits ---- */

typedef struct mrl_wire_commit {
    uint64_t seq;
    int64_t time_ns;
    uint32_t origin;
    merle_bytes app; /* data NULL: nil */
    uint32_t count;  /* operations of the whole commit; a message may have fewer of them */
    uint32_t behind; /* for mrl_wire_operation_next: no position is below it */
    mrl_wire_list operations;
    /* What was read already of a commit with one operation; kind 0: nothing. */
    uint32_t only_position;
    mrl_record_operation_view only;
} mrl_wire_commit;

/* Writes a commit into a buffer: begin, each operation in order, end. Where there are none in
 * between, `end` takes the commit's beginning away again. A writer is zero before its first use. */
typedef struct mrl_wire_commit_writer {
    size_t begin_at; /* in the buffer: where the commit begins */
    size_t count_at; /* where the count of its operations' elements stands */
    uint32_t count;  /* operations so far */
} mrl_wire_commit_writer;

MERLE_MUST_USE merle_err mrl_wire_commit_begin(mrl_wire_commit_writer *writer, merle_buffer *buffer,
                                               const mrl_wire_commit *commit);
/* Where it was read from a record its bytes are copied; else it is coded. */
MERLE_MUST_USE merle_err mrl_wire_operation_add(mrl_wire_commit_writer *writer,
                                                merle_buffer *buffer, uint32_t position,
                                                const mrl_record_operation_view *operation);
/* The same, of its bytes alone: as they stand in a record. */
MERLE_MUST_USE merle_err mrl_wire_operation_copy(mrl_wire_commit_writer *writer,
                                                 merle_buffer *buffer, uint32_t position,
                                                 merle_bytes operation);
/* 1: the commit has operations, and stands in the buffer. */
int mrl_wire_commit_end(mrl_wire_commit_writer *writer, merle_buffer *buffer);
MERLE_MUST_USE merle_err mrl_wire_commit_next(mrl_wire_list *commits, mrl_wire_commit *out_commit);
/* Positions grow, and are below the commit's count. */
MERLE_MUST_USE merle_err mrl_wire_operation_next(mrl_wire_commit *commit, uint32_t *out_position,
                                                 mrl_record_operation_view *out_operation);

/* ---- news: what the publisher sends to all ---- */

typedef enum mrl_wire_news_type { MRL_WIRE_BATCH = 1, MRL_WIRE_BEAT = 2 } mrl_wire_news_type;

typedef struct mrl_wire_news {
    mrl_wire_news_type type;
    merle_bytes name; /* the topic: of a batch, the collection's name; of a beat empty */
    mrl_wire_history history;
    uint64_t from, to; /* the flush covers the commits (from, to] */
    /* Of a batch: */
    uint64_t before; /* seq of the last commit of this topic that was told before this batch */
    uint32_t collection_id;
    mrl_wire_list commits; /* nil: too large, to be fetched from the service */
    /* Of a beat: */
    mrl_wire_list collections; /* ids of those that had a batch in this flush */
} mrl_wire_news;

/* Appends the message, topic and all. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_wire_news_write(const mrl_wire_news *news, merle_buffer *buffer);
/* Errors: MERLE_CORRUPT; MERLE_UNSUPPORTED: a version or type that is not known. */
MERLE_MUST_USE merle_err mrl_wire_news_read(merle_bytes message, mrl_wire_news *out_news);
MERLE_MUST_USE merle_err mrl_wire_id_add(merle_buffer *buffer, uint32_t id);
MERLE_MUST_USE merle_err mrl_wire_id_next(mrl_wire_list *ids, uint32_t *out_id);

/* ---- questions ---- */

typedef enum mrl_wire_op {
    MRL_WIRE_HELLO = 1,
    MRL_WIRE_CHANGES = 2,
    MRL_WIRE_SNAPSHOT = 3,
    MRL_WIRE_NEWEST = 4,
    MRL_WIRE_BYE = 5,
    MRL_WIRE_OPERATE = 16
} mrl_wire_op;

/* Why changes are asked for: for the inside view, nothing else. */
typedef enum mrl_wire_why {
    MRL_WIRE_BEGIN = 1,
    MRL_WIRE_POLL = 2,
    MRL_WIRE_AFTER_GAP = 3,
    MRL_WIRE_RESUME = 4
} mrl_wire_why;

typedef struct mrl_wire_question {
    mrl_wire_op op;
    merle_bytes token; /* data NULL: none; else MRL_WIRE_TOKEN_SIZE bytes */
    /* HELLO */
    merle_bytes secret; /* data NULL: none */
    merle_bytes client; /* what the one who asks calls himself */
    /* CHANGES */
    mrl_wire_history history;
    uint64_t after_seq;
    uint32_t after_position; /* of commit after_seq + 1 operations from here on are wanted */
    mrl_wire_list filters;   /* nil: everything */
    uint32_t wait_ms;
    mrl_wire_why why;
    uint64_t lost; /* batches that were missed */
    /* SNAPSHOT */
    merle_bytes name;
    merle_bytes prefix;    /* data NULL: none */
    merle_bytes condition; /* data NULL: none */
    merle_bytes cursor;    /* data NULL: from the beginning */
    /* CHANGES, SNAPSHOT */
    uint32_t bytes_max;
    /* OPERATE */
    merle_bytes verb;
    merle_bytes arguments; /* msgpack: a map */
} mrl_wire_question;

MERLE_MUST_USE merle_err mrl_wire_question_write(const mrl_wire_question *question,
                                                 merle_buffer *buffer);
/* Errors: MERLE_CORRUPT; MERLE_UNSUPPORTED: a version or op that is not known. out_question->op is
 * set as soon as it was read, also where what follows it is bad; else it is 0. */
MERLE_MUST_USE merle_err mrl_wire_question_read(merle_bytes message,
                                                mrl_wire_question *out_question);

/* Which changes are wanted: those of one collection, of it the documents whose keys begin with the
 * prefix and that match the condition. */
typedef struct mrl_wire_filter {
    merle_bytes name;
    int has_id;
    uint32_t collection_id; /* which it was the last time, if has_id */
    merle_bytes prefix;     /* data NULL: none */
    merle_bytes condition;  /* data NULL: none */
} mrl_wire_filter;

MERLE_MUST_USE merle_err mrl_wire_filter_add(merle_buffer *buffer, const mrl_wire_filter *filter);
MERLE_MUST_USE merle_err mrl_wire_filter_next(mrl_wire_list *filters, mrl_wire_filter *out_filter);

/* ---- answers ---- */

typedef enum mrl_wire_status {
    MRL_WIRE_OK = 0,
    MRL_WIRE_GAP = 1,     /* the log reaches back to commit `number` only */
    MRL_WIRE_OTHER = 2,   /* another history: the position means nothing here */
    MRL_WIRE_LOST = 3,    /* the server has lost what it had told: that term ended at `number` */
    MRL_WIRE_RESET = 4,   /* the collection `text` is not the one it was */
    MRL_WIRE_TOKEN = 5,   /* say hello again */
    MRL_WIRE_SECRET = 6,  /* a secret is asked for, and this is not it */
    MRL_WIRE_BUSY = 7,    /* a limit is reached: ask later */
    MRL_WIRE_BAD = 8,     /* the question is malformed */
    MRL_WIRE_UNKNOWN = 9, /* no such op here */
    MRL_WIRE_FAILED = 10  /* `number` is a merle_err */
} mrl_wire_status;

/* Bits of mrl_wire_answer.rights. */
enum { MRL_WIRE_MAY_READ = 1, MRL_WIRE_MAY_OPERATE = 2 };

typedef struct mrl_wire_answer {
    mrl_wire_op op; /* 0: the question's could not be read */
    mrl_wire_status status;
    merle_bytes text; /* status not OK */
    uint64_t number;  /* status not OK */
    /* HELLO, CHANGES, SNAPSHOT, NEWEST */
    mrl_wire_history history;
    uint64_t newest; /* the last commit that anybody is told of; not in SNAPSHOT */
    /* HELLO */
    uint64_t oldest; /* the first commit that can still be had */
    uint8_t token[MRL_WIRE_TOKEN_SIZE];
    mrl_wire_list terms; /* earlier ones of this database, newest first */
    uint32_t bytes_max, wait_ms_max, request_max;
    uint32_t rights;
    mrl_wire_list collections;
    uint32_t data_on_news; /* 1: batches are published; 0: beats alone */
    /* CHANGES */
    uint64_t upto_seq; /* everything up to it was looked at */
    uint32_t upto_position;
    mrl_wire_list commits;
    /* SNAPSHOT */
    int has_collection; /* 0: there is none of this name */
    uint32_t collection_id;
    uint64_t seq;       /* what the page shows is what there was then */
    merle_bytes cursor; /* data NULL: this was the last page */
    mrl_wire_list documents;
    /* OPERATE */
    merle_bytes result; /* msgpack: a map */
} mrl_wire_answer;

MERLE_MUST_USE merle_err mrl_wire_answer_write(const mrl_wire_answer *answer, merle_buffer *buffer);
/* Errors: MERLE_CORRUPT, MERLE_UNSUPPORTED (a version or op that is not known). A status that is
 * not known is given as it is. */
MERLE_MUST_USE merle_err mrl_wire_answer_read(merle_bytes message, mrl_wire_answer *out_answer);

typedef struct mrl_wire_term {
    uint64_t id;
    uint64_t end; /* its last commit that is there */
} mrl_wire_term;
MERLE_MUST_USE merle_err mrl_wire_term_add(merle_buffer *buffer, const mrl_wire_term *term);
MERLE_MUST_USE merle_err mrl_wire_term_next(mrl_wire_list *terms, mrl_wire_term *out_term);

typedef struct mrl_wire_collection {
    merle_bytes name;
    uint32_t id;
    uint32_t is_memory_only;
    uint32_t version; /* of the schema */
} mrl_wire_collection;
MERLE_MUST_USE merle_err mrl_wire_collection_add(merle_buffer *buffer,
                                                 const mrl_wire_collection *collection);
MERLE_MUST_USE merle_err mrl_wire_collection_next(mrl_wire_list *collections,
                                                  mrl_wire_collection *out_collection);

typedef struct mrl_wire_document {
    merle_bytes key;
    merle_bytes document; /* msgpack: a map */
    uint64_t seq;
    int64_t expires_ns; /* 0: never */
} mrl_wire_document;
MERLE_MUST_USE merle_err mrl_wire_document_add(merle_buffer *buffer,
                                               const mrl_wire_document *document);
MERLE_MUST_USE merle_err mrl_wire_document_next(mrl_wire_list *documents,
                                                mrl_wire_document *out_document);

#endif
