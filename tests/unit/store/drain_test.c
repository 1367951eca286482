/* tests/unit/store/drain_test.c - commits where a disk writer follows: a stand-in drain on the log.
 *
 * Aim     Step 0 of a write: without credit a commit is refused at once, or waits if it says so,
 *         holding no lock, while readers, and writers who do not wait, go on. Step 7: a commit that
 *         wants to be durable ends when it is; where the drain fails it says that its fate is
 *         unknown, and from then on the database is read-only.
 * Method  The drain writes nowhere. One kind has a thread: the test itself, which says when entries
 *         are written and durable. The other has none: those who wait call it. Threads meet by
 *         counters of the log and of the database, never by time.
 * Blind   That a thread which waits would wait for ever cannot be seen; only that it does not go on
 *         before it is let.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "writing.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "store/commit.h"

enum { RING_SIZE = 64 << 10 };

typedef struct desk {
    stand s;
    mrl_drain drain;
    int groups;         /* times that write_group was called */
    merle_err err;      /* what write_group gives */
    _Atomic int is_let; /* set before what a waiting thread waits for is done */
} desk;

static merle_err write_group(void *context, mrl_member *member) {
    desk *d = context;
    (void)member;
    d->groups++;
    if (d->err != MERLE_OK) return d->err;
    uint64_t seq = mrl_log_published_at(mrl_log_published(d->s.db->log));
    mrl_log_written(d->s.db->log, seq);
    mrl_log_durable(d->s.db->log, seq);
    return MERLE_OK;
}

static void desk_open(desk *d, int has_thread) {
    memset(d, 0, sizeof *d);
    writing_open(&d->s, &players_schema, (merle_options){.ring_size = RING_SIZE}, NULL);
    d->drain = (mrl_drain){d, write_group, has_thread};
    mrl_log_drain_attach(d->s.db->log, &d->drain);
}

static void desk_close(desk *d) {
    mrl_log_drain_attach(d->s.db->log, NULL);
    assert_int_equal(stats_of(&d->s).commits_open, 0);
    writing_close(&d->s);
}

static mrl_log_stats log_of(const desk *d) {
    mrl_log_stats stats;
    mrl_log_stat(d->s.db->log, &stats);
    return stats;
}

static merle_err put_kibibyte(desk *d, const char *key, merle_patience patience) {
    char json[1200];
    (void)snprintf(json, sizeof json, "{\"filler\":\"%01000d\"}", 0);
    merle_commit *commit;
    merle_err err = merle_begin(d->s.db, &commit);
    if (err != MERLE_OK) return err;
    merle_commit_patience(commit, patience);
    if ((err = write_json(commit, d->s.players, merle_put, key, json)) == MERLE_OK)
        return merle_end(commit, NULL);
    merle_cancel(commit);
    return err;
}

/* Commits until there is no room for one of a kibibyte. */
static int fill_ring(desk *d) {
    int count = 0;
    merle_err err;
    while ((err = put_kibibyte(d, "a", MERLE_REFUSE)) == MERLE_OK && count < 1000) count++;
    assert_int_equal(err, MERLE_BUSY);
    return count;
}

static void assert_no_lock_is_held(const desk *d) {
    const mrl_store *store = &d->s.db->store;
    mrl_root *root = mrl_collection_current(d->s.players);
    assert_false(mrl_lock_is_held(&store->catalog_lock));
    assert_false(mrl_lock_is_held(&d->s.players->ids_lock));
    for (int i = 0; i < MRL_SHARD_COUNT; i++) {
        assert_false(mrl_lock_is_held(&root->shards[i].lock));
        assert_false(mrl_lock_is_held(&root->indexes[0].unique->shards[i].lock));
    }
}

/* ---- threads that wait ---- */

typedef enum errand { ERRAND_PUT, ERRAND_TRUNCATE, ERRAND_OPEN, ERRAND_IDS, ERRAND_DURABLE } errand;

typedef struct waiter {
    desk *d;
    errand what;
    pthread_t thread;
    merle_err err;
    uint64_t seq;
    int was_let; /* d->is_let when it was done */
} waiter;

static merle_err put_durable(desk *d, uint64_t *out_seq) {
    merle_commit *commit;
    merle_err err = merle_begin(d->s.db, &commit);
    if (err != MERLE_OK) return err;
    mrl_commit_want_durable(commit);
    err = merle_put(commit, d->s.players, merle_str("durable"), merle_bytes_of("\x80", 1));
    if (err == MERLE_OK) return merle_end(commit, out_seq);
    merle_cancel(commit);
    return err;
}

