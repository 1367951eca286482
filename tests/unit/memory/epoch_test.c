/* tests/unit/memory/epoch_test.c
 *
 * Aim     A ticket never passes while a section lasts that began before it was taken, and passes
 *         soon after all of those have ended: the grace period that everything else rests on.
 * Method  Sections opened and ended step by step, in one thread and in several; then readers and
 *         writers for two seconds, where each object is poisoned before it is freed and readers
 *         look for poison.
 * Blind   The machine's own memory order hides missing fences that another processor would show;
 *         the argument for those stands in memory/epoch.c.
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
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "memory/domain.h"

static uint64_t test_seed;

static mrl_domain *make_domain(void) {
    static const mrl_domain_options none;
    mrl_domain *domain;
    assert_int_equal(mrl_domain_create(&none, &domain), MERLE_OK);
    return domain;
}

static mrl_member *join(mrl_domain *domain) {
    mrl_member *member = mrl_member_join(domain);
    assert_non_null(member);
    return member;
}

static void try_hard_to_advance(mrl_member *member) {
    for (int i = 0; i < 10; i++) mrl_epoch_advance(member);
}

static void ticket_without_sections_passes_after_one_advance(void **state) {
    mrl_domain *domain = make_domain();
    mrl_member *member = join(domain);
    (void)state;
    for (int i = 0; i < 100; i++) {
        uint32_t ticket = mrl_ticket_take(domain);
        assert_false(mrl_ticket_passed(domain, ticket));
        mrl_epoch_advance(member);
        assert_true(mrl_ticket_passed(domain, ticket));
    }
    mrl_domain_destroy(domain);
}

static void ticket_taken_in_a_section_waits_for_its_end(void **state) {
    mrl_domain *domain = make_domain();
    mrl_member *member = join(domain);
    mrl_epoch_token token;
    (void)state;
    mrl_member_enter(member, &token);
    uint32_t ticket = mrl_ticket_take(domain);
    try_hard_to_advance(member);
    assert_false(mrl_ticket_passed(domain, ticket));
    mrl_member_leave(member, &token);
    mrl_epoch_advance(member);
    assert_true(mrl_ticket_passed(domain, ticket));
    mrl_domain_destroy(domain);
}

static void overlapping_sections_each_hold_their_own_ticket(void **state) {
    mrl_domain *domain = make_domain();
    mrl_member *member = join(domain);
    mrl_epoch_token first, second, third;
    (void)state;
    for (int round = 0; round < 10; round++) {
        mrl_member_enter(member, &first);
        uint32_t early = mrl_ticket_take(domain);
        try_hard_to_advance(member);
        mrl_member_enter(member, &second);
        uint32_t middle = mrl_ticket_take(domain);
        mrl_member_leave(member, &first);
        try_hard_to_advance(member);
        assert_false(mrl_ticket_passed(domain, middle));
        mrl_member_enter(member, &third);
        uint32_t late = mrl_ticket_take(domain);
        mrl_member_leave(member, &second);
        try_hard_to_advance(member);
        /* The sections that could see these two are over; the third still lasts. */
        assert_true(mrl_ticket_passed(domain, early));
        assert_false(mrl_ticket_passed(domain, late));
        mrl_member_leave(member, &third);
        try_hard_to_advance(member);
        assert_true(mrl_ticket_passed(domain, late));
    }
    mrl_domain_destroy(domain);
}

