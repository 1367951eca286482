/* tests/unit/store/kinds_test.c - the kinds of index beside the plain ones, each by hand.
 *
 * Aim     An index that is unique and ordered refuses as the one and lists as the other.
 * Method  A few documents written by hand; what ranges give is compared key by key, in both
 *         directions, with counts, ranks and the n-th; each test ends with merle_check.
 * Blind   Whether an index agrees with all documents under random commits: model/ranges_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "listing.h"
#include "scarce.h"

#include "base/buffer.h"
#include "store/root.h"

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

/* ---- what is missing ---- */

static void put_scores(const stand *s) {
    (void)put_json(s, "a", "{\"guild\":\"red\",\"score\":10}");
    (void)put_json(s, "b", "{\"guild\":\"red\",\"score\":30}");
    (void)put_json(s, "c", "{\"guild\":\"red\",\"score\":null}");
    (void)put_json(s, "d", "{\"guild\":\"blue\",\"score\":20}");
    (void)put_json(s, "e", "{\"score\":20}");
    (void)put_json(s, "f", "{}");
    (void)put_json(s, "g", "{\"guild\":\"blue\",\"score\":\"high\"}");
    (void)put_json(s, "h", "{\"guild\":\"blue\"}");
}

static void missing_ones_stand_where_the_index_says(void **state) {
    static const merle_index indexes[] = {
        {"first", MERLE_ORDERED, "guild, score", MERLE_MISSING_FIRST},
        {"last", MERLE_ORDERED, "guild, score", MERLE_MISSING_LAST},
        {"falling first", MERLE_ORDERED, "-guild, -score", MERLE_MISSING_FIRST},
        {"falling last", MERLE_ORDERED, "-guild, -score", MERLE_MISSING_LAST},
        {"out", MERLE_ORDERED, "guild, score"},
        {0}};
    (void)state;
    stand s;
    open_with(&s, indexes);
    put_scores(&s);
    assert_keys(&s, all_of("first"), "fehdgcab");
    assert_keys(&s, all_of("last"), "dghabcef");
    assert_keys(&s, all_of("falling first"), "fecbahgd");
    assert_keys(&s, all_of("falling last"), "bacgdhef");
    assert_keys(&s, all_of("out"), "dgab");
    /* They come and go as values do. */
    must(&s, merle_one_patch(s.players, KEY("f"), NULL, NULL, MERLE_SET_STR("guild", "red")));
    must(&s, merle_one_patch(s.players, KEY("d"), NULL, NULL, MERLE_UNSET("score")));
    assert_int_equal(*keys_in_section(&s, all_of("first")), 'e');
    assert_keys(&s, (merle_range){.index = "last", .prefix = "blue"}, "gdh");
    writing_close(&s);
}

static void range_with_a_bound_gives_missing_ones_only_if_asked(void **state) {
    static const merle_index indexes[] = {{"first", MERLE_ORDERED, "score", MERLE_MISSING_FIRST},
                                          {"last", MERLE_ORDERED, "score", MERLE_MISSING_LAST},
                                          {"falling", MERLE_ORDERED, "-score", MERLE_MISSING_LAST},
                                          {0}};
    (void)state;
    stand s;
    open_with(&s, indexes);
    put_scores(&s);
    merle_value nil = merle_value_nil(), twenty = merle_value_int(20);
    const merle_bound none = {0}, at = {MERLE_CLOSED, &twenty, 1},
                      missing = {MERLE_CLOSED, &nil, 1};
    const merle_bound behind = {MERLE_OPEN, &nil, 1}, everything = {MERLE_CLOSED, NULL, 0};
    assert_keys(&s, all_of("first"), "cfhadebg");
    assert_keys(&s, all_of("last"), "adebgcfh");
    assert_keys(&s, between("first", none, at), "ade");
    assert_keys(&s, between("first", everything, at), "ade");
    assert_keys(&s, between("last", at, none), "debg");
    assert_keys(&s, between("falling", at, none), "dea");
    assert_keys(&s, between("first", at, none), "debg");
    assert_keys(&s, between("last", none, at), "ade");
    assert_keys(&s, between("first", missing, at), "cfhade");
    assert_keys(&s, between("last", at, missing), "debgcfh");
    assert_keys(&s, between("first", missing, missing), "cfh");
    assert_keys(&s, between("last", missing, none), "cfh");
    assert_keys(&s, between("falling", missing, missing), "cfh");
    assert_keys(&s, between("first", behind, none), "adebg");
    assert_keys(&s, between("last", none, behind), "adebg");
    assert_keys(&s, between("last", at, behind), "debg");
    assert_keys(&s, (merle_range){.index = "last", .prefix = ""}, "g");
    writing_close(&s);
}

