/* tests/model/query_test.c - queries against a walk over all documents.
 *
 * Aim     Whatever drives a query, it gives what a walk gives that asks the condition of every
 *         document and sorts what is left: the same documents, each once, in the order that was
 *         asked for; also in sections that stayed open while everything changed, in commits, and
 *         beside writers in other threads. Counts, sums and different values are those of the walk.
 *         A query that goes on behind a position gives the rest.
 * Method  Random schemas, documents, commits and conditions; each query is asked as it is planned,
 *         and again with every index forced to drive, and with none.
 * Blind   whether the walk and the condition's own test are right: those have tests of their own.
 *         Which plan is chosen: tests/unit/query.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include <merle/query.h>

#include "document/encode.h"
#include "document/scan.h"
#include "questions.h"
#include "seed.h"

enum { SECTION_COUNT = 3, ROW_MAX = 400 };

/* ---- what a walk says ---- */

typedef struct row {
    merle_doc doc;
    uint8_t order[128];
    size_t order_size;
} row;

typedef struct rows {
    row list[ROW_MAX];
    size_t count;
} rows;

static void order_of(row *to, const char *order) {
    char copy[128];
    to->order_size = 0;
    if (order == NULL) return;
    (void)snprintf(copy, sizeof copy, "%s", order);
    for (char *rest = copy, *part; (part = strtok_r(rest, ", ", &rest)) != NULL;) {
        int descending = part[0] == '-';
        merle_value value;
        size_t size;
        if (strcmp(part + descending, "key()") == 0)
            value = merle_value_bytes(merle_doc_key(to->doc));
        else if (merle_doc_value(to->doc, part + descending, &value) != MERLE_OK ||
                 value.type == MERLE_TYPE_ARRAY)
            value = merle_value_nil();
        assert_int_equal(mrl_encode_value(&value, descending, to->order + to->order_size,
                                          sizeof to->order - to->order_size, &size),
                         MERLE_OK);
        to->order_size += size;
    }
}

static int by_order(const void *left, const void *right) {
    const row *a = left, *b = right;
    size_t size = a->order_size < b->order_size ? a->order_size : b->order_size;
    return memcmp(a->order, b->order, size);
}

static void walk(merle_section *section, const stage *s, const question *q, const char *order,
                 rows *out) {
    merle_scan scan = {0};
    merle_doc docs[16];
    size_t count;
    out->count = 0;
    while (merle_scan_next(section, s->players, &scan, docs, 16, &count) == MERLE_OK)
        for (size_t i = 0; i < count; i++) {
            if (!meets(q, docs[i])) continue;
            assert_true(out->count < ROW_MAX);
            row *to = &out->list[out->count++];
            to->doc = docs[i];
            order_of(to, order);
        }
    qsort(out->list, out->count, sizeof out->list[0], by_order);
}

/* ---- comparing ---- */

static void explain(merle_rows *asked) {
    merle_buffer json = {NULL, 0, 0};
    if (merle_rows_explain(asked, &json) == MERLE_OK)
        print_message("# %.*s\n", (int)json.size, (const char *)json.data);
    merle_buffer_free(&json);
}

static int is_among(const rows *wanted, merle_doc doc) {
    for (size_t i = 0; i < wanted->count; i++)
        if (wanted->list[i].doc.data == doc.data) return 1;
    return 0;
}

/* The documents are so many of the wanted ones, beginning with the one numbered `offset`. */
static const char *what_is_wrong(const rows *wanted, const merle_doc *docs, size_t count,
                                 const merle_query *query) {
    size_t left = wanted->count > query->offset ? wanted->count - query->offset : 0;
    if (query->limit > 0 && left > query->limit) left = query->limit;
    if (count != left) return "another number of documents";
    for (size_t i = 0; i < count; i++) {
        row found = {.doc = docs[i]};
        order_of(&found, query->order);
        const row *at = &wanted->list[query->offset + i];
        if (found.order_size != at->order_size ||
            memcmp(found.order, at->order, at->order_size) != 0)
            return "another order";
        if (!is_among(wanted, docs[i])) return "a document that does not belong there";
        for (size_t j = 0; j < i; j++)
            if (docs[j].data == docs[i].data) return "a document twice";
    }
    return NULL;
}

