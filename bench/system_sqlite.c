/* bench/system_sqlite.c - SQLite as a peer: one database in memory, statements prepared once.
 *
 * What    one table: id INTEGER PRIMARY KEY, key UNIQUE, name UNIQUE, email UNIQUE, and score
 *         (with an index), guild, lang, bio, gold as plain columns; and tag(tag, id) WITHOUT ROWID.
 *         Insert, update and delete are a few statements between BEGIN and COMMIT, other changes
 *         are a statement, which is a transaction of its own; tick is 1,000 between BEGIN and
 *         COMMIT. A query reads score and gold of each row, one step a row.
 * Owns    the connection and its statements.
 * Sees    page_size 16384 (twice the inserts of 4096 here, the rest alike), journal_mode OFF,
 *         synchronous OFF, locking_mode EXCLUSIVE, no mutexes. With a directory: journal_mode WAL,
 *         synchronous FULL, pages of 4096.
 * Threads one: a :memory: database belongs to its connection.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "bench/common/measure.h"
#include "bench/common/system.h"

enum {
    INSERT,
    GET,
    GET_BY_EMAIL,
    UPDATE,
    PATCH,
    REMOVE,
    GOLD,
    COUNT,
    TAG_COUNT,
    PLACE,
    TAG_ADD,
    TAG_TAKE,
    RANGE,
    TOP,
    TAG,
    TAGAND,
    BEGIN,
    COMMIT,
    STATEMENT_COUNT
};

static const char *const statement_texts[STATEMENT_COUNT] = {
    [INSERT] =
        "INSERT INTO players(key, name, email, score, guild, lang, bio, gold)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [GET] = "SELECT score FROM players WHERE key = ?1",
    [GET_BY_EMAIL] = "SELECT score FROM players WHERE email = ?1",
    [UPDATE] =
        "UPDATE players SET name = ?2, email = ?3, score = ?4, guild = ?5, lang = ?6,"
        " bio = ?7, gold = ?8 WHERE key = ?1",
    [PATCH] = "UPDATE players SET gold = gold + 1 WHERE key = ?1",
    [REMOVE] = "DELETE FROM players WHERE key = ?1",
    [GOLD] = "SELECT gold FROM players WHERE key = ?1",
    [COUNT] = "SELECT count(*) FROM players",
    [TAG_COUNT] = "SELECT count(*) FROM tag",
    [PLACE] = "SELECT id, guild, lang FROM players WHERE key = ?1",
    [TAG_ADD] = "INSERT INTO tag(tag, id) VALUES(?1, ?2)",
    [TAG_TAKE] = "DELETE FROM tag WHERE tag = ?1 AND id = ?2",
    [RANGE] =
        "SELECT score, gold FROM players WHERE score >= ?1 AND score < ?2"
        " ORDER BY score",
    [TOP] =
        "SELECT score, gold FROM players WHERE score <= ?1"
        " ORDER BY score DESC LIMIT ?2",
    [TAG] =
        "SELECT p.score, p.gold FROM tag AS t CROSS JOIN players AS p ON p.id = t.id"
        " WHERE t.tag = ?1",
    [TAGAND] =
        "SELECT p.score, p.gold FROM tag AS g CROSS JOIN tag AS l ON l.id = g.id"
        " CROSS JOIN players AS p ON p.id = g.id WHERE g.tag = ?1 AND l.tag = ?2",
    [BEGIN] = "BEGIN",
    [COMMIT] = "COMMIT",
};

static sqlite3 *connection;
static sqlite3_stmt *statements[STATEMENT_COUNT];
static unsigned has_all; /* 1: scores and tags are indexed too */

static void check(int result, int wanted, const char *what) {
    if (result != wanted) bench_die("sqlite: %s: %s", what, sqlite3_errmsg(connection));
}

