/* tests/unit/events/watch_test.c - watches: what they give, what they miss, how they wait.
 *
 * Aim     Each change is told as what it was, in order and once, to those who want it and nobody
 *         else; documents only where they were asked for; a gap is told with its bounds; the
 *         descriptor says when there is something; nothing is held by a watch that was drained.
 * Method  Small hand-made histories with a clock that stands still; a ring of the smallest size.
 * Blind   Threads beside it: tests/stress/watch_test.c. Random histories:
 *         tests/unit/events/watch_model_test.c. Files: watch_files_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <merle/events.h>

#include <poll.h>
#include <pthread.h>

#include "base/buffer.h"
#include "base/self.h"
#include "tests/unit/store/clock.h"
#include "tests/unit/store/stand.h"

enum { ROOM = 64 };

static stand open_with_clock(uint64_t ring_size) {
    merle_options options = {.threads = MERLE_THREADS_NONE, .ring_size = ring_size};
    const mrl_environment environment = {.clock = &test_clock};
    stand s;
    memset(&s, 0, sizeof s);
    options.report = &s.report;
    must(&s, mrl_db_open(NULL, &options, &environment, &s.db));
    must(&s, merle_collection_open(s.db, "players", &players_schema, &s.players));
    return s;
}

static merle_watch *watch_open(const stand *s, merle_watch_options options) {
    merle_watch *watch;
    must(s, merle_watch_open(s->db, &options, &watch));
    assert_non_null(watch);
    return watch;
}

static merle_watch *watch_one(const stand *s, merle_watch_filter filter,
                              merle_watch_options options) {
    options.filters = &filter;
    options.filter_count = 1;
    return watch_open(s, options);
}

static size_t next(const stand *s, merle_watch *watch, merle_event *out, size_t max) {
    size_t count = 0;
    must(s, merle_watch_next(watch, out, max, &count));
    return count;
}

static void close_both(stand *s, merle_watch *watch) {
    merle_watch_close(watch);
    stand_close(s);
}

static uint64_t sections_open(const stand *s) {
    merle_stats_db stats = {.size = 0};
    must(s, merle_stats(s->db, &stats));
    return stats.sections_open;
}

static void is_event(const merle_event *event, merle_event_kind kind, const char *key,
                     const char *before, const char *after) {
    assert_int_equal(event->kind, kind);
    assert_int_equal(event->is_unknown, 0);
    assert_int_equal(event->key.size, strlen(key));
    assert_memory_equal(event->key.data, key, strlen(key));
    if (before == NULL)
        assert_null(event->before.data);
    else
        assert_is_doc(merle_bytes_of(event->before.data, event->before.size), before);
    if (after == NULL)
        assert_null(event->after.data);
    else
        assert_is_doc(merle_bytes_of(event->after.data, event->after.size), after);
}

static void patch_n(const stand *s, const char *key, int64_t delta) {
    must(s, merle_one_patch(s->players, merle_str(key), NULL, NULL, MERLE_INC("n", delta)));
}

/* ---- kinds ---- */

static void watch_tells_each_change_as_what_it_was(void **state) {
    (void)state;
    stand s = open_with_clock(0);
    merle_event got[ROOM];
    merle_watch *watch = watch_open(&s, (merle_watch_options){.documents = 1});
    uint64_t first = put_json(&s, "a", "{\"n\":1}");
    patch_n(&s, "a", 1);
    (void)put_json(&s, "a", "{\"n\":5}");
    (void)remove_key(&s, "a");
    must(&s, merle_collection_truncate(s.players, NULL));
    merle_collection *other;
    must(&s, merle_collection_open(s.db, "other", NULL, &other));
    must(&s, merle_collection_drop(other, NULL));
    assert_int_equal(next(&s, watch, got, ROOM), 7);
    is_event(&got[0], MERLE_EVENT_INSERT, "a", NULL, "{\"n\":1}");
    is_event(&got[1], MERLE_EVENT_UPDATE, "a", "{\"n\":1}", "{\"n\":2}");
    is_event(&got[2], MERLE_EVENT_UPDATE, "a", "{\"n\":2}", "{\"n\":5}");
    is_event(&got[3], MERLE_EVENT_REMOVE, "a", "{\"n\":5}", NULL);
    is_event(&got[4], MERLE_EVENT_TRUNCATED, "", NULL, NULL);
    is_event(&got[5], MERLE_EVENT_DEFINED, "", NULL, NULL);
    is_event(&got[6], MERLE_EVENT_DROPPED, "", NULL, NULL);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(got[i].seq, first + i);
        assert_int_equal(got[i].position, 0);
        assert_int_equal(got[i].count, 1);
        assert_ptr_equal(got[i].collection, i < 5 ? s.players : other);
        assert_int_equal(got[i].change->time_ns, 1000);
    }
    assert_int_equal(got[1].effect.size > 0, 1);
    assert_int_equal(next(&s, watch, got, ROOM), 0);
    assert_int_equal(merle_watch_position(watch), first + 6);
    close_both(&s, watch);
}

