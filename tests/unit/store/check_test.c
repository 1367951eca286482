/* tests/unit/store/check_test.c - merle_check: finds what is broken, and only that.
 *
 * Aim     Every invariant that merle_check names is named when it is broken, and nothing is when
 *         all is well, also while writers, reclamation and truncates go on.
 * Method  A store with old versions, a tombstone, a free slot and a superseded value is made by
 *         hand; then one thing is broken behind its back, looked for, and mended again. Threads
 *         with random operations for the other half, seeded.
 * Blind   Damage that a walk over it does not survive, like pointers into nowhere.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/store/stand.h"

#include <pthread.h>

static uint64_t seed;

/* ---- a store with one of everything ---- */

typedef struct fixture {
    stand s;
    merle_section section; /* keeps the old versions */
    mrl_root *root;
    mrl_member *member;
    uint32_t free_slot;
    /* What a plant keeps for its mending. */
    mrl_version *version;
    uint64_t number;
} fixture;

static mrl_version *current(const fixture *f, const char *key) {
    merle_bytes bytes = merle_str(key);
    mrl_version *v = mrl_root_find(f->root, mrl_root_hash(f->root, bytes), bytes);
    assert_non_null(v);
    return v;
}

static mrl_shard *shard_of(const fixture *f, const char *key) {
    return &f->root->shards[mrl_shard_of(mrl_root_hash(f->root, merle_str(key)))];
}

/* a and b live, a with an old version of another email; gone a tombstone; one free slot. */
static void fixture_open(fixture *f) {
    memset(f, 0, sizeof *f);
    /* With this seed the keys lie in shards of their own: the free slot stays free. */
    f->s = stand_open_with(0, 2);
    f->member = mrl_member_join(f->s.db->domain);
    f->root = mrl_collection_current(f->s.players);
    (void)put_json(&f->s, "freed", "{\"email\":\"freed\"}");
    f->free_slot = current(f, "freed")->slot;
    (void)remove_key(&f->s, "freed");
    stand_settle(&f->s);
    (void)put_json(&f->s, "a", "{\"email\":\"old\",\"n\":1}");
    (void)put_json(&f->s, "b", "{\"email\":\"b\",\"n\":1}");
    (void)put_json(&f->s, "gone", "{\"email\":\"gone\",\"n\":1}");
    must(&f->s, merle_section_begin(f->s.db, &f->section));
    (void)put_json(&f->s, "a", "{\"email\":\"a\",\"n\":2}");
    (void)remove_key(&f->s, "gone");
    assert_null(mrl_slots_load(&f->root->slots, f->free_slot));
    must(&f->s, merle_check(f->s.db, &f->s.report));
}

static void fixture_close(fixture *f) {
    must(&f->s, merle_section_end(&f->section));
    stand_settle(&f->s);
    must(&f->s, merle_check(f->s.db, &f->s.report));
    stand_close(&f->s);
}

static uint64_t value_hash(const fixture *f, const mrl_version *v) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    size_t size = mrl_version_encode(v, &f->root->schema->indexes[0], encoded);
    assert_int_not_equal(size, 0);
    return mrl_unique_hash(f->root->indexes[0].unique, encoded, size);
}

/* Where a text stands in the version's document. */
static uint8_t *text_in(mrl_version *v, const char *text) {
    uint8_t *at = memmem(mrl_version_doc(v), v->doc_size, text, strlen(text));
    assert_non_null(at);
    return at;
}

/* ---- plants: what is broken, and how it is mended ---- */

static void hint_drop(fixture *f, mrl_version *v) {
    f->version = v;
    mrl_unique_drop(f->root->indexes[0].unique, f->member, value_hash(f, v), v->slot);
}
static void hint_drop_current(fixture *f) {
    hint_drop(f, current(f, "a"));
}
static void hint_drop_old(fixture *f) {
    hint_drop(f, current(f, "a")->before);
}
static void hint_drop_mend(fixture *f) {
    int added = 0;
    must(&f->s, mrl_unique_add(f->root->indexes[0].unique, f->member, value_hash(f, f->version),
                               f->version->slot, &added));
    assert_int_equal(added, 1);
}

