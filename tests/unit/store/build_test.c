/* tests/unit/store/build_test.c - indexes added and dropped while a collection is in use.
 *
 * Aim     what each state of an index allows, for sections before and after it; that a build ends
 *         with exactly the entries that an index made with the collection has; who stands against
 *         one that fails; what is left when it is dropped, the collection truncated or dropped, the
 *         database closed in between, memory refused.
 * Method  one thread, step by step; merle_check after each case compares index and documents.
 *         Answers are compared with those of a walk.
 * Not     two threads at once: tests/stress/build_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/store.h"
#include "writing.h"

static const merle_index by_level = {.name = "level", .kind = MERLE_ORDERED, .on = "level"};
static const merle_index by_tag = {.name = "tags", .kind = MERLE_TAGS, .on = "tags"};
static const merle_index by_name = {.name = "name", .kind = MERLE_UNIQUE, .on = "name"};
static const merle_index by_both = {
    .name = "both", .kind = MERLE_UNIQUE_ORDERED, .on = "name, -level"};
static const merle_index by_each = {.name = "each", .kind = MERLE_ORDERED, .on = "tags[*]"};
static const merle_index by_key = {.name = "key", .kind = MERLE_ORDERED, .on = "level, key()"};
static const merle_index with_missing = {
    .name = "missing", .kind = MERLE_ORDERED, .on = "-level", .missing = MERLE_MISSING_FIRST};
static const merle_index *const all_kinds[] = {&by_level, &by_tag, &by_name,     &by_both,
                                               &by_each,  &by_key, &with_missing};
enum { KIND_COUNT = 7 };

/* ---- what the cases share ---- */

static void put_player(const stand *s, int number, int level) {
    char key[16], json[160];
    snprintf(key, sizeof key, "p%d", number);
    snprintf(json, sizeof json,
             "{\"name\": \"n%d\", \"level\": %d, \"tags\": [\"t%d\", \"all\", %d]}", number, level,
             number % 3, number % 7);
    put_json(s, key, json);
}

static void remove_player(const stand *s, int number) {
    char key[16];
    snprintf(key, sizeof key, "p%d", number);
    (void)remove_key(s, key);
}

static void put_players(const stand *s, int count) {
    for (int i = 0; i < count; i++) put_player(s, i, i % 10);
}

static merle_stats_index index_stats(const stand *s, const char *name) {
    merle_stats_index stats = {.size = sizeof stats};
    must(s, merle_index_stats(s->players, name, &stats));
    return stats;
}

static uint64_t add(const stand *s, const merle_index *index) {
    uint64_t seq = 0;
    must(s, merle_index_add(s->players, index, &seq));
    assert_int_equal(index_stats(s, index->name).state, MERLE_INDEX_BUILDING);
    return seq;
}

static void build(const stand *s, const merle_index *index) {
    must(s, merle_index_build(s->players, index->name));
    assert_int_equal(index_stats(s, index->name).state, MERLE_INDEX_READY);
}

static void drop(const stand *s, const char *name) {
    must(s, merle_index_drop(s->players, name, NULL));
}

/* One step; not ready after it unless there was next to nothing to do. */
static merle_err step_once(const stand *s) {
    return merle_step(s->db, 0, 0);
}

static merle_err count_level(merle_section *section, merle_collection *players, int level,
                             uint64_t *out_count) {
    merle_value value = merle_value_int(level);
    merle_range range = {
        .index = "level", .from = {MERLE_CLOSED, &value, 1}, .to = {MERLE_CLOSED, &value, 1}};
    return merle_range_count(section, players, &range, out_count);
}

static uint64_t level_now(const stand *s, int level) {
    uint64_t count = UINT64_MAX;
    merle_section section;
    must(s, merle_section_begin(s->db, &section));
    must(s, count_level(&section, s->players, level, &count));
    must(s, merle_section_end(&section));
    return count;
}

static uint64_t tag_now(const stand *s, const char *tag) {
    uint64_t count = UINT64_MAX;
    merle_section section;
    must(s, merle_section_begin(s->db, &section));
    must(s, merle_tag_count(&section, s->players, "tags", merle_value_str(tag), &count));
    must(s, merle_section_end(&section));
    return count;
}

static void check(stand *s) {
    must(s, merle_check(s->db, &s->report));
}

/* ---- states ---- */

static void index_added_is_built_step_by_step(void **state) {
    stand s;
    (void)state;
    writing_open_plain(&s);
    put_players(&s, 1000);
    uint64_t seq = add(&s, &by_level);
    merle_stats_index stats = index_stats(&s, "level");
    assert_int_equal(stats.slots_total, 1000);
    assert_int_equal(stats.slots_done, 0);
    assert_int_equal(stats.ready_seq, 0);
    assert_int_equal(step_once(&s), MERLE_BUSY);
    stats = index_stats(&s, "level");
    assert_in_range(stats.slots_done, 1, 999);
    assert_int_equal(stats.state, MERLE_INDEX_BUILDING);
    stand_settle(&s);
    stats = index_stats(&s, "level");
    assert_int_equal(stats.state, MERLE_INDEX_READY);
    assert_int_equal(stats.entries, 1000);
    assert_int_equal(stats.ready_seq, seq);
    assert_int_equal(level_now(&s, 3), 100);
    writing_close(&s);
}

