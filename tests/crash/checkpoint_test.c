/* tests/crash/checkpoint_test.c - checkpoints on a disk that fails, fills up, and lies.
 *
 * Aim     A checkpoint that fails is told of and counted, changes nothing, leaves no files behind
 *         once another one has succeeded, and the database goes on; an opening gives back what was
 *         committed whatever has failed before. Damage anywhere in manifests and page files is
 *         refused with a clear report, or does no harm; never is something else given back.
 * Method  The simulated disk: each call of a checkpoint fails in turn; the disk fills up; the power
 *         is cut at each call; bytes of files flipped and files cut, on copies of the disk.
 * Blind   Failures of the log's own files, which end writing: the tests of the log set.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "database/care.h"
#include "tests/crash/place.h"
#include "tests/unit/seed.h"

enum { DOCUMENTS = 300 };
static const char path[] = "/d/world";

static uint64_t seed;

typedef struct world {
    place p;
    uint32_t number; /* of rounds of work done */
} world;

static void world_init(world *w, uint64_t disk_seed) {
    place_init(&w->p, disk_seed);
    w->number = 0;
}

static merle_err open_db(world *w) {
    return place_open(&w->p, path);
}

static void open_ok(world *w) {
    merle_err err = open_db(w);
    if (err != MERLE_OK) fail_msg("%s: %s", merle_err_name(err), w->p.report.message);
    assert_int_equal(merle_collection_open(w->p.db, "things", NULL, &w->p.things), MERLE_OK);
}

static void close_ok(world *w) {
    assert_int_equal(merle_close(w->p.db), MERLE_OK);
    w->p.db = NULL;
}

/* {"n": round} under each key that the round is due for: one in so many. */
static void work(world *w, uint32_t one_in) {
    merle_key key;
    w->number++;
    for (uint32_t i = 0; i < DOCUMENTS; i++) {
        if ((i + w->number) % one_in != 0) continue;
        uint8_t doc[60] = {0x82, 0xa1, 'n', 0xce, 0, 0, 0, (uint8_t)w->number, 0xa1, 't', 0xd9, 40};
        memset(doc + 12, 'a' + (int)(i % 26), 40);
        assert_int_equal(
            merle_one_put(w->p.things, merle_key_u64(&key, i), merle_bytes_of(doc, 52), NULL),
            MERLE_OK);
    }
}

/* A number that two equal states share. */
static uint64_t state_of(world *w) {
    merle_section s;
    merle_scan scan = {0};
    merle_doc docs[32];
    size_t count;
    uint64_t hash = 1;
    assert_int_equal(merle_check(w->p.db, &w->p.report), MERLE_OK);
    assert_int_equal(merle_section_begin(w->p.db, &s), MERLE_OK);
    while (merle_scan_next(&s, w->p.things, &scan, docs, 32, &count) == MERLE_OK)
        for (size_t i = 0; i < count; i++) {
            merle_bytes k = merle_doc_key(docs[i]);
            hash = mrl_hash_bytes(k.data, k.size, hash);
            hash = mrl_hash_bytes(docs[i].data, docs[i].size, hash + docs[i].seq);
        }
    assert_int_equal(merle_section_end(&s), MERLE_OK);
    return hash;
}

static uint64_t files_of(const world *w, const char *prefix) {
    uint64_t count = 0, size;
    char name[DISK_NAME_MAX];
    for (size_t i = 0; disk_file_at(w->p.disk, path, i, name, &size); i++)
        count += strncmp(name, prefix, strlen(prefix)) == 0;
    return count;
}

/* Every manifest that is there has all that it names. */
static void verify_ok(world *w, const char *what, unsigned long long n) {
    merle_care_info info = {0};
    const merle_care_options options = {.threads = 1};
    merle_err err = mrl_db_verify(&w->p.environment, path, &options, &info, &w->p.report);
    if (err != MERLE_OK)
        fail_msg("%s %llu: %s: %s", what, n, merle_err_name(err), w->p.report.message);
}

/* ---- failures ---- */

