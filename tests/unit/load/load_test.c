/* tests/unit/load/load_test.c - an empty store is filled from what another one has.
 *
 * Aim     What is loaded is the same database: documents with their seqs, the order of walks, what
 *         every index gives; and writing goes on in it. What cannot be is refused, with a report.
 * Method  A database with indexes of all kinds is written to at random, its slots are read out and
 *         loaded into an empty one, in random order and by several threads; then both are asked
 *         everything, merle_check compares each with itself, and the same work goes on in both.
 *         Definitions that follow one another are loaded by hand. Allocations are refused in turn.
 * Blind   Speed, and that memory stays within its bound: bench phase reopen. What files do.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/store/listing.h"

#include <pthread.h>

#include "base/buffer.h"
#include "load/load.h"

enum { KEY_COUNT = 2000, THREAD_COUNT = 3 };

static uint64_t seed;

static const merle_index all_kinds[] = {
    {.name = "email", .kind = MERLE_UNIQUE, .on = "email"},
    {.name = "score", .kind = MERLE_ORDERED, .on = "-score", .missing = MERLE_MISSING_LAST},
    {.name = "name", .kind = MERLE_ORDERED, .on = "name,key()"},
    {.name = "seat", .kind = MERLE_UNIQUE_ORDERED, .on = "guild,seat"},
    {.name = "items", .kind = MERLE_ORDERED, .on = "items[*].id"},
    {.name = "tags", .kind = MERLE_TAGS, .on = "tags"},
    {0}};
static const merle_schema all_schema = {.version = 1, .indexes = all_kinds};

/* ---- a database, and one that is loaded ---- */

static mrl_store *store_of(const stand *s) {
    return &s->db->store;
}

static mrl_member *member_of(const stand *s) {
    return mrl_member_join(s->db->domain);
}

static merle_bytes definition_of(const stand *s) {
    const mrl_schema *schema = mrl_root_schema_now(mrl_collection_current(s->players));
    return merle_bytes_of(schema->definition.data, schema->definition.size);
}

/* An empty database, without a collection. */
static void empty_open(stand *s, const mrl_refusal *refusal) {
    merle_options options = {.threads = MERLE_THREADS_NONE, .report = &s->report};
    const mrl_environment environment = {.refusal = refusal};
    memset(s, 0, sizeof *s);
    must(s, mrl_db_open(NULL, &options, &environment, &s->db));
    merle_report_to(s->db, &s->report);
}

static mrl_load *load_begin(stand *s, uint32_t thread_count) {
    mrl_load *load;
    const mrl_load_options options = {.thread_count = thread_count};
    must(s, mrl_load_begin(store_of(s), member_of(s), &options, &load));
    return load;
}

static merle_err load_finish(stand *s, mrl_load *load, uint64_t seq) {
    merle_err err = mrl_load_finish(load, member_of(s), &s->report);
    if (err != MERLE_OK) return err;
    mrl_log_start(s->db->log, seq, 1);
    must(s, merle_collection_find(s->db, "players", &s->players));
    return MERLE_OK;
}

/* Puts the document of the slot, if it has one. */
static merle_err copy_slot(const stand *from, mrl_load_collection *to, mrl_member *member,
                           uint32_t slot, merle_report *report) {
    const mrl_root *root = mrl_collection_current(from->players);
    const mrl_version *v = mrl_version_live(mrl_slots_load(&root->slots, slot));
    if (v == NULL) return MERLE_OK;
    return mrl_load_put(to, member, slot, mrl_version_key(v),
                        merle_bytes_of(mrl_version_doc(v), v->doc_size), mrl_version_seq(v),
                        mrl_version_expires(v), report);
}

typedef struct copying {
    const stand *from;
    stand *to;
    mrl_load_collection *collection;
    uint32_t number, slot_end;
} copying;

/* Every THREAD_COUNT-th slot, backwards. */
static void *copy_some(void *context) {
    const copying *c = context;
    mrl_member *member = member_of(c->to);
    merle_report report;
    for (uint32_t slot = c->slot_end; slot-- > 0;)
        if (slot % THREAD_COUNT == c->number)
            if (copy_slot(c->from, c->collection, member, slot, &report) != MERLE_OK) abort();
    return NULL;
}

static uint32_t slot_end_of(const stand *s) {
    return mrl_slots_end(&mrl_collection_current(s->players)->slots);
}

