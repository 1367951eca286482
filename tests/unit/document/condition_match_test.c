/* tests/unit/document/condition_match_test.c
 *
 * Aim     A condition is true of a document exactly if a plain reading of docs/queries.md says so:
 *         as parsed, as built in C, as written and parsed again, with literals and with parameters,
 *         with offsets that are known; and encoded values lie in a leaf's bounds exactly if they
 *         meet it.
 * Method  Random trees, whose values come from a pool of limits and near misses, over random
 *         documents made of the same pool; the twin evaluates the tree by the public path look-up
 *         and walks, knows negation as negation, and compares numbers as 80-bit floats. A table of
 *         cases written by hand comes first.
 * Blind   A mistake made in both readings. Text forms of values: condition_parse_test.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/document/sample.h"

#include <math.h>

#include <merle/condition.h>

#include "document/condition.h"
#include "document/encode.h"
#include "document/order.h"
#include "document/scan.h"

#define ROUNDS 3000
#define DOCS_A_ROUND 12
static uint64_t test_seed;

/* ---- cases by hand ---- */

static const char *const sample_json =
    "{\"level\":10,\"score\":1.5,\"name\":\"ada\",\"banned\":false,\"vip\":true,\"none\":null,"
    "\"tags\":[\"eu\",\"pvp\",7,null],\"guild\":\"red\",\"empty\":[],\"pos\":{\"x\":-3,\"y\":4.0},"
    "\"big\":9007199254740993,\"huge\":18446744073709551615,\"nan\":{\"$float\":\"nan\"},"
    "\"at\":{\"$time\":\"2026-11-21T10:00:00Z\"},\"bin\":{\"$bin\":\"AAECAw==\"},"
    "\"ext\":{\"$ext\":[5,\"AAAA\"]},\"nested\":[[\"eu\"],{\"a\":1}],\"and\":1,\"twice\":[\"x\","
    "\"x\",\"x\"]}";

static const struct {
    const char *text;
    int matches;
} cases[] = {
    {"level >= 10 and tags: eu and not banned", 1},
    {"level > 10", 0},
    {"level = 10.0 and level < 10.5 and level > 9.999", 1},
    {"big > 9007199254740992.0 and big < 9007199254740994.0", 1},
    {"big = 9007199254740992.0", 0},
    {"huge < 18446744073709551616.0 and huge > 9223372036854775807", 1},
    {"nan = nan and nan < -inf and nan < 5 and not nan > 5", 1},
    {"pos.x < 0 and pos.y = 4 and pos.x between -3 and -3", 1},
    /* other kinds, missing, nil */
    {"name > 5", 0},
    {"name < 5", 0},
    {"not name < 5", 1},
    {"level < 'a' or level > 'a' or level = 'a'", 0},
    {"level != '10'", 1},
    {"missing = 5 or missing < 5 or missing > 5 or missing in (5) or missing = nil", 0},
    {"missing != 5 and not missing < 5 and missing not in (5)", 1},
    {"none = nil and none <= nil and none >= nil and not none < nil", 1},
    {"none < 5 or none > 5 or none = false", 0},
    {"exists(none) and exists(empty) and not exists(missing)", 1},
    {"exists(pos.x) and not exists(pos.z) and not exists(level.x)", 1},
    {"exists(tags[0]) and exists(tags[-4]) and not exists(tags[4])", 1},
    {"pos = 5 or tags = 'eu' or ext = 5 or ext = x'000000'", 0},
    {"pos != 5 and tags != 'eu' and ext != 5", 1},
    /* truth */
    {"vip", 1},
    {"banned or level or name or none or missing or pos", 0},
    {"banned < true and vip > false", 1},
    /* strings, binaries, times */
    {"name starts with 'ad' and name starts with '' and name starts with 'ada'", 1},
    {"name starts with 'adam' or name starts with x'61' or level starts with ''", 0},
    {"name < 'adb' and name > 'ad' and name >= 'ada' and name between 'a' and 'b'", 1},
    {"bin starts with x'0001' and bin > x'0001' and bin < x'01'", 1},
    {"at = @2026-11-21T11:00:00+01:00 and at > @2026-11-21 and at < @1795255200.000000001", 1},
    /* elements and tags */
    {"tags: pvp and tags: 7 and tags: nil and not tags: us", 1},
    {"tags: all(eu, pvp, 7.0) and tags: any(us, eu) and tags: none(us, 8)", 1},
    {"tags: all(eu, us)", 0},
    {"tags: any(us) or tags: none(eu)", 0},
    {"guild: red and any guild = 'red' and any guild starts with 'r'", 1},
    {"empty: eu or empty: nil or any empty != 5 or missing: eu or any missing != 5", 0},
    {"empty: none(eu) and missing: none(eu) and not any missing = 5", 1},
    {"missing: all() and not missing: any() and missing: none() and empty: all()", 1},
    {"any tags > 6 and any tags between 7 and 8 and not any tags > 7", 1},
    {"any tags != 'eu' and not any guild != 'red'", 1},
    {"nested: eu or any nested[0] = 'us'", 0},
    {"nested[0]: eu and any nested != 5", 1},
    {"any pos != 5 and any ext != 5", 1},
    {"none: nil and level: 10", 1},
    {"tags: all(eu, any(us, pvp), none(us, all(pvp, us)))", 1},
    {"twice: all(x, y) or twice: all(w, x) or twice: all(w, x, y)", 0},
    /* lists, between */
    {"level in (1, 'x', 10.0)", 1},
    {"level in ()", 0},
    {"level not in ()", 1},
    {"level between 10 and 9 or level between 9 and 'x' or name between 1 and 'z'", 0},
    {"\"and\" = 1", 1},
};

