/* tests/unit/store/catalog_test.c - collections: made, opened again, listed, truncated, dropped;
 * ids.
 *
 * Aim     A collection is what its schema says, or the difference is told; truncate and drop are
 *         one instant for everybody, and one record; old sections read on; memory comes back step
 *         by step; ids are given once, and no id is given that is not set aside in the log.
 * Method  Single calls between open sections and commits. Threads: writers race with truncate, and
 *         the log, replayed, must give what is in memory at the end.
 * Blind   Interleavings inside one definition: the simulator's part.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "writing.h"

#include <pthread.h>
#include <stdatomic.h>

static void put_number(const stand *s, merle_collection *collection, uint64_t number) {
    merle_key key;
    char json[32];
    (void)snprintf(json, sizeof json, "{\"email\":%llu}", (unsigned long long)number);
    merle_buffer doc = doc_of(json);
    must(s, merle_one_put(collection, merle_key_u64(&key, number), bytes_of(&doc), NULL));
    merle_buffer_free(&doc);
}

/* ---- opening ---- */

static void open_again_gives_the_same(void **state) {
    (void)state;
    stand s;
    merle_collection *again;
    writing_open_plain(&s);
    uint64_t seq = stats_of(&s).seq;
    must(&s, merle_collection_open(s.db, "players", &players_schema, &again));
    assert_ptr_equal(again, s.players);
    must(&s, merle_collection_open(s.db, "players", NULL, &again));
    assert_ptr_equal(again, s.players);
    must(&s, merle_collection_find(s.db, "players", &again));
    assert_ptr_equal(again, s.players);
    assert_string_equal(merle_collection_name(again), "players");
    assert_int_not_equal(merle_collection_id(again), 0);
    /* Only the first one is a commit. */
    assert_int_equal(stats_of(&s).seq, seq);
    writing_close(&s);
}

static void open_with_another_schema_tells_the_difference(void **state) {
    (void)state;
    static const merle_index other[] = {{"email", MERLE_UNIQUE, "mail"}, {NULL, 0, NULL}};
    stand s;
    writing_open_plain(&s);
    merle_collection *again = s.players;
    merle_schema schema = {.version = 1, .indexes = other};
    assert_int_equal(merle_collection_open(s.db, "players", &schema, &again), MERLE_DIFFERS);
    assert_null(again);
    assert_string_equal(s.report.collection, "players");
    assert_string_equal(s.report.index, "email");
    assert_string_equal(s.report.expected, "mail");
    assert_string_equal(s.report.found, "email");
    schema = (merle_schema){.version = 2, .indexes = email_index};
    assert_int_equal(merle_collection_open(s.db, "players", &schema, &again), MERLE_DIFFERS);
    assert_string_equal(s.report.expected, "2");
    assert_string_equal(s.report.found, "1");
    schema.version = 0;
    assert_int_equal(merle_collection_open(s.db, "players", &schema, &again), MERLE_INVALID);
    writing_close(&s);
}

static void wrong_schema_makes_no_collection(void **state) {
    (void)state;
    static const merle_index wrong[] = {{"labels", MERLE_TAGS, "a, b"}, {NULL, 0, NULL}};
    const merle_schema schema = {.version = 1, .indexes = wrong};
    stand s;
    merle_collection *c;
    writing_open_plain(&s);
    merle_stats_db before = stats_of(&s);
    assert_int_equal(merle_collection_open(s.db, "guilds", &schema, &c), MERLE_INVALID);
    assert_non_null(strstr(s.report.message, "labels"));
    assert_string_equal(s.report.collection, "guilds");
    assert_null(c);
    assert_int_equal(merle_collection_find(s.db, "guilds", &c), MERLE_NOT_FOUND);
    assert_int_equal(stats_of(&s).seq, before.seq);
    assert_int_equal(stats_of(&s).collections, 1);
    assert_int_equal(stats_of(&s).bytes_tables, before.bytes_tables);
    must(&s, merle_collection_open(s.db, "guilds", NULL, &c));
    writing_close(&s);
}