static void copy_in_threads(const stand *from, stand *to, mrl_load_collection *collection) {
    pthread_t threads[THREAD_COUNT];
    copying c[THREAD_COUNT];
    for (uint32_t i = 0; i < THREAD_COUNT; i++) {
        c[i] = (copying){from, to, collection, i, slot_end_of(from)};
        assert_int_equal(pthread_create(&threads[i], NULL, copy_some, &c[i]), 0);
    }
    for (uint32_t i = 0; i < THREAD_COUNT; i++) pthread_join(threads[i], NULL);
}

static void twin_open(const stand *from, stand *to, uint32_t thread_count) {
    empty_open(to, NULL);
    mrl_load *load = load_begin(to, thread_count);
    must(to, mrl_load_define(load, member_of(to), definition_of(from), 1, &to->report));
    copy_in_threads(from, to, mrl_load_find(load, 1));
    must(to, load_finish(to, load, mrl_log_published_at(store_of(from)->published)));
    must(to, merle_check(to->db, &to->report));
}

/* ---- random work ---- */

static void key_text(char *out, uint64_t number) {
    snprintf(out, 24, "player-%05llu", (unsigned long long)number);
}

static merle_bytes random_doc(mrl_random *random, merle_builder *b, uint64_t number) {
    static const char *const tags[] = {"eu", "us", "new", "a rather long tag, for a tag", "x"};
    merle_bytes doc;
    char text[64];
    merle_build_begin(b);
    snprintf(text, sizeof text, "%llu@example.com", (unsigned long long)number);
    if (mrl_random_below(random, 4) != 0) merle_build_str(b, "email", text);
    if (mrl_random_below(random, 5) != 0)
        merle_build_int(b, "score", (int64_t)mrl_random_below(random, 300) - 100);
    snprintf(text, sizeof text, "a name with a long beginning %llu",
             (unsigned long long)mrl_random_below(random, 50));
    merle_build_str(b, "name", text + mrl_random_below(random, 3));
    merle_build_str(b, "guild", tags[mrl_random_below(random, 5)]);
    if (mrl_random_below(random, 2) != 0) merle_build_uint(b, "seat", number);
    merle_build_array(b, "items");
    for (uint64_t i = mrl_random_below(random, 4); i > 0; i--) {
        merle_build_map(b, NULL);
        merle_build_int(b, "id", (int64_t)mrl_random_below(random, 100));
        merle_build_close(b);
    }
    merle_build_close(b);
    merle_build_array(b, "tags");
    for (uint64_t i = mrl_random_below(random, 4); i > 0; i--)
        merle_build_str(b, NULL, tags[mrl_random_below(random, 5)]);
    if (mrl_random_below(random, 8) == 0) merle_build_uint(b, NULL, number);
    merle_build_close(b);
    assert_int_equal(merle_build_end(b, &doc), MERLE_OK);
    return doc;
}

/* Puts and removals of the same kind in all stands. */
static void work(stand *const *stands, uint32_t stand_count, mrl_random *random, uint32_t count) {
    merle_builder *b;
    assert_int_equal(merle_builder_create(&b), MERLE_OK);
    while (count-- > 0) {
        char key[24];
        uint64_t number = mrl_random_below(random, KEY_COUNT);
        int removes = mrl_random_below(random, 4) == 0;
        key_text(key, number);
        merle_bytes doc = random_doc(random, b, number);
        for (uint32_t i = 0; i < stand_count; i++) {
            merle_err err = removes ? merle_one_remove(stands[i]->players, KEY(key), NULL)
                                    : merle_one_put(stands[i]->players, KEY(key), doc, NULL);
            assert_true(err == MERLE_OK || (removes && err == MERLE_NOT_FOUND));
        }
    }
    merle_builder_destroy(b);
}

/* ---- comparing ---- */

static void same_docs(merle_doc a, merle_doc b) {
    merle_bytes a_key = merle_doc_key(a), b_key = merle_doc_key(b);
    assert_int_equal(a_key.size, b_key.size);
    assert_memory_equal(a_key.data, b_key.data, a_key.size);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    assert_true(a.seq == b.seq);
}

/* What two stands say now. */
typedef struct pair {
    const stand *a, *b;
    merle_section in_a, in_b;
} pair;

