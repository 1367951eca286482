/* tests/model/ranges_test.c - ordered and tag indexes against a walk over all documents.
 *
 * Aim     What a section is given by an index is what it is given by a walk over all documents,
 *         sorted and sifted by the test: same documents, same order, same counts; also for sections
 *         that have stayed open while everything changed, and beside writers in other threads.
 * Method  Random commits (some refused, some cancelled, values that go and come back), several
 *         sections open at once, each compared again and again; merle_check. The order of values
 *         is the test's own.
 * Blind   whether the walk is right: that is the twin's. Which documents a range has while it goes
 *         on over several sections.
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

#include <merle/merle.h>

#include "base/random.h"
#include "seed.h"

enum { KEY_COUNT = 300, TAG_KINDS = 9, GUILD_COUNT = 4, SECTION_COUNT = 4, ROW_MAX = 400 };

typedef struct stage {
    merle_db *db;
    merle_collection *players;
} stage;

static void must(merle_err err) {
    if (err != MERLE_OK) print_message("# %s\n", merle_err_name(err));
    assert_int_equal(err, MERLE_OK);
}

static stage stage_open(merle_options options) {
    static const merle_index indexes[] = {
        {"email", MERLE_UNIQUE, "email"},
        {"score", MERLE_ORDERED, "score"},
        {"rank", MERLE_ORDERED, "guild, -score"},
        {"tags", MERLE_TAGS, "tags"},
        {NULL, 0, NULL},
    };
    const merle_schema schema = {.version = 1, .indexes = indexes};
    stage s;
    must(merle_open(NULL, &options, &s.db));
    must(merle_collection_open(s.db, "players", &schema, &s.players));
    return s;
}

static void check_whole(const stage *s) {
    merle_report report;
    memset(&report, 0, sizeof report);
    merle_err err = merle_check(s->db, &report);
    if (err != MERLE_OK)
        print_message("# %s: expected %s, found %s\n", report.message, report.expected,
                      report.found);
    assert_int_equal(err, MERLE_OK);
}

static merle_bytes key_of(char text[16], uint64_t number) {
    (void)snprintf(text, 16, "p%llu", (unsigned long long)number);
    return merle_str(text);
}

/* ---- documents ---- */

static void build_score(merle_builder *b, mrl_random *r) {
    static const int64_t edges[] = {
        INT64_MIN, -1, 0, INT64_MAX, (int64_t)1 << 53, ((int64_t)1 << 53) + 1};
    uint64_t kind = mrl_random_below(r, 12);
    if (kind == 0) return;
    if (kind == 1) merle_build_nil(b, "score");
    if (kind == 2) merle_build_float(b, "score", (double)mrl_random_below(r, 40) / 2);
    if (kind == 3) merle_build_bool(b, "score", (int)mrl_random_below(r, 2));
    if (kind == 4) merle_build_str(b, "score", mrl_random_below(r, 2) ? "high" : "higher");
    if (kind == 5) merle_build_int(b, "score", edges[mrl_random_below(r, 6)]);
    if (kind > 5) merle_build_int(b, "score", (int64_t)mrl_random_below(r, 20));
}

static void build_tag(merle_builder *b, mrl_random *r) {
    uint64_t tag = mrl_random_below(r, TAG_KINDS);
    char text[16];
    (void)snprintf(text, sizeof text, "t%llu", (unsigned long long)tag);
    if (tag == 0)
        merle_build_float(b, NULL, 1.0);
    else if (tag == 1)
        merle_build_int(b, NULL, 1); /* the same tag */
    else
        merle_build_str(b, NULL, text);
}

static merle_bytes build(merle_builder *b, mrl_random *r) {
    merle_bytes bytes;
    merle_build_begin(b);
    build_score(b, r);
    /* Some are taken: such commits are refused when entries have been added. */
    if (mrl_random_below(r, 3) == 0) merle_build_int(b, "email", (int64_t)mrl_random_below(r, 300));
    if (mrl_random_below(r, 8) != 0) {
        char guild[24];
        (void)snprintf(guild, sizeof guild, "guild%llu",
                       (unsigned long long)mrl_random_below(r, GUILD_COUNT));
        merle_build_str(b, "guild", guild);
    }
    uint64_t count = mrl_random_below(r, 6);
    if (count == 5) {
        merle_build_str(b, "tags", "t2");
    } else if (count != 0) {
        merle_build_array(b, "tags");
        for (uint64_t i = 0; i < count; i++) build_tag(b, r);
        merle_build_close(b);
    }
    must(merle_build_end(b, &bytes));
    return bytes;
}

/* ---- what a walk says ---- */

