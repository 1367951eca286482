/* tests/unit/memory/domain_test.c
 *
 * Aim     A domain's memory is its own, counted and limited; blocks retire in order; threads may
 *         come, go and end in any order with the domain's own end; a forked child is told apart.
 *         Also the properties of jemalloc that we lean on (where memory comes from, sizes, what
 *         destroying an arena gives back).
 * Method  Single calls with known sums; threads that meet at barriers; many rounds where an order
 *         cannot be forced. Under the address sanitizer the same cases find leaks and early frees.
 * Blind   Grace periods (epoch_test.c). The contracts of jemalloc are not tested in sanitizer
 *         builds, which have none.
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
#include <sys/wait.h>
#include <unistd.h>

#include "memory/domain.h"
#include "memory/memory_private.h"

#if !MRL_HEAP_IS_PLAIN
#include <jemalloc/jemalloc.h>
#endif

static mrl_domain *make_domain(const mrl_domain_options *options) {
    static const mrl_domain_options none;
    mrl_domain *domain;
    assert_int_equal(mrl_domain_create(options != NULL ? options : &none, &domain), MERLE_OK);
    assert_non_null(domain);
    return domain;
}

static mrl_member *join(mrl_domain *domain) {
    mrl_member *member = mrl_member_join(domain);
    assert_non_null(member);
    return member;
}

static void run_thread(void *(*fn)(void *context), void *context) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, fn, context), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* ---- jemalloc's word ---- */

#if !MRL_HEAP_IS_PLAIN

static unsigned arena_of(void *memory) {
    unsigned arena = 0;
    size_t size = sizeof arena;
    assert_int_equal(mallctl("arenas.lookup", &arena, &size, &memory, sizeof memory), 0);
    return arena;
}

static void memory_comes_from_the_own_arena_only(void **state) {
    static const size_t sizes[] = {1, 16, 100, 4000, 14000, 40000, 3000000};
    mrl_domain *one = make_domain(NULL), *two = make_domain(NULL);
    (void)state;
    assert_int_not_equal(one->heap.arena, two->heap.arena);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int round = 0; round < 200; round++) {
            void *a = mrl_alloc(join(one), MRL_FOR_OTHER, sizes[i]);
            void *b = mrl_alloc(join(two), MRL_FOR_OTHER, sizes[i]);
            void *c = malloc(sizes[i]);
            assert_int_equal(arena_of(a), one->heap.arena);
            assert_int_equal(arena_of(b), two->heap.arena);
            assert_int_not_equal(arena_of(c), one->heap.arena);
            assert_int_not_equal(arena_of(c), two->heap.arena);
            mrl_free(join(two), MRL_FOR_OTHER, b, sizes[i]);
            mrl_free(join(one), MRL_FOR_OTHER, a, sizes[i]);
            free(c);
        }
    }
    mrl_domain_destroy(one);
    mrl_domain_destroy(two);
}

static void sizes_beyond_slabs_are_what_jemalloc_gives(void **state) {
    (void)state;
    for (size_t size = MRL_SLAB_SIZE_MAX + 1; size < 100000; size++)
        assert_int_equal(mrl_size_round(size), nallocx(size, 0));
    for (size_t size = 100000; size < ((size_t)1 << 40); size += size / 7)
        assert_int_equal(mrl_size_round(size), nallocx(size, 0));
}

static void member_at_rest_keeps_nothing(void **state) {
    enum { SIZE = 208, COUNT = 2000 };
    static void *all[COUNT];
    mrl_domain *domain = make_domain(NULL);
    mrl_member *member = join(domain);
    uint8_t size_class = mrl_size_class(SIZE);
    const mrl_slab_class *slabs = &domain->heap.slabs[size_class];
    (void)state;
    for (int i = 0; i < COUNT; i++)
        assert_non_null(all[i] = mrl_alloc(member, MRL_FOR_OTHER, SIZE));
    for (int i = 0; i < COUNT; i++) mrl_free(member, MRL_FOR_OTHER, all[(i * 7919) % COUNT], SIZE);
    /* Those freed last lie in several regions, and hold them. */
    assert_int_not_equal(member->private_part->cache.kept_counts[size_class], 0);
    assert_ptr_not_equal(slabs->first, slabs->last);
    mrl_member_rest(member);
    assert_int_equal(member->private_part->cache.kept_counts[size_class], 0);
    assert_ptr_equal(slabs->first, slabs->last);
    mrl_domain_trim(domain);
    assert_null(slabs->first);
    assert_non_null(mrl_alloc(member, MRL_FOR_OTHER, SIZE));
    mrl_domain_destroy(domain);
}

