/* tests/unit/store/section_test.c - sections: one instant each, however long.
 *
 * Aim     A section sees what was committed when it began and nothing else, by key, many keys,
 *         unique value, scan and count; sections nest and overlap; a scan gives each document of
 *         its instant once while others write; keys and documents of every legal size are found.
 * Method  Sections are opened between random commits and compared, at random later moments, with a
 *         copy of the plain array that the commits also went to. Threads: each document carries a
 *         sum over itself.
 * Blind   What sections keep in memory, and for how long: reclaim_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "writing.h"

#include <pthread.h>
#include <stdatomic.h>

enum { KEYS = 40, OPEN = 8, ROUNDS = 3000 };

static uint64_t seed;

/* ---- random commits, and old instants ---- */

typedef struct instant {
    int numbers[KEYS]; /* 0: no document */
    merle_section section;
    int is_open;
} instant;

static const char *key_text(int number) {
    static char text[16];
    (void)snprintf(text, sizeof text, "key%d", number);
    return text;
}

static void commit_some(const stand *s, mrl_random *random, int *numbers) {
    char json[64];
    merle_commit *commit = begin(s);
    for (int count = (int)mrl_random_below(random, 4); count >= 0; count--) {
        int at = (int)mrl_random_below(random, KEYS), n = 1 + (int)mrl_random_below(random, 1000);
        if (mrl_random_below(random, 3) == 0) {
            if (numbers[at] == 0) continue;
            must(s, merle_remove(commit, s->players, merle_str(key_text(at))));
            numbers[at] = 0;
        } else {
            /* Each key has values of its own: at + KEYS * n. */
            (void)snprintf(json, sizeof json, "{\"email\":%d,\"n\":%d}", at + KEYS * n, n);
            put_in(s, commit, key_text(at), json);
            numbers[at] = n;
        }
    }
    (void)end(s, commit);
}

static void compare_keys(const stand *s, instant *i) {
    char names[KEYS][16];
    merle_bytes keys[KEYS];
    merle_doc docs[KEYS], doc;
    size_t found, wanted = 0;
    for (int k = 0; k < KEYS; k++) {
        (void)snprintf(names[k], sizeof names[k], "key%d", k);
        keys[k] = merle_str(names[k]);
    }
    must(s, merle_get_many(&i->section, s->players, keys, KEYS, docs, &found));
    for (int k = 0; k < KEYS; k++) {
        int n = i->numbers[k];
        wanted += n != 0;
        merle_err err = merle_get(&i->section, s->players, keys[k], &doc);
        assert_int_equal(err, n == 0 ? MERLE_NOT_FOUND : MERLE_OK);
        assert_ptr_equal(doc.data, docs[k].data);
        assert_int_equal(merle_exists(&i->section, s->players, keys[k]), err);
        if (n == 0) continue;
        assert_int_equal(merle_doc_int(doc, "n", 0), n);
        assert_true(doc.seq <= merle_section_seq(&i->section));
        assert_holder(&i->section, s->players, "email", merle_value_int(k + KEYS * n), names[k]);
    }
    assert_int_equal(found, wanted);
    assert_int_equal(count_of(&i->section, s->players), wanted);
}

static void compare_scan(const stand *s, instant *i, size_t room) {
    int seen[KEYS] = {0};
    merle_doc docs[KEYS];
    merle_scan scan = {0};
    size_t count;
    merle_err err;
    while ((err = merle_scan_next(&i->section, s->players, &scan, docs, room, &count)) ==
           MERLE_OK) {
        assert_in_range(count, 1, room);
        for (size_t d = 0; d < count; d++) {
            int k = atoi((const char *)merle_doc_key(docs[d]).data + 3);
            assert_in_range(k, 0, KEYS - 1);
            assert_int_equal(seen[k]++, 0);
            assert_int_equal(merle_doc_int(docs[d], "n", 0), i->numbers[k]);
        }
    }
    assert_int_equal(err, MERLE_NOT_FOUND);
    for (int k = 0; k < KEYS; k++) assert_int_equal(seen[k], i->numbers[k] != 0);
}

