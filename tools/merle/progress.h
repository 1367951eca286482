/* tools/merle/progress.h - one line on standard error for what takes long, where a person looks.
 *
 * What    Share done, rate and time left, drawn anew at most ten times a second, from half a second
 *         on. Nothing where standard error is no terminal.
 * Threads one at a time; the callbacks of merle may come from any thread.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TOOLS_MERLE_PROGRESS_H
#define TOOLS_MERLE_PROGRESS_H

#include <stdint.h>

typedef struct progress {
    const char *what; /* "verifying" */
    const char *unit; /* "bytes" */
    uint64_t began_ns, drawn_ns;
    int is_drawn;
} progress;

void progress_begin(progress *bar, const char *what, const char *unit);
void progress_show(progress *bar, uint64_t done, uint64_t total);
/* Takes the line away. */
void progress_end(progress *bar);

#endif