static void *run_errand(void *context) {
    waiter *w = context;
    desk *d = w->d;
    merle_collection *made;
    uint64_t id;
    switch (w->what) {
    case ERRAND_PUT:
        w->err = put_kibibyte(d, "waited", MERLE_WAIT);
        break;
    case ERRAND_TRUNCATE:
        w->err = merle_collection_truncate(d->s.players, &w->seq);
        break;
    case ERRAND_OPEN:
        w->err = merle_collection_open(d->s.db, "made", NULL, &made);
        break;
    case ERRAND_IDS:
        w->err = merle_collection_next_id(d->s.players, &id);
        break;
    case ERRAND_DURABLE:
        w->err = put_durable(d, &w->seq);
        break;
    }
    w->was_let = atomic_load(&d->is_let);
    return NULL;
}

static void waiter_start(waiter *w, desk *d, errand what) {
    memset(w, 0, sizeof *w);
    w->d = d;
    w->what = what;
    assert_int_equal(pthread_create(&w->thread, NULL, run_errand, w), 0);
}

static void waiter_join(waiter *w) {
    pthread_join(w->thread, NULL);
}

/* Starts one, and returns when it waits for credit. */
static void waiter_start_and_stand(waiter *w, desk *d, errand what) {
    uint64_t waits = log_of(d).credit_waits;
    waiter_start(w, d, what);
    while (log_of(d).credit_waits == waits) sched_yield();
}

/* ---- step 0 ---- */

static void without_credit_a_commit_is_busy_at_once(void **state) {
    (void)state;
    desk d;
    desk_open(&d, 1);
    assert_in_range(fill_ring(&d), 30, 64);
    merle_stats_db before = stats_of(&d.s);
    assert_int_equal(put_kibibyte(&d, "b", MERLE_REFUSE), MERLE_BUSY);
    merle_stats_db after = stats_of(&d.s);
    assert_int_equal(after.seq, before.seq);
    assert_int_equal(after.bytes_documents, before.bytes_documents);
    assert_int_equal(after.commits_refused, before.commits_refused + 1);
    assert_there(&d.s, "b", NULL);
    assert_no_lock_is_held(&d);
    /* Commits that write nothing need none. */
    merle_commit *commit = begin(&d.s);
    merle_doc doc;
    must(&d.s, merle_commit_get(commit, d.s.players, merle_str("a"), &doc));
    (void)end(&d.s, commit);
    /* Nothing has left the ring that was not written. */
    assert_true(log_of(&d).first_seq <= log_of(&d).written + 1);
    mrl_log_written(d.s.db->log, before.seq);
    assert_int_equal(put_kibibyte(&d, "b", MERLE_REFUSE), MERLE_OK);
    desk_close(&d);
}

static void a_commit_that_waits_blocks_nobody(void **state) {
    (void)state;
    desk d;
    waiter w;
    merle_collection *found;
    desk_open(&d, 1);
    (void)fill_ring(&d);
    waiter_start_and_stand(&w, &d, ERRAND_PUT);
    assert_no_lock_is_held(&d);
    assert_int_equal(put_kibibyte(&d, "b", MERLE_REFUSE), MERLE_BUSY);
    assert_there(&d.s, "waited", NULL);
    assert_int_equal(count_now(&d.s), 1);
    must(&d.s, merle_collection_find(d.s.db, "players", &found));
    must(&d.s, merle_check(d.s.db, &d.s.report));
    (void)merle_step(d.s.db, 0, 0);
    assert_int_equal(stats_of(&d.s).commits_open, 1);
    atomic_store(&d.is_let, 1);
    mrl_log_written(d.s.db->log, log_of(&d).published);
    waiter_join(&w);
    assert_int_equal(w.err, MERLE_OK);
    assert_true(w.was_let);
    assert_int_equal(count_now(&d.s), 2);
    desk_close(&d);
}

