/* tests/unit/tags/set_test.c - sets of slots against plain masks, in all forms.
 *
 * Aim     A reader meets every slot that has the tag at its moment, in order and once; what is said
 *         to be certain is right, also when a reader begins between any two steps of a commit;
 *         counts are exact; spans change their form both ways; what is marked goes, and memory
 *         comes back; a refused allocation changes nothing.
 * Method  Random commits on documents whose slots lie close, scattered, or all over the 32 bits; up
 *         to three readers, each with a copy of what was true when it began; a check of the
 *         whole index again and again.
 * Blind   To races: there is one thread. tests/stress/tags_test.c has several.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/tags/stand.h"

#include "tags/array.h"
#include "tags/bitmap.h"

/* ---- one reader against its copy ---- */

typedef struct seeing {
    stand *s;
    stand_reader *r;
    uint32_t tag;
} seeing;

static uint64_t visible(void *context, const uint32_t *slots, size_t count) {
    const seeing *see = context;
    uint64_t seen = 0;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(slots[i] % see->s->stride, 0);
        seen += see->r->masks[slots[i] / see->s->stride] >> see->tag & 1;
    }
    return seen;
}

/* Reads the tag in batches of all sizes, from some document on. Returns how many had to be
 * rechecked. */
static uint32_t verify_tag(stand *s, stand_reader *r, uint32_t tag, uint32_t first) {
    uint32_t slots[700], document = first, rechecks = 0;
    uint8_t recheck[700];
    const mrl_tag *found = stand_tag(s, tag);
    mrl_run run = {.section_epoch = r->section_epoch, .slots = slots, .recheck = recheck};
    run.from = stand_slot(s, first);
    run.last = stand_below(s, 2) == 0 ? MRL_TAGS_END - 1 : stand_bound(s) - 1;
    do {
        run.max = 1 + stand_below(s, stand_below(s, 2) == 0 ? 5 : 700);
        run.count = 0;
        mrl_tag_read(found, &run);
        for (size_t i = 0; i < run.count; i++) {
            assert_int_equal(slots[i] % s->stride, 0);
            uint32_t at = slots[i] / s->stride;
            assert_true(at >= document); /* in order, and none twice */
            for (; document < at; document++)
                assert_false(r->masks[document] >> tag & 1); /* none was left out */
            if (!recheck[i]) assert_true(r->masks[at] >> tag & 1);
            rechecks += recheck[i];
            document++;
        }
        assert_true(run.from == MRL_TAGS_END || run.count == run.max);
    } while (run.from != MRL_TAGS_END);
    for (; document < s->count; document++) assert_false(r->masks[document] >> tag & 1);
    return rechecks;
}

static uint32_t verify(stand *s, stand_reader *r) {
    uint32_t rechecks = 0;
    for (uint32_t tag = 0; tag < STAND_TAGS; tag++) {
        uint64_t expected = 0;
        seeing see = {s, r, tag};
        for (uint32_t i = 0; i < s->count; i++) expected += r->masks[i] >> tag & 1;
        assert_int_equal(mrl_tag_count(stand_tag(s, tag), r->section_epoch, visible, &see),
                         expected);
        rechecks += verify_tag(s, r, tag, 0);
        (void)verify_tag(s, r, tag, stand_below(s, s->count));
    }
    return rechecks;
}

static void verify_all(stand *s) {
    for (int i = 0; i < STAND_READERS; i++)
        if (s->readers[i].is_open) (void)verify(s, &s->readers[i]);
    stand_sound(s);
}

/* With nobody else about, everything is certain, and what is left is what lives. */
static void verify_at_rest(stand *s) {
    mrl_tags_stats stats;
    mrl_epoch_token token;
    uint64_t live = 0;
    stand_end_readers(s);
    s->refuse_each = 0;
    /* A span that changes its form gives its marks a newer ticket: so one round may not be
     * enough. */
    for (int round = 0; round < 2000 && mrl_tags_has_garbage(s->tags); round++) {
        stand_drain(s);
        mrl_member_enter(s->member, &token);
        (void)mrl_tags_sweep(s->tags, s->member, 100);
        mrl_member_leave(s->member, &token);
    }
    assert_false(mrl_tags_has_garbage(s->tags));
    stand_drain(s);
    stand_read_begin(s, &s->readers[0]);
    assert_int_equal(verify(s, &s->readers[0]), 0);
    mrl_tags_stat(s->tags, &stats);
    for (uint32_t i = 0; i < s->count; i++) live += (uint64_t)__builtin_popcount(s->masks[i]);
    assert_int_equal(stats.entries, live);
    assert_int_equal(stats.marked, 0);
    assert_int_equal(stats.bytes - sizeof(mrl_tags) > 0, live > 0);
    stand_read_end(s, &s->readers[0]);
    stand_sound(s);
}

