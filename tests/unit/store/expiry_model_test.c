/* tests/unit/store/expiry_model_test.c - documents that end, against a plain list.
 *
 * Aim     Get, get many, scan, count, ranges, ranks, the n-th, tags, unique values and queries say
 *         the same of what has ended, in sections of any age and in commits with their own writes;
 *         what a write is told is what the list says; merle_check holds all along.
 * Method  Random commits on a few keys, moves of the clock, steps; sections stay open over some of
 *         them. Each call that reads is compared with a list that was copied when its section
 *         began, by that section's time.
 * Blind   One thread; the clock only goes forwards.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <merle/query.h>

#include "base/random.h"
#include "tests/unit/store/clock.h"
#include "tests/unit/store/listing.h"

enum { KEYS = 24, NUMBERS = 8, TAGS = 3, EMAILS = 10, OPEN_MAX = 4, ROUNDS = 4000 };

static uint64_t seed;

/* ---- the list ---- */

typedef struct item {
    int is_there;
    int n, tag, email; /* -1: it has none */
    int64_t expires_ns;
} item;

typedef struct list {
    item items[KEYS];
    int64_t now_ns; /* by which it is judged */
} list;

static int is_alive(const list *l, int key) {
    const item *i = &l->items[key];
    return i->is_there && (i->expires_ns == 0 || i->expires_ns > l->now_ns);
}

static int holder_of(const list *l, int email) {
    for (int i = 0; i < KEYS; i++)
        if (is_alive(l, i) && l->items[i].email == email) return i;
    return -1;
}

/* Whether two of them have one unique value. */
static int is_doubled(const list *l) {
    for (int i = 0; i < KEYS; i++)
        if (is_alive(l, i) && l->items[i].email >= 0 && holder_of(l, l->items[i].email) != i)
            return 1;
    return 0;
}

static merle_bytes key_of(int key, char *text) {
    snprintf(text, 8, "k%02d", key);
    return merle_str(text);
}

static int number_of(merle_doc doc) {
    const char *text = merle_doc_key(doc).data;
    return (text[1] - '0') * 10 + text[2] - '0';
}

static merle_buffer json_of(const item *i) {
    char json[128], email[32] = "", tag[32] = "";
    if (i->email >= 0) snprintf(email, sizeof email, ",\"email\":\"%d\"", i->email);
    if (i->tag >= 0) snprintf(tag, sizeof tag, ",\"t\":[\"%d\"]", i->tag);
    snprintf(json, sizeof json, "{\"n\":%d%s%s}", i->n, email, tag);
    return doc_of(json);
}

/* ---- comparing ---- */

static void compare_keys(const stand *s, merle_section *section, const list *l) {
    char texts[KEYS][8];
    merle_bytes keys[KEYS];
    merle_doc docs[KEYS], doc;
    size_t found, alive = 0;
    for (int i = 0; i < KEYS; i++) keys[i] = key_of(i, texts[i]);
    must(s, merle_get_many(section, s->players, keys, KEYS, docs, &found));
    for (int i = 0; i < KEYS; i++) {
        int wanted = is_alive(l, i);
        alive += (size_t)wanted;
        assert_int_equal(docs[i].data != NULL, wanted);
        assert_int_equal(merle_get(section, s->players, keys[i], &doc),
                         wanted ? MERLE_OK : MERLE_NOT_FOUND);
        if (!wanted) continue;
        assert_int_equal(merle_doc_expires(doc), l->items[i].expires_ns);
        merle_buffer json = json_of(&l->items[i]);
        assert_int_equal(doc.size, json.size);
        merle_buffer_free(&json);
    }
    assert_int_equal(found, alive);
    assert_int_equal(count_of(section, s->players), alive);
}

static void compare_scan(const stand *s, merle_section *section, const list *l) {
    merle_scan scan = {0};
    merle_doc docs[5];
    size_t count, all = 0;
    while (merle_scan_next(section, s->players, &scan, docs, 5, &count) == MERLE_OK) {
        for (size_t i = 0; i < count; i++) assert_true(is_alive(l, number_of(docs[i])));
        all += count;
    }
    assert_int_equal(all, count_of(section, s->players));
}

static void compare_emails(const stand *s, merle_section *section, const list *l) {
    for (int email = 0; email < EMAILS; email++) {
        char text[8];
        merle_doc doc;
        snprintf(text, sizeof text, "%d", email);
        int holder = holder_of(l, email);
        merle_err err = merle_get_by(section, s->players, "email", &doc, merle_value_str(text));
        assert_int_equal(err, holder < 0 ? MERLE_NOT_FOUND : MERLE_OK);
        if (holder >= 0) assert_int_equal(number_of(doc), holder);
    }
}