static void definitions_wait_with_the_catalog_open(void **state) {
    (void)state;
    static const errand errands[] = {ERRAND_TRUNCATE, ERRAND_OPEN, ERRAND_IDS};
    for (size_t i = 0; i < 3; i++) {
        desk d;
        waiter w;
        merle_collection *found;
        merle_buffer json = {NULL, 0, 0};
        desk_open(&d, 1);
        (void)fill_ring(&d);
        /* Whatever is left: a definition is small. */
        uint64_t taken = 0;
        mrl_member *member = mrl_member_join(d.s.db->domain);
        while (mrl_credit_take(d.s.db->log, member, 1, 0) == MERLE_OK) taken++;
        waiter_start_and_stand(&w, &d, errands[i]);
        assert_no_lock_is_held(&d);
        must(&d.s, merle_collection_find(d.s.db, "players", &found));
        must(&d.s, merle_collection_describe(found, &json));
        merle_buffer_free(&json);
        atomic_store(&d.is_let, 1);
        uint64_t before = log_of(&d).published;
        mrl_log_written(d.s.db->log, before);
        if (errands[i] == ERRAND_IDS) {
            /* No number is given before its block is durable. */
            while (log_of(&d).published == before) sched_yield();
            mrl_log_written(d.s.db->log, before + 1);
            mrl_log_durable(d.s.db->log, before + 1);
        }
        waiter_join(&w);
        assert_int_equal(w.err, MERLE_OK);
        assert_true(w.was_let);
        mrl_credit_give(d.s.db->log, taken);
        desk_close(&d);
    }
}

static void commit_above_the_ring_is_too_big_for_a_drain(void **state) {
    (void)state;
    desk d;
    desk_open(&d, 1);
    merle_builder *b;
    merle_bytes doc;
    static uint8_t filler[RING_SIZE];
    must(&d.s, merle_builder_create(&b));
    merle_build_begin(b);
    merle_build_bin(b, "b", merle_bytes_of(filler, sizeof filler));
    must(&d.s, merle_build_end(b, &doc));
    for (int patience = MERLE_WAIT; patience <= MERLE_REFUSE; patience++) {
        merle_commit *commit = begin(&d.s);
        merle_commit_patience(commit, (merle_patience)patience);
        must(&d.s, merle_put(commit, d.s.players, merle_str("a"), doc));
        assert_int_equal(merle_end(commit, NULL), MERLE_TOO_BIG);
    }
    merle_builder_destroy(b);
    desk_close(&d);
}

static void who_waits_does_the_work_where_no_thread_does(void **state) {
    (void)state;
    desk d;
    desk_open(&d, 0);
    (void)fill_ring(&d);
    int groups = d.groups;
    assert_int_equal(put_kibibyte(&d, "b", MERLE_WAIT), MERLE_OK);
    assert_int_equal(d.groups, groups + 1);
    assert_int_equal(count_now(&d.s), 2);
    desk_close(&d);
}

static void drain_that_fails_ends_those_who_wait_for_credit(void **state) {
    (void)state;
    for (int has_thread = 0; has_thread < 2; has_thread++) {
        desk d;
        waiter w;
        desk_open(&d, has_thread);
        (void)fill_ring(&d);
        d.err = MERLE_NO_SPACE;
        if (has_thread) {
            waiter_start_and_stand(&w, &d, ERRAND_PUT);
            mrl_log_fail(d.s.db->log, MERLE_NO_SPACE);
        } else {
            waiter_start(&w, &d, ERRAND_PUT);
        }
        waiter_join(&w);
        assert_int_equal(w.err, MERLE_NO_SPACE);
        assert_int_equal(put_kibibyte(&d, "b", MERLE_WAIT), MERLE_READ_ONLY);
        assert_int_equal(put_kibibyte(&d, "b", MERLE_REFUSE), MERLE_READ_ONLY);
        assert_int_equal(count_now(&d.s), 1);
        desk_close(&d);
    }
}

/* ---- step 7 ---- */

static void durable_commit_ends_when_it_is_durable(void **state) {
    (void)state;
    desk d;
    waiter w;
    desk_open(&d, 1);
    uint64_t before = stats_of(&d.s).seq;
    waiter_start(&w, &d, ERRAND_DURABLE);
    while (log_of(&d).published == before) sched_yield();
    /* It is seen, and nothing is locked, while it waits; others commit past it. */
    assert_there(&d.s, "durable", "{}");
    assert_no_lock_is_held(&d);
    (void)put_json(&d.s, "durable", "{\"n\":1}");
    mrl_log_written(d.s.db->log, before + 1);
    atomic_store(&d.is_let, 1);
    mrl_log_durable(d.s.db->log, before + 1);
    waiter_join(&w);
    assert_int_equal(w.err, MERLE_OK);
    assert_int_equal(w.seq, before + 1);
    assert_true(w.was_let);
    desk_close(&d);
}

