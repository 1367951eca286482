/* tests/crash/damage_test.c - every byte of a small database flipped, every file cut anywhere.
 *
 * Aim     A database with one damaged byte, or one file that is too short, is opened with exactly
 *         what was there, or cut behind the last group that was vouched for, or refused with a
 *         report that names the file and what is wrong with it. Nothing else is ever given back,
 *         and nothing crashes.
 * Method  A simulated disk with log files of 64 KiB, two manifests and pages, in three states:
 *         closed; killed with groups behind the last sync; killed in the middle of its first life.
 *         The state at each seq is known by a number. Every byte of every file is flipped, every
 *         length tried, each on a copy of the disk that is opened; in what is only zeros, and under
 *         sanitizers, some of them. The bit that is flipped changes from byte to byte.
 * Blind   Damage in two places. Log files once more: checkpoint_test.c loses and swaps files.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "tests/model/seed.h"
#include "tests/crash/place.h"

enum { SEQ_MAX = 1000, DOCUMENTS = 12, DOC_SIZE = 40 };
static const char path[] = "/d/world";

typedef unsigned long long llu;

typedef struct world {
    place p;
    uint64_t last_seq, sure_seq;  /* what was done, and what must be there */
    uint64_t states[SEQ_MAX + 1]; /* by seq; 0: there was no state */
    uint64_t tried, refused, whole, cut;
} world;

static void world_init(world *w) {
    memset(w, 0, sizeof *w);
    place_init(&w->p, test_seed());
    w->p.options.patience = MERLE_PATIENCE_DEFAULT;
}

/* ---- what is there ---- */

/* A number that two equal states share; never 0. */
static uint64_t state_of(merle_db *db, merle_collection *things) {
    merle_section s;
    merle_scan scan = {0};
    merle_doc docs[32];
    size_t count;
    uint64_t hash = 1;
    assert_int_equal(merle_section_begin(db, &s), MERLE_OK);
    while (merle_scan_next(&s, things, &scan, docs, 32, &count) == MERLE_OK)
        for (size_t i = 0; i < count; i++) {
            merle_bytes k = merle_doc_key(docs[i]);
            hash = mrl_hash_bytes(k.data, k.size, hash);
            hash = mrl_hash_bytes(docs[i].data, docs[i].size, hash + docs[i].seq);
        }
    assert_int_equal(merle_section_end(&s), MERLE_OK);
    return hash | 1;
}

static void note_state(world *w, uint64_t seq) {
    assert_true(seq <= SEQ_MAX);
    w->last_seq = seq;
    w->states[seq] = state_of(w->p.db, w->p.things);
}

static void open_ok(world *w) {
    merle_err err = mrl_db_open(path, &w->p.options, &w->p.environment, &w->p.db);
    if (err != MERLE_OK) fail_msg("%s: %s", merle_err_name(err), w->p.report.message);
    assert_int_equal(merle_collection_open(w->p.db, "things", NULL, &w->p.things), MERLE_OK);
    note_state(w, mrl_log_published_at(w->p.db->store.published));
}

static void put(world *w, uint32_t key, uint32_t number, merle_durability durability) {
    uint8_t doc[DOC_SIZE] = {0x82, 0xa1, 'n', 0xce, 0, 0, 0, (uint8_t)number, 0xa1, 't', 0xb8};
    merle_commit *commit;
    merle_key k;
    uint64_t seq;
    doc[10] = 0xd9;
    doc[11] = DOC_SIZE - 12;
    memset(doc + 12, 'a' + (int)(key % 26), DOC_SIZE - 12);
    assert_int_equal(merle_begin(w->p.db, &commit), MERLE_OK);
    assert_int_equal(merle_commit_durability(commit, durability), MERLE_OK);
    assert_int_equal(
        merle_put(commit, w->p.things, merle_key_u64(&k, key), merle_bytes_of(doc, sizeof doc)),
        MERLE_OK);
    assert_int_equal(merle_end(commit, &seq), MERLE_OK);
    note_state(w, seq);
}

/* Some commits, each of them durable. */
static void work(world *w, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        put(w, i * 5 % DOCUMENTS, (uint32_t)w->last_seq, MERLE_SYNC);
}

