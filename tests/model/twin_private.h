/* tests/model/twin_private.h - what the two halves of the model twin share: doing and comparing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_MODEL_TWIN_PRIVATE_H
#define TESTS_MODEL_TWIN_PRIVATE_H

#include "tests/model/twin.h"

enum { TWIN_READ_MAX = 8, TWIN_CHANGES_MAX = 16384 };

typedef enum twin_event_kind {
    TWIN_COMMIT = 0,
    TWIN_AT_ONCE, /* an operation and what it answered at once */
    TWIN_READ,    /* in a section */
    TWIN_COUNT,
    TWIN_SCAN,
    TWIN_ONE_GET,
    TWIN_DEFINE
} twin_event_kind;

typedef enum twin_gives { TWIN_GIVES_NOTHING = 0, TWIN_GIVES_BEFORE, TWIN_GIVES_AFTER } twin_gives;

typedef struct twin_read {
    uint32_t collection;
    uint32_t key; /* asked for */
    uint32_t is_unique, index;
    plain_value values[2];
    uint32_t op_count;               /* in a commit: how many operations came before */
    uint64_t life_seq, life_seq_end; /* in a commit: published before and after the call */
    merle_err err;
    uint32_t seen_key;
    uint64_t seq, hash;
} twin_read;

struct twin_event {
    struct twin_event *next;
    twin_event_kind kind;
    uint64_t lo, hi; /* published seq before and after the call */
    uint64_t section_seq;
    uint64_t seq; /* of a successful write */
    merle_err err;
    uint32_t collection;
    uint32_t is_cancelled, is_one, is_read_failed;
    merle_change_kind definition;
    twin_gives gives;
    uint64_t given_hash;
    uint64_t count;
    uint32_t op_count, read_count;
    uint32_t named; /* a bit for each collection that an operation, also a refused one, named */
    plain_op ops[TWIN_OP_MAX];
    twin_read reads[TWIN_READ_MAX];
    uint64_t scanned[PLAIN_KEY_COUNT];
};

typedef struct twin_change {
    uint64_t seq;
    uint64_t gap_last;
    uint32_t is_gap;
    merle_change_kind kind;
    uint32_t position, count;
    uint32_t collection, collection_id, key;
    uint64_t after, before;
} twin_change;

/* What the history says about one seq. */
typedef struct twin_log {
    merle_change_kind kind; /* 0: nobody said; MERLE_CHANGE_PUT: a commit of documents */
    uint32_t collection;
    uint32_t change_count;
    uint32_t op_count;
} twin_log;

struct twin {
    twin_options options;
    sim *simulator;
    merle_db *db;
    uint32_t key_count;
    uint32_t collection_count;
    int dropped[2];      /* and that one is gone */
    uint32_t current[2]; /* which collection stands under which name */
    merle_collection *collections[PLAIN_COLLECTION_MAX];
    uint64_t last_ids[PLAIN_COLLECTION_MAX];
    twin_event *events, **events_last;
    merle_changes *cursor;
    int64_t last_time_ns;
    uint32_t change_count, changes_verified;
    uint64_t cursor_seq; /* verified up to here */
    uint64_t cursor_open_seq;
    uint64_t lack_seq; /* the last commit behind it without its images */
    uint32_t lack_count;
    uint32_t cursor_position;
    int has_failed;
    uint64_t state_last;
    plain_state *states[TWIN_SEQ_MAX];
    twin_log log[TWIN_SEQ_MAX];
    twin_change changes[TWIN_CHANGES_MAX];
};

__attribute__((format(printf, 2, 3))) void twin_fail(twin *run, const char *format, ...);
void twin_poll(twin_worker *worker, int all);
/* Opens what the run's options say: run->db, NULL if it fails. */
merle_err twin_open_database(twin *run);
extern const char *const twin_names[2];

#endif
