/* tests/unit/store/own_test.c - a commit's own writes, in everything that reads in its section.
 *
 * Aim     Each call sees what the commit has put, patched, removed and put again, in its place;
 *         what cannot be carried out is told by those who look at it; what was given stays; memory
 *         that is refused leaves commit and cursors as they were; a kept view does not change.
 * Method  A few documents written by hand, each answer compared key by key.
 * Blind   Long rows of operations and reads at random: model/own_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/own.h"
#include "writing.h"

static const merle_index own_indexes[] = {
    {.name = "email", .kind = MERLE_UNIQUE, .on = "email"},
    {.name = "rank", .kind = MERLE_ORDERED, .on = "guild, -score"},
    {.name = "tags", .kind = MERLE_TAGS, .on = "tags"},
    {.name = NULL},
};

static void open_players(stand *s, const mrl_environment *environment) {
    const merle_schema schema = {.version = 1, .indexes = own_indexes};
    writing_open(s, &schema, (merle_options){0}, environment);
    (void)put_json(s, "a",
                   "{\"guild\":\"g\",\"score\":10,\"tags\":[\"x\",\"y\"],\"email\":\"a@\"}");
    (void)put_json(s, "b", "{\"guild\":\"g\",\"score\":20,\"tags\":[\"x\"]}");
    (void)put_json(s, "c", "{\"guild\":\"g\",\"score\":30,\"email\":\"c@\"}");
    (void)put_json(s, "d", "{\"guild\":\"g\",\"score\":40,\"tags\":\"x\"}");
}

/* ---- what is read, one letter a document ---- */

static const char *letters(const merle_doc *docs, size_t count) {
    static char text[64];
    for (size_t i = 0; i < count; i++) text[i] = *(const char *)merle_doc_key(docs[i]).data;
    text[count] = 0;
    return text;
}

static const char *scanned(merle_section *section, const stand *s) {
    merle_scan scan = {0};
    merle_doc docs[64];
    size_t met = 0, count;
    while (merle_scan_next(section, s->players, &scan, docs + met, 1, &count) == MERLE_OK)
        met += count;
    assert_int_equal(count_of(section, s->players), met);
    return letters(docs, met);
}

static const char *tagged(merle_section *section, const stand *s, const char *tag) {
    merle_scan scan = {0};
    merle_doc docs[64];
    size_t met = 0, count;
    uint64_t counted;
    merle_value value = merle_value_str(tag);
    while (merle_tag_next(section, s->players, "tags", value, &scan, docs + met, 2, &count) ==
           MERLE_OK)
        met += count;
    must(s, merle_tag_count(section, s->players, "tags", value, &counted));
    assert_int_equal(counted, met);
    return letters(docs, met);
}

/* A range in steps of two; counts, ranks and places must say the same. */
static const char *ranged(merle_section *section, const stand *s, merle_range range) {
    merle_cursor *cursor;
    merle_doc docs[64], doc;
    size_t met = 0, count;
    uint64_t number;
    must(s, merle_range_open(s->players, &range, &cursor));
    while (merle_cursor_next(section, cursor, docs + met, 2, &count) == MERLE_OK) met += count;
    merle_cursor_close(cursor);
    must(s, merle_range_count(section, s->players, &range, &number));
    assert_int_equal(number, met);
    for (size_t i = 0; i < met; i++) {
        must(s, merle_range_rank(section, s->players, &range, merle_doc_key(docs[i]), &number));
        assert_int_equal(number, i);
        must(s, merle_range_nth(section, s->players, &range, i, &doc));
        assert_ptr_equal(doc.data, docs[i].data);
    }
    assert_int_equal(merle_range_nth(section, s->players, &range, met, &doc), MERLE_NOT_FOUND);
    return letters(docs, met);
}

static const merle_range all_ranks = {.index = "rank"};
static const merle_range all_ranks_back = {.index = "rank", .backwards = 1};

static void set_score(const stand *s, merle_commit *commit, const char *key, int64_t score) {
    must(s, merle_patch(commit, s->players, KEY(key), MERLE_SET_INT("score", score)));
}

/* ---- cases ---- */

