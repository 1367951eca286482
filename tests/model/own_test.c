/* tests/model/own_test.c - everything that can be read inside a commit, against plain arrays.
 *
 * Aim     Each reading call that is given a commit's section answers with the commit's instant and
 *         its own writes on top: by key, by unique value, scans, counts, ranges in both directions,
 *         ranks, the n-th, tags; after every few operations, whatever was read before, and whatever
 *         others write meanwhile.
 * Method  Each commit has an array of documents, read key by key before its first operation, in
 *         which the test does what it asks the commit to do. Answers are compared with a walk over
 *         the array. Several commits are open at once in one thread, others write beside them, in
 *         this thread and in others.
 * Blind   What a commit reads before it writes: that is the twin's and ranges_test's. Whether
 *         equal values come in the order of their slots.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include <merle/merle.h>

#include "base/random.h"
#include "seed.h"

enum { KEY_COUNT = 70, GUILD_COUNT = 3, TAG_COUNT = 5, SCORE_MAX = 9, EMAIL_COUNT = 90 };

typedef struct stage {
    merle_db *db;
    merle_collection *players;
} stage;

static void must(merle_err err) {
    if (err != MERLE_OK) print_message("# %s\n", merle_err_name(err));
    assert_int_equal(err, MERLE_OK);
}

static stage stage_open(merle_options options) {
    static const merle_index indexes[] = {
        {.name = "email", .kind = MERLE_UNIQUE, .on = "email"},
        {.name = "score", .kind = MERLE_ORDERED, .on = "score"},
        {.name = "rank", .kind = MERLE_ORDERED, .on = "guild, -score"},
        {.name = "tags", .kind = MERLE_TAGS, .on = "tags"},
        {.name = NULL},
    };
    const merle_schema schema = {.version = 1, .indexes = indexes};
    stage s;
    must(merle_open(NULL, &options, &s.db));
    must(merle_collection_open(s.db, "players", &schema, &s.players));
    return s;
}

static void stage_close(const stage *s) {
    merle_report report;
    must(merle_check(s->db, &report));
    must(merle_close(s->db));
}

/* ---- documents ---- */

/* -1: the field is not there. tags: one bit each. */
typedef struct plain {
    int is_there;
    int score, guild, email;
    unsigned tags;
    int changed; /* by the commit, since somebody cleared this */
} plain;

/* A commit, and what it should show. */
typedef struct world {
    const stage *s;
    mrl_random *r;
    merle_builder *b;
    merle_commit *commit;
    merle_section *section;
    plain docs[KEY_COUNT];
} world;

static merle_bytes key_of(char text[16], int number) {
    (void)snprintf(text, 16, "k%d", number);
    return merle_str(text);
}

static int number_of(merle_doc doc) {
    char text[16] = {0};
    merle_bytes key = merle_doc_key(doc);
    assert_in_range(key.size, 2, 15);
    memcpy(text, key.data, key.size);
    return atoi(text + 1);
}

static const char *guild_name(int guild) {
    static const char *const names[GUILD_COUNT] = {"blue", "red", "redder"};
    return names[guild];
}

static const char *tag_name(int tag) {
    static const char *const names[TAG_COUNT] = {"t0", "t1", "t2", "t3", "t4"};
    return names[tag];
}

static merle_bytes build(merle_builder *b, const plain *p) {
    merle_bytes bytes;
    merle_build_begin(b);
    if (p->score >= 0) merle_build_int(b, "score", p->score);
    if (p->email >= 0) merle_build_int(b, "email", p->email);
    if (p->guild >= 0) merle_build_str(b, "guild", guild_name(p->guild));
    if (p->tags != 0) {
        merle_build_array(b, "tags");
        for (int i = 0; i < TAG_COUNT; i++)
            if (p->tags >> i & 1) merle_build_str(b, NULL, tag_name(i));
        merle_build_close(b);
    }
    must(merle_build_end(b, &bytes));
    return bytes;
}

