/* tools/merle/merle.c - the program `merle`: looks at a database's directory, and takes care of it.
 *
 * What    merle COMMAND ARGUMENTS... A table of commands; each stands in a file of its own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tools/merle/command.h"
#include "tools/merle/print.h"

static const command *const commands[] = {
    &command_info,   &command_stats,   &command_dump,   &command_tail,       &command_verify,
    &command_backup, &command_restore, &command_repair, &command_checkpoint, &command_check,
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

/* ---- help ---- */

static void help_all(FILE *to) {
    fputs(
        "merle - looks at the directory of a merle database, and takes care of it\n\n"
        "  merle COMMAND ARGUMENTS...\n"
        "  merle help COMMAND, merle COMMAND --help, merle --version\n\n",
        to);
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-10s %-8s  %s\n", commands[i]->name, commands[i]->arguments,
                commands[i]->summary);
    fputs(
        "\nAnswers are tables on a terminal and JSON elsewhere; --json and --table choose.\n"
        "Ends with 0: good; 1: the answer is bad; 2: wrong usage; 3: it could not be done.\n",
        to);
}

static void help_one(const command *c, FILE *to) {
    fprintf(to, "merle %s %s - %s\n\n%s\n", c->name, c->arguments, c->summary, c->help);
    for (const command_option *o = c->options; o->name != NULL; o++) {
        char spelled[40];
        snprintf(spelled, sizeof spelled, "--%s %s", o->name, o->value == NULL ? "" : o->value);
        fprintf(to, "  %-22s %s\n", spelled, o->help);
    }
    fprintf(to, "  %-22s %s\n", "--json, --table", "how the answer is written");
}

static const command *find_command(const char *name) {
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

static int no_command(const char *name) {
    return command_misuse("there is no command \"%s\"; see merle --help", name);
}

static int show_help(const char *name) {
    const command *c = name == NULL ? NULL : find_command(name);
    if (name != NULL && c == NULL) return no_command(name);
    if (c == NULL)
        help_all(stdout);
    else
        help_one(c, stdout);
    return EXIT_GOOD;
}

/* ---- the program ---- */

static int is(const char *word, const char *one, const char *other) {
    return strcmp(word, one) == 0 || strcmp(word, other) == 0;
}

static int run(char **words) {
    command_line line = {0};
    if (words[0] == NULL) {
        help_all(stderr);
        return EXIT_USAGE;
    }
    if (is(words[0], "--version", "version")) {
        printf("merle %s\n", merle_version());
        return EXIT_GOOD;
    }
    if (is(words[0], "--help", "-h")) return show_help(NULL);
    if (is(words[0], "help", "help")) return show_help(words[1]);
    const command *c = find_command(words[0]);
    if (c == NULL) return no_command(words[0]);
    int end = args_read(c, words + 1, &line);
    if (end == EXIT_GOOD && line.wants_help) return show_help(c->name);
    return end == EXIT_GOOD ? c->run(&line) : end;
}

int main(int count, char **words) {
    /* A reader that goes away is met as an error of the write, so that the database is closed. */
    (void)signal(SIGPIPE, SIG_IGN);
    int end = run(words + (count > 0));
    int failed = print_finish();
    /* Whoever reads has enough: that is no failure. */
    if (failed == 0 || failed == EPIPE) return end;
    fprintf(stderr, "merle: the answer could not be written: %s\n", strerror(failed));
    return EXIT_FAILED;
}
