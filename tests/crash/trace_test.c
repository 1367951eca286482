/* tests/crash/trace_test.c - writes and syncs of a real file system that fail.
 *
 * Aim     When a write or a sync of the log fails, the commit that waits for it is told that it is
 *         not durable, the next ones that the database is read-only, with the reason; reads and
 *         merle_check go on, and closing says it again. Where a checkpoint or an opening fails, it
 *         alone fails. An opening afterwards finds all that was acknowledged and nothing that was
 *         refused, whichever call it was.
 * Method  This program is run anew under strace, which makes the n-th call of a kind fail, for each
 *         n, with the library's threads and without; it tells what it was answered through a pipe.
 *         All runs have one directory. Where strace is not there, or may not trace, nothing is
 *         tested, and that is said.
 * Blind   What a disk that fails has lost: the simulated one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "database/database.h"
#include "tests/model/seed.h"

enum { COMMITS = 12, KEY_MAX = 20000, CALLS_MAX = 40, LIFE_TIMEOUT_S = 60, PIPE_FD = 9 };

/* What the parent knows of a key. */
typedef enum fate { ABSENT = 0, PRESENT, EITHER } fate;
static uint8_t fates[KEY_MAX];
static uint32_t key_next;
static char root[] = "/tmp/merle-trace-XXXXXX", path[64];

/* What a run tells. */
typedef struct answer {
    uint32_t key; /* UINT32_MAX: the opening, a checkpoint, or the end */
    merle_err err;
} answer;

/* ---- the traced program; there is no cmocka in it ---- */