static void member_that_frees_many_sizes_keeps_little(void **state) {
    enum { EACH = 64 };
    static void *all[MRL_SLAB_SMALL_COUNT + 1][EACH];
    mrl_domain *domain = make_domain(NULL);
    mrl_member *member = join(domain);
    const mrl_cache *cache = &member->private_part->cache;
    (void)state;
    for (size_t i = 1; i <= MRL_SLAB_SMALL_COUNT; i++)
        for (int k = 0; k < EACH; k++)
            assert_non_null(all[i][k] = mrl_alloc(member, MRL_FOR_OTHER, 16 * i));
    uint64_t most = 0;
    for (size_t i = 1; i <= MRL_SLAB_SMALL_COUNT; i++)
        for (int k = 0; k < EACH; k++) {
            mrl_free(member, MRL_FOR_OTHER, all[i][k], 16 * i);
            size_t bytes = 0;
            for (size_t c = 1; c <= MRL_SLAB_SMALL_COUNT; c++)
                bytes += 16 * c * cache->kept_counts[c];
            assert_int_equal(mrl_domain_bytes_kept(domain), bytes);
            if (bytes > most) most = bytes;
        }
    assert_in_range(most, MRL_KEPT_TOTAL_MAX - 1024, MRL_KEPT_TOTAL_MAX);
    mrl_member_rest(member);
    assert_int_equal(mrl_domain_bytes_kept(domain), 0);
    mrl_domain_destroy(domain);
}

static size_t allocated_bytes(void) {
    uint64_t epoch = 1;
    size_t bytes = 0, size = sizeof bytes;
    assert_int_equal(mallctl("epoch", NULL, NULL, &epoch, sizeof epoch), 0);
    assert_int_equal(mallctl("stats.active", &bytes, &size, NULL, 0), 0);
    return bytes;
}

static unsigned arena_count(void) {
    unsigned count = 0;
    size_t size = sizeof count;
    assert_int_equal(mallctl("arenas.narenas", &count, &size, NULL, 0), 0);
    return count;
}

static void destroyed_domain_gives_back_what_was_never_freed(void **state) {
    mrl_domain_destroy(make_domain(NULL));
    size_t before = allocated_bytes();
    unsigned arenas = arena_count();
    (void)state;
    for (int round = 0; round < 20; round++) {
        mrl_domain *domain = make_domain(NULL);
        for (int i = 0; i < 16; i++)
            memset(mrl_alloc(join(domain), MRL_FOR_LOG, 1 << 20), 1, 1 << 20);
        for (int i = 0; i < 10000; i++)
            assert_non_null(mrl_block_alloc(join(domain), MRL_FOR_LOG, 100));
        mrl_domain_destroy(domain);
    }
    assert_in_range(allocated_bytes(), 0, before + (4 << 20));
    assert_int_equal(arena_count(), arenas);
}

/* Whether the system was asked for huge pages where the address lies. */
static int is_advised(const void *address) {
    char line[512];
    int is_there = 0, result = -1;
    FILE *maps = fopen("/proc/self/smaps", "r");
    assert_non_null(maps);
    while (result < 0 && fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            is_there = (uintptr_t)address >= from && (uintptr_t)address < to;
        else if (is_there && strncmp(line, "VmFlags:", 8) == 0)
            result = strstr(line, " hg") != NULL;
    }
    (void)fclose(maps);
    assert_true(result >= 0);
    return result;
}

/* Whether the last of many pieces lies where the system was asked; the first never do. */
static int asks_when_large(uint32_t huge_pages) {
    enum { COUNT = 1000, SIZE = 64 << 10 };
    mrl_domain *domain = make_domain(&(mrl_domain_options){.huge_pages = huge_pages});
    mrl_member *member = join(domain);
    void **all = calloc(COUNT, sizeof *all);
    assert_non_null(all);
    for (int i = 0; i < COUNT; i++) {
        all[i] = mrl_alloc(member, MRL_FOR_TABLES, SIZE);
        assert_non_null(all[i]);
        if (i < 16) assert_false(is_advised(all[i]));
    }
    int asks = is_advised(all[COUNT - 1]);
    for (int i = 0; i < COUNT; i++) mrl_free(member, MRL_FOR_TABLES, all[i], SIZE);
    free(all);
    mrl_domain_destroy(domain);
    return asks;
}

