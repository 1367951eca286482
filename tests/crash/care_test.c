/* tests/crash/care_test.c - repair of every kind of damage, and backups that were cut off.
 *
 * Aim     After one flipped byte anywhere repair gives back everything but what that byte touched:
 *         at most the documents of one page, or of one commit; where a page or manifest has an
 *         older copy, all of it. After much damage what it gives back is sound, and every document
 *         is one that was there once under that key; what differs from the original was told. A
 *         backup that is cut off at any call is no database, or a whole one.
 * Method  A small database on the simulated disk, with every document that each key ever had.
 *         Copies of the disk are damaged, repaired, opened and compared.
 * Blind   Damage that has right checksums.
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

#include "base/hash.h"
#include "base/random.h"
#include "database/care.h"
#include "tests/crash/place.h"
#include "tests/unit/seed.h"

enum { KEYS = 120, EVER_MAX = 200, NOTHING = 0 };
/* Of a file, in a run that is not long. */
#if defined(__SANITIZE_ADDRESS__)
enum { FLIPS = 30, ROUNDS = 50 };
#else
enum { FLIPS = 150, ROUNDS = 250 };
#endif
static const char path[] = "/d/world", copy[] = "/d/copy";

static uint64_t seed;
static int is_long;

typedef struct world {
    place p;
    mrl_random random;
    uint8_t differs[KEYS]; /* as compare has found */
    uint64_t now[KEYS];    /* hashes of documents; NOTHING: there is none */
    uint64_t ever[KEYS][EVER_MAX];
    uint32_t ever_count[KEYS];
    uint64_t findings[16];
    merle_finding last;
} world;

static const merle_index indexes[] = {{.name = "code", .kind = MERLE_UNIQUE, .on = "code"},
                                      {.name = "level", .kind = MERLE_ORDERED, .on = "level"},
                                      {0}};
static const merle_schema schema = {.version = 1, .indexes = indexes};

/* ---- a world ---- */

static void use_disk(world *w, disk *d) {
    place_use(&w->p, d);
}

static void world_init(world *w) {
    memset(w, 0, sizeof *w);
    place_init(&w->p, seed);
    mrl_random_init(&w->random, seed);
}

static void open_ok(world *w, const char *where) {
    merle_err err = place_open(&w->p, where);
    if (err != MERLE_OK) fail_msg("%s: %s: %s", where, merle_err_name(err), w->p.report.message);
}

static void close_ok(world *w) {
    assert_int_equal(merle_close(w->p.db), MERLE_OK);
    w->p.db = NULL;
}

static uint64_t hash_of(merle_doc doc) {
    return mrl_hash_bytes(doc.data, doc.size, 3) | 1;
}

/* What the key has after a commit. */
static void note(world *w, uint32_t number) {
    merle_section s;
    merle_key key;
    merle_doc doc;
    assert_int_equal(merle_section_begin(w->p.db, &s), MERLE_OK);
    merle_err err = merle_get(&s, w->p.things, merle_key_u64(&key, number), &doc);
    w->now[number] = err == MERLE_OK ? hash_of(doc) : NOTHING;
    if (err == MERLE_OK) {
        assert_true(w->ever_count[number] < EVER_MAX);
        w->ever[number][w->ever_count[number]++] = w->now[number];
    }
    assert_int_equal(merle_section_end(&s), MERLE_OK);
}

