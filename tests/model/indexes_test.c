/* tests/model/indexes_test.c - several indexes of each kind at once, against plain arrays.
 *
 * Aim     Every index answers as a linear search over an array of documents that the test keeps by
 *         itself: ranges of every form with their counts, ranks and n-th documents, unique values,
 *         tags; now, in sections that stayed open, and in commits with their own writes. A commit
 *         is refused exactly if the array says so, and leaves nothing. Truncations, drops of the
 *         collection, and indexes that are dropped and built again come in between.
 * Method  Values of every type at their edges, long strings that begin alike, equal numbers of
 *         different types, nil and missing, thousands of equal values; documents that go back to
 *         what they were. An array is copied for each section that is opened. The order of values
 *         and the entries of a document are the test's own. merle_check.
 * Blind   Writers beside it: kinds_test.c, ranges_test.c, tests/stress. Memory that is refused: the
 *         twin. Which of several equal ones comes first.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <merle/merle.h>

#include "base/random.h"
#include "edges.h"
#include "seed.h"

enum { DOC_MAX = 3000, LIST_MAX = 5, PART_MAX = 3, SECTION_COUNT = 3 };
enum { NO_LIST = 100, ALONE = 101 }; /* instead of a count of elements */

static void must(merle_err err) {
    if (err != MERLE_OK) print_message("# %s\n", merle_err_name(err));
    assert_int_equal(err, MERLE_OK);
}

/* ---- indexes ---- */

static merle_err extract(void *context, merle_bytes key, merle_doc doc, merle_value *out_values,
                         size_t value_max, size_t *out_count) {
    (void)context;
    (void)key;
    assert_int_equal(value_max, 2);
    if (merle_doc_int(doc, "id", 0) % 3 == 0) return MERLE_OK;
    if (merle_doc_value(doc, "b", &out_values[0]) != MERLE_OK) out_values[0] = merle_value_nil();
    if (merle_doc_value(doc, "a", &out_values[1]) != MERLE_OK) out_values[1] = merle_value_nil();
    *out_count = 2;
    return MERLE_OK;
}

/* What the fields are: a, b, u by their names; l each element of the list, k the key; capital
 * letters are descending. */
typedef struct known_index {
    merle_index index;
    const char *fields;
} known_index;

static const known_index known[] = {
    {{"u", MERLE_UNIQUE, "u"}, "u"},
    {{"two u", MERLE_UNIQUE, "a, u"}, "au"},
    {{"a", MERLE_ORDERED, "a"}, "a"},
    {{"a down", MERLE_ORDERED, "-a"}, "A"},
    {{"a first", MERLE_ORDERED, "a", MERLE_MISSING_FIRST}, "a"},
    {{"pair", MERLE_ORDERED, "a, -b"}, "aB"},
    {{"pair first", MERLE_ORDERED, "-b, a", MERLE_MISSING_FIRST}, "Ba"},
    {{"pair last", MERLE_ORDERED, "-a, b, -key()", MERLE_MISSING_LAST}, "AbK"},
    {{"own", MERLE_UNIQUE_ORDERED, "-b, u"}, "Bu"},
    {{"own last", MERLE_UNIQUE_ORDERED, "u", MERLE_MISSING_LAST}, "u"},
    {{"each", MERLE_ORDERED, "l[*]"}, "l"},
    {{"each down", MERLE_ORDERED, "-l[*], a", MERLE_MISSING_LAST}, "La"},
    {{"keys", MERLE_ORDERED, "key()"}, "k"},
    {{"b by key", MERLE_ORDERED, "b, key()", MERLE_MISSING_FIRST}, "bk"},
    {{"made", MERLE_ORDERED, "-x, y", MERLE_MISSING_FIRST, .extract = extract}, "Ba"},
    {{"made too", MERLE_ORDERED, "x, y", .extract = extract}, "ba"},
    {{"tags", MERLE_TAGS, "l"}, "l"},
    {{"tags of a", MERLE_TAGS, "a"}, "a"},
};
enum { INDEX_COUNT = sizeof known / sizeof *known };

static int is_unique(size_t number) {
    merle_index_kind kind = known[number].index.kind;
    return kind == MERLE_UNIQUE || kind == MERLE_UNIQUE_ORDERED;
}

