/* tests/unit/store/range_test.c - ranges and tags: what is asked wrongly, and what a cursor
 * promises.
 *
 * Aim     Wrong questions are refused and give nothing; bounds, prefixes and directions mean what
 *         the header says; a cursor goes on in later sections; entries go when nobody needs them.
 * Method  A few documents written by hand, each answer compared key by key.
 * Blind   Whether an index agrees with all documents under random commits: model/ranges_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "scarce.h"
#include "writing.h"

#include "base/buffer.h"
#include "document/encode.h"
#include "store/root.h"

static void open_players(stand *s) {
    static const merle_index indexes[] = {
        {"name", MERLE_UNIQUE, "name"},
        {"rank", MERLE_ORDERED, "guild, -score"},
        {"tags", MERLE_TAGS, "tags"},
        {NULL, 0, NULL},
    };
    const merle_schema schema = {.version = 1, .indexes = indexes};
    writing_open(s, &schema, (merle_options){0}, NULL);
    (void)put_json(s, "a", "{\"guild\":\"red\",\"score\":10,\"tags\":[\"eu\",\"new\"]}");
    (void)put_json(s, "b", "{\"guild\":\"red\",\"score\":30,\"tags\":\"eu\"}");
    (void)put_json(s, "c", "{\"guild\":\"redder\",\"score\":20,\"tags\":[]}");
    (void)put_json(s, "d", "{\"guild\":\"blue\",\"score\":5,\"tags\":[\"us\",null]}");
    (void)put_json(s, "e", "{\"guild\":\"blue\"}");
    (void)put_json(s, "f", "{\"score\":7,\"guild\":null}");
}

/* The keys that a range gives, one letter each. */
static const char *keys_of(const stand *s, merle_range range) {
    static char keys[64];
    merle_section section;
    merle_cursor *cursor;
    merle_doc docs[2];
    size_t count, used = 0;
    uint64_t counted = 0;
    must(s, merle_section_begin(s->db, &section));
    must(s, merle_range_open(s->players, &range, &cursor));
    while (merle_cursor_next(&section, cursor, docs, 2, &count) == MERLE_OK)
        for (size_t i = 0; i < count; i++)
            keys[used++] = *(const char *)merle_doc_key(docs[i]).data;
    keys[used] = 0;
    merle_cursor_close(cursor);
    must(s, merle_range_count(&section, s->players, &range, &counted));
    assert_int_equal(counted, used);
    must(s, merle_range_estimate(s->players, &range, &counted));
    assert_in_range(counted, used, 6);
    must(s, merle_section_end(&section));
    return keys;
}

static void bounds_prefixes_and_directions(void **state) {
    (void)state;
    stand s;
    open_players(&s);
    merle_value red[] = {merle_value_str("red"), merle_value_int(10)};
    merle_value blue = merle_value_str("blue");
    merle_range range = {.index = "rank"};
    assert_string_equal(keys_of(&s, range), "dbac");
    range.backwards = 1;
    assert_string_equal(keys_of(&s, range), "cabd");
    range.from = (merle_bound){MERLE_CLOSED, red, 1};
    assert_string_equal(keys_of(&s, range), "cab");
    range.from.kind = MERLE_OPEN;
    assert_string_equal(keys_of(&s, range), "c");
    range.backwards = 0;
    range.from.kind = MERLE_CLOSED;
    range.to = (merle_bound){MERLE_CLOSED, red, 1};
    assert_string_equal(keys_of(&s, range), "ba");
    range.to = (merle_bound){MERLE_OPEN, red, 2};
    assert_string_equal(keys_of(&s, range), "b");
    range.from = (merle_bound){MERLE_CLOSED, red, 2};
    range.to = (merle_bound){0};
    assert_string_equal(keys_of(&s, range), "ac");
    range.to = (merle_bound){MERLE_CLOSED, &blue, 1};
    assert_string_equal(keys_of(&s, range), "");
    range = (merle_range){.index = "rank", .prefix = "red"};
    assert_string_equal(keys_of(&s, range), "bac");
    range.prefix = "redd";
    assert_string_equal(keys_of(&s, range), "c");
    range.prefix = "";
    assert_string_equal(keys_of(&s, range), "dbac");
    range.prefix = "green";
    assert_string_equal(keys_of(&s, range), "");
    writing_close(&s);
}

