/* merle/subscribe.h - hearing what changes in a database, from another process.
 *
 * A subscriber connects to a merle_publish of somewhere, takes a snapshot if it is asked to, and
 * then gives every change, in order, each once. What it missed it fetches by itself; where that is
 * not possible any more, it says why and begins again with a snapshot. docs/events.md has it in
 * more words, docs/protocol.md what goes over the wire.
 *     merle_wanted wanted = {.collection = "players"};
 *     merle_subscriber_options options = {.service = "tcp://db:4001", .publisher = "tcp://db:4000",
 *                                         .wanted = &wanted, .wanted_count = 1};
 *     merle_subscriber *subscriber;
 *     err = merle_subscriber_open(&options, &subscriber, &report);
 *     while (merle_subscriber_wait(subscriber, UINT64_MAX) == MERLE_OK)
 *         while (merle_subscriber_next(subscriber, heard, 64, &count) == MERLE_OK && count > 0)
 *             for (size_t i = 0; i < count; i++) show(&heard[i]);
 * The library is libmerle-subscribe. It has no database in it.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MERLE_SUBSCRIBE_H
#define MERLE_SUBSCRIBE_H

#include <merle/base.h>
#include <merle/document.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MERLE_WANTED_COUNT_MAX 64u /* collections that one subscriber chooses */

/* Owner only, all of it: a subscriber has one thread at a time. */
typedef struct merle_subscriber merle_subscriber;

/* One collection that is wanted: of it the documents whose keys begin with the prefix and that meet
 * the condition, if there is one. It need not exist yet. */
typedef struct merle_wanted {
    const char *collection;
    merle_bytes prefix;    /* size 0: all keys */
    const char *condition; /* as in merle/condition.h; without parameters; NULL: none */
} merle_wanted;

typedef enum merle_heard_kind {
    MERLE_HEARD_CONNECTED = 1,    /* the service has answered, for the first time or again */
    MERLE_HEARD_DISCONNECTED = 2, /* it answers no more; the subscriber keeps trying */
    MERLE_HEARD_TROUBLE =
        3,               /* an answer that refuses, or makes no sense: err and text say more; the
                                subscriber asks again, ever more slowly */
    MERLE_HEARD_GAP = 4, /* changes are lost to this subscriber, as `reason` says; a snapshot of
                                the collection (NULL: of all) will follow */
    MERLE_HEARD_SNAPSHOT_BEGIN = 5, /* what was known of the collection is void: it has ... */
    MERLE_HEARD_DOCUMENT = 6,       /* ... these documents (key, after) ... */
    MERLE_HEARD_SNAPSHOT_END = 7,   /* ... and no others, as of commit `seq` */
    MERLE_HEARD_INSERT = 8,         /* after */
    MERLE_HEARD_UPDATE = 9,         /* after: put as a whole; or effect: what was set and unset */
    MERLE_HEARD_REMOVE = 10,
    MERLE_HEARD_EXPIRE = 11,   /* removed because its time had come */
    MERLE_HEARD_TRUNCATE = 12, /* the collection has no documents from here on */
    MERLE_HEARD_DEFINE = 13,   /* it was made, or its schema changed; effect: the definition */
    MERLE_HEARD_DROP = 14,
    MERLE_HEARD_LOADED = 15, /* a bulk load has ended; a snapshot of the collection will follow */
    MERLE_HEARD_END = 16     /* nothing but `ends`: where that was not known before */
} merle_heard_kind;

/* Why there is a snapshot. */
typedef enum merle_heard_reason {
    MERLE_REASON_NONE = 0,
    MERLE_REASON_ASKED = 1,   /* it is how this subscriber begins */
    MERLE_REASON_GAP = 2,     /* the server's log does not reach back to the position */
    MERLE_REASON_HISTORY = 3, /* another database, or one that was restored or wiped */
    MERLE_REASON_LOST = 4,    /* a crash took what had been told; the server goes on behind `seq` */
    MERLE_REASON_RESET = 5,   /* the collection was made anew, or its changes are not kept */
    MERLE_REASON_LOADED = 6,  /* a bulk load, whose documents are not told one by one */
    MERLE_REASON_DIFFERS = 7  /* a change did not fit the document that was kept */
} merle_heard_reason;

