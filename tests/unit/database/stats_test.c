/* tests/unit/database/stats_test.c - the inside view.
 *
 * Aim     Figures say what was done; ages of sections grow as steps see them, never beyond what is
 *         so, also with sections inside one another and where nobody commits; lists are in order
 *         and bounded; shorter and longer structs of other versions are taken or refused.
 * Method  A clock of the test's own, moved by hand; a database without threads.
 * Blind   What the figures are while many threads count.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/store/stand.h"

#include <pthread.h>

#include "base/lock.h"
#include "tests/unit/store/clock.h"

static stand clocked_open(void) {
    static const merle_index indexes[] = {{"email", MERLE_UNIQUE, "email"}, {NULL, 0, NULL}};
    const merle_schema schema = {.version = 1, .indexes = indexes};
    const merle_options options = {.threads = MERLE_THREADS_NONE};
    const mrl_environment environment = {.clock = &test_clock, .database_id = {3, 4}};
    stand s;
    memset(&s, 0, sizeof s);
    must(&s, mrl_db_open(NULL, &options, &environment, &s.db));
    must(&s, merle_collection_open(s.db, "players", &schema, &s.players));
    return s;
}

static void step_at(stand *s, uint64_t at_ns) {
    atomic_store(&clock_ns, at_ns);
    (void)merle_step(s->db, at_ns, 0);
}

static merle_stats_db stats_of(stand *s) {
    merle_stats_db stats = {.size = sizeof stats};
    must(s, merle_stats(s->db, &stats));
    return stats;
}

/* ---- figures ---- */

static void figures_say_what_was_done(void **state) {
    (void)state;
    stand s = clocked_open();
    merle_buffer doc = doc_of("{\"email\":\"x\"}");
    merle_section section;
    merle_doc got;
    uint64_t seq = put_json(&s, "a", "{\"email\":\"x\"}");
    assert_int_equal(merle_one_put(s.players, merle_str("b"), bytes_of(&doc), NULL), MERLE_EXISTS);
    seq = put_json(&s, "c", "{\"email\":\"z\"}");
    must(&s, merle_section_begin(s.db, &section));
    must(&s, merle_get(&section, s.players, merle_str("a"), &got));
    assert_int_equal(merle_get(&section, s.players, merle_str("q"), &got), MERLE_NOT_FOUND);
    must(&s, merle_get_by(&section, s.players, "email", &got, merle_value_str("z")));
    merle_stats_db stats = stats_of(&s);
    assert_int_equal(stats.seq, seq);
    assert_int_equal(stats.term, 1);
    assert_int_equal(stats.database_id[0], 3);
    assert_int_equal(stats.database_id[1], 4);
    assert_int_equal(stats.collections, 1);
    assert_int_equal(stats.documents, 2);
    assert_int_equal(stats.commits, 2);
    assert_int_equal(stats.commits_refused, 1);
    assert_int_equal(stats.gets, 2);
    assert_int_equal(stats.gets_missed, 1);
    assert_int_equal(stats.gets_unique, 1);
    assert_int_equal(stats.threads, 1);
    assert_int_equal(stats.sections_open, 1);
    assert_int_equal(stats.ring_first_seq, 1);
    assert_true(stats.ring_bytes > 0 && stats.ring_bytes < stats.ring_size);
    assert_true(stats.bytes_documents > 0);
    assert_true(stats.bytes_total >= stats.bytes_documents + stats.bytes_log);
    assert_int_equal(stats.versions_waiting, 0);
    (void)put_json(&s, "a", "{\"email\":\"y\"}");
    (void)remove_key(&s, "c");
    stats = stats_of(&s);
    assert_int_equal(stats.documents, 1);
    /* Two superseded versions, and the tombstone's own entry. */
    assert_int_equal(stats.versions_waiting, 3);
    assert_true(stats.bytes_retired > 0);
    must(&s, merle_section_end(&section));
    stand_settle(&s);
    stats = stats_of(&s);
    assert_int_equal(stats.versions_waiting, 0);
    assert_int_equal(stats.bytes_retired, 0);
    assert_true(stats.steps > 0);
    merle_buffer_free(&doc);
    stand_close(&s);
}

