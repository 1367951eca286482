/* tests/unit/store/extract_build_test.c - indexes by a function that come while a collection is in
 * use, and go.
 *
 * Aim     Documents from before such an index get its values without becoming another state: no
 *         section, commit or follower notices; what the function refuses makes the build fail and
 *         is listed; values of a former index are nobody else's; a commit finds its own documents
 *         by an index that was dropped, or became ready, since it began.
 * Method  One thread, a few documents, step by step; memory and room refused; merle_check at the
 *         end of each case compares index and documents.
 * Blind   Two threads at once: model/build_test.c, stress/build_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "listing.h"
#include "scarce.h"

#include "base/buffer.h"
#include "load/load.h"

static unsigned calls;

/* {"n": name, "l": level}: the level, turned round; none for who has none; an error for "wrong". */
static merle_err turned(void *context, merle_bytes key, merle_doc doc, merle_value *out_values,
                        size_t value_max, size_t *out_count) {
    const int64_t *times = context;
    (void)key;
    assert_int_equal(value_max, 1);
    calls++;
    if (merle_doc_has(doc, "wrong")) return MERLE_RULE;
    if (!merle_doc_has(doc, "l")) return MERLE_OK;
    out_values[0] = merle_value_int((times == NULL ? -1 : *times) * merle_doc_int(doc, "l", 0));
    *out_count = 1;
    return MERLE_OK;
}

static const merle_index by_turn = {"turn", MERLE_ORDERED, "turned", .extract = turned};
static const merle_index by_turn_once = {"once", MERLE_UNIQUE, "turned", .extract = turned};
static const merle_index by_both = {"both", MERLE_UNIQUE_ORDERED, "turned", .extract = turned};

static void open_plain(stand *s) {
    static const merle_index none[] = {{0}};
    open_with(s, none);
    put_json(s, "a", "{\"n\":\"a\",\"l\":3}");
    put_json(s, "b", "{\"n\":\"b\",\"l\":1}");
    put_json(s, "c", "{\"n\":\"c\"}");
    put_json(s, "d", "{\"n\":\"d\",\"l\":2}");
    calls = 0;
}

/* More than a step of a build looks at. */
static void put_many(const stand *s) {
    for (int i = 0; i < 600; i++) {
        char key[16];
        snprintf(key, sizeof key, "z%d", i);
        put_json(s, key, "{}");
    }
}

static void add(const stand *s, const merle_index *index) {
    must(s, merle_index_add(s->players, index, NULL));
}

static void build(const stand *s, const merle_index *index) {
    must(s, merle_index_build(s->players, index->name));
}

static const mrl_version *version_of(const stand *s, const char *key) {
    const mrl_root *root = mrl_collection_current(s->players);
    return mrl_root_find(root, mrl_root_hash(root, merle_str(key)), merle_str(key));
}

/* The documents of an index that was dropped: over it no cursor can be opened any more. */
static const char *keys_by_number(merle_section *section, const stand *s, const char *index) {
    static char keys[16];
    merle_range range = all_of(index);
    merle_doc doc;
    uint64_t count, rank;
    must(s, merle_range_count(section, s->players, &range, &count));
    assert_in_range(count, 0, sizeof keys - 1);
    for (uint64_t i = 0; i < count; i++) {
        must(s, merle_range_nth(section, s->players, &range, i, &doc));
        must(s, merle_range_rank(section, s->players, &range, merle_doc_key(doc), &rank));
        assert_int_equal(rank, i);
        keys[i] = *(const char *)merle_doc_key(doc).data;
    }
    keys[count] = 0;
    return keys;
}

/* ---- building ---- */