static void compare_tags(const stand *s, merle_section *section, const list *l) {
    for (int tag = 0; tag < TAGS; tag++) {
        char text[8];
        uint64_t count, wanted = 0;
        size_t some, met = 0;
        merle_scan scan = {0};
        merle_doc docs[4];
        snprintf(text, sizeof text, "%d", tag);
        for (int i = 0; i < KEYS; i++) wanted += is_alive(l, i) && l->items[i].tag == tag;
        must(s, merle_tag_count(section, s->players, "tag", merle_value_str(text), &count));
        assert_int_equal(count, wanted);
        while (merle_tag_next(section, s->players, "tag", merle_value_str(text), &scan, docs, 4,
                              &some) == MERLE_OK) {
            for (size_t i = 0; i < some; i++) {
                assert_true(is_alive(l, number_of(docs[i])));
                assert_int_equal(l->items[number_of(docs[i])].tag, tag);
            }
            met += some;
        }
        assert_int_equal(met, wanted);
    }
}

/* keys_in compares the count, ranks and the n-th with what the cursor gives. */
static void compare_range(const stand *s, merle_section *section, const list *l,
                          mrl_random *random) {
    int from = (int)mrl_random_below(random, NUMBERS), to = (int)mrl_random_below(random, NUMBERS);
    const merle_value low = merle_value_int(from), high = merle_value_int(to);
    merle_range range = between("by_n", (merle_bound){MERLE_CLOSED, &low, 1},
                                (merle_bound){MERLE_CLOSED, &high, 1});
    size_t wanted = 0;
    for (int i = 0; i < KEYS; i++)
        wanted += is_alive(l, i) && l->items[i].n >= from && l->items[i].n <= to;
    range.backwards = (uint32_t)mrl_random_below(random, 2);
    assert_int_equal(strlen(keys_in(section, s, range)), wanted);
}

static void compare_query(const stand *s, merle_section *section, const list *l,
                          mrl_random *random) {
    static const char *const texts[] = {"n >= $1", "t: any('1')", "n >= $1 and t: any('1')"};
    int which = (int)mrl_random_below(random, 3), from = (int)mrl_random_below(random, NUMBERS);
    const merle_value value = merle_value_int(from);
    merle_condition *condition;
    uint64_t count, wanted = 0;
    merle_report report = {0};
    merle_err err = merle_condition_parse(merle_str(texts[which]), &condition, &report);
    if (err != MERLE_OK) print_message("# %s\n", report.message);
    assert_int_equal(err, MERLE_OK);
    const merle_query query = {
        .where = condition, .values = &value, .value_count = which == 1 ? 0 : 1};
    for (int i = 0; i < KEYS; i++)
        wanted += is_alive(l, i) && (which == 1 || l->items[i].n >= from) &&
                  (which == 0 || l->items[i].tag == 1);
    must(s, merle_query_count(section, s->players, &query, &count));
    assert_int_equal(count, wanted);
    merle_condition_destroy(condition);
}

static void compare(const stand *s, merle_section *section, const list *l, mrl_random *random) {
    compare_keys(s, section, l);
    compare_scan(s, section, l);
    compare_emails(s, section, l);
    compare_tags(s, section, l);
    compare_range(s, section, l, random);
    compare_query(s, section, l, random);
}

/* ---- writing ---- */

static item random_item(mrl_random *random) {
    item i = {1, (int)mrl_random_below(random, NUMBERS), -1, -1, 0};
    if (mrl_random_below(random, 2) == 0) i.tag = (int)mrl_random_below(random, TAGS);
    if (mrl_random_below(random, 2) == 0) i.email = (int)mrl_random_below(random, EMAILS);
    return i;
}

