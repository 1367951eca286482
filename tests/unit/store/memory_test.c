/* tests/unit/store/memory_test.c - want of memory from malloc while commits are made and ended.
 *
 * Aim     An allocation that malloc refuses - to a document that is checked, a patch, a merge
 *         function and its builder, a schema, a copy for the caller - is MERLE_NO_MEMORY, with a
 *         report, to the one call, or does no harm; it leaves nothing; the same again goes through.
 * Method  Each attempt is made with its first, second, third... allocation refused, once this one
 *         alone, once this one and all that follow, until none is. Beside it stand two databases of
 *         which none was refused anything: one in which nothing was attempted, one in which the
 *         attempt went through. The store must be as the one before, and then as the other, by
 *         documents, numbers and merle_check.
 * Blind   Memory of the domain is never refused here (the simulator does that), so a commit that
 *         fails behind the copy of a one-call form is not seen. calloc and strdup in
 *         schema/schema.c cannot be refused, nor can malloc in merle_check. Leaks of malloc show
 *         under the address sanitizer only. One thread; no patch meets a version that has changed
 *         between composing and locking.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "writing.h"

#include "base/buffer.h"

enum { MANY = 2000, LONG_SIZE = 5000 };

/* MERLE_OK, and all is done, or an error, and nothing is. */
typedef merle_err attempt_fn(const stand *s);

/* ---- what attempts are made of ---- */

/* So many keys that they are compared in memory that is taken for it. */
static merle_bytes wide_document(void) {
    static uint8_t bytes[3 + MANY * 6];
    uint8_t *at = bytes;
    *at++ = 0xde;
    *at++ = MANY >> 8;
    *at++ = MANY & 0xff;
    for (int i = 0; i < MANY; i++) {
        char name[5];
        (void)snprintf(name, sizeof name, "%04d", i);
        *at++ = 0xa4;
        memcpy(at, name, 4);
        at[4] = 0xc0;
        at += 5;
    }
    return merle_bytes_of(bytes, sizeof bytes);
}

static merle_value long_text(void) {
    static char text[LONG_SIZE];
    memset(text, 'x', sizeof text);
    return merle_value_bytes(merle_bytes_of(text, sizeof text));
}

/* Ends the commit if all went well so far. */
static merle_err finish(merle_commit *commit, merle_err err) {
    if (err == MERLE_OK) return merle_end(commit, NULL);
    merle_cancel(commit);
    return err;
}

static merle_err merge_long(void *context, const merle_doc *current, merle_builder *builder,
                            merle_bytes *out_document) {
    merle_build_begin(builder);
    merle_build_int(builder, "n", current == NULL ? 0 : merle_doc_int(*current, "n", 0) + 1);
    merle_build_array(builder, "list");
    for (int i = 0; i < *(const int *)context; i++) merle_build_int(builder, NULL, i);
    merle_build_close(builder);
    return merle_build_end(builder, out_document);
}

static merle_err merge_wide(void *context, const merle_doc *current, merle_builder *builder,
                            merle_bytes *out_document) {
    (void)context;
    (void)current;
    (void)builder;
    *out_document = wide_document();
    return MERLE_OK;
}

/* ---- attempts ---- */

static merle_err try_put(const stand *s) {
    merle_commit *commit = begin(s);
    merle_err err = merle_put(commit, s->players, KEY("a"), wide_document());
    if (err == MERLE_OK) err = merle_insert(commit, s->players, KEY("new"), wide_document());
    if (err == MERLE_OK) err = merle_replace(commit, s->players, KEY("b"), wide_document());
    return finish(commit, err);
}

static merle_err try_built_put(const stand *s) {
    merle_builder *builder = NULL;
    merle_bytes bytes;
    int length = 3000;
    merle_commit *commit = begin(s);
    merle_err err = merle_builder_create(&builder);
    if (err == MERLE_OK) err = merge_long(&length, NULL, builder, &bytes);
    if (err == MERLE_OK) err = merle_put(commit, s->players, KEY("new"), bytes);
    err = finish(commit, err);
    merle_builder_destroy(builder);
    return err;
}