/* Fails the n-th call of a kind in a checkpoint; 0: the checkpoint makes fewer. */
static int fail_one(world *w, disk_call call, uint64_t n) {
    open_ok(w);
    work(w, 3);
    assert_int_equal(merle_wait_durable(w->p.db, mrl_log_published_at(w->p.db->store.published)),
                     MERLE_OK);
    disk_fail_nth(w->p.disk, call, n);
    merle_err err = merle_checkpoint(w->p.db);
    disk_fail_none(w->p.disk);
    int is_read_only = mrl_log_failure(w->p.db->log) != MERLE_OK;
    if (err != MERLE_OK) {
        merle_stats_db stats = {0};
        assert_int_equal(merle_stats(w->p.db, &stats), MERLE_OK);
        assert_int_equal(stats.checkpoints_failed, 1);
        assert_int_equal(stats.checkpoints, 0);
        assert_true(w->p.report.message[0] != 0);
    }
    if (!is_read_only) {
        work(w, 5);
        assert_int_equal(merle_checkpoint(w->p.db), MERLE_OK);
        assert_int_equal(files_of(w, "manifest-"), 2);
    }
    uint64_t state = state_of(w);
    merle_err closed = merle_close(w->p.db);
    assert_int_equal(closed, is_read_only ? MERLE_NOT_DURABLE : MERLE_OK);
    disk_cut_power(w->p.disk);
    open_ok(w);
    if (!is_read_only) assert_int_equal(state_of(w), state);
    close_ok(w);
    return err != MERLE_OK;
}

static void failed_call_fails_the_checkpoint_alone(void **state) {
    static const disk_call calls[] = {DISK_FILE_CREATE, DISK_FILE_WRITE, DISK_FILE_SYNC,
                                      DISK_RENAME, DISK_DIR_SYNC};
    (void)state;
    for (size_t c = 0; c < sizeof calls / sizeof calls[0]; c++) {
        uint64_t failed = 0;
        for (uint64_t n = 1; n < 12; n++) {
            world w;
            world_init(&w, seed + n);
            open_ok(&w);
            work(&w, 1);
            close_ok(&w);
            int has_failed = fail_one(&w, calls[c], n);
            failed += (uint64_t)has_failed;
            disk_destroy(w.p.disk);
            if (!has_failed) break;
        }
        assert_true(failed > 0);
    }
}

static void full_disk_fails_the_checkpoint_alone(void **state) {
    world w;
    (void)state;
    world_init(&w, seed);
    open_ok(&w);
    work(&w, 1);
    disk_capacity(w.p.disk, disk_used(w.p.disk) + 2000);
    assert_int_equal(merle_checkpoint(w.p.db), MERLE_NO_SPACE);
    assert_int_equal(files_of(&w, "pages-"), 0);
    disk_capacity(w.p.disk, UINT64_MAX);
    work(&w, 2);
    assert_int_equal(merle_checkpoint(w.p.db), MERLE_OK);
    uint64_t there = state_of(&w);
    close_ok(&w);
    open_ok(&w);
    assert_int_equal(state_of(&w), there);
    close_ok(&w);
    disk_destroy(w.p.disk);
}

static void page_files_without_live_pages_go(void **state) {
    world w;
    (void)state;
    world_init(&w, seed);
    open_ok(&w);
    for (int i = 0; i < 20; i++) {
        work(&w, 1);
        assert_int_equal(merle_checkpoint(w.p.db), MERLE_OK);
    }
    /* All of each file is rewritten by the next one: two kept manifests need two. */
    assert_int_equal(files_of(&w, "pages-"), 2);
    assert_int_equal(files_of(&w, "manifest-"), 2);
    for (int i = 0; i < 20; i++) {
        work(&w, 100);
        assert_int_equal(merle_checkpoint(w.p.db), MERLE_OK);
    }
    /* Thin ones are written anew: they do not pile up. */
    assert_true(files_of(&w, "pages-") < 12);
    uint64_t there = state_of(&w);
    close_ok(&w);
    open_ok(&w);
    assert_int_equal(state_of(&w), there);
    close_ok(&w);
    disk_destroy(w.p.disk);
}

