/* merle/events.h - hearing of every change: watches, in the process that has the database.
 *
 * A watch gives the changes that it was asked for, in the order of the log, each once: what was
 * done, to which key, by which commit, and, if it was asked for documents, what was there before
 * and what is there now. What a watch misses because it was too slow it tells, with the seqs.
 *     merle_watch_filter players = {.collection = c, .prefix = merle_str("eu:")};
 *     merle_watch_options options = {.filters = &players, .filter_count = 1, .documents = 1};
 *     err = merle_watch_open(db, &options, &watch);
 *     while (merle_watch_wait(watch, UINT64_MAX) == MERLE_OK)
 *         while ((err = merle_watch_next(watch, events, 64, &count)) == MERLE_OK && count > 0)
 *             ...
 * docs/events.md has more.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MERLE_EVENTS_H
#define MERLE_EVENTS_H

#include <merle/base.h>
#include <merle/condition.h>
#include <merle/document.h>
#include <merle/merle.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MERLE_WATCH_FILTER_COUNT_MAX 256u
#define MERLE_WATCH_LATEST_MAX (1u << 20) /* keys that a watch for the latest notes at a time */

/* ---- watches ---- */

typedef struct merle_watch merle_watch;

typedef enum merle_event_kind {
    MERLE_EVENT_INSERT = 1, /* the key had no document */
    MERLE_EVENT_UPDATE = 2,
    MERLE_EVENT_REMOVE = 3,
    MERLE_EVENT_EXPIRE = 4,    /* removed because its time was over */
    MERLE_EVENT_TRUNCATED = 5, /* the collection has no documents from here on */
    MERLE_EVENT_LOADED = 6,    /* a bulk load has ended: what it put is there from here on, all new.
                                * Its documents are not told one by one */
    MERLE_EVENT_DEFINED = 7,   /* the collection was made, or its schema changed */
    MERLE_EVENT_DROPPED = 8    /* the collection is gone */
} merle_event_kind;

/* One change. All that it points to is valid until the watch's next call. */
typedef struct merle_event {
    merle_event_kind kind;
    uint32_t is_unknown; /* 1: `before`, or `after`, was asked for, or is needed to judge whether
                          * this is wanted, and is not known: see merle_watch_options.documents. A
                          * condition counts as met */
    uint64_t seq;
    uint32_t position, count; /* this change in its commit, from 0, and how many that has. A commit
                               * may also have changes that this watch does not want */
    merle_collection *collection; /* NULL: it was dropped before this opening of the database */
    merle_bytes key;              /* size 0 from TRUNCATED on */
    merle_doc before, after;      /* data NULL: none, or not asked for */
    merle_bytes effect;           /* UPDATE by a patch: what it set and unset; DEFINED: the
                                   * definition; msgpack, see docs/format.md */
    const merle_change *change;   /* time, origin, moment of expiry and the rest of it; NULL in a
                                   * watch for the latest */
} merle_event;

/* What is wanted: all that is said here must fit. Zero-filled: everything. */
typedef struct merle_watch_filter {
    merle_collection *collection; /* NULL: of any */
    merle_bytes key;              /* this one alone; size 0: any */
    merle_bytes prefix;           /* keys that begin so */
    /* A change is wanted if the document before it or the one after it meets the condition, so that
     * who watches hears of the one that left. (A tag is a condition, too: `tags: eu`.) Borrowed
     * until the watch is closed; the values are copied. */
    const merle_condition *condition;
    const merle_value *values;
    size_t value_count;
} merle_watch_filter;

typedef struct merle_watch_options {
    size_t size; /* sizeof(merle_watch_options), or 0 */
    /* A change is wanted if it fits one of them; none: everything is. Copied. What concerns a
     * collection as a whole, from TRUNCATED on, is told if the collection fits. */
    const merle_watch_filter *filters;
    size_t filter_count;
    /* The first commit that is wanted, and may be: the log in memory, and in files, goes back some
     * way. 0: the next one. */
    uint64_t from_seq;
    /* 1: with `before` and `after`. Each commit then keeps a copy of what it changes, for all who
     * ask, as long as the log in memory reaches back; a condition asks for it, too. Commits under
     * way when the first such watch is opened have none, nor have those in files: their events are
     * told with is_unknown. 0: `after` only where the log has it, of what was put. */
    uint32_t documents;
    /* 1: the latest alone. Of all changes up to now each key comes once, as UPDATE with the
     * document that is there now, or as REMOVE if there is none. For positions and the like. */
    uint32_t latest;
    /* How many keys it notes at a time; 0: 4096. What comes of more may have a key twice. */
    uint32_t latest_max;
    /* 1: only what is on stable storage (or has been written, in a database of MERLE_MEMORY). */
    uint32_t durable;
    /* How many commits it may be behind, before the oldest of them are given up and told as
     * missed; 0: as many as the log has. */
    uint64_t behind_max;
} merle_watch_options;

