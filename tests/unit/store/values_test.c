/* tests/unit/store/values_test.c - unique values: one owner each, always.
 *
 * Aim     A value has one owner; put, patch and remove move it; within one commit values pass
 *         between documents in any order; older sections still find the old holder; numbers that
 *         are equal are one value; what lacks a value is in no index; when nobody sees an old
 *         holder its hint is gone.
 * Method  One thread, no background thread; sections held open over the changes, and ended in
 *         several orders. merle_check goes over the whole store at the end of each test.
 * Blind   Commits that take one value at the same moment: the simulator's and the stress tests'
 *         part.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "writing.h"

static void put_over_moves_the_value(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    (void)put_json(&s, "a", "{\"email\":\"x\"}");
    merle_section old;
    must(&s, merle_section_begin(s.db, &old));
    (void)put_json(&s, "a", "{\"email\":\"y\"}");
    assert_holder_now(&s, "email", EMAIL("x"), NULL);
    assert_holder_now(&s, "email", EMAIL("y"), "a");
    (void)put_json(&s, "b", "{\"email\":\"x\"}");
    assert_holder_now(&s, "email", EMAIL("x"), "b");
    assert_holder(&old, s.players, "email", EMAIL("x"), "a");
    assert_holder(&old, s.players, "email", EMAIL("y"), NULL);
    must(&s, merle_section_end(&old));
    stand_settle(&s);
    assert_int_equal(hints_of(&s, "email"), 2);
    writing_close(&s);
}

static void value_taken_is_refused_with_a_report(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    (void)put_json(&s, "a", "{\"email\":\"x\"}");
    merle_commit *commit = begin(&s);
    put_in(&s, commit, "c", "{\"email\":\"z\"}");
    put_in(&s, commit, "b", "{\"email\":\"x\"}");
    end_refused(&s, commit, MERLE_EXISTS);
    assert_told(&s, MERLE_EXISTS, 1, "b", "email");
    assert_string_equal(s.report.found, "a");
    assert_int_not_equal(s.report.expected[0], 0);
    commit = begin(&s);
    put_in(&s, commit, "c", "{\"email\":\"z\"}");
    (void)end(&s, commit);
    commit = begin(&s);
    must(&s, merle_patch(commit, s.players, KEY("c"), MERLE_SET_STR("email", "x")));
    end_refused(&s, commit, MERLE_EXISTS);
    assert_told(&s, MERLE_EXISTS, 0, "c", "email");
    assert_int_equal(hints_of(&s, "email"), 2);
    merle_stats_index stats = {.size = sizeof stats};
    must(&s, merle_index_stats(s.players, "email", &stats));
    assert_int_equal(stats.refused, 2);
    writing_close(&s);
}

static void removed_document_frees_its_value(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    (void)put_json(&s, "a", "{\"email\":\"x\"}");
    (void)remove_key(&s, "a");
    assert_holder_now(&s, "email", EMAIL("x"), NULL);
    (void)put_json(&s, "b", "{\"email\":\"x\"}");
    assert_holder_now(&s, "email", EMAIL("x"), "b");
    writing_close(&s);
}

static void values_pass_within_one_commit(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    (void)put_json(&s, "a", "{\"email\":\"1\"}");
    (void)put_json(&s, "b", "{\"email\":\"2\"}");
    (void)put_json(&s, "c", "{\"email\":\"3\"}");
    merle_section old;
    must(&s, merle_section_begin(s.db, &old));
    /* Two swap. */
    merle_commit *commit = begin(&s);
    put_in(&s, commit, "a", "{\"email\":\"2\"}");
    put_in(&s, commit, "b", "{\"email\":\"1\"}");
    (void)end(&s, commit);
    assert_holder_now(&s, "email", EMAIL("1"), "b");
    assert_holder_now(&s, "email", EMAIL("2"), "a");
    /* In a ring: a 2 -> b, b 1 -> c, c 3 -> a, by patches. */
    commit = begin(&s);
    must(&s, merle_patch(commit, s.players, KEY("b"), MERLE_SET_STR("email", "2")));
    must(&s, merle_patch(commit, s.players, KEY("c"), MERLE_SET_STR("email", "1")));
    must(&s, merle_patch(commit, s.players, KEY("a"), MERLE_SET_STR("email", "3")));
    (void)end(&s, commit);
    assert_holder_now(&s, "email", EMAIL("1"), "c");
    assert_holder_now(&s, "email", EMAIL("2"), "b");
    assert_holder_now(&s, "email", EMAIL("3"), "a");
    /* Along a chain: a's goes to b, b's to c, c's to a new one, a is removed. */
    commit = begin(&s);
    put_in(&s, commit, "b", "{\"email\":\"3\"}");
    put_in(&s, commit, "c", "{\"email\":\"2\"}");
    put_in(&s, commit, "d", "{\"email\":\"1\"}");
    must(&s, merle_remove(commit, s.players, KEY("a")));
    (void)end(&s, commit);
    assert_holder_now(&s, "email", EMAIL("3"), "b");
    assert_holder_now(&s, "email", EMAIL("2"), "c");
    assert_holder_now(&s, "email", EMAIL("1"), "d");
    assert_holder(&old, s.players, "email", EMAIL("1"), "a");
    assert_holder(&old, s.players, "email", EMAIL("2"), "b");
    assert_holder(&old, s.players, "email", EMAIL("3"), "c");
    must(&s, merle_check(s.db, &s.report));
    must(&s, merle_section_end(&old));
    stand_settle(&s);
    assert_int_equal(hints_of(&s, "email"), 3);
    writing_close(&s);
}

