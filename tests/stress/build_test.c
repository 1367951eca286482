/* tests/stress/build_test.c
 *
 * Aim     An index that is built under load gives in every section that may use it what a walk over
 *         all documents gives: after it became ready, while it is in use, and, in sections from
 *         before its drop, afterwards. A unique one refuses nobody before it is ready; then it has
 *         no value twice.
 * Method  Four threads write all the time: puts, patches, removals, values that are taken and given
 *         back, values that are doubled for the time between two commits. Two more add, build and
 *         drop indexes in a loop, one with merle_index_build, one by steps, and compare; one
 *         compares by whatever is there. merle_check runs in between, and at the end.
 * Blind   To orders of memory that this processor does not make, and to races that did not happen.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/model/seed.h"
#include "tests/stress/stress.h"

enum { KEYS = 1500, LEVELS = 10, TAGS = 6, VARIANTS = 8, WRITERS = 4 };

/* The level, made by a function. */
static merle_err made_level(void *context, merle_bytes key, merle_doc doc, merle_value *out_values,
                            size_t value_max, size_t *out_count) {
    (void)context;
    (void)key;
    (void)value_max;
    if (!merle_doc_has(doc, "l")) return MERLE_OK;
    out_values[0] = merle_value_uint(merle_doc_uint(doc, "l", 0));
    *out_count = 1;
    return MERLE_OK;
}

/* Two of each kind, one for each thread that defines. */
static const merle_index indexes[2][6] = {
    {{.name = "level", .kind = MERLE_ORDERED, .on = "l"},
     {.name = "tags", .kind = MERLE_TAGS, .on = "t"},
     {.name = "own", .kind = MERLE_UNIQUE, .on = "u"},
     {.name = "doubled", .kind = MERLE_UNIQUE, .on = "d"},
     {.name = "pair", .kind = MERLE_UNIQUE_ORDERED, .on = "-l, u"},
     {.name = "made", .kind = MERLE_ORDERED, .on = "l", .extract = made_level}},
    {{.name = "level2", .kind = MERLE_ORDERED, .on = "l"},
     {.name = "tags2", .kind = MERLE_TAGS, .on = "t"},
     {.name = "own2", .kind = MERLE_UNIQUE, .on = "u"},
     {.name = "doubled2", .kind = MERLE_UNIQUE, .on = "d"},
     {.name = "pair2", .kind = MERLE_UNIQUE_ORDERED, .on = "-l, u"},
     {.name = "made2", .kind = MERLE_ORDERED, .on = "l", .extract = made_level}}};
enum { LEVEL, TAG, OWN, DOUBLED, PAIR, MADE, KIND_COUNT };

/* ---- documents ---- */

static merle_bytes key_of(uint64_t number, char out[16]) {
    return merle_bytes_of(out, (size_t)snprintf(out, 16, "k%u", (unsigned)number));
}

static uint8_t *put_name(uint8_t *at, char name) {
    *at++ = 0xa1;
    *at++ = (uint8_t)name;
    return at;
}

static uint8_t *put_u16(uint8_t *at, char name, uint64_t number) {
    at = put_name(at, name);
    *at++ = 0xcd;
    *at++ = (uint8_t)(number >> 8);
    *at++ = (uint8_t)number;
    return at;
}

/* {"l": level, "u": one of a few values that only this key takes, "d": of another key now and then,
 * "t": some tags}; now and then without one of them. */
static merle_bytes make_doc(stress_worker *w, uint64_t number, uint64_t doubled, uint8_t *out) {
    uint8_t *at = out + 1;
    uint64_t bits = mrl_random_below(&w->random, 1u << TAGS);
    uint64_t without = mrl_random_below(&w->random, 12);
    uint8_t fields = 2;
    at = put_u16(at, 'u', number * VARIANTS + mrl_random_below(&w->random, VARIANTS));
    at = put_u16(at, 'd', doubled);
    if (without != 0) at = put_u16(at, 'l', mrl_random_below(&w->random, LEVELS));
    fields = (uint8_t)(fields + (without != 0));
    if (without != 1) {
        at = put_name(at, 't');
        *at++ = (uint8_t)(0x90 + __builtin_popcountll(bits));
        for (uint8_t i = 0; i < TAGS; i++)
            if ((bits >> i & 1) != 0) *at++ = i;
        fields++;
    }
    out[0] = (uint8_t)(0x80 + fields);
    return merle_bytes_of(out, (size_t)(at - out));
}

