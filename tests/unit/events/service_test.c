/* tests/unit/events/service_test.c - the service: greetings, changes, limits, refusals.
 *
 * Aim     What docs/protocol.md says of questions and answers holds: catching up from the ring and
 *         from files, filters, commits that come in parts, answers that are held; positions of
 *         other histories; limits, secrets, malformed questions, each counted.
 * Method  A publisher without a thread on a simulated network; a client that writes its questions
 *         by hand and reads the answers element by element. Time is the network's.
 * Blind   One thread: that writers and the publisher's own thread get along is seen by the stress
 *         test of events.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/events/world.h"

/* ---- greetings ---- */

static void hello_tells_who_and_what(void **state) {
    world w;
    client c;
    mrl_wire_collection collection;
    uint8_t history[MRL_HISTORY_SIZE];
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    uint64_t seq = put(&w, "a", 1);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    assert_true(c.answer.newest == seq && c.answer.oldest == 1);
    mrl_db_history(w.db, history);
    assert_memory_equal(c.answer.history.bytes, history, sizeof history);
    assert_int_equal(mrl_wire_collection_next(&c.answer.collections, &collection), MERLE_OK);
    assert_true(collection.name.size == 7 && collection.id == merle_collection_id(w.players));
    assert_int_equal(c.answer.rights, MRL_WIRE_MAY_READ);
    assert_int_equal(c.answer.data_on_news, 1);
    merle_client_info info;
    size_t count;
    assert_int_equal(merle_publisher_clients(w.publisher, &info, 1, &count), MERLE_OK);
    assert_int_equal(count, 1);
    assert_string_equal(info.name, "test");
    client_close(&c);
    world_close(&w);
}

static void question_without_hello_is_refused(void **state) {
    world w;
    client c;
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    mrl_wire_question question = {.op = MRL_WIRE_NEWEST};
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_TOKEN);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    question = (mrl_wire_question){.op = MRL_WIRE_NEWEST};
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    question = (mrl_wire_question){.op = MRL_WIRE_BYE};
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    question = (mrl_wire_question){.op = MRL_WIRE_NEWEST};
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_TOKEN);
    assert_int_equal(stats_of(&w).tokens_wrong, 2);
    client_close(&c);
    world_close(&w);
}

static void secret_wrong_is_refused_late_and_counted(void **state) {
    world w;
    client c;
    (void)state;
    world_make(&w);
    w.publish.secret = MERLE_STR("open sesame");
    world_open_db(&w);
    world_publish(&w);
    client_open(&c, &w);
    mrl_wire_question question = {.op = MRL_WIRE_HELLO, .secret = MERLE_STR("open sesamf")};
    client_send(&c, &question);
    turn(&w, 100 * MILLISECOND);
    assert_false(client_hears(&c));
    assert_int_equal(client_await(&c, SECOND), MRL_WIRE_SECRET);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_SECRET);
    assert_int_equal(client_hello(&c, "open sesame!"), MRL_WIRE_SECRET);
    assert_int_equal(stats_of(&w).secrets_wrong, 3);
    assert_int_equal(client_hello(&c, "open sesame"), MRL_WIRE_OK);
    assert_int_equal(c.answer.data_on_news, 0);
    client_close(&c);
    world_close(&w);
}

static void operate_is_unknown_where_nobody_operates(void **state) {
    world w;
    client c;
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    mrl_wire_question question = {
        .op = MRL_WIRE_OPERATE, .verb = MERLE_STR("info"), .arguments = MERLE_STR("\x80")};
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_UNKNOWN);
    client_close(&c);
    world_close(&w);
}

/* ---- changes ---- */

static void changes_after_a_seq_come_in_order(void **state) {
    world w;
    client c;
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    uint64_t first = put(&w, "a", 1);
    (void)put(&w, "b", 2);
    uint64_t last = put(&w, "c", 3);
    mrl_wire_question question = changes_after(&c, first, 0);
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    assert_string_equal(keys_of(c.answer.commits), "b c ");
    assert_true(c.answer.upto_seq == last && c.answer.upto_position == 0);
    assert_true(c.answer.newest == last);
    question = changes_after(&c, 0, 0);
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    assert_string_equal(keys_of(c.answer.commits), "#4 a b c ");
    client_close(&c);
    world_close(&w);
}

