/* tests/crash/kill_test.c - a process that writes and is killed, again and again.
 *
 * Aim     Whatever ends a process that has a database open - SIGKILL, exit, _exit, abort, or a
 *         close - the next one finds the state at one seq of what was done: all that was said to be
 *         written or durable, nothing that was refused, no commit in part; merle_check holds.
 * Method  A real directory and real threads. A child opens it, compares it with the ledger
 *         (ledger.h) that its parent has kept, goes on writing from two threads with any
 *         durability, documents that end, unique values and checkpoints, and tells each commit
 *         through a pipe before and after. The parent kills it after so many events, some while it
 *         opens, or it ends by itself; the next child goes on in the same directory.
 * Blind   Power cuts: a killed process leaves to the system what it has written (sim_crash_test.c).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "database/database.h"
#include "tests/crash/ledger.h"
#include "tests/model/seed.h"

enum { ROUNDS = 200, LIFE_TIMEOUT_S = 120, EVENTS_MAX = 500 };

typedef unsigned long long llu;

/* How a child ends. */
typedef enum ending {
    END_KILL = 0,
    END_KILL_OPENING, /* most of them */
    END_EXIT,
    END_QUICK_EXIT,
    END_ABORT,
    END_CLOSE,
    END_COUNT
} ending;
static const char *const ending_names[] = {
    "killed", "killed while opening", "exit", "_exit", "abort", "closed"};

static uint64_t seed;
static char path[96];
static ledger book;
static uint64_t endings[END_COUNT];
static uint64_t opened;

/* ---- the child ---- */

typedef struct child {
    merle_db *db;
    merle_collection *things;
    int pipe;
    ending ending;
    uint32_t commits_max;        /* of worker 0, before it ends by itself */
    merle_durability durability; /* of all commits; 0: any */
    atomic_int is_over;
} child;

typedef struct child_worker {
    child *c;
    uint32_t number;
    uint64_t attempt;
    mrl_random random;
    merle_builder *builder;
    ledger_event event;
} child_worker;

static _Noreturn void child_fail(const child *c, const char *what, merle_err err) {
    ledger_event event = {.kind = LEDGER_TROUBLE};
    (void)snprintf(event.text, sizeof event.text, "%s: %s", what, merle_err_name(err));
    (void)ledger_send(c->pipe, &event);
    _exit(3);
}

static uint64_t below(child_worker *w, uint64_t limit) {
    return mrl_random_below(&w->random, limit);
}

static ledger_op choose_op(child_worker *w) {
    static const int64_t ttls_ms[] = {1, 20, 200, 3000, 60000};
    ledger_op op = {.key = (uint32_t)below(w, LEDGER_KEYS)};
    if (below(w, 4) == 0) return op;
    op.number = 1 + (uint32_t)below(w, 1000000);
    if (below(w, 2) == 0) op.value = 1 + (uint32_t)below(w, LEDGER_VALUES);
    op.filler = below(w, 20) == 0 ? (uint32_t)below(w, 8000) : (uint32_t)below(w, 100);
    if (below(w, 4) == 0) op.expires_ns = ledger_now_ns() + ttls_ms[below(w, 5)] * 1000000;
    return op;
}

static merle_err add_op(child_worker *w, merle_commit *commit, const ledger_op *op) {
    merle_key k;
    merle_bytes key = ledger_key(&k, w->number, op->key);
    if (op->number == 0) return merle_remove(commit, w->c->things, key);
    merle_err err = merle_put(commit, w->c->things, key,
                              ledger_build(w->builder, op->number, op->value, op->filler));
    if (err == MERLE_OK && op->expires_ns != 0)
        err = merle_expire(commit, w->c->things, key, op->expires_ns);
    return err;
}

static merle_commit *build_commit(child_worker *w) {
    ledger_event *e = &w->event;
    merle_commit *commit;
    merle_key k;
    merle_err err = merle_begin(w->c->db, &commit);
    if (err != MERLE_OK) child_fail(w->c, "beginning a commit", err);
    *e = (ledger_event){.kind = LEDGER_INTENT, .worker = w->number, .attempt = ++w->attempt};
    e->durability =
        w->c->durability != 0 ? w->c->durability : (merle_durability)(MERLE_MEMORY + below(w, 4));
    (void)merle_commit_durability(commit, e->durability);
    e->op_count = 1 + (uint32_t)below(w, LEDGER_OPS);
    for (uint32_t i = 0; i < e->op_count && err == MERLE_OK; i++) {
        e->ops[i] = choose_op(w);
        err = add_op(w, commit, &e->ops[i]);
    }
    if (err == MERLE_OK)
        err = merle_put(commit, w->c->things, ledger_marker_key(&k, w->number),
                        ledger_build(w->builder, w->attempt, 0, 0));
    if (err != MERLE_OK) child_fail(w->c, "an operation", err);
    return commit;
}

