/* tests/unit/persist/log_terms_test.c - which openings of a log there were.
 *
 * Aim     Every opening has an id that no other has; it knows all that came before, and where each
 *         has ended: whatever was lost, torn, used again or removed. Files of version 1 are read.
 *         A forged list, and a file of another copy of the directory, are refused.
 * Method  Files in memory (shelf.h). The test keeps a list of its own. Headers are written by hand
 *         where a rule says what must come of it.
 * Blind   Unsynced writes that are lost in part: tests/crash does that.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/persist/log_stand.h"

enum { OPENINGS_MAX = 100 };

/* What there must be. */
static mrl_log_term known[OPENINGS_MAX];
static uint32_t known_count;

static void begin(log_stand *l, shelf *s) {
    shelf_init(s);
    log_stand_init(l, s);
    known_count = 0;
}

static uint8_t *header_of(shelf *s, uint64_t id, int copy) {
    char name[MRL_LOG_NAME_SIZE];
    mrl_log_name(name, id);
    shelf_file *file = shelf_find(s, name);
    assert_non_null(file);
    return file->data + copy * MRL_LOG_HEADER_SIZE;
}

/* The newest of those that are known are told, and no other. */
static void check(const log_stand *l) {
    const mrl_log_terms *terms = mrl_log_set_terms(l->set);
    uint32_t expected = known_count < MRL_LOG_TERMS_MAX ? known_count : MRL_LOG_TERMS_MAX;
    assert_int_equal(terms->count, expected);
    for (uint32_t i = 0; i < expected; i++) {
        const mrl_log_term *term = &known[known_count - expected + i];
        assert_true(terms->list[i].id == term->id && terms->list[i].term == term->term);
        assert_true(terms->list[i].end_seq == term->end_seq);
    }
}

/* Opens it, compares, and adds the new one to what is known: it has not ended yet. */
static void open_and_check(log_stand *l) {
    log_open_well(l);
    if (known_count > 0) known[known_count - 1].end_seq = l->last_seq;
    check(l);
    mrl_log_term term = {mrl_log_set_term(l->set), mrl_log_set_term_id(l->set), 0};
    assert_true(term.id != 0);
    for (uint32_t i = 0; i < known_count; i++) assert_true(known[i].id != term.id);
    assert_true(known_count < OPENINGS_MAX);
    known[known_count++] = term;
}

static void each_opening_knows_all_before(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    begin(&l, &s);
    for (uint64_t i = 0; i < 20; i++) {
        open_and_check(&l);
        assert_true(l.last_seq == i * (i - 1) / 2 || i == 0);
        log_put_many(&l, i);
        log_close(&l);
    }
    shelf_fini(&s);
}

static void opening_that_commits_nothing_is_known(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    begin(&l, &s);
    for (int i = 0; i < 10; i++) {
        open_and_check(&l);
        if (i == 3) log_put_durable(&l);
        if (i % 2 == 0)
            log_close(&l);
        else
            log_kill(&l);
    }
    /* They shared two files. */
    mrl_log_set_stats stats;
    open_and_check(&l);
    mrl_log_set_stat(l.set, &stats);
    assert_true(stats.files == 2);
    log_close(&l);
    shelf_fini(&s);
}

static void more_openings_than_a_header_tells_forget_the_oldest(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    begin(&l, &s);
    for (int i = 0; i < MRL_LOG_TERMS_MAX + 9; i++) {
        open_and_check(&l);
        if (i % 10 == 0) log_put_durable(&l);
        log_close(&l);
        /* As after a checkpoint: the files that go are those of the oldest. */
        l.start.covered_seq = l.options.after_seq = l.last_seq;
        l.start.named_id = UINT64_MAX;
    }
    shelf_fini(&s);
}

static void terms_outlive_their_files(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    begin(&l, &s);
    for (int i = 0; i < 5; i++) {
        open_and_check(&l);
        for (int n = 0; n < 1000; n++) {
            log_put_durable(&l);
            log_step(&l);
        }
        uint64_t seq = mrl_log_published_at(mrl_log_published(l.s.log));
        mrl_log_set_release(l.set, seq, UINT64_MAX);
        mrl_log_set_stats stats;
        mrl_log_set_stat(l.set, &stats);
        assert_true(stats.files == 1 && stats.current_id > 1);
        l.options.oldest_id = stats.current_id;
        l.options.after_seq = l.start.covered_seq = seq;
        l.start.named_id = stats.current_id;
        log_close(&l);
    }
    shelf_fini(&s);
}

