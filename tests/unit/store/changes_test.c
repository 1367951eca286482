/* tests/unit/store/changes_test.c - cursors over the log.
 *
 * Aim     A cursor gives every change once, in order, whole commits where they fit; images only
 *         where they were asked for; a gap is told with its bounds; what a call gave stays valid
 *         until the next one, and nothing is held once a call gave nothing.
 * Method  Small hand-made histories, read with different room; a ring of the smallest size,
 *         overrun; a writer in another thread whose counter must arrive without a hole.
 * Blind   Records that a disk would give back: there is none yet.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/store/stand.h"

#include <pthread.h>

#include "store/changes.h"

enum { ROOM = 64 };

static merle_changes *cursor_open(stand *s, merle_changes_options options) {
    merle_changes *changes = NULL;
    must(s, merle_changes_open(s->db, &options, &changes));
    assert_non_null(changes);
    return changes;
}

static size_t next(stand *s, merle_changes *changes, merle_change *out, size_t max) {
    size_t count = 0;
    must(s, merle_changes_next(changes, out, max, &count));
    return count;
}

static uint64_t sections_open(stand *s) {
    merle_stats_db stats = {.size = 0};
    must(s, merle_stats(s->db, &stats));
    return stats.sections_open;
}

/* ---- what is given ---- */

static void cursor_from_zero_gives_definition_first(void **state) {
    (void)state;
    stand s = stand_open();
    merle_change got[ROOM];
    merle_changes *changes = cursor_open(&s, (merle_changes_options){.size = 0});
    assert_int_equal(next(&s, changes, got, ROOM), 1);
    assert_int_equal(got[0].kind, MERLE_CHANGE_DEFINE);
    assert_int_equal(got[0].seq, 1);
    assert_int_equal(got[0].collection_id, merle_collection_id(s.players));
    assert_true(got[0].effect.size > 0);
    assert_null(got[0].after.data);
    assert_int_equal(next(&s, changes, got, ROOM), 0);
    assert_int_equal(merle_changes_position(changes), 1);
    merle_changes_close(changes);
    stand_close(&s);
}

static void cursor_gives_each_kind_with_its_parts(void **state) {
    (void)state;
    stand s = stand_open();
    merle_change got[ROOM];
    uint64_t id;
    merle_changes *changes = cursor_open(&s, (merle_changes_options){.after_seq = UINT64_MAX});
    uint64_t seq = put_json(&s, "a", "{\"n\":1}");
    must(&s, merle_one_patch(s.players, merle_str("a"), NULL, NULL, MERLE_INC("n", 1)));
    (void)remove_key(&s, "a");
    must(&s, merle_collection_next_id(s.players, &id));
    must(&s, merle_collection_truncate(s.players, NULL));
    must(&s, merle_collection_drop(s.players, NULL));
    assert_int_equal(next(&s, changes, got, ROOM), 6);
    const merle_change_kind kinds[] = {MERLE_CHANGE_PUT,      MERLE_CHANGE_PATCH,
                                       MERLE_CHANGE_REMOVE,   MERLE_CHANGE_SEQUENCE,
                                       MERLE_CHANGE_TRUNCATE, MERLE_CHANGE_DROP};
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(got[i].kind, kinds[i]);
        assert_int_equal(got[i].seq, seq + i);
        assert_int_equal(got[i].position, 0);
        assert_int_equal(got[i].count, 1);
        assert_int_equal(got[i].expires_ns, 0);
        assert_true(got[i].time_ns > 0);
        if (i > 0) assert_true(got[i].time_ns >= got[i - 1].time_ns);
        assert_int_equal(got[i].key.size, i < 3 ? 1 : 0);
        assert_null(got[i].before.data);
    }
    assert_is_doc(merle_bytes_of(got[0].after.data, got[0].after.size), "{\"n\":1}");
    assert_int_equal(got[0].after.seq, seq);
    assert_int_equal(got[0].effect.size, 0);
    assert_null(got[1].after.data);
    assert_true(got[1].effect.size > 0);
    assert_null(got[2].after.data);
    merle_changes_close(changes);
    stand_close(&s);
}

