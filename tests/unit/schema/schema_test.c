/* tests/unit/schema/schema_test.c - schemas: compiled, compared, held against documents, described.
 *
 * Aim     What is wrong in a schema is refused, with a report that names it; limits hold exactly;
 *         the first difference of two schemas is told with what was asked for and what is in force;
 *         documents whose rules or index values do not fit are refused, those that lack a value are
 *         not.
 * Method  Each wrong schema compiled by itself; each document given to one compiled schema.
 * Blind   How rules judge each type is document/'s test; what indexes do with values is
 *         commit_test.c's.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/store/writing.h"

#include "schema/schema.h"

static merle_report report;

#define INDEXES(...) ((const merle_index[]){__VA_ARGS__, {NULL, 0, NULL}})
#define RULES(...) ((const merle_rule[]){__VA_ARGS__, {NULL, 0, 0, 0}})

static merle_err check_doc(const mrl_schema *schema, const merle_buffer *doc, uint32_t *offsets) {
    merle_buffer made = {NULL, 0, 0};
    merle_err err =
        mrl_schema_check_doc(schema, MERLE_STR("k"), bytes_of(doc), offsets, &made, &report);
    assert_int_equal(made.size, 0);
    merle_buffer_free(&made);
    return err;
}

/* ---- compiling ---- */

static mrl_schema *compile(const merle_schema *given) {
    mrl_schema *schema;
    merle_err err = mrl_schema_create("players", 3, given, &schema, &report);
    if (err != MERLE_OK) print_message("# %s\n", report.message);
    assert_int_equal(err, MERLE_OK);
    return schema;
}

static void assert_refused(merle_schema given, merle_err err, const char *told) {
    mrl_schema *schema = (mrl_schema *)&report;
    memset(&report, 0, sizeof report);
    assert_int_equal(mrl_schema_create("players", 3, &given, &schema, &report), err);
    assert_null(schema);
    assert_int_equal(report.err, err);
    assert_string_equal(report.collection, "players");
    if (strstr(report.message, told) == NULL)
        print_message("# \"%s\" does not name \"%s\"\n", report.message, told);
    assert_non_null(strstr(report.message, told));
    /* Without a report it is refused all the same. */
    assert_int_equal(mrl_schema_create("players", 3, &given, &schema, NULL), err);
}

static void refuse_index(merle_index index, merle_err err, const char *told) {
    assert_refused((merle_schema){.version = 1, .indexes = INDEXES(index)}, err, told);
}

static void schema_null_is_empty(void **state) {
    (void)state;
    mrl_schema *schema = compile(NULL);
    assert_int_equal(schema->version, 1);
    assert_int_equal(schema->index_count + schema->rule_count + schema->path_count, 0);
    assert_null(mrl_schema_find_index(schema, "email"));
    assert_null(mrl_schema_find_index(schema, NULL));
    mrl_schema_release(schema);
}

static void schema_version_0_is_refused(void **state) {
    (void)state;
    assert_refused((merle_schema){.version = 0}, MERLE_INVALID, "version");
}

static void index_of_an_unknown_kind_is_refused(void **state) {
    (void)state;
    refuse_index((merle_index){"odd", (merle_index_kind)9, "list"}, MERLE_INVALID, "odd");
    refuse_index((merle_index){"odd", (merle_index_kind)0, "list"}, MERLE_INVALID, "odd");
}

static void tags_are_on_one_field_without_order(void **state) {
    (void)state;
    refuse_index((merle_index){"labels", MERLE_TAGS, "list, b"}, MERLE_INVALID, "labels");
    refuse_index((merle_index){"labels", MERLE_TAGS, "-list"}, MERLE_INVALID, "labels");
}

