/* bench/system_merle.c - merle, through its public headers only.
 *
 * What    one collection with unique indexes on name and email; a section a lookup, a commit a
 *         change, 1,000 patches a commit in tick.
 * Owns    the database.
 * Sees    the default options, but for the background thread where the caller asked for none.
 * Threads any.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <merle/merle.h>

#include "bench/common/measure.h"
#include "bench/common/system.h"

#define BATCH_MAX 64u

static merle_db *db;
static merle_collection *players;

static void check(merle_err err, const char *what) {
    if (err != MERLE_OK) bench_die("merle: %s: %s", what, merle_err_name(err));
}

static merle_bytes key_bytes(const char *key) {
    return merle_bytes_of(key, BENCH_KEY_SIZE);
}

static merle_bytes doc_bytes(const bench_record *record) {
    return merle_bytes_of(record->bytes, record->size);
}

/* ---- life ---- */

static void merle_bench_open(uint32_t count, bench_background background) {
    merle_options options = {.size = sizeof options};
    merle_index indexes[] = {{.name = "name", .kind = MERLE_UNIQUE, .on = "name"},
                             {.name = "email", .kind = MERLE_UNIQUE, .on = "email"},
                             {0}};
    merle_schema schema = {.size = sizeof schema, .version = 1, .indexes = indexes};
    (void)count;
    if (background == BENCH_BACKGROUND_NONE) options.threads = MERLE_THREADS_NONE;
    check(merle_open(NULL, &options, &db), "open");
    check(merle_collection_open(db, "players", &schema, &players), "collection");
}

static void merle_bench_settle(void) {
    while (merle_step(db, 0, 0) == MERLE_BUSY) {
    }
}

static void merle_bench_close(void) {
    check(merle_close(db), "close");
}

/* Threads register with merle by themselves. */
static void *merle_bench_thread_begin(void) {
    return db;
}
static void merle_bench_thread_end(void *thread) {
    (void)thread;
}

/* ---- reading ---- */

static bench_answer merle_bench_get(void *thread, const char *key, uint64_t *out_score) {
    merle_section section;
    merle_doc doc;
    bench_answer answer = BENCH_NO;
    (void)thread;
    check(merle_section_begin(db, &section), "section");
    merle_err err = merle_get(&section, players, key_bytes(key), &doc);
    if (err == MERLE_OK) {
        *out_score = (uint64_t)merle_doc_int(doc, "score", -1);
        answer = BENCH_YES;
    } else if (err != MERLE_NOT_FOUND) {
        check(err, "get");
    }
    check(merle_section_end(&section), "section end");
    return answer;
}

static size_t merle_bench_get_many(void *thread, const char (*keys)[BENCH_KEY_SIZE + 1],
                                   size_t key_count, uint64_t *out_score_sum) {
    merle_section section;
    merle_doc docs[BATCH_MAX];
    merle_bytes wanted[BATCH_MAX];
    size_t found = 0;
    (void)thread;
    if (key_count > BATCH_MAX) bench_die("merle: a batch of %zu", key_count);
    for (size_t i = 0; i < key_count; i++) wanted[i] = key_bytes(keys[i]);
    check(merle_section_begin(db, &section), "section");
    check(merle_get_many(&section, players, wanted, key_count, docs, &found), "get_many");
    for (size_t i = 0; i < key_count; i++) {
        if (docs[i].data != NULL) *out_score_sum += (uint64_t)merle_doc_int(docs[i], "score", -1);
    }
    check(merle_section_end(&section), "section end");
    return found;
}

static bench_answer merle_bench_get_by_email(void *thread, const char *email, uint64_t *out_score) {
    merle_section section;
    merle_doc doc;
    bench_answer answer = BENCH_NO;
    merle_value value = merle_value_bytes(merle_bytes_of(email, BENCH_EMAIL_SIZE));
    (void)thread;
    check(merle_section_begin(db, &section), "section");
    merle_err err = merle_get_unique(&section, players, "email", &value, 1, &doc);
    if (err == MERLE_OK) {
        *out_score = (uint64_t)merle_doc_int(doc, "score", -1);
        answer = BENCH_YES;
    } else if (err != MERLE_NOT_FOUND) {
        check(err, "get_unique");
    }
    check(merle_section_end(&section), "section end");
    return answer;
}