static void documents_from_before_get_their_values(void **state) {
    static const merle_index *const kinds[] = {&by_turn, &by_both};
    (void)state;
    for (int i = 0; i < 2; i++) {
        stand s;
        open_plain(&s);
        add(&s, kinds[i]);
        build(&s, kinds[i]);
        assert_int_equal(calls, 4);
        assert_keys(&s, all_of(kinds[i]->name), "adb");
        must(&s, merle_check(s.db, &s.report));
        put_json(&s, "e", "{\"n\":\"e\",\"l\":9}");
        must(&s, merle_one_patch(s.players, KEY("a"), NULL, NULL, MERLE_SET_INT("l", 0)));
        assert_keys(&s, all_of(kinds[i]->name), "edba");
        stand_settle(&s);
        assert_int_equal(stats_of(&s).versions_retired, stats_of(&s).versions_freed);
        writing_close(&s);
    }
}

static void unique_values_are_refused_when_it_is_ready(void **state) {
    (void)state;
    stand s;
    open_plain(&s);
    add(&s, &by_turn_once);
    build(&s, &by_turn_once);
    assert_int_equal(one_json(&s, "e", "{\"n\":\"e\",\"l\":3}"), MERLE_EXISTS);
    assert_holder_now(&s, "once", merle_value_int(-2), "d");
    must(&s, merle_one_patch(s.players, KEY("a"), NULL, NULL, MERLE_SET_INT("l", 5)));
    put_json(&s, "e", "{\"n\":\"e\",\"l\":3}");
    stand_settle(&s);
    assert_holder_now(&s, "once", merle_value_int(-3), "e");
    assert_holder_now(&s, "once", merle_value_int(-5), "a");
    writing_close(&s);
}

static void writes_between_definition_and_visit_make_their_values(void **state) {
    (void)state;
    stand s;
    open_plain(&s);
    add(&s, &by_turn);
    must(&s, merle_one_patch(s.players, KEY("a"), NULL, NULL, MERLE_SET_INT("l", 1)));
    put_json(&s, "b", "{\"n\":\"b\",\"l\":7}");
    assert_int_equal(one_json(&s, "e", "{\"wrong\":1}"), MERLE_RULE);
    must(&s, merle_one_remove(s.players, KEY("d"), NULL));
    must(&s, merle_check(s.db, &s.report));
    build(&s, &by_turn);
    assert_keys(&s, all_of("turn"), "ba");
    writing_close(&s);
}

static void sections_and_cursors_notice_nothing(void **state) {
    (void)state;
    stand s;
    merle_section old;
    merle_doc before, after;
    open_plain(&s);
    must(&s, merle_section_begin(s.db, &old));
    must(&s, merle_get(&old, s.players, KEY("a"), &before));
    must(&s, merle_one_patch(s.players, KEY("b"), NULL, NULL, MERLE_SET_INT("l", 8)));
    uint64_t seq = stats_of(&s).seq;
    add(&s, &by_turn);
    build(&s, &by_turn);
    stand_settle(&s);
    /* The definition is the only commit. */
    assert_int_equal(stats_of(&s).seq, seq + 1);
    assert_is_doc(merle_bytes_of(before.data, before.size), "{\"n\":\"a\",\"l\":3}");
    must(&s, merle_get(&old, s.players, KEY("a"), &after));
    assert_int_equal(after.seq, before.seq);
    assert_sees(&old, s.players, "b", "{\"n\":\"b\",\"l\":1}");
    must(&s, merle_check(s.db, &s.report));
    must(&s, merle_section_end(&old));
    stand_settle(&s);
    assert_keys(&s, all_of("turn"), "bad");
    writing_close(&s);
}

/* ---- commits that are open meanwhile ---- */

static void reads_of_a_commit_still_hold(void **state) {
    (void)state;
    stand s;
    merle_doc doc;
    open_plain(&s);
    add(&s, &by_both);
    merle_commit *commit = begin(&s);
    must(&s, merle_commit_get(commit, s.players, KEY("a"), &doc));
    must(&s, merle_patch(commit, s.players, KEY("b"), MERLE_INC("l", 10)));
    must(&s, merle_commit_get(commit, s.players, KEY("b"), &doc));
    put_in(&s, commit, "e", "{\"n\":\"e\",\"l\":20}");
    build(&s, &by_both);
    (void)end(&s, commit);
    assert_keys(&s, all_of("both"), "ebad");
    commit = begin(&s);
    must(&s, merle_commit_get(commit, s.players, KEY("a"), &doc));
    must(&s, merle_one_patch(s.players, KEY("a"), NULL, NULL, MERLE_INC("l", 1)));
    put_in(&s, commit, "e", "{\"n\":\"e\",\"l\":20}");
    end_refused(&s, commit, MERLE_CONFLICT);
    writing_close(&s);
}

