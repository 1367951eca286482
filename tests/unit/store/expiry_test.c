/* tests/unit/store/expiry_test.c - documents that end by themselves.
 *
 * Aim     Whatever reads agrees on what has ended, by the clock of its section; to a writer it is
 *         gone, key and unique values with it, and its removal is in his commit; what is due is
 *         removed by commits of its own, in order of time, in bounded batches; a moment is set,
 *         changed, kept and cleared as the header says; nothing that was seen to be gone comes
 *         back.
 * Method  A clock of the test's own. Single rules; then random commits, moves of the clock, steps
 *         and sections that stay open, each compared with a plain list by every call that reads.
 * Blind   Nearly everything runs in one thread: races are the business of the simulator
 *         (tests/model/expiry_test.c).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <sched.h>

#include <merle/query.h>

#include "base/random.h"
#include "store/expiry.h"
#include "tests/unit/store/clock.h"
#include "tests/unit/store/listing.h"

#define SECOND INT64_C(1000000000)
#define BEGIN (1000 * SECOND)

static const merle_index test_indexes[] = {{"email", MERLE_UNIQUE, "email"},
                                           {"by_n", MERLE_ORDERED, "n"},
                                           {"tag", MERLE_TAGS, "t"},
                                           {NULL, 0, NULL}};

static stand open_on(const merle_schema *schema, const mrl_refusal *refusal) {
    const mrl_environment environment = {.clock = &test_clock, .refusal = refusal};
    stand s;
    clock_ns = BEGIN;
    writing_open(&s, schema, (merle_options){0}, &environment);
    /* The stand is copied: who wants reports asks for them again. */
    merle_report_to(s.db, NULL);
    return s;
}

static stand open_clocked(void) {
    const merle_schema schema = {.version = 1, .indexes = test_indexes};
    return open_on(&schema, NULL);
}

static merle_err insert_for(const stand *s, const char *key, const char *json, int64_t ttl_ns) {
    merle_buffer doc = doc_of(json);
    merle_err err = merle_one_insert_for(s->players, merle_str(key), bytes_of(&doc), ttl_ns, NULL);
    merle_buffer_free(&doc);
    return err;
}

static int64_t moment_of(const stand *s, const char *key) {
    merle_section section;
    merle_doc doc;
    must(s, merle_section_begin(s->db, &section));
    must(s, merle_get(&section, s->players, merle_str(key), &doc));
    int64_t expires_ns = merle_doc_expires(doc);
    must(s, merle_section_end(&section));
    return expires_ns;
}

static void step_all(const stand *s) {
    for (int i = 0; i < 10000 && merle_step(s->db, 0, 0) != MERLE_OK; i++) continue;
}

/* The changes behind `after`, one letter each: the kind, then the key; capitals: of expiry. */
static const char *changes_since(const stand *s, uint64_t after) {
    static char text[4096];
    const merle_changes_options options = {.after_seq = after};
    merle_changes *changes;
    merle_change list[16];
    size_t count, used = 0;
    must(s, merle_changes_open(s->db, &options, &changes));
    uint64_t last = 0;
    do {
        must(s, merle_changes_next(changes, list, 16, &count));
        for (size_t i = 0; i < count; i++) {
            if (last != 0 && list[i].seq != last) text[used++] = ' ';
            last = list[i].seq;
            text[used++] = list[i].origin == MERLE_ORIGIN_EXPIRY ? 'E' : 'a';
            text[used++] = "?upr"[list[i].kind < 4 ? list[i].kind : 0];
            text[used++] = list[i].key.size > 0 ? *(const char *)list[i].key.data : '-';
        }
    } while (count > 0);
    text[used] = 0;
    merle_changes_close(changes);
    return text;
}

/* ---- moments ---- */