static int matches(const char *text, merle_doc doc) {
    merle_condition *condition;
    merle_report report;
    int result = 7;
    merle_err err = merle_condition_parse(merle_str(text), &condition, &report);
    if (err != MERLE_OK) fail_msg("%s: %s", text, report.message);
    assert_int_equal(merle_condition_match(condition, doc, NULL, 0, &result), MERLE_OK);
    merle_condition_destroy(condition);
    return result;
}

static void case_by_hand_is_answered_as_the_page_says(void **state) {
    merle_buffer buffer = {NULL, 0, 0};
    merle_doc doc, none = {NULL, 0, 0, NULL};
    (void)state;
    assert_int_equal(merle_json_read(merle_str(sample_json), &buffer, NULL), MERLE_OK);
    assert_int_equal(merle_doc_over(merle_bytes_of(buffer.data, buffer.size), &doc), MERLE_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (matches(cases[i].text, doc) != cases[i].matches)
            fail_msg("%s: not %d", cases[i].text, cases[i].matches);
    assert_int_equal(matches("a = 1 or exists(a) or a: 1", none), 0);
    assert_int_equal(matches("a != 1 and not exists(a)", none), 1);
    merle_buffer_free(&buffer);
}

/* ---- the pool ---- */

#define POOL_MAX 64

typedef struct pooled {
    merle_value value;
    char text[48];
} pooled;

static pooled pool[POOL_MAX];
static size_t pool_count;

static void pool_add(merle_value value, const char *text) {
    assert_true(pool_count < POOL_MAX);
    pool[pool_count].value = value;
    snprintf(pool[pool_count++].text, sizeof(pool[0].text), "%s", text);
}

static void pool_fill(void) {
    static const uint64_t integers[] = {0,
                                        5,
                                        6,
                                        9007199254740991u,
                                        9007199254740992u,
                                        9007199254740993u,
                                        9223372036854775807u,
                                        9223372036854775808u,
                                        9223372036854775809u,
                                        18446744073709551615u};
    static const double floats[] = {0.0,
                                    -0.0,
                                    5.0,
                                    5.5,
                                    -1.5,
                                    9007199254740992.0,
                                    9007199254740994.0,
                                    9223372036854775808.0,
                                    -9223372036854775808.0,
                                    18446744073709551616.0,
                                    1e300};
    static const char *const strings[] = {"", "a", "ab", "b", "eu"};
    char text[48];
    pool_count = 0;
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        snprintf(text, sizeof(text), "%llu", (unsigned long long)integers[i]);
        pool_add(merle_value_uint(integers[i]), text);
    }
    for (size_t i = 0; i < sizeof(floats) / sizeof(floats[0]); i++) {
        snprintf(text, sizeof(text), "%.17e", floats[i]);
        pool_add(merle_value_float(floats[i]), text);
    }
    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
        snprintf(text, sizeof(text), "'%s'", strings[i]);
        pool_add(merle_value_str(strings[i]), text);
    }
    pool_add(merle_value_int(-5), "-5");
    pool_add(merle_value_int(INT64_MIN), "-9223372036854775808");
    pool_add(merle_value_int(-9007199254740993), "-9007199254740993");
    pool_add(merle_value_float(NAN), "nan");
    pool_add(merle_value_float(INFINITY), "inf");
    pool_add(merle_value_float(-INFINITY), "-inf");
    pool_add(merle_value_bytes(BYTES("a\0")), "\"a\\u0000\"");
    pool_add(merle_value_bytes(BYTES("a\0b")), "'a\\u0000b'");
    pool_add(merle_value_str("\xc3\xa4"), "'\\u00e4'");
    pool_add(merle_value_bin(BYTES("")), "x''");
    pool_add(merle_value_bin(BYTES("\0")), "x'00'");
    pool_add(merle_value_bin(BYTES("\0\xff")), "x\"00ff\"");
    pool_add(merle_value_bin(BYTES("a")), "x'61'");
    pool_add(merle_value_bool(1), "true");
    pool_add(merle_value_bool(0), "False");
    pool_add(merle_value_nil(), "nil");
    pool_add(merle_value_time(0, 0), "@0");
    pool_add(merle_value_time(0, 1), "@1970-01-01T00:00:00.000000001Z");
    pool_add(merle_value_time(-1, 500000000), "@-0.5");
    pool_add(merle_value_time(INT64_MAX, 999999999), "@9223372036854775807.999999999");
    pool_add(merle_value_time(INT64_MIN, 0), "@-9223372036854775808");
}

