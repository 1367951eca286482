/* tests/unit/store/extract_test.c - indexes whose values a function makes.
 *
 * Aim     A function's values are found, listed and refused as those of paths are; the documents
 *         for which it makes none are not in the index; what it refuses leaves no trace; nobody
 *         calls it but writers.
 * Method  Functions that count their calls, on a few documents written by hand; versions of every
 *         age, patches, merges and swaps; memory refused in turn; merle_check at the end of each.
 * Blind   Whether an index agrees with all documents under random commits: model/ranges_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "listing.h"
#include "scarce.h"

#include "base/buffer.h"
#include "store/root.h"

/* ---- functions ---- */

static unsigned calls;

/* The sum of two fields; none for who is banned; nil where one is missing. */
static merle_err power_of(void *context, merle_bytes key, merle_doc doc, merle_value *out_values,
                          size_t value_max, size_t *out_count) {
    (void)context;
    (void)key;
    assert_int_equal(value_max, 2);
    calls++;
    if (merle_doc_bool(doc, "banned", 0)) return MERLE_OK;
    if (merle_doc_has(doc, "wrong")) return MERLE_RULE;
    if (merle_doc_has(doc, "few")) *out_count = 1;
    if (*out_count == 1) return MERLE_OK;
    if (merle_doc_has(doc, "list")) {
        merle_err err = merle_doc_value(doc, "list", &out_values[0]);
        if (err != MERLE_OK) return err;
    } else if (merle_doc_has(doc, "attack") && merle_doc_has(doc, "defence")) {
        out_values[0] =
            merle_value_int(merle_doc_int(doc, "attack", 0) + merle_doc_int(doc, "defence", 0));
    }
    out_values[1] = merle_value_bytes(merle_doc_str(doc, "guild"));
    *out_count = 2;
    return MERLE_OK;
}

/* The part of the key before the slash. */
static merle_err owner_of(void *context, merle_bytes key, merle_doc doc, merle_value *out_values,
                          size_t value_max, size_t *out_count) {
    const char *slash = memchr(key.data, '/', key.size);
    (void)context;
    (void)doc;
    calls++;
    assert_int_equal(value_max, 1);
    if (slash == NULL) return MERLE_OK;
    size_t size = (size_t)(slash - (const char *)key.data);
    out_values[0] = merle_value_bytes(merle_bytes_of(key.data, size));
    *out_count = 1;
    return MERLE_OK;
}

static const merle_index powers[] = {
    {"power", MERLE_ORDERED, "-total power, guild", .extract = power_of},
    {"last", MERLE_ORDERED, "power, guild", MERLE_MISSING_LAST, .extract = power_of},
    {"attack", MERLE_ORDERED, "attack"},
    {0}};

static void put_powers(const stand *s) {
    (void)put_json(s, "a", "{\"attack\":1,\"defence\":2,\"guild\":\"red\"}");
    (void)put_json(s, "b", "{\"attack\":5,\"defence\":0,\"guild\":\"red\"}");
    (void)put_json(s, "c", "{\"attack\":9,\"defence\":9,\"guild\":\"red\",\"banned\":true}");
    (void)put_json(s, "d", "{\"attack\":1,\"defence\":2,\"guild\":\"blue\"}");
    (void)put_json(s, "e", "{\"attack\":2,\"guild\":\"blue\"}");
}

/* ---- reading and writing ---- */

static void values_are_listed_as_those_of_paths(void **state) {
    (void)state;
    stand s;
    merle_value four = merle_value_int(4), three = merle_value_int(3);
    open_with(&s, powers);
    put_powers(&s);
    assert_keys(&s, all_of("power"), "bda");
    assert_keys(&s, all_of("last"), "dabe");
    const merle_bound at = {MERLE_CLOSED, &four, 1}, three_at = {MERLE_CLOSED, &three, 1};
    assert_keys(&s, between("power", (merle_bound){0}, at), "b");
    assert_keys(&s, between("last", (merle_bound){0}, at), "da");
    assert_keys(&s, (merle_range){.index = "last", .from = three_at, .prefix = "r"}, "a");
    must(&s, merle_one_patch(s.players, KEY("a"), NULL, NULL, MERLE_INC("attack", 9)));
    must(&s, merle_one_patch(s.players, KEY("c"), NULL, NULL, MERLE_UNSET("banned")));
    must(&s, merle_one_patch(s.players, KEY("b"), NULL, NULL, MERLE_SET_BOOL("banned", 1)));
    assert_keys(&s, all_of("power"), "cad");
    assert_keys(&s, all_of("attack"), "debca");
    writing_close(&s);
}