static void moment_set_changed_and_cleared_is_told(void **state) {
    (void)state;
    stand s = open_clocked();
    must(&s, insert_for(&s, "a", "{\"n\":1}", 5 * SECOND));
    assert_int_equal(moment_of(&s, "a"), BEGIN + 5 * SECOND);
    must(&s, merle_one_patch(s.players, KEY("a"), NULL, NULL,
                             merle_op_of(MERLE_OP_INC, "n", merle_value_int(1))));
    assert_int_equal(moment_of(&s, "a"), BEGIN + 5 * SECOND);
    must(&s, merle_one_expire(s.players, KEY("a"), BEGIN + 7 * SECOND, NULL));
    assert_int_equal(moment_of(&s, "a"), BEGIN + 7 * SECOND);
    assert_there(&s, "a", "{\"n\":2}");
    must(&s, merle_one_expire(s.players, KEY("a"), 0, NULL));
    assert_int_equal(moment_of(&s, "a"), 0);
    must(&s, merle_one_expire(s.players, KEY("a"), BEGIN + 9 * SECOND, NULL));
    must(&s, one_json(&s, "a", "{\"n\":3}"));
    assert_int_equal(moment_of(&s, "a"), 0);
    assert_int_equal(merle_one_expire(s.players, KEY("b"), BEGIN + SECOND, NULL), MERLE_NOT_FOUND);
    assert_int_equal(merle_one_expire(s.players, KEY("a"), -1, NULL), MERLE_INVALID);
    assert_int_equal(insert_for(&s, "b", "{}", 0), MERLE_INVALID);
    writing_close(&s);
}

static void same_moment_again_is_no_change(void **state) {
    (void)state;
    stand s = open_clocked();
    uint64_t seq;
    must(&s, insert_for(&s, "a", "{}", SECOND));
    merle_stats_db before = stats_of(&s);
    must(&s, merle_one_expire(s.players, KEY("a"), BEGIN + SECOND, &seq));
    assert_int_equal(stats_of(&s).seq, before.seq);
    writing_close(&s);
}

static void moment_alone_is_logged_as_an_empty_effect(void **state) {
    (void)state;
    stand s = open_clocked();
    const merle_changes_options options = {.want_after = 1};
    merle_changes *changes;
    merle_change list[8];
    size_t count;
    must(&s, merle_changes_open(s.db, &options, &changes));
    must(&s, one_json(&s, "a", "{\"n\":1}"));
    must(&s, merle_one_expire(s.players, KEY("a"), BEGIN + SECOND, NULL));
    must(&s, merle_changes_next(changes, list, 8, &count));
    const merle_change *last = &list[count - 1];
    assert_int_equal(last->kind, MERLE_CHANGE_PATCH);
    assert_int_equal(last->effect.size, 1);
    assert_int_equal(*(const uint8_t *)last->effect.data, 0x90);
    assert_int_equal(last->expires_ns, BEGIN + SECOND);
    assert_is_doc(merle_bytes_of(last->after.data, last->after.size), "{\"n\":1}");
    merle_changes_close(changes);
    writing_close(&s);
}

static void write_that_leaves_what_has_ended_leaves_nothing(void **state) {
    (void)state;
    stand s = open_clocked();
    must(&s, one_json(&s, "a", "{\"n\":1}"));
    uint64_t before = stats_of(&s).seq;
    must(&s, merle_one_expire(s.players, KEY("a"), BEGIN, NULL));
    assert_string_equal(changes_since(&s, before), "ara");
    assert_there(&s, "a", NULL);
    merle_commit *commit = begin(&s);
    put_in(&s, commit, "b", "{}");
    must(&s, merle_expire(commit, s.players, KEY("b"), 1));
    assert_sees(merle_commit_section(commit), s.players, "b", NULL);
    before = stats_of(&s).seq;
    (void)end(&s, commit);
    assert_int_equal(stats_of(&s).seq, before);
    writing_close(&s);
}

/* ---- fields ---- */

