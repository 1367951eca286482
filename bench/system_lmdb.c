/* bench/system_lmdb.c - LMDB as a peer: five trees in one environment, nothing synced.
 *
 * What    key -> document, name -> key, email -> key, score -> keys, tag -> keys (the last two with
 *         sorted duplicates of fixed size, scores as native integers); one transaction a change,
 *         one read transaction a lookup or query (renewed, not made anew), one for each 64 of
 *         get_many. Each thread keeps a cursor for scores and one for tags. An update moves the
 *         entries of score and guild by a removal and a put, where they differ.
 * Owns    a directory of its own in /dev/shm (or TMPDIR), removed as soon as it is open; or its
 *         files in the directory that it was given.
 * Sees    MDB_WRITEMAP, MDB_NOSYNC, MDB_NOMETASYNC, MDB_NOMEMINIT, MDB_NOTLS: as fast as it can be
 *         told to be. The disk is not part of this comparison, unless it was given a directory:
 *         then every transaction is synced, with a map that is only read (LMDB's own way).
 * Threads any; LMDB lets one writer in at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/common/measure.h"
#include "bench/common/system.h"

typedef struct lmdb_thread {
    MDB_txn *reader; /* between lookups it is reset */
    MDB_cursor *scores;
    MDB_cursor *tags;
} lmdb_thread;

static MDB_env *environment;
static MDB_dbi by_key;
static MDB_dbi by_name;
static MDB_dbi by_email;
static MDB_dbi by_score;
static MDB_dbi by_tag;
static unsigned has_all; /* 1: scores and tags have trees too */
static char directory[256];

static void check(int result, const char *what) {
    if (result != 0) bench_die("lmdb: %s: %s", what, mdb_strerror(result));
}

static MDB_val bytes_of(const void *data, size_t size) {
    MDB_val value = {.mv_size = size, .mv_data = (void *)(uintptr_t)data};
    return value;
}

/* ---- life ---- */

static void directory_make(void) {
    const char *parent = getenv("TMPDIR");
    if (access("/dev/shm", W_OK) == 0) parent = "/dev/shm";
    if (parent == NULL) parent = "/tmp";
    snprintf(directory, sizeof directory, "%s/merle-bench-lmdb-XXXXXX", parent);
    if (mkdtemp(directory) == NULL) bench_die("lmdb: cannot make a directory in %s", parent);
}

static void directory_remove(void) {
    char path[300];
    snprintf(path, sizeof path, "%s/data.mdb", directory);
    unlink(path);
    snprintf(path, sizeof path, "%s/lock.mdb", directory);
    unlink(path);
    rmdir(directory);
}

static void lmdb_open(const bench_setup *setup) {
    MDB_txn *txn = NULL;
    unsigned flags = MDB_NOTLS;
    unsigned many = MDB_CREATE | MDB_DUPSORT | MDB_DUPFIXED;
    has_all = setup->entries == BENCH_ENTRIES_ALL;
    if (setup->directory == NULL) {
        directory_make();
        flags |= MDB_WRITEMAP | MDB_NOSYNC | MDB_NOMETASYNC | MDB_NOMEMINIT;
    } else {
        snprintf(directory, sizeof directory, "%s", setup->directory);
    }
    check(mdb_env_create(&environment), "create");
    check(mdb_env_set_maxdbs(environment, 5), "maxdbs");
    check(mdb_env_set_mapsize(environment, ((size_t)64 << 20) + (size_t)setup->count * 4096),
          "mapsize");
    check(mdb_env_open(environment, directory, flags, 0600), "open");
    /* It has the files open now; nothing is left behind, however the process ends. */
    if (setup->directory == NULL) directory_remove();
    check(mdb_txn_begin(environment, NULL, 0, &txn), "begin");
    check(mdb_dbi_open(txn, "key", MDB_CREATE, &by_key), "key");
    check(mdb_dbi_open(txn, "name", MDB_CREATE, &by_name), "name");
    check(mdb_dbi_open(txn, "email", MDB_CREATE, &by_email), "email");
    check(mdb_dbi_open(txn, "score", many | MDB_INTEGERKEY, &by_score), "score");
    check(mdb_dbi_open(txn, "tag", many, &by_tag), "tag");
    check(mdb_txn_commit(txn), "commit");
}

