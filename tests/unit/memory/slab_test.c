/* tests/unit/memory/slab_test.c
 *
 * Aim     Sizes and their classes agree; objects of a slab do not overlap, are given out once, and
 *         keep what is written into them; regions go back when they are empty; several threads may
 *         take and give at once.
 * Method  All sizes one by one; random takes and gives against a list, each object filled with a
 *         byte of its own; threads that pass objects to each other. Regions are counted by the
 *         slabs' own lists and, where there is jemalloc, by what the arena says.
 * Blind   That a region's pages go back to the system is jemalloc's affair.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "memory/memory_private.h"
#include "tests/unit/seed.h"

static uint64_t test_seed;

static mrl_heap *make_heap(void) {
    static mrl_heap heap;
    mrl_domain_options options = {0};
    assert_int_equal(mrl_heap_init(&heap, &options), MERLE_OK);
    return &heap;
}

/* ---- sizes ---- */

static void each_size_has_a_class_that_holds_it(void **state) {
    uint8_t last = 0;
    (void)state;
    for (size_t size = 1; size <= 100000; size++) {
        size_t rounded = mrl_size_round(size);
        uint8_t size_class = mrl_size_class(rounded);
        assert_true(rounded >= size && rounded % 16 == 0);
        assert_int_equal(mrl_size_of_class(size_class), rounded);
        assert_int_equal(mrl_size_round(rounded), rounded);
        assert_true(size_class >= last);
        assert_int_equal(size_class < MRL_SLAB_CLASS_COUNT, size <= MRL_SLAB_SIZE_MAX);
        /* Little is wasted. */
        assert_true(rounded - size < 16 ||
                    (size > MRL_SLAB_SMALL_MAX && rounded - size < size / 4));
        if (size <= MRL_SLAB_SIZE_MAX) assert_true(rounded - size < 16 + size / 16);
        last = size_class;
    }
    for (size_t size = 100000; size < (size_t)1 << 43; size += size / 9)
        assert_int_equal(mrl_size_of_class(mrl_size_class(mrl_size_round(size))),
                         mrl_size_round(size));
}

static void blocks_grow_in_steps_without_waste(void **state) {
    size_t steps = 0, last = 0;
    (void)state;
    for (size_t size = 1; size <= 60000; size++) {
        size_t step = mrl_block_step(size);
        assert_true(step >= size && step < 16 + size + size / 4);
        assert_int_equal(mrl_block_bytes(step), step + 16);
        steps += step != last;
        last = step;
    }
    assert_in_range(steps, 30, 50);
}

/* ---- objects ---- */

typedef struct slab_object {
    uint8_t *at;
    uint8_t filling;
} slab_object;

typedef struct holding {
    mrl_heap *heap;
    uint8_t size_class;
    size_t size;
    slab_object *list;
    size_t count, max;
} holding;

static void verify(const holding *h, const slab_object *object) {
    for (size_t i = 0; i < h->size; i++) assert_int_equal(object->at[i], object->filling);
}

static void take_some(holding *h, size_t wanted, uint8_t filling) {
    void *objects[MRL_SLAB_BATCH_MAX];
    size_t count = mrl_slab_take(h->heap, h->size_class, objects, wanted);
    assert_in_range(count, 1, wanted);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal((uintptr_t)objects[i] % 16, 0);
        memset(objects[i], filling, h->size);
        h->list[h->count++] = (slab_object){objects[i], filling};
    }
}

static void give_some(holding *h, size_t wanted, mrl_random *random) {
    void *objects[MRL_SLAB_BATCH_MAX];
    for (size_t i = 0; i < wanted; i++) {
        size_t at = mrl_random_below(random, h->count);
        verify(h, &h->list[at]);
        objects[i] = h->list[at].at;
        h->list[at] = h->list[--h->count];
    }
    mrl_slab_give(h->heap, h->size_class, objects, wanted);
}

static void verify_all_apart(const holding *h) {
    /* If two overlapped, the one that was filled first would have another's bytes. */
    for (size_t i = 0; i < h->count; i++) verify(h, &h->list[i]);
}