static void ranges_have_own_documents_in_their_place(void **state) {
    (void)state;
    stand s;
    open_players(&s, NULL);
    merle_value low[] = {merle_value_str("g"), merle_value_int(25)};
    merle_range upper = {.index = "rank", .to = {MERLE_CLOSED, low, 2}};
    merle_commit *commit = begin(&s);
    merle_section *section = merle_commit_section(commit);
    assert_string_equal(ranged(section, &s, all_ranks), "dcba");
    set_score(&s, commit, "a", 35);
    assert_string_equal(ranged(section, &s, all_ranks), "dacb");
    assert_string_equal(ranged(section, &s, all_ranks_back), "bcad");
    assert_string_equal(ranged(section, &s, upper), "dac");
    /* Out of the range, and without its field. */
    set_score(&s, commit, "d", 1);
    must(&s, merle_patch(commit, s.players, KEY("c"), MERLE_UNSET("guild")));
    assert_string_equal(ranged(section, &s, upper), "a");
    assert_string_equal(ranged(section, &s, all_ranks), "abd");
    /* New ones, of which the last one made comes first; equal ones by slot, new ones behind. */
    put_in(&s, commit, "n", "{\"guild\":\"g\",\"score\":20}");
    put_in(&s, commit, "m", "{\"guild\":\"g\",\"score\":20}");
    put_in(&s, commit, "k", "{\"guild\":\"g\",\"score\":50}");
    assert_string_equal(ranged(section, &s, all_ranks), "kabnmd");
    assert_string_equal(ranged(section, &s, all_ranks_back), "dmnbak");
    /* Taken back as it was, removed, and put again after a removal. */
    set_score(&s, commit, "a", 10);
    must(&s, merle_remove(commit, s.players, KEY("n")));
    must(&s, merle_remove(commit, s.players, KEY("b")));
    assert_string_equal(ranged(section, &s, all_ranks), "kmad");
    put_in(&s, commit, "b", "{\"guild\":\"g\",\"score\":60}");
    put_in(&s, commit, "n", "{\"guild\":\"g\",\"score\":20}");
    assert_string_equal(ranged(section, &s, all_ranks), "bknmad");
    assert_string_equal(ranged(section, &s, all_ranks_back), "damnkb");
    (void)end(&s, commit);
    merle_section after;
    must(&s, merle_section_begin(s.db, &after));
    assert_int_equal(strlen(ranged(&after, &s, all_ranks)), 6);
    must(&s, merle_section_end(&after));
    writing_close(&s);
}

static void keys_values_scans_and_tags_have_own_documents(void **state) {
    (void)state;
    stand s;
    open_players(&s, NULL);
    merle_doc docs[3];
    size_t found;
    const merle_bytes keys[] = {KEY("a"), KEY("b"), KEY("n")};
    merle_commit *commit = begin(&s);
    merle_section *section = merle_commit_section(commit), plain;
    must(&s, merle_remove(commit, s.players, KEY("b")));
    must(&s, merle_patch(commit, s.players, KEY("a"), MERLE_SET_STR("email", "new@"),
                         MERLE_UNSET("tags")));
    put_in(&s, commit, "n", "{\"email\":\"a@\",\"tags\":[\"x\",\"z\"]}");
    must(&s, merle_patch(commit, s.players, KEY("c"), MERLE_SET_STR("tags", "x")));
    assert_string_equal(scanned(section, &s), "acdn");
    assert_string_equal(tagged(section, &s, "x"), "cdn");
    assert_string_equal(tagged(section, &s, "y"), "");
    assert_string_equal(tagged(section, &s, "z"), "n");
    assert_holder(section, s.players, "email", EMAIL("a@"), "n");
    assert_holder(section, s.players, "email", EMAIL("new@"), "a");
    assert_holder(section, s.players, "email", EMAIL("c@"), "c");
    assert_holder(section, s.players, "email", EMAIL("none@"), NULL);
    must(&s, merle_get_many(section, s.players, keys, 3, docs, &found));
    assert_int_equal(found, 2);
    assert_null(docs[1].data);
    assert_int_equal(docs[2].seq, 0);
    assert_int_equal(merle_exists(section, s.players, KEY("b")), MERLE_NOT_FOUND);
    must(&s, merle_exists(section, s.players, KEY("n")));
    /* A section of the same thread beside it is without them. */
    must(&s, merle_section_begin(s.db, &plain));
    assert_string_equal(scanned(&plain, &s), "abcd");
    assert_string_equal(tagged(&plain, &s, "x"), "abd");
    assert_holder(&plain, s.players, "email", EMAIL("a@"), "a");
    must(&s, merle_section_end(&plain));
    merle_cancel(commit);
    writing_close(&s);
}

