/* bench/system_merle.c - merle, through its public headers only.
 *
 * What    one collection with unique indexes on name and email and, unless there are to be few
 *         entries, an ordered one on score and tags; a section a lookup or query, a commit a
 *         change, 1,000 patches a commit in tick.
 * Owns    the database.
 * Sees    the default options, but for the background thread where the caller asked for none, and
 *         no checkpoints but those that are asked for.
 * Threads any.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <merle/merle.h>
#include <merle/query.h>

#include "bench/common/measure.h"
#include "bench/common/system.h"

#define BATCH_MAX 64u
#define RUN_BATCH 128u

static merle_db *db;
static merle_collection *players;
static merle_condition *both_tags; /* parsed once; its parameters are guild and language */
static unsigned index_count;

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

static void database_open(const bench_setup *setup) {
    merle_options options = {.size = sizeof options, .checkpoint_log_bytes = UINT64_MAX};
    merle_report report;
    if (setup->background == BENCH_BACKGROUND_NONE) options.threads = MERLE_THREADS_NONE;
    if (setup->durability == BENCH_DURABLE_FIRST) options.durability = MERLE_SYNC;
    /* Beyond the bytes that may be unsynced an insert waits, as a caller in a loop would. */
    if (setup->directory != NULL) options.patience = MERLE_WAIT;
    options.report = &report;
    merle_err err = merle_open(setup->directory, &options, &db);
    if (err != MERLE_OK) bench_die("merle: open: %s: %s", merle_err_name(err), report.message);
}

static void merle_bench_open(const bench_setup *setup) {
    merle_index indexes[] = {{.name = "name", .kind = MERLE_UNIQUE, .on = "name"},
                             {.name = "email", .kind = MERLE_UNIQUE, .on = "email"},
                             {.name = "score", .kind = MERLE_ORDERED, .on = "score"},
                             {.name = "tags", .kind = MERLE_TAGS, .on = "tags"},
                             {0}};
    merle_schema schema = {.size = sizeof schema, .version = 1, .indexes = indexes};
    index_count = 4;
    if (setup->entries == BENCH_ENTRIES_FEW) {
        index_count = 2;
        indexes[index_count] = (merle_index){0};
    }
    database_open(setup);
    check(merle_collection_open(db, "players", &schema, &players), "collection");
    merle_bytes both = MERLE_STR("tags: $guild and tags: $lang");
    check(merle_condition_parse(both, &both_tags, NULL), "condition");
}

/* Its thread gives unused pages back in the first idle moment; that is waited for, too. */
static void merle_bench_settle(void) {
    const struct timespec moment = {0, 200000000};
    while (merle_step(db, 0, 0) == MERLE_BUSY) {
    }
    (void)nanosleep(&moment, NULL);
}