static void changes_refused_insert_is_never_told(void **state) {
    world w;
    client c;
    uint8_t bytes[16];
    mrl_wire_commit commit;
    mrl_record_operation_view view;
    uint32_t position;
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    uint64_t before = put(&w, "a", 1);
    assert_int_equal(merle_one_insert(w.players, MERLE_STR("a"), level(bytes, 2), NULL),
                     MERLE_EXISTS);
    assert_int_equal(merle_one_insert(w.players, MERLE_STR("b"), level(bytes, 2), NULL), MERLE_OK);
    mrl_wire_question question = changes_after(&c, before, 0);
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    assert_int_equal(mrl_wire_commit_next(&c.answer.commits, &commit), MERLE_OK);
    assert_int_equal(mrl_wire_operation_next(&commit, &position, &view), MERLE_OK);
    assert_memory_equal(view.key.data, "b", 1);
    assert_int_equal(view.is_new, 1);
    assert_int_equal(mrl_wire_operation_next(&commit, &position, &view), MERLE_NOT_FOUND);
    assert_int_equal(mrl_wire_commit_next(&c.answer.commits, &commit), MERLE_NOT_FOUND);
    client_close(&c);
    world_close(&w);
}

static void changes_held_are_answered_by_the_next_commit(void **state) {
    world w;
    client c;
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    uint64_t seq = put(&w, "a", 1);
    mrl_wire_question question = changes_after(&c, seq, 0);
    question.wait_ms = 10000;
    client_send(&c, &question);
    turn(&w, SECOND);
    assert_false(client_hears(&c));
    assert_int_equal(stats_of(&w).answers_held, 1);
    (void)put(&w, "b", 1);
    assert_int_equal(client_await(&c, 10 * MILLISECOND), MRL_WIRE_OK);
    assert_string_equal(keys_of(c.answer.commits), "b ");
    client_close(&c);
    world_close(&w);
}

static void changes_held_in_vain_say_how_far_they_looked(void **state) {
    world w;
    client c;
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    uint64_t seq = put(&w, "a", 1);
    mrl_wire_question question = changes_after(&c, seq, 0);
    with_filter(&c, &question, "players", "zz", NULL);
    question.wait_ms = 500;
    client_send(&c, &question);
    seq = put(&w, "b", 1);
    turn(&w, 400 * MILLISECOND);
    assert_false(client_hears(&c));
    assert_int_equal(client_await(&c, 200 * MILLISECOND), MRL_WIRE_OK);
    assert_string_equal(keys_of(c.answer.commits), "");
    assert_true(c.answer.upto_seq == seq);
    client_close(&c);
    world_close(&w);
}

static void changes_with_a_prefix_have_these_keys_alone(void **state) {
    world w;
    client c;
    merle_collection *others;
    uint8_t bytes[16];
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    assert_int_equal(merle_collection_open(w.db, "others", NULL, &others), MERLE_OK);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    uint64_t seq = put(&w, "x", 1);
    (void)put(&w, "ab", 1);
    (void)put(&w, "b", 1);
    assert_int_equal(merle_one_put(others, MERLE_STR("ac"), level(bytes, 1), NULL), MERLE_OK);
    (void)put(&w, "ad", 1);
    assert_int_equal(merle_collection_truncate(w.players, NULL), MERLE_OK);
    mrl_wire_question question = changes_after(&c, seq, 0);
    with_filter(&c, &question, "players", "a", NULL);
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    assert_string_equal(keys_of(c.answer.commits), "ab ad #5 ");
    client_close(&c);
    world_close(&w);
}

