/* tests/crash/oracle.h - what a database that is crashed again and again has to be.
 *
 * What    Knows every commit that was begun, what it does to a plain state, its seq if the call
 *         came back, and what was acknowledged as durable. After a reopening it tells whether the
 *         database is exactly the state at one seq that is not below what was promised, and goes
 *         on from there.
 *         A commit that the crash has caught says by itself whether it was applied: each commit
 *         writes its number into a marker document of its worker, in the same instant.
 *         What each seq changed it remembers beyond reopenings (history.h), for those who read the
 *         log.
 * Owns    its states and notes.
 * Threads one.
 * Limits  ORACLE_WORKER_MAX workers; one of them alone defines things; ORACLE_NOTE_MAX writes
 *         between two reopenings.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_CRASH_ORACLE_H
#define TESTS_CRASH_ORACLE_H

#include "database/database.h"
#include "tests/crash/history.h"
#include "tests/model/plain.h"

enum {
    ORACLE_WORKER_MAX = 3,
    ORACLE_OP_MAX = 10,
    ORACLE_NOTE_MAX = 4096,
    ORACLE_NAME_COUNT = 5,     /* names of collections */
    ORACLE_PLAIN_COUNT = 4,    /* the first of them have documents of the plain model */
    ORACLE_SESSION_COUNT = 12, /* keys of the last one, whose documents end */
    ORACLE_KEY_COUNT = PLAIN_KEY_COUNT - ORACLE_WORKER_MAX, /* the keys behind are markers */
    ORACLE_EXTRA_COUNT = 2,                                 /* indexes that come and go */
    ORACLE_NONE = PLAIN_COLLECTION_MAX
};

/* The first collection has the markers and stays; the second is in memory only; the third is
 * dropped and made again; the fourth is filled by bulk loads more often than others; documents of
 * the last have an end. */
typedef enum oracle_name {
    NAME_FIRST = 0,
    NAME_MEMORY,
    NAME_SECOND,
    NAME_LOADED,
    NAME_SESSIONS
} oracle_name;
extern const char *const oracle_names[ORACLE_NAME_COUNT];
extern const merle_index oracle_extras[ORACLE_EXTRA_COUNT];
const merle_schema *oracle_schema(uint32_t name);

typedef enum note_kind {
    NOTE_COMMIT = 0,
    NOTE_DEFINE,
    NOTE_TRUNCATE,
    NOTE_DROP,
    NOTE_INDEX_ADD,
    NOTE_INDEX_DROP,
    NOTE_LOAD
} note_kind;

typedef enum note_fate {
    NOTE_OPEN = 0, /* the call has not come back, or said that it does not know */
    NOTE_DONE,     /* it came back with a seq */
    NOTE_REFUSED
} note_fate;

/* One write. */
typedef struct note {
    note_kind kind;
    note_fate fate;
    uint64_t seq;
    uint64_t after_seq; /* published when it was begun: its own is higher */
    uint32_t worker;
    uint32_t attempt; /* of a commit or load: its number among the worker's */
    uint32_t collection;
    uint32_t name;    /* of a definition */
    uint32_t extra;   /* of an index */
    int may_be_lost;  /* acknowledged in ASYNC */
    int is_guessed;   /* that it was done is known, its seq is not */
    uint64_t bytes;   /* at least so many has its record */
    uint32_t session; /* of a commit: the number of a key in the last collection, from 1; 0: none */
    int64_t session_expires_ns; /* SESSION_REMOVED: it is removed */
    uint32_t op_count;
    plain_op ops[ORACLE_OP_MAX + 1];
    plain_doc **loaded; /* of a load: what each key has then; malloc */
} note;
#define SESSION_REMOVED INT64_MIN

/* A document that ends. */
typedef struct session_cell {
    uint64_t seq; /* 0: there is none */
    int64_t expires_ns;
} session_cell;

/* All that a database is at one seq. */
typedef struct world {
    plain_state *plain;
    uint32_t current[ORACLE_NAME_COUNT];   /* which collection has a name; ORACLE_NONE */
    uint32_t extras[PLAIN_COLLECTION_MAX]; /* bits */
    session_cell sessions[ORACLE_SESSION_COUNT];
} world;

typedef struct oracle {
    world base;
    uint64_t base_seq;
    uint64_t promised_seq; /* acknowledged as durable */
    uint64_t last_seq;     /* published when the machine stopped */
    uint64_t unsynced_max;
    uint32_t attempts[ORACLE_WORKER_MAX];
    uint64_t ids[PLAIN_COLLECTION_MAX];     /* the highest given for good */
    uint64_t new_ids[PLAIN_COLLECTION_MAX]; /* the highest given since the reopening, */
    uint32_t note_count;
    uint64_t lost;     /* commits that were published and did not come back, in all */
    char trouble[512]; /* what is wrong; empty: nothing */
    note *notes;
    uint32_t collection_ids[PLAIN_COLLECTION_MAX]; /* merle's numbers, of those that have a name */
    history *history;
    world now; /* as learnt up to history's last seq */
} oracle;

oracle *oracle_create(void);
void oracle_destroy(oracle *o);
/* The first thing that is wrong stays. */
__attribute__((format(printf, 2, 3))) void oracle_trouble(oracle *o, const char *format, ...);

merle_bytes oracle_session_key(uint32_t session); /* static memory */
/* Notes down a write before it is called. */
note *oracle_note(oracle *o, note_kind kind, uint32_t worker, uint64_t published);
void oracle_done(oracle *o, note *n, uint64_t seq);
void oracle_refused(oracle *o, note *n);
void oracle_promise(oracle *o, uint64_t seq);
/* What commits did is put into the history, up to the first write that has not come back. */
void oracle_learn(oracle *o, merle_db *db);
/* The database goes back to a commit: what came later is undone, whatever was promised of it. */
void oracle_go_back(oracle *o, uint64_t seq);
/* An unused collection; ORACLE_NONE: there is none before the next reopening. */
uint32_t oracle_new_collection(const oracle *o);

/* The database was opened: is it what it has to be? Goes on from there. 0: yes. */
int oracle_judge(oracle *o, merle_db *db);
/* The database runs, and no write is under way: is it what it has to be? */
int oracle_compare(oracle *o, merle_db *db);
/* An earlier commit of this life, and the world that it left. */
typedef struct oracle_earlier {
    uint64_t seq; /* 0: none */
    world world;  /* freed with world_free */
} oracle_earlier;
/* A copy was made while the database ran: is it what that was at its seq? *out_world is what the
 * copy has to be from then on; freed with world_free. earlier->seq is given, and made 0 where that
 * world is not known. */
int oracle_compare_copy(oracle *o, merle_db *copy, world *out_world, oracle_earlier *earlier);
/* Another database has to be this world, which had `seq`. */
int oracle_compare_world(oracle *o, const world *w, uint64_t seq, merle_db *db);
void world_free(world *w);

#endif