static void names_have_limits(void **state) {
    (void)state;
    stand s;
    merle_collection *c, *other;
    char name[66];
    memset(name, 'n', sizeof name);
    writing_open_plain(&s);
    name[64] = 0;
    assert_int_equal(merle_collection_open(s.db, name, NULL, &c), MERLE_INVALID);
    assert_int_equal(merle_collection_open(s.db, "", NULL, &c), MERLE_INVALID);
    assert_int_equal(merle_collection_open(s.db, NULL, NULL, &c), MERLE_INVALID);
    assert_int_equal(merle_collection_find(s.db, NULL, &c), MERLE_INVALID);
    assert_null(c);
    assert_int_equal(merle_collection_open(NULL, "a", NULL, &c), MERLE_INVALID);
    name[63] = 0;
    must(&s, merle_collection_open(s.db, name, NULL, &c));
    assert_string_equal(merle_collection_name(c), name);
    name[62] = 0;
    assert_int_equal(merle_collection_find(s.db, name, &other), MERLE_NOT_FOUND);
    writing_close(&s);
}

typedef struct listed {
    const stand *s;
    int count, stop_at;
    char names[8][16];
} listed;

static int list_one(void *context, merle_collection *collection) {
    listed *l = context;
    merle_buffer json = {NULL, 0, 0};
    (void)snprintf(l->names[l->count], sizeof l->names[0], "%s", merle_collection_name(collection));
    /* It may call merle. */
    must(l->s, merle_collection_describe(collection, &json));
    assert_true(json.size > 0);
    merle_buffer_free(&json);
    put_number(l->s, collection, 1);
    return ++l->count == l->stop_at;
}

static void each_lists_what_exists(void **state) {
    (void)state;
    stand s;
    merle_collection *c;
    writing_open_plain(&s);
    must(&s, merle_collection_open(s.db, "guilds", NULL, &c));
    must(&s, merle_collection_open(s.db, "items", NULL, &c));
    listed l = {.s = &s, .stop_at = 99};
    must(&s, merle_collection_each(s.db, list_one, &l));
    assert_int_equal(l.count, 3);
    assert_string_equal(l.names[0], "players");
    assert_string_equal(l.names[1], "guilds");
    assert_string_equal(l.names[2], "items");
    l = (listed){.s = &s, .stop_at = 2};
    must(&s, merle_collection_each(s.db, list_one, &l));
    assert_int_equal(l.count, 2);
    must(&s, merle_collection_find(s.db, "guilds", &c));
    must(&s, merle_collection_drop(c, NULL));
    l = (listed){.s = &s, .stop_at = 99};
    must(&s, merle_collection_each(s.db, list_one, &l));
    assert_int_equal(l.count, 2);
    assert_string_equal(l.names[1], "items");
    writing_close(&s);
}

static void describe_reuses_the_buffer(void **state) {
    (void)state;
    stand s;
    merle_buffer json = {NULL, 0, 0}, doc = {NULL, 0, 0};
    writing_open_plain(&s);
    must(&s, merle_collection_describe(s.players, &json));
    size_t size = json.size;
    must(&s, merle_collection_describe(s.players, &json));
    assert_int_equal(json.size, size);
    must(&s, merle_json_read(bytes_of(&json), &doc, &s.report));
    merle_buffer_free(&json);
    merle_buffer_free(&doc);
    writing_close(&s);
}

/* ---- truncate ---- */

static void truncate_is_one_instant(void **state) {
    (void)state;
    enum { MANY = 1000 };
    stand s;
    merle_section old;
    merle_doc doc;
    merle_key key;
    uint64_t seq;
    writing_open_plain(&s);
    for (uint64_t i = 0; i < MANY; i++) put_number(&s, s.players, i);
    must(&s, merle_section_begin(s.db, &old));
    must(&s, merle_collection_truncate(s.players, &seq));
    assert_int_equal(seq, merle_section_seq(&old) + 1);
    assert_int_equal(count_now(&s), 0);
    assert_int_equal(merle_count_estimate(s.players), 0);
    assert_holder_now(&s, "email", merle_value_int(5), NULL);
    /* Its keys and values are free. */
    for (uint64_t i = 0; i < 10; i++) put_number(&s, s.players, i);
    assert_int_equal(count_now(&s), 10);
    stand_settle(&s);
    assert_int_equal(count_of(&old, s.players), MANY);
    for (uint64_t i = 0; i < MANY; i++) {
        must(&s, merle_get(&old, s.players, merle_key_u64(&key, i), &doc));
        must(&s, merle_get_by(&old, s.players, "email", &doc, merle_value_int((int64_t)i)));
        assert_true(doc.seq < seq);
    }
    merle_scan scan = {0};
    size_t count, all = 0;
    while (merle_scan_next(&old, s.players, &scan, &doc, 1, &count) == MERLE_OK) all++;
    assert_int_equal(all, MANY);
    must(&s, merle_check(s.db, &s.report));
    must(&s, merle_section_end(&old));
    writing_close(&s);
}