static void what_was_given_stays_until_the_commit_is_over(void **state) {
    (void)state;
    stand s;
    open_players(&s, NULL);
    merle_doc docs[4];
    merle_commit *commit = begin(&s);
    merle_section *section = merle_commit_section(commit);
    put_in(&s, commit, "n", "{\"score\":1}");
    for (int i = 0; i < 4; i++) {
        must(&s, merle_patch(commit, s.players, KEY("n"), MERLE_INC("score", 1)));
        if (i % 2 == 0) must(&s, merle_get(section, s.players, KEY("n"), &docs[i]));
        if (i % 2 != 0) must(&s, merle_commit_get(commit, s.players, KEY("n"), &docs[i]));
    }
    merle_doc again;
    must(&s, merle_commit_get(commit, s.players, KEY("n"), &again));
    assert_ptr_equal(again.data, docs[3].data);
    for (int i = 0; i < 4; i++) assert_int_equal(merle_doc_int(docs[i], "score", 0), 2 + i);
    (void)end(&s, commit);
    writing_close(&s);
}

static void reads_through_the_section_bind_nobody(void **state) {
    (void)state;
    stand s;
    open_players(&s, NULL);
    merle_doc doc;
    merle_commit *commit = begin(&s), *other = begin(&s);
    must(&s, merle_patch(commit, s.players, KEY("a"), MERLE_INC("score", 1)));
    must(&s, merle_get(merle_commit_section(commit), s.players, KEY("a"), &doc));
    assert_int_equal(merle_doc_int(doc, "score", 0), 11);
    assert_string_equal(ranged(merle_commit_section(commit), &s, all_ranks), "dcba");
    must(&s, merle_patch(other, s.players, KEY("a"), MERLE_INC("score", 100)));
    (void)end(&s, other);
    (void)end(&s, commit);
    assert_there(&s, "a",
                 "{\"guild\":\"g\",\"score\":111,\"tags\":[\"x\",\"y\"],\"email\":\"a@\"}");
    /* Read by merle_commit_get as well, it does bind. */
    commit = begin(&s);
    must(&s, merle_patch(commit, s.players, KEY("a"), MERLE_INC("score", 1)));
    assert_string_equal(scanned(merle_commit_section(commit), &s), "abcd");
    must(&s, merle_commit_get(commit, s.players, KEY("a"), &doc));
    (void)put_json(&s, "a", "{\"score\":1}");
    end_refused(&s, commit, MERLE_CONFLICT);
    writing_close(&s);
}

static void what_cannot_be_carried_out_is_told(void **state) {
    (void)state;
    stand s;
    open_players(&s, NULL);
    merle_doc docs[4];
    merle_scan scan = {0};
    merle_cursor *cursor;
    size_t count = 7;
    uint64_t number = 7;
    const merle_bytes keys[] = {KEY("a"), KEY("none")};
    must(&s, merle_range_open(s.players, &all_ranks, &cursor));
    merle_commit *commit = begin(&s);
    merle_section *section = merle_commit_section(commit);
    must(&s, write_json(commit, s.players, merle_insert, "a", "{}"));
    assert_int_equal(merle_get(section, s.players, KEY("a"), docs), MERLE_EXISTS);
    assert_told(&s, MERLE_EXISTS, 0, "a", "");
    assert_null(docs[0].data);
    must(&s, merle_get(section, s.players, KEY("b"), docs));
    assert_int_equal(merle_get_many(section, s.players, keys, 2, docs, &count), MERLE_EXISTS);
    assert_int_equal(count, 0);
    assert_int_equal(merle_cursor_next(section, cursor, docs, 4, &count), MERLE_EXISTS);
    assert_int_equal(count, 0);
    assert_int_equal(merle_scan_next(section, s.players, &scan, docs, 4, &count), MERLE_EXISTS);
    assert_int_equal(merle_count(section, s.players, &number), MERLE_EXISTS);
    assert_int_equal(number, 0);
    assert_int_equal(merle_range_count(section, s.players, &all_ranks, &number), MERLE_EXISTS);
    assert_int_equal(merle_tag_count(section, s.players, "tags", merle_value_str("x"), &number),
                     MERLE_EXISTS);
    assert_int_equal(merle_get_by(section, s.players, "email", docs, EMAIL("a@")), MERLE_EXISTS);
    merle_cursor_close(cursor);
    end_refused(&s, commit, MERLE_EXISTS);
    writing_close(&s);
}