static void document_past_its_time_is_told_as_an_expiry(void **state) {
    (void)state;
    stand s = open_with_clock(0);
    merle_event got[ROOM];
    merle_buffer doc = doc_of("{\"n\":1}");
    merle_watch *watch = watch_open(&s, (merle_watch_options){.documents = 1});
    merle_watch *plain = watch_open(&s, (merle_watch_options){.size = 0});
    must(&s, merle_one_put_for(s.players, merle_str("a"), bytes_of(&doc), 100, NULL));
    must(&s, merle_one_put_for(s.players, merle_str("b"), bytes_of(&doc), 100, NULL));
    assert_int_equal(next(&s, watch, got, ROOM), 2);
    atomic_fetch_add(&clock_ns, 1000);
    /* Over one that is there still; the other goes by itself. */
    uint64_t seq = put_json(&s, "a", "{\"n\":2}");
    stand_settle(&s);
    assert_int_equal(next(&s, watch, got, ROOM), 3);
    is_event(&got[0], MERLE_EVENT_EXPIRE, "a", "{\"n\":1}", NULL);
    is_event(&got[1], MERLE_EVENT_INSERT, "a", NULL, "{\"n\":2}");
    is_event(&got[2], MERLE_EVENT_EXPIRE, "b", "{\"n\":1}", NULL);
    assert_true(got[0].seq == seq && got[1].seq == seq && got[2].seq == seq + 1);
    assert_true(got[0].position == 0 && got[1].position == 0 && got[0].count == 1);
    assert_int_equal(got[2].change->origin, MERLE_ORIGIN_EXPIRY);
    /* Without documents, one at a time: the same. */
    const merle_event_kind kinds[] = {MERLE_EVENT_INSERT, MERLE_EVENT_INSERT, MERLE_EVENT_EXPIRE,
                                      MERLE_EVENT_INSERT, MERLE_EVENT_EXPIRE};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(next(&s, plain, got, 1), 1);
        assert_int_equal(got[0].kind, kinds[i]);
        assert_null(got[0].before.data);
        /* Between the two halves of one change, too. */
        if (i == 2) merle_watch_rest(plain);
    }
    assert_int_equal(next(&s, plain, got, 1), 0);
    merle_buffer_free(&doc);
    merle_watch_close(plain);
    close_both(&s, watch);
}

static void bulk_load_is_told_when_it_has_ended(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    merle_bulk *bulk;
    merle_buffer doc = doc_of("{\"n\":1}");
    merle_watch *watch = watch_open(&s, (merle_watch_options){.documents = 1});
    must(&s, merle_bulk_begin(s.players, &bulk));
    must(&s, merle_bulk_put(bulk, merle_str("a"), bytes_of(&doc)));
    assert_int_equal(next(&s, watch, got, ROOM), 0);
    must(&s, merle_bulk_end(bulk, NULL));
    assert_int_equal(next(&s, watch, got, ROOM), 1);
    is_event(&got[0], MERLE_EVENT_LOADED, "", NULL, NULL);
    merle_buffer_free(&doc);
    close_both(&s, watch);
}

static void refused_write_is_told_to_nobody(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    merle_buffer doc = doc_of("{\"email\":\"x\"}");
    (void)put_json(&s, "a", "{\"email\":\"x\"}");
    merle_watch *watch = watch_open(&s, (merle_watch_options){.documents = 1});
    assert_int_equal(merle_one_put(s.players, merle_str("b"), bytes_of(&doc), NULL), MERLE_EXISTS);
    assert_int_equal(merle_one_remove(s.players, merle_str("z"), NULL), MERLE_NOT_FOUND);
    assert_int_equal(next(&s, watch, got, ROOM), 0);
    merle_buffer_free(&doc);
    close_both(&s, watch);
}

/* ---- filters ---- */

