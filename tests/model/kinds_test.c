/* tests/model/kinds_test.c - every kind of ordered index against a walk over all documents.
 *
 * Aim     Indexes that are unique, have missing ones, are on the key, on each element or made by a
 *         function give what a walk over all documents gives, sorted and sifted by the test: the
 *         same documents in the same order, counts, ranks and n-th ones, for ranges of every form;
 *         in sections that have stayed open while everything changed, in commits, and beside
 *         writers in other threads.
 * Method  Random commits, some refused, some cancelled; the test makes the entries of each document
 *         and their order by itself. Equal values come in the order of slots, which is that of the
 *         walk. merle_check.
 * Blind   Whether the walk is right: that is the twin's. Values of every type: ranges_test.c.
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

enum { KEY_COUNT = 120, SECTION_COUNT = 3, ROW_MAX = 200, ENTRY_MAX = 8, PART_MAX = 3 };

typedef struct stage {
    merle_db *db;
    merle_collection *players;
} stage;

static void must(merle_err err) {
    if (err != MERLE_OK) print_message("# %s\n", merle_err_name(err));
    assert_int_equal(err, MERLE_OK);
}

/* ---- the indexes ---- */

static merle_err extract(void *context, merle_bytes key, merle_doc doc, merle_value *out_values,
                         size_t value_max, size_t *out_count) {
    int64_t n = merle_doc_int(doc, "n", 0);
    (void)context;
    (void)key;
    assert_int_equal(value_max, 2);
    if (n == 5) return MERLE_RULE;
    if (n == 4) return MERLE_OK;
    if (merle_doc_has(doc, "n")) out_values[0] = merle_value_int(n * n);
    if (merle_doc_has(doc, "guild")) {
        merle_err err = merle_doc_value(doc, "guild", &out_values[1]);
        if (err != MERLE_OK) return err;
    }
    *out_count = 2;
    return MERLE_OK;
}

static const merle_index indexes[] = {
    {"place", MERLE_UNIQUE_ORDERED, "guild, -score", MERLE_MISSING_LAST},
    {"first", MERLE_ORDERED, "-score, key()", MERLE_MISSING_FIRST},
    {"each", MERLE_ORDERED, "-list[*]"},
    {"items", MERLE_ORDERED, "guild, items[*].id, key()", MERLE_MISSING_LAST},
    {"each first", MERLE_ORDERED, "list[*]", MERLE_MISSING_FIRST},
    {"keys", MERLE_ORDERED, "-key()"},
    {"power", MERLE_ORDERED, "-power, guild", MERLE_MISSING_FIRST, .extract = extract},
    {0}};
enum { PLACE, FIRST, EACH, ITEMS, EACH_FIRST, KEYS, POWER, INDEX_COUNT };

/* What the test knows of them. */
static const struct {
    size_t part_count;
    int descending[PART_MAX];
} known[INDEX_COUNT] = {
    [PLACE] = {2, {0, 1}},   [FIRST] = {2, {1, 0}}, [EACH] = {1, {1}},     [ITEMS] = {3, {0, 0, 0}},
    [EACH_FIRST] = {1, {0}}, [KEYS] = {1, {1}},     [POWER] = {2, {1, 0}},
};

