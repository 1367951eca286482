/* tests/unit/subscribe/copy_test.c - the documents of one collection.
 *
 * Aim     A copy has what was put and not removed, whatever the order; what is older than a place
 *         is told from what is not; refused memory leaves it as it was.
 * Method  Random puts and removals of few keys beside a plain array, seeds printed.
 * Blind   Hashes that are equal by chance.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/random.h"
#include "subscribe/copy.h"
#include "tests/unit/seed.h"

enum { KEYS = 300 };

static uint64_t seed;

static merle_bytes key_of(uint32_t *number) {
    return merle_bytes_of(number, sizeof *number);
}

static void put(mrl_copy *copy, uint32_t key, uint64_t seq, uint32_t position) {
    mrl_copy_entry *entry, *old;
    merle_doc doc = {(const uint8_t *)&seq, sizeof seq, seq, NULL};
    assert_int_equal(mrl_copy_put(copy, key_of(&key), doc, position, 0, &entry, &old), MERLE_OK);
    assert_int_equal(mrl_copy_document(entry).seq, seq);
    free(old);
}

static void check(const mrl_copy *copy, const uint64_t *seqs) {
    size_t count = 0, cursor = 0, seen = 0;
    for (uint32_t key = 0; key < KEYS; key++) {
        const mrl_copy_entry *entry = mrl_copy_get(copy, key_of(&key));
        count += seqs[key] != 0;
        if (seqs[key] == 0)
            assert_null(entry);
        else
            assert_int_equal(entry->seq, seqs[key]);
    }
    assert_int_equal(mrl_copy_count(copy), count);
    while (mrl_copy_next(copy, &cursor) != NULL) seen++;
    assert_int_equal(seen, count);
}

static void random_puts_and_removals_are_as_in_an_array(void **state) {
    mrl_random random;
    mrl_copy *copy;
    uint64_t seqs[KEYS] = {0};
    (void)state;
    mrl_random_init(&random, seed);
    assert_int_equal(mrl_copy_create(mrl_random_next(&random), NULL, &copy), MERLE_OK);
    uint64_t empty = mrl_copy_bytes(copy);
    for (uint64_t seq = 1; seq < 20000; seq++) {
        uint32_t key = (uint32_t)mrl_random_below(&random, KEYS);
        if (mrl_random_below(&random, 5) < 2 + (seq / 3000) % 2) {
            free(mrl_copy_remove(copy, key_of(&key)));
            seqs[key] = 0;
        } else {
            put(copy, key, seq, 0);
            seqs[key] = seq;
        }
        if (seq % 500 == 0) check(copy, seqs);
    }
    for (uint32_t key = 0; key < KEYS; key++) free(mrl_copy_remove(copy, key_of(&key)));
    assert_int_equal(mrl_copy_count(copy), 0);
    assert_true(mrl_copy_bytes(copy) >= empty);
    mrl_copy_destroy(copy);
}

static void older_ones_are_taken_out_and_no_others(void **state) {
    mrl_copy *copy;
    mrl_copy_entry *list = NULL;
    uint64_t seqs[KEYS] = {0};
    size_t count = 0;
    (void)state;
    assert_int_equal(mrl_copy_create(7, NULL, &copy), MERLE_OK);
    for (uint32_t key = 0; key < KEYS; key++) {
        put(copy, key, 1 + key / 3, key % 3);
        /* Those of commit 40 stay from position 1 on. */
        seqs[key] = 1 + key / 3 > 40 || (1 + key / 3 == 40 && key % 3 >= 1) ? 1 + key / 3 : 0;
    }
    mrl_copy_remove_older(copy, 40, 1, &list);
    check(copy, seqs);
    for (; list != NULL; count++) {
        mrl_copy_entry *entry = list;
        list = entry->next;
        free(entry);
    }
    assert_int_equal(count, 3 * 39 + 1);
    mrl_copy_destroy(copy);
}

static int refuses_all(void *context, size_t size) {
    (void)context;
    (void)size;
    return 1;
}

static void refused_put_changes_nothing(void **state) {
    static const mrl_refusal refusal = {NULL, refuses_all};
    mrl_copy *copy;
    mrl_copy_entry *entry, *old;
    uint32_t key = 5;
    merle_doc doc = {(const uint8_t *)"\x80", 1, 9, NULL};
    (void)state;
    assert_int_equal(mrl_copy_create(7, NULL, &copy), MERLE_OK);
    put(copy, key, 3, 0);
    mrl_refusal_of_thread = &refusal;
    merle_err err = mrl_copy_put(copy, key_of(&key), doc, 0, 0, &entry, &old);
    mrl_refusal_of_thread = NULL;
    assert_int_equal(err, MERLE_NO_MEMORY);
    assert_null(old);
    assert_int_equal(mrl_copy_get(copy, key_of(&key))->seq, 3);
    mrl_copy_destroy(copy);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_puts_and_removals_are_as_in_an_array),
        cmocka_unit_test(older_ones_are_taken_out_and_no_others),
        cmocka_unit_test(refused_put_changes_nothing)};
    seed = seed_of(argc, argv);
    return cmocka_run_group_tests_name("copy", tests, NULL, NULL);
}