static void bound_on_a_later_field_leaves_its_missing_ones_out(void **state) {
    static const merle_index indexes[] = {
        {"first", MERLE_ORDERED, "guild, score", MERLE_MISSING_FIRST},
        {"last", MERLE_ORDERED, "guild, score", MERLE_MISSING_LAST},
        {0}};
    (void)state;
    stand s;
    open_with(&s, indexes);
    put_scores(&s);
    merle_value blue[] = {merle_value_str("blue"), merle_value_int(20)};
    merle_value red[] = {merle_value_str("red"), merle_value_nil()};
    const merle_bound none = {0}, guild = {MERLE_CLOSED, blue, 1}, score = {MERLE_CLOSED, blue, 2};
    assert_keys(&s, between("first", guild, guild), "hdg");
    assert_keys(&s, between("last", guild, guild), "dgh");
    assert_keys(&s, between("first", guild, score), "d");
    assert_keys(&s, between("last", score, guild), "dg");
    /* Up to the documents without a guild, over other guilds. */
    assert_keys(&s, between("last", score, none), "dghabc");
    assert_keys(&s, between("last", score, (merle_bound){MERLE_CLOSED, red, 1}), "dghabc");
    assert_keys(&s, between("last", score, (merle_bound){MERLE_OPEN, red, 2}), "dghab");
    assert_keys(&s, between("first", none, (merle_bound){MERLE_CLOSED, red, 2}), "hdgc");
    writing_close(&s);
}

static void missing_ones_of_a_unique_index_are_not_refused(void **state) {
    static const merle_index indexes[] = {
        {"place", MERLE_UNIQUE_ORDERED, "guild, place", MERLE_MISSING_LAST}, {0}};
    (void)state;
    stand s;
    merle_section section;
    merle_doc doc;
    open_with(&s, indexes);
    (void)put_json(&s, "a", "{\"guild\":\"red\",\"place\":1}");
    (void)put_json(&s, "b", "{\"guild\":\"red\"}");
    (void)put_json(&s, "c", "{\"guild\":\"red\"}");
    (void)put_json(&s, "d", "{\"guild\":\"red\",\"place\":null}");
    assert_keys(&s, all_of("place"), "abcd");
    assert_int_equal(one_json(&s, "d", "{\"guild\":\"red\",\"place\":1}"), MERLE_EXISTS);
    must(&s, merle_section_begin(s.db, &section));
    assert_int_equal(
        merle_get_by(&section, s.players, "place", &doc, merle_value_str("red"), merle_value_nil()),
        MERLE_NOT_FOUND);
    must(&s, merle_section_end(&section));
    /* The value is given up for nothing, and free again. */
    must(&s, merle_one_patch(s.players, KEY("a"), NULL, NULL, MERLE_UNSET("place")));
    (void)put_json(&s, "d", "{\"guild\":\"red\",\"place\":1}");
    assert_keys(&s, all_of("place"), "dabc");
    stand_settle(&s);
    assert_int_equal(hints_of(&s, "place"), 5);
    writing_close(&s);
}

