/* tools/merle/backup.c - merle backup: a copy of a directory, by whoever has it open.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/merle/care.h"
#include "tools/merle/owner.h"

enum { PATH_SIZE = 4096 };

/* {"path": ...} with a path that does not depend on where anybody stands. The owner's user writes
 * there. Gives EXIT_GOOD, or tells what is wrong. */
static int name_target(merle_builder *b, const char *to, merle_bytes *out_map) {
    char path[2 * PATH_SIZE] = "";
    if (to[0] != '/' && getcwd(path, PATH_SIZE) == NULL) {
        fprintf(stderr, "merle: backup: %s\n", strerror(errno));
        return EXIT_FAILED;
    }
    size_t at = strlen(path);
    int size = snprintf(path + at, sizeof path - at, "%s%s", to[0] == '/' ? "" : "/", to);
    if (size < 0 || at + (size_t)size >= PATH_SIZE)
        return command_misuse("the name of the backup is too long");
    merle_build_begin(b);
    merle_build_str(b, "path", path);
    merle_err err = merle_build_end(b, out_map);
    return err == MERLE_OK ? EXIT_GOOD : command_fail("backup", err, NULL);
}

static void take_info(merle_doc doc, merle_care_info *out) {
    out->term = merle_doc_uint(doc, "term", 0);
    out->seq = merle_doc_uint(doc, "seq", 0);
    out->time_ns = merle_doc_int(doc, "time_ns", 0);
    out->manifests = merle_doc_uint(doc, "manifests", 0);
    out->page_files = merle_doc_uint(doc, "page_files", 0);
    out->log_files = merle_doc_uint(doc, "log_files", 0);
    out->bytes = merle_doc_uint(doc, "bytes", 0);
    out->bytes_linked = merle_doc_uint(doc, "bytes_linked", 0);
    out->records = merle_doc_uint(doc, "records", 0);
}

static int copy_there(owner *o, const char *to) {
    merle_builder *b = NULL;
    merle_bytes map;
    merle_doc doc;
    care c = {0};
    if (merle_builder_create(&b) != MERLE_OK) return command_fail("backup", MERLE_NO_MEMORY, NULL);
    int end = name_target(b, to, &map);
    if (end == EXIT_GOOD) end = owner_job(o, "backup", map, &doc);
    if (end == EXIT_GOOD) take_info(doc, &c.info);
    merle_builder_destroy(b);
    return end == EXIT_GOOD ? care_answer(&c, "backup", MERLE_OK, to) : end;
}

static int copy_here(merle_db *db, const char *to) {
    care c;
    care_begin(&c, "backup");
    merle_err err = merle_backup(db, to, &c.options, &c.info, &c.report);
    return care_answer(&c, "backup", err, to);
}

static int run(const command_line *line) {
    const char *to = line->arguments[1];
    command_target target;
    if (!command_reach_to_write(line->arguments[0], &target)) return EXIT_FAILED;
    int end = target.db != NULL ? copy_here(target.db, to) : copy_there(target.owner, to);
    return command_leave(&target, end);
}

const command command_backup = {
    "backup",
    "DIR TO",
    2,
    "copies a database to a new directory",
    "Copies the directory as it is to TO. Files of pages are linked where that is possible. TO\n"
    "opens like any directory; one without a manifest was cut off, and is no backup. Where a\n"
    "process has the directory open, and lets operators do so, that one makes the copy and goes\n"
    "on meanwhile; an interrupt (^C) cancels it. Else the directory is opened and closed for it.\n"
    "\n"
    "  merle backup world.merle /backups/world-monday\n",
    {{NULL, NULL, NULL}},
    run,
};