static plain parse(merle_doc doc) {
    plain p = {.is_there = 1, .guild = -1};
    merle_value value;
    char path[16];
    p.score = (int)merle_doc_int(doc, "score", -1);
    p.email = (int)merle_doc_int(doc, "email", -1);
    if (merle_doc_value(doc, "guild", &value) == MERLE_OK)
        for (int i = 0; i < GUILD_COUNT; i++)
            if (value.bytes.size == strlen(guild_name(i)) &&
                memcmp(value.bytes.data, guild_name(i), value.bytes.size) == 0)
                p.guild = i;
    for (uint32_t i = 0; i < TAG_COUNT; i++) {
        (void)snprintf(path, sizeof path, "tags[%u]", i);
        if (merle_doc_value(doc, path, &value) != MERLE_OK) break;
        p.tags |= 1u << (((const char *)value.bytes.data)[1] - '0');
    }
    return p;
}

static void assert_same(const plain *a, const plain *b) {
    assert_int_equal(a->is_there, b->is_there);
    if (!a->is_there) return;
    assert_int_equal(a->score, b->score);
    assert_int_equal(a->guild, b->guild);
    assert_int_equal(a->email, b->email);
    assert_int_equal(a->tags, b->tags);
}

/* ---- writing ---- */

static int email_holder(const world *w, int email) {
    for (int i = 0; i < KEY_COUNT; i++)
        if (w->docs[i].is_there && w->docs[i].email == email) return i;
    return -1;
}

/* An email that nobody has as the commit sees it: what it takes from one it may give to another. */
static int free_email(const world *w) {
    int email = (int)mrl_random_below(w->r, EMAIL_COUNT);
    return email_holder(w, email) < 0 ? email : -1;
}

static plain random_doc(const world *w) {
    plain p = {.is_there = 1};
    p.score = (int)mrl_random_below(w->r, SCORE_MAX + 1) - 1;
    p.guild = (int)mrl_random_below(w->r, GUILD_COUNT + 1) - 1;
    p.tags = (unsigned)mrl_random_below(w->r, 1u << TAG_COUNT);
    p.email = mrl_random_below(w->r, 2) ? free_email(w) : -1;
    p.changed = 1;
    return p;
}

static void patch_score(world *w, merle_bytes key, plain *p) {
    if (p->score >= 0 && mrl_random_below(w->r, 2)) {
        p->score++;
        must(merle_patch(w->commit, w->s->players, key, MERLE_INC("score", 1)));
    } else if (mrl_random_below(w->r, 2)) {
        p->score = (int)mrl_random_below(w->r, SCORE_MAX);
        must(merle_patch(w->commit, w->s->players, key, MERLE_SET_INT("score", p->score)));
    } else {
        p->score = -1;
        must(merle_patch(w->commit, w->s->players, key, MERLE_UNSET("score")));
    }
}

static void patch_other(world *w, merle_bytes key, plain *p) {
    if (mrl_random_below(w->r, 3) == 0) {
        p->tags = 0;
        must(merle_patch(w->commit, w->s->players, key, MERLE_UNSET("tags")));
    } else if (mrl_random_below(w->r, 2)) {
        p->email = -1;
        must(merle_patch(w->commit, w->s->players, key, MERLE_UNSET("email")));
    } else {
        p->guild = (int)mrl_random_below(w->r, GUILD_COUNT);
        must(merle_patch(w->commit, w->s->players, key,
                         MERLE_SET_STR("guild", guild_name(p->guild))));
    }
}

/* One operation that the commit can carry out on what it sees. */
static void write_one(world *w) {
    char text[16];
    int number = (int)mrl_random_below(w->r, KEY_COUNT);
    merle_bytes key = key_of(text, number);
    plain *p = &w->docs[number];
    uint64_t what = mrl_random_below(w->r, 8);
    p->changed = 1;
    if (p->is_there && what < 2) {
        p->is_there = 0;
        must(merle_remove(w->commit, w->s->players, key));
    } else if (p->is_there && what < 4) {
        patch_score(w, key, p);
    } else if (p->is_there && what < 6) {
        patch_other(w, key, p);
    } else {
        int was_there = p->is_there;
        p->is_there = 0; /* its own email may stay */
        *p = random_doc(w);
        merle_bytes doc = build(w->b, p);
        if (what == 6)
            must((was_there ? merle_replace : merle_insert)(w->commit, w->s->players, key, doc));
        else
            must(merle_put(w->commit, w->s->players, key, doc));
    }
}

/* ---- reading: keys, values, scans ---- */