static void watch_gives_what_its_filters_want(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    merle_collection *other;
    must(&s, merle_collection_open(s.db, "other", NULL, &other));
    merle_watch *by_key =
        watch_one(&s, (merle_watch_filter){.collection = s.players, .key = merle_str("eu:1")},
                  (merle_watch_options){.size = 0});
    merle_watch *by_prefix = watch_one(&s, (merle_watch_filter){.prefix = merle_str("eu:")},
                                       (merle_watch_options){.size = 0});
    merle_watch *by_collection =
        watch_one(&s, (merle_watch_filter){.collection = other}, (merle_watch_options){.size = 0});
    const merle_watch_filter either[] = {{.collection = other}, {.key = merle_str("us:1")}};
    merle_watch *by_either =
        watch_open(&s, (merle_watch_options){.filters = either, .filter_count = 2});
    merle_buffer doc = doc_of("{\"n\":1}");
    (void)put_json(&s, "eu:1", "{\"n\":1}");
    (void)put_json(&s, "eu", "{\"n\":1}");
    (void)put_json(&s, "us:1", "{\"n\":1}");
    must(&s, merle_one_put(other, merle_str("eu:1"), bytes_of(&doc), NULL));
    must(&s, merle_collection_truncate(s.players, NULL));
    assert_int_equal(next(&s, by_key, got, ROOM), 2);
    is_event(&got[0], MERLE_EVENT_INSERT, "eu:1", NULL, "{\"n\":1}");
    is_event(&got[1], MERLE_EVENT_TRUNCATED, "", NULL, NULL);
    assert_int_equal(next(&s, by_prefix, got, ROOM), 3);
    assert_ptr_equal(got[1].collection, other);
    assert_int_equal(next(&s, by_collection, got, ROOM), 1);
    assert_ptr_equal(got[0].collection, other);
    assert_int_equal(next(&s, by_either, got, ROOM), 3);
    is_event(&got[0], MERLE_EVENT_INSERT, "us:1", NULL, "{\"n\":1}");
    is_event(&got[2], MERLE_EVENT_TRUNCATED, "", NULL, NULL);
    merle_watch_stats stats = {.size = 0};
    must(&s, merle_watch_stat(by_either, &stats));
    assert_true(stats.events == 3 && stats.unwanted == 2 && stats.gaps == 0);
    assert_true(stats.position == stats.published);
    merle_buffer_free(&doc);
    merle_watch_close(by_key);
    merle_watch_close(by_prefix);
    merle_watch_close(by_collection);
    close_both(&s, by_either);
}

static void condition_is_met_by_what_was_or_what_is(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    merle_condition *rich;
    must(&s, merle_condition_parse(merle_str("n >= $1 or tags: vip"), &rich, &s.report));
    merle_value ten = merle_value_int(10);
    merle_watch_filter filter = {.condition = rich, .values = &ten, .value_count = 1};
    merle_watch *watch = watch_one(&s, filter, (merle_watch_options){.size = 0});
    ten = merle_value_int(0); /* The watch has a copy. */
    (void)put_json(&s, "a", "{\"n\":1}");
    patch_n(&s, "a", 5);
    patch_n(&s, "a", 5); /* comes */
    patch_n(&s, "a", 5);
    (void)put_json(&s, "a", "{\"n\":2}"); /* leaves */
    (void)put_json(&s, "a", "{\"n\":3}");
    (void)put_json(&s, "a", "{\"n\":4,\"tags\":[\"vip\"]}");
    (void)remove_key(&s, "a");
    assert_int_equal(next(&s, watch, got, ROOM), 5);
    const merle_event_kind kinds[] = {MERLE_EVENT_UPDATE, MERLE_EVENT_UPDATE, MERLE_EVENT_UPDATE,
                                      MERLE_EVENT_UPDATE, MERLE_EVENT_REMOVE};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(got[i].kind, kinds[i]);
        assert_int_equal(got[i].is_unknown, 0);
        /* Nobody asked for documents, but for what the log has anyway. */
        assert_null(got[i].before.data);
    }
    merle_watch *wrong;
    filter.value_count = 0;
    const merle_watch_options options = {.filters = &filter, .filter_count = 1};
    assert_int_equal(merle_watch_open(s.db, &options, &wrong), MERLE_INVALID);
    assert_null(wrong);
    merle_watch_close(watch);
    merle_condition_destroy(rich);
    stand_close(&s);
}

