/* tests/stress/tags_test.c
 *
 * Aim     In every section a set of slots has, in order and once, each slot whose document has the
 *         tag at S; what is said to be certain is so; counts are exact; tags that stay are always
 *         found and listed, those that come and go never harm.
 * Method  Several threads change tags of their own documents in all the steps of a commit, one
 *         after the other published under a lock, and sweep; others read. Of each document the
 *         latest states are kept with their seq; where they do not reach back to S nothing is
 *         judged.
 * Blind   To orders of memory that this processor does not make, and to races that did not happen.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tags/tags_private.h"
#include "tests/model/seed.h"
#include "tests/stress/stress.h"

enum { DOCUMENTS = 12000, STRIDE = 3, BOUND = DOCUMENTS * STRIDE, TAGS = 4, STATES = 8 };
enum { REGION = 600, REGION_TIME = 2000 };
enum { WRITERS = 3, READERS = 3, ALWAYS = 10 /* one document in so many never changes */ };

/* Seq and mask of the latest states, and how many there were. */
typedef struct history {
    _Atomic uint64_t states[STATES];
    _Atomic uint32_t count;
} history;

typedef struct stand {
    mrl_domain *domain;
    mrl_tags *tags;
    mrl_lock publish_lock;
    _Atomic uint64_t published;
    _Atomic uint32_t is_over, fault_count;
    _Atomic uint64_t judged, unknown, rechecks, certain;
    history histories[DOCUMENTS];
} stand;

typedef struct worker {
    stand *s;
    uint32_t number;
    mrl_member *member;
    mrl_random random;
    uint64_t done;
    uint8_t masks[DOCUMENTS]; /* of the writer's own documents */
} worker;

static void fault(stand *s, const char *what) {
    if (atomic_fetch_add(&s->fault_count, 1) == 0) test_say("fault: %s", what);
}

static merle_bytes name_of(uint32_t tag) {
    static const char *const names[TAGS] = {"dense", "some", "few", "flicker"};
    return merle_str(names[tag]);
}

/* How many in a hundred documents want it. */
static const uint32_t wanted[TAGS] = {60, 6, 1, 0};

/* ---- writers ---- */