static void readers_are_told_not_ready(void **state) {
    stand s;
    merle_section section;
    merle_doc doc;
    merle_scan scan = {0};
    merle_cursor *cursor;
    uint64_t count;
    size_t got;
    (void)state;
    writing_open_plain(&s);
    put_players(&s, 20);
    for (int i = 0; i < KIND_COUNT; i++) (void)add(&s, all_kinds[i]);
    must(&s, merle_section_begin(s.db, &section));
    merle_range range = {.index = "level"};
    assert_int_equal(merle_range_open(s.players, &range, &cursor), MERLE_NOT_READY);
    assert_null(cursor);
    assert_int_equal(merle_range_count(&section, s.players, &range, &count), MERLE_NOT_READY);
    assert_int_equal(merle_range_nth(&section, s.players, &range, 0, &doc), MERLE_NOT_READY);
    assert_int_equal(merle_range_rank(&section, s.players, &range, KEY("p1"), &count),
                     MERLE_NOT_READY);
    assert_int_equal(merle_range_estimate(s.players, &range, &count), MERLE_NOT_READY);
    assert_int_equal(merle_tag_count(&section, s.players, "tags", merle_value_str("all"), &count),
                     MERLE_NOT_READY);
    assert_int_equal(
        merle_tag_next(&section, s.players, "tags", merle_value_str("all"), &scan, &doc, 1, &got),
        MERLE_NOT_READY);
    assert_int_equal(merle_get_by(&section, s.players, "name", &doc, merle_value_str("n1")),
                     MERLE_NOT_READY);
    merle_commit *commit = begin(&s);
    assert_int_equal(merle_commit_get_unique(commit, s.players, "name",
                                             (merle_value[]){merle_value_str("n1")}, 1, &doc),
                     MERLE_NOT_READY);
    merle_cancel(commit);
    must(&s, merle_section_end(&section));
    writing_close(&s);
}

/* A section below the ready seq never uses the index, one from it on always does. */
static void sections_use_it_from_ready_seq_on(void **state) {
    stand s;
    merle_section before, during, after;
    uint64_t count;
    (void)state;
    writing_open_plain(&s);
    put_players(&s, 50);
    must(&s, merle_section_begin(s.db, &before));
    (void)add(&s, &by_level);
    must(&s, merle_section_begin(s.db, &during));
    put_player(&s, 0, 99);
    build(&s, &by_level);
    assert_int_equal(index_stats(&s, "level").ready_seq, merle_section_seq(&during) + 1);
    must(&s, merle_section_begin(s.db, &after));
    assert_int_equal(count_level(&before, s.players, 0, &count), MERLE_INVALID);
    assert_int_equal(count_level(&during, s.players, 0, &count), MERLE_NOT_READY);
    must(&s, count_level(&after, s.players, 0, &count));
    assert_int_equal(count, 4);
    put_player(&s, 10, 99);
    must(&s, count_level(&after, s.players, 99, &count));
    assert_int_equal(count, 1);
    drop(&s, "level");
    must(&s, count_level(&after, s.players, 0, &count));
    assert_int_equal(count, 4);
    put_player(&s, 20, 98);
    for (int i = 0; i < 20; i++) (void)step_once(&s);
    must(&s, count_level(&after, s.players, 0, &count));
    assert_int_equal(count, 4);
    must(&s, merle_section_end(&before));
    must(&s, merle_section_end(&during));
    must(&s, merle_section_end(&after));
    must(&s, merle_section_begin(s.db, &after));
    assert_int_equal(count_level(&after, s.players, 0, &count), MERLE_INVALID);
    must(&s, merle_section_end(&after));
    stand_settle(&s);
    assert_int_equal(step_once(&s), MERLE_OK);
    writing_close(&s);
}

static void wrong_definitions_are_refused(void **state) {
    stand s;
    (void)state;
    writing_open_plain(&s);
    const merle_index namesake = {.name = "email", .kind = MERLE_ORDERED, .on = "email"};
    const merle_index bad_path = {.name = "bad", .kind = MERLE_ORDERED, .on = "a..b"};
    const merle_index nameless = {.name = "", .kind = MERLE_ORDERED, .on = "a"};
    uint64_t seq = 7;
    assert_int_equal(merle_index_add(s.players, &namesake, &seq), MERLE_EXISTS);
    assert_int_equal(seq, 0);
    assert_string_equal(s.report.index, "email");
    assert_int_equal(merle_index_add(s.players, &bad_path, NULL), MERLE_INVALID);
    assert_int_equal(merle_index_add(s.players, &nameless, NULL), MERLE_INVALID);
    assert_int_equal(merle_index_add(s.players, NULL, NULL), MERLE_INVALID);
    assert_int_equal(merle_index_add(NULL, &by_level, NULL), MERLE_INVALID);
    assert_int_equal(merle_index_drop(s.players, "level", NULL), MERLE_NOT_FOUND);
    assert_int_equal(merle_index_drop(s.players, "", NULL), MERLE_NOT_FOUND);
    assert_int_equal(merle_index_build(s.players, "level"), MERLE_NOT_FOUND);
    must(&s, merle_index_build(s.players, "email"));
    must(&s, merle_collection_drop(s.players, NULL));
    assert_int_equal(merle_index_add(s.players, &by_level, NULL), MERLE_GONE);
    assert_int_equal(merle_index_drop(s.players, "email", NULL), MERLE_GONE);
    assert_int_equal(merle_index_build(s.players, "email"), MERLE_GONE);
    writing_close(&s);
}

