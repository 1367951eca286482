/* tests/unit/memory/ck_hs_contract_test.c - what memory/map_piece.c relies on in ck_hs, tried on
 * the installed one.
 *
 * Aim     another version of Concurrency Kit that keeps its word less well must fail here, not in a
 *         map.
 * Method  tables of 64-bit entries that are no pointers, looked for by a key of another type, as
 *         the map does it; hashes that collide; an allocator that counts and refuses; readers
 *         beside a writer.
 * Blind   to orders of memory that this processor does not make.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <ck_hs.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t test_seed;

static uint64_t random_next(uint64_t *state) {
    uint64_t x = (*state += 0x9e3779b97f4a7c15u);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    return x ^ (x >> 27);
}

/* ---- an allocator that counts, refuses, and keeps what was deferred ---- */

static struct {
    uint64_t taken_count, freed_count, deferred_count;
    size_t last_size;
    void *last;
    int refuses;
    void *deferred[256];
} heap;

static void *heap_take(size_t size) {
    if (heap.refuses) return NULL;
    heap.taken_count++;
    heap.last_size = size;
    heap.last = malloc(size);
    memset(heap.last, 0xa5, size); /* ck must not count on zeros */
    return heap.last;
}
static void *heap_retake(void *memory, size_t size_old, size_t size_new, bool defer) {
    (void)memory, (void)size_old, (void)size_new, (void)defer;
    fail_msg("ck_hs asked for a realloc");
    return NULL;
}
static void heap_free(void *memory, size_t size, bool defer) {
    (void)size;
    if (!defer) {
        heap.freed_count++;
        free(memory);
        return;
    }
    assert_true(heap.deferred_count < 256);
    heap.deferred[heap.deferred_count++] = memory;
}
static struct ck_malloc heap_functions = {heap_take, heap_retake, heap_free};

static void heap_end(void) {
    for (uint64_t i = 0; i < heap.deferred_count; i++) free(heap.deferred[i]);
    assert_int_equal(heap.taken_count, heap.freed_count + heap.deferred_count);
    memset(&heap, 0, sizeof(heap));
}

/* ---- entries: a key in bits 4-23, all other bits in use too; a generation in bits 0-3 ---- */

typedef struct wanted {
    uint64_t key;
} wanted;

static uint64_t entry_of(uint64_t key, uint64_t generation) {
    return 0xfedc000000000000u | key << 4 | generation;
}
static uint64_t key_of(uint64_t entry) {
    return entry >> 4 & 0xfffffu;
}
static void *as_pointer(uint64_t number) {
    return (void *)(uintptr_t)number;
}

/* All keys with the same rest modulo hash_count share a hash. */
static unsigned long hash_count = 1;
static unsigned long hash_of(uint64_t key) {
    return (key % hash_count) * 0x9e3779b97f4a7c15u;
}
static unsigned long hash_entry(const void *entry, unsigned long seed) {
    return hash_of(key_of((uintptr_t)entry)) + seed;
}

static _Thread_local uint64_t compared_count;
static bool compare(const void *in_table, const void *key) {
    compared_count++;
    return key_of((uintptr_t)in_table) == ((const wanted *)key)->key;
}

static void table_init(ck_hs_t *hs, unsigned long slot_count) {
    assert_true(ck_hs_init(hs, CK_HS_MODE_SPMC | CK_HS_MODE_DIRECT, hash_entry, compare,
                           &heap_functions, slot_count, 0));
}

