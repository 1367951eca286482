/* tests/unit/store/commit_test.c - commits: operations, preconditions, records, limits.
 *
 * Aim     Each operation does what merle.h says, alone and in every order with others on its key; a
 *         refused commit leaves nothing, and says which operation, collection, key and index it
 *         was.
 * Method  One thread, no background thread; where commits meet, they are open at once and end one
 *         after the other. Operations on one key are also compared, in random order, with a number
 *         and a flag that stand for the document. merle_check goes over the whole store at the end
 *         of each test.
 * Blind   Commits that run at the same moment: the simulator's and the stress tests' part. Values
 *         and reads have files of their own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "writing.h"

#include <pthread.h>

static uint64_t seed;

static merle_err put_json_in(merle_commit *commit, merle_collection *c, const char *key,
                             const char *json) {
    return write_json(commit, c, merle_put, key, json);
}

/* ---- operations, one at a time ---- */

static void put_twice_keeps_the_second(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    merle_commit *commit = begin(&s);
    put_in(&s, commit, "a", "{\"n\":1}");
    put_in(&s, commit, "b", "{\"n\":2}");
    uint64_t first = end(&s, commit);
    commit = begin(&s);
    put_in(&s, commit, "a", "{\"n\":3}");
    assert_int_equal(end(&s, commit), first + 1);
    assert_there(&s, "a", "{\"n\":3}");
    assert_there(&s, "b", "{\"n\":2}");
    assert_int_equal(count_now(&s), 2);
    writing_close(&s);
}

static void insert_of_a_key_there_is_refused_at_the_end(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    (void)put_json(&s, "a", "{\"n\":1}");
    merle_commit *commit = begin(&s);
    put_in(&s, commit, "b", "{\"n\":2}");
    must(&s, write_json(commit, s.players, merle_insert, "a", "{\"n\":3}"));
    end_refused(&s, commit, MERLE_EXISTS);
    assert_told(&s, MERLE_EXISTS, 1, "a", "");
    assert_there(&s, "a", "{\"n\":1}");
    assert_there(&s, "b", NULL);
    writing_close(&s);
}

static void replace_patch_and_remove_of_nothing_are_refused(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    for (int i = 0; i < 3; i++) {
        merle_commit *commit = begin(&s);
        put_in(&s, commit, "b", "{\"n\":2}");
        if (i == 0) must(&s, write_json(commit, s.players, merle_replace, "a", "{}"));
        if (i == 1) must(&s, merle_patch(commit, s.players, KEY("a"), MERLE_INC("n", 1)));
        if (i == 2) must(&s, merle_remove(commit, s.players, KEY("a")));
        end_refused(&s, commit, MERLE_NOT_FOUND);
        assert_told(&s, MERLE_NOT_FOUND, 1, "a", "");
        assert_int_equal(count_now(&s), 0);
    }
    writing_close(&s);
}

static void patch_errors_of_the_document_are_told_at_the_end(void **state) {
    (void)state;
    static const merle_rule rules[] = {{"n", MERLE_TYPE_INT, 1, 0}, {NULL, 0, 0, 0}};
    const merle_schema schema = {.version = 1, .rules = rules};
    stand s;
    writing_open(&s, &schema, (merle_options){0}, NULL);
    const struct {
        merle_op op;
        merle_err err;
    } cases[] = {
        {MERLE_APPEND("n", merle_value_int(1)), MERLE_TYPE},
        {MERLE_INC("n", INT64_MAX), MERLE_OVERFLOW},
        {MERLE_UNSET("n"), MERLE_RULE},
        {MERLE_SET_STR("n", "x"), MERLE_RULE},
        {MERLE_SET_INT("list[3]", 1), MERLE_NOT_FOUND},
    };
    (void)put_json(&s, "a", "{\"n\":1,\"list\":[]}");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        merle_commit *commit = begin(&s);
        put_in(&s, commit, "b", "{\"n\":2}");
        must(&s, merle_patch_ops(commit, s.players, KEY("a"), &cases[i].op, 1));
        end_refused(&s, commit, cases[i].err);
        assert_told(&s, cases[i].err, 1, "a", "");
        assert_there(&s, "a", "{\"n\":1,\"list\":[]}");
        assert_there(&s, "b", NULL);
    }
    writing_close(&s);
}