/* A small store must not take megabytes for nothing; for a large one, missing the address cache is
 * what a read mostly waits for. */
static void large_domain_asks_for_huge_pages_if_it_shall(void **state) {
    (void)state;
    if (access("/sys/kernel/mm/transparent_hugepage/enabled", R_OK) != 0) skip();
    assert_false(asks_when_large(0));
    assert_true(asks_when_large(1));
}

#endif

/* ---- allocating, counting, refusing ---- */

static void memory_is_aligned_and_counted_as_given(void **state) {
    mrl_domain *domain = make_domain(NULL);
    mrl_member *member = join(domain);
    void *all[600];
    uint64_t sum = 0;
    (void)state;
    for (size_t size = 1; size <= 600; size++) {
        all[size - 1] = mrl_alloc(member, MRL_FOR_TABLES, size);
        assert_non_null(all[size - 1]);
        assert_int_equal((uintptr_t)all[size - 1] % 16, 0);
        memset(all[size - 1], 0xee, size);
        sum += mrl_size_round(size);
        assert_int_equal(mrl_domain_bytes(domain, MRL_FOR_TABLES), sum);
        assert_int_equal(mrl_domain_bytes_total(domain), sum);
    }
    assert_int_equal(mrl_domain_bytes(domain, MRL_FOR_DOCUMENTS), 0);
    for (size_t size = 1; size <= 600; size++)
        mrl_free(member, MRL_FOR_TABLES, all[size - 1], size);
    assert_int_equal(mrl_domain_bytes_total(domain), 0);
    mrl_domain_trim(domain);
    mrl_domain_destroy(domain);
}

static void blocks_of_each_size_keep_their_bytes_and_counts(void **state) {
    mrl_domain *domain = make_domain(NULL);
    mrl_member *member = join(domain);
    (void)state;
    for (size_t size = 1; size < 3000000; size += 1 + size / 9) {
        uint8_t *block = mrl_block_alloc(member, MRL_FOR_DOCUMENTS, size);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 16, 0);
        memset(block, 0xee, size);
        assert_int_equal(mrl_domain_bytes_total(domain), mrl_size_round(size + 16));
        mrl_block_free(member, block);
        assert_int_equal(mrl_domain_bytes_total(domain), 0);
    }
    assert_null(mrl_block_alloc(member, MRL_FOR_DOCUMENTS, SIZE_MAX));
    mrl_block_free(member, NULL);
    mrl_domain_destroy(domain);
}

static void limit_is_exact_and_urgent_may_go_into_the_reserve(void **state) {
    mrl_domain_options options = {.bytes_max = 1 << 20, .bytes_reserve = 64 << 10};
    mrl_domain *domain = make_domain(&options);
    mrl_member *member = join(domain);
    void *first = mrl_alloc(member, MRL_FOR_OTHER, 1024);
    int count = 1;
    (void)state;
    while (mrl_alloc(member, MRL_FOR_OTHER, 1024) != NULL) count++;
    assert_int_equal(count, 1024);
    assert_null(mrl_block_alloc(member, MRL_FOR_DOCUMENTS, 1));
    for (count = 0; mrl_alloc_urgent(member, MRL_FOR_DOCUMENTS, 1024) != NULL;) count++;
    assert_int_equal(count, 64);
    mrl_free(member, MRL_FOR_OTHER, first, 1024);
    assert_null(mrl_alloc(member, MRL_FOR_OTHER, 1024));
    assert_non_null(mrl_alloc_urgent(member, MRL_FOR_OTHER, 1024));
    assert_null(mrl_alloc_urgent(member, MRL_FOR_OTHER, SIZE_MAX / 2));
    assert_int_equal(mrl_domain_bytes_total(domain), (1 << 20) + (64 << 10));
    mrl_domain_destroy(domain);
}

enum { THREAD_COUNT = 8 };

/* Sizes and purposes of its own for each thread. */
static void *fill_up(void *context) {
    static _Atomic uint32_t last_number;
    uint32_t number = ++last_number;
    mrl_member *member = join(context);
    while (mrl_alloc(member, (mrl_purpose)(number % MRL_PURPOSE_COUNT), 500 + number % 8) != NULL)
        continue;
    return NULL;
}