static void change(world *w, uint32_t number) {
    merle_key key;
    merle_bytes k = merle_key_u64(&key, number), doc;
    merle_builder *b;
    uint64_t what = mrl_random_below(&w->random, 10);
    merle_err err = MERLE_NOT_FOUND;
    if (what < 4) err = merle_one_patch(w->p.things, k, NULL, NULL, MERLE_INC("level", 1));
    if (what == 9) err = merle_one_remove(w->p.things, k, NULL);
    if (err == MERLE_NOT_FOUND && what != 9) {
        char text[] = "0123456789012345678901234567890123456789012345678901234567890123456789";
        assert_int_equal(merle_builder_create(&b), MERLE_OK);
        merle_build_begin(b);
        merle_build_int(b, "level", (int64_t)mrl_random_below(&w->random, 1000));
        merle_build_int(b, "code", (int64_t)(number % 60 + 60 * mrl_random_below(&w->random, 90)));
        merle_build_str(b, "text", text + mrl_random_below(&w->random, 60));
        assert_int_equal(merle_build_end(b, &doc), MERLE_OK);
        err = merle_one_put(w->p.things, k, doc, NULL);
        merle_builder_destroy(b);
    }
    assert_true(err == MERLE_OK || err == MERLE_NOT_FOUND || err == MERLE_EXISTS);
    note(w, number);
}

static void work(world *w, int changes) {
    for (int i = 0; i < changes; i++) change(w, (uint32_t)mrl_random_below(&w->random, KEYS));
}

/* Several terms, several manifests; pages that both kept manifests share, and pages that not. */
static void live(world *w) {
    for (int round = 0; round < 4; round++) {
        open_ok(w, path);
        assert_int_equal(merle_collection_open(w->p.db, "things", &schema, &w->p.things), MERLE_OK);
        work(w, round == 0 ? 300 : 12);
        if (round < 3) assert_int_equal(merle_checkpoint(w->p.db), MERLE_OK);
        work(w, 8);
        close_ok(w);
    }
}

/* ---- repair, and what came of it ---- */

static void keep_finding(void *context, const merle_finding *finding) {
    world *w = context;
    w->findings[finding->kind]++;
    w->last = *finding;
}

static merle_err repair(world *w, merle_behind_holes behind, merle_care_info *out_info) {
    const merle_care_options options = {
        .finding = keep_finding, .finding_context = w, .threads = 1, .behind_holes = behind};
    memset(w->findings, 0, sizeof w->findings);
    *out_info = (merle_care_info){0};
    return mrl_db_repair(&w->p.environment, path, copy, &options, out_info, &w->p.report);
}

/* How many keys have something else than they had in the end. Each has one of its past. */
static uint32_t compare(world *w) {
    merle_section s;
    uint32_t differing = 0;
    merle_err err = merle_check(w->p.db, &w->p.report);
    if (err != MERLE_OK) fail_msg("merle_check: %s", w->p.report.message);
    err = merle_collection_find(w->p.db, "things", &w->p.things);
    if (err == MERLE_NOT_FOUND) return KEYS;
    assert_int_equal(merle_section_begin(w->p.db, &s), MERLE_OK);
    for (uint32_t number = 0; number < KEYS; number++) {
        merle_key key;
        merle_doc doc;
        err = merle_get(&s, w->p.things, merle_key_u64(&key, number), &doc);
        uint64_t hash = err == MERLE_OK ? hash_of(doc) : NOTHING;
        w->differs[number] = hash != w->now[number];
        differing += w->differs[number];
        if (hash == NOTHING) continue;
        uint32_t i = 0;
        while (i < w->ever_count[number] && w->ever[number][i] != hash) i++;
        if (i == w->ever_count[number]) fail_msg("key %u has what it never had", number);
    }
    assert_int_equal(merle_section_end(&s), MERLE_OK);
    return differing;
}

/* Repairs a damaged disk. UINT32_MAX: nothing could be taken. */
static uint32_t repair_and_compare(world *w, merle_behind_holes behind, merle_care_info *out_info) {
    merle_err err = repair(w, behind, out_info);
    if (err == MERLE_CORRUPT) return UINT32_MAX;
    if (err != MERLE_OK) fail_msg("%s: %s", merle_err_name(err), w->p.report.message);
    open_ok(w, copy);
    uint32_t differing = compare(w);
    close_ok(w);
    merle_care_info verified = {0};
    err = mrl_db_verify(&w->p.environment, copy, NULL, &verified, &w->p.report);
    if (err != MERLE_OK) fail_msg("verify: %s: %s", merle_err_name(err), w->p.report.message);
    return differing;
}

