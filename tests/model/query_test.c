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

#include "base/random.h"
#include "document/encode.h"
#include "document/scan.h"
#include "seed.h"

enum { KEY_COUNT = 250, SECTION_COUNT = 3, ROW_MAX = 400, TEXT_MAX = 4096, PARAMETER_MAX = 8 };

typedef struct stage {
    merle_db *db;
    merle_collection *players;
    merle_report report;
    merle_index indexes[12];
    size_t index_count;
} stage;

static void must(const stage *s, merle_err err) {
    if (err != MERLE_OK) print_message("# %s: %s\n", merle_err_name(err), s->report.message);
    assert_int_equal(err, MERLE_OK);
}

/* ---- the stage ---- */

static void stage_open(stage *s, mrl_random *r) {
    static const merle_index all[] = {
        {"email", MERLE_UNIQUE, "email"},
        {"pair", MERLE_UNIQUE, "guild, -email"},
        {"score", MERLE_ORDERED, "score"},
        {"down", MERLE_ORDERED, "-score"},
        {"rank", MERLE_ORDERED, "guild, -score"},
        {"level", MERLE_ORDERED, "level"},
        {"trio", MERLE_ORDERED, "-guild, level, score"},
        {"x", MERLE_ORDERED, "pos.x"},
        {"tags", MERLE_TAGS, "tags"},
        {"guilds", MERLE_TAGS, "guild"},
    };
    const merle_options options = {.threads = MERLE_THREADS_NONE};
    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (mrl_random_below(r, 3) != 0) s->indexes[s->index_count++] = all[i];
    const merle_schema schema = {.version = 1, .indexes = s->indexes};
    must(s, merle_open(NULL, &options, &s->db));
    merle_report_to(s->db, &s->report);
    must(s, merle_collection_open(s->db, "players", &schema, &s->players));
}

static void stage_close(stage *s) {
    must(s, merle_check(s->db, &s->report));
    must(s, merle_close(s->db));
}

static merle_bytes key_of(char text[16], uint64_t number) {
    (void)snprintf(text, 16, "p%llu", (unsigned long long)number);
    return merle_str(text);
}

/* ---- documents ---- */

static const char *const guilds[] = {"red", "redder", "blue", "b\x01ue"};

static void build_score(merle_builder *b, mrl_random *r) {
    static const int64_t edges[] = {
        INT64_MIN, -1, 0, INT64_MAX, (int64_t)1 << 53, ((int64_t)1 << 53) + 1};
    uint64_t kind = mrl_random_below(r, 16);
    if (kind == 0) return;
    if (kind == 1) merle_build_nil(b, "score");
    if (kind == 2) merle_build_float(b, "score", (double)mrl_random_below(r, 40) / 2);
    if (kind == 3) merle_build_bool(b, "score", (int)mrl_random_below(r, 2));
    if (kind == 4) merle_build_str(b, "score", mrl_random_below(r, 2) ? "high" : "higher");
    if (kind == 5) merle_build_int(b, "score", edges[mrl_random_below(r, 6)]);
    if (kind == 6) merle_build_float(b, "score", __builtin_nan(""));
    if (kind == 7) merle_build_time(b, "score", (int64_t)mrl_random_below(r, 3), 5);
    if (kind > 7) merle_build_int(b, "score", (int64_t)mrl_random_below(r, 20));
}

static void build_tags(merle_builder *b, mrl_random *r) {
    uint64_t count = mrl_random_below(r, 6);
    if (count == 5) merle_build_str(b, "tags", "t2");
    if (count == 0 || count == 5) return;
    merle_build_array(b, "tags");
    for (uint64_t i = 0; i < count; i++) {
        char text[16];
        uint64_t tag = mrl_random_below(r, 8);
        (void)snprintf(text, sizeof text, "t%llu", (unsigned long long)tag);
        if (tag == 0)
            merle_build_float(b, NULL, 1.0);
        else if (tag == 1)
            merle_build_nil(b, NULL);
        else
            merle_build_str(b, NULL, text);
    }
    merle_build_close(b);
}