static void parts_fit_their_kind(void **state) {
    (void)state;
    refuse_index((merle_index){"it", MERLE_UNIQUE, "x[*]"}, MERLE_INVALID, "each element");
    refuse_index((merle_index){"it", MERLE_UNIQUE_ORDERED, "a, x[*].y"}, MERLE_INVALID, "unique");
    refuse_index((merle_index){"it", MERLE_UNIQUE, "a, key()"}, MERLE_INVALID, "keys are unique");
    refuse_index((merle_index){"it", MERLE_UNIQUE_ORDERED, "key()"}, MERLE_INVALID, "keys");
    refuse_index((merle_index){"it", MERLE_TAGS, "x[*]"}, MERLE_INVALID, "plain path");
    refuse_index((merle_index){"it", MERLE_TAGS, "key()"}, MERLE_INVALID, "plain path");
    refuse_index((merle_index){"it", MERLE_ORDERED, "x[*], y[*]"}, MERLE_INVALID, "at most one");
    mrl_schema *schema =
        compile(&(merle_schema){.version = 1,
                                .indexes = INDEXES({"it", MERLE_ORDERED, "a, -x[*].y, key()"},
                                                   {"other", MERLE_ORDERED, "x"})});
    const mrl_schema_index *it = mrl_schema_find_index(schema, "it");
    assert_int_equal(it->each, 1);
    assert_int_equal(it->parts[0].source, MRL_SOURCE_PATH);
    assert_int_equal(it->parts[2].source, MRL_SOURCE_KEY);
    assert_string_equal(mrl_path_text(it->parts[1].element), "y");
    /* The array's place is kept once for both. */
    assert_int_equal(schema->path_count, 2);
    assert_int_equal(mrl_schema_find_index(schema, "other")->parts[0].path, it->parts[1].path);
    mrl_schema_release(schema);
}

static void missing_ones_need_an_order(void **state) {
    (void)state;
    refuse_index((merle_index){"it", MERLE_UNIQUE, "x", MERLE_MISSING_LAST}, MERLE_INVALID, "it");
    refuse_index((merle_index){"it", MERLE_TAGS, "x", MERLE_MISSING_FIRST}, MERLE_INVALID, "it");
    refuse_index((merle_index){"it", MERLE_ORDERED, "x", (merle_missing)3}, MERLE_INVALID, "it");
    refuse_index((merle_index){"it", MERLE_ORDERED, "x", .reserved = 1}, MERLE_INVALID, "it");
}

/* Checks a document, written as JSON, against an index on "x". */
static merle_err check_x(merle_index_kind kind, const char *json) {
    uint32_t offsets[MRL_PATH_COUNT_MAX];
    const merle_schema given = {.version = 1, .indexes = INDEXES({"it", kind, "x"})};
    mrl_schema *schema = compile(&given);
    merle_buffer doc = doc_of(json);
    memset(&report, 0, sizeof report);
    merle_err err = check_doc(schema, &doc, offsets);
    merle_buffer_free(&doc);
    mrl_schema_release(schema);
    return err;
}

static void what_each_kind_holds(void **state) {
    (void)state;
    static const char *const fine[] = {"{}",           "{\"x\":null}", "{\"x\":1}", "{\"x\":\"a\"}",
                                       "{\"x\":-0.5}", "{\"x\":true}"};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        for (int kind = MERLE_UNIQUE; kind <= MERLE_TAGS; kind++)
            assert_int_equal(check_x((merle_index_kind)kind, fine[i]), MERLE_OK);
    assert_int_equal(check_x(MERLE_TAGS, "{\"x\":[]}"), MERLE_OK);
    assert_int_equal(check_x(MERLE_TAGS, "{\"x\":[1,\"a\",null,1]}"), MERLE_OK);
    assert_int_equal(check_x(MERLE_TAGS, "{\"x\":[1,[2]]}"), MERLE_TYPE);
    assert_string_equal(report.index, "it");
    assert_non_null(strstr(report.message, "tags index it"));
    assert_int_equal(check_x(MERLE_TAGS, "{\"x\":{\"a\":1}}"), MERLE_TYPE);
    assert_int_equal(check_x(MERLE_ORDERED, "{\"x\":[1]}"), MERLE_TYPE);
    assert_non_null(strstr(report.message, "ordered index it"));
    assert_int_equal(check_x(MERLE_ORDERED, "{\"x\":{}}"), MERLE_TYPE);
}

static void more_tags_than_fit_are_refused(void **state) {
    (void)state;
    static char json[4 * MERLE_TAG_COUNT_MAX + 64];
    char *at = json + sprintf(json, "{\"x\":[0");
    for (uint32_t i = 1; i < MERLE_TAG_COUNT_MAX; i++) at += sprintf(at, ",1");
    (void)sprintf(at, "]}");
    assert_int_equal(check_x(MERLE_TAGS, json), MERLE_OK);
    (void)sprintf(at, ",1]}");
    assert_int_equal(check_x(MERLE_TAGS, json), MERLE_TOO_BIG);
    assert_non_null(strstr(report.message, "1024"));
    assert_int_equal(check_x(MERLE_ORDERED, json), MERLE_TYPE);
}

