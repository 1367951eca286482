/* tests/stress/ordered_world.h - a store in small above an ordered index, for threads or simulated
 * workers.
 *
 * What    Documents with one value each, versions with a seq; commits that add, mark, then publish
 *         or take all back; readers that compare scans, counts, ranks and n-th hits with a walk
 *         over all documents at the same instant. Values are drawn from narrow windows that move,
 *         so that parts of the tree are quiet and others are not. Each function does one step.
 * Owns    domain and tree, between world_begin and world_end.
 * Threads steps: any.
 * Limits  DOCUMENT_COUNT_MAX documents.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_STRESS_ORDERED_WORLD_H
#define TESTS_STRESS_ORDERED_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/lock.h"
#include "index/ordered.h"
#include "tests/model/seed.h"
#include "tests/stress/stress.h"

enum { DOCUMENT_COUNT_MAX = 4000, WINDOW_COUNT = 64, VALUE_COUNT = 64 * 512 };

#define NO_VALUE UINT32_MAX

typedef struct version {
    struct version *before; /* NULL: there was no document */
    _Atomic uint64_t seq;   /* UINT64_MAX: not published yet */
    uint32_t value;         /* NO_VALUE: removed */
} version;

typedef struct document {
    mrl_lock lock;
    _Atomic(version *) current;
} document;

typedef struct world {
    mrl_domain *domain;
    mrl_ordered *tree;
    mrl_lock publishing;
    _Atomic uint64_t published;
    uint32_t moving_count; /* documents from here on never change */
    uint32_t document_count;
    uint64_t window_steps; /* a writer stays in a window for so many commits */
    document documents[DOCUMENT_COUNT_MAX];
} world;

/* ---- values: half of them are numbers, half are strings that differ late ---- */

static merle_bytes value_bytes(uint32_t value, uint8_t out[64]) {
    size_t size = 1;
    uint64_t number = (uint64_t)value * 0x10001;
    if (value < VALUE_COUNT / 2) {
        out[0] = 0x30;
        for (int i = 0; i < 8; i++) out[size++] = (uint8_t)(number >> (56 - 8 * i));
        return merle_bytes_of(out, size);
    }
    out[0] = 0x40;
    for (uint32_t i = 0; i < 20; i++) out[size++] = 'p';
    for (int i = 0; i < 8; i++) out[size++] = (uint8_t)('a' + (value >> (14 - 2 * i) & 3));
    if (value % 3 == 0) memset(out + size, 'x', 12), size += 12;
    out[size++] = 0;
    out[size++] = 0;
    return merle_bytes_of(out, size);
}

static int hit_has_value(const mrl_ordered_hit *hit, uint32_t value) {
    uint8_t bytes[64];
    return mrl_ordered_hit_is(hit, value_bytes(value, bytes));
}

/* ---- sections ---- */

typedef struct section {
    world *w;
    mrl_member *member;
    mrl_epoch_token token;
    uint32_t epoch;
    uint64_t seq;
} section;

static void section_begin(section *v, world *w) {
    v->w = w;
    v->member = mrl_member_join(w->domain);
    mrl_member_enter(v->member, &v->token);
    v->epoch = mrl_epoch_value(w->domain);
    v->seq = atomic_load_explicit(&w->published, memory_order_acquire);
}

static void section_end(section *v) {
    mrl_member_leave(v->member, &v->token);
}

static uint32_t value_at(const section *v, uint32_t slot) {
    const version *at = atomic_load_explicit(&v->w->documents[slot].current, memory_order_acquire);
    while (at != NULL && atomic_load_explicit(&at->seq, memory_order_acquire) > v->seq)
        at = at->before;
    return at == NULL ? NO_VALUE : at->value;
}

static int is_visible(const section *v, const mrl_ordered_hit *hit) {
    uint32_t value = value_at(v, hit->slot);
    return value != NO_VALUE && hit_has_value(hit, value);
}

static uint64_t visible(void *context, const mrl_ordered_hit *hits, size_t count) {
    uint64_t bits = 0;
    for (size_t i = 0; i < count; i++) bits |= (uint64_t)is_visible(context, &hits[i]) << i;
    return bits;
}

/* ---- commits ---- */

static void hint_add(stress_worker *sw, mrl_member *member, uint32_t value, uint32_t slot) {
    world *w = sw->s->context;
    uint8_t bytes[64];
    int is_added;
    merle_err err = mrl_ordered_add(w->tree, member, value_bytes(value, bytes), slot, &is_added);
    STRESS_EXPECT(sw->s, err == MERLE_OK && is_added == 1);
}

