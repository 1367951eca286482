/* tests/unit/store/reclaim_test.c - old versions: kept as long as somebody sees them, not longer.
 *
 * Aim     A version is freed when the last section that sees it has ended, and not before; removed
 *         documents leave no key, no hint, no slot behind; an emptied store is nearly as small as a
 *         new one; at retired_max and memory_max writes are refused with a reason while reads and
 *         removals go on, as many in one commit as merle.h promises, and so do truncate and drop;
 *         everything goes on when there is room again.
 * Method  No background thread: nothing is reclaimed but by the commits and steps of the test, with
 *         a clock that the test moves. What happened is read from the statistics.
 * Blind   What a removal takes is known only as less than 512 bytes, for short keys and one index.
 *         Reclaiming beside writers in other threads: the simulator's and the stress tests' part.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "writing.h"

#include <pthread.h>
#include <unistd.h>

static uint64_t clock_ns = 1000000000;

static uint64_t read_monotonic(void *context) {
    (void)context;
    return clock_ns;
}
static int64_t read_wall(void *context) {
    (void)context;
    return (int64_t)clock_ns;
}
static const mrl_clock test_clock = {NULL, read_monotonic, read_wall};

static void open_with(stand *s, merle_options options) {
    static const mrl_environment environment = {.clock = &test_clock};
    if (options.ring_size == 0) options.ring_size = 64 << 10;
    writing_open(s, &players_schema, options, &environment);
}

/* A document of about a kibibyte with a value of its own. */
static merle_err put_large(const stand *s, uint64_t number, uint64_t value) {
    char json[1200];
    merle_key key;
    (void)snprintf(json, sizeof json, "{\"email\":%llu,\"filler\":\"%01000d\"}",
                   (unsigned long long)value, 0);
    merle_buffer doc = doc_of(json);
    merle_err err = merle_one_put(s->players, merle_key_u64(&key, number), bytes_of(&doc), NULL);
    merle_buffer_free(&doc);
    return err;
}

static merle_err remove_number(const stand *s, uint64_t number) {
    merle_key key;
    return merle_one_remove(s->players, merle_key_u64(&key, number), NULL);
}

/* ---- exactly as long as they are seen ---- */

static void versions_are_freed_when_the_section_ends(void **state) {
    (void)state;
    enum { MANY = 10 };
    stand s;
    merle_section section;
    open_with(&s, (merle_options){0});
    (void)put_json(&s, "a", "{\"email\":0}");
    stand_settle(&s);
    merle_stats_db before = stats_of(&s);
    assert_int_equal(before.versions_waiting, 0);
    assert_int_equal(before.bytes_retired, 0);
    must(&s, merle_section_begin(s.db, &section));
    for (int i = 1; i <= MANY; i++) {
        char json[32];
        (void)snprintf(json, sizeof json, "{\"email\":%d}", i);
        (void)put_json(&s, "a", json);
    }
    stand_settle(&s);
    merle_stats_db during = stats_of(&s);
    assert_int_equal(during.versions_retired - before.versions_retired, MANY);
    assert_int_equal(during.versions_freed, before.versions_freed);
    assert_int_equal(during.versions_waiting, MANY);
    assert_true(during.bytes_retired > 0);
    assert_int_equal(merle_step(s.db, 0, 0), MERLE_BUSY);
    assert_int_equal(hints_of(&s, "email"), MANY + 1);
    assert_sees(&section, s.players, "a", "{\"email\":0}");
    must(&s, merle_check(s.db, &s.report));
    must(&s, merle_section_end(&section));
    stand_settle(&s);
    merle_stats_db after = stats_of(&s);
    assert_int_equal(after.versions_freed - before.versions_freed, MANY);
    assert_int_equal(after.versions_waiting, 0);
    assert_int_equal(after.bytes_retired, 0);
    assert_int_equal(after.bytes_documents, before.bytes_documents);
    assert_int_equal(merle_step(s.db, 0, 0), MERLE_OK);
    assert_int_equal(hints_of(&s, "email"), 1);
    writing_close(&s);
}