static void index_name_limits_hold(void **state) {
    (void)state;
    char name[66];
    memset(name, 'n', sizeof name);
    name[64] = 0;
    refuse_index((merle_index){name, MERLE_UNIQUE, "a"}, MERLE_INVALID, "63");
    refuse_index((merle_index){"", MERLE_UNIQUE, "a"}, MERLE_INVALID, "63");
    name[63] = 0;
    mrl_schema *schema =
        compile(&(merle_schema){.version = 1, .indexes = INDEXES({name, MERLE_UNIQUE, "a"})});
    assert_non_null(mrl_schema_find_index(schema, name));
    mrl_schema_release(schema);
}

static void index_paths_that_are_none_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "", "a..b", "a,", ",a", "a[", "a[x]", ".a", "a.", "-", "a,a", "a,b,c,d,e,f,g,h,i"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        mrl_schema *schema;
        const merle_schema given = {.version = 1,
                                    .indexes = INDEXES({"email", MERLE_UNIQUE, wrong[i]})};
        merle_err err = mrl_schema_create("players", 3, &given, &schema, &report);
        assert_true(err == MERLE_INVALID || err == MERLE_TOO_BIG);
        assert_int_equal(report.err, err);
        assert_string_equal(report.index, "email");
        assert_string_equal(report.collection, "players");
    }
    refuse_index((merle_index){"email", MERLE_UNIQUE, NULL}, MERLE_INVALID, "email");
}

static void index_names_given_twice_are_refused(void **state) {
    (void)state;
    assert_refused((merle_schema){.version = 1,
                                  .indexes = INDEXES({"email", MERLE_UNIQUE, "a"},
                                                     {"email", MERLE_UNIQUE, "b"})},
                   MERLE_INVALID, "email");
}

static void index_count_limit_holds(void **state) {
    (void)state;
    static char names[MERLE_INDEX_COUNT_MAX + 1][8];
    merle_index indexes[MERLE_INDEX_COUNT_MAX + 2];
    memset(indexes, 0, sizeof indexes);
    for (unsigned i = 0; i <= MERLE_INDEX_COUNT_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "i%u", i);
        indexes[i] = (merle_index){names[i], MERLE_UNIQUE, "email"};
    }
    assert_refused((merle_schema){.version = 1, .indexes = indexes}, MERLE_TOO_BIG, "32");
    indexes[MERLE_INDEX_COUNT_MAX].name = NULL;
    mrl_schema *schema = compile(&(merle_schema){.version = 1, .indexes = indexes});
    assert_int_equal(schema->index_count, MERLE_INDEX_COUNT_MAX);
    assert_int_equal(schema->path_count, 1);
    for (unsigned i = 0; i < MERLE_INDEX_COUNT_MAX; i++)
        assert_int_equal(mrl_schema_find_index(schema, names[i])->number, i);
    mrl_schema_release(schema);
}

/* 32 indexes of 8 fields each, the last one of fewer, all different. */
static void make_wide(merle_index *out_indexes, unsigned field_count) {
    static char names[MERLE_INDEX_COUNT_MAX][8], paths[MERLE_INDEX_COUNT_MAX][128];
    memset(out_indexes, 0, (MERLE_INDEX_COUNT_MAX + 1) * sizeof *out_indexes);
    for (unsigned i = 0; i < MERLE_INDEX_COUNT_MAX; i++) {
        size_t used = 0;
        (void)snprintf(names[i], sizeof names[i], "i%u", i);
        for (unsigned j = 0; j < MERLE_INDEX_PART_COUNT_MAX; j++) {
            unsigned number = i * MERLE_INDEX_PART_COUNT_MAX + j;
            if (number == field_count) break;
            used += (size_t)snprintf(paths[i] + used, sizeof paths[i] - used, "%sf%u", j ? "," : "",
                                     number);
        }
        out_indexes[i] = (merle_index){names[i], MERLE_UNIQUE, paths[i]};
    }
}