static size_t pool_pick(mrl_random *random) {
    return (size_t)mrl_random_below(random, pool_count);
}

/* ---- random documents ---- */

static void build_scalar(merle_builder *b, const char *name, mrl_random *random) {
    merle_build_value(b, name, &pool[pool_pick(random)].value);
}

static void build_array(merle_builder *b, const char *name, mrl_random *random) {
    merle_build_array(b, name);
    for (uint64_t count = mrl_random_below(random, 5); count > 0; count--) {
        if (mrl_random_below(random, 10) == 0) {
            merle_build_array(b, NULL);
            build_scalar(b, NULL, random);
            merle_build_close(b);
        } else {
            build_scalar(b, NULL, random);
        }
    }
    merle_build_close(b);
}

static void build_any(merle_builder *b, const char *name, mrl_random *random) {
    static const merle_value ext = {MERLE_TYPE_EXT, 0, {0}, {"ab", 2}, 5};
    switch (mrl_random_below(random, 10)) {
    case 0:
        return;
    case 1:
    case 2:
        build_array(b, name, random);
        return;
    case 3:
        merle_build_map(b, name);
        build_scalar(b, "x", random);
        merle_build_close(b);
        return;
    case 4:
        if (mrl_random_below(random, 4) == 0)
            merle_build_value(b, name, &ext);
        else
            merle_build_nil(b, name);
        return;
    default:
        build_scalar(b, name, random);
        return;
    }
}

static merle_doc random_document(merle_builder *b, merle_buffer *buffer, mrl_random *random) {
    merle_bytes bytes;
    merle_doc doc;
    if (mrl_random_below(random, 4) == 0) {
        bytes = sample_document(buffer, random);
    } else {
        merle_build_begin(b);
        build_any(b, "a", random);
        build_any(b, "b", random);
        build_array(b, "c", random);
        merle_build_map(b, "d");
        build_any(b, "a", random);
        build_array(b, "e", random);
        merle_build_close(b);
        assert_int_equal(merle_build_end(b, &bytes), MERLE_OK);
    }
    assert_int_equal(merle_doc_over(bytes, &doc), MERLE_OK);
    return doc;
}

/* ---- random trees ---- */

typedef enum kind { AND, OR, NOT, COMPARE, BETWEEN, IN, PREFIX, EXISTS, ANY_OF, ALL_OF } kind;

#define LIST_MAX 6

typedef struct tree {
    kind kind;
    merle_compare compare;
    int each;
    const char *path;
    size_t values[LIST_MAX];     /* numbers in the pool */
    size_t parameters[LIST_MAX]; /* 0: a literal */
    size_t value_count;
    size_t child_count;
    struct tree *children[3];
} tree;