static void sqlite_open(const bench_setup *setup) {
    static const char index[] = "CREATE INDEX IF NOT EXISTS players_score ON players(score);";
    static const char in_memory[] =
        "PRAGMA page_size = 16384; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA "
        "locking_mode = EXCLUSIVE;";
    static const char on_disk[] =
        "PRAGMA page_size = 4096; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
        "PRAGMA synchronous = FULL;";
    static const char tables[] =
        "CREATE TABLE IF NOT EXISTS players(id INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, name "
        "TEXT UNIQUE,"
        " email TEXT UNIQUE, score INTEGER, guild TEXT, lang TEXT, bio TEXT, gold INTEGER);"
        "CREATE TABLE IF NOT EXISTS tag(tag TEXT, id INTEGER, PRIMARY KEY(tag, id)) WITHOUT ROWID;";
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    char path[600] = ":memory:";
    has_all = setup->entries == BENCH_ENTRIES_ALL;
    if (setup->directory != NULL) snprintf(path, sizeof path, "%s/sqlite", setup->directory);
    /* Only before its first opening can it be told so. */
    static unsigned is_configured;
    if (!is_configured) check(sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0), SQLITE_OK, "config");
    is_configured = 1;
    check(sqlite3_open_v2(path, &connection, flags, NULL), SQLITE_OK, "open");
    check(
        sqlite3_exec(connection, setup->directory == NULL ? in_memory : on_disk, NULL, NULL, NULL),
        SQLITE_OK, "mode");
    check(sqlite3_exec(connection, tables, NULL, NULL, NULL), SQLITE_OK, "setup");
    if (has_all) check(sqlite3_exec(connection, index, NULL, NULL, NULL), SQLITE_OK, "index");
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        check(sqlite3_prepare_v3(connection, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                 &statements[i], NULL),
              SQLITE_OK, statement_texts[i]);
    }
}

static void sqlite_close(void) {
    for (int i = 0; i < STATEMENT_COUNT; i++) sqlite3_finalize(statements[i]);
    check(sqlite3_close(connection), SQLITE_OK, "close");
}

static void *sqlite_thread_begin(void) {
    return connection;
}
static void sqlite_thread_end(void *context) {
    (void)context;
}

static void text_bind(sqlite3_stmt *statement, int at, const char *text, size_t size) {
    check(sqlite3_bind_text(statement, at, text, (int)size, SQLITE_STATIC), SQLITE_OK, "bind");
}

static void record_bind(sqlite3_stmt *statement, const bench_record *record) {
    text_bind(statement, 1, record->key, BENCH_KEY_SIZE);
    text_bind(statement, 2, record->name, BENCH_NAME_SIZE);
    text_bind(statement, 3, record->email, BENCH_EMAIL_SIZE);
    check(sqlite3_bind_int64(statement, 4, (sqlite3_int64)record->score), SQLITE_OK, "bind");
    text_bind(statement, 5, record->guild, BENCH_GUILD_SIZE);
    text_bind(statement, 6, record->lang, BENCH_LANG_SIZE);
    text_bind(statement, 7, record->bio, BENCH_BIO_SIZE);
    check(sqlite3_bind_int64(statement, 8, (sqlite3_int64)record->gold), SQLITE_OK, "bind");
}

/* Runs a statement that gives no rows. */
static void statement_run(int which) {
    check(sqlite3_step(statements[which]), SQLITE_DONE, statement_texts[which]);
    sqlite3_reset(statements[which]);
}

/* The one number that a lookup gives. */
static bench_answer number_get(int which, const char *text, size_t size, uint64_t *out_number) {
    sqlite3_stmt *statement = statements[which];
    bench_answer answer = BENCH_NO;
    if (text != NULL) text_bind(statement, 1, text, size);
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW) {
        *out_number = (uint64_t)sqlite3_column_int64(statement, 0);
        answer = BENCH_YES;
    } else {
        check(result, SQLITE_DONE, statement_texts[which]);
    }
    sqlite3_reset(statement);
    return answer;
}

/* ---- tags ---- */

static void int_bind(sqlite3_stmt *statement, int at, uint64_t number) {
    check(sqlite3_bind_int64(statement, at, (sqlite3_int64)number), SQLITE_OK, "bind");
}

static void tag_change(int which, const char *tag, size_t size, sqlite3_int64 id) {
    text_bind(statements[which], 1, tag, size);
    int_bind(statements[which], 2, (uint64_t)id);
    statement_run(which);
}

/* A row's number and what it has for tags now. */
typedef struct place {
    sqlite3_int64 id;
    char guild[BENCH_GUILD_SIZE + 1];
    char lang[BENCH_LANG_SIZE + 1];
} place;