static int is_ordered(size_t number) {
    merle_index_kind kind = known[number].index.kind;
    return kind == MERLE_ORDERED || kind == MERLE_UNIQUE_ORDERED;
}

/* ---- documents ---- */

typedef struct document {
    uint32_t stamp; /* of its last change; 0: it is not there */
    uint16_t a, b, u;
    uint16_t list_count;
    uint16_t list[LIST_MAX];
} document;

typedef enum index_state { READY, BUILDING, ABSENT } index_state;

typedef struct plain {
    document docs[DOC_MAX];
    index_state states[INDEX_COUNT];
    uint32_t generations[INDEX_COUNT]; /* each drop makes a new one */
} plain;

typedef struct old_section {
    int is_open;
    merle_section section;
    merle_collection *things;
    plain at;
} old_section;

typedef struct stage {
    merle_db *db;
    merle_collection *things;
    merle_builder *builder;
    mrl_random random;
    uint32_t doc_count, value_count; /* value_count: how many of the pool are used */
    uint32_t stamp;
    plain now, next;
    uint32_t changed[16], changed_count;
    old_section old[SECTION_COUNT];
    uint64_t ended, refused;
} stage;

static uint64_t below(stage *s, uint64_t bound) {
    return mrl_random_below(&s->random, bound);
}

static uint16_t pick_value(stage *s) {
    if (below(s, 8) == 0) return (uint16_t)below(s, 2);
    uint32_t bound = below(s, 3) == 0 && s->value_count > 6 ? 6 : s->value_count;
    return (uint16_t)(FIRST_VALUE + below(s, bound));
}

static uint16_t pick_unique(stage *s) {
    uint64_t kind = below(s, 8);
    if (kind < 2) return (uint16_t)kind;
    if (kind == 2) return (uint16_t)(FIRST_VALUE + below(s, pool_count - FIRST_VALUE));
    return (uint16_t)(pool_count + below(s, 20 * s->doc_count));
}

static document pick_document(stage *s) {
    document d = {.a = pick_value(s), .b = pick_value(s), .u = pick_unique(s)};
    uint64_t count = below(s, LIST_MAX + 3);
    d.list_count = count == LIST_MAX + 1 ? NO_LIST : count > LIST_MAX ? ALONE : (uint16_t)count;
    for (int i = 0; i < LIST_MAX; i++) {
        d.list[i] = pick_value(s);
        if (d.list[i] == MISSING) d.list[i] = NIL;
    }
    return d;
}

/* Half of the keys begin with many equal bytes. */
static merle_bytes key_of(uint32_t id) {
    static char texts[DOC_MAX][88];
    const char *begin = "documents/of/a/long/path/that/goes/on/beyond/64/bytes/before/differing/";
    if (texts[id][0] == 0)
        (void)snprintf(texts[id], sizeof texts[id], "%s%u", id % 2 ? begin : "d", (unsigned)id);
    return merle_str(texts[id]);
}

static void build_field(stage *s, const char *name, uint32_t code) {
    merle_value value = value_of(code);
    if (code != MISSING) merle_build_value(s->builder, name, &value);
}

static merle_bytes bytes_of(stage *s, uint32_t id, const document *d) {
    merle_bytes bytes;
    merle_build_begin(s->builder);
    merle_build_int(s->builder, "id", (int64_t)id);
    merle_build_int(s->builder, "stamp", (int64_t)d->stamp);
    build_field(s, "a", d->a);
    build_field(s, "b", d->b);
    build_field(s, "u", d->u);
    if (d->list_count == ALONE) build_field(s, "l", d->list[0]);
    if (d->list_count <= LIST_MAX) {
        merle_build_array(s->builder, "l");
        for (size_t i = 0; i < d->list_count; i++) build_field(s, NULL, d->list[i]);
        merle_build_close(s->builder);
    }
    must(merle_build_end(s->builder, &bytes));
    return bytes;
}

/* ---- what a document has in an index ---- */

typedef struct entry {
    merle_value parts[PART_MAX];
} entry;