static void sections_ending_in_any_order_hold_until_the_last(void **state) {
    enum { DEPTH = 12 };
    mrl_domain *domain = make_domain();
    mrl_member *member = join(domain);
    mrl_random random;
    (void)state;
    mrl_random_init(&random, test_seed);
    for (int round = 0; round < 2000; round++) {
        mrl_epoch_token tokens[DEPTH];
        uint32_t tickets[DEPTH]; /* taken just behind the beginning of each */
        for (int i = 0; i < DEPTH; i++) {
            mrl_member_enter(member, &tokens[i]);
            tickets[i] = mrl_ticket_take(domain);
            if (mrl_random_below(&random, 3) == 0) mrl_epoch_advance(member);
        }
        for (int left = DEPTH; left > 0; left--) {
            int at = (int)mrl_random_below(&random, (uint64_t)left);
            mrl_member_leave(member, &tokens[at]);
            assert_int_equal(tokens[at].internal, 0);
            memmove(&tokens[at], &tokens[at + 1], (size_t)(left - at - 1) * sizeof tokens[0]);
            memmove(&tickets[at], &tickets[at + 1], (size_t)(left - at - 1) * sizeof tickets[0]);
            try_hard_to_advance(member);
            for (int i = 0; i < left - 1; i++) assert_false(mrl_ticket_passed(domain, tickets[i]));
        }
    }
    mrl_domain_destroy(domain);
}

static void blocks_retired_in_a_section_wait_for_its_end(void **state) {
    mrl_domain *domain = make_domain();
    mrl_member *member = join(domain);
    mrl_epoch_token token;
    (void)state;
    mrl_member_enter(member, &token);
    uint8_t *block = mrl_block_alloc(member, MRL_FOR_DOCUMENTS, 100);
    memset(block, 7, 100);
    mrl_block_retire(member, block);
    for (int i = 0; i < 10; i++) assert_int_equal(mrl_domain_drain(member, 10), 0);
    for (int i = 0; i < 100; i++) assert_int_equal(block[i], 7);
    mrl_member_leave(member, &token);
    assert_int_equal(mrl_domain_drain(member, 10), 1);
    mrl_domain_destroy(domain);
}

/* ---- with another thread ---- */

typedef struct meeting {
    mrl_domain *domain;
    pthread_barrier_t barrier;
    int ends_inside;
} meeting;

static void *sit_in_a_section(void *context) {
    meeting *m = context;
    mrl_member *member = join(m->domain);
    mrl_epoch_token tokens[2];
    mrl_member_enter(member, &tokens[0]);
    mrl_member_enter(member, &tokens[1]);
    mrl_member_note_begin(member, 5);
    (void)pthread_barrier_wait(&m->barrier);
    (void)pthread_barrier_wait(&m->barrier);
    if (m->ends_inside) return NULL;
    mrl_member_note_end(member, 5);
    mrl_member_leave(member, &tokens[0]);
    mrl_member_leave(member, &tokens[1]);
    (void)pthread_barrier_wait(&m->barrier);
    (void)pthread_barrier_wait(&m->barrier);
    return NULL;
}