static void compare_keys(world *w) {
    char texts[KEY_COUNT][16];
    merle_bytes keys[KEY_COUNT];
    merle_doc docs[KEY_COUNT], doc;
    size_t found = 0, wanted = 0;
    for (int i = 0; i < KEY_COUNT; i++) keys[i] = key_of(texts[i], i);
    must(merle_get_many(w->section, w->s->players, keys, KEY_COUNT, docs, &found));
    for (int i = 0; i < KEY_COUNT; i++) {
        merle_err err = merle_get(w->section, w->s->players, keys[i], &doc);
        assert_int_equal(err, w->docs[i].is_there ? MERLE_OK : MERLE_NOT_FOUND);
        assert_int_equal(merle_exists(w->section, w->s->players, keys[i]), err);
        assert_ptr_equal(docs[i].data, doc.data);
        assert_int_equal(docs[i].seq, doc.seq);
        if (err != MERLE_OK) continue;
        plain p = parse(doc);
        assert_same(&p, &w->docs[i]);
        wanted++;
    }
    assert_int_equal(found, wanted);
}

static void compare_emails(world *w) {
    for (int i = 0; i < EMAIL_COUNT; i++) {
        merle_doc doc;
        int holder = email_holder(w, i);
        merle_err err = merle_get_by(w->section, w->s->players, "email", &doc, merle_value_int(i));
        assert_int_equal(err, holder < 0 ? MERLE_NOT_FOUND : MERLE_OK);
        if (holder >= 0) assert_int_equal(number_of(doc), holder);
    }
}

/* The documents of a scan, in its order. */
static size_t scan(world *w, merle_doc *docs) {
    merle_scan scan = {0};
    size_t count = 0, some;
    while (merle_scan_next(w->section, w->s->players, &scan, docs + count,
                           1 + mrl_random_below(w->r, 9), &some) == MERLE_OK)
        count += some;
    return count;
}

static void compare_scan(world *w, merle_doc *docs, size_t *out_count) {
    int seen[KEY_COUNT] = {0};
    uint64_t count = 0, wanted = 0;
    size_t met = scan(w, docs);
    for (size_t i = 0; i < met; i++) {
        int number = number_of(docs[i]);
        plain p = parse(docs[i]);
        assert_int_equal(seen[number]++, 0);
        assert_same(&p, &w->docs[number]);
    }
    for (int i = 0; i < KEY_COUNT; i++) wanted += (uint64_t)w->docs[i].is_there;
    assert_int_equal(met, wanted);
    must(merle_count(w->section, w->s->players, &count));
    assert_int_equal(count, wanted);
    *out_count = met;
}

/* Tags come in the order of a scan. */
static void compare_tags(world *w, const merle_doc *docs, size_t doc_count) {
    for (int tag = 0; tag < TAG_COUNT; tag++) {
        merle_value value = merle_value_str(tag_name(tag));
        merle_doc found[KEY_COUNT + 16];
        merle_scan scan = {0};
        size_t met = 0, some, at = 0;
        uint64_t count = 0;
        while (merle_tag_next(w->section, w->s->players, "tags", value, &scan, found + met,
                              1 + mrl_random_below(w->r, 9), &some) == MERLE_OK)
            met += some;
        for (size_t i = 0; i < doc_count; i++) {
            if (!(w->docs[number_of(docs[i])].tags >> tag & 1)) continue;
            assert_true(at < met);
            assert_ptr_equal(found[at++].data, docs[i].data);
        }
        assert_int_equal(at, met);
        must(merle_tag_count(w->section, w->s->players, "tags", value, &count));
        assert_int_equal(count, met);
    }
}

/* ---- reading: ranges ---- */

typedef struct asked {
    merle_range range;
    merle_value from[2], to[2];
    int is_rank;
} asked;

/* In the order of the index; what has less fields is a bound. */
static int compare_places(const asked *a, const plain *p, const plain *q) {
    if (!a->is_rank) return p->score - q->score;
    return p->guild != q->guild ? p->guild - q->guild : q->score - p->score;
}

static plain plain_of(const asked *a, const merle_bound *bound) {
    plain p = {0};
    const merle_value *score = a->is_rank ? &bound->values[1] : bound->values;
    p.score = (int)score->number.i;
    if (!a->is_rank) return p;
    for (int i = 0; i < GUILD_COUNT; i++)
        if (bound->values[0].bytes.size == strlen(guild_name(i))) p.guild = i;
    return p;
}

