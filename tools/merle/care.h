/* tools/merle/care.h - what the commands that call <merle/care.h> share.
 *
 * What    Findings as rows while they come, the progress line, and the figures of what was done.
 * Owns    nothing.
 * Threads one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TOOLS_MERLE_CARE_H
#define TOOLS_MERLE_CARE_H

#include <merle/care.h>

#include "tools/merle/command.h"

typedef struct care {
    progress bar;
    merle_care_options options;
    merle_care_info info;
    merle_report report;
} care;

/* Options that show progress, under the name of what is done. */
void care_begin(care *c, const char *what);
/* From here on findings are rows of the answer, under this name; until care_list_end. Between
 * print_facts_begin and print_facts_end. */
void care_list_begin(care *c, const char *name);
void care_list_end(care *c);
/* The figures that are known, as facts. */
void care_show(const care *c);
/* The whole answer of a command that makes a copy, or its error. Gives how it ends. */
int care_answer(care *c, const char *what, merle_err err, const char *to);

#endif
