/* tests/unit/store/commit_read_test.c - reading inside a commit.
 *
 * Aim     A commit sees its own writes on top of its instant; what it found, or did not find, by
 *         key and by unique value holds when it ends, or it is refused and tells the key.
 * Method  A table of what one commit reads, what others do before it ends, and what it ends with;
 *         each with and without a write of its own. merle_check goes over the whole store at the
 *         end of each.
 * Blind   Changes at the very moment of the end: the simulator's part.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "writing.h"

static void reads_see_own_writes_on_top_of_the_instant(void **state) {
    (void)state;
    stand s;
    merle_doc doc;
    writing_open_plain(&s);
    (void)put_json(&s, "a", "{\"email\":\"x\",\"n\":1}");
    (void)put_json(&s, "b", "{\"n\":1}");
    merle_commit *commit = begin(&s);
    must(&s, merle_patch(commit, s.players, KEY("a"), MERLE_INC("n", 1)));
    put_in(&s, commit, "c", "{\"email\":\"z\"}");
    must(&s, merle_remove(commit, s.players, KEY("b")));
    must(&s, merle_commit_get(commit, s.players, KEY("a"), &doc));
    assert_int_equal(merle_doc_int(doc, "n", 0), 2);
    assert_int_equal(doc.seq, 0);
    must(&s,
         merle_patch(commit, s.players, KEY("a"), MERLE_INC("n", 5), MERLE_SET_STR("email", "y")));
    merle_doc again;
    must(&s, merle_commit_get(commit, s.players, KEY("a"), &again));
    assert_int_equal(merle_doc_int(again, "n", 0), 7);
    assert_int_equal(merle_doc_int(doc, "n", 0), 2); /* what was given stays readable */
    assert_int_equal(merle_commit_get(commit, s.players, KEY("b"), &doc), MERLE_NOT_FOUND);
    assert_int_equal(
        merle_commit_get_unique(commit, s.players, "email", (merle_value[]){EMAIL("x")}, 1, &doc),
        MERLE_NOT_FOUND);
    must(&s,
         merle_commit_get_unique(commit, s.players, "email", (merle_value[]){EMAIL("y")}, 1, &doc));
    assert_int_equal(merle_doc_int(doc, "n", 0), 7);
    must(&s,
         merle_commit_get_unique(commit, s.players, "email", (merle_value[]){EMAIL("z")}, 1, &doc));
    /* The section inside sees them too, one beside it does not. */
    merle_section *section = merle_commit_section(commit), beside;
    assert_sees(section, s.players, "a", "{\"email\":\"y\",\"n\":7}");
    assert_sees(section, s.players, "b", NULL);
    assert_sees(section, s.players, "c", "{\"email\":\"z\"}");
    assert_int_equal(count_of(section, s.players), 2);
    must(&s, merle_section_begin(s.db, &beside));
    assert_sees(&beside, s.players, "a", "{\"email\":\"x\",\"n\":1}");
    assert_sees(&beside, s.players, "b", "{\"n\":1}");
    assert_sees(&beside, s.players, "c", NULL);
    must(&s, merle_section_end(&beside));
    (void)end(&s, commit);
    assert_there(&s, "a", "{\"email\":\"y\",\"n\":7}");
    writing_close(&s);
}

typedef void read_fn(const stand *s, merle_commit *commit);
typedef void change_fn(const stand *s);

static void read_a(const stand *s, merle_commit *commit) {
    merle_doc doc;
    must(s, merle_commit_get(commit, s->players, KEY("a"), &doc));
}
static void read_none(const stand *s, merle_commit *commit) {
    merle_doc doc;
    assert_int_equal(merle_commit_get(commit, s->players, KEY("none"), &doc), MERLE_NOT_FOUND);
}
static void read_x(const stand *s, merle_commit *commit) {
    merle_doc doc;
    const merle_value x[] = {EMAIL("x")};
    must(s, merle_commit_get_unique(commit, s->players, "email", x, 1, &doc));
}
static void read_no_email(const stand *s, merle_commit *commit) {
    merle_doc doc;
    const merle_value none[] = {EMAIL("none")};
    assert_int_equal(merle_commit_get_unique(commit, s->players, "email", none, 1, &doc),
                     MERLE_NOT_FOUND);
}
static void read_own_patch(const stand *s, merle_commit *commit) {
    merle_doc doc;
    must(s, merle_patch(commit, s->players, KEY("a"), MERLE_INC("n", 1)));
    must(s, merle_commit_get(commit, s->players, KEY("a"), &doc));
}
static void patch_only(const stand *s, merle_commit *commit) {
    must(s, merle_patch(commit, s->players, KEY("a"), MERLE_INC("n", 1)));
}
static void read_own_put(const stand *s, merle_commit *commit) {
    merle_doc doc;
    put_in(s, commit, "a", "{\"n\":50}");
    must(s, merle_commit_get(commit, s->players, KEY("a"), &doc));
}

