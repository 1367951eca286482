/* tests/model/questions.h - random schemas, documents, commits and conditions, to test queries.
 *
 * What    A stage is a database with one collection, of players, with some of all kinds of index. A
 *         question is a condition in text, parsed, with values for its parameters.
 * Threads owner only, but a stage may be written to by several.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_TESTS_MODEL_QUESTIONS_H
#define MRL_TESTS_MODEL_QUESTIONS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <merle/query.h>

#include "base/random.h"

enum { KEY_COUNT = 250, TEXT_MAX = 4096, PARAMETER_MAX = 8 };

typedef struct stage {
    merle_db *db;
    merle_collection *players;
    merle_report report;
    merle_index indexes[24];
    size_t index_count;
} stage;

static void must(const stage *s, merle_err err) {
    if (err != MERLE_OK) print_message("# %s: %s\n", merle_err_name(err), s->report.message);
    assert_int_equal(err, MERLE_OK);
}

/* ---- the stage ---- */

/* The level turned round, of those that are not banned. */
static merle_err turned_level(void *context, merle_bytes key, merle_doc doc,
                              merle_value *out_values, size_t value_max, size_t *out_count) {
    (void)context;
    (void)key;
    *out_count = 0;
    if (value_max == 0 || merle_doc_bool(doc, "banned", 0)) return MERLE_OK;
    out_values[(*out_count)++] = merle_value_int(-merle_doc_int(doc, "level", 0));
    return MERLE_OK;
}

static void stage_open(stage *s, mrl_random *r) {
    static const merle_index all[] = {
        {.name = "email", .kind = MERLE_UNIQUE, .on = "email"},
        {.name = "pair", .kind = MERLE_UNIQUE, .on = "guild, -email"},
        {.name = "mail", .kind = MERLE_UNIQUE_ORDERED, .on = "-email"},
        {.name = "score", .kind = MERLE_ORDERED, .on = "score"},
        {.name = "down", .kind = MERLE_ORDERED, .on = "-score"},
        {.name = "rank", .kind = MERLE_ORDERED, .on = "guild, -score"},
        {.name = "level", .kind = MERLE_ORDERED, .on = "level"},
        {.name = "trio", .kind = MERLE_ORDERED, .on = "-guild, level, score"},
        {.name = "x", .kind = MERLE_ORDERED, .on = "pos.x"},
        {.name = "tags", .kind = MERLE_TAGS, .on = "tags"},
        {.name = "guilds", .kind = MERLE_TAGS, .on = "guild"},
        {.name = "first", .kind = MERLE_ORDERED, .on = "score", .missing = MERLE_MISSING_FIRST},
        {.name = "last", .kind = MERLE_ORDERED, .on = "score", .missing = MERLE_MISSING_LAST},
        {.name = "both",
         .kind = MERLE_ORDERED,
         .on = "guild, -level",
         .missing = MERLE_MISSING_LAST},
        {.name = "each", .kind = MERLE_ORDERED, .on = "tags[*]"},
        {.name = "guild each", .kind = MERLE_ORDERED, .on = "guild, -tags[*]"},
        {.name = "each too",
         .kind = MERLE_ORDERED,
         .on = "tags[*], level",
         .missing = MERLE_MISSING_FIRST},
        {.name = "key", .kind = MERLE_ORDERED, .on = "key()"},
        {.name = "guild key", .kind = MERLE_ORDERED, .on = "guild, -key()"},
        {.name = "turned", .kind = MERLE_ORDERED, .on = "turned", .extract = turned_level},
    };
    const merle_options options = {.threads = MERLE_THREADS_NONE};
    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (mrl_random_below(r, 2) != 0) s->indexes[s->index_count++] = all[i];
    const merle_schema schema = {.version = 1, .indexes = s->indexes};
    must(s, merle_open(NULL, &options, &s->db));
    merle_report_to(s->db, &s->report);
    must(s, merle_collection_open(s->db, "players", &schema, &s->players));
}

static void stage_close(stage *s) {
    must(s, merle_check(s->db, &s->report));
    must(s, merle_close(s->db));
}

static merle_bytes key_of(char text[16], uint64_t number) {
    (void)snprintf(text, 16, "p%llu", (unsigned long long)number);
    return merle_str(text);
}

/* ---- documents ---- */

static const char *const guilds[] = {"red", "redder", "blue", "b\x01ue"};