static void lmdb_close(void) {
    mdb_env_close(environment);
}

static void *lmdb_thread_begin(void) {
    lmdb_thread *thread = bench_alloc(sizeof *thread);
    check(mdb_txn_begin(environment, NULL, MDB_RDONLY, &thread->reader), "read");
    check(mdb_cursor_open(thread->reader, by_score, &thread->scores), "cursor");
    check(mdb_cursor_open(thread->reader, by_tag, &thread->tags), "cursor");
    mdb_txn_reset(thread->reader);
    return thread;
}

static void lmdb_thread_end(void *context) {
    lmdb_thread *thread = context;
    mdb_cursor_close(thread->scores);
    mdb_cursor_close(thread->tags);
    mdb_txn_abort(thread->reader);
    free(thread);
}

/* ---- reading ---- */

static bench_answer score_get(MDB_txn *txn, MDB_val key, uint64_t *out_score) {
    MDB_val doc;
    int result = mdb_get(txn, by_key, &key, &doc);
    if (result == MDB_NOTFOUND) return BENCH_NO;
    check(result, "get");
    *out_score = bench_find_uint(doc.mv_data, doc.mv_size, "score");
    return BENCH_YES;
}

static bench_answer lmdb_get(void *context, const char *key, uint64_t *out_score) {
    lmdb_thread *thread = context;
    check(mdb_txn_renew(thread->reader), "renew");
    bench_answer answer = score_get(thread->reader, bytes_of(key, BENCH_KEY_SIZE), out_score);
    mdb_txn_reset(thread->reader);
    return answer;
}

static size_t lmdb_get_many(void *context, const char (*keys)[BENCH_KEY_SIZE + 1], size_t key_count,
                            uint64_t *out_score_sum) {
    lmdb_thread *thread = context;
    size_t found = 0;
    check(mdb_txn_renew(thread->reader), "renew");
    for (size_t i = 0; i < key_count; i++) {
        uint64_t score = 0;
        found += score_get(thread->reader, bytes_of(keys[i], BENCH_KEY_SIZE), &score) == BENCH_YES;
        *out_score_sum += score;
    }
    mdb_txn_reset(thread->reader);
    return found;
}

static bench_answer lmdb_get_by_email(void *context, const char *email, uint64_t *out_score) {
    lmdb_thread *thread = context;
    MDB_val wanted = bytes_of(email, BENCH_EMAIL_SIZE);
    MDB_val key;
    bench_answer answer = BENCH_NO;
    check(mdb_txn_renew(thread->reader), "renew");
    int result = mdb_get(thread->reader, by_email, &wanted, &key);
    if (result == 0) answer = score_get(thread->reader, key, out_score);
    if (result != MDB_NOTFOUND) check(result, "get by email");
    mdb_txn_reset(thread->reader);
    return answer;
}

/* ---- queries ---- */

static const uint8_t *doc_get(MDB_txn *txn, MDB_val key) {
    MDB_val doc;
    check(mdb_get(txn, by_key, &key, &doc), "get behind an index");
    return doc.mv_data;
}

/* LMDB aligns keys to two bytes only. */
static uint64_t number_of(MDB_val value) {
    uint64_t number;
    memcpy(&number, value.mv_data, sizeof number);
    return number;
}

static void lmdb_range(void *context, uint64_t score_from, uint64_t score_to,
                       bench_sight *out_sight) {
    lmdb_thread *thread = context;
    MDB_val score = bytes_of(&score_from, sizeof score_from);
    MDB_val key;
    check(mdb_txn_renew(thread->reader), "renew");
    check(mdb_cursor_renew(thread->reader, thread->scores), "renew a cursor");
    int result = mdb_cursor_get(thread->scores, &score, &key, MDB_SET_RANGE);
    while (result == 0 && number_of(score) < score_to) {
        bench_sight_doc(out_sight, doc_get(thread->reader, key));
        result = mdb_cursor_get(thread->scores, &score, &key, MDB_NEXT);
    }
    if (result != MDB_NOTFOUND) check(result, "range");
    mdb_txn_reset(thread->reader);
}