static void sections_see_their_own_instant(void **state) {
    (void)state;
    static instant open[OPEN];
    int numbers[KEYS] = {0};
    stand s;
    mrl_random random;
    writing_open_plain(&s);
    mrl_random_init(&random, seed);
    memset(open, 0, sizeof open);
    for (int round = 0; round < ROUNDS; round++) {
        instant *i = &open[mrl_random_below(&random, OPEN)];
        commit_some(&s, &random, numbers);
        if (i->is_open) {
            compare_keys(&s, i);
            compare_scan(&s, i, 1 + (size_t)mrl_random_below(&random, KEYS));
            if (mrl_random_below(&random, 2) == 0) continue;
            must(&s, merle_section_end(&i->section));
            i->is_open = 0;
        } else {
            must(&s, merle_section_begin(s.db, &i->section));
            memcpy(i->numbers, numbers, sizeof numbers);
            i->is_open = 1;
            compare_keys(&s, i);
        }
        if (round % 64 == 0) (void)merle_step(s.db, 0, 0);
        if (round % 512 == 0) must(&s, merle_check(s.db, &s.report));
    }
    for (int i = 0; i < OPEN; i++)
        if (open[i].is_open) must(&s, merle_section_end(&open[i].section));
    assert_int_equal(stats_of(&s).sections_open, 0);
    writing_close(&s);
}

static void sections_nest_deeper_than_they_are_told_apart(void **state) {
    (void)state;
    enum { DEEP = 3 * MRL_SECTION_DEPTH_MAX };
    stand s;
    merle_section sections[DEEP];
    char json[32];
    writing_open_plain(&s);
    for (int i = 0; i < DEEP; i++) {
        (void)snprintf(json, sizeof json, "{\"n\":%d}", i);
        (void)put_json(&s, "a", json);
        must(&s, merle_section_begin(s.db, &sections[i]));
    }
    assert_int_equal(stats_of(&s).sections_open, DEEP);
    stand_settle(&s);
    /* The outer ones end first: the inner ones go on. */
    for (int i = 0; i < DEEP; i++) {
        for (int j = i; j < DEEP; j++) {
            (void)snprintf(json, sizeof json, "{\"n\":%d}", j);
            assert_sees(&sections[j], s.players, "a", json);
        }
        must(&s, merle_section_end(&sections[i]));
        stand_settle(&s);
    }
    assert_int_equal(stats_of(&s).sections_open, 0);
    writing_close(&s);
}

/* ---- misuse ---- */

static void section_after_its_end_is_refused(void **state) {
    (void)state;
    stand s;
    merle_doc doc;
    merle_section section;
    size_t count = 7;
    uint64_t number = 7;
    merle_scan scan = {0};
    merle_bytes key = merle_str("a");
    writing_open_plain(&s);
    memset(&section, 0x5a, sizeof section);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(merle_get(&section, s.players, key, &doc), MERLE_INVALID);
        assert_null(doc.data);
        assert_int_equal(merle_get_many(&section, s.players, &key, 1, &doc, &count), MERLE_INVALID);
        assert_int_equal(count, 0);
        assert_int_equal(merle_get_by(&section, s.players, "email", &doc, merle_value_int(1)),
                         MERLE_INVALID);
        assert_int_equal(merle_scan_next(&section, s.players, &scan, &doc, 1, &count),
                         MERLE_INVALID);
        assert_int_equal(merle_count(&section, s.players, &number), MERLE_INVALID);
        assert_int_equal(number, 0);
        assert_int_equal(merle_section_end(&section), MERLE_INVALID);
        if (round > 0) break;
        must(&s, merle_section_begin(s.db, &section));
        must(&s, merle_section_end(&section));
    }
    assert_int_equal(merle_section_begin(NULL, &section), MERLE_INVALID);
    writing_close(&s);
}

typedef struct stranger {
    const stand *s;
    merle_section *section;
    merle_err errs[6];
    int has_own; /* it has used the database before */
} stranger;

static void *use_strangely(void *context) {
    stranger *who = context;
    merle_collection *players = who->s->players;
    merle_bytes key = merle_str("a");
    merle_doc doc;
    merle_scan scan = {0};
    size_t count;
    uint64_t number;
    if (who->has_own) (void)merle_count_estimate(players);
    who->errs[0] = merle_get(who->section, players, key, &doc);
    who->errs[1] = merle_get_many(who->section, players, &key, 1, &doc, &count);
    who->errs[2] = merle_get_by(who->section, players, "email", &doc, merle_value_int(1));
    who->errs[3] = merle_scan_next(who->section, players, &scan, &doc, 1, &count);
    who->errs[4] = merle_count(who->section, players, &number);
    who->errs[5] = merle_section_end(who->section);
    return NULL;
}