static void hint_add(fixture *f, uint32_t slot) {
    int added = 0;
    f->number = slot;
    must(&f->s, mrl_unique_add(f->root->indexes[0].unique, f->member,
                               value_hash(f, current(f, "a")), slot, &added));
    assert_int_equal(added, 1);
}
static void hint_add_wrong(fixture *f) {
    hint_add(f, current(f, "b")->slot);
}
static void hint_add_tombstone(fixture *f) {
    hint_add(f, current(f, "gone")->slot);
}
static void hint_add_empty(fixture *f) {
    hint_add(f, f->free_slot);
}
static void hint_add_mend(fixture *f) {
    mrl_unique_drop(f->root->indexes[0].unique, f->member, value_hash(f, current(f, "a")),
                    (uint32_t)f->number);
}

/* b gets a's email, hint and all: only the comparison of documents can tell. */
static void value_twice(fixture *f) {
    int added = 0;
    mrl_version *b = current(f, "b");
    mrl_unique_drop(f->root->indexes[0].unique, f->member, value_hash(f, b), b->slot);
    *(text_in(b,
              "\xa1"
              "b") +
      1) = 'a';
    must(&f->s,
         mrl_unique_add(f->root->indexes[0].unique, f->member, value_hash(f, b), b->slot, &added));
}
static void value_twice_mend(fixture *f) {
    int added = 0;
    mrl_version *b = current(f, "b");
    mrl_unique_drop(f->root->indexes[0].unique, f->member, value_hash(f, b), b->slot);
    *(text_in(b,
              "\xa1"
              "a") +
      1) = 'b';
    must(&f->s,
         mrl_unique_add(f->root->indexes[0].unique, f->member, value_hash(f, b), b->slot, &added));
}

static void slot_clear(fixture *f) {
    f->version = current(f, "b");
    mrl_slots_store(&f->root->slots, f->version->slot, NULL);
}
static void slot_set_other(fixture *f) {
    f->version = current(f, "b");
    mrl_slots_store(&f->root->slots, f->version->slot, current(f, "a"));
}
static void slot_mend(fixture *f) {
    mrl_slots_store(&f->root->slots, f->version->slot, f->version);
}

static void key_probe_of(const fixture *f, mrl_key_probe *probe, const char *key) {
    mrl_key_probe_init(probe, mrl_root_hash(f->root, merle_str(key)), merle_str(key));
}
static void key_lose(fixture *f) {
    mrl_key_probe probe;
    f->version = current(f, "b");
    key_probe_of(f, &probe, "b");
    uint32_t shard = mrl_shard_of(probe.probe.hash);
    assert_int_not_equal(mrl_map_remove(&f->root->maps[shard], f->member, &probe.probe), 0);
}
static void key_lose_mend(fixture *f) {
    mrl_key_probe probe;
    uint64_t existing = 0;
    key_probe_of(f, &probe, "b");
    must(&f->s, mrl_map_add(&f->root->maps[mrl_shard_of(probe.probe.hash)], f->member, &probe.probe,
                            mrl_entry_pointer(f->version, probe.probe.hash), &existing));
}
static void key_change(fixture *f) {
    f->version = current(f, "b");
    f->version->bytes[0] = 'q';
}
static void key_change_mend(fixture *f) {
    f->version->bytes[0] = 'b';
}

static void count_raise(fixture *f) {
    atomic_fetch_add(&f->root->counters[0].count, 1);
}
static void count_mend(fixture *f) {
    atomic_fetch_sub(&f->root->counters[0].count, 1);
}

