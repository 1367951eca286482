/* tests/model/events_test.c - store, publisher, service and subscribers over a simulated network.
 *
 * Aim     Both ends together: what a subscriber has at the end of each commit is what the database
 *         had then, its changes come in order and once, through lost, doubled, late and reordered
 *         messages, broken connections, and a database that is closed and opened again. In the end
 *         each copy equals the store.
 * Method  Seeds. A writer keeps, for each commit, what there was after it; that is the oracle. One
 *         subscriber listens to news and keeps documents, one lives by polls with a key prefix, one
 *         with a condition. The world is one thread; its network turns between steps.
 * Blind   Crashes that lose commits, and wiped servers: subscribe_test has them, with a pretended
 *         server.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/random.h"
#include "seed.h"
#include "subscribe/subscriber.h"
#include "tests/unit/events/world.h"

enum { KEYS = 10, COMMITS = 1200, SUBSCRIBERS = 3, HEARD_MAX = 7 };

typedef struct truth {
    uint32_t level[KEYS]; /* 0: there is no such document */
} truth;

typedef struct listener {
    merle_subscriber *s;
    uint64_t seq;
    uint32_t position;
    int is_first; /* nothing was heard since the last snapshot */
    uint64_t changes, snapshots;
    const char *prefix;
    uint32_t level_min;
} listener;

typedef struct model {
    world w;
    uint64_t seed;
    mrl_random random;
    truth now, *states; /* states[seq] */
    uint64_t first_seq; /* states are known from here on */
    uint64_t seq;
    listener listeners[SUBSCRIBERS];
} model;

static uint64_t below(model *m, uint64_t limit) {
    return mrl_random_below(&m->random, limit);
}

static void expect(const model *m, const listener *l, int truth_of_it, const char *what) {
    if (truth_of_it) return;
    printf("# seed %llu: subscriber %d: %s (heard up to %llu/%u, the store is at %llu)\n",
           (unsigned long long)m->seed, (int)(l - m->listeners), what, (unsigned long long)l->seq,
           l->position, (unsigned long long)m->seq);
    fail();
}

static const char *key_of(uint32_t key) {
    static const char *const keys[KEYS] = {"a0", "a1", "a2", "a3", "a4",
                                           "b0", "b1", "b2", "b3", "b4"};
    return keys[key];
}

/* ---- the writer ---- */

static void note(model *m, uint64_t seq) {
    while (m->seq < seq) {
        m->seq++;
        assert_true(m->seq < COMMITS * 4);
        m->states[m->seq] = m->now;
    }
}

static uint64_t seq_of(const model *m) {
    merle_stats_db stats = {0};
    assert_int_equal(merle_stats(m->w.db, &stats), MERLE_OK);
    return stats.seq;
}

static void write_one(model *m) {
    uint32_t key = (uint32_t)below(m, KEYS), level_now = 1 + (uint32_t)below(m, 99);
    merle_bytes name = merle_str(key_of(key));
    uint64_t seq = 0, dice = below(m, 10);
    uint8_t bytes[16];
    merle_err err;
    if (m->now.level[key] != 0 && dice < 2) {
        err = merle_one_remove(m->w.players, name, &seq);
        m->now.level[key] = 0;
    } else if (m->now.level[key] != 0 && dice < 7) {
        merle_op op = MERLE_SET_INT("level", level_now);
        err = merle_one_patch_ops(m->w.players, name, &op, 1, NULL, &seq);
        m->now.level[key] = level_now;
    } else {
        err = merle_one_put(m->w.players, name, level(bytes, level_now), &seq);
        m->now.level[key] = level_now;
    }
    assert_int_equal(err, MERLE_OK);
    /* An effect of nothing may make no commit of its own. */
    if (seq > m->seq) note(m, seq);
}

/* ---- the listeners ---- */

static int sees(const listener *l, uint32_t key, uint32_t level_there) {
    if (l->prefix != NULL && strncmp(key_of(key), l->prefix, strlen(l->prefix)) != 0) return 0;
    return level_there != 0 && level_there >= l->level_min;
}

static void compare(const model *m, const listener *l, const truth *there) {
    for (uint32_t key = 0; key < KEYS; key++) {
        merle_doc doc;
        merle_err err = merle_subscriber_get(l->s, "players", merle_str(key_of(key)), &doc);
        int is_there = sees(l, key, there->level[key]);
        expect(m, l, (err == MERLE_OK) == is_there, "a document that is there, and should not be");
        if (is_there)
            expect(m, l, merle_doc_uint(doc, "level", 0) == there->level[key],
                   "a document that differs");
    }
}

static void hear(model *m, listener *l, const merle_heard *h, int is_last) {
    int is_change = h->kind >= MERLE_HEARD_INSERT && h->kind <= MERLE_HEARD_LOADED;
    expect(m, l, h->kind != MERLE_HEARD_GAP || h->reason == MERLE_REASON_GAP || l->level_min > 0,
           "a gap, and nothing was lost");
    if (is_change) {
        int is_later = h->seq > l->seq + 1 || (h->seq == l->seq + 1 && h->position >= l->position);
        expect(m, l, is_later && h->position < h->count, "a change that was heard, or is none");
        l->seq = h->seq - 1;
        l->position = h->position + 1;
        l->changes++;
    }
    if (h->kind == MERLE_HEARD_SNAPSHOT_END) l->snapshots++;
    if (!h->ends) return;
    expect(m, l, h->seq <= m->seq, "a commit that there is not");
    l->seq = h->seq;
    l->position = 0;
    if (is_last && h->seq >= m->first_seq) compare(m, l, &m->states[h->seq]);
}