static void commit_with_origin_gives_positions_and_origin(void **state) {
    (void)state;
    stand s = stand_open();
    merle_change got[ROOM];
    merle_commit *commit;
    merle_buffer doc = doc_of("{\"n\":1}");
    merle_changes *changes = cursor_open(&s, (merle_changes_options){.after_seq = UINT64_MAX});
    must(&s, merle_begin(s.db, &commit));
    must(&s, merle_commit_origin(commit, merle_str("gm")));
    must(&s, merle_put(commit, s.players, merle_str("a"), bytes_of(&doc)));
    must(&s, merle_put(commit, s.players, merle_str("b"), bytes_of(&doc)));
    must(&s, merle_put(commit, s.players, merle_str("c"), bytes_of(&doc)));
    must(&s, merle_end(commit, NULL));
    assert_int_equal(next(&s, changes, got, ROOM), 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(got[i].position, i);
        assert_int_equal(got[i].count, 3);
        assert_int_equal(got[i].origin, MERLE_ORIGIN_APPLICATION);
        assert_int_equal(got[i].origin_bytes.size, 2);
        assert_memory_equal(got[i].origin_bytes.data, "gm", 2);
        assert_int_equal(((const char *)got[i].key.data)[0], 'a' + (int)i);
    }
    merle_changes_close(changes);
    merle_buffer_free(&doc);
    stand_close(&s);
}

static void images_are_given_only_where_asked_for(void **state) {
    (void)state;
    stand s = stand_open();
    merle_change got[ROOM];
    uint64_t first = put_json(&s, "a", "{\"n\":1}");
    merle_changes *plain = cursor_open(&s, (merle_changes_options){.after_seq = first});
    must(&s, merle_one_patch(s.players, merle_str("a"), NULL, NULL, MERLE_INC("n", 1)));
    merle_changes *both = cursor_open(
        &s, (merle_changes_options){.after_seq = first, .want_after = 1, .want_before = 1});
    must(&s, merle_one_patch(s.players, merle_str("a"), NULL, NULL, MERLE_INC("n", 1)));
    (void)put_json(&s, "a", "{\"n\":9}");
    (void)remove_key(&s, "a");
    (void)put_json(&s, "a", "{\"n\":10}");
    assert_int_equal(next(&s, both, got, ROOM), 5);
    /* Committed before anybody asked. */
    assert_null(got[0].after.data);
    assert_null(got[0].before.data);
    assert_is_doc(merle_bytes_of(got[1].after.data, got[1].after.size), "{\"n\":3}");
    assert_is_doc(merle_bytes_of(got[1].before.data, got[1].before.size), "{\"n\":2}");
    assert_int_equal(got[1].before.seq, first + 1);
    assert_is_doc(merle_bytes_of(got[2].after.data, got[2].after.size), "{\"n\":9}");
    assert_is_doc(merle_bytes_of(got[2].before.data, got[2].before.size), "{\"n\":3}");
    assert_null(got[3].after.data);
    assert_is_doc(merle_bytes_of(got[3].before.data, got[3].before.size), "{\"n\":9}");
    /* What was there is a tombstone: nothing. */
    assert_null(got[4].before.data);
    assert_int_equal(next(&s, plain, got, ROOM), 5);
    for (int i = 0; i < 5; i++) assert_null(got[i].before.data);
    assert_null(got[1].after.data);
    merle_changes_close(both);
    merle_changes_close(plain);
    /* Nobody asks any more. */
    assert_false(mrl_log_wants_after(s.db->log));
    assert_false(mrl_log_wants_before(s.db->log));
    both = cursor_open(&s, (merle_changes_options){.after_seq = UINT64_MAX});
    must(&s, merle_one_patch(s.players, merle_str("a"), NULL, NULL, MERLE_INC("n", 1)));
    assert_int_equal(next(&s, both, got, ROOM), 1);
    assert_null(got[0].after.data);
    merle_changes_close(both);
    stand_close(&s);
}