static void retired_raise(fixture *f) {
    mrl_count(f->member, MRL_N_RETIRED_BYTES, 1);
}
static void retired_mend(fixture *f) {
    mrl_count(f->member, MRL_N_FREED_BYTES, 1);
}

static void seq_ahead(fixture *f) {
    f->version = current(f, "b");
    f->number = mrl_version_seq(f->version);
    atomic_store(&f->version->seq, 1000);
}
static void seq_rising(fixture *f) {
    f->version = current(f, "a")->before;
    f->number = mrl_version_seq(f->version);
    atomic_store(&f->version->seq, mrl_version_seq(current(f, "a")));
}
static void seq_mend(fixture *f) {
    atomic_store(&f->version->seq, f->number);
}

static _Atomic uint64_t *mark_of(const fixture *f) {
    uint32_t slot = current(f, "a")->slot;
    return &mrl_slots_chunk(&f->root->slots, slot)->changed[slot % MRL_CHUNK_SLOTS / MRL_RUN_SLOTS];
}
static void mark_lower(fixture *f) {
    f->number = atomic_load(mark_of(f));
    atomic_store(mark_of(f), 1);
}
static void mark_mend(fixture *f) {
    atomic_store(mark_of(f), f->number);
}

static void doc_spoil(fixture *f) {
    *text_in(current(f, "b"), "email") = 0xff;
}
static void doc_mend(fixture *f) {
    *(text_in(current(f, "b"), "mail") - 1) = 'e';
}

static void offset_spoil(fixture *f) {
    current(f, "b")->bytes[current(f, "b")->key_size]++;
}
static void offset_mend(fixture *f) {
    current(f, "b")->bytes[current(f, "b")->key_size]--;
}

/* ---- the queue ---- */

/* Empties the shard's queue in front of f->version's entry, and puts everything but that one back.
 */
static void queue_lose(fixture *f, const char *key, mrl_version *v, mrl_queued kind) {
    mrl_queue *queue = &shard_of(f, key)->queue;
    f->version = v;
    f->number = kind;
    int found = 0;
    for (uint32_t left = mrl_queue_length(queue); left > 0; left--) {
        mrl_queue_entry entry = *mrl_queue_peek(queue);
        mrl_queue_pop(queue, f->member);
        int is_it = entry.version == v && entry.kind == (uint32_t)kind;
        found += is_it;
        must(&f->s, mrl_queue_reserve(queue, f->member, 1));
        if (!is_it) mrl_queue_push(queue, entry.version, (mrl_queued)entry.kind, entry.ticket);
    }
    assert_int_equal(found, 1);
}
static void queue_lose_superseded(fixture *f) {
    queue_lose(f, "a", current(f, "a")->before, MRL_QUEUED_SUPERSEDED);
}
static void queue_lose_superseded_mend(fixture *f) {
    mrl_queue *queue = &shard_of(f, "a")->queue;
    must(&f->s, mrl_queue_reserve(queue, f->member, 1));
    mrl_queue_push(queue, f->version, MRL_QUEUED_SUPERSEDED, mrl_ticket_take(f->s.db->domain));
}
static void queue_lose_tombstone(fixture *f) {
    queue_lose(f, "gone", current(f, "gone"), MRL_QUEUED_TOMBSTONE);
}
static void queue_lose_tombstone_mend(fixture *f) {
    mrl_queue *queue = &shard_of(f, "gone")->queue;
    must(&f->s, mrl_queue_reserve(queue, f->member, 1));
    mrl_queue_push(queue, f->version, MRL_QUEUED_TOMBSTONE, mrl_ticket_take(f->s.db->domain));
}