static void hint_mark(world *w, mrl_member *member, uint32_t value, uint32_t slot) {
    uint8_t bytes[64];
    mrl_ordered_mark(w->tree, member, value_bytes(value, bytes), slot);
}

static void publish(world *w, document *d, version *made) {
    mrl_lock_take(&w->publishing);
    uint64_t seq = atomic_load_explicit(&w->published, memory_order_relaxed) + 1;
    atomic_store_explicit(&made->seq, seq, memory_order_release);
    atomic_store_explicit(&d->current, made, memory_order_release);
    atomic_store_explicit(&w->published, seq, memory_order_release);
    mrl_lock_drop(&w->publishing);
}

static version *version_make(mrl_member *member, version *before, uint32_t value) {
    version *made = mrl_block_alloc(member, MRL_FOR_DOCUMENTS, sizeof *made);
    made->before = before;
    atomic_init(&made->seq, UINT64_MAX);
    made->value = value;
    return made;
}

/* Gives the document another value, or none; or takes it all back. The document is locked. */
static void commit(stress_worker *sw, mrl_member *member, uint32_t slot, uint32_t value,
                   int is_failing) {
    world *w = sw->s->context;
    document *d = &w->documents[slot];
    version *before = atomic_load_explicit(&d->current, memory_order_relaxed);
    uint32_t value_before = before == NULL ? NO_VALUE : before->value;
    if (value == value_before) return;
    if (value != NO_VALUE) hint_add(sw, member, value, slot);
    if (value_before != NO_VALUE) hint_mark(w, member, value_before, slot);
    if (is_failing) {
        if (value != NO_VALUE) hint_mark(w, member, value, slot);
        if (value_before != NO_VALUE) hint_add(sw, member, value_before, slot);
        return;
    }
    publish(w, d, version_make(member, before, value));
    if (before != NULL) mrl_block_retire(member, before);
}

static void writes(stress_worker *sw) {
    world *w = sw->s->context;
    mrl_member *member = mrl_member_join(w->domain);
    mrl_epoch_token token;
    uint32_t slot = (uint32_t)mrl_random_below(&sw->random, w->moving_count);
    uint32_t window = (uint32_t)(sw->done / w->window_steps + sw->number * 20) % WINDOW_COUNT;
    uint32_t value = window * (VALUE_COUNT / WINDOW_COUNT);
    value += (uint32_t)mrl_random_below(&sw->random, VALUE_COUNT / WINDOW_COUNT);
    if (mrl_random_below(&sw->random, 4) == 0) value = NO_VALUE;
    mrl_lock_take(&w->documents[slot].lock);
    mrl_member_enter(member, &token);
    commit(sw, member, slot, value, mrl_random_below(&sw->random, 4) == 0);
    mrl_member_leave(member, &token);
    mrl_lock_drop(&w->documents[slot].lock);
    if (sw->done % 16 == 0) (void)mrl_domain_drain(member, 64);
}

static void sweeps(stress_worker *sw) {
    world *w = sw->s->context;
    mrl_member *member = mrl_member_join(w->domain);
    mrl_epoch_token token;
    mrl_epoch_advance(member);
    mrl_member_enter(member, &token);
    (void)mrl_ordered_sweep(w->tree, member, 16);
    mrl_member_leave(member, &token);
    (void)mrl_domain_drain(member, 256);
}

/* ---- readers ---- */

/* A range between two values, and how many documents are in it; upper is one above the last. */
typedef struct asked {
    mrl_ordered_range range;
    uint32_t low, high;
    uint8_t bytes[2][64];
} asked;

static void range_pick(stress_worker *sw, asked *a) {
    memset(a, 0, sizeof *a);
    a->high = VALUE_COUNT;
    if (mrl_random_below(&sw->random, 3) == 0) return;
    a->low = (uint32_t)mrl_random_below(&sw->random, VALUE_COUNT);
    a->high = a->low + 1 + (uint32_t)mrl_random_below(&sw->random, VALUE_COUNT - a->low);
    a->range.from = value_bytes(a->low, a->bytes[0]);
    a->range.from_bound = MRL_BOUND_CLOSED;
    a->range.to = value_bytes(a->high - 1, a->bytes[1]);
    a->range.to_bound = MRL_BOUND_CLOSED;
}

static uint64_t truth(const section *v, const asked *a) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < v->w->document_count; i++) {
        uint32_t value = value_at(v, i);
        count += value != NO_VALUE && value >= a->low && value < a->high;
    }
    return count;
}