static void build_score(merle_builder *b, mrl_random *r) {
    static const int64_t edges[] = {
        INT64_MIN, -1, 0, INT64_MAX, (int64_t)1 << 53, ((int64_t)1 << 53) + 1};
    uint64_t kind = mrl_random_below(r, 16);
    if (kind == 0) return;
    if (kind == 1) merle_build_nil(b, "score");
    if (kind == 2) merle_build_float(b, "score", (double)mrl_random_below(r, 40) / 2);
    if (kind == 3) merle_build_bool(b, "score", (int)mrl_random_below(r, 2));
    if (kind == 4) merle_build_str(b, "score", mrl_random_below(r, 2) ? "high" : "higher");
    if (kind == 5) merle_build_int(b, "score", edges[mrl_random_below(r, 6)]);
    if (kind == 6) merle_build_float(b, "score", __builtin_nan(""));
    if (kind == 7) merle_build_time(b, "score", (int64_t)mrl_random_below(r, 3), 5);
    if (kind > 7) merle_build_int(b, "score", (int64_t)mrl_random_below(r, 20));
}

static void build_tags(merle_builder *b, mrl_random *r) {
    uint64_t count = mrl_random_below(r, 6);
    if (count == 5) merle_build_str(b, "tags", "t2");
    if (count == 0 || count == 5) return;
    merle_build_array(b, "tags");
    for (uint64_t i = 0; i < count; i++) {
        char text[16];
        uint64_t tag = mrl_random_below(r, 8);
        (void)snprintf(text, sizeof text, "t%llu", (unsigned long long)tag);
        if (tag == 0)
            merle_build_float(b, NULL, 1.0);
        else if (tag == 1)
            merle_build_nil(b, NULL);
        else
            merle_build_str(b, NULL, text);
    }
    merle_build_close(b);
}

static merle_bytes build(merle_builder *b, mrl_random *r) {
    merle_bytes bytes;
    merle_build_begin(b);
    build_score(b, r);
    if (mrl_random_below(r, 3) == 0) merle_build_int(b, "email", (int64_t)mrl_random_below(r, 300));
    if (mrl_random_below(r, 8) != 0) merle_build_str(b, "guild", guilds[mrl_random_below(r, 4)]);
    if (mrl_random_below(r, 5) != 0) merle_build_int(b, "level", (int64_t)mrl_random_below(r, 12));
    if (mrl_random_below(r, 4) == 0) merle_build_bool(b, "banned", (int)mrl_random_below(r, 2));
    build_tags(b, r);
    if (mrl_random_below(r, 2) == 0) {
        merle_build_map(b, "pos");
        merle_build_int(b, "x", (int64_t)mrl_random_below(r, 100) - 50);
        if (mrl_random_below(r, 2) == 0) merle_build_int(b, "y", 7);
        merle_build_close(b);
    }
    if (merle_build_end(b, &bytes) != MERLE_OK) fail();
    return bytes;
}

/* Some of it is refused, for a unique value that is taken. */
static void write_some(const stage *s, merle_commit *commit, merle_builder *b, mrl_random *r,
                       uint64_t count) {
    char text[16];
    for (uint64_t i = 0; i < count; i++) {
        merle_bytes key = key_of(text, mrl_random_below(r, KEY_COUNT));
        uint64_t kind = mrl_random_below(r, 8);
        if (kind == 0)
            (void)merle_remove(commit, s->players, key);
        else if (kind == 1)
            (void)merle_patch(commit, s->players, key, MERLE_SET_INT("level", 3));
        else
            must(s, merle_put(commit, s->players, key, build(b, r)));
    }
}

static void one_commit(const stage *s, merle_builder *b, mrl_random *r) {
    merle_commit *commit;
    must(s, merle_begin(s->db, &commit));
    write_some(s, commit, b, r, 1 + mrl_random_below(r, 12));
    (void)merle_end(commit, NULL);
}

/* ---- conditions ---- */

typedef struct question {
    char text[TEXT_MAX];
    size_t size;
    mrl_random *r;
    merle_value values[PARAMETER_MAX];
    size_t value_count;
    merle_condition *condition; /* NULL: all documents */
} question;

