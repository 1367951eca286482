/* document/condition_parse.h - conditions from text, for parsers of longer texts.
 *
 * What    the keywords, and the parser of a condition that stops at the first token that does not
 *         go on with it: behind `level > 3 order by score` it stands at `order`.
 * Owns    the pieces that it gives belong to the caller.
 * Threads owner only.
 * Limits  those of merle/condition.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DOCUMENT_CONDITION_PARSE_H
#define MRL_DOCUMENT_CONDITION_PARSE_H

#include "document/condition.h"
#include "document/lexer.h"

/* Words that are no field's name unless in quotes or followed by further steps. */
int mrl_keyword_is_one(const uint8_t *name, size_t size);

typedef struct mrl_parser {
    mrl_lexer lexer;
    mrl_token token; /* the next one, not taken yet */
    merle_report *report;
    merle_err err; /* the first error sticks */
    uint32_t depth;
    int has_numbers;     /* parameters like $1 were met */
    int has_names;       /* parameters like $low were met */
    merle_buffer values; /* merle_values of the lists that are being read */
    uint8_t *space;      /* where strings are decoded: never more bytes than the text has */
    uint8_t *space_begin;
} mrl_parser;

/* Borrows text until the parser's end, which frees what it owns. Errors: MERLE_TOO_BIG,
 * MERLE_INVALID (no UTF-8), MERLE_NO_MEMORY; there is nothing to end then. */
MERLE_MUST_USE merle_err mrl_parser_init(mrl_parser *parser, merle_bytes text,
                                         merle_report *report);
void mrl_parser_fini(mrl_parser *parser);

/* Parses a condition; NULL if it fails, then parser->err and the report say why. */
merle_where *mrl_parser_condition(mrl_parser *parser);

/* Refuses the next token; expected is what should have been there ("a value"). */
void mrl_parser_refuse(mrl_parser *parser, const char *expected);

#endif