static merle_bytes build(merle_builder *b, mrl_random *r) {
    merle_bytes bytes;
    merle_build_begin(b);
    build_score(b, r);
    if (mrl_random_below(r, 3) == 0) merle_build_int(b, "email", (int64_t)mrl_random_below(r, 300));
    if (mrl_random_below(r, 8) != 0) merle_build_str(b, "guild", guilds[mrl_random_below(r, 4)]);
    if (mrl_random_below(r, 5) != 0) merle_build_int(b, "level", (int64_t)mrl_random_below(r, 12));
    if (mrl_random_below(r, 4) == 0) merle_build_bool(b, "banned", (int)mrl_random_below(r, 2));
    build_tags(b, r);
    if (mrl_random_below(r, 2) == 0) {
        merle_build_map(b, "pos");
        merle_build_int(b, "x", (int64_t)mrl_random_below(r, 100) - 50);
        if (mrl_random_below(r, 2) == 0) merle_build_int(b, "y", 7);
        merle_build_close(b);
    }
    if (merle_build_end(b, &bytes) != MERLE_OK) fail();
    return bytes;
}

/* Some of it is refused, for a unique value that is taken. */
static void write_some(const stage *s, merle_commit *commit, merle_builder *b, mrl_random *r,
                       uint64_t count) {
    char text[16];
    for (uint64_t i = 0; i < count; i++) {
        merle_bytes key = key_of(text, mrl_random_below(r, KEY_COUNT));
        uint64_t kind = mrl_random_below(r, 8);
        if (kind == 0)
            (void)merle_remove(commit, s->players, key);
        else if (kind == 1)
            (void)merle_patch(commit, s->players, key, MERLE_SET_INT("level", 3));
        else
            must(s, merle_put(commit, s->players, key, build(b, r)));
    }
}

static void one_commit(const stage *s, merle_builder *b, mrl_random *r) {
    merle_commit *commit;
    must(s, merle_begin(s->db, &commit));
    write_some(s, commit, b, r, 1 + mrl_random_below(r, 12));
    (void)merle_end(commit, NULL);
}

/* ---- conditions ---- */

typedef struct question {
    char text[TEXT_MAX];
    size_t size;
    mrl_random *r;
    merle_value values[PARAMETER_MAX];
    size_t value_count;
    merle_condition *condition; /* NULL: all documents */
} question;