static void same_walks(pair *p) {
    merle_scan a = {0}, b = {0};
    merle_doc doc_a, doc_b;
    uint64_t count = 0, count_a, count_b;
    size_t some;
    for (;; count++) {
        merle_err err = merle_scan_next(&p->in_a, p->a->players, &a, &doc_a, 1, &some);
        assert_int_equal(merle_scan_next(&p->in_b, p->b->players, &b, &doc_b, 1, &some), err);
        if (err != MERLE_OK) break;
        same_docs(doc_a, doc_b);
        must(p->b, merle_get(&p->in_b, p->b->players, merle_doc_key(doc_a), &doc_b));
        same_docs(doc_a, doc_b);
        merle_bytes email = merle_doc_str(doc_a, "email");
        if (email.data == NULL) continue;
        must(p->b,
             merle_get_by(&p->in_b, p->b->players, "email", &doc_b, merle_value_bytes(email)));
        same_docs(doc_a, doc_b);
    }
    must(p->a, merle_count(&p->in_a, p->a->players, &count_a));
    must(p->b, merle_count(&p->in_b, p->b->players, &count_b));
    assert_true(count == count_a && count == count_b);
}

static void same_ranges(pair *p, merle_range range) {
    merle_cursor *a, *b;
    merle_doc docs_a[16], docs_b[16];
    size_t count_a, count_b;
    uint64_t met = 0, count;
    must(p->a, merle_range_open(p->a->players, &range, &a));
    must(p->b, merle_range_open(p->b->players, &range, &b));
    for (;;) {
        merle_err err = merle_cursor_next(&p->in_a, a, docs_a, 16, &count_a);
        assert_int_equal(merle_cursor_next(&p->in_b, b, docs_b, 16, &count_b), err);
        if (err != MERLE_OK) break;
        assert_int_equal(count_a, count_b);
        for (size_t i = 0; i < count_a; i++) same_docs(docs_a[i], docs_b[i]);
        met += count_a;
    }
    must(p->b, merle_range_count(&p->in_b, p->b->players, &range, &count));
    assert_int_equal(count, met);
    merle_cursor_close(a);
    merle_cursor_close(b);
}

/* Lists the first tags of a stand. */
static size_t list_tags(const stand *s, merle_section *section, merle_buffer *bytes,
                        merle_tag_listed *out) {
    const merle_value any = {.type = MERLE_TYPE_NONE};
    size_t count;
    must(s, merle_tags_list(section, s->players, "tags", any, any, bytes, out, 64, &count));
    return count;
}

static void same_tag(pair *p, merle_value tag) {
    merle_scan a = {0}, b = {0};
    merle_doc doc_a, doc_b;
    size_t some;
    for (;;) {
        merle_err err = merle_tag_next(&p->in_a, p->a->players, "tags", tag, &a, &doc_a, 1, &some);
        assert_int_equal(merle_tag_next(&p->in_b, p->b->players, "tags", tag, &b, &doc_b, 1, &some),
                         err);
        if (err != MERLE_OK) break;
        same_docs(doc_a, doc_b);
    }
}

/* The first tags, and their sets. */
static void same_tags(pair *p) {
    merle_buffer a_bytes = {NULL, 0, 0}, b_bytes = {NULL, 0, 0};
    merle_tag_listed a[64], b[64];
    /* Tags that nobody has any more may still be listed. */
    size_t a_count = list_tags(p->a, &p->in_a, &a_bytes, a);
    size_t b_count = list_tags(p->b, &p->in_b, &b_bytes, b);
    for (size_t i = 0; i < a_count; i++) same_tag(p, a[i].tag);
    for (size_t i = 0; i < b_count; i++) same_tag(p, b[i].tag);
    merle_buffer_free(&a_bytes);
    merle_buffer_free(&b_bytes);
}

static void same_all(const stand *a, const stand *b) {
    static const char *const ordered[] = {"score", "name", "seat", "items"};
    pair p = {.a = a, .b = b};
    must(a, merle_section_begin(a->db, &p.in_a));
    must(b, merle_section_begin(b->db, &p.in_b));
    same_walks(&p);
    same_tags(&p);
    for (size_t i = 0; i < 4; i++) {
        same_ranges(&p, (merle_range){.index = ordered[i]});
        same_ranges(&p, (merle_range){.index = ordered[i], .backwards = 1});
    }
    must(a, merle_section_end(&p.in_a));
    must(b, merle_section_end(&p.in_b));
}

/* ---- tests ---- */