/* ---- random lives ---- */

/* Tag t is wanted by so many of a hundred documents. */
static void live(stand *s, uint32_t steps, const uint32_t wanted[STAND_TAGS], uint32_t window) {
    uint32_t first = window < s->count ? stand_below(s, s->count - window) : 0;
    uint32_t span = window < s->count ? window : s->count;
    for (uint32_t i = 0; i < steps; i++) {
        uint32_t document = first + stand_below(s, span), tag = stand_below(s, STAND_TAGS);
        int has = s->masks[document] >> tag & 1, wants = stand_below(s, 100) < wanted[tag];
        if (has != wants || stand_below(s, 50) == 0)
            (void)stand_commit(s, document, tag, stand_below(s, 8) == 0);
        stand_idle(s);
        if (i % (steps / 60) == 0) verify_all(s);
    }
}

static void random_life(uint32_t count, uint32_t stride, uint64_t refuse_each, uint64_t seed) {
    static const uint32_t fill[STAND_TAGS] = {99, 60, 12, 30, 3, 1};
    static const uint32_t churn[STAND_TAGS] = {50, 50, 50, 10, 50, 50};
    static const uint32_t thin[STAND_TAGS] = {2, 0, 9, 0, 1, 0};
    static const uint32_t none[STAND_TAGS] = {0};
    uint32_t steps = (uint32_t)test_amount(12000);
    stand s;
    stand_begin(&s, count, stride, seed);
    s.refuse_each = refuse_each;
    live(&s, 4 * steps, fill, count);
    live(&s, steps, churn, 700);
    live(&s, 4 * steps, thin, count);
    live(&s, steps, fill, 5000);
    live(&s, 4 * steps, none, count);
    verify_at_rest(&s);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t tag = 0; tag < STAND_TAGS; tag++)
            if (s.masks[i] >> tag & 1) assert_int_equal(stand_commit(&s, i, tag, 0), MERLE_OK);
    verify_at_rest(&s);
    assert_int_equal(s.tags->tag_count, 0);
    assert_int_equal(s.tags->span_count, 0);
    assert_int_equal(s.tags->block_bytes, 0);
    stand_end(&s);
}

static void set_of_neighbours_is_as_plain(void **state) {
    (void)state;
    random_life(9000, 1, 0, test_seed());
}
static void set_scattered_is_as_plain(void **state) {
    (void)state;
    random_life(6000, 167, 0, test_seed() + 1);
}
static void set_over_all_bits_is_as_plain(void **state) {
    (void)state;
    random_life(6000, 700001, 0, test_seed() + 2);
}
static void set_with_memory_refused_is_as_plain(void **state) {
    (void)state;
    random_life(9000, 3, 5, test_seed() + 3);
}

/* ---- forms ---- */

static mrl_form form_at(const stand *s, uint32_t tag, uint32_t slot) {
    const mrl_span *span = mrl_root_find(mrl_tag_root(stand_tag(s, tag)), slot);
    assert_non_null(span);
    return (mrl_form)span->form;
}

static void sweep_all(stand *s) {
    mrl_epoch_token token;
    stand_drain(s);
    mrl_member_enter(s->member, &token);
    while (mrl_tags_sweep(s->tags, s->member, 100) > 0) continue;
    mrl_member_leave(s->member, &token);
    stand_drain(s);
}

