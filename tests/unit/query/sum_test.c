/* tests/unit/query/sum_test.c - counts, sums, least and greatest, different values.
 *
 * Aim     They are exact: integers beyond 64 bits, floats beside integers, NaN, nothing at all;
 *         only what the query gives counts, in commits with its own writes.
 * Method  Documents written by hand.
 * Blind   Random conditions: model/query_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "players.h"

static void sums_open(stand *s) {
    static const merle_index indexes[] = {{.name = "n", .kind = MERLE_ORDERED, .on = "n"},
                                          {.name = "tags", .kind = MERLE_TAGS, .on = "tags"},
                                          {0}};
    const merle_schema schema = {.version = 1, .indexes = indexes};
    writing_open(s, &schema, (merle_options){0}, NULL);
}

static merle_summary sum_of(const stand *s, const char *where, merle_query query,
                            const char *path) {
    merle_summary summary = {.size = sizeof summary};
    merle_section section;
    merle_condition *condition = condition_of(where);
    query.where = condition;
    must(s, merle_section_begin(s->db, &section));
    must(s, merle_query_summarize(&section, s->players, &query, path, &summary));
    must(s, merle_section_end(&section));
    merle_condition_destroy(condition);
    return summary;
}

static void sum_of_integers_is_exact_as_long_as_it_fits(void **state) {
    stand s;
    (void)state;
    sums_open(&s);
    merle_summary sum = sum_of(&s, NULL, (merle_query){0}, "n");
    assert_int_equal(sum.count, 0);
    assert_int_equal(sum.sum.type, MERLE_TYPE_INT);
    assert_int_equal(sum.sum.number.i, 0);
    assert_int_equal(sum.min.type, MERLE_TYPE_NONE);
    assert_true(sum.average == 0);
    (void)put_json(&s, "a", "{\"n\":9223372036854775807}");
    sum = sum_of(&s, NULL, (merle_query){0}, "n");
    assert_int_equal(sum.sum.number.i, INT64_MAX);
    (void)put_json(&s, "b", "{\"n\":9223372036854775807}");
    sum = sum_of(&s, NULL, (merle_query){0}, "n");
    assert_int_equal(sum.sum.type, MERLE_TYPE_UINT);
    assert_true(sum.sum.number.u == UINT64_MAX - 1);
    (void)put_json(&s, "c", "{\"n\":1}");
    sum = sum_of(&s, NULL, (merle_query){0}, "n");
    assert_true(sum.sum.number.u == UINT64_MAX);
    (void)put_json(&s, "d", "{\"n\":1}");
    sum = sum_of(&s, NULL, (merle_query){0}, "n");
    assert_int_equal(sum.sum.type, MERLE_TYPE_FLOAT);
    assert_true(sum.sum.number.f == 18446744073709551616.0);
    (void)put_json(&s, "e", "{\"n\":-9223372036854775808}");
    (void)put_json(&s, "f", "{\"n\":-9223372036854775808}");
    (void)put_json(&s, "g", "{\"n\":-9223372036854775808}");
    sum = sum_of(&s, NULL, (merle_query){0}, "n");
    assert_int_equal(sum.sum.type, MERLE_TYPE_INT);
    assert_int_equal(sum.sum.number.i, INT64_MIN);
    assert_int_equal(sum.numbers, 7);
    assert_true(sum.average == (double)INT64_MIN / 7);
    assert_int_equal(sum.min.number.i, INT64_MIN);
    assert_int_equal(sum.max.number.i, INT64_MAX);
    writing_close(&s);
}

static void sum_with_a_float_is_a_float(void **state) {
    stand s;
    (void)state;
    sums_open(&s);
    (void)put_json(&s, "a", "{\"n\":9007199254740993}");
    (void)put_json(&s, "b", "{\"n\":-9007199254740992.0}");
    merle_summary sum = sum_of(&s, NULL, (merle_query){0}, "n");
    assert_int_equal(sum.sum.type, MERLE_TYPE_FLOAT);
    assert_true(sum.sum.number.f == 1.0);
    assert_true(sum.average == 0.5);
    /* What is small is not lost beside what is large. */
    (void)remove_key(&s, "a");
    (void)remove_key(&s, "b");
    (void)put_json(&s, "b", "{\"n\":1}");
    (void)put_json(&s, "c", "{\"n\":1e300}");
    (void)put_json(&s, "d", "{\"n\":0.5}");
    (void)put_json(&s, "e", "{\"n\":-1e300}");
    assert_true(sum_of(&s, NULL, (merle_query){0}, "n").sum.number.f == 1.5);
    (void)put_json(&s, "f", "{\"n\":{\"$float\":\"inf\"}}");
    assert_true(sum_of(&s, NULL, (merle_query){0}, "n").sum.number.f == __builtin_inf());
    (void)put_json(&s, "g", "{\"n\":{\"$float\":\"nan\"}}");
    sum = sum_of(&s, NULL, (merle_query){0}, "n");
    assert_true(sum.sum.number.f != sum.sum.number.f);
    assert_true(sum.average != sum.average);
    /* It lies below all other numbers. */
    assert_true(sum.min.number.f != sum.min.number.f);
    assert_true(sum.max.number.f == __builtin_inf());
    writing_close(&s);
}