static void publish(worker *w, uint32_t document, uint8_t mask) {
    stand *s = w->s;
    history *h = &s->histories[document];
    mrl_lock_take(&s->publish_lock);
    uint64_t seq = MRL_GET(&s->published) + 1;
    uint32_t count = MRL_GET(&h->count);
    atomic_store_explicit(&h->count, count + 1, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    MRL_SET(&h->states[count % STATES], seq << 8 | mask);
    atomic_store_explicit(&s->published, seq, memory_order_release);
    mrl_lock_drop(&s->publish_lock);
}

static void change(worker *w, uint32_t document, uint32_t tag) {
    stand *s = w->s;
    mrl_epoch_token token;
    uint32_t slot = document * STRIDE;
    uint8_t bit = (uint8_t)(1u << tag);
    int added = 0, fails = mrl_random_below(&w->random, 8) == 0;
    mrl_member_enter(w->member, &token);
    if ((w->masks[document] & bit) == 0) {
        if (mrl_tags_add(s->tags, w->member, name_of(tag), slot, &added) != MERLE_OK || !added)
            fault(s, "an entry was there that nobody has");
        if (fails)
            mrl_tags_mark(s->tags, w->member, name_of(tag), slot);
        else
            publish(w, document, w->masks[document] ^= bit);
    } else {
        mrl_tag *warned = mrl_tags_warn(s->tags, w->member, name_of(tag), slot);
        if (!fails) {
            publish(w, document, w->masks[document] ^= bit);
            mrl_tag_mark(s->tags, w->member, warned, slot);
        }
    }
    mrl_member_leave(w->member, &token);
}

/* A tag of this thread alone comes and goes. */
static void come_and_go(worker *w) {
    char text[32];
    mrl_epoch_token token;
    int added;
    int size = snprintf(text, sizeof text, "own-%u-%u", w->number,
                        (unsigned)mrl_random_below(&w->random, 100));
    merle_bytes name = merle_bytes_of(text, (size_t)size);
    mrl_member_enter(w->member, &token);
    if (mrl_tags_add(w->s->tags, w->member, name, w->number, &added) != MERLE_OK || !added)
        fault(w->s, "a tag of our own was there already");
    mrl_member_leave(w->member, &token);
    mrl_member_enter(w->member, &token);
    if (mrl_tags_find(w->s->tags, name) == NULL) fault(w->s, "a tag of our own is lost");
    mrl_tag *warned = mrl_tags_warn(w->s->tags, w->member, name, w->number);
    mrl_tag_mark(w->s->tags, w->member, warned, w->number);
    mrl_member_leave(w->member, &token);
}

static void tidy(worker *w) {
    mrl_epoch_token token;
    mrl_epoch_advance(w->member);
    (void)mrl_domain_drain(w->member, 64);
    mrl_member_enter(w->member, &token);
    (void)mrl_tags_sweep(w->s->tags, w->member, 8);
    mrl_member_leave(w->member, &token);
}

/* All writers are busy in one region, which moves on: so elsewhere all is settled. */
static uint32_t pick(worker *w) {
    uint64_t region = MRL_GET(&w->s->published) / REGION_TIME * 7 % (DOCUMENTS / REGION);
    uint64_t within = mrl_random_below(&w->random, REGION / WRITERS) * WRITERS;
    return (uint32_t)(region * REGION + within) + w->number;
}

static void write_some(worker *w) {
    uint32_t document = pick(w);
    uint32_t tag = (uint32_t)mrl_random_below(&w->random, TAGS);
    int has = w->masks[document] >> tag & 1;
    int wants = mrl_random_below(&w->random, 100) < wanted[tag];
    if (document % ALWAYS == 0) return;
    if (has != wants || mrl_random_below(&w->random, 30) == 0) change(w, document, tag);
    if (mrl_random_below(&w->random, 16) == 0) tidy(w);
    if (mrl_random_below(&w->random, 64) == 0) come_and_go(w);
    w->done++;
}

/* ---- readers ---- */

enum { UNKNOWN = 0x100 };

/* The mask of a document at `seq`, or UNKNOWN. */
static uint32_t mask_at(const history *h, uint64_t seq) {
    uint64_t best = 0;
    int is_found = 0;
    uint32_t count = atomic_load_explicit(&h->count, memory_order_acquire);
    for (uint32_t i = 0; i < STATES && i < count; i++) {
        uint64_t state = atomic_load_explicit(&h->states[i], memory_order_acquire);
        if (state >> 8 > seq || (is_found && state <= best)) continue;
        best = state;
        is_found = 1;
    }
    atomic_thread_fence(memory_order_seq_cst);
    if (MRL_GET(&h->count) != count) return UNKNOWN;
    if (!is_found) return count <= STATES - 1 ? 0 : UNKNOWN;
    return (uint32_t)(best & 0xff);
}

typedef struct looking {
    worker *w;
    uint64_t seq;
    uint32_t section_epoch;
    uint32_t tag, other; /* other: none(other) besides; TAGS: no other */
    uint64_t unknown;
} looking;

static int truth(const looking *l, uint32_t mask) {
    return (mask >> l->tag & 1) && (l->other == TAGS || (mask >> l->other & 1) == 0);
}

static uint64_t visible(void *context, const uint32_t *slots, size_t count) {
    looking *l = context;
    uint64_t seen = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t mask = mask_at(&l->w->s->histories[slots[i] / STRIDE], l->seq);
        l->unknown += mask == UNKNOWN;
        seen += mask != UNKNOWN && truth(l, mask);
    }
    return seen;
}