typedef struct applying {
    uint64_t entry, existing, called_count;
    int replaces;
} applying;
static void *apply(void *existing, void *context) {
    applying *a = context;
    a->existing = (uintptr_t)existing;
    a->called_count++;
    return existing != NULL && !a->replaces ? existing : as_pointer(a->entry);
}
static bool table_apply(ck_hs_t *hs, uint64_t key, applying *a) {
    wanted w = {key};
    return ck_hs_apply(hs, hash_of(key), &w, apply, a);
}
static uint64_t table_add(ck_hs_t *hs, uint64_t key) {
    applying a = {.entry = entry_of(key, 0)};
    assert_true(table_apply(hs, key, &a));
    assert_int_equal(a.called_count, 1);
    return a.existing;
}
static uint64_t table_replace(ck_hs_t *hs, uint64_t key, uint64_t generation) {
    applying a = {.entry = entry_of(key, generation), .replaces = 1};
    assert_true(table_apply(hs, key, &a));
    assert_int_equal(a.called_count, 1);
    return a.existing;
}
static uint64_t table_remove(ck_hs_t *hs, uint64_t key) {
    wanted w = {key};
    return (uintptr_t)ck_hs_remove(hs, hash_of(key), &w);
}
static uint64_t table_get(ck_hs_t *hs, uint64_t key) {
    wanted w = {key};
    return (uintptr_t)ck_hs_get(hs, hash_of(key), &w);
}

/* Where map_piece.c's hint says that the slots are. */
static const uint64_t *table_slots(const ck_hs_t *hs) {
    return (const uint64_t *)(((uintptr_t)hs->map + 80 + 63) & ~(uintptr_t)63);
}
static size_t slot_of(const ck_hs_t *hs, uint64_t entry, size_t slot_count) {
    for (size_t i = 0; i < slot_count; i++)
        if (table_slots(hs)[i] == entry) return i;
    return SIZE_MAX;
}

/* ---- cases ---- */

static void entries_are_opaque_numbers(void **state) {
    (void)state;
    ck_hs_t hs;
    hash_count = 100;
    table_init(&hs, 8);
    for (uint64_t key = 0; key < 50; key++) assert_int_equal(table_add(&hs, key), 0);
    for (uint64_t key = 0; key < 50; key++) assert_int_equal(table_get(&hs, key), entry_of(key, 0));
    assert_int_equal(table_get(&hs, 50), 0);
    ck_hs_destroy(&hs);
    heap_end();
}

static void tables_have_the_sizes_that_hints_count_on(void **state) {
    (void)state;
    hash_count = 1000;
    for (unsigned long slot_count = 8; slot_count <= 4096; slot_count *= 2) {
        ck_hs_t hs;
        table_init(&hs, slot_count);
        assert_int_equal(heap.last_size, 80 + 8 * slot_count + 63);
        assert_ptr_equal(hs.map, heap.last);
        for (uint64_t key = 0; key < slot_count / 2; key++) {
            assert_int_equal(table_add(&hs, key), 0);
            assert_true(slot_of(&hs, entry_of(key, 0), slot_count) < slot_count);
        }
        /* The first of a hash lies in the line that the low bits of the hash name. */
        size_t line = (hash_of(0) & (slot_count - 1)) / 8;
        assert_int_equal(slot_of(&hs, entry_of(0, 0), slot_count) / 8, line);
        assert_int_equal(heap.taken_count, 1);
        ck_hs_destroy(&hs);
        heap_end();
    }
    assert_int_equal(sizeof(ck_hs_t), 48);
}

static void apply_adds_keeps_replaces(void **state) {
    (void)state;
    ck_hs_t hs;
    hash_count = 7;
    table_init(&hs, 8);
    for (uint64_t key = 0; key < 40; key++) {
        assert_int_equal(table_add(&hs, key), 0);
        assert_int_equal(table_add(&hs, key), entry_of(key, 0));
        assert_int_equal(table_replace(&hs, key, 3), entry_of(key, 0));
        assert_int_equal(table_add(&hs, key), entry_of(key, 3));
        assert_int_equal(table_get(&hs, key), entry_of(key, 3));
        assert_int_equal(ck_hs_count(&hs), key + 1);
    }
    for (uint64_t key = 0; key < 40; key++) {
        assert_int_equal(table_remove(&hs, key), entry_of(key, 3));
        assert_int_equal(table_remove(&hs, key), 0);
        assert_int_equal(ck_hs_count(&hs), 39 - key);
    }
    ck_hs_destroy(&hs);
    heap_end();
}

