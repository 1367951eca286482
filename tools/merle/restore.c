/* tools/merle/restore.c - merle restore: a directory as it was at an earlier commit.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>

#include "tools/merle/care.h"
#include "tools/merle/print.h"

enum { OPTION_SEQ, OPTION_TIME };

static int read_options(care *c, const command_line *line) {
    const char *seq = line->values[OPTION_SEQ], *time = line->values[OPTION_TIME];
    if (seq != NULL && time != NULL)
        return command_misuse("restore takes --seq or --time, not both");
    if (seq != NULL && (!command_number(seq, &c->options.seq) || c->options.seq == 0))
        return command_misuse("--seq wants a number above 0, not \"%s\"", seq);
    if (time != NULL && (!print_time_read(time, &c->options.time_ns) || c->options.time_ns == 0))
        return command_misuse(
            "--time wants 2026-11-21T22:30:00Z, or nanoseconds since 1970, not \"%s\"", time);
    return EXIT_GOOD;
}

/* Which moments there are to go back to. */
static void tell_range(const merle_care_info *info) {
    char first[PRINT_TIME_SIZE], last[PRINT_TIME_SIZE];
    if (info->seq_max == 0) return;
    print_time(info->time_min_ns, first);
    print_time(info->time_max_ns, last);
    fprintf(stderr, "  Possible is --seq %" PRIu64 " to %" PRIu64 ", --time %s to %s.\n",
            info->seq_min, info->seq_max, first, last);
}

static int run(const command_line *line) {
    care c;
    const char *from = line->arguments[0], *to = line->arguments[1];
    care_begin(&c, "restore");
    int end = read_options(&c, line);
    if (end != EXIT_GOOD) return end;
    merle_err err = merle_restore(from, to, &c.options, &c.info, &c.report);
    end = care_answer(&c, "restore", err, to);
    if (err == MERLE_NOT_FOUND) tell_range(&c.info);
    return end;
}

const command command_restore = {
    "restore",
    "FROM TO",
    2,
    "makes a new directory as FROM was",
    "Makes the directory TO from the directory or backup FROM, as it was right after a commit: "
    "the\n"
    "last one, the one with the seq, or the last one that is not later than the time. FROM is not\n"
    "changed. How far back it goes depends on the manifests and log files that are kept.\n\n"
    "  merle restore /backups/world-monday world.merle\n"
    "  merle restore world.merle before.merle --time 2026-11-21T22:30:00Z\n"
    "  merle restore world.merle before.merle --seq 120000\n",
    {
        [OPTION_SEQ] = {"seq", "SEQ", "as it was after this commit"},
        [OPTION_TIME] = {"time", "TIME", "as it was then: a date with Z, or nanoseconds"},
    },
    run,
};