static void changes_with_a_condition_have_who_comes_stays_and_leaves(void **state) {
    world w;
    client c;
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    uint64_t seq = put(&w, "leaves", 10);
    mrl_wire_question question = changes_after(&c, seq, 0);
    with_filter(&c, &question, "players", NULL, "level >= 5");
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    (void)put(&w, "leaves", 1);
    (void)put(&w, "never", 1);
    (void)put(&w, "never", 2);
    (void)put(&w, "comes", 5);
    assert_int_equal(
        merle_one_patch(w.players, MERLE_STR("comes"), NULL, NULL, MERLE_INC("level", 1)),
        MERLE_OK);
    assert_int_equal(merle_one_remove(w.players, MERLE_STR("comes"), NULL), MERLE_OK);
    assert_int_equal(merle_one_remove(w.players, MERLE_STR("never"), NULL), MERLE_OK);
    question = changes_after(&c, seq, 0);
    with_filter(&c, &question, "players", NULL, "level >= 5");
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    assert_string_equal(keys_of(c.answer.commits), "leaves comes comes comes ");
    client_close(&c);
    world_close(&w);
}

static void changes_with_a_condition_from_before_it_are_a_gap(void **state) {
    world w;
    client c;
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    uint64_t seq = put(&w, "a", 1);
    (void)put(&w, "a", 2); /* nobody knows now what was there before */
    mrl_wire_question question = changes_after(&c, seq, 0);
    with_filter(&c, &question, "players", NULL, "level >= 5");
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_GAP);
    question = changes_after(&c, seq, 0);
    with_filter(&c, &question, "players", NULL, "level >=");
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_BAD);
    client_close(&c);
    world_close(&w);
}

/* Whoever was not told of its end has the old document still: it may have met the condition. */
static void put_over_what_had_ended_is_a_gap_where_that_is_not_known(void **state) {
    world w;
    client c;
    uint8_t bytes[16];
    uint64_t seq;
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    assert_int_equal(merle_one_put_for(w.players, MERLE_STR("a"), level(bytes, 10), 1000, &seq),
                     MERLE_OK);
    network_advance(w.net, MILLISECOND);
    (void)put(&w, "a", 1);
    mrl_wire_question question = changes_after(&c, seq, 0);
    with_filter(&c, &question, "players", NULL, "level >= 5");
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_GAP);
    client_close(&c);
    world_close(&w);
}

static int refuses_one(void *context, size_t size) {
    (void)size;
    return (*(int *)context)-- == 0;
}

/* Lets the publisher work, with one allocation refused, as long as an answer takes. */
static mrl_wire_status ask_without_memory(client *c, mrl_wire_question *question, int number) {
    const mrl_refusal refusal = {&number, refuses_one};
    client_send(c, question);
    for (int i = 0; i < 100; i++) {
        mrl_refusal_of_thread = &refusal;
        turn(c->w, MILLISECOND);
        mrl_refusal_of_thread = NULL;
        if (client_hears(c)) return c->answer.status;
    }
    return MRL_WIRE_FAILED; /* there was no memory to say so */
}

static void answers_without_memory_tell_nothing_twice(void **state) {
    (void)state;
    for (int number = 0; number < 24; number++) {
        world w;
        client c;
        char heard[1024] = {0}, expected[1024] = {0}, key[32];
        world_open(&w);
        client_open(&c, &w);
        assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
        uint64_t seq = stats_of(&w).seq, last = 0;
        uint32_t passed = 0;
        for (int i = 0; i < 24; i++) {
            snprintf(key, sizeof key, "a_rather_long_key_%02d", i);
            strcat(strcat(expected, key), " ");
            last = put(&w, key, 1);
        }
        for (int i = 0; seq < last && i < 50; i++) {
            mrl_wire_question question = changes_after(&c, seq, passed);
            if (ask_without_memory(&c, &question, i == 0 ? number : 1000) != MRL_WIRE_OK) continue;
            strcat(heard, keys_of(c.answer.commits));
            seq = c.answer.upto_seq;
            passed = c.answer.upto_position;
        }
        assert_string_equal(heard, expected);
        client_close(&c);
        world_close(&w);
    }
}

/* A document of about so many bytes. */
static merle_bytes padded(uint8_t *bytes, size_t size) {
    memset(bytes, 0, size);
    memcpy(bytes, "\x81\xa1p\xc5", 4);
    bytes[4] = (uint8_t)((size - 6) >> 8);
    bytes[5] = (uint8_t)(size - 6);
    return merle_bytes_of(bytes, size);
}

