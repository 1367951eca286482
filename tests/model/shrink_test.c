/* tests/model/shrink_test.c - memory comes back.
 *
 * Aim     A collection with indexes of every kind from which 90 % were removed needs, once all is
 *         settled, at most half as much again as a fresh one of what is left.
 * Method  Counted bytes of both, after steps have nothing left to do. The resident memory of both
 *         is printed. 100,000 documents; a million in a long run.
 * Blind   Resident memory is not judged: what the allocator keeps is not merle's alone. How fast it
 *         comes back: bench.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include <merle/merle.h>

#include "base/random.h"
#include "seed.h"

enum { BIO_SIZE = 120 };

/* What a game keeps of its players, and one with more indexes than that. */
static const merle_index few_indexes[] = {
    {"name", MERLE_UNIQUE, "name"},
    {"email", MERLE_UNIQUE, "email"},
    {"score", MERLE_ORDERED, "score"},
    {"tags", MERLE_TAGS, "tags"},
    {0},
};
static const merle_index many_indexes[] = {
    {"email", MERLE_UNIQUE, "email"},
    {"rank", MERLE_ORDERED, "guild, -score"},
    {"score", MERLE_UNIQUE_ORDERED, "score, id", MERLE_MISSING_LAST},
    {"each", MERLE_ORDERED, "tags[*]"},
    {"keys", MERLE_ORDERED, "key()"},
    {"tags", MERLE_TAGS, "tags"},
    {0},
};

typedef struct store {
    merle_db *db;
    merle_collection *players;
    merle_builder *builder;
    const merle_index *indexes;
    uint64_t resident_before;
} store;

static void must(merle_err err) {
    if (err != MERLE_OK) print_message("# %s\n", merle_err_name(err));
    assert_int_equal(err, MERLE_OK);
}

static uint64_t resident_bytes(void) {
    unsigned long long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL) return 0;
    if (fscanf(file, "%llu %llu", &all, &resident) != 2) resident = 0;
    (void)fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static store store_open(const merle_index *indexes) {
    const merle_options options = {.threads = MERLE_THREADS_NONE, .ring_size = 256 << 10};
    const merle_schema schema = {.version = 1, .indexes = indexes};
    store s = {.indexes = indexes, .resident_before = resident_bytes()};
    must(merle_open(NULL, &options, &s.db));
    must(merle_collection_open(s.db, "players", &schema, &s.players));
    must(merle_builder_create(&s.builder));
    return s;
}

static void store_close(store *s) {
    merle_builder_destroy(s->builder);
    must(merle_close(s->db));
}

static merle_bytes key_of(uint64_t id, char out[24]) {
    return merle_bytes_of(out, (size_t)snprintf(out, 24, "player%llu", (unsigned long long)id));
}

/* The same document for the same number always. */
static void put(store *s, uint64_t id) {
    char text[48], key[24], bio[BIO_SIZE];
    merle_bytes bytes;
    mrl_random r;
    memset(bio, 'b', sizeof bio);
    mrl_random_init(&r, test_seed() ^ id << 20);
    merle_build_begin(s->builder);
    merle_build_int(s->builder, "id", (int64_t)id);
    (void)snprintf(text, sizeof text, "player.%llu@example.org", (unsigned long long)id);
    merle_build_str(s->builder, "email", text);
    (void)snprintf(text, sizeof text, "player%llu", (unsigned long long)id);
    merle_build_str(s->builder, "name", text);
    merle_build_bytes(s->builder, "bio", merle_bytes_of(bio, sizeof bio));
    (void)snprintf(text, sizeof text, "guild %u", (unsigned)mrl_random_below(&r, 500));
    merle_build_str(s->builder, "guild", text);
    merle_build_int(s->builder, "score", (int64_t)mrl_random_below(&r, 100000));
    merle_build_array(s->builder, "tags");
    for (uint64_t i = mrl_random_below(&r, 4); i > 0; i--)
        merle_build_int(s->builder, NULL, (int64_t)mrl_random_below(&r, 200));
    merle_build_close(s->builder);
    must(merle_build_end(s->builder, &bytes));
    must(merle_one_put(s->players, key_of(id, key), bytes, NULL));
    if (id % 64 == 0) (void)merle_step(s->db, 0, 0);
}

