/* document/condition_parse.c - conditions from text.
 *
 *     condition = part { or part } ;  part = term { and term } ;
 *     term = not term | "(" condition ")" | exists "(" path ")" | [ any ] path [ relation ]
 * docs/queries.md has all of it. Pieces are consumed by what they become part of, and a NULL piece
 * means that parser->err tells why. SPDX-License-Identifier: Apache-2.0 */
#include "document/condition_parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/report.h"
#include "document/condition_private.h"
#include "document/literal.h"
#include "document/utf8.h"

/* ---- errors ---- */

__attribute__((cold)) static void refuse_at(mrl_parser *p, const mrl_token *token, merle_err err,
                                            const char *reason) {
    size_t line = 1, column = 1;
    if (p->err != MERLE_OK) return;
    p->err = err;
    for (const uint8_t *at = p->lexer.begin; at < p->lexer.begin + token->offset; at++) {
        column = *at == '\n' ? 1 : column + 1;
        line += *at == '\n';
    }
    mrl_report_fill(p->report, err, "The condition is wrong at line %zu, column %zu: %s.", line,
                    column, reason);
    mrl_report_offset(p->report, token->offset);
}

/* As much of a token as is of use to a person. */
static void show(const mrl_token *token, char *out, size_t out_max) {
    char text[64];
    if (token->kind == MRL_TOKEN_END) {
        snprintf(out, out_max, "the end");
        return;
    }
    mrl_report_escape(merle_bytes_of(token->text, token->size), text, sizeof(text));
    snprintf(out, out_max, "`%s`", text);
}

__attribute__((cold)) void mrl_parser_refuse(mrl_parser *p, const char *expected) {
    char found[80], reason[200];
    if (p->token.kind == MRL_TOKEN_WRONG) {
        refuse_at(p, &p->token, MERLE_INVALID, p->token.reason);
        return;
    }
    if (p->err != MERLE_OK) return;
    show(&p->token, found, sizeof(found));
    snprintf(reason, sizeof(reason), "%s is expected, but here is %s", expected, found);
    refuse_at(p, &p->token, MERLE_INVALID, reason);
    mrl_report_expected(p->report, expected);
    mrl_report_found(p->report, found);
}

/* ---- tokens ---- */

static void advance(mrl_parser *p) {
    mrl_lexer_next(&p->lexer, &p->token);
}

static int take_word(mrl_parser *p, const char *word) {
    if (!mrl_token_is_word(&p->token, word)) return 0;
    advance(p);
    return 1;
}

static int take_mark(mrl_parser *p, const char *mark) {
    if (!mrl_token_is_mark(&p->token, mark)) return 0;
    advance(p);
    return 1;
}

/* Whether the token behind the next one is this mark. */
static int mark_follows(const mrl_parser *p, const char *mark) {
    mrl_lexer ahead = p->lexer;
    mrl_token token;
    mrl_lexer_next(&ahead, &token);
    return mrl_token_is_mark(&token, mark);
}

static const char *const keywords[] = {"and",     "or",     "not",  "in",    "exists", "any",
                                       "between", "starts", "true", "false", "nil",    "null"};

static int is_keyword(const mrl_token *token) {
    for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++)
        if (mrl_token_is_word(token, keywords[i])) return 1;
    return 0;
}

int mrl_keyword_is_one(const uint8_t *name, size_t size) {
    const mrl_token token = {MRL_TOKEN_PATH, 0, name, size, NULL};
    return is_keyword(&token);
}

/* ---- values ---- */

static size_t value_count(const mrl_parser *p) {
    return p->values.size / sizeof(merle_value);
}

/* A word that is no value by itself: a tag without quotes. */
static int is_bare_tag(const mrl_token *token) {
    return token->kind == MRL_TOKEN_PATH && mrl_name_is_bare(token->text, token->size) &&
           !is_keyword(token);
}