static bench_answer place_get(const char *key, place *out_place) {
    sqlite3_stmt *statement = statements[PLACE];
    text_bind(statement, 1, key, BENCH_KEY_SIZE);
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW) {
        out_place->id = sqlite3_column_int64(statement, 0);
        memcpy(out_place->guild, sqlite3_column_text(statement, 1), sizeof out_place->guild);
        memcpy(out_place->lang, sqlite3_column_text(statement, 2), sizeof out_place->lang);
    } else {
        check(result, SQLITE_DONE, "place");
    }
    sqlite3_reset(statement);
    return result == SQLITE_ROW ? BENCH_YES : BENCH_NO;
}

/* ---- operations ---- */

static bench_answer sqlite_insert(void *context, const bench_record *record) {
    (void)context;
    if (has_all) statement_run(BEGIN);
    record_bind(statements[INSERT], record);
    int result = sqlite3_step(statements[INSERT]);
    sqlite3_reset(statements[INSERT]);
    if (result != SQLITE_CONSTRAINT) check(result, SQLITE_DONE, "insert");
    if (has_all && result == SQLITE_DONE) {
        sqlite3_int64 id = sqlite3_last_insert_rowid(connection);
        tag_change(TAG_ADD, record->guild, BENCH_GUILD_SIZE, id);
        tag_change(TAG_ADD, record->lang, BENCH_LANG_SIZE, id);
    }
    if (has_all) statement_run(COMMIT);
    return result == SQLITE_DONE ? BENCH_YES : BENCH_NO;
}

static bench_answer sqlite_get(void *context, const char *key, uint64_t *out_score) {
    (void)context;
    return number_get(GET, key, BENCH_KEY_SIZE, out_score);
}

static size_t sqlite_get_many(void *context, const char (*keys)[BENCH_KEY_SIZE + 1],
                              size_t key_count, uint64_t *out_score_sum) {
    size_t found = 0;
    (void)context;
    statement_run(BEGIN);
    for (size_t i = 0; i < key_count; i++) {
        uint64_t score = 0;
        found += number_get(GET, keys[i], BENCH_KEY_SIZE, &score) == BENCH_YES;
        *out_score_sum += score;
    }
    statement_run(COMMIT);
    return found;
}

static bench_answer sqlite_get_by_email(void *context, const char *email, uint64_t *out_score) {
    (void)context;
    return number_get(GET_BY_EMAIL, email, BENCH_EMAIL_SIZE, out_score);
}

static void one_changed_check(const char *key) {
    if (sqlite3_changes(connection) != 1) bench_die("sqlite: there is no document %s", key);
}

/* Sums up the rows of a query, one step a row. */
static void rows_touch(int which, bench_sight *out_sight) {
    sqlite3_stmt *statement = statements[which];
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        uint64_t score = (uint64_t)sqlite3_column_int64(statement, 0);
        /* gold stands behind all other columns: to read it the row itself has to be looked at. */
        if (sqlite3_column_type(statement, 1) != SQLITE_INTEGER) bench_die("sqlite: no gold");
        bench_sight_score(out_sight, score);
    }
    check(result, SQLITE_DONE, statement_texts[which]);
    sqlite3_reset(statement);
}

static void sqlite_range(void *context, uint64_t score_from, uint64_t score_to,
                         bench_sight *out_sight) {
    (void)context;
    int_bind(statements[RANGE], 1, score_from);
    int_bind(statements[RANGE], 2, score_to);
    rows_touch(RANGE, out_sight);
}

static void sqlite_top(void *context, uint64_t score, size_t most, bench_sight *out_sight) {
    (void)context;
    int_bind(statements[TOP], 1, score);
    int_bind(statements[TOP], 2, most);
    rows_touch(TOP, out_sight);
}

static void sqlite_tag(void *context, const char *guild, bench_sight *out_sight) {
    (void)context;
    text_bind(statements[TAG], 1, guild, BENCH_GUILD_SIZE);
    rows_touch(TAG, out_sight);
}