static merle_err raise_by(void *context, const merle_doc *current, merle_builder *builder,
                          merle_bytes *out_document) {
    int64_t n = current == NULL ? 0 : merle_doc_int(*current, "n", -1);
    merle_build_begin(builder);
    merle_build_int(builder, "n", n + *(const int64_t *)context);
    return merle_build_end(builder, out_document);
}

static merle_err say(void *context, const merle_doc *current, merle_builder *builder,
                     merle_bytes *out_document) {
    (void)current;
    (void)builder;
    (void)out_document;
    return *(const merle_err *)context;
}

static merle_err give_nonsense(void *context, const merle_doc *current, merle_builder *builder,
                               merle_bytes *out_document) {
    static const uint8_t array[] = {0x91, 0x01};
    (void)context;
    (void)current;
    (void)builder;
    *out_document = merle_bytes_of(array, sizeof array);
    return MERLE_OK;
}

static void merge_makes_changes_and_removes(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    int64_t by = 5;
    merle_err answer = MERLE_NOT_FOUND;
    merle_commit *commit = begin(&s);
    must(&s, merle_merge(commit, s.players, KEY("a"), raise_by, &by));
    (void)end(&s, commit);
    assert_there(&s, "a", "{\"n\":5}");
    commit = begin(&s);
    must(&s, merle_merge(commit, s.players, KEY("a"), raise_by, &by));
    must(&s, merle_merge(commit, s.players, KEY("a"), raise_by, &by));
    (void)end(&s, commit);
    assert_there(&s, "a", "{\"n\":15}");
    commit = begin(&s);
    must(&s, merle_merge(commit, s.players, KEY("a"), say, &answer));
    (void)end(&s, commit);
    assert_there(&s, "a", NULL);
    uint64_t seq = stats_of(&s).seq;
    commit = begin(&s);
    must(&s, merle_merge(commit, s.players, KEY("a"), say, &answer));
    assert_int_equal(end(&s, commit), seq);
    assert_int_equal(stats_of(&s).seq, seq);
    writing_close(&s);
}

static void merge_errors_are_the_commits(void **state) {
    (void)state;
    static merle_err answers[] = {MERLE_INVALID, MERLE_TYPE, MERLE_OVERFLOW, MERLE_RULE};
    stand s;
    writing_open_plain(&s);
    (void)put_json(&s, "a", "{\"n\":1}");
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        merle_commit *commit = begin(&s);
        put_in(&s, commit, "b", "{}");
        must(&s, merle_merge(commit, s.players, KEY("a"), say, &answers[i]));
        end_refused(&s, commit, answers[i]);
        assert_told(&s, answers[i], 1, "a", "");
    }
    merle_commit *commit = begin(&s);
    must(&s, merle_merge(commit, s.players, KEY("a"), give_nonsense, NULL));
    end_refused(&s, commit, MERLE_BAD_DOCUMENT);
    assert_told(&s, MERLE_BAD_DOCUMENT, 0, "a", "");
    commit = begin(&s);
    assert_int_equal(merle_merge(commit, s.players, KEY("a"), NULL, NULL), MERLE_INVALID);
    merle_cancel(commit);
    assert_there(&s, "a", "{\"n\":1}");
    assert_there(&s, "b", NULL);
    writing_close(&s);
}

static void expect_compares_the_version(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    uint64_t seq = put_json(&s, "a", "{\"n\":1}");
    merle_commit *commit = begin(&s);
    must(&s, merle_expect(commit, s.players, KEY("a"), seq));
    must(&s, merle_expect(commit, s.players, KEY("none"), 0));
    put_in(&s, commit, "a", "{\"n\":2}");
    uint64_t second = end(&s, commit);
    const uint64_t wrong[] = {seq, 0, second + 1};
    for (size_t i = 0; i < 3; i++) {
        commit = begin(&s);
        put_in(&s, commit, "b", "{}");
        must(&s, merle_expect(commit, s.players, KEY("a"), wrong[i]));
        end_refused(&s, commit, MERLE_CONFLICT);
        assert_told(&s, MERLE_CONFLICT, 1, "a", "");
    }
    (void)remove_key(&s, "a");
    commit = begin(&s);
    must(&s, merle_expect(commit, s.players, KEY("a"), second));
    end_refused(&s, commit, MERLE_CONFLICT);
    commit = begin(&s);
    must(&s, merle_expect(commit, s.players, KEY("a"), 0));
    uint64_t at = stats_of(&s).seq;
    assert_int_equal(end(&s, commit), at);
    assert_there(&s, "b", NULL);
    writing_close(&s);
}

