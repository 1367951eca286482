/* tests/unit/query/memory_test.c - want of memory while a query is planned and run.
 *
 * Aim     An allocation that is refused is MERLE_NO_MEMORY to that call, and leaves nothing behind;
 *         or does no harm, and the answer is the right one.
 * Method  Each query is made with its first, second, third... allocation refused, and all that
 *         follow, until none is; then with this one alone.
 * Blind   Leaks show under the address sanitizer only. Allocations of qsort are not refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "players.h"

#include "query/query_private.h"

typedef struct question {
    const char *where;
    merle_query query;
    uint64_t count;
} question;

/* What is told when one is refused, and what is counted when none is. */
typedef merle_err try_fn(const stand *s, merle_section *section, const merle_query *query,
                         uint64_t *out_count);

static merle_err try_rows(const stand *s, merle_section *section, const merle_query *query,
                          uint64_t *out_count) {
    merle_rows *rows;
    merle_doc docs[16];
    size_t some;
    *out_count = 0;
    merle_err err = merle_query_open(section, s->players, query, &rows);
    if (err != MERLE_OK) {
        assert_null(rows);
        return err;
    }
    while ((err = merle_rows_next(rows, docs, 16, &some)) == MERLE_OK) *out_count += some;
    merle_buffer json = {NULL, 0, 0}, position = {NULL, 0, 0};
    if (err == MERLE_NOT_FOUND) err = merle_rows_explain(rows, &json);
    if (err == MERLE_OK && *out_count > 0) err = merle_rows_position(rows, &position);
    merle_buffer_free(&json);
    merle_buffer_free(&position);
    merle_rows_close(rows);
    return err;
}

static merle_err try_count(const stand *s, merle_section *section, const merle_query *query,
                           uint64_t *out_count) {
    return merle_query_count(section, s->players, query, out_count);
}

static merle_err try_sum(const stand *s, merle_section *section, const merle_query *query,
                         uint64_t *out_count) {
    merle_summary summary = {0};
    merle_err err = merle_query_summarize(section, s->players, query, "pos.x", &summary);
    *out_count = summary.count;
    return err;
}

static int count_them(void *context, merle_value value, uint64_t count) {
    (void)value;
    *(uint64_t *)context += count;
    return 0;
}

static merle_err try_distinct(const stand *s, merle_section *section, const merle_query *query,
                              uint64_t *out_count) {
    *out_count = 0;
    return merle_query_distinct(section, s->players, query, "score", count_them, out_count);
}

static void in_turn(const stand *s, const question *q, try_fn *try) {
    merle_section section;
    merle_query query = q->query;
    merle_condition *condition = condition_of(q->where);
    query.where = condition;
    must(s, merle_section_begin(s->db, &section));
    for (int alone = 0; alone < 2; alone++) {
        uint64_t refused = 1, grants = 0;
        for (; refused > 0; grants++) {
            supply memory;
            uint64_t count = 0;
            supply_init(&memory);
            if (alone)
                supply_all_but(&memory, grants);
            else
                supply_only(&memory, grants);
            mrl_refusal_of_thread = &memory.refusal;
            merle_err err = try(s, &section, &query, &count);
            mrl_refusal_of_thread = NULL;
            refused = supply_all(&memory);
            if (err != MERLE_NO_MEMORY || refused == 0) {
                must(s, err);
                assert_int_equal(count, q->count);
            }
        }
        assert_in_range(grants, 2, 1000);
    }
    must(s, merle_section_end(&section));
    merle_condition_destroy(condition);
}

static void query_without_memory_fails_or_is_right(void **state) {
    static const question questions[] = {
        {NULL, {.order = "pos.x, score"}, 1000},
        {NULL, {.order = "pos.x", .limit = 100, .offset = 5}, 100},
        {NULL, {.fields = "pos.x, score, guild"}, 1000},
        {"level in (1, 2, 3, 4, 5) and tags: any(odd, m2, m3)", {.index = "level"}, 40},
        {"level = 7 or tags: m8 or email = 'e1' or guild = 'g2' and score > 3",
         {.index = NULL},
         130},
        {"guild in ('g1', 'g2', 'g3') and score in (1, 2, 3)", {.order = "guild"}, 3},
        {"not (tags: none(odd, m2) or tags: all(m1, m2))", {.order = "-level"}, 520},
    };
    stand s;
    (void)state;
    players_open(&s);
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        in_turn(&s, &questions[i], try_rows);
        in_turn(&s, &questions[i], try_count);
        in_turn(&s, &questions[i], try_sum);
        in_turn(&s, &questions[i], try_distinct);
    }
    writing_close(&s);
}

/* Keys that could not be noted are not lost in silence. */
static void update_without_memory_fails_or_is_whole(void **state) {
    const merle_op op = MERLE_INC("visits", 1);
    stand s;
    uint64_t refused = 1;
    merle_condition *condition = condition_of("level = 5 or tags: m8");
    const merle_query query = {.where = condition};
    (void)state;
    players_open(&s);
    for (uint64_t grants = 0; refused > 0; grants++) {
        supply memory;
        merle_bulk bulk = {0};
        supply_init(&memory);
        supply_only(&memory, grants);
        mrl_refusal_of_thread = &memory.refusal;
        merle_err err = merle_update_where(s.players, &query, &op, 1, 0, &bulk);
        mrl_refusal_of_thread = NULL;
        refused = supply_all(&memory);
        assert_int_equal(bulk.changed, err == MERLE_OK ? 30 : 0);
        if (err != MERLE_NO_MEMORY) must(&s, err);
    }
    merle_condition_destroy(condition);
    writing_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query_without_memory_fails_or_is_right),
        cmocka_unit_test(update_without_memory_fails_or_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