/* ---- what a build finds, and what happens meanwhile ---- */

/* Documents change before and behind the walk, in every way. */
static void writes_during_the_walk_are_kept(void **state) {
    stand s;
    (void)state;
    writing_open_plain(&s);
    put_players(&s, 600);
    for (int i = 0; i < KIND_COUNT; i++) (void)add(&s, all_kinds[i]);
    assert_int_equal(step_once(&s), MERLE_BUSY);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 600; i += 7) put_player(&s, i, 20 + round);
        for (int i = 3; i < 600; i += 50) remove_player(&s, i);
        for (int i = 3; i < 600; i += 50) put_player(&s, i, 30 + round);
        for (int i = 0; i < 40; i++) put_player(&s, 1000 + 40 * round + i, 5);
        (void)step_once(&s);
        check(&s);
    }
    for (int i = 0; i < KIND_COUNT; i++) build(&s, all_kinds[i]);
    for (int i = 0; i < KIND_COUNT; i++)
        assert_int_equal(index_stats(&s, all_kinds[i]->name).offenders, 0);
    assert_int_equal(level_now(&s, 22), 86 - 2);
    assert_int_equal(level_now(&s, 32), 12);
    assert_int_equal(tag_now(&s, "all"), 720);
    assert_holder_now(&s, "name", merle_value_str("n1079"), "p1079");
    stand_settle(&s);
    writing_close(&s);
}

/* Values go from slots that the walk has not seen, and come back. */
static void values_given_up_before_the_visit_leave_nothing(void **state) {
    stand s;
    (void)state;
    writing_open_plain(&s);
    put_players(&s, 30);
    for (int i = 0; i < KIND_COUNT; i++) (void)add(&s, all_kinds[i]);
    put_json(&s, "p0", "{\"name\": \"other\", \"level\": 77, \"tags\": [\"new\"]}");
    put_json(&s, "p0", "{}");
    put_player(&s, 0, 0);
    put_json(&s, "p1", "{\"tags\": [\"all\", \"new\"]}");
    put_json(&s, "p1", "{\"tags\": [\"new\"]}");
    remove_player(&s, 2);
    remove_player(&s, 3);
    put_player(&s, 3, 3);
    stand_settle(&s);
    for (int i = 0; i < KIND_COUNT; i++) build(&s, all_kinds[i]);
    assert_int_equal(level_now(&s, 77), 0);
    assert_int_equal(level_now(&s, 0), 3);
    assert_int_equal(tag_now(&s, "all"), 28);
    assert_int_equal(tag_now(&s, "new"), 1);
    assert_holder_now(&s, "name", merle_value_str("n0"), "p0");
    assert_holder_now(&s, "name", merle_value_str("other"), NULL);
    stand_settle(&s);
    assert_int_equal(index_stats(&s, "level").entries, 28);
    writing_close(&s);
}

/* A commit that was prepared before the definition keeps the index, too. */
static void open_commit_adopts_the_definition(void **state) {
    stand s;
    merle_doc doc;
    (void)state;
    writing_open_plain(&s);
    put_players(&s, 5);
    merle_commit *commit = begin(&s), *bad = begin(&s), *reader = begin(&s);
    put_in(&s, commit, "p9", "{\"level\": 55, \"name\": \"nine\"}");
    must(&s, merle_patch(commit, s.players, KEY("p1"), MERLE_SET_INT("level", 55)));
    must(&s, merle_commit_get(commit, s.players, KEY("p2"), &doc));
    put_in(&s, bad, "p8", "{\"level\": []}");
    must(&s, merle_commit_get(reader, s.players, KEY("p3"), &doc));
    put_in(&s, reader, "p3", "{\"level\": 56}");
    (void)add(&s, &by_level);
    (void)end(&s, commit);
    end_refused(&s, bad, MERLE_TYPE);
    build(&s, &by_level);
    (void)end(&s, reader);
    assert_int_equal(level_now(&s, 55), 2);
    assert_int_equal(level_now(&s, 56), 1);
    writing_close(&s);
}