static void expect_before_or_after_a_put_is_about_what_was_there(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    uint64_t seq = put_json(&s, "a", "{\"n\":1}");
    for (int after = 0; after < 2; after++) {
        merle_commit *commit = begin(&s);
        if (!after) must(&s, merle_expect(commit, s.players, KEY("a"), seq));
        put_in(&s, commit, "a", "{\"n\":2}");
        if (after) must(&s, merle_expect(commit, s.players, KEY("a"), seq));
        seq = end(&s, commit);
    }
    assert_there(&s, "a", "{\"n\":2}");
    writing_close(&s);
}

/* ---- told at once ---- */

static void errors_told_at_once_are_no_part_of_the_commit(void **state) {
    (void)state;
    static const merle_rule rules[] = {{"n", MERLE_TYPE_INT, 0, 0}, {NULL, 0, 0, 0}};
    const merle_schema schema = {.version = 1, .indexes = email_index, .rules = rules};
    static uint8_t long_key[MERLE_KEY_SIZE_MAX + 1];
    stand s;
    writing_open(&s, &schema, (merle_options){0}, NULL);
    merle_buffer doc = doc_of("{}");
    merle_commit *commit = begin(&s);
    put_in(&s, commit, "a", "{\"n\":1}");
    document_fn *const writes[] = {merle_put, merle_insert, merle_replace};
    for (int i = 0; i < 3; i++) {
        merle_bytes long_one = merle_bytes_of(long_key, sizeof long_key);
        assert_int_equal(writes[i](commit, s.players, long_one, bytes_of(&doc)), MERLE_INVALID);
        assert_int_equal(s.report.operation, 1);
        assert_int_equal(writes[i](commit, s.players, merle_bytes_of("", 0), bytes_of(&doc)),
                         MERLE_INVALID);
        assert_int_equal(writes[i](commit, s.players, merle_bytes_of(NULL, 0), bytes_of(&doc)),
                         MERLE_INVALID);
        assert_int_equal(writes[i](commit, NULL, KEY("b"), bytes_of(&doc)), MERLE_INVALID);
        assert_int_equal(writes[i](commit, s.players, KEY("b"), merle_bytes_of("\x91\x01", 2)),
                         MERLE_BAD_DOCUMENT);
        assert_told(&s, MERLE_BAD_DOCUMENT, 1, "b", "");
        assert_int_equal(writes[i](commit, s.players, KEY("b"), merle_bytes_of("", 0)),
                         MERLE_BAD_DOCUMENT);
        assert_int_equal(write_json(commit, s.players, writes[i], "b", "{\"n\":\"x\"}"),
                         MERLE_RULE);
        assert_told(&s, MERLE_RULE, 1, "b", "");
        assert_int_equal(write_json(commit, s.players, writes[i], "b", "{\"email\":[1]}"),
                         MERLE_TYPE);
        assert_told(&s, MERLE_TYPE, 1, "b", "email");
    }
    const merle_op ops[] = {MERLE_INC("n..x", 1)};
    assert_int_equal(merle_patch_ops(commit, s.players, KEY("a"), ops, 1), MERLE_INVALID);
    assert_told(&s, MERLE_INVALID, 1, "a", "");
    assert_int_equal(merle_patch_ops(commit, s.players, KEY("a"), ops, 0), MERLE_INVALID);
    assert_int_equal(merle_patch_ops(commit, s.players, KEY("a"), NULL, 1), MERLE_INVALID);
    assert_int_equal(merle_remove(commit, s.players, merle_bytes_of(long_key, 0)), MERLE_INVALID);
    put_in(&s, commit, "c", "{\"n\":3}");
    must(&s, merle_remove(commit, s.players, KEY("none")));
    end_refused(&s, commit, MERLE_NOT_FOUND);
    /* Only what was taken counts. */
    assert_int_equal(s.report.operation, 2);
    merle_buffer_free(&doc);
    writing_close(&s);
}

static void key_without_bytes_is_refused(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    merle_commit *commit = begin(&s);
    merle_bytes key = merle_bytes_of(NULL, 4), doc = merle_bytes_of("\x80", 1);
    assert_int_equal(merle_put(commit, s.players, key, doc), MERLE_INVALID);
    assert_int_equal(merle_remove(commit, s.players, key), MERLE_INVALID);
    assert_int_equal(merle_expect(commit, s.players, key, 0), MERLE_INVALID);
    (void)end(&s, commit);
    writing_close(&s);
}