static void the_oldest_section_holds_and_the_newer_do_not(void **state) {
    (void)state;
    stand s;
    merle_section first, second;
    open_with(&s, (merle_options){0});
    (void)put_json(&s, "a", "{\"n\":1}");
    must(&s, merle_section_begin(s.db, &first));
    (void)put_json(&s, "a", "{\"n\":2}");
    must(&s, merle_section_begin(s.db, &second));
    (void)put_json(&s, "a", "{\"n\":3}");
    must(&s, merle_section_end(&second));
    stand_settle(&s);
    assert_int_equal(stats_of(&s).versions_waiting, 2);
    assert_sees(&first, s.players, "a", "{\"n\":1}");
    must(&s, merle_section_end(&first));
    stand_settle(&s);
    assert_int_equal(stats_of(&s).versions_waiting, 0);
    writing_close(&s);
}

static void section_of_an_idle_thread_does_not_hold_what_is_later(void **state) {
    (void)state;
    stand s;
    merle_section section;
    open_with(&s, (merle_options){0});
    /* Thousands of short sections and commits, each after the other: nothing piles up. */
    for (int i = 0; i < 5000; i++) {
        char json[32];
        (void)snprintf(json, sizeof json, "{\"email\":%d}", i);
        (void)put_json(&s, "a", json);
        must(&s, merle_section_begin(s.db, &section));
        assert_sees(&section, s.players, "a", json);
        must(&s, merle_section_end(&section));
    }
    /* Without one step: the commits themselves reclaim. */
    assert_in_range(stats_of(&s).versions_waiting, 0, 200);
    assert_in_range(hints_of(&s, "email"), 1, 200);
    writing_close(&s);
}

/* ---- tombstones, slots, keys ---- */

static void removed_document_leaves_key_and_slot_to_the_next(void **state) {
    (void)state;
    enum { MANY = 500, ROUNDS = 5 };
    stand s;
    open_with(&s, (merle_options){0});
    for (int round = 0; round < ROUNDS; round++) {
        for (uint64_t i = 0; i < MANY; i++) must(&s, put_large(&s, i, i));
        merle_stats_collection full = players_stats(&s);
        assert_int_equal(full.documents, MANY);
        assert_int_equal(full.slots, MANY); /* the same ones in each round */
        assert_int_equal(full.key_entries, MANY);
        for (uint64_t i = 0; i < MANY; i++) must(&s, remove_number(&s, i));
        assert_int_equal(count_now(&s), 0);
        stand_settle(&s);
        merle_stats_collection empty = players_stats(&s);
        assert_int_equal(empty.documents, 0);
        assert_int_equal(empty.key_entries, 0);
        assert_int_equal(hints_of(&s, "email"), 0);
        assert_int_equal(stats_of(&s).bytes_documents, 0);
        must(&s, merle_check(s.db, &s.report));
    }
    writing_close(&s);
}

static void removed_and_put_again_under_an_old_section_is_one_slot(void **state) {
    (void)state;
    stand s;
    merle_section section;
    open_with(&s, (merle_options){0});
    (void)put_json(&s, "a", "{\"email\":\"x\"}");
    must(&s, merle_section_begin(s.db, &section));
    for (int i = 0; i < 50; i++) {
        (void)remove_key(&s, "a");
        (void)merle_step(s.db, 0, 0);
        assert_there(&s, "a", NULL);
        (void)put_json(&s, "a", i % 2 ? "{\"email\":\"y\"}" : "{\"email\":\"x\"}");
        (void)merle_step(s.db, 0, 0);
    }
    assert_int_equal(players_stats(&s).slots, 1);
    assert_sees(&section, s.players, "a", "{\"email\":\"x\"}");
    must(&s, merle_check(s.db, &s.report));
    must(&s, merle_section_end(&section));
    stand_settle(&s);
    assert_int_equal(stats_of(&s).versions_waiting, 0);
    assert_int_equal(hints_of(&s, "email"), 1);
    assert_int_equal(players_stats(&s).key_entries, 1);
    writing_close(&s);
}