static void field_too_big_beside_a_missing_one_is_taken(void **state) {
    static const merle_index indexes[] = {{"out", MERLE_UNIQUE_ORDERED, "text, score"}, {0}};
    (void)state;
    static char text[5000];
    stand s;
    open_with(&s, indexes);
    memset(text, 'x', sizeof text - 1);
    const merle_op set[] = {MERLE_SET_STR("text", text)};
    const merle_op score[] = {MERLE_SET_INT("score", 1)};
    (void)put_json(&s, "a", "{}");
    must(&s, merle_one_patch_ops(s.players, KEY("a"), set, 1, NULL, NULL));
    assert_int_equal(merle_one_patch_ops(s.players, KEY("a"), score, 1, NULL, NULL), MERLE_TOO_BIG);
    assert_keys(&s, all_of("out"), "");
    must(&s, merle_one_patch(s.players, KEY("a"), NULL, NULL, MERLE_UNSET("text")));
    writing_close(&s);
}

/* ---- on the key ---- */

static void put_named(const stand *s, merle_bytes key, const char *json) {
    merle_buffer doc = doc_of(json);
    must(s, merle_one_put(s->players, key, bytes_of(&doc), NULL));
    merle_buffer_free(&doc);
}

static void keys_are_listed_by_prefix(void **state) {
    static const merle_index indexes[] = {{"keys", MERLE_ORDERED, "key()"}, {0}};
    (void)state;
    stand s;
    open_with(&s, indexes);
    put_named(&s, KEY("red/2"), "{\"n\":\"a\"}");
    put_named(&s, KEY("red/10"), "{\"n\":\"b\"}");
    put_named(&s, KEY("red"), "{\"n\":\"c\"}");
    put_named(&s, KEY("redder"), "{\"n\":\"d\"}");
    put_named(&s, KEY("blue/1"), "{\"n\":\"e\"}");
    merle_value red = merle_value_str("red"), bytes = merle_value_bin(merle_bytes_of("red/2", 5));
    assert_keys(&s, all_of("keys"), "ecbad");
    assert_keys(&s, (merle_range){.index = "keys", .prefix = "red/"}, "ba");
    assert_keys(&s, (merle_range){.index = "keys", .prefix = "red"}, "cbad");
    assert_keys(&s, between("keys", (merle_bound){MERLE_OPEN, &red, 1}, (merle_bound){0}), "bad");
    assert_keys(&s, between("keys", (merle_bound){0}, (merle_bound){MERLE_OPEN, &bytes, 1}), "ecb");
    merle_section old;
    must(&s, merle_section_begin(s.db, &old));
    (void)remove_key(&s, "red/2");
    put_named(&s, KEY("red/10"), "{\"n\":\"B\"}");
    assert_keys(&s, (merle_range){.index = "keys", .prefix = "red/"}, "B");
    put_named(&s, KEY("red/2"), "{\"n\":\"A\"}");
    assert_keys(&s, (merle_range){.index = "keys", .prefix = "red/"}, "BA");
    assert_string_equal(keys_in(&old, &s, (merle_range){.index = "keys", .prefix = "red/"}), "ba");
    must(&s, merle_section_end(&old));
    stand_settle(&s);
    assert_int_equal(hints_of(&s, "keys"), 5);
    writing_close(&s);
}

static void keys_of_any_bytes_have_their_order(void **state) {
    static const merle_index indexes[] = {
        {"up", MERLE_ORDERED, "key()"}, {"down", MERLE_ORDERED, "-key()"}, {0}};
    static const char *const keys[] = {"\0",  "\0\0", "\0\1", "\0\xff", "\1",
                                       "a\0", "a\0b", "aa",   "\xff"};
    static const size_t sizes[] = {1, 2, 2, 2, 1, 2, 3, 2, 1};
    (void)state;
    stand s;
    open_with(&s, indexes);
    for (size_t i = 0; i < 9; i++) {
        char json[16];
        size_t at = i * 4 % 9;
        (void)snprintf(json, sizeof json, "{\"n\":\"%c\"}", (char)('1' + at));
        put_named(&s, merle_bytes_of(keys[at], sizes[at]), json);
    }
    assert_keys(&s, all_of("up"), "123456789");
    assert_keys(&s, all_of("down"), "987654321");
    merle_value from = merle_value_bin(merle_bytes_of("\0\1", 2)),
                to = merle_value_bin(merle_bytes_of("a\0", 2));
    assert_keys(
        &s, between("up", (merle_bound){MERLE_OPEN, &from, 1}, (merle_bound){MERLE_CLOSED, &to, 1}),
        "456");
    assert_keys(&s, (merle_range){.index = "down", .prefix = "a"}, "876");
    writing_close(&s);
}

