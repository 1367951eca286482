/* tests/unit/store/entries_test.c - which values a version has, and what two do not share.
 *
 * Aim     Of arrays of any size each different element is given once, at its first place, and of
 *         two versions what only one of them has; a range meets a document at one value; what an
 *         array of a thousand takes grows with it, and not with its square.
 * Method  Random arrays of numbers, integers and floats of the same value among them, against a
 *         table of which numbers were put in; as tags, as elements, and beside another part.
 * Blind   What becomes of them in an index: store/kinds_test.c, model/kinds_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/entries.h"
#include "document/encode.h"
#include "scarce.h"
#include "store/root.h"
#include "writing.h"

enum { NUMBERS = 1500 };
static uint64_t test_seed;

static const merle_index indexes[] = {{"tags", MERLE_TAGS, "t"},
                                      {"each", MERLE_ORDERED, "t[*]"},
                                      {"beside", MERLE_ORDERED, "-t[*], n"},
                                      {0}};

typedef struct numbers {
    uint8_t has[NUMBERS];
    size_t count; /* different ones */
} numbers;

/* Makes a document with so many elements, below `bound`, and n, and puts it. */
static const mrl_version *put_some(stand *s, mrl_random *random, const char *key, size_t count,
                                   uint32_t bound, int n, numbers *out) {
    merle_builder *b;
    merle_bytes doc;
    memset(out, 0, sizeof *out);
    must(s, merle_builder_create(&b));
    merle_build_begin(b);
    merle_build_int(b, "n", n);
    merle_build_array(b, "t");
    for (size_t i = 0; i < count; i++) {
        uint32_t number = (uint32_t)mrl_random_below(random, bound);
        if (mrl_random_below(random, 2) == 0)
            merle_build_int(b, NULL, number);
        else
            merle_build_float(b, NULL, number);
        out->count += !out->has[number];
        out->has[number] = 1;
    }
    merle_build_close(b);
    must(s, merle_build_end(b, &doc));
    must(s, merle_one_put(s->players, merle_str(key), doc, NULL));
    merle_builder_destroy(b);
    const mrl_root *root = mrl_collection_current(s->players);
    return mrl_root_find(root, mrl_root_hash(root, merle_str(key)), merle_str(key));
}

static const mrl_schema_index *index_of(const stand *s, uint32_t number) {
    return &mrl_root_schema_now(mrl_collection_current(s->players))->indexes[number];
}

/* ---- what is given ---- */

typedef struct given {
    int descending;
    uint32_t times[2][NUMBERS]; /* of the old one, and of the new one */
    size_t count;
} given;

static int take(void *context, merle_bytes value, int is_new) {
    given *g = context;
    merle_value number;
    size_t size;
    uint8_t text[16];
    assert_int_equal(mrl_decode_value(value, g->descending, text, &number, &size), MERLE_OK);
    uint64_t at = number.type == MERLE_TYPE_FLOAT ? (uint64_t)number.number.f : number.number.u;
    assert_in_range(at, 0, NUMBERS - 1);
    g->times[is_new][at]++;
    g->count++;
    return 0;
}

static int take_one(void *context, merle_bytes value) {
    return take(context, value, 1);
}

static void compare_each(const stand *s, const mrl_version *v, const numbers *wanted) {
    static given g;
    for (uint32_t i = 0; i < 3; i++) {
        memset(&g, 0, sizeof g);
        g.descending = i == 2;
        assert_int_equal(mrl_entries_each(v, index_of(s, i), take_one, &g), 0);
        /* On each element, without one: the document lacks the part. */
        assert_int_equal(g.count, wanted->count);
        for (int n = 0; n < NUMBERS; n++) assert_int_equal(g.times[1][n], wanted->has[n]);
    }
}