static void own_writes_stand_on_the_root_of_the_instant(void **state) {
    (void)state;
    stand s;
    open_players(&s, NULL);
    merle_collection *later;
    merle_doc doc;
    merle_scan scan = {0};
    size_t count;
    merle_commit *commit = begin(&s);
    merle_section *section = merle_commit_section(commit);
    must(&s, merle_collection_truncate(s.players, NULL));
    put_in(&s, commit, "n", "{\"guild\":\"g\",\"score\":15,\"tags\":[\"x\"]}");
    must(&s, merle_remove(commit, s.players, KEY("b")));
    set_score(&s, commit, "c", 5);
    assert_string_equal(scanned(section, &s), "acdn");
    assert_string_equal(ranged(section, &s, all_ranks), "dnac");
    assert_string_equal(tagged(section, &s, "x"), "adn");
    /* A collection that is younger than the instant. */
    must(&s, merle_collection_open(s.db, "later", NULL, &later));
    assert_int_equal(merle_get(section, later, KEY("n"), &doc), MERLE_NOT_FOUND);
    must(&s, write_json(commit, later, merle_put, "n", "{}"));
    assert_int_equal(merle_get(section, later, KEY("n"), &doc), MERLE_CONFLICT);
    assert_int_equal(merle_scan_next(section, later, &scan, &doc, 1, &count), MERLE_CONFLICT);
    merle_cancel(commit);
    writing_close(&s);
}

/* Enough of them that lists grow, in an order that is neither that of keys nor that of values, read
 * after each few. */
static void many_writes_in_turns_with_reads_stay_in_order(void **state) {
    enum { COUNT = 200 };
    (void)state;
    stand s;
    open_players(&s, NULL);
    merle_range all = all_ranks;
    merle_cursor *cursor;
    merle_doc docs[COUNT + 4];
    size_t count;
    merle_commit *commit = begin(&s);
    merle_section *section = merle_commit_section(commit);
    for (int i = 0; i < COUNT; i++) {
        char key[16], json[64];
        (void)snprintf(key, sizeof key, "n%d", i * 37 % COUNT);
        (void)snprintf(json, sizeof json, "{\"guild\":\"g\",\"score\":%d,\"tags\":[\"x\"]}",
                       1000 + i * 73 % COUNT);
        put_in(&s, commit, key, json);
        if (i % 3 == 0) set_score(&s, commit, "b", 1000 + i);
        must(&s, merle_range_open(s.players, &all, &cursor));
        must(&s, merle_cursor_next(section, cursor, docs, COUNT + 4, &count));
        merle_cursor_close(cursor);
        assert_int_equal(count, i + 5);
        for (size_t at = 1; at < count; at++)
            assert_true(merle_doc_int(docs[at - 1], "score", 0) >=
                        merle_doc_int(docs[at], "score", 0));
    }
    uint64_t counted;
    must(&s, merle_tag_count(section, s.players, "tags", merle_value_str("x"), &counted));
    assert_int_equal(counted, COUNT + 3);
    (void)end(&s, commit);
    writing_close(&s);
}