static void wait_for_a_sitting_thread(int ends_inside) {
    meeting m = {.domain = make_domain(), .ends_inside = ends_inside};
    pthread_t thread;
    assert_int_equal(pthread_barrier_init(&m.barrier, NULL, 2), 0);
    assert_int_equal(pthread_create(&thread, NULL, sit_in_a_section, &m), 0);
    (void)pthread_barrier_wait(&m.barrier);
    mrl_member *member = join(m.domain);
    uint32_t ticket = mrl_ticket_take(m.domain);
    mrl_block_retire(member, mrl_block_alloc(member, MRL_FOR_OTHER, 10));
    try_hard_to_advance(member);
    assert_false(mrl_ticket_passed(m.domain, ticket));
    assert_int_equal(mrl_domain_drain(member, 10), 0);
    (void)pthread_barrier_wait(&m.barrier);
    if (ends_inside)
        assert_int_equal(pthread_join(thread, NULL), 0);
    else
        (void)pthread_barrier_wait(&m.barrier);
    assert_int_equal(mrl_domain_drain(member, 10), 1);
    assert_true(mrl_ticket_passed(m.domain, ticket));
    assert_int_equal(mrl_domain_count(m.domain, MRL_N_ABANDONED), ends_inside ? 2 : 0);
    if (!ends_inside) {
        (void)pthread_barrier_wait(&m.barrier);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    mrl_domain_destroy(m.domain);
    (void)pthread_barrier_destroy(&m.barrier);
}

static void section_of_an_idle_thread_holds_tickets(void **state) {
    (void)state;
    wait_for_a_sitting_thread(0);
}

static void section_of_an_ended_thread_is_ended_and_counted(void **state) {
    (void)state;
    wait_for_a_sitting_thread(1);
}

static void member_after_an_abandoned_section_starts_afresh(void **state) {
    mrl_domain *domain = make_domain();
    mrl_self worker = {0};
    mrl_epoch_token token;
    (void)state;
    mrl_self_swap(&worker);
    mrl_member_enter(join(domain), &token);
    mrl_self_end(&worker);
    /* Takes the same record of ck again. */
    mrl_member *member = join(domain);
    uint32_t ticket = mrl_ticket_take(domain);
    mrl_epoch_advance(member);
    assert_true(mrl_ticket_passed(domain, ticket));
    mrl_member_enter(member, &token);
    ticket = mrl_ticket_take(domain);
    try_hard_to_advance(member);
    assert_false(mrl_ticket_passed(domain, ticket));
    mrl_member_leave(member, &token);
    mrl_self_end(&worker);
    mrl_self_swap(NULL);
    mrl_domain_destroy(domain);
}

/* ---- torture ---- */

enum {
    READER_COUNT = 3,
    WRITER_COUNT = 2,
    CELL_COUNT = 8,
    OBJECT_WORDS = 12,
    FIFO_SIZE = 256,
    TORTURE_MS = 2000
};
#define GOOD_WORD 0x600d600d600d600du
#define POISON_WORD 0xdeaddeaddeaddeadu

typedef struct object {
    _Atomic uint64_t words[OBJECT_WORDS];
} object;

typedef struct torture {
    mrl_domain *domain;
    object *_Atomic cells[CELL_COUNT];
    _Atomic uint64_t bad_count;
    _Atomic uint64_t read_count;
    _Atomic uint64_t freed_count;
    _Atomic uint32_t next_number;
    uint64_t end_ns;
} torture;

static int is_over(const torture *t) {
    return mrl_clock_system.monotonic_ns(NULL) >= t->end_ns;
}

static uint64_t count_bad(object *const *seen, int count) {
    uint64_t bad = 0;
    for (int i = 0; i < count; i++)
        for (int w = 0; w < OBJECT_WORDS; w++)
            bad += atomic_load_explicit(&seen[i]->words[w], memory_order_relaxed) != GOOD_WORD;
    return bad;
}

/* Each of two overlapping sections remembers what it saw and looks again just before it ends. */
static void *torture_reader(void *context) {
    torture *t = context;
    mrl_member *member = join(t->domain);
    mrl_random random;
    object *seen[2][CELL_COUNT];
    mrl_epoch_token tokens[2];
    uint64_t bad = 0, reads = 0;
    mrl_random_init(&random, test_seed + atomic_fetch_add(&t->next_number, 1));
    for (unsigned at = 0; reads % 64 != 0 || !is_over(t); at ^= 1, reads++) {
        mrl_member_enter(member, &tokens[at]);
        for (int i = 0; i < CELL_COUNT; i++)
            seen[at][i] = atomic_load_explicit(&t->cells[i], memory_order_acquire);
        bad += count_bad(seen[at], CELL_COUNT);
        if (reads != 0) {
            bad += count_bad(seen[at ^ 1], CELL_COUNT);
            mrl_member_leave(member, &tokens[at ^ 1]);
        }
        uint64_t pause = mrl_random_below(&random, 64);
        for (uint64_t i = 0; i < pause; i++) mrl_cpu_relax();
        bad += count_bad(seen[at], CELL_COUNT);
    }
    mrl_member_leave(member, &tokens[(reads - 1) % 2]);
    atomic_fetch_add(&t->bad_count, bad);
    atomic_fetch_add(&t->read_count, reads);
    return NULL;
}

typedef struct waiting {
    object *objects[FIFO_SIZE];
    uint32_t tickets[FIFO_SIZE];
    uint64_t first, end;
} waiting;

static void free_first(mrl_member *member, waiting *w) {
    object *old = w->objects[w->first % FIFO_SIZE];
    for (int i = 0; i < OBJECT_WORDS; i++)
        atomic_store_explicit(&old->words[i], POISON_WORD, memory_order_relaxed);
    mrl_free(member, MRL_FOR_DOCUMENTS, old, sizeof *old);
    w->first++;
}

static object *make_object(mrl_member *member) {
    object *made = mrl_alloc(member, MRL_FOR_DOCUMENTS, sizeof *made);
    assert_non_null(made);
    for (int i = 0; i < OBJECT_WORDS; i++)
        atomic_store_explicit(&made->words[i], GOOD_WORD, memory_order_relaxed);
    return made;
}

static void *torture_writer(void *context) {
    torture *t = context;
    mrl_member *member = join(t->domain);
    waiting w = {.first = 0};
    mrl_random random;
    mrl_random_init(&random, test_seed + atomic_fetch_add(&t->next_number, 1));
    for (uint64_t round = 0; round % 64 != 0 || !is_over(t); round++) {
        uint64_t cell = mrl_random_below(&random, CELL_COUNT);
        object *made = make_object(member);
        uint64_t at = w.end++ % FIFO_SIZE;
        w.objects[at] = atomic_exchange_explicit(&t->cells[cell], made, memory_order_acq_rel);
        w.tickets[at] = mrl_ticket_take(t->domain);
        mrl_epoch_advance(member);
        while (w.first != w.end && (mrl_ticket_passed(t->domain, w.tickets[w.first % FIFO_SIZE])))
            free_first(member, &w);
        while (w.end - w.first == FIFO_SIZE) {
            mrl_epoch_advance(member);
            if (mrl_ticket_passed(t->domain, w.tickets[w.first % FIFO_SIZE]))
                free_first(member, &w);
        }
    }
    atomic_fetch_add(&t->freed_count, w.first);
    /* The rest goes with the domain. */
    return NULL;
}

static void objects_freed_by_tickets_are_never_seen_by_readers(void **state) {
    torture *t = calloc(1, sizeof *t);
    pthread_t threads[READER_COUNT + WRITER_COUNT];
    (void)state;
    assert_non_null(t);
    t->domain = make_domain();
    for (int i = 0; i < CELL_COUNT; i++) atomic_init(&t->cells[i], make_object(join(t->domain)));
    t->end_ns = mrl_clock_system.monotonic_ns(NULL) + (uint64_t)TORTURE_MS * 1000000u;
    for (int i = 0; i < READER_COUNT + WRITER_COUNT; i++)
        assert_int_equal(pthread_create(&threads[i], NULL,
                                        i < READER_COUNT ? torture_reader : torture_writer, t),
                         0);
    for (int i = 0; i < READER_COUNT + WRITER_COUNT; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    printf("# %llu sections, %llu objects freed\n", (unsigned long long)t->read_count,
           (unsigned long long)t->freed_count);
    (void)fflush(stdout);
    assert_int_equal(t->bad_count, 0);
    assert_true(t->freed_count > 100);
    mrl_domain_destroy(t->domain);
    free(t);
}

static uint64_t seed_from(int argc, char **argv) {
    const char *text = getenv("MERLE_TEST_SEED");
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "--seed=", 7) == 0) text = argv[i] + 7;
    return text != NULL ? strtoull(text, NULL, 0) : mrl_random_seed();
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticket_without_sections_passes_after_one_advance),
        cmocka_unit_test(ticket_taken_in_a_section_waits_for_its_end),
        cmocka_unit_test(overlapping_sections_each_hold_their_own_ticket),
        cmocka_unit_test(sections_ending_in_any_order_hold_until_the_last),
        cmocka_unit_test(blocks_retired_in_a_section_wait_for_its_end),
        cmocka_unit_test(section_of_an_idle_thread_holds_tickets),
        cmocka_unit_test(section_of_an_ended_thread_is_ended_and_counted),
        cmocka_unit_test(member_after_an_abandoned_section_starts_afresh),
        cmocka_unit_test(objects_freed_by_tickets_are_never_seen_by_readers),
    };
    test_seed = seed_from(argc, argv);
    printf("# seed %llu\n", (unsigned long long)test_seed);
    (void)fflush(stdout);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