static void document_above_16_mebibytes_is_refused(void **state) {
    (void)state;
    stand s;
    merle_builder *b;
    merle_bytes bytes;
    writing_open_plain(&s);
    uint8_t *big = calloc(1, MERLE_DOCUMENT_SIZE_MAX);
    assert_non_null(big);
    must(&s, merle_builder_create(&b));
    merle_build_begin(b);
    /* 1 for the map, 2 for the name, 5 for the length: exactly the limit. */
    merle_build_bin(b, "b", merle_bytes_of(big, MERLE_DOCUMENT_SIZE_MAX - 8));
    must(&s, merle_build_end(b, &bytes));
    assert_int_equal(bytes.size, MERLE_DOCUMENT_SIZE_MAX);
    must(&s, merle_one_put(s.players, KEY("a"), bytes, NULL));
    uint8_t *above = malloc(bytes.size + 1);
    assert_non_null(above);
    memcpy(above, bytes.data, bytes.size);
    above[6 - 2 + 3] = (uint8_t)(above[6 - 2 + 3] + 1); /* the length's last byte */
    above[bytes.size] = 0;
    assert_int_equal(
        merle_one_put(s.players, KEY("b"), merle_bytes_of(above, bytes.size + 1), NULL),
        MERLE_TOO_BIG);
    assert_told(&s, MERLE_TOO_BIG, 0, "b", "");
    /* A patch that makes it too large is refused at the end. */
    merle_commit *commit = begin(&s);
    must(&s, merle_patch(commit, s.players, KEY("a"), MERLE_SET_INT("c", 1)));
    end_refused(&s, commit, MERLE_TOO_BIG);
    assert_told(&s, MERLE_TOO_BIG, 0, "a", "");
    merle_section section;
    merle_doc doc;
    must(&s, merle_section_begin(s.db, &section));
    must(&s, merle_get(&section, s.players, KEY("a"), &doc));
    assert_int_equal(doc.size, MERLE_DOCUMENT_SIZE_MAX);
    must(&s, merle_section_end(&section));
    free(big);
    free(above);
    merle_builder_destroy(b);
    writing_close(&s);
}

/* ---- several operations on one key ---- */

typedef struct twin {
    int is_there;
    int64_t n;
    merle_err err; /* of the first operation that fails */
    uint32_t failed_at;
} twin;

static void twin_fail(twin *t, merle_err err, uint32_t operation) {
    if (t->err != MERLE_OK) return;
    t->err = err;
    t->failed_at = operation;
}

/* One random operation on key "a", in the commit and in the twin. */
static void operate(const stand *s, merle_commit *commit, mrl_random *random, twin *t,
                    uint32_t operation, uint64_t base_seq) {
    static int64_t steps[] = {1, 2, 3, 4};
    static merle_err gone = MERLE_NOT_FOUND;
    int64_t n = (int64_t)mrl_random_below(random, 100);
    char json[32];
    (void)snprintf(json, sizeof json, "{\"n\":%d}", (int)n);
    switch (mrl_random_below(random, 8)) {
    case 0:
        must(s, write_json(commit, s->players, merle_put, "a", json));
        t->is_there = 1, t->n = n;
        return;
    case 1:
        must(s, write_json(commit, s->players, merle_insert, "a", json));
        if (t->is_there) twin_fail(t, MERLE_EXISTS, operation);
        t->is_there = 1, t->n = n;
        return;
    case 2:
        must(s, write_json(commit, s->players, merle_replace, "a", json));
        if (!t->is_there) twin_fail(t, MERLE_NOT_FOUND, operation);
        t->is_there = 1, t->n = n;
        return;
    case 3:
        must(s, merle_remove(commit, s->players, KEY("a")));
        if (!t->is_there) twin_fail(t, MERLE_NOT_FOUND, operation);
        t->is_there = 0;
        return;
    case 4:
        must(s, merle_patch(commit, s->players, KEY("a"), MERLE_INC("n", n)));
        if (!t->is_there) twin_fail(t, MERLE_NOT_FOUND, operation);
        t->n += n;
        return;
    case 5:
        must(s, merle_merge(commit, s->players, KEY("a"), raise_by, &steps[n % 4]));
        t->n = (t->is_there ? t->n : 0) + steps[n % 4];
        t->is_there = 1;
        return;
    case 6:
        must(s, merle_merge(commit, s->players, KEY("a"), say, &gone));
        t->is_there = 0;
        return;
    default:
        must(s, merle_expect(commit, s->players, KEY("a"), base_seq + (n == 0)));
        if (n == 0) twin_fail(t, MERLE_CONFLICT, operation);
        return;
    }
}