static void nobody_asks_a_function_but_writers(void **state) {
    (void)state;
    stand s;
    merle_section old;
    open_with(&s, powers);
    put_powers(&s);
    must(&s, merle_section_begin(s.db, &old));
    calls = 0;
    must(&s, merle_one_patch(s.players, KEY("a"), NULL, NULL, MERLE_INC("attack", 9)));
    /* Once for each index, and again if the document changed under the patch. */
    assert_in_range(calls, 2, 4);
    (void)remove_key(&s, "d");
    calls = 0;
    assert_string_equal(keys_in(&old, &s, all_of("power")), "bda");
    assert_keys(&s, all_of("power"), "ab");
    must(&s, merle_section_end(&old));
    stand_settle(&s);
    must(&s, merle_check(s.db, &s.report));
    assert_int_equal(hints_of(&s, "power"), 2);
    must(&s, merle_collection_truncate(s.players, NULL));
    stand_settle(&s);
    assert_int_equal(calls, 0);
    writing_close(&s);
}

static void refuse_json(const stand *s, const char *json, merle_err err, const char *told) {
    assert_int_equal(one_json(s, "a", json), err);
    assert_int_equal(s->report.err, err);
    assert_string_equal(s->report.index, "power");
    assert_string_equal(s->report.key, "a");
    assert_non_null(strstr(s->report.message, told));
}

static void what_a_function_refuses_leaves_no_trace(void **state) {
    (void)state;
    stand s;
    open_with(&s, powers);
    put_powers(&s);
    refuse_json(&s, "{\"wrong\":1}", MERLE_RULE, "function");
    refuse_json(&s, "{\"few\":1}", MERLE_INVALID, "number of values");
    refuse_json(&s, "{\"list\":[1]}", MERLE_TYPE, "total power");
    assert_int_equal(merle_one_patch(s.players, KEY("a"), NULL, NULL, MERLE_SET_INT("wrong", 1)),
                     MERLE_RULE);
    assert_string_equal(s.report.index, "power");
    merle_commit *commit = begin(&s);
    must(&s, merle_patch(commit, s.players, KEY("b"), MERLE_INC("attack", 1)));
    must(&s, merle_patch(commit, s.players, KEY("a"), MERLE_SET_INT("wrong", 1)));
    end_refused(&s, commit, MERLE_RULE);
    assert_keys(&s, all_of("power"), "bda");
    assert_there(&s, "b", "{\"attack\":5,\"defence\":0,\"guild\":\"red\"}");
    writing_close(&s);
}

static void value_too_long_is_refused(void **state) {
    static char text[5000];
    (void)state;
    stand s;
    open_with(&s, powers);
    put_powers(&s);
    memset(text, 'x', sizeof text - 1);
    const merle_op set[] = {MERLE_SET_STR("guild", text)};
    assert_int_equal(merle_one_patch_ops(s.players, KEY("a"), set, 1, NULL, NULL), MERLE_TOO_BIG);
    assert_string_equal(s.report.path, "guild");
    /* Not in the index: not asked how long it is. */
    must(&s, merle_one_patch_ops(s.players, KEY("c"), set, 1, NULL, NULL));
    assert_keys(&s, all_of("power"), "bda");
    writing_close(&s);
}

/* ---- unique ---- */

static const merle_index owners[] = {{"one", MERLE_UNIQUE, "owner", .extract = owner_of},
                                     {"both", MERLE_UNIQUE_ORDERED, "-owner", .extract = owner_of},
                                     {0}};

static void unique_values_of_a_function_are_refused_and_moved(void **state) {
    (void)state;
    stand s;
    merle_section section;
    open_with(&s, owners);
    (void)put_json(&s, "anna/1", "{}");
    (void)put_json(&s, "bert/1", "{}");
    (void)put_json(&s, "nobody's", "{}");
    (void)put_json(&s, "nobody", "{}");
    assert_int_equal(one_json(&s, "anna/2", "{}"), MERLE_EXISTS);
    assert_string_equal(s.report.index, "one");
    assert_holder_now(&s, "one", merle_value_str("anna"), "anna/1");
    assert_holder_now(&s, "both", merle_value_str("bert"), "bert/1");
    assert_holder_now(&s, "one", merle_value_str("nobody"), NULL);
    assert_keys(&s, all_of("both"), "ba");
    must(&s, merle_section_begin(s.db, &section));
    merle_commit *commit = begin(&s);
    must(&s, merle_remove(commit, s.players, KEY("anna/1")));
    put_in(&s, commit, "anna/2", "{}");
    (void)end(&s, commit);
    assert_holder_now(&s, "one", merle_value_str("anna"), "anna/2");
    assert_holder(&section, s.players, "one", merle_value_str("anna"), "anna/1");
    must(&s, merle_section_end(&section));
    stand_settle(&s);
    assert_int_equal(hints_of(&s, "one"), 2);
    writing_close(&s);
}