/* ---- writers ---- */

static void put(stress_worker *w, uint64_t number, uint64_t doubled) {
    uint8_t doc[64];
    char key[16];
    merle_err err = merle_one_put(w->s->collection, key_of(number, key),
                                  make_doc(w, number, doubled, doc), NULL);
    /* A doubled value is refused as soon as the index is ready; and the document's own one, where
     * another took it while the document was away. */
    STRESS_EXPECT(w->s, err == MERLE_OK || err == MERLE_EXISTS);
}

static void patch(stress_worker *w, uint64_t number) {
    char key[16];
    int64_t level = (int64_t)mrl_random_below(&w->random, LEVELS);
    merle_err err = merle_one_patch(w->s->collection, key_of(number, key), NULL, NULL,
                                    MERLE_SET_INT("l", level));
    STRESS_EXPECT(w->s, err == MERLE_OK || err == MERLE_NOT_FOUND);
}

static void write_some(stress_worker *w) {
    char key[16];
    uint64_t number = mrl_random_below(&w->random, KEYS / WRITERS) * WRITERS + w->number % WRITERS;
    uint64_t kind = mrl_random_below(&w->random, 16);
    if (kind == 0) {
        merle_err err = merle_one_remove(w->s->collection, key_of(number, key), NULL);
        STRESS_EXPECT(w->s, err == MERLE_OK || err == MERLE_NOT_FOUND);
    } else if (kind == 1) {
        put(w, number, mrl_random_below(&w->random, KEYS));
        put(w, number, number);
    } else if (kind < 8) {
        patch(w, number);
    } else {
        put(w, number, number);
    }
}

/* ---- comparing ---- */

typedef struct seen {
    uint64_t levels[LEVELS], tags[TAGS], level_count, count;
} seen;

static void see(seen *out, merle_doc doc) {
    out->count++;
    if (merle_doc_has(doc, "l")) {
        out->levels[merle_doc_uint(doc, "l", 0) % LEVELS]++;
        out->level_count++;
    }
    for (int i = 0; i < TAGS; i++) {
        char path[8];
        snprintf(path, sizeof path, "t[%d]", i);
        if (!merle_doc_has(doc, path)) break;
        out->tags[merle_doc_uint(doc, path, 0) % TAGS]++;
    }
}

/* Whether the index leads to the document by its value; *out_err: what a call said that could not
 * use it. */
static int leads_to(stress_worker *w, merle_section *section, const char *name, const char *field,
                    merle_doc doc, merle_err *out_err) {
    merle_value values[2] = {merle_value_int(merle_doc_int(doc, "l", 0)),
                             merle_value_int(merle_doc_int(doc, field, 0))};
    merle_doc found;
    int is_pair = strncmp(name, "pair", 4) == 0;
    if (is_pair && !merle_doc_has(doc, "l")) return 1;
    *out_err = merle_get_unique(section, w->s->collection, name, is_pair ? values : values + 1,
                                is_pair ? 2 : 1, &found);
    if (*out_err != MERLE_OK) return 0;
    /* A build of an index by a function puts a twin in the version's place between the two calls:
     * another address, the same state. */
    return found.seq == doc.seq && mrl_bytes_equal(merle_doc_key(found), merle_doc_key(doc));
}

static merle_err compare_levels(stress_worker *w, merle_section *section, const char *name,
                                const seen *wanted) {
    for (int i = 0; i < LEVELS; i++) {
        merle_value level = merle_value_int(i);
        merle_range range = {
            .index = name, .from = {MERLE_CLOSED, &level, 1}, .to = {MERLE_CLOSED, &level, 1}};
        uint64_t count;
        merle_err err = merle_range_count(section, w->s->collection, &range, &count);
        if (err != MERLE_OK) return err;
        if (count != wanted->levels[i])
            stress_fault(w->s, "%s: %d has %llu documents, the walk %llu", name, i,
                         (unsigned long long)count, (unsigned long long)wanted->levels[i]);
    }
    return MERLE_OK;
}