/* The trap that the map goes round: a key that is the same number as an entry is never compared. */
static void key_equal_to_an_entry_is_taken_for_it(void **state) {
    (void)state;
    ck_hs_t hs;
    wanted w = {.key = 77};
    hash_count = 1;
    table_init(&hs, 8);
    applying a = {.entry = (uintptr_t)&w};
    wanted other = {key_of(a.entry)};
    assert_true(ck_hs_apply(&hs, 0, &other, apply, &a));
    compared_count = 0;
    assert_ptr_equal(ck_hs_get(&hs, 0, &w), &w);
    assert_int_equal(compared_count, 0);
    ck_hs_destroy(&hs);
    heap_end();
}

static void add_after_colliding_removal_finds_the_live_one(void **state) {
    (void)state;
    ck_hs_t hs;
    hash_count = 1;
    table_init(&hs, 64);
    table_add(&hs, 1);
    table_add(&hs, 2);
    table_add(&hs, 3);
    assert_int_equal(table_remove(&hs, 1), entry_of(1, 0));
    assert_int_equal(table_add(&hs, 3), entry_of(3, 0));
    assert_int_equal(table_add(&hs, 2), entry_of(2, 0));
    assert_int_equal(ck_hs_count(&hs), 2);
    ck_hs_destroy(&hs);
    heap_end();
}

static void colliding_random_operations_match_an_array(void **state) {
    (void)state;
    enum { KEY_COUNT = 300 };
    for (hash_count = 5; hash_count < 300; hash_count *= 3) {
        ck_hs_t hs;
        uint64_t present[KEY_COUNT] = {0}, rng = test_seed + hash_count, count = 0;
        table_init(&hs, 8);
        for (int step = 0; step < 30000; step++) {
            uint64_t r = random_next(&rng), key = (r >> 8) % KEY_COUNT;
            if (r % 4 < 2) {
                assert_int_equal(table_add(&hs, key), present[key]);
                count += present[key] == 0;
                if (present[key] == 0) present[key] = entry_of(key, 0);
            } else if (r % 4 == 2) {
                assert_int_equal(table_remove(&hs, key), present[key]);
                count -= present[key] != 0;
                present[key] = 0;
            } else if (present[key] != 0) {
                assert_int_equal(table_replace(&hs, key, r >> 60), present[key]);
                present[key] = entry_of(key, r >> 60);
            }
            key = (r >> 32) % KEY_COUNT;
            assert_int_equal(table_get(&hs, key), present[key]);
            assert_int_equal(ck_hs_count(&hs), count);
        }
        ck_hs_destroy(&hs);
        heap_end();
    }
}

/* Where a reader that looks at the first line of its hash by itself must find an entry, if it is in
 * the table: before the first place that was never taken, in ck's order. */
static int line_shows(const ck_hs_t *hs, size_t slot_count, uint64_t key, uint64_t entry) {
    const uint64_t *slots = table_slots(hs);
    size_t at = hash_of(key) & (slot_count - 1), line = at & ~(size_t)7;
    for (size_t i = 0; i < 8; i++) {
        uint64_t there = slots[line + ((at + i) & 7)];
        if (there == entry) return 1;
        if (there == 0) return 0;
    }
    return 1; /* the line does not decide */
}

/* As the map uses tables: adding, removing, and replacing where the entry is. While nobody replaces
 * by ck, an entry stays in its place until it is removed. */
static void present_key_stays_and_lies_before_the_first_free_place(void **state) {
    (void)state;
    enum { SLOT_COUNT = 256, KEY_COUNT = 300, PRESENT_MAX = 192 };
    static const unsigned long hash_counts[] = {7, 40, 300, 100000};
    for (size_t n = 0; n < 4; n++) {
        ck_hs_t hs;
        size_t places[KEY_COUNT];
        uint64_t rng = test_seed + n, present[KEY_COUNT] = {0}, count = 0;
        hash_count = hash_counts[n];
        table_init(&hs, SLOT_COUNT);
        heap.refuses = 1;
        for (int step = 0; step < 4000; step++) {
            uint64_t r = random_next(&rng), key = (r >> 8) % KEY_COUNT;
            if (present[key] != 0 && r % 4 == 0) {
                assert_int_equal(table_remove(&hs, key), present[key]);
                present[key] = 0;
                count--;
            } else if (present[key] != 0) {
                present[key] = entry_of(key, r >> 60);
                ((uint64_t *)(uintptr_t)table_slots(&hs))[places[key]] = present[key];
            } else if (count < PRESENT_MAX) {
                applying a = {.entry = entry_of(key, 0)};
                if (!table_apply(&hs, key, &a)) continue;
                present[key] = a.entry;
                places[key] = slot_of(&hs, a.entry, SLOT_COUNT);
                count++;
            }
            for (key = 0; key < KEY_COUNT; key++) {
                if (present[key] == 0) continue;
                assert_int_equal(table_slots(&hs)[places[key]], present[key]);
                assert_true(line_shows(&hs, SLOT_COUNT, key, present[key]));
            }
        }
        heap.refuses = 0;
        ck_hs_destroy(&hs);
        heap_end();
    }
}