static void refused_commit_is_in_no_cursor(void **state) {
    (void)state;
    stand s = stand_open();
    merle_change got[ROOM];
    merle_buffer doc = doc_of("{\"email\":\"x\"}");
    (void)put_json(&s, "a", "{\"email\":\"x\"}");
    merle_changes *changes = cursor_open(&s, (merle_changes_options){.after_seq = UINT64_MAX});
    assert_int_equal(merle_one_put(s.players, merle_str("b"), bytes_of(&doc), NULL), MERLE_EXISTS);
    assert_int_equal(next(&s, changes, got, ROOM), 0);
    merle_changes_close(changes);
    merle_buffer_free(&doc);
    stand_close(&s);
}

/* ---- room ---- */

/* Commits of 1, 3, 2 and 5 puts, with keys a, b, c ... in order. */
static void put_groups(stand *s, merle_collection *other) {
    const int sizes[] = {1, 3, 2, 5};
    char key[2] = "a";
    merle_buffer doc = doc_of("{\"n\":1}");
    for (size_t i = 0; i < 4; i++) {
        merle_commit *commit;
        must(s, merle_begin(s->db, &commit));
        for (int n = 0; n < sizes[i]; n++, key[0]++)
            must(s, merle_put(commit, other != NULL && key[0] % 2 == 0 ? other : s->players,
                              merle_str(key), bytes_of(&doc)));
        must(s, merle_end(commit, NULL));
    }
    merle_buffer_free(&doc);
}

static void commits_come_whole_where_they_fit(void **state) {
    (void)state;
    stand s = stand_open();
    merle_change got[ROOM];
    merle_changes *changes = cursor_open(&s, (merle_changes_options){.after_seq = UINT64_MAX});
    uint64_t base = merle_changes_position(changes);
    put_groups(&s, NULL);
    assert_int_equal(next(&s, changes, got, 3), 1);
    assert_int_equal(merle_changes_position(changes), base + 1);
    assert_int_equal(next(&s, changes, got, 3), 3);
    assert_int_equal(merle_changes_position(changes), base + 2);
    assert_int_equal(next(&s, changes, got, 3), 2);
    /* Five do not fit three: in two calls. */
    assert_int_equal(next(&s, changes, got, 3), 3);
    assert_int_equal(got[2].position, 2);
    assert_int_equal(merle_changes_position(changes), base + 3);
    assert_int_equal(next(&s, changes, got, 3), 2);
    assert_int_equal(got[0].position, 3);
    assert_int_equal(got[1].position, 4);
    assert_int_equal(merle_changes_position(changes), base + 4);
    assert_int_equal(next(&s, changes, got, 3), 0);
    merle_changes_close(changes);
    stand_close(&s);
}

static void every_room_gives_the_same_changes(void **state) {
    (void)state;
    for (size_t room = 1; room <= 12; room++) {
        stand s = stand_open();
        merle_collection *other;
        merle_change got[ROOM];
        must(&s, merle_collection_open(s.db, "other", NULL, &other));
        merle_changes *all = cursor_open(&s, (merle_changes_options){.after_seq = UINT64_MAX});
        merle_changes *half =
            cursor_open(&s, (merle_changes_options){.after_seq = UINT64_MAX, .collection = other});
        put_groups(&s, other);
        int expected = 'a';
        for (size_t count; (count = next(&s, all, got, room)) != 0;)
            for (size_t i = 0; i < count; i++)
                assert_int_equal(((const char *)got[i].key.data)[0], expected++);
        assert_int_equal(expected, 'a' + 11);
        expected = 'b';
        for (size_t count; (count = next(&s, half, got, room)) != 0;)
            for (size_t i = 0; i < count; i++, expected += 2)
                assert_int_equal(((const char *)got[i].key.data)[0], expected);
        assert_int_equal(expected, 'l');
        /* What was skipped counts as given. */
        assert_int_equal(merle_changes_position(half), merle_changes_position(all));
        merle_changes_close(all);
        merle_changes_close(half);
        stand_close(&s);
    }
}

/* ---- gaps ---- */