static void what_is_not_known_is_told_as_unknown(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    merle_condition *rich;
    must(&s, merle_condition_parse(merle_str("n >= 10"), &rich, &s.report));
    uint64_t first = put_json(&s, "a", "{\"n\":1}");
    patch_n(&s, "a", 1);                  /* may have been rich before and after */
    (void)put_json(&s, "a", "{\"n\":2}"); /* before */
    (void)put_json(&s, "b", "{\"n\":2}"); /* certainly not */
    merle_watch *watch = watch_one(&s, (merle_watch_filter){.condition = rich},
                                   (merle_watch_options){.from_seq = first});
    merle_watch *whole = watch_open(&s, (merle_watch_options){.from_seq = first, .documents = 1});
    (void)put_json(&s, "a", "{\"n\":3}");
    assert_int_equal(next(&s, watch, got, ROOM), 2);
    assert_true(got[0].is_unknown && got[0].seq == first + 1);
    assert_true(got[1].is_unknown && got[1].seq == first + 2);
    assert_int_equal(next(&s, whole, got, ROOM), 5);
    const uint32_t unknown[] = {0, 1, 1, 0, 0};
    for (int i = 0; i < 5; i++) assert_int_equal(got[i].is_unknown, unknown[i]);
    merle_watch_close(watch);
    merle_watch_close(whole);
    merle_condition_destroy(rich);
    stand_close(&s);
}

/* ---- fields ---- */

static void are_fields(const merle_event *event, const char *expected) {
    merle_bytes names[8];
    char text[128] = "";
    size_t count;
    assert_int_equal(merle_event_fields(event, names, 8, &count), MERLE_OK);
    for (size_t i = 0; i < count; i++) {
        strncat(text, names[i].data, names[i].size);
        strcat(text, " ");
    }
    assert_string_equal(text, expected);
}

static void event_says_which_fields_have_changed(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    merle_bytes names[1];
    size_t count;
    merle_watch *watch = watch_open(&s, (merle_watch_options){.documents = 1});
    merle_watch *plain = watch_open(&s, (merle_watch_options){.size = 0});
    (void)put_json(&s, "a", "{\"n\":1,\"m\":{\"x\":1},\"gone\":2}");
    must(&s, merle_one_patch(s.players, merle_str("a"), NULL, NULL, MERLE_SET_INT("m.x", 2),
                             MERLE_SET_INT("new", 1), MERLE_SET_INT("m.y", 2)));
    (void)put_json(&s, "a", "{\"new\":1,\"m\":{\"x\":2,\"y\":3},\"n\":1}");
    (void)remove_key(&s, "a");
    assert_int_equal(next(&s, watch, got, ROOM), 4);
    are_fields(&got[0], "n m gone ");
    are_fields(&got[1], "m new ");
    are_fields(&got[2], "m gone ");
    are_fields(&got[3], "new m n ");
    assert_int_equal(merle_event_fields(&got[0], names, 1, &count), MERLE_OK);
    assert_int_equal(count, 3);
    /* A patch and an insert tell by themselves. */
    assert_int_equal(next(&s, plain, got, ROOM), 4);
    are_fields(&got[0], "n m gone ");
    are_fields(&got[1], "m new ");
    assert_int_equal(merle_event_fields(&got[2], names, 1, &count), MERLE_NOT_FOUND);
    assert_int_equal(merle_event_fields(&got[3], names, 1, &count), MERLE_NOT_FOUND);
    merle_watch_close(plain);
    close_both(&s, watch);
}

/* ---- what is missed, and what is held ---- */

static void put_many(const stand *s, int count) {
    char key[16];
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof key, "k%d", i % 10);
        (void)put_json(s, key, "{\"n\":1}");
    }
}

static void overrun_watch_is_told_its_gap(void **state) {
    (void)state;
    stand s = stand_open_with(64 << 10, 0);
    merle_event got[ROOM];
    uint64_t first, last;
    size_t count;
    merle_watch *watch = watch_open(&s, (merle_watch_options){.size = 0});
    uint64_t base = merle_watch_position(watch);
    assert_int_equal(merle_watch_mend(watch), MERLE_NOT_FOUND);
    put_many(&s, 2000);
    assert_int_equal(merle_watch_next(watch, got, ROOM, &count), MERLE_GAP);
    merle_watch_gap(watch, &first, &last);
    assert_int_equal(first, base + 1);
    assert_in_range(last, base + 2, base + 1999);
    assert_int_equal(merle_watch_position(watch), last);
    /* There are no files. */
    assert_int_equal(merle_watch_mend(watch), MERLE_NOT_FOUND);
    uint64_t expected = last + 1;
    while ((count = next(&s, watch, got, 7)) != 0)
        for (size_t i = 0; i < count; i++) assert_int_equal(got[i].seq, expected++);
    assert_int_equal(expected, base + 2001);
    merle_watch_stats stats = {.size = 0};
    must(&s, merle_watch_stat(watch, &stats));
    assert_true(stats.gaps == 1 && stats.missed == last - base);
    close_both(&s, watch);
}

