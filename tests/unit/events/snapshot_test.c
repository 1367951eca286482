/* tests/unit/events/snapshot_test.c - snapshots by the service: pages, and what makes them one
 * state.
 *
 * Aim     Pages and the changes behind them, put together by the rule of docs/protocol.md, are the
 *         store's state at one seq, whatever writers do meanwhile; filters hold; nothing is shown
 *         that a crash may take.
 * Method  A client takes pages while random commits are made between them, applies what is behind
 *         by the rule, and compares with the store, document by document. The seed is printed.
 * Blind   Writers come between pages, not within them; sections see to the rest, and have tests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/random.h"
#include "tests/unit/events/world.h"
#include "tests/unit/seed.h"

enum { KEY_COUNT = 300 };

static uint64_t seed;

/* What the client holds: level and seq by key; seq of a removal; 0: never heard of. */
typedef struct copy {
    unsigned level[KEY_COUNT];
    uint64_t seq[KEY_COUNT];
    int is_there[KEY_COUNT];
} copy;

static unsigned level_of(merle_bytes doc) {
    const uint8_t *bytes = doc.data;
    assert_true(doc.size >= 8 && bytes[0] == 0x81);
    if (bytes[7] < 0x80) return bytes[7];
    if (bytes[7] == 0xcc) return bytes[8];
    assert_int_equal(bytes[7], 0xcd);
    return (unsigned)bytes[8] << 8 | bytes[9];
}

static unsigned number_of(merle_bytes key) {
    char text[16] = {0};
    assert_true(key.size < sizeof text);
    memcpy(text, key.data, key.size);
    return (unsigned)strtoul(text + 1, NULL, 10);
}

static void some_commits(world *w, mrl_random *random) {
    char key[16];
    for (uint64_t i = mrl_random_below(random, 40); i > 0; i--) {
        snprintf(key, sizeof key, "k%u", (unsigned)mrl_random_below(random, KEY_COUNT));
        switch (mrl_random_below(random, 4)) {
        case 0:
            (void)merle_one_remove(w->players, merle_str(key), NULL);
            break;
        case 1:
            (void)merle_one_patch(w->players, merle_str(key), NULL, NULL,
                                  MERLE_SET_INT("level", (int64_t)mrl_random_below(random, 60000)));
            break;
        default:
            (void)put(w, key, (unsigned)mrl_random_below(random, 60000));
        }
        if (mrl_random_below(random, 2000) == 0)
            assert_int_equal(merle_collection_truncate(w->players, NULL), MERLE_OK);
    }
}

static void take_page(client *c, copy *held, const merle_bytes *cursor, uint64_t *seq) {
    mrl_wire_question question = {
        .op = MRL_WIRE_SNAPSHOT, .name = MERLE_STR("players"), .cursor = *cursor, .bytes_max = 800};
    mrl_wire_document document;
    assert_int_equal(client_ask(c, &question), MRL_WIRE_OK);
    assert_true(c->answer.has_collection);
    if (c->answer.seq > *seq) *seq = c->answer.seq;
    while (mrl_wire_document_next(&c->answer.documents, &document) == MERLE_OK) {
        unsigned n = number_of(document.key);
        held->level[n] = level_of(document.document);
        held->seq[n] = document.seq;
        held->is_there[n] = 1;
    }
}

static void apply(copy *held, uint64_t seq, const mrl_record_operation_view *view) {
    if (view->kind == MRL_RECORD_TRUNCATE) {
        for (unsigned n = 0; n < KEY_COUNT; n++)
            if (held->seq[n] < seq) held->is_there[n] = 0;
        return;
    }
    if (view->kind > MRL_RECORD_REMOVE) return;
    unsigned n = number_of(view->key);
    if (held->is_there[n] && seq <= held->seq[n]) return;
    if (!held->is_there[n] && seq <= held->seq[n]) return;
    if (view->kind == MRL_RECORD_PATCH && !held->is_there[n]) return;
    if (view->kind == MRL_RECORD_PATCH) {
        /* [[["level"], number]] */
        const uint8_t *bytes = view->payload.data;
        uint8_t document[16] = {0x81};
        memcpy(document + 1, bytes + 3, view->payload.size - 3);
        held->level[n] = level_of(merle_bytes_of(document, sizeof document));
    } else if (view->kind == MRL_RECORD_PUT) {
        held->level[n] = level_of(view->payload);
    }
    held->is_there[n] = view->kind != MRL_RECORD_REMOVE;
    held->seq[n] = seq;
}