static void tombstone_is_kept_for_who_may_have_found_it(void **state) {
    (void)state;
    stand s;
    merle_section old, later;
    open_with(&s, (merle_options){0});
    (void)put_json(&s, "a", "{}");
    must(&s, merle_section_begin(s.db, &old));
    (void)remove_key(&s, "a");
    must(&s, merle_section_begin(s.db, &later));
    must(&s, merle_section_end(&old));
    stand_settle(&s);
    assert_sees(&later, s.players, "a", NULL);
    assert_int_equal(count_of(&later, s.players), 0);
    must(&s, merle_section_end(&later));
    stand_settle(&s);
    assert_int_equal(players_stats(&s).key_entries, 0);
    assert_int_equal(stats_of(&s).bytes_documents, 0);
    writing_close(&s);
}

static void memory_comes_back_when_everything_is_removed(void **state) {
    (void)state;
    enum { MANY = 20000 };
    stand s;
    open_with(&s, (merle_options){0});
    for (uint64_t i = 0; i < 200; i++) must(&s, put_large(&s, i, i));
    for (uint64_t i = 0; i < 200; i++) must(&s, remove_number(&s, i));
    stand_settle(&s);
    merle_stats_db empty = stats_of(&s);
    for (uint64_t i = 0; i < MANY; i++) must(&s, put_large(&s, i, i));
    merle_stats_db full = stats_of(&s);
    for (uint64_t i = 0; i < MANY; i++) must(&s, remove_number(&s, i));
    for (int i = 0; i < 100; i++) stand_settle(&s);
    merle_stats_db after = stats_of(&s);
    printf(
        "# %d documents: %llu bytes in use; removed: %llu more than before them "
        "(tables %llu, log %lld, other %lld)\n",
        MANY, (unsigned long long)full.bytes_total,
        (unsigned long long)(after.bytes_total - empty.bytes_total),
        (unsigned long long)(after.bytes_tables - empty.bytes_tables),
        (long long)(after.bytes_log - empty.bytes_log),
        (long long)(after.bytes_other - empty.bytes_other));
    assert_int_equal(after.bytes_documents, 0);
    assert_int_equal(after.versions_waiting, 0);
    assert_int_equal(hints_of(&s, "email"), 0);
    /* Slots are kept for good (ten bytes each with their stacks), tables shrink: 32 bytes a
       document. */
    assert_true(after.bytes_total - empty.bytes_total < MANY * 32);
    writing_close(&s);
}

/* ---- limits ---- */

static void retired_max_refuses_writes_and_names_the_section(void **state) {
    (void)state;
    stand s;
    merle_section section;
    char thread[32];
    open_with(&s, (merle_options){.retired_max = 256 << 10});
    for (uint64_t i = 0; i < 100; i++) must(&s, put_large(&s, i, i));
    stand_settle(&s);
    must(&s, merle_section_begin(s.db, &section));
    uint64_t seq = merle_section_seq(&section), value = 1000;
    (void)merle_step(s.db, 0, 0); /* looks at the sections */
    clock_ns += 5000000000;
    merle_err err = MERLE_OK;
    for (int i = 0; i < 2000 && err == MERLE_OK; i++) err = put_large(&s, 0, value++);
    assert_int_equal(err, MERLE_NO_MEMORY);
    /* Versions, and log entries that have left the ring. */
    assert_in_range(stats_of(&s).bytes_retired, 250 << 10, 320 << 10);
    assert_non_null(strstr(s.report.message, "retired_max"));
    (void)snprintf(thread, sizeof thread, "thread %ld", (long)gettid());
    assert_non_null(strstr(s.report.message, thread));
    assert_non_null(strstr(s.report.message, "5.000 s"));
    (void)snprintf(thread, sizeof thread, "seq %llu", (unsigned long long)seq);
    assert_non_null(strstr(s.report.message, thread));
    /* Patches are refused, removals go on, reads too. */
    merle_key key;
    assert_int_equal(
        merle_one_patch(s.players, merle_key_u64(&key, 1), NULL, NULL, MERLE_INC("n", 1)),
        MERLE_NO_MEMORY);
    for (uint64_t i = 50; i < 100; i++) must(&s, remove_number(&s, i));
    assert_int_equal(count_now(&s), 50);
    assert_int_equal(count_of(&section, s.players), 100);
    must(&s, merle_check(s.db, &s.report));
    must(&s, merle_section_end(&section));
    /* Writes afterwards reclaim by themselves, a piece each, until there is room. */
    int refused = 0;
    while (put_large(&s, 0, value++) != MERLE_OK && refused < 100) refused++;
    assert_in_range(refused, 0, 10);
    stand_settle(&s);
    assert_int_equal(stats_of(&s).bytes_retired, 0);
    for (uint64_t i = 50; i < 100; i++) must(&s, put_large(&s, i, i));
    writing_close(&s);
}

