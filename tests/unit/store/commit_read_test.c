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

/* Looking for a value binds nobody to documents that cannot have it. */
static void patch_beside_and_read_no_email(const stand *s, merle_commit *commit) {
    patch_only(s, commit);
    must(s, merle_patch(commit, s->players, KEY("a"), MERLE_SET_INT("emails", 1)));
    read_no_email(s, commit);
}
static void patch_beside_and_read_x(const stand *s, merle_commit *commit) {
    patch_only(s, commit);
    read_x(s, commit);
}
static void patch_email_and_read_no_email(const stand *s, merle_commit *commit) {
    must(s, merle_patch(commit, s->players, KEY("a"), MERLE_SET_STR("\"email\"", "y")));
    read_no_email(s, commit);
}
static merle_err leave_it(void *context, const merle_doc *current, merle_builder *builder,
                          merle_bytes *out_document) {
    (void)context;
    (void)builder;
    *out_document = merle_bytes_of(current->data, current->size);
    return MERLE_OK;
}
static void merge_and_read_no_email(const stand *s, merle_commit *commit) {
    must(s, merle_merge(commit, s->players, KEY("a"), leave_it, NULL));
    read_no_email(s, commit);
}
static void put_and_read_it_by_email(const stand *s, merle_commit *commit) {
    merle_doc doc;
    const merle_value z[] = {EMAIL("z")};
    put_in(s, commit, "a", "{\"email\":\"z\"}");
    must(s, merle_commit_get_unique(commit, s->players, "email", z, 1, &doc));
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
static void take_no_email_by_a(const stand *s) {
    (void)put_json(s, "a", "{\"email\":\"none\"}");
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
        {patch_beside_and_read_no_email, change_a, MERLE_OK},
        {patch_beside_and_read_no_email, move_x, MERLE_OK},
        {patch_beside_and_read_no_email, take_no_email, MERLE_CONFLICT},
        {patch_beside_and_read_no_email, take_no_email_by_a, MERLE_CONFLICT},
        {patch_beside_and_read_x, put_other, MERLE_OK},
        {patch_beside_and_read_x, change_a, MERLE_CONFLICT},
        {patch_email_and_read_no_email, put_other, MERLE_OK},
        {patch_email_and_read_no_email, change_a, MERLE_CONFLICT},
        {merge_and_read_no_email, put_other, MERLE_OK},
        {merge_and_read_no_email, change_a, MERLE_CONFLICT},
        {put_and_read_it_by_email, change_a, MERLE_OK},
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

/* Each lookup, and each operation before one, costs what it changes: a thousand of each in turns
 * take milliseconds. What is read stays what it was. */
static void thousand_lookups_among_a_thousand_writes(void **state) {
    (void)state;
    stand s;
    merle_doc doc;
    writing_open_plain(&s);
    merle_commit *commit = begin(&s);
    for (int i = 0; i < 1000; i++) {
        char key[16], json[48], email[16];
        snprintf(key, sizeof key, "k%d", i);
        snprintf(json, sizeof json, "{\"email\":\"e%d\",\"n\":%d}", i, i);
        put_in(&s, commit, key, json);
        snprintf(email, sizeof email, "e%d", i / 2);
        const merle_value wanted[] = {EMAIL(email)};
        must(&s, merle_commit_get_unique(commit, s.players, "email", wanted, 1, &doc));
        assert_int_equal(merle_doc_int(doc, "n", 0), i / 2);
    }
    (void)end(&s, commit);
    writing_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_see_own_writes_on_top_of_the_instant),
        cmocka_unit_test(reads_are_checked_when_the_commit_ends),
        cmocka_unit_test(conflict_of_a_read_tells_the_key),
        cmocka_unit_test(thousand_lookups_among_a_thousand_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
