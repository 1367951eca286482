/* tests/unit/subscribe/subscriber_test.c - what a subscriber says, case by case.
 *
 * Aim     Each reason for which changes cannot be had is told as such, once, with what follows it;
 *         a server that refuses or talks nonsense is told and asked again ever more slowly; limits
 *         and wrong options are refused; what is kept can be read.
 * Method  The pretended server of tests/model, without harm but for the one that a case is about.
 * Blind   Many things at once: that is what tests/model/subscribe_test.c does.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "subscribe/subscriber.h"
#include "tests/model/pretend.h"

enum { HEARD_MAX = 16 };

typedef struct stand {
    pretend *p;
    merle_subscriber *s;
    uint32_t counts[MERLE_HEARD_END + 1];
    merle_heard_reason gap_reason, begin_reason;
    uint64_t gap_seq;
    merle_err trouble;
    uint64_t seq;
} stand;

static merle_subscriber_options options_of(const merle_wanted *wanted) {
    merle_subscriber_options o = {.service = "pretend://service",
                                  .publisher = "pretend://publisher",
                                  .wanted = wanted,
                                  .wanted_count = 1};
    return o;
}

static void open_it(stand *t, const merle_subscriber_options *o) {
    mrl_subscriber_seams seams = {.net = &t->p->net, .clock = &t->p->clock, .seed = 5};
    assert_int_equal(mrl_subscriber_open(o, &seams, &t->s, NULL), MERLE_OK);
}

static void set_up(stand *t) {
    *t = (stand){.p = pretend_create(11)};
    for (int i = 0; i < 60; i++) pretend_change(t->p);
}

static void tear_down(stand *t) {
    mrl_subscriber_close(t->s);
    pretend_destroy(t->p);
}

static void hear(stand *t, const merle_heard *h) {
    t->counts[h->kind]++;
    if (h->kind == MERLE_HEARD_GAP) t->gap_reason = h->reason;
    if (h->kind == MERLE_HEARD_GAP) t->gap_seq = h->seq;
    if (h->kind == MERLE_HEARD_SNAPSHOT_BEGIN) t->begin_reason = h->reason;
    if (h->kind == MERLE_HEARD_TROUBLE) t->trouble = h->err;
    if (h->ends) t->seq = h->seq;
}

/* So much time passes. */
static void turn(stand *t, uint64_t ms) {
    merle_heard heard[HEARD_MAX];
    for (uint64_t i = 0; i < ms; i += 5) {
        pretend_advance(t->p, 5000000);
        size_t count = mrl_subscriber_next(t->s, heard, HEARD_MAX);
        for (size_t k = 0; k < count; k++) hear(t, &heard[k]);
        assert_null(mrl_subscriber_check(t->s));
    }
}

static merle_subscriber_stats stats_of(const stand *t) {
    merle_subscriber_stats stats = {0};
    assert_int_equal(merle_subscriber_get_stats(t->s, &stats), MERLE_OK);
    return stats;
}

static void fresh_one_takes_a_snapshot_and_is_live(void **state) {
    merle_wanted ants = {.collection = "ants"};
    merle_subscriber_options o = options_of(&ants);
    stand t;
    (void)state;
    set_up(&t);
    open_it(&t, &o);
    turn(&t, 4000);
    assert_int_equal(t.counts[MERLE_HEARD_CONNECTED], 1);
    assert_int_equal(t.counts[MERLE_HEARD_SNAPSHOT_BEGIN], 1);
    assert_int_equal(t.counts[MERLE_HEARD_SNAPSHOT_END], 1);
    assert_int_equal(t.begin_reason, MERLE_REASON_ASKED);
    assert_true(t.counts[MERLE_HEARD_DOCUMENT] > 0);
    assert_int_equal(stats_of(&t).is_live, 1);
    uint64_t questions = stats_of(&t).questions;
    for (int i = 0; i < 100; i++) {
        pretend_change(t.p);
        turn(&t, 5);
    }
    /* All of it came by the publisher. */
    assert_int_equal(stats_of(&t).questions, questions);
    assert_int_equal(stats_of(&t).seq, t.p->seq);
    assert_true(stats_of(&t).changes > 20);
    tear_down(&t);
}

