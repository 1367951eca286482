/* tests/unit/events/news_test.c - news: flushes, batches and beats.
 *
 * Aim     Whoever follows the numbers of beats and batches notices everything that is missing, and
 *         who misses nothing hears every change once and in order; a secret keeps data out of news;
 *         a listener that never reads costs nothing.
 * Method  A publisher without a thread on a simulated network, a listener that reads messages
 *         element by element; lost messages are the network's, with a seed.
 * Blind   Real sockets, and the publisher's own thread, are tried elsewhere.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/events/world.h"

typedef struct listener {
    world *w;
    mrl_socket *socket;
    mrl_message message;
    mrl_wire_news news;
} listener;

static void listener_open(listener *l, world *w, const char *topic) {
    mrl_net_options options = {.receive_max = 64u << 20, .queue = 4096};
    memset(l, 0, sizeof *l);
    l->w = w;
    assert_int_equal(
        w->outside->open(w->outside->context, MRL_NET_SUBSCRIBE, &options, &l->socket, NULL),
        MERLE_OK);
    assert_int_equal(w->outside->topic(l->socket, merle_bytes_of(topic, strlen(topic) + 1), 1),
                     MERLE_OK);
    assert_int_equal(w->outside->topic(l->socket, merle_bytes_of("", 1), 1), MERLE_OK);
    assert_int_equal(w->outside->dial(l->socket, NEWS_URL, NULL), MERLE_OK);
    turn(w, 2 * SECOND + 50 * MILLISECOND);
}

static void listener_forget(listener *l) {
    if (l->message.data != NULL) l->w->outside->message_free(&l->message);
    memset(&l->message, 0, sizeof l->message);
}

static int listener_hears(listener *l) {
    listener_forget(l);
    if (l->w->outside->receive(l->socket, &l->message) != MERLE_OK) return 0;
    assert_int_equal(mrl_wire_news_read(merle_bytes_of(l->message.data, l->message.size), &l->news),
                     MERLE_OK);
    return 1;
}

static void listener_drain(listener *l) {
    while (listener_hears(l)) continue;
}

static void listener_close(listener *l) {
    listener_forget(l);
    l->w->outside->close(l->socket);
}

static void expect_beat(listener *l, uint64_t from, uint64_t to, uint32_t collections) {
    assert_true(listener_hears(l));
    assert_int_equal(l->news.type, MRL_WIRE_BEAT);
    assert_true(l->news.from == from && l->news.to == to);
    assert_int_equal(l->news.collections.left, collections);
}

static void expect_batch(listener *l, uint64_t from, uint64_t to, uint64_t before,
                         const char *keys) {
    assert_true(listener_hears(l));
    assert_int_equal(l->news.type, MRL_WIRE_BATCH);
    assert_true(l->news.from == from && l->news.to == to && l->news.before == before);
    assert_string_equal(keys_of(l->news.commits), keys);
}

static void change_on_an_idle_system_is_told_at_once(void **state) {
    world w;
    listener l;
    (void)state;
    world_open(&w);
    listener_open(&l, &w, "players");
    listener_drain(&l);
    uint64_t begin = stats_of(&w).seq;
    uint64_t seq = put(&w, "a", 1);
    turn(&w, MILLISECOND / 4);
    expect_batch(&l, begin, seq, begin, "a ");
    assert_memory_equal(l.news.name.data, "players", 7);
    assert_int_equal(l.news.collection_id, merle_collection_id(w.players));
    expect_beat(&l, begin, seq, 1);
    assert_false(listener_hears(&l));
    (void)put(&w, "b", 1);
    uint64_t last = put(&w, "c", 1);
    turn(&w, 2 * MILLISECOND);
    expect_batch(&l, seq, last, seq, "b c ");
    expect_beat(&l, seq, last, 1);
    listener_close(&l);
    world_close(&w);
}

static void changes_elsewhere_are_a_beat_alone(void **state) {
    world w;
    listener l;
    merle_collection *others;
    uint8_t bytes[16];
    (void)state;
    world_open(&w);
    assert_int_equal(merle_collection_open(w.db, "others", NULL, &others), MERLE_OK);
    listener_open(&l, &w, "players");
    uint64_t first = put(&w, "a", 1), seq;
    turn(&w, 2 * MILLISECOND);
    listener_drain(&l);
    assert_int_equal(merle_one_put(others, MERLE_STR("x"), level(bytes, 1), &seq), MERLE_OK);
    turn(&w, 2 * MILLISECOND);
    expect_beat(&l, first, seq, 1);
    uint64_t last = put(&w, "b", 1);
    turn(&w, 2 * MILLISECOND);
    expect_batch(&l, seq, last, first, "b ");
    listener_close(&l);
    world_close(&w);
}

static void idle_beats_come_every_second(void **state) {
    world w;
    listener l;
    (void)state;
    world_open(&w);
    listener_open(&l, &w, "players");
    uint64_t seq = put(&w, "a", 1);
    turn(&w, 2 * MILLISECOND);
    listener_drain(&l);
    turn(&w, 3 * (uint64_t)SECOND + 10 * MILLISECOND);
    for (int i = 0; i < 3; i++) expect_beat(&l, seq, seq, 0);
    assert_false(listener_hears(&l));
    listener_close(&l);
    world_close(&w);
}

static void commit_over_two_collections_is_in_both_topics(void **state) {
    world w;
    listener l;
    merle_collection *others;
    merle_commit *commit;
    mrl_wire_commit of;
    uint8_t bytes[16];
    uint64_t seq;
    (void)state;
    world_open(&w);
    assert_int_equal(merle_collection_open(w.db, "others", NULL, &others), MERLE_OK);
    listener_open(&l, &w, "players");
    listener_drain(&l);
    assert_int_equal(merle_begin(w.db, &commit), MERLE_OK);
    assert_int_equal(merle_put(commit, others, MERLE_STR("x"), level(bytes, 1)), MERLE_OK);
    assert_int_equal(merle_put(commit, w.players, MERLE_STR("a"), level(bytes, 1)), MERLE_OK);
    assert_int_equal(merle_put(commit, others, MERLE_STR("y"), level(bytes, 1)), MERLE_OK);
    assert_int_equal(merle_end(commit, &seq), MERLE_OK);
    turn(&w, MILLISECOND / 4);
    assert_true(listener_hears(&l));
    assert_string_equal(keys_of(l.news.commits), "a ");
    assert_int_equal(mrl_wire_commit_next(&l.news.commits, &of), MERLE_OK);
    assert_true(of.count == 3 && of.seq == seq);
    expect_beat(&l, seq - 1, seq, 2);
    listener_close(&l);
    world_close(&w);
}

static void batch_too_large_is_to_be_fetched(void **state) {
    world w;
    listener l;
    merle_commit *commit;
    uint8_t bytes[16];
    char key[16];
    (void)state;
    world_make(&w);
    w.publish.batch_size_max = 4096;
    world_open_db(&w);
    world_publish(&w);
    listener_open(&l, &w, "players");
    listener_drain(&l);
    assert_int_equal(merle_begin(w.db, &commit), MERLE_OK);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "k%u", i);
        assert_int_equal(merle_put(commit, w.players, merle_str(key), level(bytes, i)), MERLE_OK);
    }
    assert_int_equal(merle_end(commit, NULL), MERLE_OK);
    turn(&w, MILLISECOND / 4);
    assert_true(listener_hears(&l));
    assert_int_equal(l.news.type, MRL_WIRE_BATCH);
    assert_null(l.news.commits.at);
    assert_int_equal(stats_of(&w).batches_too_large, 1);
    assert_true(listener_hears(&l) && l.news.type == MRL_WIRE_BEAT);
    listener_close(&l);
    world_close(&w);
}

static void secret_keeps_data_out_of_news(void **state) {
    world w;
    listener l;
    (void)state;
    world_make(&w);
    w.publish.secret = MERLE_STR("s");
    world_open_db(&w);
    world_publish(&w);
    listener_open(&l, &w, "players");
    listener_drain(&l);
    uint64_t seq = put(&w, "a", 1);
    turn(&w, MILLISECOND / 4);
    expect_beat(&l, seq - 1, seq, 0);
    assert_false(listener_hears(&l));
    assert_int_equal(stats_of(&w).batches, 0);
    listener_close(&l);
    world_close(&w);
}

static void collection_made_anew_goes_on_in_its_topic(void **state) {
    world w;
    listener l;
    (void)state;
    world_open(&w);
    listener_open(&l, &w, "players");
    uint64_t first = put(&w, "a", 1);
    turn(&w, 2 * MILLISECOND);
    listener_drain(&l);
    assert_int_equal(merle_collection_drop(w.players, NULL), MERLE_OK);
    assert_int_equal(merle_collection_open(w.db, "players", NULL, &w.players), MERLE_OK);
    uint64_t last = put(&w, "b", 1);
    turn(&w, 2 * MILLISECOND);
    expect_batch(&l, first, last, first, "#6 #4 b ");
    assert_int_equal(l.news.collection_id, merle_collection_id(w.players));
    expect_beat(&l, first, last, 1);
    listener_close(&l);
    world_close(&w);
}

/* The publisher is not called while the ring runs over. */
static void publisher_that_fell_behind_says_so(void **state) {
    world w;
    listener l;
    (void)state;
    world_make(&w);
    w.options.ring_size = 64 << 10;
    world_open_db(&w);
    world_publish(&w);
    listener_open(&l, &w, "players");
    uint64_t first = put(&w, "a", 1), last = 0;
    turn(&w, 2 * MILLISECOND);
    listener_drain(&l);
    for (unsigned i = 0; i < 2000; i++) last = put(&w, "a", i);
    turn(&w, 50 * MILLISECOND);
    assert_true(stats_of(&w).news_gaps >= 1);
    uint64_t at = first;
    int jumps = 0;
    while (listener_hears(&l)) {
        jumps += l.news.from > at;
        if (l.news.from > at) at = l.news.from;
        if (l.news.type == MRL_WIRE_BATCH) assert_true(l.news.before >= first || jumps == 0);
        if (l.news.type == MRL_WIRE_BATCH && jumps > 0) assert_true(l.news.before > first);
        if (l.news.type == MRL_WIRE_BEAT && l.news.from == at) at = l.news.to;
    }
    assert_true(jumps == 1 && at == last);
    listener_close(&l);
    world_close(&w);
}