static void watch_too_far_behind_gives_up_the_oldest(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    uint64_t first, last;
    size_t count;
    merle_watch *watch = watch_open(&s, (merle_watch_options){.behind_max = 10});
    uint64_t base = merle_watch_position(watch);
    put_many(&s, 10);
    assert_int_equal(next(&s, watch, got, ROOM), 10);
    put_many(&s, 25);
    assert_int_equal(merle_watch_next(watch, got, ROOM, &count), MERLE_GAP);
    merle_watch_gap(watch, &first, &last);
    assert_true(first == base + 11 && last == base + 25);
    assert_int_equal(next(&s, watch, got, ROOM), 10);
    assert_int_equal(got[0].seq, base + 26);
    close_both(&s, watch);
}

static void gap_after_half_a_change_leaves_no_half_to_the_next(void **state) {
    (void)state;
    stand s = open_with_clock(0);
    merle_event got[ROOM];
    size_t count;
    merle_buffer doc = doc_of("{\"n\":1}");
    merle_watch *watch = watch_open(&s, (merle_watch_options){.documents = 1, .behind_max = 2});
    must(&s, merle_one_put_for(s.players, merle_str("a"), bytes_of(&doc), 100, NULL));
    must(&s, merle_one_put_for(s.players, merle_str("b"), bytes_of(&doc), 100, NULL));
    assert_int_equal(next(&s, watch, got, ROOM), 2);
    assert_int_equal(next(&s, watch, got, ROOM), 0);
    atomic_fetch_add(&clock_ns, 1000);
    (void)put_json(&s, "a", "{\"n\":2}");
    assert_int_equal(next(&s, watch, got, 1), 1);
    is_event(&got[0], MERLE_EVENT_EXPIRE, "a", "{\"n\":1}", NULL);
    merle_watch_rest(watch);
    (void)put_json(&s, "b", "{\"n\":2}");
    (void)put_json(&s, "c", "{\"n\":2}");
    assert_int_equal(merle_watch_next(watch, got, ROOM, &count), MERLE_GAP);
    assert_int_equal(next(&s, watch, got, ROOM), 3);
    is_event(&got[0], MERLE_EVENT_EXPIRE, "b", "{\"n\":1}", NULL);
    is_event(&got[1], MERLE_EVENT_INSERT, "b", NULL, "{\"n\":2}");
    merle_buffer_free(&doc);
    close_both(&s, watch);
}

static void watch_holds_a_section_only_while_it_gives(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    merle_watch *watch = watch_open(&s, (merle_watch_options){.documents = 1});
    put_many(&s, 30);
    assert_int_equal(sections_open(&s), 0);
    assert_int_equal(next(&s, watch, got, 20), 20);
    assert_int_equal(sections_open(&s), 1);
    uint64_t seq = got[19].seq;
    assert_int_equal(merle_watch_position(watch), seq);
    merle_watch_rest(watch);
    assert_int_equal(sections_open(&s), 0);
    assert_int_equal(merle_watch_position(watch), seq);
    assert_int_equal(next(&s, watch, got, 20), 10);
    assert_int_equal(got[0].seq, seq + 1);
    assert_int_equal(merle_close(s.db), MERLE_BUSY);
    assert_int_equal(next(&s, watch, got, 20), 0);
    assert_int_equal(sections_open(&s), 0);
    close_both(&s, watch);
}

static void position_is_where_another_watch_goes_on(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    merle_commit *commit;
    merle_buffer doc = doc_of("{\"n\":1}");
    merle_watch *watch = watch_open(&s, (merle_watch_options){.size = 0});
    put_many(&s, 3);
    must(&s, merle_begin(s.db, &commit));
    for (int i = 0; i < 5; i++) {
        char key[2] = {(char)('a' + i), 0};
        must(&s, merle_put(commit, s.players, merle_str(key), bytes_of(&doc)));
    }
    must(&s, merle_end(commit, NULL));
    assert_int_equal(next(&s, watch, got, 5), 5);
    assert_true(got[4].position == 1 && got[4].count == 5);
    /* Of a commit of which not everything was given, all comes again. */
    uint64_t position = merle_watch_position(watch);
    assert_int_equal(position, got[4].seq - 1);
    merle_watch *again = watch_open(&s, (merle_watch_options){.from_seq = position + 1});
    assert_int_equal(next(&s, again, got, ROOM), 5);
    assert_int_equal(got[0].position, 0);
    assert_int_equal(next(&s, watch, got, ROOM), 3);
    assert_int_equal(got[0].position, 2);
    merle_watch *wrong;
    const merle_watch_options beyond = {.from_seq = position + 3};
    assert_int_equal(merle_watch_open(s.db, &beyond, &wrong), MERLE_INVALID);
    merle_buffer_free(&doc);
    merle_watch_close(again);
    close_both(&s, watch);
}

