/* tests/unit/store/stand.h - a database with one collection of players, for tests of the store.
 *
 * What    Opens it without a thread of its own, so that nothing happens but what the test does;
 *         documents are written as JSON. Threads owner only, but `stand` itself may be shared while
 *         it stays as it is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_TESTS_STORE_STAND_H
#define MRL_TESTS_STORE_STAND_H

#include <merle/merle.h>

#include "database/database.h"
#include "tests/unit/store/scarce.h"

typedef struct stand {
    merle_db *db;
    merle_collection *players;
    merle_report report;
} stand;

/* One unique index on "email". */
UNUSED static const merle_index email_index[] = {{"email", MERLE_UNIQUE, "email"}, {NULL, 0, NULL}};
UNUSED static const merle_schema players_schema = {.version = 1, .indexes = email_index};

static inline void must(const stand *s, merle_err err) {
    if (err != MERLE_OK) print_message("# %s: %s\n", merle_err_name(err), s->report.message);
    assert_int_equal(err, MERLE_OK);
}

/* A document's bytes from JSON; freed by the caller. */
static inline merle_buffer doc_of(const char *json) {
    merle_buffer buffer = {NULL, 0, 0};
    merle_report report;
    merle_err err = merle_json_read(merle_str(json), &buffer, &report);
    if (err != MERLE_OK) print_message("# %s: %s\n", json, report.message);
    assert_int_equal(err, MERLE_OK);
    return buffer;
}

static inline merle_bytes bytes_of(const merle_buffer *buffer) {
    return merle_bytes_of(buffer->data, buffer->size);
}

/* Fails unless the bytes are the document that the JSON stands for. */
static inline void assert_is_doc(merle_bytes bytes, const char *json) {
    merle_buffer wanted = doc_of(json);
    assert_int_equal(bytes.size, wanted.size);
    assert_memory_equal(bytes.data, wanted.data, wanted.size);
    merle_buffer_free(&wanted);
}

/* hash_seed 0: a random one. */
static inline stand stand_open_with(uint64_t ring_size, uint64_t hash_seed) {
    merle_options options = {.threads = MERLE_THREADS_NONE, .ring_size = ring_size};
    const mrl_environment environment = {.hash_seed = hash_seed};
    stand s;
    memset(&s, 0, sizeof s);
    options.report = &s.report;
    must(&s, mrl_db_open(NULL, &options, &environment, &s.db));
    must(&s, merle_collection_open(s.db, "players", &players_schema, &s.players));
    return s;
}

static inline stand stand_open(void) {
    return stand_open_with(0, 0);
}

static inline void stand_close(stand *s) {
    must(s, merle_close(s->db));
}

/* Reclaims what can be reclaimed now. */
static inline void stand_settle(const stand *s) {
    for (int i = 0; i < 100; i++)
        if (merle_step(s->db, 0, 1000000) == MERLE_OK) return;
}

static inline uint64_t put_json(const stand *s, const char *key, const char *json) {
    uint64_t seq = 0;
    merle_buffer doc = doc_of(json);
    must(s, merle_one_put(s->players, merle_str(key), bytes_of(&doc), &seq));
    merle_buffer_free(&doc);
    return seq;
}

static inline uint64_t remove_key(const stand *s, const char *key) {
    uint64_t seq = 0;
    must(s, merle_one_remove(s->players, merle_str(key), &seq));
    return seq;
}

#endif
