/* tests/unit/memory/map_test.c - the map of pieces against a plain array, without memory, and under
 * readers.
 *
 * Aim     the map holds exactly what was added, whatever the hashes; it splits, merges and gives
 *         back; no insert copies more than MRL_PIECE_MAX entries; a refused allocation changes
 *         nothing; readers never miss what is there all along.
 * Method  random operations beside an array (the twin), with hashes that spread, cluster or are all
 *         one; every allocation of many inserts refused in turn; one writer and three readers with
 *         threads.
 * Blind   to orders of memory that this processor does not make, and to races that did not happen
 *         in this run. The thread sanitizer sees more of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "memory/domain.h"
#include "memory/map.h"

static uint64_t test_seed;

static uint64_t random_next(uint64_t *state) {
    uint64_t x = (*state += 0x9e3779b97f4a7c15u);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* ---- a domain that can refuse ---- */

typedef struct fixture {
    mrl_refusal refusal;
    _Atomic uint64_t asked_count; /* reader threads ask too, when they become members */
    uint64_t refuse_at;           /* this one is refused; 0: none */
    int refuses_all;
    mrl_domain *domain;
    mrl_member *member;
} fixture;

static int fixture_refuses(void *context, size_t size) {
    fixture *f = context;
    (void)size;
    return f->refuses_all || ++f->asked_count == f->refuse_at;
}

static void fixture_begin(fixture *f) {
    mrl_domain_options options = {0};
    memset(f, 0, sizeof(*f));
    f->refusal.context = f;
    f->refusal.refuses = fixture_refuses;
    options.refusal = &f->refusal;
    assert_int_equal(mrl_domain_create(&options, &f->domain), MERLE_OK);
    f->member = mrl_member_join(f->domain);
    assert_non_null(f->member);
}
static void fixture_drain(fixture *f) {
    for (int i = 0; i < 8; i++) {
        mrl_epoch_advance(f->member);
        mrl_domain_drain(f->member, SIZE_MAX);
    }
}
/* All that the maps took must have come back. */
static void fixture_end(fixture *f) {
    fixture_drain(f);
    assert_int_equal(mrl_domain_bytes(f->domain, MRL_FOR_TABLES), 0);
    mrl_domain_destroy(f->domain);
}

/* ---- keys and their twin ---- */

typedef enum hashing { SPREAD, CLUSTERED, ONE_HASH, ONE_TAG } hashing;

typedef struct item {
    _Alignas(16) uint32_t key;
    uint32_t generation;
    uint64_t hash;
} item;

typedef struct twin {
    mrl_map map;
    mrl_map_type type;
    hashing hashing;
    uint32_t key_count;
    uint32_t present_count;
    uint8_t *present;    /* 0: not there, else 1 + generation */
    uint32_t *met_count; /* scratch for walks */
    item *items;         /* two a key */
} twin;

static uint64_t key_hash(hashing how, uint32_t key) {
    uint64_t state = key + 77;
    uint64_t hash = random_next(&state);
    switch (how) {
    case CLUSTERED: /* a few top bits, few tags */
        return (hash & 0xe0000fffu) | (hash & 0xffffffff00000000u);
    case ONE_HASH:
        return (hash & 0xffffffff00000000u) | 0x12345678u;
    case ONE_TAG: /* twenty bits all the same: ck_hs gets one hash for all POINTERS */
        return (hash & 0xfffffffffff00000u) | 0x45678u;
    case SPREAD:
        break;
    }
    return hash;
}

static uint32_t item_rehash(void *context, uint64_t entry) {
    (void)context;
    return (uint32_t)((const item *)mrl_entry_to_pointer(entry))->hash;
}

typedef struct key_probe {
    mrl_probe probe;
    uint32_t key;
} key_probe;

static int pair_matches(const mrl_probe *probe, uint64_t entry) {
    return mrl_entry_to_number(entry) / 2 == ((const key_probe *)(const void *)probe)->key;
}
static int item_matches(const mrl_probe *probe, uint64_t entry) {
    const item *found = mrl_entry_to_pointer(entry);
    return found->key == ((const key_probe *)(const void *)probe)->key;
}