static void section_in_another_thread_is_refused(void **state) {
    (void)state;
    stand s;
    pthread_t thread;
    merle_section section;
    writing_open_plain(&s);
    (void)put_json(&s, "a", "{}");
    must(&s, merle_section_begin(s.db, &section));
    for (int has_own = 0; has_own < 2; has_own++) {
        stranger who = {&s, &section, {0}, has_own};
        assert_int_equal(pthread_create(&thread, NULL, use_strangely, &who), 0);
        pthread_join(thread, NULL);
        for (int i = 0; i < 6; i++) assert_int_equal(who.errs[i], MERLE_WRONG_THREAD);
    }
    assert_sees(&section, s.players, "a", "{}");
    must(&s, merle_section_end(&section));
    writing_close(&s);
}

static void collection_of_another_database_is_refused(void **state) {
    (void)state;
    stand s, other;
    merle_section section;
    merle_doc doc;
    writing_open_plain(&s);
    writing_open_plain(&other);
    must(&s, merle_section_begin(s.db, &section));
    assert_int_equal(merle_get(&section, other.players, merle_str("a"), &doc), MERLE_INVALID);
    assert_int_equal(merle_get(&section, NULL, merle_str("a"), &doc), MERLE_INVALID);
    must(&s, merle_section_end(&section));
    writing_close(&other);
    writing_close(&s);
}

static void collection_made_later_is_not_found(void **state) {
    (void)state;
    stand s;
    merle_section section;
    merle_collection *later;
    writing_open_plain(&s);
    must(&s, merle_section_begin(s.db, &section));
    must(&s, merle_collection_open(s.db, "later", NULL, &later));
    merle_buffer doc = doc_of("{}");
    must(&s, merle_one_put(later, merle_str("a"), bytes_of(&doc), NULL));
    merle_buffer_free(&doc);
    assert_sees(&section, later, "a", NULL);
    must(&s, merle_section_end(&section));
    writing_close(&s);
}

/* ---- many at once ---- */

static void get_many_gives_each_where_it_was_asked(void **state) {
    (void)state;
    enum { MANY = 100 };
    stand s;
    merle_key keys[MANY];
    merle_bytes asked[MANY];
    merle_doc docs[MANY];
    merle_section section;
    size_t found;
    writing_open_plain(&s);
    for (uint64_t i = 0; i < MANY; i++) {
        char json[32];
        asked[i] = merle_key_u64(&keys[i], i / 2); /* every key twice */
        (void)snprintf(json, sizeof json, "{\"n\":%d}", (int)i / 2);
        merle_buffer doc = doc_of(json);
        if (i / 2 % 3 != 0) must(&s, merle_one_put(s.players, asked[i], bytes_of(&doc), NULL));
        merle_buffer_free(&doc);
    }
    must(&s, merle_section_begin(s.db, &section));
    for (size_t count = 0; count <= MANY; count++) {
        size_t wanted = 0;
        memset(docs, 0x5a, sizeof docs);
        must(&s, merle_get_many(&section, s.players, asked, count, docs, &found));
        for (size_t i = 0; i < count; i++) {
            wanted += i / 2 % 3 != 0;
            assert_int_equal(docs[i].data != NULL, i / 2 % 3 != 0);
            if (docs[i].data != NULL) assert_int_equal(merle_doc_int(docs[i], "n", -1), i / 2);
        }
        assert_int_equal(found, wanted);
    }
    must(&s, merle_get_many(&section, s.players, asked, MANY, docs, NULL));
    asked[MANY - 1] = merle_bytes_of(NULL, 0);
    assert_int_equal(merle_get_many(&section, s.players, asked, MANY, docs, &found), MERLE_INVALID);
    assert_int_equal(found, 0);
    must(&s, merle_section_end(&section));
    writing_close(&s);
}

/* ---- sizes ---- */

