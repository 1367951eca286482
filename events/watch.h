/* events/watch.h - a watch, as the files that make it share it.
 *
 * What    watch.c opens, gives and closes; wait.c has the descriptor and waiting; latest.c keeps
 *         the keys of a watch for the latest; filter.c judges; fields.c compares documents.
 * Owns    its cursor, its follower, descriptors, and copies of what its filters say.
 * Sees    what a call gave points into the cursor's section, which ends with the next call, or when
 *         the watch rests. A watch that is asked for nothing holds no section.
 * Threads owner only. The follower is looked at by those who write.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_EVENTS_WATCH_H
#define MRL_EVENTS_WATCH_H

#include <merle/events.h>

#include "events/filter.h"
#include "log/follow.h"
#include "store/changes.h"

enum {
    MRL_WATCH_BATCH = 64,          /* changes that are taken from the cursor at a time */
    MRL_WATCH_LATEST_COUNT = 4096, /* where nobody says otherwise */
    /* A watch is not armed for so long after it was, if something has come since: who comes often
     * costs the writers little, and waits no longer than anybody notices. */
    MRL_WATCH_NAP_NS = 1000000
};

/* A key that changed, or something that happened to a collection as a whole. */
typedef struct mrl_latest_item {
    merle_event_kind kind; /* 0: a key; MERLE_EVENT_... of the whole */
    uint32_t collection_id;
    uint32_t key_size;
    uint32_t is_over; /* the collection was truncated since: not given */
    size_t key_at;    /* in the bytes */
    uint64_t hash;
    uint64_t seq; /* of the last change */
} mrl_latest_item;

/* A round: what changed since the one before. */
typedef struct mrl_latest {
    mrl_latest_item *items;
    uint32_t *table; /* item + 1, or 0, by hash; open addressing */
    uint32_t table_mask;
    uint32_t count, capacity;
    uint32_t given;
    merle_buffer keys;
    merle_section section; /* shows the documents that the last call gave */
    int is_open;
    /* Where the round began: the watch's position as long as it is not given whole. */
    uint64_t position;
    uint32_t passed;
    int has_gap; /* it ended with one, which is told before the next begins */
} mrl_latest;

struct merle_watch {
    merle_db *db;
    mrl_store *store;
    mrl_member *member; /* the owner */
    merle_changes *changes;
    mrl_filter *filters;
    size_t filter_count;
    void *memory; /* what the filters point to */
    size_t memory_size;
    uint8_t wants_documents; /* in the events */
    uint8_t needs_documents; /* also for a condition */
    uint8_t is_durable;
    uint8_t is_latest;
    uint64_t behind_max;
    merle_change batch[MRL_WATCH_BATCH];
    size_t batch_count, batch_at;
    uint8_t is_half; /* of batch[batch_at] the end of the document before was given */
    uint8_t may_mend;
    uint64_t mend_until;
    uint64_t limit;               /* of the call that is under way */
    merle_collection *collection; /* the last that was looked up */
    mrl_latest latest;
    merle_watch_stats stats;
    /* Waiting. */
    mrl_follower follower;
    mrl_event event;
    int fd, event_fd, timer_fd; /* -1: nobody has asked for them */
    uint8_t is_napping;
    uint8_t is_armed; /* as far as its owner knows; then the event's descriptor may be readable */
    uint64_t armed_at_ns;
    uint64_t settled_at; /* the position at which it last had nothing more */
};

/* MERLE_OK if the calling thread may use it. */
merle_err mrl_watch_enter(const merle_watch *watch);

/* ---- wait.c ---- */
/* Nothing more is there: sees to it that the descriptor, if there is one, tells of what comes. 0:
 * something has come meanwhile; where `is_busy`, it is told in a moment. */
int mrl_watch_settle(merle_watch *watch, int is_busy);
void mrl_watch_close_fds(merle_watch *watch);

/* ---- latest.c ---- */
merle_err mrl_latest_init(merle_watch *watch, uint32_t capacity);
void mrl_latest_fini(merle_watch *watch, mrl_member *member);
/* Begins a round, with nothing in it. */
void mrl_latest_begin(merle_watch *watch);
/* There is room for as many as it was made for. Errors: MERLE_NO_MEMORY. */
merle_err mrl_latest_note(merle_watch *watch, const merle_event *event);
/* Gives what is left of the round, each key with the document that is there now. */
merle_err mrl_latest_give(merle_watch *watch, merle_event *out_events, size_t event_max,
                          size_t *out_count);
void mrl_latest_rest(mrl_latest *latest);

/* ---- watch.c ---- */
merle_collection *mrl_watch_collection(merle_watch *watch, uint32_t id);

#endif