static void twin_init(twin *t, mrl_map_kind kind, hashing how, uint32_t key_count) {
    memset(t, 0, sizeof(*t));
    t->type.kind = kind;
    t->type.rehash = kind == MRL_MAP_POINTERS ? item_rehash : NULL;
    t->hashing = how;
    t->key_count = key_count;
    t->present = calloc(key_count, 1);
    t->met_count = calloc(key_count, sizeof(uint32_t));
    t->items = aligned_alloc(16, 2 * (size_t)key_count * sizeof(item));
    for (uint32_t i = 0; i < 2 * key_count; i++)
        t->items[i] = (item){.key = i / 2, .generation = i % 2, .hash = key_hash(how, i / 2)};
    mrl_map_init(&t->map, &t->type);
}
static void twin_fini(twin *t, fixture *f) {
    mrl_map_fini(&t->map, f->member);
    free(t->present);
    free(t->met_count);
    free(t->items);
}
static uint64_t twin_entry(const twin *t, uint32_t key, uint32_t generation) {
    uint64_t hash = key_hash(t->hashing, key);
    if (t->type.kind == MRL_MAP_PAIRS) return mrl_entry_pair(2 * key + generation, hash);
    return mrl_entry_pointer(&t->items[2 * key + generation], hash);
}
static key_probe twin_probe(const twin *t, uint32_t key) {
    key_probe probe = {.key = key};
    probe.probe.hash = key_hash(t->hashing, key);
    probe.probe.matches = t->type.kind == MRL_MAP_PAIRS ? pair_matches : item_matches;
    return probe;
}
/* What must be found for a key. */
static uint64_t twin_wanted(const twin *t, uint32_t key) {
    return t->present[key] == 0 ? 0 : twin_entry(t, key, t->present[key] - 1u);
}

static merle_err twin_add(twin *t, fixture *f, uint32_t key) {
    key_probe probe = twin_probe(t, key);
    uint64_t existing = 1;
    merle_err err = mrl_map_add(&t->map, f->member, &probe.probe, twin_entry(t, key, 0), &existing);
    if (err != MERLE_OK) {
        assert_int_equal(err, MERLE_NO_MEMORY);
        assert_int_equal(existing, 0);
        return err;
    }
    assert_int_equal(existing, twin_wanted(t, key));
    if (existing == 0) {
        t->present[key] = 1;
        t->present_count++;
    }
    return MERLE_OK;
}
static void twin_replace(twin *t, uint32_t key) {
    key_probe probe = twin_probe(t, key);
    if (t->present[key] == 0) return;
    uint32_t generation = t->present[key] == 1;
    mrl_map_replace(&t->map, probe.probe.hash, twin_wanted(t, key), twin_entry(t, key, generation));
    t->present[key] = (uint8_t)(1 + generation);
}
static void twin_remove(twin *t, fixture *f, uint32_t key) {
    key_probe probe = twin_probe(t, key);
    assert_int_equal(mrl_map_remove(&t->map, f->member, &probe.probe), twin_wanted(t, key));
    t->present_count -= t->present[key] != 0;
    t->present[key] = 0;
}
static void twin_find(const twin *t, uint32_t key) {
    key_probe probe = twin_probe(t, key);
    mrl_map_prefetch(&t->map, probe.probe.hash);
    assert_int_equal(mrl_map_find(&t->map, &probe.probe), twin_wanted(t, key));
}

