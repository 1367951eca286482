/* tests/unit/store/slots_test.c - the array from slots to current versions.
 *
 * Aim     Each slot is given once, without gaps, its place in order before it is given and never
 *         moved; what was stored is found; who gets no memory is given no slot, and the next one
 *         gets it.
 * Method  Many slots beside a plain array; threads that take at once; memory refused at each
 *         allocation in turn. Versions are numbers that only look like pointers.
 * Blind   The upper end, at four thousand million slots, is not reached but set by hand.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/slots.h"

#include <pthread.h>

#include "scarce.h"

enum { MANY = 256 * 40, THREADS = 4 };

typedef struct stand {
    ground ground;
    mrl_slots slots;
} stand;

static void stand_init(stand *s) {
    ground_open(&s->ground, MRL_FOR_TABLES);
    mrl_slots_init(&s->slots);
}

static void stand_fini(stand *s) {
    mrl_slots_fini(&s->slots, s->ground.member);
    ground_close(&s->ground);
}

/* The next slot must be this one. */
static void take(stand *s, uint32_t wanted) {
    uint32_t slot;
    assert_int_equal(mrl_slots_take(&s->slots, s->ground.member, &slot), MERLE_OK);
    assert_int_equal(slot, wanted);
}

static mrl_version *version_of(uint32_t number) {
    return (mrl_version *)(uintptr_t)(16 * (uint64_t)(number + 1));
}

static void slots_fresh_have_nothing(void **state) {
    (void)state;
    stand s;
    stand_init(&s);
    assert_int_equal(mrl_slots_end(&s.slots), 0);
    assert_null(mrl_slots_load(&s.slots, 0));
    assert_null(mrl_slots_load(&s.slots, 1000000));
    assert_null(mrl_slots_chunk(&s.slots, 0));
    stand_fini(&s);
}

static void slots_many_keep_their_place_and_contents(void **state) {
    (void)state;
    static mrl_chunk *chunks[MANY / MRL_CHUNK_SLOTS];
    stand s;
    stand_init(&s);
    for (uint32_t i = 0; i < MANY; i++) {
        take(&s, i);
        assert_int_equal(mrl_slots_end(&s.slots), i + 1);
        mrl_chunk *chunk = mrl_slots_chunk(&s.slots, i);
        assert_non_null(chunk);
        assert_null(mrl_slots_load(&s.slots, i));
        if (i % MRL_CHUNK_SLOTS == 0) chunks[i / MRL_CHUNK_SLOTS] = chunk;
        assert_ptr_equal(chunk, chunks[i / MRL_CHUNK_SLOTS]);
        if (i % 3 != 0) mrl_slots_store(&s.slots, i, version_of(i));
    }
    for (uint32_t i = 0; i < MANY; i++) {
        assert_ptr_equal(mrl_slots_load(&s.slots, i), i % 3 != 0 ? version_of(i) : NULL);
        assert_ptr_equal(mrl_slots_chunk(&s.slots, i), chunks[i / MRL_CHUNK_SLOTS]);
    }
    stand_fini(&s);
}

static void mark_changes_its_own_run_only(void **state) {
    (void)state;
    enum { SLOTS = 16 * MRL_RUN_SLOTS };
    stand s;
    stand_init(&s);
    for (uint32_t i = 0; i < SLOTS; i++) take(&s, i);
    mrl_slots_mark(&s.slots, 0, 5);
    mrl_slots_mark(&s.slots, 7 * MRL_RUN_SLOTS - 1, 6);
    mrl_slots_mark(&s.slots, SLOTS - 1, 7);
    for (uint32_t run = 0; run < SLOTS / MRL_RUN_SLOTS; run++) {
        uint64_t wanted = run == 0 ? 5 : run == 6 ? 6 : run == SLOTS / MRL_RUN_SLOTS - 1 ? 7 : 0;
        mrl_chunk *chunk = mrl_slots_chunk(&s.slots, run * MRL_RUN_SLOTS);
        uint32_t at = run * MRL_RUN_SLOTS % MRL_CHUNK_SLOTS / MRL_RUN_SLOTS;
        assert_non_null(chunk);
        if (chunk != NULL) assert_int_equal(chunk->changed[at], wanted);
    }
    stand_fini(&s);
}