static void window_filled_becomes_bitmap_and_array_again(void **state) {
    stand s;
    (void)state;
    stand_begin(&s, 4096, 1, 1);
    for (uint32_t i = 0; i < MRL_ARRAY_MAX; i++) (void)stand_commit(&s, i, 0, 0);
    assert_int_equal(form_at(&s, 0, 0), MRL_FORM_ARRAY);
    (void)stand_commit(&s, MRL_ARRAY_MAX, 0, 0);
    assert_int_equal(form_at(&s, 0, 0), MRL_FORM_BITMAP);
    for (uint32_t i = 0; i <= MRL_ARRAY_MAX - MRL_BITMAP_MIN; i++) (void)stand_commit(&s, i, 0, 0);
    verify_at_rest(&s);
    assert_int_equal(form_at(&s, 0, 200), MRL_FORM_BITMAP);
    (void)stand_commit(&s, 300, 0, 0);
    verify_at_rest(&s);
    assert_int_equal(form_at(&s, 0, 200), MRL_FORM_ARRAY);
    verify_at_rest(&s);
    stand_end(&s);
}

static void slots_descending_are_in_order(void **state) {
    stand s;
    (void)state;
    stand_begin(&s, 20000, 5, 1);
    for (uint32_t i = s.count; i-- > 0;) (void)stand_commit(&s, i, i % STAND_TAGS, 0);
    verify_at_rest(&s);
    stand_end(&s);
}

static void spans_thinned_out_become_one(void **state) {
    stand s;
    mrl_tags_stats stats;
    (void)state;
    stand_begin(&s, 20000, 50, 1);
    for (uint32_t i = 0; i < s.count; i++) (void)stand_commit(&s, i, 0, 0);
    mrl_tags_stat(s.tags, &stats);
    assert_true(stats.spans > 60);
    for (uint32_t i = 0; i < s.count; i++)
        if (i % 400 != 7) (void)stand_commit(&s, i, 0, 0);
    verify_at_rest(&s);
    mrl_tags_stat(s.tags, &stats);
    assert_int_equal(stats.entries, 50);
    assert_true(stats.spans <= 2);
    assert_true(stats.bytes < sizeof(mrl_tags) + 2000);
    stand_end(&s);
}

/* A span changes its form after a commit that a reader does not see has touched it: the reader must
 * not take the new span for settled. */
static void form_changed_under_a_reader(uint32_t count, uint32_t stride, uint32_t kept,
                                        uint32_t spread) {
    stand s;
    stand_reader r = {0};
    mrl_epoch_token token;
    stand_begin(&s, count, stride, 1);
    r.masks = calloc(count, 1);
    for (uint32_t i = 1; i < count; i++) (void)stand_commit(&s, i, 0, 0);
    for (uint32_t i = kept; i < count; i++)
        if (i % spread != 0) (void)stand_commit(&s, i, 0, 0);
    stand_end_readers(&s);
    stand_drain(&s);
    const mrl_root *before = mrl_tag_root(stand_tag(&s, 0));
    stand_read_begin(&s, &r);
    (void)stand_commit(&s, 0, 0, 0);
    (void)stand_commit(&s, 1, 0, 0);
    mrl_member_enter(s.member, &token);
    (void)mrl_tags_sweep(s.tags, s.member, SIZE_MAX);
    mrl_member_leave(s.member, &token);
    assert_ptr_not_equal(mrl_tag_root(stand_tag(&s, 0)), before);
    assert_true(verify(&s, &r) > 0);
    stand_read_end(&s, &r);
    free(r.masks);
    stand_end_readers(&s);
    stand_end(&s);
}

static void form_changed_keeps_what_was_touched(void **state) {
    (void)state;
    form_changed_under_a_reader(320, 1, 100, 400); /* a bitmap becomes an array */
    form_changed_under_a_reader(300, 1, 30, 400);  /* an array becomes smaller */
    form_changed_under_a_reader(400, 50, 2, 10);   /* arrays become one */
}

/* ---- marks ---- */

static int has(const stand *s, uint32_t tag, uint32_t slot) {
    uint32_t found;
    mrl_run run = {.section_epoch = mrl_ticket_take(s->domain) - 100, .slots = &found, .max = 1};
    run.from = run.last = slot;
    mrl_tag_read(stand_tag(s, tag), &run);
    return run.count == 1;
}

