/* tests/crash/faults_test.c - faults that relatives of this database have with their files.
 *
 * Aim     They do not happen here: a refused insert never comes back, a checkpoint and an opening
 *         later neither; the winner of a race is the winner after an opening; what was removed is
 *         not brought back by an opening; one flipped bit does not make the rest unreadable; one
 *         directory is open once, whoever tries a second time; what was acknowledged outlives the
 *         end of the process as its durability says.
 * Method  The smallest story for each, on a real directory and with real processes: children that
 *         end by _exit, exit and abort, and this program run anew as another process. Each state is
 *         looked at after a clean close and after an end without one, with and without checkpoints.
 * Blind   Power cuts, and the many stories in between: sim_crash_test.c, kill_test.c. A bit
 *         flipped anywhere: damage_test.c, care_test.c.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <merle/care.h>

#include "database/database.h"
#include "tests/model/seed.h"

enum { RACES = 30, RACERS = 3, REMOVED = 200, LIFE_TIMEOUT_S = 60, LOG_FILE_SIZE = 256 << 10 };

static const merle_index indexes[] = {{.name = "email", .kind = MERLE_UNIQUE, .on = "email"},
                                      {.name = NULL}};
static const merle_schema schema = {.version = 1, .indexes = indexes};
static char root[] = "/tmp/merle-faults-XXXXXX";
static uint32_t world_count;

typedef struct world {
    char path[64];
    merle_db *db;
    merle_collection *players;
} world;

/* ---- a database in a directory of its own ---- */

static void world_init(world *w) {
    *w = (world){.db = NULL};
    (void)snprintf(w->path, sizeof w->path, "%s/%u", root, world_count++);
}

static merle_err try_open(const char *path, merle_db **out_db, merle_report *report) {
    merle_options options = {.report = report,
                             .log_file_size = LOG_FILE_SIZE,
                             .ring_size = 64 << 10,
                             .checkpoint_log_bytes = UINT64_MAX};
    return merle_open(path, &options, out_db);
}

static void open_ok(world *w) {
    merle_report report = {0};
    merle_err err = try_open(w->path, &w->db, &report);
    if (err != MERLE_OK) fail_msg("%s: %s", merle_err_name(err), report.message);
    assert_int_equal(merle_collection_open(w->db, "players", &schema, &w->players), MERLE_OK);
    err = merle_check(w->db, &report);
    if (err != MERLE_OK) fail_msg("%s", report.message);
}

static void close_ok(world *w) {
    assert_int_equal(merle_close(w->db), MERLE_OK);
    w->db = NULL;
}

/* {"email": email} */
static merle_err write_one(const world *w, const char *key, const char *email, int is_insert) {
    merle_builder *builder;
    merle_bytes doc;
    merle_err err = merle_builder_create(&builder);
    if (err != MERLE_OK) return err;
    merle_build_begin(builder);
    merle_build_str(builder, "email", email);
    err = merle_build_end(builder, &doc);
    if (err == MERLE_OK && is_insert)
        err = merle_one_insert(w->players, MERLE_STR(key), doc, NULL);
    else if (err == MERLE_OK)
        err = merle_one_put(w->players, MERLE_STR(key), doc, NULL);
    merle_builder_destroy(builder);
    return err;
}

/* By key and by value; email NULL: nothing is there. */
static void assert_one(const world *w, const char *key, const char *email) {
    merle_section s;
    merle_doc doc;
    assert_int_equal(merle_section_begin(w->db, &s), MERLE_OK);
    merle_err err = merle_get(&s, w->players, MERLE_STR(key), &doc);
    assert_int_equal(err, email == NULL ? MERLE_NOT_FOUND : MERLE_OK);
    if (email != NULL) {
        err = merle_get_by(&s, w->players, "email", &doc, merle_value_str(email));
        assert_int_equal(err, MERLE_OK);
        assert_int_equal(merle_doc_key(doc).size, strlen(key));
        assert_memory_equal(merle_doc_key(doc).data, key, strlen(key));
    }
    assert_int_equal(merle_section_end(&s), MERLE_OK);
}

static void assert_count(const world *w, uint64_t wanted) {
    merle_section s;
    uint64_t count;
    assert_int_equal(merle_section_begin(w->db, &s), MERLE_OK);
    assert_int_equal(merle_count(&s, w->players, &count), MERLE_OK);
    assert_int_equal(merle_section_end(&s), MERLE_OK);
    assert_int_equal(count, wanted);
}

