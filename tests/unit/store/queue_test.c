/* tests/unit/store/queue_test.c - what a shard has retired, first in, first out.
 *
 * Aim     Entries come out as they went in; what was reserved can be pushed, whatever memory says
 *         later; all memory comes back.
 * Method  Random reserving, pushing, popping, beside a plain array that is compared at each step.
 *         Versions have a header and nothing else: the queue asks for their size. Memory is refused
 *         at every allocation in turn.
 * Blind   One thread; whoever uses the queue holds its shard's lock.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/queue.h"

#include "scarce.h"

enum { MODEL_MAX = 4096, STEPS = 20000 };

static uint64_t seed;

/* ---- the model ---- */

typedef struct model {
    mrl_queue_entry entries[MODEL_MAX];
    uint32_t first, count; /* entries first .. first + count are in */
    uint32_t pushed;
} model;

/* Versions of a header only, each of a size of its own. */
static mrl_version *version_of(uint32_t number) {
    static struct { _Alignas(16) uint8_t bytes[sizeof(mrl_version)]; } pool[MODEL_MAX];
    mrl_version *version = (mrl_version *)(void *)pool[number % MODEL_MAX].bytes;
    version->doc_size = number % MODEL_MAX;
    return version;
}

static mrl_queue_entry entry_of(uint32_t number) {
    mrl_queue_entry entry;
    memset(&entry, 0, sizeof entry);
    entry.version = version_of(number);
    entry.ticket = number * 7;
    entry.kind = number % 3;
    entry.hints_passed_on = number % 5 == 0;
    entry.size = (uint32_t)mrl_version_size(entry.version);
    return entry;
}

static void assert_same_entry(const mrl_queue_entry *found, const mrl_queue_entry *wanted) {
    assert_ptr_equal(found->version, wanted->version);
    assert_int_equal(found->ticket, wanted->ticket);
    assert_int_equal(found->kind, wanted->kind);
    assert_int_equal(found->hints_passed_on, wanted->hints_passed_on);
    assert_int_equal(found->size, wanted->size);
}

static void push_next(mrl_queue *queue, model *m) {
    mrl_queue_entry entry = entry_of(m->pushed++);
    m->entries[(m->first + m->count++) % MODEL_MAX] = entry;
    mrl_queue_entry *pushed =
        mrl_queue_push(queue, entry.version, (mrl_queued)entry.kind, entry.ticket);
    assert_int_equal(pushed->hints_passed_on, 0);
    if (entry.hints_passed_on) pushed->hints_passed_on = 1;
}

static void pop_next(ground *g, mrl_queue *queue, model *m) {
    const mrl_queue_entry *oldest = mrl_queue_peek(queue);
    assert_non_null(oldest);
    assert_same_entry(oldest, &m->entries[m->first]);
    mrl_queue_pop(queue, g->member);
    m->first = (m->first + 1) % MODEL_MAX;
    m->count--;
}

typedef struct comparing {
    const model *m;
    uint32_t at, stop_at;
} comparing;

static int compare_next(void *context, const mrl_queue_entry *entry) {
    comparing *c = context;
    assert_true(c->at < c->m->count);
    assert_same_entry(entry, &c->m->entries[(c->m->first + c->at) % MODEL_MAX]);
    return ++c->at == c->stop_at ? 77 : 0;
}

static void assert_same(const mrl_queue *queue, const model *m) {
    comparing c = {m, 0, UINT32_MAX};
    assert_int_equal(mrl_queue_length(queue), m->count);
    assert_int_equal(mrl_queue_each(queue, compare_next, &c), 0);
    assert_int_equal(c.at, m->count);
    if (m->count == 0) assert_null(mrl_queue_peek(queue));
}

/* ---- tests ---- */

static void queue_empty_gives_nothing(void **state) {
    (void)state;
    ground g;
    mrl_queue queue;
    ground_open(&g, MRL_FOR_OTHER);
    mrl_queue_init(&queue);
    assert_null(mrl_queue_peek(&queue));
    assert_int_equal(mrl_queue_length(&queue), 0);
    assert_int_equal(mrl_queue_reserve(&queue, g.member, 0), MERLE_OK);
    assert_int_equal(mrl_queue_reserve(&queue, g.member, 1), MERLE_OK);
    assert_null(mrl_queue_peek(&queue));
    mrl_queue_fini(&queue, g.member);
    ground_close(&g);
}