static void harm_ends(world *w, disk *whole) {
    disk_destroy(w->p.disk);
    use_disk(w, whole);
}

/* ---- one byte ---- */

static void flip_one(world *w, disk *whole, const char *name, uint64_t offset) {
    merle_care_info info;
    use_disk(w, disk_copy(whole, seed));
    assert_int_equal(disk_flip(w->p.disk, path, name, offset, 0x10), 0);
    uint32_t differing = repair_and_compare(w, MERLE_BEHIND_HOLES_TAKE, &info);
    /* A page has at most 4 KiB; a hole of one commit leaves out later patches of some others. */
    uint32_t allowed = 0;
    if (strncmp(name, "pages-", 6) == 0 && info.pages_lost > 0) allowed = 60;
    if (strncmp(name, "log-", 4) == 0 && info.records_lost > 0) {
        assert_int_equal(info.records_lost, 1);
        allowed = 12;
    }
    if (differing > allowed)
        fail_msg("%s byte %llu: %u keys differ, %llu findings, the last one: %s", name,
                 (unsigned long long)offset, differing, (unsigned long long)info.findings,
                 w->last.message);
    if (differing > 0) assert_true(info.damaged > 0);
    harm_ends(w, whole);
}

static void one_flipped_byte_costs_no_more_than_it_touches(void **state) {
    world *w = *state;
    char name[DISK_NAME_MAX];
    uint64_t size, flips = 0;
    live(w);
    disk *whole = w->p.disk;
    for (size_t i = 0; disk_file_at(whole, path, i, name, &size); i++) {
        uint64_t end = strncmp(name, "log-", 4) == 0 && size > 40000 ? 40000 : size;
        uint64_t step = is_long ? 1 : 1 + end / FLIPS;
        for (uint64_t at = mrl_random_below(&w->random, step); at < end; at += step, flips++)
            flip_one(w, whole, name, at);
    }
    (void)printf("# %llu bytes flipped\n", (unsigned long long)flips);
}

/* ---- more ---- */

/* 1: a whole file was lost. */
static int harm(world *w) {
    int has_lost = 0;
    char names[32][DISK_NAME_MAX];
    uint64_t sizes[32];
    size_t count = 0;
    while (count < 32 && disk_file_at(w->p.disk, path, count, names[count], &sizes[count])) count++;
    uint64_t harms = 1 + mrl_random_below(&w->random, 12);
    for (uint64_t i = 0; i < harms; i++) {
        size_t n = mrl_random_below(&w->random, count);
        uint64_t kind = mrl_random_below(&w->random, 20);
        if (sizes[n] == 0) continue;
        uint64_t at = mrl_random_below(&w->random, sizes[n] < 20000 ? sizes[n] : 20000);
        if (kind == 0)
            (void)disk_cut_file(w->p.disk, path, names[n], at);
        else if (kind == 1)
            has_lost |= disk_lose(w->p.disk, path, names[n]) == 0;
        else
            (void)disk_flip(w->p.disk, path, names[n], at, (uint8_t)(1 << (at & 7)));
    }
    return has_lost;
}