static void catch_up(client *c, copy *held, uint64_t after, uint64_t upto) {
    mrl_wire_commit commit;
    mrl_record_operation_view view;
    uint32_t position = 0;
    while (after < upto) {
        mrl_wire_question question = changes_after(c, after, position);
        with_filter(c, &question, "players", NULL, NULL);
        assert_int_equal(client_ask(c, &question), MRL_WIRE_OK);
        while (mrl_wire_commit_next(&c->answer.commits, &commit) == MERLE_OK)
            while (mrl_wire_operation_next(&commit, &position, &view) == MERLE_OK)
                apply(held, commit.seq, &view);
        after = c->answer.upto_seq;
        position = c->answer.upto_position;
    }
}

static void compare(world *w, const copy *held) {
    merle_section section;
    merle_doc doc;
    char key[16];
    assert_int_equal(merle_section_begin(w->db, &section), MERLE_OK);
    for (unsigned n = 0; n < KEY_COUNT; n++) {
        snprintf(key, sizeof key, "k%u", n);
        merle_err err = merle_get(&section, w->players, merle_str(key), &doc);
        assert_int_equal(err == MERLE_OK, held->is_there[n]);
        if (err == MERLE_OK)
            assert_int_equal(level_of(merle_bytes_of(doc.data, doc.size)), held->level[n]);
    }
    assert_int_equal(merle_section_end(&section), MERLE_OK);
}

static void one_snapshot(world *w, client *c, mrl_random *random) {
    copy *held = calloc(1, sizeof *held);
    uint8_t cursor_bytes[64];
    merle_bytes cursor = {NULL, 0};
    uint64_t upto = 0;
    assert_int_equal(client_hello(c, NULL), MRL_WIRE_OK);
    uint64_t begin = c->answer.newest;
    do {
        some_commits(w, random);
        take_page(c, held, &cursor, &upto);
        assert_true(c->answer.cursor.size <= sizeof cursor_bytes);
        if (c->answer.cursor.size > 0)
            memcpy(cursor_bytes, c->answer.cursor.data, c->answer.cursor.size);
        cursor = c->answer.cursor.data == NULL
                     ? c->answer.cursor
                     : merle_bytes_of(cursor_bytes, c->answer.cursor.size);
    } while (cursor.data != NULL);
    catch_up(c, held, begin, upto);
    /* Nothing was committed since the last page: this is the state at that seq. */
    compare(w, held);
    some_commits(w, random);
    mrl_wire_question question = {.op = MRL_WIRE_NEWEST};
    assert_int_equal(client_ask(c, &question), MRL_WIRE_OK);
    catch_up(c, held, upto, c->answer.newest);
    compare(w, held);
    free(held);
}

static void pages_beside_writers_are_complete_at_one_seq(void **state) {
    world w;
    client c;
    mrl_random random;
    (void)state;
    mrl_random_init(&random, seed);
    world_open(&w);
    client_open(&c, &w);
    for (int i = 0; i < 5; i++) some_commits(&w, &random);
    for (int i = 0; i < 20; i++) one_snapshot(&w, &c, &random);
    client_close(&c);
    world_close(&w);
}

static void page_not_durable_yet_is_held(void **state) {
    world w;
    client c;
    (void)state;
    world_make(&w);
    world_on_disk(&w);
    w.options.sync_interval_ms = 100000;
    w.options.durability = MERLE_MEMORY; /* then it follows what is written */
    world_open_db(&w);
    w.db->store.durability = MERLE_ASYNC; /* but here what is durable, which nobody asks for */
    world_publish(&w);
    w.db->store.durability = MERLE_MEMORY;
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    uint64_t seq = put(&w, "k1", 1);
    assert_true(merle_durable_seq(w.db) < seq);
    mrl_wire_question question = {.op = MRL_WIRE_SNAPSHOT, .name = MERLE_STR("players")};
    client_send(&c, &question);
    network_advance(w.net, SECOND);
    assert_int_equal(merle_publisher_step(w.publisher, 0, NULL), MERLE_OK);
    network_advance(w.net, SECOND);
    assert_false(client_hears(&c));
    assert_int_equal(stats_of(&w).answers_held, 1);
    /* It has asked the disk. */
    assert_int_equal(client_await(&c, SECOND), MRL_WIRE_OK);
    assert_true(c.answer.seq == seq && merle_durable_seq(w.db) >= seq);
    client_close(&c);
    world_close(&w);
}