/* A value that was read by an older unique index: the same document, at another address. */
static void value_that_was_read_still_holds(void **state) {
    static const merle_index names[] = {{"name", MERLE_UNIQUE, "n"}, {0}};
    (void)state;
    stand s;
    merle_doc doc;
    open_with(&s, names);
    put_json(&s, "a", "{\"n\":\"a\",\"l\":3}");
    add(&s, &by_turn);
    merle_commit *commit = begin(&s);
    merle_value name = merle_value_str("a");
    must(&s, merle_commit_get_unique(commit, s.players, "name", &name, 1, &doc));
    put_in(&s, commit, "e", "{\"n\":\"e\",\"l\":20}");
    build(&s, &by_turn);
    (void)end(&s, commit);
    stand_settle(&s);
    assert_holder_now(&s, "name", name, "a");
    writing_close(&s);
}

/* The commit's instant is that at which the index became ready, and it has composed its own writes
 * on what was there before the visit. */
static void own_writes_from_before_the_visit_are_counted(void **state) {
    (void)state;
    stand s;
    merle_doc doc;
    open_plain(&s);
    add(&s, &by_turn);
    merle_commit *commit = begin(&s);
    must(&s, merle_patch(commit, s.players, KEY("a"), MERLE_SET_INT("l", 0)));
    must(&s, merle_expect(commit, s.players, KEY("b"), version_of(&s, "b")->seq));
    must(&s, merle_commit_get(commit, s.players, KEY("a"), &doc));
    must(&s, merle_commit_get(commit, s.players, KEY("b"), &doc));
    build(&s, &by_turn);
    assert_string_equal(keys_in(merle_commit_section(commit), &s, all_of("turn")), "dba");
    (void)end(&s, commit);
    assert_keys(&s, all_of("turn"), "dba");
    writing_close(&s);
}

static void own_documents_are_found_by_an_index_that_was_dropped(void **state) {
    static const merle_index *const kinds[] = {&by_turn, &by_both};
    (void)state;
    for (int i = 0; i < 2; i++) {
        stand s;
        open_plain(&s);
        add(&s, kinds[i]);
        build(&s, kinds[i]);
        merle_commit *commit = begin(&s);
        must(&s, merle_index_drop(s.players, kinds[i]->name, NULL));
        put_in(&s, commit, "e", "{\"n\":\"e\",\"l\":9}");
        put_in(&s, commit, "f", "{\"n\":\"f\",\"wrong\":9}");
        must(&s, merle_patch(commit, s.players, KEY("b"), MERLE_SET_INT("l", 7)));
        assert_string_equal(keys_by_number(merle_commit_section(commit), &s, kinds[i]->name),
                            "ebad");
        if (i == 1)
            assert_holder(merle_commit_section(commit), s.players, "both", merle_value_int(-9),
                          "e");
        (void)end(&s, commit);
        stand_settle(&s);
        writing_close(&s);
    }
}

/* ---- what the function refuses ---- */

static void refused_documents_are_listed(void **state) {
    (void)state;
    stand s;
    merle_offender offenders[4];
    merle_buffer keys = {0};
    size_t count;
    open_plain(&s);
    put_json(&s, "x", "{\"n\":\"x\",\"wrong\":1}");
    add(&s, &by_both);
    assert_int_equal(merle_index_build(s.players, "both"), MERLE_RULE);
    assert_string_equal(s.report.key, "x");
    assert_non_null(strstr(s.report.message, "function"));
    must(&s, merle_index_offenders(s.players, "both", &keys, offenders, 4, &count));
    assert_int_equal(count, 1);
    assert_int_equal(offenders[0].why, MERLE_RULE);
    merle_buffer_free(&keys);
    put_json(&s, "y", "{\"wrong\":1}");
    must(&s, merle_index_drop(s.players, "both", NULL));
    must(&s, merle_one_remove(s.players, KEY("x"), NULL));
    must(&s, merle_one_remove(s.players, KEY("y"), NULL));
    stand_settle(&s);
    add(&s, &by_both);
    build(&s, &by_both);
    assert_keys(&s, all_of("both"), "adb");
    writing_close(&s);
}

