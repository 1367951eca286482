/* tests/unit/persist/bulk_test.c - bulk loads in a directory.
 *
 * Aim     A bulk load that has ended is there after a kill, one that has not has never been, with
 *         checkpoints before, in the middle of it and after; and commits that follow a load that
 *         was cut off stay.
 * Method  A child works and ends without closing; the parent opens, counts, and compares the store
 *         with itself.
 * Blind   Power cuts, failing disks: the crash tests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <merle/merle.h>

#include "database/database.h"

/* Some records of a mebibyte. */
enum { DOCUMENTS = 6000, FILLER = 400 };

typedef struct place {
    char root[64], path[96];
} place;

typedef struct open_db {
    merle_db *db;
    merle_collection *things;
    merle_report report;
} open_db;

static const merle_index indexes[] = {{.name = "code", .kind = MERLE_UNIQUE, .on = "code"},
                                      {.name = "level", .kind = MERLE_ORDERED, .on = "level"},
                                      {0}};
static const merle_schema schema = {.version = 1, .indexes = indexes};

static int place_make(void **state) {
    place *p = calloc(1, sizeof *p);
    if (p == NULL) return -1;
    (void)snprintf(p->root, sizeof p->root, "/tmp/merle-bulk-XXXXXX");
    if (mkdtemp(p->root) == NULL) return -1;
    (void)snprintf(p->path, sizeof p->path, "%s/world.merle", p->root);
    *state = p;
    return 0;
}

static int place_clear(void **state) {
    place *p = *state;
    char command[200];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", p->root);
    free(p);
    return system(command);
}

/* In a child, where no test can fail. */
static void must(const open_db *o, merle_err err) {
    if (err == MERLE_OK) return;
    fprintf(stderr, "# %s: %s\n", merle_err_name(err), o->report.message);
    _exit(1);
}

static void db_open(const place *p, open_db *o) {
    memset(o, 0, sizeof *o);
    const merle_options options = {
        .report = &o->report, .checkpoint_log_bytes = UINT64_MAX, .durability = MERLE_SYNC};
    must(o, merle_open(p->path, &options, &o->db));
    merle_report_to(o->db, &o->report);
    must(o, merle_collection_open(o->db, "things", &schema, &o->things));
}

static void put_some(const open_db *o, merle_bulk *bulk, int from, int to) {
    merle_builder *b;
    merle_bytes doc;
    merle_key key;
    char filler[FILLER + 1];
    memset(filler, 'x', FILLER);
    filler[FILLER] = 0;
    must(o, merle_builder_create(&b));
    for (int i = from; i < to; i++) {
        merle_build_begin(b);
        merle_build_int(b, "code", i);
        merle_build_int(b, "level", i % 50);
        merle_build_str(b, "filler", filler);
        must(o, merle_build_end(b, &doc));
        must(o, merle_bulk_put(bulk, merle_key_u64(&key, (uint64_t)i), doc));
    }
    merle_builder_destroy(b);
}

/* What a child does, in this order. */
typedef enum step {
    BEGIN = 1,
    HALF, /* of the documents */
    REST,
    END,
    CANCEL,
    CHECKPOINT,
    PUT_ONE,
    STOP = 0
} step;

static void take_steps(const place *p, const step *steps) {
    open_db o;
    merle_bulk *bulk = NULL;
    merle_key key;
    db_open(p, &o);
    for (; *steps != STOP; steps++) {
        if (*steps == BEGIN) must(&o, merle_bulk_begin(o.things, &bulk));
        if (*steps == HALF) put_some(&o, bulk, 0, DOCUMENTS / 2);
        if (*steps == REST) put_some(&o, bulk, DOCUMENTS / 2, DOCUMENTS);
        if (*steps == END) must(&o, merle_bulk_end(bulk, NULL));
        if (*steps == CANCEL) merle_bulk_cancel(bulk);
        if (*steps == CHECKPOINT) must(&o, merle_checkpoint(o.db));
        if (*steps == PUT_ONE)
            must(&o, merle_one_put(o.things, merle_key_u64(&key, 1000000),
                                   merle_bytes_of("\x80", 1), NULL));
    }
    _exit(0);
}

/* A child takes the steps, and ends without closing. */
static void run(const place *p, const step *steps) {
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) take_steps(p, steps);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void assert_has(const place *p, uint64_t count) {
    open_db o;
    merle_section section;
    merle_doc doc;
    uint64_t found;
    db_open(p, &o);
    assert_int_equal(merle_check(o.db, &o.report), MERLE_OK);
    assert_int_equal(merle_section_begin(o.db, &section), MERLE_OK);
    assert_int_equal(merle_count(&section, o.things, &found), MERLE_OK);
    assert_int_equal(found, count);
    merle_err err = merle_get_by(&section, o.things, "code", &doc, merle_value_int(77));
    assert_int_equal(err, count >= DOCUMENTS ? MERLE_OK : MERLE_NOT_FOUND);
    assert_int_equal(merle_section_end(&section), MERLE_OK);
    assert_int_equal(merle_close(o.db), MERLE_OK);
}