static void one_large_commit(world *w, client *c, uint64_t after, size_t size) {
    merle_commit *commit;
    uint8_t bytes[1024];
    char key[16], expected[1 << 13];
    size_t at = 0;
    uint64_t upto = after, rounds = 0;
    uint32_t position = 0;
    assert_int_equal(merle_begin(w->db, &commit), MERLE_OK);
    for (unsigned i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "k%03u", i);
        at += (size_t)snprintf(expected + at, sizeof expected - at, "%s ", key);
        assert_int_equal(merle_put(commit, w->players, merle_str(key), padded(bytes, size)),
                         MERLE_OK);
    }
    assert_int_equal(merle_end(commit, NULL), MERLE_OK);
    for (at = 0; upto == after; rounds++) {
        mrl_wire_question question = changes_after(c, upto, position);
        question.bytes_max = 2000;
        assert_int_equal(client_ask(c, &question), MRL_WIRE_OK);
        const char *keys = keys_of(c->answer.commits);
        assert_memory_equal(expected + at, keys, strlen(keys));
        at += strlen(keys);
        assert_true(c->message.size < 2600 && strlen(keys) > 0);
        upto = c->answer.upto_seq;
        position = c->answer.upto_position;
    }
    assert_true(at == strlen(expected) && rounds > 5 && upto == after + 1 && position == 0);
}

static void commit_larger_than_the_answer_comes_in_parts(void **state) {
    static const size_t sizes[] = {8, 20, 40, 300, 1000};
    world w;
    client c;
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    uint64_t seq = put(&w, "a", 1);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        one_large_commit(&w, &c, seq + i, sizes[i]);
    client_close(&c);
    world_close(&w);
}

static void operation_larger_than_the_answer_comes_alone(void **state) {
    world w;
    client c;
    uint8_t *bytes = calloc(1, 100000);
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    uint64_t seq = put(&w, "a", 1);
    memcpy(bytes,
           "\x81\xa1"
           "b\xc6\x00\x01\x80\x00",
           8);
    assert_int_equal(
        merle_one_put(w.players, MERLE_STR("big"), merle_bytes_of(bytes, 8 + 98304), NULL),
        MERLE_OK);
    (void)put(&w, "c", 1);
    mrl_wire_question question = changes_after(&c, seq, 0);
    question.bytes_max = 1000;
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    assert_string_equal(keys_of(c.answer.commits), "big ");
    question = changes_after(&c, c.answer.upto_seq, c.answer.upto_position);
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    assert_string_equal(keys_of(c.answer.commits), "c ");
    free(bytes);
    client_close(&c);
    world_close(&w);
}

static void changes_of_a_load_are_told_by_its_end(void **state) {
    world w;
    client c;
    merle_bulk *bulk;
    uint8_t bytes[16];
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    uint64_t seq = c.answer.newest;
    assert_int_equal(merle_bulk_begin(w.players, &bulk), MERLE_OK);
    assert_int_equal(merle_bulk_put(bulk, MERLE_STR("a"), level(bytes, 1)), MERLE_OK);
    assert_int_equal(merle_bulk_end(bulk, NULL), MERLE_OK);
    mrl_wire_question question = changes_after(&c, seq, 0);
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    assert_string_equal(keys_of(c.answer.commits), "#8 ");
    client_close(&c);
    world_close(&w);
}

/* ---- positions ---- */

static void position_beyond_the_ring_is_a_gap_in_memory(void **state) {
    world w;
    client c;
    (void)state;
    world_make(&w);
    w.options.ring_size = 64 << 10;
    world_open_db(&w);
    world_publish(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    for (unsigned i = 0; i < 1000; i++) (void)put(&w, "a", i);
    mrl_wire_question question = changes_after(&c, 1, 0);
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_GAP);
    uint64_t oldest = c.answer.number;
    assert_true(oldest > 2 && oldest <= 1001);
    question = changes_after(&c, oldest - 1, 0);
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    assert_true(c.answer.oldest == oldest);
    assert_int_equal(stats_of(&w).gaps, 1);
    client_close(&c);
    world_close(&w);
}