static void fill_up_to(uint64_t limit) {
    mrl_domain_options options = {.bytes_max = limit};
    mrl_domain *domain = make_domain(&options);
    pthread_t threads[THREAD_COUNT];
    for (int i = 0; i < THREAD_COUNT; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fill_up, domain), 0);
    for (int i = 0; i < THREAD_COUNT; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_in_range(mrl_domain_bytes_total(domain), limit - 512, limit);
    mrl_domain_destroy(domain);
}

static void limit_with_many_threads_is_not_passed(void **state) {
    (void)state;
    for (int round = 0; round < 10; round++) {
        fill_up_to(256 << 10);
        fill_up_to(1 << 20);
        fill_up_to(16 << 20);
    }
}

typedef struct refuser {
    int is_on;
    int asked_count;
} refuser;

static int refuse(void *context, size_t size) {
    refuser *r = context;
    assert_true(size > 0);
    r->asked_count++;
    return r->is_on;
}

static void refusal_refuses_every_kind_of_memory(void **state) {
    refuser r = {0};
    mrl_refusal refusal = {&r, refuse};
    mrl_domain_options options = {.refusal = &refusal};
    mrl_domain *domain = make_domain(&options), *other;
    (void)state;
    assert_int_not_equal(r.asked_count, 0);
    r.is_on = 1;
    assert_null(mrl_member_join(domain));
    assert_int_equal(mrl_domain_create(&options, &other), MERLE_NO_MEMORY);
    assert_null(other);
    r.is_on = 0;
    mrl_member *member = join(domain);
    r.is_on = 1;
    r.asked_count = 0;
    assert_ptr_equal(mrl_member_join(domain), member);
    assert_int_equal(r.asked_count, 0);
    assert_null(mrl_alloc(member, MRL_FOR_OTHER, 10));
    assert_null(mrl_alloc_urgent(member, MRL_FOR_OTHER, 10));
    assert_null(mrl_block_alloc(member, MRL_FOR_OTHER, 10));
    assert_int_equal(r.asked_count, 3);
    assert_int_equal(mrl_domain_bytes_total(domain), 0);
    mrl_domain_destroy(domain);
}

typedef struct exchange {
    mrl_domain *domain;
    pthread_barrier_t barrier;
    void *memory[THREAD_COUNT][1000];
    _Atomic uint32_t next_number;
} exchange;

/* Each thread frees what its neighbour has taken: all members' counts are off, their sum is not. */
static void *take_and_free_of_neighbour(void *context) {
    exchange *all = context;
    uint32_t me = atomic_fetch_add(&all->next_number, 1);
    uint32_t neighbour = (me + 1) % THREAD_COUNT;
    mrl_member *member = join(all->domain);
    for (size_t i = 0; i < 1000; i++)
        all->memory[me][i] = mrl_alloc(member, (mrl_purpose)(i % MRL_PURPOSE_COUNT), 10 + i * 3);
    (void)pthread_barrier_wait(&all->barrier);
    for (size_t i = 1; i < 1000; i++)
        mrl_free(member, (mrl_purpose)(i % MRL_PURPOSE_COUNT), all->memory[neighbour][i],
                 10 + i * 3);
    (void)pthread_barrier_wait(&all->barrier);
    /* At rest, with all members alive. */
    assert_int_equal(mrl_domain_bytes(all->domain, MRL_FOR_DOCUMENTS), 16 * THREAD_COUNT);
    assert_int_equal(mrl_domain_bytes_total(all->domain), 16 * THREAD_COUNT);
    (void)pthread_barrier_wait(&all->barrier);
    return NULL;
}

static void counts_at_rest_are_exact_whoever_frees(void **state) {
    exchange *all = calloc(1, sizeof *all);
    pthread_t threads[THREAD_COUNT];
    (void)state;
    assert_non_null(all);
    all->domain = make_domain(NULL);
    assert_int_equal(pthread_barrier_init(&all->barrier, NULL, THREAD_COUNT), 0);
    for (int i = 0; i < THREAD_COUNT; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_free_of_neighbour, all), 0);
    for (int i = 0; i < THREAD_COUNT; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(mrl_domain_bytes(all->domain, MRL_FOR_DOCUMENTS), 16 * THREAD_COUNT);
    assert_int_equal(mrl_domain_bytes(all->domain, MRL_FOR_LOG), 0);
    assert_int_equal(mrl_domain_bytes_total(all->domain), 16 * THREAD_COUNT);
    mrl_domain_destroy(all->domain);
    (void)pthread_barrier_destroy(&all->barrier);
    free(all);
}