static void database_loaded_is_the_same_and_goes_on(void **state) {
    (void)state;
    mrl_random random;
    mrl_random_init(&random, seed);
    for (uint32_t thread_count = 1; thread_count <= THREAD_COUNT; thread_count += 2) {
        stand a, b, *both[2] = {&a, &b};
        writing_open(&a, &all_schema, (merle_options){0}, NULL);
        work(both, 1, &random, 3 * KEY_COUNT);
        twin_open(&a, &b, thread_count);
        same_all(&a, &b);
        for (int round = 0; round < 4; round++) {
            work(both, 2, &random, KEY_COUNT / 2);
            must(&b, merle_check(b.db, &b.report));
        }
        /* Slots are taken in another order now: what does not go by them stays the same. */
        pair p = {.a = &a, .b = &b};
        uint64_t count_a, count_b;
        must(&a, merle_section_begin(a.db, &p.in_a));
        must(&b, merle_section_begin(b.db, &p.in_b));
        same_ranges(&p, (merle_range){.index = "name"});
        must(&a, merle_count(&p.in_a, a.players, &count_a));
        must(&b, merle_count(&p.in_b, b.players, &count_b));
        assert_int_equal(count_a, count_b);
        must(&a, merle_section_end(&p.in_a));
        must(&b, merle_section_end(&p.in_b));
        stand_settle(&b);
        writing_close(&a);
        writing_close(&b);
    }
}

static void large_open(stand *s, uint64_t count) {
    mrl_random random;
    merle_builder *builder;
    mrl_random_init(&random, seed);
    assert_int_equal(merle_builder_create(&builder), MERLE_OK);
    writing_open(s, &all_schema, (merle_options){0}, NULL);
    for (uint64_t i = 0; i < count; i++) {
        char key[24];
        key_text(key, i);
        must(s, merle_one_put(s->players, KEY(key), random_doc(&random, builder, i), NULL));
    }
    merle_builder_destroy(builder);
}

/* More documents than one task goes over, and values than one part of a tree has. */
static void large_collection_loaded_is_the_same(void **state) {
    enum { LARGE = 40000 };
    (void)state;
    stand a, b;
    large_open(&a, LARGE);
    twin_open(&a, &b, THREAD_COUNT);
    same_all(&a, &b);
    writing_close(&a);
    writing_close(&b);
}

/* A third has ended long ago, a third will end. */
static void documents_that_end_are_loaded_with_their_moments(void **state) {
    (void)state;
    enum { MANY = 40000 };
    const int64_t far_ns = INT64_MAX - MANY;
    const merle_schema schema = {.version = 1, .expires_on = "at.end", .expires_after_ns = 7};
    merle_section section;
    merle_collection *again;
    merle_doc doc;
    uint64_t count;
    char key[32];
    stand a, b;
    writing_open(&a, &schema, (merle_options){0}, NULL);
    empty_open(&b, NULL);
    mrl_load *load = load_begin(&b, 2);
    must(&b, mrl_load_define(load, member_of(&b), definition_of(&a), 1, &b.report));
    mrl_load_collection *to = mrl_load_find(load, 1);
    merle_buffer empty = doc_of("{}");
    for (uint32_t i = 0; i < MANY; i++) {
        key_text(key, i);
        int64_t expires_ns = i % 3 == 0 ? 0 : i % 3 == 1 ? 1 + i : far_ns + i;
        must(&b, mrl_load_put(to, member_of(&b), i, merle_str(key), bytes_of(&empty), 2 + i,
                              expires_ns, &b.report));
    }
    must(&b, load_finish(&b, load, MANY + 2));
    must(&b, merle_check(b.db, &b.report));
    must(&b, merle_collection_open(b.db, "players", &schema, &again));
    must(&b, merle_section_begin(b.db, &section));
    must(&b, merle_count(&section, b.players, &count));
    assert_int_equal(count, MANY - MANY / 3);
    key_text(key, 2);
    must(&b, merle_get(&section, b.players, merle_str(key), &doc));
    assert_int_equal(merle_doc_expires(doc), far_ns + 2);
    key_text(key, 1);
    assert_int_equal(merle_get(&section, b.players, merle_str(key), &doc), MERLE_NOT_FOUND);
    must(&b, merle_section_end(&section));
    stand_settle(&b);
    assert_int_equal(stats_of(&b).expired, MANY / 3);
    assert_int_equal(stats_of(&b).expiring, MANY / 3);
    merle_buffer_free(&empty);
    writing_close(&a);
    writing_close(&b);
}

/* ---- by hand ---- */

static merle_err put_slot(stand *s, mrl_load *load, uint32_t slot, const char *key,
                          const char *json) {
    merle_buffer doc = doc_of(json);
    merle_err err = mrl_load_put(mrl_load_find(load, 7), member_of(s), slot, KEY(key),
                                 bytes_of(&doc), 5, 0, &s->report);
    merle_buffer_free(&doc);
    return err;
}

static merle_err define_json(stand *s, mrl_load *load, const char *json) {
    merle_buffer definition = doc_of(json);
    merle_err err = mrl_load_define(load, member_of(s), bytes_of(&definition), 2, &s->report);
    merle_buffer_free(&definition);
    return err;
}