static int twin_meet(void *context, uint64_t entry) {
    twin *t = context;
    uint32_t key = t->type.kind == MRL_MAP_PAIRS ? mrl_entry_to_number(entry) / 2
                                                 : ((item *)mrl_entry_to_pointer(entry))->key;
    assert_true(key < t->key_count);
    assert_int_equal(entry, twin_wanted(t, key));
    t->met_count[key]++;
    return 0;
}
/* Everything there is, both ways. */
static void twin_compare(twin *t) {
    assert_ptr_equal(mrl_map_check(&t->map), NULL);
    assert_int_equal(mrl_map_count(&t->map), t->present_count);
    memset(t->met_count, 0, t->key_count * sizeof(uint32_t));
    assert_int_equal(mrl_map_each(&t->map, twin_meet, t), 0);
    for (uint32_t key = 0; key < t->key_count; key++) {
        assert_int_equal(t->met_count[key], t->present[key] != 0);
        twin_find(t, key);
    }
}

/* ---- cases ---- */

static void map_empty_finds_nothing(void **state) {
    (void)state;
    fixture f;
    twin t;
    mrl_map_stats stats;
    fixture_begin(&f);
    twin_init(&t, MRL_MAP_PAIRS, SPREAD, 10);
    twin_compare(&t);
    twin_remove(&t, &f, 3);
    mrl_map_stat(&t.map, &stats);
    assert_int_equal(stats.bytes + stats.entries + stats.pieces, 0);
    assert_int_equal(mrl_map_clear_some(&t.map, f.member, 5), 0);
    twin_fini(&t, &f);
    fixture_end(&f);
}

static void map_add_twice_gives_the_first(void **state) {
    (void)state;
    fixture f;
    twin t;
    fixture_begin(&f);
    twin_init(&t, MRL_MAP_POINTERS, SPREAD, 3000);
    for (uint32_t key = 0; key < t.key_count; key++) {
        assert_int_equal(twin_add(&t, &f, key), MERLE_OK);
        twin_replace(&t, key);
        assert_int_equal(twin_add(&t, &f, key), MERLE_OK);
        assert_int_equal(mrl_map_count(&t.map), key + 1);
    }
    twin_compare(&t);
    twin_fini(&t, &f);
    fixture_end(&f);
}

/* Phases of growing and of shrinking, so that pieces split, merge, wear out and vanish. */
static void twin_run(mrl_map_kind kind, hashing how, uint32_t key_count, uint32_t step_count) {
    fixture f;
    twin t;
    uint64_t rng = test_seed + kind * 7 + how;
    fixture_begin(&f);
    twin_init(&t, kind, how, key_count);
    for (uint32_t step = 0; step < step_count; step++) {
        uint64_t r = random_next(&rng);
        uint32_t key = (uint32_t)((r >> 32) % key_count);
        uint32_t adds_of_8 = step / (step_count / 8) % 2 ? 1 : 5;
        if ((r & 7) < adds_of_8)
            assert_int_equal(twin_add(&t, &f, key), MERLE_OK);
        else if ((r & 7) < 6)
            twin_remove(&t, &f, key);
        else if ((r & 7) < 7)
            twin_replace(&t, key);
        else
            twin_find(&t, key);
        if (step % (step_count / 16) == 0) twin_compare(&t);
        if (step % 1024 == 0) fixture_drain(&f);
    }
    twin_compare(&t);
    for (uint32_t key = 0; key < key_count; key++) twin_remove(&t, &f, key);
    twin_compare(&t);
    assert_ptr_equal(t.map.directory, NULL);
    fixture_drain(&f);
    assert_int_equal(mrl_domain_bytes(f.domain, MRL_FOR_TABLES), 0);
    if (how == SPREAD && key_count > 10000) {
        assert_true(mrl_domain_count(f.domain, MRL_N_SPLITS) > 10);
        assert_true(mrl_domain_count(f.domain, MRL_N_MERGES) > 10);
        assert_true(mrl_domain_count(f.domain, MRL_N_REBUILDS) > 0);
        assert_true(mrl_domain_count(f.domain, MRL_N_COPIED_MAX) <= MRL_PIECE_MAX);
    }
    twin_fini(&t, &f);
    fixture_end(&f);
}
static void map_pairs_random_operations_match_twin(void **state) {
    (void)state;
    twin_run(MRL_MAP_PAIRS, SPREAD, 40000, 600000);
    twin_run(MRL_MAP_PAIRS, SPREAD, 40, 20000);
}
static void map_pointers_random_operations_match_twin(void **state) {
    (void)state;
    twin_run(MRL_MAP_POINTERS, SPREAD, 40000, 600000);
    twin_run(MRL_MAP_POINTERS, SPREAD, 700, 60000);
}
static void map_clustered_hashes_match_twin(void **state) {
    (void)state;
    twin_run(MRL_MAP_PAIRS, CLUSTERED, 20000, 100000);
    twin_run(MRL_MAP_POINTERS, CLUSTERED, 20000, 100000);
}
static void map_one_hash_matches_twin(void **state) {
    (void)state;
    twin_run(MRL_MAP_PAIRS, ONE_HASH, 700, 8000);
    twin_run(MRL_MAP_POINTERS, ONE_HASH, 700, 8000);
    twin_run(MRL_MAP_POINTERS, ONE_TAG, 700, 8000);
}

