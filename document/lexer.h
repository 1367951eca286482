/* document/lexer.h - the words of merle's texts: conditions, and what else is asked in text.
 *
 * What    cuts a text into tokens, and says where each one stands. What a token means is the
 *         parser's business: no word is a keyword here.
 * Owns    nothing, allocates nothing. Tokens point into the text.
 * Threads any.
 * Limits  the text is UTF-8 and shorter than 4 GiB; the caller has tested both.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DOCUMENT_LEXER_H
#define MRL_DOCUMENT_LEXER_H

#include <merle/base.h>

typedef enum mrl_token_kind {
    MRL_TOKEN_END = 0,
    MRL_TOKEN_PATH,      /* bare or with quoted names, `a."b c"[0]`; a lone bare name is a word */
    MRL_TOKEN_STRING,    /* "..." or '...', quotes included; in double quotes also a path's name */
    MRL_TOKEN_NUMBER,    /* begins with a digit or - */
    MRL_TOKEN_BINARY,    /* x"..." or x'...' */
    MRL_TOKEN_TIME,      /* @... */
    MRL_TOKEN_PARAMETER, /* $... */
    MRL_TOKEN_MARK,      /* ( ) , : = != < <= > >= */
    MRL_TOKEN_WRONG      /* none of these; reason says why */
} mrl_token_kind;

typedef struct mrl_token {
    mrl_token_kind kind;
    uint32_t offset; /* of the first byte, in the text */
    const uint8_t *text;
    size_t size;
    const char *reason; /* of a wrong one, else NULL */
} mrl_token;

typedef struct mrl_lexer {
    const uint8_t *begin;
    const uint8_t *at;
    const uint8_t *end;
} mrl_lexer;

/* Borrows text as long as the lexer and its tokens are used. A lexer may be copied: the copy looks
 * ahead and the original stays where it is. */
void mrl_lexer_init(mrl_lexer *lexer, merle_bytes text);
/* Gives the next token, and END again and again at the end. Behind a wrong one nothing is
 * promised. */
void mrl_lexer_next(mrl_lexer *lexer, mrl_token *out_token);

/* Whether the token is this word, which is given in small letters, in whatever letters. */
int mrl_token_is_word(const mrl_token *token, const char *word);
/* Whether the token is this mark. */
int mrl_token_is_mark(const mrl_token *token, const char *mark);

/* Whether the bytes can stand as a name without quotes. */
int mrl_name_is_bare(const uint8_t *name, size_t size);

#endif