/* ---- processes ---- */

/* What a child does with an open database; it need not return. */
typedef void story(world *w);

/* Runs it in a child, which ends without closing; gives the status. */
static int in_child(world *w, story *fn) {
    int status;
    (void)fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        for (int s = 1; s < 32; s++) (void)signal(s, SIG_DFL);
        (void)alarm(LIFE_TIMEOUT_S);
        merle_report report = {0};
        if (try_open(w->path, &w->db, &report) != MERLE_OK) _exit(90);
        if (merle_collection_open(w->db, "players", &schema, &w->players) != MERLE_OK) _exit(91);
        fn(w);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* In children there is no cmocka: a wrong answer ends them. */
static void must(merle_err err, merle_err wanted) {
    if (err != wanted) _exit(100 + (int)err);
}

/* What another process gets that opens it: this program, run anew. */
static merle_err open_elsewhere(const char *path) {
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)execl("/proc/self/exe", "faults_test", "--open", path, (char *)NULL);
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= MERLE_NOT_READY);
    return (merle_err)WEXITSTATUS(status);
}

static int open_and_tell(const char *path) {
    merle_db *db;
    merle_report report = {0};
    merle_err err = try_open(path, &db, &report);
    return err == MERLE_OK ? (int)merle_close(db) : (int)err;
}

/* ---- a refused insert ---- */

static void insert_in_vain(world *w) {
    must(write_one(w, "a", "x", 1), MERLE_OK);
    must(write_one(w, "b", "x", 1), MERLE_EXISTS);
    must(write_one(w, "a", "y", 1), MERLE_EXISTS);
    /* Two of which one is refused: neither. */
    merle_commit *commit;
    merle_bytes empty = merle_bytes_of("\x80", 1);
    must(merle_begin(w->db, &commit), MERLE_OK);
    must(merle_insert(commit, w->players, MERLE_STR("c"), empty), MERLE_OK);
    must(merle_insert(commit, w->players, MERLE_STR("a"), empty), MERLE_OK);
    must(merle_end(commit, NULL), MERLE_EXISTS);
    must(merle_wait_durable(w->db, UINT64_MAX), MERLE_OK);
}

static void insert_in_vain_and_checkpoint(world *w) {
    insert_in_vain(w);
    must(merle_checkpoint(w->db), MERLE_OK);
    must(write_one(w, "d", "x", 1), MERLE_EXISTS);
    must(merle_wait_durable(w->db, UINT64_MAX), MERLE_OK);
}

static void assert_only_a(world *w) {
    assert_count(w, 1);
    assert_one(w, "a", "x");
    assert_one(w, "b", NULL);
    assert_one(w, "c", NULL);
    assert_one(w, "d", NULL);
}

static void refused_insert_never_comes_back(void **state) {
    static story *const stories[] = {insert_in_vain, insert_in_vain_and_checkpoint};
    (void)state;
    for (int i = 0; i < 2; i++) {
        world w;
        world_init(&w);
        assert_int_equal(in_child(&w, stories[i]), 0);
        for (int j = 0; j < 3; j++) {
            open_ok(&w);
            assert_only_a(&w);
            if (j == 1) assert_int_equal(merle_checkpoint(w.db), MERLE_OK);
            close_ok(&w);
        }
        /* And what it had wanted is free. */
        open_ok(&w);
        assert_int_equal(write_one(&w, "b", "y", 1), MERLE_OK);
        assert_int_equal(write_one(&w, "a", "z", 0), MERLE_OK);
        assert_int_equal(write_one(&w, "c", "x", 1), MERLE_OK);
        close_ok(&w);
        open_ok(&w);
        assert_one(&w, "a", "z");
        assert_one(&w, "c", "x");
        close_ok(&w);
    }
}

/* ---- the winner of a race ---- */

typedef struct racer {
    const world *w;
    pthread_barrier_t *barrier;
    char key[16];
    char emails[RACES][16];
    merle_err errs[RACES];
} racer;