/* One thing heard; all it points to is valid until the next call of merle_subscriber_next. A change
 * stands at `position` of the `count` operations of commit `seq`; of these a subscriber hears those
 * that concern what it wants. */
typedef struct merle_heard {
    merle_heard_kind kind;
    merle_heard_reason reason; /* GAP, SNAPSHOT_BEGIN */
    merle_err err;             /* TROUBLE, DISCONNECTED */
    uint32_t
        ends; /* 1: nothing more will come of commit `seq`, nor of the snapshot: a whole stands */
    uint64_t seq;
    int64_t time_ns; /* of a change's commit: wall clock of the server */
    const char *collection;
    uint32_t collection_id;
    uint32_t origin;          /* as merle_origin in merle/merle.h */
    merle_bytes origin_bytes; /* the writer's own; size 0: none */
    uint32_t position;
    uint32_t count;
    merle_bytes key;
    merle_bytes effect; /* msgpack, see docs/format.md; of UPDATE size 0 where `after` is all */
    merle_doc after;    /* data NULL: none, or an update by effect without `keep` */
    merle_doc before;   /* only with `keep`; data NULL: none */
    int64_t expires_ns; /* when the document ends; 0: never */
    uint32_t leaves; /* with `keep`: 1: `after` does not meet the condition; it is kept no more */
    uint32_t reserved;
    const char *text; /* GAP, TROUBLE, DISCONNECTED: a sentence for people; else "" */
} merle_heard;

/* Called in a thread of the subscriber's own ("merle-hear"). May call merle_subscriber_position,
 * _get, _each and _stats, nothing else of this subscriber. */
typedef void merle_heard_fn(void *context, merle_subscriber *subscriber, const merle_heard *heard,
                            size_t count);

typedef enum merle_subscriber_begin {
    MERLE_BEGIN_DEFAULT = 0,  /* a snapshot */
    MERLE_BEGIN_SNAPSHOT = 1, /* with a snapshot of what is wanted */
    MERLE_BEGIN_NOW = 2       /* with the next commit */
} merle_subscriber_begin;

/* Zero-filled but for `service`: reasonable. Everything is copied. */
typedef struct merle_subscriber_options {
    size_t size;           /* sizeof(merle_subscriber_options) or 0 */
    const char *service;   /* address of the service: tcp://host:port, ipc:///path, ... */
    const char *publisher; /* address of the publisher; NULL: everything is asked of the service */
    const char *name;      /* how the server's list shows this subscriber; at most 63 bytes */
    merle_bytes secret;    /* at most 256 bytes; size 0: none */
    /* For tls+tcp:// and wss://, texts in PEM; NULL: none. */
    const char *tls_authorities, *tls_certificate, *tls_key, *tls_server_name;
    const merle_wanted *wanted; /* no collection twice */
    size_t wanted_count;        /* 0: all collections */
    /* What merle_subscriber_position gave: goes on there. A collection that is not in it, or was
     * wanted with another prefix or condition, is begun as `begin` says. With `keep` it is not
     * looked at: the copy has gone with the process that had it, so that one begins with a
     * snapshot. size 0: none. */
    merle_bytes position;
    merle_subscriber_begin begin;
    uint32_t keep;        /* 1: the documents are kept: changes have `before` and `after` */
    uint64_t memory_max;  /* bytes of documents held, for `keep` and for snapshots; 0: 1 GiB */
    uint64_t early_max;   /* bytes of news that came before their turn, and again as many of news
                           * that nobody has looked at yet; 0: 8 MiB */
    uint64_t receive_max; /* bytes of a message; 0: 40 MiB */
    uint32_t answer_max;  /* bytes of one answer that are asked for; 0: 1 MiB */
    uint32_t wait_ms;     /* how long a question may wait for news; 0: 10,000 */
    uint32_t answer_ms;   /* an answer later than this (and the wait) will not come; 0: 5,000 */
    uint32_t silence_ms;  /* a publisher silent for so long is not relied on; 0: 3,000 */
    merle_heard_fn *hear; /* NULL: the caller calls merle_subscriber_next */
    void *hear_context;
} merle_subscriber_options;