static void quiet_live_one_keeps_its_session(void **state) {
    merle_wanted ants = {.collection = "ants"};
    merle_subscriber_options o = options_of(&ants);
    stand t;
    (void)state;
    set_up(&t);
    open_it(&t, &o);
    turn(&t, 4000);
    uint64_t questions = stats_of(&t).questions;
    turn(&t, 60000);
    assert_in_range(stats_of(&t).questions - questions, 2, 4);
    tear_down(&t);
}

static void closed_one_says_bye_where_it_was_connected(void **state) {
    merle_wanted ants = {.collection = "ants"};
    merle_subscriber_options o = options_of(&ants);
    stand t;
    (void)state;
    set_up(&t);
    open_it(&t, &o);
    mrl_subscriber_close(t.s); /* it had nobody to say it to */
    assert_int_equal(t.p->byes, 0);
    open_it(&t, &o);
    turn(&t, 4000);
    mrl_subscriber_close(t.s);
    assert_int_equal(t.p->byes, 1);
    pretend_destroy(t.p);
}

static void secret_that_is_wrong_is_trouble_and_the_right_one_is_not(void **state) {
    merle_wanted ants = {.collection = "ants"};
    merle_subscriber_options o = options_of(&ants);
    stand t;
    (void)state;
    set_up(&t);
    t.p->secret = MERLE_STR("sesame");
    t.p->has_news = 0; /* where a secret is required news carry no data */
    o.secret = MERLE_STR("barley");
    open_it(&t, &o);
    turn(&t, 4000);
    assert_int_equal(t.trouble, MERLE_INVALID);
    assert_int_equal(t.counts[MERLE_HEARD_SNAPSHOT_BEGIN], 0);
    assert_in_range(stats_of(&t).questions, 3, 12); /* ever more slowly */
    mrl_subscriber_close(t.s);
    t.trouble = MERLE_OK;
    o.secret = t.p->secret;
    open_it(&t, &o);
    turn(&t, 4000);
    for (int i = 0; i < 30; i++) pretend_change(t.p);
    turn(&t, 4000);
    assert_int_equal(t.trouble, MERLE_OK);
    assert_int_equal(stats_of(&t).is_live, 0);
    assert_int_equal(stats_of(&t).seq, t.p->seq);
    tear_down(&t);
}

static void silent_publisher_is_made_good_by_polls(void **state) {
    merle_wanted ants = {.collection = "ants"};
    merle_subscriber_options o = options_of(&ants);
    stand t;
    (void)state;
    set_up(&t);
    open_it(&t, &o);
    turn(&t, 4000);
    t.p->is_silent = 1;
    for (int i = 0; i < 20; i++) pretend_change(t.p);
    turn(&t, 5000);
    assert_int_equal(stats_of(&t).is_live, 0);
    assert_int_equal(stats_of(&t).seq, t.p->seq);
    assert_int_equal(t.counts[MERLE_HEARD_GAP], 0);
    t.p->is_silent = 0;
    turn(&t, 4000);
    assert_int_equal(stats_of(&t).is_live, 1);
    tear_down(&t);
}

static void expect_gap(stand *t, merle_heard_reason reason) {
    turn(t, 12000);
    assert_int_equal(t->counts[MERLE_HEARD_GAP], 1);
    assert_int_equal(t->gap_reason, reason);
    assert_int_equal(t->counts[MERLE_HEARD_SNAPSHOT_END], 2);
    assert_int_equal(t->begin_reason, reason);
    assert_int_equal(stats_of(t).seq, t->p->seq);
}

static void log_that_is_too_short_is_a_gap(void **state) {
    merle_wanted ants = {.collection = "ants"};
    merle_subscriber_options o = options_of(&ants);
    stand t;
    (void)state;
    set_up(&t);
    open_it(&t, &o);
    turn(&t, 4000);
    t.p->is_silent = 1;
    for (int i = 0; i < 20; i++) pretend_change(t.p);
    pretend_trim(t.p, t.p->seq);
    expect_gap(&t, MERLE_REASON_GAP);
    assert_int_equal(t.gap_seq, t.p->oldest);
    tear_down(&t);
}