static void lmdb_top(void *context, uint64_t score_most, size_t most, bench_sight *out_sight) {
    lmdb_thread *thread = context;
    uint64_t above = score_most + 1;
    MDB_val score = bytes_of(&above, sizeof above);
    MDB_val key;
    check(mdb_txn_renew(thread->reader), "renew");
    check(mdb_cursor_renew(thread->reader, thread->scores), "renew a cursor");
    int result = mdb_cursor_get(thread->scores, &score, &key, MDB_SET_RANGE);
    result = mdb_cursor_get(thread->scores, &score, &key, result == 0 ? MDB_PREV : MDB_LAST);
    while (result == 0) {
        bench_sight_doc(out_sight, doc_get(thread->reader, key));
        if (out_sight->count == most) break;
        result = mdb_cursor_get(thread->scores, &score, &key, MDB_PREV);
    }
    if (result != MDB_NOTFOUND) check(result, "top");
    mdb_txn_reset(thread->reader);
}

/* All that have a guild; where a language is given, those that have it too: a hundred documents are
 * looked at sooner than a hundred places in a tree of an eighth of all keys. */
static void guild_touch(lmdb_thread *thread, const char *guild, const uint32_t *lang,
                        bench_sight *out_sight) {
    MDB_val tag = bytes_of(guild, BENCH_GUILD_SIZE);
    MDB_val key;
    check(mdb_txn_renew(thread->reader), "renew");
    check(mdb_cursor_renew(thread->reader, thread->tags), "renew a cursor");
    int result = mdb_cursor_get(thread->tags, &tag, &key, MDB_SET);
    while (result == 0) {
        const uint8_t *doc = doc_get(thread->reader, key);
        if (lang == NULL || bench_lang_is(doc, *lang)) bench_sight_doc(out_sight, doc);
        result = mdb_cursor_get(thread->tags, &tag, &key, MDB_NEXT_DUP);
    }
    if (result != MDB_NOTFOUND) check(result, "tag");
    mdb_txn_reset(thread->reader);
}

static void lmdb_tag(void *context, const char *guild, bench_sight *out_sight) {
    guild_touch(context, guild, NULL, out_sight);
}

static void lmdb_tagand(void *context, const char *guild, uint32_t lang, bench_sight *out_sight) {
    guild_touch(context, guild, &lang, out_sight);
}

/* ---- writing ---- */

static void entry_put(MDB_txn *txn, MDB_dbi tree, MDB_val value, MDB_val key) {
    check(mdb_put(txn, tree, &value, &key, MDB_NODUPDATA), "put an entry");
}

static void entry_take(MDB_txn *txn, MDB_dbi tree, MDB_val value, MDB_val key) {
    check(mdb_del(txn, tree, &value, &key), "remove an entry");
}

static bench_answer fresh_put(MDB_txn *txn, MDB_dbi tree, MDB_val key, MDB_val value) {
    int result = mdb_put(txn, tree, &key, &value, MDB_NOOVERWRITE);
    if (result == MDB_KEYEXIST) return BENCH_NO;
    check(result, "put");
    return BENCH_YES;
}

static bench_answer lmdb_insert(void *context, const bench_record *record) {
    MDB_txn *txn;
    MDB_val key = bytes_of(record->key, BENCH_KEY_SIZE);
    (void)context;
    check(mdb_txn_begin(environment, NULL, 0, &txn), "begin");
    if (fresh_put(txn, by_key, key, bytes_of(record->bytes, record->size)) == BENCH_NO ||
        fresh_put(txn, by_name, bytes_of(record->name, BENCH_NAME_SIZE), key) == BENCH_NO ||
        fresh_put(txn, by_email, bytes_of(record->email, BENCH_EMAIL_SIZE), key) == BENCH_NO) {
        mdb_txn_abort(txn);
        return BENCH_NO;
    }
    if (has_all) {
        entry_put(txn, by_score, bytes_of(&record->score, sizeof record->score), key);
        entry_put(txn, by_tag, bytes_of(record->guild, BENCH_GUILD_SIZE), key);
        entry_put(txn, by_tag, bytes_of(record->lang, BENCH_LANG_SIZE), key);
    }
    check(mdb_txn_commit(txn), "commit");
    return BENCH_YES;
}

/* Where a document has its guild: behind the score, the field's name, and the head of the array. */
static const char *guild_find(const uint8_t *bytes, size_t score_size) {
    return (const char *)bytes + BENCH_SCORE_OFFSET + score_size + 5 + 1 + 1;
}