static void memory_max_refuses_writes_and_removals_make_room(void **state) {
    (void)state;
    enum { LIMIT = 8 << 20 };
    stand s;
    merle_doc doc;
    merle_key key;
    open_with(&s, (merle_options){.memory_max = LIMIT});
    uint64_t counts[3];
    for (int round = 0; round < 3; round++) {
        uint64_t count = 0;
        merle_err err;
        while ((err = put_large(&s, count, count)) == MERLE_OK && count < LIMIT / 1000) count++;
        assert_int_equal(err, MERLE_NO_MEMORY);
        assert_int_not_equal(s.report.message[0], 0);
        counts[round] = count;
        assert_int_equal(count_now(&s), count);
        assert_true(stats_of(&s).bytes_total <= LIMIT + LIMIT / 32 + (1 << 20));
        must(&s, merle_check(s.db, &s.report));
        /* Reads go on, and so does a section's beginning. */
        merle_section section;
        must(&s, merle_section_begin(s.db, &section));
        for (uint64_t i = 0; i < count; i++)
            must(&s, merle_get(&section, s.players, merle_key_u64(&key, i), &doc));
        must(&s, merle_section_end(&section));
        /* Nothing is left of what was refused. */
        assert_int_equal(
            merle_one_get(s.players, merle_key_u64(&key, count), &(merle_buffer){0}, NULL),
            MERLE_NOT_FOUND);
        for (uint64_t i = 0; i < count; i++) must(&s, remove_number(&s, i));
        assert_int_equal(count_now(&s), 0);
        stand_settle(&s);
        assert_int_equal(stats_of(&s).bytes_documents, 0);
    }
    printf("# documents of a kibibyte in 8 MiB: %llu, %llu, %llu\n", (unsigned long long)counts[0],
           (unsigned long long)counts[1], (unsigned long long)counts[2]);
    assert_true(counts[0] > LIMIT / 2000);
    assert_true(counts[2] * 10 >= counts[0] * 9);
    writing_close(&s);
}

/* ---- at memory_max ---- */

/* REMOVAL_SIZE: what a removal takes with keys of 8 bytes and one index, rounded up a good deal. */
enum { SMALL_FIRST = 1 << 30, RESERVE_MIN = 1 << 20, REMOVAL_SIZE = 640 };

/* Puts the smallest documents, under keys from SMALL_FIRST on, until there is no memory for another
 * one; gives how many there are. */
static uint64_t fill_with_small(const stand *s) {
    uint64_t small = 0;
    merle_key key;
    merle_err err;
    do {
        merle_bytes doc = merle_bytes_of("\x80", 1);
        err = merle_one_put(s->players, merle_key_u64(&key, SMALL_FIRST + small), doc, NULL);
    } while (err == MERLE_OK && ++small > 0);
    assert_int_equal(err, MERLE_NO_MEMORY);
    assert_int_equal(s->report.err, MERLE_NO_MEMORY);
    assert_int_not_equal(s->report.message[0], 0);
    return small;
}

