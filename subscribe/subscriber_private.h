/* subscribe/subscriber_private.h - the subscriber from inside.
 *
 * What    One object, moved on by one function. Where it stands in the log is `at`. What has come
 *         and is to be told is a *run*: lists of commits, of one answer or of the batches of one
 *         flush, told in the order of (seq, position). A snapshot is *filled* from pages, made to
 *         fit by the changes up to snapshot_seq, and then told.
 *         ask.c     questions to the service and what their answers mean
 *         hear.c    news of the publisher, kept until their flush is whole
 *         run.c     lists of commits in one order
 *         tell.c    from operations to what the application hears; the copies
 *         fill.c    snapshots
 *         subscriber.c  opens, closes, and turns all of these
 * Sees    `at` moves with each operation that is taken out of a run, so a run may be thrown away at
 *         any time: what was not taken is fetched again.
 * Threads owner only.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_SUBSCRIBE_SUBSCRIBER_PRIVATE_H
#define MRL_SUBSCRIBE_SUBSCRIBER_PRIVATE_H

#include <merle/condition.h>

#include "base/random.h"
#include "subscribe/copy.h"
#include "subscribe/position.h"
#include "subscribe/subscriber.h"

enum { MRL_NOTICE_COUNT = 16, MRL_NOTICE_TEXT_SIZE = 256 };

#define MRL_MS ((uint64_t)1000000)

/* ---- a collection that is wanted ---- */

typedef struct mrl_chosen {
    char name[MERLE_NAME_SIZE_MAX + 1];
    uint32_t name_size;
    uint32_t number; /* in the subscriber's list */
    merle_buffer prefix;
    merle_buffer condition_text;
    merle_condition *condition; /* only with keep */
    int has_id;                 /* it exists at our place in the log */
    uint32_t id;
    mrl_copy *kept;
    /* While it is being filled: */
    int is_filling;
    int has_page;  /* the first page has come, and said which collection it is */
    int has_pages; /* the last one has */
    uint64_t first_page_seq;
    merle_buffer cursor; /* size 0: from the beginning */
    merle_heard_reason reason;
    mrl_copy *fresh;
    mrl_copy *spent; /* told, and pointed to by what the application was given last */
} mrl_chosen;

/* ---- a run ---- */

typedef struct mrl_run_list {
    mrl_message message; /* owned */
    mrl_wire_list commits;
    mrl_wire_commit commit;
    mrl_record_operation_view operation;
    uint32_t position;
    int is_done; /* there is no operation any more */
    int has_commit;
} mrl_run_list;

typedef struct mrl_run {
    mrl_run_list *lists;
    uint32_t count;
    uint32_t capacity;
    int is_on;
    int is_news;           /* a flush, else an answer */
    int is_alone;          /* one batch, without having seen its beat */
    int has_drop;          /* and a collection was dropped in it: see mrl_run_finish */
    int is_broken;         /* some list is not what it should be */
    int was_given;         /* something told points into its messages */
    uint64_t from;         /* news: commits up to it do not belong here */
    uint64_t end;          /* everything up to this commit is in it ... */
    uint32_t end_position; /* ... and of the next one the operations below this */
} mrl_run;

/* ---- news that wait ---- */

typedef struct mrl_early {
    mrl_message message;
    mrl_wire_news news;
} mrl_early;

typedef struct mrl_notice {
    merle_heard_kind kind;
    merle_heard_reason reason;
    merle_err err;
    uint64_t seq;
    const mrl_chosen *chosen;
    char text[MRL_NOTICE_TEXT_SIZE];
} mrl_notice;

typedef struct mrl_spent {
    mrl_message *messages;
    uint32_t count;
    uint32_t capacity;
} mrl_spent;

typedef enum mrl_phase {
    MRL_PHASE_HELLO = 1, /* a greeting is to be asked for */
    MRL_PHASE_PAGES,     /* pages of a snapshot */
    MRL_PHASE_CHANGES    /* changes behind `at`, unless the publisher tells them */
} mrl_phase;