static merle_value part_of(const document *d, char field, merle_value element, merle_bytes key) {
    switch (field | 0x20) {
    case 'a':
        return value_of(d->a);
    case 'b':
        return value_of(d->b);
    case 'u':
        return value_of(d->u);
    case 'k':
        return merle_value_bytes(key);
    default:
        return element;
    }
}

/* The elements that are there; where there are none, a missing one. */
static size_t elements_of(const document *d, merle_value out[LIST_MAX]) {
    size_t given = d->list_count == ALONE ? 1 : d->list_count == NO_LIST ? 0 : d->list_count;
    size_t count = 0;
    for (size_t i = 0; i < given; i++)
        if (d->list[i] > NIL) out[count++] = value_of(d->list[i]);
    if (count == 0) out[count++] = merle_value_nil();
    return count;
}

static size_t entries_of(uint32_t id, const document *d, size_t number, entry out[LIST_MAX]) {
    const char *fields = known[number].fields;
    merle_value elements[LIST_MAX];
    size_t element_count = 1, count = 0;
    if (d->stamp == 0) return 0;
    if (known[number].index.extract != NULL && id % 3 == 0) return 0;
    if (strpbrk(fields, "lL") != NULL) element_count = elements_of(d, elements);
    for (size_t e = 0; e < element_count; e++) {
        int is_out = 0;
        memset(&out[count], 0, sizeof *out);
        for (size_t p = 0; fields[p] != 0; p++) {
            merle_value *part = &out[count].parts[p];
            *part = part_of(d, fields[p], elements[e], key_of(id));
            if (is_missing(part)) *part = merle_value_nil();
            is_out |= is_missing(part) && known[number].index.missing == MERLE_MISSING_OUT;
        }
        count += !is_out;
    }
    return count;
}

static int compare_parts(size_t number, const merle_value *a, const merle_value *b, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int order, a_lacks = is_missing(&a[i]), b_lacks = is_missing(&b[i]);
        if (a_lacks || b_lacks)
            order = known[number].index.missing == MERLE_MISSING_FIRST ? b_lacks - a_lacks
                                                                       : a_lacks - b_lacks;
        else
            order = compare_values(&a[i], &b[i]) * (known[number].fields[i] < 'a' ? -1 : 1);
        if (order != 0) return order;
    }
    return 0;
}

static int compare_entries(size_t number, const entry *a, const entry *b) {
    return compare_parts(number, a->parts, b->parts, strlen(known[number].fields));
}

/* ---- ranges ---- */

typedef struct row {
    uint32_t id;
    entry at;
} row;

typedef struct asked {
    size_t number;
    merle_range range;
    merle_value from[PART_MAX], to[PART_MAX];
} asked;

/* With a bound on a field at one end only, those that lack the field are not in the range, unless
 * the bound is that. */
static int is_shut_out(const asked *q, const entry *e) {
    const merle_bound *from = &q->range.from, *to = &q->range.to;
    if (from->value_count == to->value_count) return 0;
    const merle_bound *far = from->value_count > to->value_count ? from : to;
    const merle_bound *near = far == from ? to : from;
    size_t shared = near->value_count;
    return near->kind != MERLE_OPEN && is_missing(&e->parts[shared]) &&
           !is_missing(&far->values[shared]) &&
           compare_parts(q->number, far->values, near->values, shared) == 0 &&
           compare_parts(q->number, far->values, e->parts, shared) == 0;
}

static int is_inside(const asked *q, const entry *e) {
    const merle_range *range = &q->range;
    if (range->prefix != NULL) {
        size_t before = range->from.value_count, size = strlen(range->prefix);
        const merle_value *v = &e->parts[before];
        return compare_parts(q->number, e->parts, range->from.values, before) == 0 &&
               v->type == MERLE_TYPE_STR && v->bytes.size >= size &&
               memcmp(v->bytes.data, range->prefix, size) == 0;
    }
    int low = compare_parts(q->number, e->parts, range->from.values, range->from.value_count);
    int high = compare_parts(q->number, e->parts, range->to.values, range->to.value_count);
    if (range->from.kind == MERLE_CLOSED && low < 0) return 0;
    if (range->from.kind == MERLE_OPEN && low <= 0) return 0;
    if (range->to.kind == MERLE_CLOSED && high > 0) return 0;
    if (range->to.kind == MERLE_OPEN && high >= 0) return 0;
    return !is_shut_out(q, e);
}

