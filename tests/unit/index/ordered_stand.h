/* tests/unit/index/ordered_stand.h - what the tests of the ordered index share: a domain that can
 * refuse, a universe of hints in order, and a twin that knows which of them are there.
 *
 * What    A universe is a sorted array of (value, slot). The twin is the tree with a flag for each
 *         hint of the universe: so every answer of the tree can be had from a walk over flags.
 * Owns    all of it, between stand_begin and stand_end.
 * Threads one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_UNIT_INDEX_ORDERED_STAND_H
#define TESTS_UNIT_INDEX_ORDERED_STAND_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "index/ordered.h"
#include "tests/model/seed.h"

typedef enum value_kind { NUMBERS, DENSE, STRINGS, MIXED, FEW, COMPOUNDS, KIND_COUNT } value_kind;

typedef struct hint {
    uint8_t *bytes;
    uint32_t size;
    uint32_t slot;
} hint;

typedef struct stand {
    mrl_refusal refusal;
    uint64_t asked_count;
    uint64_t refuse_at; /* this one is refused; 0: none */
    int refuses_all;
    mrl_domain *domain;
    mrl_member *member;
    mrl_ordered *tree;
    hint *hints;
    uint32_t hint_count;
    uint8_t *live;    /* of each hint */
    uint8_t *garbage; /* marked, may still be there */
    mrl_random random;
} stand;

static inline int stand_refuses(void *context, size_t size) {
    stand *s = context;
    (void)size;
    return s->refuses_all || ++s->asked_count == s->refuse_at;
}

static inline uint32_t put_number(uint8_t *out, uint64_t number) {
    out[0] = 0x30;
    for (int i = 0; i < 8; i++) out[1 + i] = (uint8_t)(number >> (56 - 8 * i));
    return 9;
}

/* Strings of two letters, with a few long beginnings in common, so that many differ late. */
static inline uint32_t put_string(uint8_t *out, mrl_random *random, uint32_t size_max) {
    uint32_t size = 1, length = (uint32_t)mrl_random_below(random, size_max);
    uint32_t shared = (uint32_t)mrl_random_below(random, 3) * size_max / 3;
    out[0] = 0x40;
    for (uint32_t i = 0; i < shared; i++) out[size++] = 'p';
    for (uint32_t i = 0; i < length; i++)
        out[size++] = (uint8_t)('a' + mrl_random_below(random, 2));
    out[size++] = 0;
    out[size++] = 0;
    return size;
}

static inline uint32_t put_mixed(uint8_t *out, mrl_random *random) {
    static const uint8_t fixed[] = {0x05, 0x10, 0x11};
    switch (mrl_random_below(random, 6)) {
    case 0:
        out[0] = fixed[mrl_random_below(random, 3)];
        return 1;
    case 1:
        return put_number(out, mrl_random_next(random));
    case 2: /* a number of 11 bytes */
        (void)put_number(out, UINT64_MAX - mrl_random_below(random, 8));
        out[0] = 0x31;
        out[9] = (uint8_t)mrl_random_next(random);
        out[10] = 7;
        return 11;
    case 3:
        (void)put_number(out, mrl_random_below(random, 20) << 40);
        memset(out + 9, (int)mrl_random_below(random, 5), 4);
        out[0] = 0x60;
        return 13;
    case 4:
        return put_string(out, random, mrl_random_below(random, 20) == 0 ? 2000 : 12);
    default: /* the complement of a string: ends by ff ff */
        out[0] = 0xb0;
        memset(out + 1, 0xf0 + (int)mrl_random_below(random, 4), 3);
        out[4] = out[5] = 0xff;
        return 6;
    }
}

