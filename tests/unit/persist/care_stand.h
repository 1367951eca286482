/* tests/unit/persist/care_stand.h - a small database on a real directory, with a record of what it
 * was after each commit.
 *
 * What    Random puts, patches and removes in two collections; after each commit a fingerprint of
 *         everything that a reader sees: names, keys, documents, seqs. Helpers that damage files.
 * Threads the test's own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_TESTS_UNIT_PERSIST_CARE_STAND_H
#define MRL_TESTS_UNIT_PERSIST_CARE_STAND_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <merle/care.h>

#include "base/hash.h"
#include "base/random.h"
#include "database/database.h"
#include "tests/unit/seed.h"

enum { STAND_KEYS = 60, STAND_SEQS = 4000 };

typedef struct stand {
    char root[64], path[96], copy[96];
    mrl_random random;
    merle_db *db;
    merle_collection *things[2];
    merle_options options;
    merle_report report;
    uint64_t seq;                /* the last commit */
    uint64_t prints[STAND_SEQS]; /* after each commit; 0: not known */
    int64_t times[STAND_SEQS];
    uint64_t findings[16]; /* of each kind */
    merle_finding last;
} stand;

static const merle_index stand_indexes[] = {{.name = "code", .kind = MERLE_UNIQUE, .on = "code"},
                                            {.name = "level", .kind = MERLE_ORDERED, .on = "level"},
                                            {0}};
static const merle_schema stand_schema = {.version = 1, .indexes = stand_indexes};

/* ---- what a reader sees ---- */

static int stand_print_one(void *context, merle_collection *collection) {
    uint64_t *sum = context;
    merle_section s;
    merle_scan scan = {0};
    merle_doc docs[64];
    size_t count;
    const char *name = merle_collection_name(collection);
    uint64_t base = mrl_hash_bytes(name, strlen(name), 7);
    *sum += base;
    assert_int_equal(merle_section_begin(((merle_db **)context)[1], &s), MERLE_OK);
    while (merle_scan_next(&s, collection, &scan, docs, 64, &count) == MERLE_OK) {
        for (size_t i = 0; i < count; i++) {
            merle_bytes key = merle_doc_key(docs[i]);
            uint64_t hash = mrl_hash_bytes(key.data, key.size, base + docs[i].seq);
            *sum += mrl_hash_bytes(docs[i].data, docs[i].size, hash);
        }
    }
    assert_int_equal(merle_section_end(&s), MERLE_OK);
    return 0;
}

static uint64_t stand_print(merle_db *db) {
    struct {
        uint64_t sum;
        merle_db *db;
    } context = {1, db};
    assert_int_equal(merle_collection_each(db, stand_print_one, &context), MERLE_OK);
    return context.sum;
}

/* ---- its life ---- */

static void stand_open(stand *st) {
    merle_err err = merle_open(st->path, &st->options, &st->db);
    if (err != MERLE_OK) fail_msg("%s: %s", merle_err_name(err), st->report.message);
    merle_report_to(st->db, &st->report);
    const char *const names[] = {"things", "others"};
    for (int i = 0; i < 2; i++) {
        err =
            merle_collection_open(st->db, names[i], i == 0 ? &stand_schema : NULL, &st->things[i]);
        assert_int_equal(err, MERLE_OK);
    }
}

__attribute__((unused)) static void stand_close(stand *st) {
    assert_int_equal(merle_close(st->db), MERLE_OK);
    st->db = NULL;
}

static void stand_note(stand *st, uint64_t seq) {
    st->seq = seq;
    assert_true(seq < STAND_SEQS);
    st->prints[seq] = stand_print(st->db);
}

static merle_bytes stand_document(stand *st, merle_builder *b, uint32_t number) {
    char text[256];
    merle_bytes bytes;
    size_t size = mrl_random_below(&st->random, sizeof text - 1);
    memset(text, 'a' + (int)(number % 26), size);
    text[size] = 0;
    merle_build_begin(b);
    merle_build_int(b, "level", (int64_t)mrl_random_below(&st->random, 100));
    merle_build_int(b, "code",
                    (int64_t)(number + STAND_KEYS * mrl_random_below(&st->random, 1000)));
    merle_build_str(b, "text", text);
    assert_int_equal(merle_build_end(b, &bytes), MERLE_OK);
    return bytes;
}