/* Where the bytes are. */
static void say_tables(const store *s) {
    merle_stats_collection all = {0};
    must(merle_collection_stats(s->players, &all));
    test_say("  collection: %llu bytes, %llu slots", (unsigned long long)all.bytes,
             (unsigned long long)all.slots);
    for (const merle_index *at = s->indexes; at->name != NULL; at++) {
        merle_stats_index one = {0};
        must(merle_index_stats(s->players, at->name, &one));
        test_say("  %s: %llu entries, %llu bytes", at->name, (unsigned long long)one.entries,
                 (unsigned long long)one.bytes);
    }
}

/* All that is left to do is done. */
static void settle(store *s) {
    int quiet = 0;
    for (int i = 0; i < 100000 && quiet < 100; i++)
        quiet = merle_step(s->db, 0, 10000000) == MERLE_OK ? quiet + 1 : 0;
    assert_int_equal(quiet, 100);
}

static uint64_t counted_bytes(const char *what, store *s) {
    merle_stats_db stats = {0};
    settle(s);
    must(merle_stats(s->db, &stats));
    test_say(
        "%s: %llu documents, %llu bytes counted (documents %llu, tables %llu, retired %llu, "
        "other %llu), %lld resident",
        what, (unsigned long long)stats.documents, (unsigned long long)stats.bytes_total,
        (unsigned long long)stats.bytes_documents, (unsigned long long)stats.bytes_tables,
        (unsigned long long)stats.bytes_retired, (unsigned long long)stats.bytes_other,
        (long long)(resident_bytes() - s->resident_before));
    say_tables(s);
    return stats.bytes_total;
}

/* So much of a fresh store's bytes, in hundredths, is what it may need. */
static void shrink(const merle_index *indexes, uint64_t hundredths_max) {
    uint64_t count = test_is_long() ? 1000000 : 100000, left = count, fresh_bytes, bytes;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    if (!test_is_long()) left = count = 30000;
#endif
    char key[24];
    mrl_random r;
    merle_report report;
    uint8_t *is_there = malloc(count);
    assert_non_null(is_there);
    memset(is_there, 1, count);
    mrl_random_init(&r, test_seed());
    store s = store_open(indexes);
    for (uint64_t id = 0; id < count; id++) put(&s, id);
    (void)counted_bytes("full", &s);
    while (left > count / 10) {
        uint64_t id = mrl_random_below(&r, count);
        if (!is_there[id]) continue;
        must(merle_one_remove(s.players, key_of(id, key), NULL));
        is_there[id] = 0;
        if (--left % 64 == 0) (void)merle_step(s.db, 0, 0);
    }
    bytes = counted_bytes("after removals", &s);
    must(merle_check(s.db, &report));
    store fresh = store_open(indexes);
    for (uint64_t id = 0; id < count; id++)
        if (is_there[id]) put(&fresh, id);
    fresh_bytes = counted_bytes("fresh", &fresh);
    test_say("%.3f times a fresh one", (double)bytes / (double)fresh_bytes);
    assert_in_range(bytes, 1, fresh_bytes / 100 * hundredths_max);
    store_close(&fresh);
    store_close(&s);
    free(is_there);
}

static void removals_give_memory_back(void **state) {
    (void)state;
    shrink(few_indexes, 150);
}

static void removals_give_memory_of_many_indexes_back(void **state) {
    (void)state;
    shrink(many_indexes, 150);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(removals_give_memory_back),
        cmocka_unit_test(removals_give_memory_of_many_indexes_back),
    };
    test_seed_print();
    return cmocka_run_group_tests_name("model/shrink", tests, NULL, NULL);
}