static void overrun_cursor_is_told_its_gap(void **state) {
    (void)state;
    stand s = stand_open_with(64 << 10, 0);
    merle_change got[ROOM];
    char key[16];
    uint64_t first, last;
    merle_changes *changes = cursor_open(&s, (merle_changes_options){.after_seq = 1});
    uint64_t newest = 0;
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "k%d", i % 10);
        newest = put_json(&s, key, "{\"n\":1}");
    }
    size_t count = 1;
    assert_int_equal(merle_changes_next(changes, got, ROOM, &count), MERLE_GAP);
    assert_int_equal(count, 0);
    merle_changes_gap(changes, &first, &last);
    assert_int_equal(first, 2);
    assert_in_range(last, 3, newest - 1);
    assert_int_equal(merle_changes_position(changes), last);
    uint64_t expected = last + 1;
    while ((count = next(&s, changes, got, ROOM)) != 0)
        for (size_t i = 0; i < count; i++) assert_int_equal(got[i].seq, expected++);
    assert_int_equal(expected, newest + 1);
    merle_changes_close(changes);
    stand_close(&s);
}

static void commit_given_in_parts_survives_overrun(void **state) {
    (void)state;
    stand s = stand_open_with(64 << 10, 0);
    merle_change got[ROOM];
    merle_changes *changes = cursor_open(&s, (merle_changes_options){.after_seq = UINT64_MAX});
    put_groups(&s, NULL);
    assert_int_equal(next(&s, changes, got, 6), 6);
    assert_int_equal(next(&s, changes, got, 2), 2);
    for (int i = 0; i < 2000; i++) (void)put_json(&s, "z", "{\"n\":2}");
    stand_settle(&s);
    /* The pointers of the last call are still good, and so is the rest of the commit. */
    assert_is_doc(merle_bytes_of(got[1].after.data, got[1].after.size), "{\"n\":1}");
    assert_int_equal(next(&s, changes, got, 8), 3);
    assert_int_equal(got[2].position, 4);
    size_t count;
    assert_int_equal(merle_changes_next(changes, got, ROOM, &count), MERLE_GAP);
    merle_changes_close(changes);
    stand_close(&s);
}

/* ---- what a put says of the key ---- */

static void put_says_whether_the_key_was_new(void **state) {
    (void)state;
    stand s = stand_open();
    merle_change got[ROOM];
    merle_commit *commit;
    merle_buffer doc = doc_of("{\"n\":1}");
    merle_changes *changes = cursor_open(&s, (merle_changes_options){.after_seq = UINT64_MAX});
    (void)put_json(&s, "a", "{\"n\":1}");
    (void)put_json(&s, "a", "{\"n\":2}");
    (void)remove_key(&s, "a");
    (void)put_json(&s, "a", "{\"n\":3}");
    /* Taken away and put again in one commit: it was there before, and is after. */
    must(&s, merle_begin(s.db, &commit));
    must(&s, merle_remove(commit, s.players, merle_str("a")));
    must(&s, merle_put(commit, s.players, merle_str("a"), bytes_of(&doc)));
    must(&s, merle_end(commit, NULL));
    assert_int_equal(next(&s, changes, got, ROOM), 5);
    const uint32_t is_new[] = {1, 0, 0, 1, 0};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(got[i].is_new, is_new[i]);
        assert_int_equal(got[i].was_due, 0);
        assert_int_equal(((const uint8_t *)got[i].bytes.data)[0], 0x96);
        assert_true(got[i].bytes.size > got[i].after.size + got[i].key.size);
    }
    merle_changes_close(changes);
    merle_buffer_free(&doc);
    stand_close(&s);
}

/* ---- for the rooms above ---- */

static void limited_cursor_gives_nothing_above_it(void **state) {
    (void)state;
    stand s = stand_open();
    merle_change got[ROOM];
    merle_changes *changes = cursor_open(&s, (merle_changes_options){.after_seq = UINT64_MAX});
    uint64_t base = merle_changes_position(changes);
    put_groups(&s, NULL);
    mrl_changes_limit(changes, base);
    assert_int_equal(next(&s, changes, got, ROOM), 0);
    mrl_changes_limit(changes, base + 2);
    assert_int_equal(next(&s, changes, got, ROOM), 4);
    assert_int_equal(next(&s, changes, got, ROOM), 0);
    assert_int_equal(merle_changes_position(changes), base + 2);
    mrl_changes_limit(changes, UINT64_MAX);
    assert_int_equal(next(&s, changes, got, ROOM), 7);
    merle_changes_close(changes);
    stand_close(&s);
}