static void add_without_memory_changes_nothing(void **state) {
    (void)state;
    ck_hs_t hs;
    hash_count = 1;
    table_init(&hs, 8);
    heap.refuses = 1;
    uint64_t key = 0;
    for (;; key++) {
        applying a = {.entry = entry_of(key, 0)};
        if (!table_apply(&hs, key, &a)) break;
    }
    assert_int_equal(key, 8);
    assert_int_equal(ck_hs_count(&hs), 8);
    assert_int_equal(table_get(&hs, 8), 0);
    for (key = 0; key < 8; key++) assert_int_equal(table_get(&hs, key), entry_of(key, 0));
    heap.refuses = 0;
    assert_int_equal(table_add(&hs, 8), 0);
    for (key = 0; key < 9; key++) assert_int_equal(table_get(&hs, key), entry_of(key, 0));
    ck_hs_destroy(&hs);
    heap_end();
}

/* Growth: over a half, into twice the size; the old table is given back as deferred. */
static void growth_doubles_over_a_half_and_defers(void **state) {
    (void)state;
    ck_hs_t hs;
    hash_count = 100000;
    table_init(&hs, 1024);
    void *first = hs.map;
    for (uint64_t key = 0; key < 512; key++) table_add(&hs, key);
    assert_ptr_equal(hs.map, first);
    table_add(&hs, 512);
    assert_ptr_not_equal(hs.map, first);
    assert_int_equal(heap.last_size, 80 + 8 * 2048 + 63);
    assert_int_equal(heap.deferred_count, 1);
    assert_ptr_equal(heap.deferred[0], first);
    ck_hs_destroy(&hs);
    heap_end();
}

/* As the map fills tables up to three quarters: while there is no memory the table goes on as it
 * is, is found complete, and grows with the first entry that finds memory. */
static void refused_growth_goes_on_in_the_same_table(void **state) {
    (void)state;
    ck_hs_t hs;
    ck_hs_iterator_t iterator = CK_HS_ITERATOR_INITIALIZER;
    uint8_t met[769] = {0};
    void *found;
    hash_count = 100000;
    table_init(&hs, 1024);
    void *first = hs.map;
    heap.refuses = 1;
    for (uint64_t key = 0; key < 768; key++) assert_int_equal(table_add(&hs, key), 0);
    assert_ptr_equal(hs.map, first);
    assert_int_equal(ck_hs_count(&hs), 768);
    for (uint64_t key = 0; key < 768; key++)
        assert_int_equal(table_get(&hs, key), entry_of(key, 0));
    for (uint64_t key = 768; key < 5000; key++) assert_int_equal(table_get(&hs, key), 0);
    while (ck_hs_next_spmc(&hs, &iterator, &found)) met[key_of((uintptr_t)found)]++;
    for (uint64_t key = 0; key < 768; key++) assert_int_equal(met[key], 1);
    heap.refuses = 0;
    assert_int_equal(table_add(&hs, 768), 0);
    assert_ptr_not_equal(hs.map, first);
    assert_int_equal(heap.last_size, 80 + 8 * 2048 + 63);
    for (uint64_t key = 0; key < 769; key++)
        assert_int_equal(table_get(&hs, key), entry_of(key, 0));
    ck_hs_destroy(&hs);
    heap_end();
}