/* What was read by an index that is dropped before the commit ends cannot be checked. */
static void read_by_a_dropped_index_is_a_conflict(void **state) {
    stand s;
    merle_doc doc;
    (void)state;
    writing_open_plain(&s);
    put_json(&s, "a", "{\"email\": \"x\"}");
    merle_commit *commit = begin(&s), *only_reads = begin(&s);
    merle_value x = EMAIL("x");
    must(&s, merle_commit_get_unique(commit, s.players, "email", &x, 1, &doc));
    put_in(&s, commit, "b", "{}");
    must(&s, merle_commit_get_unique(only_reads, s.players, "email", &x, 1, &doc));
    drop(&s, "email");
    assert_int_equal(merle_end(commit, NULL), MERLE_CONFLICT);
    assert_int_equal(merle_end(only_reads, NULL), MERLE_CONFLICT);
    writing_close(&s);
}

/* ---- offenders ---- */

static size_t offenders_of(const stand *s, const char *name, merle_buffer *keys,
                           merle_offender *out, size_t max) {
    size_t count = 0;
    must(s, merle_index_offenders(s->players, name, keys, out, max, &count));
    return count;
}

static void assert_bytes(merle_bytes bytes, const char *text) {
    assert_int_equal(bytes.size, strlen(text));
    if (bytes.size != 0) assert_memory_equal(bytes.data, text, bytes.size);
}

static void doubled_value_fails_and_is_listed(void **state) {
    stand s;
    merle_offender offenders[8];
    merle_buffer keys = {0};
    (void)state;
    writing_open_plain(&s);
    put_players(&s, 10);
    put_json(&s, "twin", "{\"name\": \"n4\"}");
    (void)add(&s, &by_name);
    put_json(&s, "third", "{\"name\": \"n4\"}");
    assert_int_equal(merle_index_build(s.players, "name"), MERLE_EXISTS);
    assert_string_equal(s.report.index, "name");
    merle_stats_index stats = index_stats(&s, "name");
    assert_int_equal(stats.state, MERLE_INDEX_FAILED);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.offenders, 2);
    assert_int_equal(offenders_of(&s, "name", &keys, offenders, 8), 2);
    for (int i = 0; i < 2; i++) assert_int_equal(offenders[i].why, MERLE_EXISTS);
    /* Those that were met as the second one. */
    assert_bytes(offenders[0].key, "p4");
    assert_bytes(offenders[1].key, "twin");
    assert_in_set(offenders[1].other_key.size, ((const uintmax_t[]){2, 5}), 2);
    assert_int_equal(offenders_of(&s, "name", &keys, offenders, 1), 1);
    /* A failed index refuses nothing and is not kept. */
    put_json(&s, "fourth", "{\"name\": \"n4\"}");
    put_json(&s, "fifth", "{\"name\": [1]}");
    check(&s);
    stand_settle(&s);
    assert_int_equal(merle_index_build(s.players, "name"), MERLE_EXISTS);
    drop(&s, "name");
    assert_int_equal(merle_index_stats(s.players, "name", &stats), MERLE_NOT_FOUND);
    for (int i = 0; i < 4; i++)
        (void)remove_key(&s, ((const char *[]){"twin", "third", "fourth", "fifth"})[i]);
    (void)add(&s, &by_name);
    build(&s, &by_name);
    assert_int_equal(one_json(&s, "twin", "{\"name\": \"n4\"}"), MERLE_EXISTS);
    assert_holder_now(&s, "name", merle_value_str("n4"), "p4");
    merle_buffer_free(&keys);
    writing_close(&s);
}

static void value_that_cannot_be_held_fails(void **state) {
    stand s;
    merle_offender offenders[8];
    merle_buffer keys = {0};
    (void)state;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        writing_open_plain(&s);
        put_players(&s, 10);
        put_json(&s, "bad", "{\"name\": {}, \"level\": [1], \"tags\": [1, [2], {}]}");
        (void)add(&s, all_kinds[kind]);
        /* New ones are refused at once. */
        assert_int_equal(one_json(&s, "bad", "{\"name\": {}, \"level\": [1], \"tags\": [{}]}"),
                         MERLE_TYPE);
        assert_int_equal(merle_index_build(s.players, all_kinds[kind]->name), MERLE_TYPE);
        assert_int_equal(offenders_of(&s, all_kinds[kind]->name, &keys, offenders, 8), 1);
        assert_bytes(offenders[0].key, "bad");
        assert_int_equal(offenders[0].why, MERLE_TYPE);
        put_json(&s, "bad", "{\"tags\": [1, 2]}");
        drop(&s, all_kinds[kind]->name);
        (void)add(&s, all_kinds[kind]);
        build(&s, all_kinds[kind]);
        writing_close(&s);
    }
    merle_buffer_free(&keys);
}