/* Groups behind the last sync, one commit each. */
static void work_loosely(world *w, uint32_t count) {
    w->sure_seq = w->last_seq;
    for (uint32_t i = 0; i < count; i++) {
        put(w, i, (uint32_t)w->last_seq, MERLE_MEMORY);
        while (mrl_log_written_seq(w->p.db->log) < w->last_seq) (void)merle_step(w->p.db, 1, 0);
    }
    assert_true(merle_durable_seq(w->p.db) <= w->sure_seq);
}

static void kill_db(world *w) {
    /* The memory of what was killed is lost; only its disk goes on. */
    disk *left = disk_copy(w->p.disk, test_seed());
    assert_int_equal(merle_close(w->p.db), MERLE_OK);
    disk_destroy(w->p.disk);
    w->p.disk = left;
}

/* ---- opening what is damaged ---- */

static void judge_refusal(world *w, merle_err err, const char *harm, const char *name,
                          uint64_t at) {
    const merle_report *r = &w->p.report;
    int is_clear = (err == MERLE_CORRUPT || err == MERLE_UNSUPPORTED) && r->err == err &&
                   strchr(r->message, ' ') != NULL && strstr(r->path, "-") != NULL;
    if (!is_clear)
        fail_msg("%s %s %llu: %s, %s (%s)", name, harm, (llu)at, merle_err_name(err), r->message,
                 r->path);
    w->refused++;
}

static void judge_opened(world *w, merle_db *db, const char *harm, const char *name, uint64_t at) {
    merle_recovery_info info = {.size = sizeof info};
    merle_report report = {0};
    merle_collection *things;
    assert_int_equal(merle_recovery(db, &info), MERLE_OK);
    if (info.last_seq < w->sure_seq || info.last_seq > w->last_seq)
        fail_msg("%s %s %llu: opened at seq %llu, %llu was sure", name, harm, (llu)at,
                 (llu)info.last_seq, (llu)w->sure_seq);
    merle_err err = merle_collection_find(db, "things", &things);
    if (err != MERLE_OK) fail_msg("%s %s %llu: no collection", name, harm, (llu)at);
    if (state_of(db, things) != w->states[info.last_seq])
        fail_msg("%s %s %llu: another state at seq %llu", name, harm, (llu)at, (llu)info.last_seq);
    if (merle_check(db, &report) != MERLE_OK)
        fail_msg("%s %s %llu: %s", name, harm, (llu)at, report.message);
    w->whole += info.last_seq == w->last_seq;
    w->cut += info.last_seq < w->last_seq;
}

static void judge(world *w, disk *copy, const char *harm, const char *name, uint64_t at) {
    mrl_environment environment = w->p.environment;
    merle_db *db;
    environment.files = disk_files(copy);
    w->p.report = (merle_report){0};
    merle_err err = mrl_db_open(path, &w->p.options, &environment, &db);
    w->tried++;
    if (err != MERLE_OK) {
        judge_refusal(w, err, harm, name, at);
    } else {
        judge_opened(w, db, harm, name, at);
        assert_int_equal(merle_close(db), MERLE_OK);
    }
    assert_int_equal(disk_open_count(copy), 0);
    disk_destroy(copy);
}

/* ---- harm ---- */

/* What stands in a file of the disk; the caller frees it. */
static uint8_t *read_file(world *w, const char *name, uint64_t size) {
    const mrl_files *files = disk_files(w->p.disk);
    uint8_t *bytes = malloc((size_t)size + 1);
    mrl_dir *dir;
    mrl_file *file;
    size_t got;
    int is_made;
    assert_non_null(bytes);
    assert_int_equal(files->dir_open(files->context, path, 0, &dir, &is_made), 0);
    assert_int_equal(files->file_open(dir, name, MRL_FILE_READ, &file), 0);
    assert_int_equal(files->file_read(file, 0, bytes, (size_t)size, &got), 0);
    assert_int_equal(got, size);
    files->file_close(file);
    files->dir_close(dir);
    return bytes;
}

/* In a desert of zeros one byte is as good as another. */
static int is_desert(const uint8_t *bytes, uint64_t size, uint64_t at) {
    uint64_t from = at < 40 ? 0 : at - 40, to = at + 40 < size ? at + 40 : size;
    for (uint64_t i = from; i < to; i++)
        if (bytes[i] != 0) return 0;
    return 1;
}

/* How far to go on: 1, where every byte counts. */
static uint64_t stride(int is_waste) {
    uint64_t steps = is_waste ? (test_is_long() ? 1 : 97) : 1;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    steps = steps * 4 + 1;
#endif
    return steps;
}

