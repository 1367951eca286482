/* tests/model/disk_test.c
 *
 * Aim     The simulated disk keeps its word and no more: what was synced survives every cut, what
 *         was not is sometimes lost, sometimes kept, sometimes torn; each fault comes when it was
 *         asked for; a stop at any call is a stop.
 * Method  Random calls beside a list of the values that each byte, and each name, may have after a
 *         cut; each fault by hand; workers that the machine's stop catches in the middle.
 * Blind   Whether real disks do still worse: rotten sectors, writes to the wrong place.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/model/seed.h"
#include "tests/sim/disk.h"
#include "tests/sim/sim.h"

enum { FILE_SIZE = 3000, ROUND_COUNT = 400 };

/* A disk with one directory open. */
typedef struct rig {
    disk *d;
    const mrl_files *files;
    mrl_dir *dir;
} rig;

static void rig_open(rig *r) {
    int created;
    assert_int_equal(r->files->dir_open(r->files->context, "db", 1, &r->dir, &created), 0);
}

static rig rig_make(uint64_t seed) {
    rig r = {disk_create(seed), NULL, NULL};
    r.files = disk_files(r.d);
    rig_open(&r);
    return r;
}

static mrl_file *open_as(const rig *r, const char *name, mrl_file_mode mode) {
    mrl_file *file = NULL;
    assert_int_equal(r->files->file_open(r->dir, name, mode, &file), 0);
    return file;
}

static int write_at(const rig *r, mrl_file *file, uint64_t offset, const void *data, size_t size) {
    /* In two parts, which are one write. */
    mrl_file_part parts[2] = {{data, size / 3}, {(const char *)data + size / 3, size - size / 3}};
    return r->files->file_write(file, offset, parts, 2);
}

/* ---- bytes ---- */

/* What each byte may be after a cut, and what it is now. */
typedef struct bytes_model {
    uint8_t live[FILE_SIZE];
    uint8_t may[FILE_SIZE][256];
} bytes_model;

static void model_sync(bytes_model *m) {
    memset(m->may, 0, sizeof m->may);
    for (size_t i = 0; i < FILE_SIZE; i++) m->may[i][m->live[i]] = 1;
}

static void write_random(rig *r, mrl_file *file, bytes_model *m, mrl_random *random, uint8_t mark) {
    uint8_t bytes[FILE_SIZE];
    size_t size = 1 + mrl_random_below(random, mrl_random_below(random, 2) ? 40 : FILE_SIZE - 1);
    size_t at = mrl_random_below(random, FILE_SIZE - size + 1);
    memset(bytes, mark, size);
    assert_int_equal(write_at(r, file, at, bytes, size), 0);
    for (size_t i = at; i < at + size; i++) {
        m->live[i] = mark;
        m->may[i][mark] = 1;
    }
}

static void check_bytes(rig *r, bytes_model *m) {
    uint8_t bytes[FILE_SIZE + 1];
    size_t got = 0;
    mrl_file *file = open_as(r, "log-1", MRL_FILE_WRITE);
    assert_int_equal(r->files->file_read(file, 0, bytes, sizeof bytes, &got), 0);
    assert_int_equal(got, FILE_SIZE);
    for (size_t i = 0; i < FILE_SIZE; i++) assert_true(m->may[i][bytes[i]]);
    memcpy(m->live, bytes, FILE_SIZE);
    model_sync(m);
    r->files->file_close(file);
}