/* A follower by the numbers alone: what it hears without a jump is all there was, each once. */
static void numbers_tell_every_message_that_is_lost(void **state) {
    world w;
    listener l;
    network_faults faults = {.lose_one_in = 7, .double_one_in = 9};
    uint64_t at, heard = 0, gaps = 0;
    (void)state;
    world_open(&w);
    listener_open(&l, &w, "players");
    listener_drain(&l);
    at = stats_of(&w).seq;
    uint64_t begin = at;
    network_fault(w.net, &faults);
    for (unsigned i = 0; i < 400; i++) {
        (void)put(&w, "a", i);
        turn(&w, MILLISECOND);
    }
    network_fault(w.net, &(network_faults){0});
    turn(&w, 2 * (uint64_t)SECOND);
    uint64_t batch_from = UINT64_MAX, batch_count = 0;
    while (listener_hears(&l)) {
        if (l.news.type == MRL_WIRE_BATCH) {
            batch_from = l.news.from;
            batch_count = strlen(keys_of(l.news.commits)) / 2;
            continue;
        }
        if (l.news.to <= at && l.news.from <= at) continue;
        int has_batch = l.news.collections.left == 0 || batch_from == l.news.from;
        if (l.news.from > at || !has_batch)
            gaps += l.news.to - at;
        else
            heard += batch_count;
        at = l.news.to;
    }
    assert_true(at == begin + 400);
    assert_true(gaps > 0 && heard > 100 && heard + gaps == 400);
    listener_close(&l);
    world_close(&w);
}

