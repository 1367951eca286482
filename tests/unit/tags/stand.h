/* tests/unit/tags/stand.h - a tags index in a domain that can refuse, and documents beside it.
 *
 * What    Documents are numbers with a mask of up to eight tags; a document's slot is its number
 *         times a stride. Commits change one tag of one document in all the steps of the protocol,
 *         and readers keep what was true when they began.
 * Owns    domain, index, masks.
 * Threads one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_UNIT_TAGS_STAND_H
#define TESTS_UNIT_TAGS_STAND_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "tags/tags_private.h"
#include "tests/model/seed.h"

enum { STAND_TAGS = 6, STAND_READERS = 3 };

/* One who began at some moment and has not ended. */
typedef struct stand_reader {
    int is_open;
    mrl_epoch_token token;
    uint32_t section_epoch;
    uint8_t *masks;
} stand_reader;

typedef struct stand {
    mrl_refusal refusal;
    uint64_t asked_count;
    uint64_t refuse_at;   /* this one is refused; 0: none */
    uint64_t refuse_each; /* one in so many, at random; 0: none */
    mrl_domain *domain;
    mrl_member *member;
    mrl_tags *tags;
    mrl_random random;
    uint32_t count;  /* documents */
    uint32_t stride; /* between their slots */
    uint8_t *masks;  /* what is published */
    stand_reader readers[STAND_READERS];
} stand;

static inline int stand_refuses(void *context, size_t size) {
    stand *s = context;
    (void)size;
    s->asked_count++;
    if (s->refuse_each != 0 && mrl_random_below(&s->random, s->refuse_each) == 0) return 1;
    return s->asked_count == s->refuse_at;
}

static inline void stand_begin(stand *s, uint32_t count, uint32_t stride, uint64_t seed) {
    mrl_domain_options options = {0};
    memset(s, 0, sizeof *s);
    s->refusal.context = s;
    s->refusal.refuses = stand_refuses;
    options.refusal = &s->refusal;
    assert_int_equal(mrl_domain_create(&options, &s->domain), MERLE_OK);
    s->member = mrl_member_join(s->domain);
    s->tags = mrl_tags_create(s->member, 4711);
    assert_non_null(s->tags);
    mrl_random_init(&s->random, seed);
    s->count = count;
    s->stride = stride;
    s->masks = calloc(count, 1);
    for (int i = 0; i < STAND_READERS; i++) s->readers[i].masks = calloc(count, 1);
}

/* Lets the epoch go on as far as it can, and what is due go. */
static inline void stand_drain(stand *s) {
    for (int i = 0; i < 4; i++) {
        mrl_epoch_advance(s->member);
        mrl_domain_drain(s->member, SIZE_MAX);
    }
}

/* All that the index took comes back. */
static inline void stand_end(stand *s) {
    mrl_tags_destroy(s->tags, s->member);
    stand_drain(s);
    assert_int_equal(mrl_domain_bytes(s->domain, MRL_FOR_TABLES), 0);
    mrl_domain_destroy(s->domain);
    for (int i = 0; i < STAND_READERS; i++) free(s->readers[i].masks);
    free(s->masks);
}

static inline uint32_t stand_below(stand *s, uint64_t limit) {
    return (uint32_t)mrl_random_below(&s->random, limit);
}
static inline uint32_t stand_slot(const stand *s, uint32_t document) {
    return document * s->stride;
}
static inline uint32_t stand_bound(const stand *s) {
    return stand_slot(s, s->count - 1) + 1;
}

static inline merle_bytes stand_name(uint32_t tag) {
    static char names[STAND_TAGS][24];
    int size = snprintf(names[tag], sizeof names[tag], "tag-%u", tag);
    return merle_bytes_of(names[tag], (size_t)size);
}
static inline const mrl_tag *stand_tag(const stand *s, uint32_t tag) {
    return mrl_tags_find(s->tags, stand_name(tag));
}

/* ---- readers ---- */

static inline void stand_read_begin(stand *s, stand_reader *r) {
    mrl_member_enter(s->member, &r->token);
    r->section_epoch = mrl_epoch_at_begin(s->domain);
    memcpy(r->masks, s->masks, s->count);
    r->is_open = 1;
}
static inline void stand_read_end(stand *s, stand_reader *r) {
    if (r->is_open) mrl_member_leave(s->member, &r->token);
    r->is_open = 0;
}
static inline void stand_end_readers(stand *s) {
    for (int i = 0; i < STAND_READERS; i++) stand_read_end(s, &s->readers[i]);
}
/* One in three times a reader begins or ends. */
static inline void stand_turn_readers(stand *s) {
    stand_reader *r = &s->readers[stand_below(s, STAND_READERS)];
    if (stand_below(s, 3) != 0) return;
    if (r->is_open)
        stand_read_end(s, r);
    else
        stand_read_begin(s, r);
}

/* ---- commits ---- */

/* The commit turns one tag of one document around, or fails in the middle (fails: 1). Readers may
 * begin and end between all steps. */
static inline merle_err stand_commit(stand *s, uint32_t document, uint32_t tag, int fails) {
    mrl_epoch_token token;
    merle_err err = MERLE_OK;
    int added = 0, is_gain = (s->masks[document] >> tag & 1) == 0;
    uint32_t slot = stand_slot(s, document);
    mrl_tag *warned = NULL;
    mrl_member_enter(s->member, &token);
    if (is_gain)
        err = mrl_tags_add(s->tags, s->member, stand_name(tag), slot, &added);
    else
        warned = mrl_tags_warn(s->tags, s->member, stand_name(tag), slot);
    stand_turn_readers(s);
    if (err == MERLE_OK && is_gain) assert_int_equal(added, 1);
    if (err == MERLE_OK && fails) {
        if (added) mrl_tags_mark(s->tags, s->member, stand_name(tag), slot);
    } else if (err == MERLE_OK) {
        s->masks[document] ^= (uint8_t)(1u << tag);
        stand_turn_readers(s);
        if (!is_gain) mrl_tag_mark(s->tags, s->member, warned, slot);
        stand_turn_readers(s);
    } else {
        assert_int_equal(err, MERLE_NO_MEMORY);
        assert_int_equal(added, 0);
    }
    mrl_member_leave(s->member, &token);
    return err;
}

/* Lets time pass, as others would. */
static inline void stand_idle(stand *s) {
    uint32_t what = stand_below(s, 16);
    mrl_epoch_token token;
    if (what < 3) mrl_epoch_advance(s->member);
    if (what == 3) mrl_domain_drain(s->member, 64);
    if (what != 4) return;
    mrl_member_enter(s->member, &token);
    (void)mrl_tags_sweep(s->tags, s->member, 1 + stand_below(s, 40));
    mrl_member_leave(s->member, &token);
}

static inline void stand_sound(stand *s) {
    mrl_epoch_token token;
    mrl_member_enter(s->member, &token);
    const char *broken = mrl_tags_check(s->tags);
    mrl_member_leave(s->member, &token);
    if (broken != NULL) fail_msg("%s", broken);
}

#endif