static void refuse(const stand *s, merle_range range) {
    merle_section section;
    merle_cursor *cursor = (merle_cursor *)&section;
    merle_doc doc;
    uint64_t number = 7;
    must(s, merle_section_begin(s->db, &section));
    assert_int_equal(merle_range_open(s->players, &range, &cursor), MERLE_INVALID);
    assert_null(cursor);
    assert_int_equal(merle_range_count(&section, s->players, &range, &number), MERLE_INVALID);
    assert_int_equal(number, 0);
    assert_int_equal(merle_range_rank(&section, s->players, &range, MERLE_STR("a"), &number),
                     MERLE_INVALID);
    assert_int_equal(merle_range_nth(&section, s->players, &range, 0, &doc), MERLE_INVALID);
    assert_null(doc.data);
    assert_int_equal(merle_range_estimate(s->players, &range, &number), MERLE_INVALID);
    must(s, merle_section_end(&section));
}

static void wrong_ranges_are_refused(void **state) {
    (void)state;
    stand s;
    open_players(&s);
    merle_value values[] = {merle_value_str("red"), merle_value_int(1), merle_value_int(2)};
    merle_value list = {.type = MERLE_TYPE_ARRAY};
    refuse(&s, (merle_range){.index = "none"});
    refuse(&s, (merle_range){.index = NULL});
    refuse(&s, (merle_range){.index = "name"});
    refuse(&s, (merle_range){.index = "tags"});
    refuse(&s, (merle_range){.index = "rank", .from = {MERLE_CLOSED, values, 3}});
    refuse(&s, (merle_range){.index = "rank", .to = {MERLE_OPEN, &list, 1}});
    refuse(&s, (merle_range){.index = "rank", .to = {(merle_bound_kind)9, values, 1}});
    refuse(&s, (merle_range){.index = "rank", .prefix = "a", .from = {MERLE_CLOSED, values, 2}});
    writing_close(&s);
}

static void rank_and_nth_go_both_ways(void **state) {
    (void)state;
    stand s;
    open_players(&s);
    merle_section section;
    merle_doc doc;
    uint64_t rank;
    merle_range range = {.index = "rank"};
    must(&s, merle_section_begin(s.db, &section));
    must(&s, merle_range_rank(&section, s.players, &range, MERLE_STR("a"), &rank));
    assert_int_equal(rank, 2);
    range.backwards = 1;
    must(&s, merle_range_rank(&section, s.players, &range, MERLE_STR("a"), &rank));
    assert_int_equal(rank, 1);
    must(&s, merle_range_nth(&section, s.players, &range, 3, &doc));
    assert_memory_equal(merle_doc_key(doc).data, "d", 1);
    /* Not there, not in the index, not in the range. */
    merle_value blue = merle_value_str("blue");
    assert_int_equal(merle_range_rank(&section, s.players, &range, MERLE_STR("z"), &rank),
                     MERLE_NOT_FOUND);
    assert_int_equal(merle_range_rank(&section, s.players, &range, MERLE_STR("e"), &rank),
                     MERLE_NOT_FOUND);
    range.to = (merle_bound){MERLE_CLOSED, &blue, 1};
    assert_int_equal(merle_range_rank(&section, s.players, &range, MERLE_STR("a"), &rank),
                     MERLE_NOT_FOUND);
    assert_int_equal(rank, 0);
    must(&s, merle_section_end(&section));
    writing_close(&s);
}