static void change_nothing(const stand *s) {
    (void)s;
}
static void change_a(const stand *s) {
    (void)put_json(s, "a", "{\"email\":\"x\",\"n\":9}");
}
static void remove_a(const stand *s) {
    (void)remove_key(s, "a");
}
static void change_and_restore_a(const stand *s) {
    (void)put_json(s, "a", "{}");
    (void)put_json(s, "a", "{\"email\":\"x\",\"n\":1}");
}
static void remove_and_restore_a(const stand *s) {
    (void)remove_key(s, "a");
    stand_settle(s);
    (void)put_json(s, "a", "{\"email\":\"x\",\"n\":1}");
}
static void put_other(const stand *s) {
    (void)put_json(s, "other", "{\"n\":1}");
}
static void put_none(const stand *s) {
    (void)put_json(s, "none", "{\"n\":1}");
}
static void put_and_remove_none(const stand *s) {
    (void)put_json(s, "none", "{\"n\":1}");
    (void)remove_key(s, "none");
}
static void take_no_email(const stand *s) {
    (void)put_json(s, "other", "{\"email\":\"none\"}");
}
static void move_x(const stand *s) {
    (void)put_json(s, "a", "{}");
    (void)put_json(s, "other", "{\"email\":\"x\"}");
}
static void truncate_all(const stand *s) {
    must(s, merle_collection_truncate(s->players, NULL));
}

/* What one commit reads, what another one does before it ends, and whether the first may end. */
static void reads_are_checked_when_the_commit_ends(void **state) {
    (void)state;
    static const struct {
        read_fn *read;
        change_fn *change;
        merle_err err;
    } cases[] = {
        {read_a, change_nothing, MERLE_OK},
        {read_a, put_other, MERLE_OK},
        {read_a, put_none, MERLE_OK},
        {read_a, change_a, MERLE_CONFLICT},
        {read_a, remove_a, MERLE_CONFLICT},
        {read_a, change_and_restore_a, MERLE_CONFLICT},
        {read_a, remove_and_restore_a, MERLE_CONFLICT},
        {read_a, truncate_all, MERLE_CONFLICT},
        {read_none, change_a, MERLE_OK},
        {read_none, put_none, MERLE_CONFLICT},
        /* Absent then, absent now. */
        {read_none, put_and_remove_none, MERLE_OK},
        {read_none, truncate_all, MERLE_CONFLICT},
        {read_x, put_other, MERLE_OK},
        {read_x, take_no_email, MERLE_OK},
        {read_x, change_a, MERLE_CONFLICT},
        {read_x, remove_a, MERLE_CONFLICT},
        {read_x, move_x, MERLE_CONFLICT},
        {read_x, truncate_all, MERLE_CONFLICT},
        {read_no_email, change_a, MERLE_OK},
        {read_no_email, move_x, MERLE_OK},
        {read_no_email, take_no_email, MERLE_CONFLICT},
        {read_no_email, truncate_all, MERLE_CONFLICT},
        {read_own_patch, put_other, MERLE_OK},
        {read_own_patch, change_a, MERLE_CONFLICT},
        {read_own_patch, truncate_all, MERLE_CONFLICT},
        {patch_only, change_a, MERLE_OK},
        {patch_only, remove_a, MERLE_NOT_FOUND},
        {read_own_put, change_a, MERLE_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int writes = 0; writes < 2; writes++) {
            stand s;
            writing_open_plain(&s);
            (void)put_json(&s, "a", "{\"email\":\"x\",\"n\":1}");
            merle_commit *commit = begin(&s);
            cases[i].read(&s, commit);
            if (writes) put_in(&s, commit, "written", "{}");
            cases[i].change(&s);
            merle_err err = merle_end(commit, NULL);
            if (err != cases[i].err) print_message("# case %zu, writes %d\n", i, writes);
            assert_int_equal(err, cases[i].err);
            assert_there(&s, "written", writes && err == MERLE_OK ? "{}" : NULL);
            writing_close(&s);
        }
}

static void conflict_of_a_read_tells_the_key(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    (void)put_json(&s, "a", "{\"n\":1}");
    merle_commit *commit = begin(&s);
    read_a(&s, commit);
    put_in(&s, commit, "b", "{}");
    change_a(&s);
    end_refused(&s, commit, MERLE_CONFLICT);
    assert_string_equal(s.report.collection, "players");
    assert_string_equal(s.report.key, "a");
    assert_int_equal(stats_of(&s).conflicts, 1);
    writing_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_see_own_writes_on_top_of_the_instant),
        cmocka_unit_test(reads_are_checked_when_the_commit_ends),
        cmocka_unit_test(conflict_of_a_read_tells_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
