/* tests/unit/events/watch_model_test.c - watches against an obvious twin, on random histories.
 *
 * Aim     Every change comes once, in order, as what it was, with the documents before and after,
 *         to exactly those whose filters want it; and what the latest gives in the end is what is
 *         there.
 * Method  Random commits of several operations over a few keys of two collections, some of which
 *         are refused or taken back, documents that end, truncations; a plain table says what each
 *         commit changes, and writes it into a list. Watches with different filters drain with
 *         random room, rest, and are compared with the part of the list that their filters want,
 *         found by asking the table's numbers.
 * Blind   Threads, gaps, files.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <merle/events.h>

#include "base/random.h"
#include "tests/model/seed.h"
#include "tests/unit/store/clock.h"
#include "tests/unit/store/stand.h"

enum { KEY_COUNT = 12, COLLECTION_COUNT = 2, STEP_COUNT = 400, RUN_COUNT = 40, RICH = 50 };
enum { EXPECTED_MAX = STEP_COUNT * (KEY_COUNT + 4), WATCH_COUNT = 6, ROOM = 32 };

/* What a key has: a number, 0 for nothing, and when it ends, 0 for never. */
typedef struct cell {
    int64_t number, expires_ns;
} cell;

typedef struct expected {
    merle_event_kind kind;
    uint32_t collection, key;
    uint64_t seq; /* 0: any, of an expiry */
    uint32_t position, count;
    int64_t before, after;
} expected;

typedef struct watcher {
    merle_watch *watch;
    int (*wants)(const expected *e);
    int is_latest;
    size_t at;
    cell mirror[COLLECTION_COUNT][KEY_COUNT];
} watcher;

typedef struct world {
    stand s;
    merle_collection *collections[COLLECTION_COUNT];
    cell cells[COLLECTION_COUNT][KEY_COUNT];
    expected list[EXPECTED_MAX];
    size_t count;
    merle_condition *rich;
    watcher watchers[WATCH_COUNT];
    mrl_random random;
} world;

static uint32_t below(world *w, uint32_t limit) {
    return (uint32_t)mrl_random_below(&w->random, limit);
}

static merle_bytes key_of(uint32_t key, char text[8]) {
    snprintf(text, 8, "%s%02u", key % 2 ? "eu" : "us", key);
    return merle_str(text);
}

static uint32_t key_number(merle_bytes key) {
    const char *text = key.data;
    return (uint32_t)((text[2] - '0') * 10 + text[3] - '0');
}

/* {"n": number}, with a number below 128 */
static merle_bytes make_doc(int64_t number, uint8_t out[4]) {
    memcpy(out, (uint8_t[]){0x81, 0xa1, 'n', (uint8_t)number}, 4);
    return merle_bytes_of(out, 4);
}

static int is_alive(const cell *c) {
    return c->number != 0 && (c->expires_ns == 0 || c->expires_ns > atomic_load(&clock_ns));
}

/* ---- who wants what ---- */

static int wants_all(const expected *e) {
    (void)e;
    return 1;
}
static int wants_first(const expected *e) {
    return e->collection == 0;
}
static int wants_prefix(const expected *e) {
    return e->kind >= MERLE_EVENT_TRUNCATED || e->key % 2 == 1;
}
static int wants_rich(const expected *e) {
    return e->kind >= MERLE_EVENT_TRUNCATED || e->before >= RICH || e->after >= RICH;
}
/* Of the second collection the rich ones, of any the key 3. */
static int wants_either(const expected *e) {
    return (e->collection == 1 && wants_rich(e)) || e->kind >= MERLE_EVENT_TRUNCATED || e->key == 3;
}

static void open_watches(world *w) {
    char text[8];
    const merle_watch_filter first = {.collection = w->collections[0]};
    const merle_watch_filter prefix = {.prefix = merle_str("eu")};
    const merle_watch_filter rich = {.condition = w->rich};
    const merle_watch_filter either[] = {{.collection = w->collections[1], .condition = w->rich},
                                         {.key = key_of(3, text)}};
    const merle_watch_options options[WATCH_COUNT] = {
        {.documents = 1},
        {.filters = &first, .filter_count = 1},
        {.filters = &prefix, .filter_count = 1, .documents = 1},
        {.filters = &rich, .filter_count = 1, .documents = 1},
        {.filters = either, .filter_count = 2, .documents = 1},
        {.latest = 1, .latest_max = 1 + below(w, 2 * KEY_COUNT)},
    };
    int (*const wants[])(const expected *) = {wants_all,  wants_first,  wants_prefix,
                                              wants_rich, wants_either, wants_all};
    for (int i = 0; i < WATCH_COUNT; i++) {
        must(&w->s, merle_watch_open(w->s.db, &options[i], &w->watchers[i].watch));
        w->watchers[i].wants = wants[i];
        w->watchers[i].is_latest = options[i].latest != 0;
    }
}

