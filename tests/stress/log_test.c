/* tests/stress/log_test.c
 *
 * Aim     A cursor gives every commit exactly once and in order, or tells which it missed,
 *         however fast the writers are; a copy that is kept up by a cursor equals the collection
 *         in the end.
 * Method  Writers number their changes; cursors check seqs, positions and numbers, one with a
 *         ring so small that it is overrun. A mirror applies what its cursor gives.
 * Blind   Effects of patches byte by byte (tests/model).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/model/seed.h"
#include "tests/stress/stress.h"

enum { KEY_COUNT = 64, BATCH = 64 };

typedef struct follower {
    merle_changes *cursor;
    uint64_t seq;      /* given completely up to here */
    uint32_t position; /* of the next change in the commit behind it, if it has begun */
    uint64_t gaps, changes;
    uint64_t open_seq; /* published when the cursor was opened */
    uint64_t lack_seq; /* the last commit behind it that lacks its documents */
    uint32_t lack_count;
    uint64_t mirror[KEY_COUNT]; /* number under each key; 0: none */
} follower;

static void writes(stress_worker *w) {
    merle_commit *commit;
    merle_err err = merle_begin(w->s->db, &commit);
    STRESS_EXPECT(w->s, err == MERLE_OK);
    if (err != MERLE_OK) return;
    for (uint64_t i = mrl_random_below(&w->random, 4); i < 4 && err == MERLE_OK; i++) {
        merle_key key_bytes;
        uint8_t bytes[STRESS_DOC_SIZE];
        uint64_t key = mrl_random_below(&w->random, KEY_COUNT);
        merle_bytes at = merle_key_u64(&key_bytes, key);
        switch (mrl_random_below(&w->random, 4)) {
        case 0:
            err = merle_patch(commit, w->s->collection, at, MERLE_SET_INT("extra", (int64_t)i));
            break;
        case 1:
            err = merle_remove(commit, w->s->collection, at);
            break;
        default:
            err = merle_put(commit, w->s->collection, at,
                            stress_doc(bytes, key, 1 + mrl_random_below(&w->random, 1 << 30), i));
        }
    }
    STRESS_EXPECT(w->s, err == MERLE_OK);
    err = merle_end(commit, NULL);
    STRESS_EXPECT(w->s, err == MERLE_OK || err == MERLE_NOT_FOUND);
}

/* ---- following ---- */

static uint64_t key_number(merle_bytes key) {
    uint64_t number = 0;
    for (size_t i = 0; i < key.size; i++) number = number << 8 | ((const uint8_t *)key.data)[i];
    return number;
}

/* A commit that was under way when the first cursor was opened may not have seen that documents
 * are wanted: at most one a thread. */
static void lack_document(stress *s, follower *f, const merle_change *change) {
    STRESS_EXPECT(s, change->kind == MERLE_CHANGE_PATCH);
    if (change->seq <= f->open_seq || change->seq == f->lack_seq) return;
    f->lack_seq = change->seq;
    f->lack_count++;
    STRESS_EXPECT(s, f->lack_count <= STRESS_THREAD_MAX);
}

static void follow_document(stress *s, follower *f, const merle_change *change) {
    uint64_t key = key_number(change->key), number = 0, more;
    STRESS_EXPECT(s, key < KEY_COUNT);
    if (key >= KEY_COUNT) return;
    if (change->kind == MERLE_CHANGE_REMOVE) {
        STRESS_EXPECT(s, f->gaps != 0 || f->mirror[key] != 0);
        f->mirror[key] = 0;
        return;
    }
    if (change->after.data == NULL) {
        lack_document(s, f, change);
        return;
    }
    STRESS_EXPECT(s, stress_doc_read(change->after, key, &number, &more));
    /* A patch leaves the number as it was. */
    STRESS_EXPECT(s, f->gaps != 0 || change->kind == MERLE_CHANGE_PUT || f->mirror[key] == number);
    f->mirror[key] = number;
}

static void follow_change(stress *s, follower *f, const merle_change *change) {
    int begins = f->position == 0 && change->position == 0;
    int goes_on = f->position != 0 && change->position == f->position;
    STRESS_EXPECT(s, change->seq == f->seq + 1 && (begins || goes_on));
    f->position = change->position + 1;
    f->changes++;
    if (f->position == change->count) {
        f->seq = change->seq;
        f->position = 0;
    }
    if (change->kind <= MERLE_CHANGE_REMOVE) follow_document(s, f, change);
}

/* Gives how many changes came; a gap counts as one. */
static size_t follow_some(stress *s, follower *f) {
    merle_change changes[BATCH];
    size_t count = 0;
    merle_err err = merle_changes_next(f->cursor, changes, BATCH, &count);
    if (err == MERLE_GAP) {
        uint64_t first = 0, last = 0;
        merle_changes_gap(f->cursor, &first, &last);
        STRESS_EXPECT(s, first == f->seq + 1 && last >= first);
        f->seq = last;
        f->position = 0;
        f->gaps++;
        return 1;
    }
    STRESS_EXPECT(s, err == MERLE_OK);
    for (size_t i = 0; i < count; i++) follow_change(s, f, &changes[i]);
    return count;
}