static void marked_entry_stays_while_a_section_may_need_it(void **state) {
    stand s;
    mrl_epoch_token old, token;
    (void)state;
    stand_begin(&s, 1000, 3, 1);
    for (uint32_t i = 0; i < 10; i++) (void)stand_commit(&s, i, 0, 0);
    mrl_member_enter(s.member, &old);
    (void)stand_commit(&s, 5, 0, 0);
    for (int i = 0; i < 20; i++) sweep_all(&s);
    assert_true(has(&s, 0, 15));
    mrl_member_leave(s.member, &old);
    stand_end_readers(&s);
    sweep_all(&s);
    mrl_member_enter(s.member, &token);
    assert_false(has(&s, 0, 15));
    assert_true(has(&s, 0, 18));
    assert_false(mrl_tags_has_garbage(s.tags));
    mrl_member_leave(s.member, &token);
    stand_end(&s);
}

static void entry_unmarked_lives_on(void **state) {
    stand s;
    int added;
    (void)state;
    stand_begin(&s, 1000, 3, 1);
    for (uint32_t i = 0; i < 400; i++) (void)stand_commit(&s, i, 0, 0);
    for (uint32_t i = 0; i < 400; i++) (void)stand_commit(&s, i, 0, 0);
    for (uint32_t i = 0; i < 400; i += 2) (void)stand_commit(&s, i, 0, 0);
    assert_int_equal(mrl_tags_add(s.tags, s.member, stand_name(0), 0, &added), MERLE_OK);
    assert_int_equal(added, 0);
    verify_at_rest(&s);
    stand_end(&s);
}

/* A section that begins after a commit has published and before it has marked: S sees the commit,
 * the entry is unmarked still, and nobody else has touched the span for long. */
static void entry_given_up_is_rechecked_before_it_is_marked(void **state) {
    static const uint32_t counts[2] = {100, 1000}; /* an array, bitmaps */
    (void)state;
    for (int i = 0; i < 2; i++) {
        stand s;
        mrl_epoch_token token;
        uint32_t slot = 20, found;
        uint8_t recheck = 9;
        stand_begin(&s, counts[i], 2, 1);
        for (uint32_t at = 0; at < s.count; at++) (void)stand_commit(&s, at, 0, 0);
        stand_end_readers(&s);
        stand_drain(&s);
        mrl_member_enter(s.member, &token);
        mrl_tag *warned = mrl_tags_warn(s.tags, s.member, stand_name(0), slot);
        mrl_run run = {.section_epoch = mrl_epoch_at_begin(s.domain)};
        run.slots = &found;
        run.recheck = &recheck;
        run.max = 1;
        run.from = run.last = slot;
        mrl_tag_read(stand_tag(&s, 0), &run);
        assert_int_equal(run.count, 1);
        assert_int_equal(recheck, 1);
        mrl_tag_mark(s.tags, s.member, warned, slot);
        mrl_member_leave(s.member, &token);
        stand_end(&s);
    }
}

/* Somebody marks without pause, and at no time is everybody gone: still the set stays small. */
static void garbage_goes_under_constant_marking(void **state) {
    stand s;
    mrl_epoch_token tokens[2];
    (void)state;
    stand_begin(&s, 300, 70000, 1);
    (void)stand_commit(&s, 0, 0, 0);
    mrl_member_enter(s.member, &tokens[0]);
    for (uint32_t i = 0; i < 3000; i++) {
        uint32_t document = 1 + i % 299;
        mrl_member_enter(s.member, &tokens[(i + 1) % 2]);
        mrl_member_leave(s.member, &tokens[i % 2]);
        (void)stand_commit(&s, document, 0, 0);
        (void)stand_commit(&s, document, 0, 0);
        mrl_epoch_advance(s.member);
        assert_true(stand_tag(&s, 0)->entry_count < 40);
    }
    mrl_member_leave(s.member, &tokens[0]);
    stand_end_readers(&s);
    stand_end(&s);
}

/* ---- sets made at once ---- */