static void merle_bench_close(void) {
    merle_condition_destroy(both_tags);
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

/* ---- queries ---- */

/* Goes over a range in a section of its own, at most `most` documents. */
static void range_touch(const merle_range *range, size_t most, bench_sight *out_sight) {
    merle_section section;
    merle_cursor *cursor;
    merle_doc docs[RUN_BATCH];
    merle_err err = MERLE_OK;
    check(merle_range_open(players, range, &cursor), "range_open");
    check(merle_section_begin(db, &section), "section");
    while (most > 0) {
        size_t count = 0;
        err =
            merle_cursor_next(&section, cursor, docs, most < RUN_BATCH ? most : RUN_BATCH, &count);
        if (err != MERLE_OK) break;
        for (size_t i = 0; i < count; i++) bench_sight_doc(out_sight, docs[i].data);
        most -= count;
    }
    if (err != MERLE_NOT_FOUND) check(err, "cursor_next");
    check(merle_section_end(&section), "section end");
    merle_cursor_close(cursor);
}

static void merle_bench_range(void *thread, uint64_t score_from, uint64_t score_to,
                              bench_sight *out_sight) {
    merle_value from = merle_value_int((int64_t)score_from);
    merle_value to = merle_value_int((int64_t)score_to);
    merle_range range = {
        .index = "score", .from = {MERLE_CLOSED, &from, 1}, .to = {MERLE_OPEN, &to, 1}};
    (void)thread;
    range_touch(&range, SIZE_MAX, out_sight);
}

static void merle_bench_top(void *thread, uint64_t score, size_t most, bench_sight *out_sight) {
    merle_value to = merle_value_int((int64_t)score);
    merle_range range = {.index = "score", .to = {MERLE_CLOSED, &to, 1}, .backwards = 1};
    (void)thread;
    range_touch(&range, most, out_sight);
}

static void merle_bench_tag(void *thread, const char *guild, bench_sight *out_sight) {
    merle_section section;
    merle_scan scan = {0};
    merle_doc docs[RUN_BATCH];
    merle_value tag = merle_value_bytes(merle_bytes_of(guild, BENCH_GUILD_SIZE));
    merle_err err;
    size_t count = 0;
    (void)thread;
    check(merle_section_begin(db, &section), "section");
    while ((err = merle_tag_next(&section, players, "tags", tag, &scan, docs, RUN_BATCH, &count)) ==
           MERLE_OK) {
        for (size_t i = 0; i < count; i++) bench_sight_doc(out_sight, docs[i].data);
    }
    if (err != MERLE_NOT_FOUND) check(err, "tag_next");
    check(merle_section_end(&section), "section end");
}

static void merle_bench_tagand(void *thread, const char *guild, uint32_t lang,
                               bench_sight *out_sight) {
    merle_section section;
    merle_rows *rows;
    merle_doc docs[RUN_BATCH];
    char text[BENCH_LANG_SIZE + 1];
    merle_value values[] = {merle_value_bytes(merle_bytes_of(guild, BENCH_GUILD_SIZE)),
                            merle_value_bytes(merle_bytes_of(text, BENCH_LANG_SIZE))};
    merle_query query = {
        .size = sizeof query, .where = both_tags, .values = values, .value_count = 2};
    merle_err err;
    size_t count = 0;
    (void)thread;
    bench_lang_write(text, lang);
    check(merle_section_begin(db, &section), "section");
    check(merle_query_open(&section, players, &query, &rows), "query_open");
    while ((err = merle_rows_next(rows, docs, RUN_BATCH, &count)) == MERLE_OK) {
        for (size_t i = 0; i < count; i++) bench_sight_doc(out_sight, docs[i].data);
    }
    if (err != MERLE_NOT_FOUND) check(err, "rows_next");
    merle_rows_close(rows);
    check(merle_section_end(&section), "section end");
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

static uint64_t index_bytes(const char *index) {
    merle_stats_index stats = {.size = sizeof stats};
    check(merle_index_stats(players, index, &stats), "index_stats");
    return stats.bytes;
}

/* The whole, then its parts. Under keys is what the tables have beside the indexes: the table of
 * keys and the slots. */
static size_t merle_bench_memory(bench_part *out_parts, size_t part_max) {
    merle_stats_db stats = stats_read();
    uint64_t uniques = index_bytes("name") + index_bytes("email");
    uint64_t ordered = index_count > 2 ? index_bytes("score") : 0;
    uint64_t tags = index_count > 2 ? index_bytes("tags") : 0;
    bench_part parts[] = {{"total", stats.bytes_total},
                          {"documents", stats.bytes_documents},
                          {"tables", stats.bytes_tables},
                          {"keys", stats.bytes_tables - uniques - ordered - tags},
                          {"unique", uniques},
                          {"ordered", ordered},
                          {"tags", tags},
                          {"ring", stats.bytes_log},
                          {"retired", stats.bytes_retired},
                          {"other", stats.bytes_other}};
    size_t part_count = sizeof parts / sizeof *parts;
    if (part_count > part_max) part_count = part_max;
    for (size_t i = 0; i < part_count; i++) out_parts[i] = parts[i];
    return part_count;
}

static uint64_t merle_bench_entries_copied_max(void) {
    return stats_read().entries_copied_max;
}

/* ---- with files ---- */

static uint64_t merle_bench_insert_later(void *thread, const bench_record *record) {
    merle_commit *commit;
    uint64_t seq = 0;
    (void)thread;
    check(merle_begin(db, &commit), "begin");
    merle_commit_patience(commit, MERLE_WAIT);
    check(merle_commit_durability(commit, MERLE_SYNC_LATER), "durability");
    check(merle_insert(commit, players, key_bytes(record->key), doc_bytes(record)), "insert");
    merle_err err = merle_end(commit, &seq);
    if (err == MERLE_EXISTS) return 0;
    check(err, "end");
    return seq;
}

static void merle_bench_durable_wait(void *thread, uint64_t place) {
    (void)thread;
    check(merle_wait_durable(db, place), "wait_durable");
}

static uint64_t merle_bench_durable_place(void *thread) {
    (void)thread;
    return merle_durable_seq(db);
}

static int merle_bench_durable_descriptor(void *thread) {
    int descriptor = -1;
    (void)thread;
    check(merle_durable_fd(db, &descriptor), "durable_fd");
    return descriptor;
}

static uint64_t merle_bench_place(void *thread) {
    (void)thread;
    return stats_read().seq;
}

static uint64_t merle_bench_log_bytes(void) {
    return stats_read().log_bytes_written;
}

static void merle_bench_checkpoint(void *thread) {
    (void)thread;
    check(merle_checkpoint(db), "checkpoint");
}

static size_t merle_bench_opening(bench_part *out_parts, size_t part_max) {
    merle_recovery_info info = {.size = sizeof info};
    check(merle_recovery(db, &info), "recovery");
    bench_part parts[] = {{"pages", info.pages_ns},
                          {"log", info.log_ns},
                          {"build", info.build_ns},
                          {"open", info.total_ns}};
    size_t part_count = sizeof parts / sizeof *parts;
    if (part_count > part_max) part_count = part_max;
    for (size_t i = 0; i < part_count; i++) out_parts[i] = parts[i];
    return part_count;
}

static bench_answer merle_bench_insert_for(void *thread, const bench_record *record,
                                           int64_t ttl_ns) {
    (void)thread;
    merle_err err =
        merle_one_insert_for(players, key_bytes(record->key), doc_bytes(record), ttl_ns, NULL);
    if (err == MERLE_EXISTS) return BENCH_NO;
    check(err, "insert_for");
    return BENCH_YES;
}

static void merle_bench_expiry(uint64_t *out_ended, uint64_t *out_pending, uint64_t *out_lag_ns) {
    merle_stats_db stats = stats_read();
    *out_ended = stats.expired;
    *out_pending = stats.expiring;
    *out_lag_ns = stats.expiry_lag_ns;
}

static const bench_disk merle_disk = {
    .insert_later = merle_bench_insert_later,
    .durable_wait = merle_bench_durable_wait,
    .durable_place = merle_bench_durable_place,
    .durable_descriptor = merle_bench_durable_descriptor,
    .place = merle_bench_place,
    .log_bytes = merle_bench_log_bytes,
    .checkpoint = merle_bench_checkpoint,
    .log_prefix = "log-",
    .opening = merle_bench_opening,
    .insert_for = merle_bench_insert_for,
    .expiry = merle_bench_expiry,
};

const bench_system bench_merle = {
    .name = "merle",
    .about = MERLE_VERSION_STRING " unique: name, email; ordered: score; tags; in memory",
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
    .range = merle_bench_range,
    .top = merle_bench_top,
    .tag = merle_bench_tag,
    .tagand = merle_bench_tagand,
    .update = merle_bench_update,
    .patch = merle_bench_patch,
    .patch_many = merle_bench_patch_many,
    .remove = merle_bench_remove,
    .gold = merle_bench_gold,
    .count = merle_bench_count,
    .memory = merle_bench_memory,
    .entries_copied_max = merle_bench_entries_copied_max,
    .disk = &merle_disk,
};