static void field_says_when_a_document_ends(void **state) {
    (void)state;
    const merle_schema schema = {
        .version = 1, .expires_on = "at.end", .expires_after_ns = 10 * SECOND};
    stand s = open_on(&schema, NULL);
    merle_report_to(s.db, &s.report);
    must(&s, one_json(&s, "a", "{\"at\":{\"end\":1000}}"));
    assert_int_equal(moment_of(&s, "a"), 1010 * SECOND);
    must(&s, one_json(&s, "b", "{\"at\":{\"end\":{\"$time\":\"1970-01-01T00:20:00.5Z\"}}}"));
    assert_int_equal(moment_of(&s, "b"), 1210 * SECOND + SECOND / 2);
    must(&s, one_json(&s, "c", "{\"at\":{\"end\":null}}"));
    assert_int_equal(moment_of(&s, "c"), 0);
    must(&s, one_json(&s, "d", "{\"n\":1}"));
    assert_int_equal(moment_of(&s, "d"), 0);
    must(&s, one_json(&s, "e", "{\"at\":{\"end\":9223372036854775807}}"));
    assert_int_equal(moment_of(&s, "e"), INT64_MAX);
    assert_int_equal(one_json(&s, "f", "{\"at\":{\"end\":\"soon\"}}"), MERLE_TYPE);
    assert_string_equal(s.report.path, "at.end");
    must(&s, one_json(&s, "f", "{\"at\":{\"end\":989}}"));
    assert_there(&s, "f", NULL);
    must(&s, one_json(&s, "f", "{\"at\":{\"end\":-5}}"));
    assert_there(&s, "f", NULL);
    writing_close(&s);
}

static void moment_of_the_field_moves_with_it_and_a_told_one_stays(void **state) {
    (void)state;
    const merle_schema schema = {.version = 1, .expires_on = "end"};
    stand s = open_on(&schema, NULL);
    const merle_op later = merle_op_of(MERLE_OP_SET, "end", merle_value_int(2000));
    must(&s, one_json(&s, "a", "{\"end\":1500}"));
    must(&s, merle_one_patch_ops(s.players, KEY("a"), &later, 1, NULL, NULL));
    assert_int_equal(moment_of(&s, "a"), 2000 * SECOND);
    must(&s, merle_one_expire(s.players, KEY("a"), 1700 * SECOND, NULL));
    must(&s, merle_one_patch(s.players, KEY("a"), NULL, NULL,
                             merle_op_of(MERLE_OP_SET, "end", merle_value_int(3000))));
    assert_int_equal(moment_of(&s, "a"), 1700 * SECOND);
    must(&s, merle_one_expire(s.players, KEY("a"), 0, NULL));
    must(&s, merle_one_patch_ops(s.players, KEY("a"), &later, 1, NULL, NULL));
    assert_int_equal(moment_of(&s, "a"), 0);
    must(&s, one_json(&s, "a", "{\"end\":1500}"));
    assert_int_equal(moment_of(&s, "a"), 1500 * SECOND);
    writing_close(&s);
}

static void field_is_part_of_what_is_compared(void **state) {
    (void)state;
    const merle_schema schema = {.version = 1, .expires_on = "end", .expires_after_ns = 5};
    merle_schema other = schema;
    merle_collection *again;
    stand s = open_on(&schema, NULL);
    merle_report_to(s.db, &s.report);
    must(&s, merle_collection_open(s.db, "players", &schema, &again));
    other.expires_after_ns = 6;
    assert_int_equal(merle_collection_open(s.db, "players", &other, &again), MERLE_DIFFERS);
    other = schema;
    other.expires_on = "ends";
    assert_int_equal(merle_collection_open(s.db, "players", &other, &again), MERLE_DIFFERS);
    other.expires_on = NULL;
    assert_int_equal(merle_collection_open(s.db, "players", &other, &again), MERLE_INVALID);
    other.expires_after_ns = 0;
    assert_int_equal(merle_collection_open(s.db, "players", &other, &again), MERLE_DIFFERS);
    other.expires_on = "a..b";
    assert_int_equal(merle_collection_open(s.db, "others", &other, &again), MERLE_INVALID);
    /* It stays when indexes come and go, and what is removed keeps it. */
    const merle_index index = {"n", MERLE_ORDERED, "n"};
    must(&s, merle_index_add(s.players, &index, NULL));
    must(&s, merle_index_build(s.players, "n"));
    must(&s, merle_collection_truncate(s.players, NULL));
    must(&s, one_json(&s, "a", "{\"end\":1500}"));
    assert_int_equal(moment_of(&s, "a"), 1500 * SECOND + 5);
    writing_close(&s);
}

/* ---- readers ---- */