/* Opens a subscriber; connecting goes on by itself, now and whenever a connection breaks. report
 * may be NULL. Errors: MERLE_INVALID (an address, a name, a condition, a position that is none),
 * MERLE_TOO_BIG (a limit above), MERLE_UNSUPPORTED (a transport), MERLE_NO_MEMORY, MERLE_SYSTEM;
 * *out_subscriber is NULL then. Threads: any. */
MERLE_API MERLE_MUST_USE merle_err merle_subscriber_open(const merle_subscriber_options *options,
                                                         merle_subscriber **out_subscriber,
                                                         merle_report *report);
/* NULL is fine. Not from within `hear`. */
MERLE_API void merle_subscriber_close(merle_subscriber *subscriber);

/* Gives what was heard, at most heard_max; *out_count 0: nothing just now. Does all the work, never
 * waits. Errors: MERLE_INVALID (the subscriber has a thread of its own). */
MERLE_API MERLE_MUST_USE merle_err merle_subscriber_next(merle_subscriber *subscriber,
                                                         merle_heard *out_heard, size_t heard_max,
                                                         size_t *out_count);
/* Waits until merle_subscriber_next should be called: at most so long (UINT64_MAX: for ever). May
 * return early. Errors: MERLE_BUSY (the time is over), MERLE_INVALID, MERLE_SYSTEM. */
MERLE_API MERLE_MUST_USE merle_err merle_subscriber_wait(merle_subscriber *subscriber,
                                                         uint64_t timeout_ns);
/* Readable whenever merle_subscriber_next should be called, for poll and its kin; call it until
 * *out_count is 0 before polling. Belongs to the subscriber. */
MERLE_API int merle_subscriber_fd(const merle_subscriber *subscriber);

/* Bytes from which another subscriber, days later, goes on behind what this one gave last. Errors:
 * MERLE_NOT_READY (nothing was heard yet, or a snapshot is under way: the place before it is void),
 * MERLE_NO_MEMORY. */
MERLE_API MERLE_MUST_USE merle_err merle_subscriber_position(const merle_subscriber *subscriber,
                                                             merle_buffer *out_position);

/* ---- with keep ---- as of what merle_subscriber_next gave last; valid until its next call. While
 * a snapshot is on its way, what was known before it. */

/* Errors: MERLE_NOT_FOUND, MERLE_INVALID (nothing is kept). */
MERLE_API MERLE_MUST_USE merle_err merle_subscriber_get(const merle_subscriber *subscriber,
                                                        const char *collection, merle_bytes key,
                                                        merle_doc *out_doc);
/* Calls fn for each document, in no order, until it returns non-zero. Errors: MERLE_NOT_FOUND (the
 * collection is not wanted), MERLE_INVALID. */
typedef int merle_kept_fn(void *context, merle_bytes key, merle_doc doc);
MERLE_API MERLE_MUST_USE merle_err merle_subscriber_each(const merle_subscriber *subscriber,
                                                         const char *collection, merle_kept_fn *fn,
                                                         void *context);

/* ---- inside view ---- */

typedef struct merle_subscriber_stats {
    size_t size;     /* sizeof(merle_subscriber_stats) or 0, set by the caller */
    uint64_t seq;    /* everything up to this commit was given */
    uint64_t newest; /* the newest one that the server has spoken of */
    uint64_t database_id[2], term_id;
    uint64_t changes;      /* given */
    uint64_t documents;    /* kept, or held for a snapshot */
    uint64_t bytes_held;   /* of documents */
    uint64_t bytes_early;  /* of news that wait for their turn */
    uint64_t batches_lost; /* of the publisher; made good from the service */
    uint64_t gaps;         /* times that changes could not be had any more */
    uint64_t snapshots;    /* that were told */
    uint64_t rejected;     /* messages that made no sense */
    uint64_t refused;      /* answers that said no */
    uint64_t questions, messages, bytes;
    uint32_t is_connected, is_live; /* live: the publisher is heard, nothing is asked */
} merle_subscriber_stats;
MERLE_API merle_err merle_subscriber_get_stats(const merle_subscriber *subscriber,
                                               merle_subscriber_stats *out_stats);

#ifdef __cplusplus
}
#endif
#endif