/* A document with more tags than one may have has none for the index, until it is made to fit. */
static void too_many_tags_count_as_none(void **state) {
    stand s;
    static char json[16 << 10];
    size_t used = 0;
    (void)state;
    writing_open_plain(&s);
    used += (size_t)snprintf(json, sizeof json, "{\"tags\": [");
    for (int i = 0; i < 1500; i++)
        used += (size_t)snprintf(json + used, sizeof json - used, "%s%d", i == 0 ? "" : ", ", i);
    (void)snprintf(json + used, sizeof json - used, "]}");
    put_json(&s, "many", json);
    put_json(&s, "more", json);
    put_players(&s, 300);
    (void)add(&s, &by_tag);
    put_json(&s, "many", "{\"tags\": [3, 4, \"all\"]}");
    assert_int_equal(merle_index_build(s.players, "tags"), MERLE_TOO_BIG);
    drop(&s, "tags");
    (void)add(&s, &by_tag);
    assert_int_equal(step_once(&s), MERLE_BUSY);
    assert_int_equal(index_stats(&s, "tags").offenders, 1);
    put_json(&s, "more", "{\"tags\": [4, \"all\"]}");
    build(&s, &by_tag);
    assert_int_equal(tag_now(&s, "all"), 302);
    writing_close(&s);
}

/* One that cannot be held whole, and was met by the walk, is in the index with all that it has once
 * it was made to fit: what the two versions share, too. */
static void elements_beside_one_that_cannot_be_held_are_listed(void **state) {
    stand s;
    static const merle_index *const kinds[] = {&by_tag, &by_each};
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        writing_open_plain(&s);
        put_json(&s, "bad", "{\"tags\": [1, \"all\", {}]}");
        put_players(&s, 300);
        (void)add(&s, kinds[kind]);
        assert_int_equal(step_once(&s), MERLE_BUSY);
        assert_int_equal(index_stats(&s, kinds[kind]->name).offenders, 1);
        put_json(&s, "bad", "{\"tags\": [1, \"all\", \"new\"]}");
        build(&s, kinds[kind]);
        if (kind == 0) assert_int_equal(tag_now(&s, "all"), 301);
        must(&s, merle_check(s.db, &s.report));
        put_json(&s, "bad", "{\"tags\": [\"new\"]}");
        if (kind == 0) assert_int_equal(tag_now(&s, "all"), 300);
        writing_close(&s);
    }
}

/* Suspects that are cleared before the end do no harm: also pairs in which the first one noted has
 * gone, and another one stands. */
static void only_what_stands_at_the_end_counts(void **state) {
    stand s;
    (void)state;
    writing_open_plain(&s);
    put_players(&s, 300);
    (void)add(&s, &by_name);
    put_json(&s, "a", "{\"name\": \"n5\"}");
    put_json(&s, "b", "{\"name\": \"x\"}");
    put_json(&s, "c", "{\"name\": \"x\"}");
    put_json(&s, "d", "{\"name\": \"x\"}");
    assert_int_equal(step_once(&s), MERLE_BUSY);
    assert_in_range(index_stats(&s, "name").offenders, 2, 3);
    (void)remove_key(&s, "a");
    (void)remove_key(&s, "b");
    (void)remove_key(&s, "c");
    put_json(&s, "d", "{\"name\": \"y\"}");
    build(&s, &by_name);
    drop(&s, "name");
    put_json(&s, "b", "{\"name\": \"x\"}");
    (void)add(&s, &by_name);
    put_json(&s, "c", "{\"name\": \"x\"}");
    put_json(&s, "d", "{\"name\": \"x\"}");
    (void)remove_key(&s, "b");
    assert_int_equal(merle_index_build(s.players, "name"), MERLE_EXISTS);
    writing_close(&s);
}

/* More suspects than are noted; none, or only one pair that was not noted, stands at the end. */
static void lost_notes_make_the_walk_begin_again(void **state) {
    stand s;
    char key[16];
    (void)state;
    for (int stands = 0; stands < 2; stands++) {
        writing_open_plain(&s);
        put_players(&s, 1300);
        (void)add(&s, &by_name);
        for (int i = 0; i < 1200; i++) {
            snprintf(key, sizeof key, "q%d", i);
            put_json(&s, key, "{\"name\": \"same\"}");
        }
        put_json(&s, "left", "{\"name\": \"late\"}");
        put_json(&s, "right", "{\"name\": \"late\"}");
        for (int i = 0; i < 1200; i++) {
            snprintf(key, sizeof key, "q%d", i);
            (void)remove_key(&s, key);
        }
        if (!stands) (void)remove_key(&s, "left");
        merle_err err = merle_index_build(s.players, "name");
        assert_int_equal(err, stands ? MERLE_EXISTS : MERLE_OK);
        writing_close(&s);
    }
}

static void more_offenders_than_are_kept_are_counted(void **state) {
    stand s;
    merle_offender offenders[100];
    merle_buffer keys = {0};
    char key[16];
    (void)state;
    writing_open_plain(&s);
    for (int i = 0; i < 400; i++) {
        snprintf(key, sizeof key, "q%d", i);
        put_json(&s, key, "{\"name\": \"same\"}");
    }
    (void)add(&s, &by_name);
    assert_int_equal(merle_index_build(s.players, "name"), MERLE_EXISTS);
    assert_in_range(index_stats(&s, "name").offenders, 399, 400);
    assert_int_equal(offenders_of(&s, "name", &keys, offenders, 100), 64);
    merle_buffer_free(&keys);
    writing_close(&s);
}