/* ---- retired blocks ---- */

static void retire(mrl_member *member, size_t rounded) {
    void *block = mrl_block_alloc(member, MRL_FOR_DOCUMENTS, rounded - 16);
    assert_non_null(block);
    mrl_block_retire(member, block);
}

static void blocks_are_drained_in_order_and_at_most_max(void **state) {
    mrl_domain *domain = make_domain(NULL);
    mrl_member *member = join(domain);
    (void)state;
    retire(member, 64);
    retire(member, 1024);
    retire(member, 128);
    retire(member, 256);
    assert_int_equal(mrl_domain_bytes_waiting(domain), 1472);
    assert_int_equal(mrl_domain_bytes_total(domain), 1472);
    assert_int_equal(mrl_domain_drain(member, 0), 0);
    assert_int_equal(mrl_domain_drain(member, 1), 1);
    assert_int_equal(mrl_domain_bytes_waiting(domain), 1408);
    assert_int_equal(mrl_domain_drain(member, 1), 1);
    assert_int_equal(mrl_domain_bytes_waiting(domain), 384);
    assert_int_equal(mrl_domain_drain(member, 100), 2);
    assert_int_equal(mrl_domain_bytes_waiting(domain), 0);
    assert_int_equal(mrl_domain_bytes_total(domain), 0);
    assert_int_equal(mrl_domain_drain(member, 100), 0);
    mrl_domain_destroy(domain);
}

typedef struct meeting {
    mrl_domain *domain;
    pthread_barrier_t begun, over;
} meeting;

static void meeting_init(meeting *m, mrl_domain *domain, unsigned count) {
    m->domain = domain;
    assert_int_equal(pthread_barrier_init(&m->begun, NULL, count), 0);
    assert_int_equal(pthread_barrier_init(&m->over, NULL, count), 0);
}

static void meeting_fini(meeting *m) {
    (void)pthread_barrier_destroy(&m->begun);
    (void)pthread_barrier_destroy(&m->over);
}

static void *retire_ten_and_wait(void *context) {
    meeting *m = context;
    for (int i = 0; i < 10; i++) retire(join(m->domain), 64);
    (void)pthread_barrier_wait(&m->begun);
    (void)pthread_barrier_wait(&m->over);
    return NULL;
}

static void *retire_ten(void *context) {
    for (int i = 0; i < 10; i++) retire(join(context), 64);
    return NULL;
}

static void blocks_of_idle_and_of_ended_threads_are_drained_by_others(void **state) {
    mrl_domain *domain = make_domain(NULL);
    pthread_t idle[3];
    meeting m;
    size_t freed = 0;
    (void)state;
    meeting_init(&m, domain, 4);
    run_thread(retire_ten, domain);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&idle[i], NULL, retire_ten_and_wait, &m), 0);
    (void)pthread_barrier_wait(&m.begun);
    assert_int_equal(mrl_domain_bytes_waiting(domain), 40 * 64);
    for (int i = 0; i < 20; i++) {
        size_t n = mrl_domain_drain(join(domain), 3);
        assert_in_range(n, 0, 3);
        freed += n;
    }
    assert_int_equal(freed, 40);
    assert_int_equal(mrl_domain_bytes_waiting(domain), 0);
    assert_int_equal(mrl_domain_bytes_total(domain), 0);
    (void)pthread_barrier_wait(&m.over);
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_join(idle[i], NULL), 0);
    mrl_domain_destroy(domain);
    meeting_fini(&m);
}

/* ---- threads that come and go ---- */

typedef struct leavings {
    _Atomic uint32_t count;
} leavings;

/* The member is usable as long as it is being left. */
static void note_leaving(void *context, mrl_member *member) {
    leavings *l = context;
    mrl_epoch_token token;
    mrl_member_enter(member, &token);
    void *block = mrl_block_alloc(member, MRL_FOR_OTHER, 48);
    assert_non_null(block);
    mrl_member_leave(member, &token);
    mrl_block_retire(member, block);
    assert_ptr_equal(member->commits, l);
    atomic_fetch_add(&l->count, 1);
}

typedef struct visit {
    mrl_domain *domain;
    leavings *leavings;
    meeting *meeting; /* may be NULL */
} visit;

