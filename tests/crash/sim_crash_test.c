/* tests/crash/sim_crash_test.c
 *
 * Aim     Nothing acknowledged is lost, nothing comes back that was refused, no commit is there in
 *         part: wherever the machine stops, and whatever the disk then makes of what was not
 *         synced, again and again, also in the middle of a recovery.
 * Method  Random work on a simulated disk (tests/sim/disk.h), stopped at any of its calls; then the
 *         power is cut, or only the process ends; it is opened again and compared with an oracle
 *         (oracle.h) that knows what each seq did: it has to be the state at exactly one seq, not
 *         below the last that was acknowledged as durable; merle_check holds; then it goes on from
 *         there. Calls fail, and the disk fills up. A run of LIFE_COUNT lives is one seed, in a
 *         process of its own, because what a stopped life had allocated is never given back.
 * Blind   Threads: there is one worker at a time. What real disks do besides (tests/sim/disk.h).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/crash/life.h"
#include "tests/model/seed.h"

enum {
    LIFE_COUNT = 40, /* of a run */
    CRASH_COUNT = 10000,
    RUN_TIMEOUT_S = 300,
    FAULTS_MIN = 100,
    FEW_CALLS = 1000
};

typedef unsigned long long llu;

/* What the runs have come to, in memory that their processes share. */
typedef struct sums {
    life_totals totals;
    disk_fates fates;
    uint64_t runs;
    size_t point_count;
    disk_point points[DISK_POINT_MAX];
} sums;

static sums *all;
static uint64_t minutes; /* 0: CRASH_COUNT crashes */
static uint64_t first_seed;
static uint64_t only_one; /* 1: this seed alone, in this process, told life by life */

/* ---- sums ---- */

static void add_u64s(void *to, const void *from, size_t size) {
    uint64_t *a = to;
    const uint64_t *b = from;
    for (size_t i = 0; i < size / sizeof *a; i++) a[i] += b[i];
}

static disk_point *find_point(const disk_point *like) {
    for (size_t i = 0; i < all->point_count; i++)
        if (strcmp(all->points[i].name, like->name) == 0) return &all->points[i];
    if (all->point_count == DISK_POINT_MAX) abort();
    disk_point *made = &all->points[all->point_count++];
    memcpy(made->name, like->name, sizeof made->name);
    made->call = like->call;
    return made;
}

static void add_up(const crash_run *run) {
    size_t count;
    disk_fates fates = disk_fates_of(run->d);
    const disk_point *points = disk_points(run->d, &count);
    add_u64s(&all->totals, &run->totals, sizeof run->totals);
    add_u64s(&all->fates, &fates, sizeof fates);
    all->runs++;
    for (size_t i = 0; i < count; i++) {
        disk_point *to = find_point(&points[i]);
        to->calls += points[i].calls;
        to->stops += points[i].stops;
        to->faults += points[i].faults;
        to->fulls += points[i].fulls;
    }
}

static uint64_t crashes(void) {
    const life_totals *t = &all->totals;
    return t->stops_caring + t->stops_opening + t->stops_working + t->stops_closing +
           t->ends_between;
}

/* ---- the book: how far long runs have come ---- */

/* What the runs of all times have come to. */
static uint64_t book_crashes, book_seed;

static void read_book(void) {
    const char *path = getenv("MERLE_CRASH_BOOK");
    FILE *f = minutes == 0 || path == NULL ? NULL : fopen(path, "r");
    if (f == NULL) return;
    if (fscanf(f, "next seed %" SCNu64 ", crashes %" SCNu64, &book_seed, &book_crashes) == 2)
        first_seed = book_seed;
    (void)fclose(f);
}

static void write_book(uint64_t next_seed) {
    const char *path = getenv("MERLE_CRASH_BOOK");
    char made[4096];
    if (minutes == 0) return;
    book_crashes += crashes();
    test_say("%llu crashes in all runs of this book; the next seed is %llu", (llu)book_crashes,
             (llu)next_seed);
    if (path == NULL) return;
    (void)snprintf(made, sizeof made, "%s.tmp", path);
    FILE *f = fopen(made, "w");
    assert_non_null(f);
    assert_true(fprintf(f, "next seed %llu, crashes %llu\n", (llu)next_seed, (llu)book_crashes) >
                0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(made, path), 0);
}

/* ---- runs ---- */

static int run_seed(uint64_t seed, int is_told) {
    crash_run run;
    crash_run_init(&run, seed);
    run.is_told = is_told;
    int result = 0;
    for (int i = 0; i < LIFE_COUNT && result == 0; i++) result = crash_run_live(&run);
    if (result != 0)
        test_say("seed %llu, life %llu: %s", (llu)seed, (llu)run.totals.lives, run.o->trouble);
    add_up(&run);
    crash_run_fini(&run);
    return result;
}