static void say(question *q, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(question *q, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    q->size += (size_t)vsnprintf(q->text + q->size, TEXT_MAX - q->size, format, arguments);
    va_end(arguments);
    assert_true(q->size < TEXT_MAX);
}

static void say_number(question *q) {
    uint64_t kind = mrl_random_below(q->r, 12);
    if (kind == 0 && q->value_count < PARAMETER_MAX) {
        q->values[q->value_count++] = merle_value_int((int64_t)mrl_random_below(q->r, 20));
        say(q, "$%zu", q->value_count);
    } else if (kind == 1) {
        say(q, "%s", mrl_random_below(q->r, 2) ? "9007199254740993" : "nan");
    } else if (kind == 2) {
        say(q, "%llu.5", (unsigned long long)mrl_random_below(q->r, 20));
    } else if (kind == 3) {
        say(q, "%s", mrl_random_below(q->r, 2) ? "nil" : "'high'");
    } else if (kind == 4) {
        say(q, "%s", mrl_random_below(q->r, 2) ? "true" : "@1");
    } else {
        say(q, "%llu", (unsigned long long)mrl_random_below(q->r, 20));
    }
}

static void say_guild(question *q) {
    static const char *const texts[] = {"'red'", "'redder'", "'blue'", "'b\\u0001ue'", "nil", "5"};
    say(q, "%s",
        texts[mrl_random_below(q->r, 12) < 10 ? mrl_random_below(q->r, 4)
                                              : mrl_random_below(q->r, 6)]);
}

static void say_value(question *q, int is_guild) {
    if (is_guild)
        say_guild(q);
    else
        say_number(q);
}

static void say_list(question *q, int is_guild) {
    uint64_t count = mrl_random_below(q->r, 5);
    say(q, "(");
    for (uint64_t i = 0; i < count; i++) {
        if (i > 0) say(q, ", ");
        say_value(q, is_guild);
    }
    say(q, ")");
}

static void say_field(question *q) {
    static const char *const paths[] = {"score", "level", "email", "pos.x", "guild", "tags"};
    static const char *const marks[] = {"=", "=", "!=", "<", "<=", ">", ">="};
    uint64_t number = mrl_random_below(q->r, 6);
    int is_guild = number == 4;
    if (mrl_random_below(q->r, number == 5 ? 2 : 12) == 0) say(q, "any ");
    say(q, "%s ", paths[number]);
    if (number == 5 && mrl_random_below(q->r, 2) == 0) {
        say(q, "> 't%llu'", (unsigned long long)mrl_random_below(q->r, 8));
        return;
    }
    switch (mrl_random_below(q->r, 8)) {
    case 0:
        say(q, "between ");
        say_value(q, is_guild);
        say(q, " and ");
        say_value(q, is_guild);
        break;
    case 1:
    case 2:
        say(q, "in ");
        say_list(q, is_guild);
        break;
    case 3:
        say(q, "starts with '%s'", is_guild ? (mrl_random_below(q->r, 2) ? "re" : "b") : "hi");
        break;
    default:
        say(q, "%s ", marks[mrl_random_below(q->r, 7)]);
        say_value(q, is_guild);
    }
}

static void say_tags(question *q) {
    static const char *const words[] = {"all", "any", "none"};
    const char *path = mrl_random_below(q->r, 5) == 0 ? "guild" : "tags";
    uint64_t count = 1 + mrl_random_below(q->r, 3);
    if (mrl_random_below(q->r, 2) == 0) {
        say(q, "%s: t%llu", path, (unsigned long long)mrl_random_below(q->r, 9));
        return;
    }
    say(q, "%s: %s(", path, words[mrl_random_below(q->r, 3)]);
    for (uint64_t i = 0; i < count; i++) {
        if (i > 0) say(q, ", ");
        uint64_t tag = mrl_random_below(q->r, 10);
        if (tag == 0)
            say(q, "%s", mrl_random_below(q->r, 2) ? "1" : "nil");
        else
            say(q, "t%llu", (unsigned long long)tag);
    }
    say(q, ")");
}

static void say_node(question *q, int depth) {
    uint64_t kind = mrl_random_below(q->r, depth > 0 ? 12 : 6);
    if (mrl_random_below(q->r, 6) == 0) say(q, "not ");
    if (kind < 3) {
        say_field(q);
    } else if (kind < 5) {
        say_tags(q);
    } else if (kind == 5) {
        say(q, "%s", mrl_random_below(q->r, 2) ? "banned" : "exists(level)");
    } else {
        uint64_t count = 2 + mrl_random_below(q->r, 3);
        say(q, "(");
        for (uint64_t i = 0; i < count; i++) {
            if (i > 0) say(q, kind < 10 ? " and " : " or ");
            say_node(q, depth - 1);
        }
        say(q, ")");
    }
}

static void question_make(question *q, mrl_random *r) {
    merle_report report;
    q->r = r;
    q->size = q->value_count = 0;
    q->text[0] = 0;
    q->condition = NULL;
    if (mrl_random_below(r, 12) == 0) return;
    say_node(q, 3);
    merle_err err = merle_condition_parse(merle_str(q->text), &q->condition, &report);
    if (err != MERLE_OK) fail_msg("%s: %s", q->text, report.message);
}

static int meets(const question *q, merle_doc doc) {
    int result = 1;
    if (q->condition == NULL) return 1;
    assert_int_equal(merle_condition_match(q->condition, doc, q->values, q->value_count, &result),
                     MERLE_OK);
    return result;
}

#endif
