/* bench/system_sqlite.c - SQLite as a peer: one database in memory, statements prepared once.
 *
 * What    one table: key PRIMARY KEY, name UNIQUE, email UNIQUE, and score, guild, lang, bio, gold
 *         as plain columns. A change is a statement, which is a transaction of its own; tick
 *         is 1,000 statements between BEGIN and COMMIT.
 * Owns    the connection and its statements.
 * Sees    page_size 16384 (twice the inserts of 4096 here, the rest alike), journal_mode OFF,
 *         synchronous OFF, locking_mode EXCLUSIVE, no mutexes.
 * Threads one: a :memory: database belongs to its connection.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <sqlite3.h>
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
    [BEGIN] = "BEGIN",
    [COMMIT] = "COMMIT",
};

static sqlite3 *connection;
static sqlite3_stmt *statements[STATEMENT_COUNT];

static void check(int result, int wanted, const char *what) {
    if (result != wanted) bench_die("sqlite: %s: %s", what, sqlite3_errmsg(connection));
}

static void sqlite_open(uint32_t count, bench_background background) {
    static const char setup[] =
        "PRAGMA page_size = 16384; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA "
        "locking_mode = EXCLUSIVE;"
        "CREATE TABLE players(key TEXT PRIMARY KEY NOT NULL, name TEXT UNIQUE, email TEXT UNIQUE,"
        " score INTEGER, guild TEXT, lang TEXT, bio TEXT, gold INTEGER);";
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    (void)count, (void)background;
    check(sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0), SQLITE_OK, "config");
    check(sqlite3_open_v2(":memory:", &connection, flags, NULL), SQLITE_OK, "open");
    check(sqlite3_exec(connection, setup, NULL, NULL, NULL), SQLITE_OK, "setup");
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

static bench_answer sqlite_insert(void *context, const bench_record *record) {
    (void)context;
    record_bind(statements[INSERT], record);
    int result = sqlite3_step(statements[INSERT]);
    sqlite3_reset(statements[INSERT]);
    if (result == SQLITE_CONSTRAINT) return BENCH_NO;
    check(result, SQLITE_DONE, "insert");
    return BENCH_YES;
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

static void sqlite_update(void *context, const bench_record *record) {
    (void)context;
    record_bind(statements[UPDATE], record);
    statement_run(UPDATE);
    one_changed_check(record->key);
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
    (void)context;
    text_bind(statements[REMOVE], 1, key, BENCH_KEY_SIZE);
    statement_run(REMOVE);
    return sqlite3_changes(connection) == 1 ? BENCH_YES : BENCH_NO;
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
    return count;
}

const bench_system bench_sqlite = {
    .name = "sqlite",
    .about = SQLITE_VERSION " :memory:, pages of 16 KiB, journal off, prepared statements",
    .reader_max = 1,
    .writer_max = 1,
    .has_unique = 1,
    .open = sqlite_open,
    .close = sqlite_close,
    .thread_begin = sqlite_thread_begin,
    .thread_end = sqlite_thread_end,
    .insert = sqlite_insert,
    .get = sqlite_get,
    .get_many = sqlite_get_many,
    .get_by_email = sqlite_get_by_email,
    .update = sqlite_update,
    .patch = sqlite_patch,
    .patch_many = sqlite_patch_many,
    .remove = sqlite_remove,
    .gold = sqlite_gold,
    .count = sqlite_count,
};