#define PLAYERS(indexes)                                                                       \
    "{\"name\":\"players\",\"id\":7,\"version\":1,\"memory_only\":false,\"indexes\":[" indexes \
    "],\"rules\":[]}"
#define EMAIL_INDEX "{\"name\":\"email\",\"kind\":\"unique\",\"on\":\"email\"}"
#define ADDED_EMAIL "{\"name\":\"email\",\"kind\":\"unique\",\"on\":\"email\",\"added\":true}"
#define LEVEL_INDEX "{\"name\":\"level\",\"kind\":\"ordered\",\"on\":\"level\"}"
#define ADDED_LEVEL "{\"name\":\"level\",\"kind\":\"ordered\",\"on\":\"level\",\"added\":true}"
#define POWER_INDEX "{\"name\":\"power\",\"kind\":\"ordered\",\"on\":\"power\",\"extract\":true}"

static mrl_load *players_begin(stand *s, const char *definition) {
    empty_open(s, NULL);
    mrl_load *load = load_begin(s, 2);
    must(s, define_json(s, load, definition));
    return load;
}

static void two_documents_with_one_key_are_refused(void **state) {
    (void)state;
    stand s;
    mrl_load *load = players_begin(&s, PLAYERS(""));
    must(&s, put_slot(&s, load, 0, "a", "{\"n\":\"1\"}"));
    must(&s, put_slot(&s, load, 9, "b", "{\"n\":\"2\"}"));
    must(&s, put_slot(&s, load, 3, "a", "{\"n\":\"3\"}"));
    assert_int_equal(load_finish(&s, load, 5), MERLE_CORRUPT);
    assert_int_equal(s.report.err, MERLE_CORRUPT);
    assert_string_equal(s.report.collection, "players");
    assert_non_null(strstr(s.report.message, "slots "));
    assert_int_equal(merle_collection_find(s.db, "players", &s.players), MERLE_NOT_FOUND);
    stand_close(&s);
}

static void two_documents_with_one_unique_value_are_refused(void **state) {
    (void)state;
    stand s;
    mrl_load *load = players_begin(&s, PLAYERS(LEVEL_INDEX "," EMAIL_INDEX));
    must(&s, put_slot(&s, load, 0, "ada", "{\"email\":\"x\"}"));
    must(&s, put_slot(&s, load, 1, "bob", "{\"email\":\"y\"}"));
    must(&s, put_slot(&s, load, 2, "eve", "{\"email\":\"x\"}"));
    assert_int_equal(load_finish(&s, load, 5), MERLE_CORRUPT);
    assert_string_equal(s.report.index, "email");
    assert_non_null(strstr(s.report.message, "ada"));
    assert_non_null(strstr(s.report.message, "eve"));
    stand_close(&s);
}

/* It would have failed in the database that was closed, too. */
static void added_index_that_does_not_fit_has_failed(void **state) {
    (void)state;
    stand s;
    merle_buffer keys = {NULL, 0, 0};
    merle_offender offenders[4];
    size_t count;
    mrl_load *load = players_begin(&s, PLAYERS(""));
    must(&s, put_slot(&s, load, 0, "ada", "{\"email\":\"x\",\"level\":1}"));
    must(&s, put_slot(&s, load, 1, "bob", "{\"email\":\"x\",\"level\":[1]}"));
    must(&s, define_json(&s, load, PLAYERS(ADDED_EMAIL "," ADDED_LEVEL)));
    must(&s, put_slot(&s, load, 2, "eve", "{\"email\":\"y\",\"level\":{}}"));
    must(&s, load_finish(&s, load, 5));
    must(&s, merle_index_offenders(s.players, "email", &keys, offenders, 4, &count));
    assert_int_equal(count, 1);
    assert_int_equal(offenders[0].why, MERLE_EXISTS);
    assert_int_equal(offenders[0].key.size + offenders[0].other_key.size, 6);
    must(&s, merle_index_offenders(s.players, "level", &keys, offenders, 4, &count));
    assert_int_equal(count, 2);
    assert_int_equal(offenders[0].why, MERLE_TYPE);
    assert_memory_equal(offenders[0].key.data, "bob", 3);
    assert_memory_equal(offenders[1].key.data, "eve", 3);
    merle_buffer_free(&keys);
    must(&s, merle_check(s.db, &s.report));
    must(&s, one_json(&s, "joe", "{\"email\":\"x\",\"level\":[]}"));
    must(&s, merle_index_drop(s.players, "email", NULL));
    must(&s, merle_index_drop(s.players, "level", NULL));
    stand_settle(&s);
    writing_close(&s);
}