/* Moves the entries of score and guild from what the old document has to what the new one has. */
static void entries_move(MDB_txn *txn, const uint8_t *old, const bench_record *record,
                         MDB_val key) {
    size_t score_size;
    char guild[BENCH_GUILD_SIZE];
    uint64_t score = bench_score_read(old, &score_size);
    /* The old document does not survive the first change. */
    memcpy(guild, guild_find(old, score_size), sizeof guild);
    if (score != record->score) {
        entry_take(txn, by_score, bytes_of(&score, sizeof score), key);
        entry_put(txn, by_score, bytes_of(&record->score, sizeof score), key);
    }
    if (memcmp(guild, record->guild, sizeof guild) != 0) {
        entry_take(txn, by_tag, bytes_of(guild, sizeof guild), key);
        entry_put(txn, by_tag, bytes_of(record->guild, sizeof guild), key);
    }
}

/* Whoever keeps indexes by hand must look at the old document to know whether they move. Name and
 * email never do, and that is checked. */
static void values_check(MDB_val old, const bench_record *record) {
    size_t name_size;
    size_t email_size;
    const char *name = bench_find_text(old.mv_data, old.mv_size, "name", &name_size);
    const char *email = bench_find_text(old.mv_data, old.mv_size, "email", &email_size);
    if (name == NULL || email == NULL || name_size != BENCH_NAME_SIZE ||
        email_size != BENCH_EMAIL_SIZE || memcmp(name, record->name, name_size) != 0 ||
        memcmp(email, record->email, email_size) != 0) {
        bench_die("lmdb: the document under %s is another one", record->key);
    }
}

static void lmdb_update(void *context, const bench_record *record) {
    MDB_txn *txn;
    MDB_val key = bytes_of(record->key, BENCH_KEY_SIZE);
    MDB_val doc = bytes_of(record->bytes, record->size);
    MDB_val old;
    (void)context;
    check(mdb_txn_begin(environment, NULL, 0, &txn), "begin");
    check(mdb_get(txn, by_key, &key, &old), "get for update");
    values_check(old, record);
    if (has_all) entries_move(txn, old.mv_data, record, key);
    check(mdb_put(txn, by_key, &key, &doc, 0), "put");
    check(mdb_txn_commit(txn), "commit");
}

static void gold_put(MDB_txn *txn, const char *key_text) {
    uint8_t bytes[BENCH_ENCODED_SIZE_MAX];
    MDB_val key = bytes_of(key_text, BENCH_KEY_SIZE);
    MDB_val old;
    check(mdb_get(txn, by_key, &key, &old), "get for patch");
    size_t size = bench_gold_raise(old.mv_data, old.mv_size, bytes);
    if (size == 0) bench_die("lmdb: no gold in %s", key_text);
    MDB_val doc = bytes_of(bytes, size);
    check(mdb_put(txn, by_key, &key, &doc, 0), "put");
}

static void lmdb_patch_many(void *context, const char (*keys)[BENCH_KEY_SIZE + 1],
                            size_t key_count) {
    MDB_txn *txn;
    (void)context;
    check(mdb_txn_begin(environment, NULL, 0, &txn), "begin");
    for (size_t i = 0; i < key_count; i++) gold_put(txn, keys[i]);
    check(mdb_txn_commit(txn), "commit");
}

static void lmdb_patch(void *context, const char *key) {
    MDB_txn *txn;
    (void)context;
    check(mdb_txn_begin(environment, NULL, 0, &txn), "begin");
    gold_put(txn, key);
    check(mdb_txn_commit(txn), "commit");
}

static void entry_remove(MDB_txn *txn, MDB_dbi tree, MDB_val old, const char *field) {
    char text[64];
    size_t size;
    const char *value = bench_find_text(old.mv_data, old.mv_size, field, &size);
    if (value == NULL || size > sizeof text) bench_die("lmdb: a document has no %s", field);
    memcpy(text, value, size); /* the old document does not survive the first removal */
    MDB_val key = bytes_of(text, size);
    check(mdb_del(txn, tree, &key, NULL), field);
}