static int is_in(const asked *a, const plain *p) {
    if (!p->is_there || p->score < 0 || (a->is_rank && p->guild < 0)) return 0;
    for (int end = 0; end < 2; end++) {
        const merle_bound *bound = end == 0 ? &a->range.from : &a->range.to;
        if (bound->kind == MERLE_NO_BOUND) continue;
        plain edge = plain_of(a, bound);
        int order = compare_places(a, p, &edge);
        /* Only a guild: all of it. */
        if (a->is_rank && bound->value_count == 1) order = p->guild - edge.guild;
        if (order == 0 && bound->kind == MERLE_OPEN) return 0;
        if (end == 0 ? order < 0 : order > 0) return 0;
    }
    return 1;
}

static void ask_bound(world *w, asked *a, merle_bound *bound, merle_value *values) {
    merle_value score = merle_value_int((int64_t)mrl_random_below(w->r, SCORE_MAX));
    values[0] = score;
    if (a->is_rank) {
        values[0] = merle_value_str(guild_name((int)mrl_random_below(w->r, GUILD_COUNT)));
        values[1] = score;
    }
    bound->kind = (merle_bound_kind)mrl_random_below(w->r, 3);
    bound->values = values;
    bound->value_count = a->is_rank ? 1 + mrl_random_below(w->r, 2) : 1;
}

static void ask(world *w, asked *a) {
    memset(a, 0, sizeof *a);
    a->is_rank = (int)mrl_random_below(w->r, 2);
    a->range.index = a->is_rank ? "rank" : "score";
    a->range.backwards = (uint32_t)mrl_random_below(w->r, 2);
    if (mrl_random_below(w->r, 3) == 0) return;
    ask_bound(w, a, &a->range.from, a->from);
    ask_bound(w, a, &a->range.to, a->to);
}

static void compare_ranks(world *w, const asked *a, const merle_doc *docs, size_t met) {
    merle_doc doc;
    uint64_t rank;
    for (size_t i = 0; i < met; i++) {
        must(merle_range_nth(w->section, w->s->players, &a->range, i, &doc));
        assert_ptr_equal(doc.data, docs[i].data);
        must(merle_range_rank(w->section, w->s->players, &a->range, merle_doc_key(doc), &rank));
        assert_int_equal(rank, i);
    }
    assert_int_equal(merle_range_nth(w->section, w->s->players, &a->range, met, &doc),
                     MERLE_NOT_FOUND);
    for (int i = 0; i < KEY_COUNT; i++) {
        char text[16];
        if (is_in(a, &w->docs[i])) continue;
        assert_int_equal(
            merle_range_rank(w->section, w->s->players, &a->range, key_of(text, i), &rank),
            MERLE_NOT_FOUND);
    }
}

static void compare_range(world *w) {
    merle_doc docs[KEY_COUNT + 80];
    merle_cursor *cursor;
    asked a;
    int seen[KEY_COUNT] = {0};
    size_t met = 0, some, wanted = 0;
    uint64_t count;
    ask(w, &a);
    must(merle_range_open(w->s->players, &a.range, &cursor));
    while (merle_cursor_next(w->section, cursor, docs + met, 1 + mrl_random_below(w->r, 80),
                             &some) == MERLE_OK)
        met += some;
    merle_cursor_close(cursor);
    for (size_t i = 0; i < met; i++) {
        plain p = parse(docs[i]), last = i == 0 ? p : parse(docs[i - 1]);
        int number = number_of(docs[i]), order = compare_places(&a, &last, &p);
        assert_int_equal(seen[number]++, 0);
        assert_same(&p, &w->docs[number]);
        assert_true(is_in(&a, &p));
        assert_true(a.range.backwards ? order >= 0 : order <= 0);
    }
    for (int i = 0; i < KEY_COUNT; i++) wanted += (size_t)is_in(&a, &w->docs[i]);
    assert_int_equal(met, wanted);
    must(merle_range_count(w->section, w->s->players, &a.range, &count));
    assert_int_equal(count, wanted);
    compare_ranks(w, &a, docs, met);
}

/* A cursor and a scan go on while the commit writes: what it leaves alone comes once, what it
 * changes comes as it is at that moment. */