static void truncated_memory_comes_back_by_steps(void **state) {
    (void)state;
    enum { MANY = 2000 };
    stand s;
    merle_section old;
    writing_open_plain(&s);
    for (uint64_t i = 0; i < MANY; i++) put_number(&s, s.players, i);
    stand_settle(&s);
    uint64_t full = stats_of(&s).bytes_documents;
    must(&s, merle_section_begin(s.db, &old));
    must(&s, merle_collection_truncate(s.players, NULL));
    stand_settle(&s);
    assert_int_equal(stats_of(&s).bytes_documents, full);
    must(&s, merle_section_end(&old));
    int steps = 0;
    uint64_t bytes = full;
    while (merle_step(s.db, 0, 0) == MERLE_BUSY && ++steps < 10000) {
        uint64_t now = stats_of(&s).bytes_documents;
        /* A bounded piece at a time. */
        assert_true(bytes - now <= full / 8);
        bytes = now;
    }
    assert_in_range(steps, 10, 9999);
    assert_int_equal(stats_of(&s).bytes_documents, 0);
    writing_close(&s);
}

static void truncate_is_one_record(void **state) {
    (void)state;
    stand s;
    merle_changes *changes;
    merle_change got[8];
    size_t count;
    uint64_t truncated, dropped;
    writing_open_plain(&s);
    (void)put_json(&s, "a", "{}");
    uint64_t before = stats_of(&s).seq;
    must(&s, merle_collection_truncate(s.players, &truncated));
    must(&s, merle_collection_drop(s.players, &dropped));
    assert_int_equal(truncated, before + 1);
    assert_int_equal(dropped, before + 2);
    must(&s, merle_changes_open(s.db, &(merle_changes_options){.after_seq = before}, &changes));
    must(&s, merle_changes_next(changes, got, 8, &count));
    assert_int_equal(count, 2);
    assert_int_equal(got[0].kind, MERLE_CHANGE_TRUNCATE);
    assert_int_equal(got[0].seq, truncated);
    assert_int_equal(got[1].kind, MERLE_CHANGE_DROP);
    assert_int_equal(got[1].collection_id, merle_collection_id(s.players));
    merle_changes_close(changes);
    writing_close(&s);
}

/* ---- commits that are open meanwhile ---- */

static void commit_over_a_truncate_writes_into_the_empty_collection(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    (void)put_json(&s, "a", "{\"email\":\"x\"}");
    (void)put_json(&s, "b", "{\"email\":\"y\"}");
    merle_commit *puts = begin(&s), *patches = begin(&s), *removes = begin(&s),
                 *inserts = begin(&s);
    put_in(&s, puts, "c", "{\"email\":\"x\"}");
    must(&s, merle_patch(patches, s.players, merle_str("a"), MERLE_INC("n", 1)));
    must(&s, merle_remove(removes, s.players, merle_str("b")));
    must(&s, write_json(inserts, s.players, merle_insert, "a", "{\"email\":\"z\"}"));
    must(&s, merle_collection_truncate(s.players, NULL));
    (void)end(&s, puts);
    end_refused(&s, patches, MERLE_NOT_FOUND);
    end_refused(&s, removes, MERLE_NOT_FOUND);
    (void)end(&s, inserts);
    assert_there(&s, "a", "{\"email\":\"z\"}");
    assert_holder_now(&s, "email", merle_value_str("x"), "c");
    assert_int_equal(count_now(&s), 2);
    writing_close(&s);
}

static void commit_over_a_drop_is_gone(void **state) {
    (void)state;
    stand s;
    merle_collection *other;
    merle_doc doc;
    writing_open_plain(&s);
    must(&s, merle_collection_open(s.db, "other", NULL, &other));
    (void)put_json(&s, "a", "{}");
    merle_commit *writes = begin(&s), *reads = begin(&s);
    must(&s, write_json(writes, other, merle_put, "b", "{}"));
    put_in(&s, writes, "b", "{}");
    must(&s, merle_commit_get(reads, s.players, merle_str("a"), &doc));
    must(&s, merle_collection_drop(s.players, NULL));
    assert_int_equal(write_json(writes, s.players, merle_put, "c", "{}"), MERLE_OK);
    end_refused(&s, writes, MERLE_GONE);
    assert_string_equal(s.report.collection, "players");
    assert_true(merle_end(reads, NULL) != MERLE_OK);
    merle_section section;
    must(&s, merle_section_begin(s.db, &section));
    assert_sees(&section, other, "b", NULL);
    must(&s, merle_section_end(&section));
    writing_close(&s);
}