static void section_goes_by_the_time_at_which_it_began(void **state) {
    (void)state;
    stand s = open_clocked();
    merle_section early, late;
    must(&s, insert_for(&s, "a", "{\"n\":1}", SECOND));
    must(&s, merle_section_begin(s.db, &early));
    clock_ns += SECOND - 1;
    assert_there(&s, "a", "{\"n\":1}");
    clock_ns++;
    must(&s, merle_section_begin(s.db, &late));
    assert_sees(&late, s.players, "a", NULL);
    assert_sees(&early, s.players, "a", "{\"n\":1}");
    step_all(&s);
    assert_sees(&late, s.players, "a", NULL);
    assert_sees(&early, s.players, "a", "{\"n\":1}");
    assert_int_equal(count_of(&early, s.players), 1);
    assert_int_equal(count_of(&late, s.players), 0);
    must(&s, merle_section_end(&early));
    must(&s, merle_section_end(&late));
    writing_close(&s);
}

/* Where nobody has written for a while indexes count without a look at documents. */
static void counts_by_indexes_at_rest_leave_out_what_has_ended(void **state) {
    (void)state;
    stand s = open_clocked();
    merle_condition *condition;
    merle_section section;
    merle_report report;
    uint64_t count;
    const merle_range all = all_of("by_n");
    must(&s, insert_for(&s, "a", "{\"n\":1,\"t\":[\"x\"]}", SECOND));
    must(&s, insert_for(&s, "b", "{\"n\":2,\"t\":[\"x\"]}", 2 * SECOND));
    must(&s, merle_condition_parse(merle_str("n >= 1"), &condition, &report));
    const merle_query query = {.where = condition};
    for (int i = 0; i < 10; i++) (void)merle_step(s.db, 0, 0);
    clock_ns += SECOND;
    must(&s, merle_section_begin(s.db, &section));
    must(&s, merle_query_count(&section, s.players, &query, &count));
    assert_int_equal(count, 1);
    must(&s, merle_range_count(&section, s.players, &all, &count));
    assert_int_equal(count, 1);
    must(&s, merle_tag_count(&section, s.players, "tag", merle_value_str("x"), &count));
    assert_int_equal(count, 1);
    must(&s, merle_section_end(&section));
    merle_condition_destroy(condition);
    writing_close(&s);
}

static void clock_set_back_brings_nothing_back(void **state) {
    (void)state;
    stand s = open_clocked();
    merle_section section;
    must(&s, insert_for(&s, "a", "{\"n\":1}", SECOND));
    must(&s, insert_for(&s, "b", "{\"n\":2}", 2 * SECOND));
    clock_ns += SECOND;
    assert_there(&s, "a", NULL);
    clock_ns = BEGIN;
    assert_there(&s, "a", NULL);
    assert_there(&s, "b", "{\"n\":2}");
    /* Who counts has seen it gone, too. */
    clock_ns = BEGIN + 3 * SECOND;
    must(&s, merle_section_begin(s.db, &section));
    assert_int_equal(count_of(&section, s.players), 0);
    must(&s, merle_section_end(&section));
    clock_ns = BEGIN;
    assert_there(&s, "b", NULL);
    writing_close(&s);
}

/* ---- writers ---- */

static void key_of_what_has_ended_is_free(void **state) {
    (void)state;
    stand s = open_clocked();
    must(&s, insert_for(&s, "a", "{\"n\":1}", SECOND));
    assert_int_equal(insert_for(&s, "a", "{\"n\":2}", SECOND), MERLE_EXISTS);
    clock_ns += SECOND;
    assert_int_equal(merle_one_patch(s.players, KEY("a"), NULL, NULL,
                                     merle_op_of(MERLE_OP_INC, "n", merle_value_int(1))),
                     MERLE_NOT_FOUND);
    assert_int_equal(merle_one_remove(s.players, KEY("a"), NULL), MERLE_NOT_FOUND);
    assert_int_equal(merle_one_expire(s.players, KEY("a"), 0, NULL), MERLE_NOT_FOUND);
    uint64_t before = stats_of(&s).seq;
    must(&s, insert_for(&s, "a", "{\"n\":2}", SECOND));
    assert_string_equal(changes_since(&s, before), "aua");
    assert_there(&s, "a", "{\"n\":2}");
    assert_int_equal(stats_of(&s).expired, 1);
    assert_int_equal(stats_of(&s).expiring, 1);
    clock_ns += SECOND;
    merle_buffer old = {NULL, 0, 0}, doc = doc_of("{\"n\":3}");
    must(&s, merle_one_swap(s.players, KEY("a"), bytes_of(&doc), &old, NULL));
    assert_int_equal(old.size, 0);
    /* What a commit has read back of its own stands, too. */
    must(&s, merle_one_expire(s.players, KEY("a"), clock_ns + SECOND, NULL));
    clock_ns += SECOND;
    merle_doc back;
    merle_commit *commit = begin(&s);
    must(&s, merle_insert(commit, s.players, KEY("a"), bytes_of(&doc)));
    must(&s, merle_commit_get(commit, s.players, KEY("a"), &back));
    (void)end(&s, commit);
    merle_buffer_free(&old);
    merle_buffer_free(&doc);
    writing_close(&s);
}