static void say(question *q, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(question *q, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    q->size += (size_t)vsnprintf(q->text + q->size, TEXT_MAX - q->size, format, arguments);
    va_end(arguments);
    assert_true(q->size < TEXT_MAX);
}

static void say_number(question *q) {
    uint64_t kind = mrl_random_below(q->r, 12);
    if (kind == 0 && q->value_count < PARAMETER_MAX) {
        q->values[q->value_count++] = merle_value_int((int64_t)mrl_random_below(q->r, 20));
        say(q, "$%zu", q->value_count);
    } else if (kind == 1) {
        say(q, "%s", mrl_random_below(q->r, 2) ? "9007199254740993" : "nan");
    } else if (kind == 2) {
        say(q, "%llu.5", (unsigned long long)mrl_random_below(q->r, 20));
    } else if (kind == 3) {
        say(q, "%s", mrl_random_below(q->r, 2) ? "nil" : "'high'");
    } else if (kind == 4) {
        say(q, "%s", mrl_random_below(q->r, 2) ? "true" : "@1");
    } else {
        say(q, "%llu", (unsigned long long)mrl_random_below(q->r, 20));
    }
}

static void say_guild(question *q) {
    static const char *const texts[] = {"'red'", "'redder'", "'blue'", "'b\\u0001ue'", "nil", "5"};
    say(q, "%s",
        texts[mrl_random_below(q->r, 12) < 10 ? mrl_random_below(q->r, 4)
                                              : mrl_random_below(q->r, 6)]);
}

static void say_value(question *q, int is_guild) {
    if (is_guild)
        say_guild(q);
    else
        say_number(q);
}

static void say_list(question *q, int is_guild) {
    uint64_t count = mrl_random_below(q->r, 5);
    say(q, "(");
    for (uint64_t i = 0; i < count; i++) {
        if (i > 0) say(q, ", ");
        say_value(q, is_guild);
    }
    say(q, ")");
}

static void say_field(question *q) {
    static const char *const paths[] = {"score", "level", "email", "pos.x", "guild", "tags"};
    static const char *const marks[] = {"=", "=", "!=", "<", "<=", ">", ">="};
    uint64_t number = mrl_random_below(q->r, 6);
    int is_guild = number == 4;
    if (mrl_random_below(q->r, 12) == 0) say(q, "any ");
    say(q, "%s ", paths[number]);
    switch (mrl_random_below(q->r, 8)) {
    case 0:
        say(q, "between ");
        say_value(q, is_guild);
        say(q, " and ");
        say_value(q, is_guild);
        break;
    case 1:
    case 2:
        say(q, "in ");
        say_list(q, is_guild);
        break;
    case 3:
        say(q, "starts with '%s'", is_guild ? (mrl_random_below(q->r, 2) ? "re" : "b") : "hi");
        break;
    default:
        say(q, "%s ", marks[mrl_random_below(q->r, 7)]);
        say_value(q, is_guild);
    }
}

static void say_tags(question *q) {
    static const char *const words[] = {"all", "any", "none"};
    const char *path = mrl_random_below(q->r, 5) == 0 ? "guild" : "tags";
    uint64_t count = 1 + mrl_random_below(q->r, 3);
    if (mrl_random_below(q->r, 2) == 0) {
        say(q, "%s: t%llu", path, (unsigned long long)mrl_random_below(q->r, 9));
        return;
    }
    say(q, "%s: %s(", path, words[mrl_random_below(q->r, 3)]);
    for (uint64_t i = 0; i < count; i++) {
        if (i > 0) say(q, ", ");
        uint64_t tag = mrl_random_below(q->r, 10);
        if (tag == 0)
            say(q, "%s", mrl_random_below(q->r, 2) ? "1" : "nil");
        else
            say(q, "t%llu", (unsigned long long)tag);
    }
    say(q, ")");
}

static void say_node(question *q, int depth) {
    uint64_t kind = mrl_random_below(q->r, depth > 0 ? 12 : 6);
    if (mrl_random_below(q->r, 6) == 0) say(q, "not ");
    if (kind < 3) {
        say_field(q);
    } else if (kind < 5) {
        say_tags(q);
    } else if (kind == 5) {
        say(q, "%s", mrl_random_below(q->r, 2) ? "banned" : "exists(level)");
    } else {
        uint64_t count = 2 + mrl_random_below(q->r, 3);
        say(q, "(");
        for (uint64_t i = 0; i < count; i++) {
            if (i > 0) say(q, kind < 10 ? " and " : " or ");
            say_node(q, depth - 1);
        }
        say(q, ")");
    }
}

static void question_make(question *q, mrl_random *r) {
    merle_report report;
    q->r = r;
    q->size = q->value_count = 0;
    q->text[0] = 0;
    q->condition = NULL;
    if (mrl_random_below(r, 12) == 0) return;
    say_node(q, 3);
    merle_err err = merle_condition_parse(merle_str(q->text), &q->condition, &report);
    if (err != MERLE_OK) fail_msg("%s: %s", q->text, report.message);
}

static int meets(const question *q, merle_doc doc) {
    int result = 1;
    if (q->condition == NULL) return 1;
    assert_int_equal(merle_condition_match(q->condition, doc, q->values, q->value_count, &result),
                     MERLE_OK);
    return result;
}

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
        if (merle_doc_value(to->doc, part + descending, &value) != MERLE_OK ||
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
    uint64_t counted = 0;
    merle_err err = merle_query_open(section, s->players, query, &asked);
    if (err == MERLE_INVALID && query->index != NULL && query->index[0] != 0) return 0;
    must(s, err);
    size_t met = read_all(section, s, *query, asked, docs, r);
    const char *wrong = what_is_wrong(wanted, docs, met, query);
    (void)counted;
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
                                         "tags"};
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
    query.index = "";
    (void)compare_query(section, s, &q, &wanted, &query, r);
    for (size_t i = 0; i < s->index_count; i++) {
        query.index = s->indexes[i].name;
        ways += (uint64_t)compare_query(section, s, &q, &wanted, &query, r);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query_gives_what_a_walk_gives),
        cmocka_unit_test(query_in_a_commit_gives_what_a_walk_there_gives),
        cmocka_unit_test(query_beside_writers_gives_what_a_walk_gives),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