static void *join_once(void *context) {
    visit *v = context;
    mrl_member *member = join(v->domain);
    member->commits = v->leavings;
    mrl_count(member, MRL_N_GETS, 5);
    mrl_count_max(member, MRL_N_STEP_MAX_NS, 7);
    mrl_count_max(member, MRL_N_STEP_MAX_NS, 3);
    if (v->meeting != NULL) {
        (void)pthread_barrier_wait(&v->meeting->begun);
        (void)pthread_barrier_wait(&v->meeting->over);
    }
    return NULL;
}

static void thread_that_ends_first_leaves_its_counts_and_blocks(void **state) {
    leavings l = {0};
    mrl_domain_options options = {.leaving = note_leaving, .leaving_context = &l};
    mrl_domain *domain = make_domain(&options);
    visit v = {domain, &l, NULL};
    (void)state;
    run_thread(join_once, &v);
    run_thread(join_once, &v);
    assert_int_equal(l.count, 2);
    assert_null(domain->members);
    assert_int_equal(mrl_domain_count(domain, MRL_N_GETS), 10);
    assert_int_equal(mrl_domain_count(domain, MRL_N_STEP_MAX_NS), 7);
    assert_int_equal(mrl_domain_count(domain, MRL_N_ABANDONED), 0);
    assert_int_equal(mrl_domain_bytes_waiting(domain), 2 * 64);
    mrl_member *member = join(domain);
    member->commits = &l;
    assert_int_equal(mrl_domain_drain(member, 10), 2);
    mrl_domain_destroy(domain);
    assert_int_equal(l.count, 3);
}

static void thread_that_outlives_the_domain_drops_its_membership(void **state) {
    leavings l = {0};
    mrl_domain_options options = {.leaving = note_leaving, .leaving_context = &l};
    meeting m;
    visit v = {make_domain(&options), &l, &m};
    pthread_t threads[2];
    (void)state;
    meeting_init(&m, NULL, 3);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, join_once, &v), 0);
    (void)pthread_barrier_wait(&m.begun);
    mrl_domain_destroy(v.domain);
    assert_int_equal(l.count, 2);
    (void)pthread_barrier_wait(&m.over);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(l.count, 2);
    meeting_fini(&m);
}

static void *join_two_of(void *context) {
    meeting *m = context; /* its domain is the first; the second is made meanwhile */
    mrl_domain *mine = make_domain(NULL);
    mrl_member *member = join(mine);
    (void)join(m->domain);
    (void)pthread_barrier_wait(&m->begun);
    (void)pthread_barrier_wait(&m->over);
    mrl_domain *third = make_domain(NULL);
    (void)join(third);
    /* That join has dropped the one that is gone, and found no other. */
    assert_ptr_equal(mrl_member_join(mine), member);
    assert_ptr_equal(member->private_part->next_in_thread, NULL);
    mrl_domain_destroy(third);
    mrl_domain_destroy(mine);
    assert_null(mrl_self_get()->members);
    assert_int_equal(mrl_self_get()->member_serial, 0);
    return NULL;
}

static void thread_with_several_domains_keeps_those_that_live(void **state) {
    meeting m;
    pthread_t thread;
    (void)state;
    meeting_init(&m, make_domain(NULL), 2);
    assert_int_equal(pthread_create(&thread, NULL, join_two_of, &m), 0);
    (void)pthread_barrier_wait(&m.begun);
    mrl_domain_destroy(m.domain);
    (void)pthread_barrier_wait(&m.over);
    assert_int_equal(pthread_join(thread, NULL), 0);
    meeting_fini(&m);
}

static void *join_and_end(void *context) {
    meeting *m = context;
    retire(join(m->domain), 64);
    (void)pthread_barrier_wait(&m->begun);
    return NULL;
}

static void threads_that_end_while_the_domain_does_are_safe(void **state) {
    (void)state;
    for (int round = 0; round < 100; round++) {
        meeting m;
        pthread_t threads[4];
        meeting_init(&m, make_domain(NULL), 5);
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, join_and_end, &m), 0);
        (void)pthread_barrier_wait(&m.begun);
        mrl_domain_destroy(m.domain);
        for (int i = 0; i < 4; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
        meeting_fini(&m);
    }
}

enum { VISIT_COUNT = 100 };