static void much_damage_gives_nothing_that_never_was(void **state) {
    world *w = *state;
    uint32_t nothing = 0, all = 0, part = 0, rounds = is_long ? 5000 : ROUNDS;
    uint64_t older = 0, holes = 0, left_out = 0, duplicates = 0;
    live(w);
    disk *whole = w->p.disk;
    for (uint32_t i = 0; i < rounds; i++) {
        merle_care_info info;
        use_disk(w, disk_copy(whole, seed + i));
        int has_lost = harm(w);
        uint32_t differing = repair_and_compare(
            w, i % 2 == 0 ? MERLE_BEHIND_HOLES_TAKE : MERLE_BEHIND_HOLES_STOP, &info);
        older += info.pages_older;
        holes += w->findings[MERLE_FOUND_HOLE];
        left_out += info.operations_lost;
        duplicates += info.duplicates;
        nothing += differing == UINT32_MAX;
        all += differing == 0;
        part += differing != 0 && differing != UINT32_MAX;
        /* That there once was a last log file, or a last manifest, is written nowhere else. */
        if (differing != 0 && differing != UINT32_MAX && !has_lost) assert_true(info.damaged > 0);
        harm_ends(w, whole);
    }
    (void)printf("# %u times all, %u times a part, %u times nothing\n", all, part, nothing);
    (void)printf("# %llu older pages, %llu holes, %llu operations left out, %llu duplicates\n",
                 (unsigned long long)older, (unsigned long long)holes, (unsigned long long)left_out,
                 (unsigned long long)duplicates);
    assert_true(all > 0 && part > 0);
}

static void a_sound_directory_is_repaired_to_itself(void **state) {
    world *w = *state;
    merle_care_info info;
    live(w);
    assert_int_equal(repair_and_compare(w, MERLE_BEHIND_HOLES_TAKE, &info), 0);
    assert_int_equal(info.findings, 0);
    assert_int_equal(repair(w, MERLE_BEHIND_HOLES_TAKE, &info), MERLE_EXISTS);
    open_ok(w, path);
    assert_int_equal(compare(w), 0);
    close_ok(w);
}

/* Flips a bit in the record of a commit. */
static void lose_commit(world *w, uint64_t seq) {
    static const char name[] = "log-0000000000000001";
    const mrl_files *files = disk_files(w->p.disk);
    static uint8_t bytes[64 << 10];
    mrl_dir *dir;
    mrl_file *file;
    int is_new;
    size_t got;
    assert_int_equal(files->dir_open(files->context, path, 0, &dir, &is_new), 0);
    assert_int_equal(files->file_open(dir, name, MRL_FILE_READ, &file), 0);
    assert_int_equal(files->file_read(file, 0, bytes, sizeof bytes, &got), 0);
    files->file_close(file);
    files->dir_close(dir);
    for (uint64_t at = 8192; at + 32 <= got; at += 8) {
        uint64_t there;
        uint32_t length;
        memcpy(&length, bytes + at, sizeof length);
        memcpy(&there, bytes + at + 8, sizeof there);
        if (there != seq || length == 0 || length > 4096) continue;
        assert_int_equal(disk_flip(w->p.disk, path, name, at + 9, 1), 0);
        return;
    }
    fail_msg("commit %llu is not in the log", (unsigned long long)seq);
}

static void put_code(world *w, uint32_t number, uint64_t code) {
    merle_key key;
    uint8_t doc[] = {0x81, 0xa4, 'c', 'o', 'd', 'e', (uint8_t)code};
    assert_int_equal(merle_one_put(w->p.things, merle_key_u64(&key, number),
                                   merle_bytes_of(doc, sizeof doc), NULL),
                     MERLE_OK);
    note(w, number);
}

/* All are removed in commits that are lost. Some keys come back, in whatever slots are free then,
 * and have codes of others: neither the key nor the code may be there twice. */
