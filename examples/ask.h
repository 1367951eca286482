/* examples/ask.h - a prompt for queries on the league.
 *
 * What    Takes lines "condition ; order ; limit", of which each part may be empty, and prints the
 *         members found, what the query did, or where a mistake is.
 * Owns    nothing.
 * Threads owner only.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef EXAMPLES_ASK_H
#define EXAMPLES_ASK_H

#include <stdio.h>

#include "examples/world.h"

/* Reads lines until the end, an empty line or "quit". is_terminal: prompts, and says how to ask. */
void ask_lines(const world *w, FILE *input, int is_terminal);
/* Answers one line. MERLE_OK, or why not; that was printed, too. */
merle_err ask(const world *w, const char *line);
/* Answers three lines as if somebody had typed them: two queries and a mistake. 1 if the answers
 * were as expected. */
int ask_examples(const world *w);

#endif
