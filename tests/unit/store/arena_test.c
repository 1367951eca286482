/* tests/unit/store/arena_test.c - memory of a commit, taken piece by piece, given back at once.
 *
 * Aim     Pieces are aligned, do not overlap and stay as they were until the reset; a reset keeps
 *         one small chunk, so that the next commit allocates nothing; without memory there is no
 *         piece, and the others stay.
 * Method  Random sizes, each piece filled with a byte of its own and compared at the end; bytes
 *         counted by the domain; memory refused at each allocation in turn.
 * Blind   One thread; an arena belongs to one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/arena.h"

#include "scarce.h"

enum { PIECES = 500 };

static uint64_t seed;

typedef struct stand {
    ground ground;
    mrl_arena arena;
} stand;

static void stand_init(stand *s) {
    memset(s, 0, sizeof *s);
    ground_open(&s->ground, MRL_FOR_OTHER);
}

static void stand_fini(stand *s) {
    mrl_arena_fini(&s->arena, s->ground.member);
    ground_close(&s->ground);
}

static uint8_t *take(stand *s, size_t size) {
    return mrl_arena_take(&s->arena, s->ground.member, size);
}

static void reset(stand *s) {
    mrl_arena_reset(&s->arena, s->ground.member);
}

static void assert_filled(const uint8_t *piece, size_t size, int byte) {
    for (size_t i = 0; i < size; i++) assert_int_equal(piece[i], byte);
}

static void take_random_sizes_stay_apart(void **state) {
    (void)state;
    stand s;
    mrl_random random;
    uint8_t *pieces[PIECES];
    size_t sizes[PIECES];
    stand_init(&s);
    mrl_random_init(&random, seed);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < PIECES; i++) {
            sizes[i] = (size_t)mrl_random_below(&random, i % 50 == 49 ? 20000 : 200) + 1;
            pieces[i] = take(&s, sizes[i]);
            assert_non_null(pieces[i]);
            assert_int_equal((uintptr_t)pieces[i] % 16, 0);
            memset(pieces[i], i % 251, sizes[i]);
        }
        for (int i = 0; i < PIECES; i++) assert_filled(pieces[i], sizes[i], i % 251);
        reset(&s);
    }
    stand_fini(&s);
}

static void reset_keeps_the_first_chunk(void **state) {
    (void)state;
    stand s;
    stand_init(&s);
    assert_non_null(take(&s, 16));
    uint64_t bytes_first = ground_bytes(&s.ground);
    assert_in_range(bytes_first, 1024, 8192);
    for (int i = 0; i < 1000; i++) assert_non_null(take(&s, 100));
    assert_true(ground_bytes(&s.ground) > bytes_first);
    reset(&s);
    assert_int_equal(ground_bytes(&s.ground), bytes_first);
    supply_only(&s.ground.supply, 0);
    for (int i = 0; i < 10; i++) assert_non_null(take(&s, 100));
    reset(&s);
    assert_int_equal(supply_all(&s.ground.supply), 0);
    stand_fini(&s);
}

static void reset_gives_a_large_first_chunk_back(void **state) {
    (void)state;
    stand s;
    stand_init(&s);
    assert_non_null(take(&s, 1 << 20));
    reset(&s);
    assert_int_equal(ground_bytes(&s.ground), 0);
    assert_non_null(take(&s, 1));
    stand_fini(&s);
}

static void reset_and_fini_of_an_empty_arena_do_nothing(void **state) {
    (void)state;
    stand s;
    stand_init(&s);
    reset(&s);
    mrl_arena_fini(&s.arena, s.ground.member);
    mrl_arena_fini(&s.arena, s.ground.member);
    stand_fini(&s);
}

static uint64_t take_with(void *context, uint64_t grants) {
    stand s;
    uint8_t *pieces[PIECES];
    int count = 0;
    (void)context;
    stand_init(&s);
    supply_only(&s.ground.supply, grants);
    for (int i = 0; i < PIECES; i++) {
        uint8_t *piece = take(&s, 100);
        if (piece == NULL) continue;
        memset(piece, count % 251, 100);
        pieces[count++] = piece;
    }
    assert_true(grants == 0 || count > 0);
    for (int i = 0; i < count; i++) assert_filled(pieces[i], 100, i % 251);
    uint64_t refused = supply_all(&s.ground.supply);
    assert_int_equal(count + refused, PIECES);
    assert_non_null(take(&s, 100));
    stand_fini(&s);
    return refused;
}

static void take_without_memory_leaves_the_others(void **state) {
    (void)state;
    refuse_in_turn(take_with, NULL, 4);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(take_random_sizes_stay_apart),
        cmocka_unit_test(reset_keeps_the_first_chunk),
        cmocka_unit_test(reset_gives_a_large_first_chunk_back),
        cmocka_unit_test(reset_and_fini_of_an_empty_arena_do_nothing),
        cmocka_unit_test(take_without_memory_leaves_the_others),
    };
    seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