/* Opens a watch; options may be NULL. Errors: MERLE_NO_MEMORY, MERLE_INVALID (a collection of
 * another database, a parameter without value, from_seq beyond the next commit, a limit above),
 * MERLE_TYPE (of a parameter), MERLE_FORKED. Threads: any; the watch: owner only, but any thread
 * may close one whose thread has ended. */
MERLE_API MERLE_MUST_USE merle_err merle_watch_open(merle_db *db,
                                                    const merle_watch_options *options,
                                                    merle_watch **out_watch);
/* Gives the next events, as many as there are, event_max at most. *out_count 0: there is nothing
 * more for now, and nothing is held. Else what was given is held until the next call, as an open
 * section holds it: call until *out_count is 0, or rest, before leaving a watch alone.
 * Errors: MERLE_GAP: commits were overwritten before they were read, or given up because of
 * behind_max; merle_watch_gap tells which, and the next call goes on behind them. MERLE_CORRUPT,
 * MERLE_NO_MEMORY, MERLE_INVALID, MERLE_WRONG_THREAD, MERLE_FORKED. */
MERLE_API MERLE_MUST_USE merle_err merle_watch_next(merle_watch *watch, merle_event *out_events,
                                                    size_t event_max, size_t *out_count);
/* Lets go of what the last call gave, without going on. */
MERLE_API void merle_watch_rest(merle_watch *watch);
/* The first and the last commit that the last MERLE_GAP was about. */
MERLE_API void merle_watch_gap(const merle_watch *watch, uint64_t *out_first_seq,
                               uint64_t *out_last_seq);
/* Makes the last gap good: goes back to its beginning, and gives what the log's files have of it.
 * They have no documents before, nor those that a patch made: such events come with is_unknown.
 * (A watch without documents and conditions reads in files by itself, and meets a gap only where
 * they end.) What they do not have is told as a gap again. Errors: MERLE_NOT_FOUND: there was no
 * gap, or there are no files. MERLE_WRONG_THREAD, MERLE_FORKED. */
MERLE_API MERLE_MUST_USE merle_err merle_watch_mend(merle_watch *watch);
/* The last commit of which everything was given: opened with from_seq one above it, a watch goes on
 * there. */
MERLE_API uint64_t merle_watch_position(const merle_watch *watch);

/* A descriptor for poll and epoll, the watch's own: readable when there may be something to get
 * (never read it), until merle_watch_next has given nothing more. A burst of commits costs their
 * writer one system call; who comes often is told once in a millisecond. Errors: MERLE_SYSTEM
 * (there are no more descriptors), MERLE_WRONG_THREAD, MERLE_FORKED. */
MERLE_API MERLE_MUST_USE merle_err merle_watch_fd(merle_watch *watch, int *out_fd);
/* Rests, and waits until there may be something to get. Errors: MERLE_NOT_FOUND: nothing came in
 * that time (UINT64_MAX: there is no end to it). MERLE_WRONG_THREAD, MERLE_FORKED. Threads: owner,
 * waits. */
MERLE_API MERLE_MUST_USE merle_err merle_watch_wait(merle_watch *watch, uint64_t timeout_ns);

typedef struct merle_watch_stats {
    size_t size;                  /* sizeof(merle_watch_stats) or 0, set by the caller */
    uint64_t position, published; /* how far it has come, and how far it could */
    uint64_t events;              /* given */
    uint64_t unwanted;            /* changes that no filter wanted */
    uint64_t gaps, missed;        /* how often commits were missed, and how many */
    uint64_t wakes;               /* how often it was woken, at the cost of a writer */
} merle_watch_stats;
MERLE_API merle_err merle_watch_stat(const merle_watch *watch, merle_watch_stats *out_stats);
MERLE_API void merle_watch_close(merle_watch *watch);

/* The names of the fields at the top of the document that the change has set, removed or changed:
 * of an insert, or what ended, all of them. Puts up to name_max of them into out_names, and how
 * many there are into *out_count. An UPDATE by a patch needs no documents; any other one is
 * compared field by field, byte for byte. Errors: MERLE_NOT_FOUND: the documents that this takes
 * are not known. Threads: as the event. */
MERLE_API MERLE_MUST_USE merle_err merle_event_fields(const merle_event *event,
                                                      merle_bytes *out_names, size_t name_max,
                                                      size_t *out_count);

#ifdef __cplusplus
}
#endif
#endif