static void cursors_and_scans_go_on_behind_a_write(void **state) {
    (void)state;
    stand s;
    open_players(&s, NULL);
    merle_scan scan = {0}, tags = {0};
    merle_cursor *cursor;
    merle_doc docs[8];
    size_t count;
    merle_value x = merle_value_str("x");
    merle_commit *commit = begin(&s);
    merle_section *section = merle_commit_section(commit);
    must(&s, merle_range_open(s.players, &all_ranks, &cursor));
    must(&s, merle_cursor_next(section, cursor, docs, 2, &count));
    assert_string_equal(letters(docs, count), "dc");
    must(&s, merle_scan_next(section, s.players, &scan, docs, 2, &count));
    must(&s, merle_tag_next(section, s.players, "tags", x, &tags, docs, 2, &count));
    assert_string_equal(letters(docs, count), "ab");
    /* Passed by, changed ahead, and new ahead. */
    set_score(&s, commit, "a", 100);
    set_score(&s, commit, "c", 25);
    put_in(&s, commit, "n", "{\"guild\":\"g\",\"score\":5,\"tags\":[\"x\"]}");
    put_in(&s, commit, "m", "{\"guild\":\"g\",\"score\":5,\"tags\":[\"x\"]}");
    must(&s, merle_cursor_next(section, cursor, docs, 3, &count));
    assert_string_equal(letters(docs, count), "cbn");
    must(&s, merle_scan_next(section, s.players, &scan, docs, 3, &count));
    assert_string_equal(letters(docs, count), "cdn");
    must(&s, merle_tag_next(section, s.players, "tags", x, &tags, docs, 2, &count));
    assert_string_equal(letters(docs, count), "dn");
    must(&s, merle_cursor_next(section, cursor, docs, 3, &count));
    assert_string_equal(letters(docs, count), "m");
    must(&s, merle_scan_next(section, s.players, &scan, docs, 3, &count));
    assert_string_equal(letters(docs, count), "m");
    must(&s, merle_tag_next(section, s.players, "tags", x, &tags, docs, 3, &count));
    assert_string_equal(letters(docs, count), "m");
    assert_int_equal(merle_cursor_next(section, cursor, docs, 3, &count), MERLE_NOT_FOUND);
    assert_int_equal(merle_scan_next(section, s.players, &scan, docs, 3, &count), MERLE_NOT_FOUND);
    assert_int_equal(merle_tag_next(section, s.players, "tags", x, &tags, docs, 3, &count),
                     MERLE_NOT_FOUND);
    merle_cancel(commit);
    /* In a section of its own it goes on at the same place: behind the score of five. */
    (void)put_json(&s, "z", "{\"guild\":\"g\",\"score\":4}");
    merle_section plain;
    must(&s, merle_section_begin(s.db, &plain));
    must(&s, merle_cursor_next(&plain, cursor, docs, 8, &count));
    assert_string_equal(letters(docs, count), "z");
    must(&s, merle_section_end(&plain));
    merle_cursor_close(cursor);
    writing_close(&s);
}

static void a_view_that_is_kept_does_not_change(void **state) {
    (void)state;
    stand s;
    open_players(&s, NULL);
    mrl_view kept, brief;
    mrl_own list[1];
    merle_commit *commit = begin(&s);
    merle_section *section = merle_commit_section(commit);
    set_score(&s, commit, "c", 5);
    must(&s, mrl_view_open(section, s.players, &kept));
    assert_int_equal(kept.own_count, 1);
    mrl_view_keep(&kept, list);
    const mrl_version *after = kept.own[0].after;
    set_score(&s, commit, "c", 6);
    must(&s, merle_remove(commit, s.players, KEY("a")));
    must(&s, mrl_view_open(section, s.players, &brief));
    assert_int_equal(brief.own_count, 2);
    assert_ptr_equal(kept.own[0].after, after);
    assert_int_equal(merle_doc_int(mrl_view_doc(after), "score", 0), 5);
    /* By slot: a was written first. */
    assert_null(brief.own[0].after);
    assert_int_equal(merle_doc_int(mrl_view_doc(brief.own[1].after), "score", 0), 6);
    merle_cancel(commit);
    writing_close(&s);
}

/* ---- memory refused ---- */

/* Each reading call once; MERLE_NO_MEMORY from any of them ends it. */
static merle_err read_all(const stand *s, merle_section *section, merle_cursor *cursor) {
    merle_doc docs[8];
    merle_scan scan = {0}, tags = {0};
    size_t count;
    uint64_t number;
    merle_value x = merle_value_str("x");
    merle_err err = merle_get(section, s->players, KEY("c"), docs);
    if (err == MERLE_OK) err = merle_cursor_next(section, cursor, docs, 8, &count);
    if (err == MERLE_OK) assert_string_equal(letters(docs, count), "dabcn");
    if (err == MERLE_OK) err = merle_range_count(section, s->players, &all_ranks, &number);
    if (err == MERLE_OK) err = merle_get_by(section, s->players, "email", docs, EMAIL("a@"));
    if (err == MERLE_OK) err = merle_tag_count(section, s->players, "tags", x, &number);
    if (err == MERLE_OK)
        err = merle_tag_next(section, s->players, "tags", x, &tags, docs, 8, &count);
    if (err == MERLE_OK) err = merle_scan_next(section, s->players, &scan, docs, 8, &count);
    return err;
}