static void rested_cursor_holds_nothing_and_goes_on(void **state) {
    (void)state;
    stand s = stand_open();
    merle_change got[ROOM];
    merle_changes *changes = cursor_open(&s, (merle_changes_options){.after_seq = UINT64_MAX});
    uint64_t base = merle_changes_position(changes);
    put_groups(&s, NULL);
    assert_int_equal(next(&s, changes, got, 6), 6);
    mrl_changes_rest(changes);
    assert_int_equal(sections_open(&s), 0);
    assert_int_equal(mrl_changes_passed(changes), 0);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(next(&s, changes, got, 1), 1);
        assert_int_equal(got[0].position, i);
        assert_int_equal(got[0].seq, base + 4);
        assert_int_equal(mrl_changes_passed(changes), i < 4 ? i + 1 : 0);
        mrl_changes_rest(changes);
        mrl_changes_rest(changes);
        assert_int_equal(sections_open(&s), 0);
    }
    assert_int_equal(next(&s, changes, got, 1), 0);
    /* In the middle of it again. */
    mrl_changes_begin_at(changes, base + 3, 3);
    assert_int_equal(mrl_changes_passed(changes), 3);
    assert_int_equal(next(&s, changes, got, ROOM), 2);
    assert_int_equal(got[0].position, 3);
    mrl_changes_begin_at(changes, base + 3, 5);
    assert_int_equal(next(&s, changes, got, ROOM), 0);
    assert_int_equal(merle_changes_position(changes), base + 4);
    /* What it rested in may be gone when it goes on: then all of it is. */
    mrl_changes_begin_at(changes, base + 3, 3);
    assert_int_equal(next(&s, changes, got, 1), 1);
    mrl_changes_rest(changes);
    mrl_changes_skip(changes, base + 4);
    uint64_t first, last;
    merle_changes_gap(changes, &first, &last);
    assert_true(first == base + 4 && last == base + 4);
    assert_int_equal(mrl_changes_passed(changes), 0);
    assert_int_equal(mrl_changes_mend(changes), MERLE_NOT_FOUND);
    merle_changes_close(changes);
    stand_close(&s);
}

/* ---- what is held ---- */

static void cursor_at_the_end_holds_no_section(void **state) {
    (void)state;
    stand s = stand_open();
    merle_change got[ROOM];
    merle_changes *changes = cursor_open(&s, (merle_changes_options){.size = 0});
    assert_int_equal(sections_open(&s), 0);
    assert_int_equal(next(&s, changes, got, ROOM), 1);
    assert_int_equal(sections_open(&s), 1);
    assert_int_equal(next(&s, changes, got, ROOM), 0);
    assert_int_equal(sections_open(&s), 0);
    assert_int_equal(merle_close(s.db), MERLE_BUSY);
    merle_changes_close(changes);
    stand_close(&s);
}

static void close_with_changes_given_ends_the_section(void **state) {
    (void)state;
    stand s = stand_open();
    merle_change got[ROOM];
    merle_changes *changes = cursor_open(&s, (merle_changes_options){.size = 0});
    assert_int_equal(next(&s, changes, got, ROOM), 1);
    merle_changes_close(changes);
    assert_int_equal(sections_open(&s), 0);
    stand_close(&s);
}

static void open_beyond_the_end_is_refused(void **state) {
    (void)state;
    stand s = stand_open();
    merle_changes *changes = (merle_changes *)&s;
    merle_changes_options options = {.after_seq = 1000};
    assert_int_equal(merle_changes_open(s.db, &options, &changes), MERLE_INVALID);
    assert_null(changes);
    stand_close(&s);
}

/* ---- threads ---- */

typedef struct other_thread {
    stand *s;
    merle_changes *changes;
    merle_err err;
    int open;
} other_thread;

static void *use_elsewhere(void *context) {
    other_thread *o = context;
    merle_change got[ROOM];
    size_t count;
    merle_changes_options options = {.size = 0};
    if (o->open) o->err = merle_changes_open(o->s->db, &options, &o->changes);
    if (!o->open || o->err == MERLE_OK) o->err = merle_changes_next(o->changes, got, ROOM, &count);
    return NULL;
}