static void keys_of_every_legal_size_are_found(void **state) {
    (void)state;
    static uint8_t bytes[MERLE_KEY_SIZE_MAX + 1];
    stand s;
    merle_doc doc;
    merle_section section;
    merle_buffer empty = doc_of("{}");
    writing_open_plain(&s);
    /* All of one byte, so that each is the beginning of the longer ones. */
    for (size_t size = 1; size <= MERLE_KEY_SIZE_MAX; size++)
        must(&s, merle_one_put(s.players, merle_bytes_of(bytes, size), bytes_of(&empty), NULL));
    must(&s, merle_section_begin(s.db, &section));
    for (size_t size = 1; size <= MERLE_KEY_SIZE_MAX; size++) {
        must(&s, merle_get(&section, s.players, merle_bytes_of(bytes, size), &doc));
        assert_int_equal(merle_doc_key(doc).size, size);
    }
    assert_int_equal(count_of(&section, s.players), MERLE_KEY_SIZE_MAX);
    assert_int_equal(merle_get(&section, s.players, merle_bytes_of(bytes, 0), &doc), MERLE_INVALID);
    assert_int_equal(merle_get(&section, s.players, merle_bytes_of(NULL, 0), &doc), MERLE_INVALID);
    assert_int_equal(merle_get(&section, s.players, merle_bytes_of(bytes, sizeof bytes), &doc),
                     MERLE_INVALID);
    assert_int_equal(
        merle_one_put(s.players, merle_bytes_of(bytes, sizeof bytes), bytes_of(&empty), NULL),
        MERLE_INVALID);
    assert_int_equal(merle_one_put(s.players, merle_bytes_of(bytes, 0), bytes_of(&empty), NULL),
                     MERLE_INVALID);
    must(&s, merle_section_end(&section));
    merle_buffer_free(&empty);
    writing_close(&s);
}

/* {"b": size bytes of binary, "email": the size}: the indexed field lies behind all of it. */
static merle_bytes sized_document(merle_builder *b, const uint8_t *filler, size_t size) {
    merle_bytes bytes;
    merle_build_begin(b);
    merle_build_bin(b, "b", merle_bytes_of(filler, size));
    merle_build_int(b, "email", (int64_t)size);
    assert_int_equal(merle_build_end(b, &bytes), MERLE_OK);
    return bytes;
}

static void documents_of_many_sizes_are_whole(void **state) {
    (void)state;
    static const size_t sizes[] = {0,     1,     255,   256,   65500,   65519,
                                   65520, 65521, 65535, 65536, 1 << 20, (16 << 20) - 64};
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    stand s;
    merle_builder *b;
    merle_key key;
    merle_section section;
    merle_doc doc;
    merle_value value;
    uint8_t *filler = malloc(16 << 20);
    assert_non_null(filler);
    for (size_t i = 0; i < 16 << 20; i++) filler[i] = (uint8_t)(i * 2654435761u >> 11);
    writing_open_plain(&s);
    must(&s, merle_builder_create(&b));
    for (int i = 0; i < COUNT; i++)
        must(&s, merle_one_put(s.players, merle_key_u64(&key, sizes[i]),
                               sized_document(b, filler, sizes[i]), NULL));
    must(&s, merle_section_begin(s.db, &section));
    for (int i = 0; i < COUNT; i++) {
        must(&s, merle_get(&section, s.players, merle_key_u64(&key, sizes[i]), &doc));
        must(&s, merle_doc_value(doc, "b", &value));
        assert_int_equal(value.bytes.size, sizes[i]);
        if (sizes[i] > 0) assert_int_equal(memcmp(value.bytes.data, filler, sizes[i]), 0);
        merle_doc same;
        must(&s,
             merle_get_by(&section, s.players, "email", &same, merle_value_int((int64_t)sizes[i])));
        assert_ptr_equal(same.data, doc.data);
    }
    must(&s, merle_section_end(&section));
    merle_builder_destroy(b);
    free(filler);
    writing_close(&s);
}

/* ---- while others write ---- */

enum { DOCUMENTS = 300, SUM = 1000, WRITERS = 2, SCANS = 150 };

typedef struct writer {
    stand *s;
    _Atomic int *stop;
    int failed;
    uint64_t seed;
} writer;

/* Moves gold from one to another, removes and puts back a key of its own. */
static void *move_gold(void *context) {
    writer *w = context;
    mrl_random random;
    mrl_random_init(&random, w->seed);
    while (!atomic_load(w->stop)) {
        merle_key a, b, own;
        merle_commit *commit;
        uint64_t from = mrl_random_below(&random, DOCUMENTS),
                 to = mrl_random_below(&random, DOCUMENTS);
        int64_t gold = (int64_t)mrl_random_below(&random, 10);
        if (from == to) continue;
        if (merle_begin(w->s->db, &commit) != MERLE_OK) w->failed = 1;
        if (merle_patch(commit, w->s->players, merle_key_u64(&a, from), MERLE_INC("gold", -gold)) ||
            merle_patch(commit, w->s->players, merle_key_u64(&b, to), MERLE_INC("gold", gold)) ||
            merle_end(commit, NULL) != MERLE_OK)
            w->failed = 1;
        merle_bytes key = merle_key_u64(&own, DOCUMENTS + w->seed);
        (void)merle_one_remove(w->s->players, key, NULL);
        if (merle_one_put(w->s->players, key, merle_bytes_of("\x80", 1), NULL) != MERLE_OK)
            w->failed = 1;
    }
    return NULL;
}