static void cursor_goes_on_in_later_sections(void **state) {
    (void)state;
    stand s;
    open_players(&s);
    merle_section section;
    merle_cursor *cursor;
    merle_doc doc;
    size_t count;
    merle_range range = {.index = "rank"};
    must(&s, merle_range_open(s.players, &range, &cursor));
    must(&s, merle_section_begin(s.db, &section));
    must(&s, merle_cursor_next(&section, cursor, &doc, 1, &count));
    assert_memory_equal(merle_doc_key(doc).data, "d", 1);
    must(&s, merle_section_end(&section));
    /* What it stands on goes; what it will come to changes its place, or stays. */
    (void)remove_key(&s, "d");
    (void)put_json(&s, "b", "{\"guild\":\"redder\",\"score\":1}");
    stand_settle(&s);
    must(&s, merle_section_begin(s.db, &section));
    must(&s, merle_cursor_next(&section, cursor, &doc, 1, &count));
    assert_memory_equal(merle_doc_key(doc).data, "a", 1);
    must(&s, merle_cursor_next(&section, cursor, &doc, 1, &count));
    assert_memory_equal(merle_doc_key(doc).data, "c", 1);
    must(&s, merle_cursor_next(&section, cursor, &doc, 1, &count));
    assert_memory_equal(merle_doc_key(doc).data, "b", 1);
    assert_int_equal(merle_cursor_next(&section, cursor, &doc, 1, &count), MERLE_NOT_FOUND);
    assert_int_equal(count, 0);
    must(&s, merle_section_end(&section));
    merle_cursor_close(cursor);
    merle_cursor_close(NULL);
    writing_close(&s);
}

static void cursor_over_a_truncated_collection_finds_what_is_there(void **state) {
    (void)state;
    stand s;
    open_players(&s);
    merle_section section, old;
    merle_cursor *cursor, *second;
    merle_doc doc;
    size_t count;
    merle_range range = {.index = "rank"};
    must(&s, merle_range_open(s.players, &range, &cursor));
    must(&s, merle_range_open(s.players, &range, &second));
    must(&s, merle_section_begin(s.db, &old));
    must(&s, merle_collection_truncate(s.players, NULL));
    must(&s, merle_section_begin(s.db, &section));
    assert_int_equal(merle_cursor_next(&section, cursor, &doc, 1, &count), MERLE_NOT_FOUND);
    must(&s, merle_cursor_next(&old, second, &doc, 1, &count));
    must(&s, merle_section_end(&section));
    must(&s, merle_section_end(&old));
    merle_cursor_close(cursor);
    merle_cursor_close(second);
    writing_close(&s);
}

static uint64_t tagged(const stand *s, merle_value tag) {
    merle_section section;
    uint64_t count = 0;
    must(s, merle_section_begin(s->db, &section));
    must(s, merle_tag_count(&section, s->players, "tags", tag, &count));
    must(s, merle_section_end(&section));
    return count;
}

static void tags_are_elements_or_what_stands_alone(void **state) {
    (void)state;
    stand s;
    open_players(&s);
    merle_section section;
    uint64_t count = 7;
    assert_int_equal(tagged(&s, merle_value_str("eu")), 2);
    assert_int_equal(tagged(&s, merle_value_str("new")), 1);
    assert_int_equal(tagged(&s, merle_value_str("us")), 1);
    assert_int_equal(tagged(&s, merle_value_str("nobody's")), 0);
    must(&s, merle_one_patch(s.players, MERLE_STR("a"), NULL, NULL, MERLE_UNSET("tags")));
    assert_int_equal(tagged(&s, merle_value_str("eu")), 1);
    must(&s, merle_section_begin(s.db, &section));
    assert_int_equal(merle_tag_count(&section, s.players, "rank", merle_value_str("eu"), &count),
                     MERLE_INVALID);
    assert_int_equal(count, 0);
    must(&s, merle_section_end(&section));
    writing_close(&s);
}

/* The tags from `after` on, with their estimates, as text. */
static const char *listed(const stand *s, merle_value prefix, merle_value after, size_t max) {
    static char text[256];
    merle_section section;
    merle_buffer bytes = {NULL, 0, 0};
    merle_tag_listed tags[64];
    size_t count, used = 0;
    text[0] = 0;
    must(s, merle_section_begin(s->db, &section));
    must(s,
         merle_tags_list(&section, s->players, "tags", prefix, after, &bytes, tags, max, &count));
    assert_in_range(count, 0, max);
    must(s, merle_section_end(&section));
    for (size_t i = 0; i < count && used < sizeof text; i++) {
        const merle_value *v = &tags[i].tag;
        int is_text = v->type == MERLE_TYPE_STR || v->type == MERLE_TYPE_BIN;
        used += (size_t)snprintf(text + used, sizeof text - used, "%.*s%.0lld:%u ",
                                 is_text ? (int)v->bytes.size : 0,
                                 is_text ? (const char *)v->bytes.data : "",
                                 is_text ? 0 : (long long)v->number.i, (unsigned)tags[i].estimate);
    }
    merle_buffer_free(&bytes);
    return text;
}