/* First documents of a kibibyte under keys from 0 on, whose number it gives, then small ones. */
static uint64_t fill_memory(const stand *s) {
    uint64_t large = 0;
    merle_err err;
    while ((err = put_large(s, large, large)) == MERLE_OK) large++;
    assert_int_equal(err, MERLE_NO_MEMORY);
    uint64_t small = fill_with_small(s);
    assert_int_equal(count_now(s), large + small);
    return large;
}

/* Removes `count` keys in one commit. Refused, with a reason, or done; nothing between. */
static merle_err remove_part(const stand *s, uint64_t first, uint64_t count) {
    merle_key key;
    merle_err err = MERLE_OK;
    uint64_t before = count_now(s);
    merle_commit *commit = begin(s);
    for (uint64_t i = 0; i < count && err == MERLE_OK; i++)
        err = merle_remove(commit, s->players, merle_key_u64(&key, first + i));
    if (err == MERLE_OK)
        err = merle_end(commit, NULL);
    else
        merle_cancel(commit);
    assert_int_equal(count_now(s), err == MERLE_OK ? before - count : before);
    if (err == MERLE_OK) return err;
    assert_int_equal(err, MERLE_NO_MEMORY);
    assert_int_equal(s->report.err, MERLE_NO_MEMORY);
    assert_int_not_equal(s->report.message[0], 0);
    return err;
}

/* The same, and looks at the whole store, which is slow where there is much. */
static merle_err remove_many(const stand *s, uint64_t first, uint64_t count) {
    merle_err err = remove_part(s, first, count);
    must(s, merle_check(s->db, NULL));
    return err;
}

static void assert_empties(const stand *s) {
    stand_settle(s);
    assert_int_equal(merle_step(s->db, 0, 0), MERLE_OK);
    assert_int_equal(stats_of(s).bytes_documents, 0);
    assert_int_equal(stats_of(s).bytes_retired, 0);
}

static void memory_max_lets_commits_of_removals_through(void **state) {
    (void)state;
    stand s;
    open_with(&s, (merle_options){.memory_max = 4 << 20});
    uint64_t count = fill_memory(&s), all = count_now(&s);
    /* The reserve is bounded, so are these. */
    for (uint64_t first = 0; first < count; first += 200)
        must(&s, remove_many(&s, first, first + 200 < count ? 200 : count - first));
    assert_int_equal(count_now(&s), all - count);
    stand_settle(&s);
    must(&s, put_large(&s, 0, 0));
    writing_close(&s);
}

static void memory_max_lets_truncate_through(void **state) {
    (void)state;
    enum { LIMIT = 4 << 20 };
    stand s;
    uint64_t first = 0;
    open_with(&s, (merle_options){.memory_max = LIMIT});
    for (int round = 0; round < 3; round++) {
        merle_section old;
        uint64_t seq = 0, large = fill_memory(&s), all = count_now(&s);
        must(&s, merle_section_begin(s.db, &old));
        must(&s, merle_collection_truncate(s.players, &seq));
        assert_int_equal(seq, merle_section_seq(&old) + 1);
        assert_int_equal(count_now(&s), 0);
        /* Nothing has come back yet: what was there is seen, and there is hardly room for more; a
         * table that found none may have left some kilobytes. */
        uint64_t few = 0;
        assert_int_equal(count_of(&old, s.players), all);
        while (put_large(&s, few, few) == MERLE_OK) few++;
        assert_in_range(few, 0, 16);
        must(&s, merle_check(s.db, &s.report));
        must(&s, merle_section_end(&old));
        must(&s, merle_collection_truncate(s.players, NULL));
        assert_empties(&s);
        if (round == 0) first = large;
        assert_true(large * 10 >= first * 9);
    }
    assert_true(first > LIMIT / 2000);
    assert_true(fill_memory(&s) * 10 >= first * 9);
    writing_close(&s);
}