/* ---- the descriptor, and waiting ---- */

static int is_readable(int fd, int timeout_ms) {
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, timeout_ms) == 1;
}

static void descriptor_is_readable_while_there_is_something(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    int fd, again;
    merle_watch *watch = watch_open(&s, (merle_watch_options){.size = 0});
    must(&s, merle_watch_fd(watch, &fd));
    must(&s, merle_watch_fd(watch, &again));
    assert_int_equal(fd, again);
    assert_true(is_readable(fd, 0)); /* there may be something */
    assert_int_equal(next(&s, watch, got, ROOM), 0);
    assert_false(is_readable(fd, 0));
    for (int round = 0; round < 50; round++) {
        put_many(&s, 3);
        assert_true(is_readable(fd, -1));
        assert_int_equal(next(&s, watch, got, 2), 2);
        assert_true(is_readable(fd, 0));
        assert_int_equal(next(&s, watch, got, 2), 1);
        assert_int_equal(next(&s, watch, got, 2), 0);
    }
    /* Woken often, it naps, and looks again in a moment; then it is armed. */
    merle_watch_stats stats = {.size = 0};
    must(&s, merle_watch_stat(watch, &stats));
    assert_true(stats.wakes > 0 && stats.wakes < 50);
    if (is_readable(fd, 100)) assert_int_equal(next(&s, watch, got, 2), 0);
    assert_false(is_readable(fd, 5));
    put_many(&s, 1);
    assert_true(is_readable(fd, 0));
    close_both(&s, watch);
}

/* Where a commit drops its locks, and where it wakes: numbers of points that it came by. */
typedef struct course {
    int points, unlocked_at, woken_at;
} course;

static void note_point(void *context, const char *name) {
    course *c = context;
    c->points++;
    if (strcmp(name, "commit.unlocked") == 0) c->unlocked_at = c->points;
    if (strcmp(name, "log.follow_wake") == 0) c->woken_at = c->points;
}

static void note_nothing(void *context, const void *address) {
    (void)context;
    (void)address;
}

static void commit_wakes_when_it_has_dropped_its_locks(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    int fd;
    course c = {0};
    const mrl_scheduler scheduler = {&c, note_point, note_nothing, note_nothing};
    merle_watch *watch = watch_open(&s, (merle_watch_options){.size = 0});
    must(&s, merle_watch_fd(watch, &fd));
    assert_int_equal(next(&s, watch, got, ROOM), 0);
    mrl_self_own.scheduler = &scheduler;
    mrl_self_swap(&mrl_self_own);
    (void)put_json(&s, "a", "{\"n\":1}");
    mrl_self_swap(NULL);
    mrl_self_own.scheduler = NULL;
    assert_true(c.woken_at > c.unlocked_at && c.unlocked_at > 0);
    close_both(&s, watch);
}

static void waiting_ends_with_a_change_or_its_time(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    merle_watch *watch = watch_open(&s, (merle_watch_options){.size = 0});
    assert_int_equal(merle_watch_wait(watch, 0), MERLE_NOT_FOUND);
    assert_int_equal(merle_watch_wait(watch, 2000000), MERLE_NOT_FOUND);
    for (int i = 0; i < 20; i++) {
        put_many(&s, 2);
        must(&s, merle_watch_wait(watch, UINT64_MAX));
        assert_int_equal(next(&s, watch, got, 1), 1);
        must(&s, merle_watch_wait(watch, 0));
        assert_int_equal(next(&s, watch, got, ROOM), 1);
        assert_int_equal(next(&s, watch, got, ROOM), 0);
        assert_int_equal(merle_watch_wait(watch, 10000), MERLE_NOT_FOUND);
    }
    close_both(&s, watch);
}

/* ---- the latest alone ---- */