/* Nobody has slot `next`; then somebody has, whether or not it was refused before. */
static uint64_t take_next_with(stand *s, uint32_t next, uint64_t grants) {
    uint32_t slot;
    supply_only(&s->ground.supply, grants);
    merle_err err = mrl_slots_take(&s->slots, s->ground.member, &slot);
    uint64_t refused = supply_all(&s->ground.supply);
    assert_int_equal(err, refused > 0 ? MERLE_NO_MEMORY : MERLE_OK);
    assert_int_equal(slot, refused > 0 ? MRL_SLOT_NONE : next);
    assert_int_equal(mrl_slots_end(&s->slots), refused > 0 ? next : next + 1);
    if (refused > 0) take(s, next);
    return refused;
}

/* The very first slot, and the first one of the next chunk. */
static uint64_t take_with(void *context, uint64_t grants) {
    stand s;
    (void)context;
    stand_init(&s);
    uint64_t refused = take_next_with(&s, 0, grants);
    for (uint32_t i = 1; i < MRL_CHUNK_SLOTS; i++) take(&s, i);
    assert_int_equal(take_next_with(&s, MRL_CHUNK_SLOTS, grants) > 0, refused > 0);
    stand_fini(&s);
    return refused;
}

static void take_without_memory_gives_no_slot(void **state) {
    (void)state;
    refuse_in_turn(take_with, NULL, 2);
}

static void take_beyond_the_last_is_refused(void **state) {
    (void)state;
    stand s;
    uint32_t slot;
    stand_init(&s);
    s.slots.next = MRL_SLOT_COUNT_MAX - 1;
    take(&s, MRL_SLOT_COUNT_MAX - 1);
    assert_null(mrl_slots_load(&s.slots, MRL_SLOT_COUNT_MAX - 1));
    assert_int_equal(mrl_slots_take(&s.slots, s.ground.member, &slot), MERLE_TOO_BIG);
    assert_int_equal(slot, MRL_SLOT_NONE);
    assert_int_equal(mrl_slots_end(&s.slots), MRL_SLOT_COUNT_MAX);
    stand_fini(&s);
}

/* ---- threads ---- */

typedef struct taker {
    stand *s;
    uint32_t slots[MANY];
    int failed;
} taker;

static void *take_many(void *context) {
    taker *t = context;
    mrl_member *member = mrl_member_join(t->s->ground.domain);
    for (uint32_t i = 0; i < MANY; i++)
        if (mrl_slots_take(&t->s->slots, member, &t->slots[i]) != MERLE_OK ||
            mrl_slots_load(&t->s->slots, t->slots[i]) != NULL)
            t->failed = 1;
        else
            mrl_slots_store(&t->s->slots, t->slots[i], version_of(t->slots[i]));
    return NULL;
}

static void slots_of_many_threads_are_given_once(void **state) {
    (void)state;
    static taker takers[THREADS];
    static uint8_t given[THREADS * MANY];
    pthread_t threads[THREADS];
    stand s;
    stand_init(&s);
    for (int i = 0; i < THREADS; i++) {
        takers[i].s = &s;
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &takers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(takers[i].failed, 0);
        for (uint32_t j = 0; j < MANY; j++) {
            uint32_t slot = takers[i].slots[j];
            assert_true(slot < THREADS * MANY);
            assert_int_equal(given[slot]++, 0);
            assert_ptr_equal(mrl_slots_load(&s.slots, slot), version_of(slot));
        }
    }
    assert_int_equal(mrl_slots_end(&s.slots), THREADS * MANY);
    stand_fini(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_fresh_have_nothing),
        cmocka_unit_test(slots_many_keep_their_place_and_contents),
        cmocka_unit_test(mark_changes_its_own_run_only),
        cmocka_unit_test(take_without_memory_gives_no_slot),
        cmocka_unit_test(take_beyond_the_last_is_refused),
        cmocka_unit_test(slots_of_many_threads_are_given_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