static void memory_max_lets_drop_through(void **state) {
    (void)state;
    stand s;
    merle_section old;
    merle_collection *other;
    uint64_t seq = 0;
    open_with(&s, (merle_options){.memory_max = 4 << 20});
    must(&s, merle_collection_open(s.db, "other", NULL, &other));
    (void)fill_memory(&s);
    uint64_t all = count_now(&s);
    must(&s, merle_section_begin(s.db, &old));
    must(&s, merle_collection_drop(s.players, &seq));
    assert_int_equal(seq, merle_section_seq(&old) + 1);
    assert_int_equal(count_of(&old, s.players), all);
    assert_int_equal(put_large(&s, 0, 0), MERLE_GONE);
    must(&s, merle_check(s.db, &s.report));
    must(&s, merle_section_end(&old));
    assert_empties(&s);
    /* The others have the room now, and so has a new one of that name. */
    s.players = other;
    for (uint64_t i = 0; i < all / 2; i++) must(&s, put_large(&s, i, i));
    must(&s, merle_collection_drop(other, NULL));
    assert_empties(&s);
    must(&s, merle_collection_open(s.db, "players", &players_schema, &s.players));
    assert_in_range(fill_memory(&s), all / 2, UINT64_MAX);
    writing_close(&s);
}

/* Removals under an old section take the reserve until that is used up, too: then everything that
 * writes is refused until the section has ended, and nothing is half done. */
static void truncate_and_drop_without_the_reserve_say_no(void **state) {
    (void)state;
    typedef merle_err define_fn(merle_collection * collection, uint64_t * out_seq);
    static define_fn *const defines[] = {merle_collection_truncate, merle_collection_drop};
    stand s;
    merle_section old;
    open_with(&s, (merle_options){.memory_max = 4 << 20, .retired_max = UINT64_MAX / 2});
    uint64_t small = fill_with_small(&s), removed = 0;
    must(&s, merle_section_begin(s.db, &old));
    while (removed < small && remove_number(&s, SMALL_FIRST + removed) == MERLE_OK) removed++;
    assert_in_range(removed, RESERVE_MIN / REMOVAL_SIZE, small - 1);
    for (int i = 0; i < 2; i++) {
        uint64_t seq = 7;
        memset(&s.report, 0, sizeof s.report);
        assert_int_equal(defines[i](s.players, &seq), MERLE_NO_MEMORY);
        assert_int_equal(seq, 0);
        assert_told(&s, MERLE_NO_MEMORY, UINT32_MAX, "", "");
        assert_int_equal(count_now(&s), small - removed);
        assert_int_equal(count_of(&old, s.players), small);
        must(&s, merle_check(s.db, &s.report));
    }
    must(&s, merle_section_end(&old));
    stand_settle(&s);
    must(&s, merle_collection_truncate(s.players, NULL));
    assert_empties(&s);
    must(&s, put_large(&s, 0, 0));
    writing_close(&s);
}

static void memory_max_lets_very_many_removals_through_in_parts(void **state) {
    (void)state;
    enum { LIMIT = 8 << 20, PART = RESERVE_MIN / REMOVAL_SIZE };
    stand s;
    open_with(&s, (merle_options){.memory_max = LIMIT});
    uint64_t small = fill_with_small(&s);
    assert_in_range(small, 4 * PART, UINT64_MAX);
    /* Far more than the reserve is for: all or nothing. */
    assert_int_equal(remove_many(&s, SMALL_FIRST, small), MERLE_NO_MEMORY);
    assert_true(stats_of(&s).bytes_total <= LIMIT + RESERVE_MIN);
    for (uint64_t first = 0; first < small; first += PART) {
        must(&s, remove_part(&s, SMALL_FIRST + first, first + PART < small ? PART : small - first));
        if (first % (16 * PART) == 0) must(&s, merle_check(s.db, NULL));
        assert_true(stats_of(&s).bytes_total <= LIMIT + RESERVE_MIN);
        /* What these have removed makes room, and in the end a removal leaves nothing. */
        stand_settle(&s);
    }
    assert_int_equal(count_now(&s), 0);
    assert_empties(&s);
    /* Slots and their stacks stay: a seventh of what so small a document takes. */
    assert_true(fill_with_small(&s) * 100 >= small * 85);
    writing_close(&s);
}

