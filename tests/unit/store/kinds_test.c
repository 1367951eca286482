/* tests/unit/store/kinds_test.c - the kinds of index beside the plain ones, each by hand.
 *
 * Aim     An index that is unique and ordered refuses as the one and lists as the other.
 * Method  A few documents written by hand; what ranges give is compared key by key, in both
 *         directions, with counts, ranks and the n-th; each test ends with merle_check.
 * Blind   Whether an index agrees with all documents under random commits: model/ranges_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "scarce.h"
#include "writing.h"

#include "store/root.h"

/* ---- asking ---- */

static void open_with(stand *s, const merle_index *indexes) {
    const merle_schema schema = {.version = 1, .indexes = indexes};
    writing_open(s, &schema, (merle_options){0}, NULL);
}

/* One letter a document; counts, ranks and the n-th must say the same. */
static const char *keys_in(merle_section *section, const stand *s, merle_range range) {
    static char keys[64];
    merle_cursor *cursor;
    merle_doc docs[64], doc;
    size_t some, met = 0;
    uint64_t number = 0;
    must(s, merle_range_open(s->players, &range, &cursor));
    while (merle_cursor_next(section, cursor, docs + met, 3, &some) == MERLE_OK) met += some;
    merle_cursor_close(cursor);
    for (size_t i = 0; i < met; i++) keys[i] = *(const char *)merle_doc_key(docs[i]).data;
    keys[met] = 0;
    must(s, merle_range_count(section, s->players, &range, &number));
    assert_int_equal(number, met);
    for (size_t i = 0; i < met; i++) {
        must(s, merle_range_nth(section, s->players, &range, i, &doc));
        assert_ptr_equal(doc.data, docs[i].data);
        must(s, merle_range_rank(section, s->players, &range, merle_doc_key(doc), &number));
        assert_int_equal(number, i);
    }
    assert_int_equal(merle_range_nth(section, s->players, &range, met, &doc), MERLE_NOT_FOUND);
    return keys;
}

/* The range now, both ways. */
static void assert_keys(const stand *s, merle_range range, const char *keys) {
    char turned[64];
    merle_section section;
    size_t size = strlen(keys);
    must(s, merle_section_begin(s->db, &section));
    assert_string_equal(keys_in(&section, s, range), keys);
    range.backwards = 1;
    for (size_t i = 0; i < size; i++) turned[i] = keys[size - 1 - i];
    turned[size] = 0;
    assert_string_equal(keys_in(&section, s, range), turned);
    must(s, merle_section_end(&section));
}

static merle_range all_of(const char *index) {
    return (merle_range){.index = index};
}

/* ---- unique and ordered ---- */

static const merle_index places[] = {
    {.name = "place", .kind = MERLE_UNIQUE_ORDERED, .on = "guild, -place"}, {0}};

static void open_places(stand *s) {
    open_with(s, places);
    (void)put_json(s, "a", "{\"guild\":\"red\",\"place\":1}");
    (void)put_json(s, "b", "{\"guild\":\"red\",\"place\":2}");
    (void)put_json(s, "c", "{\"guild\":\"blue\",\"place\":1}");
    (void)put_json(s, "d", "{\"guild\":\"blue\"}");
}

static void assert_at(const stand *s, const char *guild, int64_t place, const char *key) {
    merle_section section;
    merle_doc doc;
    must(s, merle_section_begin(s->db, &section));
    merle_err err = merle_get_by(&section, s->players, "place", &doc, merle_value_str(guild),
                                 merle_value_int(place));
    assert_int_equal(err, key == NULL ? MERLE_NOT_FOUND : MERLE_OK);
    if (key != NULL) assert_memory_equal(merle_doc_key(doc).data, key, 1);
    must(s, merle_section_end(&section));
}

static void unique_ordered_finds_one_and_lists_all(void **state) {
    (void)state;
    stand s;
    open_places(&s);
    merle_value red = merle_value_str("red");
    assert_at(&s, "red", 2, "b");
    assert_at(&s, "red", 3, NULL);
    assert_keys(&s, all_of("place"), "cba");
    assert_keys(&s, (merle_range){.index = "place", .from = {MERLE_CLOSED, &red, 1}}, "ba");
    assert_keys(&s, (merle_range){.index = "place", .prefix = "bl"}, "c");
    /* One entry in the table and one in the tree for each. */
    assert_int_equal(hints_of(&s, "place"), 6);
    writing_close(&s);
}

static void unique_ordered_refuses_a_second_and_leaves_no_entry(void **state) {
    (void)state;
    stand s;
    open_places(&s);
    merle_commit *commit = begin(&s);
    put_in(&s, commit, "e", "{\"guild\":\"green\",\"place\":7}");
    put_in(&s, commit, "d", "{\"guild\":\"red\",\"place\":2.0}");
    end_refused(&s, commit, MERLE_EXISTS);
    assert_told(&s, MERLE_EXISTS, 1, "d", "place");
    assert_at(&s, "green", 7, NULL);
    assert_keys(&s, all_of("place"), "cba");
    stand_settle(&s);
    writing_close(&s);
}

static void unique_ordered_swaps_within_one_commit(void **state) {
    (void)state;
    stand s;
    open_places(&s);
    merle_section old;
    must(&s, merle_section_begin(s.db, &old));
    merle_commit *commit = begin(&s);
    must(&s, merle_patch(commit, s.players, KEY("a"), MERLE_SET_INT("place", 2)));
    must(&s, merle_patch(commit, s.players, KEY("b"), MERLE_SET_INT("place", 1)));
    must(&s, merle_remove(commit, s.players, KEY("c")));
    must(&s, merle_patch(commit, s.players, KEY("d"), MERLE_SET_INT("place", 1)));
    (void)end(&s, commit);
    assert_at(&s, "red", 2, "a");
    assert_keys(&s, all_of("place"), "dab");
    assert_string_equal(keys_in(&old, &s, all_of("place")), "cba");
    must(&s, merle_section_end(&old));
    stand_settle(&s);
    assert_keys(&s, all_of("place"), "dab");
    must(&s, merle_collection_truncate(s.players, NULL));
    assert_keys(&s, all_of("place"), "");
    writing_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unique_ordered_finds_one_and_lists_all),
        cmocka_unit_test(unique_ordered_refuses_a_second_and_leaves_no_entry),
        cmocka_unit_test(unique_ordered_swaps_within_one_commit),
    };
    return cmocka_run_group_tests_name("store/kinds", tests, NULL, NULL);
}
