/* tests/unit/store/load_test.c - an empty store is filled from what another one has.
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
#include "listing.h"

#include <pthread.h>

#include "base/buffer.h"
#include "store/load.h"

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

static void same_all(const stand *a, const stand *b) {
    static const char *const ordered[] = {"score", "name", "seat", "items"};
    pair p = {.a = a, .b = b};
    must(a, merle_section_begin(a->db, &p.in_a));
    must(b, merle_section_begin(b->db, &p.in_b));
    same_walks(&p);
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

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(database_loaded_is_the_same_and_goes_on),
    };
    seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