/* Every pattern of density, over all bits; and each allocation refused in turn. */
static void fill(uint32_t count, uint32_t stride, uint32_t percent) {
    stand s;
    uint32_t *slots = calloc(count, sizeof *slots);
    size_t n = 0;
    merle_err err = MERLE_NO_MEMORY;
    stand_begin(&s, count, stride, test_seed() + percent);
    for (uint32_t i = 0; i < count; i++) {
        if (stand_below(&s, 100) >= percent) continue;
        slots[n++] = stand_slot(&s, i);
        s.masks[i] |= 1;
    }
    for (uint64_t nth = 1; err == MERLE_NO_MEMORY; nth++) {
        if (nth > 40) nth += nth / 8;
        s.refuse_at = s.asked_count + nth;
        err = mrl_tags_fill(s.tags, s.member, stand_name(0), slots, n);
        s.refuse_at = 0;
        if (err == MERLE_NO_MEMORY) {
            assert_null(stand_tag(&s, 0));
            assert_int_equal(s.tags->block_bytes, 0);
        }
    }
    assert_int_equal(err, MERLE_OK);
    assert_int_equal(mrl_tags_fill(s.tags, s.member, stand_name(0), slots, n), MERLE_EXISTS);
    verify_at_rest(&s);
    /* It lives on as any other. */
    for (uint32_t i = 0; i < 3000; i++) (void)stand_commit(&s, stand_below(&s, count), 0, 0);
    verify_at_rest(&s);
    stand_end(&s);
    free(slots);
}

static void set_filled_at_once_is_as_plain(void **state) {
    (void)state;
    fill(20000, 1, 50);
    fill(20000, 1, 2);
    fill(20000, 30, 90);
    fill(20000, 200003, 70);
    fill(300, 3, 99);
    fill(20, 100000000, 99);
}

/* ---- memory ---- */

static void allocation_refused_changes_nothing(void **state) {
    stand s;
    uint64_t refused = 0;
    (void)state;
    stand_begin(&s, 3000, 40, 5);
    for (uint32_t i = 0; i < s.count; i++) {
        /* From here on each allocation of this commit is refused in turn, until it needs none. */
        for (uint64_t nth = 1;; nth++) {
            s.refuse_at = s.asked_count + nth;
            merle_err err = stand_commit(&s, i, i % 2, 0);
            s.refuse_at = 0;
            if (err == MERLE_OK) break;
            refused++;
            if (i % 50 == 0) stand_sound(&s);
            assert_false(s.masks[i] >> (i % 2) & 1);
        }
    }
    assert_true(refused > 50);
    verify_at_rest(&s);
    stand_end(&s);
}

static void memory_comes_back_when_most_is_gone(void **state) {
    stand s;
    mrl_tags_stats full, left;
    (void)state;
    stand_begin(&s, 60000, 1, 1);
    for (uint32_t i = 0; i < s.count; i++) (void)stand_commit(&s, i, stand_below(&s, 2), 0);
    verify_at_rest(&s);
    mrl_tags_stat(s.tags, &full);
    for (uint32_t i = 0; i < s.count; i++)
        if (i % 10 != 0) (void)stand_commit(&s, i, (uint32_t)__builtin_ctz(s.masks[i]), 0);
    verify_at_rest(&s);
    mrl_tags_stat(s.tags, &left);
    test_say("%llu entries %llu bytes, %llu entries %llu bytes", (unsigned long long)full.entries,
             (unsigned long long)full.bytes, (unsigned long long)left.entries,
             (unsigned long long)left.bytes);
    assert_true(left.bytes - sizeof(mrl_tags) < left.entries * 8);
    stand_end(&s);
}

enum { GUILDS = 1000, MEMBERS = 100 };

/* Documents spread at random over many tags: what an entry costs, all in all, also after each of
 * them has moved once. */