/* More entries of one hash than a piece should hold, with others beside them. */
static void map_one_hash_beyond_a_piece_still_works(void **state) {
    (void)state;
    fixture f;
    twin same, other;
    mrl_map_stats stats;
    fixture_begin(&f);
    twin_init(&same, MRL_MAP_PAIRS, ONE_HASH, 2500);
    twin_init(&other, MRL_MAP_PAIRS, SPREAD, 2500);
    for (uint32_t key = 0; key < 2500; key++) {
        key_probe probe = twin_probe(&other, key);
        uint64_t existing;
        assert_int_equal(twin_add(&same, &f, key), MERLE_OK);
        if (key >= 500) continue;
        probe.key += 2500;
        assert_int_equal(mrl_map_add(&same.map, f.member, &probe.probe,
                                     mrl_entry_pair(2 * (2500 + key), probe.probe.hash), &existing),
                         MERLE_OK);
        assert_int_equal(existing, 0);
    }
    assert_ptr_equal(mrl_map_check(&same.map), NULL);
    mrl_map_stat(&same.map, &stats);
    assert_int_equal(stats.entries, 3000);
    assert_true(stats.directory_size <= 3000 / 16);
    for (uint32_t key = 0; key < 2500; key++) {
        key_probe probe = twin_probe(&other, key);
        twin_find(&same, key);
        probe.key += 2500;
        assert_int_equal(mrl_map_find(&same.map, &probe.probe) != 0, key < 500);
        assert_int_equal(mrl_map_remove(&same.map, f.member, &probe.probe) != 0, key < 500);
    }
    twin_compare(&same);
    for (uint32_t key = 0; key < 2500; key++) twin_remove(&same, &f, key);
    twin_fini(&same, &f);
    twin_fini(&other, &f);
    fixture_end(&f);
}

static void map_growth_copies_few_entries_an_insert(void **state) {
    (void)state;
    fixture f;
    twin t;
    mrl_map_stats stats;
    fixture_begin(&f);
    twin_init(&t, MRL_MAP_PAIRS, SPREAD, 300000);
    for (uint32_t key = 0; key < t.key_count; key++) {
        uint64_t before = mrl_domain_count(f.domain, MRL_N_COPIED);
        assert_int_equal(twin_add(&t, &f, key), MERLE_OK);
        assert_true(mrl_domain_count(f.domain, MRL_N_COPIED) - before <= MRL_PIECE_MAX);
        if (key % 4096 == 0) fixture_drain(&f);
    }
    mrl_map_stat(&t.map, &stats);
    /* Full pieces would be 300; half full ones, 600. */
    assert_in_range(stats.pieces, 300, 700);
    assert_in_range(stats.directory_size, stats.pieces, 4 * stats.pieces);
    assert_true(mrl_domain_count(f.domain, MRL_N_COPIED_MAX) <= MRL_PIECE_MAX);
    print_message("# %.2f entries copied for each one added\n",
                  (double)mrl_domain_count(f.domain, MRL_N_COPIED) / t.key_count);
    /* Ten a hundred stay: the map must not stay as large as it was. */
    for (uint32_t key = 0; key < t.key_count; key++)
        if (key % 10 != 0) twin_remove(&t, &f, key);
    twin_compare(&t);
    uint64_t pieces_before = stats.pieces;
    mrl_map_stat(&t.map, &stats);
    assert_true(stats.pieces * 3 < pieces_before);
    assert_true(stats.directory_size <= 4 * stats.pieces);
    assert_true(stats.bytes < 30000 * 80);
    twin_fini(&t, &f);
    fixture_end(&f);
}