typedef struct row {
    char key[16];
    merle_doc doc;
    merle_value score, guild;
    int has_score, has_guild;
} row;

typedef struct rows {
    row list[ROW_MAX];
    size_t count;
} rows;

static void walk(merle_section *section, const stage *s, rows *out) {
    merle_scan scan = {0};
    merle_doc docs[16];
    size_t count;
    out->count = 0;
    while (merle_scan_next(section, s->players, &scan, docs, 16, &count) == MERLE_OK)
        for (size_t i = 0; i < count; i++) {
            merle_bytes key = merle_doc_key(docs[i]);
            assert_true(out->count < ROW_MAX && key.size < 16);
            row *to = &out->list[out->count++];
            memset(to, 0, sizeof *to);
            memcpy(to->key, key.data, key.size);
            to->doc = docs[i];
            to->has_score = merle_doc_value(docs[i], "score", &to->score) == MERLE_OK &&
                            to->score.type != MERLE_TYPE_NIL;
            to->has_guild = merle_doc_value(docs[i], "guild", &to->guild) == MERLE_OK;
        }
}

static int class_of(const merle_value *v) {
    if (v->type == MERLE_TYPE_BOOL) return 1;
    if (v->type == MERLE_TYPE_STR) return 3;
    return 2;
}

static long double number_of(const merle_value *v) {
    return v->type == MERLE_TYPE_FLOAT  ? (long double)v->number.f
           : v->type == MERLE_TYPE_UINT ? (long double)v->number.u
                                        : (long double)v->number.i;
}

static int compare_values(const merle_value *a, const merle_value *b) {
    if (class_of(a) != class_of(b)) return class_of(a) < class_of(b) ? -1 : 1;
    if (class_of(a) == 3) {
        size_t shared = a->bytes.size < b->bytes.size ? a->bytes.size : b->bytes.size;
        int order = memcmp(a->bytes.data, b->bytes.data, shared);
        if (order != 0) return order;
        return a->bytes.size < b->bytes.size ? -1 : a->bytes.size > b->bytes.size;
    }
    long double x = number_of(a), y = number_of(b);
    return x < y ? -1 : x > y;
}

static int by_score(const void *a, const void *b) {
    return compare_values(&((const row *)a)->score, &((const row *)b)->score);
}

static int by_rank(const void *a, const void *b) {
    const row *x = a, *y = b;
    int order = compare_values(&x->guild, &y->guild);
    return order != 0 ? order : -by_score(a, b);
}

/* ---- comparing ---- */

typedef int compare_fn(const void *a, const void *b);

/* What a range gives: the rows [from, to) of the sorted list, in its order but for equal values. */
static void compare_range(merle_section *section, const stage *s, const merle_range *range,
                          const row *sorted, size_t from, size_t to, compare_fn *compare,
                          mrl_random *r) {
    merle_cursor *cursor;
    merle_doc docs[ROW_MAX];
    size_t met = 0, some = 0;
    uint64_t count = 0, rank = 0;
    must(merle_range_open(s->players, range, &cursor));
    while (merle_cursor_next(section, cursor, docs + met, 1 + mrl_random_below(r, 40), &some) ==
           MERLE_OK)
        met += some;
    merle_cursor_close(cursor);
    assert_int_equal(met, to - from);
    for (size_t i = 0; i < met; i++) {
        const row *wanted = &sorted[range->backwards ? to - 1 - i : from + i];
        row found = {.doc = docs[i]};
        found.has_score = merle_doc_value(docs[i], "score", &found.score) == MERLE_OK;
        found.has_guild = merle_doc_value(docs[i], "guild", &found.guild) == MERLE_OK;
        assert_int_equal(compare(&found, wanted), 0);
        size_t at = from;
        while (at < to && sorted[at].doc.data != docs[i].data) at++;
        assert_true(at < to);
        for (size_t j = 0; j < i; j++) assert_ptr_not_equal(docs[j].data, docs[i].data);
    }
    must(merle_range_count(section, s->players, range, &count));
    assert_int_equal(count, met);
    if (met == 0) return;
    merle_doc doc;
    uint64_t n = mrl_random_below(r, met);
    must(merle_range_nth(section, s->players, range, n, &doc));
    assert_ptr_equal(doc.data, docs[n].data);
    must(merle_range_rank(section, s->players, range, merle_doc_key(doc), &rank));
    assert_int_equal(rank, n);
    assert_int_equal(merle_range_nth(section, s->players, range, met, &doc), MERLE_NOT_FOUND);
}