static void go_on_while_writing(world *w) {
    merle_cursor *cursor;
    asked a;
    int seen[KEY_COUNT] = {0}, scanned[KEY_COUNT] = {0};
    merle_scan scan = {0};
    merle_doc docs[8];
    size_t count;
    ask(w, &a);
    for (int i = 0; i < KEY_COUNT; i++) w->docs[i].changed = 0;
    must(merle_range_open(w->s->players, &a.range, &cursor));
    for (int left = 2; left > 0;) {
        uint64_t room = 1 + mrl_random_below(w->r, 8);
        left = 2;
        if (merle_cursor_next(w->section, cursor, docs, room, &count) != MERLE_OK) left--;
        for (size_t i = 0; i < count; i++) {
            plain p = parse(docs[i]);
            assert_same(&p, &w->docs[number_of(docs[i])]);
            assert_true(is_in(&a, &p));
            assert_true(seen[number_of(docs[i])]++ == 0 || w->docs[number_of(docs[i])].changed);
        }
        if (merle_scan_next(w->section, w->s->players, &scan, docs, room, &count) != MERLE_OK)
            left--;
        for (size_t i = 0; i < count; i++) {
            plain p = parse(docs[i]);
            assert_same(&p, &w->docs[number_of(docs[i])]);
            assert_int_equal(scanned[number_of(docs[i])]++, 0);
        }
        if (left > 0 && mrl_random_below(w->r, 3) == 0) write_one(w);
    }
    merle_cursor_close(cursor);
    for (int i = 0; i < KEY_COUNT; i++) {
        if (w->docs[i].changed) continue;
        assert_int_equal(seen[i], is_in(&a, &w->docs[i]));
        assert_int_equal(scanned[i], w->docs[i].is_there);
    }
}

static void read_some(world *w) {
    merle_doc docs[KEY_COUNT + 16];
    size_t count;
    uint64_t what = mrl_random_below(w->r, 8);
    if (what == 0) compare_keys(w);
    if (what == 1) compare_emails(w);
    if (what == 2 || what == 3) {
        compare_scan(w, docs, &count);
        compare_tags(w, docs, count);
    }
    if (what >= 4 && what < 7) compare_range(w);
    if (what == 7) go_on_while_writing(w);
}

/* ---- commits ---- */

static void world_begin(world *w) {
    must(merle_begin(w->s->db, &w->commit));
    w->section = merle_commit_section(w->commit);
    for (int i = 0; i < KEY_COUNT; i++) {
        char text[16];
        merle_doc doc;
        memset(&w->docs[i], 0, sizeof w->docs[i]);
        if (merle_get(w->section, w->s->players, key_of(text, i), &doc) == MERLE_OK)
            w->docs[i] = parse(doc);
    }
}

static void read_all(world *w) {
    merle_doc docs[KEY_COUNT + 16];
    size_t count;
    compare_keys(w);
    compare_emails(w);
    compare_scan(w, docs, &count);
    compare_tags(w, docs, count);
    for (int i = 0; i < 4; i++) compare_range(w);
}

/* What the commit showed is what is there, if nobody else has written. */
static void world_end(world *w, int is_alone) {
    merle_section section;
    if (mrl_random_below(w->r, 5) == 0) {
        merle_cancel(w->commit);
        return;
    }
    merle_err err = merle_end(w->commit, NULL);
    if (!is_alone) {
        assert_true(err == MERLE_OK || err == MERLE_EXISTS || err == MERLE_NOT_FOUND ||
                    err == MERLE_CONFLICT);
        return;
    }
    must(err);
    must(merle_section_begin(w->s->db, &section));
    w->section = &section;
    read_all(w);
    must(merle_section_end(&section));
}

static void work(world *w, int step_count) {
    for (int step = 0; step < step_count; step++) {
        for (uint64_t left = mrl_random_below(w->r, 4); left > 0; left--) write_one(w);
        read_some(w);
    }
}