static size_t sorted_number;

static int by_entry(const void *a, const void *b) {
    return compare_entries(sorted_number, &((const row *)a)->at, &((const row *)b)->at);
}

/* Each document once, at its first entry inside, or at its last one. */
static size_t choose(const stage *s, const plain *p, const asked *q, row *out) {
    size_t count = 0;
    for (uint32_t id = 0; id < s->doc_count; id++) {
        row *to = &out[count];
        entry entries[LIST_MAX];
        int is_in = 0;
        size_t entry_count = entries_of(id, &p->docs[id], q->number, entries);
        for (size_t e = 0; e < entry_count; e++) {
            if (!is_inside(q, &entries[e])) continue;
            int order = is_in ? compare_entries(q->number, &entries[e], &to->at) : 0;
            if (!is_in || (q->range.backwards ? order > 0 : order < 0)) to->at = entries[e];
            is_in = 1;
        }
        to->id = id;
        count += (size_t)is_in;
    }
    sorted_number = q->number;
    qsort(out, count, sizeof *out, by_entry);
    return count;
}

static void choose_bound(stage *s, const plain *p, asked *q, merle_value *values,
                         merle_bound *out) {
    size_t part_count = strlen(known[q->number].fields);
    entry entries[LIST_MAX];
    uint32_t id = (uint32_t)below(s, s->doc_count);
    size_t count = entries_of(id, &p->docs[id], q->number, entries);
    if (count == 0 || below(s, 4) == 0) return;
    memcpy(values, entries[below(s, count)].parts, PART_MAX * sizeof *values);
    /* A value that no document need have; nil where it has a place. */
    uint32_t first = known[q->number].index.missing == MERLE_MISSING_OUT ? FIRST_VALUE : NIL;
    if (below(s, 3) == 0) values[0] = value_of(first + (uint32_t)below(s, pool_count - first));
    /* A binary is taken for a key, too. */
    for (size_t i = 0; i < part_count; i++)
        if ((known[q->number].fields[i] | 0x20) == 'k' && values[i].type == MERLE_TYPE_BIN)
            values[i].type = MERLE_TYPE_STR;
    *out = (merle_bound){below(s, 2) ? MERLE_CLOSED : MERLE_OPEN, values, 1 + below(s, part_count)};
}

static void ask(stage *s, const plain *p, size_t number, asked *out) {
    static const char *const prefixes[] = {"", "p", "pppppppp", "documents/of", "d1"};
    memset(out, 0, sizeof *out);
    out->number = number;
    out->range.index = known[number].index.name;
    out->range.backwards = (uint32_t)below(s, 2);
    if (below(s, 6) == 0) {
        out->range.prefix = prefixes[below(s, 5)];
        return;
    }
    choose_bound(s, p, out, out->from, &out->range.from);
    choose_bound(s, p, out, out->to, &out->range.to);
}

/* ---- comparing ---- */

/* A section, the handle it was begun with, and what it must see. */
typedef struct seen {
    merle_section *section;
    merle_collection *things;
    const plain *p;
} seen;

static row wanted[DOC_MAX];

/* The document is the one of the array; its number. */
static uint32_t check_doc(const stage *s, const seen *v, merle_doc doc) {
    uint32_t id = (uint32_t)merle_doc_int(doc, "id", -1);
    assert_in_range(id, 0, s->doc_count - 1);
    assert_int_equal(merle_doc_int(doc, "stamp", -1), v->p->docs[id].stamp);
    merle_bytes key = merle_doc_key(doc), known_key = key_of(id);
    assert_int_equal(key.size, known_key.size);
    assert_memory_equal(key.data, known_key.data, key.size);
    return id;
}

static const entry *entry_wanted(uint32_t id, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (wanted[i].id == id) return &wanted[i].at;
    fail_msg("document %u is not in the range", (unsigned)id);
    return NULL;
}

static const row *row_wanted(const asked *q, size_t n, size_t count) {
    return &wanted[q->range.backwards ? count - 1 - n : n];
}

