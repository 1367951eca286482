/* tests/unit/query/players.h - a thousand players, and questions about them in text.
 *
 * What    Player i has level i % 100, score i, guild "g0" to "g9" by i % 10, email "e<i>", the tags
 *         "even" or "odd" and "m0" to "m49" by i % 50, and pos.x i; every fourth has no rating, the
 *         others one of i % 7. All have the same length.
 * Threads owner only, as stand.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_TESTS_QUERY_PLAYERS_H
#define MRL_TESTS_QUERY_PLAYERS_H

#include "tests/unit/store/writing.h"

#include <merle/query.h>

#include "base/buffer.h"

enum { PLAYER_COUNT = 1000, DOC_MAX = 1100 };

UNUSED static const merle_index players_indexes[] = {
    {.name = "email", .kind = MERLE_UNIQUE, .on = "email"},
    {.name = "level", .kind = MERLE_ORDERED, .on = "level"},
    {.name = "rank", .kind = MERLE_ORDERED, .on = "guild, -score"},
    {.name = "rating", .kind = MERLE_ORDERED, .on = "rating"},
    {.name = "tags", .kind = MERLE_TAGS, .on = "tags"},
    {0}};

UNUSED static void put_player(const stand *s, merle_commit *commit, merle_builder *b, int i) {
    char text[16];
    merle_bytes bytes;
    merle_build_begin(b);
    merle_build_int(b, "level", i % 100);
    merle_build_int(b, "score", i);
    (void)snprintf(text, sizeof text, "g%d", i % 10);
    merle_build_str(b, "guild", text);
    (void)snprintf(text, sizeof text, "e%d", i);
    merle_build_str(b, "email", text);
    if (i % 4 != 0) merle_build_int(b, "rating", i % 7);
    merle_build_array(b, "tags");
    merle_build_str(b, NULL, i % 2 == 0 ? "even" : "odd");
    (void)snprintf(text, sizeof text, "m%d", i % 50);
    merle_build_str(b, NULL, text);
    merle_build_close(b);
    merle_build_map(b, "pos");
    merle_build_int(b, "x", i);
    merle_build_int(b, "y", -i);
    merle_build_close(b);
    must(s, merle_build_end(b, &bytes));
    (void)snprintf(text, sizeof text, "p%03d", i);
    must(s, merle_put(commit, s->players, merle_str(text), bytes));
}

UNUSED static void players_open(stand *s) {
    const merle_schema schema = {.version = 1, .indexes = players_indexes};
    merle_builder *b;
    writing_open(s, &schema, (merle_options){0}, NULL);
    must(s, merle_builder_create(&b));
    merle_commit *commit = begin(s);
    for (int i = 0; i < PLAYER_COUNT; i++) put_player(s, commit, b, i);
    (void)end(s, commit);
    merle_builder_destroy(b);
    stand_settle(s);
}

/* The caller destroys it. text NULL: none. */
UNUSED static merle_condition *condition_of(const char *text) {
    merle_condition *condition = NULL;
    merle_report report;
    if (text == NULL) return NULL;
    merle_err err = merle_condition_parse(merle_str(text), &condition, &report);
    if (err != MERLE_OK) fail_msg("%s: %s", text, report.message);
    return condition;
}

/* What one query gave. */
typedef struct answer {
    merle_section section;
    merle_condition *condition;
    merle_doc docs[DOC_MAX];
    size_t count;
    merle_buffer explained; /* terminated, after all was given */
} answer;

/* Asks, and reads all of it. where is the condition in text. */
UNUSED static void ask(const stand *s, const char *where, merle_query query, answer *out) {
    merle_rows *rows;
    size_t some;
    memset(out, 0, sizeof *out);
    out->condition = condition_of(where);
    query.where = out->condition;
    must(s, merle_section_begin(s->db, &out->section));
    must(s, merle_query_open(&out->section, s->players, &query, &rows));
    while (merle_rows_next(rows, out->docs + out->count, 7, &some) == MERLE_OK) out->count += some;
    assert_int_equal(merle_rows_next(rows, out->docs, 1, &some), MERLE_NOT_FOUND);
    assert_int_equal(some, 0);
    must(s, merle_rows_explain(rows, &out->explained));
    assert_int_equal(mrl_buffer_append(&out->explained, "", 1), MERLE_OK);
    merle_rows_close(rows);
}

UNUSED static void answer_end(const stand *s, answer *a) {
    must(s, merle_section_end(&a->section));
    merle_condition_destroy(a->condition);
    merle_buffer_free(&a->explained);
}

/* The last number that stands behind this name in what was explained. */
UNUSED static uint64_t told(const answer *a, const char *name) {
    char quoted[64];
    const char *at = (const char *)a->explained.data, *found = NULL;
    (void)snprintf(quoted, sizeof quoted, "\"%s\": ", name);
    for (; (at = strstr(at, quoted)) != NULL; at += strlen(quoted)) found = at + strlen(quoted);
    assert_non_null(found);
    return strtoull(found, NULL, 10);
}

UNUSED static int tells(const answer *a, const char *text) {
    return strstr((const char *)a->explained.data, text) != NULL;
}

/* What drives: {"by": "ranges", "index": "level", ...} */
UNUSED static void assert_driven(const answer *a, const char *by, const char *index) {
    char wanted[160];
    const char *at = strstr((const char *)a->explained.data, "\"drive\": {");
    assert_non_null(at);
    (void)snprintf(wanted, sizeof wanted, "\"drive\": {\n    \"by\": \"%s\",\n    \"%s%s%s", by,
                   index == NULL ? "estimate" : "index\": \"", index == NULL ? "" : index, "\"");
    if (strncmp(at, wanted, strlen(wanted)) != 0) fail_msg("not %s, but %.200s", wanted, at);
}

#endif