static void tags_are_listed_in_order(void **state) {
    (void)state;
    stand s;
    open_players(&s);
    const merle_value none = {0};
    (void)put_json(&s, "g", "{\"tags\":[\"eu\",\"eu-west\",7,7.0,\"\",\"a\\u0000b\",true]}");
    assert_string_equal(listed(&s, none, none, 64), "1:1 7:1 :1 a:1 eu:3 eu-west:1 new:1 us:1 ");
    assert_string_equal(listed(&s, none, none, 2), "1:1 7:1 ");
    assert_string_equal(listed(&s, none, merle_value_str("eu"), 64), "eu-west:1 new:1 us:1 ");
    assert_string_equal(listed(&s, none, merle_value_str("f"), 64), "new:1 us:1 ");
    assert_string_equal(listed(&s, merle_value_str("eu"), none, 64), "eu:3 eu-west:1 ");
    assert_string_equal(listed(&s, merle_value_str("eu"), merle_value_str("eu"), 1), "eu-west:1 ");
    assert_string_equal(listed(&s, merle_value_str("eu"), merle_value_str("ev"), 64), "");
    assert_string_equal(listed(&s, merle_value_bin(MERLE_STR("eu")), none, 64), "");
    merle_section section;
    merle_buffer bytes = {NULL, 0, 0};
    merle_tag_listed tags[100];
    size_t count = 7;
    must(&s, merle_section_begin(s.db, &section));
    must(&s, merle_tags_list(&section, s.players, "tags", merle_value_str("a"), none, &bytes, tags,
                             1, &count));
    assert_int_equal(tags[0].tag.bytes.size, 3);
    assert_memory_equal(tags[0].tag.bytes.data, "a\0b", 3);
    assert_int_equal(merle_tags_list(&section, s.players, "tags", merle_value_int(1), none, &bytes,
                                     tags, 1, &count),
                     MERLE_INVALID);
    assert_int_equal(count, 0);
    assert_int_equal(
        merle_tags_list(&section, s.players, "rank", none, none, &bytes, tags, 1, &count),
        MERLE_INVALID);
    /* No memory for what they are called. */
    supply memory;
    supply_init(&memory);
    supply_all_but(&memory, 0);
    merle_buffer_free(&bytes);
    mrl_refusal_of_thread = &memory.refusal;
    assert_int_equal(
        merle_tags_list(&section, s.players, "tags", none, none, &bytes, tags, 64, &count),
        MERLE_NO_MEMORY);
    mrl_refusal_of_thread = NULL;
    assert_int_equal(count, 0);
    /* Nobody has it any more, but in this section. */
    (void)remove_key(&s, "d");
    for (int i = 0; i < 50; i++) stand_settle(&s);
    must(&s, merle_tags_list(&section, s.players, "tags", merle_value_str("us"), none, &bytes, tags,
                             64, &count));
    assert_int_equal(count, 1);
    must(&s, merle_section_end(&section));
    for (int i = 0; i < 50; i++) stand_settle(&s);
    assert_string_equal(listed(&s, merle_value_str("us"), none, 64), "");
    /* More than are looked at in one piece. */
    for (int i = 0; i < 90; i++) {
        char json[64];
        (void)snprintf(json, sizeof json, "{\"tags\":[\"many %02d\"]}", i);
        (void)put_json(&s, "m", json);
        (void)put_json(&s, json + 11, json);
    }
    must(&s, merle_section_begin(s.db, &section));
    must(&s, merle_tags_list(&section, s.players, "tags", merle_value_str("many"), none, &bytes,
                             tags, 100, &count));
    assert_int_equal(count, 90);
    assert_memory_equal(tags[89].tag.bytes.data, "many 89", 7);
    assert_memory_equal(tags[0].tag.bytes.data, "many 00", 7);
    must(&s, merle_section_end(&section));
    merle_buffer_free(&bytes);
    writing_close(&s);
}

static uint64_t entries_of(const stand *s, const char *index) {
    merle_stats_index stats = {.size = sizeof stats};
    must(s, merle_index_stats(s->players, index, &stats));
    return stats.entries;
}