struct merle_subscriber {
    const mrl_net *net;
    const mrl_clock *clock;
    mrl_random random;
    mrl_socket *ask;
    mrl_socket *hear;                 /* NULL: there is no publisher, or it cannot be used */
    merle_subscriber_options options; /* numbers only, with what they default to */
    char name[MRL_WIRE_CLIENT_MAX + 1];
    merle_buffer secret;
    struct merle_subscriber_drive *drive; /* descriptor and thread; NULL in a simulation */

    mrl_chosen **chosen;
    uint32_t chosen_count;
    uint32_t chosen_capacity;
    uint32_t chosen_last; /* the one that an operation had last */
    int wants_all;
    int is_filtered;     /* prefix or condition somewhere: the publisher is of no use */
    merle_buffer others; /* ids (uint32_t) of collections that are not wanted */

    /* Where we are. */
    mrl_position at;
    int has_position;
    mrl_wire_history server; /* as it last said */
    int has_server;
    uint64_t newest;

    /* The dialogue. */
    mrl_phase phase;
    mrl_wire_op asked; /* 0: nothing is on its way */
    uint64_t asked_ns;
    uint64_t asked_until_ns;
    uint64_t fetched; /* as `at`: up to where changes were asked for and answered */
    uint32_t fetched_position;
    int is_caught_up;
    mrl_wire_why why;
    uint64_t lost_untold;
    uint32_t failures; /* in a row */
    uint64_t rest_until_ns;
    uint8_t token[MRL_WIRE_TOKEN_SIZE];
    int has_token;
    uint32_t server_bytes_max, server_wait_ms_max;
    int has_data_on_news;
    int is_connected;
    uint64_t reset_seq; /* where a reset was met last: a second one there is answered by all */
    int has_reset;
    merle_buffer question; /* scratch */
    merle_buffer filters;

    /* The publisher. */
    int is_live;
    uint64_t news_ns; /* when it was heard last */
    mrl_early *early;
    uint32_t early_count;
    uint32_t early_capacity;
    uint64_t early_bytes;

    /* Snapshots. */
    int is_filling;
    int fills_all; /* `at` is void */
    uint64_t snapshot_seq;
    mrl_wire_history fill_history;
    int is_telling;
    uint32_t tell_number; /* of the collection */
    int tell_stage;       /* 0 begin, 1 documents, 2 end */
    uint32_t tell_count;  /* collections told */
    size_t tell_cursor;

    mrl_run run;
    int stops_run;     /* what was just taken makes the rest of the run useless */
    uint64_t open_seq; /* a commit of which something was told and the end was not */
    int has_open;
    merle_buffer patched; /* scratch */
    uint64_t held_bytes;  /* of all copies */

    mrl_notice notices[MRL_NOTICE_COUNT];
    uint32_t notice_first, notice_count, notice_given;
    mrl_copy_entry *retired; /* freed at the next call */
    mrl_spent spent;
    int stops_call;

    merle_subscriber_stats stats;
};

/* ---- subscriber.c ---- */

uint64_t mrl_subscriber_now(const merle_subscriber *s);
/* text is a sentence; NULL: err's own. */
void mrl_notice_add(merle_subscriber *s, merle_heard_kind kind, merle_err err, const char *text);
mrl_notice *mrl_notice_last(merle_subscriber *s);
/* Something went wrong that may be better later: ask no more for a while, longer each time. */
void mrl_subscriber_rest(merle_subscriber *s);
/* What was asked for does not matter any more; changes are wanted from `at` on. */
void mrl_subscriber_refetch(merle_subscriber *s);
void mrl_retire(merle_subscriber *s, mrl_copy_entry *entry);
/* Makes sure that so many messages can be spent. Errors: MERLE_NO_MEMORY. */
merle_err mrl_spend_reserve(merle_subscriber *s, uint32_t count);
/* The message is freed at the next call. */
void mrl_spend(merle_subscriber *s, mrl_message *message);
mrl_chosen *mrl_chosen_by_name(const merle_subscriber *s, merle_bytes name);
mrl_chosen *mrl_chosen_by_id(merle_subscriber *s, uint32_t id);
/* Errors: MERLE_NO_MEMORY, MERLE_INVALID (the name). */
merle_err mrl_chosen_add(merle_subscriber *s, merle_bytes name, mrl_chosen **out_chosen);