/* Each insert is tried with its first allocation refused, then its second, and so on until it
 * succeeds. */
static void refuse_in_turn(mrl_map_kind kind, hashing how, uint32_t key_count) {
    fixture f;
    twin t;
    uint32_t refused_count = 0;
    fixture_begin(&f);
    twin_init(&t, kind, how, key_count);
    for (uint32_t key = 0; key < key_count; key++) {
        for (uint64_t n = 1;; n++) {
            f.asked_count = 0;
            f.refuse_at = n;
            merle_err err = twin_add(&t, &f, key);
            int was_refused = f.asked_count >= n;
            f.refuse_at = 0;
            refused_count += was_refused;
            if (was_refused) twin_compare(&t);
            if (err == MERLE_OK) break;
            assert_true(was_refused);
        }
        if (key % 64 == 0) fixture_drain(&f);
    }
    assert_true(refused_count > 10);
    /* Removals never fail, though nothing can be copied any more. */
    f.refuses_all = 1;
    for (uint32_t key = 0; key < key_count; key += 2) twin_remove(&t, &f, key);
    twin_compare(&t);
    f.refuses_all = 0;
    for (uint32_t key = 1; key < key_count; key += 2) twin_remove(&t, &f, key);
    twin_compare(&t);
    twin_fini(&t, &f);
    fixture_end(&f);
}
static void map_refused_memory_changes_nothing(void **state) {
    (void)state;
    refuse_in_turn(MRL_MAP_POINTERS, SPREAD, 6000);
    refuse_in_turn(MRL_MAP_PAIRS, CLUSTERED, 4000);
    refuse_in_turn(MRL_MAP_PAIRS, ONE_HASH, 1300);
}

/* When nothing can be had at all, what is there stays usable until a table is really full. */
static void map_without_any_memory_keeps_what_it_has(void **state) {
    (void)state;
    fixture f;
    twin t;
    fixture_begin(&f);
    twin_init(&t, MRL_MAP_POINTERS, SPREAD, 5000);
    for (uint32_t key = 0; key < 3000; key++) assert_int_equal(twin_add(&t, &f, key), MERLE_OK);
    f.refuses_all = 1;
    for (uint32_t key = 3000; key < 5000; key++) (void)twin_add(&t, &f, key);
    for (uint32_t key = 0; key < 5000; key++) twin_replace(&t, key);
    twin_compare(&t);
    for (uint32_t key = 0; key < 5000; key++) twin_remove(&t, &f, key);
    twin_compare(&t);
    f.refuses_all = 0;
    twin_fini(&t, &f);
    fixture_end(&f);
}

static void map_clear_some_frees_a_few_pieces_a_call(void **state) {
    (void)state;
    fixture f;
    twin t;
    mrl_map_stats stats;
    fixture_begin(&f);
    twin_init(&t, MRL_MAP_PAIRS, SPREAD, 20000);
    for (uint32_t key = 0; key < t.key_count; key++)
        assert_int_equal(twin_add(&t, &f, key), MERLE_OK);
    mrl_map_stat(&t.map, &stats);
    size_t freed_count = 0, n;
    while ((n = mrl_map_clear_some(&t.map, f.member, 3)) != 0) {
        assert_true(n <= 3);
        freed_count += n;
    }
    assert_int_equal(freed_count, stats.pieces);
    assert_int_equal(mrl_map_count(&t.map), 0);
    assert_ptr_equal(t.map.directory, NULL);
    twin_fini(&t, &f);
    fixture_end(&f);
}

