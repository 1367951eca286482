/* tests/crash/full_test.c - a real file system that fills up.
 *
 * Aim     On a full disk writers get MERLE_NO_SPACE before anything is applied, whatever their
 *         patience and durability; reads and merle_check go on, a checkpoint fails alone; when
 *         there is room again writers go on by themselves; an opening finds what was acknowledged
 *         and nothing that was refused. An opening that has no room for its log is refused, and
 *         does no harm.
 * Method  A tmpfs of a few megabytes, in a mount namespace of a child (nobody else sees it, and it
 *         goes with the child), filled with a file besides the database's. Where a tmpfs may not
 *         be mounted nothing is tested, and that is said.
 * Blind   Disks that fill up between two bytes of a write: the simulated one.
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
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "database/database.h"
#include "tests/model/seed.h"

enum { LIFE_TIMEOUT_S = 100, PATIENCE_S = 30, KEY_MAX = 100000, ROUNDS = 4, SKIPPED = 77 };
enum { LOG_FILE_SIZE = 256 << 10, DOC_SIZE = 600 };
static char root[] = "/tmp/merle-full-XXXXXX";

/* In the child there is no cmocka: what is wrong is said, and ends it. */
#define MUST(what) \
    ((what) ? (void)0 : (test_say("line %d: %s", __LINE__, #what), (void)fflush(stdout), _exit(1)))

typedef struct world {
    char path[64], ballast[64];
    merle_db *db;
    merle_collection *things;
    merle_report report;
    uint32_t written; /* keys below it are there */
    uint64_t refusals;
} world;

static uint64_t now_s(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

/* ---- the file system ---- */

/* A tmpfs at `root` that only this process sees; 0, or errno and what was refused. */
static int mount_small(const char **out_what) {
    *out_what = "a mount namespace";
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return errno;
    *out_what = "a private mount namespace";
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return errno;
    *out_what = "mounting a tmpfs";
    return mount("tmpfs", root, "tmpfs", 0, "size=12m,mode=0700") == 0 ? 0 : errno;
}

static void fill_up(const world *w) {
    static const uint8_t zeros[4096];
    int fd = open(w->ballast, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    MUST(fd >= 0);
    while (write(fd, zeros, sizeof zeros) > 0) continue;
    MUST(errno == ENOSPC);
    (void)close(fd);
}

static void make_room(const world *w) {
    MUST(unlink(w->ballast) == 0);
}

/* ---- work ---- */

static merle_err open_db(world *w) {
    merle_options options = {.report = &w->report,
                             .log_file_size = LOG_FILE_SIZE,
                             .ring_size = 64 << 10,
                             .checkpoint_log_bytes = 300 << 10,
                             .manifests_kept = 1};
    w->report = (merle_report){0};
    merle_err err = merle_open(w->path, &options, &w->db);
    if (err == MERLE_OK) merle_report_to(w->db, &w->report);
    if (err == MERLE_OK) err = merle_collection_open(w->db, "things", NULL, &w->things);
    return err;
}

static merle_err put(world *w, uint32_t number, merle_durability durability,
                     merle_patience patience) {
    static uint8_t doc[DOC_SIZE] = {
        0x81, 0xa1, 't', 0xda, (DOC_SIZE - 6) >> 8, (DOC_SIZE - 6) & 255};
    merle_commit *commit;
    merle_key key;
    merle_err err = merle_begin(w->db, &commit);
    if (err != MERLE_OK) return err;
    MUST(merle_commit_durability(commit, durability) == MERLE_OK);
    merle_commit_patience(commit, patience);
    MUST(merle_put(commit, w->things, merle_key_u64(&key, number),
                   merle_bytes_of(doc, sizeof doc)) == MERLE_OK);
    return merle_end(commit, NULL);
}

/* All keys that were acknowledged, and no other. */
static void look(world *w) {
    merle_section s;
    merle_key key;
    uint64_t count;
    MUST(merle_section_begin(w->db, &s) == MERLE_OK);
    MUST(merle_count(&s, w->things, &count) == MERLE_OK && count == w->written);
    for (uint32_t i = 0; i < w->written; i++)
        MUST(merle_exists(&s, w->things, merle_key_u64(&key, i)) == MERLE_OK);
    MUST(merle_exists(&s, w->things, merle_key_u64(&key, w->written)) == MERLE_NOT_FOUND);
    MUST(merle_section_end(&s) == MERLE_OK);
    MUST(merle_check(w->db, &w->report) == MERLE_OK);
}

/* Writes until there is no room: it must not be long. */
static void write_until_full(world *w) {
    merle_err err = MERLE_OK;
    for (uint32_t i = 0; err == MERLE_OK && i < KEY_MAX; i++) {
        err = put(w, w->written, (merle_durability)(MERLE_MEMORY + i % 4), MERLE_WAIT);
        w->written += err == MERLE_OK;
    }
    if (err != MERLE_NO_SPACE) test_say("%s: %s", merle_err_name(err), w->report.message);
    MUST(err == MERLE_NO_SPACE);
    MUST(w->report.message[0] != 0);
}

static void stay_full(world *w) {
    for (uint32_t i = 0; i < 40; i++) {
        merle_err err = put(w, w->written, (merle_durability)(MERLE_MEMORY + i % 4),
                            i / 4 % 2 ? MERLE_WAIT : MERLE_REFUSE);
        /* A checkpoint that gave up just now has left some room. */
        MUST(err == MERLE_NO_SPACE || err == MERLE_OK);
        w->refusals += err == MERLE_NO_SPACE;
        w->written += err == MERLE_OK;
    }
    MUST(w->refusals > 0);
    look(w);
    merle_err err = merle_checkpoint(w->db);
    MUST(err == MERLE_OK || err == MERLE_NO_SPACE);
    look(w);
}

/* Nobody has to do anything: a writer that tries again has room soon. */
static void go_on(world *w) {
    uint64_t end_s = now_s() + PATIENCE_S;
    merle_err err;
    while ((err = put(w, w->written, MERLE_SYNC, MERLE_WAIT)) == MERLE_NO_SPACE) {
        MUST(now_s() < end_s);
        (void)sched_yield();
    }
    MUST(err == MERLE_OK);
    w->written++;
    for (uint32_t i = 0; i < 300; i++, w->written++)
        MUST(put(w, w->written, MERLE_ASYNC, MERLE_WAIT) == MERLE_OK);
    /* What was kept for want of a checkpoint may go. */
    MUST(merle_checkpoint(w->db) == MERLE_OK);
    look(w);
}

/* A checkpoint needs room, too, and what it leaves may be the next log file: what there is to write
 * is only known when a try fails. */
static void fill_to_the_end(world *w) {
    fill_up(w);
    for (int i = 0; i < 3; i++) {
        write_until_full(w);
        fill_up(w);
    }
}

static void open_ok(world *w) {
    merle_err err = open_db(w);
    if (err != MERLE_OK) test_say("opening: %s, %s", merle_err_name(err), w->report.message);
    MUST(err == MERLE_OK);
}

static void close_and_open(world *w) {
    MUST(merle_close(w->db) == MERLE_OK);
    open_ok(w);
    look(w);
}

/* Opening takes a new log file, for which there is no room. */
static void open_while_full(world *w) {
    MUST(merle_close(w->db) == MERLE_OK);
    fill_up(w);
    merle_err err = open_db(w);
    if (err == MERLE_OK) { /* an old log file has served */
        look(w);
        return;
    }
    if (err != MERLE_NO_SPACE) test_say("%s: %s", merle_err_name(err), w->report.message);
    if (err != MERLE_NO_SPACE) {
        char c[160];
        snprintf(c, 160, "ls -l %s", w->path);
        system(c);
    }
    MUST(err == MERLE_NO_SPACE);
    MUST(w->report.message[0] != 0);
    make_room(w);
    open_ok(w);
    look(w);
    fill_up(w);
}

static _Noreturn void live(void) {
    world w = {.db = NULL};
    const char *what;
    (void)alarm(LIFE_TIMEOUT_S);
    int failed = mount_small(&what);
    if (failed != 0) {
        test_say("SKIPPED, nothing was tested: %s: %s", what, strerror(failed));
        _exit(SKIPPED);
    }
    (void)snprintf(w.path, sizeof w.path, "%s/world", root);
    (void)snprintf(w.ballast, sizeof w.ballast, "%s/ballast", root);
    open_ok(&w);
    for (int i = 0; i < ROUNDS; i++) {
        fill_to_the_end(&w);
        stay_full(&w);
        if (i % 2 == 1) open_while_full(&w);
        make_room(&w);
        go_on(&w);
        if (i % 2 == 0) close_and_open(&w);
    }
    close_and_open(&w);
    MUST(merle_close(w.db) == MERLE_OK);
    test_say("%u documents written, %llu writes refused", w.written,
             (unsigned long long)w.refusals);
    _exit(0);
}

static void full_disk_refuses_writes_and_nothing_else(void **state) {
    int status;
    (void)state;
    assert_non_null(mkdtemp(root));
    (void)fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) live();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(rmdir(root), 0);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) != SKIPPED) assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(full_disk_refuses_writes_and_nothing_else)};
    return cmocka_run_group_tests_name("crash/full", tests, NULL, NULL);
}
