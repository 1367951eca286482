/* tests/unit/events/watch_files_test.c - watches of a database that has files.
 *
 * Aim     A watch that fell behind the ring goes on in files, or is told the gap and makes it good
 *         from them; one that wants what is durable hears of nothing else; a position serves across
 *         a restart.
 * Method  A directory in a temporary place, a ring of the smallest size.
 * Blind   Disks that fail.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <merle/events.h>

#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/store/stand.h"

enum { ROOM = 64, MANY = 2000 };

static char place[] = "/tmp/merle_watch_XXXXXX";

static stand open_place(merle_durability durability) {
    merle_options options = {
        .threads = MERLE_THREADS_NONE, .ring_size = 64 << 10, .durability = durability};
    stand s;
    memset(&s, 0, sizeof s);
    options.report = &s.report;
    must(&s, merle_open(place, &options, &s.db));
    must(&s, merle_collection_open(s.db, "players", &players_schema, &s.players));
    return s;
}

static merle_watch *watch_open(const stand *s, merle_watch_options options) {
    merle_watch *watch;
    must(s, merle_watch_open(s->db, &options, &watch));
    return watch;
}

static size_t next(const stand *s, merle_watch *watch, merle_event *out, size_t max) {
    size_t count = 0;
    must(s, merle_watch_next(watch, out, max, &count));
    return count;
}

static uint64_t patch_many(const stand *s) {
    uint64_t seq = put_json(s, "a", "{\"n\":0}");
    for (int i = 1; i < MANY; i++)
        must(s, merle_one_patch(s->players, merle_str("a"), NULL, &seq, MERLE_INC("n", 1)));
    return seq;
}

static void plain_watch_behind_the_ring_goes_on_in_files(void **state) {
    (void)state;
    stand s = open_place(MERLE_MEMORY);
    merle_event got[ROOM];
    size_t count;
    merle_watch *watch = watch_open(&s, (merle_watch_options){.size = 0});
    uint64_t expected = merle_watch_position(watch) + 1;
    uint64_t last = patch_many(&s);
    while ((count = next(&s, watch, got, 7)) > 0) {
        for (size_t i = 0; i < count; i++) assert_int_equal(got[i].seq, expected++);
        if (expected % 3 == 0) merle_watch_rest(watch);
    }
    assert_int_equal(expected, last + 1);
    merle_watch_close(watch);
    stand_close(&s);
}

static void gap_of_a_watch_with_documents_is_made_good(void **state) {
    (void)state;
    stand s = open_place(MERLE_MEMORY);
    merle_event got[ROOM];
    size_t count;
    uint64_t first, last, known = 0;
    merle_watch *watch = watch_open(&s, (merle_watch_options){.documents = 1, .behind_max = 1900});
    uint64_t expected = merle_watch_position(watch) + 1;
    uint64_t newest = patch_many(&s);
    assert_int_equal(merle_watch_next(watch, got, ROOM, &count), MERLE_GAP);
    merle_watch_gap(watch, &first, &last);
    assert_true(first == expected && last == newest - 1900);
    must(&s, merle_watch_mend(watch));
    assert_int_equal(merle_watch_mend(watch), MERLE_NOT_FOUND);
    for (;;) {
        merle_err err = merle_watch_next(watch, got, ROOM, &count);
        /* What lies behind that gap has left the ring as well. */
        if (err == MERLE_GAP)
            err = merle_watch_mend(watch);
        else if (err == MERLE_OK && count == 0)
            break;
        must(&s, err);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(got[i].seq, expected++);
            known += !got[i].is_unknown;
            assert_true(got[i].is_unknown ? got[i].effect.size > 0 || got[i].after.data != NULL
                                          : got[i].after.data != NULL);
        }
    }
    assert_int_equal(expected, newest + 1);
    assert_in_range(known, 10, 1500);
    merle_watch_stats stats = {.size = 0};
    must(&s, merle_watch_stat(watch, &stats));
    assert_true(stats.gaps > 0 && stats.missed == 0);
    merle_watch_close(watch);
    stand_close(&s);
}