/* ck_hs believes that an entry which is the same number as the key is what is looked for. */
static void pair_equal_to_a_probe_address_is_not_believed(void **state) {
    (void)state;
    fixture f;
    twin t;
    key_probe probe = {.probe.matches = pair_matches, .key = 5};
    uint64_t address = (uint64_t)(uintptr_t)&probe, existing;
    fixture_begin(&f);
    twin_init(&t, MRL_MAP_PAIRS, SPREAD, 10);
    /* The entry that is the address itself, and the one that is the next variant of it. */
    for (uint64_t variant = 0; variant < 2; variant++) {
        uint64_t evil = address + variant;
        key_probe adder = {.probe = {evil >> 32, pair_matches}, .key = ((uint32_t)evil - 1) / 2};
        adder.key ^= variant != 0 ? 0x40000000u : 0;
        assert_int_equal(mrl_map_add(&t.map, f.member, &adder.probe, evil, &existing), MERLE_OK);
        assert_int_equal(existing, 0);
    }
    /* So many that it is a table; they lie in the other of its two lines. */
    enum { FILLERS = 7 };
    for (uint32_t i = 1; i <= FILLERS; i++) {
        uint64_t hash = ((address >> 32) ^ 8u) + ((uint64_t)i << 12);
        key_probe adder = {.probe = {hash & 0xffffffffu, pair_matches}, .key = 100 + i};
        uint64_t filler = mrl_entry_pair(2 * (100 + i), hash);
        assert_int_equal(mrl_map_add(&t.map, f.member, &adder.probe, filler, &existing), MERLE_OK);
        assert_int_equal(existing, 0);
    }
    /* The same place in the table, but another tag. */
    probe.probe.hash = (address >> 32) ^ 0x100u;
    assert_int_equal(mrl_map_find(&t.map, &probe.probe), 0);
    assert_int_equal(mrl_map_remove(&t.map, f.member, &probe.probe), 0);
    uint64_t entry = mrl_entry_pair(11, probe.probe.hash);
    assert_int_equal(mrl_map_add(&t.map, f.member, &probe.probe, entry, &existing), MERLE_OK);
    assert_int_equal(existing, 0);
    assert_int_equal(mrl_map_find(&t.map, &probe.probe), entry);
    uint64_t newer = mrl_entry_pair(10, probe.probe.hash);
    mrl_map_replace(&t.map, probe.probe.hash, entry, newer);
    assert_int_equal(mrl_map_remove(&t.map, f.member, &probe.probe), newer);
    assert_int_equal(mrl_map_count(&t.map), 2 + FILLERS);
    assert_ptr_equal(mrl_map_check(&t.map), NULL);
    twin_fini(&t, &f);
    fixture_end(&f);
}

/* ---- readers beside a writer ---- */

enum { STABLE_COUNT = 600, CHURN_COUNT = 12000, READER_COUNT = 3 };

typedef struct torture {
    uint32_t stable, churn; /* keys: those that stay, those that come and go */
    fixture f;
    mrl_map map;
    mrl_map_type type;
    _Atomic int stop;
    _Atomic uint64_t missed_count, torn_count, walk_missed_count, find_count;
} torture;