static void synced_bytes_survive_and_others_go_their_ways(void **state) {
    disk_fates all = {0};
    (void)state;
    for (uint64_t round = 0; round < ROUND_COUNT; round++) {
        rig r = rig_make(test_seed() + round);
        static bytes_model m;
        mrl_random random;
        mrl_random_init(&random, test_seed() + round);
        memset(&m, 0, sizeof m);
        mrl_file *file = open_as(&r, "log-1", MRL_FILE_CREATE);
        assert_int_equal(r.files->file_reserve(file, FILE_SIZE), 0);
        assert_int_equal(r.files->file_sync(file), 0);
        assert_int_equal(r.files->dir_sync(r.dir), 0);
        model_sync(&m);
        for (int cut = 0; cut < 3; cut++) {
            for (uint64_t i = mrl_random_below(&random, 20); i > 0; i--) {
                write_random(&r, file, &m, &random, (uint8_t)(1 + 60 * cut + (int)i));
                if (mrl_random_below(&random, 6) != 0) continue;
                assert_int_equal(r.files->file_sync(file), 0);
                model_sync(&m);
            }
            disk_cut_power(r.d);
            assert_int_equal(disk_open_count(r.d), 0);
            rig_open(&r);
            check_bytes(&r, &m);
            file = open_as(&r, "log-1", MRL_FILE_WRITE);
        }
        disk_fates fates = disk_fates_of(r.d);
        all.writes_lost += fates.writes_lost;
        all.writes_kept += fates.writes_kept;
        all.writes_torn += fates.writes_torn;
        disk_destroy(r.d);
    }
    test_say("writes lost %llu, kept %llu, torn %llu", (unsigned long long)all.writes_lost,
             (unsigned long long)all.writes_kept, (unsigned long long)all.writes_torn);
    assert_true(all.writes_lost > 100 && all.writes_kept > 100 && all.writes_torn > 100);
}

/* A file that grew without a sync: any size on the way, and what is not written reads as zeros. */
static void sizes_are_unsynced_too(void **state) {
    uint32_t empty = 0, whole = 0, between = 0, zeros = 0;
    (void)state;
    for (uint64_t round = 0; round < ROUND_COUNT; round++) {
        rig r = rig_make(test_seed() + round);
        uint8_t bytes[1600], back[1600];
        size_t got;
        memset(bytes, 7, sizeof bytes);
        mrl_file *file = open_as(&r, "pages-1", MRL_FILE_CREATE);
        assert_int_equal(r.files->dir_sync(r.dir), 0);
        assert_int_equal(write_at(&r, file, 0, bytes, sizeof bytes), 0);
        disk_cut_power(r.d);
        rig_open(&r);
        file = open_as(&r, "pages-1", MRL_FILE_READ);
        assert_int_equal(r.files->file_read(file, 0, back, sizeof back, &got), 0);
        size_t there = 0;
        for (size_t i = 0; i < got; i++) {
            assert_true(back[i] == 7 || back[i] == 0);
            there += back[i] == 7;
        }
        empty += got == 0;
        whole += there == sizeof bytes;
        between += got > 0 && got < sizeof bytes;
        zeros += there < got;
        disk_destroy(r.d);
    }
    assert_true(empty > 10 && whole > 10 && between > 10 && zeros > 10);
}

/* ---- names ---- */

static int has(const rig *r, const char *name) {
    mrl_file *file = NULL;
    int err = r->files->file_open(r->dir, name, MRL_FILE_READ, &file);
    assert_true(err == 0 || err == ENOENT);
    r->files->file_close(file);
    return err == 0;
}

/* 'o' or 'n': which of two files has the name. */
static char which(const rig *r, const char *name) {
    char byte = 0;
    size_t got;
    mrl_file *file = open_as(r, name, MRL_FILE_READ);
    assert_int_equal(r->files->file_read(file, 0, &byte, 1, &got), 0);
    r->files->file_close(file);
    return byte;
}

static void make(const rig *r, const char *name, const char *text) {
    mrl_file *file = open_as(r, name, MRL_FILE_CREATE);
    assert_int_equal(write_at(r, file, 0, text, strlen(text)), 0);
    assert_int_equal(r->files->file_sync(file), 0);
    r->files->file_close(file);
}