static void key_behind_other_fields_makes_the_order_stable(void **state) {
    static const merle_index indexes[] = {
        {"stable", MERLE_ORDERED, "-score, key()", MERLE_MISSING_LAST}, {0}};
    (void)state;
    stand s;
    open_with(&s, indexes);
    (void)put_json(&s, "e", "{\"score\":5}");
    (void)put_json(&s, "a", "{}");
    (void)put_json(&s, "c", "{\"score\":5}");
    (void)put_json(&s, "b", "{\"score\":7}");
    (void)put_json(&s, "d", "{\"score\":5}");
    merle_value five[] = {merle_value_int(5), merle_value_str("d")};
    const merle_bound behind = {MERLE_OPEN, five, 2}, end = {MERLE_CLOSED, five, 1};
    assert_keys(&s, all_of("stable"), "bcdea");
    assert_keys(&s, between("stable", behind, end), "e");
    assert_keys(&s, between("stable", behind, (merle_bound){0}), "e");
    writing_close(&s);
}

static void key_too_long_beside_a_field_is_refused(void **state) {
    static const merle_index indexes[] = {{"both", MERLE_ORDERED, "text, key()"}, {0}};
    static char text[3001];
    static const char zeros[MERLE_KEY_SIZE_MAX];
    (void)state;
    stand s;
    open_with(&s, indexes);
    memset(text, 'x', sizeof text - 1);
    const merle_op set[] = {MERLE_SET_STR("text", text)};
    merle_bytes key = merle_bytes_of(zeros, sizeof zeros);
    put_named(&s, key, "{\"text\":\"short\"}");
    assert_int_equal(merle_one_patch_ops(s.players, key, set, 1, NULL, NULL), MERLE_TOO_BIG);
    assert_string_equal(s.report.index, "both");
    assert_string_equal(s.report.path, "key()");
    assert_non_null(strstr(s.report.message, "4096"));
    (void)put_json(&s, "a", "{}");
    must(&s, merle_one_patch_ops(s.players, KEY("a"), set, 1, NULL, NULL));
    /* Each byte takes two: what fits together, and one more. */
    for (size_t size = 1020; size <= 1023; size++) {
        const merle_op zero[] = {
            merle_op_of(MERLE_OP_SET, "text", merle_value_bin(merle_bytes_of(zeros, size)))};
        assert_int_equal(
            merle_one_patch_ops(s.players, key, zero, 1, NULL, NULL),
            2 * size + 3 + 2 * sizeof zeros + 3 <= MERLE_VALUE_SIZE_MAX ? MERLE_OK : MERLE_TOO_BIG);
    }
    writing_close(&s);
}

/* ---- on each element ---- */

static const merle_index scores[] = {{"scores", MERLE_ORDERED, "scores[*]"},
                                     {"items", MERLE_ORDERED, "kind, -items[*].id, key()"},
                                     {"last", MERLE_ORDERED, "scores[*]", MERLE_MISSING_LAST},
                                     {0}};

static merle_range numbers(const char *index, const merle_value *from, const merle_value *to) {
    return between(index, (merle_bound){MERLE_CLOSED, from, 1}, (merle_bound){MERLE_CLOSED, to, 1});
}

/* Both ways by hand: on each element the one is not the other turned round. */
static void assert_each(const stand *s, merle_range range, const char *up, const char *down) {
    range.backwards = 0;
    assert_string_equal(keys_in_section(s, range), up);
    range.backwards = 1;
    assert_string_equal(keys_in_section(s, range), down);
}