static void position_beyond_the_ring_is_read_from_files(void **state) {
    world w;
    client c;
    (void)state;
    world_make(&w);
    world_on_disk(&w);
    w.options.ring_size = 64 << 10;
    world_open_db(&w);
    world_publish(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    uint64_t last = 0, count = 0, upto = 1;
    for (unsigned i = 0; i < 1000; i++) last = put(&w, "a", i);
    assert_int_equal(merle_wait_durable(w.db, last), MERLE_OK);
    while (upto < last) {
        mrl_wire_question question = changes_after(&c, upto, 0);
        question.bytes_max = 10000;
        assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
        count += strlen(keys_of(c.answer.commits)) / 2;
        upto = c.answer.upto_seq;
    }
    assert_int_equal(count, 1000);
    client_close(&c);
    world_close(&w);
}

static void position_not_durable_yet_is_not_told(void **state) {
    world w;
    client c;
    (void)state;
    world_make(&w);
    world_on_disk(&w);
    w.options.sync_interval_ms = 2000;
    world_open_db(&w);
    world_publish(&w);
    client_open(&c, &w);
    turn(&w, 3 * SECOND);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    uint64_t before = c.answer.newest, seq = put(&w, "a", 1);
    mrl_wire_question question = changes_after(&c, before, 0);
    question.wait_ms = 1;
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    assert_string_equal(keys_of(c.answer.commits), "");
    assert_true(c.answer.newest == before && c.answer.upto_seq == before);
    assert_int_equal(merle_wait_durable(w.db, seq), MERLE_OK);
    (void)put(&w, "b", 1);
    question = changes_after(&c, before, 0);
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    assert_string_equal(keys_of(c.answer.commits), "a ");
    assert_true(c.answer.newest == seq && c.answer.upto_seq == seq);
    client_close(&c);
    world_close(&w);
}

static void position_of_an_earlier_term_goes_on(void **state) {
    world w;
    client c;
    mrl_wire_term term;
    (void)state;
    world_make(&w);
    world_on_disk(&w);
    world_open_db(&w);
    world_publish(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    mrl_wire_history history = c.history;
    uint64_t seq = put(&w, "a", 1);
    uint64_t end = put(&w, "b", 1);
    world_stop(&w);
    world_open_db(&w);
    world_publish(&w);
    (void)put(&w, "c", 1);
    turn(&w, 3 * SECOND);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    assert_memory_not_equal(c.history.bytes, history.bytes, sizeof history.bytes);
    assert_int_equal(mrl_wire_term_next(&c.answer.terms, &term), MERLE_OK);
    assert_true(term.end == end);
    mrl_wire_question question = changes_after(&c, seq, 0);
    question.history = history;
    question.wait_ms = 1000;
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    assert_string_equal(keys_of(c.answer.commits), "b c ");
    /* A crash took what it had heard. */
    question = changes_after(&c, end + 1, 0);
    question.history = history;
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_LOST);
    assert_true(c.answer.number == end);
    question = changes_after(&c, end, 1);
    question.history = history;
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_LOST);
    client_close(&c);
    world_close(&w);
}

static void position_of_another_history_is_refused(void **state) {
    world w;
    client c;
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    mrl_wire_question question = changes_after(&c, 0, 0);
    question.history.bytes[3] ^= 1;
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OTHER);
    question = changes_after(&c, 0, 0);
    question.history.bytes[20] ^= 1;
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OTHER);
    question = changes_after(&c, 1000, 0);
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_LOST);
    assert_true(stats_of(&w).histories == 2 && stats_of(&w).losts == 1);
    client_close(&c);
    world_close(&w);
}

