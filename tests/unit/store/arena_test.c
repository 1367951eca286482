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

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"

enum { PIECES = 500 };

static uint64_t seed;

typedef struct stand {
    mrl_domain *domain;
    mrl_member *member;
    mrl_refusal refusal;
    uint64_t grants;
    uint64_t taken; /* allocations that were granted */
    uint64_t bytes_before;
    mrl_arena arena;
} stand;

static int refuses(void *context, size_t size) {
    stand *s = context;
    (void)size;
    if (s->grants == 0) return 1;
    s->grants--;
    s->taken++;
    return 0;
}

static void stand_init(stand *s) {
    memset(s, 0, sizeof *s);
    s->grants = UINT64_MAX;
    s->refusal = (mrl_refusal){s, refuses};
    const mrl_domain_options options = {.refusal = &s->refusal};
    assert_int_equal(mrl_domain_create(&options, &s->domain), MERLE_OK);
    s->member = mrl_member_join(s->domain);
    assert_non_null(s->member);
    s->bytes_before = mrl_domain_bytes(s->domain, MRL_FOR_OTHER);
}

static uint64_t bytes_of(stand *s) {
    return mrl_domain_bytes(s->domain, MRL_FOR_OTHER) - s->bytes_before;
}

static void stand_fini(stand *s) {
    mrl_arena_fini(&s->arena, s->member);
    assert_int_equal(bytes_of(s), 0);
    mrl_domain_destroy(s->domain);
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
            pieces[i] = mrl_arena_take(&s.arena, s.member, sizes[i]);
            assert_non_null(pieces[i]);
            assert_int_equal((uintptr_t)pieces[i] % 16, 0);
            memset(pieces[i], i % 251, sizes[i]);
        }
        for (int i = 0; i < PIECES; i++) assert_filled(pieces[i], sizes[i], i % 251);
        mrl_arena_reset(&s.arena, s.member);
    }
    stand_fini(&s);
}

static void reset_keeps_the_first_chunk(void **state) {
    (void)state;
    stand s;
    stand_init(&s);
    assert_non_null(mrl_arena_take(&s.arena, s.member, 16));
    uint64_t bytes_first = bytes_of(&s);
    assert_in_range(bytes_first, 1024, 8192);
    for (int i = 0; i < 1000; i++) assert_non_null(mrl_arena_take(&s.arena, s.member, 100));
    assert_true(bytes_of(&s) > bytes_first);
    mrl_arena_reset(&s.arena, s.member);
    assert_int_equal(bytes_of(&s), bytes_first);
    uint64_t taken = s.taken;
    for (int i = 0; i < 10; i++) assert_non_null(mrl_arena_take(&s.arena, s.member, 100));
    mrl_arena_reset(&s.arena, s.member);
    assert_int_equal(s.taken, taken);
    stand_fini(&s);
}

static void reset_gives_a_large_first_chunk_back(void **state) {
    (void)state;
    stand s;
    stand_init(&s);
    assert_non_null(mrl_arena_take(&s.arena, s.member, 1 << 20));
    mrl_arena_reset(&s.arena, s.member);
    assert_int_equal(bytes_of(&s), 0);
    assert_non_null(mrl_arena_take(&s.arena, s.member, 1));
    stand_fini(&s);
}

static void reset_and_fini_of_an_empty_arena_do_nothing(void **state) {
    (void)state;
    stand s;
    stand_init(&s);
    mrl_arena_reset(&s.arena, s.member);
    mrl_arena_fini(&s.arena, s.member);
    mrl_arena_fini(&s.arena, s.member);
    stand_fini(&s);
}

static void take_without_memory_leaves_the_others(void **state) {
    (void)state;
    stand s;
    for (uint64_t grants = 0; grants < 4; grants++) {
        uint8_t *pieces[PIECES];
        int count = 0, is_refused = 0;
        stand_init(&s);
        s.grants = grants;
        for (int i = 0; i < PIECES; i++) {
            uint8_t *piece = mrl_arena_take(&s.arena, s.member, 100);
            is_refused += piece == NULL;
            if (piece == NULL) continue;
            memset(piece, count % 251, 100);
            pieces[count++] = piece;
        }
        assert_true(is_refused > 0);
        assert_true(grants == 0 || count > 0);
        for (int i = 0; i < count; i++) assert_filled(pieces[i], 100, i % 251);
        s.grants = UINT64_MAX;
        assert_non_null(mrl_arena_take(&s.arena, s.member, 100));
        stand_fini(&s);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(take_random_sizes_stay_apart),
        cmocka_unit_test(reset_keeps_the_first_chunk),
        cmocka_unit_test(reset_gives_a_large_first_chunk_back),
        cmocka_unit_test(reset_and_fini_of_an_empty_arena_do_nothing),
        cmocka_unit_test(take_without_memory_leaves_the_others),
    };
    const char *text = getenv("MERLE_TEST_SEED");
    if (argc > 1 && strncmp(argv[1], "--seed=", 7) == 0) text = argv[1] + 7;
    seed = text != NULL ? strtoull(text, NULL, 0) : mrl_random_seed();
    printf("# seed %llu\n", (unsigned long long)seed);
    (void)fflush(stdout);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
