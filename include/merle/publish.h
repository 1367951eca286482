/* merle/publish.h - telling other processes what changes: the publisher.
 *
 * A publisher tells everything that is committed, in order, to whoever listens. *News* go out at
 * once to all alike, and may be lost on the way to somebody who is slow; the *service* answers
 * questions: greetings, what was missed, snapshots. docs/protocol.md is what they say, and
 * merle/subscribe.h is the library for the other end. Nobody who listens can slow a writer down:
 * everything that a subscriber can make grow has a limit here. Nothing of the network is started
 * before merle_publish is called.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MERLE_PUBLISH_H
#define MERLE_PUBLISH_H

#include <merle/base.h>
#include <merle/merle.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MERLE_PUBLISH_ADDRESS_MAX 8u /* addresses for news, and for the service */
#define MERLE_SECRET_SIZE_MAX 256u
#define MERLE_CLIENT_NAME_SIZE_MAX 63u

typedef struct merle_publisher merle_publisher;

/* What subscribers are told of. */
typedef enum merle_publish_follow {
    /* With a path: what is durable; in a database of MERLE_MEMORY what is written. Without one:
     * what is published. */
    MERLE_FOLLOW_DEFAULT = 0,
    /* Everything at once. After a crash subscribers may know of commits that the database has
     * lost; they are told so. */
    MERLE_FOLLOW_PUBLISHED = 1
} merle_publish_follow;

/* For tls+tcp:// and wss://. Texts in PEM, not names of files. */
typedef struct merle_publish_tls {
    const char *certificate;
    const char *key;
    const char
        *authorities; /* who has signed the clients' certificates; NULL: none are asked for */
} merle_publish_tls;

/* Zero-fill; every zero is a good default. Borrowed until merle_publish returns. */
typedef struct merle_publish_options {
    size_t size;
    /* inproc://name, ipc:///path, tcp://host:port, tls+tcp://, ws://host:port/path, wss://; port 0
     * chooses one: see merle_publisher_address. Each list ends with NULL. */
    const char *const *news;    /* NULL: none */
    const char *const *service; /* NULL: none */
    /* Whoever asks the service has to say it; news then carry no data. Size 0: nobody has to. */
    merle_bytes secret;
    const merle_publish_tls *tls; /* NULL: none */
    merle_threads threads; /* MERLE_THREADS_NONE: the host calls merle_publisher_step. Default: a
                            * thread named "merle-events", if the database may have threads */
    merle_publish_follow follow;
    uint32_t client_max;        /* that the service knows at a time; 0: 256 */
    uint32_t question_max;      /* of one connection, not answered yet; 0: 4 */
    uint32_t question_size_max; /* bytes; a larger one ends its connection; 0: 64 KiB */
    uint32_t answer_size;       /* bytes of changes in an answer, where no more is asked; 0: 256 KiB
                                 */
    uint32_t answer_size_max;   /* the most that may be asked for; one operation that is larger
                                 * comes alone; 0: 4 MiB */
    uint32_t wait_ms_max;       /* the longest that an answer is held; 0: 30,000 */
    uint32_t idle_ms_max;       /* a client that asks nothing for so long is forgotten; 0: 60,000 */
    uint32_t news_queue;        /* messages that wait for one slow listener; 0: 256 */
    uint32_t news_peer_max;     /* listeners to news; 0: 1,024 */
    uint32_t batch_size_max;    /* bytes of one message of news; 0: 1 MiB */
    uint64_t gather_ns;         /* under load news go out at most so often; 0: 500,000 */
    uint32_t ipc_mode;          /* permissions of ipc:// files; 0: 0600 */
    merle_report *report;       /* filled if it fails; may be NULL */
    /* Bytes of answers to all clients together that were not taken yet, or are held: beyond it
     * questions wait or are refused as busy, until those are taken. It may be exceeded by one
     * answer. 0: 256 MiB. */
    uint64_t unsent_max;
} merle_publish_options;

/* Begins to tell, with the next commit; what was before can be asked for. The database cannot be
 * closed before its publishers. Errors: MERLE_INVALID, MERLE_EXISTS (an address is in use),
 * MERLE_UNSUPPORTED (a transport), MERLE_SYSTEM, MERLE_NO_MEMORY, MERLE_FORKED. Threads: any. */