static inline uint32_t put_value(value_kind kind, uint8_t *out, uint32_t i, mrl_random *random) {
    uint32_t size;
    switch (kind) {
    case NUMBERS:
        return put_number(out, mrl_random_next(random));
    case DENSE:
        return put_number(out, i);
    case STRINGS:
        return put_string(out, random, 40);
    case FEW:
        return i % 3 == 0 ? put_number(out, i % 4) : put_string(out, random, 3);
    case COMPOUNDS:
        size = put_string(out, random, 5);
        return size + put_number(out + size, mrl_random_below(random, 50));
    default:
        return put_mixed(out, random);
    }
}

static inline int hint_order(const void *a, const void *b) {
    const hint *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, x->size < y->size ? x->size : y->size);
    if (order != 0) return order;
    if (x->size != y->size) return x->size < y->size ? -1 : 1;
    return x->slot < y->slot ? -1 : x->slot > y->slot;
}

static inline merle_bytes hint_value(const hint *h) {
    return merle_bytes_of(h->bytes, h->size);
}

static inline void universe_make(stand *s, value_kind kind, uint32_t count) {
    uint8_t bytes[MERLE_VALUE_SIZE_MAX];
    uint32_t kept = 0;
    s->hints = calloc(count, sizeof(hint));
    for (uint32_t i = 0; i < count; i++) {
        hint *h = &s->hints[i];
        h->size = put_value(kind, bytes, i, &s->random);
        h->bytes = malloc(h->size);
        memcpy(h->bytes, bytes, h->size);
        h->slot = (uint32_t)mrl_random_below(&s->random, count * 2);
    }
    qsort(s->hints, count, sizeof(hint), hint_order);
    for (uint32_t i = 0; i < count; i++) {
        if (kept > 0 && hint_order(&s->hints[kept - 1], &s->hints[i]) == 0)
            free(s->hints[i].bytes);
        else
            s->hints[kept++] = s->hints[i];
    }
    s->hint_count = kept;
    s->live = calloc(kept, 1);
    s->garbage = calloc(kept, 1);
}

static inline void stand_begin(stand *s, value_kind kind, uint32_t count, uint64_t seed) {
    mrl_domain_options options = {0};
    memset(s, 0, sizeof *s);
    mrl_random_init(&s->random, seed);
    s->refusal.context = s;
    s->refusal.refuses = stand_refuses;
    options.refusal = &s->refusal;
    assert_int_equal(mrl_domain_create(&options, &s->domain), MERLE_OK);
    s->member = mrl_member_join(s->domain);
    assert_non_null(s->member);
    s->tree = mrl_ordered_create(s->member);
    assert_non_null(s->tree);
    universe_make(s, kind, count);
}

/* Lets everything pass that is retired or marked; no section is open. */
static inline void stand_pass(stand *s) {
    for (int i = 0; i < 8; i++) {
        mrl_epoch_advance(s->member);
        (void)mrl_domain_drain(s->member, SIZE_MAX);
    }
}

static inline void stand_check(stand *s) {
    const char *broken = mrl_ordered_check(s->tree);
    if (broken != NULL) test_say("broken: %s", broken);
    assert_null(broken);
}

static inline void stand_end(stand *s) {
    mrl_ordered_stats stats;
    stand_check(s);
    stand_pass(s);
    mrl_ordered_stat(s->tree, &stats);
    /* The tree's own count of its bytes is what the domain counts, but for the two fixed parts. */
    uint64_t bytes = mrl_domain_bytes(s->domain, MRL_FOR_TABLES);
    assert_true(bytes >= stats.bytes && bytes <= stats.bytes + 1024);
    mrl_ordered_destroy(s->tree, s->member);
    assert_int_equal(mrl_domain_bytes(s->domain, MRL_FOR_TABLES), 0);
    mrl_domain_destroy(s->domain);
    for (uint32_t i = 0; i < s->hint_count; i++) free(s->hints[i].bytes);
    free(s->hints);
    free(s->live);
    free(s->garbage);
}

/* ---- changes, in a section of their own as a commit has ---- */