static void latest_counts_no_gap_as_passed_before_it_is_told(void **state) {
    (void)state;
    stand s = open_place(MERLE_MEMORY);
    const merle_schema schema = {.version = 1, .memory_only = 1};
    merle_event got[ROOM];
    size_t count;
    uint64_t first, last;
    merle_collection *transient;
    merle_buffer doc = doc_of("{\"n\":1}");
    must(&s, merle_collection_open(s.db, "transient", &schema, &transient));
    merle_watch *watch = watch_open(&s, (merle_watch_options){.latest = 1});
    uint64_t base = merle_watch_position(watch);
    (void)put_json(&s, "c", "{\"n\":1}");
    must(&s, merle_one_put(transient, merle_str("t"), bytes_of(&doc), NULL));
    (void)patch_many(&s);
    assert_int_equal(next(&s, watch, got, ROOM), 1);
    assert_memory_equal(got[0].key.data, "c", 1);
    assert_int_equal(merle_watch_position(watch), base);
    assert_int_equal(merle_watch_next(watch, got, ROOM, &count), MERLE_GAP);
    merle_watch_gap(watch, &first, &last);
    assert_int_equal(first, base + 2);
    assert_int_equal(merle_watch_position(watch), last);
    merle_buffer_free(&doc);
    merle_watch_close(watch);
    stand_close(&s);
}

static void watch_of_what_is_durable_hears_of_nothing_else(void **state) {
    (void)state;
    stand s = open_place(MERLE_ASYNC);
    merle_event got[ROOM];
    merle_watch *watch = watch_open(&s, (merle_watch_options){.durable = 1});
    must(&s, merle_wait_durable(s.db, UINT64_MAX));
    while (next(&s, watch, got, ROOM) > 0) continue;
    merle_stats_db stats = {.size = 0};
    uint64_t seq = put_json(&s, "a", "{\"n\":1}");
    must(&s, merle_stats(s.db, &stats));
    assert_int_equal(next(&s, watch, got, ROOM), 0);
    assert_int_equal(merle_watch_wait(watch, 0), MERLE_NOT_FOUND);
    must(&s, merle_wait_durable(s.db, seq));
    must(&s, merle_watch_wait(watch, 0));
    assert_int_equal(next(&s, watch, got, ROOM), 1);
    assert_int_equal(got[0].seq, seq);
    merle_watch_close(watch);
    stand_close(&s);
}

static void position_serves_across_a_restart(void **state) {
    (void)state;
    stand s = open_place(MERLE_ASYNC);
    merle_event got[ROOM];
    merle_watch *watch = watch_open(&s, (merle_watch_options){.size = 0});
    uint64_t seq = put_json(&s, "b", "{\"n\":1}");
    assert_int_equal(next(&s, watch, got, ROOM), 1);
    assert_int_equal(got[0].kind, MERLE_EVENT_INSERT);
    uint64_t position = merle_watch_position(watch);
    merle_watch_close(watch);
    (void)put_json(&s, "b", "{\"n\":2}");
    (void)remove_key(&s, "b");
    stand_close(&s);
    s = open_place(MERLE_ASYNC);
    watch = watch_open(&s, (merle_watch_options){.from_seq = position + 1});
    assert_int_equal(next(&s, watch, got, ROOM), 2);
    assert_true(got[0].kind == MERLE_EVENT_UPDATE && got[0].seq == seq + 1);
    assert_int_equal(got[1].kind, MERLE_EVENT_REMOVE);
    merle_watch_close(watch);
    stand_close(&s);
}

static int make_place(void **state) {
    (void)state;
    return mkdtemp(place) == NULL;
}

static int remove_place(void **state) {
    char command[64];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", place);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_watch_behind_the_ring_goes_on_in_files),
        cmocka_unit_test(gap_of_a_watch_with_documents_is_made_good),
        cmocka_unit_test(latest_counts_no_gap_as_passed_before_it_is_told),
        cmocka_unit_test(watch_of_what_is_durable_hears_of_nothing_else),
        cmocka_unit_test(position_serves_across_a_restart),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