static void missing_values_of_a_function_take_no_unique_value(void **state) {
    static const merle_index indexes[] = {
        {"power", MERLE_UNIQUE_ORDERED, "power, guild", MERLE_MISSING_LAST, .extract = power_of},
        {0}};
    (void)state;
    stand s;
    open_with(&s, indexes);
    (void)put_json(&s, "a", "{\"guild\":\"red\"}");
    (void)put_json(&s, "b", "{\"guild\":\"red\"}");
    (void)put_json(&s, "c", "{\"guild\":\"red\",\"attack\":1,\"defence\":1}");
    assert_int_equal(one_json(&s, "a", "{\"guild\":\"red\",\"attack\":2,\"defence\":0}"),
                     MERLE_EXISTS);
    assert_keys(&s, all_of("power"), "cab");
    must(&s, merle_one_patch(s.players, KEY("c"), NULL, NULL, MERLE_UNSET("attack")));
    (void)put_json(&s, "a", "{\"guild\":\"red\",\"attack\":2,\"defence\":0}");
    assert_keys(&s, all_of("power"), "abc");
    stand_settle(&s);
    assert_int_equal(hints_of(&s, "power"), 4);
    writing_close(&s);
}

/* ---- schemas ---- */

static void refuse_index(const stand *s, merle_index index, const char *told) {
    const merle_index indexes[] = {index, {0}};
    const merle_schema schema = {.version = 1, .indexes = indexes};
    merle_collection *collection;
    assert_int_equal(merle_collection_open(s->db, "others", &schema, &collection), MERLE_INVALID);
    assert_null(collection);
    assert_non_null(strstr(s->report.message, told));
    assert_string_equal(s->report.index, index.name);
}

static void labels_are_plain_and_the_kind_fits(void **state) {
    (void)state;
    stand s;
    open_with(&s, powers);
    refuse_index(&s, (merle_index){"x", MERLE_TAGS, "a", .extract = owner_of}, "plain path");
    refuse_index(&s, (merle_index){"x", MERLE_ORDERED, "a[*]", .extract = owner_of}, "labels");
    refuse_index(&s, (merle_index){"x", MERLE_ORDERED, "a, key()", .extract = owner_of}, "labels");
    refuse_index(&s, (merle_index){"x", MERLE_ORDERED, "", .extract = owner_of}, "empty");
    writing_close(&s);
}

static merle_err reopen(const stand *s, const merle_index *index, const char *expected) {
    const merle_index indexes[] = {*index, powers[1], powers[2], {0}};
    const merle_schema schema = {.version = 1, .indexes = indexes};
    merle_collection *collection;
    merle_err err = merle_collection_open(s->db, "players", &schema, &collection);
    if (err != MERLE_OK) {
        assert_string_equal(s->report.index, "power");
        assert_string_equal(s->report.expected, expected);
    }
    return err;
}

static void opening_with_another_function_differs(void **state) {
    (void)state;
    stand s;
    merle_buffer json = {NULL, 0, 0};
    open_with(&s, powers);
    merle_index index = powers[0];
    must(&s, reopen(&s, &index, NULL));
    index.extract = owner_of;
    assert_int_equal(reopen(&s, &index, "a function"), MERLE_DIFFERS);
    index = powers[0];
    index.extract_context = &s;
    assert_int_equal(reopen(&s, &index, "a function"), MERLE_DIFFERS);
    index = powers[0];
    index.extract = NULL;
    assert_int_equal(reopen(&s, &index, "none"), MERLE_DIFFERS);
    must(&s, merle_collection_describe(s.players, &json));
    assert_non_null(memmem(json.data, json.size, "\"extract\": true", 15));
    merle_buffer_free(&json);
    writing_close(&s);
}