static void refused_document_that_is_mended_counts_no_more(void **state) {
    (void)state;
    stand s;
    open_plain(&s);
    put_many(&s);
    put_json(&s, "z3", "{\"wrong\":1}");
    add(&s, &by_turn);
    assert_int_equal(merle_step(s.db, 0, 0), MERLE_BUSY);
    put_json(&s, "z3", "{\"n\":\"z\",\"l\":5}");
    build(&s, &by_turn);
    assert_keys(&s, all_of("turn"), "zadb");
    writing_close(&s);
}

/* ---- several ---- */

static void two_builds_at_once_keep_both_values(void **state) {
    static int64_t times = 3;
    const merle_index other = {"other", MERLE_ORDERED, "t", .extract = turned,
                               .extract_context = &times};
    (void)state;
    stand s;
    open_plain(&s);
    put_many(&s);
    add(&s, &by_turn);
    assert_int_equal(merle_step(s.db, 0, 0), MERLE_BUSY);
    add(&s, &other);
    (void)merle_step(s.db, 0, 0);
    must(&s, merle_check(s.db, &s.report));
    build(&s, &other);
    must(&s, merle_check(s.db, &s.report));
    build(&s, &by_turn);
    assert_keys(&s, all_of("turn"), "adb");
    assert_keys(&s, all_of("other"), "bda");
    writing_close(&s);
}

/* Its number is given to another function, and what the first one made is nobody's. */
static void values_of_a_former_index_are_not_taken(void **state) {
    static int64_t times = 3;
    const merle_index other = {"other", MERLE_UNIQUE_ORDERED, "t", .extract = turned,
                               .extract_context = &times};
    (void)state;
    stand s;
    open_plain(&s);
    for (int round = 0; round < 3; round++) {
        const merle_index *index = round == 1 ? &other : &by_turn;
        merle_section old;
        add(&s, index);
        build(&s, index);
        assert_keys(&s, all_of(index->name), round == 1 ? "bda" : "adb");
        must(&s, merle_section_begin(s.db, &old));
        must(&s, merle_index_drop(s.players, index->name, NULL));
        assert_string_equal(keys_by_number(&old, &s, index->name), round == 1 ? "bda" : "adb");
        must(&s, merle_section_end(&old));
        stand_settle(&s);
        must(&s, merle_check(s.db, &s.report));
    }
    /* One head, and no more: what former indexes of the number have left went with them. */
    assert_int_equal(mrl_version_extracted_size(version_of(&s, "c")), 4 + sizeof(mrl_extracted));
    writing_close(&s);
}

/* ---- memory, and room ---- */

static uint64_t build_with(void *context, uint64_t grants) {
    static supply memory;
    static const merle_index none[] = {{0}};
    const merle_schema schema = {.version = 1, .indexes = none};
    const merle_index *index = context;
    supply_init(&memory);
    const mrl_environment environment = {.refusal = &memory.refusal};
    stand s;
    writing_open(&s, &schema, (merle_options){0}, &environment);
    put_json(&s, "a", "{\"n\":\"a\",\"l\":3}");
    put_json(&s, "b", "{\"n\":\"b\",\"l\":1}");
    add(&s, index);
    mrl_refusal_of_thread = &memory.refusal;
    supply_all_but(&memory, grants);
    merle_err err = merle_index_build(s.players, index->name);
    uint64_t refused = supply_all(&memory);
    mrl_refusal_of_thread = NULL;
    if (err != MERLE_OK) {
        assert_int_equal(err, MERLE_NO_MEMORY);
        must(&s, merle_check(s.db, &s.report));
        build(&s, index);
    }
    assert_keys(&s, all_of(index->name), "ab");
    stand_settle(&s);
    writing_close(&s);
    return refused;
}