/* Gives a reason if the parameter cannot stand beside those that were met before. */
static const char *read_parameter(mrl_parser *p, merle_value *out_value) {
    const char *reason;
    out_value->bytes = merle_bytes_of(p->token.text + 1, p->token.size - 1);
    if (mrl_where_value_problem(out_value, MRL_CONDITION_COMPARE, &reason) != MERLE_OK)
        return reason;
    if (p->token.text[1] >= '0' && p->token.text[1] <= '9')
        p->has_numbers = 1;
    else
        p->has_names = 1;
    if (!p->has_numbers || !p->has_names) return NULL;
    return "some of its parameters have numbers and some have names";
}

/* Reads a value for a leaf of this kind and puts it behind those that are there. Where tags stand,
 * which is in ALL, a bare word is a string. */
static int take_value(mrl_parser *p, mrl_condition_kind kind) {
    static const merle_value none;
    merle_value value = none;
    size_t used = 0;
    const char *reason = NULL;
    int is_tag = kind == MRL_CONDITION_ALL;
    if (mrl_literal_is_one(&p->token)) {
        reason = mrl_literal_read(&p->token, p->space, &used, &value);
        if (reason == NULL) (void)mrl_where_value_problem(&value, kind, &reason);
    } else if (p->token.kind == MRL_TOKEN_PARAMETER) {
        reason = read_parameter(p, &value);
    } else if (is_tag && is_bare_tag(&p->token)) {
        value = merle_value_bytes(merle_bytes_of(p->token.text, p->token.size));
    } else {
        mrl_parser_refuse(p, is_tag ? "a tag" : "a value (a number, a string in quotes, ...)");
        return 0;
    }
    if (reason != NULL) {
        refuse_at(p, &p->token, MERLE_INVALID, reason);
        return 0;
    }
    if (mrl_buffer_append(&p->values, &value, sizeof(value)) != MERLE_OK) {
        refuse_at(p, &p->token, MERLE_NO_MEMORY, "no memory is left");
        return 0;
    }
    p->space += used;
    advance(p);
    return 1;
}

/* ---- leaves ---- */

/* What a leaf is about: where it begins, for errors, and its path. */
typedef struct about {
    mrl_token begin;
    mrl_token path;
    size_t first_value;
    uint8_t each;
} about;

/* Turns a piece that could not be into an error of the parser. */
static merle_where *judge(mrl_parser *p, const mrl_token *at, merle_where *where) {
    if (where != NULL && where->kind != MRL_CONDITION_WRONG) return where;
    if (where == NULL)
        refuse_at(p, at, MERLE_NO_MEMORY, "no memory is left");
    else
        refuse_at(p, at, where->err, where->reason);
    merle_where_destroy(where);
    return NULL;
}

/* Takes the values from first_value on off the parser's list. */
static merle_where *leaf(mrl_parser *p, const about *a, mrl_condition_kind kind,
                         merle_compare compare, int negated) {
    const merle_value *values = (const merle_value *)(const void *)p->values.data;
    mrl_leaf parts = {kind,
                      compare,
                      (uint8_t)negated,
                      a->each,
                      (const char *)a->path.text,
                      a->path.size,
                      values == NULL ? NULL : values + a->first_value,
                      value_count(p) - a->first_value};
    p->values.size = a->first_value * sizeof(merle_value);
    return judge(p, &a->path, mrl_where_leaf(&parts));
}

static merle_where *parse_list(mrl_parser *p, const about *a, int negated) {
    if (!take_mark(p, "(")) {
        mrl_parser_refuse(p, "`(`");
        return NULL;
    }
    if (!mrl_token_is_mark(&p->token, ")")) {
        do {
            if (value_count(p) - a->first_value == MERLE_CONDITION_LIST_COUNT_MAX) {
                refuse_at(p, &p->token, MERLE_TOO_BIG, "a list has more than 4,096 values");
                return NULL;
            }
            if (!take_value(p, MRL_CONDITION_IN)) return NULL;
        } while (take_mark(p, ","));
    }
    if (!take_mark(p, ")")) {
        mrl_parser_refuse(p, "`,` or `)`");
        return NULL;
    }
    return leaf(p, a, MRL_CONDITION_IN, 0, negated);
}