static void version_expected_of_what_has_ended_is_none(void **state) {
    (void)state;
    stand s = open_clocked();
    must(&s, insert_for(&s, "a", "{\"n\":1}", SECOND));
    uint64_t seq = stats_of(&s).seq;
    clock_ns += SECOND;
    merle_commit *commit = begin(&s);
    must(&s, merle_expect(commit, s.players, KEY("a"), seq));
    assert_int_equal(merle_end(commit, NULL), MERLE_CONFLICT);
    commit = begin(&s);
    must(&s, merle_expect(commit, s.players, KEY("a"), 0));
    assert_sees(merle_commit_section(commit), s.players, "a", NULL);
    put_in(&s, commit, "b", "{}");
    (void)end(&s, commit);
    writing_close(&s);
}

static void unique_value_of_what_has_ended_is_free(void **state) {
    (void)state;
    stand s = open_clocked();
    must(&s, insert_for(&s, "a", "{\"email\":\"x\"}", SECOND));
    must(&s, insert_for(&s, "b", "{\"email\":\"y\"}", SECOND));
    assert_int_equal(one_json(&s, "c", "{\"email\":\"x\"}"), MERLE_EXISTS);
    clock_ns += SECOND;
    assert_holder_now(&s, "email", EMAIL("x"), NULL);
    uint64_t before = stats_of(&s).seq;
    merle_commit *commit = begin(&s);
    put_in(&s, commit, "c", "{\"email\":\"x\"}");
    put_in(&s, commit, "d", "{\"email\":\"y\"}");
    (void)end(&s, commit);
    /* All of it in one commit, removals behind what asked for them. */
    assert_int_equal(stats_of(&s).seq, before + 1);
    assert_string_equal(changes_since(&s, before), "aucaudarbara");
    assert_holder_now(&s, "email", EMAIL("x"), "c");
    assert_holder_now(&s, "email", EMAIL("y"), "d");
    assert_int_equal(stats_of(&s).expired, 2);
    writing_close(&s);
}

static void value_is_free_though_its_document_is_only_expected(void **state) {
    (void)state;
    stand s = open_clocked();
    must(&s, insert_for(&s, "a", "{\"email\":\"x\"}", SECOND));
    clock_ns += SECOND;
    merle_commit *commit = begin(&s);
    must(&s, merle_expect(commit, s.players, KEY("a"), 0));
    put_in(&s, commit, "b", "{\"email\":\"x\"}");
    (void)end(&s, commit);
    assert_holder_now(&s, "email", EMAIL("x"), "b");
    writing_close(&s);
}