static void entries_remove(MDB_txn *txn, const uint8_t *old, MDB_val key) {
    size_t score_size;
    uint64_t score = bench_score_read(old, &score_size);
    const char *guild = guild_find(old, score_size);
    entry_take(txn, by_score, bytes_of(&score, sizeof score), key);
    entry_take(txn, by_tag, bytes_of(guild, BENCH_GUILD_SIZE), key);
    entry_take(txn, by_tag, bytes_of(guild + BENCH_GUILD_SIZE + 1, BENCH_LANG_SIZE), key);
}

static bench_answer lmdb_remove(void *context, const char *key_text) {
    uint8_t bytes[BENCH_ENCODED_SIZE_MAX];
    MDB_txn *txn;
    MDB_val key = bytes_of(key_text, BENCH_KEY_SIZE);
    MDB_val old;
    (void)context;
    check(mdb_txn_begin(environment, NULL, 0, &txn), "begin");
    int result = mdb_get(txn, by_key, &key, &old);
    if (result == MDB_NOTFOUND) {
        mdb_txn_abort(txn);
        return BENCH_NO;
    }
    check(result, "get for removal");
    memcpy(bytes, old.mv_data, old.mv_size);
    old.mv_data = bytes;
    check(mdb_del(txn, by_key, &key, NULL), "remove");
    entry_remove(txn, by_name, old, "name");
    entry_remove(txn, by_email, old, "email");
    if (has_all) entries_remove(txn, bytes, key);
    check(mdb_txn_commit(txn), "commit");
    return BENCH_YES;
}

/* ---- checking ---- */

static uint64_t lmdb_gold(void *context, const char *key_text) {
    lmdb_thread *thread = context;
    MDB_val key = bytes_of(key_text, BENCH_KEY_SIZE);
    MDB_val doc;
    check(mdb_txn_renew(thread->reader), "renew");
    check(mdb_get(thread->reader, by_key, &key, &doc), "get gold");
    uint64_t gold = bench_find_uint(doc.mv_data, doc.mv_size, "gold");
    mdb_txn_reset(thread->reader);
    return gold;
}

static uint64_t lmdb_count(void *context) {
    lmdb_thread *thread = context;
    MDB_stat keys;
    MDB_stat names;
    MDB_stat emails;
    MDB_stat scores;
    MDB_stat tags;
    check(mdb_txn_renew(thread->reader), "renew");
    check(mdb_stat(thread->reader, by_key, &keys), "stat");
    check(mdb_stat(thread->reader, by_name, &names), "stat");
    check(mdb_stat(thread->reader, by_email, &emails), "stat");
    check(mdb_stat(thread->reader, by_score, &scores), "stat");
    check(mdb_stat(thread->reader, by_tag, &tags), "stat");
    mdb_txn_reset(thread->reader);
    if (has_all && (scores.ms_entries != keys.ms_entries || tags.ms_entries != 2 * keys.ms_entries))
        bench_die("lmdb: %zu keys, %zu scores, %zu tags", keys.ms_entries, scores.ms_entries,
                  tags.ms_entries);
    if (keys.ms_entries != names.ms_entries || keys.ms_entries != emails.ms_entries) {
        bench_die("lmdb: %zu keys, %zu names, %zu emails", keys.ms_entries, names.ms_entries,
                  emails.ms_entries);
    }
    return keys.ms_entries;
}

/* It can be synced, and nothing more of what is asked there. */
static const bench_disk lmdb_disk = {0};

const bench_system bench_lmdb = {
    .name = "lmdb",
    .about =
        MDB_VERSION_STRING ", WRITEMAP NOSYNC NOMETASYNC NOMEMINIT NOTLS, five trees in /dev/shm",
    .reader_max = 64,
    .writer_max = 64,
    .has_unique = 1,
    .op_divisor = 4,
    .open = lmdb_open,
    .close = lmdb_close,
    .thread_begin = lmdb_thread_begin,
    .thread_end = lmdb_thread_end,
    .insert = lmdb_insert,
    .get = lmdb_get,
    .get_many = lmdb_get_many,
    .get_by_email = lmdb_get_by_email,
    .range = lmdb_range,
    .top = lmdb_top,
    .tag = lmdb_tag,
    .tagand = lmdb_tagand,
    .update = lmdb_update,
    .patch = lmdb_patch,
    .patch_many = lmdb_patch_many,
    .remove = lmdb_remove,
    .gold = lmdb_gold,
    .count = lmdb_count,
    .disk = &lmdb_disk,
};