static item *torture_item(torture *r, uint32_t key, uint32_t generation) {
    item *made = mrl_block_alloc(r->f.member, MRL_FOR_DOCUMENTS, sizeof(item));
    assert_non_null(made);
    *made = (item){.key = key, .generation = generation, .hash = key_hash(SPREAD, key)};
    return made;
}
static key_probe torture_probe(uint32_t key) {
    return (key_probe){{key_hash(SPREAD, key), item_matches}, key};
}
static void torture_add(torture *r, uint32_t key) {
    key_probe probe = torture_probe(key);
    uint64_t entry = mrl_entry_pointer(torture_item(r, key, 0), probe.probe.hash), existing;
    assert_int_equal(mrl_map_add(&r->map, r->f.member, &probe.probe, entry, &existing), MERLE_OK);
    assert_int_equal(existing, 0);
}
static void torture_replace(torture *r, uint32_t key, uint32_t generation) {
    key_probe probe = torture_probe(key);
    uint64_t entry = mrl_entry_pointer(torture_item(r, key, generation), probe.probe.hash);
    uint64_t old = mrl_map_find(&r->map, &probe.probe);
    mrl_map_replace(&r->map, probe.probe.hash, old, entry);
    mrl_block_retire(r->f.member, mrl_entry_to_pointer(old));
}
static void torture_remove(torture *r, uint32_t key) {
    key_probe probe = torture_probe(key);
    uint64_t old = mrl_map_remove(&r->map, r->f.member, &probe.probe);
    assert_int_not_equal(old, 0);
    mrl_block_retire(r->f.member, mrl_entry_to_pointer(old));
}

typedef struct walk {
    uint8_t met[STABLE_COUNT];
} walk;
static int walk_meet(void *context, uint64_t entry) {
    const item *found = mrl_entry_to_pointer(entry);
    if (found->key < STABLE_COUNT) ((walk *)context)->met[found->key] = 1;
    return 0;
}

/* The lower half of the stable keys is never replaced: a walk must meet all of them. */
static void torture_walk(torture *r) {
    walk w = {0};
    mrl_map_stats stats;
    mrl_map_stat(&r->map, &stats);
    r->walk_missed_count += stats.pieces == 0;
    mrl_map_each(&r->map, walk_meet, &w);
    for (uint32_t key = 0; key < r->stable / 2; key++) r->walk_missed_count += !w.met[key];
}

static void *torture_reader(void *context) {
    torture *r = context;
    mrl_member *member = mrl_member_join(r->f.domain);
    uint32_t generations[STABLE_COUNT] = {0};
    uint64_t rng = test_seed + (uint64_t)(uintptr_t)&generations, find_count = 0;
    while (!r->stop) {
        mrl_epoch_token token;
        mrl_member_enter(member, &token);
        for (int i = 0; i < 64; i++, find_count++) {
            uint32_t key = (uint32_t)(random_next(&rng) % r->stable);
            key_probe probe = torture_probe(key);
            uint64_t entry = mrl_map_find(&r->map, &probe.probe);
            const item *found = mrl_entry_to_pointer(entry);
            if (entry == 0) {
                r->missed_count++;
                continue;
            }
            /* A version that is older than one seen before would be a step back in time. */
            if (found->key != key || found->hash != probe.probe.hash) r->torn_count++;
            if (found->generation < generations[key]) r->torn_count++;
            generations[key] = found->generation;
        }
        if (find_count % 4096 == 0) torture_walk(r);
        mrl_member_leave(member, &token);
    }
    r->find_count += find_count;
    return NULL;
}

static void torture_write(torture *r, uint32_t round_count) {
    uint64_t rng = test_seed;
    uint32_t generation = 0;
    for (uint32_t round = 0; round < round_count; round++) {
        for (uint32_t i = 0; i < 2 * r->churn; i++) {
            uint32_t key = r->stable + i % r->churn;
            if (i < r->churn)
                torture_add(r, key);
            else
                torture_remove(r, key);
            uint32_t half = r->stable / 2;
            if (i % 2)
                torture_replace(r, half + (uint32_t)(random_next(&rng) % half), ++generation);
            if (i % 512 == 0) {
                mrl_epoch_advance(r->f.member);
                mrl_domain_drain(r->f.member, SIZE_MAX);
            }
        }
        assert_ptr_equal(mrl_map_check(&r->map), NULL);
    }
}