/* Every operation in every place among up to four others, with and without a document before. */
static void operations_on_one_key_count_one_after_the_other(void **state) {
    (void)state;
    stand s;
    mrl_random random;
    writing_open_plain(&s);
    mrl_random_init(&random, seed);
    twin now = {0, 0, MERLE_OK, 0};
    uint64_t base_seq = 0;
    uint32_t refused = 0;
    for (int round = 0; round < 20000; round++) {
        twin t = now;
        merle_commit *commit = begin(&s);
        uint64_t seq_before = merle_section_seq(merle_commit_section(commit)), seq = 0;
        uint32_t count = 1 + (uint32_t)mrl_random_below(&random, 5);
        for (uint32_t i = 0; i < count; i++) operate(&s, commit, &random, &t, i, base_seq);
        /* Read back in the middle of things, now and then. */
        if (mrl_random_below(&random, 4) == 0) {
            merle_doc doc;
            merle_err err = merle_commit_get(commit, s.players, KEY("a"), &doc);
            assert_int_equal(err, t.err != MERLE_OK ? t.err
                                  : t.is_there      ? MERLE_OK
                                                    : MERLE_NOT_FOUND);
            if (err == MERLE_OK) assert_int_equal(merle_doc_int(doc, "n", -1), t.n);
        }
        assert_int_equal(merle_end(commit, &seq), t.err);
        if (t.err != MERLE_OK) {
            assert_told(&s, t.err, t.failed_at, "a", "");
            refused++;
            t = now;
        } else if (seq != seq_before) {
            base_seq = t.is_there ? seq : 0;
        }
        now = t;
        if (round % 8 != 0) continue;
        char json[32];
        (void)snprintf(json, sizeof json, "{\"n\":%d}", (int)now.n);
        assert_there(&s, "a", now.is_there ? json : NULL);
        assert_int_equal(count_now(&s), now.is_there);
    }
    assert_in_range(refused, 1000, 19000);
    writing_close(&s);
}

static void put_and_remove_of_a_new_key_is_nothing(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    uint64_t seq = stats_of(&s).seq;
    merle_commit *commit = begin(&s);
    put_in(&s, commit, "a", "{\"email\":\"x\"}");
    must(&s, merle_remove(commit, s.players, KEY("a")));
    assert_int_equal(end(&s, commit), seq);
    assert_int_equal(stats_of(&s).seq, seq);
    assert_int_equal(hints_of(&s, "email"), 0);
    writing_close(&s);
}

/* ---- a refused commit leaves nothing ---- */

static void refused_commit_leaves_nothing(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    (void)put_json(&s, "a", "{\"email\":\"x\"}");
    (void)put_json(&s, "b", "{\"email\":\"y\"}");
    stand_settle(&s);
    merle_stats_db before = stats_of(&s);
    for (int i = 0; i < 200; i++) {
        merle_commit *commit = begin(&s);
        put_in(&s, commit, "new1", "{\"email\":\"n1\"}");
        put_in(&s, commit, "a", "{\"email\":\"z\"}");
        must(&s, merle_remove(commit, s.players, KEY("b")));
        put_in(&s, commit, "new2", "{\"email\":\"z\"}");
        end_refused(&s, commit, MERLE_EXISTS);
    }
    stand_settle(&s);
    merle_stats_db after = stats_of(&s);
    assert_int_equal(after.seq, before.seq);
    assert_int_equal(after.documents, before.documents);
    assert_int_equal(after.commits, before.commits);
    assert_int_equal(after.commits_refused, before.commits_refused + 200);
    assert_int_equal(after.bytes_documents, before.bytes_documents);
    assert_int_equal(after.versions_waiting, 0);
    assert_int_equal(after.commits_open, 0);
    assert_int_equal(hints_of(&s, "email"), 2);
    merle_stats_collection stats = players_stats(&s);
    assert_int_equal(stats.key_entries, 2);
    /* The slots that the refused ones took are used again. */
    assert_in_range(stats.slots, 2, 300);
    assert_there(&s, "a", "{\"email\":\"x\"}");
    assert_there(&s, "b", "{\"email\":\"y\"}");
    merle_changes *changes;
    merle_change got[8];
    size_t count;
    must(&s, merle_changes_open(s.db, &(merle_changes_options){.after_seq = before.seq}, &changes));
    must(&s, merle_changes_next(changes, got, 8, &count));
    assert_int_equal(count, 0);
    merle_changes_close(changes);
    writing_close(&s);
}