/* Compares what was found, 1: certain, 2: to be rechecked, with what is true. */
static void judge(looking *l, const uint8_t found[DOCUMENTS], uint64_t *out_true) {
    stand *s = l->w->s;
    uint64_t judged = 0;
    for (uint32_t i = 0; i < DOCUMENTS; i++) {
        uint32_t mask = mask_at(&s->histories[i], l->seq);
        if (mask == UNKNOWN) {
            l->unknown++;
            continue;
        }
        judged++;
        *out_true += (uint64_t)truth(l, mask);
        if (truth(l, mask) && !found[i]) fault(s, "a slot was not found");
        if (!truth(l, mask) && found[i] == 1) fault(s, "a slot was called certain and is not");
    }
    atomic_fetch_add(&s->judged, judged);
    atomic_fetch_add(&s->unknown, l->unknown);
}

static void note(looking *l, uint8_t found[DOCUMENTS], uint32_t slot, int recheck, uint32_t *next) {
    stand *s = l->w->s;
    if (slot < *next || slot % STRIDE != 0 || slot >= BOUND) {
        fault(s, "a slot is out of order, or nobody's");
        return;
    }
    *next = slot + 1;
    found[slot / STRIDE] = (uint8_t)(1 + recheck);
    atomic_fetch_add_explicit(recheck ? &s->rechecks : &s->certain, 1, memory_order_relaxed);
}

static void look_at_set(looking *l, uint8_t found[DOCUMENTS]) {
    uint32_t slots[300], next = 0;
    uint8_t recheck[300];
    const mrl_tag *tag = mrl_tags_find(l->w->s->tags, name_of(l->tag));
    mrl_run run = {.section_epoch = l->section_epoch, .slots = slots, .recheck = recheck};
    run.last = BOUND;
    run.max = 1 + mrl_random_below(&l->w->random, 300);
    while (run.from != MRL_TAGS_END) {
        run.count = 0;
        mrl_tag_read(tag, &run);
        for (size_t i = 0; i < run.count; i++) note(l, found, slots[i], recheck[i], &next);
    }
}

static void look_at_expression(looking *l, uint8_t found[DOCUMENTS], int way) {
    uint32_t slots[300], next = 0;
    uint8_t recheck[300];
    mrl_tags *tags = l->w->s->tags;
    mrl_tags_expr without = {MRL_TAGS_TAG, mrl_tags_find(tags, name_of(l->other)), NULL, 0};
    mrl_tags_expr both[2] = {{MRL_TAGS_TAG, mrl_tags_find(tags, name_of(l->tag)), NULL, 0},
                             {MRL_TAGS_NONE, NULL, &without, 1}};
    mrl_tags_expr all = {MRL_TAGS_ALL, NULL, both, 2};
    mrl_walk walk;
    size_t n;
    if (mrl_walk_begin(&walk, &all, BOUND, l->section_epoch, 0) != MERLE_OK)
        fault(l->w->s, "an expression is refused");
    walk.way = (mrl_walk_way)way;
    while ((n = mrl_walk_next(&walk, slots, recheck, 300)) > 0)
        for (size_t i = 0; i < n; i++) note(l, found, slots[i], recheck[i], &next);
}

static void look_at_list(stand *s) {
    mrl_tags_listed listed[400];
    uint32_t stay_count = 0;
    size_t n = mrl_tags_list(s->tags, merle_bytes_of("", 0), merle_bytes_of("", 0), listed, 400);
    for (size_t i = 0; i < n; i++) {
        for (uint32_t tag = 0; tag < TAGS - 1; tag++)
            stay_count += listed[i].name.size == name_of(tag).size &&
                          memcmp(listed[i].name.data, name_of(tag).data, listed[i].name.size) == 0;
        if (i == 0) continue;
        merle_bytes a = listed[i - 1].name, b = listed[i].name;
        int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
        if (order > 0 || (order == 0 && a.size >= b.size)) fault(s, "the list is out of order");
    }
    if (stay_count != TAGS - 1) fault(s, "a tag is not listed once");
}