static void collection_made_anew_is_a_reset(void **state) {
    world w;
    client c;
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    uint64_t seq = c.answer.newest;
    mrl_wire_filter filter = {
        .name = MERLE_STR("players"), .has_id = 1, .collection_id = merle_collection_id(w.players)};
    for (int turn_of = 0; turn_of < 2; turn_of++) {
        c.list.size = 0;
        assert_int_equal(mrl_wire_filter_add(&c.list, &filter), MERLE_OK);
        mrl_wire_question question = changes_after(&c, seq, 0);
        question.filters = mrl_wire_list_of(&c.list, 1);
        assert_int_equal(client_ask(&c, &question), turn_of == 0 ? MRL_WIRE_OK : MRL_WIRE_RESET);
        assert_int_equal(merle_collection_drop(w.players, NULL), MERLE_OK);
        assert_int_equal(merle_collection_open(w.db, "players", NULL, &w.players), MERLE_OK);
    }
    assert_memory_equal(c.answer.text.data, "players", 7);
    client_close(&c);
    world_close(&w);
}

static void collection_made_and_dropped_in_an_earlier_term_is_told_by_its_name(void **state) {
    world w;
    client c;
    merle_collection *guilds;
    (void)state;
    world_make(&w);
    world_on_disk(&w);
    world_open_db(&w);
    world_publish(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    mrl_wire_history history = c.history;
    uint64_t seq = c.answer.newest;
    assert_int_equal(merle_collection_open(w.db, "guilds", NULL, &guilds), MERLE_OK);
    uint8_t bytes[16];
    assert_int_equal(merle_one_put(guilds, merle_str("g"), level(bytes, 1), NULL), MERLE_OK);
    assert_int_equal(merle_collection_drop(guilds, NULL), MERLE_OK);
    world_stop(&w);
    world_open_db(&w);
    world_publish(&w);
    turn(&w, 3 * SECOND);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    mrl_wire_question question = changes_after(&c, seq, 0);
    question.history = history;
    with_filter(&c, &question, "guilds", NULL, NULL);
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    mrl_wire_commit commit;
    int count = 0;
    while (mrl_wire_commit_next(&c.answer.commits, &commit) == MERLE_OK) count++;
    assert_int_equal(count, 3); /* made, put, dropped */
    client_close(&c);
    world_close(&w);
}

/* ---- limits ---- */

static void client_beyond_the_limit_is_refused(void **state) {
    world w;
    client c;
    (void)state;
    world_make(&w);
    w.publish.client_max = 2;
    world_open_db(&w);
    world_publish(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_BUSY);
    assert_int_equal(stats_of(&w).clients_refused, 1);
    /* Who has been quiet for some time gives way. */
    turn(&w, 6 * (uint64_t)SECOND);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    assert_int_equal(stats_of(&w).clients, 2);
    /* And is forgotten, in the end. */
    turn(&w, 70 * (uint64_t)SECOND);
    assert_int_equal(stats_of(&w).clients, 0);
    client_close(&c);
    world_close(&w);
}

static void hello_with_a_token_takes_its_place(void **state) {
    world w;
    client c;
    (void)state;
    world_make(&w);
    w.publish.client_max = 2;
    world_open_db(&w);
    world_publish(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    for (int i = 0; i < 5; i++) {
        mrl_wire_question question = {.op = MRL_WIRE_HELLO,
                                      .client = MERLE_STR("again"),
                                      .token = merle_bytes_of(c.token, sizeof c.token)};
        assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
        assert_memory_not_equal(c.answer.token, c.token, sizeof c.token);
        if (i == 0) {
            question = (mrl_wire_question){.op = MRL_WIRE_NEWEST};
            assert_int_equal(client_ask(&c, &question), MRL_WIRE_TOKEN);
            assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
        } else {
            memcpy(c.token, c.answer.token, sizeof c.token);
        }
    }
    assert_int_equal(stats_of(&w).clients, 2);
    client_close(&c);
    world_close(&w);
}

static void malformed_questions_are_answered_and_counted(void **state) {
    static const uint8_t nothing[] = {0xc1}, version[] = {0x93, 9, 4, 0xc0},
                         op[] = {0x93, 1, 99, 0xc0}, parts[] = {0x93, 1, 2, 0xc0};
    world w;
    client c;
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    client_send_bytes(&c, nothing, sizeof nothing);
    assert_int_equal(client_await(&c, SECOND), MRL_WIRE_BAD);
    client_send_bytes(&c, version, sizeof version);
    assert_int_equal(client_await(&c, SECOND), MRL_WIRE_UNKNOWN);
    client_send_bytes(&c, op, sizeof op);
    assert_int_equal(client_await(&c, SECOND), MRL_WIRE_UNKNOWN);
    client_send_bytes(&c, parts, sizeof parts);
    assert_int_equal(client_await(&c, SECOND), MRL_WIRE_BAD);
    assert_int_equal(c.answer.op, MRL_WIRE_CHANGES);
    client_send_bytes(&c, NULL, 0);
    assert_int_equal(client_await(&c, SECOND), MRL_WIRE_BAD);
    assert_int_equal(stats_of(&w).malformed, 5);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    client_close(&c);
    world_close(&w);
}

static void question_of_a_session_replaces_the_one_held(void **state) {
    world w;
    client c, other;
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    client_open(&other, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    memcpy(other.token, c.token, sizeof c.token);
    other.history = c.history;
    mrl_wire_question question = changes_after(&c, c.answer.newest, 0);
    question.wait_ms = 30000;
    client_send(&c, &question);
    turn(&w, 10 * MILLISECOND);
    client_send(&other, &question);
    assert_int_equal(client_await(&c, SECOND), MRL_WIRE_OK);
    assert_string_equal(keys_of(c.answer.commits), "");
    (void)put(&w, "a", 1);
    assert_int_equal(client_await(&other, SECOND), MRL_WIRE_OK);
    assert_string_equal(keys_of(other.answer.commits), "a ");
    client_close(&c);
    client_close(&other);
    world_close(&w);
}

static void database_with_a_publisher_stays_open(void **state) {
    world w;
    (void)state;
    world_open(&w);
    assert_int_equal(merle_close(w.db), MERLE_BUSY);
    world_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_tells_who_and_what),
        cmocka_unit_test(question_without_hello_is_refused),
        cmocka_unit_test(secret_wrong_is_refused_late_and_counted),
        cmocka_unit_test(operate_is_unknown_where_nobody_operates),
        cmocka_unit_test(changes_after_a_seq_come_in_order),
        cmocka_unit_test(changes_refused_insert_is_never_told),
        cmocka_unit_test(changes_held_are_answered_by_the_next_commit),
        cmocka_unit_test(changes_held_in_vain_say_how_far_they_looked),
        cmocka_unit_test(changes_with_a_prefix_have_these_keys_alone),
        cmocka_unit_test(changes_with_a_condition_have_who_comes_stays_and_leaves),
        cmocka_unit_test(changes_with_a_condition_from_before_it_are_a_gap),
        cmocka_unit_test(put_over_what_had_ended_is_a_gap_where_that_is_not_known),
        cmocka_unit_test(answers_without_memory_tell_nothing_twice),
        cmocka_unit_test(commit_larger_than_the_answer_comes_in_parts),
        cmocka_unit_test(operation_larger_than_the_answer_comes_alone),
        cmocka_unit_test(changes_of_a_load_are_told_by_its_end),
        cmocka_unit_test(position_beyond_the_ring_is_a_gap_in_memory),
        cmocka_unit_test(position_beyond_the_ring_is_read_from_files),
        cmocka_unit_test(position_not_durable_yet_is_not_told),
        cmocka_unit_test(position_of_an_earlier_term_goes_on),
        cmocka_unit_test(position_of_another_history_is_refused),
        cmocka_unit_test(collection_made_anew_is_a_reset),
        cmocka_unit_test(collection_made_and_dropped_in_an_earlier_term_is_told_by_its_name),
        cmocka_unit_test(client_beyond_the_limit_is_refused),
        cmocka_unit_test(hello_with_a_token_takes_its_place),
        cmocka_unit_test(malformed_questions_are_answered_and_counted),
        cmocka_unit_test(question_of_a_session_replaces_the_one_held),
        cmocka_unit_test(database_with_a_publisher_stays_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