static void compare_list(stage *s, const seen *v, const asked *q, size_t count) {
    static uint8_t is_met[DOC_MAX];
    static const entry *entries[DOC_MAX];
    merle_cursor *cursor;
    merle_doc docs[64];
    size_t met = 0, some = 0;
    merle_err err = merle_range_open(v->things, &q->range, &cursor);
    int is_same = v->p->generations[q->number] == s->now.generations[q->number];
    if (err != MERLE_OK && !is_same) return;
    must(err);
    memset(is_met, 0, sizeof is_met);
    memset(entries, 0, sizeof entries);
    for (size_t i = 0; i < count; i++) entries[wanted[i].id] = &wanted[i].at;
    while ((err = merle_cursor_next(v->section, cursor, docs, 1 + below(s, 64), &some)) == MERLE_OK)
        for (size_t i = 0; i < some; i++, met++) {
            uint32_t id = check_doc(s, v, docs[i]);
            assert_true(met < count);
            assert_int_equal(is_met[id]++, 0);
            assert_non_null(entries[id]);
            assert_int_equal(
                compare_entries(q->number, entries[id], &row_wanted(q, met, count)->at), 0);
        }
    merle_cursor_close(cursor);
    if (err == MERLE_GONE && !is_same) return;
    assert_int_equal(err, MERLE_NOT_FOUND);
    assert_int_equal(met, count);
}

static void compare_places(stage *s, const seen *v, const asked *q, size_t count) {
    uint64_t found = 0;
    merle_doc doc;
    must(merle_range_count(v->section, v->things, &q->range, &found));
    assert_int_equal(found, count);
    assert_int_equal(merle_range_nth(v->section, v->things, &q->range, count, &doc),
                     MERLE_NOT_FOUND);
    for (int i = 0; i < 3 && count > 0; i++) {
        uint64_t n = i == 0 ? 0 : i == 1 ? count - 1 : below(s, count);
        must(merle_range_nth(v->section, v->things, &q->range, n, &doc));
        const entry *at = entry_wanted(check_doc(s, v, doc), count);
        assert_int_equal(compare_entries(q->number, at, &row_wanted(q, n, count)->at), 0);
        must(merle_range_rank(v->section, v->things, &q->range, merle_doc_key(doc), &found));
        assert_int_equal(found, n);
    }
    uint32_t id = (uint32_t)below(s, s->doc_count);
    int is_there = 0;
    for (size_t i = 0; i < count; i++) is_there |= wanted[i].id == id;
    merle_err err = merle_range_rank(v->section, v->things, &q->range, key_of(id), &found);
    assert_int_equal(err, is_there ? MERLE_OK : MERLE_NOT_FOUND);
}

static int has_entry(uint32_t id, const document *d, size_t number, const entry *e) {
    entry entries[LIST_MAX];
    size_t count = entries_of(id, d, number, entries);
    for (size_t i = 0; i < count; i++)
        if (compare_entries(number, &entries[i], e) == 0) return 1;
    return 0;
}

/* Values that may be there, and values that are. */
static void pick_entry(stage *s, const plain *p, size_t number, entry *out) {
    entry entries[LIST_MAX];
    uint32_t id = (uint32_t)below(s, s->doc_count);
    memset(out, 0, sizeof *out);
    if (below(s, 2) == 0 && entries_of(id, &p->docs[id], number, entries) > 0)
        *out = entries[0];
    else
        for (int i = 0; i < PART_MAX; i++)
            out->parts[i] = value_of(FIRST_VALUE + (uint32_t)below(s, pool_count - FIRST_VALUE));
}

static void compare_unique(stage *s, const seen *v, size_t number) {
    size_t part_count = strlen(known[number].fields), count = 0;
    uint32_t owner = 0;
    merle_doc doc;
    entry e;
    pick_entry(s, v->p, number, &e);
    for (size_t i = 0; i < part_count; i++)
        if (is_missing(&e.parts[i])) return;
    for (uint32_t id = 0; id < s->doc_count; id++)
        if (has_entry(id, &v->p->docs[id], number, &e)) owner = id, count++;
    /* In a commit that will be refused, which one is found says nothing. */
    if (count > 1) return;
    merle_err err = merle_get_unique(v->section, v->things, known[number].index.name, e.parts,
                                     part_count, &doc);
    assert_int_equal(err, count == 1 ? MERLE_OK : MERLE_NOT_FOUND);
    if (count == 1) assert_int_equal(check_doc(s, v, doc), owner);
}