static void definitions_follow_one_another(void **state) {
    (void)state;
    stand s;
    mrl_load *load = players_begin(&s, PLAYERS(EMAIL_INDEX "," LEVEL_INDEX));
    must(&s, put_slot(&s, load, 0, "a", "{\"email\":\"x\",\"level\":3}"));
    /* What comes first in the documents' versions has gone; the other stays where it was. */
    must(&s, define_json(&s, load, PLAYERS(LEVEL_INDEX)));
    must(&s, put_slot(&s, load, 1, "b", "{\"level\":2}"));
    must(&s,
         define_json(
             &s, load,
             PLAYERS(
                 "{\"name\":\"n\",\"kind\":\"tags\",\"on\":\"n\",\"added\":true}," LEVEL_INDEX)));
    must(&s, put_slot(&s, load, 2, "c", "{\"level\":1,\"n\":[\"c\"]}"));
    must(&s, load_finish(&s, load, 5));
    assert_keys(&s, all_of("level"), "cba");
    assert_int_equal(merle_index_build(s.players, "n"), MERLE_OK);
    assert_int_equal(merle_index_drop(s.players, "email", NULL), MERLE_NOT_FOUND);
    writing_close(&s);
}

static merle_err power_of(void *context, merle_bytes key, merle_doc doc, merle_value *out_values,
                          size_t value_max, size_t *out_count) {
    (void)key;
    (void)value_max;
    if (merle_doc_has(doc, "wrong")) return MERLE_RULE;
    out_values[0] = merle_value_int(merle_doc_int(doc, "level", 0) * *(const int *)context);
    *out_count = 1;
    return MERLE_OK;
}

static void function_of_an_index_is_found_by_names(void **state) {
    (void)state;
    int factor = -1;
    stand s;
    mrl_load *load;
    const merle_function functions[] = {{"players", "other", NULL, NULL},
                                        {"players", "power", power_of, &factor},
                                        {NULL, NULL, NULL, NULL}};
    const mrl_load_options options = {.thread_count = 1, .functions = functions};
    empty_open(&s, NULL);
    must(&s, mrl_load_begin(store_of(&s), member_of(&s), &options, &load));
    must(&s, define_json(&s, load, PLAYERS(LEVEL_INDEX "," POWER_INDEX)));
    must(&s, put_slot(&s, load, 0, "a", "{\"level\":1}"));
    assert_int_equal(put_slot(&s, load, 1, "w", "{\"wrong\":1}"), MERLE_DIFFERS);
    assert_string_equal(s.report.index, "power");
    /* Its number stays when the index before it goes. */
    must(&s, define_json(&s, load, PLAYERS(POWER_INDEX)));
    must(&s, put_slot(&s, load, 1, "b", "{\"level\":2}"));
    must(&s, load_finish(&s, load, 5));
    assert_keys(&s, all_of("power"), "ba");
    writing_close(&s);
}

static void index_without_its_function_is_refused_or_left_out(void **state) {
    (void)state;
    stand s;
    const mrl_load_options options = {.thread_count = 1, .without_functions = 1};
    empty_open(&s, NULL);
    mrl_load *load = load_begin(&s, 1);
    assert_int_equal(define_json(&s, load, PLAYERS(POWER_INDEX)), MERLE_DIFFERS);
    assert_string_equal(s.report.collection, "players");
    assert_string_equal(s.report.index, "power");
    mrl_load_cancel(load, member_of(&s));
    must(&s, mrl_load_begin(store_of(&s), member_of(&s), &options, &load));
    must(&s, define_json(&s, load, PLAYERS(POWER_INDEX)));
    must(&s, put_slot(&s, load, 0, "a", "{\"level\":1}"));
    must(&s, load_finish(&s, load, 5));
    assert_there(&s, "a", "{\"level\":1}");
    writing_close(&s);
}

static void slots_that_are_free_are_used_again(void **state) {
    (void)state;
    stand s;
    mrl_load *load = players_begin(&s, PLAYERS(EMAIL_INDEX));
    must(&s, put_slot(&s, load, 700, "a", "{\"email\":\"x\"}"));
    must(&s, put_slot(&s, load, 3, "b", "{\"email\":\"y\"}"));
    must(&s, mrl_load_remove(mrl_load_find(load, 7), member_of(&s), 3, 6));
    must(&s, mrl_load_remove(mrl_load_find(load, 7), member_of(&s), 1000, 6));
    assert_int_equal(mrl_load_slots_end(mrl_load_find(load, 7)), 1001);
    must(&s, load_finish(&s, load, 6));
    for (int i = 0; i < 1000; i++) {
        char key[24];
        key_text(key, (uint64_t)i);
        must(&s, one_json(&s, key, "{}"));
    }
    /* As far as the shards' keys come to the runs of the shard. */
    assert_in_range(slot_end_of(&s), 1001, 1900);
    assert_there(&s, "b", NULL);
    must(&s, one_json(&s, "b", "{\"email\":\"y\"}"));
    writing_close(&s);
}