static void compare_differ(const stand *s, const mrl_version *old, const mrl_version *new,
                           const numbers *olds, const numbers *news, int is_same_beside) {
    static given g;
    for (uint32_t i = 0; i < 3; i++) {
        int shares = i < 2 || is_same_beside;
        memset(&g, 0, sizeof g);
        g.descending = i == 2;
        assert_int_equal(mrl_entries_differ(old, new, index_of(s, i), take, &g), 0);
        for (int n = 0; n < NUMBERS; n++) {
            int is_shared = shares && olds->has[n] && news->has[n];
            assert_int_equal(g.times[0][n], olds->has[n] && !is_shared);
            assert_int_equal(g.times[1][n], news->has[n] && !is_shared);
        }
    }
}

static void arrays_of_any_size_give_each_element_once(void **state) {
    static const size_t sizes[] = {0, 1, 5, 16, 17, 18, 40, 1000, 1024};
    static numbers a, b;
    mrl_random random;
    (void)state;
    stand s;
    const merle_schema schema = {.version = 1, .indexes = indexes};
    writing_open(&s, &schema, (merle_options){0}, NULL);
    mrl_random_init(&random, test_seed);
    for (int round = 0; round < 60; round++) {
        size_t one = sizes[mrl_random_below(&random, 9)],
               other = sizes[mrl_random_below(&random, 9)];
        uint32_t bound = (uint32_t[]){3, 20, 400, NUMBERS}[mrl_random_below(&random, 4)];
        int n = (int)mrl_random_below(&random, 2);
        const mrl_version *v = put_some(&s, &random, "a", one, bound, 0, &a);
        const mrl_version *w = put_some(&s, &random, "b", other, bound, n, &b);
        compare_each(&s, v, &a);
        compare_differ(&s, v, w, &a, &b, n == 0);
    }
    must(&s, merle_check(s.db, &s.report));
    writing_close(&s);
}

/* ---- where a range meets it ---- */

static void range_meets_a_document_once(void **state) {
    static numbers a;
    mrl_random random;
    (void)state;
    stand s;
    const merle_schema schema = {.version = 1, .indexes = indexes};
    writing_open(&s, &schema, (merle_options){0}, NULL);
    mrl_random_init(&random, test_seed);
    for (int round = 0; round < 40; round++) {
        size_t count = mrl_random_below(&random, 2) == 0 ? 1000 : mrl_random_below(&random, 8);
        const mrl_version *v = put_some(&s, &random, "a", count, NUMBERS, 0, &a);
        uint32_t low = (uint32_t)mrl_random_below(&random, NUMBERS);
        uint32_t high = low + (uint32_t)mrl_random_below(&random, NUMBERS - low);
        const merle_value from = merle_value_uint(low), to = merle_value_uint(high);
        const merle_range range = {
            .index = "each", .from = {MERLE_CLOSED, &from, 1}, .to = {MERLE_CLOSED, &to, 1}};
        merle_section section;
        uint64_t met = 7;
        uint32_t is_inside = 0;
        for (uint32_t i = low; i <= high; i++) is_inside |= a.has[i];
        must(&s, merle_section_begin(s.db, &section));
        must(&s, merle_range_count(&section, s.players, &range, &met));
        assert_int_equal(met, is_inside);
        must(&s, merle_section_end(&section));
        for (uint32_t i = 0; i < NUMBERS; i++) {
            uint8_t encoded[16];
            size_t size;
            merle_value tag = merle_value_uint(i);
            must(&s, mrl_encode_value(&tag, 0, encoded, sizeof encoded, &size));
            assert_int_equal(
                mrl_entries_have_tag(v, index_of(&s, 0), merle_bytes_of(encoded, size)), a.has[i]);
        }
    }
    writing_close(&s);
}

int main(int argc, char **argv) {
    test_seed = seed_of(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_of_any_size_give_each_element_once),
        cmocka_unit_test(range_meets_a_document_once),
    };
    return cmocka_run_group_tests_name("store/entries", tests, NULL, NULL);
}