/* As log_kill, and what was not synced is gone. */
static void cut_power(log_stand *l) {
    shelf synced;
    shelf_copy(&synced, l->shelf);
    for (int i = 0; i < SHELF_FILE_MAX; i++) {
        const shelf_file *from = &l->shelf->list[i];
        shelf_file *to = &synced.list[i];
        if (!to->is_there) continue;
        assert_true(from->synced != NULL && from->synced_size <= from->size);
        to->size = from->synced_size;
        memcpy(to->data, from->synced, to->size);
        to->synced = malloc(to->size + 1);
        memcpy(to->synced, to->data, to->size);
    }
    log_kill(l);
    for (int i = 0; i < SHELF_FILE_MAX; i++) {
        shelf_drop(&l->shelf->list[i]);
        l->shelf->list[i] = synced.list[i];
    }
    pthread_mutex_destroy(&synced.lock);
}

/* What was published and is not there after a power cut is not part of what comes later. */
static void term_ends_where_the_next_one_has_gone_on(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    begin(&l, &s);
    for (int i = 0; i < 6; i++) {
        open_and_check(&l);
        log_put_durable(&l);
        log_put_many(&l, 5);
        log_step(&l); /* written, not synced */
        cut_power(&l);
    }
    open_and_check(&l);
    assert_true(l.last_seq == 6);
    log_close(&l);
    shelf_fini(&s);
}

/* Each copy torn, at the moment when the file is begun again. */
static void header_torn_while_begun_again_loses_no_term(void **state) {
    (void)state;
    for (int copy = 0; copy < 2; copy++) {
        for (size_t at = 0; at < MRL_LOG_HEADER_SIZE; at += 512) {
            shelf s;
            log_stand l;
            uint8_t before[MRL_LOG_HEADER_SIZE];
            begin(&l, &s);
            for (int i = 0; i < 3; i++) {
                open_and_check(&l);
                if (i == 0) log_put_durable(&l);
                if (i < 2) log_close(&l);
                if (i == 1) memcpy(before, header_of(&s, 2, 0), sizeof before);
            }
            log_kill(&l);
            /* The second copy comes first, and the first one when that is on the disk. */
            if (copy == 1) memcpy(header_of(&s, 2, 0), before, sizeof before);
            memset(header_of(&s, 2, copy) + at, 7, MRL_LOG_HEADER_SIZE - at);
            /* With the second one torn the third opening has never been. */
            if (copy == 1) known_count--;
            open_and_check(&l);
            log_close(&l);
            shelf_fini(&s);
        }
    }
}

/* ---- version 1 ---- */

/* Both copies, as the version before wrote them. */
static void make_version_1(shelf *s, uint64_t id) {
    for (int copy = 0; copy < 2; copy++) {
        uint8_t *block = header_of(s, id, copy);
        block[8] = 1;
        uint32_t crc = mrl_crc32c(0, block, 96);
        memcpy(block + 96, &crc, sizeof crc);
        memset(block + 100, 0, MRL_LOG_HEADER_SIZE - 100);
    }
}

static void files_of_version_1_are_gone_on_with(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    begin(&l, &s);
    for (int i = 0; i < 3; i++) {
        log_open_well(&l);
        log_put_many(&l, 10);
        log_close(&l);
    }
    for (uint64_t id = 1; id <= 3; id++) make_version_1(&s, id);
    uint64_t first = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(log_open(&l), MERLE_OK);
        const mrl_log_terms *terms = mrl_log_set_terms(l.set);
        assert_true(l.given == 30 && mrl_log_set_term(l.set) == 3 && terms->count == 2);
        assert_true(terms->list[0].term == 1 && terms->list[0].end_seq == 10);
        assert_true(terms->list[1].term == 2 && terms->list[1].end_seq == 20);
        if (i == 0) first = terms->list[0].id;
        assert_true(terms->list[0].id == first && terms->list[1].id != first);
        known[0] = terms->list[0];
        known[1] = terms->list[1];
        known[2] = (mrl_log_term){3, mrl_log_set_term_id(l.set), 30};
        assert_int_equal(mrl_log_set_close(l.set, NULL), MERLE_OK);
    }
    known_count = 3;
    for (int i = 0; i < 3; i++) {
        open_and_check(&l);
        if (i == 1) log_put_durable(&l);
        log_close(&l);
    }
    shelf_fini(&s);
}

/* ---- what is refused ---- */

static void set_crcs(uint8_t *block) {
    uint32_t crc = mrl_crc32c(0, block, 96);
    memcpy(block + 96, &crc, sizeof crc);
    crc = mrl_crc32c(0, block, MRL_LOG_HEADER_SIZE - 4);
    memcpy(block + MRL_LOG_HEADER_SIZE - 4, &crc, sizeof crc);
}