static void *race(void *context) {
    racer *r = context;
    char key[32];
    for (uint32_t i = 0; i < RACES; i++) {
        (void)pthread_barrier_wait(r->barrier);
        (void)snprintf(key, sizeof key, "%s %u", r->key, i);
        r->errs[i] = write_one(r->w, key, r->emails[i], 1);
    }
    return NULL;
}

static void assert_winners(const world *w, const racer *racers) {
    char key[32];
    for (uint32_t i = 0; i < RACES; i++) {
        int winners = 0;
        for (uint32_t j = 0; j < RACERS; j++) {
            int has_won = racers[j].errs[i] == MERLE_OK;
            if (!has_won) assert_int_equal(racers[j].errs[i], MERLE_EXISTS);
            winners += has_won;
            (void)snprintf(key, sizeof key, "%s %u", racers[j].key, i);
            assert_one(w, key, has_won ? racers[j].emails[i] : NULL);
        }
        assert_int_equal(winners, 1);
    }
    assert_count(w, RACES);
}

static void winner_of_a_race_is_the_winner_after_reopening(void **state) {
    static racer racers[RACERS];
    pthread_t threads[RACERS];
    pthread_barrier_t barrier;
    world w;
    (void)state;
    world_init(&w);
    open_ok(&w);
    assert_int_equal(pthread_barrier_init(&barrier, NULL, RACERS), 0);
    for (uint32_t j = 0; j < RACERS; j++) {
        racers[j] = (racer){.w = &w, .barrier = &barrier};
        (void)snprintf(racers[j].key, sizeof racers[j].key, "racer %u", j);
        for (uint32_t i = 0; i < RACES; i++)
            (void)snprintf(racers[j].emails[i], sizeof racers[j].emails[i], "%u", i);
    }
    for (uint32_t j = 0; j < RACERS; j++)
        assert_int_equal(pthread_create(&threads[j], NULL, race, &racers[j]), 0);
    /* Pages of one instant beside a log that goes on. */
    assert_int_equal(merle_checkpoint(w.db), MERLE_OK);
    for (uint32_t j = 0; j < RACERS; j++) assert_int_equal(pthread_join(threads[j], NULL), 0);
    assert_winners(&w, racers);
    for (int i = 0; i < 3; i++) {
        if (i == 1) assert_int_equal(merle_checkpoint(w.db), MERLE_OK);
        close_ok(&w);
        open_ok(&w);
        assert_winners(&w, racers);
    }
    close_ok(&w);
    (void)pthread_barrier_destroy(&barrier);
}

/* ---- removes ---- */

static void put_many(world *w) {
    char key[16];
    for (uint32_t i = 0; i < REMOVED; i++) {
        (void)snprintf(key, sizeof key, "%u", i);
        must(write_one(w, key, key, 0), MERLE_OK);
    }
}

/* An eighth is removed in each of several lives: before, between and after checkpoints. */
static void remove_some(world *w, uint32_t which) {
    char key[16];
    for (uint32_t i = which; i < REMOVED; i += 8) {
        (void)snprintf(key, sizeof key, "%u", i);
        must(merle_one_remove(w->players, MERLE_STR(key), NULL), MERLE_OK);
    }
}

static void remove_0(world *w) {
    put_many(w);
    must(merle_checkpoint(w->db), MERLE_OK);
    remove_some(w, 0);
    must(merle_wait_durable(w->db, UINT64_MAX), MERLE_OK);
}

static void remove_1(world *w) {
    remove_some(w, 1);
    must(merle_checkpoint(w->db), MERLE_OK);
}

static void remove_2(world *w) {
    remove_some(w, 2);
    must(merle_wait_durable(w->db, UINT64_MAX), MERLE_OK);
}

static void nothing(world *w) {
    (void)w;
}

static void assert_removed(const world *w, uint32_t removed) {
    char key[16];
    for (uint32_t i = 0; i < REMOVED; i++) {
        (void)snprintf(key, sizeof key, "%u", i);
        assert_one(w, key, i % 8 < removed ? NULL : key);
    }
}

static void removes_are_not_undone_by_an_opening(void **state) {
    static story *const stories[] = {remove_0, remove_1, remove_2};
    world w;
    (void)state;
    world_init(&w);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(in_child(&w, stories[i]), 0);
        assert_int_equal(in_child(&w, nothing), 0);
        for (int j = 0; j < 2; j++) {
            open_ok(&w);
            assert_removed(&w, i + 1);
            close_ok(&w);
        }
    }
    /* What was removed may come again, as something else. */
    open_ok(&w);
    assert_int_equal(write_one(&w, "0", "other", 1), MERLE_OK);
    close_ok(&w);
    open_ok(&w);
    assert_one(&w, "0", "other");
    close_ok(&w);
}

