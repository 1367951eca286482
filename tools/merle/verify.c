/* tools/merle/verify.c - merle verify: whether everything in a directory is as it should be.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tools/merle/care.h"
#include "tools/merle/print.h"

static int run(const command_line *line) {
    care c;
    const char *path = line->arguments[0];
    care_begin(&c, "verify");
    print_facts_begin();
    print_fact_text("path", path);
    care_list_begin(&c, "findings");
    merle_err err = merle_verify(path, &c.options, &c.info, &c.report);
    care_list_end(&c);
    if (err == MERLE_OK || err == MERLE_CORRUPT) {
        print_fact_text("verdict", err == MERLE_OK ? "sound" : "damaged");
        print_fact_number("damaged", c.info.damaged);
        care_show(&c);
    }
    print_facts_end();
    if (err == MERLE_OK) return EXIT_GOOD;
    (void)command_fail("verify", err, &c.report);
    return err == MERLE_CORRUPT ? EXIT_FOUND : EXIT_FAILED;
}

const command command_verify = {
    "verify",
    "DIR",
    1,
    "checks every byte of a directory",
    "Reads every file that the database needs, compares all checksums, recovers everything into\n"
    "memory and compares indexes with documents. Each finding is a row: what, where, what was\n"
    "expected and what was found. Ends with 1 where something is damaged. Changes nothing.\n\n"
    "  merle verify world.merle\n"
    "  merle verify world.merle --json | jq '.findings[].message'\n",
    {{NULL, NULL, NULL}},
    run,
};