static void document_comes_at_its_first_element_in_the_range(void **state) {
    (void)state;
    stand s;
    open_with(&s, scores);
    (void)put_json(&s, "a", "{\"scores\":[3,1,9]}");
    (void)put_json(&s, "b", "{\"scores\":[5,5,5.0,2]}");
    (void)put_json(&s, "c", "{\"scores\":4}");
    (void)put_json(&s, "d", "{\"scores\":[]}");
    (void)put_json(&s, "e", "{\"scores\":[null,8,null]}");
    (void)put_json(&s, "f", "{\"scores\":null}");
    (void)put_json(&s, "g", "{\"scores\":[null]}");
    merle_value two = merle_value_int(2), four = merle_value_int(4), nil = merle_value_nil();
    assert_each(&s, all_of("scores"), "abce", "aebc");
    assert_each(&s, numbers("scores", &two, &four), "bac", "cab");
    assert_each(&s, between("scores", (merle_bound){MERLE_OPEN, &four, 1}, (merle_bound){0}), "bea",
                "aeb");
    assert_each(&s, all_of("last"), "abcedfg", "gfdaebc");
    assert_each(&s, between("last", (merle_bound){MERLE_OPEN, &four, 1}, (merle_bound){0}), "bea",
                "aeb");
    assert_each(&s, numbers("last", &nil, &nil), "dfg", "gfd");
    /* One entry for each different element, and none for nil. */
    assert_int_equal(hints_of(&s, "scores"), 7);
    assert_int_equal(hints_of(&s, "last"), 10);
    writing_close(&s);
}

static void elements_are_looked_into(void **state) {
    (void)state;
    stand s;
    merle_value sword = merle_value_str("sword"), both[] = {sword, merle_value_int(4)};
    open_with(&s, scores);
    (void)put_json(&s, "a", "{\"kind\":\"sword\",\"items\":[{\"id\":3},{\"id\":7},{\"no\":1}]}");
    (void)put_json(&s, "b", "{\"kind\":\"sword\",\"items\":{\"id\":5}}");
    (void)put_json(&s, "c", "{\"kind\":\"sword\",\"items\":[1,\"x\",{\"id\":null}]}");
    (void)put_json(&s, "d", "{\"kind\":\"axe\",\"items\":[{\"id\":4},{\"id\":4.0}]}");
    (void)put_json(&s, "e", "{\"items\":[{\"id\":4}]}");
    assert_each(&s, all_of("items"), "dab", "abd");
    assert_each(&s, numbers("items", &sword, &sword), "ab", "ab");
    assert_each(&s, between("items", (merle_bound){MERLE_OPEN, both, 2}, (merle_bound){0}), "a",
                "a");
    assert_int_equal(hints_of(&s, "items"), 4);
    must(&s, merle_one_patch(s.players, KEY("e"), NULL, NULL, MERLE_SET_STR("kind", "axe")));
    must(&s, merle_one_patch(s.players, KEY("a"), NULL, NULL, MERLE_SET_STR("kind", "axe")));
    assert_each(&s, all_of("items"), "adeb", "baed");
    stand_settle(&s);
    writing_close(&s);
}

static void elements_move_under_old_sections(void **state) {
    (void)state;
    stand s;
    merle_section old, older;
    open_with(&s, scores);
    (void)put_json(&s, "a", "{\"scores\":[1,5]}");
    (void)put_json(&s, "b", "{\"scores\":[2,6]}");
    (void)put_json(&s, "c", "{\"scores\":[3]}");
    must(&s, merle_section_begin(s.db, &older));
    must(&s, merle_one_patch(s.players, KEY("a"), NULL, NULL, MERLE_SET_INT("scores[0]", 4)));
    must(&s, merle_one_patch(s.players, KEY("c"), NULL, NULL, MERLE_UNSET("scores[0]")));
    must(&s, merle_section_begin(s.db, &old));
    (void)put_json(&s, "b", "{\"scores\":[6.0,7]}");
    (void)put_json(&s, "c", "{\"scores\":[5,3,5]}");
    (void)remove_key(&s, "a");
    for (int i = 0; i < 2; i++) {
        assert_string_equal(keys_in(&older, &s, all_of("scores")), "abc");
        assert_string_equal(keys_in(&older, &s, (merle_range){.index = "scores", .backwards = 1}),
                            "bac");
        assert_string_equal(keys_in(&old, &s, all_of("scores")), "ba");
        assert_string_equal(keys_in(&old, &s, all_of("last")), "bac");
        assert_each(&s, all_of("scores"), "cb", "bc");
        must(&s, merle_check(s.db, &s.report));
        stand_settle(&s);
    }
    must(&s, merle_section_end(&old));
    must(&s, merle_section_end(&older));
    stand_settle(&s);
    assert_each(&s, all_of("last"), "cb", "bc");
    assert_int_equal(hints_of(&s, "scores"), 4);
    writing_close(&s);
}