static void value_passed_on_and_taken_back_is_found(void **state) {
    (void)state;
    stand s;
    merle_section sections[21];
    writing_open_plain(&s);
    (void)put_json(&s, "a", "{\"email\":\"x\"}");
    (void)put_json(&s, "b", "{}");
    must(&s, merle_section_begin(s.db, &sections[0]));
    for (int i = 1; i <= 20; i++) {
        merle_commit *commit = begin(&s);
        put_in(&s, commit, i % 2 ? "a" : "b", "{}");
        put_in(&s, commit, i % 2 ? "b" : "a", "{\"email\":\"x\"}");
        (void)end(&s, commit);
        must(&s, merle_section_begin(s.db, &sections[i]));
    }
    /* They end in another order than they began; the others find their holders still. */
    for (int i = 20; i >= 0; i -= 2) {
        must(&s, merle_section_end(&sections[i]));
        stand_settle(&s);
        for (int j = 1; j < 20; j += 2)
            assert_holder(&sections[j], s.players, "email", EMAIL("x"), "b");
        for (int j = 0; j < i; j += 2)
            assert_holder(&sections[j], s.players, "email", EMAIL("x"), "a");
    }
    /* The oldest first: its version goes, newer ones of the same slot keep the hint that they
       share. */
    for (int i = 1; i < 20; i += 2) {
        for (int j = i; j < 20; j += 2)
            assert_holder(&sections[j], s.players, "email", EMAIL("x"), "b");
        must(&s, merle_section_end(&sections[i]));
        stand_settle(&s);
        must(&s, merle_check(s.db, &s.report));
    }
    assert_int_equal(hints_of(&s, "email"), 1);
    writing_close(&s);
}

static void two_documents_of_one_commit_cannot_have_one_value(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    merle_commit *commit = begin(&s);
    put_in(&s, commit, "a", "{\"email\":\"x\"}");
    put_in(&s, commit, "b", "{\"email\":\"x\"}");
    end_refused(&s, commit, MERLE_EXISTS);
    assert_string_equal(s.report.index, "email");
    assert_int_equal(count_now(&s), 0);
    stand_settle(&s);
    assert_int_equal(hints_of(&s, "email"), 0);
    /* Taken and given up within the commit, it is free. */
    commit = begin(&s);
    put_in(&s, commit, "a", "{\"email\":\"x\"}");
    put_in(&s, commit, "b", "{\"email\":\"x\"}");
    put_in(&s, commit, "a", "{\"email\":\"y\"}");
    (void)end(&s, commit);
    assert_holder_now(&s, "email", EMAIL("x"), "b");
    assert_holder_now(&s, "email", EMAIL("y"), "a");
    writing_close(&s);
}