static void bytes_that_cannot_be_are_refused(void **state) {
    (void)state;
    stand s;
    mrl_load *load = players_begin(&s, PLAYERS(LEVEL_INDEX));
    mrl_load_collection *c = mrl_load_find(load, 7);
    merle_bytes bad = merle_bytes_of("\x81\xa1n", 3), good = merle_bytes_of("\x80", 1);
    merle_bytes effect = merle_bytes_of("\x91\x92\x91\xa1n\x01", 6); /* [[["n"], 1]] */
    const char *const broken[] = {
        "{}",
        PLAYERS("{\"name\":\"x\",\"kind\":\"odd\",\"on\":\"x\"}"),
        PLAYERS(LEVEL_INDEX "," LEVEL_INDEX),
        "{\"name\":\"other\",\"id\":7,\"version\":1,\"indexes\":[],\"rules\":[]}",
        "{\"name\":\"other\",\"id\":8,\"version\":0,\"indexes\":[],\"rules\":[]}",
        "{\"name\":\"other\",\"id\":8,\"version\":1,\"indexes\":[],\"rules\":[1]}"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        assert_int_equal(define_json(&s, load, broken[i]), MERLE_CORRUPT);
        assert_int_equal(s.report.err, MERLE_CORRUPT);
    }
    mrl_member *member = member_of(&s);
    assert_int_equal(mrl_load_put(c, member, 0, KEY("a"), bad, 5, 0, &s.report), MERLE_CORRUPT);
    assert_string_equal(s.report.collection, "players");
    assert_int_equal(mrl_load_put(c, member, 0, KEY(""), good, 5, 0, &s.report), MERLE_CORRUPT);
    assert_int_equal(mrl_load_put(c, member, UINT32_MAX, KEY("a"), good, 5, 0, &s.report),
                     MERLE_CORRUPT);
    assert_int_equal(put_slot(&s, load, 0, "a", "{\"level\":[]}"), MERLE_CORRUPT);
    assert_int_equal(mrl_load_effect(c, member, 0, KEY("a"), effect, 5, 0, &s.report),
                     MERLE_CORRUPT);
    must(&s, mrl_load_put(c, member, 0, KEY("a"), good, 5, 0, &s.report));
    assert_int_equal(mrl_load_effect(c, member, 0, KEY("b"), effect, 5, 0, &s.report),
                     MERLE_CORRUPT);
    assert_int_equal(mrl_load_effect(c, member, 0, KEY("a"), bad, 5, 0, &s.report), MERLE_CORRUPT);
    must(&s, mrl_load_effect(c, member, 0, KEY("a"), effect, 6, 0, &s.report));
    must(&s, load_finish(&s, load, 6));
    assert_there(&s, "a", "{\"n\":1}");
    writing_close(&s);
}

static void ids_and_collections_go_on_behind_those_given(void **state) {
    (void)state;
    uint64_t id;
    stand s;
    mrl_load *load = players_begin(&s, PLAYERS(""));
    must(&s, define_json(&s, load,
                         "{\"name\":\"gone\",\"id\":9,\"version\":1,\"indexes\":[],"
                         "\"rules\":[]}"));
    mrl_load_ids(mrl_load_find(load, 7), 1025);
    mrl_load_ids(mrl_load_find(load, 7), 5);
    must(&s, mrl_load_drop(load, member_of(&s), 9, 4));
    assert_int_equal(mrl_load_drop(load, member_of(&s), 9, 4), MERLE_CORRUPT);
    assert_null(mrl_load_find(load, 9));
    must(&s, load_finish(&s, load, 5));
    must(&s, merle_collection_next_id(s.players, &id));
    assert_int_equal(id, 1025);
    merle_collection *other;
    must(&s, merle_collection_open(s.db, "other", NULL, &other));
    assert_int_equal(merle_collection_id(other), 10);
    writing_close(&s);
}

/* ---- memory ---- */

static merle_err load_some(stand *s, const stand *from, mrl_load *load) {
    merle_err err = mrl_load_define(load, member_of(s), definition_of(from), 1, &s->report);
    for (uint32_t slot = 0; slot < slot_end_of(from) && err == MERLE_OK; slot++)
        err = copy_slot(from, mrl_load_find(load, 1), member_of(s), slot, &s->report);
    return err;
}