static void names_are_forgotten_until_the_directory_is_synced(void **state) {
    uint32_t made = 0, renamed = 0, removed = 0, linked = 0, both = 0;
    (void)state;
    for (uint64_t round = 0; round < ROUND_COUNT; round++) {
        rig r = rig_make(test_seed() + round);
        mrl_dir *other;
        int created;
        make(&r, "manifest-1", "o");
        make(&r, "old", "x");
        assert_int_equal(r.files->dir_sync(r.dir), 0);
        make(&r, "fresh", "x");
        make(&r, "manifest.tmp", "n");
        assert_int_equal(r.files->rename(r.dir, "manifest.tmp", "manifest-1"), 0);
        assert_int_equal(r.files->remove(r.dir, "old"), 0);
        assert_int_equal(r.files->dir_open(r.files->context, "backup", 1, &other, &created), 0);
        assert_true(created);
        assert_int_equal(r.files->link(r.dir, "fresh", other, "fresh"), 0);
        assert_int_equal(r.files->link(r.dir, "fresh", other, "fresh"), EEXIST);
        assert_int_equal(which(&r, "manifest-1"), 'n');
        disk_cut_power(r.d);
        rig_open(&r);
        made += (uint32_t)has(&r, "fresh");
        removed += !has(&r, "old");
        char now = which(&r, "manifest-1");
        assert_true(now == 'o' || now == 'n');
        renamed += now == 'n';
        both += now == 'o' && has(&r, "manifest.tmp");
        assert_false(now == 'n' && has(&r, "manifest.tmp"));
        assert_int_equal(r.files->dir_open(r.files->context, "backup", 0, &r.dir, &created), 0);
        linked += (uint32_t)has(&r, "fresh");
        disk_destroy(r.d);
    }
    test_say("of %d: made %u, renamed %u, removed %u, linked %u, beside its old name %u",
             ROUND_COUNT, made, renamed, removed, linked, both);
    assert_in_range(made, ROUND_COUNT / 10, ROUND_COUNT * 9 / 10);
    assert_in_range(renamed, ROUND_COUNT / 10, ROUND_COUNT * 9 / 10);
    assert_in_range(removed, ROUND_COUNT / 10, ROUND_COUNT * 9 / 10);
    assert_in_range(linked, ROUND_COUNT / 10, ROUND_COUNT * 9 / 10);
    assert_true(both > 0);
}

static void synced_names_survive(void **state) {
    (void)state;
    for (uint64_t round = 0; round < ROUND_COUNT / 4; round++) {
        rig r = rig_make(test_seed() + round);
        make(&r, "manifest-1", "o");
        make(&r, "old", "x");
        make(&r, "manifest.tmp", "n");
        assert_int_equal(r.files->rename(r.dir, "manifest.tmp", "manifest-1"), 0);
        assert_int_equal(r.files->remove(r.dir, "old"), 0);
        assert_int_equal(r.files->dir_sync(r.dir), 0);
        disk_cut_power(r.d);
        rig_open(&r);
        assert_int_equal(which(&r, "manifest-1"), 'n');
        assert_false(has(&r, "old"));
        assert_false(has(&r, "manifest.tmp"));
        disk_destroy(r.d);
    }
}

/* A killed process loses nothing, but what it had not synced stays in danger. */
static void kill_keeps_what_a_later_cut_may_lose(void **state) {
    uint32_t lost = 0;
    (void)state;
    for (uint64_t round = 0; round < ROUND_COUNT; round++) {
        rig r = rig_make(test_seed() + round);
        uint64_t pid;
        make(&r, "log-1", "o");
        assert_int_equal(r.files->dir_sync(r.dir), 0);
        assert_int_equal(r.files->dir_lock(r.dir, "lock", &pid), 0);
        mrl_file *file = open_as(&r, "log-1", MRL_FILE_WRITE);
        assert_int_equal(write_at(&r, file, 0, "n", 1), 0);
        disk_kill(r.d);
        assert_int_equal(disk_open_count(r.d), 0);
        rig_open(&r);
        assert_int_equal(r.files->dir_lock(r.dir, "lock", &pid), 0);
        assert_int_equal(which(&r, "log-1"), 'n');
        disk_cut_power(r.d);
        rig_open(&r);
        lost += which(&r, "log-1") == 'o';
        disk_destroy(r.d);
    }
    assert_in_range(lost, ROUND_COUNT / 10, ROUND_COUNT * 9 / 10);
}