static void cancelled_commit_leaves_nothing(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    merle_stats_db before = stats_of(&s);
    merle_commit *commit = begin(&s);
    put_in(&s, commit, "a", "{\"email\":\"x\"}");
    must(&s, merle_patch(commit, s.players, KEY("a"), MERLE_INC("n", 1)));
    merle_doc doc;
    must(&s, merle_commit_get(commit, s.players, KEY("a"), &doc));
    merle_cancel(commit);
    merle_stats_db after = stats_of(&s);
    assert_int_equal(after.seq, before.seq);
    assert_int_equal(after.bytes_documents, before.bytes_documents);
    assert_int_equal(after.commits_open, 0);
    assert_int_equal(after.sections_open, 0);
    assert_there(&s, "a", NULL);
    merle_cancel(NULL);
    writing_close(&s);
}

static void empty_commit_gets_the_seq_that_it_saw(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    merle_commit *commit = begin(&s);
    uint64_t saw = merle_section_seq(merle_commit_section(commit)), seq = 0;
    (void)put_json(&s, "a", "{}");
    must(&s, merle_end(commit, &seq));
    assert_int_equal(seq, saw);
    commit = begin(&s);
    must(&s, merle_end(commit, NULL));
    writing_close(&s);
}

/* ---- several collections, records, sizes ---- */

static void commit_over_several_collections_is_one_instant(void **state) {
    (void)state;
    stand s;
    merle_collection *guilds, *items;
    writing_open_plain(&s);
    must(&s, merle_collection_open(s.db, "guilds", NULL, &guilds));
    must(&s, merle_collection_open(s.db, "items", NULL, &items));
    merle_section before;
    must(&s, merle_section_begin(s.db, &before));
    merle_commit *commit = begin(&s);
    must(&s, put_json_in(commit, items, "a", "{\"n\":3}"));
    must(&s, put_json_in(commit, guilds, "a", "{\"n\":2}"));
    put_in(&s, commit, "a", "{\"n\":1}");
    uint64_t seq = end(&s, commit);
    merle_section after;
    must(&s, merle_section_begin(s.db, &after));
    assert_int_equal(merle_section_seq(&after), seq);
    assert_sees(&after, s.players, "a", "{\"n\":1}");
    assert_sees(&after, guilds, "a", "{\"n\":2}");
    assert_sees(&after, items, "a", "{\"n\":3}");
    assert_sees(&before, s.players, "a", NULL);
    assert_sees(&before, guilds, "a", NULL);
    commit = begin(&s);
    must(&s, put_json_in(commit, items, "b", "{\"n\":3}"));
    must(&s, merle_remove(commit, guilds, KEY("none")));
    end_refused(&s, commit, MERLE_NOT_FOUND);
    assert_string_equal(s.report.collection, "guilds");
    assert_int_equal(s.report.operation, 1);
    must(&s, merle_section_end(&before));
    must(&s, merle_section_end(&after));
    writing_close(&s);
}

static void collection_of_another_database_is_refused(void **state) {
    (void)state;
    stand s, other;
    writing_open_plain(&s);
    writing_open_plain(&other);
    merle_commit *commit = begin(&s);
    assert_int_equal(put_json_in(commit, other.players, "a", "{}"), MERLE_INVALID);
    merle_doc doc;
    assert_int_equal(merle_commit_get(commit, other.players, KEY("a"), &doc), MERLE_INVALID);
    merle_cancel(commit);
    writing_close(&other);
    writing_close(&s);
}