/* What a write may be answered with when nothing fails. */
static int is_refusal(merle_err err) {
    return err == MERLE_EXISTS || err == MERLE_NOT_FOUND || err == MERLE_CONFLICT;
}

static void make_commit(child_worker *w) {
    ledger_event *e = &w->event;
    merle_commit *commit = build_commit(w);
    if (ledger_send(w->c->pipe, e) != 0) _exit(4);
    merle_err err = merle_end(commit, &e->seq);
    if (err != MERLE_OK && !is_refusal(err)) child_fail(w->c, "a commit", err);
    if (err == MERLE_OK && e->durability == MERLE_SYNC_LATER && below(w, 8) == 0) {
        err = merle_wait_durable(w->c->db, e->seq);
        if (err != MERLE_OK) child_fail(w->c, "waiting for the disk", err);
        e->durability = MERLE_SYNC;
    }
    e->kind = err == MERLE_OK ? LEDGER_DONE : LEDGER_REFUSED;
    uint64_t durable = merle_durable_seq(w->c->db);
    e->written = mrl_log_written_seq(w->c->db->log);
    if (durable > e->written) e->written = durable;
    if (ledger_send(w->c->pipe, e) != 0) _exit(4);
}

static void end_child(child_worker *w) {
    child *c = w->c;
    switch (c->ending) {
    case END_EXIT:
        exit(0);
    case END_QUICK_EXIT:
        _exit(0);
    case END_ABORT:
        abort();
    default:
        atomic_store(&c->is_over, 1);
    }
}

static void *work(void *context) {
    child_worker *w = context;
    child *c = w->c;
    if (merle_builder_create(&w->builder) != MERLE_OK) abort();
    for (uint32_t i = 0; !atomic_load(&c->is_over); i++) {
        if (w->number == 0 && i == c->commits_max) end_child(w);
        make_commit(w);
        if (below(w, 150) == 0) {
            merle_err err = merle_checkpoint(c->db);
            if (err != MERLE_OK) child_fail(c, "a checkpoint", err);
        }
    }
    merle_builder_destroy(w->builder);
    return NULL;
}

static void told(void *context, const char *what, uint64_t done, uint64_t total) {
    const child *c = context;
    ledger_event event = {.kind = LEDGER_AT_IT};
    (void)what, (void)done, (void)total;
    (void)ledger_send(c->pipe, &event);
}

static void child_open(child *c) {
    static const merle_index indexes[] = {{.name = "v", .kind = MERLE_UNIQUE, .on = "v"},
                                          {.name = NULL}};
    static const merle_schema schema = {.version = 1, .indexes = indexes};
    merle_report report = {0};
    ledger_event event;
    merle_options options = {.report = &report,
                             .ring_size = 128 << 10,
                             .log_file_size = 256 << 10,
                             .checkpoint_log_bytes = 400 << 10,
                             .progress = told,
                             .progress_context = c};
    told(c, "", 0, 0);
    merle_err err = merle_open(path, &options, &c->db);
    if (err != MERLE_OK) child_fail(c, report.message, err);
    err = merle_collection_open(c->db, "things", &schema, &c->things);
    if (err != MERLE_OK) child_fail(c, "the collection", err);
    ledger_judge(&book, c->db, c->things, &event);
    if (ledger_send(c->pipe, &event) != 0 || event.kind == LEDGER_TROUBLE) _exit(3);
}

static _Noreturn void live(child *c, uint64_t life_seed) {
    static child_worker workers[LEDGER_WORKERS];
    pthread_t threads[LEDGER_WORKERS];
    ledger_event closed = {.kind = LEDGER_CLOSED};
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)alarm(LIFE_TIMEOUT_S);
    child_open(c);
    for (uint32_t i = 0; i < LEDGER_WORKERS; i++) {
        workers[i] = (child_worker){.c = c, .number = i, .attempt = book.attempts[i]};
        mrl_random_init(&workers[i].random, life_seed + i);
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0) abort();
    }
    for (uint32_t i = 0; i < LEDGER_WORKERS; i++) (void)pthread_join(threads[i], NULL);
    merle_err err = merle_close(c->db);
    if (err != MERLE_OK) child_fail(c, "closing", err);
    for (uint32_t i = 0; i < LEDGER_WORKERS; i++)
        if (workers[i].event.seq > closed.seq) closed.seq = workers[i].event.seq;
    (void)ledger_send(c->pipe, &closed);
    _exit(0);
}