static void numbers_equal_as_numbers_are_one_value(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    (void)put_json(&s, "a", "{\"email\":5}");
    assert_int_equal(one_json(&s, "b", "{\"email\":5.0}"), MERLE_EXISTS);
    assert_holder_now(&s, "email", merle_value_float(5.0), "a");
    /* The document itself may go over from one to the other. */
    (void)put_json(&s, "a", "{\"email\":5.0}");
    assert_holder_now(&s, "email", merle_value_int(5), "a");
    assert_int_equal(one_json(&s, "b", "{\"email\":5}"), MERLE_EXISTS);
    (void)put_json(&s, "b", "{\"email\":\"5\"}");
    (void)put_json(&s, "c", "{\"email\":5.5}");
    (void)put_json(&s, "d", "{\"email\":9007199254740993}");
    (void)put_json(&s, "e", "{\"email\":9007199254740992.0}");
    assert_int_equal(one_json(&s, "f", "{\"email\":9007199254740992}"), MERLE_EXISTS);
    (void)put_json(&s, "g", "{\"email\":-0.0}");
    assert_int_equal(one_json(&s, "h", "{\"email\":0}"), MERLE_EXISTS);
    stand_settle(&s);
    assert_int_equal(hints_of(&s, "email"), count_now(&s));
    writing_close(&s);
}

static void compound_sparse_and_descending_indexes_hold(void **state) {
    (void)state;
    static const merle_index indexes[] = {
        {"both", MERLE_UNIQUE, "guild, -rank"}, {"name", MERLE_UNIQUE, "name"}, {NULL, 0, NULL}};
    const merle_schema schema = {.version = 1, .indexes = indexes};
    stand s;
    writing_open(&s, &schema, (merle_options){0}, NULL);
    (void)put_json(&s, "a", "{\"guild\":\"g\",\"rank\":1}");
    (void)put_json(&s, "b", "{\"guild\":\"g\",\"rank\":2}");
    (void)put_json(&s, "c", "{\"guild\":\"h\",\"rank\":1}");
    /* Sparse: what lacks a part, or has nil, is in no index, however many. */
    (void)put_json(&s, "d", "{\"guild\":\"g\"}");
    (void)put_json(&s, "e", "{\"guild\":\"g\"}");
    (void)put_json(&s, "f", "{\"guild\":\"g\",\"rank\":null}");
    (void)put_json(&s, "g", "{\"rank\":1,\"name\":null}");
    (void)put_json(&s, "h", "{\"rank\":1,\"name\":null}");
    assert_int_equal(one_json(&s, "i", "{\"guild\":\"h\",\"rank\":1.0}"), MERLE_EXISTS);
    assert_told(&s, MERLE_EXISTS, 0, "i", "both");
    /* Fields do not share a key space. */
    (void)put_json(&s, "i", "{\"name\":\"g\"}");
    merle_section section;
    merle_doc doc;
    must(&s, merle_section_begin(s.db, &section));
    must(&s,
         merle_get_by(&section, s.players, "both", &doc, merle_value_str("g"), merle_value_int(2)));
    assert_int_equal(merle_doc_key(doc).size, 1);
    assert_memory_equal(merle_doc_key(doc).data, "b", 1);
    assert_int_equal(merle_get_by(&section, s.players, "both", &doc, merle_value_str("g")),
                     MERLE_INVALID);
    assert_int_equal(merle_get_by(&section, s.players, "none", &doc, merle_value_str("g")),
                     MERLE_INVALID);
    assert_int_equal(
        merle_get_by(&section, s.players, "both", &doc, merle_value_str("g"), merle_value_nil()),
        MERLE_NOT_FOUND);
    must(&s, merle_section_end(&section));
    /* Out of the index by a patch, and in again. */
    merle_commit *commit = begin(&s);
    must(&s, merle_patch(commit, s.players, KEY("c"), MERLE_UNSET("rank")));
    must(&s, merle_patch(commit, s.players, KEY("d"), MERLE_SET_STR("guild", "h"),
                         MERLE_SET_INT("rank", 1)));
    (void)end(&s, commit);
    stand_settle(&s);
    assert_int_equal(hints_of(&s, "both"), 3);
    assert_int_equal(hints_of(&s, "name"), 1);
    writing_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_over_moves_the_value),
        cmocka_unit_test(value_taken_is_refused_with_a_report),
        cmocka_unit_test(removed_document_frees_its_value),
        cmocka_unit_test(values_pass_within_one_commit),
        cmocka_unit_test(value_passed_on_and_taken_back_is_found),
        cmocka_unit_test(two_documents_of_one_commit_cannot_have_one_value),
        cmocka_unit_test(numbers_equal_as_numbers_are_one_value),
        cmocka_unit_test(compound_sparse_and_descending_indexes_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