static void run_size(mrl_heap *heap, size_t size, uint64_t seed) {
    mrl_random random;
    mrl_random_init(&random, seed);
    holding h = {heap, mrl_size_class(size), size, NULL, 0, 1500};
    assert_non_null(h.list = malloc((h.max + MRL_SLAB_BATCH_MAX) * sizeof *h.list));
    for (int step = 0; step < 600; step++) {
        /* Rises and falls, down to nothing now and then. */
        int is_rising = (step / 100) % 2 == 0;
        size_t some = 1 + mrl_random_below(&random, MRL_SLAB_BATCH_MAX);
        if (h.count < h.max && mrl_random_below(&random, 10) < (is_rising ? 7u : 2u))
            take_some(&h, some, (uint8_t)mrl_random_below(&random, 256));
        else if (h.count > 0)
            give_some(&h, some < h.count ? some : h.count, &random);
        if (step % 100 == 0) verify_all_apart(&h);
    }
    while (h.count > 0) give_some(&h, h.count < 32 ? h.count : 32, &random);
    /* All but one region have gone back. */
    assert_int_equal(heap->slabs[h.size_class].empty_count, 1);
    assert_ptr_equal(heap->slabs[h.size_class].first, heap->slabs[h.size_class].last);
    free(h.list);
}

static void objects_are_apart_and_regions_go_back(void **state) {
    static const size_t sizes[] = {16, 32, 208, 224, 1008, 1024, 1088, 8704, 12288};
    mrl_heap *heap = make_heap();
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        run_size(heap, sizes[i], test_seed + i);
    mrl_slab_trim(heap);
    for (int i = 0; i < MRL_SLAB_CLASS_COUNT; i++) {
        assert_null(heap->slabs[i].first);
        assert_int_equal(heap->slabs[i].empty_count, 0);
    }
    mrl_heap_fini(heap);
}

/* ---- threads ---- */

enum { PLACE_COUNT = 512, SHARED_SIZE = 208, THREAD_COUNT = 4, ROUND_COUNT = 20000 };

typedef struct sharing {
    mrl_heap *heap;
    uint64_t seed;
    _Atomic(uint64_t *) places[PLACE_COUNT];
} sharing;

/* What a thread puts into a place another one may take out and give back. */
static void *exchange(void *context) {
    sharing *s = context;
    mrl_random random;
    uint8_t size_class = mrl_size_class(SHARED_SIZE);
    mrl_random_init(&random, s->seed ^ (uint64_t)(uintptr_t)&random);
    for (int round = 0; round < ROUND_COUNT; round++) {
        void *objects[8], *others[8];
        size_t met = 0, count = mrl_slab_take(s->heap, size_class, objects, 8);
        assert_true(count > 0);
        for (size_t i = 0; i < count; i++) {
            uint64_t *mine = objects[i];
            /* All words are the same: a second owner would be seen. */
            for (size_t w = 0; w < SHARED_SIZE / 8; w++) mine[w] = (uint64_t)(uintptr_t)mine + w;
            uint64_t *other = atomic_exchange_explicit(
                &s->places[mrl_random_below(&random, PLACE_COUNT)], mine, memory_order_acq_rel);
            if (other == NULL) continue;
            for (size_t w = 0; w < SHARED_SIZE / 8; w++)
                assert_true(other[w] == (uint64_t)(uintptr_t)other + w);
            others[met++] = other;
        }
        if (met > 0) mrl_slab_give(s->heap, size_class, others, met);
    }
    return NULL;
}

static void threads_pass_objects_to_each_other(void **state) {
    static sharing s;
    pthread_t threads[THREAD_COUNT];
    (void)state;
    s.heap = make_heap();
    s.seed = test_seed;
    for (int i = 0; i < THREAD_COUNT; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, exchange, &s), 0);
    for (int i = 0; i < THREAD_COUNT; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < PLACE_COUNT; i++) {
        void *object = s.places[i];
        if (object != NULL) mrl_slab_give(s.heap, mrl_size_class(SHARED_SIZE), &object, 1);
    }
    assert_int_equal(s.heap->slabs[mrl_size_class(SHARED_SIZE)].empty_count, 1);
    mrl_slab_trim(s.heap);
    assert_null(s.heap->slabs[mrl_size_class(SHARED_SIZE)].first);
    mrl_heap_fini(s.heap);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_size_has_a_class_that_holds_it),
        cmocka_unit_test(blocks_grow_in_steps_without_waste),
        cmocka_unit_test(objects_are_apart_and_regions_go_back),
        cmocka_unit_test(threads_pass_objects_to_each_other),
    };
    test_seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