static void stored_values_outlive_another_index(void **state) {
    static const merle_index more = {"guild", MERLE_ORDERED, "guild", MERLE_MISSING_FIRST};
    (void)state;
    stand s;
    open_with(&s, powers);
    put_powers(&s);
    must(&s, merle_index_drop(s.players, "attack", NULL));
    must(&s, merle_index_add(s.players, &more, NULL));
    must(&s, merle_index_build(s.players, "guild"));
    assert_keys(&s, all_of("last"), "dabe");
    (void)put_json(&s, "f", "{\"attack\":3,\"defence\":0,\"guild\":\"green\"}");
    must(&s, merle_one_patch(s.players, KEY("a"), NULL, NULL, MERLE_SET_STR("guild", "green")));
    assert_keys(&s, all_of("last"), "dafbe");
    must(&s, merle_index_drop(s.players, "last", NULL));
    stand_settle(&s);
    assert_keys(&s, all_of("power"), "bdaf");
    writing_close(&s);
}

/* ---- memory refused ---- */

static merle_err move_all(const stand *s, merle_bytes doc) {
    merle_commit *commit;
    merle_err err = merle_begin(s->db, &commit);
    if (err != MERLE_OK) return err;
    err = merle_patch(commit, s->players, KEY("a"), MERLE_INC("attack", 100));
    if (err == MERLE_OK) err = merle_put(commit, s->players, KEY("n"), doc);
    if (err != MERLE_OK) {
        merle_cancel(commit);
        return err;
    }
    return merle_end(commit, NULL);
}

static uint64_t try_with(void *context, uint64_t grants) {
    static supply memory;
    const merle_schema schema = {.version = 1, .indexes = powers};
    supply_init(&memory);
    const mrl_environment environment = {.refusal = &memory.refusal};
    stand s;
    merle_buffer doc =
        doc_of("{\"attack\":1,\"defence\":1,\"guild\":\"a guild with a long name\"}");
    (void)context;
    writing_open(&s, &schema, (merle_options){0}, &environment);
    put_powers(&s);
    mrl_refusal_of_thread = &memory.refusal;
    supply_all_but(&memory, grants);
    merle_err err = move_all(&s, bytes_of(&doc));
    uint64_t refused = supply_all(&memory);
    mrl_refusal_of_thread = NULL;
    if (err != MERLE_OK) {
        assert_int_equal(err, MERLE_NO_MEMORY);
        assert_keys(&s, all_of("power"), "bda");
        must(&s, merle_check(s.db, &s.report));
        must(&s, move_all(&s, bytes_of(&doc)));
    }
    assert_keys(&s, all_of("power"), "abdn");
    merle_buffer_free(&doc);
    writing_close(&s);
    return refused;
}

static void commit_without_memory_leaves_no_value(void **state) {
    (void)state;
    refuse_in_turn(try_with, NULL, 8);
}

/* ---- what merle_check finds ---- */

static void check_finds_stored_values_that_are_broken(void **state) {
    (void)state;
    stand s;
    open_with(&s, powers);
    put_powers(&s);
    mrl_root *root = mrl_collection_current(s.players);
    const mrl_version *v = mrl_root_find(root, mrl_root_hash(root, KEY("a")), KEY("a"));
    uint8_t *tail = (uint8_t *)(uintptr_t)mrl_version_doc(v) + v->doc_size;
    uint32_t size = (uint32_t)mrl_version_extracted_size(v);
    assert_true(mrl_version_is_sound(v));
    assert_ptr_equal((const uint8_t *)v + mrl_version_size(v), tail + size);
    tail[8]++;
    assert_false(mrl_version_is_sound(v));
    assert_int_equal(merle_check(s.db, &s.report), MERLE_CORRUPT);
    assert_string_equal(s.report.expected, "extracted values that fill their place");
    tail[8]--;
    /* The value of the last index, one byte of it. */
    tail[size - 3]++;
    assert_int_equal(merle_check(s.db, &s.report), MERLE_CORRUPT);
    assert_string_equal(s.report.index, "last");
    tail[size - 3]--;
    writing_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_listed_as_those_of_paths),
        cmocka_unit_test(nobody_asks_a_function_but_writers),
        cmocka_unit_test(what_a_function_refuses_leaves_no_trace),
        cmocka_unit_test(value_too_long_is_refused),
        cmocka_unit_test(unique_values_of_a_function_are_refused_and_moved),
        cmocka_unit_test(missing_values_of_a_function_take_no_unique_value),
        cmocka_unit_test(labels_are_plain_and_the_kind_fits),
        cmocka_unit_test(opening_with_another_function_differs),
        cmocka_unit_test(stored_values_outlive_another_index),
        cmocka_unit_test(commit_without_memory_leaves_no_value),
        cmocka_unit_test(check_finds_stored_values_that_are_broken),
    };
    return cmocka_run_group_tests_name("store/extract", tests, NULL, NULL);
}
