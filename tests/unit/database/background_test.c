/* tests/unit/database/background_test.c - merle's own thread gives unused memory back; the limit of
 * memory with many threads at once.
 *
 * Aim     The thread gives regions back of which nothing is in use, a second after the last time,
 *         not before, and not where nobody has committed since. With a limit, threads that fill a
 *         database at once never have more than it allows, and removals go on.
 * Method  A clock that the test moves by hand; the thread's rounds are counted, and waited for.
 * Blind   That the system takes the pages: resident memory is measured by the bench.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/store/stand.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "memory/memory_private.h"

static merle_stats_db stats_of(merle_db *db) {
    merle_stats_db stats = {.size = sizeof stats};
    assert_int_equal(merle_stats(db, &stats), MERLE_OK);
    return stats;
}

static merle_bytes key_of(char *out, uint32_t n) {
    (void)snprintf(out, 16, "k%08u", n);
    return merle_str(out);
}

/* ---- giving back ---- */

#if !MRL_HEAP_IS_PLAIN

#include "tests/unit/store/clock.h"

enum { DOCUMENTS = 3000, ROUNDS = 5, ROUNDS_MAX = 2000 };

/* The rounds that begin after this call, so many of them, are over. */
static void wait_rounds(merle_db *db, uint64_t count) {
    uint64_t from = stats_of(db).steps;
    while (stats_of(db).steps <= from + count) sched_yield();
}

static uint32_t empty_regions(merle_db *db) {
    uint32_t count = 0;
    for (int i = 0; i < MRL_SLAB_CLASS_COUNT; i++) {
        mrl_slab_class *of = &db->domain->heap.slabs[i];
        mrl_lock_take(&of->lock);
        count += of->empty_count;
        mrl_lock_drop(&of->lock);
    }
    return count;
}

static void fill_and_empty(stand *s) {
    merle_buffer doc = doc_of("{\"n\":1,\"text\":\"some text that makes it longer\"}");
    char key[16];
    for (uint32_t i = 0; i < DOCUMENTS; i++)
        must(s, merle_one_put(s->players, key_of(key, i), bytes_of(&doc), NULL));
    for (uint32_t i = 0; i < DOCUMENTS; i++)
        must(s, merle_one_remove(s->players, key_of(key, i), NULL));
    merle_buffer_free(&doc);
    while (stats_of(s->db).versions_waiting != 0 || stats_of(s->db).bytes_retired != 0)
        sched_yield();
    wait_rounds(s->db, 2);
}

static void wait_trimmed(merle_db *db) {
    int rounds = 0;
    for (; empty_regions(db) != 0 && rounds < ROUNDS_MAX; rounds++) wait_rounds(db, 1);
    assert_true(rounds < ROUNDS_MAX);
}

static void thread_gives_back_a_second_after_the_last_time(void **state) {
    const merle_options options = {.threads = MERLE_THREADS_BACKGROUND};
    const mrl_environment environment = {.clock = &test_clock};
    (void)state;
    stand s;
    memset(&s, 0, sizeof s);
    must(&s, mrl_db_open(NULL, &options, &environment, &s.db));
    must(&s, merle_collection_open(s.db, "players", NULL, &s.players));
    for (int times = 0; times < 3; times++) {
        fill_and_empty(&s);
        atomic_fetch_add(&clock_ns, times == 0 ? 999000000 : 999999999);
        wait_rounds(s.db, ROUNDS);
        assert_int_not_equal(empty_regions(s.db), 0);
        atomic_fetch_add(&clock_ns, times == 0 ? 1000000 : 1);
        wait_trimmed(s.db);
    }
    /* Nobody commits: what a reader frees stays where it is. */
    mrl_member *member = mrl_member_join(s.db->domain);
    mrl_free(member, MRL_FOR_OTHER, mrl_alloc(member, MRL_FOR_OTHER, 5000), 5000);
    atomic_fetch_add(&clock_ns, 5000000000);
    wait_rounds(s.db, ROUNDS);
    assert_int_not_equal(empty_regions(s.db), 0);
    stand_close(&s);
}

#endif

/* ---- the limit ---- */

enum { THREAD_COUNT = 8, MEMORY_MAX = 6 << 20 };

typedef struct filling {
    stand *s;
    uint32_t first;
    uint32_t put_count;
    merle_err err; /* of the first that was refused */
    _Atomic uint64_t *most;
} filling;

static void note_most(filling *f) {
    uint64_t bytes = stats_of(f->s->db).bytes_total, most = atomic_load(f->most);
    while (bytes > most && !atomic_compare_exchange_weak(f->most, &most, bytes)) continue;
}

static void *fill(void *context) {
    filling *f = context;
    merle_buffer doc = doc_of("{\"n\":1,\"text\":\"0123456789012345678901234567890123456789\"}");
    char key[16];
    for (;;) {
        merle_bytes at = key_of(key, f->first + f->put_count);
        f->err = merle_one_put(f->s->players, at, bytes_of(&doc), NULL);
        if (f->err != MERLE_OK) break;
        if (++f->put_count % 16 == 0) note_most(f);
    }
    merle_buffer_free(&doc);
    return NULL;
}

static void limit_is_kept_by_threads_that_fill_it_at_once(void **state) {
    /* Records that wait for their grace shall not be what refuses. */
    const merle_options options = {.threads = MERLE_THREADS_NONE,
                                   .ring_size = 64 << 10,
                                   .memory_max = MEMORY_MAX,
                                   .retired_max = MEMORY_MAX};
    pthread_t threads[THREAD_COUNT];
    filling fillings[THREAD_COUNT];
    _Atomic uint64_t most = 0;
    char key[16];
    (void)state;
    stand s;
    memset(&s, 0, sizeof s);
    must(&s, merle_open(NULL, &options, &s.db));
    must(&s, merle_collection_open(s.db, "players", NULL, &s.players));
    for (uint32_t i = 0; i < THREAD_COUNT; i++) {
        fillings[i] = (filling){&s, i * 1000000, 0, MERLE_OK, &most};
        assert_int_equal(pthread_create(&threads[i], NULL, fill, &fillings[i]), 0);
    }
    for (int i = 0; i < THREAD_COUNT; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < THREAD_COUNT; i++) note_most(&fillings[i]);
    /* What retiring takes may come from the reserve. */
    print_message("# %llu bytes of %d at the most\n", (unsigned long long)most, MEMORY_MAX);
    assert_in_range(most, MEMORY_MAX / 2, s.db->domain->heap.bytes_urgent_max);
    assert_in_range(most, MEMORY_MAX - 100000, MEMORY_MAX + THREAD_COUNT * 4096);
    for (uint32_t i = 0; i < THREAD_COUNT; i++) {
        assert_int_equal(fillings[i].err, MERLE_NO_MEMORY);
        for (uint32_t n = 0; n < fillings[i].put_count; n++)
            must(&s, merle_one_remove(s.players, key_of(key, fillings[i].first + n), NULL));
    }
    stand_settle(&s);
    put_json(&s, "again", "{\"n\":2}");
    stand_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#if !MRL_HEAP_IS_PLAIN
        cmocka_unit_test(thread_gives_back_a_second_after_the_last_time),
#endif
        cmocka_unit_test(limit_is_kept_by_threads_that_fill_it_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