static void open_things_are_counted(void **state) {
    (void)state;
    stand s = clocked_open();
    merle_commit *commit;
    merle_changes *changes;
    must(&s, merle_begin(s.db, &commit));
    must(&s, merle_changes_open(s.db, NULL, &changes));
    merle_stats_db stats = stats_of(&s);
    assert_int_equal(stats.commits_open, 1);
    assert_int_equal(stats.cursors_open, 1);
    assert_int_equal(stats.sections_open, 1);
    merle_cancel(commit);
    merle_changes_close(changes);
    stats = stats_of(&s);
    assert_int_equal(stats.commits_open, 0);
    assert_int_equal(stats.cursors_open, 0);
    assert_int_equal(stats.sections_open, 0);
    stand_close(&s);
}

static void collection_figures_follow_the_documents(void **state) {
    (void)state;
    stand s = clocked_open();
    char key[16];
    merle_stats_collection stats = {.size = sizeof stats};
    for (int i = 0; i < 100; i++) {
        char json[64];
        snprintf(key, sizeof key, "k%d", i);
        snprintf(json, sizeof json, "{\"email\":\"%d\",\"n\":1}", i);
        (void)put_json(&s, key, json);
    }
    must(&s, merle_one_patch(s.players, merle_str("k1"), NULL, NULL, MERLE_INC("n", 1)));
    (void)remove_key(&s, "k2");
    stand_settle(&s);
    must(&s, merle_collection_stats(s.players, &stats));
    assert_int_equal(stats.documents, 99);
    assert_int_equal(stats.slots, 100);
    assert_int_equal(stats.key_entries, 99);
    assert_in_range(stats.key_tables, 1, MRL_SHARD_COUNT);
    assert_int_equal(stats.puts, 100);
    assert_int_equal(stats.patches, 1);
    assert_int_equal(stats.removes, 1);
    assert_int_equal(stats.page_count, 2);
    assert_true(stats.bytes > 0);
    must(&s, merle_collection_drop(s.players, NULL));
    assert_int_equal(merle_collection_stats(s.players, &stats), MERLE_GONE);
    stand_close(&s);
}

static void index_figures_follow_the_values(void **state) {
    (void)state;
    stand s = clocked_open();
    merle_buffer doc = doc_of("{\"email\":\"x\"}");
    merle_stats_index stats = {.size = 0};
    (void)put_json(&s, "a", "{\"email\":\"x\"}");
    (void)put_json(&s, "b", "{\"n\":1}");
    assert_int_equal(merle_one_put(s.players, merle_str("b"), bytes_of(&doc), NULL), MERLE_EXISTS);
    must(&s, merle_index_stats(s.players, "email", &stats));
    assert_int_equal(stats.kind, MERLE_UNIQUE);
    assert_int_equal(stats.entries, 1);
    assert_int_equal(stats.tables, 1);
    assert_int_equal(stats.refused, 1);
    assert_int_equal(stats.ready_seq, 1);
    assert_true(stats.bytes > 0);
    assert_int_equal(merle_index_stats(s.players, "name", &stats), MERLE_NOT_FOUND);
    merle_buffer_free(&doc);
    stand_close(&s);
}

static void struct_of_another_version_is_bounded(void **state) {
    (void)state;
    stand s = clocked_open();
    struct {
        merle_stats_db stats;
        uint64_t guard;
    } longer;
    memset(&longer, 0xee, sizeof longer);
    longer.stats.size = offsetof(merle_stats_db, term);
    must(&s, merle_stats(s.db, &longer.stats));
    assert_int_equal(longer.stats.size, offsetof(merle_stats_db, term));
    assert_int_equal(longer.stats.seq, 1);
    assert_true(longer.stats.term == 0xeeeeeeeeeeeeeeeeu);
    longer.stats.size = sizeof longer;
    assert_int_equal(merle_stats(s.db, &longer.stats), MERLE_INVALID);
    assert_true(longer.guard == 0xeeeeeeeeeeeeeeeeu);
    stand_close(&s);
}

/* ---- sections ---- */

static size_t sections_of(stand *s, merle_section_info *out, size_t max) {
    size_t count = 0;
    must(s, merle_sections(s->db, out, max, &count));
    return count;
}