static inline int mrl_history_equal(const mrl_wire_history *a, const mrl_wire_history *b) {
    return memcmp(a->bytes, b->bytes, MRL_WIRE_HISTORY_SIZE) == 0;
}
/* Order of places: (seq, position) stands for everything up to seq and a part of the next. */
static inline int mrl_place_order(uint64_t seq_a, uint32_t position_a, uint64_t seq_b,
                                  uint32_t position_b) {
    if (seq_a != seq_b) return seq_a < seq_b ? -1 : 1;
    return (position_a > position_b) - (position_a < position_b);
}

/* ---- ask.c ---- 1: something happened */

int mrl_ask_step(merle_subscriber *s);
int mrl_ask_is_needed(const merle_subscriber *s);
uint64_t mrl_ask_due_ns(const merle_subscriber *s);
/* Says that it will ask no more, so that the service forgets it at once; after that it is only to
 * be closed. 0: there is nobody to say it to, or it was said. */
int mrl_ask_bye(merle_subscriber *s);
/* It was heard, or cannot be. */
int mrl_ask_bye_is_over(merle_subscriber *s);
/* Changes cannot be had: tells it and begins anew with a snapshot of one collection, or (chosen
 * NULL) of all. */
void mrl_resync(merle_subscriber *s, merle_heard_reason reason, uint64_t seq, mrl_chosen *chosen,
                const char *text);

/* ---- hear.c ---- */

int mrl_hear_step(merle_subscriber *s);
int mrl_hear_is_usable(const merle_subscriber *s);
void mrl_early_drop_all(merle_subscriber *s);
/* Those that `at` has passed. */
void mrl_early_drop_old(merle_subscriber *s);

/* ---- run.c ---- */

/* Empties the run for a new one. */
void mrl_run_begin(merle_subscriber *s, uint64_t from, uint64_t end, uint32_t end_position);
/* Takes the message, whatever comes out. Errors: MERLE_NO_MEMORY. */
merle_err mrl_run_add(merle_subscriber *s, mrl_message *message, const mrl_wire_list *commits);
/* The list that has the next operation; NULL: there is none, or the run is broken. */
mrl_run_list *mrl_run_least(merle_subscriber *s);
void mrl_run_advance(merle_subscriber *s, mrl_run_list *list);
/* Throws away what is left. */
void mrl_run_end(merle_subscriber *s);

/* ---- tell.c ---- */

/* Goes on with the run: 1: *out_heard was filled. 0: nothing to tell came of this step. */
int mrl_tell_step(merle_subscriber *s, merle_heard *out_heard);
void mrl_heard_init(merle_heard *heard, merle_heard_kind kind, const mrl_chosen *chosen);

/* ---- fill.c ---- */

/* This collection, or (NULL) all, are to be filled anew; `hello` is the next question. */
void mrl_fill_begin(merle_subscriber *s, mrl_chosen *chosen, merle_heard_reason reason);
/* Its pages are asked for again, from the first one on. */
void mrl_fill_again(mrl_chosen *chosen);
/* One of which nothing was there when the others began to be filled: it has no pages. Errors:
 * MERLE_NO_MEMORY. */
merle_err mrl_fill_nothing(merle_subscriber *s, mrl_chosen *chosen, uint64_t seq);
/* The collection whose pages are to be asked for; NULL: all have come. */
mrl_chosen *mrl_fill_next(const merle_subscriber *s);
/* Errors: MERLE_CORRUPT (the page makes no sense), MERLE_NO_MEMORY. */
merle_err mrl_fill_page(merle_subscriber *s, mrl_chosen *chosen, const mrl_wire_answer *page);
/* An operation on a collection that is being filled. */
merle_err mrl_fill_replay(merle_subscriber *s, mrl_chosen *chosen, uint64_t seq, uint32_t position,
                          const mrl_record_operation_view *operation);
/* Everything up to snapshot_seq is there: it is told from now on. */
void mrl_fill_end(merle_subscriber *s);
int mrl_fill_tell(merle_subscriber *s, merle_heard *out_heard);
/* Whether more is held than may be. */
int mrl_fill_is_too_much(const merle_subscriber *s);
/* A copy whose bytes count in what is held. Errors: MERLE_NO_MEMORY. */
merle_err mrl_fill_copy(merle_subscriber *s, mrl_copy **out_copy);

#endif