static void lock_is_held_by_one_until_it_is_closed(void **state) {
    rig r = rig_make(test_seed());
    mrl_dir *first = r.dir;
    uint64_t pid;
    (void)state;
    assert_int_equal(r.files->dir_lock(first, "lock", &pid), 0);
    rig_open(&r);
    assert_int_equal(r.files->dir_lock(r.dir, "lock", &pid), EBUSY);
    assert_int_equal(pid, getpid());
    r.files->dir_close(first);
    assert_int_equal(r.files->dir_lock(r.dir, "lock", &pid), 0);
    r.files->dir_unlock(r.dir);
    assert_int_equal(disk_open_count(r.d), 1);
    disk_destroy(r.d);
}

/* ---- faults ---- */

/* Makes one call of a kind; what it answers. */
static int call_once(const rig *r, mrl_file *file, disk_call of) {
    const mrl_files *f = r->files;
    mrl_dir *dir = NULL;
    mrl_file *opened = NULL;
    int created, err = 0;
    uint64_t number;
    char byte;
    size_t got;
    static uint32_t serial;
    char name[32];
    (void)snprintf(name, sizeof name, "new-%u", ++serial);
    switch (of) {
    case DISK_DIR_OPEN:
        err = f->dir_open(f->context, "db", 1, &dir, &created);
        f->dir_close(dir);
        return err;
    case DISK_DIR_EACH:
        return f->dir_each(r->dir, NULL, NULL);
    case DISK_DIR_SYNC:
        return f->dir_sync(r->dir);
    case DISK_DIR_LOCK:
        err = f->dir_lock(r->dir, "lock", &number);
        f->dir_unlock(r->dir);
        return err;
    case DISK_DIR_ROOM:
        return f->dir_room(r->dir, &number);
    case DISK_RENAME:
        return f->rename(r->dir, "one", "one");
    case DISK_REMOVE:
        err = f->remove(r->dir, "two");
        return err == ENOENT ? 0 : err;
    case DISK_LINK:
        return f->link(r->dir, "one", r->dir, name);
    case DISK_FILE_OPEN:
    case DISK_FILE_CREATE:
        err = of == DISK_FILE_OPEN ? f->file_open(r->dir, "one", MRL_FILE_READ, &opened)
                                   : f->file_open(r->dir, name, MRL_FILE_CREATE, &opened);
        assert_int_equal(opened == NULL, err != 0);
        f->file_close(opened);
        return err;
    case DISK_FILE_SIZE:
        return f->file_size(file, &number);
    case DISK_FILE_READ:
        return f->file_read(file, 0, &byte, 1, &got);
    case DISK_FILE_WRITE:
        return write_at(r, file, 0, "abc", 3);
    case DISK_FILE_SYNC:
        return f->file_sync(file);
    case DISK_FILE_RESERVE:
        return f->file_reserve(file, 100);
    case DISK_FILE_TRUNCATE:
        return f->file_truncate(file, 50);
    case DISK_CALL_COUNT:
        break;
    }
    return -1;
}

static int no_file(void *context, const char *name, uint64_t size) {
    (void)context;
    (void)name;
    (void)size;
    return 1;
}

static uint64_t faults_of(const rig *r, disk_call of) {
    size_t count;
    uint64_t faults = 0;
    const disk_point *points = disk_points(r->d, &count);
    for (size_t i = 0; i < count; i++)
        if (points[i].call == of) faults += points[i].faults;
    return faults;
}

static void every_call_fails_when_it_was_asked_to(void **state) {
    rig r = rig_make(test_seed());
    (void)state;
    assert_int_equal(r.files->dir_each(r.dir, no_file, NULL), 0);
    mrl_file *file = open_as(&r, "one", MRL_FILE_CREATE);
    for (int of = 0; of < DISK_CALL_COUNT; of++) {
        if (of == DISK_DIR_EACH) continue; /* it would call nobody */
        disk_fail_nth(r.d, (disk_call)of, 2);
        assert_int_equal(call_once(&r, file, (disk_call)of), 0);
        assert_int_equal(call_once(&r, file, (disk_call)of), EIO);
        assert_int_equal(call_once(&r, file, (disk_call)of), 0);
        assert_int_equal(faults_of(&r, (disk_call)of), 1);
        disk_fail_one_in(r.d, (disk_call)of, 2);
        uint64_t failed = 0;
        for (int i = 0; i < 200; i++) failed += call_once(&r, file, (disk_call)of) == EIO;
        assert_in_range(failed, 40, 160);
        disk_fail_none(r.d);
        assert_int_equal(call_once(&r, file, (disk_call)of), 0);
    }
    disk_fail_nth(r.d, DISK_DIR_EACH, 1);
    assert_int_equal(r.files->dir_each(r.dir, no_file, NULL), EIO);
    disk_destroy(r.d);
}