/* Each parameter is used once, so that its value is what the tree says at that place. */
typedef struct bindings {
    merle_value values[MERLE_CONDITION_PARAMETER_COUNT_MAX];
    size_t count;
} bindings;

static size_t pick_prefix(mrl_random *random) {
    for (;;) {
        size_t i = pool_pick(random);
        if (pool[i].value.type == MERLE_TYPE_STR || pool[i].value.type == MERLE_TYPE_BIN) return i;
    }
}

static void add_values(tree *t, size_t count, mrl_random *random, bindings *bound) {
    t->value_count = count;
    for (size_t i = 0; i < count; i++) {
        t->values[i] = t->kind == PREFIX ? pick_prefix(random) : pool_pick(random);
        t->parameters[i] = 0;
        if (bound == NULL || mrl_random_below(random, 3) != 0) continue;
        if (bound->count == MERLE_CONDITION_PARAMETER_COUNT_MAX) continue;
        bound->values[bound->count++] = pool[t->values[i]].value;
        t->parameters[i] = bound->count;
    }
}

static void fill_leaf(tree *t, mrl_random *random, bindings *bound) {
    static const char *const paths[] = {"a",       "b", "c",    "d.a", "d.e",    "c[0]",
                                        "c[-1]",   "d", "nope", "a.x", "d.e[1]", "\"a\"",
                                        "\"d\".a", "e", "f",    "g.a"};
    t->path = paths[mrl_random_below(random, sizeof(paths) / sizeof(paths[0]))];
    t->kind = (kind)(COMPARE + mrl_random_below(random, ALL_OF - COMPARE + 1));
    t->compare = (merle_compare)(MERLE_EQ + mrl_random_below(random, 6));
    t->each = t->kind < EXISTS && mrl_random_below(random, 3) == 0;
    size_t count = (size_t)mrl_random_below(random, LIST_MAX + 1);
    if (t->kind == COMPARE || t->kind == PREFIX) count = 1;
    if (t->kind == BETWEEN) count = 2;
    if (t->kind == EXISTS) count = 0;
    add_values(t, count, random, bound);
}

static tree *random_tree(mrl_random *random, bindings *bound, unsigned depth) {
    tree *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    if (depth == 0 || mrl_random_below(random, 3) == 0) {
        fill_leaf(t, random, bound);
        return t;
    }
    t->kind = (kind)mrl_random_below(random, 3);
    t->child_count = t->kind == NOT ? 1 : 1 + (size_t)mrl_random_below(random, 3);
    for (size_t i = 0; i < t->child_count; i++)
        t->children[i] = random_tree(random, bound, depth - 1);
    return t;
}

static void tree_free(tree *t) {
    for (size_t i = 0; i < t->child_count; i++) tree_free(t->children[i]);
    free(t);
}

/* ---- the tree as text ---- */

typedef struct text {
    char data[8192];
    size_t size;
    mrl_random *random;
} text;

static void put(text *out, const char *word) {
    size_t size = strlen(word);
    int shout = mrl_random_below(out->random, 4) == 0;
    assert_true(out->size + size + 2 < sizeof(out->data));
    for (size_t i = 0; i < size; i++) {
        char letter = word[i];
        if (shout && letter >= 'a' && letter <= 'z') letter = (char)(letter - 32);
        out->data[out->size++] = letter;
    }
    out->data[out->size++] = " \n\t "[mrl_random_below(out->random, 4)];
    out->data[out->size] = 0;
}

static void put_plain(text *out, const char *word) {
    size_t size = strlen(word);
    assert_true(out->size + size + 2 < sizeof(out->data));
    memcpy(out->data + out->size, word, size);
    out->size += size;
    out->data[out->size++] = ' ';
    out->data[out->size] = 0;
}

static void put_value(text *out, const tree *t, size_t i) {
    char name[16];
    snprintf(name, sizeof(name), "$%zu", t->parameters[i]);
    put_plain(out, t->parameters[i] != 0 ? name : pool[t->values[i]].text);
}

static void put_values(text *out, const tree *t) {
    put(out, "(");
    for (size_t i = 0; i < t->value_count; i++) {
        if (i > 0) put(out, ",");
        put_value(out, t, i);
    }
    put(out, ")");
}