static void *work_briefly(void *context) {
    mrl_member *member = join(context);
    mrl_epoch_token token;
    mrl_member_enter(member, &token);
    for (int i = 0; i < 20; i++) retire(member, 64 + (size_t)i * 16 % 64);
    mrl_member_leave(member, &token);
    (void)mrl_domain_drain(member, 10);
    return NULL;
}

static void *start_brief_threads(void *context) {
    for (int i = 0; i < VISIT_COUNT; i++) run_thread(work_briefly, context);
    return NULL;
}

static void threads_joining_and_leaving_in_a_loop_leave_nothing(void **state) {
    mrl_domain *domain = make_domain(NULL);
    pthread_t threads[THREAD_COUNT];
    size_t records = 0;
    (void)state;
    for (int i = 0; i < THREAD_COUNT; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, start_brief_threads, domain), 0);
    for (int i = 0; i < THREAD_COUNT; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_null(domain->members);
    for (mrl_record *r = domain->records; r != NULL; r = r->next) records++;
    assert_in_range(records, 1, THREAD_COUNT);
    while (mrl_domain_drain(join(domain), 1000) != 0) continue;
    assert_int_equal(mrl_domain_bytes_waiting(domain), 0);
    assert_int_equal(mrl_domain_bytes_total(domain), 0);
    mrl_domain_destroy(domain);
}

static void many_domains_at_once_are_told_apart(void **state) {
    enum { DOMAIN_COUNT = 100 };
    mrl_domain *domains[DOMAIN_COUNT];
    mrl_member *members[DOMAIN_COUNT];
    (void)state;
    for (int i = 0; i < DOMAIN_COUNT; i++) {
        domains[i] = make_domain(NULL);
        members[i] = join(domains[i]);
        assert_non_null(mrl_alloc(members[i], MRL_FOR_LOG, 1000 * (size_t)(i + 1)));
    }
    for (int i = 0; i < DOMAIN_COUNT; i++) {
        int at = (i * 37) % DOMAIN_COUNT;
        assert_ptr_equal(mrl_member_join(domains[at]), members[at]);
        assert_ptr_equal(members[at]->domain, domains[at]);
        assert_int_equal(mrl_domain_bytes_total(domains[at]),
                         mrl_size_round(1000 * (size_t)(at + 1)));
    }
    for (int i = 0; i < DOMAIN_COUNT; i++) mrl_domain_destroy(domains[(i * 37) % DOMAIN_COUNT]);
    assert_null(mrl_self_get()->members);
}

static void count_member(void *context, mrl_member *member) {
    assert_non_null(member->domain);
    assert_int_not_equal(member->thread, 0);
    ++*(int *)context;
}

static void simulated_workers_have_members_of_their_own(void **state) {
    mrl_domain *domain = make_domain(NULL);
    mrl_self workers[3];
    int count = 0;
    (void)state;
    memset(workers, 0, sizeof workers);
    mrl_member *own = join(domain);
    for (int i = 0; i < 3; i++) {
        mrl_self_swap(&workers[i]);
        mrl_member *member = join(domain);
        assert_ptr_not_equal(member, own);
        assert_ptr_equal(mrl_member_join(domain), member);
        retire(member, 64);
    }
    mrl_self_swap(NULL);
    assert_ptr_equal(mrl_member_join(domain), own);
    mrl_member_each(domain, count_member, &count);
    assert_int_equal(count, 4);
    mrl_self_end(&workers[0]);
    mrl_self_end(&workers[1]);
    assert_null(workers[0].members);
    assert_int_equal(workers[1].member_serial, 0);
    count = 0;
    mrl_member_each(domain, count_member, &count);
    assert_int_equal(count, 2);
    assert_int_equal(mrl_domain_drain(own, 10), 3);
    mrl_domain_destroy(domain);
    mrl_self_end(&workers[2]);
    assert_null(workers[2].members);
}

/* ---- the inside view ---- */