static void cursor_in_another_thread_is_refused(void **state) {
    (void)state;
    stand s = stand_open();
    pthread_t thread;
    other_thread o = {&s, cursor_open(&s, (merle_changes_options){.size = 0}), MERLE_OK, 0};
    assert_int_equal(pthread_create(&thread, NULL, use_elsewhere, &o), 0);
    pthread_join(thread, NULL);
    assert_int_equal(o.err, MERLE_WRONG_THREAD);
    merle_changes_close(o.changes);
    stand_close(&s);
}

static void cursor_of_an_ended_thread_can_be_closed(void **state) {
    (void)state;
    stand s = stand_open();
    pthread_t thread;
    other_thread o = {&s, NULL, MERLE_OK, 1};
    assert_int_equal(pthread_create(&thread, NULL, use_elsewhere, &o), 0);
    pthread_join(thread, NULL);
    assert_int_equal(o.err, MERLE_OK);
    assert_int_equal(merle_close(s.db), MERLE_BUSY);
    merle_changes_close(o.changes);
    assert_int_equal(sections_open(&s), 0);
    stand_close(&s);
}

enum { WRITES = 20000 };

static void *write_many(void *context) {
    stand *s = context;
    for (int i = 0; i < WRITES; i++) {
        int64_t number;
        if (merle_one_count(s->players, merle_str("a"), "n", 1, &number) != MERLE_OK) return s;
    }
    return NULL;
}

/* Every number arrives once and in order, but for those in a gap, and a gap tells how many they
 * are. */
static void follower_of_a_writer_misses_nothing_in_silence(void **state) {
    (void)state;
    stand s = stand_open_with(256 << 10, 0);
    merle_change got[ROOM];
    pthread_t thread;
    void *failed = NULL;
    uint64_t last_seq = 0, number = 0;
    merle_changes *changes =
        cursor_open(&s, (merle_changes_options){.after_seq = UINT64_MAX, .want_after = 1});
    uint64_t base = merle_changes_position(changes);
    assert_int_equal(pthread_create(&thread, NULL, write_many, &s), 0);
    while (number < WRITES) {
        size_t count;
        merle_err err = merle_changes_next(changes, got, ROOM, &count);
        if (err != MERLE_GAP) must(&s, err);
        for (size_t i = 0; i < count; i++) {
            assert_true(got[i].seq > last_seq);
            last_seq = got[i].seq;
            number = (uint64_t)merle_doc_int(got[i].after, "n", 0);
            assert_int_equal(number, got[i].seq - base);
        }
    }
    pthread_join(thread, &failed);
    assert_null(failed);
    assert_int_equal(merle_changes_position(changes), base + WRITES);
    merle_changes_close(changes);
    must(&s, merle_check(s.db, &s.report));
    stand_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cursor_from_zero_gives_definition_first),
        cmocka_unit_test(cursor_gives_each_kind_with_its_parts),
        cmocka_unit_test(commit_with_origin_gives_positions_and_origin),
        cmocka_unit_test(images_are_given_only_where_asked_for),
        cmocka_unit_test(refused_commit_is_in_no_cursor),
        cmocka_unit_test(commits_come_whole_where_they_fit),
        cmocka_unit_test(every_room_gives_the_same_changes),
        cmocka_unit_test(overrun_cursor_is_told_its_gap),
        cmocka_unit_test(commit_given_in_parts_survives_overrun),
        cmocka_unit_test(put_says_whether_the_key_was_new),
        cmocka_unit_test(limited_cursor_gives_nothing_above_it),
        cmocka_unit_test(rested_cursor_holds_nothing_and_goes_on),
        cmocka_unit_test(cursor_at_the_end_holds_no_section),
        cmocka_unit_test(close_with_changes_given_ends_the_section),
        cmocka_unit_test(open_beyond_the_end_is_refused),
        cmocka_unit_test(cursor_in_another_thread_is_refused),
        cmocka_unit_test(cursor_of_an_ended_thread_can_be_closed),
        cmocka_unit_test(follower_of_a_writer_misses_nothing_in_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