/* ---- drop ---- */

static void dropped_collection_is_gone_but_for_old_sections(void **state) {
    (void)state;
    stand s;
    merle_section old, now;
    merle_doc doc;
    merle_buffer json = {NULL, 0, 0};
    merle_collection *c;
    uint64_t number = 7;
    writing_open_plain(&s);
    (void)put_json(&s, "a", "{\"email\":\"x\"}");
    must(&s, merle_section_begin(s.db, &old));
    must(&s, merle_collection_drop(s.players, NULL));
    must(&s, merle_section_begin(s.db, &now));
    assert_int_equal(merle_get(&now, s.players, merle_str("a"), &doc), MERLE_GONE);
    assert_int_equal(merle_count(&now, s.players, &number), MERLE_GONE);
    assert_int_equal(merle_get_by(&now, s.players, "email", &doc, merle_value_str("x")),
                     MERLE_GONE);
    assert_int_equal(merle_collection_find(s.db, "players", &c), MERLE_NOT_FOUND);
    assert_int_equal(one_json(&s, "a", "{}"), MERLE_GONE);
    assert_told(&s, MERLE_GONE, 0, "a", "");
    merle_commit *commit = begin(&s);
    assert_int_equal(merle_commit_get(commit, s.players, merle_str("a"), &doc), MERLE_GONE);
    merle_cancel(commit);
    assert_int_equal(merle_collection_truncate(s.players, &number), MERLE_GONE);
    assert_int_equal(number, 0);
    assert_int_equal(merle_collection_drop(s.players, &number), MERLE_GONE);
    assert_int_equal(merle_collection_next_id(s.players, &number), MERLE_GONE);
    assert_int_equal(merle_collection_describe(s.players, &json), MERLE_GONE);
    assert_string_equal(merle_collection_name(s.players), "players");
    merle_stats_collection stats = {.size = sizeof stats};
    assert_int_equal(merle_collection_stats(s.players, &stats), MERLE_GONE);
    stand_settle(&s);
    assert_sees(&old, s.players, "a", "{\"email\":\"x\"}");
    assert_holder(&old, s.players, "email", merle_value_str("x"), "a");
    must(&s, merle_section_end(&now));
    must(&s, merle_section_end(&old));
    stand_settle(&s);
    assert_int_equal(stats_of(&s).bytes_documents, 0);
    assert_int_equal(stats_of(&s).collections, 0);
    writing_close(&s);
}

static void made_again_under_its_name_it_is_another_one(void **state) {
    (void)state;
    static const merle_index other[] = {{"name", MERLE_UNIQUE, "name"}, {NULL, 0, NULL}};
    const merle_schema schema = {.version = 9, .indexes = other};
    stand s;
    merle_collection *again;
    merle_section old, now;
    writing_open_plain(&s);
    (void)put_json(&s, "a", "{\"n\":1}");
    must(&s, merle_section_begin(s.db, &old));
    must(&s, merle_collection_drop(s.players, NULL));
    must(&s, merle_collection_open(s.db, "players", &schema, &again));
    assert_ptr_not_equal(again, s.players);
    assert_true(merle_collection_id(again) > merle_collection_id(s.players));
    must(&s, merle_section_begin(s.db, &now));
    assert_sees(&now, again, "a", NULL);
    assert_sees(&old, s.players, "a", "{\"n\":1}");
    assert_sees(&old, again, "a", NULL);
    must(&s, merle_section_end(&now));
    must(&s, merle_section_end(&old));
    assert_int_equal(one_json(&s, "a", "{}"), MERLE_GONE);
    put_number(&s, again, 1);
    writing_close(&s);
}

