/* base/seam.h - the seams: small tables of functions behind which a simulator can stand.
 *
 * What    clock, scheduler, refusal of memory and (base/file.h) files, each a struct of functions
 *         with its own context.
 * Owns    nothing. A NULL table means the real thing.
 * Threads the real implementations: any.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_BASE_SEAM_H
#define MRL_BASE_SEAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/file.h"

/* For the few words that the library keeps for each thread: placed where a program's own are, so
 * that a read is one instruction also from a shared library. (There is room for some hundred bytes
 * of them even where the library is loaded late.) */
#define MRL_THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))

typedef struct mrl_clock {
    void *context;
    uint64_t (*monotonic_ns)(void *context);
    int64_t (*wall_ns)(void *context); /* since 1970 */
} mrl_clock;

/* The machine's own clock. */
extern const mrl_clock mrl_clock_system;

/* Stands in for the operating system's scheduler: all workers are coroutines of one thread. The
 * worker that calls is the one that runs; a call returns when the scheduler lets that worker run
 * again. */
typedef struct mrl_scheduler {
    void *context;
    /* A named place at which another worker may run first. */
    void (*point)(void *context, const char *name);
    /* The worker cannot go on before somebody wakes this address. May return early. */
    void (*wait)(void *context, const void *address);
    /* Those who wait at this address may run again. */
    void (*wake)(void *context, const void *address);
} mrl_scheduler;

/* Asked before each allocation of the database: non-zero refuses it, as if no memory were left. */
typedef struct mrl_refusal {
    void *context;
    int (*refuses)(void *context, size_t size);
} mrl_refusal;

/* Everything that a database takes from outside; zero-filled: the real things. */
typedef struct mrl_environment {
    const mrl_clock *clock;         /* NULL: mrl_clock_system */
    const mrl_scheduler *scheduler; /* NULL: threads of the operating system */
    const mrl_refusal *refusal;     /* NULL: only limit and allocator refuse */
    const mrl_files *files;         /* NULL: mrl_files_system */
    uint64_t hash_seed;             /* 0: random */
    uint64_t database_id[2];        /* 0, 0: random */
} mrl_environment;

#endif