static merle_err try_patch(const stand *s) {
    merle_commit *commit = begin(s);
    merle_err err = merle_patch(commit, s->players, KEY("a"), MERLE_APPEND("list", long_text()),
                                MERLE_SET("deep.text", long_text()), MERLE_INC("n", 1));
    if (err == MERLE_OK)
        err = merle_patch(commit, s->players, KEY("b"), MERLE_SET("text", long_text()),
                          MERLE_SET_STR("email", "a new one"));
    return finish(commit, err);
}

static merle_err try_patches_of_one_key(const stand *s) {
    merle_commit *commit = begin(s);
    merle_err err = merle_patch(commit, s->players, KEY("a"), MERLE_SET("x", long_text()));
    if (err == MERLE_OK)
        err = merle_patch(commit, s->players, KEY("a"), MERLE_SET("y", long_text()));
    if (err == MERLE_OK)
        err = merle_patch(commit, s->players, KEY("a"), MERLE_SET("z", long_text()));
    return finish(commit, err);
}

static merle_err try_merge(const stand *s) {
    static int lengths[] = {3000, 10};
    merle_commit *commit = begin(s);
    merle_err err = merle_merge(commit, s->players, KEY("a"), merge_long, &lengths[0]);
    if (err == MERLE_OK) err = merle_merge(commit, s->players, KEY("new"), merge_long, &lengths[1]);
    if (err == MERLE_OK) err = merle_merge(commit, s->players, KEY("b"), merge_wide, NULL);
    return finish(commit, err);
}

/* All kinds together; values move between documents, and two keys come before the refusals. */
static merle_err try_mixed(const stand *s) {
    static int length = 3000;
    merle_commit *commit = begin(s);
    merle_err err = merle_remove(commit, s->players, KEY("c"));
    if (err == MERLE_OK) err = merle_put(commit, s->players, KEY("new"), wide_document());
    if (err == MERLE_OK)
        err = merle_patch(commit, s->players, KEY("b"), MERLE_SET_STR("email", "of c"),
                          MERLE_SET("text", long_text()));
    if (err == MERLE_OK)
        err = merle_patch(commit, s->players, KEY("a"), MERLE_SET_STR("email", "of b"));
    if (err == MERLE_OK) err = merle_merge(commit, s->players, KEY("d"), merge_long, &length);
    if (err == MERLE_OK) err = merle_patch(commit, s->players, KEY("d"), MERLE_INC("n", 5));
    return finish(commit, err);
}

/* What the commit has changed is composed when it is read. */
static merle_err try_read_back(const stand *s) {
    merle_doc doc;
    const merle_value email = merle_value_str("a new one");
    merle_commit *commit = begin(s);
    merle_err err = merle_patch(commit, s->players, KEY("a"), MERLE_SET("text", long_text()));
    if (err == MERLE_OK) err = merle_commit_get(commit, s->players, KEY("a"), &doc);
    if (err == MERLE_OK)
        err = merle_patch(commit, s->players, KEY("b"), MERLE_SET_STR("email", "a new one"),
                          MERLE_SET("text", long_text()));
    if (err == MERLE_OK)
        err = merle_commit_get_unique(commit, s->players, "email", &email, 1, &doc);
    return finish(commit, err);
}

/* The copies that one-call forms give are refused like all else; what failed gives nothing. */
static merle_err try_one_patch(const stand *s) {
    merle_buffer copy = {NULL, 0, 0};
    uint64_t seq = 7;
    merle_err err = merle_one_patch(s->players, KEY("a"), &copy, &seq, MERLE_SET("x", long_text()));
    assert_true((err == MERLE_OK) == (copy.size > LONG_SIZE));
    assert_true((err == MERLE_OK) == (seq != 0));
    if (err != MERLE_OK) assert_int_equal(copy.size, 0);
    merle_buffer_free(&copy);
    return err;
}

static merle_err try_one_swap(const stand *s) {
    merle_buffer old = {NULL, 0, 0};
    uint64_t seq = 7;
    merle_err err = merle_one_swap(s->players, KEY("a"), wide_document(), &old, &seq);
    assert_true((err == MERLE_OK) == (old.size > 0));
    assert_true((err == MERLE_OK) == (seq != 0));
    merle_buffer_free(&old);
    return err;
}

static merle_err try_one_count(const stand *s) {
    int64_t number = 7;
    merle_err err = merle_one_count(s->players, KEY("new"), "deep.n", 5, &number);
    assert_int_equal(number, err == MERLE_OK ? 5 : 0);
    return err;
}