static void origin_stands_in_the_record(void **state) {
    (void)state;
    static const uint8_t bytes[MERLE_ORIGIN_SIZE_MAX + 1] = "who did it";
    stand s;
    writing_open_plain(&s);
    merle_commit *commit = begin(&s);
    assert_int_equal(merle_commit_origin(commit, merle_bytes_of(bytes, MERLE_ORIGIN_SIZE_MAX + 1)),
                     MERLE_TOO_BIG);
    must(&s, merle_commit_origin(commit, merle_bytes_of(bytes, 3)));
    must(&s, merle_commit_origin(commit, merle_bytes_of(bytes, MERLE_ORIGIN_SIZE_MAX)));
    put_in(&s, commit, "a", "{}");
    put_in(&s, commit, "b", "{}");
    uint64_t seq = end(&s, commit);
    (void)put_json(&s, "c", "{}");
    merle_changes *changes;
    merle_change got[8];
    size_t count;
    must(&s, merle_changes_open(s.db, &(merle_changes_options){.after_seq = seq - 1}, &changes));
    must(&s, merle_changes_next(changes, got, 8, &count));
    assert_int_equal(count, 3);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(got[i].origin_bytes.size, MERLE_ORIGIN_SIZE_MAX);
        assert_memory_equal(got[i].origin_bytes.data, bytes, MERLE_ORIGIN_SIZE_MAX);
    }
    /* It is the commit's, not the thread's. */
    assert_int_equal(got[2].origin_bytes.size, 0);
    merle_changes_close(changes);
    writing_close(&s);
}

static void commit_above_commit_size_max_is_refused(void **state) {
    (void)state;
    stand s;
    writing_open(&s, NULL, (merle_options){.commit_size_max = 4096}, NULL);
    char json[2048];
    (void)snprintf(json, sizeof json, "{\"t\":\"%01500d\"}", 0);
    merle_commit *commit = begin(&s);
    put_in(&s, commit, "a", json);
    put_in(&s, commit, "b", json);
    (void)end(&s, commit);
    commit = begin(&s);
    put_in(&s, commit, "c", json);
    put_in(&s, commit, "d", json);
    put_in(&s, commit, "e", json);
    end_refused(&s, commit, MERLE_TOO_BIG);
    assert_non_null(strstr(s.report.message, "commit_size_max"));
    assert_int_equal(count_now(&s), 2);
    /* A patch counts with its effect, not with the document. */
    commit = begin(&s);
    for (int i = 0; i < 20; i++)
        must(&s, merle_patch(commit, s.players, KEY(i % 2 ? "a" : "b"), MERLE_INC("n", 1)));
    (void)end(&s, commit);
    writing_close(&s);
}

static void commit_of_many_keys_is_whole(void **state) {
    (void)state;
    enum { MANY = 3000 };
    stand s;
    char key[16], json[32];
    writing_open_plain(&s);
    for (int round = 0; round < 3; round++) {
        merle_commit *commit = begin(&s);
        for (int i = 0; i < MANY; i++) {
            (void)snprintf(key, sizeof key, "k%d", i);
            (void)snprintf(json, sizeof json, "{\"email\":%d}", (i + round) % MANY);
            put_in(&s, commit, key, json);
        }
        (void)end(&s, commit);
        assert_int_equal(count_now(&s), MANY);
    }
    merle_commit *commit = begin(&s);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        must(&s, merle_remove(commit, s.players, merle_str(key)));
    }
    (void)end(&s, commit);
    assert_int_equal(count_now(&s), 0);
    stand_settle(&s);
    assert_int_equal(hints_of(&s, "email"), 0);
    writing_close(&s);
}

/* ---- whose commit it is ---- */

typedef struct stranger {
    stand *s;
    merle_commit *commit;
    merle_err errs[8];
} stranger;

static void *use_strangely(void *context) {
    stranger *who = context;
    merle_collection *players = who->s->players;
    merle_bytes doc = merle_bytes_of("\x80", 1);
    merle_doc found;
    uint64_t seq;
    who->errs[0] = merle_put(who->commit, players, KEY("b"), doc);
    who->errs[1] = merle_remove(who->commit, players, KEY("b"));
    who->errs[2] = merle_patch(who->commit, players, KEY("b"), MERLE_INC("n", 1));
    who->errs[3] = merle_expect(who->commit, players, KEY("b"), 0);
    who->errs[4] = merle_commit_get(who->commit, players, KEY("b"), &found);
    who->errs[5] = merle_commit_origin(who->commit, merle_bytes_of("x", 1));
    who->errs[6] = merle_end(who->commit, &seq);
    merle_cancel(who->commit);
    who->errs[7] = merle_get(merle_commit_section(who->commit), players, KEY("b"), &found);
    return NULL;
}