static uint64_t read_with(void *context, uint64_t grants) {
    static supply memory;
    (void)context;
    supply_init(&memory);
    const mrl_environment environment = {.refusal = &memory.refusal};
    stand s;
    open_players(&s, &environment);
    merle_cursor *cursor;
    char tall[3000] = {0};
    memset(tall, 'q', sizeof tall - 1);
    merle_commit *commit = begin(&s);
    merle_section *section = merle_commit_section(commit);
    must(&s, merle_range_open(s.players, &all_ranks, &cursor));
    put_in(&s, commit, "n", "{\"guild\":\"gg\",\"score\":20,\"tags\":[\"x\"]}");
    set_score(&s, commit, "c", 5);
    set_score(&s, commit, "a", 35);
    /* So large that the commit's memory has to grow for its copies. */
    must(&s, merle_patch(commit, s.players, KEY("d"), MERLE_SET_STR("tags", tall)));
    supply_all_but(&memory, grants);
    merle_err err = read_all(&s, section, cursor);
    uint64_t refused = supply_all(&memory);
    if (err != MERLE_OK) {
        assert_int_equal(err, MERLE_NO_MEMORY);
        merle_cursor_close(cursor);
        must(&s, merle_range_open(s.players, &all_ranks, &cursor));
        must(&s, read_all(&s, section, cursor));
    }
    merle_cursor_close(cursor);
    assert_string_equal(ranged(section, &s, all_ranks), "dabcn");
    assert_string_equal(tagged(section, &s, "x"), "abn");
    (void)end(&s, commit);
    writing_close(&s);
    return refused;
}

static void refused_memory_leaves_the_commit_as_it_was(void **state) {
    (void)state;
    refuse_in_turn(read_with, NULL, 4);
}

/* So many writes, in turns with reads, that every list of them grows and is merged many times; each
 * allocation of that is refused once. What was refused is asked for again. */
static uint64_t turn_with(void *context, uint64_t grants) {
    enum { WRITES = 150 };
    static supply memory;
    (void)context;
    supply_init(&memory);
    const mrl_environment environment = {.refusal = &memory.refusal};
    stand s;
    uint64_t count;
    open_players(&s, &environment);
    merle_commit *commit = begin(&s);
    merle_section *section = merle_commit_section(commit);
    supply_all_but(&memory, grants);
    for (int i = 0; i < WRITES; i++) {
        char key[16], json[96];
        snprintf(key, sizeof key, "w%d", i * 7919 % WRITES);
        snprintf(json, sizeof json, "{\"guild\":\"w%d\",\"score\":%d,\"tags\":[\"x\"]}",
                 i * 31 % WRITES, i);
        merle_err err = write_json(commit, s.players, merle_put, key, json);
        if (err != MERLE_OK) {
            assert_int_equal(err, MERLE_NO_MEMORY);
            put_in(&s, commit, key, json);
        }
        err = merle_range_count(section, s.players, &all_ranks, &count);
        if (err != MERLE_OK) {
            assert_int_equal(err, MERLE_NO_MEMORY);
            must(&s, merle_range_count(section, s.players, &all_ranks, &count));
        }
        assert_int_equal(count, 4 + i + 1);
    }
    uint64_t refused = supply_all(&memory);
    (void)end(&s, commit);
    writing_close(&s);
    return refused;
}

static void refused_memory_among_many_writes_is_asked_for_again(void **state) {
    (void)state;
    refuse_in_turn(turn_with, NULL, 150);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_have_own_documents_in_their_place),
        cmocka_unit_test(keys_values_scans_and_tags_have_own_documents),
        cmocka_unit_test(what_was_given_stays_until_the_commit_is_over),
        cmocka_unit_test(reads_through_the_section_bind_nobody),
        cmocka_unit_test(what_cannot_be_carried_out_is_told),
        cmocka_unit_test(own_writes_stand_on_the_root_of_the_instant),
        cmocka_unit_test(many_writes_in_turns_with_reads_stay_in_order),
        cmocka_unit_test(cursors_and_scans_go_on_behind_a_write),
        cmocka_unit_test(a_view_that_is_kept_does_not_change),
        cmocka_unit_test(refused_memory_leaves_the_commit_as_it_was),
        cmocka_unit_test(refused_memory_among_many_writes_is_asked_for_again),
    };
    return cmocka_run_group_tests_name("store/own", tests, NULL, NULL);
}