#define RUN(p, ...) run(p, (const step[]){__VA_ARGS__, STOP})

static void load_that_has_ended_is_there(void **state) {
    RUN(*state, BEGIN, HALF, REST, END);
    assert_has(*state, DOCUMENTS);
    RUN(*state, CHECKPOINT, PUT_ONE);
    assert_has(*state, DOCUMENTS + 1);
}

static void load_with_a_checkpoint_in_the_middle_is_whole(void **state) {
    RUN(*state, CHECKPOINT, BEGIN, HALF, CHECKPOINT, REST, CHECKPOINT, END);
    assert_has(*state, DOCUMENTS);
    RUN(*state, CHECKPOINT, CHECKPOINT, CHECKPOINT, PUT_ONE);
    assert_has(*state, DOCUMENTS + 1);
}

static void load_that_was_cut_off_has_never_been(void **state) {
    RUN(*state, BEGIN, HALF, REST);
    assert_has(*state, 0);
    RUN(*state, BEGIN, HALF, CHECKPOINT, REST);
    assert_has(*state, 0);
    RUN(*state, CHECKPOINT);
    assert_has(*state, 0);
}

static void commit_behind_a_load_that_was_cut_off_stays(void **state) {
    RUN(*state, BEGIN, HALF, CHECKPOINT, REST);
    RUN(*state, PUT_ONE);
    assert_has(*state, 1);
    RUN(*state, CHECKPOINT);
    assert_has(*state, 1);
}

static void load_behind_one_that_was_cut_off_counts_alone(void **state) {
    RUN(*state, BEGIN, HALF, REST);
    RUN(*state, BEGIN, HALF, END);
    open_db o;
    uint64_t found;
    merle_section section;
    db_open(*state, &o);
    assert_int_equal(merle_section_begin(o.db, &section), MERLE_OK);
    assert_int_equal(merle_count(&section, o.things, &found), MERLE_OK);
    assert_int_equal(found, DOCUMENTS / 2);
    assert_int_equal(merle_section_end(&section), MERLE_OK);
    assert_int_equal(merle_check(o.db, &o.report), MERLE_OK);
    assert_int_equal(merle_close(o.db), MERLE_OK);
}

static void load_that_was_given_up_has_never_been(void **state) {
    RUN(*state, BEGIN, HALF, REST, CHECKPOINT, CANCEL, PUT_ONE);
    assert_has(*state, 1);
}

/* ---- other things beside a load ---- */

static const uint8_t empty_map[] = {0x80};

static void put_in(const open_db *o, merle_collection *in, uint64_t number) {
    merle_key key;
    must(o, merle_one_put(in, merle_key_u64(&key, number), merle_bytes_of(empty_map, 1), NULL));
}

static uint64_t count_in(const open_db *o, merle_collection *in) {
    merle_section section;
    uint64_t count = UINT64_MAX;
    must(o, merle_section_begin(o->db, &section));
    must(o, merle_count(&section, in, &count));
    must(o, merle_section_end(&section));
    return count;
}

static uint64_t checkpoints(const open_db *o) {
    merle_stats_db stats = {.size = sizeof stats};
    must(o, merle_stats(o->db, &stats));
    return stats.checkpoints;
}