static void age_grows_from_the_first_look(void **state) {
    (void)state;
    stand s = clocked_open();
    merle_section section;
    merle_section_info info;
    assert_int_equal(sections_of(&s, &info, 1), 0);
    step_at(&s, 5000);
    must(&s, merle_section_begin(s.db, &section));
    assert_int_equal(sections_of(&s, &info, 1), 1);
    assert_int_equal(info.age_ns, 0);
    assert_int_equal(info.seq, merle_section_seq(&section));
    assert_int_equal(info.in_commit, 0);
    step_at(&s, 6000);
    atomic_store(&clock_ns, 7500);
    assert_int_equal(sections_of(&s, &info, 1), 1);
    assert_int_equal(info.age_ns, 1500);
    step_at(&s, 8000);
    merle_stats_db stats = stats_of(&s);
    assert_int_equal(stats.section_oldest_age_ns, 2000);
    assert_int_equal(stats.section_oldest_seq, info.seq);
    assert_int_equal(stats.section_oldest_thread, info.thread);
    must(&s, merle_section_end(&section));
    assert_int_equal(sections_of(&s, &info, 1), 0);
    assert_int_equal(stats_of(&s).section_oldest_age_ns, 0);
    stand_close(&s);
}

/* The one that holds old versions is often one in which others begin and end. */
static void age_survives_inner_sections(void **state) {
    (void)state;
    stand s = clocked_open();
    merle_section outer, inner;
    merle_section_info info;
    must(&s, merle_section_begin(s.db, &outer));
    (void)put_json(&s, "a", "{\"n\":1}");
    step_at(&s, 10000);
    for (uint64_t i = 1; i <= 5; i++) {
        must(&s, merle_section_begin(s.db, &inner));
        (void)put_json(&s, "a", "{\"n\":1}");
        step_at(&s, 10000 + i * 100);
        must(&s, merle_section_end(&inner));
    }
    assert_int_equal(sections_of(&s, &info, 1), 1);
    assert_int_equal(info.age_ns, 500);
    must(&s, merle_section_end(&outer));
    stand_close(&s);
}

/* Short sections one after the other, with no commit between them, are not one long section. */
static void age_of_short_sections_stays_small(void **state) {
    (void)state;
    stand s = clocked_open();
    merle_section section;
    merle_section_info info;
    for (uint64_t i = 1; i <= 5; i++) {
        must(&s, merle_section_begin(s.db, &section));
        step_at(&s, 20000 + i * 100);
        atomic_store(&clock_ns, 20000 + i * 100 + 50);
        assert_int_equal(sections_of(&s, &info, 1), 1);
        assert_int_equal(info.age_ns, 50);
        must(&s, merle_section_end(&section));
    }
    /* Nor with commits. */
    for (uint64_t i = 1; i <= 5; i++) {
        must(&s, merle_section_begin(s.db, &section));
        (void)put_json(&s, "a", "{\"n\":1}");
        step_at(&s, 30000 + i * 100);
        assert_int_equal(sections_of(&s, &info, 1), 1);
        assert_int_equal(info.age_ns, 0);
        must(&s, merle_section_end(&section));
    }
    stand_close(&s);
}

static void *put_in_thread(void *context) {
    (void)put_json(context, "a", "{\"n\":1}");
    return NULL;
}

/* A section that was seen while nothing was committed stays the same one when something is. */
static void age_goes_on_when_commits_begin(void **state) {
    (void)state;
    stand s = clocked_open();
    merle_section section;
    merle_section_info infos[2];
    pthread_t thread;
    must(&s, merle_section_begin(s.db, &section));
    step_at(&s, 40000);
    assert_int_equal(pthread_create(&thread, NULL, put_in_thread, &s), 0);
    pthread_join(thread, NULL);
    atomic_store(&clock_ns, 41000);
    assert_int_equal(sections_of(&s, infos, 2), 1);
    assert_int_equal(infos[0].age_ns, 1000);
    step_at(&s, 42000);
    assert_int_equal(sections_of(&s, infos, 2), 1);
    assert_int_equal(infos[0].age_ns, 2000);
    must(&s, merle_section_end(&section));
    stand_close(&s);
}

/* ---- several threads ---- */

enum { THREADS = 3 };

typedef struct holder {
    stand *s;
    mrl_event *begun, *end;
    uint32_t number;
    int in_commit;
} holder;

static void *hold(void *context) {
    holder *h = context;
    merle_section section;
    merle_commit *commit = NULL;
    merle_err err =
        h->in_commit ? merle_begin(h->s->db, &commit) : merle_section_begin(h->s->db, &section);
    mrl_event_signal(h->begun);
    while (mrl_event_count(h->end) == 0) (void)mrl_event_wait(h->end, 0, UINT64_MAX);
    if (err != MERLE_OK) return h;
    if (h->in_commit)
        merle_cancel(commit);
    else if (merle_section_end(&section) != MERLE_OK)
        return h;
    return NULL;
}

