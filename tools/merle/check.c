/* tools/merle/check.c - merle check: whether a database in memory is as it should be.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tools/merle/owner.h"
#include "tools/merle/print.h"

static void show(const char *path, uint64_t seq, uint64_t documents) {
    print_facts_begin();
    print_fact_text("path", path);
    print_fact_text("verdict", "sound");
    print_fact_number("seq", seq);
    print_fact_number("documents", documents);
    print_facts_end();
}

static int check_here(merle_db *db, const char *path) {
    merle_stats_db stats = {.size = sizeof stats};
    merle_report report = {0};
    merle_err err = merle_check(db, &report);
    if (err == MERLE_OK) err = merle_stats(db, &stats);
    if (err == MERLE_OK) {
        show(path, stats.seq, stats.documents);
        return EXIT_GOOD;
    }
    (void)command_fail("check", err, &report);
    return err == MERLE_CORRUPT ? EXIT_FOUND : EXIT_FAILED;
}

static int check_there(owner *o, const char *path) {
    merle_bytes none = {NULL, 0};
    merle_doc doc;
    int end = owner_job(o, "check", none, &doc);
    if (end == EXIT_GOOD)
        show(path, merle_doc_uint(doc, "seq", 0), merle_doc_uint(doc, "documents", 0));
    return end;
}

static int run(const command_line *line) {
    const char *path = line->arguments[0];
    command_target target;
    if (!command_reach(path, &target)) return EXIT_FAILED;
    int end = target.db != NULL ? check_here(target.db, path) : check_there(target.owner, path);
    return command_leave(&target, end);
}

const command command_check = {
    "check",
    "DIR",
    1,
    "compares indexes and documents of a running database",
    "Walks over everything that the process that has the directory open holds in memory, and\n"
    "compares it; writers wait for moments. An interrupt (^C) cancels it. Where nobody has the\n"
    "directory open it is read into memory and looked at; merle verify looks at the files, too.\n"
    "Ends with 1 where something is broken.\n\n"
    "  merle check world.merle\n",
    {{NULL, NULL, NULL}},
    run,
};