static merle_where *parse_between(mrl_parser *p, const about *a, int negated) {
    if (!take_value(p, MRL_CONDITION_BETWEEN)) return NULL;
    if (!take_word(p, "and")) {
        mrl_parser_refuse(p, "`and` and the upper end");
        return NULL;
    }
    if (!take_value(p, MRL_CONDITION_BETWEEN)) return NULL;
    return leaf(p, a, MRL_CONDITION_BETWEEN, 0, negated);
}

static merle_where *parse_prefix(mrl_parser *p, const about *a, int negated) {
    if (!take_word(p, "with")) {
        mrl_parser_refuse(p, "`with`");
        return NULL;
    }
    if (!take_value(p, MRL_CONDITION_PREFIX)) return NULL;
    return leaf(p, a, MRL_CONDITION_PREFIX, 0, negated);
}

static merle_compare take_compare(mrl_parser *p) {
    static const char *const marks[] = {"=", "!=", "<", "<=", ">", ">="};
    for (int i = 0; i < 6; i++)
        if (take_mark(p, marks[i])) return (merle_compare)(MERLE_EQ + i);
    return (merle_compare)0;
}

/* ---- tags ---- */

static int begins_group(const mrl_parser *p) {
    int is_word = mrl_token_is_word(&p->token, "all") || mrl_token_is_word(&p->token, "any") ||
                  mrl_token_is_word(&p->token, "none");
    return is_word && mark_follows(p, "(");
}

static merle_where *parse_group(mrl_parser *p, const about *a);

/* The items up to the closing bracket: values go to the parser's list, groups are joined. Gives 0
 * if it fails; *out_groups is NULL then, and also where there are no groups. */
static int parse_items(mrl_parser *p, const about *a, mrl_condition_kind join,
                       merle_where **out_groups) {
    *out_groups = NULL;
    do {
        if (value_count(p) - a->first_value == MERLE_CONDITION_LIST_COUNT_MAX) {
            refuse_at(p, &p->token, MERLE_TOO_BIG, "a list has more than 4,096 values");
            goto fail;
        }
        if (!begins_group(p)) {
            if (!take_value(p, MRL_CONDITION_ALL)) goto fail;
            continue;
        }
        merle_where *group = parse_group(p, a);
        if (group == NULL) goto fail;
        if (*out_groups != NULL)
            group = judge(p, &a->begin, mrl_where_join(join, *out_groups, group));
        *out_groups = group;
        if (group == NULL) goto fail;
    } while (take_mark(p, ","));
    return 1;

fail:
    merle_where_destroy(*out_groups);
    *out_groups = NULL;
    return 0;
}

/* At `all (`, `any (` or `none (`: all of its items hold, one of them, none of them. */
static merle_where *parse_group(mrl_parser *p, const about *outer) {
    about a = *outer;
    int is_all = mrl_token_is_word(&p->token, "all");
    int is_none = mrl_token_is_word(&p->token, "none");
    mrl_condition_kind join = is_all ? MRL_CONDITION_AND : MRL_CONDITION_OR;
    merle_where *groups = NULL;
    a.first_value = value_count(p);
    a.each = 1;
    if (p->depth == MERLE_CONDITION_DEPTH_MAX) {
        refuse_at(p, &p->token, MERLE_TOO_BIG, "it is deeper than 64");
        return NULL;
    }
    p->depth++;
    advance(p);
    advance(p);
    if (!mrl_token_is_mark(&p->token, ")") && !parse_items(p, &a, join, &groups)) return NULL;
    if (!take_mark(p, ")")) {
        mrl_parser_refuse(p, "`,` or `)`");
        merle_where_destroy(groups);
        return NULL;
    }
    p->depth--;
    merle_where *where = groups;
    if (groups == NULL || value_count(p) > a.first_value) {
        where = leaf(p, &a, is_all ? MRL_CONDITION_ALL : MRL_CONDITION_IN, 0, 0);
        if (where != NULL && groups != NULL)
            where = judge(p, &a.begin, mrl_where_join(join, where, groups));
        else if (where == NULL)
            merle_where_destroy(groups);
    }
    return is_none ? merle_where_not(where) : where;
}