static follower *follower_of(stress_worker *w) {
    follower *f = w->own;
    if (f != NULL) return f;
    w->own = f = calloc(1, sizeof *f);
    if (f == NULL) abort();
    merle_changes_options options = {sizeof options, 1, NULL, 1, 0};
    f->seq = 1; /* the collection's definition */
    STRESS_EXPECT(w->s, merle_changes_open(w->s->db, &options, &f->cursor) == MERLE_OK);
    merle_section section;
    STRESS_EXPECT(w->s, merle_section_begin(w->s->db, &section) == MERLE_OK);
    f->open_seq = merle_section_seq(&section);
    STRESS_EXPECT(w->s, merle_section_end(&section) == MERLE_OK);
    return f;
}

/* At the end, when nobody writes any more, the rest is read: by the thread that the cursor
 * belongs to. */
static void finish(stress_worker *w, follower *f) {
    while (follow_some(w->s, f) != 0) continue;
    STRESS_EXPECT(w->s, merle_changes_position(f->cursor) == f->seq);
    merle_changes_close(f->cursor);
    test_say("%llu changes followed, %llu gaps", (unsigned long long)f->changes,
             (unsigned long long)f->gaps);
    f->cursor = NULL;
}

static void follows(stress_worker *w) {
    follower *f = follower_of(w);
    if (f->cursor == NULL) return;
    (void)follow_some(w->s, f);
    if (atomic_load(&w->s->is_over)) finish(w, f);
}

/* Never ends before the run is over, so that the last call always finishes. */
static void follows_until_over(stress_worker *w) {
    while (!atomic_load(&w->s->is_over)) follows(w);
    follower *f = follower_of(w);
    if (f->cursor != NULL) finish(w, f);
}

static void sleeps_and_follows_until_over(stress_worker *w) {
    while (!atomic_load(&w->s->is_over)) {
        uint64_t calls = mrl_random_below(&w->random, 4);
        for (uint64_t i = 0; i < calls; i++) follows(w);
        /* Falls behind, without sleeping: reads something else for a while. */
        for (int i = 0; i < 20000; i++) {
            merle_section section;
            STRESS_EXPECT(w->s, merle_section_begin(w->s->db, &section) == MERLE_OK);
            STRESS_EXPECT(w->s, merle_section_end(&section) == MERLE_OK);
        }
    }
    follower *f = follower_of(w);
    if (f->cursor != NULL) finish(w, f);
}

static void follow(uint32_t thread_count, merle_threads threads) {
    stress s;
    merle_options options = {.threads = threads, .ring_size = 64 << 10};
    memset(&s, 0, sizeof s);
    assert_int_equal(merle_open(NULL, &options, &s.db), MERLE_OK);
    assert_int_equal(merle_collection_open(s.db, "things", NULL, &s.collection), MERLE_OK);
    const stress_job jobs[] = {{"commits", writes, thread_count - 2},
                               {"cursors", follows_until_over, 1},
                               {"slow cursors", sleeps_and_follows_until_over, 1},
                               {NULL, NULL, 0}};
    stress_run(&s, jobs, stress_time_ms());
    stress_close(&s);
}

static void cursor_gives_every_commit_once_in_order_or_tells(void **state) {
    (void)state;
    stress_shapes(follow);
}

/* ---- a mirror ---- */

static void compare_mirror(stress *s, const follower *f) {
    merle_section section;
    assert_int_equal(merle_section_begin(s->db, &section), MERLE_OK);
    assert_int_equal(merle_section_seq(&section), f->seq);
    for (uint64_t i = 0; i < KEY_COUNT; i++) {
        merle_key key;
        merle_doc doc;
        uint64_t number = 0, more;
        if (merle_get(&section, s->collection, merle_key_u64(&key, i), &doc) == MERLE_OK)
            assert_true(stress_doc_read(doc, i, &number, &more));
        assert_int_equal(number, f->mirror[i]);
    }
    assert_int_equal(merle_section_end(&section), MERLE_OK);
}

static void mirror(uint32_t thread_count, merle_threads threads) {
    stress s;
    follower f;
    merle_changes_options wants = {sizeof wants, 1, NULL, 1, 0};
    merle_options options = {.threads = threads, .ring_size = 64u << 20};
    memset(&s, 0, sizeof s);
    memset(&f, 0, sizeof f);
    assert_int_equal(merle_open(NULL, &options, &s.db), MERLE_OK);
    assert_int_equal(merle_collection_open(s.db, "things", NULL, &s.collection), MERLE_OK);
    f.seq = 1;
    assert_int_equal(merle_changes_open(s.db, &wants, &f.cursor), MERLE_OK);
    const stress_job jobs[] = {{"commits", writes, thread_count}, {NULL, NULL, 0}};
    /* Short enough that the ring holds it all. */
    stress_run(&s, jobs, 50);
    while (follow_some(&s, &f) != 0) continue;
    test_say("%llu changes mirrored, %llu gaps", (unsigned long long)f.changes,
             (unsigned long long)f.gaps);
    if (f.gaps == 0) compare_mirror(&s, &f);
    merle_changes_close(f.cursor);
    stress_close(&s);
}

static void mirror_kept_by_a_cursor_equals_the_collection(void **state) {
    (void)state;
    stress_shapes(mirror);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cursor_gives_every_commit_once_in_order_or_tells),
        cmocka_unit_test(mirror_kept_by_a_cursor_equals_the_collection),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