/* ---- one flipped bit ---- */

/* Flips a bit of a file. */
static void flip_a_bit(const world *w, const char *name, long at) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", w->path, name);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_true(byte != EOF);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 4, file), byte ^ 4);
    assert_int_equal(fclose(file), 0);
}

static void put_a_checkpoint_and_more(world *w) {
    put_many(w);
    must(merle_checkpoint(w->db), MERLE_OK);
    must(write_one(w, "more", "more", 1), MERLE_OK);
    must(write_one(w, "and more", "and more", 1), MERLE_OK);
    must(merle_wait_durable(w->db, UINT64_MAX), MERLE_OK);
}

/* It is told, and repair gives back the rest: here all but one commit at most. */
static void flipped_bit_does_not_make_the_rest_unreadable(void **state) {
    static const char *const files[] = {"manifest-0000000000000003", "pages-0000000000000001",
                                        "log-0000000000000001"};
    static const long offsets[] = {100, 3000, 8192 + 3000};
    (void)state;
    for (int i = 0; i < 3; i++) {
        world w, repaired;
        merle_db *db;
        merle_section s;
        merle_report report = {0};
        uint64_t count;
        world_init(&w);
        world_init(&repaired);
        assert_int_equal(in_child(&w, put_a_checkpoint_and_more), 0);
        flip_a_bit(&w, files[i], offsets[i]);
        assert_int_equal(try_open(w.path, &db, &report), MERLE_CORRUPT);
        assert_non_null(strstr(report.path, files[i]));
        assert_non_null(strstr(report.message, "merle repair"));
        merle_err err = merle_repair(w.path, repaired.path, NULL, NULL, &report);
        if (err != MERLE_OK) fail_msg("%s", report.message);
        open_ok(&repaired);
        assert_int_equal(merle_section_begin(repaired.db, &s), MERLE_OK);
        assert_int_equal(merle_count(&s, repaired.players, &count), MERLE_OK);
        assert_int_equal(merle_section_end(&s), MERLE_OK);
        test_say("%s: %llu of %d documents", files[i], (unsigned long long)count, REMOVED + 2);
        assert_true(count >= REMOVED + 1);
        assert_one(&repaired, "more", "more");
        close_ok(&repaired);
    }
}

/* ---- one directory, one database ---- */

static void assert_busy(const char *path) {
    merle_db *db = NULL;
    merle_report report = {0};
    char pid[24];
    (void)snprintf(pid, sizeof pid, "%d", (int)getpid());
    assert_int_equal(try_open(path, &db, &report), MERLE_BUSY);
    assert_null(db);
    assert_non_null(strstr(report.message, pid));
}

static void directory_is_open_once_in_a_process(void **state) {
    char other[96];
    world w;
    (void)state;
    world_init(&w);
    open_ok(&w);
    assert_busy(w.path);
    (void)snprintf(other, sizeof other, "%s/", w.path);
    assert_busy(other);
    (void)snprintf(other, sizeof other, "%s/../%s", w.path, strrchr(w.path, '/') + 1);
    assert_busy(other);
    assert_int_equal(write_one(&w, "a", "x", 1), MERLE_OK);
    close_ok(&w);
    open_ok(&w);
    assert_one(&w, "a", "x");
    close_ok(&w);
}

static void directory_is_open_in_one_process(void **state) {
    world w;
    (void)state;
    world_init(&w);
    open_ok(&w);
    assert_int_equal(open_elsewhere(w.path), MERLE_BUSY);
    /* A try in vain takes nothing from the owner. */
    assert_busy(w.path);
    assert_int_equal(open_elsewhere(w.path), MERLE_BUSY);
    close_ok(&w);
    assert_int_equal(open_elsewhere(w.path), MERLE_OK);
    open_ok(&w);
    close_ok(&w);
}