static void what_ends_while_a_commit_is_open_is_gone_at_its_end(void **state) {
    (void)state;
    stand s = open_clocked();
    merle_doc doc;
    must(&s, insert_for(&s, "a", "{\"n\":1,\"email\":\"x\"}", SECOND));
    merle_commit *patching = begin(&s), *reading = begin(&s), *asking = begin(&s);
    merle_commit *back = begin(&s);
    must(&s, merle_patch(patching, s.players, KEY("a"),
                         merle_op_of(MERLE_OP_INC, "n", merle_value_int(1))));
    must(&s, merle_commit_get(reading, s.players, KEY("a"), &doc));
    put_in(&s, reading, "b", "{}");
    must(&s, merle_commit_get_unique(asking, s.players, "email", (const merle_value[]){EMAIL("x")},
                                     1, &doc));
    put_in(&s, asking, "b", "{}");
    must(&s, merle_patch(back, s.players, KEY("a"),
                         merle_op_of(MERLE_OP_INC, "n", merle_value_int(1))));
    must(&s, merle_commit_get(back, s.players, KEY("a"), &doc));
    clock_ns += SECOND;
    assert_int_equal(merle_end(patching, NULL), MERLE_NOT_FOUND);
    assert_int_equal(merle_end(reading, NULL), MERLE_CONFLICT);
    assert_int_equal(merle_end(asking, NULL), MERLE_CONFLICT);
    assert_int_equal(merle_end(back, NULL), MERLE_CONFLICT);
    /* Put for less time than the commit takes: it never was. */
    merle_commit *slow = begin(&s);
    merle_buffer none = doc_of("{}");
    must(&s, merle_put_for(slow, s.players, KEY("c"), bytes_of(&none), SECOND));
    assert_sees(merle_commit_section(slow), s.players, "c", "{}");
    clock_ns += SECOND;
    (void)end(&s, slow);
    assert_there(&s, "c", NULL);
    merle_buffer_free(&none);
    writing_close(&s);
}

/* ---- removing ---- */

static void due_documents_go_in_order_of_time_by_commits_of_their_own(void **state) {
    (void)state;
    stand s = open_clocked();
    merle_collection *second;
    must(&s, merle_collection_open(s.db, "second", NULL, &second));
    merle_buffer doc = doc_of("{}");
    must(&s, merle_one_put_for(s.players, KEY("c"), bytes_of(&doc), 3, NULL));
    must(&s, merle_one_put_for(second, KEY("b"), bytes_of(&doc), 2, NULL));
    must(&s, merle_one_put_for(s.players, KEY("a"), bytes_of(&doc), 1, NULL));
    must(&s, merle_one_put_for(s.players, KEY("z"), bytes_of(&doc), 100, NULL));
    must(&s, merle_one_put_for(second, KEY("d"), bytes_of(&doc), 4, NULL));
    uint64_t before = stats_of(&s).seq;
    step_all(&s);
    assert_int_equal(stats_of(&s).seq, before);
    clock_ns += 10;
    assert_int_equal(stats_of(&s).expiry_lag_ns, 9);
    step_all(&s);
    assert_string_equal(changes_since(&s, before), "EraErbErcErd");
    assert_int_equal(stats_of(&s).expired, 4);
    assert_int_equal(stats_of(&s).expiring, 1);
    assert_int_equal(stats_of(&s).expiry_lag_ns, 0);
    merle_buffer_free(&doc);
    writing_close(&s);
}

/* An open section keeps the entries of what is gone in sight all the while. */
static void many_that_end_at_once_go_in_bounded_batches(void **state) {
    (void)state;
    enum { MANY = 3000 };
    stand s = open_clocked();
    merle_section section;
    char key[16];
    uint64_t after = 0;
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "%d", i);
        must(&s, insert_for(&s, key, "{}", SECOND + (i % 3 == 0)));
    }
    clock_ns += SECOND + 1;
    must(&s, merle_section_begin(s.db, &section));
    assert_int_equal(count_of(&section, s.players), 0);
    after = stats_of(&s).seq;
    for (int i = 0; i < MANY / 256 + 1; i++) (void)merle_step(s.db, 0, 0);
    assert_int_equal(stats_of(&s).expired, MANY);
    assert_true(stats_of(&s).seq - after <= MANY / 256 + 1);
    assert_int_equal(count_of(&section, s.players), 0);
    must(&s, merle_section_end(&section));
    step_all(&s);
    assert_int_equal(stats_of(&s).expiring, 0);
    writing_close(&s);
}