static void torture_run(torture *r, uint32_t stable, uint32_t churn, uint32_t round_count) {
    pthread_t readers[READER_COUNT];
    memset(r, 0, sizeof(*r));
    r->stable = stable;
    r->churn = churn;
    fixture_begin(&r->f);
    r->type = (mrl_map_type){MRL_MAP_POINTERS, item_rehash, NULL};
    mrl_map_init(&r->map, &r->type);
    for (uint32_t key = 0; key < stable; key++) torture_add(r, key);
    for (int i = 0; i < READER_COUNT; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, torture_reader, r), 0);
    torture_write(r, round_count);
    r->stop = 1;
    for (int i = 0; i < READER_COUNT; i++) pthread_join(readers[i], NULL);
    print_message("# %llu finds beside %llu splits and %llu merges\n",
                  (unsigned long long)r->find_count,
                  (unsigned long long)mrl_domain_count(r->f.domain, MRL_N_SPLITS),
                  (unsigned long long)mrl_domain_count(r->f.domain, MRL_N_MERGES));
    assert_int_equal(r->missed_count, 0);
    assert_int_equal(r->torn_count, 0);
    assert_int_equal(r->walk_missed_count, 0);
}

static void torture_end(torture *r) {
    for (uint32_t key = 0; key < r->stable; key++) torture_remove(r, key);
    fixture_end(&r->f);
}

static void map_readers_never_miss_what_is_there_all_along(void **state) {
    (void)state;
    static torture r;
    const char *rounds = getenv("MERLE_TEST_ROUNDS");
    torture_run(&r, STABLE_COUNT, CHURN_COUNT, rounds ? (uint32_t)atoi(rounds) : 6);
    assert_true(mrl_domain_count(r.f.domain, MRL_N_SPLITS) > 10);
    assert_true(mrl_domain_count(r.f.domain, MRL_N_MERGES) > 10);
    torture_end(&r);
}

/* From a list to longer ones, to a table, and to a list again, in each round. */
static void map_readers_of_a_list_never_miss_what_is_there_all_along(void **state) {
    (void)state;
    static torture r;
    torture_run(&r, 2, 12, 4000);
    torture_end(&r);
}

/* ---- shards ---- */

static void shard_table_is_contiguous_and_geometric(void **state) {
    (void)state;
    double sum = 0;
    size_t at = 0;
    for (int i = 0; i < MRL_SHARD_COUNT; i++) sum += pow(2, i / 63.0);
    for (int i = 0; i < MRL_SHARD_COUNT; i++) {
        size_t width = 0;
        while (at < 1024 && mrl_shard_table[at] == i) at++, width++;
        assert_true(width > 0);
        assert_true(fabs((double)width - 1024 / sum * pow(2, i / 63.0)) <= 1);
    }
    assert_int_equal(at, 1024);
    assert_int_equal(mrl_shard_of(0), 0);
    assert_int_equal(mrl_shard_of(UINT64_MAX), MRL_SHARD_COUNT - 1);
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
        cmocka_unit_test(map_empty_finds_nothing),
        cmocka_unit_test(map_add_twice_gives_the_first),
        cmocka_unit_test(map_pairs_random_operations_match_twin),
        cmocka_unit_test(map_pointers_random_operations_match_twin),
        cmocka_unit_test(map_clustered_hashes_match_twin),
        cmocka_unit_test(map_one_hash_matches_twin),
        cmocka_unit_test(map_one_hash_beyond_a_piece_still_works),
        cmocka_unit_test(map_growth_copies_few_entries_an_insert),
        cmocka_unit_test(map_refused_memory_changes_nothing),
        cmocka_unit_test(map_without_any_memory_keeps_what_it_has),
        cmocka_unit_test(map_clear_some_frees_a_few_pieces_a_call),
        cmocka_unit_test(pair_equal_to_a_probe_address_is_not_believed),
        cmocka_unit_test(map_readers_never_miss_what_is_there_all_along),
        cmocka_unit_test(map_readers_of_a_list_never_miss_what_is_there_all_along),
        cmocka_unit_test(shard_table_is_contiguous_and_geometric),
    };
    read_seed(argc, argv);
    return cmocka_run_group_tests_name("memory/map", tests, NULL, NULL);
}