static void put_leaf(text *out, const tree *t) {
    static const char *const marks[] = {"", "=", "!=", "<", "<=", ">", ">="};
    if (t->kind == EXISTS) {
        put(out, "exists(");
        put_plain(out, t->path);
        put(out, ")");
        return;
    }
    if (t->each) put(out, "any");
    put_plain(out, t->path);
    if (t->kind == COMPARE) put(out, marks[t->compare]);
    if (t->kind == BETWEEN) put(out, "between");
    if (t->kind == PREFIX) put(out, "starts with");
    if (t->kind == IN) put(out, "in");
    if (t->kind == ANY_OF) put(out, ":any");
    if (t->kind == ALL_OF) put(out, ":all");
    if (t->kind == IN || t->kind == ANY_OF || t->kind == ALL_OF) {
        put_values(out, t);
        return;
    }
    put_value(out, t, 0);
    if (t->kind != BETWEEN) return;
    put(out, "and");
    put_value(out, t, 1);
}

/* Brackets around every part, needed or not, or only where an or stands in an and. */
static void put_tree(text *out, const tree *t) {
    if (t->child_count == 0) {
        put_leaf(out, t);
        return;
    }
    if (t->kind == NOT) put(out, "not");
    for (size_t i = 0; i < t->child_count; i++) {
        const tree *child = t->children[i];
        int needed = (child->kind == OR && t->kind != OR) || (child->kind == AND && t->kind == NOT);
        int brackets = needed || mrl_random_below(out->random, 3) == 0;
        if (i > 0) put(out, t->kind == AND ? "and" : "or");
        if (brackets) put(out, "(");
        put_tree(out, child);
        if (brackets) put(out, ")");
    }
}

/* ---- the tree built in C ---- */

static merle_where *build_leaf(const tree *t) {
    merle_value values[LIST_MAX];
    char names[LIST_MAX][16];
    merle_where *where;
    for (size_t i = 0; i < t->value_count; i++) {
        snprintf(names[i], sizeof(names[i]), "%zu", t->parameters[i]);
        values[i] = t->parameters[i] != 0 ? merle_parameter(names[i]) : pool[t->values[i]].value;
    }
    switch (t->kind) {
    case COMPARE:
        where = merle_where_compare(t->path, t->compare, values[0]);
        break;
    case BETWEEN:
        where = merle_where_between(t->path, values[0], values[1]);
        break;
    case IN:
        where = merle_where_in(t->path, values, t->value_count);
        break;
    case PREFIX:
        where = merle_where_prefix(t->path, values[0]);
        break;
    case EXISTS:
        return merle_where_exists(t->path);
    case ANY_OF:
        return merle_where_any_of(t->path, values, t->value_count);
    default:
        return merle_where_all_of(t->path, values, t->value_count);
    }
    return t->each ? merle_where_each(where) : where;
}

static merle_where *build_tree(const tree *t) {
    merle_where *parts[3];
    if (t->child_count == 0) return build_leaf(t);
    for (size_t i = 0; i < t->child_count; i++) parts[i] = build_tree(t->children[i]);
    if (t->kind == NOT) return merle_where_not(parts[0]);
    return t->kind == AND ? merle_where_and(parts, t->child_count)
                          : merle_where_or(parts, t->child_count);
}

/* ---- the plain reading ---- */

static int class_of(const merle_value *value) {
    switch (value->type) {
    case MERLE_TYPE_NIL:
        return 1;
    case MERLE_TYPE_BOOL:
        return 2;
    case MERLE_TYPE_INT:
    case MERLE_TYPE_UINT:
    case MERLE_TYPE_FLOAT:
        return 3;
    case MERLE_TYPE_STR:
        return 4;
    case MERLE_TYPE_BIN:
        return 5;
    case MERLE_TYPE_TIME:
        return 6;
    default:
        return 0;
    }
}

static long double number_of(const merle_value *value) {
    if (value->type == MERLE_TYPE_INT) return (long double)value->number.i;
    if (value->type == MERLE_TYPE_UINT) return (long double)value->number.u;
    return (long double)value->number.f;
}

