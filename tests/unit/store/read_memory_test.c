/* tests/unit/store/read_memory_test.c - want of memory in calls that read.
 *
 * Aim     A reading call whose allocation is refused says MERLE_NO_MEMORY, leaves its outputs empty
 *         and nothing behind; the same call right after gives the right answer.
 * Method  Each call in a section, and in a commit that has written, whose own writes have to be put
 *         in order first: with the first, second, third... allocation refused, this one alone.
 * Blind   Queries: tests/unit/query/memory_test.c. Lists of own writes so long that the arena of
 *         the commit has to grow for them. Leaks show under the address sanitizer only.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "writing.h"

#include "base/buffer.h"

static const merle_index indexes[] = {{"email", MERLE_UNIQUE, "email"},
                                      {"level", MERLE_ORDERED, "level"},
                                      {"each", MERLE_ORDERED, "tags[*]"},
                                      {"tags", MERLE_TAGS, "tags"},
                                      {0}};
static const merle_schema schema = {.version = 1, .indexes = indexes};
static const merle_range levels = {.index = "level"}, elements = {.index = "each"};

/* The answer as a number; all outputs are empty if there is none. */
typedef merle_err read_fn(const stand *s, merle_section *section, uint64_t *out_answer);

/* ---- calls ---- */

static merle_err go_over(const stand *s, merle_section *section, const merle_range *range,
                         uint64_t *out_answer) {
    merle_cursor *cursor;
    merle_doc docs[2];
    size_t some;
    *out_answer = 0;
    merle_err err = merle_range_open(s->players, range, &cursor);
    if (err != MERLE_OK) {
        assert_null(cursor);
        return err;
    }
    while ((err = merle_cursor_next(section, cursor, docs, 2, &some)) == MERLE_OK)
        *out_answer += some;
    assert_int_equal(some, 0);
    merle_cursor_close(cursor);
    if (err == MERLE_NOT_FOUND) return MERLE_OK;
    *out_answer = 0;
    return err;
}

static merle_err read_range(const stand *s, merle_section *section, uint64_t *out_answer) {
    return go_over(s, section, &levels, out_answer);
}

static merle_err read_elements(const stand *s, merle_section *section, uint64_t *out_answer) {
    return go_over(s, section, &elements, out_answer);
}

static merle_err read_count(const stand *s, merle_section *section, uint64_t *out_answer) {
    return merle_range_count(section, s->players, &levels, out_answer);
}

static merle_err read_element_count(const stand *s, merle_section *section, uint64_t *out_answer) {
    return merle_range_count(section, s->players, &elements, out_answer);
}

static merle_err read_rank(const stand *s, merle_section *section, uint64_t *out_answer) {
    return merle_range_rank(section, s->players, &levels, KEY("c"), out_answer);
}

static merle_err read_element_rank(const stand *s, merle_section *section, uint64_t *out_answer) {
    return merle_range_rank(section, s->players, &elements, KEY("c"), out_answer);
}

static merle_err nth(const stand *s, merle_section *section, const merle_range *range,
                     uint64_t *out_answer) {
    merle_doc doc;
    merle_err err = merle_range_nth(section, s->players, range, 1, &doc);
    *out_answer = err == MERLE_OK ? (uint64_t)merle_doc_int(doc, "level", 0) : 0;
    if (err != MERLE_OK) assert_null(doc.data);
    return err;
}

static merle_err read_nth(const stand *s, merle_section *section, uint64_t *out_answer) {
    return nth(s, section, &levels, out_answer);
}

static merle_err read_nth_element(const stand *s, merle_section *section, uint64_t *out_answer) {
    return nth(s, section, &elements, out_answer);
}

static merle_err read_tag_count(const stand *s, merle_section *section, uint64_t *out_answer) {
    return merle_tag_count(section, s->players, "tags", merle_value_int(1), out_answer);
}

static merle_err read_tags(const stand *s, merle_section *section, uint64_t *out_answer) {
    merle_scan scan = {0};
    merle_doc docs[2];
    size_t some;
    merle_err err;
    *out_answer = 0;
    while ((err = merle_tag_next(section, s->players, "tags", merle_value_int(1), &scan, docs, 2,
                                 &some)) == MERLE_OK)
        *out_answer += some;
    assert_int_equal(some, 0);
    if (err == MERLE_NOT_FOUND) return MERLE_OK;
    *out_answer = 0;
    return err;
}

static merle_err read_unique(const stand *s, merle_section *section, uint64_t *out_answer) {
    merle_doc doc;
    merle_err err = merle_get_by(section, s->players, "email", &doc, EMAIL("c"));
    *out_answer = err == MERLE_OK ? (uint64_t)merle_doc_int(doc, "level", 0) : 0;
    if (err != MERLE_OK) assert_null(doc.data);
    return err;
}