static merle_err try_one_get(const stand *s) {
    merle_buffer copy = {NULL, 0, 0};
    merle_err err = merle_one_get(s->players, KEY("a"), &copy, NULL);
    assert_true((err == MERLE_OK) == (copy.size > 0));
    merle_buffer_free(&copy);
    return err;
}

static merle_err try_define(const stand *s) {
    static const merle_index indexes[] = {{"both", MERLE_UNIQUE, "guild.name, -rank"},
                                          {"name", MERLE_UNIQUE, "name"},
                                          {NULL, 0, NULL}};
    static const merle_rule rules[] = {
        {"name", MERLE_TYPE_STR, 1, 20}, {"guild.rank", MERLE_TYPE_INT, 0, 0}, {NULL, 0, 0, 0}};
    const merle_schema schema = {.version = 3, .indexes = indexes, .rules = rules};
    merle_collection *guilds = s->players;
    merle_err err = merle_collection_open(s->db, "guilds", &schema, &guilds);
    assert_true((err == MERLE_OK) == (guilds != NULL));
    return err;
}

/* The schema asked for is compiled to be compared. */
static merle_err try_open_again(const stand *s) {
    merle_collection *players = NULL;
    merle_err err = merle_collection_open(s->db, "players", &players_schema, &players);
    assert_ptr_equal(players, err == MERLE_OK ? s->players : NULL);
    return err;
}

static merle_err try_drop(const stand *s) {
    uint64_t seq = 7;
    merle_err err = merle_collection_drop(s->players, &seq);
    assert_true((err == MERLE_OK) == (seq != 0));
    return err;
}

static merle_err try_describe(const stand *s) {
    merle_buffer json = {NULL, 0, 0};
    merle_err err = merle_collection_describe(s->players, &json);
    assert_true((err == MERLE_OK) == (json.size > 0));
    merle_buffer_free(&json);
    return err;
}

/* ---- what is there ---- */

static const char *const keys[] = {"a", "b", "c", "d", "new"};

static void open_with_documents(stand *s) {
    static const mrl_environment environment = {.hash_seed = 1};
    /* A test that failed may have left it. */
    mrl_refusal_of_thread = NULL;
    /* Places in tables, and so what the tables take, are the same in all of them. */
    writing_open(s, &players_schema, (merle_options){.ring_size = 64 << 10}, &environment);
    (void)put_json(s, "a", "{\"email\":\"of a\",\"n\":1,\"list\":[1]}");
    (void)put_json(s, "b", "{\"email\":\"of b\"}");
    (void)put_json(s, "c", "{\"email\":\"of c\"}");
    stand_settle(s);
}

static void assert_same_documents(const stand *one, const stand *other) {
    merle_section sections[2];
    merle_doc docs[2];
    must(one, merle_section_begin(one->db, &sections[0]));
    must(other, merle_section_begin(other->db, &sections[1]));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        merle_err err = merle_get(&sections[0], one->players, KEY(keys[i]), &docs[0]);
        assert_int_equal(merle_get(&sections[1], other->players, KEY(keys[i]), &docs[1]), err);
        if (err != MERLE_OK) continue;
        assert_int_equal(docs[0].size, docs[1].size);
        assert_memory_equal(docs[0].data, docs[1].data, docs[0].size);
    }
    must(one, merle_section_end(&sections[0]));
    must(other, merle_section_end(&sections[1]));
}

/* Two stores that should be the same, down to what tables and documents take. */
static void assert_same(const stand *one, const stand *other) {
    merle_collection *c;
    stand_settle(one);
    stand_settle(other);
    merle_stats_db a = stats_of(one), b = stats_of(other);
    assert_int_equal(a.seq, b.seq);
    assert_int_equal(a.collections, b.collections);
    assert_int_equal(a.documents, b.documents);
    assert_int_equal(a.commits, b.commits);
    assert_int_equal(a.versions_waiting, 0);
    assert_int_equal(a.bytes_documents, b.bytes_documents);
    assert_int_equal(a.bytes_tables, b.bytes_tables);
    assert_int_equal(a.bytes_log, b.bytes_log);
    assert_int_equal(a.commits_open + a.sections_open, 0);
    assert_same_documents(one, other);
    assert_int_equal(merle_collection_find(one->db, "guilds", &c),
                     merle_collection_find(other->db, "guilds", &c));
    must(one, merle_check(one->db, NULL));
}