/* ---- dropping ---- */

static void drop_in_every_state(void **state) {
    stand s;
    (void)state;
    writing_open_plain(&s);
    put_players(&s, 500);
    put_json(&s, "bad", "{\"level\": [], \"name\": \"n1\", \"tags\": [[]]}");
    uint64_t tables = stats_of(&s).bytes_tables;
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < KIND_COUNT; i++) {
            (void)add(&s, all_kinds[i]);
            if (round == 1) (void)step_once(&s);
            if (round == 2)
                assert_int_not_equal(MERLE_OK, merle_index_build(s.players, all_kinds[i]->name));
            drop(&s, all_kinds[i]->name);
            check(&s);
        }
    put_json(&s, "bad", "{\"level\": [], \"tags\": [[]]}");
    stand_settle(&s);
    assert_int_equal(step_once(&s), MERLE_OK);
    assert_in_range(stats_of(&s).bytes_tables, 0, tables + tables / 8);
    writing_close(&s);
}

/* Numbers are given again, but not while somebody may use what had them. */
static void numbers_are_given_again(void **state) {
    stand s;
    merle_section section;
    char name[16];
    int added = 0;
    merle_err err = MERLE_OK;
    (void)state;
    writing_open_plain(&s);
    put_players(&s, 10);
    for (int round = 0; round < 100; round++) {
        (void)add(&s, all_kinds[round % KIND_COUNT]);
        build(&s, all_kinds[round % KIND_COUNT]);
        drop(&s, all_kinds[round % KIND_COUNT]->name);
        stand_settle(&s);
    }
    must(&s, merle_section_begin(s.db, &section));
    for (; added < 100 && err == MERLE_OK; added++) {
        snprintf(name, sizeof name, "i%d", added);
        merle_index index = {.name = name, .kind = MERLE_ORDERED, .on = "level"};
        err = merle_index_add(s.players, &index, NULL);
        if (err == MERLE_OK) drop(&s, name);
    }
    assert_int_equal(err, MERLE_TOO_BIG);
    assert_int_equal(added, MERLE_INDEX_COUNT_MAX);
    must(&s, merle_section_end(&section));
    stand_settle(&s);
    (void)add(&s, &by_level);
    build(&s, &by_level);
    assert_int_equal(level_now(&s, 1), 1);
    writing_close(&s);
}

/* A cursor belongs to the index that it was opened over, not to a namesake. */
static void cursor_over_a_dropped_index_is_gone(void **state) {
    const merle_index namesake = {.name = "level", .kind = MERLE_ORDERED, .on = "-name"};
    stand s;
    merle_section section;
    merle_cursor *cursor;
    merle_doc doc;
    size_t count;
    (void)state;
    writing_open_plain(&s);
    put_players(&s, 10);
    (void)add(&s, &by_level);
    build(&s, &by_level);
    merle_range range = {.index = "level"};
    must(&s, merle_range_open(s.players, &range, &cursor));
    drop(&s, "level");
    (void)add(&s, &namesake);
    must(&s, merle_section_begin(s.db, &section));
    assert_int_equal(merle_cursor_next(&section, cursor, &doc, 1, &count), MERLE_NOT_READY);
    must(&s, merle_section_end(&section));
    build(&s, &namesake);
    must(&s, merle_section_begin(s.db, &section));
    assert_int_equal(merle_cursor_next(&section, cursor, &doc, 1, &count), MERLE_GONE);
    must(&s, merle_section_end(&section));
    merle_cursor_close(cursor);
    writing_close(&s);
}

/* ---- the collection as a whole ---- */

static void truncate_makes_everything_ready(void **state) {
    stand s;
    (void)state;
    writing_open_plain(&s);
    put_players(&s, 500);
    put_json(&s, "twin", "{\"name\": \"n1\"}");
    (void)add(&s, &by_name);
    assert_int_equal(merle_index_build(s.players, "name"), MERLE_EXISTS);
    (void)add(&s, &by_level);
    (void)step_once(&s);
    must(&s, merle_collection_truncate(s.players, NULL));
    assert_int_equal(index_stats(&s, "name").state, MERLE_INDEX_READY);
    assert_int_equal(index_stats(&s, "level").state, MERLE_INDEX_READY);
    put_players(&s, 20);
    assert_int_equal(level_now(&s, 1), 2);
    assert_int_equal(one_json(&s, "twin", "{\"name\": \"n1\"}"), MERLE_EXISTS);
    stand_settle(&s);
    assert_int_equal(step_once(&s), MERLE_OK);
    writing_close(&s);
}