/* A cursor gives as many documents, each with its level, in order. */
static merle_err compare_range(stress_worker *w, merle_section *section, const char *name,
                               const seen *wanted) {
    merle_range range = {.index = name};
    merle_cursor *cursor;
    merle_doc docs[64];
    size_t count;
    uint64_t total = 0, last = 0;
    int is_down = strncmp(name, "pair", 4) == 0;
    merle_err err = merle_range_open(w->s->collection, &range, &cursor);
    if (err != MERLE_OK) return err;
    while ((err = merle_cursor_next(section, cursor, docs, 64, &count)) == MERLE_OK)
        for (size_t i = 0; i < count; i++) {
            uint64_t level = merle_doc_uint(docs[i], "l", 0);
            STRESS_EXPECT(w->s, total == 0 || (is_down ? level <= last : level >= last));
            last = level;
            total++;
        }
    merle_cursor_close(cursor);
    if (err != MERLE_NOT_FOUND) return err;
    if (total != wanted->level_count)
        stress_fault(w->s, "%s: the cursor gave %llu documents, the walk %llu", name,
                     (unsigned long long)total, (unsigned long long)wanted->level_count);
    return MERLE_OK;
}

static merle_err compare_tags(stress_worker *w, merle_section *section, const char *name,
                              const seen *wanted) {
    for (int i = 0; i < TAGS; i++) {
        uint64_t count;
        merle_err err =
            merle_tag_count(section, w->s->collection, name, merle_value_int(i), &count);
        if (err != MERLE_OK) return err;
        if (count != wanted->tags[i])
            stress_fault(w->s, "%s: tag %d has %llu documents, the walk %llu", name, i,
                         (unsigned long long)count, (unsigned long long)wanted->tags[i]);
    }
    return MERLE_OK;
}

/* All that the index says in the section. MERLE_OK, or what it said instead. */
static merle_err compare(stress_worker *w, merle_section *section, const merle_index *index) {
    seen wanted = {0};
    merle_scan scan = {0};
    merle_doc docs[64];
    size_t count;
    merle_err err = MERLE_OK;
    int is_unique = index->kind == MERLE_UNIQUE || index->kind == MERLE_UNIQUE_ORDERED;
    const char *field = index->name[0] == 'd' ? "d" : "u";
    while (merle_scan_next(section, w->s->collection, &scan, docs, 64, &count) == MERLE_OK)
        for (size_t i = 0; i < count; i++) {
            see(&wanted, docs[i]);
            if (!is_unique || leads_to(w, section, index->name, field, docs[i], &err)) continue;
            if (err == MERLE_NOT_READY || err == MERLE_INVALID) return err;
            stress_fault(w->s, "%s does not lead to a document: %s", index->name,
                         merle_err_name(err));
            return err;
        }
    if (index->kind == MERLE_TAGS) return compare_tags(w, section, index->name, &wanted);
    if (index->kind == MERLE_UNIQUE) return MERLE_OK;
    if (index->kind == MERLE_ORDERED &&
        (err = compare_levels(w, section, index->name, &wanted)) != MERLE_OK)
        return err;
    return compare_range(w, section, index->name, &wanted);
}

/* ---- who defines ---- */

static merle_err wait_until_built(stress_worker *w, const merle_index *index) {
    merle_stats_index stats = {.size = sizeof stats};
    if (w->number == 0) return merle_index_build(w->s->collection, index->name);
    do {
        (void)merle_step(w->s->db, 0, 100000);
        STRESS_EXPECT(w->s, merle_index_stats(w->s->collection, index->name, &stats) == MERLE_OK);
    } while (stats.state == MERLE_INDEX_BUILDING);
    return stats.state == MERLE_INDEX_READY ? MERLE_OK : MERLE_EXISTS;
}