/* Puts one operation into the commit and the list; what the end will say if it is refused. */
static merle_err operate(const stand *s, merle_commit *commit, list *l, mrl_random *random) {
    char text[8];
    int number = (int)mrl_random_below(random, KEYS), alive = is_alive(l, number);
    merle_bytes key = key_of(number, text);
    item *at = &l->items[number], made = random_item(random);
    int64_t ttl_ns = 1 + (int64_t)mrl_random_below(random, 40);
    merle_buffer doc = json_of(&made);
    merle_err err = MERLE_OK;
    uint64_t kind = mrl_random_below(random, 8);
    if (kind == 2 || kind == 3 || kind == 7) made.expires_ns = l->now_ns + ttl_ns;
    if (kind == 0) must(s, merle_put(commit, s->players, key, bytes_of(&doc)));
    if (kind == 1) must(s, merle_insert(commit, s->players, key, bytes_of(&doc)));
    if (kind == 2) must(s, merle_put_for(commit, s->players, key, bytes_of(&doc), ttl_ns));
    if (kind == 3) must(s, merle_insert_for(commit, s->players, key, bytes_of(&doc), ttl_ns));
    if (kind == 4) must(s, merle_remove(commit, s->players, key));
    if (kind == 5)
        must(s, merle_patch(commit, s->players, key,
                            merle_op_of(MERLE_OP_SET, "n", merle_value_int(made.n))));
    if (kind >= 6) {
        made.expires_ns = kind == 6 && ttl_ns % 2 == 0 ? 0 : l->now_ns + ttl_ns - 8;
        must(s, merle_expire(commit, s->players, key, made.expires_ns));
    }
    merle_buffer_free(&doc);
    if ((kind == 1 || kind == 3) && alive) err = MERLE_EXISTS;
    if (kind >= 4 && !alive) err = MERLE_NOT_FOUND;
    if (err != MERLE_OK) return err;
    if (kind <= 3) *at = made;
    if (kind == 4) at->is_there = 0;
    if (kind == 5) at->n = made.n;
    if (kind >= 6) at->expires_ns = made.expires_ns;
    return MERLE_OK;
}

static void commit_some(const stand *s, list *l, mrl_random *random) {
    merle_commit *commit = begin(s);
    list after = *l;
    after.now_ns = clock_ns;
    merle_err wanted = MERLE_OK;
    int count = 1 + (int)mrl_random_below(random, 4);
    int shows = mrl_random_below(random, 2) == 0;
    for (int i = 0; i < count && wanted == MERLE_OK; i++) {
        wanted = operate(s, commit, &after, random);
        /* A unique value that two have is found out at the end; before it, either is shown. */
        if (wanted == MERLE_OK && shows && !is_doubled(&after))
            compare(s, merle_commit_section(commit), &after, random);
    }
    if (wanted == MERLE_OK && is_doubled(&after)) wanted = MERLE_EXISTS;
    assert_int_equal(merle_end(commit, NULL), wanted);
    if (wanted == MERLE_OK) *l = after;
}

/* ---- the whole ---- */

typedef struct opened {
    merle_section section;
    list list;
} opened;

static void open_one(const stand *s, const list *l, opened *out) {
    must(s, merle_section_begin(s->db, &out->section));
    out->list = *l;
    out->list.now_ns = clock_ns;
}

static void reads_and_writes_agree_with_a_list(void **state) {
    (void)state;
    static const merle_index indexes[] = {{"email", MERLE_UNIQUE, "email"},
                                          {"by_n", MERLE_ORDERED, "n"},
                                          {"tag", MERLE_TAGS, "t"},
                                          {NULL, 0, NULL}};
    const merle_schema schema = {.version = 1, .indexes = indexes};
    const mrl_environment environment = {.clock = &test_clock};
    static opened sections[OPEN_MAX];
    int open_count = 0;
    mrl_random random;
    list l = {0};
    stand s;
    mrl_random_init(&random, seed);
    clock_ns = 1000;
    writing_open(&s, &schema, (merle_options){0}, &environment);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t what = mrl_random_below(&random, 10);
        if (what < 5) commit_some(&s, &l, &random);
        if (what == 5) clock_ns += (int64_t)mrl_random_below(&random, 20);
        if (what == 6) (void)merle_step(s.db, 0, 0);
        if (what == 7 && open_count < OPEN_MAX) open_one(&s, &l, &sections[open_count++]);
        if (what == 8 && open_count > 0) {
            opened *one = &sections[mrl_random_below(&random, (uint64_t)open_count)];
            compare(&s, &one->section, &one->list, &random);
            must(&s, merle_section_end(&one->section));
            *one = sections[--open_count];
        }
        if (what == 9) {
            opened one;
            open_one(&s, &l, &one);
            compare(&s, &one.section, &one.list, &random);
            must(&s, merle_section_end(&one.section));
        }
        if (round % 50 == 0) must(&s, merle_check(s.db, &s.report));
    }
    while (open_count > 0) must(&s, merle_section_end(&sections[--open_count].section));
    const merle_stats_db stats = stats_of(&s);
    print_message("# %llu expired, %llu commits\n", (unsigned long long)stats.expired,
                  (unsigned long long)stats.commits);
    assert_true(stats.expired > ROUNDS / 50);
    writing_close(&s);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes_agree_with_a_list),
    };
    seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