static void drop_of_the_collection_ends_the_build(void **state) {
    stand s;
    (void)state;
    writing_open_plain(&s);
    put_players(&s, 500);
    (void)add(&s, &by_level);
    (void)step_once(&s);
    must(&s, merle_collection_drop(s.players, NULL));
    assert_int_equal(merle_index_build(s.players, "level"), MERLE_GONE);
    stand_settle(&s);
    assert_int_equal(step_once(&s), MERLE_OK);
    writing_close(&s);
}

static void close_in_every_state(void **state) {
    (void)state;
    for (int steps = 0; steps < 4; steps++) {
        stand s;
        writing_open_plain(&s);
        put_players(&s, 500);
        put_json(&s, "twin", "{\"name\": \"n1\"}");
        for (int i = 0; i < KIND_COUNT; i++) (void)add(&s, all_kinds[i]);
        for (int i = 0; i < 4 * steps; i++) (void)step_once(&s);
        if (steps == 3) drop(&s, "tags");
        writing_close(&s);
    }
}

static void empty_collection_is_ready_after_a_step(void **state) {
    stand s;
    (void)state;
    writing_open_plain(&s);
    (void)add(&s, &by_level);
    (void)step_once(&s);
    assert_int_equal(index_stats(&s, "level").state, MERLE_INDEX_READY);
    writing_close(&s);
}

/* ---- the log, and opening ---- */

static void definitions_are_changes(void **state) {
    stand s;
    merle_changes *changes;
    merle_change change;
    merle_buffer json = {0};
    size_t count;
    (void)state;
    writing_open_plain(&s);
    merle_changes_options options = {.after_seq = UINT64_MAX};
    must(&s, merle_changes_open(s.db, &options, &changes));
    uint64_t added = add(&s, &by_level), dropped;
    build(&s, &by_level);
    must(&s, merle_index_drop(s.players, "email", &dropped));
    assert_int_equal(dropped, added + 1);
    must(&s, merle_changes_next(changes, &change, 1, &count));
    assert_int_equal(count, 1);
    assert_int_equal(change.kind, MERLE_CHANGE_DEFINE);
    assert_int_equal(change.seq, added);
    must(&s, merle_json_write(change.effect, MERLE_JSON_COMPACT, &json));
    assert_non_null(memmem(json.data, json.size, "\"level\"", strlen("\"level\"")));
    assert_non_null(memmem(json.data, json.size, "\"email\"", strlen("\"email\"")));
    must(&s, merle_changes_next(changes, &change, 1, &count));
    assert_int_equal(change.seq, dropped);
    json.size = 0;
    must(&s, merle_json_write(change.effect, MERLE_JSON_COMPACT, &json));
    assert_non_null(memmem(json.data, json.size, "\"level\"", strlen("\"level\"")));
    assert_null(memmem(json.data, json.size, "\"email\"", strlen("\"email\"")));
    merle_changes_close(changes);
    merle_buffer_free(&json);
    writing_close(&s);
}

static void opening_asks_for_the_indexes_of_now(void **state) {
    const merle_index now[] = {by_tag, by_level, {0}};
    const merle_schema schema = {.version = 1, .indexes = now};
    merle_collection *again;
    stand s;
    (void)state;
    writing_open_plain(&s);
    (void)add(&s, &by_level);
    drop(&s, "email");
    (void)add(&s, &by_tag);
    must(&s, merle_collection_open(s.db, "players", &schema, &again));
    assert_ptr_equal(again, s.players);
    assert_int_equal(merle_collection_open(s.db, "players", &players_schema, &again),
                     MERLE_DIFFERS);
    writing_close(&s);
}

/* ---- merle_check ---- */

static void entries_too_many_in_a_build_are_found(void **state) {
    stand s;
    uint8_t value[9] = {0x30};
    int added;
    (void)state;
    writing_open_plain(&s);
    put_players(&s, 5);
    (void)add(&s, &by_level);
    mrl_root *root = mrl_collection_current(s.players);
    uint32_t number = mrl_schema_find_index(mrl_root_schema_now(root), "level")->number;
    mrl_member *member = mrl_member_join(s.db->domain);
    for (int i = 0; i < 6; i++) {
        check(&s);
        value[8] = (uint8_t)i;
        mrl_epoch_token token;
        mrl_member_enter(member, &token);
        must(&s, mrl_ordered_add(root->indexes[number].ordered, member,
                                 merle_bytes_of(value, sizeof value), 0, &added));
        mrl_member_leave(member, &token);
    }
    assert_int_equal(merle_check(s.db, &s.report), MERLE_CORRUPT);
    assert_string_equal(s.report.index, "level");
    stand_close(&s);
}

/* ---- memory ---- */