static void turn_listener(model *m, listener *l) {
    merle_heard heard[HEARD_MAX];
    size_t count = mrl_subscriber_next(l->s, heard, 1 + below(m, HEARD_MAX));
    for (size_t i = 0; i < count; i++) hear(m, l, &heard[i], i + 1 == count);
    assert_null(mrl_subscriber_check(l->s));
}

static void open_listener(model *m, uint32_t number) {
    listener *l = &m->listeners[number];
    merle_wanted wanted = {.collection = "players"};
    merle_subscriber_options o = {.service = SERVICE_URL,
                                  .wanted = &wanted,
                                  .wanted_count = 1,
                                  .keep = 1,
                                  .answer_max = 200,
                                  .wait_ms = 2000,
                                  .answer_ms = 1500};
    char host[16];
    (void)snprintf(host, sizeof host, "listener%u", number);
    mrl_subscriber_seams seams = {
        .net = network_host(m->w.net, host), .clock = network_clock(m->w.net), .seed = m->seed};
    *l = (listener){.prefix = NULL};
    if (number == 0) o.publisher = NEWS_URL;
    if (number == 1) wanted.prefix = merle_str(l->prefix = "a");
    if (number == 2) {
        wanted.condition = "level >= 50";
        l->level_min = 50;
    }
    merle_report report = {0};
    merle_err err = mrl_subscriber_open(&o, &seams, &l->s, &report);
    if (err != MERLE_OK) print_error("%s\n", report.message);
    assert_int_equal(err, MERLE_OK);
}

/* ---- a run ---- */

static void set_faults(model *m) {
    static const uint32_t rates[] = {0, 20, 60};
    network_faults f = {.delay_max_ns = below(m, 3) * 5 * MILLISECOND,
                        .lose_one_in = rates[below(m, 3)],
                        .double_one_in = rates[below(m, 3)],
                        .reorder_one_in = rates[below(m, 3)],
                        .cut_one_in = rates[below(m, 3)] * 3};
    network_fault(m->w.net, &f);
}

static void pass_time(model *m, uint64_t ns) {
    turn(&m->w, ns);
    for (uint32_t i = 0; i < SUBSCRIBERS; i++)
        if (below(m, 4) != 0) turn_listener(m, &m->listeners[i]);
}

static void reopen(model *m) {
    world_stop(&m->w);
    world_open_db(&m->w);
    note(m, seq_of(m));
    world_publish(&m->w);
}

static void settle(model *m) {
    network_faults none = {0};
    merle_subscriber_stats stats = {0};
    network_fault(m->w.net, &none);
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        listener *l = &m->listeners[i];
        for (int step = 0; step < 4000; step++) {
            pass_time(m, 5 * MILLISECOND);
            (void)merle_subscriber_get_stats(l->s, &stats);
            if (stats.seq == m->seq && l->snapshots > 0) break;
        }
        expect(m, l, stats.seq == m->seq, "it does not catch up");
        compare(m, l, &m->now);
    }
}

static void run(uint64_t seed, int on_disk, uint64_t *out_changes) {
    model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->states = calloc(COMMITS * 4, sizeof *m->states);
    assert_non_null(m->states);
    m->seed = seed;
    mrl_random_init(&m->random, seed);
    world_make(&m->w);
    if (on_disk) world_on_disk(&m->w);
    world_open_db(&m->w);
    note(m, seq_of(m));
    world_publish(&m->w);
    for (int i = 0; i < 20; i++) write_one(m);
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) open_listener(m, i);
    for (int i = 0; i < COMMITS; i++) {
        if (i % 200 == 0) set_faults(m);
        for (uint64_t n = below(m, 4); n > 0 && i < COMMITS - 1; n--) write_one(m);
        if (on_disk && below(m, 300) == 0) reopen(m);
        pass_time(m, below(m, 4) * MILLISECOND);
    }
    settle(m);
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        *out_changes += m->listeners[i].changes;
        mrl_subscriber_close(m->listeners[i].s);
    }
    world_close(&m->w);
    free(m->states);
    free(m);
}

static void copies_are_the_store_in_memory(void **state) {
    uint64_t changes = 0;
    (void)state;
    test_seed_print();
    for (uint64_t i = 0; i < test_amount(8); i++) run(test_seed() + i, 0, &changes);
    test_say("%llu changes heard", (unsigned long long)changes);
    assert_true(changes > 1000);
}

static void copies_are_the_store_through_restarts(void **state) {
    uint64_t changes = 0;
    (void)state;
    for (uint64_t i = 0; i < test_amount(8); i++) run(test_seed() + i, 1, &changes);
    test_say("%llu changes heard", (unsigned long long)changes);
    assert_true(changes > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(copies_are_the_store_in_memory),
                                       cmocka_unit_test(copies_are_the_store_through_restarts)};
    return cmocka_run_group_tests_name("events", tests, NULL, NULL);
}