static void schema_of_255_fields_works_and_of_256_is_refused(void **state) {
    (void)state;
    merle_index indexes[MERLE_INDEX_COUNT_MAX + 1];
    make_wide(indexes, 256);
    assert_refused((merle_schema){.version = 1, .indexes = indexes}, MERLE_TOO_BIG, "255");
    make_wide(indexes, 255);
    stand s;
    const merle_schema schema = {.version = 1, .indexes = indexes};
    writing_open(&s, &schema, (merle_options){0}, NULL);
    /* A document with all of them, indexed in all. */
    merle_builder *b;
    merle_bytes doc;
    char name[16];
    must(&s, merle_builder_create(&b));
    merle_build_begin(b);
    for (int i = 0; i < 255; i++) {
        (void)snprintf(name, sizeof name, "f%d", i);
        merle_build_int(b, name, i);
    }
    must(&s, merle_build_end(b, &doc));
    must(&s, merle_one_put(s.players, merle_str("a"), doc, NULL));
    assert_int_equal(merle_one_put(s.players, merle_str("b"), doc, NULL), MERLE_EXISTS);
    merle_section section;
    merle_doc found;
    must(&s, merle_section_begin(s.db, &section));
    merle_value last[7];
    for (int i = 0; i < 7; i++) last[i] = merle_value_int(248 + i);
    must(&s, merle_get_unique(&section, s.players, "i31", last, 7, &found));
    must(&s, merle_section_end(&section));
    must(&s, merle_one_remove(s.players, merle_str("a"), NULL));
    merle_builder_destroy(b);
    writing_close(&s);
}

static void rules_wrong_are_refused(void **state) {
    (void)state;
    static merle_rule rules[MERLE_RULE_COUNT_MAX + 2];
    assert_refused((merle_schema){.version = 1, .rules = RULES({"a..b", MERLE_TYPE_INT, 0, 0})},
                   MERLE_INVALID, "a..b");
    assert_refused((merle_schema){.version = 1, .rules = RULES({"", MERLE_TYPE_INT, 0, 0})},
                   MERLE_INVALID, "rule");
    assert_refused((merle_schema){.version = 1, .rules = RULES({"gold", (merle_type)99, 0, 0})},
                   MERLE_INVALID, "gold");
    assert_refused((merle_schema){.version = 1, .rules = RULES({"gold", (merle_type)-1, 0, 0})},
                   MERLE_INVALID, "gold");
    for (unsigned i = 0; i <= MERLE_RULE_COUNT_MAX; i++)
        rules[i] = (merle_rule){"gold", MERLE_TYPE_INT, 0, 0};
    assert_refused((merle_schema){.version = 1, .rules = rules}, MERLE_TOO_BIG, "64");
    rules[MERLE_RULE_COUNT_MAX].path = NULL;
    mrl_schema_release(compile(&(merle_schema){.version = 1, .rules = rules}));
}

/* ---- comparing ---- */

static void assert_differs(merle_schema in_force, merle_schema asked, const char *expected,
                           const char *found) {
    mrl_schema *a = compile(&in_force), *b = compile(&asked);
    memset(&report, 0, sizeof report);
    assert_int_equal(mrl_schema_compare(a, b, &report), MERLE_DIFFERS);
    assert_int_equal(report.err, MERLE_DIFFERS);
    assert_string_equal(report.expected, expected);
    assert_string_equal(report.found, found);
    assert_non_null(strstr(report.message, expected));
    assert_int_equal(mrl_schema_compare(a, b, NULL), MERLE_DIFFERS);
    assert_int_equal(mrl_schema_compare(a, a, &report), MERLE_OK);
    assert_int_equal(mrl_schema_compare(b, b, &report), MERLE_OK);
    mrl_schema_release(a);
    mrl_schema_release(b);
}