static void page_of_what_was_dropped_not_durably_yet_is_held(void **state) {
    world w;
    client c;
    uint64_t seq;
    (void)state;
    world_make(&w);
    world_on_disk(&w);
    w.options.sync_interval_ms = 100000;
    w.options.durability = MERLE_MEMORY;
    world_open_db(&w);
    w.db->store.durability = MERLE_ASYNC;
    world_publish(&w);
    w.db->store.durability = MERLE_MEMORY;
    (void)put(&w, "k1", 1);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    assert_int_equal(merle_collection_drop(w.players, &seq), MERLE_OK);
    assert_true(merle_durable_seq(w.db) < seq);
    mrl_wire_question question = {.op = MRL_WIRE_SNAPSHOT, .name = MERLE_STR("players")};
    /* That there is none is not true of any commit before the drop. */
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    assert_false(c.answer.has_collection);
    assert_true(c.answer.seq == seq && merle_durable_seq(w.db) >= seq);
    client_close(&c);
    world_close(&w);
}

static void page_with_prefix_and_condition_has_these_alone(void **state) {
    world w;
    client c;
    mrl_wire_document document;
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    (void)put(&w, "a1", 1);
    (void)put(&w, "a2", 9);
    (void)put(&w, "b1", 9);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    mrl_wire_question question = {.op = MRL_WIRE_SNAPSHOT,
                                  .name = MERLE_STR("players"),
                                  .prefix = MERLE_STR("a"),
                                  .condition = MERLE_STR("level > 5")};
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    assert_int_equal(mrl_wire_document_next(&c.answer.documents, &document), MERLE_OK);
    assert_memory_equal(document.key.data, "a2", 2);
    assert_int_equal(mrl_wire_document_next(&c.answer.documents, &document), MERLE_NOT_FOUND);
    assert_null(c.answer.cursor.data);
    /* From the first page on a condition can be judged: who leaves is told. */
    uint64_t seq = c.answer.seq;
    (void)put(&w, "a2", 1);
    question = changes_after(&c, seq, 0);
    with_filter(&c, &question, "players", "a", "level > 5");
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    assert_string_equal(keys_of(c.answer.commits), "a2 ");
    client_close(&c);
    world_close(&w);
}

static void page_of_no_collection_is_empty(void **state) {
    world w;
    client c;
    (void)state;
    world_open(&w);
    client_open(&c, &w);
    assert_int_equal(client_hello(&c, NULL), MRL_WIRE_OK);
    mrl_wire_question question = {.op = MRL_WIRE_SNAPSHOT, .name = MERLE_STR("nobody")};
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_OK);
    assert_true(!c.answer.has_collection && c.answer.cursor.data == NULL);
    question = (mrl_wire_question){
        .op = MRL_WIRE_SNAPSHOT, .name = MERLE_STR("players"), .cursor = MERLE_STR("xyz")};
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_BAD);
    question.token = merle_bytes_of(NULL, 0);
    question.cursor = MERLE_STR(
        "\xff\xff\xff\xff"
        "12345678");
    assert_int_equal(client_ask(&c, &question), MRL_WIRE_RESET);
    client_close(&c);
    world_close(&w);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_beside_writers_are_complete_at_one_seq),
        cmocka_unit_test(page_not_durable_yet_is_held),
        cmocka_unit_test(page_of_what_was_dropped_not_durably_yet_is_held),
        cmocka_unit_test(page_with_prefix_and_condition_has_these_alone),
        cmocka_unit_test(page_of_no_collection_is_empty),
    };
    seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