static void only_numbers_are_summed_and_all_that_orders_has_a_least(void **state) {
    stand s;
    (void)state;
    sums_open(&s);
    (void)put_json(&s, "a", "{\"x\":\"zz\"}");
    (void)put_json(&s, "b", "{\"x\":[1,2]}");
    (void)put_json(&s, "c", "{\"x\":null}");
    (void)put_json(&s, "d", "{\"x\":5}");
    (void)put_json(&s, "e", "{\"x\":true}");
    (void)put_json(&s, "f", "{}");
    merle_summary sum = sum_of(&s, NULL, (merle_query){0}, "x");
    assert_int_equal(sum.count, 6);
    assert_int_equal(sum.numbers, 1);
    assert_int_equal(sum.sum.number.i, 5);
    assert_true(sum.average == 5);
    assert_int_equal(sum.min.type, MERLE_TYPE_BOOL);
    assert_int_equal(sum.max.type, MERLE_TYPE_STR);
    writing_close(&s);
}

static void only_what_the_query_gives_is_summed(void **state) {
    stand s;
    (void)state;
    players_open(&s);
    merle_summary sum = sum_of(&s, "level >= 0", (merle_query){0}, "score");
    assert_int_equal(sum.sum.number.i, 499500);
    sum = sum_of(&s, "tags: odd", (merle_query){.order = "-score", .limit = 3}, "score");
    assert_int_equal(sum.count, 3);
    assert_int_equal(sum.sum.number.i, 999 + 997 + 995);
    sum = sum_of(&s, NULL, (merle_query){.order = "score", .offset = 998}, "score");
    assert_int_equal(sum.sum.number.i, 999 + 998);
    /* A summary of an earlier version keeps its size. */
    merle_section section;
    struct {
        merle_summary summary;
        uint64_t behind;
    } small = {.summary = {.size = offsetof(merle_summary, average)}, .behind = 7};
    small.summary.average = 3;
    const merle_query query = {0};
    must(&s, merle_section_begin(s.db, &section));
    must(&s, merle_query_summarize(&section, s.players, &query, "score", &small.summary));
    assert_int_equal(merle_query_summarize(&section, s.players, &query, "a..b", &small.summary),
                     MERLE_INVALID);
    assert_int_equal(merle_query_summarize(&section, s.players, &query, NULL, &small.summary),
                     MERLE_INVALID);
    must(&s, merle_section_end(&section));
    assert_true(small.summary.average == 3);
    assert_int_equal(small.summary.size, offsetof(merle_summary, average));
    writing_close(&s);
}

/* ---- counts ---- */

static uint64_t count_where(const stand *s, merle_section *section, const char *where,
                            merle_query query) {
    uint64_t count = 7;
    merle_condition *condition = condition_of(where);
    query.where = condition;
    must(s, merle_query_count(section, s->players, &query, &count));
    merle_condition_destroy(condition);
    return count;
}

static void count_is_that_of_the_rows(void **state) {
    stand s;
    merle_section section;
    (void)state;
    players_open(&s);
    must(&s, merle_section_begin(s.db, &section));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(count_where(&s, &section, NULL, (merle_query){0}), 1000);
        assert_int_equal(count_where(&s, &section, NULL, (merle_query){.offset = 995}), 5);
        assert_int_equal(count_where(&s, &section, NULL, (merle_query){.limit = 20}), 20);
        assert_int_equal(count_where(&s, &section, "level < 10", (merle_query){0}), 100);
        assert_int_equal(
            count_where(&s, &section, "level < 10", (merle_query){.offset = 90, .limit = 20}), 10);
        assert_int_equal(count_where(&s, &section, "level in (1, 5, 7)", (merle_query){0}), 30);
        assert_int_equal(count_where(&s, &section, "tags: all(odd, m7)", (merle_query){0}), 20);
        assert_int_equal(count_where(&s, &section, "tags: none(odd, m8)", (merle_query){0}), 480);
        assert_int_equal(count_where(&s, &section, "tags: odd or tags: m8", (merle_query){0}), 520);
        assert_int_equal(count_where(&s, &section, "email = 'e1'", (merle_query){0}), 1);
        assert_int_equal(count_where(&s, &section, "pos.x < 5", (merle_query){.order = "pos.x"}),
                         5);
        /* The section stays where it is. */
        if (i == 0)
            for (int j = 0; j < 1000; j += 3) {
                char key[16];
                (void)snprintf(key, sizeof key, "p%03d", j);
                (void)remove_key(&s, key);
            }
    }
    must(&s, merle_section_end(&section));
    must(&s, merle_section_begin(s.db, &section));
    assert_int_equal(count_where(&s, &section, "tags: none(odd)", (merle_query){0}), 333);
    assert_int_equal(count_where(&s, &section, "level < 10", (merle_query){0}), 66);
    must(&s, merle_section_end(&section));
    writing_close(&s);
}