/* ---- histories ---- */

static expected *expect(world *w, merle_event_kind kind, uint32_t collection, uint32_t key) {
    assert_true(w->count < EXPECTED_MAX);
    expected *e = &w->list[w->count++];
    *e = (expected){.kind = kind, .collection = collection, .key = key};
    return e;
}

/* Of those that are past their time, the one that ended first. */
static int find_due(const world *w, uint32_t *out_c, uint32_t *out_key) {
    int64_t first_ns = INT64_MAX;
    for (uint32_t c = 0; c < COLLECTION_COUNT; c++)
        for (uint32_t key = 0; key < KEY_COUNT; key++) {
            const cell *at = &w->cells[c][key];
            if (at->number == 0 || is_alive(at) || at->expires_ns >= first_ns) continue;
            first_ns = at->expires_ns;
            *out_c = c;
            *out_key = key;
        }
    return first_ns != INT64_MAX;
}

/* The clock goes on, and what is due is removed, in the order in which it ended. */
static void let_end(world *w) {
    uint32_t c, key;
    atomic_fetch_add(&clock_ns, below(w, 100));
    stand_settle(&w->s);
    while (find_due(w, &c, &key)) {
        expect(w, MERLE_EVENT_EXPIRE, c, key)->before = w->cells[c][key].number;
        w->cells[c][key] = (cell){0, 0};
    }
}

/* No two end at one moment. */
static int64_t choose_ttl(world *w) {
    int64_t ttl_ns = 1 + below(w, 300);
    for (uint32_t i = 0; i < COLLECTION_COUNT * KEY_COUNT; i++)
        if (w->cells[i / KEY_COUNT][i % KEY_COUNT].expires_ns == atomic_load(&clock_ns) + ttl_ns) {
            ttl_ns++;
            i = UINT32_MAX; /* all of them again */
        }
    return ttl_ns;
}

/* One operation in a commit on a key that it has not touched. 0: it had none. */
static int operate(world *w, merle_commit *commit, uint32_t c, uint32_t key, uint32_t position) {
    char text[8];
    uint8_t bytes[4];
    cell *at = &w->cells[c][key];
    cell before = *at;
    int64_t number = 1 + below(w, 100);
    merle_bytes k = key_of(key, text);
    int alive = is_alive(at);
    switch (below(w, 4)) {
    case 0:
        if (!alive) return 0;
        must(&w->s, merle_remove(commit, w->collections[c], k));
        *at = (cell){0, 0};
        break;
    case 1:
        if (!alive) return 0;
        must(&w->s, merle_patch(commit, w->collections[c], k, MERLE_SET_INT("n", number)));
        at->number = number;
        break;
    case 2: {
        int64_t ttl_ns = choose_ttl(w);
        must(&w->s, merle_put_for(commit, w->collections[c], k, make_doc(number, bytes), ttl_ns));
        *at = (cell){number, atomic_load(&clock_ns) + ttl_ns};
        break;
    }
    default:
        must(&w->s, merle_put(commit, w->collections[c], k, make_doc(number, bytes)));
        *at = (cell){number, 0};
    }
    int was_due = before.number != 0 && !alive;
    if (was_due) {
        expected *e = expect(w, MERLE_EVENT_EXPIRE, c, key);
        e->before = before.number;
        e->position = position;
    }
    expected *e = expect(w,
                         !alive            ? MERLE_EVENT_INSERT
                         : at->number == 0 ? MERLE_EVENT_REMOVE
                                           : MERLE_EVENT_UPDATE,
                         c, key);
    e->before = alive ? before.number : 0;
    e->after = at->number;
    e->position = position;
    return 1;
}

static void commit_some(world *w) {
    merle_commit *commit;
    cell kept[COLLECTION_COUNT][KEY_COUNT];
    uint32_t touched = 0, position = 0;
    size_t first = w->count;
    uint64_t seq = 0;
    memcpy(kept, w->cells, sizeof kept);
    must(&w->s, merle_begin(w->s.db, &commit));
    for (uint32_t i = 1 + below(w, 6); i > 0; i--) {
        uint32_t c = below(w, COLLECTION_COUNT), key = below(w, KEY_COUNT);
        if (touched & 1u << (c * KEY_COUNT + key)) continue;
        touched |= 1u << (c * KEY_COUNT + key);
        position += (uint32_t)operate(w, commit, c, key, position);
    }
    if (below(w, 6) == 0) {
        /* Taken back: nobody hears of it. */
        merle_cancel(commit);
        memcpy(w->cells, kept, sizeof kept);
        w->count = first;
        return;
    }
    must(&w->s, merle_end(commit, &seq));
    for (size_t i = first; i < w->count; i++) {
        w->list[i].seq = seq;
        w->list[i].count = position;
    }
}

