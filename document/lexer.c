/* document/lexer.c - the words of merle's texts. SPDX-License-Identifier: Apache-2.0 */
#include "document/lexer.h"

#include <string.h>

static int is_digit(uint8_t byte) {
    return byte >= '0' && byte <= '9';
}

static int is_letter(uint8_t byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static int begins_name(uint8_t byte) {
    return is_letter(byte) || byte == '_' || byte >= 0x80;
}

static int is_in_name(uint8_t byte) {
    return begins_name(byte) || is_digit(byte) || byte == '-';
}

void mrl_lexer_init(mrl_lexer *lexer, merle_bytes text) {
    lexer->begin = lexer->at = text.data;
    lexer->end = text.size == 0 ? lexer->at : lexer->at + text.size;
}

static int next_is(const mrl_lexer *lexer, char byte) {
    return lexer->at < lexer->end && *lexer->at == (uint8_t)byte;
}

static mrl_token_kind refuse(mrl_token *token, const char *reason) {
    token->reason = reason;
    return MRL_TOKEN_WRONG;
}

/* At the opening quote; passes the closing one. What stands behind a backslash closes nothing. */
static int pass_quoted(mrl_lexer *lexer) {
    uint8_t quote = *lexer->at++;
    for (; lexer->at < lexer->end && *lexer->at != quote; lexer->at++) {
        if (*lexer->at == '\\' && ++lexer->at == lexer->end) return 0;
    }
    if (lexer->at == lexer->end) return 0;
    lexer->at++;
    return 1;
}

/* Behind a path's first name. What is no path is found out when it is compiled. */
static mrl_token_kind pass_steps(mrl_lexer *lexer, mrl_token *token) {
    for (;;) {
        if (next_is(lexer, '[')) {
            lexer->at++;
            while (lexer->at < lexer->end && (is_digit(*lexer->at) || *lexer->at == '-'))
                lexer->at++;
            if (next_is(lexer, ']')) lexer->at++;
        } else if (next_is(lexer, '.')) {
            lexer->at++;
            if (next_is(lexer, '"')) {
                if (!pass_quoted(lexer)) return refuse(token, "a quote is not closed");
            } else {
                while (lexer->at < lexer->end && is_in_name(*lexer->at)) lexer->at++;
            }
        } else {
            return MRL_TOKEN_PATH;
        }
    }
}

static mrl_token_kind lex_quoted(mrl_lexer *lexer, mrl_token *token) {
    if (!pass_quoted(lexer)) return refuse(token, "a quote is not closed");
    if (token->text[0] == '"' && (next_is(lexer, '.') || next_is(lexer, '[')))
        return pass_steps(lexer, token);
    return MRL_TOKEN_STRING;
}

static mrl_token_kind lex_name(mrl_lexer *lexer, mrl_token *token) {
    int is_x = (*lexer->at | 0x20) == 'x';
    lexer->at++;
    if (is_x && (next_is(lexer, '"') || next_is(lexer, '\''))) {
        if (!pass_quoted(lexer)) return refuse(token, "a quote is not closed");
        return MRL_TOKEN_BINARY;
    }
    while (lexer->at < lexer->end && is_in_name(*lexer->at)) lexer->at++;
    return pass_steps(lexer, token);
}

/* Takes all that somebody might have meant as part of the number, so that "10x" is refused as a
 * whole instead of being taken apart. */
static mrl_token_kind lex_number(mrl_lexer *lexer, mrl_token *token) {
    lexer->at++;
    for (; lexer->at < lexer->end; lexer->at++) {
        uint8_t byte = *lexer->at;
        int is_sign = byte == '+' || byte == '-';
        if (is_sign && (lexer->at[-1] | 0x20) == 'e') continue;
        if (!is_letter(byte) && !is_digit(byte) && byte != '.' && byte != '_') break;
    }
    if (lexer->at - token->text == 1 && token->text[0] == '-')
        return refuse(token, "a minus stands before no number");
    return MRL_TOKEN_NUMBER;
}

/* At a mark that tells what follows: letters, digits and what is in others. */
static mrl_token_kind lex_run(mrl_lexer *lexer, mrl_token *token, const char *others,
                              mrl_token_kind kind) {
    lexer->at++;
    while (lexer->at < lexer->end && (is_letter(*lexer->at) || is_digit(*lexer->at) ||
                                      (*lexer->at != 0 && strchr(others, *lexer->at) != NULL)))
        lexer->at++;
    if (lexer->at - token->text > 1) return kind;
    return refuse(
        token, kind == MRL_TOKEN_TIME ? "an @ stands before no time" : "a $ stands before no name");
}

static mrl_token_kind lex_mark(mrl_lexer *lexer, mrl_token *token) {
    uint8_t mark = *lexer->at;
    /* strchr would find the zero byte too. */
    if (mark == 0 || strchr("(),:=!<>", mark) == NULL) {
        lexer->at++;
        return refuse(token, "this character means nothing here");
    }
    lexer->at++;
    int takes_equals = mark == '<' || mark == '>' || mark == '!';
    if (takes_equals && next_is(lexer, '=')) {
        lexer->at++;
    } else if (mark == '!') {
        return refuse(token, "an exclamation mark stands before no equals sign");
    }
    return MRL_TOKEN_MARK;
}

static mrl_token_kind lex(mrl_lexer *lexer, mrl_token *token) {
    if (lexer->at == lexer->end) return MRL_TOKEN_END;
    uint8_t byte = *lexer->at;
    if (begins_name(byte)) return lex_name(lexer, token);
    if (byte == '"' || byte == '\'') return lex_quoted(lexer, token);
    if (is_digit(byte) || byte == '-') return lex_number(lexer, token);
    if (byte == '@') return lex_run(lexer, token, ":.+-", MRL_TOKEN_TIME);
    if (byte == '$') return lex_run(lexer, token, "_", MRL_TOKEN_PARAMETER);
    return lex_mark(lexer, token);
}

void mrl_lexer_next(mrl_lexer *lexer, mrl_token *out_token) {
    while (next_is(lexer, ' ') || next_is(lexer, '\n') || next_is(lexer, '\t') ||
           next_is(lexer, '\r'))
        lexer->at++;
    out_token->text = lexer->at;
    out_token->offset = (uint32_t)(lexer->at - lexer->begin);
    out_token->reason = NULL;
    out_token->kind = lex(lexer, out_token);
    out_token->size = (size_t)(lexer->at - out_token->text);
}

int mrl_token_is_word(const mrl_token *token, const char *word) {
    if (token->kind != MRL_TOKEN_PATH || token->size != strlen(word)) return 0;
    for (size_t i = 0; i < token->size; i++) {
        /* In a word of letters only letters differ from it in that bit alone. */
        if ((token->text[i] | 0x20) != (uint8_t)word[i]) return 0;
    }
    return 1;
}

int mrl_token_is_mark(const mrl_token *token, const char *mark) {
    return token->kind == MRL_TOKEN_MARK && token->size == strlen(mark) &&
           memcmp(token->text, mark, token->size) == 0;
}

int mrl_name_is_bare(const uint8_t *name, size_t size) {
    if (size == 0 || !begins_name(name[0])) return 0;
    for (size_t i = 1; i < size; i++)
        if (!is_in_name(name[i])) return 0;
    return 1;
}