static void expect_offenders(stress_worker *w, const merle_index *index) {
    merle_offender offenders[4];
    merle_buffer keys = {0};
    size_t count = 0;
    STRESS_EXPECT(w->s, merle_index_offenders(w->s->collection, index->name, &keys, offenders, 4,
                                              &count) == MERLE_OK);
    STRESS_EXPECT(w->s, count > 0 && offenders[0].why == MERLE_EXISTS);
    merle_buffer_free(&keys);
}

/* Of the second pair the cursor's index is dropped meanwhile: another section cannot open one. */
static void use(stress_worker *w, const merle_index *index) {
    merle_section section;
    STRESS_EXPECT(w->s, merle_section_begin(w->s->db, &section) == MERLE_OK);
    merle_err err = compare(w, &section, index);
    if (err != MERLE_OK)
        stress_fault(w->s, "%s is ready and says %s", index->name, merle_err_name(err));
    STRESS_EXPECT(w->s, merle_section_end(&section) == MERLE_OK);
}

static void define_some(stress_worker *w) {
    uint64_t kind = mrl_random_below(&w->random, KIND_COUNT);
    const merle_index *index = &indexes[w->number][kind];
    merle_section before;
    STRESS_EXPECT(w->s, merle_index_add(w->s->collection, index, NULL) == MERLE_OK);
    merle_err err = mrl_random_below(&w->random, 8) != 0 ? wait_until_built(w, index) : MERLE_BUSY;
    if (err == MERLE_OK) {
        use(w, index);
        use(w, index);
    } else if (err == MERLE_EXISTS) {
        STRESS_EXPECT(w->s, kind == DOUBLED);
        expect_offenders(w, index);
    }
    STRESS_EXPECT(w->s, err == MERLE_OK || err == MERLE_EXISTS || err == MERLE_BUSY);
    STRESS_EXPECT(w->s, merle_section_begin(w->s->db, &before) == MERLE_OK);
    STRESS_EXPECT(w->s, merle_index_drop(w->s->collection, index->name, NULL) == MERLE_OK);
    /* A section from before the drop goes on with it; cursors are opened over what is there now. */
    if (err == MERLE_OK && index->kind != MERLE_ORDERED && index->kind != MERLE_UNIQUE_ORDERED)
        STRESS_EXPECT(w->s, compare(w, &before, index) == MERLE_OK);
    STRESS_EXPECT(w->s, merle_section_end(&before) == MERLE_OK);
    if (mrl_random_below(&w->random, 8) == 0) {
        merle_report report;
        if (merle_check(w->s->db, &report) != MERLE_OK) stress_fault(w->s, "%s", report.message);
    }
}

/* By whatever index is there. */
static void read_some(stress_worker *w) {
    merle_section section;
    const merle_index *index =
        &indexes[mrl_random_below(&w->random, 2)][mrl_random_below(&w->random, KIND_COUNT)];
    STRESS_EXPECT(w->s, merle_section_begin(w->s->db, &section) == MERLE_OK);
    merle_err err = compare(w, &section, index);
    STRESS_EXPECT(w->s, err == MERLE_OK || err == MERLE_NOT_READY || err == MERLE_INVALID ||
                            err == MERLE_GONE);
    STRESS_EXPECT(w->s, merle_section_end(&section) == MERLE_OK);
}

/* ---- the case ---- */

static void indexes_come_and_go_in(uint32_t thread_count, merle_threads threads) {
    const stress_job jobs[] = {{"writers", write_some, WRITERS},
                               {"definers", define_some, 2},
                               {"readers", read_some, thread_count / 4},
                               {NULL, NULL, 0}};
    static const merle_schema schema = {.version = 1};
    stress s;
    stress_open(&s, threads, &schema);
    stress_worker filler = {.s = &s};
    mrl_random_init(&filler.random, test_seed());
    for (uint64_t i = 0; i < KEYS; i++) put(&filler, i, i);
    stress_run(&s, jobs, stress_time_ms());
    stress_close(&s);
}

static void indexes_come_and_go_under_load(void **state) {
    (void)state;
    stress_shapes(indexes_come_and_go_in);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(indexes_come_and_go_under_load)};
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