/* ---- each allocation in turn ---- */

/* Whether the thread's report must tell of it: not where what fails is no call of the database, or
 * only reads. */
typedef enum telling { TELLS, SILENT } telling;

typedef struct trial {
    attempt_fn *attempt;
    telling telling;
    int for_good; /* all that follow are refused, too */
    const stand *before, *after;
} trial;

static uint64_t attempt_with(void *context, uint64_t grants) {
    const trial *t = context;
    stand s;
    supply memory;
    open_with_documents(&s);
    memset(&s.report, 0, sizeof s.report);
    supply_init(&memory);
    if (t->for_good)
        supply_only(&memory, grants);
    else
        supply_all_but(&memory, grants);
    mrl_refusal_of_thread = &memory.refusal;
    merle_err err = t->attempt(&s);
    mrl_refusal_of_thread = NULL;
    uint64_t refused = supply_all(&memory);
    /* A refusal that is made up for later does no harm; none at all must not hinder. */
    if (err != MERLE_OK || (refused > 0 && t->for_good)) {
        assert_int_equal(err, MERLE_NO_MEMORY);
        assert_true(refused > 0);
        if (t->telling == TELLS) assert_int_equal(s.report.err, MERLE_NO_MEMORY);
        if (t->telling == TELLS) assert_int_not_equal(s.report.message[0], 0);
        assert_same(&s, t->before);
        must(&s, t->attempt(&s));
    }
    assert_same(&s, t->after);
    writing_close(&s);
    return refused;
}

/* least: so many allocations are known to be there. */
static void refuse_each(attempt_fn *attempt, telling how, uint64_t least) {
    stand before, after;
    open_with_documents(&before);
    open_with_documents(&after);
    must(&after, attempt(&after));
    for (int for_good = 0; for_good < 2; for_good++) {
        trial t = {attempt, how, for_good, &before, &after};
        refuse_in_turn(attempt_with, &t, least);
    }
    writing_close(&after);
    writing_close(&before);
}

static void put_without_memory_leaves_nothing(void **state) {
    (void)state;
    refuse_each(try_put, TELLS, 3);
    refuse_each(try_built_put, SILENT, 3);
}

static void patch_without_memory_leaves_nothing(void **state) {
    (void)state;
    refuse_each(try_patch, TELLS, 3);
    refuse_each(try_patches_of_one_key, TELLS, 2);
}

static void merge_without_memory_leaves_nothing(void **state) {
    (void)state;
    refuse_each(try_merge, TELLS, 4);
}

static void mixed_commit_without_memory_leaves_nothing(void **state) {
    (void)state;
    refuse_each(try_mixed, TELLS, 5);
}

static void read_in_a_commit_without_memory_leaves_nothing(void **state) {
    (void)state;
    refuse_each(try_read_back, TELLS, 3);
}

static void one_call_without_memory_leaves_and_gives_nothing(void **state) {
    (void)state;
    refuse_each(try_one_patch, TELLS, 3);
    refuse_each(try_one_swap, TELLS, 2);
    refuse_each(try_one_count, TELLS, 1);
    refuse_each(try_one_get, SILENT, 1);
}

static void schema_without_memory_makes_no_collection(void **state) {
    (void)state;
    refuse_each(try_define, TELLS, 5);
    refuse_each(try_open_again, TELLS, 2);
}

static void drop_without_memory_for_its_schema_drops_nothing(void **state) {
    (void)state;
    refuse_each(try_drop, TELLS, 1);
}

static void describe_without_memory_gives_nothing(void **state) {
    (void)state;
    refuse_each(try_describe, TELLS, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_without_memory_leaves_nothing),
        cmocka_unit_test(patch_without_memory_leaves_nothing),
        cmocka_unit_test(merge_without_memory_leaves_nothing),
        cmocka_unit_test(mixed_commit_without_memory_leaves_nothing),
        cmocka_unit_test(read_in_a_commit_without_memory_leaves_nothing),
        cmocka_unit_test(one_call_without_memory_leaves_and_gives_nothing),
        cmocka_unit_test(schema_without_memory_makes_no_collection),
        cmocka_unit_test(drop_without_memory_for_its_schema_drops_nothing),
        cmocka_unit_test(describe_without_memory_gives_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