/* Also where a checkpoint, or nothing at all, came after the last commit of a life: the log file
 * that the manifest names has nothing that is needed, and is there. */
static void files_that_a_manifest_names_stay(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 16; i++) {
        world w;
        world_init(&w, seed + i);
        w.p.options.manifests_kept = 1 + i % 2;
        for (uint32_t life = 0; life < 7; life++) {
            merle_err err = open_db(&w);
            if (err != MERLE_OK) fail_msg("%u, life %u: %s", i, life, w.p.report.message);
            if (life < i / 4) {
                assert_int_equal(merle_collection_open(w.p.db, "things", NULL, &w.p.things),
                                 MERLE_OK);
                work(&w, 50);
            }
            if (i / 2 % 2 == 1) assert_int_equal(merle_checkpoint(w.p.db), MERLE_OK);
            close_ok(&w);
        }
        disk_destroy(w.p.disk);
    }
}

/* Each opening begins a log file: without a checkpoint now and then they would pile up. */
static void log_files_of_many_short_lives_go(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        world w;
        world_init(&w, seed + i);
        w.p.options.checkpoint_log_bytes = 4 * w.p.options.log_file_size;
        for (uint32_t life = 0; life < 40; life++) {
            open_ok(&w);
            if (i == 1) work(&w, 100);
            for (int step = 0; step < 100; step++) (void)merle_step(w.p.db, 0, 0);
            close_ok(&w);
        }
        assert_true(files_of(&w, "log-") < 16);
        disk_destroy(w.p.disk);
    }
}

/* ---- damage ---- */

/* A disk with a closed database on it, whose state is known. */
static uint64_t prepare(world *w) {
    world_init(w, seed);
    open_ok(w);
    work(w, 1);
    assert_int_equal(merle_checkpoint(w->p.db), MERLE_OK);
    work(w, 4);
    assert_int_equal(merle_checkpoint(w->p.db), MERLE_OK);
    work(w, 9);
    uint64_t state = state_of(w);
    close_ok(w);
    return state;
}

/* Opens a damaged copy: right, or refused with a report. 1: refused. */
static int opens_right_or_not_at_all(world *w, disk *copy, uint64_t state, const char *name) {
    world other = *w;
    place_use(&other.p, copy);
    other.p.options.report = &other.p.report;
    merle_err err = open_db(&other);
    if (err != MERLE_OK) {
        int is_told = other.p.report.err == err && other.p.report.message[0] != 0 &&
                      strstr(other.p.report.path, name) != NULL;
        if (!is_told) fail_msg("%s: %s", merle_err_name(err), other.p.report.message);
        assert_int_equal(disk_open_count(copy), 0);
        return 1;
    }
    assert_int_equal(merle_collection_find(other.p.db, "things", &other.p.things), MERLE_OK);
    assert_int_equal(state_of(&other), state);
    close_ok(&other);
    return 0;
}

static void damaged_bytes_are_refused_or_harmless(void **state) {
    world w;
    char name[DISK_NAME_MAX];
    uint64_t size, there = prepare(&w), refused = 0, tried = 0;
    (void)state;
    for (size_t f = 0; disk_file_at(w.p.disk, path, f, name, &size); f++) {
        if (strncmp(name, "manifest-", 9) != 0 && strncmp(name, "pages-", 6) != 0) continue;
        uint64_t stride = size > 4000 ? size / 500 : 2;
        for (uint64_t at = f % stride; at < size; at += stride, tried++) {
            disk *copy = disk_copy(w.p.disk, seed);
            assert_int_equal(disk_flip(copy, path, name, at, 0x08), 0);
            refused += (uint64_t)opens_right_or_not_at_all(&w, copy, there, name);
            disk_destroy(copy);
        }
    }
    printf("# %llu bytes flipped, %llu refused\n", (unsigned long long)tried,
           (unsigned long long)refused);
    assert_true(refused > tried / 4 && tried > 200);
    disk_destroy(w.p.disk);
}