static void compare_scores(merle_section *section, const stage *s, const rows *all, mrl_random *r) {
    row sorted[ROW_MAX];
    size_t count = 0, from = 0;
    for (size_t i = 0; i < all->count; i++)
        if (all->list[i].has_score) sorted[count++] = all->list[i];
    qsort(sorted, count, sizeof *sorted, by_score);
    merle_range range = {.index = "score", .backwards = (uint32_t)mrl_random_below(r, 2)};
    compare_range(section, s, &range, sorted, 0, count, by_score, r);
    /* Between two values, with or without them. */
    merle_value low = merle_value_int((int64_t)mrl_random_below(r, 20));
    merle_value high = merle_value_float((double)mrl_random_below(r, 40) / 2);
    if (compare_values(&low, &high) > 0) return;
    range.from = (merle_bound){1 + mrl_random_below(r, 2), &low, 1};
    range.to = (merle_bound){1 + mrl_random_below(r, 2), &high, 1};
    size_t to = 0;
    for (; from < count; from++) {
        int order = compare_values(&sorted[from].score, &low);
        if (range.from.kind == MERLE_CLOSED ? order >= 0 : order > 0) break;
    }
    for (to = from; to < count; to++) {
        int order = compare_values(&sorted[to].score, &high);
        if (range.to.kind == MERLE_CLOSED ? order > 0 : order >= 0) break;
    }
    compare_range(section, s, &range, sorted, from, to, by_score, r);
}

static void compare_ranks(merle_section *section, const stage *s, const rows *all, mrl_random *r) {
    row sorted[ROW_MAX];
    size_t count = 0, from = 0, to;
    for (size_t i = 0; i < all->count; i++)
        if (all->list[i].has_score && all->list[i].has_guild) sorted[count++] = all->list[i];
    qsort(sorted, count, sizeof *sorted, by_rank);
    merle_range range = {.index = "rank", .backwards = (uint32_t)mrl_random_below(r, 2)};
    range.prefix = "gui";
    compare_range(section, s, &range, sorted, 0, count, by_rank, r);
    /* One guild. */
    char name[24];
    (void)snprintf(name, sizeof name, "guild%llu",
                   (unsigned long long)mrl_random_below(r, GUILD_COUNT));
    merle_value guild = merle_value_str(name);
    range.prefix = NULL;
    range.from = range.to = (merle_bound){MERLE_CLOSED, &guild, 1};
    while (from < count && compare_values(&sorted[from].guild, &guild) < 0) from++;
    for (to = from; to < count && compare_values(&sorted[to].guild, &guild) == 0;) to++;
    compare_range(section, s, &range, sorted, from, to, by_rank, r);
}

static int has_tag(merle_doc doc, const merle_value *tag) {
    merle_value tags;
    char path[24];
    if (merle_doc_value(doc, "tags", &tags) != MERLE_OK) return 0;
    if (tags.type != MERLE_TYPE_ARRAY)
        return class_of(&tags) == class_of(tag) && compare_values(&tags, tag) == 0;
    for (uint32_t i = 0; i < tags.count; i++) {
        merle_value one;
        (void)snprintf(path, sizeof path, "tags[%u]", i);
        must(merle_doc_value(doc, path, &one));
        if (compare_values(&one, tag) == 0) return 1;
    }
    return 0;
}

static void compare_tags(merle_section *section, const stage *s, const rows *all) {
    for (uint64_t kind = 1; kind < TAG_KINDS; kind++) {
        char text[16];
        (void)snprintf(text, sizeof text, "t%llu", (unsigned long long)kind);
        merle_value tag = kind == 1 ? merle_value_int(1) : merle_value_str(text);
        merle_scan scan = {0};
        merle_doc docs[ROW_MAX];
        uint64_t count = 0;
        size_t met = 0, some = 0, at = 0;
        while (merle_tag_next(section, s->players, "tags", tag, &scan, docs + met, 7, &some) ==
               MERLE_OK)
            met += some;
        for (size_t i = 0; i < all->count; i++) {
            if (!has_tag(all->list[i].doc, &tag)) continue;
            assert_true(at < met);
            assert_ptr_equal(docs[at++].data, all->list[i].doc.data);
        }
        assert_int_equal(at, met);
        must(merle_tag_count(section, s->players, "tags", tag, &count));
        assert_int_equal(count, met);
    }
}

static void compare_all(merle_section *section, const stage *s, mrl_random *r) {
    rows all;
    walk(section, s, &all);
    compare_scores(section, s, &all, r);
    compare_ranks(section, s, &all, r);
    compare_tags(section, s, &all);
}

/* ---- writing ---- */