static int plain_order(const merle_value *left, const merle_value *right) {
    long double one = number_of(left), other = number_of(right);
    size_t size = left->bytes.size < right->bytes.size ? left->bytes.size : right->bytes.size;
    int order;
    switch (class_of(left)) {
    case 2:
        return (int)(left->number.i - right->number.i);
    case 3:
        if (isnan(one) || isnan(other)) return !!isnan(other) - !!isnan(one);
        return (one > other) - (one < other);
    case 4:
    case 5:
        order = size == 0 ? 0 : memcmp(left->bytes.data, right->bytes.data, size);
        if (order != 0) return order;
        return (left->bytes.size > right->bytes.size) - (left->bytes.size < right->bytes.size);
    case 6:
        if (left->number.i != right->number.i) return left->number.i < right->number.i ? -1 : 1;
        return (left->count > right->count) - (left->count < right->count);
    default:
        return 0;
    }
}

static int plain_compare(const merle_value *left, merle_compare compare, const merle_value *right) {
    int class = class_of(left), alike = class != 0 && class == class_of(right);
    int order = alike ? plain_order(left, right) : 0;
    switch (compare) {
    case MERLE_EQ:
        return alike && order == 0;
    case MERLE_NE:
        return !(alike && order == 0);
    case MERLE_LT:
        return alike && order < 0;
    case MERLE_LE:
        return alike && order <= 0;
    case MERLE_GT:
        return alike && order > 0;
    default:
        return alike && order >= 0;
    }
}

static int plain_value(const tree *t, const merle_value *value) {
    const merle_value *first = t->value_count > 0 ? &pool[t->values[0]].value : NULL;
    switch (t->kind) {
    case COMPARE:
        return plain_compare(value, t->compare, first);
    case BETWEEN:
        return plain_compare(value, MERLE_GE, first) &&
               plain_compare(value, MERLE_LE, &pool[t->values[1]].value);
    case PREFIX:
        return value->type == first->type && value->bytes.size >= first->bytes.size &&
               (first->bytes.size == 0 ||
                memcmp(value->bytes.data, first->bytes.data, first->bytes.size) == 0);
    default:
        for (size_t i = 0; i < t->value_count; i++)
            if (plain_compare(value, MERLE_EQ, &pool[t->values[i]].value)) return 1;
        return 0;
    }
}

static int plain_element(const tree *t, const merle_value *value) {
    merle_walk walk;
    merle_value key, element;
    if (value->type != MERLE_TYPE_ARRAY) return plain_value(t, value);
    assert_int_equal(merle_walk_begin(value, &walk), MERLE_OK);
    while (merle_walk_next(&walk, &key, &element))
        if (plain_value(t, &element)) return 1;
    return 0;
}

static int plain_all(const tree *t, const merle_value *value) {
    for (size_t i = 0; i < t->value_count; i++) {
        tree one = *t;
        one.kind = ANY_OF;
        one.values[0] = t->values[i];
        one.value_count = 1;
        if (value == NULL || !plain_element(&one, value)) return 0;
    }
    return 1;
}

static int plain_leaf(const tree *t, merle_doc doc) {
    merle_value value;
    int is_there = merle_doc_value(doc, t->path, &value) == MERLE_OK;
    if (t->kind == EXISTS) return is_there;
    if (t->kind == ALL_OF) return plain_all(t, is_there ? &value : NULL);
    if (!is_there) return t->kind == COMPARE && t->compare == MERLE_NE && !t->each;
    if (t->each || t->kind == ANY_OF) return plain_element(t, &value);
    return plain_value(t, &value);
}

static int plain_tree(const tree *t, merle_doc doc) {
    if (t->child_count == 0) return plain_leaf(t, doc);
    if (t->kind == NOT) return !plain_tree(t->children[0], doc);
    for (size_t i = 0; i < t->child_count; i++)
        if (plain_tree(t->children[i], doc) == (t->kind == OR)) return t->kind == OR;
    return t->kind == AND;
}

/* ---- both ---- */

static merle_condition *parsed(const char *from, size_t size) {
    merle_condition *condition;
    merle_report report;
    uint8_t *exact = sample_exact(merle_bytes_of(from, size));
    merle_err err = merle_condition_parse(merle_bytes_of(exact, size), &condition, &report);
    if (err != MERLE_OK) fail_msg("%.*s: %s", (int)size, from, report.message);
    free(exact);
    return condition;
}

static void assert_same_text(const merle_condition *left, const merle_condition *right) {
    merle_buffer one = {NULL, 0, 0}, other = {NULL, 0, 0};
    assert_int_equal(merle_condition_write(left, &one), MERLE_OK);
    assert_int_equal(merle_condition_write(right, &other), MERLE_OK);
    if (one.size != other.size || memcmp(one.data, other.data, one.size) != 0)
        fail_msg("%.*s\n%.*s", (int)one.size, one.data, (int)other.size, other.data);
    merle_buffer_free(&one);
    merle_buffer_free(&other);
}