static void cut_files_are_refused_or_harmless(void **state) {
    world w;
    char name[DISK_NAME_MAX];
    uint64_t size, there = prepare(&w), refused = 0;
    (void)state;
    for (size_t f = 0; disk_file_at(w.p.disk, path, f, name, &size); f++) {
        if (strncmp(name, "manifest-", 9) != 0 && strncmp(name, "pages-", 6) != 0) continue;
        for (uint64_t cut = 0; cut < size; cut += 1 + size / 30) {
            disk *copy = disk_copy(w.p.disk, seed);
            assert_int_equal(disk_cut_file(copy, path, name, cut), 0);
            refused += (uint64_t)opens_right_or_not_at_all(&w, copy, there, name);
            disk_destroy(copy);
        }
    }
    assert_true(refused > 30);
    disk_destroy(w.p.disk);
}

static void lost_and_swapped_files_are_refused_or_harmless(void **state) {
    world w;
    char name[DISK_NAME_MAX], other[DISK_NAME_MAX];
    uint64_t size, there = prepare(&w), refused = 0;
    (void)state;
    for (size_t f = 0; disk_file_at(w.p.disk, path, f, name, &size); f++) {
        if (strcmp(name, "lock") == 0) continue;
        disk *copy = disk_copy(w.p.disk, seed);
        assert_int_equal(disk_lose(copy, path, name), 0);
        refused += (uint64_t)opens_right_or_not_at_all(&w, copy, there, "-");
        disk_destroy(copy);
        for (size_t g = f + 1; disk_file_at(w.p.disk, path, g, other, &size); g++) {
            if (name[0] != other[0] || strchr(other, '-') == NULL) continue;
            copy = disk_copy(w.p.disk, seed);
            assert_int_equal(disk_swap(copy, path, name, other), 0);
            refused += (uint64_t)opens_right_or_not_at_all(&w, copy, there, "-");
            disk_destroy(copy);
        }
    }
    assert_true(refused >= 3);
    disk_destroy(w.p.disk);
}

static uint64_t faults_of(const disk *d) {
    size_t count;
    uint64_t faults = 0;
    const disk_point *points = disk_points(d, &count);
    for (size_t i = 0; i < count; i++) faults += points[i].faults;
    return faults;
}

/* A manifest that could not be removed, or whose removal may not be on the disk, can be restored to
 * still: neither its pages nor its log go before it does. 1: a call has failed. */
static int fail_cleaning(disk_call call, uint64_t n) {
    world w;
    world_init(&w, seed);
    open_ok(&w);
    for (int round = 0; round < 4; round++) {
        work(&w, 1);
        assert_int_equal(merle_checkpoint(w.p.db), MERLE_OK);
    }
    work(&w, 1);
    disk_fail_nth(w.p.disk, call, n);
    merle_err err = merle_checkpoint(w.p.db);
    disk_fail_none(w.p.disk);
    int has_failed = faults_of(w.p.disk) > 0;
    /* The next one cleans up. */
    int goes_on = mrl_log_failure(w.p.db->log) == MERLE_OK;
    disk *before = disk_copy(w.p.disk, seed + n);
    if (goes_on) work(&w, 1);
    if (goes_on) assert_int_equal(merle_checkpoint(w.p.db), MERLE_OK);
    assert_int_equal(merle_close(w.p.db), goes_on ? MERLE_OK : MERLE_NOT_DURABLE);
    if (goes_on || err == MERLE_OK) verify_ok(&w, disk_call_name(call), n);
    disk_cut_power(w.p.disk);
    verify_ok(&w, disk_call_name(call), n);
    disk_destroy(w.p.disk);
    w.p.environment.files = disk_files(before);
    verify_ok(&w, disk_call_name(call), n);
    disk_destroy(before);
    return has_failed;
}

static void manifest_that_cannot_be_removed_keeps_what_it_names(void **state) {
    (void)state;
    uint64_t n;
    for (n = 1; fail_cleaning(DISK_REMOVE, n); n++) continue;
    assert_true(n > 2);
    for (n = 1; fail_cleaning(DISK_DIR_SYNC, n); n++) continue;
    assert_true(n > 2);
}