static void commits_alone_show_what_they_will_leave(void **state) {
    (void)state;
    test_seed_print();
    for (uint64_t run = 0; run < test_amount(6); run++) {
        mrl_random r;
        stage s = stage_open((merle_options){.threads = MERLE_THREADS_NONE});
        world w = {.s = &s, .r = &r};
        mrl_random_init(&r, test_seed() + run);
        must(merle_builder_create(&w.b));
        for (int i = 0; i < 60; i++) {
            world_begin(&w);
            work(&w, (int)mrl_random_below(&r, 30));
            read_all(&w);
            world_end(&w, 1);
            if (i % 10 == 9) must(merle_collection_truncate(s.players, NULL));
            (void)merle_step(s.db, 0, 0);
        }
        merle_builder_destroy(w.b);
        stage_close(&s);
    }
}

/* Several commits, each with its own instant, in turns; one of them may truncate. */
static void commits_in_turns_do_not_see_each_other(void **state) {
    enum { WORLD_COUNT = 3 };
    (void)state;
    for (uint64_t run = 0; run < test_amount(4); run++) {
        mrl_random r;
        stage s = stage_open((merle_options){.threads = MERLE_THREADS_NONE});
        world worlds[WORLD_COUNT];
        int is_open[WORLD_COUNT] = {0};
        mrl_random_init(&r, test_seed() + 50 + run);
        for (int i = 0; i < WORLD_COUNT; i++) {
            worlds[i] = (world){.s = &s, .r = &r};
            must(merle_builder_create(&worlds[i].b));
        }
        for (int step = 0; step < 600; step++) {
            uint64_t n = mrl_random_below(&r, WORLD_COUNT);
            if (!is_open[n]) world_begin(&worlds[n]);
            is_open[n] = 1;
            work(&worlds[n], 2);
            if (mrl_random_below(&r, 60) == 0) must(merle_collection_truncate(s.players, NULL));
            if (mrl_random_below(&r, 8) != 0) continue;
            world_end(&worlds[n], 0);
            is_open[n] = 0;
        }
        for (int i = 0; i < WORLD_COUNT; i++) {
            if (is_open[i]) merle_cancel(worlds[i].commit);
            merle_builder_destroy(worlds[i].b);
        }
        stage_close(&s);
    }
}

/* ---- several threads ---- */

/* Writers commit as often as the reader lets them: what is read at an old instant lies behind all
 * that was written since. */
typedef struct writer {
    const stage *s;
    uint64_t seed;
    _Atomic int *permits; /* below zero: stop */
} writer;

static int take_permit(_Atomic int *permits) {
    int left;
    while ((left = atomic_load(permits)) >= 0)
        if (left > 0 && atomic_compare_exchange_weak(permits, &left, left - 1))
            return 1;
        else
            sched_yield();
    return 0;
}

static void *writer_run(void *context) {
    const writer *me = context;
    mrl_random r;
    world w = {.s = me->s, .r = &r};
    mrl_random_init(&r, me->seed);
    must(merle_builder_create(&w.b));
    while (take_permit(me->permits)) {
        world_begin(&w);
        for (int i = 0; i < 4; i++) write_one(&w);
        world_end(&w, 0);
    }
    merle_builder_destroy(w.b);
    return NULL;
}

static void commits_beside_writers_keep_their_instant(void **state) {
    enum { WRITERS = 2 };
    (void)state;
    stage s = stage_open((merle_options){0});
    _Atomic int permits = 100;
    pthread_t threads[WRITERS];
    writer writers[WRITERS];
    mrl_random r;
    world w = {.s = &s, .r = &r};
    mrl_random_init(&r, test_seed() + 200);
    must(merle_builder_create(&w.b));
    for (uint64_t i = 0; i < WRITERS; i++) {
        writers[i] = (writer){&s, test_seed() + 100 + i, &permits};
        assert_int_equal(pthread_create(&threads[i], NULL, writer_run, &writers[i]), 0);
    }
    for (uint64_t i = 0; i < test_amount(60); i++) {
        world_begin(&w);
        for (int step = 0; step < 12; step++) {
            atomic_store(&permits, 20);
            work(&w, 1);
        }
        read_all(&w);
        world_end(&w, 0);
    }
    atomic_store(&permits, -1);
    for (int i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
    merle_builder_destroy(w.b);
    stage_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commits_alone_show_what_they_will_leave),
        cmocka_unit_test(commits_in_turns_do_not_see_each_other),
        cmocka_unit_test(commits_beside_writers_keep_their_instant),
    };
    return cmocka_run_group_tests_name("model/own", tests, NULL, NULL);
}