/* Reads it all, now and then going on behind a position with rows that are opened anew. */
static size_t read_all(merle_section *section, const stage *s, merle_query query, merle_rows *asked,
                       merle_doc *docs, mrl_random *r) {
    merle_buffer position = {NULL, 0, 0};
    size_t met = 0, some = 0;
    uint64_t limit = query.limit;
    while (met < ROW_MAX) {
        size_t wanted = 1 + mrl_random_below(r, 40);
        if (wanted > ROW_MAX - met) wanted = ROW_MAX - met;
        merle_err err = merle_rows_next(asked, docs + met, wanted, &some);
        if (err == MERLE_NOT_FOUND) break;
        must(s, err);
        met += some;
        if (mrl_random_below(r, 3) != 0 || (limit > 0 && met == limit)) continue;
        must(s, merle_rows_position(asked, &position));
        merle_rows_close(asked);
        query.after = merle_bytes_of(position.data, position.size);
        query.offset = 0;
        if (limit > 0) query.limit = limit - met;
        must(s, merle_query_open(section, s->players, &query, &asked));
    }
    merle_rows_close(asked);
    merle_buffer_free(&position);
    return met;
}

static int compare_query(merle_section *section, const stage *s, const question *q,
                         const rows *wanted, const merle_query *query, mrl_random *r) {
    static merle_doc docs[ROW_MAX];
    merle_rows *asked;
    merle_err err = merle_query_open(section, s->players, query, &asked);
    if (err == MERLE_INVALID && query->index != NULL && query->index[0] != 0) return 0;
    must(s, err);
    size_t met = read_all(section, s, *query, asked, docs, r);
    const char *wrong = what_is_wrong(wanted, docs, met, query);
    if (wrong == NULL) return 1;
    print_message("# %s\n# order %s, offset %llu, limit %llu, index %s: %zu of %zu\n", q->text,
                  query->order == NULL ? "none" : query->order, (unsigned long long)query->offset,
                  (unsigned long long)query->limit, query->index == NULL ? "any" : query->index,
                  met, wanted->count);
    must(s, merle_query_open(section, s->players, query, &asked));
    while (merle_rows_next(asked, docs, ROW_MAX, &met) == MERLE_OK) continue;
    explain(asked);
    fail_msg("%s", wrong);
    return 1;
}

/* ---- about all of it ---- */

static void compare_count(merle_section *section, const stage *s, const question *q,
                          const rows *wanted, const merle_query *query) {
    uint64_t count = 7, left = wanted->count > query->offset ? wanted->count - query->offset : 0;
    if (query->limit > 0 && left > query->limit) left = query->limit;
    merle_err err = merle_query_count(section, s->players, query, &count);
    if (err == MERLE_INVALID && query->index != NULL && query->index[0] != 0) return;
    must(s, err);
    if (count != left)
        fail_msg("%s: %llu counted, there are %llu, index %s", q->text, (unsigned long long)count,
                 (unsigned long long)left, query->index == NULL ? "any" : query->index);
}

typedef struct values {
    row list[ROW_MAX];
    uint64_t counts[ROW_MAX];
    size_t count, at;
} values;

static int add_distinct(void *context, merle_value value, uint64_t count) {
    values *v = context;
    uint8_t encoded[128];
    size_t size;
    assert_true(v->at < v->count);
    assert_int_equal(mrl_encode_value(&value, 0, encoded, sizeof encoded, &size), MERLE_OK);
    assert_int_equal(size, v->list[v->at].order_size);
    assert_memory_equal(encoded, v->list[v->at].order, size);
    assert_int_equal(count, v->counts[v->at]);
    v->at++;
    return 0;
}

