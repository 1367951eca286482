/* tests/unit/persist/expiry_test.c - documents that end, from one opening to the next.
 *
 * Aim     Moments come back from log and pages, also those that were changed alone; what ended
 *         while nobody had the database open is not shown, and is removed by commits; a clock that
 *         was set back between two openings brings nothing back.
 * Method  A directory in /tmp, and a clock of the test's own.
 * Blind   Crashes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/store/clock.h"
#include "tests/unit/store/writing.h"

#define SECOND INT64_C(1000000000)
#define BEGIN (1000 * SECOND)

static char path[64];

static void open_path(stand *s) {
    static const merle_index indexes[] = {{"email", MERLE_UNIQUE, "email"}, {NULL, 0, NULL}};
    const merle_schema schema = {.version = 1, .indexes = indexes, .expires_on = "end"};
    const mrl_environment environment = {.clock = &test_clock};
    const merle_options options = {.threads = MERLE_THREADS_NONE, .report = &s->report};
    memset(s, 0, sizeof *s);
    must(s, mrl_db_open(path, &options, &environment, &s->db));
    must(s, merle_collection_open(s->db, "players", &schema, &s->players));
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

static void put_for(const stand *s, const char *key, const char *json, int64_t ttl_ns) {
    merle_buffer doc = doc_of(json);
    must(s, merle_one_put_for(s->players, merle_str(key), bytes_of(&doc), ttl_ns, NULL));
    merle_buffer_free(&doc);
}

static void step_all(const stand *s) {
    for (int i = 0; i < 1000 && merle_step(s->db, 0, 0) != MERLE_OK; i++) continue;
}

static void go_through(int with_checkpoint) {
    char command[96];
    stand s;
    (void)snprintf(path, sizeof path, "/tmp/merle-expiry-XXXXXX");
    assert_non_null(mkdtemp(path));
    clock_ns = BEGIN;
    open_path(&s);
    put_for(&s, "a", "{\"email\":\"x\"}", 10 * SECOND);
    put_for(&s, "b", "{\"n\":1}", 10 * SECOND);
    must(&s, merle_one_expire(s.players, KEY("b"), BEGIN + 50 * SECOND, NULL));
    must(&s, one_json(&s, "c", "{\"end\":1020}"));
    put_for(&s, "d", "{}", 10 * SECOND);
    if (with_checkpoint) must(&s, merle_checkpoint(s.db));
    must(&s, merle_one_expire(s.players, KEY("d"), 0, NULL));
    must(&s, one_json(&s, "e", "{\"end\":1001}"));
    clock_ns += 2 * SECOND;
    assert_there(&s, "e", NULL);
    must(&s, one_json(&s, "f", "{}"));
    writing_close(&s);

    clock_ns = BEGIN;
    open_path(&s);
    assert_there(&s, "e", NULL);
    assert_int_equal(moment_of(&s, "a"), BEGIN + 10 * SECOND);
    assert_int_equal(moment_of(&s, "b"), BEGIN + 50 * SECOND);
    assert_int_equal(moment_of(&s, "c"), 1020 * SECOND);
    assert_int_equal(moment_of(&s, "d"), 0);
    writing_close(&s);

    clock_ns = BEGIN + 20 * SECOND;
    open_path(&s);
    assert_there(&s, "a", NULL);
    assert_there(&s, "c", NULL);
    assert_there(&s, "b", "{\"n\":1}");
    assert_int_equal(count_now(&s), 3);
    must(&s, one_json(&s, "g", "{\"email\":\"x\"}"));
    step_all(&s);
    assert_int_equal(stats_of(&s).expiring, 1);
    assert_holder_now(&s, "email", EMAIL("x"), "g");
    writing_close(&s);

    open_path(&s);
    assert_int_equal(count_now(&s), 4);
    assert_int_equal(stats_of(&s).expiring, 1);
    writing_close(&s);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

static void moments_come_back_from_the_log(void **state) {
    (void)state;
    go_through(0);
}

static void moments_come_back_from_pages(void **state) {
    (void)state;
    go_through(1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_come_back_from_the_log),
        cmocka_unit_test(moments_come_back_from_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