/* Runs it in a child, which ends without closing. */
static void run_child(const place *p, void (*fn)(const place *)) {
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        fn(p);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void load_between_two_pieces_of_a_checkpoint(const place *p) {
    open_db o = {0};
    merle_bulk *bulk;
    merle_key key;
    const merle_options options = {.report = &o.report,
                                   .threads = MERLE_THREADS_NONE,
                                   .checkpoint_log_bytes = 1,
                                   .durability = MERLE_SYNC};
    must(&o, merle_open(p->path, &options, &o.db));
    merle_report_to(o.db, &o.report);
    must(&o, merle_collection_open(o.db, "things", &schema, &o.things));
    /* It is empty, and has had documents: there are slots that the checkpoint looks at. */
    put_in(&o, o.things, 1000000);
    must(&o, merle_one_remove(o.things, merle_key_u64(&key, 1000000), NULL));
    while (merle_step(o.db, 0, 1000000000) == MERLE_BUSY) continue;
    put_in(&o, o.things, 1000000);
    must(&o, merle_one_remove(o.things, merle_key_u64(&key, 1000000), NULL));
    (void)merle_step(o.db, 0, 0); /* begins one, and looks at nothing yet */
    must(&o, merle_bulk_begin(o.things, &bulk));
    put_some(&o, bulk, 0, DOCUMENTS);
    must(&o, merle_bulk_end(bulk, NULL));
    /* To its end, and no further: the next one would have all. */
    for (uint64_t before = checkpoints(&o); checkpoints(&o) == before;)
        (void)merle_step(o.db, 0, 0);
}

static void load_that_ends_beside_a_checkpoint_is_there(void **state) {
    run_child(*state, load_between_two_pieces_of_a_checkpoint);
    assert_has(*state, DOCUMENTS);
}

/* The log has no room for the record that would say so. */
static void given_up_on_a_full_disk(const place *p) {
    open_db o = {0};
    merle_bulk *bulk;
    const merle_options options = {
        .report = &o.report, .threads = MERLE_THREADS_NONE, .durability = MERLE_SYNC};
    must(&o, merle_open(p->path, &options, &o.db));
    must(&o, merle_collection_open(o.db, "things", &schema, &o.things));
    must(&o, merle_bulk_begin(o.things, &bulk));
    put_some(&o, bulk, 0, DOCUMENTS);
    uint64_t before = mrl_log_published_at(o.db->store.published);
    mrl_log_room(o.db->log, 0, ENOSPC);
    merle_bulk_cancel(bulk);
    if (mrl_log_published_at(o.db->store.published) != before) _exit(2);
    mrl_log_room(o.db->log, 1 << 20, 0);
    put_in(&o, o.things, 1);
    if (count_in(&o, o.things) != 1) _exit(3);
}

static void load_given_up_on_a_full_disk_leaves_the_collection_to_others(void **state) {
    run_child(*state, given_up_on_a_full_disk);
    assert_has(*state, 1);
    RUN(*state, CHECKPOINT);
    assert_has(*state, 1);
}

static void given_up_beside_another(const place *p) {
    open_db o;
    merle_bulk *bulk, *other;
    merle_collection *others;
    db_open(p, &o);
    must(&o, merle_collection_open(o.db, "others", NULL, &others));
    must(&o, merle_bulk_begin(o.things, &bulk));
    put_some(&o, bulk, 0, DOCUMENTS);
    must(&o, merle_bulk_begin(others, &other));
    put_some(&o, other, 0, DOCUMENTS);
    merle_bulk_cancel(other);
    put_in(&o, others, 1);
    must(&o, merle_checkpoint(o.db));
}

static void commit_behind_a_load_given_up_beside_another_stays(void **state) {
    open_db o;
    merle_collection *others;
    run_child(*state, given_up_beside_another);
    db_open(*state, &o);
    must(&o, merle_collection_open(o.db, "others", NULL, &others));
    assert_int_equal(count_in(&o, o.things), 0);
    assert_int_equal(count_in(&o, others), 1);
    assert_int_equal(merle_check(o.db, &o.report), MERLE_OK);
    assert_int_equal(merle_close(o.db), MERLE_OK);
}

static void drop_beside(const place *p) {
    open_db o;
    merle_bulk *bulk;
    merle_collection *others;
    db_open(p, &o);
    must(&o, merle_collection_open(o.db, "others", NULL, &others));
    put_in(&o, others, 1);
    must(&o, merle_bulk_begin(o.things, &bulk));
    put_some(&o, bulk, 0, DOCUMENTS);
    put_in(&o, others, 2);
    must(&o, merle_collection_truncate(others, NULL));
    must(&o, merle_collection_drop(others, NULL));
    must(&o, merle_checkpoint(o.db));
    must(&o, merle_bulk_end(bulk, NULL));
}

static void collection_dropped_beside_a_load_is_gone(void **state) {
    run_child(*state, drop_beside);
    assert_has(*state, DOCUMENTS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_clear)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(load_that_has_ended_is_there),
        TEST(load_with_a_checkpoint_in_the_middle_is_whole),
        TEST(load_that_was_cut_off_has_never_been),
        TEST(commit_behind_a_load_that_was_cut_off_stays),
        TEST(load_behind_one_that_was_cut_off_counts_alone),
        TEST(load_that_was_given_up_has_never_been),
        TEST(load_that_ends_beside_a_checkpoint_is_there),
        TEST(load_given_up_on_a_full_disk_leaves_the_collection_to_others),
        TEST(commit_behind_a_load_given_up_beside_another_stays),
        TEST(collection_dropped_beside_a_load_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
