/* events/publish_private.h - a publisher's insides, for the files that share them.
 *
 * What    One round of work is: take questions in, tell news, go on with what is held, forget who
 *         is gone. Each part is bounded, and says when it wants to be called again.
 * Owns    a session owns its cursor, and the question that is held for it.
 * Threads the publisher's thread alone, with `lock` held; figures are read with it, too.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_EVENTS_PUBLISH_PRIVATE_H
#define MRL_EVENTS_PUBLISH_PRIVATE_H

#include <pthread.h>

#include <merle/condition.h>

#include "base/lock.h"
#include "events/filter.h"
#include "events/publish.h"
#include "log/follow.h"
#include "store/changes.h"

enum {
    MRL_CHUNK_COUNT = 64,   /* changes that are taken from a cursor at a time */
    MRL_PIECE_COUNT = 8192, /* changes that are looked at for one answer, or one flush, at most */
    MRL_PAGE_COUNT = 4096,  /* documents that are looked at for one page */
    MRL_QUESTIONS_A_ROUND = 64,
    MRL_SLOW_ANSWER_MAX = 64, /* refusals that wait their moment */
    MRL_URL_MAX = 256,
    MRL_NUMBER_COUNT_MAX = 1 << 16 /* collections that are known by number at a time */
};
#define MRL_BEAT_NS 1000000000u
#define MRL_SECRET_NS 200000000u /* a wrong secret is answered so much later */
#define MRL_EVICT_NS 5000000000u /* a client that was idle for so long gives way to a new one */
#define MRL_RETRY_NS 100000000u  /* after news that failed */
#define MRL_FULL_NS 5000000u     /* until it looks whether some of the answers were taken */
#define MRL_FOREVER UINT64_MAX

/* What is told of one name. Collections that have it one after the other share it. */
typedef struct mrl_topic {
    struct mrl_topic *next;
    char name[MERLE_NAME_SIZE_MAX + 1];
    uint32_t collection_id; /* the last one that had it */
    uint64_t before;        /* seq of the last commit that was told */
    /* In the flush that is made: */
    merle_buffer commits;
    uint32_t commit_count;
    uint64_t seq; /* the last commit in there */
    int is_open;  /* the commit is being written */
    int is_too_large;
    int is_in_flush;
    mrl_wire_commit_writer writer;
} mrl_topic;

/* One filter of a session, its texts in the session's own memory. */
typedef struct mrl_session_filter {
    merle_bytes name;
    int has_id;
    uint32_t collection_id;     /* it was this one, if has_id */
    mrl_filter filter;          /* of the documents: prefix and condition */
    merle_condition *condition; /* the filter's, owned; NULL: none */
} mrl_session_filter;

typedef struct mrl_session {
    struct mrl_session *next;
    uint8_t token[MRL_WIRE_TOKEN_SIZE];
    char name[MERLE_CLIENT_NAME_SIZE_MAX + 1];
    uint64_t peer;
    uint64_t seen_ns;
    /* What it asks for: the list as it came, and read. */
    int has_filters;
    merle_buffer filter_bytes;
    uint32_t filter_list_count;
    mrl_session_filter *filters;
    uint32_t filter_count;
    int wants_images;
    /* Where its cursor stands. */
    merle_changes *changes;
    int changes_have_images;
    int changes_are_strict;
    uint64_t at_seq;
    uint32_t at_passed;
    /* The question for changes that is held. NULL: none. */
    mrl_question *poll;
    uint64_t poll_deadline_ns;
    uint64_t poll_bytes_max;
    /* A page that is held until everybody may see its seq. NULL: none. */
    mrl_question *page;
    mrl_message page_message;
    uint64_t page_seq;
    uint64_t page_deadline_ns;
    /* Figures. */
    uint64_t told_seq;
    uint64_t questions, bytes, gaps, resyncs, lost;
} mrl_session;

/* A refusal that waits its moment. */
typedef struct mrl_slow_answer {
    mrl_question *question;
    uint64_t due_ns;
} mrl_slow_answer;

typedef struct mrl_address_list {
    uint32_t count;
    char urls[MERLE_PUBLISH_ADDRESS_MAX][MRL_URL_MAX];
} mrl_address_list;

struct merle_publisher {
    mrl_lock lock;
    mrl_publish_ground ground;
    merle_publish_options options; /* as completed; its pointers are not looked at any more */
    mrl_wire_term terms[MRL_WIRE_TERM_MAX];
    uint32_t term_count;
    uint8_t secret[MERLE_SECRET_SIZE_MAX];
    size_t secret_size;
    mrl_socket *news_socket, *service_socket; /* NULL: none */
    mrl_address_list news_addresses, service_addresses;
    /* What wakes it. */
    mrl_event wake;
    mrl_follower follower;
    int has_thread;
    pthread_t thread;
    _Atomic int stop;
    mrl_member *owner; /* whose cursors these are; NULL: nobody has stepped yet */
    /* News. */
    merle_changes *changes;
    mrl_topic *topics;
    mrl_topic **topic_of; /* by collection id */
    uint32_t topic_of_count;
    uint64_t begin_seq; /* it tells what comes behind */
    uint64_t told_seq;
    uint64_t flushed_ns, beat_ns;
    int was_busy;   /* the last round has told something: more will come soon */
    int is_pausing; /* there is something to tell, but not before its time */
    /* The service. */
    mrl_session *sessions;
    uint32_t session_count;
    mrl_slow_answer slow[MRL_SLOW_ANSWER_MAX];
    uint32_t slow_count;
    uint64_t unsent;       /* bytes of answers that wait in the network: as of this round's begin,
                            * and those of this round */
    uint64_t held;         /* bytes of pages that are held */
    merle_buffer scratch;  /* lists that go into an answer */
    merle_buffer scratch2; /* a second one */
    merle_publisher_stats stats;
};