static merle_condition *written_and_parsed(const merle_condition *condition) {
    merle_buffer canonical = {NULL, 0, 0};
    assert_int_equal(merle_condition_write(condition, &canonical), MERLE_OK);
    merle_condition *again = parsed((const char *)canonical.data, canonical.size);
    assert_same_text(condition, again);
    merle_buffer_free(&canonical);
    return again;
}

static int asked(const merle_condition *condition, merle_doc doc, const bindings *bound) {
    int result = 7;
    merle_err err = merle_condition_match(condition, doc, bound->values, bound->count, &result);
    assert_int_equal(err, MERLE_OK);
    return result;
}

/* Some places known, some not. */
static int asked_located(const merle_condition *condition, merle_doc doc, const bindings *bound,
                         mrl_random *random) {
    uint32_t *offsets = malloc((condition->path_count + 1) * sizeof(*offsets));
    assert_non_null(offsets);
    mrl_paths_locate(condition->paths, condition->path_count, doc.data, doc.size, offsets);
    for (uint32_t i = 0; i < condition->path_count; i++)
        if (mrl_random_below(random, 3) == 0) offsets[i] = MRL_OFFSET_UNKNOWN;
    const mrl_condition_subject subject = {doc.data, doc.size, offsets, bound->values};
    int result = mrl_condition_test(condition, condition->root, &subject);
    free(offsets);
    return result;
}

typedef struct tally {
    size_t asked;
    size_t met;
} tally;

static void compare_readings(mrl_random *random, merle_builder *b, merle_buffer *buffer,
                             tally *count) {
    static text out;
    static bindings bound;
    merle_condition *built;
    merle_report report;
    bound.count = 0;
    tree *t = random_tree(random, mrl_random_below(random, 2) ? &bound : NULL, 4);
    out.size = 0;
    out.random = random;
    put_tree(&out, t);
    merle_condition *read = parsed(out.data, out.size);
    merle_err err = merle_condition_create(build_tree(t), &built, &report);
    if (err != MERLE_OK) fail_msg("%s", report.message);
    assert_same_text(read, built);
    merle_condition *again = written_and_parsed(read);
    for (int i = 0; i < DOCS_A_ROUND; i++) {
        merle_doc doc = random_document(b, buffer, random);
        int wanted = plain_tree(t, doc);
        if (asked(read, doc, &bound) != wanted) fail_msg("not %d: %s", wanted, out.data);
        assert_int_equal(asked(built, doc, &bound), wanted);
        assert_int_equal(asked(again, doc, &bound), wanted);
        assert_int_equal(asked_located(read, doc, &bound, random), wanted);
        count->asked++;
        count->met += (size_t)wanted;
    }
    merle_condition_destroy(read);
    merle_condition_destroy(built);
    merle_condition_destroy(again);
    tree_free(t);
}

static void random_condition_is_answered_as_by_its_plain_reading(void **state) {
    const char *longer = getenv("MERLE_TEST_LONG");
    int rounds = longer != NULL && longer[0] == '1' ? 10 * ROUNDS : ROUNDS;
    mrl_random random;
    merle_builder *b;
    merle_buffer buffer = {NULL, 0, 0};
    tally count = {0, 0};
    (void)state;
    mrl_random_init(&random, test_seed);
    assert_int_equal(merle_builder_create(&b), MERLE_OK);
    for (int i = 0; i < rounds; i++) compare_readings(&random, b, &buffer, &count);
    printf("# %zu of %zu documents met their condition\n", count.met, count.asked);
    /* A test whose answers are nearly all alike says little. */
    assert_true(count.met > count.asked / 5 && count.met < count.asked * 4 / 5);
    merle_builder_destroy(b);
    merle_buffer_free(&buffer);
}

/* ---- order and bounds ---- */