/* The values at the path, in order, each once. */
static void values_of(const rows *wanted, const char *path, values *out) {
    size_t kept = 0;
    merle_value value;
    out->count = out->at = 0;
    for (size_t i = 0; i < wanted->count; i++) {
        row *to = &out->list[out->count];
        to->doc = wanted->list[i].doc;
        if (merle_doc_value(to->doc, path, &value) != MERLE_OK || value.type == MERLE_TYPE_NIL ||
            value.type == MERLE_TYPE_ARRAY)
            continue;
        order_of(to, path);
        out->count++;
    }
    qsort(out->list, out->count, sizeof out->list[0], by_order);
    for (size_t i = 0; i < out->count; i++) {
        if (i > 0 && by_order(&out->list[i], &out->list[kept - 1]) == 0) {
            out->counts[kept - 1]++;
            continue;
        }
        out->list[kept] = out->list[i];
        out->counts[kept++] = 1;
    }
    out->count = kept;
}

static void assert_encoded(const merle_value *value, const row *wanted) {
    uint8_t encoded[128];
    size_t size;
    assert_int_equal(mrl_encode_value(value, 0, encoded, sizeof encoded, &size), MERLE_OK);
    assert_int_equal(size, wanted->order_size);
    assert_memory_equal(encoded, wanted->order, size);
}

static void compare_sum(const rows *wanted, const char *path, const merle_summary *summary) {
    __int128 integers = 0;
    long double floats = 0;
    uint64_t numbers = 0, float_count = 0;
    merle_value value;
    for (size_t i = 0; i < wanted->count; i++) {
        if (merle_doc_value(wanted->list[i].doc, path, &value) != MERLE_OK) continue;
        if (value.type == MERLE_TYPE_INT) integers += value.number.i;
        if (value.type == MERLE_TYPE_FLOAT) floats += (long double)value.number.f;
        float_count += value.type == MERLE_TYPE_FLOAT;
        numbers += value.type == MERLE_TYPE_INT || value.type == MERLE_TYPE_FLOAT;
    }
    assert_int_equal(summary->numbers, numbers);
    if (float_count == 0 && integers >= INT64_MIN && integers <= INT64_MAX) {
        assert_int_equal(summary->sum.type, MERLE_TYPE_INT);
        assert_int_equal(summary->sum.number.i, (int64_t)integers);
        return;
    }
    if (float_count == 0 && integers > INT64_MAX && integers <= (__int128)UINT64_MAX) {
        assert_int_equal(summary->sum.type, MERLE_TYPE_UINT);
        assert_true(summary->sum.number.u == (uint64_t)integers);
        return;
    }
    long double all = (long double)integers + floats;
    assert_int_equal(summary->sum.type, MERLE_TYPE_FLOAT);
    if (all != all) assert_true(summary->sum.number.f != summary->sum.number.f);
    if (all == all) assert_true(summary->sum.number.f == (double)all);
}

static void compare_summary(merle_section *section, const stage *s, const rows *wanted,
                            const merle_query *query, const char *path) {
    static values different;
    merle_summary summary = {0};
    merle_query whole = *query;
    whole.limit = whole.offset = 0;
    values_of(wanted, path, &different);
    must(s, merle_query_summarize(section, s->players, &whole, path, &summary));
    assert_int_equal(summary.count, wanted->count);
    compare_sum(wanted, path, &summary);
    assert_int_equal(summary.min.type == MERLE_TYPE_NONE, different.count == 0);
    if (different.count > 0) {
        assert_encoded(&summary.min, &different.list[0]);
        assert_encoded(&summary.max, &different.list[different.count - 1]);
    }
    must(s, merle_query_distinct(section, s->players, &whole, path, add_distinct, &different));
    assert_int_equal(different.at, different.count);
}