/* Whether b lies behind a, or before it if descending. */
static int is_in_order(const mrl_ordered_hit *a, const mrl_ordered_hit *b, int is_descending) {
    uint8_t of_a[64], of_b[64];
    mrl_ordered_hit_copy(a, of_a);
    mrl_ordered_hit_copy(b, of_b);
    int order = memcmp(of_a, of_b, a->size < b->size ? a->size : b->size);
    if (order == 0) order = a->slot < b->slot ? -1 : a->slot > b->slot;
    return is_descending ? order > 0 : order < 0;
}

static void scans(stress_worker *sw) {
    world *w = sw->s->context;
    section v;
    asked a;
    mrl_ordered_cursor cursor;
    mrl_ordered_hit hits[1 + 100];
    uint8_t position[MERLE_VALUE_SIZE_MAX], met[DOCUMENT_COUNT_MAX] = {0};
    int is_descending = (int)mrl_random_below(&sw->random, 2);
    size_t max = 1 + mrl_random_below(&sw->random, 100), count, all = 0;
    uint64_t visible_count = 0;
    range_pick(sw, &a);
    section_begin(&v, w);
    mrl_ordered_cursor_init(&cursor, w->tree, &a.range, is_descending, position);
    do {
        count = mrl_ordered_next(&cursor, hits + 1, max);
        for (size_t i = 1; i <= count; i++, all++) {
            if (all > 0) STRESS_EXPECT(sw->s, is_in_order(&hits[i - 1], &hits[i], is_descending));
            if (!is_visible(&v, &hits[i])) continue;
            STRESS_EXPECT(sw->s, met[hits[i].slot]++ == 0);
            visible_count++;
        }
        if (count > 0) hits[0] = hits[count];
    } while (count == max);
    STRESS_EXPECT(sw->s, visible_count == truth(&v, &a));
    section_end(&v);
}

static void counts(stress_worker *sw) {
    world *w = sw->s->context;
    section v;
    asked a;
    mrl_ordered_hit hit;
    section_begin(&v, w);
    const mrl_ordered_viewer viewer = {v.epoch, visible, &v};
    range_pick(sw, &a);
    uint64_t expected = truth(&v, &a);
    STRESS_EXPECT(sw->s, mrl_ordered_count(w->tree, &a.range, &viewer) == expected);
    uint64_t n = mrl_random_below(&sw->random, expected + 2);
    int is_descending = (int)mrl_random_below(&sw->random, 2);
    int is_there = mrl_ordered_nth(w->tree, &a.range, is_descending, n, &viewer, &hit);
    STRESS_EXPECT(sw->s, is_there == (n < expected));
    if (is_there) {
        uint8_t bytes[64];
        mrl_ordered_hit_copy(&hit, bytes);
        merle_bytes value = merle_bytes_of(bytes, hit.size);
        STRESS_EXPECT(sw->s, is_visible(&v, &hit));
        STRESS_EXPECT(sw->s, mrl_ordered_rank(w->tree, &a.range, is_descending, value, hit.slot,
                                              &viewer) == n);
    }
    section_end(&v);
}

/* ---- begin and end ---- */

/* A tenth of the documents never change. */
static void world_begin(stress *s, world *w, uint32_t document_count, uint64_t window_steps) {
    const mrl_domain_options options = {0};
    stress_worker sw = {.s = s};
    memset((void *)w, 0, sizeof *w);
    memset(s, 0, sizeof *s);
    s->context = w;
    w->document_count = document_count;
    w->moving_count = document_count - document_count / 10;
    w->window_steps = window_steps;
    mrl_lock_init(&w->publishing);
    assert_int_equal(mrl_domain_create(&options, &w->domain), MERLE_OK);
    mrl_member *member = mrl_member_join(w->domain);
    w->tree = mrl_ordered_create(member);
    assert_non_null(w->tree);
    for (uint32_t i = 0; i < document_count; i++) {
        mrl_epoch_token token;
        mrl_lock_init(&w->documents[i].lock);
        mrl_member_enter(member, &token);
        if (i >= w->moving_count) commit(&sw, member, i, i * 7919 % VALUE_COUNT, 0);
        mrl_member_leave(member, &token);
    }
}

static void world_end(stress *s, world *w) {
    mrl_member *member = mrl_member_join(w->domain);
    const char *broken = mrl_ordered_check(w->tree);
    if (broken != NULL) test_say("broken: %s", broken);
    assert_null(broken);
    mrl_ordered_destroy(w->tree, member);
    mrl_domain_destroy(w->domain);
    assert_int_equal(atomic_load(&s->fault_count), 0);
}

#endif
