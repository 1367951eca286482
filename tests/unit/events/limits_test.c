/* tests/unit/events/limits_test.c - what nobody may make grow, and what an operator sees of it.
 *
 * Aim     Clients that flood, that never read, that fall behind: each is bounded and told by the
 *         figures. Collections in memory only: what is not on a disk is never passed over in
 *         silence.
 * Method  As tests/unit/events/service_test.c.
 * Blind   Bytes that wait in the network are the channel's matter, and have tests there.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <pthread.h>

#include "tests/unit/events/world.h"

static void figures_tell_how_a_client_does(void **state) {
    world w;
    client c;
    merle_client_info info;
    size_t count;
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    uint64_t seq = put(&w, "a", 1);
    (void)put(&w, "b", 1);
    mrl_wire_question question = changes_after(&c, seq, 0);
    question.why = MRL_WIRE_AFTER_GAP;
    question.lost = 3;
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    question = (mrl_wire_question){.op = MRL_WIRE_SNAPSHOT, .name = MERLE_STR("players")};
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    for (unsigned i = 0; i < 7; i++) (void)put(&w, "c", i);
    turn(&w, 2 * SECOND);
    assert_int_equal(merle_publisher_clients(w.publisher, &info, 1, &count), MERLE_OK);
    assert_true(count == 1 && info.seq == seq + 1 && info.lag == 7);
    assert_true(info.gaps == 1 && info.lost == 3 && info.resyncs == 1 && info.questions == 3);
    assert_true(info.idle_ns >= SECOND && !info.is_waiting && info.bytes > 0);
    question = changes_after(&c, seq + 8, 0);
    question.wait_ms = 30000;
    client_send(&c, &question);
    turn(&w, 5 * MILLISECOND);
    assert_int_equal(merle_publisher_clients(w.publisher, &info, 1, &count), MERLE_OK);
    assert_true(info.is_waiting && info.lag == 0 && info.idle_ns == 0);
    merle_publisher_stats stats = stats_of(&w);
    assert_true(stats.clients == 1 && stats.hellos == 1 && stats.polls == 2);
    assert_true(stats.snapshots == 1 && stats.answers == 3 && stats.questions == 4);
    assert_true(stats.service_peers == 1);
    assert_int_equal(merle_publisher_clients(w.publisher, NULL, 0, &count), MERLE_OK);
    client_close(&c);
    world_close(&w);
}

/* Of those that ask on and on without reading, each question holds one answer at most. */
static void flood_of_questions_holds_no_more_than_its_limit(void **state) {
    world w;
    client c;
    (void)state;
    world_make(&w);
    w.publish.question_max = 4;
    world_open_db(&w);
    world_publish(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    for (unsigned i = 0; i < 200; i++) {
        mrl_wire_question question = changes_after(&c, c.answer.newest, 0);
        question.wait_ms = 30000;
        client_send(&c, &question);
        turn(&w, MILLISECOND);
        assert_true(stats_of(&w).answers_held <= 1);
    }
    assert_true(stats_of(&w).bytes < 1 << 20);
    turn(&w, 2 * SECOND);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    client_close(&c);
    world_close(&w);
}

enum { CROWD = 16 };

/* Each of them may have a large answer; all of them together may not. */
static void answers_that_nobody_takes_are_bounded_together(void **state) {
    world w;
    client crowd[CROWD];
    (void)state;
    world_make(&w);
    w.publish.unsent_max = 64 << 10;
    world_open_db(&w);
    world_publish(&w);
    for (int i = 0; i < CROWD; i++) {
        client_open(&crowd[i], &w);
        assert_int_equal(client_hello(&crowd[i], NULL), MRL_WIRE_OK);
    }
    uint64_t begin = stats_of(&w).seq;
    for (unsigned i = 0; i < 1000; i++) (void)put(&w, "a", i);
    turn(&w, MILLISECOND);
    for (int i = 0; i < CROWD; i++) {
        mrl_wire_question question = changes_after(&crowd[i], begin, 0);
        if (i % 2 == 0)
            question = (mrl_wire_question){.op = MRL_WIRE_SNAPSHOT, .name = MERLE_STR("players")};
        question.wait_ms = 10000;
        client_send(&crowd[i], &question);
    }
    /* The questions have come; answers do not. */
    network_deliver(w.net);
    network_pause(w.net, "outside", 1);
    turn(&w, SECOND);
    merle_publisher_stats stats = stats_of(&w);
    assert_true(stats.bytes_unsent > 32 << 10 && stats.bytes_unsent < 128 << 10);
    assert_true(stats.answers_held > 0);
    /* They are taken: everybody has his. */
    network_pause(w.net, "outside", 0);
    for (int i = 1; i < CROWD; i += 2) {
        assert_int_equal(client_await(&crowd[i], 5 * (uint64_t)SECOND), MRL_WIRE_OK);
        assert_true(crowd[i].answer.upto_seq > begin);
    }
    assert_int_equal(stats_of(&w).bytes_unsent, 0);
    for (int i = 0; i < CROWD; i++) client_close(&crowd[i]);
    world_close(&w);
}

static void question_too_large_ends_its_connection_alone(void **state) {
    world w;
    client c, other;
    (void)state;
    world_make(&w);
    w.publish.question_size_max = 1000;
    world_open_db(&w);
    world_publish(&w);
    client_open(&c, &w);
    client_open(&other, &w);
    assert_int_equal(client_hello(&other, NULL), MRL_WIRE_OK);
    uint8_t *bytes = calloc(1, 5000);
    assert_non_null(bytes);
    client_send_bytes(&c, bytes, 5000);
    turn(&w, 100 * MILLISECOND);
    assert_false(client_hears(&c));
    assert_int_equal(stats_of(&w).questions, 1);
    mrl_wire_question question = {.op = MRL_WIRE_NEWEST};
    assert_int_equal(client_ask(&other, &question), MRL_WIRE_OK);
    free(bytes);
    client_close(&c);
    client_close(&other);
    world_close(&w);
}

static merle_collection *open_transient(world *w) {
    const merle_schema schema = {.version = 1, .memory_only = 1};
    merle_collection *transient;
    assert_int_equal(merle_collection_open(w->db, "transient", &schema, &transient), MERLE_OK);
    return transient;
}

static void memory_only_beyond_the_ring_is_a_gap_and_never_silence(void **state) {
    world w;
    client c;
    uint8_t bytes[16];
    uint64_t seq = 0;
    (void)state;
    world_make(&w);
    world_on_disk(&w);
    w.options.ring_size = 64 << 10;
    world_open_db(&w);
    merle_collection *transient = open_transient(&w);
    world_publish(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    uint64_t begin = put(&w, "a", 1);
    assert_int_equal(merle_one_put(transient, MERLE_STR("t"), level(bytes, 1), NULL), MERLE_OK);
    for (unsigned i = 0; i < 1000; i++) seq = put(&w, "a", i);
    assert_int_equal(merle_wait_durable(w.db, seq), MERLE_OK);
    mrl_wire_question question = changes_after(&c, begin, 0);
    with_filter(&c, &question, "transient", NULL, NULL);
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_GAP);
    question = changes_after(&c, begin, 0);
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_GAP);
    /* Who does not want them has it all, from files. */
    question = changes_after(&c, begin, 0);
    with_filter(&c, &question, "players", NULL, NULL);
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    client_close(&c);
    world_close(&w);
}