static void durable_commit_does_the_work_where_no_thread_does(void **state) {
    (void)state;
    desk d;
    uint64_t seq = 0;
    desk_open(&d, 0);
    must(&d.s, put_durable(&d, &seq));
    assert_int_equal(d.groups, 1);
    assert_true(log_of(&d).durable >= seq);
    /* One that does not ask is not waited for; one without effect has nothing to wait for. */
    (void)put_json(&d.s, "a", "{}");
    assert_int_equal(d.groups, 1);
    merle_commit *commit = begin(&d.s);
    mrl_commit_want_durable(commit);
    (void)end(&d.s, commit);
    assert_int_equal(d.groups, 1);
    desk_close(&d);
}

static void durable_commit_without_a_drain_does_not_wait(void **state) {
    (void)state;
    desk d;
    uint64_t seq = 0;
    desk_open(&d, 0);
    mrl_log_drain_attach(d.s.db->log, NULL);
    must(&d.s, put_durable(&d, &seq));
    assert_int_equal(d.groups, 0);
    desk_close(&d);
}

static void drain_that_fails_leaves_the_database_read_only(void **state) {
    (void)state;
    for (int has_thread = 0; has_thread < 2; has_thread++) {
        desk d;
        waiter w;
        desk_open(&d, has_thread);
        (void)put_json(&d.s, "a", "{\"email\":\"x\"}");
        uint64_t before = stats_of(&d.s).seq;
        d.err = MERLE_SYSTEM;
        waiter_start(&w, &d, ERRAND_DURABLE);
        if (has_thread) {
            while (log_of(&d).published == before) sched_yield();
            mrl_log_fail(d.s.db->log, MERLE_SYSTEM);
        }
        waiter_join(&w);
        /* Applied, and it says which commit it was. */
        assert_int_equal(w.err, MERLE_NOT_DURABLE);
        assert_int_equal(w.seq, before + 1);
        assert_there(&d.s, "durable", "{}");
        assert_int_equal(one_json(&d.s, "b", "{}"), MERLE_READ_ONLY);
        assert_int_equal(merle_one_remove(d.s.players, merle_str("a"), NULL), MERLE_READ_ONLY);
        assert_int_equal(put_durable(&d, &w.seq), MERLE_READ_ONLY);
        assert_int_equal(merle_collection_truncate(d.s.players, NULL), MERLE_READ_ONLY);
        assert_int_equal(merle_collection_drop(d.s.players, NULL), MERLE_READ_ONLY);
        merle_collection *made = d.s.players;
        assert_int_equal(merle_collection_open(d.s.db, "made", NULL, &made), MERLE_READ_ONLY);
        assert_null(made);
        assert_int_equal(merle_collection_find(d.s.db, "made", &made), MERLE_NOT_FOUND);
        uint64_t id = 7;
        assert_int_equal(merle_collection_next_id(d.s.players, &id), MERLE_READ_ONLY);
        assert_int_equal(id, 0);
        assert_no_lock_is_held(&d);
        /* Reading goes on. */
        assert_there(&d.s, "a", "{\"email\":\"x\"}");
        assert_holder_now(&d.s, "email", merle_value_str("x"), "a");
        assert_int_equal(count_now(&d.s), 2);
        must(&d.s, merle_collection_open(d.s.db, "players", NULL, &made));
        assert_int_equal(stats_of(&d.s).seq, before + 1);
        desk_close(&d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_credit_a_commit_is_busy_at_once),
        cmocka_unit_test(a_commit_that_waits_blocks_nobody),
        cmocka_unit_test(definitions_wait_with_the_catalog_open),
        cmocka_unit_test(commit_above_the_ring_is_too_big_for_a_drain),
        cmocka_unit_test(who_waits_does_the_work_where_no_thread_does),
        cmocka_unit_test(drain_that_fails_ends_those_who_wait_for_credit),
        cmocka_unit_test(durable_commit_ends_when_it_is_durable),
        cmocka_unit_test(durable_commit_does_the_work_where_no_thread_does),
        cmocka_unit_test(durable_commit_without_a_drain_does_not_wait),
        cmocka_unit_test(drain_that_fails_leaves_the_database_read_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