/* One step a millisecond, while as many come due as in real life: none waits for 10 ms. */
static void due_documents_are_removed_soon_though_many_are_pending(void **state) {
    (void)state;
    enum { MANY = 20000, SPAN_MS = 200 };
    const int64_t ms = SECOND / 1000;
    const char *wanted = getenv("MERLE_TEST_PENDING");
    int64_t many = wanted == NULL ? MANY : atoll(wanted);
    stand s = open_clocked();
    merle_buffer doc = doc_of("{}");
    char key[16];
    uint64_t lag_max = 0;
    for (int64_t i = 0; i < many; i++) {
        merle_bytes bytes = merle_bytes_of(key, (size_t)snprintf(key, sizeof key, "%d", (int)i));
        int64_t ttl_ns = SECOND + i * 7919 % many * SPAN_MS * ms / MANY;
        must(&s, merle_one_insert_for(s.players, bytes, bytes_of(&doc), ttl_ns, NULL));
    }
    clock_ns += SECOND;
    while (stats_of(&s).expiring > 0) {
        uint64_t lag = stats_of(&s).expiry_lag_ns;
        (void)merle_step(s.db, 0, 0);
        if (lag > lag_max) lag_max = lag;
        clock_ns += ms;
    }
    print_message("# at most %llu us late\n", (unsigned long long)lag_max / 1000);
    assert_in_range(lag_max, 0, 10 * (uint64_t)ms);
    assert_int_equal(stats_of(&s).expired, many);
    merle_buffer_free(&doc);
    writing_close(&s);
}

/* With the machine's clock; nobody steps. */
static void thread_of_its_own_removes_what_is_due(void **state) {
    (void)state;
    stand s;
    writing_open(&s, &players_schema, (merle_options){.threads = MERLE_THREADS_BACKGROUND}, NULL);
    for (int i = 0; i < 3; i++) {
        must(&s, insert_for(&s, "a", "{}", SECOND / 1000));
        while (stats_of(&s).expired <= (uint64_t)i) sched_yield();
        assert_there(&s, "a", NULL);
    }
    assert_int_equal(stats_of(&s).expiring, 0);
    writing_close(&s);
}

static void moment_moved_before_it_comes_is_kept(void **state) {
    (void)state;
    stand s = open_clocked();
    must(&s, insert_for(&s, "a", "{}", 10 * SECOND));
    must(&s, insert_for(&s, "b", "{}", SECOND));
    must(&s, merle_one_expire(s.players, KEY("a"), BEGIN + 2 * SECOND, NULL));
    must(&s, merle_one_expire(s.players, KEY("b"), BEGIN + 20 * SECOND, NULL));
    clock_ns += SECOND;
    step_all(&s);
    assert_there(&s, "b", "{}");
    assert_there(&s, "a", "{}");
    clock_ns += SECOND;
    step_all(&s);
    assert_there(&s, "a", NULL);
    assert_int_equal(stats_of(&s).expired, 1);
    must(&s, merle_one_expire(s.players, KEY("b"), 0, NULL));
    clock_ns += 1000 * SECOND;
    step_all(&s);
    assert_there(&s, "b", "{}");
    writing_close(&s);
}

static void truncated_and_dropped_collections_are_left_alone(void **state) {
    (void)state;
    stand s = open_clocked();
    must(&s, insert_for(&s, "a", "{}", SECOND));
    must(&s, merle_collection_truncate(s.players, NULL));
    must(&s, insert_for(&s, "b", "{}", SECOND));
    clock_ns += SECOND;
    step_all(&s);
    assert_int_equal(stats_of(&s).expired, 1);
    must(&s, insert_for(&s, "b", "{}", SECOND));
    must(&s, merle_collection_drop(s.players, NULL));
    clock_ns += SECOND;
    step_all(&s);
    assert_int_equal(stats_of(&s).expired, 1);
    writing_close(&s);
}

static void check_finds_what_the_index_by_time_lacks(void **state) {
    (void)state;
    stand s = open_clocked();
    uint8_t value[MRL_EXPIRY_SIZE];
    int added;
    must(&s, insert_for(&s, "a", "{}", SECOND));
    must(&s, merle_check(s.db, NULL));
    mrl_root *root = mrl_collection_current(s.players);
    mrl_member *member = mrl_member_join(mrl_db_store(s.db)->domain);
    mrl_epoch_token token;
    const merle_bytes entry = merle_bytes_of(value, sizeof value);
    mrl_expiry_encode(BEGIN + SECOND, value);
    mrl_member_enter(member, &token);
    mrl_ordered_mark(mrl_root_expiry(root), member, entry, 0);
    mrl_member_leave(member, &token);
    assert_int_equal(merle_check(s.db, NULL), MERLE_CORRUPT);
    mrl_member_enter(member, &token);
    must(&s, mrl_ordered_add(mrl_root_expiry(root), member, entry, 0, &added));
    must(&s, mrl_ordered_add(mrl_root_expiry(root), member, entry, 77, &added));
    mrl_member_leave(member, &token);
    assert_int_equal(merle_check(s.db, NULL), MERLE_CORRUPT);
    mrl_member_enter(member, &token);
    mrl_ordered_mark(mrl_root_expiry(root), member, entry, 77);
    mrl_member_leave(member, &token);
    writing_close(&s);
}