static void compare_tells_each_difference(void **state) {
    (void)state;
    const merle_index *email = INDEXES({"email", MERLE_UNIQUE, "email"});
    const merle_rule *gold = RULES({"gold", MERLE_TYPE_INT, 1, 5});
    const merle_schema in_force = {.version = 1, .indexes = email, .rules = gold};
    merle_schema asked = in_force;
    asked.version = 2;
    assert_differs(in_force, asked, "2", "1");
    asked = in_force;
    asked.memory_only = 1;
    assert_differs(in_force, asked, "1", "0");
    asked = in_force;
    asked.indexes = NULL;
    assert_differs(in_force, asked, "0", "1");
    asked.indexes = INDEXES({"name", MERLE_UNIQUE, "email"});
    assert_differs(in_force, asked, "name", "none of that name");
    assert_string_equal(report.index, "name");
    asked.indexes = INDEXES({"email", MERLE_UNIQUE, "-email"});
    assert_differs(in_force, asked, "-email", "email");
    asked.indexes = INDEXES({"email", MERLE_UNIQUE_ORDERED, "email"});
    assert_differs(in_force, asked, "unique ordered", "unique");
    const merle_schema placed = {
        .version = 1, .indexes = INDEXES({"email", MERLE_ORDERED, "email", MERLE_MISSING_FIRST})};
    asked = placed;
    asked.indexes = INDEXES({"email", MERLE_ORDERED, "email", MERLE_MISSING_LAST});
    assert_differs(placed, asked, "last", "first");
    asked.indexes = INDEXES({"email", MERLE_ORDERED, "email"});
    assert_differs(placed, asked, "out", "first");
    asked = in_force;
    asked.indexes = email;
    asked.rules = NULL;
    assert_differs(in_force, asked, "0", "1");
    asked.rules = RULES({"silver", MERLE_TYPE_INT, 1, 5});
    assert_differs(in_force, asked, "silver", "gold");
    for (int i = 0; i < 3; i++) {
        asked.rules =
            RULES({"gold", i == 0 ? MERLE_TYPE_STR : MERLE_TYPE_INT, i != 1, i == 2 ? 6 : 5});
        assert_differs(in_force, asked, "gold", "the same path with another rule");
    }
}

static void compare_names_the_index(void **state) {
    (void)state;
    mrl_schema *a = compile(&(merle_schema){
        .version = 1,
        .indexes = INDEXES({"x", MERLE_UNIQUE, "x"}, {"email", MERLE_UNIQUE, "email"})});
    mrl_schema *b = compile(&(merle_schema){
        .version = 1,
        .indexes = INDEXES({"x", MERLE_UNIQUE, "x"}, {"email", MERLE_UNIQUE, "mail"})});
    assert_int_equal(mrl_schema_compare(a, b, &report), MERLE_DIFFERS);
    assert_string_equal(report.index, "email");
    mrl_schema_release(a);
    mrl_schema_release(b);
}

static void compare_does_not_ask_for_the_order_of_indexes(void **state) {
    (void)state;
    mrl_schema *a = compile(&(merle_schema){
        .version = 1, .indexes = INDEXES({"x", MERLE_UNIQUE, "x"}, {"y", MERLE_UNIQUE, "y"})});
    mrl_schema *b = compile(&(merle_schema){
        .version = 1, .indexes = INDEXES({"y", MERLE_UNIQUE, "y"}, {"x", MERLE_UNIQUE, "x"})});
    assert_int_equal(mrl_schema_compare(a, b, &report), MERLE_OK);
    mrl_schema_release(a);
    mrl_schema_release(b);
}

/* ---- documents ---- */

static void check_doc_holds_rules(void **state) {
    (void)state;
    uint32_t offsets[MRL_PATH_COUNT_MAX];
    static const struct {
        const char *json;
        merle_err err;
        const char *path;
    } cases[] = {
        {"{\"gold\":1}", MERLE_OK, ""},
        {"{\"gold\":18446744073709551615}", MERLE_OK, ""},
        {"{\"gold\":1,\"name\":\"12345\"}", MERLE_OK, ""},
        {"{}", MERLE_RULE, "gold"},
        {"{\"gold\":\"x\"}", MERLE_RULE, "gold"},
        {"{\"gold\":1,\"name\":\"123456\"}", MERLE_RULE, "name"},
        {"{\"gold\":1,\"name\":5}", MERLE_RULE, "name"},
    };
    mrl_schema *schema = compile(&(merle_schema){
        .version = 1,
        .rules = RULES({"gold", MERLE_TYPE_INT, 1, 0}, {"name", MERLE_TYPE_STR, 0, 5})});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        merle_buffer doc = doc_of(cases[i].json);
        assert_int_equal(check_doc(schema, &doc, offsets), cases[i].err);
        if (cases[i].err != MERLE_OK) assert_string_equal(report.path, cases[i].path);
        merle_buffer_free(&doc);
    }
    mrl_schema_release(schema);
}

