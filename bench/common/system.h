/* bench/common/system.h - what a system must offer in order to be measured.
 *
 * What    one table of functions a system: merle, a peer, or a floor. A phase calls only these, so
 *         that every system does the same work in the same order. A NULL function: the system
 *         cannot do that, and the phases that need it are left out with a note.
 * Owns    the system owns its store between open and close; one store a process.
 * Threads open, close, settle: one thread, no others. All others: any thread, with what
 *         thread_begin gave to that thread; writes from at most writer_max threads.
 *
 * A function that finds anything else than it may find (an error, a torn document) calls bench_die.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef BENCH_COMMON_SYSTEM_H
#define BENCH_COMMON_SYSTEM_H

#include <stddef.h>
#include <stdint.h>

#include "bench/common/record.h"

typedef enum bench_answer { BENCH_NO = 0, BENCH_YES = 1 } bench_answer;
typedef enum bench_background {
    BENCH_BACKGROUND_DEFAULT = 0,
    BENCH_BACKGROUND_NONE = 1
} bench_background;

/* What an accepted change means where there are files: it will be on stable storage soon, or it is
 * there already. */
typedef enum bench_durability { BENCH_DURABLE_SOON = 0, BENCH_DURABLE_FIRST = 1 } bench_durability;

/* What the store is to hold. */
typedef struct bench_setup {
    uint32_t count;   /* documents, about */
    unsigned entries; /* index entries a document: BENCH_ENTRIES_FEW or BENCH_ENTRIES_ALL */
    bench_background background;
    const char *directory; /* for its files, there already; NULL: in memory only */
    bench_durability durability;
} bench_setup;
#define BENCH_ENTRIES_FEW 2u /* name and email, both unique */
#define BENCH_ENTRIES_ALL 5u /* and score in order, and two tags: guild and language */

/* What a query has touched: how many documents, their scores, and the same weighed by the place at
 * which each came, so that a wrong order shows too. */
typedef struct bench_sight {
    uint64_t count;
    uint64_t score_sum;
    uint64_t order_sum;
} bench_sight;

static inline void bench_sight_score(bench_sight *sight, uint64_t score) {
    sight->score_sum += score;
    sight->order_sum += ++sight->count * score;
}
/* Touches a document: its score is read out of its bytes. */
static inline void bench_sight_doc(bench_sight *sight, const void *bytes) {
    size_t size;
    bench_sight_score(sight, bench_score_read(bytes, &size));
}

/* A part of the memory in bytes, or of the time in nanoseconds, as the system itself counts it. */
typedef struct bench_part {
    const char *name;
    uint64_t bytes;
} bench_part;

/* What a system with files can do beside storing. NULL where it cannot. */
typedef struct bench_disk {
    /* An insert that is not waited for, though its sync is asked for: gives its place in the log,
     * from 1 and growing; 0: refused. */
    uint64_t (*insert_later)(void *thread, const bench_record *record);
    /* Comes back when everything up to this place is on stable storage. */
    void (*durable_wait)(void *thread, uint64_t place);
    /* The last place that is there, and a descriptor that can be read when it has moved. */
    uint64_t (*durable_place)(void *thread);
    int (*durable_descriptor)(void *thread);
    /* The last place; everything accepted so far is at it or before it. */
    uint64_t (*place)(void *thread);
    uint64_t (*log_bytes)(void); /* written to log files since the opening */
    /* Writes down everything there is, so that the log is not needed. Comes back when done. */
    void (*checkpoint)(void *thread);
    const char *log_prefix; /* names of files that are no part of a checkpoint begin so */
    /* What the opening took, by part, in nanoseconds; returns how many parts. */
    size_t (*opening)(bench_part *out_parts, size_t part_max);
    /* A document that ends by itself after so long; how many have ended so far, how many are to,
     * and for how long the oldest has been due that is still there. */
    bench_answer (*insert_for)(void *thread, const bench_record *record, int64_t ttl_ns);
    void (*expiry)(uint64_t *out_ended, uint64_t *out_pending, uint64_t *out_lag_ns);
} bench_disk;

typedef struct bench_system {
    const char *name;
    const char *about; /* one line for the record: version and how it is set up */
    unsigned reader_max;
    unsigned writer_max;
    unsigned has_unique; /* 1: refuses a taken name or email */
    unsigned op_divisor; /* does only so small a part of each phase, lest a run take hours; 0: 1 */

    void (*open)(const bench_setup *setup);
    void (*close)(void);
    void *(*thread_begin)(void);
    void (*thread_end)(void *thread);
    void (*settle)(void); /* does all background work that is left */

    /* BENCH_NO: refused, the key, name or email is taken. */
    bench_answer (*insert)(void *thread, const bench_record *record);
    /* BENCH_NO: there is none. The score is read from the document. */
    bench_answer (*get)(void *thread, const char *key, uint64_t *out_score);
    /* How many were found, and the sum of their scores. */
    size_t (*get_many)(void *thread, const char (*keys)[BENCH_KEY_SIZE + 1], size_t key_count,
                       uint64_t *out_score_sum);
    bench_answer (*get_by_email)(void *thread, const char *email, uint64_t *out_score);
    /* Queries; those of a store with all entries. They add what they touch to out_sight.
     * Scores from the first up to, without, the second, ascending; the `most` highest scores that
     * are no higher than the given one, descending; a guild; a guild and a language. */
    void (*range)(void *thread, uint64_t score_from, uint64_t score_to, bench_sight *out_sight);
    void (*top)(void *thread, uint64_t score, size_t most, bench_sight *out_sight);
    void (*tag)(void *thread, const char *guild, bench_sight *out_sight);
    void (*tagand)(void *thread, const char *guild, uint32_t lang, bench_sight *out_sight);
    /* A whole new document under a key that is there. */
    void (*update)(void *thread, const bench_record *record);
    /* gold one higher, one change. */
    void (*patch)(void *thread, const char *key);
    /* The same for many keys in one commit. */
    void (*patch_many)(void *thread, const char (*keys)[BENCH_KEY_SIZE + 1], size_t key_count);
    bench_answer (*remove)(void *thread, const char *key);
    /* For checking, outside of what is measured. */
    uint64_t (*gold)(void *thread, const char *key);
    uint64_t (*count)(void *thread);

    /* Counted bytes by part; returns how many parts. */
    size_t (*memory)(bench_part *out_parts, size_t part_max);
    /* The most table entries that one insert copied. */
    uint64_t (*entries_copied_max)(void);
    const bench_disk *disk; /* NULL: it has no files */
} bench_system;

extern const bench_system bench_btree;
extern const bench_system bench_idlist;
extern const bench_system bench_ck_hs;
extern const bench_system bench_ck_hs_tag;
extern const bench_system bench_merle;
extern const bench_system bench_lmdb;
extern const bench_system bench_sqlite;

#endif