static void wiped_server_is_another_history(void **state) {
    merle_wanted ants = {.collection = "ants"};
    merle_subscriber_options o = options_of(&ants);
    stand t;
    (void)state;
    set_up(&t);
    open_it(&t, &o);
    turn(&t, 4000);
    pretend_wipe(t.p);
    for (int i = 0; i < 100; i++) pretend_change(t.p);
    expect_gap(&t, MERLE_REASON_HISTORY);
    tear_down(&t);
}

static void commits_that_a_crash_took_are_told_as_lost(void **state) {
    merle_wanted ants = {.collection = "ants"};
    merle_subscriber_options o = options_of(&ants);
    stand t;
    (void)state;
    set_up(&t);
    open_it(&t, &o);
    turn(&t, 4000);
    pretend_reopen(t.p, 3);
    uint64_t end = t.p->seq;
    for (int i = 0; i < 100; i++) pretend_change(t.p);
    expect_gap(&t, MERLE_REASON_LOST);
    assert_int_equal(t.gap_seq, end);
    tear_down(&t);
}

static void restart_without_a_loss_is_no_gap(void **state) {
    merle_wanted ants = {.collection = "ants"};
    merle_subscriber_options o = options_of(&ants);
    stand t;
    (void)state;
    set_up(&t);
    open_it(&t, &o);
    turn(&t, 4000);
    for (int i = 0; i < 10; i++) pretend_change(t.p);
    pretend_reopen(t.p, 0);
    for (int i = 0; i < 10; i++) pretend_change(t.p);
    turn(&t, 10000);
    assert_int_equal(t.counts[MERLE_HEARD_GAP], 0);
    assert_int_equal(t.counts[MERLE_HEARD_SNAPSHOT_END], 1);
    assert_int_equal(stats_of(&t).seq, t.p->seq);
    tear_down(&t);
}

static void late_news_of_a_term_that_is_over_do_not_make_it_live(void **state) {
    merle_wanted both[2] = {{.collection = "ants"}, {.collection = "bees"}};
    merle_subscriber_options o = options_of(both);
    stand t;
    (void)state;
    o.wanted_count = 2;
    set_up(&t);
    open_it(&t, &o);
    turn(&t, 4000);
    assert_int_equal(stats_of(&t).is_live, 1);
    /* All of this has come when it looks again: the end of the old term, and the new one. */
    for (int i = 0; i < 5; i++) pretend_change(t.p);
    pretend_advance(t.p, 5000000);
    pretend_reopen(t.p, 0);
    for (int i = 0; i < 5; i++) pretend_change(t.p);
    pretend_advance(t.p, 5000000);
    turn(&t, 8000);
    assert_int_equal(stats_of(&t).seq, t.p->seq);
    assert_int_equal(stats_of(&t).term_id, t.p->term_id);
    assert_int_equal(stats_of(&t).bytes_early, 0);
    assert_int_equal(t.counts[MERLE_HEARD_GAP], 0);
    tear_down(&t);
}

static void server_that_refuses_is_asked_ever_more_slowly(void **state) {
    merle_wanted ants = {.collection = "ants"};
    merle_subscriber_options o = options_of(&ants);
    stand t;
    (void)state;
    set_up(&t);
    t.p->faults.busy_one_in = 1;
    open_it(&t, &o);
    turn(&t, 60000);
    assert_int_equal(t.trouble, MERLE_BUSY);
    assert_in_range(stats_of(&t).refused, 10, 40);
    t.p->faults.busy_one_in = 0;
    turn(&t, 10000);
    assert_int_equal(t.counts[MERLE_HEARD_SNAPSHOT_END], 1);
    tear_down(&t);
}