static void collections_made_and_dropped_give_memory_back(void **state) {
    (void)state;
    stand s;
    merle_collection *c;
    writing_open_plain(&s);
    uint64_t bytes[3];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 20; i++) {
            must(&s, merle_collection_open(s.db, "short", NULL, &c));
            for (uint64_t n = 0; n < 50; n++) put_number(&s, c, n);
            must(&s, merle_collection_drop(c, NULL));
        }
        stand_settle(&s);
        bytes[round] = stats_of(&s).bytes_tables;
    }
    printf("# a dropped collection keeps %llu bytes\n",
           (unsigned long long)(bytes[2] - bytes[1]) / 20);
    assert_int_equal(bytes[2] - bytes[1], bytes[1] - bytes[0]);
    writing_close(&s);
}

/* ---- ids ---- */

enum { ID_THREADS = 4, IDS = 3000 };

typedef struct taker {
    merle_collection *collection;
    uint64_t ids[IDS];
    int failed;
} taker;

static void *take_ids(void *context) {
    taker *t = context;
    for (int i = 0; i < IDS; i++)
        if (merle_collection_next_id(t->collection, &t->ids[i]) != MERLE_OK) t->failed = 1;
    return NULL;
}

static void ids_of_many_threads_are_given_once(void **state) {
    (void)state;
    static taker takers[ID_THREADS];
    static uint8_t given[2 * ID_THREADS * IDS];
    pthread_t threads[ID_THREADS];
    stand s;
    writing_open_plain(&s);
    for (int i = 0; i < ID_THREADS; i++) {
        takers[i].collection = s.players;
        assert_int_equal(pthread_create(&threads[i], NULL, take_ids, &takers[i]), 0);
    }
    uint64_t greatest = 0;
    for (int i = 0; i < ID_THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(takers[i].failed, 0);
        for (int j = 0; j < IDS; j++) {
            uint64_t id = takers[i].ids[j];
            assert_in_range(id, 1, sizeof given - 1);
            assert_int_equal(given[id]++, 0);
            assert_true(j == 0 || id > takers[i].ids[j - 1]);
            if (id > greatest) greatest = id;
        }
    }
    /* None was given that the log does not set aside; truncating does not begin anew. */
    merle_changes *changes;
    merle_change got[64];
    size_t count;
    uint64_t aside = 0;
    must(&s, merle_changes_open(s.db, NULL, &changes));
    do {
        must(&s, merle_changes_next(changes, got, 64, &count));
        for (size_t i = 0; i < count; i++) {
            if (got[i].kind != MERLE_CHANGE_SEQUENCE) continue;
            assert_int_equal(got[i].effect.size, 9);
            const uint8_t *at = got[i].effect.data;
            uint64_t end_id = 0;
            for (int b = 1; b < 9; b++) end_id = end_id << 8 | at[b];
            assert_true(end_id > aside);
            aside = end_id;
        }
    } while (count > 0);
    merle_changes_close(changes);
    assert_true(aside > greatest);
    uint64_t id;
    must(&s, merle_collection_truncate(s.players, NULL));
    must(&s, merle_collection_next_id(s.players, &id));
    assert_true(id > greatest);
    assert_int_equal(merle_collection_next_id(NULL, &id), MERLE_INVALID);
    writing_close(&s);
}

/* ---- writers that race with truncate ---- */

enum { WRITERS = 2, COMMITS = 4000, TRUNCATES = 60, WRITER_KEYS = 16 };

typedef struct writer {
    const stand *s;
    uint64_t number;
    _Atomic int *running;
    merle_err err;
} writer;

/* Two documents in each commit, of the same number. */
static void *write_pairs(void *context) {
    writer *w = context;
    for (uint64_t i = 0; i < COMMITS && w->err == MERLE_OK; i++) {
        merle_key a, b;
        merle_commit *commit;
        uint8_t doc[] = {0x81, 0xa1, 'n', 0xcd, (uint8_t)(i >> 8), (uint8_t)i};
        uint64_t at = 2 * (w->number * WRITER_KEYS + i % WRITER_KEYS);
        w->err = merle_begin(w->s->db, &commit);
        if (w->err != MERLE_OK) break;
        merle_bytes bytes = merle_bytes_of(doc, sizeof doc);
        w->err = merle_put(commit, w->s->players, merle_key_u64(&a, at), bytes);
        if (w->err == MERLE_OK)
            w->err = merle_put(commit, w->s->players, merle_key_u64(&b, at + 1), bytes);
        merle_err err = merle_end(commit, NULL);
        if (w->err == MERLE_OK) w->err = err;
    }
    atomic_fetch_sub(w->running, 1);
    return NULL;
}