static void own_writes_come_at_their_first_element(void **state) {
    (void)state;
    stand s;
    open_with(&s, scores);
    (void)put_json(&s, "a", "{\"scores\":[1,5]}");
    (void)put_json(&s, "b", "{\"scores\":[2]}");
    (void)put_json(&s, "c", "{\"scores\":[2,6]}");
    merle_commit *commit = begin(&s);
    merle_section *own = merle_commit_section(commit);
    assert_string_equal(keys_in(own, &s, all_of("scores")), "abc");
    put_in(&s, commit, "n", "{\"scores\":[1,2,9]}");
    put_in(&s, commit, "m", "{\"scores\":[2,1,9]}");
    must(&s, merle_patch(commit, s.players, KEY("a"), MERLE_SET_INT("scores[0]", 3)));
    must(&s, merle_remove(commit, s.players, KEY("b")));
    merle_value two = merle_value_int(2), five = merle_value_int(5);
    merle_range range = numbers("scores", &two, &five);
    assert_string_equal(keys_in(own, &s, all_of("scores")), "nmca");
    assert_string_equal(keys_in(own, &s, range), "cnma");
    range.backwards = 1;
    assert_string_equal(keys_in(own, &s, range), "amnc");
    must(&s, merle_patch(commit, s.players, KEY("c"), MERLE_UNSET("scores")));
    assert_string_equal(keys_in(own, &s, all_of("last")), "nmac");
    (void)end(&s, commit);
    assert_each(&s, all_of("last"), "nmac", "cmna");
    writing_close(&s);
}

static merle_err move_all(const stand *s, merle_bytes doc) {
    merle_commit *commit;
    merle_err err = merle_begin(s->db, &commit);
    if (err != MERLE_OK) return err;
    err = merle_patch(commit, s->players, KEY("a"), MERLE_SET_INT("scores[0]", 9));
    if (err == MERLE_OK) err = merle_put(commit, s->players, KEY("b"), doc);
    if (err == MERLE_OK) err = merle_remove(commit, s->players, KEY("c"));
    if (err != MERLE_OK) {
        merle_cancel(commit);
        return err;
    }
    return merle_end(commit, NULL);
}

static uint64_t move_with(void *context, uint64_t grants) {
    static supply memory;
    const merle_index indexes[] = {
        scores[0],
        scores[2],
        {"place", MERLE_UNIQUE_ORDERED, "guild, key", MERLE_MISSING_FIRST},
        {"keys", MERLE_ORDERED, "guild, key()"},
        {0}};
    const mrl_environment environment = {.refusal = &memory.refusal};
    const merle_schema schema = {.version = 1, .indexes = indexes};
    merle_buffer doc =
        doc_of("{\"scores\":[4,1,7],\"guild\":\"a guild with a long name\",\"key\":1}");
    stand s;
    (void)context;
    supply_init(&memory);
    writing_open(&s, &schema, (merle_options){0}, &environment);
    (void)put_json(&s, "a", "{\"scores\":[1,5]}");
    (void)put_json(&s, "c", "{\"scores\":[2,3],\"guild\":\"red\",\"key\":1}");
    mrl_refusal_of_thread = &memory.refusal;
    supply_all_but(&memory, grants);
    merle_err err = move_all(&s, bytes_of(&doc));
    uint64_t refused = supply_all(&memory);
    mrl_refusal_of_thread = NULL;
    if (err != MERLE_OK) {
        assert_int_equal(err, MERLE_NO_MEMORY);
        assert_each(&s, all_of("scores"), "ac", "ac");
        assert_keys(&s, all_of("place"), "ac");
        assert_keys(&s, all_of("keys"), "c");
        must(&s, merle_check(s.db, &s.report));
        must(&s, move_all(&s, bytes_of(&doc)));
    }
    assert_each(&s, all_of("last"), "ba", "ab");
    assert_keys(&s, all_of("place"), "ab");
    assert_keys(&s, all_of("keys"), "b");
    merle_buffer_free(&doc);
    writing_close(&s);
    return refused;
}