static int run_in_child(uint64_t seed) {
    int status = 0;
    (void)fflush(stdout);
    pid_t child = fork();
    if (child < 0) return -1;
    if (child == 0) {
        (void)alarm(RUN_TIMEOUT_S);
        int result = run_seed(seed, 0);
        (void)fflush(stdout);
        _exit(result == 0 ? 0 : 1);
    }
    if (waitpid(child, &status, 0) != child) return -1;
    if (status != 0) test_say("seed %llu: the process ended with status %d", (llu)seed, status);
    return status == 0 ? 0 : -1;
}

/* ---- telling ---- */

/* In a run of the whole length none of these is nought. */
static uint64_t tell_action(const char *name, uint64_t count) {
    test_say("%-40s %9llu", name, (llu)count);
    return count == 0;
}

/* How many of them never happened. */
static uint64_t tell_cares(const life_totals *t) {
    static const char *const names[CARE_COUNT] = {"", "restored", "repaired", "verified"};
    uint64_t missing = 0;
    for (int i = CARE_RESTORE; i < CARE_COUNT; i++) {
        char text[64];
        missing += tell_action(names[i], t->cares[i]);
        (void)snprintf(text, sizeof text, "%s: cut off by a crash", names[i]);
        missing += tell_action(text, t->cares_stopped[i]);
        (void)snprintf(text, sizeof text, "%s: failed by a fault", names[i]);
        missing += tell_action(text, t->cares_failed[i]);
        if (i == CARE_VERIFY) continue;
        (void)snprintf(text, sizeof text, "%s: the next world", names[i]);
        missing += tell_action(text, t->cares_taken[i]);
    }
    missing += tell_action("cut off, and told to be unfinished", t->copies_unfinished);
    missing += tell_action("cut off, and whole", t->copies_whole);
    missing += tell_action("restored to an earlier commit", t->restores_back);
    return missing + tell_action("restored to where the files do not go", t->restores_out_of_reach);
}

static uint64_t tell_readers_and_loads(const life_totals *t) {
    uint64_t missing = tell_action("cursors", t->cursors);
    missing += tell_action("cursors that go on after a reopening", t->cursors_again);
    missing += tell_action("changes read", t->changes);
    missing += tell_action("changes read from files", t->changes_from_files);
    missing += tell_action("changes that the oracle has", t->changes_checked);
    missing += tell_action("gaps", t->gaps);
    missing += tell_action("bulk loads", t->loads);
    missing += tell_action("bulk loads beside others", t->loads_in_company);
    missing += tell_action("bulk loads given up", t->loads_cancelled);
    missing += tell_action("bulk loads refused for a value", t->loads_refused);
    missing += tell_action("bulk loads that a crash has ended", t->loads_stopped);
    return missing + tell_action("definitions refused beside a load", t->beside_loads);
}

static uint64_t tell_refusals(const life_totals *t) {
    static const char *const names[REFUSED_COUNT] = {"openings",
                                                     "commits",
                                                     "checkpoints",
                                                     "definitions",
                                                     "bulk loads and documents of them",
                                                     "cursors",
                                                     "backups, restores, repairs"};
    uint64_t missing = tell_action("allocations refused", t->allocations_refused);
    for (int i = 0; i < REFUSED_COUNT; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "without memory: %s", names[i]);
        missing += tell_action(text, t->refusals[i]);
    }
    return missing;
}

static uint64_t tell_actions(const life_totals *t) {
    return tell_cares(t) + tell_readers_and_loads(t) + tell_refusals(t);
}

static void tell_totals(void) {
    const life_totals *t = &all->totals;
    const disk_fates *f = &all->fates;
    test_say(
        "%llu runs, %llu lives, %llu crashes: %llu while caring, %llu while opening, %llu at work, "
        "%llu while "
        "closing, %llu between two calls",
        (llu)all->runs, (llu)t->lives, (llu)crashes(), (llu)t->stops_caring, (llu)t->stops_opening,
        (llu)t->stops_working, (llu)t->stops_closing, (llu)t->ends_between);
    test_say(
        "%llu power cuts, %llu kills, %llu clean closes; %llu lives with a fault, %llu "
        "openings failed by it, %llu succeeded",
        (llu)t->cuts, (llu)t->kills, (llu)t->closes, (llu)t->faulted, (llu)t->refused_openings,
        (llu)t->opened);
    test_say(
        "%llu commits (%llu memory, %llu async, %llu sync, %llu sync later), %llu refused, "
        "%llu lost, %llu definitions, %llu checkpoints, %llu steps, %llu backups, opened "
        "%llu times",
        (llu)t->commits, (llu)t->by_durability[MERLE_MEMORY], (llu)t->by_durability[MERLE_ASYNC],
        (llu)t->by_durability[MERLE_SYNC], (llu)t->by_durability[MERLE_SYNC_LATER], (llu)t->refused,
        (llu)t->lost, (llu)t->definitions, (llu)t->checkpoints, (llu)t->steps, (llu)t->backups,
        (llu)t->backups_opened);
    test_say(
        "writes lost %llu, kept %llu, torn %llu, lost by failed syncs %llu; names lost %llu, "
        "kept %llu",
        (llu)f->writes_lost, (llu)f->writes_kept, (llu)f->writes_torn, (llu)f->syncs_lost,
        (llu)f->names_lost, (llu)f->names_kept);
    for (int err = 1; err <= MERLE_NOT_READY; err++)
        if (t->answers[err] != 0)
            test_say("commits answered with %s: %llu", merle_err_name((merle_err)err),
                     (llu)t->answers[err]);
}