static void build_without_memory_goes_on_later(void **state) {
    (void)state;
    refuse_in_turn(build_with, (void *)(uintptr_t)&by_turn, 5);
    refuse_in_turn(build_with, (void *)(uintptr_t)&by_both, 5);
}

/* The old copies wait for a section: the build stops at half of what writers may make wait. */
static void build_leaves_room_for_writers(void **state) {
    (void)state;
    stand s;
    merle_section old;
    static const merle_index none[] = {{0}};
    const merle_schema schema = {.version = 1, .indexes = none};
    writing_open(&s, &schema, (merle_options){.retired_max = 1 << 20}, NULL);
    for (int i = 0; i < 4000; i++) {
        char key[16], json[400];
        snprintf(key, sizeof key, "p%d", i);
        snprintf(json, sizeof json, "{\"l\":%d,\"text\":\"%0300d\"}", i, i);
        put_json(&s, key, json);
    }
    must(&s, merle_section_begin(s.db, &old));
    add(&s, &by_turn);
    assert_int_equal(merle_index_build(s.players, "turn"), MERLE_NO_MEMORY);
    assert_non_null(strstr(s.report.message, "retired_max"));
    for (int i = 0; i < 500; i++)
        must(&s, merle_one_patch(s.players, KEY("p1"), NULL, NULL, MERLE_INC("l", 0)));
    must(&s, merle_section_end(&old));
    build(&s, &by_turn);
    writing_close(&s);
}

/* ---- the same, read back from a log ---- */

static int64_t times = 3;
static const merle_index by_three = {"three", MERLE_UNIQUE_ORDERED, "t", .extract = turned,
                                     .extract_context = &times};
static const merle_function functions[] = {
    {"players", "turn", turned, NULL}, {"players", "three", turned, &times}, {0}};

static merle_buffer definition_of(const stand *s) {
    const mrl_schema *schema = mrl_root_schema_now(mrl_collection_current(s->players));
    merle_buffer copy = {0};
    must(s, mrl_buffer_append(&copy, schema->definition.data, schema->definition.size));
    return copy;
}

static void define(stand *s, mrl_load *load, mrl_member *member, merle_buffer *definition) {
    must(s, mrl_load_define(load, member, bytes_of(definition), 1, &s->report));
    merle_buffer_free(definition);
}

static void load_one(stand *s, mrl_load *load, mrl_member *member, uint32_t slot,
                     const char *json) {
    merle_buffer doc = doc_of(json);
    merle_bytes name = merle_doc_str((merle_doc){doc.data, doc.size, 0, NULL}, "n");
    must(s, mrl_load_put(mrl_load_find(load, 1), member, slot, name, bytes_of(&doc), 2 + slot, 0,
                         &s->report));
    merle_buffer_free(&doc);
}

/* Definitions as they stand in a log: none, "turn", "turn" and "three", "three" alone. */
static void definitions_open(stand *s, merle_buffer out[4]) {
    open_plain(s);
    out[0] = definition_of(s);
    add(s, &by_turn);
    out[1] = definition_of(s);
    add(s, &by_three);
    out[2] = definition_of(s);
    must(s, merle_index_drop(s->players, "turn", NULL));
    out[3] = definition_of(s);
}

static void load_begin(stand *s, mrl_load **out_load, mrl_member **out_member) {
    const mrl_load_options options = {.thread_count = 2, .functions = functions};
    merle_options opening = {.threads = MERLE_THREADS_NONE, .report = &s->report};
    memset(s, 0, sizeof *s);
    must(s, mrl_db_open(NULL, &opening, NULL, &s->db));
    *out_member = mrl_member_join(s->db->domain);
    must(s, mrl_load_begin(&s->db->store, *out_member, &options, out_load));
}