static void commit_without_memory_leaves_no_entry(void **state) {
    (void)state;
    refuse_in_turn(move_with, NULL, 10);
}

static uint64_t count_with(void *context, uint64_t grants) {
    static supply memory;
    const merle_range *range = context;
    const mrl_environment environment = {.refusal = &memory.refusal};
    const merle_schema schema = {.version = 1, .indexes = scores};
    merle_section section;
    uint64_t count = 7;
    supply_init(&memory);
    stand s;
    writing_open(&s, &schema, (merle_options){0}, &environment);
    (void)put_json(&s, "a", "{\"scores\":[1,5]}");
    must(&s, merle_section_begin(s.db, &section));
    mrl_refusal_of_thread = &memory.refusal;
    supply_all_but(&memory, grants);
    merle_err err = merle_range_count(&section, s.players, range, &count);
    uint64_t refused = supply_all(&memory);
    mrl_refusal_of_thread = NULL;
    assert_int_equal(err, refused > 0 ? MERLE_NO_MEMORY : MERLE_OK);
    assert_int_equal(count, refused > 0 ? 0 : 1);
    must(&s, merle_section_end(&section));
    writing_close(&s);
    return refused;
}

static void count_without_memory_is_nought_and_says_so(void **state) {
    merle_range range = all_of("scores");
    (void)state;
    refuse_in_turn(count_with, &range, 1);
}

static void old_section_counts_elements_after_a_drop(void **state) {
    (void)state;
    stand s;
    merle_section old;
    open_with(&s, scores);
    (void)put_json(&s, "a", "{\"scores\":[1,5]}");
    must(&s, merle_section_begin(s.db, &old));
    merle_range range = all_of("scores");
    uint64_t number = 0;
    must(&s, merle_collection_drop(s.players, NULL));
    must(&s, merle_range_count(&old, s.players, &range, &number));
    assert_int_equal(number, 1);
    must(&s, merle_range_rank(&old, s.players, &range, KEY("a"), &number));
    assert_int_equal(number, 0);
    assert_int_equal(merle_range_rank(&old, s.players, &range, KEY("b"), &number), MERLE_NOT_FOUND);
    must(&s, merle_section_end(&old));
    writing_close(&s);
}

/* What is built over documents that are there is what it would have been all along. */
static void kinds_are_added_to_documents_that_are_there(void **state) {
    static const merle_index none[] = {{0}};
    static const struct {
        merle_index index;
        const char *up, *down;
    } cases[] = {
        {{"rank", MERLE_ORDERED, "-score", MERLE_MISSING_LAST}, "bdeaghcf", "fchgaedb"},
        {{"keys", MERLE_ORDERED, "-key()"}, "hgfedcba", "abcdefgh"},
        {{"each", MERLE_ORDERED, "list[*]", MERLE_MISSING_FIRST}, "cdefghab", "bahgfedc"},
        {{"place", MERLE_UNIQUE_ORDERED, "guild, score", MERLE_MISSING_FIRST},
         "fehgdcab",
         "bacdghef"},
    };
    (void)state;
    stand s;
    open_with(&s, none);
    (void)put_json(&s, "a", "{\"guild\":\"red\",\"score\":10,\"list\":[5,1]}");
    (void)put_json(&s, "b", "{\"guild\":\"red\",\"score\":30,\"list\":[2,7,7]}");
    (void)put_json(&s, "c", "{\"guild\":\"red\",\"score\":null}");
    (void)put_json(&s, "d", "{\"guild\":\"blue\",\"score\":20}");
    (void)put_json(&s, "e", "{\"score\":20}");
    (void)put_json(&s, "f", "{}");
    (void)put_json(&s, "g", "{\"guild\":\"blue\",\"score\":5}");
    (void)put_json(&s, "h", "{\"guild\":\"blue\",\"score\":4}");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        must(&s, merle_index_add(s.players, &cases[i].index, NULL));
        must(&s, merle_index_build(s.players, cases[i].index.name));
        assert_each(&s, all_of(cases[i].index.name), cases[i].up, cases[i].down);
        must(&s, merle_check(s.db, &s.report));
    }
    assert_int_equal(one_json(&s, "f", "{\"guild\":\"red\",\"score\":10}"), MERLE_EXISTS);
    must(&s, merle_index_drop(s.players, "place", NULL));
    must(&s, one_json(&s, "f", "{\"guild\":\"red\",\"score\":10}"));
    writing_close(&s);
}

