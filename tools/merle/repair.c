/* tools/merle/repair.c - merle repair: what can be taken out of a damaged directory.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "tools/merle/care.h"
#include "tools/merle/print.h"

enum { OPTION_BEHIND };

static int read_options(care *c, const command_line *line) {
    const char *behind = line->values[OPTION_BEHIND];
    if (behind == NULL || strcmp(behind, "take") == 0)
        c->options.behind_holes = MERLE_BEHIND_HOLES_TAKE;
    else if (strcmp(behind, "stop") == 0)
        c->options.behind_holes = MERLE_BEHIND_HOLES_STOP;
    else
        return command_misuse("--behind-holes is take or stop, not \"%s\"", behind);
    return EXIT_GOOD;
}

/* What was taken from an older state with all that came since is no loss. */
static int is_whole(const merle_care_info *info) {
    return info->damaged == 0 && info->pages_lost == 0 && info->records_lost == 0 &&
           info->operations_lost == 0 && info->duplicates == 0;
}

static int run(const command_line *line) {
    care c;
    const char *from = line->arguments[0], *to = line->arguments[1];
    care_begin(&c, "repair");
    int end = read_options(&c, line);
    if (end != EXIT_GOOD) return end;
    print_facts_begin();
    print_fact_text("path", to);
    care_list_begin(&c, "findings");
    merle_err err = merle_repair(from, to, &c.options, &c.info, &c.report);
    care_list_end(&c);
    if (err == MERLE_OK) {
        print_fact_text("verdict", is_whole(&c.info) ? "nothing was lost" : "see the findings");
        care_show(&c);
    }
    print_facts_end();
    if (err != MERLE_OK) return command_fail("repair", err, &c.report);
    return is_whole(&c.info) ? EXIT_GOOD : EXIT_FOUND;
}

const command command_repair = {
    "repair",
    "DIR TO",
    2,
    "writes what can be saved to a new directory",
    "Takes out of a damaged directory what can be taken and writes it to TO. DIR is not changed.\n"
    "Each finding says what was lost: which documents, which commits. Ends with 1 where anything\n"
    "was. A backup and its log, with merle restore, may give more.\n\n"
    "  merle repair world.merle saved.merle\n"
    "  merle repair world.merle saved.merle --behind-holes stop\n",
    {
        [OPTION_BEHIND] = {"behind-holes", "take|stop",
                           "of commits behind ones that are lost; take is the default"},
    },
    run,
};