/* ---- writing ---- */

static bench_answer merle_bench_insert(void *thread, const bench_record *record) {
    (void)thread;
    merle_err err = merle_one_insert(players, key_bytes(record->key), doc_bytes(record), NULL);
    if (err == MERLE_EXISTS) return BENCH_NO;
    check(err, "insert");
    return BENCH_YES;
}

static void merle_bench_update(void *thread, const bench_record *record) {
    (void)thread;
    check(merle_one_put(players, key_bytes(record->key), doc_bytes(record), NULL), "put");
}

static void merle_bench_patch(void *thread, const char *key) {
    (void)thread;
    check(merle_one_patch(players, key_bytes(key), NULL, NULL, MERLE_INC("gold", 1)), "patch");
}

static void merle_bench_patch_many(void *thread, const char (*keys)[BENCH_KEY_SIZE + 1],
                                   size_t key_count) {
    merle_commit *commit;
    (void)thread;
    check(merle_begin(db, &commit), "begin");
    merle_commit_patience(commit, MERLE_WAIT);
    for (size_t i = 0; i < key_count; i++) {
        check(merle_patch(commit, players, key_bytes(keys[i]), MERLE_INC("gold", 1)), "patch");
    }
    check(merle_end(commit, NULL), "end");
}

static bench_answer merle_bench_remove(void *thread, const char *key) {
    (void)thread;
    merle_err err = merle_one_remove(players, key_bytes(key), NULL);
    if (err == MERLE_NOT_FOUND) return BENCH_NO;
    check(err, "remove");
    return BENCH_YES;
}

/* ---- checking and inside view ---- */

static uint64_t merle_bench_gold(void *thread, const char *key) {
    merle_section section;
    merle_doc doc;
    (void)thread;
    check(merle_section_begin(db, &section), "section");
    check(merle_get(&section, players, key_bytes(key), &doc), "get gold");
    uint64_t gold = (uint64_t)merle_doc_int(doc, "gold", -1);
    check(merle_section_end(&section), "section end");
    return gold;
}

static uint64_t merle_bench_count(void *thread) {
    merle_section section;
    uint64_t count = 0;
    (void)thread;
    check(merle_section_begin(db, &section), "section");
    check(merle_count(&section, players, &count), "count");
    check(merle_section_end(&section), "section end");
    return count;
}

static merle_stats_db stats_read(void) {
    merle_stats_db stats = {.size = sizeof stats};
    check(merle_stats(db, &stats), "stats");
    return stats;
}

static size_t merle_bench_memory(bench_part *out_parts, size_t part_max) {
    merle_stats_db stats = stats_read();
    bench_part parts[] = {{"total", stats.bytes_total},     {"documents", stats.bytes_documents},
                          {"tables", stats.bytes_tables},   {"log", stats.bytes_log},
                          {"retired", stats.bytes_retired}, {"other", stats.bytes_other}};
    size_t part_count = sizeof parts / sizeof *parts;
    if (part_count > part_max) part_count = part_max;
    for (size_t i = 0; i < part_count; i++) out_parts[i] = parts[i];
    return part_count;
}

static uint64_t merle_bench_entries_copied_max(void) {
    return stats_read().entries_copied_max;
}

const bench_system bench_merle = {
    .name = "merle",
    .about = MERLE_VERSION_STRING " unique indexes on name and email, in memory",
    .reader_max = 64,
    .writer_max = 64,
    .has_unique = 1,
    .open = merle_bench_open,
    .close = merle_bench_close,
    .thread_begin = merle_bench_thread_begin,
    .thread_end = merle_bench_thread_end,
    .settle = merle_bench_settle,
    .insert = merle_bench_insert,
    .get = merle_bench_get,
    .get_many = merle_bench_get_many,
    .get_by_email = merle_bench_get_by_email,
    .update = merle_bench_update,
    .patch = merle_bench_patch,
    .patch_many = merle_bench_patch_many,
    .remove = merle_bench_remove,
    .gold = merle_bench_gold,
    .count = merle_bench_count,
    .memory = merle_bench_memory,
    .entries_copied_max = merle_bench_entries_copied_max,
};