/* Behind the colon. */
static merle_where *parse_tags(mrl_parser *p, about *a) {
    if (begins_group(p)) return parse_group(p, a);
    a->each = 1;
    if (!take_value(p, MRL_CONDITION_ALL)) return NULL;
    return leaf(p, a, MRL_CONDITION_IN, 0, 0);
}

/* ---- terms ---- */

static int take_path(mrl_parser *p, about *a) {
    int is_path = p->token.kind == MRL_TOKEN_PATH && !is_keyword(&p->token);
    int is_name = p->token.kind == MRL_TOKEN_STRING && p->token.text[0] == '"';
    if (!is_path && !is_name) {
        mrl_parser_refuse(p, is_keyword(&p->token)
                                 ? "a field (put a name in quotes that is a keyword)"
                                 : "a field");
        return 0;
    }
    a->path = p->token;
    a->first_value = value_count(p);
    advance(p);
    return 1;
}

/* Behind `not`, which may stand before these three only. */
static merle_where *parse_worded(mrl_parser *p, const about *a, int negated) {
    if (take_word(p, "in")) return parse_list(p, a, negated);
    if (take_word(p, "between")) return parse_between(p, a, negated);
    if (take_word(p, "starts")) return parse_prefix(p, a, negated);
    if (negated)
        mrl_parser_refuse(p, "`in`, `between` or `starts with`");
    else
        mrl_parser_refuse(p, "a comparison");
    return NULL;
}

static int begins_worded(const mrl_parser *p) {
    return mrl_token_is_word(&p->token, "in") || mrl_token_is_word(&p->token, "between") ||
           mrl_token_is_word(&p->token, "starts");
}

/* Behind the path. Without a relation it asks for the boolean true. */
static merle_where *parse_relation(mrl_parser *p, about *a) {
    merle_compare compare = take_compare(p);
    if (compare != 0) {
        if (!take_value(p, MRL_CONDITION_COMPARE)) return NULL;
        return leaf(p, a, MRL_CONDITION_COMPARE, compare, 0);
    }
    if (a->each || begins_worded(p)) return parse_worded(p, a, 0);
    if (take_mark(p, ":")) return parse_tags(p, a);
    if (take_word(p, "not")) return parse_worded(p, a, 1);
    const merle_value yes = merle_value_bool(1);
    if (mrl_buffer_append(&p->values, &yes, sizeof(yes)) != MERLE_OK) {
        refuse_at(p, &a->begin, MERLE_NO_MEMORY, "no memory is left");
        return NULL;
    }
    return leaf(p, a, MRL_CONDITION_COMPARE, MERLE_EQ, 0);
}

/* Behind `exists`. */
static merle_where *parse_exists(mrl_parser *p, about *a) {
    if (!take_mark(p, "(")) {
        mrl_parser_refuse(p, "`(`");
        return NULL;
    }
    if (!take_path(p, a)) return NULL;
    if (!take_mark(p, ")")) {
        mrl_parser_refuse(p, "`)`");
        return NULL;
    }
    return leaf(p, a, MRL_CONDITION_EXISTS, 0, 0);
}

static merle_where *parse_nested(mrl_parser *p) {
    merle_where *where = mrl_parser_condition(p);
    if (where == NULL || take_mark(p, ")")) return where;
    mrl_parser_refuse(p, "`and`, `or` or `)`");
    merle_where_destroy(where);
    return NULL;
}