/* One random question, asked in every way. Returns how many ways there were. */
static uint64_t compare(merle_section *section, const stage *s, mrl_random *r) {
    static const char *const orders[] = {NULL,
                                         NULL,
                                         "score",
                                         "-score",
                                         "level",
                                         "-level, score",
                                         "guild, -score",
                                         "-guild, score",
                                         "-guild, level",
                                         "pos.x, -email",
                                         "level, score",
                                         "tags",
                                         "key()",
                                         "guild, -key()",
                                         "guild, -level"};
    static rows wanted;
    static question q;
    uint64_t ways = 0;
    question_make(&q, r);
    merle_query query = {.where = q.condition, .values = q.values, .value_count = q.value_count};
    query.order = orders[mrl_random_below(r, sizeof orders / sizeof orders[0])];
    if (mrl_random_below(r, 3) == 0) query.limit = 1 + mrl_random_below(r, 30);
    if (mrl_random_below(r, 4) == 0) query.offset = mrl_random_below(r, 20);
    walk(section, s, &q, query.order, &wanted);
    (void)compare_query(section, s, &q, &wanted, &query, r);
    compare_count(section, s, &q, &wanted, &query);
    compare_summary(section, s, &wanted, &query, mrl_random_below(r, 2) ? "score" : "guild");
    query.index = "";
    (void)compare_query(section, s, &q, &wanted, &query, r);
    compare_count(section, s, &q, &wanted, &query);
    for (size_t i = 0; i < s->index_count; i++) {
        query.index = s->indexes[i].name;
        ways += (uint64_t)compare_query(section, s, &q, &wanted, &query, r);
        compare_count(section, s, &q, &wanted, &query);
    }
    merle_condition_destroy(q.condition);
    return ways;
}

/* ---- cases ---- */

static uint64_t one_round(mrl_random *r, int queries) {
    merle_section sections[SECTION_COUNT];
    stage s;
    merle_builder *b;
    uint64_t ways = 0;
    stage_open(&s, r);
    must(&s, merle_builder_create(&b));
    for (uint64_t i = mrl_random_below(r, 60); i > 0; i--) one_commit(&s, b, r);
    for (int i = 0; i < SECTION_COUNT; i++) must(&s, merle_section_begin(s.db, &sections[i]));
    for (int i = 0; i < queries; i++) {
        merle_section *section = &sections[mrl_random_below(r, SECTION_COUNT)];
        one_commit(&s, b, r);
        (void)merle_step(s.db, 0, 0);
        if (mrl_random_below(r, 4) == 0) {
            must(&s, merle_section_end(section));
            must(&s, merle_section_begin(s.db, section));
        }
        ways += compare(section, &s, r);
    }
    for (int i = 0; i < SECTION_COUNT; i++) must(&s, merle_section_end(&sections[i]));
    merle_builder_destroy(b);
    stage_close(&s);
    return ways;
}

static void query_gives_what_a_walk_gives(void **state) {
    mrl_random r;
    uint64_t ways = 0;
    (void)state;
    mrl_random_init(&r, test_seed());
    for (uint64_t i = test_amount(150); i > 0; i--) ways += one_round(&r, 40);
    test_say("%llu queries were driven by an index that was forced", (unsigned long long)ways);
    assert_true(ways > 100);
}

static void query_in_a_commit_gives_what_a_walk_there_gives(void **state) {
    mrl_random r;
    (void)state;
    mrl_random_init(&r, test_seed() + 1);
    for (uint64_t i = test_amount(80); i > 0; i--) {
        stage s;
        merle_builder *b;
        stage_open(&s, &r);
        must(&s, merle_builder_create(&b));
        for (uint64_t j = mrl_random_below(&r, 40); j > 0; j--) one_commit(&s, b, &r);
        for (int j = 0; j < 8; j++) {
            merle_commit *commit;
            must(&s, merle_begin(s.db, &commit));
            for (int k = 0; k < 5; k++) {
                char text[16];
                for (uint64_t n = mrl_random_below(&r, 6); n > 0; n--)
                    must(&s,
                         merle_put(commit, s.players, key_of(text, mrl_random_below(&r, KEY_COUNT)),
                                   build(b, &r)));
                (void)compare(merle_commit_section(commit), &s, &r);
            }
            if (mrl_random_below(&r, 2) == 0)
                (void)merle_end(commit, NULL);
            else
                merle_cancel(commit);
        }
        merle_builder_destroy(b);
        stage_close(&s);
    }
}