static void truncate(world *w) {
    uint32_t c = below(w, COLLECTION_COUNT);
    uint64_t seq;
    must(&w->s, merle_collection_truncate(w->collections[c], &seq));
    expected *e = expect(w, MERLE_EVENT_TRUNCATED, c, 0);
    e->seq = seq;
    e->count = 1;
    memset(w->cells[c], 0, sizeof w->cells[c]);
}

/* ---- comparing ---- */

static int64_t number_of(merle_doc doc) {
    return doc.data == NULL ? 0 : merle_doc_int(doc, "n", -1);
}

static void compare_latest(world *w, watcher *at, const merle_event *event) {
    uint32_t c = event->collection == w->collections[1];
    if (event->kind == MERLE_EVENT_TRUNCATED)
        memset(at->mirror[c], 0, sizeof at->mirror[c]);
    else
        at->mirror[c][key_number(event->key)].number = number_of(event->after);
}

static void compare(world *w, watcher *at, const merle_event *event) {
    while (at->at < w->count && !at->wants(&w->list[at->at])) at->at++;
    assert_true(at->at < w->count);
    const expected *e = &w->list[at->at++];
    assert_int_equal(event->is_unknown, 0);
    assert_int_equal(event->kind, e->kind);
    assert_ptr_equal(event->collection, w->collections[e->collection]);
    if (e->kind < MERLE_EVENT_TRUNCATED) assert_int_equal(key_number(event->key), e->key);
    if (e->seq != 0) {
        assert_int_equal(event->seq, e->seq);
        assert_int_equal(event->position, e->position);
        assert_int_equal(event->count, e->count);
    }
    if (at->wants == wants_first) return; /* without documents */
    assert_int_equal(number_of(event->before), e->before);
    assert_int_equal(number_of(event->after), e->after);
}

/* 1: it gave something. */
static int drain_one(world *w, watcher *at) {
    merle_event events[ROOM];
    size_t count;
    must(&w->s, merle_watch_next(at->watch, events, 1 + below(w, ROOM), &count));
    for (size_t i = 0; i < count; i++) {
        if (at->is_latest)
            compare_latest(w, at, &events[i]);
        else
            compare(w, at, &events[i]);
    }
    if (below(w, 4) == 0) merle_watch_rest(at->watch);
    return count > 0;
}

static void finish(world *w) {
    for (int i = 0; i < WATCH_COUNT; i++) {
        watcher *at = &w->watchers[i];
        while (drain_one(w, at)) continue;
        while (at->at < w->count && !at->wants(&w->list[at->at])) at->at++;
        if (!at->is_latest) assert_int_equal(at->at, w->count);
        for (uint32_t c = 0; at->is_latest && c < COLLECTION_COUNT; c++)
            for (uint32_t key = 0; key < KEY_COUNT; key++)
                assert_int_equal(at->mirror[c][key].number,
                                 is_alive(&w->cells[c][key]) ? w->cells[c][key].number : 0);
        merle_watch_close(at->watch);
    }
}

/* ---- runs ---- */

static void run(uint64_t seed) {
    static world w;
    merle_options options = {.threads = MERLE_THREADS_NONE};
    const mrl_environment environment = {.clock = &test_clock};
    memset(&w, 0, sizeof w);
    mrl_random_init(&w.random, seed);
    options.report = &w.s.report;
    must(&w.s, mrl_db_open(NULL, &options, &environment, &w.s.db));
    must(&w.s, merle_collection_open(w.s.db, "players", NULL, &w.collections[0]));
    must(&w.s, merle_collection_open(w.s.db, "things", NULL, &w.collections[1]));
    must(&w.s, merle_condition_parse(merle_str("n >= 50"), &w.rich, &w.s.report));
    open_watches(&w);
    for (int i = 0; i < STEP_COUNT; i++) {
        uint32_t what = below(&w, 100);
        if (what < 60)
            commit_some(&w);
        else if (what < 70)
            let_end(&w);
        else if (what < 80)
            atomic_fetch_add(&clock_ns, below(&w, 50)); /* due, and not removed yet */
        else if (what < 81)
            truncate(&w);
        else
            (void)drain_one(&w, &w.watchers[below(&w, WATCH_COUNT)]);
    }
    let_end(&w);
    atomic_fetch_add(&clock_ns, 1000);
    let_end(&w);
    finish(&w);
    merle_condition_destroy(w.rich);
    stand_close(&w.s);
}

static void watches_give_what_the_twin_expects(void **state) {
    (void)state;
    for (uint64_t i = 0; i < test_amount(RUN_COUNT); i++) run(test_seed() + i);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(watches_give_what_the_twin_expects),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