static void queue_add(fixture *f, const char *key, mrl_version *v, mrl_queued kind) {
    mrl_queue *queue = &shard_of(f, key)->queue;
    must(&f->s, mrl_queue_reserve(queue, f->member, 1));
    mrl_queue_push(queue, v, kind, mrl_ticket_take(f->s.db->domain));
}
static void queue_add_live(fixture *f) {
    queue_add(f, "b", current(f, "b"), MRL_QUEUED_SUPERSEDED);
}
static void queue_add_live_mend(fixture *f) {
    queue_lose(f, "b", current(f, "b"), MRL_QUEUED_SUPERSEDED);
}
static void queue_add_live_tombstone(fixture *f) {
    queue_add(f, "b", current(f, "b"), MRL_QUEUED_TOMBSTONE);
}
static void queue_add_live_tombstone_mend(fixture *f) {
    queue_lose(f, "b", current(f, "b"), MRL_QUEUED_TOMBSTONE);
}
/* The old version of another slot: nothing leads to it. */
static void chain_cut(fixture *f) {
    f->version = current(f, "a")->before;
    current(f, "a")->before = NULL;
}
static void chain_mend(fixture *f) {
    current(f, "a")->before = f->version;
}

/* ---- free slots ---- */

static mrl_shard *shard_with_free(const fixture *f) {
    return shard_of(f, "freed");
}

static void free_twice(fixture *f) {
    mrl_shard_return_slot(shard_with_free(f), f->member, f->free_slot);
}
static void free_used(fixture *f) {
    mrl_shard_return_slot(shard_with_free(f), f->member, current(f, "b")->slot);
}
static void free_beyond(fixture *f) {
    mrl_shard_return_slot(shard_with_free(f), f->member, 5000);
}
static void free_mend(fixture *f) {
    shard_with_free(f)->free->count--;
}

/* ---- the log ---- */

static mrl_entry *last_entry(const fixture *f) {
    const mrl_entry *entry;
    uint64_t first;
    must(&f->s, mrl_log_read(f->s.db->log, mrl_log_published_at(f->s.db->store.published), &entry,
                             &first));
    return (mrl_entry *)(uintptr_t)entry;
}
static void log_body_spoil(fixture *f) {
    mrl_entry *entry = last_entry(f);
    entry->body[entry->body_size - 1] ^= 1;
}
static void log_header_spoil(fixture *f) {
    last_entry(f)->header[9] ^= 1;
}
static void log_count_spoil(fixture *f) {
    last_entry(f)->operation_count ^= 1;
}
static void log_size_spoil(fixture *f) {
    last_entry(f)->body_size ^= 1;
}
/* Another's frame, sound by itself. */
static void log_order_spoil(fixture *f) {
    mrl_entry *entry = last_entry(f);
    mrl_frame frame;
    must(&f->s, mrl_frame_read(entry->header, 0, &frame));
    frame.seq ^= 1;
    mrl_frame_write(entry->header, &frame, 0);
}

/* ---- all of them ---- */

typedef struct plant {
    const char *name;
    void (*spoil)(fixture *f);
    void (*mend)(fixture *f);
    const char *index, *key; /* that the report names; NULL: none */
    const char *expected;    /* a part of what it says was expected */
} plant;