static stage stage_open(merle_options options) {
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

/* ---- documents ---- */

static void build_number(merle_builder *b, const char *name, mrl_random *r) {
    uint64_t kind = mrl_random_below(r, 10);
    if (kind == 0)
        merle_build_nil(b, name);
    else if (kind == 1)
        merle_build_float(b, name, (double)mrl_random_below(r, 12) / 2);
    else if (kind == 2)
        merle_build_str(b, name, mrl_random_below(r, 2) ? "high" : "higher");
    else
        merle_build_int(b, name, (int64_t)mrl_random_below(r, 6));
}

static void build_items(merle_builder *b, mrl_random *r) {
    uint64_t count = mrl_random_below(r, 5);
    if (count == 4) return;
    merle_build_array(b, "items");
    for (uint64_t i = 0; i < count; i++) {
        if (mrl_random_below(r, 6) == 0) {
            merle_build_int(b, NULL, 1);
            continue;
        }
        merle_build_map(b, NULL);
        if (mrl_random_below(r, 4) != 0) build_number(b, "id", r);
        merle_build_close(b);
    }
    merle_build_close(b);
}

static void build_list(merle_builder *b, mrl_random *r) {
    uint64_t count = mrl_random_below(r, 7);
    if (count == 6) return;
    if (count == 5) {
        build_number(b, "list", r);
        return;
    }
    merle_build_array(b, "list");
    for (uint64_t i = 0; i < count; i++) build_number(b, NULL, r);
    merle_build_close(b);
}

static merle_bytes build(merle_builder *b, mrl_random *r) {
    static const char *const guilds[] = {"red", "redder", "blue"};
    merle_bytes bytes;
    uint64_t guild = mrl_random_below(r, 5);
    merle_build_begin(b);
    if (guild < 3) merle_build_str(b, "guild", guilds[guild]);
    if (guild == 3) merle_build_nil(b, "guild");
    if (mrl_random_below(r, 3) != 0) build_number(b, "score", r);
    build_list(b, r);
    build_items(b, r);
    uint64_t n = mrl_random_below(r, 60);
    if (n >= 10) merle_build_int(b, "n", n == 59 ? 5 : (int64_t)(n % 5));
    must(merle_build_end(b, &bytes));
    return bytes;
}

/* ---- what a document has in an index ---- */

/* A nil is a value that is missing. */
typedef struct entry {
    merle_value parts[PART_MAX];
} entry;

typedef struct row {
    merle_doc doc;
    merle_value key; /* as a string */
    entry entries[ENTRY_MAX];
    size_t entry_count;
    size_t position; /* in the walk */
    entry at;        /* where a range gives it */
} row;

typedef struct rows {
    row list[ROW_MAX];
    size_t count;
} rows;

static merle_value value_at(merle_doc doc, const char *path) {
    merle_value value;
    return merle_doc_value(doc, path, &value) == MERLE_OK ? value : merle_value_nil();
}

static int is_nil(const merle_value *v) {
    return v->type == MERLE_TYPE_NIL;
}

static void add_entry(row *to, const merle_value *parts, size_t count) {
    assert_true(to->entry_count < ENTRY_MAX);
    entry *made = &to->entries[to->entry_count++];
    memset(made, 0, sizeof *made);
    memcpy(made->parts, parts, count * sizeof *parts);
}

/* The elements that are there, up to ENTRY_MAX. */
static size_t elements_of(merle_doc doc, const char *path, const char *inside,
                          merle_value *out_values) {
    merle_value list = value_at(doc, path);
    size_t count = 0;
    if (list.type != MERLE_TYPE_ARRAY) {
        out_values[0] = *inside == 0 ? list : merle_value_nil();
        return !is_nil(&out_values[0]);
    }
    for (uint32_t i = 0; i < list.count; i++) {
        char at[64];
        (void)snprintf(at, sizeof at, "%s[%u]%s", path, i, inside);
        merle_value one = value_at(doc, at);
        if (!is_nil(&one)) out_values[count++] = one;
    }
    return count;
}

static void add_each(row *to, int number) {
    merle_value elements[ENTRY_MAX], parts[PART_MAX];
    size_t at = number == ITEMS;
    size_t count = number == ITEMS ? elements_of(to->doc, "items", ".id", elements)
                                   : elements_of(to->doc, "list", "", elements);
    parts[0] = value_at(to->doc, "guild");
    parts[2] = to->key;
    if (count == 0) elements[count++] = merle_value_nil();
    for (size_t i = 0; i < count; i++) {
        parts[at] = elements[i];
        add_entry(to, parts, known[number].part_count);
    }
}

static void fill_row(row *to, int number) {
    merle_value parts[PART_MAX];
    int64_t n = merle_doc_int(to->doc, "n", 0);
    to->entry_count = 0;
    if (number == EACH || number == ITEMS || number == EACH_FIRST) add_each(to, number);
    parts[0] = number == KEYS ? to->key : value_at(to->doc, number == PLACE ? "guild" : "score");
    parts[1] = number == FIRST ? to->key : value_at(to->doc, number == PLACE ? "score" : "guild");
    if (number == POWER)
        parts[0] = merle_doc_has(to->doc, "n") ? merle_value_int(n * n) : merle_value_nil();
    if (to->entry_count == 0 && !(number == POWER && n == 4))
        add_entry(to, parts, known[number].part_count);
    /* Without a place for what is missing. */
    size_t kept = 0;
    for (size_t i = 0; i < to->entry_count; i++) {
        int is_out = 0;
        for (size_t p = 0; p < known[number].part_count; p++)
            is_out |=
                indexes[number].missing == MERLE_MISSING_OUT && is_nil(&to->entries[i].parts[p]);
        if (!is_out) to->entries[kept++] = to->entries[i];
    }
    to->entry_count = kept;
}

static void walk(merle_section *section, const stage *s, rows *out) {
    merle_scan scan = {0};
    merle_doc docs[16];
    size_t count;
    out->count = 0;
    while (merle_scan_next(section, s->players, &scan, docs, 16, &count) == MERLE_OK)
        for (size_t i = 0; i < count; i++) {
            assert_true(out->count < ROW_MAX);
            row *to = &out->list[out->count];
            memset(to, 0, sizeof *to);
            to->doc = docs[i];
            to->key = merle_value_bytes(merle_doc_key(docs[i]));
            to->position = out->count++;
        }
}

/* ---- order ---- */

static double number_of(const merle_value *v) {
    return v->type == MERLE_TYPE_FLOAT ? v->number.f : (double)v->number.i;
}

static int compare_bytes(merle_bytes a, merle_bytes b) {
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_values(const merle_value *a, const merle_value *b) {
    int is_text = a->type == MERLE_TYPE_STR;
    if (is_text != (b->type == MERLE_TYPE_STR)) return is_text ? 1 : -1;
    if (is_text) return compare_bytes(a->bytes, b->bytes);
    return (number_of(a) > number_of(b)) - (number_of(a) < number_of(b));
}

/* In the order of an index, by its first parts. */
static int compare_parts(int number, const merle_value *a, const merle_value *b, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int order;
        if (is_nil(&a[i]) || is_nil(&b[i]))
            order = (is_nil(&a[i]) - is_nil(&b[i])) *
                    (indexes[number].missing == MERLE_MISSING_FIRST ? -1 : 1);
        else
            order = compare_values(&a[i], &b[i]) * (known[number].descending[i] ? -1 : 1);
        if (order != 0) return order;
    }
    return 0;
}

static int sorted_index;

static int by_place(const void *a, const void *b) {
    const row *x = a, *y = b;
    int order =
        compare_parts(sorted_index, x->at.parts, y->at.parts, known[sorted_index].part_count);
    return order != 0 ? order : (x->position > y->position) - (x->position < y->position);
}

/* ---- ranges ---- */

/* A field that one end leaves open while the other does not keeps its missing ones out. */
static int is_shut_out(int number, const merle_range *range, const entry *e) {
    size_t from = range->from.value_count, to = range->to.value_count;
    const merle_bound *longer = from > to ? &range->from : &range->to;
    const merle_bound *shorter = from > to ? &range->to : &range->from;
    size_t shared = shorter->value_count;
    if (from == to || shorter->kind == MERLE_OPEN) return 0;
    if (compare_parts(number, longer->values, shorter->values, shared) != 0) return 0;
    if (is_nil(&longer->values[shared]) || !is_nil(&e->parts[shared])) return 0;
    return compare_parts(number, e->parts, longer->values, shared) == 0;
}

static int is_inside(int number, const merle_range *range, const entry *e) {
    const merle_bound *from = &range->from, *to = &range->to;
    if (range->prefix != NULL)
        return e->parts[0].type == MERLE_TYPE_STR &&
               e->parts[0].bytes.size >= strlen(range->prefix) &&
               memcmp(e->parts[0].bytes.data, range->prefix, strlen(range->prefix)) == 0;
    int low = compare_parts(number, e->parts, from->values, from->value_count);
    int high = compare_parts(number, e->parts, to->values, to->value_count);
    if (from->kind != MERLE_NO_BOUND && (low < 0 || (low == 0 && from->kind == MERLE_OPEN)))
        return 0;
    if (to->kind != MERLE_NO_BOUND && (high > 0 || (high == 0 && to->kind == MERLE_OPEN))) return 0;
    return !is_shut_out(number, range, e);
}

/* The rows that a range gives, in order. */
static void choose(int number, const merle_range *range, const rows *all, rows *out) {
    out->count = 0;
    for (size_t i = 0; i < all->count; i++) {
        row *to = &out->list[out->count];
        const entry *best = NULL;
        *to = all->list[i];
        fill_row(to, number);
        for (size_t e = 0; e < to->entry_count; e++) {
            const entry *one = &to->entries[e];
            if (!is_inside(number, range, one)) continue;
            int order = best == NULL ? -1
                                     : compare_parts(number, one->parts, best->parts,
                                                     known[number].part_count);
            if (best == NULL || (range->backwards ? order > 0 : order < 0)) best = one;
        }
        if (best == NULL) continue;
        to->at = *best;
        out->count++;
    }
    sorted_index = number;
    qsort(out->list, out->count, sizeof *out->list, by_place);
}

static void choose_bound(int number, const rows *all, mrl_random *r, merle_value *values,
                         merle_bound *out) {
    *out = (merle_bound){0};
    if (all->count == 0 || mrl_random_below(r, 4) == 0) return;
    row some = all->list[mrl_random_below(r, all->count)];
    fill_row(&some, number);
    if (some.entry_count == 0) return;
    memcpy(values, some.entries[mrl_random_below(r, some.entry_count)].parts,
           sizeof some.entries[0].parts);
    out->kind = mrl_random_below(r, 2) ? MERLE_CLOSED : MERLE_OPEN;
    out->values = values;
    out->value_count = 1 + mrl_random_below(r, known[number].part_count);
}

/* ---- comparing ---- */

static void compare_counts(merle_section *section, const stage *s, const merle_range *range,
                           const merle_doc *docs, size_t met, mrl_random *r) {
    uint64_t number = 0;
    merle_doc doc;
    must(merle_range_count(section, s->players, range, &number));
    assert_int_equal(number, met);
    if (met == 0) return;
    uint64_t n = mrl_random_below(r, met);
    must(merle_range_nth(section, s->players, range, n, &doc));
    assert_ptr_equal(doc.data, docs[n].data);
    must(merle_range_rank(section, s->players, range, merle_doc_key(doc), &number));
    assert_int_equal(number, n);
    assert_int_equal(merle_range_nth(section, s->players, range, met, &doc), MERLE_NOT_FOUND);
}

/* is_exact: equal values come in the order of the walk. */
static void compare_range(merle_section *section, const stage *s, int number,
                          const merle_range *range, const rows *all, int is_exact, mrl_random *r) {
    static _Thread_local rows wanted;
    merle_cursor *cursor;
    merle_doc docs[ROW_MAX];
    size_t met = 0, some = 0;
    choose(number, range, all, &wanted);
    must(merle_range_open(s->players, range, &cursor));
    while (merle_cursor_next(section, cursor, docs + met, 1 + mrl_random_below(r, 20), &some) ==
           MERLE_OK)
        met += some;
    merle_cursor_close(cursor);
    assert_int_equal(met, wanted.count);
    for (size_t i = 0; i < met; i++) {
        const row *here = &wanted.list[range->backwards ? met - 1 - i : i];
        size_t at = 0;
        while (at < met && wanted.list[at].doc.data != docs[i].data) at++;
        assert_true(at < met);
        if (is_exact) assert_ptr_equal(here->doc.data, docs[i].data);
        assert_int_equal(compare_parts(number, here->at.parts, wanted.list[at].at.parts,
                                       known[number].part_count),
                         0);
        for (size_t j = 0; j < i; j++) assert_ptr_not_equal(docs[j].data, docs[i].data);
    }
    compare_counts(section, s, range, docs, met, r);
}

static void compare_index(merle_section *section, const stage *s, int number, const rows *all,
                          int is_exact, mrl_random *r) {
    merle_value from[PART_MAX], to[PART_MAX];
    merle_range range = {.index = indexes[number].name,
                         .backwards = (uint32_t)mrl_random_below(r, 2)};
    if (mrl_random_below(r, 8) == 0)
        range.prefix = number == KEYS ? "p1" : "red";
    else {
        choose_bound(number, all, r, from, &range.from);
        choose_bound(number, all, r, to, &range.to);
    }
    compare_range(section, s, number, &range, all, is_exact, r);
}

static void compare_places(merle_section *section, const stage *s, const rows *all) {
    for (size_t i = 0; i < all->count; i++) {
        merle_value guild = value_at(all->list[i].doc, "guild");
        merle_value score = value_at(all->list[i].doc, "score");
        merle_doc doc;
        merle_err err = merle_get_by(section, s->players, "place", &doc, guild, score);
        int is_there = !is_nil(&guild) && !is_nil(&score);
        assert_int_equal(err, is_there ? MERLE_OK : MERLE_NOT_FOUND);
        if (is_there) assert_ptr_equal(doc.data, all->list[i].doc.data);
    }
}

static void compare_all(merle_section *section, const stage *s, int is_exact, mrl_random *r) {
    static _Thread_local rows all;
    walk(section, s, &all);
    for (int i = 0; i < INDEX_COUNT; i++) compare_index(section, s, i, &all, is_exact, r);
    compare_places(section, s, &all);
}

/* ---- writing ---- */

static void patch_one(merle_commit *commit, const stage *s, merle_bytes key, mrl_random *r) {
    switch (mrl_random_below(r, 5)) {
    case 0:
        must(merle_patch(commit, s->players, key, MERLE_UNSET("list")));
        break;
    case 1:
        must(merle_patch(commit, s->players, key,
                         MERLE_SET_INT("n", (int64_t)mrl_random_below(r, 5))));
        break;
    case 2:
        must(merle_patch(commit, s->players, key, MERLE_SET_STR("guild", "redder")));
        break;
    default:
        must(merle_patch(commit, s->players, key,
                         MERLE_SET_INT("score", (int64_t)mrl_random_below(r, 6))));
    }
}

/* Looks at the commit's own writes now and then; look NULL: never. */
static void write_some(const stage *s, merle_builder *b, mrl_random *r, uint64_t key_count,
                       mrl_random *look) {
    merle_commit *commit;
    int has_patch = 0;
    must(merle_begin(s->db, &commit));
    for (uint64_t left = 1 + mrl_random_below(r, 4); left > 0; left--) {
        char text[16];
        (void)snprintf(text, sizeof text, "p%llu",
                       (unsigned long long)mrl_random_below(r, key_count));
        merle_bytes key = merle_str(text);
        uint64_t what = mrl_random_below(r, 8);
        merle_err err = MERLE_OK;
        if (what < 6) err = merle_put(commit, s->players, key, build(b, r));
        /* The function's own error. */
        if (err != MERLE_RULE) must(err);
        if (what == 6) must(merle_remove(commit, s->players, key));
        if (what == 7) patch_one(commit, s, key, r);
        has_patch |= what >= 6;
    }
    /* What is removed or patched may not be there: that is told at the end, or by whoever looks. */
    if (look != NULL && !has_patch) {
        rows *all = malloc(sizeof *all);
        assert_non_null(all);
        walk(merle_commit_section(commit), s, all);
        for (int i = 0; i < INDEX_COUNT; i++)
            compare_index(merle_commit_section(commit), s, i, all, 0, look);
        free(all);
    }
    if (mrl_random_below(r, 10) == 0) {
        merle_cancel(commit);
        return;
    }
    merle_err err = merle_end(commit, NULL);
    assert_true(err == MERLE_OK || err == MERLE_EXISTS || err == MERLE_NOT_FOUND);
}

/* ---- one thread ---- */

static void sections_of_all_ages_agree_with_a_walk(void **state) {
    (void)state;
    test_seed_print();
    for (uint64_t run = 0; run < test_amount(6); run++) {
        merle_section open[SECTION_COUNT];
        int is_open[SECTION_COUNT] = {0};
        mrl_random r;
        merle_builder *b;
        stage s = stage_open((merle_options){.threads = MERLE_THREADS_NONE});
        mrl_random_init(&r, test_seed() + run);
        must(merle_builder_create(&b));
        for (int step = 0; step < 600; step++) {
            size_t n = mrl_random_below(&r, SECTION_COUNT);
            write_some(&s, b, &r, run % 2 ? KEY_COUNT : 15, step % 10 == 0 ? &r : NULL);
            if (step % 7 == 0) (void)merle_step(s.db, 0, 0);
            if (step % 5 != 0) continue;
            if (!is_open[n]) must(merle_section_begin(s.db, &open[n]));
            is_open[n] = 1;
            compare_all(&open[n], &s, 1, &r);
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
    while (!atomic_load(w->stop)) write_some(w->s, b, &r, KEY_COUNT, NULL);
    merle_builder_destroy(b);
    return NULL;
}

static void sections_beside_writers_agree_with_a_walk(void **state) {
    enum { WRITERS = 2 };
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
        compare_all(&section, &s, 1, &r);
        must(merle_section_end(&section));
        if (i % 100 == 0) check_whole(&s);
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
    return cmocka_run_group_tests_name("model/kinds", tests, NULL, NULL);
}