static void entries_go_when_nobody_needs_them(void **state) {
    (void)state;
    stand s;
    open_players(&s);
    for (int i = 0; i < 500; i++) {
        char json[80];
        (void)snprintf(json, sizeof json, "{\"guild\":\"g%d\",\"score\":%d,\"tags\":[%d]}", i % 7,
                       i, i % 11);
        (void)put_json(&s, "a", json);
        (void)put_json(&s, "b", json);
    }
    for (int i = 0; i < 50; i++) stand_settle(&s);
    assert_in_range(entries_of(&s, "rank"), 4, 60);
    assert_in_range(entries_of(&s, "tags"), 3, 60);
    for (const char *key = "abcdef"; *key != 0; key++) {
        char one[2] = {*key, 0};
        (void)remove_key(&s, one);
    }
    for (int i = 0; i < 50; i++) stand_settle(&s);
    assert_in_range(entries_of(&s, "rank"), 0, 60);
    writing_close(&s);
}

/* ---- memory refused ---- */

static merle_err move_both(const stand *s) {
    merle_commit *commit;
    merle_err err = merle_begin(s->db, &commit);
    if (err != MERLE_OK) return err;
    err = write_json(commit, s->players, merle_put, "a",
                     "{\"guild\":\"green\",\"score\":1,\"tags\":[\"eu\",\"x\",\"y\"]}");
    if (err == MERLE_OK)
        err = write_json(commit, s->players, merle_put, "new",
                         "{\"guild\":\"a very long name, which no leaf can hold\",\"score\":2,"
                         "\"tags\":[\"z\"]}");
    if (err != MERLE_OK) {
        merle_cancel(commit);
        return err;
    }
    return merle_end(commit, NULL);
}

static uint64_t try_with(void *context, uint64_t grants) {
    static supply memory;
    const merle_index indexes[] = {
        {"rank", MERLE_ORDERED, "guild, -score"}, {"tags", MERLE_TAGS, "tags"}, {NULL, 0, NULL}};
    const merle_schema schema = {.version = 1, .indexes = indexes};
    supply_init(&memory);
    const mrl_environment environment = {.refusal = &memory.refusal};
    merle_range all = {.index = "rank"};
    stand s;
    (void)context;
    writing_open(&s, &schema, (merle_options){0}, &environment);
    (void)put_json(&s, "a", "{\"guild\":\"red\",\"score\":10,\"tags\":[\"eu\",\"new\"]}");
    supply_all_but(&memory, grants);
    merle_err err = move_both(&s);
    uint64_t refused = supply_all(&memory);
    if (err != MERLE_OK) {
        assert_int_equal(err, MERLE_NO_MEMORY);
        assert_string_equal(keys_of(&s, all), "a");
        assert_int_equal(tagged(&s, merle_value_str("x")), 0);
        assert_int_equal(tagged(&s, merle_value_str("new")), 1);
        must(&s, merle_check(s.db, &s.report));
        must(&s, move_both(&s));
    }
    assert_string_equal(keys_of(&s, all), "na");
    assert_int_equal(tagged(&s, merle_value_str("y")), 1);
    assert_int_equal(tagged(&s, merle_value_str("new")), 0);
    writing_close(&s);
    return refused;
}

static void commit_without_memory_leaves_no_entry(void **state) {
    (void)state;
    refuse_in_turn(try_with, NULL, 8);
}

/* ---- what merle_check finds ---- */

/* Plants one, and takes it away again. */
static void assert_found(const stand *s, const char *index) {
    memset(&((stand *)(uintptr_t)s)->report, 0, sizeof s->report);
    assert_int_equal(merle_check(s->db, (merle_report *)(uintptr_t)&s->report), MERLE_CORRUPT);
    assert_string_equal(s->report.index, index);
}

/* Gives an entry up, as a commit does. */
static void give_up(mrl_tags *tags, mrl_member *member, merle_bytes value, uint32_t slot) {
    mrl_tag_mark(tags, member, mrl_tags_warn(tags, member, value, slot), slot);
}