static uint64_t build_with(void *context, uint64_t grants) {
    const merle_index *index = context;
    supply memory;
    stand s;
    supply_init(&memory);
    const mrl_environment environment = {.refusal = &memory.refusal};
    writing_open(&s, &players_schema, (merle_options){0}, &environment);
    put_players(&s, 60);
    supply_only(&memory, grants);
    merle_err err = merle_index_add(s.players, index, NULL);
    if (err == MERLE_OK) err = merle_index_build(s.players, index->name);
    uint64_t refused = supply_all(&memory);
    if (refused > 0) assert_in_set(err, ((const uintmax_t[]){MERLE_OK, MERLE_NO_MEMORY}), 2);
    must(&s, merle_check(s.db, &s.report));
    merle_stats_index stats = {0};
    if (merle_index_stats(s.players, index->name, &stats) == MERLE_NOT_FOUND)
        must(&s, merle_index_add(s.players, index, NULL));
    must(&s, merle_index_build(s.players, index->name));
    writing_close(&s);
    return refused;
}

static void build_without_memory_goes_on_later(void **state) {
    (void)state;
    for (int i = 0; i < KIND_COUNT; i++)
        refuse_in_turn(build_with, (void *)(uintptr_t)all_kinds[i], 5);
}

static void failing_without_memory_fails_later(void **state) {
    (void)state;
    for (uint64_t grants = 0;; grants++) {
        supply memory;
        stand s;
        supply_init(&memory);
        const mrl_environment environment = {.refusal = &memory.refusal};
        writing_open(&s, &players_schema, (merle_options){0}, &environment);
        put_players(&s, 30);
        put_json(&s, "twin", "{\"name\": \"n1\"}");
        (void)add(&s, &by_name);
        supply_only(&memory, grants);
        merle_err err = merle_index_build(s.players, "name");
        uint64_t refused = supply_all(&memory);
        if (refused > 0)
            assert_in_set(err, ((const uintmax_t[]){MERLE_EXISTS, MERLE_NO_MEMORY}), 2);
        assert_int_equal(merle_index_build(s.players, "name"), MERLE_EXISTS);
        writing_close(&s);
        if (refused == 0) break;
    }
}

/* At the limit a build waits, and says so by its progress. */
static void build_at_the_limit_waits(void **state) {
    stand s;
    merle_err err = MERLE_OK;
    (void)state;
    writing_open(&s, &players_schema, (merle_options){.memory_max = 8 << 20}, NULL);
    int count = 0;
    for (; count < 200000 && err == MERLE_OK; count++) {
        char key[16], json[300];
        snprintf(key, sizeof key, "p%d", count);
        snprintf(json, sizeof json, "{\"name\": \"%0200d\", \"level\": %d}", count, count);
        err = one_json(&s, key, json);
    }
    assert_int_equal(err, MERLE_NO_MEMORY);
    for (int i = 0; i < 512; i++) remove_player(&s, i);
    stand_settle(&s);
    must(&s, merle_index_add(s.players, &by_name, NULL));
    assert_int_equal(merle_index_build(s.players, "name"), MERLE_NO_MEMORY);
    assert_int_equal(step_once(&s), MERLE_BUSY);
    assert_int_equal(index_stats(&s, "name").state, MERLE_INDEX_BUILDING);
    for (int i = 512; i < count - 1; i += 2) {
        remove_player(&s, i);
        if (i % 256 == 0) stand_settle(&s);
    }
    stand_settle(&s);
    build(&s, &by_name);
    writing_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_added_is_built_step_by_step),
        cmocka_unit_test(readers_are_told_not_ready),
        cmocka_unit_test(sections_use_it_from_ready_seq_on),
        cmocka_unit_test(wrong_definitions_are_refused),
        cmocka_unit_test(writes_during_the_walk_are_kept),
        cmocka_unit_test(values_given_up_before_the_visit_leave_nothing),
        cmocka_unit_test(open_commit_adopts_the_definition),
        cmocka_unit_test(read_by_a_dropped_index_is_a_conflict),
        cmocka_unit_test(doubled_value_fails_and_is_listed),
        cmocka_unit_test(value_that_cannot_be_held_fails),
        cmocka_unit_test(too_many_tags_count_as_none),
        cmocka_unit_test(elements_beside_one_that_cannot_be_held_are_listed),
        cmocka_unit_test(only_what_stands_at_the_end_counts),
        cmocka_unit_test(lost_notes_make_the_walk_begin_again),
        cmocka_unit_test(more_offenders_than_are_kept_are_counted),
        cmocka_unit_test(drop_in_every_state),
        cmocka_unit_test(numbers_are_given_again),
        cmocka_unit_test(cursor_over_a_dropped_index_is_gone),
        cmocka_unit_test(truncate_makes_everything_ready),
        cmocka_unit_test(drop_of_the_collection_ends_the_build),
        cmocka_unit_test(close_in_every_state),
        cmocka_unit_test(empty_collection_is_ready_after_a_step),
        cmocka_unit_test(definitions_are_changes),
        cmocka_unit_test(opening_asks_for_the_indexes_of_now),
        cmocka_unit_test(entries_too_many_in_a_build_are_found),
        cmocka_unit_test(build_without_memory_goes_on_later),
        cmocka_unit_test(failing_without_memory_fails_later),
        cmocka_unit_test(build_at_the_limit_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