/* ---- changing ---- */

/* How often each document was changed: once if it was among the wanted ones, else never. */
static void assert_visited(const stage *s, const rows *wanted, const char *field, int64_t times) {
    merle_section section;
    merle_scan scan = {0};
    merle_doc doc;
    size_t count, visited = 0;
    must(s, merle_section_begin(s->db, &section));
    while (merle_scan_next(&section, s->players, &scan, &doc, 1, &count) == MERLE_OK) {
        int64_t number = merle_doc_int(doc, field, 0);
        assert_true(number == 0 || number == times);
        visited += number != 0;
    }
    assert_int_equal(visited, wanted->count);
    for (size_t i = 0; i < wanted->count; i++) {
        must(s, merle_get(&section, s->players, merle_doc_key(wanted->list[i].doc), &doc));
        assert_int_equal(merle_doc_int(doc, field, 0), times);
    }
    must(s, merle_section_end(&section));
}

static merle_err update_inside(const stage *s, const merle_query *query, const merle_op *ops,
                               uint64_t *out_changed) {
    merle_commit *commit;
    must(s, merle_begin(s->db, &commit));
    must(s, merle_commit_update_where(commit, s->players, query, ops, 2, out_changed));
    return merle_end(commit, NULL);
}

static void update_some(const stage *s, mrl_random *r, int round) {
    static rows wanted;
    static question q;
    merle_section section;
    merle_bulk bulk = {0};
    char field[16];
    question_make(&q, r);
    merle_query query = {.where = q.condition, .values = q.values, .value_count = q.value_count};
    if (mrl_random_below(r, 2) == 0) query.memory_max = 1 + mrl_random_below(r, 1000);
    (void)snprintf(field, sizeof field, "visits%d", round);
    /* Moves it along what may drive. */
    const merle_op ops[] = {MERLE_INC(field, 1),
                            MERLE_SET_INT("level", (int64_t)mrl_random_below(r, 12))};
    must(s, merle_section_begin(s->db, &section));
    walk(&section, s, &q, NULL, &wanted);
    if (mrl_random_below(r, 3) == 0) {
        query.memory_max = 0;
        must(s, update_inside(s, &query, ops, &bulk.changed));
    } else {
        uint32_t commit_max = (uint32_t)mrl_random_below(r, 40);
        must(s, merle_update_where(s->players, &query, ops, 2, commit_max, &bulk));
        assert_int_equal(bulk.matched, wanted.count);
        assert_int_equal(bulk.skipped, 0);
    }
    assert_int_equal(bulk.changed, wanted.count);
    assert_visited(s, &wanted, field, 1);
    must(s, merle_section_end(&section));
    merle_condition_destroy(q.condition);
}

static void remove_some(const stage *s, mrl_random *r) {
    static rows wanted, left;
    static question q;
    merle_section section;
    merle_bulk bulk = {0};
    question_make(&q, r);
    merle_query query = {.where = q.condition, .values = q.values, .value_count = q.value_count};
    query.memory_max = 1 + mrl_random_below(r, 1000);
    must(s, merle_section_begin(s->db, &section));
    walk(&section, s, &q, NULL, &wanted);
    must(s, merle_section_end(&section));
    must(s, merle_remove_where(s->players, &query, (uint32_t)mrl_random_below(r, 40), &bulk));
    assert_int_equal(bulk.changed, wanted.count);
    must(s, merle_section_begin(s->db, &section));
    walk(&section, s, &q, NULL, &left);
    assert_int_equal(left.count, 0);
    must(s, merle_section_end(&section));
    merle_condition_destroy(q.condition);
}

