/* tests/fuzz/position_fuzz.c - fuzzes the positions that queries go on behind.
 *
 * Aim     Bytes that are no position are refused; what passes for one, however wrong, gives rows
 *         that meet the condition, each once, and ends.
 * Method  The input's first byte chooses the query; the rest is a position, as it is and with the
 *         check that the database would have given it. A few hundred documents.
 * Blind   Whether it goes on at the right place: model/query_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/assert.h"
#include "query/query_private.h"
#include "tests/fuzz/driver.h"

enum { DOCUMENT_COUNT = 300, QUERY_COUNT = 6, POSITION_MAX = 8192 };

static merle_db *db;
static merle_collection *players;
static merle_query queries[QUERY_COUNT];
static merle_rows *opened[QUERY_COUNT]; /* for their checks */
static merle_section section;

static void put_all(void) {
    static const merle_index indexes[] = {{.name = "rank", .kind = MERLE_ORDERED, .on = "g, -n"},
                                          {.name = "n", .kind = MERLE_ORDERED, .on = "n"},
                                          {.name = "tags", .kind = MERLE_TAGS, .on = "tags"},
                                          {0}};
    const merle_schema schema = {.version = 1, .indexes = indexes};
    const merle_options options = {.threads = MERLE_THREADS_NONE};
    merle_builder *b;
    merle_bytes doc;
    merle_key key;
    merle_err err = merle_open(NULL, &options, &db);
    if (err == MERLE_OK) err = merle_collection_open(db, "players", &schema, &players);
    MRL_ASSERT(err == MERLE_OK && merle_builder_create(&b) == MERLE_OK);
    for (uint64_t i = 0; i < DOCUMENT_COUNT; i++) {
        merle_build_begin(b);
        merle_build_int(b, "n", (int64_t)i % 40);
        merle_build_str(b, "g", i % 3 == 0 ? "red" : "blue");
        merle_build_str(b, "tags", i % 2 == 0 ? "even" : "odd");
        MRL_ASSERT(merle_build_end(b, &doc) == MERLE_OK);
        MRL_ASSERT(merle_one_put(players, merle_key_u64(&key, i), doc, NULL) == MERLE_OK);
    }
    merle_builder_destroy(b);
}

static merle_condition *condition_of(const char *text) {
    merle_condition *condition = NULL;
    MRL_ASSERT(merle_condition_parse(merle_str(text), &condition, NULL) == MERLE_OK);
    return condition;
}

static void prepare(void) {
    if (db != NULL) return;
    put_all();
    queries[0] = (merle_query){.where = condition_of("n >= 3 and n < 30"), .order = "n"};
    queries[1] = (merle_query){.where = queries[0].where, .order = "-n", .index = "n"};
    queries[2] =
        (merle_query){.where = condition_of("g in ('red', 'green') and n > 5"), .order = "g, -n"};
    queries[3] = (merle_query){.where = condition_of("tags: odd and not tags: even")};
    queries[4] = (merle_query){.where = queries[0].where, .order = "tags, n", .limit = 50};
    queries[5] = (merle_query){.where = condition_of("n = 5 or tags: odd")};
    MRL_ASSERT(merle_section_begin(db, &section) == MERLE_OK);
    for (int i = 0; i < QUERY_COUNT; i++)
        MRL_ASSERT(merle_query_open(&section, players, &queries[i], &opened[i]) == MERLE_OK);
}

static int meets(const merle_query *query, merle_doc doc) {
    int matches = 0;
    MRL_ASSERT(merle_condition_match(query->where, doc, NULL, 0, &matches) == MERLE_OK);
    return matches;
}

/* 1: it was taken for a position. */
static int try_position(merle_query query, const uint8_t *data, size_t size) {
    static const void *seen[DOCUMENT_COUNT];
    merle_rows *rows;
    merle_doc docs[32];
    size_t count, all = 0;
    query.after = merle_bytes_of(data, size);
    merle_err err = merle_query_open(&section, players, &query, &rows);
    MRL_ASSERT(err == MERLE_OK || err == MERLE_INVALID);
    if (err != MERLE_OK) return 0;
    while ((err = merle_rows_next(rows, docs, 32, &count)) == MERLE_OK)
        for (size_t i = 0; i < count; i++) {
            MRL_ASSERT(all < DOCUMENT_COUNT && meets(&query, docs[i]));
            for (size_t j = 0; j < all; j++) MRL_ASSERT(seen[j] != docs[i].data);
            seen[all++] = docs[i].data;
        }
    MRL_ASSERT(err == MERLE_NOT_FOUND);
    merle_rows_close(rows);
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t position[POSITION_MAX];
    prepare();
    if (size < 2 || size > POSITION_MAX) return 0;
    int number = data[0] % QUERY_COUNT;
    const char *order = queries[number].order == NULL ? "" : queries[number].order;
    size--;
    memcpy(position, data + 1, size);
    int was_taken = try_position(queries[number], position, size);
    if (size < sizeof(uint64_t)) return 0;
    uint64_t check = mrl_position_check(opened[number], order, position, size);
    MRL_ASSERT(!was_taken || memcmp(position, &check, sizeof check) == 0);
    memcpy(position, &check, sizeof check);
    (void)try_position(queries[number], position, size);
    return 0;
}

void fuzz_corpus(fuzz_add_fn *add) {
    prepare();
    for (uint8_t i = 0; i < QUERY_COUNT; i++) {
        uint8_t input[256];
        merle_rows *rows;
        merle_doc docs[7];
        merle_buffer at = {NULL, 0, 0};
        size_t count;
        merle_err err = merle_query_open(&section, players, &queries[i], &rows);
        if (err == MERLE_OK) err = merle_rows_next(rows, docs, 7, &count);
        if (err == MERLE_OK) err = merle_rows_position(rows, &at);
        MRL_ASSERT(err == MERLE_OK && at.size < sizeof input);
        input[0] = i;
        memcpy(input + 1, at.data, at.size);
        add(input, at.size + 1);
        merle_buffer_free(&at);
        merle_rows_close(rows);
    }
}