static void descriptor_serves_also_who_has_waited(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    int fd;
    merle_watch *watch = watch_open(&s, (merle_watch_options){.size = 0});
    must(&s, merle_watch_fd(watch, &fd));
    assert_int_equal(next(&s, watch, got, ROOM), 0);
    struct pollfd p = {fd, POLLIN, 0};
    /* In vain. */
    assert_int_equal(merle_watch_wait(watch, 1000000), MERLE_NOT_FOUND);
    assert_int_equal(poll(&p, 1, 0), 0);
    (void)put_json(&s, "a", "{\"n\":1}");
    assert_int_equal(poll(&p, 1, 0), 1);
    assert_int_equal(next(&s, watch, got, ROOM), 1);
    while (next(&s, watch, got, ROOM) > 0 || poll(&p, 1, 0) > 0) continue;
    /* And with success. */
    (void)put_json(&s, "b", "{\"n\":1}");
    must(&s, merle_watch_wait(watch, UINT64_MAX));
    assert_int_equal(poll(&p, 1, 0), 1);
    assert_int_equal(next(&s, watch, got, ROOM), 1);
    close_both(&s, watch);
}

static void latest_gives_each_key_once_as_it_is_now(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    merle_watch *watch = watch_open(&s, (merle_watch_options){.latest = 1});
    uint64_t base = merle_watch_position(watch);
    (void)put_json(&s, "a", "{\"n\":1}");
    (void)put_json(&s, "b", "{\"n\":1}");
    (void)put_json(&s, "c", "{\"n\":1}");
    for (int i = 0; i < 100; i++) patch_n(&s, "b", 1);
    uint64_t removed = remove_key(&s, "c");
    assert_int_equal(next(&s, watch, got, 2), 2);
    is_event(&got[0], MERLE_EVENT_UPDATE, "a", NULL, "{\"n\":1}");
    is_event(&got[1], MERLE_EVENT_UPDATE, "b", NULL, "{\"n\":101}");
    assert_int_equal(got[1].seq, base + 103);
    assert_null(got[1].change);
    assert_int_equal(merle_watch_position(watch), base);
    merle_watch_rest(watch);
    assert_int_equal(sections_open(&s), 0);
    assert_int_equal(next(&s, watch, got, 2), 1);
    is_event(&got[0], MERLE_EVENT_REMOVE, "c", NULL, NULL);
    assert_int_equal(got[0].seq, removed);
    assert_int_equal(next(&s, watch, got, 2), 0);
    assert_int_equal(sections_open(&s), 0);
    assert_int_equal(merle_watch_position(watch), removed);
    close_both(&s, watch);
}

static void latest_in_a_small_room_goes_round_by_round(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    merle_watch *watch = watch_open(&s, (merle_watch_options){.latest = 1, .latest_max = 4});
    put_many(&s, 35); /* ten keys in turn */
    size_t count, events = 0;
    uint32_t seen[10] = {0};
    while ((count = next(&s, watch, got, 3)) != 0) {
        events += count;
        for (size_t i = 0; i < count; i++) seen[((const char *)got[i].key.data)[1] - '0']++;
    }
    for (int i = 0; i < 10; i++) assert_true(seen[i] > 0);
    assert_true(events <= 35);
    close_both(&s, watch);
}

static void latest_forgets_what_was_truncated(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    merle_watch *watch = watch_open(&s, (merle_watch_options){.latest = 1});
    (void)put_json(&s, "a", "{\"n\":1}");
    (void)put_json(&s, "b", "{\"n\":1}");
    must(&s, merle_collection_truncate(s.players, NULL));
    (void)put_json(&s, "b", "{\"n\":2}");
    assert_int_equal(next(&s, watch, got, ROOM), 2);
    is_event(&got[0], MERLE_EVENT_TRUNCATED, "", NULL, NULL);
    is_event(&got[1], MERLE_EVENT_UPDATE, "b", NULL, "{\"n\":2}");
    /* Truncated alone, with nothing behind it. */
    (void)put_json(&s, "b", "{\"n\":3}");
    must(&s, merle_collection_truncate(s.players, NULL));
    assert_int_equal(next(&s, watch, got, 1), 1);
    is_event(&got[0], MERLE_EVENT_TRUNCATED, "", NULL, NULL);
    assert_int_equal(next(&s, watch, got, 1), 0);
    close_both(&s, watch);
}

static void latest_tells_a_gap_behind_what_it_noted(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    size_t count;
    uint64_t first, last;
    merle_watch *watch = watch_open(&s, (merle_watch_options){.latest = 1, .behind_max = 5});
    put_many(&s, 20);
    assert_int_equal(merle_watch_next(watch, got, ROOM, &count), MERLE_GAP);
    merle_watch_gap(watch, &first, &last);
    assert_int_equal(last - first + 1, 15);
    assert_int_equal(next(&s, watch, got, ROOM), 5);
    assert_int_equal(next(&s, watch, got, ROOM), 0);
    close_both(&s, watch);
}