MERLE_API MERLE_MUST_USE merle_err merle_publish(merle_db *db, const merle_publish_options *options,
                                                 merle_publisher **out_publisher);
/* Ends it: questions are not answered any more, listeners hear nothing. NULL is allowed. Errors:
 * MERLE_WRONG_THREAD (without a thread of its own it belongs to the one that steps it, until that
 * has ended; then any may close it),
 * MERLE_FORKED; it goes on then. Threads: one, may wait for a step that is under way. */
MERLE_API merle_err merle_publisher_close(merle_publisher *publisher);

/* Where it has no thread: does what there is to do, for about budget_ns (0: one round). Never
 * waits. *out_wait_ns (may be NULL): nothing will be due for so long, unless something comes.
 * Errors: MERLE_WRONG_THREAD, MERLE_FORKED, MERLE_NO_MEMORY. Threads: the one that called it
 * first. */
MERLE_API merle_err merle_publisher_step(merle_publisher *publisher, uint64_t budget_ns,
                                         uint64_t *out_wait_ns);
/* The address that others can dial, of the n-th that was given, from 0: with the port that was
 * chosen. NULL: there are not so many. Valid until the close. Threads: any. */
MERLE_API const char *merle_publisher_news_address(const merle_publisher *publisher, uint32_t n);
MERLE_API const char *merle_publisher_service_address(const merle_publisher *publisher, uint32_t n);

/* ---- inside view ---- */

typedef struct merle_publisher_stats {
    size_t size;       /* sizeof(merle_publisher_stats) or 0, set by the caller */
    uint64_t seq;      /* up to here listeners may hear */
    uint64_t seq_told; /* up to here news were sent */
    uint64_t flushes, batches, batches_too_large, beats, news_bytes;
    uint64_t news_gaps; /* the publisher itself fell behind the log: listeners ask the service */
    uint64_t news_peers, news_peers_refused, news_peers_ended;
    uint64_t news_dropped; /* messages for slow listeners, as far as the network tells */
    uint64_t clients, clients_refused, clients_forgotten;
    uint64_t service_peers, service_peers_refused, service_peers_ended;
    uint64_t questions, answers, answer_bytes, answers_held;
    uint64_t hellos, polls, snapshots; /* polls: questions for changes; snapshots: pages */
    uint64_t malformed;                /* questions that nobody could read */
    uint64_t secrets_wrong, tokens_wrong, busy;
    uint64_t gaps, histories, losts, resets; /* answers that said so */
    uint64_t operations_told;                /* in answers and news */
    uint64_t failures;     /* rounds that met no memory, or a network that said no */
    uint64_t bytes;        /* of memory, about */
    uint64_t bytes_unsent; /* of answers that were not taken yet, or are held: see unsent_max */
    uint64_t relistened;   /* listeners that had died of a peer, and were made again */
} merle_publisher_stats;
/* Threads: any. Errors: MERLE_INVALID, MERLE_FORKED. */
MERLE_API merle_err merle_publisher_stat(merle_publisher *publisher,
                                         merle_publisher_stats *out_stats);

/* One who has said hello. */
typedef struct merle_client_info {
    char name[MERLE_CLIENT_NAME_SIZE_MAX + 1]; /* as it calls itself; may be any bytes but NUL */
    uint64_t peer;                             /* number of the connection that it used last */
    uint64_t seq; /* up to here it has been told, by answers; 0: it has not asked for changes */
    uint64_t lag; /* seqs that it is behind; of one that listens to news: since it asked last */
    uint64_t bytes_waiting; /* of an answer that is held; 0: none is, or it is empty so far */
    uint64_t questions, bytes;
    uint64_t gaps;    /* questions because of news that were missed */
    uint64_t resyncs; /* snapshots that it began */
    uint64_t lost;    /* batches that it says it has missed */
    uint64_t idle_ns; /* since its last question; 0: an answer is held for it */
    uint32_t is_waiting, reserved;
} merle_client_info;
/* The clients of the service, at most client_max. Errors: as merle_publisher_stat. Threads: any. */
MERLE_API merle_err merle_publisher_clients(merle_publisher *publisher,
                                            merle_client_info *out_clients, size_t client_max,
                                            size_t *out_count);

#ifdef __cplusplus
}
#endif
#endif