static void patch_one(merle_commit *commit, const stage *s, merle_bytes key, mrl_random *r) {
    merle_err err;
    if (mrl_random_below(r, 2) != 0)
        err = merle_patch(commit, s->players, key,
                          MERLE_SET_INT("score", (int64_t)mrl_random_below(r, 20)));
    else
        err = merle_patch(commit, s->players, key, MERLE_UNSET("tags"));
    must(err);
}

static void write_some(const stage *s, merle_builder *b, mrl_random *r, uint64_t key_count) {
    merle_commit *commit;
    must(merle_begin(s->db, &commit));
    for (uint64_t left = 1 + mrl_random_below(r, 5); left > 0; left--) {
        char text[16];
        merle_bytes key = key_of(text, mrl_random_below(r, key_count));
        uint64_t what = mrl_random_below(r, 8);
        if (what < 4) must(merle_put(commit, s->players, key, build(b, r)));
        if (what == 4) must(merle_insert(commit, s->players, key, build(b, r)));
        if (what == 5) must(merle_remove(commit, s->players, key));
        if (what > 5) patch_one(commit, s, key, r);
    }
    if (mrl_random_below(r, 10) == 0) {
        merle_cancel(commit);
        return;
    }
    /* Inserts over existing keys, patches and removals of missing ones: refused as a whole. */
    merle_err err = merle_end(commit, NULL);
    assert_true(err == MERLE_OK || err == MERLE_EXISTS || err == MERLE_NOT_FOUND);
}

/* ---- one thread ---- */

static void sections_of_all_ages_agree_with_a_walk(void **state) {
    (void)state;
    test_seed_print();
    for (uint64_t run = 0; run < test_amount(8); run++) {
        merle_section open[SECTION_COUNT];
        int is_open[SECTION_COUNT] = {0};
        mrl_random r;
        merle_builder *b;
        stage s = stage_open((merle_options){.threads = MERLE_THREADS_NONE});
        mrl_random_init(&r, test_seed() + run);
        must(merle_builder_create(&b));
        for (int step = 0; step < 700; step++) {
            size_t n = mrl_random_below(&r, SECTION_COUNT);
            write_some(&s, b, &r, run % 2 ? KEY_COUNT : 25);
            if (step % 7 == 0) (void)merle_step(s.db, 0, 0);
            if (step % 5 != 0) continue;
            if (!is_open[n]) must(merle_section_begin(s.db, &open[n]));
            is_open[n] = 1;
            compare_all(&open[n], &s, &r);
            if (mrl_random_below(&r, 3) == 0) {
                must(merle_section_end(&open[n]));
                is_open[n] = 0;
            }
            if (step % 50 == 0) check_whole(&s);
        }
        for (size_t n = 0; n < SECTION_COUNT; n++)
            if (is_open[n]) must(merle_section_end(&open[n]));
        for (int i = 0; i < 50; i++) (void)merle_step(s.db, 0, 0);
        check_whole(&s);
        merle_builder_destroy(b);
        must(merle_close(s.db));
    }
}

/* ---- several threads ---- */

typedef struct writer {
    const stage *s;
    uint64_t seed;
    _Atomic int *stop;
} writer;

static void *writer_run(void *context) {
    const writer *w = context;
    mrl_random r;
    merle_builder *b;
    mrl_random_init(&r, w->seed);
    must(merle_builder_create(&b));
    while (!atomic_load(w->stop)) write_some(w->s, b, &r, KEY_COUNT);
    merle_builder_destroy(b);
    return NULL;
}

static void sections_beside_writers_agree_with_a_walk(void **state) {
    enum { WRITERS = 3 };
    (void)state;
    stage s = stage_open((merle_options){0});
    _Atomic int stop = 0;
    pthread_t threads[WRITERS];
    writer writers[WRITERS];
    mrl_random r;
    mrl_random_init(&r, test_seed());
    for (uint64_t i = 0; i < WRITERS; i++) {
        writers[i] = (writer){&s, test_seed() + 100 + i, &stop};
        assert_int_equal(pthread_create(&threads[i], NULL, writer_run, &writers[i]), 0);
    }
    for (uint64_t i = 0; i < test_amount(200); i++) {
        merle_section section;
        must(merle_section_begin(s.db, &section));
        compare_all(&section, &s, &r);
        must(merle_section_end(&section));
        if (i % 300 == 0) check_whole(&s);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
    check_whole(&s);
    must(merle_close(s.db));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_of_all_ages_agree_with_a_walk),
        cmocka_unit_test(sections_beside_writers_agree_with_a_walk),
    };
    return cmocka_run_group_tests_name("model/ranges", tests, NULL, NULL);
}