static void sqlite_tagand(void *context, const char *guild, uint32_t lang, bench_sight *out_sight) {
    char text[BENCH_LANG_SIZE + 1];
    (void)context;
    bench_lang_write(text, lang);
    text_bind(statements[TAGAND], 1, guild, BENCH_GUILD_SIZE);
    text_bind(statements[TAGAND], 2, text, BENCH_LANG_SIZE);
    rows_touch(TAGAND, out_sight);
}

/* The language of a record never changes. */
static void sqlite_update(void *context, const bench_record *record) {
    place before;
    (void)context;
    if (has_all) {
        statement_run(BEGIN);
        if (place_get(record->key, &before) == BENCH_NO) bench_die("sqlite: no %s", record->key);
    }
    record_bind(statements[UPDATE], record);
    statement_run(UPDATE);
    one_changed_check(record->key);
    if (!has_all) return;
    if (memcmp(before.guild, record->guild, BENCH_GUILD_SIZE) != 0) {
        tag_change(TAG_TAKE, before.guild, BENCH_GUILD_SIZE, before.id);
        tag_change(TAG_ADD, record->guild, BENCH_GUILD_SIZE, before.id);
    }
    statement_run(COMMIT);
}

static void sqlite_patch(void *context, const char *key) {
    (void)context;
    text_bind(statements[PATCH], 1, key, BENCH_KEY_SIZE);
    statement_run(PATCH);
    one_changed_check(key);
}

static void sqlite_patch_many(void *context, const char (*keys)[BENCH_KEY_SIZE + 1],
                              size_t key_count) {
    statement_run(BEGIN);
    for (size_t i = 0; i < key_count; i++) sqlite_patch(context, keys[i]);
    statement_run(COMMIT);
}

static bench_answer sqlite_remove(void *context, const char *key) {
    place before;
    (void)context;
    if (has_all) {
        statement_run(BEGIN);
        if (place_get(key, &before) == BENCH_YES) {
            tag_change(TAG_TAKE, before.guild, BENCH_GUILD_SIZE, before.id);
            tag_change(TAG_TAKE, before.lang, BENCH_LANG_SIZE, before.id);
        }
    }
    text_bind(statements[REMOVE], 1, key, BENCH_KEY_SIZE);
    statement_run(REMOVE);
    int changed = sqlite3_changes(connection);
    if (has_all) statement_run(COMMIT);
    return changed == 1 ? BENCH_YES : BENCH_NO;
}

static uint64_t sqlite_gold(void *context, const char *key) {
    uint64_t gold = 0;
    (void)context;
    if (number_get(GOLD, key, BENCH_KEY_SIZE, &gold) == BENCH_NO) {
        bench_die("sqlite: there is no document %s", key);
    }
    return gold;
}

static uint64_t sqlite_count(void *context) {
    uint64_t count = 0;
    (void)context;
    if (number_get(COUNT, NULL, 0, &count) == BENCH_NO) bench_die("sqlite: no count");
    if (!has_all) return count;
    uint64_t tags = 0;
    if (number_get(TAG_COUNT, NULL, 0, &tags) == BENCH_NO || tags != 2 * count) {
        bench_die("sqlite: %lu documents have %lu tags", count, tags);
    }
    return count;
}

/* It can be synced, and nothing more of what is asked there. */
static const bench_disk sqlite_disk = {0};

const bench_system bench_sqlite = {
    .name = "sqlite",
    .about = SQLITE_VERSION " :memory:, pages of 16 KiB, journal off, prepared statements",
    .reader_max = 1,
    .writer_max = 1,
    .has_unique = 1,
    .op_divisor = 4,
    .open = sqlite_open,
    .close = sqlite_close,
    .thread_begin = sqlite_thread_begin,
    .thread_end = sqlite_thread_end,
    .insert = sqlite_insert,
    .get = sqlite_get,
    .get_many = sqlite_get_many,
    .get_by_email = sqlite_get_by_email,
    .range = sqlite_range,
    .top = sqlite_top,
    .tag = sqlite_tag,
    .tagand = sqlite_tagand,
    .update = sqlite_update,
    .patch = sqlite_patch,
    .patch_many = sqlite_patch_many,
    .remove = sqlite_remove,
    .gold = sqlite_gold,
    .count = sqlite_count,
    .disk = &sqlite_disk,
};