static void commit_in_another_thread_is_refused(void **state) {
    (void)state;
    stand s;
    pthread_t thread;
    writing_open_plain(&s);
    stranger who = {&s, begin(&s), {0}};
    put_in(&s, who.commit, "a", "{}");
    assert_int_equal(pthread_create(&thread, NULL, use_strangely, &who), 0);
    pthread_join(thread, NULL);
    for (int i = 0; i < 8; i++) assert_int_equal(who.errs[i], MERLE_WRONG_THREAD);
    (void)end(&s, who.commit);
    assert_there(&s, "a", "{}");
    assert_there(&s, "b", NULL);
    writing_close(&s);
}

static void commit_after_its_end_is_refused(void **state) {
    (void)state;
    stand s;
    merle_doc doc;
    uint64_t seq = 7;
    writing_open_plain(&s);
    for (int i = 0; i < 2; i++) {
        /* The thread keeps the one that ended last; so it can be told. */
        merle_commit *commit = begin(&s);
        put_in(&s, commit, "a", "{}");
        if (i == 0)
            (void)end(&s, commit);
        else
            merle_cancel(commit);
        assert_int_equal(merle_end(commit, &seq), MERLE_INVALID);
        assert_int_equal(seq, 0);
        assert_int_equal(merle_remove(commit, s.players, KEY("a")), MERLE_INVALID);
        assert_int_equal(merle_commit_get(commit, s.players, KEY("a"), &doc), MERLE_INVALID);
        merle_cancel(commit);
    }
    assert_int_equal(merle_end(NULL, NULL), MERLE_INVALID);
    assert_int_equal(merle_put(NULL, s.players, KEY("a"), merle_bytes_of("\x80", 1)),
                     MERLE_INVALID);
    writing_close(&s);
}

static void commits_of_one_thread_may_overlap(void **state) {
    (void)state;
    stand s;
    writing_open_plain(&s);
    merle_commit *a = begin(&s), *b = begin(&s), *c = begin(&s);
    put_in(&s, a, "a", "{\"email\":\"x\"}");
    put_in(&s, b, "b", "{\"email\":\"x\"}");
    put_in(&s, c, "c", "{\"email\":\"y\"}");
    assert_int_equal(stats_of(&s).commits_open, 3);
    (void)end(&s, b);
    end_refused(&s, a, MERLE_EXISTS);
    assert_string_equal(s.report.found, "b");
    (void)end(&s, c);
    assert_int_equal(count_now(&s), 2);
    assert_int_equal(stats_of(&s).commits_open, 0);
    writing_close(&s);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_twice_keeps_the_second),
        cmocka_unit_test(insert_of_a_key_there_is_refused_at_the_end),
        cmocka_unit_test(replace_patch_and_remove_of_nothing_are_refused),
        cmocka_unit_test(patch_errors_of_the_document_are_told_at_the_end),
        cmocka_unit_test(merge_makes_changes_and_removes),
        cmocka_unit_test(merge_errors_are_the_commits),
        cmocka_unit_test(expect_compares_the_version),
        cmocka_unit_test(expect_before_or_after_a_put_is_about_what_was_there),
        cmocka_unit_test(errors_told_at_once_are_no_part_of_the_commit),
        cmocka_unit_test(key_without_bytes_is_refused),
        cmocka_unit_test(document_above_16_mebibytes_is_refused),
        cmocka_unit_test(operations_on_one_key_count_one_after_the_other),
        cmocka_unit_test(put_and_remove_of_a_new_key_is_nothing),
        cmocka_unit_test(refused_commit_leaves_nothing),
        cmocka_unit_test(cancelled_commit_leaves_nothing),
        cmocka_unit_test(empty_commit_gets_the_seq_that_it_saw),
        cmocka_unit_test(commit_over_several_collections_is_one_instant),
        cmocka_unit_test(collection_of_another_database_is_refused),
        cmocka_unit_test(origin_stands_in_the_record),
        cmocka_unit_test(commit_above_commit_size_max_is_refused),
        cmocka_unit_test(commit_of_many_keys_is_whole),
        cmocka_unit_test(commit_in_another_thread_is_refused),
        cmocka_unit_test(commit_after_its_end_is_refused),
        cmocka_unit_test(commits_of_one_thread_may_overlap),
    };
    seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