static void of_two_with_one_key_or_value_the_newer_one_stays(void **state) {
    world *w = *state;
    merle_care_info info;
    merle_key key;
    uint64_t lost[100];
    open_ok(w, path);
    assert_int_equal(merle_collection_open(w->p.db, "things", &schema, &w->p.things), MERLE_OK);
    for (uint32_t i = 0; i < 100; i++) put_code(w, i, i);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(merle_one_remove(w->p.things, merle_key_u64(&key, i), &lost[i]), MERLE_OK);
        w->now[i] = NOTHING;
    }
    while (merle_step(w->p.db, 0, 0) == MERLE_BUSY) continue;
    for (uint32_t i = 98; i > 60; i -= 2) put_code(w, i, i);
    for (uint32_t i = 0; i < 40; i += 2) put_code(w, i, i + 1);
    close_ok(w);
    for (uint32_t i = 0; i < 100; i++) lose_commit(w, lost[i]);
    assert_int_not_equal(repair_and_compare(w, MERLE_BEHIND_HOLES_TAKE, &info), 0);
    for (uint32_t i = 98; i > 60; i -= 2) assert_int_equal(w->differs[i], 0);
    for (uint32_t i = 0; i < 40; i += 2) assert_int_equal(w->differs[i], 0);
    assert_int_equal(info.duplicates, w->findings[MERLE_FOUND_DUPLICATE]);
    assert_true(info.duplicates > 10);
    assert_int_equal(w->findings[MERLE_FOUND_HOLE], 1);
    assert_int_equal(info.records_lost, 100);
}

/* ---- backups that are cut off ---- */

static jmp_buf stopped;

static void stop(void *context) {
    (void)context;
    longjmp(stopped, 1);
}

/* 0: the backup was whole before it could be cut off. */
static int cut_backup_at(world *w, uint64_t n) {
    merle_db *db;
    disk_on_stop(w->p.disk, stop, NULL);
    open_ok(w, path);
    disk_stop_at(w->p.disk, n);
    if (setjmp(stopped) == 0) {
        assert_int_equal(merle_backup(w->p.db, copy, NULL, NULL, &w->p.report), MERLE_OK);
        disk_stop_at(w->p.disk, 0);
        close_ok(w);
        return 0;
    }
    /* The machine is gone, with all that it had in memory. */
    disk_cut_power(w->p.disk);
    open_ok(w, path);
    assert_int_equal(compare(w), 0);
    close_ok(w);
    w->p.options.report = &w->p.report;
    merle_err err = mrl_db_open(copy, &w->p.options, &w->p.environment, &db);
    if (err == MERLE_OK) {
        w->p.db = db;
        merle_recovery_info info = {0};
        assert_int_equal(merle_recovery(db, &info), MERLE_OK);
        /* Either whole, or there was nothing yet and this has made a new one. */
        if (!info.is_new) assert_int_equal(compare(w), 0);
        close_ok(w);
    } else {
        assert_int_equal(err, MERLE_CORRUPT);
    }
    return 1;
}

static void backup_that_is_cut_off_is_whole_or_none(void **state) {
    world *w = *state;
    live(w);
    disk *whole = w->p.disk;
    uint64_t n = 1;
    for (int goes_on = 1; goes_on; n++) {
        use_disk(w, disk_copy(whole, seed + n));
        goes_on = cut_backup_at(w, n);
        harm_ends(w, whole);
    }
    (void)printf("# cut off at %llu calls\n", (unsigned long long)n - 2);
    assert_true(n > 20);
}

static int make(void **state) {
    world *w = malloc(sizeof *w);
    *state = w;
    if (w == NULL) return -1;
    world_init(w);
    return 0;
}

static int clear(void **state) {
    world *w = *state;
    disk_destroy(w->p.disk);
    free(w);
    return 0;
}

int main(int argc, char **argv) {
    seed = seed_of(argc, argv);
    const char *text = getenv("MERLE_TEST_LONG");
    is_long = text != NULL && atoi(text) != 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sound_directory_is_repaired_to_itself, make, clear),
        cmocka_unit_test_setup_teardown(one_flipped_byte_costs_no_more_than_it_touches, make,
                                        clear),
        cmocka_unit_test_setup_teardown(much_damage_gives_nothing_that_never_was, make, clear),
        cmocka_unit_test_setup_teardown(of_two_with_one_key_or_value_the_newer_one_stays, make,
                                        clear),
        cmocka_unit_test_setup_teardown(backup_that_is_cut_off_is_whole_or_none, make, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