static void queue_random_steps_are_as_the_model(void **state) {
    (void)state;
    static model m;
    ground g;
    mrl_queue queue;
    mrl_random random;
    ground_open(&g, MRL_FOR_OTHER);
    mrl_queue_init(&queue);
    memset(&m, 0, sizeof m);
    mrl_random_init(&random, seed);
    for (int step = 0; step < STEPS; step++) {
        /* Long phases of growing and of shrinking, so that many chunks come and go. */
        uint32_t grows = step / 1000 % 2 == 0 ? 3 : 1;
        uint32_t count = (uint32_t)mrl_random_below(&random, 40);
        if (mrl_random_below(&random, 4) < grows) {
            if (m.count + count > MODEL_MAX) continue;
            assert_int_equal(mrl_queue_reserve(&queue, g.member, count), MERLE_OK);
            while (count-- > 0) push_next(&queue, &m);
        } else {
            while (count-- > 0 && m.count > 0) pop_next(&g, &queue, &m);
        }
        if (step % 16 == 0) assert_same(&queue, &m);
    }
    while (m.count > 0) pop_next(&g, &queue, &m);
    assert_same(&queue, &m);
    mrl_queue_fini(&queue, g.member);
    ground_close(&g);
}

static void queue_each_stops_where_asked(void **state) {
    (void)state;
    static model m;
    ground g;
    mrl_queue queue;
    ground_open(&g, MRL_FOR_OTHER);
    mrl_queue_init(&queue);
    memset(&m, 0, sizeof m);
    assert_int_equal(mrl_queue_reserve(&queue, g.member, 100), MERLE_OK);
    for (int i = 0; i < 100; i++) push_next(&queue, &m);
    for (int i = 0; i < 35; i++) pop_next(&g, &queue, &m);
    comparing c = {&m, 0, 40};
    assert_int_equal(mrl_queue_each(&queue, compare_next, &c), 77);
    assert_int_equal(c.at, 40);
    mrl_queue_fini(&queue, g.member);
    ground_close(&g);
}

static void queue_quiet_takes_no_more_memory(void **state) {
    (void)state;
    static model m;
    ground g;
    mrl_queue queue;
    ground_open(&g, MRL_FOR_OTHER);
    mrl_queue_init(&queue);
    memset(&m, 0, sizeof m);
    assert_int_equal(mrl_queue_reserve(&queue, g.member, 2), MERLE_OK);
    uint64_t bytes = mrl_domain_bytes(g.domain, MRL_FOR_OTHER);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(mrl_queue_reserve(&queue, g.member, 2), MERLE_OK);
        push_next(&queue, &m);
        push_next(&queue, &m);
        pop_next(&g, &queue, &m);
        pop_next(&g, &queue, &m);
    }
    assert_int_equal(mrl_domain_bytes(g.domain, MRL_FOR_OTHER), bytes);
    mrl_queue_fini(&queue, g.member);
    ground_close(&g);
}

static uint64_t reserve_with(void *context, uint64_t grants) {
    static model m;
    ground g;
    mrl_queue queue;
    (void)context;
    ground_open(&g, MRL_FOR_OTHER);
    mrl_queue_init(&queue);
    memset(&m, 0, sizeof m);
    assert_int_equal(mrl_queue_reserve(&queue, g.member, 20), MERLE_OK);
    for (int i = 0; i < 10; i++) push_next(&queue, &m);
    supply_only(&g.supply, grants);
    merle_err err = mrl_queue_reserve(&queue, g.member, 500);
    assert_int_equal(err, g.supply.refused > 0 ? MERLE_NO_MEMORY : MERLE_OK);
    assert_same(&queue, &m);
    /* Ten of the twenty are still promised. */
    for (int i = 0; i < 10; i++) push_next(&queue, &m);
    assert_same(&queue, &m);
    uint64_t refused = supply_all(&g.supply);
    assert_int_equal(mrl_queue_reserve(&queue, g.member, 500), MERLE_OK);
    for (int i = 0; i < 500; i++) push_next(&queue, &m);
    assert_same(&queue, &m);
    while (m.count > 0) pop_next(&g, &queue, &m);
    mrl_queue_fini(&queue, g.member);
    ground_close(&g);
    return refused;
}

static void queue_refused_memory_keeps_what_was_promised(void **state) {
    (void)state;
    refuse_in_turn(reserve_with, NULL, 6);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queue_empty_gives_nothing),
        cmocka_unit_test(queue_random_steps_are_as_the_model),
        cmocka_unit_test(queue_each_stops_where_asked),
        cmocka_unit_test(queue_quiet_takes_no_more_memory),
        cmocka_unit_test(queue_refused_memory_keeps_what_was_promised),
    };
    seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