/* Both copies of the third file changed, with right checksums. */
static merle_err open_changed(log_stand *l, shelf *s, size_t at, uint64_t value, size_t size) {
    uint8_t before[2 * MRL_LOG_HEADER_SIZE];
    memcpy(before, header_of(s, 3, 0), sizeof before);
    for (int copy = 0; copy < 2; copy++) {
        memcpy(header_of(s, 3, copy) + at, &value, size);
        set_crcs(header_of(s, 3, copy));
    }
    merle_err err = log_open(l);
    if (err == MERLE_OK) assert_int_equal(mrl_log_set_close(l->set, NULL), MERLE_OK);
    memcpy(header_of(s, 3, 0), before, sizeof before);
    return err;
}

static void forged_lists_are_refused(void **state) {
    (void)state;
    shelf s;
    log_stand l;
    begin(&l, &s);
    for (int i = 0; i < 3; i++) {
        open_and_check(&l);
        log_put_many(&l, 10);
        log_close(&l);
    }
    const struct {
        size_t at;
        uint64_t value;
        size_t size;
        merle_err err;
    } cases[] = {
        {104, known[2].id, 8, MERLE_OK},
        {104, 0, 8, MERLE_CORRUPT},               /* begun, and no id */
        {112, 65, 4, MERLE_CORRUPT},              /* more than there is room for */
        {112, UINT32_MAX, 4, MERLE_CORRUPT},      /* the same */
        {112, 3, 4, MERLE_CORRUPT},               /* a term 0 behind the others */
        {120, 2, 8, MERLE_CORRUPT},               /* not growing */
        {144, 3, 8, MERLE_CORRUPT},               /* not before its own */
        {128, 0, 8, MERLE_CORRUPT},               /* no id */
        {128, known[0].id + 1, 8, MERLE_CORRUPT}, /* another one than the files before tell */
        {152, known[1].id + 1, 8, MERLE_CORRUPT}, /* another one than that of the file before */
        {136, 21, 8, MERLE_CORRUPT},              /* ends behind the next one */
        {136, 9, 8, MERLE_CORRUPT},               /* ends before what the file before tells */
        {160, 21, 8, MERLE_CORRUPT},              /* ends behind what was accepted */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        merle_err err = open_changed(&l, &s, cases[i].at, cases[i].value, cases[i].size);
        if (err != cases[i].err) fail_msg("case %zu: %s", i, merle_err_name(err));
    }
    shelf_fini(&s);
}

/* Two copies of a directory go on by themselves; a file of the one is put into the other. */
static void file_of_another_copy_is_refused(void **state) {
    (void)state;
    shelf s, copy;
    log_stand l, other;
    char name[MRL_LOG_NAME_SIZE];
    begin(&l, &s);
    open_and_check(&l);
    log_put_many(&l, 10);
    log_close(&l);
    shelf_copy(&copy, &s);
    log_stand_init(&other, &copy);
    other.options.seed = 6;
    uint64_t ids[2];
    for (int i = 0; i < 2; i++) {
        log_open_well(&l);
        log_open_well(&other);
        if (i == 0) {
            ids[0] = mrl_log_set_term_id(l.set);
            ids[1] = mrl_log_set_term_id(other.set);
            assert_true(ids[0] != ids[1] && ids[1] != known[0].id);
        }
        log_put_many(&l, 10);
        log_put_many(&other, 10);
        log_close(&l);
        log_close(&other);
    }
    /* The third file, whose numbers are all as they should be. */
    mrl_log_name(name, 3);
    shelf_file *from = shelf_find(&copy, name), *to = shelf_find(&s, name);
    assert_true(from != NULL && to != NULL && from->size == to->size);
    memcpy(to->data, from->data, to->size);
    assert_int_equal(log_open(&l), MERLE_CORRUPT);
    shelf_fini(&copy);
    shelf_fini(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_opening_knows_all_before),
        cmocka_unit_test(opening_that_commits_nothing_is_known),
        cmocka_unit_test(more_openings_than_a_header_tells_forget_the_oldest),
        cmocka_unit_test(terms_outlive_their_files),
        cmocka_unit_test(term_ends_where_the_next_one_has_gone_on),
        cmocka_unit_test(header_torn_while_begun_again_loses_no_term),
        cmocka_unit_test(files_of_version_1_are_gone_on_with),
        cmocka_unit_test(forged_lists_are_refused),
        cmocka_unit_test(file_of_another_copy_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