static void update_where_changes_each_match_once(void **state) {
    mrl_random r;
    (void)state;
    mrl_random_init(&r, test_seed() + 3);
    for (uint64_t i = test_amount(40); i > 0; i--) {
        stage s;
        merle_builder *b;
        stage_open(&s, &r);
        must(&s, merle_builder_create(&b));
        for (uint64_t j = mrl_random_below(&r, 60); j > 0; j--) one_commit(&s, b, &r);
        for (int j = 0; j < 6; j++) update_some(&s, &r, j);
        remove_some(&s, &r);
        merle_builder_destroy(b);
        stage_close(&s);
    }
}

/* ---- beside writers ---- */

typedef struct writer {
    const stage *s;
    uint64_t seed;
    _Atomic int *stops;
} writer;

static void *write_on(void *context) {
    const writer *w = context;
    mrl_random r;
    merle_builder *b;
    mrl_random_init(&r, w->seed);
    if (merle_builder_create(&b) != MERLE_OK) return NULL;
    while (!atomic_load(w->stops)) one_commit(w->s, b, &r);
    merle_builder_destroy(b);
    return NULL;
}

static void query_beside_writers_gives_what_a_walk_gives(void **state) {
    mrl_random r;
    stage s;
    _Atomic int stops = 0;
    pthread_t threads[2];
    writer writers[2];
    (void)state;
    mrl_random_init(&r, test_seed() + 2);
    stage_open(&s, &r);
    for (int i = 0; i < 2; i++) {
        writers[i] = (writer){&s, test_seed() + 10 + (uint64_t)i, &stops};
        assert_int_equal(pthread_create(&threads[i], NULL, write_on, &writers[i]), 0);
    }
    for (uint64_t i = test_amount(1000); i > 0; i--) {
        merle_section section;
        must(&s, merle_section_begin(s.db, &section));
        (void)compare(&section, &s, &r);
        must(&s, merle_section_end(&section));
    }
    atomic_store(&stops, 1);
    for (int i = 0; i < 2; i++) (void)pthread_join(threads[i], NULL);
    stage_close(&s);
}

static void *patch_on(void *context) {
    const writer *w = context;
    mrl_random r;
    char text[16];
    mrl_random_init(&r, w->seed);
    while (!atomic_load(w->stops)) {
        const merle_op op = MERLE_SET_INT("score", (int64_t)mrl_random_below(&r, 1000));
        merle_bytes key = key_of(text, mrl_random_below(&r, KEY_COUNT));
        (void)merle_one_patch_ops(w->s->players, key, &op, 1, NULL, NULL);
    }
    return NULL;
}

/* A collection with an index on the score, and two threads that set scores below 1,000. */
typedef struct busy {
    stage s;
    _Atomic int stops;
    pthread_t threads[2];
    writer writers[2];
} busy;

static void busy_begin(busy *b) {
    static const merle_index indexes[] = {{.name = "score", .kind = MERLE_ORDERED, .on = "score"},
                                          {0}};
    static const uint8_t doc[] = {0x81, 0xa5, 's', 'c', 'o', 'r', 'e', 0x05};
    const merle_schema schema = {.version = 1, .indexes = indexes};
    memset(b, 0, sizeof *b);
    must(&b->s, merle_open(NULL, NULL, &b->s.db));
    must(&b->s, merle_collection_open(b->s.db, "players", &schema, &b->s.players));
    for (uint64_t i = 0; i < KEY_COUNT; i++) {
        char text[16];
        merle_bytes key = key_of(text, i);
        must(&b->s, merle_one_put(b->s.players, key, merle_bytes_of(doc, sizeof doc), NULL));
    }
    for (int i = 0; i < 2; i++) {
        b->writers[i] = (writer){&b->s, test_seed() + 20 + (uint64_t)i, &b->stops};
        assert_int_equal(pthread_create(&b->threads[i], NULL, patch_on, &b->writers[i]), 0);
    }
}