static void compare_tag(stage *s, const seen *v, size_t number) {
    uint64_t count = 0;
    size_t met = 0, some = 0;
    merle_scan scan = {0};
    merle_doc docs[32];
    static uint8_t is_wanted[DOC_MAX];
    entry e;
    pick_entry(s, v->p, number, &e);
    const char *name = known[number].index.name;
    for (uint32_t id = 0; id < s->doc_count; id++)
        met += is_wanted[id] = (uint8_t)has_entry(id, &v->p->docs[id], number, &e);
    must(merle_tag_count(v->section, v->things, name, e.parts[0], &count));
    assert_int_equal(count, met);
    while (merle_tag_next(v->section, v->things, name, e.parts[0], &scan, docs, 1 + below(s, 32),
                          &some) == MERLE_OK)
        for (size_t i = 0; i < some; i++, met--) {
            uint32_t id = check_doc(s, v, docs[i]);
            assert_int_equal(is_wanted[id]--, 1);
        }
    assert_int_equal(met, 0);
}

/* What a section is told that asks for an index that it cannot use; MERLE_OK: it can. */
static merle_err ask_state(const seen *v, size_t number) {
    const char *name = known[number].index.name;
    const merle_value values[PART_MAX] = {{.type = MERLE_TYPE_NIL}};
    const merle_range all = {.index = name};
    uint64_t count = 0;
    merle_doc doc;
    if (is_ordered(number)) return merle_range_count(v->section, v->things, &all, &count);
    if (!is_unique(number))
        return merle_tag_count(v->section, v->things, name, merle_value_int(1), &count);
    merle_err err =
        merle_get_unique(v->section, v->things, name, values, strlen(known[number].fields), &doc);
    return err == MERLE_NOT_FOUND ? MERLE_OK : err;
}

static void compare_index(stage *s, const seen *v, size_t number) {
    merle_err err = ask_state(v, number);
    index_state state = v->p->states[number];
    if (state == READY) assert_int_equal(err, MERLE_OK);
    if (state == ABSENT) assert_int_equal(err, MERLE_INVALID);
    /* One that is ready before anything else is committed may be used by this section, too. */
    if (state == BUILDING) assert_true(err == MERLE_OK || err == MERLE_NOT_READY);
    if (err != MERLE_OK) return;
    asked q;
    ask(s, v->p, number, &q);
    if (is_unique(number)) compare_unique(s, v, number);
    if (known[number].index.kind == MERLE_TAGS) compare_tag(s, v, number);
    if (!is_ordered(number)) return;
    size_t count = choose(s, v->p, &q, wanted);
    compare_list(s, v, &q, count);
    compare_places(s, v, &q, count);
}

static void compare_all(stage *s, const seen *v) {
    for (size_t i = 0; i < INDEX_COUNT; i++) compare_index(s, v, i);
}

/* ---- writing ---- */

static int is_taken(const stage *s, const plain *p, size_t number, uint32_t id) {
    entry mine[LIST_MAX];
    size_t part_count = strlen(known[number].fields);
    if (entries_of(id, &p->docs[id], number, mine) == 0) return 0;
    /* Those that lack a field are never refused. */
    for (size_t i = 0; i < part_count; i++)
        if (is_missing(&mine[0].parts[i])) return 0;
    for (uint32_t other = 0; other < s->doc_count; other++)
        if (other != id && has_entry(other, &p->docs[other], number, &mine[0])) return 1;
    return 0;
}

static int is_refused(const stage *s) {
    for (size_t number = 0; number < INDEX_COUNT; number++)
        for (uint32_t i = 0; i < s->changed_count; i++)
            if (is_unique(number) && s->next.states[number] == READY &&
                is_taken(s, &s->next, number, s->changed[i]))
                return 1;
    return 0;
}

/* What the document was in a section that is open, if one is. */
static void go_back(stage *s, uint32_t id, document *out) {
    const old_section *old = &s->old[below(s, SECTION_COUNT)];
    if (old->is_open && old->at.docs[id].stamp != 0) *out = old->at.docs[id];
}