static void count_in_a_commit_has_its_own_writes(void **state) {
    stand s;
    (void)state;
    players_open(&s);
    merle_commit *commit = begin(&s);
    merle_section *inside = merle_commit_section(commit);
    must(&s, merle_remove(commit, s.players, KEY("p001")));
    put_in(&s, commit, "new", "{\"level\":1,\"tags\":[\"odd\"]}");
    put_in(&s, commit, "newer", "{\"level\":1}");
    put_in(&s, commit, "p101", "{\"level\":2}");
    assert_int_equal(count_where(&s, inside, "level = 1", (merle_query){0}), 10);
    assert_int_equal(count_where(&s, inside, "tags: odd", (merle_query){0}), 499);
    assert_int_equal(count_where(&s, inside, NULL, (merle_query){0}), 1001);
    merle_cancel(commit);
    writing_close(&s);
}

/* ---- different values ---- */

typedef struct seen {
    char text[256];
    size_t used, stop_at, count;
} seen;

static int see(void *context, merle_value value, uint64_t count) {
    seen *to = context;
    if (value.type == MERLE_TYPE_INT)
        to->used += (size_t)snprintf(to->text + to->used, sizeof to->text - to->used, "%lldx%llu ",
                                     (long long)value.number.i, (unsigned long long)count);
    else if (value.type == MERLE_TYPE_STR)
        to->used += (size_t)snprintf(to->text + to->used, sizeof to->text - to->used, "%.*sx%llu ",
                                     (int)value.bytes.size, (const char *)value.bytes.data,
                                     (unsigned long long)count);
    return ++to->count == to->stop_at;
}

static merle_err see_all(const stand *s, const char *where, merle_query query, const char *path,
                         seen *out) {
    merle_section section;
    merle_condition *condition = condition_of(where);
    size_t stop_at = out->stop_at;
    memset(out, 0, sizeof *out);
    out->stop_at = stop_at;
    query.where = condition;
    must(s, merle_section_begin(s->db, &section));
    merle_err err = merle_query_distinct(&section, s->players, &query, path, see, out);
    must(s, merle_section_end(&section));
    merle_condition_destroy(condition);
    return err;
}

static void different_values_come_ascending_with_their_counts(void **state) {
    stand s;
    seen all = {.stop_at = 0};
    (void)state;
    players_open(&s);
    must(&s, see_all(&s, "guild in ('g1', 'g3')", (merle_query){0}, "guild", &all));
    assert_string_equal(all.text, "g1x100 g3x100 ");
    must(&s, see_all(&s, "level < 20", (merle_query){0}, "rating", &all));
    assert_string_equal(all.text, "0x22 1x21 2x21 3x22 4x21 5x22 6x21 ");
    (void)put_json(&s, "a", "{\"rating\":5.0}");
    (void)put_json(&s, "b", "{\"rating\":\"high\"}");
    (void)put_json(&s, "c", "{\"rating\":null}");
    must(&s, see_all(&s, "exists(rating) and not exists(level)", (merle_query){0}, "rating", &all));
    assert_int_equal(all.count, 2);
    all.stop_at = 3;
    must(&s, see_all(&s, NULL, (merle_query){0}, "guild", &all));
    assert_string_equal(all.text, "g0x100 g1x100 g2x100 ");
    all.stop_at = 0;
    /* Few values of many documents take little. */
    must(&s, see_all(&s, NULL, (merle_query){.memory_max = 40000}, "guild", &all));
    assert_int_equal(all.count, 10);
    assert_int_equal(see_all(&s, NULL, (merle_query){.memory_max = 40000}, "score", &all),
                     MERLE_TOO_BIG);
    assert_int_equal(all.count, 0);
    assert_non_null(strstr(s.report.message, "score"));
    assert_int_equal(see_all(&s, NULL, (merle_query){0}, "a..b", &all), MERLE_INVALID);
    writing_close(&s);
}

/* Of lists of 128 and 256 more than half are different. */
static void few_different_values_of_many_documents_fit_into_memory(void **state) {
    char key[16], json[64];
    stand s;
    seen all = {.stop_at = 0};
    (void)state;
    writing_open_plain(&s);
    for (int i = 0; i < 4000; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        (void)snprintf(json, sizeof json, "{\"a\":%d.5,\"b\":%d.5}", i % 100, i % 200);
        (void)put_json(&s, key, json);
    }
    must(&s, see_all(&s, NULL, (merle_query){.memory_max = 40000}, "a", &all));
    assert_int_equal(all.count, 100);
    must(&s, see_all(&s, NULL, (merle_query){.memory_max = 40000}, "b", &all));
    assert_int_equal(all.count, 200);
    writing_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sum_of_integers_is_exact_as_long_as_it_fits),
        cmocka_unit_test(sum_with_a_float_is_a_float),
        cmocka_unit_test(only_numbers_are_summed_and_all_that_orders_has_a_least),
        cmocka_unit_test(only_what_the_query_gives_is_summed),
        cmocka_unit_test(count_is_that_of_the_rows),
        cmocka_unit_test(count_in_a_commit_has_its_own_writes),
        cmocka_unit_test(different_values_come_ascending_with_their_counts),
        cmocka_unit_test(few_different_values_of_many_documents_fit_into_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