static merle_where *parse_term(mrl_parser *p);

/* At `not` or an opening bracket: what these levels hold is parsed by calling oneself. */
static merle_where *parse_deeper(mrl_parser *p) {
    if (p->depth == MERLE_CONDITION_DEPTH_MAX) {
        refuse_at(p, &p->token, MERLE_TOO_BIG, "it is deeper than 64");
        return NULL;
    }
    p->depth++;
    merle_where *where;
    if (take_mark(p, "(")) {
        where = parse_nested(p);
    } else {
        advance(p);
        where = merle_where_not(parse_term(p));
    }
    p->depth--;
    return where;
}

static merle_where *parse_term(mrl_parser *p) {
    about a;
    memset(&a, 0, sizeof(a));
    a.begin = p->token;
    if (mrl_token_is_word(&p->token, "not") || mrl_token_is_mark(&p->token, "("))
        return parse_deeper(p);
    if (take_word(p, "exists")) return parse_exists(p, &a);
    a.each = (uint8_t)take_word(p, "any");
    if (!take_path(p, &a)) return NULL;
    return parse_relation(p, &a);
}

/* Terms with one word between them. `between` has taken its own `and` before. */
static merle_where *parse_joined(mrl_parser *p, mrl_condition_kind kind, const char *word,
                                 merle_where *(*parse_part)(mrl_parser *)) {
    mrl_token begin = p->token;
    merle_where *where = parse_part(p);
    while (where != NULL && take_word(p, word)) {
        merle_where *next = parse_part(p);
        if (next == NULL) {
            merle_where_destroy(where);
            return NULL;
        }
        where = judge(p, &begin, mrl_where_join(kind, where, next));
    }
    return where;
}

static merle_where *parse_and(mrl_parser *p) {
    return parse_joined(p, MRL_CONDITION_AND, "and", parse_term);
}

merle_where *mrl_parser_condition(mrl_parser *p) {
    return parse_joined(p, MRL_CONDITION_OR, "or", parse_and);
}

/* ---- the whole text ---- */

merle_err mrl_parser_init(mrl_parser *p, merle_bytes text, merle_report *report) {
    memset(p, 0, sizeof(*p));
    p->report = report;
    mrl_lexer_init(&p->lexer, text);
    if (text.size > MERLE_CONDITION_TEXT_SIZE_MAX)
        return mrl_report_fill(report, MERLE_TOO_BIG,
                               "The condition has more than 64 KiB of text.");
    size_t valid = text.size == 0 ? 0 : mrl_utf8_valid_size(text.data, text.size);
    if (valid != text.size) {
        p->token.offset = (uint32_t)valid;
        refuse_at(p, &p->token, MERLE_INVALID, "this is no valid UTF-8");
        return p->err;
    }
    p->space_begin = p->space = mrl_allocate(text.size + 1);
    if (p->space == NULL) return mrl_report_fill(report, MERLE_NO_MEMORY, NULL);
    advance(p);
    return MERLE_OK;
}

void mrl_parser_fini(mrl_parser *p) {
    merle_buffer_free(&p->values);
    free(p->space_begin);
}

merle_err merle_condition_parse(merle_bytes text, merle_condition **out_condition,
                                merle_report *report) {
    mrl_parser p;
    *out_condition = NULL;
    merle_err err = mrl_parser_init(&p, text, report);
    if (err != MERLE_OK) return err;
    merle_where *where = mrl_parser_condition(&p);
    if (where != NULL && p.token.kind != MRL_TOKEN_END) {
        mrl_parser_refuse(&p, "`and`, `or` or the end");
        merle_where_destroy(where);
        where = NULL;
    }
    err = p.err;
    if (where != NULL) err = merle_condition_create(where, out_condition, report);
    mrl_parser_fini(&p);
    return err;
}
