/* tools/merle/progress.h - one line on standard error for what takes long, where a person looks.
 *
 * What    What is being done, its share, rate and time left, drawn anew at most ten times a second,
 *         from half a second on. Nothing where standard error is no terminal.
 * Owns    the last line of the terminal while it is drawn.
 * Threads one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TOOLS_MERLE_PROGRESS_H
#define TOOLS_MERLE_PROGRESS_H

#include <stdint.h>

typedef struct progress {
    const char *what; /* "opening" */
    const char *part; /* "pages": borrowed from whoever told it, who keeps its names for ever */
    uint64_t began_ns, part_ns, drawn_ns;
    int is_shown, is_drawn;
} progress;

void progress_begin(progress *bar, const char *what);
/* A merle_progress_fn; context is the bar. */
void progress_show(void *context, const char *part, uint64_t done, uint64_t total);
/* Takes the line away: before something else is written to standard error, and at the end. */
void progress_clear(progress *bar);

#endif