static void failed_write_has_written_a_part(void **state) {
    uint32_t none = 0, part = 0;
    (void)state;
    for (uint64_t round = 0; round < ROUND_COUNT; round++) {
        rig r = rig_make(test_seed() + round);
        uint64_t size;
        mrl_file *file = open_as(&r, "log-1", MRL_FILE_CREATE);
        disk_fail_nth(r.d, DISK_FILE_WRITE, 1);
        assert_int_equal(write_at(&r, file, 0, "abc", 3), EIO);
        assert_int_equal(r.files->file_size(file, &size), 0);
        none += size == 0;
        part += size > 0;
        disk_destroy(r.d);
    }
    assert_true(none > 10 && part > 10);
}

/* After a failed sync the process sees its bytes, the next sync says that all is well, and the
 * bytes are gone after a cut. What is written later and synced is there. */
static void failed_sync_may_lose_for_good(void **state) {
    uint32_t lost = 0;
    (void)state;
    for (uint64_t round = 0; round < ROUND_COUNT; round++) {
        rig r = rig_make(test_seed() + round);
        char byte = 0;
        size_t got;
        make(&r, "log-1", "oo");
        assert_int_equal(r.files->dir_sync(r.dir), 0);
        mrl_file *file = open_as(&r, "log-1", MRL_FILE_WRITE);
        assert_int_equal(write_at(&r, file, 0, "n", 1), 0);
        disk_fail_nth(r.d, DISK_FILE_SYNC, 1);
        assert_int_equal(r.files->file_sync(file), EIO);
        assert_int_equal(write_at(&r, file, 1, "N", 1), 0);
        assert_int_equal(r.files->file_sync(file), 0);
        assert_int_equal(r.files->file_read(file, 0, &byte, 1, &got), 0);
        assert_int_equal(byte, 'n');
        disk_cut_power(r.d);
        rig_open(&r);
        lost += which(&r, "log-1") == 'o';
        file = open_as(&r, "log-1", MRL_FILE_READ);
        assert_int_equal(r.files->file_read(file, 1, &byte, 1, &got), 0);
        assert_int_equal(byte, 'N');
        disk_destroy(r.d);
    }
    assert_in_range(lost, ROUND_COUNT / 10, ROUND_COUNT * 9 / 10);
}

static void full_disk_takes_what_fits(void **state) {
    rig r = rig_make(test_seed());
    char bytes[100];
    uint64_t room, size;
    mrl_file *refused = NULL;
    (void)state;
    memset(bytes, 1, sizeof bytes);
    disk_capacity(r.d, 250);
    mrl_file *file = open_as(&r, "a", MRL_FILE_CREATE);
    assert_int_equal(r.files->file_reserve(file, 300), ENOSPC);
    assert_int_equal(r.files->file_reserve(file, 180), 0);
    assert_int_equal(r.files->dir_room(r.dir, &room), 0);
    assert_int_equal(room, 70);
    assert_int_equal(write_at(&r, file, 180, bytes, 100), ENOSPC);
    assert_int_equal(r.files->file_size(file, &size), 0);
    assert_int_equal(size, 250);
    assert_int_equal(write_at(&r, file, 100, bytes, 100), 0); /* nothing new is needed for it */
    assert_int_equal(r.files->file_open(r.dir, "b", MRL_FILE_CREATE, &refused), ENOSPC);
    disk_capacity(r.d, 100);
    assert_int_equal(r.files->dir_room(r.dir, &room), 0);
    assert_int_equal(room, 0);
    assert_int_equal(r.files->file_truncate(file, 50), 0);
    assert_int_equal(write_at(&r, file, 50, bytes, 20), 0);
    assert_int_equal(disk_used(r.d), 70);
    r.files->file_close(file);
    assert_int_equal(r.files->remove(r.dir, "a"), 0);
    assert_int_equal(r.files->dir_sync(r.dir), 0);
    assert_int_equal(disk_used(r.d), 0);
    disk_destroy(r.d);
}