/* {"email": value, "guild": value}, either NULL to leave it out. */
static merle_buffer doc_with(const merle_value *email, const merle_value *guild) {
    merle_builder *b;
    merle_bytes bytes;
    merle_buffer out = {NULL, 0, 0};
    assert_int_equal(merle_builder_create(&b), MERLE_OK);
    merle_build_begin(b);
    if (email != NULL) merle_build_value(b, "email", email);
    if (guild != NULL) merle_build_value(b, "guild", guild);
    assert_int_equal(merle_build_end(b, &bytes), MERLE_OK);
    out.data = malloc(bytes.size);
    assert_non_null(out.data);
    memcpy(out.data, bytes.data, bytes.size);
    out.size = out.capacity = bytes.size;
    merle_builder_destroy(b);
    return out;
}

static merle_err check_values(const mrl_schema *schema, const merle_value *email,
                              const merle_value *guild) {
    uint32_t offsets[MRL_PATH_COUNT_MAX];
    merle_buffer doc = doc_with(email, guild);
    memset(&report, 0, sizeof report);
    merle_err err = check_doc(schema, &doc, offsets);
    merle_buffer_free(&doc);
    return err;
}

static void check_doc_refuses_values_without_an_order(void **state) {
    (void)state;
    static const uint8_t array[] = {0x91, 0x01}, map[] = {0x81, 0xa1, 'a', 0x01},
                         ext[] = {0xd4, 0x07, 0x00};
    merle_value value, nil = merle_value_nil();
    mrl_schema *schema = compile(
        &(merle_schema){.version = 1, .indexes = INDEXES({"both", MERLE_UNIQUE, "email,-guild"})});
    static const struct {
        const uint8_t *bytes;
        size_t size;
        const char *name;
    } cases[] = {
        {array, sizeof array, "array"}, {map, sizeof map, "map"}, {ext, sizeof ext, "ext"}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(merle_value_msgpack(merle_bytes_of(cases[i].bytes, cases[i].size), &value),
                         MERLE_OK);
        assert_int_equal(check_values(schema, &value, &nil), MERLE_TYPE);
        assert_string_equal(report.index, "both");
        assert_string_equal(report.path, "email");
        assert_non_null(strstr(report.message, cases[i].name));
        assert_int_equal(check_values(schema, NULL, &value), MERLE_TYPE);
        assert_string_equal(report.path, "guild");
    }
    mrl_schema_release(schema);
}

static void check_doc_lets_nil_and_missing_pass(void **state) {
    (void)state;
    static char text[8000];
    memset(text, 'x', sizeof text);
    merle_value nil = merle_value_nil(), number = merle_value_int(1);
    merle_value huge = merle_value_bytes(merle_bytes_of(text, sizeof text));
    mrl_schema *schema = compile(
        &(merle_schema){.version = 1, .indexes = INDEXES({"both", MERLE_UNIQUE, "email,-guild"})});
    assert_int_equal(check_values(schema, NULL, NULL), MERLE_OK);
    assert_int_equal(check_values(schema, &nil, &number), MERLE_OK);
    assert_int_equal(check_values(schema, &number, &nil), MERLE_OK);
    assert_int_equal(check_values(schema, &number, &number), MERLE_OK);
    /* Not in the index, so it may be as long as it likes. */
    assert_int_equal(check_values(schema, &huge, NULL), MERLE_OK);
    assert_int_equal(check_values(schema, &huge, &number), MERLE_TOO_BIG);
    mrl_schema_release(schema);
}

/* The longest text that an index takes is found; one byte more is refused; all shorter ones are
   taken. */
static void check_doc_limit_of_values_is_exact(void **state) {
    (void)state;
    static char text[MERLE_VALUE_SIZE_MAX + 8];
    memset(text, 'x', sizeof text);
    mrl_schema *schema = compile(
        &(merle_schema){.version = 1, .indexes = INDEXES({"email", MERLE_UNIQUE, "email"})});
    size_t longest = 0;
    for (size_t size = MERLE_VALUE_SIZE_MAX - 16; size < sizeof text; size++) {
        merle_value value = merle_value_bytes(merle_bytes_of(text, size));
        merle_err err = check_values(schema, &value, NULL);
        if (err == MERLE_OK) {
            assert_true(longest == 0 || longest == size - 1);
            longest = size;
            continue;
        }
        assert_int_equal(err, MERLE_TOO_BIG);
        assert_string_equal(report.index, "email");
        assert_string_equal(report.path, "email");
        assert_non_null(strstr(report.message, "4096"));
    }
    assert_in_range(longest, MERLE_VALUE_SIZE_MAX - 8, MERLE_VALUE_SIZE_MAX);
    mrl_schema_release(schema);
}