/* As the map fills tables that no reader has seen. */
static void put_unique_without_compare_fills(void **state) {
    (void)state;
    ck_hs_t hs;
    ck_hs_iterator_t iterator = CK_HS_ITERATOR_INITIALIZER;
    uint8_t met[400] = {0};
    void *key;
    hash_count = 50;
    table_init(&hs, 1024);
    hs.compare = NULL;
    for (uint64_t i = 0; i < 400; i++)
        assert_true(ck_hs_put_unique(&hs, hash_of(i), as_pointer(entry_of(i, 1))));
    hs.compare = compare;
    for (uint64_t i = 0; i < 400; i++) assert_int_equal(table_get(&hs, i), entry_of(i, 1));
    while (ck_hs_next_spmc(&hs, &iterator, &key)) met[key_of((uintptr_t)key)]++;
    for (uint64_t i = 0; i < 400; i++) assert_int_equal(met[i], 1);
    ck_hs_destroy(&hs);
    heap_end();
}

/* ---- readers beside a writer ---- */

enum { READER_COUNT = 3 };

static struct {
    ck_hs_t hs;
    _Atomic int stop;
    _Atomic uint64_t missed_count, find_count;
} beside;

static void *fixed_reader(void *unused) {
    uint64_t missed_count = 0, find_count = 0;
    (void)unused;
    for (; !beside.stop; find_count++)
        missed_count += table_get(&beside.hs, find_count % 100) != entry_of(find_count % 100, 0);
    beside.missed_count += missed_count;
    beside.find_count += find_count;
    return NULL;
}

/* write must not fail an assertion: the readers would go on. */
static void beside_run(void *(*read)(void *), void (*write)(void)) {
    pthread_t readers[READER_COUNT];
    beside.stop = 0;
    beside.missed_count = beside.find_count = 0;
    for (int i = 0; i < READER_COUNT; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read, NULL), 0);
    write();
    beside.stop = 1;
    for (int i = 0; i < READER_COUNT; i++) pthread_join(readers[i], NULL);
    print_message("# %llu finds\n", (unsigned long long)beside.find_count);
    assert_int_equal(beside.missed_count, 0);
}

static void write_growth(void) {
    for (uint64_t key = 100; key < 100000; key++) table_add(&beside.hs, key);
    for (int i = 0; i < 20; i++) (void)ck_hs_rebuild(&beside.hs);
}
static void key_is_never_missed_while_the_table_grows(void **state) {
    (void)state;
    hash_count = 1000003;
    table_init(&beside.hs, 8);
    for (uint64_t key = 0; key < 100; key++) table_add(&beside.hs, key);
    beside_run(fixed_reader, write_growth);
    assert_true(heap.deferred_count > 30);
    ck_hs_destroy(&beside.hs);
    heap_end();
}

static void read_seed(int argc, char **argv) {
    const char *text = getenv("MERLE_TEST_SEED");
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "--seed=", 7) == 0) text = argv[i] + 7;
    test_seed = text != NULL ? strtoull(text, NULL, 0) : 1;
    printf("# seed %llu\n", (unsigned long long)test_seed);
    fflush(stdout);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_opaque_numbers),
        cmocka_unit_test(tables_have_the_sizes_that_hints_count_on),
        cmocka_unit_test(apply_adds_keeps_replaces),
        cmocka_unit_test(key_equal_to_an_entry_is_taken_for_it),
        cmocka_unit_test(add_after_colliding_removal_finds_the_live_one),
        cmocka_unit_test(colliding_random_operations_match_an_array),
        cmocka_unit_test(present_key_stays_and_lies_before_the_first_free_place),
        cmocka_unit_test(add_without_memory_changes_nothing),
        cmocka_unit_test(growth_doubles_over_a_half_and_defers),
        cmocka_unit_test(refused_growth_goes_on_in_the_same_table),
        cmocka_unit_test(put_unique_without_compare_fills),
        cmocka_unit_test(key_is_never_missed_while_the_table_grows),
    };
    read_seed(argc, argv);
    return cmocka_run_group_tests_name("memory/ck_hs_contract", tests, NULL, NULL);
}