/* Each document once, in the order of slots, and the sum that no commit changes. */
static void scan_once(const stand *s, size_t room) {
    merle_doc docs[64];
    uint8_t seen[DOCUMENTS + WRITERS] = {0};
    merle_section section;
    merle_scan scan = {0};
    int64_t sum = 0;
    size_t count, all = 0;
    merle_err err;
    must(s, merle_section_begin(s->db, &section));
    while ((err = merle_scan_next(&section, s->players, &scan, docs, room, &count)) == MERLE_OK)
        for (size_t i = 0; i < count; i++) {
            const uint8_t *key = merle_doc_key(docs[i]).data;
            unsigned number = (unsigned)key[6] << 8 | key[7];
            assert_true(number < DOCUMENTS + WRITERS);
            assert_int_equal(seen[number]++, 0);
            assert_true(docs[i].seq <= merle_section_seq(&section));
            sum += merle_doc_int(docs[i], "gold", 0);
            all++;
        }
    assert_int_equal(err, MERLE_NOT_FOUND);
    assert_int_equal(sum, DOCUMENTS * SUM);
    for (int i = 0; i < DOCUMENTS; i++) assert_int_equal(seen[i], 1);
    assert_int_equal(count_of(&section, s->players), all);
    must(s, merle_section_end(&section));
}

static void scan_beside_writers_gives_each_once(void **state) {
    (void)state;
    stand s;
    pthread_t threads[WRITERS];
    writer writers[WRITERS];
    _Atomic int stop = 0;
    merle_key key;
    writing_open_plain(&s);
    merle_buffer doc = doc_of("{\"gold\":1000}");
    for (uint64_t i = 0; i < DOCUMENTS; i++)
        must(&s, merle_one_put(s.players, merle_key_u64(&key, i), bytes_of(&doc), NULL));
    merle_buffer_free(&doc);
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (writer){&s, &stop, 0, (uint64_t)i};
        assert_int_equal(pthread_create(&threads[i], NULL, move_gold, &writers[i]), 0);
    }
    for (int i = 0; i < SCANS; i++) scan_once(&s, 1 + (size_t)i % 64);
    atomic_store(&stop, 1);
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(writers[i].failed, 0);
    }
    writing_close(&s);
}

static void scan_with_no_room_stays_where_it_is(void **state) {
    (void)state;
    stand s;
    merle_section section;
    merle_scan scan = {0};
    merle_doc doc;
    size_t count = 7;
    writing_open_plain(&s);
    (void)put_json(&s, "a", "{}");
    must(&s, merle_section_begin(s.db, &section));
    must(&s, merle_scan_next(&section, s.players, &scan, &doc, 0, &count));
    assert_int_equal(count, 0);
    must(&s, merle_scan_next(&section, s.players, &scan, &doc, 1, &count));
    assert_int_equal(count, 1);
    assert_int_equal(merle_scan_next(&section, s.players, &scan, &doc, 1, &count), MERLE_NOT_FOUND);
    assert_int_equal(merle_scan_next(&section, s.players, &scan, &doc, 1, &count), MERLE_NOT_FOUND);
    scan.position = UINT64_MAX;
    assert_int_equal(merle_scan_next(&section, s.players, &scan, &doc, 1, &count), MERLE_NOT_FOUND);
    must(&s, merle_section_end(&section));
    assert_int_equal(merle_count_estimate(s.players), 1);
    writing_close(&s);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_see_their_own_instant),
        cmocka_unit_test(sections_nest_deeper_than_they_are_told_apart),
        cmocka_unit_test(section_after_its_end_is_refused),
        cmocka_unit_test(section_in_another_thread_is_refused),
        cmocka_unit_test(collection_of_another_database_is_refused),
        cmocka_unit_test(collection_made_later_is_not_found),
        cmocka_unit_test(get_many_gives_each_where_it_was_asked),
        cmocka_unit_test(keys_of_every_legal_size_are_found),
        cmocka_unit_test(documents_of_many_sizes_are_whole),
        cmocka_unit_test(scan_beside_writers_gives_each_once),
        cmocka_unit_test(scan_with_no_room_stays_where_it_is),
    };
    seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