/* ---- the parent ---- */

/* An event, or 0 at the pipe's end. A part of one cannot be. */
static int next_event(int fd, ledger_event *out) {
    size_t got = 0;
    while (got < sizeof *out) {
        ssize_t more = read(fd, (char *)out + got, sizeof *out - got);
        if (more < 0 && errno == EINTR) continue;
        if (more <= 0) {
            assert_int_equal(got, 0);
            return 0;
        }
        got += (size_t)more;
    }
    return 1;
}

/* Reads to the pipe's end, and kills the child after so many events. */
static int watch(pid_t pid, int fd, uint64_t events_max) {
    ledger_event event;
    int is_opened = 0;
    for (uint64_t count = 1; next_event(fd, &event); count++) {
        ledger_take(&book, &event);
        is_opened |= event.kind == LEDGER_OPENED;
        if (count == events_max) assert_int_equal(kill(pid, SIGKILL), 0);
    }
    return is_opened;
}

static void assert_ended(pid_t pid, ending how) {
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (book.trouble[0] != 0) fail_msg("%s", book.trouble);
    if (how == END_KILL || how == END_KILL_OPENING)
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    else if (how == END_ABORT)
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    else
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void run_life(mrl_random *random, ending how) {
    int ends[2];
    uint64_t life_seed = mrl_random_next(random), events_max = UINT64_MAX;
    child c = {.ending = how,
               .commits_max = (uint32_t)mrl_random_below(random, EVENTS_MAX / 2),
               .durability = (merle_durability)mrl_random_below(random, MERLE_SYNC_LATER + 3)};
    if (c.durability > MERLE_SYNC_LATER) c.durability = MERLE_DURABILITY_DEFAULT;
    if (how == END_KILL) events_max = 1 + mrl_random_below(random, EVENTS_MAX);
    if (how == END_KILL_OPENING) events_max = 1 + mrl_random_below(random, 8);
    if (how == END_KILL || how == END_KILL_OPENING) c.commits_max = UINT32_MAX;
    assert_int_equal(pipe(ends), 0);
    (void)fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        for (int s = 1; s < 32; s++) (void)signal(s, SIG_DFL);
        (void)close(ends[0]);
        c.pipe = ends[1];
        live(&c, life_seed);
    }
    (void)close(ends[1]);
    int is_opened = watch(pid, ends[0], events_max);
    (void)close(ends[0]);
    assert_ended(pid, how);
    opened += (uint64_t)is_opened;
    if (!is_opened) book.is_opening_unknown = 1;
    endings[how]++;
}

static void tell(void) {
    for (int i = 0; i < END_COUNT; i++) test_say("%s: %llu", ending_names[i], (llu)endings[i]);
    test_say("%llu openings compared, up to seq %llu", (llu)opened, (llu)book.promised_seq);
    test_say(
        "%llu commits (%llu memory, %llu async, %llu sync, %llu sync later), %llu refused, %llu "
        "lost that were not written",
        (llu)book.commits, (llu)book.by_durability[MERLE_MEMORY],
        (llu)book.by_durability[MERLE_ASYNC], (llu)book.by_durability[MERLE_SYNC],
        (llu)book.by_durability[MERLE_SYNC_LATER], (llu)book.refused, (llu)book.lost);
}

static void killed_process_loses_nothing_that_it_had_written(void **state) {
    char root[] = "/tmp/merle-kill-XXXXXX", command[64];
    mrl_random random;
    (void)state;
    assert_non_null(mkdtemp(root));
    (void)snprintf(path, sizeof path, "%s/world", root);
    mrl_random_init(&random, seed);
    for (uint64_t i = 0; i < test_amount(ROUNDS); i++) {
        uint64_t dice = mrl_random_below(&random, 20);
        ending how = dice < 10   ? END_KILL
                     : dice < 13 ? END_KILL_OPENING
                                 : (ending)(END_EXIT + mrl_random_below(&random, 4));
        run_life(&random, how);
    }
    run_life(&random, END_CLOSE);
    run_life(&random, END_CLOSE);
    tell();
    assert_true(opened > endings[END_KILL] / 2);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_process_loses_nothing_that_it_had_written)};
    seed = test_seed();
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "--seed=", 7) == 0) seed = strtoull(argv[i] + 7, NULL, 0);
    test_say("seed %llu", (llu)seed);
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("crash/kill", tests, NULL, NULL);
}