/* As many entries as values, but one of them stands for another document. */
static void check_finds_an_entry_in_the_wrong_place(void **state) {
    (void)state;
    stand s;
    open_players(&s);
    uint8_t value[64];
    size_t size;
    int added;
    mrl_root *root = mrl_collection_current(s.players);
    mrl_member *member = mrl_member_join(root->collection->store->domain);
    merle_value eu = merle_value_str("eu");
    must(&s, mrl_encode_value(&eu, 0, value, sizeof value, &size));
    merle_bytes bytes = merle_bytes_of(value, size);
    uint32_t a = mrl_root_find(root, mrl_root_hash(root, MERLE_STR("a")), MERLE_STR("a"))->slot;
    uint32_t c = mrl_root_find(root, mrl_root_hash(root, MERLE_STR("c")), MERLE_STR("c"))->slot;
    mrl_epoch_token token;
    mrl_member_enter(member, &token);
    give_up(root->indexes[2].tags, member, bytes, a);
    must(&s, mrl_tags_add(root->indexes[2].tags, member, bytes, c, &added));
    mrl_member_leave(member, &token);
    for (int i = 0; i < 50; i++) stand_settle(&s);
    assert_found(&s, "tags");
    assert_non_null(strstr(s.report.found, "none for one of slot"));
    mrl_member_enter(member, &token);
    give_up(root->indexes[2].tags, member, bytes, c);
    must(&s, mrl_tags_add(root->indexes[2].tags, member, bytes, a, &added));
    mrl_member_leave(member, &token);
    writing_close(&s);
}

static void check_finds_an_entry_too_many_and_one_too_few(void **state) {
    (void)state;
    stand s;
    open_players(&s);
    uint8_t value[64];
    size_t size;
    int added;
    mrl_root *root = mrl_collection_current(s.players);
    mrl_member *member = mrl_member_join(root->collection->store->domain);
    merle_value eu = merle_value_str("eu");
    must(&s, mrl_encode_value(&eu, 0, value, sizeof value, &size));
    merle_bytes bytes = merle_bytes_of(value, size);
    mrl_version *v = mrl_root_find(root, mrl_root_hash(root, MERLE_STR("c")), MERLE_STR("c"));
    mrl_epoch_token token;
    mrl_member_enter(member, &token);
    must(&s, mrl_ordered_add(root->indexes[1].ordered, member, bytes, v->slot, &added));
    assert_found(&s, "rank");
    mrl_ordered_mark(root->indexes[1].ordered, member, bytes, v->slot);
    must(&s, mrl_tags_add(root->indexes[2].tags, member, bytes, v->slot, &added));
    assert_found(&s, "tags");
    give_up(root->indexes[2].tags, member, bytes, v->slot);
    must(&s, merle_check(s.db, &s.report));
    v = mrl_root_find(root, mrl_root_hash(root, MERLE_STR("a")), MERLE_STR("a"));
    give_up(root->indexes[2].tags, member, bytes, v->slot);
    assert_found(&s, "tags");
    must(&s, mrl_tags_add(root->indexes[2].tags, member, bytes, v->slot, &added));
    size = mrl_version_encode(v, &root->schema->indexes[1], value);
    mrl_ordered_mark(root->indexes[1].ordered, member, merle_bytes_of(value, size), v->slot);
    assert_found(&s, "rank");
    must(&s, mrl_ordered_add(root->indexes[1].ordered, member, merle_bytes_of(value, size), v->slot,
                             &added));
    mrl_member_leave(member, &token);
    writing_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_prefixes_and_directions),
        cmocka_unit_test(wrong_ranges_are_refused),
        cmocka_unit_test(rank_and_nth_go_both_ways),
        cmocka_unit_test(cursor_goes_on_in_later_sections),
        cmocka_unit_test(cursor_over_a_truncated_collection_finds_what_is_there),
        cmocka_unit_test(tags_are_listed_in_order),
        cmocka_unit_test(tags_are_elements_or_what_stands_alone),
        cmocka_unit_test(entries_go_when_nobody_needs_them),
        cmocka_unit_test(commit_without_memory_leaves_no_entry),
        cmocka_unit_test(check_finds_an_entry_too_many_and_one_too_few),
        cmocka_unit_test(check_finds_an_entry_in_the_wrong_place),
    };
    return cmocka_run_group_tests_name("store/range", tests, NULL, NULL);
}