static int refuses_large(void *context, size_t size) {
    return size > *(const size_t *)context;
}

static void latest_without_memory_notes_all_again(void **state) {
    (void)state;
    stand s = stand_open();
    merle_event got[ROOM];
    size_t count, most = 256;
    char key[101] = {0};
    const mrl_refusal refusal = {&most, refuses_large};
    merle_watch *watch = watch_open(&s, (merle_watch_options){.latest = 1});
    for (int i = 0; i < 4; i++) {
        memset(key, 'a' + i, 100);
        (void)put_json(&s, key, "{\"n\":1}");
    }
    mrl_refusal_of_thread = &refusal;
    assert_int_equal(merle_watch_next(watch, got, ROOM, &count), MERLE_NO_MEMORY);
    mrl_refusal_of_thread = NULL;
    assert_int_equal(next(&s, watch, got, ROOM), 4);
    for (int i = 0; i < 4; i++) {
        memset(key, 'a' + i, 100);
        is_event(&got[i], MERLE_EVENT_UPDATE, key, NULL, "{\"n\":1}");
    }
    close_both(&s, watch);
}

/* ---- threads ---- */

typedef struct elsewhere {
    stand *s;
    merle_watch *watch;
    merle_err err;
} elsewhere;

static void *use_elsewhere(void *context) {
    elsewhere *e = context;
    merle_event got[1];
    size_t count;
    e->err = merle_watch_next(e->watch, got, 1, &count);
    return NULL;
}

static void *open_elsewhere(void *context) {
    elsewhere *e = context;
    const merle_watch_options options = {.latest = 1};
    merle_event got[1];
    size_t count;
    int fd;
    e->err = merle_watch_open(e->s->db, &options, &e->watch);
    (void)put_json(e->s, "a", "{\"n\":1}");
    if (e->err == MERLE_OK) e->err = merle_watch_fd(e->watch, &fd);
    if (e->err == MERLE_OK) e->err = merle_watch_next(e->watch, got, 1, &count);
    return NULL;
}

static void watch_belongs_to_the_thread_that_opened_it(void **state) {
    (void)state;
    stand s = stand_open();
    pthread_t thread;
    elsewhere e = {.s = &s, .watch = watch_open(&s, (merle_watch_options){.size = 0})};
    assert_int_equal(pthread_create(&thread, NULL, use_elsewhere, &e), 0);
    pthread_join(thread, NULL);
    assert_int_equal(e.err, MERLE_WRONG_THREAD);
    merle_watch_close(e.watch);
    assert_int_equal(pthread_create(&thread, NULL, open_elsewhere, &e), 0);
    pthread_join(thread, NULL);
    assert_int_equal(e.err, MERLE_OK);
    assert_int_equal(merle_close(s.db), MERLE_BUSY);
    merle_watch_close(e.watch);
    stand_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(watch_tells_each_change_as_what_it_was),
        cmocka_unit_test(document_past_its_time_is_told_as_an_expiry),
        cmocka_unit_test(bulk_load_is_told_when_it_has_ended),
        cmocka_unit_test(refused_write_is_told_to_nobody),
        cmocka_unit_test(watch_gives_what_its_filters_want),
        cmocka_unit_test(condition_is_met_by_what_was_or_what_is),
        cmocka_unit_test(what_is_not_known_is_told_as_unknown),
        cmocka_unit_test(event_says_which_fields_have_changed),
        cmocka_unit_test(overrun_watch_is_told_its_gap),
        cmocka_unit_test(watch_too_far_behind_gives_up_the_oldest),
        cmocka_unit_test(gap_after_half_a_change_leaves_no_half_to_the_next),
        cmocka_unit_test(watch_holds_a_section_only_while_it_gives),
        cmocka_unit_test(position_is_where_another_watch_goes_on),
        cmocka_unit_test(descriptor_is_readable_while_there_is_something),
        cmocka_unit_test(commit_wakes_when_it_has_dropped_its_locks),
        cmocka_unit_test(waiting_ends_with_a_change_or_its_time),
        cmocka_unit_test(descriptor_serves_also_who_has_waited),
        cmocka_unit_test(latest_gives_each_key_once_as_it_is_now),
        cmocka_unit_test(latest_in_a_small_room_goes_round_by_round),
        cmocka_unit_test(latest_forgets_what_was_truncated),
        cmocka_unit_test(latest_tells_a_gap_behind_what_it_noted),
        cmocka_unit_test(latest_without_memory_notes_all_again),
        cmocka_unit_test(watch_belongs_to_the_thread_that_opened_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