static merle_err read_scan(const stand *s, merle_section *section, uint64_t *out_answer) {
    merle_scan scan = {0};
    merle_doc docs[2];
    size_t some;
    merle_err err;
    *out_answer = 0;
    while ((err = merle_scan_next(section, s->players, &scan, docs, 2, &some)) == MERLE_OK)
        *out_answer += some;
    assert_int_equal(some, 0);
    if (err == MERLE_NOT_FOUND) return MERLE_OK;
    *out_answer = 0;
    return err;
}

static merle_err read_all_count(const stand *s, merle_section *section, uint64_t *out_answer) {
    return merle_count(section, s->players, out_answer);
}

/* takes: one that takes memory in a section. All do in a commit. */
static const struct {
    const char *name;
    read_fn *fn;
    uint64_t takes, answer, own_answer;
} reads[] = {
    {"range", read_range, 1, 3, 3},
    {"elements", read_elements, 1, 3, 2},
    {"count", read_count, 0, 3, 3},
    {"count of elements", read_element_count, 1, 3, 2},
    {"rank", read_rank, 0, 2, 1},
    {"rank of elements", read_element_rank, 1, 2, 0},
    {"nth", read_nth, 0, 2, 3},
    {"nth element", read_nth_element, 1, 2, 4},
    {"tag count", read_tag_count, 0, 1, 1},
    {"tags", read_tags, 0, 1, 1},
    {"unique", read_unique, 0, 3, 3},
    {"scan", read_scan, 0, 3, 3},
    {"count of all", read_all_count, 0, 3, 3},
};
enum { READ_COUNT = sizeof reads / sizeof *reads };

/* ---- rounds ---- */

typedef struct asked {
    size_t number;
    int is_own;
} asked;

static uint64_t read_with(void *context, uint64_t grants) {
    static supply memory;
    const asked *q = context;
    const mrl_environment environment = {.refusal = &memory.refusal};
    merle_section section;
    merle_commit *commit = NULL;
    uint64_t answer = 7, wanted = q->is_own ? reads[q->number].own_answer : reads[q->number].answer;
    supply_init(&memory);
    stand s;
    writing_open(&s, &schema, (merle_options){0}, &environment);
    (void)put_json(&s, "a", "{\"email\":\"a\",\"level\":1,\"tags\":[1,5]}");
    (void)put_json(&s, "b", "{\"email\":\"b\",\"level\":2,\"tags\":[4,2]}");
    (void)put_json(&s, "c", "{\"email\":\"c\",\"level\":3,\"tags\":[3]}");
    must(&s, merle_section_begin(s.db, &section));
    if (q->is_own) {
        commit = begin(&s);
        put_in(&s, commit, "d", "{\"email\":\"d\",\"level\":4,\"tags\":[4]}");
        put_in(&s, commit, "b", "{\"email\":\"b\",\"level\":9}");
        must(&s, merle_remove(commit, s.players, KEY("a")));
        put_in(&s, commit, "c", "{\"email\":\"c\",\"level\":3,\"tags\":[1]}");
        put_in(&s, commit, "b", "{\"email\":\"b\",\"level\":2}");
    }
    merle_section *here = q->is_own ? merle_commit_section(commit) : &section;
    mrl_refusal_of_thread = &memory.refusal;
    supply_all_but(&memory, grants);
    merle_err err = reads[q->number].fn(&s, here, &answer);
    uint64_t refused = supply_all(&memory);
    mrl_refusal_of_thread = NULL;
    assert_true(err == MERLE_OK || (refused > 0 && err == MERLE_NO_MEMORY));
    assert_int_equal(answer, err == MERLE_OK ? wanted : 0);
    must(&s, reads[q->number].fn(&s, here, &answer));
    assert_int_equal(answer, wanted);
    if (commit != NULL) merle_cancel(commit);
    must(&s, merle_section_end(&section));
    writing_close(&s);
    return refused;
}

static void read_without_memory_says_so_and_is_right_later(void **state) {
    (void)state;
    for (size_t number = 0; number < READ_COUNT; number++) {
        asked q = {number, 0};
        print_message("# %s\n", reads[number].name);
        refuse_in_turn(read_with, &q, reads[number].takes);
    }
}

static void read_of_own_writes_without_memory_is_right_later(void **state) {
    (void)state;
    for (size_t number = 0; number < READ_COUNT; number++) {
        asked q = {number, 1};
        print_message("# %s\n", reads[number].name);
        refuse_in_turn(read_with, &q, 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_without_memory_says_so_and_is_right_later),
        cmocka_unit_test(read_of_own_writes_without_memory_is_right_later),
    };
    return cmocka_run_group_tests_name("store/read_memory", tests, NULL, NULL);
}