static int patch_one(stage *s, merle_commit *commit, uint32_t id) {
    static const char *const names[] = {"a", "b", "u"};
    document *d = &s->next.docs[id];
    uint64_t which = below(s, 3);
    uint16_t code = which == 2 ? pick_unique(s) : pick_value(s);
    uint16_t *fields[] = {&d->a, &d->b, &d->u};
    merle_value value = value_of(code);
    const merle_op ops[] = {code == MISSING ? MERLE_UNSET(names[which])
                                            : merle_op_of(MERLE_OP_SET, names[which], value),
                            MERLE_SET_INT("stamp", (int64_t)s->stamp)};
    must(merle_patch_ops(commit, s->things, key_of(id), ops, 2));
    if (d->stamp == 0) return 1;
    *fields[which] = code;
    d->stamp = s->stamp;
    return 0;
}

/* One operation, on the commit and on the array; whether the commit must be refused for it. */
static int operate(stage *s, merle_commit *commit) {
    uint32_t id = (uint32_t)below(s, s->doc_count);
    document *d = &s->next.docs[id], made = pick_document(s);
    int was_there = d->stamp != 0;
    uint64_t what = below(s, 12);
    s->changed[s->changed_count++] = id;
    s->stamp++;
    if (what < 3) return was_there ? patch_one(s, commit, id) : 0;
    if (what == 3 && was_there) {
        must(merle_remove(commit, s->things, key_of(id)));
        *d = (document){0};
        return 0;
    }
    if (what < 7) go_back(s, id, &made);
    made.stamp = s->stamp;
    *d = made;
    if (what < 11) {
        must(merle_put(commit, s->things, key_of(id), bytes_of(s, id, d)));
        return 0;
    }
    must(merle_insert(commit, s->things, key_of(id), bytes_of(s, id, d)));
    return was_there;
}

static void commit_some(stage *s, int is_looking) {
    merle_commit *commit;
    int is_failing = 0;
    s->next = s->now;
    s->changed_count = 0;
    must(merle_begin(s->db, &commit));
    for (uint64_t left = 1 + below(s, 6); left > 0; left--) is_failing |= operate(s, commit);
    const seen v = {merle_commit_section(commit), s->things, &s->next};
    if (is_looking && !is_failing) compare_all(s, &v);
    if (below(s, 12) == 0) {
        merle_cancel(commit);
        return;
    }
    is_failing |= is_refused(s);
    merle_err err = merle_end(commit, NULL);
    assert_int_equal(err, is_failing ? MERLE_EXISTS : MERLE_OK);
    s->refused += (uint64_t)is_failing;
    s->ended += !is_failing;
    if (!is_failing) s->now = s->next;
}

/* ---- what happens to the whole ---- */

static void build_over(stage *s, size_t number, int is_failed) {
    int is_doubled = 0;
    for (uint32_t id = 0; id < s->doc_count && is_unique(number); id++)
        is_doubled |= is_taken(s, &s->now, number, id);
    assert_int_equal(is_failed, is_doubled);
    s->now.states[number] = READY;
    if (!is_failed) return;
    must(merle_index_drop(s->things, known[number].index.name, NULL));
    s->now.states[number] = ABSENT;
    s->now.generations[number]++;
}

static void index_toggle(stage *s) {
    size_t number = below(s, INDEX_COUNT);
    const merle_index *index = &known[number].index;
    if (s->now.states[number] != ABSENT) {
        must(merle_index_drop(s->things, index->name, NULL));
        s->now.states[number] = ABSENT;
        s->now.generations[number]++;
        return;
    }
    merle_err err = merle_index_add(s->things, index, NULL);
    if (err == MERLE_TOO_BIG) return; /* old sections still use too many */
    must(err);
    s->now.states[number] = BUILDING;
    if (below(s, 2) == 0) return;
    err = merle_index_build(s->things, index->name);
    assert_true(err == MERLE_OK || err == MERLE_EXISTS);
    build_over(s, number, err != MERLE_OK);
}