/* ---- stops, and other workers ---- */

typedef struct scene {
    rig r;
    sim *s;
    uint32_t done; /* writes that came back */
    int is_syncing;
    int is_first_beside; /* the first write came back while a sync lasted */
    int is_over;
} scene;

static void stop_scene(void *context) {
    sim_abandon(((scene *)context)->s);
}

static void write_five(void *context) {
    scene *at = context;
    mrl_file *file = NULL;
    if (at->r.files->file_open(at->r.dir, "log-1", MRL_FILE_WRITE, &file) != 0) return;
    for (int i = 0; i < 5; i++) {
        if (write_at(&at->r, file, (uint64_t)i, "n", 1) != 0) return;
        if (at->done++ == 0) at->is_first_beside = at->is_syncing;
    }
    at->r.files->file_close(file);
    at->is_over = 1;
}

static void stop_at_any_call_ends_the_run(void **state) {
    (void)state;
    uint32_t with = 0, without = 0;
    for (uint64_t round = 0; round < ROUND_COUNT; round++) {
        scene at = {rig_make(test_seed() + round), sim_create(test_seed() + round, 2)};
        make(&at.r, "log-1", "oooooo");
        assert_int_equal(at.r.files->dir_sync(at.r.dir), 0);
        sim_spawn(at.s, "a", write_five, &at);
        sim_spawn(at.s, "b", write_five, &at);
        disk_on_stop(at.r.d, stop_scene, &at);
        /* Two opens and ten writes. */
        uint64_t n = 1 + mrl_random_below(&(mrl_random){round}, 13);
        disk_stop_at(at.r.d, n);
        assert_int_equal(sim_run(at.s), n <= 12 ? 1 : 0);
        if (n > 12) assert_true(at.is_over);
        sim_destroy(at.s);
        disk_kill(at.r.d);
        /* Seen, not synced: as many as came back, or one more that did not come back. */
        uint32_t there = 0;
        char bytes[6];
        size_t got;
        rig_open(&at.r);
        mrl_file *file = open_as(&at.r, "log-1", MRL_FILE_READ);
        assert_int_equal(at.r.files->file_read(file, 0, bytes, 6, &got), 0);
        for (int i = 0; i < 6; i++) there += bytes[i] == 'n';
        if (n > 1 && at.done == 0) (there == 1 ? with++ : without++);
        assert_true(there <= at.done + 1);
        disk_destroy(at.r.d);
    }
    assert_true(with > 0 && without > 0);
}

static void sync_once(void *context) {
    scene *at = context;
    mrl_file *file = NULL;
    if (at->r.files->file_open(at->r.dir, "log-1", MRL_FILE_WRITE, &file) != 0) return;
    at->is_syncing = 1;
    (void)at->r.files->file_sync(file);
    at->is_syncing = 0;
    at->r.files->file_close(file);
}

static void what_is_written_during_a_sync_is_not_covered(void **state) {
    uint32_t lost = 0;
    (void)state;
    for (uint64_t round = 0; round < ROUND_COUNT; round++) {
        scene at = {rig_make(test_seed() + round), sim_create(test_seed() + round, 1)};
        make(&at.r, "log-1", "oooooo");
        assert_int_equal(at.r.files->dir_sync(at.r.dir), 0);
        sim_spawn(at.s, "syncs", sync_once, &at);
        sim_spawn(at.s, "writes", write_five, &at);
        assert_int_equal(sim_run(at.s), 0);
        sim_destroy(at.s);
        disk_cut_power(at.r.d);
        rig_open(&at.r);
        lost += at.is_first_beside && which(&at.r, "log-1") == 'o';
        disk_destroy(at.r.d);
    }
    assert_true(lost > 0);
}