static void busy_stop(busy *b) {
    atomic_store(&b->stops, 1);
    for (int i = 0; i < 2; i++) (void)pthread_join(b->threads[i], NULL);
}

/* All of them meet the condition all the time, while their places in the index change. */
static void update_where_beside_writers_changes_each_match_once(void **state) {
    static busy b;
    static rows all;
    const merle_op ops[] = {MERLE_INC("visits", 1), MERLE_INC("score", 1)};
    const merle_value zero = merle_value_int(0);
    merle_condition *condition;
    const stage *s = &b.s;
    (void)state;
    busy_begin(&b);
    must(s, merle_condition_parse(merle_str("score >= $1"), &condition, NULL));
    merle_query query = {.where = condition, .values = &zero, .value_count = 1};
    int64_t times = (int64_t)test_amount(20);
    for (int64_t i = 0; i < times; i++) {
        merle_bulk bulk = {0};
        query.memory_max = i % 2 == 1 ? 300 : 0;
        must(s, merle_update_where(s->players, &query, ops, 2, 1 + (uint32_t)i % 16, &bulk));
        assert_int_equal(bulk.changed, KEY_COUNT);
    }
    busy_stop(&b);
    merle_section section;
    question everything = {.condition = NULL};
    must(s, merle_section_begin(s->db, &section));
    walk(&section, s, &everything, NULL, &all);
    must(s, merle_section_end(&section));
    assert_int_equal(all.count, KEY_COUNT);
    assert_visited(s, &all, "visits", times);
    merle_condition_destroy(condition);
    stage_close(&b.s);
}

/* Nobody else goes beyond a million: who is there came from above 500. */
static void assert_left_out(const stage *s) {
    merle_section section;
    merle_scan scan = {0};
    merle_doc doc;
    size_t count;
    must(s, merle_section_begin(s->db, &section));
    while (merle_scan_next(&section, s->players, &scan, &doc, 1, &count) == MERLE_OK) {
        int64_t score = merle_doc_int(doc, "score", 0);
        if (score >= 1000000) assert_in_range(score, 1000500, 1000999);
    }
    must(s, merle_section_end(&section));
}

static void update_where_leaves_out_what_meets_it_no_more(void **state) {
    static busy b;
    const merle_op op = MERLE_INC("score", 1000000);
    merle_condition *condition;
    const stage *s = &b.s;
    uint64_t skipped = 0;
    (void)state;
    busy_begin(&b);
    must(s, merle_condition_parse(merle_str("score between 500 and 999"), &condition, NULL));
    const merle_query query = {.where = condition};
    for (uint64_t i = 0; i < test_amount(40) || (skipped == 0 && i < 10000); i++) {
        merle_bulk bulk = {0};
        must(s, merle_update_where(s->players, &query, &op, 1, 8, &bulk));
        assert_int_equal(bulk.changed + bulk.skipped, bulk.matched);
        skipped += bulk.skipped;
        assert_left_out(s);
    }
    busy_stop(&b);
    assert_int_not_equal(skipped, 0);
    merle_condition_destroy(condition);
    stage_close(&b.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query_gives_what_a_walk_gives),
        cmocka_unit_test(query_in_a_commit_gives_what_a_walk_there_gives),
        cmocka_unit_test(update_where_changes_each_match_once),
        cmocka_unit_test(query_beside_writers_gives_what_a_walk_gives),
        cmocka_unit_test(update_where_beside_writers_changes_each_match_once),
        cmocka_unit_test(update_where_leaves_out_what_meets_it_no_more),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