static void harm_all(world *w) {
    char name[DISK_NAME_MAX];
    uint64_t size;
    for (size_t f = 0; disk_file_at(w->p.disk, path, f, name, &size); f++) {
        if (strcmp(name, "lock") == 0) continue;
        uint8_t *bytes = read_file(w, name, size);
        uint64_t at, before = w->tried, refused = w->refused;
        for (at = 0; at < size; at += stride(is_desert(bytes, size, at))) {
            disk *copy = disk_copy(w->p.disk, test_seed());
            assert_int_equal(disk_flip(copy, path, name, at, (uint8_t)(1 << (at * 5 % 8))), 0);
            judge(w, copy, "flipped at", name, at);
        }
        uint64_t flips = w->tried - before, refused_flips = w->refused - refused;
        for (at = 0; at < size; at += stride(is_desert(bytes, size, at))) {
            disk *copy = disk_copy(w->p.disk, test_seed());
            assert_int_equal(disk_cut_file(copy, path, name, at), 0);
            judge(w, copy, "cut at", name, at);
        }
        test_say("%s, %llu bytes: %llu flips, %llu refused; %llu cuts, %llu refused", name,
                 (llu)size, (llu)flips, (llu)refused_flips, (llu)(w->tried - before - flips),
                 (llu)(w->refused - refused - refused_flips));
        free(bytes);
    }
    test_say("%llu tried: %llu refused, %llu whole, %llu cut", (llu)w->tried, (llu)w->refused,
             (llu)w->whole, (llu)w->cut);
    disk_destroy(w->p.disk);
}

/* ---- cases ---- */

/* Enough to have the log go on in the next file. */
static void fill_log_file(world *w) {
    static uint8_t doc[12 << 10] = {0x81, 0xa1, 'f', 0xc5};
    merle_key k;
    uint64_t seq;
    doc[4] = (sizeof doc - 6) >> 8;
    doc[5] = (sizeof doc - 6) & 255;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(merle_one_put(w->p.things, merle_key_u64(&k, 500),
                                       merle_bytes_of(doc, sizeof doc), &seq),
                         MERLE_OK);
        note_state(w, seq);
    }
}

static void closed_database_is_opened_whole_or_refused(void **state) {
    static world w;
    (void)state;
    world_init(&w);
    open_ok(&w);
    work(&w, 20);
    assert_int_equal(merle_checkpoint(w.p.db), MERLE_OK);
    work(&w, 5);
    fill_log_file(&w);
    work(&w, 5);
    assert_int_equal(merle_checkpoint(w.p.db), MERLE_OK);
    work(&w, 5);
    assert_int_equal(merle_close(w.p.db), MERLE_OK);
    w.sure_seq = w.last_seq;
    harm_all(&w);
    assert_true(w.refused > w.tried / 10 && w.whole > w.tried / 10 && w.cut == 0);
}

static void killed_database_is_cut_behind_what_was_vouched(void **state) {
    static world w;
    (void)state;
    world_init(&w);
    w.p.options.compression = MERLE_COMPRESSION_ZSTD;
    open_ok(&w);
    work(&w, 10);
    assert_int_equal(merle_close(w.p.db), MERLE_OK);
    open_ok(&w);
    work(&w, 10);
    assert_int_equal(merle_checkpoint(w.p.db), MERLE_OK);
    work(&w, 5);
    work_loosely(&w, 5);
    kill_db(&w);
    harm_all(&w);
    assert_true(w.refused > w.tried / 10 && w.whole > w.tried / 10 && w.cut > w.tried / 60);
}

static void first_life_is_cut_behind_what_was_vouched(void **state) {
    static world w;
    (void)state;
    world_init(&w);
    open_ok(&w);
    work(&w, 8);
    work_loosely(&w, 3);
    kill_db(&w);
    harm_all(&w);
    assert_true(w.refused > w.tried / 10 && w.cut > w.tried / 60);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_database_is_opened_whole_or_refused),
        cmocka_unit_test(killed_database_is_cut_behind_what_was_vouched),
        cmocka_unit_test(first_life_is_cut_behind_what_was_vouched),
    };
    test_seed_print();
    return cmocka_run_group_tests_name("crash/damage", tests, NULL, NULL);
}