static void server_that_talks_nonsense_is_asked_ever_more_slowly(void **state) {
    merle_wanted ants = {.collection = "ants"};
    merle_subscriber_options o = options_of(&ants);
    stand t;
    (void)state;
    set_up(&t);
    t.p->faults.nonsense_one_in = 1;
    open_it(&t, &o);
    turn(&t, 60000);
    assert_int_equal(t.trouble, MERLE_CORRUPT);
    assert_int_equal(t.counts[MERLE_HEARD_CONNECTED], 0);
    assert_in_range(stats_of(&t).questions, 10, 40);
    t.p->faults.nonsense_one_in = 0;
    turn(&t, 10000);
    assert_int_equal(t.counts[MERLE_HEARD_SNAPSHOT_END], 1);
    tear_down(&t);
}

static void documents_beyond_the_memory_limit_are_trouble(void **state) {
    merle_wanted ants = {.collection = "ants"};
    merle_subscriber_options o = options_of(&ants);
    stand t;
    (void)state;
    set_up(&t);
    o.memory_max = 600;
    open_it(&t, &o);
    turn(&t, 5000);
    assert_int_equal(t.trouble, MERLE_NO_MEMORY);
    assert_int_equal(t.counts[MERLE_HEARD_SNAPSHOT_BEGIN], 0);
    assert_true(stats_of(&t).bytes_held <= 2000);
    tear_down(&t);
}

static void early_news_beyond_their_limit_are_fetched_again(void **state) {
    merle_wanted two[] = {{.collection = "ants"}, {.collection = "bees"}};
    merle_subscriber_options o = options_of(two);
    stand t;
    (void)state;
    set_up(&t);
    o.wanted_count = 2;
    o.early_max = 300;
    open_it(&t, &o);
    turn(&t, 4000);
    for (int i = 0; i < 200; i++) {
        pretend_change(t.p);
        if (i % 20 == 0) turn(&t, 5);
    }
    turn(&t, 5000);
    assert_true(stats_of(&t).batches_lost > 0);
    assert_int_equal(stats_of(&t).seq, t.p->seq);
    assert_int_equal(t.counts[MERLE_HEARD_GAP], 0);
    tear_down(&t);
}

static void position_is_not_there_before_a_snapshot_is_told(void **state) {
    merle_wanted ants = {.collection = "ants"};
    merle_subscriber_options o = options_of(&ants);
    merle_buffer position = {0};
    stand t;
    (void)state;
    set_up(&t);
    open_it(&t, &o);
    assert_int_equal(merle_subscriber_position(t.s, &position), MERLE_NOT_READY);
    turn(&t, 4000);
    assert_int_equal(merle_subscriber_position(t.s, &position), MERLE_OK);
    mrl_subscriber_close(t.s);
    memset(t.counts, 0, sizeof t.counts);
    o.position = merle_bytes_of(position.data, position.size);
    for (int i = 0; i < 10; i++) pretend_change(t.p);
    open_it(&t, &o);
    turn(&t, 4000);
    assert_int_equal(t.counts[MERLE_HEARD_SNAPSHOT_BEGIN], 0);
    assert_int_equal(stats_of(&t).seq, t.p->seq);
    /* With `keep` there is nothing that the changes could be applied to. */
    mrl_subscriber_close(t.s);
    o.keep = 1;
    open_it(&t, &o);
    turn(&t, 4000);
    assert_int_equal(t.counts[MERLE_HEARD_SNAPSHOT_END], 1);
    merle_buffer_free(&position);
    tear_down(&t);
}

static void begin_now_hears_only_what_comes(void **state) {
    merle_wanted ants = {.collection = "ants"};
    merle_subscriber_options o = options_of(&ants);
    stand t;
    (void)state;
    set_up(&t);
    o.begin = MERLE_BEGIN_NOW;
    open_it(&t, &o);
    turn(&t, 4000);
    assert_int_equal(stats_of(&t).changes, 0);
    for (int i = 0; i < 30; i++) pretend_change(t.p);
    turn(&t, 1000);
    assert_true(stats_of(&t).changes > 0);
    assert_int_equal(t.counts[MERLE_HEARD_SNAPSHOT_BEGIN], 0);
    tear_down(&t);
}