static void assert_pairs_are_whole(const stand *s) {
    merle_section section;
    merle_key key;
    must(s, merle_section_begin(s->db, &section));
    for (uint64_t at = 0; at < 2 * WRITERS * WRITER_KEYS; at += 2) {
        merle_doc a, b;
        merle_err err = merle_get(&section, s->players, merle_key_u64(&key, at), &a);
        assert_int_equal(merle_get(&section, s->players, merle_key_u64(&key, at + 1), &b), err);
        if (err == MERLE_OK) assert_int_equal(merle_doc_int(a, "n", -1), merle_doc_int(b, "n", -2));
    }
    must(s, merle_section_end(&section));
}

/* What the log says is there at the end. */
static void replay(const stand *s, int64_t *out_numbers) {
    merle_changes *changes;
    merle_change got[64];
    size_t count;
    for (int i = 0; i < 2 * WRITERS * WRITER_KEYS; i++) out_numbers[i] = -1;
    must(s, merle_changes_open(s->db, NULL, &changes));
    do {
        must(s, merle_changes_next(changes, got, 64, &count));
        for (size_t i = 0; i < count; i++) {
            if (got[i].kind == MERLE_CHANGE_TRUNCATE)
                for (int k = 0; k < 2 * WRITERS * WRITER_KEYS; k++) out_numbers[k] = -1;
            if (got[i].kind != MERLE_CHANGE_PUT) continue;
            const uint8_t *key = got[i].key.data;
            out_numbers[key[7]] = merle_doc_int(got[i].after, "n", -2);
        }
    } while (count > 0);
    merle_changes_close(changes);
}

static void writers_racing_with_truncate_agree_with_the_log(void **state) {
    (void)state;
    stand s;
    pthread_t threads[WRITERS];
    writer writers[WRITERS];
    _Atomic int running = WRITERS;
    int64_t logged[2 * WRITERS * WRITER_KEYS];
    int truncates = 0;
    writing_open_plain(&s);
    for (uint64_t i = 0; i < WRITERS; i++) {
        writers[i] = (writer){&s, i, &running, MERLE_OK};
        assert_int_equal(pthread_create(&threads[i], NULL, write_pairs, &writers[i]), 0);
    }
    while (atomic_load(&running) > 0 || truncates < TRUNCATES) {
        if (truncates++ < 5 * TRUNCATES) must(&s, merle_collection_truncate(s.players, NULL));
        assert_pairs_are_whole(&s);
        (void)merle_step(s.db, 0, 0);
        if (atomic_load(&running) == 0) break;
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(writers[i].err, MERLE_OK);
    }
    assert_pairs_are_whole(&s);
    replay(&s, logged);
    merle_section section;
    merle_key key;
    must(&s, merle_section_begin(s.db, &section));
    for (uint64_t i = 0; i < 2 * WRITERS * WRITER_KEYS; i++) {
        merle_doc doc;
        merle_err err = merle_get(&section, s.players, merle_key_u64(&key, i), &doc);
        assert_int_equal(err == MERLE_OK ? merle_doc_int(doc, "n", -3) : -1, logged[i]);
    }
    must(&s, merle_section_end(&section));
    writing_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_again_gives_the_same),
        cmocka_unit_test(open_with_another_schema_tells_the_difference),
        cmocka_unit_test(wrong_schema_makes_no_collection),
        cmocka_unit_test(names_have_limits),
        cmocka_unit_test(each_lists_what_exists),
        cmocka_unit_test(describe_reuses_the_buffer),
        cmocka_unit_test(truncate_is_one_instant),
        cmocka_unit_test(truncated_memory_comes_back_by_steps),
        cmocka_unit_test(truncate_is_one_record),
        cmocka_unit_test(commit_over_a_truncate_writes_into_the_empty_collection),
        cmocka_unit_test(commit_over_a_drop_is_gone),
        cmocka_unit_test(dropped_collection_is_gone_but_for_old_sections),
        cmocka_unit_test(made_again_under_its_name_it_is_another_one),
        cmocka_unit_test(collections_made_and_dropped_give_memory_back),
        cmocka_unit_test(ids_of_many_threads_are_given_once),
        cmocka_unit_test(writers_racing_with_truncate_agree_with_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