/* ---- describing ---- */

static void describe_is_json_with_everything(void **state) {
    (void)state;
    merle_buffer json = {NULL, 0, 0}, doc = {NULL, 0, 0};
    mrl_schema *schema = compile(&(merle_schema){
        .version = 4,
        .memory_only = 1,
        .indexes = INDEXES({"email", MERLE_UNIQUE, "email, -guild"},
                           {"rank", MERLE_UNIQUE_ORDERED, "rank", MERLE_MISSING_LAST}),
        .rules = RULES({"gold", MERLE_TYPE_INT, 1, 5})});
    assert_int_equal(mrl_schema_describe(schema, &json), MERLE_OK);
    assert_int_equal(merle_json_read(bytes_of(&json), &doc, &report), MERLE_OK);
    merle_doc view;
    assert_int_equal(merle_doc_over(bytes_of(&doc), &view), MERLE_OK);
    merle_bytes text = merle_doc_str(view, "name");
    assert_int_equal(text.size, 7);
    assert_memory_equal(text.data, "players", 7);
    assert_int_equal(merle_doc_int(view, "id", 0), 3);
    assert_int_equal(merle_doc_int(view, "version", 0), 4);
    assert_int_equal(merle_doc_bool(view, "memory_only", 0), 1);
    text = merle_doc_str(view, "indexes[0].on");
    assert_memory_equal(text.data, "email, -guild", 13);
    text = merle_doc_str(view, "indexes[0].kind");
    assert_memory_equal(text.data, "unique", 6);
    assert_false(merle_doc_has(view, "indexes[0].missing"));
    text = merle_doc_str(view, "indexes[1].kind");
    assert_memory_equal(text.data, "unique ordered", 14);
    text = merle_doc_str(view, "indexes[1].missing");
    assert_memory_equal(text.data, "last", 4);
    assert_false(merle_doc_has(view, "indexes[2]"));
    text = merle_doc_str(view, "rules[0].path");
    assert_memory_equal(text.data, "gold", 4);
    assert_int_equal(merle_doc_int(view, "rules[0].type", 0), MERLE_TYPE_INT);
    assert_int_equal(merle_doc_int(view, "rules[0].length_max", 0), 5);
    assert_int_equal(merle_doc_bool(view, "rules[0].required", 0), 1);
    merle_buffer_free(&json);
    merle_buffer_free(&doc);
    mrl_schema_release(schema);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schema_null_is_empty),
        cmocka_unit_test(schema_version_0_is_refused),
        cmocka_unit_test(index_of_an_unknown_kind_is_refused),
        cmocka_unit_test(tags_are_on_one_field_without_order),
        cmocka_unit_test(parts_fit_their_kind),
        cmocka_unit_test(missing_ones_need_an_order),
        cmocka_unit_test(what_each_kind_holds),
        cmocka_unit_test(more_tags_than_fit_are_refused),
        cmocka_unit_test(index_name_limits_hold),
        cmocka_unit_test(index_paths_that_are_none_are_refused),
        cmocka_unit_test(index_names_given_twice_are_refused),
        cmocka_unit_test(index_count_limit_holds),
        cmocka_unit_test(schema_of_255_fields_works_and_of_256_is_refused),
        cmocka_unit_test(rules_wrong_are_refused),
        cmocka_unit_test(compare_tells_each_difference),
        cmocka_unit_test(compare_names_the_index),
        cmocka_unit_test(compare_does_not_ask_for_the_order_of_indexes),
        cmocka_unit_test(check_doc_holds_rules),
        cmocka_unit_test(check_doc_refuses_values_without_an_order),
        cmocka_unit_test(check_doc_lets_nil_and_missing_pass),
        cmocka_unit_test(check_doc_limit_of_values_is_exact),
        cmocka_unit_test(describe_is_json_with_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
