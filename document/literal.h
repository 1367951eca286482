/* document/literal.h - values written in merle's texts: 5, -1.5e3, "ab", x"00ff", @2026-11-21.
 *
 * What    reads the value that a token stands for, and writes values so that they read back equal.
 * Owns    nothing; strings with escapes and binaries are decoded into the caller's space.
 * Threads any. Numbers are read and written by the C locale's rules, whatever the thread's is.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DOCUMENT_LITERAL_H
#define MRL_DOCUMENT_LITERAL_H

#include <merle/document.h>

#include "document/lexer.h"

/* Whether the token is a value by its looks: reading it may still fail. */
int mrl_literal_is_one(const mrl_token *token);

/* Reads the value of such a token. The bytes of a string or binary lie in the text or in space,
 * which has room for token->size bytes; how much of it was used is behind *out_used. Gives NULL, or
 * a reason why it is no value. */
const char *mrl_literal_read(const mrl_token *token, uint8_t *space, size_t *out_used,
                             merle_value *out_value);

/* Appends a value that can be compared: no array, map or other extension. Errors:
 * MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_literal_write(const merle_value *value, merle_buffer *out);

#endif