static void memory_only_of_an_earlier_term_is_a_reset(void **state) {
    world w;
    client c;
    (void)state;
    world_make(&w);
    world_on_disk(&w);
    world_open_db(&w);
    (void)open_transient(&w);
    world_publish(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    mrl_wire_history history = c.history;
    uint64_t seq = put(&w, "a", 1);
    world_stop(&w);
    world_open_db(&w);
    (void)open_transient(&w);
    world_publish(&w);
    turn(&w, 3 * SECOND);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    mrl_wire_question question = changes_after(&c, seq, 0);
    question.history = history;
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_RESET);
    assert_memory_equal(c.answer.text.data, "transient", 9);
    question = changes_after(&c, seq, 0);
    question.history = history;
    with_filter(&c, &question, "players", NULL, NULL);
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    client_close(&c);
    world_close(&w);
}

static void drop_before_a_restart_is_told_to_who_knew_the_collection(void **state) {
    world w;
    client c;
    (void)state;
    world_make(&w);
    world_on_disk(&w);
    world_open_db(&w);
    world_publish(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    mrl_wire_history history = c.history;
    mrl_wire_filter filter = {.name = MERLE_STR("gone"), .has_id = 1};
    merle_collection *gone;
    assert_int_equal(merle_collection_open(w.db, "gone", NULL, &gone), MERLE_OK);
    filter.collection_id = merle_collection_id(gone);
    uint64_t seq = put(&w, "a", 1);
    assert_int_equal(merle_collection_drop(gone, NULL), MERLE_OK);
    world_stop(&w);
    world_open_db(&w);
    world_publish(&w);
    turn(&w, 3 * SECOND);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    mrl_wire_question question = changes_after(&c, seq, 0);
    question.history = history;
    c.list.size = 0;
    assert_int_equal(mrl_wire_filter_add(&c.list, &filter), MERLE_OK);
    question.filters = mrl_wire_list_of(&c.list, 1);
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    assert_string_equal(keys_of(c.answer.commits), "#6 ");
    client_close(&c);
    world_close(&w);
}

static void *step_elsewhere(void *context) {
    return (void *)(uintptr_t)merle_publisher_step(context, 0, NULL);
}

static void publisher_belongs_to_who_steps_it(void **state) {
    world w;
    pthread_t thread;
    void *err;
    uint64_t wait_ns;
    (void)state;
    world_open(&w);
    turn(&w, MILLISECOND);
    assert_int_equal(pthread_create(&thread, NULL, step_elsewhere, w.publisher), 0);
    assert_int_equal(pthread_join(thread, &err), 0);
    assert_int_equal((merle_err)(uintptr_t)err, MERLE_WRONG_THREAD);
    assert_int_equal(merle_publisher_step(w.publisher, 0, &wait_ns), MERLE_OK);
    assert_true(wait_ns > 0 && wait_ns <= SECOND);
    assert_string_equal(merle_publisher_news_address(w.publisher, 0), NEWS_URL);
    assert_null(merle_publisher_news_address(w.publisher, 1));
    assert_string_equal(merle_publisher_service_address(w.publisher, 0), SERVICE_URL);
    world_close(&w);
}

static void publisher_whose_thread_has_ended_may_be_closed(void **state) {
    world w;
    pthread_t thread;
    void *err;
    (void)state;
    world_open(&w);
    assert_int_equal(pthread_create(&thread, NULL, step_elsewhere, w.publisher), 0);
    assert_int_equal(pthread_join(thread, &err), 0);
    assert_int_equal((merle_err)(uintptr_t)err, MERLE_OK);
    assert_int_equal(merle_publisher_step(w.publisher, 0, NULL), MERLE_WRONG_THREAD);
    world_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_tell_how_a_client_does),
        cmocka_unit_test(flood_of_questions_holds_no_more_than_its_limit),
        cmocka_unit_test(answers_that_nobody_takes_are_bounded_together),
        cmocka_unit_test(question_too_large_ends_its_connection_alone),
        cmocka_unit_test(memory_only_beyond_the_ring_is_a_gap_and_never_silence),
        cmocka_unit_test(memory_only_of_an_earlier_term_is_a_reset),
        cmocka_unit_test(drop_before_a_restart_is_told_to_who_knew_the_collection),
        cmocka_unit_test(publisher_belongs_to_who_steps_it),
        cmocka_unit_test(publisher_whose_thread_has_ended_may_be_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
