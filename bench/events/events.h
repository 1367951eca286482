/* bench/events/events.h - the phases in which changes reach other processes.
 *
 * What    backlog, paced, idle, audience of bench/README.md for merle, and the floors under them:
 *         the same bytes by nng alone. (watch.c, in process, is a program of its own.)
 * Owns    a page of memory that the process which writes shares with those that hear.
 * Sees    Whoever hears is a process of its own, started with `--role`. It compares what comes with
 *         what it expects, change by change; a difference ends both processes.
 * Threads one phase at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef BENCH_EVENTS_EVENTS_H
#define BENCH_EVENTS_EVENTS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <merle/merle.h>
#include <merle/publish.h>

#define EVENTS_URL_SIZE 256u
#define EVENTS_POSITION_SIZE 1024u
#define EVENTS_MARK_MAX (1u << 22)
#define EVENTS_LISTENER_MAX 16u
#define EVENTS_PUSH_COUNT 64u /* changes in a message of the floor */
#define EVENTS_KEY_COUNT 10000u

/* A fault that the checks must find: the third change is not heard, or heard twice. */
typedef enum events_plant {
    EVENTS_PLANT_NONE,
    EVENTS_PLANT_LOSE,
    EVENTS_PLANT_DOUBLE
} events_plant;

/* One who hears: what it has heard so far, written by it alone. */
typedef struct events_listener {
    _Atomic uint32_t is_ready; /* it has been greeted: what comes now it will hear */
    _Atomic uint64_t heard;    /* changes, in order, none left out */
    _Atomic uint64_t gaps, lost;
    uint64_t first_seq, last_seq;
    uint64_t begin_ns, end_ns; /* of a backlog: when it began to ask, when it had the last one */
    uint64_t processor_ns;     /* that it took for that, all its threads */
} events_listener;

/* What the processes of a phase share. */
typedef struct events_page {
    char news[EVENTS_URL_SIZE];
    char service[EVENTS_URL_SIZE];
    char raw[EVENTS_URL_SIZE];
    uint64_t expected;  /* changes that a listener waits for */
    uint32_t plant;     /* an events_plant: what goes wrong on purpose */
    uint32_t has_marks; /* 1: how long each was on its way is kept, in lag_ns */
    uint32_t position_size;
    uint8_t position[EVENTS_POSITION_SIZE];
    _Atomic uint32_t is_begun; /* what a listener waits for, if it is to begin later */
    _Atomic uint32_t is_over;
    uint64_t first_seq; /* of the change whose mark is the first */
    events_listener listeners[EVENTS_LISTENER_MAX];
    _Atomic uint64_t raw_heard;
    uint64_t raw_end_ns, raw_processor_ns;
    _Atomic uint64_t mark_ns[EVENTS_MARK_MAX]; /* just before the commit was ended */
    uint32_t lag_ns[EVENTS_MARK_MAX];
    _Atomic uint64_t raw_mark_ns;
    uint32_t raw_lag_ns[1u << 16];
} events_page;

typedef struct events_options {
    const char *transport; /* ipc or tcp */
    uint32_t count;        /* changes of a backlog */
    uint32_t samples;      /* of idle */
    uint32_t rounds;       /* of audience, and how many commits each time */
    uint32_t commits;
    uint32_t rate; /* changes a second of paced, and for how long */
    double seconds;
    uint32_t audience; /* of `count`: who listens while instructions are counted */
    unsigned is_stopped;
    events_plant plant;
} events_options;

/* ---- stage.c: the page, other processes, the database ---- */

extern events_page *page;
void events_page_make(const events_options *options);
void events_page_take(int fd);
pid_t events_start(const char *role, unsigned index);
/* Waits for it; dies if it did not end well. */
void events_end(pid_t pid);
/* Waits until *number is at least `least`; dies if that takes too long. */
void events_await(const _Atomic uint64_t *number, uint64_t least, const char *what);
void events_await_flag(const _Atomic uint32_t *flag, const char *what);
void events_nap(uint64_t ns);
/* Processor time of this process so far. */
uint64_t events_processor_ns(void);

typedef struct events_stage {
    merle_db *db;
    merle_collection *players;
    merle_publisher *publisher; /* NULL: nobody is told */
} events_stage;
void events_check(merle_err err, const char *what);
void events_stage_open(events_stage *stage);
void events_publish(events_stage *stage, const char *transport);
void events_stage_close(events_stage *stage);
/* So many single commits, one change each; returns the seq of the last. */
uint64_t events_commit(const events_stage *stage, size_t count);
/* One, whose moment is kept as the mark of that number. */
void events_commit_marked(const events_stage *stage, size_t mark);
/* Bytes of one such change as it goes over the wire. */
size_t events_change_size(const events_stage *stage);
/* Waits for a phase, and removes the sockets that it leaves behind if it fails. */
void events_files_remove(pid_t pid);
void events_url(char *out_url, const char *transport, const char *name);

/* ---- hear.c: who hears ---- */

/* Listens from now on until it has as many as are expected. */
void events_hear(unsigned index);
/* Notes where it stands, waits until it may begin, and fetches what was missed. */
void events_resume(unsigned index);

/* ---- raw.c: nng alone ---- */

typedef struct events_raw events_raw;
events_raw *events_raw_open(const char *transport); /* the pushing end; the url is in the page */
void events_raw_send(events_raw *raw, const void *bytes, size_t size);
/* The same, its moment kept. */
void events_raw_send_marked(events_raw *raw, const void *bytes, size_t size);
void events_raw_close(events_raw *raw);
/* The pulling end: messages until `expected` of them have come. */
void events_raw_hear(void);

/* ---- phases.c ---- */

void events_backlog(const events_options *options);
void events_raw_backlog(const events_options *options);
void events_paced(const events_options *options);
void events_idle(const events_options *options);
void events_audience(const events_options *options);
void events_count(const events_options *options);

#endif