/* What is kept of the log beyond need is not thrown away because it could not be read once. */
static void log_file_that_cannot_be_read_once_is_kept(void **state) {
    (void)state;
    for (uint64_t n = 1; n < 30; n++) {
        world w;
        world_init(&w, seed);
        w.p.options.log_keep_bytes = UINT64_MAX;
        open_ok(&w);
        for (int round = 0; round < 8; round++) {
            work(&w, 1);
            assert_int_equal(merle_checkpoint(w.p.db), MERLE_OK);
        }
        close_ok(&w);
        uint64_t files = files_of(&w, "log-");
        assert_true(files > 3);
        disk_fail_nth(w.p.disk, n % 2 == 0 ? DISK_FILE_READ : DISK_FILE_OPEN, n / 2 + 1);
        merle_err err = open_db(&w);
        disk_fail_none(w.p.disk);
        if (err == MERLE_OK) close_ok(&w);
        if (files_of(&w, "log-") < files)
            fail_msg("of %llu log files %llu are there", (unsigned long long)files,
                     (unsigned long long)files_of(&w, "log-"));
        disk_destroy(w.p.disk);
    }
}

/* ---- openings that are cut off ---- */

static jmp_buf stopped;

static void stop(void *context) {
    (void)context;
    longjmp(stopped, 1);
}

/* The power is cut at the n-th call of an opening. 0: it makes fewer. */
static int cut_opening(world *w, disk *d, uint64_t n) {
    w->p.environment.files = disk_files(d);
    disk_on_stop(d, stop, NULL);
    disk_stop_at(d, n);
    if (setjmp(stopped) != 0) {
        disk_cut_power(d);
        w->p.db = NULL; /* what it had in memory is gone with the machine */
        return 1;
    }
    merle_err err = open_db(w);
    disk_stop_at(d, 0);
    if (err != MERLE_OK) fail_msg("%s: %s", merle_err_name(err), w->p.report.message);
    close_ok(w);
    return 0;
}

/* Its header is written twice, one copy after the other: whatever a cut leaves of the one, the
 * other counts. */
static void empty_log_file_that_is_begun_again_survives_every_cut(void **state) {
    (void)state;
    world w;
    uint64_t cuts = 0;
    world_init(&w, seed);
    disk *whole = w.p.disk;
    open_ok(&w);
    work(&w, 2);
    uint64_t there = state_of(&w);
    close_ok(&w);
    for (int i = 0; i < 2; i++) {
        open_ok(&w); /* the file that this begins stays empty */
        close_ok(&w);
    }
    for (uint64_t moods = 0; moods < 12; moods++) {
        int is_cut = 1;
        for (uint64_t n = 1; is_cut; n++) {
            disk *d = disk_copy(whole, seed + 100 * moods + n);
            is_cut = cut_opening(&w, d, n);
            cuts += (uint64_t)is_cut;
            open_ok(&w);
            assert_true(state_of(&w) == there);
            close_ok(&w);
            disk_destroy(d);
        }
    }
    (void)printf("# %llu cuts\n", (unsigned long long)cuts);
    assert_true(cuts > 100);
    disk_destroy(whole);
}

int main(int argc, char **argv) {
    seed = seed_of(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failed_call_fails_the_checkpoint_alone),
        cmocka_unit_test(full_disk_fails_the_checkpoint_alone),
        cmocka_unit_test(page_files_without_live_pages_go),
        cmocka_unit_test(files_that_a_manifest_names_stay),
        cmocka_unit_test(log_files_of_many_short_lives_go),
        cmocka_unit_test(manifest_that_cannot_be_removed_keeps_what_it_names),
        cmocka_unit_test(log_file_that_cannot_be_read_once_is_kept),
        cmocka_unit_test(empty_log_file_that_is_begun_again_survives_every_cut),
        cmocka_unit_test(damaged_bytes_are_refused_or_harmless),
        cmocka_unit_test(cut_files_are_refused_or_harmless),
        cmocka_unit_test(lost_and_swapped_files_are_refused_or_harmless),
    };
    return cmocka_run_group_tests_name("persist/checkpoint", tests, NULL, NULL);
}