static void elements_that_cannot_be_held_are_refused(void **state) {
    static char json[3 * MERLE_TAG_COUNT_MAX + 32];
    (void)state;
    stand s;
    open_with(&s, scores);
    assert_int_equal(one_json(&s, "a", "{\"scores\":[1,[2]]}"), MERLE_TYPE);
    assert_string_equal(s.report.index, "scores");
    assert_string_equal(s.report.path, "scores");
    assert_int_equal(one_json(&s, "a", "{\"items\":[{\"id\":{}}]}"), MERLE_TYPE);
    assert_string_equal(s.report.index, "items");
    /* The other parts hold what they hold, elements or none. */
    assert_int_equal(one_json(&s, "a", "{\"kind\":[1],\"items\":[]}"), MERLE_TYPE);
    assert_string_equal(s.report.path, "kind");
    char *end = json + sprintf(json, "{\"scores\":[1");
    for (unsigned i = 1; i < MERLE_TAG_COUNT_MAX; i++) end += sprintf(end, ",%u", i % 10);
    (void)sprintf(end, "]}");
    must(&s, one_json(&s, "a", json));
    assert_int_equal(hints_of(&s, "scores"), 10);
    (void)sprintf(end, ",1]}");
    assert_int_equal(one_json(&s, "a", json), MERLE_TOO_BIG);
    assert_non_null(strstr(s.report.message, "1024"));
    writing_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unique_ordered_finds_one_and_lists_all),
        cmocka_unit_test(unique_ordered_refuses_a_second_and_leaves_no_entry),
        cmocka_unit_test(unique_ordered_swaps_within_one_commit),
        cmocka_unit_test(missing_ones_stand_where_the_index_says),
        cmocka_unit_test(range_with_a_bound_gives_missing_ones_only_if_asked),
        cmocka_unit_test(bound_on_a_later_field_leaves_its_missing_ones_out),
        cmocka_unit_test(missing_ones_of_a_unique_index_are_not_refused),
        cmocka_unit_test(field_too_big_beside_a_missing_one_is_taken),
        cmocka_unit_test(keys_are_listed_by_prefix),
        cmocka_unit_test(keys_of_any_bytes_have_their_order),
        cmocka_unit_test(key_behind_other_fields_makes_the_order_stable),
        cmocka_unit_test(key_too_long_beside_a_field_is_refused),
        cmocka_unit_test(document_comes_at_its_first_element_in_the_range),
        cmocka_unit_test(elements_are_looked_into),
        cmocka_unit_test(elements_move_under_old_sections),
        cmocka_unit_test(own_writes_come_at_their_first_element),
        cmocka_unit_test(commit_without_memory_leaves_no_entry),
        cmocka_unit_test(count_without_memory_is_nought_and_says_so),
        cmocka_unit_test(old_section_counts_elements_after_a_drop),
        cmocka_unit_test(kinds_are_added_to_documents_that_are_there),
        cmocka_unit_test(elements_that_cannot_be_held_are_refused),
    };
    return cmocka_run_group_tests_name("store/kinds", tests, NULL, NULL);
}