/* ---- harm and copies ---- */

static void harm_is_done_to_copies_alone(void **state) {
    rig r = rig_make(test_seed()), c = {NULL, NULL, NULL};
    char name[DISK_NAME_MAX];
    uint64_t size;
    (void)state;
    make(&r, "log-1", "one");
    make(&r, "log-2", "other");
    c.d = disk_copy(r.d, 1);
    c.files = disk_files(c.d);
    assert_int_equal(disk_swap(c.d, "db", "log-1", "log-2"), 0);
    assert_int_equal(disk_flip(c.d, "db", "log-1", 4, 1), 0);
    assert_int_equal(disk_flip(c.d, "db", "log-1", 5, 1), ENOENT);
    assert_int_equal(disk_cut_file(c.d, "db", "log-2", 2), 0);
    assert_int_equal(disk_duplicate(c.d, "db", "log-2", "log-3"), 0);
    assert_int_equal(disk_lose(c.d, "db", "log-2"), 0);
    assert_int_equal(disk_lose(c.d, "db", "log-2"), ENOENT);
    disk_cut_power(c.d); /* all of it is durable */
    assert_true(disk_file_at(c.d, "db", 0, name, &size));
    assert_string_equal(name, "log-1");
    assert_int_equal(size, 5);
    assert_true(disk_file_at(c.d, "db", 1, name, &size));
    assert_string_equal(name, "log-3");
    assert_int_equal(size, 2);
    assert_false(disk_file_at(c.d, "db", 2, name, &size));
    rig_open(&c);
    char bytes[5];
    size_t got;
    mrl_file *file = open_as(&c, "log-1", MRL_FILE_READ);
    assert_int_equal(c.files->file_read(file, 0, bytes, 5, &got), 0);
    assert_memory_equal(bytes, "othes", 5);
    disk_destroy(c.d);
    assert_int_equal(which(&r, "log-1"), 'o');
    assert_true(has(&r, "log-2"));
    disk_destroy(r.d);
}

static void real_directories_come_and_go(void **state) {
    rig r = rig_make(test_seed());
    char root[] = "/tmp/merle-disk-XXXXXX", path[64], command[80], name[DISK_NAME_MAX];
    uint64_t size;
    (void)state;
    assert_non_null(mkdtemp(root));
    (void)snprintf(path, sizeof path, "%s/db", root);
    make(&r, "log-1", "one");
    make(&r, "log-2", "");
    assert_int_equal(disk_export(r.d, "db", path), 0);
    disk *back = disk_create(1);
    assert_int_equal(disk_import(back, "there", path), 0);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
    assert_true(disk_file_at(back, "there", 0, name, &size));
    assert_string_equal(name, "log-1");
    assert_int_equal(size, 3);
    assert_true(disk_file_at(back, "there", 1, name, &size));
    assert_int_equal(size, 0);
    disk_destroy(back);
    disk_destroy(r.d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(synced_bytes_survive_and_others_go_their_ways),
        cmocka_unit_test(sizes_are_unsynced_too),
        cmocka_unit_test(names_are_forgotten_until_the_directory_is_synced),
        cmocka_unit_test(synced_names_survive),
        cmocka_unit_test(kill_keeps_what_a_later_cut_may_lose),
        cmocka_unit_test(lock_is_held_by_one_until_it_is_closed),
        cmocka_unit_test(every_call_fails_when_it_was_asked_to),
        cmocka_unit_test(failed_write_has_written_a_part),
        cmocka_unit_test(failed_sync_may_lose_for_good),
        cmocka_unit_test(full_disk_takes_what_fits),
        cmocka_unit_test(stop_at_any_call_ends_the_run),
        cmocka_unit_test(what_is_written_during_a_sync_is_not_covered),
        cmocka_unit_test(harm_is_done_to_copies_alone),
        cmocka_unit_test(real_directories_come_and_go),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