static void order_without_encoding_is_the_order_of_encodings(void **state) {
    uint8_t one[64], other[64];
    size_t one_size, other_size;
    (void)state;
    for (size_t i = 0; i < pool_count; i++) {
        for (size_t j = 0; j < pool_count; j++) {
            const merle_value *left = &pool[i].value, *right = &pool[j].value;
            assert_int_equal(mrl_encode_value(left, 0, one, sizeof(one), &one_size), MERLE_OK);
            assert_int_equal(mrl_encode_value(right, 0, other, sizeof(other), &other_size),
                             MERLE_OK);
            int wanted = memcmp(one, other, one_size < other_size ? one_size : other_size);
            int order = mrl_value_order(left, right);
            if ((order > 0) - (order < 0) != (wanted > 0) - (wanted < 0))
                fail_msg("%s, %s: %d, not %d", pool[i].text, pool[j].text, order, wanted);
        }
    }
}

static void bounds_of_one_leaf(const tree *t, const bindings *bound) {
    static mrl_bounds bounds;
    merle_condition *condition;
    uint8_t encoded[64];
    size_t size;
    assert_int_equal(merle_condition_create(build_leaf(t), &condition, NULL), MERLE_OK);
    const mrl_condition_node *leaf = condition->root;
    merle_err err = mrl_condition_bounds(leaf, bound->values, &bounds);
    int with_nil = 0, is_list = t->kind == IN || t->kind == ANY_OF || t->kind == ALL_OF;
    for (size_t i = 0; i < t->value_count; i++)
        with_nil |= pool[t->values[i]].value.type == MERLE_TYPE_NIL;
    int fits = t->kind != EXISTS && !(t->kind == COMPARE && t->compare == MERLE_NE && t->each) &&
               !with_nil && (!is_list || leaf->operand_count == 1);
    assert_int_equal(err, fits ? MERLE_OK : MERLE_UNSUPPORTED);
    for (size_t i = 0; err == MERLE_OK && i < pool_count; i++) {
        assert_int_equal(mrl_encode_value(&pool[i].value, 0, encoded, sizeof(encoded), &size),
                         MERLE_OK);
        tree positive = *t;
        if (t->kind == COMPARE && t->compare == MERLE_NE) positive.compare = MERLE_EQ;
        if (mrl_bounds_have(&bounds, encoded, size) != plain_value(&positive, &pool[i].value))
            fail_msg("kind %d, compare %d, %s: %s is on the wrong side", (int)t->kind,
                     (int)t->compare, pool[t->values[0]].text, pool[i].text);
    }
    merle_condition_destroy(condition);
}

static void value_lies_in_the_bounds_exactly_if_it_meets_the_leaf(void **state) {
    mrl_random random;
    bindings bound;
    (void)state;
    mrl_random_init(&random, test_seed);
    for (int i = 0; i < 20000; i++) {
        tree t;
        memset(&t, 0, sizeof(t));
        bound.count = 0;
        fill_leaf(&t, &random, i % 2 ? &bound : NULL);
        bounds_of_one_leaf(&t, &bound);
    }
}

static void bounds_of_a_value_too_long_are_too_big(void **state) {
    static mrl_bounds bounds;
    static char letters[MERLE_VALUE_SIZE_MAX];
    merle_condition *condition;
    (void)state;
    memset(letters, 'x', sizeof(letters));
    merle_value value = merle_value_bytes(merle_bytes_of(letters, sizeof(letters) - 3));
    assert_int_equal(merle_condition_create(merle_where_prefix("a", value), &condition, NULL),
                     MERLE_OK);
    assert_int_equal(mrl_condition_bounds(condition->root, NULL, &bounds), MERLE_OK);
    assert_int_equal(bounds.to_size, sizeof(letters) - 2);
    merle_condition_destroy(condition);
    value.bytes.size++;
    assert_int_equal(merle_condition_create(merle_where_prefix("a", value), &condition, NULL),
                     MERLE_OK);
    assert_int_equal(mrl_condition_bounds(condition->root, NULL, &bounds), MERLE_TOO_BIG);
    assert_int_equal(bounds.to_size, 0);
    merle_condition_destroy(condition);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_by_hand_is_answered_as_the_page_says),
        cmocka_unit_test(random_condition_is_answered_as_by_its_plain_reading),
        cmocka_unit_test(order_without_encoding_is_the_order_of_encodings),
        cmocka_unit_test(value_lies_in_the_bounds_exactly_if_it_meets_the_leaf),
        cmocka_unit_test(bounds_of_a_value_too_long_are_too_big),
    };
    test_seed = seed_of(argc, argv);
    pool_fill();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
