/* tests/unit/database/small_test.c - what small collections take.
 *
 * Aim     An empty collection, and one of ten documents, with and without indexes, take no more
 *         bytes than is written down here. docs/indexes.md has the figures.
 * Method  Bytes as merle_stats counts them, at rest; the mean of a hundred collections, since the
 *         shards of keys are random.
 * Blind   Resident memory, which comes in pages.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/store/stand.h"

#include <inttypes.h>
#include <stdio.h>

#include "memory/memory_private.h"

enum { COLLECTIONS = 100, DOCUMENTS = 10 };

/* Of the size that docs/workload.md has them: 171 bytes of msgpack. */
static merle_buffer player(uint32_t n) {
    char json[320];
    (void)snprintf(json, sizeof json,
                   "{\"name\":\"player-%05u\",\"email\":\"p%05u@example.com\",\"score\":%u,"
                   "\"level\":%u,\"guild\":\"guild-%03u\",\"tags\":[\"eu\",\"t%02u\"],"
                   "\"note\":\"01234567890123456789012345678901234567890123456789"
                   "01234567890123456789012345\"}",
                   n, n, n * 7919 % 100000, n % 60, n % 500, n % 20);
    merle_buffer doc = doc_of(json);
    assert_in_range(doc.size, 168, 175);
    return doc;
}

typedef struct measure {
    const merle_index *indexes;
    uint64_t empty_max, ten_max; /* bytes of a collection */
} measure;

static void settle(merle_db *db) {
    for (int i = 0; i < 200; i++) (void)merle_step(db, 0, 0);
}

static uint64_t bytes_of_db(merle_db *db) {
    merle_stats_db stats = {.size = sizeof stats};
    settle(db);
    assert_int_equal(merle_stats(db, &stats), MERLE_OK);
    /* The ring's records are not the collections'. */
    return stats.bytes_total - stats.bytes_log;
}

static void fill(stand *s, merle_collection *players) {
    for (uint32_t i = 0; i < DOCUMENTS; i++) {
        char key[16];
        merle_buffer doc = player(i);
        (void)snprintf(key, sizeof key, "p%05u", i);
        must(s, merle_one_put(players, merle_str(key), bytes_of(&doc), NULL));
        merle_buffer_free(&doc);
    }
}

static void measure_run(const char *name, const measure *m) {
    merle_collection *all[COLLECTIONS];
    const merle_options options = {.threads = MERLE_THREADS_NONE, .ring_size = 64 << 10};
    const merle_schema schema = {.version = 1, .indexes = m->indexes};
    stand s;
    memset(&s, 0, sizeof s);
    must(&s, merle_open(NULL, &options, &s.db));
    uint64_t none = bytes_of_db(s.db);
    for (int i = 0; i < COLLECTIONS; i++) {
        char label[16];
        (void)snprintf(label, sizeof label, "c%d", i);
        must(&s, merle_collection_open(s.db, label, &schema, &all[i]));
    }
    uint64_t empty = bytes_of_db(s.db);
    for (int i = 0; i < COLLECTIONS; i++) fill(&s, all[i]);
    uint64_t ten = bytes_of_db(s.db);
    empty = (empty - none) / COLLECTIONS, ten = (ten - none) / COLLECTIONS;
    printf("# %s: empty %" PRIu64 " bytes, with ten documents %" PRIu64 "\n", name, empty, ten);
    assert_in_range(empty, 1, m->empty_max);
    assert_in_range(ten, empty, m->ten_max);
    must(&s, merle_close(s.db));
}

static void small_without_index_is_bounded(void **state) {
    (void)state;
    const measure m = {NULL, 7500, 11600};
    measure_run("no index", &m);
}

static void small_with_each_kind_is_bounded(void **state) {
    (void)state;
    static const merle_index unique[] = {{"email", MERLE_UNIQUE, "email"}, {NULL, 0, NULL}};
    static const merle_index ordered[] = {{"top", MERLE_ORDERED, "-score"}, {NULL, 0, NULL}};
    static const merle_index tags[] = {{"tags", MERLE_TAGS, "tags"}, {NULL, 0, NULL}};
    const measure with_unique = {unique, 9100, 13700}, with_ordered = {ordered, 8000, 12300},
                  with_tags = {tags, 8100, 14500};
    measure_run("one unique index", &with_unique);
    measure_run("one ordered index", &with_ordered);
    measure_run("one index of tags", &with_tags);
}

static void small_with_four_indexes_is_bounded(void **state) {
    (void)state;
    static const merle_index four[] = {{"email", MERLE_UNIQUE, "email"},
                                       {"name", MERLE_UNIQUE, "name"},
                                       {"top", MERLE_ORDERED, "-score"},
                                       {"tags", MERLE_TAGS, "tags"},
                                       {NULL, 0, NULL}};
    const measure m = {four, 12000, 19600};
    measure_run("two unique, one ordered, one of tags", &m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_without_index_is_bounded),
        cmocka_unit_test(small_with_each_kind_is_bounded),
        cmocka_unit_test(small_with_four_indexes_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