static void sections_noted_show_the_oldest(void **state) {
    mrl_domain *domain = make_domain(NULL);
    mrl_member *member = join(domain);
    (void)state;
    assert_true(member->section_oldest_seq == UINT64_MAX);
    for (uint64_t seq = 10; seq < 40; seq++) {
        mrl_member_note_begin(member, seq);
        assert_int_equal(member->section_oldest_seq, 10);
    }
    assert_int_equal(member->sections_open, 30);
    assert_int_equal(member->sections_begun, 30);
    mrl_member_note_end(member, 10);
    assert_int_equal(member->section_oldest_seq, 11);
    /* All that are told apart end: what is left is known not to be older than the last known. */
    for (uint64_t seq = 11; seq < 10 + MRL_SECTION_DEPTH_MAX; seq++)
        mrl_member_note_end(member, seq);
    assert_true(member->section_oldest_seq <= 10 + MRL_SECTION_DEPTH_MAX);
    for (uint64_t seq = 10 + MRL_SECTION_DEPTH_MAX; seq < 40; seq++) {
        assert_true(member->section_oldest_seq <= seq);
        mrl_member_note_end(member, seq);
    }
    assert_int_equal(member->sections_open, 0);
    assert_true(member->section_oldest_seq == UINT64_MAX);
    mrl_domain_destroy(domain);
}

/* ---- fork ---- */

/* In the child no case of cmocka may fail: the exit status tells which line is wrong. */
static int child_of_fork(mrl_domain *domain) {
    static const mrl_domain_options none;
    mrl_domain *own;
    if (!mrl_domain_is_forked(domain)) return 1;
    if (mrl_domain_create(&none, &own) != MERLE_OK) return 2;
    if (mrl_domain_is_forked(own)) return 3;
    /* A domain of the child's own does not bring the parent's back. */
    if (!mrl_domain_is_forked(domain)) return 4;
    if (mrl_member_join(own) == NULL) return 5;
    if (mrl_member_join_slow(domain) != NULL) return 6;
    mrl_domain_destroy(domain);
    mrl_self_end(mrl_self_get());
    mrl_domain_destroy(own);
    return 0;
}

static void domain_in_a_forked_child_is_left_alone(void **state) {
    leavings l = {0};
    mrl_domain_options options = {.leaving = note_leaving, .leaving_context = &l};
    mrl_domain *domain = make_domain(&options);
    mrl_member *member = join(domain);
    int status = -1;
    (void)state;
    member->commits = &l;
    assert_false(mrl_domain_is_forked(domain));
    /* Held in the child for ever, by nobody: it must not be waited for there. */
    mrl_lock_take(&domain->member_lock);
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(20);
        _exit(child_of_fork(domain));
    }
    mrl_lock_drop(&domain->member_lock);
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_false(mrl_domain_is_forked(domain));
    assert_ptr_equal(mrl_member_join(domain), member);
    mrl_domain_destroy(domain);
    assert_int_equal(l.count, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#if !MRL_HEAP_IS_PLAIN
        cmocka_unit_test(memory_comes_from_the_own_arena_only),
        cmocka_unit_test(sizes_beyond_slabs_are_what_jemalloc_gives),
        cmocka_unit_test(member_at_rest_keeps_nothing),
        cmocka_unit_test(member_that_frees_many_sizes_keeps_little),
        cmocka_unit_test(destroyed_domain_gives_back_what_was_never_freed),
        cmocka_unit_test(large_domain_asks_for_huge_pages_if_it_shall),
#endif
        cmocka_unit_test(memory_is_aligned_and_counted_as_given),
        cmocka_unit_test(blocks_of_each_size_keep_their_bytes_and_counts),
        cmocka_unit_test(limit_is_exact_and_urgent_may_go_into_the_reserve),
        cmocka_unit_test(limit_with_many_threads_is_not_passed),
        cmocka_unit_test(refusal_refuses_every_kind_of_memory),
        cmocka_unit_test(counts_at_rest_are_exact_whoever_frees),
        cmocka_unit_test(blocks_are_drained_in_order_and_at_most_max),
        cmocka_unit_test(blocks_of_idle_and_of_ended_threads_are_drained_by_others),
        cmocka_unit_test(thread_that_ends_first_leaves_its_counts_and_blocks),
        cmocka_unit_test(thread_that_outlives_the_domain_drops_its_membership),
        cmocka_unit_test(thread_with_several_domains_keeps_those_that_live),
        cmocka_unit_test(threads_that_end_while_the_domain_does_are_safe),
        cmocka_unit_test(threads_joining_and_leaving_in_a_loop_leave_nothing),
        cmocka_unit_test(many_domains_at_once_are_told_apart),
        cmocka_unit_test(simulated_workers_have_members_of_their_own),
        cmocka_unit_test(sections_noted_show_the_oldest),
        cmocka_unit_test(domain_in_a_forked_child_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