static void expect_refused(const merle_subscriber_options *o, merle_err wanted) {
    pretend *p = pretend_create(1);
    mrl_subscriber_seams seams = {.net = &p->net, .clock = &p->clock};
    merle_subscriber *s = (merle_subscriber *)p;
    merle_report report = {0};
    assert_int_equal(mrl_subscriber_open(o, &seams, &s, &report), wanted);
    assert_null(s);
    assert_int_equal(report.err, wanted);
    pretend_destroy(p);
}

static void wrong_options_are_refused(void **state) {
    char name[100];
    merle_wanted twice[] = {{.collection = "ants"}, {.collection = "ants"}};
    merle_wanted bad = {.collection = "ants", .condition = "level >="};
    merle_wanted open_one = {.collection = "ants", .condition = "level >= $1"};
    merle_wanted nameless = {.collection = ""};
    merle_subscriber_options o = options_of(twice);
    (void)state;
    o.wanted_count = 2;
    expect_refused(&o, MERLE_INVALID);
    o = options_of(&bad);
    expect_refused(&o, MERLE_INVALID);
    o = options_of(&open_one);
    expect_refused(&o, MERLE_INVALID);
    o = options_of(&nameless);
    expect_refused(&o, MERLE_INVALID);
    o = options_of(twice);
    o.service = NULL;
    expect_refused(&o, MERLE_INVALID);
    o = options_of(twice);
    o.position = MERLE_STR("mrlS, but not really a position, though it is long enough");
    expect_refused(&o, MERLE_INVALID);
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = 0;
    o = options_of(twice);
    o.name = name;
    expect_refused(&o, MERLE_TOO_BIG);
}

static void kept_documents_can_be_read(void **state) {
    merle_wanted ants = {.collection = "ants"};
    merle_subscriber_options o = options_of(&ants);
    merle_doc doc;
    stand t;
    (void)state;
    set_up(&t);
    assert_int_not_equal(t.p->states[t.p->seq].id[0], 0);
    open_it(&t, &o);
    assert_int_equal(merle_subscriber_get(t.s, "ants", pretend_key(0), &doc), MERLE_INVALID);
    mrl_subscriber_close(t.s);
    o.keep = 1;
    open_it(&t, &o);
    turn(&t, 4000);
    for (uint32_t key = 0; key < PRETEND_KEYS; key++) {
        const pretend_doc *there = &t.p->states[t.p->seq].docs[0][key];
        merle_err err = merle_subscriber_get(t.s, "ants", pretend_key(key), &doc);
        assert_int_equal(err, there->size > 0 ? MERLE_OK : MERLE_NOT_FOUND);
        assert_int_equal(doc.size, there->size);
    }
    assert_int_equal(merle_subscriber_get(t.s, "dogs", pretend_key(0), &doc), MERLE_NOT_FOUND);
    tear_down(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_one_takes_a_snapshot_and_is_live),
        cmocka_unit_test(quiet_live_one_keeps_its_session),
        cmocka_unit_test(closed_one_says_bye_where_it_was_connected),
        cmocka_unit_test(secret_that_is_wrong_is_trouble_and_the_right_one_is_not),
        cmocka_unit_test(silent_publisher_is_made_good_by_polls),
        cmocka_unit_test(log_that_is_too_short_is_a_gap),
        cmocka_unit_test(wiped_server_is_another_history),
        cmocka_unit_test(commits_that_a_crash_took_are_told_as_lost),
        cmocka_unit_test(restart_without_a_loss_is_no_gap),
        cmocka_unit_test(late_news_of_a_term_that_is_over_do_not_make_it_live),
        cmocka_unit_test(server_that_refuses_is_asked_ever_more_slowly),
        cmocka_unit_test(server_that_talks_nonsense_is_asked_ever_more_slowly),
        cmocka_unit_test(documents_beyond_the_memory_limit_are_trouble),
        cmocka_unit_test(early_news_beyond_their_limit_are_fetched_again),
        cmocka_unit_test(position_is_not_there_before_a_snapshot_is_told),
        cmocka_unit_test(begin_now_hears_only_what_comes),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(kept_documents_can_be_read)};
    return cmocka_run_group_tests_name("subscriber", tests, NULL, NULL);
}