static uint64_t load_with(void *context, uint64_t grants) {
    stand *from = context, s;
    supply memory;
    supply_init(&memory);
    empty_open(&s, &memory.refusal);
    mrl_load *load = load_begin(&s, 1);
    supply_only(&memory, grants);
    merle_err err = load_some(&s, from, load);
    if (err == MERLE_OK)
        err = load_finish(&s, load, mrl_log_published_at(store_of(from)->published));
    else
        mrl_load_cancel(load, member_of(&s));
    uint64_t refused = supply_all(&memory);
    if (refused > 0 && err != MERLE_OK) {
        assert_int_equal(err, MERLE_NO_MEMORY);
        assert_int_equal(s.report.err, MERLE_NO_MEMORY);
        /* And once more, with memory. */
        load = load_begin(&s, 1);
        must(&s, load_some(&s, from, load));
        must(&s, load_finish(&s, load, mrl_log_published_at(store_of(from)->published)));
    }
    same_all(from, &s);
    must(&s, merle_check(s.db, &s.report));
    stand_close(&s);
    return refused;
}

static void refused_memory_leaves_an_empty_store(void **state) {
    (void)state;
    stand from, *stands[1] = {&from};
    mrl_random random;
    mrl_random_init(&random, seed);
    writing_open(&from, &all_schema, (merle_options){0}, NULL);
    work(stands, 1, &random, 40);
    refuse_in_turn(load_with, &from, 60);
    writing_close(&from);
}

static uint64_t domain_bytes(const stand *s, mrl_purpose purpose) {
    return mrl_domain_bytes(s->db->domain, purpose);
}

typedef void supply_fn(supply *s, uint64_t grants);

/* What is refused while tables are made; 0: nothing was any more. */
static uint64_t finish_with(const stand *from, supply_fn *refuse, uint64_t grants) {
    stand s;
    supply memory;
    supply_init(&memory);
    empty_open(&s, &memory.refusal);
    uint64_t other = domain_bytes(&s, MRL_FOR_OTHER);
    mrl_load *load = load_begin(&s, 1);
    must(&s, load_some(&s, from, load));
    refuse(&memory, grants);
    merle_err err = load_finish(&s, load, mrl_log_published_at(store_of(from)->published));
    uint64_t refused = supply_all(&memory);
    assert_int_equal(err, refused > 0 ? MERLE_NO_MEMORY : MERLE_OK);
    assert_true(domain_bytes(&s, MRL_FOR_OTHER) <= other + 4096);
    if (refused > 0) {
        assert_int_equal(domain_bytes(&s, MRL_FOR_DOCUMENTS), 0);
        assert_int_equal(merle_collection_find(s.db, "players", &s.players), MERLE_NOT_FOUND);
    }
    must(&s, merle_check(s.db, &s.report));
    stand_close(&s);
    return refused;
}

static void finish_without_memory_gives_all_back(void **state) {
    (void)state;
    stand from;
    uint64_t times = 0;
    large_open(&from, 18000);
    for (uint64_t grants = 1; finish_with(&from, supply_only, grants) != 0;
         grants += grants / 16 + 1)
        times++;
    assert_true(times > 40);
    writing_close(&from);
}

static void finish_with_one_refusal_fails(void **state) {
    (void)state;
    stand from;
    uint64_t times = 0;
    large_open(&from, 300);
    for (uint64_t grants = 0; finish_with(&from, supply_all_but, grants) != 0; grants++) times++;
    assert_true(times > 100);
    writing_close(&from);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(database_loaded_is_the_same_and_goes_on),
        cmocka_unit_test(large_collection_loaded_is_the_same),
        cmocka_unit_test(two_documents_with_one_key_are_refused),
        cmocka_unit_test(two_documents_with_one_unique_value_are_refused),
        cmocka_unit_test(added_index_that_does_not_fit_has_failed),
        cmocka_unit_test(definitions_follow_one_another),
        cmocka_unit_test(function_of_an_index_is_found_by_names),
        cmocka_unit_test(index_without_its_function_is_refused_or_left_out),
        cmocka_unit_test(slots_that_are_free_are_used_again),
        cmocka_unit_test(bytes_that_cannot_be_are_refused),
        cmocka_unit_test(ids_and_collections_go_on_behind_those_given),
        cmocka_unit_test(refused_memory_leaves_an_empty_store),
        cmocka_unit_test(finish_without_memory_gives_all_back),
        cmocka_unit_test(finish_with_one_refusal_fails),
        cmocka_unit_test(documents_that_end_are_loaded_with_their_moments),
    };
    seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