static void entry_of_many_small_tags_takes_eight_bytes(void **state) {
    stand s;
    mrl_tags_stats stats;
    mrl_epoch_token token;
    char names[2][24];
    int added;
    uint32_t *guilds = calloc(GUILDS * MEMBERS, sizeof *guilds);
    (void)state;
    stand_begin(&s, 1, 1, test_seed());
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < GUILDS * MEMBERS; i++) {
            uint32_t slot = (uint32_t)((uint64_t)i * 77777 % (GUILDS * MEMBERS));
            uint32_t guild = stand_below(&s, GUILDS);
            merle_bytes name =
                merle_bytes_of(names[0], (size_t)snprintf(names[0], 24, "guild-%05u", guild));
            merle_bytes before = merle_bytes_of(
                names[1], (size_t)snprintf(names[1], 24, "guild-%05u", guilds[slot]));
            if (round > 0 && guild == guilds[slot]) continue;
            mrl_member_enter(s.member, &token);
            mrl_tag *warned = NULL;
            if (round > 0) warned = mrl_tags_warn(s.tags, s.member, before, slot);
            assert_int_equal(mrl_tags_add(s.tags, s.member, name, slot, &added), MERLE_OK);
            if (round > 0) mrl_tag_mark(s.tags, s.member, warned, slot);
            (void)mrl_tags_sweep(s.tags, s.member, 2);
            mrl_member_leave(s.member, &token);
            if (i % 64 == 0) stand_drain(&s);
            guilds[slot] = guild;
        }
        stand_drain(&s);
        mrl_tags_stat(s.tags, &stats);
        test_say("%.2f bytes an entry, %llu of them marked",
                 (double)stats.bytes / (GUILDS * MEMBERS), (unsigned long long)stats.marked);
        assert_true(stats.bytes <= 8 * GUILDS * MEMBERS);
        assert_true(mrl_domain_bytes(s.domain, MRL_FOR_TABLES) <= 8 * GUILDS * MEMBERS);
        stand_sound(&s);
    }
    free(guilds);
    stand_end(&s);
}

/* Tags of one document each that come and go leave nothing behind. */
static void tags_used_once_leave_nothing(void **state) {
    stand s;
    mrl_epoch_token token;
    char name[24];
    int added;
    uint64_t bytes_early = 0;
    (void)state;
    stand_begin(&s, 1, 1, 1);
    for (uint32_t i = 0; i < 100000; i++) {
        merle_bytes once = merle_bytes_of(name, (size_t)snprintf(name, 24, "once-%u", i));
        mrl_member_enter(s.member, &token);
        assert_int_equal(mrl_tags_add(s.tags, s.member, once, i, &added), MERLE_OK);
        mrl_tag_mark(s.tags, s.member, mrl_tags_warn(s.tags, s.member, once, i), i);
        (void)mrl_tags_sweep(s.tags, s.member, 4);
        mrl_member_leave(s.member, &token);
        mrl_epoch_advance(s.member);
        (void)mrl_domain_drain(s.member, 16);
        if (i == 1000) bytes_early = mrl_domain_bytes(s.domain, MRL_FOR_TABLES);
    }
    assert_true(mrl_domain_bytes(s.domain, MRL_FOR_TABLES) < 2 * bytes_early);
    assert_true(s.tags->tag_count < 100);
    stand_sound(&s);
    stand_end(&s);
}

static void index_is_cleared_in_steps(void **state) {
    stand s;
    size_t steps = 0, freed;
    (void)state;
    stand_begin(&s, 20000, 50, 1);
    for (uint32_t i = 0; i < s.count; i++) (void)stand_commit(&s, i, i % STAND_TAGS, 0);
    stand_end_readers(&s);
    while ((freed = mrl_tags_clear_some(s.tags, s.member, 10)) > 0) {
        assert_true(freed <= 11);
        steps++;
    }
    assert_true(steps > 10);
    assert_int_equal(s.tags->block_bytes, 0);
    stand_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_of_neighbours_is_as_plain),
        cmocka_unit_test(set_scattered_is_as_plain),
        cmocka_unit_test(set_over_all_bits_is_as_plain),
        cmocka_unit_test(set_with_memory_refused_is_as_plain),
        cmocka_unit_test(window_filled_becomes_bitmap_and_array_again),
        cmocka_unit_test(slots_descending_are_in_order),
        cmocka_unit_test(spans_thinned_out_become_one),
        cmocka_unit_test(form_changed_keeps_what_was_touched),
        cmocka_unit_test(marked_entry_stays_while_a_section_may_need_it),
        cmocka_unit_test(entry_unmarked_lives_on),
        cmocka_unit_test(entry_given_up_is_rechecked_before_it_is_marked),
        cmocka_unit_test(garbage_goes_under_constant_marking),
        cmocka_unit_test(set_filled_at_once_is_as_plain),
        cmocka_unit_test(allocation_refused_changes_nothing),
        cmocka_unit_test(memory_comes_back_when_most_is_gone),
        cmocka_unit_test(entry_of_many_small_tags_takes_eight_bytes),
        cmocka_unit_test(tags_used_once_leave_nothing),
        cmocka_unit_test(index_is_cleared_in_steps),
    };
    test_seed_print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