static inline uint64_t mrl_publisher_now(const merle_publisher *publisher) {
    const mrl_clock *clock = publisher->ground.store->clock;
    return clock->monotonic_ns(clock->context);
}
/* Up to where subscribers may see. */
static inline uint64_t mrl_publisher_visible(const merle_publisher *publisher) {
    return mrl_follower_seq(&publisher->follower);
}

/* ---- events/publish.c ---- */
/* One round of all parts. Returns for how long nothing will be due; 0: there is more to do. */
uint64_t mrl_publisher_round(merle_publisher *publisher, uint64_t now_ns);
/* Sends what was made; counts. The buffer stays. */
merle_err mrl_publisher_send(merle_publisher *publisher, const merle_buffer *bytes);

/* ---- events/news.c ---- */
/* Tells what may be told, in one flush; returns when it wants to be called again, 0: at once. */
uint64_t mrl_news_round(merle_publisher *publisher, uint64_t now_ns);
/* Opens its cursor, if that is not open. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_news_open(merle_publisher *publisher);
/* The topic of a collection. Errors: MERLE_NO_MEMORY; MERLE_NOT_FOUND: nobody knows its name any
 * more, because it was dropped before the database was opened. */
MERLE_MUST_USE merle_err mrl_news_topic(merle_publisher *publisher, uint32_t collection_id,
                                        mrl_topic **out_topic);
/* A definition tells the name of a collection, which was perhaps dropped before the database was
 * opened. Who did not know the collection at his position reads its definition before all else of
 * it. */
void mrl_news_learn(merle_publisher *publisher, const merle_change *change);
void mrl_news_fini(merle_publisher *publisher);
/* Whether subscribers are told of this change at all. */
int mrl_news_is_told(const merle_change *change);
/* Begins a commit in a buffer. */
merle_err mrl_news_commit_begin(mrl_wire_commit_writer *writer, merle_buffer *buffer,
                                const merle_change *change);

/* ---- events/service.c ---- */
/* Takes some questions in; 1: there may be more. */
int mrl_service_take(merle_publisher *publisher, uint64_t now_ns);
/* What was held for its moment. */
uint64_t mrl_service_round(merle_publisher *publisher, uint64_t now_ns);
/* Answers and counts; consumes the question. */
void mrl_service_answer(merle_publisher *publisher, mrl_question *question,
                        const mrl_wire_answer *answer);
/* A refusal. text: words for people. */
void mrl_service_refuse(merle_publisher *publisher, mrl_question *question, mrl_wire_op op,
                        mrl_wire_status status, merle_bytes text, uint64_t number);
/* The bytes of an answer. Errors: MERLE_NO_MEMORY, MERLE_TOO_BIG. */
merle_err mrl_service_make(merle_publisher *publisher, const mrl_wire_answer *answer,
                           mrl_message *out_message);
void mrl_service_send(merle_publisher *publisher, mrl_question *question, mrl_message *message);
/* So many bytes of answers wait already that there may be no more of the large ones. */
int mrl_service_is_full(const merle_publisher *publisher);
void mrl_service_fini(merle_publisher *publisher);

/* ---- events/session.c ---- */
/* NULL: there is no room for one more, or no memory. */
mrl_session *mrl_session_create(merle_publisher *publisher, merle_bytes name, uint64_t peer,
                                uint64_t now_ns);
mrl_session *mrl_session_find(merle_publisher *publisher, merle_bytes token);
void mrl_session_destroy(merle_publisher *publisher, mrl_session *session);
/* Forgets those who were idle for too long; returns when to look again. */
uint64_t mrl_session_sweep(merle_publisher *publisher, uint64_t now_ns);
/* Takes over what a question wants. Errors: MERLE_INVALID (the report says what), MERLE_NO_MEMORY,
 * MERLE_CORRUPT. */
merle_err mrl_session_want(mrl_session *session, const mrl_wire_list *filters,
                           merle_report *report);
enum { MRL_WANTS = 1, MRL_WANTS_WHOLE = 2 /* a patch, told as a put of what came out */ };
/* Whether it wants this change: *out_wants, 0 or one of these. Errors: MERLE_GAP: what stood there
 * before is not known. */
merle_err mrl_session_wants(const mrl_session *session, merle_publisher *publisher,
                            const merle_change *change, int *out_wants);

/* ---- events/catchup.c ---- */
/* A question for changes of a session. Consumes the question, or holds it. */
void mrl_catchup_ask(merle_publisher *publisher, mrl_session *session, mrl_question *question,
                     const mrl_wire_question *asked, uint64_t now_ns);
/* Goes on with what is held; returns when it wants to be called again. */
uint64_t mrl_catchup_round(merle_publisher *publisher, uint64_t now_ns);
/* A question that is held is answered with nothing. */
void mrl_catchup_let_go(merle_publisher *publisher, mrl_session *session);
void mrl_catchup_close(mrl_session *session);
/* Opens the session's cursor, so that the log keeps images from now on. Errors: MERLE_NO_MEMORY. */
merle_err mrl_catchup_open(merle_publisher *publisher, mrl_session *session, uint64_t seq);

/* ---- events/snapshot.c ---- */
void mrl_snapshot_ask(merle_publisher *publisher, mrl_session *session, mrl_question *question,
                      const mrl_wire_question *asked, uint64_t now_ns);
/* Pages whose moment has come; returns when it wants to be called again. */
uint64_t mrl_snapshot_round(merle_publisher *publisher, uint64_t now_ns);

#endif