static void step_once(stage *s) {
    (void)merle_step(s->db, 0, 0);
    for (size_t number = 0; number < INDEX_COUNT; number++) {
        merle_stats_index stats = {0};
        if (s->now.states[number] != BUILDING) continue;
        must(merle_index_stats(s->things, known[number].index.name, &stats));
        if (stats.state != MERLE_INDEX_BUILDING)
            build_over(s, number, stats.state == MERLE_INDEX_FAILED);
    }
}

static void forget_all(stage *s) {
    memset(s->now.docs, 0, sizeof s->now.docs);
    for (size_t i = 0; i < INDEX_COUNT; i++)
        if (s->now.states[i] == BUILDING) s->now.states[i] = READY;
}

static void things_open(stage *s) {
    merle_index indexes[INDEX_COUNT + 1] = {{0}};
    for (size_t i = 0; i < INDEX_COUNT; i++) indexes[i] = known[i].index;
    const merle_schema schema = {.version = 1, .indexes = indexes};
    must(merle_collection_open(s->db, "things", &schema, &s->things));
    for (size_t i = 0; i < INDEX_COUNT; i++) {
        s->now.states[i] = READY;
        s->now.generations[i]++;
    }
}

static void happen(stage *s) {
    uint64_t what = below(s, 200);
    if (what < 40) step_once(s);
    if (what >= 40 && what < 52) index_toggle(s);
    if (what == 199) {
        must(merle_collection_truncate(s->things, NULL));
        forget_all(s);
    }
    if (what == 198 && below(s, 3) == 0) {
        must(merle_collection_drop(s->things, NULL));
        forget_all(s);
        things_open(s);
    }
}

static void section_turn(stage *s, old_section *old) {
    if (!old->is_open) {
        must(merle_section_begin(s->db, &old->section));
        old->is_open = 1;
        old->things = s->things;
        old->at = s->now;
    }
    const seen v = {&old->section, old->things, &old->at};
    compare_all(s, &v);
    if (below(s, 3) != 0) return;
    must(merle_section_end(&old->section));
    old->is_open = 0;
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

/* ---- runs ---- */

static void run(uint64_t seed, uint32_t doc_count, uint32_t value_count, uint32_t step_count) {
    static stage s;
    const merle_options options = {.threads = MERLE_THREADS_NONE};
    memset(&s, 0, sizeof s);
    s.doc_count = doc_count;
    s.value_count = value_count;
    mrl_random_init(&s.random, seed);
    test_say("seed %llu: %u documents, %u values", (unsigned long long)seed, (unsigned)doc_count,
             (unsigned)value_count);
    must(merle_open(NULL, &options, &s.db));
    must(merle_builder_create(&s.builder));
    things_open(&s);
    for (uint32_t i = 0; i < doc_count; i++) commit_some(&s, 0);
    for (uint32_t step = 0; step < step_count; step++) {
        commit_some(&s, step % 16 == 0);
        happen(&s);
        if (step % 4 == 0) section_turn(&s, &s.old[below(&s, SECTION_COUNT)]);
        if (step % 128 == 0) check_whole(&s);
    }
    for (int i = 0; i < SECTION_COUNT; i++)
        if (s.old[i].is_open) must(merle_section_end(&s.old[i].section));
    for (int i = 0; i < 50; i++) step_once(&s);
    check_whole(&s);
    test_say("%llu commits, %llu refused", (unsigned long long)s.ended,
             (unsigned long long)s.refused);
    assert_true(s.refused > 0);
    merle_builder_destroy(s.builder);
    must(merle_close(s.db));
}

static void indexes_agree_with_arrays(void **state) {
    (void)state;
    for (uint64_t i = 0; i < test_amount(8); i++)
        run(test_seed() + i, i % 2 ? 150 : 20, pool_count - FIRST_VALUE, 1200);
}

static void thousands_of_equal_values_agree_with_arrays(void **state) {
    (void)state;
    for (uint64_t i = 0; i < test_amount(1); i++) run(test_seed() + 1000 + i, DOC_MAX, 3, 150);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(indexes_agree_with_arrays),
        cmocka_unit_test(thousands_of_equal_values_agree_with_arrays),
    };
    test_seed_print();
    pool_fill();
    return cmocka_run_group_tests_name("model/indexes", tests, NULL, NULL);
}