static void load_end(stand *s, mrl_load *load, mrl_member *member) {
    must(s, mrl_load_finish(load, member, &s->report));
    mrl_log_start(s->db->log, 9, 1);
    must(s, merle_collection_find(s->db, "players", &s->players));
}

static void documents_that_were_loaded_before_have_their_values(void **state) {
    (void)state;
    stand from, s;
    merle_buffer definitions[4];
    mrl_load *load;
    mrl_member *member;
    definitions_open(&from, definitions);
    load_begin(&s, &load, &member);
    define(&s, load, member, &definitions[0]);
    load_one(&s, load, member, 0, "{\"n\":\"a\",\"l\":3}");
    define(&s, load, member, &definitions[1]);
    load_one(&s, load, member, 1, "{\"n\":\"b\",\"l\":1}");
    define(&s, load, member, &definitions[2]);
    load_one(&s, load, member, 2, "{\"n\":\"d\",\"l\":2}");
    define(&s, load, member, &definitions[3]);
    load_one(&s, load, member, 3, "{\"n\":\"e\",\"l\":5}");
    load_end(&s, load, member);
    assert_keys(&s, all_of("three"), "bdae");
    assert_holder_now(&s, "three", merle_value_int(9), "a");
    must(&s, merle_one_patch(s.players, KEY("a"), NULL, NULL, MERLE_SET_INT("l", 0)));
    assert_keys(&s, all_of("three"), "abde");
    add(&s, &by_turn);
    build(&s, &by_turn);
    assert_keys(&s, all_of("turn"), "edba");
    writing_close(&s);
    writing_close(&from);
}

static void loaded_document_that_is_refused_fails_the_index(void **state) {
    (void)state;
    stand from, s;
    merle_buffer definitions[4];
    mrl_load *load;
    mrl_member *member;
    merle_offender offenders[2];
    merle_buffer keys = {0};
    size_t count;
    definitions_open(&from, definitions);
    load_begin(&s, &load, &member);
    define(&s, load, member, &definitions[0]);
    load_one(&s, load, member, 0, "{\"n\":\"a\",\"l\":3}");
    load_one(&s, load, member, 1, "{\"n\":\"b\",\"wrong\":1}");
    define(&s, load, member, &definitions[2]);
    load_end(&s, load, member);
    must(&s, merle_index_offenders(s.players, "turn", &keys, offenders, 2, &count));
    assert_int_equal(count, 1);
    assert_int_equal(offenders[0].why, MERLE_RULE);
    assert_int_equal(merle_index_build(s.players, "three"), MERLE_RULE);
    merle_buffer_free(&keys);
    merle_buffer_free(&definitions[1]);
    merle_buffer_free(&definitions[3]);
    writing_close(&s);
    writing_close(&from);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_from_before_get_their_values),
        cmocka_unit_test(unique_values_are_refused_when_it_is_ready),
        cmocka_unit_test(writes_between_definition_and_visit_make_their_values),
        cmocka_unit_test(sections_and_cursors_notice_nothing),
        cmocka_unit_test(reads_of_a_commit_still_hold),
        cmocka_unit_test(value_that_was_read_still_holds),
        cmocka_unit_test(own_writes_from_before_the_visit_are_counted),
        cmocka_unit_test(own_documents_are_found_by_an_index_that_was_dropped),
        cmocka_unit_test(refused_documents_are_listed),
        cmocka_unit_test(refused_document_that_is_mended_counts_no_more),
        cmocka_unit_test(two_builds_at_once_keep_both_values),
        cmocka_unit_test(values_of_a_former_index_are_not_taken),
        cmocka_unit_test(build_without_memory_goes_on_later),
        cmocka_unit_test(build_leaves_room_for_writers),
        cmocka_unit_test(documents_that_were_loaded_before_have_their_values),
        cmocka_unit_test(loaded_document_that_is_refused_fails_the_index),
    };
    return cmocka_run_group_tests_name("store/extract_build", tests, NULL, NULL);
}