static const plant plants[] = {
    {"hint of a document lost", hint_drop_current, hint_drop_mend, "email", "a",
     "a hint for the document's value"},
    {"hint of an old version lost", hint_drop_old, hint_drop_mend, "email", "a",
     "a hint for the value of an old version"},
    {"hint of another's value", hint_add_wrong, hint_add_mend, "email", "b",
     "a hint only for a value that some version"},
    {"hint of a tombstone", hint_add_tombstone, hint_add_mend, "email", "gone",
     "a hint only for a value that some version"},
    {"hint of an empty slot", hint_add_empty, hint_add_mend, "email", NULL,
     "a hint only for a slot that has a version"},
    {"value twice", value_twice, value_twice_mend, "email", NULL, "one document with a value"},
    {"slot cleared", slot_clear, slot_mend, NULL, "b", "key entry and slot with one version"},
    {"slot with another", slot_set_other, slot_mend, NULL, "b",
     "key entry and slot with one version"},
    {"key lost", key_lose, key_lose_mend, NULL, "b", "a version in a slot only where its key"},
    {"key changed", key_change, key_change_mend, NULL, NULL, "a sound table of keys"},
    {"count wrong", count_raise, count_mend, NULL, NULL, "as many documents as the collection"},
    {"retired bytes wrong", retired_raise, retired_mend, NULL, NULL, "as many bytes in the queues"},
    {"seq in the future", seq_ahead, seq_mend, NULL, "b", "a version that was published"},
    {"seqs that rise", seq_rising, seq_mend, NULL, "a", "seqs that fall"},
    {"page mark too low", mark_lower, mark_mend, NULL, NULL, "a page marked with its last change"},
    {"document spoilt", doc_spoil, doc_mend, NULL, "b", "a document"},
    {"offset spoilt", offset_spoil, offset_mend, NULL, "b", "indexed fields where the offsets say"},
    {"old version not queued", queue_lose_superseded, queue_lose_superseded_mend, "email", "a",
     "a hint only for a value that some version"},
    {"tombstone not queued", queue_lose_tombstone, queue_lose_tombstone_mend, NULL, "gone",
     "current tombstones in the queue"},
    {"live document queued", queue_add_live, queue_add_live_mend, NULL, "b",
     "a current version that nobody will free"},
    {"live document queued as a tombstone", queue_add_live_tombstone, queue_add_live_tombstone_mend,
     NULL, "b", "current tombstones in the queue"},
    {"old version cut off", chain_cut, chain_mend, NULL, "a", "a superseded version behind"},
    {"slot free twice", free_twice, free_mend, NULL, NULL, "a slot once in the free list"},
    {"used slot free", free_used, free_mend, NULL, NULL, "free slots without a version"},
    {"free slot never given", free_beyond, free_mend, NULL, NULL, "free slots that were given"},
    {"log body spoilt", log_body_spoil, log_body_spoil, NULL, NULL, "a log record whose checksum"},
    {"log header spoilt", log_header_spoil, log_header_spoil, NULL, NULL,
     "a log frame whose header"},
    {"log count spoilt", log_count_spoil, log_count_spoil, NULL, NULL,
     "a log record that can be read"},
    {"log size spoilt", log_size_spoil, log_size_spoil, NULL, NULL, "a log entry that says"},
    {"log out of order", log_order_spoil, log_order_spoil, NULL, NULL, "log frames in order"},
};

static void check_one(const plant *p) {
    fixture f;
    merle_report report;
    fixture_open(&f);
    p->spoil(&f);
    merle_err err = merle_check(f.s.db, &report);
    int is_named = err == MERLE_CORRUPT && strstr(report.expected, p->expected) != NULL &&
                   (p->key == NULL || strcmp(report.key, p->key) == 0) &&
                   (p->index == NULL || strcmp(report.index, p->index) == 0) &&
                   strstr(report.message, report.expected) != NULL && report.found[0] != 0;
    if (!is_named) print_message("# %s: %s, %s\n", p->name, merle_err_name(err), report.message);
    assert_true(is_named);
    p->mend(&f);
    must(&f.s, merle_check(f.s.db, &f.s.report));
    fixture_close(&f);
}

static void broken_invariant_is_named(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof plants / sizeof plants[0]; i++) check_one(&plants[i]);
}

static void check_without_report_gives_the_error(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f);
    count_raise(&f);
    assert_int_equal(merle_check(f.s.db, NULL), MERLE_CORRUPT);
    count_mend(&f);
    assert_int_equal(merle_check(f.s.db, NULL), MERLE_OK);
    assert_int_equal(merle_check(NULL, NULL), MERLE_INVALID);
    fixture_close(&f);
}

/* ---- all is well while others write ---- */

enum { WRITERS = 2, OPERATIONS = 8000, KEYS = 300, EMAILS = 150 };

typedef struct writer {
    stand *s;
    uint64_t seed;
    _Atomic int *running;
} writer;