#define MUST(what) \
    ((what) ? (void)0 : (test_say("line %d: %s", __LINE__, #what), (void)fflush(stdout), _exit(1)))

static void tell(uint32_t key, merle_err err) {
    answer a = {key, err};
    MUST(write(PIPE_FD, &a, sizeof a) == (ssize_t)sizeof a);
}

static merle_err open_db(merle_threads threads, merle_report *report, merle_db **out_db,
                         merle_collection **out_things) {
    merle_options options = {.threads = threads,
                             .report = report,
                             .log_file_size = 64 << 10,
                             .ring_size = 64 << 10,
                             .checkpoint_log_bytes = UINT64_MAX};
    merle_err err = merle_open(path, &options, out_db);
    if (err == MERLE_OK) merle_report_to(*out_db, report);
    if (err != MERLE_OK) return err;
    err = merle_collection_open(*out_db, "things", NULL, out_things);
    return err == MERLE_READ_ONLY || err == MERLE_NOT_DURABLE ? MERLE_OK : err;
}

static merle_err put(merle_db *db, merle_collection *things, uint32_t number) {
    static uint8_t doc[3000] = {
        0x81, 0xa1, 't', 0xda, (sizeof doc - 6) >> 8, (sizeof doc - 6) & 255};
    merle_commit *commit;
    merle_key key;
    merle_err err = merle_begin(db, &commit);
    if (err != MERLE_OK) return err;
    MUST(merle_commit_durability(commit, MERLE_SYNC) == MERLE_OK);
    MUST(merle_put(commit, things, merle_key_u64(&key, number), merle_bytes_of(doc, sizeof doc)) ==
         MERLE_OK);
    return merle_end(commit, NULL);
}

/* Writers are told why; readers do not notice. */
static void stay_read_only(merle_db *db, merle_collection *things, uint32_t first, uint32_t end,
                           merle_report *report) {
    merle_section s;
    merle_key key;
    for (int i = 0; i < 3; i++) {
        *report = (merle_report){0};
        merle_err err = put(db, things, end + 1);
        tell(end + 1, err);
        MUST(err == MERLE_READ_ONLY);
        MUST(strstr(report->message, "failed: ") != NULL);
    }
    MUST(merle_section_begin(db, &s) == MERLE_OK);
    for (uint32_t i = first; i < end; i++)
        MUST(merle_exists(&s, things, merle_key_u64(&key, i)) == MERLE_OK);
    MUST(merle_section_end(&s) == MERLE_OK);
    MUST(merle_check(db, report) == MERLE_OK);
    MUST(merle_checkpoint(db) != MERLE_OK);
    MUST(merle_close(db) == MERLE_NOT_DURABLE);
}

static int run_traced(merle_threads threads, uint32_t first) {
    merle_report report = {0};
    merle_db *db;
    merle_collection *things;
    (void)alarm(LIFE_TIMEOUT_S);
    merle_err err = open_db(threads, &report, &db, &things);
    tell(UINT32_MAX, err);
    if (err != MERLE_OK) {
        MUST(err == MERLE_SYSTEM || err == MERLE_NO_SPACE || err == MERLE_READ_ONLY);
        MUST(report.message[0] != 0);
        return 0;
    }
    for (uint32_t i = 0; i < COMMITS; i++) {
        err = put(db, things, first + i);
        tell(first + i, err);
        if (err != MERLE_OK) {
            MUST(err == MERLE_NOT_DURABLE || err == MERLE_READ_ONLY || err == MERLE_NO_SPACE);
            if (err == MERLE_NO_SPACE) continue;
            stay_read_only(db, things, first, first + i, &report);
            return 0;
        }
        if (i != COMMITS / 2) continue;
        /* It may fail alone. */
        err = merle_checkpoint(db);
        MUST(err == MERLE_OK || report.message[0] != 0);
    }
    err = merle_close(db);
    MUST(err == MERLE_OK || err == MERLE_NOT_DURABLE);
    return 0;
}

/* Whether a sync fails here as it was asked to. */
static int run_probe(void) {
    int fd = open(root, O_RDONLY | O_DIRECTORY);
    return fd >= 0 && fdatasync(fd) != 0 && errno == EIO ? 0 : 1;
}

/* ---- the parent ---- */

typedef struct injection {
    const char *call, *error;
    uint32_t when;
} injection;

/* This program under strace, with a pipe at its end; gives the pid. */
static pid_t run_under_strace(const injection *in, const char *mode, const char *argument,
                              int pipe_fd) {
    char trace[64], inject[96];
    (void)snprintf(trace, sizeof trace, "trace=%s", in->call);
    (void)snprintf(inject, sizeof inject, "inject=%s:error=%s:when=%u", in->call, in->error,
                   in->when);
    (void)fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid != 0) return pid;
    if (pipe_fd >= 0 && dup2(pipe_fd, PIPE_FD) < 0) _exit(98);
    /* Leaks cannot be looked for by one who is traced. */
    (void)setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
    char self[128];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    if (size < 0) _exit(98);
    self[size] = 0;
    (void)execlp("strace", "strace", "-f", "-q", "-o", "/dev/null", "-e", trace, "-e", inject, self,
                 mode, root, argument, (char *)NULL);
    _exit(99);
}

static int status_of(pid_t pid) {
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int may_trace(void) {
    injection in = {"fdatasync", "EIO", 1};
    int status = status_of(run_under_strace(&in, "--probe", "0", -1));
    if (status == 0) return 1;
    test_say("SKIPPED, nothing was tested: %s",
             status == 99 ? "strace is not installed" : "strace may not trace, or cannot inject");
    return 0;
}

static void take(const answer *a, uint64_t counts[MERLE_NOT_READY + 1]) {
    counts[a->err]++;
    if (a->key == UINT32_MAX) return;
    assert_true(a->key < KEY_MAX);
    if (a->key >= key_next) key_next = a->key + 1;
    if (a->err == MERLE_OK) fates[a->key] = PRESENT;
    if (a->err == MERLE_NOT_DURABLE) fates[a->key] = EITHER;
}

static void judge(const injection *in) {
    merle_report report = {0};
    merle_db *db;
    merle_collection *things;
    merle_section s;
    merle_key key;
    merle_err err = open_db(MERLE_THREADS_NONE, &report, &db, &things);
    if (err != MERLE_OK) fail_msg("%s %u: %s", in->call, in->when, report.message);
    if (merle_check(db, &report) != MERLE_OK) fail_msg("%s", report.message);
    assert_int_equal(merle_section_begin(db, &s), MERLE_OK);
    for (uint32_t i = 0; i < key_next; i++) {
        err = merle_exists(&s, things, merle_key_u64(&key, i));
        if (fates[i] == EITHER) fates[i] = err == MERLE_OK ? PRESENT : ABSENT;
        if (err != (fates[i] == PRESENT ? MERLE_OK : MERLE_NOT_FOUND))
            fail_msg("%s %u: key %u: %s", in->call, in->when, i, merle_err_name(err));
    }
    assert_int_equal(merle_section_end(&s), MERLE_OK);
    assert_int_equal(merle_close(db), MERLE_OK);
}

static void run_one(const injection *in, merle_threads threads,
                    uint64_t counts[MERLE_NOT_READY + 1]) {
    int ends[2];
    char argument[32];
    answer a;
    assert_int_equal(pipe(ends), 0);
    (void)snprintf(argument, sizeof argument, "%u %d", key_next, (int)threads);
    pid_t pid = run_under_strace(in, "--traced", argument, ends[1]);
    (void)close(ends[1]);
    while (read(ends[0], &a, sizeof a) == (ssize_t)sizeof a) take(&a, counts);
    (void)close(ends[0]);
    int status = status_of(pid);
    if (status != 0) fail_msg("%s %u, threads %d: %d", in->call, in->when, (int)threads, status);
    judge(in);
}

static void tell_counts(const char *call, const uint64_t counts[MERLE_NOT_READY + 1]) {
    for (int err = 1; err <= MERLE_NOT_READY; err++)
        if (counts[err] != 0)
            test_say("%s: answered with %s: %llu", call, merle_err_name((merle_err)err),
                     (unsigned long long)counts[err]);
}

static void failed_call_ends_writing_and_loses_nothing(void **state) {
    static const injection kinds[] = {{"pwritev", "EIO", CALLS_MAX},
                                      {"fdatasync", "EIO", CALLS_MAX},
                                      {"pwritev", "ENOSPC", CALLS_MAX},
                                      {"fsync", "EIO", 8}};
    uint64_t runs = 0;
    (void)state;
    if (!may_trace()) return;
    /* Calls that every opening makes, and those of the commits, the checkpoint and the close. */
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        uint64_t counts[MERLE_NOT_READY + 1] = {0};
        injection in = kinds[k];
        for (in.when = 1; in.when <= kinds[k].when; in.when += test_is_long() ? 1 : 2, runs++)
            run_one(&in, in.when % 4 == 3 ? MERLE_THREADS_DEFAULT : MERLE_THREADS_NONE, counts);
        tell_counts(in.call, counts);
        /* Each of them has hit an opening; and all but the directory's sync the log at work. */
        assert_true(counts[MERLE_SYSTEM] + counts[MERLE_NO_SPACE] > 0);
        if (k < 3) assert_true(counts[MERLE_NOT_DURABLE] > 0 && counts[MERLE_READ_ONLY] > 0);
    }
    test_say("%llu runs, %u keys", (unsigned long long)runs, key_next);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failed_call_ends_writing_and_loses_nothing)};
    char command[64];
    if (argc == 4) {
        (void)snprintf(root, sizeof root, "%s", argv[2]);
        (void)snprintf(path, sizeof path, "%s/world", root);
        if (strcmp(argv[1], "--probe") == 0) return run_probe();
        char *threads;
        uint32_t first = (uint32_t)strtoul(argv[3], &threads, 10);
        return run_traced((merle_threads)strtoul(threads, NULL, 10), first);
    }
#if defined(__SANITIZE_ADDRESS__)
    (void)printf("1..0 # SKIP the search for leaks does not work under strace\n");
    return 0;
#endif
    if (mkdtemp(root) == NULL) return 1;
    (void)snprintf(path, sizeof path, "%s/world", root);
    int result = cmocka_run_group_tests_name("crash/trace", tests, NULL, NULL);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command) == 0 ? result : 1;
}