/* ---- refused memory ---- */

/* A document is put that takes the unique value of one that has ended, then ends itself. */
static uint64_t refused_round(void *context, uint64_t grants) {
    const merle_schema schema = {.version = 1, .indexes = test_indexes};
    supply memory;
    (void)context;
    supply_init(&memory);
    stand s = open_on(&schema, &memory.refusal);
    must(&s, insert_for(&s, "a", "{\"email\":\"x\"}", SECOND));
    /* A new root: it has no index by time yet. */
    must(&s, merle_collection_truncate(s.players, NULL));
    must(&s, one_json(&s, "a", "{\"email\":\"x\"}"));
    merle_buffer doc = doc_of("{\"n\":1,\"email\":\"x\"}");
    supply_only(&memory, grants);
    merle_err err = merle_one_expire(s.players, KEY("a"), BEGIN + SECOND, NULL);
    if (err == MERLE_OK) {
        clock_ns += SECOND;
        err = merle_one_insert_for(s.players, KEY("b"), bytes_of(&doc), SECOND, NULL);
    }
    (void)merle_step(s.db, 0, 0);
    uint64_t refused = supply_all(&memory);
    if (err != MERLE_OK) assert_int_equal(err, MERLE_NO_MEMORY);
    if (err != MERLE_OK) assert_true(refused > 0);
    must(&s, merle_check(s.db, NULL));
    assert_there(&s, "b", err == MERLE_OK ? "{\"n\":1,\"email\":\"x\"}" : NULL);
    clock_ns += SECOND;
    supply_only(&memory, grants);
    for (int i = 0; i < 3; i++) (void)merle_step(s.db, 0, 0);
    refused += supply_all(&memory);
    must(&s, merle_check(s.db, NULL));
    step_all(&s);
    assert_there(&s, "b", NULL);
    assert_int_equal(stats_of(&s).expiring, 0);
    merle_buffer_free(&doc);
    writing_close(&s);
    return refused;
}

static void refused_memory_loses_nothing(void **state) {
    (void)state;
    refuse_in_turn(refused_round, NULL, 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moment_set_changed_and_cleared_is_told),
        cmocka_unit_test(same_moment_again_is_no_change),
        cmocka_unit_test(moment_alone_is_logged_as_an_empty_effect),
        cmocka_unit_test(write_that_leaves_what_has_ended_leaves_nothing),
        cmocka_unit_test(field_says_when_a_document_ends),
        cmocka_unit_test(moment_of_the_field_moves_with_it_and_a_told_one_stays),
        cmocka_unit_test(field_is_part_of_what_is_compared),
        cmocka_unit_test(section_goes_by_the_time_at_which_it_began),
        cmocka_unit_test(counts_by_indexes_at_rest_leave_out_what_has_ended),
        cmocka_unit_test(clock_set_back_brings_nothing_back),
        cmocka_unit_test(key_of_what_has_ended_is_free),
        cmocka_unit_test(version_expected_of_what_has_ended_is_none),
        cmocka_unit_test(unique_value_of_what_has_ended_is_free),
        cmocka_unit_test(value_is_free_though_its_document_is_only_expected),
        cmocka_unit_test(what_ends_while_a_commit_is_open_is_gone_at_its_end),
        cmocka_unit_test(due_documents_go_in_order_of_time_by_commits_of_their_own),
        cmocka_unit_test(many_that_end_at_once_go_in_bounded_batches),
        cmocka_unit_test(due_documents_are_removed_soon_though_many_are_pending),
        cmocka_unit_test(thread_of_its_own_removes_what_is_due),
        cmocka_unit_test(moment_moved_before_it_comes_is_kept),
        cmocka_unit_test(truncated_and_dropped_collections_are_left_alone),
        cmocka_unit_test(check_finds_what_the_index_by_time_lacks),
        cmocka_unit_test(refused_memory_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