static int refuses_one(void *context, size_t size) {
    (void)size;
    return (*(int *)context)-- == 0;
}

/* Whatever memory is lacking for: a beat over a commit names what the commit changed. */
static void beat_without_memory_passes_nothing_over(void **state) {
    (void)state;
    for (int number = 0; number < 12; number++) {
        world w;
        listener l;
        int left = number;
        const mrl_refusal refusal = {&left, refuses_one};
        world_open(&w);
        listener_open(&l, &w, "players");
        turn(&w, 2 * MILLISECOND);
        listener_drain(&l);
        uint64_t seq = put(&w, "a", 1), upto = 0;
        mrl_refusal_of_thread = &refusal;
        turn(&w, 2 * MILLISECOND);
        mrl_refusal_of_thread = NULL;
        turn(&w, 3 * (uint64_t)SECOND);
        while (listener_hears(&l)) {
            if (l.news.type != MRL_WIRE_BEAT) continue;
            if (l.news.from < seq && l.news.to >= seq) assert_int_equal(l.news.collections.left, 1);
            upto = l.news.to;
        }
        assert_int_equal(upto, seq); /* and some beat tells how far it should be */
        listener_close(&l);
        world_close(&w);
    }
}

static void listener_that_never_reads_costs_nothing(void **state) {
    world w;
    listener stopped, l;
    (void)state;
    world_make(&w);
    w.publish.news_queue = 16;
    world_open_db(&w);
    world_publish(&w);
    listener_open(&stopped, &w, "players");
    network_pause(w.net, "outside", 1);
    for (unsigned i = 0; i < 500; i++) {
        (void)put(&w, "a", i);
        turn(&w, MILLISECOND);
    }
    merle_publisher_stats stats = stats_of(&w);
    assert_true(stats.bytes < 1 << 20);
    assert_true(stats.news_dropped > 0);
    assert_true(stats.seq_told == stats.seq && stats.flushes > 100);
    network_pause(w.net, "outside", 0);
    turn(&w, SECOND);
    listener_open(&l, &w, "players");
    listener_drain(&l);
    uint64_t seq = put(&w, "b", 1);
    turn(&w, 2 * MILLISECOND);
    expect_batch(&l, seq - 1, seq, seq - 1, "b ");
    listener_close(&l);
    listener_close(&stopped);
    world_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(change_on_an_idle_system_is_told_at_once),
        cmocka_unit_test(changes_elsewhere_are_a_beat_alone),
        cmocka_unit_test(idle_beats_come_every_second),
        cmocka_unit_test(commit_over_two_collections_is_in_both_topics),
        cmocka_unit_test(batch_too_large_is_to_be_fetched),
        cmocka_unit_test(secret_keeps_data_out_of_news),
        cmocka_unit_test(collection_made_anew_goes_on_in_its_topic),
        cmocka_unit_test(publisher_that_fell_behind_says_so),
        cmocka_unit_test(numbers_tell_every_message_that_is_lost),
        cmocka_unit_test(beat_without_memory_passes_nothing_over),
        cmocka_unit_test(listener_that_never_reads_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