static void read_some(worker *w) {
    stand *s = w->s;
    uint8_t found[DOCUMENTS] = {0};
    mrl_epoch_token token;
    looking l = {.w = w, .tag = (uint32_t)mrl_random_below(&w->random, TAGS), .other = TAGS};
    uint64_t true_count = 0, before;
    mrl_member_enter(w->member, &token);
    l.section_epoch = mrl_epoch_at_begin(s->domain);
    l.seq = atomic_load_explicit(&s->published, memory_order_acquire);
    if (mrl_random_below(&w->random, 2) == 0) {
        l.other = (l.tag + 1) % TAGS;
        look_at_expression(&l, found, 1 + (int)mrl_random_below(&w->random, 2));
        judge(&l, found, &true_count);
    } else {
        look_at_set(&l, found);
        judge(&l, found, &true_count);
        before =
            mrl_tag_count(mrl_tags_find(s->tags, name_of(l.tag)), l.section_epoch, visible, &l);
        if (l.unknown == 0 && before != true_count) fault(s, "a count is wrong");
    }
    look_at_list(s);
    mrl_member_leave(w->member, &token);
    if (mrl_random_below(&w->random, 16) == 0) {
        mrl_member_enter(w->member, &token);
        const char *broken = mrl_tags_check(s->tags);
        if (broken != NULL) fault(s, broken);
        mrl_member_leave(w->member, &token);
    }
    mrl_epoch_advance(w->member);
    w->done++;
}

/* ---- all together ---- */

static void *run(void *context) {
    worker *w = context;
    w->member = mrl_member_join(w->s->domain);
    while (!atomic_load(&w->s->is_over)) {
        if (w->number < WRITERS)
            write_some(w);
        else
            read_some(w);
    }
    return NULL;
}

static void begin(stand *s, worker *own, worker *workers) {
    mrl_domain_options options = {0};
    int added;
    assert_int_equal(mrl_domain_create(&options, &s->domain), MERLE_OK);
    own->s = s;
    own->member = mrl_member_join(s->domain);
    s->tags = mrl_tags_create(own->member, test_seed());
    assert_non_null(s->tags);
    for (uint32_t i = 0; i < DOCUMENTS; i += ALWAYS) {
        for (uint32_t tag = 0; tag < TAGS - 1; tag++)
            assert_int_equal(mrl_tags_add(s->tags, own->member, name_of(tag), i * STRIDE, &added),
                             MERLE_OK);
        publish(own, i, (1u << (TAGS - 1)) - 1);
    }
    for (uint32_t i = 0; i < WRITERS + READERS; i++) {
        workers[i].s = s;
        workers[i].number = i;
        mrl_random_init(&workers[i].random, test_seed() * 1000 + i);
    }
}

static void sections_see_what_is_true(void **state) {
    static stand s;
    static worker own, workers[WRITERS + READERS];
    pthread_t threads[WRITERS + READERS];
    struct timespec time = {0, 0};
    uint64_t written = 0, read = 0;
    (void)state;
    begin(&s, &own, workers);
    for (int i = 0; i < WRITERS + READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, &workers[i]), 0);
    time.tv_sec = (time_t)(4 * stress_time_ms() / 1000);
    (void)nanosleep(&time, NULL);
    atomic_store(&s.is_over, 1);
    for (int i = 0; i < WRITERS + READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        *(i < WRITERS ? &written : &read) += workers[i].done;
    }
    test_say("%llu changes, %llu sections", (unsigned long long)written, (unsigned long long)read);
    test_say("%llu judged, %llu unknown; %llu certain, %llu to recheck",
             (unsigned long long)s.judged, (unsigned long long)s.unknown,
             (unsigned long long)s.certain, (unsigned long long)s.rechecks);
    assert_int_equal(s.fault_count, 0);
    assert_true(s.certain > 0 && s.rechecks > 0 && s.judged > s.unknown);
    if (mrl_tags_check(s.tags) != NULL) fail_msg("%s", mrl_tags_check(s.tags));
    mrl_tags_destroy(s.tags, own.member);
    mrl_domain_destroy(s.domain);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sections_see_what_is_true)};
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