static void sections_are_listed_oldest_first(void **state) {
    (void)state;
    stand s = clocked_open();
    mrl_event begun, end;
    pthread_t threads[THREADS];
    holder holders[THREADS];
    merle_section_info infos[THREADS + 1];
    mrl_event_init(&begun);
    mrl_event_init(&end);
    for (uint32_t i = 0; i < THREADS; i++) {
        holders[i] = (holder){&s, &begun, &end, i, i == 1};
        assert_int_equal(pthread_create(&threads[i], NULL, hold, &holders[i]), 0);
        for (uint32_t seen; (seen = mrl_event_count(&begun)) <= i;)
            (void)mrl_event_wait(&begun, seen, UINT64_MAX);
        (void)put_json(&s, "a", "{\"n\":1}");
        step_at(&s, 50000 + i * 1000);
    }
    assert_int_equal(sections_of(&s, infos, THREADS + 1), THREADS);
    for (uint32_t i = 0; i < THREADS; i++) {
        assert_int_equal(infos[i].age_ns, (THREADS - 1 - i) * 1000);
        assert_int_equal(infos[i].in_commit, i == 1);
        if (i > 0) assert_true(infos[i].seq > infos[i - 1].seq);
    }
    /* Fewer: the oldest of them. */
    merle_section_info few[2];
    assert_int_equal(sections_of(&s, few, 2), 2);
    assert_int_equal(few[0].seq, infos[0].seq);
    assert_int_equal(few[1].seq, infos[1].seq);
    assert_int_equal(sections_of(&s, NULL, 0), 0);
    assert_int_equal(stats_of(&s).section_oldest_seq, infos[0].seq);
    assert_int_equal(stats_of(&s).sections_open, THREADS);
    mrl_event_signal(&end);
    for (uint32_t i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    stand_close(&s);
}

static void *leave_open(void *context) {
    stand *s = context;
    merle_section section;
    return merle_section_begin(s->db, &section) == MERLE_OK ? NULL : s;
}

static void section_of_an_ended_thread_is_abandoned(void **state) {
    (void)state;
    stand s = clocked_open();
    pthread_t thread;
    void *failed;
    assert_int_equal(pthread_create(&thread, NULL, leave_open, &s), 0);
    pthread_join(thread, &failed);
    assert_null(failed);
    merle_stats_db stats = stats_of(&s);
    assert_int_equal(stats.sections_abandoned, 1);
    assert_int_equal(stats.sections_open, 0);
    stand_close(&s);
}

/* ---- reports ---- */

static void report_is_filled_where_it_was_asked_for(void **state) {
    (void)state;
    stand s = clocked_open();
    merle_report report;
    merle_buffer doc = doc_of("{\"email\":\"x\"}");
    (void)put_json(&s, "a", "{\"email\":\"x\"}");
    memset(&report, 0, sizeof report);
    merle_report_to(s.db, &report);
    assert_int_equal(merle_one_put(s.players, merle_str("b"), bytes_of(&doc), NULL), MERLE_EXISTS);
    assert_int_equal(report.err, MERLE_EXISTS);
    assert_string_equal(report.collection, "players");
    assert_string_equal(report.index, "email");
    assert_string_equal(report.key, "b");
    assert_string_equal(report.found, "a");
    merle_report_to(s.db, NULL);
    report.err = MERLE_OK;
    assert_int_equal(merle_one_put(s.players, merle_str("b"), bytes_of(&doc), NULL), MERLE_EXISTS);
    assert_int_equal(report.err, MERLE_OK);
    merle_buffer_free(&doc);
    stand_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_say_what_was_done),
        cmocka_unit_test(open_things_are_counted),
        cmocka_unit_test(collection_figures_follow_the_documents),
        cmocka_unit_test(index_figures_follow_the_values),
        cmocka_unit_test(struct_of_another_version_is_bounded),
        cmocka_unit_test(age_grows_from_the_first_look),
        cmocka_unit_test(age_survives_inner_sections),
        cmocka_unit_test(age_of_short_sections_stays_small),
        cmocka_unit_test(age_goes_on_when_commits_begin),
        cmocka_unit_test(sections_are_listed_oldest_first),
        cmocka_unit_test(section_of_an_ended_thread_is_abandoned),
        cmocka_unit_test(report_is_filled_where_it_was_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