static void forked_child_neither_opens_nor_frees_it(void **state) {
    world w;
    int status;
    (void)state;
    world_init(&w);
    open_ok(&w);
    assert_int_equal(write_one(&w, "a", "x", 1), MERLE_OK);
    (void)fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        merle_db *db;
        merle_section s;
        merle_report report = {0};
        (void)alarm(LIFE_TIMEOUT_S);
        must(try_open(w.path, &db, &report), MERLE_BUSY);
        must(merle_section_begin(w.db, &s), MERLE_FORKED);
        must(write_one(&w, "b", "y", 1), MERLE_FORKED);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(open_elsewhere(w.path), MERLE_BUSY);
    assert_int_equal(write_one(&w, "c", "z", 1), MERLE_OK);
    close_ok(&w);
    open_ok(&w);
    assert_count(&w, 2);
    assert_one(&w, "b", NULL);
    close_ok(&w);
}

/* ---- the end of a process ---- */

static void write_as(world *w, const char *key, merle_durability durability) {
    merle_commit *commit;
    must(merle_begin(w->db, &commit), MERLE_OK);
    must(merle_commit_durability(commit, durability), MERLE_OK);
    must(merle_put(commit, w->players, MERLE_STR(key), merle_bytes_of("\x80", 1)), MERLE_OK);
    must(merle_end(commit, NULL), MERLE_OK);
}

/* A synchronous commit takes with it all that came before. */
static void write_all_kinds(world *w) {
    write_as(w, "memory", MERLE_MEMORY);
    write_as(w, "async", MERLE_ASYNC);
    write_as(w, "later", MERLE_SYNC_LATER);
    write_as(w, "sync", MERLE_SYNC);
}

/* Written is enough where only the process ends. */
static void write_to_the_system(world *w) {
    write_as(w, "memory", MERLE_MEMORY);
    write_as(w, "async", MERLE_ASYNC);
    write_as(w, "later", MERLE_SYNC_LATER);
    must(merle_wait_durable(w->db, UINT64_MAX), MERLE_OK);
    write_as(w, "sync", MERLE_MEMORY);
    while (mrl_log_written_seq(w->db->log) < mrl_log_published_at(w->db->store.published))
        (void)merle_step(w->db, 0, 0);
}

static void quit(world *w) {
    write_all_kinds(w);
    exit(0);
}

static void stop(world *w) {
    write_all_kinds(w);
    abort();
}

static void die(world *w) {
    write_to_the_system(w);
    (void)kill(getpid(), SIGKILL);
}

static void acknowledged_writes_outlive_their_process(void **state) {
    static story *const stories[] = {quit, stop, die, write_all_kinds, write_to_the_system};
    static const char *const keys[] = {"memory", "async", "later", "sync"};
    static const int signals[] = {0, SIGABRT, SIGKILL, 0, 0};
    (void)state;
    for (size_t i = 0; i < sizeof stories / sizeof stories[0]; i++) {
        world w;
        merle_section s;
        world_init(&w);
        int status = in_child(&w, stories[i]);
        assert_int_equal(WIFSIGNALED(status) ? WTERMSIG(status) : 0, signals[i]);
        if (signals[i] == 0) assert_int_equal(status, 0);
        open_ok(&w);
        assert_int_equal(merle_section_begin(w.db, &s), MERLE_OK);
        for (int k = 0; k < 4; k++)
            assert_int_equal(merle_exists(&s, w.players, MERLE_STR(keys[k])), MERLE_OK);
        assert_int_equal(merle_section_end(&s), MERLE_OK);
        assert_count(&w, 4);
        close_ok(&w);
    }
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--open") == 0) return open_and_tell(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_insert_never_comes_back),
        cmocka_unit_test(winner_of_a_race_is_the_winner_after_reopening),
        cmocka_unit_test(removes_are_not_undone_by_an_opening),
        cmocka_unit_test(flipped_bit_does_not_make_the_rest_unreadable),
        cmocka_unit_test(directory_is_open_once_in_a_process),
        cmocka_unit_test(directory_is_open_in_one_process),
        cmocka_unit_test(forked_child_neither_opens_nor_frees_it),
        cmocka_unit_test(acknowledged_writes_outlive_their_process),
    };
    char command[64];
    if (mkdtemp(root) == NULL) return 1;
    int result = cmocka_run_group_tests_name("crash/faults", tests, NULL, NULL);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command) == 0 ? result : 1;
}
