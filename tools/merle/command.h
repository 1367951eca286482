/* tools/merle/command.h - what the commands of the `merle` program share.
 *
 * What    A command has a name, a help text, the options that it takes, and a function. The program
 *         (merle.c) reads the command line by that (args.c) and calls it.
 * Owns    nothing.
 * Threads one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TOOLS_MERLE_COMMAND_H
#define TOOLS_MERLE_COMMAND_H

#include <merle/merle.h>

#include "tools/merle/progress.h"

/* How the program ends. */
enum {
    EXIT_GOOD = 0,
    EXIT_FOUND = 1,  /* the question was answered, and the answer is bad */
    EXIT_USAGE = 2,  /* the command line cannot be understood */
    EXIT_FAILED = 3, /* it was understood and could not be done */
};

enum { COMMAND_OPTION_MAX = 8, COMMAND_ARGUMENT_MAX = 2 };

typedef struct command_option {
    const char *name;  /* without the dashes; NULL ends the list */
    const char *value; /* what the value is, for the help; NULL: it takes none */
    const char *help;
} command_option;

/* The command line, understood. */
typedef struct command_line {
    const char *arguments[COMMAND_ARGUMENT_MAX];
    const char *values[COMMAND_OPTION_MAX]; /* as the options of the command; NULL: not given */
    int wants_help;
} command_line;

typedef struct command {
    const char *name;
    const char *arguments; /* "DIR TO" */
    int argument_count;
    const char *summary;
    const char *help; /* what it does, and examples */
    command_option options[COMMAND_OPTION_MAX + 1];
    int (*run)(const command_line *line);
} command;

extern const command command_backup, command_check, command_checkpoint, command_dump, command_info,
    command_repair, command_restore, command_stats, command_tail, command_verify;

/* ---- args.c ---- */

/* Understands the words behind the command's name; NULL ends them. EXIT_GOOD, or EXIT_USAGE and it
 * was told what is wrong. */
int args_read(const command *c, char **words, command_line *line);

/* ---- command.c ---- */

/* Opens a directory that must be there already, to read: nothing in it is changed. Tells on
 * standard error why it cannot be, and gives NULL. */
merle_db *command_open(const char *path);
/* A directory, or the process that has it open: one of the two is set. */
struct owner;
typedef struct command_target {
    merle_db *db;
    struct owner *owner;
} command_target;
/* 0: neither can be had, and it was told why. */
int command_reach(const char *path, command_target *out_target);
int command_reach_to_write(const char *path, command_target *out_target);
/* Closes whichever it is. `end` is how the command ends so far; gives how it ends. */
int command_leave(command_target *target, int end);

/* Gives EXIT_GOOD, or tells what went wrong and gives EXIT_FAILED. */
int command_close(merle_db *db);

/* Tells an error of merle on standard error: what was tried, and all that the report says (it may
 * be NULL). Gives EXIT_FAILED. */
int command_fail(const char *what, merle_err err, const merle_report *report);
/* Tells what is wrong with the command line. Gives EXIT_USAGE. */
int command_misuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Tells that there is no such collection. Gives EXIT_FOUND. */
int command_no_collection(const char *name);

/* A number without anything behind it. 0: it is none. */
int command_number(const char *text, uint64_t *out_number);

#endif