static inline merle_err stand_add(stand *s, uint32_t i) {
    mrl_epoch_token token;
    int is_added = -1;
    mrl_member_enter(s->member, &token);
    merle_err err =
        mrl_ordered_add(s->tree, s->member, hint_value(&s->hints[i]), s->hints[i].slot, &is_added);
    mrl_member_leave(s->member, &token);
    assert_int_equal(is_added, err == MERLE_OK ? !s->live[i] : 0);
    if (err == MERLE_OK) {
        s->live[i] = 1;
        s->garbage[i] = 0;
    }
    return err;
}

static inline void stand_mark(stand *s, uint32_t i) {
    mrl_epoch_token token;
    mrl_member_enter(s->member, &token);
    mrl_ordered_mark(s->tree, s->member, hint_value(&s->hints[i]), s->hints[i].slot);
    mrl_member_leave(s->member, &token);
    s->live[i] = 0;
    s->garbage[i] = 1;
}

static inline size_t stand_sweep(stand *s, size_t max) {
    mrl_epoch_token token;
    mrl_member_enter(s->member, &token);
    size_t count = mrl_ordered_sweep(s->tree, s->member, max);
    mrl_member_leave(s->member, &token);
    return count;
}

/* Which hint of the universe a hit is. */
static inline uint32_t hit_find(const stand *s, const mrl_ordered_hit *hit) {
    uint8_t bytes[MERLE_VALUE_SIZE_MAX];
    hint wanted = {bytes, hit->size, hit->slot};
    mrl_ordered_hit_copy(hit, bytes);
    hint *found = bsearch(&wanted, s->hints, s->hint_count, sizeof(hint), hint_order);
    assert_non_null(found);
    assert_true(mrl_ordered_hit_is(hit, hint_value(found)));
    return (uint32_t)(found - s->hints);
}

/* ---- ranges: what the tree is asked, and which hints of the universe that means ---- */

typedef struct asked {
    mrl_ordered_range range;
    uint32_t from, to; /* hints from to before to */
} asked;

static inline int begins_with(const hint *h, merle_bytes bytes) {
    return h->size >= bytes.size && memcmp(h->bytes, bytes.data, bytes.size) == 0;
}

/* 1: the hint is not below the bytes (or, if is_after, it is above all that begin with them). */
static inline int is_past(const hint *h, merle_bytes bytes, int is_after) {
    hint bound = {(uint8_t *)(uintptr_t)bytes.data, (uint32_t)bytes.size, 0};
    if (begins_with(h, bytes)) return !is_after;
    return hint_order(h, &bound) >= 0;
}

static inline uint32_t bound_find(const stand *s, merle_bytes bytes, int is_after) {
    uint32_t i = 0;
    while (i < s->hint_count && !is_past(&s->hints[i], bytes, is_after)) i++;
    return i;
}

/* The bytes of a value of the universe, or of its beginning. */
static inline merle_bytes bytes_pick(stand *s) {
    const hint *h = &s->hints[mrl_random_below(&s->random, s->hint_count)];
    uint32_t size = h->size;
    if (mrl_random_below(&s->random, 3) == 0)
        size = 1 + (uint32_t)mrl_random_below(&s->random, h->size);
    return merle_bytes_of(h->bytes, size);
}

static inline asked range_pick(stand *s) {
    asked a;
    memset(&a, 0, sizeof a);
    a.to = s->hint_count;
    a.range.from_bound = (mrl_bound)mrl_random_below(&s->random, 3);
    a.range.to_bound = (mrl_bound)mrl_random_below(&s->random, 3);
    a.range.from = bytes_pick(s);
    a.range.to = mrl_random_below(&s->random, 4) == 0 ? a.range.from : bytes_pick(s);
    if (a.range.from_bound != MRL_BOUND_NONE)
        a.from = bound_find(s, a.range.from, a.range.from_bound == MRL_BOUND_OPEN);
    if (a.range.to_bound != MRL_BOUND_NONE)
        a.to = bound_find(s, a.range.to, a.range.to_bound == MRL_BOUND_CLOSED);
    if (a.to < a.from) a.to = a.from;
    return a;
}

#endif