/* One commit. */
static uint64_t stand_change(stand *st) {
    merle_builder *b;
    merle_key key;
    merle_collection *c = st->things[mrl_random_below(&st->random, 4) == 0];
    uint32_t number = (uint32_t)mrl_random_below(&st->random, STAND_KEYS);
    uint64_t what = mrl_random_below(&st->random, 10), seq = 0;
    merle_bytes k = merle_key_u64(&key, number);
    merle_err err = MERLE_NOT_FOUND;
    if (what < 4) err = merle_one_patch(c, k, NULL, &seq, MERLE_INC("level", 1));
    if (what == 9) err = merle_one_remove(c, k, &seq);
    if (err == MERLE_OK) return seq;
    assert_int_equal(merle_builder_create(&b), MERLE_OK);
    assert_int_equal(merle_one_put(c, k, stand_document(st, b, number), &seq), MERLE_OK);
    merle_builder_destroy(b);
    return seq;
}

static void stand_work(stand *st, int changes) {
    for (int i = 0; i < changes; i++) stand_note(st, stand_change(st));
}

static void stand_checkpoint(stand *st) {
    merle_err err = merle_checkpoint(st->db);
    if (err != MERLE_OK) fail_msg("%s: %s", merle_err_name(err), st->report.message);
}

static int stand_make(stand *st, uint64_t seed) {
    memset(st, 0, sizeof *st);
    (void)snprintf(st->root, sizeof st->root, "/tmp/merle-care-XXXXXX");
    if (mkdtemp(st->root) == NULL) return -1;
    (void)snprintf(st->path, sizeof st->path, "%s/world", st->root);
    (void)snprintf(st->copy, sizeof st->copy, "%s/copy", st->root);
    mrl_random_init(&st->random, seed);
    st->options.report = &st->report;
    st->options.threads = MERLE_THREADS_NONE;
    st->options.checkpoint_log_bytes = UINT64_MAX;
    st->options.log_file_size = 64 << 10;
    st->options.patience = MERLE_WAIT;
    return 0;
}

static void stand_remove(const char *path) {
    char command[200];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

static int stand_clear(stand *st) {
    if (st->db != NULL && merle_close(st->db) != MERLE_OK) return -1;
    stand_remove(st->root);
    return 0;
}

/* Opens the copy, compares everything with itself, and gives its fingerprint. */
__attribute__((unused)) static uint64_t stand_print_of(stand *st, const char *path,
                                                       uint64_t *out_seq) {
    merle_db *db;
    merle_recovery_info info = {0};
    merle_report report;
    merle_options options = st->options;
    options.report = &report;
    merle_err err = merle_open(path, &options, &db);
    if (err != MERLE_OK) fail_msg("%s: %s: %s", path, merle_err_name(err), report.message);
    err = merle_check(db, &report);
    if (err != MERLE_OK) fail_msg("%s: merle_check: %s", path, report.message);
    uint64_t print = stand_print(db);
    assert_int_equal(merle_recovery(db, &info), MERLE_OK);
    *out_seq = info.last_seq;
    assert_int_equal(merle_close(db), MERLE_OK);
    return print;
}

__attribute__((unused)) static void stand_find(void *context, const merle_finding *finding) {
    stand *st = context;
    st->findings[finding->kind]++;
    st->last = *finding;
}

/* ---- damage ---- */

/* The last file, by name, that begins so; 0: there is none. */
__attribute__((unused)) static int stand_file(const char *directory, const char *prefix,
                                              char *out_path, size_t size) {
    char best[64] = "";
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (strncmp(e->d_name, prefix, strlen(prefix)) == 0 && strcmp(e->d_name, best) > 0)
            (void)snprintf(best, sizeof best, "%.63s", e->d_name);
    (void)closedir(dir);
    (void)snprintf(out_path, size, "%s/%s", directory, best);
    return best[0] != 0;
}

__attribute__((unused)) static void stand_flip(const char *path, off_t offset) {
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    (void)close(fd);
}

#endif