/* Nobody steps: what waits is reclaimed by those who are refused for want of room. */
static void removals_refused_at_memory_max_go_through_when_tried_again(void **state) {
    (void)state;
    enum { PART = 1000, TRIES = 1000 };
    stand s;
    open_with(&s, (merle_options){.memory_max = 8 << 20});
    uint64_t small = fill_with_small(&s);
    for (uint64_t first = 0; first + PART <= small; first += PART) {
        int tries = 0;
        while (remove_part(&s, SMALL_FIRST + first, PART) != MERLE_OK)
            assert_in_range(++tries, 1, TRIES);
        if (tries > 0 || first % (16 * PART) == 0) must(&s, merle_check(s.db, NULL));
    }
    writing_close(&s);
}

static void reserve_for_removals_grows_with_memory_max(void **state) {
    (void)state;
    enum { LIMIT = 64 << 20, PART = LIMIT / 32 / REMOVAL_SIZE };
    stand s;
    open_with(&s, (merle_options){.memory_max = LIMIT});
    assert_in_range(fill_memory(&s), PART, UINT64_MAX);
    must(&s, remove_many(&s, 0, PART));
    assert_true(stats_of(&s).bytes_total <= LIMIT + LIMIT / 32);
    stand_settle(&s);
    must(&s, put_large(&s, 0, 0));
    writing_close(&s);
}

/* ---- threads that are gone ---- */

static void *write_and_leave(void *context) {
    const stand *s = context;
    for (uint64_t i = 0; i < 200; i++)
        if (put_large(s, i % 10, 100 + i) != MERLE_OK) return context;
    return NULL;
}

static void what_a_thread_retired_is_reclaimed_after_its_end(void **state) {
    (void)state;
    stand s;
    pthread_t thread;
    void *failed;
    merle_section section;
    open_with(&s, (merle_options){0});
    must(&s, merle_section_begin(s.db, &section));
    assert_int_equal(pthread_create(&thread, NULL, write_and_leave, &s), 0);
    pthread_join(thread, &failed);
    assert_null(failed);
    assert_int_equal(stats_of(&s).versions_waiting, 190);
    must(&s, merle_section_end(&section));
    stand_settle(&s);
    assert_int_equal(stats_of(&s).versions_waiting, 0);
    assert_int_equal(stats_of(&s).bytes_retired, 0);
    assert_int_equal(hints_of(&s, "email"), 10);
    writing_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_freed_when_the_section_ends),
        cmocka_unit_test(the_oldest_section_holds_and_the_newer_do_not),
        cmocka_unit_test(section_of_an_idle_thread_does_not_hold_what_is_later),
        cmocka_unit_test(removed_document_leaves_key_and_slot_to_the_next),
        cmocka_unit_test(removed_and_put_again_under_an_old_section_is_one_slot),
        cmocka_unit_test(tombstone_is_kept_for_who_may_have_found_it),
        cmocka_unit_test(memory_comes_back_when_everything_is_removed),
        cmocka_unit_test(retired_max_refuses_writes_and_names_the_section),
        cmocka_unit_test(memory_max_refuses_writes_and_removals_make_room),
        cmocka_unit_test(memory_max_lets_commits_of_removals_through),
        cmocka_unit_test(memory_max_lets_truncate_through),
        cmocka_unit_test(memory_max_lets_drop_through),
        cmocka_unit_test(truncate_and_drop_without_the_reserve_say_no),
        cmocka_unit_test(memory_max_lets_very_many_removals_through_in_parts),
        cmocka_unit_test(removals_refused_at_memory_max_go_through_when_tried_again),
        cmocka_unit_test(reserve_for_removals_grows_with_memory_max),
        cmocka_unit_test(what_a_thread_retired_is_reclaimed_after_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