static void write_one(stand *s, mrl_random *random, merle_builder *builder) {
    char key[16], email[16];
    merle_bytes doc;
    snprintf(key, sizeof key, "k%d", (int)mrl_random_below(random, KEYS));
    snprintf(email, sizeof email, "e%d", (int)mrl_random_below(random, EMAILS));
    switch (mrl_random_below(random, 8)) {
    case 0:
    case 1:
        (void)merle_one_remove(s->players, merle_str(key), NULL);
        return;
    case 2:
        (void)merle_one_patch(s->players, merle_str(key), NULL, NULL,
                              MERLE_SET_STR("email", email));
        return;
    case 3:
        (void)merle_one_count(s->players, merle_str(key), "n", 1, NULL);
        return;
    default:
        break;
    }
    if (mrl_random_below(random, 1000) == 0 &&
        merle_collection_truncate(s->players, NULL) != MERLE_OK)
        return;
    merle_build_begin(builder);
    if (mrl_random_below(random, 3) != 0) merle_build_str(builder, "email", email);
    merle_build_int(builder, "n", 1);
    if (merle_build_end(builder, &doc) == MERLE_OK)
        (void)merle_one_put(s->players, merle_str(key), doc, NULL);
}

static void *write_many(void *context) {
    writer *w = context;
    mrl_random random;
    merle_builder *builder;
    merle_section section;
    mrl_random_init(&random, w->seed);
    if (merle_builder_create(&builder) != MERLE_OK) return w;
    for (int i = 0; i < OPERATIONS; i++) {
        /* Now and then a section is kept for a while, so that old versions gather. */
        if (i % 200 == 100 && merle_section_begin(w->s->db, &section) != MERLE_OK) return w;
        write_one(w->s, &random, builder);
        if (i % 200 == 180 && merle_section_end(&section) != MERLE_OK) return w;
        if (i % 16 == 0) (void)merle_step(w->s->db, 0, 0);
    }
    merle_builder_destroy(builder);
    atomic_fetch_sub(w->running, 1);
    return NULL;
}

static void check_beside_writers_finds_nothing(void **state) {
    (void)state;
    stand s = stand_open_with(64 << 10, 0);
    pthread_t threads[WRITERS];
    writer writers[WRITERS];
    _Atomic int running = WRITERS;
    int checks = 0;
    for (uint64_t i = 0; i < WRITERS; i++) {
        writers[i] = (writer){&s, seed + i, &running};
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, &writers[i]), 0);
    }
    while (atomic_load(&running) > 0 || checks == 0) {
        must(&s, merle_check(s.db, &s.report));
        checks++;
    }
    for (int i = 0; i < WRITERS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    print_message("# %d checks\n", checks);
    stand_settle(&s);
    must(&s, merle_check(s.db, &s.report));
    stand_close(&s);
}

static void check_of_dropped_collections_finds_nothing(void **state) {
    (void)state;
    stand s = stand_open();
    merle_section section;
    (void)put_json(&s, "a", "{\"email\":\"a\"}");
    must(&s, merle_section_begin(s.db, &section));
    (void)put_json(&s, "a", "{\"email\":\"b\"}");
    must(&s, merle_collection_truncate(s.players, NULL));
    (void)put_json(&s, "a", "{\"email\":\"b\"}");
    must(&s, merle_check(s.db, &s.report));
    must(&s, merle_collection_drop(s.players, NULL));
    must(&s, merle_check(s.db, &s.report));
    must(&s, merle_section_end(&section));
    stand_settle(&s);
    must(&s, merle_check(s.db, &s.report));
    stand_close(&s);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_invariant_is_named),
        cmocka_unit_test(check_without_report_gives_the_error),
        cmocka_unit_test(check_of_dropped_collections_finds_nothing),
        cmocka_unit_test(check_beside_writers_finds_nothing),
    };
    seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