static void tell_points(void) {
    for (size_t i = 0; i < all->point_count; i++) {
        const disk_point *p = &all->points[i];
        test_say("%-24s %9llu calls, %6llu stops, %5llu faults, %5llu full", p->name, (llu)p->calls,
                 (llu)p->stops, (llu)p->faults, (llu)p->fulls);
    }
}

/* How often calls of these kinds failed. */
static uint64_t faults_of(disk_call first, disk_call last) {
    uint64_t faults = 0;
    for (size_t i = 0; i < all->point_count; i++)
        if (all->points[i].call >= first && all->points[i].call <= last)
            faults += all->points[i].faults;
    return faults;
}

/* In a run of the whole length every point has stopped the machine, and everything has failed a
 * hundred times. */
static void assert_reached(void) {
    uint64_t fulls = 0;
    int is_whole = crashes() >= CRASH_COUNT;
    uint64_t missing = tell_actions(&all->totals);
    for (size_t i = 0; i < all->point_count; i++) {
        fulls += all->points[i].fulls;
        /* What hardly anybody calls may be missed by chance. */
        if (is_whole && all->points[i].calls >= FEW_CALLS) assert_true(all->points[i].stops > 0);
    }
    test_say(
        "failed: %llu reads, %llu writes, %llu syncs, %llu syncs of names, %llu changes of "
        "names, %llu openings and listings; full: %llu",
        (llu)faults_of(DISK_FILE_READ, DISK_FILE_READ),
        (llu)faults_of(DISK_FILE_WRITE, DISK_FILE_WRITE),
        (llu)faults_of(DISK_FILE_SYNC, DISK_FILE_SYNC),
        (llu)faults_of(DISK_DIR_SYNC, DISK_DIR_SYNC), (llu)faults_of(DISK_RENAME, DISK_LINK),
        (llu)(faults_of(DISK_DIR_OPEN, DISK_DIR_EACH) + faults_of(DISK_FILE_OPEN, DISK_FILE_SIZE)),
        (llu)fulls);
    assert_true(all->totals.stops_opening > 0 && all->totals.stops_working > 0);
    assert_true(fulls > 0 && all->totals.kills > 0 && all->totals.lost > 0);
    if (!is_whole) return;
    assert_int_equal(missing, 0);
    assert_true(faults_of(DISK_FILE_READ, DISK_FILE_READ) >= FAULTS_MIN && fulls >= FAULTS_MIN);
    assert_true(faults_of(DISK_FILE_WRITE, DISK_FILE_WRITE) >= FAULTS_MIN);
    assert_true(faults_of(DISK_FILE_SYNC, DISK_FILE_SYNC) >= FAULTS_MIN);
    assert_true(faults_of(DISK_DIR_SYNC, DISK_DIR_SYNC) >= FAULTS_MIN);
    assert_true(faults_of(DISK_RENAME, DISK_LINK) >= FAULTS_MIN);
}

static void database_survives_every_crash(void **state) {
    (void)state;
    uint64_t wanted = minutes != 0 ? UINT64_MAX : test_amount(CRASH_COUNT);
    time_t end = time(NULL) + (time_t)(60 * minutes);
    int result = 0;
    if (only_one) {
        assert_int_equal(run_seed(first_seed, 1), 0);
        tell_totals();
        return;
    }
    uint64_t seed = first_seed;
    for (; result == 0 && crashes() < wanted; seed++) {
        if (minutes != 0 && time(NULL) >= end) break;
        result = run_in_child(seed);
    }
    /* One that has failed comes first the next time. */
    write_book(result == 0 ? seed : seed - 1);
    tell_totals();
    tell_points();
    assert_int_equal(result, 0);
    assert_reached();
}

/* --seed=N: begins there. --one: that seed alone. --minutes=N: so long, from where the book that
 * MERLE_CRASH_BOOK names says that the last such run has stopped. */
int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(database_survives_every_crash)};
    first_seed = test_seed();
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--seed=", 7) == 0) first_seed = strtoull(argv[i] + 7, NULL, 0);
        if (strncmp(argv[i], "--minutes=", 10) == 0) minutes = strtoull(argv[i] + 10, NULL, 0);
        if (strcmp(argv[i], "--one") == 0) only_one = 1;
    }
    const char *text = getenv("MERLE_CRASH_MINUTES");
    if (text != NULL && minutes == 0) minutes = strtoull(text, NULL, 0);
    read_book();
    test_say("seed %llu", (llu)first_seed);
    all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) return 1;
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    /* What was stopped in the middle holds memory still: no sanitizer may look for it now. */
    (void)fflush(stdout);
    if (only_one) _exit(result);
    return result;
}
